#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "parity/report_text_inside.h"
#include "parity/svg_chart.h"
#include "parity/train_report.h"
#include "parity/train_summary.h"
#include "src/base/text_stream.h"

/* most_marks: of a kind, of a run. */
enum {
    most_points = 1000,
    most_points_of_many = 250,
    most_series = ANX_TRAIN_REPORT_LOGS * ANX_SVG_STYLES,
    most_marks = 32,
    most_shown_lr = 4
};

static const char style_sheet[] =
    ":root{color-scheme:light dark;--bg:#fff;--fg:#1c1e21;--dim:#5a616b;--line:#dde1e6;--card:#f5f6f8;--good:#17663a;"
    "--bad:#b3261e;--c0:#0072b2;--c1:#c65100;--c2:#008a63;--c3:#b5508c;--c4:#8a6a00;--c5:#3a93c9;--c6:#565b63;"
    "--c7:#6f52c0}\n"
    "@media(prefers-color-scheme:dark){:root{--bg:#15171b;--fg:#e6e8eb;--dim:#a0a7b1;--line:#30353d;--card:#1d2026;"
    "--good:#6fd08f;--bad:#ff8a80;--c0:#56b4e9;--c1:#ff8f50;--c2:#2fc79a;--c3:#e79ac6;--c4:#e5bf45;--c5:#9dd2f7;"
    "--c6:#b4bac3;--c7:#b6a2f2}}\n"
    "*{box-sizing:border-box}body{margin:0 auto;max-width:1080px;padding:24px 20px 48px;background:var(--bg);"
    "color:var(--fg);font:15px/1.5 system-ui,-apple-system,'Segoe UI',Roboto,'DejaVu Sans',sans-serif}\n"
    "h1{font-size:1.6em;margin:0 0 .4em;overflow-wrap:anywhere}h2{font-size:1.15em;margin:2em 0 .4em}"
    "h3{font-size:1em;margin:1.6em 0 .3em;overflow-wrap:anywhere}p{margin:.4em 0}\n"
    ".good{color:var(--good)}.bad{color:var(--bad);font-weight:600}.dim{color:var(--dim)}\n"
    ".cards{display:flex;flex-wrap:wrap;gap:12px;margin:1em 0}.cards div{background:var(--card);border-radius:8px;"
    "padding:10px 16px;min-width:130px}.cards b{display:block;font-size:1.35em;font-variant-numeric:tabular-nums}"
    ".cards span{color:var(--dim);font-size:.87em}\n"
    "dl{display:grid;grid-template-columns:max-content 1fr;gap:3px 18px;margin:.6em 0}dt{color:var(--dim)}"
    "dd{margin:0;overflow-wrap:anywhere}\n"
    "figure{margin:0;overflow-x:auto}figure>svg{width:100%;min-width:640px;height:auto;display:block}.legend{list-"
    "style:none;display:flex;"
    "flex-wrap:wrap;gap:2px 22px;padding:0;margin:.2em 0 .3em;font-size:.9em}.legend li{display:flex;gap:8px;"
    "align-items:center;overflow-wrap:anywhere}.legend svg{flex:none;width:36px}\n"
    "svg text{font-size:12px;fill:var(--dim)}svg .label{fill:var(--fg)}.grid{stroke:var(--line)}"
    ".axis{stroke:var(--dim);fill:none}polyline{fill:none;stroke-width:2;stroke-linejoin:round}"
    "polyline.thin{stroke-width:1.2}.band{opacity:.3}.mark line{stroke:var(--dim);stroke-dasharray:3 3}"
    "svg .mark text{fill:var(--fg)}\n"
    ".table{overflow-x:auto}table{border-collapse:collapse;font-variant-numeric:tabular-nums;font-size:.92em}"
    "th,td{text-align:right;padding:3px 12px;border-bottom:1px solid var(--line);white-space:nowrap}"
    "th{color:var(--dim);font-weight:500}tr.best{background:var(--card);font-weight:600}"
    "caption{text-align:left;color:var(--dim);padding-bottom:4px}\n";

/* One run's report or several's, and what the chart under way is made of. */
typedef struct page {
    FILE *to;
    const anx_train_log *const *logs;
    size_t n;
    anx_svg_series series[most_series];
    size_t n_series;
    void *owned[4 * most_series + 2 * most_marks * ANX_TRAIN_REPORT_LOGS]; /* labels, points, titles of marks */
    size_t n_owned;
    anx_svg_mark marks[2 * most_marks * ANX_TRAIN_REPORT_LOGS];
    size_t n_marks;
    bool failed; /* out of memory */
} page;

static void put(const page *p, const char *text) {
    anx_html_put_text(p->to, text);
}

/* ---- charts ---- */

static void *own(page *p, void *memory) {
    if (memory == NULL) {
        p->failed = true;
        return NULL;
    }
    p->owned[p->n_owned++] = memory;
    return memory;
}

/* A series with room for n points, which the caller fills in; NULL: out of memory. */
static anx_svg_series *add_series(page *p, const char *label, int style, size_t n) {
    if (p->n_series == most_series) return NULL;
    const char *name = own(p, strdup(label));
    const anx_svg_point *points = own(p, calloc(n + 1, sizeof *points));
    if (name == NULL || points == NULL) return NULL;
    anx_svg_series *s = &p->series[p->n_series++];
    *s = (anx_svg_series){.label = name, .style = style % ANX_SVG_STYLES, .points = points, .n_points = n};
    return s;
}

static anx_svg_point *points_of(const anx_svg_series *s) {
    return (anx_svg_point *)(uintptr_t)s->points;
}

/* Of one run the label says what it is, of several the run's file. */
static const char *label_of(const page *p, const anx_train_log *log, const char *what) {
    return p->n == 1 ? what : log->path;
}

static void reset(page *p) {
    while (p->n_owned > 0) free(p->owned[--p->n_owned]);
    p->n_series = p->n_marks = 0;
}

static int by_place(const void *a, const void *b) {
    const double x = ((const anx_svg_mark *)a)->x, y = ((const anx_svg_mark *)b)->x;
    return (x > y) - (x < y);
}

static void add_mark(page *p, const anx_train_log *log, double x, const char *label, const char *words) {
    char *title = NULL;
    if (asprintf(&title, "%s: %s", log->path, words) < 0) title = NULL;
    if (own(p, title) != NULL) p->marks[p->n_marks++] = (anx_svg_mark){x, label, title};
}

/* Where a run was resumed or lost to NaN: over steps or, where x counts epochs, between two of them. */
static void add_marks(page *p, bool by_epoch) {
    char words[ANX_TRAIN_WORDS], title[ANX_TRAIN_WORDS + 16];
    for (size_t l = 0; l < p->n; l++) {
        const anx_train_log *log = p->logs[l];
        for (size_t i = 0; i < log->n_resumes && i < most_marks; i++) {
            const anx_train_resume *r = &log->resumes[i];
            const double epoch = fmax(0, (double)r->epoch - (r->step > 0 ? 0.5 : 1));
            snprintf(title, sizeof title, "resumed, %s", anx_train_place(r->epoch, r->step, r->global_step, words));
            add_mark(p, log, by_epoch ? epoch : (double)r->global_step, "resumed", title);
        }
        for (size_t i = 0; i < log->n_non_finite && i < most_marks; i++) {
            const anx_train_non_finite *e = &log->non_finite[i];
            const double epoch = fmax(0, (double)e->epoch - 0.5);
            add_mark(p, log, by_epoch ? epoch : (double)e->global_step, "not finite",
                     anx_train_non_finite_words(e, words));
        }
    }
    qsort(p->marks, p->n_marks, sizeof p->marks[0], by_place);
}

/* Do the values span so much that a linear axis would show only the largest? */
static bool spans(const page *p, double ratio) {
    double low = (double)INFINITY, high = 0;
    for (size_t i = 0; i < p->n_series; i++)
        for (size_t k = 0; k < p->series[i].n_points; k++) {
            const double y = p->series[i].points[k].y;
            if (!isfinite(y) || y <= 0) continue;
            low = fmin(low, y);
            high = fmax(high, y);
        }
    return high > ratio * low;
}

static bool leaves_out_zeros(const page *p) {
    for (size_t i = 0; i < p->n_series; i++)
        for (size_t k = 0; k < p->series[i].n_points; k++)
            if (p->series[i].points[k].y <= 0) return true;
    return false;
}

/* Prints what was gathered: legend, drawing, a line about it. */
static void put_chart(page *p, const char *title, const char *x_label, const char *y_label, bool log_y,
                      const char *note) {
    char label[64];
    snprintf(label, sizeof label, "%s%s", y_label, log_y ? ", logarithmic" : "");
    const anx_svg_chart chart = {.title = title,
                                 .description = note,
                                 .x_label = x_label,
                                 .y_label = label,
                                 .log_y = log_y,
                                 .x_whole = true,
                                 .series = p->series,
                                 .n_series = p->n_series,
                                 .marks = p->marks,
                                 .n_marks = p->n_marks};
    fputs("<section>\n<h2>", p->to);
    put(p, title);
    fputs("</h2>\n<figure>\n<ul class=\"legend\">\n", p->to);
    for (size_t i = 0; i < p->n_series; i++) {
        fputs("<li>", p->to);
        anx_svg_put_sample(p->to, &p->series[i]);
        fputs("<span>", p->to);
        put(p, p->series[i].label);
        fputs("</span></li>\n", p->to);
    }
    fputs("</ul>\n", p->to);
    anx_svg_put_chart(p->to, &chart);
    fputs("<figcaption class=\"dim\">", p->to);
    put(p, note);
    if (log_y && leaves_out_zeros(p)) fputs(" Values of 0 have no place on a logarithmic axis.", p->to);
    fputs("</figcaption>\n</figure>\n</section>\n", p->to);
    reset(p);
}

/* ---- what is drawn ---- */

/* A bucket of steps becomes the mean of its finite losses, between the least and the largest. */
static void thin(const anx_train_step *steps, size_t n, anx_svg_point *mean, anx_svg_point *low, anx_svg_point *high) {
    double sum = 0, at = 0, least = (double)INFINITY, most = -(double)INFINITY;
    size_t finite = 0;
    for (size_t i = 0; i < n; i++) {
        const double loss = (double)steps[i].loss;
        at += (double)steps[i].global_step / (double)n;
        if (!isfinite(loss)) continue;
        finite++;
        sum += loss;
        least = fmin(least, loss);
        most = fmax(most, loss);
    }
    const double none = (double)NAN;
    *mean = (anx_svg_point){at, finite > 0 ? sum / (double)finite : none};
    *low = (anx_svg_point){at, finite > 0 ? least : none};
    *high = (anx_svg_point){at, finite > 0 ? most : none};
}

static void add_step_loss(page *p, const anx_train_log *log, int style) {
    /* Noise over noise hides every line: of several runs more steps are put together. */
    const size_t most = p->n > 1 ? most_points_of_many : most_points;
    const size_t per_bucket = (log->n_steps + most - 1) / most;
    const size_t n = per_bucket > 0 ? (log->n_steps + per_bucket - 1) / per_bucket : 0;
    if (n == 0) return;
    anx_svg_series *s =
        add_series(p, label_of(p, log, per_bucket > 1 ? "training, means of steps" : "training, steps"), style, n);
    anx_svg_point *low = own(p, calloc(n, sizeof *low)), *high = own(p, calloc(n, sizeof *high));
    if (s == NULL || low == NULL || high == NULL) return;
    for (size_t i = 0; i < n; i++) {
        const size_t first = i * per_bucket, left = log->n_steps - first;
        thin(log->steps + first, left < per_bucket ? left : per_bucket, &points_of(s)[i], &low[i], &high[i]);
    }
    s->thin = p->n == 1;
    if (per_bucket == 1 || p->n > 1) return; /* bands over each other would hide the lines */
    s->low = low;
    s->high = high;
}

typedef enum measure { train_loss, val_loss, train_acc1, val_acc1, val_acc5 } measure;

static double measure_of(const anx_train_epoch *e, measure what) {
    switch (what) {
    case train_loss: return e->train_loss;
    case val_loss: return e->val_loss;
    case train_acc1: return e->train_acc1;
    case val_acc1: return e->val_acc1;
    case val_acc5: return e->val_acc5;
    }
    return (double)NAN;
}

/* An epoch's values: over epochs, or over the step that ended it. Left out where there are none. */
static void add_epochs(page *p, const anx_train_log *log, measure what, bool by_epoch, const char *label, int style) {
    bool any = false;
    for (size_t i = 0; i < log->n_epochs; i++) any = any || isfinite(measure_of(&log->epochs[i], what));
    if (!any) return;
    anx_svg_series *s = add_series(p, label_of(p, log, label), style, log->n_epochs);
    if (s == NULL) return;
    for (size_t i = 0; i < log->n_epochs; i++) {
        const anx_train_epoch *e = &log->epochs[i];
        points_of(s)[i] = (anx_svg_point){(double)(by_epoch ? e->epoch : e->global_step), measure_of(e, what)};
    }
    s->markers = true;
}

/* A rate at a step, or at an epoch's end where no steps were logged. */
static anx_svg_point rate_at(const anx_train_log *log, size_t i, int group) {
    if (log->n_steps > 0) return (anx_svg_point){(double)log->steps[i].global_step, log->steps[i].lr[group]};
    return (anx_svg_point){(double)log->epochs[i].global_step, log->epochs[i].lr[group]};
}

/* Where the rate stays, the first and the last step are enough. */
static void add_rate(page *p, const anx_train_log *log, int group, const char *label, int style) {
    const size_t n = log->n_steps > 0 ? log->n_steps : log->n_epochs;
    anx_svg_series *s = n > 0 ? add_series(p, label, style, n) : NULL;
    if (s == NULL) return;
    size_t used = 0;
    anx_svg_point *points = points_of(s);
    for (size_t i = 0; i < n; i++) {
        const anx_svg_point here = rate_at(log, i, group);
        const bool stays =
            i > 0 && i + 1 < n && here.y == rate_at(log, i - 1, group).y && here.y == rate_at(log, i + 1, group).y;
        if (!stays) points[used++] = here;
    }
    const size_t every = (used + 2 * most_points - 1) / (2 * most_points); /* it may change at every step */
    size_t kept = 0;
    for (size_t i = 0; i < used; i++)
        if (every <= 1 || i % every == 0 || i + 1 == used) points[kept++] = points[i];
    s->n_points = kept;
}

static void put_rates(page *p) {
    char label[4200];
    bool left_out = false;
    for (size_t l = 0; l < p->n; l++) {
        const anx_train_log *log = p->logs[l];
        const int groups = log->n_groups > 1 && anx_train_one_rate(log) ? 1 : log->n_groups;
        for (int g = 0; g < groups && g < ANX_SVG_STYLES; g++) {
            const char *of = p->n > 1 ? log->path : "";
            if (groups > 1)
                snprintf(label, sizeof label, "%.4000s%sgroup %d", of, p->n > 1 ? ", " : "", g);
            else
                snprintf(label, sizeof label, "%.4000s", p->n > 1 ? of : "all parameters");
            add_rate(p, log, g, label, p->n > 1 ? (int)l : g);
        }
        left_out = left_out || groups > ANX_SVG_STYLES;
    }
    add_marks(p, false);
    put_chart(p, "Learning rate", "step", "learning rate", spans(p, 10),
              left_out ? "The first 8 groups of parameters." : "As it was in use at each step.");
}

static void put_charts_of_one(page *p) {
    const anx_train_log *log = p->logs[0];
    const bool thinned = log->n_steps > most_points;
    add_step_loss(p, log, 0);
    add_epochs(p, log, train_loss, false, "training, means of epochs", 1);
    add_epochs(p, log, val_loss, false, "validation", 2);
    add_marks(p, false);
    put_chart(p, "Loss", "step", "loss", spans(p, 100),
              thinned ? "Steps are put together to about 1,000 points: the line is their mean, the band goes from the "
                        "least to the largest. An epoch stands at its last step."
                      : "An epoch stands at its last step.");
    add_epochs(p, log, train_acc1, true, "training, top-1", 1);
    add_epochs(p, log, val_acc1, true, "validation, top-1", 2);
    add_epochs(p, log, val_acc5, true, "validation, top-5", 3);
    add_marks(p, true);
    put_chart(p, "Accuracy", "epoch", "per cent", false,
              "Of training: of the images as they were drawn and changed, while the weights still moved.");
}

static void put_chart_of_all(page *p, measure what, const char *title, const char *note) {
    const bool loss = what == train_loss || what == val_loss;
    for (size_t l = 0; l < p->n; l++) {
        if (what == train_loss && p->logs[l]->n_steps > 0)
            add_step_loss(p, p->logs[l], (int)l);
        else
            add_epochs(p, p->logs[l], what, !loss, "", (int)l);
    }
    add_marks(p, !loss);
    put_chart(p, title, loss ? "step" : "epoch", loss ? "loss" : "per cent", loss && spans(p, 100), note);
}

static void put_charts(page *p) {
    if (p->n == 1) {
        put_charts_of_one(p);
    } else {
        put_chart_of_all(p, train_loss, "Training loss", "Means of steps, about 250 points of each run.");
        put_chart_of_all(p, val_loss, "Validation loss", "An epoch stands at its last step.");
        put_chart_of_all(p, train_acc1, "Training accuracy, top-1", "Of the epoch's images, while the weights moved.");
        put_chart_of_all(p, val_acc1, "Validation accuracy, top-1", "After each epoch.");
        put_chart_of_all(p, val_acc5, "Validation accuracy, top-5", "After each epoch.");
    }
    put_rates(p);
}

/* ---- words ---- */

static void put_fact(const page *p, const char *name, const char *value) {
    fputs("<dt>", p->to);
    put(p, name);
    fputs("</dt><dd>", p->to);
    put(p, value);
    fputs("</dd>\n", p->to);
}

static void put_card(const page *p, const char *value, const char *name) {
    fputs("<div><b>", p->to);
    put(p, value);
    fputs("</b><span>", p->to);
    put(p, name);
    fputs("</span></div>\n", p->to);
}

static void put_cards(const page *p, const anx_train_log *log) {
    const anx_train_epoch *best = anx_train_best(log);
    char text[32], name[64];
    fputs("<div class=\"cards\">\n", p->to);
    if (best != NULL) {
        snprintf(name, sizeof name, "best top-1, per cent: epoch %" PRId64, best->epoch);
        put_card(p, anx_train_accuracy(best->val_acc1, text), name);
        if (!isnan(best->val_acc5)) put_card(p, anx_train_accuracy(best->val_acc5, text), "its top-5, per cent");
    }
    if (log->n_epochs > 0) {
        const anx_train_epoch *last = &log->epochs[log->n_epochs - 1];
        put_card(p, isnan(last->train_loss) ? "nan" : anx_train_loss(last->train_loss, text), "last training loss");
        if (last->validated)
            put_card(p, isnan(last->val_loss) ? "nan" : anx_train_loss(last->val_loss, text), "last validation loss");
    }
    put_card(p, anx_report_grouped((int64_t)log->n_epochs, text), "whole epochs");
    put_card(p, anx_report_grouped(anx_train_steps_done(log), text), "steps");
    if (log->ended && !isnan(log->end.seconds))
        put_card(p, anx_train_duration(log->end.seconds, text), log->n_resumes > 0 ? "since it was resumed" : "in all");
    fputs("</div>\n", p->to);
}

static void put_events(const page *p, const anx_train_log *log) {
    char words[ANX_TRAIN_WORDS], line[2 * ANX_TRAIN_WORDS];
    for (size_t i = 0; i < log->n_resumes && i < most_marks; i++) {
        const anx_train_resume *r = &log->resumes[i];
        snprintf(line, sizeof line, "%s, at %.64s", anx_train_place(r->epoch, r->step, r->global_step, words),
                 anx_train_told(r->time));
        put_fact(p, "resumed", line);
        for (int k = 0; k < r->notes.n; k++)
            if (!anx_train_was_noted(log, r->notes.line[k])) put_fact(p, "note", r->notes.line[k]);
    }
    for (size_t i = 0; i < log->n_non_finite && i < most_marks; i++)
        put_fact(p, "not finite", anx_train_non_finite_words(&log->non_finite[i], words));
    if (log->n_resumes > most_marks || log->n_non_finite > most_marks)
        put_fact(p, "", "and more of these, which are not listed");
    if (log->torn) put_fact(p, "note", "the last line of the log is torn, and was not read");
    if (log->unknown > 0) put_fact(p, "note", "events of a newer version were passed over");
}

static void put_options(const page *p, const anx_train_start *s) {
    char number[32];
    if (s->n_options == 0) return;
    fputs("<details open><summary>Options</summary>\n<dl>\n", p->to);
    for (size_t i = 0; i < s->n_options; i++)
        put_fact(p, s->options[i].name, anx_train_option_value(&s->options[i], number));
    fputs("</dl></details>\n", p->to);
}

static void put_run(const page *p, const anx_train_log *log) {
    const anx_train_start *s = &log->start;
    char words[ANX_TRAIN_WORDS], a[32], b[32];
    bool good;
    anx_train_result(log, &good, words);
    fprintf(p->to, "<p class=\"%s\">", good ? "good" : "bad");
    put(p, words);
    fputs("</p>\n", p->to);
    put_cards(p, log);
    fputs("<dl>\n", p->to);
    put_fact(p, "log", log->path);
    put_fact(p, "started", anx_train_told(s->time));
    put_fact(p, "anx", anx_train_told(s->version));
    put_fact(p, "device", anx_train_told(s->device));
    for (int i = 0; i < s->notes.n; i++) put_fact(p, "note", s->notes.line[i]);
    put_fact(p, "threads", anx_report_grouped(s->threads, a));
    put_fact(p, "network", anx_train_told(s->arch));
    put_fact(p, "classes", anx_report_grouped(s->classes, a));
    snprintf(words, sizeof words, "%s to train with, %s to validate with", anx_report_grouped(s->train_images, a),
             anx_report_grouped(s->val_images, b));
    put_fact(p, "images", words);
    put_fact(p, "weights", s->weights != NULL ? s->weights : "drawn at random");
    snprintf(words, sizeof words, "%" PRIu64, s->seed);
    put_fact(p, "seed", words);
    put_events(p, log);
    fputs("</dl>\n", p->to);
    put_options(p, s);
}

static void put_cell(const page *p, const char *text) {
    fprintf(p->to, "<td>%s</td>", text); /* numbers that were printed here */
}

static void put_epoch(const page *p, const anx_train_log *log, const anx_train_epoch *e, bool best) {
    char text[32];
    fprintf(p->to, "<tr%s>", best ? " class=\"best\"" : "");
    fprintf(p->to, "<td>%" PRId64 "</td>", e->epoch);
    put_cell(p, anx_report_grouped(e->global_step, text));
    put_cell(p, isnan(e->train_loss) ? "nan" : anx_train_loss(e->train_loss, text));
    put_cell(p, anx_train_accuracy(e->train_acc1, text));
    put_cell(p, e->validated && isnan(e->val_loss) ? "nan" : anx_train_loss(e->val_loss, text));
    put_cell(p, anx_train_accuracy(e->val_acc1, text));
    put_cell(p, anx_train_accuracy(e->val_acc5, text));
    fputs("<td>", p->to);
    const int groups = anx_train_one_rate(log) ? 1 : log->n_groups;
    for (int g = 0; g < groups && g < most_shown_lr; g++)
        fprintf(p->to, "%s%s", g > 0 ? ", " : "", anx_train_rate(e->lr[g], text));
    fprintf(p->to, "%s</td>", groups > most_shown_lr ? ", ..." : "");
    put_cell(p, isnan(e->seconds) ? "-" : anx_report_number(e->seconds, text));
    fprintf(p->to, "<td>%s</td></tr>\n", best ? "best" : "");
}

static void put_table(const page *p, const anx_train_log *log) {
    const anx_train_epoch *best = anx_train_best(log);
    if (log->n_epochs == 0) {
        fputs("<p class=\"dim\">No epoch was completed.</p>\n", p->to);
        return;
    }
    fputs("<div class=\"table\"><table>\n<caption>Accuracies in per cent</caption>\n<thead><tr><th scope=\"col\">epoch"
          "</th><th scope=\"col\">steps</th><th scope=\"col\">training loss</th><th scope=\"col\">top-1</th>"
          "<th scope=\"col\">validation loss</th><th scope=\"col\">top-1</th><th scope=\"col\">top-5</th>"
          "<th scope=\"col\">learning rate</th><th scope=\"col\">seconds</th><th></th></tr></thead>\n<tbody>\n",
          p->to);
    for (size_t i = 0; i < log->n_epochs; i++) put_epoch(p, log, &log->epochs[i], &log->epochs[i] == best);
    fputs("</tbody></table></div>\n", p->to);
}

static void put_title(const page *p) {
    if (p->n == 1) {
        fputs("Training of ", p->to);
        put(p, p->logs[0]->start.arch != NULL ? p->logs[0]->start.arch : "a network");
    } else
        fprintf(p->to, "%zu training runs", p->n);
}

static void put_page(page *p) {
    fputs("<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n"
          "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">\n"
          "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n<title>",
          p->to);
    put_title(p);
    fprintf(p->to, "</title>\n<style>\n%s", style_sheet);
    for (int i = 0; i < ANX_SVG_STYLES; i++) fprintf(p->to, ".s%d{stroke:var(--c%d)}.f%d{fill:var(--c%d)}", i, i, i, i);
    fputs("\n</style>\n</head>\n<body>\n<h1>", p->to);
    put_title(p);
    fputs("</h1>\n", p->to);
    if (p->n == 1) put_run(p, p->logs[0]);
    put_charts(p);
    for (size_t l = 0; l < p->n; l++) {
        fputs("<section>\n<h2>", p->to);
        put(p, p->n > 1 ? p->logs[l]->path : "Epochs");
        fputs("</h2>\n", p->to);
        if (p->n > 1) put_run(p, p->logs[l]);
        put_table(p, p->logs[l]);
        fputs("</section>\n", p->to);
    }
    fputs("</body>\n</html>\n", p->to);
}

anx_status anx_train_report_html(const anx_train_log *const *logs, size_t n, char **text, size_t *n_bytes,
                                 anx_error *err) {
    page *p = calloc(1, sizeof *p);
    anx_text_stream s;
    anx_status status =
        p != NULL ? anx_text_stream_open(&s, err) : anx_error_set(err, ANX_ERR_OUT_OF_MEMORY, "no memory for a page");
    if (status != ANX_OK) goto out;
    p->to = s.to;
    p->logs = logs;
    p->n = n;
    put_page(p);
    reset(p);
    if (p->failed) s.failed = true; /* something is missing */
    status = anx_text_stream_close(&s, text, n_bytes, err);
out:
    free(p);
    return status;
}
