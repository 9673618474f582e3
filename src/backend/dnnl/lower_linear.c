#include "src/backend/dnnl/build.h"
#include "src/backend/dnnl/products.h"

/*
 * Linear layers read their weights where the checkpoint's file is mapped as long as that is about as fast as a packed
 * copy, which costs as much memory again and the time to write it. Measured on two Zen 5 cores (AlexNet's three
 * layers, oneDNN 2.6 and 3.2): for a few images our own loop keeps up with packed weights and beats oneDNN's inner
 * product in place by a fifth; from 4 on oneDNN's matrix product in place has two thirds of the packed speed; from 8
 * on the copy pays.
 */
enum { IN_PLACE_MAX_BATCH = 7 };

/* The layer in a loop of our own, which reads the weights as PyTorch has them. */
static anx_status lower_loop(anx_dnnl_plan *plan, int group, int index, int output, anx_error *err) {
    const anx_node *node = &plan->graph->nodes[index];
    const dnnl_dim_t dims[] = {node->out.dim[0], node->in.dim[0]};
    anx_dnnl_md weights = NULL;
    anx_dnnl_step *step = NULL;
    dnnl_memory_t src = NULL;
    int buffer = 0;
    anx_status status = anx_dnnl_check(anx_dnnl_md_create(&weights, 2, dims, dnnl_ab), "describe a parameter", err);
    if (status == ANX_OK) status = anx_dnnl_read_value(plan, node->inputs[0], NULL, true, group, &src, &buffer, err);
    if (status == ANX_OK) status = anx_dnnl_own_plain_value(plan, output, group, err);
    if (status == ANX_OK) status = anx_dnnl_use_param(plan, node->weight, weights, weights, true, err);
    if (status == ANX_OK && node->bias != ANX_NO_PARAM) status = anx_dnnl_use_bias(plan, node->bias, 1, dims, err);
    if (status == ANX_OK) status = anx_dnnl_add_step(plan, group, &step, err);
    anx_dnnl_md_destroy(weights);
    if (status != ANX_OK) return status;
    step->run = anx_dnnl_run_linear;
    step->node = index;
    step->src_buffer = buffer;
    step->dst_buffer = anx_dnnl_value_of(plan, output)->buffer;
    if (plan->batch <= ANX_DNNL_LOOP_MAX_BATCH) return ANX_OK;
    const anx_dnnl_linear linear = {.batch = plan->batch, .in = dims[1], .out = dims[0]};
    const size_t scratch_bytes = (size_t)anx_dnnl_linear_scratch_elems(&linear) * sizeof(float);
    return anx_dnnl_add_buffer(plan, scratch_bytes, group, &step->factor_buffer, err);
}

/* The layer as oneDNN's matrix product with PyTorch's (out, in) as a transposed (in, out). */
static anx_status lower_product(anx_dnnl_plan *plan, int group, int index, int output, anx_error *err) {
    const anx_node *node = &plan->graph->nodes[index];
    const bool in_place = plan->batch <= IN_PLACE_MAX_BATCH, has_bias = node->bias != ANX_NO_PARAM;
    const dnnl_dim_t in = node->in.dim[0], out = node->out.dim[0];
    const dnnl_dim_t src_dims[] = {plan->batch, in}, dst_dims[] = {plan->batch, out}, bias_dims[] = {1, out},
                     weights_dims[] = {in, out};
    anx_dnnl_md src_md = NULL, dst_md = NULL, bias_md = NULL, host_md = NULL, weights_md = NULL;
    dnnl_primitive_desc_t pd = NULL;
    dnnl_memory_t src = NULL;
    anx_dnnl_step *step = NULL;
    int buffer = 0;
    dnnl_status_t s = anx_dnnl_md_create(&src_md, 2, src_dims, dnnl_ab);
    if (s == dnnl_success) s = anx_dnnl_md_create(&dst_md, 2, dst_dims, dnnl_ab);
    if (s == dnnl_success && has_bias) s = anx_dnnl_md_create(&bias_md, 2, bias_dims, dnnl_ab);
    if (s == dnnl_success) s = anx_dnnl_md_create(&host_md, 2, weights_dims, dnnl_ba);
    if (s == dnnl_success)
        s = anx_dnnl_md_create(&weights_md, 2, weights_dims, in_place ? dnnl_ba : dnnl_format_tag_any);
    if (s == dnnl_success)
        s = anx_dnnl_matmul_pd(&pd, plan->device->engine, src_md, weights_md, bias_md, dst_md, plan->device->attr);
    anx_status status = anx_dnnl_check(s, "describe a linear layer", err);
    if (status == ANX_OK) status = anx_dnnl_read_value(plan, node->inputs[0], src_md, true, group, &src, &buffer, err);
    if (status == ANX_OK) status = anx_dnnl_own_plain_value(plan, output, group, err);
    if (status == ANX_OK)
        status = anx_dnnl_use_param(plan, node->weight, host_md,
                                    dnnl_primitive_desc_query_md(pd, dnnl_query_weights_md, 0), in_place, err);
    if (status == ANX_OK && has_bias) status = anx_dnnl_use_bias(plan, node->bias, 2, bias_dims, err);
    if (status == ANX_OK) status = anx_dnnl_add_step(plan, group, &step, err);
    if (status == ANX_OK) {
        step->run = anx_dnnl_run_primitive;
        anx_dnnl_add_arg(step, DNNL_ARG_SRC, src);
        anx_dnnl_add_arg(step, DNNL_ARG_WEIGHTS, plan->params[node->weight].memory);
        if (has_bias) anx_dnnl_add_arg(step, DNNL_ARG_BIAS, plan->params[node->bias].memory);
        anx_dnnl_add_arg(step, DNNL_ARG_DST, anx_dnnl_value_of(plan, output)->memory);
        status = anx_dnnl_finish_primitive(plan, plan->n_steps - 1, pd, err);
    }
    if (pd != NULL) dnnl_primitive_desc_destroy(pd);
    anx_dnnl_md_destroy(weights_md);
    anx_dnnl_md_destroy(host_md);
    anx_dnnl_md_destroy(bias_md);
    anx_dnnl_md_destroy(dst_md);
    anx_dnnl_md_destroy(src_md);
    return status;
}

anx_status anx_dnnl_lower_linear(anx_dnnl_plan *plan, int group, int index, int output, anx_error *err) {
    /* In training a packed copy of the weights would have to be written anew at every step. */
    anx_dnnl_lower_fn *lower =
        plan->batch <= ANX_DNNL_LOOP_MAX_BATCH || plan->mode == ANX_PLAN_TRAIN ? lower_loop : lower_product;
    anx_status status = lower(plan, group, index, output, err);
    /* Not as oneDNN's post-op, which turns NaN into 0: here the output is so small that a pass costs nothing. */
    if (status == ANX_OK && anx_dnnl_group_has_relu(plan, group))
        status = anx_dnnl_add_relu(plan, group, anx_dnnl_value_of(plan, output)->buffer, output, err);
    return status;
}
