/*
 * Training plans of the CPU device. Each group's backward pass is judged by itself: inputs, masks and the gradient of
 * its output are given, and what it makes of them is compared with the definition in long double. A sum of n products
 * in float32, in any order, is off by at most gamma_n times the sum of their magnitudes (Higham, "Accuracy and
 * Stability of Numerical Algorithms", 3.1); where that is 0 the gradient must be 0.
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "src/backend/backends.h"
#include "tests/conformance/cases.h"
#include "tests/support/anx_test.h"
#include "tests/support/layer_rows.h"
#include "tests/support/random.h"

/* ---- the definition ------------------------------------------------------------------------------------- */

/* A gradient, the sum of the magnitudes of what it is the sum of, and how many those are at most. */
typedef struct sums {
    long double *value, *gauge;
    int64_t elems, terms;
} sums;

static sums sums_of(int64_t elems, int64_t terms) {
    sums s = {.value = calloc((size_t)elems, sizeof(long double)),
              .gauge = calloc((size_t)elems, sizeof(long double)),
              .elems = elems,
              .terms = terms};
    CU_ASSERT_TRUE_FATAL(s.value != NULL && s.gauge != NULL);
    return s;
}

static void sums_fini(sums *s) {
    free(s->value);
    free(s->gauge);
    *s = (sums){.value = NULL};
}

static void add(sums *s, int64_t i, long double term) {
    s->value[i] += term;
    s->gauge[i] += fabsl(term);
}

static int64_t at4(const anx_extent *e, int64_t n, int64_t c, int64_t h, int64_t w) {
    return ((n * e->dim[0] + c) * e->dim[1] + h) * e->dim[2] + w;
}

/* What a group has: x (input of its first node), y (its output), dy, and what is made of them. */
typedef struct group_data {
    const anx_node *node;
    int64_t batch;
    const float *x, *y, *mask, *weight;
    float *dy; /* by the first node's output */
    sums dx, dw, db;
} group_data;

static void conv_backward(group_data *d) {
    const anx_node *nd = d->node;
    const anx_conv2d_params *p = &nd->conv;
    const int64_t per_group = nd->in.dim[0] / p->groups, out_per_group = nd->out.dim[0] / p->groups;
    for (int64_t n = 0; n < d->batch; n++)
        for (int64_t oc = 0; oc < nd->out.dim[0]; oc++)
            for (int64_t oh = 0; oh < nd->out.dim[1]; oh++)
                for (int64_t ow = 0; ow < nd->out.dim[2]; ow++) {
                    const long double dy = (long double)d->dy[at4(&nd->out, n, oc, oh, ow)];
                    add(&d->db, oc, dy);
                    for (int64_t c = 0; c < per_group; c++)
                        for (int64_t kh = 0; kh < p->kernel_h; kh++)
                            for (int64_t kw = 0; kw < p->kernel_w; kw++) {
                                const int64_t h = oh * p->stride_h - p->pad_h + kh * p->dilation_h;
                                const int64_t w = ow * p->stride_w - p->pad_w + kw * p->dilation_w;
                                if (h < 0 || h >= nd->in.dim[1] || w < 0 || w >= nd->in.dim[2]) continue;
                                const int64_t i = at4(&nd->in, n, oc / out_per_group * per_group + c, h, w);
                                const int64_t k = ((oc * per_group + c) * p->kernel_h + kh) * p->kernel_w + kw;
                                add(&d->dx, i, dy * (long double)d->weight[k]);
                                add(&d->dw, k, dy * (long double)d->x[i]);
                            }
                }
}

static void linear_backward(group_data *d) {
    const int64_t in = d->node->in.dim[0], out = d->node->out.dim[0];
    for (int64_t n = 0; n < d->batch; n++)
        for (int64_t o = 0; o < out; o++) {
            const long double dy = (long double)d->dy[n * out + o];
            add(&d->db, o, dy);
            for (int64_t i = 0; i < in; i++) {
                add(&d->dx, n * in + i, dy * (long double)d->weight[o * in + i]);
                add(&d->dw, o * in + i, dy * (long double)d->x[n * in + i]);
            }
        }
}

/* torch: the first of the window's elements, replaced where one is larger or NaN. */
static int64_t winner_at(const group_data *d, int64_t n, int64_t c, int64_t oh, int64_t ow) {
    const anx_node *nd = d->node;
    const anx_pool2d_params *p = &nd->layer->u.pool;
    int64_t best = -1;
    float max = -INFINITY;
    for (int64_t kh = 0; kh < p->kernel_h; kh++)
        for (int64_t kw = 0; kw < p->kernel_w; kw++) {
            const int64_t h = oh * p->stride_h - p->pad_h + kh, w = ow * p->stride_w - p->pad_w + kw;
            if (h < 0 || h >= nd->in.dim[1] || w < 0 || w >= nd->in.dim[2]) continue;
            const float v = d->x[at4(&nd->in, n, c, h, w)];
            if (best < 0) best = h * nd->in.dim[2] + w;
            if (v > max || isnan(v)) {
                max = v;
                best = h * nd->in.dim[2] + w;
            }
        }
    return best;
}

static void max_backward(group_data *d) {
    const anx_node *nd = d->node;
    for (int64_t n = 0; n < d->batch; n++)
        for (int64_t c = 0; c < nd->out.dim[0]; c++)
            for (int64_t oh = 0; oh < nd->out.dim[1]; oh++)
                for (int64_t ow = 0; ow < nd->out.dim[2]; ow++)
                    add(&d->dx, at4(&nd->in, n, c, 0, winner_at(d, n, c, oh, ow)),
                        (long double)d->dy[at4(&nd->out, n, c, oh, ow)]);
}

static void average_backward(group_data *d) {
    const anx_node *nd = d->node;
    const int64_t in_h = nd->in.dim[1], in_w = nd->in.dim[2], out_h = nd->out.dim[1], out_w = nd->out.dim[2];
    for (int64_t n = 0; n < d->batch; n++)
        for (int64_t c = 0; c < nd->out.dim[0]; c++)
            for (int64_t oh = 0; oh < out_h; oh++)
                for (int64_t ow = 0; ow < out_w; ow++) {
                    const int64_t h0 = oh * in_h / out_h, h1 = ((oh + 1) * in_h + out_h - 1) / out_h;
                    const int64_t w0 = ow * in_w / out_w, w1 = ((ow + 1) * in_w + out_w - 1) / out_w;
                    const long double dy =
                        (long double)d->dy[at4(&nd->out, n, c, oh, ow)] / (long double)((h1 - h0) * (w1 - w0));
                    for (int64_t h = h0; h < h1; h++)
                        for (int64_t w = w0; w < w1; w++) add(&d->dx, at4(&nd->in, n, c, h, w), dy);
                }
}

static void softmax_backward(group_data *d) {
    const int64_t features = d->node->in.dim[0];
    for (int64_t n = 0; n < d->batch; n++) {
        const float *y = d->y + n * features, *dy = d->dy + n * features;
        for (int64_t i = 0; i < features; i++) {
            add(&d->dx, n * features + i, (long double)y[i] * (long double)dy[i]);
            for (int64_t k = 0; k < features; k++)
                add(&d->dx, n * features + i, -(long double)y[i] * (long double)dy[k] * (long double)y[k]);
        }
    }
}

static void elementwise_backward(group_data *d) {
    for (int64_t i = 0; i < d->dx.elems; i++) {
        const bool relu = d->node->layer->op == ANX_OP_RELU, dropout = d->node->layer->op == ANX_OP_DROPOUT;
        const long double factor = relu ? (long double)!(d->y[i] <= 0.0f) : dropout ? (long double)d->mask[i] : 1.0L;
        add(&d->dx, i, factor * (long double)d->dy[i]);
    }
}

static void group_backward(group_data *d, bool has_relu) {
    const int64_t out_elems =
        d->batch * (d->node->out.rank == 1 ? d->node->out.dim[0]
                                           : d->node->out.dim[0] * d->node->out.dim[1] * d->node->out.dim[2]);
    for (int64_t i = 0; has_relu && i < out_elems; i++)
        if (d->y[i] <= 0.0f) d->dy[i] = 0.0f;
    switch (d->node->layer->op) {
    case ANX_OP_CONV2D: conv_backward(d); return;
    case ANX_OP_LINEAR: linear_backward(d); return;
    case ANX_OP_MAX_POOL2D: max_backward(d); return;
    case ANX_OP_ADAPTIVE_AVG_POOL2D: average_backward(d); return;
    case ANX_OP_SOFTMAX: softmax_backward(d); return;
    default: elementwise_backward(d); return;
    }
}

/* How many terms one element of the gradient by the input, and by weights and bias, has at most. */
static int64_t input_terms(const anx_node *nd) {
    const anx_conv2d_params *p = &nd->conv;
    switch (nd->layer->op) {
    case ANX_OP_CONV2D: return nd->out.dim[0] / p->groups * p->kernel_h * p->kernel_w;
    case ANX_OP_LINEAR: return nd->out.dim[0];
    case ANX_OP_MAX_POOL2D: return (int64_t)nd->layer->u.pool.kernel_h * nd->layer->u.pool.kernel_w;
    case ANX_OP_ADAPTIVE_AVG_POOL2D: return 2 + nd->out.dim[1] * nd->out.dim[2]; /* two divisions more */
    default: return 1;
    }
}

static int64_t weight_terms(const anx_node *nd, int64_t batch) {
    return nd->layer->op == ANX_OP_CONV2D ? batch * nd->out.dim[1] * nd->out.dim[2] : batch;
}

/* ---- a graph, a device, a plan -------------------------------------------------------------------------- */

typedef struct rig {
    anx_device *device;
    anx_graph *graph;
    anx_plan *plan;
    int64_t batch;
    anx_tensor *params;
    bool *trained;
} rig;

static anx_tensor tensor_of(anx_dtype dtype, int rank, const int64_t *shape) {
    anx_tensor t = ANX_TENSOR_INIT;
    anx_error err = ANX_ERROR_INIT;
    ANX_CHECK_OK(anx_tensor_alloc(dtype, rank, shape, &t, &err), &err);
    memset(t.data, 0xff, anx_tensor_bytes(&t)); /* NaN: what is not written is not mistaken for a result */
    return t;
}

/* Normal numbers, with a share of zeros of either sign where `zeros`. */
static void fill(anx_tensor *t, test_random *r, float scale, bool zeros) {
    float *x = t->data;
    for (int64_t i = 0; i < anx_tensor_elems(t); i++) {
        x[i] = scale * test_random_normal(r);
        if (zeros && test_random_int(r, 0, 3) == 0) x[i] = copysignf(0.0f, x[i]);
    }
}

static anx_plan *plan_of(const rig *g, const bool *trained) {
    anx_error err = ANX_ERROR_INIT;
    anx_plan *plan = NULL;
    const anx_plan_desc desc = {.graph = g->graph,
                                .batch = g->batch,
                                .mode = ANX_PLAN_TRAIN,
                                .params = g->params,
                                .n_params = g->graph->n_params,
                                .trained = trained};
    ANX_CHECK_OK(anx_plan_create(g->device, &desc, &plan, &err), &err);
    CU_ASSERT_PTR_NOT_NULL_FATAL(plan);
    return plan;
}

static void rig_init(rig *g, const anx_arch *arch, int height, int width, int64_t batch, int threads) {
    anx_error err = ANX_ERROR_INIT;
    test_random r = {.state = 11 + (uint64_t)batch};
    const anx_device_options options = {.threads = threads};
    *g = (rig){.batch = batch};
    ANX_CHECK_OK(anx_device_open("cpu", &options, &g->device, &err), &err);
    ANX_CHECK_OK(anx_graph_create(arch, 0, height, width, &g->graph, &err), &err);
    CU_ASSERT_PTR_NOT_NULL_FATAL(g->device);
    CU_ASSERT_PTR_NOT_NULL_FATAL(g->graph);
    g->params = calloc((size_t)g->graph->n_params + 1, sizeof *g->params);
    g->trained = calloc((size_t)g->graph->n_params + 1, sizeof *g->trained);
    CU_ASSERT_TRUE_FATAL(g->params != NULL && g->trained != NULL);
    for (int i = 0; i < g->graph->n_params; i++) {
        const anx_param *p = &g->graph->params[i];
        g->params[i] = tensor_of(ANX_F32, p->rank, p->shape);
        fill(&g->params[i], &r, 1.5f / sqrtf((float)p->fan_in), false);
    }
    g->plan = plan_of(g, NULL);
}

static void rig_fini(rig *g) {
    anx_plan_destroy(g->plan);
    for (int i = 0; g->graph != NULL && i < g->graph->n_params; i++) anx_tensor_fini(&g->params[i]);
    free(g->params);
    free(g->trained);
    anx_graph_destroy(g->graph);
    anx_device_close(g->device);
}

static anx_tensor tensor_for(const rig *g, anx_value value) {
    int64_t shape[4];
    const int rank = anx_plan_value_shape(g->plan, value, shape);
    return tensor_of(value.kind == ANX_VALUE_ARGMAX ? ANX_I64 : ANX_F32, rank, shape);
}

static anx_tensor read_value(const rig *g, anx_value_kind kind, int index) {
    anx_error err = ANX_ERROR_INIT;
    anx_tensor t = tensor_for(g, (anx_value){kind, index});
    ANX_CHECK_OK(anx_plan_read(g->plan, (anx_value){kind, index}, &t, &err), &err);
    return t;
}

static void write_value(const rig *g, anx_value_kind kind, int index, const anx_tensor *t) {
    anx_error err = ANX_ERROR_INIT;
    ANX_CHECK_OK(anx_plan_write(g->plan, (anx_value){kind, index}, t, &err), &err);
}

static void write_random(const rig *g, anx_value_kind kind, int index, test_random *r, bool zeros) {
    anx_tensor t = tensor_for(g, (anx_value){kind, index});
    fill(&t, r, 1.0f, zeros);
    write_value(g, kind, index, &t);
    anx_tensor_fini(&t);
}

static void run(const rig *g) {
    anx_error err = ANX_ERROR_INIT;
    ANX_CHECK_OK(anx_plan_run(g->plan, &err), &err);
}

static void run_backward(const rig *g, int first, int count) {
    anx_error err = ANX_ERROR_INIT;
    ANX_CHECK_OK(anx_plan_run_groups_backward(g->plan, first, count, &err), &err);
}

static void run_all_backward(const rig *g) {
    run_backward(g, 0, anx_plan_group_count(g->plan));
}

static int last_node(const rig *g, int group) {
    const anx_group *x = anx_plan_group(g->plan, group);
    return x->nodes[x->n_nodes - 1];
}

/* Writes 0 and 2 into every mask. */
static void write_masks(const rig *g, test_random *r) {
    for (int i = 0; i < g->graph->n_nodes; i++) {
        if (g->graph->nodes[i].layer->op != ANX_OP_DROPOUT) continue;
        anx_tensor t = tensor_for(g, (anx_value){ANX_VALUE_MASK, i});
        for (int64_t k = 0; k < anx_tensor_elems(&t); k++)
            ((float *)t.data)[k] = test_random_bits(r) & 1u ? 2.0f : 0.0f;
        write_value(g, ANX_VALUE_MASK, i, &t);
        anx_tensor_fini(&t);
    }
}

/* Input, masks, forward. */
static void forward(const rig *g, uint64_t seed, bool zeros) {
    test_random r = {.state = seed};
    write_random(g, ANX_VALUE_OUTPUT, ANX_NODE_INPUT, &r, zeros);
    write_masks(g, &r);
    run(g);
}

/* ---- judging -------------------------------------------------------------------------------------------- */

static void fail_at(const rig *g, const char *where, int64_t i, double expected, double got, double bound) {
    char text[512];
    snprintf(text, sizeof text, "%s, batch %lld: %s, element %lld: expected %.9g within %.3g, got %.9g",
             g->graph->arch->name, (long long)g->batch, where, (long long)i, expected, bound, got);
    CU_assertImplementation(CU_FALSE, __LINE__, text, __FILE__, "", CU_FALSE);
}

static void check_sums(const rig *g, const char *what, const char *name, const sums *expected, const anx_tensor *got) {
    char where[160];
    snprintf(where, sizeof where, "%s of '%s'", what, name);
    CU_ASSERT_EQUAL_FATAL(anx_tensor_elems(got), expected->elems);
    const long double nu = (long double)expected->terms * 0x1p-24L, gamma = nu / (1 - nu);
    const float *x = got->data;
    for (int64_t i = 0; i < expected->elems; i++) {
        const long double bound = gamma * expected->gauge[i];
        if (fabsl((long double)x[i] - expected->value[i]) <= bound) continue; /* NaN is not */
        fail_at(g, where, i, (double)expected->value[i], (double)x[i], (double)bound);
        return;
    }
    CU_PASS("within the bound");
}

static void check_winners(const rig *g, const group_data *d, int node) {
    anx_tensor got = read_value(g, ANX_VALUE_ARGMAX, node);
    const int64_t *winner = got.data;
    const anx_extent *out = &d->node->out;
    for (int64_t n = 0; n < g->batch; n++)
        for (int64_t c = 0; c < out->dim[0]; c++)
            for (int64_t h = 0; h < out->dim[1]; h++)
                for (int64_t w = 0; w < out->dim[2]; w++) {
                    const int64_t i = at4(out, n, c, h, w), expected = winner_at(d, n, c, h, w);
                    if (winner[i] == expected) continue;
                    fail_at(g, d->node->layer->name, i, (double)expected, (double)winner[i], 0.0);
                    anx_tensor_fini(&got);
                    return;
                }
    CU_PASS("winners agree");
    anx_tensor_fini(&got);
}

/* Gives the group's output a random gradient, and judges what the group makes of it. */
static void check_group(const rig *g, int group, test_random *r) {
    const anx_group *grp = anx_plan_group(g->plan, group);
    const int index = grp->nodes[0], output = last_node(g, group);
    const anx_node *nd = &g->graph->nodes[index];
    write_random(g, ANX_VALUE_GRAD, output, r, true);
    anx_tensor dy = read_value(g, ANX_VALUE_GRAD, output), x = read_value(g, ANX_VALUE_OUTPUT, nd->inputs[0]);
    anx_tensor y = read_value(g, ANX_VALUE_OUTPUT, output), mask = ANX_TENSOR_INIT;
    run_backward(g, group, 1);
    anx_tensor dx = read_value(g, ANX_VALUE_GRAD, nd->inputs[0]);
    if (nd->layer->op == ANX_OP_DROPOUT) mask = read_value(g, ANX_VALUE_MASK, index);
    group_data d = {.node = nd, .batch = g->batch, .x = x.data, .y = y.data, .dy = dy.data, .mask = mask.data};
    d.dx = sums_of(anx_tensor_elems(&dx), input_terms(nd));
    if (nd->weight != ANX_NO_PARAM) {
        d.weight = g->params[nd->weight].data;
        d.dw = sums_of(anx_tensor_elems(&g->params[nd->weight]), weight_terms(nd, g->batch));
        d.db = sums_of(anx_tensor_elems(&g->params[nd->bias]), weight_terms(nd, g->batch));
    }
    group_backward(&d, grp->n_nodes > 1);
    check_sums(g, "gradient by the input", nd->layer->name, &d.dx, &dx);
    if (nd->layer->op == ANX_OP_MAX_POOL2D) check_winners(g, &d, index);
    if (nd->weight != ANX_NO_PARAM) {
        anx_tensor dw = read_value(g, ANX_VALUE_PARAM_GRAD, nd->weight),
                   db = read_value(g, ANX_VALUE_PARAM_GRAD, nd->bias);
        check_sums(g, "gradient by the weights", nd->layer->name, &d.dw, &dw);
        check_sums(g, "gradient by the bias", nd->layer->name, &d.db, &db);
        anx_tensor_fini(&db);
        anx_tensor_fini(&dw);
    }
    sums_fini(&d.db);
    sums_fini(&d.dw);
    sums_fini(&d.dx);
    anx_tensor_fini(&dx);
    anx_tensor_fini(&mask);
    anx_tensor_fini(&y);
    anx_tensor_fini(&x);
    anx_tensor_fini(&dy);
}

static void check_network(const anx_arch *arch, int height, int width, int64_t batch, int threads) {
    rig g;
    rig_init(&g, arch, height, width, batch, threads);
    test_random r = {.state = 5};
    forward(&g, 3, true);
    for (int group = anx_plan_group_count(g.plan) - 1; group >= 0; group--) check_group(&g, group, &r);
    for (int group = 0; group < anx_plan_group_count(g.plan); group++) check_group(&g, group, &r);
    rig_fini(&g);
}

static void gradients_of_every_layer_are_right(void) {
    for (int i = 0; conformance_case_at(i) != NULL; i++) {
        const conformance_case *c = conformance_case_at(i);
        check_network(&c->arch, c->height, c->width, c->batch, 2);
    }
}

static void gradients_of_a_whole_network_are_right(void) {
    for (int64_t batch = 1; batch <= 5; batch++)
        check_network(anx_arch_find("narrow"), 0, 0, batch, batch == 5 ? 3 : 2);
    check_network(anx_arch_find("narrow"), 47, 33, 9, 2);
    check_network(anx_arch_find("narrow"), 33, 40, 2, 1);
}

/* More images than the linear layers' loops keep sums of, and rows that are no whole vectors. */
static const anx_layer wide_rows[] = {FLATTEN, LINEAR("l1", 45), RELU("r"), DROPOUT("d"), LINEAR("l2", 13)};
static const anx_arch wide = {.name = "wide",
                              .summary = "linear layers",
                              .in_channels = 5,
                              .default_size = 11,
                              .min_size = 1,
                              .default_classes = 7,
                              .logits = "l2",
                              .layers = wide_rows,
                              .n_layers = sizeof wide_rows / sizeof wide_rows[0],
                              .internal = true};

static void gradients_of_large_batches_are_right(void) {
    check_network(&wide, 0, 0, 4, 1);
    check_network(&wide, 0, 0, 101, 2);
    check_network(&wide, 0, 0, 197, 3);
}

/* ---- passes --------------------------------------------------------------------------------------------- */

static void check_same_bits(const rig *g, const char *what, const anx_tensor *expected, const anx_tensor *got) {
    const float *a = expected->data, *b = got->data;
    for (int64_t i = 0; i < anx_tensor_elems(expected); i++) {
        if (memcmp(&a[i], &b[i], sizeof *a) == 0) continue;
        fail_at(g, what, i, (double)a[i], (double)b[i], 0.0);
        return;
    }
    CU_PASS("bits agree");
}

/* The gradients by all parameters that the plan trains, one behind the other. */
static anx_tensor param_grads(const rig *g) {
    const int64_t elems[] = {anx_graph_param_elems(g->graph)};
    anx_tensor all = tensor_of(ANX_F32, 1, elems);
    float *to = all.data;
    for (int i = 0; i < g->graph->n_params; i++) {
        anx_error err = ANX_ERROR_INIT;
        anx_tensor t = tensor_for(g, (anx_value){ANX_VALUE_PARAM_GRAD, i});
        (void)anx_plan_read(g->plan, (anx_value){ANX_VALUE_PARAM_GRAD, i}, &t, &err);
        memcpy(to, t.data, anx_tensor_bytes(&t));
        to += anx_tensor_elems(&t);
        anx_tensor_fini(&t);
    }
    return all;
}

/* A pass from the logits, whose gradient comes from `seed`. */
static void backward(const rig *g, uint64_t seed) {
    test_random r = {.state = seed};
    write_random(g, ANX_VALUE_GRAD, g->graph->logits, &r, false);
    run_backward(g, 0, anx_plan_group_of_node(g->plan, g->graph->logits) + 1);
}

static void a_pass_gives_the_same_bits_again_and_group_by_group(void) {
    for (int64_t batch = 2; batch <= 5; batch += 3) {
        rig g;
        rig_init(&g, anx_arch_find("narrow"), 41, 37, batch, 2);
        forward(&g, 8, false);
        backward(&g, 9);
        anx_tensor first = param_grads(&g), input = read_value(&g, ANX_VALUE_GRAD, ANX_NODE_INPUT);
        forward(&g, 20, false);
        backward(&g, 21);
        anx_tensor other = param_grads(&g);
        CU_ASSERT_NOT_EQUAL(memcmp(first.data, other.data, anx_tensor_bytes(&first)), 0);
        forward(&g, 8, false);
        test_random r = {.state = 9};
        write_random(&g, ANX_VALUE_GRAD, g.graph->logits, &r, false);
        for (int group = anx_plan_group_of_node(g.plan, g.graph->logits); group >= 0; group--)
            run_backward(&g, group, 1);
        anx_tensor again = param_grads(&g), input_again = read_value(&g, ANX_VALUE_GRAD, ANX_NODE_INPUT);
        check_same_bits(&g, "parameters, group by group", &first, &again);
        check_same_bits(&g, "input, group by group", &input, &input_again);
        anx_tensor_fini(&input_again);
        anx_tensor_fini(&again);
        anx_tensor_fini(&other);
        anx_tensor_fini(&input);
        anx_tensor_fini(&first);
        rig_fini(&g);
    }
}

/* Without masks nothing is dropped: what comes out is what an infer plan gives. */
static void forward_without_masks_is_inference(void) {
    for (int64_t batch = 1; batch <= 3; batch++) {
        rig g;
        rig_init(&g, anx_arch_find("narrow"), 0, 0, batch, 2);
        test_random r = {.state = 2};
        write_random(&g, ANX_VALUE_OUTPUT, ANX_NODE_INPUT, &r, false);
        run(&g);
        anx_tensor trained = read_value(&g, ANX_VALUE_OUTPUT, g.graph->logits),
                   input = read_value(&g, ANX_VALUE_OUTPUT, ANX_NODE_INPUT),
                   logits = tensor_of(ANX_F32, 2, trained.shape);
        anx_error err = ANX_ERROR_INIT;
        anx_plan *infer = NULL;
        const anx_plan_desc desc = {.graph = g.graph,
                                    .batch = batch,
                                    .mode = ANX_PLAN_INFER,
                                    .params = g.params,
                                    .n_params = g.graph->n_params};
        ANX_CHECK_OK(anx_plan_create(g.device, &desc, &infer, &err), &err);
        ANX_CHECK_OK(anx_plan_forward(infer, &input, &logits, &err), &err);
        check_same_bits(&g, "logits", &logits, &trained);
        anx_plan_destroy(infer);
        anx_tensor_fini(&logits);
        anx_tensor_fini(&input);
        anx_tensor_fini(&trained);
        rig_fini(&g);
    }
}

/* ---- what is trained ------------------------------------------------------------------------------------ */

static bool is_readable(const rig *g, anx_value_kind kind, int index) {
    anx_error err = ANX_ERROR_INIT;
    anx_tensor t = tensor_for(g, (anx_value){kind, index});
    const anx_status status = anx_plan_read(g->plan, (anx_value){kind, index}, &t, &err);
    CU_ASSERT_TRUE(status == ANX_OK || status == ANX_ERR_UNSUPPORTED);
    anx_tensor_fini(&t);
    return status == ANX_OK;
}

/* Every choice of a lowest trained parameter, and one parameter alone: the same bits as when all are trained. */
static void check_trained(rig *g, const anx_tensor *all) {
    anx_plan *whole = g->plan;
    g->plan = plan_of(g, g->trained);
    forward(g, 8, false);
    backward(g, 9);
    const float *expected = all->data;
    int lowest = g->graph->n_nodes;
    for (int i = 0; i < g->graph->n_params; i++) {
        const int64_t elems = anx_param_elems(&g->graph->params[i]);
        CU_ASSERT_EQUAL(is_readable(g, ANX_VALUE_PARAM_GRAD, i), g->trained[i]);
        CU_ASSERT_EQUAL(anx_plan_host_pointer(g->plan, (anx_value){ANX_VALUE_PARAM_GRAD, i}) != NULL && !g->trained[i],
                        false);
        if (g->trained[i]) {
            anx_tensor grad = read_value(g, ANX_VALUE_PARAM_GRAD, i);
            CU_ASSERT_EQUAL(memcmp(grad.data, expected, anx_tensor_bytes(&grad)), 0);
            anx_tensor_fini(&grad);
            if (g->graph->params[i].node < lowest) lowest = g->graph->params[i].node;
        }
        expected += elems;
    }
    for (int group = 0; group < anx_plan_group_count(g->plan); group++)
        CU_ASSERT_EQUAL(is_readable(g, ANX_VALUE_GRAD, last_node(g, group)), last_node(g, group) >= lowest);
    CU_ASSERT_FALSE(is_readable(g, ANX_VALUE_GRAD, ANX_NODE_INPUT));
    anx_plan_destroy(g->plan);
    g->plan = whole;
}

static void nothing_is_computed_below_what_is_trained(void) {
    rig g;
    rig_init(&g, anx_arch_find("narrow"), 0, 0, 4, 2);
    forward(&g, 8, false);
    backward(&g, 9);
    anx_tensor all = param_grads(&g);
    for (int first = 0; first < g.graph->n_params; first++) {
        for (int i = 0; i < g.graph->n_params; i++) g.trained[i] = i >= first;
        check_trained(&g, &all);
        for (int i = 0; i < g.graph->n_params; i++) g.trained[i] = i == first;
        check_trained(&g, &all);
    }
    anx_tensor_fini(&all);
    rig_fini(&g);
}

/* ---- parameters ----------------------------------------------------------------------------------------- */

/* One step down the gradient on the host, where the plan has them or on copies. Returns how many were in place. */
static int descend(const rig *g, bool in_place) {
    int n_in_place = 0;
    for (int i = 0; i < g->graph->n_params; i++) {
        const anx_value value = {ANX_VALUE_PARAM, i}, grad_value = {ANX_VALUE_PARAM_GRAD, i};
        float *param = in_place ? anx_plan_host_pointer(g->plan, value) : NULL;
        float *grad = in_place ? anx_plan_host_pointer(g->plan, grad_value) : NULL;
        anx_tensor p = read_value(g, ANX_VALUE_PARAM, i), d = read_value(g, ANX_VALUE_PARAM_GRAD, i);
        if (grad != NULL) CU_ASSERT_EQUAL(memcmp(grad, d.data, anx_tensor_bytes(&d)), 0);
        const float *from = grad != NULL ? grad : d.data;
        float *to = param != NULL ? param : p.data;
        for (int64_t k = 0; k < anx_tensor_elems(&p); k++) to[k] -= 0.01f * from[k];
        if (param == NULL) write_value(g, ANX_VALUE_PARAM, i, &p);
        n_in_place += param != NULL;
        anx_tensor_fini(&d);
        anx_tensor_fini(&p);
    }
    return n_in_place;
}

/* Three steps with parameters written, or changed where they lie, are three steps of plans made with them. */
static void changed_parameters_are_picked_up(void) {
    for (int64_t batch = 2; batch <= 5; batch += 3) {
        rig written, in_place;
        rig_init(&written, anx_arch_find("narrow"), 0, 0, batch, 2);
        rig_init(&in_place, anx_arch_find("narrow"), 0, 0, batch, 2);
        for (uint64_t step = 0; step < 3; step++) {
            rig fresh;
            rig_init(&fresh, anx_arch_find("narrow"), 0, 0, batch, 2);
            for (int i = 0; i < fresh.graph->n_params; i++) {
                anx_tensor before = read_value(&fresh, ANX_VALUE_PARAM, i),
                           p = read_value(&written, ANX_VALUE_PARAM, i);
                CU_ASSERT_EQUAL(memcmp(before.data, p.data, anx_tensor_bytes(&p)) == 0, step == 0);
                memcpy(fresh.params[i].data, p.data, anx_tensor_bytes(&p));
                anx_tensor_fini(&p);
                anx_tensor_fini(&before);
            }
            anx_plan_destroy(fresh.plan);
            fresh.plan = plan_of(&fresh, NULL);
            const rig *rigs[] = {&fresh, &written, &in_place};
            anx_tensor grads[3];
            for (int k = 0; k < 3; k++) {
                forward(rigs[k], 30 + step, false);
                backward(rigs[k], 40 + step);
                grads[k] = param_grads(rigs[k]);
            }
            check_same_bits(&written, "parameters written", &grads[0], &grads[1]);
            check_same_bits(&in_place, "parameters changed where they lie", &grads[0], &grads[2]);
            for (int k = 0; k < 3; k++) anx_tensor_fini(&grads[k]);
            CU_ASSERT_EQUAL(descend(&written, false), 0);
            CU_ASSERT_EQUAL(descend(&in_place, true), 4); /* two linear layers */
            rig_fini(&fresh);
        }
        for (int i = 0; i < written.graph->n_params; i++) /* the caller's stay as they are */
            CU_ASSERT_EQUAL(
                memcmp(written.params[i].data, in_place.params[i].data, anx_tensor_bytes(&written.params[i])), 0);
        rig_fini(&in_place);
        rig_fini(&written);
    }
}

/* ---- several readers ------------------------------------------------------------------------------------ */

/* conv is read twice: the gradient by it is the sum of what both branches send. */
static const anx_layer branch_rows[] = {
    CONV("conv", 9, 3, 3, 1, 1, 1, 1, 1, 1, 1),
    {.name = "pool1", .op = ANX_OP_MAX_POOL2D, .u.pool = {.kernel_h = 3, .kernel_w = 3, .stride_h = 2, .stride_w = 2}},
    {.name = "pool2",
     .op = ANX_OP_MAX_POOL2D,
     .from = {"conv"},
     .u.pool = {.kernel_h = 2, .kernel_w = 2, .stride_h = 1, .stride_w = 1}},
};
static const anx_arch branches = {.name = "branches",
                                  .summary = "a row that two others read",
                                  .in_channels = 3,
                                  .default_size = 9,
                                  .min_size = 3,
                                  .default_classes = 7,
                                  .logits = "pool2",
                                  .layers = branch_rows,
                                  .n_layers = sizeof branch_rows / sizeof branch_rows[0],
                                  .internal = true};

static void gradients_of_several_readers_are_added(void) {
    rig g;
    rig_init(&g, &branches, 0, 0, 2, 2);
    forward(&g, 4, false);
    test_random r = {.state = 6};
    write_random(&g, ANX_VALUE_GRAD, 1, &r, false);
    write_random(&g, ANX_VALUE_GRAD, 2, &r, false);
    run_backward(&g, 1, 1);
    anx_tensor first = read_value(&g, ANX_VALUE_GRAD, 0);
    run_backward(&g, 2, 1);
    anx_tensor second = read_value(&g, ANX_VALUE_GRAD, 0);
    for (int pass = 0; pass < 2; pass++) {
        run_all_backward(&g);
        anx_tensor both = read_value(&g, ANX_VALUE_GRAD, 0);
        const float *a = first.data, *b = second.data, *sum = both.data;
        int wrong = 0, nonzero = 0;
        for (int64_t i = 0; i < anx_tensor_elems(&both); i++) {
            wrong += sum[i] != b[i] + a[i];
            nonzero += a[i] != 0.0f && b[i] != 0.0f;
        }
        CU_ASSERT_EQUAL(wrong, 0);
        CU_ASSERT_TRUE(nonzero > 10);
        anx_tensor_fini(&both);
    }
    anx_tensor_fini(&second);
    anx_tensor_fini(&first);
    rig_fini(&g);
}

/* ---- NaN, infinity, winners ----------------------------------------------------------------------------- */

/* torch: the last NaN wins, of equal ones the first; all of -infinity: the window's first. */
static void winners_of_ties_nan_and_infinity_are_pytorchs(void) {
    rig g;
    rig_init(&g, anx_arch_find("narrow"), 0, 0, 2, 2);
    test_random r = {.state = 12};
    static const float values[] = {0.0f, -0.0f, 1.0f, 1.0f, NAN, -INFINITY, -INFINITY, INFINITY};
    for (int node = 0; node < g.graph->n_nodes; node++) {
        const anx_node *nd = &g.graph->nodes[node];
        if (nd->layer->op != ANX_OP_MAX_POOL2D) continue;
        anx_tensor x = tensor_for(&g, anx_value_output(nd->inputs[0]));
        for (int64_t i = 0; i < anx_tensor_elems(&x); i++)
            ((float *)x.data)[i] = i < anx_tensor_elems(&x) / 4 ? -INFINITY : values[test_random_int(&r, 0, 7)];
        write_value(&g, ANX_VALUE_OUTPUT, nd->inputs[0], &x);
        anx_error err = ANX_ERROR_INIT;
        ANX_CHECK_OK(anx_plan_run_groups(g.plan, anx_plan_group_of_node(g.plan, node), 1, &err), &err);
        group_data d = {.node = nd, .batch = g.batch, .x = x.data};
        check_winners(&g, &d, node);
        anx_tensor y = read_value(&g, ANX_VALUE_OUTPUT, node), winners = read_value(&g, ANX_VALUE_ARGMAX, node);
        const int64_t positions = nd->out.dim[1] * nd->out.dim[2], plane = nd->in.dim[1] * nd->in.dim[2];
        int wrong = 0;
        for (int64_t i = 0; i < anx_tensor_elems(&y); i++) {
            const float got = ((float *)y.data)[i], want = d.x[i / positions * plane + ((int64_t *)winners.data)[i]];
            wrong += !(got == want || (isnan(got) && isnan(want)));
        }
        CU_ASSERT_EQUAL(wrong, 0);
        anx_tensor_fini(&winners);
        anx_tensor_fini(&y);
        anx_tensor_fini(&x);
    }
    rig_fini(&g);
}

static void winners_that_are_written_are_used(void) {
    rig g;
    rig_init(&g, anx_arch_find("narrow"), 0, 0, 2, 2);
    forward(&g, 4, false);
    test_random r = {.state = 6};
    const int node = anx_graph_find_node(g.graph, "features.2"), input = g.graph->nodes[node].inputs[0];
    const int group = anx_plan_group_of_node(g.plan, node);
    anx_tensor winners = read_value(&g, ANX_VALUE_ARGMAX, node);
    for (int64_t i = 0; i < anx_tensor_elems(&winners); i++) ((int64_t *)winners.data)[i] = 3;
    write_value(&g, ANX_VALUE_ARGMAX, node, &winners);
    write_random(&g, ANX_VALUE_GRAD, node, &r, false);
    run_backward(&g, group, 1);
    anx_tensor dx = read_value(&g, ANX_VALUE_GRAD, input);
    const anx_extent *in = &g.graph->nodes[node].in;
    const int64_t plane = in->dim[1] * in->dim[2];
    int elsewhere = 0, there = 0;
    for (int64_t i = 0; i < anx_tensor_elems(&dx); i++) {
        elsewhere += i % plane != 3 && ((float *)dx.data)[i] != 0.0f;
        there += i % plane == 3 && ((float *)dx.data)[i] != 0.0f;
    }
    CU_ASSERT_EQUAL(elsewhere, 0);
    CU_ASSERT_EQUAL(there, 2 * in->dim[0]);
    anx_error err = ANX_ERROR_INIT;
    ((int64_t *)winners.data)[7] = plane;
    ANX_CHECK_STATUS(ANX_ERR_INVALID_ARGUMENT,
                     anx_plan_write(g.plan, (anx_value){ANX_VALUE_ARGMAX, node}, &winners, &err), &err);
    ANX_CHECK_MESSAGE("element 7 of the winners of 'features.2'", &err);
    anx_tensor_fini(&dx);
    anx_tensor_fini(&winners);
    rig_fini(&g);
}

/* torch's ReLU passes the gradient on where its output is NaN, and the fused one must have kept the NaN. */
static void nan_keeps_its_gradient_in_a_relu(void) {
    rig g;
    rig_init(&g, anx_arch_find("narrow"), 0, 0, 1, 1);
    forward(&g, 4, false);
    anx_tensor x = read_value(&g, ANX_VALUE_OUTPUT, ANX_NODE_INPUT);
    ((float *)x.data)[0] = NAN;
    write_value(&g, ANX_VALUE_OUTPUT, ANX_NODE_INPUT, &x);
    run(&g);
    const int relu = anx_graph_find_node(g.graph, "features.1"), group = anx_plan_group_of_node(g.plan, relu);
    anx_tensor dy = tensor_for(&g, (anx_value){ANX_VALUE_GRAD, relu}), y = read_value(&g, ANX_VALUE_OUTPUT, relu);
    int nans = 0;
    for (int64_t i = 0; i < anx_tensor_elems(&dy); i++) {
        nans += isnan(((float *)y.data)[i]);
        ((float *)dy.data)[i] = isnan(((float *)y.data)[i]) ? 1.0f : 0.0f;
    }
    CU_ASSERT_TRUE(nans > 0);
    write_value(&g, ANX_VALUE_GRAD, relu, &dy);
    run_backward(&g, group, 1);
    anx_tensor db = read_value(&g, ANX_VALUE_PARAM_GRAD, 1);
    float sum = 0.0f;
    for (int64_t i = 0; i < anx_tensor_elems(&db); i++) sum += ((float *)db.data)[i];
    CU_ASSERT_EQUAL(sum, (float)nans);
    anx_tensor_fini(&db);
    anx_tensor_fini(&y);
    anx_tensor_fini(&dy);
    anx_tensor_fini(&x);
    rig_fini(&g);
}

static void what_is_not_there_is_refused_by_name(void) {
    rig g;
    rig_init(&g, anx_arch_find("narrow"), 0, 0, 1, 1);
    anx_error err = ANX_ERROR_INIT;
    const int conv = anx_graph_find_node(g.graph, "features.0");
    anx_tensor inside = tensor_for(&g, anx_value_output(conv)),
               grad = tensor_for(&g, (anx_value){ANX_VALUE_PARAM_GRAD, 0});
    ANX_CHECK_STATUS(ANX_ERR_UNSUPPORTED, anx_plan_read(g.plan, (anx_value){ANX_VALUE_GRAD, conv}, &inside, &err),
                     &err);
    ANX_CHECK_MESSAGE("layer 'features.0': it lies inside a fused group of this plan", &err);
    anx_plan_destroy(g.plan);
    g.plan = plan_of(&g, g.trained); /* nothing */
    run(&g);
    run_all_backward(&g);
    ANX_CHECK_STATUS(ANX_ERR_UNSUPPORTED, anx_plan_read(g.plan, (anx_value){ANX_VALUE_PARAM_GRAD, 0}, &grad, &err),
                     &err);
    ANX_CHECK_MESSAGE("'features.0.weight' is not trained", &err);
    CU_ASSERT_PTR_NULL(anx_plan_host_pointer(g.plan, (anx_value){ANX_VALUE_PARAM_GRAD, 0}));
    anx_tensor_fini(&grad);
    anx_tensor_fini(&inside);
    rig_fini(&g);
}

static const anx_test tests[] = {
    {"gradients of every layer are right", gradients_of_every_layer_are_right},
    {"gradients of a whole network are right", gradients_of_a_whole_network_are_right},
    {"gradients of large batches are right", gradients_of_large_batches_are_right},
    {"a pass gives the same bits again, and group by group", a_pass_gives_the_same_bits_again_and_group_by_group},
    {"forward without masks is inference", forward_without_masks_is_inference},
    {"nothing is computed below what is trained", nothing_is_computed_below_what_is_trained},
    {"changed parameters are picked up", changed_parameters_are_picked_up},
    {"gradients of several readers are added", gradients_of_several_readers_are_added},
    {"winners of ties, NaN and infinity are PyTorch's", winners_of_ties_nan_and_infinity_are_pytorchs},
    {"winners that are written are used", winners_that_are_written_are_used},
    {"NaN keeps its gradient in a ReLU", nan_keeps_its_gradient_in_a_relu},
    {"what is not there is refused by name", what_is_not_there_is_refused_by_name},
    {NULL, NULL},
};

int main(int argc, char **argv) {
    /* Before oneDNN reads it: what is not asked for explicitly would be computed in bfloat16. */
    setenv("ONEDNN_DEFAULT_FPMATH_MODE", "ANY", 1);
    return anx_test_main("dnnl_backward", tests, argc, argv);
}
