/* One sum of products and a bias, in any order and precision. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "tests/faults/plain_sum.h"
#include "tests/support/random.h"
#include "tests/support/rounded_device.h"

float plain_round(float v, plain_format format) {
    switch (format) {
    case FORMAT_F32: return v;
    case FORMAT_TF32: return rounded_tf32(v);
    case FORMAT_F16: return rounded_f16(v);
    case FORMAT_BF16: return rounded_bf16(v);
    case FORMAT_TF32_CUT: return rounded_tf32_cut(v);
    }
    return v;
}

/* A double to float32 with what does not fit cut off. */
static float truncated(double v) {
    const float f = (float)v;
    return fabs((double)f) > fabs(v) ? nextafterf(f, 0.0f) : f;
}

static float add(const plain_sum *s, float a, float b) {
    const float sum = s->truncate ? truncated((double)a + (double)b) : a + b;
    return plain_round(sum, s->accumulator);
}

static float chain(const plain_sum *s, float start, const float *x, const float *w, const int *index, int64_t n) {
    float sum = start;
    for (int64_t k = 0; k < n; k++) {
        const int64_t i = index != NULL ? index[k] : k;
        if (s->order == ORDER_FMA)
            sum = fmaf(x[i], w[i], sum);
        else if (s->truncate)
            sum = truncated((double)sum + (double)x[i] * (double)w[i]);
        else
            sum = plain_round(sum + x[i] * w[i], s->accumulator);
    }
    return sum;
}

static float pairwise(const plain_sum *s, const float *x, const float *w, int64_t n) {
    if (n <= 2) return chain(s, 0.0f, x, w, NULL, n);
    const int64_t half = n / 2; /* depth is log2(n) of a length known to be small */
    return add(s, pairwise(s, x, w, half), pairwise(s, x + half, w + half, n - half));
}

enum { MAX_LANES = 64 };

static float lanes(const plain_sum *s, const float *x, const float *w, int64_t n) {
    float part[MAX_LANES] = {0};
    for (int64_t k = 0; k < n; k++) part[k % s->width] += x[k] * w[k];
    for (int half = s->width / 2; half > 0; half /= 2)
        for (int i = 0; i < half; i++) part[i] += part[i + half];
    return part[0];
}

static float blocks(const plain_sum *s, const float *x, const float *w, int64_t n) {
    float sum = 0.0f;
    for (int64_t k = 0; k < n; k += s->width)
        sum = add(s, sum, chain(s, 0.0f, x + k, w + k, NULL, n - k < s->width ? n - k : s->width));
    return sum;
}

static float in_double(const float *x, const float *w, int64_t n, float bias) {
    double sum = 0.0;
    for (int64_t k = 0; k < n; k++) sum += (double)x[k] * (double)w[k];
    return (float)(sum + (double)bias);
}

float plain_sum_terms(const plain_sum *s, const plain_terms *t, float bias) {
    switch (s->order) {
    case ORDER_SEQUENTIAL:
    case ORDER_TILES: /* where tiles do not apply */
    case ORDER_FMA: return add(s, chain(s, 0.0f, t->x, t->w, NULL, t->n), bias);
    case ORDER_BIAS_FIRST: return chain(s, bias, t->x, t->w, NULL, t->n);
    case ORDER_REVERSED:
    case ORDER_PERMUTED:
    case ORDER_CHANNELS_LAST: return add(s, chain(s, 0.0f, t->x, t->w, t->index, t->n), bias);
    case ORDER_PAIRWISE: return add(s, pairwise(s, t->x, t->w, t->n), bias);
    case ORDER_LANES: return add(s, lanes(s, t->x, t->w, t->n), bias);
    case ORDER_BLOCKS: return add(s, blocks(s, t->x, t->w, t->n), bias);
    case ORDER_DOUBLE: return in_double(t->x, t->w, t->n, bias);
    }
    return NAN;
}

static void permute(int *index, int64_t n) {
    test_random r = {.state = (uint64_t)n};
    for (int64_t k = n - 1; k > 0; k--) {
        const int64_t j = test_random_int(&r, 0, k);
        const int kept = index[k];
        index[k] = index[j];
        index[j] = kept;
    }
}

void plain_terms_init(plain_terms *t, const plain_sum *s, int64_t n, int64_t taps) {
    *t = (plain_terms){.n = n};
    t->x = malloc((size_t)n * sizeof *t->x);
    t->w = malloc((size_t)n * sizeof *t->w);
    t->index = malloc((size_t)n * sizeof *t->index);
    if (t->x == NULL || t->w == NULL || t->index == NULL) abort();
    for (int64_t k = 0; k < n; k++) t->index[k] = (int)(s->order == ORDER_REVERSED ? n - 1 - k : k);
    if (s->order == ORDER_PERMUTED) permute(t->index, n);
    if (s->order == ORDER_CHANNELS_LAST)
        for (int64_t k = 0; k < n; k++) t->index[k] = (int)(k % (n / taps) * taps + k / (n / taps));
}

void plain_terms_fini(plain_terms *t) {
    free(t->x);
    free(t->w);
    free(t->index);
}
