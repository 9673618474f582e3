"""Dumps of real engines: PyTorch and ONNX Runtime in float32 are accepted, in whole and in parts, and faults put into
either are found at the right point and named."""
import json
import os
import subprocess
import sys
import tempfile

BUILD = os.environ["ANX_BUILD_DIR"]


def skip(reason):
    print(f"SKIPPED: {reason}", file=sys.stderr)
    sys.exit(1 if os.environ.get("ANX_TESTS_NO_SKIP", "0") not in ("", "0") else 77)


try:
    import numpy as np
    import onnx
    import onnxruntime
    import torch
    import torchvision
    from PIL import Image
    from safetensors.numpy import load_file, save_file
    from torchvision.transforms import functional as F
except ImportError as e:
    skip(str(e))

MEAN, STD = [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]
failures = 0


def dump_torch(model, x, path):
    """Every module's output of torchvision's AlexNet, by its own name, on the input x (N, 3, H, W)."""
    points = {"input": x}

    def keep(name):
        # clone: ReLU(inplace=True) is about to overwrite what the convolution returned
        return lambda module, inputs, output: points.__setitem__(name, output.detach().float().clone())

    hooks = [m.register_forward_hook(keep(name)) for name, m in model.named_modules() if not list(m.children())]
    model.eval()  # or dropout runs as in training
    with torch.no_grad():
        logits = model(x)
    for hook in hooks:
        hook.remove()
    points["prob"] = torch.softmax(logits.float(), 1)
    save_file({name: t.contiguous().float().numpy() for name, t in points.items()}, path)


# What computes something, in order. An exporter may drop some (dropout is not even listed, a 6x6 average is none).
NODES = [
    ("features.0", "Conv"), ("features.1", "Relu"), ("features.2", "MaxPool"),
    ("features.3", "Conv"), ("features.4", "Relu"), ("features.5", "MaxPool"),
    ("features.6", "Conv"), ("features.7", "Relu"), ("features.8", "Conv"), ("features.9", "Relu"),
    ("features.10", "Conv"), ("features.11", "Relu"), ("features.12", "MaxPool"),
    ("avgpool", "AveragePool"), ("flatten", "Flatten"),
    ("classifier.1", "Gemm"), ("classifier.2", "Relu"), ("classifier.4", "Gemm"), ("classifier.5", "Relu"),
    ("classifier.6", "Gemm"), ("prob", "Softmax"),
]  # fmt: skip


def dump_onnx(model, x, path):
    """Activations of an ONNX AlexNet (onnx.load(...)) on the float32 array x (N, 3, H, W)."""
    names, points = {}, iter(NODES)
    for node in model.graph.node:
        if node.op_type in {op for _, op in NODES}:
            name = next((n for n, op in points if op == node.op_type), None)
            if name is not None:
                names[node.output[0]] = name
    shown = {o.name for o in model.graph.output}
    model.graph.output.extend(
        onnx.helper.make_tensor_value_info(o, onnx.TensorProto.FLOAT, None) for o in names if o not in shown
    )
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    values = session.run(list(names), {session.get_inputs()[0].name: x})
    save_file({"input": x, **dict(zip(names.values(), values))}, path)


def check(what, got, expected):
    global failures
    if got != expected:
        failures += 1
        print(f"FAILED: {what}: got {got!r}, expected {expected!r}")


def judge(dump, *options):
    """(verdict, first bad point, its causes, rows of the dump's points, those that fail) of a dump."""
    run = subprocess.run(
        [f"{BUILD}/tools/anx-parity", "check", "--against", dump, "--json", "-", *options, CHECKPOINT],
        capture_output=True, text=True,
    )  # fmt: skip
    if run.returncode not in (0, 1):
        print(run.stderr)
        return "trouble", "", [], [], []
    report = json.loads(run.stdout)
    rows = [r for r in report["judged"] if r["path"] == "against"]
    bad = report["first_bad"]
    bad = report["judged"][bad] if isinstance(bad, int) and bad >= 0 else None
    failed = [r["point"] for r in rows if r["verdict"] == "fail"]
    return report["verdict"], bad["point"] if bad else "", bad["causes"] if bad else [], rows, failed


def expect(what, dump, verdict, point="", cause=None, options=(), text=None):
    """`text`: in the likeliest cause's words, at the one point that fails."""
    got, bad, causes, rows, failed = judge(dump, *options)
    check(f"{what}: verdict", got, verdict)
    check(f"{what}: first bad point", bad, point)
    if cause is not None and cause not in [c["id"] for c in causes]:
        check(f"{what}: causes", causes, cause)
    if text is not None:
        check(f"{what}: likeliest cause", causes[0]["id"] if causes else None, cause)
        check(f"{what}: all that fails", failed, [point])
        if not causes or text not in causes[0]["text"]:
            check(f"{what}: likeliest cause", causes, text)
    return [r["point"] for r in rows]


def changed(dump, name, change):
    tensors = load_file(dump)
    tensors[name] = np.ascontiguousarray(change(tensors[name]))
    path = f"{TMP}/changed.safetensors"
    save_file(tensors, path)
    return path


def without(dump, *names):
    path = f"{TMP}/without.safetensors"
    save_file({n: t for n, t in load_file(dump).items() if n not in names}, path)
    return path


def initializer(model, shape):
    return next(i for i in model.graph.initializer if tuple(i.dims) == shape)


def with_weights(model, shape, change):
    """A copy of the ONNX model, the initializer of that shape changed."""
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    i = initializer(copy, shape)
    i.CopyFrom(onnx.numpy_helper.from_array(np.ascontiguousarray(change(onnx.numpy_helper.to_array(i))), i.name))
    return copy


def bf16(a):
    return torch.from_numpy(np.ascontiguousarray(a)).bfloat16().float().numpy()


def int8(a):
    step = np.abs(a).max() / np.float32(127)
    return np.rint(a / step) * step


def int8_rows(a):
    step = np.abs(a).max(axis=1, keepdims=True) / np.float32(127)
    return np.rint(a / step) * step


def exchanged(a):
    a = a.copy()
    a[:, [70, 301]] = a[:, [301, 70]]
    return a


def test_torch(model, stages, x):
    dump = f"{TMP}/torch.safetensors"
    dump_torch(model, x, dump)
    tensors = load_file(dump)
    save_file({**tensors, **stages}, dump)
    points = expect("PyTorch", dump, "pass", options=("--image", IMAGE))
    check("PyTorch: points", points, ["image", "resize", "crop", "input"] + POINTS + ["prob"])
    expect("two images", two_images(model, x), "pass")

    expect("a scaled layer", changed(dump, "features.6", lambda a: a * 1.001), "fail", "features.6", "scaled")
    expect("one wrong value", changed(dump, "features.8", nudge), "fail", "features.8")
    expect("BGR", changed(dump, "input", lambda a: a[:, ::-1]), "fail", "input", "channel-order")
    expect("a flatten in (H, W, C) order", changed(dump, "classifier.0", hwc), "fail", "classifier.0", "layout")
    expect("bf16 values", changed(dump, "features.3", bf16), "fail", "features.3", "rounded-output-bf16")
    crop = changed(dump, "crop", lambda a: np.roll(a, 1, axis=1))
    expect("a crop one pixel off", crop, "fail", "crop", "shift", options=("--image", IMAGE))

    fused = without(dump, "features.0", "features.3", "features.6", "features.8", "features.10", "classifier.1")
    expect("fused layers", fused, "pass")
    ends = without(dump, *[n for n in tensors if n not in ("input", "classifier.6")])
    expect("the ends alone", ends, "pass")
    expect("a fault between the ends", changed(ends, "classifier.6", bf16), "fail", "classifier.6")
    expect("no input, an image", without(dump, "input"), "pass", options=("--image", IMAGE))

    half = torchvision.models.alexnet()
    half.load_state_dict(model.state_dict())
    half = half.eval().bfloat16()
    dump_torch(half, x.bfloat16(), f"{TMP}/half.safetensors")
    save_file({**load_file(f"{TMP}/half.safetensors"), "input": x.numpy()}, f"{TMP}/half.safetensors")
    expect("PyTorch in bfloat16", f"{TMP}/half.safetensors", "fail", "features.0")


def preprocessed(image, mean=MEAN, std=STD, scale=1.0, bgr=False, antialias=True):
    """PyTorch's preprocessing of an image, or one that is wrong in one respect: the stages, and the input."""
    resize = F.resize(image, 256, F.InterpolationMode.BILINEAR)
    if not antialias:
        tensor = F.pil_to_tensor(image)[None].float()
        size = (resize.height, resize.width)
        plain = torch.nn.functional.interpolate(tensor, size, mode="bilinear", antialias=False, align_corners=False)
        resize = F.to_pil_image(plain[0].round().clamp(0, 255).byte())
    crop = F.center_crop(resize, 224)
    x = F.to_tensor(crop) * scale
    x = F.normalize(x.flip(0) if bgr else x, mean, std)[None]
    return {"image": np.asarray(image), "resize": np.asarray(resize), "crop": np.asarray(crop)}, x


def test_preprocessing(model, image):
    """Wrong preprocessing is placed there, and named, with its stages and the layers in the dump and with the input alone;
    the layers, which are right, are not blamed."""
    dump = f"{TMP}/preprocessed.safetensors"
    for what, options, stage, cause, text in (
        ("mean and std of 0.5", {"mean": [0.5] * 3, "std": [0.5] * 3}, "input", "normalisation", "-1 .. 1"),
        ("mean and std reversed", {"mean": MEAN[::-1], "std": STD[::-1]}, "input", "normalisation", "reverse order"),
        ("CIFAR's mean and std", {"mean": [0.4914, 0.4822, 0.4465], "std": [0.247, 0.2435, 0.2616]},
         "input", "normalisation", "another mean and std"),
        ("no normalisation", {"mean": [0] * 3, "std": [1] * 3}, "input", "normalisation", "not normalised at all"),
        ("0 to 255", {"mean": [0] * 3, "std": [1] * 3, "scale": 255}, "input", "normalisation", "neither scaled nor"),
        ("0 to 255, normalised", {"scale": 255}, "input", "normalisation", "as if it were 0 to 1"),
        ("BGR", {"bgr": True}, "input", "channel-order", "BGR"),
        ("BGR, 0 to 255 less a mean", {"bgr": True, "scale": 255, "mean": [103.94, 116.78, 123.68], "std": [1] * 3},
         "input", "channel-order", "BGR"),
        ("no antialiasing", {"antialias": False}, "resize", "no-antialias", "without antialiasing"),
    ):  # fmt: skip
        stages, x = preprocessed(image, **options)
        if what in ("mean and std of 0.5", "BGR", "no antialiasing"):  # one of each cause
            dump_torch(model, x, dump)
            save_file({**load_file(dump), **stages}, dump)
            expect(what, dump, "fail", stage, cause, ("--image", IMAGE), text)
        save_file({"input": x.numpy()}, dump)
        expect(f"{what}, the input alone", dump, "fail", "input", cause, ("--image", IMAGE), text)


def two_images(model, x):
    dump_torch(model, torch.cat([x, x.flip(3)]), f"{TMP}/two.safetensors")
    return f"{TMP}/two.safetensors"


def nudge(a):
    a = a.copy()
    a[0, 3, 4, 5] += 0.001
    return a


def hwc(a):
    return a.reshape(-1, 256, 6, 6).transpose(0, 2, 3, 1).reshape(-1, 9216)


def test_onnx(model, x):
    path, dump = f"{TMP}/model.onnx", f"{TMP}/onnx.safetensors"
    torch.onnx.export(model, (x,), path, input_names=["input"], output_names=["logits"], dynamo=False)
    model = onnx.load(path)
    dump_onnx(model, x.numpy(), dump)
    points = expect("ONNX Runtime", dump, "pass")
    check("ONNX Runtime: convolutions and linear layers", [p for p in points if p in SUMS], SUMS)
    model = onnx.load(path)
    for what, shape, change, point, cause in (
        ("weights rounded to bfloat16", (384, 192, 3, 3), bf16, "features.6", "reduced-precision-bf16"),
        ("a flipped kernel", (192, 64, 5, 5), lambda w: w[:, :, ::-1, ::-1], "features.3", "kernel-flipped"),
        ("weights in 8 bits", (384, 192, 3, 3), int8, "features.6", "reduced-precision-int8"),
        ("weights in 8 bits, by row", (4096, 9216), int8_rows, "classifier.1", "reduced-precision-int8"),
        ("two input channels exchanged", (256, 384, 3, 3), exchanged, "features.8", "channel-order"),
        ("a bias added twice", (384,), lambda b: 2 * b, "features.6", "bias-twice"),
        ("no bias", (384,), lambda b: b * 0, "features.6", "missing-bias"),
        ("BGR weights", (64, 3, 11, 11), lambda w: w[:, ::-1], "features.0", "channel-order"),
        ("exchanged outputs", (1000, 4096), lambda w: np.roll(w, -1, axis=0), "classifier.6", "output-order"),
    ):
        dump_onnx(with_weights(model, shape, change), x.numpy(), dump)
        expect(f"ONNX Runtime with {what}", dump, "fail", point, cause)


torch.set_num_threads(2)
torch.manual_seed(0)
MODEL = torchvision.models.alexnet().eval()
with torch.no_grad():  # seeded biases are all but zero: make them count
    for name, p in MODEL.named_parameters():
        if name.endswith("bias"):
            p.mul_(8)
SUMS = [n for n, m in MODEL.named_modules() if isinstance(m, (torch.nn.Conv2d, torch.nn.Linear))]
POINTS = [n for n, m in MODEL.named_modules() if not list(m.children())]
with tempfile.TemporaryDirectory() as TMP:
    CHECKPOINT, IMAGE = f"{TMP}/model.pth", f"{TMP}/image.png"
    torch.save(MODEL.state_dict(), CHECKPOINT)
    y, x = np.mgrid[0:300, 0:400].astype(np.float64)
    waves = [128 + 60 * np.sin(x / (9 + c)) + 50 * np.cos(y / (7 + 2 * c)) for c in range(3)]
    noise = np.random.default_rng(0).integers(-9, 10, (300, 400, 3))
    Image.fromarray((np.stack(waves, 2) + noise).clip(0, 255).astype(np.uint8)).save(IMAGE)
    image = Image.open(IMAGE).convert("RGB")
    stages, given = preprocessed(image)
    test_torch(MODEL, stages, given)
    test_preprocessing(MODEL, image)
    test_onnx(MODEL, given)
sys.exit(1 if failures else 0)
