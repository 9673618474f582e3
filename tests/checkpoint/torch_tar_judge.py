"""
PyTorch 1.13's own reader as the judge of the tar archives that write_torch_tar.py makes, and they as the judge of ours:
same names, shapes, strides, sharing and bits; and as .pth what torch.save writes of it.
"""
import os
import subprocess
import sys
import tarfile
import tempfile

from judge import Judge, line, run, skip
from write_torch_tar import CLASSES, archive, members

try:
    import torch
except ImportError as e:
    skip(str(e))

CONVERT = os.environ["ANX_BUILD_DIR"] + "/tools/anx-convert"
NEWEST = torch.__version__.startswith("2.")
judge = Judge()
torch.manual_seed(2)


def describe(state, big_ids):
    """names, tensors and storages of a state_dict, as write_torch_tar has them."""
    base = 140000000000000 if big_ids else 1
    names, tensors, storages, ids = {}, {}, {}, {}
    for name, t in state.items():
        whole = torch.tensor([], dtype=t.dtype).set_(t.detach().storage())
        place = t.detach().storage().data_ptr() or (name, "empty")
        if place not in ids:
            ids[place] = base + 16 * len(ids)
            storages[ids[place]] = (str(t.dtype)[6:],
                                    whole.view(torch.uint8).numpy().tobytes() if whole.numel() else b"")
        key = base + 8 + 16 * len(tensors)
        names[name] = key
        tensors[key] = (str(t.dtype)[6:], tuple(t.shape), t.stride(), t.storage_offset(), ids[place])
    return names, tensors, storages


def tensor_lines(state):
    for name, t in state.items():
        t = t.detach().contiguous()
        data = t.reshape(-1).view(torch.uint8).numpy().tobytes() if t.numel() else b""
        yield line(str(t.dtype)[6:], tuple(t.shape), data, name)


def judge_file(folder, data, state, what, by_torch=True):
    path, target = os.path.join(folder, "model.pth"), os.path.join(folder, "out", "model.pth")
    with open(path, "wb") as f:
        f.write(data)
    if by_torch:
        loaded = torch.load(path, weights_only=False) if NEWEST else torch.load(path)
        judge.equal(list(loaded), list(state), f"{what}: names, by PyTorch")
        for name in state:
            judge.equal((loaded[name].shape, loaded[name].stride(), loaded[name].storage_offset()),
                        (state[name].shape, state[name].stride(), state[name].storage_offset()), f"{what}: {name}")
            judge.check(torch.equal(loaded[name], state[name]), f"{what}: {name}, by PyTorch")
    rc, out, err = run("tensors", path)
    judge.equal((rc, err), (0, ""), f"{what}: read")
    judge.equal(out.splitlines(), ["format=PyTorch 0.1 tar wrapped_in=- module=0 bad_crc=0"] + list(tensor_lines(state)),
                what)
    done = subprocess.run([CONVERT, path, target, "--force"], capture_output=True, text=True)
    judge.equal(done.returncode, 0, f"{what}: converted: {done.stderr}")
    again = torch.load(target, weights_only=True)
    for name in state:
        judge.check(torch.equal(again[name], state[name]), f"{what}: {name}, converted")
    if NEWEST and by_torch:
        wanted = os.path.join(folder, "wanted", "model.pth")
        torch.save(loaded, wanted)
        with open(target, "rb") as a, open(wanted, "rb") as b:
            judge.check(a.read() == b.read(), f"{what}: the bytes of torch.save")


def main():
    base = torch.arange(48.0)
    weight = torch.randn(6, 5)
    states = {
        "model": torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.Linear(4, 3)).state_dict(),
        "types": {d: (torch.randn(3, 4) * 50).to(getattr(torch, d)) for d in CLASSES},
        "views": {"whole": base, "part": base[5:17], "turned": base.view(6, 8).t(), "again": base},
        "shared": {"a": weight, "b": weight},
        "many": {f"layer.{i}": torch.full((1,), float(i)) for i in range(300)},
        "long names": {"x" * 300: torch.ones(2), "b" * 255: torch.zeros(1)},
    }
    with tempfile.TemporaryDirectory() as folder:
        os.mkdir(os.path.join(folder, "out"))
        os.mkdir(os.path.join(folder, "wanted"))
        for what, state in states.items():
            for python2 in (False, True):
                names, tensors, storages = describe(state, big_ids=python2)
                for parameters in (False, True):
                    if parameters and what == "types":
                        continue  # only floats can have gradients, and Parameters ask for them
                    parts = members(names, tensors, storages, python2=python2, parameters=parameters,
                                    junk=b"\xde\xad\xbe\xef" if python2 else b"\0\0\0\0")
                    kinds = {"pax": {}, "ustar": {"form": tarfile.USTAR_FORMAT}, "gnu": {"form": tarfile.GNU_FORMAT}}
                    for kind, options in kinds.items():
                        judge_file(folder, archive(parts, **options), state,
                                   f"{what}, Python {2 if python2 else 3}, parameters={parameters}, {kind}")
        # a view: what begins at element 8 of storage 1 is storage 2
        views = {"w": base[8:20], "v": base[10:14]}
        parts = members({"w": 3, "v": 4}, {3: ("float32", (12,), (1,), 0, 2), 4: ("float32", (4,), (1,), 2, 2)},
                        {1: ("float32", base.numpy().tobytes())}, views=[(2, 1, 8, 12)])
        judge_file(folder, archive(parts), {"w": base[8:20].clone(), "v": base[8:20].clone()[2:6]}, "a view")
        # numbers of 64 bits, which are no int64, and numbers as texts
        far = 2 ** 64 - 2 ** 20
        names, tensors, storages = describe(views, False)
        raised = [{n: k + far for n, k in names.items()}, {k + far: (*t[:4], t[4] + far) for k, t in tensors.items()},
                  {k + far: s for k, s in storages.items()}]
        judge_file(folder, archive(members(*raised)), views, "numbers of 64 bits")
        texts = [names, {str(k): (*t[:4], str(t[4])) for k, t in tensors.items()},
                 {str(k): s for k, s in storages.items()}]
        judge_file(folder, archive(members(*texts)), views, "numbers as texts", False)
        # a member of any type that is a file
        for kind in (tarfile.AREGTYPE, tarfile.CONTTYPE):
            judge_file(folder, archive(members(names, tensors, storages), type=kind), views, f"members of type {kind}")
        # without scalars, no dimensions meant no elements: PyTorch 1.13 reads what lies behind the storage
        empty = dict(views, e=torch.empty(0))
        none = {99: ("float32", (), (), 0, 98)}
        judge_file(folder, archive(members(dict(names, e=99), {**tensors, **none}, {**storages, 98: ("float32", b"")})),
                   empty, "an empty tensor", False)
        # names with a folder before them, which PyTorch's reader does not take
        judge_file(folder, archive(members(names, tensors, storages), prefix="./"), views, "./ before names", False)
    print(f"PyTorch {torch.__version__}", end=": ")
    judge.exit()


if __name__ == "__main__":
    main()
