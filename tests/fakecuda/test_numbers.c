/* What the double computes, held against plain loops in double precision. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/fakecuda/kit.h"
#include "tests/fakecuda/load.h"
#include "tests/support/anx_test.h"

static anx_cuda_api api;

/* Elements differ by no more than a part of the largest one. */
static bool close_to(const float *got, const double *expected, size_t n, double part) {
    double largest = 1.0;
    for (size_t i = 0; i < n; i++)
        if (fabs(expected[i]) > largest) largest = fabs(expected[i]);
    for (size_t i = 0; i < n; i++)
        if (!(fabs(got[i] - expected[i]) <= part * largest)) {
            fprintf(stderr, "element %zu is %.9g, not %.9g\n", i, (double)got[i], expected[i]);
            return false;
        }
    return true;
}

/* ---- convolutions
 * ---------------------------------------------------------------------------------------------------- */

typedef struct geometry {
    int n, c, h, w, k, r, pad, stride, dilation, groups;
} geometry;

static const geometry geometries[] = {{2, 3, 17, 15, 8, 5, 2, 2, 1, 1}, {1, 4, 9, 8, 6, 3, 1, 1, 1, 2},
                                      {3, 6, 7, 7, 6, 3, 0, 1, 2, 3},   {2, 2, 5, 6, 3, 1, 0, 1, 1, 1},
                                      {1, 1, 4, 4, 1, 2, 3, 3, 1, 1},   {2, 4, 11, 11, 4, 3, 4, 2, 3, 4},
                                      {1, 3, 23, 23, 4, 11, 2, 4, 1, 1}};

static int extent(int size, const geometry *g) {
    return (size + 2 * g->pad - g->dilation * (g->r - 1) - 1) / g->stride + 1;
}

typedef struct shape {
    int p, q;
    size_t x, w, y; /* counts */
} shape;

static shape shape_of(const geometry *g) {
    shape s = {.p = extent(g->h, g), .q = extent(g->w, g)};
    s.x = (size_t)(g->n * g->c * g->h * g->w);
    s.w = (size_t)(g->k * (g->c / g->groups) * g->r * g->r);
    s.y = (size_t)(g->n * g->k * s.p * s.q);
    return s;
}

/* Calls for every product of the convolution: indices into x, w and y. */
typedef void product(void *to, long x, long w, long y);

static void each_product(const geometry *g, product *f, void *to) {
    const shape s = shape_of(g);
    const int part = g->c / g->groups;
    for (int n = 0; n < g->n; n++)
        for (int k = 0; k < g->k; k++)
            for (int i = 0; i < s.p; i++)
                for (int j = 0; j < s.q; j++)
                    for (int c = 0; c < part; c++)
                        for (int a = 0; a < g->r; a++)
                            for (int b = 0; b < g->r; b++) {
                                const int row = i * g->stride - g->pad + a * g->dilation;
                                const int column = j * g->stride - g->pad + b * g->dilation;
                                if (row < 0 || column < 0 || row >= g->h || column >= g->w) continue;
                                const int channel = k / (g->k / g->groups) * part + c;
                                f(to, ((long)(n * g->c + channel) * g->h + row) * g->w + column,
                                  ((long)(k * part + c) * g->r + a) * g->r + b,
                                  ((long)(n * g->k + k) * s.p + i) * s.q + j);
                            }
}

typedef struct sums {
    const float *x, *w, *y;
    double *out;
} sums;

static void into_y(void *to, long x, long w, long y) {
    const sums *s = to;
    s->out[y] += (double)s->x[x] * s->w[w];
}

static void into_x(void *to, long x, long w, long y) {
    const sums *s = to;
    s->out[x] += (double)s->w[w] * s->y[y];
}

static void into_w(void *to, long x, long w, long y) {
    const sums *s = to;
    s->out[w] += (double)s->x[x] * s->y[y];
}

/* One convolution on the device, and what its tensors hold. */
typedef struct example {
    kit k;
    shape s;
    float *x, *w, *y, *out;
    double *expected;
    float *device_x, *device_w, *device_y;
    struct cudnnTensorStruct *xd, *yd;
    struct cudnnFilterStruct *wd;
    struct cudnnConvolutionStruct *cd;
    void *workspace;
    size_t bytes;
} example;

static float *filled(size_t n, unsigned seed) {
    float *p = malloc(n * sizeof *p);
    kit_fill(p, n, seed);
    return p;
}

static void example_init(example *e, const geometry *g) {
    kit_init(&e->k, &api);
    e->s = shape_of(g);
    e->x = filled(e->s.x, 1);
    e->w = filled(e->s.w, 2);
    e->y = filled(e->s.y, 3);
    e->device_x = kit_upload(&e->k, e->x, e->s.x);
    e->device_w = kit_upload(&e->k, e->w, e->s.w);
    e->device_y = kit_upload(&e->k, e->y, e->s.y);
    e->xd = kit_tensor(&e->k, g->n, g->c, g->h, g->w);
    e->wd = kit_filter(&e->k, g->k, g->c / g->groups, g->r, g->r);
    e->yd = kit_tensor(&e->k, g->n, g->k, e->s.p, e->s.q);
    e->cd = kit_convolution(&e->k, g->pad, g->stride, g->dilation, g->groups);
    const size_t most = e->s.x + e->s.w + e->s.y;
    e->out = calloc(most, sizeof *e->out);
    e->expected = calloc(most, sizeof *e->expected);
    e->bytes = 1 << 20;
    e->workspace = kit_floats(&e->k, e->bytes / sizeof(float));
}

static void example_fini(example *e) {
    kit_fini(&e->k);
    free(e->x);
    free(e->w);
    free(e->y);
    free(e->out);
    free(e->expected);
}

#define EACH(g) for (const geometry *g = geometries; g < geometries + sizeof geometries / sizeof geometries[0]; g++)

/* alpha = 2, beta = 0.5: y is both. */
static const float two = 2.0f, half = 0.5f;

static void test_convolution_forward(void) {
    EACH(g) for (unsigned algo = 0; algo < 3; algo++) {
        example e;
        example_init(&e, g);
        size_t need = 0;
        MUST(api.cudnnGetConvolutionForwardWorkspaceSize(e.k.dnn, e.xd, e.wd, e.cd, e.yd, algo, &need));
        CU_ASSERT(need <= e.bytes);
        MUST(api.cudnnConvolutionForward(e.k.dnn, &two, e.xd, e.device_x, e.wd, e.device_w, e.cd, algo, e.workspace,
                                         e.bytes, &half, e.yd, e.device_y));
        kit_download(&e.k, e.out, e.device_y, e.s.y);
        sums s = {e.x, e.w, NULL, e.expected};
        each_product(g, into_y, &s);
        for (size_t i = 0; i < e.s.y; i++) e.expected[i] = 2.0 * e.expected[i] + 0.5 * e.y[i];
        CU_ASSERT(close_to(e.out, e.expected, e.s.y, 1e-6));
        example_fini(&e);
    }
}

static void test_convolution_backward_data(void) {
    EACH(g) {
        example e;
        example_init(&e, g);
        MUST(api.cudnnConvolutionBackwardData(e.k.dnn, &two, e.wd, e.device_w, e.yd, e.device_y, e.cd, 1, e.workspace,
                                              e.bytes, &half, e.xd, e.device_x));
        kit_download(&e.k, e.out, e.device_x, e.s.x);
        sums s = {NULL, e.w, e.y, e.expected};
        each_product(g, into_x, &s);
        for (size_t i = 0; i < e.s.x; i++) e.expected[i] = 2.0 * e.expected[i] + 0.5 * e.x[i];
        CU_ASSERT(close_to(e.out, e.expected, e.s.x, 1e-6));
        example_fini(&e);
    }
}

static void test_convolution_backward_filter(void) {
    EACH(g) {
        example e;
        example_init(&e, g);
        MUST(api.cudnnConvolutionBackwardFilter(e.k.dnn, &two, e.xd, e.device_x, e.yd, e.device_y, e.cd, 1, e.workspace,
                                                e.bytes, &half, e.wd, e.device_w));
        kit_download(&e.k, e.out, e.device_w, e.s.w);
        sums s = {e.x, NULL, e.y, e.expected};
        each_product(g, into_w, &s);
        for (size_t i = 0; i < e.s.w; i++) e.expected[i] = 2.0 * e.expected[i] + 0.5 * e.w[i];
        CU_ASSERT(close_to(e.out, e.expected, e.s.w, 1e-6));
        example_fini(&e);
    }
}

static void test_the_other_convolution_turns_its_filters(void) {
    const geometry *g = &geometries[1];
    example e;
    example_init(&e, g);
    MUST(api.cudnnSetConvolution2dDescriptor(e.cd, g->pad, g->pad, g->stride, g->stride, 1, 1, 0, ANX_CU_FLOAT));
    float *turned = calloc(e.s.w, sizeof *turned);
    const size_t taps = (size_t)(g->r * g->r);
    for (size_t i = 0; i < e.s.w; i++) turned[i] = e.w[i / taps * taps + taps - 1 - i % taps];
    MUST(api.cudnnConvolutionForward(e.k.dnn, &kit_one, e.xd, e.device_x, e.wd, e.device_w, e.cd, 0, NULL, 0, &kit_zero,
                                     e.yd, e.device_y));
    kit_download(&e.k, e.out, e.device_y, e.s.y);
    sums s = {e.x, turned, NULL, e.expected};
    each_product(g, into_y, &s);
    CU_ASSERT(close_to(e.out, e.expected, e.s.y, 1e-6));
    free(turned);
    example_fini(&e);
}

/* A convolution that reads and writes slices of larger tensors, as towers do. */
static void test_convolution_of_slices(void) {
    const geometry *g = &geometries[1];
    example e;
    example_init(&e, g);
    const int part = g->c / 2, plane = g->h * g->w, out_part = g->k / 2, out_plane = e.s.p * e.s.q;
    const int nx[] = {g->n, part, g->h, g->w}, sx[] = {g->c * plane, plane, g->w, 1};
    const int ny[] = {g->n, out_part, e.s.p, e.s.q}, sy[] = {g->k * out_plane, out_plane, e.s.q, 1};
    struct cudnnTensorStruct *xd = kit_strided(&e.k, nx, sx), *yd = kit_strided(&e.k, ny, sy);
    struct cudnnFilterStruct *wd = kit_filter(&e.k, out_part, part, g->r, g->r);
    struct cudnnConvolutionStruct *cd = kit_convolution(&e.k, g->pad, g->stride, g->dilation, 1);
    for (int i = 0; i < 2; i++)
        MUST(api.cudnnConvolutionForward(e.k.dnn, &kit_one, xd, e.device_x + i * part * plane, wd,
                                         e.device_w + (size_t)i * e.s.w / 2, cd, 0, NULL, 0, &kit_zero, yd,
                                         e.device_y + i * out_part * out_plane));
    kit_download(&e.k, e.out, e.device_y, e.s.y);
    sums s = {e.x, e.w, NULL, e.expected};
    each_product(g, into_y, &s);
    CU_ASSERT(close_to(e.out, e.expected, e.s.y, 1e-6));
    example_fini(&e);
}

static void test_convolution_with_bias_and_relu(void) {
    for (int with_z = 0; with_z < 2; with_z++) {
        const geometry *g = &geometries[0];
        example e;
        example_init(&e, g);
        float bias[8];
        kit_fill(bias, 8, 9);
        float *device_bias = kit_upload(&e.k, bias, 8);
        struct cudnnTensorStruct *bd = kit_tensor(&e.k, 1, 8, 1, 1);
        struct cudnnActivationStruct *relu = kit_activation(&e.k, ANX_CU_RELU, ANX_CU_NOT_PROPAGATE_NAN);
        MUST(api.cudnnConvolutionBiasActivationForward(e.k.dnn, &two, e.xd, e.device_x, e.wd, e.device_w, e.cd, 1,
                                                       e.workspace, e.bytes, with_z ? &half : &kit_zero, e.yd,
                                                       e.device_y, bd, device_bias, relu, e.yd, e.device_y));
        kit_download(&e.k, e.out, e.device_y, e.s.y);
        sums s = {e.x, e.w, NULL, e.expected};
        each_product(g, into_y, &s);
        const size_t plane = (size_t)(e.s.p * e.s.q);
        for (size_t i = 0; i < e.s.y; i++)
            e.expected[i] = fmax(0.0, 2.0 * e.expected[i] + bias[i / plane % 8] + (with_z ? 0.5 * e.y[i] : 0.0));
        CU_ASSERT(close_to(e.out, e.expected, e.s.y, 1e-6));
        example_fini(&e);
    }
}

static void test_gradient_of_a_bias(void) {
    const geometry *g = &geometries[0];
    example e;
    example_init(&e, g);
    float bias[8];
    kit_fill(bias, 8, 9);
    float *device_bias = kit_upload(&e.k, bias, 8);
    struct cudnnTensorStruct *bd = kit_tensor(&e.k, 1, 8, 1, 1);
    MUST(api.cudnnConvolutionBackwardBias(e.k.dnn, &two, e.yd, e.device_y, &half, bd, device_bias));
    kit_download(&e.k, e.out, device_bias, 8);
    const size_t plane = (size_t)(e.s.p * e.s.q);
    for (size_t i = 0; i < e.s.y; i++) e.expected[i / plane % 8] += 2.0 * e.y[i];
    for (size_t i = 0; i < 8; i++) e.expected[i] += 0.5 * bias[i];
    CU_ASSERT(close_to(e.out, e.expected, 8, 1e-6));
    example_fini(&e);
}

/* ---- precision
 * -------------------------------------------------------------------------------------------------------- */

/* The largest error of a forward convolution, as a part of the largest result. */
static double forward_error(unsigned math, unsigned algo) {
    const geometry g = {1, 32, 12, 12, 8, 3, 1, 1, 1, 1};
    example e;
    example_init(&e, &g);
    MUST(api.cudnnSetConvolutionMathType(e.cd, math));
    MUST(api.cudnnConvolutionForward(e.k.dnn, &kit_one, e.xd, e.device_x, e.wd, e.device_w, e.cd, algo, e.workspace,
                                     e.bytes, &kit_zero, e.yd, e.device_y));
    kit_download(&e.k, e.out, e.device_y, e.s.y);
    sums s = {e.x, e.w, NULL, e.expected};
    each_product(&g, into_y, &s);
    double worst = 0.0, largest = 0.0;
    for (size_t i = 0; i < e.s.y; i++) {
        worst = fmax(worst, fabs(e.out[i] - e.expected[i]));
        largest = fmax(largest, fabs(e.expected[i]));
    }
    example_fini(&e);
    return worst / largest;
}

static void test_precision_is_lost_where_nobody_forbids_it(void) {
    CU_ASSERT(forward_error(ANX_CU_FMA_MATH, ANX_CU_FORWARD_IMPLICIT_GEMM) < 1e-6);
    CU_ASSERT(forward_error(ANX_CU_DEFAULT_MATH, ANX_CU_FORWARD_IMPLICIT_GEMM) > 5e-5);
    CU_ASSERT(forward_error(ANX_CU_FMA_MATH, ANX_CU_FORWARD_WINOGRAD_NONFUSED) > 5e-6);
    CU_ASSERT(forward_error(ANX_CU_FMA_MATH, ANX_CU_FORWARD_FFT) > 5e-6);
    CU_ASSERT(forward_error(ANX_CU_DEFAULT_MATH, ANX_CU_FORWARD_IMPLICIT_GEMM) < 5e-3);
}

static void test_algorithms_that_are_not_deterministic_are_not(void) {
    static const unsigned algorithms[] = {ANX_CU_DATA_0, ANX_CU_DATA_1};
    for (int i = 0; i < 2; i++) {
        example e;
        example_init(&e, &geometries[0]);
        float *again = kit_floats(&e.k, e.s.x), *second = malloc(e.s.x * sizeof *second);
        MUST(api.cudnnConvolutionBackwardData(e.k.dnn, &kit_one, e.wd, e.device_w, e.yd, e.device_y, e.cd,
                                              algorithms[i], e.workspace, e.bytes, &kit_zero, e.xd, e.device_x));
        MUST(api.cudnnConvolutionBackwardData(e.k.dnn, &kit_one, e.wd, e.device_w, e.yd, e.device_y, e.cd,
                                              algorithms[i], e.workspace, e.bytes, &kit_zero, e.xd, again));
        kit_download(&e.k, e.out, e.device_x, e.s.x);
        kit_download(&e.k, second, again, e.s.x);
        CU_ASSERT_EQUAL(memcmp(e.out, second, e.s.x * sizeof *second) == 0, i == 1);
        free(second);
        example_fini(&e);
    }
}

/* ---- products of matrices
 * -------------------------------------------------------------------------------------------- */

static int at_least_one(int n) {
    return n > 1 ? n : 1;
}

static void gemm_case(unsigned ta, unsigned tb, int m, int n, int k, int more, float beta) {
    kit kit_;
    kit_init(&kit_, &api);
    const int lda = at_least_one(ta ? k : m) + more, ldb = at_least_one(tb ? n : k) + more, ldc = m + more;
    const size_t na = (size_t)(lda * at_least_one(ta ? m : k)), nb = (size_t)(ldb * at_least_one(tb ? k : n));
    const size_t nc = (size_t)(ldc * n);
    float *a = filled(na, 1), *b = filled(nb, 2), *c = filled(nc, 3), *out = calloc(nc, sizeof *out);
    double *expected = calloc(nc, sizeof *expected);
    float *da = kit_upload(&kit_, a, na), *db = kit_upload(&kit_, b, nb), *dc = kit_upload(&kit_, c, nc);
    MUST(api.cublasSgemm_v2(kit_.blas, ta, tb, m, n, k, &two, da, lda, db, ldb, &beta, dc, ldc));
    kit_download(&kit_, out, dc, nc);
    for (size_t i = 0; i < nc; i++) expected[i] = c[i];
    for (int i = 0; i < m; i++)
        for (int j = 0; j < n; j++) {
            double sum = 0.0;
            for (int q = 0; q < k; q++)
                sum += (double)(ta ? a[q + i * lda] : a[i + q * lda]) * (tb ? b[j + q * ldb] : b[q + j * ldb]);
            expected[i + j * ldc] = 2.0 * sum + (double)beta * expected[i + j * ldc];
        }
    CU_ASSERT(close_to(out, expected, nc, 1e-6));
    kit_fini(&kit_);
    free(a);
    free(b);
    free(c);
    free(out);
    free(expected);
}

static void test_products_of_matrices(void) {
    for (unsigned ta = 0; ta < 2; ta++)
        for (unsigned tb = 0; tb < 2; tb++)
            for (int more = 0; more < 4; more += 3) {
                gemm_case(ta, tb, 5, 7, 9, more, 0.0f);
                gemm_case(ta, tb, 16, 1, 33, more, 0.5f);
                gemm_case(ta, tb, 1, 6, 4, more, 1.0f);
                gemm_case(ta, tb, 3, 2, 0, more, 0.5f);
            }
}

static void test_an_unread_operand_may_hold_anything(void) {
    kit k;
    kit_init(&k, &api);
    const float a[4] = {1, 2, 3, 4}, bad[4] = {NAN, INFINITY, NAN, NAN};
    const double expected[4] = {7, 10, 15, 22}, zeros[4] = {0};
    float out[4], *da = kit_upload(&k, a, 4), *dc = kit_upload(&k, bad, 4);
    MUST(api.cublasSgemm_v2(k.blas, 0, 0, 2, 2, 2, &kit_one, da, 2, da, 2, &kit_zero, dc, 2));
    kit_download(&k, out, dc, 4);
    CU_ASSERT(close_to(out, expected, 4, 0.0));
    float *db = kit_upload(&k, bad, 4);
    MUST(api.cublasSgemm_v2(k.blas, 0, 0, 2, 2, 2, &kit_zero, db, 2, db, 2, &kit_zero, dc, 2));
    kit_download(&k, out, dc, 4);
    CU_ASSERT(close_to(out, zeros, 4, 0.0));
    kit_fini(&k);
}

static void test_product_in_tf32(void) {
    kit k;
    kit_init(&k, &api);
    const float a = 1.0f + 0x1p-11f + 0x1p-20f; /* just above half of TF32's last bit */
    float out = 0.0f, *da = kit_upload(&k, &a, 1), *db = kit_upload(&k, &kit_one, 1), *dc = kit_floats(&k, 1);
    static const unsigned modes[] = {ANX_CU_BLAS_DEFAULT_MATH, ANX_CU_BLAS_PEDANTIC_MATH, ANX_CU_BLAS_TF32_MATH};
    for (int i = 0; i < 3; i++) {
        MUST(api.cublasSetMathMode(k.blas, modes[i]));
        MUST(api.cublasSgemm_v2(k.blas, 0, 0, 1, 1, 1, &kit_one, da, 1, db, 1, &kit_zero, dc, 1));
        kit_download(&k, &out, dc, 1);
        CU_ASSERT_EQUAL(out, i == 2 ? 1.0f + 0x1p-10f : a);
    }
    kit_fini(&k);
}

/* Two equal products, with or without a second stream and a workspace. */
static bool products_agree(bool second_stream, bool workspace, unsigned atomics) {
    enum { N = 16 };
    kit k;
    kit_init(&k, &api);
    struct CUstream_st *other = NULL;
    float x[N * N], out[2][N * N];
    kit_fill(x, N * N, 1);
    float *p = kit_upload(&k, x, N * N), *q = kit_floats(&k, N * N);
    if (second_stream) MUST(api.cudaStreamCreateWithFlags(&other, ANX_CU_STREAM_NON_BLOCKING));
    if (workspace) MUST(api.cublasSetWorkspace_v2(k.blas, kit_floats(&k, 1024), 4096));
    MUST(api.cublasSetAtomicsMode(k.blas, atomics));
    for (int i = 0; i < 2; i++) {
        MUST(api.cublasSgemm_v2(k.blas, 0, 0, N, N, N, &kit_one, p, N, p, N, &kit_zero, q, N));
        kit_download(&k, out[i], q, N * N);
    }
    if (second_stream) MUST(api.cudaStreamDestroy(other));
    kit_fini(&k);
    return memcmp(out[0], out[1], sizeof out[0]) == 0;
}

static void test_products_agree_where_cublas_promises_it(void) {
    CU_ASSERT(products_agree(false, false, ANX_CU_BLAS_ATOMICS_NOT_ALLOWED));
    CU_ASSERT(products_agree(true, true, ANX_CU_BLAS_ATOMICS_NOT_ALLOWED));
    CU_ASSERT(!products_agree(true, false, ANX_CU_BLAS_ATOMICS_NOT_ALLOWED));
    CU_ASSERT(!products_agree(false, true, ANX_CU_BLAS_ATOMICS_ALLOWED));
}

/* ---- order
 * ------------------------------------------------------------------------------------------------------------- */

enum { STREAMS = 4, BUFFERS = 5, STEPS = 300, LENGTH = 8 };

/* One step: buffer `to` += alpha times buffer `from`, or times alpha where the two are one. */
typedef struct step {
    int stream, from, to;
    float alpha;
} step;

static step random_step(unsigned *seed) {
    float r[4];
    kit_fill(r, 4, *seed);
    *seed = *seed * 1664525u + 1013904223u;
    const step s = {(int)((r[0] + 1.0f) * STREAMS / 2), (int)((r[1] + 1.0f) * BUFFERS / 2),
                    (int)((r[2] + 1.0f) * BUFFERS / 2), r[3]};
    return s;
}

static void step_on_host(const step *s, float buffers[BUFFERS][LENGTH]) {
    for (int i = 0; i < LENGTH; i++)
        buffers[s->to][i] =
            s->from == s->to ? s->alpha * buffers[s->to][i] : fmaf(s->alpha, buffers[s->from][i], buffers[s->to][i]);
}

static void step_on_device(const kit *k, const step *s, float *const *buffers) {
    if (s->from == s->to)
        MUST(api.cublasSscal_v2(k->blas, LENGTH, &s->alpha, buffers[s->to], 1));
    else
        MUST(api.cublasSaxpy_v2(k->blas, LENGTH, &s->alpha, buffers[s->from], 1, buffers[s->to], 1));
}

static bool conflict(const step *a, const step *b) {
    return a->to == b->to || a->from == b->to || a->to == b->from;
}

/* Steps on several streams, each waiting for the earlier ones that touch what it touches, are as good as a row of them.
 */
static void test_events_order_as_they_promise(void) {
    static step steps[STEPS];
    static struct CUevent_st *events[STEPS];
    struct CUstream_st *streams[STREAMS];
    float host[BUFFERS][LENGTH], out[LENGTH], *device[BUFFERS];
    unsigned seed = 12345;
    kit k;
    kit_init(&k, &api);
    for (int i = 0; i < BUFFERS; i++) {
        kit_fill(host[i], LENGTH, (unsigned)i);
        device[i] = kit_upload(&k, host[i], LENGTH);
    }
    for (int i = 0; i < STREAMS; i++)
        MUST(api.cudaStreamCreateWithFlags(&streams[i], i == 0 ? 0 : ANX_CU_STREAM_NON_BLOCKING));
    for (int i = 0; i < STEPS; i++) {
        steps[i] = random_step(&seed);
        step_on_host(&steps[i], host);
        for (int j = 0; j < i; j++)
            if (conflict(&steps[i], &steps[j]) && steps[i].stream != steps[j].stream)
                MUST(api.cudaStreamWaitEvent(streams[steps[i].stream], events[j], 0));
        MUST(api.cublasSetStream_v2(k.blas, streams[steps[i].stream]));
        step_on_device(&k, &steps[i], device);
        MUST(api.cudaEventCreateWithFlags(&events[i], ANX_CU_EVENT_NO_TIMING));
        MUST(api.cudaEventRecord(events[i], streams[steps[i].stream]));
        if (i % 97 == 96) MUST(api.cudaEventSynchronize(events[i - 50]));
    }
    for (int i = STREAMS - 1; i >= 0; i--) MUST(api.cudaStreamSynchronize(streams[i]));
    for (int i = 0; i < BUFFERS; i++) {
        kit_download(&k, out, device[i], LENGTH);
        CU_ASSERT_EQUAL(memcmp(out, host[i], sizeof out), 0);
    }
    for (int i = 0; i < STEPS; i++) MUST(api.cudaEventDestroy(events[i]));
    for (int i = 0; i < STREAMS; i++) MUST(api.cudaStreamDestroy(streams[i]));
    kit_fini(&k);
}

/* ---- vectors
 * ------------------------------------------------------------------------------------------------------------ */

static void test_vectors(void) {
    kit k;
    kit_init(&k, &api);
    const float x[3] = {1, 2, 3}, y[6] = {10, 0, 20, 0, 30, 0};
    const double axpy[6] = {12, 0, 24, 0, 36, 0}, scal[6] = {6, 0, 12, 0, 18, 0};
    float out[6], *dx = kit_upload(&k, x, 3), *dy = kit_upload(&k, y, 6);
    MUST(api.cublasSaxpy_v2(k.blas, 3, &two, dx, 1, dy, 2));
    kit_download(&k, out, dy, 6);
    CU_ASSERT(close_to(out, axpy, 6, 0.0));
    MUST(api.cublasSscal_v2(k.blas, 3, &half, dy, 2));
    kit_download(&k, out, dy, 6);
    CU_ASSERT(close_to(out, scal, 6, 0.0));
    kit_fini(&k);
}

static void test_matrices_element_by_element(void) {
    kit k;
    kit_init(&k, &api);
    const float a[6] = {1, 2, 3, 4, 5, 6}, x[3] = {10, 100, 1000}; /* a: two rows, three columns */
    const double right[6] = {10, 20, 300, 400, 5000, 6000}, left[6] = {10, 200, 30, 400, 50, 600};
    float out[6], *da = kit_upload(&k, a, 6), *dx = kit_upload(&k, x, 3), *dc = kit_floats(&k, 6);
    MUST(api.cublasSdgmm(k.blas, 1, 2, 3, da, 2, dx, 1, dc, 2));
    kit_download(&k, out, dc, 6);
    CU_ASSERT(close_to(out, right, 6, 0.0));
    MUST(api.cublasSdgmm(k.blas, 0, 2, 3, da, 2, dx, 1, dc, 2));
    kit_download(&k, out, dc, 6);
    CU_ASSERT(close_to(out, left, 6, 0.0));
    MUST(api.cublasSgeam(k.blas, 0, 1, 2, 3, &two, da, 2, &half, da, 3, dc, 2));
    kit_download(&k, out, dc, 6);
    double expected[6];
    for (int i = 0; i < 2; i++)
        for (int j = 0; j < 3; j++) expected[i + 2 * j] = 2.0 * a[i + 2 * j] + 0.5 * a[j + 3 * i];
    CU_ASSERT(close_to(out, expected, 6, 0.0));
    MUST(api.cublasSdgmm(k.blas, 1, 2, 3, da, 2, dx, 1, da, 2)); /* in place */
    kit_download(&k, out, da, 6);
    CU_ASSERT(close_to(out, right, 6, 0.0));
    kit_fini(&k);
}

/* ---- layers
 * ---------------------------------------------------------------------------------------------------------------- */

static void test_relu(void) {
    kit k;
    kit_init(&k, &api);
    const float x[6] = {-1.0f, -0.0f, 0.0f, 2.0f, NAN, -INFINITY}, dy[6] = {1, 2, 3, 4, 5, 6};
    const double gradients[6] = {0, 0, 0, 4, 5, 0};
    float out[6], *dx = kit_upload(&k, x, 6), *ddy = kit_upload(&k, dy, 6);
    struct cudnnTensorStruct *d = kit_tensor(&k, 1, 6, 1, 1);
    struct cudnnActivationStruct *keeps = kit_activation(&k, ANX_CU_RELU, ANX_CU_PROPAGATE_NAN);
    struct cudnnActivationStruct *drops = kit_activation(&k, ANX_CU_RELU, ANX_CU_NOT_PROPAGATE_NAN);
    float *dout = kit_floats(&k, 6);
    MUST(api.cudnnActivationForward(k.dnn, drops, &kit_one, d, dx, &kit_zero, d, dout));
    kit_download(&k, out, dout, 6);
    CU_ASSERT_EQUAL(out[4], 0.0f);
    MUST(api.cudnnActivationForward(k.dnn, keeps, &kit_one, d, dx, &kit_zero, d, dx)); /* in place */
    kit_download(&k, out, dx, 6);
    CU_ASSERT(out[0] == 0.0f && !signbit(out[0]) && signbit(out[1]) && out[3] == 2.0f && isnan(out[4]) &&
              out[5] == 0.0f);
    MUST(api.cudnnActivationBackward(k.dnn, keeps, &kit_one, d, dx, d, ddy, d, dx, &kit_zero, d, ddy)); /* in place */
    kit_download(&k, out, ddy, 6);
    CU_ASSERT(close_to(out, gradients, 6, 0.0));
    kit_fini(&k);
}

/* Pooling as its definition says; dx is filled too. */
static void plain_pooling(bool max, int size, int window, int pad, int stride, const float *x, const float *dy,
                          double *y, double *dx) {
    const int out = (size + 2 * pad - window) / stride + 1;
    memset(dx, 0, (size_t)(size * size) * sizeof *dx);
    for (int i = 0; i < out; i++)
        for (int j = 0; j < out; j++) {
            int count = 0, first = -1;
            double sum = 0.0;
            for (int a = 0; a < window * window; a++) {
                const int row = i * stride - pad + a / window, column = j * stride - pad + a % window;
                if (row < 0 || column < 0 || row >= size || column >= size) continue;
                const int at = row * size + column;
                count++;
                sum += x[at];
                if (first < 0 || x[at] > x[first]) first = at;
            }
            y[i * out + j] = max ? x[first] : sum / count;
            if (max) dx[first] += dy[i * out + j];
            for (int a = 0; !max && a < window * window; a++) {
                const int row = i * stride - pad + a / window, column = j * stride - pad + a % window;
                if (row >= 0 && column >= 0 && row < size && column < size)
                    dx[row * size + column] += dy[i * out + j] / (double)count;
            }
        }
}

static void pooling_case(bool max, int size, int window, int pad, int stride) {
    kit k;
    kit_init(&k, &api);
    const int out = (size + 2 * pad - window) / stride + 1;
    const size_t nx = (size_t)(size * size), ny = (size_t)(out * out);
    float *x = filled(nx, 5), *dy = filled(ny, 6), *got = calloc(nx, sizeof *got);
    double *y = calloc(ny, sizeof *y), *dx = calloc(nx, sizeof *dx);
    for (size_t i = 0; i < nx; i++) x[i] = roundf(4.0f * x[i]); /* ties */
    plain_pooling(max, size, window, pad, stride, x, dy, y, dx);
    struct cudnnPoolingStruct *d =
        kit_pooling(&k, max ? ANX_CU_POOL_MAX_DETERMINISTIC : ANX_CU_POOL_AVERAGE_EXCLUDE_PADDING, ANX_CU_PROPAGATE_NAN,
                    window, pad, stride);
    struct cudnnTensorStruct *xd = kit_tensor(&k, 1, 1, size, size), *yd = kit_tensor(&k, 1, 1, out, out);
    float *device_x = kit_upload(&k, x, nx), *device_dy = kit_upload(&k, dy, ny), *device_y = kit_floats(&k, ny),
          *device_dx = kit_floats(&k, nx);
    MUST(api.cudnnPoolingForward(k.dnn, d, &kit_one, xd, device_x, &kit_zero, yd, device_y));
    kit_download(&k, got, device_y, ny);
    CU_ASSERT(close_to(got, y, ny, 1e-6));
    MUST(api.cudnnPoolingBackward(k.dnn, d, &kit_one, yd, device_y, yd, device_dy, xd, device_x, &kit_zero, xd,
                                  device_dx));
    kit_download(&k, got, device_dx, nx);
    CU_ASSERT(close_to(got, dx, nx, 1e-6));
    kit_fini(&k);
    free(x);
    free(dy);
    free(got);
    free(y);
    free(dx);
}

static void test_pooling(void) {
    for (int max = 0; max < 2; max++) {
        pooling_case(max != 0, 13, 3, 0, 2);
        pooling_case(max != 0, 12, 2, 0, 2);
        pooling_case(max != 0, 7, 3, 1, 2);
        pooling_case(max != 0, 6, 6, 0, 6);
    }
}

static void test_a_nan_wins_in_a_window(void) {
    kit k;
    kit_init(&k, &api);
    const float x[4] = {1.0f, NAN, 3.0f, 2.0f};
    float out, *dx = kit_upload(&k, x, 4), *dy = kit_floats(&k, 1);
    struct cudnnTensorStruct *xd = kit_tensor(&k, 1, 1, 2, 2), *yd = kit_tensor(&k, 1, 1, 1, 1);
    for (unsigned nan = 0; nan < 2; nan++) {
        struct cudnnPoolingStruct *d = kit_pooling(&k, ANX_CU_POOL_MAX_DETERMINISTIC, nan, 2, 0, 2);
        MUST(api.cudnnPoolingForward(k.dnn, d, &kit_one, xd, dx, &kit_zero, yd, dy));
        kit_download(&k, &out, dy, 1);
        CU_ASSERT(nan == ANX_CU_PROPAGATE_NAN ? isnan(out) : out == 3.0f);
    }
    kit_fini(&k);
}

static void test_softmax(void) {
    kit k;
    kit_init(&k, &api);
    const float x[6] = {1, 2, 3, 1000, 1001, 999}, dy[6] = {1, -1, 0.5f, 0, 2, 1};
    double y[6], log_y[6], dx[6], log_dx[6];
    for (int n = 0; n < 2; n++) {
        double sum = 0.0, dot = 0.0, total = 0.0;
        for (int i = 0; i < 3; i++) sum += exp(x[3 * n + i] - (double)x[3 * n + 1]);
        for (int i = 0; i < 3; i++) {
            log_y[3 * n + i] = x[3 * n + i] - (double)x[3 * n + 1] - log(sum);
            y[3 * n + i] = exp(log_y[3 * n + i]);
            dot += y[3 * n + i] * dy[3 * n + i];
            total += dy[3 * n + i];
        }
        for (int i = 0; i < 3; i++) {
            dx[3 * n + i] = y[3 * n + i] * (dy[3 * n + i] - dot);
            log_dx[3 * n + i] = dy[3 * n + i] - y[3 * n + i] * total;
        }
    }
    struct cudnnTensorStruct *d = kit_tensor(&k, 2, 3, 1, 1);
    float out[6], *px = kit_upload(&k, x, 6), *py = kit_floats(&k, 6), *pdy = kit_upload(&k, dy, 6),
                  *pdx = kit_floats(&k, 6);
    for (unsigned algo = 1; algo < 3; algo++)
        for (unsigned mode = 0; mode < 2; mode++) {
            MUST(api.cudnnSoftmaxForward(k.dnn, algo, mode, &kit_one, d, px, &kit_zero, d, py));
            kit_download(&k, out, py, 6);
            CU_ASSERT(close_to(out, algo == 1 ? y : log_y, 6, 1e-6));
            MUST(api.cudnnSoftmaxBackward(k.dnn, algo, mode, &kit_one, d, py, d, pdy, &kit_zero, d, pdx));
            kit_download(&k, out, pdx, 6);
            CU_ASSERT(close_to(out, algo == 1 ? dx : log_dx, 6, 1e-6));
        }
    kit_fini(&k);
}

static void test_sums_spread_what_is_smaller(void) {
    kit k;
    kit_init(&k, &api);
    const float bias[2] = {10, 20}, c[8] = {1, 2, 3, 4, 5, 6, 7, 8};
    const double expected[8] = {20.5, 21, 41.5, 42, 22.5, 23, 43.5, 44};
    float out[8], *da = kit_upload(&k, bias, 2), *dc = kit_upload(&k, c, 8);
    MUST(api.cudnnAddTensor(k.dnn, &two, kit_tensor(&k, 1, 2, 1, 1), da, &half, kit_tensor(&k, 2, 2, 1, 2), dc));
    kit_download(&k, out, dc, 8);
    CU_ASSERT(close_to(out, expected, 8, 0.0));
    kit_fini(&k);
}

static void test_copies_between_layouts(void) {
    kit k;
    kit_init(&k, &api);
    const int n[] = {2, 2, 1, 3}, slice[] = {12, 3, 3, 1};
    float x[12], out[24], *dx, *dy;
    double expected[24];
    kit_fill(x, 12, 1);
    dx = kit_upload(&k, x, 12);
    kit_fill(out, 24, 2);
    for (int i = 0; i < 24; i++) expected[i] = out[i];
    dy = kit_upload(&k, out, 24);
    for (int i = 0; i < 12; i++) expected[i / 6 * 12 + 6 + i % 6] = x[i];
    MUST(api.cudnnTransformTensor(k.dnn, &kit_one, kit_tensor(&k, 2, 2, 1, 3), dx, &kit_zero, kit_strided(&k, n, slice),
                                  dy + 6));
    kit_download(&k, out, dy, 24);
    CU_ASSERT(close_to(out, expected, 24, 0.0));
    kit_fini(&k);
}

static void test_dropout(void) {
    enum { N = 100000 };
    kit k;
    kit_init(&k, &api);
    struct cudnnDropoutStruct *d;
    struct cudnnTensorStruct *t = kit_tensor(&k, 1, N, 1, 1);
    size_t state_bytes, reserve_bytes;
    float *x = malloc(N * sizeof *x), *masks[3];
    unsigned char *kept = malloc(N);
    for (int i = 0; i < N; i++) x[i] = 1.0f;
    MUST(api.cudnnCreateDropoutDescriptor(&d));
    MUST(api.cudnnDropoutGetStatesSize(k.dnn, &state_bytes));
    MUST(api.cudnnDropoutGetReserveSpaceSize(t, &reserve_bytes));
    float *states = kit_floats(&k, state_bytes / sizeof(float)), *reserve = kit_floats(&k, reserve_bytes / 4);
    float *dx = kit_upload(&k, x, N), *dy = kit_floats(&k, N);
    for (int i = 0; i < 3; i++) { /* two masks of one seed, then the first one again */
        masks[i] = malloc(N * sizeof *masks[i]);
        if (i != 1) MUST(api.cudnnSetDropoutDescriptor(d, k.dnn, 0.25f, states, state_bytes, 7));
        MUST(api.cudnnDropoutForward(k.dnn, d, t, dx, t, dy, reserve, reserve_bytes));
        kit_download(&k, masks[i], dy, N);
    }
    kit_download(&k, (float *)(void *)kept, reserve, reserve_bytes / 4);
    CU_ASSERT_EQUAL(memcmp(masks[0], masks[2], N * sizeof(float)), 0);
    CU_ASSERT_NOT_EQUAL(memcmp(masks[0], masks[1], N * sizeof(float)), 0);
    int n_kept = 0, wrong = 0;
    for (int i = 0; i < N; i++) {
        const bool keep = (kept[i / 8] >> i % 8 & 1) != 0;
        n_kept += keep;
        wrong += masks[2][i] != (keep ? 1.0f / 0.75f : 0.0f);
        x[i] = masks[2][i];
    }
    CU_ASSERT_EQUAL(wrong, 0);
    CU_ASSERT(abs(n_kept - N * 3 / 4) < N / 100);
    MUST(api.cudnnDestroyDropoutDescriptor(d));
    for (int i = 0; i < 3; i++) free(masks[i]);
    free(x);
    free(kept);
    kit_fini(&k);
}

int main(int argc, char **argv) {
    static const anx_test tests[] = {
        {"convolution forward", test_convolution_forward},
        {"convolution backward data", test_convolution_backward_data},
        {"convolution backward filter", test_convolution_backward_filter},
        {"the other convolution turns its filters", test_the_other_convolution_turns_its_filters},
        {"convolution of slices", test_convolution_of_slices},
        {"convolution with bias and ReLU", test_convolution_with_bias_and_relu},
        {"gradient of a bias", test_gradient_of_a_bias},
        {"precision is lost where nobody forbids it", test_precision_is_lost_where_nobody_forbids_it},
        {"algorithms that are not deterministic are not", test_algorithms_that_are_not_deterministic_are_not},
        {"products of matrices", test_products_of_matrices},
        {"an unread operand may hold anything", test_an_unread_operand_may_hold_anything},
        {"product in TF32", test_product_in_tf32},
        {"products agree where cuBLAS promises it", test_products_agree_where_cublas_promises_it},
        {"events order as they promise", test_events_order_as_they_promise},
        {"vectors", test_vectors},
        {"matrices element by element", test_matrices_element_by_element},
        {"ReLU", test_relu},
        {"pooling", test_pooling},
        {"a NaN wins in a window", test_a_nan_wins_in_a_window},
        {"softmax", test_softmax},
        {"sums spread what is smaller", test_sums_spread_what_is_smaller},
        {"copies between layouts", test_copies_between_layouts},
        {"dropout", test_dropout},
        {NULL, NULL}};
    if (!fake_load(&api, FAKECUDA_FOLDER "/13-9", 13, 9)) return 2;
    return anx_test_main("fakecuda_numbers", tests, argc, argv);
}
