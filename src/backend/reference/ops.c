#include "src/backend/reference/ops.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "src/backend/reference/kernels.h"
#include "src/backend/reference/vector.h"

/* torch.nn.ReLU: x < 0 gives +0; -0 and NaN stay. */
static void relu(const anx_reference_job *job, int64_t elems) {
    for (int64_t i = 0; i < elems; i++) {
        const double v = anx_reference_input(job, i);
        job->y[i] = v < 0.0 ? 0.0 : v;
    }
}

/* torch.nn.Dropout in training: 0 times infinity is NaN, as in PyTorch. */
static void drop_out(const anx_reference_job *job, int64_t elems) {
    for (int64_t i = 0; i < elems; i++) job->y[i] = anx_reference_input(job, i) * job->mask[i];
}

/* Dropout outside training, and flatten, whose elements keep their order. */
static void copy(const anx_reference_job *job, int64_t elems) {
    for (int64_t i = 0; i < elems; i++) job->y[i] = anx_reference_input(job, i);
}

/* torch.softmax over one image's features. A NaN anywhere, or +inf, makes every probability NaN, as in PyTorch. */
static void softmax(const anx_reference_job *job, int64_t features) {
    for (int64_t n = 0; n < job->batch; n++) {
        double *y = job->y + n * features;
        double max = -INFINITY, sum = 0.0;
        for (int64_t i = 0; i < features; i++) max = fmax(max, anx_reference_input(job, n * features + i));
        for (int64_t i = 0; i < features; i++) {
            y[i] = exp(anx_reference_input(job, n * features + i) - max);
            sum += y[i];
        }
        for (int64_t i = 0; i < features; i++) y[i] /= sum;
    }
}

static int64_t extent_elems(const anx_extent *extent) {
    int64_t elems = 1;
    for (int i = 0; i < extent->rank; i++) elems *= extent->dim[i];
    return elems;
}

anx_status anx_reference_run(const anx_reference_job *job, anx_error *err) {
    const anx_node *node = job->node;
    const int64_t elems = job->batch * extent_elems(&node->out);
    switch (node->layer->op) {
    case ANX_OP_CONV2D: return anx_reference_conv2d(job, err);
    case ANX_OP_LINEAR: return anx_reference_linear(job, err);
    case ANX_OP_ADAPTIVE_AVG_POOL2D: anx_reference_adaptive_avg_pool2d(job); return ANX_OK;
    case ANX_OP_MAX_POOL2D: anx_reference_max_pool2d(job); return ANX_OK;
    case ANX_OP_RELU: relu(job, elems); return ANX_OK;
    case ANX_OP_DROPOUT:
        if (job->mask != NULL)
            drop_out(job, elems);
        else
            copy(job, elems);
        return ANX_OK;
    case ANX_OP_FLATTEN: copy(job, elems); return ANX_OK;
    case ANX_OP_SOFTMAX: softmax(job, extent_elems(&node->out)); return ANX_OK;
    case ANX_OP_COUNT: break;
    }
    return anx_error_set(err, ANX_ERR_UNSUPPORTED, "the reference has no operation '%s'", anx_op_name(node->layer->op));
}

/* torch's threshold_backward on the output: dy where y > 0 or NaN, else 0. */
static void relu_back(const anx_reference_back_job *job, int64_t elems) {
    for (int64_t i = 0; i < elems; i++) job->dx[i] = job->y[i] <= 0.0 ? 0.0 : job->dy[i];
}

static void dropout_back(const anx_reference_back_job *job, int64_t elems) {
    for (int64_t i = 0; i < elems; i++) job->dx[i] = job->dy[i] * job->mask[i];
}

/* dx_i = (dy_i - sum_j dy_j y_j) y_i, as PyTorch's _softmax_backward_data. */
static void softmax_back(const anx_reference_back_job *job, int64_t features) {
    for (int64_t first = 0; first < job->batch * features; first += features) {
        const double *y = job->y + first, *dy = job->dy + first;
        double sum = 0.0;
        for (int64_t i = 0; i < features; i++) sum += dy[i] * y[i];
        for (int64_t i = 0; i < features; i++) job->dx[first + i] = (dy[i] - sum) * y[i];
    }
}

anx_status anx_reference_run_back(const anx_reference_back_job *job, anx_error *err) {
    const anx_op op = job->node->layer->op;
    const int64_t elems = job->batch * extent_elems(&job->node->out);
    if (op == ANX_OP_CONV2D) return anx_reference_conv2d_back(job, err);
    if (op == ANX_OP_LINEAR) {
        anx_reference_linear_back(job);
        return ANX_OK;
    }
    if (job->dx == NULL) return ANX_OK; /* the rest have no parameters */
    switch (op) {
    case ANX_OP_ADAPTIVE_AVG_POOL2D: anx_reference_adaptive_avg_pool2d_back(job); return ANX_OK;
    case ANX_OP_MAX_POOL2D: anx_reference_max_pool2d_back(job); return ANX_OK;
    case ANX_OP_RELU: relu_back(job, elems); return ANX_OK;
    case ANX_OP_DROPOUT: dropout_back(job, elems); return ANX_OK;
    case ANX_OP_FLATTEN: memcpy(job->dx, job->dy, (size_t)elems * sizeof *job->dx); return ANX_OK;
    case ANX_OP_SOFTMAX: softmax_back(job, extent_elems(&job->node->out)); return ANX_OK;
    default: break;
    }
    return anx_error_set(err, ANX_ERR_UNSUPPORTED, "the reference has no way back through '%s'", anx_op_name(op));
}

static anx_status check_node(const anx_graph *graph, int node, int64_t batch, int threads, anx_error *err) {
    if (graph == NULL || node < 0 || node >= graph->n_nodes)
        return anx_error_set(err, ANX_ERR_INVALID_ARGUMENT, "no node %d in the graph", node);
    if (batch < 1 || threads < 1)
        return anx_error_set(err, ANX_ERR_INVALID_ARGUMENT, "batch %lld and %d threads: both must be at least 1",
                             (long long)batch, threads);
    return ANX_OK;
}

/* A parameter of the node: present exactly if the graph says so, contiguous float32 of the graph's shape. */
static anx_status check_param(const anx_graph *graph, int param, const anx_tensor *tensor, const float **out,
                              anx_error *err) {
    *out = NULL;
    if (param == ANX_NO_PARAM) return ANX_OK;
    const anx_param *p = &graph->params[param];
    if (tensor == NULL || tensor->dtype != ANX_F32 || !anx_tensor_is_contiguous(tensor) || tensor->rank != p->rank)
        return anx_error_set(err, ANX_ERR_INVALID_ARGUMENT, "'%s' must be a contiguous float32 tensor of rank %d",
                             p->name, p->rank);
    for (int i = 0; i < p->rank; i++)
        if (tensor->shape[i] != p->shape[i])
            return anx_error_set(err, ANX_ERR_INVALID_ARGUMENT, "'%s': extent %d is %lld, not %lld", p->name, i,
                                 (long long)tensor->shape[i], (long long)p->shape[i]);
    *out = tensor->data;
    return ANX_OK;
}

anx_status anx_reference_node(const anx_graph *graph, int node, int64_t batch, const anx_tensor *x,
                              const anx_tensor *weight, const anx_tensor *bias, double *y, int threads,
                              anx_error *err) {
    anx_status status = check_node(graph, node, batch, threads, err);
    if (status != ANX_OK) return status;
    const anx_node *nd = &graph->nodes[node];
    anx_reference_job job = {.node = nd, .batch = batch, .y = y, .threads = threads, .isa = anx_isa_best()};

    if (x == NULL || (x->dtype != ANX_F32 && x->dtype != ANX_F64) || !anx_tensor_is_contiguous(x) ||
        anx_tensor_elems(x) != batch * extent_elems(&nd->in)) {
        status = anx_error_set(err, ANX_ERR_INVALID_ARGUMENT,
                               "the input must be contiguous float32 or float64 with %lld elements",
                               (long long)(batch * extent_elems(&nd->in)));
        goto out;
    }
    if (x->dtype == ANX_F64)
        job.x64 = x->data;
    else
        job.x32 = x->data;
    status = check_param(graph, nd->weight, weight, &job.weight, err);
    if (status == ANX_OK) status = check_param(graph, nd->bias, bias, &job.bias, err);
    if (status == ANX_OK && y != NULL) status = anx_reference_run(&job, err);

out:
    if (status != ANX_OK) anx_error_in_layer(err, nd->layer->name);
    return status;
}

anx_status anx_reference_gauge(const anx_graph *graph, int node, int64_t batch, const float *x, const float *weight,
                               const float *bias, float *g, int threads, anx_error *err) {
    anx_status status = check_node(graph, node, batch, threads, err);
    if (status != ANX_OK) return status;
    const anx_node *nd = &graph->nodes[node];
    const anx_op op = nd->layer->op;
    const anx_reference_job job = {.node = nd,
                                   .batch = batch,
                                   .x32 = x,
                                   .weight = weight,
                                   .bias = bias,
                                   .gauge = g,
                                   .threads = threads,
                                   .isa = anx_isa_best()};
    if (op != ANX_OP_CONV2D && op != ANX_OP_LINEAR && op != ANX_OP_ADAPTIVE_AVG_POOL2D)
        status = anx_error_set(err, ANX_ERR_INVALID_ARGUMENT, "a '%s' sums nothing: it has no gauge", anx_op_name(op));
    else if (x == NULL || g == NULL || ((nd->weight != ANX_NO_PARAM) && weight == NULL) ||
             ((nd->bias != ANX_NO_PARAM) && bias == NULL))
        status = anx_error_set(err, ANX_ERR_INVALID_ARGUMENT, "the input, the parameters or the result is missing");
    else
        status = anx_reference_run(&job, err);
    if (status != ANX_OK) anx_error_in_layer(err, nd->layer->name);
    return status;
}

/* n values in double, absolute if asked for; the caller frees it. NULL without memory. */
static double *widened(const float *values, int64_t n, bool absolute) {
    double *out = calloc((size_t)n, sizeof *out);
    for (int64_t i = 0; out != NULL && i < n; i++) out[i] = absolute ? fabs((double)values[i]) : (double)values[i];
    return out;
}

static float *magnitudes(const float *values, int64_t n) {
    float *out = calloc((size_t)n, sizeof *out);
    for (int64_t i = 0; out != NULL && i < n; i++) out[i] = fabsf(values[i]);
    return out;
}

anx_status anx_reference_node_back(const anx_graph *graph, int node, int64_t batch, const anx_reference_gradients *g,
                                   int threads, anx_error *err) {
    anx_status status = check_node(graph, node, batch, threads, err);
    if (status != ANX_OK) return status;
    const anx_node *nd = &graph->nodes[node];
    const anx_op op = nd->layer->op;
    const bool sums = op == ANX_OP_CONV2D || op == ANX_OP_LINEAR || op == ANX_OP_ADAPTIVE_AVG_POOL2D;
    const bool weighted = nd->weight != ANX_NO_PARAM;
    if (!sums || g->x == NULL || g->dy == NULL || (g->weight == NULL) == weighted) {
        status =
            anx_error_set(err, ANX_ERR_INVALID_ARGUMENT, "no gradients of a '%s' from what is given", anx_op_name(op));
        anx_error_in_layer(err, nd->layer->name);
        return status;
    }
    double *x = widened(g->x, batch * extent_elems(&nd->in), g->gauge);
    double *dy = widened(g->dy, batch * extent_elems(&nd->out), g->gauge);
    float *weight = g->gauge && weighted ? magnitudes(g->weight, anx_param_elems(&graph->params[nd->weight])) : NULL;
    if (x == NULL || dy == NULL || (g->gauge && weighted && weight == NULL)) {
        status = anx_error_set(err, ANX_ERR_OUT_OF_MEMORY, "out of memory");
    } else {
        const anx_reference_back_job job = {.node = nd,
                                            .batch = batch,
                                            .x = x,
                                            .dy = dy,
                                            .weight = g->gauge ? weight : g->weight,
                                            .dx = g->dx,
                                            .dweight = g->dweight,
                                            .dbias = g->dbias,
                                            .threads = threads,
                                            .isa = anx_isa_best()};
        status = anx_reference_run_back(&job, err);
    }
    if (status != ANX_OK) anx_error_in_layer(err, nd->layer->name);
    free(x);
    free(dy);
    free(weight);
    return status;
}
