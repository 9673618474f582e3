/* Ranges and means of tensors' values, against the same by hand. */
#include "src/base/tensor_stats.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "tests/support/anx_test.h"

static anx_tensor_stats stats_of(const anx_elements *e) {
    anx_tensor_stats total = ANX_TENSOR_STATS_INIT, piece;
    for (int64_t i = 0; i < anx_tensor_stats_pieces(e); i++) {
        anx_tensor_stats_piece(e, i, &piece);
        anx_tensor_stats_add(&total, &piece);
    }
    return total;
}

static anx_tensor_stats stats_of_values(anx_dtype dtype, const void *values, int64_t n) {
    const anx_elements e = {.tensor = anx_tensor_view(dtype, 1, &n, values)};
    return stats_of(&e);
}

static void every_type(void) {
    const float f32[] = {1.5f, -2.25f, 0.0f};
    const double f64[] = {1e300, -1e-300, 3.0};
    const uint16_t f16[] = {0x3c00, 0xc400, 0x7bff};  /* 1, -4, 65504 */
    const uint16_t bf16[] = {0x3f80, 0xc080, 0x7f7f}; /* 1, -4, the greatest */
    const int32_t i32[] = {INT32_MIN, 7, INT32_MAX};
    const int16_t i16[] = {INT16_MIN, 7, INT16_MAX};
    const int8_t i8[] = {INT8_MIN, 7, INT8_MAX};
    const uint8_t u8[] = {0, 7, 255}, truth[] = {0, 1, 2};
    const struct {
        anx_dtype dtype;
        const void *values;
        double min, max, sum;
    } cases[] = {{ANX_F32, f32, -2.25, 1.5, -0.75},
                 {ANX_F64, f64, -1e-300, 1e300, 1e300},
                 {ANX_F16, f16, -4, 65504, 65501},
                 {ANX_BF16, bf16, -4, 0x1.fep127, 0x1.fep127},
                 {ANX_I32, i32, INT32_MIN, INT32_MAX, 6},
                 {ANX_I16, i16, INT16_MIN, INT16_MAX, 6},
                 {ANX_I8, i8, INT8_MIN, INT8_MAX, 6},
                 {ANX_U8, u8, 0, 255, 262},
                 {ANX_BOOL, truth, 0, 1, 2}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        const anx_tensor_stats s = stats_of_values(cases[i].dtype, cases[i].values, 3);
        CU_ASSERT_EQUAL(s.min, cases[i].min);
        CU_ASSERT_EQUAL(s.max, cases[i].max);
        CU_ASSERT_EQUAL(s.sum, cases[i].sum);
        CU_ASSERT_EQUAL(anx_tensor_stats_mean(&s), cases[i].sum / 3);
        CU_ASSERT(s.n_elems == 3 && s.n_nan == 0 && s.n_inf == 0);
        if (anx_dtype_is_float(cases[i].dtype)) continue;
        CU_ASSERT_EQUAL(s.int_min, (int64_t)cases[i].min);
        CU_ASSERT_EQUAL(s.int_max, (int64_t)cases[i].max);
    }
}

/* The nearest doubles are other numbers. */
static void integers_of_64_bits_are_exact(void) {
    const int64_t values[] = {INT64_MAX - 1, (1LL << 53) + 1, INT64_MIN + 1};
    const anx_tensor_stats s = stats_of_values(ANX_I64, values, 3), two = stats_of_values(ANX_I64, values, 2);
    CU_ASSERT_EQUAL(s.int_min, INT64_MIN + 1);
    CU_ASSERT_EQUAL(s.int_max, INT64_MAX - 1);
    CU_ASSERT_EQUAL(two.int_min, (1LL << 53) + 1);
}

static void what_is_no_number_is_counted(void) {
    const float values[] = {NAN, 3.0f, -INFINITY, -NAN, 5.0f, INFINITY, INFINITY};
    anx_tensor_stats s = stats_of_values(ANX_F32, values, 7);
    CU_ASSERT(s.n_nan == 2 && s.n_inf == 3 && s.n_elems == 7);
    CU_ASSERT(s.min == -INFINITY && s.max == INFINITY);
    CU_ASSERT_EQUAL(anx_tensor_stats_mean(&s), 4.0);
    s = stats_of_values(ANX_F32, values, 2);
    CU_ASSERT(s.n_nan == 1 && s.min == 3 && s.max == 3 && anx_tensor_stats_mean(&s) == 3);
    s = stats_of_values(ANX_F32, values, 1);
    CU_ASSERT(s.n_nan == 1 && s.min > s.max && isnan(anx_tensor_stats_mean(&s)));
    s = stats_of_values(ANX_F32, values, 0);
    CU_ASSERT(s.n_elems == 0 && s.min > s.max && isnan(anx_tensor_stats_mean(&s)));
}

/* Values 0, 1, 2, ... in every way to store them: lengths around those of blocks and pieces. */
static void any_length_and_layout(void) {
    static const int64_t lengths[] = {1, 7, 8, 9, 511, 512, 513, 65535, 65536, 65537, 3 * 65536 + 100};
    for (size_t k = 0; k < sizeof lengths / sizeof lengths[0]; k++) {
        const int64_t n = lengths[k];
        char *plain = malloc((size_t)n * 4 + 1), *swapped = malloc((size_t)n * 4), *spread = malloc((size_t)n * 12);
        CU_ASSERT_FATAL(plain != NULL && swapped != NULL && spread != NULL);
        for (int64_t i = 0; i < n; i++) {
            const float v = (float)i;
            uint32_t bits;
            memcpy(&bits, &v, 4);
            memcpy(plain + 1 + 4 * i, &v, 4);
            memcpy(spread + 12 * i, &v, 4);
            bits = __builtin_bswap32(bits);
            memcpy(swapped + 4 * i, &bits, 4);
        }
        anx_elements all[3] = {{.tensor = anx_tensor_view(ANX_F32, 1, &n, plain + 1)}, /* not aligned */
                               {.tensor = anx_tensor_view(ANX_F32, 1, &n, swapped), .swapped = true},
                               {.tensor = anx_tensor_view(ANX_F32, 1, &n, spread)}};
        all[2].tensor.stride[0] = 3;
        for (int i = 0; i < 3; i++) {
            const anx_tensor_stats s = stats_of(&all[i]);
            CU_ASSERT(s.min == 0 && s.max == (double)(n - 1) && s.n_elems == n);
            CU_ASSERT_EQUAL(s.sum, (double)(n * (n - 1) / 2));
        }
        free(plain);
        free(swapped);
        free(spread);
    }
}

int main(int argc, char **argv) {
    static const anx_test tests[] = {
        {"every type", every_type},
        {"integers of 64 bits are exact", integers_of_64_bits_are_exact},
        {"what is no number is counted", what_is_no_number_is_counted},
        {"any length and layout", any_length_and_layout},
        {NULL, NULL},
    };
    return anx_test_main("tensor_stats", tests, argc, argv);
}
