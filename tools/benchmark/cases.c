#include "tools/benchmark/cases.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "loaders/file.h"
#include "loaders/image/preprocess.h"
#include "tools/benchmark/bare.h"

/* After a turn, until the threads of whoever had it have stopped waiting for more work. */
static void settle(void) {
    usleep(20000);
}

static anx_status ask_torch(bench_context *context, const char *request, bench_series *series, bool count,
                            anx_error *err) {
    if (context->peer == NULL) return ANX_OK;
    double seconds = 0.0;
    anx_status status = bench_peer_ask(context->peer, request, &seconds, err);
    if (status == ANX_OK && count) bench_series_add(series, seconds);
    settle();
    return status;
}

/* ---- forward -------------------------------------------------------------------------------------------- */

/*
 * A layer takes at least as long as its multiply-adds (each counted as two operations), and as long as reading its
 * weights once; layers come one after another. Named after the limit that most of the time goes to.
 */
static void set_limit(const bench_context *context, int64_t batch, bench_row *row) {
    const anx_graph *graph = context->model->graph;
    double by_compute = 0.0, by_memory = 0.0;
    for (int i = 0; i < graph->n_nodes; i++) {
        const anx_node *node = &graph->nodes[i];
        if (node->weight == ANX_NO_PARAM) continue;
        const double operations = 2.0 * (double)node->terms * (double)anx_graph_node_elems(graph, i) * (double)batch;
        const double bytes = (double)anx_param_elems(&graph->params[node->weight]) * sizeof(float);
        const double compute = operations / context->limits.flops, memory = bytes / context->limits.bytes;
        if (compute > memory)
            by_compute += compute;
        else
            by_memory += memory;
    }
    row->limit_seconds = by_compute + by_memory;
    row->limit_by = by_compute > by_memory ? "FMA" : "memory";
}

static void fill_input(anx_plan *plan, int64_t elems) {
    float *x = anx_plan_host_pointer(plan, anx_value_output(ANX_NODE_INPUT));
    for (int64_t i = 0; i < elems; i++) x[i] = (float)((int)(i * 2654435761 >> 8 & 4095) - 2048) * 1e-3f;
}

static anx_status forward_turns(bench_context *context, anx_plan *plan, bench_bare *bare, int64_t batch, bench_row *row,
                                anx_error *err) {
    const int last = anx_plan_group_of_node(plan, context->model->graph->logits);
    char request[64];
    snprintf(request, sizeof request, "forward\t%lld", (long long)batch);
    anx_status status = ANX_OK;
    for (int run = -2; run < context->repeats && status == ANX_OK; run++) { /* two to warm up */
        double start = bench_now();
        status = anx_plan_run_groups(plan, 0, last + 1, err);
        if (status == ANX_OK) status = anx_device_sync(context->device, err);
        if (run >= 0) bench_series_add(&row->anx, bench_now() - start);
        settle();
        start = bench_now();
        if (status == ANX_OK) status = bench_bare_run(bare, err);
        if (run >= 0) bench_series_add(&row->bare, bench_now() - start);
        settle();
        if (status == ANX_OK) status = ask_torch(context, request, &row->torch, run >= 0, err);
    }
    return status;
}

anx_status bench_forward(bench_context *context, int64_t batch, bench_row *row, anx_error *err) {
    const anx_model *model = context->model;
    const anx_plan_desc desc = {.graph = model->graph,
                                .batch = batch,
                                .mode = ANX_PLAN_INFER,
                                .params = model->params,
                                .n_params = model->graph->n_params};
    anx_plan *plan = NULL;
    bench_bare *bare = NULL;
    row->name = "forward";
    row->items = (double)batch;
    snprintf(row->what, sizeof row->what, "batch %lld", (long long)batch);
    set_limit(context, batch, row);
    anx_status status = anx_plan_create(context->device, &desc, &plan, err);
    if (status == ANX_OK) status = bench_bare_create(model->graph, batch, context->threads, &bare, err);
    if (status == ANX_OK) {
        fill_input(plan, batch * anx_graph_node_elems(model->graph, ANX_NODE_INPUT));
        status = forward_turns(context, plan, bare, batch, row, err);
    }
    bench_bare_destroy(bare);
    anx_plan_destroy(plan);
    return status;
}

/* ---- files ---------------------------------------------------------------------------------------------- */

anx_status bench_load(bench_context *context, bench_row *row, anx_error *err) {
    anx_status status = ANX_OK;
    row->name = "load";
    for (int run = -1; run < context->repeats && status == ANX_OK; run++) {
        anx_checkpoint *checkpoint = NULL;
        anx_model *model = NULL;
        const double start = bench_now();
        status = anx_checkpoint_open(context->weights, NULL, &checkpoint, err);
        if (status == ANX_OK) status = anx_model_bind(checkpoint, NULL, 0, 0, &model, err);
        if (run >= 0) bench_series_add(&row->anx, bench_now() - start);
        anx_model_destroy(model);
        anx_checkpoint_close(checkpoint);
        if (status == ANX_OK) status = ask_torch(context, "load", &row->torch, run >= 0, err);
    }
    return status;
}

/* What is done with each file of the images. */
typedef anx_status image_work(const uint8_t *bytes, size_t n_bytes, int image, void *user, anx_error *err);

static anx_status each_image(const bench_context *context, image_work *work, void *user, anx_error *err) {
    anx_status status = ANX_OK;
    for (int i = 0; i < context->n_images && status == ANX_OK; i++) {
        uint8_t *bytes = NULL;
        size_t n_bytes = 0;
        status = anx_read_file(context->images[i], &bytes, &n_bytes, err);
        if (status == ANX_OK) status = work(bytes, n_bytes, i, user, err);
        if (status != ANX_OK) anx_error_in_file(err, context->images[i]);
        free(bytes);
    }
    return status;
}

static anx_status preprocess_one(const uint8_t *bytes, size_t n_bytes, int image, void *input, anx_error *err) {
    (void)image;
    return anx_preprocess_fast(&anx_preprocess_torchvision, bytes, n_bytes, NULL, input, err);
}

/* Decoding alone: the same part of each image as preprocessing decodes, and the rows dropped. */
typedef struct decoding {
    anx_image_region *needed; /* of each image, once `known` */
    bool known;
    int image;
} decoding;

static anx_status begin_decoding(void *context, int32_t width, int32_t height, anx_image_region *needed,
                                 anx_error *err) {
    decoding *d = context;
    anx_image_region *mine = &d->needed[d->image];
    if (!d->known) {
        anx_status status = anx_preprocess_source(&anx_preprocess_torchvision, width, height, mine, err);
        if (status != ANX_OK) return status;
    }
    *needed = *mine;
    return ANX_OK;
}

static void drop_row(void *context, int32_t y, const uint8_t *rgb) {
    (void)context;
    (void)y;
    (void)rgb;
}

static anx_status decode_one(const uint8_t *bytes, size_t n_bytes, int image, void *user, anx_error *err) {
    decoding *d = user;
    const anx_image_sink sink = {.begin = begin_decoding, .row = drop_row, .context = d};
    d->image = image;
    return anx_image_decode(bytes, n_bytes, &sink, err);
}

/* "preprocess" and the images' names, as the peer wants them; NULL without memory. */
static char *preprocess_request(const bench_context *context) {
    size_t size = sizeof "preprocess";
    for (int i = 0; i < context->n_images; i++) size += 1 + strlen(context->images[i]);
    char *request = malloc(size);
    if (request == NULL) return NULL;
    strcpy(request, "preprocess");
    for (int i = 0; i < context->n_images; i++) strcat(strcat(request, "\t"), context->images[i]);
    return request;
}

static anx_status time_images(const bench_context *context, image_work *work, void *user, bench_series *series,
                              bool count, anx_error *err) {
    const double start = bench_now();
    anx_status status = each_image(context, work, user, err);
    if (count) bench_series_add(series, bench_now() - start);
    return status;
}

anx_status bench_preprocess(bench_context *context, bench_row *row, anx_error *err) {
    const int crop = anx_preprocess_torchvision.crop;
    float *input = malloc((size_t)(3 * crop * crop) * sizeof *input);
    decoding decode = {.needed = calloc((size_t)context->n_images + 1, sizeof *decode.needed)};
    char *request = preprocess_request(context);
    anx_status status = input == NULL || request == NULL || decode.needed == NULL
                            ? anx_error_set(err, ANX_ERR_OUT_OF_MEMORY, "out of memory")
                            : ANX_OK;
    row->name = "preprocess";
    row->items = (double)context->n_images;
    snprintf(row->what, sizeof row->what, "%d files", context->n_images);
    for (int run = -1; run < context->repeats && status == ANX_OK; run++) {
        status = time_images(context, preprocess_one, input, &row->anx, run >= 0, err);
        if (status == ANX_OK) status = time_images(context, decode_one, &decode, &row->bare, run >= 0, err);
        decode.known = true;
        if (status == ANX_OK) status = ask_torch(context, request, &row->torch, run >= 0, err);
    }
    free(request);
    free(decode.needed);
    free(input);
    return status;
}

/* ---- whole processes ------------------------------------------------------------------------------------ */

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
    /* Processes are slow enough that fewer say as much. */
    for (int run = -1; run < (context->repeats + 1) / 2 && status == ANX_OK; run++) {
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
        fill_input(plan, anx_graph_node_elems(model->graph, ANX_NODE_INPUT));
        status = anx_plan_run(plan, err);
    }
    anx_plan_destroy(plan);
    anx_device_close(device);
    anx_model_destroy(model);
    anx_checkpoint_close(checkpoint);
    return status;
}

anx_status bench_check(bench_context *context, bench_row *row, anx_error *err) {
    anx_status status = ANX_OK;
    char threads[16];
    snprintf(threads, sizeof threads, "%d", context->threads);
    char *const argv[] = {
        strdup(context->anx_parity), strdup("check"), strdup("--threads"), threads, strdup(context->weights), NULL};
    row->name = "check";
    for (int run = -1; run < (context->repeats + 1) / 2 && status == ANX_OK; run++)
        status = time_process(argv, 1, &row->anx, &row->anx_rss_bytes, run >= 0, err);
    for (int i = 0; i < 5; i++)
        if (argv[i] != threads) free(argv[i]);
    return status;
}
