"""anx_sgd_step against torch.optim.SGD, bit for bit: random options, groups and sizes, special values, threads, ISAs."""
import sys

from judging import Bytes, Judge, np, tool, torch

SIZES = (0, 1, 3, 7, 8, 15, 16, 17, 31, 33, 63, 100, 1023, 4097, 40001)


def random_options(rng):
    momentum = float(rng.choice([0.0, 0.9, 0.5, rng.random(), 1.0, 1e-300]))
    nesterov = momentum > 0.0 and bool(rng.random() < 0.3)
    return {
        "lr": float(rng.choice([0.01, 0.1, 1e-3 * rng.random(), 0.0, 1.0])),
        "momentum": momentum,
        "dampening": 0.0 if nesterov else float(rng.choice([0.0, 0.1, rng.random(), 1.0, -0.5])),
        "weight_decay": float(rng.choice([0.0, 1e-4, rng.random(), 1e-300])),
        "nesterov": nesterov,
        "maximize": bool(rng.random() < 0.3),
    }


def random_values(rng, n, special):
    x = rng.standard_normal(n).astype(np.float32) * np.exp(4 * rng.standard_normal(n)).astype(np.float32)
    if special and n > 0:
        values = np.array([0.0, -0.0, np.inf, -np.inf, np.nan, 1e-45, -1e-40, 1e-38, 3e38, -3.4e38], np.float32)
        where = rng.random(n) < 0.2
        x[where] = rng.choice(values, where.sum())
    return x


def one_case(judge, rng, seed):
    groups = [random_options(rng) for _ in range(rng.integers(1, 4))]
    sizes = [int(s) for s in rng.choice(SIZES, rng.integers(1, 6))]
    of_group = sorted(int(g) for g in rng.integers(0, len(groups), len(sizes)))
    used = sorted(set(of_group))
    special, steps = bool(rng.random() < 0.5), int(rng.integers(1, 6))
    starts = [random_values(rng, n, special) for n in sizes]
    params = [torch.nn.Parameter(torch.from_numpy(x.copy())) for x in starts]
    optimizer = torch.optim.SGD([{"params": [p for p, g in zip(params, of_group) if g == group], **groups[group]}
                                 for group in used], lr=1.0)
    numbers = [len(groups)] + [v for g in groups for v in g.values()] + [len(sizes)]
    for group, n in zip(of_group, sizes):
        numbers += [group, n]
    data, expected = b"".join(x.tobytes() for x in starts), []
    for _ in range(steps):
        for p in params:
            has = bool(rng.random() < 0.85)
            grad = random_values(rng, p.numel(), special)
            p.grad = torch.from_numpy(grad) if has else None
            data += bytes([has]) + (grad.tobytes() if has else b"")
        optimizer.step()
        for p in params:
            buffer = optimizer.state[p].get("momentum_buffer") if p in optimizer.state else None
            expected.append((p.detach().numpy().copy(), None if buffer is None else buffer.numpy().copy()))
    for threads, isa in ((1, ""), (3, ""), (1, "avx2"), (2, "portable")):
        out = Bytes(tool("sgd", threads, steps, *numbers, data=data, isa=isa))
        for index, (param, buffer) in enumerate(expected):
            what = f"case {seed}, {threads} threads, ISA '{isa}', step {index // len(sizes)}, {index % len(sizes)}"
            judge.same(what + ": parameter", out.take(param.size), param)
            has = bool(out.take(1, np.uint8)[0])
            if has != (buffer is not None):
                judge.fail(f"{what}: has a momentum: {has}")
                return
            if has:
                judge.same(what + ": momentum", out.take(param.size), buffer)
        if not out.all_taken():
            judge.fail(f"case {seed}: more output than expected")


def main():
    judge = Judge()
    torch.set_num_threads(2)
    for seed in range(60):
        one_case(judge, np.random.default_rng(seed), seed)
        if judge.failures > 10:
            break
    return judge.finish()


if __name__ == "__main__":
    sys.exit(main())
