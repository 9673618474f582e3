/*
 * What this machine can do at most, measured: the two limits that no program for it can beat.
 */
#ifndef ANX_TOOLS_BENCHMARK_LIMITS_H
#define ANX_TOOLS_BENCHMARK_LIMITS_H

#include "src/base/status.h"

typedef struct bench_limits {
    double flops;    /* float32 multiply-adds on all threads, counted as two operations each, per second */
    double bytes;    /* read from memory by all threads, per second */
    double moved;    /* read and written in place, by all threads: both counted, per second */
    const char *isa; /* of the multiply-adds */
} bench_limits;

/* Takes about a second. Errors: OUT_OF_MEMORY (512 MiB are read). */
anx_status bench_measure_limits(int threads, bench_limits *out, anx_error *err);

/* iterations times 16 chains of dependent vector multiply-adds; returns how many float32 operations that were. The
   sum of the chains goes to *sink, so that nothing is left out. */
typedef double bench_fma_fn(long iterations, float *sink);
bench_fma_fn bench_fma_avx512, bench_fma_avx2, bench_fma_portable;

#endif
