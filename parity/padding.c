#include "parity/padding.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "parity/judge_run.h"

/* One convolution on float32 arrays. */
typedef struct task {
    const anx_node *node;
    const float *x, *weight, *bias;
} task;

static int64_t plane_elems(const anx_extent *e) {
    return e->dim[1] * e->dim[2];
}

static bool all_finite(const float *v, int64_t n) {
    for (int64_t i = 0; i < n; i++)
        if (!isfinite(v[i])) return false;
    return true;
}

/* One output's sum and gauge over the taps that lie on the image; true if a NaN or infinite weight lies beside it. */
static bool sum_inside(const task *t, int64_t n, int64_t oc, int64_t oh, int64_t ow, double *sum, double *gauge) {
    const anx_conv2d_params *p = &t->node->conv;
    const anx_extent *in = &t->node->in;
    const int64_t channels = in->dim[0] / p->groups, first = oc / (t->node->out.dim[0] / p->groups) * channels;
    const float *w = t->weight + oc * t->node->terms;
    bool met = false;
    *sum = t->bias != NULL ? t->bias[oc] : 0;
    *gauge = fabs(*sum);
    for (int64_t c = first; c < first + channels; c++) {
        const float *plane = t->x + (n * in->dim[0] + c) * plane_elems(in);
        for (int64_t kh = 0; kh < p->kernel_h; kh++)
            for (int64_t kw = 0; kw < p->kernel_w; kw++, w++) {
                const int64_t h = oh * p->stride_h - p->pad_h + kh * p->dilation_h;
                const int64_t x = ow * p->stride_w - p->pad_w + kw * p->dilation_w;
                if (h < 0 || x < 0 || h >= in->dim[1] || x >= in->dim[2]) {
                    met = met || !isfinite(*w);
                    continue;
                }
                const double product = (double)*w * (double)plane[h * in->dim[2] + x];
                *sum += product;
                *gauge += fabs(product);
            }
    }
    return met;
}

/* Does the window of an output reach into the padding? */
static bool reaches_out(const anx_node *node, int64_t oh, int64_t ow) {
    const anx_conv2d_params *p = &node->conv;
    const int64_t top = oh * p->stride_h - p->pad_h, left = ow * p->stride_w - p->pad_w;
    return top < 0 || left < 0 || top + (p->kernel_h - 1) * p->dilation_h >= node->in.dim[1] ||
           left + (p->kernel_w - 1) * p->dilation_w >= node->in.dim[2];
}

/* Every element of one output plane, in place; true if one has changed. */
static bool skip_in_plane(const task *t, int64_t n, int64_t oc, double *y, float *g) {
    const anx_extent *out = &t->node->out;
    bool changed = false;
    for (int64_t oh = 0; oh < out->dim[1]; oh++)
        for (int64_t ow = 0; ow < out->dim[2]; ow++, y++, g++) {
            double sum, gauge;
            if (!reaches_out(t->node, oh, ow) || !sum_inside(t, n, oc, oh, ow, &sum, &gauge)) continue;
            *y = sum;
            *g = (float)gauge;
            changed = true;
        }
    return changed;
}

bool anx_padding_matters(const anx_graph *graph, int node, const float *weight) {
    const anx_node *n = &graph->nodes[node];
    return n->layer->op == ANX_OP_CONV2D && (n->conv.pad_h > 0 || n->conv.pad_w > 0) &&
           !all_finite(weight, n->out.dim[0] * n->terms);
}

anx_status anx_padding_skip(const anx_graph *graph, int node, int64_t batch, const float *x, const float *weight,
                            const float *bias, const double *y64, const float *gauge, double **skipped,
                            float **skipped_gauge, anx_error *err) {
    const anx_node *nd = &graph->nodes[node];
    const anx_extent *e = &nd->out;
    *skipped = NULL;
    *skipped_gauge = NULL;
    if (!anx_padding_matters(graph, node, weight)) return ANX_OK;
    double *y = NULL;
    float *g = NULL;
    bool changed = false;
    const size_t elems = (size_t)(batch * anx_graph_node_elems(graph, node));
    anx_status status = anx_judge_alloc(graph, node, batch, sizeof *y, &y, err);
    if (status == ANX_OK) status = anx_judge_alloc(graph, node, batch, sizeof *g, &g, err);
    if (status != ANX_OK) goto out;
    memcpy(y, y64, elems * sizeof *y);
    memcpy(g, gauge, elems * sizeof *g);
    const task t = {.node = nd, .x = x, .weight = weight, .bias = bias};
    for (int64_t plane = 0; plane < batch * e->dim[0]; plane++) {
        const int64_t oc = plane % e->dim[0], at = plane * plane_elems(e);
        if (all_finite(weight + oc * nd->terms, nd->terms)) continue;
        changed = skip_in_plane(&t, plane / e->dim[0], oc, y + at, g + at) || changed;
    }
out:
    if (!changed) { /* on errors too */
        free(y);
        free(g);
        y = NULL;
        g = NULL;
    }
    *skipped = y;
    *skipped_gauge = g;
    return status;
}
