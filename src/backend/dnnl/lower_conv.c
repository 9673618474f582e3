#include <string.h>

#include "src/backend/dnnl/build.h"

/* oneDNN's direct kernels for a first layer read up to this many channels from plain NCHW. */
enum { PLAIN_INPUT_MAX_CHANNELS = 3 };

dnnl_status_t anx_dnnl_conv_weights_md(const anx_node *node, dnnl_format_tag_t plain_or_any, anx_dnnl_md *out) {
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
    dnnl_status_t s = anx_dnnl_extent_md(plan, &node->in, src_tag, &src);
    if (s == dnnl_success) s = anx_dnnl_conv_weights_md(node, dnnl_format_tag_any, &weights);
    if (s == dnnl_success) s = anx_dnnl_extent_md(plan, &node->out, dnnl_format_tag_any, &dst);
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

bool anx_dnnl_is_generated_code(const_dnnl_primitive_desc_t pd) {
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
    /*
     * oneDNN's generated kernels end in max(x, 0). Its plain loops (for odd grouped channels, say) multiply negative
     * values by 0 instead, which gives -0: there the ReLU is better left to our own loop.
     */
    if (s == dnnl_success && relu && !anx_dnnl_is_generated_code(conv->pd)) {
        dnnl_primitive_desc_destroy(conv->pd);
        conv->pd = NULL;
        return choose_layouts(plan, index, false);
    }
    conv->relu = relu;
    return s;
}

anx_status anx_dnnl_choose_convolutions(anx_dnnl_plan *plan, anx_error *err) {
    for (int g = 0; g < plan->n_groups; g++) {
        for (int k = 0; k < plan->groups[g].n_nodes; k++) {
            const int index = plan->groups[g].nodes[k];
            const anx_layer *layer = plan->graph->nodes[index].layer;
            if (layer->op != ANX_OP_CONV2D) continue;
            anx_status status = anx_dnnl_check(choose_layouts(plan, index, anx_dnnl_group_has_relu(plan, g)),
                                               "describe a convolution", err);
            if (status != ANX_OK) {
                anx_error_in_layer(err, layer->name);
                return status;
            }
        }
    }
    return ANX_OK;
}

anx_status anx_dnnl_lower_conv(anx_dnnl_plan *plan, int group, int index, int output, anx_error *err) {
    const anx_node *node = &plan->graph->nodes[index];
    const dnnl_primitive_desc_t pd = plan->convolutions[index].pd;
    const bool relu = plan->convolutions[index].relu;
    anx_dnnl_md host_md = NULL;
    dnnl_memory_t src = NULL;
    int buffer = 0;
    anx_status status =
        anx_dnnl_read_value(plan, node->inputs[0], dnnl_primitive_desc_query_md(pd, dnnl_query_src_md, 0), false, group,
                            &src, &buffer, err);
    if (status == ANX_OK)
        status = anx_dnnl_own_value(plan, output, dnnl_primitive_desc_query_md(pd, dnnl_query_dst_md, 0), group, err);
    if (status == ANX_OK)
        status = anx_dnnl_check(anx_dnnl_conv_weights_md(node, dnnl_oihw, &host_md), "describe a parameter", err);
    if (status == ANX_OK)
        status = anx_dnnl_use_param(plan, node->weight, host_md,
                                    dnnl_primitive_desc_query_md(pd, dnnl_query_weights_md, 0), false, err);
    anx_dnnl_md_destroy(host_md);
    const dnnl_dim_t channels[] = {node->conv.out_channels};
    if (status == ANX_OK && node->bias != ANX_NO_PARAM) status = anx_dnnl_use_bias(plan, node->bias, 1, channels, err);
    anx_dnnl_step *step = NULL;
    if (status == ANX_OK) status = anx_dnnl_add_step(plan, group, &step, err);
    if (status != ANX_OK) return status;
    step->run = relu ? anx_dnnl_run_guarded : anx_dnnl_run_primitive;
    anx_dnnl_add_arg(step, DNNL_ARG_SRC, src);
    anx_dnnl_add_arg(step, DNNL_ARG_WEIGHTS, plan->params[node->weight].memory);
    if (node->bias != ANX_NO_PARAM) anx_dnnl_add_arg(step, DNNL_ARG_BIAS, plan->params[node->bias].memory);
    anx_dnnl_add_arg(step, DNNL_ARG_DST, anx_dnnl_value_of(plan, output)->memory);
    if (relu) {
        step->dst_buffer = anx_dnnl_value_of(plan, output)->buffer;
        step->elems = dnnl_memory_desc_get_size(anx_dnnl_value_of(plan, output)->md) / sizeof(float);
        step->node = index;
        step->guarded = pd;
        plan->convolutions[index].pd = NULL; /* the step's from here on */
    }
    status = anx_dnnl_finish_primitive(plan, plan->n_steps - 1, pd, err);
    if (status == ANX_OK && !relu && anx_dnnl_group_has_relu(plan, group))
        status = anx_dnnl_add_relu(plan, group, anx_dnnl_value_of(plan, output)->buffer, output, err);
    return status;
}
