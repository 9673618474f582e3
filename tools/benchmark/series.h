/* Repeated measurements of one thing. */
#ifndef ANX_TOOLS_BENCHMARK_SERIES_H
#define ANX_TOOLS_BENCHMARK_SERIES_H

enum { BENCH_MAX_RUNS = 64 };

typedef struct bench_series {
    double seconds[BENCH_MAX_RUNS];
    int count; /* 0: not measured */
} bench_series;

/* Drops what does not fit. */
void bench_series_add(bench_series *series, double seconds);
/* Of a series that is not empty. */
double bench_series_median(const bench_series *series);
double bench_series_min(const bench_series *series);
double bench_series_max(const bench_series *series);

/* Seconds on the monotonic clock. */

#endif
