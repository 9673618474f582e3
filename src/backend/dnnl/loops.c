#include "src/backend/dnnl/loops.h"

#include <math.h>
#include <string.h>

static const anx_dnnl_loops *loops_for(anx_isa isa) {
    switch (isa) {
#ifdef __x86_64__
    case ANX_ISA_AVX512: return &anx_dnnl_loops_avx512;
    case ANX_ISA_AVX2: return &anx_dnnl_loops_avx2;
#endif
    default: return &anx_dnnl_loops_portable;
    }
}

void anx_dnnl_pooling_run(const anx_dnnl_pooling *pooling, const float *src, float *dst) {
    const anx_dnnl_loops *loops = loops_for(pooling->isa);
    /* Each thread works through whole planes as far as it can: the order in which they lie in memory. */
    const int64_t blocks = pooling->src.padded_channels / pooling->src.block, rows = pooling->out_h;
#pragma omp parallel for schedule(static) collapse(3)
    for (int64_t n = 0; n < pooling->batch; n++)
        for (int64_t block = 0; block < blocks; block++)
            for (int64_t oh = 0; oh < rows; oh++) loops->pool_row(pooling, src, dst, n, block, oh);
}

void anx_dnnl_pooling_run_tracked(const anx_dnnl_pooling *pooling, const float *src, float *dst, int32_t *winners) {
    const anx_dnnl_loops *loops = loops_for(pooling->isa);
    const int64_t blocks = pooling->src.padded_channels / pooling->src.block, rows = pooling->out_h;
#pragma omp parallel for schedule(static) collapse(3)
    for (int64_t n = 0; n < pooling->batch; n++)
        for (int64_t block = 0; block < blocks; block++)
            for (int64_t oh = 0; oh < rows; oh++) loops->pool_row_tracked(pooling, src, dst, winners, n, block, oh);
}

/* Below this many elements, starting the other threads costs more than they save. */
static const size_t parallel_elems = 1 << 14;

void anx_dnnl_relu_run(const float *src, float *dst, size_t elems) {
#pragma omp parallel for schedule(static) if (elems >= parallel_elems)
    for (size_t i = 0; i < elems; i++) dst[i] = src[i] < 0.0f ? 0.0f : src[i];
}

void anx_dnnl_relu_run_backward(const float *dst_grad, const float *dst, float *src_grad, size_t elems, anx_isa isa) {
    const anx_dnnl_loops *loops = loops_for(isa);
    const size_t piece = parallel_elems, pieces = (elems + piece - 1) / piece;
#pragma omp parallel for schedule(static) if (pieces > 1)
    for (size_t i = 0; i < pieces; i++) {
        const size_t from = i * piece, left = elems - from;
        loops->relu_backward(dst_grad + from, dst + from, src_grad + from, left < piece ? left : piece);
    }
}

void anx_dnnl_multiply_run(const float *a, const float *b, float *y, size_t elems) {
#pragma omp parallel for schedule(static) if (elems >= parallel_elems)
    for (size_t i = 0; i < elems; i++) y[i] = a[i] * b[i];
}

void anx_dnnl_add_run(const float *x, float *y, size_t elems) {
#pragma omp parallel for schedule(static) if (elems >= parallel_elems)
    for (size_t i = 0; i < elems; i++) y[i] += x[i];
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

static void softmax_row_backward(const float *dy, const float *y, float *dx, int64_t features) {
    double sum = 0.0;
    for (int64_t i = 0; i < features; i++) sum += (double)dy[i] * (double)y[i];
    for (int64_t i = 0; i < features; i++) dx[i] = (float)((double)y[i] * ((double)dy[i] - sum));
}

void anx_dnnl_softmax_run_backward(const float *dst_grad, const float *dst, float *src_grad, int64_t rows,
                                   int64_t features) {
#pragma omp parallel for schedule(static) if (rows > 1)
    for (int64_t i = 0; i < rows; i++)
        softmax_row_backward(dst_grad + i * features, dst + i * features, src_grad + i * features, features);
}

float anx_dnnl_max_magnitude(const float *x, size_t elems, anx_isa isa) {
    const anx_dnnl_loops *loops = loops_for(isa);
    const size_t piece = parallel_elems, pieces = (elems + piece - 1) / piece;
    int32_t max = 0;
#pragma omp parallel for schedule(static) reduction(max : max) if (pieces > 1)
    for (size_t i = 0; i < pieces; i++) {
        const size_t from = i * piece, left = elems - from;
        const int32_t bits = loops->max_magnitude_bits(x + from, left < piece ? left : piece);
        if (bits > max) max = bits;
    }
    float magnitude;
    memcpy(&magnitude, &max, sizeof magnitude);
    return magnitude;
}

void anx_dnnl_linear_run(const anx_dnnl_linear *linear, const float *weights, const float *bias, const float *x,
                         float *y) {
    const anx_dnnl_loops *loops = loops_for(linear->isa);
    const int64_t in = linear->in, out = linear->out;
#pragma omp parallel for schedule(static)
    for (int64_t o = 0; o < out; o++)
        for (int64_t n = 0; n < linear->batch; n++)
            y[n * out + o] = loops->dot(weights + o * in, x + n * in, in) + (bias != NULL ? bias[o] : 0.0f);
}
