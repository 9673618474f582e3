"""Hostile files in PyTorch's legacy stream (torch/serialization.py, _legacy_save)."""
import struct

from .pickles import (EMPTY_DICT, EMPTY_LIST, MARK, NONE, REBUILD, START, call, dictionary, integer, integers, items, name,
                      tensor, text)
from .rows import TIB, Rows, sparse

ROWS = Rows()
refused, accepted = ROWS.refused, ROWS.accepted

MAGIC = bytes.fromhex("80028a0a6cfc9c46f9206aa850192e")
VERSION = START + integer(1001) + b"."
INFO = START + dictionary((text("protocol_version"), integer(1001)), (text("little_endian"), b"\x88")) + b"."
FLOATS = struct.pack("<6f", *range(6))
LONGS = struct.pack("<2q", 10, 11)
NO_STORAGE_ID = "a persistent id other than ('storage', storage class, key, location, elements, view)"


def storage(kind="FloatStorage", key="70", n=6, location="cpu", view=NONE, head="storage"):
    return items(text(head), name("torch", kind), text(key), text(location), integer(n), view) + b"Q"


def plain(of, size, stride=(1,), offset=0):
    return tensor(of, offset, size, stride)


OBJECT = START + dictionary((text("w"), plain(storage(), (2, 3), (3, 1))),
                            (text("n"), plain(storage("LongStorage", "80", 2), (2,)))) + b"."


def keys(*names):
    return START + EMPTY_LIST + MARK + b"".join(text(n) for n in names) + b"e."


def counted(data, n):
    return struct.pack("<q", n) + data


DATA = counted(FLOATS, 6) + counted(LONGS, 2)


def stream(magic=MAGIC, version=VERSION, info=INFO, what=OBJECT, names=keys("70", "80"), data=DATA):
    return magic + version + info + what + names + data


GOOD = stream()
OBJECT_AT = len(MAGIC + VERSION + INFO)
KEYS_AT = OBJECT_AT + len(OBJECT)
DATA_AT = KEYS_AT + len(keys("70", "80"))


def row(title, message, **parts):
    refused(title, message, lambda: stream(**parts))


accepted("a good file", lambda: GOOD)

# ---- truncation at every boundary ------------------------------------------------------------------------------------

END = "the pickle ends without a STOP: truncated?"
refused("nothing behind the magic number", f"entry 'protocol version', offset 15: {END}", lambda: MAGIC)
refused("cut in the version", "entry 'protocol version', offset 17: opcode BININT2: takes 2 bytes, 1 are left",
        lambda: GOOD[:19])
refused("cut behind the version", f"entry 'sys_info', offset 21: {END}", lambda: GOOD[:21])
refused("cut in sys_info", f"entry 'sys_info', offset <N>: opcode BINUNICODE: takes 16 bytes, <N> are left",
        lambda: GOOD[:35])
refused("cut behind sys_info", f"entry 'object', offset {OBJECT_AT}: {END}", lambda: GOOD[:OBJECT_AT])
refused("cut in the object", f"entry 'object', offset {KEYS_AT - 1}: {END}", lambda: GOOD[: KEYS_AT - 1])
refused("cut behind the object", f"entry 'storage keys', offset {KEYS_AT}: {END}", lambda: GOOD[:KEYS_AT])
refused("cut in the list of keys", f"entry 'storage keys', offset {DATA_AT - 1}: {END}", lambda: GOOD[: DATA_AT - 1])
refused("cut before the first count", f"entry 'storage 70', offset {DATA_AT}: the file ends before its elements: truncated?",
        lambda: GOOD[:DATA_AT])
refused("cut in the first count", f"entry 'storage 70', offset {DATA_AT}: the file ends before its elements: truncated?",
        lambda: GOOD[: DATA_AT + 7])
refused("cut in the first elements", f"entry 'storage 70', offset {DATA_AT}: 24 bytes of elements, and 23 are left: truncated?",
        lambda: GOOD[: DATA_AT + 31])
refused("cut before the second count",
        f"entry 'storage 80', offset {DATA_AT + 32}: the file ends before its elements: truncated?",
        lambda: GOOD[: DATA_AT + 32])
refused("cut by one byte", f"entry 'storage 80', offset {DATA_AT + 32}: 16 bytes of elements, and 15 are left: truncated?",
        lambda: GOOD[:-1])

# ---- the pickles before the object -----------------------------------------------------------------------------------

row("another protocol", "the stream's protocol version is not 1001", version=START + integer(1002) + b".")
row("a version that is a list", "the stream's protocol version is not 1001", version=START + EMPTY_LIST + b".")
row("facts that are no dict", "entry 'sys_info': it is a list; a dict was expected", info=START + EMPTY_LIST + b".")
row("facts that name a class", "entry 'sys_info', offset 23: opcode GLOBAL: names os.system: nothing but tensors, numbers, "
    "text and containers is read from a checkpoint, and nothing in it is executed; where a whole model was saved, save "
    "model.state_dict() instead", info=START + name("os", "system") + b".")
row("a storage in the version", f"entry 'object', offset <N>: opcode BINPERSID: {NO_STORAGE_ID}",
    what=START + text("70") + b"Q.")

# ---- storages as the object names them -------------------------------------------------------------------------------


def named(title, message, of, size=(6,), **parts):
    row(title, f"entry 'object', offset <N>: {message}", what=START + dictionary((text("w"), plain(of, size))) + b".",
        **parts)


named("a whole module", "opcode BINPERSID: a whole module was saved, with its source code; save model.state_dict() instead",
      storage(head="module"))
named("an id of five items", f"opcode BINPERSID: {NO_STORAGE_ID}", storage(view=b""))
named("an id of seven items", f"opcode BINPERSID: {NO_STORAGE_ID}", storage(view=NONE + NONE))
named("a negative number of elements", "opcode BINPERSID: a storage of -1 elements", storage(n=-1))
named("more elements than the file has bytes", "opcode BINPERSID: a storage of 1000000 float32 elements in a file of <N> "
      "bytes: truncated?", storage(n=10**6))
named("elements whose bytes wrap around", f"opcode BINPERSID: a storage of {2**62 + 6} float32 elements in a file of <N> "
      "bytes: truncated?", storage(n=2**62 + 6))
named("a key with a NUL", "opcode BINPERSID: the storage key '7\\x000' holds a NUL", storage(key="7\0000"))
named("a tensor beyond its storage", "opcode REDUCE: torch._utils._rebuild_tensor_v2: a tensor of shape (7,) with strides "
      "(1,) at offset 0 reaches element 6 of storage '70', which has 6", storage(), size=(7,))
row("one storage of two types", "entry 'object', offset <N>: opcode BINPERSID: storage '70' of 3 float64 elements was 6 "
    "float32 elements before", what=START + dictionary((text("w"), plain(storage(), (6,))),
                                                       (text("v"), plain(storage("DoubleStorage", "70", 3), (3,)))) + b".")
VIEW = "opcode BINPERSID: a view other than (key, offset, elements)"
named("a view that is a list", VIEW, storage(view=EMPTY_LIST))
named("a view of two items", VIEW, storage(view=items(text("71"), integer(0))))
named("a view before its storage", VIEW, storage(view=items(text("71"), integer(-1), integer(2))))
named("a view beyond its storage", "opcode BINPERSID: a view of elements 4 to 7 of a storage of 6",
      storage(view=items(text("71"), integer(4), integer(3))))
named("a view whose end wraps around", VIEW, storage(view=items(text("71"), integer(2**63 - 1), integer(2))))
row("a view that changes", "entry 'object', offset <N>: opcode BINPERSID: a view that was another before",
    what=START + dictionary((text("w"), plain(storage(view=items(text("71"), integer(0), integer(2))), (2,))),
                            (text("v"), plain(storage(view=items(text("71"), integer(1), integer(2))), (2,)))) + b".")

# ---- keys and elements -----------------------------------------------------------------------------------------------

row("a list of keys that is a dict", "the list of storage keys is a dict", names=START + EMPTY_DICT + b".")
row("a key that is a number", "the list of keys holds an int", names=START + EMPTY_LIST + integer(70) + b"a.")
row("a key of nobody", f"entry 'storage 71', offset {DATA_AT}: it is in the list of keys, but the object does not name it",
    names=keys("71", "80"))
row("a key twice", f"entry 'storage 70', offset {DATA_AT + 32}: the list of keys names it twice", names=keys("70", "70"))
row("a storage that is not in the list", "entry 'storage 80': the list of storage keys does not have it",
    names=keys("70"), data=counted(FLOATS, 6))
row("no keys", "entry 'storage 70': the list of storage keys does not have it", names=START + EMPTY_LIST + b".", data=b"")
row("another number of elements", f"entry 'storage 70', offset {DATA_AT}: 7 elements, where the object names 6",
    data=counted(FLOATS, 7) + counted(LONGS, 2))
row("a negative count", f"entry 'storage 70', offset {DATA_AT}: -6 elements, where the object names 6",
    data=counted(FLOATS, -6) + counted(LONGS, 2))
row("a big-endian count", f"entry 'storage 70', offset {DATA_AT}: 432345564227567616 elements, where the object names 6",
    data=struct.pack(">q", 6) + FLOATS)
row("bytes behind the last storage", f"offset {len(GOOD)}: 3 bytes after the last storage", data=DATA + b"abc")
row("a key with an escape sequence", f"entry 'storage \\x1b[2J', offset <N>: it is in the list of keys, but the object does "
    "not name it", names=keys("\x1b[2J", "80"))

# ---- size ------------------------------------------------------------------------------------------------------------

refused("1 TiB of nothing behind the magic number", "entry 'protocol version', offset 15: byte 0x00 is not a pickle opcode",
        sparse(TIB, (0, MAGIC)), special=True)
refused("1 TiB of nothing as elements", f"offset {len(GOOD)}: {TIB - len(GOOD)} bytes after the last storage",
        sparse(TIB, (0, GOOD)), special=True)
refused("an object of 100,000 nested lists", "the file holds a list; a state_dict was expected",
        lambda: stream(what=START + EMPTY_LIST * 100000 + b"a" * 99999 + b".", names=START + EMPTY_LIST + b".", data=b""))
refused("100,000 storages, none in the list", "entry 'storage 0': the list of storage keys does not have it",
        lambda: stream(what=START + EMPTY_DICT + b"".join(
            text(str(i)) + call(REBUILD, storage(key=str(i), n=0), integer(0), integers((0,)), integers((1,)), b"\x89", NONE)
            + b"s" for i in range(20000)) + b".", names=START + EMPTY_LIST + b".", data=b""))
MAX = 1 << 24
TOO_LONG = f"a pickle of more than {MAX} bytes, the most that are taken"
refused("an object beyond 16 MiB", f"entry 'object', offset {OBJECT_AT + MAX}: {TOO_LONG}",
        lambda: stream(what=START + text("a" * (MAX - 7)) + b"."))
refused("a text that reaches beyond 16 MiB", f"entry 'object', offset {OBJECT_AT + 2}: opcode BINUNICODE: {TOO_LONG}",
        lambda: stream(what=START + text("a" * MAX) + b"."))
refused("a name that reaches beyond 16 MiB", f"entry 'object', offset {OBJECT_AT + MAX - 3}: opcode GLOBAL: {TOO_LONG}",
        lambda: stream(what=START + text("a" * (MAX - 10)) + name("torch", "FloatStorage") + b"."))

# ---- what the machine was --------------------------------------------------------------------------------------------


def said(title, message, key, value):
    row(title, f"entry 'sys_info': {message}", info=START + dictionary((text(key), value)) + b".")


row("a version that is a text", "the stream's protocol version is not 1001", version=START + text("1001") + b".")
said("facts of another version", "its protocol_version is 1000; 1001 is known", "protocol_version", integer(1000))
said("facts whose version is a list", "its protocol_version is a list; an int was expected", "protocol_version", EMPTY_LIST)
said("facts whose byte order is a number", "its little_endian is an int; a bool was expected", "little_endian", integer(1))
accepted("counts of a big-endian machine", lambda: stream(
    info=START + dictionary((text("little_endian"), b"\x89")) + b".",
    data=struct.pack(">q", 6) + FLOATS + struct.pack(">q", 2) + LONGS))
row("another count of a big-endian machine", f"entry 'storage 70', offset <N>: 7 elements, where the object names 6",
    info=START + dictionary((text("little_endian"), b"\x89")) + b".", data=struct.pack(">q", 7) + FLOATS)

# ---- one key for two things ------------------------------------------------------------------------------------------


def two(title, message, first, second):
    row(title, f"entry 'object', offset <N>: opcode BINPERSID: {message}",
        what=START + EMPTY_LIST + MARK + first + second + b"e.")


def part(key, of="70"):
    return storage(key=of, view=items(text(key), integer(1), integer(3)))


BOTH = "the key '{}' stands for a whole storage and for a part of one"
two("one storage of two sizes", "storage '70' of 5 float32 elements was 6 float32 elements before", storage(),
    storage(n=5))
two("a part with its whole's key", BOTH.format("70"), storage(), part("70"))
two("a part with another whole's key", BOTH.format("80"), storage(key="80"), part("80"))
two("a whole with a part's key", BOTH.format("v"), part("v"), storage(key="v"))
two("a part of a part", BOTH.format("v"), part("v"), part("x", of="v"))
row("storages in another order", f"entry 'storage 80', offset {DATA_AT}: 6 elements, where the object names 2",
    names=keys("80", "70"))


# ---- a limit is called one whoever meets it --------------------------------------------------------------------------


def storages(n, before):
    """Storages that nothing is made of; `before` shifts which of the reader's allocations is the first too many."""
    shared = (b"X\x07\0\0\0storageq\1", b"ctorch\nFloatStorage\nq\2", b"X\3\0\0\0cpuq\3")
    ids = (b"(h\1h\2" + b"X" + struct.pack("<I", len(b"%d" % i)) + b"%d" % i + b"h\3K\0NtQ" for i in range(n))
    return MAGIC + VERSION + INFO + START + b"]q\0(" + b"".join(shared) + b"K\0" * before + b"".join(ids) + b"e."


for shift, offset in ((3, 1589077), (4, 1589079)):
    refused(f"very many storages behind {shift} numbers", f"entry 'object', offset {offset}: opcode BINPERSID: what it "
            f"describes needs more than {27814838 + 2 * shift} bytes of memory, the limit here",
            lambda shift=shift: storages(120000, shift))
