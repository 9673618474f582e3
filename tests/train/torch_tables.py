"""Writes torch_tables.h: what PyTorch computes, for the tests in C. python torch_tables.py > torch_tables.h; then
clang-format. Inputs are drawn from manual_seed as the tests draw them; floats are written as their bits."""
import sys

import numpy as np
import torch


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


def main():
    torch.set_num_threads(1)
    print(f"/* Written by torch_tables.py with PyTorch {torch.__version__.split('+')[0]}. */")
    print("#ifndef ANX_TESTS_TRAIN_TORCH_TABLES_H\n#define ANX_TESTS_TRAIN_TORCH_TABLES_H\n")
    print("#include <stdbool.h>\n#include <stdint.h>\n")
    for section in (sgd,):
        section()
        print()
    print("#endif")


if __name__ == "__main__":
    sys.exit(main())
