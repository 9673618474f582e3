/*
 * The loops of training that are compiled once for each instruction set from one source (kernels_body.h). Every one
 * gives the same bits whatever it was compiled for, but for the payload and sign of a NaN.
 */
#ifndef ANX_SRC_TRAIN_KERNELS_H
#define ANX_SRC_TRAIN_KERNELS_H

#include "src/base/status.h"

/* The options of an SGD group as its elements meet them (sgd.h). */
typedef struct anx_sgd_factors {
    float minus_lr, momentum, keep, weight_decay; /* keep: 1 - dampening */
    float sign;                                   /* -1 to maximize */
    bool has_momentum, has_weight_decay, nesterov;
} anx_sgd_factors;

typedef struct anx_train_kernels {
    /* n elements of a parameter. first: the buffer holds nothing yet. buffer may be NULL where there is no momentum. */
    void (*sgd)(const anx_sgd_factors *factors, bool first, size_t n, const float *grad, float *param, float *buffer);
    /* A row of n >= 1: log_softmax as PyTorch sums it in 16 lanes (loss.h). */
    void (*log_softmax)(size_t n, const float *x, float *log_probs);
    /* A row of the gradient of log_softmax: grad holds the gradient of log_probs before, of x afterwards. */
    void (*log_softmax_backward)(size_t n, const float *log_probs, float *grad);
    /* Blocks of 16 uniform values from 0 .. 1 become normal ones (normal.h). */
    void (*normal)(size_t blocks, float mean, float std, float *values);
} anx_train_kernels;

extern const anx_train_kernels anx_train_kernels_portable, anx_train_kernels_avx2, anx_train_kernels_avx512;

/*
 * The best loops that this processor runs; the environment's ANX_ISA (avx512, avx2, portable) may name lesser ones.
 * Errors: INVALID_ARGUMENT (ANX_ISA is none of them).
 */
anx_status anx_train_kernels_select(const anx_train_kernels **out, anx_error *err);

#endif
