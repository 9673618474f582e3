/*
 * Matrices and vectors on cuBLAS; what cuBLASLt does is in matmul.h. Everything is float32 in device memory; matrices
 * are row-major and packed, as PyTorch has them. Work is enqueued on the handle's stream. Errors: DEVICE with cuBLAS's
 * number.
 */
#ifndef ANX_SRC_BACKEND_CUDA_BLAS_H
#define ANX_SRC_BACKEND_CUDA_BLAS_H

#include <stdint.h>

#include "src/backend/backend.h"
#include "src/backend/cuda/api_table.h"

typedef struct anx_cublas {
    const anx_cuda_api *api;
    struct cublasContext *handle;
    void *workspace; /* of its own, so that the same call gives the same bits */
    size_t workspace_bytes;
} anx_cublas;

anx_status anx_cublas_init(anx_cublas *blas, const anx_cuda_api *api, struct CUstream_st *stream, anx_math_mode math,
                           bool nondeterministic, anx_error *err);
void anx_cublas_fini(anx_cublas *blas);

/* torch.nn.Linear without its bias: x (n, in), w (out, in), y (n, out). */
typedef struct anx_cublas_linear {
    int64_t n, in, out;
} anx_cublas_linear;

/* y = x w^T */
anx_status anx_cublas_linear_forward(const anx_cublas *blas, const anx_cublas_linear *l, const float *x, const float *w,
                                     float *y, anx_error *err);
/* dx = dy w */
anx_status anx_cublas_linear_backward_data(const anx_cublas *blas, const anx_cublas_linear *l, const float *w,
                                           const float *dy, float *dx, anx_error *err);
/* dw = dy^T x */
anx_status anx_cublas_linear_backward_weights(const anx_cublas *blas, const anx_cublas_linear *l, const float *x,
                                              const float *dy, float *dw, anx_error *err);

/* y = x * factors, element by element; y may be x. */
anx_status anx_cublas_multiply(const anx_cublas *blas, int64_t n, const float *x, const float *factors, float *y,
                               anx_error *err);
/* y += a * x */
anx_status anx_cublas_add(const anx_cublas *blas, int64_t n, float a, const float *x, float *y, anx_error *err);
/* out = a * x + b * y for n elements, a multiple of ANX_CUBLAS_ROW; out may be x or y. */
anx_status anx_cublas_combine(const anx_cublas *blas, int64_t n, float a, const float *x, float b, const float *y,
                              float *out, anx_error *err);

enum { ANX_CUBLAS_ROW = 1024 };

#endif
