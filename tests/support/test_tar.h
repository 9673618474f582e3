/* Tar archives made by hand, good or not: what a writer would refuse to write. Layout: POSIX ustar. */
#ifndef ANX_TESTS_SUPPORT_TEST_TAR_H
#define ANX_TESTS_SUPPORT_TEST_TAR_H

#include <stddef.h>
#include <stdint.h>

typedef struct test_tar {
    uint8_t *bytes; /* malloc'd */
    size_t n_bytes;
} test_tar;

void test_tar_init(test_tar *tar);
void test_tar_fini(test_tar *tar);
/* A header (name of at most 100 bytes) of an entry of that type ('0' a file, '5' a folder, ...) and size; its place. */
size_t test_tar_header(test_tar *tar, const char *name, char type, const char *link, uint64_t size);
/* Computes the checksum of the header at that place again, after it was changed. */
void test_tar_seal(test_tar *tar, size_t header);
/* Bytes, filled up to a whole block. */
void test_tar_data(test_tar *tar, const void *bytes, size_t n_bytes);
/* A file: header and data. */
void test_tar_file(test_tar *tar, const char *name, const char *text);
/* A pax header with one record before the next entry. */
void test_tar_pax(test_tar *tar, const char *key, const char *value);
/* The two blocks of zeros at the end. */
void test_tar_finish(test_tar *tar);

#endif
