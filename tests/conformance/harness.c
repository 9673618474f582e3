#include "tests/conformance/harness.h"

#include <float.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "parity/metrics.h"
#include "parity/operands.h"
#include "src/backend/reference/ops.h"
#include "tests/support/naive.h"
#include "tests/support/rounded_device.h"

const char *conformance_device;
anx_math_mode conformance_math;
float (*conformance_operands)(float);

anx_status conformance_open_device(int threads, anx_device **out, anx_error *err) {
    const anx_device_options options = {.threads = threads, .math = conformance_math};
    if (conformance_operands == NULL) return anx_device_open(conformance_device, &options, out, err);
    return anx_device_open_backend(&rounded_backend, conformance_ordinal(), &options, out, err);
}

anx_device *conformance_open(int threads) {
    anx_error err = ANX_ERROR_INIT;
    anx_device *device = NULL;
    if (conformance_operands != NULL) rounded_set(conformance_backend(), conformance_operands, conformance_math);
    ANX_CHECK_OK(conformance_open_device(threads, &device, &err), &err);
    CU_ASSERT_PTR_NOT_NULL_FATAL(device);
    return device;
}

static anx_device *shared;

static void close_shared(void) {
    anx_device_close(shared);
}

anx_device *conformance_shared_device(void) {
    if (shared == NULL) {
        shared = conformance_open(2);
        atexit(close_shared);
    }
    return shared;
}

const anx_backend *conformance_backend(void) {
    return anx_backend_load(anx_backend_find(conformance_device), NULL);
}

int conformance_ordinal(void) {
    const char *colon = strchr(conformance_device, ':');
    return colon != NULL ? atoi(colon + 1) : 0;
}

bool conformance_is_double(void) {
    anx_device_info info;
    anx_device_describe(conformance_shared_device(), &info);
    return strcmp(info.arithmetic, "float64") == 0;
}

anx_math_mode conformance_info_math(void) {
    anx_device_info info;
    anx_device_describe(conformance_shared_device(), &info);
    return info.math;
}

bool conformance_plans_agree(void) {
    return conformance_info_math() != ANX_MATH_FAST;
}

static bool multiplies(const anx_node *node) {
    return node->layer->op == ANX_OP_CONV2D || node->layer->op == ANX_OP_LINEAR;
}

bool conformance_keeps_integers(const anx_node *node, const anx_tensor *t) {
    const anx_math_mode math = conformance_info_math();
    if (math == ANX_MATH_FLOAT32 || !multiplies(node)) return true;
    if (math == ANX_MATH_FAST && node->layer->op == ANX_OP_CONV2D) return false;
    for (int64_t i = 0; i < anx_tensor_elems(t); i++) {
        const float v = t->dtype == ANX_F64 ? (float)doubles(t)[i] : floats(t)[i];
        if (rounded_tf32_cut(v) != v) return false;
    }
    return true;
}

/* ---- host memory ---------------------------------------------------------------------------------------- */

enum { GUARD_BYTES = 128, GUARD_PATTERN = 0xa5 };

anx_tensor guarded_alloc(anx_dtype dtype, int rank, const int64_t *shape) {
    anx_tensor t = anx_tensor_view(dtype, rank, shape, NULL);
    const size_t bytes = anx_tensor_bytes(&t);
    unsigned char *memory = malloc(bytes + 2 * GUARD_BYTES);
    if (memory == NULL) abort();
    memset(memory, GUARD_PATTERN, GUARD_BYTES);
    memset(memory + GUARD_BYTES, 0xff, bytes);
    memset(memory + GUARD_BYTES + bytes, GUARD_PATTERN, GUARD_BYTES);
    t.owned = memory;
    t.data = memory + GUARD_BYTES;
    return t;
}

static void check_guards(const anx_tensor *t) {
    const unsigned char *memory = t->owned;
    const size_t bytes = anx_tensor_bytes(t);
    bool good = true;
    for (size_t i = 0; i < GUARD_BYTES; i++)
        good = good && memory[i] == GUARD_PATTERN && memory[GUARD_BYTES + bytes + i] == GUARD_PATTERN;
    if (!good) CU_FAIL("memory around a host tensor was written");
}

anx_tensor guarded_value(const anx_plan *plan, anx_value value, anx_dtype dtype) {
    int64_t shape[4];
    const int rank = anx_plan_value_shape(plan, value, shape);
    return guarded_alloc(dtype, rank, shape);
}

anx_tensor guarded_copy(const anx_tensor *t) {
    anx_tensor copy = guarded_alloc(t->dtype, t->rank, t->shape);
    memcpy(copy.data, t->data, anx_tensor_bytes(t));
    return copy;
}

void guarded_free(anx_tensor *t) {
    if (t->owned == NULL) return;
    check_guards(t);
    free(t->owned);
    t->owned = NULL;
}

void fill_normal(anx_tensor *t, test_random *r) {
    for (int64_t i = 0; i < anx_tensor_elems(t); i++) floats(t)[i] = test_random_normal(r);
}

/* ---- a network with data -------------------------------------------------------------------------------- */

/*
 * Integer weights: -2 .. 2 for the first layer; after it -1, 0, 1 with three in four zero, so that the sums of a few
 * layers stay below 2^24.
 */
static float draw_weight(test_random *r, data_kind kind, const anx_param *p, int first_param) {
    if (kind == DATA_NORMAL) return test_random_normal(r) / sqrtf((float)p->fan_in);
    if (first_param) return (float)test_random_int(r, -2, 2);
    return test_random_int(r, 0, 3) == 0 ? (float)test_random_int(r, -1, 1) : 0.0f;
}

static void draw_masks(network *net) {
    test_random r = {.state = 77};
    net->masks = calloc((size_t)net->graph->n_nodes, sizeof *net->masks);
    if (net->masks == NULL) abort();
    for (int node = 0; node < net->graph->n_nodes; node++) {
        if (net->graph->nodes[node].layer->op != ANX_OP_DROPOUT) continue;
        int64_t shape[4];
        const int rank = anx_graph_node_shape(net->graph, node, net->c->batch, shape);
        net->masks[node] = guarded_alloc(ANX_F32, rank, shape);
        for (int64_t i = 0; i < anx_tensor_elems(&net->masks[node]); i++)
            floats(&net->masks[node])[i] = test_random_int(&r, 0, 1) == 0 ? 0.0f : 2.0f;
    }
}

void network_init(network *net, const conformance_case *c, data_kind kind, uint64_t seed) {
    *net = (network){.c = c, .random = {.state = seed}};
    anx_error err = ANX_ERROR_INIT;
    ANX_CHECK_OK(anx_graph_create(&c->arch, 0, c->height, c->width, &net->graph, &err), &err);
    CU_ASSERT_PTR_NOT_NULL_FATAL(net->graph);
    net->params = calloc((size_t)net->graph->n_params + 1, sizeof *net->params);
    if (net->params == NULL) abort();
    for (int i = 0; i < net->graph->n_params; i++) {
        const anx_param *p = &net->graph->params[i];
        net->params[i] = guarded_alloc(ANX_F32, p->rank, p->shape);
        for (int64_t k = 0; k < anx_tensor_elems(&net->params[i]); k++)
            floats(&net->params[i])[k] = draw_weight(&net->random, kind, p, i < 2);
    }
    int64_t shape[4];
    const int rank = anx_graph_node_shape(net->graph, ANX_NODE_INPUT, c->batch, shape);
    net->input = guarded_alloc(ANX_F32, rank, shape);
    if (kind == DATA_NORMAL)
        fill_normal(&net->input, &net->random);
    else
        for (int64_t k = 0; k < anx_tensor_elems(&net->input); k++)
            floats(&net->input)[k] = (float)test_random_int(&net->random, -9, 9);
    draw_masks(net);
}

void network_fini(network *net) {
    for (int i = 0; i < net->graph->n_params; i++) guarded_free(&net->params[i]);
    free(net->params);
    for (int node = 0; node < net->graph->n_nodes; node++) guarded_free(&net->masks[node]);
    free(net->masks);
    guarded_free(&net->input);
    anx_graph_destroy(net->graph);
}

void each_network(data_kind kind, void (*visit)(network *net)) {
    for (int i = 0; conformance_case_at(i) != NULL; i++) {
        network net;
        network_init(&net, conformance_case_at(i), kind, (uint64_t)i + 1);
        visit(&net);
        network_fini(&net);
    }
}

void each_lifted(data_kind kind, void (*visit)(network *net)) {
    for (int i = 0; conformance_case_at(i) != NULL; i++) {
        conformance_lifted lifted;
        conformance_lift(conformance_case_at(i), &lifted);
        network net;
        network_init(&net, &lifted.c, kind, (uint64_t)i + 1);
        visit(&net);
        network_fini(&net);
    }
}

/* ---- a network compiled --------------------------------------------------------------------------------- */

static void compile(subject *s, const network *net, anx_device *device, anx_plan_mode mode, const bool *trained) {
    static const char *const names[] = {"infer", "observe", "train"};
    *s = (subject){.net = net, .device = device, .where = names[mode]};
    const anx_plan_desc desc = {.graph = net->graph,
                                .batch = net->c->batch,
                                .mode = mode,
                                .params = net->params,
                                .n_params = net->graph->n_params,
                                .trained = trained};
    anx_error err = ANX_ERROR_INIT;
    if (anx_plan_create(device, &desc, &s->plan, &err) != ANX_OK)
        conformance_fail(s, NO_NODE, "no plan: %s", err.message);
    CU_ASSERT_PTR_NOT_NULL_FATAL(s->plan);
}

void subject_init(subject *s, const network *net, anx_device *device, anx_plan_mode mode) {
    compile(s, net, device, mode, NULL);
}

void subject_init_trained(subject *s, const network *net, anx_device *device, const bool *trained) {
    compile(s, net, device, ANX_PLAN_TRAIN, trained);
    for (int node = 0; node < net->graph->n_nodes; node++)
        if (net->masks[node].data != NULL) write_value(s, (anx_value){ANX_VALUE_MASK, node}, &net->masks[node]);
}

void subject_fini(subject *s) {
    anx_plan_destroy(s->plan);
    s->plan = NULL;
}

static void expect_ok(const subject *s, int node, const char *what, anx_status status, const anx_error *err) {
    if (status != ANX_OK) conformance_fail(s, node, "%s: %s: %s", what, anx_status_name(status), err->message);
}

void write_value(const subject *s, anx_value value, const anx_tensor *host) {
    anx_error err = ANX_ERROR_INIT;
    expect_ok(s, value.index, "writing", anx_plan_write(s->plan, value, host, &err), &err);
}

void synchronise(const subject *s) {
    anx_error err = ANX_ERROR_INIT;
    expect_ok(s, NO_NODE, "synchronising", anx_device_sync(s->device, &err), &err);
}

void run_groups(const subject *s, int first, int count) {
    anx_error err = ANX_ERROR_INIT;
    expect_ok(s, NO_NODE, "running", anx_plan_run_groups(s->plan, first, count, &err), &err);
}

void run_all(const subject *s) {
    run_groups(s, 0, anx_plan_group_count(s->plan));
}

void run_groups_backward(const subject *s, int first, int count) {
    anx_error err = ANX_ERROR_INIT;
    expect_ok(s, NO_NODE, "running backward", anx_plan_run_groups_backward(s->plan, first, count, &err), &err);
}

anx_tensor read_value(const subject *s, anx_value value, anx_dtype dtype) {
    anx_tensor t = guarded_value(s->plan, value, dtype);
    anx_error err = ANX_ERROR_INIT;
    expect_ok(s, value.index, "reading", anx_plan_read(s->plan, value, &t, &err), &err);
    expect_ok(s, value.index, "synchronising", anx_device_sync(s->device, &err), &err);
    check_guards(&t);
    return t;
}

anx_tensor read_output(const subject *s, int node) {
    return read_value(s, anx_value_output(node), ANX_F32);
}

/* ---- gradients ------------------------------------------------------------------------------------------ */

int lowest_trained(const anx_graph *graph, const bool *trained) {
    for (int i = 0; i < graph->n_params; i++) /* in the order of nodes */
        if (trained == NULL || trained[i]) return graph->params[i].node;
    return graph->n_nodes;
}

void read_gradients(gradients *g, const subject *s, const bool *trained) {
    const anx_graph *graph = s->net->graph;
    *g = (gradients){.of_node = calloc((size_t)graph->n_nodes, sizeof *g->of_node),
                     .of_param = calloc((size_t)graph->n_params + 1, sizeof *g->of_param),
                     .graph = graph};
    if (g->of_node == NULL || g->of_param == NULL) abort();
    for (int node = lowest_trained(graph, trained); node <= graph->logits; node++)
        if (anx_plan_group_of_node(s->plan, node) >= 0) g->of_node[node] = read_value(s, grad_value(node), ANX_F64);
    for (int i = 0; i < graph->n_params; i++)
        if (trained == NULL || trained[i]) g->of_param[i] = read_value(s, param_grad_value(i), ANX_F64);
}

void gradients_fini(gradients *g) {
    for (int node = 0; node < g->graph->n_nodes; node++) guarded_free(&g->of_node[node]);
    for (int i = 0; i < g->graph->n_params; i++) guarded_free(&g->of_param[i]);
    free(g->of_node);
    free(g->of_param);
}

void run_both_ways(const subject *s, const anx_tensor *logits_grad) {
    const int groups = anx_plan_group_of_node(s->plan, s->net->graph->logits) + 1;
    write_value(s, anx_value_output(ANX_NODE_INPUT), &s->net->input);
    run_groups(s, 0, groups);
    write_value(s, grad_value(s->net->graph->logits), logits_grad);
    run_groups_backward(s, 0, groups);
}

anx_tensor draw_logits_grad(network *net, data_kind kind) {
    int64_t shape[4];
    const int rank = anx_graph_node_shape(net->graph, net->graph->logits, net->c->batch, shape);
    anx_tensor g = guarded_alloc(ANX_F32, rank, shape);
    fill_normal(&g, &net->random);
    for (int64_t i = 0; kind == DATA_INTEGERS && i < anx_tensor_elems(&g); i++)
        floats(&g)[i] = test_random_int(&net->random, 0, 3) == 0 ? (float)test_random_int(&net->random, -2, 2) : 0.0f;
    return g;
}

/* ---- judging -------------------------------------------------------------------------------------------- */

void conformance_fail(const subject *s, int node, const char *format, ...) {
    char text[1024];
    const network *net = s->net;
    const char *name = node >= 0 && node < net->graph->n_nodes ? net->graph->nodes[node].layer->name
                       : node == ANX_NODE_INPUT                ? "input"
                                                               : "";
    int used = snprintf(text, sizeof text, "%s, %s, '%s': ", net->c->arch.name, s->where, name);
    va_list ap;
    va_start(ap, format);
    vsnprintf(text + used, sizeof text - (size_t)used, format, ap);
    va_end(ap);
    CU_assertImplementation(CU_FALSE, __LINE__, text, __FILE__, "", CU_FALSE);
}

static bool is_power_of_two(int64_t n) {
    return n > 0 && (n & (n - 1)) == 0;
}

/* All windows of an adaptive average have a power of two of elements on each side. */
static bool divides_exactly(const anx_node *node) {
    for (int d = 1; d < 3; d++) {
        const int64_t in = node->in.dim[d], out = node->out.dim[d];
        for (int64_t i = 0; i < out; i++)
            if (!is_power_of_two(((i + 1) * in + out - 1) / out - i * in / out)) return false;
    }
    return true;
}

bool node_is_exact(const anx_node *node) {
    if (node->layer->op == ANX_OP_ADAPTIVE_AVG_POOL2D) return divides_exactly(node);
    return node->layer->op != ANX_OP_SOFTMAX;
}

bool same_bits(float a, float b) {
    return (isnan(a) && isnan(b)) || memcmp(&a, &b, sizeof a) == 0;
}

static double element(const anx_tensor *t, int64_t i) {
    return t->dtype == ANX_F64 ? doubles(t)[i] : (double)floats(t)[i];
}

void expect_same_bits(const subject *s, int node, const anx_tensor *expected, const anx_tensor *got) {
    for (int64_t i = 0; i < anx_tensor_elems(expected); i++) {
        const double e = element(expected, i), g = element(got, i);
        if ((isnan(e) && isnan(g)) || memcmp(&e, &g, sizeof e) == 0) continue;
        conformance_fail(s, node, "element %lld: expected %.17g, got %.17g", (long long)i, e, g);
        return;
    }
    CU_PASS("same bits");
}

static double *allocate(int64_t elems) {
    double *p = calloc((size_t)elems, sizeof *p);
    if (p == NULL) abort();
    return p;
}

/*
 * Softmax of x, y = exp(x - m) / S. The float32 error of the argument x - m, at most u |x - m|, is a relative error
 * of y; the sum S has that of its terms, weighted by them. exp itself, the additions and the division: a few units
 * and 4 sqrt(n) for the sum. Results below the normal numbers may be flushed.
 */
static void bound_softmax(truth *t, const anx_tensor *x, int64_t features) {
    const double u = 0x1p-24;
    for (int64_t first = 0; first < t->elems; first += features) {
        const float *in = floats(x) + first;
        double max = -INFINITY, weighted = 0.0;
        for (int64_t i = 0; i < features; i++) max = fmax(max, (double)in[i]);
        for (int64_t i = 0; i < features; i++)
            if (t->y64[first + i] > 0.0) weighted += t->y64[first + i] * (max - (double)in[i]);
        for (int64_t i = 0; i < features; i++)
            t->bound[first + i] =
                t->y64[first + i] * u * (max - (double)in[i] + weighted + 4.0 * sqrt((double)features) + 8.0) +
                (double)FLT_MIN;
    }
}

/* The judge's own rule for a device whose operands are short. */
static void shorten_operands(truth *t, const network *net, int node, const anx_tensor *x, const anx_rule *rule,
                             const float *g, double underflow) {
    const anx_node *nd = &net->graph->nodes[node];
    const float *bias = nd->bias == ANX_NO_PARAM ? NULL : floats(&net->params[nd->bias]);
    float *bound = malloc((size_t)t->elems * sizeof *bound);
    t->operands = malloc((size_t)t->elems * sizeof *t->operands);
    t->spread = rule->spread;
    if (bound == NULL || t->operands == NULL) abort();
    anx_error err = ANX_ERROR_INIT;
    ANX_CHECK_OK(anx_operand_errors(net->graph, node, net->c->batch, floats(x), floats(&net->params[nd->weight]), bias,
                                    t->y64, t->operands, 1, &err),
                 &err);
    anx_rule_bounds(rule, &nd->out, net->c->batch, g, t->operands, bound);
    for (int64_t i = 0; i < t->elems; i++) t->bound[i] = (double)bound[i] + underflow;
    /* In the norm over a plane the gauge is its largest. */
    const int64_t plane = nd->out.rank == 3 ? nd->out.dim[1] * nd->out.dim[2] : 1;
    for (int64_t first = 0; rule->kind == ANX_BOUND_SUM_FAST && t->gauge != NULL && first < t->elems; first += plane) {
        double most = 0.0;
        for (int64_t i = first; i < first + plane; i++) most = fmax(most, t->gauge[i]);
        for (int64_t i = first; i < first + plane; i++) t->gauge[i] = most;
    }
    free(bound);
}

static void sum_truth(truth *t, const network *net, int node, const anx_tensor *x, double underflow) {
    const anx_node *nd = &net->graph->nodes[node];
    const float *weight = nd->weight == ANX_NO_PARAM ? NULL : floats(&net->params[nd->weight]);
    const float *bias = nd->bias == ANX_NO_PARAM ? NULL : floats(&net->params[nd->bias]);
    float *g = malloc((size_t)t->elems * sizeof *g);
    if (g == NULL) abort();
    anx_error err = ANX_ERROR_INIT;
    ANX_CHECK_OK(anx_reference_gauge(net->graph, node, net->c->batch, floats(x), weight, bias, g, 1, &err), &err);
    const double h = (double)nd->terms + 1.0, units = fmin(h, 4.0 * sqrt(h));
    const anx_rule rule = anx_rule_for_node_in(net->graph, node, conformance_info_math());
    /* Near the smallest numbers errors are no longer in proportion to G: no root mean square over r there. */
    if (underflow == 0.0) t->gauge = allocate(t->elems);
    for (int64_t i = 0; i < t->elems; i++) {
        if (t->gauge != NULL) t->gauge[i] = (double)g[i];
        t->bound[i] = units * 0x1p-24 * (double)g[i] + h * underflow;
    }
    if (rule.spread > 0.0) shorten_operands(t, net, node, x, &rule, g, h * underflow);
    free(g);
}

/* What only moves or compares numbers: by the definitions, so that the reference backend is not its own judge. */
static void exact_truth(truth *t, const network *net, int node, const anx_tensor *x) {
    const int64_t in = anx_tensor_elems(x);
    long double *wide = malloc((size_t)in * sizeof *wide), *y = malloc((size_t)t->elems * sizeof *y);
    if (wide == NULL || y == NULL) abort();
    for (int64_t i = 0; i < in; i++) wide[i] = (long double)floats(x)[i];
    naive_node(net->graph, node, net->c->batch, wide, NULL, NULL, false, y);
    for (int64_t i = 0; i < t->elems; i++) t->y64[i] = (double)y[i];
    t->exact = true;
    free(wide);
    free(y);
}

void truth_init(truth *t, const network *net, int node, const anx_tensor *x, double underflow) {
    const anx_node *nd = &net->graph->nodes[node];
    const anx_tensor *weight = nd->weight == ANX_NO_PARAM ? NULL : &net->params[nd->weight];
    const anx_tensor *bias = nd->bias == ANX_NO_PARAM ? NULL : &net->params[nd->bias];
    *t = (truth){.elems = net->c->batch * anx_graph_node_elems(net->graph, node)};
    t->y64 = allocate(t->elems);
    t->bound = allocate(t->elems);
    switch (nd->layer->op) {
    case ANX_OP_CONV2D:
    case ANX_OP_LINEAR:
    case ANX_OP_ADAPTIVE_AVG_POOL2D:
    case ANX_OP_SOFTMAX: break;
    default: exact_truth(t, net, node, x); return;
    }
    anx_error err = ANX_ERROR_INIT;
    ANX_CHECK_OK(anx_reference_node(net->graph, node, net->c->batch, x, weight, bias, t->y64, 1, &err), &err);
    if (nd->layer->op == ANX_OP_SOFTMAX)
        bound_softmax(t, x, nd->in.dim[0]);
    else
        sum_truth(t, net, node, x, underflow);
}

/* Carries truth and bounds through a node that is monotonic and 1-Lipschitz: ReLU, max-pool, flatten, dropout. */
static void carry(truth *t, const network *net, int node) {
    const anx_node *nd = &net->graph->nodes[node];
    const int64_t elems = net->c->batch * anx_graph_node_elems(net->graph, node);
    double *y64 = allocate(elems), *bound = allocate(elems);
    int64_t shape[4];
    const int rank = anx_graph_node_shape(net->graph, nd->inputs[0], net->c->batch, shape);
    const anx_tensor x = anx_tensor_view(ANX_F64, rank, shape, t->y64);
    const anx_tensor b = anx_tensor_view(ANX_F64, rank, shape, t->bound);
    anx_error err = ANX_ERROR_INIT;
    ANX_CHECK_OK(anx_reference_node(net->graph, node, net->c->batch, &x, NULL, NULL, y64, 1, &err), &err);
    /* Bounds are not negative: a ReLU keeps them, a max-pool takes the largest in the window. */
    ANX_CHECK_OK(anx_reference_node(net->graph, node, net->c->batch, &b, NULL, NULL, bound, 1, &err), &err);
    const bool exact = t->exact;
    truth_fini(t);
    *t = (truth){.y64 = y64, .bound = bound, .elems = elems, .exact = exact};
}

void truth_of_group(truth *t, const subject *s, const anx_group *group, const anx_tensor *x) {
    const network *net = s->net;
    truth_init(t, net, group->nodes[0], x, 0.0);
    for (int i = 1; i < group->n_nodes; i++) {
        const int node = group->nodes[i];
        const anx_op op = net->graph->nodes[node].layer->op;
        if (op == ANX_OP_RELU || op == ANX_OP_MAX_POOL2D || op == ANX_OP_FLATTEN || op == ANX_OP_DROPOUT) {
            carry(t, net, node);
            continue;
        }
        if (!t->exact) {
            conformance_fail(s, node, "the suite has no bound for %s behind another sum in its group", anx_op_name(op));
            return;
        }
        /* What comes before only moved float32 numbers: they are this node's input. */
        int64_t shape[4];
        const int rank = anx_graph_node_shape(net->graph, net->graph->nodes[node].inputs[0], net->c->batch, shape);
        anx_tensor moved = guarded_alloc(ANX_F32, rank, shape);
        for (int64_t k = 0; k < t->elems; k++) floats(&moved)[k] = (float)t->y64[k];
        truth_fini(t);
        truth_init(t, net, node, &moved, 0.0);
        guarded_free(&moved);
    }
}

void truth_fini(truth *t) {
    free(t->y64);
    free(t->bound);
    free(t->gauge);
    free(t->operands);
    *t = (truth){0};
}

/* A finite truth within its bound, an infinite one met exactly, a NaN by a NaN. */
static bool element_is_good(double y64, double bound, bool exact, float y) {
    if (isnan(y64)) return isnan(y);
    if (isinf(y64)) return (double)y == y64;
    if (exact) return (double)y == y64 && !signbit(y) == !signbit(y64);
    /* Truths beyond float32 may come out infinite, of either sign or as NaN where partial sums overflowed. */
    if (fabs(y64) + bound >= 0x1p128) return !isfinite(y) || fabs((double)y - y64) <= bound;
    return fabs((double)y - y64) <= bound;
}

double conformance_rms_limit(double spread, double allowed, int64_t n) {
    /* 4: the level above which no float32 engine was ever measured. */
    return n == 0 ? INFINITY : 4.0 + spread * (1.0 + 2.0 / sqrt((double)n)) * sqrt(allowed / (double)n);
}

void expect_truth(const subject *s, int node, const truth *t, const anx_tensor *got) {
    const int64_t per_image = t->elems / s->net->c->batch;
    double squares = 0.0, allowed = 0.0;
    for (int64_t i = 0; i < t->elems; i++) {
        const float y = floats(got)[i];
        if (!element_is_good(t->y64[i], t->bound[i], t->exact, y)) {
            conformance_fail(s, node, "element %lld: expected %.17g within %.3g, got %.9g", (long long)i, t->y64[i],
                             t->bound[i], (double)y);
            return;
        }
        if (t->gauge != NULL && t->gauge[i] > 0.0 && isfinite(t->y64[i]) && isfinite(y)) {
            const double r = ((double)y - t->y64[i]) / (0x1p-24 * t->gauge[i]);
            squares += r * r;
            if (t->operands != NULL) allowed += pow((double)t->operands[i] / t->gauge[i], 2.0);
        }
        if ((i + 1) % per_image != 0) continue;
        const double rms = sqrt(squares / (double)per_image),
                     most = conformance_rms_limit(t->spread, allowed, per_image);
        if (rms > most) {
            conformance_fail(s, node, "image %lld: root mean square error of %.3g u G, more than %.3g",
                             (long long)(i / per_image), rms, most);
            return;
        }
        squares = allowed = 0.0;
    }
    CU_PASS("within the bound");
}
