/*
 * The judged engine on one case: each module fed PyTorch's input, each fused group likewise, the whole plan against
 * itself run group by group, and the error accumulated over a free run.
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "parity/diagnose.h"
#include "parity/judge_run.h"
#include "parity/operands.h"

/* A stretch of nodes whose last output was read from the judged engine. */
typedef struct stretch {
    anx_judged_kind kind;
    anx_judged_path path;
    char name[160];
    int first, node; /* equal for a module */
    int rounding;    /* the one node in it that rounds; -1 if none */
    bool several;    /* more than one rounds: no bound of one sum applies */
    const float *got;
} stretch;

static bool rounds(const anx_graph *graph, int node) {
    return anx_rule_for_node(graph, node).kind != ANX_BOUND_BITS;
}

static int64_t elems_of(const anx_judge_case *c, int node) {
    return c->batch * anx_graph_node_elems(c->graph, node);
}

/* A truth and its gauge at a group's rounding node, carried through the nodes after it. Both are the caller's. */
static anx_status carry_group(const anx_judge_case *c, const anx_group *group, int rounding, const double *from_y64,
                              const float *from_gauge, double **y64_out, float **gauge_out, anx_error *err) {
    double *y64 = NULL, *y64_next = NULL;
    float *gauge = NULL, *gauge_next = NULL;
    anx_status status = anx_judge_alloc(c->graph, rounding, c->batch, sizeof *y64, &y64, err);
    if (status == ANX_OK) status = anx_judge_alloc(c->graph, rounding, c->batch, sizeof *gauge, &gauge, err);
    if (status != ANX_OK) goto out;
    memcpy(y64, from_y64, (size_t)elems_of(c, rounding) * sizeof *y64);
    memcpy(gauge, from_gauge, (size_t)elems_of(c, rounding) * sizeof *gauge);
    for (int i = 0; i < group->n_nodes; i++) {
        const int node = group->nodes[i];
        if (node <= rounding) continue;
        if ((status = anx_judge_alloc(c->graph, node, c->batch, sizeof *y64, &y64_next, err)) != ANX_OK) goto out;
        if ((status = anx_judge_alloc(c->graph, node, c->batch, sizeof *gauge, &gauge_next, err)) != ANX_OK) goto out;
        if (!anx_carry_through(c->graph, node, c->batch, y64, gauge, y64_next, gauge_next)) {
            status =
                anx_error_set(err, ANX_ERR_INTERNAL, "no bound passes through '%s'", c->graph->nodes[node].layer->name);
            goto out;
        }
        free(y64);
        free(gauge);
        y64 = y64_next;
        gauge = gauge_next;
        y64_next = NULL;
        gauge_next = NULL;
    }
    *y64_out = y64;
    *gauge_out = gauge;
    return ANX_OK;
out:
    free(y64);
    free(gauge);
    free(y64_next);
    free(gauge_next);
    return status;
}

/* s of the group's rounding node, carried through the nodes after it as a gauge is. */
static anx_status carry_operands(const anx_judge_case *c, const anx_group *group, int rounding, float **out,
                                 anx_error *err) {
    const anx_judge_node *n = &c->nodes[rounding];
    float *s = NULL;
    double *unused = NULL;
    bool cut = false;
    anx_status status = anx_judge_alloc(c->graph, rounding, c->batch, sizeof *s, &s, err);
    if (status != ANX_OK) return status;
    memcpy(s, n->operands, (size_t)elems_of(c, rounding) * sizeof *s);
    for (int i = 0; i < group->n_nodes; i++)
        cut = cut || (group->nodes[i] > rounding && c->graph->nodes[group->nodes[i]].layer->op == ANX_OP_RELU);
    if (cut) anx_operands_through_relu(n->y64, elems_of(c, rounding), s);
    status = carry_group(c, group, rounding, n->y64, s, &unused, out, err);
    free(s);
    free(unused);
    return status;
}

/* A device that claims PyTorch's own bits is held to them. */
static anx_status demand_bits(const anx_judge_run *run, const anx_judge_case *c, int node, anx_judged *j,
                              anx_error *err) {
    if (!run->info.pytorch_bits || !c->nodes[node].judged_bits || j->n_versus == 0) return ANX_OK;
    const anx_comparison *v = &j->versus[j->n_versus - 1];
    if (v->different == 0 || j->verdict == ANX_VERDICT_FAIL) return ANX_OK;
    return anx_judged_conclude(j, ANX_VERDICT_FAIL, err,
                               "%lld of %lld values have other bits than PyTorch's, which '%s' claims to give",
                               (long long)v->different, (long long)v->elems, run->info.backend);
}

static anx_status diagnose(const anx_judge_run *run, const anx_judge_case *c, const stretch *s, const anx_rule *rule,
                           const anx_values *values, anx_judged *j, anx_error *err) {
    const int64_t elems = elems_of(c, s->node);
    double *expected = malloc((size_t)(elems > 0 ? elems : 1) * sizeof *expected);
    if (expected == NULL) return anx_error_set(err, ANX_ERR_OUT_OF_MEMORY, "no memory for the diagnosis");
    for (int64_t i = 0; i < elems; i++)
        expected[i] = values->y64 != NULL   ? values->y64[i]
                      : values->e64 != NULL ? (double)values->y32[i] + (double)values->e64[i]
                                            : (double)values->y32[i];
    const anx_node *first = &c->graph->nodes[s->first];
    const int sum = s->rounding >= 0 ? s->rounding : s->node;
    const bool differ = c->nodes[sum].point != NULL && !c->match->injectable[sum];
    const anx_suspect suspect = {.graph = c->graph,
                                 .first = s->first,
                                 .node = s->node,
                                 .batch = c->batch,
                                 .got = s->got,
                                 .expected = expected,
                                 .gauge = values->gauge,
                                 .input = anx_judge_case_y32(c, first->inputs[0]),
                                 .params = run->sized->params,
                                 .weights_differ = differ,
                                 .math = rule->spread > 0 ? run->info.math : ANX_MATH_FLOAT32,
                                 .scatter = rule->spread > 0 ? 4 * j->versus[0].limit_rms : 0};
    const anx_status status = anx_diagnose(&suspect, j, err);
    free(expected);
    return status;
}

/* Judges a stretch's output by the truth and gauge given (NULL where nothing in it rounds), and adds the row. */
static anx_status judge_stretch(anx_judge_run *run, anx_judge_case *c, const stretch *s, const anx_rule *rule,
                                const anx_values *values, anx_error *err) {
    anx_judged j;
    anx_status status =
        anx_judged_init(&j, s->kind, s->path, s->name, c->name,
                        c->nodes[s->node].recorded && c->fixture != NULL ? c->fixture->name : NULL, err);
    if (status != ANX_OK) return status;
    j.node = s->node;
    j.op = c->graph->nodes[s->node].layer->op;
    const bool truth_recorded = s->rounding >= 0 && c->nodes[s->rounding].e64 != NULL;
    anx_measure(rule, values, truth_recorded ? ANX_BASIS_TRUTH_RECORDED : ANX_BASIS_TRUTH_COMPUTED,
                anx_judge_case_basis(c, s->node), &j);
    if (j.op == ANX_OP_MAX_POOL2D && s->kind == ANX_JUDGED_MODULE)
        j.ties =
            anx_count_pool_ties(c->graph, s->node, c->batch, anx_judge_case_y32(c, c->graph->nodes[s->node].inputs[0]));
    status = anx_rule_conclude(rule, &j, err);
    if (status == ANX_OK) status = demand_bits(run, c, s->node, &j, err);
    if (status == ANX_OK && j.verdict == ANX_VERDICT_FAIL) status = diagnose(run, c, s, rule, values, &j, err);
    if (status == ANX_OK) status = anx_verdicts_add(run->list, &j, err);
    anx_judged_fini(&j);
    return status;
}

/* The judged engine's output against a recorded sketch: samples, and projections of what lies between them. */
static anx_status judge_sketch(anx_judge_run *run, anx_judge_case *c, int node, const float *got, anx_error *err) {
    const anx_fixture_point *p = c->nodes[node].point;
    if (p == NULL || p->sketch == NULL) return ANX_OK;
    /* single samples have no plane whose norm could bound them; the module's own row has all values */
    if (anx_judge_rule(run, c->graph, node).kind == ANX_BOUND_SUM_FAST) return ANX_OK;
    anx_judged j;
    anx_status status =
        anx_judged_init(&j, ANX_JUDGED_SKETCH, ANX_PATH_OBSERVE, p->name, c->name, c->fixture->name, err);
    if (status != ANX_OK) return status;
    const anx_fixture_sketch *sketch = p->sketch;
    const anx_rule rule = anx_judge_rule(run, c->graph, node);
    j.node = node;
    j.op = c->graph->nodes[node].layer->op;

    /* the sampled elements, as a batch of one with that many features */
    const size_t n = (size_t)sketch->n_samples;
    float *at = malloc((3 * n + 1) * sizeof *at), *gauge = at + n, *operands = gauge + n;
    if (at == NULL) {
        status = anx_error_set(err, ANX_ERR_OUT_OF_MEMORY, "no memory for the samples of a sketch");
        goto out;
    }
    const bool has_gauge = c->nodes[node].gauge != NULL;
    for (size_t i = 0; i < n; i++) {
        at[i] = got[sketch->positions[i]];
        gauge[i] = has_gauge ? c->nodes[node].gauge[sketch->positions[i]] : 0;
        operands[i] = rule.spread > 0 ? c->nodes[node].operands[sketch->positions[i]] : 0;
    }
    const anx_extent samples = {.rank = 1, .dim = {sketch->n_samples}};
    anx_measure(&rule,
                &(anx_values){.extent = &samples,
                              .batch = 1,
                              .got = at,
                              .y32 = sketch->y32,
                              .e64 = has_gauge ? sketch->e64 : NULL,
                              .gauge = has_gauge ? gauge : NULL,
                              .operands = operands},
                ANX_BASIS_TRUTH_RECORDED, ANX_BASIS_PYTORCH_RECORDED, &j);
    for (int i = 0; i < j.n_versus; i++) { /* back from the sample's number to its place */
        anx_element *e = &j.versus[i].worst;
        if (!e->known) continue;
        int64_t flat = sketch->positions[e->at[1]];
        e->rank = p->rank;
        for (int d = p->rank - 1; d >= 0; d--) {
            e->at[d] = flat % p->shape[d];
            flat /= p->shape[d];
        }
    }
    if ((status = anx_rule_conclude(&rule, &j, err)) != ANX_OK) goto out;
    anx_fixture_sketch_result r;
    if ((status = anx_fixture_sketch_compare(p, got, &r, err)) != ANX_OK) goto out;
    /* the projections' limits are float32's; shortened operands are judged at the samples, and at all of the module */
    const bool blocks_bad =
        r.n_nonfinite > 0 || r.n_inexact > 0 ||
        (rule.spread == 0 && (r.worst_block > ANX_FIXTURE_SKETCH_MAX_BLOCK || r.rms > ANX_FIXTURE_SKETCH_MAX_RMS));
    if (blocks_bad && j.verdict < ANX_VERDICT_FAIL)
        status = anx_judged_conclude(&j, ANX_VERDICT_FAIL, err,
                                     "projections differ: block %lld of image %lld by %.4g (limit %g), RMS %.4g (limit "
                                     "%g), %lld that must be equal are not",
                                     (long long)r.worst_block_index, (long long)r.worst_image, r.worst_block,
                                     ANX_FIXTURE_SKETCH_MAX_BLOCK, r.rms, ANX_FIXTURE_SKETCH_MAX_RMS,
                                     (long long)r.n_inexact);
    else if (j.verdict == ANX_VERDICT_PASS)
        status = anx_judged_conclude(&j, ANX_VERDICT_PASS, err,
                                     "%lld samples within the bound, projections' RMS %.3g; sees one element change by "
                                     "%.3g, all by an RMS of %.3g u G",
                                     (long long)sketch->n_samples, r.rms, sketch->sees_element, sketch->sees_rms);
    if (status == ANX_OK) status = anx_verdicts_add(run->list, &j, err);
out:
    free(at);
    anx_judged_fini(&j);
    return status;
}

static anx_status inject(const anx_judge_case *c, anx_plan *plan, const int *inputs, int n_inputs, anx_error *err) {
    for (int i = 0; i < n_inputs; i++) {
        const anx_tensor t = anx_judge_view(c->graph, inputs[i], c->batch, anx_judge_case_y32(c, inputs[i]));
        const anx_status status = anx_plan_write(plan, anx_value_output(inputs[i]), &t, err);
        if (status != ANX_OK) return status;
    }
    return ANX_OK;
}

/* Reads a node's output and waits for it. */
static anx_status fetch(anx_judge_run *run, anx_plan *plan, const anx_judge_case *c, int node, float *into,
                        anx_error *err) {
    anx_tensor t = anx_judge_view(c->graph, node, c->batch, into);
    const anx_status status = anx_plan_read(plan, anx_value_output(node), &t, err);
    return status != ANX_OK ? status : anx_device_sync(run->judged, err);
}

static anx_status observe_node(anx_judge_run *run, anx_judge_case *c, anx_plan *plan, int node, float *got,
                               anx_error *err) {
    const anx_node *g = &c->graph->nodes[node];
    anx_status status = inject(c, plan, g->inputs, g->n_inputs, err);
    if (status == ANX_OK) status = anx_plan_run_groups(plan, anx_plan_group_of_node(plan, node), 1, err);
    if (status == ANX_OK) status = fetch(run, plan, c, node, got, err);
    if (status != ANX_OK) return status;

    anx_judge_node *n = &c->nodes[node];
    stretch s = {.kind = ANX_JUDGED_MODULE,
                 .path = ANX_PATH_OBSERVE,
                 .first = node,
                 .node = node,
                 .rounding = rounds(c->graph, node) ? node : -1,
                 .got = got};
    snprintf(s.name, sizeof s.name, "%s", g->layer->name);
    anx_rule rule = anx_judge_rule(run, c->graph, node);
    anx_values values = {.extent = &g->out, .batch = c->batch, .got = got, .y32 = n->y32};
    if (s.rounding >= 0) {
        if ((status = anx_judge_case_gauge(run, c, node, err)) != ANX_OK) return status;
        if ((status = anx_judge_case_padding(run, c, node, err)) != ANX_OK) return status;
        if (n->e64 == NULL && (status = anx_judge_case_truth(run, c, node, err)) != ANX_OK) return status;
        values.e64 = n->y64 == NULL ? n->e64 : NULL;
        values.y64 = n->y64;
        values.gauge = n->gauge;
        values.limit = n->limit;
        values.operands = n->operands;
        values.skipped = n->skipped;
        values.skipped_gauge = n->skipped_gauge;
    } else
        rule.zero_signs = run->info.pytorch_bits;
    status = judge_stretch(run, c, &s, &rule, &values, err);
    return status != ANX_OK ? status : judge_sketch(run, c, node, got, err);
}

/* Room for the largest output of the graph. */
static anx_status alloc_largest(const anx_judge_case *c, float **out, anx_error *err) {
    int largest = 0;
    for (int i = 0; i < c->graph->n_nodes; i++)
        if (anx_graph_node_elems(c->graph, i) > anx_graph_node_elems(c->graph, largest)) largest = i;
    return anx_judge_alloc(c->graph, largest, c->batch, sizeof(float), out, err);
}

anx_status anx_judge_observe(anx_judge_run *run, anx_judge_case *c, anx_error *err) {
    float *got = NULL;
    anx_status status = anx_judge_plan(run, run->judged, ANX_PLAN_OBSERVE, &run->plans.observe, err);
    if (status == ANX_OK) status = alloc_largest(c, &got, err);
    for (int node = 0; status == ANX_OK && node < c->graph->n_nodes; node++)
        if (anx_judge_wants(run, c->graph, node)) status = observe_node(run, c, run->plans.observe, node, got, err);
    free(got);
    return status;
}

anx_status anx_judge_accumulated(anx_judge_run *run, anx_judge_case *c, anx_error *err) {
    float *got = NULL;
    anx_status status = anx_judge_plan(run, run->judged, ANX_PLAN_OBSERVE, &run->plans.observe, err);
    anx_plan *plan = run->plans.observe;
    if (status == ANX_OK) status = alloc_largest(c, &got, err);
    if (status == ANX_OK) status = anx_plan_write(plan, anx_value_output(ANX_NODE_INPUT), &c->input, err);
    if (status == ANX_OK) status = anx_plan_run(plan, err);
    int layers = 0;
    for (int node = 0; status == ANX_OK && node < c->graph->n_nodes; node++) {
        if (!rounds(c->graph, node)) continue;
        layers++;
        if (!anx_judge_wants(run, c->graph, node)) continue;
        if ((status = fetch(run, plan, c, node, got, err)) != ANX_OK) break;
        if ((status = anx_judge_case_gauge(run, c, node, err)) != ANX_OK) break;
        anx_judged j;
        status = anx_judged_init(&j, ANX_JUDGED_MODULE, ANX_PATH_ACCUMULATED, c->graph->nodes[node].layer->name,
                                 c->name, c->fixture != NULL ? c->fixture->name : NULL, err);
        if (status != ANX_OK) break;
        j.node = node;
        j.op = c->graph->nodes[node].layer->op;
        const anx_rule rule = anx_rule_for_node(c->graph, node);
        anx_measure(&rule,
                    &(anx_values){.extent = anx_graph_extent(c->graph, node),
                                  .batch = c->batch,
                                  .got = got,
                                  .y32 = c->nodes[node].y32,
                                  .gauge = c->nodes[node].gauge,
                                  .limit = c->nodes[node].limit},
                    ANX_BASIS_NONE, anx_judge_case_basis(c, node), &j);
        status = anx_judged_conclude(&j, ANX_VERDICT_INFO, err, "accumulated over %d layer%s", layers,
                                     layers == 1 ? "" : "s");
        if (status == ANX_OK) status = anx_verdicts_add(run->list, &j, err);
        anx_judged_fini(&j);
    }
    free(got);
    return status;
}

/* ---- fused groups ---- */

static stretch describe_group(const anx_judge_case *c, const anx_group *group, const float *got) {
    stretch s = {.kind = ANX_JUDGED_GROUP,
                 .path = ANX_PATH_INFER,
                 .first = group->nodes[0],
                 .node = group->nodes[group->n_nodes - 1],
                 .rounding = -1,
                 .got = got};
    for (int i = 0; i < group->n_nodes; i++)
        if (rounds(c->graph, group->nodes[i])) {
            s.several = s.rounding >= 0;
            s.rounding = group->nodes[i];
        }
    const char *from = c->graph->nodes[s.first].layer->name, *to = c->graph->nodes[s.node].layer->name;
    if (s.first == s.node)
        snprintf(s.name, sizeof s.name, "%s", from);
    else
        snprintf(s.name, sizeof s.name, "%s..%s", from, to);
    return s;
}

static anx_status skip_group(anx_judge_run *run, const anx_judge_case *c, const stretch *s, anx_error *err) {
    anx_judged j;
    anx_status status = anx_judged_init(&j, s->kind, s->path, s->name, c->name, NULL, err);
    if (status != ANX_OK) return status;
    j.node = s->node;
    status = anx_judged_conclude(&j, ANX_VERDICT_SKIP, err,
                                 "more than one layer of this group rounds: only the whole can be judged");
    if (status == ANX_OK) status = anx_verdicts_add(run->list, &j, err);
    anx_judged_fini(&j);
    return status;
}

static anx_status judge_group(anx_judge_run *run, anx_judge_case *c, anx_plan *plan, int index, float *got,
                              anx_error *err) {
    const anx_group *group = anx_plan_group(plan, index);
    const stretch s = describe_group(c, group, got);
    bool wanted = false;
    for (int i = 0; i < group->n_nodes; i++) wanted = wanted || anx_judge_wants(run, c->graph, group->nodes[i]);
    if (!wanted) return ANX_OK;
    if (s.several) return skip_group(run, c, &s, err);
    anx_status status = inject(c, plan, group->inputs, group->n_inputs, err);
    if (status == ANX_OK) status = anx_plan_run_groups(plan, index, 1, err);
    if (status == ANX_OK) status = fetch(run, plan, c, s.node, got, err);
    if (status != ANX_OK) return status;

    double *y64 = NULL, *skipped = NULL;
    float *gauge = NULL, *operands = NULL, *skipped_gauge = NULL;
    anx_rule rule = anx_judge_rule(run, c->graph, s.rounding >= 0 ? s.rounding : s.node);
    if (s.rounding < 0)
        rule.zero_signs = run->info.pytorch_bits;
    else {
        const anx_judge_node *n = &c->nodes[s.rounding];
        if ((status = anx_judge_case_truth(run, c, s.rounding, err)) != ANX_OK) return status;
        if ((status = anx_judge_case_gauge(run, c, s.rounding, err)) != ANX_OK) return status;
        if ((status = anx_judge_case_padding(run, c, s.rounding, err)) != ANX_OK) return status;
        status = carry_group(c, group, s.rounding, n->y64, n->gauge, &y64, &gauge, err);
        if (status == ANX_OK && n->skipped != NULL)
            status = carry_group(c, group, s.rounding, n->skipped, n->skipped_gauge, &skipped, &skipped_gauge, err);
        if (status == ANX_OK && n->operands != NULL) status = carry_operands(c, group, s.rounding, &operands, err);
    }
    const anx_values values = {.extent = anx_graph_extent(c->graph, s.node),
                               .batch = c->batch,
                               .got = got,
                               .y32 = c->nodes[s.node].y32,
                               .y64 = y64,
                               .gauge = gauge,
                               .limit = s.rounding == s.node ? c->nodes[s.node].limit : NULL,
                               .operands = operands,
                               .skipped = skipped,
                               .skipped_gauge = skipped_gauge};
    if (status == ANX_OK) status = judge_stretch(run, c, &s, &rule, &values, err);
    free(y64);
    free(gauge);
    free(operands);
    free(skipped);
    free(skipped_gauge);
    return status;
}

/* Runs the plan group by group, every border's value taken out and put back (in the device's own precision). */
static anx_status run_by_groups(anx_judge_run *run, anx_judge_case *c, anx_plan *plan, float *logits, anx_error *err) {
    const anx_dtype dtype = strcmp(run->info.arithmetic, "float64") == 0 ? ANX_F64 : ANX_F32;
    anx_status status = anx_plan_write(plan, anx_value_output(ANX_NODE_INPUT), &c->input, err);
    for (int g = 0; status == ANX_OK && g < anx_plan_group_count(plan); g++) {
        const anx_group *group = anx_plan_group(plan, g);
        const int last = group->nodes[group->n_nodes - 1];
        int64_t shape[4];
        const int rank = anx_graph_node_shape(c->graph, last, c->batch, shape);
        anx_tensor border = ANX_TENSOR_INIT;
        if ((status = anx_tensor_alloc(dtype, rank, shape, &border, err)) != ANX_OK) break;
        if ((status = anx_plan_run_groups(plan, g, 1, err)) == ANX_OK)
            if ((status = anx_plan_read(plan, anx_value_output(last), &border, err)) == ANX_OK)
                if ((status = anx_device_sync(run->judged, err)) == ANX_OK)
                    status = anx_plan_write(plan, anx_value_output(last), &border, err);
        if (status == ANX_OK) status = anx_device_sync(run->judged, err);
        anx_tensor_fini(&border);
    }
    return status != ANX_OK ? status : fetch(run, plan, c, c->graph->logits, logits, err);
}

/* The infer plan run whole and group by group: the same bits. logits receives those of the whole run. */
static anx_status judge_whole(anx_judge_run *run, anx_judge_case *c, anx_plan *plan, float *logits, anx_error *err) {
    const int node = c->graph->logits;
    float *again = NULL;
    anx_judged j = {0};
    anx_status status = anx_judge_alloc(c->graph, node, c->batch, sizeof *again, &again, err);
    if (status != ANX_OK) return status;
    anx_tensor t = anx_judge_view(c->graph, node, c->batch, logits);
    if ((status = anx_plan_forward(plan, &c->input, &t, err)) != ANX_OK) goto out;
    if (!anx_judge_wants(run, c->graph, node)) goto out;
    if ((status = run_by_groups(run, c, plan, again, err)) != ANX_OK) goto out;

    status = anx_judged_init(&j, ANX_JUDGED_WHOLE, ANX_PATH_INFER, "logits", c->name, NULL, err);
    if (status != ANX_OK) goto out;
    j.node = node;
    j.op = c->graph->nodes[node].layer->op;
    const anx_rule bits = anx_rule_for_equality(true);
    anx_measure(
        &bits,
        &(anx_values){.extent = anx_graph_extent(c->graph, node), .batch = c->batch, .got = logits, .y32 = again},
        ANX_BASIS_NONE, ANX_BASIS_ITSELF, &j);
    if (j.versus[0].over == 0)
        status = anx_judged_conclude(&j, ANX_VERDICT_PASS, err, "run whole and group by group: the same bits");
    else
        status = anx_judged_conclude(&j, ANX_VERDICT_FAIL, err,
                                     "run whole and group by group, %lld of %lld logits differ: the groups judged here "
                                     "are not what runs",
                                     (long long)j.versus[0].over, (long long)j.versus[0].elems);
    if (status == ANX_OK) status = anx_verdicts_add(run->list, &j, err);
out:
    anx_judged_fini(&j);
    free(again);
    return status;
}

anx_status anx_judge_infer(anx_judge_run *run, anx_judge_case *c, anx_error *err) {
    float *got = NULL, *logits = NULL;
    anx_status status = anx_judge_plan(run, run->judged, ANX_PLAN_INFER, &run->plans.infer, err);
    anx_plan *plan = run->plans.infer;
    if (status == ANX_OK) status = alloc_largest(c, &got, err);
    if (status == ANX_OK) status = anx_judge_alloc(c->graph, c->graph->logits, c->batch, sizeof *logits, &logits, err);
    for (int g = 0; status == ANX_OK && g < anx_plan_group_count(plan); g++)
        status = judge_group(run, c, plan, g, got, err);
    if (status == ANX_OK) status = judge_whole(run, c, plan, logits, err);
    if (status == ANX_OK) status = anx_judge_result(run, c, logits, err);
    free(got);
    free(logits);
    return status;
}
