/* A trainer whose device takes SGD's steps itself: what is different, and what that can fail at. */
#include "src/train/trainer_state.h"

/* ---- what became of an update --------------------------------------------------------------------------- */

anx_status anx_trainer_check_state(const anx_trainer *t, anx_error *err) {
    if (!t->is_lost) return ANX_OK;
    return anx_error_set(err, ANX_ERR_DEVICE,
                         "an update failed on the device: what the parameters are now is not known");
}

anx_status anx_trainer_sync(anx_trainer *t, anx_error *err) {
    const anx_status status = anx_device_sync(t->device, err);
    t->is_lost = t->is_lost || (status != ANX_OK && t->is_pending);
    t->is_pending = t->is_pending && status != ANX_OK;
    return status;
}

/* A device may tell of a failure once, at the first call after it, and be well again by the time it is waited for. */
void anx_trainer_after_failure(anx_trainer *t, anx_status status) {
    t->is_lost = t->is_lost || (status == ANX_ERR_DEVICE && t->is_pending);
    (void)anx_trainer_sync(t, NULL);
}

/* ---- between plan and trainer --------------------------------------------------------------------------- */

/* The first update has to be over: until then the plan may read its parameters where it was given them, here. */
static anx_status fetch_values(anx_trainer *t, anx_error *err) {
    anx_status status = t->is_pending ? anx_trainer_sync(t, err) : ANX_OK;
    for (int i = 0; i < t->graph->n_params && status == ANX_OK; i++) {
        if (!t->trained[i]) continue;
        status = anx_plan_read(t->plan, (anx_value){ANX_VALUE_PARAM, i}, &t->params[i], err);
        if (status != ANX_OK || !t->slices[i].has_buffer) continue;
        status = anx_trainer_make_momentum(t, i, err);
        if (status == ANX_OK) status = anx_plan_read(t->plan, (anx_value){ANX_VALUE_MOMENTUM, i}, &t->momentum[i], err);
    }
    return status == ANX_OK ? anx_trainer_sync(t, err) : status;
}

anx_status anx_trainer_fetch(anx_trainer *t, anx_error *err) {
    anx_status status = anx_trainer_check_state(t, err);
    if (status != ANX_OK || !t->resident || t->is_fetched) return status;
    status = fetch_values(t, err);
    t->is_fetched = status == ANX_OK;
    if (status != ANX_OK) anx_trainer_after_failure(t, status);
    return status;
}

anx_status anx_trainer_send_momentum(anx_trainer *t, anx_error *err) {
    anx_status status = ANX_OK;
    for (int i = 0; i < t->graph->n_params && status == ANX_OK; i++)
        if (t->slices[i].has_buffer)
            status = anx_plan_write(t->plan, (anx_value){ANX_VALUE_MOMENTUM, i}, &t->momentum[i], err);
    return status;
}

/* ---- the step ------------------------------------------------------------------------------------------- */

anx_status anx_trainer_begin_update(anx_trainer *t, anx_error *err) {
    for (int i = 0; i < t->graph->n_params; i++) {
        t->options_of_param[i] = t->trained[i] ? &t->groups[t->slices[i].group] : NULL;
        t->has_momentum[i] = t->slices[i].has_buffer;
    }
    t->is_fetched = false;
    const anx_status status = anx_plan_sgd_step(t->plan, t->options_of_param, t->has_momentum, err);
    t->is_pending = status == ANX_OK;
    t->is_lost = status != ANX_OK; /* some parameters may have taken the step, and others not */
    for (int i = 0; i < t->graph->n_params; i++) t->slices[i].has_buffer = t->has_momentum[i];
    return status;
}
