#include <math.h>
#include <string.h>

#include "src/backend/exact/ops.h"

/* 2^e for -126 <= e <= 127. */
static float power_of_two(int e) {
    const uint32_t bits = (uint32_t)(e + 127) << 23;
    float f;
    memcpy(&f, &bits, sizeof f);
    return f;
}

/* Sleef_expf16_u10, one lane, for x <= 0 or NaN: what Vectorized<float>::exp calls. */
static float exp_u10(float x) {
    if (x < -104.0f) return 0.0f;
    if (isnan(x)) return x;
    const float q = rintf(x * 1.442695040888963407359924681001892137426645954152985934135449406931f);
    float s = fmaf(q, -0.693145751953125f, x);
    s = fmaf(q, -1.428606765330187045e-06f, s);
    float p = 0.000198527617612853646278381f;
    p = fmaf(p, s, 0.00139304355252534151077271f);
    p = fmaf(p, s, 0.00833336077630519866943359f);
    p = fmaf(p, s, 0.0416664853692054748535156f);
    p = fmaf(p, s, 0.166666671633720397949219f);
    p = fmaf(p, s, 0.5f);
    const int e = (int)q, half = e >> 1;
    return (1.0f + fmaf(s * s, p, s)) * power_of_two(half) * power_of_two(e - half);
}

static float lane_sum(const float *e, int64_t columns) {
    enum { LANES = 16 };
    float lane[LANES];
    if (columns < LANES) {
        float sum = e[0];
        for (int64_t i = 1; i < columns; i++) sum += e[i];
        return sum;
    }
    memcpy(lane, e, sizeof lane);
    for (int64_t i = LANES; i < columns; i++) lane[i % LANES] += e[i];
    for (int half = LANES / 2; half >= 1; half /= 2)
        for (int j = 0; j < half; j++) lane[j] += lane[j + half];
    return lane[0];
}

void anx_exact_softmax(const float *x, float *y, int64_t columns) {
    float m = x[0];
    for (int64_t i = 1; i < columns; i++) m = x[i] > m || isnan(x[i]) ? x[i] : m;
    for (int64_t i = 0; i < columns; i++) y[i] = exp_u10(x[i] - m);
    const float scale = 1.0f / lane_sum(y, columns);
    for (int64_t i = 0; i < columns; i++) y[i] *= scale;
}

void anx_exact_softmax_back(const float *y, const float *dy, float *dx, int64_t columns) {
    for (int64_t i = 0; i < columns; i++) dx[i] = dy[i] * y[i];
    const float sum = lane_sum(dx, columns);
    for (int64_t i = 0; i < columns; i++) dx[i] = (dy[i] - sum) * y[i];
}
