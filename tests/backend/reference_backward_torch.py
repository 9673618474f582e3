"""The reference's gradients against PyTorch's autograd in float64, over every network of the conformance suite, the
narrow one and AlexNet with 10 classes.

Both compute in double, in different orders. Per tensor the norm of the difference over the norm of the gradient must
stay below 1e-12. Among float32 engines that ratio was at most 9e-7, 15 roundings of 2^-24, for every tensor of AlexNet
(summation errors grow like the square root of the number of terms), so 15 * 2^-53 = 1.7e-15 is to be expected here;
600 times that leaves room for other shapes, while one window of a max-pool with another winner moves it by 1e-4 or
more. Elements whose gradient is 0 by structure (behind a ReLU, beside a winner) must be 0 exactly.
"""

import os
import subprocess
import sys
import tempfile

try:
    import numpy as np
    import torch
    import torch.nn.functional as F
except ImportError as e:
    print(f"no PyTorch here: {e}")
    sys.exit(77)

TOOL = os.path.join(os.environ["ANX_BUILD_DIR"], "tests", "run_backward")
LIMIT = 1e-12


def describe(network):
    done = subprocess.run([TOOL, "describe", network], capture_output=True, text=True)
    if done.returncode != 0:
        return None, None, None
    lines = done.stdout.splitlines()
    head = [int(v) for v in lines[0].split()]
    return head[0], head[1:], [line.split() for line in lines[1:]]


class Network:
    """The rows in PyTorch's functions, every output kept with its gradient."""

    def __init__(self, network, classes, batch, generator):
        default, extent, self.rows = describe(network)
        self.network, self.batch, self.generator = network, batch, generator
        self.classes = classes or default
        self.params, self.masks = [], []
        self.x = torch.randn([batch] + extent, generator=generator).double()
        self.build()

    def parameter(self, shape, fan_in):
        # Values of float32, which is what both compute from.
        drawn = (torch.rand(shape, generator=self.generator) * 2 - 1) / fan_in**0.5
        self.params.append(drawn.double().requires_grad_())
        return self.params[-1]

    def build(self):
        x, self.outputs = self.x, []
        for name, op, *numbers in self.rows:
            is_logits = numbers[-1:] == ["logits"]
            n = [int(v) for v in numbers if v != "logits"]
            if op == "conv2d":
                if n[9] > x.shape[1]:
                    raise ValueError(name)
                fan_in = x.shape[1] // n[9] * n[1] * n[2]
                weight = self.parameter((n[0], x.shape[1] // n[9], n[1], n[2]), fan_in)
                bias = self.parameter((n[0],), fan_in)
                x = F.conv2d(x, weight, bias, n[3:5], n[5:7], n[7:9], n[9])
            elif op == "linear":
                out = self.classes if is_logits and self.network in ("alexnet", "narrow") else n[0]
                weight, bias = self.parameter((out, x.shape[1]), x.shape[1]), self.parameter((out,), x.shape[1])
                x = F.linear(x, weight, bias)
            elif op == "max_pool2d":
                x = F.max_pool2d(x, n[0:2], n[2:4], n[4:6], ceil_mode=bool(n[6]))
            elif op == "adaptive_avg_pool2d":
                x = F.adaptive_avg_pool2d(x, n)
            elif op == "relu":
                x = F.relu(x)
            elif op == "flatten":
                x = torch.flatten(x, 1)
            elif op == "softmax":
                x = F.softmax(x, 1)
            elif op == "dropout":
                self.masks.append(torch.randint(0, 2, x.shape, generator=self.generator).double() * 2)
                x = x * self.masks[-1]
            else:
                raise ValueError(f"operation {op}")
            x.retain_grad()
            self.outputs.append((name, x))
            if is_logits and self.network[0] != "#":
                break  # the loss is of the logits
        self.start, self.last = name, x

    def backward(self):
        """From the cross-entropy; or from random numbers, where that would leave gradients which cancel to 0."""
        if self.network[0] == "#":
            self.last.backward(torch.randn(self.last.shape, generator=self.generator).double())
            return
        flat = self.last.flatten(1)
        target = torch.randint(0, flat.shape[1], (self.batch,), generator=self.generator)
        F.cross_entropy(flat, target).backward()


class Judge:
    def __init__(self, folder):
        self.folder, self.points, self.failures, self.worst = folder, 0, 0, 0.0

    def run(self, net, threads):
        paths = [os.path.join(self.folder, name) for name in ("params", "data", "output")]
        with open(paths[0], "wb") as f:
            for p in net.params:
                p.detach().float().numpy().tofile(f)
        with open(paths[1], "wb") as f:
            for t in [net.x] + net.masks + [net.last.grad]:
                t.detach().contiguous().numpy().tofile(f)
        threads = str(threads)
        command = [TOOL, "reference", net.network, str(net.classes), str(net.batch), threads, net.start] + paths
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode != 0:
            raise RuntimeError(f"{net.network}: {done.stderr}")
        return done.stdout.split("\n"), np.fromfile(paths[2])

    def compare(self, what, expected, got):
        self.points += expected.size
        norm = np.linalg.norm(expected)
        error = np.linalg.norm(got - expected)
        ratio = error / norm if norm > 0 else (0.0 if error == 0 else np.inf)
        self.worst = max(self.worst, ratio)
        zeros = np.count_nonzero((expected == 0) != (got == 0))
        if not ratio < LIMIT or zeros:
            self.failures += 1
            print(f"FAILED {what}: relative error {ratio:.3g}, {zeros} of {expected.size} zero on one side only")

    def judge(self, network, classes, batch, seed, threads=2):
        net = Network(network, classes, batch, torch.Generator().manual_seed(seed))
        net.backward()
        lines, values = self.run(net, threads)
        grads = {name: y.grad for name, y in net.outputs}
        params = iter(net.params)
        at, seen = 0, 0
        for line in lines:
            kind, *rest = line.split() or [""]
            if kind == "seconds":
                if network == "alexnet":
                    print(f"{network}, batch {batch}, {threads} threads: forward {rest[0]} s, backward {rest[1]} s")
                continue
            if kind == "":
                continue
            expected = {"param": lambda: next(params).grad, "output": lambda: net.last, "grad": lambda: grads[rest[0]]}[kind]()
            expected = expected.detach().numpy().ravel()
            self.compare(f"{network}, batch {batch}, {kind} {rest[0]}", expected, values[at : at + int(rest[1])])
            at, seen = at + int(rest[1]), seen + 1
        if at != values.size or seen != 1 + len(net.outputs) + len(net.params):
            self.failures += 1
            print(f"FAILED {network}: {seen} values were judged, not all")


def main():
    with tempfile.TemporaryDirectory() as folder:
        judge = Judge(folder)
        case = 0
        while describe(f"#{case}")[0] is not None:
            for batch in (1, 3):
                judge.judge(f"#{case}", 0, batch, case)
            case += 1
        for classes, batch in ((0, 1), (4, 5), (11, 3)):
            judge.judge("narrow", classes, batch, 100 + batch)
        judge.judge("alexnet", 10, 2, 7)
        print(
            f"{case} cases, {judge.points} values compared with PyTorch {torch.__version__}: "
            f"worst relative error {judge.worst:.3g}, {judge.failures} failures"
        )
        return 1 if judge.failures or case < 50 else 0


if __name__ == "__main__":
    sys.exit(main())
