#include "src/train/schedule.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "src/base/checked.h"

/* Epochs and counters beyond this are no training run; sums of them do not overflow. */
static const int64_t most_epochs = INT64_C(1) << 40;

/* ---- what each one computes ----------------------------------------------------------------------------- */

/* A rate at s->last_epoch. get_lr: from the epoch before's; `initial`: the constructor's own step. */
typedef double (*get_lr)(const anx_scheduler *s, double lr, double base, bool initial);
/* _get_closed_form_lr at epoch 0, where SequentialLR starts its second scheduler. */
typedef double (*first_lr)(const anx_scheduler *s, double base);

static double step_lr(const anx_scheduler *s, double lr, double base, bool initial) {
    (void)base, (void)initial;
    if (s->last_epoch == 0 || s->last_epoch % s->options.step_size != 0) return lr;
    return lr * s->options.gamma;
}

static double multi_step_lr(const anx_scheduler *s, double lr, double base, bool initial) {
    (void)base, (void)initial;
    int count = 0;
    for (int i = 0; i < s->options.n_milestones; i++) count += s->options.milestones[i] == s->last_epoch;
    return count == 0 ? lr : lr * pow(s->options.gamma, count);
}

static double exponential_lr(const anx_scheduler *s, double lr, double base, bool initial) {
    (void)base;
    return initial ? lr : lr * s->options.gamma;
}

static double cosine_annealing_lr(const anx_scheduler *s, double lr, double base, bool initial) {
    const double t_max = (double)s->options.t_max, eta_min = s->options.eta_min, t = (double)s->last_epoch;
    if (initial) return lr;
    if (s->step_count == 1 && s->last_epoch > 0) return eta_min + (base - eta_min) * (1 + cos(t * M_PI / t_max)) / 2;
    if ((s->last_epoch - 1 - s->options.t_max) % (2 * s->options.t_max) == 0)
        return lr + (base - eta_min) * (1 - cos(M_PI / t_max)) / 2;
    return (1 + cos(M_PI * t / t_max)) / (1 + cos(M_PI * (t - 1) / t_max)) * (lr - eta_min) + eta_min;
}

static double linear_lr(const anx_scheduler *s, double lr, double base, bool initial) {
    (void)base;
    const double start = s->options.factor, end = s->options.end_factor, iters = (double)s->options.total_iters;
    if (s->last_epoch == 0) return lr * start;
    if (initial || s->last_epoch > s->options.total_iters) return lr;
    return lr * (1.0 + (end - start) / (iters * start + (double)(s->last_epoch - 1) * (end - start)));
}

static double constant_lr(const anx_scheduler *s, double lr, double base, bool initial) {
    (void)base, (void)initial;
    if (s->last_epoch == 0) return lr * s->options.factor;
    if (s->last_epoch != s->options.total_iters) return lr;
    return lr * (1.0 / s->options.factor);
}

static double first_is_base(const anx_scheduler *s, double base) {
    (void)s;
    return base;
}

static double first_multi_step_lr(const anx_scheduler *s, double base) {
    int passed = 0;
    for (int i = 0; i < s->options.n_milestones; i++) passed += s->options.milestones[i] <= 0;
    return base * pow(s->options.gamma, passed);
}

static double first_cosine_annealing_lr(const anx_scheduler *s, double base) {
    const double eta_min = s->options.eta_min;
    return eta_min + (base - eta_min) * (1 + cos(0.0)) / 2; /* with eta_min, not always base */
}

/* ---- options -------------------------------------------------------------------------------------------- */

static anx_status refuse_number(const char *name, double value, const char *wants, anx_error *err) {
    return anx_error_set(err, ANX_ERR_INVALID_ARGUMENT, "the scheduler's %s is %g; it must be %s", name, value, wants);
}

static anx_status check_finite(const char *name, double value, anx_error *err) {
    return isfinite(value) ? ANX_OK : refuse_number(name, value, "a finite number", err);
}

/* 0 and 1 among them unless `above`. */
static anx_status check_fraction(const char *name, double value, bool above, anx_error *err) {
    if (value <= 1.0 && (above ? value > 0.0 : value >= 0.0)) return ANX_OK;
    return refuse_number(name, value, above ? "above 0 and at most 1" : "between 0 and 1", err);
}

static anx_status check_epochs(const char *name, int64_t value, int64_t least, anx_error *err) {
    if (value >= least && value <= most_epochs) return ANX_OK;
    return anx_error_set(err, ANX_ERR_INVALID_ARGUMENT, "the scheduler's %s is %lld; it must be %lld or more%s", name,
                         (long long)value, (long long)least, value > most_epochs ? ", but not so many" : "");
}

static anx_status check_step(const anx_scheduler_options *o, anx_error *err) {
    const anx_status status = check_epochs("step size", o->step_size, 1, err);
    return status != ANX_OK ? status : check_finite("gamma", o->gamma, err);
}

static anx_status check_gamma(const anx_scheduler_options *o, anx_error *err) {
    return check_finite("gamma", o->gamma, err);
}

static anx_status check_multi_step(const anx_scheduler_options *o, anx_error *err) {
    if (o->n_milestones < 0 || (o->n_milestones > 0 && o->milestones == NULL))
        return anx_error_set(err, ANX_ERR_INVALID_ARGUMENT, "the scheduler's milestones are missing");
    return check_finite("gamma", o->gamma, err);
}

static anx_status check_cosine(const anx_scheduler_options *o, anx_error *err) {
    const anx_status status = check_epochs("T_max", o->t_max, 1, err);
    return status != ANX_OK ? status : check_finite("eta_min", o->eta_min, err);
}

static anx_status check_linear(const anx_scheduler_options *o, anx_error *err) {
    anx_status status = check_fraction("start factor", o->factor, true, err);
    if (status == ANX_OK) status = check_fraction("end factor", o->end_factor, false, err);
    return status != ANX_OK ? status : check_epochs("number of warm-up epochs", o->total_iters, 1, err);
}

static anx_status check_constant(const anx_scheduler_options *o, anx_error *err) {
    const anx_status status = check_fraction("factor", o->factor, false, err);
    return status != ANX_OK ? status : check_epochs("number of warm-up epochs", o->total_iters, 1, err);
}

static anx_status check_plateau(const anx_scheduler_options *o, anx_error *err) {
    if (!(o->factor < 1.0) || !isfinite(o->factor)) return refuse_number("factor", o->factor, "below 1", err);
    anx_status status = check_finite("threshold", o->threshold, err);
    if (status == ANX_OK) status = check_finite("eps", o->eps, err);
    if (status == ANX_OK) status = check_finite("least rate", o->min_lr, err);
    if (status == ANX_OK) status = check_epochs("patience", o->patience, 0, err);
    return status != ANX_OK ? status : check_epochs("cooldown", o->cooldown, 0, err);
}

static anx_status check_sequential(const anx_scheduler_options *o, anx_error *err) {
    (void)o;
    return anx_error_set(err, ANX_ERR_INVALID_ARGUMENT,
                         "SequentialLR is made of a scheduler and a warm-up, not by itself");
}

/* ---- the table ------------------------------------------------------------------------------------------ */

static const struct row {
    const char *class_name, *name;
    anx_status (*check)(const anx_scheduler_options *options, anx_error *err);
    get_lr next; /* NULL: not computed group by group */
    first_lr first;
} table[ANX_SCHEDULER_KIND_COUNT] = {
    [ANX_STEP_LR] = {"StepLR", "steplr", check_step, step_lr, first_is_base},
    [ANX_MULTI_STEP_LR] = {"MultiStepLR", "multisteplr", check_multi_step, multi_step_lr, first_multi_step_lr},
    [ANX_EXPONENTIAL_LR] = {"ExponentialLR", "exponentiallr", check_gamma, exponential_lr, first_is_base},
    [ANX_COSINE_ANNEALING_LR] = {"CosineAnnealingLR", "cosineannealinglr", check_cosine, cosine_annealing_lr,
                                 first_cosine_annealing_lr},
    [ANX_LINEAR_LR] = {"LinearLR", "linear", check_linear, linear_lr, NULL},
    [ANX_CONSTANT_LR] = {"ConstantLR", "constant", check_constant, constant_lr, NULL},
    [ANX_REDUCE_LR_ON_PLATEAU] = {"ReduceLROnPlateau", "plateau", check_plateau, NULL, NULL},
    [ANX_SEQUENTIAL_LR] = {"SequentialLR", NULL, check_sequential, NULL, NULL},
};

static bool is_kind(anx_scheduler_kind kind) {
    return (unsigned)kind < ANX_SCHEDULER_KIND_COUNT;
}

const char *anx_scheduler_class(anx_scheduler_kind kind) {
    return is_kind(kind) ? table[kind].class_name : NULL;
}

const char *anx_scheduler_name(anx_scheduler_kind kind) {
    return is_kind(kind) ? table[kind].name : NULL;
}

bool anx_scheduler_find(const char *name, anx_scheduler_kind *out) {
    for (int i = 0; i < ANX_SCHEDULER_KIND_COUNT; i++) {
        if (table[i].name == NULL || strcmp(table[i].name, name) != 0) continue;
        *out = (anx_scheduler_kind)i;
        return true;
    }
    return false;
}

anx_scheduler_options anx_scheduler_defaults(anx_scheduler_kind kind) {
    anx_scheduler_options o = {.kind = kind,
                               .gamma = 0.1,
                               .step_size = 30,
                               .t_max = 90,
                               .factor = 1.0 / 3,
                               .end_factor = 1.0,
                               .total_iters = 5,
                               .threshold = 1e-4,
                               .eps = 1e-8,
                               .patience = 10};
    if (kind == ANX_REDUCE_LR_ON_PLATEAU) o.factor = 0.1;
    return o;
}

anx_status anx_scheduler_options_check(const anx_scheduler_options *options, anx_error *err) {
    if (!is_kind(options->kind))
        return anx_error_set(err, ANX_ERR_INVALID_ARGUMENT, "there is no scheduler of kind %d", (int)options->kind);
    return table[options->kind].check(options, err);
}

/* ---- steps ---------------------------------------------------------------------------------------------- */

static void keep_last_lr(anx_scheduler *s, const double *lr) {
    memcpy(s->last_lr, lr, (size_t)s->n_groups * sizeof *lr);
}

/* LRScheduler.step, and _initial_step. */
static void step_groups(anx_scheduler *s, double *lr, bool initial) {
    if (initial) s->step_count = 0;
    s->step_count++;
    s->last_epoch++;
    for (int i = 0; i < s->n_groups; i++) lr[i] = table[s->options.kind].next(s, lr[i], s->base_lrs[i], initial);
    keep_last_lr(s, lr);
}

/* LRScheduler._update_lr(0): the closed form, and no step is counted. */
static void begin_groups(anx_scheduler *s, double *lr) {
    s->last_epoch = 0;
    for (int i = 0; i < s->n_groups; i++) lr[i] = table[s->options.kind].first(s, s->base_lrs[i]);
    keep_last_lr(s, lr);
}

static void step_sequential(anx_scheduler *s, double *lr) {
    const int64_t milestone = s->options.total_iters;
    s->last_epoch++;
    if (s->last_epoch < milestone)
        step_groups(&s->schedulers[0], lr, false);
    else if (s->last_epoch == milestone)
        begin_groups(&s->schedulers[1], lr);
    else
        step_groups(&s->schedulers[1], lr, false);
    keep_last_lr(s, lr);
}

static bool is_better(const anx_scheduler *s, double a) {
    const anx_scheduler_options *o = &s->options;
    if (o->maximize) return a > (o->absolute_threshold ? s->best + o->threshold : s->best * (o->threshold + 1.0));
    return a < (o->absolute_threshold ? s->best - o->threshold : s->best * (1.0 - o->threshold));
}

static void reduce(const anx_scheduler *s, double *lr) {
    for (int i = 0; i < s->n_groups; i++) {
        double reduced = lr[i] * s->options.factor;
        if (s->min_lrs[i] > reduced) reduced = s->min_lrs[i];
        if (lr[i] - reduced > s->options.eps) lr[i] = reduced;
    }
}

static void step_plateau(anx_scheduler *s, double metric, double *lr) {
    s->last_epoch++;
    if (is_better(s, metric)) {
        s->best = metric;
        s->num_bad_epochs = 0;
    } else {
        s->num_bad_epochs++;
    }
    if (s->cooldown_counter > 0) {
        s->cooldown_counter--;
        s->num_bad_epochs = 0;
    }
    if (s->num_bad_epochs > s->options.patience) {
        reduce(s, lr);
        s->cooldown_counter = s->options.cooldown;
        s->num_bad_epochs = 0;
    }
    keep_last_lr(s, lr);
}

void anx_scheduler_step(anx_scheduler *s, double metric, double *lr) {
    switch (s->options.kind) {
    case ANX_SEQUENTIAL_LR: step_sequential(s, lr); break;
    case ANX_REDUCE_LR_ON_PLATEAU: step_plateau(s, metric, lr); break;
    default: step_groups(s, lr, false); break;
    }
}

/* ---- making and releasing ------------------------------------------------------------------------------- */

static void release(anx_scheduler *s) {
    for (int i = 0; s->schedulers != NULL && i < 2; i++) release(&s->schedulers[i]); /* which have none themselves */
    free(s->schedulers);
    free(s->options.milestones);
    free(s->base_lrs);
    free(s->last_lr);
    free(s->min_lrs);
}

void anx_scheduler_destroy(anx_scheduler *s) {
    if (s == NULL) return;
    release(s);
    free(s);
}

/* A copy of n elements, never NULL for want of elements; `good` becomes false where memory is short. */
static void *copy_array(const void *in, int n, size_t size, bool *good) {
    size_t bytes;
    void *out = anx_checked_mul_size((size_t)n, size, &bytes) ? malloc(bytes > 0 ? bytes : 1) : NULL;
    if (out == NULL)
        *good = false;
    else if (bytes > 0)
        memcpy(out, in, bytes);
    return out;
}

static anx_status no_memory(anx_error *err) {
    return anx_error_set(err, ANX_ERR_OUT_OF_MEMORY, "out of memory for a learning-rate scheduler");
}

/* One that is not SequentialLR, as it is before its first step. */
static bool prepare(const anx_scheduler_options *options, int n_groups, const double *lr, anx_scheduler *s) {
    bool good = true;
    *s = (anx_scheduler){.options = *options, .n_groups = n_groups, .last_epoch = -1};
    s->options.milestones = copy_array(options->milestones, options->n_milestones, sizeof(int64_t), &good);
    s->last_lr = copy_array(lr, n_groups, sizeof *lr, &good);
    if (options->kind != ANX_REDUCE_LR_ON_PLATEAU) {
        s->base_lrs = copy_array(lr, n_groups, sizeof *lr, &good);
        return good;
    }
    s->min_lrs = copy_array(lr, n_groups, sizeof *lr, &good);
    for (int i = 0; good && i < n_groups; i++) s->min_lrs[i] = options->min_lr;
    s->last_epoch = 0;
    s->best = options->maximize ? -INFINITY : INFINITY;
    return good;
}

static bool prepare_sequential(const anx_scheduler_options *main, const anx_scheduler_options *warmup, int n_groups,
                               double *lr, anx_scheduler *s) {
    bool good = true;
    *s = (anx_scheduler){.options = {.kind = ANX_SEQUENTIAL_LR, .total_iters = warmup->total_iters},
                         .n_groups = n_groups};
    s->last_lr = copy_array(lr, n_groups, sizeof *lr, &good);
    s->schedulers = calloc(2, sizeof *s->schedulers);
    good = good && s->schedulers != NULL && prepare(warmup, n_groups, lr, &s->schedulers[0]) &&
           prepare(main, n_groups, lr, &s->schedulers[1]);
    if (!good) return false;
    /* The main one takes its first step, which SequentialLR takes back, but for the count and _last_lr. */
    step_groups(&s->schedulers[1], lr, true);
    s->schedulers[1].last_epoch--;
    memcpy(lr, s->schedulers[0].base_lrs, (size_t)n_groups * sizeof *lr);
    step_groups(&s->schedulers[0], lr, true);
    keep_last_lr(s, lr);
    return true;
}

static anx_status check_pair(const anx_scheduler_options *main, const anx_scheduler_options *warmup, anx_error *err) {
    anx_status status = anx_scheduler_options_check(main, err);
    if (status != ANX_OK) return status;
    if (warmup == NULL) /* ConstantLR divides by its factor at its end, which a warm-up does not reach */
        return main->kind == ANX_CONSTANT_LR ? check_fraction("factor", main->factor, true, err) : ANX_OK;
    if (table[main->kind].first == NULL)
        return anx_error_set(err, ANX_ERR_INVALID_ARGUMENT, "%s cannot follow a warm-up", table[main->kind].class_name);
    if (warmup->kind != ANX_LINEAR_LR && warmup->kind != ANX_CONSTANT_LR)
        return anx_error_set(err, ANX_ERR_INVALID_ARGUMENT, "a warm-up is linear or constant");
    return anx_scheduler_options_check(warmup, err);
}

anx_status anx_scheduler_create(const anx_scheduler_options *main, const anx_scheduler_options *warmup, int n_groups,
                                double *lr, anx_scheduler **out, anx_error *err) {
    const anx_status status = check_pair(main, warmup, err);
    if (status != ANX_OK) return status;
    anx_scheduler *s = calloc(1, sizeof *s);
    if (s == NULL) return no_memory(err);
    const bool good =
        warmup != NULL ? prepare_sequential(main, warmup, n_groups, lr, s) : prepare(main, n_groups, lr, s);
    if (!good) {
        anx_scheduler_destroy(s);
        return no_memory(err);
    }
    if (warmup == NULL && main->kind != ANX_REDUCE_LR_ON_PLATEAU) step_groups(s, lr, true);
    *out = s;
    return ANX_OK;
}

/* ---- a state from elsewhere ----------------------------------------------------------------------------- */

static anx_status check_counter(const char *name, int64_t value, anx_error *err) {
    if (value >= -1 && value <= most_epochs) return ANX_OK;
    return anx_error_set(err, ANX_ERR_INVALID_ARGUMENT, "the scheduler's state has %lld as its %s", (long long)value,
                         name);
}

static anx_status check_state(const anx_scheduler *s, const anx_scheduler *state, anx_error *err) {
    if (state->options.kind != s->options.kind)
        return anx_error_set(err, ANX_ERR_MISMATCH, "the state is %s's, the scheduler is %s",
                             is_kind(state->options.kind) ? table[state->options.kind].class_name : "no scheduler",
                             table[s->options.kind].class_name);
    if (state->n_groups != s->n_groups)
        return anx_error_set(err, ANX_ERR_MISMATCH, "the state of %s is for %d parameter groups, the optimizer has %d",
                             table[s->options.kind].class_name, state->n_groups, s->n_groups);
    anx_status status = check_counter("last_epoch", state->last_epoch, err);
    if (status == ANX_OK) status = check_counter("_step_count", state->step_count, err);
    if (status == ANX_OK) status = check_counter("cooldown_counter", state->cooldown_counter, err);
    if (status == ANX_OK) status = check_counter("num_bad_epochs", state->num_bad_epochs, err);
    if (status != ANX_OK) return status;
    if (state->last_lr == NULL || (s->base_lrs != NULL && state->base_lrs == NULL) ||
        (s->min_lrs != NULL && state->min_lrs == NULL) || (s->schedulers != NULL && state->schedulers == NULL))
        return anx_error_set(err, ANX_ERR_INVALID_ARGUMENT, "the state of %s lacks its rates or its schedulers",
                             table[s->options.kind].class_name);
    if (s->schedulers != NULL) return check_epochs("milestone", state->options.total_iters, 1, err);
    return anx_scheduler_options_check(&state->options, err);
}

/* A copy of `state`, which fits s, but for the schedulers within. */
static bool copy_state(const anx_scheduler *s, const anx_scheduler *state, anx_scheduler *out) {
    bool good = true;
    *out = *state;
    out->schedulers = NULL;
    out->options.milestones =
        copy_array(state->options.milestones, state->options.n_milestones, sizeof(int64_t), &good);
    out->last_lr = copy_array(state->last_lr, s->n_groups, sizeof(double), &good);
    out->base_lrs = s->base_lrs == NULL ? NULL : copy_array(state->base_lrs, s->n_groups, sizeof(double), &good);
    out->min_lrs = s->min_lrs == NULL ? NULL : copy_array(state->min_lrs, s->n_groups, sizeof(double), &good);
    return good;
}

static anx_status load_sequential(anx_scheduler *s, const anx_scheduler *state, anx_scheduler *copy, anx_error *err) {
    copy->schedulers = calloc(2, sizeof *copy->schedulers);
    if (copy->schedulers == NULL) return no_memory(err);
    for (int i = 0; i < 2; i++) {
        const anx_status status = check_state(&s->schedulers[i], &state->schedulers[i], err);
        if (status != ANX_OK) return status;
        if (!copy_state(&s->schedulers[i], &state->schedulers[i], &copy->schedulers[i])) return no_memory(err);
    }
    return ANX_OK;
}

anx_status anx_scheduler_load(anx_scheduler *s, const anx_scheduler *state, anx_error *err) {
    anx_status status = check_state(s, state, err);
    if (status != ANX_OK) return status;
    anx_scheduler copy;
    if (!copy_state(s, state, &copy)) status = no_memory(err);
    if (status == ANX_OK && s->schedulers != NULL) status = load_sequential(s, state, &copy, err);
    if (status != ANX_OK) {
        release(&copy);
        return status;
    }
    release(s);
    *s = copy;
    return ANX_OK;
}
