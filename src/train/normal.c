#include "src/train/normal.h"

#include <math.h>

enum { BLOCK = 16 };

static double draw_double(anx_mt19937 *gen) {
    return (double)(int64_t)(anx_mt19937_u64(gen) & ((UINT64_C(1) << 53) - 1)) * 0x1p-53;
}

/* normal_distribution<double>: one value with mean 0 and standard deviation 1. */
static double draw_normal(anx_mt19937 *gen) {
    if (gen->has_normal) {
        gen->has_normal = false;
        return gen->normal;
    }
    const double u1 = draw_double(gen), u2 = draw_double(gen);
    const double radius = sqrt(-2.0 * log1p(-u2)), angle = 2.0 * M_PI * u1;
    gen->normal = radius * sin(angle);
    gen->has_normal = true;
    return radius * cos(angle);
}

void anx_normal_f32(const anx_train_kernels *kernels, anx_mt19937 *gen, size_t n, double mean, double std, float *out) {
    if (n < BLOCK) {
        for (size_t i = 0; i < n; i++) out[i] = (float)fma(draw_normal(gen), std, mean);
        return;
    }
    anx_mt19937_uniform_f32(gen, n, 0.0f, 1.0f, out);
    kernels->normal(n / BLOCK, (float)mean, (float)std, out);
    if (n % BLOCK == 0) return;
    anx_mt19937_uniform_f32(gen, BLOCK, 0.0f, 1.0f, out + n - BLOCK);
    kernels->normal(1, (float)mean, (float)std, out + n - BLOCK);
}
