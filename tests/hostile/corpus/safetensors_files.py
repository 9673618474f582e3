"""safetensors files, from any header and data."""
import json

from corpus.rows import u64


def of_header(header, n_data=0, length=None):
    data = header if isinstance(header, bytes) else header.encode()
    return u64(len(data) if length is None else length) + data + bytes(n_data)


def tensor(dtype="F32", shape=(1,), begin=0, end=4):
    return {"dtype": dtype, "shape": list(shape), "data_offsets": [begin, end]}


def of_json(contents, n_data=0):
    return of_header(json.dumps(contents, separators=(",", ":")), n_data)


def good():
    return of_json({"w": tensor("F32", (2, 3), 0, 24)}, 24)
