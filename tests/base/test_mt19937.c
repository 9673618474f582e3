#include "src/base/mt19937.h"
#include "src/base/sha256.h"
#include "src/train/normal.h"
#include "tests/support/anx_test.h"
#include "tests/train/tables/generator_states.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static void matches_the_standard(void) {
    /* C++ [rand.predef]: the 10000th draw of a default-constructed mt19937, whose seed is 5489. */
    anx_mt19937 gen;
    anx_mt19937_seed(&gen, 5489);
    uint32_t draw = 0;
    for (int i = 0; i < 10000; i++) draw = anx_mt19937_u32(&gen);
    CU_ASSERT_EQUAL(draw, 4123659995u);
}

static void rand_gives_pytorchs_values(void) {
    /* torch.manual_seed(seed); torch.rand(5), PyTorch 2.15 */
    static const struct {
        uint64_t seed;
        float values[5];
    } cases[] = {
        {0, {0x1.fc2abp-2f, 0x1.89545ep-1f, 0x1.6a675p-4f, 0x1.0e66p-3f, 0x1.3acd0cp-2f}},
        {(uint64_t)-1, {0x1.fcd346p-1f, 0x1.248244p-1f, 0x1.23d818p-1f, 0x1.9588ep-5f, 0x1.fc6f68p-1f}},
        {(UINT64_C(1) << 32) + 5, {0x1.a916c6p-1f, 0x1.02467p-3f, 0x1.d09fdep-1f, 0x1.a3cd7ap-1f, 0x1.d717ccp-1f}},
    };
    for (size_t c = 0; c < sizeof cases / sizeof cases[0]; c++) {
        anx_mt19937 gen;
        float got[5];
        anx_mt19937_seed(&gen, cases[c].seed);
        anx_mt19937_uniform_f32(&gen, 5, 0.0f, 1.0f, got);
        for (int i = 0; i < 5; i++) CU_ASSERT_EQUAL(got[i], cases[c].values[i]);
    }
}

static void check_digest(const float *values, size_t n, const char *expected) {
    anx_error err = ANX_ERROR_INIT;
    anx_digest digest, wanted;
    ANX_CHECK_OK(anx_sha256_buffer(values, n * sizeof *values, &digest, &err), &err);
    CU_ASSERT_TRUE_FATAL(anx_digest_parse(expected, &wanted));
    CU_ASSERT_TRUE(anx_digest_equal(&digest, &wanted));
}

static void uniform_gives_pytorchs_bits(void) {
    /* torch.manual_seed(3); x = torch.empty(100003).uniform_(-0.1, 0.037); torch.rand(3). About half of these values
       change in their last bit when the multiply-add is rounded twice. */
    const size_t n = 100003;
    float *x = malloc(n * sizeof *x);
    CU_ASSERT_PTR_NOT_NULL_FATAL(x);
    anx_mt19937 gen;
    anx_mt19937_seed(&gen, 3);
    anx_mt19937_uniform_f32(&gen, n, -0.1f, 0.037f, x);
    check_digest(x, n, "8994f32a1a317812255002f2776d754f3a999bbd3f91e297c6c4297b84ddb0f9");
    float after[3];
    anx_mt19937_uniform_f32(&gen, 3, 0.0f, 1.0f, after);
    CU_ASSERT_EQUAL(after[0], 0x1.d9804cp-1f);
    CU_ASSERT_EQUAL(after[1], 0x1.4ec8ecp-2f);
    CU_ASSERT_EQUAL(after[2], 0x1.2d56fcp-2f);
    free(x);
}

static void upper_bound_becomes_the_lower_one(void) {
    /* torch.manual_seed(7); torch.empty(20000).uniform_(1e6, 1e6 + 1): some 600 values round to 1e6 + 1. */
    const size_t n = 20000;
    float *x = malloc(n * sizeof *x);
    CU_ASSERT_PTR_NOT_NULL_FATAL(x);
    anx_mt19937 gen;
    anx_mt19937_seed(&gen, 7);
    anx_mt19937_uniform_f32(&gen, n, 1e6f, 1e6f + 1.0f, x);
    check_digest(x, n, "2cf1cb71ddf152884f0323e76d7b536b6fcb50c7cb3127cd04949c0faefecde5");
    free(x);
}

static void integer_draws_are_pytorchs(void) {
    /* torch.manual_seed(9); torch.empty(3, dtype=torch.int64).random_(): random64() & (2**63 - 1) */
    static const uint64_t wide[3] = {191369442034012508u, 34580184003183093u, 9145403150510741560u};
    /* torch.manual_seed(9); torch.randint(0, 2**27, (4,)): random() % 2**27 */
    static const uint32_t narrow[4] = {44556670, 88953180, 8051326, 130482677};
    anx_mt19937 gen;
    anx_mt19937_seed(&gen, 9);
    for (int i = 0; i < 3; i++) CU_ASSERT_EQUAL(anx_mt19937_u64(&gen) & INT64_MAX, wide[i]);
    anx_mt19937_seed(&gen, 9);
    for (int i = 0; i < 4; i++) CU_ASSERT_EQUAL(anx_mt19937_u32(&gen) % (UINT32_C(1) << 27), narrow[i]);
}

static void pieces_join_to_one_stream(void) {
    /* Any division into calls, mixed with single draws, gives what one draw after the other gives. */
    enum { total = 5000 };
    anx_mt19937 one, pieces;
    anx_mt19937_seed(&one, 42);
    anx_mt19937_seed(&pieces, 42);
    float got[total], wanted[total];
    for (int i = 0; i < total; i++)
        wanted[i] = fmaf((float)(anx_mt19937_u32(&one) & 0xffffffu) * 0x1p-24f, 0.75f - -0.1f, -0.1f);
    size_t at = 0;
    for (size_t n = 0; at < total; n = n * 2 + 1) {
        const size_t now = n < total - at ? n : total - at;
        anx_mt19937_uniform_f32(&pieces, now, -0.1f, 0.75f, got + at);
        at += now;
        if (at < total)
            got[at++] = fmaf((float)(anx_mt19937_u32(&pieces) & 0xffffffu) * 0x1p-24f, 0.75f - -0.1f, -0.1f);
    }
    int wrong = 0;
    for (int i = 0; i < total; i++) wrong += got[i] != wanted[i];
    CU_ASSERT_EQUAL(wrong, 0);
    CU_ASSERT_EQUAL(anx_mt19937_u32(&one), anx_mt19937_u32(&pieces));
}

/* The generator of a row of the table. */
static void generator_of(size_t i, anx_mt19937 *gen) {
    anx_mt19937_seed(gen, generator_states[i].seed);
    for (int k = 0; k < generator_states[i].draws; k++) anx_mt19937_u32(gen);
    if (!generator_states[i].normal) return;
    float one;
    anx_normal_f32(&anx_train_kernels_portable, gen, 1, 0.0, 1.0, &one);
}

static void states_are_pytorchs_bytes(void) {
    for (size_t i = 0; i < sizeof generator_states / sizeof generator_states[0]; i++) {
        anx_error err = ANX_ERROR_INIT;
        anx_mt19937 gen, again;
        unsigned char bytes[ANX_MT19937_STATE_BYTES];
        anx_digest digest, wanted;
        generator_of(i, &gen);
        anx_mt19937_write_state(&gen, bytes);
        ANX_CHECK_OK(anx_sha256_buffer(bytes, sizeof bytes, &digest, &err), &err);
        CU_ASSERT_TRUE_FATAL(anx_digest_parse(generator_states[i].digest, &wanted));
        CU_ASSERT_TRUE(anx_digest_equal(&digest, &wanted));

        ANX_CHECK_OK(anx_mt19937_read_state(bytes, sizeof bytes, &again, &err), &err);
        float values[3], values_again[3];
        anx_normal_f32(&anx_train_kernels_portable, &gen, 3, 0.0, 1.0, values);
        anx_normal_f32(&anx_train_kernels_portable, &again, 3, 0.0, 1.0, values_again);
        CU_ASSERT_EQUAL(memcmp(values, values_again, sizeof values), 0);
        for (int k = 0; k < 700; k++) CU_ASSERT_EQUAL(anx_mt19937_u32(&gen), anx_mt19937_u32(&again));
    }
}

/* From every place in the state, so that a draw's halves also come from two states; and in pieces. */
static void bernoulli_is_a_comparison_of_64_bit_draws(void) {
    enum { N = 700 };
    static const double probabilities[] = {0.0, 0x1p-53, 0.3, 0.5, 1.0 - 0x1p-53, 1.0};
    for (size_t i = 0; i < sizeof probabilities / sizeof probabilities[0]; i++) {
        for (int before = 0; before < 7; before++) {
            anx_mt19937 gen, one_by_one;
            float values[N];
            anx_mt19937_seed(&gen, 11);
            for (int k = 0; k < before; k++) anx_mt19937_u32(&gen);
            one_by_one = gen;
            anx_mt19937_bernoulli_f32(&gen, 100, probabilities[i], 2.0f, values);
            anx_mt19937_bernoulli_f32(&gen, N - 100, probabilities[i], 2.0f, values + 100);
            int differ = 0;
            for (int k = 0; k < N; k++) {
                const uint64_t low = anx_mt19937_u64(&one_by_one) & ((UINT64_C(1) << 53) - 1);
                const float expected = (double)low * 0x1p-53 < probabilities[i] ? 2.0f : 0.0f;
                differ += values[k] != expected;
            }
            CU_ASSERT_EQUAL(differ, 0);
            CU_ASSERT_EQUAL(anx_mt19937_u32(&gen), anx_mt19937_u32(&one_by_one));
        }
    }
}

/* What is below the probability by as little as can be, and what is equal to it; within the state and at its end. */
static void bernoulli_knows_neighbours_of_the_probability(void) {
    static const int places[] = {2, ANX_MT19937_WORDS - 1}; /* the last word's draw ends in the next state */
    int tried = 0;
    for (uint32_t seed = 0; seed < 64; seed++) {
        for (int place = 0; place < 2; place++) {
            anx_mt19937 gen, again;
            float value = 0.0f;
            anx_mt19937_seed(&gen, seed);
            for (int k = 0; k < ANX_MT19937_WORDS + places[place]; k++) anx_mt19937_u32(&gen);
            again = gen;
            const double draw = (double)(anx_mt19937_u64(&again) & ((UINT64_C(1) << 53) - 1)) * 0x1p-53;
            if (draw == 0.0 || draw >= 0.5) continue; /* between such neighbours there are doubles */
            tried++;
            again = gen;
            anx_mt19937_bernoulli_f32(&again, 1, draw, 2.0f, &value);
            CU_ASSERT_EQUAL(value, 0.0f);
            again = gen;
            anx_mt19937_bernoulli_f32(&again, 1, draw + 0x1p-54, 2.0f, &value);
            CU_ASSERT_EQUAL(value, 2.0f);
            again = gen;
            anx_mt19937_bernoulli_f32(&again, 1, draw - 0x1p-54, 2.0f, &value);
            CU_ASSERT_EQUAL(value, 0.0f);
        }
    }
    CU_ASSERT_TRUE(tried > 30);
}

static void older_states_are_read(void) {
    anx_error err = ANX_ERROR_INIT;
    anx_mt19937 gen, again;
    unsigned char bytes[ANX_MT19937_STATE_BYTES];
    generator_of(1, &gen);
    anx_mt19937_write_state(&gen, bytes);
    ANX_CHECK_OK(anx_mt19937_read_state(bytes, ANX_MT19937_STATE_BYTES - 8, &again, &err), &err);
    CU_ASSERT_EQUAL(anx_mt19937_u32(&gen), anx_mt19937_u32(&again));
}

static void what_is_no_state_is_refused(void) {
    static const struct {
        size_t at;
        unsigned char value;
    } changes[] = {{12, 0}, {16, 113}, {17, 3}, {8, 9}, {24 + 5, 1}, {24 + 623 * 8 + 7, 1}};
    anx_error err = ANX_ERROR_INIT;
    anx_mt19937 gen, out;
    unsigned char bytes[ANX_MT19937_STATE_BYTES + 1] = {0};
    anx_mt19937_seed(&gen, 1);
    for (int k = 0; k < 100; k++) anx_mt19937_u32(&gen);
    anx_mt19937_seed(&out, 5);
    const anx_mt19937 before = out;
    for (size_t i = 0; i < sizeof changes / sizeof changes[0]; i++) {
        anx_mt19937_write_state(&gen, bytes);
        CU_ASSERT_NOT_EQUAL(bytes[changes[i].at], changes[i].value);
        bytes[changes[i].at] = changes[i].value;
        ANX_CHECK_STATUS(ANX_ERR_FORMAT, anx_mt19937_read_state(bytes, ANX_MT19937_STATE_BYTES, &out, &err), &err);
        ANX_CHECK_MESSAGE("no state of PyTorch's CPU generator", &err);
    }
    anx_mt19937_write_state(&gen, bytes);
    ANX_CHECK_STATUS(ANX_ERR_FORMAT, anx_mt19937_read_state(bytes, ANX_MT19937_STATE_BYTES + 1, &out, &err), &err);
    ANX_CHECK_MESSAGE("5057 bytes", &err);
    ANX_CHECK_STATUS(ANX_ERR_FORMAT, anx_mt19937_read_state(bytes, 16, &out, &err), &err);
    CU_ASSERT_TRUE(out.next == before.next && memcmp(out.state, before.state, sizeof out.state) == 0);
}

int main(int argc, char **argv) {
    static const anx_test tests[] = {
        {"the ten-thousandth draw is the standard's", matches_the_standard},
        {"rand gives PyTorch's values for any seed", rand_gives_pytorchs_values},
        {"uniform gives PyTorch's bits", uniform_gives_pytorchs_bits},
        {"a value equal to the upper bound becomes the lower one", upper_bound_becomes_the_lower_one},
        {"integer draws are PyTorch's", integer_draws_are_pytorchs},
        {"a stream drawn in pieces is the same stream", pieces_join_to_one_stream},
        {"bernoulli is a comparison of 64-bit draws", bernoulli_is_a_comparison_of_64_bit_draws},
        {"bernoulli knows neighbours of the probability", bernoulli_knows_neighbours_of_the_probability},
        {"states are PyTorch's bytes", states_are_pytorchs_bytes},
        {"older states are read", older_states_are_read},
        {"what is no state is refused", what_is_no_state_is_refused},
        {NULL, NULL},
    };
    return anx_test_main("mt19937", tests, argc, argv);
}
