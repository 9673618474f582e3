#include "loaders/dataset/defects.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

static void add(anx_defects *d, const char *prefix, const char *format, va_list ap) {
    char line[1200];
    d->count++;
    const size_t before = (size_t)snprintf(line, sizeof line, "\n  %s", prefix);
    vsnprintf(line + before, sizeof line - before, format, ap);
    const size_t n = strlen(line);
    if (d->left_out > 0 || n >= sizeof d->text - d->used) {
        d->left_out++;
        return;
    }
    memcpy(d->text + d->used, line, n + 1);
    d->used += n;
}

void anx_defects_add(anx_defects *d, const char *format, ...) {
    va_list ap;
    va_start(ap, format);
    add(d, "", format, ap);
    va_end(ap);
}

void anx_defects_add_line(anx_defects *d, bool malformed, int64_t number, const char *format, ...) {
    char prefix[48];
    snprintf(prefix, sizeof prefix, "line %" PRId64 ": ", number);
    d->malformed = d->malformed || malformed;
    va_list ap;
    va_start(ap, format);
    add(d, prefix, format, ap);
    va_end(ap);
}

void anx_defects_hint(anx_defects *d, const char *format, ...) {
    if (d->hint[0] != '\0') return;
    va_list ap;
    va_start(ap, format);
    vsnprintf(d->hint, sizeof d->hint, format, ap);
    va_end(ap);
}

anx_status anx_defects_status(const anx_defects *d, const char *heading, anx_error *err) {
    if (d->count == 0) return ANX_OK;
    const anx_status status = d->malformed ? ANX_ERR_FORMAT : ANX_ERR_MISMATCH;
    const char *newline = d->hint[0] != '\0' ? "\n" : "";
    if (d->count == 1) return anx_error_set(err, status, "%s%s%s", d->text + strlen("\n  "), newline, d->hint);
    char more[64] = "";
    if (d->left_out > 0) snprintf(more, sizeof more, "\n  ... and %" PRId64 " more", d->left_out);
    return anx_error_set(err, status, "%" PRId64 " %s:%s%s%s%s", d->count, heading, d->text, more, newline, d->hint);
}
