/*
 * The exact backend: float32 summed in the order in which PyTorch 2.15 sums on one thread of an AVX-512 machine at
 * batch >= 4, so that its values have PyTorch's bits on any machine, at any batch size and with any number of
 * threads. ops.h says for which shapes that is proven.
 */
#include <stdlib.h>
#include <string.h>

#include "src/backend/backends.h"
#include "src/backend/exact/plan.h"
#include "src/base/threads.h"

static int device_count(anx_error *err) {
    (void)err;
    return 1;
}

static anx_status device_open(int ordinal, const anx_device_options *options, void **out, anx_error *err) {
    (void)ordinal;
    const anx_exact_kernels *kernels = NULL;
    anx_status status = anx_exact_kernels_select(&kernels, err);
    if (status != ANX_OK) return status;
    anx_exact_device *device = calloc(1, sizeof *device);
    if (device == NULL) return anx_error_set(err, ANX_ERR_OUT_OF_MEMORY, "out of memory");
    device->kernels = kernels;
    device->threads = options->threads > 0 ? options->threads : anx_threads_available();
    *out = device;
    return ANX_OK;
}

static void device_close(void *device) {
    free(device);
}

static void device_info(const void *opaque, anx_device_info *out) {
    const anx_exact_device *device = opaque;
    *out = (anx_device_info){.backend = "exact",
                             .device = "exact",
                             .library = "",
                             .isa = device->kernels->isa,
                             .arithmetic = "float32",
                             .threads = device->threads,
                             .math = ANX_MATH_FLOAT32,
                             .deterministic = true,
                             .pytorch_bits = true};
}

static anx_status device_sync(void *device, anx_error *err) {
    (void)device;
    (void)err;
    return ANX_OK;
}

static anx_status plan_create(void *device, const anx_plan_desc *desc, void **out, anx_error *err) {
    anx_exact_plan *plan = NULL;
    anx_status status = anx_exact_plan_create(device, desc, &plan, err);
    if (status == ANX_OK) *out = plan;
    return status;
}

static void plan_destroy(void *plan) {
    anx_exact_plan_destroy(plan);
}

static int plan_group_count(const void *opaque) {
    const anx_exact_plan *plan = opaque;
    return plan->n_groups;
}

static const anx_group *plan_group(const void *opaque, int group) {
    const anx_exact_plan *plan = opaque;
    return &plan->groups[group];
}

static anx_status check_visible(const anx_exact_plan *plan, anx_value value, anx_error *err) {
    if (value.kind != ANX_VALUE_OUTPUT)
        return anx_error_set(err, ANX_ERR_UNSUPPORTED, "the exact backend does not train yet, so it has no such value");
    if (anx_exact_plan_value(plan, value.index)->visible) return ANX_OK;
    return anx_error_set(err, ANX_ERR_UNSUPPORTED,
                         "the output of '%s' is inside a fused group; a plan that observes keeps it",
                         plan->graph->nodes[value.index].layer->name);
}

static anx_status write_param(anx_exact_plan *plan, int index, const anx_tensor *host, anx_error *err) {
    anx_exact_param *param = &plan->params[index];
    anx_tensor copy = ANX_TENSOR_INIT;
    anx_status status = anx_tensor_convert(host, ANX_F32, &copy, err);
    if (status != ANX_OK) return status;
    free(param->owned);
    param->owned = copy.owned;
    param->data = copy.data;
    anx_exact_plan_update_node(plan, plan->graph->params[index].node);
    return ANX_OK;
}

static anx_status plan_write(void *opaque, anx_value value, const anx_tensor *host, anx_error *err) {
    anx_exact_plan *plan = opaque;
    if (value.kind == ANX_VALUE_PARAM) return write_param(plan, value.index, host, err);
    anx_status status = check_visible(plan, value, err);
    if (status != ANX_OK) return status;
    const anx_exact_value *to = anx_exact_plan_value(plan, value.index);
    anx_exact_layout_import(&to->layout, plan->batch, host, to->data, plan->threads);
    return ANX_OK;
}

static anx_status plan_read(void *opaque, anx_value value, anx_tensor *host, anx_error *err) {
    anx_exact_plan *plan = opaque;
    if (value.kind == ANX_VALUE_PARAM) {
        const float *data = plan->params[value.index].data;
        const int64_t elems = anx_tensor_elems(host);
        if (host->dtype == ANX_F32)
            memcpy(host->data, data, (size_t)elems * sizeof *data);
        else
            for (int64_t i = 0; i < elems; i++) ((double *)host->data)[i] = (double)data[i];
        return ANX_OK;
    }
    anx_status status = check_visible(plan, value, err);
    if (status != ANX_OK) return status;
    const anx_exact_value *from = anx_exact_plan_value(plan, value.index);
    anx_exact_layout_export(&from->layout, plan->batch, from->data, host, plan->threads);
    return ANX_OK;
}

static anx_status plan_run(void *opaque, int first, int count, anx_error *err) {
    anx_exact_plan *plan = opaque;
    (void)err;
    for (int g = first; g < first + count; g++)
        for (int i = 0; i < plan->groups[g].n_nodes; i++) anx_exact_plan_run_node(plan, plan->groups[g].nodes[i]);
    return ANX_OK;
}

/* Planes lie in blocks of channels, so only flat values (N, F) have one. */
static float *plan_host_pointer(void *opaque, anx_value value) {
    const anx_exact_plan *plan = opaque;
    if (value.kind != ANX_VALUE_OUTPUT) return NULL;
    const anx_exact_value *v = anx_exact_plan_value(plan, value.index);
    return v->visible && anx_graph_extent(plan->graph, value.index)->rank == 1 ? v->data : NULL;
}

const anx_backend anx_backend_exact = {
    .abi_version = ANX_BACKEND_ABI_VERSION,
    .name = "exact",
    .summary = "float32 in PyTorch's own order of summation: PyTorch's bits on any machine",
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
    .plan_host_pointer = plan_host_pointer,
};
