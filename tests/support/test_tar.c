#include "tests/support/test_tar.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { BLOCK = 512 };

void test_tar_init(test_tar *tar) {
    *tar = (test_tar){NULL, 0};
}

void test_tar_fini(test_tar *tar) {
    free(tar->bytes);
    test_tar_init(tar);
}

static uint8_t *append(test_tar *tar, size_t n) {
    uint8_t *bytes = realloc(tar->bytes, tar->n_bytes + n + 1);
    if (bytes == NULL) abort();
    tar->bytes = bytes;
    memset(bytes + tar->n_bytes, 0, n);
    tar->n_bytes += n;
    return bytes + tar->n_bytes - n;
}

void test_tar_seal(test_tar *tar, size_t header) {
    uint8_t *h = tar->bytes + header;
    unsigned sum = 0;
    char text[8];
    memset(h + 148, ' ', 8);
    for (int i = 0; i < BLOCK; i++) sum += h[i];
    snprintf(text, sizeof text, "%06o", sum);
    memcpy(h + 148, text, 7); /* digits, NUL; the space stays */
}

size_t test_tar_header(test_tar *tar, const char *name, char type, const char *link, uint64_t size) {
    uint8_t *h = append(tar, BLOCK);
    char text[16];
    memcpy(h, name, strlen(name) < 100 ? strlen(name) : 100);
    memcpy(h + 100,
           "0000644\0"
           "0000000\0"
           "0000000",
           24);
    snprintf(text, sizeof text, "%011llo", (unsigned long long)size);
    memcpy(h + 124, text, 12);
    memcpy(h + 136, "00000000000", 12);
    h[156] = (uint8_t)type;
    if (link != NULL) memcpy(h + 157, link, strlen(link));
    memcpy(h + 257,
           "ustar\0"
           "00",
           8);
    test_tar_seal(tar, tar->n_bytes - BLOCK);
    return tar->n_bytes - BLOCK;
}

void test_tar_data(test_tar *tar, const void *bytes, size_t n_bytes) {
    uint8_t *to = append(tar, (n_bytes + BLOCK - 1) / BLOCK * BLOCK);
    if (n_bytes > 0) memcpy(to, bytes, n_bytes);
}

void test_tar_file(test_tar *tar, const char *name, const char *text) {
    test_tar_header(tar, name, '0', NULL, strlen(text));
    test_tar_data(tar, text, strlen(text));
}

void test_tar_pax(test_tar *tar, const char *key, const char *value) {
    const size_t rest = strlen(key) + strlen(value) + 3; /* ' ', '=', '\n' */
    size_t length = rest + 1, size = rest + 16;
    char digits[32];
    while ((size_t)snprintf(digits, sizeof digits, "%zu", length) + rest != length) length++;
    char *record = malloc(size);
    if (record == NULL) abort();
    snprintf(record, size, "%zu %s=%s\n", length, key, value);
    test_tar_header(tar, "PaxHeaders/x", 'x', NULL, length);
    test_tar_data(tar, record, length);
    free(record);
}

void test_tar_finish(test_tar *tar) {
    append(tar, 2 * BLOCK);
}
