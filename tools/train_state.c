#include "tools/train_state.h"

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "loaders/checkpoint/arch_modules.h"
#include "loaders/checkpoint/text.h"
#include "src/base/version.h"

static anx_status out_of_memory(anx_error *err) {
    return anx_error_set(err, ANX_ERR_OUT_OF_MEMORY, "out of memory");
}

static const anx_saved_value *find(const anx_training_state *state, const char *name) {
    for (size_t i = 0; i < state->n_options; i++)
        if (strcmp(state->options[i].name, name) == 0) return &state->options[i];
    return NULL;
}

bool anx_train_is_own(const anx_training_state *state) {
    return find(state, "global_step") != NULL;
}

/* ---- settings, to a checkpoint -------------------------------------------------------------------------- */

static anx_saved_value text_value(const char *name, const char *text) {
    anx_saved_value v = {.name = name, .kind = text != NULL ? ANX_SAVED_VALUE_TEXT : ANX_SAVED_VALUE_NONE};
    if (text != NULL) v.u.text = text;
    return v;
}

static anx_saved_value int_value(const char *name, int64_t value) {
    return (anx_saved_value){.name = name, .kind = ANX_SAVED_VALUE_INT, .u.integer = value};
}

static anx_saved_value real_value(const char *name, double value) {
    return (anx_saved_value){.name = name, .kind = ANX_SAVED_VALUE_FLOAT, .u.real = value};
}

static anx_saved_value setting_value(const anx_train_options *o, int i) {
    const anx_train_setting *s = anx_train_setting_at(i);
    const void *at = anx_train_setting_value(o, i);
    switch (s->type) {
    case ANX_SETTING_INTEGER: return int_value(s->name, *(const int64_t *)at);
    case ANX_SETTING_REAL: return real_value(s->name, *(const double *)at);
    case ANX_SETTING_SEED: return int_value(s->name, (int64_t) * (const uint64_t *)at); /* as torch.manual_seed does */
    case ANX_SETTING_FLAG:
        return (anx_saved_value){.name = s->name, .kind = ANX_SAVED_VALUE_BOOL, .u.boolean = *(const bool *)at};
    default: return text_value(s->name, *(const char *const *)at);
    }
}

/* The classes' names, a line each. */
static char *join_classes(const anx_dataset *d) {
    size_t n = 1;
    for (int64_t i = 0; i < d->n_classes; i++) n += strlen(d->class_ids[i]) + 1;
    char *text = calloc(n, 1), *at = text;
    for (int64_t i = 0; text != NULL && i < d->n_classes; i++)
        at = stpcpy(stpcpy(at, i > 0 ? "\n" : ""), d->class_ids[i]);
    return text;
}

enum { OWN_VALUES = 16 };

static bool put_options(const anx_train_setup *s, const anx_train_progress *p, anx_training_state *out) {
    char hex[ANX_SHA256_HEX];
    anx_arena *arena = &out->arena;
    char *joined = join_classes(s->train);
    char *classes = joined != NULL ? anx_arena_text(arena, joined, strlen(joined)) : NULL;
    free(joined);
    char *digest = anx_arena_text(arena, anx_digest_hex(&s->train->digest, hex), ANX_SHA256_HEX - 1);
    anx_saved_value *v = anx_arena_alloc(arena, ANX_TRAIN_SETTINGS + OWN_VALUES, sizeof *v);
    char *val_digest = NULL;
    if (s->val != NULL) val_digest = anx_arena_text(arena, anx_digest_hex(&s->val->digest, hex), ANX_SHA256_HEX - 1);
    if (classes == NULL || digest == NULL || (s->val != NULL && val_digest == NULL) || v == NULL) return false;
    size_t n = 0;
    for (int i = 0; i < ANX_TRAIN_SETTINGS; i++)
        if (anx_train_setting_at(i)->role != ANX_SETTING_PASSING && anx_train_is_main_name(i))
            v[n++] = setting_value(s->options, i);
    v[n++] = text_value("version", ANX_VERSION);
    v[n++] = text_value("architecture", s->graph->arch->name);
    v[n++] = text_value("classes", classes);
    v[n++] = text_value("data_digest", digest);
    v[n++] = text_value("val_digest", val_digest);
    v[n++] = int_value("global_step", p->global_step);
    v[n++] = real_value("epoch_loss_sum", p->loss_sum);
    v[n++] = int_value("epoch_right", p->right);
    v[n++] = int_value("epoch_images", p->images);
    v[n++] = int_value("best_epoch", p->best_epoch);
    v[n++] = real_value("best_acc1", p->best_acc1);
    v[n++] = real_value("best_loss", p->best_loss);
    out->options = v;
    out->n_options = n;
    return true;
}

/* What train.py's argument parser would have of it. */
static bool put_args(const anx_train_setup *s, const anx_train_progress *p, anx_training_state *out) {
    const anx_train_options *o = s->options;
    const anx_saved_value args[] = {
        text_value("data_path", o->data),
        text_value("model", s->graph->arch->name),
        text_value("device", "cpu"),
        int_value("batch_size", o->batch),
        int_value("epochs", o->epochs),
        int_value("workers", 0),
        text_value("opt", o->opt),
        real_value("lr", o->lr),
        real_value("momentum", o->momentum),
        real_value("weight_decay", o->weight_decay),
        real_value("label_smoothing", o->label_smoothing),
        text_value("lr_scheduler", o->lr_scheduler),
        int_value("lr_warmup_epochs", o->lr_warmup_epochs),
        text_value("lr_warmup_method", o->lr_warmup_method),
        real_value("lr_warmup_decay", o->lr_warmup_decay),
        int_value("lr_step_size", o->lr_step_size),
        real_value("lr_gamma", o->lr_gamma),
        real_value("lr_min", o->lr_min),
        int_value("start_epoch", p->epoch),
    };
    out->has_args = true;
    out->n_args = sizeof args / sizeof args[0];
    out->args = anx_arena_alloc(&out->arena, out->n_args, sizeof *out->args);
    if (out->args != NULL) memcpy(out->args, args, sizeof args);
    return out->args != NULL;
}

static anx_status put_state(anx_train_setup *s, const anx_train_progress *p, anx_training_state *out, anx_error *err) {
    const anx_training_live live = anx_train_live(s);
    const anx_status status = anx_training_live_save(&live, s->options->lr_group != NULL, out, err);
    if (status != ANX_OK) return status;
    out->epoch = p->epoch - 1;
    out->step = p->step;
    out->order_seed = p->step > 0 ? p->order_seed : 0;
    if (!put_options(s, p, out) || (s->options->with_args && !put_args(s, p, out))) return out_of_memory(err);
    return ANX_OK;
}

/* The state NULL: the model alone. */
static anx_status write_file(anx_train_setup *s, const anx_training_state *state, const char *path, anx_error *err) {
    const anx_training_live live = anx_train_live(s);
    anx_state_dict model = ANX_STATE_DICT_INIT;
    anx_arch_modules modules = ANX_ARCH_MODULES_INIT;
    anx_status status = anx_training_live_model(&live, &model, err);
    if (status == ANX_OK) status = anx_arch_modules_list(s->graph->arch, &modules, err);
    const anx_pth_options options = {
        .modules = (const char *const *)modules.names, .n_modules = modules.n, .force = true};
    if (status == ANX_OK)
        status = state != NULL ? anx_training_checkpoint_write(path, &model, state, &options, err)
                               : anx_pth_write(path, &model, &options, err);
    anx_arch_modules_fini(&modules);
    anx_state_dict_fini(&model);
    return status;
}

anx_status anx_train_save(anx_train_setup *s, const anx_train_progress *progress, const char *path, anx_error *err) {
    anx_training_state *state = calloc(1, sizeof *state);
    if (state == NULL) return out_of_memory(err);
    *state = (anx_training_state)ANX_TRAINING_STATE_INIT;
    anx_status status = put_state(s, progress, state, err);
    if (status == ANX_OK) status = write_file(s, state, path, err);
    anx_training_state_fini(state);
    free(state);
    return status;
}

anx_status anx_train_save_model(anx_train_setup *s, const char *path, anx_error *err) {
    return write_file(s, NULL, path, err);
}

/* ---- settings, from a checkpoint ------------------------------------------------------------------------ */

/* A saved value in the place of a setting; text: a copy of its text, where it is one. False: it is none of that
 * setting's. */
static bool take_value(anx_train_options *o, int i, const anx_saved_value *v, const char *text) {
    const anx_train_setting *s = anx_train_setting_at(i);
    void *at = (char *)o + s->offset;
    switch (s->type) {
    case ANX_SETTING_INTEGER:
        if (v->kind != ANX_SAVED_VALUE_INT) return false;
        *(int64_t *)at = v->u.integer;
        return true;
    case ANX_SETTING_REAL:
        if (v->kind != ANX_SAVED_VALUE_FLOAT) return false;
        *(double *)at = v->u.real;
        return true;
    case ANX_SETTING_SEED:
        if (v->kind != ANX_SAVED_VALUE_INT) return false;
        *(uint64_t *)at = (uint64_t)v->u.integer;
        return true;
    case ANX_SETTING_FLAG:
        if (v->kind != ANX_SAVED_VALUE_BOOL) return false;
        *(bool *)at = v->u.boolean;
        return true;
    default: break;
    }
    const bool may_lack = *(const char *const *)anx_train_setting_value(&anx_train_defaults, i) == NULL;
    if (text == NULL && (v->kind != ANX_SAVED_VALUE_NONE || !may_lack)) return false;
    if (text != NULL && !anx_train_can_be_kept(text, s->type == ANX_SETTING_TEXTS)) return false;
    for (int k = 0; s->choices != NULL; k++) {
        if (s->choices[k] == NULL || text == NULL) return false;
        if (strcmp(s->choices[k], text) == 0) break;
    }
    *(const char **)at = text;
    return true;
}

static bool in_range(const anx_train_options *o, int i) {
    const anx_train_setting *s = anx_train_setting_at(i);
    const void *at = anx_train_setting_value(o, i), *otherwise = anx_train_setting_value(&anx_train_defaults, i);
    const bool whole = s->type == ANX_SETTING_INTEGER;
    if (!whole && s->type != ANX_SETTING_REAL) return true;
    const double value = whole ? (double)*(const int64_t *)at : *(const double *)at;
    const double given_nothing = whole ? (double)*(const int64_t *)otherwise : *(const double *)otherwise;
    return value == given_nothing || (value <= s->max && (s->above_min ? value > s->min : value >= s->min));
}

/* One setting: the checkpoint's, unless it was given; if it was, both have to be the same. */
static anx_status take_setting(const anx_training_state *state, anx_train_options *o, int i, anx_error *err) {
    const anx_train_setting *s = anx_train_setting_at(i);
    const anx_saved_value *v = find(state, s->name);
    char a[40], b[40];
    const bool given = anx_train_is_given(o, s->offset);
    if (v == NULL || (given && s->role == ANX_SETTING_KEPT)) return ANX_OK;
    anx_train_options before = *o;
    const bool is_text = v->kind == ANX_SAVED_VALUE_TEXT;
    const char *text = is_text ? anx_arena_text(&o->arena, v->u.text, strlen(v->u.text)) : NULL;
    if (is_text && text == NULL) return out_of_memory(err);
    if (!take_value(o, i, v, text) || !in_range(o, i))
        return anx_error_set(err, ANX_ERR_FORMAT, "the option '%s' that it keeps is none", s->name);
    const char *ours = anx_train_setting_text(&before, i, a), *theirs = anx_train_setting_text(o, i, b);
    if (!given || strcmp(ours, theirs) == 0) return ANX_OK;
    return anx_error_set(
        err, ANX_ERR_MISMATCH,
        "the run was begun with%s --%s%s%s, not with %s: leave the option out, or begin a new run from its weights",
        *theirs != '\0' ? "" : "out", s->name, *theirs != '\0' ? " " : "", theirs, ours);
}

/* A scheduler of PyTorch's, by its name here; the warm-up apart. */
static bool take_scheduler(const anx_saved_scheduler *saved, anx_train_options *o) {
    static const struct {
        anx_saved_scheduler_kind kind;
        const char *name;
    } names[] = {
        {ANX_SAVED_NO_SCHEDULER, "none"},
        {ANX_SAVED_STEP_LR, "steplr"},
        {ANX_SAVED_MULTI_STEP_LR, "multisteplr"},
        {ANX_SAVED_EXPONENTIAL_LR, "exponentiallr"},
        {ANX_SAVED_COSINE_ANNEALING_LR, "cosineannealinglr"},
        {ANX_SAVED_REDUCE_LR_ON_PLATEAU, "plateau"},
    };
    if (saved->kind == ANX_SAVED_SEQUENTIAL_LR) {
        if (saved->n_schedulers != 2 || saved->n_milestones != 1 || saved->milestones[0].epoch < 1 ||
            saved->milestones[0].epoch > INT32_MAX)
            return true; /* refused later on, by name */
        o->lr_warmup_epochs = saved->milestones[0].epoch;
        o->lr_warmup_method = saved->schedulers[0].kind == ANX_SAVED_LINEAR_LR ? "linear" : "constant";
        return take_scheduler(&saved->schedulers[1], o);
    }
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        if (names[i].kind != saved->kind) continue;
        if (ANX_TRAIN_GIVEN(o, lr_scheduler) && strcmp(o->lr_scheduler, names[i].name) != 0) return false;
        o->lr_scheduler = names[i].name;
        if (saved->kind == ANX_SAVED_MULTI_STEP_LR && o->lr_milestones == NULL) o->lr_milestones = "0";
    }
    return true;
}

/* A number that was given beside one that a checkpoint of PyTorch's has. */
static anx_status compare(const anx_train_options *o, size_t offset, const char *name, double ours, double theirs,
                          anx_error *err) {
    if (!anx_train_is_given(o, offset) || ours == theirs) return ANX_OK;
    return anx_error_set(err, ANX_ERR_MISMATCH,
                         "its optimizer has %s %.17g, which PyTorch goes on with, not %.17g: leave --%s out", name,
                         theirs, ours, name);
}

/* PyTorch's load_state_dict takes the numbers of groups and schedulers from the file, whatever they were made with. */
static anx_status take_foreign(const anx_training_state *state, anx_train_options *o, anx_error *err) {
    const anx_saved_group *g = state->optimizer.n_groups > 0 ? &state->optimizer.groups[0] : NULL;
    if (!take_scheduler(&state->scheduler, o))
        return anx_error_set(err, ANX_ERR_MISMATCH, "its scheduler is %s, not --lr-scheduler %s",
                             anx_saved_scheduler_name(state->scheduler.kind), o->lr_scheduler);
    if (g == NULL) return ANX_OK;
    const double lr = g->initial_lr.value != 0.0 ? g->initial_lr.value : g->lr.value;
    anx_status status = ANX_OK;
    if (state->optimizer.n_groups == 1) status = compare(o, offsetof(anx_train_options, lr), "lr", o->lr, lr, err);
    if (status == ANX_OK)
        status = compare(o, offsetof(anx_train_options, momentum), "momentum", o->momentum, g->momentum.value, err);
    if (status == ANX_OK)
        status = compare(o, offsetof(anx_train_options, weight_decay), "weight-decay", o->weight_decay,
                         g->weight_decay.value, err);
    o->lr = lr;
    o->momentum = g->momentum.value;
    o->weight_decay = g->weight_decay.value;
    o->opt = g->nesterov ? "sgd_nesterov" : "sgd";
    return status;
}

anx_status anx_train_take_settings(const anx_training_state *state, anx_train_options *o, anx_error *err) {
    if (!anx_train_is_own(state)) return take_foreign(state, o, err);
    anx_status status = ANX_OK;
    for (int i = 0; i < ANX_TRAIN_SETTINGS && status == ANX_OK; i++)
        if (anx_train_setting_at(i)->role != ANX_SETTING_PASSING && anx_train_is_main_name(i))
            status = take_setting(state, o, i, err);
    return status;
}

/* ---- going on ------------------------------------------------------------------------------------------- */

/* The first class that is not the same, by name. */
static anx_status check_classes(const anx_train_setup *s, const char *saved, anx_error *err) {
    const anx_dataset *d = s->train;
    size_t n;
    for (int64_t i = 0; i < d->n_classes || saved != NULL; i++) {
        char theirs[200] = "", ours[200] = "";
        const char *here = i < d->n_classes ? d->class_ids[i] : NULL;
        const char *there = anx_train_next_text(&saved, &n);
        if (there != NULL && here != NULL && strlen(here) == n && memcmp(here, there, n) == 0) continue;
        if (there != NULL) anx_text_printable(there, n, theirs, sizeof theirs);
        if (here != NULL) anx_text_printable(here, strlen(here), ours, sizeof ours);
        return anx_error_set(err, ANX_ERR_MISMATCH,
                             "the run was begun with other classes than '%s' has: class %" PRId64
                             " %s%s%s, and is %s%s%s "
                             "here",
                             s->train_path, i, there != NULL ? "was '" : "was not there", theirs,
                             there != NULL ? "'" : "", here != NULL ? "'" : "not", ours, here != NULL ? "'" : "");
    }
    return ANX_OK;
}

/* A text that anx-train writes into every checkpoint; NULL: PyTorch wrote it, or it is none. */
static const char *saved_text(const anx_training_state *state, const char *name) {
    const anx_saved_value *v = find(state, name);
    return v != NULL && v->kind == ANX_SAVED_VALUE_TEXT ? v->u.text : NULL;
}

/* Which epoch was the best, and when a plateau is reached, is told by accuracies and losses of the same images. */
static anx_status check_validation(const anx_train_setup *s, const anx_training_state *state, anx_error *err) {
    char hex[ANX_SHA256_HEX];
    const char *digest = saved_text(state, "val_digest");
    if (digest == NULL || s->val == NULL || strcmp(digest, anx_digest_hex(&s->val->digest, hex)) == 0) return ANX_OK;
    return anx_error_set(err, ANX_ERR_MISMATCH,
                         "the run was begun with other validation images than '%s' has now: their names, classes or "
                         "sizes are not the same, so its best epoch would not be; give --val-dir what it had, or begin "
                         "a new run from its weights",
                         s->val_path);
}

static anx_status check_origin(const anx_train_setup *s, const anx_training_state *state, anx_error *err) {
    char hex[ANX_SHA256_HEX], shown[200];
    const char *arch = saved_text(state, "architecture"), *classes = saved_text(state, "classes");
    const char *digest = saved_text(state, "data_digest");
    if (arch != NULL && strcmp(arch, s->graph->arch->name) != 0)
        return anx_error_set(err, ANX_ERR_MISMATCH, "the run was begun with the network '%s'; what it holds is '%s'",
                             anx_text_printable(arch, strlen(arch), shown, sizeof shown), s->graph->arch->name);
    const anx_status status = classes != NULL ? check_classes(s, classes, err) : ANX_OK;
    if (status != ANX_OK) return status;
    if (digest == NULL || strcmp(digest, anx_digest_hex(&s->train->digest, hex)) == 0)
        return check_validation(s, state, err);
    return anx_error_set(err, ANX_ERR_MISMATCH,
                         "the run was begun with other images than '%s' has now: their names, classes or sizes are not "
                         "the same, so the order in which they come would not be",
                         s->train_path);
}

/* A count that anx-train writes into every checkpoint: of that type, and in the range. */
static anx_status take_count(const anx_training_state *state, const char *name, int64_t min, int64_t max, int64_t *out,
                             anx_error *err) {
    const anx_saved_value *v = find(state, name);
    if (v == NULL || v->kind != ANX_SAVED_VALUE_INT)
        return anx_error_set(err, ANX_ERR_FORMAT, "'%s' is %s", name, v == NULL ? "missing" : "not an int");
    const int64_t value = v->u.integer;
    if (value < min || value > max)
        return anx_error_set(err, ANX_ERR_FORMAT, "'%s' is %" PRId64 ", not from %" PRId64 " to %" PRId64, name, value,
                             min, max);
    *out = value;
    return ANX_OK;
}

static anx_status take_real(const anx_training_state *state, const char *name, double *out, anx_error *err) {
    const anx_saved_value *v = find(state, name);
    if (v == NULL || v->kind != ANX_SAVED_VALUE_FLOAT)
        return anx_error_set(err, ANX_ERR_FORMAT, "'%s' is %s", name, v == NULL ? "missing" : "not a float");
    *out = v->u.real;
    return ANX_OK;
}

/* What PyTorch's checkpoints do not have. */
static anx_status take_own_progress(const anx_train_setup *s, const anx_training_state *state, anx_train_progress *p,
                                    anx_error *err) {
    const int64_t here = p->global_step;
    anx_status status = take_count(state, "global_step", here, here, &p->global_step, err);
    if (status == ANX_OK) status = take_count(state, "epoch_images", 0, s->train->n_samples, &p->images, err);
    if (status == ANX_OK) status = take_count(state, "epoch_right", 0, p->images, &p->right, err);
    if (status == ANX_OK) status = take_count(state, "best_epoch", -1, p->epoch - 1, &p->best_epoch, err);
    if (status == ANX_OK) status = take_real(state, "epoch_loss_sum", &p->loss_sum, err);
    if (status == ANX_OK) status = take_real(state, "best_acc1", &p->best_acc1, err);
    if (status == ANX_OK) status = take_real(state, "best_loss", &p->best_loss, err);
    if (status == ANX_OK && (!isfinite(p->loss_sum) || !(p->best_acc1 >= 0.0 && p->best_acc1 <= 100.0)))
        status = anx_error_set(err, ANX_ERR_FORMAT, "'epoch_loss_sum' is %g and 'best_acc1' %g: a sum, and per cent",
                               p->loss_sum, p->best_acc1);
    return status;
}

static anx_status take_progress(const anx_train_setup *s, const anx_training_state *state, anx_train_progress *p,
                                anx_error *err) {
    const int64_t steps = anx_train_steps(s);
    if (state->epoch >= INT32_MAX || state->step < 0 || state->step > steps)
        return anx_error_set(err, ANX_ERR_MISMATCH,
                             "%" PRId64 " steps of epoch %" PRId64 " are done, of %" PRId64 " that an epoch has",
                             state->step, state->epoch + 1, steps);
    *p = (anx_train_progress){.epoch = state->epoch + 1,
                              .step = state->has_own ? state->step : 0,
                              .order_seed = state->order_seed,
                              .best_epoch = -1};
    p->global_step = p->epoch * steps + p->step;
    return anx_train_is_own(state) ? take_own_progress(s, state, p, err) : ANX_OK;
}

/* What was frozen, and what had a group of its own, no file of PyTorch's says. */
static anx_status check_groups(const anx_train_setup *s, const anx_training_state *state, anx_error *err) {
    const anx_saved_optimizer *o = &state->optimizer;
    char theirs[200] = "", ours[200] = "";
    bool same = o->n_groups == (size_t)s->n_groups;
    for (size_t g = 0; g < o->n_groups || g < (size_t)s->n_groups; g++) {
        size_t here = 0;
        for (int i = 0; i < s->graph->n_params; i++) here += s->group_of_param[i] == (int)g;
        const size_t a = strlen(theirs), b = strlen(ours);
        if (g < o->n_groups)
            snprintf(theirs + a, sizeof theirs - a, "%s%zu", g > 0 ? " and " : "", o->groups[g].n_params);
        if (g < (size_t)s->n_groups) snprintf(ours + b, sizeof ours - b, "%s%zu", g > 0 ? " and " : "", here);
        same = same && o->groups[g].n_params == here;
    }
    if (same) return ANX_OK;
    return anx_error_set(err, ANX_ERR_MISMATCH,
                         "the parameter groups of its optimizer have %s parameters, not %s: give --freeze and "
                         "--lr-group as that run had them",
                         o->n_groups > 0 ? theirs : "no", ours);
}

anx_status anx_train_load(anx_train_setup *s, const anx_checkpoint *checkpoint, const anx_training_state *state,
                          anx_train_progress *progress, anx_error *err) {
    const anx_training_live live = anx_train_live(s);
    anx_status status = check_origin(s, state, err);
    if (status == ANX_OK && !anx_train_is_own(state)) status = check_groups(s, state, err);
    if (status == ANX_OK) status = take_progress(s, state, progress, err);
    if (status == ANX_OK) status = anx_training_live_load(&live, state, &checkpoint->tensors, err);
    if (status == ANX_OK) anx_train_get_rates(s);
    if (status != ANX_OK) anx_error_in_file(err, checkpoint->path);
    return status;
}

int64_t anx_train_steps_of(const anx_training_state *state) {
    int64_t steps = -1;
    take_count(state, "global_step", 0, INT64_MAX, &steps, NULL);
    return steps;
}

int64_t anx_train_steps_in(const char *path) {
    anx_checkpoint *checkpoint = NULL;
    const anx_checkpoint_options options = {.skip_crc = true};
    anx_training_state *state = calloc(1, sizeof *state);
    int64_t steps = -1;
    if (state != NULL && anx_checkpoint_open(path, &options, &checkpoint, NULL) == ANX_OK &&
        anx_training_state_read(checkpoint, state, NULL) == ANX_OK)
        steps = anx_train_steps_of(state);
    if (state != NULL) anx_training_state_fini(state);
    anx_checkpoint_close(checkpoint);
    free(state);
    return steps;
}
