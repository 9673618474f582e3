#include "loaders/checkpoint/training_bridge.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* ---- numbers -------------------------------------------------------------------------------------------- */

static anx_saved_number real(double value) {
    return (anx_saved_number){.value = value};
}

/* Where Python's default is the int 0 and anything given is a float. */
static anx_saved_number zero_or_real(double value) {
    return (anx_saved_number){.value = value, .kind = value == 0.0 ? ANX_SAVED_INT : ANX_SAVED_FLOAT};
}

static anx_status out_of_memory(anx_error *err) {
    return anx_error_set(err, ANX_ERR_OUT_OF_MEMORY, "out of memory for a training's state");
}

/* ---- schedulers, to a checkpoint ------------------------------------------------------------------------ */

static const struct {
    anx_scheduler_kind live;
    anx_saved_scheduler_kind saved;
} kinds[] = {
    {ANX_STEP_LR, ANX_SAVED_STEP_LR},
    {ANX_MULTI_STEP_LR, ANX_SAVED_MULTI_STEP_LR},
    {ANX_EXPONENTIAL_LR, ANX_SAVED_EXPONENTIAL_LR},
    {ANX_COSINE_ANNEALING_LR, ANX_SAVED_COSINE_ANNEALING_LR},
    {ANX_LINEAR_LR, ANX_SAVED_LINEAR_LR},
    {ANX_CONSTANT_LR, ANX_SAVED_CONSTANT_LR},
    {ANX_REDUCE_LR_ON_PLATEAU, ANX_SAVED_REDUCE_LR_ON_PLATEAU},
    {ANX_SEQUENTIAL_LR, ANX_SAVED_SEQUENTIAL_LR},
};

static anx_saved_scheduler_kind saved_kind(anx_scheduler_kind kind) {
    for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++)
        if (kinds[i].live == kind) return kinds[i].saved;
    return ANX_SAVED_NO_SCHEDULER;
}

static bool save_numbers(anx_arena *arena, const double *values, int n, bool zeros_are_ints, anx_saved_numbers *out) {
    out->items = anx_arena_alloc(arena, (size_t)n, sizeof *out->items);
    if (out->items == NULL) return false;
    out->count = (size_t)n;
    for (int i = 0; i < n; i++) out->items[i] = zeros_are_ints ? zero_or_real(values[i]) : real(values[i]);
    return true;
}

/* collections.Counter(milestones): each once, where it stood first, with how often it was given. */
static bool save_milestones(anx_arena *arena, const anx_scheduler_options *o, anx_saved_scheduler *out) {
    out->milestones = anx_arena_alloc(arena, (size_t)o->n_milestones, sizeof *out->milestones);
    if (out->milestones == NULL) return false;
    for (int i = 0; i < o->n_milestones; i++) {
        size_t at = 0;
        while (at < out->n_milestones && out->milestones[at].epoch != o->milestones[i]) at++;
        if (at == out->n_milestones)
            out->milestones[out->n_milestones++] = (anx_saved_milestone){.epoch = o->milestones[i]};
        out->milestones[at].count++;
    }
    return true;
}

/* One that holds no others. */
static bool save_simple(anx_arena *arena, const anx_scheduler *s, anx_saved_scheduler *out) {
    const anx_scheduler_options *o = &s->options;
    *out = (anx_saved_scheduler){.kind = saved_kind(o->kind),
                                 .last_epoch = s->last_epoch,
                                 .step_count = s->step_count,
                                 .step_size = o->step_size,
                                 .gamma = real(o->gamma),
                                 .t_max = {.value = (double)o->t_max, .kind = ANX_SAVED_INT},
                                 .eta_min = real(o->eta_min),
                                 .factor = real(o->factor),
                                 .start_factor = real(o->factor),
                                 .end_factor = real(o->end_factor),
                                 .total_iters = o->total_iters,
                                 .default_min_lr = zero_or_real(o->min_lr),
                                 .eps = real(o->eps),
                                 .threshold = real(o->threshold),
                                 .best = real(s->best),
                                 .mode_max = o->maximize,
                                 .threshold_abs = o->absolute_threshold,
                                 .patience = o->patience,
                                 .cooldown = o->cooldown,
                                 .cooldown_counter = s->cooldown_counter,
                                 .num_bad_epochs = s->num_bad_epochs};
    bool good = save_numbers(arena, s->last_lr, s->n_groups, false, &out->last_lr);
    if (s->base_lrs != NULL) good = good && save_numbers(arena, s->base_lrs, s->n_groups, false, &out->base_lrs);
    if (s->min_lrs != NULL) good = good && save_numbers(arena, s->min_lrs, s->n_groups, true, &out->min_lrs);
    return good && (o->kind != ANX_MULTI_STEP_LR || save_milestones(arena, o, out));
}

static bool save_scheduler(anx_arena *arena, const anx_scheduler *s, anx_saved_scheduler *out) {
    *out = (anx_saved_scheduler){.kind = ANX_SAVED_NO_SCHEDULER};
    if (s == NULL) return true;
    if (s->options.kind != ANX_SEQUENTIAL_LR) return save_simple(arena, s, out);
    out->kind = ANX_SAVED_SEQUENTIAL_LR;
    out->last_epoch = s->last_epoch;
    out->milestones = anx_arena_alloc(arena, 1, sizeof *out->milestones);
    out->schedulers = anx_arena_alloc(arena, 2, sizeof *out->schedulers);
    if (out->milestones == NULL || out->schedulers == NULL) return false;
    out->milestones[0] = (anx_saved_milestone){.epoch = s->options.total_iters, .count = 1};
    out->n_milestones = 1;
    out->n_schedulers = 2;
    return save_simple(arena, &s->schedulers[0], &out->schedulers[0]) &&
           save_simple(arena, &s->schedulers[1], &out->schedulers[1]);
}

/* The trainer's tensor, which stays its own. */
static anx_tensor view_of(const anx_tensor *t) {
    anx_tensor view = *t;
    view.owned = NULL;
    return view;
}

/* ---- the rest, to a checkpoint -------------------------------------------------------------------------- */

/* The rates before any scheduler; NULL: the groups have no initial_lr. */
static const double *initial_lrs(const anx_scheduler *s) {
    if (s == NULL) return NULL;
    return s->schedulers != NULL ? s->schedulers[0].base_lrs : s->base_lrs;
}

static void save_group(const anx_sgd_options *o, bool lr_given, const double *initial_lr, anx_saved_group *out) {
    static const anx_saved_group_key given[] = {ANX_GROUP_LR, ANX_GROUP_WEIGHT_DECAY};
    const size_t first = lr_given ? 0 : 1; /* train.py gives weight_decay alone */
    *out = anx_saved_group_make(given + first, 2 - first, initial_lr != NULL);
    out->lr = real(o->lr);
    out->momentum = real(o->momentum);
    out->dampening = zero_or_real(o->dampening);
    out->weight_decay = real(o->weight_decay);
    out->nesterov = o->nesterov;
    out->maximize = o->maximize;
    if (initial_lr != NULL) out->initial_lr = real(*initial_lr);
}

/* The parameters by their number; the list is malloc'd. */
static int *number_params(const anx_training_live *live, size_t *n) {
    int *params = calloc((size_t)live->graph->n_params + 1, sizeof *params);
    *n = 0;
    for (int g = 0; params != NULL && g < live->n_groups; g++)
        for (int i = 0; i < live->graph->n_params; i++)
            if (live->group_of_param[i] == g) params[(*n)++] = i;
    return params;
}

static bool save_optimizer(const anx_training_live *live, bool lr_given, anx_arena *arena, anx_saved_optimizer *out) {
    const anx_sgd_options *groups = anx_trainer_groups(live->trainer);
    const double *initial = initial_lrs(live->scheduler);
    size_t n;
    int *params = number_params(live, &n);
    *out = (anx_saved_optimizer){
        .groups = anx_arena_alloc(arena, (size_t)live->n_groups, sizeof *out->groups),
        .n_groups = (size_t)live->n_groups,
        .buffers = anx_arena_alloc(arena, n, sizeof *out->buffers),
        .n_buffers = n,
    };
    const bool good = params != NULL && out->groups != NULL && out->buffers != NULL;
    for (int g = 0; good && g < live->n_groups; g++)
        save_group(&groups[g], lr_given, initial != NULL ? &initial[g] : NULL, &out->groups[g]);
    for (size_t i = 0; good && i < n; i++) {
        const anx_tensor *momentum = anx_trainer_momentum(live->trainer, params[i]);
        out->groups[live->group_of_param[params[i]]].n_params++;
        if (momentum != NULL) out->buffers[i] = (anx_saved_buffer){.present = true, .tensor = view_of(momentum)};
    }
    free(params);
    return good;
}

anx_status anx_training_live_save(const anx_training_live *live, bool group_lr_given, anx_training_state *out,
                                  anx_error *err) {
    const anx_status status = anx_trainer_fetch(live->trainer, err);
    if (status != ANX_OK) return status;
    if (!save_optimizer(live, group_lr_given, &out->arena, &out->optimizer) ||
        !save_scheduler(&out->arena, live->scheduler, &out->scheduler))
        return out_of_memory(err);
    out->has_own = true;
    anx_mt19937_write_state(live->gen, out->rng_state);
    return ANX_OK;
}

anx_status anx_training_live_model(const anx_training_live *live, anx_state_dict *out, anx_error *err) {
    const anx_tensor *params = anx_trainer_params(live->trainer);
    anx_status status = anx_trainer_fetch(live->trainer, err);
    for (int i = 0; i < live->graph->n_params && status == ANX_OK; i++) {
        const anx_tensor view = view_of(&params[i]);
        status = anx_state_dict_add(out, live->graph->params[i].name, &view, err);
    }
    return status;
}

/* ---- schedulers, from a checkpoint ---------------------------------------------------------------------- */

static bool load_numbers(anx_arena *arena, const anx_saved_numbers *in, double **out) {
    *out = anx_arena_alloc(arena, in->count, sizeof **out);
    for (size_t i = 0; *out != NULL && i < in->count; i++) (*out)[i] = in->items[i].value;
    return *out != NULL;
}

static bool load_milestones(anx_arena *arena, const anx_saved_scheduler *in, anx_scheduler_options *out) {
    int64_t n = 0;
    for (size_t i = 0; i < in->n_milestones; i++) {
        if (in->milestones[i].count < 0 || in->milestones[i].count > INT32_MAX - n) return false;
        n += in->milestones[i].count;
    }
    out->milestones = anx_arena_alloc(arena, (size_t)n, sizeof *out->milestones);
    if (out->milestones == NULL) return false;
    for (size_t i = 0; i < in->n_milestones; i++)
        for (int64_t k = 0; k < in->milestones[i].count; k++)
            out->milestones[out->n_milestones++] = in->milestones[i].epoch;
    return true;
}

static anx_status load_simple(anx_arena *arena, const anx_saved_scheduler *in, anx_scheduler_kind kind,
                              anx_scheduler *out, anx_error *err) {
    if (in->kind != saved_kind(kind))
        return anx_error_set(err, ANX_ERR_MISMATCH, "the checkpoint's scheduler is %s, the training's is %s",
                             anx_saved_scheduler_name(in->kind), anx_scheduler_class(kind));
    const bool plateau = kind == ANX_REDUCE_LR_ON_PLATEAU;
    const double t_max = in->t_max.value;
    if (kind == ANX_COSINE_ANNEALING_LR && (t_max != floor(t_max) || fabs(t_max) > 0x1p53))
        return anx_error_set(err, ANX_ERR_MISMATCH, "the checkpoint's T_max is %g; whole epochs are taken", t_max);
    *out = (anx_scheduler){
        .options = {.kind = kind,
                    .gamma = in->gamma.value,
                    .step_size = in->step_size,
                    .t_max = kind == ANX_COSINE_ANNEALING_LR ? (int64_t)t_max : 0,
                    .eta_min = in->eta_min.value,
                    .factor = kind == ANX_LINEAR_LR ? in->start_factor.value : in->factor.value,
                    .end_factor = in->end_factor.value,
                    .total_iters = in->total_iters,
                    .maximize = in->mode_max,
                    .absolute_threshold = in->threshold_abs,
                    .threshold = in->threshold.value,
                    .eps = in->eps.value,
                    .min_lr = in->default_min_lr.kind != ANX_SAVED_NONE ? in->default_min_lr.value : 0.0,
                    .patience = in->patience,
                    .cooldown = in->cooldown},
        .n_groups = (int)in->last_lr.count,
        .last_epoch = in->last_epoch,
        .step_count = in->step_count,
        .best = in->best.value,
        .cooldown_counter = in->cooldown_counter,
        .num_bad_epochs = in->num_bad_epochs,
    };
    if ((plateau ? in->min_lrs.count : in->base_lrs.count) != in->last_lr.count)
        return anx_error_set(err, ANX_ERR_MISMATCH, "the checkpoint's %s has rates of %zu groups and %s of %zu",
                             anx_saved_scheduler_name(in->kind), in->last_lr.count, plateau ? "min_lrs" : "base_lrs",
                             plateau ? in->min_lrs.count : in->base_lrs.count);
    const bool good = load_numbers(arena, &in->last_lr, &out->last_lr) &&
                      (plateau ? load_numbers(arena, &in->min_lrs, &out->min_lrs)
                               : load_numbers(arena, &in->base_lrs, &out->base_lrs)) &&
                      (kind != ANX_MULTI_STEP_LR || load_milestones(arena, in, &out->options));
    return good ? ANX_OK : out_of_memory(err);
}

/* A scheduler's state in the arena's memory, of the kind that the training has. */
static anx_status load_scheduler(anx_arena *arena, const anx_saved_scheduler *in, const anx_scheduler *live,
                                 anx_scheduler *out, anx_error *err) {
    if (live->options.kind != ANX_SEQUENTIAL_LR) return load_simple(arena, in, live->options.kind, out, err);
    if (in->kind != ANX_SAVED_SEQUENTIAL_LR)
        return anx_error_set(err, ANX_ERR_MISMATCH, "the checkpoint's scheduler is %s, the training's has a warm-up",
                             anx_saved_scheduler_name(in->kind));
    if (in->n_schedulers != 2 || in->n_milestones != 1)
        return anx_error_set(
            err, ANX_ERR_MISMATCH,
            "the checkpoint's SequentialLR is made of %zu schedulers; a warm-up and one more are taken",
            in->n_schedulers);
    *out = (anx_scheduler){.options = {.kind = ANX_SEQUENTIAL_LR, .total_iters = in->milestones[0].epoch},
                           .n_groups = live->n_groups,
                           .last_epoch = in->last_epoch,
                           .schedulers = anx_arena_alloc(arena, 2, sizeof *out->schedulers)};
    if (out->schedulers == NULL) return out_of_memory(err);
    for (int i = 0; i < 2; i++) {
        const anx_status status =
            load_simple(arena, &in->schedulers[i], live->schedulers[i].options.kind, &out->schedulers[i], err);
        if (status != ANX_OK) return status;
    }
    /* The rates that the optimizer has are those of the one in use. */
    out->last_lr = out->schedulers[in->last_epoch >= out->options.total_iters].last_lr;
    return ANX_OK;
}

/* ---- the rest, from a checkpoint ------------------------------------------------------------------------ */

/* Whether the model's tensors are the graph's. */
static anx_status check_model(const anx_graph *graph, const anx_state_dict *model, anx_error *err) {
    for (int i = 0; i < graph->n_params; i++) {
        const anx_param *p = &graph->params[i];
        const anx_tensor *t = anx_state_dict_find(model, p->name);
        if (t == NULL) return anx_error_set(err, ANX_ERR_MISMATCH, "the checkpoint's model has no %s", p->name);
        const anx_tensor expected = anx_tensor_view(ANX_F32, p->rank, p->shape, NULL);
        if (t->dtype != ANX_F32 || !anx_tensor_same_shape(t, &expected) || !anx_tensor_is_contiguous(t))
            return anx_error_set(err, ANX_ERR_MISMATCH,
                                 "the checkpoint's %s is not the training's: float32 of the same shape is expected",
                                 p->name);
    }
    return ANX_OK;
}

static anx_status check_optimizer(const anx_training_live *live, const anx_training_state *state, const int *params,
                                  size_t n, anx_error *err) {
    anx_status status = ANX_OK;
    size_t *sizes = calloc((size_t)live->n_groups + 1, sizeof *sizes);
    anx_tensor *shapes = calloc(n + 1, sizeof *shapes);
    const char **names = calloc(n + 1, sizeof *names);
    if (sizes == NULL || shapes == NULL || names == NULL) {
        status = out_of_memory(err);
        goto out;
    }
    for (size_t i = 0; i < n; i++) {
        sizes[live->group_of_param[params[i]]]++;
        shapes[i] = anx_trainer_params(live->trainer)[params[i]];
        names[i] = live->graph->params[params[i]].name;
    }
    const anx_training_expected expected = {
        .group_sizes = sizes,
        .n_groups = (size_t)live->n_groups,
        .params = shapes,
        .names = names,
        .scheduler = live->scheduler != NULL ? saved_kind(live->scheduler->options.kind) : ANX_SAVED_NO_SCHEDULER,
    };
    status = anx_training_state_check(state, &expected, err);
out:
    free(sizes);
    free(shapes);
    free(names);
    return status;
}

static void load_groups(const anx_saved_optimizer *in, int n, anx_sgd_options *out) {
    for (int g = 0; g < n; g++) {
        const anx_saved_group *from = &in->groups[g];
        out[g] = (anx_sgd_options){.lr = from->lr.value,
                                   .momentum = from->momentum.value,
                                   .dampening = from->dampening.value,
                                   .weight_decay = from->weight_decay.value,
                                   .nesterov = from->nesterov,
                                   .maximize = from->maximize};
    }
}

/* Once all was compared. */
static anx_status apply(const anx_training_live *live, const anx_training_state *state, const anx_state_dict *model,
                        const int *params, size_t n, anx_error *err) {
    anx_status status = ANX_OK;
    for (int i = 0; i < live->graph->n_params && status == ANX_OK; i++)
        status = anx_trainer_set_param(live->trainer, i, anx_state_dict_find(model, live->graph->params[i].name), err);
    for (size_t i = 0; i < n && status == ANX_OK; i++) {
        const anx_saved_buffer *buffer = &state->optimizer.buffers[i];
        status = anx_trainer_set_momentum(live->trainer, params[i], buffer->present ? &buffer->tensor : NULL, err);
    }
    if (status == ANX_OK) load_groups(&state->optimizer, live->n_groups, anx_trainer_groups(live->trainer));
    return status;
}

anx_status anx_training_live_load(const anx_training_live *live, const anx_training_state *state,
                                  const anx_state_dict *model, anx_error *err) {
    size_t n;
    anx_arena arena = ANX_ARENA_INIT;
    anx_scheduler scheduler;
    anx_mt19937 gen = *live->gen;
    anx_sgd_options *groups = calloc((size_t)live->n_groups + 1, sizeof *groups);
    int *params = number_params(live, &n);
    anx_status status = params == NULL || groups == NULL ? out_of_memory(err) : check_model(live->graph, model, err);
    if (status == ANX_OK) status = check_optimizer(live, state, params, n, err);
    if (status == ANX_OK) load_groups(&state->optimizer, live->n_groups, groups);
    for (int g = 0; g < live->n_groups && status == ANX_OK; g++) status = anx_sgd_options_check(&groups[g], err);
    if (status == ANX_OK && state->has_own)
        status = anx_mt19937_read_state(state->rng_state, sizeof state->rng_state, &gen, err);
    if (status == ANX_OK && live->scheduler != NULL) {
        status = load_scheduler(&arena, &state->scheduler, live->scheduler, &scheduler, err);
        if (status == ANX_OK) status = anx_scheduler_load(live->scheduler, &scheduler, err);
    }
    if (status == ANX_OK) status = apply(live, state, model, params, n, err);
    if (status == ANX_OK) *live->gen = gen;
    anx_arena_fini(&arena);
    free(params);
    free(groups);
    return status;
}
