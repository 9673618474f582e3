/* What a node computes: exactly on integers, within float32's rounding otherwise, and on the odd values of IEEE 754. */
#include <float.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "tests/conformance/harness.h"
#include "tests/conformance/suites.h"
#include "tests/support/naive.h"

/* ---- integers ------------------------------------------------------------------------------------------- */

/* Every node's exact output, by the definitions; NULL where it is no integer sum (behind softmax and most averages). */
typedef struct exact_values {
    long double **of_node; /* n_nodes + 1; [0] is the input's */
    int count;
} exact_values;

/* The sums must be exact in float32 in any order: G below 2^24, in units of the smallest bit in use. */
static void expect_small_sums(const subject *s, int node, const long double *x) {
    const network *net = s->net;
    const anx_node *nd = &net->graph->nodes[node];
    if (nd->terms == 0) return;
    const int64_t elems = net->c->batch * anx_graph_node_elems(net->graph, node);
    long double *g = malloc((size_t)elems * sizeof *g);
    if (g == NULL) abort();
    naive_node(net->graph, node, net->c->batch, x, nd->weight < 0 ? NULL : floats(&net->params[nd->weight]),
               nd->bias < 0 ? NULL : floats(&net->params[nd->bias]), true, g);
    for (int64_t i = 0; i < elems; i++)
        if (g[i] >= 0x1p20L) {
            conformance_fail(s, node, "the case's own sums reach %.0Lf: too large to be exact", g[i]);
            break;
        }
    free(g);
}

/* Whether the node's input is known, and what it multiplies keeps its integers. */
static bool takes_exactly(const exact_values *v, const network *net, const anx_node *nd) {
    const long double *x = v->of_node[nd->inputs[0] + 1];
    if (x == NULL) return false;
    int64_t shape[4];
    const int rank = anx_graph_node_shape(net->graph, nd->inputs[0], net->c->batch, shape);
    anx_tensor as_float = guarded_alloc(ANX_F32, rank, shape);
    for (int64_t i = 0; i < anx_tensor_elems(&as_float); i++) floats(&as_float)[i] = (float)x[i];
    const bool keeps = conformance_keeps_integers(nd, &as_float);
    guarded_free(&as_float);
    return keeps;
}

static void exact_values_init(exact_values *v, const subject *s) {
    const network *net = s->net;
    const int64_t batch = net->c->batch;
    v->count = net->graph->n_nodes + 1;
    v->of_node = calloc((size_t)v->count, sizeof *v->of_node);
    if (v->of_node == NULL) abort();
    for (int node = ANX_NODE_INPUT; node < net->graph->n_nodes; node++) {
        const int64_t elems = batch * anx_graph_node_elems(net->graph, node);
        const anx_node *nd = node < 0 ? NULL : &net->graph->nodes[node];
        if (nd != NULL && (!node_is_exact(nd) || !takes_exactly(v, net, nd))) continue;
        long double *y = malloc((size_t)elems * sizeof *y);
        if (y == NULL) abort();
        v->of_node[node + 1] = y;
        if (nd == NULL) {
            for (int64_t i = 0; i < elems; i++) y[i] = (long double)floats(&net->input)[i];
            continue;
        }
        expect_small_sums(s, node, v->of_node[nd->inputs[0] + 1]);
        naive_node(net->graph, node, batch, v->of_node[nd->inputs[0] + 1],
                   nd->weight < 0 ? NULL : floats(&net->params[nd->weight]),
                   nd->bias < 0 ? NULL : floats(&net->params[nd->bias]), false, y);
    }
}

static void exact_values_fini(exact_values *v) {
    for (int i = 0; i < v->count; i++) free(v->of_node[i]);
    free(v->of_node);
}

static void expect_exact(const subject *s, int node, const long double *expected) {
    if (expected == NULL) return;
    anx_tensor y = read_output(s, node);
    for (int64_t i = 0; i < anx_tensor_elems(&y); i++)
        if ((long double)floats(&y)[i] != expected[i]) {
            conformance_fail(s, node, "element %lld: expected %.9Lg, got %.9g", (long long)i, expected[i],
                             (double)floats(&y)[i]);
            break;
        }
    guarded_free(&y);
}

static void check_integers(network *net) {
    subject s;
    subject_init(&s, net, conformance_shared_device(), ANX_PLAN_OBSERVE);
    exact_values v;
    exact_values_init(&v, &s);
    write_value(&s, anx_value_output(ANX_NODE_INPUT), &net->input);
    run_all(&s);
    for (int node = 0; node < net->graph->n_nodes; node++) expect_exact(&s, node, v.of_node[node + 1]);
    subject_fini(&s);

    subject_init(&s, net, conformance_shared_device(), ANX_PLAN_INFER);
    write_value(&s, anx_value_output(ANX_NODE_INPUT), &net->input);
    for (int g = 0; g < anx_plan_group_count(s.plan); g++) {
        run_groups(&s, g, 1);
        const int node = last_node(anx_plan_group(s.plan, g));
        expect_exact(&s, node, v.of_node[node + 1]);
    }
    subject_fini(&s);
    exact_values_fini(&v);
}

static void test_integers(void) {
    each_network(DATA_INTEGERS, check_integers);
}

/* ---- floats, each node or group on its own --------------------------------------------------------------- */

/* The input of a node: normal numbers of variance 1. */
static anx_tensor draw_input(network *net, int source) {
    int64_t shape[4];
    const int rank = anx_graph_node_shape(net->graph, source, net->c->batch, shape);
    anx_tensor x = guarded_alloc(ANX_F32, rank, shape);
    fill_normal(&x, &net->random);
    return x;
}

static void check_nodes(network *net) {
    subject s;
    subject_init(&s, net, conformance_shared_device(), ANX_PLAN_OBSERVE);
    for (int node = 0; node < net->graph->n_nodes; node++) {
        const int source = net->graph->nodes[node].inputs[0];
        anx_tensor x = draw_input(net, source);
        write_value(&s, anx_value_output(source), &x);
        const int group = anx_plan_group_of_node(s.plan, node);
        if (group < 0) {
            conformance_fail(&s, node, "no group of its own in an observing plan");
        } else {
            run_groups(&s, group, 1);
            anx_tensor y = read_output(&s, node);
            truth t;
            truth_init(&t, net, node, &x, 0.0);
            expect_truth(&s, node, &t, &y);
            truth_fini(&t);
            guarded_free(&y);
        }
        guarded_free(&x);
    }
    subject_fini(&s);
}

static void test_nodes(void) {
    each_network(DATA_NORMAL, check_nodes);
}

/* Runs one group of an inferring plan on x and compares. */
static void expect_group(const subject *s, int g, const anx_tensor *x) {
    const anx_group *group = anx_plan_group(s->plan, g);
    write_value(s, anx_value_output(group->inputs[0]), x);
    run_groups(s, g, 1);
    anx_tensor y = read_output(s, last_node(group));
    truth t;
    truth_of_group(&t, s, group, x);
    expect_truth(s, last_node(group), &t, &y);
    truth_fini(&t);
    guarded_free(&y);
}

static void check_groups(network *net) {
    subject s;
    subject_init(&s, net, conformance_shared_device(), ANX_PLAN_INFER);
    for (int g = 0; g < anx_plan_group_count(s.plan); g++) {
        anx_tensor x = draw_input(net, anx_plan_group(s.plan, g)->inputs[0]);
        expect_group(&s, g, &x);
        guarded_free(&x);
    }
    subject_fini(&s);
}

static void test_groups(void) {
    each_network(DATA_NORMAL, check_groups);
}

/* ---- NaN, infinity, signed zeros, subnormals, overflow ----------------------------------------------------- */

static bool sums(const anx_node *node) {
    const anx_op op = node->layer->op;
    return op == ANX_OP_CONV2D || op == ANX_OP_LINEAR || op == ANX_OP_ADAPTIVE_AVG_POOL2D;
}

/* Runs one node of an observing plan on x and compares. A max-pool may take either zero of a tie: see suites.h. */
static void expect_node(const subject *s, int node, const anx_tensor *x, double underflow) {
    const anx_op op = s->net->graph->nodes[node].layer->op;
    write_value(s, anx_value_output(s->net->graph->nodes[node].inputs[0]), x);
    run_groups(s, anx_plan_group_of_node(s->plan, node), 1);
    anx_tensor y = read_output(s, node);
    truth t;
    truth_init(&t, s->net, node, x, underflow);
    if (op == ANX_OP_MAX_POOL2D)
        for (int64_t i = 0; i < t.elems; i++)
            if (t.y64[i] == 0.0 && floats(&y)[i] == 0.0f) t.y64[i] = (double)floats(&y)[i];
    expect_truth(s, node, &t, &y);
    truth_fini(&t);
    guarded_free(&y);
}

static void check_special_elementwise(network *net) {
    static const float special[] = {NAN,        INFINITY, -INFINITY, -0.0f,    0.0f,        0x1p-149f,
                                    -0x1p-149f, FLT_MIN,  FLT_MAX,   -FLT_MAX, 0x1.8p-130f, -0x1.8p-130f};
    subject s;
    subject_init(&s, net, conformance_shared_device(), ANX_PLAN_OBSERVE);
    for (int node = 0; node < net->graph->n_nodes; node++) {
        const anx_node *nd = &net->graph->nodes[node];
        if (sums(nd) || nd->layer->op == ANX_OP_SOFTMAX) continue;
        anx_tensor x = draw_input(net, nd->inputs[0]);
        const int64_t kinds = (int64_t)(sizeof special / sizeof special[0]);
        for (int64_t i = 0; i < anx_tensor_elems(&x); i++)
            if (test_random_int(&net->random, 0, 3) == 0)
                floats(&x)[i] = special[test_random_int(&net->random, 0, kinds - 1)];
        expect_node(&s, node, &x, 0.0);
        guarded_free(&x);
    }
    subject_fini(&s);
}

static void test_special_elementwise(void) {
    each_network(DATA_NORMAL, check_special_elementwise);
}

/* Puts it into each image but the last, which stays ordinary, so that one that leaks is seen. */
static void spoil(network *net, anx_tensor *x, float special) {
    const int64_t per_image = anx_tensor_elems(x) / net->c->batch, spoiled = net->c->batch > 1 ? net->c->batch - 1 : 1;
    for (int64_t n = 0; n < spoiled; n++)
        floats(x)[n * per_image + test_random_int(&net->random, 0, per_image - 1)] = special;
}

/* One NaN or infinity in each image: it must reach the outputs that read it, and no other. */
static void check_special_sums(network *net) {
    static const float special[] = {NAN, INFINITY, -INFINITY};
    subject s;
    subject_init(&s, net, conformance_shared_device(), ANX_PLAN_OBSERVE);
    for (int node = 0; node < net->graph->n_nodes; node++) {
        const anx_node *nd = &net->graph->nodes[node];
        if (!sums(nd)) continue;
        for (int k = 0; k < 3; k++) {
            anx_tensor x = draw_input(net, nd->inputs[0]);
            spoil(net, &x, special[k]);
            expect_node(&s, node, &x, 0.0);
            guarded_free(&x);
        }
    }
    subject_fini(&s);
}

static void test_special_sums(void) {
    if (conformance_info_math() == ANX_MATH_FAST) return; /* tiles and transforms spread it */
    each_network(DATA_NORMAL, check_special_sums);
}

/* What is computed with a sum in one group, a ReLU above all, keeps its NaN. */
static void check_special_groups(network *net) {
    subject s;
    subject_init(&s, net, conformance_shared_device(), ANX_PLAN_INFER);
    for (int g = 0; g < anx_plan_group_count(s.plan); g++) {
        const anx_group *group = anx_plan_group(s.plan, g);
        if (!sums(&net->graph->nodes[group->nodes[0]])) continue;
        anx_tensor x = draw_input(net, group->inputs[0]);
        spoil(net, &x, NAN);
        expect_group(&s, g, &x);
        guarded_free(&x);
    }
    subject_fini(&s);
}

static void test_special_groups(void) {
    if (conformance_info_math() == ANX_MATH_FAST) return;
    each_network(DATA_NORMAL, check_special_groups);
}

/* Whether window index k of a kernel's side ever lies inside the input. */
static bool side_is_read(int64_t in, int64_t out, int stride, int pad, int64_t k_dilated) {
    for (int64_t o = 0; o < out; o++) {
        const int64_t i = o * stride - pad + k_dilated;
        if (i >= 0 && i < in) return true;
    }
    return false;
}

/* Whether weight `at` of a convolution or linear node meets an input, and not padding alone. */
static bool tap_is_read(const anx_node *nd, int64_t at) {
    if (nd->layer->op == ANX_OP_LINEAR) return true;
    const anx_conv2d_params *p = &nd->conv;
    const int64_t kh = at / p->kernel_w % p->kernel_h, kw = at % p->kernel_w;
    return side_is_read(nd->in.dim[1], nd->out.dim[1], p->stride_h, p->pad_h, kh * p->dilation_h) &&
           side_is_read(nd->in.dim[2], nd->out.dim[2], p->stride_w, p->pad_w, kw * p->dilation_w);
}

/* A NaN among the weights spoils its output channel where the tap is inside the input, and no other channel. */
static void check_special_weight(network *net) {
    for (int node = 0; node < net->graph->n_nodes; node++) {
        const anx_node *nd = &net->graph->nodes[node];
        if (nd->weight == ANX_NO_PARAM) continue;
        float *weight = floats(&net->params[nd->weight]);
        const int64_t at = test_random_int(&net->random, 0, anx_tensor_elems(&net->params[nd->weight]) - 1);
        const int64_t channel = at / nd->terms;
        const float kept = weight[at];
        /* The truth without the NaN, for the channels that must not notice. */
        anx_tensor x = draw_input(net, nd->inputs[0]);
        truth t;
        truth_init(&t, net, node, &x, 0.0);

        weight[at] = NAN;
        subject s;
        subject_init(&s, net, conformance_shared_device(), ANX_PLAN_OBSERVE);
        write_value(&s, anx_value_output(nd->inputs[0]), &x);
        run_groups(&s, anx_plan_group_of_node(s.plan, node), 1);
        anx_tensor y = read_output(&s, node);
        const int64_t positions = nd->out.rank == 3 ? nd->out.dim[1] * nd->out.dim[2] : 1;
        int64_t nans = 0;
        for (int64_t i = 0; i < t.elems; i++) {
            if (i / positions % nd->out.dim[0] != channel) continue;
            /* Whether a NaN is multiplied with the zeros of the padding is the device's affair. */
            nans += isnan(floats(&y)[i]);
            t.y64[i] = (double)floats(&y)[i];
            t.gauge[i] = 0.0;
        }
        if (tap_is_read(nd, at) && nans == 0) conformance_fail(&s, node, "a NaN weight left its channel without one");
        expect_truth(&s, node, &t, &y);
        weight[at] = kept;
        guarded_free(&y);
        guarded_free(&x);
        truth_fini(&t);
        subject_fini(&s);
    }
}

static void test_special_weight(void) {
    if (conformance_info_math() == ANX_MATH_FAST) return;
    each_network(DATA_NORMAL, check_special_weight);
}

/* Whether this device keeps subnormal numbers: the CPU backends must in float32, see suites.h. */
static bool keeps_subnormals(void) {
    anx_device_info info;
    anx_device_describe(conformance_shared_device(), &info);
    return strcmp(info.backend, "cuda") != 0 && info.math == ANX_MATH_FLOAT32;
}

static void check_subnormals(network *net) {
    const double underflow = keeps_subnormals() ? 0x1p-150 : 0x1p-126;
    subject s;
    subject_init(&s, net, conformance_shared_device(), ANX_PLAN_OBSERVE);
    for (int node = 0; node < net->graph->n_nodes; node++) {
        const anx_node *nd = &net->graph->nodes[node];
        if (!sums(nd)) continue;
        float *bias = nd->bias == ANX_NO_PARAM ? NULL : floats(&net->params[nd->bias]);
        anx_tensor kept = ANX_TENSOR_INIT;
        if (bias != NULL) {
            kept = guarded_copy(&net->params[nd->bias]);
            anx_tensor zeros = guarded_copy(&kept);
            memset(zeros.data, 0, anx_tensor_bytes(&zeros));
            write_value(&s, (anx_value){ANX_VALUE_PARAM, nd->bias}, &zeros);
            synchronise(&s); /* until then the device may not have read it */
            memset(bias, 0, anx_tensor_bytes(&kept));
            guarded_free(&zeros);
        }
        anx_tensor x = draw_input(net, nd->inputs[0]);
        for (int64_t i = 0; i < anx_tensor_elems(&x); i++) floats(&x)[i] *= 0x1p-130f;
        expect_node(&s, node, &x, underflow);
        guarded_free(&x);
        if (bias != NULL) {
            memcpy(bias, kept.data, anx_tensor_bytes(&kept));
            guarded_free(&kept);
        }
    }
    subject_fini(&s);
}

static void test_subnormals(void) {
    each_network(DATA_NORMAL, check_subnormals);
}

/* Sums beyond float32 must not come out as ordinary numbers. */
static void check_overflow(network *net) {
    subject s;
    subject_init(&s, net, conformance_shared_device(), ANX_PLAN_OBSERVE);
    for (int node = 0; node < net->graph->n_nodes; node++) {
        const anx_node *nd = &net->graph->nodes[node];
        if (nd->layer->op != ANX_OP_CONV2D && nd->layer->op != ANX_OP_LINEAR) continue;
        anx_tensor x = draw_input(net, nd->inputs[0]), weight = guarded_copy(&net->params[nd->weight]);
        for (int64_t i = 0; i < anx_tensor_elems(&x); i++) floats(&x)[i] *= 0x1p70f;
        for (int64_t i = 0; i < anx_tensor_elems(&weight); i++) floats(&weight)[i] *= 0x1p70f;
        const anx_tensor ordinary = net->params[nd->weight];
        net->params[nd->weight] = weight;
        write_value(&s, (anx_value){ANX_VALUE_PARAM, nd->weight}, &weight);
        write_value(&s, anx_value_output(nd->inputs[0]), &x);
        run_groups(&s, anx_plan_group_of_node(s.plan, node), 1);
        anx_tensor y = read_output(&s, node);
        truth t;
        truth_init(&t, net, node, &x, 0.0);
        for (int64_t i = 0; i < t.elems; i++)
            if (fabs(t.y64[i]) >= 0x1p129 && isfinite(floats(&y)[i])) {
                conformance_fail(&s, node, "element %lld: %.3g came out as %.9g", (long long)i, t.y64[i],
                                 (double)floats(&y)[i]);
                break;
            }
        truth_fini(&t);
        guarded_free(&y);
        net->params[nd->weight] = ordinary;
        guarded_free(&weight);
        guarded_free(&x);
    }
    subject_fini(&s);
}

static void test_overflow(void) {
    each_network(DATA_NORMAL, check_overflow);
}

const anx_test arithmetic_tests[] = {
    {"small_integers_come_out_exactly_in_every_mode", test_integers},
    {"each_node_is_within_float32_rounding_of_the_truth", test_nodes},
    {"each_fused_group_is_within_float32_rounding_of_the_truth", test_groups},
    {"nan_infinity_signed_zero_and_subnormals_pass_unchanged_where_nothing_is_summed", test_special_elementwise},
    {"a_nan_or_infinity_reaches_exactly_the_sums_that_read_it", test_special_sums},
    {"a_nan_comes_out_of_what_is_fused_with_the_sum_that_reads_it", test_special_groups},
    {"a_nan_weight_spoils_its_own_channel_alone", test_special_weight},
    {"sums_of_subnormals_are_gradual", test_subnormals},
    {"sums_beyond_float32_are_not_finite", test_overflow},
    {NULL, NULL},
};
