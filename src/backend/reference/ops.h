/*
 * One node in double: the truth y64 and the gauge G, for the judge and for the conformance suite.
 */
#ifndef ANX_SRC_BACKEND_REFERENCE_OPS_H
#define ANX_SRC_BACKEND_REFERENCE_OPS_H

#include "src/model/graph.h"

/*
 * Computes node `node` of the graph for a batch on given input, every operation in double.
 *   x       the first input's elements, (N, C, H, W) or (N, F), contiguous, F32 or F64
 *   weight, bias   float32, contiguous (NULL where the node has none)
 *   y       result in double, (N, ...) contiguous, batch*elems(out); NULL: not wanted
 *   threads OpenMP threads, >= 1
 * Convolution and linear sum in double; ReLU, max-pool, flatten, dropout are exact; softmax subtracts the maximum.
 * The result's bits depend on neither the machine nor the number of threads (softmax: on the C library's exp).
 * Errors: INVALID_ARGUMENT (node, batch, a tensor of another shape or dtype), OUT_OF_MEMORY; the node is named.
 */
anx_status anx_reference_node(const anx_graph *graph, int node, int64_t batch, const anx_tensor *x,
                              const anx_tensor *weight, const anx_tensor *bias, double *y, int threads, anx_error *err);

/*
 * The gauge G of a CONV2D, LINEAR or ADAPTIVE_AVG_POOL2D node: for each output element, sum |w||x| + |b| (for the
 * average: the mean of |x| over the window). Summed in double and rounded once: relative error 2^-24. g:
 * batch*elems(out) floats. x is float32; parameters are read where they lie, contiguous. Errors: INVALID_ARGUMENT (a
 * node that sums nothing, a missing array), OUT_OF_MEMORY.
 */
anx_status anx_reference_gauge(const anx_graph *graph, int node, int64_t batch, const float *x, const float *weight,
                               const float *bias, float *g, int threads, anx_error *err);

/* What a node's way back starts from and gives; all contiguous. */
typedef struct anx_reference_gradients {
    const float *x, *dy;          /* the node's input, and the gradient by its output: batch*elems each */
    const float *weight;          /* as in anx_reference_node; NULL where it has none */
    bool gauge;                   /* the absolute values of all of these are taken: the results are the gauges */
    double *dx, *dweight, *dbias; /* out; NULL: not wanted */
} anx_reference_gradients;

/*
 * The gradients of a CONV2D, LINEAR or ADAPTIVE_AVG_POOL2D node in double, or their gauges: for dweight sum |x||dy|,
 * for dx sum |w||dy| (of an average: of |dy| over its window's size), for dbias sum |dy|. Errors: INVALID_ARGUMENT
 * (another node, something missing), OUT_OF_MEMORY; the node is named.
 */
anx_status anx_reference_node_back(const anx_graph *graph, int node, int64_t batch,
                                   const anx_reference_gradients *gradients, int threads, anx_error *err);

#endif
