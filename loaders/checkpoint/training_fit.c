/* Does a state fit the training that is to go on from it? */
#include "loaders/checkpoint/training_checkpoint.h"

static anx_status check_groups(const anx_saved_optimizer *o, const anx_training_expected *e, anx_error *err) {
    if (o->n_groups != e->n_groups)
        return anx_error_set(err, ANX_ERR_MISMATCH, "optimizer: %zu parameter groups; %zu were expected", o->n_groups,
                             e->n_groups);
    for (size_t i = 0; i < e->n_groups; i++)
        if (o->groups[i].n_params != e->group_sizes[i])
            return anx_error_set(err, ANX_ERR_MISMATCH,
                                 "optimizer: param_groups[%zu] has %zu parameters; %zu were "
                                 "expected",
                                 i, o->groups[i].n_params, e->group_sizes[i]);
    return ANX_OK;
}

anx_status anx_training_state_check(const anx_training_state *state, const anx_training_expected *expected,
                                    anx_error *err) {
    const anx_saved_optimizer *o = &state->optimizer;
    anx_status status = check_groups(o, expected, err);
    if (status != ANX_OK) return status;
    for (size_t i = 0; i < o->n_buffers; i++) {
        const anx_tensor *got = &o->buffers[i].tensor, *wanted = &expected->params[i];
        char a[200], b[200];
        if (o->buffers[i].present && !anx_tensor_same_shape(got, wanted))
            return anx_error_set(err, ANX_ERR_MISMATCH,
                                 "optimizer: the momentum_buffer of '%s' has shape %s; %s was expected",
                                 expected->names[i], anx_shape_format(got->rank, got->shape, a, sizeof a),
                                 anx_shape_format(wanted->rank, wanted->shape, b, sizeof b));
    }
    if (state->scheduler.kind != expected->scheduler)
        return anx_error_set(err, ANX_ERR_MISMATCH, "lr_scheduler: %s; %s was expected",
                             anx_saved_scheduler_name(state->scheduler.kind),
                             anx_saved_scheduler_name(expected->scheduler));
    return ANX_OK;
}
