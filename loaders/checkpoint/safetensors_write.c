#include <cjson/cJSON.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "loaders/checkpoint/safetensors.h"
#include "loaders/checkpoint/safetensors_dtype.h"
#include "loaders/checkpoint/text.h"
#include "loaders/file.h"
#include "src/base/checked.h"

/* Laid out as the reference writer does (safetensors/src/tensor.rs, prepare): its files and ours are the same bytes. */

static anx_status out_of_memory(anx_error *err) {
    return anx_error_set(err, ANX_ERR_OUT_OF_MEMORY, "out of memory");
}

static int by_layout(const void *a, const void *b) {
    const anx_named_tensor *const *x = a, *const *y = b;
    const int order_x = anx_safetensors_dtype_order((*x)->tensor.dtype);
    const int order_y = anx_safetensors_dtype_order((*y)->tensor.dtype);
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
            status = anx_error_set(err, ANX_ERR_INVALID_ARGUMENT, "the metadata key '%.80s' is given twice", key);
            goto out;
        }
        if (!anx_utf8_valid(key, strlen(key)) || !anx_utf8_valid(value, strlen(value))) {
            status = anx_error_set(err, ANX_ERR_INVALID_ARGUMENT, "metadata that is not UTF-8 under '%.80s'", key);
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

static anx_status add_tensors(cJSON *root, const anx_named_tensor *const *sorted, size_t n, anx_error *err) {
    int64_t at = 0;
    for (size_t i = 0; i < n; i++) {
        const anx_tensor *t = &sorted[i]->tensor;
        const char *name = sorted[i]->name;
        if (strcmp(name, "__metadata__") == 0 || !anx_utf8_valid(name, strlen(name)))
            return anx_error_set(err, ANX_ERR_INVALID_ARGUMENT, "'%.80s' cannot be the name of a tensor", name);
        const int64_t begin = at;
        if (!anx_checked_add_i64(at, (int64_t)anx_tensor_bytes(t), &at))
            return anx_error_set(err, ANX_ERR_INVALID_ARGUMENT, "the tensors' sizes overflow");
        cJSON *object = cJSON_AddObjectToObject(root, name);
        if (object == NULL || cJSON_AddStringToObject(object, "dtype", anx_safetensors_dtype_name(t->dtype)) == NULL ||
            !add_integers(object, "shape", t->shape, t->rank) ||
            !add_integers(object, "data_offsets", (int64_t[]){begin, at}, 2))
            return out_of_memory(err);
    }
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

static anx_status write_data(anx_file_writer *writer, const anx_tensor *t, anx_error *err) {
    if (anx_tensor_is_contiguous(t)) return anx_file_writer_write(writer, t->data, anx_tensor_bytes(t), err);
    anx_tensor gathered = ANX_TENSOR_INIT;
    anx_status status = anx_tensor_convert(t, t->dtype, &gathered, err);
    if (status == ANX_OK) status = anx_file_writer_write(writer, gathered.data, anx_tensor_bytes(&gathered), err);
    anx_tensor_fini(&gathered);
    return status;
}

anx_status anx_safetensors_write(const char *path, const anx_state_dict *tensors, const anx_safetensors_meta *metadata,
                                 size_t n_metadata, bool force, anx_error *err) {
    anx_file_writer *writer = NULL;
    anx_status status = ANX_OK;
    const size_t n = tensors->count;
    const anx_named_tensor **sorted = calloc(n + 1, sizeof *sorted);
    cJSON *root = cJSON_CreateObject();
    if (sorted == NULL || root == NULL) {
        status = out_of_memory(err);
        goto out;
    }
    for (size_t i = 0; i < n; i++) sorted[i] = &tensors->items[i];
    qsort(sorted, n, sizeof *sorted, by_layout);
    if (n_metadata > 0) status = add_metadata(root, metadata, n_metadata, err);
    if (status == ANX_OK) status = add_tensors(root, sorted, n, err);
    if (status == ANX_OK) status = anx_file_writer_create(path, force, &writer, err);
    if (status == ANX_OK) status = write_header(writer, root, err);
    for (size_t i = 0; i < n && status == ANX_OK; i++) status = write_data(writer, &sorted[i]->tensor, err);
    if (status == ANX_OK) status = anx_file_writer_commit(writer, err);
out:
    anx_error_in_file(status == ANX_OK ? NULL : err, path);
    anx_file_writer_destroy(writer);
    cJSON_Delete(root);
    free(sorted);
    return status;
}
