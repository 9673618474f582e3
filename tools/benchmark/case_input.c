#include "tools/benchmark/cases_inside.h"

#include <stdio.h>
#include <stdlib.h>

#include "loaders/dataset/training_input.h"
#include "src/base/clock.h"

enum { BATCH = 32, IMAGES = 13 * BATCH };

static anx_status run_epoch(anx_training_input *input, anx_error *err) {
    anx_mt19937 gen;
    anx_mt19937_seed(&gen, 0);
    anx_training_batch batch = {.over = false};
    anx_status status = anx_training_input_begin(input, &gen, 0, NULL, err);
    while (status == ANX_OK && !batch.over) status = anx_training_input_next(input, &gen, &batch, err);
    return status;
}

static anx_status time_epoch(const anx_training_input_options *options, double *seconds, anx_error *err) {
    anx_training_input *input = NULL;
    const double start = anx_clock_seconds();
    anx_status status = anx_training_input_create(options, &input, err);
    if (status == ANX_OK) status = run_epoch(input, err);
    anx_training_input_destroy(input);
    *seconds = anx_clock_seconds() - start;
    bench_settle();
    return status;
}

static anx_status input_turns(bench_context *context, const anx_training_input_options *options, const char *request,
                              bench_row *row, anx_error *err) {
    anx_status status = ANX_OK;
    for (int run = -1; run < bench_few_runs(context) && status == ANX_OK; run++) {
        double seconds = 0.0;
        status = time_epoch(options, &seconds, err);
        if (run >= 0) bench_series_add(&row->anx, seconds);
        if (status == ANX_OK) bench_ask_torch(context, request, &row->torch, run >= 0);
    }
    return status;
}

anx_status bench_training_input(bench_context *context, int threads, bool independent, bench_row *row, anx_error *err) {
    const anx_preprocess_profile profile = bench_profile_for(context->model->graph);
    const anx_image_source source = bench_image_source(context);
    const int workers = threads > 1 ? threads : 0;
    char name[64];
    snprintf(name, sizeof name, "input\t%d\t%d", workers, (int)IMAGES);
    char *request = bench_images_request(context, name);
    int64_t *targets = calloc(IMAGES, sizeof *targets);
    anx_status status = ANX_OK;
    if (request == NULL || targets == NULL) status = anx_error_set(err, ANX_ERR_OUT_OF_MEMORY, "out of memory");
    const anx_training_input_options options = {.source = &source,
                                                .targets = targets,
                                                .n_images = IMAGES,
                                                .batch = BATCH,
                                                .profile = &profile,
                                                .augment = anx_augment_kind_find("torchvision-basic"),
                                                .independent = independent,
                                                .threads = threads,
                                                .device = context->device};
    row->name = "input";
    row->items = IMAGES;
    snprintf(row->what, sizeof row->what, "%s, %d thread%s", independent ? "free" : "PyTorch's", threads,
             threads == 1 ? "" : "s");
    if (context->peer != NULL)
        snprintf(row->torch_setup, sizeof row->torch_setup, "%d worker%s", workers, workers == 1 ? "" : "s");
    if (status == ANX_OK) status = input_turns(context, &options, request, row, err);
    free(request);
    free(targets);
    return status;
}
