/*
 * What shortened operands may do to a sum of products, where a device was allowed TF32 or whatever is fastest.
 *
 * TF32 keeps 11 bits of both operands of a product, rounded (relative error up to 2^-11 each) or cut off (up to 2^-10),
 * and multiplies exactly; biases are added as they are. So, whatever the numbers, the operands' part of the error is at
 * most (2 2^-10 + 2^-20) sum |w||x|, which is 32784 u G. No sum comes near that. Beside it stands the sum's own part:
 * tensor cores align what they add, and cut off what does not fit, where float32 rounds to the nearest. A bit cut off
 * is up to 2u of the sum, where a rounding is u, so that each limit on the sum's part is twice float32's (metrics.h).
 *
 * With the operands' relative errors independent and uniform, of +-2^-11 where they are rounded and of -2^-10 .. 0
 * where they are cut off, an element's error has a variance of 2 (2^-11)^2 / 3 sum (wx)^2 and, where they are cut off,
 * a mean of -2 2^-11 sum wx. In units of u, together:
 *
 *     s^2 = 6689^2 sum (wx)^2 + 16384^2 (sum wx)^2
 *
 * The second part also covers operands that repeat (flat areas of an image, one image's gradient in a whole row), whose
 * roundings are not independent. The rule (metrics.c; ANX_BOUND_SUM_TF32's text says it in full): each element within
 * 24 s of the truth and within what is proven, the RMS over an image within 1.5 RMS(s), twice the float32 sum's own
 * limits on top. n values fluctuate: 1 + 2 / sqrt n.
 *
 * Measured, in RMS(s), all eight layers of AlexNet (weights of seed 0, photographs, black, noise), and its gradients
 * (batches of 4 to 8), summed in float32 or double; the shares of the limit over all recorded inputs and a step of
 * training, summed in float32:
 *                         outputs               share of the limit   gradients by input, by weight
 *   TF32 rounded          0.26 - 0.31 (3.2 s)   0.13 - 0.22          0.12 - 0.19, 0.18 - 0.47
 *   TF32 cut off          0.68 - 0.79 (3.6 s)   0.36 - 0.50          0.35 - 0.51, 0.53 - 0.82
 *   bfloat16 rounded      2.04 - 2.6  (27 s)    1.06 - 1.68          1.05 - 1.49, 1.39 - 4.2
 *   bfloat16 cut off      5.2  - 6.1  (29 s)    2.9  - 4.4
 * in parentheses the largest element. Rows of a linear layer's weight gradient are sums of a few terms, whose largest
 * element reaches 0.99 of what is proven. float16 has TF32's 11 bits: in range it passes as TF32 does, beyond it gives
 * infinities, which fail.
 *
 * Tiles (Winograd) and transforms (FFT) err in the size of the largest values of a tile or plane, not of the element.
 * What is fastest must be as accurate as TF32 in the norm over a plane: largest G and s of the plane instead of the
 * element's. Measured, features.6 to .10 (3x3, photographs), in RMS(s):
 *                         float32           TF32 rounded     TF32 cut off     bfloat16 rounded
 *   F(2x2)                0.0003            0.30 - 0.32      0.74 - 0.76      2.5 - 2.6
 *   F(4x4)                0.0004 - 0.0010   0.48 - 0.90      0.86 - 1.16      3.8 - 7.3
 *   F(6x6)                0.0005 - 0.0017   0.54 - 1.53      0.85 - 1.73      4.4 - 12
 *   largest element       0.02 of max s     15               13               120
 * Large tiles that multiply in TF32 amplify its error: on rough images F(4x4) comes to 1.9 and fails.
 */
#ifndef ANX_PARITY_OPERANDS_H
#define ANX_PARITY_OPERANDS_H

#include "src/model/graph.h"

/*
 * s of each output of a CONV2D or LINEAR node, in units of u. x (batch, in); weight, bias (NULL: none) contiguous
 * float32; y64 the node's output in double; s batch*elems(out). Errors: OUT_OF_MEMORY, INVALID_ARGUMENT (another node).
 */
anx_status anx_operand_errors(const anx_graph *graph, int node, int64_t batch, const float *x, const float *weight,
                              const float *bias, const double *y64, float *s, int threads, anx_error *err);

/* The same of its gradients by input and weight; those by a bias have no products. */
typedef struct anx_operand_gradients {
    const float *x, *dy, *weight;
    const double *dx, *dweight; /* the gradients in double; NULL: not wanted, */
    float *dx_s, *dweight_s;    /* ... and their s */
} anx_operand_gradients;

anx_status anx_operand_errors_back(const anx_graph *graph, int node, int64_t batch, const anx_operand_gradients *g,
                                   int threads, anx_error *err);

/* Takes s through a ReLU: 0 where y64 is so far below 0 that no error lets the output be other than 0. In place. */
void anx_operands_through_relu(const double *y64, int64_t n, float *s);

#endif
