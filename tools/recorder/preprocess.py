"""Preprocessing as torchvision's AlexNet weights ask, stage by stage, and fixtures of it."""

import io
import warnings

import numpy as np
import torch
from PIL import Image
from torchvision.transforms import functional as F

from . import container as files
from . import environment

PROFILE = "torchvision-alexnet"
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
BAND_ROWS, MAX_BANDS = 16, 64


def to_input(crop):
    """uint8 (H, W, 3) -> float32 (3, H, W) twice: scaled to [0, 1], and normalised."""
    scaled = F.convert_image_dtype(torch.from_numpy(np.array(crop)).permute(2, 0, 1).contiguous(),
                                   torch.float)
    return scaled, F.normalize(scaled, MEAN, STD)


def stages_of(data):
    """{stage: uint8 (H, W, 3) array or float32 (3, H, W) tensor} of a file's bytes."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # transparency that convert("RGB") drops
        image = Image.open(io.BytesIO(data)).convert("RGB")
    resized = F.resize(image, [256], F.InterpolationMode.BILINEAR)
    cropped = F.center_crop(resized, [224])
    scaled, normalised = to_input(np.asarray(cropped))
    return {
        "image": np.asarray(image),
        "resize": np.asarray(resized),
        "crop": np.asarray(cropped),
        "scaled": scaled,
        "input": normalised,
    }


def _stage(out, prefix, value, full):
    array = value if isinstance(value, np.ndarray) else value.numpy()
    axis = 0 if array.dtype == np.uint8 else 1
    height = array.shape[axis]
    rows = max(BAND_ROWS, -(-height // MAX_BANDS))
    bands = [files.digest(array.take(range(r, min(r + rows, height)), axis)).digest() for r in range(0, height, rows)]
    entry = {
        "shape": list(array.shape),
        "band_rows": rows,
        "bands": out.put(prefix + "/bands", np.frombuffer(b"".join(bands), np.uint8).reshape(-1, 32)),
    }
    if full:
        entry["full"] = out.put(prefix + "/full", array)
    return entry


def record(name, images):
    """images: [(file name, bytes, what it shows)]. The bytes of one preprocessing fixture."""
    out = files.Container()
    samples = []
    for file_name, data, shows in images:
        stages = stages_of(data)
        samples.append({
            "name": file_name,
            "shows": shows,
            "bytes": out.put(f"{file_name}/bytes", np.frombuffer(data, np.uint8)),
            "stages": {s: _stage(out, f"{file_name}/{s}", v, s == "crop") for s, v in stages.items()},
        })
    recorder, _ = environment.describe(torch.device("cpu"))
    return out.to_bytes({
        "schema": 1,
        "kind": "preprocess",
        "name": name,
        "profile": PROFILE,
        "recorder": recorder,
        "samples": samples,
    })
