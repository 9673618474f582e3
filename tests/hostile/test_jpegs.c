/* Malformed, foreign and oversized files that are no PNG: each is refused with a message that says what is wrong. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/hostile/image_cases.h"
#include "tests/image/jpeg_encode.h"
#include "tests/support/anx_test.h"

enum { SOF0 = 0xc0, SOF2 = 0xc2, SOF3 = 0xc3, SOF5 = 0xc5, DHT = 0xc4 };
enum { SOI = 0xd8, EOI = 0xd9, SOS = 0xda, DQT = 0xdb, APP0 = 0xe0 };

/* ---- parts ---- */

/* A whole file of 40 x 30 noise. */
static void add_jpeg(bytes *b, const char *space, const char *sampling, const char *flags) {
    static uint8_t samples[40 * 30 * 4];
    uint32_t state = 1;
    for (size_t i = 0; i < sizeof samples; i++) samples[i] = (uint8_t)((state = state * 1664525u + 1013904223u) >> 24);
    const jpeg_kind kind = {space, 75, sampling, flags, 0};
    size_t n = 0;
    uint8_t *file = jpeg_encode(&kind, 40, 30, samples, &n);
    bytes_add(b, file, n);
    free(file);
}

static void plain(bytes *b) {
    add_jpeg(b, "ycc", "2x2,1x1,1x1", "-");
}

static size_t marker_at(const bytes *b, unsigned marker) {
    const uint8_t two[] = {0xff, (uint8_t)marker};
    return bytes_find(b, two, sizeof two);
}

static void add_start(bytes *b) {
    bytes_add(b, "\xff\xd8", 2);
}

static void add_frame(bytes *b, unsigned marker, unsigned bits, unsigned height, unsigned width, unsigned components) {
    bytes data = {.data = NULL};
    const uint8_t first = (uint8_t)bits, count = (uint8_t)components;
    bytes_add(&data, &first, 1);
    bytes_add_be16(&data, height);
    bytes_add_be16(&data, width);
    bytes_add(&data, &count, 1);
    for (unsigned i = 0; i < components; i++) {
        const uint8_t component[] = {(uint8_t)(i + 1), 0x11, 0};
        bytes_add(&data, component, sizeof component);
    }
    bytes_add_segment(b, marker, data.data, data.n);
    bytes_fini(&data);
}

/* Its header says a scan of one component follows. */
static void add_scan(bytes *b) {
    bytes_add_segment(b, SOS, "\x01\x01\x00\x00\x3f\x00", 6);
}

/* ---- other formats, and none ---- */

#define FOREIGN(function, text)                                                                                        \
    static void function(bytes *b) {                                                                                   \
        bytes_add(b, text, sizeof(text) - 1);                                                                          \
    }
FOREIGN(empty, "")
FOREIGN(words, "<html>not an image</html>")
FOREIGN(two_bytes, "\xff\xd8")
FOREIGN(gif, "GIF89a\1\0\1\0\0\0\0;")
FOREIGN(webp, "RIFF\x1a\0\0\0WEBPVP8L")
FOREIGN(tiff, "II*\0\x08\0\0\0")
FOREIGN(tiff_big_endian, "MM\0*\0\0\0\x08")
FOREIGN(bmp, "BM\x46\0\0\0\0\0\0\0\x36\0\0\0")
FOREIGN(jp2, "\0\0\0\x0cjP  \r\n\x87\n\0\0\0\x14")
FOREIGN(avif, "\0\0\0\x20"
              "ftypavif\0\0\0\0")
FOREIGN(ppm, "P6 1 1 255 abc")

static void other_formats_are_named(void) {
    static const image_case cases[] = {
        {"empty.jpg", empty, ANX_ERR_FORMAT, "the file is empty; a JPEG or PNG image was expected"},
        {"words.jpg", words, ANX_ERR_FORMAT, "neither a JPEG nor a PNG image: it begins with 3c 68 74 6d 6c 3e 6e 6f"},
        {"two-bytes.jpg", two_bytes, ANX_ERR_FORMAT, "neither a JPEG nor a PNG image: it begins with ff d8"},
        {"gif.jpg", gif, ANX_ERR_UNSUPPORTED, "a GIF image; only JPEG and PNG are read: convert it"},
        {"webp.jpg", webp, ANX_ERR_UNSUPPORTED, "a WebP image; only JPEG and PNG are read: convert it"},
        {"tiff.jpg", tiff, ANX_ERR_UNSUPPORTED, "a TIFF image; only JPEG and PNG are read: convert it"},
        {"tiff-be.jpg", tiff_big_endian, ANX_ERR_UNSUPPORTED, "a TIFF image; only JPEG and PNG are read: convert it"},
        {"bmp.jpg", bmp, ANX_ERR_UNSUPPORTED, "a BMP image; only JPEG and PNG are read: convert it"},
        {"jp2.jpg", jp2, ANX_ERR_UNSUPPORTED, "a JPEG 2000 image; only JPEG and PNG are read: convert it"},
        {"avif.jpg", avif, ANX_ERR_UNSUPPORTED, "an AVIF image; only JPEG and PNG are read: convert it"},
        {"ppm.jpg", ppm, ANX_ERR_UNSUPPORTED, "a PBM, PGM or PPM image; only JPEG and PNG are read: convert it"},
    };
    CHECK_CASES(cases);
}

/* ---- headers ---- */

static void signature_alone(bytes *b) {
    bytes_add(b, "\xff\xd8\xff", 3);
}

static void header_alone(bytes *b) {
    add_start(b);
    add_frame(b, SOF0, 8, 30, 40, 1);
}

static void cut_in_segment(bytes *b) {
    plain(b);
    b->n = marker_at(b, DQT) + 20;
}

static void cut_in_length(bytes *b) {
    plain(b);
    b->n = marker_at(b, DQT) + 3;
}

static void twelve_bits(bytes *b) {
    add_start(b);
    add_frame(b, SOF0 + 1, 12, 30, 40, 1);
    add_scan(b);
}

static void two_components(bytes *b) {
    add_jpeg(b, "two", "1x1,1x1", "-");
}

static void five_components(bytes *b) {
    add_start(b);
    add_frame(b, SOF0, 8, 30, 40, 5);
    add_scan(b);
}

static void short_frame(bytes *b) {
    add_start(b);
    bytes_add_segment(b, SOF0, "\x08\0\x1e\0", 4);
    add_scan(b);
}

static void uneven_frame(bytes *b) {
    plain(b);
    const size_t at = marker_at(b, SOF0);
    b->data[at + 3] = (uint8_t)(b->data[at + 3] - 1);
    bytes_remove(b, at + 10, 1);
}

static void short_quantization(bytes *b) {
    add_start(b);
    bytes_add_segment(b, DQT, "\0\1\2\3", 4);
    add_frame(b, SOF0, 8, 30, 40, 1);
    add_scan(b);
}

static void short_jfif(bytes *b) {
    add_start(b);
    bytes_add_segment(b, APP0, "JFIF\0", 5);
    add_frame(b, SOF0, 8, 30, 40, 1);
    add_scan(b);
}

static void unknown_marker(bytes *b) {
    plain(b);
    bytes_insert(b, 2, "\xff\x02", 2);
}

static void scan_without_frame(bytes *b) {
    add_start(b);
    add_scan(b);
}

static void no_width(bytes *b) {
    add_start(b);
    add_frame(b, SOF0, 8, 30, 0, 1);
    add_scan(b);
}

static void no_height(bytes *b) {
    add_start(b);
    add_frame(b, SOF2, 8, 0, 40, 1);
    add_scan(b);
}

static void bomb(bytes *b) {
    plain(b);
    memcpy(b->data + marker_at(b, SOF0) + 5, "\xff\xff\xff\xff", 4);
}

/* One pixel column more than Pillow lets through. */
static void just_too_large(bytes *b) {
    add_start(b);
    add_frame(b, SOF0, 8, 13377, 13379, 1);
    add_scan(b);
}

static void broken_headers_are_refused(void) {
    static const image_case cases[] = {
        {"signature-alone.jpg", signature_alone, ANX_ERR_FORMAT,
         "offset 3: the JPEG has no image data: it ends before its first scan"},
        {"header-alone.jpg", header_alone, ANX_ERR_FORMAT,
         "offset 15: the JPEG has no image data: it ends before its first scan"},
        {"cut-in-segment.jpg", cut_in_segment, ANX_ERR_FORMAT,
         "offset 22: the JPEG ends inside its header: segment FF DB says 67 bytes"},
        {"cut-in-length.jpg", cut_in_length, ANX_ERR_FORMAT, "offset 22: the JPEG ends inside its header"},
        {"twelve-bits.jpg", twelve_bits, ANX_ERR_UNSUPPORTED,
         "offset 4: a JPEG with 12 bits per sample; only 8 are read, by Pillow too"},
        {"two-components.jpg", two_components, ANX_ERR_UNSUPPORTED,
         "offset 73: a JPEG with 2 components; only 1, 3 and 4 are read, by Pillow too"},
        {"five-components.jpg", five_components, ANX_ERR_UNSUPPORTED,
         "offset 4: a JPEG with 5 components; only 1, 3 and 4 are read, by Pillow too"},
        {"short-frame.jpg", short_frame, ANX_ERR_FORMAT, "offset 4: the JPEG's frame header has 4 bytes"},
        {"uneven-frame.jpg", uneven_frame, ANX_ERR_FORMAT,
         "offset 160: the JPEG's frame header has 14 bytes, which is no whole number of components"},
        {"short-quantization.jpg", short_quantization, ANX_ERR_FORMAT,
         "offset 4: a quantization table of the JPEG ends early"},
        {"short-jfif.jpg", short_jfif, ANX_ERR_FORMAT, "offset 4: the JPEG's APP0 segment of 5 bytes is too short"},
        {"unknown-marker.jpg", unknown_marker, ANX_ERR_FORMAT, "offset 3: FF 02 is no marker of a JPEG header"},
        {"scan-without-frame.jpg", scan_without_frame, ANX_ERR_FORMAT,
         "offset 12: the JPEG's first scan comes before any frame header"},
        {"no-width.jpg", no_width, ANX_ERR_FORMAT, "the image is empty: its header says 0 x 30 pixels"},
        {"no-height.jpg", no_height, ANX_ERR_FORMAT, "the image is empty: its header says 40 x 0 pixels"},
        {"bomb.jpg", bomb, ANX_ERR_LIMIT,
         "the header says 65535 x 65535 = 4294836225 pixels; Pillow's limit against decompression bombs is 178956970"},
        {"just-too-large.jpg", just_too_large, ANX_ERR_LIMIT,
         "the header says 13379 x 13377 = 178970883 pixels; Pillow's limit against decompression bombs is 178956970"},
    };
    CHECK_CASES(cases);
}

/* ---- what libjpeg refuses ---- */

static void hierarchical(bytes *b) {
    plain(b);
    b->data[marker_at(b, SOF0) + 1] = SOF5;
}

/* A whole lossless file, all gray, which Pillow reads: every difference is of category 0, whose code is one zero bit.
 */
static void lossless(bytes *b) {
    static const uint8_t one_code[] = {0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0};
    static const uint8_t zeros[40 * 30 / 8];
    add_start(b);
    add_frame(b, SOF3, 8, 30, 40, 1);
    bytes_add_segment(b, DHT, one_code, sizeof one_code);
    bytes_add_segment(b, SOS, "\x01\x01\x00\x01\x00\x00", 6);
    bytes_add(b, zeros, sizeof zeros);
    bytes_add(b, "\xff\xd9", 2);
}

static void no_quantization(bytes *b) {
    plain(b);
    const size_t at = marker_at(b, DQT);
    bytes_remove(b, at, 2 * (2 + 67)); /* two tables */
}

static void bogus_sampling(bytes *b) {
    plain(b);
    b->data[marker_at(b, SOF0) + 11] = 0x51;
}

static void fractional_sampling(bytes *b) {
    plain(b);
    const size_t at = marker_at(b, SOF0);
    b->data[at + 11] = 0x31;
    b->data[at + 14] = 0x21;
}

static void bogus_huffman(bytes *b) {
    plain(b);
    memset(b->data + marker_at(b, DHT) + 5, 0xff, 16);
}

static void two_frames(bytes *b) {
    plain(b);
    const size_t at = marker_at(b, SOF0);
    uint8_t copy[19];
    memcpy(copy, b->data + at, sizeof copy);
    bytes_insert(b, at, copy, sizeof copy);
}

static void two_starts(bytes *b) {
    plain(b);
    bytes_insert(b, 2, "\xff\xd8", 2);
}

static void reserved_marker(bytes *b) {
    plain(b);
    bytes_insert(b, 2, "\xff\xf3", 2);
}

static void bad_scan(bytes *b) {
    plain(b);
    b->data[marker_at(b, SOS) + 5] = 9; /* a component that the frame does not have */
}

static void what_libjpeg_raises_is_an_error(void) {
    static const image_case cases[] = {
        {"hierarchical.jpg", hierarchical, ANX_ERR_UNSUPPORTED,
         "offset 160: libjpeg: Unsupported JPEG process: SOF type 0xc5"},
        {"unread-lossless.jpg", lossless, ANX_ERR_UNSUPPORTED,
         "offset 4: a lossless JPEG, which Pillow 13 reads and anx does not; convert it"},
        {"no-quantization.jpg", no_quantization, ANX_ERR_FORMAT,
         "offset 485: libjpeg: Quantization table 0x00 was not defined"},
        {"bogus-sampling.jpg", bogus_sampling, ANX_ERR_FORMAT, "offset 623: libjpeg: Bogus sampling factors"},
        {"fractional-sampling.jpg", fractional_sampling, ANX_ERR_UNSUPPORTED,
         "offset 623: libjpeg: Fractional sampling not implemented yet"},
        {"bogus-huffman.jpg", bogus_huffman, ANX_ERR_FORMAT, "offset 179: libjpeg: Bogus Huffman table definition"},
        {"two-frames.jpg", two_frames, ANX_ERR_FORMAT,
         "offset 179: libjpeg: Invalid JPEG file structure: two SOF markers"},
        {"two-starts.jpg", two_starts, ANX_ERR_FORMAT,
         "offset 4: libjpeg: Invalid JPEG file structure: two SOI markers"},
        {"reserved-marker.jpg", reserved_marker, ANX_ERR_FORMAT, "offset 4: libjpeg: Unsupported marker type 0xf3"},
        {"bad-scan.jpg", bad_scan, ANX_ERR_FORMAT, "offset 611: libjpeg: Invalid component ID 9 in SOS"},
    };
    CHECK_CASES(cases);
}

/* ---- data ---- */

static void cut(bytes *b) {
    plain(b);
    b->n = 1000;
}

static void cut_before_end_marker(bytes *b) {
    plain(b);
    b->n -= 30;
}

static void cut_progressive(bytes *b) {
    add_jpeg(b, "ycc", "2x2,1x1,1x1", "p");
    b->n = 900;
}

static void cut_arithmetic(bytes *b) {
    add_jpeg(b, "ycc", "1x1,1x1,1x1", "a");
    b->n = 900;
}

/* 13000 x 13000 pixels are promised; a few bytes follow. */
static void promise(bytes *b) {
    plain(b);
    memcpy(b->data + marker_at(b, SOF0) + 5, "\x32\xc8\x32\xc8", 4);
    b->n -= 2;
}

static void promise_progressive(bytes *b) {
    add_jpeg(b, "ycc", "2x2,1x1,1x1", "p");
    memcpy(b->data + marker_at(b, SOF2) + 5, "\x32\xc8\x32\xc8", 4);
    b->n = marker_at(b, SOS) + 30;
}

static void broken_after_the_last_row(bytes *b) {
    plain(b);
    bytes_insert(b, b->n - 2, "\xff\x02", 2);
}

static void large_arithmetic(bytes *b) {
    enum { SIDE = 400 };
    uint8_t *samples = malloc(SIDE * SIDE);
    uint32_t state = 1;
    for (size_t i = 0; i < SIDE * SIDE; i++) samples[i] = (uint8_t)((state = state * 1664525u + 1013904223u) >> 24);
    const jpeg_kind kind = {"gray", 95, "1x1", "a", 0};
    size_t n = 0;
    uint8_t *file = jpeg_encode(&kind, SIDE, SIDE, samples, &n);
    bytes_add(b, file, n);
    free(file);
    free(samples);
}

static void truncated_data_are_refused(void) {
    static const image_case cases[] = {
        {"cut.jpg", cut, ANX_ERR_FORMAT, "offset 1000: the JPEG is truncated: its data end before its last row"},
        {"cut-before-end-marker.jpg", cut_before_end_marker, ANX_ERR_FORMAT,
         "offset 1400: the JPEG is truncated: its data end before its last row"},
        {"cut-progressive.jpg", cut_progressive, ANX_ERR_FORMAT,
         "offset 900: the JPEG is truncated: its data end before its last row"},
        {"cut-arithmetic.jpg", cut_arithmetic, ANX_ERR_FORMAT,
         "offset 900: the JPEG is truncated: its data end before its last row"},
        {"broken-after-the-last-row.jpg", broken_after_the_last_row, ANX_ERR_FORMAT,
         "offset 1430: libjpeg: Unsupported marker type 0x02"},
        {"large-arithmetic.jpg", large_arithmetic, ANX_ERR_UNSUPPORTED,
         "an arithmetic-coded JPEG of more than 65536 bytes, which Pillow does not read either"},
    };
    CHECK_CASES(cases);
}

/* They are allowed, and 500 MB decoded; not being there, they cost none. */
static void a_promise_costs_no_memory(void) {
    static const image_case cases[] = {
        {"promise.jpg", promise, ANX_ERR_FORMAT,
         "offset 1428: the JPEG is truncated: its data end before its last row"},
        {"promise-progressive.jpg", promise_progressive, ANX_ERR_FORMAT,
         "offset 258: the JPEG is truncated: its data end before its last row"},
    };
    CHECK_CASES_WITHIN(cases, 200);
}

int main(int argc, char **argv) {
    static const anx_test tests[] = {
        {"a promise costs no memory", a_promise_costs_no_memory},
        {"other formats are named", other_formats_are_named},
        {"broken headers are refused", broken_headers_are_refused},
        {"what libjpeg raises is an error", what_libjpeg_raises_is_an_error},
        {"truncated data are refused", truncated_data_are_refused},
        {NULL, NULL},
    };
    return anx_test_main("hostile_jpegs", tests, argc, argv);
}
