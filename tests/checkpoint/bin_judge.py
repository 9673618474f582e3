"""anx bin by its page alone: a reader and a writer in Python, and the page's own reader in C, against anx's."""
import json
import os
import random
import re
import shutil
import struct
import subprocess
import sys
import tempfile
import zlib

from judge import Judge, line, run

SOURCE, BUILD = os.environ["ANX_SOURCE_DIR"], os.environ["ANX_BUILD_DIR"]
PAGE = open(os.path.join(SOURCE, "loaders", "checkpoint", "BIN-FORMAT.md"), encoding="utf-8").read()
CONVERT = os.path.join(BUILD, "tools", "anx-convert")
CC = shutil.which(os.environ.get("CC", "cc"))
WARNINGS = ["-std=c11", "-Wall", "-Wextra", "-Werror", "-pedantic"]
judge = Judge()


def section(title):
    """The page's text under a heading."""
    return re.split(r"\n#+ ", PAGE.split(f" {title}\n", 1)[1], maxsplit=1)[0]


def rows(title, header):
    """The rows of the table under a heading whose first column is called `header`."""
    table = section(title).split(f"| {header} |", 1)[1].split("\n\n", 1)[0].strip("\n")
    return [[cell.strip(" `") for cell in row.strip("|").split("|")] for row in table.split("\n")[2:]]


HEADER = {field: (int(at), int(size)) for at, size, field, _ in rows("Header", "offset")}
RECORD = {field: (int(at), int(size)) for at, size, field, _ in rows("Table", "offset")}
TYPES = {int(code): (name, int(size)) for code, name, size in rows("Table", "dtype")}
CODES = {name: code for code, (name, _) in TYPES.items()}
HEADER_BYTES, RECORD_BYTES, ALIGNMENT, VERSION = 64, 104, 64, 1
MAGIC = b"\x89ANXBIN\n"


# ---- a reader and a writer, from the page ---------------------------------------------------------------------------

def pack(layout, fields, length):
    out = bytearray(length)
    for name, (at, size) in layout.items():
        value = fields[name]
        out[at:at + size] = value if isinstance(value, bytes) else value.to_bytes(size, "little")
    return bytes(out)


def field(data, layout, name, at=0):
    offset, size = layout[name]
    return int.from_bytes(data[at + offset:at + offset + size], "little")


def padding(at):
    return b"\0" * (-at % ALIGNMENT)


def product(shape, size):
    for extent in shape:
        size *= extent
    return size


def write(tensors, text=b""):
    """tensors: (name, type, shape, data). Returns the file."""
    names = b"".join(name.encode() + b"\0" for name, *_ in tensors)
    begin = HEADER_BYTES + RECORD_BYTES * len(tensors)
    front = begin + len(names) + len(text)
    front += len(padding(front))
    table, body, name_at, at = b"", b"", begin, front
    for name, dtype, shape, data in tensors:
        gap = padding(at)
        at += len(gap)
        table += pack(RECORD, {
            "name_offset": name_at, "name_bytes": len(name.encode()), "dtype": CODES[dtype], "rank": len(shape),
            "crc": zlib.crc32(data), "data_offset": at, "data_bytes": len(data),
            "shape": b"".join(struct.pack("<Q", n) for n in (list(shape) + [0] * 8)[:8])}, RECORD_BYTES)
        body += gap + data
        name_at += len(name.encode()) + 1
        at += len(data)
    index = table + names + text
    index += padding(HEADER_BYTES + len(index))
    header = pack(HEADER, {
        "magic": MAGIC, "version": VERSION, "n_tensors": len(tensors), "file_bytes": at, "names_bytes": len(names),
        "text_bytes": len(text), "data_offset": front, "reserved": 0, "table_crc": zlib.crc32(index),
        "header_crc": 0}, HEADER_BYTES)
    return header[:60] + struct.pack("<I", zlib.crc32(header[:60])) + index + body


def read(data):
    """Returns (tensors, text), having demanded all that the page says."""
    def get(name):
        return field(data, HEADER, name)

    def demand(good, what):
        if not good:
            raise ValueError(what)

    demand(data[:8] == MAGIC and get("version") == VERSION and get("reserved") == 0, "1: beginning")
    demand(get("header_crc") == zlib.crc32(data[:60]), "1: header_crc")
    demand(get("table_crc") == zlib.crc32(data[64:get("data_offset")]), "1: table_crc")
    demand(get("file_bytes") == len(data), "2")
    n = get("n_tensors")
    name_at = HEADER_BYTES + RECORD_BYTES * n
    names_end = name_at + get("names_bytes")
    text = data[names_end:names_end + get("text_bytes")]
    end = names_end + len(text)
    demand(get("data_offset") == end + len(padding(end)) <= len(data), "3")
    demand(not any(data[end:get("data_offset")]), "8")
    tensors, end = [], get("data_offset")
    for at in range(HEADER_BYTES, HEADER_BYTES + RECORD_BYTES * n, RECORD_BYTES):
        offset, length = field(data, RECORD, "name_offset", at), field(data, RECORD, "name_bytes", at)
        name = data[offset:offset + length]
        demand(offset == name_at and length > 0 and data[offset + length] == 0 and 0 not in name, "4")
        name_at += length + 1
        dtype, rank = field(data, RECORD, "dtype", at), field(data, RECORD, "rank", at)
        place = at + RECORD["shape"][0]
        extents = struct.unpack("<8Q", data[place:place + 64])
        demand(dtype in TYPES and rank <= 8 and max(extents) < 2**63 and not any(extents[rank:]), "5")
        start, length = field(data, RECORD, "data_offset", at), field(data, RECORD, "data_bytes", at)
        demand(length == product(extents[:rank], TYPES[dtype][1]), "6")
        demand(start == end + len(padding(end)) and start + length <= len(data), "7")
        demand(not any(data[end:start]), "8")
        end = start + length
        demand(field(data, RECORD, "crc", at) == zlib.crc32(data[start:end]), "9")
        tensors.append((name.decode(), TYPES[dtype][0], extents[:rank], data[start:end]))
    demand(name_at == names_end and len({t[0] for t in tensors}) == n and end == len(data), "4, 7")
    return tensors, text


# ---- tests ----------------------------------------------------------------------------------------------------------

def random_tensors(rng):
    tensors = {}
    for _ in range(rng.randrange(1, 12)):
        dtype = rng.choice(list(CODES))
        shape = [rng.choice((0, 1, 2, 3, 7)) for _ in range(rng.randrange(0, 6))]
        n = product(shape, TYPES[CODES[dtype]][1])
        data = bytes(rng.randrange(2) for _ in range(n)) if dtype == "bool" else rng.randbytes(n)
        name = "".join(rng.choice('abz.0/\\"\n\x01\x7f üλ漢😀<') for _ in range(rng.randrange(1, 9)))
        tensors[name] = (name, dtype, shape, data)
    return list(tensors.values())


def convert(*args):
    p = subprocess.run([CONVERT, *args, "--force"], capture_output=True, text=True, check=False)
    judge.equal(p.returncode, 0, f"anx-convert {' '.join(args)}: {p.stderr}")


def contents(path):
    with open(path, "rb") as f:
        return f.read()


def put(path, data):
    with open(path, "wb") as f:
        f.write(data)


def safetensors(tensors):
    """A safetensors file of them, in their order."""
    names = {"float32": "F32", "float64": "F64", "float16": "F16", "bfloat16": "BF16", "int64": "I64", "int32": "I32",
             "int16": "I16", "int8": "I8", "uint8": "U8", "bool": "BOOL"}
    header, at = {}, 0
    for name, dtype, shape, data in tensors:
        header[name] = {"dtype": names[dtype], "shape": shape, "data_offsets": [at, at + len(data)]}
        at += len(data)
    text = json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + b"".join(t[3] for t in tensors)


def plain(tensors):
    return [(name, dtype, tuple(shape), data) for name, dtype, shape, data in tensors]


def files_agree(folder):
    """Files of the Python writer are read by anx, and written by it the same; those of anx are read in Python."""
    rng = random.Random(20120930)
    theirs, ours, other = (os.path.join(folder, name) for name in ("theirs.bin", "ours.bin", "other.safetensors"))
    texts = [b"", b'{"plain_dict":true}', '{"_metadata":{"":{"version":1},"ü":{"version":2}}}'.encode(),
             b'{"plain_dict":true,"_metadata":{"a":{}}}']
    for i in range(40):
        tensors, text = random_tensors(rng), texts[i % len(texts)]
        put(theirs, write(tensors, text))
        judge.equal(read(contents(theirs)), (plain(tensors), text), f"file {i}: the Python reader and writer")
        rc, out, err = run("tensors", theirs)
        judge.equal(rc, 0, f"file {i}: {err}")
        judge.equal(out.splitlines()[0], "format=anx bin wrapped_in=- module=0 bad_crc=0", f"file {i}")
        judge.equal(out.splitlines()[1:], [line(*t[1:], t[0]) for t in tensors], f"file {i}: tensors read")
        convert(theirs, ours)
        judge.equal(contents(ours), contents(theirs), f"file {i}: bytes written")
        put(other, safetensors(tensors))
        convert(other, ours)
        back, text = read(contents(ours))
        judge.equal(sorted(back), sorted(plain(tensors)), f"file {i}: from safetensors")
        judge.equal(contents(ours), write(back, text), f"file {i}: canonical")


def a_model_is_loaded(folder):
    """A .pth and what becomes of it are the same to the engine."""
    pth, ours = os.path.join(folder, "model.pth"), os.path.join(folder, "model.bin")
    convert("init", "--arch", "alexnet", "--num-classes", "2", "--seed", "3", "-o", pth)
    convert(pth, ours)
    tensors, text = read(contents(ours))
    judge.equal(run("bind", ours), run("bind", pth), "parameters of a model")
    judge.equal([t[0] for t in tensors][:3], ["features.0.weight", "features.0.bias", "features.3.weight"], "order")
    judge.equal(list(json.loads(text)["_metadata"])[:3], ["", "features", "features.0"], "_metadata")
    os.remove(pth)
    os.remove(ours)


def compile_c(folder, name, code):
    source, program = os.path.join(folder, name + ".c"), os.path.join(folder, name)
    put(source, code.encode())
    p = subprocess.run([CC, *WARNINGS, "-I", SOURCE, "-o", program, source], capture_output=True, text=True,
                       check=False)
    judge.equal(p.returncode, 0, f"{name}.c: {p.stderr}")
    return program


def the_pages_numbers_are_the_headers(folder):
    """Offsets, sizes and constants as loaders/checkpoint/bin_format.h has them."""
    fields = "".join(f'    printf("{s}.{f} %zu %zu\\n", offsetof(anx_bin_{s}, {f}), sizeof ((anx_bin_{s} *)0)->{f});\n'
                     for s, layout in (("header", HEADER), ("record", RECORD)) for f in layout)
    program = compile_c(folder, "layout", '#include <stddef.h>\n#include <stdio.h>\n'
                        '#include "loaders/checkpoint/bin_format.h"\nint main(void) {\n' + fields +
                        '    printf("sizes %zu %zu\\n", sizeof(anx_bin_header), sizeof(anx_bin_record));\n'
                        '    printf("constants %d %d %d\\n", ANX_BIN_VERSION, ANX_BIN_ALIGNMENT, ANX_MAX_RANK);\n'
                        '    printf("magic");\n    for (int i = 0; i < ANX_BIN_MAGIC_BYTES; i++)\n'
                        '        printf(" %02x", (unsigned)(unsigned char)ANX_BIN_MAGIC[i]);\n    return 0;\n}\n')
    out = subprocess.run([program], capture_output=True, text=True, check=True).stdout.splitlines()
    wanted = [f"{s}.{f} {at} {size}" for s, layout in (("header", HEADER), ("record", RECORD))
              for f, (at, size) in layout.items()]
    judge.equal(out, wanted + [f"sizes {HEADER_BYTES} {RECORD_BYTES}", f"constants {VERSION} {ALIGNMENT} 8",
                               "magic " + MAGIC.hex(" ")], "the page's numbers")
    # Nothing of the structs is left out: the fields lie side by side.
    for layout, length in ((HEADER, HEADER_BYTES), (RECORD, RECORD_BYTES)):
        ends = [0] + [at + size for at, size in layout.values()]
        judge.equal([at for at, _ in layout.values()] + [length], ends, "fields side by side")
    judge.equal(list(TYPES), list(range(1, 11)), "the types' numbers")
    judge.equal(bytes.fromhex(section("Header").split("`magic` | `")[1].split("`")[0]), MAGIC, "magic")
    judge.equal({row[0]: row[1].split()[0] for row in rows("The parts", "part") if row[0] in ("header", "table")},
                {"header": str(HEADER_BYTES), "table": str(RECORD_BYTES)}, "the parts")
    judge.check(f"64 + {RECORD_BYTES} `n_tensors` + `names_bytes` + `text_bytes`" in PAGE, "the formula of data_offset")
    judge.check(f"{zlib.crc32(b'123456789'):#x}" in PAGE, "the checksum's check value")


def the_pages_reader_reads(folder):
    """The C program of the page, compiled as it stands."""
    blocks = re.findall(r"```c\n(.*?)```", PAGE, re.DOTALL)
    judge.equal(len(blocks), 1, "one C program on the page")
    judge.check(len(blocks[0].splitlines()) <= 40, f"the reader has {len(blocks[0].splitlines())} lines")
    reader, path = compile_c(folder, "reader", blocks[0]), os.path.join(folder, "some.bin")

    def reads(name):
        p = subprocess.run([reader, path, name], capture_output=True, text=True, check=False)
        return p.returncode, p.stdout, p.stderr

    values = [0.1, -2.0, 3e38, 1e-40, 5.0]
    floats = struct.pack("<5f", *values)
    tensors = [("a", "float32", (5,), floats), ("weight", "float32", (1, 2), floats[:8]), ("n", "int64", (), b"\1" * 8),
               ("ü", "bool", (2, 1, 3), b"\1" * 6), ("none", "float32", (0, 3), b"")]
    put(path, write(tensors, b'{"plain_dict":true}'))
    convert(path, os.path.join(folder, "again.bin"))
    path = os.path.join(folder, "again.bin")

    def shown(dtype, shape, count):
        numbers = "".join(f" {struct.unpack('<f', struct.pack('<f', v))[0]:.9g}" for v in values[:count])
        return 0, f", shape{''.join(f' {n}' for n in shape)}{', values' if count else ''}{numbers}\n", ""

    for (name, dtype, shape, _), count in zip(tensors, (4, 2, 0, 0, 0)):
        rc, rest, err = shown(dtype, shape, count)
        judge.equal(reads(name), (rc, f"{name}: dtype {CODES[dtype]}{rest}", err), f"the page's reader: {name}")
    for name in ("", "weigh", "weights", "b", "x" * 100000):
        judge.equal(reads(name), (1, "", "no tensor of that name\n"), f"the page's reader: '{name:.20}'")

    whole = contents(path)
    at_data = field(whole, HEADER, "data_offset")
    for at, message in ((0, "another format"), (8, "another format"), (16, "damaged, or cut short"),
                        (60, "damaged, or cut short"), (64, "the table is damaged"),
                        (at_data - 1, "the table is damaged"),
                        (at_data, "the tensor is damaged")):
        put(path, whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1:])
        judge.equal(reads("a"), (1, "", message + "\n"), f"the page's reader: byte {at}")
    for n in range(len(whole)):
        put(path, whole[:n])
        judge.equal(reads("a")[:2], (1, ""), f"the page's reader: {n} bytes")
    path = folder
    judge.equal(reads("a"), (1, "", "cannot be read\n"), "the page's reader: a folder")
    path = os.path.join(folder, "none")
    judge.equal(reads("a"), (1, "", "usage: reader FILE TENSOR\n"), "the page's reader: no file")


with tempfile.TemporaryDirectory() as work:
    files_agree(work)
    a_model_is_loaded(work)
    if CC is None:
        print("no C compiler: the page's reader is not tried", file=sys.stderr)
    else:
        the_pages_numbers_are_the_headers(work)
        the_pages_reader_reads(work)
judge.exit()
