/* The kernels for AVX-512F. */
#if defined(__x86_64__)
#include <immintrin.h>

typedef __m512 vec;
enum { VEC_LANES = 16, TILE_VECS = 2, TILE_COLUMNS = 14 };

static inline vec vec_load(const float *p) {
    return _mm512_loadu_ps(p);
}

static inline void vec_store(float *p, vec v) {
    _mm512_storeu_ps(p, v);
}

static inline vec vec_set1(float f) {
    return _mm512_set1_ps(f);
}

static inline vec vec_fma(vec a, vec b, vec c) {
    return _mm512_fmadd_ps(a, b, c);
}

/* y < 0 gives +0; -0 and NaN stay. */
static inline vec vec_relu(vec v) {
    return _mm512_mask_blend_ps(_mm512_cmp_ps_mask(v, _mm512_setzero_ps(), _CMP_LT_OQ), v, _mm512_setzero_ps());
}

/* The greater one, m where they are equal; v where v is NaN. */
static inline vec vec_pool(vec m, vec v) {
    const __mmask16 takes_v = _mm512_cmp_ps_mask(v, m, _CMP_GT_OQ) | _mm512_cmp_ps_mask(v, v, _CMP_UNORD_Q);
    return _mm512_mask_blend_ps(takes_v, m, v);
}

/* `here` where vec_pool takes v, else `at`. */
static inline vec vec_pool_place(vec m, vec v, vec at, vec here) {
    const __mmask16 takes_v = _mm512_cmp_ps_mask(v, m, _CMP_GT_OQ) | _mm512_cmp_ps_mask(v, v, _CMP_UNORD_Q);
    return _mm512_mask_blend_ps(takes_v, at, here);
}

static inline vec vec_rows(const float *p, long stride) {
    vec v = _mm512_castps128_ps512(_mm_loadu_ps(p));
    v = _mm512_insertf32x4(v, _mm_loadu_ps(p + stride), 1);
    v = _mm512_insertf32x4(v, _mm_loadu_ps(p + 2 * stride), 2);
    return _mm512_insertf32x4(v, _mm_loadu_ps(p + 3 * stride), 3);
}

static inline vec vec_unpack_low(vec a, vec b) {
    return _mm512_unpacklo_ps(a, b);
}

static inline vec vec_unpack_high(vec a, vec b) {
    return _mm512_unpackhi_ps(a, b);
}

static inline vec vec_pair_low(vec a, vec b) {
    return _mm512_shuffle_ps(a, b, 0x44);
}

static inline vec vec_pair_high(vec a, vec b) {
    return _mm512_shuffle_ps(a, b, 0xEE);
}

#define KERNELS anx_exact_kernels_avx512
#define KERNELS_ISA "AVX-512"
#include "src/backend/exact/kernels_body.h"
#else
typedef int anx_exact_has_no_such_kernels; /* a source must not be empty */
#endif
