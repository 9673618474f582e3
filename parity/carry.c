/* Operations that round nothing, on truth and gauge: what a fused group does after its sum. */
#include <math.h>
#include <string.h>

#include "parity/metrics.h"

/* The rows (or columns) 0..n of the input that output i of a max-pool sees: [*begin, *end). */
static void window(int64_t i, int64_t n, int kernel, int step, int pad, int64_t *begin, int64_t *end) {
    const int64_t from = i * step - pad, to = from + kernel;
    *begin = from < 0 ? 0 : from;
    *end = to > n ? n : to;
}

static void pool_plane(const anx_node *n, const double *y, const float *g, double *y_out, float *g_out) {
    const anx_pool2d_params *p = &n->layer->u.pool;
    const int64_t w = n->in.dim[2];
    for (int64_t oh = 0; oh < n->out.dim[1]; oh++) {
        int64_t r0, r1;
        window(oh, n->in.dim[1], p->kernel_h, p->stride_h, p->pad_h, &r0, &r1);
        for (int64_t ow = 0; ow < n->out.dim[2]; ow++) {
            int64_t c0, c1;
            window(ow, w, p->kernel_w, p->stride_w, p->pad_w, &c0, &c1);
            double top = -INFINITY;
            float gauge = 0;
            for (int64_t r = r0; r < r1; r++)
                for (int64_t c = c0; c < c1; c++) {
                    const double v = y[r * w + c];
                    if (v > top || isnan(v)) top = v;
                    gauge = fmaxf(gauge, g[r * w + c]);
                }
            *y_out++ = top;
            *g_out++ = gauge;
        }
    }
}

static int64_t plane_elems(const anx_extent *e) {
    return e->dim[1] * e->dim[2];
}

bool anx_carry_through(const anx_graph *graph, int node, int64_t batch, const double *y64, const float *gauge,
                       double *y64_out, float *gauge_out) {
    const anx_node *n = &graph->nodes[node];
    const int64_t elems = batch * anx_graph_node_elems(graph, node);
    switch (n->layer->op) {
    case ANX_OP_RELU:
        for (int64_t i = 0; i < elems; i++) {
            y64_out[i] = y64[i] < 0 ? 0 : y64[i];              /* keeps NaN */
            gauge_out[i] = y64[i] == -INFINITY ? 0 : gauge[i]; /* 0 whatever was rounded before */
        }
        return true;
    case ANX_OP_MAX_POOL2D:
        for (int64_t plane = 0; plane < batch * n->in.dim[0]; plane++)
            pool_plane(n, y64 + plane * plane_elems(&n->in), gauge + plane * plane_elems(&n->in),
                       y64_out + plane * plane_elems(&n->out), gauge_out + plane * plane_elems(&n->out));
        return true;
    case ANX_OP_ADAPTIVE_AVG_POOL2D:
        if (n->terms > 1) return false;
        __attribute__((fallthrough)); /* the average of one element is that element */
    case ANX_OP_DROPOUT:
    case ANX_OP_FLATTEN:
        if (batch * anx_graph_node_elems(graph, n->inputs[0]) != elems) return false;
        memcpy(y64_out, y64, (size_t)elems * sizeof *y64);
        memcpy(gauge_out, gauge, (size_t)elems * sizeof *gauge);
        return true;
    case ANX_OP_CONV2D:
    case ANX_OP_LINEAR:
    case ANX_OP_SOFTMAX:
    case ANX_OP_COUNT: break;
    }
    return false;
}

int64_t anx_count_pool_ties(const anx_graph *graph, int node, int64_t batch, const float *x) {
    const anx_node *n = &graph->nodes[node];
    const anx_pool2d_params *p = &n->layer->u.pool;
    const int64_t w = n->in.dim[2];
    int64_t ties = 0;
    for (int64_t plane = 0; plane < batch * n->in.dim[0]; plane++, x += plane_elems(&n->in))
        for (int64_t oh = 0; oh < n->out.dim[1]; oh++) {
            int64_t r0, r1;
            window(oh, n->in.dim[1], p->kernel_h, p->stride_h, p->pad_h, &r0, &r1);
            for (int64_t ow = 0; ow < n->out.dim[2]; ow++) {
                int64_t c0, c1;
                window(ow, w, p->kernel_w, p->stride_w, p->pad_w, &c0, &c1);
                float top = 0;
                int takers = 0;
                for (int64_t r = r0; r < r1; r++)
                    for (int64_t c = c0; c < c1; c++) {
                        const float v = x[r * w + c];
                        if (v > top) {
                            top = v;
                            takers = 1;
                        } else if (v == top)
                            takers++;
                    }
                ties += top > 0 && takers > 1;
            }
        }
    return ties;
}
