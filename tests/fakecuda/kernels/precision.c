#include "tests/fakecuda/kernels/precision.h"

#include <math.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "tests/fakecuda/core/report.h"

float *fake_floats(size_t n) {
    float *p = malloc((n != 0 ? n : 1) * sizeof *p);
    if (p == NULL) fake_misuse("kernel", "out of memory");
    return p;
}

/* To the nearest, ties to even. */
static float to_tf32(float x) {
    uint32_t bits;
    memcpy(&bits, &x, sizeof bits);
    if ((bits & 0x7f800000u) == 0x7f800000u) return x; /* infinite or NaN */
    bits += 0x0fffu + (bits >> 13 & 1u);
    bits &= ~0x1fffu;
    memcpy(&x, &bits, sizeof x);
    return x;
}

static uint64_t mix(uint64_t x) {
    x += 0x9e3779b97f4a7c15u;
    x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9u;
    x = (x ^ x >> 27) * 0x94d049bb133111ebu;
    return x ^ x >> 31;
}

/* In [-1, 1). */
static float uniform(uint64_t seed, size_t i) {
    return (float)(int64_t)(mix(seed ^ (uint64_t)i * 0x9e3779b97f4a7c15u) >> 40) * 0x1p-23f - 1.0f;
}

float *fake_degraded(const float *p, size_t n, const fake_precision *precision) {
    if (!precision->tf32 && !precision->winograd) return NULL;
    float *copy = fake_floats(n);
    const bool tf32 = precision->tf32, winograd = precision->winograd;
#pragma omp parallel for
    for (size_t i = 0; i < n; i++) {
        const float x = winograd ? p[i] * (1.0f + 0x1p-14f * uniform(1, i)) : p[i];
        copy[i] = tf32 ? to_tf32(x) : x;
    }
    return copy;
}

void fake_add_noise(float *p, size_t n) {
    uint64_t seed = 0;
    if (getrandom(&seed, sizeof seed, 0) != (ssize_t)sizeof seed) fake_misuse("kernel", "no random numbers");
#pragma omp parallel for
    for (size_t i = 0; i < n; i++) p[i] *= 1.0f + 1e-5f * uniform(seed, i);
}
