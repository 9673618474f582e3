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

/* What the plan keeps of a value, as float32 in a layout; data NULL where it keeps nothing. */
typedef struct stored {
    const anx_exact_layout *layout;
    float *data;
} stored;

static stored stored_value(const anx_exact_plan *plan, anx_value value) {
    const anx_exact_value *v = anx_exact_plan_value(plan, value.index);
    switch (value.kind) {
    case ANX_VALUE_OUTPUT: return (stored){&v->layout, v->visible ? v->data : NULL};
    case ANX_VALUE_GRAD: return (stored){&v->grad_layout, v->grad};
    case ANX_VALUE_MASK: return (stored){&v->layout, plan->nodes[value.index].mask};
    case ANX_VALUE_PARAM:
    case ANX_VALUE_PARAM_GRAD:
    case ANX_VALUE_ARGMAX:
    case ANX_VALUE_MOMENTUM: break;
    }
    return (stored){NULL, NULL};
}

static anx_status not_kept(const anx_exact_plan *plan, anx_value value, anx_error *err) {
    if (value.kind != ANX_VALUE_OUTPUT && plan->mode != ANX_PLAN_TRAIN)
        return anx_error_set(err, ANX_ERR_UNSUPPORTED, "only a plan made for training has such a value");
    if (value.kind == ANX_VALUE_PARAM_GRAD)
        return anx_error_set(err, ANX_ERR_UNSUPPORTED, "'%s' is not trained, so no gradient by it is computed",
                             plan->graph->params[value.index].name);
    if (value.kind == ANX_VALUE_GRAD)
        return anx_error_set(err, ANX_ERR_UNSUPPORTED,
                             "the gradient by %s is not computed: it lies below the lowest trained layer",
                             value.index < 0 ? "the input" : plan->graph->nodes[value.index].layer->name);
    return anx_error_set(err, ANX_ERR_UNSUPPORTED,
                         "the output of '%s' is inside a fused group; a plan that observes keeps it",
                         plan->graph->nodes[value.index].layer->name);
}

static anx_status write_param(anx_exact_plan *plan, int index, const anx_tensor *host, anx_error *err) {
    anx_exact_param *param = &plan->params[index];
    if (param->owned != NULL && host->dtype == ANX_F32) {
        memmove(param->owned, host->data, (size_t)anx_tensor_elems(host) * sizeof *param->owned);
    } else {
        anx_tensor copy = ANX_TENSOR_INIT;
        anx_status status = anx_tensor_convert(host, ANX_F32, &copy, err);
        if (status != ANX_OK) return status;
        free(param->owned);
        param->owned = copy.owned;
        param->data = copy.data;
    }
    anx_exact_plan_update_node(plan, plan->graph->params[index].node);
    return ANX_OK;
}

/* From the place in the gradient's block to the index into the plane, and back. */
static void copy_places(const anx_exact_plan *plan, int node, const anx_tensor *host, bool write) {
    const anx_exact_layout *out = &plan->nodes[node].pool.out;
    const anx_exact_layout *grad = &anx_exact_plan_value(plan, plan->graph->nodes[node].inputs[0])->grad_layout;
    const int64_t plane = out->height * out->width, row = grad->row_elems / ANX_EXACT_BLOCK;
    int64_t *index = host->data;
    for (int64_t n = 0; n < plan->batch; n++)
        for (int64_t c = 0; c < out->channels; c++) {
            const int64_t block = n * out->blocks + c / ANX_EXACT_BLOCK;
            int32_t *places = plan->nodes[node].places + block * plane * ANX_EXACT_BLOCK + c % ANX_EXACT_BLOCK;
            for (int64_t i = 0; i < plane; i++, index++, places += ANX_EXACT_BLOCK) {
                if (write)
                    *places = (int32_t)(*index / grad->width * row + grad->border + *index % grad->width);
                else
                    *index = *places / row * grad->width + *places % row - grad->border;
            }
        }
}

static anx_status check_places(const anx_exact_plan *plan, int node, const anx_tensor *host, anx_error *err) {
    const anx_extent *in = &plan->graph->nodes[node].in;
    const int64_t plane = in->dim[1] * in->dim[2], *index = host->data;
    const int64_t n = anx_tensor_elems(host);
    for (int64_t i = 0; i < n; i++)
        if (index[i] < 0 || index[i] >= plane)
            return anx_error_set(err, ANX_ERR_INVALID_ARGUMENT,
                                 "element %lld of the winners of '%s' is %lld; its planes have %lld elements",
                                 (long long)i, plan->graph->nodes[node].layer->name, (long long)index[i],
                                 (long long)plane);
    return ANX_OK;
}

static anx_status plan_write(void *opaque, anx_value value, const anx_tensor *host, anx_error *err) {
    anx_exact_plan *plan = opaque;
    if (value.kind == ANX_VALUE_PARAM) return write_param(plan, value.index, host, err);
    if (value.kind == ANX_VALUE_ARGMAX && plan->mode == ANX_PLAN_TRAIN) {
        const anx_status status = check_places(plan, value.index, host, err);
        if (status == ANX_OK) copy_places(plan, value.index, host, true);
        return status;
    }
    if (value.kind == ANX_VALUE_PARAM_GRAD)
        return anx_error_set(err, ANX_ERR_UNSUPPORTED, "the gradient by '%s' is computed, not written",
                             plan->graph->params[value.index].name);
    const stored to = stored_value(plan, value);
    if (to.data == NULL) return not_kept(plan, value, err);
    anx_exact_layout_import(to.layout, plan->batch, host, to.data, plan->threads);
    return ANX_OK;
}

static void copy_floats(const float *from, anx_tensor *host) {
    const int64_t elems = anx_tensor_elems(host);
    if (host->dtype == ANX_F32)
        memcpy(host->data, from, (size_t)elems * sizeof *from);
    else
        for (int64_t i = 0; i < elems; i++) ((double *)host->data)[i] = (double)from[i];
}

static anx_status plan_read(void *opaque, anx_value value, anx_tensor *host, anx_error *err) {
    anx_exact_plan *plan = opaque;
    if (value.kind == ANX_VALUE_PARAM || value.kind == ANX_VALUE_PARAM_GRAD) {
        const anx_exact_param *param = &plan->params[value.index];
        const float *from = value.kind == ANX_VALUE_PARAM ? param->data : param->grad;
        if (from == NULL) return not_kept(plan, value, err);
        copy_floats(from, host);
        return ANX_OK;
    }
    if (value.kind == ANX_VALUE_ARGMAX && plan->mode == ANX_PLAN_TRAIN) {
        copy_places(plan, value.index, host, false);
        return ANX_OK;
    }
    const stored from = stored_value(plan, value);
    if (from.data == NULL) return not_kept(plan, value, err);
    anx_exact_layout_export(from.layout, plan->batch, from.data, host, plan->threads);
    return ANX_OK;
}

static anx_status plan_run(void *opaque, int first, int count, anx_error *err) {
    anx_exact_plan *plan = opaque;
    (void)err;
    for (int g = first; g < first + count; g++)
        for (int i = 0; i < plan->groups[g].n_nodes; i++) anx_exact_plan_run_node(plan, plan->groups[g].nodes[i]);
    return ANX_OK;
}

static anx_status plan_run_backward(void *opaque, int first, int count, anx_error *err) {
    anx_exact_plan *plan = opaque;
    (void)err;
    for (int g = first + count - 1; g >= first; g--)
        for (int i = plan->groups[g].n_nodes - 1; i >= 0; i--)
            anx_exact_plan_run_node_back(plan, plan->groups[g].nodes[i]);
    return ANX_OK;
}

/* What a linear layer reads in place: after the caller's memory was left, it can be changed in place too. */
static float *linear_param(anx_exact_plan *plan, int index) {
    return plan->graph->nodes[plan->graph->params[index].node].layer->op == ANX_OP_LINEAR ? plan->params[index].owned
                                                                                          : NULL;
}

/* Planes lie in blocks of channels, so of values only flat ones (N, F) have one. */
static float *plan_host_pointer(void *opaque, anx_value value) {
    anx_exact_plan *plan = opaque;
    switch (value.kind) {
    case ANX_VALUE_PARAM: return linear_param(plan, value.index);
    case ANX_VALUE_PARAM_GRAD: return plan->params[value.index].grad;
    case ANX_VALUE_ARGMAX:
    case ANX_VALUE_MOMENTUM: return NULL;
    case ANX_VALUE_OUTPUT:
    case ANX_VALUE_GRAD:
    case ANX_VALUE_MASK: break;
    }
    return anx_graph_extent(plan->graph, value.index)->rank == 1 ? stored_value(plan, value).data : NULL;
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
    .plan_run_backward = plan_run_backward,
    .plan_host_pointer = plan_host_pointer,
};
