#include "tools/eval_run.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "loaders/dataset/dataset.h"
#include "loaders/file.h"
#include "parity/eval_report.h"
#include "parity/evaluation_file.h"
#include "parity/machine.h"
#include "parity/official.h"
#include "src/base/clock.h"
#include "src/base/interrupt.h"
#include "src/base/version.h"
#include "tools/common/cli.h"
#include "tools/common/model_classes.h"
#include "tools/common/progress.h"
#include "tools/common/signals.h"
#include "tools/eval_options.h"
#include "tools/eval_weights.h"

/* While it runs, what was reached is saved so often. */
static const double seconds_between_saves = 30.0;
/* So many ambiguous images at most are decided again in double, which takes about a second each. */
enum { most_redecided = 64 };

typedef struct eval_run {
    const anx_eval_options *options;
    anx_eval_weights weights;
    anx_model_classes classes;
    anx_dataset *dataset;
    anx_device *device;
    anx_device_info info;
    anx_digest weights_digest;
    const anx_official_file *official; /* NULL: not a published file */
    int64_t *files;                    /* (n_files): what is evaluated of the dataset */
    int64_t n_files;
    anx_image_source source;
    anx_evaluate_options evaluate;
    anx_evaluation evaluation;
    int64_t done_before; /* images taken over from an earlier run */
    double started, saved;
    bool not_saved; /* the state could not be written, which was said */
    int64_t redecided, turned1, turned5;
    char *facts_text[8];
    anx_evaluation_fact facts[8];
    size_t n_facts;
} eval_run;

/* ---- opening ---- */

static anx_status choose_files(eval_run *r, anx_error *err) {
    const anx_eval_options *o = r->options;
    const int64_t all = r->dataset->n_samples;
    if (o->sample > all)
        return anx_error_set(err, ANX_ERR_INVALID_ARGUMENT, "--sample %" PRId64 " of %" PRId64 " images", o->sample,
                             all);
    r->n_files = o->sample > 0 ? o->sample : o->limit > 0 && o->limit < all ? o->limit : all;
    r->files = calloc((size_t)r->n_files + 1, sizeof *r->files);
    if (r->files == NULL) return anx_error_set(err, ANX_ERR_OUT_OF_MEMORY, "out of memory for a list of files");
    if (o->sample > 0) return anx_draw_sample(all, o->sample, o->seed, r->files, err);
    for (int64_t i = 0; i < r->n_files; i++) r->files[i] = i;
    return ANX_OK;
}

static anx_status open_dataset(eval_run *r, anx_error *err) {
    const anx_dataset_options options = {.labels = r->options->labels,
                                         .synsets = r->options->synsets,
                                         .classes = r->classes.names,
                                         .n_classes = r->weights.model->graph->num_classes};
    anx_status status = anx_dataset_open(r->options->val_dir, &options, &r->dataset, err);
    if (status == ANX_OK) r->source = anx_dataset_source(r->dataset);
    if (status == ANX_OK && r->classes.own) status = anx_check_class_folders(r->dataset, r->classes.names, err);
    return status == ANX_OK ? choose_files(r, err) : status;
}

static anx_status open_device(eval_run *r, anx_error *err) {
    const anx_device_options options = {.threads = r->options->threads, .math = r->options->math};
    const char *name = r->options->device != NULL ? r->options->device : "auto";
    anx_status status = anx_device_open(name, &options, &r->device, err);
    if (status == ANX_OK) anx_device_describe(r->device, &r->info);
    return status;
}

static anx_status describe_weights(eval_run *r, anx_error *err) {
    anx_model *model = r->weights.model;
    anx_digest file;
    bool hashed;
    anx_status status = anx_model_digests(model, r->options->threads, err);
    if (status == ANX_OK)
        status = anx_sha256_buffer(model->digests, (size_t)model->graph->n_params * sizeof *model->digests,
                                   &r->weights_digest, err);
    if (status == ANX_OK)
        status =
            anx_official_recognise(&anx_official_published, r->weights.checkpoint, &r->official, &hashed, &file, err);
    return status;
}

static anx_status open_all(eval_run *r, anx_error *err) {
    anx_status status = anx_cli_try_to_put(r->options->json, err);
    if (status == ANX_OK) status = anx_cli_try_to_put(r->options->predictions, err);
    if (status == ANX_OK) status = anx_cli_try_to_put(r->options->resume, err);
    if (status == ANX_OK)
        status = anx_model_classes_find(r->weights.checkpoint, r->weights.model->graph->num_classes,
                                        r->options->data_dir, &r->classes, err);
    if (status == ANX_OK) status = open_dataset(r, err);
    if (status == ANX_OK) status = open_device(r, err);
    if (status == ANX_OK) status = describe_weights(r, err);
    r->evaluate = (anx_evaluate_options){.model = r->weights.model,
                                         .device = r->device,
                                         .profile = &anx_preprocess_torchvision,
                                         .source = &r->source,
                                         .files = r->files,
                                         .n_files = r->n_files,
                                         .label = anx_dataset_label,
                                         .label_context = r->dataset,
                                         .batch = r->options->batch,
                                         .threads = r->options->threads,
                                         .skip_bad = r->options->skip_bad};
    return status;
}

static void close_all(eval_run *r) {
    for (size_t i = 0; i < r->n_facts; i++) free(r->facts_text[i]);
    anx_evaluation_fini(&r->evaluation);
    anx_device_close(r->device);
    anx_dataset_close(r->dataset);
    anx_model_classes_fini(&r->classes);
    anx_eval_weights_fini(&r->weights);
    free(r->files);
}

/* ---- resuming ---- */

static anx_status add_fact(eval_run *r, anx_error *err, const char *key, const char *what, const char *format, ...)
    __attribute__((format(printf, 5, 6)));
static anx_status add_fact(eval_run *r, anx_error *err, const char *key, const char *what, const char *format, ...) {
    va_list args;
    va_start(args, format);
    const int n = vasprintf(&r->facts_text[r->n_facts], format, args);
    va_end(args);
    if (n < 0) return anx_error_set(err, ANX_ERR_OUT_OF_MEMORY, "out of memory");
    r->facts[r->n_facts] = (anx_evaluation_fact){key, what, r->facts_text[r->n_facts]};
    r->n_facts++;
    return ANX_OK;
}

/* All that decides what comes out, to the last bit. Threads do not: whatever their number, bits of logits aside. */
static anx_status describe_evaluation(eval_run *r, anx_error *err) {
    const anx_eval_options *o = r->options;
    char hex[ANX_SHA256_HEX];
    anx_status status = add_fact(r, err, "weights", "weights (SHA-256)", "%s", anx_digest_hex(&r->weights_digest, hex));
    if (status == ANX_OK)
        status = add_fact(r, err, "dataset", "images and labels (SHA-256 of names, labels, sizes)", "%s",
                          anx_digest_hex(&r->dataset->digest, hex));
    if (status == ANX_OK)
        status = o->sample > 0 ? add_fact(r, err, "selection", "selection", "--sample %" PRId64 " --seed %" PRIu64,
                                          o->sample, o->seed)
                               : add_fact(r, err, "selection", "selection", "the first %" PRId64, r->n_files);
    if (status == ANX_OK) status = add_fact(r, err, "batch", "--batch", "%" PRId64, o->batch);
    if (status == ANX_OK)
        status = add_fact(r, err, "engine", "engine", "%s, %s, %s, %d threads", r->info.device, r->info.library,
                          r->info.isa, r->info.threads);
    if (status == ANX_OK)
        status = add_fact(r, err, "math", "math of the engine", "%s", anx_math_mode_name(r->info.math));
    if (status == ANX_OK) status = add_fact(r, err, "version", "version of anx", "%s", ANX_VERSION);
    return status;
}

static anx_status resume(eval_run *r, anx_error *err) {
    if (r->options->resume == NULL) return ANX_OK;
    anx_status status = describe_evaluation(r, err);
    if (status != ANX_OK) return status;
    status = anx_evaluation_load(r->options->resume, &r->evaluate, r->facts, r->n_facts, &r->evaluation, err);
    r->done_before = r->evaluation.done;
    if (status == ANX_OK && r->evaluation.n_bad > 0 && !r->options->skip_bad) {
        status = anx_error_set(err, ANX_ERR_MISMATCH,
                               "holds %" PRId64 " file%s that could not be evaluated: --skip-bad goes on with it",
                               r->evaluation.n_bad, r->evaluation.n_bad == 1 ? "" : "s");
        anx_error_in_file(err, r->options->resume);
    }
    return status == ANX_ERR_NOT_FOUND ? ANX_OK : status;
}

/* That it cannot be written costs no result: it is said, and shows in the exit status. */
static void save(eval_run *r) {
    anx_error err = ANX_ERROR_INIT;
    if (r->options->resume == NULL) return;
    r->saved = anx_clock_seconds();
    if (anx_evaluation_save(r->options->resume, &r->evaluation, r->facts, r->n_facts, &err) == ANX_OK) return;
    anx_progress_clear();
    if (!r->not_saved) (void)anx_cli_trouble(&err);
    r->not_saved = true;
}

/* ---- running ---- */

/* "1:02:03" or "2:03" */
static char *format_duration(double seconds, char buf[32]) {
    const long s = (long)(seconds + 0.5);
    if (s >= 3600)
        snprintf(buf, 32, "%ld:%02ld:%02ld", s / 3600, s / 60 % 60, s % 60);
    else
        snprintf(buf, 32, "%ld:%02ld", s / 60, s % 60);
    return buf;
}

static void show_progress(const eval_run *r, const anx_evaluation *e) {
    if (!anx_progress_is_shown()) return;
    const double seconds = anx_clock_seconds() - r->started, speed = (double)(e->done - r->done_before) / seconds;
    int64_t right1 = 0, right5 = 0;
    for (int64_t i = 0; i < e->n_predictions; i++) {
        right1 += e->predictions[i].right1;
        right5 += e->predictions[i].right5;
    }
    const double n = e->n_predictions > 0 ? (double)e->n_predictions : 1.0;
    char left[32];
    anx_progress_show("%" PRId64 "/%" PRId64 "  %.1f images/s  %s left  Acc@1 %.3f Acc@5 %.3f", e->done, r->n_files,
                      speed, format_duration((double)(r->n_files - e->done) / speed, left), 100.0 * (double)right1 / n,
                      100.0 * (double)right5 / n);
}

static anx_status after_batch(void *context, const anx_evaluation *so_far, anx_error *err) {
    eval_run *r = context;
    (void)err;
    show_progress(r, so_far);
    if (anx_clock_seconds() - r->saved >= seconds_between_saves) save(r);
    return ANX_OK;
}

/*
 * An interruption is no error: what was reached is reported. Any other error ends the run, but what was reached is
 * saved first.
 */
static anx_status run(eval_run *r, bool *interrupted, anx_error *err) {
    r->evaluate.progress = after_batch;
    r->evaluate.progress_context = r;
    r->started = r->saved = anx_clock_seconds();
    anx_interrupt_hold();
    anx_status status = anx_evaluate(&r->evaluate, &r->evaluation, err);
    anx_interrupt_release();
    anx_progress_clear();
    *interrupted = status == ANX_ERR_INTERRUPTED;
    if (*interrupted) anx_interrupt_clear(); /* for the files that are still to be written */
    save(r);
    return *interrupted ? ANX_OK : status;
}

/* ---- ambiguous images in double ---- */

/* Which of the predictions are ambiguous, so many at most; malloc'd. NULL without memory. */
static int64_t *list_ambiguous(const eval_run *r, int64_t *n) {
    int64_t *files = calloc(most_redecided, sizeof *files);
    *n = 0;
    for (int64_t i = 0; files != NULL && i < r->evaluation.n_predictions && *n < most_redecided; i++) {
        const anx_prediction *p = &r->evaluation.predictions[i];
        if (p->ambiguous1 || p->ambiguous5) files[(*n)++] = p->file;
    }
    return files;
}

static anx_status after_redecided(void *context, const anx_evaluation *so_far, anx_error *err) {
    (void)context;
    (void)err;
    anx_progress_show("%" PRId64 " images within rounding decided again in double", so_far->done);
    return ANX_OK;
}

static void compare_decisions(eval_run *r, const anx_evaluation *in_double) {
    int64_t at = 0;
    for (int64_t i = 0; i < in_double->n_predictions; i++) {
        const anx_prediction *there = &in_double->predictions[i];
        while (r->evaluation.predictions[at].file != there->file) at++; /* both are in the order of the files */
        r->turned1 += r->evaluation.predictions[at].right1 != there->right1;
        r->turned5 += r->evaluation.predictions[at].right5 != there->right5;
    }
    r->redecided = in_double->n_predictions;
}

/* An interruption costs no more than what this would have added. */
static anx_status redecide(eval_run *r, bool *interrupted, anx_error *err) {
    int64_t n = 0, *files = list_ambiguous(r, &n);
    anx_device *reference = NULL;
    anx_evaluation in_double = ANX_EVALUATION_INIT;
    anx_status status = files != NULL ? ANX_OK : anx_error_set(err, ANX_ERR_OUT_OF_MEMORY, "out of memory");
    if (status != ANX_OK || n == 0) goto out;
    const anx_device_options options = {.threads = r->options->threads};
    status = anx_device_open("reference", &options, &reference, err);
    if (status != ANX_OK) goto out;
    anx_evaluate_options again = r->evaluate;
    again.device = reference;
    again.files = files;
    again.n_files = n;
    again.batch = 1;
    again.skip_bad = true; /* one that has gone meanwhile is not decided again */
    again.progress = after_redecided;
    anx_interrupt_hold();
    status = anx_evaluate(&again, &in_double, err);
    anx_interrupt_release();
    anx_progress_clear();
    *interrupted = status == ANX_ERR_INTERRUPTED;
    if (*interrupted) {
        anx_interrupt_clear();
        status = ANX_OK;
    }
    if (status == ANX_OK) compare_decisions(r, &in_double);
out:
    anx_evaluation_fini(&in_double);
    anx_device_close(reference);
    free(files);
    return status;
}

/* ---- reports ---- */

static anx_status write_to_stream(void *to, const void *data, size_t n_bytes, anx_error *err) {
    (void)err;
    fwrite(data, 1, n_bytes, to); /* standard output is checked at the command's end */
    return ANX_OK;
}

static anx_status write_to_file(void *to, const void *data, size_t n_bytes, anx_error *err) {
    return anx_file_writer_write(to, data, n_bytes, err);
}

static anx_status put_json(const anx_eval_report *report, anx_eval_write_fn *write, void *to, anx_error *err) {
    char *text = NULL;
    size_t n_bytes = 0;
    anx_status status = anx_eval_report_json(report, &text, &n_bytes, err);
    if (status == ANX_OK) status = write(to, text, n_bytes, err);
    free(text);
    return status;
}

typedef anx_status put_fn(const anx_eval_report *, anx_eval_write_fn *, void *, anx_error *);

static anx_status put_report(const char *path, put_fn *put, const anx_eval_report *report, anx_error *err) {
    if (path == NULL) return ANX_OK;
    if (anx_cli_is_standard_output(path)) return put(report, write_to_stream, stdout, err);
    anx_file_writer *file = NULL;
    anx_status status = anx_file_writer_create(path, true, &file, err);
    if (status == ANX_OK) status = put(report, write_to_file, file, err);
    if (status == ANX_OK) status = anx_file_writer_commit(file, err);
    anx_file_writer_destroy(file);
    return status;
}

static anx_status put_text(const anx_eval_report *report, FILE *to, anx_error *err) {
    char *text = NULL;
    size_t n_bytes = 0;
    anx_status status = anx_eval_report_text(report, anx_cli_color(to), &text, &n_bytes, err);
    if (status == ANX_OK) fwrite(text, 1, n_bytes, to);
    free(text);
    return status;
}

/* What is expected unasked: the published accuracy of the published weights on the full set. */
static anx_eval_expectation expectation(const eval_run *r) {
    const anx_eval_options *o = r->options;
    anx_eval_expectation e = {.stated = false};
    if (o->expects_official ||
        (!o->expects && r->official == &anx_official_alexnet && r->dataset->n_samples == anx_eval_official.images))
        e = anx_eval_official;
    else if (o->expects)
        e = (anx_eval_expectation){.stated = true, .acc1 = o->expect1, .acc5 = o->expect5};
    e.asked = o->expects;
    return e;
}

static int report_all(eval_run *r, double seconds, bool interrupted, anx_error *err) {
    const anx_eval_options *o = r->options;
    anx_accuracy accuracy = ANX_ACCURACY_INIT;
    char cpu[256];
    anx_status status = anx_accuracy_count(r->evaluation.predictions, r->evaluation.n_predictions,
                                           r->dataset->n_classes, o->batch, &accuracy, err);
    if (status != ANX_OK) return anx_cli_trouble(err);
    const anx_eval_report report = {.cpu = anx_machine_cpu(cpu, sizeof cpu),
                                    .device = &r->info,
                                    .checkpoint = r->weights.checkpoint,
                                    .model = r->weights.model,
                                    .official_name = r->official != NULL ? r->official->name : NULL,
                                    .weights = r->weights_digest,
                                    .dataset = r->dataset,
                                    .names = r->classes.names,
                                    .selection = o->sample > 0  ? ANX_EVAL_SAMPLE
                                                 : o->limit > 0 ? ANX_EVAL_FIRST
                                                                : ANX_EVAL_ALL,
                                    .n_selected = r->n_files,
                                    .seed = o->seed,
                                    .skip_bad = o->skip_bad,
                                    .evaluation = &r->evaluation,
                                    .accuracy = &accuracy,
                                    .expected = expectation(r),
                                    .redecided = r->redecided,
                                    .turned1 = r->turned1,
                                    .turned5 = r->turned5,
                                    .seconds = seconds,
                                    .images_before = r->done_before,
                                    .interrupted = interrupted};
    const bool taken = anx_cli_is_standard_output(o->json) || anx_cli_is_standard_output(o->predictions);
    status = put_text(&report, taken ? stderr : stdout, err);
    if (status == ANX_OK) status = put_report(o->json, put_json, &report, err);
    if (status == ANX_OK) status = put_report(o->predictions, anx_eval_report_csv, &report, err);
    const bool missed = report.expected.asked && anx_eval_judge(&report) == ANX_EVAL_MISSED;
    anx_accuracy_fini(&accuracy);
    if (status != ANX_OK) return anx_cli_trouble(err);
    if (interrupted) return anx_signals_take();
    return r->evaluation.n_bad > 0 || r->not_saved ? ANX_EXIT_TROUBLE : missed ? ANX_EXIT_MISMATCH : ANX_EXIT_OK;
}

static int evaluate(eval_run *r) {
    anx_error err = ANX_ERROR_INIT;
    bool interrupted = false;
    int code = anx_eval_weights_open(r->options->weights, r->options->accept_bad_crc, &r->weights);
    if (code != ANX_EXIT_OK) return code;
    anx_status status = open_all(r, &err);
    if (status == ANX_OK) status = resume(r, &err);
    if (status == ANX_OK) status = run(r, &interrupted, &err);
    const double seconds = anx_clock_seconds() - r->started;
    if (status == ANX_OK && !interrupted) status = redecide(r, &interrupted, &err);
    return status == ANX_OK ? report_all(r, seconds, interrupted, &err) : anx_cli_trouble(&err);
}

int anx_eval(int argc, char **argv) {
    anx_eval_options options;
    bool stop = true;
    int code = anx_eval_parse(argc, argv, &options, &stop);
    if (stop) return code;
    eval_run r = {.options = &options};
    code = evaluate(&r);
    close_all(&r);
    return code;
}
