"""tools/record-fixtures as a user runs it: the same bytes twice, read by the C reader, and equal to what ships."""

import json
import os
import subprocess
import sys
import tempfile

import numpy as np
import torch
import torchvision
from safetensors import safe_open

SOURCE, BUILD = os.environ["ANX_SOURCE_DIR"], os.environ["ANX_BUILD_DIR"]
IMAGES = os.path.join(SOURCE, "fixtures", "images")


def record(*arguments):
    return subprocess.run([sys.executable, os.path.join(SOURCE, "tools", "record-fixtures"), *arguments],
                          capture_output=True, text=True)


def must(condition, what):
    if not condition:
        sys.exit("FAILED: " + what)
    print("ok:", what)


def described(path):
    with safe_open(path, "np") as f:
        return json.loads(f.metadata()["anx"]), {k: f.get_tensor(k) for k in f.keys()}


def listed(path):
    out = subprocess.run([os.path.join(BUILD, "tests", "fixture_tool"), path], capture_output=True, text=True)
    must(out.returncode == 0, f"the C reader takes {os.path.basename(path)} {out.stderr}")
    return out.stdout.splitlines()


def main(folder):
    weights = os.path.join(folder, "model.pth")
    torch.manual_seed(1)
    model = torchvision.models.alexnet(num_classes=10).eval()
    torch.save({"state_dict": {"module." + k: v for k, v in model.state_dict().items()}}, weights)
    cat, noise = os.path.join(IMAGES, "cat.jpg"), os.path.join(IMAGES, "noise.png")

    first, second = os.path.join(folder, "first.safetensors"), os.path.join(folder, "second.safetensors")
    for path in (first, second):
        run = record("--weights", weights, "--image", cat, noise, "--detail", "sketch", "--name", "mine", "--out", path)
        must(run.returncode == 0, "recording from a wrapped checkpoint " + run.stderr)
    with open(first, "rb") as a, open(second, "rb") as b:
        must(a.read() == b.read(), "recording twice gives the same bytes")
    run = record("--weights", weights, "--image", cat, "--out", first)
    must(run.returncode == 2 and "exists; --force" in run.stderr, "nothing is overwritten unasked")
    nowhere = os.path.join(folder, "nowhere")
    run = record("--weights", weights, "--image", cat, "--out", os.path.join(nowhere, "x.safetensors"))
    must(run.returncode == 2 and run.stderr.endswith(f"there is no folder {nowhere}\n"), "a missing folder is named")
    run = record("--weights", cat, "--image", cat, "--out", os.path.join(folder, "no.safetensors"))
    must(run.returncode == 2 and run.stderr.startswith("record-fixtures: "), "a file that is no checkpoint is refused")

    mine, tensors = described(first)
    lines = listed(first)
    points = [line.split() for line in lines if line.startswith("point ")]
    must(lines[0] == "fixture mine" and len(points) == 2 * 23, "every module, flatten and prob of both images")
    by_name = {(p[1], p[2]): p[3] for p in points}
    with open(os.path.join(SOURCE, "fixtures", "MANIFEST.json"), encoding="utf-8") as f:
        shipped_by = json.load(f)["recorder"]
    shipped, _ = described(os.path.join(SOURCE, "fixtures", "alexnet-10-seed1.safetensors"))
    must(mine["params"] == shipped["params"], "the digests of the weights are those that ship")
    if mine["pytorch_bits"] and mine["recorder"]["torch"] == shipped_by["torch"]:
        case = next(c for c in shipped["cases"] if c["name"] == "noise.png")
        must(all(by_name["noise.png", p["name"]] == p["digest"] for p in case["points"]),
             "this machine's PyTorch gives the bits that ship")
    else:
        print("note: this machine's PyTorch is not one whose bits are defined; only the inputs are compared")
    case = next(c for c in shipped["cases"] if c["name"] == "noise.png")
    must(mine["cases"][1]["input_digest"] == case["input_digest"], "the input is the one that ships")

    # A sketch against arithmetic done here from the definition.
    with torch.no_grad():
        from torchvision.models import AlexNet_Weights
        from PIL import Image
        x = AlexNet_Weights.IMAGENET1K_V1.transforms()(Image.open(noise).convert("RGB"))[None].repeat(4, 1, 1, 1)
        y64 = torch.nn.functional.conv2d(x[:1].double(), model.features[0].weight.double(),
                                         model.features[0].bias.double(), 4, 2)[0].numpy()
    sketch = next(p for p in mine["cases"][1]["points"] if p["name"] == "features.0")["sketch"]
    at = tensors[sketch["positions"]]
    truth = tensors[sketch["y32"]].astype(np.float64) + tensors[sketch["e64"]]
    must(np.abs(truth - y64.reshape(-1)[at]).max() < 1e-11, "y32 + e64 is the convolution in double")
    for k in range(2):
        draws = np.random.RandomState(sketch["sign_seed"] + k)._bit_generator.random_raw(y64.size // 32)
        signs = [-1 if draws[i // 32] >> (i % 32) & 1 else 1 for i in range(y64.size)]
        sums = (y64.reshape(-1) * signs).reshape(64, -1).sum(axis=1)
        got = tensors[sketch["p32"]][0, k] + tensors[sketch["pe64"]][0, k]
        must(np.abs(got - sums).max() < 1e-8, f"projection {k} is the signed sum over each plane")

    pictures = os.path.join(folder, "pictures.safetensors")
    run = record("--preprocess", "--image", cat, noise, "--out", pictures)
    must(run.returncode == 0, "recording preprocessing " + run.stderr)
    must(len([line for line in listed(pictures) if line.startswith("sample ")]) == 2, "both images are in it")


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        main(folder)
