/* One element of a suspect's output, worked out under a hypothesis. */
#include <math.h>

#include "parity/diagnose_hypothesis.h"

typedef struct place {
    int64_t n, c, y, x; /* features: c alone */
} place;

static double eval(const anx_suspect *s, const anx_hypothesis *h, int node, place at);

static float round_with(anx_rounding r, float v) {
    return r != NULL ? r(v) : v;
}

static int64_t clamp(int64_t v, int64_t n) {
    return v < 0 ? 0 : v >= n ? n - 1 : v;
}

/* The value that `node` reads at a place of its input, inside the plane. */
static double eval_input(const anx_suspect *s, const anx_hypothesis *h, int node, place at) {
    const anx_node *g = &s->graph->nodes[node];
    if (node != s->first) return eval(s, h, g->inputs[0], at);
    const anx_extent *e = &g->in;
    const int64_t plane = e->rank == 3 ? e->dim[1] * e->dim[2] : 1, width = e->rank == 3 ? e->dim[2] : 1;
    return (double)s->input[(at.n * e->dim[0] + at.c) * plane + at.y * width + at.x];
}

static double bias_of(const anx_suspect *s, const anx_hypothesis *h, const anx_node *g, int64_t out) {
    if (g->bias == ANX_NO_PARAM) return 0;
    const int64_t n = s->params[g->bias].shape[0];
    const float *bias = s->params[g->bias].data;
    return (1 + h->bias_change) * (double)bias[((out + h->bias_shift) % n + n) % n];
}

/* The step in which the weights of one output are counted; 0 where they are as they are. */
static double weight_step(const anx_hypothesis *h, const float *row, int64_t n) {
    if (h->int8_levels <= 0 || !h->int8_per_output) return h->int8_step;
    double largest = 0;
    for (int64_t i = 0; i < n; i++) largest = fmax(largest, fabs((double)row[i]));
    return largest / h->int8_levels;
}

static double weight_as(const anx_hypothesis *h, double step, float w) {
    return step > 0 ? fmin(fmax(rint(w / step), -128), 127) * step : (double)round_with(h->weight, w);
}

/* The channel that is read for channel c of a group of n; the first of the group is `first`. -1: none. */
static int64_t channel_read(const anx_hypothesis *h, int64_t c, int64_t n, int64_t first) {
    if (h->channels_reversed) c = n - 1 - c;
    if (h->channels_turned != 0) c = ((c + h->channels_turned) % n + n) % n;
    c += first;
    if (c == h->missing_end - 1) return -1;
    if (h->swapped[0] == h->swapped[1]) return c;
    return c == h->swapped[0] ? h->swapped[1] : c == h->swapped[1] ? h->swapped[0] : c;
}

/* The group whose channels an output reads. */
static int64_t group_read(const anx_hypothesis *h, int64_t out, int64_t outs, int64_t groups) {
    const int64_t group = out / outs;
    switch (h->groups) {
    case GROUPS_NEXT: return (group + 1) % groups;
    case GROUPS_BEFORE: return (group + groups - 1) % groups;
    case GROUPS_FIRST: return 0;
    case GROUPS_OUTPUTS_WOVEN: return out % groups;
    case GROUPS_INPUTS_WOVEN:
    case GROUPS_RIGHT: break;
    }
    return group;
}

static double eval_conv(const anx_suspect *s, const anx_hypothesis *h, int node, place at) {
    const anx_node *g = &s->graph->nodes[node];
    const anx_conv2d_params *p = &g->conv;
    const int64_t per_group = g->in.dim[0] / p->groups, outs = g->out.dim[0] / p->groups;
    const int64_t oc = h->next_weights ? (at.c + 1) % g->out.dim[0] : at.c;
    const int64_t group = group_read(h, oc, outs, p->groups);
    const float *weight = (const float *)s->params[g->weight].data + oc * g->terms;
    const double step = weight_step(h, weight, g->terms);
    const int64_t top = at.y * (p->stride_h + h->stride_change) - p->pad_h + h->shift_y;
    const int64_t left = at.x * (p->stride_w + h->stride_change) - p->pad_w + h->shift_x;
    double y = bias_of(s, h, g, at.c);
    for (int64_t ic = 0; ic < per_group; ic++, weight += p->kernel_h * p->kernel_w) {
        int64_t c = channel_read(h, ic, per_group, group * per_group);
        if (c < 0) continue;
        if (h->groups == GROUPS_INPUTS_WOVEN) c = ic * p->groups + group;
        for (int kh = 0; kh < p->kernel_h; kh++)
            for (int kw = 0; kw < p->kernel_w; kw++) {
                int64_t iy = top + kh * (p->dilation_h + h->dilation_change);
                int64_t ix = left + kw * (p->dilation_w + h->dilation_change);
                if (h->replicate) iy = clamp(iy, g->in.dim[1]), ix = clamp(ix, g->in.dim[2]);
                if (iy < 0 || ix < 0 || iy >= g->in.dim[1] || ix >= g->in.dim[2]) continue;
                int64_t wh = kh, ww = kw;
                if (h->kernel == KERNEL_FLIPPED) wh = p->kernel_h - 1 - kh, ww = p->kernel_w - 1 - kw;
                if (h->kernel == KERNEL_TRANSPOSED && p->kernel_h == p->kernel_w) wh = kw, ww = kh;
                const float x = (float)eval_input(s, h, node, (place){at.n, c, iy, ix});
                y += (double)round_with(h->input, x) * weight_as(h, step, weight[wh * p->kernel_w + ww]);
            }
    }
    return y;
}

/* Where a feature sits if it was flattened in (H, W, C) order. */
static int64_t channels_last_index(const anx_graph *graph, int node, int64_t i) {
    const int from = graph->nodes[node].inputs[0];
    const anx_extent *e = from == ANX_NODE_INPUT ? NULL : anx_diagnose_flattened_from(graph, from);
    if (e == NULL) return i;
    const int64_t c = i % e->dim[0], pixel = i / e->dim[0];
    return c * e->dim[1] * e->dim[2] + pixel;
}

static double eval_linear(const anx_suspect *s, const anx_hypothesis *h, int node, place at) {
    const anx_node *g = &s->graph->nodes[node];
    const int64_t n = g->in.dim[0], out = h->next_weights ? (at.c + 1) % g->out.dim[0] : at.c;
    const anx_channels channels = anx_diagnose_channels(s->graph, node);
    const float *w = s->params[g->weight].data;
    const double step = weight_step(h, w + out * n, n);
    double y = bias_of(s, h, g, at.c);
    for (int64_t i = 0; i < n; i++) {
        const int64_t c = channel_read(h, i / channels.each, channels.n, 0);
        if (c < 0) continue;
        const int64_t read = c * channels.each + i % channels.each;
        const int64_t from = h->channels_last_input ? channels_last_index(s->graph, node, i) : read;
        const float x = (float)eval_input(s, h, node, (place){at.n, from, 0, 0});
        const int64_t k = h->weights_in_out ? i * g->out.dim[0] + out : out * n + i;
        y += (double)round_with(h->input, x) * weight_as(h, step, w[k]);
    }
    return y;
}

/* Rows (or columns) begin .. end-1 of an adaptive average's output i. */
static void adaptive_window(anx_window_rule rule, int64_t i, int64_t length, int64_t windows, int64_t *begin,
                            int64_t *end) {
    *begin = i * length / windows;
    *end = ((i + 1) * length + windows - 1) / windows;
    if (rule == WINDOWS_END_EARLY) {
        *end = (i + 1) * length / windows;
        if (*end == *begin) ++*end;
    }
    if (rule == WINDOWS_OF_ONE_SIZE && length >= windows) { /* as exporters write an adaptive average */
        const int64_t stride = length / windows;
        *begin = i * stride;
        *end = *begin + length - (windows - 1) * stride;
    }
}

static double eval_average(const anx_suspect *s, const anx_hypothesis *h, int node, place at) {
    const anx_node *g = &s->graph->nodes[node];
    int64_t y0, y1, x0, x1;
    adaptive_window(h->windows, at.y, g->in.dim[1], g->out.dim[1], &y0, &y1);
    adaptive_window(h->windows, at.x, g->in.dim[2], g->out.dim[2], &x0, &x1);
    double sum = 0;
    for (int64_t y = y0; y < y1; y++)
        for (int64_t x = x0; x < x1; x++) sum += eval_input(s, h, node, (place){at.n, at.c, y, x});
    return sum / (double)((y1 - y0) * (x1 - x0));
}

static double eval_max_pool(const anx_suspect *s, const anx_hypothesis *h, int node, place at) {
    const anx_node *g = &s->graph->nodes[node];
    const anx_pool2d_params *p = &g->layer->u.pool;
    double top = -INFINITY, sum = 0;
    int count = 0;
    for (int kh = 0; kh < p->kernel_h + h->window_change; kh++)
        for (int kw = 0; kw < p->kernel_w + h->window_change; kw++) {
            const int64_t iy = at.y * (p->stride_h + h->stride_change) - p->pad_h + kh + h->shift_y;
            const int64_t ix = at.x * (p->stride_w + h->stride_change) - p->pad_w + kw + h->shift_x;
            if (iy < 0 || ix < 0 || iy >= g->in.dim[1] || ix >= g->in.dim[2]) continue;
            const double v = eval_input(s, h, node, (place){at.n, at.c, iy, ix});
            top = fmax(top, v);
            sum += v;
            count++;
        }
    return h->average ? sum / (count > 0 ? count : 1) : top;
}

static double eval(const anx_suspect *s, const anx_hypothesis *h, int node, place at) {
    const anx_node *g = &s->graph->nodes[node];
    switch (g->layer->op) {
    case ANX_OP_CONV2D: return eval_conv(s, h, node, at);
    case ANX_OP_LINEAR: return eval_linear(s, h, node, at);
    case ANX_OP_MAX_POOL2D: return eval_max_pool(s, h, node, at);
    case ANX_OP_RELU: {
        const double x = eval_input(s, h, node, at);
        return h->skip_relu || x >= 0 ? x : h->leak * x;
    }
    case ANX_OP_DROPOUT: return eval_input(s, h, node, at);
    case ANX_OP_ADAPTIVE_AVG_POOL2D: return eval_average(s, h, node, at);
    case ANX_OP_FLATTEN:
    case ANX_OP_SOFTMAX:
    case ANX_OP_COUNT: break;
    }
    return NAN; /* no hypothesis about these */
}

bool anx_diagnose_can_evaluate(const anx_suspect *s) {
    if (s->input == NULL) return false;
    for (int node = s->node;;) {
        const anx_node *g = &s->graph->nodes[node];
        switch (g->layer->op) {
        case ANX_OP_CONV2D:
        case ANX_OP_LINEAR:
            if (s->params == NULL || node != s->first) return false;
            break;
        case ANX_OP_MAX_POOL2D:
        case ANX_OP_RELU:
        case ANX_OP_ADAPTIVE_AVG_POOL2D:
        case ANX_OP_DROPOUT: break;
        case ANX_OP_FLATTEN:
        case ANX_OP_SOFTMAX:
        case ANX_OP_COUNT: return false;
        }
        if (node == s->first) return true;
        node = g->inputs[0];
        if (node < s->first) return false;
    }
}

static place place_of(const anx_suspect *s, int64_t flat) {
    const anx_extent *e = anx_graph_extent(s->graph, s->node);
    if (e->rank == 1) return (place){flat / e->dim[0], flat % e->dim[0], 0, 0};
    return (place){flat / (e->dim[0] * e->dim[1] * e->dim[2]), flat / (e->dim[1] * e->dim[2]) % e->dim[0],
                   flat / e->dim[2] % e->dim[1], flat % e->dim[2]};
}

double anx_diagnose_evaluate(const anx_suspect *s, const anx_hypothesis *h, int64_t flat) {
    return eval(s, h, s->node, place_of(s, flat));
}

anx_channels anx_diagnose_channels(const anx_graph *graph, int node) {
    const anx_node *g = &graph->nodes[node];
    if (g->in.rank == 3) return (anx_channels){g->in.dim[0] / g->conv.groups, g->in.dim[1] * g->in.dim[2]};
    const int from = g->inputs[0];
    const anx_extent *e = from == ANX_NODE_INPUT ? NULL : anx_diagnose_flattened_from(graph, from);
    if (e == NULL || e->rank != 3) return (anx_channels){g->in.dim[0], 1};
    return (anx_channels){e->dim[0], e->dim[1] * e->dim[2]};
}
