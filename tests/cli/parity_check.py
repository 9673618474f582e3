"""anx-parity check's real reports: the JSON obeys its schema and agrees with the text; colours come on a terminal
alone and NO_COLOR is honoured."""
import json
import os
import subprocess
import sys
import tempfile

SOURCE = os.environ["ANX_SOURCE_DIR"]
TOOLS = os.environ["ANX_BUILD_DIR"] + "/tools/"
sys.path.insert(0, SOURCE + "/tests/parity")
from schema import problems  # noqa: E402
sys.path.insert(0, SOURCE + "/tests/support")
import checks  # noqa: E402
from checks import check, refuse_constant  # noqa: E402

def run(*arguments, code=0):
    done = subprocess.run([TOOLS + "anx-parity", "check", *arguments], capture_output=True, text=True)
    check(done.returncode == code, f"exit {done.returncode}, expected {code}: {arguments}\n{done.stderr}")
    return done


def on_terminal(environment, *arguments):
    return checks.on_terminal([TOOLS + "anx-parity", "check", *arguments], with_errors=False, **environment)


def check_report(what, report, text, schema):
    for problem in problems(report, schema, schema):
        check(False, f"{what}: {problem}")
    counts = report["counts"]
    last = text.splitlines()[-1]
    check(last.startswith(f"{report['verdict'].upper()}  {counts['pass']} passed, {counts['fail']} failed, "
                          f"{counts['warn']} warnings, {counts['skip']} skipped in "), f"{what}: {last}")
    flat = " ".join(text.split())
    for judged in report["judged"]:
        if judged["path"] in ("observe", "infer", "against"):
            check(judged["point"] in flat or judged["kind"] == "whole", f"{what}: {judged['point']} is not in the text")
        if judged["verdict"] in ("skip", "warn", "fail") and judged["path"] != "accumulated":
            check(" ".join(judged["reason"].split()) in flat, f"{what}: the text lacks {judged['reason']!r}")
    for line in text.splitlines():
        check(len(line) <= 100, f"{what}: a line of {len(line)} characters: {line}")


def main():
    os.environ.pop("NO_COLOR", None)
    os.environ.pop("ANX_DATA_DIR", None)
    os.environ["OMP_NUM_THREADS"] = "1"  # small networks: threads cost more than they give
    schema = json.load(open(f"{SOURCE}/parity/report.schema.json", encoding="utf-8"))
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        os.makedirs("none/fixtures")
        for seed in (3, 4):
            subprocess.run([TOOLS + "anx-convert", "init", "--arch", "narrow", "--seed", str(seed), "-o",
                            f"narrow{seed}.pth"], check=True, stdout=subprocess.DEVNULL)
        subprocess.run([TOOLS + "anx-parity", "dump", "--image", SOURCE + "/tests/cli/gray.png", "-o", "d.safetensors",
                        "narrow3.pth"], check=True)
        quick = ["--data-dir", "none"]  # no recordings
        for what, code, arguments in (
            ("recordings", 0, ["narrow3.pth"]),
            ("pass", 0, [*quick, "narrow3.pth"]),
            ("image", 0, [*quick, "--image", SOURCE + "/tests/cli/gray.png", "-v", "narrow3.pth"]),
            ("strict", 1, [*quick, "--strict", "narrow3.pth"]),
            ("dump", 0, [*quick, "--against", "d.safetensors", "narrow3.pth"]),
            ("other dump", 1, [*quick, "--against", "d.safetensors", "-v", "narrow4.pth"]),
        ):
            done = run("--json", "-", *arguments, code=code)
            check_report(what, json.loads(done.stdout, parse_constant=refuse_constant), done.stderr, schema)
            check("\033" not in done.stderr, f"{what}: colours in a file")
        check("\033[32mPASS\033[0m" in on_terminal({}, *quick, "narrow3.pth"), "no colours on a terminal")
        check("\033" not in on_terminal({"NO_COLOR": "1"}, *quick, "narrow3.pth"), "colours with NO_COLOR")
        check("\033" in on_terminal({"NO_COLOR": ""}, *quick, "narrow3.pth"), "an empty NO_COLOR forbids nothing")
    return checks.finish()


if __name__ == "__main__":
    sys.exit(main())
