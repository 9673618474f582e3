#include "tools/benchmark/cases_inside.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static anx_status time_process(char *const argv[], int max_status, bench_series *series, long *rss, bool count,
                               anx_error *err) {
    bench_process process;
    anx_status status = bench_run_process(argv, max_status, &process, err);
    if (status != ANX_OK || !count) return status;
    bench_series_add(series, process.seconds);
    if (process.max_rss_bytes > *rss) *rss = process.max_rss_bytes;
    return ANX_OK;
}

anx_status bench_start(bench_context *context, bench_row *row, anx_error *err) {
    anx_status status = ANX_OK;
    char threads[16];
    snprintf(threads, sizeof threads, "%d", context->threads);
    char *const anx[] = {
        strdup(context->self), strdup("first"), strdup("--threads"), threads, strdup(context->weights), NULL};
    char *const torch[] = {strdup(context->python != NULL ? context->python : ""),
                           strdup(context->peer_script),
                           strdup("first"),
                           strdup(context->weights),
                           threads,
                           NULL};
    row->name = "start";
    row->items = 1.0;
    snprintf(row->what, sizeof row->what, "1 image");
    for (int run = -1; run < bench_few_runs(context) && status == ANX_OK; run++) {
        status = time_process(anx, 0, &row->anx, &row->anx_rss_bytes, run >= 0, err);
        if (status == ANX_OK && context->python != NULL)
            status = time_process(torch, 0, &row->torch, &row->torch_rss_bytes, run >= 0, err);
    }
    for (int i = 0; i < 5; i++) {
        if (anx[i] != threads) free(anx[i]);
        if (torch[i] != threads) free(torch[i]);
    }
    return status;
}

anx_status bench_first_output(const char *weights, int threads, anx_error *err) {
    const anx_checkpoint_options quick = {.skip_crc = true};
    const anx_device_options options = {.threads = threads};
    anx_checkpoint *checkpoint = NULL;
    anx_model *model = NULL;
    anx_device *device = NULL;
    anx_plan *plan = NULL;
    anx_status status = anx_checkpoint_open(weights, &quick, &checkpoint, err);
    if (status == ANX_OK) status = anx_model_bind(checkpoint, NULL, 0, 0, &model, err);
    if (status == ANX_OK) status = anx_device_open("cpu", &options, &device, err);
    if (status == ANX_OK) {
        const anx_plan_desc desc = {.graph = model->graph,
                                    .batch = 1,
                                    .mode = ANX_PLAN_INFER,
                                    .params = model->params,
                                    .n_params = model->graph->n_params};
        status = anx_plan_create(device, &desc, &plan, err);
    }
    if (status == ANX_OK) {
        bench_fill_input(plan, anx_graph_node_elems(model->graph, ANX_NODE_INPUT));
        status = anx_plan_run(plan, err);
    }
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
    char *const weights = strdup(context->weights), *const self = strdup(context->self);
    char *const python = strdup(context->python != NULL ? context->python : ""), *script = strdup(context->peer_script);
    char *const anx[] = {self,
                         (char[]){"steps"},
                         (char[]){"--threads"},
                         threads,
                         (char[]){"--batch"},
                         images,
                         (char[]){"--steps"},
                         steps,
                         weights,
                         NULL};
    char *const torch[] = {python, script, (char[]){"steps"}, weights, threads, images, steps, NULL};
    if (weights == NULL || self == NULL || python == NULL || script == NULL)
        status = anx_error_set(err, ANX_ERR_OUT_OF_MEMORY, "out of memory");
    row->name = "steps";
    snprintf(row->what, sizeof row->what, "%d of batch %lld", STEPS, (long long)batch);
    for (int run = 0; run < 2 && status == ANX_OK; run++) {
        status = time_process(anx, 0, &row->anx, &row->anx_rss_bytes, true, err);
        if (status == ANX_OK && context->python != NULL)
            status = time_process(torch, 0, &row->torch, &row->torch_rss_bytes, true, err);
    }
    free(weights);
    free(self);
    free(python);
    free(script);
    return status;
}

anx_status bench_check(bench_context *context, bench_row *row, anx_error *err) {
    anx_status status = ANX_OK;
    char threads[16];
    snprintf(threads, sizeof threads, "%d", context->threads);
    char *const argv[] = {
        strdup(context->anx_parity), strdup("check"), strdup("--threads"), threads, strdup(context->weights), NULL};
    row->name = "check";
    for (int run = -1; run < bench_few_runs(context) && status == ANX_OK; run++)
        status = time_process(argv, 1, &row->anx, &row->anx_rss_bytes, run >= 0, err);
    for (int i = 0; i < 5; i++)
        if (argv[i] != threads) free(argv[i]);
    return status;
}

/* One conversion and one copy, each to a file that was not there. */
static anx_status convert_once(char *const convert[], char *const copy[], const char *out, bench_row *row, bool count,
                               anx_error *err) {
    anx_status status = time_process(convert, 0, &row->anx, &row->anx_rss_bytes, count, err);
    (void)unlink(out);
    long unused = 0;
    if (status == ANX_OK) status = time_process(copy, 0, &row->bare, &unused, count, err);
    (void)unlink(out);
    return status;
}

anx_status bench_convert(bench_context *context, const char *format, bench_row *row, anx_error *err) {
    static char copying[] = "cp -- \"$1\" \"$2\" && sync \"$2\"";
    const char *tmp = getenv("TMPDIR");
    char folder[4096], out[4200];
    snprintf(folder, sizeof folder, "%s/anx-bench-XXXXXX", tmp != NULL && *tmp != '\0' ? tmp : "/tmp");
    if (mkdtemp(folder) == NULL) return anx_error_set(err, ANX_ERR_IO, "cannot make a folder in %s", folder);
    snprintf(out, sizeof out, "%s/out.%s", folder, format);
    char *const in = strdup(context->weights), *const program = strdup(context->anx_convert);
    anx_status status =
        in != NULL && program != NULL ? ANX_OK : anx_error_set(err, ANX_ERR_OUT_OF_MEMORY, "out of memory");
    char *const convert[] = {program, in, out, NULL};
    char *const copy[] = {(char[]){"/bin/sh"}, (char[]){"-c"}, copying, (char[]){"sh"}, in, out, NULL};
    row->name = "convert";
    snprintf(row->what, sizeof row->what, "%s", format);
    for (int run = -1; run < context->repeats && status == ANX_OK; run++)
        status = convert_once(convert, copy, out, row, run >= 0, err);
    (void)rmdir(folder);
    free(in);
    free(program);
    return status;
}
