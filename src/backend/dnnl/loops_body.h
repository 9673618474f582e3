/*
 * The inner loops. Included once for each instruction set, by files compiled for it: the vector types below become
 * what the target has. LOOPS is the name of the table to define.
 */
#include <math.h>
#include <string.h>

#include "src/backend/dnnl/loops.h"
#include "src/backend/dnnl/vectors.h"

/* Channels worked on at once: a cache line, and the largest block of oneDNN's layouts. */
enum { CHUNK = 16, VECS = CHUNK / LANES };

static inline int64_t channel_offset(const anx_dnnl_layout *layout, int64_t channel) {
    if (channel < layout->block) return channel; /* a division spared where all channels lie together */
    return channel / layout->block * layout->stride_block + channel % layout->block;
}

static inline int64_t min_i64(int64_t a, int64_t b) {
    return a < b ? a : b;
}

/* How many channels from `channel` on lie side by side in memory, at most CHUNK. */
static inline int64_t contiguous_channels(const anx_dnnl_layout *layout, int64_t channel) {
    if (layout->block == 1) return 1;
    const int64_t in_block = layout->block - (channel < layout->block ? channel : channel % layout->block);
    return min_i64(CHUNK, min_i64(in_block, layout->channels - channel));
}

typedef struct window {
    int64_t h0, h1, w0, w1; /* half-open, inside the input */
} window;

static inline void range_of(int64_t i, int64_t in, int64_t out, bool adaptive, int kernel, int stride, int pad,
                            int64_t *from, int64_t *to) {
    if (adaptive) {
        *from = i * in / out;
        *to = ((i + 1) * in + out - 1) / out;
        return;
    }
    const int64_t start = i * stride - pad;
    *from = start > 0 ? start : 0;
    *to = min_i64(start + kernel, in);
}

/* What is made of a window. TRACKED: the maximum, and where it was. */
typedef enum pool_kind { MAXIMUM, TRACKED, AVERAGE } pool_kind;

/*
 * One output position of CHUNK neighbouring channels. src: the first of them in the input's row 0, column 0.
 * winners is for TRACKED alone.
 */
LOOP_INLINE void pool_position(const float *src, const anx_dnnl_pooling *p, const window *win, pool_kind kind,
                               float *out, int32_t *winners) {
    vec acc[VECS];
    vec_mask nan[VECS]; /* TRACKED: the winners' positions */
    for (int i = 0; i < VECS; i++) {
        acc[i] = (vec){0.0f} - (kind == AVERAGE ? 0.0f : INFINITY);
        nan[i] = (vec_mask){0} + (kind == TRACKED ? (int32_t)(win->h0 * p->in_w + win->w0) : 0);
    }
    for (int64_t h = win->h0; h < win->h1; h++) {
        for (int64_t w = win->w0; w < win->w1; w++) {
            for (int i = 0; i < VECS; i++) {
                vec x;
                memcpy(&x, src + h * p->src.stride_h + w * p->src.stride_w + i * LANES, sizeof x);
                if (kind == AVERAGE) {
                    acc[i] += x;
                } else if (kind == MAXIMUM) {
                    acc[i] = vec_larger(x, acc[i]);
                    nan[i] |= (vec_mask)(x != x);
                } else {
                    const vec_mask wins = (vec_mask)(x > acc[i]) | (vec_mask)(x != x);
                    acc[i] = (vec)(((vec_mask)x & wins) | ((vec_mask)acc[i] & ~wins));
                    nan[i] = (((vec_mask){0} + (int32_t)(h * p->in_w + w)) & wins) | (nan[i] & ~wins);
                }
            }
        }
    }
    const float height = (float)(win->h1 - win->h0), width = (float)(win->w1 - win->w0);
    for (int i = 0; i < VECS; i++) {
        if (kind == AVERAGE)
            acc[i] = acc[i] / height / width;
        else if (kind == MAXIMUM)
            acc[i] = (vec)((vec_mask)acc[i] | nan[i]); /* all bits set is a NaN */
    }
    memcpy(out, acc, sizeof acc);
    if (kind == TRACKED) memcpy(winners, nan, sizeof nan);
}

/* The same for one channel. */
LOOP_INLINE float pool_single(const float *src, const anx_dnnl_pooling *p, const window *win, pool_kind kind,
                              int32_t *winner) {
    float acc = kind == AVERAGE ? 0.0f : -INFINITY;
    int64_t best = win->h0 * p->in_w + win->w0;
    bool nan = false;
    for (int64_t h = win->h0; h < win->h1; h++) {
        for (int64_t w = win->w0; w < win->w1; w++) {
            const float x = src[h * p->src.stride_h + w * p->src.stride_w];
            if (kind == AVERAGE) {
                acc += x;
            } else if (kind == MAXIMUM) { /* no branch: which is larger cannot be foretold */
                acc = x > acc ? x : acc;
                nan |= x != x;
            } else if (x > acc || x != x) {
                acc = x;
                best = h * p->in_w + w;
            }
        }
    }
    if (kind == MAXIMUM && nan) return NAN;
    if (kind == TRACKED) *winner = (int32_t)best;
    return kind == AVERAGE ? acc / (float)(win->h1 - win->h0) / (float)(win->w1 - win->w0) : acc;
}

/* Output position (oh, ow) of `count` channels from `channel` on, which lie side by side in the input. */
LOOP_INLINE void pool_chunk(const anx_dnnl_pooling *p, const float *src, float *dst, int32_t *winners,
                            const window *win, int64_t channel, int count, pool_kind kind) {
    float out[CHUNK];
    int32_t won[CHUNK] = {0};
    if (count < CHUNK) {
        for (int c = 0; c < count; c++) out[c] = pool_single(src + c, p, win, kind, &won[c]);
    } else {
        pool_position(src, p, win, kind, out, won);
        if (contiguous_channels(&p->dst, channel) == CHUNK) {
            memcpy(dst + channel_offset(&p->dst, channel), out, sizeof out);
            if (kind == TRACKED) memcpy(winners + channel_offset(&p->dst, channel), won, sizeof won);
            return;
        }
    }
    for (int c = 0; c < count; c++) {
        dst[channel_offset(&p->dst, channel + c)] = out[c];
        if (kind == TRACKED) winners[channel_offset(&p->dst, channel + c)] = won[c];
    }
}

/* Output row oh of image n, those of the channels that are in the input's block number `block`. */
LOOP_INLINE void pool_row(const anx_dnnl_pooling *p, const float *src, float *dst, int32_t *winners, int64_t n,
                          int64_t block, int64_t oh, pool_kind kind) {
    const bool adaptive = kind == AVERAGE;
    const float *x = src + n * p->src.stride_n + block * p->src.stride_block;
    const int64_t row = n * p->dst.stride_n + oh * p->dst.stride_h;
    float *y = dst + row;
    if (kind == TRACKED) winners += row;
    const int64_t first = block * p->src.block, channels = min_i64(p->src.block, p->src.channels - first);
    window win;
    range_of(oh, p->in_h, p->out_h, adaptive, p->kernel_h, p->stride_h, p->pad_h, &win.h0, &win.h1);
    for (int64_t ow = 0; ow < p->out_w; ow++) {
        range_of(ow, p->in_w, p->out_w, adaptive, p->kernel_w, p->stride_w, p->pad_w, &win.w0, &win.w1);
        for (int64_t c = 0; c < channels; c += CHUNK)
            pool_chunk(p, x + c, y + ow * p->dst.stride_w, kind == TRACKED ? winners + ow * p->dst.stride_w : NULL,
                       &win, first + c, (int)min_i64(CHUNK, channels - c), kind);
    }
    if (first + channels < p->src.channels) return;
    /* oneDNN relies on zeros in the channels that fill up the last block. */
    for (int64_t c = p->dst.channels; c < p->dst.padded_channels; c++)
        for (int64_t ow = 0; ow < p->out_w; ow++) y[ow * p->dst.stride_w + channel_offset(&p->dst, c)] = 0.0f;
}

static void pool_rows(const anx_dnnl_pooling *p, const float *src, float *dst, int64_t n, int64_t block, int64_t oh) {
    if (p->adaptive)
        pool_row(p, src, dst, NULL, n, block, oh, AVERAGE);
    else
        pool_row(p, src, dst, NULL, n, block, oh, MAXIMUM);
}

static void pool_rows_tracked(const anx_dnnl_pooling *p, const float *src, float *dst, int32_t *winners, int64_t n,
                              int64_t block, int64_t oh) {
    pool_row(p, src, dst, winners, n, block, oh, TRACKED);
}

/* Which outputs are positive looks random: with a branch each would cost more than the memory they come from. */
static void relu_backward(const float *dst_grad, const float *dst, float *src_grad, size_t elems) {
    size_t i = 0;
    for (; i + LANES <= elems; i += LANES) {
        const vec_mask drop = (vec_mask)(vec_load(dst + i) <= 0.0f);
        vec_store(src_grad + i, (vec)((vec_mask)vec_load(dst_grad + i) & ~drop));
    }
    for (; i < elems; i++) src_grad[i] = dst[i] <= 0.0f ? 0.0f : dst_grad[i];
}

/* Without its sign, a float's bits order as integers do, with infinity above all numbers and NaN above that. */
static int32_t max_magnitude_bits(const float *x, size_t elems) {
    int32_t max = 0;
    for (size_t i = 0; i < elems; i++) {
        int32_t bits;
        memcpy(&bits, &x[i], sizeof bits);
        bits &= INT32_MAX;
        max = bits > max ? bits : max;
    }
    return max;
}

/* Partial sums of a dot product: lane i has the products at i, i + 64, ...: the same order on every processor. */
enum { DOT_LANES = 64, DOT_VECS = DOT_LANES / LANES };

static float dot(const float *a, const float *b, int64_t n) {
    vec acc[DOT_VECS];
    float lanes[DOT_LANES];
    int64_t i = 0;
    for (int k = 0; k < DOT_VECS; k++) acc[k] = (vec){0.0f};
    for (; i + DOT_LANES <= n; i += DOT_LANES) {
        for (int k = 0; k < DOT_VECS; k++) {
            vec x, y;
            memcpy(&x, a + i + k * LANES, sizeof x);
            memcpy(&y, b + i + k * LANES, sizeof y);
            acc[k] = vec_fma(x, y, acc[k]);
        }
    }
    memcpy(lanes, acc, sizeof lanes);
    for (int k = 0; i < n; i++, k++) lanes[k] += a[i] * b[i];
    for (int half = DOT_LANES / 2; half > 0; half /= 2)
        for (int k = 0; k < half; k++) lanes[k] += lanes[k + half];
    return lanes[0];
}

const anx_dnnl_loops LOOPS = {.pool_row = pool_rows,
                              .pool_row_tracked = pool_rows_tracked,
                              .relu_backward = relu_backward,
                              .max_magnitude_bits = max_magnitude_bits,
                              .dot = dot};
