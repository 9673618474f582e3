"""Images of every kind that the decoders and the resizer meet, generated: name -> bytes of a file."""

import io
import os
import struct
import subprocess
import zlib

import numpy
from PIL import Image


def picture(width, height, seed=0):
    """(height, width, 3) uint8: smooth shades, edges and noise, so that every filter has something to show."""
    rng = numpy.random.default_rng(seed)
    y, x = numpy.mgrid[0:height, 0:width].astype(numpy.float64)
    phase = rng.uniform(0, 6, 6)
    channels = []
    for c in range(3):
        wave = numpy.sin(x / (7 + 5 * c) + phase[c]) + numpy.cos(y / (5 + 7 * c) + phase[3 + c])
        edge = 40.0 * (((x // 11 + y // (13 + c)) % 2) > 0)
        noise = rng.normal(0, 12, (height, width))
        channels.append(128 + 50 * wave + edge - 20 + noise)
    return numpy.clip(numpy.stack(channels, 2), 0, 255).astype(numpy.uint8)


def noise(width, height, channels, seed=0):
    return numpy.random.default_rng(seed).integers(0, 256, (height, width, channels), dtype=numpy.uint8)


def pillow_file(image, kind, **options):
    out = io.BytesIO()
    image.save(out, kind, **options)
    return out.getvalue()


# ---- PNG, written here since Pillow cannot interlace nor choose every depth ----

ADAM7 = ((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2))
CHANNELS = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}


def chunk(kind, data):
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def pack_samples(samples, depth):
    """(height, width, channels) -> list of rows of bytes."""
    rows = samples.reshape(samples.shape[0], -1)
    if depth == 16:
        return [row.astype(">u2").tobytes() for row in rows]
    if depth == 8:
        return [row.astype(numpy.uint8).tobytes() for row in rows]
    bits = ((rows[:, :, None] >> numpy.arange(depth - 1, -1, -1)) & 1).reshape(rows.shape[0], -1)
    return [numpy.packbits(row.astype(numpy.uint8)).tobytes() for row in bits]


def filter_row(kind, row, above, pixel_bytes):
    raw = numpy.frombuffer(row, numpy.uint8).astype(numpy.int32)
    up = numpy.frombuffer(above, numpy.uint8).astype(numpy.int32)
    left = numpy.concatenate([numpy.zeros(pixel_bytes, numpy.int32), raw])[: len(raw)]
    corner = numpy.concatenate([numpy.zeros(pixel_bytes, numpy.int32), up])[: len(raw)]
    estimate = left + up - corner
    distances = [abs(estimate - left), abs(estimate - up), abs(estimate - corner)]
    paeth = numpy.where(
        (distances[0] <= distances[1]) & (distances[0] <= distances[2]),
        left,
        numpy.where(distances[1] <= distances[2], up, corner),
    )
    predicted = [numpy.zeros_like(raw), left, up, (left + up) // 2, paeth][kind]
    return bytes([kind]) + ((raw - predicted) & 255).astype(numpy.uint8).tobytes()


def filtered(rows, pixel_bytes, first_filter):
    out, above = [], bytes(len(rows[0])) if rows else b""
    for i, row in enumerate(rows):
        out.append(filter_row((first_filter + i) % 5, row, above, pixel_bytes))
        above = row
    return b"".join(out)


def png_file(samples, depth, color, interlaced=False, extra=b"", data_chunks=1, first_filter=0):
    """A PNG of (height, width, channels) integer samples; extra: chunks between header and data."""
    height, width = samples.shape[:2]
    pixel_bytes = max(1, CHANNELS[color] * depth // 8)
    parts = []
    for x0, y0, dx, dy in ADAM7 if interlaced else ((0, 0, 1, 1),):
        part = samples[y0::dy, x0::dx]
        if part.size:
            parts.append(filtered(pack_samples(part, depth), pixel_bytes, first_filter))
    data = zlib.compress(b"".join(parts), 6)
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, color, 0, 0, int(interlaced)))
    step = (len(data) + data_chunks - 1) // data_chunks
    idat = b"".join(chunk(b"IDAT", data[i : i + step]) for i in range(0, len(data), step))
    return b"\x89PNG\r\n\x1a\n" + header + extra + idat + chunk(b"IEND", b"")


def png_kinds(width, height, seed):
    rng = numpy.random.default_rng(seed)
    kinds = [(d, 0) for d in (1, 2, 4, 8, 16)] + [(d, 3) for d in (1, 2, 4, 8)] + [(d, c) for c in (2, 4, 6) for d in (8, 16)]
    for depth, color in kinds:
        samples = rng.integers(0, 1 << depth, (height, width, CHANNELS[color]))
        if (depth, color) == (16, 0):
            samples = numpy.where(rng.random(samples.shape) < 0.5, samples % 300, samples)
        extra = b""
        if color == 3:
            extra = chunk(b"PLTE", rng.integers(0, 256, 3 * (1 << depth), dtype=numpy.uint8).tobytes())
        for interlaced in (False, True):
            name = f"png-{depth}bit-color{color}{'-interlaced' if interlaced else ''}-{width}x{height}.png"
            yield name, png_file(samples, depth, color, interlaced, extra, 1 + seed % 3, seed)


def png_oddities():
    rng = numpy.random.default_rng(5)
    eight = rng.integers(0, 256, (20, 30, 1))
    colors = rng.integers(0, 256, 768, dtype=numpy.uint8).tobytes()
    yield "png-palette-short.png", png_file(eight, 8, 3, extra=chunk(b"PLTE", colors[:60]))
    yield "png-palette-uneven.png", png_file(eight, 8, 3, extra=chunk(b"PLTE", colors[:61]))
    yield "png-palette-missing.png", png_file(eight, 8, 3)
    yield "png-palette-twice.png", png_file(eight, 8, 3, extra=chunk(b"PLTE", colors[:90]) + chunk(b"PLTE", colors[90:120]))
    yield "png-palette-in-gray.png", png_file(eight, 8, 0, extra=chunk(b"PLTE", colors))
    plte = chunk(b"PLTE", colors)
    yield "png-palette-trns-bytes.png", png_file(eight, 8, 3, extra=plte + chunk(b"tRNS", colors[:100]))
    yield "png-palette-trns-one.png", png_file(eight, 8, 3, extra=plte + chunk(b"tRNS", b"\xff\xff\x00\xff"))
    yield "png-gray-trns.png", png_file(eight, 8, 0, extra=chunk(b"tRNS", b"\0\x10"))
    yield "png-gray1-trns.png", png_file(eight % 2, 1, 0, extra=chunk(b"tRNS", b"\0\x01"))
    yield "png-gray16-trns.png", png_file(eight * 257, 16, 0, extra=chunk(b"tRNS", b"\0\x10"))
    color = rng.integers(0, 256, (20, 30, 3))
    yield "png-rgb-trns.png", png_file(color, 8, 2, extra=chunk(b"tRNS", b"\0\x10\0\x20\0\x30"))
    yield "png-gamma-srgb.png", png_file(
        color, 8, 2, extra=chunk(b"gAMA", struct.pack(">I", 30000)) + chunk(b"sRGB", b"\0") + chunk(b"pHYs", bytes(9))
    )
    yield "png-bad-profile.png", png_file(color, 8, 2, extra=chunk(b"iCCP", b"x\0\0not zlib at all"))
    yield "png-text.png", png_file(color, 8, 2, extra=chunk(b"tEXt", b"k\0v") + chunk(b"zTXt", b"k\0\0" + zlib.compress(b"v")))
    yield "png-unknown-critical.png", png_file(color, 8, 2, extra=chunk(b"ABCD", b"what is this"))
    yield "png-many-data-chunks.png", png_file(color, 8, 2, data_chunks=500)
    whole = png_file(color, 8, 2)
    yield "png-no-end.png", whole[:-12]
    yield "png-no-data-checksum.png", whole[:-16]
    yield "png-trailing-bytes.png", whole + b"anything at all"
    at = whole.index(b"IDAT")
    length = struct.unpack(">I", whole[at - 4 : at])[0]
    crc_at = at + 4 + length
    yield "png-wrong-data-checksum.png", whole[:crc_at] + b"\0\0\0\0" + whole[crc_at + 4 :]
    data = whole[at + 4 : crc_at]
    header = whole[: at - 4]
    end = chunk(b"IEND", b"")
    yield "png-empty-data-chunks.png", header + chunk(b"IDAT", b"") + chunk(b"IDAT", data) + chunk(b"IDAT", b"") + end
    yield "png-data-too-long.png", header + chunk(b"IDAT", zlib.compress(zlib.decompress(data) + b"\0" * 500)) + end
    yield "png-no-adler.png", header + chunk(b"IDAT", data[:-4]) + end
    small_window = zlib.compressobj(6, zlib.DEFLATED, 9)
    yield "png-small-window.png", header + chunk(b"IDAT", small_window.compress(zlib.decompress(data)) + small_window.flush()) + end
    yield "png-named.jpg", whole
    frame = struct.pack(">IIIIIHHBB", 0, 30, 20, 0, 0, 1, 10, 0, 0)
    yield "png-animated.png", png_file(
        color, 8, 2, extra=chunk(b"acTL", struct.pack(">II", 1, 0)) + chunk(b"fcTL", frame)
    )


# ---- JPEG ----

SAMPLINGS = {
    "gray": ["1x1", "2x2"],
    "ycc": ["1x1,1x1,1x1", "2x1,1x1,1x1", "2x2,1x1,1x1", "1x2,1x1,1x1", "4x1,1x1,1x1", "4x2,1x1,1x1", "1x4,1x1,1x1",
            "2x4,1x1,1x1", "2x2,2x1,2x1", "2x2,1x2,1x2", "1x1,2x2,1x1", "2x2,1x2,2x1", "2x1,2x1,2x1", "3x1,1x1,1x1", "3x2,1x1,3x1"],
    "rgb": ["1x1,1x1,1x1", "2x1,1x1,1x1"],
    "cmyk": ["1x1,1x1,1x1,1x1", "2x2,1x1,1x1,1x1"],
    "ycck": ["1x1,1x1,1x1,1x1", "2x2,1x1,1x1,2x2", "2x1,1x1,1x1,2x1"],
}


class JpegWriter:
    """Collects files to be written by tests/image/jpeg_writer.c, then writes them at once."""

    def __init__(self, program, folder):
        self.program, self.folder, self.specs, self.names = program, folder, [], []

    def add(self, name, samples, space, quality=90, sampling="1x1,1x1,1x1,1x1", flags="-", restart=0):
        height, width = samples.shape[:2]
        raw = os.path.join(self.folder, name + ".raw")
        samples.tofile(raw)
        out = os.path.join(self.folder, name)
        self.specs.append(f"{out} {raw} {width} {height} {space} {quality} {sampling} {flags} {restart}\n")
        self.names.append((out, raw))

    def write(self):
        subprocess.run([self.program], input="".join(self.specs), text=True, check=True)
        for out, raw in self.names:
            os.remove(raw)
            with open(out, "rb") as f:
                data = f.read()
            os.remove(out)
            yield os.path.basename(out), data


def samples_for(space, width, height, seed):
    color = picture(width, height, seed)
    if space == "gray":
        return numpy.ascontiguousarray(color[:, :, :1])
    if space in ("cmyk", "ycck"):
        return numpy.concatenate([color, picture(width, height, seed + 1)[:, :, :1]], 2)
    return color


def jpeg_kinds(writer):
    """Every color space, sampling, process and a few sizes around the blocks' borders."""
    sizes = [(61, 47), (64, 48), (33, 97), (17, 16)]
    seed = 0
    for space, samplings in SAMPLINGS.items():
        for sampling in samplings:
            for flags in ("-", "p", "a", "ap", "s"):
                if flags == "s" and space == "gray":
                    continue
                seed += 1
                width, height = sizes[seed % len(sizes)]
                restart = (0, 1, 3, 0)[seed % 4]
                name = f"jpeg-{space}-{sampling.replace(',', '_')}-{flags}-{width}x{height}-r{restart}.jpg"
                writer.add(name, samples_for(space, width, height, seed), space, (30, 75, 90, 100)[seed // 2 % 4], sampling, flags, restart)
    for quality in (1, 5, 20, 50, 75, 95, 100):
        writer.add(f"jpeg-quality{quality}.jpg", samples_for("ycc", 90, 70, quality), "ycc", quality, "2x2,1x1,1x1", "o")
    for flags in ("n", "np"):
        for space in ("ycc", "rgb", "cmyk", "ycck"):
            sampling = ",".join(["1x1"] * (4 if space in ("cmyk", "ycck") else 3))
            writer.add(f"jpeg-unmarked-{space}-{flags}.jpg", samples_for(space, 50, 40, 3), space, 90, sampling, flags)


# What the sizes reach in Resize(256): unchanged axes, enlarging, shrinking, vertical first (more than twice as high
# as wide), margins whose half is rounded to even, thin images.
SIZES = [
    (1, 1), (1, 2), (2, 1), (1, 7), (7, 1), (2, 3), (8, 8), (9, 9), (15, 17), (16, 16), (1, 40), (40, 1), (3, 100), (100, 3),
    (255, 255), (256, 256), (257, 257), (256, 300), (300, 256), (256, 255), (255, 256), (256, 257), (257, 256),
    (500, 375), (375, 500), (640, 480), (511, 512), (512, 512), (513, 1025), (513, 1026), (513, 1027), (513, 1028), (400, 799),
    (400, 800), (400, 801), (400, 802), (300, 900), (900, 300), (260, 1500), (1500, 260), (257, 514), (257, 515), (257, 516),
    (258, 517), (259, 777), (1023, 767), (300, 1), (1, 300), (2, 600), (600, 2), (270, 271), (271, 270), (331, 777),
]  # fmt: skip
SAMPLING_OF_SIZE = ["2x2,1x1,1x1", "1x1,1x1,1x1", "2x1,1x1,1x1", "1x2,1x1,1x1"]


def jpeg_sizes(writer, count=2):
    for i, (width, height) in enumerate(SIZES):
        for k in range(count):
            sampling = SAMPLING_OF_SIZE[(i + k) % 4]
            flags = ("-", "p", "-", "a")[(i + k) % 4]
            restart = (0, 0, 2, 0, 5)[(i + k) % 5]
            name = f"jpeg-size-{width}x{height}-{sampling[:3]}-{flags}.jpg"
            writer.add(name, picture(width, height, 100 * k + i), "ycc", 85, sampling, flags, restart)


def random_sizes(writer, count, seed):
    rng = numpy.random.default_rng(seed)
    for i in range(count):
        short = int(rng.integers(100, 420))
        long = int(short * rng.uniform(1, 2.6))
        width, height = (short, long) if rng.random() < 0.5 else (long, short)
        sampling = SAMPLING_OF_SIZE[i % 4] if i % 7 else SAMPLINGS["ycc"][i // 7 % len(SAMPLINGS["ycc"])]
        flags = ("-", "-", "p", "a", "s")[i % 5]
        restart = (0, 1, 0, 7, 0, 0)[i % 6]
        writer.add(f"jpeg-random-{seed}-{i}-{width}x{height}-{sampling[:3]}-{flags}.jpg", picture(width, height, i), "ycc",
                   int(rng.integers(20, 100)), sampling, flags, restart)  # fmt: skip


def with_segment(jpeg, marker, data):
    """The JPEG with one more segment behind its start."""
    return jpeg[:2] + bytes([0xFF, marker]) + struct.pack(">H", len(data) + 2) + data + jpeg[2:]


def jpeg_oddities():
    image = Image.fromarray(picture(120, 90, 7))
    plain = pillow_file(image, "JPEG", quality=88)
    exif = Image.Exif()
    exif[0x0112] = 6
    yield "jpeg-exif-rotated.jpg", pillow_file(image, "JPEG", exif=exif, quality=80)
    yield "jpeg-icc.jpg", pillow_file(image, "JPEG", icc_profile=bytes(3000), quality=80)
    yield "jpeg-comment.jpg", with_segment(plain, 0xFE, b"hello" * 100)
    yield "jpeg-long-segment.jpg", with_segment(with_segment(plain, 0xE5, bytes(65000)), 0xE6, bytes(range(256)) * 250)
    yield "jpeg-trailing-bytes.jpg", plain + b"anything at all" * 9
    yield "jpeg-trailing-jpeg.jpg", plain + pillow_file(Image.fromarray(noise(16, 16, 3)), "JPEG")
    yield "jpeg-fill-bytes.jpg", plain[:2] + b"\xff\xff\xff" + plain[2:]
    yield "jpeg-junk-between-segments.jpg", plain[:20] + b"junk" + plain[20:]
    yield "jpeg-no-end.jpg", plain[:-2]
    yield "jpeg-end-early.jpg", plain[: len(plain) // 2] + b"\xff\xd9"
    yield "jpeg-progressive-end-early.jpg", pillow_file(image, "JPEG", progressive=True)[:2000] + b"\xff\xd9"
    yield "jpeg-restart-out-of-order.jpg", plain[: len(plain) // 2] + b"\xff\xd3" + plain[len(plain) // 2 :]
    damaged = bytearray(plain)
    for at in range(len(plain) - 900, len(plain) - 300, 97):
        damaged[at] ^= 0x35
    yield "jpeg-damaged-data.jpg", bytes(damaged)
    yield "jpeg-named.png", plain
    yield "jpeg-multi-picture.jpg", pillow_file(image, "MPO", save_all=True, append_images=[image.rotate(90)])
    for mode in ("L", "RGB", "CMYK"):
        for progressive in (False, True):
            yield f"jpeg-pillow-{mode}-{progressive}.jpg", pillow_file(image.convert(mode), "JPEG", progressive=progressive)
    for subsampling in (0, 1, 2):
        yield f"jpeg-pillow-subsampling{subsampling}.jpg", pillow_file(image, "JPEG", subsampling=subsampling)
    for rows in (1, 2):
        yield f"jpeg-restart-rows{rows}.jpg", pillow_file(image, "JPEG", restart_marker_rows=rows)


def png_sizes():
    for i, (width, height) in enumerate(SIZES):
        yield f"png-size-{width}x{height}.png", pillow_file(Image.fromarray(noise(width, height, 3, i)), "PNG", compress_level=1)
    for width, height in ((1, 9000), (9000, 1), (3, 20000), (20000, 3), (700, 30000), (30000, 300)):
        ramp = numpy.add.outer(numpy.arange(height), 3 * numpy.arange(width)).astype(numpy.uint8)
        image = Image.fromarray(numpy.stack([ramp, ramp[::-1], ramp * 3], 2))
        yield f"png-thin-{width}x{height}.png", pillow_file(image, "PNG", compress_level=1)
    for width, height in ((1, 1), (2, 5), (3, 3), (5, 2), (9, 8), (33, 21)):
        yield from png_kinds(width, height, width)
