#include <cJSON.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "loaders/checkpoint/text.h"
#include "parity/inspection.h"
#include "parity/json_builder.h"
#include "src/base/version.h"

enum { schema_version = 1, max_text_bytes = 1000, printable_bytes = 4 * max_text_bytes + 4 };

/* Above 2^63 JSON's readers would round, as nothing of that size is in a file. */
static void add_count(anx_json *j, cJSON *to, const char *key, uint64_t value) {
    anx_json_add_integer(j, to, key, value > INT64_MAX ? INT64_MAX : (int64_t)value);
}

/* ---- the file ------------------------------------------------------------------------------------------- */

static void add_provenance(anx_json *j, cJSON *to, const anx_provenance *p) {
    cJSON *o = anx_json_add_object(j, to, "written_by");
    anx_json_add_text(j, o, "text", p->writer);
    anx_json_add_bool(j, o, "pytorch", p->by_pytorch);
    cJSON *because = anx_json_add_array(j, o, "because");
    for (int i = 0; i < p->n_notes; i++) anx_json_add_text(j, because, NULL, p->notes[i]);
    cJSON *marks = anx_json_add_object(j, o, "records");
    for (int i = 0; i < p->n_marks; i++) anx_json_add_text(j, marks, p->marks[i].name, p->marks[i].text);
}

static void add_file(anx_json *j, cJSON *o, const anx_inspection *in) {
    const anx_checkpoint *c = in->checkpoint;
    const char *version = in->provenance.format_version;
    anx_json_add_integer(j, o, "schema", schema_version);
    anx_json_add_text(j, o, "version", ANX_VERSION);
    anx_json_add_text(j, o, "path", c->path);
    anx_json_add_text(j, o, "format", c->format);
    anx_json_add_text(j, o, "format_version", version[0] != '\0' ? version : NULL);
    anx_json_add_text(j, o, "byte_order", in->big_endian ? "big" : "little");
    add_count(j, o, "bytes", c->file_bytes);
    anx_json_add_digest(j, o, "sha256", &in->digest);
    anx_json_add_bool(j, o, "official", in->official != NULL);
    anx_json_add_text(j, o, "official_name", in->official != NULL ? in->official->name : NULL);
    add_provenance(j, o, &in->provenance);
    add_count(j, o, "bad_crc_records", c->n_bad_crc);
    anx_json_add_text(j, o, "wrapped_in", c->wrapped_in);
    anx_json_add_bool(j, o, "module_prefix", in->has_module_prefix);
}

static void add_arch(anx_json *j, cJSON *to, const anx_inspection *in) {
    const anx_arch_match *m = &in->match;
    if (m->arch == NULL) {
        anx_json_add_text(j, to, "arch", NULL);
        return;
    }
    cJSON *o = anx_json_add_object(j, to, "arch");
    anx_json_add_text(j, o, "name", m->arch->name);
    anx_json_add_bool(j, o, "fits", in->fits);
    anx_json_add_integer(j, o, "classes", m->num_classes);
    anx_json_add_integer(j, o, "parameters", m->n_params);
    anx_json_add_integer(j, o, "missing", m->n_missing);
    anx_json_add_text(j, o, "first_missing", m->n_missing > 0 ? m->missing : NULL);
    anx_json_add_integer(j, o, "misshapen", m->n_misshapen);
    anx_json_add_text(j, o, "first_misshapen", m->n_misshapen > 0 ? m->misshapen : NULL);
    add_count(j, o, "unexpected", m->n_unexpected);
    anx_json_add_text(j, o, "first_unexpected", m->n_unexpected > 0 ? m->unexpected : NULL);
    add_count(j, o, "no_tensors", in->n_others);
}

static void add_totals(anx_json *j, cJSON *to, const anx_inspection *in) {
    cJSON *o = anx_json_add_object(j, to, "totals");
    add_count(j, o, "tensors", in->n_tensors);
    anx_json_add_integer(j, o, "elements", in->n_elems);
    add_count(j, o, "bytes", in->n_bytes);
    add_count(j, o, "storages", in->n_storages);
    add_count(j, o, "storage_bytes", in->storage_bytes);
    cJSON *dtypes = anx_json_add_object(j, o, "dtypes");
    for (int d = 0; d < ANX_DTYPE_COUNT; d++)
        if (in->of_dtype[d] > 0) add_count(j, dtypes, anx_dtype_name((anx_dtype)d), in->of_dtype[d]);
}

static void add_metadata(anx_json *j, cJSON *to, const anx_metadata_summary *s) {
    if (!s->present) {
        anx_json_add_text(j, to, "_metadata", NULL);
        return;
    }
    cJSON *o = anx_json_add_object(j, to, "_metadata");
    add_count(j, o, "modules", s->n_modules);
    cJSON *versions = anx_json_add_array(j, o, "versions");
    for (int i = 0; i < s->n_versions; i++) {
        cJSON *v = anx_json_add_object(j, versions, NULL);
        anx_json_add_integer(j, v, "version", s->versions[i].version);
        add_count(j, v, "modules", s->versions[i].n_modules);
    }
    add_count(j, o, "of_other_versions", s->n_others);
    add_count(j, o, "without_version", s->n_without);
}

static void add_pairs(anx_json *j, cJSON *to, const anx_inspection *in) {
    const anx_safetensors *file = anx_checkpoint_impl_of(in->checkpoint)->safetensors;
    cJSON *list = anx_json_add_array(j, to, "text_metadata");
    for (size_t i = 0; file != NULL && i < file->n_metadata; i++) {
        cJSON *o = anx_json_add_object(j, list, NULL);
        anx_json_add_text(j, o, "key", file->metadata[i].key);
        anx_json_add_text(j, o, "value", file->metadata[i].value);
    }
}

/* ---- tensors -------------------------------------------------------------------------------------------- */

static void add_statistics(anx_json *j, cJSON *to, const anx_inspected_tensor *t) {
    static const char *const reasons[] = {NULL, "no elements", "expanded", "too many elements"};
    const anx_tensor_stats *s = &t->stats;
    anx_json_add_text(j, to, "not_computed", reasons[t->state]);
    if (t->state != ANX_STATS_COMPUTED) {
        anx_json_add_text(j, to, "statistics", NULL);
        return;
    }
    cJSON *o = anx_json_add_object(j, to, "statistics");
    if (anx_dtype_is_float(t->tensor->dtype)) {
        const bool none = s->min > s->max;
        anx_json_add_measure(j, o, "min", none ? (double)NAN : s->min);
        anx_json_add_measure(j, o, "max", none ? (double)NAN : s->max);
    } else {
        anx_json_add_integer(j, o, "min", s->int_min);
        anx_json_add_integer(j, o, "max", s->int_max);
    }
    anx_json_add_measure(j, o, "mean", anx_tensor_stats_mean(s));
    anx_json_add_integer(j, o, "nan", s->n_nan);
    anx_json_add_integer(j, o, "infinite", s->n_inf);
}

static void add_extents(anx_json *j, cJSON *to, const char *key, int rank, const int64_t *extents) {
    cJSON *list = anx_json_add_array(j, to, key);
    for (int i = 0; i < rank; i++) anx_json_add_integer(j, list, NULL, extents[i]);
}

static void add_tensor(anx_json *j, cJSON *list, const anx_inspected_tensor *t) {
    cJSON *o = anx_json_add_object(j, list, NULL);
    anx_json_add_text(j, o, "name", t->name);
    anx_json_add_text(j, o, "dtype", anx_dtype_name(t->tensor->dtype));
    add_extents(j, o, "shape", t->tensor->rank, t->tensor->shape);
    add_extents(j, o, "strides", t->tensor->rank, t->tensor->stride);
    anx_json_add_bool(j, o, "contiguous", t->contiguous);
    anx_json_add_integer(j, o, "elements", t->n_elems);
    add_count(j, o, "bytes", t->n_bytes);
    add_count(j, o, "storage", t->storage);
    anx_json_add_integer(j, o, "storage_offset", t->entry->offset);
    add_count(j, o, "file_offset", t->file_offset);
    anx_json_add_bool(j, o, "parameter", t->entry->is_parameter);
    anx_json_add_bool(j, o, "requires_grad", t->entry->requires_grad);
    add_statistics(j, o, t);
}

static void add_storage(anx_json *j, cJSON *list, const anx_inspection *in, size_t s) {
    const anx_storage *storage = in->storages[s].storage;
    cJSON *o = anx_json_add_object(j, list, NULL);
    anx_json_add_text(j, o, "key", storage->key);
    anx_json_add_text(j, o, "dtype", anx_dtype_name(storage->dtype));
    anx_json_add_integer(j, o, "elements", storage->n_elems);
    add_count(j, o, "file_offset", storage->file_offset);
    cJSON *tensors = anx_json_add_array(j, o, "tensors");
    for (size_t k = 0; k < in->storages[s].n_tensors; k++)
        add_count(j, tensors, NULL, in->by_storage[in->storages[s].first + k]);
}

/* ---- contents ------------------------------------------------------------------------------------------- */

/* A text of the file, cut where it is long; what is no text for JSON is shown as \xNN. */
static void add_bounded(anx_json *j, cJSON *to, const char *key, const anx_pickle_value *v) {
    char text[printable_bytes];
    size_t n = v->u.text.n_bytes;
    if (n > max_text_bytes) /* not within a character */
        for (n = max_text_bytes; n > 0 && ((unsigned char)v->u.text.bytes[n] & 0xc0) == 0x80;) n--;
    const bool plain =
        v->kind == ANX_PICKLE_STRING && memchr(v->u.text.bytes, '\0', n) == NULL && anx_utf8_valid(v->u.text.bytes, n);
    if (plain) {
        memcpy(text, v->u.text.bytes, n);
        text[n] = '\0';
    } else {
        anx_text_printable(v->u.text.bytes, n, text, sizeof text);
    }
    anx_json_add_text(j, to, key, text);
    add_count(j, to, "text_bytes", v->u.text.n_bytes);
}

static void add_value(anx_json *j, cJSON *o, const anx_pickle_value *v) {
    char text[200];
    switch (v->kind) {
    case ANX_PICKLE_BOOL: anx_json_add_bool(j, o, "value", v->u.boolean); break;
    case ANX_PICKLE_INT: anx_json_add_integer(j, o, "value", v->u.integer); break;
    case ANX_PICKLE_FLOAT: anx_json_add_value(j, o, "value", v->u.real); break;
    case ANX_PICKLE_STRING:
    case ANX_PICKLE_BYTES: add_bounded(j, o, "value", v); break;
    case ANX_PICKLE_TENSOR:
        anx_json_add_text(j, o, "dtype", anx_dtype_name(v->u.tensor->storage->dtype));
        add_extents(j, o, "shape", v->u.tensor->rank, v->u.tensor->shape);
        break;
    default: anx_json_add_text(j, o, "value", anx_contents_value(v, text, sizeof text)); break;
    }
}

/* A node without its children, and the list into which they go; NULL where it has none. */
static cJSON *add_node(anx_json *j, cJSON *o, const anx_contents *c, size_t node) {
    const anx_contents_node *n = &c->nodes[node];
    char key[ANX_CONTENTS_KEY_BYTES], kind[128], path[2000];
    if (node != 0) anx_json_add_text(j, o, "key", anx_contents_key(c, node, key));
    anx_json_add_text(j, o, "kind", anx_contents_kind(n->value, kind));
    if (!anx_contents_is_container(n->value)) {
        if (n->value->kind != ANX_PICKLE_NONE) add_value(j, o, n->value);
        return NULL;
    }
    if (n->is_reference) {
        anx_json_add_text(j, o, "same_as", anx_contents_path(c, n->same_as, path, sizeof path));
        return NULL;
    }
    if (n->n_tensors > 0) add_count(j, o, "listed_tensors", n->n_tensors);
    add_count(j, o, "count", n->n_items);
    return anx_json_add_array(j, o, "items");
}

/* Parents come before their children, so that one pass does. */
static anx_status add_contents(anx_json *j, cJSON *to, const anx_contents *c, anx_error *err) {
    anx_json_add_bool(j, to, "contents_complete", c->complete);
    if (c->count == 0) {
        anx_json_add_text(j, to, "contents", NULL);
        return ANX_OK;
    }
    cJSON **lists = calloc(c->count, sizeof *lists);
    if (lists == NULL) return anx_error_set(err, ANX_ERR_OUT_OF_MEMORY, "no memory for the report");
    lists[0] = add_node(j, anx_json_add_object(j, to, "contents"), c, 0);
    for (size_t i = 1; i < c->count; i++)
        lists[i] = add_node(j, anx_json_add_object(j, lists[c->nodes[i].parent], NULL), c, i);
    free(lists);
    return ANX_OK;
}

anx_status anx_inspection_json(const anx_inspection *in, char **text, size_t *n_bytes, anx_error *err) {
    anx_json j = {.failed = false};
    cJSON *root = anx_json_root(&j);
    add_file(&j, root, in);
    add_arch(&j, root, in);
    add_totals(&j, root, in);
    add_metadata(&j, root, &in->metadata);
    add_pairs(&j, root, in);
    cJSON *tensors = anx_json_add_array(&j, root, "tensors");
    for (size_t i = 0; i < in->n_tensors; i++) add_tensor(&j, tensors, &in->tensors[i]);
    cJSON *storages = anx_json_add_array(&j, root, "storages");
    for (size_t s = 0; s < in->n_storages; s++) add_storage(&j, storages, in, s);
    anx_status status = add_contents(&j, root, &in->contents, err);
    if (status != ANX_OK) {
        cJSON_Delete(root);
        return status;
    }
    return anx_json_print(&j, root, text, n_bytes, err);
}
