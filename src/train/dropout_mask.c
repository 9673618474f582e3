#include "src/train/dropout_mask.h"

anx_status anx_dropout_check(double p, anx_error *err) {
    if (p >= 0.0 && p <= 1.0) return ANX_OK;
    return anx_error_set(err, ANX_ERR_INVALID_ARGUMENT, "the dropout probability is %g; it must be between 0 and 1", p);
}

float anx_dropout_scale(double p) {
    return p == 1.0 ? 0.0f : 1.0f / (float)(1.0 - p);
}

void anx_dropout_factors(anx_mt19937 *gen, double p, size_t n, float *factors) {
    const float scale = anx_dropout_scale(p);
    if (p > 0.0 && p < 1.0)
        anx_mt19937_bernoulli_f32(gen, n, 1.0 - p, scale, factors);
    else
        for (size_t i = 0; i < n; i++) factors[i] = scale;
}
