#include "loaders/checkpoint/pth_writer.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "loaders/checkpoint/pickle_writer.h"
#include "loaders/checkpoint/zip_writer.h"
#include "src/base/checked.h"

enum { piece_bytes = 1 << 18 }; /* stays in a core's second-level cache between being made, summed and written */

/* A run of memory that one or more tensors lie in; one record. */
typedef struct storage {
    anx_dtype dtype;
    const uint8_t *data; /* NULL: read from the source */
    uint64_t n_bytes;
    size_t first_item; /* in the order of the dict; what a source is asked for */
    size_t key;        /* the record is data/KEY: numbered by first appearance */
} storage;

typedef struct placement {
    size_t storage; /* index into storages */
    const uint8_t *data;
    uint64_t n_bytes; /* spanned, gaps between strides included */
} placement;

typedef struct layout {
    storage *storages; /* ordered by key once settled */
    size_t n_storages;
    placement *items; /* one for each tensor of the dict */
} layout;

static void layout_fini(layout *l) {
    free(l->storages);
    free(l->items);
}

static anx_status out_of_memory(anx_error *err) {
    return anx_error_set(err, ANX_ERR_OUT_OF_MEMORY, "out of memory");
}

anx_status anx_pth_folder(const char *path, char **out, anx_error *err) {
    for (const char *c = path; *c != '\0'; c++) {
        if ((unsigned char)*c < 0x80) continue;
        *out = strdup("archive");
        return *out != NULL ? ANX_OK : out_of_memory(err);
    }
    const char *name = path;
    for (const char *c = path; *c != '\0'; c++)
        if (*c == '/' || *c == '\\') name = c + 1;
    const char *dot = strrchr(name, '.');
    const size_t length = dot != NULL ? (size_t)(dot - name) : strlen(name);
    if (length == 0) {
        anx_error_set(err, ANX_ERR_INVALID_ARGUMENT,
                      "an invalid name for a checkpoint: nothing stands before its ending; try \"model%s\"", name);
        anx_error_in_file(err, path);
        return ANX_ERR_INVALID_ARGUMENT;
    }
    *out = strndup(name, length);
    return *out != NULL ? ANX_OK : out_of_memory(err);
}

/* Bytes from the first element to behind the last one. */
static anx_status span_of(const anx_tensor *t, uint64_t *n_bytes, anx_error *err) {
    int64_t elems = 0, last = 0;
    bool sound = anx_shape_elems(t->rank, t->shape, &elems);
    for (int i = 0; sound && elems > 0 && i < t->rank; i++) {
        int64_t step = 0;
        sound = t->stride[i] >= 0 && anx_checked_mul_i64(t->shape[i] - 1, t->stride[i], &step) &&
                anx_checked_add_i64(last, step, &last);
    }
    int64_t bytes = 0;
    if (!sound || !anx_checked_mul_i64(elems > 0 ? last + 1 : 0, (int64_t)anx_dtype_bytes(t->dtype), &bytes))
        return anx_error_set(err, ANX_ERR_INVALID_ARGUMENT, "a shape or strides that no memory can hold");
    *n_bytes = (uint64_t)bytes;
    return ANX_OK;
}

/* What sort orders: tensors by dtype and place in memory. */
typedef struct span {
    anx_dtype dtype;
    const uint8_t *data;
    size_t item;
} span;

static int compare_spans(const void *pa, const void *pb) {
    const span *a = pa, *b = pb;
    if (a->dtype != b->dtype) return a->dtype < b->dtype ? -1 : 1;
    if (a->data != b->data) return a->data < b->data ? -1 : 1;
    return a->item < b->item ? -1 : 1;
}

static int compare_storages(const void *pa, const void *pb) {
    const storage *a = pa, *b = pb;
    return a->first_item < b->first_item ? -1 : a->first_item > b->first_item;
}

/* Sorted spans, neighbours that overlap joined. Empty tensors and those read from a source stand alone. */
static void join_spans(layout *l, const span *spans, size_t n) {
    storage *last = NULL; /* the last one that lies in memory */
    for (size_t i = 0; i < n; i++) {
        placement *p = &l->items[spans[i].item];
        const bool in_memory = p->data != NULL && p->n_bytes > 0;
        const bool joins = in_memory && last != NULL && last->dtype == spans[i].dtype &&
                           p->data < last->data + last->n_bytes &&
                           (size_t)(p->data - last->data) % anx_dtype_bytes(last->dtype) == 0;
        if (joins) {
            const uint64_t end = (uint64_t)(p->data - last->data) + p->n_bytes;
            if (end > last->n_bytes) last->n_bytes = end;
            if (spans[i].item < last->first_item) last->first_item = spans[i].item;
            p->storage = (size_t)(last - l->storages);
            continue;
        }
        storage *st = &l->storages[l->n_storages];
        *st = (storage){.dtype = spans[i].dtype,
                        .data = in_memory ? p->data : NULL,
                        .n_bytes = p->n_bytes,
                        .first_item = spans[i].item};
        p->storage = l->n_storages++;
        if (in_memory) last = st;
    }
}

/* Numbers the storages in the order in which the pickle first names them. */
static anx_status number_storages(layout *l, size_t n_items, anx_error *err) {
    size_t *moved = reallocarray(NULL, l->n_storages + 1, sizeof *moved);
    if (moved == NULL) return out_of_memory(err);
    for (size_t i = 0; i < l->n_storages; i++) l->storages[i].key = i;
    if (l->n_storages > 0) qsort(l->storages, l->n_storages, sizeof *l->storages, compare_storages);
    for (size_t i = 0; i < l->n_storages; i++) {
        moved[l->storages[i].key] = i;
        l->storages[i].key = i;
    }
    for (size_t i = 0; i < n_items; i++) l->items[i].storage = moved[l->items[i].storage];
    free(moved);
    return ANX_OK;
}

static anx_status lay_out(const anx_state_dict *dict, const anx_pth_source *source, layout *l, anx_error *err) {
    const size_t n = dict->count;
    anx_status status = ANX_OK;
    span *spans = reallocarray(NULL, n + 1, sizeof *spans);
    l->storages = reallocarray(NULL, n + 1, sizeof *l->storages);
    l->items = reallocarray(NULL, n + 1, sizeof *l->items);
    if (spans == NULL || l->storages == NULL || l->items == NULL) {
        status = out_of_memory(err);
        goto out;
    }
    for (size_t i = 0; i < n; i++) {
        const anx_tensor *t = &dict->items[i].tensor;
        l->items[i] = (placement){.data = t->data};
        status = span_of(t, &l->items[i].n_bytes, err);
        if (status == ANX_OK && t->data == NULL && l->items[i].n_bytes > 0 &&
            (source == NULL || !anx_tensor_is_contiguous(t)))
            status = anx_error_set(err, ANX_ERR_INVALID_ARGUMENT, "a tensor with elements but without data");
        if (status != ANX_OK) {
            anx_error_in_entry(err, dict->items[i].name);
            goto out;
        }
        spans[i] = (span){.dtype = t->dtype, .data = t->data, .item = i};
    }
    if (n > 0) qsort(spans, n, sizeof *spans, compare_spans);
    join_spans(l, spans, n);
    status = number_storages(l, n, err);
out:
    free(spans);
    return status;
}

/* Memo numbers of what is written once and named again. */
typedef struct shared {
    anx_pickle_memo ordered_dict, rebuild, storage, cpu, version, storage_class[ANX_DTYPE_COUNT];
    anx_pickle_memo *keys; /* of the storages */
} shared;

static const char *storage_class(anx_dtype dtype) {
    static const char *const names[ANX_DTYPE_COUNT] = {
        [ANX_F32] = "FloatStorage",     [ANX_F64] = "DoubleStorage", [ANX_F16] = "HalfStorage",
        [ANX_BF16] = "BFloat16Storage", [ANX_I64] = "LongStorage",   [ANX_I32] = "IntStorage",
        [ANX_I16] = "ShortStorage",     [ANX_I8] = "CharStorage",    [ANX_U8] = "ByteStorage",
        [ANX_BOOL] = "BoolStorage",
    };
    return names[dtype];
}

static void pickle_empty_ordered_dict(anx_pickle_writer *w, shared *s) {
    anx_pickle_share_global(w, "collections", "OrderedDict", &s->ordered_dict);
    anx_pickle_put_op(w, ANX_PICKLE_EMPTY_TUPLE);
    anx_pickle_put_op(w, ANX_PICKLE_REDUCE);
    anx_pickle_put_memo(w);
}

/* ("storage", torch.FloatStorage, "KEY", "cpu", elements) as a persistent id */
static void pickle_storage(anx_pickle_writer *w, shared *s, const storage *st) {
    char key[24];
    snprintf(key, sizeof key, "%zu", st->key);
    anx_pickle_open_tuple(w, 5);
    anx_pickle_share_string(w, "storage", &s->storage);
    anx_pickle_share_global(w, "torch", storage_class(st->dtype), &s->storage_class[st->dtype]);
    anx_pickle_share_string(w, key, &s->keys[st->key]);
    anx_pickle_share_string(w, "cpu", &s->cpu);
    anx_pickle_put_int(w, (int64_t)(st->n_bytes / anx_dtype_bytes(st->dtype)));
    anx_pickle_close_tuple(w, 5);
    anx_pickle_put_op(w, ANX_PICKLE_BINPERSID);
}

/* torch._utils._rebuild_tensor_v2(storage, offset, size, stride, requires_grad=False, OrderedDict()) */
static void pickle_tensor(anx_pickle_writer *w, shared *s, const anx_tensor *t, const placement *p, const storage *st) {
    anx_pickle_share_global(w, "torch._utils", "_rebuild_tensor_v2", &s->rebuild);
    anx_pickle_open_tuple(w, 6);
    pickle_storage(w, s, st);
    const size_t offset_bytes = st->data != NULL ? (size_t)(p->data - st->data) : 0;
    anx_pickle_put_int(w, (int64_t)(offset_bytes / anx_dtype_bytes(t->dtype)));
    anx_pickle_put_int_tuple(w, t->rank, t->shape);
    anx_pickle_put_int_tuple(w, t->rank, t->stride);
    anx_pickle_put_bool(w, false);
    pickle_empty_ordered_dict(w, s);
    anx_pickle_close_tuple(w, 6);
    anx_pickle_put_op(w, ANX_PICKLE_REDUCE);
    anx_pickle_put_memo(w);
}

/* state_dict._metadata = OrderedDict of module: {"version": 1} */
static void pickle_metadata(anx_pickle_writer *w, shared *s, const anx_pth_options *options) {
    anx_pickle_put_op(w, ANX_PICKLE_EMPTY_DICT);
    anx_pickle_put_memo(w);
    anx_pickle_put_string(w, "_metadata");
    pickle_empty_ordered_dict(w, s);
    for (size_t i = 0; i < options->n_modules; i++) {
        anx_pickle_item(w, i, options->n_modules);
        anx_pickle_put_string(w, options->modules[i]);
        anx_pickle_put_op(w, ANX_PICKLE_EMPTY_DICT);
        anx_pickle_put_memo(w);
        anx_pickle_share_string(w, "version", &s->version);
        anx_pickle_put_int(w, 1);
        anx_pickle_put_op(w, ANX_PICKLE_SETITEM);
    }
    anx_pickle_item(w, options->n_modules, options->n_modules);
    anx_pickle_put_op(w, ANX_PICKLE_SETITEM);
    anx_pickle_put_op(w, ANX_PICKLE_BUILD);
}

static anx_status pickle_dict(const anx_state_dict *dict, const layout *l, const anx_pth_options *options,
                              anx_pickle_writer *w, anx_error *err) {
    shared s = {ANX_PICKLE_NO_MEMO, ANX_PICKLE_NO_MEMO, ANX_PICKLE_NO_MEMO,
                ANX_PICKLE_NO_MEMO, ANX_PICKLE_NO_MEMO, .keys = reallocarray(NULL, l->n_storages + 1, sizeof *s.keys)};
    if (s.keys == NULL) return out_of_memory(err);
    for (int i = 0; i < ANX_DTYPE_COUNT; i++) s.storage_class[i] = ANX_PICKLE_NO_MEMO;
    for (size_t i = 0; i < l->n_storages; i++) s.keys[i] = ANX_PICKLE_NO_MEMO;

    anx_pickle_init(w);
    pickle_empty_ordered_dict(w, &s);
    for (size_t i = 0; i < dict->count; i++) {
        const placement *p = &l->items[i];
        anx_pickle_item(w, i, dict->count);
        anx_pickle_put_string(w, dict->items[i].name);
        pickle_tensor(w, &s, &dict->items[i].tensor, p, &l->storages[p->storage]);
    }
    anx_pickle_item(w, dict->count, dict->count);
    if (options->modules != NULL) pickle_metadata(w, &s, options);
    anx_pickle_put_op(w, ANX_PICKLE_STOP);
    free(s.keys);
    return w->failed ? out_of_memory(err) : ANX_OK;
}

static anx_status write_storage(anx_zip_writer *zip, const storage *st, const anx_pth_source *source, uint8_t *piece,
                                anx_error *err) {
    char name[32];
    snprintf(name, sizeof name, "data/%zu", st->key);
    anx_status status = anx_zip_writer_begin(zip, name, st->n_bytes, err);
    for (uint64_t done = 0; status == ANX_OK && done < st->n_bytes;) {
        const uint64_t left = st->n_bytes - done;
        const size_t now = left < piece_bytes ? (size_t)left : piece_bytes;
        const uint8_t *bytes = st->data != NULL ? st->data + done : piece;
        if (st->data == NULL) status = source->read(source->user, st->first_item, piece, now, err);
        if (status == ANX_OK) status = anx_zip_writer_append(zip, bytes, now, err);
        done += now;
    }
    return status == ANX_OK ? anx_zip_writer_end(zip, err) : status;
}

static anx_status write_records(anx_zip_writer *zip, const anx_pickle_writer *pickle, const layout *l,
                                const anx_pth_source *source, anx_error *err) {
    static const struct {
        const char *name, *content;
    } before[] = {{".format_version", "1"}, {".storage_alignment", "64"}, {"byteorder", "little"}};
    anx_status status = anx_zip_writer_add(zip, "data.pkl", pickle->bytes, pickle->size, err);
    for (size_t i = 0; status == ANX_OK && i < sizeof before / sizeof before[0]; i++)
        status = anx_zip_writer_add(zip, before[i].name, before[i].content, strlen(before[i].content), err);
    if (status != ANX_OK) return status;
    uint8_t *piece = malloc(piece_bytes);
    if (piece == NULL) return out_of_memory(err);
    for (size_t i = 0; status == ANX_OK && i < l->n_storages; i++)
        status = write_storage(zip, &l->storages[i], source, piece, err);
    free(piece);
    if (status == ANX_OK) status = anx_zip_writer_add(zip, "version", "3\n", 2, err);
    return status == ANX_OK ? anx_zip_writer_finish(zip, err) : status;
}

/* What all storages take. Saturates: no file system has so much room. */
static uint64_t storage_bytes(const layout *l) {
    uint64_t total = 0;
    for (size_t i = 0; i < l->n_storages; i++)
        if (__builtin_add_overflow(total, l->storages[i].n_bytes, &total)) return UINT64_MAX;
    return total;
}

anx_status anx_pth_write(const char *path, const anx_state_dict *dict, const anx_pth_options *options, anx_error *err) {
    static const anx_pth_options defaults = {.folder = NULL};
    if (options == NULL) options = &defaults;
    anx_status status = ANX_OK;
    char *folder = NULL;
    layout l = {.storages = NULL};
    anx_pickle_writer pickle = {0};
    anx_file_writer *file = NULL;
    anx_zip_writer *zip = NULL;
    if (options->folder == NULL) status = anx_pth_folder(path, &folder, err);
    if (status == ANX_OK) status = lay_out(dict, options->source, &l, err);
    if (status == ANX_OK) status = pickle_dict(dict, &l, options, &pickle, err);
    if (status == ANX_OK) status = anx_file_writer_create(path, options->force, &file, err);
    if (status == ANX_OK) status = anx_file_writer_expect(file, storage_bytes(&l), err);
    if (status == ANX_OK)
        status = anx_zip_writer_create(file, options->folder != NULL ? options->folder : folder, &zip, err);
    if (status == ANX_OK) status = write_records(zip, &pickle, &l, options->source, err);
    if (status == ANX_OK) status = anx_file_writer_commit(file, err);
    if (status != ANX_OK) anx_error_in_file(err, path);
    anx_zip_writer_destroy(zip);
    anx_file_writer_destroy(file);
    anx_pickle_fini(&pickle);
    layout_fini(&l);
    free(folder);
    return status;
}
