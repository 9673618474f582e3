#include "src/backend/backend.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "src/backend/training.h"

struct anx_device {
    const anx_backend *backend;
    void *impl;
    char *notes; /* NULL: the backend's */
};

struct anx_plan {
    anx_device *device;
    const anx_graph *graph;
    int64_t batch;
    anx_plan_mode mode;
    anx_training *training; /* NULL for a plan of another mode than TRAIN */
    void *impl;
};

/* ---- devices -------------------------------------------------------------------------------------------- */

static const char *const math_modes[] = {
    [ANX_MATH_FLOAT32] = "float32", [ANX_MATH_TF32] = "tf32", [ANX_MATH_FAST] = "fast"};

const char *anx_math_mode_name(anx_math_mode mode) {
    return (size_t)mode < sizeof math_modes / sizeof math_modes[0] ? math_modes[mode] : "unknown";
}

bool anx_math_mode_find(const char *name, anx_math_mode *out) {
    for (size_t i = 0; i < sizeof math_modes / sizeof math_modes[0]; i++) {
        if (strcmp(math_modes[i], name) != 0) continue;
        *out = (anx_math_mode)i;
        return true;
    }
    return false;
}

static anx_status check_version(const anx_backend *backend, anx_error *err) {
    /* Nothing but the first member may be read before this: a plugin's table may have another layout. */
    if (backend->abi_version == ANX_BACKEND_ABI_VERSION) return ANX_OK;
    return anx_error_set(err, ANX_ERR_UNSUPPORTED, "the backend speaks interface version %u, this program %u",
                         backend->abi_version, ANX_BACKEND_ABI_VERSION);
}

const anx_backend *anx_backend_load(const anx_backend *backend, anx_error *err) {
    if (check_version(backend, err) != ANX_OK) return NULL;
    if (backend->load == NULL) return backend;
    const anx_backend *loaded = backend->load(err);
    return loaded != NULL && check_version(loaded, err) == ANX_OK ? loaded : NULL;
}

anx_status anx_device_open_backend(const anx_backend *known, int ordinal, const anx_device_options *options,
                                   anx_device **out, anx_error *err) {
    anx_error own = ANX_ERROR_INIT;
    if (err == NULL) err = &own; /* its status is what is returned */
    const anx_backend *backend = anx_backend_load(known, err);
    if (backend == NULL) return err->status;
    const int count = backend->device_count(err);
    if (count < 1) return err->status != ANX_OK ? err->status : ANX_ERR_NOT_FOUND;
    if (ordinal < 0 || ordinal >= count)
        return anx_error_set(err, ANX_ERR_NOT_FOUND, "there is no device %s:%d; the last one is %s:%d", backend->name,
                             ordinal, backend->name, count - 1);
    static const anx_device_options defaults = {.threads = 0};
    anx_device *device = calloc(1, sizeof *device);
    if (device == NULL) return anx_error_set(err, ANX_ERR_OUT_OF_MEMORY, "out of memory");
    device->backend = backend;
    anx_status status = backend->device_open(ordinal, options != NULL ? options : &defaults, &device->impl, err);
    if (status != ANX_OK) {
        free(device);
        return status;
    }
    *out = device;
    return ANX_OK;
}

static anx_status unknown_device(const char *name, anx_error *err) {
    char known[256] = "auto";
    for (int i = 0; anx_backend_at(i) != NULL; i++) {
        const size_t used = strlen(known);
        snprintf(known + used, sizeof known - used, ", %s", anx_backend_at(i)->name);
    }
    return anx_error_set(err, ANX_ERR_NOT_FOUND, "unknown device '%s'; known are: %s", name, known);
}

const anx_backend *anx_backend_find(const char *device) {
    const size_t length = strcspn(device, ":");
    for (int i = 0; anx_backend_at(i) != NULL; i++)
        if (strlen(anx_backend_at(i)->name) == length && strncmp(anx_backend_at(i)->name, device, length) == 0)
            return anx_backend_at(i);
    return NULL;
}

/* Why a device that is there is not the one taken, as the last of the notes. */
static anx_status note_passed_over(anx_device *device, const char *name, const char *why, anx_error *err) {
    static const char form[] = "%s%s'%s' has a device here that cannot be used: %.*s ('anx-parity devices' tells more)";
    anx_device_info info;
    anx_device_describe(device, &info);
    const char *notes = info.notes != NULL ? info.notes : "", *gap = *notes != '\0' ? "\n" : "";
    const int length = (int)strcspn(why, "\n");
    const int size = snprintf(NULL, 0, form, notes, gap, name, length, why) + 1;
    char *grown = malloc((size_t)size);
    if (grown == NULL) return anx_error_set(err, ANX_ERR_OUT_OF_MEMORY, "out of memory");
    snprintf(grown, (size_t)size, form, notes, gap, name, length, why);
    free(device->notes);
    device->notes = grown;
    return ANX_OK;
}

/* Whether a backend that did not open has a device all the same: something else is in the way. */
static bool has_device(const anx_backend *known) {
    const anx_backend *backend = anx_backend_load(known, NULL);
    return backend != NULL && backend->device_count(NULL) > 0;
}

static anx_status open_any(const anx_device_options *options, anx_device **out, anx_error *err) {
    anx_error why = ANX_ERROR_INIT;
    const char *passed_over = NULL;
    for (int i = 0; anx_backend_at(i) != NULL; i++) {
        const anx_backend *backend = anx_backend_at(i);
        if (backend->load != NULL) {
            anx_error own = ANX_ERROR_INIT;
            if (anx_device_open_backend(backend, 0, options, out, &own) == ANX_OK) return ANX_OK;
            if (passed_over != NULL || !has_device(backend)) continue;
            passed_over = backend->name;
            why = own;
        } else if (backend->device_count(NULL) > 0) {
            anx_status status = anx_device_open_backend(backend, 0, options, out, err);
            if (status != ANX_OK || passed_over == NULL) return status;
            status = note_passed_over(*out, passed_over, why.message, err);
            if (status == ANX_OK) return ANX_OK;
            anx_device_close(*out);
            *out = NULL;
            return status;
        }
    }
    return anx_error_set(err, ANX_ERR_NOT_FOUND, "no backend has a device here");
}

anx_status anx_device_open(const char *name, const anx_device_options *options, anx_device **out, anx_error *err) {
    if (strcmp(name, "auto") == 0) return open_any(options, out, err);
    const anx_backend *backend = anx_backend_find(name);
    if (backend == NULL) return unknown_device(name, err);
    const char *colon = strchr(name, ':');
    long ordinal = 0;
    if (colon != NULL) {
        char *end = NULL;
        ordinal = strtol(colon + 1, &end, 10);
        if (end == colon + 1 || *end != '\0' || ordinal < 0 || ordinal > 1 << 16) return unknown_device(name, err);
    }
    return anx_device_open_backend(backend, (int)ordinal, options, out, err);
}

void anx_device_close(anx_device *device) {
    if (device == NULL) return;
    device->backend->device_close(device->impl);
    free(device->notes);
    free(device);
}

void anx_device_describe(const anx_device *device, anx_device_info *out) {
    device->backend->device_info(device->impl, out);
    if (device->notes != NULL) out->notes = device->notes;
}

anx_status anx_device_sync(anx_device *device, anx_error *err) {
    return device->backend->device_sync(device->impl, err);
}

anx_status anx_device_host_alloc(anx_device *device, size_t bytes, void **out, anx_error *err) {
    if (device->backend->host_alloc != NULL) return device->backend->host_alloc(device->impl, bytes, out, err);
    if (posix_memalign(out, 64, bytes) == 0) return ANX_OK;
    return anx_error_set(err, ANX_ERR_OUT_OF_MEMORY, "no memory for %zu bytes", bytes);
}

void anx_device_host_free(anx_device *device, void *memory) {
    if (memory == NULL) return;
    if (device->backend->host_free != NULL)
        device->backend->host_free(device->impl, memory);
    else
        free(memory);
}

/* ---- plans ---------------------------------------------------------------------------------------------- */

static anx_status check_params(const anx_plan_desc *desc, anx_error *err) {
    const anx_graph *graph = desc->graph;
    if (desc->n_params != graph->n_params)
        return anx_error_set(err, ANX_ERR_INVALID_ARGUMENT, "a plan for '%s' takes %d parameters, got %d",
                             graph->arch->name, graph->n_params, desc->n_params);
    for (int i = 0; i < graph->n_params; i++) {
        const anx_param *p = &graph->params[i];
        const anx_tensor expected = anx_tensor_view(ANX_F32, p->rank, p->shape, NULL), *t = &desc->params[i];
        if (t->dtype == ANX_F32 && anx_tensor_same_shape(t, &expected) && anx_tensor_is_contiguous(t) &&
            t->data != NULL)
            continue;
        char want[96], got[96];
        return anx_error_set(err, ANX_ERR_INVALID_ARGUMENT, "parameter '%s' must be contiguous float32 %s, got %s%s %s",
                             p->name, anx_shape_format(p->rank, p->shape, want, sizeof want),
                             anx_tensor_is_contiguous(t) ? "" : "strided ", anx_dtype_name(t->dtype),
                             anx_shape_format(t->rank, t->shape, got, sizeof got));
    }
    return ANX_OK;
}

anx_status anx_plan_create(anx_device *device, const anx_plan_desc *desc, anx_plan **out, anx_error *err) {
    if (desc->mode == ANX_PLAN_TRAIN && device->backend->plan_run_backward == NULL)
        return anx_error_set(err, ANX_ERR_UNSUPPORTED, "device '%s' has no plans for training", device->backend->name);
    if (desc->batch < 1)
        return anx_error_set(err, ANX_ERR_INVALID_ARGUMENT, "the batch size is %lld; it must be at least 1",
                             (long long)desc->batch);
    for (int node = ANX_NODE_INPUT; node < desc->graph->n_nodes; node++) {
        int64_t shape[4], elems = 0;
        const int rank = anx_graph_node_shape(desc->graph, node, desc->batch, shape);
        if (!anx_shape_elems(rank, shape, &elems) || elems > INT64_MAX / 16)
            return anx_error_set(err, ANX_ERR_INVALID_ARGUMENT, "a batch of %lld overflows the address space",
                                 (long long)desc->batch);
    }
    anx_status status = check_params(desc, err);
    if (status != ANX_OK) return status;
    anx_plan *plan = calloc(1, sizeof *plan);
    if (plan == NULL) return anx_error_set(err, ANX_ERR_OUT_OF_MEMORY, "out of memory");
    *plan = (anx_plan){.device = device, .graph = desc->graph, .batch = desc->batch, .mode = desc->mode};
    status = device->backend->plan_create(device->impl, desc, &plan->impl, err);
    if (status != ANX_OK) {
        free(plan);
        return status;
    }
    if (desc->mode == ANX_PLAN_TRAIN) status = anx_training_create(plan, desc->trained, &plan->training, err);
    if (status != ANX_OK) {
        anx_plan_destroy(plan);
        return status;
    }
    *out = plan;
    return ANX_OK;
}

void anx_plan_destroy(anx_plan *plan) {
    if (plan == NULL) return;
    plan->device->backend->plan_destroy(plan->impl);
    anx_training_destroy(plan->training);
    free(plan);
}

const anx_graph *anx_plan_graph(const anx_plan *plan) {
    return plan->graph;
}

int64_t anx_plan_batch(const anx_plan *plan) {
    return plan->batch;
}

anx_plan_mode anx_plan_get_mode(const anx_plan *plan) {
    return plan->mode;
}

int anx_plan_group_count(const anx_plan *plan) {
    return plan->device->backend->plan_group_count(plan->impl);
}

const anx_group *anx_plan_group(const anx_plan *plan, int group) {
    return plan->device->backend->plan_group(plan->impl, group);
}

int anx_plan_group_of_node(const anx_plan *plan, int node) {
    for (int i = 0; i < anx_plan_group_count(plan); i++) {
        const anx_group *group = anx_plan_group(plan, i);
        if (group->nodes[group->n_nodes - 1] == node) return i;
    }
    return -1;
}

/* ---- values --------------------------------------------------------------------------------------------- */

static bool value_is_valid(const anx_plan *plan, anx_value value) {
    switch (value.kind) {
    case ANX_VALUE_OUTPUT:
    case ANX_VALUE_GRAD: return value.index >= ANX_NODE_INPUT && value.index < plan->graph->n_nodes;
    case ANX_VALUE_PARAM:
    case ANX_VALUE_PARAM_GRAD:
    case ANX_VALUE_MOMENTUM: return value.index >= 0 && value.index < plan->graph->n_params;
    case ANX_VALUE_MASK:
        return value.index >= 0 && value.index < plan->graph->n_nodes &&
               plan->graph->nodes[value.index].layer->op == ANX_OP_DROPOUT;
    case ANX_VALUE_ARGMAX:
        return value.index >= 0 && value.index < plan->graph->n_nodes &&
               plan->graph->nodes[value.index].layer->op == ANX_OP_MAX_POOL2D;
    }
    return false;
}

/* Whether index counts parameters, not nodes. */
static bool is_of_param(anx_value value) {
    return value.kind == ANX_VALUE_PARAM || value.kind == ANX_VALUE_PARAM_GRAD || value.kind == ANX_VALUE_MOMENTUM;
}

int anx_plan_value_shape(const anx_plan *plan, anx_value value, int64_t shape[4]) {
    if (is_of_param(value)) {
        const anx_param *p = &plan->graph->params[value.index];
        memcpy(shape, p->shape, sizeof p->shape);
        return p->rank;
    }
    return anx_graph_node_shape(plan->graph, value.index, plan->batch, shape);
}

static const char *value_name(const anx_plan *plan, anx_value value) {
    if (is_of_param(value)) return plan->graph->params[value.index].name;
    return value.index == ANX_NODE_INPUT ? "input" : plan->graph->nodes[value.index].layer->name;
}

static anx_status check_host(const anx_plan *plan, anx_value value, const anx_tensor *host, anx_error *err) {
    if (!value_is_valid(plan, value))
        return anx_error_set(err, ANX_ERR_INVALID_ARGUMENT, "there is no value of kind %d with index %d",
                             (int)value.kind, value.index);
    int64_t shape[4];
    const int rank = anx_plan_value_shape(plan, value, shape);
    const bool argmax = value.kind == ANX_VALUE_ARGMAX;
    const anx_tensor expected = anx_tensor_view(argmax ? ANX_I64 : ANX_F32, rank, shape, NULL);
    const bool dtype_fits = argmax ? host->dtype == ANX_I64 : host->dtype == ANX_F32 || host->dtype == ANX_F64;
    if (dtype_fits && anx_tensor_same_shape(host, &expected) && anx_tensor_is_contiguous(host)) return ANX_OK;
    char want[96], got[96];
    return anx_error_set(err, ANX_ERR_INVALID_ARGUMENT, "'%s' is copied to and from contiguous %s %s, got %s %s",
                         value_name(plan, value), argmax ? "int64" : "float32 or float64",
                         anx_shape_format(rank, shape, want, sizeof want), anx_dtype_name(host->dtype),
                         anx_shape_format(host->rank, host->shape, got, sizeof got));
}

static anx_status check_momentum(const anx_plan *plan, anx_value value, anx_error *err) {
    if (value.kind != ANX_VALUE_MOMENTUM || anx_plan_has_sgd(plan)) return ANX_OK;
    return anx_error_set(err, ANX_ERR_UNSUPPORTED, "plans of device '%s' keep no momentum",
                         plan->device->backend->name);
}

anx_status anx_plan_write(anx_plan *plan, anx_value value, const anx_tensor *host, anx_error *err) {
    anx_status status = check_host(plan, value, host, err);
    if (status == ANX_OK) status = check_momentum(plan, value, err);
    if (status == ANX_OK) status = anx_training_check_value(plan->training, plan, value, host, err);
    if (status == ANX_OK) status = plan->device->backend->plan_write(plan->impl, value, host, err);
    if (status == ANX_OK && plan->training != NULL) anx_training_wrote(plan->training, value);
    return status;
}

anx_status anx_plan_read(anx_plan *plan, anx_value value, anx_tensor *host, anx_error *err) {
    anx_status status = check_host(plan, value, host, err);
    if (status == ANX_OK) status = check_momentum(plan, value, err);
    if (status == ANX_OK) status = anx_training_check_value(plan->training, plan, value, NULL, err);
    return status != ANX_OK ? status : plan->device->backend->plan_read(plan->impl, value, host, err);
}

static anx_status check_groups(const anx_plan *plan, int first, int count, anx_error *err) {
    const int groups = anx_plan_group_count(plan);
    if (first >= 0 && count >= 0 && first <= groups - count) return ANX_OK;
    return anx_error_set(err, ANX_ERR_INVALID_ARGUMENT, "groups %d to %d of a plan that has %d", first,
                         first + count - 1, groups);
}

anx_status anx_plan_run_groups(anx_plan *plan, int first, int count, anx_error *err) {
    anx_status status = check_groups(plan, first, count, err);
    if (status == ANX_OK) status = plan->device->backend->plan_run(plan->impl, first, count, err);
    if (status == ANX_OK && plan->training != NULL) anx_training_ran(plan->training, first, count);
    return status;
}

anx_status anx_plan_run_groups_backward(anx_plan *plan, int first, int count, anx_error *err) {
    anx_status status = check_groups(plan, first, count, err);
    if (status == ANX_OK) status = anx_training_check_backward(plan->training, plan, first, count, err);
    if (status == ANX_OK) status = plan->device->backend->plan_run_backward(plan->impl, first, count, err);
    if (status == ANX_OK && plan->training != NULL) anx_training_ran_backward(plan->training, plan, first, count);
    return status;
}

anx_status anx_plan_run(anx_plan *plan, anx_error *err) {
    return anx_plan_run_groups(plan, 0, anx_plan_group_count(plan), err);
}

float *anx_plan_host_pointer(anx_plan *plan, anx_value value) {
    const anx_backend *backend = plan->device->backend;
    if (backend->plan_host_pointer == NULL || !value_is_valid(plan, value) ||
        !anx_training_has_value(plan->training, value))
        return NULL;
    float *const address = backend->plan_host_pointer(plan->impl, value);
    if (address != NULL && plan->training != NULL) anx_training_wrote(plan->training, value); /* as it may be, now */
    return address;
}

/* ---- training where the values lie ----------------------------------------------------------------------- */

bool anx_plan_has_sgd(const anx_plan *plan) {
    return plan->mode == ANX_PLAN_TRAIN && plan->device->backend->plan_sgd_step != NULL;
}

anx_status anx_plan_sgd_step(anx_plan *plan, const anx_sgd_options *const *options, bool *has_momentum,
                             anx_error *err) {
    if (anx_plan_has_sgd(plan)) return plan->device->backend->plan_sgd_step(plan->impl, options, has_momentum, err);
    return anx_error_set(err, ANX_ERR_UNSUPPORTED, "plans of device '%s' take no steps of SGD by themselves",
                         plan->device->backend->name);
}

bool anx_plan_draws_masks(const anx_plan *plan) {
    return plan->mode == ANX_PLAN_TRAIN && plan->device->backend->plan_draw_masks != NULL;
}

anx_status anx_plan_draw_masks(anx_plan *plan, const double *dropout, uint64_t seed, anx_error *err) {
    if (anx_plan_draws_masks(plan)) return plan->device->backend->plan_draw_masks(plan->impl, dropout, seed, err);
    return anx_error_set(err, ANX_ERR_UNSUPPORTED, "device '%s' has no generator of its own for dropout masks",
                         plan->device->backend->name);
}

anx_status anx_plan_forward(anx_plan *plan, const anx_tensor *input, anx_tensor *logits, anx_error *err) {
    const int last = anx_plan_group_of_node(plan, plan->graph->logits);
    if (last < 0)
        return anx_error_set(err, ANX_ERR_INTERNAL, "the plan's groups end before and after the logits, not at them");
    anx_status status = anx_plan_write(plan, anx_value_output(ANX_NODE_INPUT), input, err);
    if (status == ANX_OK) status = anx_plan_run_groups(plan, 0, last + 1, err);
    if (status == ANX_OK) status = anx_plan_read(plan, anx_value_output(plan->graph->logits), logits, err);
    if (status == ANX_OK) status = anx_device_sync(plan->device, err);
    return status;
}
