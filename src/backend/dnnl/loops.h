/*
 * What the CPU device does in loops of its own: pooling and ReLU as PyTorch defines them, to the bit and NaN included,
 * on any layout that oneDNN uses; softmax; and linear layers for a few images.
 *
 * oneDNN's own max-pooling starts from -FLT_MAX and compares so that a NaN loses (a window of -inf gives -3.4e38, a
 * NaN disappears), and its ReLU turns NaN into 0. All are bound by memory or small, so plain loops lose nothing.
 */
#ifndef ANX_SRC_BACKEND_DNNL_LOOPS_H
#define ANX_SRC_BACKEND_DNNL_LOOPS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "src/base/isa.h"

/*
 * Where element (n, c, h, w) lies: n*stride_n + (c / block)*stride_block + h*stride_h + w*stride_w + c % block floats
 * from the start. NCHW: block 1; NHWC: block C; nChw16c: block 16, with zeros up to padded_channels.
 */
typedef struct anx_dnnl_layout {
    int64_t channels, padded_channels, block;
    int64_t stride_n, stride_block, stride_h, stride_w;
} anx_dnnl_layout;

/* Results are the same with each instruction set, but for sums of products where there is no fused multiply-add. */

typedef struct anx_dnnl_pooling {
    anx_dnnl_layout src, dst;
    int64_t batch, in_h, in_w, out_h, out_w;
    anx_isa isa;   /* one that the processor has */
    bool adaptive; /* average over windows [floor(i*H/OH), ceil((i+1)*H/OH)); else maximum over the below */
    int kernel_h, kernel_w, stride_h, stride_w, pad_h, pad_w;
} anx_dnnl_pooling;

/*
 * aten/src/ATen/native/cpu/MaxPoolKernel.cpp: from -inf, replaced where v > m or v is NaN; padding is not looked at.
 * aten/src/ATen/native/cpu/AdaptiveAvgPoolKernel.cpp: summed in row order, divided by the height, then the width.
 */
void anx_dnnl_pooling_run(const anx_dnnl_pooling *pooling, const float *src, float *dst);
/* The same, of a maximum, with the winners' positions h*W + w in the input's plane, laid out as dst is. */
void anx_dnnl_pooling_run_tracked(const anx_dnnl_pooling *pooling, const float *src, float *dst, int32_t *winners);
/*
 * From the gradient by the output to that by the input, padding channels included (zeros). Each gradient is added, in
 * the output's row order, to the winner's place, or, divided by the window's height and then its width, to all of the
 * window (aten's AdaptiveAvgPoolKernel.cpp and MaxPoolKernel.cpp). winners is of a maximum alone.
 */
void anx_dnnl_pooling_run_backward(const anx_dnnl_pooling *pooling, const float *dst_grad, const int32_t *winners,
                                   float *src_grad);

/* The inner loops, for each instruction set. */
typedef struct anx_dnnl_loops {
    /* Output row oh of image n, those of the channels that are in the input's block number `block`. */
    void (*pool_row)(const anx_dnnl_pooling *pooling, const float *src, float *dst, int64_t n, int64_t block,
                     int64_t oh);
    /* The same with winners. */
    void (*pool_row_tracked)(const anx_dnnl_pooling *pooling, const float *src, float *dst, int32_t *winners, int64_t n,
                             int64_t block, int64_t oh);
    void (*relu_backward)(const float *dst_grad, const float *dst, float *src_grad, size_t elems);
    /* The largest of the elements' bits without their sign. */
    int32_t (*max_magnitude_bits)(const float *x, size_t elems);
    /* Sum of a[i] * b[i]. */
    float (*dot)(const float *a, const float *b, int64_t n);
} anx_dnnl_loops;
extern const anx_dnnl_loops anx_dnnl_loops_portable, anx_dnnl_loops_avx2, anx_dnnl_loops_avx512;

/* x < 0 gives +0, everything else (-0 and NaN too) stays. src may be dst. */
void anx_dnnl_relu_run(const float *src, float *dst, size_t elems);

/* dx = dy, +0 where y <= 0: what torch's threshold_backward makes of the output (dy stays where y is NaN). */
void anx_dnnl_relu_run_backward(const float *dst_grad, const float *dst, float *src_grad, size_t elems, anx_isa isa);
/* y = a * b */
void anx_dnnl_multiply_run(const float *a, const float *b, float *y, size_t elems);
/* y += x */
void anx_dnnl_add_run(const float *x, float *y, size_t elems);

/*
 * exp(x - max) over its sum, row by row, in double. A row with NaN or +infinity in it, or of -infinity alone, becomes
 * NaN, as in torch.softmax; oneDNN's makes numbers of it.
 */
void anx_dnnl_softmax_run(const float *src, float *dst, int64_t rows, int64_t features);

/* dx = y * (dy - sum(dy * y)), row by row, in double. */
void anx_dnnl_softmax_run_backward(const float *dst_grad, const float *dst, float *src_grad, int64_t rows,
                                   int64_t features);

/* The largest magnitude; NaN where there is one; 0 for none. */
float anx_dnnl_max_magnitude(const float *x, size_t elems, anx_isa isa);

typedef struct anx_dnnl_linear {
    int64_t batch, in, out;
    anx_isa isa; /* one that the processor has */
} anx_dnnl_linear;

/*
 * y = x W^T + b for a few images: x (N, in), weights (out, in), bias (out) or NULL, y (N, out). Goes through the
 * weights once, in the order in which they lie, which is what this is bound by: a mapped file's pages are small, and
 * processors fetch ahead within a page alone, so that a reader of one stream wins over one of several rows at a time.
 */
void anx_dnnl_linear_run(const anx_dnnl_linear *linear, const float *weights, const float *bias, const float *x,
                         float *y);

#endif
