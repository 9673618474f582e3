#include "src/base/sleef.h"
#include "tests/support/anx_test.h"

static double ulps(float got, double expected) {
    const float near = (float)expected;
    return fabs((double)got - expected) / (double)(nextafterf(near, INFINITY) - near);
}

/* SLEEF promises less than 1 ulp; what is computed of it to the bit is tested where it is used. */
static void exponentials_are_near(void) {
    double worst = 0.0;
    for (float x = -87.0f; x < 88.0f; x += 0.00173f) worst = fmax(worst, ulps(anx_sleef_exp(x), exp((double)x)));
    CU_ASSERT_TRUE(worst > 0.5 && worst < 1.0);
}

static void logarithms_are_near(void) {
    double worst = 0.0;
    for (float x = 1.0001f; x < 1e30f; x *= 1.00017f) worst = fmax(worst, ulps(anx_sleef_log(x), log((double)x)));
    CU_ASSERT_TRUE(worst > 0.5 && worst < 1.0);
    CU_ASSERT_EQUAL(anx_sleef_log(1.0f), 0.0f);
}

static void ends_of_the_range(void) {
    CU_ASSERT_EQUAL(anx_sleef_exp(0.0f), 1.0f);
    CU_ASSERT_EQUAL(anx_sleef_exp(-0.0f), 1.0f);
    CU_ASSERT_EQUAL(anx_sleef_exp(-INFINITY), 0.0f);
    CU_ASSERT_EQUAL(anx_sleef_exp(-105.0f), 0.0f);
    CU_ASSERT_TRUE(anx_sleef_exp(-103.0f) > 0.0f); /* the smallest float */
    CU_ASSERT_EQUAL(anx_sleef_exp(101.0f), INFINITY);
    CU_ASSERT_TRUE(isnan(anx_sleef_exp(NAN)));
    CU_ASSERT_TRUE(isnan(anx_sleef_log(NAN)));
}

int main(int argc, char **argv) {
    static const anx_test tests[] = {
        {"exponentials are near", exponentials_are_near},
        {"logarithms are near", logarithms_are_near},
        {"the ends of the range", ends_of_the_range},
        {NULL, NULL},
    };
    return anx_test_main("sleef", tests, argc, argv);
}
