/*
 * The source that sgd_portable.c, sgd_avx2.c and sgd_avx512.c compile, each for its own instruction set; KERNELS is
 * the name of the table. Five floats go through memory for an element, which is what bounds these loops.
 */
#include "src/base/fma.h"
#include "src/train/sgd_kernels.h"

typedef enum momentum_mode { NONE, FIRST, FIRST_NESTEROV, LATER, LATER_NESTEROV } momentum_mode;

/* Inlined with constants for mode and decay, so that each loop is without branches. */
static inline __attribute__((always_inline)) void update(const anx_sgd_factors *factors, const momentum_mode mode,
                                                         const bool decay, size_t n, const float *restrict grad,
                                                         float *restrict param, float *restrict buffer) {
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

static inline __attribute__((always_inline)) void update_mode(const anx_sgd_factors *f, const momentum_mode mode,
                                                              size_t n, const float *grad, float *param,
                                                              float *buffer) {
    if (f->has_weight_decay)
        update(f, mode, true, n, grad, param, buffer);
    else
        update(f, mode, false, n, grad, param, buffer);
}

static void update_any(const anx_sgd_factors *f, bool first, size_t n, const float *grad, float *param, float *buffer) {
    switch (mode_of(f, first)) {
    case NONE: update_mode(f, NONE, n, grad, param, buffer); return;
    case FIRST: update_mode(f, FIRST, n, grad, param, buffer); return;
    case FIRST_NESTEROV: update_mode(f, FIRST_NESTEROV, n, grad, param, buffer); return;
    case LATER: update_mode(f, LATER, n, grad, param, buffer); return;
    case LATER_NESTEROV: update_mode(f, LATER_NESTEROV, n, grad, param, buffer); return;
    }
}

const struct anx_sgd_kernels KERNELS = {update_any};
