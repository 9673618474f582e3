#include "src/base/mt19937.h"

#include <math.h>
#include <string.h>

#include "src/base/isa.h"

/* The generator's constants, named as in the paper (and in <random>). */
enum { shift_size = 397 };
/* `next` of a generator that nothing was drawn from; ANX_MT19937_WORDS: the state's last word was. */
enum { fresh = ANX_MT19937_WORDS + 1 };
static const uint32_t matrix_a = 0x9908b0dfu, upper_mask = 0x80000000u, lower_mask = 0x7fffffffu;

/*
 * The functions that take the time are compiled for several instruction sets and chosen at run time; what they
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

/* Pairs of words, the high half first. limit: in units of 2^-53. */
INLINE void bernoulli_body(const uint32_t *restrict words, size_t n, uint64_t limit, float value, float *restrict out) {
    for (size_t i = 0; i < n; i++) {
        const uint64_t high = temper(words[2 * i]) & 0x1fffffu, low = temper(words[2 * i + 1]);
        out[i] = (int64_t)(high << 32 | low) < (int64_t)limit ? value : 0.0f;
    }
}

typedef struct kernels {
    void (*renew)(uint32_t *state);
    void (*bernoulli)(const uint32_t *restrict words, size_t n, uint64_t limit, float value, float *restrict out);
    void (*uniform)(const uint32_t *restrict words, size_t n, float low, float high, float *restrict out);
} kernels;

static void renew_portable(uint32_t *s) {
    renew_body(s);
}

static void uniform_portable(const uint32_t *restrict words, size_t n, float low, float high, float *restrict out) {
    uniform_body(words, n, low, high, out);
}

static void bernoulli_portable(const uint32_t *restrict words, size_t n, uint64_t limit, float value,
                               float *restrict out) {
    bernoulli_body(words, n, limit, value, out);
}

static const kernels portable = {.renew = renew_portable, .bernoulli = bernoulli_portable, .uniform = uniform_portable};

#if defined(__x86_64__)

__attribute__((target("avx2,fma"))) static void renew_avx2(uint32_t *s) {
    renew_body(s);
}

__attribute__((target("avx2,fma"))) static void uniform_avx2(const uint32_t *restrict words, size_t n, float low,
                                                             float high, float *restrict out) {
    uniform_body(words, n, low, high, out);
}

__attribute__((target("avx2,fma"))) static void bernoulli_avx2(const uint32_t *restrict words, size_t n, uint64_t limit,
                                                               float value, float *restrict out) {
    bernoulli_body(words, n, limit, value, out);
}

static const kernels *choose(void) {
    static const kernels avx2 = {.renew = renew_avx2, .bernoulli = bernoulli_avx2, .uniform = uniform_avx2};
    return anx_isa_best() >= ANX_ISA_AVX2 ? &avx2 : &portable;
}

#else

static const kernels *choose(void) {
    return &portable;
}

#endif

void anx_mt19937_seed(anx_mt19937 *gen, uint64_t seed) {
    *gen = (anx_mt19937){.seed = seed, .next = fresh};
    gen->state[0] = (uint32_t)seed;
    for (uint32_t i = 1; i < ANX_MT19937_WORDS; i++)
        gen->state[i] = 1812433253u * (gen->state[i - 1] ^ (gen->state[i - 1] >> 30)) + i;
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

void anx_mt19937_bernoulli_f32(anx_mt19937 *gen, size_t n, double p, float value, float *out) {
    const kernels *k = choose();
    const uint64_t limit = (uint64_t)ceil(p * 0x1p53); /* x * 2^-53 < p for integers x below that alone */
    const uint64_t mask = (UINT64_C(1) << 53) - 1;
    while (n > 0) {
        const size_t pairs = gen->next < ANX_MT19937_WORDS ? (ANX_MT19937_WORDS - gen->next) / 2 : 0;
        const size_t now = n < pairs ? n : pairs;
        if (now > 0) {
            k->bernoulli(gen->state + gen->next, now, limit, value, out);
            gen->next += 2 * (uint32_t)now;
        } else { /* renews the state, with a word of the old one where one is left */
            *out = (anx_mt19937_u64(gen) & mask) < limit ? value : 0.0f;
        }
        const size_t done = now > 0 ? now : 1;
        out += done;
        n -= done;
    }
}

/* ---- PyTorch's bytes ------------------------------------------------------------------------------------ */

/*
 * CPUGeneratorImplState in aten/src/ATen/CPUGeneratorImpl.cpp, little-endian. `left` is how many words are left
 * before the state is renewed, plus one; of a generator that nothing was drawn from, `left` is 1 and `next` 0.
 */
typedef struct torch_state {
    uint64_t seed;
    int32_t left, seeded;
    uint64_t next, state[ANX_MT19937_WORDS];
    double normal_x, normal_y, normal_rho; /* normal_y is the one left over */
    int32_t normal_is_valid, padding;
    float next_float_normal;
    unsigned char is_next_float_normal_valid, padding_at_end[3];
} torch_state;
enum { legacy_bytes = ANX_MT19937_STATE_BYTES - 8 };
_Static_assert(sizeof(torch_state) == ANX_MT19937_STATE_BYTES, "the state has PyTorch's layout");
_Static_assert(offsetof(torch_state, next_float_normal) == legacy_bytes,
               "the older state is the newer one's beginning");

void anx_mt19937_write_state(const anx_mt19937 *gen, unsigned char out[ANX_MT19937_STATE_BYTES]) {
    torch_state t = {.seed = gen->seed, .seeded = 1, .left = 1};
    if (gen->next != fresh) {
        t.next = gen->next;
        t.left = ANX_MT19937_WORDS + 1 - (int32_t)gen->next;
    }
    for (int i = 0; i < ANX_MT19937_WORDS; i++) t.state[i] = gen->state[i];
    t.normal_is_valid = gen->has_normal;
    t.normal_y = gen->has_normal ? gen->normal : 0.0;
    t.is_next_float_normal_valid = gen->has_float_normal;
    t.next_float_normal = gen->has_float_normal ? gen->float_normal : 0.0f;
    memcpy(out, &t, sizeof t);
}

static bool is_sound(const torch_state *t) {
    if (t->seeded != 1 || t->next > ANX_MT19937_WORDS) return false;
    const int32_t left = t->next == 0 ? 1 : ANX_MT19937_WORDS + 1 - (int32_t)t->next;
    uint64_t words = 0;
    for (int i = 0; i < ANX_MT19937_WORDS; i++) words |= t->state[i];
    return t->left == left && words <= UINT32_MAX;
}

anx_status anx_mt19937_read_state(const unsigned char *bytes, size_t n, anx_mt19937 *out, anx_error *err) {
    torch_state t = {.seed = 0};
    if (n != ANX_MT19937_STATE_BYTES && n != legacy_bytes)
        return anx_error_set(err, ANX_ERR_FORMAT, "a random generator's state of %zu bytes; PyTorch's has %d", n,
                             ANX_MT19937_STATE_BYTES);
    memcpy(&t, bytes, n);
    if (!is_sound(&t))
        return anx_error_set(err, ANX_ERR_FORMAT,
                             "this is no state of PyTorch's CPU generator: it says seeded %d, next %llu, left %d",
                             (int)t.seeded, (unsigned long long)t.next, (int)t.left);
    *out = (anx_mt19937){.seed = t.seed,
                         .next = t.next == 0 ? fresh : (uint32_t)t.next,
                         .has_normal = t.normal_is_valid != 0,
                         .normal = t.normal_y,
                         .has_float_normal = t.is_next_float_normal_valid != 0,
                         .float_normal = t.next_float_normal};
    for (int i = 0; i < ANX_MT19937_WORDS; i++) out->state[i] = (uint32_t)t.state[i];
    return ANX_OK;
}
