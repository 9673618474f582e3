"""Checkpoints of a training: ours are torch.save's byte for byte, and PyTorch goes on from them as from its own.

Under 2.15 every file is compared with torch.save's; under 1.13, which writes other keys, what it loads is.
"""
import argparse
import collections
import copy
import filecmp
import os
import subprocess
import sys
import tempfile
import warnings

try:
    import torch
    from torch import nn
    from torch.optim import lr_scheduler as lrs
except ImportError as error:
    print(f"SKIPPED: {error}", file=sys.stderr)
    sys.exit(1 if os.environ.get("ANX_TESTS_NO_SKIP", "0") not in ("", "0") else 77)

OLD = torch.__version__.startswith("1.")
TOOL = os.environ["ANX_BUILD_DIR"] + "/tests/training_tool"
failures = 0


def check(good, what):
    global failures
    if not good:
        print(f"FAILED: {what}")
        failures += 1


def load(path, weights_only=False):
    return torch.load(path, weights_only=weights_only)


# ---- trainings ---------------------------------------------------------------------------------------------

SCHEDULERS = {
    "step": lambda o: lrs.StepLR(o, 2, 0.1),
    "multistep": lambda o: lrs.MultiStepLR(o, [3, 1, 3, 70000], gamma=0.3),
    "exponential": lambda o: lrs.ExponentialLR(o, 0.9),
    "cosine": lambda o: lrs.CosineAnnealingLR(o, T_max=5, eta_min=0.001),
    "linear": lambda o: lrs.LinearLR(o, 0.1, total_iters=4),
    "constant": lambda o: lrs.ConstantLR(o, 0.25, 3),
    "warm-up": lambda o: lrs.SequentialLR(
        o, [lrs.LinearLR(o, 0.01, total_iters=2), lrs.CosineAnnealingLR(o, T_max=5)], [2]),
    "three": lambda o: lrs.SequentialLR(
        o, [lrs.ConstantLR(o, 0.01, 2), lrs.MultiStepLR(o, [1]), lrs.ExponentialLR(o, 0.5)], milestones=[2, 5]),
    "plateau": lambda o: lrs.ReduceLROnPlateau(o, patience=1, cooldown=1),
    "plateau-max": lambda o: lrs.ReduceLROnPlateau(
        o, mode="max", threshold_mode="abs", patience=0, min_lr=[1e-3] * len(o.param_groups)),
}


def network():
    torch.manual_seed(1)
    return nn.Sequential(collections.OrderedDict(
        features=nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Conv2d(4, 2, 3)),
        classifier=nn.Sequential(nn.Flatten(), nn.Linear(32, 5))))


def optimizer(model, n_groups, momentum, **more):
    params = list(model.parameters())
    if n_groups == 1:
        groups = params
    elif n_groups == 2:  # as torchvision's set_weight_decay makes them
        groups = [{"params": params[1::2], "weight_decay": 0.0}, {"params": params[::2], "weight_decay": 1e-4}]
    else:
        groups = [{"lr": 0.5, "params": [p], "nesterov": False} for p in params]
    if momentum is not None:
        more["momentum"] = momentum
    return torch.optim.SGD(groups, lr=0.1, **more)


def parsed_args(argv):
    """As torchvision's get_args_parser: defaults are strings of the source, values from argv are not."""
    p = argparse.ArgumentParser()
    p.add_argument("--data-path", default="/datasets01/imagenet_full_size/061417/", type=str)
    p.add_argument("--model", default="resnet18", type=str)
    p.add_argument("--device", default="cuda", type=str)
    p.add_argument("-b", "--batch-size", default=32, type=int)
    p.add_argument("--epochs", default=90, type=int)
    p.add_argument("--opt", default="sgd", type=str)
    p.add_argument("--lr", default=0.1, type=float)
    p.add_argument("--momentum", default=0.9, type=float)
    p.add_argument("--wd", "--weight-decay", default=1e-4, type=float, dest="weight_decay")
    p.add_argument("--norm-weight-decay", default=None, type=float)
    p.add_argument("--lr-scheduler", default="steplr", type=str)
    p.add_argument("--lr-warmup-method", default="constant", type=str)
    p.add_argument("--output-dir", default=".", type=str)
    p.add_argument("--resume", default="", type=str)
    p.add_argument("--sync-bn", dest="sync_bn", action="store_true")
    p.add_argument("--interpolation", default="bilinear", type=str)
    p.add_argument("--backend", default="PIL", type=str.lower)
    p.add_argument("--weights", default=None, type=str)
    return p.parse_args(argv)


class Training:
    def __init__(self, scheduler, n_groups=1, momentum=0.9, layout=torch.contiguous_format, **more):
        self.model = network().to(memory_format=layout)
        self.optimizer = optimizer(self.model, n_groups, momentum, **more)
        self.scheduler = SCHEDULERS[scheduler](self.optimizer)
        self.images = torch.linspace(-1, 1, 3 * 3 * 8 * 8).view(3, 3, 8, 8)
        self.epoch = -1

    def run(self, epochs):
        for _ in range(epochs):
            self.optimizer.zero_grad()
            loss = nn.functional.cross_entropy(self.model(self.images), torch.tensor([0, 1, 4]))
            loss.backward()
            self.optimizer.step()
            self.epoch += 1
            if isinstance(self.scheduler, lrs.ReduceLROnPlateau):
                self.scheduler.step([1.0, 0.5, 0.7, 0.8, 0.9, 0.4, 0.6, 0.7, 0.8][self.epoch])
            else:
                self.scheduler.step()
        return self

    def state(self, args=None, own=None):
        state = {"model": self.model.state_dict(), "optimizer": self.optimizer.state_dict(),
                 "lr_scheduler": self.scheduler.state_dict(), "epoch": self.epoch}
        if args is not None:
            state["args"] = args
        if own is not None:
            state["anx"] = own
        return state

    def resume(self, state):
        self.model.load_state_dict(state["model"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.scheduler.load_state_dict(state["lr_scheduler"])
        self.epoch = state["epoch"]
        return self

    def outcome(self):
        """Bits of all parameters, and the learning rates."""
        bits = [p.detach().contiguous().view(-1).view(torch.int32).tolist() for p in self.model.parameters()]
        return bits, [g["lr"].hex() for g in self.optimizer.param_groups]


def own():
    return {"version": 1, "rng_state": torch.get_rng_state(), "step": 17, "order_seed": 1 << 62,
            "options": {"crop": "random", "lr": 0.1, "flip": True, "none": None, "batch": 65536}}


# ---- judging -----------------------------------------------------------------------------------------------

def rewrite(source, target, expected=""):
    done = subprocess.run([TOOL, "rewrite", source, target], stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                          universal_newlines=True)
    check(done.returncode == 0 and done.stdout == expected, f"{source}: {done.stdout}{done.stderr}")
    return done.returncode == 0


def judge_one(name, make, folder, args=None, mine=None):
    """Saves a training, lets the tool read and write it, compares the bytes, goes on from the tool's file."""
    theirs, ours = f"{folder}/theirs/checkpoint.pth", f"{folder}/ours/checkpoint.pth"
    training = make().run(3)
    torch.save(training.state(args, mine), theirs)
    if not rewrite(theirs, ours):
        return
    if not OLD:
        check(filecmp.cmp(theirs, ours, shallow=False), f"{name}: the bytes differ from torch.save's")
        if args is None:
            load(ours, weights_only=True)
    loaded = load(ours)
    if args is not None:
        check(loaded["args"] == args, f"{name}: args: {loaded['args']}")
    if mine is not None:
        check(torch.equal(loaded["anx"].pop("rng_state"), mine["rng_state"]), f"{name}: the generator's state")
        check(loaded["anx"] == {k: v for k, v in mine.items() if k != "rng_state"}, f"{name}: {loaded['anx']}")
    resumed = make().resume(loaded).run(5)
    check(resumed.outcome() == training.run(5).outcome(), f"{name}: goes on differently")


def judge_trainings(folder):
    n = 0
    for scheduler in SCHEDULERS:
        for n_groups, momentum, more in ((1, 0.9, {}), (1, None, {}), (2, 0.9, {"weight_decay": 1e-4}),
                                         (6, 0.9, {"nesterov": True, "foreach": False})):
            judge_one(f"{scheduler}, {n_groups} groups, momentum {momentum}",
                      lambda: Training(scheduler, n_groups, momentum, **more), folder,
                      mine=own() if n_groups == 2 else None)
            n += 1
    judge_one("maximize", lambda: Training("step", maximize=True, dampening=0.5), folder)
    judge_one("channels last", lambda: Training("step", layout=torch.channels_last), folder)
    judge_one("args", lambda: Training("warm-up", 2), folder, parsed_args([]), own())
    argv = ["--model", "alexnet", "--lr", "1e-2", "--device", "cpu", "--epochs", "100000", "--opt", "sgd",
            "--output-dir", "o", "--weights", "lr", "--resume", "a/b.pth"]
    judge_one("args given", lambda: Training("step"), folder, parsed_args(argv))
    judge_one("no args", lambda: Training("step"), folder, argparse.Namespace())
    judge_one("interned", lambda: Training("plateau"), folder,
              argparse.Namespace(device="cpu", mode="min", kind="storage", again="twice", more="twice", n=1 << 40,
                                 version="version", one="a", a="a", umlaut="\u00fc", wide="\u4e2d"))
    return n + 6


def judge_before_the_first_step(folder):
    for scheduler in SCHEDULERS:
        theirs, ours = f"{folder}/theirs/new.pth", f"{folder}/ours/new.pth"
        training = Training(scheduler)
        torch.save(training.state(), theirs)
        if rewrite(theirs, ours):
            check(OLD or filecmp.cmp(theirs, ours, shallow=False), f"{scheduler}, new: the bytes differ")
            check(Training(scheduler).resume(load(ours)).run(5).outcome() == training.run(5).outcome(),
                  f"{scheduler}, new: goes on differently")


def judge_again(folder):
    """A state that PyTorch has loaded and saved again, a legacy stream, a missing buffer, keys of others."""
    path, ours = f"{folder}/theirs/again.pth", f"{folder}/ours/again.pth"
    training = Training("warm-up", 2).run(3)
    state = training.state()
    torch.save(Training("warm-up", 2).resume(copy.deepcopy(state)).state(), path)
    if rewrite(path, ours):
        check(OLD or filecmp.cmp(path, ours, shallow=False), "loaded and saved again: the bytes differ")
    whole = f"{folder}/whole/again.pth"
    os.mkdir(f"{folder}/whole")
    torch.save(state, whole)
    torch.save(state, path, _use_new_zipfile_serialization=False)
    if rewrite(path, ours):
        check(OLD or filecmp.cmp(whole, ours, shallow=False), "from a legacy stream: the bytes differ")
    del state["optimizer"]["state"][1]
    state["optimizer"]["state"][2]["momentum_buffer"] = None
    state["scaler"], state["model_ema"] = {"scale": 1.0}, {"n_averaged": torch.tensor(3)}
    torch.save(state, path)
    if rewrite(path, ours, "ignored: scaler\nignored: model_ema\n"):
        kept = load(ours)["optimizer"]["state"]
        check(sorted(kept) == [0, 3, 4, 5], f"buffers: {sorted(kept)}")


def sample():
    """The objects of training_sample.c."""
    model = nn.Sequential(collections.OrderedDict(fc=nn.Linear(3, 2)))
    w, b = model.fc.weight, model.fc.bias
    o = torch.optim.SGD([{"params": [w], "weight_decay": 1e-4},
                         {"params": [b], "weight_decay": 0, "lr": 0.02}], lr=0.1, momentum=0.9)
    o.param_groups[1]["nesterov"], o.param_groups[1]["foreach"] = True, False
    s = lrs.SequentialLR(o, [lrs.LinearLR(o, 0.1, total_iters=2), lrs.StepLR(o, 2, 0.1)], [2])
    w.grad = torch.zeros(2, 3)
    for _ in range(3):
        o.step()
        s.step()
    with torch.no_grad():
        w.copy_(torch.arange(6.0).view(2, 3) / 4 - 0.5)
        b.copy_(torch.arange(2.0) - 3)
        o.state[w]["momentum_buffer"].copy_((torch.arange(6.0) ** 2).view(2, 3) / 8)
    args = argparse.Namespace(lr=0.1, epochs=-70000, lr_scheduler="gamma", device="cpu", data_path="".join(["l", "r"]),
                              resume="", output_dir="caf\u00e9", amp=True, norm_weight_decay=None)
    mine = {"version": 1, "rng_state": torch.arange(5056).mul(7).add(3).to(torch.uint8), "step": 300,
            "order_seed": 2 ** 63 - 1, "options": {"bias_lr": -0.0, "order": "shuffled"}}
    return o, s, {"model": model.state_dict(), "optimizer": o.state_dict(), "lr_scheduler": s.state_dict(), "epoch": 2,
                  "args": args, "anx": mine}


def judge_sample(folder):
    ours, theirs = f"{folder}/ours/sample.pth", f"{folder}/theirs/sample.pth"
    subprocess.run([TOOL, "sample", ours], check=True)
    o, s, state = sample()
    torch.save(state, theirs)
    loaded = load(ours)
    check(OLD or filecmp.cmp(theirs, ours, shallow=False), "the sample's bytes differ from torch.save's")
    check(loaded["args"] == state["args"] and loaded["epoch"] == 2, f"sample: {loaded['args']}")
    o2, s2, _ = sample()
    o2.load_state_dict(loaded["optimizer"])
    s2.load_state_dict(loaded["lr_scheduler"])
    for _ in range(4):
        o.step(), o2.step(), s.step(), s2.step()
        check([g["lr"].hex() for g in o.param_groups] == [g["lr"].hex() for g in o2.param_groups], "sample: lr")


def main():
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        os.mkdir(f"{folder}/ours")
        os.mkdir(f"{folder}/theirs")
        judge_sample(folder)
        n = judge_trainings(folder)
        judge_before_the_first_step(folder)
        judge_again(folder)
    print(f"{n} trainings, {failures} failures, PyTorch {torch.__version__}")
    return failures > 0


if __name__ == "__main__":
    sys.exit(main())
