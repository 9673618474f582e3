/* Malformed archives: each is refused with a message that says what is wrong and where. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "loaders/checkpoint/checkpoint.h"
#include "tests/support/anx_test.h"
#include "tests/support/test_zip.h"

static anx_error err;

/* Entries of test_zip_checkpoint. */
enum { PICKLE, BYTEORDER, DATA0, DATA1, VERSION };

/* Fields of a local header, a directory entry and the end records. */
enum { L_FLAGS = 6, L_METHOD = 8, L_CRC = 14, L_SIZE = 18, L_NAME_BYTES = 26, L_EXTRA_BYTES = 28, L_NAME = 30 };
enum {
    C_FLAGS = 8,
    C_METHOD = 10,
    C_CRC = 16,
    C_PACKED = 20,
    C_SIZE = 24,
    C_NAME_BYTES = 28,
    C_EXTRA_BYTES = 30,
    C_DISK = 34,
    C_OFFSET = 42,
    C_NAME = 46
};
enum { E_DISK = 4, E_COUNT_HERE = 8, E_COUNT = 10, E_SIZE = 12, E_OFFSET = 16 };
enum { E64_SIZE = 4, E64_COUNT_HERE = 24, E64_COUNT = 32, E64_BYTES = 40, E64_OFFSET = 48 };

/* Opens the archive, which must fail with that status and that whole message, after the path. */
static void check_refused(test_zip *zip, anx_status status, const char *message) {
    static char expected[4096], got[20000];
    const char *path = test_zip_save(zip, "hostile.pth");
    anx_checkpoint *checkpoint = NULL;
    ANX_CHECK_STATUS(status, anx_checkpoint_open(path, NULL, &checkpoint, &err), &err);
    CU_ASSERT_PTR_NULL(checkpoint);
    anx_checkpoint_close(checkpoint);
    snprintf(expected, sizeof expected, "%s: %s", path, message);
    anx_error_format(&err, got, sizeof got);
    CU_ASSERT_STRING_EQUAL(got, expected);
    if (strcmp(got, expected) != 0) fprintf(stderr, "\n  expected %s\n  got      %s\n", expected, got);
    test_zip_fini(zip);
}

static void valid(test_zip *zip) {
    test_zip_checkpoint(zip, test_zip_pickle, test_zip_pickle_bytes);
}

/* ---- end records ---------------------------------------------------------------------------------------- */

static void truncated_anywhere(void) {
    test_zip zip;
    valid(&zip);
    const size_t n_bytes = zip.n_bytes;
    for (size_t n = 0; n < n_bytes; n++) {
        zip.n_bytes = n;
        anx_checkpoint *checkpoint = NULL;
        const anx_status status = anx_checkpoint_open(test_zip_save(&zip, "truncated.pth"), NULL, &checkpoint, &err);
        CU_ASSERT(status == ANX_ERR_FORMAT || (n < 4 && status == ANX_ERR_UNSUPPORTED));
        CU_ASSERT_PTR_NULL(checkpoint);
    }
    zip.n_bytes = n_bytes / 2;
    char message[200];
    snprintf(message, sizeof message,
             "offset %zu: the zip archive has no end record: the file is truncated, or has something appended",
             n_bytes / 2);
    check_refused(&zip, ANX_ERR_FORMAT, message);
}

static void something_appended(void) {
    test_zip zip;
    valid(&zip);
    test_zip_insert(&zip, zip.n_bytes, "x", 1);
    check_refused(&zip, ANX_ERR_FORMAT,
                  "offset 1161: the zip archive has no end record: the file is truncated, or has something appended");
}

static void something_put_before(void) {
    test_zip zip;
    valid(&zip);
    test_zip_insert(&zip, 0, "PK\x03\x04", 4);
    check_refused(&zip, ANX_ERR_FORMAT,
                  "offset 1122: the zip64 locator points to byte 1062, where no zip64 end record is");
}

static void several_disks(void) {
    test_zip zip;
    valid(&zip);
    test_zip_set16(&zip, zip.end + E_DISK, 1);
    check_refused(&zip, ANX_ERR_FORMAT, "offset 1138: the archive claims to be split over several disks");
    valid(&zip);
    test_zip_set16(&zip, zip.end + E_COUNT_HERE, 4);
    check_refused(&zip, ANX_ERR_FORMAT, "offset 1138: the archive claims to be split over several disks");
    valid(&zip);
    test_zip_set32(&zip, zip.locator + 16, 2);
    check_refused(&zip, ANX_ERR_FORMAT, "offset 1118: the archive claims to be split over several disks");
    valid(&zip);
    test_zip_set64(&zip, zip.end64 + E64_COUNT_HERE, 4);
    check_refused(&zip, ANX_ERR_FORMAT, "offset 1062: the archive claims to be split over several disks");
    valid(&zip);
    test_zip_set16(&zip, zip.central[DATA0] + C_DISK, 1);
    check_refused(&zip, ANX_ERR_FORMAT, "entry 'm/data/0': it claims to be on another disk");
}

static void a_directory_placed_wrongly(void) {
    test_zip zip;
    valid(&zip);
    test_zip_set32(&zip, zip.end + E_OFFSET, 5);
    check_refused(&zip, ANX_ERR_FORMAT, "offset 1062: the zip64 end record and the end record disagree");
    valid(&zip);
    test_zip_set32(&zip, zip.end + E_OFFSET, 0xfffffffe);
    test_zip_set64(&zip, zip.end64 + E64_OFFSET, 0xfffffffe);
    check_refused(&zip, ANX_ERR_FORMAT,
                  "offset 1138: the end record places the central directory at byte 4294967294 with 276 bytes; it must "
                  "end at byte 1062");
    valid(&zip);
    test_zip_set32(&zip, zip.end + E_SIZE, 0xffffffff);
    test_zip_set64(&zip, zip.end64 + E64_BYTES, UINT64_MAX - 3);
    check_refused(&zip, ANX_ERR_FORMAT,
                  "offset 1138: the end record places the central directory at byte 786 with 18446744073709551612 "
                  "bytes; it must end at byte 1062");
}

static void a_wrong_number_of_entries(void) {
    test_zip zip;
    for (uint16_t count = 4; count <= 6; count += 2) {
        valid(&zip);
        test_zip_set16(&zip, zip.end + E_COUNT_HERE, count);
        test_zip_set16(&zip, zip.end + E_COUNT, count);
        test_zip_set64(&zip, zip.end64 + E64_COUNT_HERE, count);
        test_zip_set64(&zip, zip.end64 + E64_COUNT, count);
        check_refused(&zip, ANX_ERR_FORMAT,
                      count == 4 ? "offset 1007: 55 bytes after the last of the central directory's 4 entries"
                                 : "offset 1062: a central directory entry was expected");
    }
    valid(&zip);
    test_zip_set16(&zip, zip.end + E_COUNT_HERE, 0xffff);
    test_zip_set16(&zip, zip.end + E_COUNT, 0xffff);
    test_zip_set64(&zip, zip.end64 + E64_COUNT_HERE, UINT64_MAX);
    test_zip_set64(&zip, zip.end64 + E64_COUNT, UINT64_MAX);
    check_refused(
        &zip, ANX_ERR_FORMAT,
        "offset 1138: the end record counts 18446744073709551615 entries; a directory of 276 bytes cannot hold them");
}

static void zip64_records_that_do_not_fit(void) {
    test_zip zip;
    valid(&zip);
    test_zip_set64(&zip, zip.locator + 8, 7);
    check_refused(&zip, ANX_ERR_FORMAT,
                  "offset 1118: the zip64 locator points to byte 7, where no zip64 end record is");
    valid(&zip);
    test_zip_set64(&zip, zip.locator + 8, UINT64_MAX);
    check_refused(&zip, ANX_ERR_FORMAT,
                  "offset 1118: the zip64 locator points to byte 18446744073709551615, where no zip64 end record is");
    valid(&zip);
    test_zip_set64(&zip, zip.end64 + E64_SIZE, 45);
    check_refused(&zip, ANX_ERR_FORMAT, "offset 1062: the zip64 end record does not reach to its locator");
    valid(&zip);
    test_zip_set64(&zip, zip.end64 + E64_COUNT_HERE, 4);
    test_zip_set64(&zip, zip.end64 + E64_COUNT, 4);
    check_refused(&zip, ANX_ERR_FORMAT, "offset 1062: the zip64 end record and the end record disagree");
    test_zip_init(&zip);
    zip.no_zip64 = true;
    test_zip_add(&zip, "m/data.pkl", test_zip_pickle, test_zip_pickle_bytes);
    test_zip_finish(&zip);
    test_zip_set32(&zip, zip.end + E_OFFSET, 0xffffffff);
    check_refused(&zip, ANX_ERR_FORMAT, "offset 403: the end record refers to a zip64 end record, which is missing");
}

/* ---- the directory -------------------------------------------------------------------------------------- */

static void directory_entries_that_are_none(void) {
    test_zip zip;
    valid(&zip);
    zip.bytes[zip.central[DATA0]] = 'Q';
    check_refused(&zip, ANX_ERR_FORMAT, "offset 899: a central directory entry was expected");
    valid(&zip);
    test_zip_set16(&zip, zip.central[VERSION] + C_NAME_BYTES, 200);
    check_refused(&zip, ANX_ERR_FORMAT, "offset 1007: a central directory entry reaches beyond the directory");
    valid(&zip);
    test_zip_set16(&zip, zip.central[VERSION] + C_NAME_BYTES, 0);
    check_refused(&zip, ANX_ERR_FORMAT, "offset 1007: a central directory entry without a name");
    valid(&zip);
    zip.bytes[zip.central[DATA1] + C_NAME + 3] = '\0';
    check_refused(&zip, ANX_ERR_FORMAT, "offset 953: a central directory entry has a NUL in its name");
    valid(&zip);
    test_zip_set16(&zip, zip.central[VERSION] + C_NAME_BYTES, 7);
    test_zip_set16(&zip, zip.central[VERSION] + C_EXTRA_BYTES, 2);
    check_refused(&zip, ANX_ERR_FORMAT, "entry 'm/versi': its extra fields in the directory are malformed");
    valid(&zip);
    test_zip_set32(&zip, zip.central[DATA0] + C_SIZE, 0xffffffff);
    check_refused(&zip, ANX_ERR_FORMAT, "entry 'm/data/0': its zip64 sizes are missing from the directory");
}

/* ---- names ---------------------------------------------------------------------------------------------- */

static void names_refused(const char *name, const char *message) {
    test_zip zip;
    test_zip_init(&zip);
    test_zip_add(&zip, "m/data.pkl", test_zip_pickle, test_zip_pickle_bytes);
    test_zip_add(&zip, name, "x", 1);
    test_zip_finish(&zip);
    check_refused(&zip, ANX_ERR_FORMAT, message);
}

static void names_that_leave_the_folder(void) {
    names_refused("/etc/passwd", "entry '/etc/passwd': the name is absolute or climbs out of its folder");
    names_refused("\\windows", "entry '\\windows': the name is absolute or climbs out of its folder");
    names_refused("c:\\windows", "entry 'c:\\windows': the name is absolute or climbs out of its folder");
    names_refused("m/../../x", "entry 'm/../../x': the name is absolute or climbs out of its folder");
    names_refused("..", "entry '..': the name is absolute or climbs out of its folder");
    names_refused("m/..", "entry 'm/..': the name is absolute or climbs out of its folder");
    names_refused("m\x1b[31m/..", "entry 'm\\x1b[31m/..': the name is absolute or climbs out of its folder");
    names_refused("other/data/0", "entry 'other/data/0': it is not in the folder 'm/' of the entries before it");
    names_refused("mm/data/0", "entry 'mm/data/0': it is not in the folder 'm/' of the entries before it");
    names_refused("m", "entry 'm': it is not in the folder 'm/' of the entries before it");
    names_refused("m/data.pkl", "entry 'm/data.pkl': the name occurs twice, at bytes 0 and 347");
    names_refused("m/Data.PKL",
                  "entry 'm/Data.PKL': the name occurs twice but for upper and lower case, at bytes 0 and 347");
    names_refused("\xff/x", "entry '\\xff/x': the name is not UTF-8, as its flags claim");
}

static void the_first_entry_outside_of_a_folder(void) {
    test_zip zip;
    test_zip_init(&zip);
    test_zip_add(&zip, "first", "x", 1);
    test_zip_add(&zip, "m/data.pkl", test_zip_pickle, test_zip_pickle_bytes);
    test_zip_finish(&zip);
    check_refused(&zip, ANX_ERR_FORMAT, "entry 'first': it is in no folder; PyTorch puts all entries into one");
}

/* ---- local headers -------------------------------------------------------------------------------------- */

static void local_headers_that_disagree_with_the_directory(void) {
    test_zip zip;
    valid(&zip);
    zip.bytes[zip.local[DATA0] + L_NAME + 7] = '1';
    check_refused(&zip, ANX_ERR_FORMAT, "entry 'm/data/0': its local header at byte 470 has another name: 'm/data/1'");
    valid(&zip);
    zip.bytes[zip.local[DATA0]] = 'Q';
    check_refused(&zip, ANX_ERR_FORMAT, "entry 'm/data/0': no local header at byte 470, where the directory places it");
    valid(&zip);
    test_zip_set32(&zip, zip.central[DATA0] + C_OFFSET, (uint32_t)zip.central[0]);
    check_refused(&zip, ANX_ERR_FORMAT, "entry 'm/data/0': no local header at byte 786, where the directory places it");
    valid(&zip);
    test_zip_set32(&zip, zip.central[DATA0] + C_OFFSET, 0xfffffffe);
    check_refused(&zip, ANX_ERR_FORMAT,
                  "entry 'm/data/0': no local header at byte 4294967294, where the directory places it");
    valid(&zip);
    test_zip_set16(&zip, zip.local[DATA0] + L_EXTRA_BYTES, 65000);
    check_refused(&zip, ANX_ERR_FORMAT, "entry 'm/data/0': its local header at byte 470 reaches into the directory");
    valid(&zip);
    test_zip_set16(&zip, zip.local[DATA0] + L_EXTRA_BYTES, 3);
    check_refused(&zip, ANX_ERR_FORMAT,
                  "entry 'm/data/0': the extra fields of its local header at byte 470 are malformed");
    valid(&zip);
    test_zip_set16(&zip, zip.local[DATA0] + L_FLAGS, 0x0800);
    check_refused(
        &zip, ANX_ERR_FORMAT,
        "entry 'm/data/0': its local header at byte 470 has flags 0x0800 and method 0, the directory 0x0808 and 0");
    valid(&zip);
    test_zip_set16(&zip, zip.local[DATA0] + L_METHOD, 8);
    check_refused(
        &zip, ANX_ERR_FORMAT,
        "entry 'm/data/0': its local header at byte 470 has flags 0x0808 and method 8, the directory 0x0808 and 0");
    valid(&zip);
    test_zip_set32(&zip, zip.local[DATA0] + L_SIZE, 23);
    check_refused(&zip, ANX_ERR_FORMAT,
                  "entry 'm/data/0': its local header at byte 470 says CRC-32 00000000 and 23 bytes, the directory "
                  "91e79017 and 24");
    valid(&zip);
    test_zip_set32(&zip, zip.local[DATA0] + L_CRC, 0x12345678);
    check_refused(&zip, ANX_ERR_FORMAT,
                  "entry 'm/data/0': its local header at byte 470 says CRC-32 12345678 and 0 bytes, the directory "
                  "91e79017 and 24");
    test_zip_init(&zip);
    zip.no_descriptor = true;
    test_zip_add(&zip, "m/data.pkl", test_zip_pickle, test_zip_pickle_bytes);
    test_zip_finish(&zip);
    test_zip_set32(&zip, zip.local[0] + L_CRC, 0);
    check_refused(&zip, ANX_ERR_FORMAT,
                  "entry 'm/data.pkl': its local header at byte 0 says CRC-32 00000000 and 267 bytes, the directory "
                  "34f95c95 and 267");
}

static void sizes_that_reach_too_far(void) {
    test_zip zip;
    valid(&zip);
    test_zip_set32(&zip, zip.central[VERSION] + C_PACKED, 4000);
    test_zip_set32(&zip, zip.central[VERSION] + C_SIZE, 4000);
    check_refused(&zip, ANX_ERR_FORMAT,
                  "entry 'm/version': its 4000 bytes reach beyond the records, which end at byte 786");
    valid(&zip);
    test_zip_set32(&zip, zip.central[DATA0] + C_PACKED, 25);
    test_zip_set32(&zip, zip.central[DATA0] + C_SIZE, 25);
    check_refused(&zip, ANX_ERR_FORMAT,
                  "entry 'm/data/0': no data descriptor at byte 537 that agrees with the directory");
    valid(&zip);
    test_zip_set32(&zip, zip.central[DATA0] + C_SIZE, 25);
    check_refused(&zip, ANX_ERR_FORMAT, "entry 'm/data/0': it is stored, yet its sizes are 24 packed and 25 unpacked");
    valid(&zip);
    zip.bytes[zip.descriptor[DATA0] + 8] ^= 1;
    check_refused(&zip, ANX_ERR_FORMAT,
                  "entry 'm/data/0': no data descriptor at byte 536 that agrees with the directory");
    valid(&zip);
    zip.bytes[zip.descriptor[DATA0] + 4] ^= 1;
    check_refused(&zip, ANX_ERR_FORMAT,
                  "entry 'm/data/0': no data descriptor at byte 536 that agrees with the directory");
    valid(&zip);
    zip.bytes[zip.descriptor[DATA0]] ^= 1;
    check_refused(&zip, ANX_ERR_FORMAT,
                  "entry 'm/data/0': no data descriptor at byte 536 that agrees with the directory");
}

static void records_that_overlap(void) {
    test_zip zip;
    valid(&zip);
    /* A second name for the same bytes: the local header inside another record's data agrees with the directory. */
    test_zip_fini(&zip);
    test_zip inner;
    test_zip_init(&inner);
    inner.alignment = 0;
    test_zip_add(&inner, "m/data/1", "0123456789abcdef", 16);
    test_zip_init(&zip);
    zip.alignment = 0;
    test_zip_add(&zip, "m/data.pkl", test_zip_pickle, test_zip_pickle_bytes);
    const size_t outer = test_zip_add(&zip, "m/data/0", inner.bytes, inner.n_bytes);
    test_zip_add(&zip, "m/data/1", "0123456789abcdef", 16);
    zip.local[2] = zip.data[outer];
    test_zip_finish(&zip);
    test_zip_fini(&inner);
    check_refused(&zip, ANX_ERR_FORMAT,
                  "entry 'm/data/1': it starts at byte 361, inside entry 'm/data/0', which ends at byte 447");
}

static void what_is_not_simply_stored(void) {
    static const struct {
        uint16_t flags, method;
        const char *message;
    } cases[] = {
        {0x0809, 0, "entry 'm/data/0': it is encrypted"},
        {0x0848, 0, "entry 'm/data/0': it is encrypted"},
        {0x2808, 0, "entry 'm/data/0': it is encrypted"},
        {0x0818, 0, "entry 'm/data/0': it has general purpose flags 0x0010 set, which are not known"},
        {0x0808, 8,
         "entry 'm/data/0': it is compressed (method 8); checkpoints are stored uncompressed: unpack the archive and "
         "pack it again with `zip -0 -r`, or save it again with torch.save"},
        {0x0808, 93,
         "entry 'm/data/0': it is compressed (method 93); checkpoints are stored uncompressed: unpack the archive and "
         "pack it again with `zip -0 -r`, or save it again with torch.save"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        test_zip zip;
        valid(&zip);
        test_zip_set16(&zip, zip.local[DATA0] + L_FLAGS, cases[i].flags);
        test_zip_set16(&zip, zip.central[DATA0] + C_FLAGS, cases[i].flags);
        test_zip_set16(&zip, zip.local[DATA0] + L_METHOD, cases[i].method);
        test_zip_set16(&zip, zip.central[DATA0] + C_METHOD, cases[i].method);
        check_refused(&zip, ANX_ERR_UNSUPPORTED, cases[i].message);
    }
}

/* What our walk does not look at, libzip's consistency check does; its words differ from release to release. */
static void what_libzip_alone_notices(void) {
    test_zip zip;
    valid(&zip);
    test_zip_set16(&zip, zip.local[DATA0] + 4, 20); /* a higher version needed than the directory says */
    anx_checkpoint *checkpoint = NULL;
    ANX_CHECK_STATUS(ANX_ERR_FORMAT, anx_checkpoint_open(test_zip_save(&zip, "libzip.pth"), NULL, &checkpoint, &err),
                     &err);
    ANX_CHECK_MESSAGE("libzip.pth: libzip refuses the archive: Zip archive inconsistent", &err);
    test_zip_fini(&zip);
}

/* ---- contents ------------------------------------------------------------------------------------------- */

static void damaged_data(void) {
    test_zip zip;
    valid(&zip);
    zip.bytes[zip.data[DATA0] + 3] ^= 0x80;
    check_refused(&zip, ANX_ERR_FORMAT,
                  "entry 'm/data/0': its CRC-32 is a3540db4, the directory says 91e79017: damaged, or written with "
                  "torch.serialization.set_crc32_options(False); --accept-bad-crc reads such a file all the same");
    valid(&zip);
    zip.bytes[zip.data[VERSION]] ^= 1;
    check_refused(&zip, ANX_ERR_FORMAT,
                  "entry 'm/version': its CRC-32 is 4c7caf90, the directory says 55679ed1: damaged, or written with "
                  "torch.serialization.set_crc32_options(False); --accept-bad-crc reads such a file all the same");
}

/* A checkpoint with one more entry, or (for an entry that is there) another content. */
static void entry_refused(const char *name, const char *content, anx_status status, const char *message) {
    test_zip zip;
    test_zip_init(&zip);
    test_zip_add(&zip, "m/data.pkl", test_zip_pickle, test_zip_pickle_bytes);
    test_zip_add(&zip, "m/data/0", "012345678901234567890123", 24);
    test_zip_add(&zip, "m/data/1", "0123456789abcdef", 16);
    test_zip_add(&zip, name, content, strlen(content));
    test_zip_finish(&zip);
    check_refused(&zip, status, message);
}

static void entries_with_senseless_content(void) {
    entry_refused("m/byteorder", "middle", ANX_ERR_FORMAT,
                  "entry 'm/byteorder': it says 'middle'; 'little' or 'big' was expected");
    entry_refused("m/byteorder", "", ANX_ERR_FORMAT, "entry 'm/byteorder': it says ''; 'little' or 'big' was expected");
    entry_refused("m/version", "three\n", ANX_ERR_FORMAT,
                  "entry 'm/version': it says 'three\\x0a'; a number was expected");
    entry_refused("m/version", "3\n\n", ANX_ERR_FORMAT,
                  "entry 'm/version': it says '3\\x0a\\x0a'; a number was expected");
    entry_refused("m/version", "11\n", ANX_ERR_UNSUPPORTED,
                  "entry 'm/version': file format version 11; at most 10 is known");
    entry_refused("m/version", "99999999999999999999\n", ANX_ERR_FORMAT,
                  "entry 'm/version': it says '99999999999999999999\\x0a'; a number was expected");
}

static void archives_of_another_kind(void) {
    static const struct {
        const char *name, *message;
    } cases[] = {
        {"m/constants.pkl", "a TorchScript archive (torch.jit.save): it holds a program; load it with torch.jit.load "
                            "in Python and save its state_dict() with torch.save"},
        {"model.weights.h5", "a Keras model: convert the weights to PyTorch or safetensors first"},
        {"weights/arr_0.npy", "a NumPy archive (npz): convert the weights to PyTorch or safetensors first"},
        {"m/models/model.json", "an exported program (torch.export.save): load it with torch.export.load in Python and "
                                "save its state_dict with torch.save"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
        entry_refused(cases[i].name, "x", ANX_ERR_UNSUPPORTED, cases[i].message);
    test_zip zip;
    test_zip_init(&zip);
    test_zip_add(&zip, "photos/cat.jpg", "x", 1);
    test_zip_finish(&zip);
    check_refused(&zip, ANX_ERR_UNSUPPORTED,
                  "a zip archive that is not a PyTorch checkpoint: it has no entry FOLDER/data.pkl");
    test_zip_init(&zip);
    test_zip_finish(&zip);
    check_refused(
        &zip, ANX_ERR_UNSUPPORTED,
        "an unknown kind of file, beginning with 'PK\\x06\\x06,\\x00\\x00\\x00\\x00\\x00\\x00\\x00\\x1e\\x03-\\x00'; a "
        "PyTorch checkpoint (zip, legacy stream or tar), safetensors or anx bin was expected");
    test_zip_init(&zip);
    zip.no_zip64 = true;
    test_zip_finish(&zip);
    check_refused(&zip, ANX_ERR_UNSUPPORTED,
                  "a zip archive that is not a PyTorch checkpoint: it has no entry FOLDER/data.pkl");
}

int main(int argc, char **argv) {
    static const anx_test tests[] = {
        {"truncated_anywhere", truncated_anywhere},
        {"something_appended", something_appended},
        {"something_put_before", something_put_before},
        {"several_disks", several_disks},
        {"a_directory_placed_wrongly", a_directory_placed_wrongly},
        {"a_wrong_number_of_entries", a_wrong_number_of_entries},
        {"zip64_records_that_do_not_fit", zip64_records_that_do_not_fit},
        {"directory_entries_that_are_none", directory_entries_that_are_none},
        {"names_that_leave_the_folder", names_that_leave_the_folder},
        {"the_first_entry_outside_of_a_folder", the_first_entry_outside_of_a_folder},
        {"local_headers_that_disagree_with_the_directory", local_headers_that_disagree_with_the_directory},
        {"sizes_that_reach_too_far", sizes_that_reach_too_far},
        {"records_that_overlap", records_that_overlap},
        {"what_is_not_simply_stored", what_is_not_simply_stored},
        {"what_libzip_alone_notices", what_libzip_alone_notices},
        {"damaged_data", damaged_data},
        {"entries_with_senseless_content", entries_with_senseless_content},
        {"archives_of_another_kind", archives_of_another_kind},
        {NULL, NULL},
    };
    return anx_test_main("hostile_zip", tests, argc, argv);
}
