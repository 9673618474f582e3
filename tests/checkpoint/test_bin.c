/*
 * anx bin: what is written reads back and lies where BIN-FORMAT.md says, and what breaks one of its rules is refused
 * with the reason. Readers and writers that share no code with ours are in bin_judge.py.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>
#include <zlib.h>

#include "loaders/checkpoint/bin_format.h"
#include "loaders/checkpoint/checkpoint_impl.h"
#include "loaders/checkpoint/saving.h"
#include "tests/support/anx_test.h"

static anx_error err;

#define DIMS(...) ((const int64_t[]){__VA_ARGS__})

/* ---- files ---------------------------------------------------------------------------------------------- */

typedef struct image {
    uint8_t *bytes;
    size_t n_bytes;
} image;

/* A path under which it can be opened until the next one is put: in memory, since thousands are. */
static const char *put(const image *file) {
    static int fd = -1;
    static char path[64];
    if (fd < 0) {
        fd = memfd_create("bin", MFD_CLOEXEC);
        snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    }
    CU_ASSERT_FATAL(fd >= 0 && ftruncate(fd, 0) == 0);
    CU_ASSERT_FATAL(pwrite(fd, file->bytes, file->n_bytes, 0) == (ssize_t)file->n_bytes);
    return path;
}

static uint64_t number(const image *file, size_t at, size_t size) {
    uint64_t value = 0;
    CU_ASSERT_FATAL(at + size <= file->n_bytes);
    for (size_t i = size; i-- > 0;) value = value << 8 | file->bytes[at + i];
    return value;
}

static void set_number(image *file, size_t at, size_t size, uint64_t value) {
    CU_ASSERT_FATAL(at + size <= file->n_bytes);
    for (size_t i = 0; i < size; i++) file->bytes[at + i] = (uint8_t)(value >> 8 * i);
}

static anx_status save(const anx_saving *saving, const char *path, anx_rounding *rounding) {
    anx_file_writer *file = NULL;
    ANX_CHECK_OK(anx_file_writer_create(path, true, &file, &err), &err);
    anx_status status = anx_bin_save(saving, path, file, rounding, &err);
    if (status == ANX_OK) status = anx_file_writer_commit(file, &err);
    anx_file_writer_destroy(file);
    return status;
}

static image saved(const anx_saving *saving, anx_rounding *rounding) {
    image file = {NULL, 0};
    const char *path = anx_test_path("saved.bin");
    ANX_CHECK_OK(save(saving, path, rounding), &err);
    ANX_CHECK_OK(anx_read_file(path, &file.bytes, &file.n_bytes, &err), &err);
    CU_ASSERT_PTR_NOT_NULL_FATAL(file.bytes);
    return file;
}

/* Of the one that was put last. */
static anx_checkpoint *opened(const image *file, const anx_checkpoint_options *options) {
    anx_checkpoint *checkpoint = NULL;
    ANX_CHECK_OK(anx_checkpoint_open(put(file), options, &checkpoint, &err), &err);
    CU_ASSERT_PTR_NOT_NULL_FATAL(checkpoint);
    return checkpoint;
}

/* Reads as it is stored and writes again. */
static image again(const image *file, const anx_checkpoint_options *options) {
    anx_saving saving = ANX_SAVING_INIT;
    anx_checkpoint *checkpoint = opened(file, options);
    ANX_CHECK_OK(anx_saving_init(checkpoint, &saving, &err), &err);
    const image back = saved(&saving, NULL);
    anx_saving_fini(&saving);
    anx_checkpoint_close(checkpoint);
    return back;
}

static const anx_checkpoint_options as_stored = {.as_stored = true, .keep_prefix = true};

static void check_same(const image *a, const image *b) {
    CU_ASSERT_EQUAL(a->n_bytes, b->n_bytes);
    CU_ASSERT(a->n_bytes == b->n_bytes && memcmp(a->bytes, b->bytes, a->n_bytes) == 0);
}

static anx_saving_item item_of(const char *name, anx_dtype dtype, int rank, const int64_t *shape, const void *data) {
    return (anx_saving_item){
        .name = name, .elements = {.tensor = anx_tensor_view(dtype, rank, shape, data)}, .dtype = dtype};
}

/*
 * The file that most tests start from:
 *   0 header, 64 table (3 records), 376 "a" "b.c" "s", 384 text, 403 zeros,
 *   448 a: float32 (2, 3), 472 zeros, 512 b.c: uint8 (5), 517 zeros, 576 s: int64 (), 584 end
 */
enum {
    record_a = 64,
    record_b = 168,
    record_s = 272,
    names = 376,
    text = 384,
    text_end = 403,
    data_a = 448,
    data_b = 512,
    data_s = 576,
    file_end = 584
};

static const float values_a[6] = {1, -2, 3.5F, 0, 1e-30F, 6};
static const uint8_t values_b[5] = {'h', 'e', 'l', 'l', 'o'};
static const int64_t value_s = -4611686018427387904;

static image written_file(void) {
    anx_saving_item items[] = {item_of("a", ANX_F32, 2, DIMS(2, 3), values_a),
                               item_of("b.c", ANX_U8, 1, DIMS(5), values_b), item_of("s", ANX_I64, 0, NULL, &value_s)};
    const anx_saving saving = {.items = items, .n_items = 3, .plain_dict = true};
    return saved(&saving, NULL);
}

static image plain_file(void) {
    static image file;
    if (file.bytes == NULL) file = written_file();
    const image copy = {malloc(file.n_bytes), file.n_bytes};
    CU_ASSERT_PTR_NOT_NULL_FATAL(copy.bytes);
    memcpy(copy.bytes, file.bytes, file.n_bytes);
    return copy;
}

/* ---- writing -------------------------------------------------------------------------------------------- */

static uint32_t crc_of(const image *file, size_t from, size_t to) {
    return (uint32_t)crc32(crc32(0, NULL, 0), file->bytes + from, (uInt)(to - from));
}

static void a_written_file_is_laid_out_as_the_page_says(void) {
    image file = plain_file();
    CU_ASSERT_EQUAL_FATAL(file.n_bytes, file_end);
    CU_ASSERT_EQUAL(memcmp(file.bytes,
                           "\x89"
                           "ANXBIN\n",
                           8),
                    0);
    static const struct {
        size_t at, size;
        uint64_t value;
    } numbers[] = {
        /* version, tensors, length of the file, of names and text, where the data begin, reserved */
        {8, 4, 1},
        {12, 4, 3},
        {16, 8, file_end},
        {24, 8, text - names},
        {32, 8, text_end - text},
        {40, 8, data_a},
        {48, 8, 0},
        /* name, dtype, rank, elements, extents */
        {record_a, 8, names},
        {record_a + 8, 4, 1},
        {record_a + 12, 4, 1},
        {record_a + 16, 4, 2},
        {record_a + 24, 8, data_a},
        {record_a + 32, 8, 24},
        {record_a + 40, 8, 2},
        {record_a + 48, 8, 3},
        {record_a + 56, 8, 0},
        {record_a + 96, 8, 0},
        {record_b, 8, names + 2},
        {record_b + 8, 4, 3},
        {record_b + 12, 4, 9},
        {record_b + 16, 4, 1},
        {record_b + 24, 8, data_b},
        {record_b + 32, 8, 5},
        {record_b + 40, 8, 5},
        {record_s, 8, names + 6},
        {record_s + 8, 4, 1},
        {record_s + 12, 4, 5},
        {record_s + 16, 4, 0},
        {record_s + 24, 8, data_s},
        {record_s + 32, 8, 8},
        {record_s + 40, 8, 0},
        {data_s, 8, (uint64_t)value_s},
    };
    for (size_t i = 0; i < sizeof numbers / sizeof numbers[0]; i++)
        CU_ASSERT_EQUAL(number(&file, numbers[i].at, numbers[i].size), numbers[i].value);
    CU_ASSERT_EQUAL(memcmp(file.bytes + names, "a\0b.c\0s\0{\"plain_dict\":true}", text_end - names), 0);
    CU_ASSERT_EQUAL(memcmp(file.bytes + data_a, values_a, sizeof values_a), 0);
    CU_ASSERT_EQUAL(memcmp(file.bytes + data_b, values_b, sizeof values_b), 0);
    CU_ASSERT_EQUAL(number(&file, 56, 4), crc_of(&file, 64, data_a));
    CU_ASSERT_EQUAL(number(&file, 60, 4), crc_of(&file, 0, 60));
    CU_ASSERT_EQUAL(number(&file, record_a + 20, 4), crc_of(&file, data_a, data_a + 24));
    CU_ASSERT_EQUAL(number(&file, record_b + 20, 4), crc_of(&file, data_b, data_b + 5));
    free(file.bytes);
}

static void the_engine_uses_the_file_in_place(void) {
    image file = plain_file();
    anx_checkpoint *checkpoint = opened(&file, NULL);
    const anx_checkpoint_impl *impl = anx_checkpoint_impl_of(checkpoint);
    CU_ASSERT_STRING_EQUAL(checkpoint->format, "anx bin");
    CU_ASSERT_EQUAL(checkpoint->tensors.count, 3);
    CU_ASSERT_EQUAL(checkpoint->n_bad_crc, 0);
    CU_ASSERT_EQUAL(checkpoint->file_bytes, file_end);
    CU_ASSERT_TRUE(impl->plain_dict);
    CU_ASSERT_PTR_NULL(impl->metadata);
    static const char *const order[] = {"a", "b.c", "s"};
    static const size_t places[] = {data_a, data_b, data_s};
    for (size_t i = 0; i < 3 && i < checkpoint->tensors.count; i++) {
        CU_ASSERT_STRING_EQUAL(checkpoint->tensors.items[i].name, order[i]);
        CU_ASSERT_PTR_EQUAL(checkpoint->tensors.items[i].tensor.data, impl->map.bytes + places[i]);
        CU_ASSERT_EQUAL((uintptr_t)checkpoint->tensors.items[i].tensor.data % 64, 0);
        CU_ASSERT_EQUAL(impl->entries[i].storage->file_offset, places[i]);
    }
    CU_ASSERT_EQUAL(impl->n_copies, 0);
    anx_checkpoint_close(checkpoint);
    free(file.bytes);
}

static void every_type_and_shape_comes_back(void) {
    static uint8_t memory[ANX_DTYPE_COUNT][16 * 8];
    static const int64_t shapes[][ANX_MAX_RANK] = {{0}, {16}, {2, 8}, {4, 2, 2}, {1, 2, 1, 2, 1, 2, 1, 2}, {3, 0, 5}};
    static const int ranks[] = {0, 1, 2, 3, 8, 3};
    enum { n_shapes = sizeof ranks / sizeof ranks[0], n = n_shapes * ANX_DTYPE_COUNT };
    anx_saving_item items[n];
    char item_names[n][32];
    for (size_t i = 0; i < sizeof memory; i++) ((uint8_t *)memory)[i] = (uint8_t)(i * 2654435761u >> 11);
    memset(memory[ANX_BOOL], 1, 16);
    for (int i = 0; i < n; i++) {
        const int dtype = i % ANX_DTYPE_COUNT, shape = i / ANX_DTYPE_COUNT;
        snprintf(item_names[i], sizeof item_names[i], "%s.%d", anx_dtype_name((anx_dtype)dtype), shape);
        items[i] = item_of(item_names[i], (anx_dtype)dtype, ranks[shape], shapes[shape],
                           shape == n_shapes - 1 ? NULL : memory[dtype]);
    }
    const anx_saving saving = {.items = items, .n_items = n};
    image file = saved(&saving, NULL);
    anx_checkpoint *checkpoint = opened(&file, NULL);
    CU_ASSERT_EQUAL_FATAL(checkpoint->tensors.count, n);
    for (size_t i = 0; i < n; i++) {
        const anx_tensor *wanted = &items[i].elements.tensor, *t = &checkpoint->tensors.items[i].tensor;
        CU_ASSERT_STRING_EQUAL(checkpoint->tensors.items[i].name, item_names[i]);
        CU_ASSERT_EQUAL(t->dtype, wanted->dtype);
        CU_ASSERT_TRUE(anx_tensor_same_shape(t, wanted));
        CU_ASSERT_TRUE(anx_tensor_is_contiguous(t));
        CU_ASSERT_EQUAL((uintptr_t)t->data % 64, 0);
        CU_ASSERT_TRUE(anx_tensor_elems(t) == 0 || memcmp(t->data, wanted->data, anx_tensor_bytes(t)) == 0);
    }
    anx_checkpoint_close(checkpoint);
    image back = again(&file, &as_stored);
    check_same(&file, &back);
    free(back.bytes);
    free(file.bytes);
}

/* Sources that do not lie as they are written. */
static void elements_are_gathered_swapped_and_aligned(void) {
    static _Alignas(64) uint8_t raw[128];
    const uint16_t turned[6] = {11, 21, 12, 22, 13, 23};         /* (2, 3) column by column */
    const uint8_t big[8] = {0x3f, 0x80, 0, 0, 0xc0, 0x20, 0, 0}; /* 1, -2.5 */
    const double odd = 0.1;
    memcpy(raw + 3, &odd, sizeof odd);
    anx_saving_item items[] = {item_of("turned", ANX_I16, 2, DIMS(2, 3), turned),
                               item_of("big", ANX_F32, 1, DIMS(2), big), item_of("odd", ANX_F64, 1, DIMS(1), raw + 3),
                               item_of("same", ANX_F64, 1, DIMS(4), &odd)};
    items[0].elements.tensor.stride[0] = 1;
    items[0].elements.tensor.stride[1] = 2;
    items[1].elements.swapped = true;
    items[3].elements.tensor.stride[0] = 0;
    const anx_saving saving = {.items = items, .n_items = 4};
    anx_rounding rounding = {0};
    image file = saved(&saving, &rounding);
    anx_checkpoint *checkpoint = opened(&file, NULL);
    const anx_state_dict *t = &checkpoint->tensors;
    CU_ASSERT_EQUAL(memcmp(anx_state_dict_find(t, "turned")->data, (const int16_t[]){11, 12, 13, 21, 22, 23}, 12), 0);
    CU_ASSERT_EQUAL(memcmp(anx_state_dict_find(t, "big")->data, (const float[]){1, -2.5F}, 8), 0);
    CU_ASSERT_EQUAL(memcmp(anx_state_dict_find(t, "odd")->data, &odd, 8), 0);
    CU_ASSERT_EQUAL(memcmp(anx_state_dict_find(t, "same")->data, (const double[]){odd, odd, odd, odd}, 32), 0);
    CU_ASSERT_EQUAL(rounding.n_elems, 0);
    anx_checkpoint_close(checkpoint);
    free(file.bytes);
}

/* The elements are gone through twice, for the checksum and for the file. */
static void rounding_is_counted_once(void) {
    const float f[7] = {1, 1.0F + 0x1p-11F, -0.1F, 1e9F, 1e-9F, 0, -65504};
    const uint16_t wanted[7] = {0x3c00, 0x3c00, 0xae66, 0x7c00, 0, 0, 0xfbff}; /* IEEE 754 binary16, by hand */
    const int32_t untouched[1] = {7};
    anx_saving_item items[] = {item_of("f", ANX_F32, 1, DIMS(7), f), item_of("i", ANX_I32, 1, DIMS(1), untouched)};
    items[0].dtype = ANX_F16;
    const anx_saving saving = {.items = items, .n_items = 2};
    anx_rounding rounding = {0};
    image file = saved(&saving, &rounding);
    CU_ASSERT_EQUAL(rounding.n_elems, 7);
    CU_ASSERT_EQUAL(rounding.n_changed, 4);
    CU_ASSERT_EQUAL(rounding.n_overflow, 1);
    CU_ASSERT_EQUAL(rounding.n_underflow, 1);
    anx_checkpoint *checkpoint = opened(&file, NULL);
    const anx_tensor *t = anx_state_dict_find(&checkpoint->tensors, "f");
    CU_ASSERT_EQUAL(t->dtype, ANX_F16);
    CU_ASSERT_EQUAL(memcmp(t->data, wanted, sizeof wanted), 0);
    anx_checkpoint_close(checkpoint);
    free(file.bytes);
}

/* Large enough to be cut for threads: its checksum is still that of the whole. */
static void a_large_tensor_has_the_checksum_of_the_whole(void) {
    const int64_t n = (11 << 20) + 5;
    uint8_t *bytes = malloc((size_t)n);
    CU_ASSERT_PTR_NOT_NULL_FATAL(bytes);
    for (int64_t i = 0; i < n; i++) bytes[i] = (uint8_t)(i * 40503 >> 7);
    anx_saving_item items[] = {item_of("small", ANX_U8, 1, DIMS(3), bytes), item_of("large", ANX_U8, 1, &n, bytes)};
    const anx_saving saving = {.items = items, .n_items = 2};
    image file = saved(&saving, NULL);
    CU_ASSERT_EQUAL(number(&file, record_b + 20, 4), (uint32_t)crc32(0, bytes, (uInt)n));
    anx_checkpoint_close(opened(&file, NULL));
    file.bytes[file.n_bytes - 1] ^= 1;
    anx_checkpoint *checkpoint = NULL;
    ANX_CHECK_STATUS(ANX_ERR_FORMAT, anx_checkpoint_open(put(&file), NULL, &checkpoint, &err), &err);
    ANX_CHECK_MESSAGE("entry 'large', offset ", &err);
    free(file.bytes);
    free(bytes);
}

static void names_that_the_format_cannot_hold_are_not_written(void) {
    static const struct {
        const char *name, *message;
    } cases[] = {
        {"", "'' cannot be the name of a tensor"},
        {"a\xff", "'a\\xff' cannot be the name of a tensor"},
        {"\xed\xa0\x80", "'\\xed\\xa0\\x80' cannot be the name of a tensor"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        anx_saving_item item = item_of(cases[i].name, ANX_I64, 0, NULL, &value_s);
        const anx_saving saving = {.items = &item, .n_items = 1};
        ANX_CHECK_STATUS(ANX_ERR_INVALID_ARGUMENT, save(&saving, anx_test_path("bad.bin"), NULL), &err);
        ANX_CHECK_MESSAGE(cases[i].message, &err);
    }
}

/* ---- reading and writing again -------------------------------------------------------------------------- */

static void a_file_that_is_read_and_written_is_the_same(void) {
    image file = plain_file(), back = again(&file, &as_stored);
    check_same(&file, &back);
    free(back.bytes);
    back = again(&file, &(anx_checkpoint_options){.skip_crc = true});
    check_same(&file, &back);
    free(back.bytes);
    free(file.bytes);
}

/* A checksum that was compared is written again without being computed: of the whole tensor, as it is, alone. */
static void a_checksum_is_taken_over_for_the_same_bytes_alone(void) {
    image file = plain_file();
    anx_saving saving = ANX_SAVING_INIT;
    anx_checkpoint *checkpoint = opened(&file, &as_stored);
    ANX_CHECK_OK(anx_saving_init(checkpoint, &saving, &err), &err);
    CU_ASSERT_EQUAL_FATAL(saving.n_items, 3);
    saving.items[0].dtype = ANX_F64;
    saving.items[1].elements.tensor.shape[0] = 4;
    image other = saved(&saving, NULL);
    anx_saving_fini(&saving);
    anx_checkpoint_close(checkpoint);
    checkpoint = opened(&other, NULL);
    CU_ASSERT_EQUAL(((const double *)checkpoint->tensors.items[0].tensor.data)[2], 3.5);
    CU_ASSERT_EQUAL(memcmp(checkpoint->tensors.items[1].tensor.data, "hell", 4), 0);
    anx_checkpoint_close(checkpoint);
    free(other.bytes);
    free(file.bytes);
}

static void a_damaged_file_that_was_accepted_is_written_with_right_checksums(void) {
    image file = plain_file();
    file.bytes[data_b] = 'j';
    image back = again(&file, &(anx_checkpoint_options){.accept_bad_crc = true, .as_stored = true});
    anx_checkpoint *checkpoint = opened(&back, NULL);
    CU_ASSERT_EQUAL(memcmp(checkpoint->tensors.items[1].tensor.data, "jello", 5), 0);
    anx_checkpoint_close(checkpoint);
    free(back.bytes);
    free(file.bytes);
}

static void wrong_checksums_can_be_accepted_or_left_alone(void) {
    static const struct {
        size_t at; /* where a byte is changed; 0: nowhere */
        size_t n_bad;
    } cases[] = {{0, 0}, {60, 1}, {56, 2}, {record_a + 20, 2}, {data_a, 1}, {data_s + 7, 1}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        image file = plain_file();
        if (cases[i].at > 0) file.bytes[cases[i].at] ^= 0x10;
        anx_checkpoint *checkpoint = opened(&file, &(anx_checkpoint_options){.accept_bad_crc = true});
        CU_ASSERT_EQUAL(checkpoint->n_bad_crc, cases[i].n_bad);
        anx_checkpoint_close(checkpoint);
        checkpoint = opened(&file, &(anx_checkpoint_options){.skip_crc = true});
        CU_ASSERT_EQUAL(checkpoint->n_bad_crc, 0);
        CU_ASSERT_FALSE(anx_checkpoint_impl_of(checkpoint)->entries[0].storage->has_crc);
        anx_checkpoint_close(checkpoint);
        free(file.bytes);
    }
}

/* ---- what is refused ------------------------------------------------------------------------------------ */

/* Makes the checksums of header and table right, for what lies behind them to be reached. */
static void seal(image *file) {
    if (file->n_bytes < 64) return;
    const uint64_t end = number(file, 40, 8);
    if (end >= 64 && end <= file->n_bytes) set_number(file, 56, 4, crc_of(file, 64, (size_t)end));
    set_number(file, 60, 4, crc_of(file, 0, 60));
}

static void check_refused(const image *file, anx_status status, const char *message) {
    char expected[1024], got[20000];
    const char *path = put(file);
    anx_checkpoint *checkpoint = NULL;
    ANX_CHECK_STATUS(status, anx_checkpoint_open(path, NULL, &checkpoint, &err), &err);
    CU_ASSERT_PTR_NULL(checkpoint);
    snprintf(expected, sizeof expected, "%s: %s", path, message);
    CU_ASSERT_STRING_EQUAL(anx_error_format(&err, got, sizeof got), expected);
    if (strcmp(got, expected) != 0) fprintf(stderr, "\n  expected %s\n  got      %s\n", expected, got);
}

typedef struct edit {
    size_t at, size; /* 0 bytes: no edit */
    uint64_t value;
} edit;

typedef struct malformed {
    edit edits[4];
    int more; /* bytes that the file is then longer */
    bool unsealed;
    anx_status status;
    const char *message;
} malformed;

static void check_malformed(const malformed *m) {
    image file = plain_file();
    for (size_t i = 0; i < sizeof m->edits / sizeof m->edits[0] && m->edits[i].size > 0; i++)
        set_number(&file, m->edits[i].at, m->edits[i].size, m->edits[i].value);
    const size_t n_bytes = (size_t)((int)file.n_bytes + m->more);
    uint8_t *bytes = realloc(file.bytes, n_bytes);
    CU_ASSERT_PTR_NOT_NULL_FATAL(bytes);
    if (m->more > 0) memset(bytes + file.n_bytes, 0, (size_t)m->more);
    file = (image){bytes, n_bytes};
    if (!m->unsealed) seal(&file);
    check_refused(&file, m->status, m->message);
    free(file.bytes);
}

#define TWO_63 UINT64_C(0x8000000000000000)
#define TOO_MUCH(tensors, names_bytes, text_bytes)                                                                     \
    "a table of " tensors " tensors, " names_bytes " bytes of names and " text_bytes                                   \
    " of text do not fit into a file of 584 bytes"

static const malformed headers[] = {
    {{{8, 4, 2}}, 0, false, ANX_ERR_UNSUPPORTED, "version 2 of the format; this release reads version 1"},
    {{{8, 4, 0}}, 0, false, ANX_ERR_UNSUPPORTED, "version 0 of the format; this release reads version 1"},
    {{{48, 8, 1}}, 0, false, ANX_ERR_FORMAT, "offset 48: a reserved field that is not zero"},
    {{{55, 1, 128}}, 0, false, ANX_ERR_FORMAT, "offset 48: a reserved field that is not zero"},
    /* the length of the file */
    {{{16, 8, 585}}, 0, false, ANX_ERR_FORMAT, "the file has 584 bytes, its header says 585: truncated?"},
    {{{16, 8, 583}}, 0, false, ANX_ERR_FORMAT, "the file has 584 bytes, its header says 583"},
    {{{0, 0, 0}}, 1, false, ANX_ERR_FORMAT, "the file has 585 bytes, its header says 584"},
    {{{0, 0, 0}}, -1, false, ANX_ERR_FORMAT, "the file has 583 bytes, its header says 584: truncated?"},
    {{{16, 8, UINT64_MAX}},
     0,
     false,
     ANX_ERR_FORMAT,
     "the file has 584 bytes, its header says 18446744073709551615: truncated?"},
    /* the lengths of the parts */
    {{{12, 4, UINT32_MAX}}, 0, false, ANX_ERR_FORMAT, TOO_MUCH("4294967295", "8", "19")},
    {{{12, 4, 5}}, 0, false, ANX_ERR_FORMAT, TOO_MUCH("5", "8", "19")},
    {{{12, 4, 2}}, 0, false, ANX_ERR_FORMAT, "offset 40: the data begin at 320, the header says 448"},
    {{{24, 8, 190}}, 0, false, ANX_ERR_FORMAT, TOO_MUCH("3", "190", "19")},
    {{{24, 8, UINT64_MAX}}, 0, false, ANX_ERR_FORMAT, TOO_MUCH("3", "18446744073709551615", "19")},
    {{{24, 8, UINT64_MAX - 400}}, 0, false, ANX_ERR_FORMAT, TOO_MUCH("3", "18446744073709551215", "19")},
    {{{32, 8, 202}}, 0, false, ANX_ERR_FORMAT, TOO_MUCH("3", "8", "202")},
    {{{32, 8, UINT64_MAX - 383}}, 0, false, ANX_ERR_FORMAT, TOO_MUCH("3", "8", "18446744073709551232")},
    {{{24, 8, TWO_63}, {32, 8, TWO_63 - 1}},
     0,
     false,
     ANX_ERR_FORMAT,
     TOO_MUCH("3", "9223372036854775808", "9223372036854775807")},
    {{{40, 8, 384}}, 0, false, ANX_ERR_FORMAT, "offset 40: the data begin at 448, the header says 384"},
    {{{40, 8, 403}}, 0, false, ANX_ERR_FORMAT, "offset 40: the data begin at 448, the header says 403"},
    {{{40, 8, 512}}, 0, false, ANX_ERR_FORMAT, "offset 40: the data begin at 448, the header says 512"},
    {{{40, 8, UINT64_MAX}},
     0,
     false,
     ANX_ERR_FORMAT,
     "offset 40: the data begin at 448, the header says 18446744073709551615"},
    {{{text_end, 1, 1}}, 0, false, ANX_ERR_FORMAT, "offset 403: padding that is not zero"},
    {{{data_a - 1, 1, ' '}}, 0, false, ANX_ERR_FORMAT, "offset 447: padding that is not zero"},
    {{{12, 4, 0}, {24, 8, 0}, {32, 8, 339}}, 0, false, ANX_ERR_FORMAT, "the tensors end at 448, the file at 584"},
};

#define NAME_AT(at, wanted) "its name begins at " at ", where " wanted " was expected"
#define NAME_OF(bytes, at, end) "its name of " bytes " bytes at " at " reaches beyond the names' end at " end
#define IN(name, offset) "entry '" name "', offset " offset ": "

static const malformed tables[] = {
    /* names */
    {{{record_a, 8, 0}}, 0, false, ANX_ERR_FORMAT, "offset 64: " NAME_AT("0", "376")},
    {{{record_b, 8, names}}, 0, false, ANX_ERR_FORMAT, "offset 168: " NAME_AT("376", "378")},
    {{{record_b, 8, UINT64_MAX}}, 0, false, ANX_ERR_FORMAT, "offset 168: " NAME_AT("18446744073709551615", "378")},
    {{{record_s + 8, 4, 2}}, 0, false, ANX_ERR_FORMAT, "offset 272: " NAME_OF("2", "382", "384")},
    {{{record_s + 8, 4, UINT32_MAX}}, 0, false, ANX_ERR_FORMAT, "offset 272: " NAME_OF("4294967295", "382", "384")},
    {{{24, 8, 7}, {32, 8, 20}}, 0, false, ANX_ERR_FORMAT, "offset 272: " NAME_OF("1", "382", "383")},
    {{{24, 8, 6}, {32, 8, 21}}, 0, false, ANX_ERR_FORMAT, "offset 272: " NAME_OF("1", "382", "382")},
    {{{24, 8, 0}, {32, 8, 27}}, 0, false, ANX_ERR_FORMAT, "offset 64: " NAME_OF("1", "376", "376")},
    {{{24, 8, 9}, {32, 8, 18}}, 0, false, ANX_ERR_FORMAT, "the names take fewer bytes than the header says"},
    {{{record_a + 8, 4, 0}}, 0, false, ANX_ERR_FORMAT, "offset 64: its name is empty"},
    {{{record_b + 8, 4, 2}}, 0, false, ANX_ERR_FORMAT, "offset 168: its name is not ended by a NUL"},
    {{{record_b + 8, 4, 4}}, 0, false, ANX_ERR_FORMAT, "offset 168: its name holds a NUL"},
    {{{names + 1, 1, 'x'}}, 0, false, ANX_ERR_FORMAT, "offset 64: its name is not ended by a NUL"},
    {{{names + 3, 1, 0}}, 0, false, ANX_ERR_FORMAT, "offset 168: its name holds a NUL"},
    {{{names + 2, 1, 0xff}}, 0, false, ANX_ERR_FORMAT, "offset 168: its name is not UTF-8"},
    {{{names + 2, 2, 0x80c0}}, 0, false, ANX_ERR_FORMAT, "offset 168: its name is not UTF-8"},
    {{{names + 6, 1, 'a'}}, 0, false, ANX_ERR_FORMAT, IN("a", "272") "the name occurs twice"},
    {{{names + 6, 1, 0x1b}, {record_s + 12, 4, 0}},
     0,
     false,
     ANX_ERR_UNSUPPORTED,
     IN("\\x1b", "272") "elements of type 0, which is not known"},
    /* types and extents */
    {{{record_a + 12, 4, 0}}, 0, false, ANX_ERR_UNSUPPORTED, IN("a", "64") "elements of type 0, which is not known"},
    {{{record_a + 12, 4, 11}}, 0, false, ANX_ERR_UNSUPPORTED, IN("a", "64") "elements of type 11, which is not known"},
    {{{record_a + 12, 4, UINT32_MAX}},
     0,
     false,
     ANX_ERR_UNSUPPORTED,
     IN("a", "64") "elements of type 4294967295, which is not known"},
    {{{record_a + 12, 4, 2}},
     0,
     false,
     ANX_ERR_FORMAT,
     IN("a", "64") "float64 of shape (2, 3) takes 48 bytes, the table says 24"},
    {{{record_b + 16, 4, 9}}, 0, false, ANX_ERR_FORMAT, IN("b.c", "168") "9 dimensions; at most 8 are possible"},
    {{{record_b + 16, 4, UINT32_MAX}},
     0,
     false,
     ANX_ERR_FORMAT,
     IN("b.c", "168") "4294967295 dimensions; at most 8 are possible"},
    {{{record_b + 16, 4, 0}}, 0, false, ANX_ERR_FORMAT, IN("b.c", "168") "an extent of 5 in dimension 0"},
    {{{record_b + 16, 4, 2}},
     0,
     false,
     ANX_ERR_FORMAT,
     IN("b.c", "168") "uint8 of shape (5, 0) takes 0 bytes, the table says 5"},
    {{{record_b + 96, 8, 1}}, 0, false, ANX_ERR_FORMAT, IN("b.c", "168") "an extent of 1 in dimension 7"},
    {{{record_b + 40, 8, TWO_63}},
     0,
     false,
     ANX_ERR_FORMAT,
     IN("b.c", "168") "an extent of 9223372036854775808 in dimension 0"},
    {{{record_a + 40, 8, UINT64_C(1) << 32}, {record_a + 48, 8, UINT64_C(1) << 32}},
     0,
     false,
     ANX_ERR_FORMAT,
     IN("a", "64") "its shape (4294967296, 4294967296) overflows"},
    {{{record_a + 40, 8, UINT64_C(1) << 62}, {record_a + 48, 8, 1}},
     0,
     false,
     ANX_ERR_FORMAT,
     IN("a", "64") "its shape (4611686018427387904, 1) overflows"},
    {{{record_a + 48, 8, 4}},
     0,
     false,
     ANX_ERR_FORMAT,
     IN("a", "64") "float32 of shape (2, 4) takes 32 bytes, the table says 24"},
    {{{record_a + 32, 8, 23}},
     0,
     false,
     ANX_ERR_FORMAT,
     IN("a", "64") "float32 of shape (2, 3) takes 24 bytes, the table says 23"},
    {{{record_a + 32, 8, UINT64_MAX}},
     0,
     false,
     ANX_ERR_FORMAT,
     IN("a", "64") "float32 of shape (2, 3) takes 24 bytes, the table says 18446744073709551615"},
/* places */
#define PLACE(at, wanted) "its data begin at " at ", where " wanted " was expected"
    {{{record_a + 24, 8, 384}}, 0, false, ANX_ERR_FORMAT, IN("a", "64") PLACE("384", "448")},
    {{{record_a + 24, 8, 449}}, 0, false, ANX_ERR_FORMAT, IN("a", "64") PLACE("449", "448")},
    {{{record_b + 24, 8, data_a}}, 0, false, ANX_ERR_FORMAT, IN("b.c", "168") PLACE("448", "512")},
    {{{record_b + 24, 8, 472}}, 0, false, ANX_ERR_FORMAT, IN("b.c", "168") PLACE("472", "512")},
    {{{record_b + 24, 8, data_s}}, 0, false, ANX_ERR_FORMAT, IN("b.c", "168") PLACE("576", "512")},
    {{{record_b + 24, 8, UINT64_MAX}}, 0, false, ANX_ERR_FORMAT, IN("b.c", "168") PLACE("18446744073709551615", "512")},
    {{{record_s + 16, 4, 1}, {record_s + 40, 8, 2}, {record_s + 32, 8, 16}},
     0,
     false,
     ANX_ERR_FORMAT,
     IN("s", "272") "its 16 bytes at 576 reach beyond the file's 584"},
    {{{record_a + 40, 8, UINT64_C(1) << 59}, {record_a + 48, 8, 3}, {record_a + 32, 8, UINT64_C(3) << 61}},
     0,
     false,
     ANX_ERR_FORMAT,
     IN("a", "64") "its 6917529027641081856 bytes at 448 reach beyond the file's 584"},
    {{{record_a + 12, 4, 2},
      {record_a + 40, 8, (UINT64_C(1) << 61) - 1},
      {record_a + 48, 8, 1},
      {record_a + 32, 8, UINT64_MAX - 7}},
     0,
     false,
     ANX_ERR_FORMAT,
     IN("a", "64") "its 18446744073709551608 bytes at 448 reach beyond the file's 584"},
    {{{record_b + 40, 8, 133}, {record_b + 32, 8, 133}},
     0,
     false,
     ANX_ERR_FORMAT,
     IN("b.c", "168") "its 133 bytes at 512 reach beyond the file's 584"},
    {{{record_b + 40, 8, 70}, {record_b + 32, 8, 70}, {record_s + 24, 8, 640}},
     0,
     false,
     ANX_ERR_FORMAT,
     IN("s", "272") "its 8 bytes at 640 reach beyond the file's 584"},
    {{{record_s + 12, 4, 6}, {record_s + 32, 8, 4}},
     0,
     false,
     ANX_ERR_FORMAT,
     "the tensors end at 580, the file at 584"},
    {{{16, 8, 590}}, 6, false, ANX_ERR_FORMAT, "the tensors end at 584, the file at 590"},
    {{{472, 1, 1}}, 0, false, ANX_ERR_FORMAT, IN("b.c", "472") "padding that is not zero"},
    {{{511, 1, 1}}, 0, false, ANX_ERR_FORMAT, IN("b.c", "511") "padding that is not zero"},
    {{{575, 1, 0x80}}, 0, false, ANX_ERR_FORMAT, IN("s", "575") "padding that is not zero"},
};

static const malformed texts[] = {
#define TEXT "the text about the state_dict: "
    {{{text, 1, '['}}, 0, false, ANX_ERR_FORMAT, "offset 384: " TEXT "it is not one JSON object"},
    {{{text_end - 1, 1, ' '}}, 0, false, ANX_ERR_FORMAT, "offset 384: " TEXT "it is not one JSON object"},
    {{{text_end - 1, 1, 0}}, 0, false, ANX_ERR_FORMAT, "offset 384: " TEXT "it is not UTF-8"},
    {{{text + 3, 1, 0xc3}}, 0, false, ANX_ERR_FORMAT, "offset 384: " TEXT "it is not UTF-8"},
    {{{text + 14, 4, 0x6c6c756e}}, 0, false, ANX_ERR_FORMAT, "offset 384: " TEXT "plain_dict is not true"},
};

static void check_all(const malformed *cases, size_t n) {
    for (size_t i = 0; i < n; i++) check_malformed(&cases[i]);
}

static void a_header_that_lies_is_refused(void) {
    check_all(headers, sizeof headers / sizeof headers[0]);
}

static void a_table_that_lies_is_refused(void) {
    check_all(tables, sizeof tables / sizeof tables[0]);
}

static void a_text_that_is_none_is_refused(void) {
    check_all(texts, sizeof texts / sizeof texts[0]);
    image file = plain_file();
    memcpy(file.bytes + text, "{\"keys\":[\"a\",\"s\"] }", text_end - text);
    seal(&file);
    check_refused(&file, ANX_ERR_FORMAT, "offset 384: the text lists keys, which the table's order says");
    free(file.bytes);
}

static void what_the_text_says_besides_is_passed_over(void) {
    image file = plain_file();
    memcpy(file.bytes + text, "{\"later\": [1, 2]}\n ", text_end - text);
    seal(&file);
    anx_checkpoint *checkpoint = opened(&file, NULL);
    CU_ASSERT_FALSE(anx_checkpoint_impl_of(checkpoint)->plain_dict);
    anx_checkpoint_close(checkpoint);
    free(file.bytes);
}

static void wrong_checksums_are_refused(void) {
    static const struct {
        size_t at;
        const char *before, *what;
        size_t from, to, says; /* the bytes that are summed, and where the file has the sum */
    } cases[] = {
        {48, "", "the header", 0, 60, 60},
        {60, "", "the header", 0, 60, 60},
        {63, "", "the header", 0, 60, 60},
        {record_a + 47, "", "the table", 64, data_a, 56},
        {text + 4, "", "the table", 64, data_a, 56},
        {data_a - 1, "", "the table", 64, data_a, 56},
        {data_a, IN("a", "448"), "its elements", data_a, data_a + 24, record_a + 20},
        {data_b + 4, IN("b.c", "512"), "its elements", data_b, data_b + 5, record_b + 20},
        {file_end - 1, IN("s", "576"), "its elements", data_s, file_end, record_s + 20},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char message[200];
        image file = plain_file();
        file.bytes[cases[i].at] ^= 1;
        snprintf(message, sizeof message,
                 "%sthe CRC-32 of %s is %08x, the file says %08x: damaged; --accept-bad-crc reads it all the same",
                 cases[i].before, cases[i].what, crc_of(&file, cases[i].from, cases[i].to),
                 (unsigned)number(&file, cases[i].says, 4));
        check_refused(&file, ANX_ERR_FORMAT, message);
        free(file.bytes);
    }
}

static void a_file_cut_anywhere_is_refused(void) {
    image file = plain_file();
    for (size_t n = 8; n < file_end; n++) {
        char message[200];
        const image cut = {file.bytes, n};
        if (n < 64)
            snprintf(message, sizeof message, "%zu bytes; an anx bin file begins with a header of 64: truncated?", n);
        else
            snprintf(message, sizeof message, "the file has %zu bytes, its header says 584: truncated?", n);
        check_refused(&cut, ANX_ERR_FORMAT, message);
    }
    free(file.bytes);
}

/* ... whose header says that this is all. */
static void a_file_cut_and_sealed_is_refused(void) {
    for (size_t n = 64; n < file_end; n++) {
        image file = plain_file();
        file.n_bytes = n;
        set_number(&file, 16, 8, n);
        seal(&file);
        anx_checkpoint *checkpoint = NULL;
        ANX_CHECK_STATUS(ANX_ERR_FORMAT, anx_checkpoint_open(put(&file), NULL, &checkpoint, &err), &err);
        free(file.bytes);
    }
}

static void every_bit_is_covered_by_a_check(void) {
    image file = plain_file();
    for (size_t bit = 0; bit < 8 * (size_t)file_end; bit++) {
        anx_checkpoint *checkpoint = NULL;
        file.bytes[bit / 8] ^= (uint8_t)(1u << bit % 8);
        if (anx_checkpoint_open(put(&file), NULL, &checkpoint, &err) == ANX_OK) {
            fprintf(stderr, "bit %zu of byte %zu is not checked\n", bit % 8, bit / 8);
            CU_FAIL("a bit that is not checked");
        }
        file.bytes[bit / 8] ^= (uint8_t)(1u << bit % 8);
    }
    anx_checkpoint_close(opened(&file, NULL));
    free(file.bytes);
}

static void a_file_without_tensors_is_refused(void) {
    const anx_saving none = ANX_SAVING_INIT;
    image file = saved(&none, NULL);
    CU_ASSERT_EQUAL(file.n_bytes, 64);
    check_refused(&file, ANX_ERR_FORMAT, "the file holds no tensors");
    free(file.bytes);
}

int main(int argc, char **argv) {
    static const anx_test tests[] = {
        {"a written file is laid out as the page says", a_written_file_is_laid_out_as_the_page_says},
        {"the engine uses the file in place", the_engine_uses_the_file_in_place},
        {"every type and shape comes back", every_type_and_shape_comes_back},
        {"elements are gathered, swapped and aligned", elements_are_gathered_swapped_and_aligned},
        {"rounding is counted once", rounding_is_counted_once},
        {"a large tensor has the checksum of the whole", a_large_tensor_has_the_checksum_of_the_whole},
        {"names that the format cannot hold are not written", names_that_the_format_cannot_hold_are_not_written},
        {"a file that is read and written is the same", a_file_that_is_read_and_written_is_the_same},
        {"a checksum is taken over for the same bytes alone", a_checksum_is_taken_over_for_the_same_bytes_alone},
        {"a damaged file that was accepted is written with right checksums",
         a_damaged_file_that_was_accepted_is_written_with_right_checksums},
        {"wrong checksums can be accepted or left alone", wrong_checksums_can_be_accepted_or_left_alone},
        {"wrong checksums are refused", wrong_checksums_are_refused},
        {"a header that lies is refused", a_header_that_lies_is_refused},
        {"a table that lies is refused", a_table_that_lies_is_refused},
        {"a text that is none is refused", a_text_that_is_none_is_refused},
        {"what the text says besides is passed over", what_the_text_says_besides_is_passed_over},
        {"a file cut anywhere is refused", a_file_cut_anywhere_is_refused},
        {"a file cut and sealed is refused", a_file_cut_and_sealed_is_refused},
        {"every bit is covered by a check", every_bit_is_covered_by_a_check},
        {"a file without tensors is refused", a_file_without_tensors_is_refused},
        {NULL, NULL},
    };
    return anx_test_main("bin", tests, argc, argv);
}
