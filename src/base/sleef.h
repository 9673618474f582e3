/*
 * exp and log as PyTorch's vectorised CPU kernels compute them: SLEEF's Sleef_expf16_u10 and Sleef_logf16_u10, one
 * lane, to the bit. (2.3 % of the exponentials and 0.2 % of the logarithms are not the nearest float, so that the C
 * library will not do.) Without branches, so that loops over them vectorise.
 *
 * Source: SLEEF 3 (Naoki Shibata and contributors; Boost Software License 1.0), src/libm/sleefsimdsp.c.
 */
#ifndef ANX_SRC_BASE_SLEEF_H
#define ANX_SRC_BASE_SLEEF_H

#include <math.h>

#include "src/base/fma.h"

static inline float anx_float_of_bits(uint32_t bits) {
    float f;
    memcpy(&f, &bits, sizeof f);
    return f;
}

static inline uint32_t anx_bits_of_float(float f) {
    uint32_t bits;
    memcpy(&bits, &f, sizeof bits);
    return bits;
}

/* 2^e for -126 <= e <= 127. */
static inline float anx_power_of_two(int32_t e) {
    return anx_float_of_bits((uint32_t)(e + 127) << 23);
}

/* exp(x) for any x. */
static inline float anx_sleef_exp(float x) {
    const float inside = x >= -104.0f && x <= 100.0f ? x : 0.0f;
    const float to_integer = 0x1.8p23f; /* rounds to nearest even where |q| < 2^22 */
    const float q =
        (inside * 1.442695040888963407359924681001892137426645954152985934135449406931f + to_integer) - to_integer;
    float s = anx_fma(q, -0.693145751953125f, inside);
    s = anx_fma(q, -1.428606765330187045e-06f, s);
    float p = 0.000198527617612853646278381f;
    p = anx_fma(p, s, 0.00139304355252534151077271f);
    p = anx_fma(p, s, 0.00833336077630519866943359f);
    p = anx_fma(p, s, 0.0416664853692054748535156f);
    p = anx_fma(p, s, 0.166666671633720397949219f);
    p = anx_fma(p, s, 0.5f);
    const int32_t e = (int32_t)q, half = e >> 1;
    const float y = (1.0f + anx_fma(s * s, p, s)) * anx_power_of_two(half) * anx_power_of_two(e - half);
    const float finite = x < -104.0f ? 0.0f : x > 100.0f ? INFINITY : y;
    return x != x ? x : finite;
}

/* log(x) for x from 1 to 2^127, and NaN. */
static inline float anx_sleef_log(float x) {
    const float scaled = x * (1.0f / 0.75f);
    const int32_t exponent = (int32_t)(anx_bits_of_float(scaled) >> 23 & 0xff) - 127;
    const float e = (float)exponent, m = x * anx_power_of_two(-exponent > -127 ? -exponent : -126);
    /* e * ln 2 in two floats */
    const float ln2_high = 0.69314718246459960938f, ln2_low = -1.904654323148236017e-09f;
    const float s_high = ln2_high * e, s_low = anx_fma(ln2_low, e, anx_fma(ln2_high, e, -s_high));
    /* (m - 1) / (m + 1) in two floats */
    const float n_high = -1.0f + m, n_part = n_high - -1.0f, n_low = (-1.0f - (n_high - n_part)) + (m - n_part);
    const float d_high = 1.0f + m, d_part = d_high - 1.0f, d_low = (1.0f - (d_high - d_part)) + (m - d_part);
    const float t = 1.0f / d_high, q = n_high * t;
    const float v = anx_fma(-d_low, t, anx_fma(-d_high, t, 1.0f));
    const float q_low = anx_fma(q, v, anx_fma(n_low, t, anx_fma(t, n_high, -q)));
    const float x2 = q * q;
    const float p = anx_fma(anx_fma(0.3027294874f, x2, 0.3996108174f), x2, 0.6666694880f), w = x2 * q * p;
    const float a = s_high + 2.0f * q, b = (((s_high - a) + 2.0f * q) + s_low) + 2.0f * q_low;
    const float c = a + w;
    const float y = c + (((a - c) + w) + b);
    return x != x ? x : y;
}

#endif
