/*
 * The reference's gradients against central differences in double, and by hand where there is no derivative: ties and
 * NaN in a max-pool, zeros in a ReLU.
 *
 * While no ReLU changes its sign and no window its winner, a network is affine in each single number of it, so a
 * central difference of a linear loss is wrong by roundings alone, and that of a cross-entropy, over logits that move
 * at the rates s_i, by at most step^2/6 times the third central moment of s under a softmax, at most
 * (max s - min s)^3 / (6 sqrt 3). Both patterns are compared at the two ends: the numbers between which a pattern
 * holds are an interval. Roundings: a value computed along paths of at most H operations is off by at most H u A to
 * first order, A the same network over absolute values.
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "src/backend/backend.h"
#include "tests/conformance/cases.h"
#include "tests/support/anx_test.h"
#include "tests/support/layer_rows.h"
#include "tests/support/random.h"

static const double unit = 0x1p-53;

/* ---- a network with data and a loss ---------------------------------------------------------------------- */

typedef struct net {
    conformance_lifted lifted;
    anx_graph *graph;
    int64_t batch;
    anx_tensor *params; /* n_params, float32 */
    double *input;
    double **mask;      /* n_nodes: of each dropout; NULL elsewhere */
    double **weight_of; /* n_nodes: the loss is the sum of weights times outputs; NULL: not in the loss */
    int *target;        /* batch: or the cross-entropy of the logits, where not NULL */
    double rounding;    /* H u */
    anx_device *device;
    anx_plan *plan;
} net;

static void *allocate(int64_t count, size_t size) {
    void *p = calloc((size_t)count, size);
    if (p == NULL) abort();
    return p;
}

static int64_t elems_of(const net *n, int node) {
    return n->batch * anx_graph_node_elems(n->graph, node);
}

static anx_tensor view_of(const net *n, anx_value value, anx_dtype dtype, void *data) {
    int64_t shape[4];
    const int rank = anx_plan_value_shape(n->plan, value, shape);
    return anx_tensor_view(dtype, rank, shape, data);
}

static void write_doubles(const net *n, anx_plan *plan, anx_value value, double *from) {
    anx_error err = ANX_ERROR_INIT;
    const anx_tensor host = view_of(n, value, ANX_F64, from);
    ANX_CHECK_OK(anx_plan_write(plan, value, &host, &err), &err);
}

static double *read_doubles(const net *n, anx_plan *plan, anx_value value) {
    anx_error err = ANX_ERROR_INIT;
    anx_tensor host = view_of(n, value, ANX_F64, NULL);
    host.data = allocate(anx_tensor_elems(&host), sizeof(double));
    ANX_CHECK_OK(anx_plan_read(plan, value, &host, &err), &err);
    return host.data;
}

static int64_t *read_winners(const net *n, int node) {
    anx_error err = ANX_ERROR_INIT;
    anx_tensor host = view_of(n, (anx_value){ANX_VALUE_ARGMAX, node}, ANX_I64, NULL);
    host.data = allocate(anx_tensor_elems(&host), sizeof(int64_t));
    ANX_CHECK_OK(anx_plan_read(n->plan, (anx_value){ANX_VALUE_ARGMAX, node}, &host, &err), &err);
    return host.data;
}

static void run_from(const net *n, int first) {
    anx_error err = ANX_ERROR_INIT;
    ANX_CHECK_OK(anx_plan_run_groups(n->plan, first, n->graph->n_nodes - first, &err), &err);
}

/* Multiples of 2^-16, so that steps of 2^-16 and more are exact in float32 on either side of them. */
static double draw(test_random *r, double scale) {
    return nearbyint((double)test_random_normal(r) * scale * 0x1p16) * 0x1p-16;
}

static double *draw_doubles(test_random *r, int64_t count, double scale) {
    double *to = allocate(count, sizeof *to);
    for (int64_t i = 0; i < count; i++) to[i] = draw(r, scale);
    return to;
}

static anx_plan *make_plan(const net *n, const anx_tensor *params, const bool *trained) {
    const anx_plan_desc desc = {.graph = n->graph,
                                .batch = n->batch,
                                .mode = ANX_PLAN_TRAIN,
                                .params = params,
                                .n_params = n->graph->n_params,
                                .trained = trained};
    anx_error err = ANX_ERROR_INIT;
    anx_plan *plan = NULL;
    ANX_CHECK_OK(anx_plan_create(n->device, &desc, &plan, &err), &err);
    CU_ASSERT_PTR_NOT_NULL_FATAL(plan);
    return plan;
}

static bool is_read(const anx_graph *graph, int node) {
    for (int later = node + 1; later <= graph->logits; later++)
        if (graph->nodes[later].inputs[0] == node) return true;
    return false;
}

/* Masks, and what the loss is made of: every output that nothing before the logits reads. */
static void draw_loss(net *n, test_random *r) {
    n->mask = allocate(n->graph->n_nodes, sizeof *n->mask);
    n->weight_of = allocate(n->graph->n_nodes, sizeof *n->weight_of);
    for (int node = 0; node < n->graph->n_nodes; node++) {
        const int64_t elems = elems_of(n, node);
        if (n->graph->nodes[node].layer->op == ANX_OP_DROPOUT) {
            n->mask[node] = allocate(elems, sizeof(double));
            for (int64_t i = 0; i < elems; i++) n->mask[node][i] = test_random_int(r, 0, 1) == 0 ? 0.0 : 2.0;
        }
        if (node <= n->graph->logits && !is_read(n->graph, node)) n->weight_of[node] = draw_doubles(r, elems, 1.0);
    }
}

/* The case, lifted. */
static void net_init(net *n, const conformance_case *c, int64_t batch, bool cross_entropy, uint64_t seed) {
    *n = (net){.batch = batch};
    test_random r = {.state = seed};
    conformance_lift(c, &n->lifted);
    anx_error err = ANX_ERROR_INIT;
    ANX_CHECK_OK(anx_graph_create(&n->lifted.c.arch, 0, c->height, c->width, &n->graph, &err), &err);
    CU_ASSERT_PTR_NOT_NULL_FATAL(n->graph);
    n->params = allocate(n->graph->n_params, sizeof *n->params);
    for (int i = 0; i < n->graph->n_params; i++) {
        const anx_param *p = &n->graph->params[i];
        ANX_CHECK_OK(anx_tensor_alloc(ANX_F32, p->rank, p->shape, &n->params[i], &err), &err);
        for (int64_t k = 0; k < anx_param_elems(p); k++)
            ((float *)n->params[i].data)[k] = (float)draw(&r, 1.0 / sqrt((double)p->fan_in));
    }
    n->input = draw_doubles(&r, elems_of(n, ANX_NODE_INPUT), 1.0);
    draw_loss(n, &r);
    for (int node = 0; node < n->graph->n_nodes; node++)
        n->rounding += unit * ((double)n->graph->nodes[node].terms + 2);
    if (cross_entropy) {
        n->target = allocate(batch, sizeof *n->target);
        for (int64_t b = 0; b < batch; b++)
            n->target[b] = (int)test_random_int(&r, 0, anx_graph_node_elems(n->graph, n->graph->logits) - 1);
    }
    const anx_device_options options = {.threads = 2};
    ANX_CHECK_OK(anx_device_open("reference", &options, &n->device, &err), &err);
    n->plan = make_plan(n, n->params, NULL);
    write_doubles(n, n->plan, anx_value_output(ANX_NODE_INPUT), n->input);
    for (int node = 0; node < n->graph->n_nodes; node++)
        if (n->mask[node] != NULL) write_doubles(n, n->plan, (anx_value){ANX_VALUE_MASK, node}, n->mask[node]);
}

static void net_fini(net *n) {
    anx_plan_destroy(n->plan);
    anx_device_close(n->device);
    for (int node = 0; node < n->graph->n_nodes; node++) {
        free(n->mask[node]);
        free(n->weight_of[node]);
    }
    for (int i = 0; i < n->graph->n_params; i++) anx_tensor_fini(&n->params[i]);
    free(n->mask);
    free(n->weight_of);
    free(n->target);
    free(n->input);
    free(n->params);
    anx_graph_destroy(n->graph);
}

/* ---- the loss -------------------------------------------------------------------------------------------- */

static double log_sum_exp(const double *z, int64_t classes) {
    double max = z[0], sum = 0.0;
    for (int64_t i = 1; i < classes; i++) max = fmax(max, z[i]);
    for (int64_t i = 0; i < classes; i++) sum += exp(z[i] - max);
    return max + log(sum);
}

static double cross_entropy(const net *n, const double *z) {
    const int64_t classes = anx_graph_node_elems(n->graph, n->graph->logits);
    double sum = 0.0;
    for (int64_t b = 0; b < n->batch; b++) sum += log_sum_exp(z + b * classes, classes) - z[b * classes + n->target[b]];
    return sum / (double)n->batch;
}

static double loss(const net *n) {
    if (n->target != NULL) {
        double *z = read_doubles(n, n->plan, anx_value_output(n->graph->logits));
        const double sum = cross_entropy(n, z);
        free(z);
        return sum;
    }
    double sum = 0.0;
    for (int node = 0; node <= n->graph->logits; node++) {
        if (n->weight_of[node] == NULL) continue;
        double *y = read_doubles(n, n->plan, anx_value_output(node));
        for (int64_t i = 0; i < elems_of(n, node); i++) sum += n->weight_of[node][i] * y[i];
        free(y);
    }
    return sum;
}

/* Makes weight_of the derivative of the cross-entropy by the logits. */
static void differentiate_cross_entropy(net *n) {
    const int64_t classes = anx_graph_node_elems(n->graph, n->graph->logits);
    double *z = read_doubles(n, n->plan, anx_value_output(n->graph->logits)), *g = n->weight_of[n->graph->logits];
    for (int64_t b = 0; b < n->batch; b++) {
        const double lse = log_sum_exp(z + b * classes, classes);
        for (int64_t i = 0; i < classes; i++)
            g[b * classes + i] = (exp(z[b * classes + i] - lse) - (i == n->target[b] ? 1.0 : 0.0)) / (double)n->batch;
    }
    free(z);
}

static void run_backward(const net *n, anx_plan *plan, bool absolute) {
    anx_error err = ANX_ERROR_INIT;
    for (int node = 0; node <= n->graph->logits; node++) {
        if (n->weight_of[node] == NULL) continue;
        double *g = allocate(elems_of(n, node), sizeof *g);
        for (int64_t i = 0; i < elems_of(n, node); i++)
            g[i] = absolute ? fabs(n->weight_of[node][i]) : n->weight_of[node][i];
        write_doubles(n, plan, (anx_value){ANX_VALUE_GRAD, node}, g);
        free(g);
    }
    ANX_CHECK_OK(anx_plan_run_groups_backward(plan, 0, n->graph->logits + 1, &err), &err);
}

/* ---- the same network over absolute values --------------------------------------------------------------- */

/* Node `node` forward, then what the signs and winners of the network itself leave of it. */
static void run_absolute(const net *n, anx_plan *absolute, int node) {
    anx_error err = ANX_ERROR_INIT;
    const anx_node *nd = &n->graph->nodes[node];
    const int64_t elems = elems_of(n, node);
    ANX_CHECK_OK(anx_plan_run_groups(absolute, node, 1, &err), &err);
    if (nd->layer->op == ANX_OP_RELU) {
        double *y = read_doubles(n, n->plan, anx_value_output(node));
        double *a = read_doubles(n, absolute, anx_value_output(node));
        for (int64_t i = 0; i < elems; i++) a[i] = y[i] > 0.0 ? a[i] : 0.0;
        write_doubles(n, absolute, anx_value_output(node), a);
        free(y);
        free(a);
    }
    if (nd->layer->op != ANX_OP_MAX_POOL2D) return;
    int64_t *winners = read_winners(n, node);
    double *x = read_doubles(n, absolute, anx_value_output(nd->inputs[0])), *a = allocate(elems, sizeof *a);
    const int64_t in = nd->in.dim[1] * nd->in.dim[2], out = nd->out.dim[1] * nd->out.dim[2];
    for (int64_t i = 0; i < elems; i++) a[i] = x[i / out * in + winners[i]];
    write_doubles(n, absolute, anx_value_output(node), a);
    const anx_tensor host = view_of(n, (anx_value){ANX_VALUE_ARGMAX, node}, ANX_I64, winners);
    ANX_CHECK_OK(anx_plan_write(absolute, (anx_value){ANX_VALUE_ARGMAX, node}, &host, &err), &err);
    free(winners);
    free(x);
    free(a);
}

/* Its values are the A of the network's, forward and backward. params gets the absolute values, as long as it lives. */
static anx_plan *make_absolute(const net *n, anx_tensor *params) {
    anx_error err = ANX_ERROR_INIT;
    for (int i = 0; i < n->graph->n_params; i++) {
        ANX_CHECK_OK(anx_tensor_convert(&n->params[i], ANX_F32, &params[i], &err), &err);
        float *w = params[i].data;
        for (int64_t k = 0; k < anx_tensor_elems(&params[i]); k++) w[k] = fabsf(w[k]);
    }
    anx_plan *plan = make_plan(n, params, NULL);
    double *x = allocate(elems_of(n, ANX_NODE_INPUT), sizeof *x);
    for (int64_t i = 0; i < elems_of(n, ANX_NODE_INPUT); i++) x[i] = fabs(n->input[i]);
    write_doubles(n, plan, anx_value_output(ANX_NODE_INPUT), x);
    free(x);
    for (int node = 0; node < n->graph->n_nodes; node++) {
        if (n->mask[node] != NULL) write_doubles(n, plan, (anx_value){ANX_VALUE_MASK, node}, n->mask[node]);
        run_absolute(n, plan, node);
    }
    run_backward(n, plan, true);
    return plan;
}

/* ---- central differences --------------------------------------------------------------------------------- */

/* Changes where a ReLU changes its sign or a window its winner. */
static uint64_t pattern(const net *n) {
    uint64_t hash = 1469598103934665603u;
    for (int node = 0; node <= n->graph->logits; node++) {
        const anx_op op = n->graph->nodes[node].layer->op;
        if (op != ANX_OP_RELU && op != ANX_OP_MAX_POOL2D) continue;
        double *y = op == ANX_OP_RELU ? read_doubles(n, n->plan, anx_value_output(node)) : NULL;
        int64_t *winners = op == ANX_OP_MAX_POOL2D ? read_winners(n, node) : NULL;
        for (int64_t i = 0; i < elems_of(n, node); i++)
            hash = (hash ^ (y != NULL ? (uint64_t)(y[i] > 0.0) : (uint64_t)winners[i])) * 1099511628211u;
        free(y);
        free(winners);
    }
    return hash;
}

/* One number of a network: an element of a parameter, or of a node's output, kept in memory that is written back. */
typedef struct variable {
    anx_value value;
    double *data; /* all elements */
    int64_t at;
    int first; /* group from which on everything depends on it */
} variable;

static void set(const net *n, const variable *v, double x) {
    const double kept = v->data[v->at];
    v->data[v->at] = x;
    write_doubles(n, n->plan, v->value, v->data);
    v->data[v->at] = kept;
    if (v->first < n->graph->n_nodes) run_from(n, v->first);
}

typedef struct ends {
    double loss[2];
    double *logits[2]; /* at x + step and x - step */
    bool same_pattern;
} ends;

static ends evaluate(const net *n, const variable *v, double step) {
    ends e;
    uint64_t hash[2];
    for (int side = 0; side < 2; side++) {
        set(n, v, v->data[v->at] + (side == 0 ? step : -step));
        e.loss[side] = loss(n);
        e.logits[side] = read_doubles(n, n->plan, anx_value_output(n->graph->logits));
        hash[side] = pattern(n);
    }
    e.same_pattern = hash[0] == hash[1];
    return e;
}

/* The third derivative's part in a central difference of the mean cross-entropy. */
static double truncation(const net *n, const ends *e, double step) {
    if (n->target == NULL) return 0.0;
    const int64_t classes = anx_graph_node_elems(n->graph, n->graph->logits);
    double sum = 0.0;
    for (int64_t b = 0; b < n->batch; b++) {
        double low = INFINITY, high = -INFINITY;
        for (int64_t i = b * classes; i < (b + 1) * classes; i++) {
            const double rate = (e->logits[0][i] - e->logits[1][i]) / (2.0 * step);
            low = fmin(low, rate);
            high = fmax(high, rate);
        }
        sum += pow(high - low, 3.0) / (6.0 * sqrt(3.0));
    }
    return step * step / 6.0 * sum / (double)n->batch;
}

typedef struct outcome {
    int64_t judged, at_kinks;
    double worst;    /* error over bound */
    double sharpest; /* the least bound over A, of those judged */
} outcome;

static void fail(const net *n, const variable *v, double step, double expected, double bound, double got) {
    char text[512];
    const bool param = v->value.kind == ANX_VALUE_PARAM;
    snprintf(text, sizeof text,
             "%s, batch %lld, '%s', element %lld: differences over %g give %.17g within %.3g, got %.17g",
             n->lifted.c.arch.name, (long long)n->batch,
             param ? n->graph->params[v->value.index].name : n->graph->nodes[v->value.index].layer->name,
             (long long)v->at, step, expected, bound, got);
    CU_assertImplementation(CU_FALSE, __LINE__, text, __FILE__, "", CU_FALSE);
}

/*
 * Compares one derivative at several steps. a: its A. loss_error: what roundings may do to the loss while it is
 * computed, anywhere near.
 */
static void compare(const net *n, const variable *v, double got, double a, double loss_error, outcome *o) {
    static const double steps[] = {0x1p-2, 0x1p-6, 0x1p-10, 0x1p-16};
    const double own = 8.0 * n->rounding * a;
    bool judged = false;
    for (size_t s = 0; s < sizeof steps / sizeof steps[0]; s++) {
        const ends e = evaluate(n, v, steps[s]);
        if (e.same_pattern) {
            const double expected = (e.loss[0] - e.loss[1]) / (2.0 * steps[s]);
            const double bound = loss_error / steps[s] + truncation(n, &e, steps[s]) + own;
            const double error = fabs(got - expected);
            if (!(error <= bound)) fail(n, v, steps[s], expected, bound, got);
            if (bound > 0.0) o->worst = fmax(o->worst, error / bound);
            if (a > 0.0) o->sharpest = fmin(o->sharpest, bound / a);
            judged = true;
        }
        free(e.logits[0]);
        free(e.logits[1]);
    }
    o->judged += judged;
    o->at_kinks += !judged;
    set(n, v, v->data[v->at]);
}

/* The loss over absolute values times its roundings; twice, since the numbers move by up to 1/4. */
static double loss_error_of(const net *n, anx_plan *absolute) {
    double a = 0.0;
    for (int node = 0; node <= n->graph->logits; node++) {
        if (n->weight_of[node] == NULL) continue;
        double *y = read_doubles(n, absolute, anx_value_output(node));
        for (int64_t i = 0; i < elems_of(n, node); i++) {
            if (n->target != NULL)
                a = fmax(a, 2.0 * y[i]); /* each logit counts once in the mean: by its p and as the target */
            else
                a += fabs(n->weight_of[node][i]) * y[i];
        }
        free(y);
    }
    const double elems = (double)elems_of(n, n->graph->logits);
    return 2.0 * (n->rounding + unit * (n->target != NULL ? elems + 16.0 : elems)) *
           (a + (n->target != NULL ? 1.0 : 0.0));
}

/* Up to `count` elements of a value with its gradient, the first and the last among them. */
static void compare_value(const net *n, anx_plan *absolute, anx_value value, anx_value gradient, int first,
                          double loss_error, test_random *r, outcome *o) {
    enum { COUNT = 8 };
    const anx_tensor whole = view_of(n, value, ANX_F64, NULL);
    const int64_t elems = anx_tensor_elems(&whole);
    double *g = read_doubles(n, n->plan, gradient), *a = read_doubles(n, absolute, gradient);
    variable v = {.value = value, .data = read_doubles(n, n->plan, value), .first = first};
    for (int i = 0; i < COUNT && i < elems; i++) {
        v.at = i == 0 ? 0 : i == 1 ? elems - 1 : elems <= COUNT ? i - 1 : test_random_int(r, 0, elems - 1);
        compare(n, &v, g[v.at], a[v.at], loss_error, o);
    }
    free(v.data);
    free(g);
    free(a);
}

static void compare_network(net *n, outcome *o) {
    test_random r = {.state = 5};
    run_from(n, 0);
    if (n->target != NULL) differentiate_cross_entropy(n);
    run_backward(n, n->plan, false);
    anx_tensor *params = allocate(n->graph->n_params, sizeof *params);
    anx_plan *absolute = make_absolute(n, params);
    const double loss_error = loss_error_of(n, absolute);
    for (int i = 0; i < n->graph->n_params; i++)
        if (n->graph->params[i].node <= n->graph->logits)
            compare_value(n, absolute, (anx_value){ANX_VALUE_PARAM, i}, (anx_value){ANX_VALUE_PARAM_GRAD, i},
                          n->graph->params[i].node, loss_error, &r, o);
    for (int node = 0; node <= n->graph->logits; node++)
        compare_value(n, absolute, anx_value_output(node), (anx_value){ANX_VALUE_GRAD, node}, node + 1, loss_error, &r,
                      o);
    anx_plan_destroy(absolute);
    for (int i = 0; i < n->graph->n_params; i++) anx_tensor_fini(&params[i]);
    free(params);
}

static void expect_enough(const outcome *o, double sharpness) {
    printf("  %lld derivatives, %lld at kinks; at most %.3g of the bound; sharpest bound %.2g A\n",
           (long long)o->judged, (long long)o->at_kinks, o->worst, o->sharpest);
    /* An output of 0 behind a ReLU, before a max-pool whose window is all 0, lies at one. */
    CU_ASSERT_TRUE(o->at_kinks * 8 <= o->judged);
    CU_ASSERT_TRUE(o->sharpest <= sharpness);
}

/* Every network of the conformance suite: each shape of each operation, alone and one behind the other. */
static void test_linear_loss(void) {
    outcome o = {.sharpest = INFINITY};
    for (int i = 0; conformance_case_at(i) != NULL; i++)
        for (int64_t batch = 1; batch <= 3; batch += 2) {
            net n;
            net_init(&n, conformance_case_at(i), batch, false, (uint64_t)i + 1);
            compare_network(&n, &o);
            net_fini(&n);
        }
    expect_enough(&o, 1e-12);
}

static const conformance_case *case_named(const char *name) {
    for (int i = 0; conformance_case_at(i) != NULL; i++)
        if (strcmp(conformance_case_at(i)->arch.name, name) == 0) return conformance_case_at(i);
    CU_FAIL_FATAL("no such case");
    return NULL;
}

static void test_cross_entropy(void) {
    outcome o = {.sharpest = INFINITY};
    for (int64_t batch = 1; batch <= 3; batch += 2) {
        net n;
        net_init(&n, case_named("narrow"), batch, true, 11);
        compare_network(&n, &o);
        net_fini(&n);
        net_init(&n, case_named("linear, relu, dropout, linear, softmax"), batch, true, 12);
        compare_network(&n, &o);
        net_fini(&n);
    }
    expect_enough(&o, 1e-8);
}

/* ---- several readers ------------------------------------------------------------------------------------- */

static const anx_layer tower_rows[] = {
    CONV("stem", 5, 3, 3, 1, 1, 1, 1, 1, 1, 1),
    RELU("r"),
    {.name = "side",
     .op = ANX_OP_CONV2D,
     .from = {"r"},
     .u.conv = {.out_channels = 4, .kernel_h = 3, .kernel_w = 3, .stride_h = 2, .stride_w = 2, .groups = 1}},
    {.name = "pool",
     .op = ANX_OP_MAX_POOL2D,
     .from = {"r"},
     .u.pool = {.kernel_h = 3, .kernel_w = 3, .stride_h = 2, .stride_w = 2}},
    {.name = "again",
     .op = ANX_OP_CONV2D,
     .from = {"r"},
     .u.conv = {.out_channels = 3, .kernel_h = 1, .kernel_w = 1, .stride_h = 1, .stride_w = 1, .groups = 1}},
    {.name = "mean", .op = ANX_OP_ADAPTIVE_AVG_POOL2D, .from = {"pool"}, .u.adaptive = {.out_h = 2, .out_w = 3}},
    FLATTEN,
    LINEAR("l", 6),
    SOFTMAX,
};
static const conformance_case tower = {.arch = {.name = "three readers",
                                                .summary = "",
                                                .in_channels = 3,
                                                .default_size = 9,
                                                .min_size = 9,
                                                .default_classes = 6,
                                                .logits = "l",
                                                .layers = tower_rows,
                                                .n_layers = sizeof tower_rows / sizeof tower_rows[0],
                                                .internal = true},
                                       .height = 9,
                                       .width = 10,
                                       .batch = 3};

static void test_several_readers(void) {
    outcome o = {.sharpest = INFINITY};
    net n;
    net_init(&n, &tower, 3, false, 4);
    compare_network(&n, &o);
    /* A second pass overwrites what the first one left. */
    const anx_value stem = {ANX_VALUE_GRAD, 1};
    run_backward(&n, n.plan, false);
    double *first = read_doubles(&n, n.plan, stem);
    run_backward(&n, n.plan, false);
    double *second = read_doubles(&n, n.plan, stem);
    CU_ASSERT_EQUAL(memcmp(first, second, (size_t)elems_of(&n, 1) * sizeof *first), 0);
    free(first);
    free(second);
    net_fini(&n);
    expect_enough(&o, 1e-11);
}

/* ---- by hand --------------------------------------------------------------------------------------------- */

/* One row of layers on one image of one channel, behind a convolution whose output is written. */
static void hand_init(net *n, const anx_layer *layer, int h, int w) {
    const conformance_case c = {.arch = {.name = "by hand",
                                         .summary = "",
                                         .in_channels = 1,
                                         .default_size = 1,
                                         .min_size = 1,
                                         .default_classes = 1,
                                         .logits = layer->name,
                                         .layers = layer,
                                         .n_layers = 1,
                                         .internal = true},
                                .height = h,
                                .width = w,
                                .batch = 1};
    net_init(n, &c, 1, false, 1);
}

static bool same(double a, double b) {
    return (isnan(a) && isnan(b)) || (a == b && !signbit(a) == !signbit(b));
}

/* Forward from x, then backward from dy: the layer's winners (NULL: has none) and dx. */
static void expect_by_hand(const char *what, const anx_layer *layer, int h, int w, double *x, double *dy,
                           const int64_t *winners, const double *dx) {
    net n;
    hand_init(&n, layer, h, w);
    write_doubles(&n, n.plan, anx_value_output(ANX_NODE_INPUT), n.input);
    run_from(&n, 0);
    write_doubles(&n, n.plan, anx_value_output(0), x);
    run_from(&n, 1);
    write_doubles(&n, n.plan, (anx_value){ANX_VALUE_GRAD, 1}, dy);
    anx_error err = ANX_ERROR_INIT;
    ANX_CHECK_OK(anx_plan_run_groups_backward(n.plan, 1, 1, &err), &err);
    double *got = read_doubles(&n, n.plan, (anx_value){ANX_VALUE_GRAD, 0});
    int64_t *won = winners != NULL ? read_winners(&n, 1) : NULL;
    char text[256];
    for (int64_t i = 0; won != NULL && i < elems_of(&n, 1); i++) {
        snprintf(text, sizeof text, "%s: window %lld: expected winner %lld, got %lld", what, (long long)i,
                 (long long)winners[i], (long long)won[i]);
        CU_assertImplementation(won[i] == winners[i], __LINE__, text, __FILE__, "", CU_FALSE);
    }
    for (int64_t i = 0; i < elems_of(&n, 0); i++) {
        snprintf(text, sizeof text, "%s: dx %lld: expected %g, got %g", what, (long long)i, dx[i], got[i]);
        CU_assertImplementation(same(got[i], dx[i]), __LINE__, text, __FILE__, "", CU_FALSE);
    }
    free(won);
    free(got);
    net_fini(&n);
}

/* PyTorch 2.15's and 1.13's max_pool2d(return_indices=True) and its backward, on doubles. */
static void test_max_pool_by_hand(void) {
    const anx_layer row = POOL("p", 1, 3, 1, 2, 0, 0, false);
    /* Ties: the first. A NaN: the last one. All -inf: the first. -0 and +0 tie. Windows share every third element. */
    double x[] = {2.0, 2.0, 1.0, NAN, NAN, -INFINITY, -INFINITY, -INFINITY, -INFINITY, -0.0, 0.0};
    double dy[] = {1.0, 2.0, 4.0, 8.0, 16.0};
    const int64_t winners[] = {0, 4, 4, 6, 9};
    const double dx[] = {1.0, 0.0, 0.0, 0.0, 6.0, 0.0, 8.0, 0.0, 0.0, 16.0, 0.0};
    expect_by_hand("a row", &row, 1, 11, x, dy, winners, dx);

    /* A NaN among the gradients goes where its window's winner is, and stays there. */
    double dy_nan[] = {NAN, 2.0, 4.0, -0.0, INFINITY};
    const double dx_nan[] = {NAN, 0.0, 0.0, 0.0, 6.0, 0.0, 0.0, 0.0, 0.0, INFINITY, 0.0};
    expect_by_hand("special gradients", &row, 1, 11, x, dy_nan, winners, dx_nan);

    /* Four windows of 3x3 over 5x5, the middle the largest: all four add to it, in the order of the output. */
    const anx_layer square = POOL("p", 3, 3, 2, 2, 0, 0, false);
    double plane[25] = {0.0};
    plane[12] = 7.0;
    double four[] = {0x1p53, 1.0, 1.0, -0x1p53};
    const int64_t middle[] = {12, 12, 12, 12};
    double all[25] = {0.0};
    all[12] = 0.0; /* 2^53 + 1 = 2^53 (to even), twice, - 2^53: another order would leave 2 */
    expect_by_hand("overlap", &square, 5, 5, plane, four, middle, all);

    /* Padding takes no part, even where all of the window is below zero. */
    const anx_layer padded = POOL("p", 3, 3, 2, 2, 1, 1, false);
    double below[] = {-4.0, -3.0, -2.0, -1.0};
    double one[] = {5.0};
    const int64_t last[] = {3};
    const double at_last[] = {0.0, 0.0, 0.0, 5.0};
    expect_by_hand("padding", &padded, 2, 2, below, one, last, at_last);
}

static void test_relu_by_hand(void) {
    const anx_layer relu = RELU("r");
    double x[] = {-1.0, -0.0, 0.0, 5e-324, NAN, INFINITY, -INFINITY, 2.0, -3.0};
    double dy[] = {3.0, 3.0, 3.0, 3.0, 3.0, -0.0, NAN, NAN, INFINITY};
    const double dx[] = {0.0, 0.0, 0.0, 3.0, 3.0, -0.0, 0.0, NAN, 0.0};
    expect_by_hand("relu", &relu, 3, 3, x, dy, NULL, dx);
}

/* Windows [0, 2) [1, 4) [3, 5) of five: the inner elements belong to two of them. */
static void test_average_by_hand(void) {
    const anx_layer average = AVERAGE("a", 1, 3);
    double x[] = {1.0, 2.0, 3.0, 4.0, 5.0}, dy[] = {6.0, 9.0, 4.0};
    const double dx[] = {3.0, 6.0, 3.0, 5.0, 2.0};
    expect_by_hand("average", &average, 1, 5, x, dy, NULL, dx);
}

/* ---- masks, frozen layers, threads ----------------------------------------------------------------------- */

static void test_masks(void) {
    const anx_layer dropout = DROPOUT("d");
    net n;
    hand_init(&n, &dropout, 2, 2);
    free(n.mask[1]);
    n.mask[1] = NULL;
    anx_plan_destroy(n.plan);
    n.plan = make_plan(&n, n.params, NULL);
    double x[] = {1.0, -2.0, INFINITY, 3.0}, mask[] = {2.0, 0.0, 0.0, 1.25}, dy[] = {1.0, NAN, 5.0, -8.0};
    write_doubles(&n, n.plan, anx_value_output(ANX_NODE_INPUT), n.input);
    run_from(&n, 0);
    write_doubles(&n, n.plan, anx_value_output(0), x);
    run_from(&n, 1);
    double *y = read_doubles(&n, n.plan, anx_value_output(1));
    for (int i = 0; i < 4; i++) CU_ASSERT_TRUE(same(y[i], x[i])); /* ones until it is written */
    free(y);
    write_doubles(&n, n.plan, (anx_value){ANX_VALUE_MASK, 1}, mask);
    run_from(&n, 1);
    y = read_doubles(&n, n.plan, anx_value_output(1));
    const double expected[] = {2.0, -0.0, NAN, 3.75};
    for (int i = 0; i < 4; i++) CU_ASSERT_TRUE(same(y[i], expected[i]));
    free(y);
    write_doubles(&n, n.plan, (anx_value){ANX_VALUE_GRAD, 1}, dy);
    anx_error err = ANX_ERROR_INIT;
    ANX_CHECK_OK(anx_plan_run_groups_backward(n.plan, 1, 1, &err), &err);
    double *dx = read_doubles(&n, n.plan, (anx_value){ANX_VALUE_GRAD, 0});
    const double back[] = {2.0, NAN, 0.0, -10.0};
    for (int i = 0; i < 4; i++) CU_ASSERT_TRUE(same(dx[i], back[i]));
    free(dx);
    net_fini(&n);
}

static bool refused(const net *n, anx_plan *plan, anx_value value) {
    anx_tensor host = view_of(n, value, ANX_F64, NULL);
    host.data = allocate(anx_tensor_elems(&host), sizeof(double));
    anx_error err = ANX_ERROR_INIT;
    const anx_status status = anx_plan_read(plan, value, &host, &err);
    free(host.data);
    return status == ANX_ERR_UNSUPPORTED;
}

static void expect_same_value(const net *n, anx_plan *plan, anx_value value) {
    const anx_tensor whole = view_of(n, value, ANX_F64, NULL);
    double *a = read_doubles(n, n->plan, value), *b = read_doubles(n, plan, value);
    CU_ASSERT_EQUAL(memcmp(a, b, anx_tensor_bytes(&whole)), 0);
    free(a);
    free(b);
}

static void run_whole(const net *n, anx_plan *plan) {
    anx_error err = ANX_ERROR_INIT;
    write_doubles(n, plan, anx_value_output(ANX_NODE_INPUT), n->input);
    for (int node = 0; node < n->graph->n_nodes; node++)
        if (n->mask[node] != NULL) write_doubles(n, plan, (anx_value){ANX_VALUE_MASK, node}, n->mask[node]);
    ANX_CHECK_OK(anx_plan_run(plan, &err), &err);
    run_backward(n, plan, false);
}

/* Frozen up to each parameter in turn, and every second one: what is left has the bits of training all. */
static void test_frozen(void) {
    net n;
    net_init(&n, case_named("narrow"), 2, false, 8);
    run_whole(&n, n.plan);
    const int n_params = n.graph->n_params;
    bool *trained = allocate(n_params, sizeof *trained);
    for (int first = 0; first <= n_params; first++) {
        int lowest = n.graph->n_nodes;
        for (int i = 0; i < n_params; i++) {
            trained[i] = first < n_params ? i >= first : i % 4 == 3;
            if (trained[i] && n.graph->params[i].node < lowest) lowest = n.graph->params[i].node;
        }
        anx_plan *plan = make_plan(&n, n.params, trained);
        run_whole(&n, plan);
        for (int i = 0; i < n_params; i++) {
            const anx_value value = {ANX_VALUE_PARAM_GRAD, i};
            if (trained[i])
                expect_same_value(&n, plan, value);
            else
                CU_ASSERT_TRUE(refused(&n, plan, value));
        }
        for (int node = ANX_NODE_INPUT; node < n.graph->n_nodes; node++) {
            const anx_value value = {ANX_VALUE_GRAD, node};
            if (node >= lowest && node <= n.graph->logits) expect_same_value(&n, plan, value);
            if (node < lowest) CU_ASSERT_TRUE(refused(&n, plan, value));
        }
        anx_plan_destroy(plan);
    }
    free(trained);
    net_fini(&n);
}

static void test_threads(void) {
    net n;
    net_init(&n, case_named("narrow"), 3, false, 9);
    run_whole(&n, n.plan);
    anx_device *const two = n.device;
    for (int threads = 1; threads <= 5; threads += 2) {
        const anx_device_options options = {.threads = threads};
        anx_error err = ANX_ERROR_INIT;
        ANX_CHECK_OK(anx_device_open("reference", &options, &n.device, &err), &err);
        anx_plan *plan = make_plan(&n, n.params, NULL);
        run_whole(&n, plan);
        for (int i = 0; i < n.graph->n_params; i++) expect_same_value(&n, plan, (anx_value){ANX_VALUE_PARAM_GRAD, i});
        for (int node = 0; node <= n.graph->logits; node++)
            expect_same_value(&n, plan, (anx_value){ANX_VALUE_GRAD, node});
        anx_plan_destroy(plan);
        anx_device_close(n.device);
    }
    n.device = two;
    net_fini(&n);
}

/*
 * Softmax of one number more or less: p_k moves as a logistic curve, whose third derivative is at most 1/8, the others
 * in proportion to 1 - p_k, so that the loss's is at most max |dy| / 4.
 */
static void test_softmax(void) {
    static const char *const names[] = {"softmax of one", "softmax, four", "softmax, odd size"};
    for (size_t k = 0; k < sizeof names / sizeof names[0]; k++) {
        net n;
        net_init(&n, case_named(names[k]), 3, false, k + 1);
        const int last = n.graph->n_nodes - 1, logits = n.graph->logits;
        const int64_t elems = elems_of(&n, last);
        test_random r = {.state = 3};
        double *dy = draw_doubles(&r, elems, 1.0), largest = 0.0;
        for (int64_t i = 0; i < elems; i++) largest = fmax(largest, fabs(dy[i]));
        run_from(&n, 0);
        write_doubles(&n, n.plan, (anx_value){ANX_VALUE_GRAD, last}, dy);
        anx_error err = ANX_ERROR_INIT;
        ANX_CHECK_OK(anx_plan_run_groups_backward(n.plan, last, 1, &err), &err);
        double *dx = read_doubles(&n, n.plan, (anx_value){ANX_VALUE_GRAD, logits});
        free(n.weight_of[logits]);
        n.weight_of[logits] = NULL;
        n.weight_of[last] = dy;
        variable v = {.value = anx_value_output(logits),
                      .data = read_doubles(&n, n.plan, anx_value_output(logits)),
                      .first = last};
        for (v.at = 0; v.at < elems; v.at++) {
            const double step = 0x1p-13;
            double side[2];
            for (int i = 0; i < 2; i++) {
                set(&n, &v, v.data[v.at] + (i == 0 ? step : -step));
                double *y = read_doubles(&n, n.plan, anx_value_output(last));
                side[i] = 0.0;
                for (int64_t j = 0; j < elems; j++) side[i] += dy[j] * y[j];
                free(y);
            }
            const double expected = (side[0] - side[1]) / (2.0 * step);
            const double bound = step * step / 6.0 * largest / 4.0 +
                                 unit * (double)(elems + 16) * largest * (double)n.batch * (1.0 + 1.0 / step);
            if (!(fabs(dx[v.at] - expected) <= bound)) fail(&n, &v, step, expected, bound, dx[v.at]);
        }
        free(v.data);
        free(dx);
        net_fini(&n);
    }
}

static const anx_test tests[] = {
    {"gradients_are_central_differences_of_linear_losses", test_linear_loss},
    {"gradients_are_central_differences_of_a_cross_entropy", test_cross_entropy},
    {"an_output_read_by_several_layers_gets_the_sum_of_their_gradients", test_several_readers},
    {"softmaxs_gradients_are_central_differences", test_softmax},
    {"max_pool_sends_gradients_to_pytorchs_winners_in_its_order", test_max_pool_by_hand},
    {"relu_passes_gradients_where_pytorch_does", test_relu_by_hand},
    {"overlapping_averages_add_their_shares", test_average_by_hand},
    {"dropout_multiplies_by_its_mask_both_ways", test_masks},
    {"frozen_layers_have_no_gradients_and_change_no_others", test_frozen},
    {"the_number_of_threads_changes_no_bit", test_threads},
    {NULL, NULL},
};

int main(int argc, char **argv) {
    return anx_test_main("reference_backward", tests, argc, argv);
}
