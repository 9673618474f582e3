#!/usr/bin/env python3
"""Judges a training's input against torchvision's ImageFolder and PyTorch's DataLoader: the order of the images, their
classes, and every float of every batch, over epochs, with other draws from the same generator in between."""
import os
import subprocess
import sys
import tempfile

for folder in ("image", "train"):
    sys.path.insert(1, os.path.join(os.path.dirname(os.path.abspath(__file__)), os.pardir, folder))
from augment_torch import IMAGES, preset
from judging import Bytes, Judge, np, torch
from PIL import Image
from torch.utils.data import DataLoader
from torchvision.datasets import ImageFolder

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


def judge_one(judge, root, batch, augment, seed, epochs, threads, masks):
    arguments = [root, batch, augment, seed, epochs, threads, masks]
    out = Bytes(subprocess.run([TOOL, *map(str, arguments)], stdout=subprocess.PIPE, check=True).stdout)
    torch.manual_seed(seed)
    data = ImageFolder(root, preset(*AUGMENT[augment]))
    loader = DataLoader(data, batch_size=batch, shuffle=True, num_workers=0)
    for epoch in range(epochs):
        for i, (x, y) in enumerate(loader):
            what, n = f"{arguments[1:]}: epoch {epoch}, batch {i}", len(y)
            judge.same(f"{what}: images", out.take(1, np.int64), np.array([n]))
            judge.same(f"{what}: classes", out.take(n, np.int64), y.numpy())
            judge.same(f"{what}: files", np.array([data.targets[i] for i in out.take(n, np.int64)]), y.numpy())
            judge.same(f"{what}: pixels", out.take(x.numel()).reshape(x.shape), x.numpy())
            torch.rand(masks, dtype=torch.float64)
        judge.same(f"{arguments[1:]}: end of epoch {epoch}", out.take(1, np.int64), np.array([0]))
    if not out.all_taken():
        judge.fail(f"{arguments[1:]}: more was given out than PyTorch's loader does")


def main():
    judge = Judge()
    with tempfile.TemporaryDirectory() as root:
        n = make_folder(root)
        for arguments in ((8, "torchvision-basic", 0, 3, 2, 100), (5, "torchvision-basic", 7, 2, 1, 0),
                          (n, "hflip", 1, 2, 3, 1), (7, "none", 2, 2, 2, 9216), (n + 5, "torchvision-basic", 3, 1, 2, 3),
                          (1, "hflip", 4, 1, 2, 17)):
            judge_one(judge, root, *arguments)
    return judge.finish()


if __name__ == "__main__":
    sys.exit(main())
