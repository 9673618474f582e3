#include "tests/support/deferred_device.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "src/backend/backends.h"
#include "src/train/dropout_mask.h"
#include "src/train/sgd.h"

static const anx_backend *const inner = &anx_backend_exact;

typedef struct device device;

typedef struct plan {
    device *on;
    void *real;
    const anx_graph *graph;
    int64_t batch;
    float **momentum; /* (n_params): NULL before there was any */
} plan;

/* What was asked for and is not done yet. */
typedef struct job {
    deferred_call call;
    plan *of;
    anx_value value;
    anx_tensor host; /* its description; the memory is the caller's */
    int first, count;
    anx_sgd_options *options; /* n_params */
    bool *takes_step, *goes_on;
    double *dropout; /* n_nodes */
    uint64_t seed;
    bool fails;
} job;

struct device {
    void *real;
    job *jobs;
    size_t n_jobs, room;
};

/* ---- faults --------------------------------------------------------------------------------------------- */

static struct {
    deferred_call call;
    int nth;
    deferred_fault fault;
    bool lost;
    int counts[DEFERRED_CALLS], blocks;
    deferred_rounding rounding;
} now;

void deferred_fail(deferred_call call, int nth, deferred_fault fault) {
    now.call = call;
    now.nth = nth;
    now.fault = fault;
    now.lost = false;
    memset(now.counts, 0, sizeof now.counts);
}

int deferred_count(deferred_call call) {
    return now.counts[call];
}

void deferred_round(deferred_rounding rounding) {
    now.rounding = rounding;
}

int deferred_blocks(void) {
    return now.blocks;
}

static anx_status failure(deferred_call call, anx_error *err) {
    static const char *const names[DEFERRED_CALLS] = {"",    "write", "read", "run",    "backward",
                                                      "SGD", "masks", "sync", "create", "host_alloc"};
    now.lost = now.fault == DEFERRED_LOST;
    return anx_error_set(err, ANX_ERR_DEVICE, "the device failed: %s", names[call]);
}

/* Counts the call; *fails_later: it is to fail when it is done. */
static anx_status begin(deferred_call call, bool *fails_later, anx_error *err) {
    const bool hit = ++now.counts[call] == now.nth && call == now.call;
    if (now.lost) return anx_error_set(err, ANX_ERR_DEVICE, "the device is lost");
    if (fails_later != NULL) *fails_later = hit && now.fault != DEFERRED_AT_CALL;
    return hit && (fails_later == NULL || now.fault == DEFERRED_AT_CALL) ? failure(call, err) : ANX_OK;
}

/* ---- jobs ----------------------------------------------------------------------------------------------- */

static void *room_for(size_t n, size_t size) {
    void *memory = calloc(n + 1, size);
    if (memory == NULL) abort();
    return memory;
}

static void release(job *j) {
    free(j->options);
    free(j->takes_step);
    free(j->goes_on);
    free(j->dropout);
}

static anx_status add(plan *p, job j, anx_error *err) {
    device *d = p->on;
    j.of = p;
    const anx_status status = begin(j.call, &j.fails, err);
    if (status != ANX_OK) {
        release(&j);
        return status;
    }
    if (d->n_jobs == d->room) {
        d->room = 2 * d->room + 16;
        d->jobs = realloc(d->jobs, d->room * sizeof *d->jobs);
        if (d->jobs == NULL) abort();
    }
    d->jobs[d->n_jobs++] = j;
    return ANX_OK;
}

static anx_status read_real(const plan *p, anx_value value, anx_tensor *out, anx_error *err) {
    const anx_param *param = &p->graph->params[value.index];
    const anx_status status = anx_tensor_alloc(ANX_F32, param->rank, param->shape, out, err);
    return status == ANX_OK ? inner->plan_read(p->real, value, out, err) : status;
}

/* cublasSscal and cublasSaxpy without a fused multiply-add. */
static void step_apart(const anx_sgd_options *o, bool goes_on, size_t n, const float *grad, float *p, float *buf) {
    const float mu = (float)o->momentum, decay = now.rounding == DEFERRED_NO_DECAY ? 0.0f : (float)o->weight_decay;
    const float kept = goes_on ? (float)(1.0 - o->dampening) : 1.0f, minus_lr = (float)-o->lr;
    for (size_t i = 0; i < n; i++) {
        const float g = o->maximize ? -grad[i] : grad[i];
        const float held = goes_on && buf != NULL ? mu * buf[i] : 0.0f;
        const float next = held + kept * g + kept * (decay * p[i]);
        float d = next;
        if (buf != NULL && o->nesterov) d = mu * next + g + decay * p[i];
        if (buf != NULL) buf[i] = next;
        p[i] += minus_lr * d;
    }
}

static anx_status step_param(plan *p, const job *j, int i, anx_error *err) {
    const anx_value value = {ANX_VALUE_PARAM, i};
    const anx_sgd_options *o = &j->options[i];
    const anx_train_kernels *kernels = NULL;
    anx_tensor param = ANX_TENSOR_INIT, grad = ANX_TENSOR_INIT;
    const size_t n = (size_t)anx_param_elems(&p->graph->params[i]);
    if (o->momentum != 0.0 && p->momentum[i] == NULL) p->momentum[i] = room_for(n, sizeof **p->momentum);
    float *buffer = o->momentum != 0.0 ? p->momentum[i] : NULL;
    anx_status status = anx_train_kernels_select(&kernels, err);
    if (status == ANX_OK) status = read_real(p, value, &param, err);
    if (status == ANX_OK) status = read_real(p, (anx_value){ANX_VALUE_PARAM_GRAD, i}, &grad, err);
    if (status == ANX_OK && now.rounding != DEFERRED_AS_SGD) {
        step_apart(o, j->goes_on[i], n, grad.data, param.data, buffer);
    } else if (status == ANX_OK) {
        anx_sgd_slice slice = {
            .elems = n, .param = param.data, .grad = grad.data, .buffer = buffer, .has_buffer = j->goes_on[i]};
        anx_sgd_step(kernels, o, &slice, 1, 1);
    }
    if (status == ANX_OK) status = inner->plan_write(p->real, value, &param, err);
    anx_tensor_fini(&param);
    anx_tensor_fini(&grad);
    return status;
}

static anx_status step_params(plan *p, const job *j, anx_error *err) {
    anx_status status = ANX_OK;
    for (int i = 0; i < p->graph->n_params && status == ANX_OK; i++)
        if (j->takes_step[i]) status = step_param(p, j, i, err);
    return status;
}

static anx_status draw_masks(plan *p, const job *j, anx_error *err) {
    anx_status status = ANX_OK;
    anx_mt19937 gen;
    anx_mt19937_seed(&gen, j->seed);
    for (int node = 0; node < p->graph->n_nodes && status == ANX_OK; node++) {
        if (p->graph->nodes[node].layer->op != ANX_OP_DROPOUT) continue;
        int64_t shape[4];
        anx_tensor mask = ANX_TENSOR_INIT;
        const int rank = anx_graph_node_shape(p->graph, node, p->batch, shape);
        status = anx_tensor_alloc(ANX_F32, rank, shape, &mask, err);
        if (status != ANX_OK) break;
        anx_dropout_factors(&gen, j->dropout[node], (size_t)anx_tensor_elems(&mask), mask.data);
        status = inner->plan_write(p->real, (anx_value){ANX_VALUE_MASK, node}, &mask, err);
        anx_tensor_fini(&mask);
    }
    return status;
}

static size_t momentum_bytes(const plan *p, int param) {
    return (size_t)anx_param_elems(&p->graph->params[param]) * sizeof(float);
}

static anx_status move(plan *p, job *j, anx_error *err) {
    const bool out = j->call == DEFERRED_READ;
    const int i = j->value.index;
    if (j->value.kind != ANX_VALUE_MOMENTUM)
        return out ? inner->plan_read(p->real, j->value, &j->host, err)
                   : inner->plan_write(p->real, j->value, &j->host, err);
    if (p->momentum[i] == NULL) p->momentum[i] = room_for(momentum_bytes(p, i), 1);
    memcpy(out ? j->host.data : p->momentum[i], out ? p->momentum[i] : j->host.data, momentum_bytes(p, i));
    return ANX_OK;
}

static anx_status run_job(job *j, anx_error *err) {
    plan *p = j->of;
    if (j->fails) return failure(j->call, err);
    switch (j->call) {
    case DEFERRED_WRITE:
    case DEFERRED_READ: return move(p, j, err);
    case DEFERRED_RUN: return inner->plan_run(p->real, j->first, j->count, err);
    case DEFERRED_BACKWARD: return inner->plan_run_backward(p->real, j->first, j->count, err);
    case DEFERRED_SGD: return step_params(p, j, err);
    case DEFERRED_MASKS: return draw_masks(p, j, err);
    default: return anx_error_set(err, ANX_ERR_INTERNAL, "no job");
    }
}

static anx_status run_jobs(device *d, anx_error *err) {
    anx_status status = now.lost ? anx_error_set(err, ANX_ERR_DEVICE, "the device is lost") : ANX_OK;
    for (size_t i = 0; i < d->n_jobs; i++) {
        if (status == ANX_OK) status = run_job(&d->jobs[i], err);
        release(&d->jobs[i]);
    }
    d->n_jobs = 0;
    return status;
}

/* ---- devices -------------------------------------------------------------------------------------------- */

static int device_count(anx_error *err) {
    return inner->device_count(err);
}

static anx_status device_open(int ordinal, const anx_device_options *options, void **out, anx_error *err) {
    device *d = room_for(1, sizeof *d);
    const anx_status status = inner->device_open(ordinal, options, &d->real, err);
    if (status == ANX_OK)
        *out = d;
    else
        free(d);
    return status;
}

static void device_close(void *opaque) {
    device *d = opaque;
    inner->device_close(d->real);
    free(d->jobs);
    free(d);
}

static void device_info(const void *opaque, anx_device_info *out) {
    inner->device_info(((const device *)opaque)->real, out);
    out->pytorch_bits = now.rounding == DEFERRED_AS_SGD;
}

static anx_status device_sync(void *opaque, anx_error *err) {
    anx_status status = begin(DEFERRED_SYNC, NULL, err);
    if (status != ANX_OK) return status;
    return run_jobs(opaque, err);
}

static anx_status host_alloc(void *opaque, size_t bytes, void **out, anx_error *err) {
    (void)opaque;
    const anx_status status = begin(DEFERRED_HOST_ALLOC, NULL, err);
    if (status != ANX_OK) return status;
    if (posix_memalign(out, 64, bytes) != 0) abort();
    memset(*out, 0xff, bytes);
    now.blocks++;
    return ANX_OK;
}

static void host_free(void *opaque, void *memory) {
    (void)opaque;
    now.blocks--;
    free(memory);
}

/* ---- plans ---------------------------------------------------------------------------------------------- */

static void plan_destroy(void *opaque) {
    plan *p = opaque;
    (void)run_jobs(p->on, NULL);
    if (p->real != NULL) inner->plan_destroy(p->real);
    for (int i = 0; i < p->graph->n_params; i++) free(p->momentum[i]);
    free(p->momentum);
    free(p);
}

static anx_status plan_create(void *opaque, const anx_plan_desc *desc, void **out, anx_error *err) {
    device *d = opaque;
    anx_status status = begin(DEFERRED_CREATE, NULL, err);
    if (status != ANX_OK) return status;
    plan *p = room_for(1, sizeof *p);
    *p = (plan){.on = d,
                .graph = desc->graph,
                .batch = desc->batch,
                .momentum = room_for((size_t)desc->graph->n_params, sizeof *p->momentum)};
    status = inner->plan_create(d->real, desc, &p->real, err);
    if (status == ANX_OK)
        *out = p;
    else
        plan_destroy(p);
    return status;
}

static int plan_group_count(const void *opaque) {
    return inner->plan_group_count(((const plan *)opaque)->real);
}

static const anx_group *plan_group(const void *opaque, int group) {
    return inner->plan_group(((const plan *)opaque)->real, group);
}

static anx_status plan_write(void *opaque, anx_value value, const anx_tensor *host, anx_error *err) {
    return add(opaque, (job){.call = DEFERRED_WRITE, .value = value, .host = *host}, err);
}

static anx_status plan_read(void *opaque, anx_value value, anx_tensor *host, anx_error *err) {
    memset(host->data, 0xff, anx_tensor_bytes(host)); /* NaN, or -1 */
    return add(opaque, (job){.call = DEFERRED_READ, .value = value, .host = *host}, err);
}

static anx_status plan_run(void *opaque, int first, int count, anx_error *err) {
    return add(opaque, (job){.call = DEFERRED_RUN, .first = first, .count = count}, err);
}

static anx_status plan_run_backward(void *opaque, int first, int count, anx_error *err) {
    return add(opaque, (job){.call = DEFERRED_BACKWARD, .first = first, .count = count}, err);
}

static bool sets_momentum(const anx_sgd_options *options) {
    return options != NULL && options->momentum != 0.0;
}

static anx_status plan_sgd_step(void *opaque, const anx_sgd_options *const *options, bool *has_momentum,
                                anx_error *err) {
    plan *p = opaque;
    const size_t n = (size_t)p->graph->n_params;
    job j = {.call = DEFERRED_SGD,
             .options = room_for(n, sizeof *j.options),
             .takes_step = room_for(n, sizeof *j.takes_step),
             .goes_on = room_for(n, sizeof *j.goes_on)};
    for (size_t i = 0; i < n; i++) {
        j.takes_step[i] = options[i] != NULL;
        j.goes_on[i] = has_momentum[i] && sets_momentum(options[i]);
        if (options[i] != NULL) j.options[i] = *options[i];
    }
    const anx_status status = add(p, j, err);
    for (size_t i = 0; i < n && status == ANX_OK; i++) has_momentum[i] = has_momentum[i] || sets_momentum(options[i]);
    return status;
}

static anx_status plan_draw_masks(void *opaque, const double *dropout, uint64_t seed, anx_error *err) {
    plan *p = opaque;
    const size_t n = (size_t)p->graph->n_nodes;
    job j = {.call = DEFERRED_MASKS, .seed = seed, .dropout = room_for(n, sizeof *j.dropout)};
    memcpy(j.dropout, dropout, n * sizeof *j.dropout);
    return add(p, j, err);
}

const anx_backend deferred_backend = {
    .abi_version = ANX_BACKEND_ABI_VERSION,
    .name = "exact", /* so that nothing but its being late tells it from that one */
    .summary = "exact, as late as can be",
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
    .host_alloc = host_alloc,
    .host_free = host_free,
    .plan_sgd_step = plan_sgd_step,
    .plan_draw_masks = plan_draw_masks,
};
