/* PyTorch's legacy stream and the tar archives of 0.1: what good files hold, and that damaged ones are refused. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "loaders/checkpoint/checkpoint_impl.h"
#include "tests/support/anx_test.h"
#include "tests/support/test_zip.h"
#include "tests/support/torch_streams.h"

static anx_error err;

#define BYTES(text) (text), sizeof(text) - 1

typedef void (*maker)(test_stream *s);

static const struct {
    maker make;
    const char *format;
} formats[] = {{test_legacy_good, "PyTorch legacy stream"}, {test_torch_tar_good, "PyTorch 0.1 tar"}};

enum { n_formats = sizeof formats / sizeof formats[0] };

static void check_contents(const anx_checkpoint *c) {
    static const float w[6] = {0, 1, 2, 3, 4, 5}, t[6] = {0, 3, 1, 4, 2, 5};
    static const int64_t n[2] = {10, 11};
    const void *const wanted[3] = {w, t, n};
    static const char *const names[3] = {"w", "t", "n"};
    CU_ASSERT_EQUAL_FATAL(c->tensors.count, 3);
    for (size_t i = 0; i < 3; i++) {
        char got[24];
        const anx_elements e = anx_checkpoint_elements(c, i);
        const int64_t elems = anx_tensor_elems(&e.tensor);
        CU_ASSERT_STRING_EQUAL(c->tensors.items[i].name, names[i]);
        CU_ASSERT_EQUAL_FATAL(elems, i < 2 ? 6 : 2);
        anx_elements_read(&e, 0, elems, e.tensor.dtype, got, NULL);
        CU_ASSERT_EQUAL(memcmp(got, wanted[i], (size_t)elems * anx_dtype_bytes(e.tensor.dtype)), 0);
    }
    const anx_checkpoint_entry *entries = anx_checkpoint_impl_of(c)->entries;
    CU_ASSERT_PTR_EQUAL(entries[0].storage, entries[1].storage);
    CU_ASSERT_PTR_NOT_EQUAL(entries[0].storage, entries[2].storage);
}

static void good_files_hold_what_was_written(void) {
    for (int i = 0; i < n_formats; i++)
        for (int as_stored = 0; as_stored < 2; as_stored++) {
            test_stream s;
            anx_checkpoint *c = NULL;
            const anx_checkpoint_options options = {.as_stored = as_stored == 1};
            formats[i].make(&s);
            ANX_CHECK_OK(anx_checkpoint_open(test_stream_save(&s, "good.pth"), &options, &c, &err), &err);
            test_stream_fini(&s);
            CU_ASSERT_PTR_NOT_NULL_FATAL(c);
            CU_ASSERT_STRING_EQUAL(c->format, formats[i].format);
            check_contents(c);
            const uint64_t at = anx_checkpoint_impl_of(c)->entries[2].storage->file_offset;
            CU_ASSERT_EQUAL(memcmp(anx_checkpoint_impl_of(c)->map.bytes + at, "\x0a\0\0\0\0\0\0\0\x0b", 9), 0);
            if (as_stored == 0)
                for (size_t k = 0; k < 3; k++)
                    CU_ASSERT_EQUAL((uintptr_t)c->tensors.items[k].tensor.data %
                                        anx_dtype_bytes(c->tensors.items[k].tensor.dtype),
                                    0);
            anx_checkpoint_close(c);
        }
}

static void no_part_of_a_file_is_a_file(void) {
    for (int i = 0; i < n_formats; i++) {
        test_stream s;
        formats[i].make(&s);
        /* The last member's padding and the blocks of zeros at a tar's end say nothing that is not known without. */
        const size_t needed = i == 0 ? s.n_bytes : s.storages + s.n_storages;
        for (size_t n = 0; n < needed; n++) {
            anx_checkpoint *c = NULL;
            s.n_bytes = n;
            const anx_status status = anx_checkpoint_open(test_stream_save(&s, "part.pth"), NULL, &c, &err);
            CU_ASSERT(status == ANX_ERR_FORMAT || status == ANX_ERR_UNSUPPORTED);
            CU_ASSERT_PTR_NULL(c);
        }
        test_stream_fini(&s);
    }
}

static void check_message(test_stream *s, anx_status status, const char *message) {
    anx_checkpoint *c = NULL;
    const char *path = test_stream_save(s, "bad.pth");
    char expected[1024], got[20000];
    ANX_CHECK_STATUS(status, anx_checkpoint_open(path, NULL, &c, &err), &err);
    snprintf(expected, sizeof expected, "%s: %s", path, message);
    CU_ASSERT_STRING_EQUAL(anx_error_format(&err, got, sizeof got), expected);
    if (strcmp(got, expected) != 0) fprintf(stderr, "\n  expected %s\n  got      %s\n", expected, got);
    anx_checkpoint_close(c);
}

static void the_list_of_keys_is_the_storages(void) {
#define OBJECT                                                                                                         \
    "\x80\x02}" TP_STR("\x01", "w") TP_TENSOR("(" TP_STR("\x07", "storage") TP_GLOBAL("torch", "FloatStorage")         \
                                                  TP_STR("\x02", "70") TP_STR("\x03", "cpu") "K\x01NtQ",               \
                                              "K\0", "K\x01\x85", "K\x01\x85") "s."
    static const char data[] = "\x01\0\0\0\0\0\0\0abcd\x01\0\0\0\0\0\0\0efgh";
    static const struct {
        const char *keys;
        size_t n_keys, n_data;
        anx_status status;
        const char *message; /* with @N: N bytes behind the first storage's count */
    } cases[] = {
        {BYTES("\x80\x02](" TP_STR("\x02", "70") TP_STR("\x02", "70") "e."), 24, ANX_ERR_FORMAT,
         "entry 'storage 70', offset @12: the list of keys names it twice"},
        {BYTES("\x80\x02](" TP_STR("\x02", "70") TP_STR("\x02", "71") "e."), 24, ANX_ERR_FORMAT,
         "entry 'storage 71', offset @12: it is in the list of keys, but the object does not name it"},
        {BYTES("\x80\x02]."), 0, ANX_ERR_FORMAT, "entry 'storage 70': the list of storage keys does not have it"},
        {BYTES("\x80\x02}."), 0, ANX_ERR_FORMAT, "the list of storage keys is a dict"},
        {BYTES("\x80\x02]K\x01"
               "a."),
         12, ANX_ERR_FORMAT, "the list of keys holds an int"},
        {BYTES("\x80\x02]" TP_STR("\x02", "70") "a."), 24, ANX_ERR_FORMAT,
         "offset @12: 12 bytes after the last storage"},
        {BYTES("\x80\x02]" TP_STR("\x02", "70") "a."), 11, ANX_ERR_FORMAT,
         "entry 'storage 70', offset @0: 4 bytes of elements, and 3 are left: truncated?"},
        {BYTES("\x80\x02]" TP_STR("\x02", "70") "a."), 7, ANX_ERR_FORMAT,
         "entry 'storage 70', offset @0: the file ends before its elements: truncated?"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        test_stream s;
        test_legacy(&s, BYTES(OBJECT), cases[i].keys, cases[i].n_keys, data, cases[i].n_data);
        char message[256];
        const char *at = strchr(cases[i].message, '@');
        if (at != NULL)
            snprintf(message, sizeof message, "%.*s%zu%s", (int)(at - cases[i].message), cases[i].message,
                     s.data + strtoul(at + 1, NULL, 10), at + 1 + strspn(at + 1, "0123456789"));
        check_message(&s, cases[i].status, at != NULL ? message : cases[i].message);
        test_stream_fini(&s);
    }
}

int main(int argc, char **argv) {
    static const anx_test tests[] = {
        {"good files hold what was written", good_files_hold_what_was_written},
        {"no part of a file is a file", no_part_of_a_file_is_a_file},
        {"the list of keys is the storages", the_list_of_keys_is_the_storages},
        {NULL, NULL},
    };
    return anx_test_main("torch_streams", tests, argc, argv);
}
