"""What the tests of anx-train share: tiny images, runs of the command, and what two runs must have in common."""
import json
import os
import shutil
import subprocess
import sys

SOURCE, BUILD = os.environ["ANX_SOURCE_DIR"], os.environ["ANX_BUILD_DIR"]
sys.path.insert(0, SOURCE + "/tests/support")
from checks import check, finish  # noqa: E402, F401

TRAIN, CONVERT = BUILD + "/tools/anx-train", BUILD + "/tools/anx-convert"
FAULTS, NO_MEMORY = BUILD + "/tests/libfault_at.so", BUILD + "/tests/libfault_memory.so"
MODELS = ("last.pth", "best.pth", "last-model.pth", "best-model.pth", "classes.tsv")
PASSING_KEYS = {"time", "images_per_s", "data_wait_s", "seconds", "threads"}  # of a log, which no two runs share

def prepare_environment():
    os.environ.update(OMP_WAIT_POLICY="passive", OMP_NUM_THREADS="1", LC_ALL="C")
    # The module of faults comes before the sanitizers' runtime, which wants to be first and need not be.
    os.environ["ASAN_OPTIONS"] = "verify_asan_link_order=0:" + os.environ.get("ASAN_OPTIONS", "")
    for name in ("ANX_FAULT", "ANX_FAULT_AT", "ANX_FAULT_COUNT", "NO_COLOR"):
        os.environ.pop(name, None)


def make_images(folder, per_class, classes=("ant", "bee", "cat")):
    """Pictures of a few kilobytes in a folder for each class."""
    names = sorted(n for n in os.listdir(SOURCE + "/fixtures/images") if n.endswith(".jpg") and not n.startswith("jpeg"))
    for c, name in enumerate(classes):
        os.makedirs(f"{folder}/{name}")
        for i in range(per_class):
            shutil.copy(f"{SOURCE}/fixtures/images/{names[(c + i * len(classes)) % len(names)]}", f"{folder}/{name}/{i}.jpg")


def start(*arguments, fault=None, at=0, count=None, **options):
    environment = dict(os.environ)
    if fault or count:
        environment.update(LD_PRELOAD=NO_MEMORY if fault == "memory" else FAULTS, ANX_FAULT=fault or "", ANX_FAULT_AT=str(at))
    if count:
        environment["ANX_FAULT_COUNT"] = count
    return subprocess.Popen([TRAIN, *map(str, arguments)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                            errors="backslashreplace", env=environment, **options)


def run(*arguments, code=0, what=None, **options):
    """Runs it to its end; the exit code must be `code`, or among them, or may be any (None)."""
    process = start(*arguments, **options)
    try:
        out, err = process.communicate(timeout=60)
    except subprocess.TimeoutExpired:
        process.kill()
        out, err = process.communicate()
        check(False, f"{what or arguments}: hangs")
    process.out, process.err = out, err
    wanted = code if isinstance(code, (tuple, set)) else (code,)
    check(code is None or process.returncode in wanted,
          f"{what or ' '.join(map(str, arguments))}: exit {process.returncode} instead of {code}: {err}")
    return process


def read(path):
    with open(path, "rb") as f:
        return f.read()


def log_lines(path):
    """The steps and epochs of a log, without what no two runs share."""
    with open(path, encoding="utf-8") as f:
        events = [json.loads(line) for line in f]
    return [{k: v for k, v in e.items() if k not in PASSING_KEYS} for e in events if e["event"] in ("step", "epoch")]


def same_run(what, folder, wanted):
    """Whether a run came to the same bytes and left nothing else."""
    for name in MODELS:
        there, here = f"{wanted}/{name}", f"{folder}/{name}"
        if not os.path.exists(there):
            check(not os.path.exists(here), f"{what}: there is a {name}")
            continue
        check(os.path.exists(here) and read(here) == read(there), f"{what}: {name} is another, or missing")
    if os.path.exists(f"{folder}/log.jsonl"):
        check(log_lines(f"{folder}/log.jsonl") == log_lines(f"{wanted}/log.jsonl"), f"{what}: the log tells otherwise")
    left = sorted(set(os.listdir(folder)) - set(MODELS) - {"log.jsonl"})
    check(not left, f"{what}: left {left}")
