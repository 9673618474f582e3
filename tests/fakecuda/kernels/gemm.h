/* Products of matrices. */
#ifndef ANX_TESTS_FAKECUDA_KERNELS_GEMM_H
#define ANX_TESTS_FAKECUDA_KERNELS_GEMM_H

#include "tests/fakecuda/kernels/precision.h"

/* Row-major: c (m, n) = alpha op(a) op(b) + beta c, op(a) (m, k), op(b) (k, n). beta = 0: c is not read. */
typedef struct fake_gemm {
    bool ta, tb;
    long m, n, k;
    float alpha;
    const float *a;
    long lda;
    const float *b;
    long ldb;
    float beta;
    float *c;
    long ldc;
} fake_gemm;

void fake_gemm_run(const fake_gemm *g);

#endif
