#include "src/backend/dnnl/build.h"
#include "src/backend/dnnl/products.h"

static anx_dnnl_linear linear_of(const anx_dnnl_plan *plan, const anx_node *node) {
    return (anx_dnnl_linear){.batch = plan->batch, .in = node->in.dim[0], .out = node->out.dim[0]};
}

/* Memory for the parameter's gradient, which lies as PyTorch has it: a large layer's is too large to be copied. */
static anx_status use_plain_grad(anx_dnnl_plan *plan, int param, int rank, const dnnl_dim_t *dims, anx_error *err) {
    anx_dnnl_md md = NULL;
    anx_status status =
        anx_dnnl_check(anx_dnnl_md_create(&md, rank, dims, rank == 2 ? dnnl_ab : dnnl_a), "describe a gradient", err);
    if (status == ANX_OK) status = anx_dnnl_use_param_grad(plan, param, md, err);
    anx_dnnl_md_destroy(md);
    return status;
}

static anx_status lower_weights(anx_dnnl_plan *plan, int group, int index, int grad_buffer, anx_error *err) {
    const anx_node *node = &plan->graph->nodes[index];
    const anx_dnnl_linear linear = linear_of(plan, node);
    const dnnl_dim_t dims[] = {linear.out, linear.in};
    dnnl_memory_t src = NULL;
    int input = 0, scratch = 0;
    anx_status status = anx_dnnl_read_value(plan, node->inputs[0], NULL, true, group, &src, &input, err);
    if (status == ANX_OK) status = use_plain_grad(plan, node->weight, 2, dims, err);
    if (status == ANX_OK && node->bias != ANX_NO_PARAM) status = use_plain_grad(plan, node->bias, 1, dims, err);
    if (status == ANX_OK)
        status = anx_dnnl_add_buffer(plan, (size_t)anx_dnnl_linear_weights_scratch_elems(&linear) * sizeof(float),
                                     group, &scratch, err);
    if (status == ANX_OK)
        status = anx_dnnl_add_loop(plan, group, anx_dnnl_run_linear_backward_weights, grad_buffer, scratch,
                                   plan->params[node->weight].grad_buffer, 0, err);
    if (status != ANX_OK) return status;
    plan->steps[plan->n_steps - 1].node = index;
    plan->steps[plan->n_steps - 1].input_buffer = input;
    return ANX_OK;
}

static anx_status lower_data(anx_dnnl_plan *plan, int group, int index, int grad_buffer, anx_error *err) {
    const anx_node *node = &plan->graph->nodes[index];
    const anx_dnnl_linear linear = linear_of(plan, node);
    anx_dnnl_grad_target target = {.md = NULL};
    int scratch = 0;
    anx_status status = anx_dnnl_begin_grad(plan, group, node->inputs[0], NULL, true, &target, err);
    if (status == ANX_OK)
        status = anx_dnnl_add_buffer(plan, (size_t)anx_dnnl_linear_scratch_elems(&linear) * sizeof(float), group,
                                     &scratch, err);
    if (status == ANX_OK)
        status = anx_dnnl_add_loop(plan, group, anx_dnnl_run_linear_backward_data, grad_buffer, scratch, target.buffer,
                                   0, err);
    if (status == ANX_OK) plan->steps[plan->n_steps - 1].node = index;
    return anx_dnnl_end_grad(plan, group, &target, status, err);
}

anx_status anx_dnnl_lower_linear_backward(anx_dnnl_plan *plan, int group, int index, int output, anx_error *err) {
    const anx_node *node = &plan->graph->nodes[index];
    dnnl_memory_t grad = NULL;
    int buffer = 0;
    anx_status status = anx_dnnl_output_grad(plan, group, index, output, &grad, &buffer, err);
    if (status != ANX_OK) return status;
    if (plan->params[node->weight].trained || (node->bias != ANX_NO_PARAM && plan->params[node->bias].trained))
        status = lower_weights(plan, group, index, buffer, err);
    if (status == ANX_OK && anx_dnnl_value_of(plan, node->inputs[0])->needs_grad)
        status = lower_data(plan, group, index, buffer, err);
    return status;
}
