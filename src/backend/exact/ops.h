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
 * Settles how a convolution's gradients are summed, from the forward's order. Proven, with any channel counts and
 * paddings and kernels above 1x1: undilated of stride 1, with groups too (those through gemm up to 384 outputs of an
 * image, from 12 channels on for the weights' gradient); of greater strides, the gradient by the input where the
 * image's width is not a multiple of the stride, and the other two. Merely defined: the rest.
 */
void anx_exact_conv_back_settle(anx_exact_conv_back *back);
/* The zero columns that the packed kernel reads on both sides of the output's gradient. */
int64_t anx_exact_conv_back_border(const anx_conv2d_params *p);
int64_t anx_exact_conv_back_packed_elems(const anx_exact_conv_back *back);
/* Packs the weights for conv_dx_rows. */
void anx_exact_conv_back_pack(const anx_exact_conv_back *back, const float *weight, float *packed, int threads);
/* One block of output channels from the packed layout to (OC, IC/groups, KH, KW). */
void anx_exact_conv_unpack(const anx_exact_conv *conv, int64_t block, const float *packed, float *weight);
/* The gradient by the bias for one block of output channels: plain sums over n, oh, ow. */
void anx_exact_conv_bias_back(const anx_exact_conv_back *back, int64_t batch, int64_t block, const float *dy,
                              float *db);

/* What the elements of an array are like: the least absolute value beside 0 (INFINITY if there is none). */
typedef struct anx_exact_range {
    float least;
    bool finite; /* all of them */
} anx_exact_range;

anx_exact_range anx_exact_range_of(const float *x, int64_t elems);
/*
 * Whether a product with a zero can be added to any chain of products of the two without changing a bit: no NaN
 * comes of it, and no chain is -0. A chain from +0 becomes -0 only by underflow, and the exact value of each step is
 * a multiple of the least product's last place, which is at least 2^-47 times that product.
 */
bool anx_exact_zeros_are_safe(anx_exact_range a, anx_exact_range b);

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
 * Below this batch size MKL takes that other kernel for any number of outputs. Plans that train follow it there; in
 * the others, an image's values do not depend on the batch.
 */
enum { ANX_EXACT_SMALL_BATCH = 4 };
/*
 * A linear layer of fewer than 12 outputs, or of a small batch; x is (batch, in) as it is. MKL multiplies and adds
 * without fusing: outputs in fours sum in 4 lanes (lane j takes the inputs k = j mod 4), those left over in 8; the
 * upper half of the lanes is added to the lower until one is left, then the inputs past the last full set of lanes,
 * then t = bias + sum. A single output, and every output of a single image, takes its first 4 inputs in lane 0; the
 * outputs left over of a single image sum in 8, 4 and 8 lanes, all three up to the last full 8 inputs. Proven for 2
 * outputs and more, and for one where the batch is a multiple of 4 (otherwise PyTorch computes its last images
 * differently), both where the inputs are a multiple of 4: otherwise MKL takes the inputs up to the next aligned
 * address alone, so that an image's values depend on its place in the batch, which no order of ours follows.
 */
void anx_exact_linear_few(const anx_exact_linear *linear, int threads);

/*
 * The order of a linear layer's gradients, from in, out and batch. By the input: chains over the outputs as in
 * anx_exact_linear_chain, added up; in a small batch, one sum of rounded products. By the weights: chains over the
 * batch; where there are fewer than 4 outputs, one sum of rounded products. Proven for 12 or more inputs; in a small
 * batch or with fewer than 4 outputs, where they are a multiple of 4.
 */
void anx_exact_linear_back_settle(anx_exact_linear_back *linear);
/*
 * The gradient by the bias, as torch.sum over the first dimension adds (ATen/native/cpu/SumKernel.cpp, 8 lanes on
 * AVX-512 too). Columns below a multiple of 32 (of 4, where there are fewer than 8): rows in order in a cascade of 4
 * levels, level l passed on to the next after each 16^(l+1) rows. Columns after that: four such cascades over the rows
 * n = 0, 1, 2, 3 mod 4, the rows left over onto the first, and all added up. A single column of 8 rows or more is
 * taken as rows of 8, whose columns are added in order after the rows left over. Proven.
 */
void anx_exact_linear_bias_back(int64_t batch, int64_t out, const float *dy, float *db);

/* dx of one block of channels of one image, which it overwrites: dy added at `places`, in order. Proven. */
void anx_exact_max_pool_back(const anx_exact_layout *out, const anx_exact_layout *dy_layout,
                             const anx_exact_layout *dx_layout, const float *dy, const int32_t *places, float *dx);
/* dx = 0; dy / height / width of the window added to its elements, in the order of the outputs. Proven. */
void anx_exact_adaptive_avg_pool_back(const anx_exact_layout *dy_layout, const anx_exact_layout *dx_layout,
                                      const float *dy, float *dx);

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
/* One row of its gradient: (dy - sum(dy*y)) * y, summed in lanes as above. Merely defined: no training goes here. */
void anx_exact_softmax_back(const float *y, const float *dy, float *dx, int64_t columns);

#endif
