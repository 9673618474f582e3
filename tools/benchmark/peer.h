/* PyTorch in a process of its own (peer.py), asked for one measurement at a time. */
#ifndef ANX_TOOLS_BENCHMARK_PEER_H
#define ANX_TOOLS_BENCHMARK_PEER_H

#include <sys/types.h>

#include "src/base/status.h"

typedef struct bench_peer bench_peer;

/*
 * Starts `python script serve weights threads device math` and waits until it is ready; python: a path, or a name in
 * PATH. Errors: NOT_FOUND, IO,
 * UNSUPPORTED (its own words: PyTorch missing, a checkpoint that is no AlexNet). The caller stops it.
 */
anx_status bench_peer_start(const char *python, const char *script, const char *weights, int threads,
                            const char *device, const char *math, bench_peer **out, anx_error *err);
void bench_peer_stop(bench_peer *peer);
/* "PyTorch 2.15.0, Pillow 13.0.0"; on a GPU also CUDA's version, cuDNN's and its name. */
const char *bench_peer_version(const bench_peer *peer);
/*
 * Asks for something ("forward\t32"); *seconds is what it says. Errors: UNSUPPORTED, its own words; IO or FORMAT, after
 * which it can only be stopped.
 */
anx_status bench_peer_ask(bench_peer *peer, const char *request, double *seconds, anx_error *err);

/* What a whole process took, and its largest resident memory. */
typedef struct bench_process {
    double seconds;
    long max_rss_bytes;
} bench_process;

/*
 * Runs a program to its end with its output thrown away. argv as for execvp. Errors: IO (cannot be started),
 * UNSUPPORTED (its exit status is above max_status; with the last line that it wrote to standard error).
 */
anx_status bench_run_process(const char *const argv[], int max_status, bench_process *out, anx_error *err);

#endif
