#include "src/train/trainer.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "src/base/checked.h"
#include "src/train/dropout_mask.h"
#include "src/train/loss.h"
#include "src/train/trainer_state.h"

/* ---- creation ------------------------------------------------------------------------------------------- */

anx_status anx_trainer_check_index(const anx_trainer *t, int param, anx_error *err) {
    if (param >= 0 && param < t->graph->n_params) return ANX_OK;
    return anx_error_set(err, ANX_ERR_INVALID_ARGUMENT, "there is no parameter %d; '%s' has %d", param,
                         t->graph->arch->name, t->graph->n_params);
}

anx_status anx_trainer_check_tensor(const anx_trainer *t, int param, const anx_tensor *values, const char *what,
                                    anx_error *err) {
    const anx_status status = anx_trainer_check_index(t, param, err);
    if (status != ANX_OK) return status;
    const anx_param *p = &t->graph->params[param];
    const anx_tensor expected = anx_tensor_view(ANX_F32, p->rank, p->shape, NULL);
    if (values->dtype == ANX_F32 && anx_tensor_same_shape(values, &expected) && anx_tensor_is_contiguous(values))
        return ANX_OK;
    char want[96], got[96];
    return anx_error_set(err, ANX_ERR_INVALID_ARGUMENT, "%s of '%s' must be contiguous float32 %s, got %s%s %s", what,
                         p->name, anx_shape_format(p->rank, p->shape, want, sizeof want),
                         anx_tensor_is_contiguous(values) ? "" : "strided ", anx_dtype_name(values->dtype),
                         anx_shape_format(values->rank, values->shape, got, sizeof got));
}

static anx_status check_groups(const anx_sgd_options *groups, int n_groups, anx_error *err) {
    for (int i = 0; i < n_groups; i++) {
        const anx_status status = anx_sgd_options_check(&groups[i], err);
        if (status == ANX_OK) continue;
        if (n_groups > 1) anx_error_prefix(err, "parameter group %d: ", i);
        return status;
    }
    return ANX_OK;
}

static anx_status check_options(const anx_trainer_options *o, anx_error *err) {
    int n_trained = 0;
    for (int i = 0; i < o->graph->n_params; i++) {
        const int group = o->group_of_param[i];
        if (group < ANX_TRAINER_FROZEN || group >= o->n_groups)
            return anx_error_set(err, ANX_ERR_INVALID_ARGUMENT, "'%s' is in group %d of %d", o->graph->params[i].name,
                                 group, o->n_groups);
        n_trained += group != ANX_TRAINER_FROZEN;
    }
    if (n_trained == 0)
        return anx_error_set(err, ANX_ERR_INVALID_ARGUMENT, "every parameter is frozen: there is nothing to train");
    if (!(o->label_smoothing >= 0.0 && o->label_smoothing <= 1.0))
        return anx_error_set(err, ANX_ERR_INVALID_ARGUMENT, "the label smoothing is %g; it must be between 0 and 1",
                             o->label_smoothing);
    anx_status status = check_groups(o->groups, o->n_groups, err);
    if (status == ANX_OK && o->has_dropout) status = anx_dropout_check(o->dropout, err);
    return status;
}

static void settle_dropout(anx_trainer *t, const anx_trainer_options *o) {
    for (int i = 0; i < t->graph->n_nodes; i++) {
        const anx_layer *layer = t->graph->nodes[i].layer;
        if (layer->op == ANX_OP_DROPOUT) t->dropout[i] = o->has_dropout ? o->dropout : layer->u.dropout.p;
    }
}

static anx_status alloc_arrays(anx_trainer *t, anx_error *err) {
    const size_t params = (size_t)t->graph->n_params, rows = (size_t)t->batch;
    const size_t row_bytes = (size_t)anx_graph_node_elems(t->graph, t->graph->logits) * sizeof(float);
    t->dropout = calloc((size_t)t->graph->n_nodes, sizeof *t->dropout);
    t->groups = calloc((size_t)t->n_groups, sizeof *t->groups);
    t->params = calloc(params, sizeof *t->params);
    t->momentum = calloc(params, sizeof *t->momentum);
    t->grads = calloc(params, sizeof *t->grads);
    t->slices = calloc(params, sizeof *t->slices);
    t->trained = calloc(params, sizeof *t->trained);
    t->stale = calloc(params, sizeof *t->stale);
    t->options_of_param = calloc(params, sizeof *t->options_of_param);
    t->has_momentum = calloc(params, sizeof *t->has_momentum);
    t->masks = calloc((size_t)t->graph->n_nodes, sizeof *t->masks);
    t->log_probs = calloc(rows, row_bytes);
    t->smoothing = calloc(rows, sizeof *t->smoothing);
    if (t->dropout != NULL && t->groups != NULL && t->params != NULL && t->momentum != NULL && t->grads != NULL &&
        t->slices != NULL && t->trained != NULL && t->stale != NULL && t->options_of_param != NULL &&
        t->has_momentum != NULL && t->masks != NULL && t->log_probs != NULL && t->smoothing != NULL)
        return ANX_OK;
    return anx_error_set(err, ANX_ERR_OUT_OF_MEMORY, "out of memory");
}

anx_status anx_trainer_host_alloc(anx_trainer *t, int64_t n_elems, float **out, anx_error *err) {
    size_t bytes;
    if (!anx_checked_mul_size((size_t)n_elems, sizeof **out, &bytes) ||
        !anx_checked_mul_size(bytes, (size_t)t->batch, &bytes))
        return anx_error_set(err, ANX_ERR_INVALID_ARGUMENT, "a batch of %lld overflows the address space",
                             (long long)t->batch);
    void *memory = NULL;
    const anx_status status = anx_device_host_alloc(t->device, bytes, &memory, err);
    *out = memory;
    return status;
}

static anx_status alloc_logits(anx_trainer *t, anx_error *err) {
    const int64_t classes = anx_graph_node_elems(t->graph, t->graph->logits);
    const anx_status status = anx_trainer_host_alloc(t, classes, &t->logits_data, err);
    return status == ANX_OK ? anx_trainer_host_alloc(t, classes, &t->logits_grad, err) : status;
}

static anx_status copy_params(anx_trainer *t, const anx_trainer_options *o, const anx_tensor *params, anx_error *err) {
    anx_status status = ANX_OK;
    for (int i = 0; i < t->graph->n_params && status == ANX_OK; i++) {
        t->trained[i] = o->group_of_param[i] != ANX_TRAINER_FROZEN;
        t->slices[i] = (anx_sgd_slice){.group = o->group_of_param[i], .elems = (size_t)anx_tensor_elems(&params[i])};
        status = anx_trainer_check_tensor(t, i, &params[i], "the values", err);
        if (status == ANX_OK) status = anx_tensor_convert(&params[i], ANX_F32, &t->params[i], err);
    }
    return status;
}

anx_status anx_trainer_create(const anx_trainer_options *o, const anx_tensor *params, anx_trainer **out,
                              anx_error *err) {
    anx_status status = check_options(o, err);
    if (status != ANX_OK) return status;
    if (o->batch < 1)
        return anx_error_set(err, ANX_ERR_INVALID_ARGUMENT, "the batch size is %lld; it must be at least 1",
                             (long long)o->batch);
    anx_device_info info;
    anx_device_describe(o->device, &info);
    anx_trainer *t = calloc(1, sizeof *t);
    if (t == NULL) return anx_error_set(err, ANX_ERR_OUT_OF_MEMORY, "out of memory");
    *t = (anx_trainer){.graph = o->graph,
                       .device = o->device,
                       .batch = o->batch,
                       .label_smoothing = o->label_smoothing,
                       .n_groups = o->n_groups,
                       .device_masks = o->device_masks,
                       .threads = o->threads > 0     ? o->threads
                                  : info.threads > 0 ? info.threads
                                                     : 1};
    status = anx_train_kernels_select(&t->kernels, err);
    if (status == ANX_OK) status = alloc_arrays(t, err);
    if (status == ANX_OK) status = alloc_logits(t, err);
    if (status != ANX_OK) goto out;
    memcpy(t->groups, o->groups, (size_t)o->n_groups * sizeof *t->groups);
    settle_dropout(t, o);
    status = copy_params(t, o, params, err);
    if (status == ANX_OK) status = anx_trainer_ensure_plan(t, o->batch, err);
    if (status == ANX_OK && t->device_masks && !anx_plan_draws_masks(t->plan))
        status = anx_error_set(err, ANX_ERR_UNSUPPORTED, "device '%s' has no generator of its own for dropout masks",
                               info.device);
    if (status != ANX_OK) goto out;
    *out = t;
    t = NULL;
out:
    anx_trainer_destroy(t);
    return status;
}

void anx_trainer_destroy(anx_trainer *t) {
    if (t == NULL) return;
    if (t->plan != NULL) (void)anx_device_sync(t->device, NULL); /* it may still be reading what is here */
    for (int i = 0; i < t->graph->n_params; i++) {
        if (t->params != NULL) anx_tensor_fini(&t->params[i]);
        if (t->momentum != NULL) anx_tensor_fini(&t->momentum[i]);
        if (t->grads != NULL) anx_tensor_fini(&t->grads[i]);
    }
    anx_plan_destroy(t->plan);
    for (int i = 0; t->masks != NULL && i < t->graph->n_nodes; i++) anx_device_host_free(t->device, t->masks[i]);
    anx_device_host_free(t->device, t->logits_data);
    anx_device_host_free(t->device, t->logits_grad);
    free(t->dropout);
    free(t->groups);
    free(t->params);
    free(t->momentum);
    free(t->grads);
    free(t->slices);
    free(t->trained);
    free(t->stale);
    free(t->options_of_param);
    free(t->has_momentum);
    free(t->masks);
    free(t->log_probs);
    free(t->smoothing);
    free(t);
}

/* ---- steps ---------------------------------------------------------------------------------------------- */

static anx_status check_input(const anx_trainer *t, const anx_tensor *input, anx_error *err) {
    int64_t shape[4];
    const int64_t n = input->rank > 0 ? input->shape[0] : 0;
    const int rank = anx_graph_node_shape(t->graph, ANX_NODE_INPUT, n, shape);
    const anx_tensor expected = anx_tensor_view(ANX_F32, rank, shape, NULL);
    if (n >= 1 && n <= t->batch && input->dtype == ANX_F32 && anx_tensor_same_shape(input, &expected) &&
        anx_tensor_is_contiguous(input))
        return ANX_OK;
    char want[96], got[96];
    return anx_error_set(err, ANX_ERR_INVALID_ARGUMENT,
                         "a step takes contiguous float32 images, %s each and 1 to %lld of them, got %s%s %s",
                         anx_shape_format(rank - 1, shape + 1, want, sizeof want), (long long)t->batch,
                         anx_tensor_is_contiguous(input) ? "" : "strided ", anx_dtype_name(input->dtype),
                         anx_shape_format(input->rank, input->shape, got, sizeof got));
}

/* In place where the plan's memory can be filled while nothing runs; else by way of the trainer's. */
static anx_status write_mask(anx_trainer *t, anx_mt19937 *gen, int node, anx_error *err) {
    const anx_value value = {ANX_VALUE_MASK, node};
    int64_t shape[4];
    const int rank = anx_plan_value_shape(t->plan, value, shape);
    float *const in_place = t->resident ? NULL : anx_plan_host_pointer(t->plan, value);
    anx_status status = ANX_OK;
    if (in_place == NULL && t->masks[node] == NULL)
        status = anx_trainer_host_alloc(t, anx_graph_node_elems(t->graph, node), &t->masks[node], err);
    if (status != ANX_OK) return status;
    const anx_tensor mask = anx_tensor_view(ANX_F32, rank, shape, in_place != NULL ? in_place : t->masks[node]);
    anx_dropout_factors(gen, t->dropout[node], (size_t)anx_tensor_elems(&mask), mask.data);
    return in_place == NULL ? anx_plan_write(t->plan, value, &mask, err) : ANX_OK;
}

static anx_status write_masks(anx_trainer *t, anx_mt19937 *gen, anx_error *err) {
    anx_status status = ANX_OK;
    if (t->device_masks) return anx_plan_draw_masks(t->plan, t->dropout, anx_mt19937_u64(gen), err);
    for (int i = 0; i < t->graph->n_nodes && status == ANX_OK; i++)
        if (t->graph->nodes[i].layer->op == ANX_OP_DROPOUT) status = write_mask(t, gen, i, err);
    return status;
}

/* Waits for the logits, and so for everything that was under way. */
static anx_status run_forward(anx_trainer *t, anx_mt19937 *gen, const anx_tensor *input, anx_error *err) {
    anx_status status = anx_trainer_send_params(t, err);
    t->has_grads = false;
    if (status == ANX_OK) status = write_masks(t, gen, err);
    if (status == ANX_OK) status = anx_plan_forward(t->plan, input, &t->logits, err);
    if (status == ANX_OK) t->is_pending = false;
    return status;
}

static anx_status run_backward(anx_trainer *t, anx_error *err) {
    anx_tensor grad = t->logits;
    grad.data = t->logits_grad;
    anx_status status = anx_plan_write(t->plan, (anx_value){ANX_VALUE_GRAD, t->graph->logits}, &grad, err);
    if (status == ANX_OK) status = anx_plan_run_groups_backward(t->plan, 0, t->n_forward, err);
    if (status == ANX_OK && !t->resident) status = anx_device_sync(t->device, err);
    t->has_grads = status == ANX_OK;
    return status;
}

static anx_status update(anx_trainer *t, anx_error *err) {
    if (t->resident) return anx_trainer_begin_update(t, err);
    const anx_status status = anx_trainer_receive_grads(t, err);
    if (status != ANX_OK) return status;
    anx_sgd_step(t->kernels, t->groups, t->slices, t->graph->n_params, t->threads);
    for (int i = 0; i < t->graph->n_params; i++) t->stale[i] = t->trained[i] && t->params[i].owned != NULL;
    return ANX_OK;
}

/* From the logits on. */
static anx_status learn(anx_trainer *t, const anx_cross_entropy *ce, const anx_tensor *input, anx_trainer_result *out,
                        anx_error *err) {
    *out = (anx_trainer_result){.top1 = anx_top1_count(ce, t->logits_data)};
    out->loss = anx_cross_entropy_forward(t->kernels, ce, t->logits_data, t->log_probs, t->threads);
    if (!isfinite(out->loss)) return anx_trainer_find_nonfinite(t, input, out->loss, &out->nonfinite, err);
    anx_cross_entropy_backward(t->kernels, ce, t->log_probs, t->logits_grad, t->threads);
    const anx_status status = run_backward(t, err);
    return status == ANX_OK ? update(t, err) : status;
}

anx_status anx_trainer_step(anx_trainer *t, anx_mt19937 *gen, const anx_tensor *input, const int64_t *targets,
                            anx_trainer_result *result, anx_error *err) {
    const int64_t classes = anx_graph_node_elems(t->graph, t->graph->logits);
    anx_status status = check_input(t, input, err);
    if (status != ANX_OK) return status;
    const anx_cross_entropy ce = {.rows = input->shape[0],
                                  .classes = classes,
                                  .label_smoothing = t->label_smoothing,
                                  .targets = targets,
                                  .scratch = t->smoothing};
    status = anx_cross_entropy_check(&ce, err);
    if (status == ANX_OK) status = check_groups(t->groups, t->n_groups, err);
    if (status == ANX_OK) status = anx_trainer_check_state(t, err);
    if (status == ANX_OK) status = anx_trainer_ensure_plan(t, ce.rows, err);
    if (status != ANX_OK) return status;
    anx_trainer_result now;
    t->logits = anx_tensor_view(ANX_F32, 2, (const int64_t[]){ce.rows, classes}, t->logits_data);
    status = run_forward(t, gen, input, err);
    if (status == ANX_OK) status = learn(t, &ce, input, &now, err);
    if (status == ANX_OK)
        *result = now;
    else
        anx_trainer_after_failure(t, status);
    return status;
}

/* ---- access --------------------------------------------------------------------------------------------- */

const anx_tensor *anx_trainer_logits(const anx_trainer *t) {
    return &t->logits;
}

anx_status anx_trainer_grad(anx_trainer *t, int param, anx_tensor *out, anx_error *err) {
    anx_status status = anx_trainer_check_tensor(t, param, out, "the gradient", err);
    if (status != ANX_OK) return status;
    if (!t->has_grads)
        return anx_error_set(err, ANX_ERR_INVALID_ARGUMENT, "there are no gradients: no step went backward");
    status = anx_trainer_check_state(t, err);
    if (status == ANX_OK) status = anx_plan_read(t->plan, (anx_value){ANX_VALUE_PARAM_GRAD, param}, out, err);
    if (status == ANX_OK) status = anx_trainer_sync(t, err);
    if (status != ANX_OK) anx_trainer_after_failure(t, status);
    return status;
}

anx_plan *anx_trainer_plan(anx_trainer *t) {
    return t->plan;
}

anx_sgd_options *anx_trainer_groups(anx_trainer *t) {
    return t->groups;
}

const anx_tensor *anx_trainer_params(const anx_trainer *t) {
    return t->params;
}

const anx_tensor *anx_trainer_momentum(const anx_trainer *t, int param) {
    return t->slices[param].has_buffer ? &t->momentum[param] : NULL;
}
