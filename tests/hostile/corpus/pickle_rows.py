"""Pickles in otherwise good archives: code, broken language, senseless values, and bombs."""
import struct

from corpus.pickles import (
    EMPTY_DICT, EMPTY_LIST, EMPTY_TUPLE, FALSE, GOOD, HOOKS, MARK, NONE, START, TRUE, call, dictionary, integer,
    integers, items, name, storage, tensor, text, whole,
)
from corpus.rows import Rows
from corpus.zips import of_pickle

ROWS = Rows()
MAX = 1 << 24  # the longest pickle that is taken


def refused(title, message, pickle):
    """message: after "entry 'm/data.pkl', "."""
    ROWS.refused(title, f"entry 'm/data.pkl', {message}", of_pickle(pickle))


def without_state(title, message, pickle):
    """A sound pickle that holds no state_dict."""
    ROWS.refused(title, message, of_pickle(pickle))


def accepted(title, pickle, said=""):
    ROWS.accepted(title, of_pickle(pickle), said)


def value(title, message, pickled, at=START + EMPTY_DICT + MARK + text("w")):
    """A senseless tensor: the message is about the opcode that makes it, its last."""
    refused(title, f"offset {len(at) + len(pickled) - 1}: opcode REDUCE: torch._utils._rebuild_tensor_v2: {message}",
            at + pickled + b"u.")


# ---- code is not run -------------------------------------------------------------------------------------------------

NOTHING_ELSE = ("nothing but tensors, numbers, text and containers is read from a checkpoint, and nothing in it is "
                "executed; where a whole model was saved, save model.state_dict() instead")


def code(title, called, pickle):
    refused(title, f"offset 2: opcode GLOBAL: names {called}: {NOTHING_ELSE}", START + pickle)


def opcode(title, offset, which, pickle):
    refused(title, f"offset {offset}: opcode {which} is not one that checkpoints are written with", START + pickle)


code("os.system", "os.system", name("os", "system") + text("echo pwned") + b"\x85R.")
code("eval", "builtins.eval", name("builtins", "eval") + text("1") + b"\x85R.")
code("getattr, which reaches everything", "__builtin__.getattr", name("__builtin__", "getattr") + b")R.")
code("torch.load of another file", "torch.load", name("torch", "load") + text("/etc/passwd") + b"\x85R.")
code("a dotted name beside an allowed one", "torch._utils._rebuild_tensor_v2.__globals__",
     name("torch._utils", "_rebuild_tensor_v2.__globals__") + b".")
code("the runpy that scanners forget", "runpy._run_code", name("runpy", "_run_code") + b")R.")
code("a name with an escape sequence", "\\x1b]0;owned\\x07.x", name("\x1b]0;owned\x07", "x") + b".")
code("a class of a whole saved model", "torchvision.models.alexnet.AlexNet",
     name("torchvision.models.alexnet", "AlexNet") + b")\x81}b.")
opcode("INST, which scanners overlook", 3, "INST", b"(ios\nsystem\n.")
opcode("OBJ", 3, "OBJ", b"(o.")
opcode("STACK_GLOBAL", 2 + len(text("os") + text("system")), "STACK_GLOBAL", text("os") + text("system") + b"\x93.")
opcode("an extension registry's code", 2, "EXT1", b"\x82\x01.")
opcode("a persistent id as text", 2, "PERSID", b"Pid\n.")
opcode("POP, which hides what was done before", 3, "POP", b"N0.")
opcode("MEMOIZE of protocol 4", 3, "MEMOIZE", b"N\x94.")
opcode("FRAME of protocol 4 with 2^63 bytes", 2, "FRAME", b"\x95" + struct.pack("<Q", 1 << 63) + b".")
opcode("BINUNICODE8 with 2^63 bytes", 2, "BINUNICODE8", b"\x8d" + struct.pack("<Q", 1 << 63) + b".")
refused("protocol 4", "offset 0: opcode PROTO: pickle protocol 4; torch.save writes protocol 2 unless told otherwise",
        b"\x80\x04}.")
refused("a call of text", f"offset {2 + len(text('f')) + 1}: opcode REDUCE: calls a str", START + text("f") + b")R.")
refused("a call of an element type", f"offset {2 + len(name('torch', 'float32')) + 1}: opcode REDUCE: calls float32",
        START + name("torch", "float32") + b")R.")
refused("a call of a storage class",
        f"offset {2 + len(name('torch', 'FloatStorage')) + 1}: opcode REDUCE: calls FloatStorage",
        START + name("torch", "FloatStorage") + b")R.")


# ---- broken language -------------------------------------------------------------------------------------------------


refused("a pickle of nothing", "offset 0: the pickle ends without a STOP: truncated?", b"")
refused("text instead of a pickle", "offset 0: opcode BINGET: nothing was put at memo index 101", b"hello, world")
refused("a byte that is no opcode", "offset 2: byte 0xff is not a pickle opcode", START + b"\xff.")
for at, cut_message in {
    1: "offset 0: opcode PROTO: takes 1 bytes, 0 are left",
    6: "offset 4: opcode BINUNICODE: takes 4 bytes, 1 are left",
    40: "offset 10: opcode GLOBAL: no end of line within 16 bytes",
    94: "offset 94: the pickle ends without a STOP: truncated?",
    len(GOOD) - 1: f"offset {len(GOOD) - 1}: the pickle ends without a STOP: truncated?",
}.items():
    refused(f"cut after {at} bytes", cut_message, GOOD[:at])
refused("something after the end", f"offset {len(GOOD)}: 4 bytes after the pickle's end", GOOD + b"evil")
refused("a text of 4 GiB", "offset 2: opcode BINUNICODE: takes 4294967295 bytes, 10 are left",
        START + text("x" * 9, 0xFFFFFFFF) + b".")
refused("a text one byte longer than what is left", "offset 2: opcode BINUNICODE: takes 6 bytes, 5 are left",
        START + text("abcd", 6) + b".")
refused("a text that is not UTF-8", "offset 2: opcode BINUNICODE: the string is not UTF-8",
        START + text(b"\xed\xa0\x80") + b".")
refused("an integer of 255 bytes that are not there", "offset 2: opcode LONG1: takes 255 bytes, 3 are left",
        START + b"\x8a\xff\x01\x02.")
refused("a name without an end", "offset 2: opcode GLOBAL: no end of line within 257 bytes",
        START + b"c" + b"x" * 5000 + b"\nx\n.")
refused("a stack of nothing", "offset 2: opcode TUPLE2: needs 2 values on the stack, there are 0", START + b"\x86.")
refused("a TUPLE without a MARK", "offset 3: opcode TUPLE: needs a MARK on the stack, there is none", START + b"Nt.")
refused("values from below a MARK", "offset 6: opcode SETITEM: needs 3 values on the stack, there are 1",
        START + b"}N(Ns.")
refused("a MARK left over", "offset 4: opcode STOP: 1 MARKs are left on the stack", START + b"N(.")
refused("two results", "offset 4: opcode STOP: 2 values on the stack, 1 is right", START + b"NN.")
refused("a memo entry that was never put", "offset 2: opcode LONG_BINGET: nothing was put at memo index 4294967295",
        START + b"j\xff\xff\xff\xff.")
refused("memo index 2^32 - 1 in a small pickle",
        "offset 3: opcode LONG_BINPUT: memo index 4294967295 after 8 bytes", START + b"Nr\xff\xff\xff\xff.")
refused("a key without a value", "offset 5: opcode SETITEMS: a key without a value", START + b"}(Nu.")
refused("a dict as a key", "offset 5: opcode SETITEM: a dict as a key", START + b"}}Ns.")
refused("items of a text", f"offset {2 + len(text('a')) + 2}: opcode SETITEM: sets items of a str",
        START + text("a") + b"NNs.")


# ---- tensors that are none -------------------------------------------------------------------------------------------

refused("items of a tensor",
        f"offset {2 + len(tensor()) + len(integer(0) + integer(7))}: opcode SETITEM: sets items of a tensor",
        START + tensor() + integer(0) + integer(7) + b"s.")
refused("many items of a tensor",
        f"offset {2 + len(tensor()) + 1 + len(integer(0) + integer(7))}: opcode SETITEMS: sets items of a tensor",
        START + tensor() + MARK + integer(0) + integer(7) + b"u.")
refused("a tensor's state", f"offset {2 + len(tensor()) + 1}: opcode BUILD: changes a tensor",
        START + tensor() + b"}b.")
refused("a storage's state", f"offset {2 + len(storage()) + 1}: opcode BUILD: changes a storage",
        START + storage() + b"}b.")
value("an offset of 2^63 - 1", "a tensor of shape (2, 3) with strides (3, 1) overflows", tensor(offset=2**63 - 1))
value("an offset just beyond", "a tensor of shape (2, 3) with strides (3, 1) at offset 1 reaches element 6 of storage "
      "'0', which has 6", tensor(offset=1))
value("a negative offset", "its offset is negative, -1", tensor(offset=-1))
value("a size whose product wraps to 0", "a tensor of shape (4294967296, 4294967296) with strides (0, 0) overflows",
      tensor(size=(2**32, 2**32), stride=(0, 0)))
value("strides whose reach wraps around", "a tensor of shape (3, 3) with strides (4611686018427387904, 1) overflows",
      tensor(size=(3, 3), stride=(2**62, 1)))
value("a stride that reaches one element too far", "a tensor of shape (2, 3) with strides (4, 1) at offset 0 reaches "
      "element 6 of storage '0', which has 6", tensor(stride=(4, 1)))
value("a negative stride", "its stride has a negative entry, -1", tensor(stride=(-1, 1)))
value("a negative size", "its size has a negative entry, -2", tensor(size=(-2, -3)))
value("a size of 9 dimensions", "a tensor of 9 dimensions; at most 8 are taken",
      tensor(size=(1,) * 9, stride=(1,) * 9))
value("fewer strides than sizes", "a size of 2 dimensions with a stride of 1", tensor(stride=(1,)))
value("a size of NaN", "its size is a float; a tuple of int was expected",
      call(name("torch._utils", "_rebuild_tensor_v2"), storage(), integer(0), items(b"G\x7f\xf8" + bytes(6)),
           items(integer(1)), FALSE, HOOKS))
value("a size beyond 64 bits", "its size is an int; a tuple of int was expected", tensor(size=(2**64,), stride=(1,)))
value("a size of a list", "its size is a list; a tuple was expected",
      call(name("torch._utils", "_rebuild_tensor_v2"), storage(), integer(0), EMPTY_LIST, EMPTY_TUPLE, FALSE, HOOKS))
value("a storage that is text", "its storage is a str; a storage was expected", tensor(of=text("0")))
value("five arguments", "called with 2 arguments; 6 or 7 were expected",
      call(name("torch._utils", "_rebuild_tensor_v2"), storage(), integer(0)))
value("a set negative bit", "a tensor stored with its neg bit set; save tensor.clone()",
      tensor(more=dictionary((text("neg"), TRUE))))


def id_refused(title, message, persistent):
    at = START + EMPTY_DICT + MARK + text("w") + name("torch._utils", "_rebuild_tensor_v2") + MARK
    refused(title, f"offset {len(at) + len(persistent) - 1}: opcode BINPERSID: {message}", at + persistent)


NO_ID = "a persistent id other than ('storage', storage class, key, location, elements)"
id_refused("a persistent id of text", NO_ID, text("0") + b"Q")
id_refused("a persistent id of six items", NO_ID, storage(more=NONE))
id_refused("a storage of a tensor class", NO_ID,
           items(text("storage"), name("torch", "Size"), text("0"), text("cpu"), integer(6)) + b"Q")
id_refused("a storage without a record", "storage '9' has no record data/9 in the archive", storage(key="9"))
id_refused("a storage key that climbs", "storage '../data.pkl' has no record data/../data.pkl in the archive",
           storage(key="../data.pkl"))
id_refused("a storage key with an escape sequence", "storage '\\x1b[8m' has no record data/\\x1b[8m in the archive",
           storage(key="\x1b[8m"))
id_refused("a storage key of 100,000 letters",
           "storage '" + "k" * 96 + "...' has no record data/" + "k" * 96 + "... in the archive",
           storage(key="k" * 100000))
id_refused("a storage of 2^62 elements", "storage '0' of 4611686018427387904 float32 elements (4 bytes each) does not "
           "fit its record of 24 bytes", storage(n=2**62))
id_refused("a storage whose bytes wrap to the record's",
           f"storage '0' of {2**62 + 6} float32 elements (4 bytes each) does not fit its record of 24 bytes",
           storage(n=2**62 + 6))
id_refused("a storage of fewer elements than none", "a storage of -6 elements", storage(n=-6))
refused("one storage as two types",
        f"offset {2 + len(storage()) + len(storage('IntStorage'))}: opcode BINPERSID: storage '0' of 6 int32 "
        "elements was 6 float32 elements before",
        START + MARK + storage() + storage("IntStorage") + b"t.")


# ---- no state_dict ---------------------------------------------------------------------------------------------------

without_state("a number", "the file holds an int; a state_dict was expected", START + integer(7) + b".")
without_state("a lone tensor", "the file holds a tensor; a state_dict was expected", START + tensor() + b".")
without_state("an empty dict", "the file is an empty dict; tensors were expected in it", START + b"}.")
without_state("no tensors, and an escape sequence", "no tensors among '\\x1b[31m' (None); a state_dict was expected, "
              "by itself, or under 'state_dict' or 'model'", whole((text("\x1b[31m"), NONE)))
without_state("a key that is a number", "the state_dict has an int as a key; names were expected",
              whole((integer(1), tensor())))
without_state("a key with a NUL", "the key 'features\\x00.0' holds a NUL", whole((text("features\0.0"), tensor())))
without_state("a key twice", "the key 'w' occurs twice", whole((text("w"), tensor()), (text("w"), tensor())))
without_state("a state_dict that is its own state_dict", "no tensors among 'state_dict' (dict); a state_dict was "
              "expected, by itself, or under 'state_dict' or 'model'",
              START + b"}q\0" + text("state_dict") + b"h\0s.")


# ---- strange, but legal ----------------------------------------------------------------------------------------------

accepted("a dict that holds itself beside its tensors",
         START + b"}q\0(" + text("w") + tensor() + text("self") + b"h\0u.",
         "anx-convert: left out: self, which is no tensor but a dict\n")
accepted("a list that holds itself a hundred times",
         START + b"}(" + text("w") + tensor() + text("x") + b"]q\0(" + b"h\0" * 100 + b"e" + b"u.",
         "anx-convert: left out: x, which is no tensor but a list\n")
accepted("100,000 tuples in each other", START + b"}(" + text("w") + tensor() + text("deep") + b"N" + b"\x85" * 100000 +
         b"u.", "anx-convert: left out: deep, which is no tensor but a tuple\n")
accepted("100,000 lists in each other",
         START + b"}(" + text("w") + tensor() + text("deep") + b"]" * 100001 + b"a" * 100000 + b"u.",
         "anx-convert: left out: deep, which is no tensor but a list\n")
accepted("2^100 leaves in lists that share lists",
         START + b"}(" + text("w") + tensor() + text("x") + b"(]q\0" +
         b"".join(b"]q" + bytes([i]) + (b"(h" + bytes([i - 1]) + b"h" + bytes([i - 1]) + b"e") for i in range(1, 101)) +
         b"t" + b"u.", "anx-convert: left out: x, which is no tensor but a tuple\n")
accepted("a tensor of no elements of a huge shape",
         whole((text("w"), tensor()), (text("none"), tensor(size=(2**40, 0), stride=(1, 1)))))
accepted("a name with an escape sequence", whole((text("w"), tensor()), (text("\x1b[31m"), NONE)),
         "anx-convert: left out: \\x1b[31m, which is no tensor but None\n")


# ---- bombs: little in the file, much in memory or time ---------------------------------------------------------------

TOO_MUCH = "what it describes needs more than <N> bytes of memory, the limit here"


def bomb(title, opcode_, pickle):
    """Refused where the memory that it may take is used up."""
    refused(title, f"offset <N>: opcode {opcode_}: {TOO_MUCH}", pickle)


def full_of(opcode_):
    return lambda: START + opcode_ * ((MAX - 3) // len(opcode_)) + b"."


bomb("16 MiB of None", "NONE", full_of(b"N"))
bomb("16 MiB of MARKs", "MARK", full_of(b"("))
bomb("16 MiB of empty lists", "EMPTY_LIST", full_of(b"]"))
bomb("16 MiB of empty dicts", "EMPTY_DICT", full_of(b"}"))
bomb("16 MiB of empty tuples", "EMPTY_TUPLE", full_of(b")"))
bomb("16 MiB of small integers", "BININT1", full_of(b"K\x01"))
bomb("16 MiB of tuples in each other", "TUPLE1", lambda: START + b"N" + b"\x85" * (MAX - 4) + b".")
bomb("16 MiB of copies of a memo entry", "BINGET", lambda: START + b"Nq\0" + b"h\0" * ((MAX - 6) // 2) + b".")
bomb("16 MiB of OrderedDicts", "REDUCE: collections.OrderedDict",
     lambda: START + HOOKS[:-2] + b"q\0" + b"h\0)R" * ((MAX - 64) // 4) + b".")
refused("the memo's last index in 16 MiB", "offset 3: opcode LONG_BINPUT: memo index 16777215 after 8 bytes",
        lambda: START + b"Nr" + struct.pack("<I", MAX - 1) + b"]" * (MAX - 9) + b".")
bomb("a text of 15 MiB copied 100,000 times", "REDUCE: _codecs.encode",
     lambda: START + b"](" + name("_codecs", "encode") + b"q\1" + text("x" * (15 << 20)) + b"q\2" + text("latin1") +
     b"\x86q\3R" + b"h\1h\3R" * 100000 + b"e.")
bomb("100,000 pairs made an OrderedDict 100,000 times", "REDUCE: collections.OrderedDict",
     lambda: START + name("collections", "OrderedDict") + b"q\1(" + text("k") + b"N\x86q\2](" + b"h\2" * 100000 +
     b"e\x85q\3" + b"h\1h\3R" * 100000 + b"t.")


def metadata_bomb():
    pickle = START + MARK + name("torch._utils", "_rebuild_tensor_v2") + b"q\1" + MARK
    pickle += storage() + integer(0) + integers((2, 3)) + integers((3, 1)) + FALSE + HOOKS
    pickle += EMPTY_DICT + MARK + text("k") + b"q\3" + NONE + b"q\4" + b"h\3h\4" * 200000 + b"u"
    return pickle + b"tq\2R" + b"h\1h\2R" * 100000 + b"t."


refused("200,000 items of metadata to be searched 100,000 times",
        "offset <N>: opcode REDUCE: torch._utils._rebuild_tensor_v2: metadata of 200001 items; at most 16 are taken",
        metadata_bomb)


def many_tensors(n):
    """One tensor under n names."""
    return lambda: (START + EMPTY_DICT + MARK + text("w") + tensor() + b"q\1" +
                    b"".join(text(f"{i:x}") + b"h\1" for i in range(n - 1)) + b"u.")


without_state("70,000 tensors", "the file holds 70000 tensors; at most 65536 are taken", many_tensors(70000))
accepted("as many tensors as are taken", many_tensors(65536))
without_state("300,000 tensors that have one name", "the file holds 300000 tensors; at most 65536 are taken",
              lambda: START + EMPTY_DICT + MARK + text("w") + b"q\0" + tensor() + b"q\1" + b"h\0h\1" * 299999 + b"u.")
without_state("200,000 keys of 1,000 letters that are one", TOO_MUCH,
              lambda: START + EMPTY_DICT + MARK + text("w") + tensor() + text("k" * 1000) + b"q\1N" + b"q\2" +
              b"h\1h\2" * 200000 + b"u.")
