/* Malformed and oversized PNG files: each is refused with a message that says what is wrong and where. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>

#include "tests/hostile/image_cases.h"
#include "tests/support/anx_test.h"

enum { SIDE = 20, GRAY_ROWS = SIDE * (1 + SIDE), RGB_ROWS = SIDE * (1 + 3 * SIDE) };

/* ---- parts: signature and IHDR take 33 bytes ---- */

static const uint8_t *noise(size_t n) {
    static uint8_t rows[SIDE * (1 + 4 * SIDE)];
    uint32_t state = 7;
    for (size_t i = 0; i < n; i++) {
        state = state * 1664525u + 1013904223u;
        rows[i] = i % (n / SIDE) == 0 ? 0 : (uint8_t)(state >> 24);
    }
    return rows;
}

static void start(bytes *b, unsigned depth, unsigned color) {
    bytes_add_png_signature(b);
    bytes_add_ihdr(b, SIDE, SIDE, depth, color, 0);
}

static void finish_gray(bytes *b) {
    bytes_add_idat(b, noise(GRAY_ROWS), GRAY_ROWS);
    bytes_add_chunk(b, "IEND", NULL, 0);
}

static void gray(bytes *b) {
    start(b, 8, 0);
    finish_gray(b);
}

static void gray_with(bytes *b, const char *type, const void *data, size_t n) {
    start(b, 8, 0);
    bytes_add_chunk(b, type, data, n);
    finish_gray(b);
}

static void add_deflated(bytes *b, const void *data, size_t n) {
    uLong packed_bytes = compressBound((uLong)n);
    uint8_t *packed = malloc(packed_bytes);
    if (packed == NULL || compress2(packed, &packed_bytes, data, (uLong)n, 9) != Z_OK) exit(2);
    bytes_add(b, packed, packed_bytes);
    free(packed);
}

/* ---- before the data ---- */

static void signature_alone(bytes *b) {
    bytes_add_png_signature(b);
}

static void cut_in_header(bytes *b) {
    gray(b);
    b->n = 8 + 8 + 5;
}

static void cut_in_checksum(bytes *b) {
    gray(b);
    b->n = 8 + 8 + 13 + 2;
}

static void wrong_header_checksum(bytes *b) {
    gray(b);
    b->data[8 + 8 + 13] ^= 1;
}

static void wrong_text_checksum(bytes *b) {
    gray_with(b, "tEXt", "k\0v", 3);
    b->data[33 + 8] = 'K';
}

static void short_header(bytes *b) {
    bytes_add_png_signature(b);
    bytes_add_chunk(b, "IHDR", "\0\0\0\x14\0\0\0\x14\x08", 9);
}

static void unknown_depth(bytes *b) {
    start(b, 3, 0);
}

static void unknown_color(bytes *b) {
    start(b, 8, 5);
}

static void palette_of_16_bits(bytes *b) {
    start(b, 16, 3);
}

static void unknown_filter_method(bytes *b) {
    bytes_add_png_signature(b);
    bytes_add_chunk(b, "IHDR", "\0\0\0\x14\0\0\0\x14\x08\0\0\1\0", 13);
    finish_gray(b);
}

static void no_width(bytes *b) {
    bytes_add_png_signature(b);
    bytes_add_ihdr(b, 0, SIDE, 8, 0, 0);
    finish_gray(b);
}

static void bomb(bytes *b) {
    bytes_add_png_signature(b);
    bytes_add_ihdr(b, 0xffffffff, 0xffffffff, 8, 0, 0);
    finish_gray(b);
}

static void just_too_large(bytes *b) {
    bytes_add_png_signature(b);
    bytes_add_ihdr(b, 178956971, 1, 8, 0, 0);
    finish_gray(b);
}

static void no_data(bytes *b) {
    start(b, 8, 0);
    bytes_add_chunk(b, "IEND", NULL, 0);
}

static void ends_before_data(bytes *b) {
    start(b, 8, 0);
}

static void data_before_header(bytes *b) {
    bytes_add_png_signature(b);
    finish_gray(b);
}

static void no_chunk(bytes *b) {
    start(b, 8, 0);
    bytes_add(b, "\0\0\0\4####abcd1234", 16);
    finish_gray(b);
}

static void long_chunk(bytes *b) {
    start(b, 8, 0);
    bytes_add(b, "\xff\xff\xff\xfftEXtk", 9);
}

static void large_palette(bytes *b) {
    static const uint8_t colors[771];
    start(b, 8, 3);
    bytes_add_chunk(b, "PLTE", colors, sizeof colors);
    finish_gray(b);
}

static void short_transparency(bytes *b) {
    gray_with(b, "tRNS", "\1", 1);
}

static void short_gamma(bytes *b) {
    gray_with(b, "gAMA", "\1\2", 2);
}

static void unknown_profile_method(bytes *b) {
    gray_with(b, "iCCP", "name\0\1data", 10);
}

static void profile_without_method(bytes *b) {
    gray_with(b, "iCCP", "name\0", 5);
}

static void bomb_in_text(bytes *b) {
    uint8_t *text = calloc(1, 3 << 20);
    bytes data = {.data = NULL};
    bytes_add(&data, "Comment\0", 9); /* the keyword, its terminator, the method */
    add_deflated(&data, text, 3 << 20);
    gray_with(b, "zTXt", data.data, data.n);
    bytes_fini(&data);
    free(text);
}

static void frame_of_an_animation(bytes *b) {
    bytes control = {.data = NULL};
    const uint32_t fields[] = {0, SIDE / 2, SIDE, 0, 0};
    for (size_t i = 0; i < 5; i++) bytes_add_be32(&control, fields[i]);
    bytes_add(&control, "\0\1\0\1\0\0", 6);
    start(b, 8, 0);
    bytes_add_chunk(b, "acTL", "\0\0\0\2\0\0\0\0", 8);
    bytes_add_chunk(b, "fcTL", control.data, control.n);
    bytes_add_idat(b, noise(SIDE * (1 + SIDE / 2)), SIDE * (1 + SIDE / 2));
    bytes_add_chunk(b, "IEND", NULL, 0);
    bytes_fini(&control);
}

static void broken_headers_are_refused(void) {
    static const image_case cases[] = {
        {"signature-alone.png", signature_alone, ANX_ERR_FORMAT,
         "offset 8: the PNG is truncated: it ends before its image data"},
        {"cut-in-header.png", cut_in_header, ANX_ERR_FORMAT,
         "offset 8: the PNG is truncated: chunk IHDR says 13 bytes, the file has 5 of them"},
        {"cut-in-checksum.png", cut_in_checksum, ANX_ERR_FORMAT,
         "offset 8: the PNG ends inside the checksum of chunk IHDR"},
        {"wrong-header-checksum.png", wrong_header_checksum, ANX_ERR_FORMAT,
         "offset 8: chunk IHDR is damaged: its checksum is a8e242d1, the file says a9e242d1"},
        {"wrong-text-checksum.png", wrong_text_checksum, ANX_ERR_FORMAT,
         "offset 33: chunk tEXt is damaged: its checksum is f349b570, the file says cb04f390"},
        {"short-header.png", short_header, ANX_ERR_FORMAT, "offset 8: chunk IHDR has 9 bytes instead of 13"},
        {"unknown-depth.png", unknown_depth, ANX_ERR_FORMAT,
         "offset 8: PNG has no images of 3 bits per sample with color type 0"},
        {"unknown-color.png", unknown_color, ANX_ERR_FORMAT,
         "offset 8: PNG has no images of 8 bits per sample with color type 5"},
        {"palette-of-16-bits.png", palette_of_16_bits, ANX_ERR_FORMAT,
         "offset 8: PNG has no images of 16 bits per sample with color type 3"},
        {"unknown-filter-method.png", unknown_filter_method, ANX_ERR_FORMAT,
         "offset 8: the PNG says filter method 1; PNG knows 0 alone"},
        {"no-width.png", no_width, ANX_ERR_FORMAT, "the image is empty: its header says 0 x 20 pixels"},
        {"bomb.png", bomb, ANX_ERR_LIMIT,
         "the header says 4294967295 x 4294967295 = 18446744065119617025 pixels; Pillow's limit against decompression "
         "bombs is 178956970"},
        {"just-too-large.png", just_too_large, ANX_ERR_LIMIT,
         "the header says 178956971 x 1 = 178956971 pixels; Pillow's limit against decompression bombs is 178956970"},
        {"no-data.png", no_data, ANX_ERR_FORMAT, "offset 33: the PNG has no image data"},
        {"ends-before-data.png", ends_before_data, ANX_ERR_FORMAT,
         "offset 33: the PNG is truncated: it ends before its image data"},
        {"data-before-header.png", data_before_header, ANX_ERR_FORMAT,
         "offset 8: the PNG has no header (IHDR) before its image data"},
        {"no-chunk.png", no_chunk, ANX_ERR_FORMAT, "offset 33: the PNG is damaged: no chunk begins where one should"},
        {"long-chunk.png", long_chunk, ANX_ERR_FORMAT,
         "offset 33: the PNG is truncated: chunk tEXt says 4294967295 bytes, the file has 1 of them"},
        {"large-palette.png", large_palette, ANX_ERR_FORMAT,
         "offset 33: chunk PLTE has 771 bytes, more than 256 colors"},
        {"short-transparency.png", short_transparency, ANX_ERR_FORMAT,
         "offset 33: chunk tRNS has 1 bytes instead of 2"},
        {"short-gamma.png", short_gamma, ANX_ERR_FORMAT, "offset 33: chunk gAMA has 2 bytes, too few for its fields"},
        {"unknown-profile-method.png", unknown_profile_method, ANX_ERR_FORMAT,
         "offset 33: chunk iCCP is compressed by method 1; PNG knows 0 alone"},
        {"profile-without-method.png", profile_without_method, ANX_ERR_FORMAT,
         "offset 33: chunk iCCP ends before its compression method"},
        {"bomb-in-text.png", bomb_in_text, ANX_ERR_LIMIT,
         "offset 33: chunk zTXt decompresses to more than 1048576 bytes, Pillow's limit"},
    };
    CHECK_CASES(cases);
}

/* What Pillow reads after its own fashion and this decoder does not. */
static void what_is_not_read_is_said(void) {
    static const image_case cases[] = {
        {"unread-frame-of-an-animation.png", frame_of_an_animation, ANX_ERR_UNSUPPORTED,
         "offset 53: an animated PNG whose first frame is not the whole image"},
    };
    CHECK_CASES(cases);
}

/* ---- data ---- */

static void cut_data(bytes *b) {
    gray(b);
    b->n -= 100;
}

static void missing_rows(bytes *b) {
    start(b, 8, 0);
    bytes_add_idat(b, noise(GRAY_ROWS), GRAY_ROWS - 5);
    bytes_add_chunk(b, "IEND", NULL, 0);
}

static void not_deflated(bytes *b) {
    start(b, 8, 0);
    bytes_add_chunk(b, "IDAT", noise(GRAY_ROWS), GRAY_ROWS);
    bytes_add_chunk(b, "IEND", NULL, 0);
}

static void damaged_block(bytes *b) {
    gray(b);
    b->data[33 + 8 + 2] = 0xff; /* the first deflate block's header */
}

static void unknown_filter(bytes *b) {
    uint8_t rows[GRAY_ROWS];
    memcpy(rows, noise(GRAY_ROWS), sizeof rows);
    rows[5 * (1 + SIDE)] = 9;
    start(b, 8, 0);
    bytes_add_idat(b, rows, sizeof rows);
    bytes_add_chunk(b, "IEND", NULL, 0);
}

static void wrong_data_checksum(bytes *b) {
    gray(b);
    b->data[b->n - 12 - 4 - 1] ^= 1;
}

static void cut_after_data(bytes *b) {
    gray(b);
    b->n -= 12;
    bytes_add(b, "\0\0\1\0tEXtabc", 11);
}

static void bad_chunk_after_data(bytes *b) {
    gray(b);
    b->n -= 12;
    bytes_add_chunk(b, "pHYs", "\0\0", 2);
    bytes_add_chunk(b, "IEND", NULL, 0);
}

static void promise(bytes *b) {
    bytes_add_png_signature(b);
    bytes_add_ihdr(b, 13000, 13000, 16, 6, 1);
    finish_gray(b);
}

/* One row of 1.4 GB. */
static void promise_of_a_long_row(bytes *b) {
    bytes_add_png_signature(b);
    bytes_add_ihdr(b, 178956970, 1, 16, 6, 0);
    finish_gray(b);
}

static void broken_data_are_refused(void) {
    static const image_case cases[] = {
        {"cut-data.png", cut_data, ANX_ERR_FORMAT,
         "offset 476: the PNG is truncated: its data end before its last row"},
        {"missing-rows.png", missing_rows, ANX_ERR_FORMAT,
         "offset 471: the PNG is truncated: its data end before its last row"},
        {"not-deflated.png", not_deflated, ANX_ERR_FORMAT,
         "offset 465: the PNG's image data are damaged: libpng: IDAT: incorrect header check"},
        {"damaged-block.png", damaged_block, ANX_ERR_FORMAT,
         "offset 476: the PNG's image data are damaged: libpng: IDAT: invalid block type"},
        {"unknown-filter.png", unknown_filter, ANX_ERR_FORMAT,
         "offset 476: the PNG's image data are damaged: libpng: bad adaptive filter value"},
        {"wrong-data-checksum.png", wrong_data_checksum, ANX_ERR_FORMAT,
         "offset 476: the PNG's image data are damaged: libpng: IDAT: incorrect data check"},
        {"cut-after-data.png", cut_after_data, ANX_ERR_FORMAT,
         "offset 476: the PNG is truncated: chunk tEXt says 256 bytes, the file has 3 of them"},
        {"bad-chunk-after-data.png", bad_chunk_after_data, ANX_ERR_FORMAT,
         "offset 476: chunk pHYs has 2 bytes, too few for its fields"},
    };
    CHECK_CASES(cases);
}

/* They are allowed, and more than a gigabyte decoded; not being there, they cost nothing. */
static void a_promise_costs_no_memory(void) {
    static const image_case cases[] = {
        {"promise.png", promise, ANX_ERR_FORMAT,
         "the PNG is truncated: 431 bytes of compressed data cannot hold 13000 x 13000 pixels"},
        {"promise-of-a-long-row.png", promise_of_a_long_row, ANX_ERR_FORMAT,
         "the PNG is truncated: 431 bytes of compressed data cannot hold 178956970 x 1 pixels"},
    };
    CHECK_CASES_WITHIN(cases, 100);
}

int main(int argc, char **argv) {
    static const anx_test tests[] = {
        {"a promise costs no memory", a_promise_costs_no_memory},
        {"broken headers are refused", broken_headers_are_refused},
        {"what is not read is said", what_is_not_read_is_said},
        {"broken data are refused", broken_data_are_refused},
        {NULL, NULL},
    };
    return anx_test_main("hostile_pngs", tests, argc, argv);
}
