"""anx-parity dump against PyTorch, torchvision and Pillow: every point's values, by every device."""
import os
import subprocess
import sys
import tempfile

try:
    import numpy as np
    import PIL.Image
    import safetensors
    import torch
    import torchvision
    from safetensors.torch import load_file, save_file
except ImportError as error:
    print(f"SKIPPED: {error}", file=sys.stderr)
    sys.exit(1 if os.environ.get("ANX_TESTS_NO_SKIP", "0") not in ("", "0") else 77)

sys.path.insert(0, os.environ["ANX_SOURCE_DIR"] + "/tests/backend")
from exact_judge import with_zen  # noqa: E402

TOOLS = os.environ["ANX_BUILD_DIR"] + "/tools/"
STAGES = ["image", "resize", "crop", "scaled", "input"]
failures = 0


def check(good, what):
    global failures
    if not good:
        failures += 1
        print("FAILED:", what)


def dump(*arguments):
    subprocess.run([TOOLS + "anx-parity", "dump", *arguments], check=True, env={k: v for k, v in os.environ.items() if k != "LD_PRELOAD"})


def module_values(model, x):
    """Every module's output in the order of execution, none overwritten in place; then flatten, logits, prob."""
    values, hooks = {}, []
    for name, module in model.named_modules():
        if name in ("", "features", "classifier"):
            continue
        if isinstance(module, torch.nn.ReLU):
            module.inplace = False
        hooks.append(module.register_forward_hook(lambda m, i, y, name=name: values.__setitem__(name, y)))
    with torch.inference_mode():
        values["logits"] = model(x)
        values["flatten"] = torch.flatten(values["avgpool"], 1)
        values["prob"] = torch.softmax(values["logits"], 1)
    for hook in hooks:
        hook.remove()
    return values


def same_bits(a, b):
    return a.dtype == b.dtype and a.shape == b.shape and a.numpy().tobytes() == b.numpy().tobytes()


def near(a, b):
    return a.shape == b.shape and a.dtype == torch.float32 and torch.allclose(a, b, rtol=1e-4, atol=1e-5)


def check_modules(what, got, expected, equal):
    check(set(got) - {"input"} == set(expected), f"{what}: the points {sorted(set(got) ^ set(expected))}")
    for name in set(got) & set(expected):
        check(equal(got[name], expected[name]), f"{what}: {name}")


def check_batch(model, checkpoint, folder):
    generator = torch.Generator().manual_seed(4)
    x = torch.rand(4, 3, 224, 224, generator=generator) * 4 - 2
    path, out = folder + "/batch.safetensors", folder + "/out.safetensors"
    save_file({"input": x}, path)
    expected = module_values(model, x)
    has_bits = "AVX512" in torch.backends.cpu.get_cpu_capability()
    for device, equal in (("exact", same_bits if has_bits else near), ("cpu", near), ("reference", near)):
        dump(checkpoint, "--input", path, "--device", device, "--threads", "2", "-o", out, "--force")
        got = load_file(out)
        check(same_bits(got["input"], x), f"{device}: input")
        check_modules(device, got, expected, equal)
        with safetensors.safe_open(out, "pt") as file:
            check(file.metadata()["device"] == device and file.metadata()["arch"] == "alexnet", f"{device}: metadata")


def check_sizes(model, checkpoint, folder):
    """Another size and batch, half precision, a choice of points."""
    x = torch.rand(2, 3, 91, 67, generator=torch.Generator().manual_seed(5)).half()
    path, out = folder + "/small.safetensors", folder + "/small-out.safetensors"
    save_file({"input": x, "other": torch.zeros(1)}, path)
    dump(checkpoint, "--input", path, "--points", "features.1?, logits", "-o", out)
    got = load_file(out)
    expected = module_values(model, x.float())
    check(set(got) == {"features.10", "features.11", "features.12", "logits"}, f"points: {sorted(got)}")
    for name, value in got.items():
        check(near(value, expected[name]), f"91x67: {name}")


def check_image(model, checkpoint, folder):
    rng = np.random.default_rng(6)
    pixels = np.kron(rng.integers(0, 256, (30, 41, 3)), np.ones((11, 13, 1))).astype(np.uint8)
    pixels += rng.integers(0, 20, pixels.shape, dtype=np.uint8)
    path, out = folder + "/photo.jpg", folder + "/photo.safetensors"
    PIL.Image.fromarray(pixels).save(path, quality=92)
    dump(checkpoint, "--image", path, "-o", out)
    got = load_file(out)
    image = PIL.Image.open(path).convert("RGB")
    resize = torchvision.transforms.functional.resize(image, 256)
    crop = torchvision.transforms.functional.center_crop(resize, 224)
    scaled = torchvision.transforms.functional.to_tensor(crop)
    transforms = torchvision.models.AlexNet_Weights.IMAGENET1K_V1.transforms()
    x = transforms(image)
    pillow = [int(part) for part in PIL.__version__.split(".")[:2]]
    if pillow >= [12, 2]:
        for name, expected in (("image", image), ("resize", resize), ("crop", crop)):
            check(same_bits(got[name], torch.from_numpy(np.array(expected))), name)
        check(same_bits(got["scaled"], scaled), "scaled")
        check(same_bits(got["input"], x), "input")
    expected = module_values(model, got["input"][None])
    modules = {name: value for name, value in got.items() if name not in STAGES}
    check_modules("image", modules, expected, near)
    dump(checkpoint, "--image", path, "--points", "crop,input", "-o", out, "--force")
    check(set(load_file(out)) == {"crop", "input"}, "points of stages")


def main():
    with_zen()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        checkpoint = folder + "/ten.pth"
        subprocess.run([TOOLS + "anx-convert", "init", "--arch", "alexnet", "--seed", "2", "--num-classes", "64", "-o",
                        checkpoint], check=True, stdout=subprocess.DEVNULL)
        model = torchvision.models.alexnet(num_classes=64).eval()
        model.load_state_dict(torch.load(checkpoint, weights_only=True))
        check_batch(model, checkpoint, folder)
        check_sizes(model, checkpoint, folder)
        check_image(model, checkpoint, folder)
    print(f"{failures} failures, PyTorch {torch.__version__}, Pillow {PIL.__version__}")
    return failures > 0


if __name__ == "__main__":
    sys.exit(main())
