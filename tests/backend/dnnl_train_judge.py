#!/usr/bin/env python3
"""Judges the CPU device's training passes of AlexNet against PyTorch's autograd in float64.

Each group is judged by itself: its input, mask and the gradient of its output are what the device had, so that one
operator's error is seen alone. A gradient that is a sum of n products may be off by gamma_n times the sum of their
magnitudes, and must be 0 where that is. Winners and dropout have to agree exactly.
"""
import os
import subprocess
import sys
import tempfile

try:
    import numpy as np
    import torch
    import torchvision
    from torch.nn import functional as F
except ImportError as error:
    print(f"SKIPPED: {error}", file=sys.stderr)
    sys.exit(1 if os.environ.get("ANX_TESTS_NO_SKIP", "0") not in ("", "0") else 77)

TOOL = os.path.join(os.environ["ANX_BUILD_DIR"], "tests", "train_pass")
failures = 0


def fail(message):
    global failures
    failures += 1
    print("FAILED:", message)


def within(what, got, value, gauge, terms):
    """Fails where got is further from value than gamma_terms times gauge; returns the error in units of 2^-24 gauge."""
    nu = terms * 2.0**-24
    error = (got.double() - value).abs()
    bad = ~(error <= nu / (1 - nu) * gauge)
    if bad.any():
        first = tuple(torch.nonzero(bad)[0].tolist())
        fail(f"{what}: {int(bad.sum())} of {bad.numel()}, first at {first}: {got[first].item()!r}, float64 "
             f"{value[first].item()!r}, {error[first].item() / gauge[first].item() / 2**-24:.3g} u of the gauge")
    return (error / gauge.clamp_min(1e-300)).max().item() / 2**-24


def run(model, folder, x, masks, grad, threads, frozen, isa):
    """{(kind, name): tensor} of what the device holds after a pass, and its groups' first and last rows."""
    for name, tensors in (("params", model.state_dict().values()), ("input", [x]), ("masks", masks), ("grad", [grad])):
        with open(os.path.join(folder, name), "wb") as file:
            for tensor in tensors:
                file.write(tensor.contiguous().numpy().tobytes())
    environment = dict(os.environ)
    if isa:
        environment.update(ONEDNN_MAX_CPU_ISA=isa, DNNL_MAX_CPU_ISA=isa)
    arguments = [grad.shape[1], x.shape[2], x.shape[3], x.shape[0], threads, frozen]
    listing = subprocess.run([TOOL, "cpu", *map(str, arguments), folder], env=environment, check=True, text=True,
                             stdout=subprocess.PIPE).stdout.splitlines()
    values, groups = {}, []
    with open(os.path.join(folder, "values"), "rb") as file:
        for line in listing:
            kind, name, rest = line.split()
            if kind == "group":
                groups.append((name, rest))
                continue
            dtype = np.int64 if kind == "ARGMAX" else np.float32
            data = np.frombuffer(file.read(int(rest) * np.dtype(dtype).itemsize), dtype=dtype)
            values[kind, name] = torch.from_numpy(data.copy())
    return values, groups


def gradients(module, x, dy, absolute):
    """By input, weight and bias in float64; of the magnitudes where `absolute`."""
    f = torch.abs if absolute else lambda t: t
    x, dy = f(x.double()).requires_grad_(), f(dy.double())
    weight, bias = f(module.weight.detach().double()).requires_grad_(), module.bias.detach().double().requires_grad_()
    if isinstance(module, torch.nn.Conv2d):
        y = F.conv2d(x, weight, bias, module.stride, module.padding, module.dilation, module.groups)
    else:
        y = F.linear(x, weight, bias)
    return torch.autograd.grad(y, (x, weight, bias), dy)


def judge_products(what, module, name, x, dy, values, source):
    value, gauge = gradients(module, x, dy, False), gradients(module, x, dy, True)
    conv = isinstance(module, torch.nn.Conv2d)
    sums = dy.shape[0] * (dy.shape[2] * dy.shape[3] if conv else 1)
    input_terms = module.weight.shape[0] * (module.weight.shape[2] * module.weight.shape[3] if conv else 1)
    worst = []
    for key, i, terms in ((("GRAD", source), 0, input_terms), (("PARAM_GRAD", name + ".weight"), 1, sums),
                          (("PARAM_GRAD", name + ".bias"), 2, sums)):
        if key in values:
            worst.append(within(f"{what}: {key}", values[key].reshape(value[i].shape), value[i], gauge[i], terms))
    return worst


def judge(model, x, masks, grad, threads=2, frozen=0, isa=""):
    what = f"batch {x.shape[0]}, {x.shape[2]}x{x.shape[3]}, {grad.shape[1]} classes, {threads} threads, {isa or 'best'}"
    if frozen:
        what += f", {frozen} parameters frozen"
    with tempfile.TemporaryDirectory() as folder:
        values, groups = run(model, folder, x, masks, grad, threads, frozen, isa)
    modules = dict(model.named_modules())
    names = [name for name, _ in model.named_parameters()]
    trained = {key[1] for key in values if key[0] == "PARAM_GRAD"}
    if trained != set(names[frozen:]):
        fail(f"{what}: gradients of {sorted(trained)}")
    source, shape, dropped, worst = "input", tuple(x.shape), iter(masks), []
    for first, last in groups:
        module = modules.get(first, torch.nn.Flatten())
        given = values["OUTPUT", source].reshape(shape)
        with torch.no_grad():
            out_shape = tuple(module.eval()(given).shape)
        mask = next(dropped) if isinstance(module, torch.nn.Dropout) else None
        dy = values.get(("GRAD", last))
        if dy is not None:
            dy = dy.reshape(out_shape)
            if last != first:
                dy = torch.where(values["OUTPUT", last].reshape(out_shape) <= 0, torch.zeros(()), dy)
            dx = values.get(("GRAD", source))
            dx = None if dx is None else dx.reshape(shape)
            point = f"{what}: {first}"
            if isinstance(module, (torch.nn.Conv2d, torch.nn.Linear)):
                worst += judge_products(point, module, first, given, dy, values, source)
            elif dx is not None and isinstance(module, torch.nn.Dropout):
                if not torch.equal(dx, dy * mask) or not torch.equal(values["OUTPUT", last].reshape(shape), given * mask):
                    fail(f"{point}: not multiplied by its mask")
            elif dx is not None and isinstance(module, torch.nn.MaxPool2d):
                _, winners = F.max_pool2d(given, module.kernel_size, module.stride, return_indices=True)
                if not torch.equal(values["ARGMAX", first].reshape(out_shape), winners):
                    fail(f"{point}: winners differ from PyTorch's")
                leaf = given.clone().requires_grad_()
                expected, = torch.autograd.grad(module(leaf), leaf, dy)
                if not torch.equal(dx, expected):
                    fail(f"{point}: gradient differs from PyTorch's")
            elif dx is not None:
                leaf = given.clone().requires_grad_()
                expected, = torch.autograd.grad(module(leaf), leaf, dy)
                if not torch.equal(dx, expected):
                    fail(f"{point}: gradient differs from PyTorch's")
        elif trained and any(n.startswith(first) for n in trained):
            fail(f"{what}: no gradient of {last}")
        source, shape = last, out_shape
    print(f"{what}: {len(worst)} gradients, worst error {max(worst):.1f} u of the gauge")


def main():
    torch.manual_seed(0)
    model = torchvision.models.alexnet(weights=None)
    small = torchvision.models.alexnet(weights=None, num_classes=11)
    for m in (model, small):
        for module in m.modules():
            if isinstance(module, torch.nn.ReLU):
                module.inplace = False

    def case(m, batch, size=(224, 224), **options):
        x = torch.randn(batch, 3, *size)
        masks = [2.0 * (torch.rand(batch, n) < 0.5).float() for n in (9216, 4096)]
        grad = torch.softmax(torch.randn(batch, m.classifier[6].out_features), 1) / batch
        judge(m, x, masks, grad, **options)

    case(model, 1)
    case(model, 8)
    case(small, 5, (91, 67), threads=3)
    case(small, 2, (256, 288), threads=1)
    case(small, 4, frozen=10)
    for isa in ("AVX2", "SSE41"):
        case(small, 2, isa=isa)
    sys.exit(1 if failures else 0)


main()
