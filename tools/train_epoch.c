#include "tools/train_epoch.h"

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "parity/evaluate.h"
#include "parity/train_summary.h"
#include "src/base/clock.h"
#include "src/base/interrupt.h"
#include "tools/common/cli.h"
#include "tools/common/progress.h"

static void stop(anx_train_run *r, anx_train_reason reason) {
    r->stopped = true;
    r->reason = reason;
}

/* ---- values that are not finite ------------------------------------------------------------------------- */

/* tensor NULL: nothing but the loss. */
static anx_status note_non_finite(anx_train_run *r, int64_t step, int64_t global_step, float loss, const char *tensor,
                                  anx_error *err) {
    snprintf(r->non_finite_loss, sizeof r->non_finite_loss, "%g", (double)loss);
    if (isnan(loss)) strcpy(r->non_finite_loss, "nan"); /* without a sign */
    r->non_finite = (anx_train_non_finite){.epoch = r->progress.epoch,
                                           .step = step,
                                           .global_step = global_step,
                                           .loss = r->non_finite_loss,
                                           .tensor = tensor};
    stop(r, ANX_TRAIN_NON_FINITE);
    return anx_train_log_non_finite(r->log, &r->non_finite, err);
}

/* ---- checkpoints ---------------------------------------------------------------------------------------- */

anx_status anx_train_check_finite(anx_train_run *r, anx_error *err) {
    anx_nonfinite found;
    const anx_status status = anx_trainer_fetch(r->setup.trainer, err);
    if (status != ANX_OK || anx_trainer_is_finite(r->setup.trainer, &found)) return status;
    return note_non_finite(r, r->progress.step, r->progress.global_step, r->last_loss, found.name, err);
}

anx_status anx_train_save_last(anx_train_run *r, anx_error *err) {
    const char *path = r->folder.files[ANX_TRAIN_LAST];
    anx_progress_clear();
    anx_status status = anx_train_save(&r->setup, &r->progress, path, err);
    if (status == ANX_ERR_INTERRUPTED) { /* what was reached is written all the same; a second one ends that */
        stop(r, ANX_TRAIN_INTERRUPTED);
        anx_interrupt_clear();
        status = anx_train_save(&r->setup, &r->progress, path, err);
    }
    r->saved = anx_clock_seconds();
    return status;
}

/* An image that cannot be read costs nothing of what came before it: whoever leaves it out goes on, and
   whoever can read it again, with the same file. */
static void keep_reached(anx_train_run *r) {
    anx_nonfinite found;
    r->kept = r->progress.step == 0 ||
              (anx_trainer_fetch(r->setup.trainer, NULL) == ANX_OK && anx_trainer_is_finite(r->setup.trainer, &found) &&
               anx_train_save_last(r, NULL) == ANX_OK);
}

static anx_status save_in_time(anx_train_run *r, anx_error *err) {
    const double pause = 60.0 * r->options->save_minutes;
    if (pause == 0.0 || anx_clock_seconds() - r->saved < pause) return ANX_OK;
    const anx_status status = anx_train_check_finite(r, err);
    return status == ANX_OK && !r->stopped ? anx_train_save_last(r, err) : status;
}

/* ---- progress ------------------------------------------------------------------------------------------- */

/* Of what is left of the run, as it went until now. */
static double seconds_left(const anx_train_run *r) {
    const int64_t steps = anx_train_steps(&r->setup);
    double all = (double)r->options->epochs * (double)steps - (double)r->progress.global_step;
    if (r->options->max_steps > 0) all = fmin(all, (double)(r->options->max_steps - r->progress.global_step));
    const double step = r->step_seconds / (double)(r->steps_done > 0 ? r->steps_done : 1);
    const double validation = r->validations > 0 ? r->validation_seconds / (double)r->validations : 0.0;
    return all * step + ceil(all / (double)steps) * validation;
}

/* With fewer words where the terminal is narrow: what stands at the end, how long it will take, must not be cut off. */
static void show_step(const anx_train_run *r, double rate) {
    static const char *const words[][5] = {{"epoch ", "  step ", "  loss ", "images/s", " left"},
                                           {"epoch ", " step ", " loss ", "img/s", " left"},
                                           {"", " ", " loss ", "img/s", ""}};
    enum { forms = sizeof words / sizeof words[0] };
    const anx_train_progress *p = &r->progress;
    char loss[32], acc[32], lr[32], left[32], line[400] = "";
    if (!anx_progress_is_shown()) return;
    anx_train_loss(p->loss_sum / (double)p->images, loss);
    anx_train_accuracy(100.0 * (double)p->right / (double)p->images, acc);
    anx_train_rate(r->setup.lr[0], lr);
    anx_train_duration(seconds_left(r), left);
    for (int i = 0; i < forms && (i == 0 || (int)strlen(line) > anx_progress_width()); i++) {
        const char *const *w = words[i], *gap = i == 0 ? "  " : " ";
        snprintf(line, sizeof line,
                 "%s%" PRId64 "/%" PRId64 "%s%" PRId64 "/%" PRId64 "%s%s%sAcc@1 %s%slr %s%s%.4g %s%s%s%s", w[0],
                 p->epoch, r->options->epochs, w[1], p->step, anx_train_steps(&r->setup), w[2], loss, gap, acc, gap, lr,
                 gap, rate, w[3], gap, left, w[4]);
    }
    anx_progress_show("%s", line);
}

/* ---- steps ---------------------------------------------------------------------------------------------- */

/* Every so many steps a line, and one for the epoch's last. */
static bool is_logged(const anx_train_run *r) {
    enum { lines_of_epoch = 1000 };
    const int64_t steps = anx_train_steps(&r->setup), given = r->options->print_freq;
    const int64_t every = given > 0 ? given : (steps - 1) / lines_of_epoch + 1;
    return r->progress.step % every == 0 || r->progress.step == steps;
}

static anx_status log_step(anx_train_run *r, int64_t images, float loss, double seconds, double waited,
                           anx_error *err) {
    const anx_train_progress *p = &r->progress;
    if (!is_logged(r)) return ANX_OK;
    const anx_train_step line = {.epoch = p->epoch,
                                 .step = p->step,
                                 .steps = anx_train_steps(&r->setup),
                                 .global_step = p->global_step,
                                 .images = images,
                                 .loss = loss,
                                 .mean_loss = p->images > 0 ? p->loss_sum / (double)p->images : NAN,
                                 .acc1 = p->images > 0 ? 100.0 * (double)p->right / (double)p->images : NAN,
                                 .lr = r->setup.lr,
                                 .images_per_s = (double)images / seconds,
                                 .data_wait_s = waited};
    return anx_train_log_step(r->log, &line, err);
}

static void tell_bad(anx_train_run *r, const anx_training_batch *batch) {
    char text[2048];
    if (batch->n_bad > 0) anx_progress_clear();
    for (int64_t i = 0; i < batch->n_bad; i++)
        anx_cli_say("left out: %s", anx_error_format(batch->bad[i], text, sizeof text));
    r->bad_images += batch->n_bad;
}

/* A batch in which every image was bad is no step for the parameters, but one of the epoch. */
static anx_status take_batch(anx_train_run *r, const anx_training_batch *batch, double began, double waited,
                             anx_error *err) {
    const int64_t crop = anx_preprocess_torchvision.crop, shape[] = {batch->n, 3, crop, crop};
    anx_trainer_result result = {.loss = NAN};
    anx_status status = ANX_OK;
    if (batch->n > 0) {
        const anx_tensor input = anx_tensor_view(ANX_F32, 4, shape, batch->input);
        status = anx_trainer_step(r->setup.trainer, &r->setup.gen, &input, batch->targets, &result, err);
        if (status != ANX_OK) return status;
        const anx_nonfinite *first = &result.nonfinite;
        if (first->kind != ANX_NONFINITE_NONE)
            return note_non_finite(r, r->progress.step + 1, r->progress.global_step + 1, result.loss,
                                   first->kind != ANX_NONFINITE_LOSS ? first->name : NULL, err);
        r->last_loss = result.loss;
        r->progress.loss_sum += (double)result.loss * (double)batch->n;
        r->progress.right += result.top1;
        r->progress.images += batch->n;
    }
    r->progress.step++;
    r->progress.global_step++;
    const double seconds = anx_clock_seconds() - began;
    r->steps_done++;
    r->step_seconds += seconds;
    show_step(r, (double)batch->n / seconds);
    return log_step(r, batch->n, result.loss, seconds, waited, err);
}

static anx_status begin_epoch(anx_train_run *r, anx_error *err) {
    anx_train_progress *p = &r->progress;
    r->epoch_started = anx_clock_seconds();
    if (p->step > 0) return anx_training_input_resume(r->setup.input, p->epoch, p->order_seed, p->step, err);
    return anx_training_input_begin(r->setup.input, &r->setup.gen, p->epoch, &p->order_seed, err);
}

/* The last step of an epoch is not the last thing: it is evaluated, and its checkpoints are written. */
static bool was_asked_to_stop(const anx_train_run *r) {
    const int64_t most = r->options->max_steps;
    return most > 0 && r->progress.global_step >= most && r->progress.step < anx_train_steps(&r->setup);
}

anx_status anx_train_steps_of_epoch(anx_train_run *r, anx_error *err) {
    anx_status status = begin_epoch(r, err);
    while (status == ANX_OK && !r->stopped) {
        anx_training_batch batch;
        if (anx_interrupt_requested())
            stop(r, ANX_TRAIN_INTERRUPTED);
        else if (was_asked_to_stop(r))
            stop(r, ANX_TRAIN_MAX_STEPS);
        if (r->stopped) break;
        const double began = anx_clock_seconds();
        status = anx_training_input_next(r->setup.input, &r->setup.gen, &batch, err);
        if (status == ANX_ERR_INTERRUPTED) {
            stop(r, ANX_TRAIN_INTERRUPTED);
            return ANX_OK;
        }
        if (status != ANX_OK) keep_reached(r);
        if (status != ANX_OK || batch.over) return status;
        tell_bad(r, &batch);
        status = take_batch(r, &batch, began, anx_clock_seconds() - began, err);
        if (status == ANX_OK && !r->stopped) status = save_in_time(r, err);
    }
    return status;
}

/* ---- evaluation ----------------------------------------------------------------------------------------- */

static anx_status after_batch(void *context, const anx_evaluation *so_far, anx_error *err) {
    const anx_train_run *r = context;
    (void)err;
    anx_progress_show("epoch %" PRId64 "/%" PRId64 "  evaluating %" PRId64 "/%" PRId64, r->progress.epoch,
                      r->options->epochs, so_far->done, r->setup.val->n_samples);
    return ANX_OK;
}

static anx_status evaluate(anx_train_run *r, anx_evaluation *evaluation, anx_error *err) {
    anx_train_setup *s = &r->setup;
    const int n = s->graph->n_params;
    const anx_status fetched = anx_trainer_fetch(s->trainer, err);
    if (fetched != ANX_OK) return fetched;
    anx_tensor *params = calloc((size_t)n, sizeof *params);
    if (params == NULL) return anx_error_set(err, ANX_ERR_OUT_OF_MEMORY, "out of memory");
    memcpy(params, anx_trainer_params(s->trainer), (size_t)n * sizeof *params); /* views, while no step is taken */
    const anx_model model = {.graph = s->graph, .params = params};
    const anx_evaluate_options options = {.model = &model,
                                          .device = s->device,
                                          .profile = &anx_preprocess_torchvision,
                                          .source = &s->val_source,
                                          .files = s->val_files,
                                          .n_files = s->val->n_samples,
                                          .label = anx_dataset_label,
                                          .label_context = s->val,
                                          .batch = r->options->batch,
                                          .threads = (int)r->options->threads,
                                          .skip_bad = r->options->skip_bad,
                                          .progress = after_batch,
                                          .progress_context = r};
    const anx_status status = anx_evaluate(&options, evaluation, err);
    free(params);
    return status;
}

anx_status anx_train_validate(anx_train_run *r, anx_accuracy *out, anx_error *err) {
    anx_evaluation evaluation = ANX_EVALUATION_INIT;
    if (r->setup.val == NULL) return ANX_OK;
    const double began = anx_clock_seconds();
    anx_status status = evaluate(r, &evaluation, err);
    anx_progress_clear();
    if (status == ANX_ERR_INTERRUPTED) {
        stop(r, ANX_TRAIN_INTERRUPTED);
        status = ANX_OK;
    } else if (status == ANX_OK) {
        if (strcmp(r->options->order, "pytorch") == 0) anx_loader_begin(&r->setup.gen, false, 0, NULL);
        for (int64_t i = 0; i < evaluation.n_bad; i++) anx_cli_say("left out: %s", evaluation.bad[i].reason);
        r->bad_images += evaluation.n_bad;
        status = anx_accuracy_count(evaluation.predictions, evaluation.n_predictions, r->setup.graph->num_classes,
                                    r->options->batch, out, err);
    }
    if (status != ANX_OK) keep_reached(r);
    r->validations++;
    r->validation_seconds += anx_clock_seconds() - began;
    anx_evaluation_fini(&evaluation);
    return status;
}
