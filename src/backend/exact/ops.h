/*
 * The operations of the exact backend that need no instruction set of their own, and the rules by which PyTorch's
 * order of summation depends on a layer's shape.
 *
 * Which shapes are proven, bit for bit, against PyTorch 2.15 on one thread of an AVX-512 machine at batch >= 4, and
 * which follow an order that is merely defined here, each function says.
 */
#ifndef ANX_SRC_BACKEND_EXACT_OPS_H
#define ANX_SRC_BACKEND_EXACT_OPS_H

#include "src/backend/exact/kernels.h"

/*
 * Settles the order of a convolution's sums, and whether the packed kernel can run (conv->dense), from p, channels,
 * in and out. Proven: kernels above 1x1 with any channel counts, strides, paddings, dilations and groups; where the
 * groups go through gemm, up to 768 terms (beyond, the parts depend on the image's size too). Merely defined: 1x1
 * kernels.
 */
void anx_exact_conv_settle(anx_exact_conv *conv);

/* Elements of the packed weights of a dense convolution. */
int64_t anx_exact_conv_packed_elems(const anx_exact_conv *conv);
/* Fills packed (where dense) and bias from the checkpoint's tensors, and settles conv->skip_padding. */
void anx_exact_conv_pack(anx_exact_conv *conv, const float *weight, const float *bias, float *packed,
                         float *padded_bias, int threads);

/*
 * Inputs in one chain of a linear layer of 12 or more outputs. Proven: 192; all of them up to 192; halves (rounded
 * down; an odd one out is a chain of its own) between 192 and 384.
 */
int64_t anx_exact_linear_chain(int64_t in);
/* Below this number of outputs MKL takes another kernel: anx_exact_linear_few. */
enum { ANX_EXACT_LINEAR_FEW = 12 };
/* (batch, in) to tiles of up to `most` rows whose elements lie side by side: what linear_panel_run reads. */
void anx_exact_linear_interleave(const float *x, int64_t batch, int64_t in, int most, float *to, int threads);
/*
 * A linear layer of fewer than 12 outputs; x is (batch, in) as it is. MKL multiplies and adds without fusing:
 * outputs in fours sum in 4 lanes (lane j takes the inputs k = j mod 4), those left over in 8; the upper half of the
 * lanes is added to the lower until one is left, then the inputs past the last full set of lanes, then t = bias + sum.
 * A single output takes its first 4 inputs in lane 0. Proven for 2 to 11 outputs, and for one where the batch is a
 * multiple of 4 (otherwise PyTorch computes its last images differently), both where the inputs are a multiple of 4:
 * otherwise MKL takes the inputs up to the next aligned address alone, so that an image's values depend on its place
 * in the batch, which no order of ours follows.
 */
void anx_exact_linear_few(const anx_exact_linear *linear, int threads);

/*
 * torch.nn.AdaptiveAvgPool2d on one block of channels of one image: sum in row order, / height, / width. Proven.
 */
void anx_exact_adaptive_avg_pool(const anx_exact_layout *in, const anx_exact_layout *out, const float *x, float *y);

/*
 * torch.softmax over one row (ATen/native/cpu/SoftMaxKernel.cpp, vec_softmax_lastdim): exp(x - max) by Sleef's
 * expf_u10, summed in 16 lanes which are then combined by halves (in order where there are fewer than 16), times the
 * reciprocal of the sum. Proven for any number of columns.
 */
void anx_exact_softmax(const float *x, float *y, int64_t columns);

#endif
