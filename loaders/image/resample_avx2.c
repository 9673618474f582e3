/*
 * The sums of Resample.c in another order, which integers do not mind. Horizontally, AVX2's product of pairs of 16-bit
 * numbers does most at once; the weights, which have up to 23 bits, come in two halves for it.
 */
#include "loaders/image/resample_avx2.h"

#if defined(__x86_64__) && defined(__GNUC__)

#include <immintrin.h>
#include <string.h>

#include "src/base/isa.h"

#define AVX2 __attribute__((target("avx2")))
#define AVX2_INLINE __attribute__((target("avx2"), always_inline)) static inline

/* Four taps of one output pixel: lane 0 of the sums holds r, g, b of the first two taps, lane 1 of the others. */
AVX2_INLINE __m256i four_taps(__m256i sum, const uint8_t *pixel, const int16_t *split) {
    /* Bytes of pixels 0 and 1 in pairs of words, lane 0; of pixels 2 and 3, lane 1. */
    const __m256i pairs = _mm256_setr_epi8(0, -1, 3, -1, 1, -1, 4, -1, 2, -1, 5, -1, -1, -1, -1, -1, /* */
                                           6, -1, 9, -1, 7, -1, 10, -1, 8, -1, 11, -1, -1, -1, -1, -1);
    const __m256i first_pair = _mm256_setr_epi32(0, 0, 0, 0, 1, 1, 1, 1);
    const __m256i second_pair = _mm256_setr_epi32(2, 2, 2, 2, 3, 3, 3, 3);
    const __m256i bytes = _mm256_broadcastsi128_si256(_mm_loadu_si128((const __m128i *)(const void *)pixel));
    const __m256i values = _mm256_shuffle_epi8(bytes, pairs);
    const __m256i halves = _mm256_castsi128_si256(_mm_loadu_si128((const __m128i *)(const void *)split));
    const __m256i high = _mm256_madd_epi16(values, _mm256_permutevar8x32_epi32(halves, first_pair));
    const __m256i low = _mm256_madd_epi16(values, _mm256_permutevar8x32_epi32(halves, second_pair));
    return _mm256_add_epi32(sum, _mm256_add_epi32(_mm256_slli_epi32(high, ANX_RESAMPLE_LOW_BITS), low));
}

AVX2_INLINE __m256i pixel_sums(const anx_resample_axis *axis, const uint8_t *row, int32_t column, int32_t i,
                               bool four_suffice) {
    const uint8_t *pixel = row + (ptrdiff_t)(axis->start[i] - column) * ANX_RESAMPLE_CHANNELS;
    __m256i sum = four_taps(_mm256_setzero_si256(), pixel, anx_resample_split(axis, i, 0));
    if (four_suffice) return sum;
    for (int32_t t = 4; t < axis->taps[i]; t += 4)
        sum = four_taps(sum, pixel + t * ANX_RESAMPLE_CHANNELS, anx_resample_split(axis, i, t / 4));
    return sum;
}

/* Rounds, shifts and clips the sums of four pixels, in the order 0 2 | 1 3, and stores twelve bytes. */
AVX2_INLINE void store_four(__m256i s0, __m256i s1, __m256i s2, __m256i s3, uint8_t *out) {
    const __m256i half = _mm256_set1_epi32(1 << (ANX_RESAMPLE_BITS - 1));
    const __m256i a =
        _mm256_add_epi32(_mm256_permute2x128_si256(s0, s1, 0x20), _mm256_permute2x128_si256(s0, s1, 0x31));
    const __m256i b =
        _mm256_add_epi32(_mm256_permute2x128_si256(s2, s3, 0x20), _mm256_permute2x128_si256(s2, s3, 0x31));
    const __m256i words = _mm256_packs_epi32(_mm256_srai_epi32(_mm256_add_epi32(a, half), ANX_RESAMPLE_BITS),
                                             _mm256_srai_epi32(_mm256_add_epi32(b, half), ANX_RESAMPLE_BITS));
    const __m256i bytes = _mm256_packus_epi16(words, words); /* lane 0: pixels 0, 2; lane 1: pixels 1, 3 */
    const __m128i both = _mm_unpacklo_epi32(_mm256_castsi256_si128(bytes), _mm256_extracti128_si256(bytes, 1));
    const __m128i packed =
        _mm_shuffle_epi8(both, _mm_setr_epi8(0, 1, 2, 4, 5, 6, 8, 9, 10, 12, 13, 14, -1, -1, -1, -1));
    _mm_storel_epi64((__m128i *)(void *)out, packed);
    const int32_t last = _mm_extract_epi32(packed, 2);
    memcpy(out + 8, &last, sizeof last);
}

AVX2_INLINE void store_one(__m256i sums, uint8_t *out) {
    const __m128i half = _mm_set1_epi32(1 << (ANX_RESAMPLE_BITS - 1));
    const __m128i sum = _mm_add_epi32(_mm256_castsi256_si128(sums), _mm256_extracti128_si256(sums, 1));
    const __m128i words = _mm_srai_epi32(_mm_add_epi32(sum, half), ANX_RESAMPLE_BITS);
    const __m128i narrow = _mm_packs_epi32(words, words);
    const int32_t bytes = _mm_cvtsi128_si32(_mm_packus_epi16(narrow, narrow));
    memcpy(out, &bytes, ANX_RESAMPLE_CHANNELS);
}

AVX2_INLINE void row_by_fours(const anx_resample_axis *axis, const uint8_t *row, int32_t column, uint8_t *out,
                              bool four_suffice) {
    int32_t i = 0;
    for (; i + 4 <= axis->count; i += 4, out += 4 * ANX_RESAMPLE_CHANNELS)
        store_four(pixel_sums(axis, row, column, i, four_suffice), pixel_sums(axis, row, column, i + 1, four_suffice),
                   pixel_sums(axis, row, column, i + 2, four_suffice),
                   pixel_sums(axis, row, column, i + 3, four_suffice), out);
    for (; i < axis->count; i++, out += ANX_RESAMPLE_CHANNELS)
        store_one(pixel_sums(axis, row, column, i, four_suffice), out);
}

AVX2 static void row_avx2(const anx_resample_axis *axis, const uint8_t *row, int32_t column, uint8_t *out) {
    if (axis->groups == 1)
        row_by_fours(axis, row, column, out, true);
    else
        row_by_fours(axis, row, column, out, false);
}

/* Sixteen neighbouring bytes of one output row. */
AVX2_INLINE __m128i sixteen_bytes(const int32_t *weight, int32_t taps, const uint8_t *const *rows, size_t at) {
    __m256i low = _mm256_set1_epi32(1 << (ANX_RESAMPLE_BITS - 1)), high = low;
    for (int32_t t = 0; t < taps; t++) {
        const __m256i k = _mm256_set1_epi32(weight[t]);
        const __m128i bytes = _mm_loadu_si128((const __m128i *)(const void *)(rows[t] + at));
        low = _mm256_add_epi32(low, _mm256_mullo_epi32(_mm256_cvtepu8_epi32(bytes), k));
        high = _mm256_add_epi32(high, _mm256_mullo_epi32(_mm256_cvtepu8_epi32(_mm_srli_si128(bytes, 8)), k));
    }
    const __m256i words =
        _mm256_packs_epi32(_mm256_srai_epi32(low, ANX_RESAMPLE_BITS), _mm256_srai_epi32(high, ANX_RESAMPLE_BITS));
    const __m256i ordered = _mm256_permute4x64_epi64(words, 0xd8);
    return _mm_packus_epi16(_mm256_castsi256_si128(ordered), _mm256_extracti128_si256(ordered, 1));
}

AVX2 static void column_avx2(const int32_t *weight, int32_t taps, const uint8_t *const *rows, size_t n_bytes,
                             uint8_t *out) {
    size_t i = 0;
    for (; i + 16 <= n_bytes; i += 16)
        _mm_storeu_si128((__m128i *)(void *)(out + i), sixteen_bytes(weight, taps, rows, i));
    if (i == n_bytes) return;
    uint8_t last[16];
    _mm_storeu_si128((__m128i *)(void *)last, sixteen_bytes(weight, taps, rows, i));
    memcpy(out + i, last, n_bytes - i);
}

const anx_resample_kernels *anx_resample_kernels_avx2(void) {
    static const anx_resample_kernels kernels = {"avx2", row_avx2, column_avx2};
    return anx_isa_best() >= ANX_ISA_AVX2 ? &kernels : NULL;
}

#else

const anx_resample_kernels *anx_resample_kernels_avx2(void) {
    return NULL;
}

#endif
