"""Pieces of pickles, as torch.save writes them: pickletools.py names the opcodes."""
import struct

START = b"\x80\x02"
NONE, TRUE, FALSE, MARK = b"N", b"\x88", b"\x89", b"("
EMPTY_DICT, EMPTY_LIST, EMPTY_TUPLE = b"}", b"]", b")"


def text(value, length=None):
    data = value if isinstance(value, bytes) else value.encode()
    return b"X" + struct.pack("<I", len(data) if length is None else length) + data


def integer(value):
    if 0 <= value < 256:
        return b"K" + bytes([value])
    if 0 <= value < 65536:
        return b"M" + struct.pack("<H", value)
    if -(2**31) <= value < 2**31:
        return b"J" + struct.pack("<i", value)
    data = value.to_bytes((value.bit_length() + 8) // 8, "little", signed=True)
    return b"\x8a" + bytes([len(data)]) + data


def name(module, attribute):
    return f"c{module}\n{attribute}\n".encode()


def items(*values):
    """A tuple, whatever its length."""
    return MARK + b"".join(values) + b"t"


def integers(values):
    return items(*[integer(v) for v in values])


def call(what, *arguments):
    return what + items(*arguments) + b"R"


def storage(kind="FloatStorage", key="0", n=6, location="cpu", more=b""):
    return items(text("storage"), name("torch", kind), text(key), text(location), integer(n), more) + b"Q"


REBUILD = name("torch._utils", "_rebuild_tensor_v2")
HOOKS = name("collections", "OrderedDict") + b")R"


def tensor(of=None, offset=0, size=(2, 3), stride=(3, 1), requires_grad=FALSE, hooks=HOOKS, more=b""):
    of = storage() if of is None else of
    return call(REBUILD, of, integer(offset), integers(size), integers(stride), requires_grad, hooks, more)


def dictionary(*pairs):
    return EMPTY_DICT + MARK + b"".join(k + v for k, v in pairs) + b"u"


def whole(*pairs):
    """A pickle of a dict with these pairs of pickled keys and values."""
    return START + dictionary(*pairs) + b"."


GOOD = whole((text("w"), tensor()), (text("n"), tensor(storage("LongStorage", "1", 2), 0, (2,), (1,))))
