"""What a recording was made with: versions, processor, kernels."""

import platform
import re

import numpy
import PIL
import PIL.features
import torch
import torchvision


def _processor():
    fields = {}
    try:
        with open("/proc/cpuinfo", encoding="ascii", errors="replace") as f:
            for line in f:
                key, _, value = line.partition(":")
                if not line.strip():
                    break
                fields[key.strip()] = value.strip()
    except OSError:
        return platform.processor() or platform.machine(), ""
    vendor = fields.get("vendor_id", "")
    text = f"{fields.get('model name', '?')} ({vendor}, family {fields.get('cpu family', '?')}, model {fields.get('model', '?')})"
    return text, vendor


def _built_with(pattern):
    found = re.search(pattern, torch.__config__.show())
    return found.group(1) if found else "unknown"


def describe(device):
    """(object of strings, whether `exact` reproduces the bits of this machine's PyTorch)."""
    cpu, vendor = _processor()
    isa = torch.backends.cpu.get_cpu_capability()
    threads = torch.get_num_threads()
    info = {
        "torch": torch.__version__,
        "torchvision": torchvision.__version__,
        "pillow": PIL.__version__,
        "libjpeg_turbo": PIL.features.version("libjpeg_turbo") or "",
        "python": platform.python_version(),
        "numpy": numpy.__version__,
        "os": f"{platform.system()} {platform.machine()}",
        "cpu": cpu,
        "isa": isa,
        "device": device.type if device.type == "cpu" else torch.cuda.get_device_name(device),
        "threads": str(threads),
    }
    onednn, mkl = torch.backends.mkldnn.is_available(), torch.backends.mkl.is_available()
    if device.type == "cpu":
        info["convolution"] = "oneDNN " + _built_with(r"MKL-DNN v([\d.]+)") if onednn else "native"
        info["linear"] = "MKL " + _built_with(r"Math Kernel Library Version ([\d.]+)") if mkl else "BLAS"
    else:
        info["convolution"] = f"cuDNN {torch.backends.cudnn.version()}"
        info["linear"] = f"cuBLAS of CUDA {torch.version.cuda}"
    same_bits = (
        device.type == "cpu" and threads == 1 and isa == "AVX512" and vendor == "AuthenticAMD" and onednn and mkl
        and int(torch.__version__.split(".")[0]) >= 2
    )
    return info, same_bits
