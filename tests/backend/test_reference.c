/*
 * The reference backend against the definitions in naive.c: exactly where all sums are integers, within double's own
 * rounding elsewhere, and the same bits with every instruction set and number of threads.
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "src/backend/reference/kernels.h"
#include "src/backend/reference/ops.h"
#include "tests/conformance/cases.h"
#include "tests/support/anx_test.h"
#include "tests/support/naive.h"
#include "tests/support/random.h"

/* One node of a case with data for it. Everything is malloc'd, so that sanitizers see each end. */
typedef struct sample {
    anx_graph *graph;
    int node;
    int64_t batch, in_elems, out_elems;
    float *x, *weight, *bias; /* weight, bias NULL where the node has none */
    long double *expected, *gauge;
    double *y;
} sample;

static void *allocate(int64_t count, size_t size) {
    void *p = calloc((size_t)count, size);
    if (p == NULL) abort();
    return p;
}

static float draw(test_random *r, bool integers) {
    return integers ? (float)test_random_int(r, -9, 9) : test_random_normal(r);
}

static float *draw_param(const anx_graph *graph, int param, test_random *r, bool integers) {
    if (param == ANX_NO_PARAM) return NULL;
    int64_t elems = 0;
    CU_ASSERT_TRUE_FATAL(anx_shape_elems(graph->params[param].rank, graph->params[param].shape, &elems));
    float *data = allocate(elems, sizeof *data);
    for (int64_t i = 0; i < elems; i++) data[i] = draw(r, integers);
    return data;
}

static void sample_init(sample *s, anx_graph *graph, int node, int64_t batch, test_random *r, bool integers) {
    const anx_node *nd = &graph->nodes[node];
    *s = (sample){.graph = graph, .node = node, .batch = batch};
    s->in_elems = batch * anx_graph_node_elems(graph, nd->inputs[0]);
    s->out_elems = batch * anx_graph_node_elems(graph, node);
    s->x = allocate(s->in_elems, sizeof *s->x);
    for (int64_t i = 0; i < s->in_elems; i++) s->x[i] = draw(r, integers);
    s->weight = draw_param(graph, nd->weight, r, integers);
    s->bias = draw_param(graph, nd->bias, r, integers);
    s->expected = allocate(s->out_elems, sizeof *s->expected);
    s->gauge = allocate(s->out_elems, sizeof *s->gauge);
    s->y = allocate(s->out_elems, sizeof *s->y);
    long double *wide = allocate(s->in_elems, sizeof *wide);
    for (int64_t i = 0; i < s->in_elems; i++) wide[i] = (long double)s->x[i];
    naive_node(graph, node, batch, wide, s->weight, s->bias, false, s->expected);
    naive_node(graph, node, batch, wide, s->weight, s->bias, true, s->gauge);
    free(wide);
}

static void sample_fini(sample *s) {
    free(s->x);
    free(s->weight);
    free(s->bias);
    free(s->expected);
    free(s->gauge);
    free(s->y);
}

/* Calls visit for every node of every case, with fresh data. */
static void each_sample(bool integers, void (*visit)(sample *s)) {
    test_random r = {.state = 20};
    for (int i = 0; conformance_case_at(i) != NULL; i++) {
        const conformance_case *c = conformance_case_at(i);
        anx_error err = ANX_ERROR_INIT;
        anx_graph *graph = NULL;
        ANX_CHECK_OK(anx_graph_create(&c->arch, 0, c->height, c->width, &graph, &err), &err);
        for (int node = 0; graph != NULL && node < graph->n_nodes; node++) {
            sample s;
            sample_init(&s, graph, node, c->batch, &r, integers);
            visit(&s);
            sample_fini(&s);
        }
        anx_graph_destroy(graph);
    }
}

static void fail(const sample *s, int64_t at, long double expected, long double got) {
    char text[512];
    snprintf(text, sizeof text, "%s, '%s', element %lld: expected %.21Lg, got %.21Lg", s->graph->arch->name,
             s->graph->nodes[s->node].layer->name, (long long)at, expected, got);
    CU_assertImplementation(CU_FALSE, __LINE__, text, __FILE__, "", CU_FALSE);
}

static void run(sample *s, anx_dtype dtype) {
    const anx_node *nd = &s->graph->nodes[s->node];
    anx_error err = ANX_ERROR_INIT;
    anx_tensor weight = ANX_TENSOR_INIT, bias = ANX_TENSOR_INIT, x = ANX_TENSOR_INIT, wide = ANX_TENSOR_INIT;
    int64_t shape[4];
    const int rank = anx_graph_node_shape(s->graph, nd->inputs[0], s->batch, shape);
    x = anx_tensor_view(ANX_F32, rank, shape, s->x);
    if (nd->weight != ANX_NO_PARAM) {
        const anx_param *w = &s->graph->params[nd->weight], *b = &s->graph->params[nd->bias];
        weight = anx_tensor_view(ANX_F32, w->rank, w->shape, s->weight);
        bias = anx_tensor_view(ANX_F32, b->rank, b->shape, s->bias);
    }
    ANX_CHECK_OK(anx_tensor_convert(&x, dtype, &wide, &err), &err);
    memset(s->y, 0xff, (size_t)s->out_elems * sizeof *s->y);
    ANX_CHECK_OK(anx_reference_node(s->graph, s->node, s->batch, &wide, &weight, &bias, s->y, 2, &err), &err);
    anx_tensor_fini(&wide);
}

static void check_integers(sample *s) {
    /* An average divides, softmax exponentiates: no integers. */
    const anx_op op = s->graph->nodes[s->node].layer->op;
    if (op == ANX_OP_ADAPTIVE_AVG_POOL2D || op == ANX_OP_SOFTMAX) return;
    for (int dtype = ANX_F32; dtype <= ANX_F64; dtype++) {
        run(s, (anx_dtype)dtype);
        for (int64_t i = 0; i < s->out_elems; i++)
            if ((long double)s->y[i] != s->expected[i]) {
                fail(s, i, s->expected[i], (long double)s->y[i]);
                break;
            }
    }
}

static void test_integers(void) {
    each_sample(true, check_integers);
}

static void check_rounding(sample *s) {
    const anx_node *nd = &s->graph->nodes[s->node];
    run(s, ANX_F32);
    for (int64_t i = 0; i < s->out_elems; i++) {
        /* Any order of `terms` additions and a last operation or two; softmax: exp's argument is below 16 here. */
        long double bound = (long double)(nd->terms + 2) * 0x1p-53L * s->gauge[i];
        if (nd->layer->op == ANX_OP_SOFTMAX) bound = (long double)(nd->terms + 64) * 0x1p-53L * s->expected[i];
        if (nd->terms == 0) bound = 0;
        if (!(fabsl((long double)s->y[i] - s->expected[i]) <= bound)) {
            fail(s, i, s->expected[i], (long double)s->y[i]);
            break;
        }
    }
}

static void test_rounding(void) {
    each_sample(false, check_rounding);
}

static void check_gauge(sample *s) {
    const anx_node *nd = &s->graph->nodes[s->node];
    const anx_op op = nd->layer->op;
    if (op != ANX_OP_CONV2D && op != ANX_OP_LINEAR && op != ANX_OP_ADAPTIVE_AVG_POOL2D) return;
    anx_error err = ANX_ERROR_INIT;
    float *g = allocate(s->out_elems, sizeof *g);
    ANX_CHECK_OK(anx_reference_gauge(s->graph, s->node, s->batch, s->x, s->weight, s->bias, g, 2, &err), &err);
    for (int64_t i = 0; i < s->out_elems; i++)
        if (!(fabsl((long double)g[i] - s->gauge[i]) <= 0x1.1p-24L * s->gauge[i])) {
            fail(s, i, s->gauge[i], (long double)g[i]);
            break;
        }
    free(g);
}

static void test_gauge(void) {
    each_sample(false, check_gauge);
}

static void check_isas(sample *s) {
    const anx_op op = s->graph->nodes[s->node].layer->op;
    if (op != ANX_OP_CONV2D && op != ANX_OP_LINEAR) return;
    run(s, ANX_F32);
    double *y = allocate(s->out_elems, sizeof *y);
    for (int isa = ANX_ISA_PORTABLE; isa <= (int)anx_isa_best(); isa++)
        for (int threads = 1; threads <= 3; threads++) {
            anx_error err = ANX_ERROR_INIT;
            const anx_reference_job job = {.node = &s->graph->nodes[s->node],
                                           .batch = s->batch,
                                           .x32 = s->x,
                                           .weight = s->weight,
                                           .bias = s->bias,
                                           .y = y,
                                           .threads = threads,
                                           .isa = (anx_isa)isa};
            memset(y, 0xff, (size_t)s->out_elems * sizeof *y);
            ANX_CHECK_OK(op == ANX_OP_CONV2D ? anx_reference_conv2d(&job, &err) : anx_reference_linear(&job, &err),
                         &err);
            for (int64_t i = 0; i < s->out_elems; i++)
                if (memcmp(&y[i], &s->y[i], sizeof y[i]) != 0) {
                    fail(s, i, (long double)s->y[i], (long double)y[i]);
                    break;
                }
        }
    free(y);
}

static void test_isas(void) {
    each_sample(false, check_isas);
}

static bool same_double(double a, double b) {
    return (isnan(a) && isnan(b)) || (a == b && !signbit(a) == !signbit(b));
}

/* One image of the case's last node against values written by hand. */
/* Sum of a[i] * b[i], or of a[i] * |b[i]|. */
static long double inner(const double *a, const float *b, int64_t n, bool absolute) {
    long double sum = 0.0L;
    for (int64_t i = 0; i < n; i++)
        sum += (long double)a[i] * (absolute ? fabsl((long double)b[i]) : (long double)b[i]);
    return sum;
}

/*
 * Backward is forward's transpose: dy's product with y, without the bias, is dx's with x, and dweight's with the
 * weights; the same of their gauges.
 */
static void check_back(sample *s, bool gauge) {
    const anx_graph *graph = s->graph;
    const anx_node *nd = &graph->nodes[s->node];
    const bool weighted = nd->weight != ANX_NO_PARAM;
    const int64_t n_weight = weighted ? anx_param_elems(&graph->params[nd->weight]) : 1;
    const int64_t n_bias = nd->bias != ANX_NO_PARAM ? anx_param_elems(&graph->params[nd->bias]) : 1;
    double *dx = allocate(s->in_elems, sizeof *dx), *dweight = allocate(n_weight, sizeof *dweight);
    double *dbias = allocate(n_bias, sizeof *dbias);
    float *dy = allocate(s->out_elems, sizeof *dy);
    long double all = 0.0L;
    for (int64_t i = 0; i < s->out_elems; i++) {
        dy[i] = (float)(i * 7919 % 13 - 6);
        all += gauge ? fabsl((long double)dy[i]) * s->gauge[i] : (long double)dy[i] * s->expected[i];
    }
    const anx_reference_gradients g = {.x = s->x,
                                       .dy = dy,
                                       .weight = s->weight,
                                       .gauge = gauge,
                                       .dx = dx,
                                       .dweight = weighted ? dweight : NULL,
                                       .dbias = s->bias != NULL ? dbias : NULL};
    anx_error err = ANX_ERROR_INIT;
    ANX_CHECK_OK(anx_reference_node_back(graph, s->node, s->batch, &g, 2, &err), &err);
    if (s->bias != NULL) all -= inner(dbias, s->bias, n_bias, gauge);
    const long double bound = 1e-12L * (1.0L + fabsl(all));
    const long double by_input = inner(dx, s->x, s->in_elems, gauge);
    if (!(fabsl(by_input - all) <= bound)) fail(s, -1, all, by_input);
    const long double by_weight = weighted ? inner(dweight, s->weight, n_weight, gauge) : all;
    if (!(fabsl(by_weight - all) <= bound)) fail(s, -1, all, by_weight);
    free(dx);
    free(dweight);
    free(dbias);
    free(dy);
}

static void check_both_backs(sample *s) {
    const anx_op op = s->graph->nodes[s->node].layer->op;
    if (op != ANX_OP_CONV2D && op != ANX_OP_LINEAR && op != ANX_OP_ADAPTIVE_AVG_POOL2D) return;
    check_back(s, false);
    check_back(s, true);
}

static void test_back(void) {
    each_sample(true, check_both_backs);
}

static void check_values(const char *name, const double *x, const double *expected) {
    const conformance_case *c = NULL;
    for (int i = 0; conformance_case_at(i) != NULL; i++)
        if (strcmp(conformance_case_at(i)->arch.name, name) == 0) c = conformance_case_at(i);
    CU_ASSERT_PTR_NOT_NULL_FATAL(c);
    anx_error err = ANX_ERROR_INIT;
    anx_graph *graph = NULL;
    ANX_CHECK_OK(anx_graph_create(&c->arch, 0, c->height, c->width, &graph, &err), &err);
    CU_ASSERT_PTR_NOT_NULL_FATAL(graph);
    const int last = graph->n_nodes - 1;
    const int64_t elems = anx_graph_node_elems(graph, last);
    int64_t shape[4];
    const int rank = anx_graph_node_shape(graph, graph->nodes[last].inputs[0], 1, shape);
    const anx_tensor view = anx_tensor_view(ANX_F64, rank, shape, x);
    double *y = allocate(elems, sizeof *y);
    ANX_CHECK_OK(anx_reference_node(graph, last, 1, &view, NULL, NULL, y, 1, &err), &err);
    for (int64_t i = 0; i < elems; i++)
        if (!same_double(y[i], expected[i])) {
            char text[256];
            snprintf(text, sizeof text, "%s, element %lld: expected %g, got %g", name, (long long)i, expected[i], y[i]);
            CU_assertImplementation(CU_FALSE, __LINE__, text, __FILE__, "", CU_FALSE);
        }
    free(y);
    anx_graph_destroy(graph);
}

/* The expected values are what PyTorch 1.13 and 2.15 give. */
static void test_special_values(void) {
    const double relu_x[] = {-1.0, -0.0, 0.0, 5e-324, -5e-324, NAN, INFINITY, -INFINITY, 2.5};
    const double relu_y[] = {0.0, -0.0, 0.0, 5e-324, 0.0, NAN, INFINITY, 0.0, 2.5};
    check_values("relu, nine", relu_x, relu_y);
    /* Windows of three, two apart: a NaN first and in the middle; -inf last and alone; a tie of zeros. */
    const double pool_x[] = {NAN, 1.0, 2.0, NAN, 3.0, -INFINITY, -INFINITY, -INFINITY, -INFINITY, -0.0, 0.0};
    const double pool_y[] = {NAN, NAN, 3.0, -INFINITY, -0.0};
    check_values("max-pool, a row of eleven", pool_x, pool_y);
    /* exp(1000) overflows; its ratios do not. */
    const double soft_x[] = {1000.0, 1000.0, -1000.0, 1000.0}, soft_y[] = {1.0 / 3.0, 1.0 / 3.0, 0.0, 1.0 / 3.0};
    check_values("softmax, four", soft_x, soft_y);
    const double nan_x[] = {1.0, NAN, 2.0, 3.0}, nan_y[] = {NAN, NAN, NAN, NAN};
    check_values("softmax, four", nan_x, nan_y);
    const double inf_x[] = {1.0, INFINITY, 2.0, 3.0};
    check_values("softmax, four", inf_x, nan_y);
}

static void test_errors(void) {
    const conformance_case *c = conformance_case_at(4);
    anx_error err = ANX_ERROR_INIT;
    anx_graph *graph = NULL;
    ANX_CHECK_OK(anx_graph_create(&c->arch, 0, c->height, c->width, &graph, &err), &err);
    CU_ASSERT_PTR_NOT_NULL_FATAL(graph);
    test_random r = {.state = 1};
    sample s;
    sample_init(&s, graph, 0, 1, &r, true);
    int64_t shape[4];
    const int rank = anx_graph_node_shape(graph, ANX_NODE_INPUT, 1, shape);
    const anx_tensor x = anx_tensor_view(ANX_F32, rank, shape, s.x);
    const anx_tensor bias = anx_tensor_view(ANX_F32, 1, graph->params[1].shape, s.bias);
    const anx_tensor weight = anx_tensor_view(ANX_F32, 4, graph->params[0].shape, s.weight);

    ANX_CHECK_STATUS(ANX_ERR_INVALID_ARGUMENT, anx_reference_node(graph, 1, 1, &x, &weight, &bias, s.y, 1, &err), &err);
    ANX_CHECK_MESSAGE("no node 1", &err);
    ANX_CHECK_STATUS(ANX_ERR_INVALID_ARGUMENT, anx_reference_node(graph, 0, 0, &x, &weight, &bias, s.y, 1, &err), &err);
    ANX_CHECK_STATUS(ANX_ERR_INVALID_ARGUMENT, anx_reference_node(graph, 0, 2, &x, &weight, &bias, s.y, 1, &err), &err);
    ANX_CHECK_MESSAGE("layer 'c': the input must be contiguous float32 or float64 with 990 elements", &err);
    ANX_CHECK_STATUS(ANX_ERR_INVALID_ARGUMENT, anx_reference_node(graph, 0, 1, &x, NULL, &bias, s.y, 1, &err), &err);
    ANX_CHECK_MESSAGE("'c.weight' must be a contiguous float32 tensor of rank 4", &err);
    ANX_CHECK_STATUS(ANX_ERR_INVALID_ARGUMENT, anx_reference_node(graph, 0, 1, &x, &weight, &weight, s.y, 1, &err),
                     &err);
    ANX_CHECK_STATUS(ANX_ERR_INVALID_ARGUMENT,
                     anx_reference_gauge(graph, 0, 1, s.x, NULL, s.bias, (float *)s.y, 1, &err), &err);
    const anx_reference_gradients wrong[] = {
        {.dy = s.x, .weight = s.weight}, {.x = s.x, .weight = s.weight}, {.x = s.x, .dy = s.x}};
    for (int i = 0; i < 3; i++) {
        ANX_CHECK_STATUS(ANX_ERR_INVALID_ARGUMENT, anx_reference_node_back(graph, 0, 1, &wrong[i], 1, &err), &err);
        ANX_CHECK_MESSAGE("layer 'c': no gradients of a 'conv2d' from what is given", &err);
    }
    sample_fini(&s);
    anx_graph_destroy(graph);
}

/* A layer that sums nothing, and weights for one that has none. */
static void test_no_way_back(void) {
    anx_error err = ANX_ERROR_INIT;
    int refused = 0;
    for (int i = 0; conformance_case_at(i) != NULL; i++) {
        const conformance_case *c = conformance_case_at(i);
        anx_graph *graph = NULL;
        ANX_CHECK_OK(anx_graph_create(&c->arch, 0, c->height, c->width, &graph, &err), &err);
        CU_ASSERT_PTR_NOT_NULL_FATAL(graph);
        for (int node = 0; node < graph->n_nodes; node++) {
            const anx_node *nd = &graph->nodes[node];
            if (nd->weight != ANX_NO_PARAM) continue;
            const bool sums = nd->layer->op == ANX_OP_ADAPTIVE_AVG_POOL2D;
            const int64_t in = c->batch * anx_graph_node_elems(graph, nd->inputs[0]);
            const int64_t out = c->batch * anx_graph_node_elems(graph, node);
            float *values = allocate(in > out ? in : out, sizeof *values);
            const anx_reference_gradients g = {.x = values, .dy = values, .weight = sums ? values : NULL};
            ANX_CHECK_STATUS(ANX_ERR_INVALID_ARGUMENT, anx_reference_node_back(graph, node, c->batch, &g, 1, &err),
                             &err);
            refused++;
            free(values);
        }
        anx_graph_destroy(graph);
    }
    CU_ASSERT_TRUE(refused > 4);
}

static const anx_test tests[] = {
    {"integers_come_out_exactly", test_integers},
    {"floats_round_as_doubles_do", test_rounding},
    {"the_gauge_sums_absolute_values", test_gauge},
    {"every_instruction_set_and_thread_count_gives_the_same_bits", test_isas},
    {"nan_infinity_and_signed_zeros_go_where_pytorch_sends_them", test_special_values},
    {"backward_is_the_transpose_of_forward", test_back},
    {"wrong_arguments_are_refused", test_errors},
    {"what_sums_nothing_has_no_way_back", test_no_way_back},
    {NULL, NULL},
};

int main(int argc, char **argv) {
    return anx_test_main("reference", tests, argc, argv);
}
