"""The recorder of trainings: what it records of this machine's PyTorch is what ships, and right runs drift little."""

import os
import sys

SOURCE = os.environ["ANX_SOURCE_DIR"]
sys.path.insert(0, os.path.join(SOURCE, "tools"))

try:
    import numpy as np
    import torch
    from recorder import collection, container, environment, forward, images, training
    from safetensors import safe_open
except ImportError as error:
    print(f"SKIPPED: {error}", file=sys.stderr)
    sys.exit(1 if os.environ.get("ANX_TESTS_NO_SKIP", "0") not in ("", "0") else 77)

DIGESTS = ("inputs", "masks", "logits", "grads", "params", "momentum", "generator")


def must(condition, what):
    if not condition:
        sys.exit("FAILED: " + what)
    print("ok:", what)


def shipped(name):
    path = os.path.join(SOURCE, "fixtures", name + ".safetensors")
    with safe_open(path, "np") as f:
        return container.described(path), {k: f.get_tensor(k) for k in f.keys()}


def shortened(scenario, steps):
    scenario.steps, scenario.envelope = steps, False
    return scenario


def main():
    torch.set_num_threads(1)
    recorder, same_bits = environment.describe(torch.device("cpu"))
    described, tensors = shipped("training-10-seed1")
    pictures = []
    for name, *_ in images.VIEWS:
        with open(os.path.join(SOURCE, "fixtures", "images", name), "rb") as f:
            pictures.append((name, f.read()))
    must(all(np.array_equal(tensors["image/" + n], np.frombuffer(d, np.uint8)) for n, d in pictures),
         "the images are those that ship")
    model = forward.load_model(collection.seeded(1, 10), "alexnet")
    must({k: container.digest(v.numpy()).hexdigest() for k, v in model.state_dict().items()} == described["params"],
         "the weights are those whose trainings ship")

    for scenario in training.project_scenarios(0.01)[1:]:
        out = container.Container()
        entry = training.record_scenario(shortened(scenario, 2), model, pictures, described["targets"], out)
        mine = {key: out.tensors[entry[key]] for key in (*DIGESTS, "lr", "loss", "order")}
        theirs = {key: tensors[f"{scenario.name}/{key}"] for key in mine}
        host = ("inputs", "masks", "generator", "lr", "order")
        exact = same_bits and recorder["torch"] == described["recorder"]["torch"]
        if not exact:
            print("note: this machine's PyTorch is not one whose bits are defined; only what no sum enters is compared")
        for key in mine if exact else host:
            must(np.array_equal(mine[key], theirs[key][:len(mine[key])]), f"{scenario.name}: {key} of two steps")

    drift = tensors["augmented/envelope/difference"] / tensors["augmented/envelope/distance"]
    must(drift.shape == (5, 20, 16) and 0 < drift.max() < 0.2, f"right runs drift by at most {drift.max():.2g} of the way")


main()
