#include "parity/device_list.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "parity/json_builder.h"
#include "parity/report_text_inside.h"
#include "src/base/version.h"

static anx_status out_of_memory(anx_error *err) {
    return anx_error_set(err, ANX_ERR_OUT_OF_MEMORY, "no memory for the list of devices");
}

/* ---- gathering ------------------------------------------------------------------------------------------ */

static anx_status keep_reason(const anx_error *why, char **reason, anx_error *err) {
    const size_t size = sizeof *why;
    *reason = malloc(size);
    if (*reason == NULL) return out_of_memory(err);
    anx_error_format(why, *reason, size);
    return ANX_OK;
}

static anx_status open_one(const anx_backend *backend, int ordinal, bool only, anx_listed_device *out, anx_error *err) {
    anx_error why = ANX_ERROR_INIT;
    anx_device *device = NULL;
    if (asprintf(&out->name, only ? "%s" : "%s:%d", backend->name, ordinal) < 0) {
        out->name = NULL;
        return out_of_memory(err);
    }
    if (anx_device_open_backend(backend, ordinal, NULL, &device, &why) != ANX_OK)
        return keep_reason(&why, &out->reason, err);
    anx_device_info info;
    anx_device_describe(device, &info);
    const anx_status status = anx_device_facts_copy(&info, &out->facts, err);
    anx_device_close(device);
    return status;
}

static anx_status open_each(anx_listed_backend *b, anx_error *err) {
    anx_error why = ANX_ERROR_INIT;
    const anx_backend *loaded = anx_backend_load(b->backend, &why);
    const int count = loaded != NULL ? loaded->device_count(&why) : 0;
    if (count < 1) return keep_reason(&why, &b->reason, err);
    b->devices = calloc((size_t)count, sizeof *b->devices);
    if (b->devices == NULL) return out_of_memory(err);
    anx_status status = ANX_OK;
    for (; status == ANX_OK && b->n_devices < count; b->n_devices++)
        status = open_one(loaded, b->n_devices, count == 1, &b->devices[b->n_devices], err);
    return status;
}

/* As anx_device_open chooses. */
static const char *choose(const anx_device_list *list) {
    for (int i = 0; i < list->n_backends; i++) {
        const anx_listed_backend *b = &list->backends[i];
        if (b->n_devices > 0 && (b->backend->load == NULL || b->devices[0].reason == NULL)) return b->devices[0].name;
    }
    return NULL;
}

anx_status anx_device_list_gather(anx_device_list *out, anx_error *err) {
    int n = 0;
    while (anx_backend_at(n) != NULL) n++;
    *out = (anx_device_list){.backends = calloc((size_t)n + 1, sizeof *out->backends)};
    if (out->backends == NULL) return out_of_memory(err);
    anx_status status = ANX_OK;
    for (; status == ANX_OK && out->n_backends < n; out->n_backends++) {
        out->backends[out->n_backends].backend = anx_backend_at(out->n_backends);
        status = open_each(&out->backends[out->n_backends], err);
    }
    out->automatic = choose(out);
    return status;
}

void anx_device_list_fini(anx_device_list *list) {
    for (int i = 0; i < list->n_backends; i++) {
        anx_listed_backend *b = &list->backends[i];
        for (int k = 0; k < b->n_devices; k++) {
            anx_device_facts_fini(&b->devices[k].facts);
            free(b->devices[k].name);
            free(b->devices[k].reason);
        }
        free(b->devices);
        free(b->reason);
    }
    free(list->backends);
    *list = (anx_device_list){.backends = NULL};
}

/* ---- views ---------------------------------------------------------------------------------------------- */

static void put_device(const anx_text_report *r, const anx_listed_device *d) {
    if (d->reason != NULL) {
        anx_report_put_fact(r, d->name, "does not open: %s", d->reason);
        return;
    }
    const anx_device_info info = anx_device_facts_info(&d->facts);
    char words[ANX_DEVICE_WORDS];
    anx_report_put_fact(r, d->name, "%s%s", anx_device_format(&info, words),
                        info.pytorch_bits ? "; claims PyTorch's own bits" : "");
    anx_report_put_device_lines(r, &info);
}

anx_status anx_device_list_text(const anx_device_list *list, bool color, char **text, size_t *n_bytes, anx_error *err) {
    const anx_report_options options = {.color = color};
    anx_text_stream s;
    const anx_status status = anx_text_stream_open(&s, err);
    if (status != ANX_OK) return status;
    const anx_text_report r = {.options = &options, .to = s.to, .stream = &s};
    for (int i = 0; i < list->n_backends; i++) {
        const anx_listed_backend *b = &list->backends[i];
        if (b->reason != NULL) anx_report_put_fact(&r, b->backend->name, "not here: %s", b->reason);
        for (int k = 0; k < b->n_devices; k++) put_device(&r, &b->devices[k]);
    }
    anx_report_put_fact(&r, "auto", "%s", list->automatic != NULL ? list->automatic : "none of them");
    return anx_text_stream_close(&s, text, n_bytes, err);
}

static void add_device(anx_json *j, cJSON *to, const anx_listed_device *d) {
    cJSON *o = anx_json_add_object(j, to, NULL);
    const anx_device_info info = anx_device_facts_info(&d->facts);
    anx_json_add_text(j, o, "name", d->name);
    anx_json_add_text(j, o, "reason", d->reason);
    if (d->reason == NULL)
        anx_json_add_device(j, o, "facts", &info);
    else
        anx_json_add_text(j, o, "facts", NULL);
}

anx_status anx_device_list_json(const anx_device_list *list, char **text, size_t *n_bytes, anx_error *err) {
    anx_json j = {.failed = false};
    cJSON *root = anx_json_root(&j);
    anx_json_add_integer(&j, root, "schema", 1);
    anx_json_add_text(&j, root, "version", ANX_VERSION);
    anx_json_add_text(&j, root, "auto", list->automatic);
    cJSON *backends = anx_json_add_array(&j, root, "backends");
    for (int i = 0; i < list->n_backends; i++) {
        const anx_listed_backend *b = &list->backends[i];
        cJSON *o = anx_json_add_object(&j, backends, NULL);
        anx_json_add_text(&j, o, "name", b->backend->name);
        anx_json_add_text(&j, o, "summary", b->backend->summary);
        anx_json_add_bool(&j, o, "plugin", b->backend->load != NULL);
        anx_json_add_text(&j, o, "reason", b->reason);
        cJSON *devices = anx_json_add_array(&j, o, "devices");
        for (int k = 0; k < b->n_devices; k++) add_device(&j, devices, &b->devices[k]);
    }
    return anx_json_print(&j, root, text, n_bytes, err);
}
