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

static anx_status add_metadata(cJSON *root, const anx_safetensors_meta *metadata, size_t n, anx_error *err) {
    anx_status status = ANX_OK;
    char text[200];
    const anx_safetensors_meta **sorted = calloc(n, sizeof *sorted);
    cJSON *object = cJSON_AddObjectToObject(root, "__metadata__");
    if (sorted == NULL || object == NULL) {
        status = out_of_memory(err);
        goto out;
    }
    for (size_t i = 0; i < n; i++) sorted[i] = &metadata[i];
    qsort(sorted, n, sizeof *sorted, by_key);
    for (size_t i = 0; i < n; i++) {
        const char *key = sorted[i]->key, *value = sorted[i]->value;
        if (i > 0 && strcmp(sorted[i - 1]->key, key) == 0) {
            status = anx_error_set(err, ANX_ERR_INVALID_ARGUMENT, "the metadata key '%s' is given twice",
                                   anx_text_printable(key, strlen(key), text, sizeof text));
            goto out;
        }
        if (!anx_utf8_valid(key, strlen(key)) || !anx_utf8_valid(value, strlen(value))) {
            status = anx_error_set(err, ANX_ERR_INVALID_ARGUMENT, "metadata that is not UTF-8 under '%s'",
                                   anx_text_printable(key, strlen(key), text, sizeof text));
            goto out;
        }
        if (cJSON_AddStringToObject(object, key, value) == NULL) {
            status = out_of_memory(err);
            goto out;
        }
    }
out:
    free(sorted);
    return status;
}

static anx_status add_tensors(cJSON *root, const anx_saving_item *const *sorted, size_t n, int64_t *total,
                              anx_error *err) {
    int64_t at = 0;
    char text[200];
    for (size_t i = 0; i < n; i++) {
        const anx_tensor *t = &sorted[i]->elements.tensor;
        const char *name = sorted[i]->name;
        if (strcmp(name, "__metadata__") == 0 || !anx_utf8_valid(name, strlen(name)))
            return anx_error_set(err, ANX_ERR_INVALID_ARGUMENT, "'%s' cannot be the name of a tensor",
                                 anx_text_printable(name, strlen(name), text, sizeof text));
        const int64_t begin = at;
        const uint64_t bytes = anx_saving_item_bytes(sorted[i]);
        if (bytes > INT64_MAX || !anx_checked_add_i64(at, (int64_t)bytes, &at))
            return anx_error_set(err, ANX_ERR_INVALID_ARGUMENT, "the tensors' sizes overflow");
        cJSON *object = cJSON_AddObjectToObject(root, name);
        if (object == NULL ||
            cJSON_AddStringToObject(object, "dtype", anx_safetensors_dtype_name(sorted[i]->dtype)) == NULL ||
            !add_integers(object, "shape", t->shape, t->rank) ||
            !add_integers(object, "data_offsets", (int64_t[]){begin, at}, 2))
            return out_of_memory(err);
    }
    *total = at;
    return ANX_OK;
}

static anx_status write_header(anx_file_writer *writer, const cJSON *root, anx_error *err) {
    char *json = cJSON_PrintUnformatted(root);
    if (json == NULL) return out_of_memory(err);
    const size_t length = strlen(json);
    const size_t padding = (8 - length % 8) % 8; /* the data then starts at a multiple of 8 */
    const uint64_t header_bytes = length + padding;
    anx_status status = anx_file_writer_write(writer, &header_bytes, sizeof header_bytes, err);
    if (status == ANX_OK) status = anx_file_writer_write(writer, json, length, err);
    if (status == ANX_OK) status = anx_file_writer_write(writer, "        ", padding, err);
    free(json);
    return status;
}

static anx_status append(void *user, const void *bytes, size_t n_bytes, anx_error *err) {
    return anx_file_writer_write(user, bytes, n_bytes, err);
}

/* sorted: the items in the order of the layout. */
static anx_status write_sorted(const anx_saving_item *const *sorted, size_t n, const anx_safetensors_meta *pairs,
                               size_t n_pairs, anx_file_writer *file, anx_rounding *rounding, anx_error *err) {
    int64_t total = 0;
    cJSON *root = cJSON_CreateObject();
    anx_status status = root != NULL ? ANX_OK : out_of_memory(err);
    if (status == ANX_OK && n_pairs > 0) status = add_metadata(root, pairs, n_pairs, err);
    if (status == ANX_OK) status = add_tensors(root, sorted, n, &total, err);
    if (status == ANX_OK) status = anx_file_writer_expect(file, (uint64_t)total, err);
    if (status == ANX_OK) status = write_header(file, root, err);
    for (size_t i = 0; i < n && status == ANX_OK; i++)
        status = anx_saving_item_read(sorted[i], rounding, append, file, err);
    cJSON_Delete(root);
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
