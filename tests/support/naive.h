/*
 * The definition of every operation, written down once more and as plainly as possible: the arithmetic that suites
 * compare backends with. long double holds any sum of integers below 2^63 exactly, and rounds 2^11 times finer than
 * double elsewhere (on x86-64).
 */
#ifndef ANX_TESTS_SUPPORT_NAIVE_H
#define ANX_TESTS_SUPPORT_NAIVE_H

#include "src/model/graph.h"

/*
 * Node `node` for a batch. x, y: (N, ...) as the graph has them. weight, bias may be NULL where the node has none.
 * absolute: of convolution, linear and average, the sums over absolute values instead (the gauge).
 */
void naive_node(const anx_graph *graph, int node, int64_t batch, const long double *x, const float *weight,
                const float *bias, bool absolute, long double *y);

#endif
