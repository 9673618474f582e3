#include "loaders/checkpoint/text.h"

#include <stdint.h>
#include <stdio.h>
#include <string.h>

int anx_utf8_sequence(const void *at, const void *last) {
    const uint8_t *p = at, *end = last;
    const uint8_t lead = *p++;
    if (lead < 0x80) return 1;
    const int more = lead >= 0xf0 ? 3 : lead >= 0xe0 ? 2 : 1;
    if (lead < 0xc2 || lead > 0xf4 || end - p < more) return 0;
    uint32_t code = lead & (0x3fu >> more);
    for (int i = 0; i < more; i++) {
        if ((*p & 0xc0) != 0x80) return 0;
        code = code << 6 | (*p++ & 0x3fu);
    }
    static const uint32_t least[4] = {0, 0x80, 0x800, 0x10000};
    if (code < least[more] || code > 0x10ffff || (code >= 0xd800 && code <= 0xdfff)) return 0;
    return more + 1;
}

bool anx_utf8_valid(const void *bytes, size_t n_bytes) {
    const uint8_t *p = bytes, *end = p + n_bytes;
    while (p < end) {
        const int n = anx_utf8_sequence(p, end);
        if (n == 0) return false;
        p += n;
    }
    return true;
}

/*
 * Is the sequence of n bytes at p a character that is shown as itself? Not the controls of ASCII and of ISO 6429 (a
 * terminal takes U+009B for ESC and '['), nor those that turn the direction of what follows or break the line.
 */
static bool is_shown(const uint8_t *p, int n) {
    if (n == 1) return *p >= 0x20 && *p != 0x7f;
    if (n == 2) return !(p[0] == 0xc2 && p[1] < 0xa0) && !(p[0] == 0xd8 && p[1] == 0x9c);
    if (n != 3 || p[0] != 0xe2) return n > 0;
    return !(p[1] == 0x80 && (p[2] == 0x8e || p[2] == 0x8f || (p[2] >= 0xa8 && p[2] <= 0xae))) &&
           !(p[1] == 0x81 && p[2] >= 0xa6 && p[2] <= 0xa9);
}

anx_status anx_json_scan(const char *json, size_t n, const char *whole, size_t *n_values, size_t *at, anx_error *err) {
    bool in_string = false;
    *n_values = 0;
    for (size_t i = 0; i < n; i++) {
        const char c = json[i];
        *at = i;
        if ((in_string && c >= 0 && c < ' ') || c == '\0')
            return anx_error_set(err, ANX_ERR_FORMAT, "%s holds a control character, 0x%02x", whole, (unsigned)c);
        if (in_string && c == '\\') {
            if (n - i >= 6 && memcmp(json + i, "\\u0000", 6) == 0)
                return anx_error_set(err, ANX_ERR_FORMAT, "%s holds a string with a NUL in it", whole);
            i++;
        } else if (c == '"') {
            in_string = !in_string;
        } else if (!in_string && (c == ',' || c == '[' || c == '{')) {
            ++*n_values;
        }
    }
    return ANX_OK;
}

const char *anx_json_skip_space(const char *at, const char *end) {
    while (at < end && memchr(" \t\r\n", *at, 4) != NULL) at++;
    return at;
}

char *anx_text_printable(const void *bytes, size_t n_bytes, char *buf, size_t size) {
    static const char more[] = "...";
    const uint8_t *p = bytes, *end = p + n_bytes;
    size_t used = 0;
    if (size == 0) return buf;
    while (p < end) {
        const int n = anx_utf8_sequence(p, end);
        const bool plain = is_shown(p, n);
        const size_t taken = plain ? (size_t)n : 1, needed = plain ? taken : 4;
        if (used + needed + sizeof more > size) { /* room for the dots is kept free all along */
            snprintf(buf + used, size - used, "%s", more);
            return buf;
        }
        if (plain)
            memcpy(buf + used, p, taken);
        else
            snprintf(buf + used, needed + 1, "\\x%02x", *p);
        used += needed;
        p += taken;
    }
    buf[used] = '\0';
    return buf;
}
