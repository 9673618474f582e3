"""What a row of the corpus is, and what all formats need to write bytes."""
import dataclasses
import struct
import typing


@dataclasses.dataclass(frozen=True)
class Row:
    """A hostile file: what was done to it, how it is made, and the whole message that the commands must refuse it with.

    make() returns the file's bytes; make(path) with `special` makes the file itself (a FIFO, a sparse file, ...).
    """

    name: str
    make: typing.Callable
    message: str = ""  # after "COMMAND: FILE: "; <N> is any number. "" for an accepted file
    accepted: bool = False  # strange, but legal: exit code 0
    said: str = ""  # what a conversion of an accepted file says on standard error
    special: bool = False


class Rows(list):
    """The rows of one format."""

    def refused(self, name, message, make, **more):
        self.append(Row(name, make, message, **more))

    def accepted(self, name, make, said=""):
        self.append(Row(name, make, accepted=True, said=said))


def u16(value):
    return struct.pack("<H", value)


def u32(value):
    return struct.pack("<I", value)


def u64(value):
    return struct.pack("<Q", value)


def sparse(size, *pieces):
    """Makes a file of `size` bytes that takes no room, with (offset, bytes) written into it."""

    def make(path):
        with open(path, "wb") as f:
            f.truncate(size)
            for at, data in pieces:
                f.seek(at)
                f.write(data)

    return make


TIB = 1 << 40
