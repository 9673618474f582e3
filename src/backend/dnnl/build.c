#include "src/backend/dnnl/build.h"

#include <stdlib.h>
#include <string.h>

/* ---- growing lists -------------------------------------------------------------------------------------- */

/* The list with room for one more, moved where it had none; NULL where there is no memory. */
static void *grown(void *items, int count, int *capacity, size_t item_bytes) {
    if (count < *capacity) return items;
    const int wanted = *capacity > 0 ? 2 * *capacity : 32;
    void *moved = realloc(items, (size_t)wanted * item_bytes);
    if (moved != NULL) *capacity = wanted;
    return moved;
}

static anx_status no_memory(anx_error *err) {
    return anx_error_set(err, ANX_ERR_OUT_OF_MEMORY, "out of memory");
}

static anx_status add_buffer(anx_dnnl_plan *plan, size_t bytes, int first, int last, int *out, anx_error *err) {
    anx_buffer *buffers = grown(plan->buffers, plan->n_buffers, &plan->buffers_capacity, sizeof *plan->buffers);
    if (buffers == NULL) return no_memory(err);
    plan->buffers = buffers;
    plan->buffers[plan->n_buffers] = (anx_buffer){.bytes = bytes, .first = first, .last = last};
    *out = plan->n_buffers++;
    return ANX_OK;
}

anx_status anx_dnnl_add_buffer(anx_dnnl_plan *plan, size_t bytes, int group, int *out, anx_error *err) {
    const int time = anx_dnnl_time_of(plan, group, plan->lowers_backward);
    return add_buffer(plan, bytes, time, time, out, err);
}

anx_status anx_dnnl_add_lasting_buffer(anx_dnnl_plan *plan, size_t bytes, int *out, anx_error *err) {
    return add_buffer(plan, bytes, 0, anx_dnnl_time_of(plan, 0, true), out, err);
}

void anx_dnnl_touch(anx_dnnl_plan *plan, int buffer, int group) {
    const int time = anx_dnnl_time_of(plan, group, plan->lowers_backward);
    if (plan->buffers[buffer].last < time) plan->buffers[buffer].last = time;
}

anx_status anx_dnnl_add_memory(anx_dnnl_plan *plan, anx_dnnl_const_md md, int buffer, dnnl_memory_t *out,
                               anx_error *err) {
    anx_dnnl_memory *memories =
        grown(plan->memories, plan->n_memories, &plan->memories_capacity, sizeof *plan->memories);
    if (memories == NULL) return no_memory(err);
    plan->memories = memories;
    dnnl_memory_t memory = NULL;
    anx_status status = anx_dnnl_check(dnnl_memory_create(&memory, md, plan->device->engine, DNNL_MEMORY_NONE),
                                       "describe a buffer", err);
    if (status != ANX_OK) return status;
    plan->memories[plan->n_memories++] = (anx_dnnl_memory){.memory = memory, .buffer = buffer};
    *out = memory;
    return ANX_OK;
}

anx_status anx_dnnl_add_step(anx_dnnl_plan *plan, int group, anx_dnnl_step **out, anx_error *err) {
    anx_dnnl_step *steps = grown(plan->steps, plan->n_steps, &plan->steps_capacity, sizeof *plan->steps);
    if (steps == NULL) return no_memory(err);
    plan->steps = steps;
    anx_dnnl_step *step = &plan->steps[plan->n_steps++];
    memset(step, 0, sizeof *step);
    step->group = group;
    step->backward = plan->lowers_backward;
    *out = step;
    return ANX_OK;
}

void anx_dnnl_add_arg(anx_dnnl_step *step, int arg, dnnl_memory_t memory) {
    step->args[step->n_args++] = (dnnl_exec_arg_t){.arg = arg, .memory = memory};
}

/* ---- layouts -------------------------------------------------------------------------------------------- */

static int dims_of(const anx_dnnl_plan *plan, const anx_extent *extent, dnnl_dim_t dims[4]) {
    dims[0] = plan->batch;
    for (int i = 0; i < extent->rank; i++) dims[1 + i] = extent->dim[i];
    return 1 + extent->rank;
}

dnnl_status_t anx_dnnl_extent_md(const anx_dnnl_plan *plan, const anx_extent *extent, dnnl_format_tag_t tag,
                                 anx_dnnl_md *out) {
    dnnl_dim_t dims[4];
    const int rank = dims_of(plan, extent, dims);
    return anx_dnnl_md_create(out, rank, dims, tag);
}

dnnl_status_t anx_dnnl_plain_md(const anx_dnnl_plan *plan, const anx_extent *extent, anx_dnnl_md *out) {
    return anx_dnnl_extent_md(plan, extent, extent->rank == 1 ? dnnl_ab : dnnl_nchw, out);
}

/* The layouts that our own loops work on; oneDNN's convolutions prefer one of them on every x86-64 processor. */
static const struct {
    dnnl_format_tag_t tag;
    int block; /* 0: all channels */
} layouts[] = {{dnnl_nchw, 1}, {dnnl_nhwc, 0}, {dnnl_nChw16c, 16}, {dnnl_nChw8c, 8}, {dnnl_nChw4c, 4}};

anx_status anx_dnnl_tag_of(const anx_dnnl_plan *plan, const anx_extent *extent, anx_dnnl_const_md md,
                           dnnl_format_tag_t *tag, anx_error *err) {
    *tag = dnnl_format_tag_undef;
    for (size_t i = 0; i < sizeof layouts / sizeof layouts[0] && *tag == dnnl_format_tag_undef; i++) {
        anx_dnnl_md candidate = NULL;
        const anx_status status = anx_dnnl_check(anx_dnnl_extent_md(plan, extent, layouts[i].tag, &candidate),
                                                 "describe a layout to compare with", err);
        if (status != ANX_OK) return status;
        if (dnnl_memory_desc_equal(md, candidate)) *tag = layouts[i].tag;
        anx_dnnl_md_destroy(candidate);
    }
    return ANX_OK;
}

anx_dnnl_layout anx_dnnl_layout_of(const anx_extent *extent, dnnl_format_tag_t tag) {
    const int64_t c = extent->dim[0], h = extent->dim[1], w = extent->dim[2];
    int64_t block = 1;
    for (size_t i = 0; i < sizeof layouts / sizeof layouts[0]; i++)
        if (layouts[i].tag == tag) block = layouts[i].block > 0 ? layouts[i].block : c;
    const int64_t blocks = (c + block - 1) / block;
    return (anx_dnnl_layout){.channels = c,
                             .padded_channels = blocks * block,
                             .block = block,
                             .stride_n = blocks * block * h * w,
                             .stride_block = block * h * w,
                             .stride_h = block * w,
                             .stride_w = block};
}

const anx_extent *anx_dnnl_extent_of(const anx_dnnl_plan *plan, int node) {
    return anx_graph_extent(plan->graph, node);
}

anx_status anx_dnnl_tag_wanted(const anx_dnnl_plan *plan, int node, dnnl_format_tag_t *tag, anx_error *err) {
    *tag = dnnl_format_tag_undef;
    const anx_graph *graph = plan->graph;
    for (int i = node + 1; i < graph->n_nodes; i++) {
        const anx_node *reader = &graph->nodes[i];
        if (reader->n_inputs != 1 || reader->inputs[0] != node) continue;
        if (reader->layer->op == ANX_OP_CONV2D)
            return anx_dnnl_tag_of(plan, anx_dnnl_extent_of(plan, node),
                                   dnnl_primitive_desc_query_md(plan->convolutions[i].pd, dnnl_query_src_md, 0), tag,
                                   err);
        const bool passes_on = plan->mode == ANX_PLAN_INFER
                                   ? anx_node_passes_on(reader)
                                   : plan->mode == ANX_PLAN_TRAIN && anx_node_aliases_in_training(graph, i);
        if (!passes_on) return ANX_OK;
        if (reader->layer->op == ANX_OP_FLATTEN) {
            *tag = dnnl_nchw;
            return ANX_OK;
        }
        node = i;
    }
    return ANX_OK;
}

/* ---- values --------------------------------------------------------------------------------------------- */

anx_status anx_dnnl_own_value(anx_dnnl_plan *plan, int node, anx_dnnl_const_md md, int group, anx_error *err) {
    anx_dnnl_value *value = anx_dnnl_value_of(plan, node);
    anx_status status = anx_dnnl_check(anx_dnnl_md_clone(&value->md, md), "describe a value", err);
    if (status == ANX_OK) status = anx_dnnl_add_buffer(plan, dnnl_memory_desc_get_size(md), group, &value->buffer, err);
    if (status == ANX_OK) status = anx_dnnl_add_memory(plan, md, value->buffer, &value->memory, err);
    if (status != ANX_OK) return status;
    value->storage = node;
    return ANX_OK;
}

anx_status anx_dnnl_own_plain_value(anx_dnnl_plan *plan, int node, int group, anx_error *err) {
    anx_dnnl_md md = NULL;
    anx_status status =
        anx_dnnl_check(anx_dnnl_plain_md(plan, anx_dnnl_extent_of(plan, node), &md), "describe a value", err);
    if (status == ANX_OK) status = anx_dnnl_own_value(plan, node, md, group, err);
    anx_dnnl_md_destroy(md);
    return status;
}

anx_status anx_dnnl_add_reorder(anx_dnnl_plan *plan, int group, anx_dnnl_const_md src_md, dnnl_memory_t src,
                                anx_dnnl_const_md dst_md, dnnl_memory_t dst, anx_error *err) {
    dnnl_primitive_desc_t pd = NULL;
    anx_dnnl_step *step = NULL;
    anx_status status = anx_dnnl_add_step(plan, group, &step, err);
    if (status != ANX_OK) return status;
    dnnl_status_t s = dnnl_reorder_primitive_desc_create(&pd, src_md, plan->device->engine, dst_md,
                                                         plan->device->engine, plan->device->attr_own);
    if (s == dnnl_success) s = dnnl_primitive_create(&step->primitive, pd);
    if (pd != NULL) dnnl_primitive_desc_destroy(pd);
    step->run = anx_dnnl_run_primitive;
    anx_dnnl_add_arg(step, DNNL_ARG_FROM, src);
    anx_dnnl_add_arg(step, DNNL_ARG_TO, dst);
    return anx_dnnl_check(s, "set up a reorder", err);
}

anx_status anx_dnnl_as_wanted(anx_dnnl_plan *plan, int group, anx_dnnl_const_md md, anx_dnnl_const_md wanted,
                              dnnl_memory_t *memory, int *buffer, anx_error *err) {
    if (wanted == NULL || dnnl_memory_desc_equal(md, wanted)) return ANX_OK;
    const dnnl_memory_t from = *memory;
    anx_status status = anx_dnnl_add_buffer(plan, dnnl_memory_desc_get_size(wanted), group, buffer, err);
    if (status == ANX_OK) status = anx_dnnl_add_memory(plan, wanted, *buffer, memory, err);
    if (status == ANX_OK) status = anx_dnnl_add_reorder(plan, group, md, from, wanted, *memory, err);
    return status;
}

anx_status anx_dnnl_read_value(anx_dnnl_plan *plan, int node, anx_dnnl_const_md wanted, bool flat, int group,
                               dnnl_memory_t *memory, int *buffer, anx_error *err) {
    const anx_dnnl_value *value = anx_dnnl_storage_of(plan, node);
    const anx_extent *extent = anx_dnnl_extent_of(plan, value->storage);
    anx_dnnl_md plain = NULL, flat_md = NULL;
    anx_status status = ANX_OK;
    *memory = value->memory;
    *buffer = value->buffer;
    anx_dnnl_touch(plan, value->buffer, group);
    flat = flat && extent->rank == 3;
    if (flat) {
        status = anx_dnnl_check(anx_dnnl_plain_md(plan, extent, &plain), "describe a value", err);
        if (status != ANX_OK) goto out;
        wanted = plain;
    }
    status = anx_dnnl_as_wanted(plan, group, value->md, wanted, memory, buffer, err);
    if (status != ANX_OK) goto out;
    if (flat) {
        const anx_extent all = {.rank = 1, .dim = {extent->dim[0] * extent->dim[1] * extent->dim[2]}};
        status = anx_dnnl_check(anx_dnnl_plain_md(plan, &all, &flat_md), "describe a value", err);
        if (status == ANX_OK) status = anx_dnnl_add_memory(plan, flat_md, *buffer, memory, err);
    }
out:
    anx_dnnl_md_destroy(flat_md);
    anx_dnnl_md_destroy(plain);
    return status;
}

anx_status anx_dnnl_finish_primitive(anx_dnnl_plan *plan, int step_index, dnnl_primitive_desc_t pd, anx_error *err) {
    const int group = plan->steps[step_index].group;
    anx_status status =
        anx_dnnl_check(dnnl_primitive_create(&plan->steps[step_index].primitive, pd), "create a primitive", err);
    anx_dnnl_const_md md = dnnl_primitive_desc_query_md(pd, dnnl_query_scratchpad_md, 0);
    const size_t bytes = md != NULL ? dnnl_memory_desc_get_size(md) : 0;
    if (status != ANX_OK || bytes == 0) return status;
    int buffer = 0;
    dnnl_memory_t memory = NULL;
    status = anx_dnnl_add_buffer(plan, bytes, group, &buffer, err);
    if (status == ANX_OK) status = anx_dnnl_add_memory(plan, md, buffer, &memory, err);
    if (status == ANX_OK) anx_dnnl_add_arg(&plan->steps[step_index], DNNL_ARG_SCRATCHPAD, memory);
    return status;
}

anx_status anx_dnnl_add_relu(anx_dnnl_plan *plan, int group, int src_buffer, int node, anx_error *err) {
    const anx_dnnl_value *value = anx_dnnl_value_of(plan, node);
    return anx_dnnl_add_loop(plan, group, anx_dnnl_run_relu, src_buffer, -1, value->buffer,
                             dnnl_memory_desc_get_size(value->md) / sizeof(float), err);
}

anx_status anx_dnnl_add_loop(anx_dnnl_plan *plan, int group,
                             anx_status (*run)(anx_dnnl_plan *plan, anx_dnnl_step *step, anx_error *err), int src,
                             int factor, int dst, size_t elems, anx_error *err) {
    anx_dnnl_step *step = NULL;
    anx_status status = anx_dnnl_add_step(plan, group, &step, err);
    if (status != ANX_OK) return status;
    step->run = run;
    step->src_buffer = src;
    step->factor_buffer = factor;
    step->dst_buffer = dst;
    step->elems = elems;
    return ANX_OK;
}

/* ---- parameters ----------------------------------------------------------------------------------------- */

anx_status anx_dnnl_use_param(anx_dnnl_plan *plan, int index, anx_dnnl_const_md host_md, anx_dnnl_const_md md,
                              bool in_place, anx_error *err) {
    anx_dnnl_param *param = &plan->params[index];
    dnnl_status_t s = anx_dnnl_md_clone(&param->host_md, host_md);
    if (s == dnnl_success) s = anx_dnnl_md_clone(&param->md, md);
    if (s == dnnl_success) s = dnnl_memory_create(&param->memory, md, plan->device->engine, DNNL_MEMORY_NONE);
    param->in_place = in_place;
    return anx_dnnl_check(s, "describe a parameter", err);
}

anx_status anx_dnnl_use_bias(anx_dnnl_plan *plan, int index, int rank, const dnnl_dim_t *dims, anx_error *err) {
    anx_dnnl_md md = NULL;
    anx_status status =
        anx_dnnl_check(anx_dnnl_md_create(&md, rank, dims, rank == 1 ? dnnl_a : dnnl_ab), "describe a bias", err);
    if (status == ANX_OK) status = anx_dnnl_use_param(plan, index, md, md, false, err);
    anx_dnnl_md_destroy(md);
    return status;
}

bool anx_dnnl_group_has_relu(const anx_dnnl_plan *plan, int group) {
    const anx_group *g = &plan->groups[group];
    return g->n_nodes > 1 && anx_node_takes_relu(&plan->graph->nodes[g->nodes[0]], ANX_DNNL_RELU_OPS) &&
           plan->graph->nodes[g->nodes[1]].layer->op == ANX_OP_RELU;
}
