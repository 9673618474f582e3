#include "tools/benchmark/series.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void bench_series_add(bench_series *series, double seconds) {
    if (series->count < BENCH_MAX_RUNS) series->seconds[series->count++] = seconds;
}

void bench_series_give_up(bench_series *series, const char *why) {
    series->count = 0;
    snprintf(series->trouble, sizeof series->trouble, "%s", why);
}

static int compare(const void *a, const void *b) {
    const double x = *(const double *)a, y = *(const double *)b;
    return x < y ? -1 : x > y;
}

static void sorted(const bench_series *series, double out[BENCH_MAX_RUNS]) {
    memcpy(out, series->seconds, (size_t)series->count * sizeof *out);
    qsort(out, (size_t)series->count, sizeof *out, compare);
}

double bench_series_median(const bench_series *series) {
    double s[BENCH_MAX_RUNS];
    sorted(series, s);
    const int n = series->count;
    return n % 2 == 1 ? s[n / 2] : 0.5 * (s[n / 2 - 1] + s[n / 2]);
}

double bench_series_min(const bench_series *series) {
    double s[BENCH_MAX_RUNS];
    sorted(series, s);
    return s[0];
}

double bench_series_max(const bench_series *series) {
    double s[BENCH_MAX_RUNS];
    sorted(series, s);
    return s[series->count - 1];
}
