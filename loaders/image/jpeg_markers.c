#include "loaders/image/jpeg_markers.h"

#include <string.h>

enum { DQT = 0xdb, SOS = 0xda, DHT = 0xc4, JPG = 0xc8, DAC = 0xcc, DNL = 0xdc, DRI = 0xdd, DHP = 0xde, EXP = 0xdf };
enum { SOF3 = 0xc3, APP0 = 0xe0, APP2 = 0xe2, APP14 = 0xee, APP15 = 0xef, COM = 0xfe };

typedef struct segment {
    const uint8_t *data;
    size_t n_bytes;
} segment;

static uint16_t be16(const uint8_t *p) {
    return (uint16_t)(p[0] << 8 | p[1]);
}

static bool starts_with(segment s, const char *text, size_t n_bytes) {
    return s.n_bytes >= n_bytes && memcmp(s.data, text, n_bytes) == 0;
}

static bool is_sof(uint8_t marker) {
    return marker == DHP || (marker >= 0xc0 && marker <= 0xcf && marker != DHT && marker != JPG && marker != DAC);
}

static bool has_segment(uint8_t marker) {
    return is_sof(marker) || marker == DHT || marker == DAC || (marker >= SOS && marker <= EXP) ||
           (marker >= APP0 && marker <= APP15) || marker == COM;
}

static anx_status read_sof(uint8_t marker, segment s, anx_jpeg_frame *frame, anx_error *err) {
    if (s.n_bytes < 6) return anx_error_set(err, ANX_ERR_FORMAT, "the JPEG's frame header has %zu bytes", s.n_bytes);
    frame->sof = marker;
    frame->bits = s.data[0];
    frame->height = be16(s.data + 1);
    frame->width = be16(s.data + 3);
    frame->components = s.data[5];
    if (frame->bits != 8)
        return anx_error_set(err, ANX_ERR_UNSUPPORTED, "a JPEG with %u bits per sample; only 8 are read, by Pillow too",
                             frame->bits);
    if (frame->components != 1 && frame->components != 3 && frame->components != 4)
        return anx_error_set(err, ANX_ERR_UNSUPPORTED,
                             "a JPEG with %u components; only 1, 3 and 4 are read, by Pillow too", frame->components);
    if ((s.n_bytes - 6) % 3 != 0)
        return anx_error_set(err, ANX_ERR_FORMAT,
                             "the JPEG's frame header has %zu bytes, which is no whole number "
                             "of components",
                             s.n_bytes);
    if (marker == SOF3) /* libjpeg-turbo reads them from version 3 on; refused with every version alike */
        return anx_error_set(err, ANX_ERR_UNSUPPORTED,
                             "a lossless JPEG, which Pillow 13 reads and anx does not; convert it");
    return ANX_OK;
}

static anx_status check_dqt(segment s, anx_error *err) {
    size_t at = 0;
    while (at < s.n_bytes) {
        const size_t table_bytes = 1 + (s.data[at] < 16 ? 64 : 128);
        if (s.n_bytes - at < table_bytes)
            return anx_error_set(err, ANX_ERR_FORMAT, "a quantization table of the JPEG ends early");
        at += table_bytes;
    }
    return ANX_OK;
}

/* The few application segments whose fields Pillow reads without looking at their length first. */
static anx_status check_app(uint8_t marker, segment s, anx_error *err) {
    static const char icc[] = "ICC_PROFILE"; /* with its terminator */
    const bool bad = (marker == APP0 && starts_with(s, "JFIF", 4) && s.n_bytes < 7) ||
                     (marker == APP14 && starts_with(s, "Adobe", 5) && s.n_bytes < 7) ||
                     (marker == APP2 && starts_with(s, icc, sizeof icc) && s.n_bytes < 14);
    if (!bad) return ANX_OK;
    return anx_error_set(err, ANX_ERR_FORMAT, "the JPEG's APP%d segment of %zu bytes is too short", marker & 15,
                         s.n_bytes);
}

static anx_status read_segment(uint8_t marker, segment s, anx_jpeg_frame *frame, anx_error *err) {
    if (is_sof(marker)) return read_sof(marker, s, frame, err);
    if (marker == DQT) return check_dqt(s, err);
    if (marker >= APP0 && marker <= APP15) return check_app(marker, s, err);
    return ANX_OK;
}

anx_status anx_jpeg_read_frame(const uint8_t *bytes, size_t n_bytes, anx_jpeg_frame *out, anx_error *err) {
    anx_jpeg_frame frame = {0};
    anx_status status;
    size_t at = 2;
    for (;;) {
        /* Pillow skips whatever lies between segments, fill bytes and stuffed zeros included. */
        while (at < n_bytes && bytes[at] != 0xff) at++;
        while (at < n_bytes && bytes[at] == 0xff) at++;
        if (at >= n_bytes) {
            status = anx_error_set(err, ANX_ERR_FORMAT, "the JPEG has no image data: it ends before its first scan");
            goto out;
        }
        const uint8_t marker = bytes[at];
        if (marker != 0 && marker < 0xc0) {
            status = anx_error_set(err, ANX_ERR_FORMAT, "FF %02X is no marker of a JPEG header", marker);
            goto out;
        }
        at++;
        if (marker == 0 || !has_segment(marker)) continue;

        if (n_bytes - at < 2) {
            status = anx_error_set(err, ANX_ERR_FORMAT, "the JPEG ends inside its header");
            goto out;
        }
        const size_t length = be16(bytes + at);
        const segment s = {.data = bytes + at + 2, .n_bytes = length > 2 ? length - 2 : 0};
        if (n_bytes - at - 2 < s.n_bytes) {
            status = anx_error_set(err, ANX_ERR_FORMAT,
                                   "the JPEG ends inside its header: segment FF %02X says %zu bytes", marker, length);
            goto out;
        }
        status = read_segment(marker, s, &frame, err);
        if (status != ANX_OK) goto out;
        at += 2 + s.n_bytes;
        if (marker == SOS) break;
    }
    if (frame.sof == 0) {
        status = anx_error_set(err, ANX_ERR_FORMAT, "the JPEG's first scan comes before any frame header");
        goto out;
    }
    *out = frame;
    status = ANX_OK;
out:
    if (status != ANX_OK) anx_error_at_offset(err, at);
    return status;
}
