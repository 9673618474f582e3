/* Changes of names and types between reading a checkpoint and writing it. */
#include <fnmatch.h>
#include <stdlib.h>
#include <string.h>

#include "loaders/checkpoint/saving.h"
#include "loaders/checkpoint/text.h"
#include "src/base/checked.h"

static const int64_t max_expanded_elems = INT64_C(1) << 28;

static anx_status out_of_memory(anx_error *err) {
    return anx_error_set(err, ANX_ERR_OUT_OF_MEMORY, "out of memory");
}

size_t anx_saving_count_matches(const anx_saving *saving, const char *pattern) {
    size_t count = 0;
    for (size_t i = 0; i < saving->n_items; i++) count += fnmatch(pattern, saving->items[i].name, 0) == 0;
    return count;
}

void anx_saving_keep(anx_saving *saving, const char *const *patterns, size_t n_patterns, size_t *n) {
    size_t kept = 0;
    for (size_t i = 0; i < saving->n_items; i++) {
        bool matches = false;
        for (size_t k = 0; k < n_patterns && !matches; k++)
            matches = fnmatch(patterns[k], saving->items[i].name, 0) == 0;
        if (!matches) continue;
        if (saving->keys != NULL) saving->keys[kept] = saving->keys[i];
        saving->items[kept++] = saving->items[i];
    }
    saving->n_items = kept;
    *n = kept;
}

void anx_saving_convert(anx_saving *saving, anx_dtype dtype, size_t *n) {
    *n = 0;
    for (size_t i = 0; i < saving->n_items; i++) {
        if (!anx_dtype_is_float(saving->items[i].dtype)) continue;
        *n += saving->items[i].elements.tensor.dtype != dtype;
        saving->items[i].dtype = dtype;
    }
}

anx_status anx_saving_check_expanded(const anx_saving *saving, anx_error *err) {
    for (size_t i = 0; i < saving->n_items; i++) {
        const anx_saving_item *item = &saving->items[i];
        const int64_t elems = anx_tensor_elems(&item->elements.tensor);
        if (item->storage == NULL || elems <= item->storage->n_elems || elems <= max_expanded_elems) continue;
        char text[200];
        return anx_error_set(err, ANX_ERR_LIMIT,
                             "'%s' has %lld elements, expanded from %lld that are stored; at most %lld are written out",
                             anx_text_printable(item->name, strlen(item->name), text, sizeof text), (long long)elems,
                             (long long)item->storage->n_elems, (long long)max_expanded_elems);
    }
    return ANX_OK;
}

size_t anx_saving_count_parameters(const anx_saving *saving) {
    size_t n = 0;
    for (size_t i = 0; i < saving->n_items; i++) n += saving->items[i].is_parameter || saving->items[i].requires_grad;
    return n;
}

static int by_address(const void *a, const void *b) {
    const uintptr_t x = (uintptr_t) * (const anx_storage *const *)a, y = (uintptr_t) * (const anx_storage *const *)b;
    return x < y ? -1 : x > y;
}

anx_status anx_saving_count_views(const anx_saving *saving, size_t *n_shared, size_t *n_strided, anx_error *err) {
    const size_t n = saving->n_items;
    const anx_storage **storages = calloc(n + 1, sizeof *storages);
    if (storages == NULL) return out_of_memory(err);
    *n_shared = *n_strided = 0;
    for (size_t i = 0; i < n; i++) {
        storages[i] = saving->items[i].storage;
        *n_strided += !anx_tensor_is_contiguous(&saving->items[i].elements.tensor);
    }
    if (n > 0) qsort(storages, n, sizeof *storages, by_address);
    for (size_t i = 0; i < n; i++)
        *n_shared += storages[i] != NULL &&
                     ((i > 0 && storages[i - 1] == storages[i]) || (i + 1 < n && storages[i + 1] == storages[i]));
    free(storages);
    return ANX_OK;
}

/* ---- names ---------------------------------------------------------------------------------------------- */

/* A change of names: what a name, or a module's, becomes; NULL: it stays. */
typedef struct change {
    const char *from, *to; /* to NULL: from is a prefix that is taken away */
} change;

/* Put in front of the rest of the name. *head and *rest are set where the name changes. */
static bool applies(const change *c, const char *name, bool is_module, const char **head, const char **rest) {
    const size_t n = strlen(c->from);
    const bool dotted = n > 0 && c->from[n - 1] == '.';
    if (c->to == NULL) {
        *head = "";
        *rest = name + n;
        if (strncmp(name, c->from, n) == 0) return true;
        *rest = ""; /* the module itself that a prefix names */
        return is_module && dotted && strlen(name) == n - 1 && strncmp(name, c->from, n - 1) == 0;
    }
    if (strncmp(name, c->from, n) != 0 || (name[n] != '\0' && name[n] != '.')) return false;
    *head = c->to;
    *rest = name + n;
    return true;
}

/* In the saving's arena. */
static const char *join(anx_saving *saving, const char *head, const char *rest) {
    size_t size;
    if (!anx_checked_add_size(strlen(head), strlen(rest), &size)) return NULL;
    char *name = anx_arena_alloc(&saving->arena, size + 1, 1);
    if (name == NULL) return NULL;
    memcpy(name, head, strlen(head));
    memcpy(name + strlen(head), rest, strlen(rest));
    return name;
}

static int by_name(const void *a, const void *b) {
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

static anx_status check_names(const anx_saving *saving, anx_error *err) {
    const char **names = calloc(saving->n_items + 1, sizeof *names);
    if (names == NULL) return out_of_memory(err);
    anx_status status = ANX_OK;
    char text[200];
    for (size_t i = 0; i < saving->n_items; i++) names[i] = saving->items[i].name;
    if (saving->n_items > 0) qsort(names, saving->n_items, sizeof *names, by_name);
    for (size_t i = 0; i < saving->n_items && status == ANX_OK; i++) {
        if (names[i][0] == '\0')
            status = anx_error_set(err, ANX_ERR_INVALID_ARGUMENT, "nothing would be left of a tensor's name");
        else if (!anx_utf8_valid(names[i], strlen(names[i])))
            status = anx_error_set(err, ANX_ERR_INVALID_ARGUMENT, "a tensor would be called '%s', which is not UTF-8",
                                   anx_text_printable(names[i], strlen(names[i]), text, sizeof text));
        else if (i > 0 && strcmp(names[i - 1], names[i]) == 0)
            status = anx_error_set(err, ANX_ERR_EXISTS, "two tensors would be called '%s'",
                                   anx_text_printable(names[i], strlen(names[i]), text, sizeof text));
    }
    free(names);
    return status;
}

/* The value under a key that occurs in the first n items; SIZE_MAX: it does not. */
static size_t find_key(anx_pickle_value *const *items, size_t n, const anx_pickle_value *key) {
    for (size_t i = 0; i < n; i++)
        if (items[2 * i]->kind == ANX_PICKLE_STRING && items[2 * i]->u.text.n_bytes == key->u.text.n_bytes &&
            memcmp(items[2 * i]->u.text.bytes, key->u.text.bytes, key->u.text.n_bytes) == 0)
            return i;
    return SIZE_MAX;
}

/* The key as it is called now; NULL when out of memory. */
static anx_pickle_value *change_key(anx_saving *saving, const change *c, anx_pickle_value *key) {
    if (key->kind != ANX_PICKLE_STRING) return key;
    const char *name = anx_arena_text(&saving->arena, key->u.text.bytes, key->u.text.n_bytes), *head, *rest;
    if (name == NULL) return NULL;
    if (strlen(name) != key->u.text.n_bytes || name[0] == '\0' || !applies(c, name, true, &head, &rest)) return key;
    if (rest[0] == '.' && head[0] == '\0') rest++;
    anx_pickle_value *changed = anx_arena_alloc(&saving->arena, 1, sizeof *changed);
    const char *joined = join(saving, head, rest);
    if (changed == NULL || joined == NULL) return NULL;
    changed->kind = ANX_PICKLE_STRING;
    changed->u.text.bytes = joined;
    changed->u.text.n_bytes = strlen(joined);
    return changed;
}

/*
 * The _metadata with its keys changed: of two that become one the later counts, in the earlier's place, as Python's
 * assignment has it ("" of the wrapper and "module" of what it wrapped).
 */
static anx_status change_metadata(anx_saving *saving, const change *c, anx_error *err) {
    enum { max_modules = 20000 }; /* keys are compared with one another */
    const anx_pickle_value *old = saving->metadata;
    if (old == NULL) return ANX_OK;
    if (old->u.dict.count > max_modules)
        return anx_error_set(err, ANX_ERR_LIMIT, "_metadata of %zu modules; at most %d are renamed", old->u.dict.count,
                             (int)max_modules);
    anx_pickle_value *dict = anx_arena_alloc(&saving->arena, 1, sizeof *dict);
    anx_pickle_value **items = anx_arena_alloc(&saving->arena, old->u.dict.count, 2 * sizeof *items);
    if (dict == NULL || items == NULL) return out_of_memory(err);
    size_t n = 0;
    for (size_t i = 0; i < old->u.dict.count; i++) {
        anx_pickle_value *key = change_key(saving, c, old->u.dict.items[2 * i]);
        if (key == NULL) return out_of_memory(err);
        const size_t found = key->kind == ANX_PICKLE_STRING ? find_key(items, n, key) : SIZE_MAX;
        const size_t at = found != SIZE_MAX ? found : n++;
        if (found == SIZE_MAX) items[2 * at] = key;
        items[2 * at + 1] = old->u.dict.items[2 * i + 1];
    }
    *dict = *old;
    dict->u.dict.items = items;
    dict->u.dict.count = n;
    dict->u.dict.capacity = 2 * old->u.dict.count;
    saving->metadata = dict;
    return ANX_OK;
}

static anx_status change_names(anx_saving *saving, const change *c, size_t *n, anx_error *err) {
    size_t changed = 0;
    for (size_t i = 0; i < saving->n_items; i++) {
        const char *head, *rest;
        if (!applies(c, saving->items[i].name, false, &head, &rest)) continue;
        if (rest[0] == '.' && head[0] == '\0') rest++; /* a module renamed to nothing */
        saving->items[i].name = join(saving, head, rest);
        if (saving->items[i].name == NULL) return out_of_memory(err);
        if (saving->keys != NULL) saving->keys[i] = NULL;
        changed++;
    }
    *n = changed;
    if (changed == 0) return ANX_OK;
    anx_status status = check_names(saving, err);
    return status == ANX_OK ? change_metadata(saving, c, err) : status;
}

anx_status anx_saving_strip_prefix(anx_saving *saving, const char *prefix, size_t *n, anx_error *err) {
    return change_names(saving, &(change){.from = prefix}, n, err);
}

anx_status anx_saving_rename(anx_saving *saving, const char *from, const char *to, size_t *n, anx_error *err) {
    return change_names(saving, &(change){.from = from, .to = to}, n, err);
}
