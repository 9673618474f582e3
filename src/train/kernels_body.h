/*
 * The source that kernels_portable.c, kernels_avx2.c and kernels_avx512.c compile, each for its own instruction set;
 * KERNELS is the name of the table. Loops are plain C that compilers vectorise.
 */
#include "src/base/cephes.h"
#include "src/base/fma.h"
#include "src/base/sleef.h"
#include "src/train/kernels.h"

#define INLINE static inline __attribute__((always_inline))

/* ---- SGD: five floats go through memory for an element, which is what bounds it ------------------------- */

typedef enum momentum_mode { NONE, FIRST, FIRST_NESTEROV, LATER, LATER_NESTEROV } momentum_mode;

/* Inlined with constants for mode and decay, so that each loop is without branches. */
INLINE void sgd_loop(const anx_sgd_factors *factors, const momentum_mode mode, const bool decay, size_t n,
                     const float *restrict grad, float *restrict param, float *restrict buffer) {
    const anx_sgd_factors f = *factors;
    for (size_t i = 0; i < n; i++) {
        const float p = param[i];
        float g = grad[i] * f.sign;
        if (decay) g = anx_fma(p, f.weight_decay, g);
        if (mode != NONE) {
            float b = g;
            if (mode == LATER || mode == LATER_NESTEROV) b = anx_fma(g, f.keep, buffer[i] * f.momentum);
            buffer[i] = b;
            g = mode == FIRST_NESTEROV || mode == LATER_NESTEROV ? anx_fma(b, f.momentum, g) : b;
        }
        param[i] = anx_fma(g, f.minus_lr, p);
    }
}

static momentum_mode mode_of(const anx_sgd_factors *f, bool first) {
    if (!f->has_momentum) return NONE;
    if (first) return f->nesterov ? FIRST_NESTEROV : FIRST;
    return f->nesterov ? LATER_NESTEROV : LATER;
}

INLINE void sgd_mode(const anx_sgd_factors *f, const momentum_mode mode, size_t n, const float *grad, float *param,
                     float *buffer) {
    if (f->has_weight_decay)
        sgd_loop(f, mode, true, n, grad, param, buffer);
    else
        sgd_loop(f, mode, false, n, grad, param, buffer);
}

static void sgd(const anx_sgd_factors *f, bool first, size_t n, const float *grad, float *param, float *buffer) {
    switch (mode_of(f, first)) {
    case NONE: sgd_mode(f, NONE, n, grad, param, buffer); return;
    case FIRST: sgd_mode(f, FIRST, n, grad, param, buffer); return;
    case FIRST_NESTEROV: sgd_mode(f, FIRST_NESTEROV, n, grad, param, buffer); return;
    case LATER: sgd_mode(f, LATER, n, grad, param, buffer); return;
    case LATER_NESTEROV: sgd_mode(f, LATER_NESTEROV, n, grad, param, buffer); return;
    }
}

/* ---- log_softmax, in the 16 lanes of AVX-512 ------------------------------------------------------------ */

enum { LANES = 16 };

/* vec::reduce_all and vec::map_reduce_all with +: lane j adds the elements j mod 16 in order. */
static float lane_sum(size_t n, const float *x) {
    if (n < LANES) {
        float sum = x[0];
        for (size_t i = 1; i < n; i++) sum += x[i];
        return sum;
    }
    float lane[LANES];
    memcpy(lane, x, sizeof lane);
    size_t at = LANES;
    for (; at + LANES <= n; at += LANES)
        for (size_t j = 0; j < LANES; j++) lane[j] += x[at + j];
    for (size_t j = 0; at + j < n; j++) lane[j] += x[at + j];
    for (size_t half = LANES / 2; half >= 1; half /= 2)
        for (size_t j = 0; j < half; j++) lane[j] += lane[j + half];
    return lane[0];
}

/* NaN if there is one. */
static float row_max(size_t n, const float *x) {
    float max = x[0];
    for (size_t i = 1; i < n; i++) max = x[i] > max || x[i] != x[i] ? x[i] : max;
    return max;
}

static void log_softmax(size_t n, const float *restrict x, float *restrict log_probs) {
    const float max = row_max(n, x);
    for (size_t i = 0; i < n; i++) log_probs[i] = anx_sleef_exp(x[i] - max);
    const float log_sum = anx_sleef_log(lane_sum(n, log_probs));
    for (size_t i = 0; i < n; i++) log_probs[i] = (x[i] - max) - log_sum;
}

static void log_softmax_backward(size_t n, const float *restrict log_probs, float *restrict grad) {
    const float sum = lane_sum(n, grad);
    for (size_t i = 0; i < n; i++) grad[i] = anx_fma(-anx_sleef_exp(log_probs[i]), sum, grad[i]);
}

/* ---- normal values -------------------------------------------------------------------------------------- */

/* normal_fill_16_AVX2: the values j and j + 8 make a pair. */
static void normal(size_t blocks, float mean, float std, float *restrict values) {
    for (size_t b = 0; b < blocks; b++) {
        float *x = values + 16 * b;
        for (size_t j = 0; j < 8; j++) {
            float sine, cosine;
            const float radius = sqrtf(-2.0f * anx_cephes_log(1.0f - x[j]));
            anx_cephes_sincos(6.2831855f * x[j + 8], &sine, &cosine);
            x[j] = anx_fma(radius * cosine, std, mean);
            x[j + 8] = anx_fma(radius * sine, std, mean);
        }
    }
}

const anx_train_kernels KERNELS = {
    .sgd = sgd,
    .log_softmax = log_softmax,
    .log_softmax_backward = log_softmax_backward,
    .normal = normal,
};
