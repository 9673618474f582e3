"""PyTorch's side of the benchmark as it treats a GPU, on the processor under another name: that whatever is timed begins
and ends with waiting for the device, what it lets a GPU compute with, and what it says that computed."""

import importlib.util
import os
import sys
import time

sys.path.insert(0, os.path.join(os.environ["ANX_SOURCE_DIR"], "tests", "support"))
from checks import check, finish

import torch

spec = importlib.util.spec_from_file_location(
    "peer", os.path.join(os.environ["ANX_SOURCE_DIR"], "tools", "benchmark", "peer.py")
)
peer = importlib.util.module_from_spec(spec)
spec.loader.exec_module(peer)


class Narrow(torch.nn.Module):
    """As much of AlexNet as peer.py asks for."""

    def __init__(self):
        super().__init__()
        self.features = torch.nn.Conv2d(3, 4, 11, 32)
        self.classifier = torch.nn.Sequential(*[torch.nn.Identity() for _ in range(6)], torch.nn.Linear(4, 5))

    def forward(self, x):
        return self.classifier(self.features(x).mean((2, 3)))


events = []
clock = time.perf_counter


def timed(name, request):
    """What happened between the two looks at the clock, and before the first."""
    events.clear()
    request()
    ends = [i for i, e in enumerate(events) if e == "clock"]
    check(len(ends) == 2, f"{name}: {events}")
    return events[: ends[0]], events[ends[0] + 1 : ends[1]]


def main():
    torch.cuda.synchronize = lambda device: events.append(f"wait {device}")
    torch.cuda.get_device_name = lambda device: f"a GPU named {device}"
    torch.backends.cudnn.version = lambda: 91900
    peer.time.perf_counter = lambda: (events.append("clock"), clock())[1]
    for math, tf32, fast in (("float32", False, False), ("tf32", True, False), ("fast", True, True)):
        peer.use("cpu:0", math)
        flags = torch.backends.cudnn
        check(torch.backends.cuda.matmul.allow_tf32 == tf32 == flags.allow_tf32, f"{math}: TF32")
        check(flags.benchmark == fast and flags.deterministic != fast, f"{math}: cuDNN's algorithms")
    peer.build = lambda weights: Narrow().eval()
    images = [os.path.join(os.environ["ANX_SOURCE_DIR"], "fixtures", "images", "cat.jpg")]
    p = peer.Peer("no file", 1)
    check(p.version().endswith(f"CUDA {torch.version.cuda}, cuDNN 9.19.0, a GPU named cpu:0"), p.version())
    torch.backends.cudnn.version = lambda: 8902
    check("cuDNN 8.9.2," in p.version(), p.version())
    for name, request in (
        ("forward", lambda: p.forward("2")),
        ("train", lambda: p.train("2", "1", "all")),
        ("train head", lambda: p.train("2", "1", "head")),
        ("evaluate", lambda: p.evaluate("2", "0", "3", *images)),
    ):
        before, during = timed(name, request)
        check(before[-1:] == ["wait cpu:0"], f"{name} does not begin with waiting: {before}")
        if name != "evaluate":  # whose logits are fetched
            check(during[-1:] == ["wait cpu:0"], f"{name} does not end with waiting: {during}")
    check(timed("load", p.load) == ([], []), "load waits for a device that it has nothing for")
    events.clear()
    peer.steps("no file", 1, 2, 2)
    check(events[-1:] == ["wait cpu:0"], "steps ends before the last one does")


main()
sys.exit(finish())
