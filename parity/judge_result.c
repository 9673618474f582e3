/*
 * The top-5 of the judged engine beside PyTorch's. Two float32 engines may order classes differently where rounding
 * decides (anx_ambiguous_margin says how far the judged device's arithmetic lets it). A margin that small is ambiguous.
 */
#include <float.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "parity/judge_run.h"
#include "parity/predictions.h"

/* The k largest of n, the lower index first among equals; NaN ranks as the largest, as in torch.topk. */
static void rank_top(const float *logits, int64_t n, int k, anx_ranked *out) {
    for (int r = 0; r < k; r++) {
        int64_t best = -1;
        for (int64_t i = 0; i < n; i++) {
            bool taken = false;
            for (int q = 0; q < r; q++) taken = taken || out[q].index == i;
            if (taken) continue;
            if (best < 0 || logits[i] > logits[best] || (isnan(logits[i]) && !isnan(logits[best]))) best = i;
        }
        out[r] = (anx_ranked){.index = best, .logit = logits[best]};
    }
}

static void add_probabilities(const float *logits, int64_t n, int k, anx_ranked *ranked) {
    double sum = 0;
    for (int64_t i = 0; i < n; i++) sum += exp(logits[i] - ranked[0].logit);
    for (int r = 0; r < k; r++) /* NaN without a sign, whatever the machine made */
        ranked[r].prob = isnan(sum) ? (double)NAN : exp(ranked[r].logit - ranked[0].logit) / sum;
}

static double standard_deviation(const float *v, int64_t n) {
    double mean = 0, squares = 0;
    for (int64_t i = 0; i < n; i++) mean += v[i];
    mean /= (double)n;
    for (int64_t i = 0; i < n; i++) squares += (v[i] - mean) * (v[i] - mean);
    return sqrt(squares / (double)n);
}

static bool holds(const anx_ranked *ranked, int k, int64_t index) {
    for (int i = 0; i < k; i++)
        if (ranked[i].index == index) return true;
    return false;
}

/* Compares two rankings; `other` is the reference whose logits are given. *wrong counts places that rounding does not
   explain, *near the neighbours among the reference's first k + 1 whose margin it may turn. */
static void compare(anx_top5 *t, const float *other, int64_t n, double ambiguous_margin, int *wrong, int *near) {
    anx_ranked top[ANX_TOP_K + 1];
    const int k = t->k, more = n > k ? k + 1 : k;
    rank_top(other, n, more, top);
    memcpy(t->other, top, (size_t)k * sizeof *top);
    add_probabilities(other, n, k, t->other);
    const double s = standard_deviation(other, n);
    const double limit = ambiguous_margin * s;
    t->same_top1 = t->judged[0].index == t->other[0].index;
    t->same_set = t->same_order = true;
    *wrong = *near = 0;
    for (int i = 0; i < k; i++) {
        t->same_set = t->same_set && holds(t->other, k, t->judged[i].index);
        if (t->judged[i].index == t->other[i].index) continue;
        t->same_order = false;
        *wrong += !(fabs((double)other[t->judged[i].index] - (double)other[t->other[i].index]) <= limit);
    }
    for (int i = 0; i + 1 < more; i++) *near += top[i].logit - top[i + 1].logit <= limit;
    t->margin_1_2 = more > 1 ? (top[0].logit - top[1].logit) / s : NAN;
    t->margin_5_6 = more > ANX_TOP_K ? (top[ANX_TOP_K - 1].logit - top[ANX_TOP_K].logit) / s : NAN;
    t->ambiguous_top1 = t->margin_1_2 <= ambiguous_margin;
    t->ambiguous_set = t->margin_5_6 <= ambiguous_margin;
}

/* Does the ranking that PyTorch recorded agree with the one of the logits that stand for PyTorch's? */
static bool recorded_agrees(const anx_judge_case *c, const anx_top5 *t) {
    if (c->recorded == NULL || c->recorded->top == NULL || !c->nodes[c->graph->logits].recorded) return true;
    const anx_fixture_top *top = c->recorded->top + t->image * ANX_FIXTURE_TOP;
    for (int i = 0; i < t->k; i++)
        if (top[i].index != t->other[i].index && fabs((double)top[i].prob - t->other[i].prob) > 1e-6) return false;
    return true;
}

static anx_status judge_image(anx_judge_run *run, anx_judge_case *c, int64_t image, const float *got,
                              const float *other, anx_error *err) {
    const int64_t n = anx_graph_node_elems(c->graph, c->graph->logits);
    anx_top5 t = {.image = image,
                  .k = n < ANX_TOP_K ? (int)n : ANX_TOP_K,
                  .other_basis = anx_judge_case_basis(c, c->graph->logits)};
    rank_top(got, n, t.k, t.judged);
    add_probabilities(got, n, t.k, t.judged);
    int wrong, near;
    compare(&t, other, n, anx_ambiguous_margin(run->info.math), &wrong, &near);

    anx_judged j;
    anx_status status =
        anx_judged_init(&j, ANX_JUDGED_TOPK, ANX_PATH_RESULT, "top-5", c->name,
                        c->nodes[c->graph->logits].recorded && c->fixture != NULL ? c->fixture->name : NULL, err);
    if (status != ANX_OK) return status;
    j.node = c->graph->logits;
    j.op = c->graph->nodes[j.node].layer->op;
    j.ties = near;
    j.n_versus = 1;
    j.versus[0] = (anx_comparison){.basis = t.other_basis,
                                   .bound = ANX_BOUND_RANK,
                                   .limit_r = NAN,
                                   .limit_rms = NAN,
                                   .elems = t.k,
                                   .worst_r = NAN,
                                   .rms = NAN,
                                   .part_rms = NAN,
                                   .slope = NAN,
                                   .over = wrong};
    const char *basis = anx_basis_name(t.other_basis);
    if (wrong > 0)
        status =
            anx_judged_conclude(&j, ANX_VERDICT_FAIL, err,
                                "image %lld: %d of the first %d classes differ from %s by more than rounding turns",
                                (long long)image, wrong, t.k, basis);
    else if (!recorded_agrees(c, &t))
        status =
            anx_judged_conclude(&j, ANX_VERDICT_FAIL, err,
                                "image %lld: the recorded top-5 is not that of the recorded logits", (long long)image);
    else if (!t.same_order)
        status = anx_judged_conclude(&j, ANX_VERDICT_PASS, err,
                                     "image %lld: other order than %s, but by margins that rounding may turn",
                                     (long long)image, basis);
    else
        status =
            anx_judged_conclude(&j, ANX_VERDICT_PASS, err, "the same classes in the same order as %s%s", basis,
                                t.ambiguous_top1 || t.ambiguous_set ? "; a margin is one that rounding may turn" : "");
    if (status == ANX_OK) status = anx_verdicts_add(run->list, &j, err);
    anx_judged_fini(&j);
    if (status != ANX_OK) return status;
    if ((t.input = strdup(c->name)) == NULL) return anx_error_set(err, ANX_ERR_OUT_OF_MEMORY, "no memory for a top-5");
    status = anx_verdicts_add_top5(run->list, &t, err);
    free(t.input);
    return status;
}

anx_status anx_judge_result(anx_judge_run *run, anx_judge_case *c, const float *logits, anx_error *err) {
    if (!anx_judge_wants(run, c->graph, c->graph->logits)) return ANX_OK;
    const int64_t n = anx_graph_node_elems(c->graph, c->graph->logits);
    const float *other = anx_judge_case_y32(c, c->graph->logits);
    anx_status status = ANX_OK;
    for (int64_t i = 0; status == ANX_OK && i < c->batch; i++)
        status = judge_image(run, c, i, logits + i * n, other + i * n, err);
    return status;
}
