#include "tests/faults/training_faults.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "tests/faults/plain.h"

/* What device_open finds: the table of functions carries no data of its own. */
static const training_fault_options *current;
static const anx_backend *inner;

typedef struct plan {
    const training_fault_options *options;
    const anx_graph *graph;
    int64_t batch;
    anx_plan_mode mode;
    void *real;
} plan;

static int device_count(anx_error *err) {
    return inner->device_count(err);
}

static anx_status device_open(int ordinal, const anx_device_options *options, void **out, anx_error *err) {
    return inner->device_open(ordinal, options, out, err);
}

static void device_close(void *device) {
    inner->device_close(device);
}

static void device_info(const void *device, anx_device_info *out) {
    inner->device_info(device, out);
    out->backend = "faulty";
    out->pytorch_bits = current->pytorch_bits;
}

static anx_status device_sync(void *device, anx_error *err) {
    return inner->device_sync(device, err);
}

static void plan_destroy(void *impl) {
    plan *p = impl;
    if (p == NULL) return;
    if (p->real != NULL) inner->plan_destroy(p->real);
    free(p);
}

static anx_status plan_create(void *device, const anx_plan_desc *desc, void **out, anx_error *err) {
    plan *p = calloc(1, sizeof *p);
    if (p == NULL) abort();
    *p = (plan){.options = current, .graph = desc->graph, .batch = desc->batch, .mode = desc->mode};
    const anx_status status = inner->plan_create(device, desc, &p->real, err);
    if (status != ANX_OK)
        plan_destroy(p);
    else
        *out = p;
    return status;
}

static int plan_group_count(const void *impl) {
    return inner->plan_group_count(((const plan *)impl)->real);
}

static const anx_group *plan_group(const void *impl, int group) {
    return inner->plan_group(((const plan *)impl)->real, group);
}

/* ---- values ----------------------------------------------------------------------------------------------- */

static bool is(const plan *p, training_fault fault, const char *name) {
    return p->options->fault == fault && strcmp(p->options->where, name) == 0;
}

static anx_status plan_write(void *impl, anx_value value, const anx_tensor *host, anx_error *err) {
    plan *p = impl;
    if (value.kind != ANX_VALUE_MASK || !is(p, TRAINING_FAULT_MASK_UNSCALED, p->graph->nodes[value.index].layer->name))
        return inner->plan_write(p->real, value, host, err);
    anx_tensor mask = ANX_TENSOR_INIT;
    if (anx_tensor_convert(host, ANX_F32, &mask, err) != ANX_OK) abort();
    float *factor = mask.data;
    for (int64_t i = 0; i < anx_tensor_elems(&mask); i++) factor[i] = factor[i] != 0 ? 1 : 0;
    const anx_status status = inner->plan_write(p->real, value, &mask, err);
    anx_tensor_fini(&mask);
    return status;
}

static void spoil_gradient(plan *p, const char *name, float *grad, int64_t n) {
    if (is(p, TRAINING_FAULT_BIAS_MISSING, name)) memset(grad, 0, (size_t)n * sizeof *grad);
    int64_t largest = 0;
    for (int64_t i = 0; i < n; i++) {
        if (fabsf(grad[i]) > fabsf(grad[largest])) largest = i;
        if (is(p, TRAINING_FAULT_GRAD_BF16, name)) grad[i] = plain_round(grad[i], FORMAT_BF16);
    }
    if (is(p, TRAINING_FAULT_GRAD_OFF, name)) grad[largest] *= 1.0001f;
}

static anx_status plan_read(void *impl, anx_value value, anx_tensor *host, anx_error *err) {
    plan *p = impl;
    const anx_status status = inner->plan_read(p->real, value, host, err);
    if (status == ANX_OK && value.kind == ANX_VALUE_PARAM_GRAD && host->dtype == ANX_F32)
        spoil_gradient(p, p->graph->params[value.index].name, host->data, anx_tensor_elems(host));
    if (status == ANX_OK && p->mode == ANX_PLAN_TRAIN && p->options->fault == TRAINING_FAULT_LOGIT_NAN &&
        value.kind == ANX_VALUE_OUTPUT && value.index == p->graph->logits)
        ((float *)host->data)[1] = NAN;
    return status;
}

static float *plan_host_pointer(void *impl, anx_value value) {
    plan *p = impl;
    /* all but parameters goes through read and write, where it can be spoilt */
    const bool passes = value.kind != ANX_VALUE_PARAM;
    return passes || inner->plan_host_pointer == NULL ? NULL : inner->plan_host_pointer(p->real, value);
}

/* ---- running ---------------------------------------------------------------------------------------------- */

static anx_tensor alloc_value(const plan *p, int node, anx_dtype dtype) {
    int64_t shape[4];
    const int rank = anx_graph_node_shape(p->graph, node, p->batch, shape);
    anx_tensor t;
    if (anx_tensor_alloc(dtype, rank, shape, &t, NULL) != ANX_OK) abort();
    return t;
}

/* The winner is the last of the window's largest. */
static int64_t last_winner(const anx_node *nd, const float *plane, int64_t oh, int64_t ow) {
    const anx_pool2d_params *k = &nd->layer->u.pool;
    int64_t best = -1;
    for (int64_t y = oh * k->stride_h - k->pad_h; y < oh * k->stride_h - k->pad_h + k->kernel_h; y++)
        for (int64_t x = ow * k->stride_w - k->pad_w; x < ow * k->stride_w - k->pad_w + k->kernel_w; x++) {
            if (y < 0 || x < 0 || y >= nd->in.dim[1] || x >= nd->in.dim[2]) continue;
            const int64_t at = y * nd->in.dim[2] + x;
            if (best < 0 || plane[at] >= plane[best]) best = at;
        }
    return best;
}

static anx_status take_last_winners(plan *p, int node, anx_error *err) {
    const anx_node *nd = &p->graph->nodes[node];
    anx_tensor x = alloc_value(p, nd->inputs[0], ANX_F32), winners = alloc_value(p, node, ANX_I64);
    anx_status status = inner->plan_read(p->real, anx_value_output(nd->inputs[0]), &x, err);
    int64_t *out = winners.data;
    const float *plane = x.data;
    for (int64_t i = 0; i < p->batch * nd->in.dim[0]; i++, plane += nd->in.dim[1] * nd->in.dim[2])
        for (int64_t oh = 0; oh < nd->out.dim[1]; oh++)
            for (int64_t ow = 0; ow < nd->out.dim[2]; ow++) *out++ = last_winner(nd, plane, oh, ow);
    if (status == ANX_OK) status = inner->plan_write(p->real, (anx_value){ANX_VALUE_ARGMAX, node}, &winners, err);
    anx_tensor_fini(&x);
    anx_tensor_fini(&winners);
    return status;
}

static anx_status plan_run(void *impl, int first, int count, anx_error *err) {
    plan *p = impl;
    anx_status status = ANX_OK;
    for (int g = first; status == ANX_OK && g < first + count; g++) {
        const int node = plan_group(p, g)->nodes[0];
        status = inner->plan_run(p->real, g, 1, err);
        if (status == ANX_OK && p->mode == ANX_PLAN_TRAIN &&
            is(p, TRAINING_FAULT_POOL_LAST, p->graph->nodes[node].layer->name))
            status = take_last_winners(p, node, err);
    }
    return status;
}

static anx_status drop_channel(plan *p, int node, anx_error *err) {
    anx_tensor grad = alloc_value(p, node, ANX_F32);
    const anx_value value = {ANX_VALUE_GRAD, node};
    anx_status status = inner->plan_read(p->real, value, &grad, err);
    float *data = grad.data;
    const int64_t plane = anx_tensor_elems(&grad) / grad.shape[0] / grad.shape[1];
    if (status == ANX_OK) memset(data, 0, (size_t)plane * sizeof *data);
    if (status == ANX_OK) status = inner->plan_write(p->real, value, &grad, err);
    anx_tensor_fini(&grad);
    return status;
}

static anx_status plan_run_backward(void *impl, int first, int count, anx_error *err) {
    plan *p = impl;
    anx_status status = ANX_OK;
    for (int g = first + count - 1; status == ANX_OK && g >= first; g--) {
        const int source = plan_group(p, g)->inputs[0];
        status = inner->plan_run_backward(p->real, g, 1, err);
        if (status == ANX_OK && source != ANX_NODE_INPUT &&
            is(p, TRAINING_FAULT_INPUT_CHANNEL, p->graph->nodes[source].layer->name))
            status = drop_channel(p, source, err);
    }
    return status;
}

static const anx_backend faulty_backend = {
    .abi_version = ANX_BACKEND_ABI_VERSION,
    .name = "faulty",
    .summary = "a real backend with something changed in training, for tests",
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

anx_status training_fault_open(const training_fault_options *options, int threads, anx_device **out, anx_error *err) {
    const anx_backend *listed = anx_backend_find(options->inner);
    if (listed == NULL) return anx_error_set(err, ANX_ERR_NOT_FOUND, "there is no backend '%s'", options->inner);
    inner = anx_backend_load(listed, err);
    if (inner == NULL) return err->status;
    current = options;
    const anx_device_options device = {.threads = threads};
    return anx_device_open_backend(&faulty_backend, 0, &device, out, err);
}

/* ---- steps ------------------------------------------------------------------------------------------------ */

/* A step with these options in place of the trainer's, which it has back afterwards. */
static anx_status step_with(anx_trainer *t, const anx_sgd_options *options, anx_mt19937 *gen, const anx_tensor *input,
                            const int64_t *targets, anx_trainer_result *result, anx_error *err) {
    const anx_sgd_options asked = anx_trainer_groups(t)[0];
    anx_trainer_groups(t)[0] = *options;
    const anx_status status = anx_trainer_step(t, gen, input, targets, result, err);
    anx_trainer_groups(t)[0] = asked;
    return status;
}

anx_status step_without_decay(anx_trainer *t, anx_mt19937 *gen, const anx_tensor *input, const int64_t *targets,
                              anx_trainer_result *result, anx_error *err) {
    anx_sgd_options options = anx_trainer_groups(t)[0];
    options.weight_decay = 0;
    return step_with(t, &options, gen, input, targets, result, err);
}

anx_status step_with_less_momentum(anx_trainer *t, anx_mt19937 *gen, const anx_tensor *input, const int64_t *targets,
                                   anx_trainer_result *result, anx_error *err) {
    anx_sgd_options options = anx_trainer_groups(t)[0];
    options.momentum *= 0.999;
    return step_with(t, &options, gen, input, targets, result, err);
}

anx_status step_forgetting_momentum(anx_trainer *t, anx_mt19937 *gen, const anx_tensor *input, const int64_t *targets,
                                    anx_trainer_result *result, anx_error *err) {
    for (int i = 0; anx_trainer_momentum(t, i) != NULL && i < 2; i++) anx_trainer_set_momentum(t, i, NULL, NULL);
    return anx_trainer_step(t, gen, input, targets, result, err);
}

anx_status step_with_nesterov(anx_trainer *t, anx_mt19937 *gen, const anx_tensor *input, const int64_t *targets,
                              anx_trainer_result *result, anx_error *err) {
    anx_sgd_options options = anx_trainer_groups(t)[0];
    options.nesterov = true;
    return step_with(t, &options, gen, input, targets, result, err);
}

anx_status step_drawing_once_more(anx_trainer *t, anx_mt19937 *gen, const anx_tensor *input, const int64_t *targets,
                                  anx_trainer_result *result, anx_error *err) {
    const anx_status status = anx_trainer_step(t, gen, input, targets, result, err);
    (void)anx_mt19937_u32(gen);
    return status;
}

anx_status step_with_wrong_targets(anx_trainer *t, anx_mt19937 *gen, const anx_tensor *input, const int64_t *targets,
                                   anx_trainer_result *result, anx_error *err) {
    int64_t *others = malloc((size_t)input->shape[0] * sizeof *others);
    if (others == NULL) abort();
    for (int64_t i = 0; i < input->shape[0]; i++) others[i] = targets[0];
    const anx_status status = anx_trainer_step(t, gen, input, others, result, err);
    free(others);
    return status;
}

/* ---- schedules -------------------------------------------------------------------------------------------- */

void schedule_one_epoch_late(anx_scheduler *s, double metric, double *lr) {
    if (s->last_epoch > 0 || s->step_count > 1)
        anx_scheduler_step(s, metric, lr);
    else
        s->step_count++;
}

void schedule_in_closed_form(anx_scheduler *s, double metric, double *lr) {
    anx_scheduler_step(s, metric, lr);
    *lr = s->base_lrs[0] * pow(s->options.gamma, (double)(s->last_epoch / s->options.step_size));
}
