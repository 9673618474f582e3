"""anx bin files whose checksums are right and whose numbers are not, and the other way round."""
import struct
import zlib

from corpus.bins import F32, U8, Bin, changed
from corpus.rows import TIB, Rows, sparse

ROWS = Rows()
refused, accepted = ROWS.refused, ROWS.accepted

G = Bin()
N_BYTES = len(G.bytes())
RECORD = 64  # where the first tensor's record is
DAMAGED = "damaged; --accept-bad-crc reads it all the same"


def header(title, message, **fields):
    refused(title, message, changed(lambda b: b.header.update(fields)))


def record(title, message, **fields):
    refused(title, f"entry 'w', offset {RECORD}: {message}", changed(lambda b: b.records[0].update(fields)))


# ---- cut short -------------------------------------------------------------------------------------------------------

SIZE = f"the file has {{}} bytes, its header says {N_BYTES}"
for at in (8, 63):
    refused(f"cut after {at} bytes", f"{at} bytes; an anx bin file begins with a header of 64: truncated?",
            lambda at=at: G.bytes()[:at])
for where, at in (("behind the header", 64), ("within the table", 100), ("within the data", N_BYTES - 20),
                  ("one byte before the end", N_BYTES - 1)):
    refused(f"cut {where}", SIZE.format(at) + ": truncated?", lambda at=at: G.bytes()[:at])
refused("one byte appended", SIZE.format(N_BYTES + 1), lambda: G.bytes() + b"x")


# ---- checksums -------------------------------------------------------------------------------------------------------


def flipped(at):
    def make():
        data = bytearray(G.bytes())
        data[at] ^= 1
        return data

    return make


def crc(data):
    return f"{zlib.crc32(data):08x}"


def field(data, at):
    return f"{struct.unpack_from('<I', data, at)[0]:08x}"


GOOD = G.bytes()
DATA = G.header["data_offset"]
refused("one bit of the header", f"the CRC-32 of the header is {crc(flipped(17)()[:60])}, the file says "
        f"{field(GOOD, 60)}: {DAMAGED}", flipped(17))
refused("one bit of the table", f"the CRC-32 of the table is {crc(flipped(70)()[64:DATA])}, the file says "
        f"{field(GOOD, 56)}: {DAMAGED}", flipped(70))
refused("one bit of a tensor", f"entry 'w', offset {DATA}: the CRC-32 of its elements is "
        f"{crc(flipped(DATA + 5)()[DATA : DATA + 24])}, the file says {crc(bytes(24))}: {DAMAGED}", flipped(DATA + 5))
refused("one bit between tensors", f"entry 'n', offset {DATA + 30}: padding that is not zero", flipped(DATA + 30))


# ---- the header ------------------------------------------------------------------------------------------------------

DOES_NOT_FIT = "a table of {} tensors, {} bytes of names and {} of text do not fit into a file of " f"{N_BYTES} bytes"
header("a version to come", "version 2 of the format; this release reads version 1", version=2)
header("a file that is said to be longer", f"the file has {N_BYTES} bytes, its header says {2**64 - 1}: truncated?",
       file_bytes=2**64 - 1)
header("a reserved field in use", "offset 48: a reserved field that is not zero", reserved=1)
header("2^32 - 1 tensors", DOES_NOT_FIT.format(2**32 - 1, 4, 0), n_tensors=2**32 - 1)
header("names of 2^64 - 1 bytes", DOES_NOT_FIT.format(2, 2**64 - 1, 0), names_bytes=2**64 - 1)
header("names whose end wraps around", DOES_NOT_FIT.format(2, 2**64 - 64 - 208, 0), names_bytes=2**64 - 64 - 208)
header("a text of 2^63 bytes", DOES_NOT_FIT.format(2, 4, 2**63), text_bytes=2**63)
header("data before their place", f"offset 40: the data begin at {DATA}, the header says 0", data_offset=0)
header("data beyond the file", f"offset 40: the data begin at {DATA}, the header says {2**64 - 64}", data_offset=2**64 - 64)
header("no tensors, but their table", f"offset 40: the data begin at 128, the header says {DATA}", n_tensors=0)


def huge(title, n_tensors=1, names_bytes=2, text_bytes=0):
    """1 TiB of nothing behind a header that is right about it."""
    b = Bin()
    end = 64 + 104 * n_tensors + names_bytes + text_bytes
    b.header.update(file_bytes=TIB, n_tensors=n_tensors, names_bytes=names_bytes, text_bytes=text_bytes,
                    data_offset=-(-end // 64) * 64)
    message = (f"a table of {n_tensors} tensors, {names_bytes} bytes of names and {text_bytes} of text; at most 65536, "
               "16777216 and 1048576 are taken")
    refused(title, message, sparse(TIB, (0, b.bytes()[:64])), special=True)


huge("1 TiB of nothing with a table of 2^32 - 1 tensors", n_tensors=2**32 - 1)
huge("1 TiB of nothing with names of nearly 1 TiB", names_bytes=TIB - 1000)
huge("1 TiB of nothing with a text of nearly 1 TiB", text_bytes=TIB - 1000)


# ---- the table -------------------------------------------------------------------------------------------------------

def name(title, message, change, at=RECORD):
    refused(title, f"offset {at}: {message}", changed(change))


name("a name elsewhere", f"its name begins at {2**64 - 1}, where 272 was expected",
     lambda b: b.records[0].update(name_offset=2**64 - 1))
name("a name of 4 GiB", "its name of 4294967295 bytes at 272 reaches beyond the names' end at 276",
     lambda b: b.records[0].update(name_bytes=2**32 - 1))
name("a name without its NUL", "its name is not ended by a NUL", lambda b: setattr(b, "names", b"wxn\0"))
name("a name that is not UTF-8", "its name is not UTF-8", lambda b: setattr(b, "names", b"\xff\0n\0"))
name("an empty name", "its name is empty", lambda b: b.records[0].update(name_bytes=0))
refused("two tensors of one name", f"entry 'w', offset {RECORD + 104}: the name occurs twice",
        changed(lambda b: setattr(b, "names", b"w\0w\0")))
refused("a name with an escape sequence", f"entry '\\x1b[2J', offset {RECORD}: elements of type 99, which is not known",
        changed(lambda b: b.records[0].update(dtype=99), tensors=(("\x1b[2J", U8, (1,), b"x"),)))
record("a type that is none", "elements of type 0, which is not known", dtype=0)
record("a type of 2^32 - 1", "elements of type 4294967295, which is not known", dtype=2**32 - 1)
record("9 dimensions", "9 dimensions; at most 8 are possible", rank=9)
record("2^32 - 1 dimensions", "4294967295 dimensions; at most 8 are possible", rank=2**32 - 1)
record("an extent beyond its rank", "an extent of 7 in dimension 2", shape=[2, 3, 7, 0, 0, 0, 0, 0])
record("a negative extent", "an extent of 18446744073709551615 in dimension 0", shape=[2**64 - 1, 3, 0, 0, 0, 0, 0, 0])
record("extents whose product wraps", "its shape (4294967296, 4294967296) overflows",
       shape=[2**32, 2**32, 0, 0, 0, 0, 0, 0])
record("extents whose bytes wrap to those that are there", "its shape (2, 2305843009213693955) overflows",
       shape=[2, 2**61 + 3, 0, 0, 0, 0, 0, 0])
record("more elements than bytes", "float32 of shape (2, 4) takes 32 bytes, the table says 24",
       shape=[2, 4, 0, 0, 0, 0, 0, 0])
record("data elsewhere", f"its data begin at 0, where {DATA} was expected", data_offset=0)
record("data beyond the file", f"its data begin at {2**64 - 64}, where {DATA} was expected",
       data_offset=2**64 - 64)
refused("more data than the file has",
        f"entry 'w', offset {RECORD}: its 13194139533312 bytes at {DATA} reach beyond the file's {N_BYTES}",
        changed(lambda b: b.records[0].update(shape=[2**40, 3] + [0] * 6, data_bytes=12 << 40)))
refused("tensors that overlap",
        f"entry 'n', offset {RECORD + 104}: its data begin at {DATA}, where {DATA + 64} was expected",
        changed(lambda b: b.records[1].update(data_offset=DATA)))
refused("bytes that belong to no tensor", f"the tensors end at {N_BYTES}, the file at {N_BYTES + 64}",
        changed(lambda b: (b.header.update(file_bytes=N_BYTES + 64), setattr(b, "data", b.data + bytes(64)))))
refused("no tensors", "the file holds no tensors", changed(lambda b: None, tensors=()))


# ---- the text --------------------------------------------------------------------------------------------------------


def text(title, message, content):
    refused(title, f"offset 276: {message}", lambda: Bin(text=content).bytes())


text("a text that is no JSON", "the text about the state_dict: it is not one JSON object", b"hello")
text("a text of 10,000 brackets", "the text about the state_dict: it is not one JSON object", b"[" * 10000)
text("a text that is not UTF-8", "the text about the state_dict: it is not UTF-8", b'{"\xff":1}')
text("a text with a name that has a NUL", "the text about the state_dict holds a string with a NUL in it",
     b'{"_metadata":{"a\\u0000b":{"version":1},"a":{"version":2}}}')
text("a text with a line break in a name", "the text about the state_dict holds a control character, 0x0a",
     b'{"_metadata":{"a\nb":{"version":1}}}')
text("a text behind the text", "the text about the state_dict: it is not one JSON object", b'{"plain_dict":true}\n x')
text("a text with a field twice", "the text about the state_dict: a field is given twice",
     b'{"plain_dict":true,"plain_dict":true}')
text("a text with keys", "the text lists keys, which the table's order says", b'{"keys":["w","n"]}')
text("a text of half a million numbers", "the text about the state_dict: a key that is no text",
     b'{"keys":[' + b"0," * 500000 + b"0]}")


# ---- very many -------------------------------------------------------------------------------------------------------


def many(n):
    return lambda: Bin(tuple((f"{i:x}", F32, (0,), b"") for i in range(n))).bytes()


refused("a text of 2 MiB", "a table of 2 tensors, 4 bytes of names and 2097152 of text; at most 65536, 16777216 and "
        "1048576 are taken", lambda: Bin(text=b" " * (2 << 20)).bytes())
refused("65,537 tensors", "a table of 65537 tensors, 323318 bytes of names and 0 of text; at most 65536, 16777216 and "
        "1048576 are taken", many(65537))
accepted("as many tensors as are taken", many(65536))
