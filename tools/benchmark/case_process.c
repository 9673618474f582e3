#include "tools/benchmark/cases_inside.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { MAX_ARGUMENTS = 24 };

static anx_status time_process(const char *const argv[], int max_status, bench_series *series, long *rss, bool count,
                               anx_error *err) {
    bench_process process;
    anx_status status = bench_run_process(argv, max_status, &process, err);
    if (status != ANX_OK || !count) return status;
    bench_series_add(series, process.seconds);
    if (process.max_rss_bytes > *rss) *rss = process.max_rss_bytes;
    return ANX_OK;
}

/* PyTorch's turn, where it is there; what it fails at costs it the row. */
static void time_torch(const bench_context *context, const char *const argv[], bench_row *row, bool count) {
    anx_error err = ANX_ERROR_INIT;
    if (context->python == NULL || row->torch.trouble[0] != '\0') return;
    if (time_process(argv, 0, &row->torch, &row->torch_rss_bytes, count, &err) == ANX_OK) return;
    row->torch_rss_bytes = 0;
    bench_series_give_up(&row->torch, err.message);
}

/*
 * A program, what it is to do, and the engine's options; then rest, which ends with NULL, and the checkpoint. execv
 * wants texts that it could change, and does not.
 */
static void fill_anx(const bench_context *context, const char *program, const char *what, const char *threads,
                     const char *const *rest, const char *argv[MAX_ARGUMENTS]) {
    int n = 0;
    const bench_engine *engine = &context->engine;
    const char *const first[] = {
        program, what, "--device", engine->device, "--math", anx_math_mode_name(engine->math), "--threads", threads};
    for (size_t i = 0; i < sizeof first / sizeof first[0]; i++) argv[n++] = first[i];
    while (rest != NULL && *rest != NULL) argv[n++] = *rest++;
    argv[n++] = context->weights;
    argv[n] = NULL;
}

/* PyTorch's side of the same. */
static void fill_torch(const bench_context *context, const char *what, const char *threads, const char *const *rest,
                       const char *argv[MAX_ARGUMENTS]) {
    int n = 0;
    const char *const first[] = {context->python,
                                 context->peer_script,
                                 what,
                                 context->weights,
                                 threads,
                                 bench_torch_device(&context->engine),
                                 anx_math_mode_name(context->engine.math)};
    for (size_t i = 0; i < sizeof first / sizeof first[0]; i++) argv[n++] = first[i];
    while (rest != NULL && *rest != NULL) argv[n++] = *rest++;
    argv[n] = NULL;
}

anx_status bench_start(bench_context *context, bench_row *row, anx_error *err) {
    anx_status status = ANX_OK;
    char threads[16];
    const char *anx[MAX_ARGUMENTS], *torch[MAX_ARGUMENTS];
    snprintf(threads, sizeof threads, "%d", context->threads);
    fill_anx(context, context->self, "first", threads, NULL, anx);
    fill_torch(context, "first", threads, NULL, torch);
    row->name = "start";
    row->items = 1.0;
    snprintf(row->what, sizeof row->what, "1 image");
    for (int run = -1; run < bench_few_runs(context) && status == ANX_OK; run++) {
        status = time_process(anx, 0, &row->anx, &row->anx_rss_bytes, run >= 0, err);
        if (status == ANX_OK) time_torch(context, torch, row, run >= 0);
    }
    return status;
}

anx_status bench_first_output(const char *weights, const bench_engine *engine, anx_error *err) {
    const anx_checkpoint_options quick = {.skip_crc = true};
    anx_checkpoint *checkpoint = NULL;
    anx_model *model = NULL;
    anx_device *device = NULL;
    anx_plan *plan = NULL;
    anx_status status = anx_checkpoint_open(weights, &quick, &checkpoint, err);
    if (status == ANX_OK) status = anx_model_bind(checkpoint, NULL, 0, 0, &model, err);
    if (status == ANX_OK) status = bench_engine_open(engine, &device, err);
    if (status == ANX_OK) {
        const anx_plan_desc desc = {.graph = model->graph,
                                    .batch = 1,
                                    .mode = ANX_PLAN_INFER,
                                    .params = model->params,
                                    .n_params = model->graph->n_params};
        status = anx_plan_create(device, &desc, &plan, err);
    }
    if (status == ANX_OK) status = bench_fill_input(plan, device, err);
    if (status == ANX_OK) status = anx_plan_run(plan, err);
    if (status == ANX_OK) status = anx_device_sync(device, err);
    anx_plan_destroy(plan);
    anx_device_close(device);
    anx_model_destroy(model);
    anx_checkpoint_close(checkpoint);
    return status;
}

enum { STEPS = 3 };

anx_status bench_train_process(bench_context *context, int64_t batch, bench_row *row, anx_error *err) {
    anx_status status = ANX_OK;
    char threads[16], images[32], steps[16];
    snprintf(threads, sizeof threads, "%d", context->threads);
    snprintf(images, sizeof images, "%lld", (long long)batch);
    snprintf(steps, sizeof steps, "%d", STEPS);
    const char *const anx_rest[] = {"--batch", images, "--steps", steps, NULL}, *const torch_rest[] = {images, steps,
                                                                                                       NULL};
    const char *anx[MAX_ARGUMENTS], *torch[MAX_ARGUMENTS];
    fill_anx(context, context->self, "steps", threads, anx_rest, anx);
    fill_torch(context, "steps", threads, torch_rest, torch);
    row->name = "steps";
    snprintf(row->what, sizeof row->what, "%d of batch %lld", STEPS, (long long)batch);
    for (int run = 0; run < 2 && status == ANX_OK; run++) {
        status = time_process(anx, 0, &row->anx, &row->anx_rss_bytes, true, err);
        if (status == ANX_OK) time_torch(context, torch, row, true);
    }
    return status;
}

anx_status bench_check(bench_context *context, bench_row *row, anx_error *err) {
    anx_status status = ANX_OK;
    char threads[16];
    snprintf(threads, sizeof threads, "%d", context->threads);
    const char *argv[MAX_ARGUMENTS];
    fill_anx(context, context->anx_parity, "check", threads, NULL, argv);
    row->name = "check";
    for (int run = -1; run < bench_few_runs(context) && status == ANX_OK; run++)
        status = time_process(argv, 1, &row->anx, &row->anx_rss_bytes, run >= 0, err);
    return status;
}

/* One conversion and one copy, each to a file that was not there. */
static anx_status convert_once(const char *const convert[], const char *const copy[], const char *out, bench_row *row,
                               bool count, anx_error *err) {
    anx_status status = time_process(convert, 0, &row->anx, &row->anx_rss_bytes, count, err);
    (void)unlink(out);
    long unused = 0;
    if (status == ANX_OK) status = time_process(copy, 0, &row->bare, &unused, count, err);
    (void)unlink(out);
    return status;
}

anx_status bench_convert(bench_context *context, const char *format, bench_row *row, anx_error *err) {
    const char *tmp = getenv("TMPDIR");
    char folder[4096], out[4200];
    snprintf(folder, sizeof folder, "%s/anx-bench-XXXXXX", tmp != NULL && *tmp != '\0' ? tmp : "/tmp");
    if (mkdtemp(folder) == NULL) return anx_error_set(err, ANX_ERR_IO, "cannot make a folder in %s", folder);
    snprintf(out, sizeof out, "%s/out.%s", folder, format);
    anx_status status = ANX_OK;
    const char *const convert[] = {context->anx_convert, context->weights, out, NULL};
    const char *const copy[] = {"/bin/sh", "-c", "cp -- \"$1\" \"$2\" && sync \"$2\"", "sh", context->weights,
                                out,       NULL};
    row->name = "convert";
    snprintf(row->what, sizeof row->what, "%s", format);
    for (int run = -1; run < context->repeats && status == ANX_OK; run++)
        status = convert_once(convert, copy, out, row, run >= 0, err);
    (void)rmdir(folder);
    return status;
}
