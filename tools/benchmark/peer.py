"""PyTorch's side of the benchmark: does what anx-bench asks for, line by line, and says how long it took.

    peer.py serve WEIGHTS THREADS DEVICE MATH
                                      then lines on stdin: "forward N", "load", "preprocess FILE...",
                                      "evaluate BATCH WORKERS IMAGES FILE...", "train BATCH THREADS all|head",
                                      "sgd", "input WORKERS IMAGES FILE..."
    peer.py steps WEIGHTS THREADS DEVICE MATH BATCH STEPS
                                      so many steps of training from nothing, then exits
    peer.py first WEIGHTS THREADS DEVICE MATH
                                      one image from nothing, then exits: what a whole process costs

DEVICE is torch's name for it. MATH float32 keeps a GPU from computing with TF32, anything else lets it; fast lets cuDNN
measure which algorithm is fastest, and otherwise it takes those alone that give the same bits each time: as anx does.
A GPU works behind the program's back: whatever is timed begins and ends with waiting for it.
Each answer is one line: seconds, or "error: ...". Nothing else goes to stdout.
"""

import sys
import time
import warnings


DEVICE = "cpu"


def use(device, math):
    global DEVICE
    import torch

    DEVICE = device
    torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = math != "float32"
    torch.backends.cudnn.benchmark = math == "fast"
    torch.backends.cudnn.deterministic = math != "fast"


def wait():
    """Until all that was asked of the device is done."""
    if DEVICE != "cpu":
        import torch

        torch.cuda.synchronize(DEVICE)


def build(weights):
    """On the processor."""
    import torch
    import torchvision

    state = torch.load(weights, map_location="cpu")
    state = state.get("state_dict", state.get("model", state))
    model = torchvision.models.alexnet(num_classes=state["classifier.6.weight"].shape[0])
    model.load_state_dict(state)
    return model.eval()


class Files:
    """So many images, of the files by turns, loaded and preprocessed as torchvision's ImageFolder and its reference
    presets do; a data set for DataLoader."""

    def __init__(self, paths, images, training=False):
        import torch
        from torchvision import transforms

        self.paths, self.images = paths, images
        evaluated = [transforms.Resize(256), transforms.CenterCrop(224)]
        augmented = [transforms.RandomResizedCrop(224), transforms.RandomHorizontalFlip()]
        self.transform = transforms.Compose(
            [
                *(augmented if training else evaluated),
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


def optimizer_of(parameters):
    import torch

    return torch.optim.SGD(parameters, lr=1e-4, momentum=0.9, weight_decay=1e-4)


class Learner:
    """A model in training, with a batch that is always the same; steps as in torchvision's train_one_epoch."""

    def __init__(self, weights, batch, part):
        import torch

        self.model = build(weights).to(DEVICE).train()
        if part == "head":
            self.model.features.requires_grad_(False)
        self.optimizer = optimizer_of([p for p in self.model.parameters() if p.requires_grad])
        self.criterion = torch.nn.CrossEntropyLoss()
        self.inputs = torch.randn(batch, 3, 224, 224)
        self.targets = torch.arange(batch) * 37 % self.model.classifier[6].out_features

    def step(self):
        loss = self.criterion(self.model(self.inputs.to(DEVICE)), self.targets.to(DEVICE))
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()
        return loss.item()


class Peer:
    def __init__(self, weights, threads):
        import torch

        torch.set_num_threads(threads)
        self.weights = weights
        self.model = build(weights).to(DEVICE)
        self.inputs = {}
        self.loaders = {}
        self.learners = {}
        self.optimizer = None

    def version(self):
        import PIL
        import torch

        words = [f"PyTorch {torch.__version__}", f"Pillow {PIL.__version__}"]
        if DEVICE != "cpu":
            cudnn = torch.backends.cudnn.version() or 0
            major = 1000 if cudnn < 90000 else 10000
            words.append(f"CUDA {torch.version.cuda}")
            words.append(f"cuDNN {cudnn // major}.{cudnn % major // 100}.{cudnn % 100}")
            words.append(torch.cuda.get_device_name(DEVICE))
        return ", ".join(words)

    def forward(self, batch):
        import torch

        batch = int(batch)
        if batch not in self.inputs:
            self.inputs = {batch: torch.randn(batch, 3, 224, 224).to(DEVICE)}
        with torch.inference_mode():
            wait()
            start = time.perf_counter()
            self.model(self.inputs[batch])
            wait()
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
                pin_memory=DEVICE != "cpu",
            )
        threads = torch.get_num_threads()
        torch.set_num_threads(max(1, threads - int(workers)))
        with torch.inference_mode():
            wait()
            start = time.perf_counter()
            for inputs, _ in self.loaders[setup]:
                self.model(inputs.to(DEVICE, non_blocking=True)).cpu()
            seconds = time.perf_counter() - start
        torch.set_num_threads(threads)
        return seconds

    def train(self, batch, threads, part):
        import torch

        setup = batch, threads, part
        if setup not in self.learners:
            self.learners = {}  # the last one's memory is given back first
            self.learners = {setup: Learner(self.weights, int(batch), part)}
        before = torch.get_num_threads()
        torch.set_num_threads(int(threads))
        wait()
        start = time.perf_counter()
        self.learners[setup].step()
        wait()
        seconds = time.perf_counter() - start
        torch.set_num_threads(before)
        return seconds

    def sgd(self):
        import torch

        if self.optimizer is None:
            parameters = [torch.nn.Parameter(p.detach().cpu().clone()) for p in self.model.parameters()]
            for p in parameters:
                p.grad = torch.full_like(p, 1e-5)
            self.optimizer = optimizer_of(parameters)
        start = time.perf_counter()
        self.optimizer.step()
        return time.perf_counter() - start

    def input(self, workers, images, *paths):
        """The input of training, and nothing behind it, by so many processes; by this one and one thread for none."""
        import torch

        setup = "input", workers
        if setup not in self.loaders:
            self.loaders[setup] = torch.utils.data.DataLoader(
                Files(paths, int(images), training=True),
                batch_size=32,
                shuffle=True,
                num_workers=int(workers),
                persistent_workers=int(workers) > 0,
                pin_memory=DEVICE != "cpu",
            )
        threads = torch.get_num_threads()
        torch.set_num_threads(1)
        start = time.perf_counter()
        for _ in self.loaders[setup]:
            pass
        seconds = time.perf_counter() - start
        torch.set_num_threads(threads)
        return seconds


def steps(weights, threads, batch, count):
    import torch

    torch.set_num_threads(threads)
    learner = Learner(weights, batch, "all")
    for _ in range(count):
        learner.step()
    wait()


def main():
    warnings.filterwarnings("ignore")
    mode, weights, threads = sys.argv[1], sys.argv[2], int(sys.argv[3])
    if mode != "serve":
        use(sys.argv[4], sys.argv[5])
    if mode == "steps":
        steps(weights, threads, int(sys.argv[6]), int(sys.argv[7]))
        return
    if mode == "first":
        Peer(weights, threads).forward(1)
        return
    try:
        use(sys.argv[4], sys.argv[5])
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
