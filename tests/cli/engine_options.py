"""--device and --math in every command with an engine: what the device computes with is in the reports, text and JSON;
a run that is gone on with keeps to it; a device that fails ends the command with 2, its reason told whole. A plugin of
the tests stands for a GPU."""
import json
import os
import shutil
import subprocess
import sys
import tempfile

SOURCE = os.environ["ANX_SOURCE_DIR"]
TOOLS = os.environ["ANX_BUILD_DIR"] + "/tools/"
sys.path.insert(0, SOURCE + "/tests/parity")
from schema import problems  # noqa: E402
sys.path.insert(0, SOURCE + "/tests/support")
import checks  # noqa: E402
from checks import check  # noqa: E402

GPU = ["--device", "cuda"]
LINES = ("cuDNN 9.19.0, cuBLAS 13.0.2, compute capability 9.0, float64, math tf32, 2 threads",
         "78.5 of 80.0 GiB of memory free", "cudart 13.0 /opt/cuda/libcudart.so.13", "note: NVIDIA_TF32_OVERRIDE=0")
FAULTS = {
    "memory": "the device has no room for 1.5 GiB: 0.2 of 79.2 GiB are free.\nA smaller batch needs less; nvidia-smi "
              "shows who has the rest\n",
    "lost": "the device is lost: cudaStreamSynchronize says 719, unspecified launch failure.\nNothing can be read from "
            "it any more\n",
}


def run(command, *arguments, code=0, **environment):
    done = subprocess.run([TOOLS + command[0], *command[1:], *arguments], capture_output=True, text=True,
                          env={**os.environ, **environment})
    check(done.returncode == code,
          f"exit {done.returncode}, expected {code}: {command} {arguments}\n{done.stdout}{done.stderr}")
    return done


def obeys(name, report):
    schema = json.load(open(f"{SOURCE}/parity/{name}.schema.json", encoding="utf-8"))
    for problem in problems(report, schema, schema):
        check(False, f"{name}: {problem}")
    return report


def has_lines(what, text):
    flat = " ".join(text.split())
    for line in LINES:
        check(line in flat, f"{what}: {line!r} is missing: {text}")


def is_tf32(what, facts):
    check(facts["math"] == "tf32" and facts["deterministic"] and facts["capability"] == "9.0" and
          facts["memory_bytes"] == 80 << 30 and len(facts["libraries"]) == 2 and
          facts["notes"] == ["NVIDIA_TF32_OVERRIDE=0"], f"{what}: {facts}")


def fails(command, *arguments):
    for fault, words in FAULTS.items():
        done = run(command, *arguments, code=2, SAMPLE_FAULT=fault)
        check(words in done.stderr, f"{command}: {done.stderr}")
    done = run(command, *arguments, code=2, SAMPLE_DEVICES="0")
    check("the sample has no device, as was asked for\n" in done.stderr, f"{command}: {done.stderr}")
    done = run(command, *arguments, "--math", "half", code=64)
    check("--math 'half' is none of these: float32, tf32, fast" in done.stderr, done.stderr)


def check_parity():
    command = ["anx-parity", "check", "--data-dir", "none", "narrow.pth"]
    done = run([*command, *GPU], "--math", "tf32", "--json", "-")
    has_lines("check", done.stderr)
    is_tf32("check", obeys("report", json.loads(done.stdout))["device"])
    done = run([*command, *GPU], "--math", "fast", "--json", "-")
    check("math fast, 2 threads, other bits in every run" in " ".join(done.stderr.split()), done.stderr)
    done = run([*command, *GPU])
    check("math" not in done.stdout.split("checkpoint")[0], "the ordinary mode is named")
    done = run([*command, "--device", "cpu"], "--math", "tf32", "--json", "-")
    check(json.loads(done.stdout)["device"]["math"] == "float32", "a device without a choice")
    fails([*command, *GPU])
    done = run(command, "--against", "x", "--math", "tf32", code=64)
    check("--math is of a device" in done.stderr, done.stderr)
    dump = ["anx-parity", "dump", "--image", SOURCE + "/tests/cli/gray.png", "-o", "dump.safetensors", "narrow.pth", *GPU]
    run(dump, "--math", "tf32")
    with open("dump.safetensors", "rb") as f:
        header = json.loads(f.read(int.from_bytes(f.read(8), "little")))
    check(header["__metadata__"]["math"] == "tf32" and header["__metadata__"]["device"] == "cuda:0", header)
    fails([*dump, "--force"])


def check_eval():
    command = ["anx-eval", "--val-dir", "data", "--weights", "narrow.pth", *GPU]
    done = run(command, "--math", "tf32", "--json", "-", "--resume", "state")
    has_lines("eval", done.stderr)
    is_tf32("eval", obeys("eval_report", json.loads(done.stdout))["device"])
    run(command, "--math", "tf32", "--resume", "state")
    done = run(command, "--resume", "state", code=2)
    check("math of the engine: tf32 there, float32 now" in done.stderr, done.stderr)
    fails(command)
    predict = ["anx-eval", "predict", "--weights", "narrow.pth", *GPU, "data/ant/0.png"]
    check("  1 " in run(predict, "--math", "tf32").stdout, "no prediction")
    fails(predict)


def check_train():
    command = ["anx-train", "--data", "data", "--arch", "narrow", "--epochs", "1", "--batch", "2", "--force", *GPU]
    done = run(command, "--math", "tf32", "-o", "run", "--max-steps", "1", "--json", "-")
    has_lines("train", done.stderr)
    is_tf32("train", obeys("train_outcome", json.loads(done.stdout))["engine"])
    resume = ["anx-train", "--resume", "run/last.pth"]
    done = run(resume, "--math", "float32", code=2)
    check("the run was begun with --math tf32, not with float32" in done.stderr, done.stderr)
    run(resume)
    with open("run/log.jsonl", encoding="utf-8") as f:
        events = [obeys("train_log", json.loads(line)) for line in f]
    start, again = events[0], next(e for e in events if e["event"] == "resume")
    check(start["options"]["math"] == "tf32", start)
    is_tf32("start", start["engine"])
    is_tf32("resume", again["engine"])
    check("math tf32" in " ".join(run(["anx-train", "report", "run/log.jsonl"]).stdout.split()), "the report lacks it")
    for fault, words in FAULTS.items():
        done = run(command, "-o", "failed", code=2, SAMPLE_FAULT=fault)
        check(words in done.stderr, done.stderr)
    run(command, "-o", "failed", "--math", "half", code=64)


def main():
    os.environ["OMP_NUM_THREADS"] = "2"
    os.environ["OMP_WAIT_POLICY"] = "passive"
    os.environ["ANX_PLUGIN_DIR"] = os.environ["ANX_BUILD_DIR"] + "/tests/plugins"
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        os.makedirs("none/fixtures")
        for name in ("ant", "bee"):
            os.makedirs(f"data/{name}")
            for i in range(2):
                shutil.copy(SOURCE + "/tests/cli/gray.png", f"data/{name}/{i}.png")
        run(["anx-convert", "init", "--arch", "narrow", "--num-classes", "2", "--seed", "3", "-o", "narrow.pth"])
        check_parity()
        check_eval()
        check_train()
    return checks.finish()


if __name__ == "__main__":
    sys.exit(main())
