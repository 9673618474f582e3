/*
 * Sources: PyTorch's torch/_tensor.py (__reduce_ex__), torch/nn/parameter.py (Parameter.__reduce_ex__) and
 * torch/serialization.py (persistent_id).
 */
#include "loaders/checkpoint/pth_pickle.h"

#include <stdio.h>
#include <stdlib.h>

#include "loaders/checkpoint/pickle_value_writer.h"

/* Memo numbers of what is written once and named again. */
typedef struct shared {
    anx_pickle_memo ordered_dict, rebuild, rebuild_parameter, storage, cpu, version, storage_class[ANX_DTYPE_COUNT];
    anx_pickle_memo *keys; /* of the storages */
} shared;

static anx_status out_of_memory(anx_error *err) {
    return anx_error_set(err, ANX_ERR_OUT_OF_MEMORY, "out of memory");
}

static const char *storage_class(anx_dtype dtype) {
    static const char *const names[ANX_DTYPE_COUNT] = {
        [ANX_F32] = "FloatStorage",     [ANX_F64] = "DoubleStorage", [ANX_F16] = "HalfStorage",
        [ANX_BF16] = "BFloat16Storage", [ANX_I64] = "LongStorage",   [ANX_I32] = "IntStorage",
        [ANX_I16] = "ShortStorage",     [ANX_I8] = "CharStorage",    [ANX_U8] = "ByteStorage",
        [ANX_BOOL] = "BoolStorage",
    };
    return names[dtype];
}

/* ---- tensors -------------------------------------------------------------------------------------------- */

/* ("storage", torch.FloatStorage, "KEY", "cpu", elements) as a persistent id */
static void put_storage(anx_pickle_writer *w, shared *s, size_t number, const anx_pth_storage *st) {
    char key[24];
    const anx_dtype dtype = st->content.dtype;
    snprintf(key, sizeof key, "%zu", number);
    anx_pickle_open_tuple(w, 5);
    anx_pickle_share_string(w, "storage", &s->storage);
    anx_pickle_share_global(w, "torch", storage_class(dtype), &s->storage_class[dtype]);
    anx_pickle_share_string(w, key, &s->keys[number]);
    anx_pickle_share_string(w, "cpu", &s->cpu);
    anx_pickle_put_int(w, st->n_elems);
    anx_pickle_close_tuple(w, 5);
    anx_pickle_put_op(w, ANX_PICKLE_OP_BINPERSID);
}

/* torch._utils._rebuild_tensor_v2(storage, offset, size, stride, requires_grad, OrderedDict()) */
static void put_data(anx_pickle_writer *w, shared *s, const anx_pth_tensor *t, const anx_pth_storage *st) {
    anx_pickle_share_global(w, "torch._utils", "_rebuild_tensor_v2", &s->rebuild);
    anx_pickle_open_tuple(w, 6);
    put_storage(w, s, t->storage, st);
    anx_pickle_put_int(w, t->offset);
    anx_pickle_put_int_tuple(w, t->tensor.rank, t->tensor.shape);
    anx_pickle_put_int_tuple(w, t->tensor.rank, t->tensor.stride);
    anx_pickle_put_bool(w, t->requires_grad && !t->is_parameter);
    anx_pickle_put_ordered_dict(w, &s->ordered_dict);
    anx_pickle_close_tuple(w, 6);
    anx_pickle_put_op(w, ANX_PICKLE_OP_REDUCE);
}

/* torch._utils._rebuild_parameter(data, requires_grad, OrderedDict()) around it where it is a Parameter */
static anx_pickle_memo put_tensor(anx_pickle_writer *w, shared *s, const anx_pth_tensor *t, const anx_pth_storage *st) {
    if (t->is_parameter) {
        anx_pickle_share_global(w, "torch._utils", "_rebuild_parameter", &s->rebuild_parameter);
        anx_pickle_open_tuple(w, 3);
    }
    put_data(w, s, t, st);
    if (t->is_parameter) {
        anx_pickle_put_memo(w);
        anx_pickle_put_bool(w, t->requires_grad);
        anx_pickle_put_ordered_dict(w, &s->ordered_dict);
        anx_pickle_close_tuple(w, 3);
        anx_pickle_put_op(w, ANX_PICKLE_OP_REDUCE);
    }
    return anx_pickle_put_memo(w);
}

/* ---- several names of one tensor ------------------------------------------------------------------------ */

typedef struct named_object {
    const void *object;
    size_t tensor;
} named_object;

static int by_object(const void *pa, const void *pb) {
    const named_object *a = pa, *b = pb;
    if (a->object != b->object) return (uintptr_t)a->object < (uintptr_t)b->object ? -1 : 1;
    return a->tensor < b->tensor ? -1 : 1;
}

/* For each tensor the first that is the same object: itself, or an earlier one. */
static anx_status find_first_names(const anx_pth_layout *l, size_t **out, anx_error *err) {
    const size_t n = l->n_tensors;
    size_t *first = calloc(n + 1, sizeof *first);
    named_object *objects = calloc(n + 1, sizeof *objects);
    if (first == NULL || objects == NULL) {
        free(first);
        free(objects);
        return out_of_memory(err);
    }
    for (size_t i = 0; i < n; i++) objects[i] = (named_object){l->tensors[i].object, i};
    if (n > 0) qsort(objects, n, sizeof *objects, by_object);
    for (size_t i = 0; i < n; i++) {
        const bool again = i > 0 && objects[i].object != NULL && objects[i - 1].object == objects[i].object;
        first[objects[i].tensor] = again ? first[objects[i - 1].tensor] : objects[i].tensor;
    }
    free(objects);
    *out = first;
    return ANX_OK;
}

/* ---- the dict ------------------------------------------------------------------------------------------- */

/* OrderedDict of module: {"version": 1} */
static void put_module_versions(anx_pickle_writer *w, shared *s, const anx_pth_pickling *pickling) {
    anx_pickle_put_ordered_dict(w, &s->ordered_dict);
    for (size_t i = 0; i < pickling->n_modules; i++) {
        anx_pickle_item(w, i, pickling->n_modules);
        anx_pickle_put_string(w, pickling->modules[i]);
        anx_pickle_put_op(w, ANX_PICKLE_OP_EMPTY_DICT);
        anx_pickle_put_memo(w);
        anx_pickle_share_string(w, "version", &s->version);
        anx_pickle_put_int(w, 1);
        anx_pickle_put_op(w, ANX_PICKLE_OP_SETITEM);
    }
    anx_pickle_item(w, pickling->n_modules, pickling->n_modules);
}

/* state_dict._metadata = ... */
static anx_status put_metadata(anx_pickle_writer *w, shared *s, const anx_pth_pickling *pickling,
                               const anx_pickle_written *names, size_t n, anx_error *err) {
    anx_status status = ANX_OK;
    if (pickling->modules == NULL && pickling->metadata == NULL) return status;
    anx_pickle_put_op(w, ANX_PICKLE_OP_EMPTY_DICT);
    anx_pickle_put_memo(w);
    anx_pickle_put_string(w, "_metadata");
    if (pickling->modules != NULL)
        put_module_versions(w, s, pickling);
    else
        status = anx_pickle_put_value(w, pickling->metadata, names, n, &s->ordered_dict, err);
    anx_pickle_put_op(w, ANX_PICKLE_OP_SETITEM);
    anx_pickle_put_op(w, ANX_PICKLE_OP_BUILD);
    return status;
}

/* What is known of each tensor. */
typedef struct progress {
    size_t *first;          /* the first that is the same object */
    anx_pickle_memo *memos; /* of the tensor */
    /* Its key, which may be in _metadata too: Python's interned texts, as of a buffer "version". NULL: none is needed.
     */
    anx_pickle_written *names;
} progress;

static anx_status put_dict(anx_pickle_writer *w, shared *s, const anx_pth_layout *l, const anx_pth_pickling *pickling,
                           progress *p, anx_error *err) {
    const size_t n = l->n_tensors;
    void (*item)(anx_pickle_writer *, size_t, size_t) = pickling->plain_dict ? anx_pickle_dict_item : anx_pickle_item;
    if (pickling->plain_dict) {
        anx_pickle_put_op(w, ANX_PICKLE_OP_EMPTY_DICT);
        anx_pickle_put_memo(w);
    } else {
        anx_pickle_put_ordered_dict(w, &s->ordered_dict);
    }
    for (size_t i = 0; i < n; i++) {
        const anx_pth_tensor *t = &l->tensors[i];
        item(w, i, n);
        const anx_pickle_memo name = anx_pickle_put_string(w, t->name);
        if (p->names != NULL) p->names[i] = (anx_pickle_written){pickling->keys[i], name};
        if (p->first[i] != i)
            anx_pickle_get(w, p->memos[p->first[i]]);
        else
            p->memos[i] = put_tensor(w, s, t, &l->storages[t->storage]);
    }
    item(w, n, n);
    return pickling->plain_dict ? ANX_OK : put_metadata(w, s, pickling, p->names, p->names != NULL ? n : 0, err);
}

anx_status anx_pth_pickle(const anx_pth_layout *layout, const anx_pth_pickling *pickling, anx_pickle_writer *w,
                          anx_error *err) {
    shared s = {.ordered_dict = ANX_PICKLE_NO_MEMO,
                .rebuild = ANX_PICKLE_NO_MEMO,
                .rebuild_parameter = ANX_PICKLE_NO_MEMO,
                .storage = ANX_PICKLE_NO_MEMO,
                .cpu = ANX_PICKLE_NO_MEMO,
                .version = ANX_PICKLE_NO_MEMO};
    const bool needs_names = pickling->metadata != NULL && pickling->keys != NULL && !pickling->plain_dict;
    progress p = {.memos = calloc(layout->n_tensors + 1, sizeof *p.memos)};
    if (needs_names) p.names = calloc(layout->n_tensors + 1, sizeof *p.names);
    s.keys = calloc(layout->n_storages + 1, sizeof *s.keys);
    anx_status status =
        p.memos != NULL && s.keys != NULL && (p.names != NULL || !needs_names) ? ANX_OK : out_of_memory(err);
    if (status == ANX_OK) status = find_first_names(layout, &p.first, err);
    if (status == ANX_OK) {
        for (int i = 0; i < ANX_DTYPE_COUNT; i++) s.storage_class[i] = ANX_PICKLE_NO_MEMO;
        for (size_t i = 0; i < layout->n_storages; i++) s.keys[i] = ANX_PICKLE_NO_MEMO;
        anx_pickle_init(w);
        status = put_dict(w, &s, layout, pickling, &p, err);
        anx_pickle_put_op(w, ANX_PICKLE_OP_STOP);
        if (status == ANX_OK && w->failed) status = out_of_memory(err);
    }
    free(s.keys);
    free(p.memos);
    free(p.names);
    free(p.first);
    return status;
}
