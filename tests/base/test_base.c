#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "src/base/checked.h"
#include "src/base/huge_pages.h"
#include "src/base/sha256.h"
#include "src/base/state_dict.h"
#include "src/base/tensor.h"
#include "src/base/threads.h"
#include "tests/support/anx_test.h"

static float bits_to_f32(uint32_t u) {
    float f;
    memcpy(&f, &u, sizeof f);
    return f;
}

static void sizes_that_overflow_are_refused(void) {
    size_t size = 7;
    CU_ASSERT_FALSE(anx_checked_mul_size(SIZE_MAX / 2, 3, &size));
    CU_ASSERT_FALSE(anx_checked_add_size(SIZE_MAX, 1, &size));
    CU_ASSERT_FALSE(anx_checked_align_size(SIZE_MAX - 3, 64, &size));
    CU_ASSERT_EQUAL(size, 7);
    CU_ASSERT_TRUE(anx_checked_align_size(65, 64, &size));
    CU_ASSERT_EQUAL(size, 128);
    int64_t elems = 0;
    CU_ASSERT_FALSE(anx_shape_elems(3, (int64_t[]){INT64_MAX / 2, 3, 1}, &elems));
    CU_ASSERT_FALSE(anx_shape_elems(1, (int64_t[]){-1}, &elems));
    CU_ASSERT_FALSE(anx_shape_elems(3, (int64_t[]){0, INT64_MAX / 2, 3}, &elems));
    CU_ASSERT_TRUE(anx_shape_elems(2, (int64_t[]){0, 5}, &elems));
    CU_ASSERT_EQUAL(elems, 0);
    CU_ASSERT_TRUE(anx_shape_elems(0, NULL, &elems));
    CU_ASSERT_EQUAL(elems, 1);
    anx_tensor t = ANX_TENSOR_INIT;
    ANX_CHECK_STATUS(ANX_ERR_INVALID_ARGUMENT, anx_tensor_alloc(ANX_F64, 1, (int64_t[]){INT64_MAX / 2}, &t, NULL),
                     NULL);
}

/* Whether the process asked for huge pages at the address; true where the system does not tell. */
static bool asked_for_huge_pages(const void *data) {
    FILE *maps = fopen("/proc/self/smaps", "r");
    char line[1024];
    bool here = false, seen = false, told = false;
    while (maps != NULL && fgets(line, sizeof line, maps) != NULL) {
        uintptr_t from = 0, to = 0;
        if (sscanf(line, "%" SCNxPTR "-%" SCNxPTR " ", &from, &to) == 2)
            here = from <= (uintptr_t)data && (uintptr_t)data < to;
        if (!here || strncmp(line, "VmFlags:", 8) != 0) continue;
        told = true;
        seen = strstr(line, " hg") != NULL;
    }
    if (maps != NULL) fclose(maps);
    return seen || !told || access("/sys/kernel/mm/transparent_hugepage", F_OK) != 0;
}

/* From 8 MiB on; a page that is not filled, at the end, is none of them. */
static void large_tensors_lie_on_huge_pages(void) {
    static const int64_t large = (int64_t)8 << 20, odd = ((int64_t)9 << 20) + 4097;
    for (int k = 0; k < 2; k++) {
        const int64_t bytes = k == 0 ? large : odd;
        anx_tensor t = ANX_TENSOR_INIT;
        ANX_CHECK_OK(anx_tensor_alloc(ANX_U8, 1, &bytes, &t, NULL), NULL);
        char *data = t.data;
        memset(data, 1, (size_t)bytes);
        CU_ASSERT_EQUAL((uintptr_t)data % anx_huge_page_bytes, 0);
        CU_ASSERT_TRUE(asked_for_huge_pages(data));
        CU_ASSERT_TRUE(asked_for_huge_pages(data + large - 1));
        anx_tensor_fini(&t);
    }
}

static void every_half_survives_the_round_trip_through_float(void) {
    int wrong = 0;
    for (uint32_t u = 0; u < 65536; u++) {
        const uint16_t h = (uint16_t)u;
        const bool f16_nan = (h & 0x7c00u) == 0x7c00u && (h & 0x3ffu) != 0;
        const bool bf16_nan = (h & 0x7f80u) == 0x7f80u && (h & 0x7fu) != 0;
        if (f16_nan ? !isnan(anx_f16_to_f32(h)) : anx_f32_to_f16(anx_f16_to_f32(h)) != h) wrong++;
        if (bf16_nan ? !isnan(anx_bf16_to_f32(h)) : anx_f32_to_bf16(anx_bf16_to_f32(h)) != h) wrong++;
    }
    CU_ASSERT_EQUAL(wrong, 0);
}

/* (-1)^sign * 2^(exponent - 15) * 1.mantissa, and 2^-14 * 0.mantissa below; bfloat16 is the upper half of a float. */
static void every_half_has_the_value_of_its_definition(void) {
    int wrong = 0;
    for (uint32_t u = 0; u < 65536; u++) {
        const int sign = u >> 15 != 0 ? -1 : 1, exponent = (int)(u >> 10 & 31), mantissa = (int)(u & 1023);
        const float got = anx_f16_to_f32((uint16_t)u);
        float expected = (float)sign *
                         ldexpf((float)(exponent > 0 ? 1024 + mantissa : mantissa), exponent > 0 ? exponent - 25 : -24);
        if (exponent == 31) expected = mantissa > 0 ? NAN : (float)sign * INFINITY;
        wrong += isnan(expected) ? !isnan(got) : got != expected || (signbit(got) != 0) != (sign < 0);
        wrong += memcmp(&(float){anx_bf16_to_f32((uint16_t)u)}, &(uint32_t){u << 16}, 4) != 0;
    }
    CU_ASSERT_EQUAL(wrong, 0);
}

/* Large enough for several threads, every dimension strided; the values name their place. */
static void large_strided_tensors_convert_from_every_floating_type(void) {
    static const anx_dtype dtypes[] = {ANX_F32, ANX_F64, ANX_F16, ANX_BF16};
    const int64_t shape[4] = {9, 31, 7, 150}, storage_shape[4] = {150, 14, 31, 9};
    const int64_t strides[4] = {1, 9, 2 * 9 * 31, 14 * 9 * 31};
    anx_error err = ANX_ERROR_INIT;
    anx_tensor floats = ANX_TENSOR_INIT;
    ANX_CHECK_OK(anx_tensor_alloc(ANX_F32, 4, storage_shape, &floats, &err), &err);
    for (int64_t i = 0; i < anx_tensor_elems(&floats); i++) ((float *)floats.data)[i] = (float)(i * 7 % 251 - 100);
    for (size_t k = 0; k < 4; k++) {
        anx_tensor stored = ANX_TENSOR_INIT, got = ANX_TENSOR_INIT;
        ANX_CHECK_OK(anx_tensor_convert(&floats, dtypes[k], &stored, &err), &err);
        anx_tensor view = anx_tensor_view(dtypes[k], 4, shape, stored.data);
        memcpy(view.stride, strides, sizeof strides);
        ANX_CHECK_OK(anx_tensor_convert(&view, ANX_F32, &got, &err), &err);
        int64_t wrong = 0, i = 0;
        for (int64_t a = 0; a < shape[0]; a++)
            for (int64_t b = 0; b < shape[1]; b++)
                for (int64_t c = 0; c < shape[2]; c++)
                    for (int64_t d = 0; d < shape[3]; d++, i++) {
                        const int64_t at = a * strides[0] + b * strides[1] + c * strides[2] + d * strides[3];
                        wrong += ((const float *)got.data)[i] != (float)(at * 7 % 251 - 100);
                    }
        CU_ASSERT_EQUAL(wrong, 0);
        anx_tensor_fini(&got);
        anx_tensor_fini(&stored);
    }
    anx_tensor_fini(&floats);
}

/* Expected values from IEEE 754's definition: halfway cases go to the even neighbour. */
static void narrowing_rounds_to_nearest_even(void) {
    CU_ASSERT_EQUAL(anx_f32_to_f16(1.0f), 0x3c00);
    CU_ASSERT_EQUAL(anx_f32_to_f16(1.0f + 0x1p-11f), 0x3c00);
    CU_ASSERT_EQUAL(anx_f32_to_f16(1.0f + 3 * 0x1p-11f), 0x3c02);
    CU_ASSERT_EQUAL(anx_f32_to_f16(1.0f + 0x1.01p-11f), 0x3c01);
    CU_ASSERT_EQUAL(anx_f32_to_f16(65504.0f), 0x7bff);
    CU_ASSERT_EQUAL(anx_f32_to_f16(65519.996f), 0x7bff);
    CU_ASSERT_EQUAL(anx_f32_to_f16(65520.0f), 0x7c00);
    CU_ASSERT_EQUAL(anx_f32_to_f16(-1e30f), 0xfc00);
    CU_ASSERT_EQUAL(anx_f32_to_f16(0x1p-24f), 0x0001);
    CU_ASSERT_EQUAL(anx_f32_to_f16(0x1p-25f), 0x0000);
    CU_ASSERT_EQUAL(anx_f32_to_f16(0x1.8p-24f), 0x0002);
    CU_ASSERT_EQUAL(anx_f32_to_f16(0x1.ffep-15f), 0x0400);
    CU_ASSERT_EQUAL(anx_f32_to_f16(-0.0f), 0x8000);
    CU_ASSERT_EQUAL(anx_f32_to_bf16(1.0f + 0x1p-8f), 0x3f80);
    CU_ASSERT_EQUAL(anx_f32_to_bf16(1.0f + 3 * 0x1p-8f), 0x3f82);
    CU_ASSERT_EQUAL(anx_f32_to_bf16(bits_to_f32(0x7f7fffff)), 0x7f80);
    CU_ASSERT_EQUAL(anx_f32_to_bf16(0x1p-149f), 0x0000);
    CU_ASSERT_EQUAL(anx_f32_to_bf16(0x1p-133f), 0x0001);
    /* In one rounding: through float32 first, this would land on a tie and go down. */
    CU_ASSERT_EQUAL(anx_f64_to_f16(1.0 + 0x1p-11 + 0x1p-40), 0x3c01);
    CU_ASSERT_EQUAL(anx_f64_to_bf16(1.0 + 0x1p-8 + 0x1p-40), 0x3f81);
}

static void a_strided_tensor_is_gathered(void) {
    const float data[6] = {0, 1, 2, 3, 4, 5};
    anx_tensor t = anx_tensor_view(ANX_F32, 2, (int64_t[]){3, 2}, data);
    t.stride[0] = 1; /* the transpose of a (2, 3) matrix */
    t.stride[1] = 3;
    anx_tensor got = ANX_TENSOR_INIT, digested = ANX_TENSOR_INIT;
    anx_error err = ANX_ERROR_INIT;
    CU_ASSERT_FALSE(anx_tensor_is_contiguous(&t));
    ANX_CHECK_OK(anx_tensor_convert(&t, ANX_F64, &got, &err), &err);
    const double *d = got.data;
    const double expected[6] = {0, 3, 1, 4, 2, 5};
    CU_ASSERT_EQUAL(memcmp(d, expected, sizeof expected), 0);
    ANX_CHECK_OK(anx_tensor_convert(&t, ANX_F32, &digested, &err), &err);
    anx_digest a, b;
    ANX_CHECK_OK(anx_tensor_digest(&t, &a, &err), &err);
    ANX_CHECK_OK(anx_tensor_digest(&digested, &b, &err), &err);
    CU_ASSERT_TRUE(anx_digest_equal(&a, &b));
    anx_tensor_fini(&got);
    anx_tensor_fini(&digested);
    ANX_CHECK_STATUS(ANX_ERR_UNSUPPORTED, anx_tensor_convert(&t, ANX_I64, &got, &err), &err);
}

/* printf 'float32\0' plus two int64 and one float, through sha256sum. */
static void a_digest_covers_dtype_shape_and_bytes(void) {
    const float one = 1.0f;
    anx_digest a, b;
    char hex[ANX_SHA256_HEX];
    anx_tensor t = anx_tensor_view(ANX_F32, 1, (int64_t[]){1}, &one);
    ANX_CHECK_OK(anx_tensor_digest(&t, &a, NULL), NULL);
    unsigned char raw[8 + 16 + 4] = "float32";
    raw[8] = 1;
    raw[16] = 1;
    memcpy(raw + 24, &one, 4);
    ANX_CHECK_OK(anx_sha256_buffer(raw, sizeof raw, &b, NULL), NULL);
    CU_ASSERT_TRUE(anx_digest_equal(&a, &b));
    t = anx_tensor_view(ANX_F32, 2, (int64_t[]){1, 1}, &one);
    ANX_CHECK_OK(anx_tensor_digest(&t, &b, NULL), NULL);
    CU_ASSERT_FALSE(anx_digest_equal(&a, &b));
    ANX_CHECK_OK(anx_sha256_buffer("abc", 3, &a, NULL), NULL);
    CU_ASSERT_STRING_EQUAL(anx_digest_hex(&a, hex), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    CU_ASSERT_TRUE(anx_digest_parse(hex, &b) && anx_digest_equal(&a, &b));
    hex[3] = 'x';
    CU_ASSERT_FALSE(anx_digest_parse(hex, &b));
}

static void an_error_says_where(void) {
    anx_error err = ANX_ERROR_INIT;
    char text[256];
    anx_error_set(&err, ANX_ERR_FORMAT, "expected %d", 5);
    anx_error_at_offset(&err, 17);
    anx_error_in_entry(&err, "a/data.pkl");
    anx_error_in_entry(&err, "outer");
    anx_error_in_file(&err, "x.pth");
    CU_ASSERT_STRING_EQUAL(anx_error_format(&err, text, sizeof text),
                           "x.pth: entry 'a/data.pkl', offset 17: expected 5");
    anx_error_set(&err, ANX_ERR_MISMATCH, "no");
    anx_error_in_layer(&err, "features.0");
    CU_ASSERT_STRING_EQUAL(anx_error_format(&err, text, sizeof text), "layer 'features.0': no");
    CU_ASSERT_EQUAL(anx_error_set(NULL, ANX_ERR_IO, "x"), ANX_ERR_IO);
}

static void names_in_a_state_dict_are_unique(void) {
    anx_state_dict dict = ANX_STATE_DICT_INIT;
    anx_tensor t = ANX_TENSOR_INIT;
    ANX_CHECK_OK(anx_tensor_alloc(ANX_F32, 1, (int64_t[]){3}, &t, NULL), NULL);
    ANX_CHECK_OK(anx_state_dict_add(&dict, "a", &t, NULL), NULL);
    t.owned = NULL;
    ANX_CHECK_STATUS(ANX_ERR_EXISTS, anx_state_dict_add(&dict, "a", &t, NULL), NULL);
    CU_ASSERT_PTR_EQUAL(anx_state_dict_find(&dict, "a")->data, t.data);
    CU_ASSERT_PTR_NULL(anx_state_dict_find(&dict, "b"));
    anx_state_dict_fini(&dict);
}

static void omp_num_threads_caps_the_thread_count(void) {
    setenv("OMP_NUM_THREADS", "1", 1);
    CU_ASSERT_EQUAL(anx_threads_available(), 1);
    unsetenv("OMP_NUM_THREADS");
    CU_ASSERT_TRUE(anx_threads_available() >= 1);
}

int main(int argc, char **argv) {
    static const anx_test tests[] = {
        {"sizes that overflow are refused", sizes_that_overflow_are_refused},
        {"large tensors lie on huge pages", large_tensors_lie_on_huge_pages},
        {"every half survives the round trip through float", every_half_survives_the_round_trip_through_float},
        {"every half has the value of its definition", every_half_has_the_value_of_its_definition},
        {"large strided tensors convert from every floating type",
         large_strided_tensors_convert_from_every_floating_type},
        {"narrowing rounds to nearest even", narrowing_rounds_to_nearest_even},
        {"a strided tensor is gathered", a_strided_tensor_is_gathered},
        {"a digest covers dtype, shape and bytes", a_digest_covers_dtype_shape_and_bytes},
        {"an error says where", an_error_says_where},
        {"names in a state_dict are unique", names_in_a_state_dict_are_unique},
        {"OMP_NUM_THREADS caps the thread count", omp_num_threads_caps_the_thread_count},
        {NULL, NULL},
    };
    return anx_test_main("base", tests, argc, argv);
}
