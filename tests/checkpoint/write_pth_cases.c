/*
 * Writes checkpoints of every kind the writer knows into a folder, for pth_writer_torch.py, which builds the same
 * objects and lets PyTorch write them. Element i of a tensor's memory is made of the bytes 7i + 3, 7i + 4, ... so that
 * any dtype has the same content in both.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "loaders/checkpoint/pth_writer.h"

enum { memory_bytes = 1 << 16 };
static _Alignas(64) uint8_t memory[memory_bytes];
static const char *folder;
static int failures;

static void add(anx_state_dict *dict, const char *name, anx_tensor t) {
    anx_error err = ANX_ERROR_INIT;
    if (anx_state_dict_add(dict, name, &t, &err) != ANX_OK) abort();
}

static anx_tensor view(anx_dtype dtype, int rank, const int64_t *shape, size_t at_byte) {
    return anx_tensor_view(dtype, rank, shape, memory + at_byte);
}

static anx_tensor strided(anx_dtype dtype, int rank, const int64_t *shape, const int64_t *stride, size_t at_byte) {
    anx_tensor t = view(dtype, rank, shape, at_byte);
    memcpy(t.stride, stride, (size_t)rank * sizeof *stride);
    return t;
}

static void write_case(const char *name, anx_state_dict *dict, const anx_pth_options *options) {
    char path[4096];
    anx_error err = ANX_ERROR_INIT;
    snprintf(path, sizeof path, "%s/%s", folder, name);
    if (anx_pth_write(path, dict, options, &err) != ANX_OK) {
        static char text[20000];
        fprintf(stderr, "%s\n", anx_error_format(&err, text, sizeof text));
        failures++;
    }
    anx_state_dict_fini(dict);
}

#define SHAPE(...) ((const int64_t[]){__VA_ARGS__})

static void dtypes(void) {
    anx_state_dict dict = ANX_STATE_DICT_INIT;
    size_t at = 0;
    for (int d = 0; d < ANX_DTYPE_COUNT; d++, at += 256) {
        if (d == ANX_BOOL) memset(memory + at, 1, 15);
        add(&dict, anx_dtype_name((anx_dtype)d), view((anx_dtype)d, 2, SHAPE(3, 5), at));
    }
    write_case("dtypes.pth", &dict, NULL);
}

static void shapes(void) {
    anx_state_dict dict = ANX_STATE_DICT_INIT;
    add(&dict, "scalar", view(ANX_F32, 0, NULL, 0));
    add(&dict, "rank5", view(ANX_F32, 5, SHAPE(1, 2, 1, 3, 2), 64));
    add(&dict, "none", view(ANX_F32, 1, SHAPE(0), 128));
    add(&dict, "none between", view(ANX_F32, 3, SHAPE(2, 0, 3), 192));
    add(&dict, "none of many", view(ANX_F32, 2, SHAPE(0, 3000000000), 256));
    add(&dict, "long", view(ANX_U8, 1, SHAPE(60000), 0));
    write_case("shapes.pth", &dict, NULL);
}

static void strides(void) {
    anx_state_dict dict = ANX_STATE_DICT_INIT;
    add(&dict, "transposed", strided(ANX_F32, 2, SHAPE(6, 4), SHAPE(1, 6), 0));
    add(&dict, "permuted", strided(ANX_F64, 3, SHAPE(2, 3, 4), SHAPE(1, 8, 2), 1024));
    add(&dict, "expanded", strided(ANX_F32, 2, SHAPE(5, 7), SHAPE(0, 1), 2048));
    add(&dict, "gaps", strided(ANX_I32, 1, SHAPE(5), SHAPE(3), 4096));
    write_case("strides.pth", &dict, NULL);
}

static void sharing(void) {
    anx_state_dict dict = ANX_STATE_DICT_INIT;
    add(&dict, "first", view(ANX_I16, 1, SHAPE(4), 8192));
    add(&dict, "part", view(ANX_F32, 2, SHAPE(2, 3), 12 * 4)); /* appears before the whole */
    add(&dict, "whole", view(ANX_F32, 2, SHAPE(10, 3), 0));
    add(&dict, "tied", view(ANX_F32, 2, SHAPE(10, 3), 0));
    add(&dict, "empty inside", view(ANX_F32, 1, SHAPE(0), 8));
    add(&dict, "columns", strided(ANX_F32, 2, SHAPE(3, 10), SHAPE(1, 3), 0));
    add(&dict, "behind", view(ANX_F32, 1, SHAPE(4), 120));
    write_case("sharing.pth", &dict, NULL);
}

static void many(const char *name, size_t n_tensors, size_t n_modules) {
    anx_state_dict dict = ANX_STATE_DICT_INIT;
    char text[32];
    char(*modules)[32] = calloc(n_modules + 1, sizeof *modules);
    const char **names = calloc(n_modules + 1, sizeof *names);
    if (modules == NULL || names == NULL) abort();
    for (size_t i = 0; i < n_tensors; i++) {
        snprintf(text, sizeof text, "t%zu", i);
        add(&dict, text, view(ANX_U8, 1, SHAPE(2), 2 * i));
    }
    for (size_t i = 0; i < n_modules; i++) {
        snprintf(modules[i], sizeof modules[i], "m%zu", i);
        names[i] = modules[i];
    }
    const anx_pth_options options = {.modules = n_modules > 0 ? names : NULL, .n_modules = n_modules};
    write_case(name, &dict, &options);
    free(names);
    free(modules);
}

/* A storage that begins like a zip data descriptor enters the serialization id twice. */
static void descriptor(void) {
    anx_state_dict dict = ANX_STATE_DICT_INIT;
    memcpy(memory, "PK\x07\x08", 4);
    add(&dict, "eight", view(ANX_U8, 1, SHAPE(8), 0));
    memcpy(memory + 64, "PK\x07\x08", 4);
    add(&dict, "seven", view(ANX_U8, 1, SHAPE(7), 64));
    write_case("descriptor.pth", &dict, NULL);
}

int main(int argc, char **argv) {
    if (argc != 2) return 64;
    folder = argv[1];
    for (size_t i = 0; i < memory_bytes; i++) memory[i] = (uint8_t)(7 * i + 3);
    dtypes(); /* changes memory: pth_writer_torch.py follows */
    shapes();
    strides();
    sharing();
    many("none.pth", 0, 0);
    many("one.pth", 1, 1);
    many("two.pth", 2, 2);
    many("batch.pth", 1000, 1000);
    many("batch-and-one.pth", 1001, 1001);
    many("batches.pth", 2003, 0);
    many("a.b.pth", 1, 0);
    many("noext", 1, 0);
    many("x.", 1, 0);
    many("..pth", 1, 0);
    many(" 100% of it.pth", 1, 0);
    many("back\\slash.pth", 1, 0);
    many("caf\xc3\xa9.pth", 1, 0);
    descriptor();
    return failures > 0;
}
