"""anx-convert verify against torch and numpy: pairs of files that torch writes, with counts, indices, differences and
ULPs computed here, every suggestion carried out in torch, and every report against its schema."""
import collections
import json
import os
import shlex
import subprocess
import sys
import tempfile

import jsonschema
import numpy
import torch
from safetensors.torch import save_file

SOURCE = os.environ["ANX_SOURCE_DIR"]
CONVERT = os.environ["ANX_BUILD_DIR"] + "/tools/anx-convert"
failures = 0
INTEGERS = {1: torch.int8, 2: torch.int16, 4: torch.int32, 8: torch.int64}


def check(good, what):
    global failures
    if not good:
        failures += 1
        print("FAILED:", what)


def refuse_constant(name):
    raise ValueError(f"{name} is not JSON")


def whole(value):
    return int(value)  # text beyond 2^53


def bits_of(tensor):
    return tensor.contiguous().view(INTEGERS[tensor.element_size()])


def same(x, y):
    return x.dtype == y.dtype and x.shape == y.shape and torch.equal(bits_of(x), bits_of(y))


def keys_of(tensor):
    """Representable numbers counted from zero, as Python's integers where 64 bits are too few."""
    bits = bits_of(tensor).flatten()
    if not tensor.dtype.is_floating_point:
        return tensor.flatten().numpy().astype(object)
    magnitude = bits & torch.iinfo(bits.dtype).max
    keys = torch.where(bits < 0, -magnitude.long(), magnitude.long()).numpy()
    return keys.astype(object) if tensor.element_size() == 8 else keys


def first_at(mask, shape):
    """The index tuple of the first true element."""
    return [int(i) for i in numpy.unravel_index(int(numpy.argmax(mask)), shape)]


def reals_of(tensor):
    flat = tensor.contiguous().flatten()
    return flat.double().numpy() if tensor.dtype.is_floating_point else flat.numpy().astype(object)


def check_element(what, element, a, b, at):
    check(element["index"] == at, f"{what}: at {element['index']}, torch has {at}")
    for side, tensor in (("a", a), ("b", b)):
        value = tensor[tuple(at)]
        digits = 2 * tensor.element_size()
        bits = int(bits_of(value.reshape(1))[0]) & ((1 << 4 * digits) - 1)
        check(element[side]["bits"] == f"{bits:0{digits}x}", f"{what}: bits of {side} {element[side]}, torch has {bits:x}")
        shown = element[side]["value"]
        number = float(shown) if tensor.dtype.is_floating_point else int(shown)
        check(number == value.item() or (number != number and value.isnan()), f"{what}: {side} {shown}, not {value}")


def check_bits(what, row, a, b):
    """Two tensors of one dtype and shape."""
    differ = (bits_of(a) != bits_of(b)).flatten().numpy()
    check(whole(row["elements"]) == a.numel(), f"{what}: elements {row['elements']}")
    check(row["different"] == int(differ.sum()), f"{what}: {row['different']} differ, torch has {differ.sum()}")
    check_element(what, row["first"], a, b, first_at(differ, a.shape))
    if a.dtype.is_floating_point:
        a_nan, b_nan = a.isnan().flatten().numpy(), b.isnan().flatten().numpy()
    else:
        a_nan = b_nan = numpy.zeros(a.numel(), dtype=bool)
    check(row["nan_in_a_alone"] == int((a_nan & ~b_nan).sum()), f"{what}: NaN in A: {row['nan_in_a_alone']}")
    check(row["nan_in_b_alone"] == int((b_nan & ~a_nan).sum()), f"{what}: NaN in B: {row['nan_in_b_alone']}")
    check(row["nan_of_other_bits"] == int((a_nan & b_nan & differ).sum()), f"{what}: other NaN")
    valued = differ & ~a_nan & ~b_nan
    if not valued.any():
        check(row["max_abs"] is None and row["max_ulps"] is None, f"{what}: distances where there are none: {row}")
        return
    where = numpy.nonzero(valued)[0]
    with numpy.errstate(invalid="ignore"):
        distance = abs(reals_of(a)[where] - reals_of(b)[where])
    ulps = abs(keys_of(a)[where] - keys_of(b)[where])
    worst, farthest = int(numpy.argmax(distance)), int(numpy.argmax(ulps))
    check(float(row["max_abs"]) == float(distance[worst]), f"{what}: {row['max_abs']} apart, torch has {distance[worst]}")
    check(whole(row["max_ulps"]) == int(ulps[farthest]), f"{what}: {row['max_ulps']} ULPs, numpy has {ulps[farthest]}")
    shape = a.shape
    check_element(what, row["max_abs_at"], a, b, [int(i) for i in numpy.unravel_index(int(where[worst]), shape)])
    check_element(what, row["max_ulps_at"], a, b, [int(i) for i in numpy.unravel_index(int(where[farthest]), shape)])
    zeros = valued & (reals_of(a) == 0) & (reals_of(b) == 0)
    check(row["zeros_of_other_sign"] == int(zeros.sum()), f"{what}: zeros {row['zeros_of_other_sign']}")


def check_dtypes(what, row, a, b):
    """Two floating dtypes."""
    x, y = a.double(), b.double()
    equal = lambda p, q: bool((bits_of(p) == bits_of(q)).logical_or(p.isnan() & q.isnan()).all())
    differ = ~((bits_of(x) == bits_of(y)) | (x.isnan() & y.isnan())).flatten().numpy()
    check(row["different"] == int(differ.sum()), f"{what}: {row['different']} values differ, torch has {differ.sum()}")
    expected = ("equal_values" if equal(x, y) else "b_rounded" if equal(a.to(b.dtype), b) else
                "a_rounded" if equal(b.to(a.dtype), a) else None)
    check(expected is None or row["relation"] == expected, f"{what}: {row['relation']}, torch has {expected}")
    check(expected is not None or row["relation"] in ("b_truncated", "a_truncated", "unrelated"), f"{what}: {row}")
    if differ.any():
        check_element(what, row["first"], a, b, first_at(differ, a.shape))
        distance = (x - y).abs().nan_to_num(nan=-1, posinf=numpy.inf).flatten().numpy()
        check(float(row["max_abs"]) == distance.max(), f"{what}: {row['max_abs']} apart, torch has {distance.max()}")
        check_element(what, row["max_abs_at"], a, b, first_at(distance == distance.max(), a.shape))


def check_twins(what, report, a, b):
    for twin in report["twins"]:
        made = eval(twin["b_is"], {"A": a[twin["a"]]})  # the report's own expression, carried out
        check(same(made, b[twin["b"]]), f"{what}: {twin['b']} is not {twin['b_is']} of {twin['a']}")
        if twin["rename_b"] is not None:
            check(twin["rename_b"] == f"{twin['b']}={twin['a']}", f"{what}: {twin['rename_b']}")


def run(what, a, b, code, writers=(torch.save, torch.save)):
    """verify's report on two dicts of tensors, checked against them."""
    for name, tensors, write in (("a", a, writers[0]), ("b", b, writers[1])):
        write(tensors, name)
    done = subprocess.run([CONVERT, "verify", "--json", "-", "a", "b"], capture_output=True, text=True)
    check(done.returncode == code, f"{what}: exit {done.returncode} instead of {code}: {done.stderr}")
    report = json.loads(done.stdout, parse_constant=refuse_constant)
    for problem in VALIDATOR.iter_errors(report):
        check(False, f"{what}: {problem.json_path}: {problem.message}")
    rows = {row["name"]: row for row in report["tensors"]}
    for name in [*a, *(name for name in b if name not in a)]:
        x, y = a.get(name), b.get(name)
        if x is None or y is None:
            check(rows[name]["kind"] == ("only_in_b" if x is None else "only_in_a"), f"{what}: {rows.get(name)}")
        elif x.shape != y.shape:
            check(rows[name]["kind"] == "shape", f"{what}: {rows.get(name)}")
            check(rows[name]["a"]["shape"] == list(x.shape) and rows[name]["b"]["shape"] == list(y.shape), f"{what}: shapes")
        elif x.dtype != y.dtype:
            check(rows[name]["kind"] == "dtype", f"{what}: {rows.get(name)}")
            check_dtypes(f"{what}: {name}", rows[name], x, y)
        elif same(x, y):
            check(name not in rows, f"{what}: {rows.get(name)}")
        else:
            check(rows[name]["kind"] == "bits", f"{what}: {rows.get(name)}")
            check_bits(f"{what}: {name}", rows[name], x, y)
    check(report["result"] == ("different" if rows else "identical"), f"{what}: {report['result']}")
    check_twins(what, report, a, b)
    text = subprocess.run([CONVERT, "verify", "a", "b"], capture_output=True, text=True)
    check(text.returncode == code and text.stdout.startswith(report["result"]), f"{what}: {text.stdout}")
    for line in text.stdout.splitlines():
        check(len(line) <= 100 and line.isprintable(), f"{what}: {line!r}")
    return report


def save_legacy(tensors, name):
    torch.save(tensors, name, _use_new_zipfile_serialization=False)


def save_bin(tensors, name):
    torch.save(tensors, "whole.pth")
    subprocess.run([CONVERT, "whole.pth", name, "--to", "bin", "--force"], check=True, stdout=subprocess.DEVNULL)


def twins_of(report):
    return {twin["a"]: (twin["b"], twin["kind"], twin["b_is"]) for twin in report["twins"]}


def check_advice(what, options):
    """What the report says makes B's names A's does, to the bit."""
    done = subprocess.run([CONVERT, "b", "fixed.pth", "--force", *options], capture_output=True, text=True)
    check(done.returncode == 0, f"{what}: {options}: {done.stderr}")
    done = subprocess.run([CONVERT, "verify", "a", "fixed.pth"], capture_output=True, text=True)
    check(done.returncode == 0, f"{what}: {options}: {done.stdout}{done.stderr}")


def options_of_text():
    """The options in the text about files a and b."""
    text = " ".join(subprocess.run([CONVERT, "verify", "a", "b"], capture_output=True, text=True).stdout.split())
    return shlex.split(text.split("to give B the names of A: anx-convert ")[1])


def small_model():
    """AlexNet's shapes in small: names, ranks and the flattening are its own."""
    torch.manual_seed(0)
    shapes = {"features.0": (8, 3, 5, 5), "features.3": (12, 8, 3, 3), "features.6": (16, 12, 3, 3),
              "classifier.1": (24, 16 * 6 * 6), "classifier.4": (24, 24), "classifier.6": (10, 24)}
    model = collections.OrderedDict()
    for name, shape in shapes.items():
        model[name + ".weight"] = torch.randn(shape)
        model[name + ".bias"] = torch.zeros(shape[0]) if name == "features.6" else torch.randn(shape[0])
    return model


def check_same(model):
    run("itself", model, dict(model), 0)
    run("reversed names", model, dict(reversed(model.items())), 0)
    run("safetensors", model, dict(model), 0, (torch.save, save_file))
    run("legacy", model, dict(model), 0, (torch.save, save_legacy))
    run("anx bin", model, dict(model), 0, (torch.save, save_bin))
    strided = {name: t.t().contiguous().t() if t.dim() == 2 else t for name, t in model.items()}
    check(not strided["classifier.1.weight"].is_contiguous(), "strided is contiguous")
    run("strided", model, strided, 0)
    expanded = {"w": torch.ones(3, 1).expand(3, 1000)}
    run("expanded", expanded, {"w": torch.ones(3, 1000)}, 0)
    tied = torch.randn(5, 4)
    run("tied", {"x": tied, "y": tied}, {"x": tied.clone(), "y": tied.clone()}, 0)


def check_differences(model):
    for name, index, bit in (("features.3.weight", (7, 0, 2, 1), 3), ("classifier.1.weight", (23, 575), 31),
                             ("classifier.6.bias", (9,), 0)):
        flipped = {k: v.clone() for k, v in model.items()}
        flipped[name].view(torch.int32)[index] ^= -(1 << 31) if bit == 31 else 1 << bit
        report = run(f"one bit of {name}", model, flipped, 1)
        check(len(report["tensors"]) == 1 and report["tensors"][0]["first"]["index"] == list(index), f"flip of {name}")
        check(report["tensors"][0]["different"] == 1, f"flip of {name}")
        check(bit == 31 or report["tensors"][0]["max_ulps"] == 1 << bit, f"ULPs of {name}")
    generator = torch.Generator().manual_seed(3)
    for dtype in (torch.float32, torch.float64, torch.float16, torch.bfloat16, torch.int64, torch.int32, torch.int16,
                  torch.int8, torch.uint8):
        size = torch.empty(0, dtype=dtype).element_size()
        random = torch.randint(0, 256, (2, 40000 * size), dtype=torch.uint8, generator=generator)  # bits of all kinds
        a, b = (random[i].view(dtype).reshape(100, 20, 20).clone() for i in range(2))
        b[10:] = a[10:]
        run(f"random bits as {dtype}", {"w": a}, {"w": b}, 1)
    for scale in (1e-3, 1e30):
        a = torch.randn(300, 1000, generator=generator)
        b = torch.where(torch.rand(300, 1000, generator=generator) < 0.3, a, a * (1 + scale * torch.randn(300, 1000)))
        b[17, 5], b[200, 1], a[250, 0], b[250, 0] = torch.nan, torch.inf, 0.0, -0.0
        run(f"large, {scale}", {"w": a}, {"w": b}, 1)


def check_types(model):
    for dtype in (torch.float16, torch.bfloat16, torch.float64):
        report = run(f"{dtype} of float", model, {k: v.to(dtype) for k, v in model.items()}, 1)
        wanted = "equal_values" if dtype == torch.float64 else "b_rounded"
        check({row["relation"] for row in report["tensors"] if row["name"] != "features.6.bias"} == {wanted}, f"{dtype}")
        report = run(f"float of {dtype}", {k: v.to(dtype) for k, v in model.items()}, model, 1)
    truncated = {k: (v.view(torch.int32) & -65536).view(torch.float32).bfloat16() for k, v in model.items()}
    report = run("truncated", model, truncated, 1)
    check(report["tensors"][0]["relation"] == "b_truncated" and report["tensors"][0]["max_ulps"] == 1, "truncated")
    scaled = {k: (v * 1.001).half() for k, v in model.items()}
    report = run("another scale", model, scaled, 1)
    check(report["tensors"][0]["relation"] == "unrelated", "another scale")
    row, name = report["tensors"][0], report["tensors"][0]["name"]
    ulps = abs(keys_of(model[name].half()) - keys_of(scaled[name]))
    check(row["max_ulps"] == int(ulps.max()) and row["ulps_of"] == "float16", f"{row['max_ulps']} ULPs, not {ulps.max()}")
    wide = {"w": torch.tensor([1e6, 1e-9, -1e-9, 3.0, torch.nan, torch.inf, 65519.0, 65520.0])}
    run("overflow", wide, {"w": wide["w"].half()}, 1)


def check_suggestions(model):
    module = {"module." + k: v for k, v in model.items()}
    for what, a, b, inside in (("module. in B", model, module, "b"), ("module. in A", module, model, "a")):
        report = run(what, a, b, 1)
        check(report["prefix"] == {"text": "module.", "in": inside, "names": 12, "same_bits": 12}, f"{what}: {report['prefix']}")
        check(len(report["twins"]) == 12 and all(t["by"] == "name" for t in report["twins"]), what)
        if inside == "b":
            check_advice(what, ["--prefix-strip", "module."])
    names = dict(zip(["features.0", "features.3", "features.6", "classifier.1", "classifier.4", "classifier.6"],
                     ["conv1", "conv2", "conv3", "fc6", "fc7", "fc8"]))
    renamed = {names[k.rsplit(".", 1)[0]] + "." + k.rsplit(".", 1)[1]: v for k, v in model.items()}
    report = run("renamed", model, renamed, 1)
    check(twins_of(report) == {a: (b, "same", "A") for a, b in zip(model, renamed)}, f"renamed: {report['twins']}")
    check(report["prefix"] is None, "renamed: a prefix")
    check(len(options_of_text()) == 12, f"renamed: {options_of_text()}")  # six modules
    check_advice("renamed", options_of_text())
    check_advice("renamed", [word for t in report["twins"] for word in ("--rename", t["rename_b"])])
    moved = dict(model)
    moved["features.0.weight"] = model["features.0.weight"].flip(1)
    moved["features.3.weight"] = model["features.3.weight"].permute(2, 3, 1, 0).contiguous()
    moved["features.6.weight"] = model["features.6.weight"].flip(0)
    moved["classifier.1.weight"] = model["classifier.1.weight"].reshape(24, 16, 36).transpose(1, 2).reshape(24, 576)
    moved["classifier.4.weight"] = model["classifier.4.weight"].t().contiguous()
    moved["classifier.6.weight"] = model["classifier.6.weight"].t().contiguous()
    expected = {"features.0.weight": "A.flip(1)", "features.3.weight": "A.permute(2, 3, 1, 0)",
                "features.6.weight": "A.flip(0)", "classifier.4.weight": "A.permute(1, 0)",
                "classifier.1.weight": "A.reshape(24, 16, 36).transpose(1, 2).reshape(24, 576)",
                "classifier.6.weight": "A.permute(1, 0)"}
    for what, a, b in (("moved", model, moved), ("moved, module.", model, {"module." + k: v for k, v in moved.items()})):
        report = run(what, a, b, 1)
        found = {twin["a"]: twin["b_is"] for twin in report["twins"] if twin["kind"] != "same"}
        check(found == expected, f"{what}: {found}")
        check([t["channels"] for t in report["twins"] if t["kind"] == "flattened"] == [16], f"{what}: channels")
    tensorflow = {k: v.permute(2, 3, 1, 0).contiguous() if v.dim() == 4 else v.t().contiguous() if v.dim() == 2 else v
                  for k, v in moved.items() if k != "classifier.4.weight"}
    report = run("and moved again", model, tensorflow, 1)
    check(all(t["other_orders_fit"] is False for t in report["twins"]), "and moved again")
    other = {k: torch.randn_like(v) for k, v in model.items()}
    check(run("others", model, other, 1)["twins"] == [], "others have twins")


def check_beside(model):
    def wrap(tensors, name):
        torch.save({"state_dict": tensors, "epoch": 3, "optimizer": {"lr": 0.1}}, name)
    report = run("a training checkpoint", model, model, 0, (torch.save, wrap))
    check(report["a"]["not_compared"] is None, f"beside A: {report['a']}")
    check(report["b"]["not_compared"] == "'epoch' (int), 'optimizer' (dict)", f"beside B: {report['b']}")
    check(report["b"]["wrapped_in"] == "state_dict", "wrapped_in")


def main():
    global VALIDATOR
    os.environ["OMP_WAIT_POLICY"] = "passive"
    with open(SOURCE + "/parity/verify.schema.json", encoding="utf-8") as f:
        schema = json.load(f)
    jsonschema.Draft202012Validator.check_schema(schema)
    VALIDATOR = jsonschema.Draft202012Validator(schema)
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        model = small_model()
        check_same(model)
        check_differences(model)
        check_types(model)
        check_suggestions(model)
        check_beside(model)
        os.chdir("/")
    print(f"{failures} failures")
    return failures > 0


if __name__ == "__main__":
    sys.exit(main())
