#include "src/train/loss.h"

#include <math.h>
#include <string.h>

anx_status anx_cross_entropy_check(const anx_cross_entropy *ce, anx_error *err) {
    if (ce->rows < 1 || ce->classes < 1)
        return anx_error_set(err, ANX_ERR_INVALID_ARGUMENT, "cross-entropy of %lld images and %lld classes",
                             (long long)ce->rows, (long long)ce->classes);
    if (!(ce->label_smoothing >= 0.0 && ce->label_smoothing <= 1.0))
        return anx_error_set(err, ANX_ERR_INVALID_ARGUMENT, "label smoothing is %g; it must be between 0 and 1",
                             ce->label_smoothing);
    if (ce->label_smoothing > 0.0 && ce->scratch == NULL)
        return anx_error_set(err, ANX_ERR_INVALID_ARGUMENT, "label smoothing wants scratch for a float an image");
    for (int64_t i = 0; i < ce->rows; i++)
        if (ce->targets[i] < 0 || ce->targets[i] >= ce->classes)
            return anx_error_set(err, ANX_ERR_INVALID_ARGUMENT, "the target of image %lld is %lld of %lld classes",
                                 (long long)i, (long long)ce->targets[i], (long long)ce->classes);
    return ANX_OK;
}

/* ---- sums as at::sum has them --------------------------------------------------------------------------- */

/*
 * aten/src/ATen/native/cpu/SumKernel.cpp: cascades of 16 over four levels. A row of vectors is read as four columns,
 * each cascaded by itself. Vectors have 8 lanes, on AVX-512 too.
 */
enum { SUM_LANES = 8, SUM_COLUMNS = 4, SUM_LEVELS = 4 };

static int ceil_log2(size_t n) {
    int log = 0;
    while (log < 62 && (size_t)1 << log < n) log++;
    return log;
}

/* Vectors of `lanes` floats: vector v starts at x[v * lanes]. Rows of SUM_COLUMNS vectors; out: a sum for each lane of
   each column. */
static void cascade(const float *x, size_t rows, size_t lanes, float out[SUM_COLUMNS * SUM_LANES]) {
    const size_t width = SUM_COLUMNS * lanes;
    const int power = ceil_log2(rows) / SUM_LEVELS > 4 ? ceil_log2(rows) / SUM_LEVELS : 4;
    const size_t step = (size_t)1 << power;
    float level[SUM_LEVELS][SUM_COLUMNS * SUM_LANES] = {{0.0f}};
    size_t i = 0;
    while (i + step <= rows) {
        for (size_t j = 0; j < step; j++, i++)
            for (size_t k = 0; k < width; k++) level[0][k] += x[i * width + k];
        for (int l = 1; l < SUM_LEVELS; l++) {
            for (size_t k = 0; k < width; k++) {
                level[l][k] += level[l - 1][k];
                level[l - 1][k] = 0.0f;
            }
            if ((i & (step - 1) << (l * power)) != 0) break;
        }
    }
    for (; i < rows; i++)
        for (size_t k = 0; k < width; k++) level[0][k] += x[i * width + k];
    for (int l = 1; l < SUM_LEVELS; l++)
        for (size_t k = 0; k < width; k++) level[0][k] += level[l][k];
    memcpy(out, level[0], width * sizeof *out);
}

/* row_sum: one sum for each lane. */
static void row_sum(const float *x, size_t vectors, size_t lanes, float out[SUM_LANES]) {
    float partial[SUM_COLUMNS * SUM_LANES];
    const size_t rows = vectors / SUM_COLUMNS;
    cascade(x, rows, lanes, partial);
    for (size_t v = rows * SUM_COLUMNS; v < vectors; v++)
        for (size_t j = 0; j < lanes; j++) partial[j] += x[v * lanes + j];
    for (size_t k = 1; k < SUM_COLUMNS; k++)
        for (size_t j = 0; j < lanes; j++) partial[j] += partial[k * lanes + j];
    memcpy(out, partial, lanes * sizeof *out);
}

/* A contiguous run of n values. */
static float sum_of(const float *x, size_t n) {
    float lane[SUM_LANES];
    if (n < SUM_LANES) {
        row_sum(x, n, 1, lane);
        return lane[0];
    }
    const size_t vectors = n / SUM_LANES;
    row_sum(x, vectors, SUM_LANES, lane);
    float sum = 0.0f;
    for (size_t i = vectors * SUM_LANES; i < n; i++) sum += x[i];
    for (size_t j = 0; j < SUM_LANES; j++) sum += lane[j];
    return sum;
}

/* ---- the loss ------------------------------------------------------------------------------------------- */

/* nll_loss_out_frame in aten/src/ATen/native/LossNLL.cpp: a cascade of 16 over eight levels, of which a row's number
   says how far it goes up. */
static float nll_mean(const anx_cross_entropy *ce, const float *log_probs) {
    enum { LEVELS = 8, POWER = 4 };
    float level[LEVELS] = {0.0f}, sum = 0.0f;
    for (int64_t b = 0; b < ce->rows; b++) {
        level[0] -= log_probs[b * ce->classes + ce->targets[b]];
        for (int j = 0; j < LEVELS - 1 && (b & INT64_C(15) << (j * POWER)) == 0; j++) {
            level[j + 1] += level[j];
            level[j] = 0.0f;
        }
    }
    for (int j = 0; j < LEVELS; j++) sum += level[j];
    return sum / (float)ce->rows;
}

/* The sum over the rows of -sum(row), in pieces that PyTorch holds as a tensor of N. */
static float smooth_sum(const anx_cross_entropy *ce, const float *log_probs, float *row_sums) {
    for (int64_t b = 0; b < ce->rows; b++) row_sums[b] = -sum_of(log_probs + b * ce->classes, (size_t)ce->classes);
    return sum_of(row_sums, (size_t)ce->rows);
}

float anx_cross_entropy_forward(const anx_train_kernels *kernels, const anx_cross_entropy *ce, const float *logits,
                                float *log_probs, int threads) {
#pragma omp parallel for schedule(static) num_threads(threads) if (ce->rows * ce->classes > 1 << 12)
    for (int64_t b = 0; b < ce->rows; b++)
        kernels->log_softmax((size_t)ce->classes, logits + b * ce->classes, log_probs + b * ce->classes);
    const float nll = nll_mean(ce, log_probs);
    const double e = ce->label_smoothing;
    if (!(e > 0.0)) return nll;
    const float smooth = smooth_sum(ce, log_probs, ce->scratch) / (float)ce->rows;
    return (float)(1.0 - e) * nll + smooth * (float)(e / (double)ce->classes);
}

void anx_cross_entropy_backward(const anx_train_kernels *kernels, const anx_cross_entropy *ce, const float *log_probs,
                                float *grad, int threads) {
    const double e = ce->label_smoothing;
    const float rows = (float)ce->rows, at_target = -((float)(1.0 - e) / rows);
    const float everywhere = e > 0.0 ? -((float)(e / (double)ce->classes) / rows) : 0.0f;
#pragma omp parallel for schedule(static) num_threads(threads) if (ce->rows * ce->classes > 1 << 12)
    for (int64_t b = 0; b < ce->rows; b++) {
        float *row = grad + b * ce->classes;
        for (int64_t i = 0; i < ce->classes; i++) row[i] = everywhere;
        row[ce->targets[b]] = everywhere + at_target;
        kernels->log_softmax_backward((size_t)ce->classes, log_probs + b * ce->classes, row);
    }
}

/* ---- in double ------------------------------------------------------------------------------------------ */

static double max_of(const double *x, int64_t n) {
    double max = x[0];
    for (int64_t i = 1; i < n; i++) max = x[i] > max || isnan(x[i]) ? x[i] : max;
    return max;
}

/* The row's loss times N. */
static double row_f64(const anx_cross_entropy *ce, int64_t b, const double *x, double *log_probs, double *grad) {
    const int64_t n = ce->classes;
    const double max = max_of(x, n), e = ce->label_smoothing, each = e / (double)n;
    double sum = 0.0, loss = 0.0;
    for (int64_t i = 0; i < n; i++) sum += exp(x[i] - max);
    const double log_sum = log(sum);
    for (int64_t i = 0; i < n; i++) {
        const double wanted = each + (i == ce->targets[b] ? 1.0 - e : 0.0), log_prob = (x[i] - max) - log_sum;
        if (wanted != 0.0) loss -= wanted * log_prob;
        if (log_probs != NULL) log_probs[i] = log_prob;
        if (grad != NULL) grad[i] = (exp(log_prob) - wanted) / (double)ce->rows;
    }
    return loss;
}

double anx_cross_entropy_f64(const anx_cross_entropy *ce, const double *logits, double *log_probs, double *grad) {
    double loss = 0.0;
    for (int64_t b = 0; b < ce->rows; b++) {
        const int64_t at = b * ce->classes;
        loss += row_f64(ce, b, logits + at, log_probs != NULL ? log_probs + at : NULL, grad != NULL ? grad + at : NULL);
    }
    return loss / (double)ce->rows;
}

int64_t anx_top1_count(const anx_cross_entropy *ce, const float *logits) {
    int64_t count = 0;
    for (int64_t b = 0; b < ce->rows; b++) {
        const float *x = logits + b * ce->classes;
        int64_t best = 0;
        for (int64_t i = 1; i < ce->classes && !isnan(x[best]); i++)
            if (x[i] > x[best] || isnan(x[i])) best = i;
        count += best == ce->targets[b];
    }
    return count;
}
