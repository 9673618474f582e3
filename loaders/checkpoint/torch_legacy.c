/*
 * The stream that torch.save wrote from PyTorch 0.2 to 1.5, and writes when asked not to make a zip
 * (torch/serialization.py, _legacy_save and _legacy_load): five pickles one after the other (a magic number, the
 * protocol's version, facts about the machine, the object, the list of the storages' keys), then for each key in that
 * order the number of elements as an int64, and the elements. The elements are little-endian whatever the facts about
 * the machine say: PyTorch's writer (THPStorage_writeFileRaw, in torch/csrc/serialization.cpp and, before,
 * torch/csrc/generic/serialization.cpp) makes them so. It does that to their number too today, but wrote it as the
 * machine had it in the releases that wrote this format by themselves.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "loaders/checkpoint/checkpoint_impl.h"
#include "loaders/checkpoint/text.h"
#include "loaders/checkpoint/torch_storage_id.h"
#include "loaders/checkpoint/torch_sys_info.h"
#include "src/base/checked.h"

enum { magic_pickle_bytes = 15, protocol_version = 1001, count_bytes = 8 };

/* Storages by key. */
typedef struct storage_list {
    anx_state_dict keys; /* finds them; its tensors are not used */
    anx_storage **storages;
    size_t capacity;
} storage_list;

/* A part of a storage, whose place is known when the storage's is. */
typedef struct view {
    size_t root;
    int64_t offset;
} view;

typedef struct reader {
    anx_checkpoint_impl *impl;
    size_t at;       /* in the file */
    bool big_endian; /* the machine that wrote it */
    storage_list roots, views;
    view *view_places; /* one for each of views */
    size_t view_capacity;
    bool *placed; /* for each of roots: its elements were found */
} reader;

static anx_status out_of_memory(anx_error *err) {
    return anx_error_set(err, ANX_ERR_OUT_OF_MEMORY, "out of memory");
}

static void list_fini(storage_list *list) {
    anx_state_dict_fini(&list->keys);
    free(list->storages);
}

/* ---- storages as the pickle names them ------------------------------------------------------------------ */

static anx_status add_storage(reader *r, storage_list *list, const char *key, anx_dtype dtype, int64_t n_elems,
                              anx_error *err) {
    const size_t n = list->keys.count;
    if (n == list->capacity) {
        const size_t capacity = n == 0 ? 32 : 2 * n;
        anx_storage **storages = reallocarray(list->storages, capacity, sizeof *storages);
        if (storages == NULL) return out_of_memory(err);
        list->storages = storages;
        list->capacity = capacity;
    }
    anx_storage *storage = anx_arena_alloc(&r->impl->arena, 1, sizeof *storage);
    if (storage == NULL) return anx_arena_error(&r->impl->arena, err);
    *storage = (anx_storage){.dtype = dtype, .n_elems = n_elems, .key = key};
    const anx_tensor none = ANX_TENSOR_INIT;
    anx_status status = anx_state_dict_add(&list->keys, key, &none, err);
    if (status == ANX_OK) list->storages[n] = storage;
    return status;
}

/* The key's text in the arena. */
static anx_status key_text(reader *r, const char *bytes, size_t n_bytes, const char **out, anx_error *err) {
    char text[100];
    if (memchr(bytes, '\0', n_bytes) != NULL)
        return anx_error_set(err, ANX_ERR_FORMAT, "the storage key '%s' holds a NUL",
                             anx_text_printable(bytes, n_bytes, text, sizeof text));
    *out = anx_arena_text(&r->impl->arena, bytes, n_bytes);
    return *out != NULL ? ANX_OK : anx_arena_error(&r->impl->arena, err);
}

/* PyTorch has one table for both. */
static anx_status both(const char *key, anx_error *err) {
    char text[100];
    return anx_error_set(err, ANX_ERR_FORMAT, "the key '%s' stands for a whole storage and for a part of one",
                         anx_text_printable(key, strlen(key), text, sizeof text));
}

static anx_status find_root(reader *r, const anx_torch_storage_id *id, size_t *root, anx_error *err) {
    const char *key = NULL;
    size_t bytes, other;
    anx_status status = key_text(r, id->key, id->key_bytes, &key, err);
    if (status != ANX_OK) return status;
    if (anx_state_dict_index(&r->roots.keys, key, root)) {
        const anx_storage *before = r->roots.storages[*root];
        if (before->dtype == id->dtype && before->n_elems == id->n_elems) return ANX_OK;
        return anx_torch_storage_id_conflict(id, before, err);
    }
    if (anx_state_dict_index(&r->views.keys, key, &other)) return both(key, err);
    if (!anx_checked_mul_size((size_t)id->n_elems, anx_dtype_bytes(id->dtype), &bytes) || bytes > r->impl->map.n_bytes)
        return anx_error_set(err, ANX_ERR_FORMAT, "a storage of %lld %s elements in a file of %zu bytes: truncated?",
                             (long long)id->n_elems, anx_dtype_name(id->dtype), r->impl->map.n_bytes);
    *root = r->roots.keys.count;
    return add_storage(r, &r->roots, key, id->dtype, id->n_elems, err);
}

/* (key, offset, elements) of a part of root. */
static anx_status find_view(reader *r, const anx_pickle_value *v, size_t root, size_t *out, anx_error *err) {
    const anx_storage *whole = r->roots.storages[root];
    anx_pickle_value *const *items = v->u.list.items;
    int64_t end;
    if (v->kind != ANX_PICKLE_TUPLE || v->u.list.count != 3 || items[0]->kind != ANX_PICKLE_STRING ||
        items[1]->kind != ANX_PICKLE_INT || items[2]->kind != ANX_PICKLE_INT || items[1]->u.integer < 0 ||
        items[2]->u.integer < 0 || !anx_checked_add_i64(items[1]->u.integer, items[2]->u.integer, &end))
        return anx_error_set(err, ANX_ERR_FORMAT, "a view other than (key, offset, elements)");
    if (end > whole->n_elems)
        return anx_error_set(err, ANX_ERR_FORMAT, "a view of elements %lld to %lld of a storage of %lld",
                             (long long)items[1]->u.integer, (long long)end, (long long)whole->n_elems);
    const char *key = NULL;
    anx_status status = key_text(r, items[0]->u.text.bytes, items[0]->u.text.n_bytes, &key, err);
    if (status != ANX_OK) return status;
    if (anx_state_dict_index(&r->views.keys, key, out)) {
        const view *before = &r->view_places[*out];
        if (before->root == root && before->offset == items[1]->u.integer &&
            r->views.storages[*out]->n_elems == items[2]->u.integer)
            return ANX_OK;
        return anx_error_set(err, ANX_ERR_FORMAT, "a view that was another before");
    }
    if (anx_state_dict_index(&r->roots.keys, key, out)) return both(key, err);
    const size_t n = r->views.keys.count;
    if (n == r->view_capacity) {
        const size_t capacity = n == 0 ? 16 : 2 * n;
        view *places = reallocarray(r->view_places, capacity, sizeof *places);
        if (places == NULL) return out_of_memory(err);
        r->view_places = places;
        r->view_capacity = capacity;
    }
    status = add_storage(r, &r->views, key, whole->dtype, items[2]->u.integer, err);
    if (status != ANX_OK) return status;
    r->view_places[n] = (view){root, items[1]->u.integer};
    *out = n;
    return ANX_OK;
}

static anx_status load_storage(void *user, const anx_pickle_value *value, anx_arena *arena, anx_pickle_value **out,
                               anx_error *err) {
    reader *r = user;
    anx_torch_storage_id id = {0};
    size_t root = 0, part = 0;
    anx_status status = anx_torch_storage_id_parse(value, true, &id, err);
    if (status == ANX_OK) status = find_root(r, &id, &root, err);
    if (status == ANX_OK && id.view != NULL) status = find_view(r, id.view, root, &part, err);
    if (status != ANX_OK) return status;
    return anx_pickle_storage_value(id.view != NULL ? r->views.storages[part] : r->roots.storages[root], arena, out,
                                    err);
}

/* ---- the five pickles ----------------------------------------------------------------------------------- */

/* The next pickle of the file. Offsets in messages are the file's. */
static anx_status run_pickle(reader *r, const char *what, anx_pickle_value **out, anx_error *err) {
    const anx_file_map *map = &r->impl->map;
    const size_t left = map->n_bytes - r->at;
    size_t used = 0;
    const anx_pickle_input input = {.bytes = map->bytes + r->at,
                                    .n_bytes = left < ANX_MAX_PICKLE_BYTES ? left : ANX_MAX_PICKLE_BYTES,
                                    .load_persistent = load_storage,
                                    .user = r,
                                    .python2 = true,
                                    .cut = left > ANX_MAX_PICKLE_BYTES};
    anx_status status = anx_pickle_run(&input, &r->impl->arena, out, &used, err);
    if (status != ANX_OK) {
        if (err != NULL && err->has_offset) err->offset += r->at;
        anx_error_in_entry(err, what);
    }
    r->at += used;
    return status;
}

static anx_status read_version(reader *r, anx_error *err) {
    anx_pickle_value *version = NULL;
    r->at = magic_pickle_bytes; /* by which the format was told */
    anx_status status = run_pickle(r, "protocol version", &version, err);
    if (status != ANX_OK) return status;
    if (version->kind == ANX_PICKLE_INT && version->u.integer == protocol_version) return ANX_OK;
    return anx_error_set(err, ANX_ERR_UNSUPPORTED, "the stream's protocol version is not %d", (int)protocol_version);
}

static anx_status read_object(reader *r, anx_error *err) {
    anx_pickle_value *facts = NULL;
    anx_status status = run_pickle(r, "sys_info", &facts, err);
    if (status != ANX_OK) return status;
    status = anx_torch_sys_info_read(facts, protocol_version, &r->big_endian, err);
    if (status != ANX_OK) anx_error_in_entry(err, "sys_info");
    return status == ANX_OK ? run_pickle(r, "object", &r->impl->root, err) : status;
}

/* ---- the elements --------------------------------------------------------------------------------------- */

static anx_status in_storage(anx_status status, const char *key, anx_error *err) {
    char text[100], entry[120];
    anx_text_printable(key, strlen(key), text, sizeof text);
    snprintf(entry, sizeof entry, "storage %s", text);
    if (status != ANX_OK) anx_error_in_entry(err, entry);
    return status;
}

/* The elements of one key: their number, and they themselves. */
static anx_status place(reader *r, size_t root, anx_error *err) {
    anx_storage *storage = r->roots.storages[root];
    const anx_file_map *map = &r->impl->map;
    int64_t count;
    if (r->placed[root]) return anx_error_set(err, ANX_ERR_FORMAT, "the list of keys names it twice");
    if (map->n_bytes - r->at < count_bytes)
        return anx_error_set(err, ANX_ERR_FORMAT, "the file ends before its elements: truncated?");
    memcpy(&count, map->bytes + r->at, sizeof count);
    if (count != storage->n_elems && r->big_endian) count = (int64_t)__builtin_bswap64((uint64_t)count);
    if (count != storage->n_elems)
        return anx_error_set(err, ANX_ERR_FORMAT, "%lld elements, where the object names %lld", (long long)count,
                             (long long)storage->n_elems);
    const size_t bytes = (size_t)count * anx_dtype_bytes(storage->dtype); /* at most the file's: find_root */
    if (bytes > map->n_bytes - r->at - count_bytes)
        return anx_error_set(err, ANX_ERR_FORMAT, "%zu bytes of elements, and %zu are left: truncated?", bytes,
                             map->n_bytes - r->at - count_bytes);
    r->at += count_bytes;
    anx_status status = anx_storage_place(r->impl, storage, map->bytes + r->at, false, err);
    r->at += bytes;
    r->placed[root] = true;
    return status;
}

static anx_status place_named(reader *r, const anx_pickle_value *key, anx_error *err) {
    const char *text = NULL;
    size_t root;
    if (key->kind != ANX_PICKLE_STRING)
        return anx_error_set(err, ANX_ERR_FORMAT, "the list of keys holds %s", anx_pickle_kind_phrase(key->kind));
    anx_status status = key_text(r, key->u.text.bytes, key->u.text.n_bytes, &text, err);
    if (status != ANX_OK) return status;
    const size_t at = r->at;
    if (!anx_state_dict_index(&r->roots.keys, text, &root))
        status = anx_error_set(err, ANX_ERR_FORMAT, "it is in the list of keys, but the object does not name it");
    else
        status = place(r, root, err);
    if (status != ANX_OK) anx_error_at_offset(err, at);
    return in_storage(status, text, err);
}

static void place_views(reader *r) {
    for (size_t i = 0; i < r->views.keys.count; i++) {
        const view *v = &r->view_places[i];
        const anx_storage *root = r->roots.storages[v->root];
        anx_storage *part = r->views.storages[i];
        const size_t bytes = (size_t)v->offset * anx_dtype_bytes(root->dtype);
        part->data = (const uint8_t *)root->data + bytes;
        part->swapped = root->swapped;
        part->file_offset = root->file_offset + bytes;
    }
}

static anx_status read_storages(reader *r, anx_error *err) {
    anx_pickle_value *keys = NULL;
    anx_status status = run_pickle(r, "storage keys", &keys, err);
    if (status != ANX_OK) return status;
    if (keys->kind != ANX_PICKLE_LIST)
        return anx_error_set(err, ANX_ERR_FORMAT, "the list of storage keys is %s", anx_pickle_kind_phrase(keys->kind));
    r->placed = calloc(r->roots.keys.count + 1, sizeof *r->placed);
    if (r->placed == NULL) return out_of_memory(err);
    anx_file_map_prefetch(&r->impl->map);
    for (size_t i = 0; i < keys->u.list.count && status == ANX_OK; i++)
        status = place_named(r, keys->u.list.items[i], err);
    for (size_t i = 0; i < r->roots.keys.count && status == ANX_OK; i++)
        if (!r->placed[i])
            status = in_storage(anx_error_set(err, ANX_ERR_FORMAT, "the list of storage keys does not have it"),
                                r->roots.storages[i]->key, err);
    if (status == ANX_OK && r->at != r->impl->map.n_bytes) {
        status = anx_error_set(err, ANX_ERR_FORMAT, "%zu bytes after the last storage", r->impl->map.n_bytes - r->at);
        anx_error_at_offset(err, r->at);
    }
    if (status == ANX_OK) place_views(r);
    return status;
}

anx_status anx_torch_legacy_read(anx_checkpoint *checkpoint, anx_error *err) {
    reader r = {.impl = anx_checkpoint_impl_of(checkpoint)};
    checkpoint->format = "PyTorch legacy stream";
    anx_status status = read_version(&r, err);
    if (status == ANX_OK) status = read_object(&r, err);
    if (status == ANX_OK) status = read_storages(&r, err);
    if (status == ANX_OK) status = anx_state_dict_extract(checkpoint, err);
    list_fini(&r.roots);
    list_fini(&r.views);
    free(r.view_places);
    free(r.placed);
    return status;
}
