#include "parity/evaluation_file.h"

#include <stdlib.h>
#include <string.h>

#include "loaders/checkpoint/safetensors.h"
#include "loaders/checkpoint/text.h"

static const char format_key[] = "anx_evaluation", format_version[] = "1";

/* The columns, but for the flags: one row of the table each. */
typedef struct column {
    const char *name;
    anx_dtype dtype;
    int per_image; /* values of an image: beyond 1, the tensor is (n, per_image) */
    size_t offset; /* in anx_prediction */
} column;

#define COLUMN(member_, dtype_, count_)                                                                                \
    { .name = #member_, .dtype = dtype_, .per_image = count_, .offset = offsetof(anx_prediction, member_) }
static const column columns[] = {
    COLUMN(file, ANX_I64, 1),      COLUMN(label, ANX_I64, 1),
    COLUMN(top, ANX_I32, ANX_TOP), COLUMN(probability, ANX_F32, ANX_TOP),
    COLUMN(loss, ANX_F64, 1),      COLUMN(margin1, ANX_F64, 1),
    COLUMN(margin5, ANX_F64, 1),   COLUMN(spread, ANX_F64, 1),
};
enum { COLUMNS = sizeof columns / sizeof columns[0] };

/* The booleans, from the lowest bit. */
static const size_t flags[] = {
    offsetof(anx_prediction, right1),     offsetof(anx_prediction, right5),     offsetof(anx_prediction, tied1),
    offsetof(anx_prediction, tied5),      offsetof(anx_prediction, ambiguous1), offsetof(anx_prediction, ambiguous5),
    offsetof(anx_prediction, non_finite),
};
enum { FLAGS = sizeof flags / sizeof flags[0] };

static size_t column_bytes(const column *c) {
    return (size_t)c->per_image * anx_dtype_bytes(c->dtype);
}

/* ---- writing ---- */

static anx_status add_tensor(anx_state_dict *dict, const char *name, anx_dtype dtype, int64_t rows, int per_row,
                             char **data, anx_error *err) {
    const int64_t shape[] = {rows, per_row};
    anx_tensor t = ANX_TENSOR_INIT;
    anx_status status = anx_tensor_alloc(dtype, per_row > 1 ? 2 : 1, shape, &t, err);
    if (status != ANX_OK) return status;
    *data = t.data;
    status = anx_state_dict_add(dict, name, &t, err);
    if (status != ANX_OK) anx_tensor_fini(&t);
    return status;
}

static anx_status add_predictions(anx_state_dict *dict, const anx_evaluation *e, anx_error *err) {
    char *data = NULL;
    for (int c = 0; c < COLUMNS; c++) {
        const size_t n_bytes = column_bytes(&columns[c]);
        const anx_status status =
            add_tensor(dict, columns[c].name, columns[c].dtype, e->n_predictions, columns[c].per_image, &data, err);
        if (status != ANX_OK) return status;
        for (int64_t i = 0; i < e->n_predictions; i++)
            memcpy(data + (size_t)i * n_bytes, (const char *)&e->predictions[i] + columns[c].offset, n_bytes);
    }
    const anx_status status = add_tensor(dict, "flags", ANX_U8, e->n_predictions, 1, &data, err);
    if (status != ANX_OK) return status;
    for (int64_t i = 0; i < e->n_predictions; i++) {
        unsigned bits = 0;
        for (unsigned f = 0; f < FLAGS; f++)
            bits |= (unsigned)*(const bool *)((const char *)&e->predictions[i] + flags[f]) << f;
        data[i] = (char)bits;
    }
    return ANX_OK;
}

static anx_status add_bad_files(anx_state_dict *dict, const anx_evaluation *e, anx_error *err) {
    char *data = NULL;
    size_t n_bytes = 0;
    anx_status status = add_tensor(dict, "bad_file", ANX_I64, e->n_bad, 1, &data, err);
    if (status != ANX_OK) return status;
    for (int64_t i = 0; i < e->n_bad; i++) {
        memcpy(data + (size_t)i * sizeof e->bad[i].file, &e->bad[i].file, sizeof e->bad[i].file);
        n_bytes += strlen(e->bad[i].reason) + 1;
    }
    status = add_tensor(dict, "bad_reason", ANX_U8, (int64_t)n_bytes, 1, &data, err);
    for (int64_t i = 0; status == ANX_OK && i < e->n_bad; i++) data = stpcpy(data, e->bad[i].reason) + 1;
    return status;
}

anx_status anx_evaluation_save(const char *path, const anx_evaluation *evaluation, const anx_evaluation_fact *facts,
                               size_t n_facts, anx_error *err) {
    anx_state_dict dict = ANX_STATE_DICT_INIT;
    anx_safetensors_meta *metadata = calloc(n_facts + 1, sizeof *metadata);
    anx_status status =
        metadata != NULL ? ANX_OK : anx_error_set(err, ANX_ERR_OUT_OF_MEMORY, "no memory to save an evaluation");
    if (status == ANX_OK) {
        metadata[0] = (anx_safetensors_meta){format_key, format_version};
        for (size_t i = 0; i < n_facts; i++) metadata[i + 1] = (anx_safetensors_meta){facts[i].key, facts[i].value};
        status = add_predictions(&dict, evaluation, err);
    }
    if (status == ANX_OK) status = add_bad_files(&dict, evaluation, err);
    if (status == ANX_OK) status = anx_safetensors_write(path, &dict, metadata, n_facts + 1, true, err);
    anx_state_dict_fini(&dict);
    free(metadata);
    return status;
}

/* ---- reading ---- */

static anx_status check_facts(const anx_safetensors *file, const anx_evaluation_fact *facts, size_t n_facts,
                              anx_error *err) {
    char shown[208];
    const char *version = anx_safetensors_metadata(file, format_key);
    if (version == NULL) return anx_error_set(err, ANX_ERR_FORMAT, "a safetensors file, but not an evaluation's state");
    if (strcmp(version, format_version) != 0)
        return anx_error_set(err, ANX_ERR_UNSUPPORTED, "an evaluation's state of format %s; this release reads %s",
                             anx_text_printable(version, strlen(version), shown, sizeof shown), format_version);
    anx_status status = ANX_OK;
    for (size_t i = n_facts; i-- > 0;) { /* from the last: each is put before the others */
        const char *there = anx_safetensors_metadata(file, facts[i].key);
        if (there != NULL && strcmp(there, facts[i].value) == 0) continue;
        if (status == ANX_OK) status = anx_error_set(err, ANX_ERR_MISMATCH, "%s", "");
        anx_error_prefix(err, "\n  %s: %s there, %.200s now", facts[i].what,
                         there != NULL ? anx_text_printable(there, strlen(there), shown, sizeof shown) : "nothing",
                         facts[i].value);
    }
    if (status != ANX_OK)
        anx_error_prefix(err, "holds another evaluation, which cannot be gone on with (another file, or none, starts "
                              "anew):");
    return status;
}

/* A tensor of that name, dtype and shape; its number of rows in *rows where that is < 0, else it must be that. */
static anx_status find(const anx_safetensors *file, const char *name, anx_dtype dtype, int per_row, int64_t *rows,
                       const char **data, anx_error *err) {
    const anx_tensor *t = anx_state_dict_find(&file->tensors, name);
    const bool fits = t != NULL && t->dtype == dtype && t->rank == (per_row > 1 ? 2 : 1) &&
                      (per_row == 1 || t->shape[1] == per_row) && (*rows < 0 || t->shape[0] == *rows);
    if (!fits) {
        anx_status status = anx_error_set(err, ANX_ERR_FORMAT, "is not there, or not of the dtype and shape expected");
        anx_error_in_entry(err, name);
        return status;
    }
    *rows = t->shape[0];
    *data = t->data;
    return ANX_OK;
}

static anx_status read_predictions(const anx_safetensors *file, anx_evaluation *out, anx_error *err) {
    const char *data[COLUMNS], *bits = NULL;
    int64_t rows = -1;
    for (int c = 0; c < COLUMNS; c++) {
        const anx_status status =
            find(file, columns[c].name, columns[c].dtype, columns[c].per_image, &rows, &data[c], err);
        if (status != ANX_OK) return status;
    }
    anx_status status = find(file, "flags", ANX_U8, 1, &rows, &bits, err);
    for (int64_t i = 0; status == ANX_OK && i < rows; i++) {
        anx_prediction p = {.file = 0};
        for (int c = 0; c < COLUMNS; c++) {
            const size_t n_bytes = column_bytes(&columns[c]);
            memcpy((char *)&p + columns[c].offset, data[c] + (size_t)i * n_bytes, n_bytes);
        }
        for (unsigned f = 0; f < FLAGS; f++) *(bool *)((char *)&p + flags[f]) = ((unsigned char)bits[i] >> f & 1) != 0;
        status = anx_evaluation_add_prediction(out, &p, err);
    }
    return status;
}

static anx_status read_bad_files(const anx_safetensors *file, anx_evaluation *out, anx_error *err) {
    const char *indices = NULL, *reasons = NULL;
    int64_t rows = -1, n_bytes = -1;
    anx_status status = find(file, "bad_file", ANX_I64, 1, &rows, &indices, err);
    if (status == ANX_OK) status = find(file, "bad_reason", ANX_U8, 1, &n_bytes, &reasons, err);
    for (int64_t i = 0; status == ANX_OK && i < rows; i++) {
        const char *end = n_bytes > 0 ? memchr(reasons, 0, (size_t)n_bytes) : NULL;
        int64_t index;
        if (end == NULL)
            return anx_error_set(err, ANX_ERR_FORMAT, "bad_reason has fewer texts than bad_file has files");
        memcpy(&index, indices + (size_t)i * sizeof index, sizeof index);
        status = anx_evaluation_add_bad(out, index, reasons, err);
        n_bytes -= end + 1 - reasons;
        reasons = end + 1;
    }
    return status;
}

/* The label is the dataset's. */
static bool has_its_label(const anx_prediction *p, const anx_evaluate_options *o) {
    return p->label == (o->label != NULL ? o->label(o->label_context, p->file) : -1);
}

/* Predictions and bad files together are the first of the files, in their order. */
static anx_status check_order(const anx_evaluate_options *o, anx_evaluation *e, anx_error *err) {
    int64_t good = 0, bad = 0;
    anx_device_info info;
    anx_device_describe(o->device, &info);
    e->done = e->n_predictions + e->n_bad;
    for (int64_t i = 0; i < e->done; i++) {
        const int64_t wanted = i < o->n_files ? o->files[i] : -1;
        if (wanted >= 0 && good < e->n_predictions && e->predictions[good].file == wanted &&
            has_its_label(&e->predictions[good], o)) {
            if (!anx_prediction_is_sound(&e->predictions[good], o->model->graph->num_classes, info.math))
                return anx_error_set(err, ANX_ERR_FORMAT,
                                     "is damaged: what it says of image %lld does not fit together", (long long)i);
            good++;
        } else if (wanted >= 0 && bad < e->n_bad && e->bad[bad].file == wanted)
            bad++;
        else
            return anx_error_set(err, ANX_ERR_FORMAT,
                                 "is damaged: image %lld in it is not the one that was to be evaluated", (long long)i);
    }
    return ANX_OK;
}

anx_status anx_evaluation_load(const char *path, const anx_evaluate_options *options, const anx_evaluation_fact *facts,
                               size_t n_facts, anx_evaluation *out, anx_error *err) {
    anx_safetensors *file = NULL;
    anx_evaluation read = ANX_EVALUATION_INIT;
    anx_status status = anx_safetensors_open(path, &file, err);
    if (status != ANX_OK) return status;
    status = check_facts(file, facts, n_facts, err);
    if (status == ANX_OK) status = read_predictions(file, &read, err);
    if (status == ANX_OK) status = read_bad_files(file, &read, err);
    if (status == ANX_OK) status = check_order(options, &read, err);
    if (status == ANX_OK) {
        *out = read;
    } else {
        anx_error_in_file(err, path);
        anx_evaluation_fini(&read);
    }
    anx_safetensors_close(file);
    return status;
}
