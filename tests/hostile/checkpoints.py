#!/usr/bin/env python3
"""Gives every hostile checkpoint of the corpus to the real commands.

Each must be refused with exit code 2 and the whole message that stands beside it, within two seconds and with no more
memory than the file has bytes and 64 MiB, and leave nothing behind. Arguments: only rows whose name contains one.
"""
import os
import pathlib
import re
import resource
import shutil
import sys
import tempfile
import time

sys.dont_write_bytecode = True

from corpus import (  # noqa: E402
    bin_rows, file_rows, legacy_rows, pickle_rows, safetensors_files, safetensors_rows, tar_rows, zip_rows, zips)

BUILD = pathlib.Path(os.environ.get("ANX_BUILD_DIR", pathlib.Path(__file__).resolve().parents[2] / "build/release"))
SANITIZED = any(
    line.startswith("ANX_SANITIZE:") and not line.strip().endswith("=")
    for line in (BUILD / "CMakeCache.txt").read_text().splitlines()
)

# What a checkpoint is given to: program, arguments, whether it is asked to take the accepted ones, the refused ones, and
# what it leaves behind of an accepted one.
IN, OUT = "hostile.pth", "out.pth"
COMMANDS = [
    ("anx-convert", [IN, OUT], True, True, {OUT}),
    ("anx-convert", ["inspect", IN], True, False, set()),
]
if not SANITIZED:  # it opens them as the first does, and sanitized programs take long to start
    COMMANDS.append(("anx-parity", ["check", IN], False, True, set()))

os.environ.pop("GLIBC_TUNABLES", None)  # memory as a user's malloc takes it
SECONDS = 10 if SANITIZED else 2
TIMEOUT = 60
MEMORY = 64 << 20
FORMATS = {
    "zip": zip_rows.ROWS,
    "pickle": pickle_rows.ROWS,
    "legacy": legacy_rows.ROWS,
    "tar": tar_rows.ROWS,
    "safetensors": safetensors_rows.ROWS,
    "bin": bin_rows.ROWS,
    "file": file_rows.ROWS,
}


class Outcome:
    def __init__(self, code, out, err, seconds, peak_bytes):
        self.code, self.out, self.err, self.seconds, self.peak_bytes = code, out, err, seconds, peak_bytes


def run(program, arguments):
    """Runs a command in this folder. Its peak memory is that of the whole process, which begins as a copy of ours."""
    begun = time.monotonic()
    pid = os.fork()
    if pid == 0:
        try:
            os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
            os.dup2(os.open(".out", os.O_WRONLY | os.O_CREAT | os.O_TRUNC), 1)
            os.dup2(os.open(".err", os.O_WRONLY | os.O_CREAT | os.O_TRUNC), 2)
            resource.setrlimit(resource.RLIMIT_CPU, (TIMEOUT, TIMEOUT))
            os.execv(BUILD / "tools" / program, [program, *arguments])
        finally:
            os._exit(127)
    _, status, usage = os.wait4(pid, 0)
    return Outcome(
        os.waitstatus_to_exitcode(status),
        pathlib.Path(".out").read_bytes(),
        pathlib.Path(".err").read_bytes(),
        time.monotonic() - begun,
        usage.ru_maxrss * 1024,
    )


def in_child(work):
    """Does work() in a process of its own, so that what it takes is not counted for the commands started later."""
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            work()
            code = 0
        except Exception as e:  # noqa: BLE001
            print(f"cannot make the file: {e!r}", file=sys.stderr, flush=True)
        finally:
            os._exit(code)
    if os.waitpid(pid, 0)[1] != 0:
        raise SystemExit(2)


def write(row):
    if row.special:
        row.make(IN)
    else:
        pathlib.Path(IN).write_bytes(row.make())


def clear():
    for path in pathlib.Path(".").iterdir():
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink()


def file_bytes():
    # What a sparse file claims to have is no leave to take as much.
    return min(os.stat(IN).st_size, os.stat(IN).st_blocks * 512) if os.path.isfile(IN) else 0


def problems(row, program, outcome, baseline, leaves):
    """What is wrong with how a command took a row."""
    code, err = (0, row.said if OUT in leaves else "") if row.accepted else (2, f"{program}: {IN}: {row.message}\n")
    if outcome.code != code:
        yield f"exit {outcome.code}, expected {code}"
    pattern = re.escape(err).replace("<N>", "[0-9]+")
    if not re.fullmatch(pattern.encode(), outcome.err):
        yield f"standard error\n    expected {err.encode()}\n    got      {outcome.err}"
    if not row.accepted and outcome.out != b"":
        yield f"standard output {outcome.out}"
    if outcome.seconds > SECONDS:
        yield f"took {outcome.seconds:.2f} s"
    over = outcome.peak_bytes - baseline - file_bytes()
    if not SANITIZED and over > MEMORY:
        yield f"took {over / (1 << 20):.1f} MiB more than the file has"
    left = {path.name for path in pathlib.Path(".").iterdir()} - {".out", ".err", IN}
    if left != (leaves if row.accepted else set()):
        yield f"left {sorted(left)}"


def judge(row, program, arguments, baseline, leaves):
    found = []
    for _ in range(3):  # the machine may have been busy: the time counts where it is too long again and again
        pathlib.Path(OUT).unlink(missing_ok=True)
        outcome = run(program, arguments)
        found = list(problems(row, program, outcome, baseline, leaves))
        if outcome.seconds <= SECONDS or outcome.seconds > TIMEOUT / 2:
            break
    return found, outcome


def small_files():
    """The baseline: what the commands take for files of nothing."""
    yield zips.good().bytes
    yield safetensors_files.good()


def measure_baselines():
    peaks = {}
    for program, arguments, *_ in COMMANDS:
        peaks.setdefault(program, 0)
        for data in small_files():
            in_child(lambda: pathlib.Path(IN).write_bytes(data))
            peaks[program] = max(peaks[program], run(program, arguments).peak_bytes)
            clear()
    return peaks


def main(wanted):
    work = tempfile.mkdtemp(prefix="anx-hostile-")
    failures = total = 0
    try:
        os.chdir(work)
        os.environ["LC_ALL"] = "C"
        baselines = measure_baselines()
        for kind, rows in FORMATS.items():
            for row in rows:
                title = f"{kind}: {row.name}"
                if wanted and not any(w in title for w in wanted):
                    continue
                total += 1
                in_child(lambda: write(row))
                for program, arguments, takes_accepted, takes_refused, leaves in COMMANDS:
                    if not (takes_accepted if row.accepted else takes_refused):
                        continue
                    found, outcome = judge(row, program, arguments, baselines[program], leaves)
                    failures += len(found)
                    for problem in found:
                        print(f"FAILED: {title}: {program}: {problem}", file=sys.stderr)
                    if wanted:
                        over = (outcome.peak_bytes - baselines[program]) / (1 << 20)
                        print(f"{title}: {program}: {outcome.seconds:.2f} s, {over:.1f} MiB", file=sys.stderr)
                clear()
    finally:
        os.chdir("/")
        shutil.rmtree(work)
    if total == 0:
        raise SystemExit("no such row")
    print(f"{total} files, {failures} failures")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
