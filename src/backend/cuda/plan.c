#include "src/backend/cuda/plan.h"

#include <stdlib.h>

#include "src/backend/cuda/status.h"

/* ---- creation ------------------------------------------------------------------------------------------- */

static void *allocate(int count, size_t bytes) {
    return calloc(count > 0 ? (size_t)count : 1, bytes);
}

static anx_status allocate_tables(anx_cuda_plan *plan, anx_error *err) {
    const anx_graph *graph = plan->graph;
    plan->groups = allocate(graph->n_nodes, sizeof *plan->groups);
    plan->node_indices = allocate(graph->n_nodes, sizeof *plan->node_indices);
    plan->values = allocate(graph->n_nodes, sizeof *plan->values);
    plan->nodes = allocate(graph->n_nodes, sizeof *plan->nodes);
    plan->params = allocate(graph->n_params, sizeof *plan->params);
    if (plan->groups == NULL || plan->node_indices == NULL || plan->values == NULL || plan->nodes == NULL ||
        plan->params == NULL)
        return anx_error_set(err, ANX_ERR_OUT_OF_MEMORY, "out of memory");
    plan->n_groups = anx_graph_make_groups(graph, plan->mode, ANX_CUDA_RELU_OPS, plan->groups, plan->node_indices);
    return ANX_OK;
}

/* cuDNN refuses tensors of 2^31 elements; cuBLAS counts in int. */
static anx_status check_batch(const anx_plan_desc *desc, anx_error *err) {
    const int64_t max_batch = anx_graph_max_batch(desc->graph, INT32_MAX);
    if (desc->batch <= max_batch) return ANX_OK;
    return anx_error_set(err, ANX_ERR_UNSUPPORTED,
                         "a batch of %lld is too large for cuDNN; it takes up to %lld of these images",
                         (long long)desc->batch, (long long)max_batch);
}

static anx_status load_params(anx_cuda_plan *plan, const anx_tensor *params, anx_error *err) {
    anx_status status = ANX_OK;
    for (int i = 0; i < plan->graph->n_params && status == ANX_OK; i++)
        status = anx_cuda_upload(plan->device, anx_cuda_param_data(plan, i), params[i].data,
                                 anx_tensor_bytes(&params[i]), err);
    return status;
}

/* Nothing is dropped until a mask is written. */
static anx_status fill_mask(anx_cuda_plan *plan, int node, anx_error *err) {
    const int64_t elems = anx_cuda_elems(plan, node);
    float *ones = malloc((size_t)elems * sizeof *ones);
    if (ones == NULL) return anx_error_set(err, ANX_ERR_OUT_OF_MEMORY, "out of memory");
    for (int64_t i = 0; i < elems; i++) ones[i] = 1.0f;
    anx_status status = anx_cuda_upload(plan->device, plan->nodes[node].mask, ones, (size_t)elems * sizeof *ones, err);
    if (status == ANX_OK) status = anx_cuda_device_sync(plan->device, err);
    free(ones);
    return status;
}

static anx_status fill_masks(anx_cuda_plan *plan, anx_error *err) {
    anx_status status = ANX_OK;
    for (int i = 0; i < plan->graph->n_nodes && status == ANX_OK; i++)
        if (plan->nodes[i].mask != NULL) status = fill_mask(plan, i, err);
    return status;
}

anx_status anx_cuda_plan_create(void *device, const anx_plan_desc *desc, void **out, anx_error *err) {
    anx_status status = check_batch(desc, err);
    if (status == ANX_OK) status = anx_cuda_device_enter(device, err);
    if (status != ANX_OK) return status;
    anx_cuda_plan *plan = calloc(1, sizeof *plan);
    if (plan == NULL) return anx_error_set(err, ANX_ERR_OUT_OF_MEMORY, "out of memory");
    plan->device = device;
    plan->graph = desc->graph;
    plan->batch = desc->batch;
    plan->mode = desc->mode;
    status = allocate_tables(plan, err);
    if (status == ANX_OK) status = anx_cuda_lower(plan, desc->trained, err);
    if (status == ANX_OK) status = load_params(plan, desc->params, err);
    if (status == ANX_OK) status = anx_cuda_settle(plan, err);
    if (status == ANX_OK) status = fill_masks(plan, err);
    if (status == ANX_OK) status = anx_cuda_device_sync(plan->device, err);
    if (status == ANX_OK)
        *out = plan;
    else
        anx_cuda_plan_destroy(plan);
    return status;
}

/* ---- destruction ---------------------------------------------------------------------------------------- */

static void destroy_node(const anx_cuda_plan *plan, anx_cuda_node *node) {
    anx_cudnn_conv_destroy(node->conv);
    anx_cudnn_pool_destroy(node->pool);
    anx_matmul_destroy(node->matmul);
    anx_cudnn_tensor_destroy(&plan->device->dnn, node->tensor);
    anx_cudnn_tensor_destroy(&plan->device->dnn, node->bias);
    free(node->winners);
}

void anx_cuda_plan_destroy(void *impl) {
    anx_cuda_plan *plan = impl;
    if (plan == NULL) return;
    const anx_cuda_api *api = plan->device->api;
    (void)anx_cuda_device_sync(plan->device, NULL); /* what is under way must not find its memory gone */
    for (int i = 0; i < ANX_CUDA_INPUTS; i++) {
        if (plan->arrived[i] != NULL) api->cudaEventDestroy(plan->arrived[i]);
        if (plan->released[i] != NULL) api->cudaEventDestroy(plan->released[i]);
    }
    for (int i = 0; plan->nodes != NULL && i < plan->graph->n_nodes; i++) destroy_node(plan, &plan->nodes[i]);
    anx_cuda_memory_free(&plan->memory, plan->device);
    free(plan->groups);
    free(plan->node_indices);
    free(plan->values);
    free(plan->nodes);
    free(plan->params);
    free(plan);
}

int anx_cuda_plan_group_count(const void *plan) {
    return ((const anx_cuda_plan *)plan)->n_groups;
}

const anx_group *anx_cuda_plan_group(const void *plan, int group) {
    return &((const anx_cuda_plan *)plan)->groups[group];
}

/* ---- running -------------------------------------------------------------------------------------------- */

static bool reads_input(const anx_group *group) {
    for (int i = 0; i < group->n_inputs; i++)
        if (group->inputs[i] == ANX_NODE_INPUT) return true;
    return false;
}

/* The input's upload before it is read; and when it was read, the buffer may be written again. */
static anx_status run_on_input(anx_cuda_plan *plan, const anx_group *group, anx_error *err) {
    const anx_cuda_api *api = plan->device->api;
    struct CUstream_st *stream = plan->device->stream;
    anx_status status = ANX_OK;
    if (plan->awaiting)
        status = anx_cuda_check(api, api->cudaStreamWaitEvent(stream, plan->arrived[plan->input], 0),
                                "wait for the input", err);
    if (status == ANX_OK) status = anx_cuda_run_group(plan, group, err);
    if (status != ANX_OK) return status;
    plan->awaiting = false;
    return anx_cuda_check(api, api->cudaEventRecord(plan->released[plan->input], stream), "record an event", err);
}

anx_status anx_cuda_plan_run(void *impl, int first, int count, anx_error *err) {
    anx_cuda_plan *plan = impl;
    anx_status status = anx_cuda_device_enter(plan->device, err);
    for (int g = first; g < first + count && status == ANX_OK; g++) {
        const anx_group *group = &plan->groups[g];
        status = plan->mode == ANX_PLAN_INFER && reads_input(group) ? run_on_input(plan, group, err)
                                                                    : anx_cuda_run_group(plan, group, err);
    }
    return status;
}

anx_status anx_cuda_plan_run_backward(void *impl, int first, int count, anx_error *err) {
    anx_cuda_plan *plan = impl;
    anx_status status = anx_cuda_device_enter(plan->device, err);
    for (int g = first + count - 1; g >= first && status == ANX_OK; g--)
        status = anx_cuda_run_group_backward(plan, &plan->groups[g], err);
    return status;
}

/* ---- masks of the library's own ------------------------------------------------------------------------- */

/* Memory for the largest of the dropout layers. */
static anx_status prepare_masks(anx_cuda_plan *plan, anx_error *err) {
    int64_t most = 0;
    anx_status status = ANX_OK;
    if (plan->mask_states != NULL) return ANX_OK;
    for (int i = 0; i < plan->graph->n_nodes && status == ANX_OK; i++) {
        if (plan->nodes[i].mask == NULL) continue;
        size_t reserve = 0;
        status =
            anx_cudnn_mask_bytes(&plan->device->dnn, plan->nodes[i].tensor, &plan->mask_states_bytes, &reserve, err);
        if (reserve > plan->mask_reserve_bytes) plan->mask_reserve_bytes = reserve;
        if (anx_cuda_elems(plan, i) > most) most = anx_cuda_elems(plan, i);
    }
    anx_cuda_memory *memory = &plan->memory;
    const int before = memory->n;
    if (status == ANX_OK)
        status = anx_cuda_memory_want(memory, plan->mask_states_bytes, false, &plan->mask_states, err);
    if (status == ANX_OK)
        status = anx_cuda_memory_want(memory, plan->mask_reserve_bytes, true, &plan->mask_reserve, err);
    if (status == ANX_OK)
        status = anx_cuda_memory_want(memory, (size_t)most * sizeof(float), true, &plan->mask_ones, err);
    if (status == ANX_OK) status = anx_cuda_memory_allocate(memory, plan->device, plan->batch, err);
    float *ones = status == ANX_OK ? malloc((size_t)most * sizeof *ones + 1) : NULL;
    if (status == ANX_OK && ones == NULL) status = anx_error_set(err, ANX_ERR_OUT_OF_MEMORY, "out of memory");
    for (int64_t i = 0; i < most && ones != NULL; i++) ones[i] = 1.0f;
    if (status == ANX_OK && most > 0)
        status = anx_cuda_upload(plan->device, plan->mask_ones, ones, (size_t)most * sizeof *ones, err);
    if (status == ANX_OK) status = anx_cuda_device_sync(plan->device, err);
    free(ones);
    if (status != ANX_OK) anx_cuda_memory_keep(memory, plan->device, before);
    return status;
}

anx_status anx_cuda_plan_draw_masks(void *impl, const double *dropout, uint64_t seed, anx_error *err) {
    anx_cuda_plan *plan = impl;
    anx_status status = anx_cuda_device_enter(plan->device, err);
    if (status == ANX_OK) status = prepare_masks(plan, err);
    for (int i = 0; i < plan->graph->n_nodes && status == ANX_OK; i++) {
        const anx_cuda_node *node = &plan->nodes[i];
        if (node->mask == NULL) continue;
        if (dropout[i] >= 1.0) { /* 1/(1-p) is infinite: PyTorch drops everything */
            status = anx_cuda_clear(plan->device, node->mask, (size_t)anx_cuda_elems(plan, i) * sizeof(float), err);
            continue;
        }
        /* Layers get seeds far apart: consecutive ones are what the caller's steps may have. */
        const uint64_t own = seed + (uint64_t)(i + 1) * 0x9e3779b97f4a7c15u;
        status = anx_cudnn_draw_mask(&plan->device->dnn, node->tensor, dropout[i], own, plan->mask_ones, node->mask,
                                     plan->mask_states, plan->mask_states_bytes, plan->mask_reserve,
                                     plan->mask_reserve_bytes, err);
        if (status != ANX_OK) anx_error_in_layer(err, plan->graph->nodes[i].layer->name);
    }
    return status;
}
