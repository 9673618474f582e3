/*
 * Somebody else's activations: a safetensors file with this project's point names. Each layer that is there is judged
 * from the dump's own input to it, so that one faulty layer does not spoil the next ones' verdicts. Where points
 * between two of the dump's are missing they are worked out: in double for the truth, in PyTorch's order for PyTorch.
 */
#include "parity/against.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "loaders/checkpoint/safetensors.h"
#include "parity/diagnose.h"
#include "parity/judge_run.h"
#include "parity/padding.h"
#include "src/backend/reference/ops.h"

/* What is known at one node while going through the dump. Arrays are (batch, out), owned. */
typedef struct node_state {
    bool in_dump;
    bool known;   /* float32 values that later nodes can be judged from: the dump's, or following exactly from it */
    float *y32;   /* those values, or PyTorch's order carried on from the last known ones */
    double *y64;  /* the same in double */
    float *gauge; /* of the one rounding node since the last known values */
    float *limit;
    double *skipped; /* y64 and gauge with the padding left out; NULL: the same */
    float *skipped_gauge;
    int n_rounding; /* rounding nodes since the last known values, this one included */
    int rounding;   /* the last of these */
} node_state;

typedef struct dump_run {
    anx_judge_run *run;
    const char *name; /* of the dump, for rows */
    const anx_safetensors *file;
    const anx_graph *graph;
    int64_t batch;
    const float *input; /* the network's input; NULL if not known */
    node_state *nodes;
} dump_run;

/* ---- tensors of the dump ---- */

static const anx_tensor *find_point(const anx_safetensors *file, const anx_graph *graph, int node) {
    const anx_tensor *t = anx_state_dict_find(&file->tensors, graph->nodes[node].layer->name);
    return t == NULL && node == graph->logits ? anx_state_dict_find(&file->tensors, "logits") : t;
}

static anx_status add_row(anx_judge_run *run, anx_judged *j, anx_error *err) {
    const anx_status status = anx_verdicts_add(run->list, j, err);
    anx_judged_fini(j);
    return status;
}

/* What decides how many rows and columns a layer gives; NULL where they are not its to choose. */
static const char *what_sets_size(anx_op op) {
    switch (op) {
    case ANX_OP_CONV2D: return "another padding, stride, dilation or kernel size";
    case ANX_OP_MAX_POOL2D: return "another padding, stride or window, or ceil_mode";
    case ANX_OP_ADAPTIVE_AVG_POOL2D: return "pooled to another size";
    default: return NULL;
    }
}

static anx_status add_shape_cause(const anx_tensor *t, int rank, const int64_t *want, anx_judged *j, anx_error *err) {
    if (t->rank == 4 && rank == 4 && t->shape[0] == want[0] && t->shape[1] == want[2] && t->shape[2] == want[3] &&
        t->shape[3] == want[1])
        return anx_judged_add_cause(j, "layout", 1, err, "dumped as (N, H, W, C): dump (N, C, H, W)");
    if (t->rank == rank && memcmp(t->shape + 1, want + 1, (size_t)(rank - 1) * sizeof *want) == 0)
        return anx_judged_add_cause(j, "batch", 1, err, "a batch of %lld, where the dump's first tensor has %lld",
                                    (long long)t->shape[0], (long long)want[0]);
    const char *size = what_sets_size(j->op);
    if (t->rank == rank && size != NULL && memcmp(t->shape, want, 2 * sizeof *want) == 0)
        return anx_judged_add_cause(j, "geometry", 1, err, "%s gives as many channels of other rows and columns", size);
    return anx_judged_add_cause(j, "shape", 1, err, "another layer's output, or another architecture's");
}

static anx_status add_shape_row(dump_run *d, int node, const anx_tensor *t, anx_error *err) {
    anx_judged j;
    anx_status status =
        anx_judged_init(&j, ANX_JUDGED_MODULE, ANX_PATH_AGAINST, d->graph->nodes[node].layer->name, d->name, NULL, err);
    if (status != ANX_OK) return status;
    int64_t shape[4];
    char want[64], have[64];
    const int rank = anx_graph_node_shape(d->graph, node, d->batch, shape);
    j.node = node;
    j.op = d->graph->nodes[node].layer->op;
    status = anx_judged_conclude(&j, ANX_VERDICT_FAIL, err, "%s %s in the dump where the layer gives %s",
                                 anx_dtype_name(t->dtype), anx_shape_format(t->rank, t->shape, have, sizeof have),
                                 anx_shape_format(rank, shape, want, sizeof want));
    if (status == ANX_OK) status = add_shape_cause(t, rank, shape, &j, err);
    if (status == ANX_OK) return add_row(d->run, &j, err);
    anx_judged_fini(&j);
    return status;
}

/* The shape (N, ...), or without N where the batch is one. */
static bool shape_fits(const anx_tensor *t, int rank, const int64_t *shape) {
    if (t->rank == rank) return memcmp(t->shape, shape, (size_t)rank * sizeof *shape) == 0;
    return t->rank == rank - 1 && shape[0] == 1 && memcmp(t->shape, shape + 1, (size_t)t->rank * sizeof *shape) == 0;
}

/* Contiguous float32 elements of a floating tensor, owned by *out. */
static anx_status to_float32(const anx_tensor *t, const char *name, anx_tensor *out, anx_error *err) {
    if (!anx_dtype_is_float(t->dtype)) {
        anx_error_set(err, ANX_ERR_UNSUPPORTED, "holds %s values; activations must be floating point",
                      anx_dtype_name(t->dtype));
        anx_error_in_entry(err, name);
        return ANX_ERR_UNSUPPORTED;
    }
    return anx_tensor_convert(t, ANX_F32, out, err);
}

/* ---- one layer ---- */

static const float *input_values(const dump_run *d, int node) {
    const int from = d->graph->nodes[node].inputs[0];
    return from == ANX_NODE_INPUT ? d->input : d->nodes[from].y32;
}

static const anx_tensor *param(const dump_run *d, int index) {
    return index == ANX_NO_PARAM ? NULL : &d->run->sized->params[index];
}

/* The node in double and in PyTorch's order, from what is known of its input. */
static anx_status work_out(dump_run *d, int node, anx_error *err) {
    const anx_node *g = &d->graph->nodes[node];
    const int from = g->inputs[0];
    node_state *s = &d->nodes[node];
    anx_status status = anx_judge_alloc(d->graph, node, d->batch, sizeof *s->y32, &s->y32, err);
    if (status == ANX_OK) status = anx_judge_alloc(d->graph, node, d->batch, sizeof *s->y64, &s->y64, err);
    if (status != ANX_OK) return status;

    anx_tensor x = anx_judge_view(d->graph, from, d->batch, input_values(d, node));
    anx_plan *exact = d->run->plans.exact;
    if ((status = anx_plan_write(exact, anx_value_output(from), &x, err)) != ANX_OK) return status;
    if ((status = anx_plan_run_groups(exact, anx_plan_group_of_node(exact, node), 1, err)) != ANX_OK) return status;
    anx_tensor y = anx_judge_view(d->graph, node, d->batch, s->y32);
    if ((status = anx_plan_read(exact, anx_value_output(node), &y, err)) != ANX_OK) return status;
    if ((status = anx_device_sync(d->run->exact, err)) != ANX_OK) return status;

    if (from != ANX_NODE_INPUT) x = anx_tensor_view(ANX_F64, x.rank, x.shape, d->nodes[from].y64);
    return anx_reference_node(d->graph, node, d->batch, &x, param(d, g->weight), param(d, g->bias), s->y64,
                              d->run->threads, err);
}

/* A truth and its gauge through a node that rounds nothing; *y64_out is allocated. */
static anx_status carry(const dump_run *d, int node, const double *y64, const float *gauge, double **y64_out,
                        float *gauge_out, anx_error *err) {
    const anx_status status = anx_judge_alloc(d->graph, node, d->batch, sizeof **y64_out, y64_out, err);
    if (status != ANX_OK || anx_carry_through(d->graph, node, d->batch, y64, gauge, *y64_out, gauge_out)) return status;
    return anx_error_set(err, ANX_ERR_INTERNAL, "no bound passes through '%s'", d->graph->nodes[node].layer->name);
}

/* The gauge of the one rounding node since the last known values, carried on; none where there are several. */
static anx_status work_out_gauge(dump_run *d, int node, anx_error *err) {
    const anx_node *g = &d->graph->nodes[node];
    const int from = g->inputs[0];
    const node_state *before = from == ANX_NODE_INPUT ? NULL : &d->nodes[from];
    const bool from_known = before == NULL || before->known;
    const bool rounds = anx_rule_for_node(d->graph, node).kind != ANX_BOUND_BITS;
    node_state *s = &d->nodes[node];
    s->n_rounding = (from_known ? 0 : before->n_rounding) + rounds;
    s->rounding = rounds ? node : from_known ? -1 : before->rounding;
    if (s->n_rounding != 1) return ANX_OK;
    anx_status status = anx_judge_alloc(d->graph, node, d->batch, sizeof *s->gauge, &s->gauge, err);
    if (status != ANX_OK) return status;
    const float *x = input_values(d, node);
    if (!rounds) {
        double *unused = NULL;
        status = carry(d, node, before->y64, before->gauge, &unused, s->gauge, err);
        free(unused);
        if (status != ANX_OK || before->skipped == NULL) return status;
        status = anx_judge_alloc(d->graph, node, d->batch, sizeof *s->skipped_gauge, &s->skipped_gauge, err);
        return status != ANX_OK
                   ? status
                   : carry(d, node, before->skipped, before->skipped_gauge, &s->skipped, s->skipped_gauge, err);
    }
    if (g->layer->op == ANX_OP_SOFTMAX) {
        status = anx_judge_alloc(d->graph, node, d->batch, sizeof *s->limit, &s->limit, err);
        if (status == ANX_OK) anx_softmax_bound(x, d->batch, g->out.dim[0], s->gauge, s->limit);
        return status;
    }
    const anx_tensor *weight = param(d, g->weight), *bias = param(d, g->bias);
    const float *w = weight != NULL ? weight->data : NULL, *b = bias != NULL ? bias->data : NULL;
    status = anx_reference_gauge(d->graph, node, d->batch, x, w, b, s->gauge, d->run->threads, err);
    if (status != ANX_OK || w == NULL) return status;
    return anx_padding_skip(d->graph, node, d->batch, x, w, b, s->y64, s->gauge, &s->skipped, &s->skipped_gauge, err);
}

/* Several rounding layers at once: no bound of one sum applies; held beside PyTorch's order over the same layers. */
static anx_status judge_chain(const dump_run *d, int node, const float *got, anx_judged *j, anx_error *err) {
    static const double fails = 32, warns = 16;
    const node_state *s = &d->nodes[node];
    const int64_t each = anx_graph_node_elems(d->graph, node);
    anx_comparison *c = &j->versus[0];
    j->n_versus = 1;
    *c = (anx_comparison){.basis = ANX_BASIS_TRUTH_COMPUTED,
                          .bound = ANX_BOUND_CHAIN,
                          .limit_r = NAN,
                          .limit_rms = fails,
                          .worst_r = NAN,
                          .part_rms = NAN,
                          .slope = NAN,
                          .elems = d->batch * each};
    for (int64_t n = 0; n < d->batch; n++) {
        double ours = 0, pytorch = 0, size = 0;
        for (int64_t i = n * each; i < (n + 1) * each; i++) {
            const double y = s->y64[i], e = got[i] - y, p = s->y32[i] - y;
            c->nonfinite += isfinite((double)got[i]) != isfinite(y);
            if (!isfinite(e) || !isfinite(p)) continue;
            ours += e * e;
            pytorch += p * p;
            size += y * y;
            if (fabs(e) <= c->worst_abs) continue;
            c->worst_abs = fabs(e);
            c->worst = (anx_element){.known = true, .got = got[i], .expected = y};
            int64_t flat = i, shape[4];
            c->worst.rank = anx_graph_node_shape(d->graph, node, d->batch, shape);
            for (int k = c->worst.rank - 1; k >= 0; k--) {
                c->worst.at[k] = flat % shape[k];
                flat /= shape[k];
            }
        }
        /* PyTorch's error may happen to vanish: no less than the rounding of the values themselves */
        const double ratio = sqrt(ours / fmax(pytorch, 0x1p-50 * size + 1e-300));
        if (ratio <= c->rms) continue;
        c->rms = ratio;
        c->rms_image = n;
    }
    c->worst_fraction = c->rms / fails;
    j->pytorch_rms = 1;
    const anx_verdict v = c->nonfinite > 0 || c->rms > fails ? ANX_VERDICT_FAIL
                          : c->rms > warns                   ? ANX_VERDICT_WARN
                                                             : ANX_VERDICT_PASS;
    return anx_judged_conclude(j, v, err,
                               "over %d layers at once the RMS error is %.3g times that of PyTorch's order (limit %g); "
                               "dump the points between for a sharper verdict",
                               s->n_rounding, c->rms, fails);
}

static anx_status judge_by_bound(const dump_run *d, int node, const float *got, anx_judged *j, anx_error *err) {
    const node_state *s = &d->nodes[node];
    const bool rounds = s->n_rounding == 1;
    const anx_rule rule = anx_rule_for_node(d->graph, rounds ? s->rounding : node);
    const anx_values values = {.extent = anx_graph_extent(d->graph, node),
                               .batch = d->batch,
                               .got = got,
                               .y32 = s->y32,
                               .y64 = rounds ? s->y64 : NULL,
                               .gauge = s->gauge,
                               .limit = s->limit,
                               .skipped = s->skipped,
                               .skipped_gauge = s->skipped_gauge};
    anx_measure(&rule, &values, ANX_BASIS_TRUTH_COMPUTED, ANX_BASIS_PYTORCH_REGENERATED, j);
    anx_status status = anx_rule_conclude(&rule, j, err);
    if (status != ANX_OK || j->verdict != ANX_VERDICT_FAIL) return status;
    int first = rounds ? s->rounding : node;
    const float *input = input_values(d, first);
    return anx_diagnose(&(anx_suspect){.graph = d->graph,
                                       .first = first,
                                       .node = node,
                                       .batch = d->batch,
                                       .got = got,
                                       .expected = s->y64,
                                       .gauge = s->gauge,
                                       .input = input,
                                       .params = d->run->sized->params},
                        j, err);
}

static anx_status judge_point(dump_run *d, int node, const anx_tensor *dumped, const float *got, anx_error *err) {
    anx_judged j;
    anx_status status =
        anx_judged_init(&j, ANX_JUDGED_MODULE, ANX_PATH_AGAINST, d->graph->nodes[node].layer->name, d->name, NULL, err);
    if (status != ANX_OK) return status;
    j.node = node;
    j.op = d->graph->nodes[node].layer->op;
    status = d->nodes[node].n_rounding > 1 ? judge_chain(d, node, got, &j, err) : judge_by_bound(d, node, got, &j, err);
    if (status == ANX_OK && j.verdict == ANX_VERDICT_FAIL && dumped->dtype != ANX_F32 && dumped->dtype != ANX_F64)
        status = anx_judged_add_cause(&j, "dump-dtype", 1, err,
                                      "the dump holds %s, which cannot hold float32 results: dump float32",
                                      anx_dtype_name(dumped->dtype));
    if (status == ANX_OK) return add_row(d->run, &j, err);
    anx_judged_fini(&j);
    return status;
}

/* From here on the layer's values are the dump's. */
static void take_over(dump_run *d, int node, const float *got) {
    node_state *s = &d->nodes[node];
    const int64_t elems = d->batch * anx_graph_node_elems(d->graph, node);
    memcpy(s->y32, got, (size_t)elems * sizeof *got);
    for (int64_t i = 0; i < elems; i++) s->y64[i] = got[i];
    s->in_dump = s->known = true;
}

static anx_status judge_node(dump_run *d, int node, anx_error *err) {
    const int from = d->graph->nodes[node].inputs[0];
    const anx_tensor *dumped = find_point(d->file, d->graph, node);
    const bool from_something = from == ANX_NODE_INPUT ? d->input != NULL : d->nodes[from].y32 != NULL;
    node_state *s = &d->nodes[node];
    anx_tensor got = ANX_TENSOR_INIT;
    anx_status status = ANX_OK;
    int64_t shape[4];
    const int rank = anx_graph_node_shape(d->graph, node, d->batch, shape);
    if (dumped != NULL && !shape_fits(dumped, rank, shape)) {
        if ((status = add_shape_row(d, node, dumped, err)) != ANX_OK) return status;
        dumped = NULL;
    }
    if (dumped != NULL) status = to_float32(dumped, d->graph->nodes[node].layer->name, &got, err);
    if (status != ANX_OK) return status;
    if (from_something) {
        if ((status = work_out(d, node, err)) != ANX_OK) goto out;
        if ((status = work_out_gauge(d, node, err)) != ANX_OK) goto out;
        s->known = s->n_rounding == 0;
        if (dumped != NULL && anx_judge_wants(d->run, d->graph, node))
            status = judge_point(d, node, dumped, got.data, err);
    } else if (dumped != NULL) { /* nothing to judge it from: later layers are judged from it */
        status = anx_judge_alloc(d->graph, node, d->batch, sizeof *s->y32, &s->y32, err);
        if (status == ANX_OK) status = anx_judge_alloc(d->graph, node, d->batch, sizeof *s->y64, &s->y64, err);
        anx_judged j;
        if (status == ANX_OK)
            status = anx_judged_init(&j, ANX_JUDGED_MODULE, ANX_PATH_AGAINST, d->graph->nodes[node].layer->name,
                                     d->name, NULL, err);
        if (status != ANX_OK) goto out;
        j.node = node;
        j.op = d->graph->nodes[node].layer->op;
        status = anx_judged_conclude(&j, ANX_VERDICT_SKIP, err,
                                     "the dump has neither 'input' nor a point before this one to judge it from");
        if (status == ANX_OK)
            status = add_row(d->run, &j, err);
        else
            anx_judged_fini(&j);
    }
    if (status == ANX_OK && dumped != NULL) take_over(d, node, got.data);
out:
    anx_tensor_fini(&got);
    return status;
}

/* ---- the whole dump ---- */

/* What the dump's own input leads to in PyTorch's order: the accumulated error, and the top-5. */
static anx_status judge_whole(dump_run *d, anx_error *err) {
    anx_judge_run *run = d->run;
    anx_judge_case c = {.name = d->name};
    int64_t shape[4];
    const int rank = anx_graph_node_shape(d->graph, ANX_NODE_INPUT, d->batch, shape);
    const anx_tensor view = anx_tensor_view(ANX_F32, rank, shape, d->input);
    anx_status status = anx_tensor_convert(&view, ANX_F32, &c.input, err);
    if (status == ANX_OK) status = anx_judge_case_prepare(run, &c, err);
    for (int node = 0; status == ANX_OK && node < d->graph->n_nodes; node++) {
        const anx_rule rule = anx_rule_for_node(d->graph, node);
        if (!d->nodes[node].in_dump || rule.kind == ANX_BOUND_BITS || !anx_judge_wants(run, d->graph, node)) continue;
        if ((status = anx_judge_case_gauge(run, &c, node, err)) != ANX_OK) break;
        anx_judged j;
        status = anx_judged_init(&j, ANX_JUDGED_MODULE, ANX_PATH_ACCUMULATED, d->graph->nodes[node].layer->name,
                                 d->name, NULL, err);
        if (status != ANX_OK) break;
        j.node = node;
        j.op = d->graph->nodes[node].layer->op;
        anx_measure(&rule,
                    &(anx_values){.extent = anx_graph_extent(d->graph, node),
                                  .batch = d->batch,
                                  .got = d->nodes[node].y32,
                                  .y32 = c.nodes[node].y32,
                                  .gauge = c.nodes[node].gauge,
                                  .limit = c.nodes[node].limit},
                    ANX_BASIS_NONE, ANX_BASIS_PYTORCH_REGENERATED, &j);
        status = anx_judged_conclude(&j, ANX_VERDICT_INFO, err, "accumulated from the dump's input");
        if (status == ANX_OK)
            status = add_row(run, &j, err);
        else
            anx_judged_fini(&j);
    }
    if (status == ANX_OK && d->nodes[d->graph->logits].in_dump)
        status = anx_judge_result(run, &c, d->nodes[d->graph->logits].y32, err);
    anx_judge_case_fini(&c);
    return status;
}

/* Batch and input size that the dump's tensors have. */
static anx_status find_size(anx_judge_run *run, const anx_safetensors *file, int64_t *batch, int64_t *height,
                            int64_t *width, anx_error *err) {
    const anx_graph *graph = run->model->graph;
    const anx_tensor *input = anx_state_dict_find(&file->tensors, "input");
    *batch = 1;
    *height = graph->input.dim[1];
    *width = graph->input.dim[2];
    if (input != NULL) {
        const bool chw = input->rank == 3, nchw = input->rank == 4;
        if ((!chw && !nchw) || input->shape[nchw] != graph->input.dim[0] || input->shape[0] < 1) {
            char have[64];
            anx_error_set(err, ANX_ERR_MISMATCH, "is %s; expected (N, %lld, H, W)",
                          anx_shape_format(input->rank, input->shape, have, sizeof have),
                          (long long)graph->input.dim[0]);
            anx_error_in_entry(err, "input");
            return ANX_ERR_MISMATCH;
        }
        *batch = nchw ? input->shape[0] : 1;
        *height = input->shape[1 + nchw];
        *width = input->shape[2 + nchw];
        return ANX_OK;
    }
    int found = 0;
    for (int node = 0; node < graph->n_nodes; node++) {
        const anx_tensor *t = find_point(file, graph, node);
        if (t == NULL) continue;
        if (found++ == 0 && t->rank == anx_graph_extent(graph, node)->rank + 1 && t->shape[0] > 0) *batch = t->shape[0];
    }
    if (found > 0) return ANX_OK;
    return anx_error_set(err, ANX_ERR_NOT_FOUND,
                         "the dump has no tensor named as one of the points ('input', '%s', '%s', ..., 'logits')",
                         graph->nodes[0].layer->name, graph->nodes[1].layer->name);
}

static anx_status run_dump(dump_run *d, const float *image_input, anx_error *err) {
    anx_tensor input = ANX_TENSOR_INIT;
    const anx_tensor *dumped = anx_state_dict_find(&d->file->tensors, "input");
    anx_status status = ANX_OK;
    if (dumped != NULL) {
        if ((status = to_float32(dumped, "input", &input, err)) != ANX_OK) return status;
        d->input = input.data;
    } else if (image_input != NULL && d->batch == 1)
        d->input = image_input;
    d->nodes = calloc((size_t)d->graph->n_nodes, sizeof *d->nodes);
    if (d->nodes == NULL) status = anx_error_set(err, ANX_ERR_OUT_OF_MEMORY, "no memory for the dump's layers");
    for (int node = 0; status == ANX_OK && node < d->graph->n_nodes; node++) status = judge_node(d, node, err);
    if (status == ANX_OK && d->input != NULL) status = judge_whole(d, err);
    for (int node = 0; d->nodes != NULL && node < d->graph->n_nodes; node++) {
        free(d->nodes[node].y32);
        free(d->nodes[node].y64);
        free(d->nodes[node].gauge);
        free(d->nodes[node].skipped);
        free(d->nodes[node].skipped_gauge);
        free(d->nodes[node].limit);
    }
    free(d->nodes);
    anx_tensor_fini(&input);
    return status;
}

/* Is this a name that the judge, or anx-parity dump, knows? */
static bool is_known(const anx_graph *graph, const char *name) {
    static const char *const others[] = {"image", "resize", "crop", "scaled", "input", "logits"};
    for (size_t i = 0; i < sizeof others / sizeof *others; i++)
        if (strcmp(name, others[i]) == 0) return true;
    return anx_graph_find_node(graph, name) >= 0;
}

/* Names, separated by commas; as many as fit. */
static void list_names(const anx_state_dict *tensors, const anx_graph *without, char *buf, size_t size) {
    size_t used = 0;
    buf[0] = '\0';
    for (size_t i = 0; i < tensors->count; i++) {
        const char *name = tensors->items[i].name;
        if (without != NULL && is_known(without, name)) continue;
        const int n = snprintf(buf + used, size - used, "%s%s", used > 0 ? ", " : "", name);
        if (n < 0 || (size_t)n + 5 >= size - used) {
            snprintf(buf + used, size - used, "%s", used > 0 ? ", ..." : "...");
            return;
        }
        used += (size_t)n;
    }
}

/* Tensors that are no points: a misspelt name would otherwise just go unjudged. */
static anx_status add_unknown_row(dump_run *d, anx_error *err) {
    char names[512];
    list_names(&d->file->tensors, d->graph, names, sizeof names);
    if (names[0] == '\0') return ANX_OK;
    anx_judged j;
    anx_status status = anx_judged_init(&j, ANX_JUDGED_FIXTURE, ANX_PATH_RECORDINGS, "dump", d->name, NULL, err);
    if (status != ANX_OK) return status;
    status = anx_judged_conclude(&j, d->run->options->strict ? ANX_VERDICT_SKIP : ANX_VERDICT_INFO, err,
                                 "these tensors have no point's name and are not judged: %s", names);
    if (status == ANX_OK) return add_row(d->run, &j, err);
    anx_judged_fini(&j);
    return status;
}

/* A dump of which nothing was judged must not look like one that passed. */
static anx_status check_judged(const dump_run *d, size_t first_row, anx_error *err) {
    const anx_verdicts *list = d->run->list;
    for (size_t i = first_row; i < list->n_judged; i++) {
        const anx_verdict v = list->judged[i].verdict;
        if (v == ANX_VERDICT_PASS || v == ANX_VERDICT_WARN || v == ANX_VERDICT_FAIL) return ANX_OK;
    }
    char names[512];
    list_names(&d->file->tensors, NULL, names, sizeof names);
    if (d->run->options->points != NULL)
        return anx_error_set(err, ANX_ERR_NOT_FOUND,
                             "no point of the dump that matches '%s' can be judged; it holds: %s",
                             d->run->options->points, names);
    return anx_error_set(err, ANX_ERR_NOT_FOUND,
                         "nothing in the dump can be judged: a point needs 'input', or a point before it, beside it; "
                         "it holds: %s",
                         names);
}

anx_status anx_judge_against(anx_judge_run *run, anx_error *err) {
    const char *path = run->options->against, *slash = strrchr(path, '/');
    const size_t first_row = run->list->n_judged;
    anx_safetensors *file = NULL;
    anx_tensor image_input = ANX_TENSOR_INIT;
    anx_status status = anx_safetensors_open(path, &file, err);
    if (status != ANX_OK) return status;
    dump_run d = {.run = run, .name = slash != NULL ? slash + 1 : path, .file = file};
    int64_t height, width;
    if ((status = anx_against_stages(run, file, d.name, &image_input, err)) != ANX_OK) goto out;
    if ((status = find_size(run, file, &d.batch, &height, &width, err)) != ANX_OK) goto out;
    if ((status = anx_judge_resize(run, height, width, d.batch, err)) != ANX_OK) goto out;
    if ((status = anx_judge_plan(run, run->exact, ANX_PLAN_OBSERVE, &run->plans.exact, err)) != ANX_OK) goto out;
    d.graph = run->sized->graph;
    const bool fits = image_input.data != NULL && image_input.shape[1] == height && image_input.shape[2] == width;
    if ((status = add_unknown_row(&d, err)) != ANX_OK) goto out;
    if ((status = run_dump(&d, fits ? image_input.data : NULL, err)) != ANX_OK) goto out;
    status = check_judged(&d, first_row, err);
out:
    if (status != ANX_OK) anx_error_in_file(err, path);
    anx_tensor_fini(&image_input);
    anx_safetensors_close(file);
    return status;
}
