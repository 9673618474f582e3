#include <math.h>
#include <string.h>

#include "src/backend/dnnl/plan.h"

/* Float32 between the caller's plain layout and the value's own. */
static anx_status exchange(const anx_dnnl_plan *plan, int node, float *host, bool write, anx_error *err) {
    const anx_dnnl_value *value = anx_dnnl_storage_of(plan, node);
    float *data = anx_dnnl_buffer_data(plan, value->buffer);
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

static anx_status check_kept(const anx_dnnl_plan *plan, anx_value value, anx_error *err) {
    if (value.kind == ANX_VALUE_PARAM) {
        if (plan->params[value.index].memory != NULL) return ANX_OK;
        return anx_error_set(err, ANX_ERR_UNSUPPORTED, "no layer reads parameter '%s'",
                             plan->graph->params[value.index].name);
    }
    if (value.kind != ANX_VALUE_OUTPUT)
        return anx_error_set(err, ANX_ERR_UNSUPPORTED, "values of that kind exist in plans for training alone");
    if (anx_dnnl_value_of(plan, value.index)->kept) return ANX_OK;
    anx_error_set(err, ANX_ERR_UNSUPPORTED,
                  "its output lies inside a fused group of this plan; an observe plan keeps every output");
    anx_error_in_layer(err, plan->graph->nodes[value.index].layer->name);
    return ANX_ERR_UNSUPPORTED;
}

static anx_status transfer(anx_dnnl_plan *plan, anx_value value, float *host, bool write, anx_error *err) {
    if (value.kind == ANX_VALUE_OUTPUT) return exchange(plan, value.index, host, write, err);
    if (write) return anx_dnnl_param_write(plan, value.index, host, err);
    return anx_dnnl_param_read(plan, value.index, host, err);
}

anx_status anx_dnnl_plan_write(void *impl, anx_value value, const anx_tensor *host, anx_error *err) {
    anx_dnnl_plan *plan = impl;
    anx_status status = check_kept(plan, value, err);
    if (status != ANX_OK) return status;
    anx_tensor rounded = ANX_TENSOR_INIT;
    if (host->dtype != ANX_F32) {
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
    if (host->dtype != ANX_F32) {
        status = anx_tensor_alloc(ANX_F32, host->rank, host->shape, &narrow, err);
        if (status != ANX_OK) return status;
    }
    const int previous = anx_dnnl_threads_enter(plan->device);
    status = transfer(plan, value, narrow.owned != NULL ? narrow.data : host->data, false, err);
    anx_dnnl_threads_leave(previous);
    if (status == ANX_OK && narrow.owned != NULL) {
        const float *from = narrow.data;
        double *to = host->data;
        for (int64_t i = 0; i < anx_tensor_elems(host); i++) to[i] = (double)from[i];
    }
    anx_tensor_fini(&narrow);
    return status;
}

float *anx_dnnl_plan_host_pointer(void *impl, anx_value value) {
    anx_dnnl_plan *plan = impl;
    if (value.kind != ANX_VALUE_OUTPUT || !anx_dnnl_value_of(plan, value.index)->kept) return NULL;
    anx_dnnl_value *storage = anx_dnnl_storage_of(plan, value.index);
    anx_dnnl_md plain = NULL;
    if (anx_dnnl_plain_md(plan, anx_graph_extent(plan->graph, storage->storage), &plain) != dnnl_success) return NULL;
    const bool as_it_lies = dnnl_memory_desc_equal(plain, storage->md);
    anx_dnnl_md_destroy(plain);
    if (!as_it_lies) return NULL;
    storage->exposed = true;
    storage->magnitude = NAN;
    return anx_dnnl_buffer_data(plan, storage->buffer);
}
