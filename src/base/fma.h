/*
 * a*b + c rounded once, in a form that loops over it are vectorised whatever a file is compiled for: the hardware's
 * instruction where there is one, else double arithmetic, several times faster than the C library's fmaf. The bits are
 * the same.
 */
#ifndef ANX_SRC_BASE_FMA_H
#define ANX_SRC_BASE_FMA_H

#include <math.h>
#include <stdint.h>
#include <string.h>

/*
 * The product of two floats is exact in double. Its sum with c is rounded to odd: where it is not exact (by Knuth's
 * TwoSum) and its last bit is even, it moves to the odd neighbour on the other side of the true value. Rounding that
 * to float rounds once, subnormals included (Boldo and Melquiond, "Emulation of FMA and correctly rounded sums: proved
 * algorithms using rounding to odd", 2008).
 */
static inline float anx_fma_by_double(float a, float b, float c) {
    const double product = (double)a * (double)b, term = (double)c, sum = product + term, t = sum - product;
    const double error = (product - (sum - t)) + (term - t);
    int64_t bits;
    memcpy(&bits, &sum, sizeof bits);
    const int64_t inexact = -(int64_t)((error < 0.0) | (error > 0.0)); /* not where the sum is infinite or NaN */
    const int64_t even = (bits & 1) - 1, smaller = -(int64_t)((error < 0.0) != (sum < 0.0));
    bits += (smaller | 1) & inexact & even;
    double odd;
    memcpy(&odd, &bits, sizeof odd);
    return (float)odd;
}

static inline float anx_fma(float a, float b, float c) {
#if defined(FP_FAST_FMAF) || defined(__FMA__)
    return __builtin_fmaf(a, b, c);
#else
    return anx_fma_by_double(a, b, c);
#endif
}

#endif
