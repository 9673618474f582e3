/* Products of matrices as cuBLAS has them: column-major, in a device's memory, as exact as the hardware must be. */
#ifndef ANX_TESTS_FAKECUDA_KERNELS_PRODUCT_H
#define ANX_TESTS_FAKECUDA_KERNELS_PRODUCT_H

#include "tests/fakecuda/kernels/precision.h"

/* As stored; the address is a device's. */
typedef struct fake_matrix {
    const float *p;
    long rows, columns, ld;
    bool transposed; /* before it is multiplied */
} fake_matrix;

/* c (m, n) = alpha op(a) op(b) + beta c. alpha or k is 0: a and b are not read; beta is 0: c is not read. */
typedef struct fake_product {
    long m, n, k;
    float alpha, beta;
    fake_matrix a, b;
    float *c;
    long ldc;
    fake_precision precision;
} fake_product;

void fake_product_run(const fake_product *product);

#endif
