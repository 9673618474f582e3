"""PyTorch 1.13 loads what we write, weights_only or not, with the right values, strides and sharing."""
import os
import subprocess
import sys
import tempfile

try:
    import torch
except ImportError as error:
    print(f"SKIPPED: {error}", file=sys.stderr)
    sys.exit(1 if os.environ.get("ANX_TESTS_NO_SKIP", "0") not in ("", "0") else 77)


def main():
    failures = 0
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run([os.environ["ANX_BUILD_DIR"] + "/tests/write_pth_cases", folder], check=True)
        for name in sorted(os.listdir(folder)):
            for weights_only in (True, False):
                try:
                    loaded = torch.load(os.path.join(folder, name), weights_only=weights_only)
                except Exception as error:  # whatever it is, it is a failure
                    print(f"FAILED: {name!r}, weights_only={weights_only}: {error}")
                    failures += 1
                    continue
                if name == "dtypes.pth":
                    good = all(str(t.dtype) == "torch." + k and t.shape == (3, 5) for k, t in loaded.items())
                    good = good and loaded["uint8"].flatten().tolist() == [(7 * (8 * 256 + i) + 3) % 256 for i in range(15)]
                elif name == "sharing.pth":
                    good = loaded["tied"].data_ptr() == loaded["whole"].data_ptr() == loaded["part"].data_ptr() - 48
                elif name == "strides.pth":
                    good = loaded["permuted"].stride() == (1, 8, 2) and loaded["expanded"].stride() == (0, 1)
                elif name == "batches.pth":
                    good = len(loaded) == 2003
                else:
                    good = True
                if not good:
                    print(f"FAILED: {name!r}, weights_only={weights_only}: other content")
                    failures += 1
    print(f"{failures} failures, PyTorch {torch.__version__}")
    return failures > 0


if __name__ == "__main__":
    sys.exit(main())
