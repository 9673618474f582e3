#include <stdalign.h>
#include <string.h>

#include "src/backend/dnnl/plan.h"
#include "src/base/checked.h"

/* host, in the caller's layout, to where and how the plan keeps it. */
static anx_status pack(const anx_dnnl_plan *plan, int index, const float *host, anx_error *err) {
    anx_dnnl_param *param = &plan->params[index];
    anx_status status = ANX_OK;
    if (dnnl_memory_desc_equal(param->host_md, param->md))
        anx_dnnl_copy(param->data, host, dnnl_memory_desc_get_size(param->md));
    else
        status = anx_dnnl_reorder(plan->device, param->host_md, host, param->md, param->data, err);
    return status;
}

/* Only a convolution's guard asks for it, and reading the linear layers' weights for it would take longer. */
static void measure(const anx_dnnl_plan *plan, int index, const float *host) {
    const anx_param *p = &plan->graph->params[index];
    if (plan->mode == ANX_PLAN_OBSERVE || plan->graph->nodes[p->node].layer->op != ANX_OP_CONV2D) return;
    int64_t elems = 0;
    (void)anx_shape_elems(p->rank, p->shape, &elems);
    plan->params[index].magnitude = (double)anx_dnnl_max_magnitude(host, (size_t)elems, plan->device->isa);
}

anx_status anx_dnnl_params_load(anx_dnnl_plan *plan, const anx_tensor *params, anx_error *err) {
    size_t total = 0;
    for (int i = 0; i < plan->graph->n_params; i++) {
        anx_dnnl_param *param = &plan->params[i];
        if (param->memory == NULL) continue; /* no node reads it */
        if ((size_t)params[i].data % alignof(float) != 0) param->in_place = false;
        if (param->in_place) continue;
        param->offset = total;
        size_t bytes = 0;
        if (!anx_checked_align_size(dnnl_memory_desc_get_size(param->md), ANX_ALIGNMENT_BYTES, &bytes) ||
            !anx_checked_add_size(total, bytes, &total))
            return anx_error_set(err, ANX_ERR_OUT_OF_MEMORY, "the parameters overflow the address space");
    }
    anx_status status = anx_dnnl_block_init(&plan->packed, total, err);
    for (int i = 0; i < plan->graph->n_params && status == ANX_OK; i++) {
        anx_dnnl_param *param = &plan->params[i];
        if (param->memory == NULL) continue;
        param->data = param->in_place ? params[i].data : (float *)(void *)((char *)plan->packed.data + param->offset);
        status = anx_dnnl_check(dnnl_memory_set_data_handle(param->memory, param->data), "place a parameter", err);
        measure(plan, i, params[i].data);
        if (status == ANX_OK && !param->in_place) status = pack(plan, i, params[i].data, err);
        if (status != ANX_OK) anx_error_in_entry(err, plan->graph->params[i].name);
    }
    return status;
}

anx_status anx_dnnl_param_write(anx_dnnl_plan *plan, int index, const float *host, anx_error *err) {
    anx_dnnl_param *param = &plan->params[index];
    if (param->in_place) { /* what it was computed from is the caller's, and stays as it is */
        anx_dnnl_block block;
        anx_status status = anx_dnnl_block_init(&block, dnnl_memory_desc_get_size(param->md), err);
        if (status != ANX_OK) return status;
        status = anx_dnnl_check(dnnl_memory_set_data_handle(param->memory, block.data), "place a parameter", err);
        if (status != ANX_OK) {
            anx_dnnl_block_fini(&block);
            return status;
        }
        param->own = block;
        param->data = block.data;
        param->in_place = false;
    }
    measure(plan, index, host);
    param->back_is_stale = true;
    return pack(plan, index, host, err);
}

anx_status anx_dnnl_param_own(anx_dnnl_plan *plan, int index, anx_error *err) {
    return plan->params[index].in_place ? anx_dnnl_param_write(plan, index, plan->params[index].data, err) : ANX_OK;
}

anx_status anx_dnnl_param_grad_exchange(const anx_dnnl_plan *plan, int index, float *host, bool write, anx_error *err) {
    const anx_dnnl_param *param = &plan->params[index];
    float *data = anx_dnnl_buffer_data(plan, param->grad_buffer);
    const size_t bytes = dnnl_memory_desc_get_size(param->grad_md);
    if (!dnnl_memory_desc_equal(param->host_md, param->grad_md))
        return write ? anx_dnnl_reorder(plan->device, param->host_md, host, param->grad_md, data, err)
                     : anx_dnnl_reorder(plan->device, param->grad_md, data, param->host_md, host, err);
    anx_dnnl_copy(write ? data : host, write ? host : data, bytes);
    return ANX_OK;
}

anx_status anx_dnnl_param_read(const anx_dnnl_plan *plan, int index, float *host, anx_error *err) {
    const anx_dnnl_param *param = &plan->params[index];
    if (!dnnl_memory_desc_equal(param->host_md, param->md))
        return anx_dnnl_reorder(plan->device, param->md, param->data, param->host_md, host, err);
    anx_dnnl_copy(host, param->data, dnnl_memory_desc_get_size(param->md));
    return ANX_OK;
}
