/*
 * The fastest multiply-adds a processor has: enough independent chains to hide the latency. Included by one file for
 * each instruction set, compiled for it; VEC_BYTES is the size of its vectors.
 */
#include <math.h>

#include "tools/benchmark/limits.h"

typedef float vec __attribute__((vector_size(VEC_BYTES)));
enum { LANES = VEC_BYTES / (int)sizeof(float), CHAINS = 16 };

static inline __attribute__((always_inline)) double run_chains(long iterations, float *sink) {
    vec acc[CHAINS], sum = {0.0f};
    /* Opaque to the compiler, and such that the values stay near 1. */
    volatile float near_one = 0.999999f, near_zero = 1e-6f;
    const vec x = near_one + (vec){0.0f}, y = near_zero + (vec){0.0f};
    for (int c = 0; c < CHAINS; c++) acc[c] = (float)c * y;
    for (long i = 0; i < iterations; i++)
        for (int c = 0; c < CHAINS; c++) acc[c] = MULTIPLY_ADD(acc[c], x, y);
    for (int c = 0; c < CHAINS; c++) sum += acc[c];
    *sink = sum[0];
    return 2.0 * (double)iterations * CHAINS * LANES;
}
