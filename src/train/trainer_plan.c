#include <string.h>

#include "src/train/trainer_state.h"

/* ---- homes ---------------------------------------------------------------------------------------------- */

static anx_tensor view_as(const anx_tensor *like, float *data) {
    return anx_tensor_view(ANX_F32, like->rank, like->shape, data);
}

static bool is_in_plan(const anx_trainer *t, int param) {
    return t->params[param].owned == NULL;
}

/* Where the plan has the parameter, if it may be changed there. It must first have left the caller's memory. */
static anx_status find_in_plan(anx_trainer *t, anx_plan *plan, int param, float **out, anx_error *err) {
    const anx_value value = {ANX_VALUE_PARAM, param};
    anx_status status = ANX_OK;
    *out = anx_plan_host_pointer(plan, value);
    if (*out == NULL) {
        status = anx_plan_write(plan, value, &t->params[param], err);
        if (status == ANX_OK) *out = anx_plan_host_pointer(plan, value);
    }
    return status;
}

static void move_into_plan(anx_trainer *t, int param, float *data) {
    const anx_tensor view = view_as(&t->params[param], data);
    anx_tensor_fini(&t->params[param]);
    t->params[param] = view;
}

static anx_status move_out_of_plan(anx_trainer *t, int param, anx_error *err) {
    if (!is_in_plan(t, param)) return ANX_OK;
    anx_tensor own = ANX_TENSOR_INIT;
    anx_status status = anx_tensor_convert(&t->params[param], ANX_F32, &own, err);
    if (status == ANX_OK) t->params[param] = own;
    return status;
}

/* ---- plans ---------------------------------------------------------------------------------------------- */

static void drop_plan(anx_trainer *t) {
    for (int i = 0; i < t->graph->n_params; i++) anx_tensor_fini(&t->grads[i]);
    anx_plan_destroy(t->plan);
    t->plan = NULL;
    t->has_grads = false;
}

static anx_status release_plan(anx_trainer *t, anx_error *err) {
    anx_status status = anx_trainer_fetch(t, err);
    for (int i = 0; i < t->graph->n_params && status == ANX_OK; i++) status = move_out_of_plan(t, i, err);
    if (status == ANX_OK) drop_plan(t);
    return status;
}

/* Of a new plan: everything that can fail comes before the first parameter moves. */
static anx_status settle(anx_trainer *t, anx_error *err) {
    anx_status status = ANX_OK;
    float *unused;
    if (t->resident) {
        status = anx_trainer_send_momentum(t, err);
        return status == ANX_OK ? anx_trainer_sync(t, err) : status;
    }
    for (int i = 0; i < t->graph->n_params && status == ANX_OK; i++) {
        if (!t->trained[i]) continue;
        status = find_in_plan(t, t->plan, i, &unused, err);
        if (status != ANX_OK) break;
        float *grad = anx_plan_host_pointer(t->plan, (anx_value){ANX_VALUE_PARAM_GRAD, i});
        if (grad != NULL)
            t->grads[i] = view_as(&t->params[i], grad);
        else
            status = anx_tensor_alloc(ANX_F32, t->params[i].rank, t->params[i].shape, &t->grads[i], err);
    }
    if (status == ANX_OK) status = anx_device_sync(t->device, err);
    if (status != ANX_OK) return status;
    for (int i = 0; i < t->graph->n_params; i++) {
        if (!t->trained[i]) continue;
        float *data = anx_plan_host_pointer(t->plan, (anx_value){ANX_VALUE_PARAM, i});
        if (data != NULL) move_into_plan(t, i, data);
        t->stale[i] = false;
    }
    return ANX_OK;
}

anx_status anx_trainer_ensure_plan(anx_trainer *t, int64_t n, anx_error *err) {
    anx_status status = ANX_OK;
    if (t->plan != NULL && anx_plan_batch(t->plan) == n) return ANX_OK;
    if (t->plan != NULL) status = release_plan(t, err);
    if (status != ANX_OK) return status;
    /* That all are trained is said, too: where nothing is said a device may compute the gradient by the input. */
    const anx_plan_desc desc = {.graph = t->graph,
                                .batch = n,
                                .mode = ANX_PLAN_TRAIN,
                                .params = t->params,
                                .n_params = t->graph->n_params,
                                .trained = t->trained};
    status = anx_plan_create(t->device, &desc, &t->plan, err);
    if (status != ANX_OK) return status;
    t->resident = t->is_fetched = anx_plan_has_sgd(t->plan);
    t->n_forward = anx_plan_group_of_node(t->plan, t->graph->logits) + 1;
    if (t->n_forward == 0) status = anx_error_set(err, ANX_ERR_INTERNAL, "no group of the plan ends with the logits");
    if (status == ANX_OK) status = settle(t, err);
    if (status == ANX_OK) return ANX_OK;
    anx_trainer_after_failure(t, status);
    drop_plan(t);
    return status;
}

/* ---- between plan and trainer --------------------------------------------------------------------------- */

anx_status anx_trainer_send_params(anx_trainer *t, anx_error *err) {
    for (int i = 0; i < t->graph->n_params; i++) {
        if (!t->stale[i]) continue;
        const anx_status status = anx_plan_write(t->plan, (anx_value){ANX_VALUE_PARAM, i}, &t->params[i], err);
        if (status != ANX_OK) return status;
        t->stale[i] = false;
    }
    return ANX_OK;
}

anx_status anx_trainer_make_momentum(anx_trainer *t, int param, anx_error *err) {
    anx_tensor *momentum = &t->momentum[param];
    const anx_tensor *like = &t->params[param];
    if (momentum->owned != NULL) return ANX_OK;
    return anx_tensor_alloc(ANX_F32, like->rank, like->shape, momentum, err);
}

anx_status anx_trainer_receive_grads(anx_trainer *t, anx_error *err) {
    anx_status status = ANX_OK;
    for (int i = 0; i < t->graph->n_params && status == ANX_OK; i++) {
        if (!t->trained[i]) continue;
        if (t->grads[i].owned != NULL)
            status = anx_plan_read(t->plan, (anx_value){ANX_VALUE_PARAM_GRAD, i}, &t->grads[i], err);
        if (status == ANX_OK && t->groups[t->slices[i].group].momentum != 0.0)
            status = anx_trainer_make_momentum(t, i, err);
        t->slices[i].param = t->params[i].data;
        t->slices[i].grad = t->grads[i].data;
        t->slices[i].buffer = t->momentum[i].data;
    }
    return status == ANX_OK ? anx_device_sync(t->device, err) : status;
}

/* ---- parameters from elsewhere -------------------------------------------------------------------------- */

/* The plan first: a frozen parameter's memory must not change while the plan reads it there. */
anx_status anx_trainer_set_param(anx_trainer *t, int param, const anx_tensor *values, anx_error *err) {
    anx_status status = anx_trainer_check_tensor(t, param, values, "the values", err);
    if (status == ANX_OK) status = anx_trainer_check_state(t, err);
    if (status == ANX_OK && t->plan != NULL) {
        status = anx_plan_write(t->plan, (anx_value){ANX_VALUE_PARAM, param}, values, err);
        if (status == ANX_OK) status = anx_trainer_sync(t, err);
        if (status != ANX_OK) anx_trainer_after_failure(t, status);
    }
    if (status != ANX_OK) return status;
    if (!is_in_plan(t, param)) memcpy(t->params[param].data, values->data, anx_tensor_bytes(values));
    t->stale[param] = false;
    return ANX_OK;
}

anx_status anx_trainer_set_momentum(anx_trainer *t, int param, const anx_tensor *values, anx_error *err) {
    anx_status status = anx_trainer_check_index(t, param, err);
    if (status == ANX_OK && values != NULL) status = anx_trainer_check_tensor(t, param, values, "the momentum", err);
    if (status == ANX_OK) status = anx_trainer_check_state(t, err);
    if (status != ANX_OK) return status;
    if (values != NULL && !t->trained[param])
        return anx_error_set(err, ANX_ERR_INVALID_ARGUMENT, "'%s' is frozen and has no momentum",
                             t->graph->params[param].name);
    anx_tensor own = ANX_TENSOR_INIT;
    if (values != NULL) status = anx_tensor_convert(values, ANX_F32, &own, err);
    if (status == ANX_OK && values != NULL && t->resident && t->plan != NULL) {
        status = anx_plan_write(t->plan, (anx_value){ANX_VALUE_MOMENTUM, param}, &own, err);
        if (status == ANX_OK) status = anx_trainer_sync(t, err);
        if (status != ANX_OK) anx_trainer_after_failure(t, status);
    }
    if (status != ANX_OK) {
        anx_tensor_fini(&own);
        return status;
    }
    anx_tensor_fini(&t->momentum[param]);
    t->momentum[param] = own;
    t->slices[param].has_buffer = values != NULL;
    return ANX_OK;
}
