#include "tests/support/naive.h"

#include <math.h>

static int64_t at4(const anx_extent *e, int64_t n, int64_t c, int64_t h, int64_t w) {
    return ((n * e->dim[0] + c) * e->dim[1] + h) * e->dim[2] + w;
}

static bool inside(const anx_extent *e, int64_t h, int64_t w) {
    return h >= 0 && h < e->dim[1] && w >= 0 && w < e->dim[2];
}

static long double sign(long double v, bool absolute) {
    return absolute ? fabsl(v) : v;
}

static long double conv_at(const anx_node *node, const long double *x, const float *weight, bool absolute, int64_t n,
                           int64_t oc, int64_t oh, int64_t ow) {
    const anx_conv2d_params *p = &node->conv;
    const int64_t per_group = node->in.dim[0] / p->groups, group = oc / (node->out.dim[0] / p->groups);
    long double sum = 0;
    for (int64_t c = 0; c < per_group; c++)
        for (int64_t kh = 0; kh < p->kernel_h; kh++)
            for (int64_t kw = 0; kw < p->kernel_w; kw++) {
                const int64_t h = oh * p->stride_h - p->pad_h + kh * p->dilation_h;
                const int64_t w = ow * p->stride_w - p->pad_w + kw * p->dilation_w;
                if (!inside(&node->in, h, w)) continue;
                const float f = weight[((oc * per_group + c) * p->kernel_h + kh) * p->kernel_w + kw];
                sum += sign((long double)f * x[at4(&node->in, n, group * per_group + c, h, w)], absolute);
            }
    return sum;
}

static long double max_at(const anx_node *node, const long double *x, int64_t n, int64_t c, int64_t oh, int64_t ow) {
    const anx_pool2d_params *p = &node->layer->u.pool;
    long double max = -INFINITY;
    for (int64_t kh = 0; kh < p->kernel_h; kh++)
        for (int64_t kw = 0; kw < p->kernel_w; kw++) {
            const int64_t h = oh * p->stride_h - p->pad_h + kh, w = ow * p->stride_w - p->pad_w + kw;
            if (!inside(&node->in, h, w)) continue;
            const long double v = x[at4(&node->in, n, c, h, w)];
            if (isnan(v) || v > max) max = v;
        }
    return max;
}

/* torch.nn.AdaptiveAvgPool2d: the elements h with floor(oh H / OH) <= h < ceil((oh + 1) H / OH). */
static long double average_at(const anx_node *node, const long double *x, bool absolute, int64_t n, int64_t c,
                              int64_t oh, int64_t ow) {
    const int64_t in_h = node->in.dim[1], in_w = node->in.dim[2], out_h = node->out.dim[1], out_w = node->out.dim[2];
    long double sum = 0;
    int64_t count = 0;
    for (int64_t h = 0; h < in_h; h++)
        for (int64_t w = 0; w < in_w; w++) {
            /* h >= floor(a / b) is h > a / b - 1; h < ceil(a / b) is h < a / b for integers h. */
            const bool row = (h + 1) * out_h > oh * in_h && h * out_h < (oh + 1) * in_h;
            const bool column = (w + 1) * out_w > ow * in_w && w * out_w < (ow + 1) * in_w;
            if (!row || !column) continue;
            sum += sign(x[at4(&node->in, n, c, h, w)], absolute);
            count++;
        }
    return sum / (long double)count;
}

static void planes(const anx_node *node, int64_t batch, const long double *x, const float *weight, const float *bias,
                   bool absolute, long double *y) {
    for (int64_t n = 0; n < batch; n++)
        for (int64_t c = 0; c < node->out.dim[0]; c++)
            for (int64_t h = 0; h < node->out.dim[1]; h++)
                for (int64_t w = 0; w < node->out.dim[2]; w++) {
                    long double v = 0;
                    if (node->layer->op == ANX_OP_CONV2D)
                        v = conv_at(node, x, weight, absolute, n, c, h, w) + sign((long double)bias[c], absolute);
                    else if (node->layer->op == ANX_OP_MAX_POOL2D)
                        v = max_at(node, x, n, c, h, w);
                    else
                        v = average_at(node, x, absolute, n, c, h, w);
                    y[at4(&node->out, n, c, h, w)] = v;
                }
}

static void linear(const anx_node *node, int64_t batch, const long double *x, const float *weight, const float *bias,
                   bool absolute, long double *y) {
    const int64_t in = node->in.dim[0], out = node->out.dim[0];
    for (int64_t n = 0; n < batch; n++)
        for (int64_t o = 0; o < out; o++) {
            long double sum = sign((long double)bias[o], absolute);
            for (int64_t i = 0; i < in; i++) sum += sign((long double)weight[o * in + i] * x[n * in + i], absolute);
            y[n * out + o] = sum;
        }
}

static void softmax(int64_t batch, int64_t features, const long double *x, long double *y) {
    for (int64_t n = 0; n < batch; n++, x += features, y += features) {
        long double max = x[0], sum = 0;
        for (int64_t i = 1; i < features; i++) max = x[i] > max ? x[i] : max;
        for (int64_t i = 0; i < features; i++) sum += expl(x[i] - max);
        for (int64_t i = 0; i < features; i++) y[i] = expl(x[i] - max) / sum;
    }
}

void naive_node(const anx_graph *graph, int node, int64_t batch, const long double *x, const float *weight,
                const float *bias, bool absolute, long double *y) {
    const anx_node *nd = &graph->nodes[node];
    const int64_t elems = batch * anx_graph_node_elems(graph, node);
    switch (nd->layer->op) {
    case ANX_OP_CONV2D:
    case ANX_OP_MAX_POOL2D:
    case ANX_OP_ADAPTIVE_AVG_POOL2D: planes(nd, batch, x, weight, bias, absolute, y); return;
    case ANX_OP_LINEAR: linear(nd, batch, x, weight, bias, absolute, y); return;
    case ANX_OP_SOFTMAX: softmax(batch, nd->in.dim[0], x, y); return;
    case ANX_OP_RELU:
        for (int64_t i = 0; i < elems; i++) y[i] = x[i] < 0 ? 0 : x[i];
        return;
    case ANX_OP_DROPOUT:
    case ANX_OP_FLATTEN:
        for (int64_t i = 0; i < elems; i++) y[i] = x[i];
        return;
    case ANX_OP_COUNT: return;
    }
}
