#!/usr/bin/env python3
"""Judges a training that goes on from PyTorch's checkpoint: saved again at once, it is that file, byte for byte, under
2.15; under 1.13, which writes other keys, PyTorch goes on from it as from its own.
"""
import filecmp
import os
import subprocess
import sys
import tempfile

sys.path.insert(1, os.path.join(os.path.dirname(os.path.abspath(__file__)), os.pardir, "train"))
from judging import Judge, np, torch
from torch import nn
from torch.optim import lr_scheduler as lrs

OLD = torch.__version__.startswith("1.")
TOOL = os.path.join(os.environ["ANX_BUILD_DIR"], "tests", "bridge_tool")
MAIN = {
    "steplr": lambda o: lrs.StepLR(o, 30, 0.1),
    "multisteplr": lambda o: lrs.MultiStepLR(o, [5, 2, 2]),
    "exponentiallr": lambda o: lrs.ExponentialLR(o, 0.1),
    "cosineannealinglr": lambda o: lrs.CosineAnnealingLR(o, T_max=90, eta_min=0.0),
    "plateau": lambda o: lrs.ReduceLROnPlateau(o),
}
WARMUP = {
    "linear": lambda o: lrs.LinearLR(o, start_factor=1 / 3, total_iters=5),
    "constant": lambda o: lrs.ConstantLR(o, factor=1 / 3, total_iters=5),
}


class Narrow(nn.Module):
    """The engine's narrow network (src/model/narrow.c)."""

    def __init__(self):
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(3, 10, 5, 2, 2), nn.ReLU(inplace=True), nn.MaxPool2d(3, 2), nn.Conv2d(10, 22, (3, 5), 1, (1, 2), groups=2),
            nn.ReLU(inplace=True), nn.Conv2d(22, 18, 3, 1, 1), nn.ReLU(inplace=True), nn.MaxPool2d(3, 2, ceil_mode=True))
        self.avgpool = nn.AdaptiveAvgPool2d((3, 3))
        self.classifier = nn.Sequential(nn.Dropout(), nn.Linear(162, 70), nn.ReLU(inplace=True), nn.Linear(70, 11))

    def forward(self, x):
        return self.classifier(torch.flatten(self.avgpool(self.features(x)), 1))


def make(scheduler, warmup, n_groups, frozen, momentum, more):
    """A new training: model, optimizer, scheduler or None."""
    model = Narrow()
    for p in list(model.parameters())[:frozen]:
        p.requires_grad_(False)
    params = list(model.parameters())
    groups = [{"params": [p for p in params[i::n_groups] if p.requires_grad], "weight_decay": 1e-4} for i in range(n_groups)]
    if n_groups > 1:  # rates given one by one
        groups = [{"params": g["params"], "lr": 0.1 / (i + 1), "weight_decay": 1e-4} for i, g in enumerate(groups)]
    optimizer = torch.optim.SGD(groups, lr=0.1, momentum=momentum, **more)
    state = None
    if scheduler != "none":
        state = MAIN[scheduler](optimizer)
        if warmup != "none":
            state = lrs.SequentialLR(optimizer, [WARMUP[warmup](optimizer), state], milestones=[5])
    return model, optimizer, state


def run(training, epochs):
    model, optimizer, state = training
    for _ in range(epochs):
        loss = nn.functional.cross_entropy(model(torch.randn(4, 3, 33, 33)), torch.tensor([1, 2, 3, 10]))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if isinstance(state, lrs.ReduceLROnPlateau):
            state.step(loss.item())
        elif state is not None:
            state.step()
    return training


def checkpoint_of(training, epoch):
    """As train.py saves it."""
    model, optimizer, state = training
    checkpoint = {"model": model.state_dict(), "optimizer": optimizer.state_dict()}
    if state is not None:
        checkpoint["lr_scheduler"] = state.state_dict()
    return {**checkpoint, "epoch": epoch}


def go_on(training, path):
    """Bits and rates of a training that goes on from a file for three epochs."""
    saved = torch.load(path)
    model, optimizer, state = training
    model.load_state_dict(saved["model"])
    optimizer.load_state_dict(saved["optimizer"])
    if state is not None:
        state.load_state_dict(saved["lr_scheduler"])
    torch.manual_seed(saved["epoch"] + 100)
    run(training, 3)
    return (torch.cat([p.detach().flatten() for p in model.parameters()]).numpy(),
            np.array([g["lr"] for g in optimizer.param_groups]))


def main():
    judge = Judge()
    with tempfile.TemporaryDirectory() as folder:
        os.makedirs(folder + "/theirs")
        os.makedirs(folder + "/ours")
        theirs, ours = folder + "/theirs/checkpoint.pth", folder + "/ours/checkpoint.pth"
        cases = [(s, w, groups, frozen, 0.9, epochs, {}) for s in MAIN for w in ("none", *WARMUP)
                 if s != "plateau" or w == "none" for groups, frozen in ((1, 0), (2, 0), (1, 6)) for epochs in (1, 3, 7)]
        cases += [("steplr", "none", 1, 0, 0.9, 2, {"nesterov": True}), ("steplr", "none", 2, 2, 0.9, 2, {"dampening": 0.25}),
                  ("steplr", "none", 1, 0, 0.9, 2, {"maximize": True}), ("cosineannealinglr", "linear", 1, 0, 0.9, 0, {})]
        cases += [(s, "none", 2, 0, 0.9, 0, {}) for s in MAIN]  # before the first step
        for scheduler, warmup, groups, frozen, momentum, epochs, more in cases:
            what = f"{scheduler}, warm-up {warmup}, {groups} groups, {frozen} frozen, {epochs} epochs, {more}"
            recipe = (scheduler, warmup, groups, frozen, momentum, more)
            torch.manual_seed(len(scheduler) + epochs)
            torch.save(checkpoint_of(run(make(*recipe), epochs), epochs - 1), theirs)
            done = subprocess.run([TOOL, theirs, ours, scheduler, warmup, str(groups), str(frozen)],
                                  stderr=subprocess.PIPE, universal_newlines=True)
            if done.returncode != 0:
                judge.fail(f"{what}: {done.stderr}")
            elif not OLD and not filecmp.cmp(theirs, ours, shallow=False):
                judge.fail(f"{what}: the bytes differ")
            else:
                for kind, got, want in zip(("parameters", "rates"), go_on(make(*recipe), ours), go_on(make(*recipe), theirs)):
                    judge.same(f"{what}: {kind}", got, want)
    return judge.finish()


if __name__ == "__main__":
    sys.exit(main())
