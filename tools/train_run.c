#include "tools/train_run.h"

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "loaders/file.h"
#include "src/base/clock.h"
#include "src/base/interrupt.h"
#include "src/base/version.h"
#include "tools/common/cli.h"
#include "tools/common/progress.h"
#include "tools/common/signals.h"
#include "tools/train_epoch.h"
#include "tools/train_show.h"

typedef struct session {
    anx_train_run run;
    anx_checkpoint *checkpoint; /* until everything is set up */
    anx_training_state *state;  /* of the run that is gone on with; NULL: a new one */
    bool goes_on;               /* in the folder that it was in */
    bool began;                 /* files were made that a run which comes to nothing takes back */
    bool is_going;              /* there is a last.pth to go on from, whatever happens */
    FILE *to;                   /* where text goes */
    anx_train_epoch last;
    double *last_lr;
    int64_t epochs_shown;
} session;

static anx_status out_of_memory(anx_error *err) {
    return anx_error_set(err, ANX_ERR_OUT_OF_MEMORY, "out of memory");
}

/* ---- opening -------------------------------------------------------------------------------------------- */

static anx_status open_checkpoint(session *s, anx_train_options *o, anx_error *err) {
    const char *path = o->resume != NULL ? o->resume : o->weights;
    const anx_checkpoint_options options = {.accept_bad_crc = o->accept_bad_crc};
    if (path == NULL) return ANX_OK;
    anx_status status = anx_checkpoint_open(path, &options, &s->checkpoint, err);
    if (status != ANX_OK || o->resume == NULL) return status;
    s->state = calloc(1, sizeof *s->state);
    if (s->state == NULL) return out_of_memory(err);
    status = anx_training_state_read(s->checkpoint, s->state, err);
    if (status == ANX_OK) {
        status = anx_train_take_settings(s->state, o, err);
        if (status != ANX_OK) anx_error_in_file(err, path);
    }
    return status;
}

/* What a run is gone on with: where it is wrong, the file is, unless it does not tell all that anx-train needs. */
static anx_status check_settings(const session *s, const anx_train_options *o, bool *wrong_usage, anx_error *err) {
    const anx_status status = anx_train_check_together(o, err);
    *wrong_usage = status != ANX_OK && (!anx_train_is_own(s->state) || ANX_TRAIN_GIVEN(o, epochs));
    if (status != ANX_OK && !*wrong_usage) anx_error_in_file(err, o->resume);
    return status;
}

/* Gone on from an earlier place, or from another run's file, a run would write over what the folder has. */
static anx_status check_place(const session *s, const anx_train_options *o, anx_error *err) {
    const anx_train_folder *f = &s->run.folder;
    const char *last = f->files[ANX_TRAIN_LAST];
    if (anx_file_is_same(o->resume, last) || o->force) return ANX_OK;
    if (!anx_file_is_same(o->resume, f->files[ANX_TRAIN_BEST])) return anx_train_folder_check_empty(f, err);
    const int64_t there = anx_train_steps_in(last), here = anx_train_steps_of(s->state);
    if (there <= here) return ANX_OK;
    const anx_status status = anx_error_set(
        err, ANX_ERR_EXISTS,
        "is %" PRId64 " step%s behind %s: go on with that one, give -o another folder, or give --force to "
        "drop what came behind",
        there - here, there - here == 1 ? "" : "s", last);
    anx_error_in_file(err, o->resume);
    return status;
}

/* A run's files are its own: what else is named must be none of them. */
static anx_status check_names(const session *s, const anx_train_options *o, anx_error *err) {
    for (int i = 0; i < ANX_TRAIN_FILES; i++) {
        const char *path = s->run.folder.files[i];
        if (i != ANX_TRAIN_LOG && o->log != NULL && anx_file_is_same(o->log, path))
            return anx_error_set(err, ANX_ERR_INVALID_ARGUMENT, "--log '%s' is where the run puts something else",
                                 o->log);
        if (o->json != NULL && !anx_cli_is_standard_output(o->json) && anx_file_is_same(o->json, path))
            return anx_error_set(err, ANX_ERR_INVALID_ARGUMENT, "--json '%s' is where the run puts something else",
                                 o->json);
        if (o->weights != NULL && o->force && anx_file_is_same(o->weights, path))
            return anx_error_set(err, ANX_ERR_INVALID_ARGUMENT,
                                 "--force would replace the --weights, '%s': give -o another folder", o->weights);
    }
    return ANX_OK;
}

/* A folder beside those of the classes would be a class, and without an image in it no run could go on. */
static anx_status check_outside(const session *s, anx_error *err) {
    const char *images[] = {s->run.setup.train_path, s->run.setup.val_path};
    for (size_t i = 0; i < sizeof images / sizeof images[0]; i++)
        if (images[i] != NULL && anx_train_folder_is_in(&s->run.folder, images[i]))
            return anx_error_set(err, ANX_ERR_INVALID_ARGUMENT,
                                 "'%s' would be a class of the images in '%s': give -o a folder elsewhere",
                                 s->run.folder.path, images[i]);
    return ANX_OK;
}

static anx_status open_folder(session *s, const anx_train_options *o, bool *wrong_usage, anx_error *err) {
    anx_train_folder *f = &s->run.folder;
    anx_status status = anx_train_folder_init(o->output, o->resume, o->log, f, err);
    if (status != ANX_OK) return status;
    status = check_outside(s, err);
    *wrong_usage = status != ANX_OK;
    if (status != ANX_OK) return status;
    if (o->resume != NULL) {
        anx_train_folder own;
        status = anx_train_folder_init(NULL, o->resume, NULL, &own, err);
        if (status != ANX_OK) return status;
        s->goes_on = anx_file_is_same(own.path, f->path);
        anx_train_folder_fini(&own);
    }
    status = anx_train_folder_make(f, err);
    if (status != ANX_OK) return status;
    status = check_names(s, o, err);
    *wrong_usage = status != ANX_OK;
    if (status == ANX_OK) status = anx_train_folder_lock(f, err);
    if (status == ANX_OK && s->goes_on) return check_place(s, o, err);
    return status == ANX_OK && !o->force ? anx_train_folder_check_empty(f, err) : status;
}

/* As absolute paths, so that the run can be gone on with from elsewhere, where a checkpoint can keep them. */
static void keep_absolute(anx_train_options *o, const char **path) {
    char *real = *path != NULL ? realpath(*path, NULL) : NULL;
    const bool can_be_kept = real != NULL && anx_train_can_be_kept(real, false);
    const char *copy = can_be_kept ? anx_arena_text(&o->arena, real, strlen(real)) : NULL;
    if (copy != NULL) *path = copy;
    free(real);
}

/* ---- the log -------------------------------------------------------------------------------------------- */

/* A setting as the log has it; lines become words. */
static anx_status describe_setting(anx_train_options *o, int i, anx_train_option *out, anx_error *err) {
    const anx_train_setting *s = anx_train_setting_at(i);
    const void *at = anx_train_setting_value(o, i);
    char buf[40];
    *out = (anx_train_option){.name = s->name};
    if (s->type == ANX_SETTING_FLAG) {
        out->kind = ANX_TRAIN_FLAG;
        out->flag = *(const bool *)at;
    } else if (s->type == ANX_SETTING_REAL || s->type == ANX_SETTING_INTEGER) {
        const double number = s->type == ANX_SETTING_REAL ? *(const double *)at : (double)*(const int64_t *)at;
        out->kind = number < s->min ? ANX_TRAIN_TEXT : ANX_TRAIN_NUMBER; /* below it: left to its default */
        out->number = number < s->min ? 0.0 : number;
    } else {
        const char *text = anx_train_setting_text(o, i, buf);
        char *copy = anx_arena_text(&o->arena, text, strlen(text));
        if (copy == NULL) return out_of_memory(err);
        for (char *c = copy; *c != '\0'; c++)
            if (*c == '\n') *c = ' ';
        out->text = *copy != '\0' ? copy : NULL;
    }
    return ANX_OK;
}

static anx_status create_log(session *s, anx_train_options *o, const char *time, anx_error *err) {
    const anx_train_setup *setup = &s->run.setup;
    anx_train_option options[ANX_TRAIN_SETTINGS];
    size_t n = 0;
    anx_status status = ANX_OK;
    for (int i = 0; i < ANX_TRAIN_SETTINGS && status == ANX_OK; i++) {
        if (anx_train_setting_at(i)->role == ANX_SETTING_PASSING || !anx_train_is_main_name(i)) continue;
        status = describe_setting(o, i, &options[n++], err);
        /* --data may have been both. */
        if (anx_train_setting_at(i)->offset == offsetof(anx_train_options, val_dir) && o->val_dir == NULL)
            options[n - 1].text = setup->val_path;
    }
    const anx_train_start start = {.version = ANX_VERSION,
                                   .device = setup->info.device,
                                   .threads = setup->info.threads,
                                   .engine = &setup->info,
                                   .arch = setup->graph->arch->name,
                                   .classes = setup->graph->num_classes,
                                   .train_images = setup->train->n_samples,
                                   .val_images = setup->val != NULL ? setup->val->n_samples : 0,
                                   .weights = o->resume != NULL ? o->resume : o->weights,
                                   .options = options,
                                   .n_options = n,
                                   .seed = o->seed,
                                   .time = time};
    /* What is there and no earlier run's, as folders are checked for, is a device or a pipe, which nothing replaces. */
    const char *path = s->run.folder.files[ANX_TRAIN_LOG];
    const bool force = o->force || !anx_train_is_file(path);
    return status == ANX_OK ? anx_train_log_create(path, force, &start, setup->n_groups, &s->run.log, err) : status;
}

static anx_status open_log(session *s, anx_train_options *o, anx_error *err) {
    const char *path = s->run.folder.files[ANX_TRAIN_LOG];
    const anx_train_progress *p = &s->run.progress;
    char now[32];
    anx_train_log_time((int64_t)time(NULL), now);
    const anx_train_resume resume = {.epoch = p->epoch,
                                     .step = p->step,
                                     .global_step = p->global_step,
                                     .version = ANX_VERSION,
                                     .device = s->run.setup.info.device,
                                     .threads = s->run.setup.info.threads,
                                     .engine = &s->run.setup.info,
                                     .time = now};
    if (s->goes_on && anx_train_is_file(path))
        return anx_train_log_resume(path, &resume, s->run.setup.n_groups, &s->run.log, err);
    return create_log(s, o, now, err);
}

/* ---- the first files ------------------------------------------------------------------------------------ */

static anx_status write_classes(session *s, anx_error *err) {
    char *text = NULL;
    size_t n_bytes = 0;
    anx_status status = anx_class_names_text(s->run.setup.classes, &text, &n_bytes, err);
    if (status == ANX_OK) status = anx_file_replace(s->run.folder.files[ANX_TRAIN_CLASSES], text, n_bytes, err);
    free(text);
    return status;
}

/* A run that comes to an end before its first step leaves nothing that looks like one. */
static void take_back(session *s) {
    if (s->began) anx_train_folder_take_back(&s->run.folder);
}

static anx_status open_all(session *s, anx_train_options *o, bool *wrong_usage, anx_error *err) {
    anx_train_run *r = &s->run;
    anx_status status = anx_train_setup_folders(o, &r->setup, err);
    if (status == ANX_OK) status = open_folder(s, o, wrong_usage, err);
    if (status == ANX_OK) status = anx_cli_try_to_put(o->json, err);
    if (status == ANX_OK) status = anx_train_setup_open(o, s->checkpoint, &r->setup, wrong_usage, err);
    if (status != ANX_OK) return status;
    keep_absolute(o, &o->data);
    keep_absolute(o, &o->val_dir);
    if (s->state != NULL) status = anx_train_load(&r->setup, s->checkpoint, s->state, &r->progress, err);
    anx_checkpoint_close(s->checkpoint); /* everything was copied */
    s->checkpoint = NULL;
    s->last_lr = calloc((size_t)r->setup.n_groups, sizeof *s->last_lr);
    if (status == ANX_OK && s->last_lr == NULL) status = out_of_memory(err);
    if (status == ANX_OK) status = open_log(s, o, err);
    if (status != ANX_OK) return status;
    anx_train_folder_sweep(&r->folder);
    if (s->goes_on) return write_classes(s, err);
    s->began = true;
    if (o->force) status = anx_train_folder_clear(&r->folder, err);
    if (status == ANX_OK) status = write_classes(s, err);
    if (status == ANX_OK) status = anx_train_save_last(r, err);
    if (status == ANX_OK) s->began = false;
    return status;
}

/* ---- epochs --------------------------------------------------------------------------------------------- */

static double percent(int64_t part, int64_t all) {
    return all > 0 ? 100.0 * (double)part / (double)all : NAN;
}

/* The best is the highest accuracy, of equal ones the lowest loss, of equal ones the first. */
static bool is_best(const anx_train_progress *p, const anx_train_epoch *e) {
    if (!e->validated || !isfinite(e->val_loss)) return false;
    return p->best_epoch < 0 || e->val_acc1 > p->best_acc1 ||
           (e->val_acc1 == p->best_acc1 && e->val_loss < p->best_loss);
}

/* The epoch as it was; then the run is at the next one's beginning, with its rates. */
static void close_epoch(session *s, const anx_accuracy *accuracy) {
    anx_train_run *r = &s->run;
    anx_train_progress *p = &r->progress;
    const bool validated = r->setup.val != NULL;
    memcpy(s->last_lr, r->setup.lr, (size_t)r->setup.n_groups * sizeof *s->last_lr);
    s->last = (anx_train_epoch){.epoch = p->epoch,
                                .global_step = p->global_step,
                                .train_loss = p->images > 0 ? p->loss_sum / (double)p->images : NAN,
                                .train_acc1 = percent(p->right, p->images),
                                .validated = validated,
                                .val_loss = validated && accuracy->images > 0 ? accuracy->loss : NAN,
                                .val_acc1 = validated ? percent(accuracy->right1, accuracy->images) : NAN,
                                .val_acc5 = validated ? percent(accuracy->right5, accuracy->images) : NAN,
                                .lr = s->last_lr,
                                .seconds = anx_clock_seconds() - r->epoch_started};
    s->last.best = is_best(p, &s->last);
    if (s->last.best) {
        p->best_epoch = p->epoch;
        p->best_acc1 = s->last.val_acc1;
        p->best_loss = s->last.val_loss;
    }
    if (r->setup.scheduler != NULL) {
        anx_scheduler_step(r->setup.scheduler, validated ? s->last.val_loss : s->last.train_loss, r->setup.lr);
        anx_train_set_rates(&r->setup);
    }
    *p = (anx_train_progress){.epoch = p->epoch + 1,
                              .global_step = p->global_step,
                              .best_epoch = p->best_epoch,
                              .best_acc1 = p->best_acc1,
                              .best_loss = p->best_loss};
}

/* An interruption waits until they are written, and then stops the run; a second one ends the writing. */
static anx_status save_best(anx_train_run *r, anx_error *err) {
    anx_status status = anx_train_save(&r->setup, &r->progress, r->folder.files[ANX_TRAIN_BEST], err);
    if (status == ANX_OK) status = anx_train_save_model(&r->setup, r->folder.files[ANX_TRAIN_BEST_MODEL], err);
    if (status != ANX_ERR_INTERRUPTED || r->stopped) return status;
    r->stopped = true;
    r->reason = ANX_TRAIN_INTERRUPTED;
    anx_interrupt_clear();
    return save_best(r, err);
}

/* best.pth before last.pth: killed between them, the epoch is done again, and both are written. */
static anx_status finish_epoch(session *s, anx_error *err) {
    anx_train_run *r = &s->run;
    anx_accuracy accuracy = ANX_ACCURACY_INIT;
    anx_status status = anx_train_check_finite(r, err);
    if (status == ANX_OK && !r->stopped) status = anx_train_validate(r, &accuracy, err);
    if (status == ANX_OK && !r->stopped) {
        close_epoch(s, &accuracy);
        status = anx_train_log_epoch(r->log, &s->last, err);
        if (status == ANX_OK && s->last.best) status = save_best(r, err);
        if (status == ANX_OK) status = anx_train_save_last(r, err);
        anx_progress_clear();
        anx_train_show_epoch(s->to, &s->last, s->epochs_shown++ == 0);
        fflush(s->to); /* where nobody reads any more, that may be the end: the epoch is kept by now */
    }
    anx_accuracy_fini(&accuracy);
    return status;
}

static anx_status run_epochs(session *s, anx_error *err) {
    anx_train_run *r = &s->run;
    anx_status status = ANX_OK;
    while (status == ANX_OK && !r->stopped && r->progress.epoch < r->options->epochs) {
        status = anx_train_steps_of_epoch(r, err);
        if (status == ANX_OK && !r->stopped) status = finish_epoch(s, err);
    }
    anx_progress_clear();
    return status;
}

/* ---- the end -------------------------------------------------------------------------------------------- */

/* What was reached, for whoever goes on. A value that is not finite leaves the checkpoint before it as it is. */
static anx_status save_end(session *s, anx_error *err) {
    anx_train_run *r = &s->run;
    anx_status status = ANX_OK;
    anx_interrupt_clear();
    if (!r->stopped || r->reason != ANX_TRAIN_NON_FINITE) status = anx_train_check_finite(r, err);
    if (r->stopped && r->reason != ANX_TRAIN_NON_FINITE && r->progress.step > 0 && status == ANX_OK)
        status = anx_train_save_last(r, err);
    if (status == ANX_OK && !(r->stopped && r->reason == ANX_TRAIN_NON_FINITE))
        status = anx_train_save_model(&r->setup, r->folder.files[ANX_TRAIN_LAST_MODEL], err);
    const anx_train_end end = {.reason = r->stopped ? r->reason : ANX_TRAIN_DONE,
                               .epoch = r->progress.epoch,
                               .global_step = r->progress.global_step,
                               .best_acc1 = r->progress.best_epoch >= 0 ? r->progress.best_acc1 : NAN,
                               .seconds = anx_clock_seconds() - r->started};
    return status == ANX_OK ? anx_train_log_end(r->log, &end, err) : status;
}

static anx_status report(session *s, anx_error *err) {
    anx_train_run *r = &s->run;
    const anx_train_outcome outcome = {.reason = r->stopped ? r->reason : ANX_TRAIN_DONE,
                                       .progress = &r->progress,
                                       .last = s->epochs_shown > 0 ? &s->last : NULL,
                                       .non_finite =
                                           r->stopped && r->reason == ANX_TRAIN_NON_FINITE ? &r->non_finite : NULL,
                                       .folder = &r->folder,
                                       .left_out = r->bad_images,
                                       .seconds = anx_clock_seconds() - r->started};
    anx_train_show_end(s->to, &r->setup, &outcome);
    if (r->options->json == NULL) return ANX_OK;
    char *text = NULL;
    size_t n_bytes = 0;
    anx_status status = anx_train_outcome_json(&r->setup, &outcome, &text, &n_bytes, err);
    if (status == ANX_OK) status = anx_cli_put(r->options->json, text, n_bytes, err);
    free(text);
    return status;
}

/* last.pth is replaced whole or not at all: what an error in mid-run leaves is the one before. */
static void tell_last(const session *s) {
    const char *path = s->run.folder.files[ANX_TRAIN_LAST];
    const int64_t steps = anx_train_steps_in(path);
    if (steps >= 0)
        anx_cli_say("%s is as it was written last, after step %" PRId64 " of the run: --resume goes on with it", path,
                    steps);
}

static int trouble(const session *s, const anx_error *err) {
    const int code = anx_cli_trouble(err);
    if (s->run.kept)
        anx_cli_say("what came before that is in %s: --resume goes on with it%s", s->run.folder.files[ANX_TRAIN_LAST],
                    s->run.options->skip_bad || err->status == ANX_ERR_OUT_OF_MEMORY || err->status == ANX_ERR_DEVICE
                        ? ""
                        : " when the images are as they were, and --skip-bad without such ones");
    else if (s->is_going)
        tell_last(s);
    return code;
}

static int train(session *s, anx_train_options *o) {
    anx_train_run *r = &s->run;
    anx_error err = ANX_ERROR_INIT;
    bool wrong_usage = false;
    s->to = anx_cli_is_standard_output(o->json) ? stderr : stdout;
    anx_status status = open_checkpoint(s, o, &err);
    if (status == ANX_OK && o->resume != NULL) status = check_settings(s, o, &wrong_usage, &err);
    anx_interrupt_hold();
    if (status == ANX_OK) status = open_all(s, o, &wrong_usage, &err);
    if (status == ANX_OK) {
        anx_train_show_head(s->to, &r->setup, &r->progress);
        fflush(s->to);
        r->started = r->saved = anx_clock_seconds();
        s->is_going = true;
        status = run_epochs(s, &err);
    } else {
        take_back(s);
    }
    if (status == ANX_OK) status = save_end(s, &err);
    if (status == ANX_OK) status = report(s, &err);
    anx_interrupt_release();
    if (wrong_usage) return anx_cli_usage("%s", err.message);
    if (status == ANX_ERR_INTERRUPTED) return anx_signals_take();
    if (status != ANX_OK) return trouble(s, &err);
    if (r->stopped && r->reason == ANX_TRAIN_INTERRUPTED) return anx_signals_take();
    if (!r->stopped || r->reason != ANX_TRAIN_NON_FINITE) return ANX_EXIT_OK;
    anx_cli_say("stopped at a value that is not finite");
    return ANX_EXIT_TROUBLE;
}

int anx_train(int argc, char **argv) {
    anx_train_options options;
    bool stop = true;
    int code = anx_train_parse(argc, argv, &options, &stop);
    if (!stop) {
        session s = {.run = {.options = &options, .progress = ANX_TRAIN_PROGRESS_INIT, .last_loss = NAN}};
        code = train(&s, &options);
        anx_train_log_destroy_writer(s.run.log);
        anx_train_setup_fini(&s.run.setup);
        anx_train_folder_fini(&s.run.folder);
        if (s.state != NULL) anx_training_state_fini(s.state);
        free(s.state);
        free(s.last_lr);
        anx_checkpoint_close(s.checkpoint);
    }
    anx_train_options_fini(&options);
    return code;
}
