/*
 * Small zip archives in memory, laid out as torch.save lays them out (descriptors, padding to 64 bytes, zip64 end
 * record), with the position of every header at hand, so that a test can damage one field and see what is said of it.
 */
#ifndef ANX_TESTS_SUPPORT_TEST_ZIP_H
#define ANX_TESTS_SUPPORT_TEST_ZIP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { TEST_ZIP_MAX_ENTRIES = 16 };

typedef struct test_zip {
    uint8_t *bytes;
    size_t n_bytes, capacity;
    size_t count;
    size_t local[TEST_ZIP_MAX_ENTRIES], data[TEST_ZIP_MAX_ENTRIES]; /* of each entry: where the header and data are */
    size_t descriptor[TEST_ZIP_MAX_ENTRIES];
    size_t central[TEST_ZIP_MAX_ENTRIES]; /* the directory's entry */
    size_t end64, locator, end;
    /* how the next entries are written */
    size_t alignment;     /* of their data; 0: no padding */
    bool no_descriptor;   /* sizes and CRC in the local header instead */
    bool no_zip64;        /* no zip64 end record */
    uint16_t extra_flags; /* set in both headers beside the usual ones */
    /* what central() writes, entry by entry */
    struct {
        char name[400];
        size_t name_bytes, n_bytes;
        uint32_t crc;
        uint16_t flags;
    } entries[TEST_ZIP_MAX_ENTRIES];
} test_zip;

/* An empty archive with alignment 64; release with test_zip_fini. Failing to get memory ends the test program. */
void test_zip_init(test_zip *zip);
void test_zip_fini(test_zip *zip);

/* Adds an entry; the name may hold any bytes but NUL. Returns its index. */
size_t test_zip_add(test_zip *zip, const char *name, const void *data, size_t n_bytes);
/* Writes the central directory and the end records; nothing can be added after. */
void test_zip_finish(test_zip *zip);

/* Fields of a finished (or half finished) archive, at a byte position. */
void test_zip_set16(test_zip *zip, size_t at, uint16_t value);
void test_zip_set32(test_zip *zip, size_t at, uint32_t value);
void test_zip_set64(test_zip *zip, size_t at, uint64_t value);
uint32_t test_zip_get32(const test_zip *zip, size_t at);
/* Inserts n bytes, which moves everything behind them without correcting what points there. */
void test_zip_insert(test_zip *zip, size_t at, const void *data, size_t n_bytes);

/* Writes the archive to a new file in the test's folder and returns its path (anx_test_path's ring). */
const char *test_zip_save(const test_zip *zip, const char *file_name);

/*
 * A valid checkpoint in folder "m": data.pkl (`pickle`, n_pickle bytes), byteorder "little", data/0 with the floats
 * 0 to 5, data/1 with 10 and 11 (int64), version "3\n". Entries 0 to 4 in that order; finished.
 */
void test_zip_checkpoint(test_zip *zip, const void *pickle, size_t n_pickle);

/* {"w": the six floats as (2, 3), "n": the two integers}, as pickle */
extern const char test_zip_pickle[];
extern const size_t test_zip_pickle_bytes;

/* Pieces of pickles. TP_STR takes the length as one byte ("\x03") and the text. */
#define TP_STR(length, text) "X" length "\0\0\0" text
#define TP_GLOBAL(module, name) "c" module "\n" name "\n"
#define TP_STORAGE(class, key_length, key, elems)                                                                      \
    "(" TP_STR("\x07", "storage") TP_GLOBAL("torch", class) TP_STR(key_length, key) TP_STR("\x03", "cpu") elems "tQ"
#define TP_REBUILD TP_GLOBAL("torch._utils", "_rebuild_tensor_v2")
#define TP_HOOKS TP_GLOBAL("collections", "OrderedDict") ")R"
/* offset, size and stride are pickled values */
#define TP_TENSOR(storage, offset, size, stride) TP_REBUILD "(" storage offset size stride "\x89" TP_HOOKS "tR"
#define TP_FLOATS TP_STORAGE("FloatStorage", "\x01", "0", "K\x06")
#define TP_W TP_TENSOR(TP_FLOATS, "K\0", "K\x02K\x03\x86", "K\x03K\x01\x86")

#endif
