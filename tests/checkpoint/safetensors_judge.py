"""The safetensors package as the judge: its files read by us, ours read by it, and both the same bytes."""
import os
import random
import tempfile

from judge import Judge, line, run, skip

try:
    import numpy as np
    from safetensors import safe_open
    from safetensors.numpy import load_file, save_file
except ImportError as e:
    skip(str(e))

NAMES = {"float32": np.float32, "float64": np.float64, "float16": np.float16, "int64": np.int64, "int32": np.int32,
         "int16": np.int16, "int8": np.int8, "uint8": np.uint8, "bool": np.bool_}
judge = Judge()


def random_tensors(rng):
    tensors = {}
    for _ in range(rng.randrange(0, 12)):
        dtype = rng.choice(list(NAMES))
        shape = [rng.choice((0, 1, 2, 3, 7)) for _ in range(rng.randrange(0, 6))]
        n = int(np.prod(shape, dtype=np.int64)) * np.dtype(NAMES[dtype]).itemsize
        data = bytes(rng.randrange(2) for _ in range(n)) if dtype == "bool" else rng.randbytes(n)
        name = "".join(rng.choice('abz.0/\\"\n\x01\x7f üλ漢😀<') for _ in range(rng.randrange(0, 9)))
        tensors[name] = np.frombuffer(data, NAMES[dtype]).reshape(shape)
    return tensors


def lines(tensors):
    return sorted(line(str(t.dtype), t.shape, t.tobytes(), name) for name, t in tensors.items())


with tempfile.TemporaryDirectory() as folder:
    theirs, ours = os.path.join(folder, "theirs.safetensors"), os.path.join(folder, "ours.safetensors")
    rng = random.Random(20210914)
    for i in range(60):
        tensors = random_tensors(rng)
        # Their writer puts metadata in hash order: with one key there is one order.
        metadata = {"key\u0001\x7fü": '{"json": "inside"}\n'} if i % 2 else None
        save_file(tensors, theirs, metadata=metadata)
        rc, out, err = run("safetensors", theirs)
        judge.equal(rc, 0, f"file {i}: {err}")
        judge.equal(sorted(out.splitlines()), lines(tensors), f"file {i}: tensors read")
        rc, _, err = run("copy", theirs, ours)
        judge.equal(rc, 0, f"file {i}: {err}")
        judge.equal(open(ours, "rb").read(), open(theirs, "rb").read(), f"file {i}: bytes written")
    back = load_file(ours)
    judge.equal(lines(back), lines(tensors), "our file read by safetensors")

    # Several keys: sorted in ours, and all there.
    metadata = {k: k.upper() for k in ("b", "a", "ü", "Z")}
    save_file({"x": np.arange(3.0)}, theirs, metadata=metadata)
    judge.equal(run("copy", theirs, ours)[0], 0, "metadata copied")
    with safe_open(ours, "numpy") as f:
        judge.equal(f.metadata(), metadata, "metadata read by safetensors")
    judge.equal(open(ours, "rb").read()[8:].find(b'{"__metadata__":{"Z":"Z","a":"A","b":"B","\xc3\xbc":"\xc3\x9c"}'), 0,
                "metadata sorted")

    # bfloat16 has no numpy type; torch's writer says what the package makes of it.
    try:
        import torch
        from safetensors.torch import save_file as torch_save
    except ImportError:
        pass
    else:
        t = torch.linspace(-3, 3, 10, dtype=torch.bfloat16).reshape(2, 5)
        torch_save({"b": t, "f": torch.ones(3)}, theirs)
        rc, out, err = run("safetensors", theirs)
        expected = line("bfloat16", (2, 5), t.view(torch.int16).numpy().tobytes(), "b")
        judge.check(expected in out.splitlines(), "bfloat16 read")
        run("copy", theirs, ours)
        judge.equal(open(ours, "rb").read(), open(theirs, "rb").read(), "bfloat16 written")

judge.exit()
