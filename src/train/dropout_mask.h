/*
 * The masks of torch.nn.Dropout in training, from the generator's stream: _dropout_impl in
 * aten/src/ATen/native/Dropout.cpp, y = x * noise.bernoulli_(1 - p).div_(1 - p). (Builds of PyTorch older than 2.x with
 * MKL draw another stream on Intel processors, for which there is no switch.)
 */
#ifndef ANX_SRC_TRAIN_DROPOUT_MASK_H
#define ANX_SRC_TRAIN_DROPOUT_MASK_H

#include "src/base/mt19937.h"
#include "src/base/status.h"

/* INVALID_ARGUMENT unless p is between 0 and 1. */
anx_status anx_dropout_check(double p, anx_error *err);

/* What a kept element is multiplied by: 1 / (1 - p), 1 - p rounded to float before the division; 0 where p is 1. */
float anx_dropout_scale(double p);

/*
 * factors[0 .. n): anx_dropout_scale(p) where the element is kept, 0 where it is not. Forward multiplies x by them and
 * backward dy; an infinite x times 0 is NaN, as in PyTorch. One 64-bit draw an element, in memory order. p = 0 and p =
 * 1 draw nothing, and with p = 0 PyTorch does not multiply either, which makes no difference.
 */
void anx_dropout_factors(anx_mt19937 *gen, double p, size_t n, float *factors);

#endif
