"""
PyTorch as the judge of the checkpoint reader: what torch.save writes is read by us with the same bits, names and
order; what does not fit a model is refused in load_state_dict's own words. Runs under PyTorch 1.13 and the newest.
"""
import argparse
import collections
import os
import re
import sys
import tempfile

from judge import Judge, line, run, skip

try:
    import torch
except ImportError as e:
    skip(str(e))

VERSION = tuple(int(n) for n in torch.__version__.split("+")[0].split(".")[:2])
judge = Judge()
torch.manual_seed(1)


def tensor_line(name, t):
    t = t.detach()
    data = t.contiguous().reshape(-1).view(torch.uint8).numpy().tobytes() if t.numel() else b""
    return line(str(t.dtype)[6:], tuple(t.shape), data, name)


def lines(tensors):
    return [tensor_line(name, t) for name, t in tensors.items()]


def expect(path, tensors, what, wrapped="-", module=0, command="tensors", bad_crc=0, form="PyTorch zip"):
    rc, out, err = run(command, path)
    judge.equal(rc, 0, f"{what}: {err}")
    head = f"format={form} wrapped_in={wrapped} module={module} bad_crc={bad_crc}"
    judge.equal(out.splitlines(), [head] + lines(tensors), what)


def refused(path, message, what):
    rc, out, err = run("tensors", path)
    judge.equal((rc, out), (2, ""), f"{what}: refused")
    judge.equal(err, f"{path}: {message}\n", f"{what}: message")


class Narrow(torch.nn.Module):
    """The engine's own small test architecture."""

    def __init__(self, classes=11):
        super().__init__()
        nn = torch.nn
        self.features = nn.Sequential(
            nn.Conv2d(3, 10, 5, 2, 2), nn.ReLU(), nn.MaxPool2d(3, 2), nn.Conv2d(10, 22, (3, 5), 1, (1, 2), groups=2),
            nn.ReLU(), nn.Conv2d(22, 18, 3, 1, 1), nn.ReLU(), nn.MaxPool2d(3, 2, ceil_mode=True))
        self.avgpool = nn.AdaptiveAvgPool2d(3)
        self.classifier = nn.Sequential(nn.Dropout(), nn.Linear(162, 70), nn.ReLU(), nn.Linear(70, classes))


def layouts():
    """State dicts whose tensors lie in their storages in every way that PyTorch allows."""
    base = torch.randn(6, 8)
    yield "contiguous", {"a": base, "b": torch.randn(3), "scalar": torch.tensor(1.5), "empty": torch.randn(0, 3)}
    yield "one tensor", {"a": base}
    yield "ordered", collections.OrderedDict([("z", base), ("a", base + 1)])
    yield "the same tensor twice", {"a": base, "b": base}
    yield "views of one storage", {"all": base, "row": base[2], "column": base[:, 3], "block": base[1:4, 2:6],
                                   "every other": base[::2, ::3], "flat": base.view(-1)[5:40]}
    yield "transposed", {"t": base.t(), "p": torch.randn(2, 3, 4, 5).permute(3, 1, 0, 2)}
    yield "channels last", {"c": torch.randn(4, 3, 5, 7).contiguous(memory_format=torch.channels_last)}
    yield "expanded", {"e": torch.randn(1, 5).expand(4, 5), "s": torch.tensor(2.0).expand(7)}
    yield "storage longer than the tensor", {"a": torch.arange(1000.0)[10:20].view(2, 5)}
    yield "names", {n: torch.ones(1) for n in ("", ".", "ä", "漢字", "\U0001f600", "a b", "x" * 300, 'q"\\', "/../x")}
    many = collections.OrderedDict((f"t{i}", torch.full((i % 3,), float(i))) for i in range(2500))
    yield "many tensors", many
    for dtype in (torch.float32, torch.float64, torch.float16, torch.bfloat16, torch.int64, torch.int32, torch.int16,
                  torch.int8, torch.uint8, torch.bool):
        t = (torch.randn(5, 4) * 50).to(dtype)
        yield str(dtype), {"a": t, "b": t.t(), "c": t[1:]}
    model = Narrow()
    yield "state_dict", model.state_dict()
    yield "parameters", model.state_dict(keep_vars=True)
    yield "frozen parameters", {n: torch.nn.Parameter(p.detach(), requires_grad=False)
                                for n, p in model.named_parameters()}
    yield "requires_grad", {"a": torch.randn(3, requires_grad=True)}


def save(what, path, legacy):
    """Saves as a zip archive or as the legacy stream; returns what the reader must call it."""
    torch.save(what, path, _use_new_zipfile_serialization=not legacy)
    return "PyTorch legacy stream" if legacy else "PyTorch zip"


def save_and_compare(folder):
    for legacy in (False, True):
        for what, tensors in layouts():
            path = os.path.join(folder, "plain.pth")
            form = save(tensors, path, legacy)
            expect(path, tensors, what, form=form)
            save({"state_dict": tensors, "epoch": 3}, path, legacy)
            expect(path, tensors, f"{what}, wrapped", wrapped="state_dict", form=form)
            save({"module." + name: t for name, t in tensors.items() if name}, path, legacy)
            expect(path, {n: t for n, t in tensors.items() if n}, f"{what}, DataParallel", module=1, form=form)
    tensors = Narrow().state_dict()
    for name in ("ä.pth", "no extension", "dots.in.name.pth", "漢字.pth", "tab\t%.pth"):
        path = os.path.join(folder, name)
        torch.save(tensors, path)
        expect(path, tensors, f"file named {name!r}")
    path = os.path.join(folder, "file.pth")
    with open(path, "wb") as f:
        torch.save(tensors, f)
    expect(path, tensors, "written to an open file")
    mixed = {"module.a": torch.ones(1), "b": torch.zeros(1)}
    torch.save(mixed, path)
    expect(path, mixed, "a prefix that not all names have stays")


def training_checkpoints(folder):
    path = os.path.join(folder, "training.pth")
    model = Narrow()
    for optimizer in (torch.optim.SGD(model.parameters(), 0.1, momentum=0.9), torch.optim.Adam(model.parameters())):
        schedulers = torch.optim.lr_scheduler
        schedulers = [schedulers.StepLR(optimizer, 30, 0.1), schedulers.MultiStepLR(optimizer, [30, 60]),
                      schedulers.CosineAnnealingLR(optimizer, 10), schedulers.ReduceLROnPlateau(optimizer)]
        model.classifier(torch.randn(2, 162)).sum().backward()
        optimizer.step()
        args = argparse.Namespace(arch="alexnet", lr=0.1, batch_size=32, amp=False, ratio=None, sizes=[1, (2, 3.5)],
                                  big=2 ** 80, negative=-1, more=-2 ** 40, device=torch.device("cpu"), raw=b"\x00\xff",
                                  dtype=torch.float32, size=torch.Size([1, 2]), steps=collections.Counter("aab"),
                                  seen={1, 2}, bits=bytearray(b"\x00\xff"), z=1 - 2j, layout=torch.strided,
                                  dtypes=[torch.complex64, torch.complex128])
        everything = {"model": model.state_dict(), "optimizer": optimizer.state_dict(), "epoch": 7, "args": args,
                      "lr_scheduler": [s.state_dict() for s in schedulers], "best": torch.tensor(0.5)}
        for legacy in (False, True):
            form = save(everything, path, legacy)
            expect(path, model.state_dict(), "torchvision's train.py", wrapped="model", form=form)
    torch.save({"state_dict": torch.nn.DataParallel(model).state_dict(), "arch": "alexnet", "best_acc1": 0.3}, path)
    expect(path, model.state_dict(), "the ImageNet example's main.py", wrapped="state_dict", module=1)
    torch.save({"epoch": 1, "net": model.state_dict()}, path)
    refused(path, "no tensors among 'epoch' (int), 'net' (dict); a state_dict was expected, by itself, or under "
            "'state_dict' or 'model'", "an unknown wrapper")
    torch.save(torch.ones(3), path)
    refused(path, "the file holds a tensor; a state_dict was expected", "a bare tensor")
    torch.save([torch.ones(3)], path)
    refused(path, "the file holds a list; a state_dict was expected", "a list")
    torch.save({}, path)
    refused(path, "the file is an empty dict; tensors were expected in it", "an empty dict")
    torch.save({"model": {}}, path)
    refused(path, "its model is an empty dict; tensors were expected in it", "an empty model")


def bind(folder):
    """Parameters as the engine takes them: float32 and contiguous whatever was stored."""
    path = os.path.join(folder, "bind.pth")
    model = Narrow(classes=5)
    plain = model.state_dict()
    for dtype in (torch.float32, torch.float64, torch.float16, torch.bfloat16):
        tensors = {n: t.to(dtype) for n, t in plain.items()}
        torch.save(tensors, path)
        rc, out, err = run("bind", path)
        converted = 0 if dtype == torch.float32 else len(tensors)
        expected = [f"arch=narrow classes=5 converted={converted}"] + lines({n: t.float() for n, t in tensors.items()})
        judge.equal((rc, out.splitlines()), (0, expected), f"bind {dtype}: {err}")
    strided = {n: t.flip(0).contiguous().permute(*reversed(range(t.dim()))).contiguous()
               .permute(*reversed(range(t.dim()))) for n, t in plain.items()}
    judge.check(not strided["features.0.weight"].is_contiguous(), "the strided tensors are strided")
    torch.save(strided, path)
    rc, out, err = run("bind", path)
    judge.equal((rc, out.splitlines()[1:]), (0, lines(strided)), f"bind strided: {err}")
    expanded = dict(plain, **{"features.0.bias": torch.tensor(0.25).expand(10)})
    torch.save(expanded, path)
    rc, out, err = run("bind", path)
    judge.equal((rc, out.splitlines()[1:]), (0, lines(expanded)), f"bind expanded: {err}")


def strict(folder):
    """What does not fit is told in the words of PyTorch's strict load_state_dict."""
    path = os.path.join(folder, "misfit.pth")
    plain = Narrow().state_dict()

    def without(*names):
        return {n: t for n, t in plain.items() if n not in names}

    cases = {
        "missing": without("features.0.bias", "classifier.1.weight"),
        "unexpected": dict(plain, extra=torch.ones(1), **{"features.1.weight": torch.ones(2)}),
        "misshapen": dict(plain, **{"features.3.weight": plain["features.3.weight"].permute(1, 0, 2, 3),
                                    "features.0.bias": torch.ones(3), "classifier.1.bias": torch.ones(70, 1),
                                    "features.5.bias": torch.tensor(1.0)}),
        "all of it": dict(without("features.5.weight"), other=torch.ones(1), **{"features.0.bias": torch.ones(3)}),
        "no tensors": dict(plain, **{"features.0.bias": None, "features.3.bias": 3, "classifier.1.weight": [1, "x"],
                                     "features.5.weight": torch.ones(2), "epoch": 3}),
        "fewer classes in the bias": dict(plain, **{"classifier.3.bias": torch.ones(7)}),
    }
    for what, tensors in cases.items():
        torch.save(tensors, path)
        try:
            Narrow().load_state_dict(tensors)
            judge.check(False, f"{what}: torch refuses")
        except RuntimeError as e:
            expected = re.sub(r" +$", "", str(e), flags=re.M).replace(" for Narrow:", " for narrow:")
        rc, out, err = run("bind", path, "narrow")
        judge.equal((rc, out), (2, ""), f"{what}: refused")
        judge.equal(err, f"{path}: {expected}\n", f"{what}: message")


def refusals(folder):
    path = os.path.join(folder, "refused.pth")
    tensors = Narrow().state_dict()
    at = f"entry 'refused/data.pkl', offset "

    def save(obj, message, what, **kwargs):
        torch.save(obj, path, **kwargs)
        rc, out, err = run("tensors", path)
        judge.equal((rc, out), (2, ""), f"{what}: refused")
        if isinstance(message, str):
            judge.check(message in err, f"{what}: {message!r} in {err!r}")

    save(Narrow(), "where a whole model was saved, save model.state_dict() instead", "a whole model")
    save({"a": torch.ones(2, dtype=torch.complex64)},
         "opcode GLOBAL: names torch.ComplexFloatStorage: complex tensors are not supported", "complex")
    save({"a": torch.ones(2, dtype=torch.complex128)}, "torch.ComplexDoubleStorage: complex tensors", "complex128")
    save({"a": torch.quantize_per_tensor(torch.ones(3), 0.1, 0, torch.qint8)}, "quantized tensors", "quantized")
    save({"a": torch.eye(3).to_sparse()}, "sparse tensors are not supported; save tensor.to_dense()", "sparse")
    save({"a": torch.ones(2)}, "opcode PROTO: pickle protocol 4; torch.save writes protocol 2", "protocol 4",
         pickle_protocol=4)
    negated = torch.ones(2, dtype=torch.complex64).conj().imag
    if VERSION >= (2, 0):  # before, the bit was lost in saving
        judge.check(negated.is_neg(), "the tensor has its neg bit set")
        save({"a": negated}, "a tensor stored with its neg bit set; save tensor.clone()", "negative bit")
    if VERSION >= (2, 3):
        save({"a": torch.ones(2, dtype=torch.uint16)}, "_rebuild_tensor_v3: element types that have no storage class",
             "uint16")
        save({"a": torch.ones(2).to(torch.float8_e4m3fn)}, "element types that have no storage class", "float8")
    torch.save(torch.nn.Sequential(torch.nn.Linear(2, 3)), path, _use_new_zipfile_serialization=False)
    rc, out, err = run("tensors", path)
    judge.equal((rc, out), (2, ""), "a whole module in a legacy stream")
    judge.check("where a whole model was saved, save model.state_dict() instead" in err, f"a whole module: {err}")
    torch.jit.save(torch.jit.script(torch.nn.Sequential(torch.nn.Linear(2, 3))), path)
    refused(path, "a TorchScript archive (torch.jit.save): it holds a program; load it with torch.jit.load in Python "
            "and save its state_dict() with torch.save", "TorchScript")


def newest(folder):
    """What only the newest can write."""
    path = os.path.join(folder, "newest.pth")
    tensors = Narrow().state_dict()
    config = torch.serialization.config if hasattr(torch.serialization, "config") else None
    if config is None:
        from torch.utils.serialization import config
    for alignment in (1, 8, 4096):
        config.save.storage_alignment = alignment
        torch.save(tensors, path)
        expect(path, tensors, f"storages aligned to {alignment}")
    config.save.storage_alignment = 64
    torch.serialization.set_crc32_options(False)
    torch.save(tensors, path)
    torch.serialization.set_crc32_options(True)
    rc, out, err = run("tensors", path)
    judge.equal((rc, out), (2, ""), "a file without CRCs is refused")
    judge.check("the directory says 00000000: damaged, or written with torch.serialization.set_crc32_options(False)"
                in err, f"the message about CRCs: {err}")
    rc, out, err = run("accept", path)
    n = int(re.search(r"bad_crc=(\d+)", out).group(1)) if rc == 0 else -1
    judge.check(n >= len(tensors), f"{n} bad CRCs counted")
    expect(path, tensors, "a file without CRCs, accepted", command="accept", bad_crc=n)


with tempfile.TemporaryDirectory() as work:
    save_and_compare(work)
    training_checkpoints(work)
    bind(work)
    strict(work)
    refusals(work)
    if VERSION >= (2, 6):
        newest(work)
print(f"PyTorch {torch.__version__}, Python {sys.version.split()[0]}")
judge.exit()
