#include "loaders/checkpoint/training_fields.h"

#include <stddef.h>

#define S(key_, type_, member)                                                                                         \
    { .key = key_, .type = type_, .offset = offsetof(anx_saved_scheduler, member) }
#define S_OPTIONAL(key_, type_, member)                                                                                \
    { .key = key_, .type = type_, .offset = offsetof(anx_saved_scheduler, member), .optional = true }
#define OF_OLD(key_)                                                                                                   \
    { .key = key_, .type = ANX_FIELD_OF_OLD, .optional = true }

/* What LRScheduler.__init__ adds to each, in 2.15; 1.13 has 'verbose' instead of _is_initial. */
#define COMMON                                                                                                         \
    S("base_lrs", ANX_FIELD_PER_GROUP, base_lrs), S("last_epoch", ANX_FIELD_INTEGER, last_epoch), OF_OLD("verbose"),   \
        S("_step_count", ANX_FIELD_INTEGER, step_count), S_OPTIONAL("_is_initial", ANX_FIELD_BOOLEAN, is_initial),     \
        S_OPTIONAL("_get_lr_called_within_step", ANX_FIELD_BOOLEAN, get_lr_called_within_step),                        \
        S("_last_lr", ANX_FIELD_PER_GROUP, last_lr)

static const anx_training_field step_lr[] = {S("step_size", ANX_FIELD_INTEGER, step_size),
                                             S("gamma", ANX_FIELD_NUMBER, gamma), COMMON};

static const anx_training_field multi_step_lr[] = {S("milestones", ANX_FIELD_COUNTER, milestones),
                                                   S("gamma", ANX_FIELD_NUMBER, gamma), COMMON};

static const anx_training_field exponential_lr[] = {S("gamma", ANX_FIELD_NUMBER, gamma), COMMON};

static const anx_training_field cosine_annealing_lr[] = {S("T_max", ANX_FIELD_NUMBER, t_max),
                                                         S("eta_min", ANX_FIELD_NUMBER, eta_min), COMMON};

static const anx_training_field constant_lr[] = {S("factor", ANX_FIELD_NUMBER, factor),
                                                 S("total_iters", ANX_FIELD_INTEGER, total_iters), COMMON};

static const anx_training_field linear_lr[] = {S("start_factor", ANX_FIELD_NUMBER, start_factor),
                                               S("end_factor", ANX_FIELD_NUMBER, end_factor),
                                               S("total_iters", ANX_FIELD_INTEGER, total_iters), COMMON};

static const anx_training_field sequential_lr[] = {
    S("_milestones", ANX_FIELD_MILESTONES, milestones),
    S("last_epoch", ANX_FIELD_INTEGER, last_epoch),
    S("_last_lr", ANX_FIELD_LR_IN_USE, last_lr),
    S("_schedulers", ANX_FIELD_SCHEDULERS, schedulers),
};

static const anx_training_field reduce_lr_on_plateau[] = {
    S("factor", ANX_FIELD_NUMBER, factor),
    S_OPTIONAL("default_min_lr", ANX_FIELD_MAYBE_NUMBER, default_min_lr),
    S("min_lrs", ANX_FIELD_PER_GROUP, min_lrs),
    S("patience", ANX_FIELD_INTEGER, patience),
    OF_OLD("verbose"),
    S("cooldown", ANX_FIELD_INTEGER, cooldown),
    S("eps", ANX_FIELD_NUMBER, eps),
    S("last_epoch", ANX_FIELD_INTEGER, last_epoch),
    S_OPTIONAL("_last_lr", ANX_FIELD_PER_GROUP, last_lr), /* 1.13: only after a step */
    {.key = "mode_worse", .type = ANX_FIELD_WORSE, .optional = true},
    {.key = "mode",
     .type = ANX_FIELD_CHOICE,
     .offset = offsetof(anx_saved_scheduler, mode_max),
     .choices = {"min", "max"}},
    S("threshold", ANX_FIELD_NUMBER, threshold),
    {.key = "threshold_mode",
     .type = ANX_FIELD_CHOICE,
     .offset = offsetof(anx_saved_scheduler, threshold_abs),
     .choices = {"rel", "abs"}},
    S("best", ANX_FIELD_NUMBER, best),
    S("cooldown_counter", ANX_FIELD_INTEGER, cooldown_counter),
    S("num_bad_epochs", ANX_FIELD_INTEGER, num_bad_epochs),
};

#define FIELDS(table) .fields = table, .count = sizeof(table) / sizeof(table)[0]

/* In the order of the enum; ExponentialLR, of which others have all keys too, is looked for last. */
static const anx_training_fields schedulers[ANX_SAVED_SCHEDULER_KIND_COUNT] = {
    [ANX_SAVED_STEP_LR] = {FIELDS(step_lr), .signature = {"step_size"}},
    [ANX_SAVED_MULTI_STEP_LR] = {FIELDS(multi_step_lr), .signature = {"milestones"}},
    [ANX_SAVED_EXPONENTIAL_LR] = {FIELDS(exponential_lr), .signature = {"gamma"}},
    [ANX_SAVED_COSINE_ANNEALING_LR] = {FIELDS(cosine_annealing_lr), .signature = {"T_max"}},
    [ANX_SAVED_CONSTANT_LR] = {FIELDS(constant_lr), .signature = {"factor", "total_iters"}},
    [ANX_SAVED_LINEAR_LR] = {FIELDS(linear_lr), .signature = {"start_factor"}},
    [ANX_SAVED_SEQUENTIAL_LR] = {FIELDS(sequential_lr), .signature = {"_milestones"}},
    [ANX_SAVED_REDUCE_LR_ON_PLATEAU] = {FIELDS(reduce_lr_on_plateau), .signature = {"patience"}},
};

const anx_training_fields *anx_training_scheduler_fields(anx_saved_scheduler_kind kind) {
    return &schedulers[kind];
}

const char *anx_saved_scheduler_name(anx_saved_scheduler_kind kind) {
    static const char *const names[ANX_SAVED_SCHEDULER_KIND_COUNT] = {
        [ANX_SAVED_NO_SCHEDULER] = "none",
        [ANX_SAVED_STEP_LR] = "StepLR",
        [ANX_SAVED_MULTI_STEP_LR] = "MultiStepLR",
        [ANX_SAVED_EXPONENTIAL_LR] = "ExponentialLR",
        [ANX_SAVED_COSINE_ANNEALING_LR] = "CosineAnnealingLR",
        [ANX_SAVED_CONSTANT_LR] = "ConstantLR",
        [ANX_SAVED_LINEAR_LR] = "LinearLR",
        [ANX_SAVED_SEQUENTIAL_LR] = "SequentialLR",
        [ANX_SAVED_REDUCE_LR_ON_PLATEAU] = "ReduceLROnPlateau",
    };
    return (unsigned)kind < ANX_SAVED_SCHEDULER_KIND_COUNT ? names[kind] : "unknown";
}

#define G(key_, type_, member, optional_)                                                                              \
    { .key = key_, .type = type_, .offset = offsetof(anx_saved_group, member), .optional = optional_ }

/* SGD.__init__'s defaults; what SGD.__setstate__ and schedulers fill in may be absent. */
static const anx_training_field group[ANX_GROUP_KEY_COUNT] = {
    [ANX_GROUP_LR] = G("lr", ANX_FIELD_NUMBER, lr, false),
    [ANX_GROUP_MOMENTUM] = G("momentum", ANX_FIELD_NUMBER, momentum, false),
    [ANX_GROUP_DAMPENING] = G("dampening", ANX_FIELD_NUMBER, dampening, false),
    [ANX_GROUP_WEIGHT_DECAY] = G("weight_decay", ANX_FIELD_NUMBER, weight_decay, false),
    [ANX_GROUP_NESTEROV] = G("nesterov", ANX_FIELD_BOOLEAN, nesterov, true),
    [ANX_GROUP_MAXIMIZE] = G("maximize", ANX_FIELD_BOOLEAN, maximize, true),
    [ANX_GROUP_FOREACH] = G("foreach", ANX_FIELD_FLAG, foreach, true),
    [ANX_GROUP_DIFFERENTIABLE] = G("differentiable", ANX_FIELD_BOOLEAN, differentiable, true),
    [ANX_GROUP_FUSED] = G("fused", ANX_FIELD_FLAG, fused, true),
    [ANX_GROUP_INITIAL_LR] = G("initial_lr", ANX_FIELD_NUMBER, initial_lr, true),
    [ANX_GROUP_PARAMS] = G("params", ANX_FIELD_PARAMS, n_params, false),
};

const anx_training_fields *anx_training_group_fields(void) {
    static const anx_training_fields fields = {FIELDS(group)};
    return &fields;
}

anx_saved_group anx_saved_group_make(const anx_saved_group_key *given, size_t n_given, bool has_initial_lr) {
    anx_saved_group g = {.lr = {.value = 1e-3},
                         .momentum = {.kind = ANX_SAVED_INT},
                         .dampening = {.kind = ANX_SAVED_INT},
                         .weight_decay = {.kind = ANX_SAVED_INT}};
    bool listed[ANX_GROUP_KEY_COUNT] = {[ANX_GROUP_INITIAL_LR] = !has_initial_lr};
    for (size_t i = 0; i < n_given; i++) {
        if (listed[given[i]] || given[i] == ANX_GROUP_PARAMS) continue;
        listed[given[i]] = true;
        g.keys[g.n_keys++] = given[i];
    }
    for (int key = 0; key < ANX_GROUP_KEY_COUNT; key++)
        if (!listed[key]) g.keys[g.n_keys++] = (anx_saved_group_key)key;
    return g;
}
