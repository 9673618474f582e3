/*
 * The way back through each group of the judged device by itself: inputs, masks, winners and the gradient of its output
 * are what exact had in the step, so that one operator's error is seen alone. Gradients that are sums are judged by the
 * rules of parity/metrics.h with their own number of terms and gauges (sum |x||dy|, sum |w||dy|, sum |dy|), and so are
 * those of max-pools whose windows overlap. The other operators round nothing.
 */
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "parity/judge_training.h"
#include "parity/operands.h"
#include "src/backend/reference/ops.h"

/* Right engines reach 16, */
static const double warns_r = 32;
/*
 * ... but in the gradient by the logits' layer's input: dy there has one term, p - 1 at the target, that outweighs all
 * others, and what is added after it is rounded in its size. An order that meets it first errs by up to 0.42 sqrt(h)
 * u G RMS (metrics.h), and in some of many elements by five times that.
 */
static anx_rule rule_of(int64_t terms, bool one_term_dominates, double *warns) {
    anx_rule rule = anx_rule_for_sum(terms);
    const double dominated = 0.42 * sqrt(rule.h);
    *warns = warns_r;
    if (!one_term_dominates) return rule;
    rule.warn_rms = fmax(rule.warn_rms, dominated);
    *warns = fmax(*warns, 5 * dominated);
    return rule;
}

static anx_tensor host_of(const anx_plan *plan, anx_value value, void *data) {
    int64_t shape[4];
    const int rank = anx_plan_value_shape(plan, value, shape);
    return anx_tensor_view(value.kind == ANX_VALUE_ARGMAX ? ANX_I64 : ANX_F32, rank, shape, data);
}

typedef struct injection {
    anx_judge_scenario *s;
    const anx_trained_values *before;
    const anx_graph *graph;
    anx_plan *plan, *standard;
    char input[128]; /* for rows: scenario and step */
} injection;

/* A value of one of the two plans on the host, as the device gives it; owned. */
static anx_status read_value(const injection *in, anx_plan *plan, anx_value value, anx_tensor *out, anx_error *err) {
    const anx_tensor like = host_of(plan, value, NULL);
    anx_status status = anx_tensor_alloc(like.dtype, like.rank, like.shape, out, err);
    if (status == ANX_OK) status = anx_plan_read(plan, value, out, err);
    return status == ANX_OK ? anx_device_sync(plan == in->plan ? in->s->options.device : in->s->run->exact, err)
                            : status;
}

/* From the standard's plan into the judged one. */
static anx_status inject(const injection *in, anx_value value, anx_error *err) {
    anx_tensor t = ANX_TENSOR_INIT;
    anx_status status = read_value(in, in->standard, value, &t, err);
    if (status == ANX_OK) status = anx_plan_write(in->plan, value, &t, err);
    if (status == ANX_OK) status = anx_device_sync(in->s->options.device, err);
    anx_tensor_fini(&t);
    return status;
}

static anx_status add_row(const injection *in, anx_judged *j, anx_error *err) {
    const anx_status status = anx_verdicts_add(in->s->run->list, j, err);
    anx_judged_fini(j);
    return status;
}

enum { POINT_SIZE = 160 };

/* "features.2 (winners)" into point, which is returned. */
static const char *name_point(const injection *in, int node, const char *of, char point[POINT_SIZE]) {
    snprintf(point, POINT_SIZE, "%s (%s)", in->graph->nodes[node].layer->name, of);
    return point;
}

static anx_status begin_row(const injection *in, int node, const char *point, anx_judged *j, anx_error *err) {
    const anx_status status =
        anx_judged_init(j, ANX_JUDGED_GRADIENT, ANX_PATH_TRAIN_OPERATORS, point, in->input, in->s->fixture, err);
    if (status != ANX_OK) return status;
    j->node = node;
    j->op = in->graph->nodes[node].layer->op;
    return ANX_OK;
}

/* ---- forward, for what the way back needs ----------------------------------------------------------------- */

/*
 * The device's winners against PyTorch's rule, the first of the largest. Where a whole window is 0 any winner will do:
 * a ReLU before it lets nothing through there.
 */
static anx_status judge_winners(const injection *in, int node, anx_error *err) {
    const anx_value winners = {ANX_VALUE_ARGMAX, node};
    anx_tensor got = ANX_TENSOR_INIT, right = ANX_TENSOR_INIT, y = ANX_TENSOR_INIT;
    anx_judged j = {0};
    char point[POINT_SIZE];
    int64_t wrong = 0, idle = 0;
    anx_status status = read_value(in, in->plan, winners, &got, err);
    if (status == ANX_OK) status = read_value(in, in->standard, winners, &right, err);
    if (status == ANX_OK) status = read_value(in, in->standard, anx_value_output(node), &y, err);
    if (status != ANX_OK) goto out;
    const int64_t n = anx_tensor_elems(&y), *a = got.data, *b = right.data;
    const float *value = y.data;
    for (int64_t i = 0; i < n; i++) {
        wrong += a[i] != b[i] && value[i] != 0;
        idle += a[i] != b[i] && value[i] == 0;
    }
    status = begin_row(in, node, name_point(in, node, "winners", point), &j, err);
    if (status != ANX_OK) goto out;
    j.n_versus = 1;
    j.versus[0] = (anx_comparison){.basis = ANX_BASIS_PYTORCH_REGENERATED,
                                   .bound = ANX_BOUND_BITS,
                                   .limit_r = NAN,
                                   .limit_rms = NAN,
                                   .elems = n,
                                   .different = wrong + idle,
                                   .over = wrong,
                                   .worst_r = NAN,
                                   .rms = NAN,
                                   .part_rms = NAN,
                                   .slope = NAN,
                                   .worst_fraction = wrong > 0 ? INFINITY : 0};
    if (wrong > 0)
        status = anx_judged_conclude(&j, ANX_VERDICT_FAIL, err,
                                     "%" PRId64 " of %" PRId64 " windows have another winner than PyTorch's, which is "
                                     "the first of the largest, given the same input",
                                     wrong, n);
    else
        status = anx_judged_conclude(&j, ANX_VERDICT_PASS, err, "PyTorch's winners%s",
                                     idle > 0 ? ", windows apart that are 0 all over" : "");
    if (status == ANX_OK) status = anx_verdicts_add(in->s->run->list, &j, err);
out:
    anx_judged_fini(&j);
    anx_tensor_fini(&got);
    anx_tensor_fini(&right);
    anx_tensor_fini(&y);
    return status;
}

static anx_status forward_group(const injection *in, int g, anx_error *err) {
    const anx_group *group = anx_plan_group(in->plan, g);
    anx_status status = ANX_OK;
    for (int i = 0; i < group->n_inputs && status == ANX_OK; i++)
        status = inject(in, anx_value_output(group->inputs[i]), err);
    for (int i = 0; i < group->n_nodes && status == ANX_OK; i++)
        if (in->graph->nodes[group->nodes[i]].layer->op == ANX_OP_DROPOUT)
            status = inject(in, (anx_value){ANX_VALUE_MASK, group->nodes[i]}, err);
    if (status == ANX_OK) status = anx_plan_run_groups(in->plan, g, 1, err);
    if (status == ANX_OK) status = anx_device_sync(in->s->options.device, err);
    for (int i = 0; i < group->n_nodes && status == ANX_OK; i++) {
        const int node = group->nodes[i];
        if (in->graph->nodes[node].layer->op != ANX_OP_MAX_POOL2D) continue;
        status = judge_winners(in, node, err);
        if (status == ANX_OK) status = inject(in, (anx_value){ANX_VALUE_ARGMAX, node}, err);
    }
    return status;
}

/* ---- gradients that are sums ------------------------------------------------------------------------------ */

/* What one operator's sums are, in double: each result with its gauge. */
typedef struct sums {
    double *truth, *gauge; /* the gauge is then made float32 in place of itself */
    float *operands;       /* s (operands.h) of sums of products, where the device shortens operands; else NULL */
    int64_t elems, terms;
    bool by_input; /* the gradient by the operator's input, not by a parameter */
} sums;

static anx_status alloc_sums(sums *s, int64_t elems, int64_t terms, anx_error *err) {
    *s = (sums){.truth = calloc((size_t)elems, sizeof(double)),
                .gauge = calloc((size_t)elems, sizeof(double)),
                .elems = elems,
                .terms = terms};
    if (s->truth != NULL && s->gauge != NULL) return ANX_OK;
    return anx_error_set(err, ANX_ERR_OUT_OF_MEMORY, "no memory for %lld gradients in double", (long long)elems);
}

static void release(sums *s) {
    free(s->truth);
    free(s->gauge);
    free(s->operands);
}

/* The gauges as float32, which they are rounded to once, in the same memory. */
static const float *narrowed(sums *s) {
    float *out = (float *)(void *)s->gauge;
    for (int64_t i = 0; i < s->elems; i++) {
        const float g = (float)s->gauge[i];
        memcpy(out + i, &g, sizeof g); /* element i of the floats lies within the doubles up to i, which are read */
    }
    return out;
}

/* As (outputs, the rest): the rows of metrics' per-image figures are a parameter's output channels. */
static int64_t rows_of(const anx_tensor *t, anx_extent *extent) {
    int64_t rows = 1;
    *extent = (anx_extent){.rank = 1, .dim = {anx_tensor_elems(t)}};
    if (t->rank < 2) return rows;
    rows = t->shape[0];
    extent->rank = t->rank - 1;
    for (int i = 0; i < extent->rank; i++) extent->dim[i] = t->shape[i + 1];
    return rows;
}

/* Plain sums (of dy alone) have no operands to shorten. */
static anx_rule rule_of_sums(const injection *in, int node, const sums *s, double *warns) {
    const anx_rule rule = rule_of(s->terms, node == in->graph->logits && s->by_input, warns);
    if (s->operands == NULL) return rule;
    *warns = INFINITY;
    return anx_rule_in(rule, in->s->run->info.math, in->graph->nodes[node].layer->op == ANX_OP_CONV2D);
}

static anx_status judge_sums(const injection *in, int node, const char *point, sums *s, const anx_tensor *got,
                             const float *gauge, anx_error *err) {
    double warns;
    const anx_rule rule = rule_of_sums(in, node, s, &warns);
    anx_extent extent;
    anx_judged j = {0};
    anx_status status = begin_row(in, node, point, &j, err);
    if (status != ANX_OK) return status;
    const int64_t rows = rows_of(got, &extent);
    anx_measure(&rule,
                &(anx_values){.extent = &extent,
                              .batch = rows,
                              .got = got->data,
                              .y64 = s->truth,
                              .gauge = gauge,
                              .operands = s->operands},
                ANX_BASIS_TRUTH_COMPUTED, ANX_BASIS_NONE, &j);
    status = anx_rule_conclude(&rule, &j, err);
    if (status == ANX_OK && j.verdict == ANX_VERDICT_PASS && j.versus[0].worst_r > warns)
        status = anx_judged_conclude(&j, ANX_VERDICT_WARN, err,
                                     "an error of %.4g u G: more than any float32 engine measured (limit %.4g)",
                                     j.versus[0].worst_r, warns);
    if (status == ANX_OK) status = add_row(in, &j, err);
    anx_judged_fini(&j);
    return status;
}

/* What shortened operands leave each element of a gradient; owned. */
static anx_status bound_sums(const injection *in, int node, const sums *s, const anx_tensor *got, const float *gauge,
                             float **out, anx_error *err) {
    double unused;
    const anx_rule rule = rule_of_sums(in, node, s, &unused);
    anx_extent extent;
    const int64_t rows = rows_of(got, &extent);
    float *bound = malloc((size_t)(s->elems > 0 ? s->elems : 1) * sizeof *bound);
    if (bound == NULL)
        return anx_error_set(err, ANX_ERR_OUT_OF_MEMORY, "no memory for %lld gradients' bounds", (long long)s->elems);
    anx_rule_bounds(&rule, &extent, rows, gauge, s->operands, bound);
    *out = bound;
    return ANX_OK;
}

static anx_status judge_param(const injection *in, int node, int param, sums *s, anx_error *err) {
    if (param == ANX_NO_PARAM || s->truth == NULL) return ANX_OK;
    anx_tensor got = ANX_TENSOR_INIT;
    const float *gauge = narrowed(s);
    anx_status status = read_value(in, in->plan, (anx_value){ANX_VALUE_PARAM_GRAD, param}, &got, err);
    if (status == ANX_OK) status = judge_sums(in, node, in->graph->params[param].name, s, &got, gauge, err);
    float *bound = NULL;
    if (status == ANX_OK && s->operands != NULL) status = bound_sums(in, node, s, &got, gauge, &bound, err);
    const anx_training_gradient gradient = {
        .param = param, .terms = s->terms, .got = got.data, .truth = s->truth, .gauge = gauge, .bound = bound};
    if (status == ANX_OK) status = anx_judge_training_forced(in->s, in->before, &gradient, err);
    free(bound);
    anx_tensor_fini(&got);
    return status;
}

/* The name a report gives to the gradient by a node's input. */
static anx_status judge_input_sums(const injection *in, int node, sums *s, anx_error *err) {
    if (s->truth == NULL) return ANX_OK;
    char point[POINT_SIZE];
    s->by_input = true;
    anx_tensor got = ANX_TENSOR_INIT;
    anx_status status =
        read_value(in, in->plan, (anx_value){ANX_VALUE_GRAD, in->graph->nodes[node].inputs[0]}, &got, err);
    if (status == ANX_OK)
        status = judge_sums(in, node, name_point(in, node, "input", point), s, &got, narrowed(s), err);
    anx_tensor_fini(&got);
    return status;
}

static int readers(const anx_graph *graph, int node) {
    int n = 0;
    for (int i = 0; i < graph->n_nodes; i++)
        for (int k = 0; k < graph->nodes[i].n_inputs; k++) n += graph->nodes[i].inputs[k] == node;
    return n;
}

/* Is the gradient by the node's input there, and this node's alone? */
static bool has_input_grad(const injection *in, int node) {
    const int source = in->graph->nodes[node].inputs[0];
    return source != ANX_NODE_INPUT && in->s->has_grad[source] && readers(in->graph, source) == 1;
}

static bool is_trained(const injection *in, int param) {
    return param != ANX_NO_PARAM && !anx_training_is_frozen(in->s->scenario, in->graph->params[param].name);
}

/* Each dy goes to its window's winner: a sum where windows overlap. */
static void scatter(const anx_node *nd, int64_t batch, const int64_t *winners, const float *dy, sums *dx) {
    const int64_t in = nd->in.dim[1] * nd->in.dim[2], out = nd->out.dim[1] * nd->out.dim[2];
    for (int64_t plane = 0; plane < batch * nd->in.dim[0]; plane++)
        for (int64_t i = plane * out; i < (plane + 1) * out; i++) {
            dx->truth[plane * in + winners[i]] += dy[i];
            dx->gauge[plane * in + winners[i]] += fabs((double)dy[i]);
        }
}

static int64_t windows_over(int kernel, int stride) {
    return (kernel - 1) / stride + 1;
}

static anx_status judge_max_pool(const injection *in, int node, anx_error *err) {
    if (!has_input_grad(in, node)) return ANX_OK;
    const anx_node *nd = &in->graph->nodes[node];
    const anx_pool2d_params *p = &nd->layer->u.pool;
    const int64_t n = anx_plan_batch(in->plan);
    const int64_t windows = windows_over(p->kernel_h, p->stride_h) * windows_over(p->kernel_w, p->stride_w);
    anx_tensor winners = ANX_TENSOR_INIT, dy = ANX_TENSOR_INIT;
    sums dx = {0};
    anx_status status = read_value(in, in->standard, (anx_value){ANX_VALUE_ARGMAX, node}, &winners, err);
    if (status == ANX_OK) status = read_value(in, in->standard, (anx_value){ANX_VALUE_GRAD, node}, &dy, err);
    if (status == ANX_OK) status = alloc_sums(&dx, n * anx_graph_node_elems(in->graph, nd->inputs[0]), windows, err);
    if (status == ANX_OK) {
        scatter(nd, n, winners.data, dy.data, &dx);
        status = judge_input_sums(in, node, &dx, err);
    }
    release(&dx);
    anx_tensor_fini(&winners);
    anx_tensor_fini(&dy);
    return status;
}

/* Summands of one gradient by an average's input: the windows that hold the element. */
static int64_t overlap(int64_t in, int64_t out) {
    return (out - 1) / in + 2;
}

/* An average whose windows are more than one element: each summand is divided twice. */
static anx_status judge_average(const injection *in, int node, anx_error *err) {
    if (!has_input_grad(in, node)) return ANX_OK;
    const anx_node *nd = &in->graph->nodes[node];
    const int64_t n = anx_plan_batch(in->plan);
    const int64_t windows = overlap(nd->in.dim[1], nd->out.dim[1]) * overlap(nd->in.dim[2], nd->out.dim[2]);
    anx_tensor x = ANX_TENSOR_INIT, dy = ANX_TENSOR_INIT;
    sums dx = {0};
    anx_status status = read_value(in, in->standard, anx_value_output(nd->inputs[0]), &x, err);
    if (status == ANX_OK) status = read_value(in, in->standard, (anx_value){ANX_VALUE_GRAD, node}, &dy, err);
    if (status == ANX_OK)
        status = alloc_sums(&dx, n * anx_graph_node_elems(in->graph, nd->inputs[0]), windows + 1, err);
    for (int gauge = 0; gauge <= 1 && status == ANX_OK; gauge++) {
        const anx_reference_gradients g = {
            .x = x.data, .dy = dy.data, .gauge = gauge != 0, .dx = gauge ? dx.gauge : dx.truth};
        status = anx_reference_node_back(in->graph, node, n, &g, in->s->run->threads, err);
    }
    if (status == ANX_OK) status = judge_input_sums(in, node, &dx, err);
    release(&dx);
    anx_tensor_fini(&x);
    anx_tensor_fini(&dy);
    return status;
}

/* s of both gradients that are sums of products, while their truths are still at hand. */
static anx_status find_operands(const injection *in, int node, const float *x, const float *dy, sums *dx, sums *dweight,
                                anx_error *err) {
    const anx_node *nd = &in->graph->nodes[node];
    sums *both[2] = {dx, dweight};
    if (in->s->run->info.math == ANX_MATH_FLOAT32) return ANX_OK;
    for (int i = 0; i < 2; i++) {
        if (both[i]->truth == NULL) continue;
        both[i]->operands = malloc((size_t)both[i]->elems * sizeof(float));
        if (both[i]->operands == NULL)
            return anx_error_set(err, ANX_ERR_OUT_OF_MEMORY, "no memory for the gradients of '%s'", nd->layer->name);
    }
    const anx_operand_gradients g = {.x = x,
                                     .dy = dy,
                                     .weight = in->before->params[nd->weight].data,
                                     .dx = dx->truth,
                                     .dweight = dweight->truth,
                                     .dx_s = dx->operands,
                                     .dweight_s = dweight->operands};
    return anx_operand_errors_back(in->graph, node, anx_plan_batch(in->plan), &g, in->s->run->threads, err);
}

static anx_status judge_summing(const injection *in, int node, anx_error *err) {
    const anx_node *nd = &in->graph->nodes[node];
    const int64_t n = anx_plan_batch(in->plan);
    const bool conv = nd->layer->op == ANX_OP_CONV2D;
    const int64_t places = conv ? nd->out.dim[1] * nd->out.dim[2] : 1;
    const int64_t taps = conv ? nd->conv.kernel_h * nd->conv.kernel_w : 1;
    const int64_t outputs = conv ? nd->out.dim[0] / nd->conv.groups : nd->out.dim[0];
    anx_tensor x = ANX_TENSOR_INIT, dy = ANX_TENSOR_INIT;
    sums dx = {0}, dweight = {0}, dbias = {0};
    anx_status status = read_value(in, in->standard, anx_value_output(nd->inputs[0]), &x, err);
    if (status == ANX_OK) status = read_value(in, in->standard, (anx_value){ANX_VALUE_GRAD, node}, &dy, err);
    if (status == ANX_OK && has_input_grad(in, node))
        status = alloc_sums(&dx, n * anx_graph_node_elems(in->graph, nd->inputs[0]), outputs * taps, err);
    if (status == ANX_OK && is_trained(in, nd->weight))
        status = alloc_sums(&dweight, anx_param_elems(&in->graph->params[nd->weight]), n * places, err);
    if (status == ANX_OK && is_trained(in, nd->bias))
        status = alloc_sums(&dbias, anx_param_elems(&in->graph->params[nd->bias]), n * places, err);
    for (int gauge = 0; gauge <= 1 && status == ANX_OK; gauge++) {
        const anx_reference_gradients g = {.x = x.data,
                                           .dy = dy.data,
                                           .weight = in->before->params[nd->weight].data,
                                           .gauge = gauge != 0,
                                           .dx = gauge ? dx.gauge : dx.truth,
                                           .dweight = gauge ? dweight.gauge : dweight.truth,
                                           .dbias = gauge ? dbias.gauge : dbias.truth};
        status = anx_reference_node_back(in->graph, node, n, &g, in->s->run->threads, err);
    }
    if (status == ANX_OK) status = find_operands(in, node, x.data, dy.data, &dx, &dweight, err);
    if (status == ANX_OK) status = judge_param(in, node, nd->weight, &dweight, err);
    if (status == ANX_OK) status = judge_param(in, node, nd->bias, &dbias, err);
    if (status == ANX_OK) status = judge_input_sums(in, node, &dx, err);
    release(&dx);
    release(&dweight);
    release(&dbias);
    anx_tensor_fini(&x);
    anx_tensor_fini(&dy);
    return status;
}

/* ---- gradients that round nothing ------------------------------------------------------------------------- */

static anx_status judge_passing(const injection *in, int node, anx_error *err) {
    if (!has_input_grad(in, node)) return ANX_OK;
    const anx_node *nd = &in->graph->nodes[node];
    const anx_value value = {ANX_VALUE_GRAD, nd->inputs[0]};
    const anx_rule rule = anx_rule_for_equality(false);
    anx_tensor got = ANX_TENSOR_INIT, right = ANX_TENSOR_INIT;
    anx_judged j = {0};
    char point[POINT_SIZE];
    anx_status status = begin_row(in, node, name_point(in, node, "input", point), &j, err);
    if (status == ANX_OK) status = read_value(in, in->plan, value, &got, err);
    if (status == ANX_OK) status = read_value(in, in->standard, value, &right, err);
    if (status != ANX_OK) goto out;
    anx_measure(&rule,
                &(anx_values){.extent = anx_graph_extent(in->graph, nd->inputs[0]),
                              .batch = anx_plan_batch(in->plan),
                              .got = got.data,
                              .y32 = right.data},
                ANX_BASIS_NONE, ANX_BASIS_PYTORCH_REGENERATED, &j);
    status = anx_rule_conclude(&rule, &j, err);
    if (status == ANX_OK) status = anx_verdicts_add(in->s->run->list, &j, err);
out:
    anx_judged_fini(&j);
    anx_tensor_fini(&got);
    anx_tensor_fini(&right);
    return status;
}

/* ---- all of a plan ----------------------------------------------------------------------------------------- */

static anx_status backward_group(const injection *in, int g, anx_error *err) {
    const anx_group *group = anx_plan_group(in->plan, g);
    const int first = group->nodes[0], last = group->nodes[group->n_nodes - 1];
    const anx_op op = in->graph->nodes[first].layer->op;
    if (!in->s->has_grad[last]) return ANX_OK;
    anx_status status = inject(in, (anx_value){ANX_VALUE_GRAD, last}, err);
    if (status == ANX_OK) status = anx_plan_run_groups_backward(in->plan, g, 1, err);
    if (status == ANX_OK) status = anx_device_sync(in->s->options.device, err);
    if (status != ANX_OK) return status;
    /* a sum comes first in its group; what is fused behind it rounds nothing */
    if (op == ANX_OP_CONV2D || op == ANX_OP_LINEAR) return judge_summing(in, first, err);
    if (op == ANX_OP_MAX_POOL2D) return judge_max_pool(in, first, err);
    const bool rounds = anx_rule_for_node(in->graph, first).kind != ANX_BOUND_BITS;
    return rounds ? judge_average(in, first, err) : judge_passing(in, first, err);
}

anx_status anx_judge_training_operators(anx_judge_scenario *s, const anx_trained_values *before, anx_trainer *trainer,
                                        anx_error *err) {
    injection in = {.s = s,
                    .before = before,
                    .graph = s->options.graph,
                    .plan = anx_trainer_plan(trainer),
                    .standard = anx_trainer_plan(s->standard->trainer)};
    snprintf(in.input, sizeof in.input, "%s, step %lld", s->scenario->name, (long long)s->standard->step);
    const int n_groups = anx_plan_group_of_node(in.plan, in.graph->logits) + 1;
    anx_status status = ANX_OK;
    for (int g = 0; g < n_groups && status == ANX_OK; g++) status = forward_group(&in, g, err);
    for (int g = n_groups - 1; g >= 0 && status == ANX_OK; g--) status = backward_group(&in, g, err);
    return status;
}
