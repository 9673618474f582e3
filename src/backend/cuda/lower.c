#include <stdlib.h>
#include <string.h>

#include "src/backend/cuda/plan.h"
#include "src/backend/cuda/status.h"
#include "src/backend/training.h"
#include "src/base/checked.h"

static anx_status in_layer(const anx_cuda_plan *plan, int node, anx_status status, anx_error *err) {
    if (status != ANX_OK) anx_error_in_layer(err, plan->graph->nodes[node].layer->name);
    return status;
}

static size_t floats(int64_t elems) {
    return (size_t)elems * sizeof(float);
}

/* ---- values --------------------------------------------------------------------------------------------- */

/* Which node's memory each output shares, and which are inside a group. */
static void settle_storage(anx_cuda_plan *plan) {
    for (int i = 0; i < plan->graph->n_nodes; i++)
        plan->values[i] = (anx_cuda_value){.storage = i, .elems = anx_cuda_elems(plan, i)};
    for (int g = 0; g < plan->n_groups; g++) {
        const anx_group *group = &plan->groups[g];
        const int result = group->nodes[group->n_nodes - 1];
        plan->values[result].kept = true;
        if (plan->mode == ANX_PLAN_TRAIN && anx_node_aliases_in_training(plan->graph, result))
            plan->values[result].storage = plan->values[plan->graph->nodes[result].inputs[0]].storage;
        if (group->n_nodes > 1 && plan->graph->nodes[group->nodes[1]].layer->op == ANX_OP_RELU)
            plan->nodes[group->nodes[0]].relu =
                anx_node_takes_relu(&plan->graph->nodes[group->nodes[0]], ANX_CUDA_RELU_OPS);
    }
}

/* The last group that reads a group's output; what nobody reads, and the logits, are kept to the end. */
static int last_reader(const anx_cuda_plan *plan, int node) {
    int last = node == plan->graph->logits ? plan->n_groups : -1;
    for (int g = 0; g < plan->n_groups; g++)
        for (int i = 0; i < plan->groups[g].n_inputs; i++)
            if (plan->groups[g].inputs[i] == node && g > last) last = g;
    return last < 0 ? plan->n_groups : last;
}

/* Infer: outputs into one block. offsets: n_groups, elements. */
static anx_status place_outputs(anx_cuda_plan *plan, size_t *offsets, size_t *bytes, anx_error *err) {
    anx_buffer *buffers = calloc((size_t)plan->n_groups, sizeof *buffers);
    if (buffers == NULL) return anx_error_set(err, ANX_ERR_OUT_OF_MEMORY, "out of memory");
    for (int g = 0; g < plan->n_groups; g++) {
        const int result = plan->groups[g].nodes[plan->groups[g].n_nodes - 1];
        buffers[g] =
            (anx_buffer){.bytes = floats(plan->values[result].elems), .first = g, .last = last_reader(plan, result)};
    }
    const bool good = anx_memory_plan(buffers, plan->n_groups, 256, bytes);
    for (int g = 0; g < plan->n_groups && good; g++) offsets[g] = buffers[g].offset / sizeof(float);
    free(buffers);
    return good ? ANX_OK
                : anx_error_set(err, ANX_ERR_OUT_OF_MEMORY, "a batch of %lld overflows the address space",
                                (long long)plan->batch);
}

static anx_status want_outputs(anx_cuda_plan *plan, anx_error *err) {
    anx_status status = ANX_OK;
    for (int i = 0; i < plan->graph->n_nodes && status == ANX_OK; i++)
        if (plan->values[i].kept && plan->values[i].storage == i)
            status =
                anx_cuda_memory_want(&plan->memory, floats(plan->values[i].elems), true, &plan->values[i].data, err);
    return status;
}

/* ---- gradients ------------------------------------------------------------------------------------------ */

/* Scratch for the gradient before a fused ReLU, and for what several readers of a value add. */
static anx_status want_scratch(anx_cuda_plan *plan, anx_error *err) {
    int64_t unmasked = 0, partial = 0;
    for (int i = 0; i < plan->graph->n_nodes; i++) {
        const int source = plan->graph->nodes[i].inputs[0];
        if (plan->nodes[i].relu && plan->values[i].elems > unmasked) unmasked = plan->values[i].elems;
        plan->nodes[i].adds = source != ANX_NODE_INPUT && anx_train_adds(plan->graph, i);
        if (plan->nodes[i].adds && plan->values[source].elems > partial) partial = plan->values[source].elems;
    }
    anx_status status = anx_cuda_memory_want(&plan->memory, floats(unmasked), true, &plan->unmasked, err);
    return status != ANX_OK ? status : anx_cuda_memory_want(&plan->memory, floats(partial), true, &plan->partial, err);
}

static anx_status want_gradients(anx_cuda_plan *plan, const bool *trained, bool *has_grad, anx_error *err) {
    anx_train_gradients(plan->graph, trained, has_grad);
    anx_status status = ANX_OK;
    for (int i = 0; i < plan->graph->n_nodes && status == ANX_OK; i++) {
        anx_cuda_value *v = &plan->values[i];
        if (v->kept && v->storage == i && has_grad[i])
            status = anx_cuda_memory_want(&plan->memory, floats(v->elems), true, &v->grad, err);
        if (status == ANX_OK && plan->graph->nodes[i].layer->op == ANX_OP_DROPOUT)
            status = anx_cuda_memory_want(&plan->memory, floats(v->elems), true, &plan->nodes[i].mask, err);
    }
    return status != ANX_OK ? status : want_scratch(plan, err);
}

/* ---- parameters ----------------------------------------------------------------------------------------- */

/* One behind the other, each filled up to whole rows, so that SGD takes all that share its options at once. */
static anx_status want_params(anx_cuda_plan *plan, const bool *trained, anx_error *err) {
    size_t total = 0, bytes = 0;
    for (int i = 0; i < plan->graph->n_params; i++) {
        const size_t elems = (size_t)anx_param_elems(&plan->graph->params[i]);
        size_t rows;
        plan->params[i] = (anx_cuda_param){.first = total, .elems = elems, .trained = trained == NULL || trained[i]};
        if (!anx_checked_align_size(elems, ANX_CUBLAS_ROW, &rows) || !anx_checked_add_size(total, rows, &total))
            return anx_error_set(err, ANX_ERR_OUT_OF_MEMORY, "the parameters overflow the address space");
    }
    plan->arena_elems = total;
    if (!anx_checked_mul_size(total, sizeof(float), &bytes))
        return anx_error_set(err, ANX_ERR_OUT_OF_MEMORY, "the parameters overflow the address space");
    anx_status status = anx_cuda_memory_want(&plan->memory, bytes, false, &plan->param_arena, err);
    if (plan->mode != ANX_PLAN_TRAIN || status != ANX_OK) return status;
    static const size_t most = 16 << 20; /* elements of SGD's scratch: parameters go through it piece by piece */
    plan->update_elems = total < most ? total : most;
    status = anx_cuda_memory_want(&plan->memory, bytes, false, &plan->grad_arena, err);
    if (status == ANX_OK) status = anx_cuda_memory_want(&plan->memory, bytes, false, &plan->momentum_arena, err);
    if (status == ANX_OK)
        status = anx_cuda_memory_want(&plan->memory, plan->update_elems * sizeof(float), false, &plan->update, err);
    return status;
}

/* ---- what nodes compute with ---------------------------------------------------------------------------- */

static anx_status describe_output(anx_cuda_plan *plan, int node, anx_error *err) {
    const anx_extent *e = &plan->graph->nodes[node].out;
    return anx_cudnn_tensor_create(&plan->device->dnn, plan->batch, e->dim[0], e->rank == 3 ? e->dim[1] : 1,
                                   e->rank == 3 ? e->dim[2] : 1, &plan->nodes[node].tensor, err);
}

static anx_status lower_conv(anx_cuda_plan *plan, int node, const bool *has_grad, anx_error *err) {
    const anx_node *nd = &plan->graph->nodes[node];
    const bool back = plan->mode == ANX_PLAN_TRAIN && has_grad[node];
    const int source = nd->inputs[0];
    const anx_cudnn_conv_spec spec = {.node = nd,
                                      .batch = plan->batch,
                                      .relu = plan->nodes[node].relu,
                                      .dx_wanted = back && source != ANX_NODE_INPUT && has_grad[source],
                                      .dw_wanted = back && plan->params[nd->weight].trained};
    anx_status status = anx_cudnn_conv_create(&plan->device->dnn, &spec, &plan->nodes[node].conv, err);
    if (status == ANX_OK) status = describe_output(plan, node, err);
    if (status == ANX_OK)
        status = anx_cudnn_tensor_create(&plan->device->dnn, 1, nd->out.dim[0], 1, 1, &plan->nodes[node].bias, err);
    if (status != ANX_OK) return status;
    const size_t bytes = anx_cudnn_conv_workspace_bytes(plan->nodes[node].conv);
    if (bytes > plan->workspace_bytes) plan->workspace_bytes = bytes;
    return ANX_OK;
}

static anx_status lower_linear(anx_cuda_plan *plan, int node, anx_error *err) {
    const anx_status status = describe_output(plan, node, err);
    return status != ANX_OK ? status
                            : anx_cudnn_tensor_create(&plan->device->dnn, 1, plan->graph->nodes[node].out.dim[0], 1, 1,
                                                      &plan->nodes[node].bias, err);
}

static anx_status lower_node(anx_cuda_plan *plan, int node, const bool *has_grad, anx_error *err) {
    const anx_node *nd = &plan->graph->nodes[node];
    switch (nd->layer->op) {
    case ANX_OP_CONV2D: return lower_conv(plan, node, has_grad, err);
    case ANX_OP_LINEAR: return lower_linear(plan, node, err);
    case ANX_OP_ADAPTIVE_AVG_POOL2D:
        if (anx_node_passes_on(nd)) return ANX_OK;
        return anx_cudnn_pool_create(&plan->device->dnn, nd, plan->batch, &plan->nodes[node].pool, err);
    case ANX_OP_MAX_POOL2D:
        return anx_cudnn_pool_create(&plan->device->dnn, nd, plan->batch, &plan->nodes[node].pool, err);
    case ANX_OP_RELU:
    case ANX_OP_SOFTMAX:
    case ANX_OP_DROPOUT: return describe_output(plan, node, err);
    case ANX_OP_FLATTEN: return ANX_OK;
    case ANX_OP_COUNT: break;
    }
    return anx_error_set(err, ANX_ERR_UNSUPPORTED, "cuda has no operation '%s'", anx_op_name(nd->layer->op));
}

/* ---- all of it ------------------------------------------------------------------------------------------ */

static anx_status want_inputs(anx_cuda_plan *plan, anx_error *err) {
    const int n = plan->mode == ANX_PLAN_INFER ? ANX_CUDA_INPUTS : 1;
    anx_status status = ANX_OK;
    for (int i = 0; i < n && status == ANX_OK; i++)
        status = anx_cuda_memory_want(&plan->memory, floats(anx_cuda_elems(plan, ANX_NODE_INPUT)), true,
                                      &plan->inputs[i], err);
    return status;
}

static anx_status make_events(anx_cuda_plan *plan, anx_error *err) {
    const anx_cuda_api *api = plan->device->api;
    anx_status status = ANX_OK;
    for (int i = 0; i < ANX_CUDA_INPUTS && status == ANX_OK; i++) {
        status = anx_cuda_check(api, api->cudaEventCreateWithFlags(&plan->arrived[i], ANX_CU_EVENT_NO_TIMING),
                                "make an event", err);
        if (status == ANX_OK)
            status = anx_cuda_check(api, api->cudaEventCreateWithFlags(&plan->released[i], ANX_CU_EVENT_NO_TIMING),
                                    "make an event", err);
    }
    return status;
}

/* Memory that is read before it was written: gradients are 0 until they are computed, and rows are filled with 0. */
static anx_status clear_gradients(anx_cuda_plan *plan, anx_error *err) {
    anx_status status = anx_cuda_clear(plan->device, plan->grad_arena, plan->arena_elems * sizeof(float), err);
    for (int i = 0; i < plan->graph->n_nodes && status == ANX_OK; i++)
        status = anx_cuda_clear(plan->device, plan->values[i].grad, floats(plan->values[i].elems), err);
    return status;
}

static anx_status clear_arenas(anx_cuda_plan *plan, anx_error *err) {
    const size_t bytes = plan->arena_elems * sizeof(float);
    const anx_status status = anx_cuda_clear(plan->device, plan->param_arena, bytes, err);
    return status != ANX_OK ? status : anx_cuda_clear(plan->device, plan->momentum_arena, bytes, err);
}

static anx_status lower_all(anx_cuda_plan *plan, const bool *trained, bool *has_grad, size_t *offsets, anx_error *err) {
    const bool infer = plan->mode == ANX_PLAN_INFER;
    size_t bytes = 0;
    anx_status status = want_params(plan, trained, err);
    if (status == ANX_OK) status = want_inputs(plan, err);
    if (status == ANX_OK) status = infer ? place_outputs(plan, offsets, &bytes, err) : want_outputs(plan, err);
    if (status == ANX_OK) status = anx_cuda_memory_want(&plan->memory, bytes, true, &plan->infer_arena, err);
    if (status == ANX_OK && plan->mode == ANX_PLAN_TRAIN) status = want_gradients(plan, trained, has_grad, err);
    for (int g = 0; g < plan->n_groups && status == ANX_OK; g++)
        status =
            in_layer(plan, plan->groups[g].nodes[0], lower_node(plan, plan->groups[g].nodes[0], has_grad, err), err);
    if (status == ANX_OK)
        status = anx_cuda_memory_want(&plan->memory, plan->workspace_bytes, true, &plan->workspace, err);
    if (status == ANX_OK) status = anx_cuda_memory_allocate(&plan->memory, plan->device, plan->batch, err);
    for (int g = 0; g < plan->n_groups && status == ANX_OK && infer; g++)
        plan->values[plan->groups[g].nodes[plan->groups[g].n_nodes - 1]].data = plan->infer_arena + offsets[g];
    if (status == ANX_OK && infer) status = make_events(plan, err);
    return status != ANX_OK ? status : clear_arenas(plan, err);
}

anx_status anx_cuda_lower(anx_cuda_plan *plan, const bool *trained, anx_error *err) {
    bool *has_grad = calloc((size_t)plan->graph->n_nodes, sizeof *has_grad);
    size_t *offsets = calloc((size_t)plan->n_groups, sizeof *offsets);
    settle_storage(plan);
    const anx_status status = has_grad == NULL || offsets == NULL
                                  ? anx_error_set(err, ANX_ERR_OUT_OF_MEMORY, "out of memory")
                                  : lower_all(plan, trained, has_grad, offsets, err);
    free(has_grad);
    free(offsets);
    return status;
}

/* ---- settling ------------------------------------------------------------------------------------------- */

/* Runs a convolution once on zeros; its results are in nobody's way yet. */
static anx_status settle_conv(anx_cuda_plan *plan, const anx_group *group, anx_error *err) {
    const int node = group->nodes[0], result = group->nodes[group->n_nodes - 1];
    const anx_node *nd = &plan->graph->nodes[node];
    const int source = nd->inputs[0];
    float *x = anx_cuda_output(plan, source),
          *dy = plan->nodes[node].relu ? plan->unmasked : anx_cuda_grad(plan, result);
    const bool trains = plan->mode == ANX_PLAN_TRAIN && dy != NULL;
    anx_status status = anx_cuda_clear(plan->device, x, floats(anx_cuda_elems(plan, source)), err);
    if (status == ANX_OK && trains) status = anx_cuda_clear(plan->device, dy, floats(plan->values[result].elems), err);
    const anx_cudnn_conv_memory m = {.x = x,
                                     .w = anx_cuda_param_data(plan, nd->weight),
                                     .b = anx_cuda_param_data(plan, nd->bias),
                                     .y = anx_cuda_output(plan, result),
                                     .dy = dy,
                                     .dx = anx_cuda_grad(plan, source),
                                     .dw = trains ? plan->grad_arena + plan->params[nd->weight].first : NULL,
                                     .workspace = plan->workspace};
    return status != ANX_OK ? status : anx_cudnn_conv_settle(plan->nodes[node].conv, &m, err);
}

/* Likewise: the bias's address belongs to what an algorithm is chosen for, so that it cannot be chosen before. */
static anx_status settle_linear(anx_cuda_plan *plan, const anx_group *group, anx_error *err) {
    const int node = group->nodes[0], result = group->nodes[group->n_nodes - 1];
    const anx_node *nd = &plan->graph->nodes[node];
    const anx_cublas_linear l = {plan->batch, nd->in.dim[0], nd->out.dim[0]};
    float *x = anx_cuda_output(plan, nd->inputs[0]);
    const anx_status status = anx_cuda_clear(plan->device, x, floats(anx_cuda_elems(plan, nd->inputs[0])), err);
    if (status != ANX_OK) return status;
    return anx_matmul_create(&plan->device->lt, &l, x, anx_cuda_param_data(plan, nd->weight),
                             anx_cuda_param_data(plan, nd->bias), anx_cuda_output(plan, result),
                             &plan->nodes[node].matmul, err);
}

anx_status anx_cuda_settle(anx_cuda_plan *plan, anx_error *err) {
    anx_status status = ANX_OK;
    for (int g = 0; g < plan->n_groups && status == ANX_OK; g++) {
        const anx_group *group = &plan->groups[g];
        const int node = group->nodes[0];
        const anx_op op = plan->graph->nodes[node].layer->op;
        if (op == ANX_OP_CONV2D) status = settle_conv(plan, group, err);
        if (op == ANX_OP_LINEAR) status = settle_linear(plan, group, err);
        status = in_layer(plan, node, status, err);
    }
    return status != ANX_OK ? status : clear_gradients(plan, err); /* measuring wrote some */
}
