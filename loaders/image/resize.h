/*
 * A window of a resized image, row by row: source rows go in from top to bottom, finished rows come out. Only the
 * columns and rows that the window needs are looked at, and only as many rows are kept as one output row needs.
 */
#ifndef ANX_LOADERS_IMAGE_RESIZE_H
#define ANX_LOADERS_IMAGE_RESIZE_H

#include "loaders/image/decode.h"
#include "loaders/image/resample.h"

/* Half-open in both directions, in pixels. */
typedef struct anx_resize_window {
    int32_t x0, x1, y0, y1;
} anx_resize_window;

/* Gets each row of the window once, from top to bottom: y counts in the resized image, rgb has x1 - x0 pixels. */
typedef void anx_resize_output(void *context, int32_t y, const uint8_t *rgb);

typedef struct anx_resizer anx_resizer;

/*
 * Prepares Image.resize((out_width, out_height), BILINEAR) of an image of in_width x in_height, as far as a window
 * (not empty, inside the output) needs it. Errors: as anx_resample_axis_init, OUT_OF_MEMORY.
 */
anx_status anx_resizer_create(int32_t in_width, int32_t in_height, int32_t out_width, int32_t out_height,
                              const anx_resize_window *window, anx_resizer **out, anx_error *err);
void anx_resizer_destroy(anx_resizer *resizer);

/* What of the source is needed. */
anx_image_region anx_resizer_source(const anx_resizer *resizer);

/* Starts (over) with the first needed row. */
void anx_resizer_begin(anx_resizer *resizer, anx_resize_output *output, void *context);

/*
 * Takes the next needed source row: the region's pixels, x0 first, followed by ANX_RESAMPLE_READ_AHEAD_BYTES that may
 * be read. Rows come in order, none left out, none beyond the region.
 */
void anx_resizer_push(anx_resizer *resizer, const uint8_t *rgb);

#endif
