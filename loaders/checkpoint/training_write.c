/* Writing: the objects of training_checkpoint.h as a tree of values, which pth_pickle.h pickles. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "loaders/checkpoint/pth_pickle.h"
#include "loaders/checkpoint/text.h"
#include "loaders/checkpoint/training_fields.h"

static const double largest_int = 9007199254740992.0; /* 2^53: up to there a double holds every int */

static anx_status out_of_memory(anx_error *err) {
    return anx_error_set(err, ANX_ERR_OUT_OF_MEMORY, "out of memory");
}

/* ---- is it sound? --------------------------------------------------------------------------------------- */

static bool is_sound_number(const anx_saved_number *n, bool maybe) {
    if (n->kind == ANX_SAVED_INT) return fabs(n->value) <= largest_int && n->value == floor(n->value);
    return n->kind == ANX_SAVED_FLOAT || maybe;
}

static anx_status check_numbers(const void *object, const anx_training_fields *fields, const char *what,
                                anx_error *err) {
    for (size_t i = 0; i < fields->count; i++) {
        const anx_training_field *f = &fields->fields[i];
        const void *at = (const char *)object + f->offset;
        bool sound = true;
        if (f->type == ANX_FIELD_NUMBER || f->type == ANX_FIELD_MAYBE_NUMBER)
            sound = is_sound_number(at, f->type == ANX_FIELD_MAYBE_NUMBER);
        const anx_saved_numbers *list = f->type == ANX_FIELD_PER_GROUP ? at : NULL;
        for (size_t k = 0; list != NULL && k < list->count; k++)
            sound = sound && is_sound_number(&list->items[k], false);
        if (!sound)
            return anx_error_set(err, ANX_ERR_INVALID_ARGUMENT, "%s: '%s' is not a float or an int of at most 2^53",
                                 what, f->key);
    }
    return ANX_OK;
}

static anx_status check_scheduler(const anx_saved_scheduler *s, bool inner, anx_error *err) {
    const char *name = anx_saved_scheduler_name(s->kind);
    const bool alone = s->kind == ANX_SAVED_SEQUENTIAL_LR || s->kind == ANX_SAVED_REDUCE_LR_ON_PLATEAU;
    if (inner && (alone || s->kind == ANX_SAVED_NO_SCHEDULER))
        return anx_error_set(err, ANX_ERR_INVALID_ARGUMENT, "%s inside a SequentialLR", name);
    if ((unsigned)s->kind >= ANX_SAVED_SCHEDULER_KIND_COUNT)
        return anx_error_set(err, ANX_ERR_INVALID_ARGUMENT, "a scheduler of an unknown kind, %d", (int)s->kind);
    if (s->kind == ANX_SAVED_SEQUENTIAL_LR && s->n_schedulers != s->n_milestones + 1)
        return anx_error_set(err, ANX_ERR_INVALID_ARGUMENT, "SequentialLR of %zu schedulers with %zu milestones",
                             s->n_schedulers, s->n_milestones);
    if (s->kind == ANX_SAVED_NO_SCHEDULER) return ANX_OK;
    return check_numbers(s, anx_training_scheduler_fields(s->kind), name, err);
}

static anx_status check_values(const anx_saved_value *values, size_t n, anx_error *err) {
    for (size_t i = 0; i < n; i++) {
        const anx_saved_value *v = &values[i];
        char text[100];
        const bool is_text = v->kind == ANX_SAVED_VALUE_TEXT;
        if (v->kind < ANX_SAVED_VALUE_OTHER && anx_utf8_valid(v->name, strlen(v->name)) &&
            (!is_text || anx_utf8_valid(v->u.text, strlen(v->u.text))))
            continue;
        return anx_error_set(err, ANX_ERR_INVALID_ARGUMENT,
                             "the value of '%s' cannot be written: UTF-8 text, numbers, bools and None can",
                             anx_text_printable(v->name, strlen(v->name), text, sizeof text));
    }
    return ANX_OK;
}

static anx_status check_state(const anx_training_state *state, anx_error *err) {
    const anx_saved_optimizer *o = &state->optimizer;
    size_t n_params = 0;
    anx_status status = ANX_OK;
    for (size_t i = 0; i < o->n_groups && status == ANX_OK; i++) {
        n_params += o->groups[i].n_params;
        status = check_numbers(&o->groups[i], anx_training_group_fields(), "a group of the optimizer", err);
    }
    if (status == ANX_OK && n_params != o->n_buffers)
        status = anx_error_set(err, ANX_ERR_INVALID_ARGUMENT, "%zu parameters in the optimizer's groups, %zu buffers",
                               n_params, o->n_buffers);
    if (status == ANX_OK) status = check_scheduler(&state->scheduler, false, err);
    for (size_t i = 0; i < state->scheduler.n_schedulers && status == ANX_OK; i++)
        status = check_scheduler(&state->scheduler.schedulers[i], true, err);
    if (status == ANX_OK && state->has_args) status = check_values(state->args, state->n_args, err);
    if (status == ANX_OK && state->has_own) status = check_values(state->options, state->n_options, err);
    return status;
}

/* ---- fields --------------------------------------------------------------------------------------------- */

static anx_pickle_value *put_number(anx_pickle_tree *tree, const anx_saved_number *n) {
    if (n->kind == ANX_SAVED_NONE) return anx_pickle_tree_none(tree);
    return n->kind == ANX_SAVED_INT ? anx_pickle_tree_int(tree, (int64_t)n->value)
                                    : anx_pickle_tree_float(tree, n->value);
}

static anx_pickle_value *put_numbers(anx_pickle_tree *tree, const anx_saved_numbers *numbers) {
    anx_pickle_value *list = anx_pickle_tree_list(tree);
    for (size_t i = 0; i < numbers->count; i++)
        anx_pickle_tree_append(tree, list, put_number(tree, &numbers->items[i]));
    return list;
}

static anx_pickle_value *put_flag(anx_pickle_tree *tree, anx_saved_flag flag) {
    return flag == ANX_SAVED_FLAG_NONE ? anx_pickle_tree_none(tree)
                                       : anx_pickle_tree_bool(tree, flag == ANX_SAVED_FLAG_TRUE);
}

/* Counter({epoch: count, ...}) */
static anx_pickle_value *put_counter(anx_pickle_tree *tree, const anx_saved_scheduler *s) {
    anx_pickle_value *dict = anx_pickle_tree_dict(tree, false);
    for (size_t i = 0; i < s->n_milestones; i++)
        anx_pickle_tree_set(tree, dict, anx_pickle_tree_int(tree, s->milestones[i].epoch),
                            anx_pickle_tree_int(tree, s->milestones[i].count));
    return anx_pickle_tree_object(tree, "collections", "Counter", dict, NULL);
}

static anx_pickle_value *put_milestones(anx_pickle_tree *tree, const anx_saved_scheduler *s) {
    anx_pickle_value *list = anx_pickle_tree_list(tree);
    for (size_t i = 0; i < s->n_milestones; i++)
        anx_pickle_tree_append(tree, list, anx_pickle_tree_int(tree, s->milestones[i].epoch));
    return list;
}

/* A field that is kept where its offset says, and is like no other. */
static anx_pickle_value *put_field(anx_pickle_tree *tree, const anx_training_field *f, const void *object) {
    const void *at = (const char *)object + f->offset;
    switch (f->type) {
    case ANX_FIELD_NUMBER:
    case ANX_FIELD_MAYBE_NUMBER: return put_number(tree, at);
    case ANX_FIELD_INTEGER: return anx_pickle_tree_int(tree, *(const int64_t *)at);
    case ANX_FIELD_BOOLEAN: return anx_pickle_tree_bool(tree, *(const bool *)at);
    case ANX_FIELD_FLAG: return put_flag(tree, *(const anx_saved_flag *)at);
    case ANX_FIELD_PER_GROUP: return put_numbers(tree, at);
    case ANX_FIELD_COUNTER: return put_counter(tree, object);
    case ANX_FIELD_MILESTONES: return put_milestones(tree, object);
    case ANX_FIELD_CHOICE: return anx_pickle_tree_name(tree, f->choices[*(const bool *)at]);
    case ANX_FIELD_WORSE:
        return anx_pickle_tree_float(tree, ((const anx_saved_scheduler *)object)->mode_max ? -INFINITY : INFINITY);
    default: return NULL;
    }
}

/* ---- optimizer and scheduler ---------------------------------------------------------------------------- */

/* leaf: the layout's number of the first buffer that is present. */
static anx_pickle_value *put_optimizer_state(anx_pickle_tree *tree, const anx_saved_optimizer *o, size_t leaf) {
    anx_pickle_value *state = anx_pickle_tree_dict(tree, false);
    for (size_t i = 0; i < o->n_buffers; i++) {
        if (!o->buffers[i].present) continue;
        anx_pickle_value *of_param = anx_pickle_tree_dict(tree, false);
        anx_pickle_tree_set_name(tree, of_param, "momentum_buffer", anx_pickle_tree_leaf(tree, leaf++));
        anx_pickle_tree_set(tree, state, anx_pickle_tree_int(tree, (int64_t)i), of_param);
    }
    return state;
}

static anx_pickle_value *put_group(anx_pickle_tree *tree, const anx_saved_group *g, size_t first_param) {
    const anx_training_field *fields = anx_training_group_fields()->fields;
    anx_pickle_value *dict = anx_pickle_tree_dict(tree, false);
    for (size_t i = 0; i < g->n_keys; i++) {
        const anx_training_field *f = &fields[g->keys[i]];
        anx_pickle_value *value = f->type != ANX_FIELD_PARAMS ? put_field(tree, f, g) : anx_pickle_tree_list(tree);
        for (size_t k = 0; f->type == ANX_FIELD_PARAMS && k < g->n_params; k++)
            anx_pickle_tree_append(tree, value, anx_pickle_tree_int(tree, (int64_t)(first_param + k)));
        anx_pickle_tree_set_name(tree, dict, f->key, value);
    }
    return dict;
}

static anx_pickle_value *put_optimizer(anx_pickle_tree *tree, const anx_saved_optimizer *o, size_t leaf) {
    anx_pickle_value *dict = anx_pickle_tree_dict(tree, false), *groups = anx_pickle_tree_list(tree);
    size_t first_param = 0;
    for (size_t i = 0; i < o->n_groups; first_param += o->groups[i++].n_params)
        anx_pickle_tree_append(tree, groups, put_group(tree, &o->groups[i], first_param));
    anx_pickle_tree_set_name(tree, dict, "state", put_optimizer_state(tree, o, leaf));
    anx_pickle_tree_set_name(tree, dict, "param_groups", groups);
    return dict;
}

/* One that has none inside. */
static anx_pickle_value *put_simple_scheduler(anx_pickle_tree *tree, const anx_saved_scheduler *s) {
    const anx_training_fields *fields = anx_training_scheduler_fields(s->kind);
    anx_pickle_value *dict = anx_pickle_tree_dict(tree, false);
    for (size_t i = 0; i < fields->count; i++)
        if (fields->fields[i].type != ANX_FIELD_OF_OLD)
            anx_pickle_tree_set_name(tree, dict, fields->fields[i].key, put_field(tree, &fields->fields[i], s));
    return dict;
}

/* Which of a SequentialLR's schedulers is in use: bisect_right(milestones, last_epoch). */
static size_t scheduler_in_use(const anx_saved_scheduler *s) {
    size_t i = 0;
    while (i < s->n_milestones && s->milestones[i].epoch <= s->last_epoch) i++;
    return i;
}

static anx_pickle_value *put_sequential(anx_pickle_tree *tree, const anx_saved_scheduler *s) {
    const anx_training_fields *fields = anx_training_scheduler_fields(s->kind);
    anx_pickle_value *dict = anx_pickle_tree_dict(tree, false), *inside = anx_pickle_tree_list(tree);
    for (size_t i = 0; i < s->n_schedulers; i++)
        anx_pickle_tree_append(tree, inside, put_simple_scheduler(tree, &s->schedulers[i]));
    if (tree->failed) return dict;
    for (size_t i = 0; i < fields->count; i++) {
        const anx_training_field *f = &fields->fields[i];
        anx_pickle_value *value = f->type == ANX_FIELD_SCHEDULERS ? inside : NULL;
        /* get_last_lr() hands out the scheduler's own list: one object under two names. */
        if (f->type == ANX_FIELD_LR_IN_USE)
            value = anx_pickle_dict_find(inside->u.list.items[scheduler_in_use(s)], f->key);
        anx_pickle_tree_set_name(tree, dict, f->key, value != NULL ? value : put_field(tree, f, s));
    }
    return dict;
}

/* ---- the whole ------------------------------------------------------------------------------------------ */

static anx_pickle_value *put_values(anx_pickle_tree *tree, const anx_saved_value *values, size_t n) {
    anx_pickle_value *dict = anx_pickle_tree_dict(tree, false);
    for (size_t i = 0; i < n; i++) {
        const anx_saved_value *v = &values[i];
        anx_pickle_value *value;
        switch (v->kind) {
        case ANX_SAVED_VALUE_BOOL: value = anx_pickle_tree_bool(tree, v->u.boolean); break;
        case ANX_SAVED_VALUE_INT: value = anx_pickle_tree_int(tree, v->u.integer); break;
        case ANX_SAVED_VALUE_FLOAT: value = anx_pickle_tree_float(tree, v->u.real); break;
        case ANX_SAVED_VALUE_TEXT:
            value = v->interned ? anx_pickle_tree_name(tree, v->u.text) : anx_pickle_tree_text(tree, v->u.text);
            break;
        default: value = anx_pickle_tree_none(tree); break;
        }
        anx_pickle_tree_set_name(tree, dict, v->name, value);
    }
    return dict;
}

/* An attribute is set with its name interned; without attributes there is no state. */
static anx_pickle_value *put_args(anx_pickle_tree *tree, const anx_training_state *state) {
    anx_pickle_value *attributes = state->n_args > 0 ? put_values(tree, state->args, state->n_args) : NULL;
    return anx_pickle_tree_object(tree, "argparse", "Namespace", NULL, attributes);
}

static anx_pickle_value *put_own(anx_pickle_tree *tree, const anx_training_state *state, size_t leaf) {
    anx_pickle_value *dict = anx_pickle_tree_dict(tree, false);
    anx_pickle_tree_set_name(tree, dict, "version", anx_pickle_tree_int(tree, 1));
    anx_pickle_tree_set_name(tree, dict, "rng_state", anx_pickle_tree_leaf(tree, leaf));
    anx_pickle_tree_set_name(tree, dict, "step", anx_pickle_tree_int(tree, state->step));
    anx_pickle_tree_set_name(tree, dict, "order_seed", anx_pickle_tree_int(tree, state->order_seed));
    anx_pickle_tree_set_name(tree, dict, "options", put_values(tree, state->options, state->n_options));
    return dict;
}

/* The tensors of the layout: the model's, the buffers, the generator's state. */
static anx_pickle_value *put_root(anx_pickle_tree *tree, const anx_training_state *state, size_t n_model,
                                  size_t n_buffers) {
    const anx_saved_scheduler *s = &state->scheduler;
    anx_pickle_value *root = anx_pickle_tree_dict(tree, false);
    anx_pickle_tree_set_name(tree, root, "model", anx_pickle_tree_leaf(tree, anx_pth_state_dict_leaf));
    anx_pickle_tree_set_name(tree, root, "optimizer", put_optimizer(tree, &state->optimizer, n_model));
    if (s->kind != ANX_SAVED_NO_SCHEDULER)
        anx_pickle_tree_set_name(tree, root, "lr_scheduler",
                                 s->kind == ANX_SAVED_SEQUENTIAL_LR ? put_sequential(tree, s)
                                                                    : put_simple_scheduler(tree, s));
    anx_pickle_tree_set_name(tree, root, "epoch", anx_pickle_tree_int(tree, state->epoch));
    if (state->has_args) anx_pickle_tree_set_name(tree, root, "args", put_args(tree, state));
    if (state->has_own) anx_pickle_tree_set_name(tree, root, "anx", put_own(tree, state, n_model + n_buffers));
    return root;
}

/* All tensors, with borrowed names, for the layout. */
static anx_status list_tensors(const anx_state_dict *model, const anx_training_state *state, anx_named_tensor **out,
                               size_t *n_buffers, size_t *n_tensors, anx_error *err) {
    static char buffer_name[] = "momentum_buffer", rng_name[] = "rng_state";
    const anx_saved_optimizer *o = &state->optimizer;
    const int64_t rng_bytes = ANX_RNG_STATE_BYTES;
    size_t n = model->count;
    anx_named_tensor *items = calloc(model->count + o->n_buffers + 1, sizeof *items);
    if (items == NULL) return out_of_memory(err);
    if (n > 0) memcpy(items, model->items, n * sizeof *items);
    for (size_t i = 0; i < o->n_buffers; i++)
        if (o->buffers[i].present) items[n++] = (anx_named_tensor){buffer_name, o->buffers[i].tensor};
    *n_buffers = n - model->count;
    if (state->has_own)
        items[n++] = (anx_named_tensor){rng_name, anx_tensor_view(ANX_U8, 1, &rng_bytes, state->rng_state)};
    *out = items;
    *n_tensors = n;
    return ANX_OK;
}

anx_status anx_training_checkpoint_write(const char *path, const anx_state_dict *model, const anx_training_state *state,
                                         const anx_pth_options *options, anx_error *err) {
    static const anx_pth_options defaults = {.folder = NULL};
    if (options == NULL) options = &defaults;
    anx_pickle_tree tree = ANX_PICKLE_TREE_INIT;
    anx_pth_pickling pickling = {
        .n_tensors = model->count, .modules = options->modules, .n_modules = options->n_modules, .tree = &tree};
    anx_pth_layout layout = {.storages = NULL};
    anx_named_tensor *items = NULL;
    size_t n_buffers = 0, n_tensors = 0;
    anx_status status = check_state(state, err);
    if (status == ANX_OK) status = list_tensors(model, state, &items, &n_buffers, &n_tensors, err);
    if (status == ANX_OK) status = anx_pth_layout_by_memory(items, n_tensors, options->source != NULL, &layout, err);
    if (status == ANX_OK) {
        pickling.root = put_root(&tree, state, model->count, n_buffers);
        status = tree.failed ? out_of_memory(err) : anx_pth_write_pickling(path, &layout, &pickling, options, err);
    }
    if (status != ANX_OK) anx_error_in_file(err, path);
    anx_pth_layout_fini(&layout);
    anx_pickle_tree_fini(&tree);
    free(items);
    return status;
}
