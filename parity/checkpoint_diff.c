#include "parity/checkpoint_diff.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "loaders/checkpoint/checkpoint_impl.h"
#include "loaders/checkpoint/text.h"
#include "parity/checkpoint_diff_measure.h"
#include "parity/elements_equal.h"
#include "src/base/text_stream.h"

enum { most_named_beside = 8 };

const char *anx_diff_kind_name(anx_diff_kind kind) {
    static const char *const names[] = {"only_in_a", "only_in_b", "shape", "dtype", "bits", "skipped"};
    return names[kind];
}

const char *anx_diff_relation_name(anx_diff_relation relation) {
    static const char *const names[] = {"equal_values", "b_rounded",   "a_rounded",
                                        "b_truncated",  "a_truncated", "unrelated"};
    return names[relation];
}

const char *anx_diff_result_name(anx_diff_result result) {
    static const char *const names[] = {"identical", "different", "not_verified"};
    return names[result];
}

typedef struct comparing {
    anx_checkpoint_diff *diff;
    int threads;
    anx_read_budget budget;
    size_t *partner; /* of each of A's tensors: B's of the same name; SIZE_MAX: none */
} comparing;

/* ---- names ---------------------------------------------------------------------------------------------- */

static size_t index_of(const anx_state_dict *dict, const char *name) {
    const anx_tensor *t = anx_state_dict_find(dict, name);
    if (t == NULL) return SIZE_MAX;
    const char *const item = (const char *)t - offsetof(anx_named_tensor, tensor);
    return (size_t)(item - (const char *)dict->items) / sizeof *dict->items;
}

/* The k-th of the names that both have, in B's order, has to be the k-th in A's. */
static void compare_order(comparing *c) {
    anx_checkpoint_diff *diff = c->diff;
    const anx_state_dict *a = &diff->a->tensors, *b = &diff->b->tensors;
    for (size_t i = 0, j = 0; i < a->count; i++) {
        if (c->partner[i] == SIZE_MAX) continue;
        while (index_of(a, b->items[j].name) == SIZE_MAX) j++;
        if (c->partner[i] != j) {
            diff->other_order = true;
            diff->order_a = i;
            diff->order_b = j;
            return;
        }
        j++;
    }
}

/* ---- tensors -------------------------------------------------------------------------------------------- */

static anx_diff_row *add_row(anx_checkpoint_diff *diff, anx_diff_kind kind, size_t a, size_t b) {
    anx_diff_row *row = &diff->rows[diff->n_rows++];
    *row = (anx_diff_row){.kind = kind, .a = a, .b = b};
    diff->counts[kind]++;
    return row;
}

/*
 * Along an axis where neither tensor moves on, every element repeats the first: one of them tells of all. Returns how
 * often each of the elements that are left is repeated.
 */
static int64_t leave_repetitions_out(anx_tensor *a, anx_tensor *b) {
    int64_t times = 1;
    for (int i = 0; i < a->rank; i++) {
        if (a->stride[i] != 0 || b->stride[i] != 0 || a->shape[i] == 0) continue;
        times *= a->shape[i];
        a->shape[i] = b->shape[i] = 1;
    }
    return times;
}

static void add_same(anx_checkpoint_diff *diff, int64_t n_elems) {
    diff->n_same++;
    if (__builtin_add_overflow(diff->same_elems, n_elems, &diff->same_elems)) diff->same_elems = INT64_MAX;
}

static anx_status compare_pair(comparing *c, size_t i, size_t j, anx_error *err) {
    anx_checkpoint_diff *diff = c->diff;
    anx_elements a = anx_checkpoint_elements(diff->a, i), b = anx_checkpoint_elements(diff->b, j);
    if (!anx_tensor_same_shape(&a.tensor, &b.tensor)) {
        add_row(diff, ANX_DIFF_SHAPE, i, j);
        return ANX_OK;
    }
    const bool one_dtype = a.tensor.dtype == b.tensor.dtype;
    const int64_t n_elems = anx_tensor_elems(&a.tensor), times = leave_repetitions_out(&a.tensor, &b.tensor);
    const anx_dtype wider =
        anx_dtype_bytes(a.tensor.dtype) < anx_dtype_bytes(b.tensor.dtype) ? b.tensor.dtype : a.tensor.dtype;
    if (!anx_read_budget_take(&c->budget, anx_tensor_elems(&a.tensor), wider)) {
        add_row(diff, ANX_DIFF_SKIPPED, i, j);
        return ANX_OK;
    }
    if (one_dtype && anx_elements_equal(&a, &b, c->threads)) {
        add_same(diff, n_elems);
        return ANX_OK;
    }
    anx_diff_row *row = add_row(diff, one_dtype ? ANX_DIFF_BITS : ANX_DIFF_DTYPE, i, j);
    return anx_diff_measure_elements(&a, &b, times, c->threads, &row->measure, err);
}

static anx_status compare_tensors(comparing *c, anx_error *err) {
    anx_checkpoint_diff *diff = c->diff;
    anx_status status = ANX_OK;
    for (size_t i = 0; i < diff->a->tensors.count && status == ANX_OK; i++) {
        if (c->partner[i] == SIZE_MAX)
            add_row(diff, ANX_DIFF_ONLY_A, i, SIZE_MAX);
        else
            status = compare_pair(c, i, c->partner[i], err);
    }
    for (size_t j = 0; j < diff->b->tensors.count; j++)
        if (anx_state_dict_find(&diff->a->tensors, diff->b->tensors.items[j].name) == NULL)
            add_row(diff, ANX_DIFF_ONLY_B, SIZE_MAX, j);
    return status;
}

/* ---- what is beside the tensors ------------------------------------------------------------------------- */

typedef struct listing {
    FILE *to;
    size_t n;
} listing;

static void list(listing *l, const char *name, size_t n_bytes, const char *kind) {
    char shown[128];
    if (l->n++ >= most_named_beside) return;
    fprintf(l->to, "%s'%s' (%s)", l->n > 1 ? ", " : "", anx_text_printable(name, n_bytes, shown, sizeof shown), kind);
}

static void list_beside(listing *l, const anx_checkpoint *checkpoint) {
    const anx_checkpoint_impl *impl = anx_checkpoint_impl_of(checkpoint);
    const anx_pickle_value *root = impl->root;
    for (size_t i = 0; root != NULL && root != impl->state_dict && i < root->u.dict.count; i++) {
        const anx_pickle_value *key = root->u.dict.items[2 * i], *value = root->u.dict.items[2 * i + 1];
        if (value == impl->state_dict) continue;
        if (key->kind == ANX_PICKLE_STRING)
            list(l, key->u.text.bytes, key->u.text.n_bytes, anx_pickle_kind_name(value->kind));
        else
            list(l, "?", 1, anx_pickle_kind_name(value->kind));
    }
    for (size_t i = 0; i < impl->n_others; i++)
        list(l, impl->others[i].name, strlen(impl->others[i].name), anx_pickle_kind_name(impl->others[i].kind));
    if (l->n > most_named_beside) fprintf(l->to, " and %zu more", l->n - most_named_beside);
    if (impl->metadata != NULL) fprintf(l->to, "%s_metadata", l->n++ > 0 ? ", " : "");
    if (impl->safetensors != NULL && impl->safetensors->n_metadata > 0)
        fprintf(l->to, "%s__metadata__", l->n++ > 0 ? ", " : "");
}

static anx_status describe_beside(const anx_checkpoint *checkpoint, char **out, anx_error *err) {
    char *text = NULL;
    anx_text_stream s;
    anx_status status = anx_text_stream_open(&s, err);
    if (status != ANX_OK) return status;
    listing l = {.to = s.to};
    list_beside(&l, checkpoint);
    status = anx_text_stream_close(&s, &text, NULL, err);
    if (status != ANX_OK) return status;
    if (l.n == 0) {
        free(text);
        text = NULL;
    }
    *out = text;
    return ANX_OK;
}

/* ---- all of it ------------------------------------------------------------------------------------------ */

static anx_diff_result result_of(const anx_checkpoint_diff *diff) {
    if (diff->n_rows > diff->counts[ANX_DIFF_SKIPPED]) return ANX_DIFF_DIFFERENT;
    return diff->n_rows > 0 ? ANX_DIFF_NOT_VERIFIED : ANX_DIFF_IDENTICAL;
}

anx_status anx_checkpoint_diff_create(const anx_checkpoint *a, const anx_checkpoint *b, int threads,
                                      anx_checkpoint_diff **out, anx_error *err) {
    anx_checkpoint_diff *diff = calloc(1, sizeof *diff);
    comparing c = {.diff = diff, .threads = threads, .budget = anx_read_budget_for(a->file_bytes, b->file_bytes)};
    anx_status status = ANX_OK;
    c.partner = calloc(a->tensors.count + 1, sizeof *c.partner);
    if (diff != NULL) diff->rows = calloc(a->tensors.count + b->tensors.count + 1, sizeof *diff->rows);
    if (diff == NULL || diff->rows == NULL || c.partner == NULL) {
        status = anx_error_set(err, ANX_ERR_OUT_OF_MEMORY, "out of memory");
        goto out;
    }
    diff->a = a;
    diff->b = b;
    for (size_t i = 0; i < a->tensors.count; i++) c.partner[i] = index_of(&b->tensors, a->tensors.items[i].name);
    compare_order(&c);
    status = compare_tensors(&c, err);
    if (status == ANX_OK) status = describe_beside(a, &diff->beside_a, err);
    if (status == ANX_OK) status = describe_beside(b, &diff->beside_b, err);
    diff->result = result_of(diff);
out:
    free(c.partner);
    if (status == ANX_OK)
        *out = diff;
    else
        anx_checkpoint_diff_destroy(diff);
    return status;
}

void anx_checkpoint_diff_destroy(anx_checkpoint_diff *diff) {
    if (diff == NULL) return;
    free(diff->rows);
    free(diff->beside_a);
    free(diff->beside_b);
    free(diff);
}
