/* The scheduler, which a dict does not name. */
#include "loaders/checkpoint/training_read_inside.h"

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

static anx_status refuse_scheduler(const anx_training_reading *r, const anx_pickle_value *dict,
                                   const anx_pickle_value *unknown, const char *nearest) {
    static const char known[] = "StepLR, MultiStepLR, ExponentialLR, CosineAnnealingLR, ConstantLR, LinearLR, "
                                "SequentialLR and ReduceLROnPlateau are known";
    if (unknown != NULL)
        return anx_error_set(r->err, ANX_ERR_UNSUPPORTED, "an unknown scheduler with the key %s, which %s has not; %s",
                             anx_training_show(unknown).text, nearest, known);
    if (dict->u.dict.count == 0) return anx_error_set(r->err, ANX_ERR_FORMAT, "an empty dict; %s", known);
    return anx_error_set(r->err, ANX_ERR_UNSUPPORTED, "an unknown scheduler with the key %s; %s",
                         anx_training_show(dict->u.dict.items[0]).text, known);
}

/* All but the schedulers inside. */
static anx_status read_scheduler(const anx_training_reading *r, const anx_pickle_value *dict, anx_saved_scheduler *s) {
    if (dict->kind != ANX_PICKLE_DICT)
        return anx_error_set(r->err, ANX_ERR_FORMAT, "it is %s; a dict was expected",
                             anx_pickle_kind_phrase(dict->kind));
    if (dict->u.dict.count > ANX_TRAINING_MAX_KEYS)
        return anx_error_set(r->err, ANX_ERR_LIMIT, "%zu keys; at most %d are taken", dict->u.dict.count,
                             ANX_TRAINING_MAX_KEYS);
    s->kind = recognise(dict);
    if (s->kind == ANX_SAVED_NO_SCHEDULER) return refuse_scheduler(r, dict, NULL, NULL);
    const char *name = anx_saved_scheduler_name(s->kind);
    const anx_training_fields *fields = anx_training_scheduler_fields(s->kind);
    for (size_t i = 0; i < dict->u.dict.count; i++)
        if (anx_training_find_field(fields, dict->u.dict.items[2 * i]) == NULL)
            return refuse_scheduler(r, dict, dict->u.dict.items[2 * i], name);
    s->default_min_lr.kind = ANX_SAVED_NONE;
    anx_status status = anx_training_read_fields(r, dict, fields, s);
    if (status != ANX_OK) anx_error_prefix(r->err, "%s: ", name);
    return status;
}

static anx_status read_inner(const anx_training_reading *r, const anx_pickle_value *list, anx_saved_scheduler *s) {
    if (list->kind != ANX_PICKLE_LIST) return anx_training_wrong_kind(r->err, "_schedulers", list, "a list");
    const size_t n = list->u.list.count;
    if (n > ANX_TRAINING_MAX_SCHEDULERS)
        return anx_training_too_many(r->err, "_schedulers", n, ANX_TRAINING_MAX_SCHEDULERS, "entries");
    if (n != s->n_milestones + 1)
        return anx_error_set(r->err, ANX_ERR_FORMAT, "'_schedulers' has %zu entries; %zu milestones want %zu", n,
                             s->n_milestones, s->n_milestones + 1);
    s->schedulers = anx_training_allocate(r, n, sizeof *s->schedulers);
    s->n_schedulers = n;
    if (s->schedulers == NULL) return anx_training_arena_error(r);
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
static anx_status fill_last_lr(const anx_training_reading *r, anx_saved_scheduler *s) {
    const anx_saved_optimizer *o = &r->state->optimizer;
    if (s->kind != ANX_SAVED_REDUCE_LR_ON_PLATEAU || s->last_lr.items != NULL) return ANX_OK;
    s->last_lr.items = anx_training_allocate(r, o->n_groups, sizeof *s->last_lr.items);
    if (s->last_lr.items == NULL) return anx_training_arena_error(r);
    for (size_t i = 0; i < o->n_groups; i++) s->last_lr.items[i] = o->groups[i].lr;
    s->last_lr.count = o->n_groups;
    return ANX_OK;
}

anx_status anx_training_read_schedulers(const anx_training_reading *r, const anx_pickle_value *dict) {
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
