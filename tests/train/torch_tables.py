"""Writes tables/*.h: what PyTorch computes, for the tests in C (clang-format them afterwards). Inputs are drawn from
manual_seed as the tests draw them; float32 values are written as their bits."""
import contextlib
import hashlib
import os

import numpy as np
import torch
import torchvision


def bits(values):
    """The elements of an initialiser: 0x... for each value."""
    array = np.ascontiguousarray(values.detach().numpy() if isinstance(values, torch.Tensor) else values).reshape(-1)
    return ", ".join(f"0x{int(v):x}u" for v in array.view(f"u{array.dtype.itemsize}"))


def uniform(n):
    return torch.empty(n).uniform_(-1.0, 1.0)


# lr, momentum, dampening, weight_decay, nesterov, maximize
SGD_CASES = [
    (0.01, 0.0, 0.0, 0.0, False, False),
    (0.01, 0.9, 0.0, 1e-4, False, False),
    (0.1, 0.9, 0.25, 0.01, False, False),
    (0.3, 0.7, 0.0, 0.1, True, False),
    (0.05, 0.9, -0.5, 0.2, False, True),
    (0.7, 0.0, 0.0, 0.3, False, True),
    (0.02, 0.9, 0.0, 0.0, True, False),
]


def sgd():
    print("enum { SGD_ELEMS = 11, SGD_STEPS = 3 };")
    print("/* SGD_STEPS steps of SGD on a parameter drawn uniformly from -1 .. 1 after manual_seed(case), gradients "
          "drawn behind it. */")
    print("static const struct { double lr, momentum, dampening, weight_decay; bool nesterov, maximize; "
          "uint32_t param[SGD_ELEMS], buffer[SGD_ELEMS]; } sgd_cases[] = {")
    for seed, (lr, momentum, dampening, decay, nesterov, maximize) in enumerate(SGD_CASES):
        torch.manual_seed(seed)
        param = torch.nn.Parameter(uniform(11))
        optimizer = torch.optim.SGD([param], lr=lr, momentum=momentum, dampening=dampening, weight_decay=decay,
                                    nesterov=nesterov, maximize=maximize)
        for _ in range(3):
            param.grad = uniform(11)
            optimizer.step()
        buffer = optimizer.state[param].get("momentum_buffer") if momentum else None
        print(f"{{{lr}, {momentum}, {dampening}, {decay}, {int(nesterov)}, {int(maximize)}, {{{bits(param)}}}, "
              f"{{{bits(buffer) if momentum else 0}}}}},")
    print("};")


# the scheduler, its warm-up (in SequentialLR)
SCHEDULES = [
    (("StepLR", {"step_size": 3, "gamma": 0.3}), None),
    (("StepLR", {"step_size": 2, "gamma": 0.1}), ("LinearLR", {"start_factor": 0.01, "total_iters": 4})),
    (("MultiStepLR", {"milestones": [9, 2, 5, 5], "gamma": 0.7}), None),
    (("MultiStepLR", {"milestones": [0, 3, 0, -1], "gamma": 0.7}), ("LinearLR", {"start_factor": 0.1, "total_iters": 2})),
    (("ExponentialLR", {"gamma": 0.9}), ("ConstantLR", {"factor": 0.3, "total_iters": 3})),
    (("CosineAnnealingLR", {"T_max": 4, "eta_min": 0.003}), None),
    (("CosineAnnealingLR", {"T_max": 8, "eta_min": 0.00037}),
     ("LinearLR", {"start_factor": 0.1, "total_iters": 2})),
    (("LinearLR", {"start_factor": 0.2, "end_factor": 0.7, "total_iters": 6}), None),
    (("ConstantLR", {"factor": 0.3, "total_iters": 3}), None),
    (("ReduceLROnPlateau", {"patience": 1, "factor": 0.3, "min_lr": 0.001, "cooldown": 1}),
     None),
]
METRICS = [1.0, 0.9, 0.95, 0.89999, float("nan"), 0.5, 0.6, 0.6, 0.6, 0.6, 0.6, 0.6]


def c_options(name, options):
    kinds = {"StepLR": "ANX_STEP_LR", "MultiStepLR": "ANX_MULTI_STEP_LR", "ExponentialLR": "ANX_EXPONENTIAL_LR",
             "CosineAnnealingLR": "ANX_COSINE_ANNEALING_LR", "LinearLR": "ANX_LINEAR_LR",
             "ConstantLR": "ANX_CONSTANT_LR", "ReduceLROnPlateau": "ANX_REDUCE_LR_ON_PLATEAU"}
    fields = {"T_max": "t_max", "start_factor": "factor"}
    values = {"eps": 1e-8, "threshold": 1e-4, **options} if name == "ReduceLROnPlateau" else dict(options)
    if name == "LinearLR":
        values.setdefault("end_factor", 1.0)
    milestones = values.pop("milestones", None)
    text = [f".kind = {kinds[name]}"] + [f".{fields.get(k, k)} = {v}" for k, v in values.items()]
    if milestones:
        text += [f".n_milestones = {len(milestones)}", f".milestones = (int64_t[]){{{', '.join(map(str, milestones))}}}"]
    return ", ".join(text)


def schedules():
    print(f"enum {{ SCHEDULE_EPOCHS = {len(METRICS)} }};")
    print(f"static const double schedule_metrics[SCHEDULE_EPOCHS] = {{{', '.join(map(str, METRICS)).replace('nan', 'NAN')}}};")
    print("/* The rates of two groups that start from 0.01 and 0.3, at the start and after each epoch. */")
    print("static const struct { anx_scheduler_options options, warmup; bool warm; "
          "double lr[SCHEDULE_EPOCHS + 1][2]; } schedules[] = {")
    for (name, options), warmup in SCHEDULES:
        optimizer = torch.optim.SGD([{"params": [torch.nn.Parameter(torch.zeros(1))], "lr": lr} for lr in (0.01, 0.3)],
                                    lr=1.0)
        scheduler = getattr(torch.optim.lr_scheduler, name)(optimizer, **options)
        if warmup:
            first = getattr(torch.optim.lr_scheduler, warmup[0])(optimizer, **warmup[1])
            scheduler = torch.optim.lr_scheduler.SequentialLR(optimizer, [first, scheduler],
                                                              [warmup[1]["total_iters"]])
        rates = [[group["lr"] for group in optimizer.param_groups]]
        for metric in METRICS:
            scheduler.step(*([metric] if name == "ReduceLROnPlateau" else []))
            rates.append([group["lr"] for group in optimizer.param_groups])
        table = ", ".join(f"{{{a.hex()}, {b.hex()}}}" for a, b in rates)
        print(f"{{{{{c_options(name, options)}}}, {{{c_options(*warmup) if warmup else '.kind = ANX_LINEAR_LR'}}}, "
              f"{int(warmup is not None)}, {{{table}}}}},")
    print("};")


# rows, classes, label smoothing, the logits' scale
LOSSES = [(1, 1, 0.0, 1.0), (3, 5, 0.0, 2.0), (3, 5, 0.1, 2.0), (2, 16, 0.3, 8.0), (5, 19, 0.0, 30.0), (9, 37, 0.1, 4.0),
          (17, 37, 0.0, 90.0), (18, 40, 1.0, 4.0), (1, 80011, 1.0, 300.0)]


def losses():
    print("""/* Logits are drawn uniformly from -scale .. scale after manual_seed(case), the target of row b is 7 b mod C.
   Recorded: the loss, and of row N - 1 the log-probability and the gradient of the first and the last class,
   and SHA-256 over all of both. */""")
    print("static const struct { int64_t rows, classes; double label_smoothing; float scale; uint32_t loss, "
          "first_log_prob, last_log_prob, first_grad, last_grad; const char *log_probs, *grad; } losses[] = {")
    for seed, (rows, classes, smoothing, scale) in enumerate(LOSSES):
        torch.manual_seed(seed)
        logits = torch.empty(rows, classes).uniform_(-scale, scale).requires_grad_()
        targets = torch.arange(rows) * 7 % classes
        loss = torch.nn.functional.cross_entropy(logits, targets, label_smoothing=smoothing)
        loss.backward()
        log_probs = torch.log_softmax(logits, 1).detach()
        digests = [hashlib.sha256(t.numpy().tobytes()).hexdigest() for t in (log_probs, logits.grad)]
        values = torch.stack([loss.detach(), log_probs[-1, 0], log_probs[-1, -1], logits.grad[-1, 0],
                              logits.grad[-1, -1]])
        print(f'{{{rows}, {classes}, {smoothing}, {scale}f, {bits(values)}, "{digests[0]}", "{digests[1]}"}},')
    print("};")


def dropout_masks():
    print("""/* Of 40 elements after manual_seed(case): bit i says that element i is kept. scale: what such a one is multiplied
   by. after: torch.rand(1) then. */""")
    print("static const struct { double p; uint64_t kept; uint32_t scale, after; } dropout_masks[] = {")
    for seed, p in enumerate((0.5, 0.1, 0.9, 0.0, 1.0, 1.0 / 3, 0.15)):
        torch.manual_seed(seed)
        y = torch.nn.functional.dropout(torch.ones(40), p, training=True)
        kept = sum(1 << i for i in range(40) if y[i] != 0)
        print(f"{{{p}, 0x{kept:x}u, {bits(y.max())}, {bits(torch.rand(1))}}},")
    print("};")


def normals():
    print("/* manual_seed(case); torch.empty(n).normal_(mean, std): SHA-256, the first and the last value; behind it "
          "torch.randn(1) */")
    print("static const struct { size_t n; double mean, std; const char *digest; uint32_t first, last, after; } "
          "normals[] = {")
    for seed, (n, mean, std) in enumerate([(16, 0.0, 1.0), (1, 0.0, 1.0), (2, 0.5, 3.0), (15, 0.0, 0.01), (17, 0.0, 0.01),
                                           (1000, -1.0, 0.3), (4096, 0.0, 1.0)]):
        torch.manual_seed(seed)
        x = torch.empty(n).normal_(mean, std)
        digest = hashlib.sha256(x.numpy().tobytes()).hexdigest()
        print(f'{{{n}, {mean}, {std}, "{digest}", {bits(torch.stack([x[0], x[-1], torch.randn(1)[0]]))}}},')
    print("};")


def numbers(values):
    return ", ".join(str(int(v)) for v in values)


def samplings():
    print("enum { SAMPLING_IMAGES = 12 };")
    print("/* manual_seed(case); torch.randperm(SAMPLING_IMAGES) */")
    print("static const int64_t sampling_randperms[][SAMPLING_IMAGES] = {")
    for seed in range(3):
        torch.manual_seed(seed)
        print(f"{{{numbers(torch.randperm(12))}}},")
    print("};")
    print("/* manual_seed(0), then three epochs of DataLoader(shuffle=True), each with an evaluation behind it */")
    print("static const int64_t sampling_epochs[][SAMPLING_IMAGES] = {")
    torch.manual_seed(0)
    data = torch.utils.data.TensorDataset(torch.arange(12))
    for _ in range(3):
        order = [int(i) for (batch,) in torch.utils.data.DataLoader(data, 5, shuffle=True) for i in batch]
        list(torch.utils.data.DataLoader(data, 5))
        print(f"{{{numbers(order)}}},")
    print("};")
    print("/* manual_seed(0), then for each image RandomResizedCrop's parameters, with its own ranges or with narrow ones, "
          "and RandomHorizontalFlip(0.5)'s draw */")
    print("static const struct { int64_t image_height, image_width; bool narrow; int64_t top, left, height, width; "
          "bool flip; } sampling_crops[] = {")
    torch.manual_seed(0)
    for height, width, narrow in [(375, 500, 0), (500, 375, 0), (224, 224, 0), (3, 1000, 0), (900, 5, 0), (1, 1, 0),
                                  (333, 500, 1), (6, 6, 1), (40, 41, 1), (4000, 3000, 0)]:
        crop = torchvision.transforms.RandomResizedCrop.get_params(
            torch.empty(1, height, width), [0.9, 1.0] if narrow else [0.08, 1.0],
            [0.2, 5.0] if narrow else [3.0 / 4.0, 4.0 / 3.0])
        print(f"{{{height}, {width}, {narrow}, {numbers(crop)}, {int(torch.rand(1) < 0.5)}}},")
    print("};")


def generator_states():
    print("/* SHA-256 of torch.get_rng_state() after manual_seed(seed), torch.rand(draws) and, where `normal`, "
          "torch.randn(1) */")
    print("static const struct { uint64_t seed; int draws; bool normal; const char *digest; } generator_states[] = {")
    for seed, draws, normal in ((0, 0, 0), (7, 1, 0), (-1, 623, 0), (5, 624, 0), (6, 625, 0), (2**40 + 3, 2000, 1),
                                (9, 0, 1)):
        torch.manual_seed(seed)
        torch.rand(draws)
        if normal:
            torch.randn(1)
        digest = hashlib.sha256(torch.get_rng_state().numpy().tobytes()).hexdigest()
        print(f'{{UINT64_C({seed % 2**64}), {draws}, {normal}, "{digest}"}},')
    print("};")


def write(folder, section, include):
    with open(os.path.join(folder, f"{section.__name__}.h"), "w", encoding="ascii") as file, \
            contextlib.redirect_stdout(file):
        guard = f"ANX_TESTS_TRAIN_TABLES_{section.__name__.upper()}_H"
        print(f"/* Written by torch_tables.py with PyTorch {torch.__version__.split('+')[0]}. */")
        print(f"#ifndef {guard}\n#define {guard}\n\n#include <math.h>\n#include <stdbool.h>\n#include <stdint.h>\n")
        if include:
            print(f'#include "{include}"\n')
        section()
        print("\n#endif")


def main():
    torch.set_num_threads(1)
    for section, include in SECTIONS:
        write(os.path.join(os.path.dirname(os.path.abspath(__file__)), "tables"), section, include)


SECTIONS = [
    (dropout_masks, None),
    (generator_states, None),
    (losses, None),
    (normals, None),
    (samplings, None),
    (sgd, None),
    (schedules, "src/train/schedule.h"),
]

if __name__ == "__main__":
    main()
