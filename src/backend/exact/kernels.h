/*
 * The loops of the exact backend that are compiled once for each instruction set from one source
 * (kernels_body.h), and what they are handed. Every one of them gives the same bits whatever it was compiled for:
 * vectors run over outputs, never over the terms of a sum.
 */
#ifndef ANX_SRC_BACKEND_EXACT_KERNELS_H
#define ANX_SRC_BACKEND_EXACT_KERNELS_H

#include "src/backend/exact/layout.h"

/*
 * The orders in which oneDNN sums a convolution on an AVX-512 machine, where PyTorch calls it. A chain is
 * chain = fma(x, w, chain), term by term.
 */
typedef enum anx_exact_conv_order {
    /*
     * jit_avx512_common_convolution: t = bias; for each block of channels: a chain from 0 over kh, kw, c in the block;
     * t = t + chain. Taps in the padding take no part.
     */
    ANX_EXACT_CONV_BLOCKS = 0,
    /* jit_uni_dw_convolution (depthwise): one chain over kh, kw that starts at the bias. */
    ANX_EXACT_CONV_FROM_BIAS,
    /*
     * gemm_convolution: t = 0; for each part of the terms, ordered c, kh, kw: a chain from 0; t = t + chain; at last
     * t = t + bias. Parts of 384 while 768 terms or more are left, then halves, then the rest if it is 384 at most.
     * Taps in the padding are zeros, and a weight that is not finite makes them NaN.
     */
    ANX_EXACT_CONV_GEMM
} anx_exact_conv_order;

/*
 * A convolution. A tap in the padding that is skipped differs from a zero only where its weight is not finite (NaN)
 * or where the bias is -0 (its sign): `skip_padding` says that there is such a thing, and the packed kernel then
 * computes the columns at the edges with the taps that exist.
 */
typedef struct anx_exact_conv {
    anx_conv2d_params p;
    anx_exact_layout in, out;
    int64_t channels; /* input channels: of a group, where there are groups */
    anx_exact_conv_order order;
    int64_t block; /* channels in a block: ANX_EXACT_BLOCK, in groups 16, 8 or 4 */
    bool dense;    /* blocks of ANX_EXACT_BLOCK, groups start at whole ones: the packed kernel may run */
    bool skip_padding;
    bool relu;           /* the ReLU that follows is applied to what is stored */
    const float *packed; /* dense: [out block][chain][kh][kw][c][16] */
    const float *weight; /* (OC, IC/groups, KH, KW): as the checkpoint has it */
    const float *bias;   /* out.blocks*16 floats, zeros past the last channel */
} anx_exact_conv;

/* The orders in which oneDNN sums a convolution's gradient by its input, element by element. */
typedef enum anx_exact_dx_order {
    /* jit_avx512_common_convolution_bwd_data: for each block of output channels a chain from 0 over kh, kw, oc in the
     * block; t = the first chain; t = t + each further one. */
    ANX_EXACT_DX_BLOCKS = 0,
    /* brgconv_strided: one chain over kh, kw and all output channels. */
    ANX_EXACT_DX_CHAIN,
    /* gemm_convolution: t = 0; for kh, kw: t = t + a chain over the output channels (in the parts of
     * ANX_EXACT_CONV_GEMM, which are added from 0). */
    ANX_EXACT_DX_COLUMNS
} anx_exact_dx_order;

/*
 * The way back through a convolution. Taps in the padding take no part in any of its sums; computing with zeros in
 * their place gives the same bits unless a gradient or a weight is not finite, or so small that a sum may have become
 * -0: `skip_padding` says that the packed kernel must look.
 */
typedef struct anx_exact_conv_back {
    const anx_exact_conv *forward;
    anx_exact_layout dy, dx; /* of the two gradients; dy has as many zero columns as the packed kernel reads */
    anx_exact_dx_order dx_order;
    /* The gradients by weight and bias: one chain over n, oh, ow and plain sums; or, as gemm_convolution does it, the
     * sums of each image, which are then added up, and the bias's of each row. */
    bool per_image;
    bool dense_dx, dense_dw; /* whether the packed kernels can run */
    bool skip_padding;
    const float *packed; /* dense_dx: [in block][chain of oc][kh][kw][oc][16] */
} anx_exact_conv_back;

/*
 * y = x W^T + b for a panel of outputs. The order of every sum is MKL's sgemm for AVX-512 (batch >= 4, 12 or more
 * outputs):  t = bias; for each block of inputs: chain from 0 by fma; t = t + chain
 */
typedef struct anx_exact_linear {
    int64_t in, out, batch;
    int64_t chain_block; /* inputs in one chain (linear.c) */
    bool few;            /* another kernel of MKL's: anx_exact_linear_few */
    bool single;         /* which has an order of its own for one image */
    bool relu;
    const float *x;             /* (batch, in), its rows interleaved: anx_exact_linear_interleave */
    const float *weight, *bias; /* (out, in), (out) */
    float *y;                   /* (batch, out) */
} anx_exact_linear;

/* The way back through a linear layer in MKL's order: sums of chains as above, from 0 (ops.h says for which shapes). */
typedef struct anx_exact_linear_back {
    int64_t in, out, batch;
    int64_t dx_block, dw_block; /* outputs in one chain of dx, batch rows in one of dw */
    bool fused_dx, fused_dw;    /* false: it is one sum of rounded products */
    const float *x, *dy;        /* (batch, in), (batch, out) */
    const float *dy_tiles;      /* dy as anx_exact_linear_interleave has it */
    const float *weight;        /* (out, in) */
    float *dx, *dw;
} anx_exact_linear_back;

typedef struct anx_exact_pool {
    anx_pool2d_params p; /* max-pool */
    anx_exact_layout in, out;
} anx_exact_pool;

/* The split of n into as few parts of at most `most` as there can be, as even as they can be: the part at `first`. */
static inline int64_t anx_exact_part(int64_t n, int64_t first, int64_t most) {
    const int64_t rest = n - first, parts = (rest + most - 1) / most;
    return (rest + parts - 1) / parts;
}

typedef struct anx_exact_kernels {
    const char *isa;     /* "AVX-512": for reports */
    int conv_out_blocks; /* output blocks that conv_rows takes at a time at best */
    int linear_panel;    /* outputs that linear_panel_run takes at most */
    int linear_rows;     /* batch rows side by side in anx_exact_linear.x at most */
    /*
     * Output rows oh0 .. oh1-1 of `blocks` output blocks from `block0` on, for one image. `group` is 0 unless the
     * convolution is dense and grouped; all blocks then belong to that group.
     */
    void (*conv_rows)(const anx_exact_conv *conv, const float *x, float *y, int64_t block0, int64_t blocks, int64_t oh0,
                      int64_t oh1);
    /* One output channel of any convolution, one element at a time. */
    void (*conv_channel)(const anx_exact_conv *conv, const float *x, float *y, int64_t oc);
    /* Outputs o0 .. o0+count-1 for the whole batch; scratch: anx_exact_linear_scratch_elems floats. */
    void (*linear_panel_run)(const anx_exact_linear *linear, int64_t o0, int64_t count, float *scratch);
    /* One channel block of one image. */
    void (*max_pool)(const anx_exact_pool *pool, const float *x, float *y);
    /* The same, and where each maximum was: rows of `width` pixels, the first one being `border`. */
    void (*max_pool_places)(const anx_exact_pool *pool, int64_t width, int64_t border, const float *x, float *y,
                            int32_t *places);
    /* y[i] = x[i] < 0 ? +0 : x[i]; x may be y. */
    void (*relu)(const float *x, float *y, int64_t elems);
    /* dx[i] = y[i] <= 0 ? +0 : dy[i]. */
    void (*relu_back)(const float *y, const float *dy, float *dx, int64_t elems);
    /* Input rows h0 .. h1-1 of `blocks` input blocks from `block0` on, for one image (dense_dx). */
    void (*conv_dx_rows)(const anx_exact_conv_back *back, const float *dy, float *dx, int64_t block0, int64_t blocks,
                         int64_t h0, int64_t h1);
    /* One input channel of any convolution, one element at a time. */
    void (*conv_dx_channel)(const anx_exact_conv_back *back, const float *dy, float *dx, int64_t c);
    /* Carries the chains of one image's terms on, for `blocks` output blocks from `block0` on and one block of input
       channels; dw is laid out like the packed weights (dense_dw). */
    void (*conv_dw)(const anx_exact_conv_back *back, const float *x, const float *dy, float *dw, int64_t block0,
                    int64_t blocks, int64_t chain);
    /* One output channel of any convolution: its row of (OC, IC/groups, KH, KW), for the whole batch. */
    void (*conv_dw_channel)(const anx_exact_conv_back *back, int64_t batch, const float *x, const float *dy, float *dw,
                            int64_t oc);
    /* Inputs i0 .. i1-1 for the whole batch. */
    void (*linear_dx)(const anx_exact_linear_back *linear, int64_t i0, int64_t i1);
    /* Outputs o0 .. o1-1. */
    void (*linear_dw)(const anx_exact_linear_back *linear, int64_t o0, int64_t o1);
} anx_exact_kernels;

/* Floats that linear_panel_run needs as scratch: a transposed tile of weights, and the panel's sums. */
static inline int64_t anx_exact_linear_scratch_elems(const anx_exact_kernels *kernels, int64_t chain_block,
                                                     int64_t batch) {
    return (chain_block + batch) * kernels->linear_panel;
}

extern const anx_exact_kernels anx_exact_kernels_portable;
#if defined(__x86_64__)
extern const anx_exact_kernels anx_exact_kernels_avx2, anx_exact_kernels_avx512;
#endif

/*
 * The fastest set this machine runs. The environment variable ANX_ISA ("avx512", "avx2" or "portable") caps it, so
 * that tests can compare all three. Error: INVALID_ARGUMENT for another name.
 */
anx_status anx_exact_kernels_select(const anx_exact_kernels **out, anx_error *err);

#endif
