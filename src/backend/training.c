#include "src/backend/training.h"

#include <stdlib.h>

/* ---- what was done --------------------------------------------------------------------------------------- */

void anx_training_destroy(anx_training *t) {
    if (t == NULL) return;
    free(t->has_grad);
    free(t->has_param_grad);
    free(t->ran);
    free(t->known);
    free(t);
}

anx_status anx_training_create(const anx_plan *plan, const bool *trained, anx_training **out, anx_error *err) {
    const anx_graph *graph = anx_plan_graph(plan);
    const size_t nodes = (size_t)graph->n_nodes, groups = (size_t)anx_plan_group_count(plan);
    anx_training *t = calloc(1, sizeof *t);
    if (t == NULL) return anx_error_set(err, ANX_ERR_OUT_OF_MEMORY, "out of memory");
    t->has_grad = calloc(nodes, sizeof *t->has_grad);
    t->has_param_grad = calloc((size_t)graph->n_params + 1, sizeof *t->has_param_grad);
    t->ran = calloc(groups, sizeof *t->ran);
    t->known = calloc(nodes, sizeof *t->known);
    if (t->has_grad == NULL || t->has_param_grad == NULL || t->ran == NULL || t->known == NULL) {
        anx_training_destroy(t);
        return anx_error_set(err, ANX_ERR_OUT_OF_MEMORY, "out of memory");
    }
    anx_train_gradients(graph, trained, t->has_grad);
    for (int i = 0; i < graph->n_params; i++) t->has_param_grad[i] = trained == NULL || trained[i];
    t->all_trained = trained == NULL;
    *out = t;
    return ANX_OK;
}

void anx_training_wrote(anx_training *t, anx_value value) {
    if (value.kind == ANX_VALUE_GRAD) t->known[value.index] = true;
}

void anx_training_ran(anx_training *t, int first, int count) {
    for (int g = first; g < first + count; g++) t->ran[g] = true;
}

void anx_training_ran_backward(anx_training *t, const anx_plan *plan, int first, int count) {
    for (int g = first; g < first + count; g++) {
        const anx_group *group = anx_plan_group(plan, g);
        for (int i = 0; i < group->n_inputs; i++)
            if (group->inputs[i] != ANX_NODE_INPUT) t->known[group->inputs[i]] = t->has_grad[group->inputs[i]];
    }
}

/* ---- values ---------------------------------------------------------------------------------------------- */

static anx_status in_layer(const anx_plan *plan, int node, anx_status status, anx_error *err) {
    if (status == ANX_OK) return status;
    anx_error_in_layer(err, node == ANX_NODE_INPUT ? "input" : anx_plan_graph(plan)->nodes[node].layer->name);
    return status;
}

bool anx_training_has_value(const anx_training *t, anx_value value) {
    if (value.kind == ANX_VALUE_OUTPUT || value.kind == ANX_VALUE_PARAM) return true;
    if (t == NULL) return false;
    if (value.kind == ANX_VALUE_GRAD) return value.index == ANX_NODE_INPUT ? t->all_trained : t->has_grad[value.index];
    const bool trained_only = value.kind == ANX_VALUE_PARAM_GRAD || value.kind == ANX_VALUE_MOMENTUM;
    return !trained_only || t->has_param_grad[value.index];
}

static const char *name_of(const anx_plan *plan, int node) {
    return node == ANX_NODE_INPUT ? "the input" : anx_plan_graph(plan)->nodes[node].layer->name;
}

static anx_status check_grad(const anx_training *t, const anx_plan *plan, int node, anx_error *err) {
    if (anx_training_has_value(t, (anx_value){ANX_VALUE_GRAD, node})) return ANX_OK;
    return anx_error_set(err, ANX_ERR_UNSUPPORTED,
                         "the gradient by %s is not computed: it lies below the lowest trained layer",
                         name_of(plan, node));
}

static anx_status check_param_grad(const anx_training *t, const anx_graph *graph, int param, bool reading,
                                   anx_error *err) {
    const char *name = graph->params[param].name;
    if (!t->has_param_grad[param])
        return anx_error_set(err, ANX_ERR_UNSUPPORTED, "'%s' is not trained, so no gradient by it is computed", name);
    if (reading) return ANX_OK;
    return anx_error_set(err, ANX_ERR_UNSUPPORTED, "the gradient by '%s' is computed, not written", name);
}

static anx_status check_momentum(const anx_training *t, const anx_graph *graph, int param, anx_error *err) {
    if (t->has_param_grad[param]) return ANX_OK;
    return anx_error_set(err, ANX_ERR_UNSUPPORTED, "'%s' is not trained, so it has no momentum",
                         graph->params[param].name);
}

/* The group that covers the node. */
static int group_of(const anx_plan *plan, int node) {
    int g = 0;
    while (g + 1 < anx_plan_group_count(plan) && anx_plan_group(plan, g + 1)->nodes[0] <= node) g++;
    return g;
}

static anx_status check_argmax(const anx_training *t, const anx_plan *plan, int index, const anx_tensor *host,
                               anx_error *err) {
    const anx_node *node = &anx_plan_graph(plan)->nodes[index];
    if (host == NULL)
        return t->ran[group_of(plan, index)]
                   ? ANX_OK
                   : anx_error_set(err, ANX_ERR_INVALID_ARGUMENT,
                                   "the windows' winners are not known before the layer has run");
    const int64_t *winners = host->data, plane = node->in.dim[1] * node->in.dim[2];
    const int64_t n = anx_tensor_elems(host);
    for (int64_t i = 0; i < n; i++)
        if (winners[i] < 0 || winners[i] >= plane)
            return anx_error_set(err, ANX_ERR_INVALID_ARGUMENT,
                                 "element %lld of the winners of '%s' is %lld; its planes have %lld elements",
                                 (long long)i, node->layer->name, (long long)winners[i], (long long)plane);
    return ANX_OK;
}

anx_status anx_training_check_value(const anx_training *t, const anx_plan *plan, anx_value value,
                                    const anx_tensor *host, anx_error *err) {
    const anx_graph *graph = anx_plan_graph(plan);
    if (value.kind == ANX_VALUE_OUTPUT || value.kind == ANX_VALUE_PARAM) return ANX_OK;
    if (t == NULL)
        return anx_error_set(err, ANX_ERR_UNSUPPORTED,
                             "only a plan made for training has gradients, masks and the winners of windows");
    switch (value.kind) {
    case ANX_VALUE_GRAD: return in_layer(plan, value.index, check_grad(t, plan, value.index, err), err);
    case ANX_VALUE_PARAM_GRAD:
        return in_layer(plan, graph->params[value.index].node,
                        check_param_grad(t, graph, value.index, host == NULL, err), err);
    case ANX_VALUE_MOMENTUM:
        return in_layer(plan, graph->params[value.index].node, check_momentum(t, graph, value.index, err), err);
    case ANX_VALUE_ARGMAX: return in_layer(plan, value.index, check_argmax(t, plan, value.index, host, err), err);
    default: return ANX_OK;
    }
}

/* ---- running backward ------------------------------------------------------------------------------------ */

anx_status anx_training_check_backward(const anx_training *t, const anx_plan *plan, int first, int count,
                                       anx_error *err) {
    if (t == NULL) return anx_error_set(err, ANX_ERR_UNSUPPORTED, "only a plan made for training runs backward");
    for (int g = first; g < first + count; g++)
        if (!t->ran[g]) {
            const int node = anx_plan_group(plan, g)->nodes[0];
            return in_layer(
                plan, node,
                anx_error_set(err, ANX_ERR_INVALID_ARGUMENT, "the layer was to run backward before it ran forward"),
                err);
        }
    if (count == 0) return ANX_OK;
    const anx_group *last = anx_plan_group(plan, first + count - 1);
    const int output = last->nodes[last->n_nodes - 1];
    if (t->known[output] || !t->has_grad[output]) return ANX_OK; /* without one there is nothing to do */
    return in_layer(plan, output,
                    anx_error_set(err, ANX_ERR_INVALID_ARGUMENT,
                                  "the way back was to start from the gradient by %s, which was neither written nor "
                                  "computed",
                                  name_of(plan, output)),
                    err);
}
