"""A fixture as a file: canonical safetensors, digests, atomic writing."""

import hashlib
import json
import os
import struct
import tempfile

import numpy as np

# numpy dtype: safetensors' name, PyTorch's name, place in the reference writer's order (larger first).
DTYPES = {
    "int64": ("I64", "int64", 0),
    "float64": ("F64", "float64", 1),
    "float32": ("F32", "float32", 2),
    "uint8": ("U8", "uint8", 3),
}


def digest(array):
    """SHA-256 over dtype, rank, extents and contiguous elements: fixtures/FORMAT.md."""
    array = np.ascontiguousarray(array) if array.ndim else np.asarray(array)
    h = hashlib.sha256(DTYPES[array.dtype.name][1].encode() + b"\0")
    h.update(struct.pack("<%dq" % (1 + array.ndim), array.ndim, *array.shape))
    h.update(array.tobytes())
    return h


def canonical_json(value):
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)


class Container:
    """Collects tensors under unique names; what `put` returns goes into the JSON."""

    def __init__(self):
        self.tensors = {}

    def put(self, name, array):
        assert name not in self.tensors and array.dtype.name in DTYPES, name
        self.tensors[name] = np.ascontiguousarray(array).reshape(array.shape)
        return name

    def to_bytes(self, description):
        order = sorted(self.tensors, key=lambda n: (DTYPES[self.tensors[n].dtype.name][2], n.encode()))
        header, offset = {"__metadata__": {"anx": canonical_json(description)}}, 0
        for name in order:
            array = self.tensors[name]
            header[name] = {
                "dtype": DTYPES[array.dtype.name][0],
                "shape": list(array.shape),
                "data_offsets": [offset, offset + array.nbytes],
            }
            offset += array.nbytes
        text = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
        text += b" " * (-len(text) % 8)
        return b"".join([struct.pack("<Q", len(text)), text, *(self.tensors[n].tobytes() for n in order)])


def described(path):
    """The JSON of a fixture."""
    with open(path, "rb") as f:
        (size,) = struct.unpack("<Q", f.read(8))
        return json.loads(json.loads(f.read(size))["__metadata__"]["anx"])


def write_file(path, data, force):
    """Beside the target first, then renamed over it; refuses to overwrite unless asked."""
    if os.path.exists(path) and not force:
        raise ValueError(f"{path} exists; --force overwrites it")
    fd, temporary = tempfile.mkstemp(dir=os.path.dirname(os.path.abspath(path)), prefix=".record-")
    try:
        with os.fdopen(fd, "wb") as f:
            f.write(data)
            f.flush()
            os.fsync(f.fileno())
        os.chmod(temporary, 0o644)
        os.rename(temporary, path)
    except BaseException:
        os.unlink(temporary)
        raise
