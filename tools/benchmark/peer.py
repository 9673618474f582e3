"""PyTorch's side of the benchmark: does what anx-bench asks for, line by line, and says how long it took.

    peer.py serve WEIGHTS THREADS     then lines on stdin: "forward N", "load", "preprocess FILE...", "version"
    peer.py first WEIGHTS THREADS     one image from nothing, then exits: what a whole process costs

Each answer is one line: seconds, or "error: ...". Nothing else goes to stdout.
"""

import sys
import time
import warnings


def build(weights):
    import torch
    import torchvision

    state = torch.load(weights, map_location="cpu")
    state = state.get("state_dict", state.get("model", state))
    model = torchvision.models.alexnet(num_classes=state["classifier.6.weight"].shape[0])
    model.load_state_dict(state)
    return model.eval()


class Peer:
    def __init__(self, weights, threads):
        import torch

        torch.set_num_threads(threads)
        self.weights = weights
        self.model = build(weights)
        self.inputs = {}

    def version(self):
        import PIL
        import torch

        return f"PyTorch {torch.__version__}, Pillow {PIL.__version__}"

    def forward(self, batch):
        import torch

        batch = int(batch)
        if batch not in self.inputs:
            self.inputs = {batch: torch.randn(batch, 3, 224, 224)}
        with torch.inference_mode():
            start = time.perf_counter()
            self.model(self.inputs[batch])
            return time.perf_counter() - start

    def load(self):
        start = time.perf_counter()
        build(self.weights)
        return time.perf_counter() - start

    def preprocess(self, *paths):
        from PIL import Image
        from torchvision import transforms

        transform = transforms.Compose(
            [
                transforms.Resize(256),
                transforms.CenterCrop(224),
                transforms.ToTensor(),
                transforms.Normalize([0.485, 0.456, 0.406], [0.229, 0.224, 0.225]),
            ]
        )
        import torch

        threads = torch.get_num_threads()
        torch.set_num_threads(1)
        start = time.perf_counter()
        for path in paths:
            with Image.open(path) as image:
                transform(image.convert("RGB"))
        seconds = time.perf_counter() - start
        torch.set_num_threads(threads)
        return seconds


def main():
    warnings.filterwarnings("ignore")
    mode, weights, threads = sys.argv[1], sys.argv[2], int(sys.argv[3])
    if mode == "first":
        Peer(weights, threads).forward(1)
        return
    try:
        peer = Peer(weights, threads)
        print(peer.version(), flush=True)
    except Exception as e:  # the other end must learn of it, whatever it is
        print("error:", str(e).replace("\n", " "), flush=True)
        return
    for line in sys.stdin:
        name, *arguments = line.rstrip("\n").split("\t")
        try:
            print(repr(getattr(peer, name)(*arguments)), flush=True)
        except Exception as e:
            print("error:", str(e).replace("\n", " "), flush=True)


if __name__ == "__main__":
    main()
