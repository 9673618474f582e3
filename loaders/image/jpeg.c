/*
 * JPEG through libjpeg-turbo, set up and fed as Pillow's libImaging/JpegDecode.c does it.
 */
#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <jpeglib.h>

#include <jerror.h>

#include "loaders/image/decode.h"
#include "loaders/image/jpeg_markers.h"
#include "src/base/checked.h"

/* Pillow hands a file to libjpeg in blocks of this size (ImageFile.MAXBLOCK). */
enum { FEED_BYTES = 65536 };

typedef struct jpeg_reader {
    struct jpeg_decompress_struct cinfo;
    struct jpeg_error_mgr errors;
    struct jpeg_source_mgr source;
    jmp_buf escape;
    bool created;
    char message[JMSG_LENGTH_MAX]; /* what libjpeg raised */
    int message_code;

    const uint8_t *bytes;
    size_t n_bytes;
    size_t fed;  /* bytes handed to libjpeg so far */
    size_t skip; /* bytes that libjpeg wants skipped beyond those */

    const anx_image_sink *sink;
    anx_image_region needed;
    JSAMPLE *line; /* one row as libjpeg gives it */
    uint8_t *rgb;  /* one row converted, where that is not the same */
} jpeg_reader;

/* ---- what libjpeg calls ---- */

static void raise_error(j_common_ptr cinfo) {
    jpeg_reader *r = cinfo->client_data;
    r->message_code = cinfo->err->msg_code;
    cinfo->err->format_message(cinfo, r->message);
    longjmp(r->escape, 1);
}

/* Warnings are ignored, as Pillow does; libjpeg counts them. */
static void ignore_message(j_common_ptr cinfo) {
    (void)cinfo;
}

static void ignore_source(j_decompress_ptr cinfo) {
    (void)cinfo;
}

/* "Suspend": the caller feeds more and asks again. Whether a truncated file is refused hangs on this. */
static boolean suspend(j_decompress_ptr cinfo) {
    (void)cinfo;
    return FALSE;
}

static void skip_input(j_decompress_ptr cinfo, long n_bytes) {
    jpeg_reader *r = cinfo->client_data;
    if (n_bytes <= 0) return;
    const size_t n = (size_t)n_bytes;
    const size_t here = n < r->source.bytes_in_buffer ? n : r->source.bytes_in_buffer;
    r->source.next_input_byte += here;
    r->source.bytes_in_buffer -= here;
    r->skip = n - here;
}

/* Hands over the next block. False at the end of the file. */
static bool feed(jpeg_reader *r) {
    do {
        const size_t left = r->n_bytes - r->fed;
        if (left == 0) return false;
        const size_t n = left < FEED_BYTES ? left : FEED_BYTES;
        r->source.bytes_in_buffer += n;
        r->fed += n;
        if (r->skip > 0) skip_input(&r->cinfo, (long)r->skip);
    } while (r->skip > 0);
    return true;
}

/* ---- decoding ---- */

static anx_status truncated(const jpeg_reader *r, anx_error *err) {
    anx_status status = anx_error_set(err, ANX_ERR_FORMAT, "the JPEG is truncated: its data end before its last row");
    anx_error_at_offset(err, r->n_bytes);
    return status;
}

static anx_status open_source(jpeg_reader *r, anx_error *err) {
    if (r->n_bytes == 0) return truncated(r, err);
    r->cinfo.err = jpeg_std_error(&r->errors);
    r->errors.error_exit = raise_error;
    r->errors.output_message = ignore_message;
    r->cinfo.client_data = r;
    jpeg_create_decompress(&r->cinfo);
    r->created = true;
    r->source.init_source = ignore_source;
    r->source.fill_input_buffer = suspend;
    r->source.skip_input_data = skip_input;
    r->source.resync_to_restart = jpeg_resync_to_restart;
    r->source.term_source = ignore_source;
    r->source.next_input_byte = r->bytes;
    r->source.bytes_in_buffer = 0;
    r->cinfo.src = &r->source;
    return ANX_OK;
}

static anx_status read_header(jpeg_reader *r, const anx_jpeg_frame *frame, anx_error *err) {
    for (;;) {
        const int got = jpeg_read_header(&r->cinfo, FALSE);
        if (got == JPEG_HEADER_OK) break;
        if (got == JPEG_SUSPENDED && !feed(r)) return truncated(r, err);
    }
    if (r->cinfo.image_width != frame->width || r->cinfo.image_height != frame->height ||
        r->cinfo.num_components != frame->components)
        return anx_error_set(err, ANX_ERR_FORMAT, "the JPEG has frame headers that contradict one another");
    r->cinfo.out_color_space = frame->components == 4 ? JCS_CMYK : JCS_RGB;
    return ANX_OK;
}

static anx_status allocate_rows(jpeg_reader *r, anx_error *err) {
    size_t line, rgb;
    if (!anx_checked_mul_size(r->cinfo.output_width, (size_t)r->cinfo.output_components, &line) ||
        !anx_checked_mul_size(r->cinfo.output_width, 3, &rgb))
        return anx_error_set(err, ANX_ERR_LIMIT, "a row of %u pixels is too long", r->cinfo.output_width);
    r->line = calloc(line + ANX_IMAGE_ROW_PADDING_BYTES, 1);
    r->rgb = calloc(rgb + ANX_IMAGE_ROW_PADDING_BYTES, 1);
    if (r->line == NULL || r->rgb == NULL)
        return anx_error_set(err, ANX_ERR_OUT_OF_MEMORY, "out of memory for a row of %zu bytes", line + rgb);
    return ANX_OK;
}

/*
 * Pillow reads every 4-component JPEG as inverted ("CMYK;I", "assume adobe conventions") and then converts with
 * cmyk2rgb of its Convert.c: what is left of white after the black, less ink times that over 255, rounded.
 */
static void cmyk_to_rgb(const uint8_t *cmyk, size_t n_pixels, uint8_t *rgb) {
    for (size_t i = 0; i < n_pixels; i++, cmyk += 4, rgb += 3) {
        const unsigned white = cmyk[3];
        for (int c = 0; c < 3; c++) {
            const unsigned t = (255u - cmyk[c]) * white + 128;
            rgb[c] = (uint8_t)(white - (((t >> 8) + t) >> 8));
        }
    }
}

/* The next row, top to bottom; NULL where the file ends before it. It stays valid until the next call. */
static const uint8_t *next_row(jpeg_reader *r) {
    JSAMPROW lines[1] = {r->line};
    while (jpeg_read_scanlines(&r->cinfo, lines, 1) != 1)
        if (!feed(r)) return NULL;
    if (r->cinfo.out_color_space != JCS_CMYK) return r->line;
    cmyk_to_rgb(r->line, r->cinfo.output_width, r->rgb);
    return r->rgb;
}

static anx_status decode_all(jpeg_reader *r, const anx_jpeg_frame *frame, anx_error *err) {
    anx_status status = open_source(r, err);
    if (status == ANX_OK) status = read_header(r, frame, err);
    if (status == ANX_OK) status = r->sink->begin(r->sink->context, frame->width, frame->height, &r->needed, err);
    if (status != ANX_OK) return status;
    while (!jpeg_start_decompress(&r->cinfo))
        if (!feed(r)) return truncated(r, err);
    status = allocate_rows(r, err);
    if (status != ANX_OK) return status;

    for (int32_t y = 0; y < frame->height; y++) {
        const uint8_t *row = next_row(r);
        if (row == NULL) return truncated(r, err);
        if (y >= r->needed.y0 && y < r->needed.y1) r->sink->row(r->sink->context, y, row + (size_t)r->needed.x0 * 3);
    }
    /* Whether the end marker is there does not matter any more; but what is there is read, and may raise. */
    (void)jpeg_finish_decompress(&r->cinfo);
    return ANX_OK;
}

static anx_status library_error(const jpeg_reader *r, anx_error *err) {
    anx_status status = ANX_ERR_FORMAT;
    switch (r->message_code) {
    case JERR_OUT_OF_MEMORY: status = ANX_ERR_OUT_OF_MEMORY; break;
    case JERR_ARITH_NOTIMPL:
    case JERR_CONVERSION_NOTIMPL:
    case JERR_FRACT_SAMPLE_NOTIMPL:
    case JERR_NOT_COMPILED:
    case JERR_SOF_UNSUPPORTED: status = ANX_ERR_UNSUPPORTED; break;
    default: break;
    }
    anx_error_set(err, status, "libjpeg: %s", r->message);
    if (err != NULL) err->native_code = r->message_code;
    if (r->created && r->source.next_input_byte != NULL)
        anx_error_at_offset(err, (uint64_t)(r->source.next_input_byte - r->bytes));
    return status;
}

/* Apart from what owns memory, so that nothing lives in a register when libjpeg jumps out. */
static anx_status __attribute__((noinline))
guarded_decode(jpeg_reader *r, const anx_jpeg_frame *frame, anx_error *err) {
    if (setjmp(r->escape) != 0) return library_error(r, err);
    return decode_all(r, frame, err);
}

anx_status anx_jpeg_decode(const uint8_t *bytes, size_t n_bytes, const anx_image_sink *sink, anx_error *err) {
    anx_jpeg_frame frame;
    anx_status status = anx_jpeg_read_frame(bytes, n_bytes, &frame, err);
    if (status == ANX_OK) status = anx_image_check_size(frame.width, frame.height, err);
    if (status != ANX_OK) return status;

    jpeg_reader *r = calloc(1, sizeof *r);
    if (r == NULL) return anx_error_set(err, ANX_ERR_OUT_OF_MEMORY, "out of memory for a JPEG decoder");
    r->bytes = bytes;
    r->n_bytes = n_bytes;
    r->sink = sink;
    status = guarded_decode(r, &frame, err);
    if (r->created) jpeg_destroy_decompress(&r->cinfo);
    free(r->line);
    free(r->rgb);
    free(r);
    return status;
}
