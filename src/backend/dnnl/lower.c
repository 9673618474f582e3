#include <stdlib.h>
#include <string.h>

#include "src/backend/dnnl/groups.h"
#include "src/backend/dnnl/plan.h"

/*
 * Linear layers read their weights where the checkpoint's file is mapped as long as that is about as fast as a packed
 * copy, which costs as much memory again and the time to write it. Measured on two Zen 5 cores (AlexNet's three
 * layers, oneDNN 2.6 and 3.2): up to 3 images oneDNN's inner product in place is within 5 % of packed weights; from 4
 * on only its matrix product keeps up, at two thirds of the packed speed; from 8 on the copy pays.
 */
enum { INNER_PRODUCT_MAX_BATCH = 3, IN_PLACE_MAX_BATCH = 7 };

/* oneDNN's direct kernels for a first layer read up to this many channels from plain NCHW. */
enum { PLAIN_INPUT_MAX_CHANNELS = 3 };

/* ---- growing lists -------------------------------------------------------------------------------------- */

static anx_status grow(void *list, int count, int *capacity, size_t item_bytes, anx_error *err) {
    if (count < *capacity) return ANX_OK;
    void **items = list;
    const int wanted = *capacity > 0 ? 2 * *capacity : 32;
    void *grown = realloc(*items, (size_t)wanted * item_bytes);
    if (grown == NULL) return anx_error_set(err, ANX_ERR_OUT_OF_MEMORY, "out of memory");
    *items = grown;
    *capacity = wanted;
    return ANX_OK;
}

static anx_status add_buffer(anx_dnnl_plan *plan, size_t bytes, int first, int last, int *out, anx_error *err) {
    anx_status status = grow(&plan->buffers, plan->n_buffers, &plan->buffers_capacity, sizeof *plan->buffers, err);
    if (status != ANX_OK) return status;
    plan->buffers[plan->n_buffers] = (anx_buffer){.bytes = bytes, .first = first, .last = last};
    *out = plan->n_buffers++;
    return ANX_OK;
}

/* Group `group` uses the buffer: it lives at least until then. */
static void touch(anx_dnnl_plan *plan, int buffer, int group) {
    if (plan->buffers[buffer].last < group) plan->buffers[buffer].last = group;
}

/* A memory object on a buffer, which gets its address when the buffers are placed. The plan destroys it. */
static anx_status add_memory(anx_dnnl_plan *plan, anx_dnnl_const_md md, int buffer, dnnl_memory_t *out,
                             anx_error *err) {
    anx_status status = grow(&plan->memories, plan->n_memories, &plan->memories_capacity, sizeof *plan->memories, err);
    if (status != ANX_OK) return status;
    dnnl_memory_t memory = NULL;
    status = anx_dnnl_check(dnnl_memory_create(&memory, md, plan->device->engine, DNNL_MEMORY_NONE),
                            "describe a buffer", err);
    if (status != ANX_OK) return status;
    plan->memories[plan->n_memories++] = (anx_dnnl_memory){.memory = memory, .buffer = buffer};
    *out = memory;
    return ANX_OK;
}

/* The new step is valid until the next one is added. */
static anx_status add_step(anx_dnnl_plan *plan, int group, anx_dnnl_step **out, anx_error *err) {
    anx_status status = grow(&plan->steps, plan->n_steps, &plan->steps_capacity, sizeof *plan->steps, err);
    if (status != ANX_OK) return status;
    anx_dnnl_step *step = &plan->steps[plan->n_steps++];
    memset(step, 0, sizeof *step);
    step->group = group;
    *out = step;
    return ANX_OK;
}

static void add_arg(anx_dnnl_step *step, int arg, dnnl_memory_t memory) {
    step->args[step->n_args++] = (dnnl_exec_arg_t){.arg = arg, .memory = memory};
}

/* ---- layouts -------------------------------------------------------------------------------------------- */

static int dims_of(const anx_dnnl_plan *plan, const anx_extent *extent, dnnl_dim_t dims[4]) {
    dims[0] = plan->batch;
    for (int i = 0; i < extent->rank; i++) dims[1 + i] = extent->dim[i];
    return 1 + extent->rank;
}

static dnnl_status_t extent_md(const anx_dnnl_plan *plan, const anx_extent *extent, dnnl_format_tag_t tag,
                               anx_dnnl_md *out) {
    dnnl_dim_t dims[4];
    const int rank = dims_of(plan, extent, dims);
    return anx_dnnl_md_create(out, rank, dims, tag);
}

dnnl_status_t anx_dnnl_plain_md(const anx_dnnl_plan *plan, const anx_extent *extent, anx_dnnl_md *out) {
    return extent_md(plan, extent, extent->rank == 1 ? dnnl_ab : dnnl_nchw, out);
}

/* The layouts that our own loops work on; oneDNN's convolutions prefer one of them on every x86-64 processor. */
static const struct {
    dnnl_format_tag_t tag;
    int block; /* 0: all channels */
} layouts[] = {{dnnl_nchw, 1}, {dnnl_nhwc, 0}, {dnnl_nChw16c, 16}, {dnnl_nChw8c, 8}, {dnnl_nChw4c, 4}};

/* Which of the layouts above a rank 4 descriptor has; dnnl_format_tag_undef for another. */
static dnnl_format_tag_t tag_of(const anx_dnnl_plan *plan, const anx_extent *extent, anx_dnnl_const_md md) {
    dnnl_format_tag_t found = dnnl_format_tag_undef;
    for (size_t i = 0; i < sizeof layouts / sizeof layouts[0] && found == dnnl_format_tag_undef; i++) {
        anx_dnnl_md candidate = NULL;
        if (extent_md(plan, extent, layouts[i].tag, &candidate) != dnnl_success) continue;
        if (dnnl_memory_desc_equal(md, candidate)) found = layouts[i].tag;
        anx_dnnl_md_destroy(candidate);
    }
    return found;
}

static anx_dnnl_layout layout_of(const anx_extent *extent, dnnl_format_tag_t tag) {
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

static const anx_extent *extent_of(const anx_dnnl_plan *plan, int node) {
    return anx_graph_extent(plan->graph, node);
}

/*
 * The layout that whoever reads the node's output would like best; undef where that does not matter. What is written
 * so at once need not be reordered.
 */
static dnnl_format_tag_t tag_wanted_by_reader(const anx_dnnl_plan *plan, int node) {
    const anx_graph *graph = plan->graph;
    for (int i = node + 1; i < graph->n_nodes; i++) {
        const anx_node *reader = &graph->nodes[i];
        if (reader->n_inputs != 1 || reader->inputs[0] != node) continue;
        if (reader->layer->op == ANX_OP_CONV2D)
            return tag_of(plan, extent_of(plan, node),
                          dnnl_primitive_desc_query_md(plan->convolutions[i].pd, dnnl_query_src_md, 0));
        if (plan->mode != ANX_PLAN_INFER || !anx_dnnl_passes_on(reader)) return dnnl_format_tag_undef;
        if (reader->layer->op == ANX_OP_FLATTEN) return dnnl_nchw;
        node = i;
    }
    return dnnl_format_tag_undef;
}

/* ---- values --------------------------------------------------------------------------------------------- */

/* Gives the node's output memory of its own, in the layout of md (which is copied), from group `group` on. */
static anx_status own_value(anx_dnnl_plan *plan, int node, anx_dnnl_const_md md, int group, anx_error *err) {
    anx_dnnl_value *value = anx_dnnl_value_of(plan, node);
    anx_status status = anx_dnnl_check(anx_dnnl_md_clone(&value->md, md), "describe a value", err);
    if (status == ANX_OK) status = add_buffer(plan, dnnl_memory_desc_get_size(md), group, group, &value->buffer, err);
    if (status == ANX_OK) status = add_memory(plan, md, value->buffer, &value->memory, err);
    if (status != ANX_OK) return status;
    value->storage = node;
    return ANX_OK;
}

static anx_status own_plain_value(anx_dnnl_plan *plan, int node, int group, anx_error *err) {
    anx_dnnl_md md = NULL;
    anx_status status = anx_dnnl_check(anx_dnnl_plain_md(plan, extent_of(plan, node), &md), "describe a value", err);
    if (status == ANX_OK) status = own_value(plan, node, md, group, err);
    anx_dnnl_md_destroy(md);
    return status;
}

/* A reorder in `group` from one memory to another. */
static anx_status add_reorder(anx_dnnl_plan *plan, int group, anx_dnnl_const_md src_md, dnnl_memory_t src,
                              anx_dnnl_const_md dst_md, dnnl_memory_t dst, anx_error *err) {
    dnnl_primitive_desc_t pd = NULL;
    anx_dnnl_step *step = NULL;
    anx_status status = add_step(plan, group, &step, err);
    if (status != ANX_OK) return status;
    dnnl_status_t s = dnnl_reorder_primitive_desc_create(&pd, src_md, plan->device->engine, dst_md,
                                                         plan->device->engine, plan->device->attr_own);
    if (s == dnnl_success) s = dnnl_primitive_create(&step->primitive, pd);
    if (pd != NULL) dnnl_primitive_desc_destroy(pd);
    step->run = anx_dnnl_run_primitive;
    add_arg(step, DNNL_ARG_FROM, src);
    add_arg(step, DNNL_ARG_TO, dst);
    return anx_dnnl_check(s, "set up a reorder", err);
}

/*
 * The output of `node` as `group` wants it: as wanted (NULL: as it lies), or, with flat, as (N, F) in the order of
 * NCHW. Adds a reorder into a temporary buffer where it lies otherwise.
 */
static anx_status read_value(anx_dnnl_plan *plan, int node, anx_dnnl_const_md wanted, bool flat, int group,
                             dnnl_memory_t *memory, int *buffer, anx_error *err) {
    const anx_dnnl_value *value = anx_dnnl_storage_of(plan, node);
    const anx_extent *extent = extent_of(plan, value->storage);
    anx_dnnl_md plain = NULL, flat_md = NULL;
    anx_status status = ANX_OK;
    *memory = value->memory;
    *buffer = value->buffer;
    touch(plan, value->buffer, group);
    flat = flat && extent->rank == 3;
    if (flat) {
        status = anx_dnnl_check(anx_dnnl_plain_md(plan, extent, &plain), "describe a value", err);
        if (status != ANX_OK) goto out;
        wanted = plain;
    }
    if (wanted != NULL && !dnnl_memory_desc_equal(value->md, wanted)) {
        status = add_buffer(plan, dnnl_memory_desc_get_size(wanted), group, group, buffer, err);
        if (status == ANX_OK) status = add_memory(plan, wanted, *buffer, memory, err);
        if (status == ANX_OK) status = add_reorder(plan, group, value->md, value->memory, wanted, *memory, err);
        if (status != ANX_OK) goto out;
    }
    if (flat) {
        const anx_extent all = {.rank = 1, .dim = {extent->dim[0] * extent->dim[1] * extent->dim[2]}};
        status = anx_dnnl_check(anx_dnnl_plain_md(plan, &all, &flat_md), "describe a value", err);
        if (status == ANX_OK) status = add_memory(plan, flat_md, *buffer, memory, err);
    }
out:
    anx_dnnl_md_destroy(flat_md);
    anx_dnnl_md_destroy(plain);
    return status;
}

/* Creates the step's primitive and gives it the scratchpad that it asks for. */
static anx_status finish_primitive(anx_dnnl_plan *plan, int step_index, dnnl_primitive_desc_t pd, anx_error *err) {
    const int group = plan->steps[step_index].group;
    anx_status status =
        anx_dnnl_check(dnnl_primitive_create(&plan->steps[step_index].primitive, pd), "create a primitive", err);
    anx_dnnl_const_md md = dnnl_primitive_desc_query_md(pd, dnnl_query_scratchpad_md, 0);
    const size_t bytes = md != NULL ? dnnl_memory_desc_get_size(md) : 0;
    if (status != ANX_OK || bytes == 0) return status;
    int buffer = 0;
    dnnl_memory_t memory = NULL;
    status = add_buffer(plan, bytes, group, group, &buffer, err);
    if (status == ANX_OK) status = add_memory(plan, md, buffer, &memory, err);
    if (status == ANX_OK) add_arg(&plan->steps[step_index], DNNL_ARG_SCRATCHPAD, memory);
    return status;
}

/* An exact ReLU in `group` from a buffer into the memory of the node's output; they may be the same. */
static anx_status add_relu(anx_dnnl_plan *plan, int group, int src_buffer, int node, anx_error *err) {
    const anx_dnnl_value *value = anx_dnnl_value_of(plan, node);
    anx_dnnl_step *step = NULL;
    anx_status status = add_step(plan, group, &step, err);
    if (status != ANX_OK) return status;
    step->run = anx_dnnl_run_relu;
    step->src_buffer = src_buffer;
    step->dst_buffer = value->buffer;
    step->elems = dnnl_memory_desc_get_size(value->md) / sizeof(float);
    return ANX_OK;
}

/* ---- parameters ----------------------------------------------------------------------------------------- */

/* The parameter's memory object, without an address until params.c gives it one. */
static anx_status use_param(anx_dnnl_plan *plan, int index, anx_dnnl_const_md host_md, anx_dnnl_const_md md,
                            bool in_place, anx_error *err) {
    anx_dnnl_param *param = &plan->params[index];
    dnnl_status_t s = anx_dnnl_md_clone(&param->host_md, host_md);
    if (s == dnnl_success) s = anx_dnnl_md_clone(&param->md, md);
    if (s == dnnl_success) s = dnnl_memory_create(&param->memory, md, plan->device->engine, DNNL_MEMORY_NONE);
    param->in_place = in_place;
    return anx_dnnl_check(s, "describe a parameter", err);
}

static anx_status use_bias(anx_dnnl_plan *plan, int index, int rank, const dnnl_dim_t *dims, anx_error *err) {
    anx_dnnl_md md = NULL;
    anx_status status =
        anx_dnnl_check(anx_dnnl_md_create(&md, rank, dims, rank == 1 ? dnnl_a : dnnl_ab), "describe a bias", err);
    if (status == ANX_OK) status = use_param(plan, index, md, md, false, err);
    anx_dnnl_md_destroy(md);
    return status;
}

/* ---- convolution ---------------------------------------------------------------------------------------- */

static dnnl_status_t conv_weights_md(const anx_node *node, dnnl_format_tag_t plain_or_any, anx_dnnl_md *out) {
    const anx_conv2d_params *conv = &node->conv;
    const dnnl_dim_t dims[5] = {conv->groups, conv->out_channels / conv->groups, node->in.dim[0] / conv->groups,
                                conv->kernel_h, conv->kernel_w};
    const bool grouped = conv->groups > 1;
    dnnl_format_tag_t tag = plain_or_any;
    if (tag != dnnl_format_tag_any) tag = grouped ? dnnl_goihw : dnnl_oihw;
    return grouped ? anx_dnnl_md_create(out, 5, dims, tag) : anx_dnnl_md_create(out, 4, dims + 1, tag);
}

/* The node's convolution between given layouts. */
static dnnl_status_t convolution_pd(const anx_dnnl_plan *plan, const anx_node *node, anx_dnnl_const_md src,
                                    anx_dnnl_const_md weights, anx_dnnl_const_md dst, const_dnnl_primitive_attr_t attr,
                                    dnnl_primitive_desc_t *out) {
    const anx_conv2d_params *conv = &node->conv;
    const dnnl_dim_t strides[] = {conv->stride_h, conv->stride_w}, pad[] = {conv->pad_h, conv->pad_w},
                     dilation[] = {conv->dilation_h - 1, conv->dilation_w - 1}, channels[] = {conv->out_channels};
    anx_dnnl_md bias = NULL;
    dnnl_status_t s = node->bias != ANX_NO_PARAM ? anx_dnnl_md_create(&bias, 1, channels, dnnl_a) : dnnl_success;
    if (s == dnnl_success)
        s = anx_dnnl_convolution_pd(out, plan->device->engine, src, weights, bias, dst, strides, dilation, pad, pad,
                                    attr);
    anx_dnnl_md_destroy(bias);
    return s;
}

/* The node's convolution between layouts that oneDNN chooses, but for the input's where src_tag is one. */
static dnnl_status_t choose_convolution(const anx_dnnl_plan *plan, const anx_node *node, bool relu,
                                        dnnl_format_tag_t src_tag, dnnl_primitive_desc_t *out) {
    anx_dnnl_md src = NULL, weights = NULL, dst = NULL;
    dnnl_status_t s = extent_md(plan, &node->in, src_tag, &src);
    if (s == dnnl_success) s = conv_weights_md(node, dnnl_format_tag_any, &weights);
    if (s == dnnl_success) s = extent_md(plan, &node->out, dnnl_format_tag_any, &dst);
    if (s == dnnl_success)
        s = convolution_pd(plan, node, src, weights, dst, relu ? plan->device->attr_relu : plan->device->attr, out);
    anx_dnnl_md_destroy(dst);
    anx_dnnl_md_destroy(weights);
    anx_dnnl_md_destroy(src);
    return s;
}

anx_status anx_dnnl_create_unfused(const anx_dnnl_plan *plan, anx_dnnl_step *step, anx_error *err) {
    dnnl_primitive_desc_t pd = NULL;
    dnnl_status_t s = convolution_pd(
        plan, &plan->graph->nodes[step->node], dnnl_primitive_desc_query_md(step->guarded, dnnl_query_src_md, 0),
        dnnl_primitive_desc_query_md(step->guarded, dnnl_query_weights_md, 0),
        dnnl_primitive_desc_query_md(step->guarded, dnnl_query_dst_md, 0), plan->device->attr_own, &pd);
    if (s == dnnl_success) s = dnnl_primitive_create(&step->unfused, pd);
    if (pd != NULL) dnnl_primitive_desc_destroy(pd);
    return anx_dnnl_check(s, "create a convolution", err);
}

/* Whether the group is a convolution or linear layer with the ReLU behind it. */
static bool group_has_relu(const anx_dnnl_plan *plan, int group) {
    const anx_group *g = &plan->groups[group];
    return g->n_nodes > 1 && anx_dnnl_takes_relu(&plan->graph->nodes[g->nodes[0]]) &&
           plan->graph->nodes[g->nodes[1]].layer->op == ANX_OP_RELU;
}

/*
 * oneDNN's generated kernels end in max(x, 0). Its plain loops (for odd grouped channels, say) multiply negative values
 * by 0 instead, which gives -0: there the ReLU is better left to our own loop.
 */
static bool is_generated_code(const_dnnl_primitive_desc_t pd) {
    const char *name = NULL;
    if (dnnl_primitive_desc_query(pd, dnnl_query_impl_info_str, 0, &name) != dnnl_success || name == NULL) return false;
    return strncmp(name, "jit", 3) == 0 || strncmp(name, "brg", 3) == 0;
}

static dnnl_status_t choose_layouts(anx_dnnl_plan *plan, int index, bool relu) {
    const anx_node *node = &plan->graph->nodes[index];
    anx_dnnl_convolution *conv = &plan->convolutions[index];
    const bool plain =
        node->inputs[0] == ANX_NODE_INPUT && node->conv.groups == 1 && node->in.dim[0] <= PLAIN_INPUT_MAX_CHANNELS;
    dnnl_status_t s = choose_convolution(plan, node, relu, plain ? dnnl_nchw : dnnl_format_tag_any, &conv->pd);
    if (s == dnnl_unimplemented && plain) s = choose_convolution(plan, node, relu, dnnl_format_tag_any, &conv->pd);
    if (s == dnnl_success && relu && !is_generated_code(conv->pd)) {
        dnnl_primitive_desc_destroy(conv->pd);
        conv->pd = NULL;
        return choose_layouts(plan, index, false);
    }
    conv->relu = relu;
    return s;
}

/* Lets oneDNN choose every convolution's layouts before anything is laid out. */
static anx_status choose_convolutions(anx_dnnl_plan *plan, anx_error *err) {
    for (int g = 0; g < plan->n_groups; g++) {
        for (int k = 0; k < plan->groups[g].n_nodes; k++) {
            const int index = plan->groups[g].nodes[k];
            const anx_layer *layer = plan->graph->nodes[index].layer;
            if (layer->op != ANX_OP_CONV2D) continue;
            anx_status status =
                anx_dnnl_check(choose_layouts(plan, index, group_has_relu(plan, g)), "describe a convolution", err);
            if (status != ANX_OK) {
                anx_error_in_layer(err, layer->name);
                return status;
            }
        }
    }
    return ANX_OK;
}

static anx_status lower_conv(anx_dnnl_plan *plan, int group, int index, int output, anx_error *err) {
    const anx_node *node = &plan->graph->nodes[index];
    const dnnl_primitive_desc_t pd = plan->convolutions[index].pd;
    const bool relu = plan->convolutions[index].relu;
    anx_dnnl_md host_md = NULL;
    dnnl_memory_t src = NULL;
    int buffer = 0;
    anx_status status = read_value(plan, node->inputs[0], dnnl_primitive_desc_query_md(pd, dnnl_query_src_md, 0), false,
                                   group, &src, &buffer, err);
    if (status == ANX_OK)
        status = own_value(plan, output, dnnl_primitive_desc_query_md(pd, dnnl_query_dst_md, 0), group, err);
    if (status == ANX_OK)
        status = anx_dnnl_check(conv_weights_md(node, dnnl_oihw, &host_md), "describe a parameter", err);
    if (status == ANX_OK)
        status = use_param(plan, node->weight, host_md, dnnl_primitive_desc_query_md(pd, dnnl_query_weights_md, 0),
                           false, err);
    anx_dnnl_md_destroy(host_md);
    const dnnl_dim_t channels[] = {node->conv.out_channels};
    if (status == ANX_OK && node->bias != ANX_NO_PARAM) status = use_bias(plan, node->bias, 1, channels, err);
    anx_dnnl_step *step = NULL;
    if (status == ANX_OK) status = add_step(plan, group, &step, err);
    if (status != ANX_OK) return status;
    step->run = relu ? anx_dnnl_run_guarded : anx_dnnl_run_primitive;
    add_arg(step, DNNL_ARG_SRC, src);
    add_arg(step, DNNL_ARG_WEIGHTS, plan->params[node->weight].memory);
    if (node->bias != ANX_NO_PARAM) add_arg(step, DNNL_ARG_BIAS, plan->params[node->bias].memory);
    add_arg(step, DNNL_ARG_DST, anx_dnnl_value_of(plan, output)->memory);
    if (relu) {
        step->dst_buffer = anx_dnnl_value_of(plan, output)->buffer;
        step->elems = dnnl_memory_desc_get_size(anx_dnnl_value_of(plan, output)->md) / sizeof(float);
        step->node = index;
        step->guarded = pd;
        plan->convolutions[index].pd = NULL; /* the step's from here on */
    }
    status = finish_primitive(plan, plan->n_steps - 1, pd, err);
    if (status == ANX_OK && !relu && group_has_relu(plan, group))
        status = add_relu(plan, group, anx_dnnl_value_of(plan, output)->buffer, output, err);
    return status;
}

/* ---- everything else ------------------------------------------------------------------------------------ */

static anx_status lower_relu(anx_dnnl_plan *plan, int group, int index, int output, anx_error *err) {
    dnnl_memory_t src = NULL;
    int buffer = 0;
    const bool flat = plan->graph->nodes[index].in.rank == 1;
    anx_status status = read_value(plan, plan->graph->nodes[index].inputs[0], NULL, flat, group, &src, &buffer, err);
    if (status != ANX_OK) return status;
    if (flat)
        status = own_plain_value(plan, output, group, err);
    else
        status =
            own_value(plan, output, anx_dnnl_storage_of(plan, plan->graph->nodes[index].inputs[0])->md, group, err);
    return status != ANX_OK ? status : add_relu(plan, group, buffer, output, err);
}

static anx_status lower_pooling(anx_dnnl_plan *plan, int group, int index, int output, anx_error *err) {
    const anx_node *node = &plan->graph->nodes[index];
    const anx_pool2d_params *pool = &node->layer->u.pool;
    const bool adaptive = node->layer->op == ANX_OP_ADAPTIVE_AVG_POOL2D;
    anx_dnnl_md plain = NULL, dst_md = NULL;
    dnnl_memory_t src = NULL;
    int buffer = 0;
    dnnl_format_tag_t src_tag = tag_of(plan, &node->in, anx_dnnl_storage_of(plan, node->inputs[0])->md);
    anx_status status = anx_dnnl_check(anx_dnnl_plain_md(plan, &node->in, &plain), "describe a value", err);
    if (status == ANX_OK)
        status = read_value(plan, node->inputs[0], src_tag == dnnl_format_tag_undef ? plain : NULL, false, group, &src,
                            &buffer, err);
    if (src_tag == dnnl_format_tag_undef) src_tag = dnnl_nchw;
    dnnl_format_tag_t dst_tag = tag_wanted_by_reader(plan, output);
    if (dst_tag == dnnl_format_tag_undef) dst_tag = src_tag;
    if (status == ANX_OK)
        status = anx_dnnl_check(extent_md(plan, &node->out, dst_tag, &dst_md), "describe a value", err);
    if (status == ANX_OK) status = own_value(plan, output, dst_md, group, err);
    anx_dnnl_step *step = NULL;
    if (status == ANX_OK) status = add_step(plan, group, &step, err);
    anx_dnnl_md_destroy(dst_md);
    anx_dnnl_md_destroy(plain);
    if (status != ANX_OK) return status;
    step->run = anx_dnnl_run_pooling;
    step->src_buffer = buffer;
    step->dst_buffer = anx_dnnl_value_of(plan, output)->buffer;
    step->pooling = (anx_dnnl_pooling){.src = layout_of(&node->in, src_tag),
                                       .dst = layout_of(&node->out, dst_tag),
                                       .batch = plan->batch,
                                       .in_h = node->in.dim[1],
                                       .in_w = node->in.dim[2],
                                       .out_h = node->out.dim[1],
                                       .out_w = node->out.dim[2],
                                       .isa = anx_dnnl_best_isa(),
                                       .adaptive = adaptive};
    if (!adaptive) {
        step->pooling.kernel_h = pool->kernel_h;
        step->pooling.kernel_w = pool->kernel_w;
        step->pooling.stride_h = pool->stride_h;
        step->pooling.stride_w = pool->stride_w;
        step->pooling.pad_h = pool->pad_h;
        step->pooling.pad_w = pool->pad_w;
    }
    return ANX_OK;
}

/* Dropout and flatten where their output has memory of its own. */
static anx_status lower_copy(anx_dnnl_plan *plan, int group, int index, int output, anx_error *err) {
    const anx_node *node = &plan->graph->nodes[index];
    const anx_dnnl_value *input = anx_dnnl_storage_of(plan, node->inputs[0]);
    const anx_extent *extent = extent_of(plan, input->storage);
    const bool same_rank = extent->rank == node->out.rank;
    anx_dnnl_md plain = NULL;
    dnnl_memory_t dst = NULL;
    anx_status status =
        same_rank ? own_value(plan, output, input->md, group, err) : own_plain_value(plan, output, group, err);
    if (status != ANX_OK) return status;
    /* Flattened elements lie as in NCHW: so the reorder sees the output as that. */
    status = anx_dnnl_check(anx_dnnl_plain_md(plan, extent, &plain), "describe a value", err);
    dst = anx_dnnl_value_of(plan, output)->memory;
    if (status == ANX_OK && !same_rank)
        status = add_memory(plan, plain, anx_dnnl_value_of(plan, output)->buffer, &dst, err);
    if (status == ANX_OK)
        status = add_reorder(plan, group, input->md, input->memory, same_rank ? input->md : plain, dst, err);
    touch(plan, input->buffer, group);
    anx_dnnl_md_destroy(plain);
    return status;
}

static anx_status lower_linear(anx_dnnl_plan *plan, int group, int index, int output, anx_error *err) {
    const anx_node *node = &plan->graph->nodes[index];
    const bool inner_product = plan->batch <= INNER_PRODUCT_MAX_BATCH, in_place = plan->batch <= IN_PLACE_MAX_BATCH;
    const dnnl_dim_t in = node->in.dim[0], out = node->out.dim[0];
    const dnnl_dim_t src_dims[] = {plan->batch, in}, dst_dims[] = {plan->batch, out}, bias_dims[] = {1, out},
                     weights_dims[] = {inner_product ? out : in, inner_product ? in : out};
    /* PyTorch's (out, in) is what the inner product takes, and a matrix product takes as a transposed (in, out). */
    const dnnl_format_tag_t host_tag = inner_product ? dnnl_ab : dnnl_ba;
    const int bias_rank = inner_product ? 1 : 2;
    const bool has_bias = node->bias != ANX_NO_PARAM;
    anx_dnnl_md src_md = NULL, dst_md = NULL, bias_md = NULL, host_md = NULL, weights_md = NULL;
    dnnl_primitive_desc_t pd = NULL;
    dnnl_memory_t src = NULL;
    anx_dnnl_step *step = NULL;
    int buffer = 0;
    dnnl_status_t s = anx_dnnl_md_create(&src_md, 2, src_dims, dnnl_ab);
    if (s == dnnl_success) s = anx_dnnl_md_create(&dst_md, 2, dst_dims, dnnl_ab);
    if (s == dnnl_success && has_bias)
        s = anx_dnnl_md_create(&bias_md, bias_rank, bias_rank == 1 ? bias_dims + 1 : bias_dims,
                               bias_rank == 1 ? dnnl_a : dnnl_ab);
    if (s == dnnl_success) s = anx_dnnl_md_create(&host_md, 2, weights_dims, host_tag);
    if (s == dnnl_success)
        s = anx_dnnl_md_create(&weights_md, 2, weights_dims, in_place ? host_tag : dnnl_format_tag_any);
    if (s == dnnl_success)
        s = (inner_product ? anx_dnnl_inner_product_pd : anx_dnnl_matmul_pd)(
            &pd, plan->device->engine, src_md, weights_md, bias_md, dst_md, plan->device->attr);
    anx_status status = anx_dnnl_check(s, "describe a linear layer", err);
    if (status == ANX_OK) status = read_value(plan, node->inputs[0], src_md, true, group, &src, &buffer, err);
    if (status == ANX_OK) status = own_plain_value(plan, output, group, err);
    if (status == ANX_OK)
        status = use_param(plan, node->weight, host_md, dnnl_primitive_desc_query_md(pd, dnnl_query_weights_md, 0),
                           in_place, err);
    if (status == ANX_OK && has_bias)
        status = use_bias(plan, node->bias, bias_rank, bias_rank == 1 ? bias_dims + 1 : bias_dims, err);
    if (status == ANX_OK) status = add_step(plan, group, &step, err);
    if (status == ANX_OK) {
        step->run = anx_dnnl_run_primitive;
        add_arg(step, DNNL_ARG_SRC, src);
        add_arg(step, DNNL_ARG_WEIGHTS, plan->params[node->weight].memory);
        if (has_bias) add_arg(step, DNNL_ARG_BIAS, plan->params[node->bias].memory);
        add_arg(step, DNNL_ARG_DST, anx_dnnl_value_of(plan, output)->memory);
        status = finish_primitive(plan, plan->n_steps - 1, pd, err);
    }
    /* Not as oneDNN's post-op, which turns NaN into 0: here the output is so small that a pass costs nothing. */
    if (status == ANX_OK && group_has_relu(plan, group))
        status = add_relu(plan, group, anx_dnnl_value_of(plan, output)->buffer, output, err);
    if (pd != NULL) dnnl_primitive_desc_destroy(pd);
    anx_dnnl_md_destroy(weights_md);
    anx_dnnl_md_destroy(host_md);
    anx_dnnl_md_destroy(bias_md);
    anx_dnnl_md_destroy(dst_md);
    anx_dnnl_md_destroy(src_md);
    return status;
}

static anx_status lower_softmax(anx_dnnl_plan *plan, int group, int index, int output, anx_error *err) {
    const anx_node *node = &plan->graph->nodes[index];
    anx_dnnl_md md = NULL;
    dnnl_primitive_desc_t pd = NULL;
    dnnl_memory_t src = NULL;
    anx_dnnl_step *step = NULL;
    int buffer = 0;
    anx_status status = anx_dnnl_check(anx_dnnl_plain_md(plan, &node->in, &md), "describe a value", err);
    if (status == ANX_OK) status = read_value(plan, node->inputs[0], md, true, group, &src, &buffer, err);
    if (status == ANX_OK) status = own_plain_value(plan, output, group, err);
    if (status == ANX_OK)
        status = anx_dnnl_check(anx_dnnl_softmax_pd(&pd, plan->device->engine, md, md, 1, plan->device->attr),
                                "describe a softmax", err);
    if (status == ANX_OK) status = add_step(plan, group, &step, err);
    if (status == ANX_OK) {
        step->run = anx_dnnl_run_primitive;
        add_arg(step, DNNL_ARG_SRC, src);
        add_arg(step, DNNL_ARG_DST, anx_dnnl_value_of(plan, output)->memory);
        status = finish_primitive(plan, plan->n_steps - 1, pd, err);
    }
    if (pd != NULL) dnnl_primitive_desc_destroy(pd);
    anx_dnnl_md_destroy(md);
    return status;
}

/* ---- the whole ------------------------------------------------------------------------------------------ */

/* Steps of `group` that compute node `index` (with a ReLU behind it) into the value of node `output`. */
typedef anx_status lower_fn(anx_dnnl_plan *plan, int group, int index, int output, anx_error *err);

static lower_fn *const lowerings[ANX_OP_COUNT] = {
    [ANX_OP_CONV2D] = lower_conv,        [ANX_OP_RELU] = lower_relu,
    [ANX_OP_MAX_POOL2D] = lower_pooling, [ANX_OP_ADAPTIVE_AVG_POOL2D] = lower_pooling,
    [ANX_OP_DROPOUT] = lower_copy,       [ANX_OP_FLATTEN] = lower_copy,
    [ANX_OP_LINEAR] = lower_linear,      [ANX_OP_SOFTMAX] = lower_softmax,
};

static anx_status lower_group(anx_dnnl_plan *plan, int group, anx_error *err) {
    const anx_group *g = &plan->groups[group];
    const int index = g->nodes[0], n_computed = group_has_relu(plan, group) ? 2 : 1, output = g->nodes[n_computed - 1];
    const anx_node *node = &plan->graph->nodes[index];
    anx_status status = ANX_OK;
    lower_fn *lower = (unsigned)node->layer->op < ANX_OP_COUNT ? lowerings[node->layer->op] : NULL;
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

anx_status anx_dnnl_lower(anx_dnnl_plan *plan, anx_error *err) {
    const int last = plan->n_groups - 1;
    anx_status status = choose_convolutions(plan, err);
    if (status == ANX_OK) status = own_plain_value(plan, ANX_NODE_INPUT, 0, err);
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
    return ANX_OK;
}
