#include "tools/benchmark/cases_inside.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "loaders/file.h"
#include "src/base/clock.h"

void bench_settle(void) {
    usleep(20000);
}

int bench_few_runs(const bench_context *context) {
    return (context->repeats + 1) / 2;
}

void bench_ask_torch(bench_context *context, const char *request, bench_series *series, bool count) {
    if (context->peer == NULL || series->trouble[0] != '\0') return;
    double seconds = 0.0;
    anx_error err = ANX_ERROR_INIT;
    const anx_status status = bench_peer_ask(context->peer, request, &seconds, &err);
    if (status == ANX_OK && count) bench_series_add(series, seconds);
    if (status != ANX_OK) bench_series_give_up(series, err.message);
    if (status != ANX_OK && status != ANX_ERR_UNSUPPORTED) {
        snprintf(context->torch_trouble, sizeof context->torch_trouble, "%.200s", err.message);
        bench_peer_stop(context->peer);
        context->peer = NULL;
    }
    bench_settle();
}

char *bench_images_request(const bench_context *context, const char *name) {
    size_t size = strlen(name) + 1;
    for (int i = 0; i < context->n_images; i++) size += 1 + strlen(context->images[i]);
    char *request = malloc(size);
    if (request == NULL) return NULL;
    char *end = stpcpy(request, name);
    for (int i = 0; i < context->n_images; i++) end = stpcpy(stpcpy(end, "\t"), context->images[i]);
    return request;
}

void bench_fill(float *x, int64_t elems) {
    for (int64_t i = 0; i < elems; i++) x[i] = (float)((int)(i * 2654435761 >> 8 & 4095) - 2048) * 1e-3f + 1e-5f;
}

anx_status bench_fill_input(anx_plan *plan, anx_device *device, anx_error *err) {
    const anx_value input = anx_value_output(ANX_NODE_INPUT);
    int64_t shape[4];
    const int rank = anx_plan_value_shape(plan, input, shape);
    anx_tensor host = ANX_TENSOR_INIT;
    anx_status status = anx_tensor_alloc(ANX_F32, rank, shape, &host, err);
    if (status != ANX_OK) return status;
    bench_fill(host.data, anx_tensor_elems(&host));
    status = anx_plan_write(plan, input, &host, err);
    if (status == ANX_OK) status = anx_device_sync(device, err);
    anx_tensor_fini(&host);
    return status;
}

anx_status bench_engine_open(const bench_engine *engine, anx_device **out, anx_error *err) {
    const anx_device_options options = {.threads = engine->threads, .math = engine->math};
    return anx_device_open(engine->device, &options, out, err);
}

const char *bench_torch_device(const bench_engine *engine) {
    return bench_engine_is_processor(engine) ? "cpu" : engine->device;
}

bool bench_engine_is_processor(const bench_engine *engine) {
    const anx_backend *backend = anx_backend_find(engine->device);
    return backend != NULL && backend->load == NULL;
}

anx_status bench_time_images(const bench_context *context, int count, bench_image_work *work, void *user,
                             double *seconds, anx_error *err) {
    anx_status status = ANX_OK;
    const double start = anx_clock_seconds();
    for (int i = 0; i < count && status == ANX_OK; i++) {
        const int image = i % context->n_images;
        uint8_t *bytes = NULL;
        size_t n_bytes = 0;
        status = anx_read_file(context->images[image], &bytes, &n_bytes, err);
        if (status == ANX_OK) status = work(bytes, n_bytes, image, user, err);
        if (status != ANX_OK) anx_error_in_file(err, context->images[image]);
        free(bytes);
    }
    *seconds = anx_clock_seconds() - start;
    return status;
}

anx_status bench_input_init(bench_input *out, const anx_preprocess_profile *profile, anx_error *err) {
    const size_t crop = (size_t)profile->crop;
    float *values = malloc(3 * crop * crop * sizeof *values);
    if (values == NULL) return anx_error_set(err, ANX_ERR_OUT_OF_MEMORY, "out of memory");
    *out = (bench_input){.profile = profile, .values = values};
    return ANX_OK;
}

anx_status bench_preprocess_one(const uint8_t *bytes, size_t n_bytes, int image, void *user, anx_error *err) {
    (void)image;
    const bench_input *input = user;
    return anx_preprocess_fast(input->profile, bytes, n_bytes, NULL, input->values, err);
}

void bench_cost_add_product(const bench_context *context, int node, int64_t batch, bench_cost *cost) {
    const anx_graph *graph = context->model->graph;
    const anx_node *n = &graph->nodes[node];
    const double operations = 2.0 * (double)n->terms * (double)anx_graph_node_elems(graph, node) * (double)batch;
    const double bytes = (double)anx_param_elems(&graph->params[n->weight]) * sizeof(float);
    const double compute = operations / context->limits.flops, memory = bytes / context->limits.bytes;
    if (compute > memory)
        cost->compute += compute;
    else
        cost->memory += memory;
}

void bench_cost_to_row(const bench_context *context, const bench_cost *cost, bench_row *row) {
    if (!bench_engine_is_processor(&context->engine)) return;
    row->limit_seconds = cost->compute + cost->memory;
    row->limit_by = cost->compute > cost->memory ? "FMA" : "memory";
}

anx_preprocess_profile bench_profile_for(const anx_graph *graph) {
    anx_preprocess_profile profile = anx_preprocess_torchvision;
    const int size = (int)anx_graph_extent(graph, ANX_NODE_INPUT)->dim[1];
    profile.resize = profile.resize * size / profile.crop;
    profile.crop = size;
    return profile;
}

static anx_status read_image(void *context, int64_t i, uint8_t **bytes, size_t *n_bytes, anx_error *err) {
    const bench_context *c = context;
    return anx_read_file(c->images[i % c->n_images], bytes, n_bytes, err);
}

static const char *image_name(void *context, int64_t i) {
    const bench_context *c = context;
    return c->images[i % c->n_images];
}

anx_image_source bench_image_source(bench_context *context) {
    return (anx_image_source){.read = read_image, .name = image_name, .context = context};
}
