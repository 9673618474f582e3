/*
 * A linear layer's matrix products for a batch, on weights as PyTorch has them, (out, in): what training needs, where
 * the weights change at every step and a copy in another layout would cost more than it gives. oneDNN's products on
 * such weights repack them as they go and reach less than half of the memory's speed, which bounds these layers.
 *
 * Sums are in an order that depends on the shape and the instruction set alone, not on the number of threads.
 */
#ifndef ANX_SRC_BACKEND_DNNL_PRODUCTS_H
#define ANX_SRC_BACKEND_DNNL_PRODUCTS_H

#include "src/backend/dnnl/loops.h"

/* Floats of scratch memory that the functions below need. */
int64_t anx_dnnl_linear_scratch_elems(const anx_dnnl_linear *linear);
/* y = x W^T + b: x (N, in), weights (out, in), bias (out) or NULL, y (N, out). */
void anx_dnnl_linear_forward(const anx_dnnl_linear *linear, const float *weights, const float *bias, const float *x,
                             float *y, float *scratch);
/* dx = dy W: dy (N, out), weights (out, in), dx (N, in). */
void anx_dnnl_linear_backward_data(const anx_dnnl_linear *linear, const float *weights, const float *dy, float *dx,
                                   float *scratch);

/* Floats of scratch memory that the next one needs. */
int64_t anx_dnnl_linear_weights_scratch_elems(const anx_dnnl_linear *linear);
/*
 * dw = dy^T x, one chain over the images as PyTorch has it; db (NULL: none is wanted) = the sum of dy over them:
 * x (N, in), dy (N, out), dw (out, in), db (out).
 */
void anx_dnnl_linear_backward_weights(const anx_dnnl_linear *linear, const float *x, const float *dy, float *dw,
                                      float *db, float *scratch);

enum {
    ANX_DNNL_PRODUCT_ROWS = 12,   /* rows of weights that the forward product takes at once */
    ANX_DNNL_PRODUCT_PIECE = 512, /* columns of weights and x that it does: a quarter of the first cache */
    ANX_DNNL_PRODUCT_IMAGES = 8,  /* what the other ones' batch is rounded up to */
    ANX_DNNL_GRAD_ROWS = 24,      /* rows of the gradient by the weights that are computed at once */
    ANX_DNNL_GRAD_COLUMNS = 64,   /* what its columns are rounded up to, at most */
};

static inline int64_t anx_dnnl_padded_batch(const anx_dnnl_linear *linear) {
    return (linear->batch + ANX_DNNL_PRODUCT_IMAGES - 1) / ANX_DNNL_PRODUCT_IMAGES * ANX_DNNL_PRODUCT_IMAGES;
}

/* The inner loops, for each instruction set. */
typedef struct anx_dnnl_products {
    /*
     * Columns o .. o+rows-1 of y, rows at most ANX_DNNL_PRODUCT_ROWS. pieces: x cut into pieces of columns, one behind
     * the other, each (N, columns of the piece).
     */
    void (*forward)(const anx_dnnl_linear *linear, const float *weights, const float *bias, const float *pieces,
                    float *y, int64_t o, int rows);
    int64_t columns; /* of dx that one call of the next takes */
    /* Columns i .. of dx; dy_by_output (out, padded batch) has the images side by side, zeros behind them. */
    void (*backward_data)(const anx_dnnl_linear *linear, const float *weights, const float *dy_by_output, float *dx,
                          int64_t i);
    int64_t grad_columns; /* of the pieces of the next, 64 at most */
    /*
     * Rows o .. o+rows-1 of dw, rows at most ANX_DNNL_GRAD_ROWS. pieces: x cut into pieces of grad_columns columns, one
     * behind the other, each (N, grad_columns), zeros behind the last column.
     */
    void (*backward_weights)(const anx_dnnl_linear *linear, const float *pieces, const float *dy_by_output, float *dw,
                             int64_t o, int rows);
} anx_dnnl_products;
extern const anx_dnnl_products anx_dnnl_products_portable, anx_dnnl_products_avx2, anx_dnnl_products_avx512;

#endif
