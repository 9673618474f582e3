/*
 * torch.optim.SGD on float32 parameters, to the bit: _single_tensor_sgd in torch/optim/sgd.py, whose additions with a
 * factor (add, alpha=) PyTorch's AVX2 and AVX-512 builds round once. foreach=True gives the same bits; fused=True does
 * not where the last elements of a tensor do not fill a vector.
 *
 *   g = maximize ? -grad : grad
 *   weight_decay != 0:  g = fma(p, weight_decay, g)
 *   momentum != 0:      first step of a parameter: buf = g;  later: buf = fma(g, 1 - dampening, buf * momentum)
 *                       g = nesterov ? fma(buf, momentum, g) : buf
 *   p = fma(g, -lr, p)
 *
 * Every element is by itself, so that neither threads nor instruction sets change a bit (but for the payload and sign
 * of a NaN). The numbers are doubles that are rounded to float where they meet the elements, 1 - dampening and -lr
 * after the double arithmetic.
 */
#ifndef ANX_SRC_TRAIN_SGD_H
#define ANX_SRC_TRAIN_SGD_H

#include "src/backend/sgd_options.h"
#include "src/train/kernels.h"

/* INVALID_ARGUMENT for what SGD's constructor refuses, and for numbers that are not finite floats. */
anx_status anx_sgd_options_check(const anx_sgd_options *options, anx_error *err);

/*
 * A parameter, or any run of elements that are updated together: a tensor, a piece of an arena, or all of one whose
 * tensors share a group and their first step. All memory is the caller's and need not be aligned; nothing overlaps.
 */
typedef struct anx_sgd_slice {
    int group; /* index of its options */
    size_t elems;
    float *param;
    const float *grad; /* NULL: the parameter has no gradient and is passed over, its momentum too */
    float *buffer;     /* the momentum buffer, elems floats; NULL is fine in a group without momentum */
    bool has_buffer;   /* the buffer holds a momentum; false before the first step, which sets it */
} anx_sgd_slice;

/*
 * One step: optimizer.step(). groups: the options by index, each of them checked. slices: n_slices, updated in place.
 * threads >= 1.
 */
void anx_sgd_step(const anx_train_kernels *kernels, const anx_sgd_options *groups, anx_sgd_slice *slices, int n_slices,
                  int threads);

#endif
