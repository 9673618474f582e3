#!/usr/bin/env python3
"""Judges the exact backend's way back against PyTorch: gradients by every parameter and every module's output must
have PyTorch's bits.

PyTorch runs on one thread on a CPU with AVX-512 (exact_judge.py); elsewhere the comparison is skipped.
"""
import collections
import os
import subprocess
import sys
import tempfile

import exact_judge
from exact_judge import Rows, conv, one_nan, spread, with_zen

import numpy as np
import torch
import torchvision

TOOL = exact_judge.TOOL

class Mask(torch.nn.Module):
    """Dropout whose factors are given."""

    def __init__(self):
        super().__init__()
        self.factors = None

    def forward(self, x):
        if self.factors is None:
            return x * 1.0
        return x * self.factors


def named_modules(model):
    """{name: module} of the leaves, dropout replaced by Mask and nothing done in place."""
    for name, module in list(model.named_modules()):
        if isinstance(module, torch.nn.Dropout):
            parent, _, child = name.rpartition(".")
            setattr(model.get_submodule(parent), child, Mask())
        elif isinstance(module, torch.nn.ReLU):
            module.inplace = False
    return collections.OrderedDict((n, m) for n, m in model.named_modules()
                                   if n not in ("", "features", "classifier"))


def torch_values(model, x, gradient, trained):
    """{name: tensor} as run_plan names them."""
    values, hooks, outputs = {}, [], {}
    for name, module in named_modules(model).items():
        def keep(m, i, y, name=name):
            outputs[name] = y
            if y.requires_grad:
                y.retain_grad()
        hooks.append(module.register_forward_hook(keep))
    for i, p in enumerate(model.parameters()):
        p.grad = None
        p.requires_grad_(trained[i] == "1")
    logits = model(x)
    logits.backward(gradient)
    for hook in hooks:
        hook.remove()
    for name, y in outputs.items():
        values[name] = y.detach()
        if y.grad is not None:
            values["grad:" + name] = y.grad
    if "avgpool" in outputs:
        values["flatten"] = values["avgpool"].flatten(1)
        values["prob"] = torch.softmax(logits.detach(), 1)
        if "grad:avgpool" in values:
            values["grad:flatten"] = values["grad:avgpool"].flatten(1)
    for name, p in model.named_parameters():
        if p.grad is not None:
            values["param:" + name] = p.grad
    return values


class Judge:
    def __init__(self, folder):
        self.folder = folder
        self.points = self.failures = 0

    def path(self, name):
        return os.path.join(self.folder, name)

    def write(self, name, tensors):
        with open(self.path(name), "wb") as file:
            for tensor in tensors:
                file.write(tensor.detach().contiguous().numpy().tobytes())

    def run_tool(self, model, x, masked, trained, threads, isa):
        arch = getattr(model, "text", "alexnet")
        classes = 0 if arch != "alexnet" else model.classifier[6].out_features
        command = [TOOL, "exact", "train", arch, str(classes), str(x.shape[2]), str(x.shape[3]), str(x.shape[0]),
                   str(threads), self.path("params"), self.path("input"), self.path("output"), self.path("gradient"),
                   self.path("masks") if masked else "-", trained]
        listing = subprocess.run(command, env=exact_judge.tool_environment(isa), check=True, text=True,
                                 stdout=subprocess.PIPE).stdout.splitlines()
        values = {}
        with open(self.path("output"), "rb") as file:
            for line in listing[1:]:
                name, elems = line.split()
                values[name] = file.read(4 * int(elems))
        return values

    def judge(self, what, model, x, masked=False, trained=None, runs=((2, ""),), scale=1.0, change=None):
        """runs: threads and instruction set of each run that is compared with the one run of PyTorch."""
        trained = trained or "1" * len(list(model.parameters()))
        modules = named_modules(model)
        with torch.no_grad():
            outputs = torch_shapes(modules, model, x)
            gradient = torch.randn(outputs["logits"]) * scale
            if change is not None:
                change(gradient)
        masks = [m for m in modules.values() if isinstance(m, Mask)]
        for i, mask in enumerate(masks):
            shape = outputs["masks"][i]
            mask.factors = (torch.rand(shape, dtype=torch.float64) < 0.5).float() * 2 if masked else None
        self.write("params", model.parameters())
        self.write("input", [x])
        self.write("gradient", [gradient])
        self.write("masks", [m.factors for m in masks if m.factors is not None])
        expected = torch_values(model, x, gradient, trained)
        for threads, isa in runs:
            self.compare(f"{what}, {threads} threads{', ' if isa else ''}{isa}",
                         self.run_tool(model, x, masked, trained, threads, isa), expected)

    def compare(self, what, values, expected):
        if set(values) != set(expected):
            self.failures += 1
            print(f"FAILED: {what}: values {sorted(set(values) ^ set(expected))} are on one side only")
        for name in values.keys() & expected.keys():
            want = expected[name].contiguous().numpy()
            self.points += 1
            got = np.frombuffer(one_nan(values[name]), dtype=np.int32).reshape(want.shape)
            different = np.argwhere(got != np.frombuffer(one_nan(want.tobytes()), dtype=np.int32).reshape(want.shape))
            if len(different) == 0:
                continue
            self.failures += 1
            first = tuple(int(i) for i in different[0])
            print(f"FAILED: {what}: {name}: {len(different)} of {want.size} values differ, first at {first}: "
                  f"{got.view(np.float32)[first]!r}, PyTorch {want[first]!r}")


def torch_shapes(modules, model, x):
    """The shapes of the logits and of what the masks multiply."""
    shapes, hooks = [], []
    for module in modules.values():
        if isinstance(module, Mask):
            module.factors = None
            hooks.append(module.register_forward_hook(lambda m, i, y: shapes.append(y.shape)))
    logits = model(x)
    for hook in hooks:
        hook.remove()
    return {"logits": logits.shape, "masks": shapes}


def judge_alexnet(judge):
    every = ((2, ""), (1, ""), (3, "avx2"))
    for classes, batch, size in ((1000, 8, 224), (10, 4, 224), (100, 5, 63), (10, 16, 127), (12, 6, 95)):
        torch.manual_seed(classes)
        model = torchvision.models.alexnet(num_classes=classes)
        x = torch.randn(batch, 3, size, size)
        judge.judge(f"alexnet, {classes} classes, batch {batch}", model, x, masked=True,
                    runs=every if classes == 1000 else ((2, ""),), scale=0.1)
    torch.manual_seed(1)
    model = torchvision.models.alexnet(num_classes=10)
    x = torch.randn(4, 3, 67, 91)
    judge.judge("alexnet, portable", model, x, masked=True, runs=((2, "portable"),))
    judge.judge("alexnet, frozen features", model, x, masked=True, trained="0" * 10 + "1" * 6)
    judge.judge("alexnet, frozen but for the last bias", model, x, trained="0" * 15 + "1")
    judge.judge("alexnet, every other parameter", model, x, trained="01" * 8)
    judge.judge("alexnet, spread weights", spread(model), x, masked=True)


def judge_small_heads(judge):
    """AlexNet's last layer as people fine-tune it, behind a narrower one."""
    for classes in (1, 2, 3, 4, 7, 10, 11):
        for batch in (1, 2, 3, 8) if classes > 1 else (8,): # a single output's order is known for such batches alone
            model = Rows(576, ("flatten",), ("linear", 4096), ("relu",), ("linear", classes))
            judge.judge(f"{classes} classes, batch {batch}", model, torch.randn(batch, 576, 1, 1))


def judge_small_batches(judge):
    """The last batch of an epoch."""
    for batch, classes in ((1, 1000), (2, 10), (3, 1000)):
        judge.judge(f"alexnet, {classes} classes, batch {batch}", torchvision.models.alexnet(num_classes=classes),
                    torch.randn(batch, 3, 224, 224), masked=True)
    for batch in (1, 2, 3):
        for inputs, outputs in ((64, 20), (36, 7), (400, 193), (76, 1001)):
            model = spread(Rows(inputs, ("flatten",), ("linear", inputs), ("relu",), ("linear", outputs)))
            judge.judge(f"linear {inputs} to {outputs}, batch {batch}", model, torch.randn(batch, inputs, 1, 1))


def judge_convolutions(judge):
    """The convolution judged lies behind another one, so that its gradient by the input is computed."""
    rows = [
        (64, conv(192, 5, 1, 2)), (3, conv(24, 11, 1, 2)), (1, conv(16, 5, 1, 2)), (2, conv(5, 3)),
        (5, conv(7, 3, 1, 1)), (24, conv(40, 5, 1, 2)), (48, conv(17, 3, 1, 1)), (33, conv(50, (3, 5), 1, (1, 2))),
        (96, conv(64, 5, 1, 2, 1, 2)), (64, conv(96, 3, 1, 1, 1, 2)), (64, conv(64, 3, 1, 1, 1, 4)),
        (48, conv(96, 3, 1, 1, 1, 2)), (16, conv(48, 3, 1, 1, 1, 2)), (24, conv(24, 3, 1, 1, 1, 24)),
        (24, conv(48, 3, 1, 1, 1, 2)), (16, conv(32, 3, 1, 0)),
        (64, conv(96, 3, 2, 1)), (17, conv(33, 3, 2, 1)), (64, conv(72, 5, 3, 2)), (64, conv(128, 5, 2, 2, 1, 2)),
    ]
    for channels, row in rows:
        model = spread(Rows(3, conv(channels, 3), row))
        judge.judge(f"{row} of {channels} channels", model, torch.randn(4, 3, 15, 19), runs=((2, ""), (1, "avx2")))


def judge_linear_layers(judge):
    for batch, inputs, outputs in ((4, 64, 20), (5, 257, 193), (8, 383, 384), (7, 100, 385), (193, 64, 40),
                                   (256, 36, 300), (385, 64, 33), (17, 66, 1000), (33, 31, 63), (8, 4096, 2),
                                   (8, 4096, 3), (8, 4096, 4), (64, 4096, 1), (300, 20, 2), (1040, 12, 70)):
        model = spread(Rows(inputs, ("flatten",), ("linear", inputs), ("relu",), ("linear", outputs)))
        judge.judge(f"linear {inputs} to {outputs}, batch {batch}", model, torch.randn(batch, inputs, 1, 1),
                    runs=((2, ""), (1, "avx2"), (1, "portable")))


def judge_pools(judge):
    for row in (("max_pool2d", 3, 3, 2, 2, 1, 1, 0), ("max_pool2d", 3, 2, 2, 3, 1, 1, 1),
                ("adaptive_avg_pool2d", 6, 6), ("adaptive_avg_pool2d", 5, 9), ("adaptive_avg_pool2d", 14, 11),
                ("relu",)):
        model = Rows(3, conv(19, 3, 1, 1), ("relu",), row)
        with torch.no_grad():
            model[0].weight.copy_(torch.randn(19, 3, 3, 3).round())
            model[0].bias.zero_()
        x = torch.randn(4, 3, 14, 11).round()
        x[:, 0, 2, 2:4] = torch.nan
        x[:, 1, 3, 3] = torch.inf

        def zeros(gradient):
            gradient[0].zero_()
            gradient[1] = -0.0
        judge.judge(f"{row}", model, x, change=zeros)


def judge_special_values(judge):
    """Gradients that underflow, infinities and NaN: padding is skipped, not multiplied."""
    def change(what, gradient):
        if what == "infinite and NaN":
            gradient[1, 1, 0, 0], gradient[2, 2, -1, -1], gradient[3, 0, 3, 2] = torch.inf, torch.nan, -torch.inf
        elif what == "tiny":
            gradient *= 1e-25
        elif what == "subnormal":
            gradient *= 1e-42

    for channels, row in ((64, conv(32, 3, 1, 1)), (16, conv(48, 5, 1, 2)), (16, conv(16, 3, 1, 2))):
        for what in ("infinite and NaN", "tiny", "subnormal", "infinite weights"):
            model = Rows(3, conv(channels, 3, 2, 1), row)
            x = torch.randn(4, 3, 21, 23)
            with torch.no_grad():
                if what == "infinite weights":
                    model[1].weight[0, 0, 0, 0], model[1].weight[1, 0, -1, -1] = torch.inf, torch.nan
                elif what == "tiny":
                    model[1].weight.mul_(1e-20)
                    x *= 1e-20
            judge.judge(f"{what}, {row}", model, x, runs=((2, ""), (1, "avx2"), (1, "portable")),
                        change=lambda gradient: change(what, gradient))
    for what in ("tiny", "subnormal"):
        model = Rows(64, ("flatten",), ("linear", 64), ("linear", 50))
        judge.judge(f"{what}, linear", model, torch.randn(8, 64, 1, 1) * (1e-20 if what == "tiny" else 1),
                    change=lambda gradient: change(what, gradient))


def main():
    if "AVX512" not in torch.backends.cpu.get_cpu_capability():
        print("SKIPPED: PyTorch's own bits differ on a CPU without AVX-512", file=sys.stderr)
        return 77
    with_zen()
    exact_judge.say_what_is_compared()
    torch.set_num_threads(1)
    torch.manual_seed(2024)
    with tempfile.TemporaryDirectory() as folder:
        judge = Judge(folder)
        wanted = sys.argv[1:]
        for part in (judge_linear_layers, judge_pools, judge_convolutions, judge_special_values, judge_alexnet,
                     judge_small_heads, judge_small_batches):
            if not wanted or part.__name__ in wanted:
                part(judge)
        print(f"{judge.points} values compared with PyTorch {torch.__version__}, {judge.failures} differ")
        return 1 if judge.failures else 0


if __name__ == "__main__":
    sys.exit(main())
