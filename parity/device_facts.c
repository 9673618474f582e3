#include "parity/device_facts.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "parity/json_builder.h"

static anx_status copy_text(char **out, const char *text, anx_error *err) {
    char *copy = strdup(text != NULL ? text : "");
    if (copy == NULL) return anx_error_set(err, ANX_ERR_OUT_OF_MEMORY, "no memory for what a device tells");
    free(*out);
    *out = copy;
    return ANX_OK;
}

anx_status anx_device_facts_copy(const anx_device_info *info, anx_device_facts *out, anx_error *err) {
    anx_status status = copy_text(&out->backend, info->backend, err);
    if (status == ANX_OK) status = copy_text(&out->device, info->device, err);
    if (status == ANX_OK) status = copy_text(&out->library, info->library, err);
    if (status == ANX_OK) status = copy_text(&out->isa, info->isa, err);
    if (status == ANX_OK) status = copy_text(&out->arithmetic, info->arithmetic, err);
    if (status == ANX_OK) status = copy_text(&out->capability, info->capability, err);
    if (status == ANX_OK) status = copy_text(&out->libraries, info->libraries, err);
    if (status == ANX_OK) status = copy_text(&out->notes, info->notes, err);
    out->threads = info->threads;
    out->math = info->math;
    out->deterministic = info->deterministic;
    out->pytorch_bits = info->pytorch_bits;
    out->memory_bytes = info->memory_bytes;
    out->free_bytes = info->free_bytes;
    return status;
}

void anx_device_facts_fini(anx_device_facts *d) {
    free(d->backend);
    free(d->device);
    free(d->library);
    free(d->isa);
    free(d->arithmetic);
    free(d->capability);
    free(d->libraries);
    free(d->notes);
    *d = (anx_device_facts){.threads = 0};
}

anx_device_info anx_device_facts_info(const anx_device_facts *d) {
    return (anx_device_info){.backend = d->backend,
                             .device = d->device,
                             .library = d->library,
                             .isa = d->isa,
                             .arithmetic = d->arithmetic,
                             .threads = d->threads,
                             .math = d->math,
                             .deterministic = d->deterministic,
                             .pytorch_bits = d->pytorch_bits,
                             .memory_bytes = d->memory_bytes,
                             .free_bytes = d->free_bytes,
                             .capability = d->capability,
                             .libraries = d->libraries,
                             .notes = d->notes};
}

/* ---- words ---------------------------------------------------------------------------------------------- */

static bool has(const char *text) {
    return text != NULL && text[0] != '\0';
}

static void append(char buf[ANX_DEVICE_WORDS], const char *format, ...) __attribute__((format(printf, 2, 3)));
static void append(char buf[ANX_DEVICE_WORDS], const char *format, ...) {
    size_t used = strlen(buf);
    if (used > 0) used += (size_t)snprintf(buf + used, ANX_DEVICE_WORDS - used, ", ");
    if (used >= ANX_DEVICE_WORDS) return;
    va_list args;
    va_start(args, format);
    vsnprintf(buf + used, ANX_DEVICE_WORDS - used, format, args);
    va_end(args);
}

char *anx_device_format(const anx_device_info *d, char buf[ANX_DEVICE_WORDS]) {
    buf[0] = '\0';
    if (has(d->library)) append(buf, "%s", d->library);
    if (has(d->isa)) append(buf, "%s", d->isa);
    if (has(d->capability)) append(buf, "compute capability %s", d->capability);
    if (has(d->arithmetic)) append(buf, "%s", d->arithmetic);
    if (d->math != ANX_MATH_FLOAT32) append(buf, "math %s", anx_math_mode_name(d->math));
    if (d->threads > 0) append(buf, "%d thread%s", d->threads, d->threads == 1 ? "" : "s");
    if (!d->deterministic) append(buf, "other bits in every run");
    return buf;
}

/* The i-th line of a text, and its length; NULL past the last one. Counts those passed over in *passed. */
static const char *line_at(const char *text, int i, int *passed, size_t *length) {
    *passed = 0;
    for (const char *at = text; has(at); at += *length + (at[*length] != '\0')) {
        *length = strcspn(at, "\n");
        if ((*passed)++ == i) return at;
    }
    return NULL;
}

bool anx_device_line(const anx_device_info *d, int i, char buf[ANX_DEVICE_WORDS]) {
    const double gib = 1024.0 * 1024.0 * 1024.0;
    if (d->memory_bytes > 0 && i-- == 0) {
        snprintf(buf, ANX_DEVICE_WORDS, "%.1f of %.1f GiB of memory free", (double)d->free_bytes / gib,
                 (double)d->memory_bytes / gib);
        return true;
    }
    int passed;
    size_t length;
    const char *line = line_at(d->libraries, i, &passed, &length);
    const char *what = "";
    if (line == NULL) {
        line = line_at(d->notes, i - passed, &passed, &length);
        what = "note: ";
    }
    if (line != NULL) snprintf(buf, ANX_DEVICE_WORDS, "%s%.*s", what, (int)length, line);
    return line != NULL;
}

/* ---- JSON ----------------------------------------------------------------------------------------------- */

static void add_lines(anx_json *json, cJSON *to, const char *key, const char *text) {
    cJSON *list = anx_json_add_array(json, to, key);
    char *copy = text != NULL ? strdup(text) : NULL, *rest = copy, *line;
    if (text != NULL && copy == NULL) json->failed = true;
    while ((line = strsep(&rest, "\n")) != NULL)
        if (line[0] != '\0') anx_json_add_text(json, list, NULL, line);
    free(copy);
}

void anx_json_add_device(anx_json *json, cJSON *to, const char *key, const anx_device_info *d) {
    cJSON *o = anx_json_add_object(json, to, key);
    anx_json_add_text(json, o, "backend", d->backend);
    anx_json_add_text(json, o, "device", d->device);
    anx_json_add_text(json, o, "library", d->library);
    anx_json_add_text(json, o, "isa", d->isa);
    anx_json_add_text(json, o, "arithmetic", d->arithmetic);
    anx_json_add_integer(json, o, "threads", d->threads);
    anx_json_add_text(json, o, "math", anx_math_mode_name(d->math));
    anx_json_add_bool(json, o, "deterministic", d->deterministic);
    anx_json_add_bool(json, o, "pytorch_bits", d->pytorch_bits);
    anx_json_add_text(json, o, "capability", has(d->capability) ? d->capability : NULL);
    if (d->memory_bytes > 0) {
        anx_json_add_integer(json, o, "memory_bytes", (int64_t)d->memory_bytes);
        anx_json_add_integer(json, o, "free_bytes", (int64_t)d->free_bytes);
    } else {
        anx_json_add_text(json, o, "memory_bytes", NULL);
        anx_json_add_text(json, o, "free_bytes", NULL);
    }
    add_lines(json, o, "libraries", d->libraries);
    add_lines(json, o, "notes", d->notes);
}
