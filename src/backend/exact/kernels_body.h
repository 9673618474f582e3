/*
 * The source that kernels_portable.c, kernels_avx2.c and kernels_avx512.c compile, each for its own instruction set.
 * Before including it they define
 *
 *   vec                      a vector of VEC_LANES floats (a divisor or a multiple of ANX_EXACT_BLOCK)
 *   vec_load, vec_store, vec_set1, vec_relu, vec_pool, vec_pool_place
 *   vec_fma(a, b, c)         a*b + c, rounded once
 *   vec_rows(p, stride)      4 floats from each of VEC_LANES/4 rows, row j in lanes 4j .. 4j+3
 *   vec_unpack_low, vec_unpack_high, vec_pair_low, vec_pair_high
 *                            within each 4 lanes: (a0 b0 a1 b1), (a2 b2 a3 b3), (a0 a1 b0 b1), (a2 a3 b2 b3)
 *   TILE_VECS, TILE_COLUMNS  the accumulators that fit the registers: so many vectors of outputs times so many pixels
 *                            or batch rows (TILE_COLUMNS <= 14)
 *   KERNELS, KERNELS_ISA     the name of the table and its `isa`
 */
#include <string.h>

#include "src/backend/exact/kernels.h"

#define ALWAYS_INLINE static inline __attribute__((always_inline))
#if defined(__clang__)
#define UNROLL _Pragma("clang loop unroll(full)")
#else
#define UNROLL _Pragma("GCC unroll 16")
#endif

enum {
    BLOCK = ANX_EXACT_BLOCK,
    PANEL = TILE_VECS * VEC_LANES,
    TILE_BLOCKS = PANEL > BLOCK ? PANEL / BLOCK : 1, /* output blocks that a full tile covers */
    BLOCK_VECS = VEC_LANES < BLOCK ? BLOCK / VEC_LANES : 1,
};

/* ---- convolution ---------------------------------------------------------------------------------------- */

/* One chain for `vecs` vectors of output channels and `columns` neighbouring output pixels, added to their sums. */
typedef struct conv_tile {
    const float *x;               /* first pixel's first tap */
    int64_t x_row, x_tap;         /* to the tap below, to the tap on the right */
    int64_t step;                 /* to the next output pixel's tap */
    const float *w;               /* first vector's first tap */
    int64_t w_row, w_tap;         /* the same for the weights */
    int64_t w_block;              /* to the next block of output channels */
    int64_t rows, taps, channels; /* rows of the kernel; taps in a row, channels in a tap */
    const float *bias;            /* where the sums start; NULL: at y */
    bool first;                   /* the chain is where the sums start */
    float *y;
    int64_t y_block;
    bool relu;
} conv_tile;

ALWAYS_INLINE int64_t block_offset(int v, int64_t to_next_block) {
    return v * VEC_LANES / BLOCK * to_next_block + v * VEC_LANES % BLOCK;
}

ALWAYS_INLINE void conv_tile_run(const conv_tile *t, const int vecs, const int columns, const int64_t step) {
    vec acc[TILE_VECS][TILE_COLUMNS];
    UNROLL for (int v = 0; v < vecs; v++) {
        UNROLL for (int u = 0; u < columns; u++) acc[v][u] = vec_set1(0.0f);
    }
    const int64_t w_block = t->w_block, channels = t->channels;
    for (int64_t row = 0; row < t->rows; row++) {
        for (int64_t tap = 0; tap < t->taps; tap++) {
            const float *x = t->x + row * t->x_row + tap * t->x_tap;
            const float *w = t->w + row * t->w_row + tap * t->w_tap;
            for (int64_t c = 0; c < channels; c++, w += BLOCK, x++) {
                vec wv[TILE_VECS];
                UNROLL for (int v = 0; v < vecs; v++) wv[v] = vec_load(w + block_offset(v, w_block));
                UNROLL for (int u = 0; u < columns; u++) {
                    const vec xv = vec_set1(x[u * step]);
                    UNROLL for (int v = 0; v < vecs; v++) acc[v][u] = vec_fma(xv, wv[v], acc[v][u]);
                }
            }
        }
    }
    UNROLL for (int v = 0; v < vecs; v++) {
        float *y = t->y + block_offset(v, t->y_block);
        UNROLL for (int u = 0; u < columns; u++) {
            vec sum = acc[v][u];
            if (!t->first) sum += t->bias != NULL ? vec_load(t->bias + v * VEC_LANES) : vec_load(y + u * BLOCK);
            vec_store(y + u * BLOCK, t->relu ? vec_relu(sum) : sum);
        }
    }
}

#define TILE_CASE(n)                                                                                                   \
    case n:                                                                                                            \
        if ((n) <= TILE_COLUMNS) conv_tile_run(t, vecs, (n) <= TILE_COLUMNS ? (n) : 1, step);                          \
        break;

/* Any number of columns up to TILE_COLUMNS at once: for the steps that matter. */
ALWAYS_INLINE void conv_tile_columns(const conv_tile *t, const int vecs, int64_t columns, const int64_t step) {
    switch (columns) {
        TILE_CASE(1)
        TILE_CASE(2)
        TILE_CASE(3)
        TILE_CASE(4)
        TILE_CASE(5)
        TILE_CASE(6)
        TILE_CASE(7)
        TILE_CASE(8)
        TILE_CASE(9)
        TILE_CASE(10)
        TILE_CASE(11)
        TILE_CASE(12)
        TILE_CASE(13)
        TILE_CASE(14)
    default: break;
    }
}

/* Strides met by the tables: 1 on blocked channels (16), and 4 on an image of 3 channels (12). */
static void conv_columns_16(const conv_tile *t, int64_t columns) {
    conv_tile_columns(t, TILE_VECS, columns, 16);
}

static void conv_columns_12(const conv_tile *t, int64_t columns) {
    conv_tile_columns(t, TILE_VECS, columns, 12);
}

/* Any step: columns in fours and ones. vecs is TILE_VECS, or those of one block. */
ALWAYS_INLINE void conv_columns_any(const conv_tile *tile, const int vecs, int64_t columns) {
    conv_tile t = *tile;
    enum { WIDE = TILE_COLUMNS < 4 ? TILE_COLUMNS : 4 };
    while (columns > 0) {
        const int64_t now = columns >= WIDE ? WIDE : 1;
        if (now == WIDE)
            conv_tile_run(&t, vecs, WIDE, t.step);
        else
            conv_tile_run(&t, vecs, 1, t.step);
        t.x += now * t.step;
        t.y += now * BLOCK;
        columns -= now;
    }
}

static void conv_columns_full(const conv_tile *t, int64_t columns) {
    conv_columns_any(t, TILE_VECS, columns);
}

static void conv_columns_block(const conv_tile *t, int64_t columns) {
    conv_columns_any(t, BLOCK_VECS, columns);
}

ALWAYS_INLINE int64_t ceil_div(int64_t a, int64_t b) {
    return (a + b - 1) / b;
}

/* Taps first .. last-1 of a kernel of `taps` that fall inside, for an output whose first tap lies at `start`. */
ALWAYS_INLINE void taps_inside(int64_t start, int64_t dilation, int64_t taps, int64_t extent, int64_t *first,
                               int64_t *last) {
    *first = start < 0 ? ceil_div(-start, dilation) : 0;
    *last = start >= extent ? 0 : ceil_div(extent - start, dilation);
    if (*last > taps) *last = taps;
    if (*first > *last) *first = *last;
}

/* Output columns ow0 .. ow0+columns-1 of a row, with the taps first .. last-1 of each row of the kernel. */
static void conv_columns(const conv_tile *row, const anx_exact_conv *conv, int64_t blocks, int64_t ow0, int64_t columns,
                         int64_t first, int64_t last) {
    const anx_conv2d_params *p = &conv->p;
    conv_tile t = *row;
    t.x += (ow0 * p->stride_w - p->pad_w + conv->in.border) * conv->in.block + first * t.x_tap;
    t.y += (conv->out.border + ow0) * BLOCK;
    t.w += first * t.w_tap;
    t.taps = last - first;
    if (t.x_tap == t.channels) { /* the taps of a row lie without a gap: one loop */
        t.channels *= t.taps;
        t.taps = 1;
    }
    void (*run)(const conv_tile *, int64_t) = blocks != TILE_BLOCKS ? conv_columns_block
                                              : t.step == 16        ? conv_columns_16
                                              : t.step == 12        ? conv_columns_12
                                                                    : conv_columns_full;
    for (int64_t done = 0; done < columns;) {
        const int64_t now = anx_exact_part(columns, done, TILE_COLUMNS);
        run(&t, now);
        t.x += now * t.step;
        t.y += now * BLOCK;
        done += now;
    }
}

/* One output row, one chain: the tile's x and y still point at the row's first (border) column. */
static void conv_row(const conv_tile *row, const anx_exact_conv *conv, int64_t blocks) {
    const anx_conv2d_params *p = &conv->p;
    const int64_t width = conv->out.width;
    if (!conv->skip_padding) {
        conv_columns(row, conv, blocks, 0, width, 0, p->kernel_w);
        return;
    }
    for (int64_t ow = 0; ow < width;) {
        int64_t first, last, columns = 1, next_first, next_last;
        taps_inside(ow * p->stride_w - p->pad_w, p->dilation_w, p->kernel_w, conv->in.width, &first, &last);
        for (; ow + columns < width; columns++) {
            taps_inside((ow + columns) * p->stride_w - p->pad_w, p->dilation_w, p->kernel_w, conv->in.width,
                        &next_first, &next_last);
            if (next_first != first || next_last != last) break;
        }
        conv_columns(row, conv, blocks, ow, columns, first, last);
        ow += columns;
    }
}

static void clear_borders(const anx_exact_layout *out, float *y, int64_t oh0, int64_t oh1) {
    const size_t bytes = (size_t)(out->border * out->block) * sizeof *y;
    if (bytes == 0) return;
    for (int64_t oh = oh0; oh < oh1; oh++) {
        float *row = y + oh * out->row_elems;
        memset(row, 0, bytes);
        memset(row + (out->border + out->width) * out->block, 0, bytes);
    }
}

/* TILE_BLOCKS blocks of output channels, or one. */
static void conv_tile_rows(const anx_exact_conv *conv, const float *x, float *y, int64_t block0, int64_t blocks,
                           int64_t oh0, int64_t oh1) {
    const anx_conv2d_params *p = &conv->p;
    const int64_t kernel = (int64_t)p->kernel_h * p->kernel_w, chains = ceil_div(conv->channels, BLOCK);
    const int64_t group = block0 * BLOCK / (conv->out.channels / p->groups);
    if (p->groups > 1) x += group * (conv->channels / BLOCK) * conv->in.block_elems;
    y += block0 * conv->out.block_elems;
    conv_tile t = {.x_row = p->dilation_h * conv->in.row_elems,
                   .x_tap = p->dilation_w * conv->in.block,
                   .step = p->stride_w * conv->in.block,
                   .w_block = kernel * conv->channels * BLOCK,
                   .y_block = conv->out.block_elems};
    for (int64_t b = 0; b < blocks; b++) clear_borders(&conv->out, y + b * t.y_block, oh0, oh1);
    for (int64_t chain = 0; chain < chains; chain++) {
        t.channels = chain + 1 < chains ? BLOCK : conv->channels - chain * BLOCK;
        t.w_tap = t.channels * BLOCK;
        t.w_row = p->kernel_w * t.w_tap;
        t.bias = chain == 0 ? conv->bias + block0 * BLOCK : NULL;
        t.relu = conv->relu && chain + 1 == chains;
        const float *w = conv->packed + block0 * t.w_block + chain * kernel * BLOCK * BLOCK;
        for (int64_t oh = oh0; oh < oh1; oh++) {
            const int64_t ih = oh * p->stride_h - p->pad_h;
            int64_t first, last;
            taps_inside(ih, p->dilation_h, p->kernel_h, conv->in.height, &first, &last);
            t.rows = last - first;
            t.x = x + chain * conv->in.block_elems + (ih + first * p->dilation_h) * conv->in.row_elems;
            t.w = w + first * t.w_row;
            t.y = y + oh * conv->out.row_elems;
            conv_row(&t, conv, blocks);
        }
    }
}

static void conv_rows(const anx_exact_conv *conv, const float *x, float *y, int64_t block0, int64_t blocks, int64_t oh0,
                      int64_t oh1) {
    while (blocks > 0) {
        const int64_t now = blocks >= TILE_BLOCKS ? TILE_BLOCKS : 1;
        conv_tile_rows(conv, x, y, block0, now, oh0, oh1);
        block0 += now;
        blocks -= now;
    }
}

/* Offset of channel c in an image of that layout. */
ALWAYS_INLINE int64_t channel_offset(const anx_exact_layout *l, int64_t c) {
    return c / l->block * l->block_elems + c % l->block;
}

/* Offset of the channel after the one at `offset`, which is number *in_block of its block. */
ALWAYS_INLINE int64_t next_channel(const anx_exact_layout *l, int64_t offset, int64_t *in_block) {
    if (++*in_block < l->block) return offset + 1;
    *in_block = 0;
    return offset + l->block_elems - (l->block - 1);
}

/* What one output element reads: its first tap, its first weight, the input channel its group starts with. */
typedef struct conv_window {
    const float *weight;
    int64_t c0, ih, iw;
} conv_window;

/* ANX_EXACT_CONV_BLOCKS and, with the chain started at the bias, ANX_EXACT_CONV_FROM_BIAS. */
static float conv_sum_blocks(const anx_exact_conv *conv, const float *x, conv_window at, float bias) {
    const anx_conv2d_params *p = &conv->p;
    const bool from_bias = conv->order == ANX_EXACT_CONV_FROM_BIAS;
    int64_t kh0, kh1, kw0, kw1;
    taps_inside(at.ih, p->dilation_h, p->kernel_h, conv->in.height, &kh0, &kh1);
    taps_inside(at.iw, p->dilation_w, p->kernel_w, conv->in.width, &kw0, &kw1);
    float sum = bias;
    for (int64_t first = 0; first < conv->channels; first += conv->block) {
        const int64_t last = first + conv->block < conv->channels ? first + conv->block : conv->channels;
        const int64_t offset = channel_offset(&conv->in, at.c0 + first), in_block = (at.c0 + first) % conv->in.block;
        float chain = from_bias ? sum : 0.0f;
        for (int64_t kh = kh0; kh < kh1; kh++)
            for (int64_t kw = kw0; kw < kw1; kw++) {
                const float *tap = x + (at.ih + kh * p->dilation_h) * conv->in.row_elems +
                                   (conv->in.border + at.iw + kw * p->dilation_w) * conv->in.block;
                const float *w = at.weight + kh * p->kernel_w + kw;
                int64_t channel = offset, number = in_block;
                for (int64_t c = first; c < last; c++) {
                    chain = __builtin_fmaf(tap[channel], w[c * p->kernel_h * p->kernel_w], chain);
                    channel = next_channel(&conv->in, channel, &number);
                }
            }
        sum = from_bias ? chain : sum + chain;
    }
    return sum;
}

static float conv_sum_gemm(const anx_exact_conv *conv, const float *x, conv_window at, float bias) {
    enum { PART = 384 };
    const anx_conv2d_params *p = &conv->p;
    const int64_t terms = conv->channels * p->kernel_h * p->kernel_w;
    const int64_t ih_end = at.ih + (int64_t)p->kernel_h * p->dilation_h,
                  iw_end = at.iw + (int64_t)p->kernel_w * p->dilation_w;
    /* What tap k reads, (ih, iw) of the channel at that offset, is counted along: dividing costs more than all else. */
    int64_t channel = channel_offset(&conv->in, at.c0), in_block = at.c0 % conv->in.block, ih = at.ih, iw = at.iw;
    float sum = 0.0f;
    for (int64_t k = 0; k < terms;) {
        const int64_t left = terms - k, part = left >= 2 * PART ? PART : left > PART ? (left + 1) / 2 : left;
        const int64_t end = k + part;
        float chain = 0.0f;
        for (; k < end; k++) {
            const bool inside = ih >= 0 && ih < conv->in.height && iw >= 0 && iw < conv->in.width;
            const float v =
                inside ? x[channel + ih * conv->in.row_elems + (conv->in.border + iw) * conv->in.block] : 0.0f;
            chain = __builtin_fmaf(v, at.weight[k], chain);
            iw += p->dilation_w;
            if (iw < iw_end) continue;
            iw = at.iw;
            ih += p->dilation_h;
            if (ih < ih_end) continue;
            ih = at.ih;
            channel = next_channel(&conv->in, channel, &in_block);
        }
        sum += chain;
    }
    return sum + bias;
}

static float conv_element(const anx_exact_conv *conv, const float *x, int64_t oc, int64_t oh, int64_t ow) {
    const anx_conv2d_params *p = &conv->p;
    const conv_window at = {.weight = conv->weight + oc * conv->channels * p->kernel_h * p->kernel_w,
                            .c0 = oc / (conv->out.channels / p->groups) * conv->channels,
                            .ih = oh * p->stride_h - p->pad_h,
                            .iw = ow * p->stride_w - p->pad_w};
    const float sum = conv->order == ANX_EXACT_CONV_GEMM ? conv_sum_gemm(conv, x, at, conv->bias[oc])
                                                         : conv_sum_blocks(conv, x, at, conv->bias[oc]);
    return conv->relu && sum < 0.0f ? 0.0f : sum;
}

static void conv_channel(const anx_exact_conv *conv, const float *x, float *y, int64_t oc) {
    const anx_exact_layout *out = &conv->out;
    y += channel_offset(out, oc);
    for (int64_t oh = 0; oh < out->height; oh++)
        for (int64_t ow = 0; ow < out->width; ow++)
            y[oh * out->row_elems + (out->border + ow) * out->block] = conv_element(conv, x, oc, oh, ow);
}

/* ---- linear --------------------------------------------------------------------------------------------- */

/* to[k][PANEL] = from[o][SPAN] for VEC_LANES rows of 4 columns. */
ALWAYS_INLINE void transpose_four(const float *from, int64_t ld, float *to) {
    const vec a = vec_rows(from, 4 * ld), b = vec_rows(from + ld, 4 * ld);
    const vec c = vec_rows(from + 2 * ld, 4 * ld), d = vec_rows(from + 3 * ld, 4 * ld);
    const vec ab0 = vec_unpack_low(a, b), ab2 = vec_unpack_high(a, b);
    const vec cd0 = vec_unpack_low(c, d), cd2 = vec_unpack_high(c, d);
    vec_store(to, vec_pair_low(ab0, cd0));
    vec_store(to + PANEL, vec_pair_high(ab0, cd0));
    vec_store(to + 2 * PANEL, vec_pair_low(ab2, cd2));
    vec_store(to + 3 * PANEL, vec_pair_high(ab2, cd2));
}

/* wt[k][PANEL] = w[o][k] for `count` outputs and `inputs` inputs; outputs past count become zeros. */
static void transpose_weights(const float *w, int64_t ld, int64_t count, int64_t inputs, float *wt) {
    enum { SPAN = 16 }; /* a cache line */
    int64_t o = 0;
    for (; o + VEC_LANES <= count; o += VEC_LANES) {
        const float *rows = w + o * ld;
        float *to = wt + o;
        int64_t k = 0;
        for (; k + SPAN <= inputs; k += SPAN) {
            /* Rows lie a multiple of 4096 bytes apart, all in one set of the cache: each line is touched once. */
            float lines[VEC_LANES * SPAN];
            UNROLL for (int i = 0; i < VEC_LANES; i++) {
                memcpy(lines + i * SPAN, rows + i * ld + k, SPAN * sizeof *lines);
                __builtin_prefetch(rows + i * ld + k + inputs, 0, 2);
            }
            UNROLL for (int j = 0; j < SPAN; j += 4) transpose_four(lines + j, SPAN, to + (k + j) * PANEL);
        }
        for (; k < inputs; k++)
            for (int64_t i = 0; i < VEC_LANES; i++) to[k * PANEL + i] = rows[i * ld + k];
    }
    for (; o < PANEL; o++)
        for (int64_t k = 0; k < inputs; k++) wt[k * PANEL + o] = o < count ? w[o * ld + k] : 0.0f;
}

/* sums[u][PANEL] += the chains of `rows` batch rows, whose inputs lie side by side: x[k][rows]. */
ALWAYS_INLINE void linear_tile_run(const float *x, const float *wt, int64_t inputs, float *sums, const int rows) {
    vec acc[TILE_VECS][TILE_COLUMNS];
    UNROLL for (int v = 0; v < TILE_VECS; v++) {
        UNROLL for (int u = 0; u < rows; u++) acc[v][u] = vec_set1(0.0f);
    }
    for (int64_t k = 0; k < inputs; k++, x += rows, wt += PANEL) {
        vec wv[TILE_VECS];
        UNROLL for (int v = 0; v < TILE_VECS; v++) wv[v] = vec_load(wt + v * VEC_LANES);
        UNROLL for (int u = 0; u < rows; u++) {
            const vec xv = vec_set1(x[u]);
            UNROLL for (int v = 0; v < TILE_VECS; v++) acc[v][u] = vec_fma(xv, wv[v], acc[v][u]);
        }
    }
    UNROLL for (int u = 0; u < rows; u++) {
        UNROLL for (int v = 0; v < TILE_VECS; v++) {
            float *sum = sums + u * PANEL + v * VEC_LANES;
            vec_store(sum, vec_load(sum) + acc[v][u]);
        }
    }
}

#define LINEAR_CASE(n)                                                                                                 \
    case n:                                                                                                            \
        if ((n) <= TILE_COLUMNS) linear_tile_run(x, wt, inputs, sums, (n) <= TILE_COLUMNS ? (n) : 1);                  \
        break;

static void linear_tile(const float *x, const float *wt, int64_t inputs, float *sums, int64_t rows) {
    switch (rows) {
        LINEAR_CASE(1)
        LINEAR_CASE(2)
        LINEAR_CASE(3)
        LINEAR_CASE(4)
        LINEAR_CASE(5)
        LINEAR_CASE(6)
        LINEAR_CASE(7)
        LINEAR_CASE(8)
        LINEAR_CASE(9)
        LINEAR_CASE(10)
        LINEAR_CASE(11)
        LINEAR_CASE(12)
        LINEAR_CASE(13)
        LINEAR_CASE(14)
    default: break;
    }
}

static void linear_panel(const anx_exact_linear *linear, int64_t o0, int64_t count, float *scratch) {
    float *wt = scratch, *sums = scratch + linear->chain_block * PANEL;
    for (int64_t n = 0; n < linear->batch; n++)
        for (int64_t o = 0; o < PANEL; o++) sums[n * PANEL + o] = o < count ? linear->bias[o0 + o] : 0.0f;
    for (int64_t k0 = 0; k0 < linear->in; k0 += linear->chain_block) {
        const int64_t left = linear->in - k0, inputs = left < linear->chain_block ? left : linear->chain_block;
        transpose_weights(linear->weight + o0 * linear->in + k0, linear->in, count, inputs, wt);
        for (int64_t n = 0; n < linear->batch;) {
            const int64_t rows = anx_exact_part(linear->batch, n, TILE_COLUMNS);
            linear_tile(linear->x + n * linear->in + k0 * rows, wt, inputs, sums + n * PANEL, rows);
            n += rows;
        }
    }
    for (int64_t n = 0; n < linear->batch; n++)
        for (int64_t o = 0; o < count; o++) {
            const float sum = sums[n * PANEL + o];
            linear->y[n * linear->out + o0 + o] = linear->relu && sum < 0.0f ? 0.0f : sum;
        }
}

/* ---- pooling and ReLU ----------------------------------------------------------------------------------- */

/* The window of one output pixel, as far as it lies inside. */
ALWAYS_INLINE void max_pool_window(const float *x, int64_t row_elems, int64_t rows, int64_t columns, float *y) {
    vec m[BLOCK_VECS];
    UNROLL for (int v = 0; v < BLOCK_VECS; v++) m[v] = vec_set1(-__builtin_inff());
    for (int64_t i = 0; i < rows; i++)
        for (int64_t j = 0; j < columns; j++) {
            UNROLL for (int v = 0; v < BLOCK_VECS; v++) m[v] =
                vec_pool(m[v], vec_load(x + i * row_elems + j * BLOCK + v * VEC_LANES));
        }
    UNROLL for (int v = 0; v < BLOCK_VECS; v++) vec_store(y + v * VEC_LANES, m[v]);
}

static void max_pool(const anx_exact_pool *pool, const float *x, float *y) {
    const anx_pool2d_params *p = &pool->p;
    const anx_exact_layout *in = &pool->in, *out = &pool->out;
    clear_borders(out, y, 0, out->height);
    for (int64_t oh = 0; oh < out->height; oh++) {
        const int64_t ih = oh * p->stride_h - p->pad_h;
        int64_t kh0, kh1;
        taps_inside(ih, 1, p->kernel_h, in->height, &kh0, &kh1);
        const float *row = x + (ih + kh0) * in->row_elems + in->border * BLOCK;
        float *to = y + oh * out->row_elems + out->border * BLOCK;
        for (int64_t ow = 0; ow < out->width; ow++) {
            const int64_t iw = ow * p->stride_w - p->pad_w;
            int64_t kw0, kw1;
            taps_inside(iw, 1, p->kernel_w, in->width, &kw0, &kw1);
            max_pool_window(row + (iw + kw0) * BLOCK, in->row_elems, kh1 - kh0, kw1 - kw0, to + ow * BLOCK);
        }
    }
}

/* An integer in every lane, to be moved about alone. */
ALWAYS_INLINE vec vec_set1_bits(int32_t i) {
    float f;
    memcpy(&f, &i, sizeof f);
    return vec_set1(f);
}

/* The window of one output pixel, whose first tap lies at the place `first`; `width` places are a row. */
ALWAYS_INLINE void max_pool_window_places(const float *x, int64_t row_elems, int64_t rows, int64_t columns,
                                          int64_t first, int64_t width, float *y, float *places) {
    vec m[BLOCK_VECS], at[BLOCK_VECS];
    UNROLL for (int v = 0; v < BLOCK_VECS; v++) {
        m[v] = vec_set1(-__builtin_inff());
        at[v] = vec_set1_bits((int32_t)first);
    }
    for (int64_t i = 0; i < rows; i++)
        for (int64_t j = 0; j < columns; j++) {
            const vec here = vec_set1_bits((int32_t)(first + i * width + j));
            UNROLL for (int v = 0; v < BLOCK_VECS; v++) {
                const vec value = vec_load(x + i * row_elems + j * BLOCK + v * VEC_LANES);
                at[v] = vec_pool_place(m[v], value, at[v], here);
                m[v] = vec_pool(m[v], value);
            }
        }
    UNROLL for (int v = 0; v < BLOCK_VECS; v++) {
        vec_store(y + v * VEC_LANES, m[v]);
        vec_store(places + v * VEC_LANES, at[v]);
    }
}

static void max_pool_places(const anx_exact_pool *pool, int64_t width, int64_t border, const float *x, float *y,
                            int32_t *places) {
    const anx_pool2d_params *p = &pool->p;
    const anx_exact_layout *in = &pool->in, *out = &pool->out;
    clear_borders(out, y, 0, out->height);
    for (int64_t oh = 0; oh < out->height; oh++)
        for (int64_t ow = 0; ow < out->width; ow++, places += BLOCK) {
            const int64_t ih = oh * p->stride_h - p->pad_h, iw = ow * p->stride_w - p->pad_w;
            int64_t kh0, kh1, kw0, kw1;
            float at[BLOCK];
            taps_inside(ih, 1, p->kernel_h, in->height, &kh0, &kh1);
            taps_inside(iw, 1, p->kernel_w, in->width, &kw0, &kw1);
            max_pool_window_places(x + (ih + kh0) * in->row_elems + (in->border + iw + kw0) * BLOCK, in->row_elems,
                                   kh1 - kh0, kw1 - kw0, (ih + kh0) * width + border + iw + kw0, width,
                                   y + oh * out->row_elems + (out->border + ow) * BLOCK, at);
            memcpy(places, at, sizeof at);
        }
}

static void relu(const float *x, float *y, int64_t elems) {
    for (int64_t i = 0; i < elems; i++) y[i] = x[i] < 0.0f ? 0.0f : x[i];
}

static void relu_back(const float *y, const float *dy, float *dx, int64_t elems) {
    for (int64_t i = 0; i < elems; i++) dx[i] = y[i] <= 0.0f ? 0.0f : dy[i];
}

#include "src/backend/exact/kernels_back.h"

const anx_exact_kernels KERNELS = {
    .isa = KERNELS_ISA,
    .conv_out_blocks = TILE_BLOCKS,
    .linear_panel = PANEL,
    .linear_rows = TILE_COLUMNS,
    .conv_rows = conv_rows,
    .conv_channel = conv_channel,
    .linear_panel_run = linear_panel,
    .max_pool = max_pool,
    .max_pool_places = max_pool_places,
    .relu = relu,
    .relu_back = relu_back,
    .conv_dx_rows = conv_dx_rows,
    .conv_dx_channel = conv_dx_channel,
    .conv_dw = conv_dw,
    .conv_dw_channel = conv_dw_channel,
    .linear_dx = linear_dx,
    .linear_dw = linear_dw,
};
