/* What the reader makes of well-formed archives: layouts that torch.save can write, has written, or that zip allows. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "loaders/checkpoint/checkpoint.h"
#include "tests/support/anx_test.h"
#include "tests/support/test_zip.h"

static anx_error err;

static anx_checkpoint *open_zip(const test_zip *zip) {
    anx_checkpoint *checkpoint = NULL;
    ANX_CHECK_OK(anx_checkpoint_open(test_zip_save(zip, "good.pth"), NULL, &checkpoint, &err), &err);
    return checkpoint;
}

/* "w" is (2, 3) of 0 to 5 and "n" is (10, 11), in that order. */
static void check_content(const anx_checkpoint *checkpoint) {
    CU_ASSERT_PTR_NOT_NULL_FATAL(checkpoint);
    CU_ASSERT_EQUAL_FATAL(checkpoint->tensors.count, 2);
    CU_ASSERT_STRING_EQUAL(checkpoint->tensors.items[0].name, "w");
    CU_ASSERT_STRING_EQUAL(checkpoint->tensors.items[1].name, "n");
    const anx_tensor *w = &checkpoint->tensors.items[0].tensor, *n = &checkpoint->tensors.items[1].tensor;
    const float floats[6] = {0, 1, 2, 3, 4, 5};
    const int64_t integers[2] = {10, 11};
    CU_ASSERT(w->dtype == ANX_F32 && w->rank == 2 && w->shape[0] == 2 && w->shape[1] == 3);
    CU_ASSERT(memcmp(w->data, floats, sizeof floats) == 0);
    CU_ASSERT(n->dtype == ANX_I64 && n->rank == 1 && n->shape[0] == 2);
    CU_ASSERT(memcmp(n->data, integers, sizeof integers) == 0);
    CU_ASSERT_EQUAL((uintptr_t)w->data % 4, 0);
    CU_ASSERT_EQUAL((uintptr_t)n->data % 8, 0);
}

static void check_reads(test_zip *zip) {
    anx_checkpoint *checkpoint = open_zip(zip);
    check_content(checkpoint);
    anx_checkpoint_close(checkpoint);
    test_zip_fini(zip);
}

static void a_checkpoint_as_torch_lays_it_out(void) {
    test_zip zip;
    test_zip_checkpoint(&zip, test_zip_pickle, test_zip_pickle_bytes);
    anx_checkpoint *checkpoint = open_zip(&zip);
    check_content(checkpoint);
    CU_ASSERT_STRING_EQUAL(checkpoint->format, "PyTorch zip");
    CU_ASSERT_EQUAL(checkpoint->file_bytes, zip.n_bytes);
    CU_ASSERT_PTR_NULL(checkpoint->wrapped_in);
    CU_ASSERT_FALSE(checkpoint->module_prefix_removed);
    anx_digest of_file, expected;
    ANX_CHECK_OK(anx_checkpoint_file_digest(checkpoint, &of_file, &err), &err);
    ANX_CHECK_OK(anx_sha256_buffer(zip.bytes, zip.n_bytes, &expected, &err), &err);
    CU_ASSERT(anx_digest_equal(&of_file, &expected));
    anx_checkpoint_close(checkpoint);
    test_zip_fini(&zip);
}

/* The entries of a checkpoint, in the given order and layout. */
static void build(test_zip *zip, const char *folder, const char *byteorder, const void *floats, const void *integers) {
    char name[300];
    snprintf(name, sizeof name, "%s/data.pkl", folder);
    test_zip_add(zip, name, test_zip_pickle, test_zip_pickle_bytes);
    snprintf(name, sizeof name, "%s/data/0", folder);
    test_zip_add(zip, name, floats, 24);
    snprintf(name, sizeof name, "%s/data/1", folder);
    test_zip_add(zip, name, integers, 16);
    if (byteorder != NULL) {
        snprintf(name, sizeof name, "%s/byteorder", folder);
        test_zip_add(zip, name, byteorder, strlen(byteorder));
    }
}

static const float floats[6] = {0, 1, 2, 3, 4, 5};
static const int64_t integers[2] = {10, 11};

static void records_at_any_alignment(void) {
    static const size_t alignments[] = {0, 1, 2, 3, 5, 7, 8, 4096};
    for (size_t i = 0; i < sizeof alignments / sizeof alignments[0]; i++) {
        test_zip zip;
        test_zip_init(&zip);
        zip.alignment = alignments[i];
        build(&zip, "m", NULL, floats, integers);
        test_zip_finish(&zip);
        check_reads(&zip);
    }
}

static void sizes_in_the_local_headers_instead_of_descriptors(void) {
    test_zip zip;
    test_zip_init(&zip);
    zip.no_descriptor = true;
    zip.no_zip64 = true;
    build(&zip, "m", NULL, floats, integers);
    test_zip_finish(&zip);
    check_reads(&zip);
}

static void big_endian_storages_are_swapped(void) {
    uint32_t big_floats[6];
    uint64_t big_integers[2];
    for (int i = 0; i < 6; i++) {
        memcpy(&big_floats[i], &floats[i], 4);
        big_floats[i] = __builtin_bswap32(big_floats[i]);
    }
    for (int i = 0; i < 2; i++) big_integers[i] = __builtin_bswap64((uint64_t)integers[i]);
    test_zip zip;
    test_zip_init(&zip);
    build(&zip, "m", "big", big_floats, big_integers);
    test_zip_finish(&zip);
    check_reads(&zip);
}

static void folders_of_any_name(void) {
    static const char *const folders[] = {"archive", ".", " ", "a.b", "\xc3\xa4\xe6\xbc\xa2", "m\n"};
    for (size_t i = 0; i < sizeof folders / sizeof folders[0]; i++) {
        test_zip zip;
        test_zip_init(&zip);
        build(&zip, folders[i], "little", floats, integers);
        test_zip_finish(&zip);
        check_reads(&zip);
    }
}

static void a_folder_entry_and_a_comment(void) {
    test_zip zip;
    test_zip_init(&zip);
    test_zip_add(&zip, "m/", "", 0);
    build(&zip, "m", "little", floats, integers);
    test_zip_add(&zip, "m/data/", "", 0);
    test_zip_finish(&zip);
    test_zip_set16(&zip, zip.end + 20, 7);
    test_zip_insert(&zip, zip.n_bytes, "comment", 7);
    check_reads(&zip);
}

/* Keys before 2019 were addresses in decimal. */
static void keys_of_any_text(void) {
    static const char pickle[] = "\x80\x02}" TP_STR("\x01", "w")
        TP_TENSOR(TP_STORAGE("FloatStorage", "\x0f", "140234857239856", "K\x06"), "K\0", "K\x06\x85", "K\x01\x85") "s.";
    test_zip zip;
    test_zip_init(&zip);
    test_zip_add(&zip, "archive/data.pkl", pickle, sizeof pickle - 1);
    test_zip_add(&zip, "archive/data/140234857239856", floats, sizeof floats);
    test_zip_finish(&zip);
    anx_checkpoint *checkpoint = open_zip(&zip);
    CU_ASSERT_PTR_NOT_NULL_FATAL(checkpoint);
    CU_ASSERT(memcmp(checkpoint->tensors.items[0].tensor.data, floats, sizeof floats) == 0);
    anx_checkpoint_close(checkpoint);
    test_zip_fini(&zip);
}

/* A descriptor in each of the forms that archivers write: with and without signature, sizes of 4 and 8 bytes. */
static void descriptors_of_every_form(void) {
    for (int form = 0; form < 4; form++) {
        test_zip zip;
        test_zip_init(&zip);
        build(&zip, "m", NULL, floats, integers);
        const size_t at = zip.descriptor[2];
        const uint32_t crc = test_zip_get32(&zip, at + 4);
        zip.n_bytes = at; /* the last entry's descriptor is written anew */
        const uint32_t signature = 0x08074b50;
        const uint64_t size = 16;
        if (form & 1) test_zip_insert(&zip, zip.n_bytes, &signature, 4);
        test_zip_insert(&zip, zip.n_bytes, &crc, 4);
        for (int k = 0; k < 2; k++) test_zip_insert(&zip, zip.n_bytes, &size, form & 2 ? 8 : 4);
        test_zip_finish(&zip);
        check_reads(&zip);
    }
}

/* Sizes and offsets moved to zip64 extra fields, as in archives beyond 4 GiB. */
static void zip64_fields_in_a_small_archive(void) {
    test_zip zip;
    test_zip_init(&zip);
    build(&zip, "m", NULL, floats, integers);
    test_zip_finish(&zip);
    const size_t central = zip.central[2], name_bytes = 8;
    uint8_t extra[28] = {1, 0, 24, 0};
    memcpy(extra + 4, &(uint64_t){16}, 8);
    memcpy(extra + 12, &(uint64_t){16}, 8);
    memcpy(extra + 20, &(uint64_t){zip.local[2]}, 8);
    test_zip_set32(&zip, central + 20, 0xffffffff);
    test_zip_set32(&zip, central + 24, 0xffffffff);
    test_zip_set32(&zip, central + 42, 0xffffffff);
    test_zip_set16(&zip, central + 30, sizeof extra);
    test_zip_insert(&zip, central + 46 + name_bytes, extra, sizeof extra);
    const uint32_t directory_bytes = test_zip_get32(&zip, zip.end + sizeof extra + 12) + (uint32_t)sizeof extra;
    test_zip_set64(&zip, zip.end64 + sizeof extra + 40, directory_bytes);
    test_zip_set64(&zip, zip.locator + sizeof extra + 8, zip.end64 + sizeof extra);
    test_zip_set32(&zip, zip.end + sizeof extra + 12, 0xffffffff);
    test_zip_set32(&zip, zip.end + sizeof extra + 16, 0xffffffff);
    test_zip_set16(&zip, zip.end + sizeof extra + 8, 0xffff);
    test_zip_set16(&zip, zip.end + sizeof extra + 10, 0xffff);
    check_reads(&zip);
}

static void a_wrong_crc_is_accepted_when_asked(void) {
    test_zip zip;
    test_zip_checkpoint(&zip, test_zip_pickle, test_zip_pickle_bytes);
    for (size_t i = 2; i <= 3; i++) {
        test_zip_set32(&zip, zip.central[i] + 16, 0);
        test_zip_set32(&zip, zip.descriptor[i] + 4, 0);
    }
    const char *path = test_zip_save(&zip, "crc.pth");
    anx_checkpoint *checkpoint = NULL;
    ANX_CHECK_STATUS(ANX_ERR_FORMAT, anx_checkpoint_open(path, NULL, &checkpoint, &err), &err);
    const anx_checkpoint_options accept = {.accept_bad_crc = true}, skip = {.skip_crc = true};
    ANX_CHECK_OK(anx_checkpoint_open(path, &accept, &checkpoint, &err), &err);
    check_content(checkpoint);
    CU_ASSERT_EQUAL(checkpoint->n_bad_crc, 2);
    anx_checkpoint_close(checkpoint);
    ANX_CHECK_OK(anx_checkpoint_open(path, &skip, &checkpoint, &err), &err);
    check_content(checkpoint);
    CU_ASSERT_EQUAL(checkpoint->n_bad_crc, 0);
    anx_checkpoint_close(checkpoint);
    test_zip_fini(&zip);
}

/* The CRC of a record is put together from those of its pieces. */
static void a_flipped_bit_anywhere_in_a_large_record_is_noticed(void) {
    enum { n_elems = (5 << 18) + 3, n_bytes = n_elems * 4 }; /* five pieces of 1 MiB and a bit */
    static const char pickle[] = "\x80\x02}" TP_STR("\x01", "w") TP_TENSOR(
        TP_STORAGE("FloatStorage", "\x01", "0", "J\x03\0\x14\0"), "K\0", "J\x03\0\x14\0\x85", "K\x01\x85") "s.";
    uint8_t *data = malloc(n_bytes);
    CU_ASSERT_PTR_NOT_NULL_FATAL(data);
    for (size_t i = 0; i < n_bytes; i++) data[i] = (uint8_t)(i * 2654435761u >> 11);
    test_zip zip;
    test_zip_init(&zip);
    test_zip_add(&zip, "m/data.pkl", pickle, sizeof pickle - 1);
    test_zip_add(&zip, "m/data/0", data, n_bytes);
    test_zip_finish(&zip);
    anx_checkpoint *checkpoint = open_zip(&zip);
    CU_ASSERT_PTR_NOT_NULL(checkpoint);
    anx_checkpoint_close(checkpoint);
    for (size_t k = 0; k < 6; k++) {
        const size_t at = zip.data[1] + k * (n_bytes / 6) + 17;
        zip.bytes[at] ^= 0x10;
        ANX_CHECK_STATUS(ANX_ERR_FORMAT,
                         anx_checkpoint_open(test_zip_save(&zip, "flipped.pth"), NULL, &checkpoint, &err), &err);
        ANX_CHECK_MESSAGE("entry 'm/data/0': its CRC-32 is ", &err);
        zip.bytes[at] ^= 0x10;
    }
    free(data);
    test_zip_fini(&zip);
}

/* A dict that is put into the memo, referred to, and only then filled. */
static void the_memo_holds_references(void) {
    static const char good[] = "\x80\x02}q\x05(" TP_STR("\x05", "model") "}q\x07" TP_STR("\x04", "self") "h\x05" TP_STR(
        "\x05", "later") "h\x07(" TP_STR("\x01", "w") TP_W "uu.";
    test_zip zip;
    test_zip_checkpoint(&zip, good, sizeof good - 1);
    anx_checkpoint *checkpoint = open_zip(&zip);
    CU_ASSERT_PTR_NOT_NULL_FATAL(checkpoint);
    CU_ASSERT_STRING_EQUAL(checkpoint->wrapped_in, "model");
    CU_ASSERT_EQUAL(checkpoint->tensors.count, 1);
    anx_checkpoint_close(checkpoint);
    test_zip_fini(&zip);
}

static void a_module_prefix_goes_when_all_have_it(void) {
    static const char all[] =
        "\x80\x02}(" TP_STR("\x08", "module.w") TP_W TP_STR("\x08", "module.v") TP_W TP_STR("\x05", "epoch") "K\x03u.";
    static const char some[] = "\x80\x02}(" TP_STR("\x08", "module.w") TP_W TP_STR("\x01", "v") TP_W "u.";
    static const char bare[] = "\x80\x02}" TP_STR("\x07", "module.") TP_W "s.";
    static const struct {
        const char *pickle;
        size_t n_bytes;
        bool removed;
        const char *first;
    } cases[] = {{all, sizeof all - 1, true, "w"},
                 {some, sizeof some - 1, false, "module.w"},
                 {bare, sizeof bare - 1, false, "module."}};
    for (size_t i = 0; i < 3; i++) {
        test_zip zip;
        test_zip_checkpoint(&zip, cases[i].pickle, cases[i].n_bytes);
        anx_checkpoint *checkpoint = open_zip(&zip);
        CU_ASSERT_PTR_NOT_NULL_FATAL(checkpoint);
        CU_ASSERT_EQUAL(checkpoint->module_prefix_removed, cases[i].removed);
        CU_ASSERT_STRING_EQUAL(checkpoint->tensors.items[0].name, cases[i].first);
        anx_checkpoint_close(checkpoint);
        test_zip_fini(&zip);
    }
}

static void parameters_as_torch_0_1_pickled_them(void) {
    static const char pickle[] = "\x80\x02}" TP_STR("\x01", "w") TP_GLOBAL("torch.nn.parameter", "Parameter")
        TP_GLOBAL("torch._utils", "_rebuild_tensor") "(" TP_FLOATS "K\x01K\x02K\x02\x86K\x01K\x02\x86tR\x85R"
                                                     "(\x88\x89" TP_HOOKS "tbs.";
    test_zip zip;
    test_zip_checkpoint(&zip, pickle, sizeof pickle - 1);
    anx_checkpoint *checkpoint = open_zip(&zip);
    CU_ASSERT_PTR_NOT_NULL_FATAL(checkpoint);
    const anx_tensor *w = anx_state_dict_find(&checkpoint->tensors, "w");
    CU_ASSERT_PTR_NOT_NULL_FATAL(w);
    CU_ASSERT(w->stride[0] == 1 && w->stride[1] == 2 && *(const float *)w->data == 1);
    anx_checkpoint_close(checkpoint);
    test_zip_fini(&zip);
}

/* Python 2 gave OrderedDict its items as an argument, and wrote byte strings. */
static void an_ordered_dict_of_python_2(void) {
    static const char pickle[] =
        "\x80\x02" TP_GLOBAL("collections", "OrderedDict") "](](U\x01w" TP_W "e](U\x01v" TP_W "ee\x85R.";
    test_zip zip;
    test_zip_checkpoint(&zip, pickle, sizeof pickle - 1);
    anx_checkpoint *checkpoint = open_zip(&zip);
    CU_ASSERT_PTR_NOT_NULL_FATAL(checkpoint);
    CU_ASSERT_EQUAL_FATAL(checkpoint->tensors.count, 2);
    CU_ASSERT_STRING_EQUAL(checkpoint->tensors.items[1].name, "v");
    CU_ASSERT_PTR_EQUAL(checkpoint->tensors.items[0].tensor.data, checkpoint->tensors.items[1].tensor.data);
    anx_checkpoint_close(checkpoint);
    test_zip_fini(&zip);
}

int main(int argc, char **argv) {
    static const anx_test tests[] = {
        {"a_checkpoint_as_torch_lays_it_out", a_checkpoint_as_torch_lays_it_out},
        {"records_at_any_alignment", records_at_any_alignment},
        {"sizes_in_the_local_headers_instead_of_descriptors", sizes_in_the_local_headers_instead_of_descriptors},
        {"big_endian_storages_are_swapped", big_endian_storages_are_swapped},
        {"folders_of_any_name", folders_of_any_name},
        {"a_folder_entry_and_a_comment", a_folder_entry_and_a_comment},
        {"keys_of_any_text", keys_of_any_text},
        {"descriptors_of_every_form", descriptors_of_every_form},
        {"zip64_fields_in_a_small_archive", zip64_fields_in_a_small_archive},
        {"a_wrong_crc_is_accepted_when_asked", a_wrong_crc_is_accepted_when_asked},
        {"a_flipped_bit_anywhere_in_a_large_record_is_noticed", a_flipped_bit_anywhere_in_a_large_record_is_noticed},
        {"the_memo_holds_references", the_memo_holds_references},
        {"a_module_prefix_goes_when_all_have_it", a_module_prefix_goes_when_all_have_it},
        {"parameters_as_torch_0_1_pickled_them", parameters_as_torch_0_1_pickled_them},
        {"an_ordered_dict_of_python_2", an_ordered_dict_of_python_2},
        {NULL, NULL},
    };
    return anx_test_main("torch_zip", tests, argc, argv);
}
