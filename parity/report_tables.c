/* The text report's tables: one row per judged point, the worst of its inputs. */
#include <inttypes.h>
#include <math.h>
#include <string.h>

#include "parity/report_text_inside.h"

static bool exact_kind(anx_bound_kind kind) {
    return kind == ANX_BOUND_BITS || kind == ANX_BOUND_PIXELS || kind == ANX_BOUND_INTEGER;
}

static const anx_comparison *first_comparison(const anx_judged *j) {
    return j->n_versus > 0 ? &j->versus[0] : NULL;
}

/* The comparison with PyTorch's float32 values that stands beside the one with the truth. */
static const anx_comparison *beside_truth(const anx_judged *j) {
    return j->n_versus > 1 ? &j->versus[1] : NULL;
}

/* What a verdict rests on, in a word or two. */
static const char *rests_on(const anx_judged *j) {
    const anx_comparison *first = first_comparison(j), *second = beside_truth(j);
    if (first == NULL) return "";
    const bool recorded = second != NULL && second->basis == ANX_BASIS_PYTORCH_RECORDED;
    switch (first->basis) {
    case ANX_BASIS_NONE:
    case ANX_BASIS_COUNT: return "";
    case ANX_BASIS_TRUTH_RECORDED: return second == NULL || recorded ? "recording" : "recording, exact";
    case ANX_BASIS_TRUTH_COMPUTED: return second == NULL ? "fp64" : recorded ? "fp64, recording" : "fp64, exact";
    case ANX_BASIS_PYTORCH_RECORDED: return "recording";
    case ANX_BASIS_PYTORCH_REGENERATED: return "exact";
    case ANX_BASIS_PILLOW_RECORDED: return "recording";
    case ANX_BASIS_ARITHMETIC: return "arithmetic";
    case ANX_BASIS_ITSELF: return "itself";
    case ANX_BASIS_ANX_PREPROCESS: return "own";
    }
    return "";
}

static const char *short_op(const anx_judged *j) {
    if (j->node < 0) return "";
    return j->op == ANX_OP_ADAPTIVE_AVG_POOL2D ? "avg_pool2d" : anx_op_name(j->op);
}

static void put_verdict(const anx_text_report *r, const anx_verdict_row *row) {
    const anx_verdict verdict = row->worst->verdict;
    anx_report_put(r, anx_report_verdict_style(verdict), "%s\n", anx_verdict_name(verdict));
}

/* Under a row that is not simply good: why, and for how many inputs. */
static void put_reason(const anx_text_report *r, const anx_verdict_row *row) {
    const anx_judged *j = row->worst;
    if (j->verdict <= ANX_VERDICT_PASS && !r->options->verbose) return;
    if (j->reason[0] == '\0') return;
    fputs("      ", r->to);
    anx_report_put_wrapped_format(r, 6, 6, "%s%s%s", j->input, j->input[0] != '\0' ? ": " : "", j->reason);
    const int64_t others = row->counts[j->verdict] - 1;
    if (others > 0 && j->verdict > ANX_VERDICT_PASS)
        fprintf(r->to, "      and %" PRId64 " more input%s\n", others, others == 1 ? "" : "s");
}

/* The accumulated error at a point, NaN where it was not measured. */
static double accumulated(const anx_text_report *r, const char *point) {
    for (size_t i = 0; i < r->n_rows; i++) {
        const anx_judged *j = r->rows[i].worst;
        if (j->path == ANX_PATH_ACCUMULATED && j->n_versus > 0 && strcmp(j->point, point) == 0)
            return j->versus[0].worst_r;
    }
    return NAN;
}

/* Windows of a max-pool, over all inputs, whose maximum several elements share: there any of them may be taken. */
static int64_t pooling_ties(const anx_text_report *r, const anx_judged *j) {
    int64_t ties = 0;
    if (j->op != ANX_OP_MAX_POOL2D) return 0;
    for (size_t i = 0; i < r->verdicts->n_judged; i++) {
        const anx_judged *other = &r->verdicts->judged[i];
        if (other->path == j->path && strcmp(other->point, j->point) == 0) ties += other->ties;
    }
    return ties;
}

/* The columns from the worst error to PyTorch's, alike in all tables of layers. */
static void put_measures(const anx_text_report *r, const anx_judged *j) {
    char worst[16], bound[16], rms[16], torch[16], versus[16];
    const anx_comparison *first = first_comparison(j), *second = beside_truth(j);
    if (first == NULL) {
        fprintf(r->to, "%41s", "");
        return;
    }
    if (exact_kind(first->bound)) {
        const int64_t wrong = first->over;
        if (wrong == 0)
            snprintf(worst, sizeof worst, "equal");
        else
            anx_report_number((double)wrong, worst);
        char note[40] = "";
        const int64_t ties = pooling_ties(r, j);
        size_t used = (size_t)snprintf(note, sizeof note, "%s", wrong == 0 ? "" : " differ");
        if (ties > 0) snprintf(note + used, sizeof note - used, ", %" PRId64 " tied", ties);
        fprintf(r->to, "%8s%-33s", worst, note);
        return;
    }
    fprintf(r->to, "%8s%7s%7s%8s%11s", anx_report_number(first->worst_r, worst),
            anx_report_share(first->worst_fraction, bound), anx_report_number(first->rms, rms),
            anx_report_number(j->pytorch_r, torch),
            anx_report_share(second != NULL ? second->worst_fraction : NAN, versus));
}

static void put_layer_row(const anx_text_report *r, const anx_verdict_row *row) {
    const anx_judged *j = row->worst;
    char chained[16] = "";
    const double carried = accumulated(r, j->point);
    if (!isnan(carried)) anx_report_number(carried, chained);
    fputs("  ", r->to);
    anx_report_put_name(r, j->point, 13);
    fprintf(r->to, " %-11s", short_op(j));
    put_measures(r, j);
    fprintf(r->to, "%9s  %-16s ", chained, rests_on(j));
    put_verdict(r, row);
    put_reason(r, row);
}

static void put_group_row(const anx_text_report *r, const anx_verdict_row *row) {
    const anx_judged *j = row->worst;
    fputs("  ", r->to);
    anx_report_put_name(r, j->kind == ANX_JUDGED_WHOLE ? "whole, against group by group" : j->point, 34);
    put_measures(r, j);
    fprintf(r->to, "  %-16s ", rests_on(j));
    put_verdict(r, row);
    put_reason(r, row);
}

/* Things that are equal or not: how many inputs were. */
static void put_equality_row(const anx_text_report *r, const anx_verdict_row *row) {
    const anx_judged *j = row->worst;
    const int64_t good = row->counts[ANX_VERDICT_PASS], judged = row->n - row->counts[ANX_VERDICT_INFO];
    char counted[64] = "";
    if (judged > 0) snprintf(counted, sizeof counted, "%" PRId64 " of %" PRId64 " equal", good, judged);
    fputs("  ", r->to);
    anx_report_put_name(r, j->point, 24);
    fprintf(r->to, " %-24s ", counted);
    put_verdict(r, row);
    put_reason(r, row);
}

/* Preprocessing's rows in the order of its stages, whichever was met first; others behind them. */
static void put_stages(const anx_text_report *r) {
    static const char *const order[] = {"image", "resize", "crop", "scaled", "input", "input (fast path)"};
    enum { n_known = sizeof order / sizeof order[0] };
    bool begun = false;
    for (int step = 0; step <= n_known; step++) {
        for (size_t i = 0; i < r->n_rows; i++) {
            if (r->rows[i].worst->path != ANX_PATH_PREPROCESS) continue;
            int place = 0;
            while (place < n_known && strcmp(order[place], r->rows[i].worst->point) != 0) place++;
            if (place != step) continue;
            if (!begun)
                anx_report_put(r, ANX_STYLE_TITLE, "\nPreprocessing against Pillow and torchvision, in every bit\n");
            begun = true;
            put_equality_row(r, &r->rows[i]);
        }
    }
}

static void put_table(const anx_text_report *r, anx_judged_path path, const char *title, const char *columns,
                      void (*put_row)(const anx_text_report *, const anx_verdict_row *)) {
    bool begun = false;
    for (size_t i = 0; i < r->n_rows; i++) {
        if (r->rows[i].worst->path != path) continue;
        if (!begun) {
            fputc('\n', r->to);
            anx_report_put(r, ANX_STYLE_TITLE, "%s\n", title);
            if (columns[0] != '\0') anx_report_put(r, ANX_STYLE_FAINT, "%s\n", columns);
        }
        begun = true;
        put_row(r, &r->rows[i]);
    }
}

/*
 * One line where everything of a path is good: how many; below it the rows that are not, or all if asked for. What is
 * only reported (info) is counted neither way.
 */
static void put_summary(const anx_text_report *r, anx_judged_path path, const char *what, const char *good) {
    int64_t passed = 0, judged = 0, skipped = 0;
    for (size_t i = 0; i < r->n_rows; i++) {
        if (r->rows[i].worst->path != path) continue;
        passed += r->rows[i].counts[ANX_VERDICT_PASS];
        skipped += r->rows[i].counts[ANX_VERDICT_SKIP];
        judged += r->rows[i].n - r->rows[i].counts[ANX_VERDICT_INFO] - r->rows[i].counts[ANX_VERDICT_SKIP];
    }
    if (judged + skipped == 0) return;
    fputc('\n', r->to);
    anx_report_put(r, ANX_STYLE_TITLE, "%s", what);
    fprintf(r->to, ": %" PRId64 " of %" PRId64 " %s", passed, judged, good);
    if (skipped > 0) fprintf(r->to, ", %" PRId64 " skipped", skipped);
    fputc('\n', r->to);
    for (size_t i = 0; i < r->n_rows; i++)
        if (r->rows[i].worst->path == path && (r->rows[i].worst->verdict > ANX_VERDICT_PASS || r->options->verbose))
            put_equality_row(r, &r->rows[i]);
}

/* What is said about the recordings as a whole. */
static void put_recordings(const anx_text_report *r) {
    for (size_t i = 0; i < r->n_rows; i++) {
        const anx_judged *j = r->rows[i].worst;
        if (j->path != ANX_PATH_RECORDINGS || (j->verdict == ANX_VERDICT_PASS && !r->options->verbose)) continue;
        fputc('\n', r->to);
        const int at = fprintf(r->to, "%s ", j->point);
        anx_report_put(r, anx_report_verdict_style(j->verdict), "%s", anx_verdict_name(j->verdict));
        fputs(": ", r->to);
        anx_report_put_wrapped(r, ANX_STYLE_PLAIN, at + 6, 2, j->reason);
    }
}

/* A training of the device's own: what it was found to be stands in words. */
static void put_free_row(const anx_text_report *r, const anx_verdict_row *row) {
    const anx_judged *j = row->worst;
    fputs("  ", r->to);
    anx_report_put_name(r, j->point, 49);
    fputc(' ', r->to);
    put_verdict(r, row);
    if (j->verdict <= ANX_VERDICT_PASS && !r->options->verbose) {
        fputs("      ", r->to);
        anx_report_put_wrapped_format(r, 6, 6, "%s: %s", j->input, j->reason);
    }
    put_reason(r, row);
}

static void put_training(const anx_text_report *r, const char *group_columns) {
    put_summary(r, ANX_PATH_TRAIN_REPLAY, "Training, recorded steps taken again",
                "comparisons bit-equal to what PyTorch left");
    put_table(r, ANX_PATH_TRAIN_OPERATORS, "Training, each operator's gradients, fed what PyTorch had", group_columns,
              put_group_row);
    put_summary(r, ANX_PATH_TRAIN_UPDATE, "Training, SGD from PyTorch's state", "comparisons within their bounds");
    put_table(r, ANX_PATH_TRAIN_FREE, "Training, the device's own run beside PyTorch's", "", put_free_row);
}

void anx_report_put_tables(const anx_text_report *r) {
    static const char layer_columns[] =
        "  point         op             worst  bound    RMS PyTorch vs PyTorch  chained  rests on";
    static const char group_columns[] =
        "  group                                worst  bound    RMS PyTorch vs PyTorch  rests on";
    put_recordings(r);
    put_summary(r, ANX_PATH_EXACT, "PyTorch's own bits", "recordings reproduced by 'exact' in every bit");
    put_stages(r);
    put_table(r, ANX_PATH_OBSERVE, "Layers, each fed PyTorch's own input; errors in units of u*G", layer_columns,
              put_layer_row);
    put_table(r, ANX_PATH_AGAINST, "Layers of the dump, each judged from its own input; in units of u*G", layer_columns,
              put_layer_row);
    put_table(r, ANX_PATH_INFER, "Fused groups as they run in use, each fed PyTorch's own input", group_columns,
              put_group_row);
    put_summary(r, ANX_PATH_PROBE, "Integer probe", "layers give the one right answer");
    put_training(r, group_columns);
}
