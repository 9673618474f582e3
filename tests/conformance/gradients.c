/*
 * The gradients that a train plan computes: group by group on injected values, against the reference (and the
 * reference against central differences), exactly where all sums are of integers, and on ties, NaN and zeros.
 */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "parity/metrics.h"
#include "parity/operands.h"
#include "tests/conformance/harness.h"
#include "tests/conformance/suites.h"

/* ---- the truth, and the same over absolute values -------------------------------------------------------- */

static anx_device *reference;

static void close_reference(void) {
    anx_device_close(reference);
}

static anx_device *reference_device(void) {
    if (reference != NULL) return reference;
    const anx_device_options options = {.threads = 2};
    anx_error err = ANX_ERROR_INIT;
    ANX_CHECK_OK(anx_device_open("reference", &options, &reference, &err), &err);
    CU_ASSERT_PTR_NOT_NULL_FATAL(reference);
    atexit(close_reference);
    return reference;
}

/* The device's plan, the reference's, and the reference's over absolute values: its gradients are the gauges. */
typedef struct trio {
    network absolute_net; /* shares all but the parameters */
    subject device, truth, absolute;
} trio;

static void trio_init(trio *t, const network *net) {
    t->absolute_net = *net;
    t->absolute_net.params = calloc((size_t)net->graph->n_params + 1, sizeof *net->params);
    if (t->absolute_net.params == NULL) abort();
    for (int i = 0; i < net->graph->n_params; i++) {
        anx_tensor *w = &t->absolute_net.params[i];
        *w = guarded_copy(&net->params[i]);
        for (int64_t k = 0; k < anx_tensor_elems(w); k++) floats(w)[k] = fabsf(floats(w)[k]);
    }
    subject_init_trained(&t->device, net, conformance_shared_device(), NULL);
    subject_init_trained(&t->truth, net, reference_device(), NULL);
    subject_init_trained(&t->absolute, &t->absolute_net, reference_device(), NULL);
}

static void trio_fini(trio *t) {
    subject_fini(&t->device);
    subject_fini(&t->truth);
    subject_fini(&t->absolute);
    for (int i = 0; i < t->absolute_net.graph->n_params; i++) guarded_free(&t->absolute_net.params[i]);
    free(t->absolute_net.params);
}

/* Writes a tensor, float32 or float64, with its signs dropped. */
static void write_absolute(const subject *s, anx_value value, const anx_tensor *t) {
    anx_tensor a = guarded_copy(t);
    for (int64_t i = 0; i < anx_tensor_elems(&a); i++)
        if (a.dtype == ANX_F64)
            doubles(&a)[i] = fabs(doubles(&a)[i]);
        else
            floats(&a)[i] = fabsf(floats(&a)[i]);
    write_value(s, value, &a);
    guarded_free(&a);
}

/* A value of the device's own goes into the reference's two plans, the output without its sign into the second. */
static void hand_over(const trio *t, anx_value value, anx_dtype dtype) {
    anx_tensor own = read_value(&t->device, value, dtype);
    write_value(&t->truth, value, &own);
    if (value.kind == ANX_VALUE_OUTPUT)
        write_absolute(&t->absolute, value, &own);
    else
        write_value(&t->absolute, value, &own);
    guarded_free(&own);
}

/*
 * After a group has run forward in all three plans: gives the reference the device's ReLU signs and winners, so that
 * an output which rounding put on the other side of zero is not counted against its gradients. Inside of a fused
 * group, where outputs cannot be read, the reference's own stand.
 */
static void align(const trio *t, const anx_group *group) {
    for (int i = 0; i < group->n_nodes; i++) {
        const int node = group->nodes[i];
        if (t->device.net->graph->nodes[node].layer->op == ANX_OP_MAX_POOL2D)
            hand_over(t, (anx_value){ANX_VALUE_ARGMAX, node}, ANX_I64);
        if (node == last_node(group)) {
            hand_over(t, anx_value_output(node), ANX_F64);
            continue;
        }
        anx_tensor y = read_value(&t->truth, anx_value_output(node), ANX_F64);
        write_absolute(&t->absolute, anx_value_output(node), &y);
        guarded_free(&y);
    }
}

/* ---- how many roundings --------------------------------------------------------------------------------- */

static int64_t most_windows(int kernel, int stride) {
    return (kernel + stride - 1) / stride;
}

/* The most windows of an adaptive average that one element of a side lies in. */
static int64_t most_averages(int64_t in, int64_t out) {
    int64_t most = 0;
    for (int64_t at = 0; at < in; at++) {
        int64_t n = 0;
        for (int64_t i = 0; i < out; i++) n += at >= i * in / out && at < ((i + 1) * in + out - 1) / out;
        most = n > most ? n : most;
    }
    return most;
}

/* Of one element of the gradient by the node's input, as h in judging outputs; 0 where nothing is rounded. */
static double input_roundings(const anx_node *node) {
    const anx_pool2d_params *pool = &node->layer->u.pool;
    int64_t n = 1;
    switch (node->layer->op) {
    case ANX_OP_CONV2D:
        n = node->out.dim[0] / node->conv.groups * node->conv.kernel_h * node->conv.kernel_w;
        return (double)n + 1.0;
    case ANX_OP_LINEAR: return (double)node->out.dim[0] + 1.0;
    case ANX_OP_MAX_POOL2D:
        n = most_windows(pool->kernel_h, pool->stride_h) * most_windows(pool->kernel_w, pool->stride_w);
        return (double)n - 1.0;
    case ANX_OP_ADAPTIVE_AVG_POOL2D:
        if (node->in.dim[1] == node->out.dim[1] && node->in.dim[2] == node->out.dim[2]) return 0.0;
        n = most_averages(node->in.dim[1], node->out.dim[1]) * most_averages(node->in.dim[2], node->out.dim[2]);
        return (double)n + 2.0;                                 /* two divisions, or a product with a rounded factor */
    case ANX_OP_SOFTMAX: return (double)node->out.dim[0] + 2.0; /* n products, their sum, a difference, a product */
    default: return 0.0;
    }
}

/* Of one element of the gradient by the node's weight or bias. */
static double param_roundings(const network *net, const anx_node *node) {
    const int64_t positions = node->out.rank == 3 ? node->out.dim[1] * node->out.dim[2] : 1;
    return (double)(net->c->batch * positions) + 1.0;
}

/* ---- judging -------------------------------------------------------------------------------------------- */

/* What shortened operands leave a gradient: s, the bounds, gauges as they count. All NULL in float32. */
typedef struct shortened {
    float *operands, *bound, *gauge;
    double spread;
} shortened;

static void shortened_fini(shortened *s) {
    free(s->operands);
    free(s->bound);
    free(s->gauge);
}

static anx_tensor as_floats(const anx_tensor *t) {
    anx_tensor f = guarded_alloc(ANX_F32, t->rank, t->shape);
    for (int64_t i = 0; i < anx_tensor_elems(t); i++) floats(&f)[i] = (float)doubles(t)[i];
    return f;
}

static anx_extent extent_of(const anx_tensor *t) {
    anx_extent e = {.rank = t->rank - 1};
    for (int i = 0; i < e.rank; i++) e.dim[i] = t->shape[i + 1];
    return e;
}

/* Of the gradient by the node's weight or input (not by a bias), summed by `h` roundings. */
static shortened shorten(const trio *t, anx_value value, int node, double h) {
    shortened s = {.spread = 0.0};
    const network *net = t->device.net;
    const anx_node *nd = &net->graph->nodes[node];
    const bool by_weight = value.kind == ANX_VALUE_PARAM_GRAD, by_bias = by_weight && value.index == nd->bias;
    const anx_op op = nd->layer->op;
    const anx_rule rule = anx_rule_in(anx_rule_for_sum((int64_t)h - 1), conformance_info_math(), op == ANX_OP_CONV2D);
    if (by_bias || (op != ANX_OP_CONV2D && op != ANX_OP_LINEAR) || !(rule.spread > 0.0)) return s;
    anx_tensor x = read_value(&t->truth, anx_value_output(nd->inputs[0]), ANX_F32);
    anx_tensor dy = read_value(&t->truth, grad_value(node), ANX_F32);
    anx_tensor right = read_value(&t->truth, value, ANX_F64), wide = read_value(&t->absolute, value, ANX_F64);
    anx_tensor gauge = as_floats(&wide);
    const int64_t n = anx_tensor_elems(&right), rows = right.shape[0];
    s = (shortened){.operands = malloc((size_t)n * sizeof(float)),
                    .bound = malloc((size_t)n * sizeof(float)),
                    .gauge = malloc((size_t)n * sizeof(float)),
                    .spread = rule.spread};
    if (s.operands == NULL || s.bound == NULL || s.gauge == NULL) abort();
    const anx_operand_gradients g = {.x = floats(&x),
                                     .dy = floats(&dy),
                                     .weight = floats(&net->params[nd->weight]),
                                     .dx = by_weight ? NULL : doubles(&right),
                                     .dx_s = s.operands,
                                     .dweight = by_weight ? doubles(&right) : NULL,
                                     .dweight_s = s.operands};
    anx_error err = ANX_ERROR_INIT;
    ANX_CHECK_OK(anx_operand_errors_back(net->graph, node, net->c->batch, &g, 1, &err), &err);
    const anx_extent extent = extent_of(&right);
    anx_rule_bounds(&rule, &extent, rows, floats(&gauge), s.operands, s.bound);
    const int64_t plane = extent.rank == 3 ? extent.dim[1] * extent.dim[2] : 1;
    for (int64_t i = 0; i < n; i++) s.gauge[i] = floats(&gauge)[i];
    for (int64_t i = 0; rule.kind == ANX_BOUND_SUM_FAST && i < n; i++)
        for (int64_t k = i / plane * plane; k < i / plane * plane + plane; k++)
            s.gauge[i] = fmaxf(s.gauge[i], floats(&gauge)[k]);
    guarded_free(&x);
    guarded_free(&dy);
    guarded_free(&right);
    guarded_free(&wide);
    guarded_free(&gauge);
    return s;
}

/* |got - truth| <= min(h, 4 sqrt h) u G for each element, RMS at most 4 u G; equal where h is 0 or the device exact.
   of: the node whose sums they are. */
static void judge(const trio *t, anx_value value, int node, int of, double h) {
    const bool own_judge = t->device.device == reference_device();
    anx_tensor got = read_value(&t->device, value, ANX_F64), right = read_value(&t->truth, value, ANX_F64);
    anx_tensor gauge = read_value(&t->absolute, value, ANX_F64);
    const double units = own_judge ? 0.0 : fmin(h, 4.0 * sqrt(h)), u = 0x1p-24;
    const char *what =
        value.kind == ANX_VALUE_GRAD ? "gradient by the output" : t->device.net->graph->params[value.index].name;
    shortened s = shorten(t, value, of, h);
    double squares = 0.0, allowed = 0.0;
    int64_t counted = 0;
    for (int64_t i = 0; i < anx_tensor_elems(&got); i++) {
        const double g = s.gauge != NULL ? (double)s.gauge[i] : doubles(&gauge)[i];
        const double bound = s.bound != NULL ? (double)s.bound[i] : units * u * g;
        const double error = fabs(doubles(&got)[i] - doubles(&right)[i]);
        if (!(error <= bound)) {
            conformance_fail(&t->device, node, "%s, element %lld: expected %.17g within %.3g, got %.9g", what,
                             (long long)i, doubles(&right)[i], bound, doubles(&got)[i]);
            break;
        }
        if (g > 0.0) {
            squares += error / (u * g) * (error / (u * g));
            if (s.operands != NULL) allowed += (double)s.operands[i] / g * ((double)s.operands[i] / g);
            counted++;
        }
    }
    const double rms = counted > 0 ? sqrt(squares / (double)counted) : 0.0;
    const double most = conformance_rms_limit(s.spread, allowed, counted);
    if (rms > most)
        conformance_fail(&t->device, node, "%s: root mean square error of %.3g u G, more than %.3g", what, rms, most);
    shortened_fini(&s);
    guarded_free(&got);
    guarded_free(&right);
    guarded_free(&gauge);
}

static void judge_group(const trio *t, const anx_group *group) {
    const network *net = t->device.net;
    double behind = 0.0; /* what the nodes after this one in the group have added */
    for (int i = group->n_nodes - 1; i >= 0; i--) {
        const anx_node *nd = &net->graph->nodes[group->nodes[i]];
        const int params[] = {nd->weight, nd->bias};
        for (int k = 0; k < 2; k++)
            if (params[k] != ANX_NO_PARAM)
                judge(t, param_grad_value(params[k]), group->nodes[i], group->nodes[i],
                      param_roundings(net, nd) + behind);
        behind += input_roundings(nd);
    }
    if (group->inputs[0] != ANX_NODE_INPUT)
        judge(t, grad_value(group->inputs[0]), group->inputs[0], group->nodes[0], behind);
}

/* What softmax's dx_i = (dy_i - sum_j dy_j y_j) y_i sums, over absolute values: the reference would subtract them. */
static void gauge_softmax(const trio *t, int node, const anx_tensor *dy) {
    const anx_node *nd = &t->device.net->graph->nodes[node];
    const int64_t features = nd->out.dim[0];
    anx_tensor gauge = read_value(&t->absolute, anx_value_output(node), ANX_F64);
    double *y = doubles(&gauge);
    for (int64_t first = 0; first < anx_tensor_elems(&gauge); first += features) {
        double sum = 0.0;
        for (int64_t i = 0; i < features; i++) sum += fabs((double)floats(dy)[first + i]) * y[first + i];
        for (int64_t i = 0; i < features; i++) y[first + i] *= fabs((double)floats(dy)[first + i]) + sum;
    }
    write_value(&t->absolute, grad_value(nd->inputs[0]), &gauge);
    guarded_free(&gauge);
}

/* ---- floats, each group on its own ---------------------------------------------------------------------- */

/* Injects x and dy into one group of all three plans and runs it both ways. */
static void run_group(const trio *t, int g, const anx_tensor *x, const anx_tensor *dy) {
    const anx_group *group = anx_plan_group(t->device.plan, g);
    const int first = group->nodes[0], count = group->n_nodes, last = last_node(group);
    const anx_value source = anx_value_output(group->inputs[0]);
    write_value(&t->device, source, x);
    write_value(&t->truth, source, x);
    write_absolute(&t->absolute, source, x);
    run_groups(&t->device, g, 1);
    run_groups(&t->truth, first, count);
    run_groups(&t->absolute, first, count);
    align(t, group);
    write_value(&t->device, grad_value(last), dy);
    write_value(&t->truth, grad_value(last), dy);
    write_absolute(&t->absolute, grad_value(last), dy);
    run_groups_backward(&t->device, g, 1);
    run_groups_backward(&t->truth, first, count);
    run_groups_backward(&t->absolute, first, count);
    if (t->device.net->graph->nodes[last].layer->op == ANX_OP_SOFTMAX) gauge_softmax(t, last, dy);
}

static anx_tensor draw_value(const trio *t, anx_value value, test_random *r) {
    anx_tensor x = guarded_value(t->device.plan, value, ANX_F32);
    fill_normal(&x, r);
    return x;
}

static int groups_to_logits(const subject *s) {
    return anx_plan_group_of_node(s->plan, s->net->graph->logits) + 1;
}

static void check_groups(network *net) {
    trio t;
    trio_init(&t, net);
    for (int g = anx_plan_group_count(t.device.plan) - 1; g >= 0; g--) {
        const anx_group *group = anx_plan_group(t.device.plan, g);
        anx_tensor x = draw_value(&t, anx_value_output(group->inputs[0]), &net->random);
        anx_tensor dy = draw_value(&t, grad_value(last_node(group)), &net->random);
        run_group(&t, g, &x, &dy);
        judge_group(&t, group);
        guarded_free(&x);
        guarded_free(&dy);
    }
    trio_fini(&t);
}

static void test_groups(void) {
    each_lifted(DATA_NORMAL, check_groups);
}

/* ---- forward --------------------------------------------------------------------------------------------- */

/* What a train plan's groups put out, with masks of ones, and dropout with a mask. */
static void check_forward(network *net) {
    subject s;
    subject_init(&s, net, conformance_shared_device(), ANX_PLAN_TRAIN);
    for (int g = 0; g < anx_plan_group_count(s.plan); g++) {
        const anx_group *group = anx_plan_group(s.plan, g);
        anx_tensor x = guarded_value(s.plan, anx_value_output(group->inputs[0]), ANX_F32);
        fill_normal(&x, &net->random);
        write_value(&s, anx_value_output(group->inputs[0]), &x);
        run_groups(&s, g, 1);
        anx_tensor y = read_output(&s, last_node(group));
        truth t;
        truth_of_group(&t, &s, group, &x);
        expect_truth(&s, last_node(group), &t, &y);
        truth_fini(&t);
        guarded_free(&y);
        const anx_tensor *mask = &net->masks[last_node(group)];
        if (mask->data != NULL && group->n_nodes == 1) {
            write_value(&s, (anx_value){ANX_VALUE_MASK, last_node(group)}, mask);
            run_groups(&s, g, 1);
            y = read_output(&s, last_node(group));
            for (int64_t i = 0; i < anx_tensor_elems(&x); i++) floats(&x)[i] *= floats(mask)[i];
            expect_same_bits(&s, last_node(group), &x, &y);
            guarded_free(&y);
        }
        guarded_free(&x);
    }
    subject_fini(&s);
}

static void test_forward(void) {
    each_lifted(DATA_NORMAL, check_forward);
}

/* ---- integers, the whole network ------------------------------------------------------------------------- */

static void expect_equal(const trio *t, anx_value value, int node, const anx_tensor *expected, const anx_tensor *got) {
    anx_tensor gauge = read_value(&t->absolute, value, ANX_F64);
    for (int64_t i = 0; i < anx_tensor_elems(expected); i++) {
        if (doubles(&gauge)[i] >= 0x1p22) { /* in units of 1/4 at the finest */
            conformance_fail(&t->device, node, "the case's own sums reach %.0f: too large to be exact",
                             doubles(&gauge)[i]);
            break;
        }
        if (doubles(expected)[i] == doubles(got)[i]) continue;
        conformance_fail(&t->device, node, "%s, element %lld: expected %.17g, got %.17g",
                         value.kind == ANX_VALUE_GRAD ? "gradient by the output"
                                                      : t->device.net->graph->params[value.index].name,
                         (long long)i, doubles(expected)[i], doubles(got)[i]);
        break;
    }
    guarded_free(&gauge);
}

/* Node `node` of the absolute network, cut where the truth is: behind a ReLU and by the choice of windows. */
static void run_absolute_node(const trio *t, int node) {
    const anx_node *nd = &t->truth.net->graph->nodes[node];
    const anx_value output = anx_value_output(node), argmax = {ANX_VALUE_ARGMAX, node};
    run_groups(&t->absolute, node, 1);
    if (nd->layer->op != ANX_OP_RELU && nd->layer->op != ANX_OP_MAX_POOL2D) return;
    anx_tensor a = read_value(&t->absolute, output, ANX_F64);
    if (nd->layer->op == ANX_OP_RELU) {
        anx_tensor y = read_value(&t->truth, output, ANX_F64);
        for (int64_t i = 0; i < anx_tensor_elems(&a); i++) doubles(&a)[i] *= doubles(&y)[i] > 0.0;
        guarded_free(&y);
    } else {
        anx_tensor winners = read_value(&t->truth, argmax, ANX_I64);
        anx_tensor x = read_value(&t->absolute, anx_value_output(nd->inputs[0]), ANX_F64);
        const int64_t in = nd->in.dim[1] * nd->in.dim[2], out = nd->out.dim[1] * nd->out.dim[2];
        for (int64_t i = 0; i < anx_tensor_elems(&a); i++)
            doubles(&a)[i] = doubles(&x)[i / out * in + ((const int64_t *)winners.data)[i]];
        write_value(&t->absolute, argmax, &winners);
        guarded_free(&x);
        guarded_free(&winners);
    }
    write_value(&t->absolute, output, &a);
    guarded_free(&a);
}

static void run_absolute(const trio *t, const anx_tensor *logits_grad) {
    const int logits = t->truth.net->graph->logits;
    write_absolute(&t->absolute, anx_value_output(ANX_NODE_INPUT), &t->truth.net->input);
    for (int node = 0; node <= logits; node++) run_absolute_node(t, node);
    write_absolute(&t->absolute, grad_value(logits), logits_grad);
    run_groups_backward(&t->absolute, 0, logits + 1);
}

/* Whether all that is multiplied, forward and back, is short enough for the device. */
static bool keeps_integers(const trio *t) {
    const anx_graph *graph = t->truth.net->graph;
    bool keeps = true;
    for (int node = 0; node <= graph->logits && keeps; node++) {
        anx_tensor x = read_value(&t->truth, anx_value_output(graph->nodes[node].inputs[0]), ANX_F64);
        anx_tensor dy = read_value(&t->truth, grad_value(node), ANX_F64);
        keeps =
            conformance_keeps_integers(&graph->nodes[node], &x) && conformance_keeps_integers(&graph->nodes[node], &dy);
        guarded_free(&x);
        guarded_free(&dy);
    }
    return keeps;
}

static void check_integers(network *net) {
    for (int node = 0; node <= net->graph->logits; node++)
        if (!node_is_exact(&net->graph->nodes[node])) return;
    trio t;
    trio_init(&t, net);
    anx_tensor dy = draw_logits_grad(net, DATA_INTEGERS);
    run_both_ways(&t.device, &dy);
    run_both_ways(&t.truth, &dy);
    run_absolute(&t, &dy);
    gradients got, expected;
    if (!keeps_integers(&t)) {
        guarded_free(&dy);
        trio_fini(&t);
        return;
    }
    read_gradients(&got, &t.device, NULL);
    read_gradients(&expected, &t.truth, NULL);
    for (int node = 0; node <= net->graph->logits; node++)
        if (got.of_node[node].data != NULL)
            expect_equal(&t, grad_value(node), node, &expected.of_node[node], &got.of_node[node]);
    for (int i = 0; i < net->graph->n_params; i++)
        if (got.of_param[i].data != NULL)
            expect_equal(&t, param_grad_value(i), net->graph->params[i].node, &expected.of_param[i], &got.of_param[i]);
    gradients_fini(&got);
    gradients_fini(&expected);
    guarded_free(&dy);
    trio_fini(&t);
}

static void test_integers(void) {
    each_lifted(DATA_INTEGERS, check_integers);
}

/* ---- central differences, for a device that computes in double ------------------------------------------- */

/* One group with x and dy injected; the loss is the sum of dy times the outputs. */
typedef struct slope {
    const trio *t;
    int g;
    const anx_tensor *dy;
    double loss_error; /* of roundings, in all */
} slope;

static double loss_of(const slope *s) {
    const int last = last_node(anx_plan_group(s->t->device.plan, s->g));
    run_groups(&s->t->device, s->g, 1);
    anx_tensor y = read_value(&s->t->device, anx_value_output(last), ANX_F64);
    double sum = 0.0;
    for (int64_t i = 0; i < anx_tensor_elems(&y); i++) sum += (double)floats(s->dy)[i] * doubles(&y)[i];
    guarded_free(&y);
    return sum;
}

/* Whether a ReLU's signs or a window's winners differ between now and `kept`, which is then replaced. */
static bool pattern_changes(const slope *s, anx_tensor *kept) {
    const int node = last_node(anx_plan_group(s->t->device.plan, s->g));
    const anx_op op = s->t->device.net->graph->nodes[node].layer->op;
    if (op != ANX_OP_MAX_POOL2D && op != ANX_OP_RELU) return false;
    anx_tensor now = op == ANX_OP_RELU ? read_value(&s->t->device, anx_value_output(node), ANX_F64)
                                       : read_value(&s->t->device, (anx_value){ANX_VALUE_ARGMAX, node}, ANX_I64);
    bool changed = false;
    for (int64_t i = 0; kept->data != NULL && i < anx_tensor_elems(&now); i++)
        changed = changed || (op == ANX_OP_RELU
                                  ? (doubles(&now)[i] > 0.0) != (doubles(kept)[i] > 0.0)
                                  : memcmp((int64_t *)now.data + i, (int64_t *)kept->data + i, sizeof(int64_t)) != 0);
    guarded_free(kept);
    *kept = now;
    return changed;
}

/* Some elements of a value, moved by 2^-8 either way: the network is affine in each while no pattern changes. */
static void expect_slopes(const slope *s, anx_value value, anx_value gradient, const anx_tensor *at, test_random *r) {
    anx_tensor g = read_value(&s->t->device, gradient, ANX_F64), gauge = read_value(&s->t->absolute, gradient, ANX_F64);
    for (int k = 0; k < 6; k++) {
        const int64_t i = test_random_int(r, 0, anx_tensor_elems(at) - 1);
        double ends[2], loss[2];
        bool changed = false;
        anx_tensor kept = ANX_TENSOR_INIT;
        for (int side = 0; side < 2; side++) {
            anx_tensor moved = guarded_copy(at);
            floats(&moved)[i] += side == 0 ? 0x1p-8f : -0x1p-8f;
            ends[side] = (double)floats(&moved)[i];
            write_value(&s->t->device, value, &moved);
            loss[side] = loss_of(s);
            changed = pattern_changes(s, &kept);
            guarded_free(&moved);
        }
        guarded_free(&kept);
        const double step = ends[0] - ends[1], bound = 2.0 * s->loss_error / step + 0x1p-40 * doubles(&gauge)[i];
        if (!changed && !(fabs((loss[0] - loss[1]) / step - doubles(&g)[i]) <= bound))
            conformance_fail(&s->t->device, last_node(anx_plan_group(s->t->device.plan, s->g)),
                             "kind %d, element %lld: differences give %.17g within %.3g, got %.17g", (int)gradient.kind,
                             (long long)i, (loss[0] - loss[1]) / step, bound, doubles(&g)[i]);
    }
    write_value(&s->t->device, value, at);
    guarded_free(&g);
    guarded_free(&gauge);
}

static void check_slopes(network *net) {
    trio t;
    trio_init(&t, net);
    for (int g = groups_to_logits(&t.device) - 1; g >= 0; g--) {
        const anx_group *group = anx_plan_group(t.device.plan, g);
        const int source = group->inputs[0], node = last_node(group);
        const anx_node *nd = &net->graph->nodes[node];
        anx_tensor x = draw_value(&t, anx_value_output(source), &net->random);
        anx_tensor dy = draw_value(&t, grad_value(node), &net->random);
        run_group(&t, g, &x, &dy);
        /* The sum over absolute values is at most that of the output's own absolute network. */
        run_groups(&t.absolute, node, 1);
        anx_tensor a = read_value(&t.absolute, anx_value_output(node), ANX_F64);
        slope s = {.t = &t, .g = g, .dy = &dy};
        for (int64_t i = 0; i < anx_tensor_elems(&a); i++)
            s.loss_error += fabs((double)floats(&dy)[i]) * doubles(&a)[i];
        s.loss_error *= 0x1p-53 * (double)(nd->terms + 2 + anx_tensor_elems(&a));
        if (source != ANX_NODE_INPUT) expect_slopes(&s, anx_value_output(source), grad_value(source), &x, &net->random);
        if (nd->weight != ANX_NO_PARAM) {
            const int params[] = {nd->weight, nd->bias};
            for (int k = 0; k < 2; k++)
                expect_slopes(&s, (anx_value){ANX_VALUE_PARAM, params[k]}, param_grad_value(params[k]),
                              &net->params[params[k]], &net->random);
        }
        guarded_free(&a);
        guarded_free(&x);
        guarded_free(&dy);
    }
    trio_fini(&t);
}

static void test_slopes(void) {
    if (conformance_is_double()) each_lifted(DATA_NORMAL, check_slopes);
}

/* ---- ties, NaN, zeros ------------------------------------------------------------------------------------ */

/* PyTorch's winner: the window's first element unless something is larger than all before it, or NaN. */
static int64_t winner_of(const anx_node *nd, const float *plane, int64_t oh, int64_t ow) {
    const anx_pool2d_params *p = &nd->layer->u.pool;
    const int64_t h = nd->in.dim[1], w = nd->in.dim[2];
    int64_t winner = -1;
    float max = -INFINITY;
    for (int64_t y = oh * p->stride_h - p->pad_h; y < oh * p->stride_h - p->pad_h + p->kernel_h; y++)
        for (int64_t x = ow * p->stride_w - p->pad_w; x < ow * p->stride_w - p->pad_w + p->kernel_w; x++) {
            if (y < 0 || y >= h || x < 0 || x >= w) continue;
            const float v = plane[y * w + x];
            if (winner < 0) winner = y * w + x;
            if (v > max || isnan(v)) {
                max = v;
                winner = y * w + x;
            }
        }
    return winner;
}

/* Winners and, from integer gradients, what reaches the input: exact in any order of overlapping windows. */
static void expect_winners(const subject *s, int g, const anx_tensor *x, test_random *r) {
    const anx_group *group = anx_plan_group(s->plan, g);
    const int node = group->nodes[0], source = group->inputs[0];
    const anx_node *nd = &s->net->graph->nodes[node];
    const int64_t in = nd->in.dim[1] * nd->in.dim[2], ow = nd->out.dim[2], out = nd->out.dim[1] * ow;
    anx_tensor dy = guarded_value(s->plan, grad_value(node), ANX_F32), dx = guarded_copy(x);
    for (int64_t i = 0; i < anx_tensor_elems(&dy); i++) floats(&dy)[i] = (float)test_random_int(r, -9, 9);
    for (int64_t i = 0; i < anx_tensor_elems(&dx); i++) floats(&dx)[i] = 0.0f;
    write_value(s, anx_value_output(source), x);
    run_groups(s, g, 1);
    write_value(s, grad_value(node), &dy);
    run_groups_backward(s, g, 1);
    anx_tensor winners = read_value(s, (anx_value){ANX_VALUE_ARGMAX, node}, ANX_I64);
    for (int64_t i = 0; i < anx_tensor_elems(&dy); i++) {
        const int64_t plane = i / out, got = ((int64_t *)winners.data)[i];
        const int64_t expected = winner_of(nd, floats(x) + plane * in, i % out / ow, i % ow);
        floats(&dx)[plane * in + expected] += floats(&dy)[i];
        if (got == expected) continue;
        conformance_fail(s, node, "window %lld: winner %lld, PyTorch's is %lld", (long long)i, (long long)got,
                         (long long)expected);
        break;
    }
    anx_tensor back = read_value(s, grad_value(source), ANX_F32);
    for (int64_t i = 0; i < anx_tensor_elems(&dx); i++)
        if (floats(&back)[i] != floats(&dx)[i]) {
            conformance_fail(s, source, "gradient %lld of a max-pool's input: expected %g, got %g", (long long)i,
                             (double)floats(&dx)[i], (double)floats(&back)[i]);
            break;
        }
    guarded_free(&back);
    guarded_free(&winners);
    guarded_free(&dx);
    guarded_free(&dy);
}

static void check_winners(network *net) {
    static const float special[] = {NAN, -INFINITY, INFINITY, -0.0f, 0.0f};
    subject s;
    subject_init_trained(&s, net, conformance_shared_device(), NULL);
    for (int g = 0; g < groups_to_logits(&s); g++) {
        const anx_group *group = anx_plan_group(s.plan, g);
        if (group->n_nodes != 1 || net->graph->nodes[group->nodes[0]].layer->op != ANX_OP_MAX_POOL2D) continue;
        anx_tensor x = guarded_value(s.plan, anx_value_output(group->inputs[0]), ANX_F32);
        for (int64_t i = 0; i < anx_tensor_elems(&x); i++) floats(&x)[i] = (float)test_random_int(&net->random, -2, 2);
        expect_winners(&s, g, &x, &net->random); /* ties everywhere */
        for (int64_t i = 0; i < anx_tensor_elems(&x); i++)
            if (test_random_int(&net->random, 0, 3) == 0) floats(&x)[i] = special[test_random_int(&net->random, 0, 4)];
        expect_winners(&s, g, &x, &net->random);
        for (int64_t i = 0; i < anx_tensor_elems(&x); i++) floats(&x)[i] = -INFINITY;
        expect_winners(&s, g, &x, &net->random);
        guarded_free(&x);
    }
    subject_fini(&s);
}

static void test_winners(void) {
    each_lifted(DATA_NORMAL, check_winners);
}

/*
 * The case "relu, nine" behind a convolution by 1: the gradient by its bias, from a gradient of 1 at one position
 * alone, is what the ReLU lets through there; that of the weight takes no part, nor does a fused group's inside.
 */
static void test_relu(void) {
    static const float x[] = {-1.0f, -0.0f, 0.0f, 1e-30f, NAN, INFINITY, -INFINITY, 2.0f, -3.0f};
    static const double passes[] = {0.0, 0.0, 0.0, 1.0, 1.0, 1.0, 0.0, 1.0, 0.0};
    const conformance_case *nine = NULL;
    for (int i = 0; conformance_case_at(i) != NULL; i++)
        if (strcmp(conformance_case_at(i)->arch.name, "relu, nine") == 0) nine = conformance_case_at(i);
    CU_ASSERT_PTR_NOT_NULL_FATAL(nine);
    conformance_lifted lifted;
    conformance_lift(nine, &lifted);
    network net;
    network_init(&net, &lifted.c, DATA_NORMAL, 1);
    floats(&net.params[0])[0] = 1.0f;
    floats(&net.params[1])[0] = 0.0f;
    memcpy(net.input.data, x, sizeof x);
    subject s;
    subject_init_trained(&s, &net, conformance_shared_device(), NULL);
    anx_tensor dy = draw_logits_grad(&net, DATA_NORMAL);
    for (int k = 0; k < 9; k++) {
        for (int i = 0; i < 9; i++) floats(&dy)[i] = i == k ? 1.0f : 0.0f;
        run_both_ways(&s, &dy);
        anx_tensor db = read_value(&s, param_grad_value(1), ANX_F64);
        if (doubles(&db)[0] != passes[k])
            conformance_fail(&s, 1, "behind %g a gradient of 1 comes out as %g", (double)x[k], doubles(&db)[0]);
        guarded_free(&db);
    }
    guarded_free(&dy);
    subject_fini(&s);
    network_fini(&net);
}

const anx_test gradient_tests[] = {
    {"a_train_plans_outputs_are_within_float32_rounding_and_masked", test_forward},
    {"gradients_of_integers_come_out_exactly", test_integers},
    {"each_groups_gradients_are_within_float32_rounding_of_the_truth", test_groups},
    {"gradients_in_double_are_central_differences", test_slopes},
    {"a_max_pools_winners_are_pytorchs_on_ties_and_nan", test_winners},
    {"relu_passes_gradients_above_zero_and_at_nan", test_relu},
    {NULL, NULL},
};
