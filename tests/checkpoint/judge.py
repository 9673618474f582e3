"""What the judging scripts of this folder share: running checkpoint_tool, and the digest of a tensor."""
import hashlib
import os
import struct
import subprocess
import sys

TOOL = os.path.join(os.environ["ANX_BUILD_DIR"], "tests", "checkpoint_tool")


def digest(dtype, shape, data):
    """As src/base/sha256.h describes it: dtype and NUL, rank, shape, contiguous little-endian bytes."""
    h = hashlib.sha256(dtype.encode() + b"\0" + struct.pack("<q", len(shape)))
    for extent in shape:
        h.update(struct.pack("<q", extent))
    h.update(data)
    return h.hexdigest()


def line(dtype, shape, data, name):
    """A tensor's line as checkpoint_tool prints it."""
    text = "(" + ", ".join(str(n) for n in shape) + (",)" if len(shape) == 1 else ")")
    name = "".join(c if c >= " " and c != "\x7f" else f"\\x{ord(c):02x}" for c in name)
    return f"{digest(dtype, shape, data)} {dtype} {text} {name}"


def run(*args):
    """Returns (exit status, stdout, stderr)."""
    p = subprocess.run([TOOL, *[os.fspath(a) for a in args]], capture_output=True, text=True, check=False)
    return p.returncode, p.stdout, p.stderr


class Judge:
    """Counts what agrees and what does not; the process exits by it."""

    def __init__(self):
        self.passed = self.failed = 0

    def check(self, good, what):
        if good:
            self.passed += 1
        else:
            self.failed += 1
            print(f"FAILED: {what}", file=sys.stderr)
        return good

    def equal(self, got, expected, what):
        if not self.check(got == expected, what):
            print(f"  got      {got!r:.2000}\n  expected {expected!r:.2000}", file=sys.stderr)

    def exit(self):
        print(f"{self.passed} agreed, {self.failed} did not")
        sys.exit(1 if self.failed or not self.passed else 0)


def skip(reason):
    print(f"SKIPPED: {reason}", file=sys.stderr)
    sys.exit(1 if os.environ.get("ANX_TESTS_NO_SKIP", "0") not in ("", "0") else 77)
