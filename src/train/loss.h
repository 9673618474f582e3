/*
 * torch.nn.functional.cross_entropy(logits, targets, label_smoothing=) with mean reduction, and its gradient, to the
 * bit: _vec_log_softmax_lastdim, nll_loss, sum and the derivatives of them, in the order in which PyTorch 2.15 sums
 * on a CPU with AVX-512 (without it, and in 1.13, log_softmax sums in 8 lanes, not in 16). It defines the order: the
 * bits here are the same on every machine and for any number of threads (but for the payload and sign of a NaN).
 *
 * Arrays are row-major and contiguous: logits, log-probabilities and gradients (N, C), targets (N).
 */
#ifndef ANX_SRC_TRAIN_LOSS_H
#define ANX_SRC_TRAIN_LOSS_H

#include "src/train/kernels.h"

typedef struct anx_cross_entropy {
    int64_t rows, classes;  /* N, C: 1 or more */
    double label_smoothing; /* 0 .. 1 */
    const int64_t *targets; /* each 0 .. C-1; there is no ignore_index */
    float *scratch;         /* N floats for label smoothing; NULL without */
} anx_cross_entropy;

/* INVALID_ARGUMENT where one of these is out of its range: which row, and what it is. */
anx_status anx_cross_entropy_check(const anx_cross_entropy *ce, anx_error *err);

/*
 * The loss of checked `ce`, and log_softmax of the logits in log_probs, which the gradient needs. Logits may be
 * anything, infinite or NaN. threads >= 1.
 */
float anx_cross_entropy_forward(const anx_train_kernels *kernels, const anx_cross_entropy *ce, const float *logits,
                                float *log_probs, int threads);

/* d loss / d logits into grad, from forward's log_probs. */
void anx_cross_entropy_backward(const anx_train_kernels *kernels, const anx_cross_entropy *ce, const float *log_probs,
                                float *grad, int threads);

/*
 * The same in double from logits in double, for the truth: the loss, and where they are not NULL the log-probabilities
 * and the gradient (N, C).
 */
double anx_cross_entropy_f64(const anx_cross_entropy *ce, const double *logits, double *log_probs, double *grad);

/* How many rows have their largest logit at the target: the first of equal ones, and NaN is larger than any number
   (torch.argmax). */
int64_t anx_top1_count(const anx_cross_entropy *ce, const float *logits);

#endif
