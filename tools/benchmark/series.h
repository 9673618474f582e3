/* Repeated measurements of one thing. */
#ifndef ANX_TOOLS_BENCHMARK_SERIES_H
#define ANX_TOOLS_BENCHMARK_SERIES_H

enum { BENCH_MAX_RUNS = 64 };

typedef struct bench_series {
    double seconds[BENCH_MAX_RUNS];
    int count;         /* 0: not measured */
    char trouble[256]; /* why not, where it was tried; "" otherwise */
} bench_series;

/* Drops what does not fit. */
void bench_series_add(bench_series *series, double seconds);
/* It came to nothing: what there is of it goes. */
void bench_series_give_up(bench_series *series, const char *why);
/* Of a series that is not empty. */
double bench_series_median(const bench_series *series);
double bench_series_min(const bench_series *series);
double bench_series_max(const bench_series *series);

#endif
