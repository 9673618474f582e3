/*
 * Several numbers at a time in the compiler's own vector types, lowered to whatever registers the function's target
 * has, with the same results. Where many of them must stay in registers, take the target's own width.
 */
#ifndef ANX_SRC_BACKEND_REFERENCE_VECTOR_H
#define ANX_SRC_BACKEND_REFERENCE_VECTOR_H

#include <stdint.h>

enum { ANX_REFERENCE_LANES = 8 };

/* Element-aligned and allowed to alias the elements: loads and stores are plain dereferences. */
typedef double anx_f64x2 __attribute__((vector_size(16), aligned(8), may_alias));
typedef double anx_f64x4 __attribute__((vector_size(32), aligned(8), may_alias));
typedef double anx_f64x8 __attribute__((vector_size(64), aligned(8), may_alias));
typedef float anx_f32x8 __attribute__((vector_size(32), aligned(4), may_alias));
typedef int32_t anx_i32x8 __attribute__((vector_size(32), aligned(4), may_alias));

#define ANX_ALWAYS_INLINE static inline __attribute__((always_inline))

#if defined(__x86_64__)
#define ANX_REFERENCE_X86 1
#define ANX_TARGET_AVX2 __attribute__((target("avx2")))
#define ANX_TARGET_AVX512 __attribute__((target("avx512f")))
#else
#define ANX_REFERENCE_X86 0
#endif

#endif
