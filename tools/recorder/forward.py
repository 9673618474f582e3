"""Forward fixtures: what PyTorch's AlexNet computes, module by module."""

import contextlib
import copy

import numpy as np
import torch
import torchvision

from . import container as files
from . import environment, sketch
from .preprocess import to_input, stages_of

SUMS = (torch.nn.Conv2d, torch.nn.Linear)
SKETCHED = SUMS + (torch.nn.MaxPool2d, torch.nn.AdaptiveAvgPool2d)
MIN_BATCH = 4       # below, a linear layer sums in an order that `exact` does not follow
FEW_OUTPUTS = 50    # below this the last layer is recorded in full in every case: it costs nothing
SKETCH_SEED = 20140423


class Case:
    """One input. detail: 'full', 'sketch' or 'digest'. batch: what PyTorch runs it in, at least its own size."""

    def __init__(self, name, detail, images=None, pixels=None, uniform=None, shape=None, batch=MIN_BATCH, quick=False):
        self.name, self.detail, self.quick = name, detail, quick
        self.images, self.pixels, self.uniform, self.shape = images, pixels, uniform, shape
        self.batch = batch

    def describe_input(self, out):
        """The float32 input (N, 3, H, W) and its entry in the JSON."""
        if self.uniform is not None:
            seed, low, high = self.uniform
            torch.manual_seed(seed)
            return torch.empty(self.shape).uniform_(low, high), {"uniform": {"seed": seed, "low": low, "high": high}}
        if self.pixels is not None:
            entry = {"pixels": out.put(f"{self.name}/pixels", self.pixels)}
            return torch.stack([to_input(p)[1] for p in self.pixels]), entry
        stages = [stages_of(data) for _, data in self.images]
        entry = {"images": []}
        for file_name, data in self.images:
            tensor = "image/" + file_name
            if tensor not in out.tensors:
                out.put(tensor, np.frombuffer(data, np.uint8))
            entry["images"].append({"name": file_name, "bytes": tensor})
        if self.detail == "full":
            entry["pixels"] = out.put(f"{self.name}/pixels", np.stack([s["crop"] for s in stages]))
        return torch.stack([s["input"] for s in stages]), entry


def load_model(state_dict, arch):
    """A model in evaluation mode with these weights, converted to float32; wrappers and prefixes removed."""
    for key in ("state_dict", "model"):
        if isinstance(state_dict.get(key), dict):
            state_dict = state_dict[key]
            break
    if state_dict and all(k.startswith("module.") for k in state_dict):
        state_dict = {k[len("module."):]: v for k, v in state_dict.items()}
    linear = [v for k, v in state_dict.items() if k.endswith(".weight") and v.dim() == 2]
    if not linear:
        raise ValueError("the checkpoint holds no linear layer's weight: not a state_dict of this architecture")
    model = torchvision.models.get_model(arch, num_classes=linear[-1].shape[0])
    model.load_state_dict({k: v.float() for k, v in state_dict.items()})
    return model.eval().requires_grad_(False)


def observe(model, x):
    """[(name, module or None, input, output)] in order of execution, copied before anything overwrites them."""
    seen, hooks = [], []

    def before(module, args):
        module.recorded_input = args[0].detach().clone()

    def after(name):
        return lambda module, args, y: seen.append((name, module, module.recorded_input, y.detach().clone()))

    for name, module in model.named_modules():
        if not list(module.children()):
            hooks += [module.register_forward_pre_hook(before), module.register_forward_hook(after(name))]
    logits = model(x)
    for hook in hooks:
        hook.remove()
    for _, module, _, _ in seen:
        with contextlib.suppress(AttributeError):
            del module.recorded_input
    out = []
    for i, entry in enumerate(seen):
        out.append(entry)
        if i + 1 < len(seen) and entry[3].dim() == 4 and seen[i + 1][2].dim() == 2:
            out.append(("flatten", None, entry[3], seen[i + 1][2]))
    assert torch.equal(out[-1][3], logits)
    return out + [("prob", None, logits, torch.softmax(logits, 1))]


def truth(name, module, x, y):
    """(y64, gauge, terms): the module in double on the float32 input; gauge and terms None where it sums nothing."""
    if name == "prob":
        return torch.softmax(x.double(), 1), None, None
    if isinstance(module, SUMS):
        m = copy.deepcopy(module).double()
        y64 = m(x.double())
        for p in m.parameters():
            p.abs_()
        return y64, m(x.double().abs()), module.weight[0].numel()
    if isinstance(module, torch.nn.AdaptiveAvgPool2d):
        oh, ow = y.shape[2:]
        terms = (-(-x.shape[2] // oh) + 1) * (-(-x.shape[3] // ow) + 1)
        return module(x.double()), (module(x.double().abs()) if x.shape != y.shape else None), terms
    return y.double(), None, None


def _numpy(t):
    return t.detach().cpu().contiguous().numpy()


def _top(prob):
    value, index = torch.sort(prob.cpu(), dim=1, descending=True, stable=True)
    return [[[int(c), float(p)] for c, p in zip(i[:5], v[:5])] for i, v in zip(index, value)]


def record_case(case, model, device, same_bits, out):
    x, entry = case.describe_input(out)
    n = x.shape[0]
    batch = max(case.batch, n)
    order = torch.arange(batch) % n
    description = {
        "name": case.name,
        "quick": case.quick,
        "shape": list(x.shape),
        "input": entry,
        "input_digest": files.digest(_numpy(x)).hexdigest(),
        "recorded_at_batch": batch,
        "points": [],
    }
    bits = same_bits
    for index, (name, module, given, y) in enumerate(observe(model, x[order].contiguous().to(device))):
        if not torch.equal(y, y[order]):
            raise RuntimeError(f"{case.name}: {name} depends on the place in the batch")
        given, y = given[:n].cpu(), y[:n].cpu()
        linear = isinstance(module, torch.nn.Linear)
        bits = bits and not (linear and batch < MIN_BATCH)
        y32 = _numpy(y)
        point = {"name": name, "shape": list(y.shape), "digest": files.digest(y32).hexdigest(), "bits": bits}
        summing = isinstance(module, SUMS)
        cheap = (linear or name == "prob") and (not bits or y.shape[1] < FEW_OUTPUTS)
        in_full = cheap or (case.detail == "full" and (summing or name == "prob"))
        sketched = case.detail == "sketch" and isinstance(module, SKETCHED)
        if in_full or sketched:
            y64, gauge, terms = truth(name, copy.deepcopy(module).cpu() if module else None, given, y)
            y64, gauge = _numpy(y64), None if gauge is None else _numpy(gauge)
        prefix = f"{case.name}/{name}"
        if in_full:
            point["y32"] = out.put(prefix + "/y32", y32)
            point["e64"] = out.put(prefix + "/e64", (y64 - y32).astype(np.float32))
        if sketched:
            point["sketch"] = sketch.make(out, prefix + "/sketch", y32, y64, gauge, terms, SKETCH_SEED + 100 * index)
        description["points"].append(point)
    description["top5"] = _top(y)
    return description


def record(name, arch, how, state_dict, cases, device):
    """The bytes of one forward fixture."""
    model = load_model(state_dict, arch)
    recorder, same_bits = environment.describe(device)
    params = {k: files.digest(_numpy(v)).hexdigest() for k, v in model.state_dict().items()}
    classes = [m for m in model.modules() if isinstance(m, torch.nn.Linear)][-1].out_features
    model = model.to(device)
    out = files.Container()
    with torch.no_grad():
        recorded = [record_case(case, model, device, same_bits, out) for case in cases]
    return out.to_bytes({
        "schema": 1,
        "kind": "forward",
        "name": name,
        "arch": arch,
        "num_classes": classes,
        "model": how,
        "params": params,
        "recorder": recorder,
        "pytorch_bits": same_bits,
        "cases": recorded,
    })
