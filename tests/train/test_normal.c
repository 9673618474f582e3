#include "src/train/normal.h"

#include <math.h>
#include <string.h>

#include "src/base/cephes.h"
#include "src/base/sha256.h"
#include "tests/support/anx_test.h"
#include "tests/train/tables/normals.h"

enum { MOST = 4096 };

static void check_bits(float got, uint32_t expected) {
    CU_ASSERT_EQUAL(memcmp(&got, &expected, sizeof got), 0);
}

static void check_values(const anx_train_kernels *kernels) {
    static float x[MOST];
    for (size_t i = 0; i < sizeof normals / sizeof normals[0]; i++) {
        anx_error err = ANX_ERROR_INIT;
        anx_digest digest;
        char hex[ANX_SHA256_HEX] = "";
        float after;
        anx_mt19937 gen;
        anx_mt19937_seed(&gen, i);
        anx_normal_f32(kernels, &gen, normals[i].n, normals[i].mean, normals[i].std, x);
        ANX_CHECK_OK(anx_sha256_buffer(x, normals[i].n * sizeof *x, &digest, &err), &err);
        CU_ASSERT_STRING_EQUAL(anx_digest_hex(&digest, hex), normals[i].digest);
        check_bits(x[0], normals[i].first);
        check_bits(x[normals[i].n - 1], normals[i].last);
        anx_normal_f32(kernels, &gen, 1, 0.0, 1.0, &after);
        check_bits(after, normals[i].after);
    }
}

static void values_are_pytorchs(void) {
    const anx_train_kernels *best = NULL;
    anx_error err = ANX_ERROR_INIT;
    ANX_CHECK_OK(anx_train_kernels_select(&best, &err), &err);
    check_values(best);
    check_values(&anx_train_kernels_portable);
}

static void a_seed_forgets_the_value_left_over(void) {
    float first, again;
    anx_mt19937 gen;
    anx_mt19937_seed(&gen, 1);
    anx_normal_f32(&anx_train_kernels_portable, &gen, 1, 0.0, 1.0, &first);
    anx_mt19937_seed(&gen, 1);
    anx_normal_f32(&anx_train_kernels_portable, &gen, 1, 0.0, 1.0, &again);
    CU_ASSERT_EQUAL(first, again);
}

/* The vector library's functions are what they are called, but for some units in the last place. */
static void functions_are_near(void) {
    for (float x = 0x1p-24f; x <= 1.0f; x *= 1.0003f)
        CU_ASSERT_DOUBLE_EQUAL(anx_cephes_log(x), log((double)x), 3e-7 * fabs(log((double)x)) + 1e-7);
    for (float x = 0.0f; x < 6.2831855f; x += 0.0007f) {
        float sine, cosine;
        anx_cephes_sincos(x, &sine, &cosine);
        CU_ASSERT_DOUBLE_EQUAL(sine, sin((double)x), 1.5e-7);
        CU_ASSERT_DOUBLE_EQUAL(cosine, cos((double)x), 1.5e-7);
    }
}

int main(int argc, char **argv) {
    static const anx_test tests[] = {
        {"values are PyTorch's, bit for bit", values_are_pytorchs},
        {"a seed forgets the value left over", a_seed_forgets_the_value_left_over},
        {"the vector library's functions are near", functions_are_near},
        {NULL, NULL},
    };
    return anx_test_main("normal", tests, argc, argv);
}
