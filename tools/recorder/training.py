"""Training fixtures: what PyTorch's steps leave, from torch.manual_seed on, and how far apart right runs drift."""

import copy
import io

import numpy as np
import torch
from PIL import Image
from torchvision import transforms
from torchvision.transforms.functional import InterpolationMode

from . import container as files
from . import environment, forward
from .preprocess import MEAN, STD

AUGMENT = {"torchvision-basic": (True, 0.5), "hflip": (False, 0.5), "none": (False, 0.0)}
NOTHING = bytes(32)  # in place of a digest: a frozen parameter has no gradient and no momentum


class Scenario:
    """A short training of the given parameters. dropout None: the model's own. envelope: right runs are recorded too."""

    def __init__(self, name, *, steps, batch, images, lr, augment, seed, momentum=0.9, dampening=0.0, weight_decay=1e-4,
                 nesterov=False, step_size=30, gamma=0.1, smoothing=0.0, dropout=None, frozen="", envelope=False):
        self.name, self.steps, self.batch, self.images, self.augment, self.seed = name, steps, batch, images, augment, seed
        self.sgd = {"lr": lr, "momentum": momentum, "dampening": dampening, "weight_decay": weight_decay,
                    "nesterov": nesterov}
        self.scheduler = {"step_size": step_size, "gamma": gamma}
        self.smoothing, self.dropout, self.frozen, self.envelope = smoothing, dropout, frozen, envelope
        assert images % batch == 0 or images % batch >= forward.MIN_BATCH, "a last batch whose bits are not defined"


def project_scenarios(lr):
    """Between them: dropout, label smoothing, frozen features, four batch sizes, short last batches, two schedules."""
    return (
        Scenario("augmented", steps=20, batch=8, images=30, lr=lr, augment="torchvision-basic", seed=10, step_size=2,
                 envelope=True),
        Scenario("smoothed", steps=4, batch=5, images=9, lr=lr, augment="hflip", seed=11, step_size=1, gamma=0.5,
                 weight_decay=5e-4, smoothing=0.1, dropout=0.0),
        Scenario("frozen", steps=3, batch=4, images=12, lr=lr, augment="none", seed=12, nesterov=True, frozen="features."),
    )


class Pictures(torch.utils.data.Dataset):
    """torchvision's training preset (references/classification/presets.py) on images in memory."""

    def __init__(self, pictures, targets, augment):
        crop, flip = AUGMENT[augment]
        steps = [transforms.RandomResizedCrop(224, interpolation=InterpolationMode.BILINEAR, antialias=True)] if crop else \
            [transforms.Resize(256, interpolation=InterpolationMode.BILINEAR, antialias=True), transforms.CenterCrop(224)]
        steps += [transforms.RandomHorizontalFlip(flip)] if flip > 0 else []
        self.transform = transforms.Compose(steps + [
            transforms.PILToTensor(), transforms.ConvertImageDtype(torch.float), transforms.Normalize(MEAN, STD)])
        self.images = [Image.open(io.BytesIO(data)).convert("RGB") for _, data in pictures]
        self.targets = targets

    def __len__(self):
        return len(self.images)

    def __getitem__(self, i):
        return self.transform(self.images[i]), self.targets[i], i


class PermutedDropout(torch.nn.Dropout):
    """The mask that each image would have had, for a batch in another order."""

    order = None

    def forward(self, x):
        factors = torch.nn.functional.dropout(torch.ones_like(x), self.p, self.training)
        return x * factors[self.order]


class Run:
    """The model, optimizer and scheduler of a scenario; steps() yields after each step, as train.py takes them."""

    def __init__(self, scenario, model, pictures, targets):
        self.scenario, self.model = scenario, copy.deepcopy(model).train()
        for module in self.model.modules():
            if isinstance(module, torch.nn.Dropout) and scenario.dropout is not None:
                module.p = scenario.dropout
        for name, p in self.model.named_parameters():
            p.requires_grad_(not (scenario.frozen and name.startswith(scenario.frozen)))
        self.data = Pictures(pictures[:scenario.images], targets[:scenario.images], scenario.augment)
        self.permuted = False

    def dropouts(self):
        return [m for m in self.model.modules() if isinstance(m, torch.nn.Dropout)]

    def optimize(self):
        self.optimizer = torch.optim.SGD([p for p in self.model.parameters() if p.requires_grad], **self.scenario.sgd)
        self.schedule = torch.optim.lr_scheduler.StepLR(self.optimizer, **self.scenario.scheduler)

    def step(self, x, y):
        before = torch.get_rng_state()
        logits = self.model(x.to(next(self.model.parameters()).dtype))
        loss = torch.nn.functional.cross_entropy(logits, y, label_smoothing=self.scenario.smoothing)
        self.optimizer.zero_grad()
        loss.backward()
        lr = self.optimizer.param_groups[0]["lr"]
        self.optimizer.step()
        return before, logits.detach(), loss.item(), lr

    def steps(self):
        torch.manual_seed(self.scenario.seed)
        self.optimize()
        loader = torch.utils.data.DataLoader(self.data, batch_size=self.scenario.batch, shuffle=True, num_workers=0)
        done = 0
        while done < self.scenario.steps:
            for x, y, index in loader:
                if self.permuted:
                    PermutedDropout.order = torch.arange(len(y)).flip(0)
                    x, y = x.flip(0), y.flip(0)
                yield (x, index, *self.step(x, y))
                done += 1
                if done == self.scenario.steps:
                    return
            self.schedule.step()


def _digest(tensor):
    return NOTHING if tensor is None else files.digest(tensor.detach().contiguous().numpy()).digest()


def _masks(run, before, n):
    """What each dropout multiplied by: drawn once more, which must leave the generator where the step left it."""
    after, masks = torch.get_rng_state(), []
    torch.set_rng_state(before)
    widths = [m.in_features for m in run.model.classifier if isinstance(m, torch.nn.Linear)]
    for module, width in zip(run.dropouts(), widths):
        masks.append(torch.nn.functional.dropout(torch.ones(n, width), module.p, True))
    if not torch.equal(torch.get_rng_state(), after):
        raise RuntimeError(f"{run.scenario.name}: the masks are not all that a step draws")
    return masks


def _norm(tensor):
    return torch.linalg.vector_norm(tensor.detach().double()).item()


def benign_runs(scenario, model, pictures, targets):
    """(name, a run that computes the same as the recorded one, but rounds otherwise), made one after the other."""
    def plain():
        return Run(scenario, model, pictures, targets)

    def permuted():
        run = plain()
        for module in run.dropouts():
            module.__class__ = PermutedDropout
        run.permuted = True
        return run

    def nudged():
        run = plain()
        generator = torch.Generator().manual_seed(scenario.seed)
        with torch.no_grad():
            for p in run.model.parameters():
                up = torch.randint(0, 2, p.shape, generator=generator, dtype=torch.bool)
                p.copy_(torch.nextafter(p, torch.where(up, torch.inf, -torch.inf)))
        return run

    def double():
        run = plain()
        run.model.double()
        return run

    for name, make in (("two threads", plain), ("images of a batch in reverse", permuted),
                       ("parameters moved by an ulp", nudged), ("float64", double), ("without oneDNN", plain)):
        yield name, make()


def record_envelope(scenario, model, pictures, targets, prefix, out):
    """How far benign runs drift from the recorded one: |p - p'| by parameter, and the losses' differences."""
    reference = Run(scenario, model, pictures, targets)
    start = [p.detach().clone() for p in model.parameters()]
    steps, n = scenario.steps, len(start)
    states, losses = [], []
    distance = np.zeros((steps, n))
    for i, step in enumerate(reference.steps()):
        states.append([p.detach().clone() for p in reference.model.parameters()])
        losses.append(step[4])
        distance[i] = [_norm(p.double() - q.double()) for p, q in zip(states[i], start)]
    names, difference, loss = [], [], []
    for name, run in benign_runs(scenario, model, pictures, targets):
        names.append(name)
        difference.append(np.zeros((steps, n)))
        loss.append(np.zeros(steps))
        torch.set_num_threads(2 if name == "two threads" else 1)
        with torch.backends.mkldnn.flags(enabled=name != "without oneDNN"):
            for i, step in enumerate(run.steps()):
                difference[-1][i] = [_norm(p.double() - q.double()) for p, q in zip(run.model.parameters(), states[i])]
                loss[-1][i] = step[4] - losses[i]
        torch.set_num_threads(1)
        print(f"    {name}: loss off by {loss[-1][-1]:.2g} in the end", flush=True)
    return {
        "runs": names,
        "loss": out.put(prefix + "/envelope/loss", np.stack(loss)),
        "difference": out.put(prefix + "/envelope/difference", np.stack(difference)),
        "distance": out.put(prefix + "/envelope/distance", distance),
    }


def record_scenario(scenario, model, pictures, targets, out):
    run = Run(scenario, model, pictures, targets)
    named = list(run.model.named_parameters())
    columns = {k: [] for k in ("order", "lr", "loss", "inputs", "masks", "logits", "grads", "params", "momentum", "generator")}
    for x, index, before, logits, loss, lr in run.steps():
        columns["order"] += index.tolist()
        columns["lr"].append(lr)
        columns["loss"].append(loss)
        columns["inputs"].append(_digest(x))
        columns["masks"].append([_digest(m) for m in _masks(run, before, len(index))])
        columns["logits"].append(_digest(logits))
        columns["grads"].append([_digest(p.grad) for _, p in named])
        columns["params"].append([_digest(p) for _, p in named])
        columns["momentum"].append([_digest(run.optimizer.state[p].get("momentum_buffer") if p in run.optimizer.state
                                            else None) for _, p in named])
        columns["generator"].append(_digest(torch.get_rng_state()))
        print(f"    {scenario.name}, step {len(columns['lr'])}: lr {lr}, loss {loss}", flush=True)
    dtypes = {"order": np.int64, "lr": np.float64, "loss": np.float32}

    def as_array(name, values):
        if name in dtypes:
            return np.array(values, dtypes[name])
        flat = b"".join(b"".join(v) if isinstance(v, list) else v for v in values)
        shape = (len(values), len(values[0]), 32) if isinstance(values[0], list) else (len(values), 32)
        return np.frombuffer(flat, np.uint8).reshape(shape)

    entry = {
        "name": scenario.name,
        "seed": scenario.seed,
        "images": scenario.images,
        "batch": scenario.batch,
        "steps": scenario.steps,
        "augment": scenario.augment,
        "label_smoothing": scenario.smoothing,
        "frozen": scenario.frozen,
        "sgd": scenario.sgd,
        "scheduler": scenario.scheduler,
    }
    if scenario.dropout is not None:
        entry["dropout"] = scenario.dropout
    entry.update({k: out.put(f"{scenario.name}/{k}", as_array(k, v)) for k, v in columns.items()})
    if scenario.envelope:
        entry["envelope"] = record_envelope(scenario, model, pictures, targets, scenario.name, out)
    return entry


def record(name, arch, how, state_dict, pictures, scenarios):
    """The bytes of one training fixture. pictures: [(file name, bytes)]."""
    model = forward.load_model(state_dict, arch)
    recorder, same_bits = environment.describe(torch.device("cpu"))
    classes = [m for m in model.modules() if isinstance(m, torch.nn.Linear)][-1].out_features
    targets = [(37 * i + 11) % classes for i in range(len(pictures))]
    out = files.Container()
    return out.to_bytes({
        "schema": 1,
        "kind": "training",
        "name": name,
        "arch": arch,
        "num_classes": classes,
        "model": how,
        "params": {k: files.digest(v.numpy()).hexdigest() for k, v in model.state_dict().items()},
        "recorder": recorder,
        "pytorch_bits": same_bits,
        "images": [{"name": n, "bytes": out.put("image/" + n, np.frombuffer(d, np.uint8))} for n, d in pictures],
        "targets": targets,
        "scenarios": [record_scenario(s, model, pictures, targets, out) for s in scenarios],
    })
