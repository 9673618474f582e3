#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "loaders/checkpoint/text.h"
#include "parity/report_text_inside.h"
#include "parity/train_report.h"
#include "parity/train_summary.h"
#include "src/base/text_stream.h"

enum { rows_first = 3, rows_last = 12, name_width = 38, most_events = 5 };

static void put_options(const anx_text_report *t, const anx_train_start *s) {
    char *text = NULL, number[32];
    anx_text_stream list;
    if (s->n_options == 0) return;
    if (anx_text_stream_open(&list, NULL) != ANX_OK) {
        anx_report_out_of_memory(t);
        return;
    }
    for (size_t i = 0; i < s->n_options; i++)
        fprintf(list.to, "%s%s %s", i > 0 ? ", " : "", s->options[i].name,
                anx_train_option_value(&s->options[i], number));
    if (anx_text_stream_close(&list, &text, NULL, NULL) == ANX_OK)
        anx_report_put_fact(t, "options", "%s", text);
    else
        anx_report_out_of_memory(t);
    free(text);
}

static void put_head(const anx_text_report *t, const anx_train_log *log) {
    const anx_train_start *s = &log->start;
    char train[32], val[32];
    anx_report_put_fact(t, "log", "%s", log->path);
    anx_report_put_fact(t, "started", "%s, by anx %s", anx_train_told(s->time), anx_train_told(s->version));
    anx_report_put_fact(t, "device", "%s, %" PRId64 " thread%s", anx_train_told(s->device), s->threads,
                        s->threads == 1 ? "" : "s");
    for (int i = 0; i < s->notes.n; i++) anx_report_put_fact(t, "", "note: %s", s->notes.line[i]);
    anx_report_put_fact(t, "network", "%s, %" PRId64 " class%s; from %s, seed %" PRIu64, anx_train_told(s->arch),
                        s->classes, s->classes == 1 ? "" : "es",
                        s->weights != NULL ? s->weights : "weights drawn at random", s->seed);
    anx_report_put_fact(t, "images", "%s to train with, %s to validate with",
                        anx_report_grouped(s->train_images, train), anx_report_grouped(s->val_images, val));
    put_options(t, s);
}

static void put_events(const anx_text_report *t, const anx_train_log *log) {
    char words[ANX_TRAIN_WORDS];
    for (size_t i = 0; i < log->n_resumes && i < most_events; i++) {
        const anx_train_resume *r = &log->resumes[i];
        anx_report_put_fact(t, i == 0 ? "resumed" : "", "%s, at %s",
                            anx_train_place(r->epoch, r->step, r->global_step, words), anx_train_told(r->time));
        for (int k = 0; k < r->notes.n; k++)
            if (!anx_train_was_noted(log, r->notes.line[k])) anx_report_put_fact(t, "", "note: %s", r->notes.line[k]);
    }
    if (log->n_resumes > most_events) anx_report_put_fact(t, "", "and %zu times more", log->n_resumes - most_events);
    for (size_t i = 0; i < log->n_non_finite && i < most_events; i++)
        anx_report_put_fact(t, i == 0 ? "NOT FINITE" : "", "%s",
                            anx_train_non_finite_words(&log->non_finite[i], words));
    if (log->n_non_finite > most_events)
        anx_report_put_fact(t, "", "and %zu times more", log->n_non_finite - most_events);
    if (log->torn) anx_report_put_fact(t, "note", "the last line of the log is torn, and was not read");
    if (log->unknown > 0)
        anx_report_put_fact(t, "note", "%zu events of a newer version were passed over", log->unknown);
}

static void put_row(const anx_text_report *t, const anx_train_epoch *e, bool best) {
    char a[32], b[32], c[32], d[32], f[32], g[32], h[32];
    const bool lost = e->validated && isnan(e->val_loss);
    fprintf(t->to, "  %6" PRId64 " %11s %8s %11s %8s %8s %11s %10s%s\n", e->epoch,
            isnan(e->train_loss) ? "nan" : anx_train_loss(e->train_loss, a), anx_train_accuracy(e->train_acc1, b),
            lost ? "nan" : anx_train_loss(e->val_loss, c), anx_train_accuracy(e->val_acc1, d),
            anx_train_accuracy(e->val_acc5, f), anx_train_rate(e->lr[0], g), anx_report_number(e->seconds, h),
            best ? "  best" : "");
}

static void put_epochs(const anx_text_report *t, const anx_train_log *log) {
    const anx_train_epoch *best = anx_train_best(log);
    const size_t n = log->n_epochs;
    bool gap = false;
    if (n == 0) return;
    fputc('\n', t->to);
    anx_report_put(t, ANX_STYLE_FAINT, "  %6s %11s %8s %11s %8s %8s %11s %10s\n", "epoch", "train loss", "Acc@1",
                   "val loss", "Acc@1", "Acc@5", "lr", "seconds");
    for (size_t i = 0; i < n; i++) {
        const bool is_best = &log->epochs[i] == best;
        if (n > rows_first + rows_last + 2 && i >= rows_first && i + rows_last < n && !is_best) {
            if (!gap) fputs("     ...\n", t->to);
            gap = true;
            continue;
        }
        put_row(t, &log->epochs[i], is_best);
        gap = false;
    }
}

static void put_result(const anx_text_report *t, const anx_train_log *log) {
    const anx_train_epoch *best = anx_train_best(log);
    char words[ANX_TRAIN_WORDS], a[32], b[32], c[32];
    bool good;
    fputc('\n', t->to);
    if (best != NULL) {
        anx_report_put(t, ANX_STYLE_TITLE, "best epoch %" PRId64 ": Acc@1 %s Acc@5 %s", best->epoch,
                       anx_train_accuracy(best->val_acc1, a), anx_train_accuracy(best->val_acc5, b));
        fprintf(t->to, " validation loss %s\n", anx_train_loss(best->val_loss, c));
    }
    anx_train_result(log, &good, words);
    if (log->ended && !isnan(log->end.seconds)) {
        const size_t used = strlen(words);
        snprintf(words + used, sizeof words - used, " in %s%s", anx_train_duration(log->end.seconds, a),
                 log->n_resumes > 0 ? " since it was resumed" : "");
    }
    anx_report_put_wrapped(t, good ? ANX_STYLE_GOOD : ANX_STYLE_BAD, 0, 0, words);
}

/* Several logs: a line of each, to compare. */
static void put_comparison(const anx_text_report *t, const anx_train_log *const *logs, size_t n) {
    anx_report_put(t, ANX_STYLE_FAINT, "  %-*s %6s %10s %8s %8s %11s %10s\n", name_width, "log", "epochs", "best epoch",
                   "Acc@1", "Acc@5", "val loss", "ended");
    for (size_t i = 0; i < n; i++) {
        const anx_train_epoch *best = anx_train_best(logs[i]);
        char name[name_width + 1], a[32], b[32], c[32], epoch[32] = "-";
        const char *path = logs[i]->path;
        const size_t length = strlen(path);
        const bool cut = length > name_width;
        if (cut) path += length - name_width + 3;                    /* a path's end tells more than its beginning */
        while (cut && ((unsigned char)*path & 0xc0) == 0x80) path++; /* not within a character */
        snprintf(name, sizeof name, "%s%s", cut ? "..." : "", path);
        if (best != NULL) snprintf(epoch, sizeof epoch, "%" PRId64, best->epoch);
        fputs("  ", t->to);
        char shown[name_width + 1];
        anx_report_put_name(t, anx_text_printable(name, strlen(name), shown, sizeof shown), name_width);
        fprintf(t->to, " %6zu %10s %8s %8s %11s %10s\n", logs[i]->n_epochs, epoch,
                anx_train_accuracy(best != NULL ? best->val_acc1 : (double)NAN, a),
                anx_train_accuracy(best != NULL ? best->val_acc5 : (double)NAN, b),
                anx_train_loss(best != NULL ? best->val_loss : (double)NAN, c),
                logs[i]->ended ? logs[i]->end.reason == ANX_TRAIN_INTERRUPTED
                                     ? "interrupt."
                                     : anx_train_reason_name(logs[i]->end.reason)
                               : "no");
    }
}

anx_status anx_train_report_text(const anx_train_log *const *logs, size_t n, bool color, char **text, size_t *n_bytes,
                                 anx_error *err) {
    const anx_report_options options = {.color = color};
    anx_text_stream s;
    const anx_status status = anx_text_stream_open(&s, err);
    if (status != ANX_OK) return status;
    const anx_text_report t = {.options = &options, .to = s.to, .stream = &s};
    for (size_t i = 0; i < n; i++) {
        put_head(&t, logs[i]);
        put_events(&t, logs[i]);
        put_epochs(&t, logs[i]);
        put_result(&t, logs[i]);
        if (n > 1) fputc('\n', t.to);
    }
    if (n > 1) put_comparison(&t, logs, n);
    return anx_text_stream_close(&s, text, n_bytes, err);
}
