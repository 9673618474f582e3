/* The optimizer: its groups, and the momentum of their parameters. */
#include <stdlib.h>
#include <string.h>

#include "loaders/checkpoint/training_read_inside.h"

static anx_status out_of_memory(anx_error *err) {
    return anx_error_set(err, ANX_ERR_OUT_OF_MEMORY, "out of memory");
}

/* ---- optimizer: groups ---------------------------------------------------------------------------------- */

/* The file's name for a parameter: any int; its number is its place in the groups. */
typedef struct param_id {
    int64_t id;
    size_t number;
} param_id;

typedef struct param_ids {
    param_id *items; /* sorted by id once all are there */
    size_t count, capacity;
} param_ids;

static int by_id(const void *pa, const void *pb) {
    const param_id *a = pa, *b = pb;
    return a->id < b->id ? -1 : a->id > b->id;
}

static anx_status add_ids(const anx_training_reading *r, const anx_pickle_value *list, param_ids *ids) {
    if (list->kind != ANX_PICKLE_LIST) return anx_training_wrong_kind(r->err, "params", list, "a list");
    const size_t n = list->u.list.count;
    if (n > ANX_TRAINING_MAX_PARAMS - ids->count)
        return anx_training_too_many(r->err, "params", ids->count + n, ANX_TRAINING_MAX_PARAMS, "entries");
    if (n > ids->capacity - ids->count) {
        const size_t capacity = 2 * (ids->count + n);
        param_id *items = reallocarray(ids->items, capacity, sizeof *items);
        if (items == NULL) return out_of_memory(r->err);
        ids->items = items;
        ids->capacity = capacity;
    }
    for (size_t i = 0; i < n; i++) {
        int64_t id = 0;
        anx_status status = anx_training_read_integer(list->u.list.items[i], "params", &id, r->err);
        if (status != ANX_OK) return status;
        ids->items[ids->count] = (param_id){id, ids->count};
        ids->count++;
    }
    return ANX_OK;
}

static anx_status sort_ids(const anx_training_reading *r, param_ids *ids) {
    if (ids->count > 0) qsort(ids->items, ids->count, sizeof *ids->items, by_id);
    for (size_t i = 1; i < ids->count; i++)
        if (ids->items[i].id == ids->items[i - 1].id)
            return anx_error_set(r->err, ANX_ERR_FORMAT, "optimizer: parameter %lld occurs twice in the groups",
                                 (long long)ids->items[i].id);
    return ANX_OK;
}

/* Whose a key of a group is, as people know it. */
static const char *owner_of(const anx_pickle_value *key) {
    static const struct {
        const char *key, *owner;
    } known[] = {{"betas", " (it is Adam's or AdamW's)"}, {"alpha", " (it is RMSprop's)"}};
    for (size_t i = 0; i < sizeof known / sizeof known[0]; i++)
        if (anx_pickle_is_string(key, known[i].key)) return known[i].owner;
    return "";
}

/* The keys that a group has, in its order. */
static anx_status read_keys(const anx_training_reading *r, const anx_pickle_value *dict, anx_saved_group *g) {
    const anx_training_fields *fields = anx_training_group_fields();
    if (dict->u.dict.count > ANX_TRAINING_MAX_KEYS)
        return anx_training_too_many(r->err, "param_groups", dict->u.dict.count, ANX_TRAINING_MAX_KEYS, "keys");
    bool seen[ANX_GROUP_KEY_COUNT] = {false};
    for (size_t i = 0; i < dict->u.dict.count; i++) {
        const anx_training_field *f = anx_training_find_field(fields, dict->u.dict.items[2 * i]);
        if (f == NULL)
            return anx_error_set(r->err, ANX_ERR_UNSUPPORTED,
                                 "has the key %s%s, which torch.optim.SGD has not; no other optimizer is supported",
                                 anx_training_show(dict->u.dict.items[2 * i]).text,
                                 owner_of(dict->u.dict.items[2 * i]));
        const size_t key = (size_t)(f - fields->fields);
        if (!seen[key]) g->keys[g->n_keys++] = (anx_saved_group_key)key;
        seen[key] = true;
    }
    return ANX_OK;
}

static anx_status read_group(const anx_training_reading *r, const anx_pickle_value *dict, anx_saved_group *g,
                             param_ids *ids) {
    if (dict->kind != ANX_PICKLE_DICT)
        return anx_error_set(r->err, ANX_ERR_FORMAT, "it is %s; a dict was expected",
                             anx_pickle_kind_phrase(dict->kind));
    anx_status status = read_keys(r, dict, g);
    if (status == ANX_OK) status = anx_training_read_fields(r, dict, anx_training_group_fields(), g);
    const size_t before = ids->count;
    if (status == ANX_OK) status = add_ids(r, anx_pickle_dict_find(dict, "params"), ids);
    g->n_params = ids->count - before;
    return status;
}

static anx_status read_groups(const anx_training_reading *r, const anx_pickle_value *list, param_ids *ids) {
    anx_saved_optimizer *o = &r->state->optimizer;
    if (list == NULL) return anx_error_set(r->err, ANX_ERR_FORMAT, "optimizer: 'param_groups' is missing");
    anx_status status = ANX_OK;
    if (list->kind != ANX_PICKLE_LIST)
        status = anx_training_wrong_kind(r->err, "param_groups", list, "a list");
    else if (list->u.list.count > ANX_TRAINING_MAX_GROUPS)
        status = anx_training_too_many(r->err, "param_groups", list->u.list.count, ANX_TRAINING_MAX_GROUPS, "groups");
    if (status != ANX_OK) {
        anx_error_prefix(r->err, "optimizer: ");
        return status;
    }
    o->n_groups = list->u.list.count;
    o->groups = anx_training_allocate(r, o->n_groups, sizeof *o->groups);
    if (o->groups == NULL) return anx_training_arena_error(r);
    for (size_t i = 0; i < o->n_groups && status == ANX_OK; i++) {
        status = read_group(r, list->u.list.items[i], &o->groups[i], ids);
        if (status != ANX_OK) anx_error_prefix(r->err, "optimizer: param_groups[%zu]: ", i);
    }
    return status == ANX_OK ? sort_ids(r, ids) : status;
}

/* ---- optimizer: buffers --------------------------------------------------------------------------------- */

static anx_status read_buffer(const anx_training_reading *r, const anx_pickle_value *of_param, anx_saved_buffer *out) {
    if (of_param->kind != ANX_PICKLE_DICT)
        return anx_error_set(r->err, ANX_ERR_FORMAT, "it is %s; a dict was expected",
                             anx_pickle_kind_phrase(of_param->kind));
    if (of_param->u.dict.count > ANX_TRAINING_MAX_KEYS)
        return anx_training_too_many(r->err, "state", of_param->u.dict.count, ANX_TRAINING_MAX_KEYS,
                                     "keys for a parameter");
    for (size_t i = 0; i < of_param->u.dict.count; i++)
        if (!anx_pickle_is_string(of_param->u.dict.items[2 * i], "momentum_buffer"))
            return anx_error_set(r->err, ANX_ERR_UNSUPPORTED,
                                 "has the key %s, which torch.optim.SGD has not; no other optimizer is supported",
                                 anx_training_show(of_param->u.dict.items[2 * i]).text);
    const anx_pickle_value *buffer = anx_pickle_dict_find(of_param, "momentum_buffer");
    if (buffer == NULL || buffer->kind == ANX_PICKLE_NONE) return ANX_OK;
    if (buffer->kind != ANX_PICKLE_TENSOR)
        return anx_training_wrong_kind(r->err, "momentum_buffer", buffer, "a tensor or None");
    const anx_dtype dtype = buffer->u.tensor->storage->dtype;
    if (dtype != ANX_F32)
        return anx_error_set(r->err, ANX_ERR_FORMAT, "'momentum_buffer' is of %s; float32 was expected",
                             anx_dtype_name(dtype));
    *out = (anx_saved_buffer){true, anx_pickle_tensor_view(buffer->u.tensor)};
    return ANX_OK;
}

static anx_status read_buffers(const anx_training_reading *r, const anx_pickle_value *state, const param_ids *ids) {
    anx_saved_optimizer *o = &r->state->optimizer;
    o->n_buffers = ids->count;
    o->buffers = anx_training_allocate(r, ids->count, sizeof *o->buffers);
    if (o->buffers == NULL) return anx_training_arena_error(r);
    if (state == NULL) return anx_error_set(r->err, ANX_ERR_FORMAT, "optimizer: 'state' is missing");
    if (state->kind != ANX_PICKLE_DICT) {
        anx_training_wrong_kind(r->err, "state", state, "a dict");
        anx_error_prefix(r->err, "optimizer: ");
        return ANX_ERR_FORMAT;
    }
    for (size_t i = 0; i < state->u.dict.count; i++) {
        const anx_pickle_value *key = state->u.dict.items[2 * i];
        const param_id wanted = {.id = key->kind == ANX_PICKLE_INT ? key->u.integer : 0};
        const param_id *found = key->kind == ANX_PICKLE_INT && ids->count > 0
                                    ? bsearch(&wanted, ids->items, ids->count, sizeof wanted, by_id)
                                    : NULL;
        if (found == NULL)
            return anx_error_set(r->err, ANX_ERR_FORMAT, "optimizer: state has the key %s, which is in no group",
                                 anx_training_show(key).text);
        anx_status status = read_buffer(r, state->u.dict.items[2 * i + 1], &o->buffers[found->number]);
        if (status == ANX_OK) continue;
        anx_error_prefix(r->err, "optimizer: state[%lld]: ", (long long)key->u.integer);
        return status;
    }
    return ANX_OK;
}

anx_status anx_training_read_optimizer(const anx_training_reading *r, const anx_pickle_value *dict) {
    if (dict->kind != ANX_PICKLE_DICT) return anx_training_wrong_kind(r->err, "optimizer", dict, "a dict");
    param_ids ids = {.items = NULL};
    anx_status status = read_groups(r, anx_pickle_dict_find(dict, "param_groups"), &ids);
    if (status == ANX_OK) status = read_buffers(r, anx_pickle_dict_find(dict, "state"), &ids);
    free(ids.items);
    return status;
}
