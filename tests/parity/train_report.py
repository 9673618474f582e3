"""Training logs and their reports: the lines obey their schema, the page is well-formed and fetches nothing, what its
curves show is what the log says once it is read off the axes, names are text and never markup."""
import html.parser
import json
import math
import os
import re
import subprocess
import sys
import tempfile
import xml.etree.ElementTree as ET

from schema import problems

BUILD = os.environ["ANX_BUILD_DIR"]
SOURCE = os.environ["ANX_SOURCE_DIR"]
VOID = {"meta", "br", "img", "link", "input", "hr"}
failures = 0


def fail(text):
    global failures
    failures += 1
    print("FAILED:", text)


def check(good, text):
    if not good:
        fail(text)


def run(*args, code=0):
    done = subprocess.run([f"{BUILD}/tools/anx-train", "report", *args], capture_output=True, text=True)
    check(done.returncode == code, f"anx-train report {args}: {done.returncode}, {done.stderr}")
    return done


def refuse_constant(name):
    raise ValueError(f"{name} is not JSON")


def read_log(path):
    return [json.loads(line, parse_constant=refuse_constant) for line in open(path, encoding="utf-8")]


def check_lines(path, schema):
    for number, event in enumerate(read_log(path), 1):
        for problem in problems(event, schema["$defs"][event["event"]], schema):
            fail(f"{path}:{number}: {problem}")
        for problem in problems(event, schema, schema):
            fail(f"{path}:{number}: {problem}")


# ---- the page ----

class Page(html.parser.HTMLParser):
    """Tags must be closed in order; collects texts, cells of tables and the tags there are."""

    def __init__(self, text):
        super().__init__()
        self.open, self.tags, self.texts, self.rows = [], set(), [], []
        self.feed(text)
        self.close()
        check(not self.open, f"not closed: {self.open}")

    def handle_starttag(self, tag, attributes):
        self.tags.add(tag)
        for name, value in attributes:
            check(not name.startswith("on"), f"<{tag} {name}=...>")
            check(name not in ("src", "href", "xlink:href", "action", "srcset"), f"<{tag} {name}={value!r}>")
        if tag == "tr":
            self.rows.append([])
        if tag in ("td", "th"):
            self.rows[-1].append("")
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attributes):
        self.handle_starttag(tag, attributes)
        if tag not in VOID:
            self.open.pop()

    def handle_endtag(self, tag):
        check(self.open and self.open[-1] == tag, f"</{tag}> in {self.open}")
        if self.open:
            self.open.pop()

    def handle_data(self, data):
        self.texts.append(data)
        if self.open and self.open[-1] in ("td", "th"):
            self.rows[-1][-1] += data


class Axis:
    """Values from places: two ticks give the scale, the others must lie on it."""

    def __init__(self, svg, name, log, where):
        ticks = [(float(t.get(name)), float(t.text.replace(",", ""))) for t in svg.iter("text")
                 if t.get("class") == f"tick-{name}"]
        self.log = log
        check(len(ticks) >= 2, f"{where}: {len(ticks)} ticks on axis {name}")
        (self.at, first), (other, last) = ticks[0], ticks[-1]
        self.base = self.scale(first)
        self.slope = (self.scale(last) - self.base) / (other - self.at)
        for place, value in ticks:
            check(math.isclose(self.value(place), value, rel_tol=1e-3, abs_tol=1e-4 * abs(last)),
                  f"{where}: {value} on axis {name} stands at {self.value(place)}")
        digits = {f"{value:e}"[0] for _, value in ticks if value}
        steps = [round((b - a) / (ticks[1][1] - ticks[0][1]), 6) for (_, a), (_, b) in zip(ticks, ticks[1:])]
        check(digits <= {"1", "2", "5"} if log else set(steps) == {1.0}, f"{where}: ticks {ticks}")
        check(len(ticks) <= 14, f"{where}: {len(ticks)} ticks on axis {name}")

    def scale(self, value):
        return math.log(value) if self.log else value

    def value(self, place):
        value = self.base + (place - self.at) * self.slope
        return math.exp(value) if self.log else value

    def tolerance(self, value):
        """What 0.001 of the drawing's units are."""
        return abs(self.slope) * 2e-3 * (abs(value) if self.log else 1)


def charts(text):
    """Title -> (x axis, y axis, {series: [points of each line]}, marks' titles, element)."""
    found = {}
    for source in re.findall(r"<svg.*?</svg>", text, re.S):
        svg = ET.fromstring(source)
        if svg.get("role") != "img":
            continue
        title = svg.findtext("title")
        check(svg.get("aria-label") == title and svg.findtext("desc"), f"{title}: no description")
        labels = [t.text for t in svg.iter("text") if t.get("class") == "label"]
        if labels == ["nothing was logged yet"]:
            found[title] = None
            continue
        axes = Axis(svg, "x", False, title), Axis(svg, "y", labels[1].endswith("logarithmic"), title)
        series, marks = {}, []
        box = [float(v) for v in svg.get("viewBox").split()]
        for group in svg.iter("g"):
            name = group.findtext("title")
            if group.get("class") == "mark":
                line = group.find("line")
                marks.append((axes[0].value(float(line.get("x1"))), name))
                continue
            lines = []
            for line in list(group.iter("polyline")) + list(group.iter("polygon")):
                places = [tuple(map(float, pair.split(","))) for pair in line.get("points").split()]
                check(all(0 <= x <= box[2] and 0 <= y <= box[3] for x, y in places), f"{title}: {name} leaves the drawing")
                if line.tag == "polyline":
                    lines.append([(axes[0].value(x), axes[1].value(y)) for x, y in places])
            series[name] = lines
        found[title] = (*axes, series, marks, svg)
    return found


def check_line(chart, name, expected, where):
    """The drawn points are the expected ones; gaps split the line."""
    if name not in chart[2]:
        fail(f"{where}: no series {name!r} in {list(chart[2])}")
        return
    got = [point for line in chart[2][name] for point in line]
    check(len(got) == len(expected), f"{where}: {name}: {len(got)} points instead of {len(expected)}")
    for (x, y), (wanted_x, wanted_y) in zip(got, expected):
        if (abs(x - wanted_x) > chart[0].tolerance(wanted_x) + 1e-9 or
                abs(y - wanted_y) > chart[1].tolerance(wanted_y) + 1e-9):
            fail(f"{where}: {name}: ({x}, {y}) instead of ({wanted_x}, {wanted_y})")
            return


def corners(points):
    """Points where a line changes, as for learning rates."""
    return [p for i, p in enumerate(points)
            if i in (0, len(points) - 1) or p[1] != points[i - 1][1] or p[1] != points[i + 1][1]]


def epochs_of(log, x, key):
    return [(e[x], e[key]) for e in log if e["event"] == "epoch" and e[key] is not None]


def steps_of(log):
    return [(e["global_step"], e["loss"]) for e in log if e["event"] == "step" and e["loss"] is not None]


def rates_of(log, group):
    return corners([(e["global_step"], e["lr"][group]) for e in log if e["event"] == "step"])


def check_page(path):
    text = open(path, encoding="utf-8").read()
    page = Page(text)
    check(not page.tags & {"script", "link", "img", "iframe", "object"}, f"{path}: {page.tags}")
    check(not re.search(r"https?:|url\(|@import|<script|javascript:", text), f"{path}: refers to something outside")
    check("prefers-color-scheme:dark" in text and "default-src 'none'" in text, f"{path}: the head")
    return page, charts(text)


def check_table(page, log, where):
    rows = [r for r in page.rows if r and r[0].isdigit()]
    epochs = [e for e in log if e["event"] == "epoch"]
    check(len(rows) == len(epochs), f"{where}: {len(rows)} rows for {len(epochs)} epochs")
    best = [e["epoch"] for e in epochs if e["best"]][-1]
    for row, e in zip(rows, epochs):
        expected = [str(e["epoch"]), f"{e['global_step']:,}", f"{e['train_loss']:.4f}", f"{e['train_acc1']:.3f}",
                    f"{e['val_loss']:.4f}", f"{e['val_acc1']:.3f}", f"{e['val_acc5']:.3f}"]
        check(row[:7] == expected, f"{where}: row {row} instead of {expected}")
        check((row[-1] == "best") == (e["epoch"] == best), f"{where}: epoch {e['epoch']}: {row[-1]!r}")


def check_one(folder):
    log = read_log(f"{folder}/done.jsonl")
    run(f"{folder}/done.jsonl", "-o", f"{folder}/done.html")
    page, drawn = check_page(f"{folder}/done.html")
    check(set(drawn) == {"Loss", "Accuracy", "Learning rate"}, f"charts {list(drawn)}")
    check_line(drawn["Loss"], "training, steps", steps_of(log), "Loss")
    check_line(drawn["Loss"], "training, means of epochs", epochs_of(log, "global_step", "train_loss"), "Loss")
    check_line(drawn["Loss"], "validation", epochs_of(log, "global_step", "val_loss"), "Loss")
    check_line(drawn["Accuracy"], "training, top-1", epochs_of(log, "epoch", "train_acc1"), "Accuracy")
    check_line(drawn["Accuracy"], "validation, top-1", epochs_of(log, "epoch", "val_acc1"), "Accuracy")
    check_line(drawn["Accuracy"], "validation, top-5", epochs_of(log, "epoch", "val_acc5"), "Accuracy")
    check(drawn["Learning rate"][1].log, "the learning rate's axis is linear")
    for group in (0, 1):
        check_line(drawn["Learning rate"], f"group {group}", rates_of(log, group), "Learning rate")
    marks = drawn["Loss"][3]
    check(len(marks) == 1 and abs(marks[0][0] - 200) < 0.01 and "resumed" in marks[0][1], f"marks {marks}")
    texts = "".join(page.texts)
    for said in ("<img src=x onerror=alert(1)>&amp;", "<b>\"name'", "\\x1b[31mred\\xff", "18446744073709551615",
                 "a/<script>alert(1)</script>.pth", "done after 12 whole epochs and 600 steps"):
        check(said in texts, f"the page does not say {said!r}")
    check_table(page, log, "done.html")
    steps = [e["global_step"] for e in log if e["event"] == "step"]
    check(steps == list(range(1, 601)), "the log goes back or has a gap")


def check_lost(folder):
    """A run that ended by NaN; its log has a hostile name."""
    name = f"{folder}/<script>alert(1)</script>&\"'.jsonl".replace("</", "<")
    os.rename(f"{folder}/lost.jsonl", name)
    run(name, "-o", f"{folder}/lost.html")
    page, drawn = check_page(f"{folder}/lost.html")
    marks = drawn["Loss"][3]
    check(len(marks) == 1 and abs(marks[0][0] - 151) < 0.01, f"marks {marks}")
    check("features.0.<weight> was not finite in epoch 3, step 1" in marks[0][1], f"marks {marks}")
    check_line(drawn["Loss"], "training, steps", steps_of(read_log(name)), "Loss of a lost run")
    check(name in page.texts, "the log's name is not on the page")
    text = run(name).stdout
    check("stopped at a loss that is not finite after 3 whole epochs" in text, text)
    with open(name, encoding="utf-8") as f:
        lines = f.readlines()
    resume = '{"event":"resume","epoch":3,"step":0,"global_step":150}\n'
    with open(name, "w", encoding="utf-8") as f: # resumed just before; all of it in long words
        f.writelines(lines[:-3] + [resume] + lines[-3:])
    text = run(name).stdout
    check(all(len(line) <= 100 for line in text.splitlines()), f"more than 100 columns:\n{text}")
    with open(name, "w", encoding="utf-8") as f:
        f.writelines(lines)
    os.rename(name, f"{folder}/lost.jsonl")


def check_many(folder):
    paths = [f"{folder}/{name}.jsonl" for name in ("done", "slow", "lost")]
    run(*paths, "-o", f"{folder}/many.html")
    page, drawn = check_page(f"{folder}/many.html")
    dashes = set()
    for path in paths:
        log = read_log(path)
        check_line(drawn["Validation loss"], path, epochs_of(log, "global_step", "val_loss"), "Validation loss")
        check_line(drawn["Validation accuracy, top-1"], path, epochs_of(log, "epoch", "val_acc1"), "Validation")
        check_line(drawn["Training accuracy, top-1"], path, epochs_of(log, "epoch", "train_acc1"), "Training")
        check_line(drawn["Learning rate"], f"{path}, group 1", rates_of(log, 1), "Learning rate")
    for group in drawn["Validation loss"][4].iter("g"):
        for line in group.iter("polyline"):
            dashes.add((line.get("class"), line.get("stroke-dasharray")))
    check(len({c for c, _ in dashes}) == 3 and len({d for _, d in dashes}) == 3, f"lines look alike: {dashes}")
    text = run(*paths).stdout
    check(all(len(line) <= 100 for line in text.splitlines()), "a line of the text has more than 100 columns")
    check(sum(line.startswith("best epoch 8: Acc@1 77.013 Acc@5 92.338") for line in text.splitlines()) == 2, text)


def check_long(folder):
    """Steps beyond a thousand are put together: mean between least and largest; one rate for all groups."""
    path, n = f"{folder}/long.jsonl", 4321
    start = read_log(f"{folder}/done.jsonl")[0]
    losses = [0.001 + 5 * math.exp(-i / 400) * (1 + 0.3 * math.sin(i * 1.3)) for i in range(n)]
    with open(path, "w", encoding="utf-8") as f:
        f.write(json.dumps(start) + "\n")
        for i, loss in enumerate(losses):
            f.write(json.dumps({"event": "step", "epoch": 0, "step": i + 1, "steps": n, "global_step": i + 1,
                                "images": 8, "loss": loss, "lr": [0.1, 0.1]}) + "\n")
        f.write('{"event":"st')
    run(path, "-o", f"{folder}/long.html")
    page, drawn = check_page(f"{folder}/long.html")
    per = -(-n // 1000)
    buckets = [(losses[i:i + per], [k + 1 for k in range(i, min(i + per, n))]) for i in range(0, n, per)]
    check_line(drawn["Loss"], "training, means of steps",
               [(sum(at) / len(at), sum(values) / len(values)) for values, at in buckets], "long")
    check(drawn["Loss"][1].log, "a loss over four decades is drawn on a linear axis")
    x, y = drawn["Loss"][:2]
    band = [tuple(map(float, p.split(","))) for p in drawn["Loss"][4].find(".//polygon").get("points").split()]
    upper, lower = band[:len(buckets)], band[:len(buckets) - 1:-1]
    for edge, pick in ((upper, max), (lower, min)):
        for (at, level), (values, _) in zip(edge, buckets):
            if not math.isclose(y.value(level), pick(values), rel_tol=1e-3):
                fail(f"long: the band's {pick.__name__} is {y.value(level)} instead of {pick(values)}")
                break
    check_line(drawn["Learning rate"], "all parameters", [(1, 0.1), (n, 0.1)], "long")
    check(drawn["Accuracy"] is None, "there is no accuracy")
    texts = " ".join(page.texts)
    check("torn" in texts and "No epoch was completed" in texts and "no end was logged" in texts, "what is missing is not said")


def check_trouble(folder):
    log, out = f"{folder}/done.jsonl", f"{folder}/out.html"
    bad = f"{folder}/bad.jsonl"
    with open(bad, "w", encoding="utf-8") as f:
        f.write(open(log, encoding="utf-8").readline() + '{"event":"step","epoch":"\x1b"}\n')
    error = run(bad, code=2).stderr
    check(f"{bad}: line 2: the line holds a control character, 0x1b" in error and "\x1b" not in error, error)
    run(log, "-o", out)
    before = open(out, "rb").read()
    check("exists" in run(log, "-o", out, code=2).stderr, "an existing file")
    check("exists" not in run(log, "-o", out, "--force").stderr, "--force")
    check(open(out, "rb").read() == before, "the same log gives another page")
    check(run(log, "-o", "-").stdout.encode() == before, "-o - gives another page")
    run(f"{folder}/none.jsonl", code=2)
    run(folder, code=2)
    run(log, "-o", f"{folder}/none/out.html", code=2)
    for args in ([], [log] * 9, [log, "--force"], [log, "-o", ""], [log, "-o", log], ["-"], ["--what", log], [""]):
        run(*args, code=64)
    shown = run("--help").stdout
    check("Examples:" in shown and "Exit status:" in shown, shown)
    check(all(len(line) <= 120 for line in shown.splitlines()), "the help is too wide")


def main():
    schema = json.load(open(f"{SOURCE}/parity/train_log.schema.json", encoding="utf-8"))
    check(list(problems({"event": "step"}, schema, schema)), "the validator accepts anything")
    with tempfile.TemporaryDirectory() as folder:
        for kind in ("done", "slow", "lost"):
            subprocess.run([f"{BUILD}/tests/train_log_tool", kind, f"{folder}/{kind}.jsonl"], check=True)
            check_lines(f"{folder}/{kind}.jsonl", schema)
        check_one(folder)
        check_lost(folder)
        check_many(folder)
        check_long(folder)
        check_trouble(folder)
    print(f"{failures} failures")
    return failures > 0


if __name__ == "__main__":
    sys.exit(main())
