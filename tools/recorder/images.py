"""
Makes the images of fixtures/images: small crops of photographs in the public domain (or CC0), and generated ones, in
every format and shape that decoding and resizing treat differently.

The photographs are those that scikit-image and matplotlib ship (skimage/data, matplotlib/mpl-data/sample_data), laid
into one folder. `cjpeg` of libjpeg-turbo writes what Pillow cannot.
"""

import io
import json
import os
import subprocess

import numpy as np
from PIL import Image

from . import png

# file: (title and author, licence)
PHOTOGRAPHS = {
    "astronaut.png": ("Eileen Collins, NASA Great Images database", "public domain"),
    "brick.png": ("Bricks25, CC0Textures", "CC0 1.0"),
    "camera.png": ("Camera, Lav Varshney", "CC0 1.0"),
    "cell.png": ("Cell, scikit-image", "CC0 1.0"),
    "chelsea.png": ("Chelsea the cat, Stefan van der Walt", "CC0 1.0"),
    "coffee.png": ("Cup of coffee, Rachel Michetti", "CC0 1.0"),
    "grace_hopper.jpg": ("Commodore Grace Hopper, James S. Davis, United States Navy", "public domain"),
    "grass.png": ("Grass 01, linolafett", "CC0 1.0"),
    "gravel.png": ("Gravel04, CC0Textures", "CC0 1.0"),
    "horse.png": ("Horse, Andreas Preuss", "CC0 1.0"),
    "hubble_deep_field.jpg": ("Hubble eXtreme Deep Field, NASA", "public domain"),
    "microaneurysms.png": ("Microaneurysms, Andreas Maier", "CC0 1.0"),
    "retina.jpg": ("Fundus of a normal left eye, Mikael Haeggstroem", "CC0 1.0"),
    "rocket.jpg": ("Launch of DSCOVR on Falcon 9, SpaceX", "CC0 1.0"),
}

# The thirty photographs and patterns whose activations are recorded: name, photograph, box, size, quality.
VIEWS = (
    ("cat.jpg", "chelsea.png", None, (375, 250), 85),
    ("cat-face.jpg", "chelsea.png", (120, 10, 350, 250), (230, 240), 75),
    ("cat-eye.jpg", "chelsea.png", (150, 70, 280, 190), (130, 120), 75),
    ("astronaut.jpg", "astronaut.png", None, (300, 300), 70),
    ("astronaut-face.jpg", "astronaut.png", (150, 0, 300, 210), (150, 210), 80),
    ("astronaut-shuttle.jpg", "astronaut.png", (300, 40, 500, 290), (200, 250), 75),
    ("astronaut-flag.jpg", "astronaut.png", (0, 0, 160, 300), (160, 300), 75),
    ("coffee.jpg", "coffee.png", None, (360, 240), 75),
    ("coffee-cup.jpg", "coffee.png", (180, 60, 500, 340), (256, 224), 75),
    ("coffee-spoon.jpg", "coffee.png", (0, 200, 260, 400), (260, 200), 75),
    ("rocket.jpg", "rocket.jpg", None, (320, 214), 75),
    ("rocket-flame.jpg", "rocket.jpg", (260, 180, 460, 420), (200, 240), 75),
    ("rocket-sky.jpg", "rocket.jpg", (0, 0, 240, 240), (240, 240), 60),
    ("galaxies.jpg", "hubble_deep_field.jpg", (100, 100, 400, 360), (300, 260), 65),
    ("galaxies-2.jpg", "hubble_deep_field.jpg", (500, 300, 760, 560), (260, 260), 65),
    ("galaxies-3.jpg", "hubble_deep_field.jpg", (700, 600, 900, 800), (200, 200), 65),
    ("retina.jpg", "retina.jpg", None, (288, 288), 70),
    ("retina-vessels.jpg", "retina.jpg", (300, 500, 700, 900), (230, 230), 70),
    ("hopper.jpg", "grace_hopper.jpg", None, (256, 300), 75),
    ("hopper-face.jpg", "grace_hopper.jpg", (150, 60, 360, 330), (210, 270), 75),
    ("hopper-ribbons.jpg", "grace_hopper.jpg", (300, 380, 500, 600), (200, 220), 75),
    ("brick.jpg", "brick.png", (0, 0, 256, 256), (256, 256), 60),
    ("grass.jpg", "grass.png", (0, 0, 200, 200), (200, 200), 50),
    ("gravel.jpg", "gravel.png", (0, 0, 200, 200), (200, 200), 50),
    ("cameraman.jpg", "camera.png", None, (256, 256), 65),
    ("cell.jpg", "cell.png", None, (220, 264), 60),
    ("horse.png", "horse.png", None, None, None),
    ("microaneurysms.png", "microaneurysms.png", None, None, None),
)


def _jpeg(image, **options):
    out = io.BytesIO()
    image.save(out, "JPEG", **options)
    return out.getvalue()


def _png(image):
    out = io.BytesIO()
    image.save(out, "PNG", optimize=True)
    return out.getvalue()


def _cjpeg(image, *options):
    ppm = io.BytesIO()
    image.save(ppm, "PPM")
    return subprocess.run(["cjpeg", *options], input=ppm.getvalue(), stdout=subprocess.PIPE, check=True).stdout


def _ycck(image, quality):
    """A CMYK file whose Adobe marker says YCCK (transform 2), its samples transformed accordingly."""
    rgb = np.asarray(image.convert("RGB").convert("YCbCr"))
    black = np.asarray(image.convert("L"))[:, :, None] // 2 + 120
    data = _jpeg(Image.fromarray(np.concatenate([rgb, black], axis=2), "CMYK"), quality=quality)
    at = data.index(b"\xff\xee\x00\x0eAdobe") + 15
    assert data[at] == 0
    return data[:at] + b"\x02" + data[at + 1:]


def _noise(height, width, channels, seed):
    """xorshift32 bytes: the same with every version of every library."""
    out, x = bytearray(), seed
    for _ in range(height * width * channels):
        x ^= (x << 13) & 0xFFFFFFFF
        x ^= x >> 17
        x ^= (x << 5) & 0xFFFFFFFF
        out.append((x >> 11) & 255)
    return np.frombuffer(bytes(out), np.uint8).reshape(height, width, channels)


def _ramp(height, width):
    """A smooth pattern with an edge and a different course in each channel, 16 bits."""
    y, x = np.mgrid[0:height, 0:width]
    r = (x * 65535 // max(width - 1, 1)) ^ np.where((x // 9 + y // 7) % 2, 0, 21845)
    g = y * 65535 // max(height - 1, 1)
    b = (x * 977 + y * 1931 + x * y * 13) % 65536
    return np.stack([r, g, b], axis=2).astype(np.uint16)


class Maker:
    def __init__(self, folder):
        self.folder = folder
        self.files = {}

    def photo(self, name, box=None, size=None, mode="RGB"):
        image = Image.open(os.path.join(self.folder, name)).convert(mode)
        if box is not None:
            image = image.crop(box)
        return image if size is None else image.resize(size, Image.Resampling.LANCZOS)

    def add(self, name, data, shows, photograph=None):
        """photograph: the source's file name, None for a generated image."""
        assert name not in self.files
        self.files[name] = (data, shows, photograph)


def _views(maker):
    for name, photograph, box, size, quality in VIEWS:
        if name.endswith(".png"):
            with open(os.path.join(maker.folder, photograph), "rb") as f:
                maker.add(name, f.read(), "a PNG with an alpha channel" if name == "horse.png" else "a gray PNG", photograph)
        else:
            image = maker.photo(photograph, box, size)
            maker.add(name, _jpeg(image, quality=quality), "a photograph", photograph)
    maker.add("black.png", png.encode(np.zeros((240, 320, 1)), png.GRAY, 1), "constant black, 1 bit")
    maker.add("noise.png", png.encode(_noise(61, 83, 3, 7), png.RGB), "noise")


def _jpegs(maker):
    cat, cup, hop = "chelsea.png", "coffee.png", "grace_hopper.jpg"
    eyes = lambda size: maker.photo(cat, (110, 40, 330, 200), size)
    mug = lambda size: maker.photo(cup, (190, 70, 490, 330), size)
    face = lambda size: maker.photo(hop, (150, 60, 360, 330), size)

    def add(name, data, shows, photograph):
        maker.add("jpeg-" + name + ".jpg", data, shows, photograph)

    add("444", _jpeg(eyes((161, 117)), quality=80, subsampling=0), "4:4:4, odd size", cat)
    add("422", _jpeg(mug((143, 151)), quality=80, subsampling=1), "4:2:2, odd size", cup)
    add("420-odd", _jpeg(face((131, 177)), quality=80, subsampling=2), "4:2:0, odd size", hop)
    add("440", _cjpeg(eyes((150, 113)), "-quality", "80", "-sample", "1x2"), "4:4:0", cat)
    add("411", _cjpeg(mug((163, 141)), "-quality", "80", "-sample", "4x1"), "4:1:1", cup)
    add("410", _cjpeg(face((123, 158)), "-quality", "80", "-sample", "4x2"), "4:1:0", hop)
    add("441", _cjpeg(eyes((167, 121)), "-quality", "80", "-sample", "1x4"), "luma 1x4", cat)
    add("mixed", _cjpeg(mug((155, 139)), "-quality", "80", "-sample", "2x2,1x2,2x1"),
        "luma 2x2, Cb 1x2, Cr 2x1", cup)
    add("progressive", _jpeg(face((157, 201)), quality=75, progressive=True), "progressive, 4:2:0", hop)
    add("progressive-gray", _jpeg(eyes((173, 126)).convert("L"), quality=75, progressive=True), "progressive, gray", cat)
    add("gray", _jpeg(mug((149, 130)).convert("L"), quality=80), "gray", cup)
    add("arithmetic", _cjpeg(face((141, 181)), "-quality", "75", "-arithmetic"), "arithmetic coding", hop)
    add("restart", _jpeg(mug((159, 145)), quality=80, restart_marker_blocks=3), "a restart marker every 3 blocks", cup)
    add("cmyk", _jpeg(face((120, 150)).convert("CMYK"), quality=80), "CMYK", hop)
    add("ycck", _ycck(eyes((139, 101)), 80), "YCCK", cat)
    add("rgb", _jpeg(mug((127, 109)), quality=75, keep_rgb=True), "RGB, no colour transform", cup)
    exif = Image.Exif()
    exif[0x0112] = 6
    add("exif-rotated", _jpeg(face((136, 190)), quality=75, exif=exif), "EXIF orientation 6, to be ignored", hop)
    add("quality-3", _jpeg(eyes((320, 233)), quality=3), "quality 3: blocks and ringing", cat)
    add("1x1", _jpeg(face((1, 1)), quality=90), "one pixel", hop)
    add("15x33-422", _jpeg(mug((15, 33)), quality=90, subsampling=1), "one pixel beyond a block", cup)
    add("291x256", _jpeg(maker.photo("rocket.jpg", (100, 100, 391, 356)), quality=60),
        "no resize; the crop's left, 33.5, rounds up to 34", "rocket.jpg")
    add("256x289", _jpeg(maker.photo("astronaut.png", (100, 0, 356, 289)), quality=60),
        "no resize; the crop's top, 32.5, rounds down to 32", "astronaut.png")
    add("1000x872", _jpeg(maker.photo("hubble_deep_field.jpg"), quality=22), "reduced 3.4 times", "hubble_deep_field.jpg")
    add("1411x1411", _jpeg(maker.photo("retina.jpg"), quality=20), "reduced 5.5 times", "retina.jpg")


def _pngs(maker):
    ramp = _ramp(103, 127)
    eight = (ramp >> 8).astype(np.uint8)
    alpha = (ramp[:, ::-1, 2:] >> 8).astype(np.uint8)
    palette = _noise(1, 200, 3, 99).reshape(200, 3)
    index = (eight[:, :, 2:].astype(int) * 200 // 256).astype(np.uint8)

    def add(name, data, shows):
        maker.add("png-" + name + ".png", data, shows)

    add("rgba", png.encode(np.concatenate([eight, alpha], 2), png.RGBA), "RGBA: alpha is dropped")
    add("gray-alpha", png.encode(np.concatenate([eight[:, :, 1:2], alpha], 2), png.GRAY_ALPHA), "gray with alpha")
    add("gray-1", png.encode(eight[:, :, :1] >> 7, png.GRAY, 1), "gray, 1 bit")
    add("gray-4-interlaced", png.encode(eight[:, :, 2:] >> 4, png.GRAY, 4, interlaced=True), "gray, 4 bits, interlaced")
    add("gray-16", png.encode(ramp[:, :, 2:], png.GRAY, 16), "gray, 16 bits")
    add("palette", png.encode(index, png.PALETTE, palette=palette), "palette of 200 colours")
    add("palette-alpha", png.encode(index, png.PALETTE, palette=palette, transparency=bytes(range(0, 200, 2))),
        "palette with transparent entries")
    add("palette-4-interlaced", png.encode(index % 13, png.PALETTE, 4, True, palette[:13]), "palette, 4 bits, interlaced")
    add("rgb-16", png.encode(ramp, png.RGB, 16), "RGB, 16 bits")
    add("rgba-16-interlaced", png.encode(np.concatenate([ramp, ramp[::-1, :, :1]], 2), png.RGBA, 16, True),
        "RGBA, 16 bits, interlaced")
    add("rgb-interlaced", png.encode(eight[:61, :67], png.RGB, interlaced=True), "RGB, interlaced, odd size")
    add("wide-301x2", png.encode(_noise(2, 301, 3, 11), png.RGB), "150 times as wide as high")
    add("tall-3x300", png.encode(_noise(300, 3, 3, 12), png.RGB), "exactly 100 times as high as wide: horizontal first")
    add("tall-3x301", png.encode(_noise(301, 3, 3, 13), png.RGB), "over 100 times as high as wide: vertical first")
    add("tall-1x130", png.encode(_noise(130, 1, 1, 14), png.GRAY), "one column, vertical first")


# The set whose preprocessing is recorded beside jpeg-* and png-*.
ALSO_PREPROCESSED = ("cat.jpg",)


def make(photographs, folder):
    """Writes every image and SOURCES.json (what each shows, where it is from, its licence) into the folder."""
    maker = Maker(photographs)
    _views(maker)
    _jpegs(maker)
    _pngs(maker)
    os.makedirs(folder, exist_ok=True)
    sources = {}
    for name, (data, shows, photograph) in sorted(maker.files.items()):
        with open(os.path.join(folder, name), "wb") as f:
            f.write(data)
        source, licence = ("generated by tools/recorder/images.py", "BSD-3-Clause")
        if photograph is not None:
            source, licence = PHOTOGRAPHS[photograph]
        sources[name] = {"shows": shows, "source": source, "licence": licence}
    with open(os.path.join(folder, "SOURCES.json"), "w", encoding="utf-8") as f:
        json.dump(sources, f, indent=1, sort_keys=True, ensure_ascii=False)
        f.write("\n")
    return sources
