/*
 * The chunks of a PNG file, walked as Pillow's PngImagePlugin walks them: checksums count up to the image data and
 * not afterwards, the last header and palette win, a missing end is no error.
 */
#ifndef ANX_LOADERS_IMAGE_PNG_CHUNKS_H
#define ANX_LOADERS_IMAGE_PNG_CHUNKS_H

#include "src/base/status.h"

enum {
    ANX_PNG_GRAY = 0,
    ANX_PNG_RGB = 2,
    ANX_PNG_PALETTE = 3,
    ANX_PNG_GRAY_ALPHA = 4,
    ANX_PNG_RGBA = 6,
};

typedef struct anx_png_header {
    uint32_t width, height;
    uint8_t depth, color; /* bits per sample, one of ANX_PNG_... : a combination that PNG knows */
    bool interlaced;
    uint8_t palette[256][3]; /* what the file leaves out is black */
    size_t data_at;          /* file offset of the first IDAT chunk */
    bool animated;
} anx_png_header;

/*
 * Everything up to the image data. FORMAT: what makes Pillow refuse a file (truncated, a wrong checksum, a header that
 * PNG does not know, an ancillary chunk without its fields); UNSUPPORTED: an animation whose first frame is not the
 * whole image; LIMIT: a compressed text or profile of more than 1 MiB.
 */
anx_status anx_png_read_header(const uint8_t *bytes, size_t n_bytes, anx_png_header *out, anx_error *err);

/*
 * The run of image data: starting from *at (first header.data_at), sets *data and *data_bytes to the next chunk's
 * data, as far as the file holds them, and *at to what follows. False where the run ends.
 */
bool anx_png_next_data(const uint8_t *bytes, size_t n_bytes, size_t *at, const uint8_t **data, size_t *data_bytes);

/* What follows the image data, from `at` on (where anx_png_next_data left it). FORMAT, LIMIT as above. */
anx_status anx_png_check_tail(const uint8_t *bytes, size_t n_bytes, const anx_png_header *header, size_t at,
                              anx_error *err);

#endif
