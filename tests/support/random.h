/* Reproducible random numbers for tests (Steele, Lea and Flood's SplitMix64). */
#ifndef ANX_TESTS_SUPPORT_RANDOM_H
#define ANX_TESTS_SUPPORT_RANDOM_H

#include <stdint.h>

typedef struct test_random {
    uint64_t state;
} test_random;

static inline uint64_t test_random_bits(test_random *r) {
    uint64_t z = r->state += 0x9e3779b97f4a7c15u;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

/* Uniform in lo .. hi, both included. */
static inline int64_t test_random_int(test_random *r, int64_t lo, int64_t hi) {
    return lo + (int64_t)(test_random_bits(r) % (uint64_t)(hi - lo + 1));
}

/* Roughly normal with mean 0 and variance 1, in steps of 2^-20 or so: a sum of twelve uniforms less six. */
static inline float test_random_normal(test_random *r) {
    double sum = -6.0;
    for (int i = 0; i < 12; i++) sum += (double)(test_random_bits(r) >> 11) * 0x1p-53;
    return (float)sum;
}

#endif
