#include "tests/support/rounded_device.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* ---- roundings ------------------------------------------------------------------------------------------ */

static float without_bits(float v, int dropped, bool nearest) {
    if (!isfinite(v)) return v;
    uint32_t bits;
    memcpy(&bits, &v, sizeof bits);
    if (nearest) bits += (1U << (dropped - 1)) - 1 + (bits >> dropped & 1);
    bits &= ~((1U << dropped) - 1);
    memcpy(&v, &bits, sizeof v);
    return v;
}

float rounded_tf32(float v) {
    return without_bits(v, 13, true);
}

float rounded_tf32_cut(float v) {
    return without_bits(v, 13, false);
}

float rounded_bf16(float v) {
    return without_bits(v, 16, true);
}

float rounded_bf16_cut(float v) {
    return without_bits(v, 16, false);
}

float rounded_f16(float v) {
    return anx_f16_to_f32(anx_f32_to_f16(v));
}

float (*rounded_find(const char *name))(float) {
    static const struct {
        const char *name;
        float (*round)(float);
    } all[] = {{"tf32", rounded_tf32},
               {"tf32-cut", rounded_tf32_cut},
               {"bf16", rounded_bf16},
               {"bf16-cut", rounded_bf16_cut},
               {"f16", rounded_f16}};
    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++)
        if (strcmp(all[i].name, name) == 0) return all[i].round;
    return NULL;
}

/* ---- devices -------------------------------------------------------------------------------------------- */

static struct {
    const anx_backend *inner;
    float (*round)(float);
    anx_math_mode math;
} now;

static anx_device_options float32_options(const anx_device_options *options) {
    anx_device_options o = *options;
    o.math = ANX_MATH_FLOAT32;
    return o;
}

void rounded_set(const anx_backend *inner, float (*round)(float), anx_math_mode math) {
    now.inner = inner;
    now.round = round;
    now.math = math;
}

static int device_count(anx_error *err) {
    return now.inner->device_count(err);
}

static anx_status device_open(int ordinal, const anx_device_options *options, void **out, anx_error *err) {
    const anx_device_options o = float32_options(options);
    return now.inner->device_open(ordinal, &o, out, err);
}

static void device_close(void *device) {
    now.inner->device_close(device);
}

static void device_info(const void *device, anx_device_info *out) {
    now.inner->device_info(device, out);
    out->math = now.math;
    out->pytorch_bits = false;
}

static anx_status device_sync(void *device, anx_error *err) {
    return now.inner->device_sync(device, err);
}

/* ---- plans ---------------------------------------------------------------------------------------------- */

typedef struct plan {
    const anx_graph *graph;
    anx_plan_mode mode;
    int64_t batch;
    void *real;             /* holds the rounded weights */
    anx_tensor *params;     /* n_params: as they were written; views of the caller's, or owned */
    anx_tensor *bias_grads; /* n_params: of biases, from gradients that were not rounded; empty before */
} plan;

static bool multiplies(const anx_graph *graph, int node) {
    return graph->nodes[node].layer->op == ANX_OP_CONV2D || graph->nodes[node].layer->op == ANX_OP_LINEAR;
}

/* The group's node that multiplies; -1: none does. */
static int node_of(const plan *p, const anx_group *group) {
    for (int i = 0; i < group->n_nodes; i++)
        if (multiplies(p->graph, group->nodes[i])) return group->nodes[i];
    return -1;
}

static anx_tensor rounded_copy(const anx_tensor *t) {
    anx_tensor copy = ANX_TENSOR_INIT;
    if (anx_tensor_convert(t, ANX_F32, &copy, NULL) != ANX_OK) abort();
    if (copy.owned == NULL) { /* a view where nothing had to be converted */
        anx_tensor own = ANX_TENSOR_INIT;
        if (anx_tensor_alloc(ANX_F32, copy.rank, copy.shape, &own, NULL) != ANX_OK) abort();
        memcpy(own.data, copy.data, anx_tensor_bytes(&copy));
        copy = own;
    }
    float *v = copy.data;
    for (int64_t i = 0; i < anx_tensor_elems(&copy); i++) v[i] = now.round(v[i]);
    return copy;
}

static anx_status write_param(plan *p, int index, const anx_tensor *host, anx_error *err) {
    const anx_value value = {ANX_VALUE_PARAM, index};
    if (p->graph->params[index].is_bias) return now.inner->plan_write(p->real, value, host, err);
    anx_tensor rounded = rounded_copy(host);
    const anx_status status = now.inner->plan_write(p->real, value, &rounded, err);
    anx_tensor_fini(&rounded);
    return status;
}

static void plan_destroy(void *impl) {
    plan *p = impl;
    if (p->real != NULL) now.inner->plan_destroy(p->real);
    for (int i = 0; i < p->graph->n_params; i++) {
        anx_tensor_fini(&p->params[i]);
        anx_tensor_fini(&p->bias_grads[i]);
    }
    free(p->params);
    free(p->bias_grads);
    free(p);
}

static anx_status plan_create(void *device, const anx_plan_desc *desc, void **out, anx_error *err) {
    plan *p = calloc(1, sizeof *p);
    if (p == NULL) abort();
    *p = (plan){.graph = desc->graph, .mode = desc->mode, .batch = desc->batch};
    p->params = calloc((size_t)desc->n_params + 1, sizeof *p->params);
    p->bias_grads = calloc((size_t)desc->n_params + 1, sizeof *p->bias_grads);
    if (p->params == NULL || p->bias_grads == NULL) abort();
    anx_status status = now.inner->plan_create(device, desc, &p->real, err);
    for (int i = 0; i < desc->n_params && status == ANX_OK; i++) {
        p->params[i] = desc->params[i];
        p->params[i].owned = NULL;
        status = write_param(p, i, &desc->params[i], err);
    }
    if (status == ANX_OK)
        *out = p;
    else
        plan_destroy(p);
    return status;
}

static int plan_group_count(const void *impl) {
    return now.inner->plan_group_count(((const plan *)impl)->real);
}

static const anx_group *plan_group(const void *impl, int group) {
    return now.inner->plan_group(((const plan *)impl)->real, group);
}

static anx_status plan_write(void *impl, anx_value value, const anx_tensor *host, anx_error *err) {
    plan *p = impl;
    if (value.kind != ANX_VALUE_PARAM) return now.inner->plan_write(p->real, value, host, err);
    anx_tensor own = ANX_TENSOR_INIT;
    anx_status status = anx_tensor_alloc(host->dtype, host->rank, host->shape, &own, err);
    if (status != ANX_OK) return status;
    memcpy(own.data, host->data, anx_tensor_bytes(host));
    anx_tensor_fini(&p->params[value.index]);
    p->params[value.index] = own;
    return write_param(p, value.index, host, err);
}

static anx_status copy_out(const anx_tensor *from, anx_tensor *host, anx_error *err) {
    anx_tensor converted = ANX_TENSOR_INIT;
    const anx_status status = anx_tensor_convert(from, host->dtype, &converted, err);
    if (status == ANX_OK) memcpy(host->data, converted.data, anx_tensor_bytes(host));
    anx_tensor_fini(&converted);
    return status;
}

static anx_status plan_read(void *impl, anx_value value, anx_tensor *host, anx_error *err) {
    plan *p = impl;
    if (value.kind == ANX_VALUE_PARAM) return copy_out(&p->params[value.index], host, err);
    if (value.kind == ANX_VALUE_PARAM_GRAD && p->bias_grads[value.index].data != NULL)
        return copy_out(&p->bias_grads[value.index], host, err);
    return now.inner->plan_read(p->real, value, host, err);
}

/* ---- running -------------------------------------------------------------------------------------------- */

/* Rounds an output or its gradient where it lies; what it was into *kept, which the caller owns. */
static anx_status round_value(plan *p, anx_value value, anx_tensor *kept, anx_error *err) {
    int64_t shape[4];
    const int rank = anx_graph_node_shape(p->graph, value.index, p->batch, shape);
    anx_status status = anx_tensor_alloc(ANX_F32, rank, shape, kept, err);
    if (status == ANX_OK) status = now.inner->plan_read(p->real, value, kept, err);
    if (status != ANX_OK) return status;
    anx_tensor rounded = rounded_copy(kept);
    status = now.inner->plan_write(p->real, value, &rounded, err);
    anx_tensor_fini(&rounded);
    return status;
}

static anx_status run_rounded(plan *p, int g, const anx_group *group, anx_error *err) {
    const anx_value x = anx_value_output(group->inputs[0]);
    anx_tensor kept = ANX_TENSOR_INIT;
    anx_status status = round_value(p, x, &kept, err);
    if (status == ANX_OK) status = now.inner->plan_run(p->real, g, 1, err);
    /* elsewhere its memory may be another value's by now */
    if (status == ANX_OK && p->mode != ANX_PLAN_INFER) status = now.inner->plan_write(p->real, x, &kept, err);
    anx_tensor_fini(&kept);
    return status;
}

static anx_status plan_run(void *impl, int first, int count, anx_error *err) {
    plan *p = impl;
    anx_status status = ANX_OK;
    for (int g = first; status == ANX_OK && g < first + count; g++) {
        const anx_group *group = plan_group(p, g);
        status = node_of(p, group) >= 0 ? run_rounded(p, g, group, err) : now.inner->plan_run(p->real, g, 1, err);
    }
    return status;
}

static anx_status keep_bias_grad(plan *p, int bias, anx_error *err) {
    if (bias == ANX_NO_PARAM) return ANX_OK;
    const anx_param *param = &p->graph->params[bias];
    anx_tensor grad = ANX_TENSOR_INIT;
    anx_status status = anx_tensor_alloc(ANX_F32, param->rank, param->shape, &grad, err);
    if (status == ANX_OK) status = now.inner->plan_read(p->real, (anx_value){ANX_VALUE_PARAM_GRAD, bias}, &grad, err);
    if (status != ANX_OK) { /* one that is not trained */
        anx_tensor_fini(&grad);
        return ANX_OK;
    }
    anx_tensor_fini(&p->bias_grads[bias]);
    p->bias_grads[bias] = grad;
    return ANX_OK;
}

/* Once as it is, for the bias, and once more on rounded operands. */
static anx_status run_back_rounded(plan *p, int g, const anx_group *group, anx_error *err) {
    const anx_value x = anx_value_output(group->inputs[0]);
    const anx_value dy = {ANX_VALUE_GRAD, group->nodes[group->n_nodes - 1]};
    anx_tensor kept_x = ANX_TENSOR_INIT, kept_dy = ANX_TENSOR_INIT;
    anx_status status = now.inner->plan_run_backward(p->real, g, 1, err);
    if (status == ANX_OK) status = keep_bias_grad(p, p->graph->nodes[node_of(p, group)].bias, err);
    if (status == ANX_OK) status = round_value(p, x, &kept_x, err);
    if (status == ANX_OK) status = round_value(p, dy, &kept_dy, err);
    if (status == ANX_OK) status = now.inner->plan_run_backward(p->real, g, 1, err);
    if (status == ANX_OK) status = now.inner->plan_write(p->real, x, &kept_x, err);
    if (status == ANX_OK) status = now.inner->plan_write(p->real, dy, &kept_dy, err);
    anx_tensor_fini(&kept_x);
    anx_tensor_fini(&kept_dy);
    return status;
}

static anx_status plan_run_backward(void *impl, int first, int count, anx_error *err) {
    plan *p = impl;
    anx_status status = ANX_OK;
    for (int g = first + count - 1; status == ANX_OK && g >= first; g--) {
        const anx_group *group = plan_group(p, g);
        anx_tensor probe = ANX_TENSOR_INIT;
        bool has_grad = node_of(p, group) >= 0;
        if (has_grad) { /* below the lowest trained parameter there is none to round */
            int64_t shape[4];
            const int last = group->nodes[group->n_nodes - 1],
                      rank = anx_graph_node_shape(p->graph, last, p->batch, shape);
            status = anx_tensor_alloc(ANX_F32, rank, shape, &probe, err);
            has_grad = status == ANX_OK &&
                       now.inner->plan_read(p->real, (anx_value){ANX_VALUE_GRAD, last}, &probe, NULL) == ANX_OK;
            anx_tensor_fini(&probe);
        }
        if (status != ANX_OK) break;
        status = has_grad ? run_back_rounded(p, g, group, err) : now.inner->plan_run_backward(p->real, g, 1, err);
    }
    return status;
}

const anx_backend rounded_backend = {
    .abi_version = ANX_BACKEND_ABI_VERSION,
    .name = "rounded",
    .summary = "a real backend with operands of fewer bits, for tests",
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
};
