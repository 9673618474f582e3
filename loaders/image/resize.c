#include "loaders/image/resize.h"

#include <stdlib.h>
#include <string.h>

#include "src/base/checked.h"

struct anx_resizer {
    bool horizontal, vertical; /* an axis whose size does not change has no pass */
    bool vertical_first;
    anx_resample_axis x, y; /* initialised where there is such a pass */
    anx_resize_window window;
    anx_image_region source;
    const anx_resample_kernels *kernels;

    /* Rows on their way to the vertical pass: source row r, as far as it has come, lies in slot r % ring_rows. */
    uint8_t *ring;
    size_t ring_stride_bytes, ring_row_bytes;
    int32_t ring_rows;
    const uint8_t **taps; /* (ring_rows) what one output row reads */
    uint8_t *between;     /* a row between two passes, vertical first */
    uint8_t *finished;    /* a row of the window */

    anx_resize_output *output;
    void *context;
    int32_t next_source, next_output; /* next_output counts in the window */
};

/*
 * Pillow 13's ImagingResampleInner shrinks an image vertically first where that takes away more than twice as many
 * rows as columns (since 12.2 it did so in Image.resize for images over 100 times as high as wide). The order shows in
 * the pixels, since what lies between the passes is rounded to bytes.
 */
static bool goes_vertical_first(int32_t in_width, int32_t in_height, int32_t out_width, int32_t out_height) {
    const int64_t columns = (int64_t)in_width - out_width, rows = (int64_t)in_height - out_height;
    return rows > 0 && rows > 2 * columns;
}

static anx_status allocate(anx_resizer *r, anx_error *err) {
    const size_t window_pixels = (size_t)(r->window.x1 - r->window.x0);
    const size_t source_pixels = (size_t)(r->source.x1 - r->source.x0);
    const bool ring_is_narrow = r->horizontal && !r->vertical_first;
    const size_t ring_pixels = ring_is_narrow ? window_pixels : source_pixels;
    r->ring_rows = r->vertical ? r->y.most_taps : 1;

    size_t row, stride, ring, between, finished;
    const size_t padding = ANX_RESAMPLE_READ_AHEAD_BYTES;
    bool fits = anx_checked_mul_size(ring_pixels, ANX_RESAMPLE_CHANNELS, &row) &&
                anx_checked_add_size(row, padding, &stride) && anx_checked_align_size(stride, 64, &stride) &&
                anx_checked_mul_size(stride, (size_t)r->ring_rows, &ring) &&
                anx_checked_mul_size(source_pixels, ANX_RESAMPLE_CHANNELS, &between) &&
                anx_checked_add_size(between, padding, &between) &&
                anx_checked_mul_size(window_pixels, ANX_RESAMPLE_CHANNELS, &finished) &&
                anx_checked_add_size(finished, padding, &finished);
    if (!fits) return anx_error_set(err, ANX_ERR_LIMIT, "rows of %zu pixels are too long to resize", source_pixels);
    r->ring_row_bytes = row;
    r->ring_stride_bytes = stride;
    r->ring = calloc(ring, 1);
    r->taps = calloc((size_t)r->ring_rows, sizeof *r->taps);
    r->between = calloc(between, 1);
    r->finished = calloc(finished, 1);
    if (r->ring == NULL || r->taps == NULL || r->between == NULL || r->finished == NULL)
        return anx_error_set(err, ANX_ERR_OUT_OF_MEMORY, "out of memory for resizing rows of %zu pixels",
                             source_pixels);
    return ANX_OK;
}

anx_status anx_resizer_create(int32_t in_width, int32_t in_height, int32_t out_width, int32_t out_height,
                              const anx_resize_window *window, anx_resizer **out, anx_error *err) {
    anx_resizer *r = calloc(1, sizeof *r);
    if (r == NULL) return anx_error_set(err, ANX_ERR_OUT_OF_MEMORY, "out of memory for resizing");
    r->kernels = anx_resample_kernels_best();
    r->window = *window;
    r->horizontal = in_width != out_width;
    r->vertical = in_height != out_height;
    r->vertical_first = goes_vertical_first(in_width, in_height, out_width, out_height);
    r->source = (anx_image_region){.x0 = window->x0, .x1 = window->x1, .y0 = window->y0, .y1 = window->y1};

    anx_status status = ANX_OK;
    if (r->horizontal) {
        status = anx_resample_axis_init(&r->x, in_width, out_width, window->x0, window->x1 - window->x0, err);
        if (status != ANX_OK) goto out;
        anx_resample_axis_source(&r->x, &r->source.x0, &r->source.x1);
    }
    if (r->vertical) {
        status = anx_resample_axis_init(&r->y, in_height, out_height, window->y0, window->y1 - window->y0, err);
        if (status != ANX_OK) goto out;
        anx_resample_axis_source(&r->y, &r->source.y0, &r->source.y1);
    }
    status = allocate(r, err);
    if (status != ANX_OK) goto out;
    *out = r;
    r = NULL;
out:
    anx_resizer_destroy(r);
    return status;
}

void anx_resizer_destroy(anx_resizer *r) {
    if (r == NULL) return;
    anx_resample_axis_fini(&r->x);
    anx_resample_axis_fini(&r->y);
    free(r->ring);
    free(r->taps);
    free(r->between);
    free(r->finished);
    free(r);
}

anx_image_region anx_resizer_source(const anx_resizer *r) {
    return r->source;
}

void anx_resizer_begin(anx_resizer *r, anx_resize_output *output, void *context) {
    r->output = output;
    r->context = context;
    r->next_source = r->source.y0;
    r->next_output = 0;
}

static uint8_t *slot(const anx_resizer *r, int32_t y) {
    return r->ring + (size_t)(y % r->ring_rows) * r->ring_stride_bytes;
}

static void emit(anx_resizer *r, const uint8_t *rgb) {
    r->output(r->context, r->window.y0 + r->next_output, rgb);
    r->next_output++;
}

/* All output rows whose source rows are there once row `newest` is. */
static void vertical_pass(anx_resizer *r, int32_t newest) {
    while (r->next_output < r->y.count) {
        const int32_t i = r->next_output, start = r->y.start[i], taps = r->y.taps[i];
        if (start + taps - 1 > newest) return;
        for (int32_t t = 0; t < taps; t++) r->taps[t] = slot(r, start + t);
        uint8_t *out = r->vertical_first && r->horizontal ? r->between : r->finished;
        r->kernels->column(r->y.weight + (size_t)i * (size_t)r->y.stride, taps, r->taps, r->ring_row_bytes, out);
        if (out == r->between) r->kernels->row(&r->x, r->between, r->source.x0, r->finished);
        emit(r, r->finished);
    }
}

void anx_resizer_push(anx_resizer *r, const uint8_t *rgb) {
    const int32_t y = r->next_source++;
    if (!r->vertical) {
        if (!r->horizontal) {
            emit(r, rgb);
            return;
        }
        r->kernels->row(&r->x, rgb, r->source.x0, r->finished);
        emit(r, r->finished);
        return;
    }
    if (r->horizontal && !r->vertical_first)
        r->kernels->row(&r->x, rgb, r->source.x0, slot(r, y));
    else
        memcpy(slot(r, y), rgb, r->ring_row_bytes);
    vertical_pass(r, y);
}
