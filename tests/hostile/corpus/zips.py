"""Zip archives as torch.save lays them out, with the place of every header at hand to damage it."""
import struct
import zlib

from corpus import pickles
from corpus.rows import u16, u32, u64

# Fields of a local header, of a directory entry, of the end record and of the zip64 end record.
L_FLAGS, L_METHOD, L_CRC, L_PACKED, L_SIZE, L_NAME_BYTES, L_EXTRA_BYTES, L_NAME = 6, 8, 14, 18, 22, 26, 28, 30
C_FLAGS, C_METHOD, C_CRC, C_PACKED, C_SIZE, C_NAME_BYTES, C_EXTRA_BYTES, C_COMMENT_BYTES = 8, 10, 16, 20, 24, 28, 30, 32
C_DISK, C_OFFSET, C_NAME = 34, 42, 46
E_DISK, E_COUNT_HERE, E_COUNT, E_SIZE, E_OFFSET, E_COMMENT_BYTES = 4, 8, 10, 12, 16, 20
E64_SIZE, E64_DISK, E64_COUNT_HERE, E64_COUNT, E64_BYTES, E64_OFFSET = 4, 16, 24, 32, 40, 48
LOCATOR_OFFSET, LOCATOR_DISKS = 8, 16


class Entry:
    def __init__(self, name, data, flags, method, crc, size):
        self.name, self.data, self.flags, self.method, self.crc, self.size = name, data, flags, method, crc, size
        self.packed = len(data)
        self.local = self.content = self.descriptor = self.central = 0
        self.extra = b""  # in the directory


class Zip:
    def __init__(self, alignment=64, zip64=True):
        self.bytes = bytearray()
        self.entries = []
        self.alignment, self.zip64 = alignment, zip64
        self.end = self.end64 = self.locator = self.directory = 0

    def add(self, name, data=b"", flags=0, method=0, deferred=True, size=None):
        """Appends an entry. size: what it is unpacked to, where that is not its length."""
        name = name if isinstance(name, bytes) else name.encode()
        deferred = deferred and len(data) > 0
        e = Entry(name, data, flags | (0x0808 if deferred else 0x0800), method, zlib.crc32(data), size or len(data))
        e.local = len(self.bytes)
        start = e.local + 30 + len(name) + 4
        padding = -start % self.alignment if self.alignment else 0
        extra = b"FB" + u16(padding) + b"Z" * padding if self.alignment else b""
        stated = (0, 0, 0) if deferred else (e.crc, e.packed, e.size)
        self.bytes += struct.pack("<IHHHIIIIHH", 0x04034B50, 0, e.flags, method, 0, *stated, len(name), len(extra))
        self.bytes += name + extra
        e.content = len(self.bytes)
        self.bytes += data
        e.descriptor = len(self.bytes)
        if deferred:
            self.bytes += struct.pack("<IIII", 0x08074B50, e.crc, e.packed, e.size)
        self.entries.append(e)
        return e

    def finish(self):
        self.directory = len(self.bytes)
        for e in self.entries:
            e.central = len(self.bytes)
            self.bytes += struct.pack("<IHHHHIIIIHHHHHII", 0x02014B50, 0, 0, e.flags, e.method, 0, e.crc, e.packed,
                                      e.size, len(e.name), len(e.extra), 0, 0, 0, 0, e.local)
            self.bytes += e.name + e.extra
        length, count = len(self.bytes) - self.directory, len(self.entries)
        if self.zip64:
            self.end64 = len(self.bytes)
            self.bytes += struct.pack("<IQHHIIQQQQ", 0x06064B50, 44, 0x031E, 0x002D, 0, 0, count, count, length,
                                      self.directory)
            self.locator = len(self.bytes)
            self.bytes += struct.pack("<IIQI", 0x07064B50, 0, self.end64, 1)
        self.end = len(self.bytes)
        few = min(count, 0xFFFF)
        self.bytes += struct.pack("<IHHHHIIH", 0x06054B50, 0, 0, few, few, length, self.directory, 0)
        return self

    def __getitem__(self, name):
        return next(e for e in self.entries if e.name == b"m/" + name.encode())

    def put(self, at, data):
        self.bytes[at : at + len(data)] = data

    def put16(self, at, value):
        self.put(at, u16(value))

    def put32(self, at, value):
        self.put(at, u32(value))

    def put64(self, at, value):
        self.put(at, u64(value))

    def both(self, name, local_field, central_field, value):
        """The same 16 bits in both headers."""
        self.put16(self[name].local + local_field, value)
        self.put16(self[name].central + central_field, value)


FLOATS = struct.pack("<6f", 0, 1, 2, 3, 4, 5)
INTEGERS = struct.pack("<2q", 10, 11)


def checkpoint(pickle=pickles.GOOD, **how):
    """The same checkpoint that tests/support/test_zip.c makes, open for more entries."""
    z = Zip(**how)
    z.add("m/data.pkl", pickle)
    z.add("m/byteorder", b"little")
    z.add("m/data/0", FLOATS)
    z.add("m/data/1", INTEGERS)
    z.add("m/version", b"3\n")
    return z


def good(**how):
    return checkpoint(**how).finish()


def damaged(change, **how):
    """make() for a row: a good archive that change(zip) was done to."""

    def make():
        z = good(**how)
        change(z)
        return z.bytes

    return make


def with_entry(name, data=b"x", **how):
    """make() for a row: a good archive with one more entry, or another content of one that is there."""

    def make():
        z = Zip()
        full = name if isinstance(name, bytes) else name.encode()
        for e in checkpoint().entries:
            if e.name != full or full == b"m/data.pkl":
                z.add(e.name, e.data)
        z.add(name, data, **how)
        return z.finish().bytes

    return make


def of_pickle(pickle):
    """make() for a row: a good archive of that pickle. A callable is called when the row is made."""
    return lambda: checkpoint(pickle() if callable(pickle) else pickle).finish().bytes
