#include "loaders/image/decode.h"

#include <limits.h>
#include <string.h>

anx_status anx_image_check_size(uint32_t width, uint32_t height, anx_error *err) {
    if (width == 0 || height == 0)
        return anx_error_set(err, ANX_ERR_FORMAT, "the image is empty: its header says %u x %u pixels", width, height);
    const uint64_t pixels = (uint64_t)width * height;
    if (pixels > ANX_IMAGE_MAX_PIXELS)
        return anx_error_set(err, ANX_ERR_LIMIT,
                             "the header says %u x %u = %llu pixels; Pillow's limit against decompression bombs is %d",
                             width, height, (unsigned long long)pixels, ANX_IMAGE_MAX_PIXELS);
    return ANX_OK;
}

/* A file's first bytes: `text` at `at`, and the same of `also` where that is not NULL. */
typedef struct signature {
    const char *format;
    size_t at;
    const char *text;
    size_t text_bytes;
} signature;

#define SIGNATURE(format, at, text)                                                                                    \
    { format, at, text, sizeof(text) - 1 }

static const signature jpeg = SIGNATURE("JPEG", 0, "\xff\xd8\xff");
static const signature png = SIGNATURE("PNG", 0, "\x89PNG\r\n\x1a\n");

/* What Pillow may read and this decoder does not: named, so that the message can say what the file is. */
static const signature others[] = {
    SIGNATURE("a GIF image", 0, "GIF87a"),
    SIGNATURE("a GIF image", 0, "GIF89a"),
    SIGNATURE("a WebP image", 8, "WEBP"),
    SIGNATURE("a TIFF image", 0, "II*\0"),
    SIGNATURE("a TIFF image", 0, "MM\0*"),
    SIGNATURE("a BigTIFF image", 0, "II+\0"),
    SIGNATURE("a BigTIFF image", 0, "MM\0+"),
    SIGNATURE("a BMP image", 0, "BM"),
    SIGNATURE("a JPEG 2000 image", 0, "\0\0\0\x0cjP  \r\n\x87\n"),
    SIGNATURE("a JPEG 2000 codestream", 0, "\xff\x4f\xff\x51"),
    SIGNATURE("an AVIF image", 4, "ftypavif"),
    SIGNATURE("an AVIF image", 4, "ftypavis"),
    SIGNATURE("a HEIF image", 4, "ftypheic"),
    SIGNATURE("a HEIF image", 4, "ftypmif1"),
    SIGNATURE("a JPEG XL image", 0, "\0\0\0\x0cJXL \r\n\x87\n"),
    SIGNATURE("a JPEG XL codestream", 0, "\xff\x0a"),
    SIGNATURE("an icon", 0, "\0\0\1\0"),
    SIGNATURE("a PBM, PGM or PPM image", 0, "P1"),
    SIGNATURE("a PBM, PGM or PPM image", 0, "P2"),
    SIGNATURE("a PBM, PGM or PPM image", 0, "P3"),
    SIGNATURE("a PBM, PGM or PPM image", 0, "P4"),
    SIGNATURE("a PBM, PGM or PPM image", 0, "P5"),
    SIGNATURE("a PBM, PGM or PPM image", 0, "P6"),
    SIGNATURE("a Photoshop file", 0, "8BPS"),
    SIGNATURE("a PDF file", 0, "%PDF"),
    SIGNATURE("an MNG animation", 0, "\x8aMNG\r\n\x1a\n"),
};

static bool has(const signature *s, const uint8_t *bytes, size_t n_bytes) {
    return n_bytes >= s->at && n_bytes - s->at >= s->text_bytes && memcmp(bytes + s->at, s->text, s->text_bytes) == 0;
}

static anx_status refuse(const uint8_t *bytes, size_t n_bytes, anx_error *err) {
    if (n_bytes == 0) return anx_error_set(err, ANX_ERR_FORMAT, "the file is empty; a JPEG or PNG image was expected");
    for (size_t i = 0; i < sizeof others / sizeof others[0]; i++)
        if (has(&others[i], bytes, n_bytes))
            return anx_error_set(err, ANX_ERR_UNSUPPORTED, "%s; only JPEG and PNG are read: convert it",
                                 others[i].format);
    char head[3 * 8 + 1] = "";
    for (size_t i = 0; i < 8 && i < n_bytes; i++) {
        static const char digits[] = "0123456789abcdef";
        head[3 * i] = ' ';
        head[3 * i + 1] = digits[bytes[i] >> 4];
        head[3 * i + 2] = digits[bytes[i] & 15];
        head[3 * i + 3] = '\0';
    }
    return anx_error_set(err, ANX_ERR_FORMAT, "neither a JPEG nor a PNG image: it begins with%s", head);
}

anx_status anx_image_decode(const uint8_t *bytes, size_t n_bytes, const anx_image_sink *sink, anx_error *err) {
    if (has(&jpeg, bytes, n_bytes)) return anx_jpeg_decode(bytes, n_bytes, sink, err);
    if (has(&png, bytes, n_bytes)) return anx_png_decode(bytes, n_bytes, sink, err);
    return refuse(bytes, n_bytes, err);
}

typedef struct size_found {
    bool found;
    int32_t width, height;
} size_found;

/* Ends the decoding, which has nothing more to tell. */
static anx_status keep_size(void *context, int32_t width, int32_t height, anx_image_region *needed, anx_error *err) {
    (void)needed;
    (void)err;
    *(size_found *)context = (size_found){true, width, height};
    return ANX_ERR_INTERRUPTED;
}

static void pass_over(void *context, int32_t y, const uint8_t *rgb) {
    (void)context;
    (void)y;
    (void)rgb;
}

anx_status anx_image_size(const uint8_t *bytes, size_t n_bytes, int32_t *width, int32_t *height, anx_error *err) {
    size_found size = {.found = false};
    const anx_image_sink sink = {.begin = keep_size, .row = pass_over, .context = &size};
    const anx_status status = anx_image_decode(bytes, n_bytes, &sink, err);
    if (!size.found) return status;
    *width = size.width;
    *height = size.height;
    return ANX_OK;
}
