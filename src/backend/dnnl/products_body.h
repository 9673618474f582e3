/*
 * The inner loops of the matrix products. Included once for each instruction set, by files compiled for it. PRODUCTS is
 * the name of the table to define.
 */
#include <stdalign.h>

#include "src/backend/dnnl/products.h"
#include "src/backend/dnnl/vectors.h"

/*
 * Tiles that fill the registers: 24 sums of AVX-512's 32, 12 of 16 otherwise. Rows of these matrices lie a multiple of
 * 4 KiB apart, and so compete for a few lines of a cache: everything that is read more than once is first packed. What
 * is read next from memory is asked for while the tiles are computed, a line at each turn.
 */
enum {
#if defined(__AVX512F__)
    ROWS = 6,
    IMAGES = 4,
    TILE_IMAGES = 8,
    GRAD_ROWS = 6,
#else
    ROWS = 4,
    IMAGES = 3,
    TILE_IMAGES = 4,
    GRAD_ROWS = 3,
#endif
    PIECE_VECS = ANX_DNNL_PRODUCT_PIECE / LANES,
    MAX_IMAGES = 96, /* whose sums wait for the next piece of the rows */
};

static inline int64_t smaller(int64_t a, int64_t b) {
    return a < b ? a : b;
}

/* ---- forward -------------------------------------------------------------------------------------------- */

/* sums[image][row] += products of a piece of the rows, packed vector by vector, and of the images. */
LOOP_INLINE void dot_tile(vec (*w)[ROWS], const float *x, int64_t x_stride, int64_t vecs, int images,
                          const float *ahead, vec (*sums)[ROWS]) {
    vec acc[IMAGES][ROWS];
#pragma GCC unroll 8
    for (int n = 0; n < images; n++)
#pragma GCC unroll 8
        for (int o = 0; o < ROWS; o++) acc[n][o] = sums[n][o];
    for (int64_t i = 0; i < vecs; i++) {
        vec a[IMAGES];
        __builtin_prefetch(ahead + i * LANES, 0, 2);
#pragma GCC unroll 8
        for (int n = 0; n < images; n++) a[n] = vec_load(x + n * x_stride + i * LANES);
#pragma GCC unroll 8
        for (int o = 0; o < ROWS; o++) {
            vec b = w[i][o];
            vec_keep(b);
#pragma GCC unroll 8
            for (int n = 0; n < images; n++) acc[n][o] = vec_fma(a[n], b, acc[n][o]);
        }
    }
#pragma GCC unroll 8
    for (int n = 0; n < images; n++)
#pragma GCC unroll 8
        for (int o = 0; o < ROWS; o++) sums[n][o] = acc[n][o];
}

/* A piece of `rows` rows with all images; zeros stand in for rows that are missing. ahead: the piece read next. */
static void dot_piece(const float *w, int64_t in, int64_t vecs, int rows, const float *x, int64_t x_stride,
                      int64_t images, const float *ahead, vec (*sums)[ROWS]) {
    vec packed[PIECE_VECS][ROWS];
    for (int o = 0; o < ROWS; o++)
        for (int64_t i = 0; i < vecs; i++) packed[i][o] = o < rows ? vec_load(w + o * in + i * LANES) : (vec){0.0f};
    int64_t n = 0;
    for (; n + IMAGES <= images; n += IMAGES)
        dot_tile(packed, x + n * x_stride, x_stride, vecs, IMAGES, ahead + smaller(n / IMAGES, rows - 1) * in,
                 sums + n);
    for (; n < images; n++)
        dot_tile(packed, x + n * x_stride, x_stride, vecs, 1, ahead + smaller(n, rows - 1) * in, sums + n);
}

static float sum_of(vec v) {
    float lanes[LANES];
    memcpy(lanes, &v, sizeof v);
    for (int half = LANES / 2; half > 0; half /= 2)
        for (int k = 0; k < half; k++) lanes[k] += lanes[k + half];
    return lanes[0];
}

/* Outputs o .. o+rows-1, at most ROWS, of images n .. n+images-1, at most MAX_IMAGES. */
static void forward_block(const anx_dnnl_linear *linear, const float *weights, const float *bias, const float *pieces,
                          float *y, int64_t o, int rows, int64_t n, int64_t images) {
    const int64_t in = linear->in;
    const float *w = weights + o * in;
    vec sums[MAX_IMAGES][ROWS];
    memset(sums, 0, (size_t)images * sizeof *sums);
    for (int64_t i = 0; i < in; i += ANX_DNNL_PRODUCT_PIECE) {
        const int64_t piece = smaller(ANX_DNNL_PRODUCT_PIECE, in - i), vecs = piece / LANES;
        const float *x = pieces + i * linear->batch + n * piece;
        const float *ahead = i + piece < in ? w + i + piece : w + rows * in;
        dot_piece(w + i, in, vecs, rows, x, piece, images, ahead, sums);
        /* What is left of the last piece: less than a vector, into the first lane. */
        for (int64_t k = vecs * LANES; k < piece; k++)
            for (int64_t m = 0; m < images; m++)
                for (int row = 0; row < rows; row++) sums[m][row][0] += w[row * in + i + k] * x[m * piece + k];
    }
    for (int64_t m = 0; m < images; m++)
        for (int row = 0; row < rows; row++)
            y[(n + m) * linear->out + o + row] = sum_of(sums[m][row]) + (bias != NULL ? bias[o + row] : 0.0f);
}

static void forward(const anx_dnnl_linear *linear, const float *weights, const float *bias, const float *pieces,
                    float *y, int64_t o, int rows) {
    for (int row = 0; row < rows; row += ROWS)
        for (int64_t n = 0; n < linear->batch; n += MAX_IMAGES)
            forward_block(linear, weights, bias, pieces, y, o + row, (int)smaller(ROWS, rows - row), n,
                          smaller(MAX_IMAGES, linear->batch - n));
}

/* ---- backward ------------------------------------------------------------------------------------------- */

enum {
    STRIPE = 3, /* vectors of a tile */
    STRIPES = 4,
    COLUMNS = STRIPE * STRIPES * LANES,
    OUTPUTS = 32, /* rows of weights that are packed at once */
};

/* dx += dy W for `outputs` rows of packed weights, over a tile of dx that lies in `sums`. */
LOOP_INLINE void outer_tile(const float *packed, const float *dy, int64_t dy_stride, int64_t outputs,
                            const float *ahead, int64_t ahead_stride, float *sums) {
    vec acc[TILE_IMAGES][STRIPE];
#pragma GCC unroll 8
    for (int n = 0; n < TILE_IMAGES; n++)
#pragma GCC unroll 8
        for (int k = 0; k < STRIPE; k++) acc[n][k] = vec_load(sums + n * COLUMNS + k * LANES);
    for (int64_t o = 0; o < outputs; o++) {
        vec w[STRIPE];
        __builtin_prefetch(ahead + o * ahead_stride, 0, 2);
#pragma GCC unroll 8
        for (int k = 0; k < STRIPE; k++) w[k] = vec_load(packed + o * COLUMNS + k * LANES);
#pragma GCC unroll 8
        for (int n = 0; n < TILE_IMAGES; n++) {
            const vec b = vec_all(dy[o * dy_stride + n]);
#pragma GCC unroll 8
            for (int k = 0; k < STRIPE; k++) acc[n][k] = vec_fma(w[k], b, acc[n][k]);
        }
    }
#pragma GCC unroll 8
    for (int n = 0; n < TILE_IMAGES; n++)
#pragma GCC unroll 8
        for (int k = 0; k < STRIPE; k++) vec_store(sums + n * COLUMNS + k * LANES, acc[n][k]);
}

/* Rows of weights from one column on, side by side, with zeros where there are no columns. */
static void pack(const float *w, int64_t in, int64_t outputs, int64_t columns, float (*packed)[COLUMNS]) {
    for (int64_t row = 0; row < outputs; row++, w += in) {
        if (columns == COLUMNS) {
            memcpy(packed[row], w, sizeof *packed);
        } else {
            memcpy(packed[row], w, (size_t)columns * sizeof *w);
            memset(packed[row] + columns, 0, (size_t)(COLUMNS - columns) * sizeof *w);
        }
    }
}

/* Columns i .. of images n .. n+images-1, at most MAX_IMAGES. */
static void backward_block(const anx_dnnl_linear *linear, const float *weights, const float *dy, int64_t dy_stride,
                           float *dx, int64_t i, int64_t n, int64_t images) {
    enum { LINE = 16 };
    const int64_t columns = smaller(COLUMNS, linear->in - i);
    alignas(64) float packed[OUTPUTS][COLUMNS];
    alignas(64) float sums[MAX_IMAGES][COLUMNS];
    memset(sums, 0, (size_t)((images + TILE_IMAGES - 1) / TILE_IMAGES * TILE_IMAGES) * sizeof *sums);
    for (int64_t o = 0; o < linear->out; o += OUTPUTS) {
        const int64_t outputs = smaller(OUTPUTS, linear->out - o);
        const float *w = weights + o * linear->in + i, *ahead = w + outputs * linear->in;
        pack(w, linear->in, outputs, columns, packed);
        int64_t turn = 0;
        for (int stripe = 0; stripe < STRIPES; stripe++)
            for (int64_t m = 0; m < images; m += TILE_IMAGES, turn++)
                outer_tile(packed[0] + stripe * STRIPE * LANES, dy + o * dy_stride + n + m, dy_stride, outputs,
                           ahead + smaller(turn * LINE, columns - 1), linear->in, sums[m] + stripe * STRIPE * LANES);
    }
    for (int64_t m = 0; m < images; m++) memcpy(dx + (n + m) * linear->in + i, sums[m], (size_t)columns * sizeof *dx);
}

static void backward_data(const anx_dnnl_linear *linear, const float *weights, const float *dy_by_output, float *dx,
                          int64_t i) {
    const int64_t stride = anx_dnnl_padded_batch(linear);
    for (int64_t n = 0; n < linear->batch; n += MAX_IMAGES)
        backward_block(linear, weights, dy_by_output, stride, dx, i, n, smaller(MAX_IMAGES, linear->batch - n));
}

/* ---- backward, by the weights --------------------------------------------------------------------------- */

enum { GRAD_VECS = 4, GRAD_COLUMNS = GRAD_VECS * LANES };

/*
 * A tile of dw, GRAD_ROWS rows of GRAD_COLUMNS. It goes past the caches if it is aligned: the gradient of a large
 * layer is larger than they are, and is next read when all of it is there.
 */
LOOP_INLINE void grad_tile(const float *piece, const float *dy, int64_t dy_stride, int64_t images, int rows,
                           bool streams, float *dw, int64_t dw_stride) {
    vec acc[GRAD_ROWS][GRAD_VECS];
#pragma GCC unroll 8
    for (int o = 0; o < GRAD_ROWS; o++)
#pragma GCC unroll 8
        for (int k = 0; k < GRAD_VECS; k++) acc[o][k] = (vec){0.0f};
    for (int64_t n = 0; n < images; n++) {
        vec b[GRAD_ROWS];
#pragma GCC unroll 8
        for (int o = 0; o < rows; o++) b[o] = vec_all(dy[o * dy_stride + n]);
#pragma GCC unroll 8
        for (int k = 0; k < GRAD_VECS; k++) {
            vec x = vec_load(piece + n * GRAD_COLUMNS + k * LANES);
            vec_keep(x);
#pragma GCC unroll 8
            for (int o = 0; o < rows; o++) acc[o][k] = vec_fma(x, b[o], acc[o][k]);
        }
    }
#pragma GCC unroll 8
    for (int o = 0; o < rows; o++)
#pragma GCC unroll 8
        for (int k = 0; k < GRAD_VECS; k++) {
            if (streams)
                vec_stream(dw + o * dw_stride + k * LANES, acc[o][k]);
            else
                vec_store(dw + o * dw_stride + k * LANES, acc[o][k]);
        }
}

/* So many rows and columns of a tile that has less of either. */
static void grad_edge(const float *piece, const float *dy, int64_t dy_stride, int64_t images, int64_t rows,
                      int64_t columns, float *dw, int64_t dw_stride) {
    float row[GRAD_COLUMNS];
    for (int64_t o = 0; o < rows; o++) {
        grad_tile(piece, dy + o * dy_stride, dy_stride, images, 1, false, row, 0);
        memcpy(dw + o * dw_stride, row, (size_t)columns * sizeof *dw);
    }
}

static void backward_weights(const anx_dnnl_linear *linear, const float *pieces, const float *dy_by_output, float *dw,
                             int64_t o, int rows) {
    const int64_t stride = anx_dnnl_padded_batch(linear), in = linear->in, images = linear->batch;
    const bool aligned = in % LANES == 0 && (uintptr_t)dw % sizeof(vec) == 0;
    /* The same columns of all rows, one tile after the other: their piece stays in the first cache. */
    for (int64_t i = 0; i < in; i += GRAD_COLUMNS) {
        const int64_t columns = smaller(GRAD_COLUMNS, in - i);
        const float *piece = pieces + i * images;
        for (int row = 0; row < rows; row += GRAD_ROWS) {
            const float *dy = dy_by_output + (o + row) * stride;
            float *to = dw + (o + row) * in + i;
            if (columns < GRAD_COLUMNS || rows - row < GRAD_ROWS)
                grad_edge(piece, dy, stride, images, smaller(GRAD_ROWS, rows - row), columns, to, in);
            else if (aligned)
                grad_tile(piece, dy, stride, images, GRAD_ROWS, true, to, in);
            else
                grad_tile(piece, dy, stride, images, GRAD_ROWS, false, to, in);
        }
    }
    vec_stream_end();
}

const anx_dnnl_products PRODUCTS = {.forward = forward,
                                    .columns = COLUMNS,
                                    .backward_data = backward_data,
                                    .grad_columns = GRAD_COLUMNS,
                                    .backward_weights = backward_weights};
