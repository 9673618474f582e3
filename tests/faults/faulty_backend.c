#include "tests/faults/faulty_backend.h"

#include <stdlib.h>
#include <string.h>

/* What device_open finds: the table of functions carries no data of its own. */
static const faulty_options *current;
static const anx_backend *inner;

typedef struct plan {
    const faulty_options *options;
    const anx_graph *graph;
    int64_t batch;
    anx_plan_mode mode;
    void *real;
    anx_tensor *params; /* views of the caller's, or owning what was written */
} plan;

/* ---- devices: the wrapped backend's --------------------------------------------------------------------- */

static int device_count(anx_error *err) {
    return inner->device_count(err);
}

static anx_status device_open(int ordinal, const anx_device_options *options, void **out, anx_error *err) {
    return inner->device_open(ordinal, options, out, err);
}

static void device_close(void *device) {
    inner->device_close(device);
}

static void device_info(const void *device, anx_device_info *out) {
    inner->device_info(device, out);
    out->backend = "faulty";
    /* Not even an order that no fault was put into is PyTorch's. */
    out->pytorch_bits = false;
    out->math = current->math;
}

static anx_status device_sync(void *device, anx_error *err) {
    return inner->device_sync(device, err);
}

/* ---- plans ---------------------------------------------------------------------------------------------- */

static void plan_destroy(void *impl) {
    plan *p = impl;
    if (p == NULL) return;
    if (p->real != NULL) inner->plan_destroy(p->real);
    for (int i = 0; p->params != NULL && i < p->graph->n_params; i++) anx_tensor_fini(&p->params[i]);
    free(p->params);
    free(p);
}

static anx_status plan_create(void *device, const anx_plan_desc *desc, void **out, anx_error *err) {
    plan *p = calloc(1, sizeof *p);
    if (p == NULL) abort();
    *p = (plan){.options = current, .graph = desc->graph, .batch = desc->batch, .mode = desc->mode};
    p->params = calloc((size_t)desc->n_params + 1, sizeof *p->params);
    if (p->params == NULL) abort();
    for (int i = 0; i < desc->n_params; i++) {
        p->params[i] = desc->params[i];
        p->params[i].owned = NULL;
    }
    const anx_status status = inner->plan_create(device, desc, &p->real, err);
    if (status != ANX_OK)
        plan_destroy(p);
    else
        *out = p;
    return status;
}

static int plan_group_count(const void *impl) {
    return inner->plan_group_count(((const plan *)impl)->real);
}

static const anx_group *plan_group(const void *impl, int group) {
    return inner->plan_group(((const plan *)impl)->real, group);
}

static anx_status plan_write(void *impl, anx_value value, const anx_tensor *host, anx_error *err) {
    plan *p = impl;
    const anx_status status = inner->plan_write(p->real, value, host, err);
    if (status != ANX_OK || value.kind != ANX_VALUE_PARAM) return status;
    anx_tensor_fini(&p->params[value.index]);
    return anx_tensor_convert(host, ANX_F32, &p->params[value.index], err);
}

static anx_status plan_read(void *impl, anx_value value, anx_tensor *host, anx_error *err) {
    return inner->plan_read(((plan *)impl)->real, value, host, err);
}

/* ---- running -------------------------------------------------------------------------------------------- */

static bool takes_over_node(const plan *p, int node) {
    const char *wanted = p->options->node;
    return wanted == NULL || strcmp(p->graph->nodes[node].layer->name, wanted) == 0;
}

static bool takes_over_group(const plan *p, const anx_group *group, int running) {
    if (p->mode == ANX_PLAN_OBSERVE ? !p->options->observe : !p->options->infer) return false;
    if (p->options->whole_only && running < 2) return false;
    for (int i = 0; i < group->n_nodes; i++)
        if (takes_over_node(p, group->nodes[i])) return true;
    return false;
}

static anx_tensor alloc_value(const plan *p, int node) {
    int64_t shape[4];
    const int rank = anx_graph_node_shape(p->graph, node, p->batch, shape);
    anx_tensor t;
    if (anx_tensor_alloc(ANX_F32, rank, shape, &t, NULL) != ANX_OK) abort();
    return t;
}

static const float *param(const plan *p, int index) {
    return index == ANX_NO_PARAM ? NULL : p->params[index].data;
}

/* The whole group by plain loops, on its input as it is on the device; the result takes the place of the device's. */
static anx_status run_plainly(plan *p, const anx_group *group, anx_error *err) {
    anx_tensor x = alloc_value(p, group->inputs[0]);
    anx_status status = inner->plan_read(p->real, anx_value_output(group->inputs[0]), &x, err);
    for (int i = 0; status == ANX_OK && i < group->n_nodes; i++) {
        const int node = group->nodes[i];
        const anx_node *nd = &p->graph->nodes[node];
        anx_tensor y = alloc_value(p, node);
        plain_node(p->graph, node, p->batch, &p->options->sum, takes_over_node(p, node) ? p->options->fault : NULL,
                   x.data, param(p, nd->weight), param(p, nd->bias), y.data);
        anx_tensor_fini(&x);
        x = y;
    }
    if (status == ANX_OK)
        status = inner->plan_write(p->real, anx_value_output(group->nodes[group->n_nodes - 1]), &x, err);
    anx_tensor_fini(&x);
    return status;
}

static anx_status plan_run(void *impl, int first, int count, anx_error *err) {
    plan *p = impl;
    anx_status status = ANX_OK;
    for (int g = first; status == ANX_OK && g < first + count; g++) {
        const anx_group *group = plan_group(p, g);
        status = takes_over_group(p, group, count) ? run_plainly(p, group, err) : inner->plan_run(p->real, g, 1, err);
    }
    return status;
}

static const anx_backend faulty_backend = {
    .abi_version = ANX_BACKEND_ABI_VERSION,
    .name = "faulty",
    .summary = "a real backend with something changed, for tests",
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
};

anx_status faulty_device_open(const faulty_options *options, int threads, anx_device **out, anx_error *err) {
    const anx_backend *listed = anx_backend_find(options->inner);
    if (listed == NULL) return anx_error_set(err, ANX_ERR_NOT_FOUND, "there is no backend '%s'", options->inner);
    inner = anx_backend_load(listed, err);
    if (inner == NULL) return err->status;
    current = options;
    const anx_device_options device = {.threads = threads};
    return anx_device_open_backend(&faulty_backend, 0, &device, out, err);
}
