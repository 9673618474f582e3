#include "src/backend/dnnl/build.h"
#include "src/backend/dnnl/products.h"

/* Everything lies as PyTorch has it: the weights and their gradient are too large to be copied at every step. */
typedef struct linear_shape {
    anx_dnnl_md src, weights, bias, dst;
} linear_shape;

static void shape_fini(linear_shape *s) {
    anx_dnnl_md_destroy(s->dst);
    anx_dnnl_md_destroy(s->bias);
    anx_dnnl_md_destroy(s->weights);
    anx_dnnl_md_destroy(s->src);
}

static dnnl_status_t shape_init(linear_shape *out, const anx_dnnl_plan *plan, const anx_node *node) {
    const dnnl_dim_t in = node->in.dim[0], features = node->out.dim[0], weights[] = {features, in};
    const dnnl_dim_t src[] = {plan->batch, in}, dst[] = {plan->batch, features};
    *out = (linear_shape){.src = NULL};
    dnnl_status_t s = anx_dnnl_md_create(&out->src, 2, src, dnnl_ab);
    if (s == dnnl_success) s = anx_dnnl_md_create(&out->weights, 2, weights, dnnl_ab);
    if (s == dnnl_success && node->bias != ANX_NO_PARAM) s = anx_dnnl_md_create(&out->bias, 1, weights, dnnl_a);
    if (s == dnnl_success) s = anx_dnnl_md_create(&out->dst, 2, dst, dnnl_ab);
    if (s != dnnl_success) shape_fini(out);
    return s;
}

static anx_status lower_weights(anx_dnnl_plan *plan, int group, const anx_node *node, const linear_shape *shape,
                                dnnl_memory_t grad, anx_error *err) {
    const bool bias = node->bias != ANX_NO_PARAM;
    dnnl_primitive_desc_t pd = NULL;
    dnnl_memory_t src = NULL;
    anx_dnnl_step *step = NULL;
    int buffer = 0;
    anx_status status =
        anx_dnnl_check(anx_dnnl_inner_product_backward_weights_pd(&pd, plan->device->engine, shape->src, shape->weights,
                                                                  shape->bias, shape->dst, plan->device->attr),
                       "describe a linear layer's gradient by its weights", err);
    if (status == ANX_OK) status = anx_dnnl_read_value(plan, node->inputs[0], NULL, true, group, &src, &buffer, err);
    if (status == ANX_OK) status = anx_dnnl_use_param_grad(plan, node->weight, shape->weights, err);
    if (status == ANX_OK && bias) status = anx_dnnl_use_param_grad(plan, node->bias, shape->bias, err);
    if (status == ANX_OK) status = anx_dnnl_add_step(plan, group, &step, err);
    if (status == ANX_OK) {
        step->run = anx_dnnl_run_primitive;
        anx_dnnl_add_arg(step, DNNL_ARG_SRC, src);
        anx_dnnl_add_arg(step, DNNL_ARG_DIFF_DST, grad);
        anx_dnnl_add_arg(step, DNNL_ARG_DIFF_WEIGHTS, plan->params[node->weight].grad_memory);
        if (bias) anx_dnnl_add_arg(step, DNNL_ARG_DIFF_BIAS, plan->params[node->bias].grad_memory);
        status = anx_dnnl_finish_primitive(plan, plan->n_steps - 1, pd, err);
    }
    if (pd != NULL) dnnl_primitive_desc_destroy(pd);
    return status;
}

static anx_status lower_data(anx_dnnl_plan *plan, int group, int index, int grad_buffer, anx_error *err) {
    const anx_node *node = &plan->graph->nodes[index];
    const anx_dnnl_linear linear = {.batch = plan->batch, .in = node->in.dim[0], .out = node->out.dim[0]};
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
    linear_shape shape;
    int buffer = 0;
    anx_status status = anx_dnnl_output_grad(plan, group, index, output, &grad, &buffer, err);
    if (status == ANX_OK) status = anx_dnnl_check(shape_init(&shape, plan, node), "describe a linear layer", err);
    if (status != ANX_OK) return status;
    if (plan->params[node->weight].trained || (node->bias != ANX_NO_PARAM && plan->params[node->bias].trained))
        status = lower_weights(plan, group, node, &shape, grad, err);
    if (status == ANX_OK && anx_dnnl_value_of(plan, node->inputs[0])->needs_grad)
        status = lower_data(plan, group, index, buffer, err);
    shape_fini(&shape);
    return status;
}
