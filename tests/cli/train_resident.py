"""anx-train on a device that keeps parameters, gradients and momentum and is as late with everything as it may be: the run of
'exact' to the byte, stopped and gone on with too; where the device is lost in the middle, the checkpoint before is whole."""
import os
import sys
import tempfile

sys.dont_write_bytecode = True

import training  # noqa: E402
from training import check, finish, make_images, run, same_run  # noqa: E402

NEAR, FAR = training.TRAIN, training.BUILD + "/tests/train_deferred"
RECIPE = ["--data", "train", "--val-dir", "val", "--arch", "narrow", "--device", "exact", "--batch", 4, "--seed", 5, "--lr",
          0.05, "--lr-step-size", 1, "--lr-gamma", 0.5, "--lr-group", "classifier.*=0.1", "--freeze", "features.0.*",
          "--epochs", 3]
WRITE, READ, RUN, BACKWARD, SGD, SYNC, CREATE = 1, 2, 3, 4, 5, 7, 8  # deferred_call


def run_on(train, *options, **others):
    training.TRAIN = train
    return run(*options, **others)


def check_bytes():
    run_on(NEAR, *RECIPE, "-o", "whole")
    run_on(FAR, *RECIPE, "-o", "far")
    same_run("on the deferred device", "far", "whole")
    for steps, first, second in ((1, NEAR, FAR), (3, FAR, NEAR), (4, FAR, FAR)):
        what, folder = f"{steps} steps, {first}, then {second}", f"stopped-{steps}"
        run_on(first, *RECIPE, "-o", folder, "--max-steps", steps, what=what)
        run_on(second, "--resume", f"{folder}/last.pth", what=what)
        same_run(what, folder, "whole")
    run_on(FAR, *RECIPE, "-o", "often", "--save-minutes", 1e-9)
    check(training.read("often/last-model.pth") == training.read("whole/last-model.pth"), "saved often: another model")


def check_lost(what, call, nth, *options):
    """A device that fails for good. Told is what failed, and how far the checkpoint is that is left."""
    folder = f"lost-{call}-{nth}-{len(options)}"
    os.environ["ANX_DEFERRED_FAIL"] = f"{call} {nth}"
    done = run_on(FAR, *RECIPE, *options, "-o", folder, code=2, what=f"{what} {nth}")
    del os.environ["ANX_DEFERRED_FAIL"]
    check(f"the device failed: {what}" in done.err, f"{what} {nth}: {done.err}")
    lines = training.log_lines(f"{folder}/log.jsonl")
    told = steps = max([0, *(line["global_step"] for line in lines)])
    words = f"{folder}/last.pth is as it was written last, after step "
    if words in done.err:
        steps = int(done.err.split(words)[1].split()[0])
        check(0 <= steps <= told, f"{what} {nth}: the checkpoint is of step {steps}, the log ends at {told}")
    else:  # an evaluation: everything was fetched for it
        check(done.err.endswith(f"what came before that is in {folder}/last.pth: --resume goes on with it\n"),
              f"{what} {nth}: which checkpoint is left is not told: {done.err}")
    done = run_on(NEAR, "--resume", f"{folder}/last.pth", what=f"{what} {nth}, gone on with")
    check(f"step {steps} of the run" in done.out, f"{what} {nth}: it goes on elsewhere: {done.out}")
    if not options:
        same_run(f"{what} {nth}", folder, "whole")
    return steps


def check_losses():
    after = [check_lost("SGD", SGD, nth) for nth in (1, 3, 6)]
    check(after[0] == 0 and after[-1] > 0, f"checkpoints of steps {after} are left")
    check(check_lost("SGD", SGD, 3, "--save-minutes", 1e-9) == 2, "saved often: the third update's loss costs two steps")
    for name, call, nth in (("backward", BACKWARD, 4), ("run", RUN, 2), ("run", RUN, 9), ("read", READ, 30),
                            ("write", WRITE, 20), ("sync", SYNC, 12), ("create", CREATE, 5)):
        check_lost(name, call, nth)


def check_masks():
    done = run_on(NEAR, *RECIPE, "-o", "refused", "--dropout-masks", "device", code=2)
    check("--dropout-masks device: device 'exact' has no generator of its own for dropout masks" in done.err, done.err)
    check(not os.path.exists("refused/last.pth"), "refused, but begun")
    run_on(NEAR, *RECIPE, "-o", "refused", "--dropout-masks", "host", code=64)
    own = [*RECIPE, "--dropout-masks", "device"]
    run_on(FAR, *own, "-o", "own")
    check(training.read("own/last-model.pth") != training.read("whole/last-model.pth"), "the device's masks are PyTorch's")
    for steps in (1, 4):
        run_on(FAR, *own, "-o", f"own-{steps}", "--max-steps", steps)
        done = run_on(FAR, "--resume", f"own-{steps}/last.pth", "--dropout-masks", "pytorch", code=2)
        check("the run was begun with --dropout-masks device, not with pytorch" in done.err, done.err)
        done = run_on(NEAR, "--resume", f"own-{steps}/last.pth", code=2)
        check("no generator of its own" in done.err, done.err)
        done = run_on(FAR, "--resume", f"own-{steps}/last.pth")
        check("dropout masks the device's own" in done.out, done.out)
        same_run(f"own masks, {steps} steps", f"own-{steps}", "own")
    done = run_on(FAR, "--resume", "far/last.pth", "--dropout-masks", "device", "--epochs", 4, code=2)
    check("the run was begun with --dropout-masks pytorch, not with device" in done.err, done.err)


def main():
    training.prepare_environment()
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        make_images("train", 2)
        make_images("val", 1)
        check_bytes()
        check_losses()
        check_masks()
        os.chdir("/")
    return finish()


if __name__ == "__main__":
    sys.exit(main())
