#include <float.h>
#include <math.h>
#include <string.h>

#include "src/backend/dnnl/plan.h"
#include "src/backend/dnnl/products.h"

void anx_dnnl_copy(void *dst, const void *src, size_t bytes) {
    const size_t piece = (size_t)256 << 10, pieces = (bytes + piece - 1) / piece;
#pragma omp parallel for schedule(static) if (pieces > 1)
    for (size_t i = 0; i < pieces; i++) {
        const size_t at = i * piece;
        memcpy((char *)dst + at, (const char *)src + at, bytes - at < piece ? bytes - at : piece);
    }
}

anx_status anx_dnnl_run_primitive(anx_dnnl_plan *plan, anx_dnnl_step *step, anx_error *err) {
    return anx_dnnl_execute(plan->device, step->primitive, step->args, step->n_args, err);
}

anx_status anx_dnnl_run_relu(anx_dnnl_plan *plan, anx_dnnl_step *step, anx_error *err) {
    (void)err;
    anx_dnnl_relu_run(anx_dnnl_buffer_data(plan, step->src_buffer), anx_dnnl_buffer_data(plan, step->dst_buffer),
                      step->elems);
    return ANX_OK;
}

anx_status anx_dnnl_run_pooling(anx_dnnl_plan *plan, anx_dnnl_step *step, anx_error *err) {
    (void)err;
    const float *src = anx_dnnl_buffer_data(plan, step->src_buffer);
    float *dst = anx_dnnl_buffer_data(plan, step->dst_buffer);
    if (step->factor_buffer < 0)
        anx_dnnl_pooling_run(&step->pooling, src, dst);
    else
        anx_dnnl_pooling_run_tracked(&step->pooling, src, dst, anx_dnnl_winners_data(plan, step->factor_buffer));
    return ANX_OK;
}

anx_status anx_dnnl_run_pooling_backward(anx_dnnl_plan *plan, anx_dnnl_step *step, anx_error *err) {
    (void)err;
    const int32_t *winners = step->pooling.adaptive ? NULL : anx_dnnl_winners_data(plan, step->factor_buffer);
    anx_dnnl_pooling_run_backward(&step->pooling, anx_dnnl_buffer_data(plan, step->src_buffer), winners,
                                  anx_dnnl_buffer_data(plan, step->dst_buffer));
    return ANX_OK;
}

anx_status anx_dnnl_run_multiply(anx_dnnl_plan *plan, anx_dnnl_step *step, anx_error *err) {
    (void)err;
    anx_dnnl_multiply_run(anx_dnnl_buffer_data(plan, step->src_buffer), anx_dnnl_buffer_data(plan, step->factor_buffer),
                          anx_dnnl_buffer_data(plan, step->dst_buffer), step->elems);
    return ANX_OK;
}

anx_status anx_dnnl_run_relu_backward(anx_dnnl_plan *plan, anx_dnnl_step *step, anx_error *err) {
    (void)err;
    anx_dnnl_relu_run_backward(anx_dnnl_buffer_data(plan, step->src_buffer),
                               anx_dnnl_buffer_data(plan, step->factor_buffer),
                               anx_dnnl_buffer_data(plan, step->dst_buffer), step->elems, plan->device->isa);
    return ANX_OK;
}

anx_status anx_dnnl_run_softmax_backward(anx_dnnl_plan *plan, anx_dnnl_step *step, anx_error *err) {
    (void)err;
    anx_dnnl_softmax_run_backward(anx_dnnl_buffer_data(plan, step->src_buffer),
                                  anx_dnnl_buffer_data(plan, step->factor_buffer),
                                  anx_dnnl_buffer_data(plan, step->dst_buffer), plan->batch, (int64_t)step->elems);
    return ANX_OK;
}

anx_status anx_dnnl_run_accumulate(anx_dnnl_plan *plan, anx_dnnl_step *step, anx_error *err) {
    (void)err;
    anx_dnnl_value *value = anx_dnnl_storage_of(plan, step->node);
    const float *part = anx_dnnl_buffer_data(plan, step->src_buffer);
    float *grad = anx_dnnl_buffer_data(plan, step->dst_buffer);
    if (value->grad_begun)
        anx_dnnl_add_run(part, grad, step->elems);
    else
        anx_dnnl_copy(grad, part, step->elems * sizeof *grad);
    value->grad_begun = true;
    return ANX_OK;
}

anx_status anx_dnnl_run_renew(anx_dnnl_plan *plan, anx_dnnl_step *step, anx_error *err) {
    if (!plan->params[step->param].back_is_stale) return ANX_OK;
    anx_status status = anx_dnnl_run_primitive(plan, step, err);
    if (status == ANX_OK) plan->params[step->param].back_is_stale = false;
    return status;
}

anx_status anx_dnnl_run_softmax(anx_dnnl_plan *plan, anx_dnnl_step *step, anx_error *err) {
    (void)err;
    anx_dnnl_softmax_run(anx_dnnl_buffer_data(plan, step->src_buffer), anx_dnnl_buffer_data(plan, step->dst_buffer),
                         plan->batch, (int64_t)step->elems);
    return ANX_OK;
}

anx_status anx_dnnl_run_linear(anx_dnnl_plan *plan, anx_dnnl_step *step, anx_error *err) {
    (void)err;
    const anx_node *node = &plan->graph->nodes[step->node];
    const anx_dnnl_linear linear = {
        .batch = plan->batch, .in = node->in.dim[0], .out = node->out.dim[0], .isa = plan->device->isa};
    const float *weights = plan->params[node->weight].data;
    const float *bias = node->bias != ANX_NO_PARAM ? plan->params[node->bias].data : NULL;
    const float *x = anx_dnnl_buffer_data(plan, step->src_buffer);
    float *y = anx_dnnl_buffer_data(plan, step->dst_buffer);
    if (plan->batch <= ANX_DNNL_LOOP_MAX_BATCH)
        anx_dnnl_linear_run(&linear, weights, bias, x, y);
    else
        anx_dnnl_linear_forward(&linear, weights, bias, x, y, anx_dnnl_buffer_data(plan, step->factor_buffer));
    return ANX_OK;
}

anx_status anx_dnnl_run_linear_backward_data(anx_dnnl_plan *plan, anx_dnnl_step *step, anx_error *err) {
    (void)err;
    const anx_node *node = &plan->graph->nodes[step->node];
    const anx_dnnl_linear linear = {
        .batch = plan->batch, .in = node->in.dim[0], .out = node->out.dim[0], .isa = plan->device->isa};
    anx_dnnl_linear_backward_data(
        &linear, plan->params[node->weight].data, anx_dnnl_buffer_data(plan, step->src_buffer),
        anx_dnnl_buffer_data(plan, step->dst_buffer), anx_dnnl_buffer_data(plan, step->factor_buffer));
    return ANX_OK;
}

anx_status anx_dnnl_run_linear_backward_weights(anx_dnnl_plan *plan, anx_dnnl_step *step, anx_error *err) {
    (void)err;
    const anx_node *node = &plan->graph->nodes[step->node];
    const anx_dnnl_linear linear = {
        .batch = plan->batch, .in = node->in.dim[0], .out = node->out.dim[0], .isa = plan->device->isa};
    float *bias_grad =
        node->bias != ANX_NO_PARAM ? anx_dnnl_buffer_data(plan, plan->params[node->bias].grad_buffer) : NULL;
    anx_dnnl_linear_backward_weights(
        &linear, anx_dnnl_buffer_data(plan, step->input_buffer), anx_dnnl_buffer_data(plan, step->src_buffer),
        anx_dnnl_buffer_data(plan, step->dst_buffer), bias_grad, anx_dnnl_buffer_data(plan, step->factor_buffer));
    return ANX_OK;
}

/* Bound of every output of the step's convolution, given one of its input; NaN where there is none. */
static double output_bound(const anx_dnnl_plan *plan, const anx_node *node, double input) {
    const double weights = plan->params[node->weight].magnitude;
    const double bias = node->bias != ANX_NO_PARAM ? plan->params[node->bias].magnitude : 0.0;
    const double bound = 1.01 * ((double)node->terms * weights * input + bias);
    return bound < (double)FLT_MAX ? bound : NAN;
}

anx_status anx_dnnl_run_guarded(anx_dnnl_plan *plan, anx_dnnl_step *step, anx_error *err) {
    const anx_group *group = &plan->groups[step->group];
    const anx_node *node = &plan->graph->nodes[step->node];
    const anx_dnnl_value *input = anx_dnnl_storage_of(plan, node->inputs[0]);
    anx_dnnl_value *output = anx_dnnl_storage_of(plan, group->nodes[group->n_nodes - 1]);
    output->magnitude = output_bound(plan, node, input->magnitude);
    if (isnan(output->magnitude)) {
        const size_t elems = dnnl_memory_desc_get_size(input->md) / sizeof(float);
        const double scanned =
            (double)anx_dnnl_max_magnitude(anx_dnnl_buffer_data(plan, input->buffer), elems, plan->device->isa);
        output->magnitude = output_bound(plan, node, scanned);
    }
    if (!isnan(output->magnitude)) return anx_dnnl_run_primitive(plan, step, err);
    anx_status status = step->unfused == NULL ? anx_dnnl_create_unfused(plan, step, err) : ANX_OK;
    if (status == ANX_OK) status = anx_dnnl_execute(plan->device, step->unfused, step->args, step->n_args, err);
    float *y = anx_dnnl_buffer_data(plan, step->dst_buffer);
    if (status == ANX_OK) anx_dnnl_relu_run(y, y, step->elems);
    return status;
}
