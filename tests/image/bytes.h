/* Image files put together piece by piece, for tests. */
#ifndef ANX_TESTS_IMAGE_BYTES_H
#define ANX_TESTS_IMAGE_BYTES_H

#include <stddef.h>
#include <stdint.h>

/* Grows as it is written to; exits where memory runs out. */
typedef struct bytes {
    uint8_t *data;
    size_t n, capacity;
} bytes;

void bytes_fini(bytes *b);
void bytes_add(bytes *b, const void *data, size_t n);
void bytes_add_be16(bytes *b, unsigned value);
void bytes_add_be32(bytes *b, uint32_t value);
/* Takes away what lies from `at` on, n bytes. */
void bytes_remove(bytes *b, size_t at, size_t n);
void bytes_insert(bytes *b, size_t at, const void *data, size_t n);
/* Where the given bytes first occur; exits where they do not. */
size_t bytes_find(const bytes *b, const void *data, size_t n);

/* A JPEG segment: FF, marker, length, data. */
void bytes_add_segment(bytes *b, unsigned marker, const void *data, size_t n);

void bytes_add_png_signature(bytes *b);
/* A PNG chunk with its checksum. */
void bytes_add_chunk(bytes *b, const char *type, const void *data, size_t n);
void bytes_add_ihdr(bytes *b, uint32_t width, uint32_t height, unsigned depth, unsigned color, unsigned interlace);
/* An IDAT chunk of the given rows (each with its filter byte), stored: of the same size with every zlib. */
void bytes_add_idat(bytes *b, const void *rows, size_t n);
/* A whole PNG of 8 bits per sample, filter 0, from (height, width, channels) samples. */
void bytes_add_png(bytes *b, uint32_t width, uint32_t height, unsigned color, const uint8_t *samples);

#endif
