#include "src/train/dropout_mask.h"

anx_status anx_dropout_check(double p, anx_error *err) {
    if (p >= 0.0 && p <= 1.0) return ANX_OK;
    return anx_error_set(err, ANX_ERR_INVALID_ARGUMENT, "the dropout probability is %g; it must be between 0 and 1", p);
}

float anx_dropout_scale(double p) {
    return p == 1.0 ? 0.0f : 1.0f / (float)(1.0 - p);
}

/* bernoulli_: a uniform double of the low 53 bits, below the probability. */
static float draw(anx_mt19937 *gen, double keep, float scale) {
    const double x = (double)(int64_t)(anx_mt19937_u64(gen) & ((UINT64_C(1) << 53) - 1)) * 0x1p-53;
    return x < keep ? scale : 0.0f;
}

void anx_dropout_factors(anx_mt19937 *gen, double p, size_t n, float *factors) {
    const float scale = anx_dropout_scale(p);
    const bool draws = p > 0.0 && p < 1.0;
    for (size_t i = 0; i < n; i++) factors[i] = draws ? draw(gen, 1.0 - p, scale) : scale;
}
