#include "tools/benchmark/cases_inside.h"

#include <stdio.h>
#include <stdlib.h>

#include "src/base/clock.h"
#include "tools/benchmark/learner.h"

double bench_sgd_bytes(int64_t elems) {
    return 5.0 * (double)elems * sizeof(float); /* parameter, gradient, momentum read; parameter, momentum written */
}

double bench_memory_speed(const bench_context *context) {
    return context->limits.moved > context->limits.bytes ? context->limits.moved : context->limits.bytes;
}

/* All parameters in one piece each for values, gradients and momentum. */
typedef struct arrays {
    float *params, *grads, *momentum;
} arrays;

static anx_status arrays_init(arrays *out, size_t elems, anx_error *err) {
    *out = (arrays){.params = malloc(elems * sizeof(float)),
                    .grads = malloc(elems * sizeof(float)),
                    .momentum = malloc(elems * sizeof(float))};
    if (out->params == NULL || out->grads == NULL || out->momentum == NULL)
        return anx_error_set(err, ANX_ERR_OUT_OF_MEMORY, "out of memory");
    for (size_t i = 0; i < elems; i++) {
        out->params[i] = (float)(i % 1000 + 1) * 1e-4f;
        out->grads[i] = (float)(i % 777 + 1) * 1e-5f;
        out->momentum[i] = 1e-4f;
    }
    return ANX_OK;
}

static void arrays_fini(arrays *a) {
    free(a->params);
    free(a->grads);
    free(a->momentum);
}

static anx_status optimizer_turns(bench_context *context, anx_sgd_slice *slice, bench_row *row, anx_error *err) {
    const anx_train_kernels *kernels = NULL;
    const anx_status status = anx_train_kernels_select(&kernels, err);
    for (int run = -2; run < context->repeats && status == ANX_OK; run++) {
        const double start = anx_clock_seconds();
        anx_sgd_step(kernels, &bench_sgd_options, slice, 1, context->threads);
        if (run >= 0) bench_series_add(&row->anx, anx_clock_seconds() - start);
        bench_settle();
        bench_ask_torch(context, "sgd", &row->torch, run >= 0);
    }
    return status;
}

anx_status bench_optimizer(bench_context *context, bench_row *row, anx_error *err) {
    const int64_t elems = anx_graph_param_elems(context->model->graph);
    arrays a;
    row->name = "sgd";
    snprintf(row->what, sizeof row->what, "%.1f M parameters", 1e-6 * (double)elems);
    row->moved_bytes = bench_sgd_bytes(elems);
    row->limit_seconds = row->moved_bytes / bench_memory_speed(context);
    row->limit_by = "memory";
    anx_status status = arrays_init(&a, (size_t)elems, err);
    if (status == ANX_OK) {
        anx_sgd_slice slice = {
            .elems = (size_t)elems, .param = a.params, .grad = a.grads, .buffer = a.momentum, .has_buffer = true};
        status = optimizer_turns(context, &slice, row, err);
    }
    arrays_fini(&a);
    return status;
}
