#!/usr/bin/env python3
"""Judges augmented images against torchvision's training preset on PIL images: each float of each image bit for bit,
and the generator afterwards."""
import io
import os
import subprocess
import sys
import tempfile

sys.path.insert(1, os.path.join(os.path.dirname(os.path.abspath(__file__)), os.pardir, "train"))
from judging import Bytes, Judge, np, torch
from PIL import Image
from torchvision import transforms
from torchvision.transforms.functional import InterpolationMode

TOOL = os.path.join(os.environ["ANX_BUILD_DIR"], "tests", "augment_tool")
IMAGES = os.path.join(os.environ["ANX_SOURCE_DIR"], "fixtures", "images")


def preset(crop, flip):
    """references/classification/presets.py: ClassificationPresetTrain; without a crop, the evaluation's geometry."""
    steps = [transforms.RandomResizedCrop(224, interpolation=InterpolationMode.BILINEAR, antialias=True)] if crop else \
        [transforms.Resize(256, interpolation=InterpolationMode.BILINEAR, antialias=True), transforms.CenterCrop(224)]
    if flip > 0:
        steps.append(transforms.RandomHorizontalFlip(flip))
    return transforms.Compose(steps + [
        transforms.PILToTensor(), transforms.ConvertImageDtype(torch.float),
        transforms.Normalize(mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225))])


def make_images(folder):
    """Sizes and kinds that the pictures at hand do not have."""
    rng = np.random.default_rng(3)
    paths = []
    for i, (width, height) in enumerate(((1, 1), (2, 300), (400, 3), (223, 225), (640, 120), (100, 900), (1500, 1100))):
        noise = rng.integers(0, 256, (max(height // 8, 1), max(width // 8, 1), 3), dtype=np.uint8)
        image = Image.fromarray(noise).resize((width, height), Image.BICUBIC)
        for j, (kind, name, options) in enumerate((("RGB", "jpg", {"quality": 90}), ("L", "jpg", {"progressive": True}),
                                                   ("CMYK", "jpg", {"subsampling": 0}), ("RGB", "png", {}),
                                                   ("P", "png", {}))):
            path = os.path.join(folder, f"{i}{j}.{name}")
            image.convert(kind).save(path, **options)
            paths.append(path)
    return paths


def loaded(path):
    with open(path, "rb") as f:
        return Image.open(io.BytesIO(f.read())).convert("RGB")


def main():
    judge = Judge()
    with tempfile.TemporaryDirectory() as folder:
        paths = make_images(folder)
        paths += [os.path.join(IMAGES, name) for name in sorted(os.listdir(IMAGES)) if name.endswith((".jpg", ".png"))]
        for seed, crop, flip in ((0, 1, 0.5), (1, 1, 0.5), (2, 1, 0.0), (3, 0, 0.5), (4, 0, 0.0), (5, 1, 1.0), (6, 1, 0.5),
                                 (2**31, 1, 0.3)):
            out = subprocess.run([TOOL, str(seed), str(crop), str(flip)], input="".join(p + "\n" for p in paths).encode(),
                                 stdout=subprocess.PIPE, check=True).stdout
            got, what = Bytes(out), f"seed {seed}, crop {crop}, flip {flip}"
            torch.manual_seed(seed)
            transform = preset(crop, flip)
            for path in paths:
                want = transform(loaded(path)).numpy()
                judge.same(f"{what}: {os.path.basename(path)}", got.take(want.size).reshape(want.shape), want)
            drawn = torch.empty(1, dtype=torch.int64).random_(0, 2**24).numpy()
            judge.same(f"{what}: the generator afterwards", got.take(1, np.uint32).astype(np.int64) % 2**24, drawn)
    return judge.finish()


if __name__ == "__main__":
    sys.exit(main())
