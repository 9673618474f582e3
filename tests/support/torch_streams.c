#include "tests/support/torch_streams.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/support/anx_test.h"
#include "tests/support/test_tar.h"
#include "tests/support/test_zip.h"

#define BYTES(text) (text), sizeof(text) - 1

void test_stream_init(test_stream *s) {
    *s = (test_stream){.bytes = NULL};
}

void test_stream_fini(test_stream *s) {
    free(s->bytes);
    test_stream_init(s);
}

void test_stream_add(test_stream *s, const void *bytes, size_t n_bytes) {
    if (n_bytes > s->capacity - s->n_bytes) {
        s->capacity = 2 * s->capacity + n_bytes;
        s->bytes = realloc(s->bytes, s->capacity);
        if (s->bytes == NULL) abort();
    }
    if (n_bytes > 0) memcpy(s->bytes + s->n_bytes, bytes, n_bytes);
    s->n_bytes += n_bytes;
}

/* ---- the legacy stream ---------------------------------------------------------------------------------- */

void test_legacy(test_stream *s, const void *object, size_t n_object, const void *keys, size_t n_keys, const void *data,
                 size_t n_data) {
    test_stream_init(s);
    test_stream_add(s, BYTES("\x80\x02\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19."));
    s->version = s->n_bytes;
    test_stream_add(s, BYTES("\x80\x02M\xe9\x03."));
    s->facts = s->n_bytes;
    test_stream_add(
        s, BYTES("\x80\x02}(" TP_STR("\x10", "protocol_version") "M\xe9\x03" TP_STR(
               "\x0d", "little_endian") "\x88" TP_STR("\x0a", "type_sizes") "}" TP_STR("\x05", "short") "K\x02su."));
    s->object = s->n_bytes;
    test_stream_add(s, object, n_object);
    s->keys = s->n_bytes;
    test_stream_add(s, keys, n_keys);
    s->data = s->n_bytes;
    test_stream_add(s, data, n_data);
}

#define STORAGE(class, key, elems, view)                                                                               \
    "(" TP_STR("\x07", "storage") TP_GLOBAL("torch", class) TP_STR("\x02", key) TP_STR("\x03", "cpu") elems view "tQ"
#define FLOATS STORAGE("FloatStorage", "70", "K\x06", "N")
#define LONGS STORAGE("LongStorage", "80", "K\x02", "N")

static void add_elements(test_stream *s) {
    static const float floats[6] = {0, 1, 2, 3, 4, 5};
    static const int64_t longs[2] = {10, 11}, n_floats = 6, n_longs = 2;
    test_stream_add(s, &n_floats, sizeof n_floats);
    test_stream_add(s, floats, sizeof floats);
    test_stream_add(s, &n_longs, sizeof n_longs);
    test_stream_add(s, longs, sizeof longs);
}

void test_legacy_good(test_stream *s) {
    test_stream elements;
    test_stream_init(&elements);
    add_elements(&elements);
    test_legacy(s,
                BYTES("\x80\x02}(" TP_STR("\x01", "w") TP_TENSOR(FLOATS, "K\0", "K\x02K\x03\x86", "K\x03K\x01\x86")
                          TP_STR("\x01", "t") TP_TENSOR(FLOATS, "K\0", "K\x03K\x02\x86", "K\x01K\x03\x86")
                              TP_STR("\x01", "n") TP_TENSOR(LONGS, "K\0", "K\x02\x85", "K\x01\x85") "u."),
                BYTES("\x80\x02](" TP_STR("\x02", "70") TP_STR("\x02", "80") "e."), elements.bytes, elements.n_bytes);
    test_stream_fini(&elements);
}

/* ---- the tar archive ------------------------------------------------------------------------------------ */

void test_torch_tar(test_stream *s, const void *pickle, size_t n_pickle, const void *tensors, size_t n_tensors,
                    const void *storages, size_t n_storages) {
    static const char sys_info[] =
        "\x80\x02}(" TP_STR("\x10", "protocol_version") "M\xe8\x03" TP_STR("\x0d", "little_endian") "\x88u.";
    test_tar tar;
    test_stream_init(s);
    test_tar_init(&tar);
    test_tar_header(&tar, "sys_info", '0', NULL, sizeof sys_info - 1);
    test_tar_data(&tar, sys_info, sizeof sys_info - 1);
    test_tar_header(&tar, "pickle", '0', NULL, n_pickle);
    s->pickle = tar.n_bytes;
    test_tar_data(&tar, pickle, n_pickle);
    test_tar_header(&tar, "tensors", '0', NULL, n_tensors);
    s->tensors = tar.n_bytes;
    test_tar_data(&tar, tensors, n_tensors);
    test_tar_header(&tar, "storages", '0', NULL, n_storages);
    s->storages = tar.n_bytes;
    s->n_storages = n_storages;
    s->n_pickle = n_pickle;
    s->n_tensors = n_tensors;
    test_tar_data(&tar, storages, n_storages);
    test_tar_finish(&tar);
    test_stream_add(s, tar.bytes, tar.n_bytes);
    test_tar_fini(&tar);
}

#define TRIPLE(first, second, name) "\x80\x02K" first second TP_GLOBAL("torch", name) "\x87."

static void add_tensor(test_stream *s, const char *triple, size_t n_triple, int rank, const int64_t *layout) {
    const int32_t dimensions[2] = {rank, 0x5eadbeef}; /* the second is whatever lay there */
    test_stream_add(s, triple, n_triple);
    test_stream_add(s, dimensions, sizeof dimensions);
    test_stream_add(s, layout, (2 * (size_t)rank + 1) * sizeof *layout);
}

void test_torch_tar_good(test_stream *s) {
    static const float floats[6] = {0, 1, 2, 3, 4, 5};
    static const int64_t longs[2] = {10, 11}, n_floats = 6, n_longs = 2;
    test_stream tensors, storages;
    test_stream_init(&tensors);
    test_stream_init(&storages);
    test_stream_add(&storages, BYTES("\x80\x02K\x02."));
    test_stream_add(&storages, BYTES(TRIPLE("\x01", TP_STR("\x03", "cpu"), "FloatStorage")));
    test_stream_add(&storages, &n_floats, sizeof n_floats);
    test_stream_add(&storages, floats, sizeof floats);
    test_stream_add(&storages, BYTES(TRIPLE("\x02", TP_STR("\x03", "cpu"), "LongStorage")));
    test_stream_add(&storages, &n_longs, sizeof n_longs);
    test_stream_add(&storages, longs, sizeof longs);
    test_stream_add(&storages, BYTES("\x80\x02]."));
    test_stream_add(&tensors, BYTES("\x80\x02K\x03."));
    add_tensor(&tensors, BYTES(TRIPLE("\x0b", "K\x01", "FloatTensor")), 2, (const int64_t[]){2, 3, 3, 1, 0});
    add_tensor(&tensors, BYTES(TRIPLE("\x0c", "K\x01", "FloatTensor")), 2, (const int64_t[]){3, 2, 1, 3, 0});
    add_tensor(&tensors, BYTES(TRIPLE("\x0d", "K\x02", "LongTensor")), 1, (const int64_t[]){2, 1, 0});
    test_torch_tar(s,
                   BYTES("\x80\x02" TP_GLOBAL("collections", "OrderedDict") ")R(" TP_STR("\x01", "w")
                             TP_STR("\x02", "11") "Q" TP_STR("\x01", "t") TP_STR("\x02", "12") "Q" TP_STR("\x01", "n")
                                 TP_STR("\x02", "13") "Qu."),
                   tensors.bytes, tensors.n_bytes, storages.bytes, storages.n_bytes);
    test_stream_fini(&tensors);
    test_stream_fini(&storages);
}

const char *test_stream_save(const test_stream *s, const char *file_name) {
    const char *path = anx_test_path(file_name);
    FILE *f = fopen(path, "wb");
    if (f == NULL || fwrite(s->bytes, 1, s->n_bytes, f) != s->n_bytes || fclose(f) != 0) {
        perror(path);
        exit(2);
    }
    return path;
}
