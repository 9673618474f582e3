#include "src/backend/dnnl/build.h"

/* ---- gradients of values -------------------------------------------------------------------------------- */

static size_t elems_of(anx_dnnl_const_md md) {
    return dnnl_memory_desc_get_size(md) / sizeof(float);
}

anx_status anx_dnnl_output_grad(anx_dnnl_plan *plan, int group, int index, int output, dnnl_memory_t *memory,
                                int *buffer, anx_error *err) {
    const anx_dnnl_value *value = anx_dnnl_storage_of(plan, output);
    *memory = value->grad_memory;
    *buffer = value->grad_buffer;
    if (index == output) return ANX_OK;
    anx_status status = anx_dnnl_add_buffer(plan, dnnl_memory_desc_get_size(value->md), group, buffer, err);
    if (status == ANX_OK) status = anx_dnnl_add_memory(plan, value->md, *buffer, memory, err);
    if (status == ANX_OK)
        status = anx_dnnl_add_loop(plan, group, anx_dnnl_run_relu_backward, value->grad_buffer, value->buffer, *buffer,
                                   elems_of(value->md), err);
    return status;
}

/* Another memory object on the target's buffer, which sees it as (N, F). */
static anx_status flatten_target(anx_dnnl_plan *plan, const anx_extent *extent, anx_dnnl_grad_target *target,
                                 anx_error *err) {
    const anx_extent all = {.rank = 1, .dim = {extent->dim[0] * extent->dim[1] * extent->dim[2]}};
    anx_dnnl_md md = NULL;
    anx_status status = anx_dnnl_check(anx_dnnl_plain_md(plan, &all, &md), "describe a gradient", err);
    if (status == ANX_OK) status = anx_dnnl_add_memory(plan, md, target->buffer, &target->memory, err);
    anx_dnnl_md_destroy(md);
    return status;
}

anx_status anx_dnnl_begin_grad(anx_dnnl_plan *plan, int group, int node, anx_dnnl_const_md wanted, bool flat,
                               anx_dnnl_grad_target *target, anx_error *err) {
    const anx_dnnl_value *value = anx_dnnl_storage_of(plan, node);
    const anx_extent *extent = anx_dnnl_extent_of(plan, anx_dnnl_value_of(plan, node)->storage);
    anx_dnnl_md plain = NULL;
    anx_status status = ANX_OK;
    flat = flat && extent->rank == 3;
    *target = (anx_dnnl_grad_target){.node = node, .memory = value->grad_memory, .buffer = value->grad_buffer};
    if (flat) {
        status = anx_dnnl_check(anx_dnnl_plain_md(plan, extent, &plain), "describe a gradient", err);
        if (status != ANX_OK) return status;
        wanted = plain;
    }
    if (wanted == NULL) wanted = value->md;
    if (value->grad_writers > 1 || !dnnl_memory_desc_equal(wanted, value->md)) {
        status = anx_dnnl_check(anx_dnnl_md_clone(&target->md, wanted), "describe a gradient", err);
        if (status == ANX_OK)
            status = anx_dnnl_add_buffer(plan, dnnl_memory_desc_get_size(wanted), group, &target->buffer, err);
        if (status == ANX_OK) status = anx_dnnl_add_memory(plan, wanted, target->buffer, &target->memory, err);
    }
    if (status == ANX_OK && flat) status = flatten_target(plan, extent, target, err);
    anx_dnnl_md_destroy(plain);
    if (status == ANX_OK) return ANX_OK;
    anx_dnnl_md_destroy(target->md);
    target->md = NULL;
    return status;
}

/* From the target's own buffer to the gradient. */
static anx_status move_grad(anx_dnnl_plan *plan, int group, const anx_dnnl_grad_target *target, anx_error *err) {
    const anx_dnnl_value *value = anx_dnnl_storage_of(plan, target->node);
    dnnl_memory_t memory = NULL;
    int buffer = target->buffer;
    anx_status status = anx_dnnl_add_memory(plan, target->md, buffer, &memory, err);
    if (status != ANX_OK) return status;
    if (value->grad_writers <= 1)
        return anx_dnnl_add_reorder(plan, group, target->md, memory, value->md, value->grad_memory, err);
    status = anx_dnnl_as_wanted(plan, group, target->md, value->md, &memory, &buffer, err);
    if (status == ANX_OK)
        status = anx_dnnl_add_loop(plan, group, anx_dnnl_run_accumulate, buffer, -1, value->grad_buffer,
                                   elems_of(value->md), err);
    if (status == ANX_OK) plan->steps[plan->n_steps - 1].node = target->node;
    return status;
}

anx_status anx_dnnl_end_grad(anx_dnnl_plan *plan, int group, anx_dnnl_grad_target *target, anx_status status,
                             anx_error *err) {
    if (status == ANX_OK && target->md != NULL) status = move_grad(plan, group, target, err);
    anx_dnnl_md_destroy(target->md);
    target->md = NULL;
    return status;
}

anx_status anx_dnnl_use_param_grad(anx_dnnl_plan *plan, int index, anx_dnnl_const_md md, anx_error *err) {
    anx_dnnl_param *param = &plan->params[index];
    anx_status status = anx_dnnl_check(anx_dnnl_md_clone(&param->grad_md, md), "describe a gradient", err);
    if (status == ANX_OK)
        status = anx_dnnl_add_lasting_buffer(plan, dnnl_memory_desc_get_size(md), &param->grad_buffer, err);
    if (status == ANX_OK) status = anx_dnnl_add_memory(plan, md, param->grad_buffer, &param->grad_memory, err);
    return status;
}

/* ---- operations ----------------------------------------------------------------------------------------- */

/* A loop from the output's gradient and what lies in factor_buffer, all of it in the output's layout. */
static anx_status lower_elementwise(anx_dnnl_plan *plan, int group, int index, int factor_buffer,
                                    anx_status (*run)(anx_dnnl_plan *plan, anx_dnnl_step *step, anx_error *err),
                                    size_t elems, anx_error *err) {
    const anx_node *node = &plan->graph->nodes[index];
    const anx_dnnl_value *value = anx_dnnl_storage_of(plan, index);
    const bool flat = node->out.rank == 1;
    anx_dnnl_grad_target target;
    anx_status status = anx_dnnl_begin_grad(plan, group, node->inputs[0], flat ? NULL : value->md, flat, &target, err);
    if (status != ANX_OK) return status;
    status = anx_dnnl_add_loop(plan, group, run, value->grad_buffer, factor_buffer, target.buffer, elems, err);
    return anx_dnnl_end_grad(plan, group, &target, status, err);
}

static anx_status lower_relu(anx_dnnl_plan *plan, int group, int index, int output, anx_error *err) {
    const anx_dnnl_value *value = anx_dnnl_value_of(plan, output);
    return lower_elementwise(plan, group, index, value->buffer, anx_dnnl_run_relu_backward, elems_of(value->md), err);
}

static anx_status lower_dropout(anx_dnnl_plan *plan, int group, int index, int output, anx_error *err) {
    const anx_dnnl_value *value = anx_dnnl_value_of(plan, output);
    return lower_elementwise(plan, group, index, value->extra_buffer, anx_dnnl_run_multiply, elems_of(value->md), err);
}

static anx_status lower_softmax(anx_dnnl_plan *plan, int group, int index, int output, anx_error *err) {
    const size_t row = (size_t)plan->graph->nodes[index].in.dim[0];
    return lower_elementwise(plan, group, index, anx_dnnl_value_of(plan, output)->buffer, anx_dnnl_run_softmax_backward,
                             row, err);
}

static anx_status lower_pooling(anx_dnnl_plan *plan, int group, int index, int output, anx_error *err) {
    const anx_node *node = &plan->graph->nodes[index];
    const anx_dnnl_value *input = anx_dnnl_storage_of(plan, node->inputs[0]), *value = anx_dnnl_value_of(plan, output);
    dnnl_format_tag_t src_tag = dnnl_format_tag_undef, dst_tag = dnnl_format_tag_undef;
    anx_dnnl_md plain = NULL;
    anx_dnnl_grad_target target = {.md = NULL};
    anx_dnnl_step *step = NULL;
    anx_status status = anx_dnnl_tag_of(plan, &node->out, value->md, &dst_tag, err);
    if (status == ANX_OK) status = anx_dnnl_tag_of(plan, &node->in, input->md, &src_tag, err);
    if (status == ANX_OK)
        status = anx_dnnl_check(anx_dnnl_plain_md(plan, &node->in, &plain), "describe a gradient", err);
    if (status == ANX_OK)
        status = anx_dnnl_begin_grad(plan, group, node->inputs[0], src_tag == dnnl_format_tag_undef ? plain : NULL,
                                     false, &target, err);
    if (status == ANX_OK) status = anx_dnnl_add_step(plan, group, &step, err);
    anx_dnnl_md_destroy(plain);
    if (status == ANX_OK) {
        if (src_tag == dnnl_format_tag_undef) src_tag = dnnl_nchw;
        step->run = anx_dnnl_run_pooling_backward;
        step->src_buffer = value->grad_buffer;
        step->dst_buffer = target.buffer;
        step->factor_buffer = value->extra_buffer;
        step->pooling = anx_dnnl_pooling_of(plan, index, src_tag, dst_tag);
    }
    return anx_dnnl_end_grad(plan, group, &target, status, err);
}

/* Flatten, and an average over windows of one element, where the output has memory of its own. */
static anx_status lower_copy(anx_dnnl_plan *plan, int group, int index, int output, anx_error *err) {
    const anx_node *node = &plan->graph->nodes[index];
    const anx_dnnl_value *value = anx_dnnl_value_of(plan, output);
    const bool flat = node->in.rank != node->out.rank;
    anx_dnnl_grad_target target;
    anx_status status = anx_dnnl_begin_grad(plan, group, node->inputs[0], value->md, flat, &target, err);
    if (status != ANX_OK) return status;
    /* Both see the same elements in the same order: (N, F), or the value's own layout. */
    status = anx_dnnl_add_reorder(plan, group, value->md, value->grad_memory, value->md, target.memory, err);
    return anx_dnnl_end_grad(plan, group, &target, status, err);
}

static anx_dnnl_lower_fn *const lowerings[ANX_OP_COUNT] = {
    [ANX_OP_CONV2D] = anx_dnnl_lower_conv_backward,
    [ANX_OP_RELU] = lower_relu,
    [ANX_OP_MAX_POOL2D] = lower_pooling,
    [ANX_OP_ADAPTIVE_AVG_POOL2D] = lower_pooling,
    [ANX_OP_DROPOUT] = lower_dropout,
    [ANX_OP_FLATTEN] = lower_copy,
    [ANX_OP_LINEAR] = anx_dnnl_lower_linear_backward,
    [ANX_OP_SOFTMAX] = lower_softmax,
};

/* ---- the whole ------------------------------------------------------------------------------------------ */

static bool is_trained(const anx_graph *graph, const bool *trained, int param) {
    return param != ANX_NO_PARAM && graph->params[param].node >= 0 && (trained == NULL || trained[param]);
}

/*
 * A value needs its gradient where a trained parameter lies at or below its node. With nothing said about parameters,
 * all gradients are wanted, that of the network's input too.
 */
static void mark_needed(anx_dnnl_plan *plan, const bool *trained) {
    const anx_graph *graph = plan->graph;
    for (int i = 0; i < graph->n_params; i++) plan->params[i].trained = is_trained(graph, trained, i);
    anx_dnnl_value_of(plan, ANX_NODE_INPUT)->needs_grad = trained == NULL;
    for (int i = 0; i < graph->n_nodes; i++) {
        const anx_node *node = &graph->nodes[i];
        bool needs = is_trained(graph, trained, node->weight) || is_trained(graph, trained, node->bias);
        for (int k = 0; k < node->n_inputs; k++) needs = needs || anx_dnnl_value_of(plan, node->inputs[k])->needs_grad;
        anx_dnnl_value_of(plan, i)->needs_grad = needs;
    }
}

static bool is_alias(const anx_dnnl_plan *plan, int group) {
    return anx_node_aliases_in_training(plan->graph, plan->groups[group].nodes[0]);
}

static anx_status add_grads(anx_dnnl_plan *plan, anx_error *err) {
    for (int g = 0; g < plan->n_groups; g++)
        for (int k = 0; k < plan->groups[g].n_inputs && !is_alias(plan, g); k++)
            anx_dnnl_storage_of(plan, plan->groups[g].inputs[k])->grad_writers++;
    for (int node = ANX_NODE_INPUT; node < plan->graph->n_nodes; node++) {
        anx_dnnl_value *value = anx_dnnl_value_of(plan, node);
        if (!value->needs_grad || !value->kept || value->storage != node) continue;
        anx_status status =
            anx_dnnl_add_lasting_buffer(plan, dnnl_memory_desc_get_size(value->md), &value->grad_buffer, err);
        if (status == ANX_OK)
            status = anx_dnnl_add_memory(plan, value->md, value->grad_buffer, &value->grad_memory, err);
        if (status != ANX_OK) return status;
    }
    return ANX_OK;
}

static anx_status lower_group(anx_dnnl_plan *plan, int group, anx_error *err) {
    const anx_group *g = &plan->groups[group];
    const int index = g->nodes[0], output = g->nodes[g->n_nodes - 1];
    const anx_node *node = &plan->graph->nodes[index];
    if (!anx_dnnl_value_of(plan, output)->needs_grad || is_alias(plan, group)) return ANX_OK;
    anx_dnnl_lower_fn *lower = lowerings[node->layer->op];
    if (node->layer->op == ANX_OP_ADAPTIVE_AVG_POOL2D && anx_node_passes_on(node)) lower = lower_copy;
    anx_status status = lower(plan, group, index, output, err);
    if (status != ANX_OK) anx_error_in_layer(err, node->layer->name);
    return status;
}

anx_status anx_dnnl_lower_backward(anx_dnnl_plan *plan, const bool *trained, anx_error *err) {
    mark_needed(plan, trained);
    plan->lowers_backward = true;
    anx_status status = add_grads(plan, err);
    for (int g = plan->n_groups - 1; g >= 0 && status == ANX_OK; g--) status = lower_group(plan, g, err);
    plan->lowers_backward = false;
    return status;
}
