/*
 * A NaN or infinite weight over the zeros of the padding: PyTorch's kernels for grouped convolutions, and the truth,
 * multiply it, which gives NaN; its kernels for dense ones, and oneDNN's, skip the padding. Either is right.
 */
#ifndef ANX_PARITY_PADDING_H
#define ANX_PARITY_PADDING_H

#include "src/model/graph.h"

/* Can leaving out the padding change the node: is it a convolution with padding and a NaN or infinite weight? */
bool anx_padding_matters(const anx_graph *graph, int node, const float *weight);

/*
 * What node `node` gives where its padding is left out of the sums rather than multiplied. x (batch, in), weight and
 * bias are float32, contiguous; y64, gauge (batch, out) are the node's truth and gauge. *skipped, *skipped_gauge
 * (batch, out) are those with the padding left out, to be freed by the caller; both NULL where that changes nothing.
 * Errors: OUT_OF_MEMORY.
 */
anx_status anx_padding_skip(const anx_graph *graph, int node, int64_t batch, const float *x, const float *weight,
                            const float *bias, const double *y64, const float *gauge, double **skipped,
                            float **skipped_gauge, anx_error *err);

#endif
