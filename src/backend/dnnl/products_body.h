/*
 * The inner loops of the matrix products. Included once for each instruction set, by files compiled for it. PRODUCTS is
 * the name of the table to define.
 */
#include "src/backend/dnnl/products.h"
#include "src/backend/dnnl/vectors.h"

/*
 * Tiles that fill the registers: 24 sums of AVX-512's 32, 12 of 16 otherwise. PIECE vectors of a row are worked on
 * before the next images' are: as much as stays in the first cache.
 */
enum {
#if defined(__AVX512F__)
    ROWS = 8,
#else
    ROWS = 4,
#endif
    IMAGES = 3,
    PIECE = 512 / LANES,
    MAX_IMAGES = 96, /* whose sums wait for the next piece of the row */
};

/* ---- forward -------------------------------------------------------------------------------------------- */

/* sums[image][row] += products of `vecs` vectors of the rows and the images. */
LOOP_INLINE void dot_tile(const float *w, const float *x, int64_t in, int64_t vecs, int rows, int images,
                          vec (*sums)[ROWS]) {
    vec acc[IMAGES][ROWS];
#pragma GCC unroll 8
    for (int n = 0; n < images; n++)
#pragma GCC unroll 8
        for (int o = 0; o < rows; o++) acc[n][o] = sums[n][o];
    for (int64_t i = 0; i < vecs; i++) {
        vec a[IMAGES];
#pragma GCC unroll 8
        for (int n = 0; n < images; n++) a[n] = vec_load(x + n * in + i * LANES);
#pragma GCC unroll 8
        for (int o = 0; o < rows; o++) {
            const vec b = vec_load(w + o * in + i * LANES);
#pragma GCC unroll 8
            for (int n = 0; n < images; n++) acc[n][o] = vec_fma(a[n], b, acc[n][o]);
        }
    }
#pragma GCC unroll 8
    for (int n = 0; n < images; n++)
#pragma GCC unroll 8
        for (int o = 0; o < rows; o++) sums[n][o] = acc[n][o];
}

/* One piece of the rows with all images. */
LOOP_INLINE void dot_piece(const float *w, const float *x, int64_t in, int64_t vecs, int rows, int64_t images,
                           vec (*sums)[ROWS]) {
    int64_t n = 0;
    for (; n + IMAGES <= images; n += IMAGES) dot_tile(w, x + n * in, in, vecs, rows, IMAGES, sums + n);
    for (; n < images; n++) dot_tile(w, x + n * in, in, vecs, rows, 1, sums + n);
}

static float sum_of(vec v) {
    float lanes[LANES];
    memcpy(lanes, &v, sizeof v);
    for (int half = LANES / 2; half > 0; half /= 2)
        for (int k = 0; k < half; k++) lanes[k] += lanes[k + half];
    return lanes[0];
}

static float tail_of(const float *a, const float *b, int64_t from, int64_t to) {
    float sum = 0.0f;
    for (int64_t i = from; i < to; i++) sum += a[i] * b[i];
    return sum;
}

/* y at (image 0 .. images-1, output 0 .. rows-1) of what the pointers point at. */
LOOP_INLINE void forward_rows(const anx_dnnl_linear *linear, const float *w, const float *bias, const float *x,
                              float *y, int64_t images, int rows) {
    const int64_t in = linear->in, vecs = in / LANES;
    vec sums[MAX_IMAGES][ROWS];
    memset(sums, 0, (size_t)images * sizeof *sums);
    for (int64_t i = 0; i < vecs; i += PIECE)
        dot_piece(w + i * LANES, x + i * LANES, in, vecs - i < PIECE ? vecs - i : PIECE, rows, images, sums);
    for (int64_t n = 0; n < images; n++)
        for (int o = 0; o < rows; o++)
            y[n * linear->out + o] = sum_of(sums[n][o]) + tail_of(w + o * in, x + n * in, vecs * LANES, in) +
                                     (bias != NULL ? bias[o] : 0.0f);
}

static void forward(const anx_dnnl_linear *linear, const float *weights, const float *bias, const float *x, float *y,
                    int64_t o, int rows) {
    for (int64_t n = 0; n < linear->batch; n += MAX_IMAGES) {
        const int64_t images = linear->batch - n < MAX_IMAGES ? linear->batch - n : MAX_IMAGES;
        const float *from = x + n * linear->in;
        float *to = y + n * linear->out;
        int row = 0;
        for (; row + ROWS <= rows; row += ROWS)
            forward_rows(linear, weights + (o + row) * linear->in, bias != NULL ? bias + o + row : NULL, from,
                         to + o + row, images, ROWS);
        for (; row < rows; row++)
            forward_rows(linear, weights + (o + row) * linear->in, bias != NULL ? bias + o + row : NULL, from,
                         to + o + row, images, 1);
    }
}

/* ---- backward ------------------------------------------------------------------------------------------- */

enum {
    TILE = ANX_DNNL_PRODUCT_IMAGES,
#if defined(__AVX512F__)
    STRIPE = 3, /* vectors of a tile */
    TILE_ROWS = 8,
#else
    STRIPE = 3,
    TILE_ROWS = 4,
#endif
    STRIPES = 4,
    COLUMNS = STRIPE * STRIPES * LANES,
    OUTPUTS = 32, /* rows of weights that are packed at once */
};

/* dx (rows of stride dx_stride) += dy W for `outputs` rows of packed weights. */
LOOP_INLINE void outer_tile(const float *packed, const float *dy, int64_t dy_stride, int64_t outputs, float *dx,
                            int64_t dx_stride) {
    vec acc[TILE_ROWS][STRIPE];
#pragma GCC unroll 8
    for (int n = 0; n < TILE_ROWS; n++)
#pragma GCC unroll 8
        for (int k = 0; k < STRIPE; k++) acc[n][k] = vec_load(dx + n * dx_stride + k * LANES);
    for (int64_t o = 0; o < outputs; o++) {
        vec w[STRIPE];
#pragma GCC unroll 8
        for (int k = 0; k < STRIPE; k++) w[k] = vec_load(packed + o * COLUMNS + k * LANES);
#pragma GCC unroll 8
        for (int n = 0; n < TILE_ROWS; n++) {
            const vec b = (vec){0.0f} + dy[o * dy_stride + n];
#pragma GCC unroll 8
            for (int k = 0; k < STRIPE; k++) acc[n][k] = vec_fma(w[k], b, acc[n][k]);
        }
    }
#pragma GCC unroll 8
    for (int n = 0; n < TILE_ROWS; n++)
#pragma GCC unroll 8
        for (int k = 0; k < STRIPE; k++) vec_store(dx + n * dx_stride + k * LANES, acc[n][k]);
}

/* The same for fewer images or columns than a tile has. */
static void outer_edge(const float *packed, const float *dy, int64_t dy_stride, int64_t outputs, float *dx,
                       int64_t dx_stride, int64_t images, int64_t columns) {
    float tile[TILE_ROWS][STRIPE * LANES] = {{0.0f}};
    for (int64_t n = 0; n < images; n++) memcpy(tile[n], dx + n * dx_stride, (size_t)columns * sizeof *dx);
    outer_tile(packed, dy, dy_stride, outputs, tile[0], STRIPE * LANES);
    for (int64_t n = 0; n < images; n++) memcpy(dx + n * dx_stride, tile[n], (size_t)columns * sizeof *dx);
}

static inline int64_t smaller(int64_t a, int64_t b) {
    return a < b ? a : b;
}

/* Rows o .. of the weights, columns i .., side by side, with zeros where there are no columns. */
static void pack(const anx_dnnl_linear *linear, const float *weights, int64_t o, int64_t i, int64_t outputs,
                 int64_t columns, float (*packed)[COLUMNS]) {
    for (int64_t row = 0; row < outputs; row++) {
        const float *w = weights + (o + row) * linear->in + i;
        if (columns == COLUMNS) {
            for (int k = 0; k < COLUMNS; k += LANES) {
                __builtin_prefetch(w + OUTPUTS * linear->in + k);
                vec_store(packed[row] + k, vec_load(w + k));
            }
        } else {
            memcpy(packed[row], w, (size_t)columns * sizeof *w);
            memset(packed[row] + columns, 0, (size_t)(COLUMNS - columns) * sizeof *w);
        }
    }
}

static void backward_data(const anx_dnnl_linear *linear, const float *weights, const float *dy_by_output, float *dx,
                          int64_t i) {
    const int64_t stride = (linear->batch + TILE - 1) / TILE * TILE, columns = smaller(COLUMNS, linear->in - i);
    float packed[OUTPUTS][COLUMNS];
    for (int64_t n = 0; n < linear->batch; n++) memset(dx + n * linear->in + i, 0, (size_t)columns * sizeof *dx);
    for (int64_t o = 0; o < linear->out; o += OUTPUTS) {
        const int64_t outputs = smaller(OUTPUTS, linear->out - o);
        pack(linear, weights, o, i, outputs, columns, packed);
        for (int64_t c = 0; c < columns; c += STRIPE * LANES) {
            for (int64_t n = 0; n < linear->batch; n += TILE_ROWS) {
                const int64_t wide = smaller(STRIPE * LANES, columns - c),
                              images = smaller(TILE_ROWS, linear->batch - n);
                const float *dy = dy_by_output + o * stride + n;
                float *to = dx + n * linear->in + i + c;
                if (wide == STRIPE * LANES && images == TILE_ROWS)
                    outer_tile(packed[0] + c, dy, stride, outputs, to, linear->in);
                else
                    outer_edge(packed[0] + c, dy, stride, outputs, to, linear->in, images, wide);
            }
        }
    }
}

const anx_dnnl_products PRODUCTS = {.forward = forward, .columns = COLUMNS, .backward_data = backward_data};
