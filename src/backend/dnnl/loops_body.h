/*
 * The inner loops. Included once for each instruction set, by files compiled for it: the vector types below become
 * what the target has. LOOPS is the name of the table to define.
 */
#include <math.h>
#include <string.h>

#include "src/backend/dnnl/loops.h"

/* Channels worked on at once: a cache line, and the largest block of oneDNN's layouts. */
enum { CHUNK = 16 };

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

/* What the functions below are told as a constant, so that each use becomes a loop without it. */
#define LOOP_INLINE static inline __attribute__((always_inline))

/*
 * The target's widest vectors. vec_larger(x, m) is m where x is NaN, and where both are equal; vec_fma(a, b, c) is
 * a * b + c, rounded once where the target can.
 */
#if defined(__AVX512F__)
#include <immintrin.h>
typedef __m512 vec;
#define vec_larger(x, m) _mm512_max_ps(x, m)
#define vec_fma(a, b, c) _mm512_fmadd_ps(a, b, c)
#elif defined(__AVX2__) && defined(__FMA__)
#include <immintrin.h>
typedef __m256 vec;
#define vec_larger(x, m) _mm256_max_ps(x, m)
#define vec_fma(a, b, c) _mm256_fmadd_ps(a, b, c)
#elif defined(__SSE__)
#include <xmmintrin.h>
typedef __m128 vec;
#define vec_larger(x, m) _mm_max_ps(x, m)
#define vec_fma(a, b, c) ((a) * (b) + (c))
#else
typedef float vec __attribute__((vector_size(sizeof(float))));
#define vec_larger(x, m) ((vec){(x)[0] > (m)[0] ? (x)[0] : (m)[0]})
#define vec_fma(a, b, c) ((a) * (b) + (c))
#endif
/* What comparing them gives: all bits set where true. */
typedef int32_t vec_mask __attribute__((vector_size(sizeof(vec))));
enum { LANES = sizeof(vec) / sizeof(float), VECS = CHUNK / LANES };

/* One output position of CHUNK neighbouring channels. src: the first of them in the input's row 0, column 0. */
LOOP_INLINE void pool_position(const float *src, int64_t stride_h, int64_t stride_w, const window *win, bool average,
                               float *out) {
    vec acc[VECS];
    vec_mask nan[VECS];
    for (int i = 0; i < VECS; i++) {
        acc[i] = (vec){0.0f} - (average ? 0.0f : INFINITY);
        nan[i] = (vec_mask){0};
    }
    for (int64_t h = win->h0; h < win->h1; h++) {
        for (int64_t w = win->w0; w < win->w1; w++) {
            for (int i = 0; i < VECS; i++) {
                vec x;
                memcpy(&x, src + h * stride_h + w * stride_w + i * LANES, sizeof x);
                if (average) {
                    acc[i] += x;
                } else {
                    acc[i] = vec_larger(x, acc[i]);
                    nan[i] |= (vec_mask)(x != x);
                }
            }
        }
    }
    const float height = (float)(win->h1 - win->h0), width = (float)(win->w1 - win->w0);
    for (int i = 0; i < VECS; i++) {
        if (average)
            acc[i] = acc[i] / height / width;
        else
            acc[i] = (vec)((vec_mask)acc[i] | nan[i]); /* all bits set is a NaN */
    }
    memcpy(out, acc, sizeof acc);
}

/* The same for one channel. */
LOOP_INLINE float pool_single(const float *src, int64_t stride_h, int64_t stride_w, const window *win, bool average) {
    float acc = average ? 0.0f : -INFINITY;
    for (int64_t h = win->h0; h < win->h1; h++) {
        for (int64_t w = win->w0; w < win->w1; w++) {
            const float x = src[h * stride_h + w * stride_w];
            if (average)
                acc += x;
            else if (x > acc || x != x)
                acc = x;
        }
    }
    return average ? acc / (float)(win->h1 - win->h0) / (float)(win->w1 - win->w0) : acc;
}

/* Output position (oh, ow) of `count` channels from `channel` on, which lie side by side in the input. */
LOOP_INLINE void pool_chunk(const anx_dnnl_pooling *p, const float *src, float *dst, const window *win, int64_t channel,
                            int count, bool average) {
    if (count < CHUNK) {
        for (int c = 0; c < count; c++)
            dst[channel_offset(&p->dst, channel + c)] =
                pool_single(src + c, p->src.stride_h, p->src.stride_w, win, average);
        return;
    }
    float out[CHUNK];
    pool_position(src, p->src.stride_h, p->src.stride_w, win, average, out);
    if (contiguous_channels(&p->dst, channel) == CHUNK) {
        memcpy(dst + channel_offset(&p->dst, channel), out, sizeof out);
    } else {
        for (int c = 0; c < CHUNK; c++) dst[channel_offset(&p->dst, channel + c)] = out[c];
    }
}

/* Output row oh of image n, those of the channels that are in the input's block number `block`. */
LOOP_INLINE void pool_row(const anx_dnnl_pooling *p, const float *src, float *dst, int64_t n, int64_t block, int64_t oh,
                          bool average) {
    const float *x = src + n * p->src.stride_n + block * p->src.stride_block;
    float *y = dst + n * p->dst.stride_n + oh * p->dst.stride_h;
    const int64_t first = block * p->src.block, channels = min_i64(p->src.block, p->src.channels - first);
    window win;
    range_of(oh, p->in_h, p->out_h, average, p->kernel_h, p->stride_h, p->pad_h, &win.h0, &win.h1);
    for (int64_t ow = 0; ow < p->out_w; ow++) {
        range_of(ow, p->in_w, p->out_w, average, p->kernel_w, p->stride_w, p->pad_w, &win.w0, &win.w1);
        for (int64_t c = 0; c < channels; c += CHUNK)
            pool_chunk(p, x + c, y + ow * p->dst.stride_w, &win, first + c, (int)min_i64(CHUNK, channels - c), average);
    }
    if (first + channels < p->src.channels) return;
    /* oneDNN relies on zeros in the channels that fill up the last block. */
    for (int64_t c = p->dst.channels; c < p->dst.padded_channels; c++)
        for (int64_t ow = 0; ow < p->out_w; ow++) y[ow * p->dst.stride_w + channel_offset(&p->dst, c)] = 0.0f;
}

static void pool_rows(const anx_dnnl_pooling *p, const float *src, float *dst, int64_t n, int64_t block, int64_t oh) {
    if (p->adaptive)
        pool_row(p, src, dst, n, block, oh, true);
    else
        pool_row(p, src, dst, n, block, oh, false);
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

const anx_dnnl_loops LOOPS = {.pool_row = pool_rows, .max_magnitude_bits = max_magnitude_bits, .dot = dot};
