#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "parity/checkpoint_diff_report.h"
#include "parity/json_builder.h"
#include "src/base/version.h"

enum { schema_version = 1, most_rows = 10000 };

static const int64_t most_exact = (int64_t)1 << 53; /* whole numbers that every reader of JSON keeps */

/* As text where a JSON number may not hold it. */
static void add_whole(anx_json *j, cJSON *to, const char *key, uint64_t magnitude, bool negative) {
    char text[32];
    if (magnitude <= (uint64_t)most_exact) {
        anx_json_add_integer(j, to, key, negative ? -(int64_t)magnitude : (int64_t)magnitude);
        return;
    }
    snprintf(text, sizeof text, "%s%" PRIu64, negative ? "-" : "", magnitude);
    anx_json_add_text(j, to, key, text);
}

static void add_count(anx_json *j, cJSON *to, const char *key, int64_t value) {
    add_whole(j, to, key, (uint64_t)value, false);
}

static void add_shape(anx_json *j, cJSON *to, const char *key, int rank, const int64_t *shape) {
    cJSON *list = anx_json_add_array(j, to, key);
    for (int i = 0; i < rank; i++) add_count(j, list, NULL, shape[i]);
}

static void add_file(anx_json *j, cJSON *root, const char *key, const anx_checkpoint *c, const char *beside) {
    cJSON *o = anx_json_add_object(j, root, key);
    anx_json_add_text(j, o, "path", c->path);
    anx_json_add_text(j, o, "format", c->format);
    add_count(j, o, "bytes", (int64_t)c->file_bytes);
    add_count(j, o, "tensors", (int64_t)c->tensors.count);
    anx_json_add_text(j, o, "wrapped_in", c->wrapped_in);
    anx_json_add_integer(j, o, "bad_crc_records", (int64_t)c->n_bad_crc);
    anx_json_add_text(j, o, "not_compared", beside);
}

static void add_value(anx_json *j, cJSON *to, const char *key, anx_element_value v) {
    cJSON *o = anx_json_add_object(j, to, key);
    char bits[24];
    if (anx_dtype_is_float(v.dtype)) {
        anx_json_add_value(j, o, "value", anx_element_value_real(v));
    } else {
        const int64_t value = anx_element_value_integer(v);
        add_whole(j, o, "value", value < 0 ? (uint64_t)0 - (uint64_t)value : (uint64_t)value, value < 0);
    }
    snprintf(bits, sizeof bits, "%0*" PRIx64, (int)(2 * anx_dtype_bytes(v.dtype)), v.bits);
    anx_json_add_text(j, o, "bits", bits);
}

static void add_element(anx_json *j, cJSON *to, const char *key, const anx_diff_element *e, int rank) {
    if (!e->known) {
        anx_json_add_text(j, to, key, NULL);
        return;
    }
    cJSON *o = anx_json_add_object(j, to, key);
    add_shape(j, o, "index", rank, e->index);
    add_value(j, o, "a", e->a);
    add_value(j, o, "b", e->b);
}

static void add_measure(anx_json *j, cJSON *to, const anx_diff_row *row, int rank) {
    const anx_diff_measure *m = &row->measure;
    add_count(j, to, "elements", m->n_elems);
    add_count(j, to, "different", m->n_different);
    add_element(j, to, "first", &m->first, rank);
    if (m->abs.known)
        anx_json_add_value(j, to, "max_abs", m->max_abs);
    else
        anx_json_add_text(j, to, "max_abs", NULL);
    add_element(j, to, "max_abs_at", &m->abs, rank);
    if (m->has_ulps)
        add_whole(j, to, "max_ulps", m->max_ulps, false);
    else
        anx_json_add_text(j, to, "max_ulps", NULL);
    anx_json_add_text(j, to, "ulps_of", m->has_ulps ? anx_dtype_name(m->ulps_dtype) : NULL);
    add_element(j, to, "max_ulps_at", &m->ulp, rank);
    add_count(j, to, "nan_in_a_alone", m->n_nan_a);
    add_count(j, to, "nan_in_b_alone", m->n_nan_b);
    add_count(j, to, "nan_of_other_bits", m->n_nan_bits);
    add_count(j, to, "zeros_of_other_sign", m->n_zero_signs);
    if (row->kind != ANX_DIFF_DTYPE) return;
    anx_json_add_text(j, to, "relation", anx_diff_relation_name(m->relation));
    add_count(j, to, "infinite_in_one_alone", m->n_overflow);
    add_count(j, to, "zero_in_one_alone", m->n_underflow);
}

static void add_tensor(anx_json *j, cJSON *to, const char *key, const anx_checkpoint *c, size_t i) {
    if (i == SIZE_MAX) {
        anx_json_add_text(j, to, key, NULL);
        return;
    }
    const anx_tensor *t = &c->tensors.items[i].tensor;
    cJSON *o = anx_json_add_object(j, to, key);
    anx_json_add_text(j, o, "dtype", anx_dtype_name(t->dtype));
    add_shape(j, o, "shape", t->rank, t->shape);
}

static void add_row(anx_json *j, cJSON *list, const anx_checkpoint_diff *diff, const anx_diff_row *row) {
    const bool in_a = row->a != SIZE_MAX;
    const anx_named_tensor *named = in_a ? &diff->a->tensors.items[row->a] : &diff->b->tensors.items[row->b];
    cJSON *o = anx_json_add_object(j, list, NULL);
    anx_json_add_text(j, o, "name", named->name);
    anx_json_add_text(j, o, "kind", anx_diff_kind_name(row->kind));
    add_tensor(j, o, "a", diff->a, row->a);
    add_tensor(j, o, "b", diff->b, row->b);
    if (row->kind == ANX_DIFF_BITS || row->kind == ANX_DIFF_DTYPE) add_measure(j, o, row, named->tensor.rank);
}

static void add_rows(anx_json *j, cJSON *root, const anx_checkpoint_diff *diff) {
    cJSON *list = anx_json_add_array(j, root, "tensors");
    size_t n = diff->n_rows < most_rows ? diff->n_rows : most_rows;
    for (size_t i = 0; i < n; i++) add_row(j, list, diff, &diff->rows[i]);
    add_count(j, root, "tensors_left_out", (int64_t)(diff->n_rows - n));
}

static void add_twin(anx_json *j, cJSON *list, const anx_checkpoint_diff *diff, const anx_checkpoint_twins *twins,
                     const anx_twin *twin) {
    char expression[ANX_TWIN_TEXT], *rename = NULL;
    if (anx_twin_rename(diff, twins, twin, &rename, NULL) != ANX_OK) j->failed = true;
    cJSON *o = anx_json_add_object(j, list, NULL);
    anx_json_add_text(j, o, "a", diff->a->tensors.items[twin->a].name);
    anx_json_add_text(j, o, "b", diff->b->tensors.items[twin->b].name);
    anx_json_add_text(j, o, "kind", anx_twin_kind_name(twin->order.kind));
    anx_json_add_text(j, o, "b_is", anx_twin_expression(diff, twin, expression));
    anx_json_add_text(j, o, "by", anx_twin_basis_name(twin->basis));
    anx_json_add_bool(j, o, "constant", twin->constant);
    anx_json_add_bool(j, o, "other_orders_fit", twin->other_orders);
    add_count(j, o, "others_in_a", (int64_t)twin->others_a);
    add_count(j, o, "others_in_b", (int64_t)twin->others_b);
    if (twin->order.kind == ANX_TWIN_FLATTENED) {
        add_count(j, o, "outer", twin->order.outer);
        add_count(j, o, "inner", twin->order.inner);
        if (twin->channels > 0)
            add_count(j, o, "channels", twin->channels);
        else
            anx_json_add_text(j, o, "channels", NULL);
    }
    anx_json_add_text(j, o, "rename_b", rename);
    free(rename);
}

static void add_prefix(anx_json *j, cJSON *root, const anx_checkpoint_twins *twins) {
    if (twins->prefix == NULL) {
        anx_json_add_text(j, root, "prefix", NULL);
        return;
    }
    cJSON *o = anx_json_add_object(j, root, "prefix");
    anx_json_add_text(j, o, "text", twins->prefix);
    anx_json_add_text(j, o, "in", twins->prefix_in_b ? "b" : "a");
    add_count(j, o, "names", (int64_t)twins->n_prefixed);
    add_count(j, o, "same_bits", (int64_t)twins->n_prefix_same);
}

static void add_twins(anx_json *j, cJSON *root, const anx_checkpoint_diff *diff, const anx_checkpoint_twins *twins) {
    add_prefix(j, root, twins);
    cJSON *list = anx_json_add_array(j, root, "twins");
    size_t n = twins->n_items < most_rows ? twins->n_items : most_rows;
    for (size_t i = 0; i < n; i++) add_twin(j, list, diff, twins, &twins->items[i]);
    add_count(j, root, "twins_left_out", (int64_t)(twins->n_items - n));
    anx_json_add_bool(j, root, "twins_cut_short", twins->cut_short);
}

static void add_counts(anx_json *j, cJSON *root, const anx_checkpoint_diff *diff) {
    cJSON *o = anx_json_add_object(j, root, "counts");
    add_count(j, o, "same", (int64_t)diff->n_same);
    for (int i = 0; i < ANX_DIFF_KIND_COUNT; i++)
        add_count(j, o, anx_diff_kind_name((anx_diff_kind)i), (int64_t)diff->counts[i]);
    add_count(j, root, "same_elements", diff->same_elems);
}

static void add_order(anx_json *j, cJSON *root, const anx_checkpoint_diff *diff) {
    if (!diff->other_order) {
        anx_json_add_text(j, root, "other_order", NULL);
        return;
    }
    cJSON *o = anx_json_add_object(j, root, "other_order");
    anx_json_add_text(j, o, "a", diff->a->tensors.items[diff->order_a].name);
    anx_json_add_text(j, o, "b", diff->b->tensors.items[diff->order_b].name);
}

anx_status anx_checkpoint_diff_json(const anx_checkpoint_diff *diff, const anx_checkpoint_twins *twins, char **text,
                                    size_t *n_bytes, anx_error *err) {
    anx_json j = {.failed = false};
    cJSON *root = anx_json_root(&j);
    anx_json_add_integer(&j, root, "schema", schema_version);
    anx_json_add_text(&j, root, "version", ANX_VERSION);
    anx_json_add_text(&j, root, "result", anx_diff_result_name(diff->result));
    add_file(&j, root, "a", diff->a, diff->beside_a);
    add_file(&j, root, "b", diff->b, diff->beside_b);
    add_counts(&j, root, diff);
    add_order(&j, root, diff);
    add_rows(&j, root, diff);
    add_twins(&j, root, diff, twins);
    return anx_json_print(&j, root, text, n_bytes, err);
}
