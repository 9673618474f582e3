/*
 * log, sine and cosine as PyTorch's normal_ computes them where there is AVX2 (and on AVX-512 too), one lane, to the
 * bit: the single-precision functions of the Cephes library in the vector form of avx_mathfun, every multiplication
 * and addition contracted. The C library's differ in a third of the values. Without branches, so that loops over them
 * vectorise.
 *
 * Source: avx_mathfun.h (Julien Pommier, Giovanni Garberoglio; zlib licence) after Cephes (Stephen L. Moshier), as in
 * aten/src/ATen/native/cpu/avx_mathfun.h.
 */
#ifndef ANX_SRC_BASE_CEPHES_H
#define ANX_SRC_BASE_CEPHES_H

#include "src/base/sleef.h"

/* log(x) for normal x > 0. */
static inline float anx_cephes_log(float x) {
    const uint32_t bits = anx_bits_of_float(x);
    const float half_to_one = anx_float_of_bits((bits & 0x007fffffu) | 0x3f000000u);
    const int32_t below = half_to_one < 0.707106781186547524f;
    const float e = (float)((int32_t)(bits >> 23) - 126 - below);
    const float m = (half_to_one - 1.0f) + (below ? half_to_one : 0.0f), z = m * m;
    float y = 7.0376836292e-2f;
    y = anx_fma(y, m, -1.1514610310e-1f);
    y = anx_fma(y, m, 1.1676998740e-1f);
    y = anx_fma(y, m, -1.2420140846e-1f);
    y = anx_fma(y, m, 1.4249322787e-1f);
    y = anx_fma(y, m, -1.6668057665e-1f);
    y = anx_fma(y, m, 2.0000714765e-1f);
    y = anx_fma(y, m, -2.4999993993e-1f);
    y = anx_fma(y, m, 3.3333331174e-1f);
    y = anx_fma(y * m, z, e * -2.12194440e-4f);
    y = anx_fma(-z, 0.5f, y);
    return anx_fma(e, 0.693359375f, m + y);
}

/* Sine and cosine of x, 0 <= x < 8192. */
static inline void anx_cephes_sincos(float x, float *sine, float *cosine) {
    const int32_t octant = ((int32_t)(x * 1.27323954473516f) + 1) & ~1;
    const float j = (float)octant;
    float r = anx_fma(j, -0.78515625f, x);
    r = anx_fma(j, -2.4187564849853515625e-4f, r);
    r = anx_fma(j, -3.77489497744594108e-8f, r);
    const float z = r * r;
    float c = 2.443315711809948e-5f;
    c = anx_fma(c, z, -1.388731625493765e-3f);
    c = anx_fma(c, z, 4.166664568298827e-2f);
    c = anx_fma(c * z, z, -(z * 0.5f)) + 1.0f;
    float s = -1.9515295891e-4f;
    s = anx_fma(s, z, 8.3321608736e-3f);
    s = anx_fma(s, z, -1.6666654611e-1f);
    s = anx_fma(s * z, r, r);
    const int32_t even = (octant & 2) == 0;
    const uint32_t sine_sign = (uint32_t)(octant & 4) << 29, cosine_sign = (uint32_t)(~(octant - 2) & 4) << 29;
    *sine = anx_float_of_bits(anx_bits_of_float(even ? s : c) ^ sine_sign);
    *cosine = anx_float_of_bits(anx_bits_of_float(even ? c : s) ^ cosine_sign);
}

#endif
