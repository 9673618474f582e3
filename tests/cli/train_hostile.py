"""Checkpoints of trainings in which one value is not what it should be, given to --resume: each is refused with exit code 2
and a sentence, or gone on with where it is harmless; none crashes, hangs or leaves files. Arguments: how many of the
values are tried in places chosen at random (default 100; 0: all of them) and the seed (default 1)."""
import concurrent.futures
import copy
import itertools
import math
import os
import random
import shutil
import sys
import tempfile

sys.dont_write_bytecode = True

import training  # noqa: E402
from training import check, finish, make_images, run  # noqa: E402
from training_file import Counter, File  # noqa: E402

LARGEST, SMALLEST = 2**63 - 1, -2**63
VALUES = [None, True, 0, -1, 1, LARGEST, SMALLEST, 2**70, -1.0, 1e-300, 1e308, math.nan, math.inf, "", "x", "\n", "a\0b", "1,,2",
          "*=1e400", "*" * 3000, "\033[31m", b"bytes", [], {}, (1, 2), [[[]]]]


def option(name, value):
    return lambda root: root["anx"]["options"].update({name: value})


def own(name, value):
    return lambda root: root["anx"].update({name: value})


def group(name, value):
    return lambda root: root["optimizer"]["param_groups"][0].update({name: value})


def scheduler(name, value):
    return lambda root: root["lr_scheduler"].update({name: value})


def without(*path):
    def change(root):
        for key in path[:-1]:
            root = root[key]
        del root[path[-1]]
    return change


def both(*changes):
    def change(root):
        for each in changes:
            each(root)
    return change


def sequential(root, milestone):
    """A warm-up, as PyTorch writes it."""
    after = root["lr_scheduler"]
    first = {key: value for key, value in after.items() if key not in ("step_size", "gamma")}
    root["lr_scheduler"] = {"last_epoch": after["last_epoch"], "_last_lr": after["_last_lr"], "_milestones": [milestone],
                            "_schedulers": [{**first, "factor": 0.1, "total_iters": 1}, dict(after)]}


def frozen(root):
    """As where the first two parameters of ten were frozen."""
    optimizer = root["optimizer"]
    optimizer["param_groups"][0]["params"] = list(range(8))
    for i in (8, 9):
        optimizer["state"].pop(i, None)


# A change, and words of what must be said; None: it may be taken.
REFUSED = [
    ("a step that is negative", own("step", -1), "'step' is negative, -1"),
    ("more steps than an epoch has", own("step", 4), "4 steps of epoch 1 are done, of 3"),
    ("a huge step", own("step", LARGEST), "are done, of 3"),
    ("a step of another type", own("step", 1.0), "'step' is a float"),
    ("an order of another type", own("order_seed", "x"), "'order_seed' is a str"),
    ("no order", without("anx", "order_seed"), "'order_seed' is missing"),
    ("an epoch before the first", lambda root: root.update(epoch=-2), "'epoch' is -2"),
    ("a huge epoch", lambda root: root.update(epoch=2**31 - 1), "are done"),
    ("an epoch beyond 64 bits", lambda root: root.update(epoch=2**80), "'epoch' is an int beyond 64 bits"),
    ("another epoch than its steps", lambda root: root.update(epoch=5), "'global_step' is 4, not from 19 to 19"),
    ("steps of another type", option("global_step", "4"), "'global_step' is not an int"),
    ("negative steps", option("global_step", -4), "'global_step' is -4"),
    ("steps that would overflow", option("global_step", LARGEST), "'global_step' is 9223372036854775807"),
    ("images that would overflow", option("epoch_images", LARGEST), "'epoch_images' is 9223372036854775807"),
    ("more right than images", option("epoch_right", 5), "'epoch_right' is 5, not from 0 to 4"),
    ("negative right ones", option("epoch_right", -1), "'epoch_right' is -1"),
    ("a sum that is not finite", option("epoch_loss_sum", math.nan), "'epoch_loss_sum' is nan"),
    ("a sum of another type", option("epoch_loss_sum", 1), "'epoch_loss_sum' is not a float"),
    ("a best epoch to come", option("best_epoch", 1), "'best_epoch' is 1, not from -1 to 0"),
    ("a best accuracy that no epoch reaches", option("best_acc1", math.nan), "'best_acc1' nan: a sum, and per cent"),
    ("no best loss", without("anx", "options", "best_loss"), "'best_loss' is missing"),
    ("an absurd rate", group("lr", 1e308), "learning rate is 1e+308"),
    ("a negative rate", group("lr", -0.1), "learning rate is -0.1"),
    ("a rate that is none", group("lr", math.nan), "learning rate is nan"),
    ("Nesterov without momentum", both(group("nesterov", True), group("momentum", 0.0)), "Nesterov"),
    ("an option that is too small", option("batch", 0), "the option 'batch' that it keeps is none"),
    ("an option that is too large", option("lr", 1e308), "the option 'lr' that it keeps is none"),
    ("an option that is no number", option("momentum", math.nan), "the option 'momentum' that it keeps is none"),
    ("an option that has to be above 0", option("lr-warmup-decay", 0.0), "the option 'lr-warmup-decay'"),
    ("an option of another type", option("skip-bad", 1), "the option 'skip-bad' that it keeps is none"),
    ("an unknown choice", option("augment", "randaugment"), "the option 'augment' that it keeps is none"),
    ("options that do not go together", option("lr-scheduler", "multisteplr"), "multisteplr needs --lr-milestones"),
    ("milestones that are none", option("lr-milestones", "3;4"), "are not whole numbers with commas"),
    ("a rate for a group that is none", option("lr-group", "*=1e400"), "is not GLOB=RATE"),
    ("a pattern that matches nothing", option("freeze", "nothing*"), "--freeze 'nothing*'"),
    ("a pattern that a terminal would obey", option("freeze", "*\033[31m"), "the option 'freeze' that it keeps is none"),
    ("patterns that leave nothing", option("freeze", "*"), "--freeze leaves nothing to be trained"),
    ("more groups than the optimizer has", option("lr-group", "classifier.*=0.1"), "group"),
    ("no images", option("data", None), "--data is missing"),
    ("no device", option("device", None), "the option 'device' that it keeps is none"),
    ("an unknown device", option("device", "quantum"), "unknown device 'quantum'"),
    ("other classes", option("classes", "ant\nwasp\ncat"), "class 1 was 'wasp', and is 'bee' here"),
    ("a class fewer", option("classes", "ant\nbee"), "class 2 was not there, and is 'cat' here"),
    ("a class more", option("classes", "ant\nbee\ncat\ndog"), "class 3 was 'dog', and is not here"),
    ("other images", option("data_digest", "0" * 64), "the run was begun with other images"),
    ("another network", option("architecture", "alexnet"), "begun with the network 'alexnet'; what it holds is 'narrow'"),
    ("a scheduler of the past", scheduler("last_epoch", SMALLEST), "last_epoch"),
    ("a scheduler of the far future", scheduler("last_epoch", LARGEST), "last_epoch"),
    ("steps of 0 epochs", scheduler("step_size", 0), "step size is 0"),
    ("another scheduler", lambda root: root.update(lr_scheduler={
        **{k: v for k, v in root["lr_scheduler"].items() if k != "step_size"}, "milestones": Counter({3: 1})}), "MultiStepLR"),
    ("no scheduler", without("lr_scheduler"), "scheduler"),
    ("no momentum's owner", lambda root: root["optimizer"]["state"].update({99: {}}), "in no group"),
    ("a parameter twice", group("params", [0] * 10), "occurs twice"),
    ("an accuracy of 100", both(option("best_acc1", 100.0), option("best_loss", math.inf)), None),
    ("an older version's options", lambda root: root["anx"]["options"].pop("label-smoothing"), None),
    ("options to come", option("mixup", 0.5), None),
]


# The same of files that PyTorch wrote: nothing of ours is in them.
FOREIGN = [
    ("nothing", lambda root: None, None),
    ("a warm-up", lambda root: sequential(root, 1), None),
    ("a warm-up of the far past", lambda root: sequential(root, SMALLEST), "SequentialLR"),
    ("a warm-up without end", lambda root: sequential(root, LARGEST), "SequentialLR"),
    ("a rate that is none", both(group("lr", math.nan), group("initial_lr", math.nan)), "learning rate is nan"),
    ("an infinite rate", both(group("lr", math.inf), group("initial_lr", math.inf)), "learning rate is inf"),
    ("a momentum that is none", group("momentum", math.nan), "momentum is nan"),
    ("parameters that were frozen there", frozen, "--freeze and --lr-group as that run had them"),
    ("AdamW", group("betas", (0.9, 0.999)), "'betas' (it is Adam's or AdamW's), which torch.optim.SGD has not"),
    ("RMSprop", group("alpha", 0.9), "'alpha' (it is RMSprop's), which torch.optim.SGD has not"),
    ("no groups", lambda root: root["optimizer"].update(param_groups=[], state={}), "group"),
    ("many epochs", lambda root: root.update(epoch=2**31 - 2), None),
]


def places(root):
    """Every place that holds a simple value, as paths."""
    def walk(value, path):
        if isinstance(value, dict) and (len(path) == 0 or path[0] != "model"):
            for key in value:
                yield from walk(value[key], (*path, key))
        elif isinstance(value, list):
            for i in range(min(len(value), 2)):
                yield from walk(value[i], (*path, i))
        elif len(path) > 0:
            yield path
    return list(walk(root, ()))


def put(path, value):
    def change(root):
        for key in path[:-1]:
            root = root[key]
        root[path[-1]] = value
    return change


class Judge:
    def __init__(self, path):
        self.file = File(path)
        self.numbers = itertools.count()

    def make(self, change):
        made = copy.copy(self.file)
        made.root = copy.deepcopy(self.file.root)
        change(made.root)
        name = f"hostile{next(self.numbers)}"
        os.mkdir(name)
        made.write(f"{name}/last.pth")
        return name

    def resume_foreign(self, what, change, words):
        self.resume(f"PyTorch's: {what}", both(without("anx"), change), words, "--data", "train", "--batch", 4)

    def resume(self, what, change, words=None, *options):
        name = self.make(change)
        before = training.read(f"{name}/last.pth")
        done = run("--resume", f"{name}/last.pth", "--max-steps", 5, *options, code={0, 2} if words is None else 2, what=what)
        check(done.err.replace("\n", "").isprintable(), f"{what}: {done.err!r}")
        if done.returncode == 2:
            check(done.err.startswith("anx-train: ") and done.err.count("\n") <= 2, f"{what}: says {done.err!r}")
            check(words is None or words in done.err, f"{what}: says {done.err!r}, not {words!r}")
            check(os.listdir(name) == ["last.pth"] and training.read(f"{name}/last.pth") == before,
                  f"{what}: leaves {os.listdir(name)}")
        shutil.rmtree(name)


def main():
    n, seed = int(sys.argv[1]) if len(sys.argv) > 1 else 100, int(sys.argv[2]) if len(sys.argv) > 2 else 1
    training.prepare_environment()
    with tempfile.TemporaryDirectory() as folder, concurrent.futures.ThreadPoolExecutor(2) as pool:
        os.chdir(folder)
        make_images("train", 3)
        make_images("val", 1)
        run("--data", "train", "--val-dir", "val", "--arch", "narrow", "--epochs", 3, "--batch", 4, "--max-steps", 4, "-o",
            "run", "--device", "cpu")
        judge = Judge("run/last.pth")
        judge.resume("nothing is wrong", lambda root: None)
        jobs = [(what, change, words) for what, change, words in REFUSED]
        everything = [(f"{path} is {value!r}"[:200], put(path, value), None) for path in places(judge.file.root)
                      for value in VALUES]
        jobs += everything if n == 0 else random.Random(seed).sample(everything, n)
        jobs = [pool.submit(judge.resume, *job) for job in jobs] + [pool.submit(judge.resume_foreign, *job) for job in FOREIGN]
        for job in jobs:
            job.result()
        os.chdir("/")
    return finish()


if __name__ == "__main__":
    sys.exit(main())
