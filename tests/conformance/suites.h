/*
 * The conformance suite's tests, and what it demands on the odd values of IEEE 754.
 *
 * Demanded of every backend in float32 mode:
 *   - ReLU, flatten and dropout outside training pass NaN, infinities, -0 and subnormals as they are (ReLU: below
 *     zero gives +0); max-pool likewise, a NaN in the window wins.
 *   - In convolution, linear and average, a NaN or infinity in the input reaches exactly the outputs that read it
 *     (so no Winograd or FFT transform, which spread it), with the sign that arithmetic gives.
 *   - A NaN weight spoils its own output channel and no other.
 *   - A sum whose true value is 2^129 or more does not come out finite.
 * In another math mode, as the device tells it:
 *   - Sums of products are held to what that leaves (parity/operands.h); integers of up to 11 bits are still summed
 *     exactly in TF32.
 *   - Where anything fast is allowed NaN and infinity may spread, and two plans of one network may differ.
 * Of its train plans besides:
 *   - A max-pool's winners are PyTorch's: the first of the largest, the last NaN.
 *   - ReLU passes a gradient where its output is above zero or NaN; what a mask multiplies, it multiplies exactly.
 *   - Gradients that are integer sums are exact; others within min(h, 4 sqrt h) u G and an RMS of 4 u G, G the sum
 *     over absolute values; where G is 0, so is the gradient.
 *   - Which parameters are trained changes no gradient.
 * The device's own affair, not compared:
 *   - which zero a max-pool takes where +0 and -0 tie;
 *   - whether a NaN or infinite weight is multiplied with the zeros of the padding;
 *   - a NaN's sign and payload;
 *   - infinity of either sign, or NaN, where the true value is beyond float32 or a partial sum was;
 *   - on a GPU, whether subnormal inputs, products and sums are flushed to zero. On a CPU they are not.
 */
#ifndef ANX_TESTS_CONFORMANCE_SUITES_H
#define ANX_TESTS_CONFORMANCE_SUITES_H

#include "tests/support/anx_test.h"

/* Each ended by a row of NULLs. */
extern const anx_test arithmetic_tests[];
extern const anx_test contract_tests[];
extern const anx_test device_tests[];
/* For backends that have train plans. */
extern const anx_test gradient_tests[];
extern const anx_test training_tests[];

#endif
