/*
 * The Mersenne Twister mt19937 and the values PyTorch's CPU generator makes of it, bit for bit.
 *
 * Sources: Matsumoto and Nishimura, "Mersenne Twister: a 623-dimensionally equidistributed uniform pseudo-random
 * number generator" (1998), init_genrand of 2002; PyTorch's aten/src/ATen/core/MT19937RNGEngine.h,
 * CPUGeneratorImpl.cpp and TransformationHelper.h.
 */
#ifndef ANX_SRC_BASE_MT19937_H
#define ANX_SRC_BASE_MT19937_H

#include "src/base/status.h"

enum {
    ANX_MT19937_WORDS = 624,
    ANX_MT19937_STATE_BYTES = 5056, /* of torch.get_rng_state() */
};

/* Plain data: a copy is a generator that goes on from the same place. Start with anx_mt19937_seed. */
typedef struct anx_mt19937 {
    uint32_t state[ANX_MT19937_WORDS];
    uint32_t next; /* word of state that is drawn next; from ANX_MT19937_WORDS on, the state is renewed first */
    uint64_t seed; /* as it was given */
    bool has_normal, has_float_normal; /* a normal value is left over from a pair (src/train/normal.h) */
    double normal;                     /* of draws in double */
    float float_normal;                /* of draws in float, which PyTorch's CPU kernels do not make */
} anx_mt19937;

/*
 * As torch.manual_seed(seed): the engine uses the low 32 bits alone. A negative seed is its two's complement
 * (torch.manual_seed(-1) is (uint64_t)-1).
 */
void anx_mt19937_seed(anx_mt19937 *gen, uint64_t seed);

/* One tempered draw; and PyTorch's random64(): two draws, the first one the high half. */
uint32_t anx_mt19937_u32(anx_mt19937 *gen);
uint64_t anx_mt19937_u64(anx_mt19937 *gen);

/*
 * out[0 .. n): as torch.empty(n).uniform_(low, high); torch.rand(n) is low = 0, high = 1. One draw a value,
 * x = (draw mod 2^24) * 2^-24, fmaf(x, high - low, low); a result equal to high becomes low. PyTorch writes the
 * last step as x * (high - low) + low, which its AVX2 and AVX-512 builds contract into one rounding.
 * Both bounds are float32, low <= high. The same bits on every machine. Tensors of any shape are filled in memory
 * order.
 */
void anx_mt19937_uniform_f32(anx_mt19937 *gen, size_t n, float low, float high, float *out);

/*
 * out[0 .. n): `value` with probability p, else 0, as tensor.bernoulli_(p) decides with a double p from 0 to 1: an
 * anx_mt19937_u64 each, whose low 53 bits times 2^-53 are compared with p.
 */
void anx_mt19937_bernoulli_f32(anx_mt19937 *gen, size_t n, double p, float value, float *out);

/*
 * The generator as the bytes of torch.get_rng_state(), and from them, as torch.set_rng_state() takes them: both go on
 * with the same stream. n: ANX_MT19937_STATE_BYTES, or 8 less, as versions before 1.6 wrote.
 * Errors: FORMAT (another length, or what no generator's state has); *out is then untouched.
 */
void anx_mt19937_write_state(const anx_mt19937 *gen, unsigned char out[ANX_MT19937_STATE_BYTES]);
anx_status anx_mt19937_read_state(const unsigned char *bytes, size_t n, anx_mt19937 *out, anx_error *err);

#endif
