#include "src/backend/reference/training.h"

#include <stdlib.h>

#include "src/backend/training.h"
#include "src/base/checked.h"

/* `elems` zeros of either 8-byte type; NULL where there is no memory for them. */
static void *zeros(int64_t elems) {
    size_t bytes;
    return anx_checked_mul_size((size_t)elems, sizeof(double), &bytes) ? calloc(1, bytes) : NULL;
}

static int64_t elems_of(const anx_reference_training *t, int node) {
    return t->batch * anx_graph_node_elems(t->graph, node); /* fits: anx_plan_create has checked it */
}

static bool add_node(anx_reference_training *t, int node, bool has_grad) {
    const anx_op op = t->graph->nodes[node].layer->op;
    const int64_t elems = elems_of(t, node);
    if (has_grad && (t->grad[node] = zeros(elems)) == NULL) return false;
    if (op == ANX_OP_MAX_POOL2D && (t->argmax[node] = zeros(elems)) == NULL) return false;
    if (op != ANX_OP_DROPOUT) return true;
    t->mask[node] = zeros(elems);
    for (int64_t i = 0; t->mask[node] != NULL && i < elems; i++) t->mask[node][i] = 1.0;
    return t->mask[node] != NULL;
}

/* Room for the gradient that a node adds to its input's. */
static bool add_room(anx_reference_training *t) {
    int64_t largest = 0;
    for (int node = 0; node < t->graph->n_nodes; node++) {
        const int source = t->graph->nodes[node].inputs[0];
        if (source != ANX_NODE_INPUT && t->grad[source] != NULL && anx_train_adds(t->graph, node) &&
            elems_of(t, source) > largest)
            largest = elems_of(t, source);
    }
    return largest == 0 || (t->added = zeros(largest)) != NULL;
}

static bool add_values(anx_reference_training *t, const bool *trained) {
    const anx_graph *graph = t->graph;
    bool *has_grad = calloc((size_t)graph->n_nodes, sizeof *has_grad);
    bool good = has_grad != NULL;
    if (good) anx_train_gradients(graph, trained, has_grad);
    for (int node = 0; good && node < graph->n_nodes; node++) good = add_node(t, node, has_grad[node]);
    for (int i = 0; good && i < graph->n_params; i++)
        if (trained == NULL || trained[i])
            good = (t->param_grad[i] = zeros(anx_param_elems(&graph->params[i]))) != NULL;
    free(has_grad);
    return good && add_room(t);
}

anx_status anx_reference_training_create(const anx_graph *graph, int64_t batch, const bool *trained,
                                         anx_reference_training **out, anx_error *err) {
    const size_t nodes = (size_t)graph->n_nodes;
    anx_reference_training *t = calloc(1, sizeof *t);
    if (t == NULL) return anx_error_set(err, ANX_ERR_OUT_OF_MEMORY, "out of memory");
    *t = (anx_reference_training){.graph = graph,
                                  .batch = batch,
                                  .grad = calloc(nodes, sizeof *t->grad),
                                  .mask = calloc(nodes, sizeof *t->mask),
                                  .argmax = calloc(nodes, sizeof *t->argmax),
                                  .param_grad = calloc((size_t)graph->n_params + 1, sizeof *t->param_grad)};
    if (t->grad == NULL || t->mask == NULL || t->argmax == NULL || t->param_grad == NULL || !add_values(t, trained)) {
        anx_reference_training_destroy(t);
        return anx_error_set(err, ANX_ERR_OUT_OF_MEMORY, "no memory for the gradients of a batch of %lld in double",
                             (long long)batch);
    }
    *out = t;
    return ANX_OK;
}

void anx_reference_training_destroy(anx_reference_training *t) {
    if (t == NULL) return;
    for (int node = 0; node < t->graph->n_nodes; node++) {
        if (t->grad != NULL) free(t->grad[node]);
        if (t->mask != NULL) free(t->mask[node]);
        if (t->argmax != NULL) free(t->argmax[node]);
    }
    for (int i = 0; t->param_grad != NULL && i < t->graph->n_params; i++) free(t->param_grad[i]);
    free(t->grad);
    free(t->mask);
    free(t->argmax);
    free(t->param_grad);
    free(t->added);
    free(t);
}

double *anx_reference_training_value(const anx_reference_training *t, anx_value value) {
    switch (value.kind) {
    case ANX_VALUE_GRAD: return value.index == ANX_NODE_INPUT ? NULL : t->grad[value.index];
    case ANX_VALUE_PARAM_GRAD: return t->param_grad[value.index];
    case ANX_VALUE_MASK: return t->mask[value.index];
    default: return NULL;
    }
}

anx_status anx_reference_training_run_back(const anx_reference_training *t, int node, const double *x, const double *y,
                                           const float *weight, int threads, anx_error *err) {
    const anx_node *nd = &t->graph->nodes[node];
    const int source = nd->inputs[0];
    double *const dx = source == ANX_NODE_INPUT ? NULL : t->grad[source];
    const bool adds = dx != NULL && anx_train_adds(t->graph, node);
    const anx_reference_back_job job = {.node = nd,
                                        .batch = t->batch,
                                        .x = x,
                                        .y = y,
                                        .dy = t->grad[node],
                                        .mask = t->mask[node],
                                        .argmax = t->argmax[node],
                                        .weight = weight,
                                        .dx = adds ? t->added : dx,
                                        .dweight = nd->weight == ANX_NO_PARAM ? NULL : t->param_grad[nd->weight],
                                        .dbias = nd->bias == ANX_NO_PARAM ? NULL : t->param_grad[nd->bias],
                                        .threads = threads,
                                        .isa = anx_isa_best()};
    if (job.dy == NULL) return ANX_OK;
    const anx_status status = anx_reference_run_back(&job, err);
    if (status != ANX_OK) anx_error_in_layer(err, nd->layer->name);
    for (int64_t i = 0; status == ANX_OK && adds && i < elems_of(t, source); i++) dx[i] += t->added[i];
    return status;
}
