/*
 * A linear layer forward in one call: the product of matrices, and the bias as its epilogue. Every call of cuBLASLt is
 * in matmul.c; the way back, and what cuBLASLt does not take, is cuBLAS's (blas.h).
 *
 * Everything is float32 in device memory, row-major and packed, as PyTorch has it. Errors: DEVICE with the library's
 * number; OUT_OF_MEMORY.
 */
#ifndef ANX_SRC_BACKEND_CUDA_MATMUL_H
#define ANX_SRC_BACKEND_CUDA_MATMUL_H

#include "src/backend/cuda/blas.h"

typedef struct anx_cublaslt {
    const anx_cuda_api *api;
    struct cublasLtContext *handle;
    struct CUstream_st *stream;
    const anx_cublas *blas; /* whose workspace is used */
    anx_math_mode math;
    bool nondeterministic; /* sums whose order differs from run to run may be taken */
} anx_cublaslt;

/*
 * The workspace is cuBLAS's own: the stream is the one that cuBLAS works on, where one call has ended before the next
 * begins, and neither leaves anything there that it wants to find again. blas must live as long.
 */
anx_status anx_cublaslt_init(anx_cublaslt *lt, const anx_cublas *blas, struct CUstream_st *stream, anx_math_mode math,
                             bool nondeterministic, anx_error *err);
void anx_cublaslt_fini(anx_cublaslt *lt);

/* A linear layer with its algorithm, which the library's heuristic chose. */
typedef struct anx_matmul anx_matmul;

/*
 * x (n, in), w (out, in), b (out), y (n, out), aligned to 256 bytes as cudaMalloc aligns them: those of all runs. The
 * layer is run once, as only that tells whether the library takes it: x, w, b must hold something, y is written. *out
 * is NULL where it has no algorithm, or does not run the one that it chose.
 */
anx_status anx_matmul_create(const anx_cublaslt *lt, const anx_cublas_linear *l, const float *x, const float *w,
                             const float *b, float *y, anx_matmul **out, anx_error *err);
void anx_matmul_destroy(anx_matmul *matmul);

/* y = x w^T + b, with the b of anx_matmul_create */
anx_status anx_matmul_run(const anx_matmul *matmul, const float *x, const float *w, float *y, anx_error *err);

#endif
