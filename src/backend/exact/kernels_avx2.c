/* The kernels for AVX2 with FMA. */
#if defined(__x86_64__)
#include <immintrin.h>

typedef __m256 vec;
enum { VEC_LANES = 8, TILE_VECS = 2, TILE_COLUMNS = 6 };

static inline vec vec_load(const float *p) {
    return _mm256_loadu_ps(p);
}

static inline void vec_store(float *p, vec v) {
    _mm256_storeu_ps(p, v);
}

static inline vec vec_set1(float f) {
    return _mm256_set1_ps(f);
}

static inline vec vec_fma(vec a, vec b, vec c) {
    return _mm256_fmadd_ps(a, b, c);
}

/* y < 0 gives +0; -0 and NaN stay. */
static inline vec vec_relu(vec v) {
    return _mm256_andnot_ps(_mm256_cmp_ps(v, _mm256_setzero_ps(), _CMP_LT_OQ), v);
}

/* The greater one, m where they are equal; v where v is NaN. */
static inline vec vec_pool(vec m, vec v) {
    const vec takes_v = _mm256_or_ps(_mm256_cmp_ps(v, m, _CMP_GT_OQ), _mm256_cmp_ps(v, v, _CMP_UNORD_Q));
    return _mm256_blendv_ps(m, v, takes_v);
}

/* `here` where vec_pool takes v, else `at`. */
static inline vec vec_pool_place(vec m, vec v, vec at, vec here) {
    const vec takes_v = _mm256_or_ps(_mm256_cmp_ps(v, m, _CMP_GT_OQ), _mm256_cmp_ps(v, v, _CMP_UNORD_Q));
    return _mm256_blendv_ps(at, here, takes_v);
}

static inline vec vec_rows(const float *p, long stride) {
    return _mm256_insertf128_ps(_mm256_castps128_ps256(_mm_loadu_ps(p)), _mm_loadu_ps(p + stride), 1);
}

static inline vec vec_unpack_low(vec a, vec b) {
    return _mm256_unpacklo_ps(a, b);
}

static inline vec vec_unpack_high(vec a, vec b) {
    return _mm256_unpackhi_ps(a, b);
}

static inline vec vec_pair_low(vec a, vec b) {
    return _mm256_shuffle_ps(a, b, 0x44);
}

static inline vec vec_pair_high(vec a, vec b) {
    return _mm256_shuffle_ps(a, b, 0xEE);
}

#define KERNELS anx_exact_kernels_avx2
#define KERNELS_ISA "AVX2, FMA"
#include "src/backend/exact/kernels_body.h"
#else
typedef int anx_exact_has_no_such_kernels; /* a source must not be empty */
#endif
