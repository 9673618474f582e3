/*
 * JPEG through libjpeg-turbo, set up and fed as Pillow's libImaging/JpegDecode.c does it.
 *
 * There are two ways. The strict one feeds blocks and reads every row, exactly as Pillow does. The short one decodes
 * only the wanted columns and rows; it gives up, in favour of the strict one, as soon as anything about the file is
 * out of the ordinary, so that it never has to answer what Pillow would make of that.
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

/* Rows that libjpeg can make in one go: a row group, which is as high as the largest sampling factor. */
enum { LINES = 4 };

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

    bool starved; /* libjpeg asked for more than was there */

    const anx_image_sink *sink;
    anx_image_region needed;
    uint8_t *memory;       /* holds what follows */
    JSAMPROW lines[LINES]; /* rows as libjpeg gives them */
    uint8_t *rgb;          /* one row converted, where that is not the same */
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
    jpeg_reader *r = cinfo->client_data;
    r->starved = true;
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

/* Hands over at most n_bytes more. False at the end of the file. */
static bool feed(jpeg_reader *r, size_t n_bytes) {
    do {
        const size_t left = r->n_bytes - r->fed;
        if (left == 0) return false;
        const size_t n = left < n_bytes ? left : n_bytes;
        r->source.bytes_in_buffer += n;
        r->fed += n;
        if (r->skip > 0) skip_input(&r->cinfo, (long)r->skip);
    } while (r->skip > 0);
    return true;
}

/* ---- what both ways share ---- */

static anx_status truncated(const jpeg_reader *r, anx_error *err) {
    anx_status status = anx_error_set(err, ANX_ERR_FORMAT, "the JPEG is truncated: its data end before its last row");
    anx_error_at_offset(err, r->n_bytes);
    return status;
}

static void open_source(jpeg_reader *r) {
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
}

/* As the object was before open_source. */
static void close_source(jpeg_reader *r) {
    if (r->created) jpeg_destroy_decompress(&r->cinfo);
    free(r->memory);
    r->created = r->starved = false;
    r->memory = NULL;
    r->fed = r->skip = 0;
}

static bool header_agrees(const jpeg_reader *r, const anx_jpeg_frame *frame) {
    return r->cinfo.image_width == frame->width && r->cinfo.image_height == frame->height &&
           r->cinfo.num_components == frame->components;
}

static J_COLOR_SPACE wanted_space(const anx_jpeg_frame *frame) {
    return frame->components == 4 ? JCS_CMYK : JCS_RGB;
}

/* Rows of the width that libjpeg gives now. */
static anx_status allocate_rows(jpeg_reader *r, anx_error *err) {
    size_t line, total;
    if (!anx_checked_mul_size(r->cinfo.output_width, 4, &line) ||
        !anx_checked_add_size(line, ANX_IMAGE_ROW_PADDING_BYTES, &line) || !anx_checked_align_size(line, 64, &line) ||
        !anx_checked_mul_size(line, LINES + 1, &total))
        return anx_error_set(err, ANX_ERR_LIMIT, "a row of %u pixels is too long", r->cinfo.output_width);
    r->memory = calloc(total, 1);
    if (r->memory == NULL)
        return anx_error_set(err, ANX_ERR_OUT_OF_MEMORY, "out of memory for rows of %zu bytes", line);
    for (size_t i = 0; i < LINES; i++) r->lines[i] = r->memory + i * line;
    r->rgb = r->memory + LINES * line;
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

/* Gives the sink row y, whose first pixel is column `column` of the image, if it is needed. */
static void deliver(jpeg_reader *r, int32_t y, const uint8_t *line, int32_t column) {
    if (y < r->needed.y0 || y >= r->needed.y1) return;
    if (r->cinfo.out_color_space == JCS_CMYK) {
        cmyk_to_rgb(line, r->cinfo.output_width, r->rgb);
        line = r->rgb;
    }
    r->sink->row(r->sink->context, y, line + (size_t)(r->needed.x0 - column) * 3);
}

/* ---- the strict way ---- */

static anx_status read_header(jpeg_reader *r, const anx_jpeg_frame *frame, anx_error *err) {
    for (;;) {
        const int got = jpeg_read_header(&r->cinfo, FALSE);
        if (got == JPEG_HEADER_OK) break;
        if (got == JPEG_SUSPENDED && !feed(r, FEED_BYTES)) return truncated(r, err);
    }
    if (!header_agrees(r, frame))
        return anx_error_set(err, ANX_ERR_FORMAT, "the JPEG has frame headers that contradict one another");
    r->cinfo.out_color_space = wanted_space(frame);
    return ANX_OK;
}

static anx_status decode_strictly(jpeg_reader *r, const anx_jpeg_frame *frame, anx_error *err) {
    open_source(r);
    anx_status status = read_header(r, frame, err);
    if (status != ANX_OK) return status;
    while (!jpeg_start_decompress(&r->cinfo))
        if (!feed(r, FEED_BYTES)) return truncated(r, err);
    status = allocate_rows(r, err);
    if (status != ANX_OK) return status;
    for (int32_t y = 0; y < frame->height; y++) {
        while (jpeg_read_scanlines(&r->cinfo, r->lines, 1) != 1)
            if (!feed(r, FEED_BYTES)) return truncated(r, err);
        deliver(r, y, r->lines[0], 0);
    }
    /* Whether the end marker is there does not matter any more; but what is there is read, and may raise. */
    (void)jpeg_finish_decompress(&r->cinfo);
    return ANX_OK;
}

/* libjpeg's arithmetic decoder cannot wait for more data, so Pillow reads such files no further than its first block.
 */
static anx_status arithmetic_error(const jpeg_reader *r, anx_error *err) {
    if (r->fed == r->n_bytes) return truncated(r, err);
    return anx_error_set(err, ANX_ERR_UNSUPPORTED,
                         "an arithmetic-coded JPEG of more than %d bytes, which Pillow does not read either",
                         FEED_BYTES);
}

static anx_status library_error(const jpeg_reader *r, anx_error *err) {
    if (r->message_code == JERR_CANT_SUSPEND) return arithmetic_error(r, err);
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
    anx_error_at_offset(err, (uint64_t)(r->source.next_input_byte - r->bytes));
    return status;
}

/* Apart from what owns memory, so that nothing lives in a register when libjpeg jumps out; so is the other way. */
static anx_status __attribute__((noinline)) strict_way(jpeg_reader *r, const anx_jpeg_frame *frame, anx_error *err) {
    if (setjmp(r->escape) != 0) return library_error(r, err);
    return decode_strictly(r, frame, err);
}

/* ---- the short way: false means that the strict one has to do it ---- */

/* An incomplete progressive file is smoothed across blocks, which reaches further than the columns kept here. */
static bool is_smoothed(const struct jpeg_decompress_struct *cinfo) {
    if (!cinfo->progressive_mode || cinfo->coef_bits == NULL) return false;
    for (int c = 0; c < cinfo->num_components; c++)
        for (int k = 0; k < DCTSIZE2; k++)
            if (cinfo->coef_bits[c][k] != 0) return true;
    return false;
}

/*
 * Restricts decoding to the needed columns and some more on both sides, since at the border of what is decoded
 * upsampling would lack a neighbour. *column: the first column that libjpeg gives from now on.
 */
static void crop_columns(jpeg_reader *r, int32_t *column) {
    const int32_t margin = 2 * r->cinfo.max_h_samp_factor, width = (int32_t)r->cinfo.image_width;
    const int32_t begin = r->needed.x0 > margin ? r->needed.x0 - margin : 0;
    const int32_t end = width - r->needed.x1 > margin ? r->needed.x1 + margin : width;
    JDIMENSION offset = (JDIMENSION)begin, n = (JDIMENSION)(end - begin);
    *column = 0;
    if (n == r->cinfo.image_width) return;
    jpeg_crop_scanline(&r->cinfo, &offset, &n);
    *column = (int32_t)offset;
}

/*
 * Whether nothing but the end of the image follows the rows that were read: the entropy-coded data of the other rows,
 * then the end marker. Then libjpeg would decode those rows without raising or running out of data, whatever they hold.
 */
static bool ends_properly(const jpeg_reader *r) {
    enum { STUFFED = 0, RST0 = 0xd0, RST7 = 0xd7, EOI = 0xd9 };
    const uint8_t *at = r->source.next_input_byte, *end = r->bytes + r->n_bytes;
    int marker = r->cinfo.unread_marker; /* 0 where libjpeg has not met the next one yet */
    while (marker == STUFFED || (marker >= RST0 && marker <= RST7)) {
        at = at < end ? memchr(at, 0xff, (size_t)(end - at)) : NULL;
        if (at == NULL) return false;
        while (at < end && *at == 0xff) at++;
        if (at == end) return false;
        marker = *at++;
    }
    return marker == EOI;
}

static bool decode_shortly(jpeg_reader *r, const anx_jpeg_frame *frame) {
    open_source(r);
    struct jpeg_decompress_struct *cinfo = &r->cinfo;
    feed(r, r->n_bytes);
    if (jpeg_read_header(cinfo, FALSE) != JPEG_HEADER_OK || !header_agrees(r, frame)) return false;
    if (cinfo->arith_code && r->n_bytes > FEED_BYTES) return false; /* Pillow may fail at its blocks' border */
    cinfo->out_color_space = wanted_space(frame);
    if (!jpeg_start_decompress(cinfo) || is_smoothed(cinfo) || r->errors.num_warnings > 0) return false;
    int32_t column;
    crop_columns(r, &column);
    if (allocate_rows(r, NULL) != ANX_OK) return false;
    if (r->needed.y0 > 0) jpeg_skip_scanlines(cinfo, (JDIMENSION)r->needed.y0);
    while (cinfo->output_scanline < (JDIMENSION)r->needed.y1) {
        const int32_t y = (int32_t)cinfo->output_scanline;
        const int32_t n = (int32_t)jpeg_read_scanlines(cinfo, r->lines, LINES);
        if (n == 0 || r->starved || r->errors.num_warnings > 0) return false;
        for (int32_t i = 0; i < n; i++) deliver(r, y + i, r->lines[i], column);
    }
    if (r->cinfo.output_scanline == r->cinfo.output_height) return jpeg_finish_decompress(cinfo);
    return jpeg_has_multiple_scans(cinfo) || ends_properly(r);
}

static bool __attribute__((noinline)) short_way(jpeg_reader *r, const anx_jpeg_frame *frame) {
    if (setjmp(r->escape) != 0) return false;
    return decode_shortly(r, frame);
}

/* Whether the strict way would do no more; it is then the one to take. */
static bool everything_is_needed(const jpeg_reader *r, const anx_jpeg_frame *frame) {
    return r->needed.x0 == 0 && r->needed.y0 == 0 && r->needed.x1 == frame->width && r->needed.y1 == frame->height;
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
    status = sink->begin(sink->context, frame.width, frame.height, &r->needed, err);
    if (status != ANX_OK) goto out;
    if (!everything_is_needed(r, &frame)) {
        if (short_way(r, &frame)) goto out;
        close_source(r);
        status = sink->begin(sink->context, frame.width, frame.height, &r->needed, err);
        if (status != ANX_OK) goto out;
    }
    status = strict_way(r, &frame, err);
out:
    close_source(r);
    free(r);
    return status;
}
