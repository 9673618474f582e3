/*
 * The tar archives that PyTorch 0.1 wrote (torch/serialization.py of 1.13, legacy_load): "storages" holds the elements,
 * "tensors" the shapes, each with a number for a name, and "pickle" the object, which names both by their numbers.
 * The writer: torch/serialization.py of 0.1.12, and torch/csrc/generic/serialization.cpp.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "loaders/checkpoint/checkpoint_impl.h"
#include "loaders/checkpoint/pickle_globals.h"
#include "loaders/checkpoint/text.h"
#include "loaders/checkpoint/torch_sys_info.h"
#include "loaders/checkpoint/torch_tar_members.h"
#include "src/base/checked.h"

enum { protocol_version = 1000 };

/* What a number, the address of an object in the writer's memory, stands for. */
typedef struct numbered {
    uint64_t id;
    anx_storage *storage; /* one of the two */
    anx_pickle_value *tensor;
} numbered;

typedef struct number_list {
    numbered *items; /* in the order of their numbers once sorted */
    size_t count, capacity;
} number_list;

typedef struct reader {
    anx_checkpoint_impl *impl;
    const anx_tar_member *member; /* which is read, */
    size_t at;                    /* ... and where in it */
    number_list storages, tensors;
} reader;

static anx_status out_of_memory(anx_error *err) {
    return anx_error_set(err, ANX_ERR_OUT_OF_MEMORY, "out of memory");
}

static bool read_decimal(const char *text, size_t n_bytes, uint64_t *out) {
    *out = 0;
    for (size_t i = 0; i < n_bytes; i++)
        if (text[i] < '0' || text[i] > '9' || __builtin_mul_overflow(*out, 10u, out) ||
            __builtin_add_overflow(*out, (uint64_t)(text[i] - '0'), out))
            return false;
    return n_bytes > 0;
}

/* A number as an int of any length, or as decimal text. */
static bool read_id(const anx_pickle_value *v, uint64_t *out) {
    switch (v->kind) {
    case ANX_PICKLE_INT: *out = (uint64_t)v->u.integer; return v->u.integer >= 0;
    case ANX_PICKLE_STRING: return read_decimal(v->u.text.bytes, v->u.text.n_bytes, out);
    case ANX_PICKLE_BIG_INT: /* of more than 8 bytes */
        memcpy(out, v->u.text.bytes, sizeof *out);
        for (size_t i = sizeof *out; i < v->u.text.n_bytes; i++)
            if (v->u.text.bytes[i] != 0) return false;
        return true;
    default: return false;
    }
}

/* ---- numbers -------------------------------------------------------------------------------------------- */

static anx_status add_number(number_list *list, const numbered *item, anx_error *err) {
    if (list->count == list->capacity) {
        const size_t capacity = list->capacity == 0 ? 32 : 2 * list->capacity;
        numbered *items = reallocarray(list->items, capacity, sizeof *items);
        if (items == NULL) return out_of_memory(err);
        list->items = items;
        list->capacity = capacity;
    }
    list->items[list->count++] = *item;
    return ANX_OK;
}

static int by_id(const void *a, const void *b) {
    const numbered *x = a, *y = b;
    return x->id < y->id ? -1 : x->id > y->id;
}

/* Ready to be searched; no number may occur twice. */
static anx_status sort_numbers(number_list *list, anx_error *err) {
    if (list->count > 0) qsort(list->items, list->count, sizeof *list->items, by_id);
    for (size_t i = 1; i < list->count; i++)
        if (list->items[i].id == list->items[i - 1].id)
            return anx_error_set(err, ANX_ERR_FORMAT, "the number %llu is given twice",
                                 (unsigned long long)list->items[i].id);
    return ANX_OK;
}

static const numbered *find_number(const number_list *list, uint64_t id) {
    const numbered key = {.id = id};
    return list->count > 0 ? bsearch(&key, list->items, list->count, sizeof key, by_id) : NULL;
}

/* ---- members -------------------------------------------------------------------------------------------- */

static anx_status in_member(const reader *r, anx_status status, size_t at, anx_error *err) {
    if (status == ANX_OK) return status;
    anx_error_in_entry(err, r->member->name);
    anx_error_at_offset(err, at);
    return status;
}

static void enter(reader *r, const anx_tar_member *member) {
    r->member = member;
    r->at = 0;
}

static const uint8_t *here(const reader *r) {
    return r->impl->map.bytes + r->member->offset + r->at;
}

static size_t left(const reader *r) {
    return r->member->n_bytes - r->at;
}

static anx_status load_object(void *user, const anx_pickle_value *id, anx_arena *arena, anx_pickle_value **out,
                              anx_error *err);

static anx_status run_pickle(reader *r, bool with_objects, anx_pickle_value **out, anx_error *err) {
    size_t used = 0;
    const size_t at = r->at;
    const anx_pickle_input input = {.bytes = here(r),
                                    .n_bytes = left(r) < ANX_MAX_PICKLE_BYTES ? left(r) : ANX_MAX_PICKLE_BYTES,
                                    .load_persistent = with_objects ? load_object : NULL,
                                    .user = r,
                                    .python2 = true,
                                    .cut = left(r) > ANX_MAX_PICKLE_BYTES};
    anx_status status = anx_pickle_run(&input, &r->impl->arena, out, &used, err);
    if (status != ANX_OK && err != NULL && err->has_offset) err->offset += at;
    r->at += used;
    return in_member(r, status, at, err);
}

/* How many items follow. Each takes more than a byte. */
static anx_status read_count(reader *r, int64_t *out, anx_error *err) {
    anx_pickle_value *count = NULL;
    anx_status status = run_pickle(r, false, &count, err);
    if (status != ANX_OK) return status;
    if (count->kind != ANX_PICKLE_INT || count->u.integer < 0 || (uint64_t)count->u.integer > left(r))
        return in_member(r, anx_error_set(err, ANX_ERR_FORMAT, "it does not begin with the number of its items"), 0,
                         err);
    *out = count->u.integer;
    return ANX_OK;
}

/* A pickled triple that begins with a number; items is then its three values. */
static anx_status read_triple(reader *r, const char *what, uint64_t *id, anx_pickle_value *const **items,
                              anx_error *err) {
    const size_t at = r->at;
    anx_pickle_value *triple = NULL;
    anx_status status = run_pickle(r, false, &triple, err);
    if (status != ANX_OK) return status;
    if (triple->kind != ANX_PICKLE_TUPLE || triple->u.list.count != 3 || !read_id(triple->u.list.items[0], id))
        return in_member(r, anx_error_set(err, ANX_ERR_FORMAT, "something other than %s", what), at, err);
    *items = triple->u.list.items;
    return ANX_OK;
}

static anx_status take(reader *r, void *out, size_t n_bytes, anx_error *err) {
    if (n_bytes > left(r))
        return in_member(
            r, anx_error_set(err, ANX_ERR_FORMAT, "%zu bytes are missing at its end: truncated?", n_bytes - left(r)),
            r->at, err);
    memcpy(out, here(r), n_bytes);
    r->at += n_bytes;
    return ANX_OK;
}

/* ---- storages ------------------------------------------------------------------------------------------- */

/* (number, location, class), int64 number of elements, elements */
static anx_status read_storage(reader *r, anx_error *err) {
    anx_pickle_value *const *items = NULL;
    const size_t at = r->at;
    int64_t n_elems = 0;
    size_t bytes = 0;
    char key[24];
    numbered item = {0};
    anx_status status = read_triple(r, "(number, location, storage class)", &item.id, &items, err);
    if (status != ANX_OK) return status;
    if (items[2]->kind != ANX_PICKLE_GLOBAL || !items[2]->u.global->is_storage)
        return in_member(r, anx_error_set(err, ANX_ERR_FORMAT, "a storage whose class is none"), at, err);
    const anx_dtype dtype = items[2]->u.global->dtype;
    status = take(r, &n_elems, sizeof n_elems, err);
    if (status != ANX_OK) return status;
    if (n_elems < 0 || !anx_checked_mul_size((size_t)n_elems, anx_dtype_bytes(dtype), &bytes) || bytes > left(r))
        return in_member(r,
                         anx_error_set(err, ANX_ERR_FORMAT,
                                       "a storage of %lld %s elements, and %zu bytes are left: truncated?",
                                       (long long)n_elems, anx_dtype_name(dtype), left(r)),
                         r->at - sizeof n_elems, err);
    snprintf(key, sizeof key, "%llu", (unsigned long long)item.id);
    status = anx_storage_create(r->impl, dtype, n_elems, key, strlen(key), here(r), false, &item.storage, err);
    if (status == ANX_OK) status = add_number(&r->storages, &item, err);
    r->at += bytes;
    return status;
}

/* [(number, number of the whole, offset, elements), ...] */
static anx_status add_view(reader *r, const anx_pickle_value *v, const number_list *wholes, anx_error *err) {
    anx_pickle_value *const *items = v->u.list.items;
    numbered item = {0};
    uint64_t of = 0;
    int64_t end = 0;
    if (v->kind != ANX_PICKLE_TUPLE || v->u.list.count != 4 || !read_id(items[0], &item.id) ||
        !read_id(items[1], &of) || items[2]->kind != ANX_PICKLE_INT || items[3]->kind != ANX_PICKLE_INT ||
        items[2]->u.integer < 0 || items[3]->u.integer < 0 ||
        !anx_checked_add_i64(items[2]->u.integer, items[3]->u.integer, &end))
        return anx_error_set(err, ANX_ERR_FORMAT, "a view other than (number, number of the whole, offset, elements)");
    const int64_t offset = items[2]->u.integer;
    const numbered *whole = find_number(wholes, of);
    if (whole == NULL || end > whole->storage->n_elems)
        return anx_error_set(err, ANX_ERR_FORMAT, "a view of elements %lld to %lld of storage %llu, which %s",
                             (long long)offset, (long long)end, (unsigned long long)of,
                             whole == NULL ? "there is not" : "has fewer");
    item.storage = anx_arena_alloc(&r->impl->arena, 1, sizeof *item.storage);
    char key[24];
    snprintf(key, sizeof key, "%llu", (unsigned long long)item.id);
    const char *name = anx_arena_text(&r->impl->arena, key, strlen(key));
    if (item.storage == NULL || name == NULL) return anx_arena_error(&r->impl->arena, err);
    const size_t bytes = (size_t)offset * anx_dtype_bytes(whole->storage->dtype);
    *item.storage = *whole->storage;
    item.storage->n_elems = items[3]->u.integer;
    item.storage->key = name;
    item.storage->data = (const uint8_t *)whole->storage->data + bytes;
    item.storage->file_offset += bytes;
    return add_number(&r->storages, &item, err);
}

static anx_status read_storages(reader *r, anx_error *err) {
    int64_t n = 0;
    anx_status status = read_count(r, &n, err);
    for (int64_t i = 0; i < n && status == ANX_OK; i++) status = read_storage(r, err);
    const size_t at = r->at;
    anx_pickle_value *views = NULL;
    if (status == ANX_OK) status = in_member(r, sort_numbers(&r->storages, err), at, err);
    if (status == ANX_OK) status = run_pickle(r, false, &views, err);
    if (status != ANX_OK) return status;
    if (views->kind != ANX_PICKLE_LIST)
        return in_member(
            r, anx_error_set(err, ANX_ERR_FORMAT, "the list of views is %s", anx_pickle_kind_phrase(views->kind)), at,
            err);
    const number_list wholes = {.items = r->storages.items, .count = r->storages.count};
    numbered *copy = calloc(wholes.count + 1, sizeof *copy); /* adding views may move the list */
    if (copy == NULL) return out_of_memory(err);
    if (wholes.count > 0) memcpy(copy, wholes.items, wholes.count * sizeof *copy);
    const number_list fixed = {.items = copy, .count = wholes.count};
    for (size_t i = 0; i < views->u.list.count && status == ANX_OK; i++)
        status = add_view(r, views->u.list.items[i], &fixed, err);
    free(copy);
    if (status == ANX_OK) status = sort_numbers(&r->storages, err);
    if (status == ANX_OK && left(r) > 0)
        status = anx_error_set(err, ANX_ERR_FORMAT, "%zu bytes after its end", left(r));
    return in_member(r, status, at, err);
}

/* ---- tensors -------------------------------------------------------------------------------------------- */

/* int32 dimensions and four bytes without meaning, then as int64 the shape, the strides and the offset */
static anx_status read_layout(reader *r, anx_pickle_tensor *t, anx_error *err) {
    int32_t dimensions[2];
    const size_t at = r->at;
    anx_status status = take(r, dimensions, sizeof dimensions, err);
    if (status != ANX_OK) return status;
    if (dimensions[0] < 0 || dimensions[0] > ANX_MAX_RANK)
        return in_member(r,
                         anx_error_set(err, ANX_ERR_LIMIT, "a tensor of %d dimensions; at most %d are taken",
                                       dimensions[0], (int)ANX_MAX_RANK),
                         at, err);
    t->rank = dimensions[0];
    status = take(r, t->shape, (size_t)t->rank * sizeof *t->shape, err);
    if (status == ANX_OK) status = take(r, t->stride, (size_t)t->rank * sizeof *t->stride, err);
    if (status == ANX_OK) status = take(r, &t->offset, sizeof t->offset, err);
    if (status != ANX_OK) return status;
    for (int i = 0; i < t->rank; i++)
        if (t->shape[i] < 0 || t->stride[i] < 0)
            return in_member(r, anx_error_set(err, ANX_ERR_FORMAT, "a negative extent or stride"), at, err);
    if (t->offset < 0) return in_member(r, anx_error_set(err, ANX_ERR_FORMAT, "a negative offset"), at, err);
    if (t->rank == 0 && t->offset >= t->storage->n_elems) { /* 0.1 had no scalars: no dimensions meant no elements */
        t->rank = 1;
        t->stride[0] = 1;
    }
    return in_member(r, anx_pickle_tensor_check(t, err), at, err);
}

/* The storage of a tensor: the one of that number, or an empty one where a tensor had None. */
static anx_status find_storage(reader *r, const anx_pickle_value *v, anx_dtype dtype, anx_storage **out,
                               anx_error *err) {
    uint64_t id = 0;
    if (v->kind == ANX_PICKLE_NONE) return anx_storage_create(r->impl, dtype, 0, "None", 4, here(r), false, out, err);
    const numbered *storage = read_id(v, &id) ? find_number(&r->storages, id) : NULL;
    if (storage == NULL) return anx_error_set(err, ANX_ERR_FORMAT, "a tensor of a storage that there is not");
    if (storage->storage->dtype != dtype)
        return anx_error_set(err, ANX_ERR_FORMAT, "a tensor of %s in a storage of %s", anx_dtype_name(dtype),
                             anx_dtype_name(storage->storage->dtype));
    *out = storage->storage;
    return ANX_OK;
}

/* (number, storage's number, class), layout */
static anx_status read_tensor(reader *r, anx_error *err) {
    anx_pickle_value *const *items = NULL;
    const size_t at = r->at;
    numbered item = {0};
    anx_storage *storage = NULL;
    anx_status status = read_triple(r, "(number, storage's number, tensor class)", &item.id, &items, err);
    if (status != ANX_OK) return status;
    if (items[2]->kind != ANX_PICKLE_GLOBAL || !items[2]->u.global->is_tensor)
        return in_member(r, anx_error_set(err, ANX_ERR_FORMAT, "a tensor whose class is none"), at, err);
    status = in_member(r, find_storage(r, items[1], items[2]->u.global->dtype, &storage, err), at, err);
    if (status != ANX_OK) return status;
    item.tensor = anx_arena_alloc(&r->impl->arena, 1, sizeof *item.tensor);
    anx_pickle_tensor *t = anx_arena_alloc(&r->impl->arena, 1, sizeof *t);
    if (item.tensor == NULL || t == NULL) return anx_arena_error(&r->impl->arena, err);
    t->storage = storage;
    item.tensor->kind = ANX_PICKLE_TENSOR;
    item.tensor->u.tensor = t;
    status = read_layout(r, t, err);
    return status == ANX_OK ? add_number(&r->tensors, &item, err) : status;
}

static anx_status read_tensors(reader *r, anx_error *err) {
    int64_t n = 0;
    anx_status status = read_count(r, &n, err);
    for (int64_t i = 0; i < n && status == ANX_OK; i++) status = read_tensor(r, err);
    if (status != ANX_OK) return status;
    if (left(r) > 0) status = anx_error_set(err, ANX_ERR_FORMAT, "%zu bytes after its end", left(r));
    if (status == ANX_OK) status = sort_numbers(&r->tensors, err);
    return in_member(r, status, r->at, err);
}

/* ---- the object ----------------------------------------------------------------------------------------- */

/* The number of a tensor or a storage. */
static anx_status load_object(void *user, const anx_pickle_value *v, anx_arena *arena, anx_pickle_value **out,
                              anx_error *err) {
    const reader *r = user;
    uint64_t id = 0;
    if (v->kind == ANX_PICKLE_TUPLE)
        return anx_error_set(err, ANX_ERR_UNSUPPORTED,
                             "a whole module was saved, with its source code; save model.state_dict() instead");
    if (!read_id(v, &id))
        return anx_error_set(err, ANX_ERR_FORMAT, "a persistent id other than the number of a tensor or a storage");
    const numbered *tensor = find_number(&r->tensors, id), *storage = find_number(&r->storages, id);
    if (tensor == NULL && storage == NULL)
        return anx_error_set(err, ANX_ERR_FORMAT, "number %llu, which the archive has not", (unsigned long long)id);
    if (tensor == NULL) return anx_pickle_storage_value(storage->storage, arena, out, err);
    *out = tensor->tensor;
    return ANX_OK;
}

/*
 * On big-endian machines 0.1 wrote numbers as the machine had them; elements, depending on its release, too, or
 * little-endian. The archive does not say which, and wrong weights are worse than none.
 */
static anx_status read_sys_info(reader *r, anx_error *err) {
    anx_pickle_value *sys_info = NULL;
    bool big_endian = false;
    anx_status status = run_pickle(r, false, &sys_info, err);
    if (status != ANX_OK) return status;
    status = anx_torch_sys_info_read(sys_info, protocol_version, &big_endian, err);
    if (status == ANX_OK && big_endian)
        status = anx_error_set(err, ANX_ERR_UNSUPPORTED,
                               "written on a big-endian machine, where PyTorch 0.1 did not write all of it in one byte "
                               "order; load it there and save its state_dict with a later PyTorch");
    return in_member(r, status, 0, err);
}

static anx_status read_object(reader *r, anx_error *err) {
    anx_status status = run_pickle(r, true, &r->impl->root, err);
    if (status == ANX_OK && left(r) > 0)
        status = in_member(r, anx_error_set(err, ANX_ERR_FORMAT, "%zu bytes after its end", left(r)), r->at, err);
    return status;
}

anx_status anx_torch_tar_read(anx_checkpoint *checkpoint, anx_error *err) {
    reader r = {.impl = anx_checkpoint_impl_of(checkpoint)};
    const anx_file_map *map = &r.impl->map;
    anx_tar_member members[ANX_TORCH_TAR_MEMBERS];
    checkpoint->format = "PyTorch 0.1 tar";
    anx_status status = anx_torch_tar_find(map->bytes, map->n_bytes, members, err);
    if (status != ANX_OK) return status;
    anx_file_map_prefetch(map);
    enter(&r, &members[0]);
    if (members[0].found) status = read_sys_info(&r, err);
    if (status == ANX_OK) {
        enter(&r, &members[3]);
        status = read_storages(&r, err);
    }
    if (status == ANX_OK) {
        enter(&r, &members[2]);
        status = read_tensors(&r, err);
    }
    if (status == ANX_OK) {
        enter(&r, &members[1]);
        status = read_object(&r, err);
    }
    if (status == ANX_OK) status = anx_state_dict_extract(checkpoint, err);
    free(r.storages.items);
    free(r.tensors.items);
    return status;
}
