/*
 * The judged device's free run beside exact's, held within the recorded envelope of right runs. Rounding errors grow
 * exponentially, and one winner of a max-pool that turns makes a jump of three orders of magnitude: what is demanded is
 * to stay within `spread` times the largest drift of any recorded run so far, and where winners have differed already,
 * of any recorded run to the end.
 */
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "parity/judge_training.h"

/* Of the largest recorded drift. */
static const double spread = 8;
/*
 * What a run is allowed in any case, of the loss and of the way. A loss is a float32 too: where all recorded runs agree
 * in every bit, its own rounding remains. Operands of 11 bits err by 2^-11 to 2^-10 and turn max-pools' winners from
 * the first step on.
 */
typedef struct floors {
    double loss, way;
} floors;

static floors floors_of(anx_math_mode math) {
    return math == ANX_MATH_FLOAT32 ? (floors){16 * 0x1p-24, 0x1p-20} : (floors){0x1p-6, 0.25};
}

/* ---- winners ----------------------------------------------------------------------------------------------- */

static anx_status read_winners(anx_device *device, anx_plan *plan, anx_value value, anx_tensor *out, anx_error *err) {
    int64_t shape[4];
    const int rank = anx_plan_value_shape(plan, value, shape);
    anx_status status = anx_tensor_alloc(value.kind == ANX_VALUE_ARGMAX ? ANX_I64 : ANX_F32, rank, shape, out, err);
    if (status == ANX_OK) status = anx_plan_read(plan, value, out, err);
    return status == ANX_OK ? anx_device_sync(device, err) : status;
}

static anx_status count_node(const anx_judge_scenario *s, anx_trainer *trainer, int node, int64_t *flips,
                             int64_t *windows, anx_error *err) {
    anx_plan *judged = anx_trainer_plan(trainer), *standard = anx_trainer_plan(s->standard->trainer);
    const anx_value winners = {ANX_VALUE_ARGMAX, node};
    anx_tensor a = ANX_TENSOR_INIT, b = ANX_TENSOR_INIT, y = ANX_TENSOR_INIT;
    anx_status status = read_winners(s->options.device, judged, winners, &a, err);
    if (status == ANX_OK) status = read_winners(s->run->exact, standard, winners, &b, err);
    if (status == ANX_OK) status = read_winners(s->run->exact, standard, anx_value_output(node), &y, err);
    if (status == ANX_OK) {
        const int64_t n = anx_tensor_elems(&y), *got = a.data, *right = b.data;
        const float *value = y.data;
        for (int64_t i = 0; i < n; i++) {
            *windows += value[i] > 0;
            *flips += value[i] > 0 && got[i] != right[i];
        }
    }
    anx_tensor_fini(&a);
    anx_tensor_fini(&b);
    anx_tensor_fini(&y);
    return status;
}

anx_status anx_training_count_flips(const anx_judge_scenario *s, anx_trainer *judged, int64_t *flips, int64_t *windows,
                                    anx_error *err) {
    const anx_graph *graph = s->options.graph;
    anx_status status = ANX_OK;
    *flips = *windows = 0;
    for (int node = 0; node < graph->n_nodes && status == ANX_OK; node++)
        if (graph->nodes[node].layer->op == ANX_OP_MAX_POOL2D)
            status = count_node(s, judged, node, flips, windows, err);
    return status;
}

/* ---- notes ------------------------------------------------------------------------------------------------- */

anx_status anx_training_free_init(const anx_judge_scenario *s, anx_training_free *out, anx_error *err) {
    const size_t steps = (size_t)s->scenario->steps;
    *out = (anx_training_free){.difference = calloc(steps * (size_t)s->options.graph->n_params, sizeof(double)),
                               .loss = calloc(steps, sizeof(double)),
                               .flips = calloc(steps, sizeof(int64_t))};
    if (out->difference != NULL && out->loss != NULL && out->flips != NULL) return ANX_OK;
    anx_training_free_fini(out);
    return anx_error_set(err, ANX_ERR_OUT_OF_MEMORY, "out of memory");
}

void anx_training_free_fini(anx_training_free *f) {
    free(f->difference);
    free(f->loss);
    free(f->flips);
    *f = (anx_training_free){NULL, NULL, NULL, 0, 0};
}

static double norm_of_difference(const float *a, const float *b, int64_t n, int threads) {
    double sum = 0;
#pragma omp parallel for num_threads(threads) schedule(static) reduction(+ : sum)
    for (int64_t i = 0; i < n; i++) {
        const double d = (double)a[i] - (double)b[i];
        sum += d * d;
    }
    return sqrt(sum);
}

anx_status anx_training_free_note(const anx_judge_scenario *s, anx_training_play *judged, anx_training_free *f,
                                  anx_error *err) {
    const anx_graph *graph = s->options.graph;
    const anx_tensor *got = anx_trainer_params(judged->trainer), *right = anx_trainer_params(s->standard->trainer);
    anx_status status = anx_trainer_fetch(judged->trainer, err);
    if (status == ANX_OK) status = anx_trainer_fetch(s->standard->trainer, err);
    if (status != ANX_OK) return status;
    for (int i = 0; i < graph->n_params; i++)
        f->difference[f->steps * graph->n_params + i] =
            norm_of_difference(got[i].data, right[i].data, anx_param_elems(&graph->params[i]), s->run->threads);
    f->loss[f->steps] = judged->stopped ? INFINITY : (double)judged->result.loss - (double)s->standard->result.loss;
    status = anx_training_count_flips(s, judged->trainer, &f->flips[f->steps], &f->windows, err);
    f->steps += status == ANX_OK;
    return status;
}

/* ---- verdicts ---------------------------------------------------------------------------------------------- */

/* Parameters whose names begin alike up to the first dot move together: "features", "classifier". */
static bool in_part(const anx_graph *graph, int param, const char *part) {
    const size_t n = strlen(part);
    return strncmp(graph->params[param].name, part, n) == 0 && graph->params[param].name[n] == '.';
}

/* Of one part: the drift as a share of the way it has come. values (n_params) of one step. */
static double drift_of(const anx_graph *graph, const char *part, const double *difference, const double *distance) {
    double above = 0, below = 0;
    for (int i = 0; i < graph->n_params; i++) {
        if (!in_part(graph, i, part)) continue;
        above += difference[i] * difference[i];
        below += distance[i] * distance[i];
    }
    return above == 0 ? 0 : sqrt(above / below);
}

/* The largest drift of any recorded run up to and including a step. part NULL: of the loss, absolute. */
static double recorded_drift(const anx_judge_scenario *s, const char *part, int64_t last) {
    const anx_training_envelope *e = s->scenario->envelope;
    const int64_t n = s->options.graph->n_params, steps = s->scenario->steps;
    double most = 0;
    for (int r = 0; r < e->n_runs; r++)
        for (int64_t t = 0; t <= last; t++)
            most = fmax(most, part == NULL ? fabs(e->loss[r * steps + t])
                                           : drift_of(s->options.graph, part, e->difference + (r * steps + t) * n,
                                                      e->distance + t * n));
    return most;
}

/* Where a run comes nearest to its bound. */
typedef struct nearest {
    int64_t step;
    double drift, bound;
} nearest;

static nearest find_nearest(const anx_judge_scenario *s, const anx_training_free *f, const char *part) {
    const int64_t n = s->options.graph->n_params, last = s->scenario->steps - 1;
    const floors least = floors_of(s->run->info.math);
    nearest worst = {0, 0, 1};
    int64_t flips = 0;
    for (int64_t t = 0; t < f->steps; t++) {
        flips += f->flips[t];
        const double floor = part == NULL ? least.loss * fabs((double)s->scenario->recorded->loss[t]) : least.way;
        const double bound = fmax(spread * recorded_drift(s, part, flips > 0 ? last : t), floor);
        const double drift = part == NULL ? fabs(f->loss[t])
                                          : drift_of(s->options.graph, part, f->difference + t * n,
                                                     s->scenario->envelope->distance + t * n);
        if (t == 0 || !(drift / bound <= worst.drift / worst.bound)) worst = (nearest){t, drift, bound};
    }
    return worst;
}

static anx_status begin_row(const anx_judge_scenario *s, const char *point, anx_judged *j, anx_error *err) {
    return anx_judged_init(j, ANX_JUDGED_ENVELOPE, ANX_PATH_TRAIN_FREE, point, s->scenario->name, s->fixture, err);
}

static anx_status add_drift_row(anx_judge_scenario *s, const anx_training_free *f, const char *part, anx_error *err) {
    const nearest at = find_nearest(s, f, part);
    const bool inside = at.drift <= at.bound;
    anx_judged j = {0};
    anx_status status = begin_row(s, part != NULL ? part : "loss", &j, err);
    if (status != ANX_OK) return status;
    j.n_versus = 1;
    j.versus[0] = (anx_comparison){.basis = ANX_BASIS_PYTORCH_RECORDED,
                                   .bound = ANX_BOUND_ENVELOPE,
                                   .limit_r = NAN,
                                   .limit_rms = NAN,
                                   .elems = f->steps,
                                   .over = !inside,
                                   .worst_r = NAN,
                                   .worst_fraction = at.drift / at.bound,
                                   .worst_abs = at.drift,
                                   .rms = NAN,
                                   .part_rms = NAN,
                                   .slope = NAN};
    status = anx_judged_conclude(
        &j, inside ? ANX_VERDICT_PASS : ANX_VERDICT_FAIL, err,
        "%" PRId64 " steps of its own: drifts from PyTorch's run by %.2g%s at step %" PRId64 ", %s the spread of %d "
        "right runs of PyTorch's (%g times their largest drift%s: %.2g)",
        f->steps, at.drift, part != NULL ? " of the way" : " in the loss", at.step + 1, inside ? "within" : "beyond",
        s->scenario->envelope->n_runs, spread,
        s->run->info.math == ANX_MATH_FLOAT32 ? "" : ", or what operands of 11 bits leave", at.bound);
    if (status == ANX_OK) status = anx_verdicts_add(s->run->list, &j, err);
    anx_judged_fini(&j);
    return status;
}

static anx_status add_flips_row(anx_judge_scenario *s, const anx_training_free *f, anx_error *err) {
    int64_t first = 0, total = 0;
    for (int64_t t = 0; t < f->steps; t++) {
        total += f->flips[t];
        if (total > 0 && first == 0) first = t + 1;
    }
    anx_judged j = {0};
    anx_status status = begin_row(s, "max-pool winners", &j, err);
    if (status != ANX_OK) return status;
    if (total == 0)
        status = anx_judged_conclude(&j, ANX_VERDICT_INFO, err,
                                     "none of %" PRId64 " differs from PyTorch's run in %" PRId64
                                     " steps. Beyond these no honest claim exists",
                                     f->windows, f->steps);
    else
        status = anx_judged_conclude(&j, ANX_VERDICT_INFO, err,
                                     "%" PRId64 " of %" PRId64 " differ from PyTorch's run in %" PRId64
                                     " steps, the first %" PRId64 " at step %" PRId64
                                     ": this is what makes runs drift apart. Beyond these steps no honest claim exists",
                                     total, f->windows, f->steps, f->flips[first - 1], first);
    if (status == ANX_OK) status = anx_verdicts_add(s->run->list, &j, err);
    anx_judged_fini(&j);
    return status;
}

anx_status anx_training_free_conclude(anx_judge_scenario *s, const anx_training_free *f, anx_error *err) {
    const anx_graph *graph = s->options.graph;
    anx_status status = add_drift_row(s, f, NULL, err);
    for (int i = 0; i < graph->n_params && status == ANX_OK; i++) {
        char part[96], before[96] = "";
        snprintf(part, sizeof part, "%.*s", (int)strcspn(graph->params[i].name, "."), graph->params[i].name);
        if (i > 0)
            snprintf(before, sizeof before, "%.*s", (int)strcspn(graph->params[i - 1].name, "."),
                     graph->params[i - 1].name);
        if (strcmp(part, before) != 0) status = add_drift_row(s, f, part, err);
    }
    return status == ANX_OK ? add_flips_row(s, f, err) : status;
}
