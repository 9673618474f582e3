/* Reading elements in pieces: held against index arithmetic and against anx_tensor_convert. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "src/base/elements.h"
#include "tests/support/anx_test.h"

enum { memory_bytes = 8 * 512 };

static uint64_t state = 88172645463325252u;

static uint64_t random64(void) {
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    return state;
}

static anx_tensor strided(anx_dtype dtype, const void *data) {
    anx_tensor t = anx_tensor_view(dtype, 4, (const int64_t[]){3, 2, 4, 5}, data);
    static const int64_t strides[4] = {7, 0, 40, 3}; /* an expanded dimension among them; reaches element 153 */
    memcpy(t.stride, strides, sizeof strides);
    return t;
}

/* Element (a, b, c, d) of `strided`, byte by byte. */
static void expect_byte(const uint8_t *memory, bool swapped, size_t element_bytes, int64_t index, size_t k,
                        uint8_t got) {
    const int64_t d = index % 5, c = index / 5 % 4, a = index / 40;
    const int64_t at = a * 7 + c * 40 + d * 3;
    CU_ASSERT_EQUAL(got, memory[(size_t)at * element_bytes + (swapped ? element_bytes - 1 - k : k)]);
}

static void pieces_are_the_elements_that_the_indices_name(void) {
    uint8_t memory[memory_bytes + 1], out[120 * 8];
    for (size_t i = 0; i < sizeof memory; i++) memory[i] = (uint8_t)random64();
    for (int d = 0; d < ANX_DTYPE_COUNT; d++)
        for (int variant = 0; variant < 4; variant++) {
            const bool swapped = variant & 1;
            const uint8_t *data = memory + (variant >> 1); /* aligned and not */
            const size_t bytes = anx_dtype_bytes((anx_dtype)d);
            const anx_elements e = {.tensor = strided((anx_dtype)d, data), .swapped = swapped};
            static const int64_t pieces[][2] = {{0, 120}, {0, 1}, {1, 4}, {4, 2}, {3, 17}, {41, 79}, {119, 1}, {7, 0}};
            for (size_t p = 0; p < sizeof pieces / sizeof pieces[0]; p++) {
                memset(out, 0xa5, sizeof out);
                anx_elements_read(&e, pieces[p][0], pieces[p][1], (anx_dtype)d, out, NULL);
                for (int64_t i = 0; i < pieces[p][1]; i++)
                    for (size_t k = 0; k < bytes; k++)
                        expect_byte(data, swapped && bytes > 1, bytes, pieces[p][0] + i, k, out[(size_t)i * bytes + k]);
                for (size_t i = (size_t)pieces[p][1] * bytes; i < sizeof out; i++) CU_ASSERT_EQUAL(out[i], 0xa5);
            }
        }
}

static void conversions_are_those_of_whole_tensors(void) {
    static const anx_dtype floats[] = {ANX_F32, ANX_F64, ANX_F16, ANX_BF16};
    static uint64_t memory[2000];
    for (size_t i = 0; i < 2000; i++) memory[i] = random64();
    for (int from = 0; from < 4; from++)
        for (int to = 0; to < 4; to++) {
            const anx_tensor t = anx_tensor_view(floats[from], 2, (const int64_t[]){37, 41}, memory);
            const anx_elements e = {.tensor = t};
            anx_tensor whole = ANX_TENSOR_INIT;
            anx_error err = ANX_ERROR_INIT;
            ANX_CHECK_OK(anx_tensor_convert(&t, floats[to], &whole, &err), &err);
            const size_t bytes = anx_dtype_bytes(floats[to]);
            char *pieces = malloc(1517 * bytes);
            for (int64_t at = 0; at < 1517; at += 600)
                anx_elements_read(&e, at, at + 600 < 1517 ? 600 : 1517 - at, floats[to], pieces + (size_t)at * bytes,
                                  NULL);
            CU_ASSERT_EQUAL(memcmp(pieces, whole.data, 1517 * bytes), 0);
            free(pieces);
            anx_tensor_fini(&whole);
        }
}

static void what_rounding_did_is_counted(void) {
    const double values[] = {1.0, 65504.0, 65520.0, -1e300,   0x1p-25,       0x1.8p-25,    -0x1p-40,
                             0.0, -0.0,    NAN,     INFINITY, 1.0 + 0x1p-11, 1.0 + 0x1p-12};
    const int64_t n = sizeof values / sizeof values[0];
    const anx_elements e = {.tensor = anx_tensor_view(ANX_F64, 1, &n, values)};
    uint16_t out[sizeof values / sizeof values[0]];
    anx_rounding r = {0}, total = {0};
    anx_elements_read(&e, 0, n, ANX_F16, out, &r);
    CU_ASSERT_EQUAL(r.n_elems, n);
    CU_ASSERT_EQUAL(r.n_overflow, 2);  /* 65520 is half way to 65536: even is infinity; -1e300 */
    CU_ASSERT_EQUAL(r.n_underflow, 2); /* 2^-25 is half the smallest: even is zero; -2^-40 */
    CU_ASSERT_EQUAL(r.n_changed, 7);   /* ..., 1.5 * 2^-25 to 2^-24, and the two beside 1 */
    CU_ASSERT_DOUBLE_EQUAL(r.max_relative, 1.0 / 3.0, 0);
    anx_rounding_add(&total, &r);
    anx_rounding_add(&total, &r);
    CU_ASSERT_EQUAL(total.n_changed, 14);
    CU_ASSERT_EQUAL(total.n_elems, 2 * n);
    CU_ASSERT_DOUBLE_EQUAL(total.max_relative, 1.0 / 3.0, 0);
    r = (anx_rounding){0};
    double same[sizeof values / sizeof values[0]];
    anx_elements_read(&e, 0, n, ANX_F64, same, &r);
    CU_ASSERT_EQUAL(r.n_elems, 0); /* nothing was converted */
}

/* PyTorch writes such strides of extents of 1 as they come; the sanitizers watch the arithmetic. */
static void the_stride_of_one_element_means_nothing(void) {
    const double value = 3;
    double out = 0;
    anx_elements e = {.tensor = anx_tensor_view(ANX_F64, 2, (const int64_t[]){1, 1}, &value)};
    e.tensor.stride[0] = e.tensor.stride[1] = INT64_MAX - 1;
    anx_elements_read(&e, 0, 1, ANX_F64, &out, NULL);
    CU_ASSERT_EQUAL(out, 3);
    float narrow = 0;
    anx_elements_read(&e, 0, 1, ANX_F32, &narrow, NULL);
    CU_ASSERT_EQUAL(narrow, 3);
}

static void elements_are_used_in_place_where_nothing_lies_between(void) {
    float values[12] = {0};
    anx_elements e = {.tensor = anx_tensor_view(ANX_F32, 2, (const int64_t[]){3, 4}, values)};
    CU_ASSERT_PTR_EQUAL(anx_elements_in_place(&e), values);
    e.swapped = true;
    CU_ASSERT_PTR_NULL(anx_elements_in_place(&e));
    e.swapped = false;
    e.tensor.stride[0] = 1;
    CU_ASSERT_PTR_NULL(anx_elements_in_place(&e));
}

int main(int argc, char **argv) {
    static const anx_test tests[] = {
        {"pieces are the elements that the indices name", pieces_are_the_elements_that_the_indices_name},
        {"conversions are those of whole tensors", conversions_are_those_of_whole_tensors},
        {"what rounding did is counted", what_rounding_did_is_counted},
        {"the stride of one element means nothing", the_stride_of_one_element_means_nothing},
        {"elements are used in place where nothing lies between",
         elements_are_used_in_place_where_nothing_lies_between},
        {NULL, NULL},
    };
    return anx_test_main("elements", tests, argc, argv);
}
