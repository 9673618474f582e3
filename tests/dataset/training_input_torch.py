#!/usr/bin/env python3
"""Judges a training's input against torchvision's ImageFolder and PyTorch's DataLoader: the order of the images, their
classes, and every float of every batch, over epochs, with other draws from the same generator in between."""
import os
import subprocess
import sys
import tempfile

import numpy as np
import torch
from PIL import Image
from torch.utils.data import DataLoader
from torchvision.datasets import ImageFolder

sys.path.insert(0, os.path.join(os.environ["ANX_SOURCE_DIR"], "tests", "image"))
from augment_torch import IMAGES, preset  # noqa: E402

TOOL = os.path.join(os.environ["ANX_BUILD_DIR"], "tests", "training_input_tool")
AUGMENT = {"torchvision-basic": (True, 0.5), "hflip": (False, 0.5), "none": (False, 0.0)}


def make_folder(root):
    names = sorted(name for name in os.listdir(IMAGES) if name.endswith((".jpg", ".png")))
    for i, name in enumerate(names):
        folder = os.path.join(root, ("owl", "Ant", "b e e")[i % 3], *(["deep"] if i % 5 == 0 else []))
        os.makedirs(folder, exist_ok=True)
        os.symlink(os.path.abspath(os.path.join(IMAGES, name)), os.path.join(folder, name))
    noise = np.random.default_rng(1).integers(0, 256, (40, 700, 3), dtype=np.uint8)
    Image.fromarray(noise).save(os.path.join(root, "owl", "flat.png"))
    return len(names) + 1


class Reader:
    def __init__(self, data):
        self.data, self.at = data, 0

    def take(self, count, dtype):
        values = np.frombuffer(self.data, dtype=dtype, count=count, offset=self.at)
        self.at += values.nbytes
        return values


def judge(root, batch, augment, seed, epochs, threads, masks):
    """How many batches differ, of how many images."""
    arguments = [root, batch, augment, seed, epochs, threads, masks]
    reader = Reader(subprocess.run([TOOL, *map(str, arguments)], stdout=subprocess.PIPE, check=True).stdout)
    torch.manual_seed(seed)
    data = ImageFolder(root, preset(*AUGMENT[augment]))
    loader = DataLoader(data, batch_size=batch, shuffle=True, num_workers=0)
    bad = images = 0
    for epoch in range(epochs):
        for x, y in loader:
            n = int(reader.take(1, np.int64)[0])
            targets, files = reader.take(n, np.int64), reader.take(n, np.int64)
            pixels = reader.take(n * 3 * 224 * 224, np.uint32)
            images += n
            if n != len(y) or targets.tolist() != y.tolist() or [data.targets[i] for i in files] != y.tolist() or \
                    not np.array_equal(pixels, x.numpy().view(np.uint32).ravel()):
                bad += 1
                print(f"FAILED: {arguments[1:]}: epoch {epoch}: a batch of {len(y)} differs")
            torch.rand(masks, dtype=torch.float64)
        if reader.take(1, np.int64)[0] != 0:
            bad += 1
            print(f"FAILED: {arguments[1:]}: epoch {epoch} is longer than PyTorch's")
    return bad, images


def main():
    failures = total = 0
    with tempfile.TemporaryDirectory() as root:
        n = make_folder(root)
        for arguments in ((8, "torchvision-basic", 0, 3, 2, 100), (5, "torchvision-basic", 7, 2, 1, 0),
                          (n, "hflip", 1, 2, 3, 1), (7, "none", 2, 2, 2, 9216), (n + 5, "torchvision-basic", 3, 1, 2, 3),
                          (1, "hflip", 4, 1, 2, 17)):
            bad, images = judge(root, *arguments)
            failures += bad
            total += images
    print(f"{total} images in batches compared with torch {torch.__version__}, {failures} failures")
    return failures > 0


if __name__ == "__main__":
    sys.exit(main())
