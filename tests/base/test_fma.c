#include "src/base/fma.h"
#include "src/base/mt19937.h"
#include "tests/support/anx_test.h"

static float of_bits(uint32_t bits) {
    float f;
    memcpy(&f, &bits, sizeof f);
    return f;
}

static uint32_t bits_of(float f) {
    uint32_t bits;
    memcpy(&bits, &f, sizeof bits);
    return bits;
}

static void check(float a, float b, float c, int *wrong) {
    const float got = anx_fma_by_double(a, b, c), expected = fmaf(a, b, c);
    *wrong += isnan(expected) ? !isnan(got) : bits_of(got) != bits_of(expected);
}

static void any_bits_round_once(void) {
    int wrong = 0;
    anx_mt19937 gen;
    anx_mt19937_seed(&gen, 1);
    for (int i = 0; i < 300000; i++)
        check(of_bits(anx_mt19937_u32(&gen)), of_bits(anx_mt19937_u32(&gen)), of_bits(anx_mt19937_u32(&gen)), &wrong);
    CU_ASSERT_EQUAL(wrong, 0);
}

/* Products and terms of like size, about 1 and about the smallest floats: where rounding twice shows. */
static void like_sizes_round_once(void) {
    static const uint32_t exponents[] = {127, 100, 64, 62, 1, 0};
    int wrong = 0;
    anx_mt19937 gen;
    anx_mt19937_seed(&gen, 2);
    for (int i = 0; i < 600000; i++) {
        const uint32_t e = exponents[i % 6], third = 2 * e > 127 ? 2 * e - 127 : 0;
        const uint32_t mantissa = (UINT32_C(1) << 23) - 1, draw = anx_mt19937_u32(&gen);
        const float a = of_bits(e << 23 | (anx_mt19937_u32(&gen) & mantissa));
        const float b = of_bits(e << 23 | (anx_mt19937_u32(&gen) & mantissa & (0u - (draw & 1u) * 0xffffu)));
        const uint32_t shift = third + (draw >> 1) % 50;
        check(a, b, of_bits((draw & 0x80000000u) | (shift > 25 ? shift - 25 : 0) << 23 | (draw & mantissa)), &wrong);
    }
    CU_ASSERT_EQUAL(wrong, 0);
}

int main(int argc, char **argv) {
    static const anx_test tests[] = {
        {"any bits round once", any_bits_round_once},
        {"products and terms of like size round once", like_sizes_round_once},
        {NULL, NULL},
    };
    return anx_test_main("fma", tests, argc, argv);
}
