#include <cjson/cJSON.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "loaders/checkpoint/checkpoint_impl.h"
#include "loaders/checkpoint/safetensors.h"
#include "loaders/checkpoint/safetensors_dtype.h"
#include "loaders/checkpoint/state_dict_json.h"
#include "loaders/checkpoint/text.h"
#include "loaders/file.h"
#include "src/base/checked.h"

/*
 * The rules are those of the reference reader (safetensors/src/tensor.rs, SafeTensors::read_metadata and
 * Metadata::validate). cJSON parses; what it would let pass (duplicate keys, text after the object, bytes that are not
 * UTF-8, NUL in names) is checked here.
 */

enum { length_bytes = 8 };

static const double max_exact_double = 9007199254740992.0; /* 2^53: cJSON's numbers are doubles */

/* One tensor as the header describes it; offsets are into the data after the header. */
typedef struct described {
    const cJSON *item;
    anx_dtype dtype;
    int rank;
    int64_t shape[ANX_MAX_RANK];
    size_t begin, end;
} described;

static anx_status out_of_memory(anx_error *err) {
    return anx_error_set(err, ANX_ERR_OUT_OF_MEMORY, "out of memory");
}

static void in_tensor(anx_error *err, const char *name) {
    char text[200];
    anx_error_in_entry(err, anx_text_printable(name, strlen(name), text, sizeof text));
}

/* Before cJSON allocates for it. */
static anx_status scan_header(const char *json, size_t n, anx_error *err) {
    size_t values = 0, at = 0;
    const anx_status status = anx_json_scan(json, n, "the header", &values, &at, err);
    if (status != ANX_OK) anx_error_at_offset(err, length_bytes + at);
    if (status == ANX_OK && values > ANX_SAFETENSORS_MAX_JSON_VALUES)
        return anx_error_set(err, ANX_ERR_LIMIT, "the header holds %zu JSON values; at most %d are taken", values,
                             (int)ANX_SAFETENSORS_MAX_JSON_VALUES);
    return status;
}

static anx_status parse_header(const anx_file_map *map, size_t *data_offset, cJSON **out, anx_error *err) {
    uint64_t length = 0;
    if (map->n_bytes < length_bytes)
        return anx_error_set(err, ANX_ERR_FORMAT, "%zu bytes; a safetensors file starts with an 8-byte header length",
                             map->n_bytes);
    memcpy(&length, map->bytes, sizeof length);
    if (length > ANX_SAFETENSORS_MAX_HEADER_BYTES)
        return anx_error_set(err, ANX_ERR_LIMIT,
                             "the header length is %llu; at most %d are allowed: is it a safetensors file?",
                             (unsigned long long)length, (int)ANX_SAFETENSORS_MAX_HEADER_BYTES);
    if (length > map->n_bytes - length_bytes)
        return anx_error_set(err, ANX_ERR_FORMAT, "the header length is %llu, but %zu bytes follow: truncated?",
                             (unsigned long long)length, map->n_bytes - length_bytes);
    const char *json = (const char *)map->bytes + length_bytes;
    const size_t n = (size_t)length;
    if (n == 0 || json[0] != '{') return anx_error_set(err, ANX_ERR_FORMAT, "the header does not start with '{'");
    anx_status status = scan_header(json, n, err);
    if (status != ANX_OK) return status;
    if (!anx_utf8_valid(json, n)) return anx_error_set(err, ANX_ERR_FORMAT, "the header is not UTF-8");
    const char *end = NULL;
    errno = 0; /* where memory runs out, cJSON says no more than that it cannot go on */
    cJSON *root = cJSON_ParseWithLengthOpts(json, n, &end, false);
    if (root == NULL && errno == ENOMEM) return out_of_memory(err);
    if (root == NULL) {
        anx_error_set(err, ANX_ERR_FORMAT, "the header is not valid JSON");
        if (end != NULL) anx_error_at_offset(err, length_bytes + (uint64_t)(end - json));
        return ANX_ERR_FORMAT;
    }
    end = anx_json_skip_space(end, json + n);
    if (end < json + n) {
        cJSON_Delete(root);
        anx_error_set(err, ANX_ERR_FORMAT, "text after the header's JSON object");
        anx_error_at_offset(err, length_bytes + (uint64_t)(end - json));
        return ANX_ERR_FORMAT;
    }
    *data_offset = length_bytes + n;
    *out = root;
    return ANX_OK;
}

/* A non-negative whole number that a double holds exactly. */
static bool whole(const cJSON *item, int64_t *out) {
    if (!cJSON_IsNumber(item)) return false;
    const double value = item->valuedouble;
    if (!(value >= 0 && value <= max_exact_double) || value != (double)(int64_t)value) return false;
    *out = (int64_t)value;
    return true;
}

static anx_status read_shape(const cJSON *item, described *d, anx_error *err) {
    if (!cJSON_IsArray(item)) return anx_error_set(err, ANX_ERR_FORMAT, "its shape is not an array");
    const int rank = cJSON_GetArraySize(item);
    if (rank > ANX_MAX_RANK)
        return anx_error_set(err, ANX_ERR_LIMIT, "it has %d dimensions; at most %d are taken", rank, (int)ANX_MAX_RANK);
    const cJSON *extent;
    d->rank = 0;
    cJSON_ArrayForEach(extent, item) {
        if (!whole(extent, &d->shape[d->rank++]))
            return anx_error_set(err, ANX_ERR_FORMAT, "its shape holds something that is not a whole number");
    }
    return ANX_OK;
}

static anx_status read_offsets(const cJSON *item, size_t data_bytes, described *d, anx_error *err) {
    int64_t begin = 0, end = 0;
    if (!cJSON_IsArray(item) || cJSON_GetArraySize(item) != 2 || !whole(item->child, &begin) ||
        !whole(item->child->next, &end))
        return anx_error_set(err, ANX_ERR_FORMAT, "its data_offsets are not two whole numbers");
    if (begin > end || (uint64_t)end > data_bytes)
        return anx_error_set(err, ANX_ERR_FORMAT, "its data_offsets are [%lld, %lld]; the file holds %zu bytes of data",
                             (long long)begin, (long long)end, data_bytes);
    d->begin = (size_t)begin;
    d->end = (size_t)end;
    return ANX_OK;
}

/* {"dtype": "F32", "shape": [2, 3], "data_offsets": [0, 24]}, in any order. */
static anx_status describe(const cJSON *item, size_t data_bytes, described *d, anx_error *err) {
    if (!cJSON_IsObject(item)) return anx_error_set(err, ANX_ERR_FORMAT, "it is not described by a JSON object");
    const cJSON *dtype = NULL, *shape = NULL, *offsets = NULL;
    const cJSON *field;
    cJSON_ArrayForEach(field, item) {
        const cJSON **slot = strcmp(field->string, "dtype") == 0          ? &dtype
                             : strcmp(field->string, "shape") == 0        ? &shape
                             : strcmp(field->string, "data_offsets") == 0 ? &offsets
                                                                          : NULL;
        if (slot != NULL && *slot != NULL)
            return anx_error_set(err, ANX_ERR_FORMAT, "its %s is given twice", field->string);
        if (slot != NULL) *slot = field;
    }
    if (dtype == NULL || shape == NULL || offsets == NULL)
        return anx_error_set(err, ANX_ERR_FORMAT, "its %s is missing",
                             dtype == NULL   ? "dtype"
                             : shape == NULL ? "shape"
                                             : "data_offsets");
    if (!cJSON_IsString(dtype)) return anx_error_set(err, ANX_ERR_FORMAT, "its dtype is not a string");
    d->item = item;
    char text[160];
    if (!anx_safetensors_dtype_find(dtype->valuestring, &d->dtype))
        return anx_error_set(err, ANX_ERR_UNSUPPORTED, "elements of type %s are not supported",
                             anx_text_printable(dtype->valuestring, strlen(dtype->valuestring), text, 40));
    anx_status status = read_shape(shape, d, err);
    if (status == ANX_OK) status = read_offsets(offsets, data_bytes, d, err);
    if (status != ANX_OK) return status;
    int64_t elems = 0;
    size_t bytes = 0;
    anx_shape_format(d->rank, d->shape, text, sizeof text);
    if (!anx_shape_elems(d->rank, d->shape, &elems) ||
        !anx_checked_mul_size((size_t)elems, anx_dtype_bytes(d->dtype), &bytes))
        return anx_error_set(err, ANX_ERR_FORMAT, "its shape %s overflows", text);
    if (bytes != d->end - d->begin)
        return anx_error_set(err, ANX_ERR_FORMAT, "%s of shape %s takes %zu bytes, its data_offsets span %zu",
                             dtype->valuestring, text, bytes, d->end - d->begin);
    return ANX_OK;
}

static int by_name(const void *a, const void *b) {
    const described *const *x = a, *const *y = b;
    return strcmp((*x)->item->string, (*y)->item->string);
}

static int by_offset(const void *a, const void *b) {
    const described *const *x = a, *const *y = b;
    if ((*x)->begin != (*y)->begin) return (*x)->begin < (*y)->begin ? -1 : 1;
    return (*x)->end < (*y)->end ? -1 : (*x)->end > (*y)->end;
}

/* No two of one name; the data covered from 0 to its end without holes or overlaps. `order` is scratch space. */
static anx_status check_layout(described *tensors, size_t n, size_t data_bytes, const described **order,
                               anx_error *err) {
    for (size_t i = 0; i < n; i++) order[i] = &tensors[i];
    qsort(order, n, sizeof *order, by_name);
    for (size_t i = 1; i < n; i++) {
        if (strcmp(order[i - 1]->item->string, order[i]->item->string) != 0) continue;
        anx_error_set(err, ANX_ERR_FORMAT, "the name occurs twice");
        in_tensor(err, order[i]->item->string);
        return ANX_ERR_FORMAT;
    }
    qsort(order, n, sizeof *order, by_offset);
    size_t at = 0;
    for (size_t i = 0; i < n; i++) {
        if (order[i]->begin != at) {
            anx_error_set(err, ANX_ERR_FORMAT, "its data begins at %zu, where %zu was expected: %s", order[i]->begin,
                          at, order[i]->begin < at ? "tensors overlap" : "a hole in the data");
            in_tensor(err, order[i]->item->string);
            return ANX_ERR_FORMAT;
        }
        at = order[i]->end;
    }
    if (at != data_bytes)
        return anx_error_set(err, ANX_ERR_FORMAT, "the tensors end at byte %zu of the data, which has %zu", at,
                             data_bytes);
    return ANX_OK;
}

static anx_status read_metadata(const cJSON *item, anx_safetensors *file, anx_error *err) {
    if (file->metadata != NULL || file->n_metadata != 0)
        return anx_error_set(err, ANX_ERR_FORMAT, "__metadata__ is given twice");
    if (!cJSON_IsObject(item)) return anx_error_set(err, ANX_ERR_FORMAT, "__metadata__ is not a JSON object");
    const size_t n = (size_t)cJSON_GetArraySize(item);
    file->metadata = calloc(n > 0 ? n : 1, sizeof *file->metadata);
    if (file->metadata == NULL) return out_of_memory(err);
    const cJSON *pair;
    cJSON_ArrayForEach(pair, item) {
        if (!cJSON_IsString(pair)) {
            char key[100];
            return anx_error_set(err, ANX_ERR_FORMAT, "__metadata__: the value of '%s' is not a string",
                                 anx_text_printable(pair->string, strlen(pair->string), key, sizeof key));
        }
        const size_t i = file->n_metadata++;
        file->metadata[i].key = strdup(pair->string);
        file->metadata[i].value = strdup(pair->valuestring);
        if (file->metadata[i].key == NULL || file->metadata[i].value == NULL) return out_of_memory(err);
    }
    return ANX_OK;
}

/* A view of the mapping; a copy where the data is not aligned for its type (the header was not padded). */
static anx_status add_tensor(const described *d, const uint8_t *data, bool as_stored, anx_state_dict *tensors,
                             anx_error *err) {
    anx_tensor tensor = anx_tensor_view(d->dtype, d->rank, d->shape, data + d->begin);
    if (!as_stored && ((uintptr_t)(data + d->begin)) % anx_dtype_bytes(d->dtype) != 0) {
        anx_status status = anx_tensor_alloc(d->dtype, d->rank, d->shape, &tensor, err);
        if (status != ANX_OK) return status;
        memcpy(tensor.data, data + d->begin, d->end - d->begin);
    }
    anx_status status = anx_state_dict_add(tensors, d->item->string, &tensor, err);
    if (status != ANX_OK) anx_tensor_fini(&tensor);
    return status;
}

static anx_status read_contents(const cJSON *root, const anx_file_map *map, size_t data_offset, bool as_stored,
                                anx_safetensors *file, anx_error *err) {
    const size_t data_bytes = map->n_bytes - data_offset;
    const size_t n_items = (size_t)cJSON_GetArraySize(root);
    size_t n = 0;
    anx_status status = ANX_OK;
    described *tensors = calloc(n_items + 1, sizeof *tensors);
    const described **order = calloc(n_items + 1, sizeof *order);
    if (tensors == NULL || order == NULL) {
        status = out_of_memory(err);
        goto out;
    }
    const cJSON *item;
    cJSON_ArrayForEach(item, root) {
        const bool is_metadata = strcmp(item->string, "__metadata__") == 0;
        status = is_metadata ? read_metadata(item, file, err) : describe(item, data_bytes, &tensors[n++], err);
        if (status != ANX_OK) {
            if (!is_metadata) in_tensor(err, item->string);
            goto out;
        }
    }
    status = check_layout(tensors, n, data_bytes, order, err);
    for (size_t i = 0; i < n && status == ANX_OK; i++)
        status = add_tensor(&tensors[i], map->bytes + data_offset, as_stored, &file->tensors, err);
out:
    free(order);
    free(tensors);
    return status;
}

static anx_status open_file(const char *path, bool as_stored, anx_safetensors **out, anx_error *err) {
    cJSON *root = NULL;
    size_t data_offset = 0;
    anx_safetensors *file = calloc(1, sizeof *file);
    anx_file_map *map = calloc(1, sizeof *map);
    anx_status status = ANX_OK;
    if (file == NULL || map == NULL) {
        free(map);
        status = out_of_memory(err);
        goto out;
    }
    file->impl = map;
    status = anx_file_map_init(map, path, err);
    file->bytes = map->bytes;
    if (status == ANX_OK) status = parse_header(map, &data_offset, &root, err);
    if (status == ANX_OK) status = read_contents(root, map, data_offset, as_stored, file, err);
out:
    cJSON_Delete(root);
    if (status == ANX_OK) {
        *out = file;
    } else {
        anx_error_in_file(err, path);
        anx_safetensors_close(file);
    }
    return status;
}

anx_status anx_safetensors_open(const char *path, anx_safetensors **out, anx_error *err) {
    return open_file(path, false, out, err);
}

/* ---- as a checkpoint ------------------------------------------------------------------------------------ */

/* The tensors in the order of `keys`, as views; false where those are not exactly their names. */
static anx_status reorder(const anx_state_dict *tensors, const anx_state_dict_text *text, anx_state_dict *out,
                          bool *fits, anx_error *err) {
    anx_status status = ANX_OK;
    *fits = text->n_keys == tensors->count;
    for (size_t i = 0; i < text->n_keys && *fits && status == ANX_OK; i++) {
        const anx_tensor *t = anx_state_dict_find(tensors, text->keys[i]);
        *fits = t != NULL && anx_state_dict_find(out, text->keys[i]) == NULL;
        if (!*fits) break;
        anx_tensor view = *t;
        view.owned = NULL;
        status = anx_state_dict_add(out, text->keys[i], &view, err);
    }
    return status;
}

/*
 * What anx-convert says about the state_dict that it wrote. Where another program has changed the tensors since, or
 * uses the same key for something else, it is a pair like any other.
 */
static anx_status follow_text(anx_checkpoint *checkpoint, anx_state_dict *ordered, anx_error *err) {
    anx_checkpoint_impl *impl = anx_checkpoint_impl_of(checkpoint);
    const char *json = anx_safetensors_metadata(impl->safetensors, anx_state_dict_pair);
    anx_state_dict_text text = {.keys = NULL};
    if (json == NULL) return ANX_OK;
    anx_status status = anx_state_dict_from_json(json, strlen(json), &impl->arena, &text, NULL);
    if (status == ANX_ERR_OUT_OF_MEMORY) return out_of_memory(err);
    if (status != ANX_OK) return ANX_OK;
    bool fits = true;
    if (text.keys != NULL) status = reorder(&impl->safetensors->tensors, &text, ordered, &fits, err);
    if (status != ANX_OK || !fits) return status;
    impl->has_text = true;
    impl->metadata = text.metadata;
    impl->plain_dict = text.plain_dict;
    return ANX_OK;
}

anx_status anx_safetensors_read(anx_checkpoint *checkpoint, anx_error *err) {
    anx_checkpoint_impl *impl = anx_checkpoint_impl_of(checkpoint);
    anx_state_dict ordered = ANX_STATE_DICT_INIT;
    checkpoint->format = "safetensors";
    anx_status status = open_file(checkpoint->path, impl->options.as_stored, &impl->safetensors, err);
    if (status == ANX_OK) status = follow_text(checkpoint, &ordered, err);
    if (status == ANX_OK) {
        const anx_state_dict *tensors = &impl->safetensors->tensors;
        const bool reordered = impl->has_text && ordered.count == tensors->count;
        status =
            anx_state_dict_from_list(checkpoint, reordered ? &ordered : tensors, impl->safetensors->bytes, NULL, err);
    }
    anx_state_dict_fini(&ordered);
    return status;
}

void anx_safetensors_close(anx_safetensors *file) {
    if (file == NULL) return;
    anx_state_dict_fini(&file->tensors);
    for (size_t i = 0; i < file->n_metadata; i++) {
        free(file->metadata[i].key);
        free(file->metadata[i].value);
    }
    free(file->metadata);
    anx_file_map_fini(file->impl);
    free(file->impl);
    free(file);
}

const char *anx_safetensors_metadata(const anx_safetensors *file, const char *key) {
    for (size_t i = 0; i < file->n_metadata; i++)
        if (strcmp(file->metadata[i].key, key) == 0) return file->metadata[i].value;
    return NULL;
}
