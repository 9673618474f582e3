#include "src/base/status.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

const char *anx_status_name(anx_status status) {
    switch (status) {
    case ANX_OK: return "ok";
    case ANX_ERR_INVALID_ARGUMENT: return "invalid argument";
    case ANX_ERR_OUT_OF_MEMORY: return "out of memory";
    case ANX_ERR_IO: return "input/output error";
    case ANX_ERR_NOT_FOUND: return "not found";
    case ANX_ERR_EXISTS: return "already exists";
    case ANX_ERR_FORMAT: return "malformed file";
    case ANX_ERR_UNSUPPORTED: return "unsupported";
    case ANX_ERR_MISMATCH: return "mismatch";
    case ANX_ERR_LIMIT: return "limit exceeded";
    case ANX_ERR_DEVICE: return "device error";
    case ANX_ERR_INTERRUPTED: return "interrupted";
    case ANX_ERR_INTERNAL: return "internal error";
    }
    return "unknown status";
}

static void start(anx_error *err, anx_status status) {
    /* Not a memset of the whole object: it is 18 KiB, and errors are also used to probe. */
    err->status = status;
    err->sys_errno = 0;
    err->native_code = 0;
    err->has_offset = false;
    err->offset = 0;
    err->file[0] = err->entry[0] = err->layer[0] = err->message[0] = '\0';
}

anx_status anx_error_set(anx_error *err, anx_status status, const char *format, ...) {
    if (err == NULL) return status;
    start(err, status);
    va_list ap;
    va_start(ap, format);
    vsnprintf(err->message, sizeof err->message, format, ap);
    va_end(ap);
    return status;
}

anx_status anx_error_set_errno(anx_error *err, anx_status status, int sys_errno, const char *format, ...) {
    if (err == NULL) return status;
    start(err, status);
    err->sys_errno = sys_errno;
    va_list ap;
    va_start(ap, format);
    vsnprintf(err->message, sizeof err->message, format, ap);
    va_end(ap);
    size_t used = strlen(err->message);
    snprintf(err->message + used, sizeof err->message - used, ": %s", strerror(sys_errno));
    return status;
}

void anx_error_prefix(anx_error *err, const char *format, ...) {
    if (err == NULL) return;
    char text[1024];
    va_list ap;
    va_start(ap, format);
    vsnprintf(text, sizeof text, format, ap);
    va_end(ap);
    const size_t before = strlen(text), room = sizeof err->message - 1 - before;
    size_t kept = strlen(err->message);
    if (kept > room) kept = room;
    memmove(err->message + before, err->message, kept);
    memcpy(err->message, text, before);
    err->message[before + kept] = '\0';
}

static void fill(char *field, size_t size, const char *text) {
    if (field[0] == '\0' && text != NULL) snprintf(field, size, "%s", text);
}

void anx_error_in_file(anx_error *err, const char *path) {
    if (err != NULL) fill(err->file, sizeof err->file, path);
}

void anx_error_in_entry(anx_error *err, const char *entry) {
    if (err != NULL) fill(err->entry, sizeof err->entry, entry);
}

void anx_error_in_layer(anx_error *err, const char *layer) {
    if (err != NULL) fill(err->layer, sizeof err->layer, layer);
}

void anx_error_at_offset(anx_error *err, uint64_t offset) {
    if (err == NULL || err->has_offset) return;
    err->has_offset = true;
    err->offset = offset;
}

char *anx_error_format(const anx_error *err, char *buf, size_t size) {
    char where[64] = "";
    if (err->has_offset) snprintf(where, sizeof where, "offset %llu", (unsigned long long)err->offset);
    const bool entry = err->entry[0] != '\0', layer = err->layer[0] != '\0', file = err->file[0] != '\0';
    snprintf(buf, size, "%s%s%s%s%s%s%s%s%s%s%s%s%s", file ? err->file : "", file ? ": " : "", entry ? "entry '" : "",
             entry ? err->entry : "", entry ? "'" : "", entry && err->has_offset ? ", " : "", where,
             entry || err->has_offset ? ": " : "", layer ? "layer '" : "", layer ? err->layer : "", layer ? "': " : "",
             err->message[0] != '\0' ? err->message : anx_status_name(err->status), "");
    return buf;
}
