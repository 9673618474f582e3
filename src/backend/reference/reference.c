/*
 * The backend named "reference": one group per node in every mode. Values are kept in double and never overwritten by
 * another node, so all of them can be read after any run. Parameters are the
 * caller's float32 tensors, used where they lie; one that is written anew gets a copy of its own.
 */
#include <stdlib.h>
#include <string.h>

#include "src/backend/backends.h"
#include "src/backend/reference/kernels.h"
#include "src/backend/reference/training.h"
#include "src/base/checked.h"
#include "src/base/threads.h"

typedef struct device {
    int threads;
} device;

typedef struct plan {
    const anx_graph *graph;
    int64_t batch;
    int threads;
    anx_group *groups;                /* n_nodes; group i is node i */
    int *node_of_group;               /* n_nodes: what the groups' lists of nodes point into */
    double *values;                   /* the network's input, then every node's output */
    int64_t *value_first;             /* n_nodes + 1: where each begins in `values`; [0] is the input's */
    anx_tensor *params;               /* n_params: views of the caller's, or owning what was written */
    anx_reference_training *training; /* of a plan of mode TRAIN; else NULL */
} plan;

/* ---- devices -------------------------------------------------------------------------------------------- */

static int device_count(anx_error *err) {
    (void)err;
    return 1;
}

static anx_status device_open(int ordinal, const anx_device_options *options, void **out, anx_error *err) {
    (void)ordinal;
    device *d = malloc(sizeof *d);
    if (d == NULL) return anx_error_set(err, ANX_ERR_OUT_OF_MEMORY, "out of memory");
    d->threads = options->threads > 0 ? options->threads : anx_threads_available();
    *out = d;
    return ANX_OK;
}

static void device_close(void *impl) {
    free(impl);
}

static void device_info(const void *impl, anx_device_info *out) {
    const device *d = impl;
    *out = (anx_device_info){.backend = "reference",
                             .device = "reference",
                             .library = "",
                             .isa = "",
                             .arithmetic = "float64",
                             .threads = d->threads,
                             .math = ANX_MATH_FLOAT32,
                             .deterministic = true,
                             .pytorch_bits = false};
}

/* Everything has run when the call that asked for it returns. */
static anx_status device_sync(void *impl, anx_error *err) {
    (void)impl, (void)err;
    return ANX_OK;
}

/* ---- plans ---------------------------------------------------------------------------------------------- */

static void plan_destroy(void *impl) {
    plan *p = impl;
    if (p == NULL) return;
    for (int i = 0; p->params != NULL && i < p->graph->n_params; i++) anx_tensor_fini(&p->params[i]);
    anx_reference_training_destroy(p->training);
    free(p->params);
    free(p->value_first);
    free(p->values);
    free(p->node_of_group);
    free(p->groups);
    free(p);
}

/* Lays the values out one behind the other; false where their size overflows. */
static bool lay_out_values(plan *p, size_t *bytes) {
    int64_t total = 0;
    for (int node = ANX_NODE_INPUT; node < p->graph->n_nodes; node++) {
        int64_t elems;
        p->value_first[node + 1] = total;
        if (!anx_checked_mul_i64(p->batch, anx_graph_node_elems(p->graph, node), &elems) ||
            !anx_checked_add_i64(total, elems, &total))
            return false;
    }
    return anx_checked_mul_size((size_t)total, sizeof *p->values, bytes);
}

static void make_groups(plan *p) {
    for (int node = 0; node < p->graph->n_nodes; node++) {
        const anx_node *nd = &p->graph->nodes[node];
        anx_group *group = &p->groups[node];
        p->node_of_group[node] = node;
        *group = (anx_group){.nodes = &p->node_of_group[node], .n_nodes = 1, .n_inputs = nd->n_inputs};
        memcpy(group->inputs, nd->inputs, sizeof group->inputs);
    }
}

static anx_status plan_create(void *impl, const anx_plan_desc *desc, void **out, anx_error *err) {
    const device *d = impl;
    const anx_graph *graph = desc->graph;
    plan *p = calloc(1, sizeof *p);
    if (p == NULL) return anx_error_set(err, ANX_ERR_OUT_OF_MEMORY, "out of memory");
    *p = (plan){.graph = graph, .batch = desc->batch, .threads = d->threads};

    anx_status status = ANX_OK;
    size_t bytes = 0;
    p->groups = calloc((size_t)graph->n_nodes, sizeof *p->groups);
    p->node_of_group = calloc((size_t)graph->n_nodes, sizeof *p->node_of_group);
    p->value_first = calloc((size_t)graph->n_nodes + 1, sizeof *p->value_first);
    p->params = calloc((size_t)graph->n_params + 1, sizeof *p->params);
    if (p->groups == NULL || p->node_of_group == NULL || p->value_first == NULL || p->params == NULL) {
        status = anx_error_set(err, ANX_ERR_OUT_OF_MEMORY, "out of memory");
        goto out;
    }
    for (int i = 0; i < graph->n_params; i++)
        p->params[i] = anx_tensor_view(ANX_F32, desc->params[i].rank, desc->params[i].shape, desc->params[i].data);
    make_groups(p);
    if (lay_out_values(p, &bytes)) p->values = calloc(1, bytes);
    if (p->values == NULL) {
        status = anx_error_set(err, ANX_ERR_OUT_OF_MEMORY, "no memory for the values of a batch of %lld in double",
                               (long long)desc->batch);
        goto out;
    }
    if (desc->mode == ANX_PLAN_TRAIN)
        status = anx_reference_training_create(graph, desc->batch, desc->trained, &p->training, err);
    if (status != ANX_OK) goto out;
    *out = p;
    p = NULL;
out:
    plan_destroy(p);
    return status;
}

static int plan_group_count(const void *impl) {
    return ((const plan *)impl)->graph->n_nodes;
}

static const anx_group *plan_group(const void *impl, int group) {
    return &((const plan *)impl)->groups[group];
}

/* ---- values --------------------------------------------------------------------------------------------- */

static double *value_at(const plan *p, int node) {
    return p->values + p->value_first[node + 1];
}

/* The elements of a value that is kept in double; NULL for another. */
static double *doubles_of(const plan *p, anx_value value) {
    if (value.kind == ANX_VALUE_OUTPUT) return value_at(p, value.index);
    return p->training == NULL ? NULL : anx_reference_training_value(p->training, value);
}

static anx_status not_kept(anx_value value, anx_error *err) {
    return anx_error_set(err, ANX_ERR_UNSUPPORTED, "the reference keeps no value of kind %d with index %d",
                         (int)value.kind, value.index);
}

static anx_status write_param(plan *p, int param, const anx_tensor *host, anx_error *err) {
    anx_tensor copy = ANX_TENSOR_INIT;
    anx_status status = anx_tensor_convert(host, ANX_F32, &copy, err);
    if (status != ANX_OK) return status;
    anx_tensor_fini(&p->params[param]);
    p->params[param] = copy;
    return ANX_OK;
}

static void read_param(const plan *p, int param, anx_tensor *host) {
    const float *from = p->params[param].data;
    const int64_t elems = anx_tensor_elems(host);
    if (host->dtype == ANX_F32)
        memcpy(host->data, from, (size_t)elems * sizeof *from);
    else
        for (int64_t i = 0; i < elems; i++) ((double *)host->data)[i] = (double)from[i];
}

static anx_status plan_write(void *impl, anx_value value, const anx_tensor *host, anx_error *err) {
    plan *p = impl;
    const int64_t elems = anx_tensor_elems(host);
    if (value.kind == ANX_VALUE_PARAM) return write_param(p, value.index, host, err);
    if (value.kind == ANX_VALUE_ARGMAX && p->training != NULL) {
        memcpy(p->training->argmax[value.index], host->data, anx_tensor_bytes(host));
        return ANX_OK;
    }
    double *to = doubles_of(p, value);
    if (to == NULL) return not_kept(value, err);
    if (host->dtype == ANX_F64)
        memcpy(to, host->data, (size_t)elems * sizeof *to);
    else
        for (int64_t i = 0; i < elems; i++) to[i] = (double)((const float *)host->data)[i];
    return ANX_OK;
}

static anx_status plan_read(void *impl, anx_value value, anx_tensor *host, anx_error *err) {
    plan *p = impl;
    const int64_t elems = anx_tensor_elems(host);
    if (value.kind == ANX_VALUE_PARAM) {
        read_param(p, value.index, host);
        return ANX_OK;
    }
    if (value.kind == ANX_VALUE_ARGMAX && p->training != NULL) {
        memcpy(host->data, p->training->argmax[value.index], anx_tensor_bytes(host));
        return ANX_OK;
    }
    const double *from = doubles_of(p, value);
    if (from == NULL) return not_kept(value, err);
    if (host->dtype == ANX_F64)
        memcpy(host->data, from, (size_t)elems * sizeof *from);
    else
        for (int64_t i = 0; i < elems; i++) ((float *)host->data)[i] = (float)from[i];
    return ANX_OK;
}

/* ---- running -------------------------------------------------------------------------------------------- */

static const float *param_data(const plan *p, int param) {
    return param == ANX_NO_PARAM ? NULL : p->params[param].data;
}

static anx_status run_node(plan *p, int node, anx_error *err) {
    const anx_node *nd = &p->graph->nodes[node];
    const anx_reference_job job = {.node = nd,
                                   .batch = p->batch,
                                   .x64 = value_at(p, nd->inputs[0]),
                                   .weight = param_data(p, nd->weight),
                                   .bias = param_data(p, nd->bias),
                                   .mask = p->training == NULL ? NULL : p->training->mask[node],
                                   .argmax = p->training == NULL ? NULL : p->training->argmax[node],
                                   .y = value_at(p, node),
                                   .threads = p->threads,
                                   .isa = anx_isa_best()};
    const anx_status status = anx_reference_run(&job, err);
    if (status != ANX_OK) anx_error_in_layer(err, nd->layer->name);
    return status;
}

static anx_status plan_run(void *impl, int first, int count, anx_error *err) {
    anx_status status = ANX_OK;
    for (int group = first; status == ANX_OK && group < first + count; group++) status = run_node(impl, group, err);
    return status;
}

static anx_status plan_run_backward(void *impl, int first, int count, anx_error *err) {
    const plan *p = impl;
    anx_status status = ANX_OK;
    for (int node = first + count - 1; status == ANX_OK && node >= first; node--) {
        const anx_node *nd = &p->graph->nodes[node];
        status = anx_reference_training_run_back(p->training, node, value_at(p, nd->inputs[0]), value_at(p, node),
                                                 param_data(p, nd->weight), p->threads, err);
    }
    return status;
}

const anx_backend anx_backend_reference = {
    .abi_version = ANX_BACKEND_ABI_VERSION,
    .name = "reference",
    .summary = "every operation in double, plain C: the truth the others are judged against",
    .device_count = device_count,
    .device_open = device_open,
    .device_close = device_close,
    .device_info = device_info,
    .device_sync = device_sync,
    .plan_create = plan_create,
    .plan_destroy = plan_destroy,
    .plan_group_count = plan_group_count,
    .plan_group = plan_group,
    .plan_write = plan_write,
    .plan_read = plan_read,
    .plan_run = plan_run,
    .plan_run_backward = plan_run_backward,
};
