/* Two tensors looked at element by element. Not for files outside parity/. */
#ifndef ANX_PARITY_CHECKPOINT_DIFF_MEASURE_H
#define ANX_PARITY_CHECKPOINT_DIFF_MEASURE_H

#include "parity/checkpoint_diff.h"

/*
 * a and b have one shape. times: each of their elements stands for so many (counts alone are multiplied).
 * Errors: OUT_OF_MEMORY.
 */
anx_status anx_diff_measure_elements(const anx_elements *a, const anx_elements *b, int64_t times, int threads,
                                     anx_diff_measure *out, anx_error *err);

#endif
