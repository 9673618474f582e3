/*
 * oneDNN by itself: the convolutions and linear layers of a network, each as oneDNN's own fastest primitive on the
 * layouts it likes best, one after the other, with nothing between them. What is left of the engine's time beyond
 * that is the engine's.
 */
#ifndef ANX_TOOLS_BENCHMARK_BARE_H
#define ANX_TOOLS_BENCHMARK_BARE_H

#include "src/model/graph.h"

typedef struct bench_bare bench_bare;

/*
 * Creates the primitives of every convolution (with a ReLU) and linear layer of the graph for a batch. Of several ways
 * (layouts of a first layer's input, inner or matrix product, packed or plain weights) the fastest is kept.
 * Errors: DEVICE, OUT_OF_MEMORY. The caller destroys it.
 */
anx_status bench_bare_create(const anx_graph *graph, int64_t batch, int threads, bench_bare **out, anx_error *err);
void bench_bare_destroy(bench_bare *bare);
/* Runs all of them once, in order. Errors: DEVICE. */
anx_status bench_bare_run(bench_bare *bare, anx_error *err);

#endif
