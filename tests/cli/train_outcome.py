"""How anx-train says that a run ended: the JSON obeys its schema and agrees with the text, the log and the files; the text fits
in 100 columns; progress comes on terminals alone."""
import json
import os
import shutil
import sys
import tempfile

sys.dont_write_bytecode = True

import training  # noqa: E402
import checks  # noqa: E402
from training import SOURCE, check, finish, make_images, run  # noqa: E402

sys.path.insert(0, SOURCE + "/tests/parity")
from schema import problems  # noqa: E402


def load_schema(name):
    with open(f"{SOURCE}/parity/{name}", encoding="utf-8") as f:
        return json.load(f)


OUTCOME, LOG = load_schema("train_outcome.schema.json"), load_schema("train_log.schema.json")


def check_log(what, path):
    with open(path, encoding="utf-8") as f:
        events = [json.loads(line, parse_constant=checks.refuse_constant) for line in f]
    for event in events:
        for problem in problems(event, LOG["$defs"][event["event"]], LOG):
            check(False, f"{what}: the log: {problem}")
    return events


def check_best(what, epochs):
    """The highest accuracy, of equal ones the lowest loss, of equal ones the first."""
    best = None
    for e in epochs:
        better = e["val_acc1"] is not None and (best is None or (-e["val_acc1"], e["val_loss"]) < best)
        check(e["best"] == better, f"{what}: epoch {e['epoch']} is {'' if e['best'] else 'not '}the best")
        best = (-e["val_acc1"], e["val_loss"]) if better else best


def check_outcome(what, code, *arguments):
    """The JSON on standard output, the text on standard error."""
    done = run(*arguments, "--json", "-", code=code, what=what)
    checks.check_lines(what, done.err)
    outcome = json.loads(done.out, parse_constant=checks.refuse_constant)
    for problem in problems(outcome, OUTCOME, OUTCOME):
        check(False, f"{what}: {problem}")
    events = check_log(what, outcome["log"])
    end, epochs = events[-1], [e for e in events if e["event"] == "epoch"]
    check(end["event"] == "end" and end["reason"] == outcome["reason"], f"{what}: the log ends with {end}")
    check(end["global_step"] == outcome["steps_done"] and len(epochs) == outcome["epochs_done"], f"{what}: steps or epochs")
    if "last_epoch" in outcome:
        for key in set(outcome["last_epoch"]) - {"seconds"}:
            check(outcome["last_epoch"][key] == epochs[-1][key], f"{what}: {key} of the last epoch")
    check_best(what, epochs)
    if "best" in outcome:
        best = [e for e in epochs if e["best"]][-1]
        check(best["epoch"] == outcome["best"]["epoch"] and best["val_acc1"] == outcome["best"]["val_acc1"], f"{what}: best")
        check(os.path.exists(outcome["best"]["checkpoint"]) and os.path.exists(outcome["best"]["model"]), f"{what}: best's files")
    check(os.path.exists(outcome["checkpoint"]), f"{what}: {outcome['checkpoint']} is not there")
    return outcome, done.err


def on_terminal(*arguments, columns=120):
    return checks.on_terminal([training.TRAIN, *arguments], columns=columns)


def main():
    check(list(problems({"schema": 1}, OUTCOME, OUTCOME)), "the validator accepts anything")
    training.prepare_environment()
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        make_images("train", 2, ("ant", 'a "quoted" class', "été"))
        make_images("val", 1, ("ant", 'a "quoted" class', "été"))
        recipe = ["--data", "train", "--arch", "narrow", "--batch", 4, "--epochs", 2]

        outcome, text = check_outcome("done", 0, *recipe, "--val-dir", "val", "-o", "done")
        check((outcome["reason"], outcome["steps_done"], outcome["classes"], outcome["train_images"], outcome["val_images"],
               outcome["left_out"]) == ("done", 4, 3, 6, 3, 0), f"done: {outcome}")
        check("\ndone after 4 steps (2 whole epochs of 2) in " in text, f"done: {text}")
        check(outcome["trained_parameters"] == 17637, f"done: {outcome['trained_parameters']} parameters")

        check_outcome("equal ones", 0, *recipe, "--val-dir", "val", "-o", "equal", "--epochs", 8, "--lr", 0.01, "--seed", 5)
        with open("equal/log.jsonl", encoding="utf-8") as f:
            epochs = [e for e in map(json.loads, f) if e["event"] == "epoch"]
        highest = [e for i, e in enumerate(epochs) if i and e["val_acc1"] == max(x["val_acc1"] for x in epochs[:i])]
        check({e["best"] for e in highest} == {True, False}, f"no equal accuracies with a lower and a higher loss: {highest}")

        outcome, text = check_outcome("again", 0, "--resume", "done/last.pth")
        check("last_epoch" not in outcome and outcome["best"]["checkpoint"] == "done/best.pth", f"again: {outcome}")

        outcome, text = check_outcome("stopped", 0, *recipe, "-o", "stopped", "--max-steps", 1, "--freeze", "features.*")
        check(outcome["reason"] == "max_steps" and "best" not in outcome and outcome["val_images"] == 0, f"stopped: {outcome}")
        check("stopped, as asked after 1 step (0 whole epochs of 2)" in text, f"stopped: {text}")
        check("anx-train --resume stopped/last.pth" in text and "frozen: features.*" in text, f"stopped: {text}")
        check(outcome["trained_parameters"] < 17637, "frozen parameters are counted")

        for epochs, reason in (1, "done"), (3, "max_steps"):
            what = f"an epoch's last step of {epochs}"
            outcome, text = check_outcome(what, 0, *recipe, "--val-dir", "val", "-o", f"end-{epochs}", "--epochs", epochs,
                                          "--max-steps", 2)
            check((outcome["reason"], outcome["epochs_done"], outcome["steps_done"]) == (reason, 1, 2), f"{what}: {outcome}")
            check(outcome.get("best", {}).get("epoch") == 0, f"{what}: not evaluated")

        outcome, text = check_outcome("not finite", 2, *recipe, "-o", "nan", "--lr", 1e30)
        check(outcome["reason"] == "non_finite" and outcome["non_finite"]["epoch"] == 0, f"not finite: {outcome}")
        check(outcome["non_finite"]["tensor"] in text and "STOPPED: a value is not finite" in text, f"not finite: {text}")

        shutil.copytree("train", "bad")
        open("bad/été/0.jpg", "w").close()
        outcome, text = check_outcome("a bad image", 0, *recipe, "--data", "bad", "-o", "bad-run", "--skip-bad")
        check(outcome["left_out"] == 2, f"a bad image: left out {outcome['left_out']} times in two epochs")
        check(text.count("left out: bad/été/0.jpg: ") == 2 or text.count("été/0.jpg: ") == 2, f"a bad image: {text}")

        shown = on_terminal(*recipe, "--val-dir", "val", "-o", "terminal")
        check("step 1/2" in shown and "images/s" in shown, f"no progress: {shown!r}")
        for columns, words in (120, "images/s"), (80, "img/s"):
            shown = on_terminal(*recipe, "--epochs", 123456, "--max-steps", 3, "-o", f"terminal-{columns}", columns=columns)
            lines = [line for line in shown.replace("\r", "\n").split("\n") if "/s" in line and "loss" in line]
            check(len(lines) > 0, f"no progress: {shown!r}")
            for line in (line.replace("\x1b[K", "") for line in lines):
                check(words in line and (line.endswith(" s") or line.endswith(" left")), f"{columns} columns: {line!r}")
        os.chdir("/")
    return finish()


if __name__ == "__main__":
    sys.exit(main())
