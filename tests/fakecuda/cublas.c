/* cuBLAS: matrices are column-major. */
#include "tests/fakecuda/cublas.h"

__attribute__((used)) static const anx_cuda_api complete = {ANX_CUDA_TABLE_CUBLAS(FAKE_COMPLETE)};

#define NEED_HANDLE(h, typical) NEED_HANDLE_OF(h, FAKE_BLAS, typical)

/* ---- handles ------------------------------------------------------------------------------------------------- */

unsigned cublasCreate_v2(struct cublasContext **h) {
    FAKE_ENTER(NULL);
    FAKE_TRACE("%s", "");
    return blas_create(call.name, FAKE_BLAS, (void **)h);
}

unsigned cublasDestroy_v2(struct cublasContext *h) {
    FAKE_ENTER(h);
    FAKE_TRACE("%s", fake_name(h));
    const unsigned injected = fake_injected(call.name, INTERNAL_ERROR);
    if (h == NULL) return injected != 0 ? injected : NOT_INITIALIZED;
    fake_object_destroy(fake_object_here(call.name, h, FAKE_BLAS));
    fake_device_finish();
    if (injected != 0) return injected;
    return fake_device_error() != 0 ? INTERNAL_ERROR : 0;
}

unsigned cublasGetProperty(unsigned type, int *value) {
    FAKE_ENTER(NULL);
    FAKE_TRACE("%u", type);
    const unsigned injected = fake_injected(call.name, INVALID_VALUE);
    return injected != 0 ? injected : blas_property(type, value);
}

unsigned cublasSetStream_v2(struct cublasContext *h, struct CUstream_st *s) {
    FAKE_ENTER(h);
    FAKE_TRACE("%s, %s", fake_name(h), fake_name(s));
    NEED_HANDLE(h, INTERNAL_ERROR);
    handle->library.stream = s != NULL ? fake_stream_get(call.name, s) : NULL;
    handle->library.workspace = NULL; /* the real one does so too, and says so in one sentence of its manual */
    handle->library.workspace_bytes = 0;
    return 0;
}

unsigned cublasSetWorkspace_v2(struct cublasContext *h, void *ws, size_t bytes) {
    FAKE_ENTER(h);
    FAKE_TRACE("%s, %s, %zu", fake_name(h), fake_name(ws), bytes);
    NEED_HANDLE(h, INVALID_VALUE);
    fake_work check;
    fake_work_begin(&check, call.name, NULL);
    if (ws != NULL) fake_work_add(&check, fake_region_flat(ws, bytes, FAKE_WORKSPACE));
    if ((uintptr_t)ws % 256 != 0) return INVALID_VALUE;
    handle->library.workspace = ws;
    handle->library.workspace_bytes = bytes;
    return 0;
}

unsigned cublasSetMathMode(struct cublasContext *h, unsigned mode) {
    enum { DISALLOW_REDUCED_PRECISION_REDUCTION = 16 };
    FAKE_ENTER(h);
    FAKE_TRACE("%s, %u", fake_name(h), mode);
    NEED_HANDLE(h, INVALID_VALUE);
    if ((mode & ~(unsigned)DISALLOW_REDUCED_PRECISION_REDUCTION) > 3) return INVALID_VALUE;
    handle->library.math = mode & 3;
    return 0;
}

unsigned cublasSetAtomicsMode(struct cublasContext *h, unsigned mode) {
    FAKE_ENTER(h);
    FAKE_TRACE("%s, %u", fake_name(h), mode);
    NEED_HANDLE(h, INVALID_VALUE);
    if (mode > 1) return INVALID_VALUE;
    handle->library.atomics = mode;
    return 0;
}

/* ---- work ---------------------------------------------------------------------------------------------------- */

static void begin(fake_work *work, const fake_call *call, const fake_object *handle) {
    fake_work_begin(work, call->name, fake_stream_get(call->name, handle->library.stream));
}

static fake_region vector(const float *p, int n, int increment, unsigned access) {
    return fake_region_rows(p, (size_t)n, 1, (size_t)increment, access);
}

static int at_least(int n) {
    return n > 1 ? n : 1;
}

/* ---- products of matrices ------------------------------------------------------------------------------------ */

static void run_product(const void *arguments) {
    fake_product_run(arguments);
}

static bool reduces_precision(const fake_library *l) {
    if (fake_option.capability_major < 8) return false;
    if (l->math == ANX_CU_BLAS_TF32_MATH) return fake_option.tf32_allowed;
    return l->math != ANX_CU_BLAS_PEDANTIC_MATH && fake_option.emulate;
}

/*
 * Atomics sum in any order. So may a handle that has no workspace of its own, when there are several streams: which
 * part of cuBLAS's own it gets is then a matter of chance.
 */
static bool is_reproducible(const fake_library *l) {
    return l->atomics == ANX_CU_BLAS_ATOMICS_NOT_ALLOWED && (l->workspace != NULL || fake_stream_count() < 2);
}

unsigned cublasSgemm_v2(struct cublasContext *h, unsigned ta, unsigned tb, int m, int n, int k, const float *alpha,
                        const float *A, int lda, const float *B, int ldb, const float *beta, float *C, int ldc) {
    FAKE_ENTER(h);
    FAKE_TRACE("%s, %u, %u, %d, %d, %d, %s, %d, %s, %d, %s, %d", fake_name(h), ta, tb, m, n, k, fake_name(A), lda,
               fake_name(B), ldb, fake_name(C), ldc);
    NEED_HANDLE(h, EXECUTION_FAILED);
    if (ta > 2 || tb > 2 || m < 0 || n < 0 || k < 0 || alpha == NULL || beta == NULL) return INVALID_VALUE;
    const int a_rows = ta ? k : m, b_rows = tb ? n : k;
    if (lda < at_least(a_rows) || ldb < at_least(b_rows) || ldc < at_least(m)) return INVALID_VALUE;
    if (m == 0 || n == 0) return 0;
    const fake_library *l = &handle->library;
    const float by = fake_scalar(call.name, alpha), keep = fake_scalar(call.name, beta);
    const fake_product p = {.m = m,
                            .n = n,
                            .k = k,
                            .alpha = by,
                            .beta = keep,
                            .a = {A, a_rows, ta ? m : k, lda, ta != 0},
                            .b = {B, b_rows, tb ? k : n, ldb, tb != 0},
                            .c = C,
                            .ldc = ldc,
                            .precision = {.tf32 = reduces_precision(l), .noise = !is_reproducible(l)}};
    fake_work work;
    begin(&work, &call, handle);
    if (by != 0.0f && k != 0) {
        fake_work_add(&work, blas_matrix(A, a_rows, p.a.columns, lda, FAKE_READ));
        fake_work_add(&work, blas_matrix(B, b_rows, p.b.columns, ldb, FAKE_READ));
    }
    fake_work_add(&work, blas_matrix(C, m, n, ldc, keep != 0.0f ? FAKE_READ | FAKE_WRITE : FAKE_WRITE));
    fake_work_add(&work, fake_region_flat(l->workspace, l->workspace_bytes, FAKE_WORKSPACE));
    return blas_launch(&work, run_product, &p, sizeof p);
}

/* ---- vectors ------------------------------------------------------------------------------------------------- */

typedef struct axpy {
    int n, incx, incy;
    float alpha;
    const float *x;
    float *y;
} axpy;

static void run_axpy(const void *arguments) {
    const axpy *a = arguments;
    const float *x = fake_bytes(a->x);
    float *y = fake_bytes(a->y);
#pragma omp parallel for
    for (int i = 0; i < a->n; i++)
        y[(long)i * a->incy] = __builtin_fmaf(a->alpha, x[(long)i * a->incx], y[(long)i * a->incy]);
}

static void need_positive(const char *function, int increment) {
    if (increment <= 0) fake_misuse(function, "the double does not know an increment of %d", increment);
}

unsigned cublasSaxpy_v2(struct cublasContext *h, int n, const float *alpha, const float *x, int incx, float *y,
                        int incy) {
    FAKE_ENTER(h);
    FAKE_TRACE("%s, %d, %s, %d, %s, %d", fake_name(h), n, fake_name(x), incx, fake_name(y), incy);
    NEED_HANDLE(h, EXECUTION_FAILED);
    if (alpha == NULL) return INVALID_VALUE;
    if (n <= 0) return 0;
    need_positive(call.name, incx);
    need_positive(call.name, incy);
    const axpy a = {n, incx, incy, fake_scalar(call.name, alpha), x, y};
    fake_work work;
    begin(&work, &call, handle);
    fake_work_add(&work, vector(x, n, incx, FAKE_READ));
    fake_work_add(&work, vector(y, n, incy, FAKE_READ | FAKE_WRITE));
    return blas_launch(&work, run_axpy, &a, sizeof a);
}

static void run_scal(const void *arguments) {
    const axpy *a = arguments;
    float *x = fake_bytes(a->y);
#pragma omp parallel for
    for (int i = 0; i < a->n; i++) x[(long)i * a->incy] *= a->alpha;
}

unsigned cublasSscal_v2(struct cublasContext *h, int n, const float *alpha, float *x, int incx) {
    FAKE_ENTER(h);
    FAKE_TRACE("%s, %d, %s, %d", fake_name(h), n, fake_name(x), incx);
    NEED_HANDLE(h, EXECUTION_FAILED);
    if (alpha == NULL) return INVALID_VALUE;
    if (n <= 0) return 0;
    need_positive(call.name, incx);
    const axpy a = {.n = n, .incy = incx, .alpha = fake_scalar(call.name, alpha), .y = x};
    fake_work work;
    begin(&work, &call, handle);
    fake_work_add(&work, vector(x, n, incx, FAKE_READ | FAKE_WRITE));
    return blas_launch(&work, run_scal, &a, sizeof a);
}

/* ---- matrices, element by element ---------------------------------------------------------------------------- */

typedef struct diagonal {
    bool right;
    int m, n, lda, incx, ldc;
    const float *a, *x;
    float *c;
} diagonal;

static void run_diagonal(const void *arguments) {
    const diagonal *d = arguments;
    const float *a = fake_bytes(d->a), *x = fake_bytes(d->x);
    float *c = fake_bytes(d->c);
#pragma omp parallel for
    for (int i = 0; i < d->n; i++)
        for (int k = 0; k < d->m; k++)
            c[(long)i * d->ldc + k] = a[(long)i * d->lda + k] * x[(long)(d->right ? i : k) * d->incx];
}

unsigned cublasSdgmm(struct cublasContext *h, unsigned side, int m, int n, const float *A, int lda, const float *x,
                     int incx, float *C, int ldc) {
    FAKE_ENTER(h);
    FAKE_TRACE("%s, %u, %d, %d, %s, %d, %s, %d, %s, %d", fake_name(h), side, m, n, fake_name(A), lda, fake_name(x),
               incx, fake_name(C), ldc);
    NEED_HANDLE(h, EXECUTION_FAILED);
    if (side > 1 || m < 0 || n < 0 || lda < at_least(m) || ldc < at_least(m)) return INVALID_VALUE;
    if (m == 0 || n == 0) return 0;
    need_positive(call.name, incx);
    const diagonal d = {side == ANX_CU_BLAS_SIDE_RIGHT, m, n, lda, incx, ldc, A, x, C};
    fake_work work;
    begin(&work, &call, handle);
    fake_work_add(&work, blas_matrix(A, m, n, lda, FAKE_READ | FAKE_IN_PLACE));
    fake_work_add(&work, vector(x, d.right ? n : m, incx, FAKE_READ));
    fake_work_add(&work, blas_matrix(C, m, n, ldc, FAKE_WRITE));
    return blas_launch(&work, run_diagonal, &d, sizeof d);
}

typedef struct sum {
    bool ta, tb;
    int m, n, lda, ldb, ldc;
    float alpha, beta;
    const float *a, *b;
    float *c;
} sum;

static float element(const float *p, bool transposed, long ld, int row, int column) {
    return transposed ? p[row * ld + column] : p[column * ld + row];
}

static void run_sum(const void *arguments) {
    const sum *s = arguments;
    const float *a = fake_bytes(s->a), *b = fake_bytes(s->b);
    float *c = fake_bytes(s->c);
#pragma omp parallel for
    for (int i = 0; i < s->n; i++)
        for (int k = 0; k < s->m; k++) {
            const float x = s->alpha == 0.0f ? 0.0f : s->alpha * element(a, s->ta, s->lda, k, i);
            const float y = s->beta == 0.0f ? 0.0f : s->beta * element(b, s->tb, s->ldb, k, i);
            c[(long)i * s->ldc + k] = s->alpha == 0.0f ? y : s->beta == 0.0f ? x : x + y;
        }
}

static void add_summand(fake_work *work, const sum *s, bool transposed, const float *p, int ld, const float *c) {
    const int rows = transposed ? s->n : s->m, columns = transposed ? s->m : s->n;
    if (p == c && (transposed || ld != s->ldc)) fake_misuse(work->name, "in place, but not as the result is stored");
    fake_work_add(work, blas_matrix(p, rows, columns, ld, FAKE_READ | FAKE_IN_PLACE));
}

unsigned cublasSgeam(struct cublasContext *h, unsigned ta, unsigned tb, int m, int n, const float *alpha,
                     const float *A, int lda, const float *beta, const float *B, int ldb, float *C, int ldc) {
    FAKE_ENTER(h);
    FAKE_TRACE("%s, %u, %u, %d, %d, %s, %d, %s, %d, %s, %d", fake_name(h), ta, tb, m, n, fake_name(A), lda,
               fake_name(B), ldb, fake_name(C), ldc);
    NEED_HANDLE(h, EXECUTION_FAILED);
    if (ta > 2 || tb > 2 || m < 0 || n < 0 || alpha == NULL || beta == NULL) return INVALID_VALUE;
    if (lda < at_least(ta ? n : m) || ldb < at_least(tb ? n : m) || ldc < at_least(m)) return INVALID_VALUE;
    if (m == 0 || n == 0) return 0;
    const sum s = {ta != 0, tb != 0, m, n, lda, ldb, ldc, fake_scalar(call.name, alpha), fake_scalar(call.name, beta),
                   A,       B,       C};
    fake_work work;
    begin(&work, &call, handle);
    if (s.alpha != 0.0f) add_summand(&work, &s, s.ta, A, lda, C);
    if (s.beta != 0.0f) add_summand(&work, &s, s.tb, B, ldb, C);
    fake_work_add(&work, blas_matrix(C, m, n, ldc, FAKE_WRITE));
    return blas_launch(&work, run_sum, &s, sizeof s);
}

/* ---- names --------------------------------------------------------------------------------------------------- */

typedef struct status_name {
    unsigned status;
    const char *name;
} status_name;

static const status_name status_names[] = {
    {0, "CUBLAS_STATUS_SUCCESS"},
    {NOT_INITIALIZED, "CUBLAS_STATUS_NOT_INITIALIZED"},
    {ALLOC_FAILED, "CUBLAS_STATUS_ALLOC_FAILED"},
    {INVALID_VALUE, "CUBLAS_STATUS_INVALID_VALUE"},
    {8, "CUBLAS_STATUS_ARCH_MISMATCH"},
    {11, "CUBLAS_STATUS_MAPPING_ERROR"},
    {EXECUTION_FAILED, "CUBLAS_STATUS_EXECUTION_FAILED"},
    {INTERNAL_ERROR, "CUBLAS_STATUS_INTERNAL_ERROR"},
    {NOT_SUPPORTED, "CUBLAS_STATUS_NOT_SUPPORTED"},
    {16, "CUBLAS_STATUS_LICENSE_ERROR"},
};

const char *cublasGetStatusName(unsigned status) {
    for (size_t i = 0; i < sizeof status_names / sizeof status_names[0]; i++)
        if (status_names[i].status == status) return status_names[i].name;
    return "unrecognized status";
}
