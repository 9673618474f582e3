#include "src/backend/dnnl/loops.h"

#include <math.h>
#include <string.h>

anx_dnnl_isa anx_dnnl_best_isa(void) {
#ifdef __x86_64__
    if (__builtin_cpu_supports("avx512f")) return ANX_DNNL_AVX512;
    if (__builtin_cpu_supports("avx2")) return ANX_DNNL_AVX2;
#endif
    return ANX_DNNL_PORTABLE;
}

static anx_dnnl_pool_row_fn *row_function(anx_dnnl_isa isa) {
    switch (isa) {
#ifdef __x86_64__
    case ANX_DNNL_AVX512: return anx_dnnl_pool_row_avx512;
    case ANX_DNNL_AVX2: return anx_dnnl_pool_row_avx2;
#endif
    default: return anx_dnnl_pool_row_portable;
    }
}

void anx_dnnl_pooling_run(const anx_dnnl_pooling *pooling, const float *src, float *dst) {
    anx_dnnl_pool_row_fn *const row = row_function(pooling->isa);
    const int64_t rows = pooling->batch * pooling->out_h;
#pragma omp parallel for schedule(static)
    for (int64_t i = 0; i < rows; i++) row(pooling, src, dst, i / pooling->out_h, i % pooling->out_h);
}

/* Below this many elements, starting the other threads costs more than they save. */
static const size_t parallel_elems = 1 << 14;

void anx_dnnl_relu_run(const float *src, float *dst, size_t elems) {
#pragma omp parallel for schedule(static) if (elems >= parallel_elems)
    for (size_t i = 0; i < elems; i++) dst[i] = src[i] < 0.0f ? 0.0f : src[i];
}

static void softmax_row(const float *x, float *y, int64_t features) {
    double max = -INFINITY, sum = 0.0;
    for (int64_t i = 0; i < features; i++) max = (double)x[i] > max ? (double)x[i] : max;
    for (int64_t i = 0; i < features; i++) sum += exp((double)x[i] - max);
    for (int64_t i = 0; i < features; i++) y[i] = (float)(exp((double)x[i] - max) / sum);
}

void anx_dnnl_softmax_run(const float *src, float *dst, int64_t rows, int64_t features) {
#pragma omp parallel for schedule(static) if (rows > 1)
    for (int64_t i = 0; i < rows; i++) softmax_row(src + i * features, dst + i * features, features);
}

float anx_dnnl_max_magnitude(const float *x, size_t elems) {
    /* Without its sign, a float's bits order as integers do, with infinity above all numbers and NaN above that. */
    int32_t max = 0;
#pragma omp parallel for schedule(static) reduction(max : max) if (elems >= parallel_elems)
    for (size_t i = 0; i < elems; i++) {
        int32_t bits;
        memcpy(&bits, &x[i], sizeof bits);
        bits &= INT32_MAX;
        if (bits > max) max = bits;
    }
    float magnitude;
    memcpy(&magnitude, &max, sizeof magnitude);
    return magnitude;
}
