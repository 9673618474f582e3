/*
 * Every format to every other and back: the same names, shapes, types and bits; and the same file again, where the
 * format keeps what the file has.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "loaders/checkpoint/checkpoint_impl.h"
#include "loaders/checkpoint/pth_writer.h"
#include "loaders/checkpoint/raw_write.h"
#include "tests/support/anx_test.h"

static anx_error err;

static const anx_checkpoint_options as_stored = {.as_stored = true, .keep_prefix = true};

/* ---- conversions ---------------------------------------------------------------------------------------- */

static anx_status convert(const char *in, const anx_checkpoint_format *format, const char *out, anx_dtype dtype,
                          bool convert_floats) {
    anx_checkpoint *checkpoint = NULL;
    anx_saving saving = ANX_SAVING_INIT;
    anx_file_writer *file = NULL;
    size_t n = 0;
    anx_status status = anx_checkpoint_open(in, &as_stored, &checkpoint, &err);
    if (status == ANX_OK) status = anx_saving_init(checkpoint, &saving, &err);
    if (status == ANX_OK && convert_floats) anx_saving_convert(&saving, dtype, &n);
    if (status == ANX_OK) status = anx_file_writer_create(out, true, &file, &err);
    if (status == ANX_OK) status = format->write(&saving, out, file, NULL, &err);
    if (status == ANX_OK) status = anx_file_writer_commit(file, &err);
    anx_file_writer_destroy(file);
    anx_saving_fini(&saving);
    anx_checkpoint_close(checkpoint);
    return status;
}

static anx_status again(const char *in, const anx_checkpoint_format *format, const char *out) {
    return convert(in, format, out, ANX_F32, false);
}

/* As an engine opens it: aligned, in host order. */
static void check_same_tensors(const char *path, const anx_state_dict *wanted, const char *what) {
    anx_checkpoint *checkpoint = NULL;
    const anx_checkpoint_options options = {.keep_prefix = true};
    ANX_CHECK_OK(anx_checkpoint_open(path, &options, &checkpoint, &err), &err);
    if (checkpoint == NULL) return;
    CU_ASSERT_EQUAL_FATAL(checkpoint->tensors.count, wanted->count);
    for (size_t i = 0; i < wanted->count; i++) {
        const anx_named_tensor *a = &wanted->items[i], *b = &checkpoint->tensors.items[i];
        anx_digest x, y;
        ANX_CHECK_OK(anx_tensor_digest(&a->tensor, &x, &err), &err);
        ANX_CHECK_OK(anx_tensor_digest(&b->tensor, &y, &err), &err);
        const bool same = strcmp(a->name, b->name) == 0 && anx_digest_equal(&x, &y);
        if (!same) fprintf(stderr, "%s: %s is not %s as it was\n", what, b->name, a->name);
        CU_ASSERT_TRUE(same);
    }
    anx_checkpoint_close(checkpoint);
}

static bool same_files(const char *a, const char *b) {
    uint8_t *x = NULL, *y = NULL;
    size_t n = 0, m = 0;
    const bool read = anx_read_file(a, &x, &n, NULL) == ANX_OK && anx_read_file(b, &y, &m, NULL) == ANX_OK;
    const bool same = read && n == m && memcmp(x, y, n) == 0;
    free(x);
    free(y);
    return same;
}

/* ---- models --------------------------------------------------------------------------------------------- */

static _Alignas(64) uint8_t memory[1 << 14];

static void add(anx_state_dict *dict, const char *name, anx_dtype dtype, int rank, const int64_t *shape,
                const int64_t *stride, size_t at) {
    anx_tensor t = anx_tensor_view(dtype, rank, shape, memory + at);
    if (stride != NULL) memcpy(t.stride, stride, (size_t)rank * sizeof *stride);
    ANX_CHECK_OK(anx_state_dict_add(dict, name, &t, &err), &err);
}

#define DIMS(...) ((const int64_t[]){__VA_ARGS__})

static void plain(anx_state_dict *d, anx_dtype dtype) {
    add(d, "features.0.weight", dtype, 4, DIMS(4, 3, 2, 2), NULL, 0);
    add(d, "features.0.bias", dtype, 1, DIMS(4), NULL, 1024);
    add(d, "classifier.weight", dtype, 2, DIMS(3, 16), NULL, 2048);
}

static void float_model(anx_state_dict *d) {
    plain(d, ANX_F32);
}

static void half_model(anx_state_dict *d) {
    plain(d, ANX_F16);
}

static void bfloat16_model(anx_state_dict *d) {
    plain(d, ANX_BF16);
}

static void strided_model(anx_state_dict *d) {
    add(d, "turned", ANX_F32, 2, DIMS(5, 7), DIMS(1, 5), 0);
    add(d, "steps", ANX_F64, 1, DIMS(9), DIMS(3), 1024);
    add(d, "expanded", ANX_I16, 2, DIMS(4, 3), DIMS(0, 1), 2048);
}

static void shared_model(anx_state_dict *d) {
    add(d, "whole", ANX_F32, 2, DIMS(6, 10), NULL, 0);
    add(d, "tied", ANX_F32, 2, DIMS(6, 10), NULL, 0);
    add(d, "part", ANX_F32, 1, DIMS(7), NULL, 64);
}

static void every_type(anx_state_dict *d) {
    for (int t = 0; t < ANX_DTYPE_COUNT; t++)
        add(d, anx_dtype_name((anx_dtype)t), (anx_dtype)t, 2, DIMS(3, 5), NULL, (size_t)t * 128);
    add(d, "scalar", ANX_F32, 0, NULL, NULL, 4096);
    add(d, "none", ANX_F64, 2, DIMS(0, 3), NULL, 4160);
}

static const struct {
    const char *name;
    void (*make)(anx_state_dict *dict);
    bool keeps_bytes; /* a flat model with nothing to lose: any way round gives the file again */
} models[] = {
    {"float", float_model, true},      {"half", half_model, true},      {"bfloat16", bfloat16_model, true},
    {"strided", strided_model, false}, {"shared", shared_model, false}, {"every type", every_type, true},
};

/* ---- tests ---------------------------------------------------------------------------------------------- */

static bool can_be_read(const anx_checkpoint_format *format) {
    return strcmp(format->name, "raw") != 0; /* values alone say neither names nor shapes */
}

/* in -> a -> b -> .pth, for all a and b */
static void go_round(const char *in, const anx_state_dict *dict, const char *name, bool keeps_bytes) {
    for (int a = 0; anx_checkpoint_format_at(a) != NULL; a++)
        for (int b = 0; anx_checkpoint_format_at(b) != NULL; b++) {
            const anx_checkpoint_format *first = anx_checkpoint_format_at(a), *second = anx_checkpoint_format_at(b);
            if (!can_be_read(first) || !can_be_read(second)) continue;
            char what[200], middle[4096], end[4096], back[4096];
            snprintf(what, sizeof what, "%s, .pth to %s to %s", name, first->name, second->name);
            snprintf(middle, sizeof middle, "%s", anx_test_path("middle"));
            snprintf(end, sizeof end, "%s", anx_test_path("end"));
            snprintf(back, sizeof back, "%s", anx_test_path("model.pth"));
            ANX_CHECK_OK(again(in, first, middle), &err);
            check_same_tensors(middle, dict, what);
            ANX_CHECK_OK(again(middle, second, end), &err);
            check_same_tensors(end, dict, what);
            ANX_CHECK_OK(again(end, anx_checkpoint_format_find("pth"), back), &err);
            check_same_tensors(back, dict, what);
            if (keeps_bytes) CU_ASSERT_TRUE(same_files(in, back));
        }
}

static void write_model(size_t i, anx_state_dict *dict, const char *path) {
    static const char *const modules[] = {"", "features", "features.0", "classifier"};
    const anx_pth_options options = {.folder = "model", .modules = modules, .n_modules = 4, .force = true};
    models[i].make(dict);
    ANX_CHECK_OK(anx_pth_write(path, dict, &options, &err), &err);
}

static void every_format_to_every_other_and_back(void) {
    for (size_t i = 0; i < sizeof models / sizeof models[0]; i++) {
        anx_state_dict dict = ANX_STATE_DICT_INIT;
        char in[4096];
        snprintf(in, sizeof in, "%s", anx_test_path("in.pth"));
        write_model(i, &dict, in);
        check_same_tensors(in, &dict, models[i].name);
        go_round(in, &dict, models[i].name, models[i].keeps_bytes);
        anx_state_dict_fini(&dict);
    }
}

static void views_stay_views_in_pth(void) {
    for (size_t i = 0; i < sizeof models / sizeof models[0]; i++) {
        anx_state_dict dict = ANX_STATE_DICT_INIT;
        char in[4096], out[4096];
        snprintf(in, sizeof in, "%s", anx_test_path("in.pth"));
        snprintf(out, sizeof out, "%s", anx_test_path("model.pth"));
        write_model(i, &dict, in);
        ANX_CHECK_OK(again(in, anx_checkpoint_format_find("pth"), out), &err);
        CU_ASSERT_TRUE(same_files(in, out));
        anx_state_dict_fini(&dict);
    }
}

static void raw_is_the_values_in_order(void) {
    anx_state_dict dict = ANX_STATE_DICT_INIT;
    uint8_t *bytes = NULL;
    size_t n = 0;
    const char *in = anx_test_path("in.pth"), *out = anx_test_path("out.raw");
    write_model(0, &dict, in);
    ANX_CHECK_OK(again(in, anx_checkpoint_format_find("raw"), out), &err);
    ANX_CHECK_OK(anx_read_file(out, &bytes, &n, &err), &err);
    CU_ASSERT_EQUAL_FATAL(n, (48 + 4 + 48) * sizeof(float));
    CU_ASSERT_EQUAL(memcmp(bytes, memory, 48 * 4), 0);
    CU_ASSERT_EQUAL(memcmp(bytes + 48 * 4, memory + 1024, 4 * 4), 0);
    CU_ASSERT_EQUAL(memcmp(bytes + 52 * 4, memory + 2048, 48 * 4), 0);
    free(bytes);
    anx_state_dict_fini(&dict);
    write_model(1, &dict, in);
    ANX_CHECK_STATUS(ANX_ERR_INVALID_ARGUMENT, again(in, anx_checkpoint_format_find("raw"), out), &err);
    ANX_CHECK_MESSAGE("raw holds float32 alone, and features.0.weight is float16: --dtype f32 converts it", &err);
    ANX_CHECK_OK(convert(in, anx_checkpoint_format_find("raw"), out, ANX_F32, true), &err);
    anx_state_dict_fini(&dict);
}

/* Of many that would be called the same, all are called something else. */
static void each_tensor_has_macros_of_its_own(void) {
    enum { n = 20000 };
    static const char *const wanted[] = {
        "#define OUT_A_B_OFFSET 0\n",     "#define OUT_A_B_3_OFFSET 1\n",
        "#define OUT_A_B_2_OFFSET 2\n",   "#define OUT_A_B_4_OFFSET 3\n",
        "#define OUT_A_B_2_2_OFFSET 4\n", "#define OUT_A_B________________19995_OFFSET 19999\n"};
    static const char *const names[] = {"a.b", "a_b.3", "a_b_2", "A_b", "a.b.2"};
    static char text[n][32];
    anx_saving_item *items = calloc(n, sizeof *items);
    anx_file_writer *file = NULL;
    uint8_t *bytes = NULL;
    size_t n_bytes = 0;
    CU_ASSERT_PTR_NOT_NULL_FATAL(items);
    for (size_t i = 0; i < n; i++) {
        snprintf(text[i], sizeof text[i], "a.b");
        for (size_t k = 0; k < 15; k++) text[i][3 + k] = ".,"[i >> k & 1]; /* all alike as identifiers */
        items[i] = (anx_saving_item){.name = i < 5 ? names[i] : text[i],
                                     .elements = {.tensor = anx_tensor_view(ANX_F32, 1, DIMS(1), memory)},
                                     .dtype = ANX_F32};
    }
    const anx_saving saving = {.items = items, .n_items = n};
    const char *path = anx_test_path("out.h");
    ANX_CHECK_OK(anx_file_writer_create(path, true, &file, &err), &err);
    ANX_CHECK_OK(anx_raw_header_write(&saving, "folder/out.raw", file, &err), &err);
    ANX_CHECK_OK(anx_file_writer_commit(file, &err), &err);
    anx_file_writer_destroy(file);
    ANX_CHECK_OK(anx_read_file(path, &bytes, &n_bytes, &err), &err);
    for (size_t i = 0; i < 6; i++) CU_ASSERT_PTR_NOT_NULL(memmem(bytes, n_bytes, wanted[i], strlen(wanted[i])));
    free(bytes);
    free(items);
}

static void a_small_file_does_not_become_a_huge_one(void) {
    anx_state_dict dict = ANX_STATE_DICT_INIT;
    anx_checkpoint *checkpoint = NULL;
    anx_saving saving = ANX_SAVING_INIT;
    const char *in = anx_test_path("in.pth");
    add(&dict, "wide", ANX_F32, 2, DIMS(1 << 20, 1 << 10), DIMS(0, 0), 0);
    ANX_CHECK_OK(anx_pth_write(in, &dict, &(anx_pth_options){.force = true}, &err), &err);
    ANX_CHECK_OK(anx_checkpoint_open(in, &as_stored, &checkpoint, &err), &err);
    ANX_CHECK_OK(anx_saving_init(checkpoint, &saving, &err), &err);
    ANX_CHECK_STATUS(ANX_ERR_LIMIT, anx_saving_check_expanded(&saving, &err), &err);
    ANX_CHECK_MESSAGE("'wide' has 1073741824 elements, expanded from 1 that are stored; at most 268435456", &err);
    anx_saving_fini(&saving);
    anx_checkpoint_close(checkpoint);
    ANX_CHECK_OK(again(in, anx_checkpoint_format_find("pth"), anx_test_path("out.pth")),
                 &err); /* which keeps strides */
    anx_state_dict_fini(&dict);
}

int main(int argc, char **argv) {
    static const anx_test tests[] = {
        {"every format to every other and back", every_format_to_every_other_and_back},
        {"views stay views in .pth", views_stay_views_in_pth},
        {"raw is the values in order", raw_is_the_values_in_order},
        {"each tensor has macros of its own", each_tensor_has_macros_of_its_own},
        {"a small file does not become a huge one", a_small_file_does_not_become_a_huge_one},
        {NULL, NULL},
    };
    for (size_t i = 0; i < sizeof memory; i++) memory[i] = (uint8_t)(i * 2654435761u >> 13);
    memset(memory + ANX_BOOL * 128, 1, 15);
    return anx_test_main("conversions", tests, argc, argv);
}
