#include "src/backend/dnnl/pooling.h"

#include <math.h>
#include <string.h>

/* Channels worked on at once: a cache line, and the largest block of oneDNN's layouts. */
enum { CHUNK = 16 };

static int64_t channel_offset(const anx_dnnl_layout *layout, int64_t channel) {
    return channel / layout->block * layout->stride_block + channel % layout->block;
}

static int64_t min_i64(int64_t a, int64_t b) {
    return a < b ? a : b;
}

/* How many channels from `channel` on lie side by side in memory, at most CHUNK. */
static int contiguous_channels(const anx_dnnl_layout *layout, int64_t channel) {
    const int64_t in_block = layout->block - channel % layout->block;
    return (int)min_i64(CHUNK, min_i64(in_block, layout->channels - channel));
}

typedef struct window {
    int64_t h0, h1, w0, w1; /* half-open, inside the input */
} window;

static void range_of(int64_t i, int64_t in, int64_t out, bool adaptive, int kernel, int stride, int pad, int64_t *from,
                     int64_t *to) {
    if (adaptive) {
        *from = i * in / out;
        *to = ((i + 1) * in + out - 1) / out;
        return;
    }
    const int64_t start = i * stride - pad;
    *from = start > 0 ? start : 0;
    *to = min_i64(start + kernel, in);
}

/*
 * One output position of `count` neighbouring channels. Inlined into a copy whose count is known to be CHUNK, which
 * the compiler turns into vector instructions, and one for what is left over.
 */
static inline __attribute__((always_inline)) void pool_position(const anx_dnnl_pooling *p, const float *src,
                                                                const window *win, int count, float *out) {
    float acc[CHUNK];
    for (int c = 0; c < count; c++) acc[c] = p->adaptive ? 0.0f : -INFINITY;
    for (int64_t h = win->h0; h < win->h1; h++) {
        for (int64_t w = win->w0; w < win->w1; w++) {
            const float *x = src + h * p->src.stride_h + w * p->src.stride_w;
            if (p->adaptive) {
                for (int c = 0; c < count; c++) acc[c] += x[c];
            } else {
                for (int c = 0; c < count; c++) acc[c] = x[c] > acc[c] || x[c] != x[c] ? x[c] : acc[c];
            }
        }
    }
    if (p->adaptive) {
        const float height = (float)(win->h1 - win->h0), width = (float)(win->w1 - win->w0);
        for (int c = 0; c < count; c++) acc[c] = acc[c] / height / width;
    }
    memcpy(out, acc, (size_t)count * sizeof *acc);
}

/* Output row (n, oh) of `count` channels from `channel` on, which lie side by side in the input. */
static inline __attribute__((always_inline)) void pool_chunk(const anx_dnnl_pooling *p, const float *src, float *dst,
                                                             int64_t oh, int64_t channel, int count) {
    window win;
    range_of(oh, p->in_h, p->out_h, p->adaptive, p->kernel_h, p->stride_h, p->pad_h, &win.h0, &win.h1);
    const float *x = src + channel_offset(&p->src, channel);
    const bool together = contiguous_channels(&p->dst, channel) == count;
    for (int64_t ow = 0; ow < p->out_w; ow++) {
        range_of(ow, p->in_w, p->out_w, p->adaptive, p->kernel_w, p->stride_w, p->pad_w, &win.w0, &win.w1);
        float out[CHUNK];
        if (count == CHUNK)
            pool_position(p, x, &win, CHUNK, out);
        else
            pool_position(p, x, &win, count, out);
        float *y = dst + oh * p->dst.stride_h + ow * p->dst.stride_w;
        if (together) {
            memcpy(y + channel_offset(&p->dst, channel), out, (size_t)count * sizeof *out);
        } else {
            for (int c = 0; c < count; c++) y[channel_offset(&p->dst, channel + c)] = out[c];
        }
    }
}

static inline __attribute__((always_inline)) void pool_row(const anx_dnnl_pooling *p, const float *src, float *dst,
                                                           int64_t n, int64_t oh) {
    const float *x = src + n * p->src.stride_n;
    float *y = dst + n * p->dst.stride_n;
    for (int64_t c = 0; c < p->src.channels;) {
        const int count = contiguous_channels(&p->src, c);
        pool_chunk(p, x, y, oh, c, count);
        c += count;
    }
    /* oneDNN relies on zeros in the channels that fill up the last block. */
    for (int64_t c = p->dst.channels; c < p->dst.padded_channels; c++)
        for (int64_t ow = 0; ow < p->out_w; ow++)
            y[oh * p->dst.stride_h + ow * p->dst.stride_w + channel_offset(&p->dst, c)] = 0.0f;
}

/* The same code for each instruction set; no arithmetic differs between them. */
typedef void pool_row_fn(const anx_dnnl_pooling *, const float *, float *, int64_t, int64_t);

static void pool_row_portable(const anx_dnnl_pooling *p, const float *src, float *dst, int64_t n, int64_t oh) {
    pool_row(p, src, dst, n, oh);
}

#ifdef __x86_64__
__attribute__((target("avx2"))) static void pool_row_avx2(const anx_dnnl_pooling *p, const float *src, float *dst,
                                                          int64_t n, int64_t oh) {
    pool_row(p, src, dst, n, oh);
}

__attribute__((target("avx512f"))) static void pool_row_avx512(const anx_dnnl_pooling *p, const float *src, float *dst,
                                                               int64_t n, int64_t oh) {
    pool_row(p, src, dst, n, oh);
}
#endif

static pool_row_fn *choose_pool_row(void) {
#ifdef __x86_64__
    if (__builtin_cpu_supports("avx512f")) return pool_row_avx512;
    if (__builtin_cpu_supports("avx2")) return pool_row_avx2;
#endif
    return pool_row_portable;
}

void anx_dnnl_pooling_run(const anx_dnnl_pooling *pooling, const float *src, float *dst) {
    pool_row_fn *const row = choose_pool_row();
    const int64_t rows = pooling->batch * pooling->out_h;
#pragma omp parallel for schedule(static)
    for (int64_t i = 0; i < rows; i++) row(pooling, src, dst, i / pooling->out_h, i % pooling->out_h);
}

/* Below this many elements, starting the other threads costs more than they save. */
static const size_t parallel_elems = 1 << 14;

void anx_dnnl_relu_run(const float *src, float *dst, size_t elems) {
#pragma omp parallel for schedule(static) if (elems >= parallel_elems)
    for (size_t i = 0; i < elems; i++) dst[i] = src[i] < 0.0f ? 0.0f : src[i];
}

float anx_dnnl_max_magnitude(const float *x, size_t elems) {
    /* Without its sign, a float's bits order as integers do, with infinity above all numbers and NaN above that. */
    int32_t max = 0;
#pragma omp parallel for schedule(static) reduction(max : max) if (elems >= parallel_elems)
    for (size_t i = 0; i < elems; i++) {
        int32_t bits;
        memcpy(&bits, &x[i], sizeof bits);
        bits &= INT32_MAX;
        if (bits > max) max = bits;
    }
    float magnitude;
    memcpy(&magnitude, &max, sizeof magnitude);
    return magnitude;
}
