/*
 * PNG through libpng, giving what Pillow's convert("RGB") gives: palettes looked up, alpha and transparency dropped,
 * 16-bit colors cut to their high byte, 16-bit gray clipped at 255.
 *
 * libpng sees a file of our own making: a header, the image data as one sees them walking the chunks as Pillow does,
 * an end. So its opinion on everything else in the file (checksums, profiles, ancillary chunks) does not matter.
 */
#include <png.h>
#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "loaders/image/decode.h"
#include "loaders/image/png_chunks.h"
#include "src/base/checked.h"

enum { SIGNATURE_AND_IHDR_BYTES = 8 + 12 + 13 };

typedef struct png_reader {
    png_structp png;
    png_infop info;
    char message[160];
    bool out_of_memory;
    bool broken_end; /* the compressed data go wrong behind the last row, their checksum for example */

    const uint8_t *bytes;
    size_t n_bytes;
    anx_png_header header;

    /* What libpng reads: `part` is handed out, then the next one is made. */
    const uint8_t *part;
    size_t part_bytes;
    uint8_t framing[SIGNATURE_AND_IHDR_BYTES];
    const uint8_t *data; /* of the image data chunk whose header was handed out last */
    size_t data_bytes;
    size_t next_at;     /* file offset behind that chunk */
    size_t rows_end_at; /* file offset behind the chunk that completed the last row; 0: not yet */
    enum { BEFORE_DATA, DATA_HEADER, DATA_BODY, DATA_CHECKSUM, AFTER_DATA } state;

    const anx_image_sink *sink;
    anx_image_region needed;
    size_t row_bytes;
    uint8_t *raw; /* one row as libpng gives it, or all of them where the file is interlaced */
    uint8_t *rgb; /* one row converted */
} png_reader;

/* ---- what libpng calls ---- */

static void raise_error(png_structp png, png_const_charp message) {
    png_reader *r = png_get_error_ptr(png);
    snprintf(r->message, sizeof r->message, "%s", message);
    r->out_of_memory = strstr(message, "emory") != NULL;
    png_longjmp(png, 1);
}

/* Once all rows are there, libpng only warns about data that do not end well; to Pillow the stream is broken. */
static void take_warning(png_structp png, png_const_charp message) {
    png_reader *r = png_get_error_ptr(png);
    const bool harmless = strstr(message, "Too much") != NULL || strstr(message, "Extra") != NULL;
    const bool unseen = r->rows_end_at != 0; /* Pillow reads no chunk after the one that completes the last row */
    if (!harmless && !unseen) {
        r->broken_end = true;
        snprintf(r->message, sizeof r->message, "%s", message);
    }
}

static void put_be32(uint8_t *p, size_t value) {
    for (int i = 0; i < 4; i++) p[i] = (uint8_t)(value >> (24 - 8 * i));
}

/*
 * The header as libpng gets it. A palette image is presented as a gray one of the same depth: the samples are the
 * same, and the palette is looked up here, since Pillow takes palettes that libpng refuses.
 */
static void make_header(png_reader *r) {
    static const uint8_t signature_and_type[] = "\x89PNG\r\n\x1a\n\0\0\0\x0dIHDR";
    const anx_png_header *h = &r->header;
    memcpy(r->framing, signature_and_type, sizeof signature_and_type - 1);
    uint8_t *ihdr = r->framing + sizeof signature_and_type - 1;
    put_be32(ihdr, h->width);
    put_be32(ihdr + 4, h->height);
    ihdr[8] = h->depth;
    ihdr[9] = h->color == ANX_PNG_PALETTE ? ANX_PNG_GRAY : h->color;
    ihdr[10] = ihdr[11] = 0;
    ihdr[12] = h->interlaced;
    memset(ihdr + 13, 0, 4); /* checksums are not looked at */
    r->part = r->framing;
    r->part_bytes = sizeof r->framing;
}

static void make_framing(png_reader *r, const char *bytes, size_t n_bytes) {
    memcpy(r->framing, bytes, n_bytes);
    r->part = r->framing;
    r->part_bytes = n_bytes;
}

/* Whether libpng has read all rows, and is at most looking at what follows them. */
static bool rows_are_complete(const png_reader *r) {
    enum { PASSES = 7 };
    if (r->raw == NULL) return false;
    if (r->header.interlaced) return png_get_current_pass_number(r->png) >= PASSES;
    return png_get_current_row_number(r->png) >= r->header.height;
}

static void next_part(png_reader *r) {
    if (r->rows_end_at == 0 && rows_are_complete(r)) r->rows_end_at = r->next_at;
    switch (r->state) {
    case BEFORE_DATA:
    case DATA_CHECKSUM:
        if (anx_png_next_data(r->bytes, r->n_bytes, &r->next_at, &r->data, &r->data_bytes)) {
            make_framing(r, "\0\0\0\0IDAT", 8);
            put_be32(r->framing, r->data_bytes);
            r->state = DATA_HEADER;
        } else {
            make_framing(r, "\0\0\0\0IEND\0\0\0\0", 12);
            r->state = AFTER_DATA;
        }
        break;
    case DATA_HEADER:
        r->part = r->data;
        r->part_bytes = r->data_bytes;
        r->state = DATA_BODY;
        break;
    case DATA_BODY:
        make_framing(r, "\0\0\0\0", 4);
        r->state = DATA_CHECKSUM;
        break;
    case AFTER_DATA: png_error(r->png, "Read past the end");
    }
}

static void read_bytes(png_structp png, png_bytep out, size_t n_bytes) {
    png_reader *r = png_get_io_ptr(png);
    while (n_bytes > 0) {
        if (r->part_bytes == 0) {
            next_part(r);
            continue;
        }
        const size_t n = n_bytes < r->part_bytes ? n_bytes : r->part_bytes;
        memcpy(out, r->part, n);
        r->part += n;
        r->part_bytes -= n;
        out += n;
        n_bytes -= n;
    }
}

/* ---- conversion of a row to RGB ---- */

static unsigned channels(const anx_png_header *h) {
    switch (h->color) {
    case ANX_PNG_RGB: return 3;
    case ANX_PNG_GRAY_ALPHA: return 2;
    case ANX_PNG_RGBA: return 4;
    default: return 1;
    }
}

/* Up to 8 bits in one channel: libpng gives one byte a sample. */
static void indexed_to_rgb(const uint8_t *raw, size_t n_pixels, const uint8_t (*palette)[3], uint8_t *rgb) {
    for (size_t i = 0; i < n_pixels; i++, rgb += 3) memcpy(rgb, palette[raw[i]], 3);
}

/* Pillow's I16_RGB: clipped, not scaled. */
static void gray16_to_rgb(const uint8_t *raw, size_t n_pixels, uint8_t *rgb) {
    for (size_t i = 0; i < n_pixels; i++, raw += 2, rgb += 3) memset(rgb, raw[0] == 0 ? raw[1] : 255, 3);
}

/* Pixels of pixel_bytes, the wanted samples' first bytes `step` apart (0: gray). */
static void samples_to_rgb(const uint8_t *raw, size_t n_pixels, size_t pixel_bytes, size_t step, uint8_t *rgb) {
    for (size_t i = 0; i < n_pixels; i++, raw += pixel_bytes, rgb += 3)
        for (size_t c = 0; c < 3; c++) rgb[c] = raw[c * step];
}

static void row_to_rgb(const anx_png_header *h, const uint8_t *raw, uint8_t *rgb) {
    const size_t sample_bytes = h->depth == 16 ? 2 : 1, n = h->width;
    switch (h->color) {
    case ANX_PNG_GRAY:
    case ANX_PNG_PALETTE:
        if (h->depth == 16)
            gray16_to_rgb(raw, n, rgb);
        else
            indexed_to_rgb(raw, n, h->palette, rgb);
        break;
    case ANX_PNG_GRAY_ALPHA: samples_to_rgb(raw, n, 2 * sample_bytes, 0, rgb); break;
    default: samples_to_rgb(raw, n, channels(h) * sample_bytes, sample_bytes, rgb); break;
    }
}

static void make_gray_palette(anx_png_header *h) {
    const unsigned highest = (1u << h->depth) - 1;
    for (unsigned i = 0; i <= highest; i++) memset(h->palette[i], (int)(i * 255 / highest), 3);
}

/* ---- decoding ---- */

/*
 * Deflate makes at most 1032 bytes of one, so a header that promises more than the data can hold is known to be wrong
 * before memory is asked for.
 */
static anx_status check_data_suffice(const png_reader *r, anx_error *err) {
    const anx_png_header *h = &r->header;
    uint64_t compressed = 0;
    size_t at = h->data_at, n;
    const uint8_t *data;
    while (anx_png_next_data(r->bytes, r->n_bytes, &at, &data, &n)) compressed += n;
    const uint64_t raw = (uint64_t)h->width * h->height * channels(h) * h->depth / 8; /* below 2^36 */
    if (raw <= (compressed + 1) * 1032) return ANX_OK;
    return anx_error_set(err, ANX_ERR_FORMAT,
                         "the PNG is truncated: %llu bytes of compressed data cannot hold %u x %u pixels",
                         (unsigned long long)compressed, h->width, h->height);
}

static anx_status allocate_rows(png_reader *r, anx_error *err) {
    size_t raw, rgb;
    if (!anx_checked_mul_size(r->row_bytes, r->header.interlaced ? r->header.height : 1, &raw) ||
        !anx_checked_mul_size(r->header.width, 3, &rgb))
        return anx_error_set(err, ANX_ERR_LIMIT, "a row of %u pixels is too long", r->header.width);
    r->raw = malloc(raw);
    r->rgb = calloc(rgb + ANX_IMAGE_ROW_PADDING_BYTES, 1);
    if (r->raw == NULL || r->rgb == NULL)
        return anx_error_set(err, ANX_ERR_OUT_OF_MEMORY, "out of memory for %zu bytes of image rows", raw);
    return ANX_OK;
}

static void deliver(png_reader *r, int32_t y, const uint8_t *raw) {
    if (y < r->needed.y0 || y >= r->needed.y1) return;
    row_to_rgb(&r->header, raw, r->rgb);
    r->sink->row(r->sink->context, y, r->rgb + (size_t)r->needed.x0 * 3);
}

static void read_rows(png_reader *r) {
    const int32_t height = (int32_t)r->header.height;
    if (!r->header.interlaced) {
        for (int32_t y = 0; y < height; y++) {
            if (y > 0) deliver(r, y - 1, r->raw);
            png_read_row(r->png, r->raw, NULL);
        }
        return;
    }
    const int passes = png_set_interlace_handling(r->png);
    png_start_read_image(r->png);
    for (int pass = 0; pass < passes; pass++)
        for (int32_t y = 0; y < height; y++) png_read_row(r->png, r->raw + (size_t)y * r->row_bytes, NULL);
}

static anx_status damaged(const png_reader *r, anx_error *err) {
    return anx_error_set(err, ANX_ERR_FORMAT, "the PNG's image data are damaged: libpng: %s", r->message);
}

/* What read_rows has not delivered yet: the last row, or all of them. Then the rest of the file. */
static anx_status finish(png_reader *r, anx_error *err) {
    const int32_t height = (int32_t)r->header.height;
    if (r->broken_end) return damaged(r, err);
    if (r->header.interlaced)
        for (int32_t y = 0; y < height; y++) deliver(r, y, r->raw + (size_t)y * r->row_bytes);
    else
        deliver(r, height - 1, r->raw);
    const size_t tail_at = r->rows_end_at > 0 ? r->rows_end_at : r->next_at;
    return anx_png_check_tail(r->bytes, r->n_bytes, &r->header, tail_at, err);
}

static anx_status decode_rows(png_reader *r, anx_error *err) {
    const anx_png_header *h = &r->header;
    make_header(r);
    r->next_at = h->data_at;
    png_set_read_fn(r->png, r, read_bytes);
    png_set_crc_action(r->png, PNG_CRC_QUIET_USE, PNG_CRC_QUIET_USE);
    png_set_user_limits(r->png, PNG_UINT_31_MAX, PNG_UINT_31_MAX);     /* the pixels were counted already */
    png_set_option(r->png, PNG_MAXIMUM_INFLATE_WINDOW, PNG_OPTION_ON); /* whatever window the data say they need */
    png_read_info(r->png, r->info);
    if (h->depth < 8) png_set_packing(r->png);
    r->row_bytes = (size_t)h->width * channels(h) * (h->depth == 16 ? 2 : 1);
    anx_status status = allocate_rows(r, err);
    if (status != ANX_OK) return status;
    read_rows(r);
    return finish(r, err);
}

static anx_status library_error(const png_reader *r, anx_error *err) {
    anx_status status;
    if (r->out_of_memory)
        status = anx_error_set(err, ANX_ERR_OUT_OF_MEMORY, "libpng: %s", r->message);
    else if (strstr(r->message, "Not enough") != NULL)
        status = anx_error_set(err, ANX_ERR_FORMAT, "the PNG is truncated: its data end before its last row");
    else
        status = damaged(r, err);
    anx_error_at_offset(err, r->next_at);
    return status;
}

/* Apart from what owns memory, so that nothing lives in a register when libpng jumps out. */
static anx_status __attribute__((noinline)) guarded_decode(png_reader *r, anx_error *err) {
    if (setjmp(png_jmpbuf(r->png)) != 0) {
        /* libpng raises when the compressed data lack their end, although all rows are there; Pillow does not mind. */
        if (rows_are_complete(r)) return finish(r, err);
        return library_error(r, err);
    }
    return decode_rows(r, err);
}

anx_status anx_png_decode(const uint8_t *bytes, size_t n_bytes, const anx_image_sink *sink, anx_error *err) {
    png_reader *r = calloc(1, sizeof *r);
    if (r == NULL) return anx_error_set(err, ANX_ERR_OUT_OF_MEMORY, "out of memory for a PNG decoder");
    r->bytes = bytes;
    r->n_bytes = n_bytes;
    r->sink = sink;
    anx_status status = anx_png_read_header(bytes, n_bytes, &r->header, err);
    if (status == ANX_OK) status = anx_image_check_size(r->header.width, r->header.height, err);
    if (status == ANX_OK) status = check_data_suffice(r, err);
    if (status == ANX_OK)
        status = sink->begin(sink->context, (int32_t)r->header.width, (int32_t)r->header.height, &r->needed, err);
    if (status != ANX_OK) goto out;
    if (r->header.color == ANX_PNG_GRAY && r->header.depth <= 8) make_gray_palette(&r->header);

    r->png = png_create_read_struct(PNG_LIBPNG_VER_STRING, r, raise_error, take_warning);
    if (r->png != NULL) r->info = png_create_info_struct(r->png);
    if (r->info == NULL) {
        status = anx_error_set(err, ANX_ERR_OUT_OF_MEMORY, "out of memory for libpng");
        goto out;
    }
    status = guarded_decode(r, err);
out:
    png_destroy_read_struct(&r->png, &r->info, NULL);
    free(r->raw);
    free(r->rgb);
    free(r);
    return status;
}
