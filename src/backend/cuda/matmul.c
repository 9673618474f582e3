#include "src/backend/cuda/matmul.h"

#include <stdlib.h>

#include "src/backend/cuda/status.h"

#define CHECK(lt, call, what, err) anx_cuda_check_blas((lt)->api, (lt)->api->call, what, err)

/* ---- handle --------------------------------------------------------------------------------------------- */

anx_status anx_cublaslt_init(anx_cublaslt *lt, const anx_cublas *blas, struct CUstream_st *stream, anx_math_mode math,
                             bool nondeterministic, anx_error *err) {
    *lt = (anx_cublaslt){
        .api = blas->api, .stream = stream, .blas = blas, .math = math, .nondeterministic = nondeterministic};
    return CHECK(lt, cublasLtCreate(&lt->handle), "start cuBLASLt", err);
}

void anx_cublaslt_fini(anx_cublaslt *lt) {
    if (lt->handle != NULL) lt->api->cublasLtDestroy(lt->handle);
    *lt = (anx_cublaslt){.api = NULL};
}

/* ---- description ---------------------------------------------------------------------------------------- */

struct anx_matmul {
    const anx_cublaslt *lt;
    anx_lt_matmul operation;
    anx_lt_layout w, x, y;
    anx_lt_algorithm algorithm;
};

void anx_matmul_destroy(anx_matmul *m) {
    if (m == NULL) return;
    const anx_cuda_api *api = m->lt->api;
    if (m->operation != NULL) api->cublasLtMatmulDescDestroy(m->operation);
    if (m->w != NULL) api->cublasLtMatrixLayoutDestroy(m->w);
    if (m->x != NULL) api->cublasLtMatrixLayoutDestroy(m->x);
    if (m->y != NULL) api->cublasLtMatrixLayoutDestroy(m->y);
    free(m);
}

/* PEDANTIC asks for every product and sum in float32. Whether the environment can undo that, gpu_questions asks. */
static unsigned compute_type(anx_math_mode math) {
    return math == ANX_MATH_FLOAT32 ? ANX_CU_LT_COMPUTE_PEDANTIC : ANX_CU_LT_COMPUTE_TF32;
}

/*
 * cuBLASLt's matrices are column-major: what is (rows, columns) here is (columns, rows) there, with the same memory.
 * y's transpose is the product of w, transposed back, and x's transpose; its rows are the outputs, along which the
 * library's bias lies.
 */
static anx_status describe(anx_matmul *m, const anx_cublas_linear *l, const float *b, anx_error *err) {
    static const char what[] = "describe a product";
    static const int32_t transposed = ANX_CU_BLAS_T;
    static const uint32_t epilogue = ANX_CU_LT_EPILOGUE_BIAS;
    const anx_cublaslt *lt = m->lt;
    const uint64_t n = (uint64_t)l->n, in = (uint64_t)l->in, out = (uint64_t)l->out;
    anx_status status =
        CHECK(lt, cublasLtMatmulDescCreate(&m->operation, compute_type(lt->math), ANX_CU_LT_FLOAT), what, err);
#define SET(attribute, value)                                                                                          \
    CHECK(lt, cublasLtMatmulDescSetAttribute(m->operation, attribute, &value, sizeof value), what, err)
    if (status == ANX_OK) status = SET(ANX_CU_LT_TRANSA, transposed);
    if (status == ANX_OK) status = SET(ANX_CU_LT_EPILOGUE, epilogue);
    if (status == ANX_OK) status = SET(ANX_CU_LT_BIAS_POINTER, b);
#undef SET
#define LAYOUT(layout, rows, columns)                                                                                  \
    CHECK(lt, cublasLtMatrixLayoutCreate(&m->layout, ANX_CU_LT_FLOAT, rows, columns, (int64_t)(rows)), what, err)
    if (status == ANX_OK) status = LAYOUT(w, in, out);
    if (status == ANX_OK) status = LAYOUT(x, in, n);
    if (status == ANX_OK) status = LAYOUT(y, out, n);
#undef LAYOUT
    return status;
}

/* ---- algorithm ------------------------------------------------------------------------------------------ */

/*
 * Sums split in parts are added up in a step of their own, in an order that is always the same; of those added up in
 * place NVIDIA promises that they come one after another, and no more. Where float32 is asked for, nothing but fused
 * multiply-adds of floats will do: no tensor cores.
 */
static anx_status prefer(const anx_cublaslt *lt, anx_lt_preference preference, anx_error *err) {
    static const char what[] = "prefer an algorithm";
    static const uint32_t reductions = ANX_CU_LT_REDUCES_IN_COMPUTE_TYPE;
    static const uint64_t implementations = ANX_CU_LT_FMA | ANX_CU_LT_ACCUMULATES_FLOATS | ANX_CU_LT_READS_FLOATS;
    const uint64_t bytes = lt->blas->workspace_bytes;
#define SET(attribute, value)                                                                                          \
    CHECK(lt, cublasLtMatmulPreferenceSetAttribute(preference, attribute, &value, sizeof value), what, err)
    anx_status status = SET(ANX_CU_LT_MAX_WORKSPACE_BYTES, bytes);
    if (status == ANX_OK && !lt->nondeterministic) status = SET(ANX_CU_LT_REDUCTION_MASK, reductions);
    if (status == ANX_OK && lt->math == ANX_MATH_FLOAT32) status = SET(ANX_CU_LT_IMPLEMENTATION_MASK, implementations);
#undef SET
    return status;
}

/* That it does not do this, not that something is wrong. */
static bool is_refusal(unsigned code) {
    return code == ANX_CU_BLAS_NOT_SUPPORTED || code == ANX_CU_BLAS_ARCH_MISMATCH || code == ANX_CU_BLAS_INVALID_VALUE;
}

/* *found: whether the library has an algorithm. */
static anx_status ask_heuristic(anx_matmul *m, anx_lt_preference preference, bool *found, anx_error *err) {
    const anx_cublaslt *lt = m->lt;
    anx_lt_choice choice;
    int n_choices = 0;
    const unsigned code = lt->api->cublasLtMatmulAlgoGetHeuristic(lt->handle, m->operation, m->w, m->x, m->y, m->y,
                                                                  preference, 1, &choice, &n_choices);
    *found = code == 0 && n_choices > 0 && choice.status == 0;
    if (*found) m->algorithm = choice.algorithm;
    return is_refusal(code) ? ANX_OK : anx_cuda_check_blas(lt->api, code, "choose an algorithm", err);
}

static anx_status choose_algorithm(anx_matmul *m, bool *found, anx_error *err) {
    const anx_cublaslt *lt = m->lt;
    anx_lt_preference preference = NULL;
    anx_status status = CHECK(lt, cublasLtMatmulPreferenceCreate(&preference), "prefer an algorithm", err);
    if (status == ANX_OK) status = prefer(lt, preference, err);
    if (status == ANX_OK) status = ask_heuristic(m, preference, found, err);
    if (preference != NULL) lt->api->cublasLtMatmulPreferenceDestroy(preference);
    return status;
}

/* ---- running -------------------------------------------------------------------------------------------- */

/* The factor of what was in y before is 0: that is not read. */
static unsigned run(const anx_matmul *m, const float *x, const float *w, float *y) {
    static const float one = 1.0f, zero = 0.0f; /* read from host memory at the call */
    const anx_cublaslt *lt = m->lt;
    return lt->api->cublasLtMatmul(lt->handle, m->operation, &one, w, m->w, x, m->x, &zero, y, m->y, y, m->y,
                                   &m->algorithm, lt->blas->workspace, lt->blas->workspace_bytes, lt->stream);
}

anx_status anx_matmul_run(const anx_matmul *m, const float *x, const float *w, float *y, anx_error *err) {
    return anx_cuda_check_blas(m->lt->api, run(m, x, w, y), "multiply by weights", err);
}

anx_status anx_matmul_create(const anx_cublaslt *lt, const anx_cublas_linear *l, const float *x, const float *w,
                             const float *b, float *y, anx_matmul **out, anx_error *err) {
    bool takes = false;
    unsigned code = 0;
    anx_matmul *m = calloc(1, sizeof *m);
    *out = NULL;
    if (m == NULL) return anx_error_set(err, ANX_ERR_OUT_OF_MEMORY, "out of memory");
    m->lt = lt;
    anx_status status = describe(m, l, b, err);
    if (status == ANX_OK) status = choose_algorithm(m, &takes, err);
    if (status == ANX_OK && takes) {
        code = run(m, x, w, y);
        takes = !is_refusal(code);
        if (takes) status = anx_cuda_check_blas(lt->api, code, "multiply by weights", err);
    }
    if (status == ANX_OK && takes)
        *out = m;
    else
        anx_matmul_destroy(m);
    return status;
}
