/* How exact a piece of work is: what real hardware may lose where nobody forbade it. */
#ifndef ANX_TESTS_FAKECUDA_KERNELS_PRECISION_H
#define ANX_TESTS_FAKECUDA_KERNELS_PRECISION_H

#include <stdbool.h>
#include <stddef.h>

typedef struct fake_precision {
    bool tf32;     /* operands keep 10 bits behind the point */
    bool winograd; /* transforms cost as much as if operands were off by 2^-14 of themselves */
    bool noise;    /* sums come in another order each time */
} fake_precision;

/* A copy of the operand as the hardware sees it. The caller frees it; NULL: it is the operand itself. */
float *fake_degraded(const float *p, size_t n, const fake_precision *precision);

/* Changes results by about 1e-5 of themselves, otherwise in each call and each run. */
void fake_add_noise(float *p, size_t n);

float *fake_floats(size_t n);

#endif
