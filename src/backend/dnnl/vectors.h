/*
 * The widest vectors of the instruction set that a file is compiled for. vec_larger(x, m) is m where x is NaN, and
 * where both are equal; vec_fma(a, b, c) is a * b + c, rounded once where the target can; vec_all(x) has x in every
 * lane. vec_keep(v) keeps the compiler from reading v from memory anew at every use. vec_stream(p, v) writes v to an
 * aligned address past the caches, where the processor can: the line is not read first. vec_stream_end() has to come
 * before another thread reads it.
 */
#ifndef ANX_SRC_BACKEND_DNNL_VECTORS_H
#define ANX_SRC_BACKEND_DNNL_VECTORS_H

#include <stdint.h>
#include <string.h>

#if defined(__AVX512F__)
#include <immintrin.h>
typedef __m512 vec;
#define vec_larger(x, m) _mm512_max_ps(x, m)
#define vec_fma(a, b, c) _mm512_fmadd_ps(a, b, c)
#define vec_all(x) _mm512_set1_ps(x)
#define vec_stream(p, v) _mm512_stream_ps(p, v)
#define vec_stream_end() _mm_sfence()
#define vec_keep(v) __asm__("" : "+v"(v))
#elif defined(__AVX2__) && defined(__FMA__)
#include <immintrin.h>
typedef __m256 vec;
#define vec_larger(x, m) _mm256_max_ps(x, m)
#define vec_fma(a, b, c) _mm256_fmadd_ps(a, b, c)
#define vec_all(x) _mm256_set1_ps(x)
#define vec_stream(p, v) _mm256_stream_ps(p, v)
#define vec_stream_end() _mm_sfence()
#define vec_keep(v) __asm__("" : "+x"(v))
#elif defined(__SSE__)
#include <xmmintrin.h>
typedef __m128 vec;
#define vec_larger(x, m) _mm_max_ps(x, m)
#define vec_fma(a, b, c) ((a) * (b) + (c))
#define vec_all(x) _mm_set1_ps(x)
#define vec_stream(p, v) _mm_stream_ps(p, v)
#define vec_stream_end() _mm_sfence()
#define vec_keep(v) __asm__("" : "+x"(v))
#else
typedef float vec __attribute__((vector_size(sizeof(float))));
#define vec_larger(x, m) ((vec){(x)[0] > (m)[0] ? (x)[0] : (m)[0]})
#define vec_fma(a, b, c) ((a) * (b) + (c))
#define vec_all(x) ((vec){(x)})
#define vec_stream(p, v) memcpy(p, &(v), sizeof(v))
#define vec_stream_end() ((void)0)
#define vec_keep(v) ((void)0)
#endif

/* What comparing them gives: all bits set where true. */
typedef int32_t vec_mask __attribute__((vector_size(sizeof(vec))));
enum { LANES = sizeof(vec) / sizeof(float) };

/* What functions are told as a constant: each use becomes a loop without it. */
#define LOOP_INLINE static inline __attribute__((always_inline))

LOOP_INLINE vec vec_load(const float *p) {
    vec v;
    memcpy(&v, p, sizeof v);
    return v;
}

LOOP_INLINE void vec_store(float *p, vec v) {
    memcpy(p, &v, sizeof v);
}

#endif
