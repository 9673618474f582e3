"""
A writer of PyTorch 0.1's tar checkpoints, for tests: as torch/serialization.py of PyTorch 0.1.12 wrote them, in the
dialects of Python 2 and 3. Plain Python: tensors are (dtype name, shape, stride, offset, storage), storages are
(dtype name, bytes).
"""
import io
import struct
import tarfile

CLASSES = {"float32": ("Float", 4), "float64": ("Double", 8), "float16": ("Half", 2), "int64": ("Long", 8),
           "int32": ("Int", 4), "int16": ("Short", 2), "int8": ("Char", 1), "uint8": ("Byte", 1)}


class Pickle:
    """Opcodes of protocol 2, by hand: pickle itself would write what today's Python writes."""

    def __init__(self, python2=False):
        self.bytes = bytearray(b"\x80\x02")
        self.python2 = python2
        self.memo = 0

    def put(self):
        self.bytes += b"q" + bytes([self.memo]) if self.memo < 256 else b"r" + struct.pack("<I", self.memo)
        self.memo += 1
        return self

    def raw(self, data):
        self.bytes += data
        return self

    def number(self, n):
        if 0 <= n < 256:
            return self.raw(b"K" + bytes([n]))
        if 0 <= n < 65536:
            return self.raw(b"M" + struct.pack("<H", n))
        if -2 ** 31 <= n < 2 ** 31:
            return self.raw(b"J" + struct.pack("<i", n))
        if self.python2:
            return self.raw(b"I%d\n" % n)
        body = n.to_bytes((n.bit_length() + 8) // 8, "little", signed=True)
        return self.raw(b"\x8a" + bytes([len(body)]) + body)

    def text(self, s):
        data = s.encode()
        if self.python2 and len(data) < 256:
            return self.raw(b"U" + bytes([len(data)]) + data).put()
        if self.python2:
            return self.raw(b"T" + struct.pack("<I", len(data)) + data).put()
        return self.raw(b"X" + struct.pack("<I", len(data)) + data).put()

    def name(self, module, name):
        return self.raw(f"c{module}\n{name}\n".encode()).put()

    def done(self):
        return bytes(self.bytes) + b"."


def number(n, python2=False):
    return Pickle(python2).number(n).done()


def triple(first, second, module, name, python2=False):
    p = Pickle(python2)
    p = p.text(first) if isinstance(first, str) else p.number(first)
    p = p.text(second) if isinstance(second, str) else p.number(second)
    return p.name(module, name).raw(b"\x87").put().done()


def storages_member(storages, views, python2):
    out = number(len(storages), python2)
    for key, (dtype, data) in storages.items():
        name, size = CLASSES[dtype]
        out += triple(key, "cpu", "torch", name + "Storage", python2) + struct.pack("<q", len(data) // size) + data
    p = Pickle(python2).raw(b"]").put()
    if views:
        p.raw(b"(")
        for view in views:
            p.raw(b"(")
            for n in view:
                p.number(n)
            p.raw(b"t").put()
        p.raw(b"e")
    return out + p.done()


def tensors_member(tensors, python2, junk):
    out = number(len(tensors), python2)
    for key, (dtype, shape, stride, offset, storage) in tensors.items():
        out += triple(key, storage, "torch", CLASSES[dtype][0] + "Tensor", python2)
        out += struct.pack("<i", len(shape)) + junk + struct.pack(f"<{2 * len(shape) + 1}q", *shape, *stride, offset)
    return out


def pickle_member(names, python2, parameters):
    p = Pickle(python2).name("collections", "OrderedDict")
    if python2:  # OrderedDict([[key, value], ...])
        p.raw(b"]").put()
    else:
        p.raw(b")R").put()
    p.raw(b"(")
    for name, key in names.items():
        if python2:
            p.raw(b"]").put().raw(b"(")
        p.text(name)
        if parameters:
            p.name("torch.nn.parameter", "Parameter")
        p.text(str(key)).raw(b"Q")
        if parameters:
            p.raw(b"\x85").put().raw(b"R").put().raw(b"\x89\x89")
            p.name("collections", "OrderedDict").raw(b")R").put().raw(b"\x87").put().raw(b"b")
        if python2:
            p.raw(b"e")
    p.raw(b"e\x85R" if python2 else b"u")
    return p.done()


def members(names, tensors, storages, views=(), python2=False, parameters=False, junk=b"\0\0\0\0"):
    info = Pickle(python2).raw(b"}").put().raw(b"(").text("protocol_version").number(1000)
    info.text("little_endian").raw(b"\x88").text("type_sizes").raw(b"}").put().raw(b"(")
    for key, size in (("short", 2), ("int", 4), ("long", 4)):
        info.text(key).number(size)
    return {"sys_info": info.raw(b"uu").done(), "pickle": pickle_member(names, python2, parameters),
            "tensors": tensors_member(tensors, python2, junk), "storages": storages_member(storages, views, python2)}


def archive(parts, form=tarfile.PAX_FORMAT, prefix="", pax=True, type=tarfile.REGTYPE):
    """The tar of the members, in this order; with pax, a header with a time before each, as originals have it."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:", format=form) as tar:
        for name, data in parts.items():
            entry = tarfile.TarInfo(prefix + name)
            entry.size = len(data)
            entry.type = type
            if pax and form == tarfile.PAX_FORMAT:
                entry.mtime = 1480000000.25
            tar.addfile(entry, io.BytesIO(data))
    return buffer.getvalue()
