"""Cross-entropy, label smoothing and their gradients against PyTorch, bit for bit: class counts around every vector
size, batches around every cascade, special values, threads and ISAs; and the double version against float64."""
import sys

from judging import Bytes, Judge, need_avx512, np, tool, torch

CLASSES = (1, 2, 3, 4, 5, 7, 8, 9, 10, 15, 16, 17, 20, 31, 32, 33, 37, 47, 50, 64, 100, 101, 255, 256, 257, 515, 1000, 1003,
           4097, 21841)
ROWS = (1, 2, 3, 4, 5, 7, 8, 9, 15, 16, 17, 31, 32, 33, 64, 100, 128, 255, 256, 257, 600)


def random_logits(rng, rows, classes, kind):
    x = (rng.standard_normal((rows, classes)) * rng.choice([1.0, 5.0, 40.0])).astype(np.float32)
    if kind == "equal":
        x[:] = rng.choice([0.0, -0.0, 3.0, -1e30])
    elif kind == "small":
        x *= np.float32(1e-40)
    elif kind == "far":
        x = (rng.standard_normal((rows, classes)) * 1e3).astype(np.float32)
    elif kind == "special":
        values = np.array([np.inf, -np.inf, np.nan, 3.4e38, -3.4e38, 0.0, -0.0], np.float32)
        where = rng.random(x.shape) < 0.5 / classes
        x[where] = rng.choice(values, where.sum())
        x[0] = -np.inf
    elif kind == "drawn":
        x = np.round(x)
    return x


def one_case(judge, rng, what, rows, classes, kind, smoothing, ways=((1, ""),)):
    x = random_logits(rng, rows, classes, kind)
    targets = rng.integers(0, classes, rows)
    logits = torch.from_numpy(x.copy()).requires_grad_()
    expected = torch.nn.functional.cross_entropy(logits, torch.from_numpy(targets), label_smoothing=smoothing)
    expected.backward()
    log_probs = torch.log_softmax(logits, 1).detach()
    wide = torch.from_numpy(x.astype(np.float64)).requires_grad_()
    truth = torch.nn.functional.cross_entropy(wide, torch.from_numpy(targets), label_smoothing=smoothing)
    truth.backward()
    for threads, isa in ways:
        out = Bytes(tool("loss", threads, rows, classes, smoothing, data=x.tobytes() + targets.tobytes(), isa=isa))
        where = f"{what}, {rows} rows of {classes} classes, {kind}, smoothing {smoothing}, {threads} threads, '{isa}'"
        judge.same(where + ": loss", out.take(1), expected.detach().numpy().reshape(1))
        judge.same(where + ": log-probabilities", out.take(x.size), log_probs.numpy().reshape(-1))
        judge.same(where + ": gradient", out.take(x.size), logits.grad.numpy().reshape(-1))
        for name, size, value in (("loss", 1, truth.detach()), ("log-probabilities", x.size, torch.log_softmax(wide, 1)),
                                  ("gradient", x.size, wide.grad)):
            got, value = out.take(size, np.float64), value.detach().numpy().reshape(-1)
            if not np.allclose(got, value, rtol=1e-12, atol=1e-15, equal_nan=True):
                judge.fail(f"{where}: {name} in double: {got}, PyTorch {value}")
        top1 = int((torch.argmax(torch.from_numpy(x), 1).numpy() == targets).sum())
        judge.same(where + ": top-1", out.take(1, np.int64), np.array([top1]))


def main():
    need_avx512()
    torch.set_num_threads(1)
    judge = Judge()
    for classes in CLASSES:
        for smoothing in (0.0, 0.1):
            one_case(judge, np.random.default_rng(classes), "classes", 5, classes, "any", smoothing)
    for rows in ROWS:
        for smoothing in (0.0, 0.3):
            one_case(judge, np.random.default_rng(rows), "rows", rows, 33, "any", smoothing)
    for seed in range(12):  # where the sum of a row shows, and is long enough for every level of its cascade
        rng = np.random.default_rng(seed)
        one_case(judge, rng, "long rows", 1, int(rng.integers(20000, 150000)), "far", 1.0)
    ways = ((1, ""), (3, ""), (1, "avx2"), (2, "portable"))
    for seed in range(60):
        rng = np.random.default_rng(seed)
        kind = str(rng.choice(["any", "equal", "small", "far", "special", "drawn"]))
        smoothing = float(rng.choice([0.0, 0.1, 1.0, rng.random()]))
        one_case(judge, rng, f"case {seed}", int(rng.choice(ROWS)), int(rng.choice(CLASSES[:-2])), kind, smoothing, ways)
        if judge.failures > 10:
            break
    return judge.finish()


if __name__ == "__main__":
    sys.exit(main())
