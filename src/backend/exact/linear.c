#include "src/backend/exact/ops.h"

int64_t anx_exact_linear_chain(int64_t in) {
    enum { CHAIN = 192 };
    return in > CHAIN && in < 2 * CHAIN ? in / 2 : CHAIN;
}

void anx_exact_linear_interleave(const float *x, int64_t batch, int64_t in, int most, float *to, int threads) {
    enum { SPAN = 256 };
    for (int64_t n = 0; n < batch;) {
        const int64_t rows = anx_exact_part(batch, n, most), spans = (in + SPAN - 1) / SPAN;
        const float *from = x + n * in;
        float *tile = to + n * in;
#pragma omp parallel for num_threads(threads) schedule(static)
        for (int64_t span = 0; span < spans; span++) {
            const int64_t k1 = (span + 1) * SPAN < in ? (span + 1) * SPAN : in;
            for (int64_t k = span * SPAN; k < k1; k++)
                for (int64_t u = 0; u < rows; u++) tile[k * rows + u] = from[u * in + k];
        }
        n += rows;
    }
}

static float dot_in_lanes(const float *x, const float *w, int64_t in, int lanes, int64_t alone) {
    float sum[8] = {0};
    int64_t k = 0;
    for (; k < alone; k++) sum[0] += x[k] * w[k];
    for (; k + lanes <= in; k += lanes)
        for (int j = 0; j < lanes; j++) sum[j] += x[k + j] * w[k + j];
    for (int half = lanes / 2; half >= 1; half /= 2)
        for (int j = 0; j < half; j++) sum[j] += sum[j + half];
    for (; k < in; k++) sum[0] += x[k] * w[k];
    return sum[0];
}

void anx_exact_linear_few(const anx_exact_linear *linear, int threads) {
    const int64_t in = linear->in, out = linear->out, fours = out / 4 * 4;
    const int64_t alone = out == 1 && in >= 4 ? 4 : 0;
#pragma omp parallel for num_threads(threads) schedule(static) collapse(2)
    for (int64_t n = 0; n < linear->batch; n++)
        for (int64_t o = 0; o < out; o++) {
            const float *x = linear->x + n * in, *w = linear->weight + o * in;
            /* Constant arguments: the compiler makes one vector loop of each. */
            const float dot = o < fours || out == 1 ? dot_in_lanes(x, w, in, 4, alone) : dot_in_lanes(x, w, in, 8, 0);
            const float sum = linear->bias[o] + dot;
            linear->y[n * out + o] = linear->relu && sum < 0.0f ? 0.0f : sum;
        }
}
