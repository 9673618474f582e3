/*
 * Sources: PyTorch's torch/_tensor.py (__reduce_ex__), torch/nn/parameter.py (Parameter.__reduce_ex__) and
 * torch/serialization.py (persistent_id).
 */
#include "loaders/checkpoint/pth_pickle.h"

#include <stdio.h>
#include <stdlib.h>

#include "loaders/checkpoint/pickle_value_writer.h"

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

typedef struct pickled {
    const anx_pth_layout *layout;
    const anx_pth_pickling *pickling;
    anx_pickle_tree *tree;         /* holds the strings that Python interns */
    size_t *first;                 /* for each tensor of the state_dict the first that is the same object */
    anx_pickle_memo *memos, *keys; /* of the tensors, of the storages' names */
} pickled;

/* A string that Python has as one object, wherever it occurs. */
static void put_name(anx_pickle_values *v, const pickled *p, const char *name) {
    anx_pickle_values_put(v, anx_pickle_tree_name(p->tree, name));
}

/* ("storage", torch.FloatStorage, "KEY", "cpu", elements) as a persistent id */
static void put_storage(anx_pickle_values *v, const pickled *p, size_t number) {
    const anx_pth_storage *st = &p->layout->storages[number];
    anx_pickle_writer *w = v->writer;
    char key[24];
    snprintf(key, sizeof key, "%zu", number);
    anx_pickle_open_tuple(w, 5);
    put_name(v, p, "storage");
    anx_pickle_values_put_global(v, "torch", storage_class(st->content.dtype));
    anx_pickle_share_string(w, key, &p->keys[number]); /* str(number) makes an object of its own */
    put_name(v, p, "cpu");
    anx_pickle_put_int(w, st->n_elems);
    anx_pickle_close_tuple(w, 5);
    anx_pickle_put_op(w, ANX_PICKLE_OP_BINPERSID);
}

/* torch._utils._rebuild_tensor_v2(storage, offset, size, stride, requires_grad, OrderedDict()) */
static void put_data(anx_pickle_values *v, const pickled *p, const anx_pth_tensor *t) {
    anx_pickle_writer *w = v->writer;
    anx_pickle_values_put_global(v, "torch._utils", "_rebuild_tensor_v2");
    anx_pickle_open_tuple(w, 6);
    put_storage(v, p, t->storage);
    anx_pickle_put_int(w, t->offset);
    anx_pickle_put_int_tuple(w, t->tensor.rank, t->tensor.shape);
    anx_pickle_put_int_tuple(w, t->tensor.rank, t->tensor.stride);
    anx_pickle_put_bool(w, t->requires_grad && !t->is_parameter);
    anx_pickle_values_put_ordered_dict(v);
    anx_pickle_close_tuple(w, 6);
    anx_pickle_put_op(w, ANX_PICKLE_OP_REDUCE);
}

/* torch._utils._rebuild_parameter(data, requires_grad, OrderedDict()) around it where it is a Parameter */
static anx_pickle_memo put_tensor(anx_pickle_values *v, const pickled *p, const anx_pth_tensor *t) {
    anx_pickle_writer *w = v->writer;
    if (t->is_parameter) {
        anx_pickle_values_put_global(v, "torch._utils", "_rebuild_parameter");
        anx_pickle_open_tuple(w, 3);
    }
    put_data(v, p, t);
    if (t->is_parameter) {
        anx_pickle_put_memo(w);
        anx_pickle_put_bool(w, t->requires_grad);
        anx_pickle_values_put_ordered_dict(v);
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

/* For each of n tensors the first that is the same object: itself, or an earlier one. */
static anx_status find_first_names(const anx_pth_layout *l, size_t n, size_t **out, anx_error *err) {
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

/* A name that nothing shares, unless Python has but one string like it. */
static void put_own_name(anx_pickle_values *v, const pickled *p, const char *name) {
    if (anx_pickle_tree_is_singleton(name))
        put_name(v, p, name);
    else
        anx_pickle_put_string(v->writer, name);
}

/* OrderedDict of module: {"version": 1} */
static void put_module_versions(anx_pickle_values *v, const pickled *p) {
    const anx_pth_pickling *pickling = p->pickling;
    anx_pickle_writer *w = v->writer;
    anx_pickle_values_put_ordered_dict(v);
    for (size_t i = 0; i < pickling->n_modules; i++) {
        anx_pickle_item(w, i, pickling->n_modules);
        put_own_name(v, p, pickling->modules[i]);
        anx_pickle_put_op(w, ANX_PICKLE_OP_EMPTY_DICT);
        anx_pickle_put_memo(w);
        put_name(v, p, "version");
        anx_pickle_put_int(w, 1);
        anx_pickle_put_op(w, ANX_PICKLE_OP_SETITEM);
    }
    anx_pickle_item(w, pickling->n_modules, pickling->n_modules);
}

/* state_dict._metadata = ... */
static void put_metadata(anx_pickle_values *v, const pickled *p) {
    const anx_pth_pickling *pickling = p->pickling;
    if (pickling->modules == NULL && pickling->metadata == NULL) return;
    anx_pickle_put_op(v->writer, ANX_PICKLE_OP_EMPTY_DICT);
    anx_pickle_put_memo(v->writer);
    put_name(v, p, "_metadata");
    if (pickling->modules != NULL)
        put_module_versions(v, p);
    else
        anx_pickle_values_put(v, pickling->metadata);
    anx_pickle_put_op(v->writer, ANX_PICKLE_OP_SETITEM);
    anx_pickle_put_op(v->writer, ANX_PICKLE_OP_BUILD);
}

/* A tensor's key; one that came from a file may be in the file's _metadata too, as the name of a buffer "version". */
static void put_key(anx_pickle_values *v, const pickled *p, size_t i) {
    const anx_pth_pickling *pickling = p->pickling;
    const char *name = p->layout->tensors[i].name;
    const bool shared = pickling->metadata != NULL && pickling->keys != NULL && !pickling->plain_dict;
    if (shared && pickling->keys[i] != NULL)
        anx_pickle_values_remember(v, pickling->keys[i], anx_pickle_put_string(v->writer, name));
    else
        put_own_name(v, p, name);
}

static void put_state_dict(anx_pickle_values *v, const pickled *p) {
    const anx_pth_pickling *pickling = p->pickling;
    const size_t n = pickling->n_tensors;
    anx_pickle_writer *w = v->writer;
    void (*item)(anx_pickle_writer *, size_t, size_t) = pickling->plain_dict ? anx_pickle_dict_item : anx_pickle_item;
    if (pickling->plain_dict) {
        anx_pickle_put_op(w, ANX_PICKLE_OP_EMPTY_DICT);
        anx_pickle_put_memo(w);
    } else {
        anx_pickle_values_put_ordered_dict(v);
    }
    for (size_t i = 0; i < n; i++) {
        const anx_pth_tensor *t = &p->layout->tensors[i];
        item(w, i, n);
        put_key(v, p, i);
        if (p->first[i] != i)
            anx_pickle_get(w, p->memos[p->first[i]]);
        else
            p->memos[i] = put_tensor(v, p, t);
    }
    item(w, n, n);
    if (!pickling->plain_dict) put_metadata(v, p);
}

static void put_leaf(anx_pickle_values *v, const anx_pickle_value *leaf, void *user) {
    const pickled *p = user;
    if (leaf->u.leaf == anx_pth_state_dict_leaf)
        put_state_dict(v, p);
    else
        put_tensor(v, p, &p->layout->tensors[leaf->u.leaf]);
}

/* ---- the whole ------------------------------------------------------------------------------------------ */

static anx_status check_metadata(const anx_pth_pickling *pickling, anx_error *err) {
    bool plain = true;
    if (pickling->plain_dict || pickling->metadata == NULL) return ANX_OK;
    anx_status status = anx_pickle_is_plain(pickling->metadata, &plain, err);
    if (status != ANX_OK || plain) return status;
    return anx_error_set(err, ANX_ERR_UNSUPPORTED, "a value that is not made of numbers, text and containers");
}

anx_status anx_pth_pickle(const anx_pth_layout *layout, const anx_pth_pickling *pickling, anx_pickle_writer *w,
                          anx_error *err) {
    const anx_pickle_value state_dict = {.kind = ANX_PICKLE_TENSOR, .u.leaf = anx_pth_state_dict_leaf};
    pickled p = {.layout = layout,
                 .pickling = pickling,
                 .tree = pickling->tree,
                 .memos = calloc(layout->n_tensors + 1, sizeof *p.memos),
                 .keys = calloc(layout->n_storages + 1, sizeof *p.keys)};
    anx_pickle_values v = {.writer = w, .put_leaf = put_leaf, .user = &p};
    anx_status status = p.memos != NULL && p.keys != NULL ? ANX_OK : out_of_memory(err);
    if (status == ANX_OK) status = check_metadata(pickling, err);
    if (status == ANX_OK) status = find_first_names(layout, pickling->n_tensors, &p.first, err);
    if (status == ANX_OK) {
        for (size_t i = 0; i < layout->n_storages; i++) p.keys[i] = ANX_PICKLE_NO_MEMO;
        anx_pickle_init(w);
        anx_pickle_values_put(&v, pickling->root != NULL ? pickling->root : &state_dict);
        anx_pickle_put_op(w, ANX_PICKLE_OP_STOP);
        if (w->failed || p.tree->failed) status = out_of_memory(err);
    }
    anx_pickle_values_fini(&v);
    free(p.keys);
    free(p.memos);
    free(p.first);
    return status;
}
