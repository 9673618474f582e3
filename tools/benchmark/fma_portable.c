#define VEC_BYTES 16
#define MULTIPLY_ADD(a, b, c) ((a) * (b) + (c))
#include "tools/benchmark/fma_body.h"

double bench_fma_portable(long iterations, float *sink) {
    return run_chains(iterations, sink);
}
