/* What wrote a file, told from archives laid out as each release of PyTorch lays them out, and otherwise. */
#include "loaders/checkpoint/provenance.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "loaders/checkpoint/checkpoint_impl.h"
#include "loaders/checkpoint/pth_writer.h"
#include "loaders/checkpoint/saving.h"
#include "loaders/checkpoint/serialization_id.h"
#include "tests/support/anx_test.h"
#include "tests/support/test_zip.h"

static anx_error err;
static const float values[2] = {1, 2};

static anx_provenance provenance_of(const char *path, bool accept_bad_crc) {
    const anx_checkpoint_options options = {.accept_bad_crc = accept_bad_crc, .as_stored = true};
    anx_checkpoint *checkpoint = NULL;
    anx_provenance p = {.n_notes = 0};
    ANX_CHECK_OK(anx_checkpoint_open(path, &options, &checkpoint, &err), &err);
    CU_ASSERT_PTR_NOT_NULL_FATAL(checkpoint);
    ANX_CHECK_OK(anx_checkpoint_provenance(checkpoint, &p, &err), &err);
    anx_checkpoint_close(checkpoint);
    return p;
}

static void check_writer(const anx_provenance *p, const char *expected) {
    if (strcmp(p->writer, expected) != 0) fprintf(stderr, "  got '%s' instead of '%s'\n", p->writer, expected);
    CU_ASSERT_STRING_EQUAL(p->writer, expected);
}

static bool has_note(const anx_provenance *p, const char *part) {
    for (int i = 0; i < p->n_notes; i++)
        if (strstr(p->notes[i], part) != NULL) return true;
    return false;
}

/* A plain dict of n tensors of two floats, the keys given; the records up to the storages in that order. */
static void begin(test_zip *zip, const char *const *keys, int n) {
    static char pickle[8192];
    size_t used = 0;
    used += (size_t)sprintf(pickle + used, "\x80\x02}(");
    for (int i = 0; i < n; i++) {
        static const char head[] = TP_REBUILD "((" TP_STR("\x07", "storage") TP_GLOBAL("torch", "FloatStorage") "X";
        static const char middle[] = TP_STR("\x03", "cpu") "K\x02tQ";
        static const char tail[] = "K\0K\x02\x85K\x01\x85\x89" TP_HOOKS "tR";
        const uint32_t length = (uint32_t)strlen(keys[i]), name_length = 3;
        char name[16];
        snprintf(name, sizeof name, "w%02d", i % 100);
        pickle[used++] = 'X';
        memcpy(pickle + used, &name_length, 4), used += 4;
        memcpy(pickle + used, name, 3), used += 3;
        memcpy(pickle + used, head, sizeof head - 1), used += sizeof head - 1;
        memcpy(pickle + used, &length, 4), used += 4;
        memcpy(pickle + used, keys[i], length), used += length;
        memcpy(pickle + used, middle, sizeof middle - 1), used += sizeof middle - 1;
        memcpy(pickle + used, tail, sizeof tail - 1), used += sizeof tail - 1;
    }
    memcpy(pickle + used, "u.", 2), used += 2;
    test_zip_add(zip, "m/data.pkl", pickle, used);
}

static void add_storages(test_zip *zip, const char *const *keys, int n) {
    for (int i = 0; i < n; i++) {
        char name[100];
        snprintf(name, sizeof name, "m/data/%s", keys[i]);
        test_zip_add(zip, name, values, sizeof values);
    }
}

/* The id that belongs to the records so far. */
static void make_id(const test_zip *zip, char digits[ANX_SERIALIZATION_ID_SIZE]) {
    anx_serialization_id id = ANX_SERIALIZATION_ID_INIT;
    for (size_t i = 0; i < zip->count; i++) {
        ANX_CHECK_OK(anx_serialization_id_add_name(&id, zip->entries[i].name + 2, &err), &err);
        anx_serialization_id_add_crc(&id, zip->entries[i].crc);
    }
    anx_serialization_id_format(&id, digits);
    anx_serialization_id_fini(&id);
}

typedef struct layout {
    const char *version;
    bool marks, byteorder, id, strange;
    const char *const *keys;
    int n_keys;
    char change_id; /* a digit put at place change_at of the id, or 0 */
    int change_at;
    size_t alignment;
    uint16_t extra_flags;
} layout;

static anx_provenance lay_out(const layout *l) {
    test_zip zip;
    char digits[ANX_SERIALIZATION_ID_SIZE];
    test_zip_init(&zip);
    zip.alignment = l->alignment;
    zip.extra_flags = l->extra_flags;
    begin(&zip, l->keys, l->n_keys);
    if (l->marks) test_zip_add(&zip, "m/.format_version", "1", 1);
    if (l->marks) test_zip_add(&zip, "m/.storage_alignment", "64", 2);
    if (l->byteorder) test_zip_add(&zip, "m/byteorder", "little", 6);
    add_storages(&zip, l->keys, l->n_keys);
    if (l->strange) test_zip_add(&zip, "m/readme", "x", 1);
    if (l->version != NULL) test_zip_add(&zip, "m/version", l->version, strlen(l->version));
    make_id(&zip, digits);
    if (l->change_id != 0) digits[l->change_at] = l->change_id;
    if (l->id) test_zip_add(&zip, "m/.data/serialization_id", digits, sizeof digits - 1);
    test_zip_finish(&zip);
    const anx_provenance p = provenance_of(test_zip_save(&zip, "layout.pth"), false);
    test_zip_fini(&zip);
    return p;
}

static const char *const numbers[] = {"0", "1"}, *const addresses[] = {"93824992", "94000000"};
static const char *const by_text[] = {"0", "1", "10", "2", "3", "4", "5", "6", "7", "8", "9"};
static const char *const by_number[] = {"0", "1", "2", "3", "4", "5", "6", "7", "8", "9", "10"};
static const char *const words[] = {"a", "b"};

static void releases_of_pytorch(void) {
    const struct {
        layout l;
        const char *writer, *version;
    } cases[] = {
        {{"1\n", .keys = addresses, .n_keys = 2}, "PyTorch 1.4, asked for a zip archive", "1"},
        {{"2\n", .keys = addresses, .n_keys = 2}, "PyTorch 1.5, asked for a zip archive", "2"},
        {{"3\n", .keys = addresses, .n_keys = 2}, "PyTorch 1.6 to 1.8", "3"},
        {{"3\n", .keys = numbers, .n_keys = 2}, "PyTorch 1.9 to 2.0", "3"},
        {{"3\n", .keys = numbers, .n_keys = 2, .byteorder = true, .id = true}, "PyTorch 2.1 to 2.6", "3"},
        {{"3\n", .keys = numbers, .n_keys = 2, .id = true}, "PyTorch 2.1 to 2.6", "3"},
        {{"3\n", .keys = by_text, .n_keys = 11}, "PyTorch 1.9 to 2.0", "3"},
        {{"3\n", .keys = by_text, .n_keys = 11, .id = true}, "PyTorch 2.1 to 2.6", "3"},
        {{"3\n", .keys = by_number, .n_keys = 11, .id = true, .marks = true},
         "PyTorch 2.7 or newer, or anx-convert, which writes the same bytes",
         "3"},
        {{"3\n", .keys = numbers, .n_keys = 2, .byteorder = true, .id = true, .marks = true},
         "PyTorch 2.7 or newer, or anx-convert, which writes the same bytes",
         "3"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        layout l = cases[i].l;
        l.alignment = 64;
        const anx_provenance p = lay_out(&l);
        check_writer(&p, cases[i].writer);
        CU_ASSERT_TRUE(p.by_pytorch);
        CU_ASSERT_STRING_EQUAL(p.format_version, cases[i].version);
    }
}

static void what_no_release_writes(void) {
    static const char unknown[] = "unknown: PyTorch's zip layout, with records as no version of PyTorch writes them";
    const layout cases[] = {
        {"4\n", .keys = addresses, .n_keys = 2},
        {NULL, .keys = numbers, .n_keys = 2},
        {"3\n", .keys = words, .n_keys = 2},
        {"3\n", .keys = numbers, .n_keys = 2, .byteorder = true},
        {"3\n", .keys = numbers, .n_keys = 2, .marks = true},
        {"3\n", .keys = addresses, .n_keys = 2, .id = true},
        {"3\n", .keys = numbers, .n_keys = 2, .strange = true},
        /* in the order of another release */
        {"3\n", .keys = by_text, .n_keys = 11, .marks = true, .id = true},
        {"3\n", .keys = by_number, .n_keys = 11, .id = true},
        {"3\n", .keys = by_number, .n_keys = 11},
        {"3\n", .keys = by_text, .n_keys = 7}, /* some are missing */
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        layout l = cases[i];
        l.alignment = 64;
        const anx_provenance p = lay_out(&l);
        if (l.version != NULL) {
            check_writer(&p, unknown);
        } else { /* the last record is then no "version" */
            CU_ASSERT_PTR_NOT_NULL(strstr(p.writer, "another program than PyTorch"));
            CU_ASSERT_STRING_EQUAL(p.format_version, "");
        }
        CU_ASSERT_FALSE(p.by_pytorch);
    }
}

static void archives_that_another_program_packed(void) {
    layout l = {"3\n", .keys = numbers, .n_keys = 2, .byteorder = true, .id = true, .alignment = 0};
    anx_provenance p = lay_out(&l);
    check_writer(&p, "another program than PyTorch, which lays zip archives out otherwise; the records are those of "
                     "PyTorch 2.1 to 2.6");
    CU_ASSERT_TRUE(has_note(&p, "6 of 6 records are not padded to a multiple of 64 bytes"));
    CU_ASSERT_FALSE(p.by_pytorch);
    l.alignment = 32;
    p = lay_out(&l);
    CU_ASSERT_PTR_NOT_NULL(strstr(p.writer, "another program than PyTorch"));
    l.alignment = 64;
    l.extra_flags = 2; /* an option of methods that compress */
    p = lay_out(&l);
    CU_ASSERT_TRUE(has_note(&p, "6 of 6 records have other zip flags than PyTorch sets"));
    CU_ASSERT_FALSE(p.by_pytorch);
}

/* As zipalign pads: the data lie well, but behind another extra field. */
static void padding_of_another_kind(void) {
    test_zip zip;
    test_zip_init(&zip);
    begin(&zip, numbers, 2);
    add_storages(&zip, numbers, 2);
    test_zip_add(&zip, "m/version", "3\n", 2);
    test_zip_finish(&zip);
    test_zip_set16(&zip, zip.local[1] + 30 + zip.entries[1].name_bytes, 0xd935);
    const anx_provenance p = provenance_of(test_zip_save(&zip, "aligned.pth"), false);
    CU_ASSERT_FALSE(p.by_pytorch);
    CU_ASSERT_TRUE(has_note(&p, "1 of 4 records are not padded"));
    test_zip_fini(&zip);
}

/* The record says what the alignment is. */
static void another_alignment(void) {
    test_zip zip;
    test_zip_init(&zip);
    zip.alignment = 4096;
    begin(&zip, numbers, 2);
    test_zip_add(&zip, "m/.format_version", "1", 1);
    test_zip_add(&zip, "m/.storage_alignment", "4096", 4);
    test_zip_add(&zip, "m/byteorder", "little", 6);
    add_storages(&zip, numbers, 2);
    test_zip_add(&zip, "m/version", "3\n", 2);
    char digits[ANX_SERIALIZATION_ID_SIZE];
    make_id(&zip, digits);
    test_zip_add(&zip, "m/.data/serialization_id", digits, sizeof digits - 1);
    test_zip_finish(&zip);
    const anx_provenance p = provenance_of(test_zip_save(&zip, "aligned.pth"), false);
    CU_ASSERT_TRUE(p.by_pytorch);
    CU_ASSERT_EQUAL_FATAL(p.n_marks, 5);
    CU_ASSERT_STRING_EQUAL(p.marks[3].name, ".storage_alignment");
    CU_ASSERT_STRING_EQUAL(p.marks[3].text, "4096");
    test_zip_fini(&zip);
}

static void the_serialization_id_tells_of_changes(void) {
    layout l = {"3\n", .keys = numbers, .n_keys = 2, .byteorder = true, .id = true, .marks = true, .alignment = 64};
    anx_provenance p = lay_out(&l);
    CU_ASSERT_TRUE(has_note(&p, "is PyTorch's for these records, on Linux: unchanged since"));
    l.change_id = 'x';
    p = lay_out(&l); /* the names' half */
    check_writer(&p, "PyTorch 2.7 or newer");
    CU_ASSERT_TRUE(has_note(&p, "written on another system"));
    l.change_at = 39;
    p = lay_out(&l); /* the checksums' */
    check_writer(&p, "another program than PyTorch, or changed since; the records are those of PyTorch 2.7 or newer");
    CU_ASSERT_TRUE(has_note(&p, "does not fit the records"));
    CU_ASSERT_FALSE(p.by_pytorch);
}

/* A storage that begins as a data descriptor does is taken for one by PyTorch. */
static void a_file_of_ours_with_a_treacherous_storage(void) {
    static const uint8_t treacherous[16] = {'P', 'K', 7, 8, 1, 2, 3, 4};
    const int64_t shape[1] = {4};
    const anx_tensor t = anx_tensor_view(ANX_F32, 1, shape, treacherous);
    anx_state_dict dict = ANX_STATE_DICT_INIT;
    const char *path = anx_test_path("treacherous.pth");
    ANX_CHECK_OK(anx_state_dict_add(&dict, "w", &t, &err), &err);
    ANX_CHECK_OK(anx_pth_write(path, &dict, NULL, &err), &err);
    const anx_provenance p = provenance_of(path, false);
    check_writer(&p, "PyTorch 2.7 or newer, or anx-convert, which writes the same bytes");
    CU_ASSERT_TRUE(has_note(&p, "saved under the name 'treacherous'"));
    anx_state_dict_fini(&dict);
}

static void checksums_that_were_left_out(void) {
    test_zip zip;
    test_zip_init(&zip);
    begin(&zip, numbers, 2);
    add_storages(&zip, numbers, 2);
    test_zip_add(&zip, "m/version", "3\n", 2);
    test_zip_finish(&zip);
    for (size_t i = 0; i < zip.count; i++) {
        test_zip_set32(&zip, zip.central[i] + 16, 0);
        test_zip_set32(&zip, zip.descriptor[i] + 4, 0);
    }
    const anx_provenance p = provenance_of(test_zip_save(&zip, "crc.pth"), true);
    CU_ASSERT_TRUE(has_note(&p, "no CRC-32 was computed"));
    test_zip_fini(&zip);
}

/* The stream's three head pickles, as torch writes them; what follows is not looked at. */
static void a_legacy_stream(void) {
    static const uint8_t head[] =
        "\x80\x02\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19.\x80\x02M\xe9\x03.\x80\x02}("
        "X\x10\0\0\0protocol_versionM\xe9\x03X\x0d\0\0\0little_endian\x88u.";
    anx_checkpoint_impl impl = {.map = {.bytes = head, .n_bytes = sizeof head - 1}};
    const anx_checkpoint checkpoint = {.format = "PyTorch legacy stream", .impl = &impl};
    anx_provenance p;
    ANX_CHECK_OK(anx_checkpoint_provenance(&checkpoint, &p, &err), &err);
    CU_ASSERT_STRING_EQUAL(p.format_version, "1001");
    CU_ASSERT_TRUE(has_note(&p, "saved on a little-endian system"));
    CU_ASSERT_PTR_NOT_NULL(strstr(p.writer, "PyTorch before 1.6"));
    impl.map.n_bytes = 17; /* cut */
    ANX_CHECK_OK(anx_checkpoint_provenance(&checkpoint, &p, &err), &err);
    CU_ASSERT_STRING_EQUAL(p.format_version, "");
}

static void our_own_format(void) {
    const int64_t shape[1] = {2};
    const anx_tensor t = anx_tensor_view(ANX_F32, 1, shape, values);
    const anx_saving_item item = {.name = "w", .elements = {.tensor = t}, .dtype = ANX_F32};
    const anx_saving saving = {.items = (anx_saving_item[]){item}, .n_items = 1};
    anx_file_writer *file = NULL;
    const char *path = anx_test_path("w.bin");
    ANX_CHECK_OK(anx_file_writer_create(path, true, &file, &err), &err);
    ANX_CHECK_OK(anx_bin_save(&saving, path, file, NULL, &err), &err);
    ANX_CHECK_OK(anx_file_writer_commit(file, &err), &err);
    anx_file_writer_destroy(file);
    const anx_provenance p = provenance_of(path, false);
    check_writer(&p, "anx-convert, whose own format this is");
    CU_ASSERT_STRING_EQUAL(p.format_version, "1");
}

static void safetensors_say_for_whom(void) {
    const struct {
        anx_safetensors_meta pair;
        size_t n;
        const char *writer;
    } cases[] = {
        {{"format", "pt"}, 1, "a program that saves for PyTorch, as safetensors.torch does (\"format\": \"pt\")"},
        {{"anx.state_dict", "{\"keys\":[\"w\"]}"},
         1,
         "anx-convert, which leaves the pair \"anx.state_dict\" in the file"},
        {{"format", "np\033"}, 1, "a program that calls its format 'np\\x1b'"},
        {{"for", "mat"}, 1, "unknown: the file says nothing of it"},
        {{NULL, NULL}, 0, "unknown: the file says nothing of it"},
    };
    const int64_t shape[1] = {2};
    const anx_tensor t = anx_tensor_view(ANX_F32, 1, shape, values);
    anx_state_dict dict = ANX_STATE_DICT_INIT;
    ANX_CHECK_OK(anx_state_dict_add(&dict, "w", &t, &err), &err);
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        const char *path = anx_test_path("w.safetensors");
        ANX_CHECK_OK(anx_safetensors_write(path, &dict, &cases[i].pair, cases[i].n, true, &err), &err);
        const anx_provenance p = provenance_of(path, false);
        check_writer(&p, cases[i].writer);
        CU_ASSERT_STRING_EQUAL(p.format_version, "");
    }
    anx_state_dict_fini(&dict);
}

int main(int argc, char **argv) {
    static const anx_test tests[] = {
        {"releases of PyTorch", releases_of_pytorch},
        {"what no release writes", what_no_release_writes},
        {"archives that another program packed", archives_that_another_program_packed},
        {"padding of another kind", padding_of_another_kind},
        {"another alignment", another_alignment},
        {"the serialization id tells of changes", the_serialization_id_tells_of_changes},
        {"a file of ours with a treacherous storage", a_file_of_ours_with_a_treacherous_storage},
        {"checksums that were left out", checksums_that_were_left_out},
        {"a legacy stream", a_legacy_stream},
        {"our own format", our_own_format},
        {"safetensors say for whom", safetensors_say_for_whom},
        {NULL, NULL},
    };
    return anx_test_main("provenance", tests, argc, argv);
}
