/* Reading: from the values of an open checkpoint to the structs of training_checkpoint.h. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "loaders/checkpoint/checkpoint_impl.h"
#include "loaders/checkpoint/pickle_globals.h"
#include "loaders/checkpoint/text.h"
#include "loaders/checkpoint/training_fields.h"

/* What no training has more of. A file can name one object very often, so that its size alone bounds nothing. */
enum {
    max_keys = 64,
    max_groups = 10000,
    max_params = 1000000,
    max_milestones = 10000,
    max_schedulers = 16,
    max_values = 10000
};
static const int64_t largest_int = (int64_t)1 << 53; /* up to there a double holds every int */

typedef struct reading {
    const anx_checkpoint *checkpoint;
    anx_training_state *state;
    anx_error *err;
} reading;

static anx_status out_of_memory(anx_error *err) {
    return anx_error_set(err, ANX_ERR_OUT_OF_MEMORY, "out of memory");
}

/* Why the state's arena gave nothing. */
static anx_status arena_error(const reading *r) {
    return anx_arena_error(&r->state->arena, r->err);
}

static void *allocate(const reading *r, size_t n, size_t size) {
    return anx_arena_alloc(&r->state->arena, n, size);
}

/* ---- messages ------------------------------------------------------------------------------------------- */

typedef struct shown {
    char text[100];
} shown;

/* A key for a message: "'lr'", "3", "a tuple". */
static shown show(const anx_pickle_value *key) {
    shown s;
    char text[90];
    if (key->kind == ANX_PICKLE_STRING)
        snprintf(s.text, sizeof s.text, "'%s'",
                 anx_text_printable(key->u.text.bytes, key->u.text.n_bytes, text, sizeof text));
    else if (key->kind == ANX_PICKLE_INT)
        snprintf(s.text, sizeof s.text, "%lld", (long long)key->u.integer);
    else
        snprintf(s.text, sizeof s.text, "%s", anx_pickle_kind_phrase(key->kind));
    return s;
}

static anx_status wrong_kind(anx_error *err, const char *key, const anx_pickle_value *got, const char *expected) {
    return anx_error_set(err, ANX_ERR_FORMAT, "'%s' is %s; %s was expected", key, anx_pickle_kind_phrase(got->kind),
                         expected);
}

static anx_status too_many(anx_error *err, const char *key, size_t n, size_t limit, const char *what) {
    return anx_error_set(err, ANX_ERR_LIMIT, "'%s' has %zu %s; at most %zu are taken", key, n, what, limit);
}

/* ---- simple values -------------------------------------------------------------------------------------- */

static anx_status read_number(const anx_pickle_value *v, const char *key, bool maybe, anx_saved_number *out,
                              anx_error *err) {
    *out = (anx_saved_number){.value = 0};
    if (v->kind == ANX_PICKLE_FLOAT) {
        out->value = v->u.real;
    } else if (v->kind == ANX_PICKLE_INT && v->u.integer >= -largest_int && v->u.integer <= largest_int) {
        out->value = (double)v->u.integer;
        out->kind = ANX_SAVED_INT;
    } else if (v->kind == ANX_PICKLE_INT || v->kind == ANX_PICKLE_BIG_INT) {
        return anx_error_set(err, ANX_ERR_FORMAT, "'%s' is an int beyond 2^53", key);
    } else if (v->kind == ANX_PICKLE_NONE && maybe) {
        out->kind = ANX_SAVED_NONE;
    } else {
        return wrong_kind(err, key, v, maybe ? "a number or None" : "a number");
    }
    return ANX_OK;
}

static anx_status read_integer(const anx_pickle_value *v, const char *key, int64_t *out, anx_error *err) {
    if (v->kind == ANX_PICKLE_BIG_INT) return anx_error_set(err, ANX_ERR_FORMAT, "'%s' is an int beyond 64 bits", key);
    if (v->kind != ANX_PICKLE_INT) return wrong_kind(err, key, v, "an int");
    *out = v->u.integer;
    return ANX_OK;
}

static anx_status read_flag(const anx_pickle_value *v, const char *key, anx_saved_flag *out, anx_error *err) {
    if (v->kind != ANX_PICKLE_BOOL && v->kind != ANX_PICKLE_NONE) return wrong_kind(err, key, v, "a bool or None");
    *out = v->kind == ANX_PICKLE_NONE ? ANX_SAVED_FLAG_NONE : v->u.boolean ? ANX_SAVED_FLAG_TRUE : ANX_SAVED_FLAG_FALSE;
    return ANX_OK;
}

static anx_status read_choice(const anx_pickle_value *v, const anx_training_field *f, bool *out, anx_error *err) {
    const bool second = anx_pickle_is_string(v, f->choices[1]);
    if (!second && !anx_pickle_is_string(v, f->choices[0]))
        return anx_error_set(err, ANX_ERR_FORMAT, "'%s' is %s; '%s' or '%s' was expected", f->key, show(v).text,
                             f->choices[0], f->choices[1]);
    *out = second;
    return ANX_OK;
}

/* A list with a number for each of the optimizer's groups. */
static anx_status read_per_group(const reading *r, const anx_pickle_value *v, const char *key, anx_saved_numbers *out) {
    const size_t n = r->state->optimizer.n_groups;
    if (v->kind != ANX_PICKLE_LIST) return wrong_kind(r->err, key, v, "a list");
    if (v->u.list.count != n)
        return anx_error_set(r->err, ANX_ERR_FORMAT, "'%s' has %zu entries; the optimizer has %zu parameter groups",
                             key, v->u.list.count, n);
    out->items = allocate(r, n, sizeof *out->items);
    if (out->items == NULL) return arena_error(r);
    out->count = n;
    anx_status status = ANX_OK;
    for (size_t i = 0; i < n && status == ANX_OK; i++)
        status = read_number(v->u.list.items[i], key, false, &out->items[i], r->err);
    return status;
}

/* ---- milestones ----------------------------------------------------------------------------------------- */

static anx_status make_milestones(const reading *r, const char *key, size_t n, anx_saved_scheduler *s) {
    if (n > max_milestones) return too_many(r->err, key, n, max_milestones, "entries");
    s->milestones = allocate(r, n, sizeof *s->milestones);
    s->n_milestones = n;
    return s->milestones != NULL ? ANX_OK : arena_error(r);
}

/* The dict that a collections.Counter was made of; NULL: it is none. */
static const anx_pickle_value *counted(const anx_pickle_value *v) {
    if (v->kind != ANX_PICKLE_OBJECT || strcmp(v->u.object.class->name, "Counter") != 0) return NULL;
    const anx_pickle_value *args = v->u.object.args;
    return args->u.list.count == 1 && args->u.list.items[0]->kind == ANX_PICKLE_DICT ? args->u.list.items[0] : NULL;
}

static anx_status read_counter(const reading *r, const anx_pickle_value *v, const char *key, anx_saved_scheduler *s) {
    const anx_pickle_value *dict = counted(v);
    if (dict == NULL) return wrong_kind(r->err, key, v, "a collections.Counter");
    anx_status status = make_milestones(r, key, dict->u.dict.count, s);
    for (size_t i = 0; i < s->n_milestones && status == ANX_OK; i++) {
        status = read_integer(dict->u.dict.items[2 * i], key, &s->milestones[i].epoch, r->err);
        if (status == ANX_OK)
            status = read_integer(dict->u.dict.items[2 * i + 1], key, &s->milestones[i].count, r->err);
    }
    return status;
}

static anx_status read_milestones(const reading *r, const anx_pickle_value *v, const char *key,
                                  anx_saved_scheduler *s) {
    if (v->kind != ANX_PICKLE_LIST) return wrong_kind(r->err, key, v, "a list");
    anx_status status = make_milestones(r, key, v->u.list.count, s);
    for (size_t i = 0; i < s->n_milestones && status == ANX_OK; i++) {
        s->milestones[i].count = 1;
        status = read_integer(v->u.list.items[i], key, &s->milestones[i].epoch, r->err);
    }
    return status;
}

/* ---- dicts of known keys -------------------------------------------------------------------------------- */

static anx_status read_field(const reading *r, const anx_pickle_value *v, const anx_training_field *f, void *object) {
    void *at = (char *)object + f->offset;
    switch (f->type) {
    case ANX_FIELD_NUMBER:
    case ANX_FIELD_MAYBE_NUMBER: return read_number(v, f->key, f->type == ANX_FIELD_MAYBE_NUMBER, at, r->err);
    case ANX_FIELD_INTEGER: return read_integer(v, f->key, at, r->err);
    case ANX_FIELD_BOOLEAN:
        if (v->kind != ANX_PICKLE_BOOL) return wrong_kind(r->err, f->key, v, "a bool");
        *(bool *)at = v->u.boolean;
        return ANX_OK;
    case ANX_FIELD_FLAG: return read_flag(v, f->key, at, r->err);
    case ANX_FIELD_PER_GROUP: return read_per_group(r, v, f->key, at);
    case ANX_FIELD_COUNTER: return read_counter(r, v, f->key, object);
    case ANX_FIELD_MILESTONES: return read_milestones(r, v, f->key, object);
    case ANX_FIELD_CHOICE: return read_choice(v, f, at, r->err);
    default: return ANX_OK; /* read elsewhere, or not at all */
    }
}

static const anx_training_field *find_field(const anx_training_fields *fields, const anx_pickle_value *key) {
    for (size_t i = 0; i < fields->count; i++)
        if (anx_pickle_is_string(key, fields->fields[i].key)) return &fields->fields[i];
    return NULL;
}

/* Reads all fields of a dict; its keys are known to be among them. */
static anx_status read_fields(const reading *r, const anx_pickle_value *dict, const anx_training_fields *fields,
                              void *object) {
    anx_status status = ANX_OK;
    for (size_t i = 0; i < fields->count && status == ANX_OK; i++) {
        const anx_training_field *f = &fields->fields[i];
        const anx_pickle_value *v = anx_pickle_dict_find(dict, f->key);
        if (v != NULL)
            status = read_field(r, v, f, object);
        else if (!f->optional)
            status = anx_error_set(r->err, ANX_ERR_FORMAT, "'%s' is missing", f->key);
    }
    return status;
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

static anx_status add_ids(const reading *r, const anx_pickle_value *list, param_ids *ids) {
    if (list->kind != ANX_PICKLE_LIST) return wrong_kind(r->err, "params", list, "a list");
    const size_t n = list->u.list.count;
    if (n > max_params - ids->count) return too_many(r->err, "params", ids->count + n, max_params, "entries");
    if (n > ids->capacity - ids->count) {
        const size_t capacity = 2 * (ids->count + n);
        param_id *items = reallocarray(ids->items, capacity, sizeof *items);
        if (items == NULL) return out_of_memory(r->err);
        ids->items = items;
        ids->capacity = capacity;
    }
    for (size_t i = 0; i < n; i++) {
        int64_t id = 0;
        anx_status status = read_integer(list->u.list.items[i], "params", &id, r->err);
        if (status != ANX_OK) return status;
        ids->items[ids->count] = (param_id){id, ids->count};
        ids->count++;
    }
    return ANX_OK;
}

static anx_status sort_ids(const reading *r, param_ids *ids) {
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
static anx_status read_keys(const reading *r, const anx_pickle_value *dict, anx_saved_group *g) {
    const anx_training_fields *fields = anx_training_group_fields();
    if (dict->u.dict.count > max_keys) return too_many(r->err, "param_groups", dict->u.dict.count, max_keys, "keys");
    bool seen[ANX_GROUP_KEY_COUNT] = {false};
    for (size_t i = 0; i < dict->u.dict.count; i++) {
        const anx_training_field *f = find_field(fields, dict->u.dict.items[2 * i]);
        if (f == NULL)
            return anx_error_set(r->err, ANX_ERR_UNSUPPORTED,
                                 "has the key %s%s, which torch.optim.SGD has not; no other optimizer is supported",
                                 show(dict->u.dict.items[2 * i]).text, owner_of(dict->u.dict.items[2 * i]));
        const size_t key = (size_t)(f - fields->fields);
        if (!seen[key]) g->keys[g->n_keys++] = (anx_saved_group_key)key;
        seen[key] = true;
    }
    return ANX_OK;
}

static anx_status read_group(const reading *r, const anx_pickle_value *dict, anx_saved_group *g, param_ids *ids) {
    if (dict->kind != ANX_PICKLE_DICT)
        return anx_error_set(r->err, ANX_ERR_FORMAT, "it is %s; a dict was expected",
                             anx_pickle_kind_phrase(dict->kind));
    anx_status status = read_keys(r, dict, g);
    if (status == ANX_OK) status = read_fields(r, dict, anx_training_group_fields(), g);
    const size_t before = ids->count;
    if (status == ANX_OK) status = add_ids(r, anx_pickle_dict_find(dict, "params"), ids);
    g->n_params = ids->count - before;
    return status;
}

static anx_status read_groups(const reading *r, const anx_pickle_value *list, param_ids *ids) {
    anx_saved_optimizer *o = &r->state->optimizer;
    if (list == NULL) return anx_error_set(r->err, ANX_ERR_FORMAT, "optimizer: 'param_groups' is missing");
    anx_status status = ANX_OK;
    if (list->kind != ANX_PICKLE_LIST)
        status = wrong_kind(r->err, "param_groups", list, "a list");
    else if (list->u.list.count > max_groups)
        status = too_many(r->err, "param_groups", list->u.list.count, max_groups, "groups");
    if (status != ANX_OK) {
        anx_error_prefix(r->err, "optimizer: ");
        return status;
    }
    o->n_groups = list->u.list.count;
    o->groups = allocate(r, o->n_groups, sizeof *o->groups);
    if (o->groups == NULL) return arena_error(r);
    for (size_t i = 0; i < o->n_groups && status == ANX_OK; i++) {
        status = read_group(r, list->u.list.items[i], &o->groups[i], ids);
        if (status != ANX_OK) anx_error_prefix(r->err, "optimizer: param_groups[%zu]: ", i);
    }
    return status == ANX_OK ? sort_ids(r, ids) : status;
}

/* ---- optimizer: buffers --------------------------------------------------------------------------------- */

static anx_status read_buffer(const reading *r, const anx_pickle_value *of_param, anx_saved_buffer *out) {
    if (of_param->kind != ANX_PICKLE_DICT)
        return anx_error_set(r->err, ANX_ERR_FORMAT, "it is %s; a dict was expected",
                             anx_pickle_kind_phrase(of_param->kind));
    if (of_param->u.dict.count > max_keys)
        return too_many(r->err, "state", of_param->u.dict.count, max_keys, "keys for a parameter");
    for (size_t i = 0; i < of_param->u.dict.count; i++)
        if (!anx_pickle_is_string(of_param->u.dict.items[2 * i], "momentum_buffer"))
            return anx_error_set(r->err, ANX_ERR_UNSUPPORTED,
                                 "has the key %s, which torch.optim.SGD has not; no other optimizer is supported",
                                 show(of_param->u.dict.items[2 * i]).text);
    const anx_pickle_value *buffer = anx_pickle_dict_find(of_param, "momentum_buffer");
    if (buffer == NULL || buffer->kind == ANX_PICKLE_NONE) return ANX_OK;
    if (buffer->kind != ANX_PICKLE_TENSOR) return wrong_kind(r->err, "momentum_buffer", buffer, "a tensor or None");
    const anx_dtype dtype = buffer->u.tensor->storage->dtype;
    if (dtype != ANX_F32)
        return anx_error_set(r->err, ANX_ERR_FORMAT, "'momentum_buffer' is of %s; float32 was expected",
                             anx_dtype_name(dtype));
    *out = (anx_saved_buffer){true, anx_pickle_tensor_view(buffer->u.tensor)};
    return ANX_OK;
}

static anx_status read_buffers(const reading *r, const anx_pickle_value *state, const param_ids *ids) {
    anx_saved_optimizer *o = &r->state->optimizer;
    o->n_buffers = ids->count;
    o->buffers = allocate(r, ids->count, sizeof *o->buffers);
    if (o->buffers == NULL) return arena_error(r);
    if (state == NULL) return anx_error_set(r->err, ANX_ERR_FORMAT, "optimizer: 'state' is missing");
    if (state->kind != ANX_PICKLE_DICT) {
        wrong_kind(r->err, "state", state, "a dict");
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
                                 show(key).text);
        anx_status status = read_buffer(r, state->u.dict.items[2 * i + 1], &o->buffers[found->number]);
        if (status == ANX_OK) continue;
        anx_error_prefix(r->err, "optimizer: state[%lld]: ", (long long)key->u.integer);
        return status;
    }
    return ANX_OK;
}

static anx_status read_optimizer(const reading *r, const anx_pickle_value *dict) {
    if (dict->kind != ANX_PICKLE_DICT) return wrong_kind(r->err, "optimizer", dict, "a dict");
    param_ids ids = {.items = NULL};
    anx_status status = read_groups(r, anx_pickle_dict_find(dict, "param_groups"), &ids);
    if (status == ANX_OK) status = read_buffers(r, anx_pickle_dict_find(dict, "state"), &ids);
    free(ids.items);
    return status;
}

/* ---- scheduler ------------------------------------------------------------------------------------------ */

/* A dict does not say of what class it is the state; its keys do. */
static anx_saved_scheduler_kind recognise(const anx_pickle_value *dict) {
    for (int kind = ANX_SAVED_NO_SCHEDULER + 1; kind < ANX_SAVED_SCHEDULER_KIND_COUNT; kind++) {
        const char *const *signature = anx_training_scheduler_fields((anx_saved_scheduler_kind)kind)->signature;
        if (kind != ANX_SAVED_EXPONENTIAL_LR && anx_pickle_dict_find(dict, signature[0]) != NULL &&
            (signature[1] == NULL || anx_pickle_dict_find(dict, signature[1]) != NULL))
            return (anx_saved_scheduler_kind)kind;
    }
    return anx_pickle_dict_find(dict, "gamma") != NULL ? ANX_SAVED_EXPONENTIAL_LR : ANX_SAVED_NO_SCHEDULER;
}

static anx_status refuse_scheduler(const reading *r, const anx_pickle_value *dict, const anx_pickle_value *unknown,
                                   const char *nearest) {
    static const char known[] = "StepLR, MultiStepLR, ExponentialLR, CosineAnnealingLR, ConstantLR, LinearLR, "
                                "SequentialLR and ReduceLROnPlateau are known";
    if (unknown != NULL)
        return anx_error_set(r->err, ANX_ERR_UNSUPPORTED, "an unknown scheduler with the key %s, which %s has not; %s",
                             show(unknown).text, nearest, known);
    if (dict->u.dict.count == 0) return anx_error_set(r->err, ANX_ERR_FORMAT, "an empty dict; %s", known);
    return anx_error_set(r->err, ANX_ERR_UNSUPPORTED, "an unknown scheduler with the key %s; %s",
                         show(dict->u.dict.items[0]).text, known);
}

/* All but the schedulers inside. */
static anx_status read_scheduler(const reading *r, const anx_pickle_value *dict, anx_saved_scheduler *s) {
    if (dict->kind != ANX_PICKLE_DICT)
        return anx_error_set(r->err, ANX_ERR_FORMAT, "it is %s; a dict was expected",
                             anx_pickle_kind_phrase(dict->kind));
    if (dict->u.dict.count > max_keys)
        return anx_error_set(r->err, ANX_ERR_LIMIT, "%zu keys; at most %d are taken", dict->u.dict.count, max_keys);
    s->kind = recognise(dict);
    if (s->kind == ANX_SAVED_NO_SCHEDULER) return refuse_scheduler(r, dict, NULL, NULL);
    const char *name = anx_saved_scheduler_name(s->kind);
    const anx_training_fields *fields = anx_training_scheduler_fields(s->kind);
    for (size_t i = 0; i < dict->u.dict.count; i++)
        if (find_field(fields, dict->u.dict.items[2 * i]) == NULL)
            return refuse_scheduler(r, dict, dict->u.dict.items[2 * i], name);
    s->default_min_lr.kind = ANX_SAVED_NONE;
    anx_status status = read_fields(r, dict, fields, s);
    if (status != ANX_OK) anx_error_prefix(r->err, "%s: ", name);
    return status;
}

static anx_status read_inner(const reading *r, const anx_pickle_value *list, anx_saved_scheduler *s) {
    if (list->kind != ANX_PICKLE_LIST) return wrong_kind(r->err, "_schedulers", list, "a list");
    const size_t n = list->u.list.count;
    if (n > max_schedulers) return too_many(r->err, "_schedulers", n, max_schedulers, "entries");
    if (n != s->n_milestones + 1)
        return anx_error_set(r->err, ANX_ERR_FORMAT, "'_schedulers' has %zu entries; %zu milestones want %zu", n,
                             s->n_milestones, s->n_milestones + 1);
    s->schedulers = allocate(r, n, sizeof *s->schedulers);
    s->n_schedulers = n;
    if (s->schedulers == NULL) return arena_error(r);
    for (size_t i = 0; i < n; i++) {
        anx_saved_scheduler *inner = &s->schedulers[i];
        anx_status status = read_scheduler(r, list->u.list.items[i], inner);
        if (status == ANX_OK &&
            (inner->kind == ANX_SAVED_SEQUENTIAL_LR || inner->kind == ANX_SAVED_REDUCE_LR_ON_PLATEAU))
            status = anx_error_set(r->err, ANX_ERR_UNSUPPORTED, "%s inside a SequentialLR",
                                   anx_saved_scheduler_name(inner->kind));
        if (status == ANX_OK) continue;
        anx_error_prefix(r->err, "_schedulers[%zu]: ", i);
        return status;
    }
    return ANX_OK;
}

/* What 1.13's ReduceLROnPlateau has only after a step, as 2.15 makes it. */
static anx_status fill_last_lr(const reading *r, anx_saved_scheduler *s) {
    const anx_saved_optimizer *o = &r->state->optimizer;
    if (s->kind != ANX_SAVED_REDUCE_LR_ON_PLATEAU || s->last_lr.items != NULL) return ANX_OK;
    s->last_lr.items = allocate(r, o->n_groups, sizeof *s->last_lr.items);
    if (s->last_lr.items == NULL) return arena_error(r);
    for (size_t i = 0; i < o->n_groups; i++) s->last_lr.items[i] = o->groups[i].lr;
    s->last_lr.count = o->n_groups;
    return ANX_OK;
}

static anx_status read_schedulers(const reading *r, const anx_pickle_value *dict) {
    anx_saved_scheduler *s = &r->state->scheduler;
    anx_status status = read_scheduler(r, dict, s);
    if (status == ANX_OK && s->kind == ANX_SAVED_SEQUENTIAL_LR) {
        status = read_inner(r, anx_pickle_dict_find(dict, "_schedulers"), s);
        if (status != ANX_OK) anx_error_prefix(r->err, "SequentialLR: ");
    }
    if (status == ANX_OK) status = fill_last_lr(r, s);
    if (status != ANX_OK) anx_error_prefix(r->err, "lr_scheduler: ");
    return status;
}

/* ---- named values --------------------------------------------------------------------------------------- */

static bool is_c_string(const anx_pickle_value *v) {
    return v->kind == ANX_PICKLE_STRING && memchr(v->u.text.bytes, '\0', v->u.text.n_bytes) == NULL;
}

static anx_status read_value(const reading *r, const anx_pickle_value *v, anx_saved_value *out) {
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
    return out->u.text != NULL ? ANX_OK : arena_error(r);
}

/* A dict of names and values, as it is written from anx_saved_value. */
static anx_status read_values(const reading *r, const anx_pickle_value *dict, const char *what, anx_saved_value **out,
                              size_t *n) {
    if (dict->kind != ANX_PICKLE_DICT) return wrong_kind(r->err, what, dict, "a dict");
    if (dict->u.dict.count > max_values) return too_many(r->err, what, dict->u.dict.count, max_values, "entries");
    anx_saved_value *values = allocate(r, dict->u.dict.count, sizeof *values);
    if (values == NULL) return arena_error(r);
    for (size_t i = 0; i < dict->u.dict.count; i++) {
        const anx_pickle_value *key = dict->u.dict.items[2 * i];
        if (!is_c_string(key))
            return anx_error_set(r->err, ANX_ERR_FORMAT, "'%s' has the key %s; names were expected", what,
                                 show(key).text);
        values[i].name = anx_arena_text(&r->state->arena, key->u.text.bytes, key->u.text.n_bytes);
        if (values[i].name == NULL) return arena_error(r);
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
static anx_status mark_interned(const reading *r, const anx_pickle_value *root, const anx_pickle_value *args) {
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

static anx_status read_args(const reading *r, const anx_pickle_value *root) {
    const anx_pickle_value *v = anx_pickle_dict_find(root, "args");
    if (v == NULL || v->kind == ANX_PICKLE_NONE) return ANX_OK;
    if (v->kind != ANX_PICKLE_OBJECT || strcmp(v->u.object.class->name, "Namespace") != 0)
        return wrong_kind(r->err, "args", v, "an argparse.Namespace");
    r->state->has_args = true;
    if (v->u.object.state == NULL) return ANX_OK;
    anx_status status = read_values(r, v->u.object.state, "args", &r->state->args, &r->state->n_args);
    return status == ANX_OK ? mark_interned(r, root, v->u.object.state) : status;
}

/* ---- what is ours --------------------------------------------------------------------------------------- */

static anx_status read_rng_state(const reading *r, const anx_pickle_value *v) {
    if (v->kind != ANX_PICKLE_TENSOR) return wrong_kind(r->err, "rng_state", v, "a tensor");
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

static anx_status read_own_field(const reading *r, const char *key, const anx_pickle_value *v) {
    anx_training_state *s = r->state;
    if (strcmp(key, "rng_state") == 0) return read_rng_state(r, v);
    if (strcmp(key, "step") == 0) return read_integer(v, key, &s->step, r->err);
    if (strcmp(key, "order_seed") == 0) return read_integer(v, key, &s->order_seed, r->err);
    if (strcmp(key, "options") == 0) return read_values(r, v, key, &s->options, &s->n_options);
    int64_t version = 0;
    anx_status status = read_integer(v, key, &version, r->err);
    if (status == ANX_OK && version != 1)
        return anx_error_set(r->err, ANX_ERR_UNSUPPORTED, "version %lld; 1 is known", (long long)version);
    return status;
}

static anx_status read_own(const reading *r, const anx_pickle_value *dict) {
    static const char *const keys[] = {"version", "rng_state", "step", "order_seed", "options"};
    if (dict->kind != ANX_PICKLE_DICT) return wrong_kind(r->err, "anx", dict, "a dict");
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

static anx_status read_epoch(const reading *r, const anx_pickle_value *v) {
    if (v == NULL) return anx_error_set(r->err, ANX_ERR_FORMAT, "'epoch' is missing");
    anx_status status = read_integer(v, "epoch", &r->state->epoch, r->err);
    if (status == ANX_OK && (r->state->epoch < -1 || r->state->epoch > INT32_MAX))
        status = anx_error_set(r->err, ANX_ERR_FORMAT, "'epoch' is %lld", (long long)r->state->epoch);
    return status;
}

static anx_status list_ignored(const reading *r, const anx_pickle_value *root) {
    static const char *const known[] = {"model", "optimizer", "lr_scheduler", "epoch", "args", "anx"};
    anx_training_state *s = r->state;
    s->ignored = allocate(r, root->u.dict.count, sizeof *s->ignored);
    if (s->ignored == NULL) return arena_error(r);
    for (size_t i = 0; i < root->u.dict.count; i++) {
        const anx_pickle_value *key = root->u.dict.items[2 * i];
        bool is_known = false;
        for (size_t k = 0; k < sizeof known / sizeof known[0]; k++)
            is_known = is_known || anx_pickle_is_string(key, known[k]);
        if (is_known) continue;
        const shown name = show(key);
        const char *text = is_c_string(key) ? anx_arena_text(&s->arena, key->u.text.bytes, key->u.text.n_bytes)
                                            : anx_arena_text(&s->arena, name.text, strlen(name.text));
        if (text == NULL) return arena_error(r);
        s->ignored[s->n_ignored++] = text;
    }
    return ANX_OK;
}

static anx_status read_root(const reading *r, const anx_pickle_value *root) {
    const char *wrapped_in = r->checkpoint->wrapped_in;
    const anx_pickle_value *optimizer = root != NULL ? anx_pickle_dict_find(root, "optimizer") : NULL;
    if (optimizer == NULL || wrapped_in == NULL || strcmp(wrapped_in, "model") != 0)
        return anx_error_set(r->err, ANX_ERR_FORMAT,
                             "a checkpoint of a training was expected, a dict with 'model', 'optimizer', "
                             "'lr_scheduler' and 'epoch'; the file has no '%s'",
                             optimizer == NULL ? "optimizer" : "model");
    anx_status status = read_optimizer(r, optimizer);
    const anx_pickle_value *scheduler = anx_pickle_dict_find(root, "lr_scheduler");
    const anx_pickle_value *own = anx_pickle_dict_find(root, "anx");
    if (status == ANX_OK && scheduler != NULL) status = read_schedulers(r, scheduler);
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
    const reading r = {checkpoint, state, err};
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

/* ---- does it fit? --------------------------------------------------------------------------------------- */

static anx_status check_groups(const anx_saved_optimizer *o, const anx_training_expected *e, anx_error *err) {
    if (o->n_groups != e->n_groups)
        return anx_error_set(err, ANX_ERR_MISMATCH, "optimizer: %zu parameter groups; %zu were expected", o->n_groups,
                             e->n_groups);
    for (size_t i = 0; i < e->n_groups; i++)
        if (o->groups[i].n_params != e->group_sizes[i])
            return anx_error_set(err, ANX_ERR_MISMATCH,
                                 "optimizer: param_groups[%zu] has %zu parameters; %zu were "
                                 "expected",
                                 i, o->groups[i].n_params, e->group_sizes[i]);
    return ANX_OK;
}

anx_status anx_training_state_check(const anx_training_state *state, const anx_training_expected *expected,
                                    anx_error *err) {
    const anx_saved_optimizer *o = &state->optimizer;
    anx_status status = check_groups(o, expected, err);
    if (status != ANX_OK) return status;
    for (size_t i = 0; i < o->n_buffers; i++) {
        const anx_tensor *got = &o->buffers[i].tensor, *wanted = &expected->params[i];
        char a[200], b[200];
        if (o->buffers[i].present && !anx_tensor_same_shape(got, wanted))
            return anx_error_set(err, ANX_ERR_MISMATCH,
                                 "optimizer: the momentum_buffer of '%s' has shape %s; %s was expected",
                                 expected->names[i], anx_shape_format(got->rank, got->shape, a, sizeof a),
                                 anx_shape_format(wanted->rank, wanted->shape, b, sizeof b));
    }
    if (state->scheduler.kind != expected->scheduler)
        return anx_error_set(err, ANX_ERR_MISMATCH, "lr_scheduler: %s; %s was expected",
                             anx_saved_scheduler_name(state->scheduler.kind),
                             anx_saved_scheduler_name(expected->scheduler));
    return ANX_OK;
}
