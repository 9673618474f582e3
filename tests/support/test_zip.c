#include "tests/support/test_zip.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>

#include "tests/support/anx_test.h"

const char test_zip_pickle[] = "\x80\x02}(" TP_STR("\x01", "w") TP_W TP_STR("\x01", "n")
    TP_TENSOR(TP_STORAGE("LongStorage", "\x01", "1", "K\x02"), "K\0", "K\x02\x85", "K\x01\x85") "u.";
const size_t test_zip_pickle_bytes = sizeof test_zip_pickle - 1;

static void make_room(test_zip *zip, size_t n) {
    if (zip->capacity - zip->n_bytes >= n) return;
    zip->capacity = (zip->n_bytes + n) * 2;
    zip->bytes = realloc(zip->bytes, zip->capacity);
    if (zip->bytes == NULL) {
        perror("test_zip");
        exit(2);
    }
}

void test_zip_insert(test_zip *zip, size_t at, const void *data, size_t n_bytes) {
    make_room(zip, n_bytes);
    memmove(zip->bytes + at + n_bytes, zip->bytes + at, zip->n_bytes - at);
    if (n_bytes > 0) memcpy(zip->bytes + at, data, n_bytes);
    zip->n_bytes += n_bytes;
}

static void append(test_zip *zip, const void *data, size_t n_bytes) {
    test_zip_insert(zip, zip->n_bytes, data, n_bytes);
}

static void u16(test_zip *zip, size_t value) {
    const uint16_t v = (uint16_t)value;
    append(zip, &v, sizeof v);
}

static void u32(test_zip *zip, size_t value) {
    const uint32_t v = (uint32_t)value;
    append(zip, &v, sizeof v);
}

static void u64(test_zip *zip, uint64_t value) {
    append(zip, &value, sizeof value);
}

void test_zip_init(test_zip *zip) {
    memset(zip, 0, sizeof *zip);
    zip->alignment = 64;
}

void test_zip_fini(test_zip *zip) {
    free(zip->bytes);
    memset(zip, 0, sizeof *zip);
}

size_t test_zip_add(test_zip *zip, const char *name, const void *data, size_t n_bytes) {
    const size_t i = zip->count++, name_bytes = strlen(name);
    const bool deferred = n_bytes > 0 && !zip->no_descriptor;
    const uint32_t crc = (uint32_t)crc32_z(crc32(0, NULL, 0), data, n_bytes);
    const uint16_t flags = (uint16_t)((deferred ? 0x0808 : 0x0800) | zip->extra_flags);
    snprintf(zip->entries[i].name, sizeof zip->entries[i].name, "%s", name);
    zip->entries[i].name_bytes = name_bytes;
    zip->entries[i].n_bytes = n_bytes;
    zip->entries[i].crc = crc;
    zip->entries[i].flags = flags;
    zip->local[i] = zip->n_bytes;
    u32(zip, 0x04034b50);
    u16(zip, 0);
    u16(zip, flags);
    u16(zip, 0);
    u32(zip, 0); /* time and date */
    u32(zip, deferred ? 0 : crc);
    u32(zip, deferred ? 0 : n_bytes);
    u32(zip, deferred ? 0 : n_bytes);
    u16(zip, name_bytes);
    const size_t start = zip->n_bytes + 2 + name_bytes + 4;
    const size_t padding = zip->alignment > 0 ? (zip->alignment - start % zip->alignment) % zip->alignment : 0;
    u16(zip, zip->alignment > 0 ? padding + 4 : 0);
    append(zip, name, name_bytes);
    if (zip->alignment > 0) {
        append(zip, "FB", 2);
        u16(zip, padding);
        for (size_t k = 0; k < padding; k++) append(zip, "Z", 1);
    }
    zip->data[i] = zip->n_bytes;
    append(zip, data, n_bytes);
    zip->descriptor[i] = zip->n_bytes;
    if (deferred) {
        u32(zip, 0x08074b50);
        u32(zip, crc);
        u32(zip, n_bytes);
        u32(zip, n_bytes);
    }
    return i;
}

static void central(test_zip *zip, size_t i) {
    zip->central[i] = zip->n_bytes;
    u32(zip, 0x02014b50);
    u16(zip, 0);
    u16(zip, 0);
    u16(zip, zip->entries[i].flags);
    u16(zip, 0);
    u32(zip, 0);
    u32(zip, zip->entries[i].crc);
    u32(zip, zip->entries[i].n_bytes);
    u32(zip, zip->entries[i].n_bytes);
    u16(zip, zip->entries[i].name_bytes);
    u16(zip, 0);
    u16(zip, 0);
    u16(zip, 0);
    u16(zip, 0);
    u32(zip, 0);
    u32(zip, zip->local[i]);
    append(zip, zip->entries[i].name, zip->entries[i].name_bytes);
}

void test_zip_finish(test_zip *zip) {
    const size_t start = zip->n_bytes;
    for (size_t i = 0; i < zip->count; i++) central(zip, i);
    const size_t length = zip->n_bytes - start;
    if (!zip->no_zip64) {
        zip->end64 = zip->n_bytes;
        u32(zip, 0x06064b50);
        u64(zip, 44);
        u16(zip, 0x031e);
        u16(zip, 0x002d);
        u32(zip, 0);
        u32(zip, 0);
        u64(zip, zip->count);
        u64(zip, zip->count);
        u64(zip, length);
        u64(zip, start);
        zip->locator = zip->n_bytes;
        u32(zip, 0x07064b50);
        u32(zip, 0);
        u64(zip, zip->end64);
        u32(zip, 1);
    }
    zip->end = zip->n_bytes;
    u32(zip, 0x06054b50);
    u16(zip, 0);
    u16(zip, 0);
    u16(zip, zip->count);
    u16(zip, zip->count);
    u32(zip, length);
    u32(zip, start);
    u16(zip, 0);
}

void test_zip_set16(test_zip *zip, size_t at, uint16_t value) {
    memcpy(zip->bytes + at, &value, sizeof value);
}

void test_zip_set32(test_zip *zip, size_t at, uint32_t value) {
    memcpy(zip->bytes + at, &value, sizeof value);
}

void test_zip_set64(test_zip *zip, size_t at, uint64_t value) {
    memcpy(zip->bytes + at, &value, sizeof value);
}

uint32_t test_zip_get32(const test_zip *zip, size_t at) {
    uint32_t value;
    memcpy(&value, zip->bytes + at, sizeof value);
    return value;
}

const char *test_zip_save(const test_zip *zip, const char *file_name) {
    const char *path = anx_test_path(file_name);
    FILE *f = fopen(path, "wb");
    if (f == NULL || fwrite(zip->bytes, 1, zip->n_bytes, f) != zip->n_bytes || fclose(f) != 0) {
        perror(path);
        exit(2);
    }
    return path;
}

void test_zip_checkpoint(test_zip *zip, const void *pickle, size_t n_pickle) {
    const float floats[6] = {0, 1, 2, 3, 4, 5};
    const int64_t integers[2] = {10, 11};
    test_zip_init(zip);
    test_zip_add(zip, "m/data.pkl", pickle, n_pickle);
    test_zip_add(zip, "m/byteorder", "little", 6);
    test_zip_add(zip, "m/data/0", floats, sizeof floats);
    test_zip_add(zip, "m/data/1", integers, sizeof integers);
    test_zip_add(zip, "m/version", "3\n", 2);
    test_zip_finish(zip);
}
