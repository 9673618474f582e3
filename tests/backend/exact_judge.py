#!/usr/bin/env python3
"""Judges the exact backend against PyTorch: every module's output must have PyTorch's bits.

PyTorch runs on one thread at batch 4 or more. Its bits are those the backend promises on a CPU with AVX-512 alone;
elsewhere the comparison is skipped, and that the instruction sets agree is left to test_exact.
"""
import collections
import hashlib
import os
import subprocess
import sys
import tempfile

try:
    import numpy as np
    import torch
    import torchvision
except ImportError as error:
    print(f"SKIPPED: {error}", file=sys.stderr)
    sys.exit(1 if os.environ.get("ANX_TESTS_NO_SKIP", "0") not in ("", "0") else 77)

TOOL = os.path.join(os.environ["ANX_BUILD_DIR"], "tests", "run_plan")
SIZES = [(63, 63), (67, 67), (91, 91), (256, 256), (288, 300)]


def run_tool(folder, mode, classes, size, batch, threads, isa):
    """{name: bytes} of what run_plan reads back."""
    output = os.path.join(folder, "output")
    command = [TOOL, "exact", mode, "alexnet", str(classes), str(size[0]), str(size[1]), str(batch), str(threads),
               os.path.join(folder, "params"), os.path.join(folder, "input"), output]
    listing = subprocess.run(command, env=dict(os.environ, ANX_ISA=isa), check=True, text=True,
                             stdout=subprocess.PIPE).stdout.splitlines()
    values = {}
    with open(output, "rb") as file:
        for line in listing[1:]:
            name, elems = line.split()
            values[name] = file.read(4 * int(elems))
    return listing[0], values


def torch_values(model, x):
    """{name: tensor} of every module's output, none of them overwritten in place, then flatten and softmax."""
    values = collections.OrderedDict()
    hooks = []
    for name, module in model.named_modules():
        if name in ("", "features", "classifier"):
            continue
        if isinstance(module, torch.nn.ReLU):
            module.inplace = False
        hooks.append(module.register_forward_hook(lambda m, i, y, name=name: values.__setitem__(name, y)))
    with torch.inference_mode():
        logits = model(x)
        values["flatten"] = torch.flatten(values["avgpool"], 1)
        values["prob"] = torch.softmax(logits, 1)
    for hook in hooks:
        hook.remove()
    return values


class Judge:
    def __init__(self, folder):
        self.folder = folder
        self.failures = 0
        self.points = 0

    def set_model(self, model):
        self.model = model.eval()
        state = model.state_dict()
        with open(os.path.join(self.folder, "params"), "wb") as file:
            for tensor in state.values():
                file.write(tensor.contiguous().numpy().tobytes())
        self.classes = state["classifier.6.bias"].numel()

    def judge(self, what, x, mode="observe", threads=2, isa="", expected=None):
        """Compares every value with PyTorch's, whose digests it returns; `rows`: how many images of x are run."""
        rows = x.shape[0]
        with open(os.path.join(self.folder, "input"), "wb") as file:
            file.write(x.numpy().tobytes())
        if expected is None:
            expected = torch_values(self.model, x)
        _, values = run_tool(self.folder, mode, self.classes, tuple(x.shape[2:]), rows, threads, isa)
        for name, data in values.items():
            want = expected[name][:rows].contiguous().numpy()
            self.points += 1
            if hashlib.sha256(data).digest() == hashlib.sha256(want.tobytes()).digest():
                continue
            self.failures += 1
            got = np.frombuffer(data, dtype=np.float32).reshape(want.shape)
            different = np.argwhere(got.view(np.int32) != want.view(np.int32))
            first = tuple(different[0])
            print(f"FAILED: {what}: {name}: {len(different)} of {want.size} values differ, first at {first}: "
                  f"{got[first]!r}, PyTorch {want[first]!r}")
        if mode == "observe" and set(values) != set(expected):
            self.failures += 1
            print(f"FAILED: {what}: values {sorted(set(values) ^ set(expected))} are missing on one side")
        return expected


def main():
    if "AVX512" not in torch.backends.cpu.get_cpu_capability():
        print("SKIPPED: PyTorch's own bits differ on a CPU without AVX-512", file=sys.stderr)
        return 77
    torch.set_num_threads(1)
    torch.manual_seed(2024)
    with tempfile.TemporaryDirectory() as folder:
        judge = Judge(folder)
        torch.manual_seed(0)
        judge.set_model(torchvision.models.alexnet())
        x = torch.randn(5, 3, 224, 224, generator=torch.Generator().manual_seed(1))
        expected = judge.judge("seed 0, 224x224, batch 5", x)
        judge.judge("seed 0, infer", x, mode="infer", expected=expected)
        judge.judge("seed 0, 1 thread, AVX2", x, threads=1, isa="avx2", expected=expected)
        judge.judge("seed 0, 3 threads", x, threads=3, expected=expected)
        judge.judge("seed 0, one image of the batch", x[:1].contiguous(), expected=expected)
        judge.judge("seed 0, portable, one image", x[:1].contiguous(), isa="portable", expected=expected)
        for size in SIZES:
            judge.judge(f"seed 0, {size[0]}x{size[1]}", torch.randn(4, 3, *size))
        # Weights of larger spread and inputs of wide range, so that sums cancel and roundings matter.
        model = torchvision.models.alexnet(num_classes=37)
        with torch.no_grad():
            for p in model.parameters():
                p.mul_(torch.exp(torch.randn_like(p)))
        judge.set_model(model)
        judge.judge("37 classes, spread weights", torch.randn(4, 3, 224, 224) * torch.exp(torch.randn(4, 3, 224, 224)))
        for classes, batch in ((10, 4), (10, 9), (1, 4), (2, 4), (7, 6), (11, 5), (12, 4)):
            torch.manual_seed(1)
            judge.set_model(torchvision.models.alexnet(num_classes=classes))
            judge.judge(f"{classes} classes, batch {batch}", torch.randn(batch, 3, 63, 63))
        print(f"{judge.points} values compared with PyTorch {torch.__version__}, {judge.failures} differ")
        return 1 if judge.failures else 0


if __name__ == "__main__":
    sys.exit(main())
