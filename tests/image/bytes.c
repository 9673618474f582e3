#include "tests/image/bytes.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>

static void fail(const char *why) {
    fprintf(stderr, "bytes: %s\n", why);
    exit(2);
}

void bytes_fini(bytes *b) {
    free(b->data);
    *b = (bytes){.data = NULL};
}

void bytes_insert(bytes *b, size_t at, const void *data, size_t n) {
    if (b->data == NULL || b->n + n > b->capacity) {
        b->capacity = (b->n + n) * 2 + 64;
        b->data = realloc(b->data, b->capacity);
        if (b->data == NULL) fail("out of memory");
    }
    memmove(b->data + at + n, b->data + at, b->n - at);
    if (n > 0) memcpy(b->data + at, data, n);
    b->n += n;
}

void bytes_add(bytes *b, const void *data, size_t n) {
    bytes_insert(b, b->n, data, n);
}

void bytes_add_be16(bytes *b, unsigned value) {
    const uint8_t two[] = {(uint8_t)(value >> 8), (uint8_t)value};
    bytes_add(b, two, sizeof two);
}

void bytes_add_be32(bytes *b, uint32_t value) {
    bytes_add_be16(b, value >> 16);
    bytes_add_be16(b, value & 0xffff);
}

void bytes_remove(bytes *b, size_t at, size_t n) {
    memmove(b->data + at, b->data + at + n, b->n - at - n);
    b->n -= n;
}

size_t bytes_find(const bytes *b, const void *data, size_t n) {
    for (size_t at = 0; at + n <= b->n; at++)
        if (memcmp(b->data + at, data, n) == 0) return at;
    fail("not found");
    return 0;
}

void bytes_add_segment(bytes *b, unsigned marker, const void *data, size_t n) {
    bytes_add_be16(b, 0xff00 | marker);
    bytes_add_be16(b, (unsigned)n + 2);
    bytes_add(b, data, n);
}

void bytes_add_png_signature(bytes *b) {
    bytes_add(b, "\x89PNG\r\n\x1a\n", 8);
}

void bytes_add_chunk(bytes *b, const char *type, const void *data, size_t n) {
    bytes_add_be32(b, (uint32_t)n);
    const size_t at = b->n;
    bytes_add(b, type, 4);
    bytes_add(b, data, n);
    bytes_add_be32(b, (uint32_t)crc32_z(0, b->data + at, n + 4));
}

void bytes_add_ihdr(bytes *b, uint32_t width, uint32_t height, unsigned depth, unsigned color, unsigned interlace) {
    bytes header = {.data = NULL};
    bytes_add_be32(&header, width);
    bytes_add_be32(&header, height);
    const uint8_t rest[] = {(uint8_t)depth, (uint8_t)color, 0, 0, (uint8_t)interlace};
    bytes_add(&header, rest, sizeof rest);
    bytes_add_chunk(b, "IHDR", header.data, header.n);
    bytes_fini(&header);
}

void bytes_add_idat(bytes *b, const void *rows, size_t n) {
    uLong packed_bytes = compressBound((uLong)n);
    uint8_t *packed = malloc(packed_bytes);
    if (packed == NULL || compress2(packed, &packed_bytes, rows, (uLong)n, 0) != Z_OK) fail("cannot deflate");
    bytes_add_chunk(b, "IDAT", packed, packed_bytes);
    free(packed);
}

void bytes_add_png(bytes *b, uint32_t width, uint32_t height, unsigned color, const uint8_t *samples) {
    const size_t channels = color == 2 ? 3 : color == 4 ? 2 : color == 6 ? 4 : 1, row_bytes = width * channels;
    bytes rows = {.data = NULL};
    for (uint32_t y = 0; y < height; y++) {
        bytes_add(&rows, "", 1);
        bytes_add(&rows, samples + y * row_bytes, row_bytes);
    }
    bytes_add_png_signature(b);
    bytes_add_ihdr(b, width, height, 8, color, 0);
    bytes_add_idat(b, rows.data, rows.n);
    bytes_add_chunk(b, "IEND", NULL, 0);
    bytes_fini(&rows);
}
