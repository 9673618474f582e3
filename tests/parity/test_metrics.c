/*
 * The rules of judgement against arithmetic: float32 sums in many orders pass, sums of operands rounded to fewer bits
 * fail, and what is not an ordinary number is treated as documented.
 */
#include <float.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "parity/metrics.h"
#include "parity/points.h"
#include "src/base/mt19937.h"
#include "tests/support/anx_test.h"

enum { OUTPUTS = 192 };

/* One layer of OUTPUTS sums over the same inputs, as a linear layer. */
typedef struct layer {
    int terms;
    float *w, *x, *b;
    double y64[OUTPUTS];
    float gauge[OUTPUTS];
} layer;

static float *uniform(anx_mt19937 *gen, size_t n, float low, float high) {
    float *v = malloc(n * sizeof *v);
    anx_mt19937_uniform_f32(gen, n, low, high, v);
    return v;
}

/* Weights of both signs, inputs as after a ReLU; or all of one sign, which float32 finds hardest. */
static layer make_layer(int terms, bool one_sign) {
    anx_mt19937 gen;
    anx_mt19937_seed(&gen, 7);
    const float reach = 1 / sqrtf((float)terms);
    layer l = {.terms = terms,
               .w = uniform(&gen, (size_t)terms * OUTPUTS, one_sign ? 0 : -reach, reach),
               .x = uniform(&gen, (size_t)terms, one_sign ? 0 : -1, 1),
               .b = uniform(&gen, OUTPUTS, one_sign ? 0 : -reach, reach)};
    for (int i = 0; i < terms; i++) l.x[i] = fmaxf(l.x[i], 0);
    for (int o = 0; o < OUTPUTS; o++) {
        double y = l.b[o], g = fabs(l.b[o]);
        for (int i = 0; i < terms; i++) {
            const double p = (double)l.w[o * terms + i] * (double)l.x[i];
            y += p;
            g += fabs(p);
        }
        l.y64[o] = y;
        l.gauge[o] = (float)g;
    }
    return l;
}

static void free_layer(layer *l) {
    free(l->w);
    free(l->x);
    free(l->b);
}

typedef float (*operand)(float);

static float as_is(float v) {
    return v;
}

static float to_bf16(float v) {
    return anx_bf16_to_f32(anx_f32_to_bf16(v));
}

static float to_f16(float v) {
    return anx_f16_to_f32(anx_f32_to_f16(v));
}

static float to_tf32(float v) { /* 10 bits after the point, nearest even */
    uint32_t bits;
    memcpy(&bits, &v, sizeof bits);
    bits += 0xfff + ((bits >> 13) & 1);
    bits &= ~0x1fffu;
    memcpy(&v, &bits, sizeof v);
    return v;
}

typedef enum order { SEQUENTIAL, REVERSED, FUSED, LANES, BLOCKS, PAIRWISE, POSITIVE_FIRST, ORDERS } order;

static float pairwise(const float *w, const float *x, int n, operand rw, operand rx) {
    if (n == 1) return rw(w[0]) * rx(x[0]);
    return pairwise(w, x, n / 2, rw, rx) + pairwise(w + n / 2, x + n / 2, n - n / 2, rw, rx);
}

static float sum_in(order how, const float *w, const float *x, float b, int n, operand rw, operand rx) {
    float y = b, lane[8] = {0};
    switch (how) {
    case SEQUENTIAL:
        for (int i = 0; i < n; i++) y += rw(w[i]) * rx(x[i]);
        return y;
    case REVERSED:
        for (int i = n - 1; i >= 0; i--) y += rw(w[i]) * rx(x[i]);
        return y;
    case FUSED:
        for (int i = 0; i < n; i++) y = fmaf(rw(w[i]), rx(x[i]), y);
        return y;
    case LANES:
        for (int i = 0; i < n; i++) lane[i % 8] = fmaf(rw(w[i]), rx(x[i]), lane[i % 8]);
        for (int i = 0; i < 8; i++) y += lane[i];
        return y;
    case BLOCKS:
        for (int i = 0; i < n; i += 192) {
            float part = 0;
            for (int j = i; j < n && j < i + 192; j++) part = fmaf(rw(w[j]), rx(x[j]), part);
            y += part;
        }
        return y;
    case PAIRWISE: return pairwise(w, x, n, rw, rx) + b;
    case POSITIVE_FIRST:
        for (int i = 0; i < n; i++)
            if (w[i] * x[i] > 0) y += rw(w[i]) * rx(x[i]);
        for (int i = 0; i < n; i++)
            if (w[i] * x[i] <= 0) y += rw(w[i]) * rx(x[i]);
        return y;
    case ORDERS: break;
    }
    return NAN;
}

static const anx_extent features = {.rank = 1, .dim = {OUTPUTS}};

static anx_verdict judge(const anx_rule *rule, const anx_values *values, anx_judged *out) {
    anx_error err = ANX_ERROR_INIT;
    ANX_CHECK_OK(anx_judged_init(out, ANX_JUDGED_MODULE, ANX_PATH_OBSERVE, "p", "i", NULL, &err), &err);
    anx_measure(rule, values, ANX_BASIS_TRUTH_COMPUTED, ANX_BASIS_PYTORCH_RECORDED, out);
    ANX_CHECK_OK(anx_rule_conclude(rule, out, &err), &err);
    return out->verdict;
}

static anx_verdict judge_order(const layer *l, order how, operand rw, operand rx, anx_judged *out) {
    float y[OUTPUTS], y32[OUTPUTS];
    for (int o = 0; o < OUTPUTS; o++) {
        y[o] = sum_in(how, l->w + o * l->terms, l->x, l->b[o], l->terms, rw, rx);
        y32[o] = sum_in(BLOCKS, l->w + o * l->terms, l->x, l->b[o], l->terms, as_is, as_is);
    }
    const anx_rule rule = anx_rule_for_sum(l->terms);
    return judge(&rule,
                 &(anx_values){.extent = &features, .batch = 1, .got = y, .y32 = y32, .y64 = l->y64, .gauge = l->gauge},
                 out);
}

static const int sizes[] = {363, 1600, 3456, 9216};

static void test_float32_passes(void) {
    for (size_t s = 0; s < sizeof sizes / sizeof *sizes; s++)
        for (int one_sign = 0; one_sign < 2; one_sign++) {
            layer l = make_layer(sizes[s], one_sign != 0);
            for (int how = 0; how < ORDERS; how++) {
                anx_judged j;
                const anx_verdict v = judge_order(&l, (order)how, as_is, as_is, &j);
                CU_ASSERT_TRUE(j.versus[0].worst_fraction < 1);
                /* one chain over terms of one sign errs by about 0.25 sqrt(h) u G RMS, below 32 for all of these */
                CU_ASSERT_TRUE(j.versus[0].rms < 0.32 * sqrt(l.terms + 1.0));
                if (one_sign == 0 && how != POSITIVE_FIRST) {
                    CU_ASSERT_EQUAL(v, ANX_VERDICT_PASS);
                    CU_ASSERT_TRUE(j.versus[0].rms < 2);
                } else
                    CU_ASSERT_NOT_EQUAL(v, ANX_VERDICT_FAIL); /* hostile orders may warn, never fail */
                anx_judged_fini(&j);
            }
            free_layer(&l);
        }
}

static void test_reduced_precision_fails(void) {
    static const struct {
        operand w, x;
        double least, most; /* RMS of r */
    } kinds[] = {{to_tf32, to_tf32, 60, 700},
                 {to_f16, to_f16, 60, 700},
                 {to_bf16, to_bf16, 500, 6000},
                 {as_is, to_tf32, 40, 500},
                 {to_f16, as_is, 40, 500}};
    for (size_t s = 0; s < sizeof sizes / sizeof *sizes; s++) {
        layer l = make_layer(sizes[s], false);
        for (size_t k = 0; k < sizeof kinds / sizeof *kinds; k++) {
            anx_judged j;
            CU_ASSERT_EQUAL(judge_order(&l, LANES, kinds[k].w, kinds[k].x, &j), ANX_VERDICT_FAIL);
            CU_ASSERT_TRUE(j.versus[0].rms > kinds[k].least && j.versus[0].rms < kinds[k].most);
            CU_ASSERT_TRUE(j.versus[1].rms > kinds[k].least);
            anx_judged_fini(&j);
        }
        free_layer(&l);
    }
}

static void test_one_wrong_element(void) {
    layer l = make_layer(1600, false);
    float y[OUTPUTS];
    for (int o = 0; o < OUTPUTS; o++) y[o] = (float)l.y64[o];
    const anx_rule rule = anx_rule_for_sum(1600);
    CU_ASSERT_DOUBLE_EQUAL(rule.limit_r, 4 * sqrt(1601), 1e-9);
    y[77] = (float)(l.y64[77] + 1.1 * rule.limit_r * 0x1p-24 * l.gauge[77]);
    anx_judged j;
    const anx_values v = {.extent = &features, .batch = 1, .got = y, .y64 = l.y64, .gauge = l.gauge};
    CU_ASSERT_EQUAL(judge(&rule, &v, &j), ANX_VERDICT_FAIL);
    CU_ASSERT_EQUAL(j.n_versus, 1);
    CU_ASSERT_EQUAL(j.versus[0].over, 1);
    CU_ASSERT_EQUAL(j.versus[0].worst.rank, 2);
    CU_ASSERT_EQUAL(j.versus[0].worst.at[1], 77);
    CU_ASSERT_DOUBLE_EQUAL(j.versus[0].worst_fraction, 1.1, 0.05);
    CU_ASSERT_EQUAL(j.versus[0].worst.got, (double)y[77]);
    anx_judged_fini(&j);
    y[77] = (float)(l.y64[77] + 0.9 * rule.limit_r * 0x1p-24 * l.gauge[77]);
    CU_ASSERT_NOT_EQUAL(judge(&rule, &v, &j), ANX_VERDICT_FAIL);
    anx_judged_fini(&j);
    free_layer(&l);
}

/* r is what its definition says, in both comparisons, on values where every step is exact. */
static void test_units(void) {
    const anx_extent extent = {.rank = 3, .dim = {2, 1, 2}};
    const float gauge[8] = {1, 1, 2, 2, 4, 4, 8, 8};
    const double y64[8] = {0, 0, 0, 0, 1, 1, 1, 1};
    float got[8], y32[8];
    for (int i = 0; i < 8; i++) {
        y32[i] = (float)(y64[i] - 0x1p-23);               /* off by 2u */
        got[i] = (float)(y64[i] + (i < 4 ? 0 : 0x1p-22)); /* off by 4u in the second image */
    }
    const anx_rule rule = anx_rule_for_sum(15); /* h = 16, limit 16 */
    CU_ASSERT_EQUAL(rule.limit_r, 16);
    anx_judged j;
    const anx_values v = {.extent = &extent, .batch = 2, .got = got, .y32 = y32, .y64 = y64, .gauge = gauge};
    CU_ASSERT_EQUAL(judge(&rule, &v, &j), ANX_VERDICT_PASS);
    CU_ASSERT_EQUAL(j.versus[0].basis, ANX_BASIS_TRUTH_COMPUTED);
    CU_ASSERT_DOUBLE_EQUAL(j.versus[0].worst_r, 1, 1e-9); /* 4u / (u*4) */
    CU_ASSERT_DOUBLE_EQUAL(j.versus[0].worst_fraction, 1.0 / 16, 1e-9);
    CU_ASSERT_DOUBLE_EQUAL(j.versus[0].rms, sqrt((1 + 1 + 0.25 + 0.25) / 4), 1e-9);
    CU_ASSERT_EQUAL(j.versus[0].rms_image, 1);
    CU_ASSERT_DOUBLE_EQUAL(j.versus[0].part_rms, 1, 1e-9);
    CU_ASSERT_EQUAL(j.versus[0].part_image, 1);
    CU_ASSERT_EQUAL(j.versus[0].part_index, 0);
    /* slope of image 1: (2*(1*1/4) + 2*(0.5*1/8)) / (2/16 + 2/64) */
    CU_ASSERT_DOUBLE_EQUAL(j.versus[0].slope, (2 * 0.25 + 2 * 0.0625) / (2.0 / 16 + 2.0 / 64), 1e-9);
    CU_ASSERT_DOUBLE_EQUAL(j.pytorch_r, 2, 1e-9);
    CU_ASSERT_DOUBLE_EQUAL(j.pytorch_rms, sqrt((4 + 4 + 1 + 1) / 4.0), 1e-9);
    CU_ASSERT_EQUAL(j.versus[1].basis, ANX_BASIS_PYTORCH_RECORDED);
    CU_ASSERT_DOUBLE_EQUAL(j.versus[1].worst_r, 2, 1e-9);               /* 2u / (u*1) in image 0 */
    CU_ASSERT_DOUBLE_EQUAL(j.versus[1].worst_fraction, 2.0 / 18, 1e-9); /* bound 16uG + 2u */
    CU_ASSERT_DOUBLE_EQUAL(j.versus[1].limit_rms, 32 + j.pytorch_rms, 1e-9);
    anx_judged_fini(&j);
}

static void test_not_finite(void) {
    const anx_extent extent = {.rank = 1, .dim = {4}};
    const anx_rule rule = anx_rule_for_sum(100);
    const double y64[4] = {INFINITY, NAN, -INFINITY, 1};
    const float gauge[4] = {INFINITY, NAN, INFINITY, 2};
    anx_judged j;
    float got[4] = {INFINITY, NAN, -INFINITY, 1};
    anx_values v = {.extent = &extent, .batch = 1, .got = got, .y64 = y64, .gauge = gauge};
    CU_ASSERT_EQUAL(judge(&rule, &v, &j), ANX_VERDICT_PASS); /* the same classes */
    anx_judged_fini(&j);
    got[0] = -INFINITY;
    CU_ASSERT_EQUAL(judge(&rule, &v, &j), ANX_VERDICT_FAIL);
    anx_judged_fini(&j);
    got[0] = INFINITY;
    got[3] = NAN;
    CU_ASSERT_EQUAL(judge(&rule, &v, &j), ANX_VERDICT_FAIL);
    CU_ASSERT_EQUAL(j.versus[0].nonfinite, 1);
    CU_ASSERT_EQUAL(j.versus[0].worst.at[1], 3);
    anx_judged_fini(&j);
    got[3] = 1;
    got[1] = 5; /* a number where NaN is right */
    CU_ASSERT_EQUAL(judge(&rule, &v, &j), ANX_VERDICT_FAIL);
    anx_judged_fini(&j);

    /* overflow that depends on the order is not judged, and said */
    const double big[1] = {1e38};
    const float g_big[1] = {3e38f}, got_big[1] = {INFINITY};
    const anx_extent one = {.rank = 1, .dim = {1}};
    v = (anx_values){.extent = &one, .batch = 1, .got = got_big, .y64 = big, .gauge = g_big};
    CU_ASSERT_EQUAL(judge(&rule, &v, &j), ANX_VERDICT_WARN);
    CU_ASSERT_EQUAL(j.versus[0].undecided, 1);
    anx_judged_fini(&j);
    /* NaN weights over padding: the truth's NaN and the sum without the padding are right, no other value is */
    const double contested[1] = {NAN}, skipped[1] = {0.5};
    const float nan_gauge[1] = {NAN}, skipped_gauge[1] = {2};
    const struct {
        float got, y32;
        anx_verdict verdict;
    } rows[] = {
        {0.5f, 0.5f, ANX_VERDICT_WARN},
        {0.5f, NAN, ANX_VERDICT_WARN},
        {NAN, 0.5f, ANX_VERDICT_WARN},
        {0.5f + 30 * 0x1p-24f, NAN, ANX_VERDICT_WARN}, /* r = 15; the bound of 101 roundings is 40 */
        {0.5f + 90 * 0x1p-24f, NAN, ANX_VERDICT_FAIL},
        {0.25f, NAN, ANX_VERDICT_FAIL},
        {0.25f, 0.5f, ANX_VERDICT_FAIL},
        {0, 0.5f, ANX_VERDICT_FAIL},
        {INFINITY, 0.5f, ANX_VERDICT_FAIL},
        {INFINITY, NAN, ANX_VERDICT_FAIL},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        v = (anx_values){.extent = &one,
                         .batch = 1,
                         .got = &rows[i].got,
                         .y32 = &rows[i].y32,
                         .y64 = contested,
                         .gauge = nan_gauge,
                         .skipped = skipped,
                         .skipped_gauge = skipped_gauge};
        CU_ASSERT_EQUAL(judge(&rule, &v, &j), rows[i].verdict);
        anx_judged_fini(&j);
    }
    /* where no padding explains it, NaN alone is right, whatever PyTorch's value is said to be */
    v.got = v.y32 = &rows[0].got;
    v.skipped = NULL;
    v.skipped_gauge = NULL;
    CU_ASSERT_EQUAL(judge(&rule, &v, &j), ANX_VERDICT_FAIL);
    anx_judged_fini(&j);
    v.skipped = contested;
    v.skipped_gauge = nan_gauge;
    CU_ASSERT_EQUAL(judge(&rule, &v, &j), ANX_VERDICT_FAIL);
    anx_judged_fini(&j);
    /* beyond float32's range infinity is the right value */
    const double beyond[1] = {1e39};
    const float g_beyond[1] = {INFINITY};
    v = (anx_values){.extent = &one, .batch = 1, .got = got_big, .y64 = beyond, .gauge = g_beyond};
    CU_ASSERT_EQUAL(judge(&rule, &v, &j), ANX_VERDICT_PASS);
    anx_judged_fini(&j);
    /* the order decides whether a sum of such terms ends in infinity or, as here, in infinity less infinity */
    const float got_nan[1] = {NAN}, y32_nan[1] = {-INFINITY};
    v.got = got_nan;
    v.y32 = y32_nan;
    CU_ASSERT_EQUAL(judge(&rule, &v, &j), ANX_VERDICT_WARN);
    CU_ASSERT_EQUAL(j.versus[0].undecided, 1);
    CU_ASSERT_EQUAL(j.versus[1].undecided, 1);
    anx_judged_fini(&j);
    /* where a term is infinite nothing overflows: NaN is wrong */
    const double endless[1] = {INFINITY};
    v.y64 = endless;
    CU_ASSERT_EQUAL(judge(&rule, &v, &j), ANX_VERDICT_FAIL);
    anx_judged_fini(&j);
}

static void test_zeros_and_subnormals(void) {
    const anx_extent extent = {.rank = 1, .dim = {3}};
    const anx_rule rule = anx_rule_for_sum(100);
    anx_judged j;
    /* gauge 0: a sum of zeros; only 0 is right, of either sign */
    const double zero[3] = {0, 0, 0};
    const float no_gauge[3] = {0, 0, 0};
    float got[3] = {0, -0.0f, 0};
    anx_values v = {.extent = &extent, .batch = 1, .got = got, .y64 = zero, .gauge = no_gauge};
    CU_ASSERT_EQUAL(judge(&rule, &v, &j), ANX_VERDICT_PASS);
    anx_judged_fini(&j);
    got[2] = 1e-45f; /* the smallest subnormal */
    CU_ASSERT_EQUAL(judge(&rule, &v, &j), ANX_VERDICT_FAIL);
    anx_judged_fini(&j);

    /* gradual underflow is within the unit, flushing to zero is not */
    const double tiny[3] = {3e-40, -3e-40, 1e-42};
    const float tiny_gauge[3] = {4e-40f, 4e-40f, 4e-40f};
    float near[3] = {(float)(3e-40 + 0x1p-148), (float)-3e-40, (float)1e-42};
    v = (anx_values){.extent = &extent, .batch = 1, .got = near, .y64 = tiny, .gauge = tiny_gauge};
    CU_ASSERT_EQUAL(judge(&rule, &v, &j), ANX_VERDICT_PASS);
    CU_ASSERT_EQUAL(j.versus[0].subnormals, 3);
    anx_judged_fini(&j);
    memset(near, 0, sizeof near);
    CU_ASSERT_EQUAL(judge(&rule, &v, &j), ANX_VERDICT_FAIL);
    anx_judged_fini(&j);

    /* a whole sum among subnormals: every step rounds by as much as at its end */
    layer l = make_layer(3456, true);
    for (int i = 0; i < 3456 * OUTPUTS; i++) l.w[i] = ldexpf(l.w[i], -135);
    for (int o = 0; o < OUTPUTS; o++) {
        l.b[o] = ldexpf(l.b[o], -135);
        l.y64[o] = l.b[o];
        double g = fabs(l.b[o]);
        for (int i = 0; i < 3456; i++) {
            const double product = (double)l.w[o * 3456 + i] * (double)l.x[i];
            l.y64[o] += product;
            g += fabs(product);
        }
        l.gauge[o] = (float)g;
    }
    CU_ASSERT_EQUAL(judge_order(&l, FUSED, as_is, as_is, &j), ANX_VERDICT_PASS);
    CU_ASSERT_TRUE(j.versus[0].subnormals == OUTPUTS && j.versus[0].rms < 1);
    anx_judged_fini(&j);
    free_layer(&l);

    /* equality: signs of zeros count where bits are demanded, and are only counted elsewhere */
    const float expected[3] = {0, 1, 2}, other_zero[3] = {-0.0f, 1, 2}, nan_twice[3] = {NAN, 1, 2};
    anx_rule equal = anx_rule_for_equality(false), bits = anx_rule_for_equality(true);
    v = (anx_values){.extent = &extent, .batch = 1, .got = other_zero, .y32 = expected};
    CU_ASSERT_EQUAL(judge(&equal, &v, &j), ANX_VERDICT_PASS);
    CU_ASSERT_EQUAL(j.versus[0].zero_signs, 1);
    anx_judged_fini(&j);
    CU_ASSERT_EQUAL(judge(&bits, &v, &j), ANX_VERDICT_FAIL);
    anx_judged_fini(&j);
    v = (anx_values){.extent = &extent, .batch = 1, .got = nan_twice, .y32 = nan_twice};
    CU_ASSERT_EQUAL(judge(&bits, &v, &j), ANX_VERDICT_PASS);
    anx_judged_fini(&j);
    v.y32 = expected;
    CU_ASSERT_EQUAL(judge(&equal, &v, &j), ANX_VERDICT_FAIL);
    CU_ASSERT_EQUAL(j.versus[0].nonfinite, 1);
    anx_judged_fini(&j);
}

static void test_softmax(void) {
    enum { N = 1000 };
    static float logits[N], gauge[N], limit[N], p[N];
    static double p64[N];
    const anx_extent extent = {.rank = 1, .dim = {N}};
    anx_mt19937 gen;
    anx_mt19937_seed(&gen, 3);
    anx_mt19937_uniform_f32(&gen, N, -12, 12, logits);
    double sum64 = 0;
    float top = -INFINITY, sum = 0;
    for (int i = 0; i < N; i++) top = fmaxf(top, logits[i]);
    for (int i = 0; i < N; i++) sum64 += exp((double)logits[i] - top), sum += expf(logits[i] - top);
    for (int i = 0; i < N; i++) {
        p64[i] = exp((double)logits[i] - top) / sum64;
        p[i] = expf(logits[i] - top) / sum;
    }
    anx_softmax_bound(logits, 1, N, gauge, limit);
    double total = 0;
    for (int i = 0; i < N; i++) {
        CU_ASSERT_DOUBLE_EQUAL(gauge[i], p64[i], 1e-6 * p64[i]);
        CU_ASSERT_TRUE(limit[i] >= 11 && limit[i] < 200);
        total += gauge[i];
    }
    CU_ASSERT_DOUBLE_EQUAL(total, 1, 1e-5);
    const anx_rule rule = {
        .kind = ANX_BOUND_SOFTMAX, .limit_r = 1, .limit_rms = INFINITY, .warn_rms = INFINITY, .eta = 0x1p-126};
    anx_values v = {.extent = &extent, .batch = 1, .got = p, .y64 = p64, .gauge = gauge, .limit = limit};
    anx_judged j;
    CU_ASSERT_EQUAL(judge(&rule, &v, &j), ANX_VERDICT_PASS);
    CU_ASSERT_TRUE(j.versus[0].worst_fraction < 0.5);
    anx_judged_fini(&j);
    for (int i = 0; i < N; i++) p[i] = to_f16(p[i]);
    CU_ASSERT_EQUAL(judge(&rule, &v, &j), ANX_VERDICT_FAIL);
    anx_judged_fini(&j);
    for (int i = 0; i < N; i++) p[i] = to_tf32(expf(logits[i] - top)) / sum;
    CU_ASSERT_EQUAL(judge(&rule, &v, &j), ANX_VERDICT_FAIL);
    anx_judged_fini(&j);
}

static void test_node_rules(void) {
    anx_error err = ANX_ERROR_INIT;
    anx_graph *graph = NULL, *uneven = NULL;
    const anx_arch *arch = anx_arch_find("alexnet");
    ANX_CHECK_OK(anx_graph_create(arch, 0, 0, 0, &graph, &err), &err);
    ANX_CHECK_OK(anx_graph_create(arch, 0, 256, 256, &uneven, &err), &err);
    static const struct {
        const char *name;
        double h, limit; /* the limits of the eight layers, 4 sqrt(h) */
    } sums[] = {{"features.0", 364, 76.32},     {"features.3", 1601, 160.05},  {"features.6", 1729, 166.32},
                {"features.8", 3457, 235.18},   {"features.10", 2305, 192.04}, {"classifier.1", 9217, 384.02},
                {"classifier.4", 4097, 256.03}, {"classifier.6", 4097, 256.03}};
    for (size_t i = 0; i < sizeof sums / sizeof *sums; i++) {
        const anx_rule r = anx_rule_for_node(graph, anx_graph_find_node(graph, sums[i].name));
        CU_ASSERT_EQUAL(r.kind, ANX_BOUND_SUM);
        CU_ASSERT_EQUAL(r.h, sums[i].h);
        CU_ASSERT_DOUBLE_EQUAL(r.limit_r, sums[i].limit, 0.01);
    }
    CU_ASSERT_EQUAL(anx_rule_for_node(graph, anx_graph_find_node(graph, "features.1")).kind, ANX_BOUND_BITS);
    CU_ASSERT_EQUAL(anx_rule_for_node(graph, anx_graph_find_node(graph, "avgpool")).kind, ANX_BOUND_BITS);
    CU_ASSERT_EQUAL(anx_rule_for_node(graph, anx_graph_find_node(graph, "prob")).kind, ANX_BOUND_SOFTMAX);
    const anx_rule average = anx_rule_for_node(uneven, anx_graph_find_node(uneven, "avgpool"));
    CU_ASSERT_EQUAL(average.kind, ANX_BOUND_AVERAGE);
    CU_ASSERT_EQUAL(average.limit_r, 5); /* 2x2 windows: three additions, two divisions */
    anx_graph_destroy(graph);
    anx_graph_destroy(uneven);
}

/* Other arithmetics change the rule for sums of products alone. */
static void test_math_rules(void) {
    anx_error err = ANX_ERROR_INIT;
    anx_graph *graph = NULL;
    ANX_CHECK_OK(anx_graph_create(anx_arch_find("alexnet"), 0, 256, 256, &graph, &err), &err);
    static const struct {
        const char *name;
        anx_bound_kind kinds[3]; /* float32, tf32, fast */
    } rows[] = {{"features.3", {ANX_BOUND_SUM, ANX_BOUND_SUM_TF32, ANX_BOUND_SUM_FAST}},
                {"classifier.1", {ANX_BOUND_SUM, ANX_BOUND_SUM_TF32, ANX_BOUND_SUM_TF32}},
                {"features.1", {ANX_BOUND_BITS, ANX_BOUND_BITS, ANX_BOUND_BITS}},
                {"features.2", {ANX_BOUND_BITS, ANX_BOUND_BITS, ANX_BOUND_BITS}},
                {"avgpool", {ANX_BOUND_AVERAGE, ANX_BOUND_AVERAGE, ANX_BOUND_AVERAGE}},
                {"prob", {ANX_BOUND_SOFTMAX, ANX_BOUND_SOFTMAX, ANX_BOUND_SOFTMAX}}};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        for (int math = ANX_MATH_FLOAT32; math <= ANX_MATH_FAST; math++) {
            const anx_rule r =
                anx_rule_for_node_in(graph, anx_graph_find_node(graph, rows[i].name), (anx_math_mode)math);
            CU_ASSERT_EQUAL(r.kind, rows[i].kinds[math]);
        }
    anx_graph_destroy(graph);
}

/*
 * One product of two numbers that lose as much as can be cut off them is far beyond float32 and just within what is
 * proven of TF32. An error in the size of the plane's largest element is none where the norm over the plane counts.
 */
static void test_short_operands(void) {
    const anx_extent two = {.rank = 3, .dim = {1, 1, 2}};
    const double w = 1 + 0x1.ffep-11,
                 product = w * w; /* 1 and the 13 bits behind TF32's, which are ones, but the last */
    const double y64[2] = {product, 0x1p-20 * product};
    const float s[2] = {(float)(17697 * y64[0]), (float)(17697 * y64[1])}, gauge[2] = {(float)y64[0], (float)y64[1]};
    const float cut[2] = {1, 0x1p-20f}, as_large[2] = {1, 0x1p-11f};
    const anx_rule plain = anx_rule_for_sum(1), tf32 = anx_rule_in(plain, ANX_MATH_TF32, true),
                   fast = anx_rule_in(plain, ANX_MATH_FAST, true);
    anx_values v = {.extent = &two, .batch = 1, .got = cut, .y64 = y64, .gauge = gauge, .operands = s};
    anx_judged j;
    CU_ASSERT_EQUAL(judge(&plain, &v, &j), ANX_VERDICT_FAIL);
    anx_judged_fini(&j);
    CU_ASSERT_EQUAL(judge(&tf32, &v, &j), ANX_VERDICT_PASS);
    CU_ASSERT_TRUE(j.versus[0].worst_fraction > 0.99 && j.versus[0].worst_fraction < 1);
    anx_judged_fini(&j);
    v.got = as_large;
    CU_ASSERT_EQUAL(judge(&tf32, &v, &j), ANX_VERDICT_FAIL);
    anx_judged_fini(&j);
    CU_ASSERT_EQUAL(judge(&fast, &v, &j), ANX_VERDICT_PASS);
    anx_judged_fini(&j);
}

/* Tensor cores cut off what they add, which costs a sum twice what rounding does; and no more is let pass. */
static void test_cut_sums(void) {
    const anx_extent three = {.rank = 1, .dim = {3}};
    const double y64[3] = {1, 1, 1}, h = 101, most = 32784 + 2 * h;
    const float gauge[3] = {1, 1, 1}, s[3] = {17697, 17697, 17697};
    float got[3] = {1, 1, 1};
    const anx_rule plain = anx_rule_for_sum(100), tf32 = anx_rule_in(plain, ANX_MATH_TF32, true),
                   fast = anx_rule_in(plain, ANX_MATH_FAST, true);
    CU_ASSERT_EQUAL(tf32.limit_sum, 2 * plain.limit_r);
    CU_ASSERT_EQUAL(tf32.limit_rms, 2 * plain.limit_rms);
    CU_ASSERT_EQUAL(fast.limit_sum, 2 * plain.limit_r);
    CU_ASSERT_EQUAL(fast.limit_rms, 2 * plain.limit_rms);
    const anx_values v = {.extent = &three, .batch = 1, .got = got, .y64 = y64, .gauge = gauge, .operands = s};
    anx_judged j;
    got[1] = (float)(1 - (most - 0.1 * h) * 0x1p-24);
    CU_ASSERT_EQUAL(judge(&tf32, &v, &j), ANX_VERDICT_PASS);
    anx_judged_fini(&j);
    got[1] = (float)(1 - (most + 0.1 * h) * 0x1p-24);
    CU_ASSERT_EQUAL(judge(&tf32, &v, &j), ANX_VERDICT_FAIL);
    anx_judged_fini(&j);
}

static void test_carry(void) {
    anx_error err = ANX_ERROR_INIT;
    anx_graph *graph = NULL;
    ANX_CHECK_OK(anx_graph_create(anx_arch_find("narrow"), 0, 0, 0, &graph, &err), &err);
    const int relu = anx_graph_find_node(graph, "features.6"), pool = anx_graph_find_node(graph, "features.7");
    const size_t n = (size_t)anx_graph_node_elems(graph, relu), m = (size_t)anx_graph_node_elems(graph, pool);
    anx_mt19937 gen;
    anx_mt19937_seed(&gen, 11);
    float *noise = uniform(&gen, n, -1, 1), *gauge = uniform(&gen, n, 1, 2);
    double *y = malloc(n * sizeof *y), *y_relu = malloc(n * sizeof *y), *y_pool = malloc(m * sizeof *y);
    float *g_relu = malloc(n * sizeof *g_relu), *g_pool = malloc(m * sizeof *g_pool);
    for (size_t i = 0; i < n; i++) y[i] = noise[i];
    CU_ASSERT_TRUE(anx_carry_through(graph, relu, 1, y, gauge, y_relu, g_relu));
    CU_ASSERT_TRUE(anx_carry_through(graph, pool, 1, y_relu, g_relu, y_pool, g_pool));
    const anx_node *p = &graph->nodes[pool];
    const int64_t w = p->in.dim[2], h = p->in.dim[1];
    /* ceil_mode's last windows stick out of the plane */
    CU_ASSERT_TRUE((p->out.dim[2] - 1) * 2 + 3 > w);
    size_t at = 0;
    for (int64_t c = 0; c < p->out.dim[0]; c++)
        for (int64_t oh = 0; oh < p->out.dim[1]; oh++)
            for (int64_t ow = 0; ow < p->out.dim[2]; ow++, at++) {
                double most = 0, most_gauge = 0;
                for (int64_t i = oh * 2; i < h && i < oh * 2 + 3; i++)
                    for (int64_t k = ow * 2; k < w && k < ow * 2 + 3; k++) {
                        most = fmax(most, y[(c * h + i) * w + k]);
                        most_gauge = fmax(most_gauge, gauge[(c * h + i) * w + k]);
                    }
                CU_ASSERT_EQUAL(y_pool[at], most);
                CU_ASSERT_EQUAL(g_pool[at], (float)most_gauge);
            }
    CU_ASSERT_EQUAL(at, m);
    CU_ASSERT_FALSE(anx_carry_through(graph, anx_graph_find_node(graph, "avgpool"), 1, y, gauge, y_pool, g_pool));

    /* ties: one window per plane row pair gets two equal maxima */
    for (size_t i = 0; i < n; i++) noise[i] = (float)(i % 1000) * 0.001f - 2; /* all negative: no ties count */
    CU_ASSERT_EQUAL(anx_count_pool_ties(graph, pool, 1, noise), 0);
    noise[0] = noise[1] = 5; /* in the first window alone: columns 0 and 1 */
    CU_ASSERT_EQUAL(anx_count_pool_ties(graph, pool, 1, noise), 1);
    for (size_t i = 0; i < n; i++) noise[i] = 0; /* after a ReLU whole windows are 0: no ties worth counting */
    CU_ASSERT_EQUAL(anx_count_pool_ties(graph, pool, 1, noise), 0);
    free(noise), free(gauge), free(y), free(y_relu), free(y_pool), free(g_relu), free(g_pool);
    anx_graph_destroy(graph);
}

static void test_points(void) {
    CU_ASSERT_TRUE(anx_points_match(NULL, "features.0"));
    CU_ASSERT_TRUE(anx_points_match("", "features.0"));
    CU_ASSERT_TRUE(anx_points_match("features.*", "features.10"));
    CU_ASSERT_FALSE(anx_points_match("features.?", "features.10"));
    CU_ASSERT_TRUE(anx_points_match("crop, features.1 ,prob", "features.1"));
    CU_ASSERT_FALSE(anx_points_match("crop, features.1 ,prob", "features.10"));
    CU_ASSERT_TRUE(anx_points_match("class*.[46]", "classifier.6"));
    CU_ASSERT_FALSE(anx_points_match(",", "classifier.6"));
}

int main(int argc, char **argv) {
    static const anx_test tests[] = {
        {"float32 sums pass in every order", test_float32_passes},
        {"operands of fewer bits fail", test_reduced_precision_fails},
        {"one element beyond the bound fails and is named", test_one_wrong_element},
        {"r, RMS and slope are what their definitions say", test_units},
        {"NaN, infinity and overflow", test_not_finite},
        {"zeros and subnormals", test_zeros_and_subnormals},
        {"softmax has a bound of its own", test_softmax},
        {"each node's rule follows from its kind and terms", test_node_rules},
        {"other arithmetics change sums of products alone", test_math_rules},
        {"short operands are bounded, element by element or in the norm", test_short_operands},
        {"sums that are cut off have twice the room", test_cut_sums},
        {"truth and gauge pass through ReLU and pooling", test_carry},
        {"globs choose points", test_points},
        {NULL, NULL},
    };
    return anx_test_main("metrics", tests, argc, argv);
}
