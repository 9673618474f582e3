#!/usr/bin/env python3
"""Judges the exact backend against PyTorch: every module's output must have PyTorch's bits.

PyTorch runs on one thread at batch 4 or more. Its bits are those the backend promises on a CPU with AVX-512 alone;
elsewhere the comparison is skipped, and that the instruction sets agree is left to test_exact. The order of its matrix
products is that which MKL takes on AMD's CPUs. On Intel's, MKL takes others, unless a library that is loaded before it
says that the CPU is a Zen (tests/support/mkl_zen.c): the judge then starts itself again with it.
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
ZEN = os.path.join(os.environ["ANX_BUILD_DIR"], "tests", "libmkl_zen.so")
SIZES = [(63, 63), (67, 67), (91, 91), (256, 256), (288, 300)]


def with_zen():
    """Starts this program again where MKL would not take the order of summation that is judged."""
    with open("/proc/cpuinfo") as file:
        amd = "AuthenticAMD" in file.read()
    if amd or ZEN in os.environ.get("LD_PRELOAD", ""):
        return
    os.execve(sys.executable, [sys.executable, *sys.argv], dict(os.environ, LD_PRELOAD=ZEN))


def say_what_is_compared():
    """For the log: by what PyTorch's matrix products have the judged order, so that all of it is compared in bits."""
    told = ZEN in os.environ.get("LD_PRELOAD", "")
    print(f"MKL takes its kernels for AMD's CPUs {'because it is told to' if told else 'by itself'}; oneDNN those for "
          f"{torch.backends.cpu.get_cpu_capability()}: every operation is compared bit for bit")


def tool_environment(isa):
    """For run_plan: PyTorch's companion is not meant for it."""
    return {**{k: v for k, v in os.environ.items() if k != "LD_PRELOAD"}, "ANX_ISA": isa}


class Rows(torch.nn.Sequential):
    """A network written out as run_plan reads it; every row is a module."""

    def __init__(self, channels, *rows):
        super().__init__()
        self.text = ";".join([str(channels), *(" ".join(str(v) for v in row) for row in rows)])
        features = None
        for i, (op, *v) in enumerate(rows):
            if op == "conv2d":
                module = torch.nn.Conv2d(channels, v[0], v[1:3], v[3:5], v[5:7], v[7:9], v[9])
                channels = v[0]
            elif op == "max_pool2d":
                module = torch.nn.MaxPool2d(v[0:2], v[2:4], v[4:6], ceil_mode=bool(v[6]))
            elif op == "adaptive_avg_pool2d":
                module = torch.nn.AdaptiveAvgPool2d(v)
                features = channels * v[0] * v[1]
            elif op == "linear":
                module = torch.nn.Linear(features or channels, v[0])
                features = v[0]
            else:
                module = {"relu": torch.nn.ReLU(), "dropout": torch.nn.Dropout(), "flatten": torch.nn.Flatten(),
                          "softmax": torch.nn.Softmax(1)}[op]
            self.add_module(str(i), module)


def conv(out, kernel, stride=1, padding=0, dilation=1, groups=1):
    pair = lambda v: v if isinstance(v, tuple) else (v, v)
    return ("conv2d", out, *pair(kernel), *pair(stride), *pair(padding), *pair(dilation), groups)


def run_tool(folder, mode, arch, classes, size, batch, threads, isa):
    """{name: bytes} of what run_plan reads back."""
    output = os.path.join(folder, "output")
    command = [TOOL, "exact", mode, arch, str(classes), str(size[0]), str(size[1]), str(batch), str(threads),
               os.path.join(folder, "params"), os.path.join(folder, "input"), output]
    listing = subprocess.run(command, env=tool_environment(isa), check=True, text=True,
                             stdout=subprocess.PIPE).stdout.splitlines()
    values = {}
    with open(output, "rb") as file:
        for line in listing[1:]:
            name, elems = line.split()
            values[name] = file.read(4 * int(elems))
    return values


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
        if "avgpool" in values:
            values["flatten"] = torch.flatten(values["avgpool"], 1)
            values["prob"] = torch.softmax(logits, 1)
    for hook in hooks:
        hook.remove()
    return values


def one_nan(data):
    """The values with every NaN made the same one: which NaN an instruction passes on is not defined."""
    values = np.frombuffer(data, dtype=np.float32).copy()
    values[np.isnan(values)] = np.nan
    return values.tobytes()


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
        self.arch = getattr(model, "text", "alexnet")
        self.classes = 0 if self.arch != "alexnet" else state["classifier.6.bias"].numel()

    def judge(self, what, x, mode="observe", threads=2, isa="", expected=None):
        """Runs x and compares every value with the first images of PyTorch's `expected`, computed if not given."""
        rows = x.shape[0]
        with open(os.path.join(self.folder, "input"), "wb") as file:
            file.write(x.contiguous().numpy().tobytes())
        if expected is None:
            expected = torch_values(self.model, x)
        values = run_tool(self.folder, mode, self.arch, self.classes, tuple(x.shape[2:]), rows, threads, isa)
        for name, data in values.items():
            want = expected[name][:rows].contiguous().numpy()
            self.points += 1
            if hashlib.sha256(one_nan(data)).digest() == hashlib.sha256(one_nan(want.tobytes())).digest():
                continue
            self.failures += 1
            got = np.frombuffer(one_nan(data), dtype=np.int32).reshape(want.shape)
            different = np.argwhere(got != np.frombuffer(one_nan(want.tobytes()), dtype=np.int32).reshape(want.shape))
            first = tuple(different[0])
            print(f"FAILED: {what}: {name}: {len(different)} of {want.size} values differ, first at {first}: "
                  f"{got.view(np.float32)[first]!r}, PyTorch {want[first]!r}")
        if mode == "observe" and set(values) != set(expected):
            self.failures += 1
            print(f"FAILED: {what}: values {sorted(set(values) ^ set(expected))} are missing on one side")
        return expected


def spread(model):
    """Weights of a wide range, so that sums cancel and every rounding matters."""
    with torch.no_grad():
        for p in model.parameters():
            p.mul_(torch.exp(torch.randn_like(p)))
    return model


def judge_convolutions(judge):
    """Every order that oneDNN takes: blocks, remainders, groups in 16, 8 and 4, depthwise, gemm with its parts."""
    rows = [
        (3, conv(24, 11, 4, 2)), (1, conv(16, 5, 1, 2)), (2, conv(5, 3)), (5, conv(7, 3, 1, 1)),
        (17, conv(33, 3, 2, 1)), (24, conv(40, 5, 1, 2)), (48, conv(17, 3, 1, 1)), (64, conv(32, 3, 2, 2, 2)),
        (20, conv(12, (3, 5), (2, 1), (1, 2), (1, 2))), (96, conv(64, 5, 1, 2, 1, 2)), (64, conv(96, 3, 1, 1, 1, 2)),
        (64, conv(64, 3, 1, 1, 1, 4)), (48, conv(96, 3, 1, 1, 1, 2)), (16, conv(48, 3, 1, 1, 1, 2)),
        (24, conv(48, 3, 1, 1, 1, 2)), (40, conv(40, 5, 2, 2, 1, 2)), (24, conv(24, 3, 1, 1, 1, 24)),
        (5, conv(5, 3, 1, 1, 1, 5)), (5, conv(10, 3, 2, 1, 1, 5)), (10, conv(22, (3, 5), 1, (1, 2), 1, 2)),
        (8, conv(12, 3, 1, 1, 1, 2)), (6, conv(8, 3, (2, 3), (2, 1), 2, 2)), (9, conv(15, 3, 1, 1, 1, 3)),
        (34, conv(10, 5, 1, 2, 1, 2)), (62, conv(10, 5, 1, 2, 1, 2)),
    ]
    for channels, row in rows:
        judge.set_model(spread(Rows(channels, row)))
        judge.judge(f"{row} of {channels} channels", torch.randn(4, channels, 19, 23))


def judge_linear_layers(judge):
    """Heads of few outputs (proven for inputs in fours), and inputs around MKL's blocks of 192."""
    for inputs in (8, 36, 67, 100, 192, 193, 200, 257, 383, 384, 600, 4096):
        for outputs in (2, 3, 4, 7, 11, 12, 33):
            if outputs < 12 and inputs % 4 != 0:
                continue
            judge.set_model(spread(Rows(inputs, ("flatten",), ("linear", outputs), ("relu",), ("softmax",))))
            judge.judge(f"linear {inputs} to {outputs}", torch.randn(4 + outputs, inputs, 1, 1))
    judge.set_model(spread(Rows(4096, ("flatten",), ("linear", 1))))
    judge.judge("linear 4096 to 1", torch.randn(8, 4096, 1, 1))


def judge_pools(judge):
    for row in (("max_pool2d", 3, 3, 2, 2, 1, 1, 0), ("max_pool2d", 3, 2, 2, 3, 1, 1, 1),
                ("adaptive_avg_pool2d", 6, 6), ("adaptive_avg_pool2d", 5, 9), ("relu",)):
        judge.set_model(Rows(19, row))
        x = torch.randn(4, 19, 14, 11)
        x[:, :, 3:6] = 0.0
        x[:, :, 4:8, ::2] = -0.0
        x[:, 5, 2, 2:4] = torch.nan
        x[:, 6, 3, 3] = torch.inf
        x[:, 7, 3, 4] = -torch.inf
        x[:, 8] *= 1e-40
        judge.judge(f"{row}", x)


def judge_special_values(judge):
    """NaN, infinities, signed zeros and subnormals, at the borders too: padding is skipped, not multiplied."""
    nan, inf = torch.nan, torch.inf

    def change(what, model, x):
        w, b = model[0].weight.data, model[0].bias.data
        if what == "infinite weights at the edge":
            w[3, 1, 0, 0], w[5, 2, -1, -1], w[6, 0, 1] = inf, -inf, inf
        elif what == "NaN weight":
            w[2, 0, 0, 1] = nan
        elif what == "infinite and NaN inputs":
            x[:, 1, 0, 0], x[:, 2, -1, -1], x[:, 0, 5, 5] = inf, -inf, nan
        elif what == "bias -0 and sums that underflow":
            x *= 1e-30
            w *= 1e-30
            b.fill_(-0.0)
        elif what == "subnormal":
            x *= 1e-20
            w *= 1e-20
            b *= 1e-41
        elif what == "overflow":
            x *= 1e20
            w *= 1e18
        elif what == "all zeros":
            x.copy_(-x.abs())
            w.zero_()
            b.fill_(-0.0)

    kinds = ("infinite weights at the edge", "NaN weight", "infinite and NaN inputs", "bias -0 and sums that underflow",
             "subnormal", "overflow", "all zeros")
    for channels, row in ((3, conv(64, 11, 4, 2)), (64, conv(48, 5, 1, 2)), (32, conv(16, 3, 1, 1)),
                          (16, conv(16, 3, 1, 3, 2))):
        for what in kinds:
            model = Rows(channels, row, ("relu",))
            x = torch.randn(4, channels, 23, 21)
            change(what, model, x)
            judge.set_model(model)
            for isa in ("", "avx2", "portable"):
                judge.judge(f"{what}, {row}, {isa}", x, isa=isa)
    for outputs in (5, 20):
        model = Rows(300, ("flatten",), ("linear", outputs), ("softmax",))
        x = torch.randn(4, 300, 1, 1)
        x[0, 5], x[1, 6], x[2] = inf, nan, x[2] * 1e-20
        model[1].weight.data[3, 9], model[1].weight.data[4, :] = -inf, 1e-20
        judge.set_model(model)
        judge.judge(f"linear to {outputs}, special values", x)


def main():
    if "AVX512" not in torch.backends.cpu.get_cpu_capability():
        print("SKIPPED: PyTorch's own bits differ on a CPU without AVX-512", file=sys.stderr)
        return 77
    with_zen()
    say_what_is_compared()
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
        judge.set_model(spread(torchvision.models.alexnet(num_classes=37)))
        judge.judge("37 classes, spread weights", torch.randn(4, 3, 224, 224) * torch.exp(torch.randn(4, 3, 224, 224)))
        for classes, batch in ((10, 4), (10, 9), (1, 4), (2, 4), (7, 6), (11, 5), (12, 4)):
            torch.manual_seed(1)
            judge.set_model(torchvision.models.alexnet(num_classes=classes))
            judge.judge(f"{classes} classes, batch {batch}", torch.randn(batch, 3, 63, 63))
        judge_convolutions(judge)
        judge_linear_layers(judge)
        judge_pools(judge)
        judge_special_values(judge)
        print(f"{judge.points} values compared with PyTorch {torch.__version__}, {judge.failures} differ")
        return 1 if judge.failures else 0


if __name__ == "__main__":
    sys.exit(main())
