/* JPEG files of every kind that libjpeg can write, for tests. */
#ifndef ANX_TESTS_IMAGE_JPEG_ENCODE_H
#define ANX_TESTS_IMAGE_JPEG_ENCODE_H

#include <stddef.h>
#include <stdint.h>

typedef struct jpeg_kind {
    /* gray; rgb (stored so); ycc (from RGB); cmyk; ycck (from CMYK); two (two components, which mean nothing) */
    const char *space;
    int quality;
    const char *sampling; /* "2x1,1x1,1x1": horizontal x vertical factor of each component */
    /* p(rogressive) a(rithmetic) o(ptimized) n(o JFIF and Adobe markers) s(eparate scans), or "-" */
    const char *flags;
    unsigned restart; /* MCUs between restart markers, 0 for none */
} jpeg_kind;

/* Samples of one pixel as `space` takes them; 0 for an unknown one. */
int jpeg_kind_channels(const char *space);

/* The file, malloc'd; exits with a message where libjpeg cannot. samples: (height, width, channels). */
uint8_t *jpeg_encode(const jpeg_kind *kind, unsigned width, unsigned height, const uint8_t *samples, size_t *n_bytes);

#endif
