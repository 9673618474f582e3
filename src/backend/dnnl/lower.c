#include "src/backend/dnnl/build.h"

static anx_status lower_relu(anx_dnnl_plan *plan, int group, int index, int output, anx_error *err) {
    dnnl_memory_t src = NULL;
    int buffer = 0;
    const bool flat = plan->graph->nodes[index].in.rank == 1;
    anx_status status =
        anx_dnnl_read_value(plan, plan->graph->nodes[index].inputs[0], NULL, flat, group, &src, &buffer, err);
    if (status != ANX_OK) return status;
    if (flat)
        status = anx_dnnl_own_plain_value(plan, output, group, err);
    else
        status = anx_dnnl_own_value(plan, output, anx_dnnl_storage_of(plan, plan->graph->nodes[index].inputs[0])->md,
                                    group, err);
    return status != ANX_OK ? status : anx_dnnl_add_relu(plan, group, buffer, output, err);
}

anx_dnnl_pooling anx_dnnl_pooling_of(const anx_dnnl_plan *plan, int index, dnnl_format_tag_t src_tag,
                                     dnnl_format_tag_t dst_tag) {
    const anx_node *node = &plan->graph->nodes[index];
    const anx_pool2d_params *pool = &node->layer->u.pool;
    anx_dnnl_pooling pooling = {.src = anx_dnnl_layout_of(&node->in, src_tag),
                                .dst = anx_dnnl_layout_of(&node->out, dst_tag),
                                .batch = plan->batch,
                                .in_h = node->in.dim[1],
                                .in_w = node->in.dim[2],
                                .out_h = node->out.dim[1],
                                .out_w = node->out.dim[2],
                                .isa = plan->device->isa,
                                .adaptive = node->layer->op == ANX_OP_ADAPTIVE_AVG_POOL2D};
    if (pooling.adaptive) return pooling;
    pooling.kernel_h = pool->kernel_h;
    pooling.kernel_w = pool->kernel_w;
    pooling.stride_h = pool->stride_h;
    pooling.stride_w = pool->stride_w;
    pooling.pad_h = pool->pad_h;
    pooling.pad_w = pool->pad_w;
    return pooling;
}

static anx_status lower_pooling(anx_dnnl_plan *plan, int group, int index, int output, anx_error *err) {
    const anx_node *node = &plan->graph->nodes[index];
    anx_dnnl_md plain = NULL, dst_md = NULL;
    dnnl_memory_t src = NULL;
    int buffer = 0;
    dnnl_format_tag_t src_tag = dnnl_format_tag_undef, dst_tag = dnnl_format_tag_undef;
    anx_status status = anx_dnnl_tag_of(plan, &node->in, anx_dnnl_storage_of(plan, node->inputs[0])->md, &src_tag, err);
    if (status == ANX_OK) status = anx_dnnl_check(anx_dnnl_plain_md(plan, &node->in, &plain), "describe a value", err);
    if (status == ANX_OK)
        status = anx_dnnl_read_value(plan, node->inputs[0], src_tag == dnnl_format_tag_undef ? plain : NULL, false,
                                     group, &src, &buffer, err);
    if (src_tag == dnnl_format_tag_undef) src_tag = dnnl_nchw;
    if (status == ANX_OK) status = anx_dnnl_tag_wanted(plan, output, &dst_tag, err);
    if (dst_tag == dnnl_format_tag_undef) dst_tag = src_tag;
    if (status == ANX_OK)
        status = anx_dnnl_check(anx_dnnl_extent_md(plan, &node->out, dst_tag, &dst_md), "describe a value", err);
    if (status == ANX_OK) status = anx_dnnl_own_value(plan, output, dst_md, group, err);
    anx_dnnl_step *step = NULL;
    if (status == ANX_OK) status = anx_dnnl_add_step(plan, group, &step, err);
    anx_dnnl_md_destroy(dst_md);
    anx_dnnl_md_destroy(plain);
    if (status != ANX_OK) return status;
    anx_dnnl_value *value = anx_dnnl_value_of(plan, output);
    step->run = anx_dnnl_run_pooling;
    step->src_buffer = buffer;
    step->dst_buffer = value->buffer;
    step->factor_buffer = -1;
    step->pooling = anx_dnnl_pooling_of(plan, index, src_tag, dst_tag);
    if (plan->mode != ANX_PLAN_TRAIN || step->pooling.adaptive) return ANX_OK;
    status = anx_dnnl_add_lasting_buffer(plan, dnnl_memory_desc_get_size(value->md), &value->extra_buffer, err);
    step->factor_buffer = value->extra_buffer;
    return status;
}

/* Dropout in training: multiplied by the mask. */
static anx_status lower_dropout(anx_dnnl_plan *plan, int group, int index, int output, anx_error *err) {
    const anx_node *node = &plan->graph->nodes[index];
    dnnl_memory_t src = NULL;
    int buffer = 0;
    const bool flat = node->in.rank == 1;
    anx_status status = anx_dnnl_read_value(plan, node->inputs[0], NULL, flat, group, &src, &buffer, err);
    if (status == ANX_OK)
        status = flat ? anx_dnnl_own_plain_value(plan, output, group, err)
                      : anx_dnnl_own_value(plan, output, anx_dnnl_storage_of(plan, node->inputs[0])->md, group, err);
    if (status != ANX_OK) return status;
    anx_dnnl_value *value = anx_dnnl_value_of(plan, output);
    const size_t bytes = dnnl_memory_desc_get_size(value->md);
    status = anx_dnnl_add_lasting_buffer(plan, bytes, &value->extra_buffer, err);
    if (status == ANX_OK)
        status = anx_dnnl_add_loop(plan, group, anx_dnnl_run_multiply, buffer, value->extra_buffer, value->buffer,
                                   bytes / sizeof(float), err);
    return status;
}

/* Dropout and flatten where their output has memory of its own. */
static anx_status lower_copy(anx_dnnl_plan *plan, int group, int index, int output, anx_error *err) {
    const anx_node *node = &plan->graph->nodes[index];
    const anx_dnnl_value *input = anx_dnnl_storage_of(plan, node->inputs[0]);
    const anx_extent *extent = anx_dnnl_extent_of(plan, input->storage);
    const bool same_rank = extent->rank == node->out.rank;
    anx_dnnl_md plain = NULL;
    dnnl_memory_t dst = NULL;
    anx_status status = same_rank ? anx_dnnl_own_value(plan, output, input->md, group, err)
                                  : anx_dnnl_own_plain_value(plan, output, group, err);
    if (status != ANX_OK) return status;
    /* Flattened elements lie as in NCHW: so the reorder sees the output as that. */
    status = anx_dnnl_check(anx_dnnl_plain_md(plan, extent, &plain), "describe a value", err);
    dst = anx_dnnl_value_of(plan, output)->memory;
    if (status == ANX_OK && !same_rank)
        status = anx_dnnl_add_memory(plan, plain, anx_dnnl_value_of(plan, output)->buffer, &dst, err);
    if (status == ANX_OK)
        status = anx_dnnl_add_reorder(plan, group, input->md, input->memory, same_rank ? input->md : plain, dst, err);
    anx_dnnl_touch(plan, input->buffer, group);
    anx_dnnl_md_destroy(plain);
    return status;
}

static anx_status lower_softmax(anx_dnnl_plan *plan, int group, int index, int output, anx_error *err) {
    const anx_node *node = &plan->graph->nodes[index];
    dnnl_memory_t src = NULL;
    anx_dnnl_step *step = NULL;
    int buffer = 0;
    anx_status status = anx_dnnl_read_value(plan, node->inputs[0], NULL, true, group, &src, &buffer, err);
    if (status == ANX_OK) status = anx_dnnl_own_plain_value(plan, output, group, err);
    if (status == ANX_OK) status = anx_dnnl_add_step(plan, group, &step, err);
    if (status != ANX_OK) return status;
    step->run = anx_dnnl_run_softmax;
    step->src_buffer = buffer;
    step->dst_buffer = anx_dnnl_value_of(plan, output)->buffer;
    step->elems = (size_t)node->in.dim[0];
    return ANX_OK;
}

/* ---- the whole ------------------------------------------------------------------------------------------ */

static anx_dnnl_lower_fn *const lowerings[ANX_OP_COUNT] = {
    [ANX_OP_CONV2D] = anx_dnnl_lower_conv,        [ANX_OP_RELU] = lower_relu,       [ANX_OP_MAX_POOL2D] = lower_pooling,
    [ANX_OP_ADAPTIVE_AVG_POOL2D] = lower_pooling, [ANX_OP_DROPOUT] = lower_copy,    [ANX_OP_FLATTEN] = lower_copy,
    [ANX_OP_LINEAR] = anx_dnnl_lower_linear,      [ANX_OP_SOFTMAX] = lower_softmax,
};

static anx_status lower_group(anx_dnnl_plan *plan, int group, anx_error *err) {
    const anx_group *g = &plan->groups[group];
    const int index = g->nodes[0], n_computed = anx_dnnl_group_has_relu(plan, group) ? 2 : 1,
              output = g->nodes[n_computed - 1];
    const anx_node *node = &plan->graph->nodes[index];
    anx_status status = ANX_OK;
    if (plan->mode == ANX_PLAN_TRAIN && anx_node_aliases_in_training(plan->graph, index)) {
        anx_dnnl_value_of(plan, index)->storage = anx_dnnl_value_of(plan, node->inputs[0])->storage;
        anx_dnnl_value_of(plan, index)->kept = true;
        return ANX_OK;
    }
    anx_dnnl_lower_fn *lower = (unsigned)node->layer->op < ANX_OP_COUNT ? lowerings[node->layer->op] : NULL;
    if (plan->mode == ANX_PLAN_TRAIN && node->layer->op == ANX_OP_DROPOUT) lower = lower_dropout;
    if (node->n_inputs != 1 || lower == NULL)
        status = anx_error_set(err, ANX_ERR_UNSUPPORTED, "the cpu device has no %s of %d inputs",
                               anx_op_name(node->layer->op), node->n_inputs);
    else
        status = lower(plan, group, index, output, err);
    if (status != ANX_OK) anx_error_in_layer(err, node->layer->name);
    /* What only passes on is another name of the same memory. */
    for (int k = n_computed; k < g->n_nodes; k++) anx_dnnl_value_of(plan, g->nodes[k])->storage = output;
    anx_dnnl_value_of(plan, g->nodes[g->n_nodes - 1])->kept = true;
    return status;
}

/* Whether a later group reads the output of `node`, the last of its own. */
static bool is_read(const anx_dnnl_plan *plan, int node) {
    for (int g = 0; g < plan->n_groups; g++)
        for (int k = 0; k < plan->groups[g].n_inputs; k++)
            if (plan->groups[g].inputs[k] == node) return true;
    return false;
}

anx_status anx_dnnl_lower(anx_dnnl_plan *plan, const bool *trained, anx_error *err) {
    const int last = anx_dnnl_time_of(plan, 0, true);
    anx_status status = anx_dnnl_choose_convolutions(plan, err);
    if (status == ANX_OK) status = anx_dnnl_own_plain_value(plan, ANX_NODE_INPUT, 0, err);
    anx_dnnl_value_of(plan, ANX_NODE_INPUT)->kept = true;
    for (int g = 0; g < plan->n_groups && status == ANX_OK; g++) status = lower_group(plan, g, err);
    if (status != ANX_OK) return status;
    /* The input stays for the next run; so do the logits, what nobody reads, and in observe plans everything. */
    for (int node = ANX_NODE_INPUT; node < plan->graph->n_nodes; node++) {
        if (!anx_dnnl_value_of(plan, node)->kept) continue;
        if (plan->mode != ANX_PLAN_INFER || node == ANX_NODE_INPUT || node == plan->graph->logits ||
            !is_read(plan, node)) {
            anx_buffer *buffer = &plan->buffers[anx_dnnl_storage_of(plan, node)->buffer];
            buffer->first = 0;
            buffer->last = last;
        }
    }
    return plan->mode == ANX_PLAN_TRAIN ? anx_dnnl_lower_backward(plan, trained, err) : ANX_OK;
}
