#include <math.h>
#include <string.h>

#include "src/backend/dnnl/build.h"

/* Float32 between the caller's plain layout and the buffer of something that lies as the node's output does. */
static anx_status exchange(const anx_dnnl_plan *plan, int node, int buffer, float *host, bool write, anx_error *err) {
    const anx_dnnl_value *value = anx_dnnl_storage_of(plan, node);
    float *data = anx_dnnl_buffer_data(plan, buffer);
    anx_dnnl_md plain = NULL;
    anx_status status = anx_dnnl_check(anx_dnnl_plain_md(plan, anx_graph_extent(plan->graph, value->storage), &plain),
                                       "describe a value", err);
    if (status != ANX_OK) return status;
    if (dnnl_memory_desc_equal(plain, value->md)) {
        const size_t bytes = dnnl_memory_desc_get_size(plain);
        if (write)
            anx_dnnl_copy(data, host, bytes);
        else
            anx_dnnl_copy(host, data, bytes);
    } else if (write) {
        status = anx_dnnl_reorder(plan->device, plain, host, value->md, data, err);
    } else {
        status = anx_dnnl_reorder(plan->device, value->md, data, plain, host, err);
    }
    anx_dnnl_md_destroy(plain);
    return status;
}

/* Winners are kept as int32 in the layout of the output; the caller has them as int64 in NCHW. */
static anx_status exchange_winners(const anx_dnnl_plan *plan, int node, int64_t *host, bool write, anx_error *err) {
    const anx_dnnl_value *value = anx_dnnl_value_of(plan, node);
    const anx_node *nd = &plan->graph->nodes[node];
    dnnl_format_tag_t tag = dnnl_format_tag_undef;
    const anx_status status = anx_dnnl_tag_of(plan, &nd->out, value->md, &tag, err);
    if (status != ANX_OK) return status;
    const anx_dnnl_layout layout = anx_dnnl_layout_of(&nd->out, tag);
    const int64_t positions = nd->out.dim[1] * nd->out.dim[2], plane = nd->in.dim[1] * nd->in.dim[2];
    int32_t *winners = anx_dnnl_winners_data(plan, value->extra_buffer);
    for (int64_t i = 0; write && i < plan->batch * layout.channels * positions; i++) {
        if (host[i] >= 0 && host[i] < plane) continue;
        anx_error_set(err, ANX_ERR_INVALID_ARGUMENT, "winner %lld is position %lld of a plane of %lld", (long long)i,
                      (long long)host[i], (long long)plane);
        anx_error_in_layer(err, nd->layer->name);
        return ANX_ERR_INVALID_ARGUMENT;
    }
    for (int64_t n = 0; n < plan->batch; n++)
        for (int64_t c = 0; c < layout.channels; c++)
            for (int64_t i = 0; i < positions; i++, host++) {
                int32_t *winner = &winners[n * layout.stride_n + c / layout.block * layout.stride_block +
                                           i * layout.stride_w + c % layout.block];
                if (write)
                    *winner = (int32_t)*host;
                else
                    *host = *winner;
            }
    return ANX_OK;
}

static anx_status refuse(const anx_dnnl_plan *plan, int node, const char *why, anx_error *err) {
    anx_error_set(err, ANX_ERR_UNSUPPORTED, "%s", why);
    if (node >= 0) anx_error_in_layer(err, plan->graph->nodes[node].layer->name);
    return ANX_ERR_UNSUPPORTED;
}

static anx_status check_kept(const anx_dnnl_plan *plan, anx_value value, anx_error *err) {
    if (value.kind != ANX_VALUE_OUTPUT && value.kind != ANX_VALUE_PARAM && plan->mode != ANX_PLAN_TRAIN)
        return refuse(plan, ANX_NODE_INPUT, "values of that kind exist in plans for training alone", err);
    if (value.kind == ANX_VALUE_PARAM || value.kind == ANX_VALUE_PARAM_GRAD) {
        const anx_dnnl_param *param = &plan->params[value.index];
        const char *name = plan->graph->params[value.index].name;
        if (param->memory == NULL)
            return anx_error_set(err, ANX_ERR_UNSUPPORTED, "no layer reads parameter '%s'", name);
        if (value.kind == ANX_VALUE_PARAM || param->trained) return ANX_OK;
        return anx_error_set(err, ANX_ERR_UNSUPPORTED, "this plan does not train parameter '%s'", name);
    }
    if (!anx_dnnl_value_of(plan, value.index)->kept)
        return refuse(plan, value.index,
                      plan->mode == ANX_PLAN_TRAIN
                          ? "it lies inside a fused group of this plan"
                          : "its output lies inside a fused group of this plan; an observe plan keeps every output",
                      err);
    if (value.kind == ANX_VALUE_GRAD && !anx_dnnl_storage_of(plan, value.index)->needs_grad)
        return refuse(plan, value.index, "this plan trains nothing at or below it, so it has no gradient", err);
    return ANX_OK;
}

static anx_status transfer(anx_dnnl_plan *plan, anx_value value, void *host, bool write, anx_error *err) {
    switch (value.kind) {
    case ANX_VALUE_OUTPUT:
        return exchange(plan, value.index, anx_dnnl_storage_of(plan, value.index)->buffer, host, write, err);
    case ANX_VALUE_GRAD:
        return exchange(plan, value.index, anx_dnnl_storage_of(plan, value.index)->grad_buffer, host, write, err);
    case ANX_VALUE_MASK:
        return exchange(plan, value.index, anx_dnnl_value_of(plan, value.index)->extra_buffer, host, write, err);
    case ANX_VALUE_ARGMAX: return exchange_winners(plan, value.index, host, write, err);
    case ANX_VALUE_PARAM:
        return write ? anx_dnnl_param_write(plan, value.index, host, err)
                     : anx_dnnl_param_read(plan, value.index, host, err);
    case ANX_VALUE_PARAM_GRAD: return anx_dnnl_param_grad_exchange(plan, value.index, host, write, err);
    case ANX_VALUE_MOMENTUM: break;
    }
    return anx_error_set(err, ANX_ERR_INTERNAL, "a value of kind %d", (int)value.kind);
}

anx_status anx_dnnl_plan_write(void *impl, anx_value value, const anx_tensor *host, anx_error *err) {
    anx_dnnl_plan *plan = impl;
    anx_status status = check_kept(plan, value, err);
    if (status != ANX_OK) return status;
    anx_tensor rounded = ANX_TENSOR_INIT;
    if (host->dtype != ANX_F32 && value.kind != ANX_VALUE_ARGMAX) {
        status = anx_tensor_convert(host, ANX_F32, &rounded, err);
        if (status != ANX_OK) return status;
        host = &rounded;
    }
    const int previous = anx_dnnl_threads_enter(plan->device);
    status = transfer(plan, value, host->data, true, err);
    anx_dnnl_threads_leave(previous);
    if (value.kind == ANX_VALUE_OUTPUT) anx_dnnl_storage_of(plan, value.index)->magnitude = NAN;
    anx_tensor_fini(&rounded);
    return status;
}

anx_status anx_dnnl_plan_read(void *impl, anx_value value, anx_tensor *host, anx_error *err) {
    anx_dnnl_plan *plan = impl;
    anx_status status = check_kept(plan, value, err);
    if (status != ANX_OK) return status;
    anx_tensor narrow = ANX_TENSOR_INIT;
    if (host->dtype != ANX_F32 && value.kind != ANX_VALUE_ARGMAX) {
        status = anx_tensor_alloc(ANX_F32, host->rank, host->shape, &narrow, err);
        if (status != ANX_OK) return status;
    }
    const int previous = anx_dnnl_threads_enter(plan->device);
    status = transfer(plan, value, narrow.owned != NULL ? narrow.data : host->data, false, err);
    anx_dnnl_threads_leave(previous);
    if (status == ANX_OK && narrow.owned != NULL) {
        const float *from = narrow.data;
        double *to = host->data;
        const int64_t n = anx_tensor_elems(host);
        for (int64_t i = 0; i < n; i++) to[i] = (double)from[i];
    }
    anx_tensor_fini(&narrow);
    return status;
}

/* The buffer of something that lies as a node's output does; NULL where that is not as the caller has it. */
static float *plain_data(const anx_dnnl_plan *plan, int node, int buffer) {
    const anx_dnnl_value *storage = anx_dnnl_storage_of(plan, node);
    anx_dnnl_md plain = NULL;
    if (anx_dnnl_plain_md(plan, anx_graph_extent(plan->graph, storage->storage), &plain) != dnnl_success) return NULL;
    const bool as_it_lies = dnnl_memory_desc_equal(plain, storage->md);
    anx_dnnl_md_destroy(plain);
    return as_it_lies ? anx_dnnl_buffer_data(plan, buffer) : NULL;
}

static float *output_data(const anx_dnnl_plan *plan, int node) {
    anx_dnnl_value *storage = anx_dnnl_storage_of(plan, node);
    float *data = plain_data(plan, node, storage->buffer);
    if (data == NULL) return NULL;
    storage->exposed = true;
    storage->magnitude = NAN;
    return data;
}

/*
 * Of linear layers in train plans: they are read as they lie. A convolution's are known by their magnitude, or copied
 * for the backward pass, and have to be written. What so far was read where the caller has it is copied first.
 */
static float *param_data(anx_dnnl_plan *plan, int index) {
    anx_dnnl_param *param = &plan->params[index];
    const anx_op op = plan->graph->nodes[plan->graph->params[index].node].layer->op;
    if (plan->mode != ANX_PLAN_TRAIN || op != ANX_OP_LINEAR || !dnnl_memory_desc_equal(param->host_md, param->md))
        return NULL;
    return anx_dnnl_param_own(plan, index, NULL) == ANX_OK ? param->data : NULL;
}

static float *param_grad_data(const anx_dnnl_plan *plan, int index) {
    const anx_dnnl_param *param = &plan->params[index];
    return dnnl_memory_desc_equal(param->host_md, param->grad_md) ? anx_dnnl_buffer_data(plan, param->grad_buffer)
                                                                  : NULL;
}

float *anx_dnnl_plan_host_pointer(void *impl, anx_value value) {
    anx_dnnl_plan *plan = impl;
    if (check_kept(plan, value, NULL) != ANX_OK) return NULL;
    switch (value.kind) {
    case ANX_VALUE_OUTPUT: return output_data(plan, value.index);
    case ANX_VALUE_GRAD: return plain_data(plan, value.index, anx_dnnl_storage_of(plan, value.index)->grad_buffer);
    case ANX_VALUE_MASK: return plain_data(plan, value.index, anx_dnnl_value_of(plan, value.index)->extra_buffer);
    case ANX_VALUE_PARAM: return param_data(plan, value.index);
    case ANX_VALUE_PARAM_GRAD: return param_grad_data(plan, value.index);
    case ANX_VALUE_ARGMAX:
    case ANX_VALUE_MOMENTUM: return NULL; /* not floats; not kept */
    }
    return NULL;
}
