/*
 * A real device whose convolutions and linear layers take operands of fewer bits, forward and backward, as tensor cores
 * do: input, weights and the gradient by the output are rounded before a group runs, the sums stay the device's.
 * Biases and the gradients by them are not touched.
 */
#ifndef ANX_TESTS_SUPPORT_ROUNDED_DEVICE_H
#define ANX_TESTS_SUPPORT_ROUNDED_DEVICE_H

#include "src/backend/backend.h"

/* float32 to formats of 11 and 8 bits: to nearest even, or cut off. NaN and infinities as they are. */
float rounded_tf32(float v);
float rounded_tf32_cut(float v);
float rounded_bf16(float v);
float rounded_bf16_cut(float v);
float rounded_f16(float v); /* infinite from 65520 on */

/* The rounding of that name ("tf32", "tf32-cut", "bf16", "bf16-cut", "f16"); NULL if there is none. */
float (*rounded_find(const char *name))(float);

/*
 * Sets what rounded_backend wraps and rounds by from now on: the backend `inner`, which must outlive it; `math` is what
 * its devices say they compute with. One setting at a time in a process.
 */
void rounded_set(const anx_backend *inner, float (*round)(float), anx_math_mode math);

extern const anx_backend rounded_backend;

#endif
