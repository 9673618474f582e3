#include <stdlib.h>

#include "src/backend/cuda/plan.h"
#include "src/backend/cuda/status.h"

static anx_status run_conv(anx_cuda_plan *plan, int node, const float *x, float *y, anx_error *err) {
    const anx_node *nd = &plan->graph->nodes[node];
    const anx_cudnn_conv_memory m = {.x = x,
                                     .w = anx_cuda_param_data(plan, nd->weight),
                                     .b = anx_cuda_param_data(plan, nd->bias),
                                     .y = y,
                                     .workspace = plan->workspace};
    return anx_cudnn_conv_forward(plan->nodes[node].conv, &m, err);
}

static anx_status run_linear(anx_cuda_plan *plan, int node, const float *x, float *y, anx_error *err) {
    const anx_node *nd = &plan->graph->nodes[node];
    const anx_cuda_node *n = &plan->nodes[node];
    const anx_cublas_linear l = {plan->batch, nd->in.dim[0], nd->out.dim[0]};
    const float *w = anx_cuda_param_data(plan, nd->weight), *b = anx_cuda_param_data(plan, nd->bias);
    if (n->matmul != NULL) return anx_matmul_run(n->matmul, x, w, y, err);
    const anx_status status = anx_cublas_linear_forward(&plan->device->blas, &l, x, w, y, err);
    return status != ANX_OK ? status : anx_cudnn_add_bias(&plan->device->dnn, n->bias, b, n->tensor, y, err);
}

static anx_status run_node(anx_cuda_plan *plan, int node, const float *x, float *y, anx_error *err) {
    anx_cuda_node *n = &plan->nodes[node];
    const anx_cudnn *dnn = &plan->device->dnn;
    const int64_t elems = anx_cuda_elems(plan, node);
    switch (plan->graph->nodes[node].layer->op) {
    case ANX_OP_CONV2D: return run_conv(plan, node, x, y, err);
    case ANX_OP_LINEAR: return run_linear(plan, node, x, y, err);
    case ANX_OP_RELU: return anx_cudnn_relu_forward(dnn, n->tensor, x, y, err);
    case ANX_OP_SOFTMAX: return anx_cudnn_softmax_forward(dnn, n->tensor, x, y, err);
    case ANX_OP_MAX_POOL2D:
    case ANX_OP_ADAPTIVE_AVG_POOL2D:
        if (n->pool != NULL) return anx_cudnn_pool_forward(n->pool, x, y, err);
        break;
    case ANX_OP_DROPOUT:
        if (n->mask != NULL) return anx_cublas_multiply(&plan->device->blas, elems, x, n->mask, y, err);
        break;
    default: break;
    }
    /* What is left passes its input on. */
    return x == y ? ANX_OK : anx_cuda_copy(plan->device, y, x, elems, err);
}

/* Only the first node of a group computes; what is fused with it is known to it, and the rest pass on. */
anx_status anx_cuda_run_group(anx_cuda_plan *plan, const anx_group *group, anx_error *err) {
    const int node = group->nodes[0], result = group->nodes[group->n_nodes - 1];
    const float *x = anx_cuda_output(plan, plan->graph->nodes[node].inputs[0]);
    const anx_status status = run_node(plan, node, x, anx_cuda_output(plan, result), err);
    if (status != ANX_OK) anx_error_in_layer(err, plan->graph->nodes[node].layer->name);
    free(plan->nodes[node].winners); /* the layer has its own again */
    plan->nodes[node].winners = NULL;
    return status;
}
