/*
 * The kernels for any machine, without a fused multiply-add in hardware: fmaf is made from double arithmetic, which
 * is several times faster than a call of the C library's for each term, and gives the same bits.
 */
#include <stdint.h>
#include <string.h>

typedef float vec __attribute__((vector_size(16)));
typedef double vec_double __attribute__((vector_size(16)));
typedef int64_t vec_bits __attribute__((vector_size(16)));
typedef int32_t vec_mask __attribute__((vector_size(16)));
enum { VEC_LANES = 4, TILE_VECS = 4, TILE_COLUMNS = 1 };

static inline vec vec_load(const float *p) {
    vec v;
    memcpy(&v, p, sizeof v);
    return v;
}

static inline void vec_store(float *p, vec v) {
    memcpy(p, &v, sizeof v);
}

static inline vec vec_set1(float f) {
    return (vec){f, f, f, f};
}

/*
 * The product of two floats is exact in double. Their sum with c is rounded to odd: where it is not exact (by
 * Knuth's TwoSum) and its last bit is even, it is moved to the odd neighbour on the other side of the true value.
 * Rounding that to float then rounds once (Boldo and Melquiond, "Emulation of FMA and correctly rounded sums: proved
 * algorithms using rounding to odd", 2008), subnormals included, since a double has more than two bits to spare.
 */
static inline vec_double fma_rounded_to_odd(vec_double a, vec_double b, vec_double c) {
    const vec_double p = a * b, s = p + c, t = s - p, error = (p - (s - t)) + (c - t);
    const vec_double zero = {0.0, 0.0};
    const vec_bits inexact = (vec_bits)(error < zero) | (vec_bits)(error > zero); /* not where s is Inf or NaN */
    const vec_bits even = (((vec_bits)s) & 1) - 1;
    const vec_bits smaller = (vec_bits)((error < zero) ^ (s < zero)); /* |true value| < |s| */
    return (vec_double)((vec_bits)s + ((smaller | 1) & inexact & even));
}

static inline vec_double low_half(vec v) {
    return (vec_double){(double)v[0], (double)v[1]};
}

static inline vec_double high_half(vec v) {
    return (vec_double){(double)v[2], (double)v[3]};
}

static inline vec vec_fma(vec a, vec b, vec c) {
    const vec_double low = fma_rounded_to_odd(low_half(a), low_half(b), low_half(c));
    const vec_double high = fma_rounded_to_odd(high_half(a), high_half(b), high_half(c));
    return (vec){(float)low[0], (float)low[1], (float)high[0], (float)high[1]};
}

/* y < 0 gives +0; -0 and NaN stay. */
static inline vec vec_relu(vec v) {
    const vec zero = {0.0f, 0.0f, 0.0f, 0.0f};
    return (vec)((vec_mask)v & ~(vec_mask)(v < zero));
}

/* The greater one, m where they are equal; v where v is NaN. */
static inline vec vec_pool(vec m, vec v) {
    const vec_mask takes_v = (vec_mask)(v > m) | (vec_mask)(v != v);
    return (vec)(((vec_mask)v & takes_v) | ((vec_mask)m & ~takes_v));
}

/* `here` where vec_pool takes v, else `at`. */
static inline vec vec_pool_place(vec m, vec v, vec at, vec here) {
    const vec_mask takes_v = (vec_mask)(v > m) | (vec_mask)(v != v);
    return (vec)(((vec_mask)here & takes_v) | ((vec_mask)at & ~takes_v));
}

static inline vec vec_rows(const float *p, long stride) {
    (void)stride;
    return vec_load(p);
}

static inline vec vec_unpack_low(vec a, vec b) {
    return (vec){a[0], b[0], a[1], b[1]};
}

static inline vec vec_unpack_high(vec a, vec b) {
    return (vec){a[2], b[2], a[3], b[3]};
}

static inline vec vec_pair_low(vec a, vec b) {
    return (vec){a[0], a[1], b[0], b[1]};
}

static inline vec vec_pair_high(vec a, vec b) {
    return (vec){a[2], a[3], b[2], b[3]};
}

#define KERNELS anx_exact_kernels_portable
#define KERNELS_ISA "portable"
#include "src/backend/exact/kernels_body.h"
