#include "src/backend/dnnl/products.h"

#include <string.h>

static const anx_dnnl_products *products_for(anx_isa isa) {
    switch (isa) {
#ifdef __x86_64__
    case ANX_ISA_AVX512: return &anx_dnnl_products_avx512;
    case ANX_ISA_AVX2: return &anx_dnnl_products_avx2;
#endif
    default: return &anx_dnnl_products_portable;
    }
}

int64_t anx_dnnl_linear_scratch_elems(const anx_dnnl_linear *linear) {
    const int64_t forward = linear->batch * linear->in, backward = anx_dnnl_padded_batch(linear) * linear->out;
    return forward > backward ? forward : backward;
}

void anx_dnnl_linear_forward(const anx_dnnl_linear *linear, const float *weights, const float *bias, const float *x,
                             float *y, float *scratch) {
    const anx_dnnl_products *products = products_for(linear->isa);
    const int64_t in = linear->in, out = linear->out, batch = linear->batch;
#pragma omp parallel for schedule(static)
    for (int64_t i = 0; i < in; i += ANX_DNNL_PRODUCT_PIECE) {
        const int64_t piece = in - i < ANX_DNNL_PRODUCT_PIECE ? in - i : ANX_DNNL_PRODUCT_PIECE;
        for (int64_t n = 0; n < batch; n++)
            memcpy(scratch + i * batch + n * piece, x + n * in + i, (size_t)piece * sizeof *x);
    }
#pragma omp parallel for schedule(static)
    for (int64_t o = 0; o < out; o += ANX_DNNL_PRODUCT_ROWS) {
        const int64_t rows = out - o < ANX_DNNL_PRODUCT_ROWS ? out - o : ANX_DNNL_PRODUCT_ROWS;
        products->forward(linear, weights, bias, scratch, y, o, (int)rows);
    }
}

/* dy (N, out) to (out, padded batch). */
static void transpose(const anx_dnnl_linear *linear, const float *dy, float *dy_by_output) {
    const int64_t padded = anx_dnnl_padded_batch(linear);
#pragma omp parallel for schedule(static)
    for (int64_t o = 0; o < linear->out; o++)
        for (int64_t n = 0; n < padded; n++)
            dy_by_output[o * padded + n] = n < linear->batch ? dy[n * linear->out + o] : 0.0f;
}

void anx_dnnl_linear_backward_data(const anx_dnnl_linear *linear, const float *weights, const float *dy, float *dx,
                                   float *scratch) {
    const anx_dnnl_products *products = products_for(linear->isa);
    transpose(linear, dy, scratch);
#pragma omp parallel for schedule(static)
    for (int64_t i = 0; i < linear->in; i += products->columns)
        products->backward_data(linear, weights, scratch, dx, i);
}

int64_t anx_dnnl_linear_weights_scratch_elems(const anx_dnnl_linear *linear) {
    const int64_t columns = (linear->in + ANX_DNNL_GRAD_COLUMNS - 1) / ANX_DNNL_GRAD_COLUMNS * ANX_DNNL_GRAD_COLUMNS;
    return linear->batch * columns + anx_dnnl_padded_batch(linear) * linear->out;
}

/* A piece of x, so many columns from i on. */
static void cut_piece(const anx_dnnl_linear *linear, const float *x, int64_t i, int64_t columns, float *piece) {
    const int64_t given = linear->in - i < columns ? linear->in - i : columns;
    for (int64_t n = 0; n < linear->batch; n++, piece += columns) {
        memcpy(piece, x + n * linear->in + i, (size_t)given * sizeof *x);
        memset(piece + given, 0, (size_t)(columns - given) * sizeof *x);
    }
}

void anx_dnnl_linear_backward_weights(const anx_dnnl_linear *linear, const float *x, const float *dy, float *dw,
                                      float *db, float *scratch) {
    const anx_dnnl_products *products = products_for(linear->isa);
    const int64_t columns = products->grad_columns, padded = anx_dnnl_padded_batch(linear);
    float *const dy_by_output = scratch, *const pieces = scratch + padded * linear->out;
    transpose(linear, dy, dy_by_output);
    for (int64_t o = 0; db != NULL && o < linear->out; o++) {
        db[o] = 0.0f;
        for (int64_t n = 0; n < linear->batch; n++) db[o] += dy_by_output[o * padded + n];
    }
#pragma omp parallel for schedule(static)
    for (int64_t i = 0; i < linear->in; i += columns) cut_piece(linear, x, i, columns, pieces + i * linear->batch);
#pragma omp parallel for schedule(static)
    for (int64_t o = 0; o < linear->out; o += ANX_DNNL_GRAD_ROWS) {
        const int64_t rows = linear->out - o < ANX_DNNL_GRAD_ROWS ? linear->out - o : ANX_DNNL_GRAD_ROWS;
        products->backward_weights(linear, pieces, dy_by_output, dw, o, (int)rows);
    }
}
