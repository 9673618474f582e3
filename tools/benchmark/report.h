/* What was measured, as a table and as JSON. */
#ifndef ANX_TOOLS_BENCHMARK_REPORT_H
#define ANX_TOOLS_BENCHMARK_REPORT_H

#include <stdio.h>

#include "parity/device_facts.h"
#include "tools/benchmark/limits.h"
#include "tools/benchmark/series.h"

enum { BENCH_MAX_ROWS = 40 };

/* One thing measured, by each who can do it, in turns. */
typedef struct bench_row {
    const char *name; /* "forward", "load", ... */
    char what[64];    /* "batch 32" */
    double items;     /* images per run; 0 where nothing is counted */
    bench_series anx, torch, bare;
    double limit_seconds;                /* no program for this machine can be faster; 0: not known */
    const char *limit_by;                /* "FMA" or "memory" */
    double moved_bytes;                  /* read and written in memory by one run; 0: not counted */
    char torch_setup[64];                /* of its DataLoader: "1 worker, batch 64"; "" without one */
    long anx_rss_bytes, torch_rss_bytes; /* largest resident memory of the process; 0: not measured */
} bench_row;

typedef struct bench_report {
    char cpu[128];           /* the processor's own name */
    const char *device;      /* what computes, as --device named it, */
    anx_device_info info;    /* ... and all that it tells, while it is open */
    bool is_processor;       /* ... and whether the processor does; its limits stand here then */
    char torch[256];         /* "PyTorch 2.15.0, ...", "" where it was not asked */
    char torch_trouble[256]; /* why it is not there, or went away; "" if nothing */
    int threads, repeats;
    bench_limits limits;
    bench_row rows[BENCH_MAX_ROWS];
    int n_rows;
} bench_report;

void bench_report_text(const bench_report *report, FILE *to);
/* Atomically; an existing file is replaced. Errors: IO, OUT_OF_MEMORY. */
anx_status bench_report_json(const bench_report *report, const char *path, anx_error *err);

#endif
