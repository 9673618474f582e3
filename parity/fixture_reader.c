#include "parity/fixture_reader.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "src/base/checked.h"

static const double max_exact_double = 9007199254740992.0; /* 2^53: cJSON's numbers are doubles */

struct anx_fixture_block {
    anx_fixture_block *next;
    max_align_t data[];
};

void anx_fixture_reader_destroy(anx_fixture_reader *r) {
    if (r == NULL) return;
    while (r->blocks != NULL) {
        anx_fixture_block *next = r->blocks->next;
        free(r->blocks);
        r->blocks = next;
    }
    cJSON_Delete(r->json);
    anx_safetensors_close(r->file);
    free(r);
}

static void append(char *path, size_t size, const char *key, int index) {
    const size_t used = strlen(path);
    const char *dot = used > 0 ? "." : "";
    if (index >= 0)
        snprintf(path + used, size - used, "%s%s[%d]", dot, key, index);
    else
        snprintf(path + used, size - used, "%s%s", dot, key);
}

size_t anx_fixture_reader_enter(anx_fixture_reader *r, const char *key, int index) {
    const size_t mark = strlen(r->path);
    append(r->path, sizeof r->path, key, index);
    return mark;
}

void anx_fixture_reader_leave(anx_fixture_reader *r, size_t mark) {
    r->path[mark] = '\0';
}

anx_status anx_fixture_reader_fail(anx_fixture_reader *r, const char *key, const char *format, ...) {
    char text[512];
    char path[sizeof r->path];
    va_list ap;
    va_start(ap, format);
    vsnprintf(text, sizeof text, format, ap);
    va_end(ap);
    snprintf(path, sizeof path, "%s", r->path);
    if (key != NULL) append(path, sizeof path, key, -1);
    anx_error_set(r->err, ANX_ERR_FORMAT, "%s", text);
    anx_error_in_entry(r->err, path);
    return ANX_ERR_FORMAT;
}

anx_status anx_fixture_reader_array(anx_fixture_reader *r, size_t n, size_t size, void *out_pointer) {
    size_t bytes = 0;
    anx_fixture_block *block = NULL;
    if (anx_checked_mul_size(n > 0 ? n : 1, size, &bytes) && anx_checked_add_size(bytes, sizeof *block, &bytes))
        block = calloc(1, bytes);
    if (block == NULL) return anx_error_set(r->err, ANX_ERR_OUT_OF_MEMORY, "out of memory");
    block->next = r->blocks;
    r->blocks = block;
    void *data = block->data;
    memcpy(out_pointer, &data, sizeof data);
    return ANX_OK;
}

anx_status anx_fixture_reader_list(anx_fixture_reader *r, const cJSON *list, const char *key, int max, size_t size,
                                   void *out_pointer) {
    const int n = cJSON_GetArraySize(list);
    if (n > max) return anx_fixture_reader_fail(r, key, "%d entries; at most %d are taken", n, max);
    return anx_fixture_reader_array(r, (size_t)n, size, out_pointer);
}

bool anx_fixture_reader_has(const cJSON *object, const char *key) {
    return cJSON_GetObjectItemCaseSensitive(object, key) != NULL;
}

anx_status anx_fixture_reader_string(anx_fixture_reader *r, const cJSON *object, const char *key, const char **out) {
    const cJSON *item = cJSON_GetObjectItemCaseSensitive(object, key);
    if (!cJSON_IsString(item)) return anx_fixture_reader_fail(r, key, "expected a string");
    *out = item->valuestring;
    return ANX_OK;
}

anx_status anx_fixture_reader_bool(anx_fixture_reader *r, const cJSON *object, const char *key, bool *out) {
    const cJSON *item = cJSON_GetObjectItemCaseSensitive(object, key);
    if (item == NULL) return ANX_OK;
    if (!cJSON_IsBool(item)) return anx_fixture_reader_fail(r, key, "expected true or false");
    *out = cJSON_IsTrue(item) != 0;
    return ANX_OK;
}

static bool whole(const cJSON *item, int64_t min, int64_t max, int64_t *out) {
    if (!cJSON_IsNumber(item) || !(fabs(item->valuedouble) <= max_exact_double)) return false;
    const int64_t value = (int64_t)item->valuedouble;
    if ((double)value != item->valuedouble || value < min || value > max) return false;
    *out = value;
    return true;
}

anx_status anx_fixture_reader_int(anx_fixture_reader *r, const cJSON *object, const char *key, int64_t min, int64_t max,
                                  int64_t *out) {
    if (!whole(cJSON_GetObjectItemCaseSensitive(object, key), min, max, out))
        return anx_fixture_reader_fail(r, key, "expected a whole number from %lld to %lld", (long long)min,
                                       (long long)max);
    return ANX_OK;
}

anx_status anx_fixture_reader_number(anx_fixture_reader *r, const cJSON *object, const char *key, double *out) {
    const cJSON *item = cJSON_GetObjectItemCaseSensitive(object, key);
    if (!cJSON_IsNumber(item) || !isfinite(item->valuedouble))
        return anx_fixture_reader_fail(r, key, "expected a finite number");
    *out = item->valuedouble;
    return ANX_OK;
}

anx_status anx_fixture_reader_digest(anx_fixture_reader *r, const cJSON *object, const char *key, anx_digest *out) {
    const cJSON *item = cJSON_GetObjectItemCaseSensitive(object, key);
    if (!cJSON_IsString(item) || !anx_digest_parse(item->valuestring, out))
        return anx_fixture_reader_fail(r, key, "expected a SHA-256 as 64 hex digits");
    return ANX_OK;
}

anx_status anx_fixture_reader_member(anx_fixture_reader *r, const cJSON *object, const char *key, bool array,
                                     const cJSON **out) {
    const cJSON *item = cJSON_GetObjectItemCaseSensitive(object, key);
    if (array ? !cJSON_IsArray(item) : !cJSON_IsObject(item))
        return anx_fixture_reader_fail(r, key, "expected %s", array ? "an array" : "an object");
    *out = item;
    return ANX_OK;
}

anx_status anx_fixture_reader_shape(anx_fixture_reader *r, const cJSON *object, const char *key, int min_rank,
                                    int max_rank, int64_t *shape, int *rank) {
    const cJSON *item = cJSON_GetObjectItemCaseSensitive(object, key);
    const int n = cJSON_IsArray(item) ? cJSON_GetArraySize(item) : -1;
    if (n < min_rank || n > max_rank)
        return anx_fixture_reader_fail(r, key, "expected an array of %d to %d extents", min_rank, max_rank);
    int i = 0;
    const cJSON *extent;
    cJSON_ArrayForEach(extent, item) {
        if (!whole(extent, 1, INT32_MAX, &shape[i++]))
            return anx_fixture_reader_fail(r, key, "expected extents from 1 to %d", INT32_MAX);
    }
    int64_t elems = 0;
    if (!anx_shape_elems(n, shape, &elems) || elems > INT64_MAX / 8)
        return anx_fixture_reader_fail(r, key, "the shape overflows");
    *rank = n;
    return ANX_OK;
}

anx_status anx_fixture_reader_tensor(anx_fixture_reader *r, const cJSON *object, const char *key, anx_dtype dtype,
                                     int rank, const int64_t *shape, anx_tensor *out) {
    const char *name = NULL;
    const anx_status status = anx_fixture_reader_string(r, object, key, &name);
    if (status != ANX_OK) return status;
    const anx_tensor *found = anx_state_dict_find(&r->file->tensors, name);
    if (found == NULL) return anx_fixture_reader_fail(r, key, "the file holds no tensor of this name");
    bool fits = found->dtype == dtype && found->rank == rank;
    for (int i = 0; i < rank && fits; i++) fits = shape[i] < 0 || shape[i] == found->shape[i];
    if (!fits) {
        char want[96];
        char got[96];
        return anx_fixture_reader_fail(r, key, "expected a tensor %s %s, got %s %s", anx_dtype_name(dtype),
                                       anx_shape_format(rank, shape, want, sizeof want), anx_dtype_name(found->dtype),
                                       anx_shape_format(found->rank, found->shape, got, sizeof got));
    }
    *out = *found;
    out->owned = NULL;
    return ANX_OK;
}

anx_status anx_fixture_reader_image(anx_fixture_reader *r, const cJSON *object, anx_fixture_image *out) {
    if (!cJSON_IsObject(object)) return anx_fixture_reader_fail(r, NULL, "expected an object");
    const int64_t any = -1;
    anx_tensor bytes = ANX_TENSOR_INIT;
    anx_status status = anx_fixture_reader_string(r, object, "name", &out->name);
    if (status == ANX_OK) status = anx_fixture_reader_tensor(r, object, "bytes", ANX_U8, 1, &any, &bytes);
    if (status != ANX_OK) return status;
    out->bytes = bytes.data;
    out->n_bytes = anx_tensor_bytes(&bytes);
    return ANX_OK;
}
