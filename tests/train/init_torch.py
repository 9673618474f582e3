"""anx-convert init writes, byte for byte, the file that PyTorch writes for its own freshly constructed AlexNet."""
import filecmp
import os
import subprocess
import sys
import tempfile

try:
    import torch
    import torchvision
except ImportError as error:
    print(f"SKIPPED: {error}", file=sys.stderr)
    sys.exit(1 if os.environ.get("ANX_TESTS_NO_SKIP", "0") not in ("", "0") else 77)

CONVERT = os.environ["ANX_BUILD_DIR"] + "/tools/anx-convert"

# seed, classes, name: all seeds PyTorch takes, names by torch.save's rules, a last layer of odd size
CASES = [
    (-1, 1, "one.class.pth"),
    (-(2**63), 10, "lowest"),
    (2**64 - 1, 1003, "caf\u00e9.pth"),
    (2**32 + 7, 1000, "beyond 32 bits.pt"),
]


def main():
    failures = 0
    with tempfile.TemporaryDirectory() as folder:
        for seed, classes, name in CASES:
            ours, theirs = os.path.join(folder, "ours", name), os.path.join(folder, "theirs", name)
            os.makedirs(os.path.dirname(ours), exist_ok=True)
            os.makedirs(os.path.dirname(theirs), exist_ok=True)
            subprocess.run([CONVERT, "init", "--arch", "alexnet", "--seed", str(seed), "--num-classes", str(classes), "-o",
                            ours], check=True, stdout=subprocess.DEVNULL)
            torch.manual_seed(seed)
            model = torchvision.models.alexnet(num_classes=classes)
            torch.save(model.state_dict(), theirs)
            if not filecmp.cmp(ours, theirs, shallow=False):
                print(f"FAILED: seed {seed}, {classes} classes, {name}: the files differ")
                failures += 1
            model.load_state_dict(torch.load(ours, weights_only=True))
            os.unlink(ours)
            os.unlink(theirs)
    print(f"{len(CASES)} files, {failures} failures, PyTorch {torch.__version__}")
    return failures > 0


if __name__ == "__main__":
    sys.exit(main())
