"""anx-eval's reports: the JSON obeys its schema and agrees with the text and the list of predictions; the text fits in 100
columns; colours and progress come on terminals alone."""
import csv
import json
import os
import shutil
import subprocess
import sys
import tempfile
import zipfile

SOURCE, TOOLS = os.environ["ANX_SOURCE_DIR"], os.environ["ANX_BUILD_DIR"] + "/tools/"
sys.path.insert(0, SOURCE + "/tests/parity")
from schema import problems  # noqa: E402
sys.path.insert(0, SOURCE + "/tests/support")
import checks  # noqa: E402
from checks import check, refuse_constant  # noqa: E402

def run(what, code, *arguments):
    done = subprocess.run([TOOLS + "anx-eval", "--json", "-", "--predictions", "list.csv", *arguments],
                          capture_output=True, text=True)
    check(done.returncode == code, f"{what}: exit {done.returncode} instead of {code}: {done.stderr}")
    return json.loads(done.stdout, parse_constant=refuse_constant), done.stderr


def check_report(what, report, text, schema):
    for problem in problems(report, schema, schema):
        check(False, f"{what}: {problem}")
    checks.check_lines(what, text)
    with open("list.csv", newline="", encoding="utf-8") as f:
        rows = list(csv.DictReader(f))
    check(len(rows) == report["images"], f"{what}: {len(rows)} rows for {report['images']} images")
    check(all(None not in row and None not in row.values() for row in rows), f"{what}: rows of other lengths")
    for k, key in ((1, "top1"), (5, "top5")):
        right = sum(row["label"] in [row[f"top{i}"] for i in range(1, k + 1)] for row in rows)
        check(right == report[key]["right"], f"{what}: {report[key]['right']} right, {right} in the list")
        check(sum(row[f"ambiguous{k}"] == "1" for row in rows) == report[key]["within_rounding"], f"{what}: ambiguous{k}")
        check(sum(c[f"right{k}"] for c in report["classes"]) == right, f"{what}: right{k} of the classes")
    check(sum(c["images"] for c in report["classes"]) == len(rows), f"{what}: images of the classes")
    check(f"Acc@1 {report['top1']['percent']:.3f} Acc@5 {report['top5']['percent']:.3f}" in text, f"{what}: accuracy")
    for bad in report["bad_files"]:
        check(bad["file"] in text, f"{what}: {bad['file']} is not in the text")


def make_undecided(weights, path):
    """Weights of zeros: all logits are equal, and every image is within rounding."""
    with zipfile.ZipFile(weights) as source, zipfile.ZipFile(path, "w") as target:
        for entry in source.namelist():
            content = source.read(entry)
            target.writestr(entry, bytes(len(content)) if "/data/" in entry else content)


def on_terminal(*arguments, **options):
    return checks.on_terminal([TOOLS + "anx-eval", *arguments], **options)


def main():
    os.environ.pop("NO_COLOR", None)
    os.environ["OMP_WAIT_POLICY"] = "passive"
    with open(SOURCE + "/parity/eval_report.schema.json", encoding="utf-8") as f:
        schema = json.load(f)
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        subprocess.run([TOOLS + "anx-convert", "init", "--arch", "narrow", "--num-classes", "3", "--seed", "1", "-o",
                        "narrow.pth"], check=True, stdout=subprocess.DEVNULL)
        pictures = [name for name in sorted(os.listdir(SOURCE + "/fixtures/images")) if name.endswith(".jpg")]
        for i, name in enumerate(pictures):
            where = "val/" + ('a "quoted", class', "line\nbreak", "été")[i % 3]
            os.makedirs(where, exist_ok=True)
            shutil.copy(f"{SOURCE}/fixtures/images/{name}", where)
        common = ["--weights", "narrow.pth", "--val-dir", "val"]
        for what, code, arguments in (
            ("all", 0, []),
            ("limit", 0, ["--limit", "5"]),
            ("sample", 0, ["--sample", "10", "--seed", "18446744073709551615"]),
            ("missed", 1, ["--expect", "0.5,1"]),
            ("sample of everything", 0, ["--sample", str(len(pictures))]),
            ("official", 1, ["--expect", "official"]),
            ("reference", 0, ["--device", "reference", "--limit", "3"]),
        ):
            report, text = run(what, code, *common, *arguments)
            check_report(what, report, text, schema)
        shutil.copytree("val/été", "val/a \"quoted\", class/deeper")
        open("val/été/no image.jpg", "w").close()
        report, text = run("bad", 2, *common, "--skip-bad")
        check_report("bad", report, text, schema)
        check([b["file"] for b in report["bad_files"]] == ["été/no image.jpg"], f"bad files: {report['bad_files']}")
        os.remove("val/été/no image.jpg")
        shown = on_terminal(*common)
        check("\033[1mAcc@1" in shown and "images/s" in shown.split("Acc@1")[0], f"no colours or progress: {shown!r}")
        check("\033[1m" not in on_terminal(*common, NO_COLOR="1"), "colours with NO_COLOR")
        # Ctrl-C while images are decided again in double costs the rest of that, not the result. AlexNet takes long
        # enough over an image to be caught at it.
        subprocess.run([TOOLS + "anx-convert", "init", "--arch", "alexnet", "--num-classes", "3", "--seed", "1", "-o",
                        "alexnet.pth"], check=True, stdout=subprocess.DEVNULL)
        make_undecided("alexnet.pth", "undecided.pth")
        shown = on_terminal("--weights", "undecided.pth", "--val-dir", "val", interrupt_at=b"decided again",
                            code=130)
        check("INTERRUPTED" in shown and "Acc@1" in shown.split("decided again")[-1], f"the result is lost: {shown!r}")
        os.chdir("/")
    return checks.finish()


if __name__ == "__main__":
    sys.exit(main())
