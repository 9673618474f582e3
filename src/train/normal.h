/*
 * torch.Tensor.normal_(mean, std) on float32, to the bit: normal_fill_AVX2 and normal_kernel in
 * aten/src/ATen/native/cpu/DistributionTemplates.h and DistributionKernels.cpp, as PyTorch computes on any processor
 * with AVX2; without, its values differ in about a third of the cases.
 */
#ifndef ANX_SRC_TRAIN_NORMAL_H
#define ANX_SRC_TRAIN_NORMAL_H

#include "src/base/mt19937.h"
#include "src/train/kernels.h"

/*
 * out[0 .. n): drawn from gen as normal_(mean, std) does; torch.randn(n) is mean 0, std 1. std >= 0. For n >= 16, a
 * draw a value, Box and Muller's method in blocks of 16; where 16 does not divide n, the last 16 are drawn anew. Below,
 * two 64-bit draws a pair of values, in double, the second value of a pair being kept in gen for the next call that has
 * fewer than 16.
 */
void anx_normal_f32(const anx_train_kernels *kernels, anx_mt19937 *gen, size_t n, double mean, double std, float *out);

#endif
