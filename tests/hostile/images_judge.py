"""The hostile images, as their suites make them: Pillow refuses them too, with two kinds of exception named below."""

import os
import subprocess
import sys
import tempfile

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), os.pardir, "image"))

try:
    import test_pillow
except ImportError as error:
    print(f"SKIPPED: {error}", file=sys.stderr)
    sys.exit(77)

# Formats that Pillow reads and anx does not, and what else it refuses to guess at.
FOREIGN = ("gif.jpg", "ppm.jpg", "unread-")


def main():
    complaints, count = [], 0
    with tempfile.TemporaryDirectory() as folder:
        for suite in ("hostile_jpegs", "hostile_pngs"):
            program = os.path.join(os.environ["ANX_BUILD_DIR"], "tests", f"test_{suite}")
            run = subprocess.run([program], env={**os.environ, "ANX_WRITE_IMAGES": folder}, stdout=subprocess.DEVNULL)
            if run.returncode != 0:
                complaints.append(f"{suite} failed")
        for name in sorted(os.listdir(folder)):
            with open(os.path.join(folder, name), "rb") as f:
                theirs = test_pillow.reference(f.read(), 256, 224)
            count += 1
            if not isinstance(theirs, Exception) and not name.startswith(FOREIGN):
                complaints.append(f"{name}: Pillow reads it")
            if isinstance(theirs, Exception) and name.startswith("unread-"):
                complaints.append(f"{name}: Pillow does not read it either: {theirs}")
    for complaint in complaints:
        print(complaint)
    print(f"{count} files, {len(complaints)} complaints")
    return 1 if complaints or count < 60 else 0


if __name__ == "__main__":
    sys.exit(main())
