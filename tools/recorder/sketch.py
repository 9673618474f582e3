"""Sketches of large outputs: fixtures/FORMAT.md says what they hold and how small a change they see."""

import math

import numpy as np

U = 2.0 ** -24
SAMPLES = 256       # of one image
PROJECTIONS = 2
BLOCK = 64          # neighbouring outputs of a rank-2 output
RMS_LIMIT = 32.0


def _draws(seed, n):
    return np.random.RandomState(seed)._bit_generator.random_raw(n).astype(np.uint32)


def signs(seed, n):
    """n signs, +1 or -1: one bit of an mt19937 draw each, the lowest first."""
    bits = np.unpackbits(_draws(seed, -(-n // 32)).astype("<u4").view(np.uint8), bitorder="little")[:n]
    return 1.0 - 2.0 * bits


def _positions(batch, elems, seed):
    count = min(SAMPLES, elems)
    edges = np.arange(count + 1, dtype=np.int64) * elems // count
    inside = _draws(seed, batch * count).reshape(batch, count) % (edges[1:] - edges[:-1])
    return (np.arange(batch)[:, None] * elems + edges[:-1] + inside).reshape(-1).astype(np.int64)


def _block_sums(values, block):
    """(N, E) -> (N, blocks): sums over consecutive blocks, the last one shorter where E is no multiple."""
    return np.add.reduceat(values, np.arange(0, values.shape[1], block), axis=1)


def make(container, prefix, y32, y64, gauge, terms, seed):
    """
    y32 float32, y64 float64 of one shape (N, C, H, W) or (N, F); gauge likewise, float64, or None for a module that is
    exact. terms: products summed for one output.
    """
    batch = y32.shape[0]
    flat32, flat64 = y32.reshape(batch, -1), y64.reshape(batch, -1)
    elems = flat32.shape[1]
    block = int(np.prod(y32.shape[2:])) if y32.ndim == 4 else BLOCK
    at = _positions(batch, elems, seed)
    wide = flat32.astype(np.float64)
    p32 = np.stack([_block_sums(wide * signs(seed + k, elems), block) for k in range(PROJECTIONS)], axis=1)
    p64 = np.stack([_block_sums(flat64 * signs(seed + k, elems), block) for k in range(PROJECTIONS)], axis=1)
    norm = np.zeros((batch, p32.shape[2]), np.float32)
    sees = {"sample": 0.0, "element": 0.0, "rms": 0.0}
    if gauge is not None:
        flat_gauge = gauge.reshape(batch, -1)
        norm = np.sqrt(_block_sums(flat_gauge * flat_gauge, block)).astype(np.float32)
        limit = min(terms + 1, 4 * math.sqrt(terms + 1))
        sees = {
            "sample": float(np.median(2 * limit * U * flat_gauge.reshape(-1)[at])),
            "element": float(np.median(2 * 4 * RMS_LIMIT * U * norm)),
            "rms": 2 * RMS_LIMIT,
        }
    return {
        "positions": container.put(prefix + "/positions", at),
        "y32": container.put(prefix + "/y32", flat32.reshape(-1)[at]),
        "e64": container.put(prefix + "/e64", (flat64.reshape(-1)[at] - wide.reshape(-1)[at]).astype(np.float32)),
        "sign_seed": seed,
        "p32": container.put(prefix + "/p32", p32),
        "pe64": container.put(prefix + "/pe64", (p64 - p32).astype(np.float32)),
        "gauge_norm": container.put(prefix + "/gauge_norm", norm),
        "moments": {
            "sum": float(wide.sum()),
            "sum_squares": float((wide * wide).sum()),
            "min": float(flat32.min()),
            "max": float(flat32.max()),
        },
        "sees": sees,
    }
