#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "loaders/checkpoint/text.h"
#include "parity/eval_report.h"
#include "parity/report_text_inside.h"
#include "src/base/text_stream.h"
#include "src/base/version.h"

enum { extremes = 5, name_width = 40, most_bad_files = 20 };

/* ---- what was evaluated by what ---- */

static void put_selection(const anx_text_report *t, const anx_eval_report *r) {
    char selected[32], all[32];
    anx_report_grouped(r->n_selected, selected);
    anx_report_grouped(r->dataset->n_samples, all);
    const char *what = r->interrupted ? "selected" : "evaluated"; /* how many were reached is in the last line */
    switch (r->selection) {
    case ANX_EVAL_ALL: anx_report_put_fact(t, what, "all %s images", all); break;
    case ANX_EVAL_FIRST:
        anx_report_put_fact(t, what, "the first %s of %s images, which say nothing of the others", selected, all);
        break;
    case ANX_EVAL_SAMPLE:
        anx_report_put_fact(t, what, "%s of %s images, drawn at random with seed %" PRIu64, selected, all, r->seed);
        break;
    }
}

static void put_head(const anx_text_report *t, const anx_eval_report *r) {
    const anx_device_info *d = r->device;
    const anx_dataset *s = r->dataset;
    char hex[ANX_SHA256_HEX], images[32], words[ANX_DEVICE_WORDS];
    anx_report_put_fact(t, "anx-eval", "%s", ANX_VERSION);
    anx_report_put_fact(t, "engine", "%s, %s: %s", r->cpu, d->device, anx_device_format(d, words));
    anx_report_put_device_lines(t, d);
    anx_report_put_fact(t, "checkpoint", "%s: %s; %s, %" PRId64 " class%s, their weights' SHA-256 %.16s...",
                        r->checkpoint->path, r->checkpoint->format, r->model->graph->arch->name,
                        r->model->graph->num_classes, r->model->graph->num_classes == 1 ? "" : "es",
                        anx_digest_hex(&r->weights, hex));
    if (r->official_name != NULL) anx_report_put_fact(t, "", "torchvision's published %s", r->official_name);
    anx_report_put_fact(t, "dataset", "%s: %s; %s images in %" PRId64 " of %" PRId64 " classes", s->root, s->layout,
                        anx_report_grouped(s->n_samples, images), s->n_classes_present, s->n_classes);
    if (s->labels != NULL) anx_report_put_fact(t, "", "labels from %s", s->labels);
    for (int i = 0; i < s->n_notes; i++) anx_report_put_fact(t, "", "%s", s->notes[i]);
    put_selection(t, r);
}

/* ---- the result ---- */

static double percent(int64_t right, int64_t images) {
    return images > 0 ? 100.0 * (double)right / (double)images : (double)NAN;
}

/* Was every image within rounding decided again in double? */
static bool all_redecided(const anx_eval_report *r) {
    int64_t n = 0;
    for (int64_t i = 0; i < r->evaluation->n_predictions; i++)
        n += r->evaluation->predictions[i].ambiguous1 || r->evaluation->predictions[i].ambiguous5;
    return r->redecided >= n;
}

/* "28,261 of 50,000 right; 2 within rounding, 0 of which come out otherwise in double" */
static void put_count(const anx_text_report *t, const anx_eval_report *r, int k) {
    const anx_accuracy *a = r->accuracy;
    const int64_t ambiguous = k == 1 ? a->ambiguous1 : a->ambiguous5, turned = k == 1 ? r->turned1 : r->turned5;
    const int64_t tied = k == 1 ? a->tied1 : a->tied5;
    char right[32], images[32], within[32], in_double[128] = "", ties[96] = "";
    if (ambiguous > 0 && r->redecided > 0 && !all_redecided(r))
        snprintf(in_double, sizeof in_double,
                 ", %" PRId64 " of which come%s out otherwise among the first %" PRId64 ", decided again in double",
                 turned, turned == 1 ? "s" : "", r->redecided);
    else if (ambiguous > 0 && r->redecided > 0)
        snprintf(in_double, sizeof in_double, ", %" PRId64 " of which come%s out otherwise in double", turned,
                 turned == 1 ? "s" : "");
    if (tied > 0) snprintf(ties, sizeof ties, "; %" PRId64 " hang on the order of equal logits", tied);
    anx_report_put_fact(t, k == 1 ? "top-1" : "top-5", "%s of %s right; %s within rounding%s%s",
                        anx_report_grouped(k == 1 ? a->right1 : a->right5, right),
                        anx_report_grouped(a->images, images), anx_report_grouped(ambiguous, within), in_double, ties);
}

static void put_interval(const anx_text_report *t, const anx_eval_report *r) {
    if (!anx_eval_has_interval(r)) return;
    const anx_interval one = anx_eval_interval(r, 1), five = anx_eval_interval(r, 5);
    char all[32];
    anx_report_put_fact(t, "interval",
                        "of all %s images, with 99.9 %% confidence: Acc@1 %.3f to %.3f, Acc@5 %.3f to %.3f",
                        anx_report_grouped(r->dataset->n_samples, all), 100.0 * one.low, 100.0 * one.high,
                        100.0 * five.low, 100.0 * five.high);
}

static void put_expectation(const anx_text_report *t, const anx_eval_report *r) {
    const anx_eval_expectation *e = &r->expected;
    if (!e->stated) return;
    const anx_accuracy *a = r->accuracy;
    const char *of = e->official ? "torchvision's " : "";
    switch (anx_eval_judge(r)) {
    case ANX_EVAL_NOT_JUDGED:
        anx_report_put_fact(t, "expected", "%sAcc@1 %.3f Acc@5 %.3f on all images: not judged by these", of, e->acc1,
                            e->acc5);
        return;
    case ANX_EVAL_MET:
    case ANX_EVAL_MISSED: break;
    }
    const bool met = anx_eval_judge(r) == ANX_EVAL_MET;
    anx_report_put_fact(t, "expected", "%sAcc@1 %.3f Acc@5 %.3f: %s", of, e->acc1, e->acc5,
                        r->selection == ANX_EVAL_SAMPLE ? met ? "inside the interval" : "OUTSIDE the interval"
                        : met                           ? "met, within 0.05 points"
                                                        : "MISSED by more than 0.05 points");
    if (r->selection == ANX_EVAL_SAMPLE) return;
    if (!e->official) {
        const bool same = fabs(percent(a->right1, a->images) - e->acc1) <= 0.0005 &&
                          fabs(percent(a->right5, a->images) - e->acc5) <= 0.0005;
        anx_report_put_fact(t, "", "%s", same ? "equal to the third decimal" : "not equal to the third decimal");
    } else if (a->images == e->images && a->right1 == e->right1 && a->right5 == e->right5)
        anx_report_put_fact(t, "", "the counts agree exactly");
    else if (a->images == e->images)
        anx_report_put_fact(t, "", "the counts do not agree exactly: %+" PRId64 " and %+" PRId64 " images",
                            a->right1 - e->right1, a->right5 - e->right5);
    else
        anx_report_put_fact(t, "", "which was counted on %" PRId64 " images, not %" PRId64, e->images, a->images);
}

static void put_result(const anx_text_report *t, const anx_eval_report *r) {
    const anx_accuracy *a = r->accuracy;
    fputc('\n', t->to);
    anx_report_put(t, ANX_STYLE_TITLE, "Acc@1 %.3f Acc@5 %.3f\n", percent(a->right1, a->images),
                   percent(a->right5, a->images));
    put_count(t, r, 1);
    put_count(t, r, 5);
    put_interval(t, r);
    anx_report_put_fact(t, "loss",
                        "%.6f, the mean over images; %.6f as torchvision averages it, over batches of %" PRId64,
                        a->loss, a->batch_loss, a->batch);
    if (a->non_finite > 0)
        anx_report_put_fact(t, "", "%" PRId64 " image%s with NaN or infinite logits", a->non_finite,
                            a->non_finite == 1 ? "" : "s");
    put_expectation(t, r);
}

/* ---- classes ---- */

typedef struct ranked_class {
    int64_t index;
    anx_accuracy_class counts;
} ranked_class;

/* By top-1 accuracy, best first; of equals by top-5, then by index. Shares are compared crosswise, without rounding. */
static int better_first(const void *a, const void *b) {
    const ranked_class *x = a, *y = b;
    const int64_t one = y->counts.right1 * x->counts.images - x->counts.right1 * y->counts.images;
    if (one != 0) return one < 0 ? -1 : 1;
    const int64_t five = y->counts.right5 * x->counts.images - x->counts.right5 * y->counts.images;
    if (five != 0) return five < 0 ? -1 : 1;
    return x->index < y->index ? -1 : 1;
}

static void put_class(const anx_text_report *t, const anx_eval_report *r, const ranked_class *c) {
    fprintf(t->to, "  %7.3f %7.3f  of %-5" PRId64 " ", percent(c->counts.right1, c->counts.images),
            percent(c->counts.right5, c->counts.images), c->counts.images);
    char name[4 * name_width + 1];
    snprintf(name, sizeof name, "%.*s", name_width, anx_eval_class_name(r, c->index));
    anx_report_put_name(t, name, 0);
    fprintf(t->to, " (%" PRId64 ")\n", c->index);
}

static void put_classes(const anx_text_report *t, const anx_eval_report *r) {
    ranked_class *list = calloc((size_t)r->accuracy->n_classes + 1, sizeof *list);
    int64_t n = 0;
    if (list == NULL) {
        anx_report_out_of_memory(t);
        return;
    }
    for (int64_t i = 0; i < r->accuracy->n_classes; i++)
        if (r->accuracy->classes[i].images > 0) list[n++] = (ranked_class){i, r->accuracy->classes[i]};
    qsort(list, (size_t)n, sizeof *list, better_first);
    fputc('\n', t->to);
    const bool all = n <= 2 * extremes;
    anx_report_put(t, ANX_STYLE_TITLE, "%s\n", all ? "Classes: Acc@1, Acc@5" : "Best and worst classes: Acc@1, Acc@5");
    for (int64_t i = 0; i < n; i++) {
        if (!all && i >= extremes && i < n - extremes) {
            if (i == extremes) fputs("  ...\n", t->to);
            continue;
        }
        put_class(t, r, &list[i]);
    }
    free(list);
}

/* ---- the foot ---- */

static void put_bad_files(const anx_text_report *t, const anx_eval_report *r) {
    const anx_evaluation *e = r->evaluation;
    if (e->n_bad == 0) return;
    fputc('\n', t->to);
    anx_report_put(t, ANX_STYLE_BAD, "%" PRId64 " file%s could not be evaluated and %s not counted\n", e->n_bad,
                   e->n_bad == 1 ? "" : "s", e->n_bad == 1 ? "is" : "are");
    for (int64_t i = 0; i < e->n_bad && i < most_bad_files; i++) {
        fputs("  ", t->to);
        char shown[4096]; /* a name may hold anything, a newline too */
        anx_report_put_wrapped(t, ANX_STYLE_PLAIN, 2, 6,
                               anx_text_printable(e->bad[i].reason, strlen(e->bad[i].reason), shown, sizeof shown));
    }
    if (e->n_bad > most_bad_files)
        fprintf(t->to, "  and %" PRId64 " more, listed in the JSON report\n", e->n_bad - most_bad_files);
}

static void put_legend(const anx_text_report *t, const anx_eval_report *r) {
    static const char *const margins[] = {
        [ANX_MATH_FLOAT32] = "512 u s", [ANX_MATH_TF32] = "2^-6 s", [ANX_MATH_FAST] = "2^-5 s"};
    const anx_math_mode math = r->device->math;
    if (r->accuracy->ambiguous1 + r->accuracy->ambiguous5 == 0) return;
    fputc('\n', t->to);
    char text[512];
    snprintf(
        text, sizeof text,
        "within rounding: the label's logit is at most %s from the one that decides (%ss the standard deviation of the "
        "image's logits), so that another correct %s engine may decide otherwise. Of equal logits the class with the "
        "lower index comes first.",
        margins[math], math == ANX_MATH_FLOAT32 ? "u = 2^-24, " : "", anx_math_mode_name(math));
    anx_report_put_wrapped(t, ANX_STYLE_FAINT, 0, 0, text);
}

static void put_last_line(const anx_text_report *t, const anx_eval_report *r) {
    const int64_t done = r->evaluation->done - r->images_before;
    char images[32], all[32];
    anx_report_grouped(r->evaluation->done, images);
    fputc('\n', t->to);
    if (r->interrupted)
        anx_report_put(t, ANX_STYLE_BAD, "INTERRUPTED after %s of %s images", images,
                       anx_report_grouped(r->n_selected, all));
    else
        anx_report_put(t, ANX_STYLE_GOOD, "%s images", images);
    if (r->images_before > 0)
        fprintf(t->to, ", %s of them in an earlier run", anx_report_grouped(r->images_before, all));
    if (r->seconds > 0 && done > 0) fprintf(t->to, " in %.1f s, %.1f images/s", r->seconds, (double)done / r->seconds);
    fputc('\n', t->to);
}

anx_status anx_eval_report_text(const anx_eval_report *r, bool color, char **text, size_t *n_bytes, anx_error *err) {
    const anx_report_options options = {.color = color};
    anx_text_stream s;
    anx_status status = anx_text_stream_open(&s, err);
    if (status != ANX_OK) return status;
    anx_text_report t = {.options = &options, .to = s.to, .stream = &s};
    put_head(&t, r);
    put_result(&t, r);
    put_classes(&t, r);
    put_bad_files(&t, r);
    put_legend(&t, r);
    put_last_line(&t, r);
    return anx_text_stream_close(&s, text, n_bytes, err);
}
