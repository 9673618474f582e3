#include "src/backend/dnnl/plan.h"

#include <math.h>
#include <stdlib.h>

/* calloc with room for at least one, so that NULL means failure alone. */
static void *allocate(int count, size_t bytes) {
    return calloc(count > 0 ? (size_t)count : 1, bytes);
}

static anx_status allocate_tables(anx_dnnl_plan *plan, anx_error *err) {
    const anx_graph *graph = plan->graph;
    plan->groups = allocate(graph->n_nodes, sizeof *plan->groups);
    plan->node_indices = allocate(graph->n_nodes, sizeof *plan->node_indices);
    plan->values = allocate(graph->n_nodes + 1, sizeof *plan->values);
    plan->params = allocate(graph->n_params, sizeof *plan->params);
    plan->convolutions = allocate(graph->n_nodes, sizeof *plan->convolutions);
    if (plan->groups == NULL || plan->node_indices == NULL || plan->values == NULL || plan->params == NULL ||
        plan->convolutions == NULL)
        return anx_error_set(err, ANX_ERR_OUT_OF_MEMORY, "out of memory");
    for (int node = ANX_NODE_INPUT; node < graph->n_nodes; node++) {
        anx_dnnl_value_of(plan, node)->storage = node;
        anx_dnnl_value_of(plan, node)->magnitude = NAN;
    }
    plan->n_groups = anx_graph_make_groups(graph, plan->mode, ANX_DNNL_RELU_OPS, plan->groups, plan->node_indices);
    return ANX_OK;
}

/* oneDNN's kernels count in 32 bits and do not check: beyond that they divide by zero or write anywhere. */
static anx_status check_batch(const anx_plan_desc *desc, anx_error *err) {
    const int64_t max_batch = anx_graph_max_batch(desc->graph, INT32_MAX);
    if (desc->batch <= max_batch) return ANX_OK;
    return anx_error_set(err, ANX_ERR_UNSUPPORTED,
                         "a batch of %lld is too large for the cpu device; it takes up to %lld of these images",
                         (long long)desc->batch, (long long)max_batch);
}

/* Places all buffers into the arena and tells oneDNN's memory objects where they are. */
static anx_status place_buffers(anx_dnnl_plan *plan, anx_error *err) {
    size_t bytes = 0;
    if (!anx_memory_plan(plan->buffers, plan->n_buffers, ANX_ALIGNMENT_BYTES, &bytes))
        return anx_error_set(err, ANX_ERR_OUT_OF_MEMORY, "a batch of %lld overflows the address space",
                             (long long)plan->batch);
    anx_status status = anx_dnnl_block_init(&plan->arena, bytes, err);
    for (int i = 0; i < plan->n_memories && status == ANX_OK; i++) {
        const anx_dnnl_memory *m = &plan->memories[i];
        status = anx_dnnl_check(dnnl_memory_set_data_handle(m->memory, anx_dnnl_buffer_data(plan, m->buffer)),
                                "place a buffer", err);
    }
    return status;
}

/* Nothing is dropped until a mask is written. */
static void fill_masks(anx_dnnl_plan *plan) {
    for (int i = 0; i < plan->graph->n_nodes; i++) {
        if (plan->graph->nodes[i].layer->op != ANX_OP_DROPOUT) continue;
        const anx_dnnl_value *value = anx_dnnl_value_of(plan, i);
        float *mask = anx_dnnl_buffer_data(plan, value->extra_buffer);
        for (size_t k = 0; k < dnnl_memory_desc_get_size(value->md) / sizeof *mask; k++) mask[k] = 1.0f;
    }
}

anx_status anx_dnnl_plan_create(void *device, const anx_plan_desc *desc, void **out, anx_error *err) {
    anx_status status = check_batch(desc, err);
    if (status != ANX_OK) return status;
    anx_dnnl_plan *plan = calloc(1, sizeof *plan);
    if (plan == NULL) return anx_error_set(err, ANX_ERR_OUT_OF_MEMORY, "out of memory");
    plan->device = device;
    plan->graph = desc->graph;
    plan->batch = desc->batch;
    plan->mode = desc->mode;
    const int previous = anx_dnnl_threads_enter(plan->device);
    status = allocate_tables(plan, err);
    if (status == ANX_OK) status = anx_dnnl_lower(plan, desc->trained, err);
    if (status == ANX_OK) status = place_buffers(plan, err);
    if (status == ANX_OK) status = anx_dnnl_params_load(plan, desc->params, err);
    if (status == ANX_OK && plan->mode == ANX_PLAN_TRAIN) fill_masks(plan);
    anx_dnnl_threads_leave(previous);
    if (status == ANX_OK)
        *out = plan;
    else
        anx_dnnl_plan_destroy(plan);
    return status;
}

static void destroy_step(anx_dnnl_step *step) {
    if (step->primitive != NULL) dnnl_primitive_destroy(step->primitive);
    if (step->unfused != NULL) dnnl_primitive_destroy(step->unfused);
    if (step->guarded != NULL) dnnl_primitive_desc_destroy(step->guarded);
}

static void destroy_param(anx_dnnl_param *param) {
    if (param->memory != NULL) dnnl_memory_destroy(param->memory);
    anx_dnnl_md_destroy(param->host_md);
    anx_dnnl_md_destroy(param->md);
    anx_dnnl_md_destroy(param->grad_md);
    anx_dnnl_block_fini(&param->own);
}

void anx_dnnl_plan_destroy(void *impl) {
    anx_dnnl_plan *plan = impl;
    if (plan == NULL) return;
    for (int i = 0; i < plan->n_steps; i++) destroy_step(&plan->steps[i]);
    for (int i = 0; i < plan->n_memories; i++) dnnl_memory_destroy(plan->memories[i].memory);
    for (int i = 0; plan->params != NULL && i < plan->graph->n_params; i++) destroy_param(&plan->params[i]);
    for (int i = 0; plan->values != NULL && i <= plan->graph->n_nodes; i++) anx_dnnl_md_destroy(plan->values[i].md);
    for (int i = 0; plan->convolutions != NULL && i < plan->graph->n_nodes; i++)
        if (plan->convolutions[i].pd != NULL) dnnl_primitive_desc_destroy(plan->convolutions[i].pd);
    anx_dnnl_block_fini(&plan->arena);
    anx_dnnl_block_fini(&plan->packed);
    free(plan->steps);
    free(plan->buffers);
    free(plan->memories);
    free(plan->convolutions);
    free(plan->params);
    free(plan->values);
    free(plan->node_indices);
    free(plan->groups);
    free(plan);
}

int anx_dnnl_plan_group_count(const void *impl) {
    return ((const anx_dnnl_plan *)impl)->n_groups;
}

const anx_group *anx_dnnl_plan_group(const void *impl, int group) {
    return &((const anx_dnnl_plan *)impl)->groups[group];
}

/* What is known of the output's magnitude after a group that has no guarded step. */
static double passed_on_magnitude(const anx_dnnl_plan *plan, const anx_group *group) {
    double magnitude = anx_dnnl_storage_of(plan, group->inputs[0])->magnitude;
    for (int i = 0; i < group->n_nodes; i++) {
        const anx_op op = plan->graph->nodes[group->nodes[i]].layer->op;
        const bool passes = op == ANX_OP_MAX_POOL2D || op == ANX_OP_RELU;
        if (op == ANX_OP_DROPOUT && plan->mode == ANX_PLAN_TRAIN) magnitude = NAN; /* multiplied by a mask */
        if (!passes && !anx_node_passes_on(&plan->graph->nodes[group->nodes[i]])) magnitude = NAN;
    }
    return magnitude;
}

static anx_status run_steps(anx_dnnl_plan *plan, int first, int last, anx_error *err) {
    for (int i = 0; i < plan->n_steps; i++) {
        anx_dnnl_step *step = &plan->steps[i];
        if (step->backward || step->group < first || step->group > last) continue;
        const anx_group *group = &plan->groups[step->group];
        const int output = group->nodes[group->n_nodes - 1];
        anx_dnnl_value *value = anx_dnnl_storage_of(plan, output);
        value->magnitude = passed_on_magnitude(plan, group);
        anx_status status = step->run(plan, step, err);
        if (value->exposed) value->magnitude = NAN;
        if (status != ANX_OK) {
            anx_error_in_layer(err, plan->graph->nodes[output].layer->name);
            return status;
        }
    }
    return ANX_OK;
}

anx_status anx_dnnl_plan_run(void *impl, int first, int count, anx_error *err) {
    anx_dnnl_plan *plan = impl;
    const int previous = anx_dnnl_threads_enter(plan->device);
    anx_status status = run_steps(plan, first, first + count - 1, err);
    anx_dnnl_threads_leave(previous);
    return status;
}

static anx_status run_steps_backward(anx_dnnl_plan *plan, int first, int last, anx_error *err) {
    for (int node = ANX_NODE_INPUT; node < plan->graph->n_nodes; node++)
        anx_dnnl_value_of(plan, node)->grad_begun = false;
    for (int i = 0; i < plan->n_steps; i++) {
        anx_dnnl_step *step = &plan->steps[i];
        if (!step->backward || step->group < first || step->group > last) continue;
        anx_status status = step->run(plan, step, err);
        if (status == ANX_OK) continue;
        anx_error_in_layer(err, plan->graph->nodes[plan->groups[step->group].nodes[0]].layer->name);
        return status;
    }
    return ANX_OK;
}

anx_status anx_dnnl_plan_run_backward(void *impl, int first, int count, anx_error *err) {
    anx_dnnl_plan *plan = impl;
    const int previous = anx_dnnl_threads_enter(plan->device);
    anx_status status = run_steps_backward(plan, first, first + count - 1, err);
    anx_dnnl_threads_leave(previous);
    return status;
}
