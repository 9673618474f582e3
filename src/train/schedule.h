/*
 * The learning rates of torch.optim.lr_scheduler (PyTorch 2.15; 1.13 gives the same), as the same doubles. PyTorch's
 * schedulers are recursive: what a step computes depends on the rate that the step before left, so that the closed
 * form would differ in its last bits, and so does this. What cos() and pow() are asked is what Python asks the C
 * library.
 *
 * A scheduler is made for an optimizer's groups before its first step and is stepped once an epoch, after training:
 * for torchvision's train.py before the evaluation, for ReduceLROnPlateau after it, with what was measured. The groups'
 * rates (`lr`, a double for each group) are the caller's; scheduler functions read and change them, as PyTorch's do the
 * optimizer's param_groups.
 */
#ifndef ANX_SRC_TRAIN_SCHEDULE_H
#define ANX_SRC_TRAIN_SCHEDULE_H

#include "src/base/status.h"

typedef enum anx_scheduler_kind {
    ANX_STEP_LR = 0,
    ANX_MULTI_STEP_LR,
    ANX_EXPONENTIAL_LR,
    ANX_COSINE_ANNEALING_LR,
    ANX_LINEAR_LR,   /* as a warm-up */
    ANX_CONSTANT_LR, /* as a warm-up */
    ANX_REDUCE_LR_ON_PLATEAU,
    ANX_SEQUENTIAL_LR, /* a warm-up, then another: made by anx_scheduler_create where one is given */
    ANX_SCHEDULER_KIND_COUNT
} anx_scheduler_kind;

/* "StepLR", ...: PyTorch's class. "steplr", "multisteplr", "exponentiallr", "cosineannealinglr", "linear", "constant",
   "plateau": what torchvision's train.py calls it or would; NULL for SequentialLR. */
const char *anx_scheduler_class(anx_scheduler_kind kind);
const char *anx_scheduler_name(anx_scheduler_kind kind);
/* The kind of that name; false if there is none. */
bool anx_scheduler_find(const char *name, anx_scheduler_kind *out);

/* What the constructors take, by their names; a kind reads its own alone. Epochs are counted from 0. */
typedef struct anx_scheduler_options {
    anx_scheduler_kind kind;
    double gamma;        /* StepLR, MultiStepLR, ExponentialLR */
    int64_t step_size;   /* StepLR: epochs, not 0 */
    int n_milestones;    /* MultiStepLR */
    int64_t *milestones; /* epochs, in any order, perhaps repeated */
    int64_t t_max;       /* CosineAnnealingLR: T_max, not 0 */
    double eta_min;
    double factor;           /* ConstantLR, ReduceLROnPlateau; LinearLR: start_factor */
    double end_factor;       /* LinearLR */
    int64_t total_iters;     /* LinearLR, ConstantLR: epochs; SequentialLR: its milestone */
    bool maximize;           /* ReduceLROnPlateau: mode "max" */
    bool absolute_threshold; /* threshold_mode "abs" */
    double threshold, eps;
    double min_lr; /* for every group */
    int64_t patience, cooldown;
} anx_scheduler_options;

/* PyTorch's defaults of a kind. Where PyTorch has none: step_size 30 and gamma 0.1 as train.py has, no milestones,
   t_max
   90. Warm-ups: 5 epochs, from 1/3, for ConstantLR 1/3. */
anx_scheduler_options anx_scheduler_defaults(anx_scheduler_kind kind);

/* INVALID_ARGUMENT for what the constructor refuses or a step would stumble over (division by zero, not a number). */
anx_status anx_scheduler_options_check(const anx_scheduler_options *options, anx_error *err);

/*
 * A scheduler and its state: what PyTorch's state_dict has of it, under its names. Whoever saves it reads the fields;
 * besides them a state_dict of 2.15 has _is_initial and _get_lr_called_within_step, both False.
 */
typedef struct anx_scheduler {
    anx_scheduler_options options; /* owns its milestones */
    int n_groups;
    int64_t last_epoch;
    int64_t step_count; /* _step_count; not in SequentialLR nor ReduceLROnPlateau */
    double *base_lrs;   /* n_groups each; base_lrs also is the groups' initial_lr. NULL: not in SequentialLR, ... */
    double *last_lr;    /* _last_lr */
    /* ReduceLROnPlateau, which leaves the groups without an initial_lr; base_lrs NULL */
    double best;
    int64_t cooldown_counter, num_bad_epochs;
    double *min_lrs; /* n_groups */
    /* SequentialLR: the warm-up, then the other; _milestones is [options.total_iters] */
    struct anx_scheduler *schedulers;
} anx_scheduler;

/*
 * Makes a scheduler for n_groups groups whose rates are in lr: they change where the first epoch's differ. warmup:
 * NULL, or LinearLR's or ConstantLR's options: SequentialLR(warm-up, main, milestones=[total_iters]) as train.py makes
 * it, the main one first; not for ReduceLROnPlateau. The caller releases *out with anx_scheduler_destroy. Errors:
 * INVALID_ARGUMENT (options), OUT_OF_MEMORY.
 */
anx_status anx_scheduler_create(const anx_scheduler_options *main, const anx_scheduler_options *warmup, int n_groups,
                                double *lr, anx_scheduler **out, anx_error *err);
void anx_scheduler_destroy(anx_scheduler *s);

/* At the end of an epoch: scheduler.step(), or step(metric) for ReduceLROnPlateau, the only one that reads it. */
void anx_scheduler_step(anx_scheduler *s, double metric, double *lr);

/*
 * load_state_dict: takes over everything from `state`, options too, so that the next steps are those that would have
 * followed there, once the caller has the groups' rates back. `state` stays the caller's, its arrays as well.
 * Errors: MISMATCH (another kind or number of groups), INVALID_ARGUMENT (options, a number out of range),
 * OUT_OF_MEMORY; *s is then as it was.
 */
anx_status anx_scheduler_load(anx_scheduler *s, const anx_scheduler *state, anx_error *err);

#endif
