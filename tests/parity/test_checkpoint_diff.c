/*
 * Two checkpoints held against each other: each kind of difference with the figures that arithmetic gives, each kind of
 * twin made here by hand, and nothing said where nothing fits.
 */
#include <inttypes.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "loaders/checkpoint/pth_writer.h"
#include "loaders/checkpoint/safetensors.h"
#include "parity/checkpoint_diff_report.h"
#include "tests/support/anx_test.h"
#include "tests/support/random.h"
#include "tests/support/test_zip.h"

static anx_error err;

/* ---- two checkpoints ------------------------------------------------------------------------------------ */

typedef struct both {
    anx_state_dict a, b;         /* what is written */
    anx_checkpoint *in_a, *in_b; /* ... and read */
    anx_checkpoint_diff *diff;
    anx_checkpoint_twins *twins;
} both;

#define BOTH_INIT                                                                                                      \
    { .a = ANX_STATE_DICT_INIT, .b = ANX_STATE_DICT_INIT }

/* A new tensor of uninitialised elements in the dict; valid until the next is added. */
static void *put(anx_state_dict *dict, const char *name, anx_dtype dtype, int rank, ...) {
    int64_t shape[ANX_MAX_RANK];
    va_list args;
    va_start(args, rank);
    for (int i = 0; i < rank; i++) shape[i] = va_arg(args, int);
    va_end(args);
    anx_tensor t = ANX_TENSOR_INIT;
    ANX_CHECK_OK(anx_tensor_alloc(dtype, rank, shape, &t, &err), &err);
    ANX_CHECK_OK(anx_state_dict_add(dict, name, &t, &err), &err);
    return dict->items[dict->count - 1].tensor.data;
}

/* Bits of all kinds, NaN too. */
static void fill(void *data, size_t n_bytes, uint64_t seed) {
    test_random r = {.state = seed};
    for (size_t i = 0; i < n_bytes; i++) ((uint8_t *)data)[i] = (uint8_t)test_random_bits(&r);
}

static void compare_open(both *p, const char *a, const char *b, int threads) {
    const anx_checkpoint_options options = {.as_stored = true, .keep_prefix = true};
    ANX_CHECK_OK(anx_checkpoint_open(a, &options, &p->in_a, &err), &err);
    ANX_CHECK_OK(anx_checkpoint_open(b, &options, &p->in_b, &err), &err);
    CU_ASSERT_PTR_NOT_NULL_FATAL(p->in_a);
    CU_ASSERT_PTR_NOT_NULL_FATAL(p->in_b);
    ANX_CHECK_OK(anx_checkpoint_diff_create(p->in_a, p->in_b, threads, &p->diff, &err), &err);
    CU_ASSERT_PTR_NOT_NULL_FATAL(p->diff);
    ANX_CHECK_OK(anx_checkpoint_twins_find(p->diff, threads, &p->twins, &err), &err);
    CU_ASSERT_PTR_NOT_NULL_FATAL(p->twins);
}

/* A as torch.save writes it, B as safetensors unless strides must be kept. */
static void compare_as(both *p, bool keep_strides, int threads) {
    char a[512], b[512];
    const anx_pth_options force = {.force = true};
    snprintf(a, sizeof a, "%s", anx_test_path("a.pth"));
    snprintf(b, sizeof b, "%s", anx_test_path("b.file"));
    ANX_CHECK_OK(anx_pth_write(a, &p->a, &force, &err), &err);
    if (keep_strides)
        ANX_CHECK_OK(anx_pth_write(b, &p->b, &force, &err), &err);
    else
        ANX_CHECK_OK(anx_safetensors_write(b, &p->b, NULL, 0, true, &err), &err);
    compare_open(p, a, b, threads);
}

static void compare(both *p) {
    compare_as(p, false, 2);
}

static void release(both *p) {
    anx_checkpoint_twins_destroy(p->twins);
    anx_checkpoint_diff_destroy(p->diff);
    anx_checkpoint_close(p->in_a);
    anx_checkpoint_close(p->in_b);
    anx_state_dict_fini(&p->a);
    anx_state_dict_fini(&p->b);
}

static const anx_diff_row *row_of(const both *p, const char *name) {
    for (size_t i = 0; i < p->diff->n_rows; i++) {
        const anx_diff_row *row = &p->diff->rows[i];
        const anx_checkpoint *c = row->a != SIZE_MAX ? p->diff->a : p->diff->b;
        if (strcmp(c->tensors.items[row->a != SIZE_MAX ? row->a : row->b].name, name) == 0) return row;
    }
    CU_FAIL_FATAL("no such row");
    return NULL;
}

static bool find_in_text(const both *p, const char *part, bool wanted) {
    char *text = NULL;
    ANX_CHECK_OK(anx_checkpoint_diff_text(p->diff, p->twins, false, &text, NULL, &err), &err);
    if (text == NULL) return false;
    for (char *c = text; *c != '\0'; c++) /* unwrapped */
        if (strncmp(c, "\n    ", 5) == 0) memmove(c, c + 4, strlen(c + 4) + 1), *c = ' ';
    const bool has = strstr(text, part) != NULL;
    if (has != wanted) fprintf(stderr, "%s '%s' in:\n%s", has ? "there is" : "no", part, text);
    free(text);
    return has;
}

static bool text_has(const both *p, const char *part) {
    return find_in_text(p, part, true);
}

static bool text_lacks(const both *p, const char *part) {
    return !find_in_text(p, part, false);
}

static float f32_of(uint32_t bits) {
    float f;
    memcpy(&f, &bits, sizeof f);
    return f;
}

static double f64_of(uint64_t bits) {
    double d;
    memcpy(&d, &bits, sizeof d);
    return d;
}

/* ---- the same ------------------------------------------------------------------------------------------- */

static void the_same_in_two_formats_and_orders(void) {
    both p = BOTH_INIT;
    int64_t elems = 0;
    for (int i = 0; i < ANX_DTYPE_COUNT; i++) {
        char name[32];
        snprintf(name, sizeof name, "t%d", i);
        fill(put(&p.a, name, (anx_dtype)i, 3, 2, 5 + i, 3), anx_dtype_bytes((anx_dtype)i) * 6 * (size_t)(5 + i),
             (uint64_t)i);
        elems += 6 * (5 + i);
    }
    for (int i = ANX_DTYPE_COUNT - 1; i >= 0; i--) {
        char name[32];
        snprintf(name, sizeof name, "t%d", i);
        fill(put(&p.b, name, (anx_dtype)i, 3, 2, 5 + i, 3), anx_dtype_bytes((anx_dtype)i) * 6 * (size_t)(5 + i),
             (uint64_t)i);
    }
    put(&p.a, "empty", ANX_F32, 2, 0, 4);
    put(&p.b, "empty", ANX_F32, 2, 0, 4);
    *(int64_t *)put(&p.a, "scalar", ANX_I64, 0) = 7;
    *(int64_t *)put(&p.b, "scalar", ANX_I64, 0) = 7;
    compare_as(&p, true, 2);
    CU_ASSERT_EQUAL(p.diff->result, ANX_DIFF_IDENTICAL);
    CU_ASSERT_EQUAL(p.diff->n_same, ANX_DTYPE_COUNT + 2);
    CU_ASSERT_EQUAL(p.diff->same_elems, elems + 1);
    CU_ASSERT_EQUAL(p.diff->n_rows, 0);
    CU_ASSERT_EQUAL(p.twins->n_items, 0);
    CU_ASSERT(p.diff->other_order && p.diff->order_a == 0 && p.diff->order_b == 0);
    CU_ASSERT(text_has(&p, "identical: 12 tensors, "));
    CU_ASSERT(text_has(&p, "where A has 't0', B has 't9'"));
    release(&p);
}

static void the_first_in_another_order_is_named(void) {
    both p = BOTH_INIT; /* of the names that both have, A's second is B's third */
    static const char *const a[] = {"lone", "one", "two", "three"}, *const b[] = {"one", "three", "two"};
    for (int i = 0; i < 4; i++) *(float *)put(&p.a, a[i], ANX_F32, 1, 1) = 1;
    for (int i = 0; i < 3; i++) *(float *)put(&p.b, b[i], ANX_F32, 1, 1) = 1;
    compare_as(&p, true, 1);
    CU_ASSERT(p.diff->other_order && p.diff->order_a == 2 && p.diff->order_b == 1);
    CU_ASSERT(text_has(&p, "where A has 'two', B has 'three'"));
    release(&p);
}

static void names_in_one_order_are_so(void) {
    both p = BOTH_INIT; /* what only one has does not count as another order */
    static const char *const a[] = {"x", "one", "y", "two"}, *const b[] = {"one", "p", "q", "two"};
    for (int i = 0; i < 4; i++) {
        *(float *)put(&p.a, a[i], ANX_F32, 1, 1) = (float)i;
        *(float *)put(&p.b, b[i], ANX_F32, 1, 1) = i == 0 ? 1.0f : i == 3 ? 3.0f : (float)i + 20;
    }
    compare_as(&p, true, 1);
    CU_ASSERT_FALSE(p.diff->other_order);
    CU_ASSERT_EQUAL(p.diff->result, ANX_DIFF_DIFFERENT);
    CU_ASSERT(p.diff->n_same == 2 && p.diff->counts[ANX_DIFF_ONLY_A] == 2 && p.diff->counts[ANX_DIFF_ONLY_B] == 2);
    CU_ASSERT(p.diff->rows[0].a == 0 && p.diff->rows[1].a == 2 && p.diff->rows[2].b == 1 && p.diff->rows[3].b == 2);
    CU_ASSERT_EQUAL(p.twins->n_items, 0);
    CU_ASSERT(text_has(&p, "different: 2 of 6 tensors are the same; 2 are in A alone, 2 are in B alone"));
    release(&p);
}

static void strides_do_not_matter(void) {
    both p = BOTH_INIT;
    float *a = put(&p.a, "w", ANX_F32, 2, 3, 4), *b = put(&p.b, "w", ANX_F32, 2, 3, 4);
    for (int i = 0; i < 3; i++)
        for (int j = 0; j < 4; j++) {
            a[4 * i + j] = (float)(10 * i + j);
            b[3 * j + i] = (float)(10 * i + j);
        }
    anx_tensor *t = &p.b.items[0].tensor;
    t->stride[0] = 1;
    t->stride[1] = 3;
    compare_as(&p, true, 1);
    CU_ASSERT_FALSE(anx_tensor_is_contiguous(&p.in_b->tensors.items[0].tensor));
    CU_ASSERT_EQUAL(p.diff->result, ANX_DIFF_IDENTICAL);
    release(&p);
}

/* {"w": (2, 3), "n": (2,)} in the given byte order. */
static void save_zip(const char *file, const char *byteorder, const void *floats, const void *integers) {
    test_zip zip;
    test_zip_init(&zip);
    test_zip_add(&zip, "m/data.pkl", test_zip_pickle, test_zip_pickle_bytes);
    test_zip_add(&zip, "m/byteorder", byteorder, strlen(byteorder));
    zip.alignment = 0; /* wherever the data come to lie */
    test_zip_add(&zip, "m/data/0", floats, 24);
    test_zip_add(&zip, "m/data/1", integers, 16);
    test_zip_add(&zip, "m/version", "3\n", 2);
    test_zip_finish(&zip);
    test_zip_save(&zip, file);
    test_zip_fini(&zip);
}

static void other_byte_orders_and_alignments_do_not_matter(void) {
    const uint32_t little[6] = {0x3f800000, 0xbf800001, 0x7fc00001, 0x80000000, 1, 0x12345678};
    const uint64_t numbers[2] = {1, 0xfffffffffffffffe};
    uint32_t big[6];
    uint64_t big_numbers[2];
    for (int i = 0; i < 6; i++) big[i] = __builtin_bswap32(little[i]);
    for (int i = 0; i < 2; i++) big_numbers[i] = __builtin_bswap64(numbers[i]);
    char a[512], b[512], c[512];
    save_zip("little.pth", "little", little, numbers);
    save_zip("big.pth", "big", big, big_numbers);
    snprintf(a, sizeof a, "%s", anx_test_path("little.pth"));
    snprintf(b, sizeof b, "%s", anx_test_path("big.pth"));
    both p = BOTH_INIT;
    compare_open(&p, a, b, 1);
    CU_ASSERT(anx_checkpoint_elements(p.in_b, 0).swapped);
    CU_ASSERT_EQUAL(p.diff->result, ANX_DIFF_IDENTICAL);
    release(&p);

    big[5] = __builtin_bswap32(little[5] + 16);
    big_numbers[1] = __builtin_bswap64((uint64_t)-4);
    save_zip("other.pth", "big", big, big_numbers);
    snprintf(b, sizeof b, "%s", anx_test_path("other.pth"));
    p = (both)BOTH_INIT;
    compare_open(&p, a, b, 1);
    const anx_diff_measure *w = &row_of(&p, "w")->measure, *n = &row_of(&p, "n")->measure;
    CU_ASSERT(w->n_different == 1 && w->first.index[0] == 1 && w->first.index[1] == 2 && w->max_ulps == 16);
    CU_ASSERT(w->first.a.bits == little[5] && w->first.b.bits == little[5] + 16);
    CU_ASSERT(n->n_different == 1 && n->first.index[0] == 1 && n->max_abs == 2 && n->max_ulps == 2);
    release(&p);

    /* the same floats at an odd address */
    static const char header[] = "{\"n\":{\"dtype\":\"I64\",\"shape\":[2],\"data_offsets\":[0,16]},"
                                 "\"w\":{\"dtype\":\"F32\",\"shape\":[2,3],\"data_offsets\":[16,40]}} ";
    snprintf(c, sizeof c, "%s", anx_test_path("odd.safetensors"));
    FILE *f = fopen(c, "wb");
    CU_ASSERT_PTR_NOT_NULL_FATAL(f);
    const uint64_t n_header = sizeof header - 1;
    CU_ASSERT_NOT_EQUAL(n_header % 4, 0);
    fwrite(&n_header, 1, 8, f);
    fwrite(header, 1, n_header, f);
    fwrite(numbers, 1, 16, f);
    fwrite(little, 1, 24, f);
    fclose(f);
    p = (both)BOTH_INIT;
    compare_open(&p, a, c, 1);
    CU_ASSERT_EQUAL(p.diff->result, ANX_DIFF_IDENTICAL);
    CU_ASSERT_EQUAL(p.diff->n_same, 2);
    release(&p);
}

/* ---- what differs --------------------------------------------------------------------------------------- */

static void one_bit_of_many(void) {
    enum { n = 3 << 18, at = n - 5 }; /* enough for several threads */
    for (int threads = 1; threads <= 4; threads += 3) {
        both p = BOTH_INIT;
        for (int i = 0; i < 2; i++) {
            float *w = put(i == 0 ? &p.a : &p.b, "w", ANX_F32, 3, 3, 1 << 9, 1 << 9);
            for (int k = 0; k < n; k++) w[k] = 1.0f + (float)k * 0x1p-22f;
            if (i == 1) w[at] = 1.0f + (float)(at + 64) * 0x1p-22f;
        }
        compare_as(&p, false, threads);
        CU_ASSERT_EQUAL(p.diff->counts[ANX_DIFF_BITS], 1);
        const anx_diff_measure *m = &row_of(&p, "w")->measure;
        CU_ASSERT(m->n_elems == n && m->n_different == 1);
        CU_ASSERT(m->first.index[0] == 2 && m->first.index[1] == 511 && m->first.index[2] == 507);
        CU_ASSERT_EQUAL(m->max_abs, 64 * 0x1p-22);
        CU_ASSERT_EQUAL(m->max_ulps, 128); /* between 1 and 2 they are 2^-23 apart */
        CU_ASSERT_EQUAL(memcmp(&m->first, &m->ulp, sizeof m->first), 0);
        CU_ASSERT_EQUAL(anx_element_value_real(m->first.a), 1.0 + at * 0x1p-22);
        CU_ASSERT_EQUAL(anx_element_value_real(m->first.b), 1.0 + (at + 64) * 0x1p-22);
        CU_ASSERT_EQUAL(p.twins->n_items, 0);
        CU_ASSERT(text_has(&p, "1 of 786432 elements differs at [2, 511, 507]: "));
        CU_ASSERT(text_has(&p, "|A - B| 1.52588e-05, 128 ULPs"));
        release(&p);
    }
}

/* Which element is worst is found by plain loops here, by threads and shortcuts there. */
static void many_differences(void) {
    enum { n = 1 << 20 };
    anx_diff_measure of[2];
    for (int threads = 1; threads <= 3; threads += 2) {
        both p = BOTH_INIT;
        float *a = put(&p.a, "w", ANX_F32, 2, 1 << 10, 1 << 10), *b = put(&p.b, "w", ANX_F32, 2, 1 << 10, 1 << 10);
        test_random r = {.state = 5};
        int64_t different = 0, first = -1, abs_at = 0, ulps_at = 0, max_ulps = -1;
        double max_abs = -1;
        for (int i = 0; i < n; i++) {
            a[i] = test_random_normal(&r);
            b[i] = test_random_int(&r, 0, 3) == 0 ? a[i] : a[i] + test_random_normal(&r) * 0.25f;
            if (a[i] == b[i]) continue;
            int32_t x, y;
            memcpy(&x, &a[i], 4);
            memcpy(&y, &b[i], 4);
            const int64_t kx = x < 0 ? -(int64_t)(x & 0x7fffffff) : x, ky = y < 0 ? -(int64_t)(y & 0x7fffffff) : y;
            const double distance = fabs((double)a[i] - (double)b[i]);
            if (different++ == 0) first = i;
            if (distance > max_abs) max_abs = distance, abs_at = i;
            if (llabs(kx - ky) > max_ulps) max_ulps = llabs(kx - ky), ulps_at = i;
        }
        compare_as(&p, false, threads);
        const anx_diff_measure *m = &row_of(&p, "w")->measure;
        CU_ASSERT(m->n_different == different && m->max_abs == max_abs && m->max_ulps == (uint64_t)max_ulps);
        CU_ASSERT(m->first.index[0] == first >> 10 && m->first.index[1] == (first & 1023));
        CU_ASSERT(m->abs.index[0] == abs_at >> 10 && m->abs.index[1] == (abs_at & 1023));
        CU_ASSERT(m->ulp.index[0] == ulps_at >> 10 && m->ulp.index[1] == (ulps_at & 1023));
        CU_ASSERT_EQUAL(m->n_nan_a + m->n_nan_b + m->n_nan_bits + m->n_zero_signs, 0);
        of[threads == 1] = *m;
        release(&p);
    }
    CU_ASSERT_EQUAL(memcmp(&of[0], &of[1], sizeof of[0]), 0);
}

/* Far behind the first difference, where whole pieces are passed over if they hold nothing new. */
static void what_is_worst_and_special_far_behind(void) {
    enum { n = 1 << 19 };
    both p = BOTH_INIT;
    float *a = put(&p.a, "w", ANX_F32, 1, n), *b = put(&p.b, "w", ANX_F32, 1, n);
    for (int i = 0; i < n; i++) {
        a[i] = 1;
        b[i] = 1 + 0x1p-20f;
    }
    b[5] = 100;
    b[n / 2] = 100;                                    /* as far: the first counts */
    a[n - 5000] = 0x1p-100f, b[n - 5000] = -0x1p-100f; /* close by, but 2 * (27 << 23) numbers lie between */
    a[n - 3] = NAN;
    b[n - 9000] = NAN;
    a[n - 2500] = 0.0f, b[n - 2500] = -0.0f;
    compare(&p);
    const anx_diff_measure *m = &row_of(&p, "w")->measure;
    CU_ASSERT(m->n_different == n && m->n_nan_a == 1 && m->n_nan_b == 1 && m->n_zero_signs == 1);
    CU_ASSERT(m->max_abs == 99 && m->abs.index[0] == 5);
    CU_ASSERT(m->max_ulps == 2 * (27 << 23) && m->ulp.index[0] == n - 5000);
    release(&p);

    p = (both)BOTH_INIT; /* float16 of large and of small numbers */
    a = put(&p.a, "w", ANX_F32, 1, n);
    uint16_t *half = put(&p.b, "w", ANX_F16, 1, n);
    for (int i = 0; i < n; i++) {
        const bool rare = i % 1000 == 999, large = i < n / 2;
        a[i] = !rare ? 1 + 0x1p-13f : large ? 1e6f : 1e-20f;
        half[i] = !rare ? 0x3c00 : large ? 0x7c00 : 0;
    }
    compare(&p);
    m = &row_of(&p, "w")->measure;
    CU_ASSERT_EQUAL(m->relation, ANX_DIFF_B_ROUNDED);
    CU_ASSERT(m->n_different == n && m->n_overflow == n / 2 / 1000);
    CU_ASSERT_EQUAL(m->n_underflow, n / 1000 - n / 2 / 1000);
    release(&p);
}

static void nan_and_zeros(void) {
    both p = BOTH_INIT;
    static const uint32_t a[] = {0x7fc00000, 0x7fc00000, 0x7fc00000, 0x3f800000, 0x00000000, 0x80000000, 0x7f800000};
    static const uint32_t b[] = {0x7fc00000, 0x7fc00001, 0x3f800000, 0xffc00000, 0x80000000, 0x80000000, 0x7f7fffff};
    memcpy(put(&p.a, "w", ANX_F32, 1, 7), a, sizeof a);
    memcpy(put(&p.b, "w", ANX_F32, 1, 7), b, sizeof b);
    compare(&p);
    const anx_diff_measure *m = &row_of(&p, "w")->measure;
    CU_ASSERT_EQUAL(m->n_different, 5); /* not the first: the same bits; not the sixth */
    CU_ASSERT(m->n_nan_bits == 1 && m->n_nan_a == 1 && m->n_nan_b == 1 && m->n_zero_signs == 1);
    CU_ASSERT_EQUAL(m->first.index[0], 1);
    CU_ASSERT(isinf(m->max_abs) && m->abs.index[0] == 6);
    CU_ASSERT(m->has_ulps && m->max_ulps == 1 && m->ulp.index[0] == 6); /* infinity follows the largest */
    CU_ASSERT(text_has(&p, "first at [1]: nan (0x7fc00000) in A, nan (0x7fc00001) in B"));
    CU_ASSERT(
        text_has(&p, "1 NaN in A alone; 1 NaN in B alone; 1 NaN in both, of other bits; 1 zeros of another sign"));
    release(&p);

    p = (both)BOTH_INIT; /* nothing but NaN: no distance */
    *(uint32_t *)put(&p.a, "w", ANX_F32, 0) = 0x7fc00000;
    *(uint32_t *)put(&p.b, "w", ANX_F32, 0) = 0xffc00000;
    compare(&p);
    m = &row_of(&p, "w")->measure;
    CU_ASSERT(m->n_different == 1 && !m->has_ulps && isnan(m->max_abs) && !m->abs.known && m->first.known);
    release(&p);

    p = (both)BOTH_INIT; /* only the sign of zero: no distance either, but a difference */
    *(uint32_t *)put(&p.a, "w", ANX_F32, 1, 1) = 0;
    *(uint32_t *)put(&p.b, "w", ANX_F32, 1, 1) = 0x80000000;
    compare(&p);
    m = &row_of(&p, "w")->measure;
    CU_ASSERT(m->n_different == 1 && m->n_zero_signs == 1 && m->max_abs == 0 && m->has_ulps && m->max_ulps == 0);
    release(&p);
}

static void distances_in_every_type(void) {
    static const struct {
        anx_dtype dtype;
        uint64_t a, b, ulps;
        double distance;
    } cases[] = {
        {ANX_F64, 0x3ff0000000000000, 0x3ff0000000000005, 5, 0x5p-52},
        {ANX_F64, 0x0000000000000001, 0x8000000000000001, 2, 0},
        {ANX_F64, 0xffefffffffffffff, 0x7fefffffffffffff, 0xffdffffffffffffe, INFINITY},
        {ANX_F32, 0x3f800000, 0xbf800000, 2 * 0x3f800000ull, 2},
        {ANX_F32, 0x00000001, 0x80000003, 4, 0x4p-149},
        {ANX_F16, 0x3c00, 0x3c07, 7, 0x7p-10},
        {ANX_F16, 0x0001, 0x8001, 2, 0x2p-24},
        {ANX_F16, 0x7bff, 0x7c00, 1, INFINITY},
        {ANX_BF16, 0x3f80, 0x3f83, 3, 0x3p-7},
        {ANX_I64, 0x8000000000000000, 0x7fffffffffffffff, 0xffffffffffffffff, 0x1p64},
        {ANX_I32, 0xffffffff, 4, 5, 5},
        {ANX_I16, 0x8000, 0x7fff, 65535, 65535},
        {ANX_I8, 0x80, 0x7f, 255, 255},
        {ANX_U8, 0, 0xff, 255, 255},
        {ANX_BOOL, 0, 1, 1, 1},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        both p = BOTH_INIT;
        const size_t bytes = anx_dtype_bytes(cases[i].dtype);
        char *a = put(&p.a, "t", cases[i].dtype, 1, 3), *b = put(&p.b, "t", cases[i].dtype, 1, 3);
        memset(a, 1, 3 * bytes);
        memset(b, 1, 3 * bytes);
        memcpy(a + bytes, &cases[i].a, bytes);
        memcpy(b + bytes, &cases[i].b, bytes);
        compare(&p);
        const anx_diff_measure *m = &row_of(&p, "t")->measure;
        CU_ASSERT(m->n_different == 1 && m->first.index[0] == 1);
        CU_ASSERT(m->has_ulps && m->max_ulps == cases[i].ulps && m->ulps_dtype == cases[i].dtype);
        if (cases[i].dtype == ANX_F64 && cases[i].distance == 0)
            CU_ASSERT_EQUAL(m->max_abs, 2 * f64_of(1))
        else
            CU_ASSERT_EQUAL(m->max_abs, cases[i].distance);
        CU_ASSERT(m->first.a.bits == cases[i].a && m->first.b.bits == cases[i].b);
        release(&p);
    }
}

static void values_are_written_as_short_as_can_be(void) {
    static const struct {
        anx_dtype dtype;
        uint64_t bits;
        const char *text;
    } cases[] = {{ANX_F32, 0x3dcccccd, "0.1"},
                 {ANX_F32, 0x3dcccccc, "0.099999994"},
                 {ANX_F64, 0x3fb999999999999a, "0.1"},
                 {ANX_F64, 0x3fb999999999999b, "0.10000000000000002"},
                 {ANX_F16, 0x2e66, "0.1"},
                 {ANX_BF16, 0x3dcd, "0.1"},
                 {ANX_F32, 0x80000000, "-0"},
                 {ANX_F32, 0xff800000, "-inf"},
                 {ANX_BF16, 0x7fc1, "nan (0x7fc1)"},
                 {ANX_I64, 0x8000000000000000, "-9223372036854775808"},
                 {ANX_I8, 0xff, "-1"},
                 {ANX_U8, 0xff, "255"}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char buf[ANX_ELEMENT_VALUE_TEXT];
        const anx_element_value v = {.dtype = cases[i].dtype, .bits = cases[i].bits};
        CU_ASSERT_STRING_EQUAL(anx_element_value_format(v, buf), cases[i].text);
    }
}

/* ---- other types ---------------------------------------------------------------------------------------- */

/* n floats in A, what they are in another type in B. */
static const anx_diff_measure *compare_types(both *p, const float *a, size_t n, anx_dtype dtype, const void *b) {
    *p = (both)BOTH_INIT;
    memcpy(put(&p->a, "w", ANX_F32, 1, (int)n), a, n * sizeof *a);
    memcpy(put(&p->b, "w", dtype, 1, (int)n), b, n * anx_dtype_bytes(dtype));
    compare(p);
    CU_ASSERT_EQUAL(p->diff->counts[ANX_DIFF_DTYPE], 1);
    CU_ASSERT_EQUAL(p->diff->result, ANX_DIFF_DIFFERENT);
    return &row_of(p, "w")->measure;
}

static void a_type_that_holds_the_values(void) {
    const float a[] = {0.5f, -0.0f, INFINITY, -3, NAN};
    const uint16_t half[] = {0x3800, 0x8000, 0x7c00, 0xc200, 0xfe01},
                   wrong_zero[] = {0x3800, 0, 0x7c00, 0xc200, 0xfe01};
    const double wide[] = {0.5, -0.0, INFINITY, -3, NAN};
    both p;
    CU_ASSERT_EQUAL(compare_types(&p, a, 5, ANX_F16, half)->relation, ANX_DIFF_EQUAL_VALUES);
    CU_ASSERT(text_has(&p, "w, (5,): float32 in A, float16 in B: equal values\n"));
    release(&p);
    CU_ASSERT_EQUAL(compare_types(&p, a, 5, ANX_F64, wide)->relation, ANX_DIFF_EQUAL_VALUES);
    release(&p);
    const anx_diff_measure *m = compare_types(&p, a, 5, ANX_F16, wrong_zero);
    CU_ASSERT(m->relation == ANX_DIFF_UNRELATED && m->n_different == 1 && m->n_zero_signs == 1);
    CU_ASSERT_EQUAL(m->first.index[0], 1);
    release(&p);
    const float whole[] = {1, -2, 0};
    const int32_t integers[] = {1, -2, 0}, others[] = {1, -2, 7};
    CU_ASSERT_EQUAL(compare_types(&p, whole, 3, ANX_I32, integers)->relation, ANX_DIFF_EQUAL_VALUES);
    release(&p);
    m = compare_types(&p, whole, 3, ANX_I32, others);
    CU_ASSERT(m->relation == ANX_DIFF_UNRELATED && m->n_different == 1 && m->max_abs == 7 && !m->has_ulps);
    release(&p);
}

static void a_type_that_rounds_the_values(void) {
    /* above 1 half floats are 2^-10 apart, so the fourth is a tie and goes to even, the fifth not quite */
    const float a[] = {1 + 0x1p-12f, 1 + 0x3p-12f, 70000, 1 + 0x1p-11f, 1 + 0x1p-11f + 0x1p-20f, 0x1p-30f, 0.25f};
    const uint16_t rounded[] = {0x3c00, 0x3c01, 0x7c00, 0x3c00, 0x3c01, 0, 0x3400};
    const uint16_t truncated[] = {0x3c00, 0x3c00, 0x7bff, 0x3c00, 0x3c00, 0, 0x3400};
    uint16_t other[7];
    both p;
    const anx_diff_measure *m = compare_types(&p, a, 7, ANX_F16, rounded);
    CU_ASSERT_EQUAL(m->relation, ANX_DIFF_B_ROUNDED);
    CU_ASSERT(m->n_different == 6 && m->n_overflow == 1 && m->n_underflow == 1 && !m->has_ulps);
    CU_ASSERT(isinf(m->max_abs) && m->abs.index[0] == 2);
    CU_ASSERT(text_has(&p,
                       "B is A rounded to float16 (to nearest even), exactly; 6 of 7 values changed, by at most inf; "
                       "1 became infinite; 1 became zero"));
    release(&p);
    m = compare_types(&p, a, 7, ANX_F16, truncated);
    CU_ASSERT_EQUAL(m->relation, ANX_DIFF_B_TRUNCATED);
    CU_ASSERT(m->has_ulps && m->max_ulps == 1 && m->ulps_dtype == ANX_F16 && m->ulp.index[0] == 1);
    release(&p);
    memcpy(other, rounded, sizeof other);
    other[4] = 0x3c04; /* 3 beyond what rounding gives */
    m = compare_types(&p, a, 7, ANX_F16, other);
    CU_ASSERT_EQUAL(m->relation, ANX_DIFF_UNRELATED);
    CU_ASSERT(m->has_ulps && m->max_ulps == 3 && m->ulp.index[0] == 4 && m->n_different == 6);
    CU_ASSERT(text_has(&p, "farthest 3 ULPs of float16 at [4]"));
    release(&p);
    const uint16_t brain[] = {0x3f80, 0x3f80, 0x4789, 0x3f80, 0x3f80, 0x3080, 0x3e80}; /* 70000 is 0x4788b800 */
    CU_ASSERT_EQUAL(compare_types(&p, a, 7, ANX_BF16, brain)->relation, ANX_DIFF_B_ROUNDED);
    release(&p);
    /* the other way round: B has more */
    p = (both)BOTH_INIT;
    memcpy(put(&p.a, "w", ANX_F16, 1, 7), rounded, sizeof rounded);
    memcpy(put(&p.b, "w", ANX_F32, 1, 7), a, sizeof a);
    compare(&p);
    CU_ASSERT_EQUAL(row_of(&p, "w")->measure.relation, ANX_DIFF_A_ROUNDED);
    release(&p);
}

static void integers_beyond_what_a_double_holds(void) {
    both p = BOTH_INIT;
    const int64_t whole[] = {((int64_t)1 << 53) + 1, INT64_MAX};
    const double real[] = {0x1p53, 0x1p63};
    memcpy(put(&p.a, "n", ANX_I64, 1, 2), whole, sizeof whole);
    memcpy(put(&p.b, "n", ANX_F64, 1, 2), real, sizeof real);
    compare(&p);
    CU_ASSERT_EQUAL(row_of(&p, "n")->measure.n_different, 2);
    release(&p);
    p = (both)BOTH_INIT;
    const int16_t narrow[] = {-5, 300};
    const int64_t wide[] = {-5, 300};
    memcpy(put(&p.a, "n", ANX_I64, 1, 2), wide, sizeof wide);
    memcpy(put(&p.b, "n", ANX_I16, 1, 2), narrow, sizeof narrow);
    compare(&p);
    CU_ASSERT_EQUAL(row_of(&p, "n")->measure.relation, ANX_DIFF_EQUAL_VALUES);
    release(&p);
}

/* ---- views of few elements that mean many --------------------------------------------------------------- */

/* A tensor of n stored floats, all `value`, with the given shape and strides. */
static void put_view(anx_state_dict *dict, const char *name, int n, float value, int64_t rows, int64_t columns,
                     int64_t row_stride, int64_t column_stride) {
    float *data = put(dict, name, ANX_F32, 2, n, 1);
    for (int i = 0; i < n; i++) data[i] = value;
    anx_tensor *t = &dict->items[dict->count - 1].tensor;
    t->shape[0] = rows;
    t->shape[1] = columns;
    t->stride[0] = row_stride;
    t->stride[1] = column_stride;
}

static void expanded_tensors_are_compared_once(void) {
    both p = BOTH_INIT; /* 10^15 elements of one stored, and of 10 stored */
    put_view(&p.a, "same", 1, 5, 1000000, 1000000000, 0, 0);
    put_view(&p.b, "same", 1, 5, 1000000, 1000000000, 0, 0);
    put_view(&p.a, "rows", 10, 5, 10, 100000000000000, 1, 0);
    put_view(&p.b, "rows", 10, 5, 10, 100000000000000, 1, 0);
    ((float *)p.b.items[1].tensor.data)[7] = 6;
    compare_as(&p, true, 2);
    CU_ASSERT(p.diff->n_same == 1 && p.diff->same_elems == 1000000000000000);
    const anx_diff_measure *m = &row_of(&p, "rows")->measure;
    CU_ASSERT(m->n_elems == 1000000000000000 && m->n_different == 100000000000000);
    CU_ASSERT(m->first.index[0] == 7 && m->first.index[1] == 0 && m->max_abs == 1);
    CU_ASSERT_EQUAL(p.diff->result, ANX_DIFF_DIFFERENT);
    CU_ASSERT(p.twins->cut_short);
    release(&p);
}

/* One of the two repeats one stored element, the other has its own, the last of them another. */
static void repeated_elements_are_held_against_stored_ones(void) {
    for (int side = 0; side < 2; side++) {
        both p = BOTH_INIT;
        anx_state_dict *repeats = side == 0 ? &p.a : &p.b, *stores = side == 0 ? &p.b : &p.a;
        put_view(repeats, "w", 1, 5, 2, 3, 0, 0);
        put_view(stores, "w", 6, 5, 2, 3, 3, 1);
        ((float *)stores->items[0].tensor.data)[5] = 6;
        put_view(repeats, "none", 1, 5, 4, 0, 0, 0);
        put_view(stores, "none", 1, 6, 4, 0, 0, 0); /* stored, and no element of it */
        compare_as(&p, true, 2);
        CU_ASSERT(p.diff->result == ANX_DIFF_DIFFERENT && p.diff->n_same == 1 && p.diff->same_elems == 0);
        const anx_diff_measure *m = &row_of(&p, "w")->measure;
        CU_ASSERT(m->n_elems == 6 && m->n_different == 1 && m->first.index[0] == 1 && m->first.index[1] == 2);
        release(&p);
    }
}

static void what_names_more_than_can_be_read_is_skipped(void) {
    both p = BOTH_INIT; /* rows that overlap: 10^12 elements of 2 * 10^6 stored */
    put_view(&p.a, "huge", 2000000, 1, 1000000, 1000000, 1, 1);
    put_view(&p.b, "huge", 2000000, 1, 1000000, 1000000, 1, 1);
    *(float *)put(&p.a, "w", ANX_F32, 1, 1) = 1;
    *(float *)put(&p.b, "w", ANX_F32, 1, 1) = 1;
    compare_as(&p, true, 2);
    CU_ASSERT(p.diff->n_same == 1 && p.diff->counts[ANX_DIFF_SKIPPED] == 1);
    CU_ASSERT_EQUAL(p.diff->result, ANX_DIFF_NOT_VERIFIED);
    CU_ASSERT(text_has(&p, "not verified: 1 of 2 tensors is the same; 1 was skipped"));
    CU_ASSERT(text_has(&p, "huge, (1000000, 1000000): not compared"));
    release(&p);

    p = (both)BOTH_INIT; /* a difference is one all the same */
    put_view(&p.a, "huge", 2000000, 1, 1000000, 1000000, 1, 1);
    put_view(&p.b, "huge", 2000000, 1, 1000000, 1000000, 1, 1);
    *(float *)put(&p.a, "w", ANX_F32, 1, 1) = 1;
    *(float *)put(&p.b, "w", ANX_F32, 1, 1) = 2;
    compare_as(&p, true, 2);
    CU_ASSERT_EQUAL(p.diff->result, ANX_DIFF_DIFFERENT);
    release(&p);
}

/* ---- twins ---------------------------------------------------------------------------------------------- */

static void fill_distinct(float *data, int64_t n, uint64_t seed) {
    test_random r = {.state = seed};
    for (int64_t i = 0; i < n; i++) data[i] = test_random_normal(&r);
}

static const anx_twin *only_twin(const both *p) {
    CU_ASSERT_EQUAL_FATAL(p->twins->n_items, 1);
    CU_ASSERT_FALSE(p->twins->cut_short);
    return &p->twins->items[0];
}

/* The twin of A's tensor of that name is B's of this, in that kind of order; returns it. */
static const anx_twin *check_twin(const both *p, const char *a, const char *b, anx_twin_kind kind, anx_twin_basis basis,
                                  const char *expression) {
    static const anx_twin none = {.order = {.kind = ANX_TWIN_KIND_COUNT}};
    for (size_t i = 0; i < p->twins->n_items; i++) {
        const anx_twin *twin = &p->twins->items[i];
        char buf[ANX_TWIN_TEXT];
        if (strcmp(p->in_a->tensors.items[twin->a].name, a) != 0) continue;
        CU_ASSERT_STRING_EQUAL(p->in_b->tensors.items[twin->b].name, b);
        CU_ASSERT_EQUAL(twin->order.kind, kind);
        CU_ASSERT_EQUAL(twin->basis, basis);
        CU_ASSERT_STRING_EQUAL(anx_twin_expression(p->diff, twin, buf), expression);
        return twin;
    }
    CU_FAIL("no such twin");
    return &none;
}

/* What --rename is told for it; NULL: nothing. */
static void check_rename(const both *p, const anx_twin *twin, const char *expected) {
    char *rename = NULL;
    ANX_CHECK_OK(anx_twin_rename(p->diff, p->twins, twin, &rename, &err), &err);
    CU_ASSERT_EQUAL(rename == NULL, expected == NULL);
    CU_ASSERT(rename == NULL || expected == NULL || strcmp(rename, expected) == 0);
    free(rename);
}

static void another_name(void) {
    both p = BOTH_INIT;
    fill_distinct(put(&p.a, "features.0.weight", ANX_F32, 2, 3, 4), 12, 1);
    fill_distinct(put(&p.a, "features.0.bias", ANX_F32, 1, 12), 12, 2);
    fill_distinct(put(&p.a, "kept", ANX_F32, 1, 12), 12, 3);
    fill_distinct(put(&p.a, "lone", ANX_F32, 1, 12), 12, 9);
    fill_distinct(put(&p.b, "kept", ANX_F32, 1, 12), 12, 3);
    fill_distinct(put(&p.b, "conv1.bias", ANX_F32, 1, 12), 12, 2);
    fill_distinct(put(&p.b, "conv1.weight", ANX_F32, 2, 3, 4), 12, 1);
    compare(&p);
    CU_ASSERT_EQUAL(p.twins->n_items, 2);
    CU_ASSERT_PTR_NULL(p.twins->prefix);
    const anx_twin *weight = check_twin(&p, "features.0.weight", "conv1.weight", ANX_TWIN_SAME, ANX_TWIN_BY_BITS, "A");
    check_twin(&p, "features.0.bias", "conv1.bias", ANX_TWIN_SAME, ANX_TWIN_BY_BITS, "A");
    check_rename(&p, weight, "conv1.weight=features.0.weight");
    CU_ASSERT(text_has(&p, "features.0.weight is called conv1.weight in B\n"));
    CU_ASSERT(text_has(&p, "to give B the names of A: anx-convert --rename conv1=features.0\n"));
    CU_ASSERT(text_has(&p, "lone: in A alone"));
    release(&p);

    p = (both)BOTH_INIT; /* a module of which not all is known is not renamed as a whole */
    fill_distinct(put(&p.a, "features.0.weight", ANX_F32, 2, 3, 4), 12, 1);
    fill_distinct(put(&p.a, "features.3.weight", ANX_F32, 1, 7), 7, 2);
    fill_distinct(put(&p.b, "conv1.weight", ANX_F32, 2, 3, 4), 12, 1);
    fill_distinct(put(&p.b, "conv1.more", ANX_F32, 1, 5), 5, 3);
    fill_distinct(put(&p.b, "conv2.kernel", ANX_F32, 1, 7), 7, 2);
    compare(&p);
    CU_ASSERT(text_has(&p, "anx-convert --rename conv1.weight=features.0.weight --rename "
                           "conv2.kernel=features.3.weight\n"));
    release(&p);
}

/* One tensor is renamed; another is transposed under its own name, two more no one can tell apart. */
static void names_among_what_needs_none(void) {
    both p = BOTH_INIT;
    fill_distinct(put(&p.a, "m.w", ANX_F32, 1, 5), 5, 1);
    fill_distinct(put(&p.b, "n.w", ANX_F32, 1, 5), 5, 1);
    fill_distinct(put(&p.a, "t", ANX_F32, 2, 1, 3), 3, 2);
    fill_distinct(put(&p.b, "t", ANX_F32, 2, 3, 1), 3, 2);
    for (int i = 0; i < 2; i++) {
        memset(put(&p.a, i == 0 ? "zero0" : "zero1", ANX_F32, 1, 8), 0, 32);
        memset(put(&p.b, i == 0 ? "nil" : "null", ANX_F32, 1, 8), 0, 32);
    }
    compare(&p);
    CU_ASSERT_EQUAL(p.twins->n_items, 3);
    CU_ASSERT(text_has(&p, "to give B the names of A: anx-convert --rename n=m\n"));
    release(&p);
}

/* Names of three tensors that all have something before them in one file, one of them another name too. */
static void put_prefixed(anx_state_dict *dict, const char *prefix, const char *head) {
    const char *const names[] = {"f.w", "f.b", head};
    for (int i = 0; i < 3; i++) {
        char name[64];
        snprintf(name, sizeof name, "%s%s", prefix, names[i]);
        fill_distinct(put(dict, name, ANX_F32, 1, 5 + i), 5 + i, (uint64_t)i);
    }
}

static void another_name_behind_a_prefix(void) {
    both p = BOTH_INIT;
    put_prefixed(&p.a, "", "c.w");
    put_prefixed(&p.b, "net.", "head.w");
    compare(&p);
    check_rename(&p, check_twin(&p, "c.w", "net.head.w", ANX_TWIN_SAME, ANX_TWIN_BY_BITS, "A"), "head.w=c.w");
    CU_ASSERT(text_has(&p, "to give B the names of A: anx-convert --prefix-strip net. --rename head=c\n"));
    release(&p);

    p = (both)BOTH_INIT;
    put_prefixed(&p.a, "net.", "c.w");
    put_prefixed(&p.b, "", "head.w");
    compare(&p);
    check_rename(&p, check_twin(&p, "net.c.w", "head.w", ANX_TWIN_SAME, ANX_TWIN_BY_BITS, "A"), "head.w=c.w");
    CU_ASSERT(text_has(&p, "to give B the names of A behind its prefix: anx-convert --rename head=c\n"));
    release(&p);
}

static void names_that_changed_places(void) {
    both p = BOTH_INIT;
    fill_distinct(put(&p.a, "x", ANX_F32, 1, 5), 5, 1);
    fill_distinct(put(&p.a, "y", ANX_F32, 1, 5), 5, 2);
    fill_distinct(put(&p.b, "x", ANX_F32, 1, 5), 5, 2);
    fill_distinct(put(&p.b, "y", ANX_F32, 1, 5), 5, 1);
    compare(&p);
    check_twin(&p, "x", "y", ANX_TWIN_SAME, ANX_TWIN_BY_BITS, "A");
    const anx_twin *twin = check_twin(&p, "y", "x", ANX_TWIN_SAME, ANX_TWIN_BY_BITS, "A");
    check_rename(&p, twin, NULL); /* B has a y */
    release(&p);
}

/* Weights and zero biases of two layers, each name with something before it; `changed`: one weight is another. */
static void put_layers(anx_state_dict *dict, const char *prefix, bool changed) {
    for (int i = 0; i < 3; i++) {
        char name[64];
        snprintf(name, sizeof name, "%slayer%d.weight", prefix, i);
        fill_distinct(put(dict, name, ANX_F32, 2, 4, 4), 16, i == 1 && changed ? 99 : (uint64_t)i);
        snprintf(name, sizeof name, "%slayer%d.bias", prefix, i);
        memset(put(dict, name, ANX_F32, 1, 4), 0, 16);
    }
}

static void a_prefix(void) {
    for (int in_b = 0; in_b < 2; in_b++) {
        both p = BOTH_INIT;
        put_layers(in_b ? &p.a : &p.b, "", false);
        put_layers(in_b ? &p.b : &p.a, "module.", true);
        compare(&p);
        CU_ASSERT_PTR_NOT_NULL_FATAL(p.twins->prefix);
        CU_ASSERT_STRING_EQUAL(p.twins->prefix, "module.");
        CU_ASSERT(p.twins->prefix_in_b == (in_b == 1) && p.twins->n_prefixed == 6 && p.twins->n_prefix_same == 5);
        CU_ASSERT_EQUAL(p.twins->n_items, 5); /* the zeros are told apart by their names */
        check_twin(&p, in_b ? "layer2.bias" : "module.layer2.bias", in_b ? "module.layer2.bias" : "layer2.bias",
                   ANX_TWIN_SAME, ANX_TWIN_BY_NAME, "A");
        CU_ASSERT(
            text_has(&p, in_b ? "B's names begin with 'module.': without it 6 of them are in A, 5 with the same bits "
                                "(anx-convert --prefix-strip module. takes it away)\n"
                              : "A's names begin with 'module.': without it 6 of them are in B, 5 with the same"));
        CU_ASSERT(text_lacks(&p, "layer0"));
        CU_ASSERT(text_has(&p, "layer1.weight: in A alone"));
        release(&p);
    }
}

static void no_prefix_where_none_explains_anything(void) {
    both p = BOTH_INIT;
    put_layers(&p.a, "", false);
    put_layers(&p.b, "module.", false);
    for (size_t i = 0; i < p.b.count; i++) p.b.items[i].name[strlen(p.b.items[i].name) - 1] = 'x';
    compare(&p);
    CU_ASSERT_PTR_NULL(p.twins->prefix);
    release(&p);

    p = (both)BOTH_INIT; /* not all begin with it */
    static const char *const a[] = {"one", "two", "three"}, *const b[] = {"module.one", "module.two", "nodule.three"};
    for (int i = 0; i < 3; i++) {
        fill_distinct(put(&p.a, a[i], ANX_F32, 1, 3), 3, (uint64_t)i);
        fill_distinct(put(&p.b, b[i], ANX_F32, 1, 3), 3, (uint64_t)i);
    }
    compare(&p);
    CU_ASSERT_PTR_NULL(p.twins->prefix);
    CU_ASSERT_EQUAL(p.twins->n_items, 3);
    check_twin(&p, "three", "nodule.three", ANX_TWIN_SAME, ANX_TWIN_BY_BITS, "A");
    release(&p);
}

static void zeros_that_could_be_any(void) {
    both p = BOTH_INIT;
    for (int i = 0; i < 3; i++) {
        char name[32];
        snprintf(name, sizeof name, "zero%d", i);
        memset(put(&p.a, name, ANX_F32, 1, 8), 0, 32);
    }
    memset(put(&p.b, "null", ANX_F32, 1, 8), 0, 32);
    memset(put(&p.b, "nil", ANX_F32, 1, 8), 0, 32);
    memset(put(&p.b, "square", ANX_F32, 2, 2, 4), 0, 32); /* not the shape */
    compare(&p);
    const anx_twin *twin = only_twin(&p);
    CU_ASSERT(twin->basis == ANX_TWIN_AMBIGUOUS && twin->others_a == 2 && twin->others_b == 1);
    check_rename(&p, twin, NULL);
    CU_ASSERT(
        text_has(&p, "zero0 may be called nil in B; ambiguous: 2 others of A and 1 other of B would fit as well"));
    CU_ASSERT(text_lacks(&p, "--rename"));
    release(&p);
}

static void zeros_whose_module_is_known(void) {
    both p = BOTH_INIT;
    put_layers(&p.a, "", false);
    for (int i = 2; i >= 0; i--) {
        char name[32];
        snprintf(name, sizeof name, "fc%d.bias", 10 * i);
        memset(put(&p.b, name, ANX_F32, 1, 4), 0, 16);
        snprintf(name, sizeof name, "fc%d.weight", 10 * i);
        fill_distinct(put(&p.b, name, ANX_F32, 2, 4, 4), 16, (uint64_t)i);
    }
    compare(&p);
    CU_ASSERT_EQUAL(p.twins->n_items, 6);
    check_twin(&p, "layer0.bias", "fc0.bias", ANX_TWIN_SAME, ANX_TWIN_BY_MODULE, "A");
    check_twin(&p, "layer1.bias", "fc10.bias", ANX_TWIN_SAME, ANX_TWIN_BY_MODULE, "A");
    const anx_twin *last = check_twin(&p, "layer2.bias", "fc20.bias", ANX_TWIN_SAME, ANX_TWIN_BY_MODULE, "A");
    CU_ASSERT(last->others_a == 2 && last->others_b == 2);
    release(&p);
}

/* B's tensor is A's with the axes permuted: B[i0][i1].. = A[..]. */
static void permute_into(const float *a, int rank, const int *shape, const int *axes, float *b) {
    int stride[4], extent[4], index[4] = {0};
    for (int i = rank - 1, s = 1; i >= 0; i--) {
        stride[i] = s;
        s *= shape[i];
    }
    int n = 1;
    for (int i = 0; i < rank; i++) {
        extent[i] = shape[axes[i]];
        n *= extent[i];
    }
    for (int k = 0; k < n; k++) {
        int at = 0;
        for (int i = 0; i < rank; i++) at += index[i] * stride[axes[i]];
        b[k] = a[at];
        for (int i = rank - 1; i >= 0 && ++index[i] == extent[i]; i--) index[i] = 0;
    }
}

static void axes_in_another_order(void) {
    static const struct {
        int rank, shape[4], axes[4];
        const char *expression, *said;
    } cases[] = {
        {2, {3, 5}, {1, 0}, "A.permute(1, 0)", "w: transposed in B"},
        {2, {6, 6}, {1, 0}, "A.permute(1, 0)", "w: transposed in B"}, /* of one shape */
        {4, {4, 3, 5, 5}, {2, 3, 1, 0}, "A.permute(2, 3, 1, 0)", "w: OIHW in A, HWIO in B"},
        {4, {5, 5, 3, 4}, {3, 2, 0, 1}, "A.permute(3, 2, 0, 1)", "w: HWIO in A, OIHW in B"},
        {4, {4, 3, 5, 5}, {0, 2, 3, 1}, "A.permute(0, 2, 3, 1)", "w: OIHW in A, OHWI in B"},
        {4, {4, 5, 5, 3}, {0, 3, 1, 2}, "A.permute(0, 3, 1, 2)", "w: OHWI in A, OIHW in B"},
        {4, {2, 3, 4, 5}, {1, 3, 0, 2}, "A.permute(1, 3, 0, 2)", "w: its axes are in another order in B"},
        {3, {3, 3, 3}, {2, 0, 1}, "A.permute(2, 0, 1)", "w: its axes are in another order in B"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        both p = BOTH_INIT;
        const int *s = cases[i].shape, *x = cases[i].axes, rank = cases[i].rank;
        int n = 1;
        for (int k = 0; k < rank; k++) n *= s[k];
        float *a = put(&p.a, "w", ANX_F32, rank, s[0], s[1], s[2], s[3]);
        fill_distinct(a, n, 3);
        float *b = put(&p.b, "w", ANX_F32, rank, s[x[0]], s[x[1]], rank > 2 ? s[x[2]] : 0, rank > 3 ? s[x[3]] : 0);
        permute_into(a, rank, s, x, b);
        compare(&p);
        const anx_twin *twin = check_twin(&p, "w", "w", ANX_TWIN_PERMUTED, ANX_TWIN_BY_NAME, cases[i].expression);
        CU_ASSERT_FALSE(twin->other_orders || twin->constant);
        CU_ASSERT(text_has(&p, cases[i].said));
        release(&p);

        p = (both)BOTH_INIT; /* one element more than permuted: nothing is said */
        a = put(&p.a, "w", ANX_F32, rank, s[0], s[1], s[2], s[3]);
        fill_distinct(a, n, 3);
        b = put(&p.b, "w", ANX_F32, rank, s[x[0]], s[x[1]], rank > 2 ? s[x[2]] : 0, rank > 3 ? s[x[3]] : 0);
        permute_into(a, rank, s, x, b);
        const float moved = b[0]; /* the same elements, but two have changed places */
        b[0] = b[n - 2];
        b[n - 2] = moved;
        compare(&p);
        CU_ASSERT_EQUAL(p.twins->n_items, 0);
        release(&p);
    }
}

static void an_axis_of_one_name_and_another(void) {
    both p = BOTH_INIT; /* transposed under another name, and what is bit for bit something else stays alone */
    float a[15];
    fill_distinct(a, 15, 3);
    memcpy(put(&p.a, "fc.weight", ANX_F32, 2, 3, 5), a, sizeof a);
    static const int shape[] = {3, 5}, axes[] = {1, 0};
    permute_into(a, 2, shape, axes, put(&p.b, "dense.kernel", ANX_F32, 2, 5, 3));
    fill_distinct(put(&p.b, "other", ANX_F32, 2, 5, 3), 15, 4);
    compare(&p);
    CU_ASSERT_EQUAL(p.twins->n_items, 1);
    check_twin(&p, "fc.weight", "dense.kernel", ANX_TWIN_PERMUTED, ANX_TWIN_BY_BITS, "A.permute(1, 0)");
    CU_ASSERT(text_has(&p, "fc.weight is called dense.kernel in B, transposed in B: B is A.permute(1, 0)"));
    release(&p);
}

static void channels_backward(void) {
    enum { o = 4, c = 3, k = 5 };
    for (int axis = 0; axis < 2; axis++) {
        for (int hwio = 0; hwio < 2; hwio++) {
            both p = BOTH_INIT;
            float *a = put(&p.a, "conv.weight", ANX_F32, 4, o, c, k, k), flipped[o * c * k * k];
            fill_distinct(a, o * c * k * k, 8);
            for (int i = 0; i < o; i++)
                for (int j = 0; j < c; j++)
                    memcpy(&flipped[(i * c + j) * k * k],
                           &a[((axis == 0 ? o - 1 - i : i) * c + (axis == 1 ? c - 1 - j : j)) * k * k],
                           k * k * sizeof *a);
            static const int shape[] = {o, c, k, k}, axes[] = {2, 3, 1, 0};
            if (hwio == 1)
                permute_into(flipped, 4, shape, axes, put(&p.b, "conv.weight", ANX_F32, 4, k, k, c, o));
            else
                memcpy(put(&p.b, "conv.weight", ANX_F32, 4, o, c, k, k), flipped, sizeof flipped);
            compare(&p);
            static const char *const expressions[2][2] = {{"A.flip(0)", "A.flip(0).permute(2, 3, 1, 0)"},
                                                          {"A.flip(1)", "A.flip(1).permute(2, 3, 1, 0)"}};
            const anx_twin *twin = check_twin(&p, "conv.weight", "conv.weight", ANX_TWIN_REVERSED, ANX_TWIN_BY_NAME,
                                              expressions[axis][hwio]);
            CU_ASSERT(twin->order.axis == axis && !twin->other_orders);
            if (axis == 1) CU_ASSERT(text_has(&p, "axis 1 of A (3 long) is backward in B, as RGB against BGR"));
            release(&p);
        }
    }
}

static void flattened_in_another_order(void) {
    enum { out = 5, channels = 8, h = 3, w = 3, in = channels * h * w };
    for (int transposed = 0; transposed < 2; transposed++) {
        for (int known = 0; known < 2; known++) {
            both p = BOTH_INIT;
            if (known == 1) {
                fill_distinct(put(&p.a, "features.weight", ANX_F32, 4, channels, 3, 2, 2), channels * 12, 1);
                fill_distinct(put(&p.b, "features.weight", ANX_F32, 4, channels, 3, 2, 2), channels * 12, 1);
            }
            float *a = put(&p.a, "classifier.weight", ANX_F32, 2, out, in);
            fill_distinct(a, out * in, 2);
            float *b = transposed == 1 ? put(&p.b, "classifier.weight", ANX_F32, 2, in, out)
                                       : put(&p.b, "classifier.weight", ANX_F32, 2, out, in);
            for (int i = 0; i < out; i++)
                for (int c = 0; c < channels; c++)
                    for (int at = 0; at < h * w; at++) {
                        const int hwc = at * channels + c;
                        b[transposed == 1 ? hwc * out + i : i * in + hwc] = a[i * in + c * h * w + at];
                    }
            compare(&p);
            const anx_twin *twin =
                check_twin(&p, "classifier.weight", "classifier.weight", ANX_TWIN_FLATTENED, ANX_TWIN_BY_NAME,
                           transposed == 1 ? "A.reshape(5, 8, 9).transpose(1, 2).reshape(5, 72).permute(1, 0)"
                                           : "A.reshape(5, 8, 9).transpose(1, 2).reshape(5, 72)");
            CU_ASSERT(twin->order.outer == channels && twin->order.inner == h * w && !twin->other_orders);
            CU_ASSERT_EQUAL(twin->channels, known == 1 ? channels : 0);
            CU_ASSERT(text_has(&p, known == 1 ? "the 72 columns of A are flattened from 8 x 3 x 3 (CHW), in B from "
                                                "3 x 3 x 8 (HWC)"
                                              : "the 72 columns of A are flattened from 8 x 9, in B from 9 x 8"));
            release(&p);
        }
    }
}

static void another_shape_of_the_same(void) {
    both p = BOTH_INIT;
    fill_distinct(put(&p.a, "w", ANX_F32, 2, 4, 6), 24, 1);
    fill_distinct(put(&p.b, "w", ANX_F32, 4, 4, 6, 1, 1), 24, 1);
    fill_distinct(put(&p.a, "s", ANX_F32, 1, 1), 1, 2);
    fill_distinct(put(&p.b, "s", ANX_F32, 0), 1, 2);
    compare(&p);
    CU_ASSERT_EQUAL(p.diff->counts[ANX_DIFF_SHAPE], 2);
    check_twin(&p, "w", "w", ANX_TWIN_RESHAPED, ANX_TWIN_BY_NAME, "A.reshape(4, 6, 1, 1)");
    const anx_twin *s = check_twin(&p, "s", "s", ANX_TWIN_RESHAPED, ANX_TWIN_BY_NAME, "A.reshape(())");
    CU_ASSERT(s->constant);
    CU_ASSERT(text_has(&p, "w: (4, 6) float32 in A, (4, 6, 1, 1) float32 in B"));
    release(&p);
}

static void symmetric_tensors_fit_in_several_orders(void) {
    both p = BOTH_INIT; /* w[i][j][k] that depends on j + k alone beside i: B is A with i last, j and k either way */
    float *a = put(&p.a, "w", ANX_F32, 3, 2, 3, 3), *b = put(&p.b, "w", ANX_F32, 3, 3, 3, 2);
    for (int i = 0; i < 2; i++)
        for (int j = 0; j < 3; j++)
            for (int k = 0; k < 3; k++) {
                a[(i * 3 + j) * 3 + k] = (float)(100 * i + (j + k) * (j + k));
                b[(j * 3 + k) * 2 + i] = (float)(100 * i + (j + k) * (j + k));
            }
    compare(&p);
    CU_ASSERT(check_twin(&p, "w", "w", ANX_TWIN_PERMUTED, ANX_TWIN_BY_NAME, "A.permute(1, 2, 0)")->other_orders);
    CU_ASSERT(text_has(&p, "another order fits as well"));
    release(&p);
}

static void orders_of_which_one_cannot_be_chosen(void) {
    both p = BOTH_INIT; /* B has both the transpose and its mirror image */
    float a[15];
    fill_distinct(a, 15, 3);
    memcpy(put(&p.a, "w", ANX_F32, 2, 3, 5), a, sizeof a);
    static const int shape[] = {3, 5}, axes[] = {1, 0};
    float *t = put(&p.b, "t", ANX_F32, 2, 5, 3);
    permute_into(a, 2, shape, axes, t);
    float mirrored[15];
    for (int i = 0; i < 5; i++) memcpy(&mirrored[3 * i], &t[3 * (4 - i)], 12);
    memcpy(put(&p.b, "m", ANX_F32, 2, 5, 3), mirrored, sizeof mirrored);
    compare(&p);
    const anx_twin *twin = only_twin(&p);
    CU_ASSERT(twin->basis == ANX_TWIN_AMBIGUOUS && twin->others_b == 1 && twin->others_a == 0);
    release(&p);
}

static void views_have_twins_too(void) {
    both p = BOTH_INIT; /* A is strided, and big enough for threads; B is its transpose, laid out plainly */
    enum { rows = 700, columns = 500 };
    float *a = put(&p.a, "w", ANX_F32, 2, rows, columns), *b = put(&p.b, "v", ANX_F32, 2, rows, columns);
    fill_distinct(a, rows * columns, 3);
    memcpy(b, a, rows * columns * sizeof *a);
    anx_tensor *t = &p.a.items[0].tensor;
    t->shape[0] = columns;
    t->shape[1] = rows;
    t->stride[0] = 1;
    t->stride[1] = columns;
    compare(&p);
    check_twin(&p, "w", "v", ANX_TWIN_PERMUTED, ANX_TWIN_BY_BITS, "A.permute(1, 0)");
    release(&p);
}

static void names_from_files_are_shown_harmlessly(void) {
    both p = BOTH_INIT;
    fill_distinct(put(&p.a, "evil\033[31m\nname", ANX_F32, 1, 3), 3, 1);
    fill_distinct(put(&p.b, "it's = that", ANX_F32, 1, 3), 3, 1);
    compare(&p);
    const anx_twin *twin = only_twin(&p);
    check_rename(&p, twin, NULL);
    CU_ASSERT(text_has(&p, "evil\\x1b[31m\\x0aname is called it's = that in B"));
    release(&p);
}

static void payloads_are_bits(void) {
    const uint32_t signalling = 0x7f800001;
    both p = BOTH_INIT; /* a NaN's payload is bits like any other */
    *(uint32_t *)put(&p.a, "w", ANX_F32, 1, 1) = signalling;
    *(uint32_t *)put(&p.b, "w", ANX_F32, 1, 1) = signalling | 0x00400000;
    CU_ASSERT(isnan(f32_of(signalling)));
    compare(&p);
    CU_ASSERT_EQUAL(row_of(&p, "w")->measure.n_nan_bits, 1);
    CU_ASSERT_EQUAL(row_of(&p, "w")->measure.first.a.bits, signalling);
    release(&p);
}

int main(int argc, char **argv) {
    static const anx_test tests[] = {
        {"the_same_in_two_formats_and_orders", the_same_in_two_formats_and_orders},
        {"the_first_in_another_order_is_named", the_first_in_another_order_is_named},
        {"names_in_one_order_are_so", names_in_one_order_are_so},
        {"strides_do_not_matter", strides_do_not_matter},
        {"other_byte_orders_and_alignments_do_not_matter", other_byte_orders_and_alignments_do_not_matter},
        {"one_bit_of_many", one_bit_of_many},
        {"many_differences", many_differences},
        {"what_is_worst_and_special_far_behind", what_is_worst_and_special_far_behind},
        {"nan_and_zeros", nan_and_zeros},
        {"payloads_are_bits", payloads_are_bits},
        {"distances_in_every_type", distances_in_every_type},
        {"values_are_written_as_short_as_can_be", values_are_written_as_short_as_can_be},
        {"a_type_that_holds_the_values", a_type_that_holds_the_values},
        {"a_type_that_rounds_the_values", a_type_that_rounds_the_values},
        {"integers_beyond_what_a_double_holds", integers_beyond_what_a_double_holds},
        {"expanded_tensors_are_compared_once", expanded_tensors_are_compared_once},
        {"repeated_elements_are_held_against_stored_ones", repeated_elements_are_held_against_stored_ones},
        {"what_names_more_than_can_be_read_is_skipped", what_names_more_than_can_be_read_is_skipped},
        {"another_name", another_name},
        {"names_among_what_needs_none", names_among_what_needs_none},
        {"another_name_behind_a_prefix", another_name_behind_a_prefix},
        {"names_that_changed_places", names_that_changed_places},
        {"a_prefix", a_prefix},
        {"no_prefix_where_none_explains_anything", no_prefix_where_none_explains_anything},
        {"zeros_that_could_be_any", zeros_that_could_be_any},
        {"zeros_whose_module_is_known", zeros_whose_module_is_known},
        {"axes_in_another_order", axes_in_another_order},
        {"an_axis_of_one_name_and_another", an_axis_of_one_name_and_another},
        {"channels_backward", channels_backward},
        {"flattened_in_another_order", flattened_in_another_order},
        {"another_shape_of_the_same", another_shape_of_the_same},
        {"symmetric_tensors_fit_in_several_orders", symmetric_tensors_fit_in_several_orders},
        {"orders_of_which_one_cannot_be_chosen", orders_of_which_one_cannot_be_chosen},
        {"views_have_twins_too", views_have_twins_too},
        {"names_from_files_are_shown_harmlessly", names_from_files_are_shown_harmlessly},
        {NULL, NULL},
    };
    return anx_test_main("checkpoint_diff", tests, argc, argv);
}
