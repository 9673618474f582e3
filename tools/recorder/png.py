"""A small PNG writer for what Pillow reads but does not write: every bit depth, interlacing, transparency keys."""

import struct
import zlib

import numpy as np

GRAY, RGB, PALETTE, GRAY_ALPHA, RGBA = 0, 2, 3, 4, 6
CHANNELS = {GRAY: 1, RGB: 3, PALETTE: 1, GRAY_ALPHA: 2, RGBA: 4}
ADAM7 = ((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2))


def _chunk(kind, data):
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def _rows(pixels, depth):
    """Scanlines of (H, W, C) samples, each with filter type 0, 1 (Sub) or 2 (Up) in turn."""
    height, width, channels = pixels.shape
    if depth == 16:
        lines = pixels.astype(">u2").reshape(height, -1).view(np.uint8)
    elif depth == 8:
        lines = pixels.astype(np.uint8).reshape(height, -1)
    else:
        bits = np.unpackbits(pixels.astype(np.uint8).reshape(height, width, 1), axis=2)[:, :, 8 - depth:]
        lines = np.packbits(bits.reshape(height, -1), axis=1)
    step = max(1, channels * depth // 8)
    out = bytearray()
    above = np.zeros(lines.shape[1], np.uint8)
    for i, line in enumerate(lines):
        kind = i % 3
        left = np.concatenate([np.zeros(step, np.uint8), line[:-step] if line.size > step else line[:0]])[: line.size]
        filtered = line if kind == 0 else line - (left if kind == 1 else above)
        out += bytes([kind]) + filtered.astype(np.uint8).tobytes()
        above = line
    return bytes(out)


def encode(pixels, color, depth=8, interlaced=False, palette=None, transparency=None):
    """pixels: (H, W, C) samples of `depth` bits. palette: (n, 3) bytes. transparency: the bytes of a tRNS chunk."""
    pixels = np.asarray(pixels)
    height, width, channels = pixels.shape
    assert channels == CHANNELS[color]
    if interlaced:
        passes = (pixels[y::dy, x::dx] for x, y, dx, dy in ADAM7)
        data = b"".join(_rows(p, depth) for p in passes if p.size)
    else:
        data = _rows(pixels, depth)
    out = b"\x89PNG\r\n\x1a\n"
    out += _chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, color, 0, 0, int(interlaced)))
    if palette is not None:
        out += _chunk(b"PLTE", np.asarray(palette, np.uint8).tobytes())
    if transparency is not None:
        out += _chunk(b"tRNS", transparency)
    return out + _chunk(b"IDAT", zlib.compress(data, 9)) + _chunk(b"IEND", b"")
