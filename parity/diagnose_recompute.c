/*
 * A sample of the elements worked out anew under one hypothesis after another: a hypothesis fits where it gives what
 * the engine gave, at the wrong elements as well as at the right ones.
 */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "parity/diagnose_inside.h"

/* ---- operands rounded to fewer bits ---- */

typedef float (*rounding)(float);

static float bf16_nearest(float v) {
    return anx_bf16_to_f32(anx_f32_to_bf16(v));
}

static float f16_nearest(float v) {
    return anx_f16_to_f32(anx_f32_to_f16(v));
}

static float keep_bits(float v, int dropped, bool nearest) {
    uint32_t bits;
    memcpy(&bits, &v, sizeof bits);
    if (nearest) bits += (1U << (dropped - 1)) - 1 + ((bits >> dropped) & 1);
    bits &= ~((1U << dropped) - 1);
    memcpy(&v, &bits, sizeof v);
    return v;
}

static float tf32_nearest(float v) {
    return keep_bits(v, 13, true);
}

static float tf32_truncated(float v) {
    return keep_bits(v, 13, false);
}

static float bf16_truncated(float v) {
    return keep_bits(v, 16, false);
}

/* ---- hypotheses ---- */

typedef enum kernel_change { KERNEL_AS_IS, KERNEL_FLIPPED, KERNEL_TRANSPOSED } kernel_change;

/* Which channels of its input a group of a convolution reads. */
typedef enum group_change { GROUP_OWN, GROUP_NEXT, GROUP_FIRST } group_change;

/* Weights as 8-bit integers times a step: the largest magnitude over 127, of the tensor or of each output's weights. */
typedef enum int8_weights { INT8_NONE, INT8_PER_TENSOR, INT8_PER_OUTPUT } int8_weights;

/* Adaptive pooling's windows. */
typedef enum adaptive_change { ADAPTIVE_AS_IS, ADAPTIVE_END_EARLY, ADAPTIVE_ONE_SIZE } adaptive_change;

typedef struct hypothesis {
    const char *id, *text;
    rounding input, weight; /* NULL: as they are */
    bool no_bias, bias_twice;
    int bias_shift;       /* the bias of the output so many further on */
    int shift_y, shift_x; /* the input is read so far off */
    bool replicate;       /* padding repeats the border instead of zeros */
    kernel_change kernel;
    bool channels_reversed;   /* input channels last to first (RGB as BGR) */
    bool channels_last_input; /* a flattened input in (H, W, C) order */
    bool next_weights;        /* the weights of the next output */
    bool weights_in_out;      /* a linear layer's weights in memory read as (in, out) */
    bool skip_relu;
    int stride_change, dilation_change;
    group_change groups;
    int8_weights int8;
    adaptive_change adaptive;
    int window_change; /* max-pool: so many rows and columns more */
    bool average;      /* max-pool: the mean instead */
    double leak;       /* ReLU: slope below 0 */
} hypothesis;

static const hypothesis hypotheses[] = {
    {.id = "reduced-precision-tf32",
     .text = "both operands rounded to TF32 (11 bits)",
     .input = tf32_nearest,
     .weight = tf32_nearest},
    {.id = "reduced-precision-tf32",
     .text = "both operands truncated to TF32 (11 bits)",
     .input = tf32_truncated,
     .weight = tf32_truncated},
    {.id = "reduced-precision-fp16",
     .text = "both operands rounded to float16 (11 bits)",
     .input = f16_nearest,
     .weight = f16_nearest},
    {.id = "reduced-precision-bf16",
     .text = "both operands rounded to bfloat16 (8 bits)",
     .input = bf16_nearest,
     .weight = bf16_nearest},
    {.id = "reduced-precision-bf16",
     .text = "both operands truncated to bfloat16 (8 bits)",
     .input = bf16_truncated,
     .weight = bf16_truncated},
    {.id = "reduced-precision-tf32", .text = "inputs rounded to TF32 (11 bits)", .input = tf32_nearest},
    {.id = "reduced-precision-fp16", .text = "inputs rounded to float16 (11 bits)", .input = f16_nearest},
    {.id = "reduced-precision-bf16", .text = "inputs rounded to bfloat16 (8 bits)", .input = bf16_nearest},
    {.id = "reduced-precision-tf32", .text = "weights rounded to TF32 (11 bits)", .weight = tf32_nearest},
    {.id = "reduced-precision-fp16", .text = "weights rounded to float16 (11 bits)", .weight = f16_nearest},
    {.id = "reduced-precision-bf16", .text = "weights rounded to bfloat16 (8 bits)", .weight = bf16_nearest},
    {.id = "reduced-precision-int8",
     .text = "weights quantised to 8-bit integers, one step for the whole tensor",
     .int8 = INT8_PER_TENSOR},
    {.id = "reduced-precision-int8",
     .text = "weights quantised to 8-bit integers, one step for each output",
     .int8 = INT8_PER_OUTPUT},
    {.id = "missing-bias", .text = "no bias added", .no_bias = true},
    {.id = "bias-twice", .text = "the bias added twice", .bias_twice = true},
    {.id = "shifted-bias", .text = "each output given the next one's bias", .bias_shift = 1},
    {.id = "shifted-bias", .text = "each output given the bias of the one before", .bias_shift = -1},
    {.id = "padding", .text = "the input read one column to the right", .shift_x = 1},
    {.id = "padding", .text = "the input read one column to the left", .shift_x = -1},
    {.id = "padding", .text = "the input read one row further down", .shift_y = 1},
    {.id = "padding", .text = "the input read one row further up", .shift_y = -1},
    {.id = "padding",
     .text = "the input read one row and column further (padding off by one)",
     .shift_y = 1,
     .shift_x = 1},
    {.id = "padding",
     .text = "the input read one row and column before (padding off by one)",
     .shift_y = -1,
     .shift_x = -1},
    {.id = "padding", .text = "the border repeated instead of zeros", .replicate = true},
    {.id = "kernel-flipped",
     .text = "the kernel turned by 180 degrees (convolution for correlation)",
     .kernel = KERNEL_FLIPPED},
    {.id = "kernel-transposed", .text = "the kernel's rows and columns exchanged", .kernel = KERNEL_TRANSPOSED},
    {.id = "channel-order", .text = "the input's channels in reverse order (BGR for RGB)", .channels_reversed = true},
    {.id = "flatten-order", .text = "the input flattened in (H, W, C) order", .channels_last_input = true},
    {.id = "output-order", .text = "each output computed with the next one's weights", .next_weights = true},
    {.id = "weights-transposed", .text = "the weights read as (in, out) rather than (out, in)", .weights_in_out = true},
    {.id = "skipped-relu", .text = "the ReLU left out", .skip_relu = true},
    {.id = "skipped-relu", .text = "a leaky ReLU (slope 0.01)", .leak = 0.01},
    {.id = "stride", .text = "a stride of one more", .stride_change = 1},
    {.id = "stride", .text = "a stride of one less", .stride_change = -1},
    {.id = "dilation", .text = "a dilation of one more", .dilation_change = 1},
    {.id = "dilation", .text = "a dilation of one less", .dilation_change = -1},
    {.id = "groups", .text = "each group reading the next one's channels", .groups = GROUP_NEXT},
    {.id = "groups", .text = "every group reading the first one's channels", .groups = GROUP_FIRST},
    {.id = "adaptive-window",
     .text = "windows that end at floor((i + 1) H / OH) instead of rounding up",
     .adaptive = ADAPTIVE_END_EARLY},
    {.id = "adaptive-window", .text = "windows of one size and stride", .adaptive = ADAPTIVE_ONE_SIZE},
    {.id = "window", .text = "a window of one row and column less", .window_change = -1},
    {.id = "window", .text = "a window of one row and column more", .window_change = 1},
    {.id = "pooling-kind", .text = "the average of the window instead of its maximum", .average = true},
};

/* ---- one element under a hypothesis ---- */

typedef struct place {
    int64_t n, c, y, x; /* features: c alone */
} place;

static double eval(const anx_suspect *s, const hypothesis *h, int node, place at);

static float round_with(rounding r, float v) {
    return r != NULL ? r(v) : v;
}

static int64_t clamp(int64_t v, int64_t n) {
    return v < 0 ? 0 : v >= n ? n - 1 : v;
}

/* The value that `node` reads at a place of its input, inside the plane. */
static double eval_input(const anx_suspect *s, const hypothesis *h, int node, place at) {
    const anx_node *g = &s->graph->nodes[node];
    if (node != s->first) return eval(s, h, g->inputs[0], at);
    const anx_extent *e = &g->in;
    const int64_t plane = e->rank == 3 ? e->dim[1] * e->dim[2] : 1, width = e->rank == 3 ? e->dim[2] : 1;
    return (double)s->input[(at.n * e->dim[0] + at.c) * plane + at.y * width + at.x];
}

static double bias_of(const anx_suspect *s, const hypothesis *h, const anx_node *g, int64_t out) {
    if (g->bias == ANX_NO_PARAM || h->no_bias) return 0;
    const int64_t n = s->params[g->bias].shape[0];
    const double bias = ((const float *)s->params[g->bias].data)[((out + h->bias_shift) % n + n) % n];
    return h->bias_twice ? 2 * bias : bias;
}

/* The step of output `out`'s weights as 8-bit integers; 0: they stay as they are. */
static double int8_step(const hypothesis *h, const anx_tensor *weight, int64_t out) {
    if (h->int8 == INT8_NONE) return 0;
    const int64_t all = anx_tensor_elems(weight), each = all / weight->shape[0];
    const float *w = (const float *)weight->data + (h->int8 == INT8_PER_OUTPUT ? out * each : 0);
    float largest = 0;
    for (int64_t i = 0; i < (h->int8 == INT8_PER_OUTPUT ? each : all); i++) largest = fmaxf(largest, fabsf(w[i]));
    return (double)largest / 127;
}

static double weight_under(const hypothesis *h, double step, float w) {
    return step > 0 ? rint((double)w / step) * step : (double)round_with(h->weight, w);
}

/* The first input channel that output channel oc reads. */
static int64_t first_channel(const hypothesis *h, const anx_node *g, int64_t oc) {
    const int64_t groups = g->conv.groups;
    int64_t group = oc / (g->out.dim[0] / groups);
    if (h->groups == GROUP_NEXT) group = (group + 1) % groups;
    if (h->groups == GROUP_FIRST) group = 0;
    return group * (g->in.dim[0] / groups);
}

static double eval_conv(const anx_suspect *s, const hypothesis *h, int node, place at) {
    const anx_node *g = &s->graph->nodes[node];
    const anx_conv2d_params *p = &g->conv;
    const float *weight = s->params[g->weight].data;
    const int64_t per_group = g->in.dim[0] / p->groups;
    const int64_t oc = h->next_weights ? (at.c + 1) % g->out.dim[0] : at.c;
    const int64_t first = first_channel(h, g, oc);
    const double step = int8_step(h, &s->params[g->weight], oc);
    double y = bias_of(s, h, g, at.c);
    for (int64_t ic = 0; ic < per_group; ic++)
        for (int kh = 0; kh < p->kernel_h; kh++)
            for (int kw = 0; kw < p->kernel_w; kw++) {
                int64_t iy = at.y * (p->stride_h + h->stride_change) - p->pad_h +
                             kh * (p->dilation_h + h->dilation_change) + h->shift_y;
                int64_t ix = at.x * (p->stride_w + h->stride_change) - p->pad_w +
                             kw * (p->dilation_w + h->dilation_change) + h->shift_x;
                if (h->replicate) iy = clamp(iy, g->in.dim[1]), ix = clamp(ix, g->in.dim[2]);
                if (iy < 0 || ix < 0 || iy >= g->in.dim[1] || ix >= g->in.dim[2]) continue;
                int64_t wh = kh, ww = kw;
                if (h->kernel == KERNEL_FLIPPED) wh = p->kernel_h - 1 - kh, ww = p->kernel_w - 1 - kw;
                if (h->kernel == KERNEL_TRANSPOSED && p->kernel_h == p->kernel_w) wh = kw, ww = kh;
                const int64_t c = first + (h->channels_reversed ? per_group - 1 - ic : ic);
                const float x = (float)eval_input(s, h, node, (place){at.n, c, iy, ix});
                const float w = weight[((oc * per_group + ic) * p->kernel_h + wh) * p->kernel_w + ww];
                y += (double)round_with(h->input, x) * weight_under(h, step, w);
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

static double eval_linear(const anx_suspect *s, const hypothesis *h, int node, place at) {
    const anx_node *g = &s->graph->nodes[node];
    const int64_t n = g->in.dim[0], out = h->next_weights ? (at.c + 1) % g->out.dim[0] : at.c;
    const float *w = s->params[g->weight].data;
    const double step = int8_step(h, &s->params[g->weight], out);
    double y = bias_of(s, h, g, at.c);
    for (int64_t i = 0; i < n; i++) {
        const int64_t from = h->channels_last_input ? channels_last_index(s->graph, node, i) : i;
        const float x = (float)eval_input(s, h, node, (place){at.n, h->channels_reversed ? n - 1 - from : from, 0, 0});
        const int64_t k = h->weights_in_out ? i * g->out.dim[0] + out : out * n + i;
        y += (double)round_with(h->input, x) * weight_under(h, step, w[k]);
    }
    return y;
}

static double eval_max_pool(const anx_suspect *s, const hypothesis *h, int node, place at) {
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

static void adaptive_range(const hypothesis *h, int64_t i, int64_t in, int64_t out, int64_t *begin, int64_t *end) {
    *begin = i * in / out;
    *end = ((i + 1) * in + out - 1) / out;
    if (h->adaptive == ADAPTIVE_END_EARLY && (i + 1) * in / out > *begin) *end = (i + 1) * in / out;
    if (h->adaptive == ADAPTIVE_ONE_SIZE && in >= out) {
        *begin = i * (in / out);
        *end = *begin + in - (out - 1) * (in / out);
    }
}

static double eval_adaptive(const anx_suspect *s, const hypothesis *h, int node, place at) {
    const anx_node *g = &s->graph->nodes[node];
    int64_t y0, y1, x0, x1;
    adaptive_range(h, at.y, g->in.dim[1], g->out.dim[1], &y0, &y1);
    adaptive_range(h, at.x, g->in.dim[2], g->out.dim[2], &x0, &x1);
    double sum = 0;
    for (int64_t y = y0; y < y1; y++)
        for (int64_t x = x0; x < x1; x++) sum += eval_input(s, h, node, (place){at.n, at.c, y, x});
    return sum / (double)((y1 - y0) * (x1 - x0));
}

static double eval(const anx_suspect *s, const hypothesis *h, int node, place at) {
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
    case ANX_OP_ADAPTIVE_AVG_POOL2D: return eval_adaptive(s, h, node, at);
    case ANX_OP_FLATTEN:
    case ANX_OP_SOFTMAX:
    case ANX_OP_COUNT: break;
    }
    return NAN; /* no hypothesis about these */
}

/* Can every node from first to node be worked out here? */
static bool can_evaluate(const anx_suspect *s) {
    if (s->input == NULL) return false;
    for (int node = s->node;;) {
        const anx_node *g = &s->graph->nodes[node];
        switch (g->layer->op) {
        case ANX_OP_CONV2D:
        case ANX_OP_LINEAR:
            if (s->params == NULL || node != s->first) return false;
            break;
        case ANX_OP_MAX_POOL2D:
        case ANX_OP_ADAPTIVE_AVG_POOL2D:
        case ANX_OP_RELU:
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

/* ---- the sample ---- */

enum { SAMPLE = 96, EARLY = 16 };

/* Up to SAMPLE elements: half of them wrong ones, spread evenly over all wrong ones; the rest spread over all. */
static int choose_sample(const anx_suspect *s, int64_t sample[SAMPLE]) {
    const int64_t n = anx_diagnose_elems(s);
    int64_t wrong = 0, seen = 0;
    int count = 0;
    for (int64_t i = 0; i < n; i++) wrong += anx_diagnose_is_wrong(s, i);
    for (int64_t i = 0; i < n && count < SAMPLE / 2; i++) {
        if (!anx_diagnose_is_wrong(s, i)) continue;
        if (seen * (SAMPLE / 2) >= (int64_t)count * wrong) sample[count++] = i;
        seen++;
    }
    for (int k = 0; k < SAMPLE / 2 && n >= SAMPLE; k++) sample[count++] = (2 * k + 1) * n / SAMPLE;
    return count;
}

static place place_of(const anx_suspect *s, int64_t flat) {
    const anx_extent *e = anx_graph_extent(s->graph, s->node);
    if (e->rank == 1) return (place){flat / e->dim[0], flat % e->dim[0], 0, 0};
    return (place){flat / (e->dim[0] * e->dim[1] * e->dim[2]), flat / (e->dim[1] * e->dim[2]) % e->dim[0],
                   flat / e->dim[2] % e->dim[1], flat % e->dim[2]};
}

/*
 * The share of the sample that the hypothesis explains: it must come much nearer to what the engine gave than the
 * right value does (or, at right elements, must not contradict).
 */
static double explains(const anx_suspect *s, const hypothesis *h, const int64_t *sample, int n) {
    int hits = 0, wrong = 0, wrong_hits = 0;
    for (int k = 0; k < n; k++) {
        const int64_t i = sample[k];
        const double value = eval(s, h, s->node, place_of(s, i));
        const double off = fabs(s->got[i] - s->expected[i]), left = fabs(s->got[i] - value);
        const bool is_wrong = anx_diagnose_is_wrong(s, i);
        const bool nearer = isfinite(off) && left <= 0.1 * off;
        const bool hit = anx_diagnose_is_got(s, i, value) || (is_wrong && nearer);
        wrong += is_wrong;
        wrong_hits += is_wrong && hit;
        hits += hit;
        if (k + 1 == EARLY && wrong_hits * 2 < wrong) return 0;
    }
    return wrong == 0 ? 0 : fmin((double)hits / n, (double)wrong_hits / wrong);
}

anx_status anx_diagnose_recompute(const anx_suspect *s, anx_judged *judged, anx_error *err) {
    if (!can_evaluate(s)) return ANX_OK;
    int64_t sample[SAMPLE];
    const int n = choose_sample(s, sample);
    anx_status status = ANX_OK;
    for (size_t k = 0; status == ANX_OK && k < sizeof hypotheses / sizeof *hypotheses; k++) {
        const double share = explains(s, &hypotheses[k], sample, n);
        if (share >= 0.85)
            status = anx_judged_add_cause(judged, hypotheses[k].id, share, err,
                                          "%s: gives %.3g %% of %d sampled values as the engine did",
                                          hypotheses[k].text, 100 * share, n);
    }
    return status;
}
