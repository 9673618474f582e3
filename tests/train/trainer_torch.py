"""Training steps on the exact device against PyTorch, bit for bit, from torch.manual_seed on: losses, logits, and every
parameter, its gradient and momentum after every step.

PyTorch runs on one thread on a CPU with AVX-512, its MKL with the kernels for AMD's CPUs (../backend/exact_judge.py).
"""
import concurrent.futures
import hashlib
import os
import subprocess
import sys

sys.path.insert(1, os.path.join(os.path.dirname(os.path.abspath(__file__)), os.pardir, "backend"))
import exact_judge
from judging import Bytes, Judge, need_avx512, np, number, torch
import torchvision

TOOL = os.path.join(os.environ["ANX_BUILD_DIR"], "tests", "trainer_tool")
NOTHING = bytes(32)


def digest(tensor):
    return NOTHING if tensor is None else hashlib.sha256(tensor.detach().contiguous().numpy()).digest()


def group(lr, momentum=0.9, dampening=0.0, weight_decay=1e-4, nesterov=False, maximize=False):
    return {"lr": lr, "momentum": momentum, "dampening": dampening, "weight_decay": weight_decay, "nesterov": nesterov,
            "maximize": maximize}


class Case:
    def __init__(self, what, *, seed=0, classes=10, groups=(group(0.01),), group_of_param=None, dropout=None,
                 smoothing=0.0, batches=(4, 4, 4), rates=None):
        """group_of_param: an index of groups, or -1 for a frozen one. rates: for each step and group."""
        self.what, self.seed, self.classes, self.groups = what, seed, classes, groups
        self.group_of_param = group_of_param or [0] * 16
        self.dropout, self.smoothing, self.batches = dropout, smoothing, batches
        self.rates = rates or [[g["lr"] for g in groups]] * len(batches)
        rng = np.random.default_rng(seed)
        self.inputs = [rng.standard_normal((n, 3, 224, 224), np.float32) for n in batches]
        self.targets = [rng.integers(0, classes, n) for n in batches]

    def run_tool(self, threads=2):
        numbers = [threads, self.seed, self.classes, max(self.batches),
                   -1.0 if self.dropout is None else self.dropout, self.smoothing, len(self.groups)]
        for g in self.groups:
            numbers += g.values()
        numbers += self.group_of_param
        for n, rates in zip(self.batches, self.rates):
            numbers += [n, *rates]
        data = b"".join(x.tobytes() + y.tobytes() for x, y in zip(self.inputs, self.targets))
        return Bytes(subprocess.run([TOOL, "exact", *map(number, numbers)], input=data, check=True,
                                    env=exact_judge.tool_environment(""), stdout=subprocess.PIPE).stdout)

    def steps(self):
        """What PyTorch's steps leave, as train.py takes them."""
        torch.manual_seed(self.seed)
        model = torchvision.models.alexnet(num_classes=self.classes)
        for module in model.modules():
            if isinstance(module, torch.nn.Dropout) and self.dropout is not None:
                module.p = self.dropout
        params = list(model.named_parameters())
        for (_, p), g in zip(params, self.group_of_param):
            p.requires_grad_(g >= 0)
        members = [[p for (_, p), i in zip(params, self.group_of_param) if i == g] for g in range(len(self.groups))]
        optimizer = torch.optim.SGD([{"params": m, **g} for m, g in zip(members, self.groups)])
        criterion = torch.nn.CrossEntropyLoss(label_smoothing=self.smoothing)
        model.train()
        for x, y, rates in zip(self.inputs, self.targets, self.rates):
            for g, lr in zip(optimizer.param_groups, rates):
                g["lr"] = lr
            logits = model(torch.from_numpy(x))
            loss = criterion(logits, torch.from_numpy(y))
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            yield (loss.detach(), logits.detach(),
                   [(name, p, optimizer.state[p].get("momentum_buffer") if p in optimizer.state else None, p.grad)
                    for name, p in params])

    def judge(self, judge, out):
        for i, (loss, logits, params) in enumerate(self.steps()):
            where = f"{self.what}, step {i + 1}"
            judge.same(f"{where}: loss", out.take(1), loss.numpy().reshape(1))
            right = int((logits.numpy().argmax(1) == self.targets[i]).sum())
            judge.same(f"{where}: right answers", out.take(1, np.int64), np.array([right]))
            judge.same(f"{where}: logits", out.take(logits.numel()).reshape(logits.shape), logits.numpy())
            for name, *tensors in params:
                for kind, tensor in zip(("values", "momentum", "gradient"), tensors):
                    judge.compared += 0 if tensor is None else tensor.numel()
                    if out.take(32, np.uint8).tobytes() != digest(tensor):
                        judge.fail(f"{where}: {kind} of {name} differ")
        if not out.all_taken():
            judge.fail(f"{self.what}: more was written than asked for")
        print(f"{self.what}: {len(self.batches)} steps, {judge.failures} failures so far", flush=True)


def main():
    need_avx512()
    exact_judge.with_zen()
    exact_judge.say_what_is_compared()
    torch.set_num_threads(1)
    judge = Judge()
    kinds = [0, 1] * 5 + [2, 1] * 3  # convolutions, linear layers, biases apart
    cases = [
        Case("seed 0, label smoothing, a rate that falls", classes=1000, smoothing=0.1, batches=(8, 8),
             rates=[[0.01], [0.01 * 0.1]]),
        Case("odd last batches between whole ones", seed=2, batches=(6, 5, 6, 1)),
        Case("three groups, a dropout of 0.2", seed=3, dropout=0.2, group_of_param=kinds, batches=(4, 4, 4),
             groups=(group(0.02, nesterov=True), group(0.04, 0.0, weight_decay=0.0), group(0.01, 0.5, 0.25)),
             rates=[[0.02, 0.04, 0.01], [0.02, 0.04, 0.01], [0.01, 0.0, 0.005]]),
        Case("no dropout, only the last layer", seed=5, group_of_param=[-1] * 14 + [0, 0], dropout=0.0,
             batches=(4, 4)),
    ]
    cases = [case for case in cases if not sys.argv[1:] or any(word in case.what for word in sys.argv[1:])]
    with concurrent.futures.ThreadPoolExecutor(1) as beside:  # the tool is a case ahead of PyTorch
        outputs = [beside.submit(case.run_tool) for case in cases]
        for case, output in zip(cases, outputs):
            case.judge(judge, output.result())
    return judge.finish()


if __name__ == "__main__":
    sys.exit(main())
