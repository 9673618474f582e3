/*
 * One input and everything known about what PyTorch makes of it: the exact backend run over it node by node, held
 * against the recordings, and the values that later steps take as PyTorch's.
 */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "parity/judge_run.h"
#include "parity/operands.h"
#include "parity/padding.h"
#include "src/backend/reference/ops.h"

const float *anx_judge_case_y32(const anx_judge_case *c, int node) {
    return node == ANX_NODE_INPUT ? c->input.data : c->nodes[node].y32;
}

anx_basis anx_judge_case_basis(const anx_judge_case *c, int node) {
    return c->nodes[node].recorded ? ANX_BASIS_PYTORCH_RECORDED : ANX_BASIS_PYTORCH_REGENERATED;
}

/* PyTorch's values at a node were recorded, or are the input it was given. */
static bool is_recorded(const anx_judge_case *c, int node) {
    return node == ANX_NODE_INPUT ? c->input_recorded : c->nodes[node].recorded;
}

static bool inputs_recorded(const anx_judge_case *c, int node) {
    const anx_node *g = &c->graph->nodes[node];
    for (int i = 0; i < g->n_inputs; i++)
        if (!is_recorded(c, g->inputs[i])) return false;
    return true;
}

static bool rounds(const anx_graph *graph, int node) {
    return anx_rule_for_node(graph, node).kind != ANX_BOUND_BITS;
}

/*
 * The recorded point that applies to the node, if any. Where the fixture was asked for and weights upstream are not its
 * own, it says something of this layer only if the layer's input was recorded too.
 */
static const anx_fixture_point *applicable_point(const anx_judge_case *c, int node) {
    if (c->recorded == NULL) return NULL;
    if (!c->match->applicable[node] && !(c->forced && inputs_recorded(c, node))) return NULL;
    const anx_fixture_point *p = anx_fixture_case_point(c->recorded, c->graph->nodes[node].layer->name);
    if (p == NULL) return NULL;
    int64_t shape[4];
    const int rank = anx_graph_node_shape(c->graph, node, c->batch, shape);
    return rank == p->rank && memcmp(shape, p->shape, (size_t)rank * sizeof *shape) == 0 ? p : NULL;
}

static anx_status add_exact_row(anx_judge_run *run, anx_judge_case *c, int node, anx_judged *j, bool equal,
                                anx_error *err) {
    const anx_fixture_point *p = c->nodes[node].point;
    const char *torch = anx_fixture_recorder(c->fixture, "torch");
    if (torch == NULL) torch = "";
    j->node = node;
    j->op = c->graph->nodes[node].layer->op;
    anx_status status;
    if (!c->match->injectable[node])
        status = anx_judged_conclude(j, ANX_VERDICT_SKIP, err, "this layer's weights are not those of the recording");
    else if (!p->pytorch_bits)
        status = anx_judged_conclude(j, ANX_VERDICT_INFO, err,
                                     "%s; recorded where PyTorch's order of summation is not the one reproduced here",
                                     equal ? "bit-equal" : "not bit-equal");
    else {
        run->exact_checked++;
        run->exact_differed += !equal;
        if (equal)
            status = anx_judged_conclude(j, ANX_VERDICT_PASS, err, "bit-equal to what PyTorch %s recorded%s", torch,
                                         j->kind == ANX_JUDGED_DIGEST ? " (SHA-256)" : "");
        else if (j->n_versus > 0)
            status = anx_judged_conclude(j, ANX_VERDICT_FAIL, err,
                                         "%lld of %lld values have other bits than PyTorch %s recorded",
                                         (long long)j->versus[0].over, (long long)j->versus[0].elems, torch);
        else
            status = anx_judged_conclude(j, ANX_VERDICT_FAIL, err,
                                         "the SHA-256 is not the one of what PyTorch %s recorded", torch);
    }
    return status != ANX_OK ? status : anx_verdicts_add(run->list, j, err);
}

/* Holds exact's values of a node against the recorded point; *equal: they are the same bits. */
static anx_status compare_with_recording(anx_judge_run *run, anx_judge_case *c, int node, bool *equal, anx_error *err) {
    anx_judge_node *n = &c->nodes[node];
    const anx_fixture_point *p = n->point;
    const bool full = p->y32.data != NULL;
    anx_judged j;
    anx_status status = anx_judged_init(&j, full ? ANX_JUDGED_MODULE : ANX_JUDGED_DIGEST, ANX_PATH_EXACT,
                                        c->graph->nodes[node].layer->name, c->name, c->fixture->name, err);
    if (status != ANX_OK) return status;
    if (full) {
        const anx_rule bits = anx_rule_for_equality(true);
        anx_measure(
            &bits,
            &(anx_values){
                .extent = anx_graph_extent(c->graph, node), .batch = c->batch, .got = n->y32, .y32 = p->y32.data},
            ANX_BASIS_NONE, ANX_BASIS_PYTORCH_RECORDED, &j);
        *equal = j.versus[0].over == 0;
    } else {
        const anx_tensor t = anx_judge_view(c->graph, node, c->batch, n->y32);
        anx_digest digest;
        if ((status = anx_tensor_digest(&t, &digest, err)) != ANX_OK) goto out;
        *equal = anx_digest_equal(&digest, &p->digest);
    }
    if (anx_judge_wants(run, c->graph, node)) status = add_exact_row(run, c, node, &j, *equal, err);
out:
    anx_judged_fini(&j);
    return status;
}

/*
 * exact's output of one node is in place: decides what counts as PyTorch's. *own is cleared where that is not exact's
 * output, so that the nodes after it must be fed anew.
 */
static anx_status settle(anx_judge_run *run, anx_judge_case *c, int node, bool *own, anx_error *err) {
    anx_judge_node *n = &c->nodes[node];
    n->recorded = !rounds(c->graph, node) && inputs_recorded(c, node);
    n->judged_bits = true;
    *own = true;
    n->point = applicable_point(c, node);
    if (n->point == NULL || (n->point->y32.data == NULL && !n->point->has_digest)) return ANX_OK;

    bool equal = false;
    const anx_status status = compare_with_recording(run, c, node, &equal, err);
    if (status != ANX_OK) return status;
    if (n->point->y32.data != NULL) {
        n->recorded = true;
        n->judged_bits = n->point->pytorch_bits && c->match->injectable[node];
        n->e64 = n->point->e64.data;
        if (!equal) {
            memcpy(n->y32, n->point->y32.data, anx_tensor_bytes(&n->point->y32));
            *own = false;
        }
    } else if (equal)
        n->recorded = true;
    return ANX_OK;
}

anx_status anx_judge_case_prepare(anx_judge_run *run, anx_judge_case *c, anx_error *err) {
    c->batch = c->input.shape[0];
    anx_status status = anx_judge_resize(run, c->input.shape[2], c->input.shape[3], c->batch, err);
    if (status != ANX_OK) return status;
    if ((status = anx_judge_plan(run, run->exact, ANX_PLAN_OBSERVE, &run->plans.exact, err)) != ANX_OK) return status;
    c->graph = run->sized->graph;
    anx_plan *plan = run->plans.exact;
    bool *own = calloc((size_t)c->graph->n_nodes, sizeof *own);
    c->nodes = calloc((size_t)c->graph->n_nodes, sizeof *c->nodes);
    if (own == NULL || c->nodes == NULL) {
        status = anx_error_set(err, ANX_ERR_OUT_OF_MEMORY, "no memory for the values of a case");
        goto out;
    }
    if ((status = anx_plan_write(plan, anx_value_output(ANX_NODE_INPUT), &c->input, err)) != ANX_OK) goto out;
    for (int node = 0; node < c->graph->n_nodes; node++) {
        const anx_node *g = &c->graph->nodes[node];
        for (int i = 0; i < g->n_inputs; i++) {
            const int from = g->inputs[i];
            if (from == ANX_NODE_INPUT || own[from]) continue;
            const anx_tensor t = anx_judge_view(c->graph, from, c->batch, c->nodes[from].y32);
            if ((status = anx_plan_write(plan, anx_value_output(from), &t, err)) != ANX_OK) goto out;
        }
        if ((status = anx_plan_run_groups(plan, anx_plan_group_of_node(plan, node), 1, err)) != ANX_OK) goto out;
        status = anx_judge_alloc(c->graph, node, c->batch, sizeof(float), &c->nodes[node].y32, err);
        if (status != ANX_OK) goto out;
        anx_tensor t = anx_judge_view(c->graph, node, c->batch, c->nodes[node].y32);
        if ((status = anx_plan_read(plan, anx_value_output(node), &t, err)) != ANX_OK) goto out;
        if ((status = anx_device_sync(run->exact, err)) != ANX_OK) goto out;
        if ((status = settle(run, c, node, &own[node], err)) != ANX_OK) goto out;
    }
out:
    free(own);
    return status;
}

void anx_judge_case_fini(anx_judge_case *c) {
    for (int i = 0; c->nodes != NULL && i < c->graph->n_nodes; i++) {
        free(c->nodes[i].y32);
        free(c->nodes[i].y64);
        free(c->nodes[i].gauge);
        free(c->nodes[i].limit);
        free(c->nodes[i].operands);
        free(c->nodes[i].skipped);
        free(c->nodes[i].skipped_gauge);
    }
    free(c->nodes);
    c->nodes = NULL;
    anx_tensor_fini(&c->input);
}

static const anx_tensor *param(const anx_judge_run *run, int index) {
    return index == ANX_NO_PARAM ? NULL : &run->sized->params[index];
}

anx_status anx_judge_case_truth(anx_judge_run *run, anx_judge_case *c, int node, anx_error *err) {
    anx_judge_node *n = &c->nodes[node];
    if (n->y64 != NULL) return ANX_OK;
    double *y64 = NULL;
    anx_status status = anx_judge_alloc(c->graph, node, c->batch, sizeof *y64, &y64, err);
    if (status != ANX_OK) return status;
    if (n->e64 != NULL) {
        const int64_t elems = c->batch * anx_graph_node_elems(c->graph, node);
        for (int64_t i = 0; i < elems; i++) y64[i] = (double)n->y32[i] + (double)n->e64[i];
    } else {
        const anx_node *g = &c->graph->nodes[node];
        const anx_tensor x = anx_judge_view(c->graph, g->inputs[0], c->batch, anx_judge_case_y32(c, g->inputs[0]));
        status = anx_reference_node(c->graph, node, c->batch, &x, param(run, g->weight), param(run, g->bias), y64,
                                    run->threads, err);
        if (status != ANX_OK) {
            free(y64);
            return status;
        }
    }
    n->y64 = y64;
    return ANX_OK;
}

anx_rule anx_judge_rule(const anx_judge_run *run, const anx_graph *graph, int node) {
    return anx_rule_for_node_in(graph, node, run->info.math);
}

static anx_status find_operands(anx_judge_run *run, anx_judge_case *c, int node, anx_error *err) {
    anx_judge_node *n = &c->nodes[node];
    const anx_node *g = &c->graph->nodes[node];
    if (!(anx_judge_rule(run, c->graph, node).spread > 0)) return ANX_OK;
    anx_status status = anx_judge_case_truth(run, c, node, err);
    if (status == ANX_OK) status = anx_judge_alloc(c->graph, node, c->batch, sizeof(float), &n->operands, err);
    if (status != ANX_OK) return status;
    const anx_tensor *bias = param(run, g->bias);
    return anx_operand_errors(c->graph, node, c->batch, anx_judge_case_y32(c, g->inputs[0]),
                              param(run, g->weight)->data, bias != NULL ? bias->data : NULL, n->y64, n->operands,
                              run->threads, err);
}

anx_status anx_judge_case_gauge(anx_judge_run *run, anx_judge_case *c, int node, anx_error *err) {
    anx_judge_node *n = &c->nodes[node];
    const anx_node *g = &c->graph->nodes[node];
    if (n->gauge != NULL || !rounds(c->graph, node)) return ANX_OK;
    anx_status status = anx_judge_alloc(c->graph, node, c->batch, sizeof(float), &n->gauge, err);
    if (status != ANX_OK) return status;
    const float *x = anx_judge_case_y32(c, g->inputs[0]);
    if (g->layer->op == ANX_OP_SOFTMAX) {
        status = anx_judge_alloc(c->graph, node, c->batch, sizeof(float), &n->limit, err);
        if (status == ANX_OK) anx_softmax_bound(x, c->batch, g->out.dim[0], n->gauge, n->limit);
        return status;
    }
    const anx_tensor *weight = param(run, g->weight), *bias = param(run, g->bias);
    status = anx_reference_gauge(c->graph, node, c->batch, x, weight != NULL ? weight->data : NULL,
                                 bias != NULL ? bias->data : NULL, n->gauge, run->threads, err);
    return status == ANX_OK ? find_operands(run, c, node, err) : status;
}

anx_status anx_judge_case_padding(anx_judge_run *run, anx_judge_case *c, int node, anx_error *err) {
    anx_judge_node *n = &c->nodes[node];
    const anx_node *g = &c->graph->nodes[node];
    const anx_tensor *weight = param(run, g->weight), *bias = param(run, g->bias);
    if (n->skipped != NULL || weight == NULL || !anx_padding_matters(c->graph, node, weight->data)) return ANX_OK;
    anx_status status = anx_judge_case_truth(run, c, node, err);
    if (status == ANX_OK) status = anx_judge_case_gauge(run, c, node, err);
    if (status != ANX_OK) return status;
    return anx_padding_skip(c->graph, node, c->batch, anx_judge_case_y32(c, g->inputs[0]), weight->data,
                            bias != NULL ? bias->data : NULL, n->y64, n->gauge, &n->skipped, &n->skipped_gauge, err);
}
