#!/usr/bin/env python3
"""tools/gpu-day: that it passes on the double and says what it did, names what is missing where libraries or a driver
are, takes the generation of CUDA that driver and GPU take, and refuses what it is not given rightly."""

import json
import os
import shutil
import subprocess
import sys
import tempfile

BUILD = os.environ["ANX_BUILD_DIR"]
SOURCE = os.environ["ANX_SOURCE_DIR"]
failures = []


def check(good, what):
    if not good:
        failures.append(what)
        print("FAILED:", what)


def gpu_day(cwd, *arguments, **variables):
    """Exit status, all that was said, and report.json (None where there is none)."""
    environment = {k: v for k, v in os.environ.items()
                   if k not in ("ANX_CUDA_PATH", "VIRTUAL_ENV", "CONDA_PREFIX", "ANX_PLUGIN_DIR", "ANX_TESTS_NO_SKIP")}
    environment.update(variables)
    done = subprocess.run([os.path.join(SOURCE, "tools/gpu-day"), *arguments], cwd=cwd, env=environment,
                          stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    report = None
    if "--out" in arguments[:-1]:
        path = os.path.join(cwd, arguments[arguments.index("--out") + 1], "report.json")
        if os.path.exists(path):
            with open(path) as f:
                report = json.load(f)
    return done.returncode, done.stdout, report


def verdicts(report):
    return {step["name"]: step["verdict"] for step in report["steps"]}


def write_program(path, text):
    os.makedirs(os.path.dirname(path), exist_ok=True)
    if os.path.lexists(path):
        os.remove(path)
    with open(path, "w") as f:
        f.write(text)
    os.chmod(path, 0o755)


def link_build(folder):
    """A build whose programs are this one's, and may be replaced one by one."""
    for part in ("tools", "tests", "tests/cuda"):
        os.makedirs(os.path.join(folder, part), exist_ok=True)
        for name in os.listdir(os.path.join(BUILD, part)):
            source = os.path.join(BUILD, part, name)
            if os.path.isfile(source) or part == "tests" and name == "fakecuda":
                os.symlink(source, os.path.join(folder, part, name))
    os.symlink(os.path.join(BUILD, "lib"), os.path.join(folder, "lib"))


def test_usage(work):
    status, said, _ = gpu_day(work, "--help")
    check(status == 0 and "second-gpu" in said, "--help")
    for wrong in (["--out"], ["--minutes", "soon"], ["--only", "nothing"], ["--double", "nowhere"],
                  ["--python", "./no-python"], ["--python", "no-python-anywhere"], ["--build", "nowhere"], ["--what"]):
        status, said, _ = gpu_day(work, *wrong)
        check(status == 64, f"{wrong}: {status}, {said}")


def test_on_the_double(work):
    """Without what is a test of its own already and takes long: questions, conformance, trainer, masks."""
    only = "machine,libraries,headers,functions,overhead,parity,fixture,determinism,images,sanitizer,second-gpu"
    os.makedirs(os.path.join(work, "out"))
    for mine in ("mine.log", "mine.json"):
        open(os.path.join(work, "out", mine), "w").close()
    status, said, report = gpu_day(work, "--quick", "--build", "build", "--double", "build/tests/fakecuda/13-9",
                                   "--out", "out", "--python", "python3", "--only", only)
    check(status == 0, f"on the double: {status}\n{said}")
    check(report is not None, "no report")
    skipped = {"functions", "fixture", "sanitizer", "second-gpu"}
    got = verdicts(report)
    check(set(got) == {"weights", *only.split(",")}, f"steps: {got}")
    for name, verdict in got.items():
        expected = ("skipped",) if name in skipped else ("passed", "skipped") if name == "headers" else ("passed",)
        check(verdict in expected, f"{name}: {verdict}")
    check(report["verdict"] == "passed" and report["on"] == "the test double, not a GPU", "the verdict")
    check(report["overhead"]["forward_batch_1_us"] > 0, "no overhead")
    check(len(report["determinism"]["training_sha256"]) == 64, "no digest of a training")
    check(len(report["determinism"]["predictions_sha256"]) == 64, "no digest of predictions")
    check(report["machine"]["processors"] > 0 and report["machine"]["gpus"] is not None, "no machine")
    check(report["libraries"]["auto"].startswith("cuda"), "no list of devices")
    check(report["parity"]["verdict"] == "pass", "no report of parity")
    for mine in ("mine.log", "mine.json"):
        check(os.path.exists(os.path.join(work, "out", mine)), f"{mine} is not its own, and is gone")


def test_no_time(work):
    status, said, report = gpu_day(work, "--build", "build", "--double", "build/tests/fakecuda/13-9", "--out", "late",
                                   "--minutes", "0", "--only", "machine,libraries")
    check(status == 1 and verdicts(report)["machine"] == "no time", f"no time: {status}\n{said}")


def test_no_libraries(work):
    os.makedirs(os.path.join(work, "empty"))
    status, said, report = gpu_day(work, "--build", "build", "--out", "bare", "--only", "machine,libraries,conformance",
                                   ANX_CUDA_PATH=os.path.join(work, "empty"),
                                   LD_LIBRARY_PATH=os.path.join(BUILD, "tests/cuda"), FAKE_DRIVER_VERSION="13030")
    got = verdicts(report)
    check(status == 1 and got["libraries"] == "failed (1)" and got["conformance"] == "no device",
          f"without libraries: {status}\n{said}")
    check("CUDA runtime was not found" in " ".join(said.split()), f"the summary does not say what is missing:\n{said}")
    check(report["machine"]["driver_cuda"] == "13.3", f"the driver: {report['machine']['driver_cuda']}")


# As `python3 -m venv` and the environment's pip, which only notes what it is asked for.
PYTHON = """#!/bin/sh
[ "$1" = -m ] || exit 0
mkdir -p "$3/bin" "$3/lib/python3.11/site-packages/nvidia/cu13/lib" "$3/lib/python3.11/site-packages/nvidia/cudnn/lib"
printf '#!/bin/sh\\necho "$@" >>"%s/asked"\\n' "$3" >"$3/bin/pip"
chmod +x "$3/bin/pip"
"""
SMI = """#!/bin/sh
case "$*" in *compute_cap*) echo "{capability}, 81559, NVIDIA H100" ;; *) echo "| {banner} |" ;; esac
"""
PARITY = """#!/bin/sh
[ "$2" != --json ] || echo '{}' >"$3"
case "${ANX_CUDA_PATH:-}" in *nvidia-1*cudnn/lib) echo "auto        cuda:0" ;; *) echo "auto        cpu" ;; esac
"""


def test_fetching(work):
    build, programs = os.path.join(work, "stubbed"), os.path.join(work, "programs")
    link_build(build)
    os.remove(os.path.join(build, "tests/cuda/gpu_driver"))
    with open(os.path.join(build, "alexnet-seed0.pth"), "w") as f:
        f.write("not read")
    write_program(os.path.join(build, "tools/anx-parity"), PARITY)
    write_program(os.path.join(build, "tests/cuda/cuda_steady"), '#!/bin/sh\necho "$VIRTUAL_ENV" >&2; echo 1.5\n')
    write_program(os.path.join(programs, "python3"), PYTHON)
    for banner, capability, major, wanted in (
            ("NVIDIA-SMI 610.43.02  KMD Version: 610.43.02  CUDA UMD Version: 13.3", "9.0", 13,
             ["nvidia-cuda-runtime==13.*", "nvidia-cublas==13.*", "nvidia-cudnn-cu13==9.*", "nvidia-cuda-crt==13.*"]),
            ("NVIDIA-SMI 550.54.15  Driver Version: 550.54.15  CUDA Version: 12.4", "8.6", 12,
             ["nvidia-cuda-runtime-cu12==12.*", "nvidia-cudnn-cu12==9.*", "nvidia-cuda-nvcc-cu12==12.*"]),
            ("NVIDIA-SMI 580.65.06  Driver Version: 580.65.06  CUDA Version: 13.0", "7.0", 12,
             ["nvidia-cublas-cu12==12.*", "nvidia-cudnn-cu12==9.10.*"])):
        write_program(os.path.join(programs, "nvidia-smi"), SMI.format(banner=banner, capability=capability))
        fetched = os.path.join(build, f"nvidia-{major}")
        shutil.rmtree(fetched, ignore_errors=True)
        status, said, report = gpu_day(work, "--build", "stubbed", "--out", "fetched", "--only",
                                       "machine,libraries,overhead", VIRTUAL_ENV="/another",
                                       PATH=programs + ":" + os.environ["PATH"])
        check(status == 0, f"{banner}: {status}\n{said}")
        check(report["machine"]["driver_cuda"] == banner.split()[-1], f"{banner}: {report['machine']}")
        check(report["machine"]["gpus"] == [{"name": "NVIDIA H100", "capability": capability,
                                             "memory_bytes": 81559 << 20}], f"{report['machine']}")
        asked = ""
        if os.path.exists(os.path.join(fetched, "asked")):
            with open(os.path.join(fetched, "asked")) as f:
                asked = f.read()
        for package in wanted:
            check(package in asked.split(), f"{banner}, {capability}: no {package} in: {asked}")
        with open(os.path.join(work, "fetched/overhead.log")) as f:
            check(f.read().startswith(fetched + "\n"), "a later step does not look into what was fetched")


def main():
    with tempfile.TemporaryDirectory() as work:
        work = os.path.realpath(work)
        link_build(os.path.join(work, "build"))
        test_usage(work)
        test_no_time(work)
        test_fetching(work)
        test_no_libraries(work)
        test_on_the_double(work)
    return 1 if failures else 0


sys.exit(main())
