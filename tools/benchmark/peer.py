"""PyTorch's side of the benchmark: does what anx-bench asks for, line by line, and says how long it took.

    peer.py serve WEIGHTS THREADS     then lines on stdin: "forward N", "load", "preprocess FILE...",
                                      "evaluate BATCH WORKERS IMAGES FILE..."
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


class Files:
    """So many images, of the files by turns, loaded and preprocessed as torchvision's ImageFolder and its reference
    preset do; a data set for DataLoader."""

    def __init__(self, paths, images):
        import torch
        from torchvision import transforms

        self.paths, self.images = paths, images
        self.transform = transforms.Compose(
            [
                transforms.Resize(256),
                transforms.CenterCrop(224),
                transforms.PILToTensor(),
                transforms.ConvertImageDtype(torch.float),
                transforms.Normalize([0.485, 0.456, 0.406], [0.229, 0.224, 0.225]),
            ]
        )

    def __len__(self):
        return self.images

    def __getitem__(self, i):
        from PIL import Image

        with open(self.paths[i % len(self.paths)], "rb") as f:
            return self.transform(Image.open(f).convert("RGB")), 0


class Peer:
    def __init__(self, weights, threads):
        import torch

        torch.set_num_threads(threads)
        self.weights = weights
        self.model = build(weights)
        self.inputs = {}
        self.loaders = {}

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
        import torch

        files = Files(paths, len(paths))
        threads = torch.get_num_threads()
        torch.set_num_threads(1)
        start = time.perf_counter()
        for i in range(len(files)):
            files[i]
        seconds = time.perf_counter() - start
        torch.set_num_threads(threads)
        return seconds

    def evaluate(self, batch, workers, images, *paths):
        """As torchvision's reference script evaluates, up to the logits. The threads are shared out between the
        processes that load and the network; the processes live on, since in a long run their start counts little."""
        import torch

        setup = batch, workers
        if setup not in self.loaders:
            self.loaders[setup] = torch.utils.data.DataLoader(
                Files(paths, int(images)),
                batch_size=int(batch),
                num_workers=int(workers),
                persistent_workers=int(workers) > 0,
            )
        threads = torch.get_num_threads()
        torch.set_num_threads(max(1, threads - int(workers)))
        with torch.inference_mode():
            start = time.perf_counter()
            for inputs, _ in self.loaders[setup]:
                self.model(inputs)
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
