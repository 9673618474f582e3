/* Reading: what train.py and we put around optimizer and scheduler, and the whole. */
#include <stdlib.h>
#include <string.h>

#include "loaders/checkpoint/pickle_globals.h"
#include "loaders/checkpoint/text.h"
#include "loaders/checkpoint/training_read_inside.h"

static anx_status out_of_memory(anx_error *err) {
    return anx_error_set(err, ANX_ERR_OUT_OF_MEMORY, "out of memory");
}

/* ---- named values --------------------------------------------------------------------------------------- */

static bool is_c_string(const anx_pickle_value *v) {
    return v->kind == ANX_PICKLE_STRING && memchr(v->u.text.bytes, '\0', v->u.text.n_bytes) == NULL;
}

static anx_status read_value(const anx_training_reading *r, const anx_pickle_value *v, anx_saved_value *out) {
    switch (v->kind) {
    case ANX_PICKLE_NONE: out->kind = ANX_SAVED_VALUE_NONE; return ANX_OK;
    case ANX_PICKLE_BOOL:
        out->kind = ANX_SAVED_VALUE_BOOL;
        out->u.boolean = v->u.boolean;
        return ANX_OK;
    case ANX_PICKLE_INT:
        out->kind = ANX_SAVED_VALUE_INT;
        out->u.integer = v->u.integer;
        return ANX_OK;
    case ANX_PICKLE_FLOAT:
        out->kind = ANX_SAVED_VALUE_FLOAT;
        out->u.real = v->u.real;
        return ANX_OK;
    default: break;
    }
    const bool is_text = is_c_string(v);
    out->kind = is_text ? ANX_SAVED_VALUE_TEXT : ANX_SAVED_VALUE_OTHER;
    out->u.text =
        is_text ? anx_arena_text(&r->state->arena, v->u.text.bytes, v->u.text.n_bytes) : anx_pickle_kind_name(v->kind);
    return out->u.text != NULL ? ANX_OK : anx_training_arena_error(r);
}

/* A dict of names and values, as it is written from anx_saved_value. */
static anx_status read_values(const anx_training_reading *r, const anx_pickle_value *dict, const char *what,
                              anx_saved_value **out, size_t *n) {
    if (dict->kind != ANX_PICKLE_DICT) return anx_training_wrong_kind(r->err, what, dict, "a dict");
    if (dict->u.dict.count > ANX_TRAINING_MAX_VALUES)
        return anx_training_too_many(r->err, what, dict->u.dict.count, ANX_TRAINING_MAX_VALUES, "entries");
    anx_saved_value *values = anx_training_allocate(r, dict->u.dict.count, sizeof *values);
    if (values == NULL) return anx_training_arena_error(r);
    for (size_t i = 0; i < dict->u.dict.count; i++) {
        const anx_pickle_value *key = dict->u.dict.items[2 * i];
        if (!is_c_string(key))
            return anx_error_set(r->err, ANX_ERR_FORMAT, "'%s' has the key %s; names were expected", what,
                                 anx_training_show(key).text);
        values[i].name = anx_arena_text(&r->state->arena, key->u.text.bytes, key->u.text.n_bytes);
        if (values[i].name == NULL) return anx_training_arena_error(r);
        anx_status status = read_value(r, dict->u.dict.items[2 * i + 1], &values[i]);
        if (status != ANX_OK) return status;
    }
    *out = values;
    *n = dict->u.dict.count;
    return ANX_OK;
}

/* ---- which texts are shared ----------------------------------------------------------------------------- */

static int by_address(const void *pa, const void *pb) {
    const uintptr_t a = (uintptr_t) * (const anx_pickle_value *const *)pa,
                    b = (uintptr_t) * (const anx_pickle_value *const *)pb;
    return a < b ? -1 : a > b;
}

/* The key "args" of the root. */
static const anx_pickle_value *find_args_key(const anx_pickle_value *root) {
    size_t i = root->u.dict.count;
    while (!anx_pickle_is_string(root->u.dict.items[2 * --i], "args")) continue; /* it is there */
    return root->u.dict.items[2 * i];
}

/*
 * A text of args that is one object with another string was one in the program that wrote the file: with one that was
 * written before args (strings are views of the pickle, which tells), or with another there.
 */
static anx_status mark_interned(const anx_training_reading *r, const anx_pickle_value *root,
                                const anx_pickle_value *args) {
    const size_t n = 2 * args->u.dict.count;
    const char *start = find_args_key(root)->u.text.bytes;
    const anx_pickle_value **objects = calloc(n + 1, sizeof *objects);
    if (objects == NULL) return out_of_memory(r->err);
    if (n > 0) memcpy(objects, args->u.dict.items, n * sizeof *objects);
    if (n > 0) qsort(objects, n, sizeof *objects, by_address);
    for (size_t i = 0; i < r->state->n_args; i++) {
        const anx_pickle_value *text = args->u.dict.items[2 * i + 1];
        if (text->kind != ANX_PICKLE_STRING) continue;
        const anx_pickle_value **at = bsearch(&text, objects, n, sizeof *objects, by_address);
        const size_t place = (size_t)(at - objects);
        r->state->args[i].interned = (uintptr_t)text->u.text.bytes < (uintptr_t)start ||
                                     (place > 0 && at[-1] == text) || (place + 1 < n && at[1] == text);
    }
    free(objects);
    return ANX_OK;
}

static anx_status read_args(const anx_training_reading *r, const anx_pickle_value *root) {
    const anx_pickle_value *v = anx_pickle_dict_find(root, "args");
    if (v == NULL || v->kind == ANX_PICKLE_NONE) return ANX_OK;
    if (v->kind != ANX_PICKLE_OBJECT || strcmp(v->u.object.class->name, "Namespace") != 0)
        return anx_training_wrong_kind(r->err, "args", v, "an argparse.Namespace");
    r->state->has_args = true;
    if (v->u.object.state == NULL) return ANX_OK;
    anx_status status = read_values(r, v->u.object.state, "args", &r->state->args, &r->state->n_args);
    return status == ANX_OK ? mark_interned(r, root, v->u.object.state) : status;
}

/* ---- what is ours --------------------------------------------------------------------------------------- */

static anx_status read_rng_state(const anx_training_reading *r, const anx_pickle_value *v) {
    if (v->kind != ANX_PICKLE_TENSOR) return anx_training_wrong_kind(r->err, "rng_state", v, "a tensor");
    const anx_pickle_tensor *t = v->u.tensor;
    char shape[200];
    if (t->storage->dtype != ANX_U8 || t->rank != 1 || t->shape[0] != ANX_RNG_STATE_BYTES)
        return anx_error_set(r->err, ANX_ERR_FORMAT, "'rng_state' is of %s and shape %s; uint8 and (%d,) were expected",
                             anx_dtype_name(t->storage->dtype),
                             anx_shape_format(t->rank, t->shape, shape, sizeof shape), (int)ANX_RNG_STATE_BYTES);
    const anx_elements elements = {.tensor = anx_pickle_tensor_view(t)};
    anx_elements_read(&elements, 0, ANX_RNG_STATE_BYTES, ANX_U8, r->state->rng_state, NULL);
    return ANX_OK;
}

static anx_status read_own_field(const anx_training_reading *r, const char *key, const anx_pickle_value *v) {
    anx_training_state *s = r->state;
    if (strcmp(key, "rng_state") == 0) return read_rng_state(r, v);
    if (strcmp(key, "step") == 0) return anx_training_read_integer(v, key, &s->step, r->err);
    if (strcmp(key, "order_seed") == 0) return anx_training_read_integer(v, key, &s->order_seed, r->err);
    if (strcmp(key, "options") == 0) return read_values(r, v, key, &s->options, &s->n_options);
    int64_t version = 0;
    anx_status status = anx_training_read_integer(v, key, &version, r->err);
    if (status == ANX_OK && version != 1)
        return anx_error_set(r->err, ANX_ERR_UNSUPPORTED, "version %lld; 1 is known", (long long)version);
    return status;
}

static anx_status read_own(const anx_training_reading *r, const anx_pickle_value *dict) {
    static const char *const keys[] = {"version", "rng_state", "step", "order_seed", "options"};
    if (dict->kind != ANX_PICKLE_DICT) return anx_training_wrong_kind(r->err, "anx", dict, "a dict");
    anx_status status = ANX_OK;
    for (size_t i = 0; i < sizeof keys / sizeof keys[0] && status == ANX_OK; i++) {
        const anx_pickle_value *v = anx_pickle_dict_find(dict, keys[i]);
        status = v != NULL ? read_own_field(r, keys[i], v)
                           : anx_error_set(r->err, ANX_ERR_FORMAT, "'%s' is missing", keys[i]);
    }
    if (status == ANX_OK && r->state->step < 0)
        status = anx_error_set(r->err, ANX_ERR_FORMAT, "'step' is negative, %lld", (long long)r->state->step);
    r->state->has_own = true;
    if (status != ANX_OK) anx_error_prefix(r->err, "anx: ");
    return status;
}

/* ---- the whole ------------------------------------------------------------------------------------------ */

static anx_status read_epoch(const anx_training_reading *r, const anx_pickle_value *v) {
    if (v == NULL) return anx_error_set(r->err, ANX_ERR_FORMAT, "'epoch' is missing");
    anx_status status = anx_training_read_integer(v, "epoch", &r->state->epoch, r->err);
    if (status == ANX_OK && (r->state->epoch < -1 || r->state->epoch > INT32_MAX))
        status = anx_error_set(r->err, ANX_ERR_FORMAT, "'epoch' is %lld", (long long)r->state->epoch);
    return status;
}

static anx_status list_ignored(const anx_training_reading *r, const anx_pickle_value *root) {
    static const char *const known[] = {"model", "optimizer", "lr_scheduler", "epoch", "args", "anx"};
    anx_training_state *s = r->state;
    s->ignored = anx_training_allocate(r, root->u.dict.count, sizeof *s->ignored);
    if (s->ignored == NULL) return anx_training_arena_error(r);
    for (size_t i = 0; i < root->u.dict.count; i++) {
        const anx_pickle_value *key = root->u.dict.items[2 * i];
        bool is_known = false;
        for (size_t k = 0; k < sizeof known / sizeof known[0]; k++)
            is_known = is_known || anx_pickle_is_string(key, known[k]);
        if (is_known) continue;
        const anx_training_shown name = anx_training_show(key);
        const char *text = is_c_string(key) ? anx_arena_text(&s->arena, key->u.text.bytes, key->u.text.n_bytes)
                                            : anx_arena_text(&s->arena, name.text, strlen(name.text));
        if (text == NULL) return anx_training_arena_error(r);
        s->ignored[s->n_ignored++] = text;
    }
    return ANX_OK;
}

static anx_status read_root(const anx_training_reading *r, const anx_pickle_value *root) {
    const char *wrapped_in = r->checkpoint->wrapped_in;
    const anx_pickle_value *optimizer = root != NULL ? anx_pickle_dict_find(root, "optimizer") : NULL;
    if (optimizer == NULL || wrapped_in == NULL || strcmp(wrapped_in, "model") != 0)
        return anx_error_set(r->err, ANX_ERR_FORMAT,
                             "a checkpoint of a training was expected, a dict with 'model', 'optimizer', "
                             "'lr_scheduler' and 'epoch'; the file has no '%s'",
                             optimizer == NULL ? "optimizer" : "model");
    anx_status status = anx_training_read_optimizer(r, optimizer);
    const anx_pickle_value *scheduler = anx_pickle_dict_find(root, "lr_scheduler");
    const anx_pickle_value *own = anx_pickle_dict_find(root, "anx");
    if (status == ANX_OK && scheduler != NULL) status = anx_training_read_schedulers(r, scheduler);
    if (status == ANX_OK) status = read_epoch(r, anx_pickle_dict_find(root, "epoch"));
    if (status == ANX_OK) status = read_args(r, root);
    if (status == ANX_OK && own != NULL) status = read_own(r, own);
    return status == ANX_OK ? list_ignored(r, root) : status;
}

anx_status anx_training_state_read(const anx_checkpoint *checkpoint, anx_training_state *out, anx_error *err) {
    const anx_checkpoint_impl *impl = anx_checkpoint_impl_of(checkpoint);
    if (impl->options.as_stored)
        return anx_error_set(err, ANX_ERR_INVALID_ARGUMENT, "the checkpoint is open as it is stored");
    anx_training_state *state = calloc(1, sizeof *state); /* 5 KB */
    if (state == NULL) return out_of_memory(err);
    state->arena.limit_bytes = impl->arena.limit_bytes;
    const anx_training_reading r = {checkpoint, state, err};
    anx_status status = read_root(&r, impl->root);
    if (status == ANX_OK) {
        *out = *state;
    } else {
        anx_training_state_fini(state);
        anx_error_in_file(err, checkpoint->path);
    }
    free(state);
    return status;
}

void anx_training_state_fini(anx_training_state *state) {
    anx_arena_fini(&state->arena);
    *state = (anx_training_state)ANX_TRAINING_STATE_INIT;
}
