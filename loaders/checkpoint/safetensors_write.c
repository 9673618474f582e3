#include <cjson/cJSON.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "loaders/checkpoint/safetensors.h"
#include "loaders/checkpoint/safetensors_dtype.h"
#include "loaders/checkpoint/saving.h"
#include "loaders/checkpoint/state_dict_json.h"
#include "loaders/checkpoint/text.h"
#include "loaders/file.h"
#include "src/base/checked.h"
#include "src/base/text_stream.h"

/* Laid out as the reference writer does (safetensors/src/tensor.rs, prepare): its files and ours are the same bytes. */

static anx_status out_of_memory(anx_error *err) {
    return anx_error_set(err, ANX_ERR_OUT_OF_MEMORY, "out of memory");
}

static int by_layout(const void *a, const void *b) {
    const anx_saving_item *const *x = a, *const *y = b;
    const int order_x = anx_safetensors_dtype_order((*x)->dtype);
    const int order_y = anx_safetensors_dtype_order((*y)->dtype);
    return order_x != order_y ? order_y - order_x : strcmp((*x)->name, (*y)->name);
}

static int by_key(const void *a, const void *b) {
    const anx_safetensors_meta *const *x = a, *const *y = b;
    return strcmp((*x)->key, (*y)->key);
}

/* "[2,3]": raw, since cJSON's own numbers are doubles. Returns false when out of memory. */
static bool add_integers(cJSON *object, const char *name, const int64_t *values, int n) {
    char text[ANX_MAX_RANK * 21 + 3];
    size_t used = 0;
    text[used++] = '[';
    for (int i = 0; i < n; i++)
        used += (size_t)snprintf(text + used, sizeof text - used, "%s%lld", i > 0 ? "," : "", (long long)values[i]);
    snprintf(text + used, sizeof text - used, "]");
    return cJSON_AddRawToObject(object, name, text) != NULL;
}

/* ---- the header: one member at a time, since a tree of very many tensors takes far more room than its text ---- */

/* Appends the members of `object`, which is deleted, to the text of a larger one. NULL: out of memory. */
static anx_status put_members(FILE *to, bool *first, cJSON *object, anx_error *err) {
    char *json = object != NULL ? cJSON_PrintUnformatted(object) : NULL;
    cJSON_Delete(object);
    if (json == NULL) return out_of_memory(err);
    const size_t n = strlen(json);
    fputs(*first ? "{" : ",", to);
    *first = false;
    fwrite(json + 1, 1, n - 2, to); /* without its braces */
    free(json);
    return ANX_OK;
}

static anx_status check_pair(const anx_safetensors_meta *pair, const anx_safetensors_meta *before, anx_error *err) {
    char text[200];
    anx_text_printable(pair->key, strlen(pair->key), text, sizeof text);
    if (before != NULL && strcmp(before->key, pair->key) == 0)
        return anx_error_set(err, ANX_ERR_INVALID_ARGUMENT, "the metadata key '%s' is given twice", text);
    if (!anx_utf8_valid(pair->key, strlen(pair->key)) || !anx_utf8_valid(pair->value, strlen(pair->value)))
        return anx_error_set(err, ANX_ERR_INVALID_ARGUMENT, "metadata that is not UTF-8 under '%s'", text);
    return ANX_OK;
}

static anx_status put_metadata(FILE *to, bool *first, const anx_safetensors_meta *metadata, size_t n, anx_error *err) {
    anx_status status = ANX_OK;
    const anx_safetensors_meta **sorted = calloc(n + 1, sizeof *sorted);
    cJSON *root = cJSON_CreateObject(), *object = root != NULL ? cJSON_AddObjectToObject(root, "__metadata__") : NULL;
    if (sorted == NULL || object == NULL) status = out_of_memory(err);
    for (size_t i = 0; i < n && status == ANX_OK; i++) sorted[i] = &metadata[i];
    if (status == ANX_OK) qsort(sorted, n, sizeof *sorted, by_key);
    for (size_t i = 0; i < n && status == ANX_OK; i++) {
        status = check_pair(sorted[i], i > 0 ? sorted[i - 1] : NULL, err);
        if (status == ANX_OK && cJSON_AddStringToObject(object, sorted[i]->key, sorted[i]->value) == NULL)
            status = out_of_memory(err);
    }
    free(sorted);
    if (status == ANX_OK) return put_members(to, first, root, err);
    cJSON_Delete(root);
    return status;
}

/* *at: where its elements begin in the data, moved on to where the next one's do. */
static anx_status put_tensor(FILE *to, bool *first, const anx_saving_item *item, int64_t *at, anx_error *err) {
    const char *name = item->name;
    const anx_tensor *t = &item->elements.tensor;
    const int64_t begin = *at;
    const uint64_t bytes = anx_saving_item_bytes(item);
    char text[200];
    if (strcmp(name, "__metadata__") == 0 || !anx_utf8_valid(name, strlen(name)))
        return anx_error_set(err, ANX_ERR_INVALID_ARGUMENT, "'%s' cannot be the name of a tensor",
                             anx_text_printable(name, strlen(name), text, sizeof text));
    if (bytes > INT64_MAX || !anx_checked_add_i64(*at, (int64_t)bytes, at))
        return anx_error_set(err, ANX_ERR_INVALID_ARGUMENT, "the tensors' sizes overflow");
    cJSON *root = cJSON_CreateObject(), *object = root != NULL ? cJSON_AddObjectToObject(root, name) : NULL;
    if (object != NULL && cJSON_AddStringToObject(object, "dtype", anx_safetensors_dtype_name(item->dtype)) != NULL &&
        add_integers(object, "shape", t->shape, t->rank) &&
        add_integers(object, "data_offsets", (int64_t[]){begin, *at}, 2))
        return put_members(to, first, root, err);
    cJSON_Delete(root);
    return out_of_memory(err);
}

/* The whole header into *json, malloc'd; *total: the bytes of the data. */
static anx_status make_header(const anx_saving_item *const *sorted, size_t n, const anx_safetensors_meta *pairs,
                              size_t n_pairs, char **json, size_t *n_bytes, int64_t *total, anx_error *err) {
    anx_text_stream s;
    *total = 0;
    anx_status status = anx_text_stream_open(&s, err);
    if (status != ANX_OK) return status;
    bool first = true;
    if (n_pairs > 0) status = put_metadata(s.to, &first, pairs, n_pairs, err);
    for (size_t i = 0; i < n && status == ANX_OK; i++) status = put_tensor(s.to, &first, sorted[i], total, err);
    fputs(first ? "{}" : "}", s.to);
    const anx_status closed = anx_text_stream_close(&s, json, n_bytes, status == ANX_OK ? err : NULL);
    return status == ANX_OK ? closed : status;
}

/* What our reader would not take is better not written. */
static anx_status check_header(const char *json, size_t n_bytes, size_t n_tensors, anx_error *err) {
    size_t values = 0, at = 0;
    const anx_status status = anx_json_scan(json, n_bytes, "the header", &values, &at, err);
    if (status != ANX_OK) return status;
    if (values <= ANX_SAFETENSORS_MAX_JSON_VALUES && n_bytes <= ANX_SAFETENSORS_MAX_HEADER_BYTES - 8) return ANX_OK;
    return anx_error_set(err, ANX_ERR_LIMIT,
                         "%zu tensors make a header of %zu bytes and %zu JSON values; %d bytes and %d values are read",
                         n_tensors, n_bytes, values, (int)ANX_SAFETENSORS_MAX_HEADER_BYTES,
                         (int)ANX_SAFETENSORS_MAX_JSON_VALUES);
}

static anx_status write_header(anx_file_writer *writer, const char *json, size_t length, anx_error *err) {
    const size_t padding = (8 - length % 8) % 8; /* the data then starts at a multiple of 8 */
    const uint64_t header_bytes = length + padding;
    anx_status status = anx_file_writer_write(writer, &header_bytes, sizeof header_bytes, err);
    if (status == ANX_OK) status = anx_file_writer_write(writer, json, length, err);
    return status == ANX_OK ? anx_file_writer_write(writer, "        ", padding, err) : status;
}

/* ---- the file ------------------------------------------------------------------------------------------- */

static anx_status append(void *user, const void *bytes, size_t n_bytes, anx_error *err) {
    return anx_file_writer_write(user, bytes, n_bytes, err);
}

/* sorted: the items in the order of the layout. */
static anx_status write_sorted(const anx_saving_item *const *sorted, size_t n, const anx_safetensors_meta *pairs,
                               size_t n_pairs, anx_file_writer *file, anx_rounding *rounding, anx_error *err) {
    int64_t total = 0;
    char *json = NULL;
    size_t n_bytes = 0;
    anx_status status = make_header(sorted, n, pairs, n_pairs, &json, &n_bytes, &total, err);
    if (status == ANX_OK) status = check_header(json, n_bytes, n, err);
    if (status == ANX_OK) status = anx_file_writer_expect(file, (uint64_t)total, err);
    if (status == ANX_OK) status = write_header(file, json, n_bytes, err);
    for (size_t i = 0; i < n && status == ANX_OK; i++)
        status = anx_saving_item_read(sorted[i], rounding, append, file, err);
    free(json);
    return status;
}

static anx_status write_items(const anx_saving_item *items, size_t n, const anx_safetensors_meta *pairs, size_t n_pairs,
                              anx_file_writer *file, anx_rounding *rounding, anx_error *err) {
    const anx_saving_item **sorted = calloc(n + 1, sizeof *sorted);
    if (sorted == NULL) return out_of_memory(err);
    for (size_t i = 0; i < n; i++) sorted[i] = &items[i];
    if (n > 0) qsort(sorted, n, sizeof *sorted, by_layout);
    anx_status status = write_sorted(sorted, n, pairs, n_pairs, file, rounding, err);
    free(sorted);
    return status;
}

/* True where the items are in the order in which the file will list them. */
static bool is_in_layout_order(const anx_saving *saving) {
    for (size_t i = 1; i < saving->n_items; i++) {
        const anx_saving_item *a = &saving->items[i - 1], *b = &saving->items[i];
        if (by_layout(&a, &b) > 0) return false;
    }
    return true;
}

/* Has the saving an order that the file's own does not give back? */
static bool needs_keys(const anx_saving *saving) {
    return !saving->by_name && !is_in_layout_order(saving);
}

/* What is kept first: the order, then _metadata as far as there is room beside it. */
anx_status anx_safetensors_can_keep_order(const anx_saving *saving, bool *can, anx_error *err) {
    anx_saving order = *saving; /* a view: nothing of it is released */
    order.metadata = NULL;
    *can = true;
    return needs_keys(saving) ? anx_state_dict_fits_json(&order, true, can, err) : ANX_OK;
}

anx_status anx_safetensors_can_keep_metadata(const anx_saving *saving, bool *can, anx_error *err) {
    bool ordered = true;
    const anx_status status = anx_safetensors_can_keep_order(saving, &ordered, err);
    return status == ANX_OK ? anx_state_dict_fits_json(saving, ordered && needs_keys(saving), can, err) : status;
}

anx_status anx_safetensors_save(const anx_saving *saving, const char *path, anx_file_writer *file,
                                anx_rounding *rounding, anx_error *err) {
    (void)path;
    char *text = NULL;
    bool complete = true, ordered = true;
    size_t n = 0;
    anx_safetensors_meta *pairs = calloc(saving->n_pairs + 2, sizeof *pairs);
    if (pairs == NULL) return out_of_memory(err);
    anx_status status = anx_safetensors_can_keep_order(saving, &ordered, err);
    if (status == ANX_OK && !saving->by_name)
        status = anx_state_dict_to_json(saving, ordered && needs_keys(saving), &text, &complete, err);
    if (status == ANX_OK) {
        for (; n < saving->n_pairs; n++) pairs[n] = saving->pairs[n];
        if (!saving->has_pairs) pairs[n++] = (anx_safetensors_meta){"format", "pt"};
        if (text != NULL) pairs[n++] = (anx_safetensors_meta){anx_state_dict_pair, text};
        status = write_items(saving->items, saving->n_items, pairs, n, file, rounding, err);
    }
    free(text);
    free(pairs);
    return status;
}

anx_status anx_safetensors_write(const char *path, const anx_state_dict *tensors, const anx_safetensors_meta *metadata,
                                 size_t n_metadata, bool force, anx_error *err) {
    anx_file_writer *writer = NULL;
    anx_status status = ANX_OK;
    anx_saving_item *items = calloc(tensors->count + 1, sizeof *items);
    if (items == NULL) status = out_of_memory(err);
    for (size_t i = 0; i < tensors->count && status == ANX_OK; i++)
        items[i] = (anx_saving_item){.name = tensors->items[i].name,
                                     .elements = {.tensor = tensors->items[i].tensor},
                                     .dtype = tensors->items[i].tensor.dtype};
    if (status == ANX_OK) status = anx_file_writer_create(path, force, &writer, err);
    if (status == ANX_OK) status = write_items(items, tensors->count, metadata, n_metadata, writer, NULL, err);
    if (status == ANX_OK) status = anx_file_writer_commit(writer, err);
    anx_error_in_file(status == ANX_OK ? NULL : err, path);
    anx_file_writer_destroy(writer);
    free(items);
    return status;
}
