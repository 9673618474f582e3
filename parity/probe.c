/*
 * The exact integer probe: at every convolution's and linear layer's own shape, inputs and weights for which each
 * product and each partial sum is an integer below 2^24. float32 holds those exactly, so in any order of summation
 * there is one right answer; arithmetic that keeps fewer bits of an operand (TF32, half precision), or does not form
 * the products themselves (FFT, large Winograd tiles), gives others, whatever a network's real weights hide.
 *
 * Odd integers of 12 bits (2049 .. 4095, either sign) have no shorter representation: 11 bits of TF32 and half
 * precision must round every one. (Of a device that was allowed TF32 the long integers are those of 11 bits, 1025 ..
 * 2047, which TF32 holds: bfloat16, int8, transforms and large tiles still show. Of one that was allowed whatever is
 * fastest the same integers are judged by the bound of its sums.) Where one operand is such an integer the other one is
 * -1, 0 or 1, with at most 4,000 non-zero products per output: 4000 * 4095 + |b| < 2^24. The two roles are exchanged
 * from one input channel (feature) to the next, so that one run shows rounded inputs as well as rounded weights.
 */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "parity/judge_run.h"
#include "parity/operands.h"
#include "src/backend/reference/ops.h"

enum { MOST_PRODUCTS = 4000, MASK_PERIOD = 64 };

enum { LANES = 16 };

/* A well-mixed word for each index (the finaliser "lowbias32" of C. Wellons's hash prospector). */
static inline uint32_t mix(uint32_t x) {
    x ^= x >> 16;
    x *= 0x7feb352dU;
    x ^= x >> 15;
    x *= 0x846ca68bU;
    return x ^ (x >> 16);
}

/* Random words, LANES at a time, each lane a xorshift32 (Marsaglia 2003): shifts alone, so that loops over the lanes
   become vector instructions on every machine. */
typedef struct lanes {
    uint32_t x[LANES];
} lanes;

static lanes lanes_seed(uint32_t seed) {
    lanes l;
    for (uint32_t i = 0; i < LANES; i++) l.x[i] = mix(seed + 0x9e3779b9U * (i + 1)) | 1;
    return l;
}

static inline uint32_t lanes_next(lanes *l, int i) {
    uint32_t x = l->x[i];
    x ^= x << 13;
    x ^= x >> 17;
    x ^= x << 5;
    return l->x[i] = x;
}

/* v or -v by one random bit. */
static inline int32_t with_sign(int32_t v, uint32_t bit) {
    const int32_t s = -(int32_t)(bit & 1);
    return (v ^ s) - s;
}

/* +-(2049, 2051, ..., 4095), or with one bit less: +-(1025, ..., 2047) */
static inline int32_t long_integer(uint32_t r, int less) {
    return with_sign(((2049 + 2 * (int32_t)((r >> 8) & 1023)) >> less) | 1, r >> 18);
}

/* -1 or 1, or 0 in one case of four. */
static inline int32_t short_integer(uint32_t r) {
    return with_sign((int32_t)(((r >> 19) | (r >> 20)) & 1), r >> 21);
}

/* out[i] for i below n: the long integer where roles[i] is -1, the short one where it is 0; 0 where keep[i] is 0. */
static void fill(float *out, int64_t n, const int32_t *roles, const int32_t *keep, uint32_t seed, int less) {
    lanes l = lanes_seed(seed);
    int64_t i = 0;
    for (; i + LANES <= n; i += LANES)
        for (int k = 0; k < LANES; k++) {
            const uint32_t r = lanes_next(&l, k);
            const int32_t role = roles[i + k];
            out[i + k] = (float)(((long_integer(r, less) & role) | (short_integer(r) & ~role)) & keep[i + k]);
        }
    for (int k = 0; i < n; i++, k++) {
        const uint32_t r = lanes_next(&l, k);
        out[i] = (float)((roles[i] != 0 ? long_integer(r, less) : short_integer(r)) & keep[i]);
    }
}

/* How many of MASK_PERIOD neighbouring weights may be other than 0. */
static int mask_of(int64_t terms) {
    return terms <= MOST_PRODUCTS ? MASK_PERIOD : (int)(MASK_PERIOD * (int64_t)MOST_PRODUCTS / (terms + MASK_PERIOD));
}

/* Is the input of this channel (feature) the long integer? The weights on it are then the short ones. */
static inline int32_t input_role(int64_t channel) {
    return channel % 2 == 0 ? -1 : 0;
}

/* batch images of n->in: planes whose role follows from their channel. */
static anx_status fill_input(const anx_node *n, float *x, int64_t batch, uint32_t salt, int less, anx_error *err) {
    const int64_t channels = n->in.dim[0], plane = n->in.rank == 3 ? n->in.dim[1] * n->in.dim[2] : 1;
    const int64_t each = channels * plane;
    int32_t *roles = malloc((size_t)each * 2 * sizeof *roles), *keep = roles + each;
    if (roles == NULL) return anx_error_set(err, ANX_ERR_OUT_OF_MEMORY, "no memory to probe '%s'", n->layer->name);
    for (int64_t i = 0; i < each; i++) {
        roles[i] = input_role(i / plane);
        keep[i] = -1;
    }
    for (int64_t b = 0; b < batch; b++) fill(x + b * each, each, roles, keep, mix((uint32_t)b ^ salt), less);
    free(roles);
    return ANX_OK;
}

/* Weights (outputs, channels of one group, taps): the other role than the input of their channel. */
static anx_status fill_weights(const anx_node *n, const anx_param *p, float *w, int threads, uint32_t salt, int less,
                               anx_error *err) {
    const bool conv = n->layer->op == ANX_OP_CONV2D;
    const int64_t outputs = p->shape[0], channels = p->shape[1], taps = conv ? p->shape[2] * p->shape[3] : 1;
    const int64_t per_group = outputs / (conv ? n->conv.groups : 1), terms = channels * taps;
    const int mask = mask_of(n->terms);
    /* roles of a group whose first channel is even, of one whose first is odd, and what is kept */
    int32_t *roles = malloc((size_t)terms * 3 * sizeof *roles), *keep = roles + 2 * terms;
    if (roles == NULL) return anx_error_set(err, ANX_ERR_OUT_OF_MEMORY, "no memory to probe '%s'", n->layer->name);
    for (int64_t i = 0; i < terms; i++) {
        roles[i] = ~input_role(i / taps);
        roles[terms + i] = ~input_role(i / taps + 1);
        keep[i] = i % MASK_PERIOD < mask ? -1 : 0;
    }
#pragma omp parallel for num_threads(threads)
    for (int64_t o = 0; o < outputs; o++) {
        const int64_t first_channel = o / per_group * channels;
        fill(w + o * terms, terms, roles + first_channel % 2 * terms, keep, mix((uint32_t)o ^ salt), less);
    }
    free(roles);
    return ANX_OK;
}

/* What one probe of one layer needs. Owned. */
typedef struct probe {
    float *x, *w, *b, *got;
    double *right, *carried; /* of the rounding node; of the group's last node */
    float *gauge, *operands; /* of either; zeros where the integers have one right answer */
} probe;

static void probe_fini(probe *p) {
    free(p->x);
    free(p->w);
    free(p->b);
    free(p->got);
    free(p->right);
    free(p->carried);
    free(p->gauge);
    free(p->operands);
}

/* One node further: y and g, of its input, become those of its output. */
static anx_status carry_one(const anx_graph *graph, int node, int64_t batch, const double *y, float **g, double **y_out,
                            anx_error *err) {
    float *g_out = NULL;
    anx_status status = anx_judge_alloc(graph, node, batch, sizeof **y_out, y_out, err);
    if (status == ANX_OK) status = anx_judge_alloc(graph, node, batch, sizeof *g_out, &g_out, err);
    if (status == ANX_OK && !anx_carry_through(graph, node, batch, y, *g, *y_out, g_out))
        status = anx_error_set(err, ANX_ERR_UNSUPPORTED, "'%s' rounds", graph->nodes[node].layer->name);
    if (status == ANX_OK) {
        free(*g);
        *g = g_out;
        return ANX_OK;
    }
    free(g_out);
    free(*y_out);
    *y_out = NULL;
    return status;
}

/* Takes the right result of `node` through the rest of its group. */
static anx_status carry_rest(const anx_graph *graph, const anx_group *group, int node, int64_t batch, probe *p,
                             anx_error *err) {
    p->carried = p->right;
    p->right = NULL;
    for (int i = 0; i < group->n_nodes; i++) {
        const int next = group->nodes[i];
        if (next <= node) continue;
        double *y = NULL, *same = NULL;
        if (graph->nodes[next].layer->op == ANX_OP_RELU)
            anx_operands_through_relu(p->carried, batch * anx_graph_node_elems(graph, next), p->operands);
        anx_status status = carry_one(graph, next, batch, p->carried, &p->operands, &y, err);
        if (status == ANX_OK) status = carry_one(graph, next, batch, p->carried, &p->gauge, &same, err);
        free(same);
        if (status != ANX_OK) {
            free(y);
            return status;
        }
        free(p->carried);
        p->carried = y;
    }
    return ANX_OK;
}

/* Gauge and s of the probed sums, where tiles and transforms were allowed; zeros elsewhere. */
static anx_status find_gauges(const anx_judge_run *run, const anx_graph *graph, int node, int64_t batch, probe *p,
                              anx_error *err) {
    const size_t bytes = (size_t)(batch * anx_graph_node_elems(graph, node)) * sizeof(float);
    anx_status status = anx_judge_alloc(graph, node, batch, sizeof(float), &p->gauge, err);
    if (status == ANX_OK) status = anx_judge_alloc(graph, node, batch, sizeof(float), &p->operands, err);
    if (status != ANX_OK) return status;
    memset(p->gauge, 0, bytes);
    memset(p->operands, 0, bytes);
    if (anx_judge_rule(run, graph, node).kind != ANX_BOUND_SUM_FAST) return ANX_OK;
    status = anx_reference_gauge(graph, node, batch, p->x, p->w, p->b, p->gauge, run->threads, err);
    if (status != ANX_OK) return status;
    return anx_operand_errors(graph, node, batch, p->x, p->w, p->b, p->right, p->operands, run->threads, err);
}

static anx_status write_param(anx_plan *plan, const anx_graph *graph, int index, const float *data, anx_error *err) {
    const anx_param *p = &graph->params[index];
    const anx_tensor t = anx_tensor_view(ANX_F32, p->rank, p->shape, data);
    return anx_plan_write(plan, (anx_value){ANX_VALUE_PARAM, index}, &t, err);
}

static anx_status prepare(const anx_judge_run *run, const anx_graph *graph, int node, int64_t batch, probe *p,
                          anx_error *err) {
    const anx_node *n = &graph->nodes[node];
    const anx_param *weight = &graph->params[n->weight];
    const uint32_t salt = mix((uint32_t)node + 1);
    const int less = run->info.math != ANX_MATH_FLOAT32;
    anx_status status = anx_judge_alloc(graph, n->inputs[0], batch, sizeof(float), &p->x, err);
    if (status != ANX_OK) return status;
    p->w = malloc((size_t)anx_param_elems(weight) * sizeof *p->w);
    if (n->bias != ANX_NO_PARAM) p->b = malloc((size_t)weight->shape[0] * sizeof *p->b);
    if (p->w == NULL || (n->bias != ANX_NO_PARAM && p->b == NULL))
        return anx_error_set(err, ANX_ERR_OUT_OF_MEMORY, "no memory to probe '%s'", n->layer->name);
    if ((status = fill_input(n, p->x, batch, salt, less, err)) != ANX_OK) return status;
    if ((status = fill_weights(n, weight, p->w, run->threads, mix(salt), less, err)) != ANX_OK) return status;
    for (int64_t o = 0; p->b != NULL && o < weight->shape[0]; o++)
        p->b[o] = (float)long_integer(mix((uint32_t)o ^ ~salt), 0); /* added as it is */
    return ANX_OK;
}

static anx_status add_row(anx_judge_run *run, const anx_graph *graph, int node, int last, int64_t batch, const probe *p,
                          anx_error *err) {
    anx_judged j;
    anx_status status =
        anx_judged_init(&j, ANX_JUDGED_PROBE, ANX_PATH_PROBE, graph->nodes[node].layer->name, "", NULL, err);
    if (status != ANX_OK) return status;
    j.node = node;
    j.op = graph->nodes[node].layer->op;
    const anx_rule rule = anx_judge_rule(run, graph, node);
    if (rule.kind == ANX_BOUND_SUM_FAST) {
        anx_measure(&rule,
                    &(anx_values){.extent = anx_graph_extent(graph, last),
                                  .batch = batch,
                                  .got = p->got,
                                  .y64 = p->carried,
                                  .gauge = p->gauge,
                                  .operands = p->operands},
                    ANX_BASIS_ARITHMETIC, ANX_BASIS_NONE, &j);
        status = anx_rule_conclude(&rule, &j, err);
        if (status == ANX_OK) status = anx_verdicts_add(run->list, &j, err);
        anx_judged_fini(&j);
        return status;
    }
    const anx_rule equal = anx_rule_for_equality(false);
    const bool tf32 = run->info.math != ANX_MATH_FLOAT32;
    anx_measure(
        &equal,
        &(anx_values){.extent = anx_graph_extent(graph, last), .batch = batch, .got = p->got, .y64 = p->carried},
        ANX_BASIS_ARITHMETIC, ANX_BASIS_NONE, &j);
    anx_comparison *c = &j.versus[0];
    c->bound = ANX_BOUND_INTEGER;
    if (c->over == 0)
        status =
            anx_judged_conclude(&j, ANX_VERDICT_PASS, err, "all %lld integers right: products and sums are float32%s",
                                (long long)c->elems, tf32 ? " of operands of 11 bits at least" : "");
    else {
        char where[96];
        anx_element_format(&c->worst, where, sizeof where);
        status = anx_judged_conclude(&j, ANX_VERDICT_FAIL, err,
                                     "%lld of %lld integers wrong, first at %s: %.9g instead of %.9g",
                                     (long long)c->over, (long long)c->elems, where, c->worst.got, c->worst.expected);
        const double share = (double)c->over / (double)c->elems;
        if (status == ANX_OK && share > 0.3 && c->worst_abs < 1 << 20)
            status = anx_judged_add_cause(
                &j, "reduced-precision", 0.9, err,
                "%.0f %% of the outputs are off by at most %.0f: operands are rounded to fewer "
                "than %s, or the products are not formed directly (FFT, large Winograd tiles)",
                100 * share, c->worst_abs, tf32 ? "TF32's 11 bits (bfloat16)" : "12 bits (TF32, half precision)");
    }
    if (status == ANX_OK) status = anx_verdicts_add(run->list, &j, err);
    anx_judged_fini(&j);
    return status;
}

static anx_status probe_group(anx_judge_run *run, anx_plan *plan, int index, int node, anx_error *err) {
    const anx_graph *graph = anx_plan_graph(plan);
    const anx_group *group = anx_plan_group(plan, index);
    const anx_node *n = &graph->nodes[node];
    const int64_t batch = anx_plan_batch(plan);
    const int last = group->nodes[group->n_nodes - 1];
    probe p = {.x = NULL};
    anx_status status = prepare(run, graph, node, batch, &p, err);
    if (status != ANX_OK) goto out;
    const anx_tensor x = anx_judge_view(graph, n->inputs[0], batch, p.x);
    if ((status = write_param(plan, graph, n->weight, p.w, err)) != ANX_OK) goto out;
    if (p.b != NULL && (status = write_param(plan, graph, n->bias, p.b, err)) != ANX_OK) goto out;
    /* What the group does before the sum only moves elements, and not among each other: the group's input is x. */
    const anx_tensor border = anx_judge_view(graph, group->inputs[0], batch, p.x);
    if ((status = anx_plan_write(plan, anx_value_output(group->inputs[0]), &border, err)) != ANX_OK) goto out;
    if ((status = anx_plan_run_groups(plan, index, 1, err)) != ANX_OK) goto out;
    if ((status = anx_judge_alloc(graph, last, batch, sizeof(float), &p.got, err)) != ANX_OK) goto out;
    anx_tensor got = anx_judge_view(graph, last, batch, p.got);
    if ((status = anx_plan_read(plan, anx_value_output(last), &got, err)) != ANX_OK) goto out;
    if ((status = anx_device_sync(run->judged, err)) != ANX_OK) goto out;

    if ((status = anx_judge_alloc(graph, node, batch, sizeof(double), &p.right, err)) != ANX_OK) goto out;
    const anx_param *weight = &graph->params[n->weight];
    const anx_tensor w = anx_tensor_view(ANX_F32, weight->rank, weight->shape, p.w);
    const anx_tensor b = anx_tensor_view(ANX_F32, 1, weight->shape, p.b);
    status = anx_reference_node(graph, node, batch, &x, &w, p.b != NULL ? &b : NULL, p.right, run->threads, err);
    if (status != ANX_OK) goto out;
    if ((status = find_gauges(run, graph, node, batch, &p, err)) != ANX_OK) goto out;
    if ((status = carry_rest(graph, group, node, batch, &p, err)) != ANX_OK) goto out;
    status = add_row(run, graph, node, last, batch, &p, err);
out:
    probe_fini(&p);
    return status;
}

anx_status anx_judge_probe(anx_judge_run *run, anx_error *err) {
    const anx_extent *own = &run->model->graph->input; /* whatever size the last input had */
    anx_status status = anx_judge_resize(run, own->dim[1], own->dim[2], run->batch > 0 ? run->batch : 1, err);
    if (status == ANX_OK) status = anx_judge_plan(run, run->judged, ANX_PLAN_INFER, &run->plans.infer, err);
    for (int g = 0; status == ANX_OK && g < anx_plan_group_count(run->plans.infer); g++) {
        const anx_group *group = anx_plan_group(run->plans.infer, g);
        const anx_graph *graph = run->sized->graph;
        int node = -1, sums = 0;
        bool moves = true; /* nothing but flatten and dropout before the sum */
        for (int i = 0; i < group->n_nodes; i++) {
            const anx_rule rule = anx_rule_for_node(graph, group->nodes[i]);
            if (rule.kind == ANX_BOUND_BITS) {
                const anx_op op = graph->nodes[group->nodes[i]].layer->op;
                if (sums == 0) moves = moves && (op == ANX_OP_FLATTEN || op == ANX_OP_DROPOUT);
                continue;
            }
            sums++;
            if (rule.kind == ANX_BOUND_SUM) node = group->nodes[i];
        }
        if (node >= 0 && sums == 1 && moves && anx_judge_wants(run, graph, node))
            status = probe_group(run, run->plans.infer, g, node, err);
    }
    anx_judge_drop_plans(run); /* their parameters are the probe's now */
    return status;
}
