"""
Legacy streams that today's torch.save does not write, made by write_torch_legacy.py: PyTorch's own reader, of 1.13 and
the newest, judges that they are what they are meant to be, and ours must read the same.
"""
import os
import struct
import sys
import tempfile

from judge import Judge, line, run, skip
from write_torch_legacy import stream

try:
    import torch
except ImportError as e:
    skip(str(e))

judge = Judge()
BASE = torch.arange(48.0)
FLOATS = ("float32", BASE.numpy().tobytes())
LONGS = ("int64", struct.pack("<3q", 1, -2, 2 ** 40))


def judge_stream(folder, what, data, state, by_torch=True):
    path = os.path.join(folder, "model.pth")
    with open(path, "wb") as f:
        f.write(data)
    if by_torch:
        loaded = torch.load(path, weights_only=True)
        judge.equal(list(loaded), list(state), f"{what}: names, by PyTorch")
        for name in state:
            judge.check(loaded[name].dtype == state[name].dtype and torch.equal(loaded[name], state[name]),
                        f"{what}: {name}, by PyTorch")
    rc, out, err = run("tensors", path)
    judge.equal((rc, err), (0, ""), f"{what}: read")
    lines = [line(str(t.dtype)[6:], tuple(t.shape),
                  t.contiguous().reshape(-1).view(torch.uint8).numpy().tobytes() if t.numel() else b"", name)
             for name, t in state.items()]
    judge.equal(out.splitlines(), ["format=PyTorch legacy stream wrapped_in=- module=0 bad_crc=0"] + lines, what)


def main():
    plain = {"a": ("float32", (6, 8), (8, 1), 0, "140000000000016"), "n": ("int64", (3,), (1,), 0, "94000000000000"),
             "t": ("float32", (8, 6), (1, 8), 0, "140000000000016"), "e": ("float32", (0,), (1,), 0, "7")}
    storages = {"140000000000016": FLOATS, "94000000000000": LONGS, "7": ("float32", b"")}
    state = {"a": BASE.view(6, 8), "n": torch.tensor([1, -2, 2 ** 40]), "t": BASE.view(6, 8).t(), "e": torch.empty(0)}
    viewed = {"w": ("float32", (12,), (1,), 0, "v1"), "x": ("float32", (2, 2), (1, 3), 2, "v1"),
              "y": ("float32", (40,), (1,), 0, "v2"), "z": ("float32", (48,), (1,), 0, "r"),
              "none": ("float32", (0,), (1,), 0, "v3")}
    views = {"v1": ("r", 8, 12), "v2": ("r", 8, 40), "v3": ("r", 48, 0)}
    view_state = {"w": BASE[8:20], "x": BASE[10:16].as_strided((2, 2), (1, 3)), "y": BASE[8:], "z": BASE,
                  "none": torch.empty(0)}
    with tempfile.TemporaryDirectory() as folder:
        for python2 in (False, True):
            dialect = f"Python {2 if python2 else 3}"
            judge_stream(folder, f"plain, {dialect}", stream(plain, storages, python2=python2), state)
            judge_stream(folder, f"views, {dialect}", stream(viewed, {"r": FLOATS}, views, python2=python2), view_state)
        # A big-endian machine's elements are little-endian all the same: PyTorch, which does not look at what the
        # stream says of the machine, finds them so. Older releases wrote their number as the machine had it, which a
        # little-endian PyTorch does not read.
        judge_stream(folder, "big-endian", stream(plain, storages, little=False), state)
        judge_stream(folder, "big-endian, old", stream(plain, storages, little=False, count=">q"), state, False)
        judge_stream(folder, "big-endian, old, views", stream(viewed, {"r": FLOATS}, views, False, ">q"), view_state,
                     False)
    print(f"PyTorch {torch.__version__}, Python {sys.version.split()[0]}", end=": ")
    judge.exit()


if __name__ == "__main__":
    main()
