#include "src/train/sgd.h"

#include <float.h>
#include <math.h>

/* ---- options -------------------------------------------------------------------------------------------- */

static anx_status check_number(const char *name, double value, bool may_be_negative, anx_error *err) {
    if (!isfinite(value) || fabs(value) > (double)FLT_MAX)
        return anx_error_set(err, ANX_ERR_INVALID_ARGUMENT, "SGD's %s is %g; it must be a finite float32 number", name,
                             value);
    if (value < 0.0 && !may_be_negative)
        return anx_error_set(err, ANX_ERR_INVALID_ARGUMENT, "SGD's %s is %g; it must not be negative", name, value);
    return ANX_OK;
}

anx_status anx_sgd_options_check(const anx_sgd_options *o, anx_error *err) {
    anx_status status = check_number("learning rate", o->lr, false, err);
    if (status == ANX_OK) status = check_number("momentum", o->momentum, false, err);
    if (status == ANX_OK) status = check_number("dampening", o->dampening, true, err);
    if (status == ANX_OK) status = check_number("weight decay", o->weight_decay, false, err);
    if (status != ANX_OK) return status;
    if (o->nesterov && !(o->momentum > 0.0 && o->dampening == 0.0))
        return anx_error_set(err, ANX_ERR_INVALID_ARGUMENT,
                             "Nesterov's momentum wants a momentum above 0 and a dampening of 0; these are %g and %g",
                             o->momentum, o->dampening);
    return ANX_OK;
}

static anx_sgd_factors factors_of(const anx_sgd_options *o) {
    return (anx_sgd_factors){.minus_lr = (float)-o->lr,
                             .momentum = (float)o->momentum,
                             .keep = (float)(1.0 - o->dampening),
                             .weight_decay = (float)o->weight_decay,
                             .sign = o->maximize ? -1.0f : 1.0f,
                             .has_momentum = o->momentum != 0.0,
                             .has_weight_decay = o->weight_decay != 0.0,
                             .nesterov = o->nesterov};
}

/* ---- the step ------------------------------------------------------------------------------------------- */

/* Threads begin and end at multiples of this, so that none shares a cache line with another in aligned memory. */
enum { GRAIN = 64 };

static void update_part(const anx_train_kernels *kernels, const anx_sgd_options *groups, const anx_sgd_slice *s,
                        size_t first, size_t n) {
    const anx_sgd_factors factors = factors_of(&groups[s->group]);
    kernels->sgd(&factors, !s->has_buffer, n, s->grad + first, s->param + first,
                 factors.has_momentum ? s->buffer + first : NULL);
}

/* Elements begin .. end-1, counted through all slices that have a gradient. */
static void update_range(const anx_train_kernels *kernels, const anx_sgd_options *groups, const anx_sgd_slice *slices,
                         int n_slices, size_t begin, size_t end) {
    size_t at = 0;
    for (int i = 0; i < n_slices && at < end; i++) {
        if (slices[i].grad == NULL) continue;
        const size_t next = at + slices[i].elems;
        if (next > begin) {
            const size_t from = begin > at ? begin - at : 0, to = end < next ? end - at : slices[i].elems;
            update_part(kernels, groups, &slices[i], from, to - from);
        }
        at = next;
    }
}

void anx_sgd_step(const anx_train_kernels *kernels, const anx_sgd_options *groups, anx_sgd_slice *slices, int n_slices,
                  int threads) {
    size_t total = 0;
    for (int i = 0; i < n_slices; i++) total += slices[i].grad != NULL ? slices[i].elems : 0;
    const size_t grains = (total + GRAIN - 1) / GRAIN, n_threads = (size_t)threads;
#pragma omp parallel for schedule(static) num_threads(threads) if (total > 1 << 14)
    for (size_t t = 0; t < n_threads; t++) {
        const size_t begin = grains * t / n_threads * GRAIN, end = grains * (t + 1) / n_threads * GRAIN;
        update_range(kernels, groups, slices, n_slices, begin, end < total ? end : total);
    }
    for (int i = 0; i < n_slices; i++)
        if (slices[i].grad != NULL && groups[slices[i].group].momentum != 0.0) slices[i].has_buffer = true;
}
