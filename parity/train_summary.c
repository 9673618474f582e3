#include "parity/train_summary.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "loaders/checkpoint/text.h"
#include "parity/report_text_inside.h"

const anx_train_epoch *anx_train_best(const anx_train_log *log) {
    const anx_train_epoch *best = NULL;
    for (size_t i = log->n_epochs; i-- > 0;)
        if (log->epochs[i].best) return &log->epochs[i];
    for (size_t i = 0; i < log->n_epochs; i++)
        if (!isnan(log->epochs[i].val_acc1) && (best == NULL || log->epochs[i].val_acc1 > best->val_acc1))
            best = &log->epochs[i];
    return best;
}

const char *anx_train_told(const char *text) {
    return text != NULL ? text : "not told";
}

int64_t anx_train_steps_done(const anx_train_log *log) {
    int64_t done = log->ended ? log->end.global_step : 0;
    if (log->n_steps > 0 && log->steps[log->n_steps - 1].global_step > done)
        done = log->steps[log->n_steps - 1].global_step;
    if (log->n_epochs > 0 && log->epochs[log->n_epochs - 1].global_step > done)
        done = log->epochs[log->n_epochs - 1].global_step;
    if (log->n_resumes > 0 && log->resumes[log->n_resumes - 1].global_step > done)
        done = log->resumes[log->n_resumes - 1].global_step;
    return done;
}

char *anx_train_place(int64_t epoch, int64_t step, int64_t global_step, char buf[ANX_TRAIN_WORDS]) {
    char grouped[32];
    snprintf(buf, ANX_TRAIN_WORDS, "epoch %" PRId64 ", step %" PRId64 " (step %s of the run)", epoch, step,
             anx_report_grouped(global_step, grouped));
    return buf;
}

char *anx_train_non_finite_words(const anx_train_non_finite *e, char buf[ANX_TRAIN_WORDS]) {
    char where[ANX_TRAIN_WORDS], tensor[128], loss[64];
    anx_train_place(e->epoch, e->step, e->global_step, where);
    const char *loss_text = anx_train_told(e->loss);
    anx_text_printable(loss_text, strlen(loss_text), loss, sizeof loss);
    if (e->tensor != NULL)
        snprintf(buf, ANX_TRAIN_WORDS, "%s was not finite in %.128s; the loss was %s",
                 anx_text_printable(e->tensor, strlen(e->tensor), tensor, sizeof tensor), where, loss);
    else
        snprintf(buf, ANX_TRAIN_WORDS, "the loss was %s in %.128s", loss, where);
    return buf;
}

char *anx_train_result(const anx_train_log *log, bool *good, char buf[ANX_TRAIN_WORDS]) {
    static const char *const words[] = {"done", "interrupted", "stopped at the most steps that were asked for",
                                        "stopped at a loss that is not finite", "ended"};
    char steps[32];
    const int64_t done = anx_train_steps_done(log);
    anx_report_grouped(done, steps);
    *good = log->ended && (log->end.reason == ANX_TRAIN_DONE || log->end.reason == ANX_TRAIN_MAX_STEPS);
    const char *what = log->ended ? words[log->end.reason] : "no end was logged: it still runs, or was killed,";
    snprintf(buf, ANX_TRAIN_WORDS, "%s after %zu whole epoch%s and %s step%s", what, log->n_epochs,
             log->n_epochs == 1 ? "" : "s", steps, done == 1 ? "" : "s");
    return buf;
}

char *anx_train_duration(double seconds, char buf[32]) {
    if (isnan(seconds))
        snprintf(buf, 32, "-");
    else if (seconds < 99.95 || seconds > 1e12)
        snprintf(buf, 32, "%.4g s", seconds);
    else if (seconds < 3600)
        snprintf(buf, 32, "%d min %02d s", (int)seconds / 60, (int)seconds % 60);
    else
        snprintf(buf, 32, "%.0f h %02d min", floor(seconds / 3600), (int)(fmod(seconds, 3600) / 60));
    return buf;
}

char *anx_train_count(int64_t value, char buf[32]) {
    return anx_report_grouped(value, buf);
}

const char *anx_train_option_value(const anx_train_option *option, char buf[32]) {
    switch (option->kind) {
    case ANX_TRAIN_NUMBER: snprintf(buf, 32, "%.12g", option->number); return buf;
    case ANX_TRAIN_FLAG: return option->flag ? "yes" : "no";
    case ANX_TRAIN_TEXT: break;
    }
    return option->text != NULL ? option->text : "none";
}

static char *decimals(double value, int digits, char buf[32]) {
    const double magnitude = fabs(value);
    if (!isfinite(value))
        snprintf(buf, 32, "%s", isnan(value) ? "-" : value > 0 ? "inf" : "-inf");
    else if (magnitude != 0 && (magnitude < 1e-3 || magnitude >= 1e5))
        snprintf(buf, 32, "%.3e", value);
    else
        snprintf(buf, 32, "%.*f", digits, value);
    return buf;
}

char *anx_train_loss(double value, char buf[32]) {
    return decimals(value, 4, buf);
}

char *anx_train_accuracy(double value, char buf[32]) {
    return decimals(value, 3, buf);
}

char *anx_train_rate(double value, char buf[32]) {
    snprintf(buf, 32, "%.6g", value);
    if (isnan(value)) snprintf(buf, 32, "-");
    return buf;
}

static bool rates_differ(const double *lr, int n) {
    for (int i = 1; i < n; i++)
        if (lr[i] != lr[0] && !(isnan(lr[i]) && isnan(lr[0]))) return true;
    return false;
}

bool anx_train_one_rate(const anx_train_log *log) {
    for (size_t i = 0; i < log->n_steps; i++)
        if (rates_differ(log->steps[i].lr, log->n_groups)) return false;
    for (size_t i = 0; i < log->n_epochs; i++)
        if (rates_differ(log->epochs[i].lr, log->n_groups)) return false;
    return true;
}

bool anx_train_was_noted(const anx_train_log *log, const char *note) {
    const anx_train_notes *first = &log->start.notes;
    for (int i = 0; i < first->n; i++)
        if (strcmp(first->line[i], note) == 0) return true;
    return false;
}
