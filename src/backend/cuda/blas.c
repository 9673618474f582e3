#include "src/backend/cuda/blas.h"

#include "src/backend/cuda/status.h"

#define CHECK(blas, call, what, err) anx_cuda_check_blas((blas)->api, (blas)->api->call, what, err)

/* What NVIDIA recommends for its newest GPUs; 4 MiB for those before. */
static const size_t workspace_bytes = 32 << 20;

/* PEDANTIC asks for every product and sum in float32. Whether the environment can undo that, gpu_questions asks. */
static unsigned math_mode(anx_math_mode math) {
    return math == ANX_MATH_FLOAT32 ? ANX_CU_BLAS_PEDANTIC_MATH : ANX_CU_BLAS_TF32_MATH;
}

anx_status anx_cublas_init(anx_cublas *blas, const anx_cuda_api *api, struct CUstream_st *stream, anx_math_mode math,
                           bool nondeterministic, anx_error *err) {
    const unsigned atomics = nondeterministic ? ANX_CU_BLAS_ATOMICS_ALLOWED : ANX_CU_BLAS_ATOMICS_NOT_ALLOWED;
    *blas = (anx_cublas){.api = api, .workspace_bytes = workspace_bytes};
    anx_status status = CHECK(blas, cublasCreate_v2(&blas->handle), "start", err);
    if (status == ANX_OK) status = CHECK(blas, cublasSetStream_v2(blas->handle, stream), "use a stream", err);
    if (status == ANX_OK) status = CHECK(blas, cublasSetMathMode(blas->handle, math_mode(math)), "set its mode", err);
    if (status == ANX_OK) status = CHECK(blas, cublasSetAtomicsMode(blas->handle, atomics), "set its mode", err);
    if (status == ANX_OK)
        status =
            anx_cuda_check(api, api->cudaMalloc(&blas->workspace, workspace_bytes), "allocate 32 MiB for cuBLAS", err);
    /* After the stream, which takes a workspace away again. */
    if (status == ANX_OK)
        status = CHECK(blas, cublasSetWorkspace_v2(blas->handle, blas->workspace, workspace_bytes), "take memory", err);
    if (status != ANX_OK) anx_cublas_fini(blas);
    return status;
}

void anx_cublas_fini(anx_cublas *blas) {
    if (blas->api == NULL) return;
    if (blas->handle != NULL) blas->api->cublasDestroy_v2(blas->handle);
    if (blas->workspace != NULL) blas->api->cudaFree(blas->workspace);
    *blas = (anx_cublas){.api = NULL};
}

/*
 * cuBLAS is column-major: what is (rows, columns) here is (columns, rows) there, with the same memory. c (m, n) is
 * written as its transpose: n columns... of the product with the operands exchanged.
 */
typedef struct product {
    unsigned ta, tb;
    int64_t m, n, k, lda, ldb, ldc;
    const float *a, *b;
    float *c;
} product;

static anx_status multiply(const anx_cublas *blas, const product *p, const char *what, anx_error *err) {
    const float one = 1.0f, zero = 0.0f;
    return CHECK(blas,
                 cublasSgemm_v2(blas->handle, p->ta, p->tb, (int)p->m, (int)p->n, (int)p->k, &one, p->a, (int)p->lda,
                                p->b, (int)p->ldb, &zero, p->c, (int)p->ldc),
                 what, err);
}

anx_status anx_cublas_linear_forward(const anx_cublas *blas, const anx_cublas_linear *l, const float *x, const float *w,
                                     float *y, anx_error *err) {
    const product p = {ANX_CU_BLAS_T, ANX_CU_BLAS_N, l->out, l->n, l->in, l->in, l->in, l->out, w, x, y};
    return multiply(blas, &p, "multiply by weights", err);
}

anx_status anx_cublas_linear_backward_data(const anx_cublas *blas, const anx_cublas_linear *l, const float *w,
                                           const float *dy, float *dx, anx_error *err) {
    const product p = {ANX_CU_BLAS_N, ANX_CU_BLAS_N, l->in, l->n, l->out, l->in, l->out, l->in, w, dy, dx};
    return multiply(blas, &p, "multiply backward by weights", err);
}

anx_status anx_cublas_linear_backward_weights(const anx_cublas *blas, const anx_cublas_linear *l, const float *x,
                                              const float *dy, float *dw, anx_error *err) {
    const product p = {ANX_CU_BLAS_N, ANX_CU_BLAS_T, l->in, l->out, l->n, l->in, l->out, l->in, x, dy, dw};
    return multiply(blas, &p, "multiply by gradients", err);
}

/* A diagonal, times a matrix of one column: long columns are what the library is made for. */
anx_status anx_cublas_multiply(const anx_cublas *blas, int64_t n, const float *x, const float *factors, float *y,
                               anx_error *err) {
    return CHECK(blas, cublasSdgmm(blas->handle, ANX_CU_BLAS_SIDE_LEFT, (int)n, 1, x, (int)n, factors, 1, y, (int)n),
                 "multiply by a mask", err);
}

anx_status anx_cublas_add(const anx_cublas *blas, int64_t n, float a, const float *x, float *y, anx_error *err) {
    return CHECK(blas, cublasSaxpy_v2(blas->handle, (int)n, &a, x, 1, y, 1), "add", err);
}

anx_status anx_cublas_combine(const anx_cublas *blas, int64_t n, float a, const float *x, float b, const float *y,
                              float *out, anx_error *err) {
    const int rows = ANX_CUBLAS_ROW, columns = (int)(n / ANX_CUBLAS_ROW);
    return CHECK(
        blas,
        cublasSgeam(blas->handle, ANX_CU_BLAS_N, ANX_CU_BLAS_N, rows, columns, &a, x, rows, &b, y, rows, out, rows),
        "add", err);
}
