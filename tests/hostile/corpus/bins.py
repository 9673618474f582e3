"""anx bin files (loaders/checkpoint/BIN-FORMAT.md), with checksums that are right after any change."""
import struct
import zlib

MAGIC = b"\x89ANXBIN\n"
HEADER, RECORD = "<8sIIQQQQQII", "<QIIIIQQ8Q"
F32, I64, U8 = 1, 5, 9


class Bin:
    def __init__(self, tensors=(("w", F32, (2, 3), bytes(24)), ("n", I64, (2,), bytes(16))), text=b""):
        """tensors: name, type code, shape, bytes."""
        names = b"".join(t[0].encode() + b"\0" for t in tensors)
        self.names, self.text, self.records, self.data = names, text, [], b""
        name_at = 64 + 104 * len(tensors)
        begin = end = -(-(name_at + len(names) + len(text)) // 64) * 64
        for name, code, shape, data in tensors:
            start = -(-end // 64) * 64
            self.data += bytes(start - end) + data
            self.records.append({"name_offset": name_at, "name_bytes": len(name.encode()), "dtype": code,
                                 "rank": len(shape), "crc": zlib.crc32(data), "data_offset": start,
                                 "data_bytes": len(data), "shape": list(shape) + [0] * (8 - len(shape))})
            name_at += len(name.encode()) + 1
            end = start + len(data)
        self.header = {"magic": MAGIC, "version": 1, "n_tensors": len(tensors), "file_bytes": end,
                       "names_bytes": len(names), "text_bytes": len(text), "data_offset": begin, "reserved": 0}

    def table(self):
        records = b"".join(struct.pack(RECORD, *[v for k, v in r.items() if k != "shape"], *r["shape"])
                           for r in self.records)
        front = records + self.names + self.text
        return front + bytes(-len(front) % 64)

    def bytes(self, table_crc=None, header_crc=None):
        table = self.table()
        h = dict(self.header, table_crc=zlib.crc32(table) if table_crc is None else table_crc, header_crc=0)
        head = struct.pack(HEADER, *h.values())
        crc = zlib.crc32(head[:60]) if header_crc is None else header_crc
        return head[:60] + struct.pack("<I", crc) + table + self.data


def changed(change, *given, **named):
    """make() for a row: a good file that change(bin) was done to, its checksums made right again."""

    def make():
        b = Bin(*given, **named)
        change(b)
        return b.bytes()

    return make
