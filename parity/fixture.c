#include "parity/fixture.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "parity/fixture_reader.h"

enum {
    newest_schema = 1,
    max_json_bytes = 8 << 20, /* cJSON spends about 80 bytes on each value; the project's own have 100 to 200 KB */
    max_recorder = 64
};

static anx_status read_recorder(anx_fixture_reader *r, anx_fixture *out) {
    const cJSON *object = NULL;
    anx_fixture_field *fields = NULL;
    anx_status status = anx_fixture_reader_member(r, r->json, "recorder", false, &object);
    if (status == ANX_OK)
        status = anx_fixture_reader_list(r, object, "recorder", max_recorder, sizeof *fields, &fields);
    if (status != ANX_OK) return status;
    const size_t mark = anx_fixture_reader_enter(r, "recorder", -1);
    out->recorder = fields;
    for (const cJSON *item = object->child; item != NULL && status == ANX_OK; item = item->next) {
        fields[out->n_recorder].key = item->string;
        status = anx_fixture_reader_string(r, object, item->string, &fields[out->n_recorder++].value);
    }
    anx_fixture_reader_leave(r, mark);
    return status;
}

static anx_status parse(anx_fixture_reader *r) {
    const char *text = anx_safetensors_metadata(r->file, "anx");
    if (text == NULL)
        return anx_error_set(r->err, ANX_ERR_FORMAT,
                             "not a fixture: its __metadata__ has no 'anx' (record one with tools/record-fixtures)");
    const size_t length = strlen(text);
    if (length > max_json_bytes)
        return anx_error_set(r->err, ANX_ERR_FORMAT, "its description has %zu bytes; at most %d are taken", length,
                             (int)max_json_bytes);
    r->json = cJSON_ParseWithOpts(text, NULL, true);
    if (!cJSON_IsObject(r->json)) return anx_error_set(r->err, ANX_ERR_FORMAT, "its description is not a JSON object");
    return ANX_OK;
}

static anx_status read_common(anx_fixture_reader *r, anx_fixture *out) {
    int64_t schema = 0;
    const char *kind = NULL;
    anx_status status = anx_fixture_reader_int(r, r->json, "schema", 1, INT32_MAX, &schema);
    if (status != ANX_OK) return status;
    if (schema > newest_schema)
        return anx_error_set(r->err, ANX_ERR_UNSUPPORTED,
                             "a fixture of schema %lld; this version reads up to %d: a newer one is needed",
                             (long long)schema, (int)newest_schema);
    status = anx_fixture_reader_string(r, r->json, "kind", &kind);
    if (status == ANX_OK) status = anx_fixture_reader_string(r, r->json, "name", &out->name);
    if (status == ANX_OK) status = read_recorder(r, out);
    if (status != ANX_OK) return status;
    if (strcmp(kind, "forward") == 0) {
        out->kind = ANX_FIXTURE_FORWARD;
        return anx_fixture_read_forward(r, out);
    }
    if (strcmp(kind, "preprocess") == 0) {
        out->kind = ANX_FIXTURE_PREPROCESS;
        return anx_fixture_read_preprocess(r, out);
    }
    if (strcmp(kind, "training") == 0) {
        out->kind = ANX_FIXTURE_TRAINING;
        return anx_fixture_read_training(r, out);
    }
    return anx_fixture_reader_fail(r, "kind", "expected \"forward\", \"preprocess\" or \"training\"");
}

static anx_status copy_path(anx_fixture_reader *r, const char *path, anx_fixture *out) {
    char *copy = NULL;
    const size_t size = strlen(path) + 1;
    const anx_status status = anx_fixture_reader_array(r, size, 1, &copy);
    if (status != ANX_OK) return status;
    memcpy(copy, path, size);
    out->path = copy;
    return ANX_OK;
}

anx_status anx_fixture_open(const char *path, anx_fixture **out, anx_error *err) {
    anx_status status = ANX_OK;
    anx_fixture *fixture = calloc(1, sizeof *fixture);
    anx_fixture_reader *r = calloc(1, sizeof *r);
    if (fixture == NULL || r == NULL) {
        free(r);
        status = anx_error_set(err, ANX_ERR_OUT_OF_MEMORY, "out of memory");
        goto out;
    }
    fixture->impl = r;
    r->err = err;
    status = anx_safetensors_open(path, &r->file, err);
    if (status == ANX_OK) status = parse(r);
    if (status == ANX_OK) status = copy_path(r, path, fixture);
    if (status == ANX_OK) status = read_common(r, fixture);
    r->err = NULL;
out:
    if (status == ANX_OK) {
        *out = fixture;
    } else {
        anx_error_in_file(err, path);
        anx_fixture_close(fixture);
    }
    return status;
}

void anx_fixture_close(anx_fixture *fixture) {
    if (fixture == NULL) return;
    anx_fixture_reader_destroy(fixture->impl);
    free(fixture);
}

const char *anx_fixture_recorder(const anx_fixture *fixture, const char *key) {
    for (int i = 0; i < fixture->n_recorder; i++)
        if (strcmp(fixture->recorder[i].key, key) == 0) return fixture->recorder[i].value;
    return NULL;
}

const anx_fixture_point *anx_fixture_case_point(const anx_fixture_case *c, const char *name) {
    for (int i = 0; i < c->n_points; i++)
        if (strcmp(c->points[i].name, name) == 0) return &c->points[i];
    return NULL;
}

/* ---- sets ------------------------------------------------------------------------------------------------ */

static anx_status add_file(anx_fixture_set *set, const char *path, anx_error *err) {
    anx_fixture *fixture = NULL;
    const anx_status status = anx_fixture_open(path, &fixture, err);
    if (status != ANX_OK) return status;
    anx_fixture **items = realloc(set->items, ((size_t)set->count + 1) * sizeof *items);
    if (items == NULL) {
        anx_fixture_close(fixture);
        return anx_error_set(err, ANX_ERR_OUT_OF_MEMORY, "out of memory");
    }
    set->items = items;
    set->items[set->count++] = fixture;
    return ANX_OK;
}

static int is_recording(const struct dirent *entry) {
    static const char suffix[] = ".safetensors";
    const size_t n = strlen(entry->d_name);
    return entry->d_name[0] != '.' && n >= sizeof suffix &&
           strcmp(entry->d_name + n - (sizeof suffix - 1), suffix) == 0;
}

/* By bytes, whatever the locale. */
static int by_name(const struct dirent **a, const struct dirent **b) {
    return strcmp((*a)->d_name, (*b)->d_name);
}

static anx_status add_folder(anx_fixture_set *set, const char *path, anx_error *err) {
    struct dirent **entries = NULL;
    anx_status status = ANX_OK;
    const int n = scandir(path, &entries, is_recording, by_name);
    if (n < 0)
        status = anx_error_set_errno(err, ANX_ERR_IO, errno, "cannot read the folder");
    else if (n == 0)
        status = anx_error_set(err, ANX_ERR_NOT_FOUND,
                               "the folder holds no *.safetensors (record some with tools/record-fixtures)");
    for (int i = 0; i < n; i++) {
        char file[4096];
        const bool fits = snprintf(file, sizeof file, "%s/%s", path, entries[i]->d_name) < (int)sizeof file;
        if (status == ANX_OK && !fits) status = anx_error_set(err, ANX_ERR_INVALID_ARGUMENT, "the path is too long");
        if (status == ANX_OK) status = add_file(set, file, err);
        free(entries[i]);
    }
    free(entries);
    anx_error_in_file(status == ANX_OK ? NULL : err, path);
    return status;
}

anx_status anx_fixture_set_add(anx_fixture_set *set, const char *path, anx_error *err) {
    struct stat st;
    if (stat(path, &st) != 0 || !S_ISDIR(st.st_mode)) return add_file(set, path, err);
    const int before = set->count;
    const anx_status status = add_folder(set, path, err);
    while (status != ANX_OK && set->count > before) anx_fixture_close(set->items[--set->count]);
    return status;
}

void anx_fixture_set_fini(anx_fixture_set *set) {
    if (set == NULL) return;
    for (int i = 0; i < set->count; i++) anx_fixture_close(set->items[i]);
    free(set->items);
    *set = (anx_fixture_set)ANX_FIXTURE_SET_INIT;
}
