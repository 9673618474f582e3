"""Hostile files in the tar archives of PyTorch 0.1 (torch/serialization.py, legacy_load)."""
import struct

from .pickles import EMPTY_DICT, EMPTY_LIST, FALSE, NONE, START, dictionary, integer, items, name, text
from .rows import TIB, Rows, sparse

ROWS = Rows()
refused, accepted = ROWS.refused, ROWS.accepted

FLOATS = struct.pack("<6f", *range(6))
LONGS = struct.pack("<2q", 10, 11)


def header(member, size, kind=b"0", size_field=None, magic=b"ustar\x0000", prefix=b""):
    block = bytearray(512)
    block[0 : len(member)] = member.encode() if isinstance(member, str) else member
    block[100:108], block[108:116], block[116:124] = b"0000644\0", b"0000000\0", b"0000000\0"
    block[124:136] = b"%011o\0" % size if size_field is None else size_field
    block[136:148] = b"00000000000\0"
    block[156:157] = kind
    block[257:265] = magic
    block[345 : 345 + len(prefix)] = prefix
    block[148:156] = b" " * 8
    block[148:156] = b"%06o\0 " % sum(block)
    return bytes(block)


def member(title, data, **fields):
    return header(title, len(data), **fields) + data + bytes(-len(data) % 512)


def number(n):
    return START + integer(n) + b"."


def triple(first, second, kind):
    return START + integer(first) + second + name("torch", kind) + b"\x87."


def storage(key=1, kind="FloatStorage", data=FLOATS, n=6, location="cpu"):
    return triple(key, text(location), kind) + struct.pack("<q", n) + data


def layout(shape, stride, offset=0, rank=None):
    return struct.pack(f"<ii{len(shape) + len(stride) + 1}q", len(shape) if rank is None else rank, 0, *shape, *stride,
                       offset)


def tensor(key=11, of=1, shape=(2, 3), stride=(3, 1), offset=0, kind="FloatTensor", rank=None):
    return triple(key, integer(of), kind) + layout(shape, stride, offset, rank)


def storages(*parts, n=None, views=START + EMPTY_LIST + b"."):
    return number(len(parts) if n is None else n) + b"".join(parts) + views


def tensors(*parts, n=None):
    return number(len(parts) if n is None else n) + b"".join(parts)


STORAGES = storages(storage(), storage(2, "LongStorage", LONGS, 2))
TENSORS = tensors(tensor(), tensor(12, 2, (2,), (1,), kind="LongTensor"))
PICKLE = START + dictionary((text("w"), text("11") + b"Q"), (text("n"), text("12") + b"Q")) + b"."


def archive(pickle=PICKLE, tensors_=TENSORS, storages_=STORAGES, end=bytes(1024), first=b"", last=b"",
            info=START + EMPTY_DICT + b".", **fields):
    """first, last: what comes before all members and before the last of them."""
    return (first + member("sys_info", info, **fields) + member("pickle", pickle, **fields)
            + member("tensors", tensors_, **fields) + last + member("storages", storages_, **fields) + end)


GOOD = archive()
PICKLE_AT = 1024
TENSORS_AT = PICKLE_AT + 1024
STORAGES_AT = TENSORS_AT + 1024


def row(title, message, **parts):
    refused(title, message, lambda: archive(**parts))


accepted("a good file", lambda: GOOD)
accepted("pax headers before members", lambda: archive(first=member("././@PaxHeader", b"28 mtime=1480000000.2500000\n",
                                                                    kind=b"x")))
accepted("a member of another name", lambda: archive(first=member("readme", b"hello")))
refused("a folder of a member's name", "entry 'tensors', offset 0: it is not a file", lambda: archive(first=header("tensors", 0, kind=b"5")))

# ---- the archive -----------------------------------------------------------------------------------------------------

MISSING = "no member '{}' in the tar archive: not a checkpoint of PyTorch 0.1, or truncated"
DAMAGED = "a tar header whose checksum is wrong: damaged or truncated?"
refused("a tar archive of something else", MISSING.format("pickle"), lambda: member("a.txt", b"hello") + bytes(1024))
refused("no pickle", MISSING.format("pickle"), lambda: member("sys_info", b"") + member("tensors", TENSORS)
        + member("storages", STORAGES) + bytes(1024))
refused("no tensors", MISSING.format("tensors"), lambda: member("pickle", PICKLE) + member("storages", STORAGES)
        + bytes(1024))
refused("no storages", MISSING.format("storages"), lambda: member("pickle", PICKLE) + member("tensors", TENSORS)
        + bytes(1024))
refused("cut in the first header", f"offset 0: {DAMAGED}", lambda: GOOD[:511])
refused("cut behind the first header", "entry 'sys_info', offset 0: 4 bytes, and 0 are left in the file: truncated?", lambda: GOOD[:512])
refused("cut in the pickle", f"entry 'pickle', offset {PICKLE_AT}: <N> bytes, and 10 are left in the file: truncated?",
        lambda: GOOD[: PICKLE_AT + 512 + 10])
refused("cut in the storages", f"entry 'storages', offset {STORAGES_AT}: <N> bytes, and 20 are left in the file: truncated?",
        lambda: GOOD[: STORAGES_AT + 512 + 20])
refused("a header with a wrong checksum", f"offset {PICKLE_AT}: {DAMAGED}",
        lambda: GOOD[: PICKLE_AT + 5] + b"x" + GOOD[PICKLE_AT + 6 :])
refused("a size that is no number", f"entry 'pickle', offset 0: its size is no number",
        lambda: header("pickle", 0, size_field=b"123456789\0\0x") + GOOD)
refused("a size of spaces", f"entry 'pickle', offset 0: its size is no number",
        lambda: header("pickle", 0, size_field=b" " * 12) + GOOD)
refused("an octal size of nearly 2^36", f"entry 'pickle', offset 0: {8**12 - 1} bytes, and <N> are left in the file: "
        "truncated?", lambda: header("pickle", 0, size_field=b"7" * 12) + GOOD)
refused("a size of 2^64 - 1", f"entry 'pickle', offset 0: {2**64 - 1} bytes, and <N> are left in the file: truncated?",
        lambda: header("pickle", 0, size_field=b"\x80\0\0\0" + b"\xff" * 8) + GOOD)
refused("a size of 2^88", "entry 'pickle', offset 0: its size is no number",
        lambda: header("pickle", 0, size_field=b"\x80" + b"\xff" * 11) + GOOD)
refused("a negative size", "entry 'pickle', offset 0: its size is no number",
        lambda: header("pickle", 0, size_field=b"\xff" * 12) + GOOD)
refused("a member twice", "entry 'pickle', offset <N>: it is there twice",
        lambda: archive(first=member("pickle", PICKLE)))
refused("a member twice, once with ./", "entry './pickle', offset <N>: it is there twice",
        lambda: member("pickle", PICKLE) + member("./pickle", PICKLE) + GOOD)
refused("a member's name with an escape sequence", "entry '\\x1b[2J', offset 0: its size is no number",
        lambda: header("\x1b[2J", 0, size_field=b"x" * 12) + GOOD)
refused("members that are links", "entry 'pickle', offset 0: it is not a file", lambda: header("pickle", 0, kind=b"1") + header("tensors", 0,
        kind=b"2") + header("storages", 0, kind=b"2") + bytes(1024))
refused("100,000 members", "more than 65536 members", lambda: header("a", 0) * 70000 + bytes(1024))
refused("1 TiB of nothing behind a header", "offset 512: something follows the end of the tar archive", sparse(TIB, (0, header("sys_info", 0))), special=True)

# ---- storages --------------------------------------------------------------------------------------------------------

NO_COUNT = "entry 'storages', offset 0: it does not begin with the number of its items"
row("no storages' pickle", "entry 'storages', offset 0: the pickle ends without a STOP: truncated?", storages_=b"")
row("a number of storages that is a list", NO_COUNT, storages_=START + EMPTY_LIST + b".")
row("-1 storages", NO_COUNT, storages_=storages(n=-1))
row("2^31 storages", NO_COUNT, storages_=storages(storage(), n=2**31))
row("more storages than there are", "entry 'storages', offset <N>: something other than (number, location, storage class)",
    storages_=storages(storage(), n=2))
row("a storage of two items", "entry 'storages', offset 5: something other than (number, location, storage class)",
    storages_=number(1) + START + items(integer(1), integer(2)) + b".")
row("a storage whose class is a tensor's", "entry 'storages', offset 5: a storage whose class is none",
    storages_=storages(storage(kind="FloatTensor")))
row("a storage whose class is os.system", "entry 'storages', offset <N>: opcode GLOBAL: names os.system: nothing but "
    "tensors, numbers, text and containers is read from a checkpoint, and nothing in it is executed; where a whole model "
    "was saved, save model.state_dict() instead",
    storages_=number(1) + START + integer(1) + text("cpu") + name("os", "system") + b"\x87.")
row("a storage that is called 2^80", "entry 'storages', offset 5: something other than (number, location, storage class)",
    storages_=number(1) + START + integer(2**80) + text("cpu") + name("torch", "FloatStorage") + b"\x87.")
row("-6 elements", "entry 'storages', offset <N>: a storage of -6 float32 elements, and <N> bytes are left: truncated?",
    storages_=storages(storage(n=-6)))
row("elements whose bytes wrap around", f"entry 'storages', offset <N>: a storage of {2**62 + 6} float32 elements, and <N> "
    "bytes are left: truncated?", storages_=storages(storage(n=2**62 + 6)))
row("two storages of one number", "entry 'storages', offset <N>: the number 1 is given twice",
    storages_=storages(storage(), storage()))
row("views that are a dict", "entry 'storages', offset <N>: the list of views is a dict",
    storages_=storages(storage(), storage(2, "LongStorage", LONGS, 2), views=START + EMPTY_DICT + b"."))


def viewed(*numbers):
    return storages(storage(), storage(2, "LongStorage", LONGS, 2),
                    views=START + EMPTY_LIST + items(*[integer(n) for n in numbers]) + b"a.")


VIEW = "a view other than (number, number of the whole, offset, elements)"
row("a view of three numbers", f"entry 'storages', offset <N>: {VIEW}", storages_=viewed(3, 1, 0))
row("a view before its storage", f"entry 'storages', offset <N>: {VIEW}", storages_=viewed(3, 1, -1, 2))
row("a view whose end wraps around", f"entry 'storages', offset <N>: {VIEW}", storages_=viewed(3, 1, 2**63 - 1, 2))
row("a view beyond its storage", "entry 'storages', offset <N>: a view of elements 4 to 7 of storage 1, which has fewer",
    storages_=viewed(3, 1, 4, 3))
row("a view of nothing", "entry 'storages', offset <N>: a view of elements 0 to 1 of storage 9, which there is not",
    storages_=viewed(3, 9, 0, 1))
row("a view of its storage's number", "entry 'storages', offset <N>: the number 1 is given twice",
    storages_=viewed(1, 1, 0, 1))
row("bytes behind the storages", "entry 'storages', offset <N>: 3 bytes after its end", storages_=STORAGES + b"abc")

# ---- tensors ---------------------------------------------------------------------------------------------------------


def laid(title, message, **fields):
    row(title, f"entry 'tensors', offset <N>: {message}", tensors_=tensors(tensor(**fields), n=1))


row("2^31 tensors", "entry 'tensors', offset 0: it does not begin with the number of its items",
    tensors_=tensors(tensor(), n=2**31))
laid("a tensor of a storage of nobody", "a tensor of a storage that there is not", of=9)
laid("9 dimensions", "a tensor of 9 dimensions; at most 8 are taken", rank=9)
laid("-1 dimensions", "a tensor of -1 dimensions; at most 8 are taken", rank=-1)
laid("2^31 - 1 dimensions", f"a tensor of {2**31 - 1} dimensions; at most 8 are taken", rank=2**31 - 1)
laid("more dimensions than numbers", "<N> bytes are missing at its end: truncated?", rank=8)
laid("a negative extent", "a negative extent or stride", shape=(-2, 3))
laid("a negative stride", "a negative extent or stride", stride=(-3, 1))
laid("a negative offset", "a negative offset", offset=-1)
laid("a tensor beyond its storage", "a tensor of shape (2, 3) with strides (3, 1) at offset 1 reaches element 6 of storage "
     "'1', which has 6", offset=1)
laid("strides whose product overflows", f"a tensor of shape (2, 3) with strides (3, {2**62}) overflows", stride=(3, 2**62))
laid("extents whose product overflows", f"a tensor of shape ({2**62}, 3) with strides (0, 0) overflows",
     shape=(2**62, 3), stride=(0, 0))
row("two tensors of one number", "entry 'tensors', offset <N>: the number 11 is given twice",
    tensors_=tensors(tensor(), tensor()))
row("bytes behind the tensors", "entry 'tensors', offset <N>: 3 bytes after its end", tensors_=TENSORS + b"abc")

# ---- the object ------------------------------------------------------------------------------------------------------

NO_ID = "opcode BINPERSID: a persistent id other than the number of a tensor or a storage"


def named(title, message, identity):
    row(title, f"entry 'pickle', offset <N>: {message}", pickle=START + dictionary((text("w"), identity + b"Q")) + b".")


named("a tensor of nobody", "opcode BINPERSID: number 99, which the archive has not", text("99"))
row("a storage as a tensor", "no tensors among 'w' (storage); a state_dict was expected, by itself, or under 'state_dict' or "
    "'model'", pickle=START + dictionary((text("w"), text("1") + b"Q")) + b".")
named("an id that is no number", NO_ID, text("eleven"))
named("an id of nothing", NO_ID, text(""))
named("an id beyond 64 bits", NO_ID, text("1" * 30))
named("a whole module", "opcode BINPERSID: a whole module was saved, with its source code; save model.state_dict() instead",
      items(text("module"), integer(11)))
row("bytes behind the object", "entry 'pickle', offset <N>: 1 bytes after its end", pickle=PICKLE + b"x")
row("an object that is a list", "the file holds a list; a state_dict was expected", pickle=START + EMPTY_LIST + b".")
row("an object of 100,000 nested lists", "the file holds a list; a state_dict was expected",
    pickle=START + EMPTY_LIST * 100000 + b"a" * 99999 + b".")

# ---- headers by which Python's tarfile, and so PyTorch, finds a member under another name or elsewhere --------------

accepted("a folder and a link", lambda: archive(first=header("a/", 0, kind=b"5") + header("b", 0, kind=b"2")))
accepted("contiguous files", lambda: archive(kind=b"7"))
accepted("files from before POSIX", lambda: archive(kind=b"\0", magic=bytes(8)))
for kind, what in (b"1", "a link"), (b"2", "a symbolic link"):
    refused(f"{what} instead of the storages", f"entry 'storages', offset {STORAGES_AT}: it is not a file",
            lambda kind=kind: archive(last=header("storages", 0, kind=kind)))
refused("cut in a later header", f"offset {STORAGES_AT}: {DAMAGED}", lambda: GOOD[: STORAGES_AT + 300])
refused("members in a folder by their prefix", MISSING.format("pickle"), lambda: archive(prefix=b"folder"))
refused("storages in a folder by their prefix", MISSING.format("storages"),
        lambda: GOOD[:STORAGES_AT] + member("storages", STORAGES, prefix=b"x") + bytes(1024))
for kind, title in (b"1", "a"), (b"5", "a/"), (b"\0", "a/"):
    refused(f"bytes of a member of type {kind}, which has none",
            f"entry '{title}', offset 0: a link, folder or device of 512 bytes",
            lambda kind=kind, title=title: header(title, 512, kind=kind) + GOOD)
refused("a GNU long name",
        f"entry '././@LongLink', offset {STORAGES_AT}: a member of type 'L', which PyTorch did not write",
        lambda: archive(last=member("././@LongLink", b"another\0", kind=b"L")))
refused("a sparse file", "entry 'storages', offset 0: a member of type 'S', which PyTorch did not write",
        lambda: member("storages", STORAGES, kind=b"S") + GOOD)


def pax(title, message, records, kind=b"x"):
    refused(title, f"entry '././@PaxHeader', offset {STORAGES_AT}: {message}",
            lambda: archive(last=member("././@PaxHeader", records, kind=kind)))


SETS = "it sets '{}' of the members after it, as PyTorch did not"
RECORDS = "its pax records are damaged"
pax("pax renames the next member", SETS.format("path"), b"16 path=another\n")
pax("pax renames all that follow", SETS.format("path"), b"16 path=another\n", b"g")
pax("pax gives another size behind a time", SETS.format("size"), b"11 mtime=1\n10 size=1\n")
pax("pax describes holes", SETS.format("GNU.sparse.size"), b"21 GNU.sparse.size=1\n")
pax("a pax record that is too long", RECORDS, b"99 mtime=1\n")
refused("a pax record that reaches beyond its header", f"entry '././@PaxHeader', offset 0: {RECORDS}",
        lambda: header("././@PaxHeader", 11, kind=b"x")
        + (b"99 mtime=1\n" + bytes(87) + b"\n16 path=another\n").ljust(512, b"\0") + GOOD)
pax("a pax record of length 0", RECORDS, b"0 mtime=1\n")
pax("a pax record without '='", RECORDS, b"9 mtime1\n")
pax("a pax record without a length", RECORDS, b"mtime=1\n")
pax("a pax record whose length overflows", RECORDS, b"18446744073709551627 mtime=1\n")
pax("a pax record that does not end its line", RECORDS, b"11 mtime=1,")
END = f"offset {len(GOOD) - 1024}: something follows the end of the tar archive"
refused("a second archive behind the first", END, lambda: GOOD + GOOD)
refused("a byte behind the end", END, lambda: GOOD + b"x")
REST = TIB - STORAGES_AT - 512
refused("storages of 1 TiB", "entry 'storages', offset 0: byte 0x00 is not a pickle opcode",
        sparse(TIB, (0, GOOD[:STORAGES_AT]),
               (STORAGES_AT, header("storages", 0, size_field=b"\x80" + REST.to_bytes(11, "big")))), special=True)

# ---- what the machine was --------------------------------------------------------------------------------------------


def said(title, message, key, value):
    row(title, f"entry 'sys_info', offset 0: {message}", info=START + dictionary((text(key), value)) + b".")


row("sys_info that is no pickle", "entry 'sys_info', offset 0: byte 0x00 is not a pickle opcode", info=bytes(4))
row("sys_info that is a list", "entry 'sys_info', offset 0: it is a list; a dict was expected",
    info=START + EMPTY_LIST + b".")
said("another protocol version", "its protocol_version is 1001; 1000 is known", "protocol_version", integer(1001))
said("a protocol version that is a text", "its protocol_version is a str; an int was expected", "protocol_version",
     text("1000"))
said("a byte order that is a number", "its little_endian is an int; a bool was expected", "little_endian", integer(1))
said("a big-endian machine", "written on a big-endian machine, where PyTorch 0.1 did not write all of it in one byte "
     "order; load it there and save its state_dict with a later PyTorch", "little_endian", FALSE)

# ---- numbers and classes ---------------------------------------------------------------------------------------------

accepted("the number 2^64 - 1", lambda: archive(
    pickle=START + dictionary((text("w"), text(str(2**64 - 1)) + b"Q")) + b".", tensors_=tensors(tensor(2**64 - 1))))
accepted("a tensor without a storage, as 0.1 had empty ones", lambda: archive(
    tensors_=tensors(triple(11, NONE, "FloatTensor") + layout((), ()), tensor(12, 2, (2,), (1,), kind="LongTensor"))))
for number_ in -1, 2**64:
    row(f"a storage that is called {number_}",
        "entry 'storages', offset 5: something other than (number, location, storage class)",
        storages_=storages(storage(number_)))
laid("a tensor of another type", "a tensor of int64 in a storage of float32", kind="LongTensor")
laid("a tensor whose class is a storage's", "a tensor whose class is none", kind="FloatStorage")
row("elements without a storage", "entry 'tensors', offset <N>: a tensor of shape (1,) with strides (1,) at offset 0 "
    "reaches element 0 of storage 'None', which has 0",
    tensors_=tensors(triple(11, NONE, "FloatTensor") + layout((1,), (1,))))
named("an id of 2^64", NO_ID, text(str(2**64)))
named("an id that is negative", NO_ID, text("-11"))
named("an id that is a bool", NO_ID, FALSE)

# ---- many small pickles ----------------------------------------------------------------------------------------------


def memo_bomb():
    """Each tensor's pickle puts something far into its memo."""
    far = [START + integer(20 + i) + b"r" + struct.pack("<I", 1 << 18) + integer(1) + name("torch", "FloatTensor")
           + b"\x87." + layout((2, 3), (3, 1)) for i in range(20000)]
    return archive(tensors_=tensors(*far))


refused("a far memo index in each of 20,000 tensors",
        "entry 'tensors', offset 10: opcode LONG_BINPUT: memo index 262144 after 9 bytes", memo_bomb)
