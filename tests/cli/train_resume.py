"""A run that is stopped and gone on with is the run that was never stopped: the same checkpoints to the byte and the same
log, wherever it was stopped and by what. Arguments: a seed for the moments (default 1) and how many of each kind (default 3)."""
import concurrent.futures
import os
import random
import shutil
import signal
import sys
import tempfile
import time

sys.dont_write_bytecode = True

import training  # noqa: E402
from training import check, finish, log_lines, make_images, run, same_run, start  # noqa: E402

SEED = int(sys.argv[1]) if len(sys.argv) > 1 else 1
MOMENTS = int(sys.argv[2]) if len(sys.argv) > 2 else 3

RECIPE = ["--data", "train", "--val-dir", "val", "--arch", "narrow", "--batch", 4, "--seed", 5, "--lr", 0.05, "--dropout",
          0.3, "--lr-warmup-epochs", 1, "--lr-warmup-method", "linear", "--lr-scheduler", "steplr", "--lr-step-size", 1,
          "--lr-gamma", 0.5, "--lr-group", "classifier.*=0.1", "--freeze", "features.0.*", "--label-smoothing", 0.1]


class Run:
    """A recipe, and the run of it that nothing stopped."""

    def __init__(self, name, *options):
        self.name, self.options = name, [*RECIPE, *options]
        self.whole = f"whole-{name}"
        run(*self.options, "-o", self.whole, count=f"{self.whole}.count", what=f"{name}: the whole run")
        self.calls = int(training.read(f"{self.whole}.count"))
        self.steps = sum(line["event"] == "step" for line in log_lines(f"{self.whole}/log.jsonl"))

    def finish(self, what, folder, *options):
        """To the end, from where it is. One that had not come to its first checkpoint is begun anew."""
        if not os.path.exists(f"{folder}/last.pth"):
            check(not os.path.exists(f"{folder}/log.jsonl") or "kill" in what or "signal 9" in what,
                  f"{what}: leaves a log without a checkpoint")
            run(*self.options, "-o", folder, "--force", what=f"{what}, begun anew")
        else:
            run("--resume", f"{folder}/last.pth", *options, what=f"{what}, gone on with")
        same_run(what, folder, self.whole)
        shutil.rmtree(folder)

    def stop_after(self, steps, *options):
        """Two stops in a row: the second is in a run that was gone on with already."""
        what, folder = f"{self.name}: --max-steps {steps}", f"{self.name}-{steps}"
        run(*self.options, "-o", folder, "--max-steps", steps, *options, what=what)
        done = sum(line["event"] == "step" for line in log_lines(f"{folder}/log.jsonl"))
        check(done == steps, f"{what}: {done} steps are in the log")
        if steps + 1 < self.steps:
            run("--resume", f"{folder}/last.pth", "--max-steps", steps + 1, what=f"{what}, and one more")
        self.finish(what, folder)

    def stop_at(self, fault, first, second, *options):
        """At two calls to the file system, the second of them after it was gone on with."""
        codes = {"kill": (-signal.SIGKILL,), "term": (143, -signal.SIGTERM), "int": (130, -signal.SIGINT), "full": (2,)}
        what, folder = f"{self.name}: {fault} at {first}, {second}", f"{self.name}-{fault}-{first}-{second}"
        run(*self.options, "-o", folder, fault=fault, at=first, code={0, *codes[fault]}, what=what)
        if os.path.exists(f"{folder}/last.pth"):
            run("--resume", f"{folder}/last.pth", fault=fault, at=second, code={0, *codes[fault]}, what=f"{what}, second")
        self.finish(what, folder, *options)

    def count_allocations(self):
        folder = f"{self.name}-counted"
        run(*self.options, "-o", folder, fault="memory", count=f"{folder}.count")
        shutil.rmtree(folder)
        return int(training.read(f"{folder}.count"))

    def stop_for_memory(self, allocation):
        """An allocation that fails ends the run with a sentence, or is done without, and nothing is lost by it."""
        what, folder = f"{self.name}: allocation {allocation} fails", f"{self.name}-memory-{allocation}"
        done = run(*self.options, "-o", folder, fault="memory", at=allocation, code={0, 2}, what=what)
        check(done.returncode == 0 or "memory" in done.err, f"{what}: {done.err}")
        if os.path.exists(f"{folder}/last.pth"):
            done = run("--resume", f"{folder}/last.pth", fault="memory", at=allocation // 8, code={0, 2}, what=f"{what}, second")
            check(done.returncode == 0 or "memory" in done.err, f"{what}, second: {done.err}")
        self.finish(what, folder)

    def stop_in(self, number, seconds):
        """By the clock."""
        what, folder = f"{self.name}: signal {number} after {seconds:.3f} s", f"{self.name}-{number}-{seconds:.6f}"
        process = start(*self.options, "-o", folder)
        time.sleep(seconds)
        process.send_signal(number)
        process.communicate()
        check(process.returncode in (0, -number, 128 + number), f"{what}: exit {process.returncode}")
        self.finish(what, folder)


def check_two_at_once():
    """One folder, two processes: the second is refused, whatever log it would write, and spoils nothing."""
    run(*RECIPE, "--epochs", 2, "-o", "wanted")
    first = start(*RECIPE, "--epochs", 2, "-o", "shared")
    while not os.path.exists("shared/last.pth") and first.poll() is None:
        time.sleep(0.001)
    first.send_signal(signal.SIGSTOP)
    for options in (["--resume", "shared/last.pth"], ["--resume", "shared/last.pth", "--log", "other.jsonl"],
                    [*RECIPE, "-o", "shared", "--force"], [*RECIPE, "-o", "shared", "--force", "--log", "other.jsonl"]):
        second = run(*options, code=2, what=f"a second process: {options}")
        check("another process" in second.err, f"a second process: {second.err}")
    first.send_signal(signal.SIGCONT)
    out, err = first.communicate()
    check(first.returncode == 0, f"two at once: the first ends with {first.returncode}: {err}")
    same_run("two at once", "shared", "wanted")


def check_sweep():
    """Temporary files of runs that were killed go; what a user has there stays."""
    run(*RECIPE, "--epochs", 1, "--max-steps", 1, "-o", "swept")
    stale = [".last.pth.0123abcd", ".best-model.pth.ffffffff", ".log.jsonl.00000000"]
    kept = [".last.pth.0123abc", ".other.pth.0123abcd", "last.pth.0123abcd", ".last.pth.0123abcd.gz"]
    for name in stale + kept:
        open(f"swept/{name}", "w").close()
    run("--resume", "swept/last.pth")
    check(not set(stale) & set(os.listdir("swept")), f"not swept: {os.listdir('swept')}")
    check(set(kept) <= set(os.listdir("swept")), f"swept too much: {os.listdir('swept')}")


def main():
    training.prepare_environment()
    moments = random.Random(SEED)
    with tempfile.TemporaryDirectory() as folder, concurrent.futures.ThreadPoolExecutor(2) as pool:
        os.chdir(folder)
        make_images("train", 3)
        make_images("val", 2)
        cpu = Run("cpu", "--epochs", 3, "--device", "cpu")
        exact = Run("exact", "--epochs", 2, "--device", "exact", "--batch", 5, "--threads", 2)
        independent = Run("independent", "--epochs", 2, "--device", "exact", "--batch", 5, "--order", "independent")
        often = Run("often", "--epochs", 2, "--save-minutes", 1e-9)
        check(often.calls > often.steps + Run("seldom", "--epochs", 2, "--save-minutes", 0).calls,
              f"--save-minutes 1e-9: {often.calls} calls for {often.steps} steps")
        jobs = [pool.submit(cpu.stop_after, steps) for steps in range(1, cpu.steps + 1)]
        jobs += [pool.submit(exact.stop_after, steps, "--threads", 1) for steps in (1, 3)]
        jobs += [pool.submit(independent.stop_after, 1, "--threads", 3)]
        for fault in ("kill", "term", "int", "full"):
            jobs += [pool.submit(cpu.stop_at, fault, moments.randint(1, cpu.calls), moments.randint(1, cpu.calls // 2))
                     for _ in range(MOMENTS)]
        jobs += [pool.submit(often.stop_at, fault, moments.randint(1, often.calls), moments.randint(1, often.calls // 2))
                 for fault in ("kill", "term")]
        jobs += [pool.submit(independent.stop_at, "kill", moments.randint(1, independent.calls), 20, "--threads", 2)]
        if os.path.exists(training.NO_MEMORY):
            allocations = cpu.count_allocations()
            jobs += [pool.submit(cpu.stop_for_memory, moments.randint(1, allocations)) for _ in range(2 * MOMENTS)]
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGKILL):
            jobs += [pool.submit(cpu.stop_in, number, moments.uniform(0, 0.4)) for _ in range(MOMENTS // 2)]
        for job in jobs:
            job.result()
        check_two_at_once()
        check_sweep()
        os.chdir("/")
    return finish()


if __name__ == "__main__":
    sys.exit(main())
