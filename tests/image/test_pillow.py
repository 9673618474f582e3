"""Every preprocessing stage of many generated images, compared bit for bit with Pillow and torchvision."""

import io
import os
import struct
import subprocess
import sys
import tempfile
import warnings

try:
    import numpy
    import torch
    from PIL import Image, features
    from torchvision.transforms import functional
except ImportError as error:
    print(f"SKIPPED: {error}", file=sys.stderr)
    sys.exit(77)

import images

BUILD = os.environ["ANX_BUILD_DIR"]
MEAN, STD = [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]
STAGES = ("image", "resize", "crop", "scaled", "input")
# libjpeg-turbo smooths the blocks of incomplete progressive files differently since 3.0.2, and Pillow brings its own.
INCOMPLETE_PROGRESSIVE = "jpeg-progressive-end-early.jpg"

# Where thin images become larger than this, Pillow is not asked for more than the test machine has.
MAX_RESIZED_PIXELS = 20_000_000


def reference(data, resize, crop):
    """The stages as torchvision's ImageClassification preset makes them, or the exception."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            image = Image.open(io.BytesIO(data)).convert("RGB")
        resized = functional.resize(image, [resize], antialias=True)
        cropped = functional.center_crop(resized, [crop])
        scaled = functional.convert_image_dtype(functional.pil_to_tensor(cropped), torch.float)
        normal = functional.normalize(scaled, mean=MEAN, std=STD)
        return {
            "image": numpy.asarray(image),
            "resize": numpy.asarray(resized),
            "crop": numpy.asarray(cropped),
            "scaled": scaled.contiguous().numpy(),
            "input": normal.contiguous().numpy(),
        }
    except Exception as error:
        return error


class Dump:
    """tests/image/preprocess_dump.c, asked file by file."""

    def __init__(self, resize, crop):
        program = os.path.join(BUILD, "tests", "preprocess_dump")
        self.process = subprocess.Popen([program, str(resize), str(crop)], stdin=subprocess.PIPE, stdout=subprocess.PIPE)

    def stages(self, path):
        """({stage: array}, fast) or (error text, fast)."""
        self.process.stdin.write(path.encode() + b"\n")
        self.process.stdin.flush()
        line = self.process.stdout.readline().decode()
        kind, _, rest = line.rstrip("\n").partition(" ")
        if kind == "error":
            status, message, fast = rest.split("|", 2)
            return f"{status}|{message}", fast
        if kind != "ok":
            raise RuntimeError(f"preprocess_dump died on {path}")
        width, height, resized_width, resized_height, crop, fast = rest.split(" ", 5)
        shapes = {"image": (height, width, 3), "resize": (resized_height, resized_width, 3), "crop": (crop, crop, 3),
                  "scaled": (3, crop, crop), "input": (3, crop, crop)}  # fmt: skip
        stages = {}
        for stage, shape in shapes.items():
            shape = tuple(int(n) for n in shape)
            dtype = numpy.float32 if stage in ("scaled", "input") else numpy.uint8
            n_bytes = int(numpy.prod(shape)) * numpy.dtype(dtype).itemsize
            stages[stage] = numpy.frombuffer(self.process.stdout.read(n_bytes), dtype).reshape(shape)
        return stages, fast

    def close(self):
        self.process.stdin.close()
        return self.process.wait()


def difference(stage, ours, theirs):
    if ours.shape != theirs.shape:
        return f"{stage}: shape {ours.shape}, Pillow's is {theirs.shape}"
    if ours.tobytes() == theirs.tobytes():
        return None
    where = numpy.argwhere(ours != theirs)
    at = tuple(where[0]) if len(where) else "(signs or NaNs)"
    values = f"{ours[at]} instead of {theirs[at]}" if len(where) else ""
    return f"{stage}: {len(where)} of {ours.size} values differ, first at {at}: {values}"


def judge(name, data, dump, resize, crop, folder, tolerated=()):
    """Complaints about one file. tolerated: messages with which we may refuse what Pillow accepts."""
    path = os.path.join(folder, name)
    with open(path, "wb") as f:
        f.write(data)
    ours, fast = dump.stages(path)
    os.remove(path)
    theirs = reference(data, resize, crop)
    complaints = [] if fast == "same" else [f"fast path: {fast}"]
    if isinstance(ours, str):
        if not isinstance(theirs, Exception) and not any(message in ours for message in tolerated):
            complaints.append(f"refused: {ours}")
    elif isinstance(theirs, Exception):
        complaints.append(f"accepted; Pillow says {type(theirs).__name__}: {theirs}")
    else:
        complaints += [d for d in (difference(s, ours[s], theirs[s]) for s in STAGES) if d is not None]
    return [f"{name} ({resize}, {crop}): {complaint}" for complaint in complaints]


def generated(folder):
    writer = images.JpegWriter(os.path.join(BUILD, "tests", "jpeg_writer"), folder)
    images.jpeg_kinds(writer)
    images.jpeg_sizes(writer)
    images.random_sizes(writer, 60, 1)
    yield from writer.write()
    yield from images.jpeg_oddities()
    yield from images.png_sizes()
    yield from images.png_oddities()


def smooths_as_pillow():
    writer = os.path.join(BUILD, "tests", "jpeg_writer")
    ours = subprocess.run([writer, "version"], capture_output=True, text=True, check=True).stdout
    theirs = features.version("libjpeg_turbo")
    print(f"libjpeg-turbo {ours.strip()} here, {theirs} in Pillow {Image.__version__}; torch {torch.__version__}")
    return [tuple(map(int, version.split(".")[:3])) >= (3, 0, 2) for version in (ours, theirs)] != [False, True]


def small(data):
    width, height = struct.unpack(">II", data[16:24]) if data[:4] == b"\x89PNG" else (256, 256)
    return max(width, height) * 65536 / min(width, height) <= MAX_RESIZED_PIXELS


def main():
    if int(Image.__version__.split(".")[0]) < 13:
        print(f"SKIPPED: Pillow {Image.__version__} resizes high images in another order; 13 is needed", file=sys.stderr)
        return 77
    torch.set_num_threads(1)  # the tensors are small
    complaints, count = [], 0
    skipped = () if smooths_as_pillow() else (INCOMPLETE_PROGRESSIVE,)
    with tempfile.TemporaryDirectory() as folder:
        dumps = {profile: Dump(*profile) for profile in ((256, 224), (64, 91), (232, 224))}
        for name, data in generated(folder):
            if name in skipped:
                print(f"SKIPPED: {name}: these libjpeg-turbos differ in it")
                continue
            for i, ((resize, crop), dump) in enumerate(dumps.items()):
                if (i == 0 or count % 3 == i) and small(data):
                    complaints += judge(name, data, dump, resize, crop, folder)
            count += 1
        for profile, dump in dumps.items():
            if dump.close() != 0:
                complaints.append(f"preprocess_dump {profile} failed")
    for complaint in complaints:
        print(complaint)
    print(f"{count} images, {len(complaints)} complaints")
    return 1 if complaints or count < 500 else 0


if __name__ == "__main__":
    sys.exit(main())
