#include "tests/faults/plain.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "tests/faults/plain_sum.h"
#include "tests/faults/tiles.h"

/* One node's work, as the fault would have it. */
typedef struct task {
    const anx_node *node;
    int64_t batch;
    plain_sum sum;
    plain_fault fault;        /* kind FAULT_NONE where there is none */
    float *x, *weight, *bias; /* copies that the fault may change; NULL where there is none */
    float *y;
    /* a window on a plane; for an adaptive average only the flags matter */
    int64_t kernel_h, kernel_w, stride_h, stride_w, pad_h, pad_w, dilation_h, dilation_w, groups;
} task;

static int64_t elems_of(const anx_extent *e) {
    return e->rank == 3 ? e->dim[0] * e->dim[1] * e->dim[2] : e->dim[0];
}

static int64_t at(const anx_extent *e, int64_t n, int64_t c, int64_t h, int64_t w) {
    return ((n * e->dim[0] + c) * e->dim[1] + h) * e->dim[2] + w;
}

static float *copy_of(const float *from, int64_t n) {
    if (from == NULL) return NULL;
    float *copy = malloc((size_t)n * sizeof *copy);
    if (copy == NULL) abort();
    memcpy(copy, from, (size_t)n * sizeof *copy);
    return copy;
}

static bool by_tiles(const task *t);

/* ---- the faults, by what they change -------------------------------------------------------------------- */

static void apply_to_window(task *t) {
    switch (t->fault.kind) {
    case FAULT_PADDING: t->pad_h--, t->pad_w--; break;
    case FAULT_STRIDE: t->stride_h--, t->stride_w--; break;
    case FAULT_DILATION: t->dilation_h++, t->dilation_w++; break;
    case FAULT_POOL_SMALL: t->kernel_h--, t->kernel_w--; break;
    default: break;
    }
}

static void swap_floats(float *a, float *b, int64_t n) {
    for (int64_t i = 0; i < n; i++) {
        const float kept = a[i];
        a[i] = b[i];
        b[i] = kept;
    }
}

/* Symmetric 8-bit quantisation over n values. */
static void quantise(float *v, int64_t n) {
    float largest = 0.0f;
    for (int64_t i = 0; i < n; i++) largest = fmaxf(largest, fabsf(v[i]));
    const float step = largest / 127.0f;
    for (int64_t i = 0; step > 0.0f && i < n; i++) v[i] = roundf(v[i] / step) * step;
}

static void transpose_kernels(task *t) {
    const int64_t kh = t->kernel_h, kw = t->kernel_w, n = t->node->out.dim[0] * t->node->terms;
    float *from = copy_of(t->weight, n);
    for (int64_t first = 0; first < n; first += kh * kw)
        for (int64_t h = 0; h < kh; h++)
            for (int64_t w = 0; w < kw; w++) t->weight[first + h * kw + w] = from[first + w * kh + h];
    free(from);
}

static void read_other_layout(task *t) {
    const int64_t in = t->node->in.dim[0], out = t->node->out.dim[0];
    float *from = copy_of(t->weight, in * out);
    for (int64_t o = 0; o < out; o++)
        for (int64_t i = 0; i < in; i++) t->weight[o * in + i] = from[i * out + o];
    free(from);
}

static void apply_to_parameters(task *t) {
    const int64_t out = t->node->out.dim[0], terms = t->node->terms;
    const int a = t->fault.a, b = t->fault.b;
    switch (t->fault.kind) {
    case FAULT_BIAS_DROPPED: memset(t->bias, 0, (size_t)out * sizeof *t->bias); break;
    case FAULT_BIAS_DROPPED_ONE: t->bias[a] = 0.0f; break;
    case FAULT_BIAS_TWICE:
        for (int64_t o = 0; o < out; o++) t->bias[o] *= 2.0f;
        break;
    case FAULT_WEIGHT_ZEROED: t->weight[a] = 0.0f; break;
    case FAULT_WEIGHTS_INT8:
        for (int64_t o = 0; a != 0 && o < out; o++) quantise(t->weight + o * terms, terms);
        if (a == 0) quantise(t->weight, out * terms);
        break;
    case FAULT_WEIGHT_LAYOUT: read_other_layout(t); break;
    case FAULT_ROWS_SWAPPED:
        swap_floats(t->weight + a * terms, t->weight + b * terms, terms);
        swap_floats(t->bias + a, t->bias + b, 1);
        break;
    case FAULT_KERNEL_FLIPPED:
        for (int64_t first = 0; first < out * terms; first += t->kernel_h * t->kernel_w)
            for (int64_t i = 0, j = t->kernel_h * t->kernel_w - 1; i < j; i++, j--)
                swap_floats(t->weight + first + i, t->weight + first + j, 1);
        break;
    case FAULT_KERNEL_TRANSPOSED: transpose_kernels(t); break;
    default: break;
    }
    for (int64_t i = 0; t->weight != NULL && !by_tiles(t) && i < out * terms; i++)
        t->weight[i] = plain_round(t->weight[i], t->sum.w);
}

static void apply_to_input(task *t) {
    const anx_extent *in = &t->node->in;
    const int64_t plane = in->rank == 3 ? in->dim[1] * in->dim[2] : 1, image = elems_of(in);
    for (int64_t n = 0; n < t->batch; n++) {
        float *x = t->x + n * image;
        if (t->fault.kind == FAULT_INPUT_SWAPPED) swap_floats(x + t->fault.a * plane, x + t->fault.b * plane, plane);
        if (t->fault.kind == FAULT_INPUT_MISSING) memset(x + t->fault.a * plane, 0, (size_t)plane * sizeof *x);
    }
    for (int64_t i = 0; t->weight != NULL && !by_tiles(t) && i < t->batch * image; i++)
        t->x[i] = plain_round(t->x[i], t->sum.x);
}

static void apply_to_output(task *t) {
    const anx_extent *out = &t->node->out;
    const int64_t image = elems_of(out), all = t->batch * image;
    const int64_t height = out->rank == 3 ? out->dim[1] : 1, width = out->rank == 3 ? out->dim[2] : 1;
    switch (t->fault.kind) {
    case FAULT_OUTPUT_INT8: quantise(t->y, all); break;
    case FAULT_OUTPUT_BF16:
        for (int64_t i = 0; i < all; i++) t->y[i] = plain_round(t->y[i], FORMAT_BF16);
        break;
    case FAULT_ROW_STALE:
        for (int64_t last = (height - 1) * width; last < all; last += height * width)
            memcpy(t->y + last, t->y + last - width, (size_t)width * sizeof *t->y);
        break;
    case FAULT_IMAGE_STALE: memcpy(t->y + all - image, t->y, (size_t)image * sizeof *t->y); break;
    case FAULT_CHANNELS_LOST:
        for (int64_t n = 0; n < t->batch; n++)
            memset(t->y + n * image + 16 * height * width, 0, (size_t)(image - 16 * height * width) * sizeof *t->y);
        break;
    case FAULT_CHANNEL_SHIFTED:
        for (int64_t row = 0; row < all; row += width)
            memmove(t->y + row + 1, t->y + row, (size_t)(width - 1) * sizeof *t->y);
        break;
    default: break;
    }
}

/* ---- the operations ------------------------------------------------------------------------------------- */

static int64_t clamp(int64_t v, int64_t length) {
    return v < 0 ? 0 : v >= length ? length - 1 : v;
}

/* The input channel that a group's channel c is. */
static int64_t channel_of(const task *t, int64_t group, int64_t c) {
    const int64_t per_group = t->node->in.dim[0] / t->groups;
    if (t->fault.kind == FAULT_GROUP_WOVEN) return c * t->groups + group;
    if (t->fault.kind == FAULT_GROUP_OTHER) group = (group + 1) % t->groups;
    if (t->fault.kind == FAULT_GROUP_FIRST) group = 0;
    return group * per_group + c;
}

static float conv_at(const task *t, plain_terms *terms, int64_t n, int64_t oc, int64_t oh, int64_t ow) {
    const anx_extent *in = &t->node->in;
    const int64_t per_group = in->dim[0] / t->groups, group = oc / (t->node->out.dim[0] / t->groups);
    int64_t k = 0;
    for (int64_t c = 0; c < per_group; c++)
        for (int64_t kh = 0; kh < t->kernel_h; kh++)
            for (int64_t kw = 0; kw < t->kernel_w; kw++, k++) {
                int64_t h = oh * t->stride_h - t->pad_h + kh * t->dilation_h;
                int64_t w = ow * t->stride_w - t->pad_w + kw * t->dilation_w;
                bool inside = h >= 0 && h < in->dim[1] && w >= 0 && w < in->dim[2];
                if (!inside && t->fault.kind == FAULT_PADDING_EDGE) {
                    h = clamp(h, in->dim[1]), w = clamp(w, in->dim[2]);
                    inside = true;
                }
                terms->w[k] = !inside && t->sum.skips_padding ? 0.0f : t->weight[oc * terms->n + k];
                terms->x[k] = inside ? t->x[at(in, n, channel_of(t, group, c), h, w)] : 0.0f;
            }
    return plain_sum_terms(&t->sum, terms, t->bias[oc]);
}

static float max_at(const task *t, int64_t n, int64_t c, int64_t oh, int64_t ow) {
    const anx_extent *in = &t->node->in;
    float max = -INFINITY, sum = 0.0f;
    int count = 0;
    for (int64_t kh = 0; kh < t->kernel_h; kh++)
        for (int64_t kw = 0; kw < t->kernel_w; kw++) {
            const int64_t h = oh * t->stride_h - t->pad_h + kh, w = ow * t->stride_w - t->pad_w + kw;
            if (h < 0 || h >= in->dim[1] || w < 0 || w >= in->dim[2]) continue;
            const float v = t->x[at(in, n, c, h, w)];
            if (v > max || isnan(v)) max = v;
            sum += v;
            count++;
        }
    if (t->fault.kind == FAULT_POOL_FLOOR && (oh * t->stride_h - t->pad_h + t->kernel_h > in->dim[1] ||
                                              ow * t->stride_w - t->pad_w + t->kernel_w > in->dim[2]))
        return 0.0f;
    return t->fault.kind == FAULT_POOL_AVERAGE ? sum / (float)count : max;
}

static void adaptive_window(const task *t, int64_t i, int64_t length, int64_t windows, int64_t *first, int64_t *end) {
    *first = i * length / windows;
    *end = ((i + 1) * length + windows - 1) / windows;
    if (t->fault.kind == FAULT_WINDOW_END) {
        *end = (i + 1) * length / windows;
        if (*end == *first) ++*end;
    }
    if (t->fault.kind == FAULT_WINDOW_FIXED && length >= windows) {
        const int64_t stride = length / windows;
        *first = i * stride;
        *end = *first + length - (windows - 1) * stride;
    }
}

static float average_at(const task *t, int64_t n, int64_t c, int64_t oh, int64_t ow) {
    const anx_extent *in = &t->node->in, *out = &t->node->out;
    int64_t h0, h1, w0, w1;
    adaptive_window(t, oh, in->dim[1], out->dim[1], &h0, &h1);
    adaptive_window(t, ow, in->dim[2], out->dim[2], &w0, &w1);
    float sum = 0.0f;
    for (int64_t h = h0; h < h1; h++)
        for (int64_t w = w0; w < w1; w++) sum += t->x[at(in, n, c, h, w)];
    return sum / (float)(h1 - h0) / (float)(w1 - w0);
}

static bool by_tiles(const task *t) {
    return t->sum.order == ORDER_TILES && t->node->layer->op == ANX_OP_CONV2D && t->kernel_h == 3 && t->kernel_w == 3 &&
           t->stride_h == 1 && t->stride_w == 1 && t->dilation_h == 1 && t->dilation_w == 1 && t->groups == 1;
}

static void run_planes(task *t) {
    const anx_extent *out = &t->node->out;
    const anx_op op = t->node->layer->op;
    plain_terms terms = {0};
    if (by_tiles(t)) {
        tiles_convolve(&(tiles_task){.node = t->node,
                                     .batch = t->batch,
                                     .width = t->sum.width,
                                     .pad_h = t->pad_h,
                                     .pad_w = t->pad_w,
                                     .x_format = t->sum.x,
                                     .w_format = t->sum.w,
                                     .x = t->x,
                                     .weight = t->weight,
                                     .bias = t->bias,
                                     .y = t->y});
        return;
    }
    if (op == ANX_OP_CONV2D) plain_terms_init(&terms, &t->sum, t->node->terms, t->kernel_h * t->kernel_w);
    for (int64_t n = 0; n < t->batch; n++)
        for (int64_t c = 0; c < out->dim[0]; c++)
            for (int64_t h = 0; h < out->dim[1]; h++)
                for (int64_t w = 0; w < out->dim[2]; w++)
                    t->y[at(out, n, c, h, w)] = op == ANX_OP_CONV2D       ? conv_at(t, &terms, n, c, h, w)
                                                : op == ANX_OP_MAX_POOL2D ? max_at(t, n, c, h, w)
                                                                          : average_at(t, n, c, h, w);
    plain_terms_fini(&terms);
}

static void run_linear(task *t) {
    const int64_t in = t->node->in.dim[0], out = t->node->out.dim[0];
    plain_terms terms;
    plain_terms_init(&terms, &t->sum, in, 1);
    for (int64_t n = 0; n < t->batch; n++) {
        memcpy(terms.x, t->x + n * in, (size_t)in * sizeof *terms.x);
        for (int64_t o = 0; o < out; o++) {
            memcpy(terms.w, t->weight + o * in, (size_t)in * sizeof *terms.w);
            t->y[n * out + o] = plain_sum_terms(&t->sum, &terms, t->bias[o]);
        }
    }
    plain_terms_fini(&terms);
}

static void run_softmax(task *t) {
    const int64_t features = t->node->in.dim[0];
    const double scale = t->fault.kind == FAULT_SOFTMAX_BASE_2        ? 0.69314718055994531
                         : t->fault.kind == FAULT_SOFTMAX_TEMPERATURE ? 1.0 / 1.1
                                                                      : 1.0;
    for (int64_t n = 0; n < t->batch; n++) {
        const float *x = t->x + n * features;
        float *y = t->y + n * features, max = x[0], sum = 0.0f;
        for (int64_t i = 1; i < features; i++) max = fmaxf(max, x[i]);
        for (int64_t i = 0; i < features; i++) sum += y[i] = expf((float)(scale * (double)(x[i] - max)));
        for (int64_t i = 0; i < features; i++) y[i] /= sum;
    }
}

static void run_relu(task *t) {
    const float below = t->fault.kind == FAULT_RELU_SKIPPED ? 1.0f : t->fault.kind == FAULT_RELU_LEAKY ? 0.01f : 0.0f;
    for (int64_t i = 0; i < t->batch * elems_of(&t->node->out); i++)
        t->y[i] = t->x[i] < 0.0f ? (below == 0.0f ? 0.0f : below * t->x[i]) : t->x[i];
}

static void run_copy(task *t) {
    const anx_extent *in = &t->node->in;
    const int64_t image = elems_of(in);
    memcpy(t->y, t->x, (size_t)(t->batch * image) * sizeof *t->y);
    if (t->fault.kind == FAULT_DROPOUT_ACTIVE)
        for (int64_t i = 0; i < t->batch * image; i++) t->y[i] = i % 3 == 1 ? 0.0f : 2.0f * t->x[i];
    if (t->fault.kind == FAULT_FLATTEN_HWC && in->rank == 3)
        for (int64_t n = 0; n < t->batch; n++)
            for (int64_t c = 0; c < in->dim[0]; c++)
                for (int64_t h = 0; h < in->dim[1]; h++)
                    for (int64_t w = 0; w < in->dim[2]; w++)
                        t->y[n * image + (h * in->dim[2] + w) * in->dim[0] + c] = t->x[at(in, n, c, h, w)];
}

static void run(task *t) {
    switch (t->node->layer->op) {
    case ANX_OP_CONV2D:
    case ANX_OP_MAX_POOL2D:
    case ANX_OP_ADAPTIVE_AVG_POOL2D: run_planes(t); break;
    case ANX_OP_LINEAR: run_linear(t); break;
    case ANX_OP_SOFTMAX: run_softmax(t); break;
    case ANX_OP_RELU: run_relu(t); break;
    case ANX_OP_DROPOUT:
    case ANX_OP_FLATTEN: run_copy(t); break;
    case ANX_OP_COUNT: break;
    }
}

static void set_window(task *t) {
    const anx_conv2d_params *c = &t->node->conv;
    const anx_pool2d_params *p = &t->node->layer->u.pool;
    t->groups = t->dilation_h = t->dilation_w = 1;
    if (t->node->layer->op == ANX_OP_CONV2D) {
        t->kernel_h = c->kernel_h, t->kernel_w = c->kernel_w, t->stride_h = c->stride_h, t->stride_w = c->stride_w;
        t->pad_h = c->pad_h, t->pad_w = c->pad_w, t->dilation_h = c->dilation_h, t->dilation_w = c->dilation_w;
        t->groups = c->groups;
    } else if (t->node->layer->op == ANX_OP_MAX_POOL2D) {
        t->kernel_h = p->kernel_h, t->kernel_w = p->kernel_w, t->stride_h = p->stride_h, t->stride_w = p->stride_w;
        t->pad_h = p->pad_h, t->pad_w = p->pad_w;
    }
}

void plain_node(const anx_graph *graph, int node, int64_t batch, const plain_sum *sum, const plain_fault *fault,
                const float *x, const float *weight, const float *bias, float *y) {
    const anx_node *nd = &graph->nodes[node];
    task t = {.node = nd, .batch = batch, .sum = *sum, .y = y};
    if (fault != NULL) t.fault = *fault;
    if (t.fault.kind == FAULT_SUM) t.sum = t.fault.sum;
    t.x = copy_of(x, batch * elems_of(&nd->in));
    t.weight = copy_of(weight, nd->out.dim[0] * nd->terms);
    t.bias = copy_of(bias, nd->out.dim[0]);
    set_window(&t);
    apply_to_window(&t);
    apply_to_parameters(&t);
    apply_to_input(&t);
    run(&t);
    apply_to_output(&t);
    free(t.x);
    free(t.weight);
    free(t.bias);
}
