"""What anx_pth_write writes is, byte for byte, what torch.save writes for the same object under the same name."""
import collections
import os
import subprocess
import sys
import tempfile

try:
    import torch
except ImportError as error:
    print(f"SKIPPED: {error}", file=sys.stderr)
    sys.exit(1 if os.environ.get("ANX_TESTS_NO_SKIP", "0") not in ("", "0") else 77)

MEMORY = 1 << 16
DTYPES = ["float32", "float64", "float16", "bfloat16", "int64", "int32", "int16", "int8", "uint8", "bool"]
memory = bytearray((7 * i + 3) & 0xFF for i in range(MEMORY))


def storage(at, n_bytes):
    """A storage of its own with a copy of that piece of memory."""
    return torch.UntypedStorage(list(memory[at:at + n_bytes]))


def strided(dtype, shape, stride, at, inside=None, start=0):
    """A tensor over memory at byte `at`, in a storage of its own or in `inside`, which begins at byte `start`."""
    dtype = getattr(torch, dtype)
    size = torch.empty(0, dtype=dtype).element_size()
    if inside is None:
        spanned = 0 if 0 in shape else 1 + sum((n - 1) * s for n, s in zip(shape, stride))
        inside, start = storage(at, spanned * size), at
    return torch.empty(0, dtype=dtype).set_(inside, (at - start) // size, shape, stride)


def contiguous(dtype, shape, at, inside=None, start=0):
    stride, step = [], 1
    for n in reversed(shape):
        stride.insert(0, step)
        step *= max(n, 1)
    return strided(dtype, shape, stride, at, inside, start)


def many(n_tensors, n_modules):
    od = collections.OrderedDict((f"t{i}", contiguous("uint8", (2,), 2 * i)) for i in range(n_tensors))
    if n_modules:
        od._metadata = collections.OrderedDict((f"m{i}", {"version": 1}) for i in range(n_modules))
    return od


def sharing():
    whole = storage(0, 120)
    return [
        ("first", contiguous("int16", (4,), 8192)),
        ("part", contiguous("float32", (2, 3), 48, whole)),
        ("whole", contiguous("float32", (10, 3), 0, whole)),
        ("tied", contiguous("float32", (10, 3), 0, whole)),
        ("empty inside", contiguous("float32", (0,), 8)),
        ("columns", strided("float32", (3, 10), (1, 3), 0, whole)),
        ("behind", contiguous("float32", (4,), 120)),
    ]


def cases():
    memory[9 * 256:9 * 256 + 15] = b"\1" * 15
    yield "dtypes.pth", [(d, contiguous(d, (3, 5), 256 * i)) for i, d in enumerate(DTYPES)]
    yield "shapes.pth", [
        ("scalar", contiguous("float32", (), 0)),
        ("rank5", contiguous("float32", (1, 2, 1, 3, 2), 64)),
        ("none", contiguous("float32", (0,), 128)),
        ("none between", contiguous("float32", (2, 0, 3), 192)),
        ("none of many", contiguous("float32", (0, 3000000000), 256)),
        ("long", contiguous("uint8", (60000,), 0)),
    ]
    yield "strides.pth", [
        ("transposed", strided("float32", (6, 4), (1, 6), 0)),
        ("permuted", strided("float64", (2, 3, 4), (1, 8, 2), 1024)),
        ("expanded", strided("float32", (5, 7), (0, 1), 2048)),
        ("gaps", strided("int32", (5,), (3,), 4096)),
    ]
    yield "sharing.pth", sharing()
    yield "none.pth", many(0, 0)
    yield "one.pth", many(1, 1)
    yield "two.pth", many(2, 2)
    yield "batch.pth", many(1000, 1000)
    yield "batch-and-one.pth", many(1001, 1001)
    yield "batches.pth", many(2003, 0)
    for name in ("a.b.pth", "noext", "x.", "..pth", " 100% of it.pth", "back\\slash.pth", "caf\u00e9.pth"):
        yield name, many(1, 0)
    memory[0:4] = memory[64:68] = b"PK\7\10"
    yield "descriptor.pth", [("eight", contiguous("uint8", (8,), 0)), ("seven", contiguous("uint8", (7,), 64))]


def main():
    failures = 0
    with tempfile.TemporaryDirectory() as ours, tempfile.TemporaryDirectory() as theirs:
        subprocess.run([os.environ["ANX_BUILD_DIR"] + "/tests/write_pth_cases", ours], check=True)
        os.makedirs(theirs + "/back")
        os.chdir(theirs)
        seen = set()
        for name, items in cases():
            od = items if isinstance(items, collections.OrderedDict) else collections.OrderedDict(items)
            # torch.save wants the "directory" before a backslash to exist
            torch.save(od, name)
            with open(os.path.join(ours, name), "rb") as a, open(name, "rb") as b:
                if a.read() != b.read():
                    print(f"FAILED: {name!r} differs from torch.save's")
                    failures += 1
            loaded = torch.load(os.path.join(ours, name), weights_only=True)
            if list(loaded) != list(od) or any(
                    loaded[k].stride() != od[k].stride() or not torch.equal(loaded[k].view(-1).view(torch.uint8)
                    if loaded[k].is_contiguous() else loaded[k], od[k].view(-1).view(torch.uint8)
                    if od[k].is_contiguous() else od[k]) for k in od):
                print(f"FAILED: {name!r} loads as something else")
                failures += 1
            seen.add(name)
        if seen != set(os.listdir(ours)):
            print(f"FAILED: not compared: {set(os.listdir(ours)) ^ seen}")
            failures += 1
    print(f"{len(seen)} files, {failures} failures, PyTorch {torch.__version__}")
    return failures > 0


if __name__ == "__main__":
    sys.exit(main())
