"""Reports of hand-made verdicts: the text is what is written down beside this script and fits in 100 columns, the JSON
obeys its schema and holds what the text holds, the JUnit file is XML with the right counts."""
import difflib
import json
import os
import subprocess
import sys
import tempfile
import xml.etree.ElementTree as ET

from schema import problems

HERE = os.path.dirname(os.path.abspath(__file__))
SOURCE = os.environ["ANX_SOURCE_DIR"]
failures = 0


def fail(text):
    global failures
    failures += 1
    print("FAILED:", text)


def refuse_constant(name):
    raise ValueError(f"{name} is not JSON")


def check_text(name, folder):
    got = open(f"{folder}/{name}.txt", encoding="utf-8").read()
    expected = open(f"{HERE}/report_{name}.txt", encoding="utf-8").read()
    if got != expected:
        fail(f"{name}.txt is not report_{name}.txt")
        sys.stdout.writelines(difflib.unified_diff(expected.splitlines(True), got.splitlines(True), "expected", "got"))
    for line in got.splitlines():
        if len(line) > 100 or line != line.rstrip() or not line.isprintable():
            fail(f"{name}.txt: too long, blanks at its end or control characters: {line!r}")
    return got


def check_json(name, folder, schema):
    report = json.load(open(f"{folder}/{name}.json", encoding="utf-8"), parse_constant=refuse_constant)
    for problem in problems(report, schema, schema):
        fail(f"{name}.json: {problem}")
    counts = dict.fromkeys(report["counts"], 0)
    for judged in report["judged"]:
        counts[judged["verdict"]] += 1
        for comparison in judged["comparisons"]:
            if comparison["bound"] not in report["bounds"]:
                fail(f"{name}.json: the bound {comparison['bound']!r} is not explained")
    if counts != report["counts"]:
        fail(f"{name}.json: the counts are {counts}")
    return report


def check_agreement(name, text, report):
    """What the text says is in the JSON."""
    last = text.splitlines()[-1]
    counts = report["counts"]
    expected = (f"{report['verdict'].upper()}  {counts['pass']} passed, {counts['fail']} failed, "
                f"{counts['warn']} warnings, {counts['skip']} skipped in {report['seconds']:.2f} s")
    if last != expected:
        fail(f"{name}: the last line is {last!r}, by the JSON it is {expected!r}")
    flat = " ".join(text.split())
    if report["first_bad"] is not None:
        bad = report["judged"][report["first_bad"]]
        for said in [f"First bad point: {bad['point']}", bad["reason"], *(cause["text"] for cause in bad["causes"])]:
            if " ".join(said.split()) not in flat:
                fail(f"{name}: the text lacks {said!r}")
    for ranking in report["top5"]:
        for entry in ranking["judged"] + ranking["expected"]:
            if f"{100 * entry['probability']:.4f} % {entry['name']} ({entry['class']})" not in flat:
                fail(f"{name}: the text lacks {entry}")


def check_junit(name, folder, report):
    root = ET.parse(f"{folder}/{name}.xml").getroot()
    failing = {"fail", "warn", "skip"} if report["strict"] else {"fail"}
    expected = [j for j in report["judged"] if j["verdict"] != "info"]
    bad = [j for j in expected if j["verdict"] in failing]
    if (int(root.get("tests")), int(root.get("failures"))) != (len(expected), len(bad)):
        fail(f"{name}.xml: {root.get('tests')} tests, {root.get('failures')} failures")
    for suite in root:
        cases = suite.findall("testcase")
        if (int(suite.get("tests")) != len(cases) or int(suite.get("failures")) != len(suite.findall("*/failure")) or
                int(suite.get("skipped")) != len(suite.findall("*/skipped"))):
            fail(f"{name}.xml: the counts of {suite.get('name')}")
    if sorted(f.get("message") for f in root.iter("failure")) != sorted(j["reason"] for j in bad):
        fail(f"{name}.xml: the failures' messages")


def main():
    schema = json.load(open(f"{SOURCE}/parity/report.schema.json", encoding="utf-8"))
    if not list(problems({"schema": 2}, schema, schema)):
        fail("the validator accepts anything")
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run([os.environ["ANX_BUILD_DIR"] + "/tests/write_reports", folder,
                        f"{SOURCE}/fixtures/imagenet_classes.tsv"], check=True)
        for name in ("pass", "fail", "dump"):
            text = check_text(name, folder)
            report = check_json(name, folder, schema)
            check_agreement(name, text, report)
            check_junit(name, folder, report)
    print(f"{failures} failures")
    return failures > 0


if __name__ == "__main__":
    sys.exit(main())
