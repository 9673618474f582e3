"""safetensors whose header lies, or is made to cost memory or time."""
import json

from corpus.rows import TIB, Rows, sparse, u64
from corpus.safetensors_files import good, of_header, of_json, tensor

ROWS = Rows()
refused, accepted = ROWS.refused, ROWS.accepted


def header(title, message, text, n_data=0):
    refused(title, message, lambda: of_header(text, n_data))


def contents(title, message, tensors, n_data=0):
    refused(title, message, lambda: of_json(tensors, n_data))


def described(title, message, n_data=4, **fields):
    """One tensor 'a' with these fields instead of sound ones; None leaves one out."""
    one = {k: v for k, v in {**tensor(), **fields}.items() if v is not None}
    contents(title, f"entry 'a': {message}", {"a": one}, n_data)


# ---- the header's length ---------------------------------------------------------------------------------------------

LENGTH = len(good()) - 8 - 24


def cut(title, message, at):
    refused(title, message, lambda: good()[:at])


cut("cut within the header", f"the header length is {LENGTH}, but 12 bytes follow: truncated?", 20)
cut("cut one byte before the header's end", f"the header length is {LENGTH}, but {LENGTH - 1} bytes follow: truncated?",
    8 + LENGTH - 1)
cut("cut behind the header", "entry 'w': its data_offsets are [0, 24]; the file holds 0 bytes of data", 8 + LENGTH)
cut("cut one byte before the end", "entry 'w': its data_offsets are [0, 24]; the file holds 23 bytes of data",
    len(good()) - 1)
refused("one byte appended", "the tensors end at byte 24 of the data, which has 25", lambda: good() + b"x")
refused("a header of 100,000,000 bytes that are not there",
        "the header length is 100000000, but 100 bytes follow: truncated?",
        lambda: u64(100000000) + b"{" + b" " * 99)
refused("a header of 100,000,000 bytes in 1 TiB of nothing", "offset 9: the header holds a control character, 0x00",
        sparse(TIB, (0, u64(100000000) + b"{")), special=True)
refused("a tensor of 1 TiB in a file of 1 TiB, one byte too long", "entry 'a': its data_offsets are "
        "[0, 1099511627692]; the file holds 1099511627691 bytes of data",
        sparse(TIB, (0, of_json({"a": tensor("U8", (TIB - 84,), 0, TIB - 84)}))), special=True)


# ---- JSON that is none -----------------------------------------------------------------------------------------------

header("text after the object", "offset 11: text after the header's JSON object", "{} x")
header("a second object", "offset 10: text after the header's JSON object", "{}{}")
header("an object without an end", "offset 12: the header is not valid JSON", '{"a":')
header("a header that is not UTF-8", "the header is not UTF-8", b'{"\xff":1}')
header("an overlong NUL", "the header is not UTF-8", b'{"\xc0\x80":1}')
header("a NUL in a name", "offset 11: the header holds a string with a NUL in it", '{"a\\u0000b":1}')
header("a raw NUL in a name", "offset 11: the header holds a control character, 0x00", '{"a\0b":1}')
header("an escape sequence in a name", "offset 11: the header holds a control character, 0x1b", '{"a\x1b[2J":1}')
header("100,000 brackets in each other", "offset 1012: the header is not valid JSON", '{"a":' + "[" * 100000)
header("100,000 objects in each other", "offset 5008: the header is not valid JSON", '{"a":' * 100000)
header("a number of a million digits", "entry 'a': it is not described by a JSON object", '{"a":' + "9" * 1000000 + "}")
header("NaN", "offset 13: the header is not valid JSON", '{"a":NaN}')
header("an array", "an unknown kind of file, beginning with '\\x05" + "\\x00" * 7 + "[\"a\"]'; a PyTorch checkpoint "
       "(zip, legacy stream or tar), safetensors or anx bin was expected", '["a"]')


# ---- what a tensor says of itself ------------------------------------------------------------------------------------

contents("a number instead of a description", "entry 'a': it is not described by a JSON object", {"a": 1})
contents("an array instead of a description", "entry 'a': it is not described by a JSON object", {"a": [1, 2]})
contents("a name with an escape sequence", "entry '\\x1b[2J': it is not described by a JSON object", {"\x1b[2J": 1})
described("no type", "its dtype is missing", dtype=None)
described("no shape", "its shape is missing", shape=None)
described("no offsets", "its data_offsets is missing", data_offsets=None)
described("a type that is a number", "its dtype is not a string", dtype=7)
described("a type that is none", "elements of type F31 are not supported", dtype="F31")
described("a type with an escape sequence", "elements of type \\x1b[5m are not supported", dtype="\x1b[5m")
described("a type of 8 bits", "elements of type F8_E4M3 are not supported", dtype="F8_E4M3", shape=[4])
described("a shape that is a number", "its shape is not an array", shape=4)
described("a negative extent", "its shape holds something that is not a whole number", shape=[-1])
described("half an extent", "its shape holds something that is not a whole number", shape=[0.5])
described("an extent of NaN as text", "its shape holds something that is not a whole number", shape=["NaN"])
described("an extent of nothing", "its shape holds something that is not a whole number", shape=[None])
described("an extent of 1e300", "its shape holds something that is not a whole number", shape=[1e300])
described("an extent of 2^64", "its shape holds something that is not a whole number", shape=[2**64])
described("9 dimensions", "it has 9 dimensions; at most 8 are taken", shape=[1] * 9)
described("100,000 dimensions", "it has 100000 dimensions; at most 8 are taken", shape=[1] * 100000)
described("extents whose product wraps to 0", "its shape (4294967296, 4294967296) overflows", shape=[2**32, 2**32])
described("an extent whose bytes wrap to those that are there", "its shape holds something that is not a whole number",
          shape=[2**62 + 1])
described("extents whose bytes wrap", "its shape (2097152, 2097152, 1048576) overflows",
          shape=[2**21, 2**21, 2**20], dtype="F32")
described("more elements than bytes", "F32 of shape (2,) takes 8 bytes, its data_offsets span 4", shape=[2])
described("a scalar of 8 bytes", "F32 of shape () takes 4 bytes, its data_offsets span 8", 8, shape=[],
          data_offsets=[0, 8])
described("offsets beyond the file", "its data_offsets are [0, 1099511627776]; the file holds 4 bytes of data",
          data_offsets=[0, TIB])
described("offsets that go backwards", "its data_offsets are [4, 0]; the file holds 4 bytes of data",
          data_offsets=[4, 0])
described("negative offsets", "its data_offsets are not two whole numbers", data_offsets=[-4, 0])
described("three offsets", "its data_offsets are not two whole numbers", data_offsets=[0, 4, 4])
described("offsets of text", "its data_offsets are not two whole numbers", data_offsets=["0", "4"])
header("a type given twice", "entry 'a': its dtype is given twice",
       '{"a":{"dtype":"F32","dtype":"F32","shape":[],"data_offsets":[0,4]}}', 4)
header("offsets given twice", "entry 'a': its data_offsets is given twice",
       '{"a":{"dtype":"F32","shape":[],"data_offsets":[0,4],"data_offsets":[0,4]}}', 4)


# ---- all of them together --------------------------------------------------------------------------------------------

ONE = '{"dtype":"U8","shape":[4],"data_offsets":'
header("one name twice", "entry 'a': the name occurs twice", f'{{"a":{ONE}[0,4]}},"a":{ONE}[4,8]}}}}', 8)
header("one name twice, once escaped", "entry 'a': the name occurs twice",
       f'{{"a":{ONE}[0,4]}},"\\u0061":{ONE}[4,8]}}}}', 8)
contents("tensors that overlap", "entry 'b': its data begins at 2, where 4 was expected: tensors overlap",
         {"a": tensor("U8", (4,), 0, 4), "b": tensor("U8", (4,), 2, 6)}, 6)
contents("two tensors of the same bytes", "entry 'b': its data begins at 0, where 4 was expected: tensors overlap",
         {"a": tensor(), "b": tensor()}, 4)
contents("a hole", "entry 'b': its data begins at 5, where 4 was expected: a hole in the data",
         {"a": tensor("U8", (4,), 0, 4), "b": tensor("U8", (4,), 5, 9)}, 9)
contents("no tensors", "the file holds no tensors", {})
contents("metadata alone", "the file holds no tensors", {"__metadata__": {"format": "pt"}})
contents("metadata that is a number", "__metadata__ is not a JSON object", {"__metadata__": 3})
contents("metadata of numbers", "__metadata__: the value of 'k' is not a string", {"__metadata__": {"k": 1}})
contents("metadata with an escape sequence", "__metadata__: the value of '\\x1b[1m' is not a string",
         {"__metadata__": {"\x1b[1m": {}}})
header("metadata given twice", "__metadata__ is given twice", '{"__metadata__":{},"__metadata__":{}}')
accepted("a name that is the metadata's but for its case",
         lambda: of_json({"__METADATA__": tensor("U8", (4,), 0, 4)}, 4))
accepted("a text about the state_dict that is nonsense",
         lambda: of_json({"__metadata__": {"anx.state_dict": "[" * 1000}, "a": tensor()}, 4))
accepted("a text about the state_dict that names other tensors",
         lambda: of_json({"__metadata__": {"anx.state_dict": '{"keys":["b"]}'}, "a": tensor()}, 4))
accepted("tensors of no elements", lambda: of_json({"a": tensor("F32", (2**40, 0), 0, 0), "b": tensor()}, 4))


# ---- bombs -----------------------------------------------------------------------------------------------------------

def empty(n):
    one = json.dumps(tensor("U8", (0,), 0, 0), separators=(",", ":"))
    return lambda: of_header("{" + ",".join(f'"{i:x}":{one}' for i in range(n)) + "}")


VALUES = "the header holds {} JSON values; at most 300000 are taken"
refused("5,000,000 commas", VALUES.format(5000002), lambda: of_header('{"a":[' + "," * 5000000))
refused("a million texts", VALUES.format(1000002), lambda: of_header('{"a":[' + '"",' * 1000000 + '""]}'))
refused("290,000 numbers", "entry 'a': it is not described by a JSON object",
        lambda: of_header('{"a":[' + "0," * 290000 + "0]}"))
refused("290,000 texts", "entry 'a': it is not described by a JSON object",
        lambda: of_header('{"a":[' + '"",' * 290000 + '""]}'))
refused("290,000 names", "it is not described by a JSON object",
        lambda: of_header('{"":1' + ',"":1' * 290000 + "}"))
refused("290,000 pairs of metadata", "the file holds no tensors",
        lambda: of_header('{"__metadata__":{' + ",".join(['"":""'] * 290000) + "}}"))
refused("70,000 tensors", VALUES.format(490000), empty(70000))
accepted("42,000 tensors", empty(42000))
refused("90,000,000 spaces in the header", "offset 90000008: the header is not valid JSON",
        lambda: of_header("{" + " " * 90000000))
