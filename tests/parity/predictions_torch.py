#!/usr/bin/env python3
"""Predictions and their sums against PyTorch: topk, cross_entropy in double, and accuracy as torchvision's reference
script counts it; draws against NumPy's mt19937; intervals against their defining equation and their true coverage."""
import math
import os
import subprocess
import sys
import tempfile

try:
    import numpy as np
    import torch
except ImportError as error:
    print(f"SKIPPED: {error}", file=sys.stderr)
    sys.exit(1 if os.environ.get("ANX_TESTS_NO_SKIP", "0") not in ("", "0") else 77)

TOOL = os.path.join(os.environ["ANX_BUILD_DIR"], "tests", "predict_tool")
Z = 3.290526731491926
failures = 0


def check(condition, text):
    global failures
    if not condition:
        failures += 1
        print("FAILED:", text)


def run(*args):
    return subprocess.run([TOOL, *map(str, args)], check=True, text=True, stdout=subprocess.PIPE).stdout.splitlines()


# ---- torchvision's references/classification: utils.accuracy, SmoothedValue and train.evaluate, what counts of them ----

def accuracy(output, target, topk=(1,)):
    maxk = max(topk)
    batch_size = target.size(0)
    _, pred = output.topk(maxk, 1, True, True)
    pred = pred.t()
    correct = pred.eq(target[None])
    return [correct[:k].flatten().sum(dtype=torch.float32) * (100.0 / batch_size) for k in topk]


class Meter:
    def __init__(self):
        self.total, self.count = 0.0, 0

    def update(self, value, n=1):
        self.count += n
        self.total += value * n

    @property
    def global_avg(self):
        return self.total / self.count


def evaluate(logits, labels, batch):
    loss, acc1, acc5 = Meter(), Meter(), Meter()
    for output, target in zip(logits.split(batch), labels.split(batch)):
        a1, a5 = accuracy(output, target, topk=(1, 5))
        loss.update(torch.nn.functional.cross_entropy(output.double(), target).item())
        acc1.update(a1.item(), n=output.shape[0])
        acc5.update(a5.item(), n=output.shape[0])
    return acc1.global_avg, acc5.global_avg, loss.global_avg


# ---- one image, from the definitions ----

def descending(values):
    """NaN first, then from large to small."""
    return sorted(values, key=lambda v: (not math.isnan(v), 0 if math.isnan(v) else -v))


def same(a, b):
    return a == b or (math.isnan(a) and math.isnan(b))


def could_be_right(row, label, k):
    """Whether the label can be among the first k under the best and under the worst order of equal logits."""
    own = row[label]
    larger = sum((math.isnan(v) and not math.isnan(own)) or v > own for v in row)
    equal = sum(same(v, own) for v in row) - 1
    return larger < k, larger + equal < k


class Prediction:
    def __init__(self, line):
        f = line.split()
        self.file, self.label = int(f[0]), int(f[1])
        self.top = [int(v) for v in f[2:7]]
        self.probability = [float(v) for v in f[7:12]]
        self.loss = float(f[12])
        self.right1, self.right5, self.tied1, self.tied5 = (v == "1" for v in f[13:17])
        self.margin1, self.margin5, self.spread = (float(v) for v in f[17:20])
        self.ambiguous1, self.ambiguous5, self.non_finite = (v == "1" for v in f[20:23])


def check_margin(what, p, row, k, margin, ambiguous):
    others = descending(row[:p.label] + row[p.label + 1:])
    if len(others) < k:
        check(math.isinf(margin) and not ambiguous, f"{what}: margin {margin} with too few classes")
        return
    expected = abs(row[p.label] - others[k - 1])
    check(same(margin, expected), f"{what}: margin {margin}, expected {expected}")
    finite = all(map(math.isfinite, row))
    check(ambiguous == (not finite or expected <= 512 * 2.0**-24 * p.spread), f"{what}: ambiguous {ambiguous}")


def check_image(what, p, logits, label):
    row = [float(v) for v in logits]
    k = min(5, len(row))
    values, indices = torch.topk(logits, k)
    check(p.label == label, f"{what}: label")
    check(all(same(row[i], v) for i, v in zip(p.top, values.tolist())), f"{what}: values of the top-{k}")
    check(len(set(p.top[:k])) == k and p.top[k:] == [-1] * (5 - k), f"{what}: {p.top}")
    for i, j in zip(p.top[:k - 1], p.top[1:k]):
        check(not same(row[i], row[j]) or i < j, f"{what}: of equal logits the higher index comes first")
    cut = values[-1].item()
    certain = {i for i in indices.tolist() if not same(row[i], cut)}
    check(certain <= set(p.top), f"{what}: the set of the top-{k}")

    softmax = torch.softmax(logits.double(), 0)
    for i, got in zip(p.top[:k], p.probability):
        want = np.float32(softmax[i].item())
        check(same(got, float(want)) or abs(got - want) <= np.spacing(want), f"{what}: probability {got}, {want}")
    loss = torch.nn.functional.cross_entropy(logits.double()[None], torch.tensor([label])).item()
    check(same(p.loss, loss) or abs(p.loss - loss) <= 1e-12 * (1 + abs(loss)), f"{what}: loss {p.loss}, {loss}")

    for right, tied, n in ((p.right1, p.tied1, 1), (p.right5, p.tied5, 5)):
        best, worst = could_be_right(row, label, n)
        check(tied == (best != worst), f"{what}: tied{n} {tied}")
        check(right == (label in p.top[:n]) and (best or not right) and (right or not worst), f"{what}: right{n}")
        torch_right = label in indices[:min(n, k)].tolist()
        check(tied or right == torch_right, f"{what}: right{n} is not PyTorch's, and nothing is tied")

    finite = all(map(math.isfinite, row))
    check(p.non_finite == (not finite), f"{what}: non_finite")
    if finite:
        spread = float(np.std(np.array(row)))
        check(abs(p.spread - spread) <= 1e-12 * spread, f"{what}: spread {p.spread}, {spread}")
    check_margin(what, p, row, 1, p.margin1, p.ambiguous1)
    check_margin(what, p, row, 5, p.margin5, p.ambiguous5)


def judge(folder, what, logits, labels, batch):
    n, classes = logits.shape
    path = os.path.join(folder, "logits")
    with open(path, "wb") as file:
        file.write(logits.numpy().astype("<f4").tobytes() + labels.numpy().astype("<i8").tobytes())
    lines = run("predict", n, classes, batch, path)
    predictions = [Prediction(line) for line in lines[:n]]
    for i, p in enumerate(predictions):
        check(p.file == i, "file")
        check_image(f"{what}, image {i}", p, logits[i], labels[i].item())
    sums = lines[n].split()
    counted = [sum(getattr(p, name) for p in predictions)
               for name in ("right1", "right5", "tied1", "tied5", "ambiguous1", "ambiguous5", "non_finite")]
    check([int(v) for v in sums[:8]] == [n, *counted], f"{what}: sums {sums[:8]}, {counted}")
    for c in range(classes):
        own = [p for p in predictions if p.label == c]
        expected = [len(own), sum(p.right1 for p in own), sum(p.right5 for p in own)]
        check([int(v) for v in lines[n + 1 + c].split()] == expected, f"{what}: class {c}")
    loss, batch_loss = float(sums[8]), float(sums[9])
    mean = torch.nn.functional.cross_entropy(logits.double(), labels).item()
    check(same(loss, mean) or abs(loss - mean) <= 1e-12 * abs(mean), f"{what}: mean loss {loss}, {mean}")
    if classes < 5:
        return predictions
    acc1, acc5, torch_loss = evaluate(logits, labels, batch)
    check(same(batch_loss, torch_loss) or abs(batch_loss - torch_loss) <= 1e-12 * abs(torch_loss),
          f"{what}: batch-averaged loss {batch_loss}, {torch_loss}")
    check(abs(loss - batch_loss) > 1e-6 or n % batch == 0 or not math.isfinite(loss),
          f"{what}: a short last batch weighs nothing")
    if not any(p.tied1 for p in predictions):
        check(f"{100 * counted[0] / n:.3f}" == f"{acc1:.3f}", f"{what}: Acc@1 {100 * counted[0] / n}, {acc1}")
    if not any(p.tied5 for p in predictions):
        check(f"{100 * counted[1] / n:.3f}" == f"{acc5:.3f}", f"{what}: Acc@5 {100 * counted[1] / n}, {acc5}")
    return predictions


def judge_predictions(folder):
    torch.manual_seed(11)

    def labels_near_the_top(logits):
        """Labels that are often among the first five, so that every kind of decision occurs."""
        k = min(12, logits.shape[1])
        order = logits.topk(k).indices
        return order.gather(1, torch.randint(0, k, (len(logits), 1)))[:, 0]

    seen = []
    for classes in (1, 2, 3, 4, 5, 6, 7, 10, 1000):
        logits = torch.randn(203, classes) * 3
        seen += judge(folder, f"{classes} classes", logits, labels_near_the_top(logits), 32)
        coarse = torch.randint(-2, 3, (203, classes)).float()
        seen += judge(folder, f"{classes} classes with ties", coarse, labels_near_the_top(coarse), 7)
        close = torch.randn(203, classes) * 1e-6 + 1
        seen += judge(folder, f"{classes} classes close together", close, labels_near_the_top(close), 203)
    for classes in (3, 12, 1000):
        special = torch.randn(203, classes)
        where = torch.randint(0, classes, (203, 2))
        for i, value in enumerate((math.nan, math.inf, -math.inf) * 60):
            special[i, where[i, 0]] = value
            if i % 2 == 0:
                special[i, where[i, 1]] = (math.nan, math.inf, -math.inf)[i % 3]
        special[-1] = -math.inf
        special[-2] = math.nan
        special[-3] = math.inf
        labels = where[:, 0] if classes < 1000 else labels_near_the_top(special)
        seen += judge(folder, f"{classes} classes, NaN and infinity", special, labels, 10)
    for name in ("right1", "right5", "tied1", "tied5", "ambiguous1", "ambiguous5", "non_finite"):
        count = sum(getattr(p, name) for p in seen)
        check(20 < count < len(seen) - 20, f"{name} was {count} times of {len(seen)}: too few to test it")


# ---- draws ----

def draw(population, count, seed):
    """The algorithm as parity/predictions.h states it, on NumPy's generator."""
    bits = np.random.MT19937()
    bits._legacy_seeding(seed)

    def below(m):
        while True:
            high, low = (int(v) for v in bits.random_raw(2))
            if (high << 32 | low) >= 2**64 % m:
                return (high << 32 | low) % m

    wanted, chosen = count, []
    for i in range(population):
        if wanted and below(population - i) < wanted:
            chosen.append(i)
            wanted -= 1
    return chosen


def judge_draws():
    for population, count, seed in ((1, 0, 0), (1, 1, 0), (10, 3, 1), (10, 10, 2), (1000, 500, 3), (50000, 1000, 0),
                                    (50000, 5000, 2**32 - 1), (777, 1, 99)):
        got = [int(v) for v in run("sample", population, count, seed)]
        check(got == draw(population, count, seed), f"sample {population} {count} {seed}")
    check(run("sample", 50000, 100, 5) == run("sample", 50000, 100, 5 + 2**32), "the low 32 bits of the seed")


# ---- intervals ----

def bound(right, n, population, z, side):
    """The end of the interval on one side of right/n by bisection of the defining inequality."""
    share = right / n
    inside, outside = share, 0.0 if side < 0 else 1.0

    def holds(p):
        return abs(share - p) <= z * math.sqrt(p * (1 - p) / n * (population - n) / (population - 1))

    if holds(outside):
        return outside
    for _ in range(200):
        middle = (inside + outside) / 2
        if holds(middle):
            inside = middle
        else:
            outside = middle
    return inside


def interval(right, n, population, z=Z):
    return [float(v) for v in run("wilson", right, n, population, z)[0].split()]


def judge_intervals():
    for right, n, population in ((0, 20, 50000), (20, 20, 50000), (1, 3, 4), (565, 1000, 50000), (2800, 5000, 50000),
                                 (28261, 49999, 50000), (1, 1, 2), (7, 10, 10**9)):
        for z in (1.959963984540054, Z):
            low, high = interval(right, n, population, z)
            for got, side in ((low, -1), (high, 1)):
                want = bound(right, n, population, z, side)
                check(abs(got - want) < 1e-9, f"wilson {right} {n} {population} {z}: {got}, {want}")
            check(0 <= low <= right / n <= high <= 1, f"wilson {right} {n} {population}: {low}, {high}")
    # coverage: how often a sample's interval holds the truth, exactly, over every sample of every population
    for population, n in ((60, 25), (200, 150), (400, 40)):
        ends = [interval(right, n, population) for right in range(n + 1)]
        coverages = []
        for truth in range(population + 1):
            total = sum(math.comb(truth, right) * math.comb(population - truth, n - right)
                        for right in range(n + 1) if ends[right][0] <= truth / population <= ends[right][1])
            coverages.append(total / math.comb(population, n))
        check(min(coverages) > 0.98 and np.mean(coverages) > 0.998,
              f"coverage for {n} of {population}: at least {min(coverages)}, on average {np.mean(coverages)}")


def main():
    with tempfile.TemporaryDirectory() as folder:
        judge_predictions(folder)
    judge_draws()
    judge_intervals()
    print(f"{failures} failures")
    return failures > 0


if __name__ == "__main__":
    sys.exit(main())
