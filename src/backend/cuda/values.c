#include <string.h>

#include "src/backend/cuda/plan.h"
#include "src/backend/cuda/status.h"

static anx_status refuse(const anx_cuda_plan *plan, int node, const char *why, anx_error *err) {
    anx_error_set(err, ANX_ERR_UNSUPPORTED, "%s", why);
    if (node != ANX_NODE_INPUT) anx_error_in_layer(err, plan->graph->nodes[node].layer->name);
    return ANX_ERR_UNSUPPORTED;
}

static bool is_of_node(anx_value value) {
    return value.kind == ANX_VALUE_OUTPUT || value.kind == ANX_VALUE_GRAD;
}

static float *address_of(const anx_cuda_plan *plan, anx_value value) {
    switch (value.kind) {
    case ANX_VALUE_OUTPUT: return anx_cuda_output(plan, value.index);
    case ANX_VALUE_GRAD: return anx_cuda_grad(plan, value.index);
    case ANX_VALUE_MASK: return plan->nodes[value.index].mask;
    case ANX_VALUE_PARAM: return anx_cuda_param_data(plan, value.index);
    case ANX_VALUE_PARAM_GRAD: return plan->grad_arena + plan->params[value.index].first;
    case ANX_VALUE_MOMENTUM: return plan->momentum_arena + plan->params[value.index].first;
    case ANX_VALUE_ARGMAX: break;
    }
    return NULL;
}

static anx_status locate(const anx_cuda_plan *plan, anx_value value, float **out, anx_error *err) {
    if (is_of_node(value) && value.index != ANX_NODE_INPUT && !plan->values[value.index].kept)
        return refuse(plan, value.index,
                      plan->mode == ANX_PLAN_TRAIN
                          ? "it lies inside a fused group of this plan"
                          : "its output lies inside a fused group of this plan; an observe plan keeps every output",
                      err);
    *out = address_of(plan, value);
    if (*out != NULL) return ANX_OK;
    return refuse(plan, is_of_node(value) ? value.index : ANX_NODE_INPUT, "this plan computes no gradient by it", err);
}

/* ---- writing -------------------------------------------------------------------------------------------- */

/*
 * Infer: into the buffer that was not written last, on the stream for uploads, once the work that read that buffer is
 * done; so that the upload goes on beside work on the other.
 */
static anx_status upload_input(anx_cuda_plan *plan, const float *host, size_t bytes, anx_error *err) {
    const anx_cuda_api *api = plan->device->api;
    struct CUstream_st *uploads = plan->device->uploads;
    const int next = (plan->input + 1) % ANX_CUDA_INPUTS;
    anx_status status =
        anx_cuda_check(api, api->cudaStreamWaitEvent(uploads, plan->released[next], 0), "wait for work", err);
    if (status == ANX_OK)
        status =
            anx_cuda_check(api, api->cudaMemcpyAsync(plan->inputs[next], host, bytes, ANX_CU_HOST_TO_DEVICE, uploads),
                           "write memory", err);
    if (status == ANX_OK)
        status = anx_cuda_check(api, api->cudaEventRecord(plan->arrived[next], uploads), "record an event", err);
    if (status != ANX_OK) return status;
    plan->input = next;
    plan->awaiting = true;
    return ANX_OK;
}

static anx_status write_floats(anx_cuda_plan *plan, anx_value value, const float *host, size_t bytes, anx_error *err) {
    if (value.kind == ANX_VALUE_OUTPUT && value.index == ANX_NODE_INPUT && plan->mode == ANX_PLAN_INFER)
        return upload_input(plan, host, bytes, err);
    float *to = NULL;
    const anx_status status = locate(plan, value, &to, err);
    return status != ANX_OK ? status : anx_cuda_upload(plan->device, to, host, bytes, err);
}

anx_status anx_cuda_plan_write(void *impl, anx_value value, const anx_tensor *host, anx_error *err) {
    anx_cuda_plan *plan = impl;
    anx_status status = anx_cuda_device_enter(plan->device, err);
    if (status != ANX_OK) return status;
    if (value.kind == ANX_VALUE_ARGMAX) return anx_cuda_winners_write(plan, value.index, host->data, err);
    if (host->dtype == ANX_F32) return write_floats(plan, value, host->data, anx_tensor_bytes(host), err);
    anx_tensor rounded = ANX_TENSOR_INIT;
    status = anx_tensor_convert(host, ANX_F32, &rounded, err);
    if (status == ANX_OK) status = write_floats(plan, value, rounded.data, anx_tensor_bytes(&rounded), err);
    if (status == ANX_OK) status = anx_cuda_device_sync(plan->device, err); /* before the copy goes */
    anx_tensor_fini(&rounded);
    return status;
}

/* ---- reading -------------------------------------------------------------------------------------------- */

/* Infer: once it has arrived; and it may not be written over before it was read. */
static anx_status download_input(anx_cuda_plan *plan, float *host, size_t bytes, anx_error *err) {
    const anx_cuda_api *api = plan->device->api;
    struct CUstream_st *stream = plan->device->stream;
    anx_status status = ANX_OK;
    if (plan->awaiting)
        status = anx_cuda_check(api, api->cudaStreamWaitEvent(stream, plan->arrived[plan->input], 0),
                                "wait for the input", err);
    if (status == ANX_OK) status = anx_cuda_download(plan->device, host, plan->inputs[plan->input], bytes, err);
    if (status != ANX_OK) return status;
    return anx_cuda_check(api, api->cudaEventRecord(plan->released[plan->input], stream), "record an event", err);
}

static anx_status read_floats(anx_cuda_plan *plan, anx_value value, float *host, size_t bytes, anx_error *err) {
    if (value.kind == ANX_VALUE_OUTPUT && value.index == ANX_NODE_INPUT && plan->mode == ANX_PLAN_INFER)
        return download_input(plan, host, bytes, err);
    float *from = NULL;
    const anx_status status = locate(plan, value, &from, err);
    return status != ANX_OK ? status : anx_cuda_download(plan->device, host, from, bytes, err);
}

anx_status anx_cuda_plan_read(void *impl, anx_value value, anx_tensor *host, anx_error *err) {
    anx_cuda_plan *plan = impl;
    anx_status status = anx_cuda_device_enter(plan->device, err);
    if (status != ANX_OK) return status;
    if (value.kind == ANX_VALUE_ARGMAX) return anx_cuda_winners_read(plan, value.index, host->data, err);
    if (host->dtype == ANX_F32) return read_floats(plan, value, host->data, anx_tensor_bytes(host), err);
    anx_tensor narrow = ANX_TENSOR_INIT;
    status = anx_tensor_alloc(ANX_F32, host->rank, host->shape, &narrow, err);
    if (status == ANX_OK) status = read_floats(plan, value, narrow.data, anx_tensor_bytes(&narrow), err);
    if (status == ANX_OK) status = anx_cuda_device_sync(plan->device, err);
    const float *from = narrow.data;
    double *to = host->data;
    const int64_t n = status == ANX_OK ? anx_tensor_elems(host) : 0;
    for (int64_t i = 0; i < n; i++) to[i] = (double)from[i];
    anx_tensor_fini(&narrow);
    return status;
}
