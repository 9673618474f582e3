/*
 * torch.optim.SGD on the arenas, by cuBLAS: the arithmetic of src/train/sgd.h, but that cuBLAS decides whether a
 * product and a sum are rounded once or twice.
 */
#include "src/backend/cuda/plan.h"

/* Elements of the arenas that are updated together. */
typedef struct stretch {
    size_t first, elems;
    const anx_sgd_options *options;
    bool has_momentum;
} stretch;

static bool same_options(const anx_sgd_options *a, const anx_sgd_options *b) {
    return a->lr == b->lr && a->momentum == b->momentum && a->dampening == b->dampening &&
           a->weight_decay == b->weight_decay && a->nesterov == b->nesterov && a->maximize == b->maximize;
}

/* g = maximize ? -grad : grad, with weight decay: *out is where it lies. */
static anx_status decayed(const anx_cuda_plan *plan, const stretch *s, float **out, anx_error *err) {
    const anx_sgd_options *o = s->options;
    float *grad = plan->grad_arena + s->first;
    *out = grad;
    if (o->weight_decay == 0.0 && !o->maximize) return ANX_OK;
    *out = plan->update;
    return anx_cublas_combine(&plan->device->blas, (int64_t)s->elems, o->maximize ? -1.0f : 1.0f, grad,
                              (float)o->weight_decay, plan->param_arena + s->first, plan->update, err);
}

/* buf = g the first time; later buf = (1 - dampening) g + momentum buf. Then what the parameter moves along. */
static anx_status with_momentum(const anx_cuda_plan *plan, const stretch *s, float **g, anx_error *err) {
    const anx_sgd_options *o = s->options;
    const anx_cublas *blas = &plan->device->blas;
    const int64_t n = (int64_t)s->elems;
    float *buffer = plan->momentum_arena + s->first;
    if (o->momentum == 0.0) return ANX_OK;
    anx_status status = s->has_momentum ? anx_cublas_combine(blas, n, (float)(1.0 - o->dampening), *g,
                                                             (float)o->momentum, buffer, buffer, err)
                                        : anx_cuda_copy(plan->device, buffer, *g, n, err);
    if (status == ANX_OK && o->nesterov)
        status = anx_cublas_combine(blas, n, 1.0f, *g, (float)o->momentum, buffer, plan->update, err);
    *g = o->nesterov ? plan->update : buffer;
    return status;
}

static anx_status update_piece(const anx_cuda_plan *plan, const stretch *s, anx_error *err) {
    float *g = NULL;
    anx_status status = decayed(plan, s, &g, err);
    if (status == ANX_OK) status = with_momentum(plan, s, &g, err);
    if (status != ANX_OK) return status;
    return anx_cublas_add(&plan->device->blas, (int64_t)s->elems, (float)-s->options->lr, g,
                          plan->param_arena + s->first, err);
}

/* As much at a time as the scratch holds. */
static anx_status update(const anx_cuda_plan *plan, stretch s, anx_error *err) {
    anx_status status = ANX_OK;
    for (size_t left = s.elems; left > 0 && status == ANX_OK; left -= s.elems) {
        s.elems = left < plan->update_elems ? left : plan->update_elems;
        status = update_piece(plan, &s, err);
        s.first += s.elems;
    }
    return status;
}

anx_status anx_cuda_plan_sgd_step(void *impl, const anx_sgd_options *const *options, bool *has_momentum,
                                  anx_error *err) {
    anx_cuda_plan *plan = impl;
    const int n = plan->graph->n_params;
    anx_status status = anx_cuda_device_enter(plan->device, err);
    for (int i = 0; i < n && status == ANX_OK;) {
        const int begin = i++;
        if (options[begin] == NULL || !plan->params[begin].trained) continue;
        while (i < n && options[i] != NULL && plan->params[i].trained && has_momentum[i] == has_momentum[begin] &&
               same_options(options[i], options[begin]))
            i++;
        const size_t end = i < n ? plan->params[i].first : plan->arena_elems;
        const stretch s = {.first = plan->params[begin].first,
                           .elems = end - plan->params[begin].first,
                           .options = options[begin],
                           .has_momentum = has_momentum[begin]};
        status = update(plan, s, err);
        for (int k = begin; k < i && status == ANX_OK; k++)
            has_momentum[k] = has_momentum[k] || options[k]->momentum != 0.0;
    }
    return status;
}
