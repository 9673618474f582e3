"""What is drawn from the generator, against PyTorch and torchvision: random sequences of dropout masks, orders of a
DataLoader, crops, flips, normal values and states from one stream, each starting where the one before ended."""
import sys

from judging import Bytes, Judge, np, tool, torch

try:
    from torchvision.transforms import RandomResizedCrop
except ImportError as error:
    print(f"SKIPPED: {error}", file=sys.stderr)
    sys.exit(77)

OLD = torch.__version__.startswith("1.")


class Indices(torch.utils.data.Dataset):
    def __init__(self, n):
        self.n = n

    def __len__(self):
        return self.n

    def __getitem__(self, index):
        return index


def skip(rng):
    n = int(rng.choice([1, 7, 600, 623, 624, 625]))
    for _ in range(n):
        torch.randint(0, 2, (1,))
    return ["skip", n], []


def dropout(rng):
    p, n = float(rng.choice([0.0, 0.5, 1.0, 0.1, rng.random()])), int(rng.choice([0, 1, 5, 311, 312, 4096, 9216]))
    factors = torch.nn.functional.dropout(torch.ones(n), p, training=True)
    return ["dropout", p, n], [factors.numpy()]


def loader(rng):
    n, shuffle = int(rng.choice([1, 2, 17, 1000])), bool(rng.random() < 0.7)
    iterator = iter(torch.utils.data.DataLoader(Indices(n), batch_size=int(rng.integers(1, 20)), shuffle=shuffle))
    order = torch.cat([batch for batch in iterator])
    return ["loader", shuffle, n], [order.numpy()]


def randperm(rng):
    n = int(rng.choice([0, 1, 2, 3, 624, 5000]))
    return ["randperm", n], [torch.randperm(n).numpy()]


def crop(rng):
    height, width = (int(v) for v in rng.choice([1, 2, 7, 224, 375, 500, 1111, 6000], 2))
    scale, ratio = [0.08, 1.0], [3.0 / 4.0, 4.0 / 3.0]
    if rng.random() < 0.4:
        scale = sorted(float(v) for v in rng.random(2))
        ratio = sorted(float(v) for v in np.exp(rng.standard_normal(2)))
    top, left, h, w = RandomResizedCrop.get_params(torch.empty(1, height, width), scale, ratio)
    if h == 0 or w == 0:  # which no image can be cropped to
        h, w = max(h, 1), max(w, 1)
        top, left = (height - h) // 2, (width - w) // 2
    return ["crop", height, width, *scale, *ratio], [np.array([top, left, h, w], np.int64)]


def flip(rng):
    p = float(rng.choice([0.5, 1.0, rng.random()]))
    return ["flip", p], [np.array([int(torch.rand(1) < p)], np.int64)]


def normal(rng):
    n = int(rng.choice([0, 1, 2, 3, 15, 16, 17, 31, 32, 33, 1000, 20001]))
    mean, std = (0.0, 1.0) if rng.random() < 0.5 else (float(rng.standard_normal()), float(rng.random()))
    return ["normal", n, mean, std], [torch.empty(n).normal_(mean, std).numpy()]


def state(rng):
    return ["state"], [torch.get_rng_state().numpy()]


def without_left_over_value(state_bytes):
    """1.13 computes a normal value's radius by log(1 - u), not log1p(-u): the double left over differs in its last bit,
    floats do not."""
    state_bytes = state_bytes.copy()
    state_bytes[5024:5032] = 0
    return state_bytes


def reread(rng):
    return ["reread"], []


DRAWS = (skip, dropout, loader, randperm, crop, crop, flip, flip, normal, normal, state, reread)


def one_case(judge, rng, seed):
    numbers, expected, names = [], [], []
    torch.manual_seed(seed)
    for _ in range(40):
        command, values = rng.choice(DRAWS)(rng)
        numbers += command
        expected += values
        names += [" ".join(str(v) for v in command)] * len(values)
    out = Bytes(tool("draw", seed, *numbers, isa=str(rng.choice(["", "avx2", "portable"]))))
    for name, values in zip(names, expected):
        got = out.take(values.size, values.dtype)
        if OLD and name == "state":
            got, values = without_left_over_value(got), without_left_over_value(values)
        if not judge.same(f"case {seed}, {name}", got, values):
            return
    if not out.all_taken():
        judge.fail(f"case {seed}: more output than expected")


def many_crops(judge):
    """Of photographs' sizes. One in some ten million may differ, where PyTorch's exp is not the nearest float."""
    torch.manual_seed(1)
    sizes = [(375, 500), (500, 375), (333, 500), (2, 999)] * 2500
    got = Bytes(tool("draw", 1, *[v for h, w in sizes for v in ("crop", h, w, 0.08, 1.0, 3.0 / 4.0, 4.0 / 3.0)]))
    images = {size: torch.empty(1, *size) for size in sizes}
    expected = [RandomResizedCrop.get_params(images[size], [0.08, 1.0], [3.0 / 4.0, 4.0 / 3.0]) for size in sizes]
    judge.same("crops", got.take(4 * len(sizes), np.int64), np.array(expected, np.int64).reshape(-1))


def many_normal_values(judge):
    for isa in ("", "avx2", "portable"):
        torch.manual_seed(5)
        n = 3000001 if isa == "" else 200001
        judge.same(f"normal values, {isa}", np.frombuffer(tool("draw", 5, "normal", n, 0.25, 0.01, isa=isa), np.float32),
                   torch.empty(n).normal_(0.25, 0.01).numpy())
    torch.manual_seed(6)
    single = np.concatenate([torch.randn(5).numpy() for _ in range(2000)])
    judge.same("normal values, five at a time",
               np.frombuffer(tool("draw", 6, *["normal", 5, 0.0, 1.0] * 2000), np.float32), single)


def states_from_pytorch(judge):
    """A state that PyTorch wrote goes on here, and one that was written here goes on there."""
    for seed in (0, 3, -1, 2**40 + 5):
        torch.manual_seed(seed)
        torch.rand(seed % 1000)
        before = torch.get_rng_state()
        expected = torch.randperm(700)
        after = torch.get_rng_state()
        out = Bytes(tool("draw", 9, "set", "randperm", 700, "state", data=before.numpy().tobytes()))
        judge.same(f"seed {seed}: values behind a state", out.take(700, np.int64), expected.numpy())
        judge.same(f"seed {seed}: the state behind them", out.take(5056, np.uint8), after.numpy())
        torch.set_rng_state(torch.from_numpy(np.frombuffer(tool("draw", seed % 2**64, "skip", 800, "state"), np.uint8).copy()))
        continued = torch.randperm(700).numpy()
        judge.same(f"seed {seed}: a state written here", continued,
                   np.frombuffer(tool("draw", seed % 2**64, "skip", 800, "randperm", 700), np.int64))


def main():
    judge = Judge()
    for seed in range(40):
        one_case(judge, np.random.default_rng(seed), seed)
        if judge.failures > 10:
            break
    many_crops(judge)
    many_normal_values(judge)
    states_from_pytorch(judge)
    return judge.finish()


if __name__ == "__main__":
    sys.exit(main())
