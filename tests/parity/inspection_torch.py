"""
PyTorch as the judge of anx-convert inspect: shapes, strides, sharing, places in the file, ranges and means of the values,
_metadata and everything else in a training checkpoint, compared with what torch holds; the JSON against its schema. Runs
under PyTorch 1.13 and the newest.
"""
import argparse
import collections
import json
import math
import os
import struct
import subprocess
import sys
import tempfile
import zipfile

HERE = os.path.dirname(os.path.abspath(__file__))
SOURCE, COMMAND = os.environ["ANX_SOURCE_DIR"], os.environ["ANX_BUILD_DIR"] + "/tools/anx-convert"
sys.path.insert(0, HERE)
sys.path.insert(0, SOURCE + "/tests/checkpoint")
from judge import Judge, skip  # noqa: E402
from schema import problems  # noqa: E402

try:
    import torch
except ImportError as e:
    skip(str(e))
try:
    import jsonschema
except ImportError:
    jsonschema = None
try:
    import safetensors.torch as safetensors
except ImportError:
    safetensors = None

VERSION = tuple(int(n) for n in torch.__version__.split("+")[0].split(".")[:2])
SCHEMA = json.load(open(SOURCE + "/parity/inspect.schema.json"))
judge = Judge()
torch.manual_seed(1)
if jsonschema:
    jsonschema.Draft202012Validator.check_schema(SCHEMA)


def refuse_constant(name):
    raise ValueError(f"{name} is not JSON")


def inspect(path, *options):
    done = subprocess.run([COMMAND, "inspect", "--json", "-", *options, path], capture_output=True, text=True)
    judge.equal((done.returncode, done.stderr), (0, ""), f"{path}: exit and errors")
    report = json.loads(done.stdout, parse_constant=refuse_constant)
    for problem in problems(report, SCHEMA, SCHEMA):
        judge.check(False, f"{path}: {problem}")
    if jsonschema:
        jsonschema.Draft202012Validator(SCHEMA).validate(report)
    text = subprocess.run([COMMAND, "inspect", path], capture_output=True, text=True, check=True).stdout
    for line in text.splitlines():
        judge.check(len(line) <= 100 and line == line.rstrip() and line.isprintable(), f"{path}: {line!r}")
    return report, text


def pointer(t):
    return (t.untyped_storage() if hasattr(t, "untyped_storage") else t.storage()).data_ptr()


def expected_statistics(t):
    """What torch's own reductions give, over doubles."""
    values = t.detach().reshape(-1)
    if not t.dtype.is_floating_point:
        whole = values.to(torch.int64)
        return {"min": int(whole.min()), "max": int(whole.max()), "mean": whole.double().mean().item(), "nan": 0,
                "infinite": 0}
    values = values.double()
    numbers, finite = values[~values.isnan()], values[values.isfinite()]
    bounds = [None, None] if not len(numbers) else [numbers.min().item(), numbers.max().item()]
    bounds = [("inf" if b > 0 else "-inf") if b is not None and math.isinf(b) else b for b in bounds]
    return {"min": bounds[0], "max": bounds[1], "mean": finite.mean().item() if len(finite) else None,
            "nan": int(values.isnan().sum()), "infinite": int(values.isinf().sum())}


def check_statistics(got, t, what):
    if t.numel() == 0:
        return judge.equal(got, None, what)
    expected = expected_statistics(t)
    for key in ("min", "max", "nan", "infinite"):
        judge.equal(got[key], expected[key], f"{what}: {key}")
    if expected["mean"] is None:
        judge.equal(got["mean"], None, f"{what}: mean")
    else: # two orders of summing doubles
        scale = t.detach().double().abs()
        scale = scale[scale.isfinite()].mean().item()
        judge.check(abs(got["mean"] - expected["mean"]) <= 1e-12 * scale, f"{what}: mean {got['mean']} {expected['mean']}")


def check_place(got, t, data, what):
    """The first and the last element lie where it says."""
    if t.numel() == 0:
        return
    last = sum((n - 1) * s for n, s in zip(got["shape"], got["strides"]))
    size = t.element_size()
    flat = t.detach().reshape(-1)
    for value, offset in ((flat[0], 0), (flat[-1], last)):
        at = got["file_offset"] + offset * size
        raw = value.reshape(1).view(torch.uint8).numpy().tobytes()
        judge.equal(data[at:at + size], raw, f"{what}: bytes at {at}")


def check_tensors(report, tensors, path):
    data = open(path, "rb").read()
    judge.equal([t["name"] for t in report["tensors"]], list(tensors), f"{path}: names")
    judge.equal(report["bytes"], len(data), f"{path}: size")
    for got, (name, t) in zip(report["tensors"], tensors.items()):
        what = f"{path}: {name}"
        judge.equal(got["dtype"], str(t.dtype)[6:], f"{what}: dtype")
        judge.equal(got["shape"], list(t.shape), f"{what}: shape")
        judge.equal(got["strides"], list(t.stride()), f"{what}: strides")
        judge.equal(got["contiguous"], t.is_contiguous(), f"{what}: contiguous")
        judge.equal(got["elements"], t.numel(), f"{what}: elements")
        judge.equal(got["bytes"], t.numel() * t.element_size(), f"{what}: bytes")
        judge.equal(got["storage_offset"], t.storage_offset(), f"{what}: offset in its storage")
        judge.equal(got["parameter"], isinstance(t, torch.nn.Parameter), f"{what}: parameter")
        judge.equal(got["requires_grad"], t.requires_grad, f"{what}: requires_grad")
        check_statistics(got["statistics"], t, what)
        check_place(got, t, data, what)
    # Tensors share a storage exactly where torch's do; storages of no bytes have no address to tell them apart.
    groups = collections.OrderedDict()
    for i, t in enumerate(tensors.values()):
        groups.setdefault(pointer(t) or f"none {i}", []).append(i)
    judge.equal([s["tensors"] for s in report["storages"]], list(groups.values()), f"{path}: storages")
    judge.equal(report["totals"]["elements"], sum(t.numel() for t in tensors.values()), f"{path}: elements")


def save(value, folder, name, **options):
    path = f"{folder}/{name}.pth"
    torch.save(value, path, **options)
    return path


def layouts():
    base = torch.randn(30, 7)
    d = collections.OrderedDict()
    d["plain"] = torch.randn(64, 3, 11, 11)
    d["large"] = torch.randn(300001) + 100
    d["transposed"] = torch.randn(5, 9).t()
    d["base"], d["row"], d["column"], d["block"] = base, base[3], base[:, 2], base[2:9:2, 1:6:3]
    d["scalar"], d["empty"] = torch.tensor(2.5), torch.empty(0, 4)
    d["half"], d["bfloat16"] = torch.randn(1000).half(), torch.randn(1000).bfloat16()
    d["double"] = torch.randn(999, dtype=torch.float64) * 1e200
    d["special"] = torch.tensor([1.0, math.nan, -math.inf, 3.0, math.inf, math.nan, -0.0])
    d["all nan"], d["one inf"] = torch.full((3,), math.nan), torch.tensor([math.inf])
    d["half special"] = d["special"].half()
    d["long"] = torch.tensor([2**62 + 1, -2**63, 5])
    d["int"], d["short"] = torch.arange(-9, 9, dtype=torch.int32), torch.arange(-9, 9, dtype=torch.int16).reshape(3, 6).t()
    d["char"], d["byte"] = torch.arange(-128, 128).to(torch.int8), torch.arange(256).to(torch.uint8)
    d["bool"] = torch.tensor([True, False, True])
    d["parameter"] = torch.nn.Parameter(torch.randn(3))
    d["frozen"] = torch.nn.Parameter(torch.randn(3), requires_grad=False)
    d["grad"] = torch.randn(2, requires_grad=True)
    return d


def writer(report):
    return report["written_by"]["text"], report["written_by"]["pytorch"]


WRITER = "PyTorch 1.9 to 2.0" if VERSION == (1, 13) else "PyTorch 2.7 or newer"


def check_layouts(folder):
    tensors = layouts()
    path = save(tensors, folder, "layouts")
    report, _ = inspect(path)
    check_tensors(report, tensors, path)
    judge.equal(report["_metadata"], None, "no _metadata")
    judge.equal(report["contents"], {"kind": "OrderedDict", "listed_tensors": len(tensors), "count": 0, "items": []},
                "nothing but tensors")
    ours = "" if VERSION == (1, 13) else ", or anx-convert, which writes the same bytes"
    judge.equal(writer(report), (WRITER + ours, True), "layouts: what wrote it")
    keys = [s["key"] for s in report["storages"]]
    judge.equal(keys, [str(i) for i in range(len(keys))], "keys")
    with zipfile.ZipFile(path) as z:
        for s in report["storages"]: # the record's bytes are at the place that is named
            record = z.read(f"layouts/data/{s['key']}")
            data = open(path, "rb").read()
            judge.equal(data[s["file_offset"]:s["file_offset"] + len(record)], record, f"storage {s['key']}")
    return path


def check_legacy(folder):
    tensors = layouts()
    path = save(tensors, folder, "legacy", _use_new_zipfile_serialization=False)
    report, text = inspect(path)
    check_tensors(report, tensors, path)
    judge.equal((report["format"], report["format_version"]), ("PyTorch legacy stream", "1001"), "legacy: format")
    judge.check("before 1.6" in report["written_by"]["text"], "legacy: what wrote it")
    judge.check("saved on a little-endian system" in report["written_by"]["because"], "legacy: byte order")
    judge.check(all(s["key"] in text for s in report["storages"]), "legacy: whole keys in the text")


def repack(path, to):
    with zipfile.ZipFile(path) as source, zipfile.ZipFile(to, "w", zipfile.ZIP_STORED) as out:
        for name in source.namelist():
            out.writestr(name, source.read(name))
    return to


class Net(torch.nn.Module):
    """The engine's own small test architecture, with a little more."""

    def __init__(self, classes=11, more=False):
        super().__init__()
        nn = torch.nn
        self.features = nn.Sequential(
            nn.Conv2d(3, 10, 5, 2, 2), nn.ReLU(), nn.MaxPool2d(3, 2), nn.Conv2d(10, 22, (3, 5), 1, (1, 2), groups=2),
            nn.ReLU(), nn.Conv2d(22, 18, 3, 1, 1), nn.ReLU(), nn.MaxPool2d(3, 2, ceil_mode=True))
        self.avgpool = nn.AdaptiveAvgPool2d(3)
        self.classifier = nn.Sequential(nn.Dropout(), nn.Linear(162, 70), nn.ReLU(), nn.Linear(70, classes))
        if more:
            self.norm = nn.BatchNorm1d(classes)

    def forward(self, x):
        return self.norm(self.classifier(self.avgpool(self.features(x)).flatten(1)))


def tree(value, listed=None):
    """What the report's contents should be: a node as torch.save was given it."""
    if value is None:
        return {"kind": "None"}
    if isinstance(value, (bool, int, str)):
        node = {"kind": type(value).__name__, "value": value}
        if isinstance(value, str):
            node["text_bytes"] = len(value.encode())
        return node
    if isinstance(value, float):
        return {"kind": "float", "value": value if math.isfinite(value) else str(value)}
    if isinstance(value, torch.Tensor):
        return {"kind": "tensor", "dtype": str(value.dtype)[6:], "shape": list(value.shape)}
    if isinstance(value, argparse.Namespace):
        return container("argparse.Namespace", vars(value).items(), listed)
    if isinstance(value, dict):
        if value is listed:
            return {"kind": "OrderedDict", "listed_tensors": len(value), "count": 0, "items": []}
        return container(type(value).__name__, value.items(), listed)
    return container(type(value).__name__, enumerate(value), listed)


def container(kind, items, listed):
    items = [{"key": str(key), **tree(value, listed)} for key, value in items]
    return {"kind": kind, "count": len(items), "items": items}


def check_training(folder):
    """As torchvision's references/classification/train.py saves: {model, optimizer, lr_scheduler, epoch, args}."""
    for name, make in {"sgd": lambda p: torch.optim.SGD(p, lr=0.01, momentum=0.9, weight_decay=1e-4),
                       "adam": lambda p: torch.optim.Adam(p, lr=1e-3)}.items():
        net = Net(more=True)
        optimizer = make(net.parameters())
        scheduler = torch.optim.lr_scheduler.StepLR(optimizer, step_size=30, gamma=0.1)
        net(torch.randn(4, 3, 33, 33)).square().sum().backward()
        optimizer.step()
        scheduler.step()
        args = argparse.Namespace(data_path="/data/imagenet", model="alexnet", device="cuda", batch_size=32, epochs=90,
                                  opt="sgd", lr=0.01, amp=False, clip_grad_norm=None, unicode="\u00e4\u6f22",
                                  test_only=False, weights=[1, 2.5, "x"], large=2**40, limit=math.inf)
        model = net.state_dict()
        checkpoint = {"model": model, "optimizer": optimizer.state_dict(), "lr_scheduler": scheduler.state_dict(),
                      "epoch": 3, "args": args}
        path = save(checkpoint, folder, f"model_{name}")
        report, text = inspect(path)
        check_tensors(report, model, path)
        judge.equal(report["wrapped_in"], "model", f"{path}: wrapped")
        judge.equal(report["contents"], tree(checkpoint, model), f"{path}: contents")
        judge.equal(report["contents_complete"], True, f"{path}: complete")
        judge.equal(writer(report), (WRITER, True), f"{path}: what wrote it")
        versions = collections.Counter(m["version"] for m in model._metadata.values())
        judge.equal({v["version"]: v["modules"] for v in report["_metadata"]["versions"]}, dict(versions),
                    f"{path}: versions")
        judge.equal(report["_metadata"]["modules"], len(model._metadata), f"{path}: modules")
        judge.equal(report["arch"]["fits"], False, f"{path}: more than the architecture")
        judge.equal((report["arch"]["name"], report["arch"]["classes"], report["arch"]["unexpected"]), ("narrow", 11, 5),
                    f"{path}: near miss")
        judge.check("argparse.Namespace of 14" in text and "... 4 more" not in text, f"{path}: text")


def check_models(folder):
    for classes in (1, 11, 1000):
        state = Net(classes).state_dict()
        report, _ = inspect(save(state, folder, "narrow"))
        judge.equal((report["arch"]["name"], report["arch"]["fits"], report["arch"]["classes"]), ("narrow", True, classes),
                    f"narrow with {classes} classes")
        prefixed = collections.OrderedDict((f"module.{k}", v) for k, v in state.items())
        path = save({"state_dict": prefixed}, folder, "prefixed")
        report, _ = inspect(path)
        judge.equal((report["arch"]["fits"], report["module_prefix"], report["wrapped_in"]), (True, True, "state_dict"),
                    "DataParallel")
        check_tensors(report, prefixed, path)
    half = collections.OrderedDict((k, v.half()) for k, v in state.items())
    report, _ = inspect(save(half, folder, "half"))
    judge.equal(report["arch"]["fits"], True, "half")


def check_other_writers(folder, path):
    report, _ = inspect(repack(path, f"{folder}/repacked.pth"))
    judge.equal(report["written_by"]["pytorch"], False, "repacked by zipfile")
    judge.check("another program than PyTorch" in report["written_by"]["text"], "repacked: text")
    tensors = {"b": torch.randn(3, 4), "a": torch.arange(5)}
    if safetensors:
        other = f"{folder}/w.safetensors"
        safetensors.save_file(tensors, other, metadata={"format": "pt", "epoch": "3"})
        report, _ = inspect(other)
        check_tensors(report, {t["name"]: tensors[t["name"]] for t in report["tensors"]}, other)
        judge.equal(sorted(t["name"] for t in report["tensors"]), ["a", "b"], "safetensors: names")
        judge.equal({p["key"]: p["value"] for p in report["text_metadata"]}, {"format": "pt", "epoch": "3"}, "pairs")
        judge.check('"format": "pt"' in report["written_by"]["text"], "safetensors: what wrote it")
    if VERSION >= (2, 6):
        torch.serialization.set_crc32_options(False)
        other = save(tensors, folder, "without-checksums")
        torch.serialization.set_crc32_options(True)
        report, _ = inspect_bad_crc(other)
        judge.check(report["bad_crc_records"] > 0, "accepted checksums are counted")
        judge.check(any("no CRC-32" in note for note in report["written_by"]["because"]), "no checksums: said")
        judge.equal(report["written_by"]["pytorch"], True, "no checksums: PyTorch's all the same")


def inspect_bad_crc(path):
    refused = subprocess.run([COMMAND, "inspect", path], capture_output=True, text=True)
    judge.equal((refused.returncode, refused.stdout), (2, ""), f"{path}: refused")
    done = subprocess.run([COMMAND, "inspect", "--json", "-", "--accept-bad-crc", path], capture_output=True, text=True)
    judge.equal(done.returncode, 0, f"{path}: accepted")
    return json.loads(done.stdout), None


def main():
    with tempfile.TemporaryDirectory() as folder:
        path = check_layouts(folder)
        check_legacy(folder)
        check_training(folder)
        check_models(folder)
        check_other_writers(folder, path)
    judge.exit()


main()
