#if defined(__x86_64__)
#include <immintrin.h>
#define VEC_BYTES 32
#define MULTIPLY_ADD(a, b, c) _mm256_fmadd_ps(a, b, c)
#include "tools/benchmark/fma_body.h"

double bench_fma_avx2(long iterations, float *sink) {
    return run_chains(iterations, sink);
}
#endif
