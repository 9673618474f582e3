"""
PyTorch as the judge of anx-convert: a .pth converted to .pth is what torch.save(torch.load(IN), OUT) writes, byte for
byte; what went through safetensors or bin and back is the same file again; changes of names and types are the ones
that PyTorch makes. Runs under PyTorch 1.13 and the newest; bytes are compared under the newest alone.
"""
import collections
import copy
import os
import random
import subprocess
import sys
import tempfile

from judge import Judge, skip

try:
    import numpy
    import torch
except ImportError as e:
    skip(str(e))

NEWEST = torch.__version__.startswith("2.")
CONVERT = os.environ["ANX_BUILD_DIR"] + "/tools/anx-convert"
judge = Judge()
torch.manual_seed(5)
rng = random.Random(5)
DTYPES = [torch.float32, torch.float64, torch.float16, torch.bfloat16, torch.int64, torch.int32, torch.int16,
          torch.int8, torch.uint8, torch.bool]


def convert(*args, code=0, binary=False):
    done = subprocess.run([CONVERT, *args], capture_output=True)
    judge.equal(done.returncode, code, f"{args}: {done.stderr.decode()}")
    return done.stdout if binary else done.stderr.decode()


def load(path, **options):
    return torch.load(path, weights_only=True, map_location="cpu", **options)


def read(path):
    with open(path, "rb") as f:
        return f.read()


def bits(t):
    t = t.detach().contiguous()
    return t.reshape(-1).view(torch.uint8).numpy().tobytes() if t.numel() else b""


def same(a, b, what):
    judge.equal(list(a), list(b), f"{what}: names")
    for name in a:
        if name in b:
            judge.equal((a[name].dtype, tuple(a[name].shape)), (b[name].dtype, tuple(b[name].shape)), f"{what}: {name}")
            judge.equal(bits(a[name]) == bits(b[name]), True, f"{what}: bits of {name}")


# ---- state_dicts ----------------------------------------------------------------------------------------------------

def values(dtype, *shape):
    n = 1
    for extent in shape:
        n *= extent
    if dtype == torch.bool:
        return torch.tensor([rng.random() < 0.5 for _ in range(n)], dtype=torch.bool).reshape(shape)
    raw = rng.randbytes(n * torch.tensor([], dtype=dtype).element_size())
    if n == 0:
        return torch.empty(shape, dtype=dtype)
    return torch.tensor(numpy.frombuffer(raw, dtype=numpy.uint8).copy()).view(dtype).reshape(shape)


class Model(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.features = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.BatchNorm2d(4), torch.nn.ReLU())
        self.classifier = torch.nn.Linear(4, 5)


def cases():
    yield "model", Model().state_dict()
    yield "keep_vars", Model().state_dict(keep_vars=True)
    yield "all_dtypes", collections.OrderedDict((str(d), values(d, 3, 5)) for d in DTYPES)
    yield "plain_dict", {"a": torch.randn(3), "b": torch.randn(2, 2)}
    yield "plain_dict_of_one", {"a": torch.randn(3)}
    yield "thousand", {f"t{i}": torch.full((1,), float(i)) for i in range(1000)}
    yield "two_thousand_ordered", collections.OrderedDict((f"t{i}", torch.full((1,), i)) for i in range(2001))
    yield "empties", {"none": torch.zeros(0), "zero": torch.zeros(2, 0, 3), "scalar": torch.tensor(4.5)}
    base = torch.arange(60.0)
    yield "views", collections.OrderedDict(
        whole=base, part=base[7:20], turned=base.view(6, 10).t(), steps=base[::7], wide=base[:3].expand(4, 3))
    weight = torch.randn(4, 3)
    yield "tied", collections.OrderedDict(a=weight, b=weight.detach(), c=weight)
    yield "hidden_tail", {"small": torch.randn(1000)[:4]}
    yield "grads", {"w": torch.randn(3, requires_grad=True), "p": torch.nn.Parameter(torch.randn(2)),
                    "frozen": torch.nn.Parameter(torch.randn(2), requires_grad=False)}
    yield "half", Model().half().state_dict()
    yield "bfloat16", Model().bfloat16().state_dict()
    yield "channels_last", Model().to(memory_format=torch.channels_last).state_dict()
    many = Model().state_dict()
    many._metadata["features"]["version"] = None
    many._metadata["classifier"].update(version=70000, note="text", on=True, off=False, far=-5)
    yield "metadata", many
    deep = Model().state_dict()
    deep._metadata["features"]["deep"] = {"list": [1, (2, 3, 4, 5), [], [6]], "tuple": (), "big": 2 ** 70, "one": (1,),
                                          "two": (1, 2), "ordered": collections.OrderedDict(a=1)}
    if NEWEST:  # 1.13's restricted unpickler takes no floats
        deep._metadata["features"]["real"] = 1.5
    yield "deep_metadata", deep
    interned = Model()
    interned.register_buffer("version", torch.ones(3))  # the same text as that of _metadata, and the same object
    yield "interned", interned.state_dict()
    unicode = collections.OrderedDict()
    unicode["schl\u00fcssel.\u540d"] = torch.randn(2)
    unicode["tab\there"] = torch.randn(2)
    yield "names", unicode
    for i in range(40):
        yield f"random{i}", random_dict()


def random_dict():
    out = collections.OrderedDict() if rng.random() < 0.5 else {}
    pool = [values(rng.choice(DTYPES), rng.randrange(1, 200)) for _ in range(rng.randrange(1, 4))]
    for i in range(rng.randrange(1, 30)):
        t = rng.choice(pool)
        kind = rng.randrange(6)
        if kind == 0:
            start = rng.randrange(t.numel())
            t = t[start:start + rng.randrange(1, 20)]
        elif kind == 1 and t.numel() >= 12:
            t = t[:12].view(3, 2, 2).permute(rng.sample(range(3), 3))
        elif kind == 2:
            t = values(rng.choice(DTYPES), *[rng.randrange(0, 4) for _ in range(rng.randrange(0, 6))])
        elif kind == 3:
            t = t[::rng.randrange(1, 5)]
        elif kind == 4 and t.dtype.is_floating_point:
            t = torch.nn.Parameter(t.detach(), requires_grad=rng.random() < 0.5)
        out[f"name.{i}"] = t
    return out


# ---- what is judged -------------------------------------------------------------------------------------------------

def judge_case(folder, name, state):
    source, target, wanted = (os.path.join(folder, d, "file.pth") for d in ("in", "out", "wanted"))
    torch.save(state, source)
    convert(source, target, "--force")
    loaded = load(source)
    same(loaded, load(target), f"{name}: pth")
    if NEWEST:
        same(loaded, load(target, mmap=True), f"{name}: pth, mapped")
        torch.save(loaded, wanted)
        judge.equal(read(target) == read(wanted), True, f"{name}: the bytes of torch.save")
    old = os.path.join(folder, "old.pth")
    torch.save(state, old, _use_new_zipfile_serialization=False)
    convert(old, target, "--force")
    same(loaded, load(target), f"{name}: from a legacy stream")
    if NEWEST:
        torch.save(load(old), wanted)
        judge.equal(read(target) == read(wanted), True, f"{name}: the bytes of torch.save, from a legacy stream")
    plain_views = all(t.is_contiguous() and t.untyped_storage().nbytes() == t.numel() * t.element_size()
                      if NEWEST else t.is_contiguous() for t in state.values())
    storages = [t.data_ptr() for t in state.values() if t.numel()]
    apart = plain_views and len(set(storages)) == len(storages) and not any(
        isinstance(t, torch.nn.Parameter) or t.requires_grad for t in state.values()) and name not in ("deep_metadata", "interned")
    for middle in ("file.safetensors", "file.bin"):
        path = os.path.join(folder, middle)
        convert(source, path, "--force")
        again = os.path.join(folder, "out", "file.pth")
        convert(path, again, "--force")
        same(loaded, load(again), f"{name}: {middle} and back")
        if NEWEST and apart:
            torch.save(load(source), wanted)
            judge.equal(read(again) == read(wanted), True, f"{name}: {middle} and back, the same bytes")
        if middle == "file.safetensors" and NEWEST:
            import safetensors.torch
            same(dict(sorted(loaded.items())), dict(sorted(safetensors.torch.load_file(path).items())),
                 f"{name}: safetensors' own reader")
            canonical(folder, path, loaded, name)
        elsewhere = os.path.join(folder, "elsewhere." + middle)
        convert(target, elsewhere, "--force")
        judge.equal(read(elsewhere) == read(path), True, f"{name}: {middle} from zip and from legacy")


def canonical(folder, path, state, name):
    """But for the metadata, whose order is random there, the bytes of safetensors' own writer."""
    import json
    import safetensors.torch
    theirs = os.path.join(folder, "theirs.safetensors")
    safetensors.torch.save_file({k: v.detach().clone().contiguous() for k, v in state.items()}, theirs)
    parts = []
    for file in (path, theirs):
        data = read(file)
        length = int.from_bytes(data[:8], "little")
        header = json.loads(data[8:8 + length])
        header.pop("__metadata__", None)
        parts.append((list(header.items()), data[8 + length:], length % 8))
    judge.equal(parts[0] == parts[1], True, f"{name}: laid out as safetensors' own writer does")


def judge_types(folder):
    specials = torch.tensor([0.0, -0.0, float("inf"), float("-inf"), 1e-45, -1e-40, 65504.0, 65519.9, 65520.0, 3e38,
                             1e300, 5e-324, 2.0 ** -24, 2.0 ** -25, 1.5 * 2.0 ** -25, 1 + 2.0 ** -11, 1 + 3 * 2.0 ** -11,
                             2049.0, 2051.0, 1 + 2.0 ** -24 + 2.0 ** -50], dtype=torch.float64)
    names = {"f32": torch.float32, "f16": torch.float16, "bf16": torch.bfloat16, "f64": torch.float64}
    for dtype in names.values():
        state = collections.OrderedDict(special=specials.to(dtype), noise=values(dtype, 4001), whole=torch.arange(5))
        source = os.path.join(folder, "types.pth")
        torch.save(state, source)
        for option, wanted in names.items():
            for ending in (".pth", ".safetensors", ".bin"):
                middle, back = os.path.join(folder, "typed" + ending), os.path.join(folder, "typed_back.pth")
                text = subprocess.run([CONVERT, source, middle, "--force", "--dtype", option], capture_output=True,
                                      text=True).stdout
                convert(middle, back, "--force")
                got = load(back)
                changed = 0
                for key in ("special", "noise"):
                    # float64 to a narrow type rounds twice in PyTorch, over float32: numpy rounds once, as we do
                    exact = state[key].double().numpy()
                    with numpy.errstate(all="ignore"):
                        if wanted == torch.bfloat16:
                            expected = once_to_bfloat16(exact)
                        else:
                            expected = torch.tensor(exact.astype(str(wanted)[6:]))
                    nan = torch.isnan(expected)
                    judge.equal(got[key].dtype, wanted, f"{dtype} to {option}: type")
                    judge.equal(bool((torch.isnan(got[key]) == nan).all()), True, f"{dtype} to {option}: NaN stays NaN")
                    judge.equal(bits(got[key][~nan]) == bits(expected[~nan]), True, f"{dtype} to {option}: {key}")
                    before, after = state[key].double()[~nan], expected.double()[~nan]
                    changed += int((before != after).sum())
                if dtype != wanted:
                    said = f": {changed} rounded," if changed else ", all exactly"
                    judge.equal(said in text, True, f"{dtype} to {option}: report {text}")
                judge.equal(got["whole"].tolist(), [0, 1, 2, 3, 4], f"{dtype} to {option}: integers stay")


def once_to_bfloat16(exact):
    """Round to nearest even from float64 by integers: to 8 bits of significand, denormals as float32's."""
    with numpy.errstate(all="ignore"):
        out = torch.empty(len(exact), dtype=torch.bfloat16)
        for i, x in enumerate(exact):
            if numpy.isnan(x) or numpy.isinf(x) or x == 0:
                out[i] = float(x)
                continue
            mantissa, exponent = numpy.frexp(abs(x))
            quantum = max(int(exponent) - 8, -133)
            units = abs(float(x)) / 2.0 ** quantum if quantum > -1000 else 0
            whole = int(units)
            rest = units - whole
            whole += rest > 0.5 or (rest == 0.5 and whole % 2)
            value = float(whole) * 2.0 ** quantum
            out[i] = float(numpy.copysign(value if value <= 3.3895313892515355e38 else numpy.inf, x))
        return out


def judge_names(folder):
    wrapped = torch.nn.DataParallel(Model()).state_dict()
    source, target = os.path.join(folder, "in", "names.pth"), os.path.join(folder, "out", "names.pth")
    wanted = os.path.join(folder, "wanted", "names.pth")
    torch.save(wrapped, source)
    convert(source, target, "--force")
    judge.equal(list(load(target)), list(wrapped), "a module. prefix stays")
    convert(source, target, "--force", "--prefix-strip", "module.")
    if NEWEST:
        state = load(source)
        torch.nn.modules.utils.consume_prefix_in_state_dict_if_present(state, "module.")
        torch.save(state, wanted)
        judge.equal(read(target) == read(wanted), True, "consume_prefix_in_state_dict_if_present")
    without_dot = os.path.join(folder, "out", "without_dot.pth")
    convert(source, without_dot, "--force", "--prefix-strip", "module")
    judge.equal((list(load(without_dot)), list(load(without_dot)._metadata)),
                (list(load(target)), list(load(target)._metadata)), "the dot behind the prefix goes with it")
    near = torch.nn.ModuleDict({"a": torch.nn.Linear(1, 1), "ab": torch.nn.Linear(1, 1, bias=False)}).state_dict()
    torch.save(near, source)
    convert(source, target, "--force", "--prefix-strip", "ab")
    judge.equal((list(load(target)), list(load(target)._metadata)), (["a.weight", "a.bias", "weight"], ["", "a"]),
                "a prefix that goes on behind a module's name is not that module's")
    plain = Model().state_dict()
    torch.save(plain, source)
    convert(source, target, "--force", "--rename", "classifier=head", "--rename", "head.bias=b", "--only", "classifier.*",
            "--only", "features.0.*")
    got = load(target)
    judge.equal(list(got), ["features.0.weight", "features.0.bias", "head.weight", "b"], "renamed and chosen")
    judge.equal(list(got._metadata), ["", "features", "features.0", "features.1", "features.2", "head"], "_metadata too")
    for args, code, message in [
        (["--rename", "nothing=x"], 2, "--rename 'nothing': no tensor and no module is called so"),
        (["--prefix-strip", "q."], 2, "--prefix-strip 'q.': no tensor's name begins so"),
        (["--only", "z*"], 2, "--only 'z*': no tensor's name matches"),
        (["--rename", "features.0.weight=features.0.bias"], 2, "two tensors would be called 'features.0.bias'"),
        (["--rename", b"classifier=\xff"], 2, "a tensor would be called '\\xff.bias', which is not UTF-8"),
        (["--prefix-strip", "features.0.weight"], 2, "nothing would be left of a tensor's name"),
    ]:
        judge.equal(convert(source, target, "--force", *args, code=code),
                    f"anx-convert: {source}: {message}\n", f"{args}")


def judge_training(folder):
    import argparse
    model = Model()
    optimizer = torch.optim.SGD(model.parameters(), 0.1, momentum=0.9, weight_decay=1e-4)
    scheduler = torch.optim.lr_scheduler.StepLR(optimizer, 30)
    model.classifier(torch.randn(2, 4)).sum().backward()
    optimizer.step()
    source, target = os.path.join(folder, "in", "file.pth"), os.path.join(folder, "out", "file.pth")
    torch.save({"model": model.state_dict(), "optimizer": optimizer.state_dict(),
                "lr_scheduler": scheduler.state_dict(), "epoch": 89,
                "args": argparse.Namespace(lr=0.1, model="alexnet")}, source)
    said = convert(source, target, "--force").splitlines()
    judge.equal(said, ["anx-convert: left out: optimizer (a dict of 2)",
                       f"anx-convert: left out: lr_scheduler (a dict of {len(scheduler.state_dict())})",
                       "anx-convert: left out: epoch = 89", "anx-convert: left out: args (an object)"], "what is left out")
    same(model.state_dict(), load(target), "a training checkpoint's model")
    if NEWEST:
        wanted = os.path.join(folder, "wanted", "file.pth")
        torch.save(model.state_dict(), wanted)
        judge.equal(read(target) == read(wanted), True, "a training checkpoint's model: the bytes of torch.save")
    torch.save({"model": {"w": torch.ones(1)}, 3: 0.1, (1, 2): None, None: torch.ones(2), "note": "it's", 2.5: 2 ** 70},
               source)
    judge.equal(convert(source, target, "--force").splitlines(),
                ["anx-convert: left out: " + text for text in (
                    "3 = 0.1", "tuple = None", "None (a tensor)", "note = 'it's'", "2.5 = 0x400000000000000000")],
                "keys that are no text are named")


def judge_losses(folder):
    """What a format cannot keep is said, and only that."""
    source, back = os.path.join(folder, "in", "file.pth"), os.path.join(folder, "out", "file.pth")
    torch.save(Model().state_dict(keep_vars=True), source)
    for ending, said in (("safetensors", True), ("bin", True), ("pth", False)):
        message = ("anx-convert: 6 Parameters, or tensors that require a gradient, are written as plain tensors: "
                   f"{ending} knows no others\n" if said else "")
        judge.equal(convert(source, os.path.join(folder, "out", "file." + ending), "--force"), message, ending)
    few = collections.OrderedDict(b=torch.ones(2), a=torch.zeros(2))
    few._metadata = collections.OrderedDict({"": {"version": 1}})
    many = collections.OrderedDict((f"{9999 - i}" + "x" * 100, torch.full((1,), i)) for i in range(9999))
    many._metadata = few._metadata
    for state, ending, message in (
            (few, "safetensors", ""), (few, "bin", ""), (many, "bin", ""),
            (many, "safetensors", "anx-convert: left out: the order of the names, which takes more room than safetensors "
                                  "has for it\n")):
        path = os.path.join(folder, "out", "file." + ending)
        torch.save(state, source)
        judge.equal(convert(source, path, "--force"), message, f"{len(state)} names to {ending}")
        convert(path, back, "--force")
        got = load(back)
        judge.equal(got._metadata, state._metadata, f"{len(state)} names to {ending} and back: _metadata")
        judge.equal(list(got) == (sorted(state) if message else list(state)), True, f"{len(state)} names, {ending}: order")


def judge_stream(folder):
    """Standard output: torch.save calls what it writes to a file object "archive"."""
    import io
    state = Model().state_dict()
    source = os.path.join(folder, "in", "file.pth")
    torch.save(state, source)
    for ending in ("safetensors", "bin"):
        path = os.path.join(folder, "stream." + ending)
        convert(source, path, "--force")
        judge.equal(convert(source, "-", "--to", ending, binary=True) == read(path), True, f"{ending} as a stream")
    streamed = convert(source, "-", "--to", "pth", binary=True)
    same(state, torch.load(io.BytesIO(streamed)), "pth as a stream")
    if NEWEST:
        buffer = io.BytesIO()
        torch.save(load(source), buffer)
        judge.equal(streamed == buffer.getvalue(), True, "pth as a stream: the bytes of torch.save")
    raw = convert(source, "-", "--to", "raw", "--only", "features.0.*", binary=True)
    judge.equal(raw, bits(state["features.0.weight"]) + bits(state["features.0.bias"]), "raw")


def main():
    with tempfile.TemporaryDirectory() as folder:
        for sub in ("in", "out", "wanted"):
            os.mkdir(os.path.join(folder, sub))
        for name, state in cases():
            judge_case(folder, name, state)
        judge_types(folder)
        judge_names(folder)
        judge_training(folder)
        judge_losses(folder)
        judge_stream(folder)
    print(f"PyTorch {torch.__version__}", end=": ")
    judge.exit()


if __name__ == "__main__":
    main()
