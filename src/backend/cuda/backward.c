#include "src/backend/cuda/plan.h"
#include "src/backend/cuda/status.h"

/* What a node's way back starts from and gives. */
typedef struct back {
    const float *x, *y; /* the node's input; its output: behind the ReLU where one is fused */
    const float *dy;    /* before the ReLU */
    float *dx;          /* NULL: not wanted */
} back;

static float *grad_of_param(const anx_cuda_plan *plan, int param) {
    return plan->params[param].trained ? plan->grad_arena + plan->params[param].first : NULL;
}

static anx_status back_through_bias(const anx_cuda_plan *plan, int node, const float *dy, anx_error *err) {
    float *db = grad_of_param(plan, plan->graph->nodes[node].bias);
    const anx_cuda_node *n = &plan->nodes[node];
    return db == NULL ? ANX_OK : anx_cudnn_bias_gradient(&plan->device->dnn, n->tensor, dy, n->bias, db, err);
}

static anx_status back_through_conv(anx_cuda_plan *plan, int node, const back *b, anx_error *err) {
    const anx_node *nd = &plan->graph->nodes[node];
    const anx_cudnn_conv_memory m = {.x = b->x,
                                     .w = anx_cuda_param_data(plan, nd->weight),
                                     .dy = b->dy,
                                     .dx = b->dx,
                                     .dw = grad_of_param(plan, nd->weight),
                                     .workspace = plan->workspace};
    anx_status status = back_through_bias(plan, node, b->dy, err);
    if (status == ANX_OK && m.dw != NULL) status = anx_cudnn_conv_backward_filter(plan->nodes[node].conv, &m, err);
    if (status == ANX_OK && m.dx != NULL) status = anx_cudnn_conv_backward_data(plan->nodes[node].conv, &m, err);
    return status;
}

static anx_status back_through_linear(anx_cuda_plan *plan, int node, const back *b, anx_error *err) {
    const anx_node *nd = &plan->graph->nodes[node];
    const anx_cublas *blas = &plan->device->blas;
    const anx_cublas_linear l = {plan->batch, nd->in.dim[0], nd->out.dim[0]};
    float *dw = grad_of_param(plan, nd->weight);
    anx_status status = back_through_bias(plan, node, b->dy, err);
    if (status == ANX_OK && dw != NULL) status = anx_cublas_linear_backward_weights(blas, &l, b->x, b->dy, dw, err);
    if (status == ANX_OK && b->dx != NULL)
        status = anx_cublas_linear_backward_data(blas, &l, anx_cuda_param_data(plan, nd->weight), b->dy, b->dx, err);
    return status;
}

static anx_status back_through_pool(anx_cuda_plan *plan, int node, const back *b, anx_error *err) {
    const anx_cuda_node *n = &plan->nodes[node];
    if (n->winners != NULL) return anx_cuda_winners_backward(plan, node, b->dy, b->dx, err);
    return anx_cudnn_pool_backward(n->pool, b->x, b->y, b->dy, b->dx, err);
}

static anx_status back_through_node(anx_cuda_plan *plan, int node, const back *b, anx_error *err) {
    const anx_cuda_node *n = &plan->nodes[node];
    const anx_cudnn *dnn = &plan->device->dnn;
    const int64_t elems = anx_cuda_elems(plan, node);
    const anx_op op = plan->graph->nodes[node].layer->op;
    if (op == ANX_OP_CONV2D) return back_through_conv(plan, node, b, err);
    if (op == ANX_OP_LINEAR) return back_through_linear(plan, node, b, err);
    if (b->dx == NULL) return ANX_OK; /* the rest have no parameters */
    if (op == ANX_OP_RELU) return anx_cudnn_relu_backward(dnn, n->tensor, b->y, b->dy, b->dx, err);
    if (op == ANX_OP_SOFTMAX) return anx_cudnn_softmax_backward(dnn, n->tensor, b->y, b->dy, b->dx, err);
    if (n->pool != NULL) return back_through_pool(plan, node, b, err);
    if (n->mask != NULL) return anx_cublas_multiply(&plan->device->blas, elems, b->dy, n->mask, b->dx, err);
    return b->dx == b->dy ? ANX_OK : anx_cuda_copy(plan->device, b->dx, b->dy, elems, err);
}

/* Of several readers the last one runs back first: it overwrites the gradient, the others add to it. */
static anx_status run_back(anx_cuda_plan *plan, const anx_group *group, anx_error *err) {
    const int node = group->nodes[0], result = group->nodes[group->n_nodes - 1];
    const int source = plan->graph->nodes[node].inputs[0];
    const anx_cuda_node *n = &plan->nodes[node];
    float *const dx = anx_cuda_grad(plan, source);
    const bool adds = dx != NULL && n->adds;
    back b = {.x = anx_cuda_output(plan, source),
              .y = anx_cuda_output(plan, result),
              .dy = anx_cuda_grad(plan, result),
              .dx = adds ? plan->partial : dx};
    if (b.dy == NULL) return ANX_OK;
    anx_status status = ANX_OK;
    if (n->relu) {
        status = anx_cudnn_relu_backward(&plan->device->dnn, n->tensor, b.y, b.dy, plan->unmasked, err);
        b.dy = plan->unmasked;
    }
    if (status == ANX_OK) status = back_through_node(plan, node, &b, err);
    if (status == ANX_OK && adds)
        status = anx_cublas_add(&plan->device->blas, anx_cuda_elems(plan, source), 1.0f, plan->partial, dx, err);
    return status;
}

anx_status anx_cuda_run_group_backward(anx_cuda_plan *plan, const anx_group *group, anx_error *err) {
    const anx_status status = run_back(plan, group, err);
    if (status != ANX_OK) anx_error_in_layer(err, plan->graph->nodes[group->nodes[0]].layer->name);
    return status;
}
