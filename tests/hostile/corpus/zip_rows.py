"""Zip archives that lie, reach too far, or hold what no checkpoint holds."""
import zlib

from corpus import pickles
from corpus.rows import TIB, Rows, sparse, u16, u64
from corpus.zips import (
    C_COMMENT_BYTES, C_CRC, C_DISK, C_EXTRA_BYTES, C_FLAGS, C_METHOD, C_NAME, C_NAME_BYTES, C_OFFSET, C_PACKED, C_SIZE,
    E64_BYTES, E64_COUNT, E64_COUNT_HERE, E64_DISK, E64_OFFSET, E64_SIZE, E_COMMENT_BYTES, E_COUNT, E_COUNT_HERE,
    E_DISK, E_OFFSET, E_SIZE, FLOATS, L_CRC, L_EXTRA_BYTES, L_FLAGS, L_METHOD, L_NAME, L_NAME_BYTES, L_PACKED, L_SIZE,
    LOCATOR_DISKS, LOCATOR_OFFSET, Zip, checkpoint, damaged, good, with_entry,
)

ROWS = Rows()
refused, accepted = ROWS.refused, ROWS.accepted

G = good()  # where everything is in a good archive
D0, D1, PKL, VERSION = G["data/0"], G["data/1"], G["data.pkl"], G["version"]
FLOATS_CRC = zlib.crc32(FLOATS)
NO_END = "the zip archive has no end record: the file is truncated, or has something appended"
DISKS = "the archive claims to be split over several disks"
STORED = ("checkpoints are stored uncompressed: unpack the archive and pack it again with `zip -0 -r`, or save it "
          "again with torch.save")
BAD_CRC = ("damaged, or written with torch.serialization.set_crc32_options(False); --accept-bad-crc reads such a file "
           "all the same")


# ---- cut short, or with something before or behind -------------------------------------------------------------------


def cut_at(where, at):
    refused(f"cut {where}", f"offset {at}: {NO_END}", lambda: good().bytes[:at])


cut_at("within the first local header", 20)
cut_at("behind the first local header", PKL.content)
cut_at("within the pickle", PKL.content + 100)
cut_at("before the first data descriptor", PKL.descriptor)
cut_at("within a storage", D0.content + 11)
cut_at("before the central directory", G.directory)
cut_at("within the central directory", D0.central + 10)
cut_at("before the zip64 end record", G.end64)
cut_at("before the zip64 locator", G.locator)
cut_at("before the end record", G.end)
cut_at("one byte before its end", len(G.bytes) - 1)
refused("one byte appended", f"offset {len(G.bytes) + 1}: {NO_END}", lambda: good().bytes + b"x")
refused("the first local header emptied", "entry 'm/data.pkl': its local header at byte 0 has another name: ''",
        lambda: b"PK\x03\x04" + bytes(60) + good().bytes[64:])
refused("something put before the archive",
        f"offset {G.locator + 4}: the zip64 locator points to byte {G.end64}, where no zip64 end record is",
        lambda: b"PK\x03\x04" + good().bytes)
refused("1 TiB of nothing that begins as an archive", f"offset {TIB}: {NO_END}", sparse(TIB, (0, b"PK\x03\x04")),
        special=True)


# ---- end records -----------------------------------------------------------------------------------------------------

refused("another disk in the end record", f"offset {G.end}: {DISKS}", damaged(lambda z: z.put16(z.end + E_DISK, 1)))
refused("fewer entries on this disk than in all", f"offset {G.end}: {DISKS}",
        damaged(lambda z: z.put16(z.end + E_COUNT_HERE, 4)))
refused("two disks in the zip64 locator", f"offset {G.locator}: {DISKS}",
        damaged(lambda z: z.put32(z.locator + LOCATOR_DISKS, 2)))
refused("another disk in the zip64 end record", f"offset {G.end64}: {DISKS}",
        damaged(lambda z: z.put32(z.end64 + E64_DISK, 7)))
refused("a locator that points beyond the file",
        f"offset {G.locator}: the zip64 locator points to byte 18446744073709551615, where no zip64 end record is",
        damaged(lambda z: z.put64(z.locator + LOCATOR_OFFSET, 2**64 - 1)))
refused("a locator that points to itself",
        f"offset {G.locator}: the zip64 locator points to byte {G.locator}, where no zip64 end record is",
        damaged(lambda z: z.put64(z.locator + LOCATOR_OFFSET, z.locator)))
refused("a zip64 end record of another length", f"offset {G.end64}: the zip64 end record does not reach to its locator",
        damaged(lambda z: z.put64(z.end64 + E64_SIZE, 2**64 - 13)))
refused("end records that disagree on the number of entries",
        f"offset {G.end64}: the zip64 end record and the end record disagree",
        damaged(lambda z: (z.put64(z.end64 + E64_COUNT, 4), z.put64(z.end64 + E64_COUNT_HERE, 4))))
refused("end records that disagree on the directory's place",
        f"offset {G.end64}: the zip64 end record and the end record disagree",
        damaged(lambda z: z.put64(z.end64 + E64_OFFSET, 0)))


def saturated(change):
    """The 32-bit fields hand over to the zip64 record, which change(zip) turns into a lie."""

    def make(z):
        z.put16(z.end + E_COUNT_HERE, 0xFFFF)
        z.put16(z.end + E_COUNT, 0xFFFF)
        z.put32(z.end + E_SIZE, 0xFFFFFFFF)
        z.put32(z.end + E_OFFSET, 0xFFFFFFFF)
        change(z)

    return damaged(make)


LENGTH = G.end64 - G.directory
refused("2^64 - 1 entries",
        f"offset {G.end}: the end record counts 18446744073709551615 entries; a directory of {LENGTH} bytes cannot "
        "hold them",
        saturated(lambda z: (z.put64(z.end64 + E64_COUNT, 2**64 - 1), z.put64(z.end64 + E64_COUNT_HERE, 2**64 - 1))))
refused("a directory of nearly 2^64 bytes that wraps around",
        f"offset {G.end}: the end record places the central directory at byte {G.directory} with "
        f"{2**64 - G.directory} bytes; it must end at byte {G.end64}",
        saturated(lambda z: z.put64(z.end64 + E64_BYTES, 2**64 - z.directory)))
refused("a directory beyond the file",
        f"offset {G.end}: the end record places the central directory at byte 9223372036854775807 with {LENGTH} bytes; "
        f"it must end at byte {G.end64}",
        saturated(lambda z: z.put64(z.end64 + E64_OFFSET, 2**63 - 1)))
refused("saturated fields without a zip64 record",
        f"offset {good(zip64=False).end}: the end record refers to a zip64 end record, which is missing",
        damaged(lambda z: z.put32(z.end + E_OFFSET, 0xFFFFFFFF), zip64=False))
refused("one entry more than there are", f"offset {G.end64}: a central directory entry was expected",
        saturated(lambda z: (z.put64(z.end64 + E64_COUNT, 6), z.put64(z.end64 + E64_COUNT_HERE, 6))))
refused("one entry fewer than there are",
        f"offset {VERSION.central}: {G.end64 - VERSION.central} bytes after the last of the central directory's 4 "
        "entries",
        saturated(lambda z: (z.put64(z.end64 + E64_COUNT, 4), z.put64(z.end64 + E64_COUNT_HERE, 4))))
refused("an end record in the comment of the true one",
        f"offset {G.end + 22}: the end record places the central directory at byte 0 with 0 bytes; it must end at byte "
        f"{G.end + 22}",
        damaged(lambda z: (z.put16(z.end + E_COMMENT_BYTES, 22), z.bytes.extend(b"PK\x05\x06" + bytes(18)))))


# ---- the central directory -------------------------------------------------------------------------------------------

refused("an entry without its signature", f"offset {D0.central}: a central directory entry was expected",
        damaged(lambda z: z.put(z["data/0"].central, b"Q")))
refused("a name of 65,535 bytes", f"offset {VERSION.central}: a central directory entry reaches beyond the directory",
        damaged(lambda z: z.put16(z["version"].central + C_NAME_BYTES, 65535)))
refused("extra fields and a comment of 65,535 bytes",
        f"offset {VERSION.central}: a central directory entry reaches beyond the directory",
        damaged(lambda z: (z.put16(z["version"].central + C_EXTRA_BYTES, 65535),
                           z.put16(z["version"].central + C_COMMENT_BYTES, 65535))))
refused("an entry without a name", f"offset {VERSION.central}: a central directory entry without a name",
        damaged(lambda z: z.put16(z["version"].central + C_NAME_BYTES, 0)))
refused("a NUL in a name", f"offset {D1.central}: a central directory entry has a NUL in its name",
        damaged(lambda z: z.put(z["data/1"].central + C_NAME + 3, b"\0")))
refused("a 32-bit size that says see zip64, which is not there",
        "entry 'm/data/0': its zip64 sizes are missing from the directory",
        damaged(lambda z: z.put32(z["data/0"].central + C_SIZE, 0xFFFFFFFF)))
refused("an entry on another disk", "entry 'm/data/0': it claims to be on another disk",
        damaged(lambda z: z.put16(z["data/0"].central + C_DISK, 1)))


def with_zip64(size, packed, offset=None):
    """data/0 whose sizes (and place) are in a zip64 field of the directory."""

    def make():
        z = checkpoint()
        e = z["data/0"]
        e.extra = u16(1) + u16(16 if offset is None else 24) + u64(size) + u64(packed)
        if offset is not None:
            e.extra += u64(offset)
        z.finish()
        z.put32(e.central + C_SIZE, 0xFFFFFFFF)
        z.put32(e.central + C_PACKED, 0xFFFFFFFF)
        if offset is not None:
            z.put32(e.central + C_OFFSET, 0xFFFFFFFF)
        return z.bytes

    return make


refused("a zip64 size of 2^64 - 1",
        f"entry 'm/data/0': its 18446744073709551615 bytes reach beyond the records, which end at byte {G.directory}",
        with_zip64(2**64 - 1, 2**64 - 1))
refused("a zip64 size that wraps around to before the entry",
        f"entry 'm/data/0': its {2**64 - D0.content} bytes reach beyond the records, which end at byte {G.directory}",
        with_zip64(2**64 - D0.content, 2**64 - D0.content))
refused("a zip64 place of 2^64 - 30",
        "entry 'm/data/0': no local header at byte 18446744073709551586, where the directory places it",
        with_zip64(24, 24, 2**64 - 30))
refused("zip64 sizes that disagree with each other",
        "entry 'm/data/0': it is stored, yet its sizes are 24 packed and 4294967296 unpacked", with_zip64(2**32, 24))


def torn_extra():
    z = checkpoint()
    z["data/0"].extra = u16(1) + u16(200) + u64(24)
    return z.finish().bytes


refused("an extra field longer than all of them", "entry 'm/data/0': its extra fields in the directory are malformed",
        torn_extra)


# ---- names -----------------------------------------------------------------------------------------------------------

CLIMBS = "the name is absolute or climbs out of its folder"
refused("an absolute name", f"entry '/etc/passwd': {CLIMBS}", with_entry("/etc/passwd"))
refused("a name that climbs", f"entry 'm/../../.bashrc': {CLIMBS}", with_entry("m/../../.bashrc"))
refused("a name of another system's root", f"entry 'c:\\windows\\x': {CLIMBS}", with_entry("c:\\windows\\x"))
refused("a name that clears the screen", f"entry 'm/\\x1b[2J\\x1b[H/..': {CLIMBS}", with_entry("m/\x1b[2J\x1b[H/.."))
refused("a name that is not UTF-8", "entry 'm/\\xff\\xfe': the name is not UTF-8, as its flags claim",
        with_entry(b"m/\xff\xfe"))
refused("a name that hides behind an override of the writing direction",
        "entry 'other/\\xe2\\x80\\xaegpj.exe': it is not in the folder 'm/' of the entries before it",
        with_entry("other/\u202egpj.exe"))
refused("a second folder", "entry 'evil/data/0': it is not in the folder 'm/' of the entries before it",
        with_entry("evil/data/0"))
refused("two entries of one name", f"entry 'm/data.pkl': the name occurs twice, at bytes 0 and {G.directory}",
        with_entry("m/data.pkl", pickles.GOOD))
refused("two entries of one name but for their case",
        f"entry 'm/DATA/0': the name occurs twice but for upper and lower case, at bytes {D0.local} and {G.directory}",
        with_entry("m/DATA/0", FLOATS))


def no_folder():
    z = Zip()
    z.add("first", b"x")
    z.add("m/data.pkl", pickles.GOOD)
    return z.finish().bytes


refused("an entry in no folder", "entry 'first': it is in no folder; PyTorch puts all entries into one", no_folder)


def long_folder():
    z = Zip()
    z.add("x" * 2000 + "/data.pkl", pickles.GOOD)
    return z.finish().bytes


refused("a folder's name of 2,000 bytes",
        f"entry '{'x' * 196}...': the name of its folder has 2000 bytes; at most 511 are taken", long_folder)


# ---- local headers that say otherwise --------------------------------------------------------------------------------

HEADER = f"entry 'm/data/0': its local header at byte {D0.local}"
refused("another name in the local header", f"{HEADER} has another name: 'm/data/1'",
        damaged(lambda z: z.put(z["data/0"].local + L_NAME, b"m/data/1")))
refused("an escape sequence in the local header's name", f"{HEADER} has another name: 'm/\\x1b[7ma0'",
        damaged(lambda z: z.put(z["data/0"].local + L_NAME, b"m/\x1b[7ma0")))
refused("a longer name in the local header",
        f"{HEADER} has another name: 'm/data/0FB'",
        damaged(lambda z: z.put16(z["data/0"].local + L_NAME_BYTES, 10)))
refused("a name that reaches into the directory", f"{HEADER} reaches into the directory",
        damaged(lambda z: z.put16(z["data/0"].local + L_NAME_BYTES, 65535)))
refused("extra fields that reach into the directory", f"{HEADER} reaches into the directory",
        damaged(lambda z: z.put16(z["data/0"].local + L_EXTRA_BYTES, 65000)))
refused("an extra field that is torn",
        f"entry 'm/data/0': the extra fields of its local header at byte {D0.local} are malformed",
        damaged(lambda z: z.put16(z["data/0"].local + L_EXTRA_BYTES, 3)))
refused("other flags in the local header", f"{HEADER} has flags 0x0809 and method 0, the directory 0x0808 and 0",
        damaged(lambda z: z.put16(z["data/0"].local + L_FLAGS, 0x0809)))
refused("another method in the local header", f"{HEADER} has flags 0x0808 and method 8, the directory 0x0808 and 0",
        damaged(lambda z: z.put16(z["data/0"].local + L_METHOD, 8)))
refused("another size in the local header",
        f"{HEADER} says CRC-32 00000000 and 4294967294 bytes, the directory {FLOATS_CRC:08x} and 24",
        damaged(lambda z: z.put32(z["data/0"].local + L_PACKED, 0xFFFFFFFE)))
refused("another unpacked size in the local header",
        f"{HEADER} says CRC-32 00000000 and 0 bytes, the directory {FLOATS_CRC:08x} and 24",
        damaged(lambda z: z.put32(z["data/0"].local + L_SIZE, 23)))
refused("another CRC in the local header",
        f"{HEADER} says CRC-32 deadbeef and 0 bytes, the directory {FLOATS_CRC:08x} and 24",
        damaged(lambda z: z.put32(z["data/0"].local + L_CRC, 0xDEADBEEF)))
refused("an entry placed in the middle of another's data",
        f"entry 'm/data/0': no local header at byte {D1.content}, where the directory places it",
        damaged(lambda z: z.put32(z["data/0"].central + C_OFFSET, z["data/1"].content)))
refused("an entry placed in the directory itself",
        f"entry 'm/data/0': no local header at byte {G.directory}, where the directory places it",
        damaged(lambda z: z.put32(z["data/0"].central + C_OFFSET, z.directory)))
refused("an entry placed beyond the file",
        "entry 'm/data/0': no local header at byte 4294967294, where the directory places it",
        damaged(lambda z: z.put32(z["data/0"].central + C_OFFSET, 0xFFFFFFFE)))


# ---- sizes and overlaps ----------------------------------------------------------------------------------------------


def sizes(z, name, value):
    z.put32(z[name].central + C_PACKED, value)
    z.put32(z[name].central + C_SIZE, value)


refused("a storage of nearly 4 GiB",
        f"entry 'm/data/0': its 4294967294 bytes reach beyond the records, which end at byte {G.directory}",
        damaged(lambda z: sizes(z, "data/0", 0xFFFFFFFE)))
refused("a storage that reaches over the next", f"entry 'm/data/0': no data descriptor at byte {D0.content + 100} that "
        "agrees with the directory", damaged(lambda z: sizes(z, "data/0", 100)))
refused("a data descriptor with another size",
        f"entry 'm/data/0': no data descriptor at byte {D0.descriptor} that agrees with the directory",
        damaged(lambda z: z.put32(z["data/0"].descriptor + 8, 25)))
refused("a data descriptor with another CRC",
        f"entry 'm/data/0': no data descriptor at byte {D0.descriptor} that agrees with the directory",
        damaged(lambda z: z.put32(z["data/0"].descriptor + 4, 0)))


def quine():
    """A hundred entries whose data all are the same bytes, each local header within the data of the one before."""
    inner = b"payload!" * 128
    z = Zip(alignment=0)
    z.add("m/data.pkl", pickles.GOOD)
    places = []
    for i in reversed(range(100)):
        one = Zip(alignment=0)
        one.add(f"m/data/{i:02}", inner, deferred=False)
        places.insert(0, len(one.bytes) - len(inner))
        inner = bytes(one.bytes)
    at = len(z.bytes)
    z.bytes += inner
    for i in range(100):
        one = Zip(alignment=0)
        e = one.add(f"m/data/{i:02}", inner[places[i] :], deferred=False)
        e.local = at
        at += places[i]
        z.entries.append(e)
        inner = inner[places[i] :]
    return z.finish().bytes


QUINE_AT = 30 + 10 + len(pickles.GOOD) + 16
refused("a bomb of a hundred overlapping entries",
        f"entry 'm/data/01': it starts at byte {QUINE_AT + 39}, inside entry 'm/data/00', which ends at byte "
        f"{QUINE_AT + 100 * 39 + 1024}", quine)


def two_places_one_record():
    z = checkpoint()
    e = z.add("m/data/2", FLOATS)
    z.finish()
    z.put32(e.central + C_OFFSET, z["data/0"].local)
    return z.bytes


refused("two directory entries for one record", f"entry 'm/data/2': its local header at byte {D0.local} has another "
        "name: 'm/data/0'", two_places_one_record)


# ---- what is not simply stored ---------------------------------------------------------------------------------------


def both(local, central, value):
    return damaged(lambda z: z.both("data/0", local, central, value))


refused("an encrypted entry", "entry 'm/data/0': it is encrypted", both(L_FLAGS, C_FLAGS, 0x0809))
refused("a strongly encrypted entry", "entry 'm/data/0': it is encrypted", both(L_FLAGS, C_FLAGS, 0x0849))
refused("an encrypted directory", "entry 'm/data/0': it is encrypted", both(L_FLAGS, C_FLAGS, 0x2808))
refused("an entry that is a patch", "entry 'm/data/0': it has general purpose flags 0x0020 set, which are not known",
        both(L_FLAGS, C_FLAGS, 0x0828))
refused("an entry that is said to be deflated", f"entry 'm/data/0': it is compressed (method 8); {STORED}",
        both(L_METHOD, C_METHOD, 8))


def deflated(n_mib):
    """So many MiB of zeros, packed: the packer begins anew each MiB, so that its output can be repeated."""
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    piece = packer.compress(bytes(1 << 20)) + packer.flush(zlib.Z_FULL_FLUSH)
    return piece * n_mib + packer.flush()


def deflate_bomb():
    z = checkpoint()
    z.add("m/data/2", deflated(1024), method=8, size=1 << 30)
    return z.finish().bytes


def deflate_bomb_of_pickle():
    z = Zip()
    z.add("m/data.pkl", deflated(1024), method=8, size=1 << 30)
    return z.finish().bytes


refused("a deflate bomb of 1 GiB", f"entry 'm/data/2': it is compressed (method 8); {STORED}", deflate_bomb)
refused("a deflate bomb of 1 GiB as the pickle", f"entry 'm/data.pkl': it is compressed (method 8); {STORED}",
        deflate_bomb_of_pickle)
refused("a bzip2 entry", f"entry 'm/data/0': it is compressed (method 12); {STORED}", both(L_METHOD, C_METHOD, 12))


# ---- contents --------------------------------------------------------------------------------------------------------


def flip(name, at):
    def change(z):
        z.bytes[z[name].content + at] ^= 0x80

    return change


def crc_of(data, at):
    data = bytearray(data)
    data[at] ^= 0x80
    return zlib.crc32(data)


refused("one bit of a storage", f"entry 'm/data/0': its CRC-32 is {crc_of(FLOATS, 3):08x}, the directory says "
        f"{FLOATS_CRC:08x}: {BAD_CRC}", damaged(flip("data/0", 3)))
refused("one bit of the pickle", f"entry 'm/data.pkl': its CRC-32 is {crc_of(pickles.GOOD, 9):08x}, the directory says "
        f"{zlib.crc32(pickles.GOOD):08x}: {BAD_CRC}", damaged(flip("data.pkl", 9)))


def no_crcs():
    z = good()
    for e in z.entries:
        z.put32(e.central + C_CRC, 0)
        z.put32(e.descriptor + 4, 0)
    return z.bytes


refused("CRCs of 0, as set_crc32_options(False) writes them", "entry 'm/data.pkl': its CRC-32 is "
        f"{zlib.crc32(pickles.GOOD):08x}, the directory says 00000000: {BAD_CRC}", no_crcs)
refused("a byte order that is none", "entry 'm/byteorder': it says 'middle'; 'little' or 'big' was expected",
        with_entry("m/byteorder", b"middle"))
refused("a byte order with an escape sequence",
        "entry 'm/byteorder': it says '\\x1b[31mred'; 'little' or 'big' was expected",
        with_entry("m/byteorder", b"\x1b[31mred"))
refused("a byte order of 1 MiB", "entry 'm/byteorder': it says '" + "A" * 96 + "...'; 'little' or 'big' was expected",
        with_entry("m/byteorder", b"A" * (1 << 20)))
refused("a version of a thousand digits", "entry 'm/version': it says '" + "9" * 96 + "...'; a number was expected",
        with_entry("m/version", b"9" * 1000))
refused("a version to come", "entry 'm/version': file format version 11; at most 10 is known",
        with_entry("m/version", b"11\n"))
refused("a version below zero", "entry 'm/version': it says '-3\\x0a'; a number was expected",
        with_entry("m/version", b"-3\n"))
refused("a record shorter than its storage",
        "entry 'm/data.pkl', offset 94: opcode BINPERSID: storage '0' of 6 float32 elements (4 bytes each) does not "
        "fit its record of 23 bytes", with_entry("m/data/0", FLOATS[:23]))
refused("a record longer than its storage",
        "entry 'm/data.pkl', offset 94: opcode BINPERSID: storage '0' of 6 float32 elements (4 bytes each) does not "
        "fit its record of 25 bytes", with_entry("m/data/0", FLOATS + b"x"))
refused("a pickle over 16 MiB", "entry 'm/data.pkl': a pickle of 16777217 bytes; at most 16777216 are taken",
        lambda: checkpoint(b"N" * ((1 << 24) + 1)).finish().bytes)
accepted("a storage that nothing refers to", with_entry("m/data/99", bytes(4096)))
accepted("no alignment at all", lambda: good(alignment=0).bytes)
accepted("no zip64 end record", lambda: good(zip64=False).bytes)


# ---- archives of another kind ----------------------------------------------------------------------------------------


def of_names(*names):
    def make():
        z = Zip()
        for name in names:
            z.add(name, b"x")
        return z.finish().bytes

    return make


refused("a TorchScript archive", "a TorchScript archive (torch.jit.save): it holds a program; load it with "
        "torch.jit.load in Python and save its state_dict() with torch.save",
        of_names("m/data.pkl", "m/constants.pkl", "m/code/__torch__.py"))
refused("an exported program", "an exported program (torch.export.save): load it with torch.export.load in Python and "
        "save its state_dict with torch.save", of_names("m/models/model.json", "m/data.pkl"))
refused("a Keras model", "a Keras model: convert the weights to PyTorch or safetensors first",
        of_names("metadata.json", "config.json", "model.weights.h5"))
refused("a NumPy archive", "a NumPy archive (npz): convert the weights to PyTorch or safetensors first",
        of_names("conv1.npy", "conv2.npy"))
refused("an Android package", "an Android package", of_names("AndroidManifest.xml", "classes.dex"))
refused("an Office document", "an Office document", of_names("[Content_Types].xml", "word/document.xml"))
refused("an archive of photographs", "a zip archive that is not a PyTorch checkpoint: it has no entry FOLDER/data.pkl",
        of_names("photos/cat.jpg"))
refused("an archive of nothing", "a zip archive that is not a PyTorch checkpoint: it has no entry FOLDER/data.pkl",
        lambda: Zip(zip64=False).finish().bytes)


# ---- very many -------------------------------------------------------------------------------------------------------


def many(n):
    def make():
        z = checkpoint()
        z.alignment = 0
        for i in range(n - len(z.entries)):
            z.add(f"m/{i}")
        return z.finish().bytes

    return make


refused("a million entries", "the archive has 1000000 entries; at most 131072 are taken", many(1000000))
accepted("as many entries as are taken", many(131072))
