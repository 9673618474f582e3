/* The double's cuBLASLt: what it computes and loses, what it refuses, and each misuse that it catches. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/fakecuda/kit.h"
#include "tests/support/anx_test.h"

static void check_in(program *p, const char *generation, const char *const *environment, int status,
                     const char *sentence, int line) {
    const outcome o = kit_run(p, generation, environment);
    const bool good = o.status == status && strstr(o.text, sentence) != NULL;
    if (!good)
        fprintf(stderr, "line %d: exit status %d, not %d: \"%s\", not \"%s\"\n", line, o.status, status, o.text,
                sentence);
    CU_ASSERT(good);
}

/* Under variables, given as NAME, VALUE... */
#define CHECK(program, ...)                                                                                            \
    do {                                                                                                               \
        static const char *const environment[] = {__VA_ARGS__, NULL};                                                  \
        check_in(program, "13-9", environment, 0, "", __LINE__);                                                       \
    } while (0)

enum { MISUSE = 86, LEAK = 87, INVALID_VALUE = 7, NOT_SUPPORTED = 15 };

/* ---- a linear layer ------------------------------------------------------------------------------------------ */

enum { WORKSPACE = 65536 };

/* d (m, n) = epilogue(alpha op(a) op(b) + beta c), column-major; `more` elements lie between columns. */
typedef struct layer {
    kit k;
    struct cublasLtContext *lt;
    anx_lt_matmul operation;
    anx_lt_layout ad, bd, dd;
    anx_lt_preference preference;
    anx_lt_choice choice;
    int n_choices;
    int m, n, terms, more;
    bool ta, tb;
    size_t n_a, n_b, n_d;
    float *a, *b, *c, *bias, *d, *workspace; /* on the device */
} layer;

static void set_operation(layer *l, unsigned attr, const void *value, size_t bytes) {
    MUST(l->k.api->cublasLtMatmulDescSetAttribute(l->operation, attr, value, bytes));
}

static void prefer(layer *l, unsigned attr, uint64_t value, size_t bytes) {
    MUST(l->k.api->cublasLtMatmulPreferenceSetAttribute(l->preference, attr, &value, bytes));
}

static float *filled(kit *k, size_t n, unsigned seed) {
    float *values = malloc(n * sizeof *values);
    kit_fill(values, n, seed);
    float *p = kit_upload(k, values, n);
    free(values);
    return p;
}

static anx_lt_layout layout(layer *l, int rows, int columns, size_t *n) {
    anx_lt_layout d = NULL;
    *n = (size_t)(rows + l->more) * (size_t)columns;
    MUST(l->k.api->cublasLtMatrixLayoutCreate(&d, ANX_CU_LT_FLOAT, (uint64_t)rows, (uint64_t)columns, rows + l->more));
    return d;
}

/* In float32, with a bias, and a preference for room and for sums in one order. m, n, terms, more, ta, tb are set. */
static void layer_init(layer *l, const anx_cuda_api *api) {
    const int32_t ta = l->ta, tb = l->tb;
    const uint32_t epilogue = ANX_CU_LT_EPILOGUE_BIAS;
    kit_init(&l->k, api);
    MUST(api->cublasLtCreate(&l->lt));
    MUST(api->cublasLtMatmulDescCreate(&l->operation, ANX_CU_LT_COMPUTE_PEDANTIC, ANX_CU_LT_FLOAT));
    l->ad = layout(l, l->ta ? l->terms : l->m, l->ta ? l->m : l->terms, &l->n_a);
    l->bd = layout(l, l->tb ? l->n : l->terms, l->tb ? l->terms : l->n, &l->n_b);
    l->dd = layout(l, l->m, l->n, &l->n_d);
    l->a = filled(&l->k, l->n_a, 1);
    l->b = filled(&l->k, l->n_b, 2);
    l->c = filled(&l->k, l->n_d, 3);
    l->bias = filled(&l->k, (size_t)l->m, 4);
    l->d = filled(&l->k, l->n_d, 5);
    l->workspace = kit_floats(&l->k, WORKSPACE / sizeof(float));
    set_operation(l, ANX_CU_LT_TRANSA, &ta, sizeof ta);
    set_operation(l, 4, &tb, sizeof tb);
    set_operation(l, ANX_CU_LT_EPILOGUE, &epilogue, sizeof epilogue);
    set_operation(l, ANX_CU_LT_BIAS_POINTER, &l->bias, sizeof l->bias);
    MUST(api->cublasLtMatmulPreferenceCreate(&l->preference));
    prefer(l, ANX_CU_LT_MAX_WORKSPACE_BYTES, WORKSPACE, 8);
    prefer(l, ANX_CU_LT_REDUCTION_MASK, ANX_CU_LT_REDUCES_IN_COMPUTE_TYPE, 4);
}

static void layer_fini(layer *l) {
    const anx_cuda_api *api = l->k.api;
    MUST(api->cublasLtMatmulPreferenceDestroy(l->preference));
    MUST(api->cublasLtMatmulDescDestroy(l->operation));
    MUST(api->cublasLtMatrixLayoutDestroy(l->ad));
    MUST(api->cublasLtMatrixLayoutDestroy(l->bd));
    MUST(api->cublasLtMatrixLayoutDestroy(l->dd));
    MUST(api->cublasLtDestroy(l->lt));
    kit_fini(&l->k);
}

static unsigned choose(layer *l) {
    return l->k.api->cublasLtMatmulAlgoGetHeuristic(l->lt, l->operation, l->ad, l->bd, l->dd, l->dd, l->preference, 1,
                                                    &l->choice, &l->n_choices);
}

static unsigned run_with(const layer *l, float alpha, float beta, const float *c, float *d, float *workspace,
                         size_t bytes) {
    return l->k.api->cublasLtMatmul(l->lt, l->operation, &alpha, l->a, l->ad, l->b, l->bd, &beta, c, l->dd, d, l->dd,
                                    &l->choice.algorithm, workspace, bytes, l->k.stream);
}

static unsigned run(const layer *l) {
    return run_with(l, 1.0f, 0.0f, l->d, l->d, l->workspace, WORKSPACE);
}

/* ---- numbers ------------------------------------------------------------------------------------------------- */

static float *downloaded(layer *l, const float *from, size_t n) {
    float *to = malloc(n * sizeof *to);
    kit_download(&l->k, to, from, n);
    return to;
}

static double sum_of(const layer *l, const float *a, const float *b, int row, int column) {
    const int lda = (l->ta ? l->terms : l->m) + l->more, ldb = (l->tb ? l->n : l->terms) + l->more;
    double sum = 0.0;
    for (int q = 0; q < l->terms; q++)
        sum +=
            (double)(l->ta ? a[q + row * lda] : a[row + q * lda]) * (l->tb ? b[column + q * ldb] : b[q + column * ldb]);
    return sum;
}

/* 2 a b + beta c in place or from elsewhere, with each epilogue. */
static void check_numbers(layer *l, unsigned epilogue, float beta, bool in_place) {
    const uint32_t value = epilogue;
    set_operation(l, ANX_CU_LT_EPILOGUE, &value, sizeof value);
    MUST(choose(l));
    EXPECT(l->n_choices == 1 && l->choice.status == 0 && l->choice.workspace_bytes <= WORKSPACE);
    float *a = downloaded(l, l->a, l->n_a), *b = downloaded(l, l->b, l->n_b),
          *bias = downloaded(l, l->bias, (size_t)l->m);
    float *before = downloaded(l, in_place ? l->d : l->c, l->n_d);
    MUST(run_with(l, 2.0f, beta, in_place ? l->d : l->c, l->d, l->workspace, WORKSPACE));
    float *got = downloaded(l, l->d, l->n_d);
    for (int i = 0; i < l->n; i++)
        for (int k = 0; k < l->m; k++) {
            const int at = i * (l->m + l->more) + k;
            double expected = 2.0 * sum_of(l, a, b, k, i) + (double)beta * before[at];
            if (epilogue & ANX_CU_LT_EPILOGUE_BIAS) expected += bias[k];
            if (epilogue & ANX_CU_LT_EPILOGUE_RELU) expected = fmax(expected, 0.0);
            EXPECT(fabs(got[at] - expected) < 1e-6 * (1.0 + l->terms));
        }
    float *all[] = {a, b, bias, before, got};
    for (int i = 0; i < 5; i++) free(all[i]);
}

static int numbers(const anx_cuda_api *api) {
    static const unsigned epilogues[] = {ANX_CU_LT_EPILOGUE_NONE, ANX_CU_LT_EPILOGUE_RELU, ANX_CU_LT_EPILOGUE_BIAS,
                                         ANX_CU_LT_EPILOGUE_RELU_BIAS};
    static const int sizes[][3] = {{5, 7, 9}, {16, 1, 100}, {1, 6, 64}, {1, 1, 1}};
    for (int c = 0; c < 32; c++) {
        const int *size = sizes[c / 8];
        layer l = {.m = size[0], .n = size[1], .terms = size[2], .ta = c & 1, .tb = c & 2, .more = c & 4 ? 3 : 0};
        layer_init(&l, api);
        for (int e = 0; e < 4; e++) {
            check_numbers(&l, epilogues[e], 0.0f, true);
            check_numbers(&l, epilogues[e], 0.5f, true);
            check_numbers(&l, epilogues[e], 0.5f, false);
        }
        layer_fini(&l);
    }
    return 0;
}

static void test_numbers(void) {
    static const char *const generations[] = {"13-9", "12-9", "12-8", "11-8"};
    for (int i = 0; i < 4; i++) check_in(numbers, generations[i], NULL, 0, "", __LINE__);
}

/* The bias keeps NaN; ReLU is max(x, 0), which need not. What is not read may hold anything. */
static int nan_is_lost(const anx_cuda_api *api) {
    layer l = {.m = 2, .n = 1, .terms = 1, .ta = true};
    const float bad[2] = {NAN, 1.0f};
    const uint32_t relu = ANX_CU_LT_EPILOGUE_RELU_BIAS;
    layer_init(&l, api);
    float *nan = kit_upload(&l.k, bad, 2), got[2];
    set_operation(&l, ANX_CU_LT_BIAS_POINTER, &nan, sizeof nan);
    MUST(choose(&l));
    MUST(run_with(&l, 0.0f, 0.0f, nan, l.d, l.workspace, WORKSPACE));
    kit_download(&l.k, got, l.d, 2);
    EXPECT(isnan(got[0]) && got[1] == 1.0f);
    set_operation(&l, ANX_CU_LT_EPILOGUE, &relu, sizeof relu);
    MUST(choose(&l));
    MUST(run(&l));
    kit_download(&l.k, got, l.d, 2);
    EXPECT(got[0] == 0.0f);
    layer_fini(&l);
    return 0;
}

static void test_relu_loses_nan(void) {
    CHECK(nan_is_lost, NULL);
}

/* Whether a product of one term rounds a factor that TF32 cannot hold. */
static bool rounds(const anx_cuda_api *api, unsigned compute, bool plain_alone) {
    const float a = 1.0f + 0x1p-12f;
    const uint32_t none = ANX_CU_LT_EPILOGUE_NONE;
    const int32_t type = (int32_t)compute;
    float got = 0.0f;
    layer l = {.m = 1, .n = 1, .terms = 1};
    layer_init(&l, api);
    l.a = kit_upload(&l.k, &a, 1);
    l.b = kit_upload(&l.k, &kit_one, 1);
    set_operation(&l, 0, &type, sizeof type);
    set_operation(&l, ANX_CU_LT_EPILOGUE, &none, sizeof none);
    if (plain_alone)
        prefer(&l, ANX_CU_LT_IMPLEMENTATION_MASK, ANX_CU_LT_FMA | ANX_CU_LT_ACCUMULATES_FLOATS | ANX_CU_LT_READS_FLOATS,
               8);
    MUST(choose(&l));
    MUST(run(&l));
    kit_download(&l.k, &got, l.d, 1);
    layer_fini(&l);
    return got != a;
}

static bool expected_default, expected_tf32;

static int rounding(const anx_cuda_api *api) {
    EXPECT(!rounds(api, ANX_CU_LT_COMPUTE_PEDANTIC, false));
    EXPECT(rounds(api, ANX_CU_LT_COMPUTE_DEFAULT, false) == expected_default);
    EXPECT(rounds(api, ANX_CU_LT_COMPUTE_TF32, false) == expected_tf32);
    EXPECT(!rounds(api, ANX_CU_LT_COMPUTE_TF32, true));
    EXPECT(!rounds(api, ANX_CU_LT_COMPUTE_DEFAULT, true));
    return 0;
}

static void test_precision_is_lost_where_nobody_forbids_it(void) {
    expected_default = false, expected_tf32 = true;
    CHECK(rounding, NULL);
    expected_default = true;
    CHECK(rounding, "CUBLAS_EMULATE_SINGLE_PRECISION", "1");
    expected_default = expected_tf32 = false;
    CHECK(rounding, "NVIDIA_TF32_OVERRIDE", "0");
    CHECK(rounding, "FAKECUDA_CAPABILITY", "7.5");
}

/* Two equal runs, with this reduction mask and so much workspace. */
static bool runs_agree(const anx_cuda_api *api, uint32_t mask, size_t workspace, size_t *used) {
    layer l = {.m = 8, .n = 2, .terms = 128, .ta = true};
    float got[2][16];
    layer_init(&l, api);
    prefer(&l, ANX_CU_LT_MAX_WORKSPACE_BYTES, workspace, 8);
    prefer(&l, ANX_CU_LT_REDUCTION_MASK, mask, 4);
    MUST(choose(&l));
    *used = l.choice.workspace_bytes;
    for (int i = 0; i < 2; i++) {
        MUST(run(&l));
        kit_download(&l.k, got[i], l.d, 16);
    }
    layer_fini(&l);
    return memcmp(got[0], got[1], sizeof got[0]) == 0;
}

static int reductions(const anx_cuda_api *api) {
    size_t used = 0;
    EXPECT(!runs_agree(api, 7, WORKSPACE, &used) && used > 0);
    EXPECT(runs_agree(api, ANX_CU_LT_REDUCES_IN_COMPUTE_TYPE, WORKSPACE, &used) && used > 0);
    EXPECT(runs_agree(api, 0, WORKSPACE, &used) && used == 0);
    EXPECT(runs_agree(api, 7, 0, &used) && used == 0);
    return 0;
}

static void test_sums_in_place_have_no_order(void) {
    CHECK(reductions, NULL);
}

/* ---- statuses ------------------------------------------------------------------------------------------------ */

/* What another operation's layouts and attributes are answered with, by both who choose and who multiply. */
static void expect_both(layer *l, unsigned status) {
    EXPECT(choose(l) == status);
    EXPECT(run(l) == status);
}

static void with_layout(layer *l, unsigned type, uint64_t rows, uint64_t columns, int64_t ld, unsigned status) {
    anx_lt_layout kept = l->ad;
    MUST(l->k.api->cublasLtMatrixLayoutCreate(&l->ad, type, rows, columns, ld));
    expect_both(l, status);
    MUST(l->k.api->cublasLtMatrixLayoutDestroy(l->ad));
    l->ad = kept;
}

static void with_attribute(layer *l, unsigned attr, int32_t value, int32_t before, unsigned status) {
    set_operation(l, attr, &value, sizeof value);
    expect_both(l, status);
    set_operation(l, attr, &before, sizeof before);
}

static int statuses(const anx_cuda_api *api) {
    layer l = {.m = 4, .n = 3, .terms = 128, .ta = true};
    layer_init(&l, api);
    MUST(choose(&l));
    MUST(run(&l));
    with_layout(&l, ANX_CU_LT_FLOAT, 127, 4, 128, INVALID_VALUE);
    with_layout(&l, ANX_CU_LT_FLOAT, 128, 5, 128, INVALID_VALUE);
    with_layout(&l, ANX_CU_LT_FLOAT, 128, 4, 127, INVALID_VALUE);
    with_layout(&l, ANX_CU_LT_FLOAT, (uint64_t)1 << 40, 4, (int64_t)1 << 40, NOT_SUPPORTED);
    with_layout(&l, 1, 128, 4, 128, NOT_SUPPORTED); /* doubles */
    with_attribute(&l, 0, 70, ANX_CU_LT_COMPUTE_PEDANTIC, NOT_SUPPORTED);
    with_attribute(&l, 1, 1, ANX_CU_LT_FLOAT, NOT_SUPPORTED);
    with_attribute(&l, ANX_CU_LT_TRANSA, 3, 1, INVALID_VALUE);
    MUST(choose(&l));
    EXPECT(run_with(&l, 1.0f, 0.0f, l.d, l.d, l.workspace, l.choice.workspace_bytes - 1) == INVALID_VALUE);
    EXPECT(run_with(&l, 1.0f, 0.0f, l.d, l.d, NULL, WORKSPACE) == INVALID_VALUE);
    EXPECT(run_with(&l, 1.0f, 0.0f, l.d, l.d, l.workspace + 1, WORKSPACE - 4) == INVALID_VALUE);
    EXPECT(run_with(&l, 1.0f, 0.0f, l.d, NULL, l.workspace, WORKSPACE) == INVALID_VALUE);
    prefer(&l, ANX_CU_LT_IMPLEMENTATION_MASK, 0xfe, 8); /* tensor cores alone, which float32 has none of */
    EXPECT(choose(&l) == NOT_SUPPORTED);
    layer_fini(&l);
    return 0;
}

static void test_statuses(void) {
    CHECK(statuses, NULL);
}

static int has_no_algorithm(const anx_cuda_api *api) {
    layer l = {.m = 4, .n = 3, .terms = 5, .ta = true};
    layer_init(&l, api);
    l.n_choices = 7;
    MUST(choose(&l));
    EXPECT(l.n_choices == 0);
    layer_fini(&l);
    return 0;
}

static int does_not_run(const anx_cuda_api *api) {
    layer l = {.m = 4, .n = 3, .terms = 5, .ta = true};
    layer_init(&l, api);
    MUST(choose(&l));
    EXPECT(l.n_choices == 1 && run(&l) == NOT_SUPPORTED);
    layer_fini(&l);
    return 0;
}

static int work_fails_late(const anx_cuda_api *api) {
    struct cublasLtContext *more = NULL;
    layer l = {.m = 4, .n = 3, .terms = 5, .ta = true};
    layer_init(&l, api);
    MUST(choose(&l));
    MUST(run(&l));
    EXPECT(api->cudaStreamSynchronize(l.k.stream) == 719);
    EXPECT(run(&l) == 13 && choose(&l) == 13 && api->cublasLtCreate(&more) == 1);
    layer_fini(&l);
    return 0;
}

static void test_refusals_and_failures_on_request(void) {
    CHECK(has_no_algorithm, "FAKECUDA_REFUSE", "fused,lt");
    CHECK(does_not_run, "FAKECUDA_REFUSE", "lt-run");
    CHECK(work_fails_late, "FAKECUDA_ASYNC", "6=719"); /* after five uploads */
}

/* ---- misuse -------------------------------------------------------------------------------------------------- */

/* A layer of 4 outputs and 128 inputs for 3 images, whose algorithm is chosen: `body` misuses it. */
#define PROGRAM(name, ...)                                                                                             \
    static int name(const anx_cuda_api *api) {                                                                         \
        layer l = {.m = 4, .n = 3, .terms = 128, .ta = true};                                                          \
        layer_init(&l, api);                                                                                           \
        MUST(choose(&l));                                                                                              \
        __VA_ARGS__                                                                                                    \
        layer_fini(&l);                                                                                                \
        return 0;                                                                                                      \
    }

PROGRAM(no_misuse, MUST(run(&l));)

PROGRAM(destroyed_layout, {
    MUST(api->cublasLtMatrixLayoutDestroy(l.ad));
    run(&l);
})

PROGRAM(destroyed_operation, {
    MUST(api->cublasLtMatmulDescDestroy(l.operation));
    choose(&l);
})

PROGRAM(destroyed_twice, {
    MUST(api->cublasLtMatmulPreferenceDestroy(l.preference));
    MUST(api->cublasLtMatmulPreferenceDestroy(l.preference));
})

PROGRAM(handle_of_cublas, {
    l.lt = (struct cublasLtContext *)(void *)l.k.blas;
    run(&l);
})

PROGRAM(no_algorithm_of_its_own, {
    l.choice.algorithm = (anx_lt_algorithm){{7}};
    run(&l);
})

PROGRAM(algorithm_of_another_product, {
    const uint32_t relu = ANX_CU_LT_EPILOGUE_RELU_BIAS;
    set_operation(&l, ANX_CU_LT_EPILOGUE, &relu, sizeof relu);
    run(&l);
})

PROGRAM(less_aligned, run_with(&l, 1.0f, 0.0f, l.c, l.d + 1, l.workspace, WORKSPACE);)

PROGRAM(less_aligned_bias, {
    const float *shifted = l.bias + 1;
    set_operation(&l, ANX_CU_LT_BIAS_POINTER, &shifted, sizeof shifted);
    run(&l);
})

PROGRAM(no_bias, {
    const float *none = NULL;
    set_operation(&l, ANX_CU_LT_BIAS_POINTER, &none, sizeof none);
    run(&l);
})

PROGRAM(short_bias, {
    float *bias = kit_upload(&l.k, (const float[3]){0}, 3);
    set_operation(&l, ANX_CU_LT_BIAS_POINTER, &bias, sizeof bias);
    run(&l);
})

PROGRAM(bias_of_the_host, {
    static _Alignas(256) float bias[4];
    const float *p = bias;
    set_operation(&l, ANX_CU_LT_BIAS_POINTER, &p, sizeof p);
    run(&l);
})

PROGRAM(short_result, run_with(&l, 1.0f, 0.0f, l.d, kit_floats(&l.k, 11), l.workspace, WORKSPACE);)

PROGRAM(bias_that_nobody_wrote, {
    float *bias = kit_floats(&l.k, 4);
    set_operation(&l, ANX_CU_LT_BIAS_POINTER, &bias, sizeof bias);
    run(&l);
    MUST(api->cudaStreamSynchronize(l.k.stream));
})

PROGRAM(onto_an_operand, run_with(&l, 1.0f, 0.0f, l.d, l.b, l.workspace, WORKSPACE);)

PROGRAM(onto_its_bias, {
    set_operation(&l, ANX_CU_LT_BIAS_POINTER, &l.d, sizeof l.d);
    run(&l);
})

PROGRAM(in_place_in_another_layout, {
    anx_lt_layout cd = NULL;
    MUST(api->cublasLtMatrixLayoutCreate(&cd, ANX_CU_LT_FLOAT, 4, 3, 5));
    api->cublasLtMatmul(l.lt, l.operation, &kit_one, l.a, l.ad, l.b, l.bd, &kit_one, l.d, cd, l.d, l.dd,
                        &l.choice.algorithm, l.workspace, WORKSPACE, l.k.stream);
})

PROGRAM(workspace_is_live_data, {
    float got[4];
    MUST(api->cudaMemsetAsync(l.workspace, 0, WORKSPACE, l.k.stream));
    MUST(run(&l));
    kit_download(&l.k, got, l.workspace, 4);
})

PROGRAM(short_workspace, run_with(&l, 1.0f, 0.0f, l.d, l.d, l.workspace, WORKSPACE + 4);)

PROGRAM(race, {
    struct CUstream_st *other = NULL;
    MUST(api->cudaStreamCreateWithFlags(&other, ANX_CU_STREAM_NON_BLOCKING));
    MUST(run(&l));
    MUST(api->cudaMemsetAsync(l.bias, 0, 16, other));
})

PROGRAM(scalar_on_the_device, {
    api->cublasLtMatmul(l.lt, l.operation, l.bias, l.a, l.ad, l.b, l.bd, &kit_zero, l.d, l.dd, l.d, l.dd,
                        &l.choice.algorithm, l.workspace, WORKSPACE, l.k.stream);
})

PROGRAM(unknown_epilogue, {
    const uint32_t gelu = 32;
    set_operation(&l, ANX_CU_LT_EPILOGUE, &gelu, sizeof gelu);
    choose(&l);
})

static int leaks(const anx_cuda_api *api) {
    anx_lt_layout d = NULL;
    struct cublasLtContext *h = NULL;
    MUST(api->cublasLtCreate(&h));
    MUST(api->cublasLtMatrixLayoutCreate(&d, ANX_CU_LT_FLOAT, 1, 1, 1));
    return 0;
}

static void test_misuse(void) {
    static const struct {
        program *program;
        int status;
        const char *sentence;
    } cases[] = {{no_misuse, 0, ""},
                 {destroyed_layout, MISUSE, "cublasLtMatmul: layout1 was destroyed before"},
                 {destroyed_operation, MISUSE, "cublasLtMatmulAlgoGetHeuristic: matmul1 was destroyed before"},
                 {destroyed_twice, MISUSE, "cublasLtMatmulPreferenceDestroy: preference1 was destroyed before"},
                 {handle_of_cublas, MISUSE, "cublasLtMatmul: blas1 is given where a lt belongs"},
                 {no_algorithm_of_its_own, MISUSE, "cublasLtMatmul: this algorithm was not chosen by the heuristic"},
                 {algorithm_of_another_product, MISUSE, "cublasLtMatmul: the algorithm was chosen for another product"},
                 {less_aligned, MISUSE, "dev5+4 is not aligned to the 256 bytes that the algorithm was chosen for"},
                 {less_aligned_bias, MISUSE, "the bias dev4+4 is not aligned to the 256 bytes"},
                 {no_bias, MISUSE, "cublasLtMatmul: the epilogue adds a bias, and there is none"},
                 {short_bias, MISUSE, "cublasLtMatmul: dev7+0: 16 bytes from there on run past the end of its 12"},
                 {bias_of_the_host, MISUSE, "cublasLtMatmul: host is memory of the host where a device's belongs"},
                 {short_result, MISUSE, "cublasLtMatmul: dev7+0: 48 bytes from there on run past the end of its 44"},
                 {bias_that_nobody_wrote, MISUSE, "cublasLtMatmul: reads dev7+0, which was never written"},
                 {onto_an_operand, MISUSE, "cublasLtMatmul: two operands share dev2+0"},
                 {onto_its_bias, MISUSE, "cublasLtMatmul: two operands share dev5+0"},
                 {in_place_in_another_layout, MISUSE, "cublasLtMatmul: in place, but not as the result is stored"},
                 {workspace_is_live_data, MISUSE, "reads dev6+0, which served as a workspace"},
                 {short_workspace, MISUSE, "cublasLtMatmul: dev6+0: 65540 bytes from there on run past the end"},
                 {race, MISUSE, "cudaMemsetAsync: race: dev4+0 is also touched by cublasLtMatmul on stream1"},
                 {scalar_on_the_device, MISUSE, "alpha and beta are read from the host's memory, and dev4+0"},
                 {unknown_epilogue, MISUSE, "the double does not compute epilogue 32"},
                 {leaks, LEAK, "fakecuda: leak: lt1\nfakecuda: leak: layout1\n"}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
        check_in(cases[i].program, "13-9", NULL, cases[i].status, cases[i].sentence, __LINE__ + (int)i);
}

int main(int argc, char **argv) {
    static const anx_test tests[] = {
        {"numbers", test_numbers},
        {"ReLU loses NaN", test_relu_loses_nan},
        {"precision is lost where nobody forbids it", test_precision_is_lost_where_nobody_forbids_it},
        {"sums in place have no order", test_sums_in_place_have_no_order},
        {"statuses", test_statuses},
        {"refusals and failures on request", test_refusals_and_failures_on_request},
        {"misuse", test_misuse},
        {NULL, NULL}};
    return anx_test_main("fakecuda_matmul", tests, argc, argv);
}
