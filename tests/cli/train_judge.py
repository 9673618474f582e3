"""anx-train against PyTorch: from a seed on, the run that torchvision's train.py makes of the same folders, to the bit;
and from one to the other in the middle of it, both ways.

PyTorch runs on one thread on a CPU with AVX-512, its MKL with the kernels for AMD's CPUs (../backend/exact_judge.py).
"""
import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[1:1] = [os.path.join(HERE, os.pardir, "backend"), os.path.join(HERE, os.pardir, "train")]
import exact_judge
from judging import Judge, need_avx512, np, torch
import torchvision
from torch.optim import lr_scheduler as lrs
from torchvision import transforms as T

SOURCE, BUILD = os.environ["ANX_SOURCE_DIR"], os.environ["ANX_BUILD_DIR"]
TOOL = BUILD + "/tools/anx-train"
judge = Judge()


def run(*arguments, code=0):
    done = subprocess.run([TOOL, *map(str, arguments)], capture_output=True, text=True,
                          env=exact_judge.tool_environment(""))
    if done.returncode != code:
        judge.fail(f"exit {done.returncode} instead of {code}: {arguments}\n{done.stderr}")
    return done


def make_folders(root, classes, n_train, n_val):
    """The project's photographs as the images of classes, some of them in folders of folders."""
    pictures = sorted(f for f in os.listdir(SOURCE + "/fixtures/images") if f.endswith((".jpg", ".png")))
    for part, first, n in ("train", 0, n_train), ("val", 3, n_val):
        for i in range(n):
            folder = f"{root}/{part}/{classes[i % len(classes)]}" + ("/more" if i % 5 == 4 else "")
            os.makedirs(folder, exist_ok=True)
            name = pictures[(first + i) % len(pictures)]
            shutil.copy(f"{SOURCE}/fixtures/images/{name}", f"{folder}/{i}-{name}")
    for label in classes:
        os.makedirs(f"{root}/val/{label}", exist_ok=True)


def preset(augment):
    """ClassificationPresetTrain and ClassificationPresetEval of train.py, with the PIL backend."""
    first = {"torchvision-basic": [T.RandomResizedCrop(224), T.RandomHorizontalFlip(0.5)],
             "hflip": [T.Resize(256), T.CenterCrop(224), T.RandomHorizontalFlip(0.5)],
             "none": [T.Resize(256), T.CenterCrop(224)]}[augment]
    return T.Compose([*first, T.PILToTensor(), T.ConvertImageDtype(torch.float),
                      T.Normalize([0.485, 0.456, 0.406], [0.229, 0.224, 0.225])])


class Training:
    """What train.py does, its options by their names."""

    def __init__(self, data, weights, classes, seed, batch=8, lr=0.01, momentum=0.9, weight_decay=1e-4, nesterov=False,
                 smoothing=0.0, dropout=None, augment="torchvision-basic", freeze=(), groups=(), scheduler=None):
        self.smoothing = smoothing
        self.train_set = torchvision.datasets.ImageFolder(f"{data}/train", preset(augment))
        self.val_set = torchvision.datasets.ImageFolder(f"{data}/val", preset("none"), allow_empty=True)
        self.loader = torch.utils.data.DataLoader(self.train_set, batch, shuffle=True)
        self.val_loader = torch.utils.data.DataLoader(self.val_set, batch)
        if weights is None:
            torch.manual_seed(seed)
            self.model = torchvision.models.alexnet(num_classes=classes)
        else:
            self.model = torchvision.models.alexnet()
            self.model.load_state_dict(torch.load(weights))
            torch.manual_seed(seed)
            if classes != 1000:
                self.model.classifier[6] = torch.nn.Linear(4096, classes)
        for module in self.model.modules():
            if isinstance(module, torch.nn.Dropout) and dropout is not None:
                module.p = dropout
        named = list(self.model.named_parameters())
        for name, p in named:
            p.requires_grad_(not name.startswith(tuple(freeze)) or not freeze)
        trained = [(name, p) for name, p in named if p.requires_grad]
        rest = [p for name, p in trained if not any(name.startswith(prefix) for prefix, _ in groups)]
        members = [{"params": rest, "weight_decay": weight_decay}]
        if groups:
            members = [{"params": rest, "lr": lr, "weight_decay": weight_decay}]
        members += [{"params": [p for name, p in trained if name.startswith(prefix)], "lr": rate,
                     "weight_decay": weight_decay} for prefix, rate in groups]
        self.optimizer = torch.optim.SGD(members, lr=lr, momentum=momentum, nesterov=nesterov)
        self.scheduler = scheduler(self.optimizer) if scheduler else None
        self.losses, self.rates, self.epoch = [], [], 0
        self.summed, self.right = 0.0, 0

    def train_epoch(self):
        criterion = torch.nn.CrossEntropyLoss(label_smoothing=self.smoothing)
        self.model.train()
        self.losses, self.rates = [], [g["lr"] for g in self.optimizer.param_groups]
        self.summed, self.right = 0.0, 0
        for x, y in self.loader:
            logits = self.model(x)
            loss = criterion(logits, y)
            self.optimizer.zero_grad()
            loss.backward()
            self.optimizer.step()
            self.losses.append(loss.item())
            self.summed += loss.item() * len(y)
            self.right += int((logits.argmax(1) == y).sum())

    def evaluate(self):
        self.model.eval()
        with torch.inference_mode():
            logits, targets = zip(*[(self.model(x), y) for x, y in self.val_loader])
        logits, targets = torch.cat(logits), torch.cat(targets)
        right = logits.topk(min(5, logits.shape[1])).indices.eq(targets[:, None])
        return (torch.nn.functional.cross_entropy(logits.double(), targets).item(),
                100 * right[:, 0].double().mean().item(), 100 * right.any(1).double().mean().item())

    def run_epoch(self):
        self.train_epoch()
        self.val = None
        if isinstance(self.scheduler, lrs.ReduceLROnPlateau):
            self.val = self.evaluate()
            self.scheduler.step(self.val[0])
        else:
            if self.scheduler:
                self.scheduler.step()
            self.val = self.evaluate()
        self.epoch += 1

    def state(self):
        return {"model": self.model.state_dict(), "optimizer": self.optimizer.state_dict(),
                **({"lr_scheduler": self.scheduler.state_dict()} if self.scheduler else {}), "epoch": self.epoch - 1}

    def load(self, state):
        self.model.load_state_dict(state["model"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.scheduler.load_state_dict(state["lr_scheduler"])
        self.epoch = state["epoch"] + 1


def compare_state(what, path, torch_run, rng=True):
    """Our checkpoint against PyTorch's objects."""
    ours, theirs = torch.load(path, weights_only=True), torch_run.state()
    if list(ours["model"]) != list(theirs["model"]):
        judge.fail(f"{what}: other names of parameters")
    for name, tensor in theirs["model"].items():
        judge.same(f"{what}: {name}", ours["model"][name], tensor)
    mine, his = ours["optimizer"], theirs["optimizer"]
    if list(mine["state"]) != list(his["state"]):
        judge.fail(f"{what}: momentum of other parameters: {list(mine['state'])} instead of {list(his['state'])}")
    for i, held in his["state"].items():
        judge.same(f"{what}: momentum {i}", mine["state"][i]["momentum_buffer"], held["momentum_buffer"])
    for key in "param_groups", :
        if mine[key] != his[key]:
            judge.fail(f"{what}: {key}: {mine[key]} instead of {his[key]}")
    if ours.get("lr_scheduler") != theirs.get("lr_scheduler") and not (
            isinstance(torch_run.scheduler, lrs.ReduceLROnPlateau) and plateau_equal(ours, theirs)):
        judge.fail(f"{what}: lr_scheduler: {ours.get('lr_scheduler')} instead of {theirs.get('lr_scheduler')}")
    if ours["epoch"] != theirs["epoch"]:
        judge.fail(f"{what}: epoch {ours['epoch']} instead of {theirs['epoch']}")
    if rng:
        judge.same(f"{what}: the generator's state", ours["anx"]["rng_state"], torch.get_rng_state())


def plateau_equal(ours, theirs):
    """But for the best loss, which PyTorch's evaluation sums in another precision."""
    a, b = dict(ours["lr_scheduler"]), dict(theirs["lr_scheduler"])
    near = abs(a.pop("best") - b.pop("best")) < 1e-5
    return near and a == b


def compare_log(what, path, epoch, torch_run):
    lines = [json.loads(line) for line in open(path, encoding="utf-8")]
    steps = [line for line in lines if line["event"] == "step" and line["epoch"] == epoch]
    judge.same(f"{what}: losses", np.float32([s["loss"] for s in steps]), np.float32(torch_run.losses))
    for s in steps:
        if s["lr"] != torch_run.rates:
            judge.fail(f"{what}: step {s['step']} with lr {s['lr']} instead of {torch_run.rates}")
    done, = [line for line in lines if line["event"] == "epoch" and line["epoch"] == epoch]
    n = len(torch_run.train_set)
    wanted = {"train_loss": torch_run.summed / n, "train_acc1": 100 * torch_run.right / n,
              **dict(zip(("val_loss", "val_acc1", "val_acc5"), torch_run.val))}
    for key, value in wanted.items():
        if abs(done[key] - value) > 1e-5 * max(1, abs(value)):
            judge.fail(f"{what}: {key} {done[key]} instead of {value}")


def judge_case(what, data, out, options, torch_options, epochs=2, in_one_go=False):
    """Epoch by epoch, the second gone on with from the first one's checkpoint; or in one go."""
    theirs = Training(data, **torch_options)
    begin = ["--data", data, "-o", out, "--device", "exact", *options]
    for epoch in range(epochs):
        if epoch == 0 or not in_one_go:
            run(*begin, "--epochs", epochs if in_one_go else epoch + 1)
            begin = ["--resume", f"{out}/last.pth"]
        theirs.run_epoch()
        compare_log(f"{what}, epoch {epoch}", f"{out}/log.jsonl", epoch, theirs)
        if not in_one_go or epoch == epochs - 1:
            compare_state(f"{what}, epoch {epoch}", f"{out}/last.pth", theirs)
        if epoch == 0:
            shutil.copy(f"{out}/last.pth", f"{out}-first.pth")
    model = torch.load(f"{out}/last-model.pth", weights_only=True)
    for name, tensor in theirs.model.state_dict().items():
        judge.same(f"{what}: {name} of last-model.pth", model[name], tensor)
    print(f"{what}: {judge.compared} values compared, {judge.failures} failures", flush=True)


def judge_ours_in_torch(data, first, last, torch_options):
    """PyTorch takes up our run after its first epoch."""
    theirs = Training(data, **torch_options)
    state = torch.load(first, weights_only=True)
    theirs.load(state)
    torch.set_rng_state(state["anx"]["rng_state"])
    theirs.run_epoch()
    compare_state("gone on with in PyTorch", last, theirs)


def judge_torch_in_ours(data, folder, torch_options):
    """We take up PyTorch's run: a file of train.py's, with args, which has no generator's state."""
    theirs = Training(data, **torch_options)
    theirs.run_epoch()
    path = f"{folder}/checkpoint.pth"
    torch.save({**theirs.state(), "args": argparse.Namespace(lr=0.01, epochs=2)}, path)
    torch.manual_seed(77)
    out = f"{folder}/out-of-torch"
    run("--resume", path, "--data", data, "-o", out, "--device", "exact", "--epochs", 2, "--batch", 8, "--seed", 77,
        "--with-args")
    theirs.run_epoch()
    ours = torch.load(f"{out}/last.pth", weights_only=False)
    if ours["args"].lr_scheduler != "exponentiallr" or ours["args"].batch_size != 8:
        judge.fail(f"args: {ours['args']}")
    try:
        torch.load(f"{out}/last.pth", weights_only=True)
        judge.fail("a file with args was taken with weights_only=True")
    except Exception:  # as it should be
        pass
    del ours["args"]
    torch.save(ours, f"{folder}/without-args.pth")
    compare_state("PyTorch's run gone on with", f"{folder}/without-args.pth", theirs)
    compare_log("PyTorch's run gone on with", f"{out}/log.jsonl", 1, theirs)


SCHEDULERS = {
    "steplr": lambda o, r, epochs: lrs.StepLR(o, r["lr-step-size"], r["lr-gamma"]),
    "multisteplr": lambda o, r, epochs: lrs.MultiStepLR(o, [int(m) for m in r["lr-milestones"].split(",")], r["lr-gamma"]),
    "exponentiallr": lambda o, r, epochs: lrs.ExponentialLR(o, r["lr-gamma"]),
    "cosineannealinglr": lambda o, r, epochs: lrs.CosineAnnealingLR(o, epochs, r["lr-min"]),
    "plateau": lambda o, r, epochs: lrs.ReduceLROnPlateau(o, factor=r["lr-gamma"], patience=r["lr-patience"],
                                                         min_lr=r["lr-min"]),
    "none": None,
}


def random_scheduler(rng, recipe, epochs):
    """As train.py makes it of its options."""
    kind = recipe["lr-scheduler"]
    warmup = 0 if kind in ("plateau", "none") else int(rng.integers(0, epochs))
    recipe["lr-warmup-epochs"] = warmup
    if kind == "none":
        return None
    if not warmup:
        return lambda o: SCHEDULERS[kind](o, recipe, epochs)
    decay = recipe["lr-warmup-decay"] = float(rng.choice([0.01, 0.3, 1.0]))
    method = recipe["lr-warmup-method"] = str(rng.choice(["linear", "constant"]))

    def make(o):
        main = SCHEDULERS[kind](o, recipe, epochs - warmup)
        first = (lrs.LinearLR(o, start_factor=decay, total_iters=warmup) if method == "linear"
                 else lrs.ConstantLR(o, factor=decay, total_iters=warmup))
        return lrs.SequentialLR(o, [first, main], [warmup])
    return make


def random_case(number, folder):
    """A run that nobody thought of."""
    rng = np.random.default_rng(number)
    pick = lambda *choices: choices[rng.integers(len(choices))]
    classes, epochs = int(pick(2, 3, 5, 7, 10, 17, 33)), int(rng.integers(1, 4))
    n, batch, seed = classes + int(rng.integers(0, 12)), int(rng.integers(1, 13)), int(rng.integers(-2**63, 2**63))
    data, out = f"{folder}/data-{number}", f"{folder}/out-{number}"
    make_folders(data, [f"class {i}" for i in range(classes)], n, classes + int(rng.integers(0, 3)))
    freeze = pick([], [], ["features."], ["features.0.", "features.3."], ["features.", "classifier.1."], ["classifier.4."])
    groups = pick([], [], [("classifier.6.", 0.02)], [("features.8.", 0.001), ("classifier.", 0.004)])
    groups = [] if any(prefix.startswith(f) for f in freeze for prefix, _ in groups) else groups
    recipe = {"epochs": epochs, "seed": seed, "batch": batch, "lr": float(pick(0.01, 0.001, 0.003)),
              "momentum": float(pick(0.9, 0.5, 0.0)), "weight-decay": float(pick(1e-4, 0.0, 0.01)),
              "label-smoothing": float(pick(0.0, 0.1, 0.3)), "augment": pick("torchvision-basic", "hflip", "none"),
              "lr-scheduler": pick(*SCHEDULERS), "lr-step-size": int(rng.integers(1, 3)), "lr-gamma": float(pick(0.1, 0.7)),
              "lr-milestones": pick("1", "1,2", "2,1,1"), "lr-patience": int(rng.integers(0, 2)),
              "lr-min": float(pick(0.0, 1e-4))}
    dropout = pick(None, 0.0, 0.3)
    scheduler = random_scheduler(rng, recipe, epochs)
    nesterov = recipe["momentum"] > 0 and bool(rng.integers(2))
    options = [part for key, value in recipe.items() for part in ("--" + key, repr(value) if isinstance(value, float) else value)]
    options += ["--opt", "sgd_nesterov" if nesterov else "sgd", "--arch", "alexnet"]
    options += ["--dropout", dropout] if dropout is not None else []
    for prefix in freeze:
        options += ["--freeze", prefix + "*"]
    for prefix, rate in groups:
        options += ["--lr-group", f"{prefix}*={rate}"]
    what = f"case {number}: " + " ".join(map(str, options))
    theirs = Training(data, None, classes, seed, batch, recipe["lr"], recipe["momentum"], recipe["weight-decay"], nesterov,
                      recipe["label-smoothing"], dropout, recipe["augment"], freeze, groups, scheduler)
    # Stopped somewhere, and gone on with: nothing of that may show.
    steps = -(-n // batch) * epochs
    run("--data", data, "-o", out, "--device", "exact", *options, "--max-steps", int(rng.integers(1, steps + 1)))
    run("--resume", f"{out}/last.pth")
    for epoch in range(epochs):
        theirs.run_epoch()
        compare_log(f"{what}, epoch {epoch}", f"{out}/log.jsonl", epoch, theirs)
    compare_state(what, f"{out}/last.pth", theirs)
    shutil.rmtree(out)
    print(f"{what}, {n} images: {judge.compared} values compared, {judge.failures} failures", flush=True)


def main():
    need_avx512()
    exact_judge.with_zen()
    torch.set_num_threads(1)
    parser = argparse.ArgumentParser()
    parser.add_argument("--random", type=int, nargs=2, metavar=("FIRST", "N"), help="runs made up at random, by number")
    args = parser.parse_args()
    if args.random:
        with tempfile.TemporaryDirectory() as folder:
            for number in range(args.random[0], sum(args.random)):
                random_case(number, folder)
        return judge.finish()
    with tempfile.TemporaryDirectory() as folder:
        data, weights = folder + "/data", folder + "/seed0.pth"
        subprocess.run([BUILD + "/tools/anx-convert", "init", "--arch", "alexnet", "--seed", "0", "-o", weights],
                       check=True, stdout=subprocess.DEVNULL)
        make_folders(data, ["ape", "bee", "cat", "dog", "elk"], 13, 6)
        torch_options = {"weights": weights, "classes": 5, "seed": 3, "smoothing": 0.1,
                         "scheduler": lambda o: lrs.StepLR(o, 1, 0.5)}
        judge_case("a new head, label smoothing, StepLR", data, folder + "/a",
                   ["--weights", weights, "--seed", 3, "--batch", 8, "--label-smoothing", 0.1, "--lr-step-size", 1,
                    "--lr-gamma", 0.5], torch_options)
        judge_ours_in_torch(data, folder + "/a-first.pth", folder + "/a/last.pth", torch_options)
        judge_case("frozen features, groups, a warm-up, nesterov", data, folder + "/b",
                   ["--weights", weights, "--seed", -2, "--batch", 7, "--freeze", "features.*", "--lr-group",
                    "classifier.6.*=0.02", "--lr", 0.002, "--lr-scheduler", "cosineannealinglr", "--lr-warmup-epochs", 1,
                    "--lr-warmup-method", "linear", "--lr-warmup-decay", 0.1, "--augment", "hflip", "--opt",
                    "sgd_nesterov", "--dropout", 0.25],
                   {"weights": weights, "classes": 5, "seed": -2, "batch": 7, "lr": 0.002, "nesterov": True,
                    "dropout": 0.25, "augment": "hflip", "freeze": ["features."], "groups": [("classifier.6.", 0.02)],
                    "scheduler": lambda o: lrs.SequentialLR(o, [
                        lrs.LinearLR(o, start_factor=0.1, total_iters=1), lrs.CosineAnnealingLR(o, 2, 0.0)], [1])},
                   epochs=3, in_one_go=True)
        judge_case("drawn weights, plateau, no augmentation", data, folder + "/c",
                   ["--arch", "alexnet", "--seed", 2**63 + 5, "--batch", 8, "--augment", "none", "--lr-scheduler",
                    "plateau", "--lr-patience", 0, "--weight-decay", 0.01, "--momentum", 0],
                   {"weights": None, "classes": 5, "seed": 2**63 + 5, "augment": "none", "weight_decay": 0.01,
                    "momentum": 0.0, "scheduler": lambda o: lrs.ReduceLROnPlateau(o, patience=0)})
        judge_torch_in_ours(data, folder, dict(torch_options, smoothing=0.0, seed=9,
                                               scheduler=lambda o: lrs.ExponentialLR(o, 0.9)))
    return judge.finish()


if __name__ == "__main__":
    sys.exit(main())
