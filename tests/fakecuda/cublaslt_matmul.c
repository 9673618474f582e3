/*
 * cuBLASLt's products of matrices: D = epilogue(alpha op(A) op(B) + beta C), column-major; the epilogue adds a bias
 * along D's rows, or takes what is not above 0, NaN among it, for 0.
 */
#include <limits.h>
#include <string.h>

#include "tests/fakecuda/cublas.h"

/* Attributes by number, beside those that the table names. */
enum { COMPUTE_TYPE = 0, SCALE_TYPE, POINTER_MODE, TRANSA, TRANSB, TRANSC, FILL_MODE, FIRST_UNKNOWN = 10 };
enum { SEARCH_MODE = 0, ALIGNMENT_A = 5, MAX_WAVES = 9 };
enum { TENSOR_CORES = 0xfe, READS_TF32 = 0x40000, FULL = 2 };

/* ---- what is asked for --------------------------------------------------------------------------------------- */

typedef struct request {
    unsigned compute, epilogue;
    bool ta, tb;
    const float *bias;
    fake_layout a, b, c, d;
    long m, n, k;
} request;

/* What the double computes; the rest is misuse, as it may well be right, and is not known here. */
static void check_known(const char *function, const fake_attributes *a) {
    const uint64_t epilogue = a->value[ANX_CU_LT_EPILOGUE];
    if (a->value[POINTER_MODE] != 0) fake_misuse(function, "the double reads alpha and beta from the host alone");
    if (a->value[FILL_MODE] != FULL) fake_misuse(function, "the double knows whole matrices alone");
    for (int i = FIRST_UNKNOWN; i < 16; i++)
        if (a->value[i] != 0) fake_misuse(function, "the double does not know attribute %d of an operation", i);
    if (epilogue != ANX_CU_LT_EPILOGUE_NONE && epilogue != ANX_CU_LT_EPILOGUE_RELU &&
        epilogue != ANX_CU_LT_EPILOGUE_BIAS && epilogue != ANX_CU_LT_EPILOGUE_RELU_BIAS)
        fake_misuse(function, "the double does not compute epilogue %u", (unsigned)epilogue);
}

static unsigned check_types(const request *r, const fake_attributes *a) {
    if (a->value[TRANSA] > 2 || a->value[TRANSB] > 2) return INVALID_VALUE;
    if (a->value[TRANSC] != 0 || a->value[SCALE_TYPE] != ANX_CU_LT_FLOAT) return NOT_SUPPORTED;
    if (r->compute != ANX_CU_LT_COMPUTE_DEFAULT && r->compute != ANX_CU_LT_COMPUTE_PEDANTIC &&
        r->compute != ANX_CU_LT_COMPUTE_TF32)
        return NOT_SUPPORTED;
    const fake_layout *const layouts[] = {&r->a, &r->b, &r->c, &r->d};
    for (int i = 0; i < 4; i++) {
        if (layouts[i]->type != ANX_CU_LT_FLOAT) return NOT_SUPPORTED;
        if (layouts[i]->rows > INT_MAX || layouts[i]->columns > INT_MAX) return NOT_SUPPORTED;
        if (layouts[i]->ld < (int64_t)layouts[i]->rows) return INVALID_VALUE;
    }
    return 0;
}

static unsigned check_extents(request *r) {
    r->m = (long)r->d.rows;
    r->n = (long)r->d.columns;
    r->k = (long)(r->ta ? r->a.rows : r->a.columns);
    const uint64_t a_out = r->ta ? r->a.columns : r->a.rows, b_in = r->tb ? r->b.columns : r->b.rows,
                   b_out = r->tb ? r->b.rows : r->b.columns;
    if (r->m == 0 || r->n == 0 || r->k == 0) return INVALID_VALUE;
    if (a_out != r->d.rows || b_out != r->d.columns || b_in != (uint64_t)r->k) return INVALID_VALUE;
    return r->c.rows == r->d.rows && r->c.columns == r->d.columns ? 0 : INVALID_VALUE;
}

static unsigned read_request(const char *function, anx_lt_matmul d, const anx_lt_layout *layouts, request *r) {
    if (d == NULL) return INVALID_VALUE;
    const fake_attributes *a = &fake_object_get(function, d, FAKE_MATMUL)->attributes;
    fake_layout *const into[] = {&r->a, &r->b, &r->c, &r->d};
    for (int i = 0; i < 4; i++) {
        if (layouts[i] == NULL) return INVALID_VALUE;
        *into[i] = fake_object_get(function, layouts[i], FAKE_LAYOUT)->layout;
    }
    check_known(function, a);
    r->compute = (unsigned)a->value[COMPUTE_TYPE];
    r->epilogue = (unsigned)a->value[ANX_CU_LT_EPILOGUE];
    r->ta = a->value[TRANSA] != 0;
    r->tb = a->value[TRANSB] != 0;
    r->bias = (const float *)(uintptr_t)a->value[ANX_CU_LT_BIAS_POINTER];
    const unsigned status = check_types(r, a);
    return status != 0 ? status : check_extents(r);
}

/* ---- algorithms ---------------------------------------------------------------------------------------------- */

/* What the double writes into an algorithm's 64 bytes: what it was chosen for, and what it will do. */
typedef struct chosen {
    char name[8]; /* "double" */
    uint32_t compute, epilogue;
    uint32_t m, n, k;
    uint8_t ta, tb;
    uint8_t tf32;
    uint8_t reduction; /* 0: sums in one piece */
    uint32_t workspace_bytes;
    uint16_t alignment[4], bias_alignment; /* that A, B, C, D and the bias have */
} chosen;

_Static_assert(sizeof(chosen) <= sizeof(anx_lt_algorithm), "an algorithm fits into what is there for it");

static unsigned alignment_of(const void *p) {
    const uintptr_t lowest = (uintptr_t)p & -(uintptr_t)p;
    return lowest == 0 || lowest > 256 ? 256 : (unsigned)lowest;
}

/* False where the implementation that the hardware would take is not allowed. */
static bool choose_implementation(const request *r, uint64_t mask, chosen *c) {
    const uint64_t plain = ANX_CU_LT_FMA | ANX_CU_LT_ACCUMULATES_FLOATS | ANX_CU_LT_READS_FLOATS;
    const bool wanted = (r->compute == ANX_CU_LT_COMPUTE_TF32 && fake_option.tf32_allowed) ||
                        (r->compute == ANX_CU_LT_COMPUTE_DEFAULT && fake_option.emulate);
    c->tf32 = wanted && fake_option.capability_major >= 8 && (mask & TENSOR_CORES) != 0 && (mask & READS_TF32) != 0;
    return c->tf32 || (mask & plain) == plain;
}

/*
 * Long sums are split where there is room to add the parts up: in place if that is allowed, which is what the double
 * holds to be of another order each time; else in a step of their own, which is not.
 */
static void choose_reduction(const request *r, const fake_attributes *preference, chosen *c) {
    enum { LONG = 64, COUNTERS = 4096 };
    const uint64_t room = preference->value[ANX_CU_LT_MAX_WORKSPACE_BYTES],
                   mask = preference->value[ANX_CU_LT_REDUCTION_MASK],
                   parts = 2 * (uint64_t)r->m * (uint64_t)r->n * sizeof(float);
    if (r->k < LONG) return;
    if ((mask & ANX_CU_LT_REDUCES_IN_PLACE) != 0 && room >= COUNTERS) {
        c->reduction = ANX_CU_LT_REDUCES_IN_PLACE;
        c->workspace_bytes = COUNTERS;
    } else if ((mask & ~(uint64_t)ANX_CU_LT_REDUCES_IN_PLACE) != 0 && room >= parts) {
        c->reduction = ANX_CU_LT_REDUCES_IN_COMPUTE_TYPE;
        c->workspace_bytes = (uint32_t)parts;
    }
}

static bool choose(const char *function, const request *r, const fake_attributes *preference, chosen *c) {
    if (preference->value[SEARCH_MODE] != 0 || preference->value[MAX_WAVES] != 0)
        fake_misuse(function, "the double does not know search modes and waves");
    *c = (chosen){.name = "double",
                  .compute = r->compute,
                  .epilogue = r->epilogue,
                  .m = (uint32_t)r->m,
                  .n = (uint32_t)r->n,
                  .k = (uint32_t)r->k,
                  .ta = r->ta,
                  .tb = r->tb,
                  .bias_alignment = (uint16_t)alignment_of(r->bias)};
    for (int i = 0; i < 4; i++) c->alignment[i] = (uint16_t)preference->value[ALIGNMENT_A + i];
    if (!choose_implementation(r, preference->value[ANX_CU_LT_IMPLEMENTATION_MASK], c)) return false;
    choose_reduction(r, preference, c);
    return true;
}

unsigned cublasLtMatmulAlgoGetHeuristic(struct cublasLtContext *h, anx_lt_matmul d, anx_lt_layout ad, anx_lt_layout bd,
                                        anx_lt_layout cd, anx_lt_layout dd, anx_lt_preference preference, int most,
                                        anx_lt_choice *choices, int *n_choices) {
    FAKE_ENTER(NULL);
    FAKE_TRACE("%s, %s, %s, %s, %s, %s, %s, %d", fake_name(h), fake_name(d), fake_name(ad), fake_name(bd),
               fake_name(cd), fake_name(dd), fake_name(preference), most);
    NEED_HANDLE_OF(h, FAKE_LT, INTERNAL_ERROR);
    (void)handle;
    if (preference == NULL || most <= 0 || choices == NULL || n_choices == NULL) return INVALID_VALUE;
    request r;
    chosen c;
    const unsigned status = read_request(call.name, d, (const anx_lt_layout[]){ad, bd, cd, dd}, &r);
    if (status != 0) return status;
    *n_choices = 0;
    if (fake_refuses("lt")) return 0;
    if (!choose(call.name, &r, &fake_object_get(call.name, preference, FAKE_PREFERENCE)->attributes, &c))
        return NOT_SUPPORTED;
    memset(choices, 0, sizeof *choices);
    memcpy(&choices->algorithm, &c, sizeof c);
    choices->workspace_bytes = c.workspace_bytes;
    choices->waves = 1.0f;
    *n_choices = 1;
    return 0;
}

/* ---- the product --------------------------------------------------------------------------------------------- */

typedef struct operation {
    fake_product product;
    unsigned epilogue;
    const float *bias;
    const float *c; /* where it is not the result */
    long c_ld;
} operation;

static void run_operation(const void *arguments) {
    const operation *o = arguments;
    const fake_product *p = &o->product;
    const float *bias = fake_bytes(o->bias), *c = fake_bytes(o->c);
    float *d = fake_bytes(p->c);
    for (long i = 0; c != NULL && i < p->n; i++) memcpy(d + i * p->ldc, c + i * o->c_ld, (size_t)p->m * sizeof *d);
    fake_product_run(p);
    for (long i = 0; i < p->n; i++)
        for (long k = 0; k < p->m; k++) {
            float *at = &d[i * p->ldc + k];
            if ((o->epilogue & ANX_CU_LT_EPILOGUE_BIAS) != 0) *at += bias[k];
            if ((o->epilogue & ANX_CU_LT_EPILOGUE_RELU) != 0 && !(*at > 0.0f)) *at = 0.0f;
        }
}

/* The algorithm that the caller brings; without one the library asks itself, with no preferences. */
static unsigned take_algorithm(const char *function, const request *r, const anx_lt_algorithm *algorithm, chosen *c) {
    if (algorithm == NULL) return choose(function, r, &blas_lt_no_preference, c) ? 0 : NOT_SUPPORTED;
    memcpy(c, algorithm, sizeof *c);
    if (strcmp(c->name, "double") != 0) fake_misuse(function, "this algorithm was not chosen by the heuristic");
    if (c->compute != r->compute || c->epilogue != r->epilogue || c->m != r->m || c->n != r->n || c->k != r->k ||
        c->ta != r->ta || c->tb != r->tb)
        fake_misuse(function, "the algorithm was chosen for another product");
    return 0;
}

/* bias: NULL where none is added. */
static void check_alignment(const char *function, const chosen *c, const void *const operands[4], const float *bias) {
    for (int i = 0; i < 4; i++)
        if (c->alignment[i] != 0 && (uintptr_t)operands[i] % c->alignment[i] != 0)
            fake_misuse(function, "%s is not aligned to the %u bytes that the algorithm was chosen for",
                        fake_name(operands[i]), (unsigned)c->alignment[i]);
    if (alignment_of(bias) < c->bias_alignment)
        fake_misuse(function, "the bias %s is not aligned to the %u bytes that the algorithm was chosen for",
                    fake_name(bias), (unsigned)c->bias_alignment);
}

static fake_matrix matrix_of(const void *p, const fake_layout *l, bool transposed) {
    return (fake_matrix){p, (long)l->rows, (long)l->columns, (long)l->ld, transposed};
}

static void touch(fake_work *work, const operation *o, const request *r) {
    const fake_product *p = &o->product;
    if (p->alpha != 0.0f) {
        fake_work_add(work, blas_matrix(p->a.p, p->a.rows, p->a.columns, p->a.ld, FAKE_READ));
        fake_work_add(work, blas_matrix(p->b.p, p->b.rows, p->b.columns, p->b.ld, FAKE_READ));
    }
    if (o->bias != NULL) fake_work_add(work, blas_matrix(o->bias, r->m, 1, r->m, FAKE_READ));
    if (o->c != NULL) fake_work_add(work, blas_matrix(o->c, r->m, r->n, o->c_ld, FAKE_READ));
    const bool reads = p->beta != 0.0f && o->c == NULL;
    fake_work_add(work, blas_matrix(p->c, r->m, r->n, p->ldc, reads ? FAKE_READ | FAKE_WRITE : FAKE_WRITE));
}

unsigned cublasLtMatmul(struct cublasLtContext *h, anx_lt_matmul d, const void *alpha, const void *A, anx_lt_layout ad,
                        const void *B, anx_lt_layout bd, const void *beta, const void *C, anx_lt_layout cd, void *D,
                        anx_lt_layout dd, const anx_lt_algorithm *algorithm, void *ws, size_t ws_bytes,
                        struct CUstream_st *s) {
    FAKE_ENTER(NULL);
    FAKE_TRACE("%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %zu, %s", fake_name(h), fake_name(d), fake_name(A),
               fake_name(ad), fake_name(B), fake_name(bd), fake_name(C), fake_name(cd), fake_name(D), fake_name(dd),
               fake_name(ws), ws_bytes, fake_name(s));
    NEED_HANDLE_OF(h, FAKE_LT, EXECUTION_FAILED);
    (void)handle;
    if (alpha == NULL || beta == NULL || A == NULL || B == NULL || C == NULL || D == NULL) return INVALID_VALUE;
    request r;
    chosen c;
    unsigned status = read_request(call.name, d, (const anx_lt_layout[]){ad, bd, cd, dd}, &r);
    if (status == 0) status = take_algorithm(call.name, &r, algorithm, &c);
    if (status != 0) return status;
    if (fake_refuses("lt-run")) return NOT_SUPPORTED;
    if ((uintptr_t)ws % 16 != 0 || c.workspace_bytes > (ws != NULL ? ws_bytes : 0)) return INVALID_VALUE;
    const bool adds = (r.epilogue & ANX_CU_LT_EPILOGUE_BIAS) != 0;
    if (adds && r.bias == NULL) fake_misuse(call.name, "the epilogue adds a bias, and there is none");
    check_alignment(call.name, &c, (const void *const[]){A, B, C, D}, adds ? r.bias : NULL);
    if (C == D && r.c.ld != r.d.ld) fake_misuse(call.name, "in place, but not as the result is stored");
    const float keep = fake_scalar(call.name, beta);
    const operation o = {.product = {.m = r.m,
                                     .n = r.n,
                                     .k = r.k,
                                     .alpha = fake_scalar(call.name, alpha),
                                     .beta = keep,
                                     .a = matrix_of(A, &r.a, r.ta),
                                     .b = matrix_of(B, &r.b, r.tb),
                                     .c = D,
                                     .ldc = (long)r.d.ld,
                                     .precision = {.tf32 = c.tf32, .noise = c.reduction == ANX_CU_LT_REDUCES_IN_PLACE}},
                         .epilogue = r.epilogue,
                         .bias = adds ? r.bias : NULL,
                         .c = C != D && keep != 0.0f ? C : NULL,
                         .c_ld = (long)r.c.ld};
    fake_work work;
    fake_work_begin(&work, call.name, fake_stream_get(call.name, s));
    touch(&work, &o, &r);
    fake_work_add(&work, fake_region_flat(ws, ws_bytes, FAKE_WORKSPACE));
    return blas_launch(&work, run_operation, &o, sizeof o);
}
