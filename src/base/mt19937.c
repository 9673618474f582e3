#include "src/base/mt19937.h"

#include <math.h>

/* The generator's constants, named as in the paper (and in <random>). */
enum { shift_size = 397 };
static const uint32_t matrix_a = 0x9908b0dfu, upper_mask = 0x80000000u, lower_mask = 0x7fffffffu;

/*
 * The three functions that take the time are compiled for several instruction sets and chosen at run time; what they
 * compute is integers and one fused multiply-add, so that the bits agree.
 */
#define INLINE static inline __attribute__((always_inline))

INLINE uint32_t temper(uint32_t y) {
    y ^= y >> 11;
    y ^= (y << 7) & 0x9d2c5680u;
    y ^= (y << 15) & 0xefc60000u;
    return y ^ (y >> 18);
}

INLINE uint32_t twist(uint32_t above, uint32_t word, uint32_t next_word) {
    const uint32_t mixed = (word & upper_mask) | (next_word & lower_mask);
    return above ^ (mixed >> 1) ^ ((0u - (mixed & 1u)) & matrix_a);
}

INLINE void renew_body(uint32_t *s) {
    /* Each loop reads old words ahead and renewed ones at least 227 words behind: both vectorise. */
    for (int i = 0; i < ANX_MT19937_WORDS - shift_size; i++) s[i] = twist(s[i + shift_size], s[i], s[i + 1]);
    for (int i = ANX_MT19937_WORDS - shift_size; i < ANX_MT19937_WORDS - 1; i++)
        s[i] = twist(s[i + shift_size - ANX_MT19937_WORDS], s[i], s[i + 1]);
    s[ANX_MT19937_WORDS - 1] = twist(s[shift_size - 1], s[ANX_MT19937_WORDS - 1], s[0]);
}

INLINE void uniform_body(const uint32_t *restrict words, size_t n, float low, float high, float *restrict out) {
    const float range = high - low;
    for (size_t i = 0; i < n; i++) {
        const float x = (float)(int32_t)(temper(words[i]) & 0xffffffu) * 0x1p-24f; /* exact */
        const float value = fmaf(x, range, low);
        out[i] = value == high ? low : value;
    }
}

typedef struct kernels {
    void (*renew)(uint32_t *state);
    void (*uniform)(const uint32_t *restrict words, size_t n, float low, float high, float *restrict out);
} kernels;

static void renew_portable(uint32_t *s) {
    renew_body(s);
}

static void uniform_portable(const uint32_t *restrict words, size_t n, float low, float high, float *restrict out) {
    uniform_body(words, n, low, high, out);
}

static const kernels portable = {renew_portable, uniform_portable};

#if defined(__x86_64__)

__attribute__((target("avx2,fma"))) static void renew_avx2(uint32_t *s) {
    renew_body(s);
}

__attribute__((target("avx2,fma"))) static void uniform_avx2(const uint32_t *restrict words, size_t n, float low,
                                                             float high, float *restrict out) {
    uniform_body(words, n, low, high, out);
}

static const kernels *choose(void) {
    static const kernels avx2 = {renew_avx2, uniform_avx2};
    return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") ? &avx2 : &portable;
}

#else

static const kernels *choose(void) {
    return &portable;
}

#endif

void anx_mt19937_seed(anx_mt19937 *gen, uint64_t seed) {
    gen->state[0] = (uint32_t)seed;
    for (uint32_t i = 1; i < ANX_MT19937_WORDS; i++)
        gen->state[i] = 1812433253u * (gen->state[i - 1] ^ (gen->state[i - 1] >> 30)) + i;
    gen->next = ANX_MT19937_WORDS;
}

uint32_t anx_mt19937_u32(anx_mt19937 *gen) {
    if (gen->next >= ANX_MT19937_WORDS) {
        choose()->renew(gen->state);
        gen->next = 0;
    }
    return temper(gen->state[gen->next++]);
}

uint64_t anx_mt19937_u64(anx_mt19937 *gen) {
    const uint64_t high = anx_mt19937_u32(gen);
    return high << 32 | anx_mt19937_u32(gen);
}

void anx_mt19937_uniform_f32(anx_mt19937 *gen, size_t n, float low, float high, float *out) {
    const kernels *k = choose();
    while (n > 0) {
        if (gen->next >= ANX_MT19937_WORDS) {
            k->renew(gen->state);
            gen->next = 0;
        }
        const size_t left = ANX_MT19937_WORDS - gen->next, now = n < left ? n : left;
        k->uniform(gen->state + gen->next, now, low, high, out);
        gen->next += (uint32_t)now;
        out += now;
        n -= now;
    }
}
