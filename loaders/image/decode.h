/*
 * Decoding of image files to 8-bit RGB rows as Pillow's Image.open(f).convert("RGB") gives them.
 */
#ifndef ANX_LOADERS_IMAGE_DECODE_H
#define ANX_LOADERS_IMAGE_DECODE_H

#include "src/base/status.h"

/* Twice Pillow's Image.MAX_IMAGE_PIXELS: beyond it, Image.open raises DecompressionBombError. */
enum { ANX_IMAGE_MAX_PIXELS = 178956970 };

/* A part of an image, half-open in both directions, in pixels. */
typedef struct anx_image_region {
    int32_t x0, x1, y0, y1;
} anx_image_region;

/*
 * Where decoded rows go. A decoder may start over after some rows (when a shortcut turns out not to apply): then
 * `begin` is called again, and all rows of the region follow.
 */
typedef struct anx_image_sink {
    /*
     * Called when the image's size is known, before any memory is asked for on its account: sets *needed (not empty,
     * inside the image) to the part that is wanted. An error stops the decoding. Called a second time only to start
     * over, with the same size.
     */
    anx_status (*begin)(void *context, int32_t width, int32_t height, anx_image_region *needed, anx_error *err);
    /*
     * One needed row, from top to bottom: x1 - x0 RGB pixels, and at least ANX_IMAGE_ROW_PADDING_BYTES readable
     * bytes after them.
     */
    void (*row)(void *context, int32_t y, const uint8_t *rgb);
    void *context;
} anx_image_sink;

enum { ANX_IMAGE_ROW_PADDING_BYTES = 64 };

/*
 * Decodes a JPEG or PNG file, told apart by its first bytes. Where only a part of the image is needed, no more than
 * that part may be computed; which files are refused does not depend on it.
 * Errors: FORMAT (malformed, truncated; the message says what, err->offset where it is known), UNSUPPORTED (another
 * image format, named; or a kind of JPEG or PNG that is not read: lossless, partial first frames), LIMIT (more than
 * ANX_IMAGE_MAX_PIXELS), OUT_OF_MEMORY, whatever sink->begin returns.
 */
anx_status anx_image_decode(const uint8_t *bytes, size_t n_bytes, const anx_image_sink *sink, anx_error *err);

/*
 * The size of an image, from what stands before its pixels. An image that has one may still fail to decode. Errors: as
 * anx_image_decode.
 */
anx_status anx_image_size(const uint8_t *bytes, size_t n_bytes, int32_t *width, int32_t *height, anx_error *err);

/* The same for one format each; bytes start with its signature. */
anx_status anx_jpeg_decode(const uint8_t *bytes, size_t n_bytes, const anx_image_sink *sink, anx_error *err);
anx_status anx_png_decode(const uint8_t *bytes, size_t n_bytes, const anx_image_sink *sink, anx_error *err);

/* OK where an image of this size may be decoded; FORMAT for an empty one, LIMIT beyond ANX_IMAGE_MAX_PIXELS. */
anx_status anx_image_check_size(uint32_t width, uint32_t height, anx_error *err);

#endif
