#include "loaders/image/png_chunks.h"

#include <string.h>
#include <zlib.h>

enum { SIGNATURE_BYTES = 8, MAX_TEXT_BYTES = 1 << 20 /* Pillow's MAX_TEXT_CHUNK */ };

typedef struct chunk {
    size_t at; /* file offset of its length field */
    char type[5];
    const uint8_t *data;
    size_t length; /* what it says; the data may be cut off */
    size_t there;  /* bytes of data that the file holds */
} chunk;

static uint32_t be32(const uint8_t *p) {
    return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

static bool is_type(const chunk *c, const char *type) {
    return memcmp(c->type, type, 4) == 0;
}

typedef enum peek { PEEK_CHUNK, PEEK_END, PEEK_BROKEN } peek;

/* The chunk at `at`: PEEK_END where the file is over, PEEK_BROKEN where no type can be. */
static peek peek_chunk(const uint8_t *bytes, size_t n_bytes, size_t at, chunk *out) {
    if (at > n_bytes || n_bytes - at < 4) return PEEK_END;
    *out = (chunk){.at = at, .length = be32(bytes + at)};
    if (n_bytes - at < 8) return PEEK_BROKEN;
    for (int i = 0; i < 4; i++) {
        const uint8_t b = bytes[at + 4 + (size_t)i];
        const bool word = (b >= 'a' && b <= 'z') || (b >= 'A' && b <= 'Z') || (b >= '0' && b <= '9') || b == '_';
        if (!word) return PEEK_BROKEN;
        out->type[i] = (char)b;
    }
    out->data = bytes + at + 8;
    const size_t left = n_bytes - at - 8;
    out->there = out->length < left ? out->length : left;
    return PEEK_CHUNK;
}

static size_t after(const chunk *c) {
    return c->at + 12 + c->length; /* length, type, data, checksum: below 2^32 + 12 beyond the chunk, so no overflow */
}

static anx_status cut_off(const chunk *c, anx_error *err) {
    return anx_error_set(err, ANX_ERR_FORMAT, "the PNG is truncated: chunk %s says %zu bytes, the file has %zu of them",
                         c->type, c->length, c->there);
}

/* ---- ancillary chunks ---- */

/* Whether a compressed text goes on after 1 MiB, where Pillow gives up. Damaged ones do not matter to it. */
static bool inflates_too_far(const uint8_t *data, size_t n_bytes) {
    z_stream z = {.next_in = (uint8_t *)(uintptr_t)data, .avail_in = (uInt)n_bytes};
    if (inflateInit(&z) != Z_OK) return false;
    uint8_t out[4096];
    size_t total = 0;
    int got = Z_OK;
    while (got == Z_OK && total < MAX_TEXT_BYTES) {
        z.next_out = out;
        z.avail_out = sizeof out;
        got = inflate(&z, Z_NO_FLUSH);
        if (z.avail_out == sizeof out) break;
        total += sizeof out - z.avail_out;
    }
    const bool too_far = got == Z_OK && total >= MAX_TEXT_BYTES && z.avail_in > 0;
    inflateEnd(&z);
    return too_far;
}

static const uint8_t *find_zero(const uint8_t *begin, const uint8_t *end) {
    return begin < end ? memchr(begin, 0, (size_t)(end - begin)) : NULL;
}

/* Where the compressed part of an iCCP, zTXt or iTXt chunk begins; NULL where there is none. *method as Pillow sees it.
 */
static const uint8_t *compressed_part(const chunk *c, uint8_t *method) {
    const uint8_t *end = c->data + c->length;
    const uint8_t *zero = find_zero(c->data, end);
    *method = 0;
    if (is_type(c, "iTXt")) {
        if (zero == NULL || end - zero < 3 || zero[1] == 0 || zero[2] != 0) return NULL;
        const uint8_t *language_end = find_zero(zero + 3, end);
        const uint8_t *keyword_end = language_end == NULL ? NULL : find_zero(language_end + 1, end);
        return keyword_end == NULL ? NULL : keyword_end + 1;
    }
    if (is_type(c, "iCCP") && zero == NULL) zero = c->data - 1; /* bytes.find gives -1 */
    if (zero == NULL || zero + 1 >= end) return NULL;
    *method = zero[1];
    return zero + 2;
}

static anx_status check_compressed(const chunk *c, anx_error *err) {
    uint8_t method;
    const uint8_t *part = compressed_part(c, &method);
    if (method != 0)
        return anx_error_set(err, ANX_ERR_FORMAT, "chunk %s is compressed by method %u; PNG knows 0 alone", c->type,
                             method);
    if (part == NULL && is_type(c, "iCCP"))
        return anx_error_set(err, ANX_ERR_FORMAT, "chunk iCCP ends before its compression method");
    if (part == NULL) return ANX_OK;
    if (inflates_too_far(part, (size_t)(c->data + c->length - part)))
        return anx_error_set(err, ANX_ERR_LIMIT, "chunk %s decompresses to more than %d bytes, Pillow's limit", c->type,
                             MAX_TEXT_BYTES);
    return ANX_OK;
}

/* What Pillow's chunk handlers demand, whether or not the pixels depend on it. */
static anx_status check_fields(const chunk *c, anx_error *err) {
    static const struct {
        const char *type;
        size_t least_bytes;
    } fields[] = {{"gAMA", 4}, {"cHRM", 32}, {"sRGB", 1}, {"pHYs", 9},
                  {"acTL", 8}, {"fcTL", 26}, {"fdAT", 4}, {"iCCP", 2}};
    for (size_t i = 0; i < sizeof fields / sizeof fields[0]; i++)
        if (is_type(c, fields[i].type) && c->length < fields[i].least_bytes)
            return anx_error_set(err, ANX_ERR_FORMAT, "chunk %s has %zu bytes, too few for its fields", c->type,
                                 c->length);
    if (is_type(c, "iCCP") || is_type(c, "zTXt") || is_type(c, "iTXt")) return check_compressed(c, err);
    return ANX_OK;
}

/* ---- critical chunks ---- */

static bool known_header(uint8_t depth, uint8_t color) {
    const bool power = depth == 1 || depth == 2 || depth == 4 || depth == 8 || depth == 16;
    switch (color) {
    case ANX_PNG_GRAY: return power;
    case ANX_PNG_PALETTE: return power && depth <= 8;
    case ANX_PNG_RGB:
    case ANX_PNG_GRAY_ALPHA:
    case ANX_PNG_RGBA: return depth == 8 || depth == 16;
    default: return false;
    }
}

static anx_status read_ihdr(const chunk *c, anx_png_header *h, anx_error *err) {
    if (c->length < 13) return anx_error_set(err, ANX_ERR_FORMAT, "chunk IHDR has %zu bytes instead of 13", c->length);
    h->width = be32(c->data);
    h->height = be32(c->data + 4);
    h->depth = c->data[8];
    h->color = c->data[9];
    h->interlaced = c->data[12] != 0;
    if (!known_header(h->depth, h->color))
        return anx_error_set(err, ANX_ERR_FORMAT, "PNG has no images of %u bits per sample with color type %u",
                             h->depth, h->color);
    if (c->data[11] != 0)
        return anx_error_set(err, ANX_ERR_FORMAT, "the PNG says filter method %u; PNG knows 0 alone", c->data[11]);
    return ANX_OK;
}

static anx_status read_plte(const chunk *c, anx_png_header *h, anx_error *err) {
    if (h->color != ANX_PNG_PALETTE) return ANX_OK;
    if (c->length > sizeof h->palette)
        return anx_error_set(err, ANX_ERR_FORMAT, "chunk PLTE has %zu bytes, more than 256 colors", c->length);
    memset(h->palette, 0, sizeof h->palette);
    memcpy(h->palette, c->data, c->length - c->length % 3);
    return ANX_OK;
}

static anx_status check_trns(const chunk *c, const anx_png_header *h, anx_error *err) {
    const size_t least = h->color == ANX_PNG_GRAY ? 2 : h->color == ANX_PNG_RGB ? 6 : 0;
    if (c->length >= least) return ANX_OK;
    return anx_error_set(err, ANX_ERR_FORMAT, "chunk tRNS has %zu bytes instead of %zu", c->length, least);
}

static anx_status check_frame(const chunk *c, const anx_png_header *h, anx_error *err) {
    if (be32(c->data + 4) == h->width && be32(c->data + 8) == h->height && be32(c->data + 12) == 0 &&
        be32(c->data + 16) == 0)
        return ANX_OK;
    return anx_error_set(err, ANX_ERR_UNSUPPORTED, "an animated PNG whose first frame is not the whole image");
}

static anx_status read_before_data(const chunk *c, anx_png_header *h, anx_error *err) {
    anx_status status = check_fields(c, err);
    if (status != ANX_OK) return status;
    if (is_type(c, "IHDR")) return read_ihdr(c, h, err);
    if (is_type(c, "PLTE")) return read_plte(c, h, err);
    if (is_type(c, "tRNS")) return check_trns(c, h, err);
    if (is_type(c, "fcTL")) return check_frame(c, h, err);
    if (is_type(c, "acTL")) h->animated = true;
    return ANX_OK;
}

static anx_status check_crc(const uint8_t *bytes, size_t n_bytes, const chunk *c, anx_error *err) {
    const size_t at = c->at + 8 + c->length;
    if (n_bytes - at < 4)
        return anx_error_set(err, ANX_ERR_FORMAT, "the PNG ends inside the checksum of chunk %s", c->type);
    const uint32_t expected = be32(bytes + at);
    const uint32_t got = (uint32_t)crc32_z(0, bytes + c->at + 4, 4 + c->length);
    if (expected == got) return ANX_OK;
    return anx_error_set(err, ANX_ERR_FORMAT, "chunk %s is damaged: its checksum is %08x, the file says %08x", c->type,
                         got, expected);
}

anx_status anx_png_read_header(const uint8_t *bytes, size_t n_bytes, anx_png_header *out, anx_error *err) {
    anx_png_header h = {.width = 0};
    anx_status status;
    size_t at = SIGNATURE_BYTES;
    for (;;) {
        chunk c;
        const peek got = peek_chunk(bytes, n_bytes, at, &c);
        if (got == PEEK_END)
            status = anx_error_set(err, ANX_ERR_FORMAT, "the PNG is truncated: it ends before its image data");
        else if (got == PEEK_BROKEN)
            status = anx_error_set(err, ANX_ERR_FORMAT, "the PNG is damaged: no chunk begins where one should");
        else if (is_type(&c, "IDAT"))
            break;
        else if (is_type(&c, "IEND"))
            status = anx_error_set(err, ANX_ERR_FORMAT, "the PNG has no image data");
        else if (is_type(&c, "fdAT"))
            status = anx_error_set(err, ANX_ERR_UNSUPPORTED, "an animated PNG whose frames come before its image");
        else if (c.there < c.length)
            status = cut_off(&c, err);
        else {
            status = read_before_data(&c, &h, err);
            if (status == ANX_OK) status = check_crc(bytes, n_bytes, &c, err);
        }
        if (status != ANX_OK) goto out;
        at = after(&c);
    }
    if (h.depth == 0) {
        status = anx_error_set(err, ANX_ERR_FORMAT, "the PNG has no header (IHDR) before its image data");
        goto out;
    }
    h.data_at = at;
    *out = h;
    status = ANX_OK;
out:
    if (status != ANX_OK) anx_error_at_offset(err, at);
    return status;
}

bool anx_png_next_data(const uint8_t *bytes, size_t n_bytes, size_t *at, const uint8_t **data, size_t *data_bytes) {
    chunk c;
    if (peek_chunk(bytes, n_bytes, *at, &c) != PEEK_CHUNK || !is_type(&c, "IDAT")) return false;
    *data = c.data;
    *data_bytes = c.there;
    *at = after(&c);
    return true;
}

anx_status anx_png_check_tail(const uint8_t *bytes, size_t n_bytes, const anx_png_header *header, size_t at,
                              anx_error *err) {
    chunk c;
    while (peek_chunk(bytes, n_bytes, at, &c) == PEEK_CHUNK && !is_type(&c, "IEND")) {
        if (is_type(&c, "fcTL") && header->animated) break; /* the next frame, which nobody asks for */
        anx_status status = c.there < c.length ? cut_off(&c, err) : check_fields(&c, err);
        if (status != ANX_OK) {
            anx_error_at_offset(err, at);
            return status;
        }
        at = after(&c);
    }
    return ANX_OK;
}
