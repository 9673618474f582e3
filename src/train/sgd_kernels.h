/* What the loops of SGD are handed (sgd_body.h, compiled once for each instruction set). */
#ifndef ANX_SRC_TRAIN_SGD_KERNELS_H
#define ANX_SRC_TRAIN_SGD_KERNELS_H

#include <stdbool.h>
#include <stddef.h>

/* A group's options as the elements meet them. */
typedef struct anx_sgd_factors {
    float minus_lr, momentum, keep, weight_decay; /* keep: 1 - dampening */
    float sign;                                   /* -1 to maximize */
    bool has_momentum, has_weight_decay, nesterov;
} anx_sgd_factors;

struct anx_sgd_kernels {
    /* n elements. first: the buffer holds nothing yet. buffer may be NULL where there is no momentum. */
    void (*update)(const anx_sgd_factors *factors, bool first, size_t n, const float *grad, float *param,
                   float *buffer);
};

extern const struct anx_sgd_kernels anx_sgd_kernels_portable, anx_sgd_kernels_avx2, anx_sgd_kernels_avx512;

#endif
