/* Reading and writing safetensors; what the Python package says of the same files is in safetensors_judge.py. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "loaders/checkpoint/safetensors.h"
#include "loaders/file.h"
#include "tests/support/anx_test.h"

static anx_error err;

/* A file of the given header text and n_data bytes counting up from 0. */
static const char *make_file(const char *header, size_t n_data) {
    static unsigned serial;
    char name[32];
    snprintf(name, sizeof name, "made-%u.safetensors", serial++);
    const char *path = anx_test_path(name);
    anx_file_writer *w = NULL;
    const uint64_t length = strlen(header);
    ANX_CHECK_OK(anx_file_writer_create(path, false, &w, &err), &err);
    ANX_CHECK_OK(anx_file_writer_write(w, &length, sizeof length, &err), &err);
    ANX_CHECK_OK(anx_file_writer_write(w, header, strlen(header), &err), &err);
    for (size_t i = 0; i < n_data; i++) {
        const uint8_t byte = (uint8_t)i;
        ANX_CHECK_OK(anx_file_writer_write(w, &byte, 1, &err), &err);
    }
    ANX_CHECK_OK(anx_file_writer_commit(w, &err), &err);
    anx_file_writer_destroy(w);
    return path;
}

static void a_written_file_reads_back(void) {
    const float f[6] = {1, 2, 3, 4, 5, 6};
    const int64_t i[2] = {-1, INT64_MAX};
    const uint16_t h[1] = {0x3c00};
    anx_state_dict dict = ANX_STATE_DICT_INIT;
    anx_tensor t = anx_tensor_view(ANX_F32, 2, (int64_t[]){2, 3}, f);
    ANX_CHECK_OK(anx_state_dict_add(&dict, "plain", &t, &err), &err);
    t = anx_tensor_view(ANX_F32, 2, (int64_t[]){3, 2}, f); /* the transpose of the same six values */
    t.stride[0] = 1;
    t.stride[1] = 3;
    ANX_CHECK_OK(anx_state_dict_add(&dict, "\"quoted\"\n", &t, &err), &err);
    t = anx_tensor_view(ANX_I64, 1, (int64_t[]){2}, i);
    ANX_CHECK_OK(anx_state_dict_add(&dict, "z", &t, &err), &err);
    t = anx_tensor_view(ANX_F16, 0, NULL, h);
    ANX_CHECK_OK(anx_state_dict_add(&dict, "scalar", &t, &err), &err);
    t = anx_tensor_view(ANX_F64, 2, (int64_t[]){0, 5}, NULL);
    ANX_CHECK_OK(anx_state_dict_add(&dict, "empty", &t, &err), &err);
    const anx_safetensors_meta meta[] = {{"b", "2"}, {"a", "\xc3\xbc \\ \""}};
    const char *path = anx_test_path("back.safetensors");
    ANX_CHECK_OK(anx_safetensors_write(path, &dict, meta, 2, false, &err), &err);
    ANX_CHECK_STATUS(ANX_ERR_EXISTS, anx_safetensors_write(path, &dict, meta, 2, false, &err), &err);
    ANX_CHECK_OK(anx_safetensors_write(path, &dict, meta, 2, true, &err), &err);

    anx_safetensors *file = NULL;
    ANX_CHECK_OK(anx_safetensors_open(path, &file, &err), &err);
    CU_ASSERT_PTR_NOT_NULL_FATAL(file);
    CU_ASSERT_EQUAL(file->tensors.count, 5);
    static const char *const order[] = {"z", "empty", "\"quoted\"\n", "plain", "scalar"};
    for (size_t k = 0; k < 5 && k < file->tensors.count; k++)
        CU_ASSERT_STRING_EQUAL(file->tensors.items[k].name, order[k]);
    const anx_tensor *transposed = anx_state_dict_find(&file->tensors, "\"quoted\"\n");
    CU_ASSERT_PTR_NOT_NULL_FATAL(transposed);
    const float expected[6] = {1, 4, 2, 5, 3, 6};
    CU_ASSERT(memcmp(transposed->data, expected, sizeof expected) == 0);
    CU_ASSERT(transposed->shape[0] == 3 && transposed->shape[1] == 2 && transposed->rank == 2);
    CU_ASSERT(memcmp(anx_state_dict_find(&file->tensors, "z")->data, i, sizeof i) == 0);
    CU_ASSERT_EQUAL(anx_state_dict_find(&file->tensors, "scalar")->rank, 0);
    CU_ASSERT_EQUAL(anx_tensor_elems(anx_state_dict_find(&file->tensors, "empty")), 0);
    CU_ASSERT_EQUAL(file->n_metadata, 2);
    CU_ASSERT_STRING_EQUAL(file->metadata[0].key, "a");
    CU_ASSERT_STRING_EQUAL(anx_safetensors_metadata(file, "a"), "\xc3\xbc \\ \"");
    CU_ASSERT_PTR_NULL(anx_safetensors_metadata(file, "c"));
    anx_safetensors_close(file);
    anx_state_dict_fini(&dict);
}

static void a_file_without_tensors_is_whole(void) {
    const anx_state_dict none = ANX_STATE_DICT_INIT;
    const char *path = anx_test_path("none.safetensors");
    ANX_CHECK_OK(anx_safetensors_write(path, &none, NULL, 0, false, &err), &err);
    anx_safetensors *file = NULL;
    ANX_CHECK_OK(anx_safetensors_open(path, &file, &err), &err);
    CU_ASSERT_PTR_NOT_NULL_FATAL(file);
    CU_ASSERT_EQUAL(file->tensors.count, 0);
    anx_safetensors_close(file);
    anx_safetensors_close(NULL);
}

static void misaligned_data_are_copied_into_place(void) {
    /* The header's length is odd, so that no float lies where a float may. */
    const char *header = "{\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,8]}}   ";
    CU_ASSERT_EQUAL(strlen(header) % 4, 1);
    anx_safetensors *file = NULL;
    ANX_CHECK_OK(anx_safetensors_open(make_file(header, 8), &file, &err), &err);
    CU_ASSERT_PTR_NOT_NULL_FATAL(file);
    const anx_tensor *t = anx_state_dict_find(&file->tensors, "a");
    CU_ASSERT_PTR_NOT_NULL_FATAL(t);
    CU_ASSERT_EQUAL((uintptr_t)t->data % 4, 0);
    CU_ASSERT(memcmp(t->data, "\0\1\2\3\4\5\6\7", 8) == 0);
    anx_safetensors_close(file);
}

static void names_that_the_format_cannot_hold_are_not_written(void) {
    const float f = 1;
    const anx_tensor t = anx_tensor_view(ANX_F32, 0, NULL, &f);
    static const char *const names[] = {"__metadata__", "\xff", "\xc0\x80", "\xed\xa0\x80"};
    static const char *const shown[] = {"__metadata__", "\\xff", "\\xc0\\x80", "\\xed\\xa0\\x80"};
    for (size_t i = 0; i < 4; i++) {
        anx_state_dict dict = ANX_STATE_DICT_INIT;
        ANX_CHECK_OK(anx_state_dict_add(&dict, names[i], &t, &err), &err);
        ANX_CHECK_STATUS(ANX_ERR_INVALID_ARGUMENT,
                         anx_safetensors_write(anx_test_path("bad"), &dict, NULL, 0, false, &err), &err);
        char message[100];
        snprintf(message, sizeof message, "'%s' cannot be the name of a tensor", shown[i]);
        ANX_CHECK_MESSAGE(message, &err);
        anx_state_dict_fini(&dict);
    }
    const anx_state_dict none = ANX_STATE_DICT_INIT;
    const anx_safetensors_meta twice[] = {{"k", "1"}, {"j", ""}, {"k", "2"}};
    ANX_CHECK_STATUS(ANX_ERR_INVALID_ARGUMENT,
                     anx_safetensors_write(anx_test_path("bad"), &none, twice, 3, false, &err), &err);
    ANX_CHECK_MESSAGE("the metadata key 'k' is given twice", &err);
}

#define T(name, dtype, shape, offsets)                                                                                 \
    "\"" name "\":{\"dtype\":\"" dtype "\",\"shape\":" shape ",\"data_offsets\":" offsets "}"

/* Header, bytes of data after it, and the whole message after the path. */
static const struct {
    const char *header;
    size_t n_data;
    anx_status status;
    const char *message;
} malformed[] = {
    {"", 0, ANX_ERR_FORMAT, "the header does not start with '{'"},
    {" {}", 0, ANX_ERR_FORMAT, "the header does not start with '{'"},
    {"{\"a\":", 0, ANX_ERR_FORMAT, "offset 12: the header is not valid JSON"},
    {"{} x", 0, ANX_ERR_FORMAT, "offset 11: text after the header's JSON object"},
    {"{\"\xff\":1}", 0, ANX_ERR_FORMAT, "the header is not UTF-8"},
    {"{\"a\tb\":1}", 0, ANX_ERR_FORMAT, "offset 11: the header holds a control character, 0x09"},
    {"{\"a\\u0000b\":1}", 0, ANX_ERR_FORMAT, "offset 11: the header holds a string with a NUL in it"},
    {"{\"a\":1}", 0, ANX_ERR_FORMAT, "entry 'a': it is not described by a JSON object"},
    {"{\"\\u001b[2J\":1}", 0, ANX_ERR_FORMAT, "entry '\\x1b[2J': it is not described by a JSON object"},
    {"{\"a\":{\"shape\":[],\"data_offsets\":[0,4]}}", 4, ANX_ERR_FORMAT, "entry 'a': its dtype is missing"},
    {"{\"a\":{\"dtype\":\"F32\",\"data_offsets\":[0,4]}}", 4, ANX_ERR_FORMAT, "entry 'a': its shape is missing"},
    {"{\"a\":{\"dtype\":\"F32\",\"shape\":[]}}", 4, ANX_ERR_FORMAT, "entry 'a': its data_offsets is missing"},
    {"{\"a\":{\"dtype\":\"F32\",\"dtype\":\"F32\",\"shape\":[],\"data_offsets\":[0,4]}}", 4, ANX_ERR_FORMAT,
     "entry 'a': its dtype is given twice"},
    {"{\"a\":{\"dtype\":7,\"shape\":[],\"data_offsets\":[0,4]}}", 4, ANX_ERR_FORMAT,
     "entry 'a': its dtype is not a string"},
    {"{" T("a", "F8_E4M3", "[4]", "[0,4]") "}", 4, ANX_ERR_UNSUPPORTED,
     "entry 'a': elements of type F8_E4M3 are not supported"},
    {"{" T("a", "F32", "4", "[0,4]") "}", 4, ANX_ERR_FORMAT, "entry 'a': its shape is not an array"},
    {"{" T("a", "F32", "[-1]", "[0,4]") "}", 4, ANX_ERR_FORMAT,
     "entry 'a': its shape holds something that is not a whole number"},
    {"{" T("a", "F32", "[1.5]", "[0,4]") "}", 4, ANX_ERR_FORMAT,
     "entry 'a': its shape holds something that is not a whole number"},
    {"{" T("a", "F32", "[1e300]", "[0,4]") "}", 4, ANX_ERR_FORMAT,
     "entry 'a': its shape holds something that is not a whole number"},
    {"{" T("a", "F32", "[1,1,1,1,1,1,1,1,1]", "[0,4]") "}", 4, ANX_ERR_LIMIT,
     "entry 'a': it has 9 dimensions; at most 8 are taken"},
    {"{" T("a", "F32", "[4294967296,4294967296]", "[0,4]") "}", 4, ANX_ERR_FORMAT,
     "entry 'a': its shape (4294967296, 4294967296) overflows"},
    {"{" T("a", "F64", "[2305843009213693952]", "[0,4]") "}", 4, ANX_ERR_FORMAT,
     "entry 'a': its shape holds something that is not a whole number"},
    {"{" T("a", "F32", "[2]", "[0,4]") "}", 4, ANX_ERR_FORMAT,
     "entry 'a': F32 of shape (2,) takes 8 bytes, its data_offsets span 4"},
    {"{" T("a", "F32", "[1]", "[0,8]") "}", 4, ANX_ERR_FORMAT,
     "entry 'a': its data_offsets are [0, 8]; the file holds 4 bytes of data"},
    {"{" T("a", "U8", "[4]", "[0,8]") "}", 8, ANX_ERR_FORMAT,
     "entry 'a': U8 of shape (4,) takes 4 bytes, its data_offsets span 8"},
    {"{" T("a", "F32", "[1]", "[4,0]") "}", 4, ANX_ERR_FORMAT,
     "entry 'a': its data_offsets are [4, 0]; the file holds 4 bytes of data"},
    {"{" T("a", "F32", "[1]", "[0,4,4]") "}", 4, ANX_ERR_FORMAT,
     "entry 'a': its data_offsets are not two whole numbers"},
    {"{" T("a", "U8", "[4]", "[0,4]") "," T("b", "U8", "[4]", "[2,6]") "}", 6, ANX_ERR_FORMAT,
     "entry 'b': its data begins at 2, where 4 was expected: tensors overlap"},
    {"{" T("a", "U8", "[4]", "[0,4]") "," T("b", "U8", "[4]", "[5,9]") "}", 9, ANX_ERR_FORMAT,
     "entry 'b': its data begins at 5, where 4 was expected: a hole in the data"},
    {"{" T("a", "U8", "[4]", "[0,4]") "}", 5, ANX_ERR_FORMAT, "the tensors end at byte 4 of the data, which has 5"},
    {"{" T("a", "U8", "[2]", "[0,2]") "," T("a", "U8", "[2]", "[2,4]") "}", 4, ANX_ERR_FORMAT,
     "entry 'a': the name occurs twice"},
    {"{\"__metadata__\":3}", 0, ANX_ERR_FORMAT, "__metadata__ is not a JSON object"},
    {"{\"__metadata__\":{\"k\":1}}", 0, ANX_ERR_FORMAT, "__metadata__: the value of 'k' is not a string"},
    {"{\"__metadata__\":{},\"__metadata__\":{}}", 0, ANX_ERR_FORMAT, "__metadata__ is given twice"},
};

static void malformed_files_are_refused_with_the_reason(void) {
    for (size_t i = 0; i < sizeof malformed / sizeof malformed[0]; i++) {
        const char *path = make_file(malformed[i].header, malformed[i].n_data);
        anx_safetensors *file = NULL;
        ANX_CHECK_STATUS(malformed[i].status, anx_safetensors_open(path, &file, &err), &err);
        CU_ASSERT_PTR_NULL(file);
        char expected[1024], got[20000];
        snprintf(expected, sizeof expected, "%s: %s", path, malformed[i].message);
        CU_ASSERT_STRING_EQUAL(anx_error_format(&err, got, sizeof got), expected);
        if (strcmp(got, expected) != 0) fprintf(stderr, "\n  expected %s\n  got      %s\n", expected, got);
    }
}

static void a_wrong_header_length_is_refused(void) {
    static const struct {
        uint64_t length;
        size_t n;
        const char *message;
    } cases[] = {
        {0, 3, "3 bytes; a safetensors file starts with an 8-byte header length"},
        {100000001, 16, "the header length is 100000001; at most 100000000 are allowed: is it a safetensors file?"},
        {UINT64_MAX, 16,
         "the header length is 18446744073709551615; at most 100000000 are allowed: is it a safetensors file?"},
        {9, 16, "the header length is 9, but 8 bytes follow: truncated?"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        uint8_t bytes[16] = {0};
        memcpy(bytes, &cases[i].length, 8);
        const char *path = anx_test_path("length.safetensors");
        anx_file_writer *w = NULL;
        ANX_CHECK_OK(anx_file_writer_create(path, true, &w, &err), &err);
        ANX_CHECK_OK(anx_file_writer_write(w, bytes, cases[i].n, &err), &err);
        ANX_CHECK_OK(anx_file_writer_commit(w, &err), &err);
        anx_file_writer_destroy(w);
        anx_safetensors *file = NULL;
        CU_ASSERT_NOT_EQUAL(anx_safetensors_open(path, &file, &err), ANX_OK);
        ANX_CHECK_MESSAGE(cases[i].message, &err);
    }
}

static void a_header_of_nothing_but_brackets_is_not_parsed(void) {
    enum { n = 5000000 };
    char *header = malloc(n + 1);
    CU_ASSERT_PTR_NOT_NULL_FATAL(header);
    memset(header, ',', n);
    memcpy(header, "{\"a\":[", 6);
    header[n] = '\0';
    anx_safetensors *file = NULL;
    ANX_CHECK_STATUS(ANX_ERR_LIMIT, anx_safetensors_open(make_file(header, 0), &file, &err), &err);
    ANX_CHECK_MESSAGE("the header holds 4999996 JSON values; at most 300000 are taken", &err);
    free(header);
}

/* What is written can be read, to the last tensor; what could not be is not written. */
static void no_more_is_written_than_is_read(void) {
    static const float value = 1.5f;
    const char *path = anx_test_path("many.safetensors");
    anx_state_dict dict = ANX_STATE_DICT_INIT;
    anx_safetensors *file = NULL;
    const anx_tensor t = anx_tensor_view(ANX_F32, 0, NULL, &value);
    anx_status status = ANX_OK;
    size_t written = 0;
    for (size_t n = 30000; status == ANX_OK && n <= 1 << 16; n += 1000) {
        for (size_t i = dict.count; i < n; i++) {
            char name[32];
            snprintf(name, sizeof name, "t%zu", i);
            ANX_CHECK_OK(anx_state_dict_add(&dict, name, &t, &err), &err);
        }
        status = anx_safetensors_write(path, &dict, NULL, 0, true, &err);
        if (status == ANX_OK) written = n;
    }
    CU_ASSERT(written >= 40000);
    ANX_CHECK_OK(anx_safetensors_open(path, &file, &err), &err); /* the last one that was written is still there */
    if (file != NULL) CU_ASSERT_EQUAL(file->tensors.count, written);
    anx_safetensors_close(file);
    CU_ASSERT_EQUAL(status, ANX_ERR_LIMIT);
    anx_state_dict_fini(&dict);
}

int main(int argc, char **argv) {
    static const anx_test tests[] = {
        {"a_written_file_reads_back", a_written_file_reads_back},
        {"a_file_without_tensors_is_whole", a_file_without_tensors_is_whole},
        {"misaligned_data_are_copied_into_place", misaligned_data_are_copied_into_place},
        {"names_that_the_format_cannot_hold_are_not_written", names_that_the_format_cannot_hold_are_not_written},
        {"malformed_files_are_refused_with_the_reason", malformed_files_are_refused_with_the_reason},
        {"a_wrong_header_length_is_refused", a_wrong_header_length_is_refused},
        {"a_header_of_nothing_but_brackets_is_not_parsed", a_header_of_nothing_but_brackets_is_not_parsed},
        {"no_more_is_written_than_is_read", no_more_is_written_than_is_read},
        {NULL, NULL},
    };
    return anx_test_main("safetensors", tests, argc, argv);
}
