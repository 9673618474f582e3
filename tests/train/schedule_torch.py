"""anx_scheduler against torch.optim.lr_scheduler: the same doubles and the same state at every epoch, over random
options, groups, warm-ups composed as in torchvision's train.py, and resumed in the middle."""
import sys
import warnings

from judging import Bytes, Judge, np, tool, torch

schedulers = torch.optim.lr_scheduler
OLD = torch.__version__.startswith("1.")
NAMES = {"steplr": "StepLR", "multisteplr": "MultiStepLR", "exponentiallr": "ExponentialLR",
         "cosineannealinglr": "CosineAnnealingLR", "linear": "LinearLR", "constant": "ConstantLR",
         "plateau": "ReduceLROnPlateau"}


def random_options(rng, name):
    """The constructor's arguments."""
    if name == "steplr":
        return {"step_size": int(rng.integers(1, 12)), "gamma": float(rng.choice([0.1, rng.random(), 1.1]))}
    if name == "multisteplr":
        return {"milestones": [int(m) for m in rng.integers(-1, 40, rng.integers(0, 8))],
                "gamma": float(rng.choice([0.1, rng.random()]))}
    if name == "exponentiallr":
        return {"gamma": float(rng.choice([0.1, 0.95, rng.random()]))}
    if name == "cosineannealinglr":
        return {"T_max": int(rng.integers(1, 30)), "eta_min": float(rng.choice([0.0, 1e-5, 0.1 * rng.random()]))}
    if name == "linear":
        return {"start_factor": float(rng.choice([1.0 / 3, 0.01, 1.0, 1.0 - rng.random()])),
                "end_factor": float(rng.choice([1.0, 0.0, rng.random()])), "total_iters": int(rng.integers(1, 15))}
    if name == "constant":
        return {"factor": float(rng.choice([1.0 / 3, 0.01, 1.0, 1.0 - rng.random()])),
                "total_iters": int(rng.integers(1, 15))}
    return {"mode": str(rng.choice(["min", "max"])), "factor": float(rng.choice([0.1, rng.random()])),
            "patience": int(rng.integers(0, 4)), "threshold": float(rng.choice([1e-4, 0.1, rng.random()])),
            "threshold_mode": str(rng.choice(["rel", "abs"])), "cooldown": int(rng.integers(0, 3)),
            "min_lr": float(rng.choice([0.0, 1e-3])), "eps": float(rng.choice([1e-8, 1e-3]))}


def numbers_of(options):
    """In the tool's order."""
    o = {"end_factor": 1.0, "total_iters": 5, "gamma": 0.1, "step_size": 30, "T_max": 90, "eta_min": 0.0,
         "threshold": 1e-4, "eps": 1e-8, "min_lr": 0.0, "patience": 10, "cooldown": 0, "milestones": [], **options}
    factor = o.get("factor", o.get("start_factor", 1.0 / 3))
    return [factor, o["end_factor"], o["total_iters"], o["gamma"], o["step_size"], o["T_max"], o["eta_min"],
            o.get("mode") == "max", o.get("threshold_mode") == "abs", o["threshold"], o["eps"], o["min_lr"],
            o["patience"], o["cooldown"], len(o["milestones"])] + o["milestones"]


def state_of(state, lrs):
    """PyTorch's state_dict in the tool's order, but for the rates that 1.13's ReduceLROnPlateau does not have yet."""
    last_lr = state.get("_last_lr", lrs)
    if "_schedulers" in state:
        inner = [v for s in state["_schedulers"] for v in state_of(s, lrs)]
        return [state["last_epoch"], *last_lr, *inner]
    if "best" in state:
        return [state["last_epoch"], *last_lr, state["cooldown_counter"], state["num_bad_epochs"], state["best"],
                *state["min_lrs"]]
    return [state["last_epoch"], *last_lr, state["_step_count"], *state["base_lrs"]]


def counted_as_new(state, after_milestone):
    """1.13 counts SequentialLR's change to the second scheduler as a step, 2.15 does not."""
    if OLD and "_schedulers" in state and after_milestone:
        state["_schedulers"][1]["_step_count"] -= 1
    return state


def one_case(judge, rng, seed):
    name = str(rng.choice(list(NAMES)))
    warmup = str(rng.choice(["linear", "constant"]))
    warm = name not in ("linear", "constant", "plateau") and rng.random() < 0.6
    options, warmup_options = random_options(rng, name), random_options(rng, warmup)
    if warm and warmup == "constant" and rng.random() < 0.2:
        warmup_options["factor"] = 0.0
    lrs = [float(rng.choice([0.01, 0.1, rng.random()])) for _ in range(rng.integers(1, 4))]
    steps = int(rng.integers(1, 70))
    optimizer = torch.optim.SGD([{"params": [torch.nn.Parameter(torch.zeros(1))], "lr": lr} for lr in lrs], lr=1.0)
    scheduler = getattr(schedulers, NAMES[name])(optimizer, **options)
    if warm:
        first = getattr(schedulers, NAMES[warmup])(optimizer, **warmup_options)
        scheduler = schedulers.SequentialLR(optimizer, [first, scheduler], [warmup_options["total_iters"]])
    metrics = (rng.random(steps) * rng.choice([1.0, 0.01])).astype(np.float64)
    metrics[rng.random(steps) < 0.05] = np.nan
    expected = []
    for step in range(steps + 1):
        rates = [group["lr"] for group in optimizer.param_groups]
        state = counted_as_new(scheduler.state_dict(), step >= warmup_options["total_iters"])
        expected.append(np.array([*rates, *state_of(state, rates)], np.float64))
        if step < steps:
            scheduler.step(*([metrics[step]] if name == "plateau" else []))
    tail = [steps, int(rng.integers(-1, steps)), len(lrs), *lrs]
    numbers = numbers_of(options) + (([warmup] + numbers_of(warmup_options)) if warm else ["none"]) + tail
    out = Bytes(tool("schedule", name, *numbers, data=metrics.tobytes()))
    for step, values in enumerate(expected):
        what = f"case {seed}, {name} {options}, {warmup if warm else ''} {warmup_options if warm else ''}, epoch {step}"
        if not judge.same(what, out.take(values.size, np.float64), values):
            return
    if not out.all_taken():
        judge.fail(f"case {seed}: more output than expected")


def main():
    warnings.simplefilter("ignore")
    judge = Judge()
    for seed in range(400):
        one_case(judge, np.random.default_rng(seed), seed)
        if judge.failures > 10:
            break
    return judge.finish()


if __name__ == "__main__":
    sys.exit(main())
