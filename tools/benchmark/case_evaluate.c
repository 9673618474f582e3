#include "tools/benchmark/cases_inside.h"

#include <stdio.h>
#include <stdlib.h>

#include "loaders/dataset/pipeline.h"
#include "src/base/clock.h"

/* What an evaluation runs over; PyTorch's DataLoader gets batches of that size and of twice that. */
enum { BATCH = 32, IMAGES = 13 * BATCH };

/* ---- the images through a pipeline ------------------------------------------------------------------------ */

typedef struct network {
    bench_context *context;
    anx_plan *plan;
    anx_tensor logits;
} network;

static anx_status first_bad(const anx_pipeline_batch *batch, anx_error *err) {
    for (int64_t i = 0; i < batch->n; i++)
        if (batch->bad[i] != NULL) {
            if (err != NULL) *err = *batch->bad[i];
            return batch->bad[i]->status;
        }
    return ANX_OK;
}

/* The images, from the first again after the last, through a pipeline. */
typedef struct piped {
    int64_t batches, batch;
    int threads;
    network *to; /* NULL: nothing is done with a batch */
} piped;

static anx_status next_batch(anx_pipeline *pipeline, anx_pipeline_batch *batch, anx_error *err) {
    const anx_status status = anx_pipeline_next(pipeline, batch, err);
    return status == ANX_OK ? first_bad(batch, err) : status;
}

static anx_status drop_batches(anx_pipeline *pipeline, anx_error *err) {
    anx_pipeline_batch batch = {.n = 1};
    anx_status status = ANX_OK;
    while (status == ANX_OK && batch.n > 0) status = next_batch(pipeline, &batch, err);
    return status;
}

static anx_status start_batch(network *n, const anx_pipeline_batch *batch, anx_error *err) {
    const anx_value value = anx_value_output(ANX_NODE_INPUT);
    int64_t shape[4];
    const int rank = anx_plan_value_shape(n->plan, value, shape);
    const anx_tensor input = anx_tensor_view(ANX_F32, rank, shape, batch->input);
    const anx_status status = anx_plan_write(n->plan, value, &input, err);
    const int last = anx_plan_group_of_node(n->plan, n->context->model->graph->logits);
    return status != ANX_OK ? status : anx_plan_run_groups(n->plan, 0, last + 1, err);
}

/* As anx_evaluate does it: a device that computes by itself has a batch while the next one is preprocessed. */
static anx_status classify_batches(anx_pipeline *pipeline, network *n, anx_error *err) {
    anx_pipeline_batch now, next;
    anx_status status = next_batch(pipeline, &now, err);
    if (status == ANX_OK && now.n > 0) status = start_batch(n, &now, err);
    while (status == ANX_OK && now.n > 0) {
        status = anx_plan_read(n->plan, anx_value_output(n->context->model->graph->logits), &n->logits, err);
        if (status == ANX_OK) status = next_batch(pipeline, &next, err);
        if (status == ANX_OK) status = anx_device_sync(n->context->device, err);
        if (status == ANX_OK && next.n > 0) status = start_batch(n, &next, err);
        now = next;
    }
    return status;
}

static anx_status run_pipeline(bench_context *context, const piped *run, double *seconds, anx_error *err) {
    const int64_t n_files = run->batches * run->batch;
    int64_t *files = malloc((size_t)n_files * sizeof *files);
    if (files == NULL) return anx_error_set(err, ANX_ERR_OUT_OF_MEMORY, "out of memory");
    for (int64_t i = 0; i < n_files; i++) files[i] = i % context->n_images;
    const anx_preprocess_profile profile = bench_profile_for(context->model->graph);
    const anx_image_source source = bench_image_source(context);
    const anx_pipeline_options options = {.profile = &profile,
                                          .files = files,
                                          .n_files = n_files,
                                          .batch = run->batch,
                                          .threads = run->threads,
                                          .kept = run->to != NULL ? 1 : 0,
                                          .device = run->to != NULL ? context->device : NULL};
    anx_pipeline *pipeline = NULL;
    const double start = anx_clock_seconds();
    anx_status status = anx_pipeline_create(&source, &options, &pipeline, err);
    if (status == ANX_OK)
        status = run->to != NULL ? classify_batches(pipeline, run->to, err) : drop_batches(pipeline, err);
    (void)anx_device_sync(context->device, NULL); /* after a failure it may still read a batch */
    anx_pipeline_destroy(pipeline);
    *seconds = anx_clock_seconds() - start;
    free(files);
    bench_settle();
    return status;
}

/* IMAGES of them on one core. */
static anx_status preprocess_alone(const bench_context *context, double *seconds, anx_error *err) {
    const anx_preprocess_profile profile = bench_profile_for(context->model->graph);
    bench_input input = {.values = NULL};
    anx_status status = bench_input_init(&input, &profile, err);
    if (status == ANX_OK) status = bench_time_images(context, IMAGES, bench_preprocess_one, &input, seconds, err);
    free(input.values);
    return status;
}

/* ---- pipeline -------------------------------------------------------------------------------------------- */

anx_status bench_pipeline(bench_context *context, int threads, bench_row *row, anx_error *err) {
    anx_status status = ANX_OK;
    /* At the end of a batch a thread may wait for another's image: with many in between, that counts little. */
    const int64_t enough = INT64_C(16) * threads;
    const piped run = {.batches = IMAGES / BATCH, .batch = enough > BATCH ? enough : BATCH, .threads = threads};
    const double images = (double)(run.batches * run.batch);
    row->name = "pipeline";
    row->items = images;
    snprintf(row->what, sizeof row->what, "%d thread%s", threads, threads == 1 ? "" : "s");
    for (int turn = -1; turn < bench_few_runs(context) && status == ANX_OK; turn++) {
        double whole = 0.0, alone = 0.0;
        status = run_pipeline(context, &run, &whole, err);
        if (status == ANX_OK) status = preprocess_alone(context, &alone, err);
        if (turn < 0) continue;
        bench_series_add(&row->anx, whole);
        bench_series_add(&row->bare, alone * images / IMAGES / threads);
    }
    return status;
}

/* ---- evaluate -------------------------------------------------------------------------------------------- */

static anx_status forward_alone(network *n, double *seconds, anx_error *err) {
    const int last = anx_plan_group_of_node(n->plan, n->context->model->graph->logits);
    anx_status status = ANX_OK;
    const double start = anx_clock_seconds();
    for (int i = 0; i < IMAGES / BATCH && status == ANX_OK; i++) {
        status = anx_plan_run_groups(n->plan, 0, last + 1, err);
        if (status == ANX_OK) status = anx_device_sync(n->context->device, err);
    }
    *seconds = anx_clock_seconds() - start;
    bench_settle();
    return status;
}

/* PyTorch with so many processes that load, the rest of the threads left to the network. */
typedef struct torch_setup {
    int workers, batch;
    bool dropped;
    bench_series series;
} torch_setup;

enum { TORCH_SETUPS = 10 };

/* None, one, two, half as many workers as threads, as many; each with two sizes of batches. Returns how many. */
static int list_setups(int threads, torch_setup setups[TORCH_SETUPS]) {
    const int workers[] = {0, 1, 2, threads / 2, threads};
    int n = 0;
    for (size_t w = 0; w < sizeof workers / sizeof workers[0]; w++) {
        if (w >= 3 && workers[w] <= 2) continue;
        if (w == 4 && workers[w] == workers[w - 1]) continue;
        for (int batch = BATCH; batch <= 2 * BATCH; batch *= 2)
            setups[n++] = (torch_setup){.workers = workers[w], .batch = batch};
    }
    return n;
}

static anx_status ask_setup(bench_context *context, torch_setup *setup, anx_error *err) {
    char name[64];
    snprintf(name, sizeof name, "evaluate\t%d\t%d\t%d", setup->batch, setup->workers, (int)IMAGES);
    char *request = bench_images_request(context, name);
    if (request == NULL) return anx_error_set(err, ANX_ERR_OUT_OF_MEMORY, "out of memory");
    bench_ask_torch(context, request, &setup->series, true);
    free(request);
    return ANX_OK;
}

/* NULL where none was measured. */
static torch_setup *fastest(torch_setup *setups, int n) {
    torch_setup *best = NULL;
    for (int i = 0; i < n; i++)
        if (!setups[i].dropped && setups[i].series.count > 0 &&
            (best == NULL || bench_series_median(&setups[i].series) < bench_series_median(&best->series)))
            best = &setups[i];
    return best;
}

/* Ends the warming up: what was far from the fastest then has no chance, and takes long. */
static void drop_slow(torch_setup *setups, int n) {
    const torch_setup *first = fastest(setups, n);
    if (first == NULL) return;
    const double best = bench_series_median(&first->series);
    for (int i = 0; i < n; i++) {
        setups[i].dropped = setups[i].series.count == 0 || bench_series_median(&setups[i].series) > 1.3 * best;
        setups[i].series.count = 0;
    }
}

static anx_status torch_turn(bench_context *context, torch_setup *setups, int n, bool warming_up, anx_error *err) {
    anx_status status = ANX_OK;
    for (int i = 0; i < n && status == ANX_OK; i++)
        if (!setups[i].dropped) status = ask_setup(context, &setups[i], err);
    if (status == ANX_OK && warming_up) drop_slow(setups, n);
    return status;
}

static anx_status evaluate_turn(network *n, bench_row *row, bool warming_up, anx_error *err) {
    double whole = 0.0, forward = 0.0, preprocess = 0.0;
    const piped run = {.batches = IMAGES / BATCH, .batch = BATCH, .threads = n->context->threads, .to = n};
    anx_status status = run_pipeline(n->context, &run, &whole, err);
    if (status == ANX_OK) status = forward_alone(n, &forward, err);
    if (status == ANX_OK) status = preprocess_alone(n->context, &preprocess, err);
    if (status != ANX_OK || warming_up) return status;
    bench_series_add(&row->anx, whole);
    bench_series_add(&row->bare, forward + preprocess / n->context->threads);
    return ANX_OK;
}

static anx_status evaluate_turns(network *n, bench_row *row, anx_error *err) {
    bench_context *context = n->context;
    static torch_setup setups[TORCH_SETUPS];
    const int n_setups = context->peer != NULL ? list_setups(context->threads, setups) : 0;
    anx_status status = ANX_OK;
    for (int run = -1; run < bench_few_runs(context) && status == ANX_OK; run++) {
        status = evaluate_turn(n, row, run < 0, err);
        if (status == ANX_OK && n_setups > 0) status = torch_turn(context, setups, n_setups, run < 0, err);
    }
    if (status != ANX_OK || n_setups == 0) return status;
    const torch_setup *best = fastest(setups, n_setups);
    row->torch = best != NULL ? best->series : setups[0].series;
    if (best == NULL) return status;
    snprintf(row->torch_setup, sizeof row->torch_setup, "%d worker%s, batch %d, as its fastest", best->workers,
             best->workers == 1 ? "" : "s", best->batch);
    return ANX_OK;
}

anx_status bench_evaluate(bench_context *context, bench_row *row, anx_error *err) {
    const anx_model *model = context->model;
    const anx_plan_desc desc = {.graph = model->graph,
                                .batch = BATCH,
                                .mode = ANX_PLAN_INFER,
                                .params = model->params,
                                .n_params = model->graph->n_params};
    network n = {.context = context, .logits = ANX_TENSOR_INIT};
    row->name = "evaluate";
    row->items = IMAGES;
    snprintf(row->what, sizeof row->what, "%d files", (int)IMAGES);
    anx_status status = anx_plan_create(context->device, &desc, &n.plan, err);
    if (status == ANX_OK) {
        int64_t shape[4];
        const int rank = anx_plan_value_shape(n.plan, anx_value_output(model->graph->logits), shape);
        status = anx_tensor_alloc(ANX_F32, rank, shape, &n.logits, err);
    }
    if (status == ANX_OK) status = evaluate_turns(&n, row, err);
    anx_tensor_fini(&n.logits);
    anx_plan_destroy(n.plan);
    return status;
}
