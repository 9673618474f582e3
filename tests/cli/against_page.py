"""The scripts in parity/AGAINST.md do what the page says: their dumps, by PyTorch and by ONNX Runtime, pass; with
inputs rounded to bfloat16 on the way one fails."""
import os
import re
import subprocess
import sys
import tempfile

try:
    import onnx  # noqa: F401
    import onnxruntime  # noqa: F401
    import torch
    from safetensors.torch import load_file, save_file
except ImportError as error:
    print(f"SKIPPED: {error}", file=sys.stderr)
    sys.exit(1 if os.environ.get("ANX_TESTS_NO_SKIP", "0") not in ("", "0") else 77)

TOOLS = os.environ["ANX_BUILD_DIR"] + "/tools/"
PAGE = os.environ["ANX_SOURCE_DIR"] + "/parity/AGAINST.md"
failures = 0


def check(good, what):
    global failures
    if not good:
        failures += 1
        print("FAILED:", what)


def judge(dump, code):
    done = subprocess.run([TOOLS + "anx-parity", "check", "--against", dump, "alexnet-seed0.pth"], capture_output=True,
                          text=True)
    check(done.returncode == code, f"{dump}: exit {done.returncode}, expected {code}\n{done.stdout}{done.stderr}")
    return done.stdout


def main():
    scripts = re.findall(r"```python\n(.*?)```", open(PAGE, encoding="utf-8").read(), re.DOTALL)
    check(len(scripts) == 2, f"{len(scripts)} scripts on the page")
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        subprocess.run([TOOLS + "anx-convert", "init", "--arch", "alexnet", "--seed", "0", "-o", "alexnet-seed0.pth"],
                       check=True, stdout=subprocess.DEVNULL)
        for script, dump, arguments in ((scripts[0], "pytorch.safetensors", []),
                                        (scripts[1], "onnxruntime.safetensors", []),
                                        (scripts[1], "onnxruntime.safetensors", ["features.1", "features.4", "avgpool"])):
            subprocess.run([sys.executable, "-W", "ignore", "-c", script, *arguments], check=True)
            report = judge(dump, 0)
            check("features.1 " in report and "avgpool" in report, f"{dump}: points are missing:\n{report}")
        points = load_file("pytorch.safetensors")
        weight = torch.load("alexnet-seed0.pth", weights_only=True)
        half = torch.nn.functional.conv2d(points["features.2"].bfloat16().float(), weight["features.3.weight"],
                                          weight["features.3.bias"], padding=2)
        save_file({**points, "features.3": half}, "bfloat16.safetensors")
        report = judge("bfloat16.safetensors", 1)
        check("First bad point: features.3 (conv2d)" in report, f"the first bad point is not features.3:\n{report}")
    print(f"{failures} failures")
    return failures > 0


if __name__ == "__main__":
    sys.exit(main())
