#include "src/backend/dnnl/build.h"

/* What is common to both gradients of a convolution: its shape, in layouts that oneDNN may choose. */
typedef struct conv_shape {
    anx_dnnl_md src, weights, bias, dst;
    dnnl_dim_t strides[2], dilation[2], pad[2];
} conv_shape;

static void shape_fini(conv_shape *s) {
    anx_dnnl_md_destroy(s->dst);
    anx_dnnl_md_destroy(s->bias);
    anx_dnnl_md_destroy(s->weights);
    anx_dnnl_md_destroy(s->src);
}

static dnnl_status_t shape_init(conv_shape *out, const anx_dnnl_plan *plan, const anx_node *node,
                                dnnl_format_tag_t src_tag, dnnl_format_tag_t dst_tag, bool has_bias) {
    const anx_conv2d_params *conv = &node->conv;
    const dnnl_dim_t channels[] = {conv->out_channels};
    *out = (conv_shape){.strides = {conv->stride_h, conv->stride_w},
                        .dilation = {conv->dilation_h - 1, conv->dilation_w - 1},
                        .pad = {conv->pad_h, conv->pad_w}};
    dnnl_status_t s = anx_dnnl_extent_md(plan, &node->in, src_tag, &out->src);
    if (s == dnnl_success) s = anx_dnnl_conv_weights_md(node, dnnl_format_tag_any, &out->weights);
    if (s == dnnl_success && has_bias) s = anx_dnnl_md_create(&out->bias, 1, channels, dnnl_a);
    if (s == dnnl_success) s = anx_dnnl_extent_md(plan, &node->out, dst_tag, &out->dst);
    if (s != dnnl_success) shape_fini(out);
    return s;
}

static dnnl_status_t weights_pd(const anx_dnnl_plan *plan, const anx_node *node, dnnl_format_tag_t src_tag,
                                dnnl_format_tag_t dst_tag, dnnl_primitive_desc_t *out) {
    conv_shape shape;
    dnnl_status_t s = shape_init(&shape, plan, node, src_tag, dst_tag, node->bias != ANX_NO_PARAM);
    if (s != dnnl_success) return s;
    s = anx_dnnl_convolution_backward_weights_pd(out, plan->device->engine, shape.src, shape.weights, shape.bias,
                                                 shape.dst, shape.strides, shape.dilation, shape.pad, shape.pad,
                                                 plan->device->attr);
    shape_fini(&shape);
    return s;
}

static dnnl_status_t data_pd(const anx_dnnl_plan *plan, const anx_node *node, dnnl_primitive_desc_t *out) {
    conv_shape shape;
    dnnl_status_t s = shape_init(&shape, plan, node, dnnl_format_tag_any, dnnl_format_tag_any, false);
    if (s != dnnl_success) return s;
    s = anx_dnnl_convolution_backward_data_pd(out, plan->device->engine, shape.src, shape.weights, shape.dst,
                                              shape.strides, shape.dilation, shape.pad, shape.pad, plan->device->attr);
    shape_fini(&shape);
    return s;
}

/*
 * The gradient by the weights, from input and output as they lie if oneDNN has a generated kernel for that: on
 * AVX-512 it prefers blocks of channels, but reads channels side by side as fast (on Zen 4) or faster, and what would
 * have to be reordered is large. A first layer's input it reads plain. Otherwise from whatever it likes.
 */
static anx_status choose_weights(const anx_dnnl_plan *plan, const anx_node *node, anx_dnnl_const_md dst_md,
                                 dnnl_primitive_desc_t *out, anx_error *err) {
    dnnl_format_tag_t src_tag = dnnl_format_tag_undef, dst_tag = dnnl_format_tag_undef;
    dnnl_primitive_desc_t pd = NULL;
    dnnl_status_t s = dnnl_unimplemented;
    anx_status status = anx_dnnl_tag_of(plan, &node->in, anx_dnnl_storage_of(plan, node->inputs[0])->md, &src_tag, err);
    if (status == ANX_OK) status = anx_dnnl_tag_of(plan, &node->out, dst_md, &dst_tag, err);
    if (status != ANX_OK) return status;
    if (src_tag != dnnl_format_tag_undef && dst_tag != dnnl_format_tag_undef)
        s = weights_pd(plan, node, src_tag, dst_tag, &pd);
    if (s == dnnl_success && !anx_dnnl_is_generated_code(pd)) {
        dnnl_primitive_desc_destroy(pd);
        s = dnnl_unimplemented;
    }
    if (s == dnnl_unimplemented && src_tag == dnnl_nchw)
        s = weights_pd(plan, node, dnnl_nchw, dnnl_format_tag_any, &pd);
    if (s == dnnl_unimplemented) s = weights_pd(plan, node, dnnl_format_tag_any, dnnl_format_tag_any, &pd);
    if (s == dnnl_success) *out = pd;
    return anx_dnnl_check(s, "describe a convolution's gradient by its weights", err);
}

/* By weights and bias, from the gradient in `memory`, which has the layout of the output's value. */
static anx_status lower_weights(anx_dnnl_plan *plan, int group, const anx_node *node, anx_dnnl_const_md md,
                                dnnl_memory_t memory, int buffer, anx_error *err) {
    const bool bias = node->bias != ANX_NO_PARAM;
    dnnl_primitive_desc_t pd = NULL;
    dnnl_memory_t src = NULL;
    anx_dnnl_step *step = NULL;
    int src_buffer = 0;
    anx_status status = choose_weights(plan, node, md, &pd, err);
    if (status == ANX_OK)
        status = anx_dnnl_read_value(plan, node->inputs[0], dnnl_primitive_desc_query_md(pd, dnnl_query_src_md, 0),
                                     false, group, &src, &src_buffer, err);
    if (status == ANX_OK)
        status = anx_dnnl_as_wanted(plan, group, md, dnnl_primitive_desc_query_md(pd, dnnl_query_diff_dst_md, 0),
                                    &memory, &buffer, err);
    if (status == ANX_OK)
        status = anx_dnnl_use_param_grad(plan, node->weight,
                                         dnnl_primitive_desc_query_md(pd, dnnl_query_diff_weights_md, 0), err);
    if (status == ANX_OK && bias)
        status = anx_dnnl_use_param_grad(plan, node->bias,
                                         dnnl_primitive_desc_query_md(pd, dnnl_query_diff_weights_md, 1), err);
    if (status == ANX_OK) status = anx_dnnl_add_step(plan, group, &step, err);
    if (status == ANX_OK) {
        step->run = anx_dnnl_run_primitive;
        anx_dnnl_add_arg(step, DNNL_ARG_SRC, src);
        anx_dnnl_add_arg(step, DNNL_ARG_DIFF_DST, memory);
        anx_dnnl_add_arg(step, DNNL_ARG_DIFF_WEIGHTS, plan->params[node->weight].grad_memory);
        if (bias) anx_dnnl_add_arg(step, DNNL_ARG_DIFF_BIAS, plan->params[node->bias].grad_memory);
        status = anx_dnnl_finish_primitive(plan, plan->n_steps - 1, pd, err);
    }
    if (pd != NULL) dnnl_primitive_desc_destroy(pd);
    return status;
}

/* The weights in the layout that the gradient by the input wants: where that is another one, in a copy renewed when
   they change. */
static anx_status backward_weights(anx_dnnl_plan *plan, int group, int index, anx_dnnl_const_md wanted,
                                   dnnl_memory_t *out, anx_error *err) {
    anx_dnnl_param *param = &plan->params[index];
    *out = param->memory;
    if (dnnl_memory_desc_equal(param->md, wanted)) return ANX_OK;
    int buffer = 0;
    anx_status status = anx_dnnl_add_lasting_buffer(plan, dnnl_memory_desc_get_size(wanted), &buffer, err);
    if (status == ANX_OK) status = anx_dnnl_add_memory(plan, wanted, buffer, out, err);
    if (status == ANX_OK) status = anx_dnnl_add_reorder(plan, group, param->md, param->memory, wanted, *out, err);
    if (status != ANX_OK) return status;
    anx_dnnl_step *step = &plan->steps[plan->n_steps - 1];
    step->run = anx_dnnl_run_renew;
    step->param = index;
    param->back_is_stale = true;
    return ANX_OK;
}

static anx_status lower_data(anx_dnnl_plan *plan, int group, const anx_node *node, anx_dnnl_const_md md,
                             dnnl_memory_t memory, int buffer, anx_error *err) {
    dnnl_primitive_desc_t pd = NULL;
    dnnl_memory_t weights = NULL;
    anx_dnnl_grad_target target = {.md = NULL};
    anx_dnnl_step *step = NULL;
    anx_status status = anx_dnnl_check(data_pd(plan, node, &pd), "describe a convolution's gradient by its input", err);
    if (status == ANX_OK)
        status = anx_dnnl_as_wanted(plan, group, md, dnnl_primitive_desc_query_md(pd, dnnl_query_diff_dst_md, 0),
                                    &memory, &buffer, err);
    if (status == ANX_OK)
        status = backward_weights(plan, group, node->weight, dnnl_primitive_desc_query_md(pd, dnnl_query_weights_md, 0),
                                  &weights, err);
    if (status == ANX_OK)
        status = anx_dnnl_begin_grad(plan, group, node->inputs[0],
                                     dnnl_primitive_desc_query_md(pd, dnnl_query_diff_src_md, 0), false, &target, err);
    if (status == ANX_OK) status = anx_dnnl_add_step(plan, group, &step, err);
    if (status == ANX_OK) {
        step->run = anx_dnnl_run_primitive;
        anx_dnnl_add_arg(step, DNNL_ARG_DIFF_DST, memory);
        anx_dnnl_add_arg(step, DNNL_ARG_WEIGHTS, weights);
        anx_dnnl_add_arg(step, DNNL_ARG_DIFF_SRC, target.memory);
        status = anx_dnnl_finish_primitive(plan, plan->n_steps - 1, pd, err);
    }
    if (pd != NULL) dnnl_primitive_desc_destroy(pd);
    return anx_dnnl_end_grad(plan, group, &target, status, err);
}

anx_status anx_dnnl_lower_conv_backward(anx_dnnl_plan *plan, int group, int index, int output, anx_error *err) {
    const anx_node *node = &plan->graph->nodes[index];
    const anx_dnnl_const_md md = anx_dnnl_value_of(plan, output)->md;
    dnnl_memory_t grad = NULL;
    int buffer = 0;
    anx_status status = anx_dnnl_output_grad(plan, group, index, output, &grad, &buffer, err);
    if (status == ANX_OK &&
        (plan->params[node->weight].trained || (node->bias != ANX_NO_PARAM && plan->params[node->bias].trained)))
        status = lower_weights(plan, group, node, md, grad, buffer, err);
    if (status == ANX_OK && anx_dnnl_value_of(plan, node->inputs[0])->needs_grad)
        status = lower_data(plan, group, node, md, grad, buffer, err);
    return status;
}
