/* Convolutions as products of matrices, an image and a group at a time. */
#ifndef ANX_TESTS_FAKECUDA_KERNELS_CONV_H
#define ANX_TESTS_FAKECUDA_KERNELS_CONV_H

#include "tests/fakecuda/kernels/precision.h"

typedef struct fake_conv {
    int x[4]; /* n, c, h, w */
    int w[4]; /* k, c / groups, r, s */
    int y[4]; /* n, k, p, q */
    int pad[2], stride[2], dilation[2], groups;
    bool flip; /* a convolution in the mathematicians' sense */
    fake_precision precision;
} fake_conv;

/* All tensors without gaps; the result is written, not added to. */
void fake_conv_forward(const fake_conv *g, const float *x, const float *w, float *y);
void fake_conv_backward_data(const fake_conv *g, const float *w, const float *dy, float *dx);
void fake_conv_backward_filter(const fake_conv *g, const float *x, const float *dy, float *dw);

#endif
