"""What the scripts that compare src/train with PyTorch share: the tool, and arrays compared bit for bit."""
import os
import subprocess
import sys

try:
    import numpy as np
    import torch
except ImportError as error:
    print(f"SKIPPED: {error}", file=sys.stderr)
    sys.exit(1 if os.environ.get("ANX_TESTS_NO_SKIP", "0") not in ("", "0") else 77)

TOOL = os.environ["ANX_BUILD_DIR"] + "/tests/train_tool"


def need_avx512():
    """PyTorch 2 has bits of its own on each instruction set where it sums; what is compared is AVX-512's."""
    flags = open("/proc/cpuinfo", encoding="ascii").read().split()
    if not {"avx512f", "avx512bw", "avx512dq", "avx512vl"} <= set(flags):
        print("SKIPPED: PyTorch's own bits differ on a CPU without AVX-512", file=sys.stderr)
        sys.exit(77)


def number(value):
    """Exactly, as the tool reads it."""
    if isinstance(value, bool):
        return str(int(value))
    return value.hex() if isinstance(value, float) else str(value)


def tool(command, *numbers, data=b"", isa=""):
    """Standard output of the tool, which must succeed."""
    environment = dict(os.environ, ANX_ISA=isa)
    return subprocess.run([TOOL, command, *map(number, numbers)], input=data, env=environment, check=True,
                          stdout=subprocess.PIPE).stdout


def one_nan(values):
    """With every NaN made the same one: which NaN an instruction passes on is not defined."""
    values = np.array(values, copy=True)
    values[np.isnan(values)] = np.nan
    return values


class Bytes:
    """Takes arrays from the tool's output, one after the other."""

    def __init__(self, data):
        self.data, self.at = data, 0

    def take(self, n, dtype=np.float32):
        size = n * np.dtype(dtype).itemsize
        part = self.data[self.at:self.at + size]
        if len(part) != size:
            raise EOFError(f"{len(self.data)} bytes, {self.at + size} wanted")
        self.at += size
        return np.frombuffer(part, dtype)

    def all_taken(self):
        return self.at == len(self.data)


class Judge:
    """Counts comparisons and failures; `finish` is the script's exit status."""

    def __init__(self):
        self.compared, self.failures = 0, 0

    def same(self, what, got, expected):
        got, expected = np.asarray(got), np.asarray(expected)
        self.compared += expected.size
        if got.shape == expected.shape and got.dtype == expected.dtype:
            if got.dtype.kind == "f":
                got, expected = one_nan(got), one_nan(expected)
            if got.tobytes() == expected.tobytes():
                return True
            different = got.view(f"u{got.dtype.itemsize}") != expected.view(f"u{got.dtype.itemsize}")
            first = tuple(int(i) for i in np.argwhere(different)[0])
            detail = f"{different.sum()} of {got.size} differ, first at {first}: {got[first]!r}, PyTorch {expected[first]!r}"
        else:
            detail = f"{got.dtype}{got.shape}, PyTorch {expected.dtype}{expected.shape}"
        self.fail(f"{what}: {detail}")
        return False

    def fail(self, what):
        self.failures += 1
        print(f"FAILED: {what}")

    def finish(self):
        print(f"{self.compared} values compared with PyTorch {torch.__version__}, {self.failures} failures")
        return 1 if self.failures else 0
