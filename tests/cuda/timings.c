/*
 * gpu_timings FILE [RUNS [BATCH...]]: what AlexNet costs on the GPU at hand, by the GPU's own clock (events on the
 * stream that works): forward passes and training steps in every arithmetic, and the products of the linear layers in
 * each of cuBLAS's modes. The median and the least of RUNS (30), at batches 1, 8, 64 and 256 unless others are named.
 * A table on stdout, JSON into FILE. Exit 0; 2 where something failed.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "parity/json_builder.h"
#include "src/backend/cuda/device.h"
#include "src/backend/cuda/table.h"
#include "src/train/trainer.h"

enum { MAX_RUNS = 1000, WARM_UP = 3 };

static anx_error err;
static anx_json json;
static int runs = 30;
static struct CUevent_st *begin, *end;

static void must(bool good, const char *what) {
    if (good) return;
    fprintf(stderr, "gpu_timings: %s: %s\n", what, err.message);
    exit(2);
}

static void must_code(unsigned code, const char *what) {
    if (code == 0) return;
    fprintf(stderr, "gpu_timings: %s: %u\n", what, code);
    exit(2);
}

#define MUST(call) must((call) == ANX_OK, #call)

/* ---- the device ----------------------------------------------------------------------------------------- */

/* What the engine's own device is made of: its stream is where the events go. */
static anx_cuda_device *cuda;
static anx_device *device;

static anx_status open_and_keep(int ordinal, const anx_device_options *options, void **out, anx_error *e) {
    const anx_status status = anx_cuda_table.device_open(ordinal, options, out, e);
    if (status == ANX_OK) cuda = *out;
    return status;
}

static void open_device(anx_math_mode math) {
    static anx_backend table;
    table = anx_cuda_table;
    table.device_open = open_and_keep;
    const anx_device_options options = {.math = math};
    must(anx_device_open_backend(&table, 0, &options, &device, &err) == ANX_OK, "open the device");
    must_code(cuda->api->cudaEventCreateWithFlags(&begin, ANX_CU_EVENT_DEFAULT), "an event");
    must_code(cuda->api->cudaEventCreateWithFlags(&end, ANX_CU_EVENT_DEFAULT), "an event");
}

static void close_device(void) {
    MUST(anx_device_sync(device, &err));
    must_code(cuda->api->cudaEventDestroy(begin), "destroy an event");
    must_code(cuda->api->cudaEventDestroy(end), "destroy an event");
    anx_device_close(device);
}

/* ---- measuring ------------------------------------------------------------------------------------------ */

typedef struct work {
    void (*prepare)(void *state); /* not measured; NULL: nothing to prepare */
    void (*run)(void *state);
    void *state;
} work;

static int compare(const void *a, const void *b) {
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static float run_once(const work *w) {
    float ms = 0.0f;
    if (w->prepare != NULL) w->prepare(w->state);
    must_code(cuda->api->cudaEventRecord(begin, cuda->stream), "record");
    w->run(w->state);
    must_code(cuda->api->cudaEventRecord(end, cuda->stream), "record");
    must_code(cuda->api->cudaEventSynchronize(end), "wait");
    must_code(cuda->api->cudaEventElapsedTime(&ms, begin, end), "the time between two events");
    return ms;
}

static void measure(const work *w, cJSON *row) {
    double ms[MAX_RUNS];
    for (int i = 0; i < WARM_UP && i < runs; i++) run_once(w);
    for (int i = 0; i < runs; i++) ms[i] = (double)run_once(w);
    qsort(ms, (size_t)runs, sizeof *ms, compare);
    const double median = (ms[(runs - 1) / 2] + ms[runs / 2]) / 2.0;
    anx_json_add_value(&json, row, "median_ms", median);
    anx_json_add_value(&json, row, "least_ms", ms[0]);
    printf("%10.4f ms, %10.4f at least\n", median, ms[0]);
    fflush(stdout);
}

/* ---- the network ---------------------------------------------------------------------------------------- */

static anx_graph *graph;
static anx_tensor *params;

/* Between -scale and scale. Zeros would not do: a GPU multiplies them with less power, at a higher clock. */
static void fill(float *values, int64_t n, float scale) {
    static uint32_t state = 1;
    for (int64_t i = 0; i < n; i++) {
        state = state * 1664525u + 1013904223u;
        values[i] = scale * ((float)(state >> 8) * 0x1p-23f - 1.0f);
    }
}

static void fill_tensor(anx_tensor *t, float scale) {
    fill(t->data, anx_tensor_elems(t), scale);
}

static void make_network(void) {
    MUST(anx_graph_create(anx_arch_find("alexnet"), 0, 0, 0, &graph, &err));
    params = calloc((size_t)graph->n_params, sizeof *params);
    must(params != NULL, "memory");
    for (int i = 0; i < graph->n_params; i++) {
        MUST(anx_tensor_alloc(ANX_F32, graph->params[i].rank, graph->params[i].shape, &params[i], &err));
        fill_tensor(&params[i], 0.02f);
    }
}

static anx_tensor make_input(int64_t batch) {
    int64_t shape[4];
    anx_tensor x = ANX_TENSOR_INIT;
    const int rank = anx_graph_node_shape(graph, ANX_NODE_INPUT, batch, shape);
    MUST(anx_tensor_alloc(ANX_F32, rank, shape, &x, &err));
    fill_tensor(&x, 1.0f);
    return x;
}

typedef struct forward {
    anx_plan *plan;
    anx_tensor x;
    int groups;
} forward;

/* The input is there before the clock runs. */
static void write_input(void *state) {
    forward *f = state;
    MUST(anx_plan_write(f->plan, anx_value_output(ANX_NODE_INPUT), &f->x, &err));
    MUST(anx_device_sync(device, &err));
}

static void run_forward(void *state) {
    forward *f = state;
    MUST(anx_plan_run_groups(f->plan, 0, f->groups, &err));
}

static void time_forward(int64_t batch, cJSON *row) {
    forward f = {.x = make_input(batch)};
    const anx_plan_desc desc = {
        .graph = graph, .batch = batch, .mode = ANX_PLAN_INFER, .params = params, .n_params = graph->n_params};
    MUST(anx_plan_create(device, &desc, &f.plan, &err));
    f.groups = anx_plan_group_of_node(f.plan, graph->logits) + 1;
    measure(&(work){write_input, run_forward, &f}, row);
    MUST(anx_device_sync(device, &err));
    anx_plan_destroy(f.plan);
    anx_tensor_fini(&f.x);
}

typedef struct training {
    anx_trainer *trainer;
    anx_tensor x;
    int64_t *targets;
    anx_mt19937 gen;
    bool finite; /* a step ends early where its loss is not */
} training;

static void run_step(void *state) {
    training *t = state;
    anx_trainer_result result;
    MUST(anx_trainer_step(t->trainer, &t->gen, &t->x, t->targets, &result, &err));
    t->finite = t->finite && result.nonfinite.kind == ANX_NONFINITE_NONE;
}

/* A whole step: the batch and PyTorch's masks go up, the loss is found on the host meanwhile. */
static void time_step(int64_t batch, cJSON *row) {
    const anx_sgd_options sgd = {.lr = 1e-6, .momentum = 0.9, .weight_decay = 1e-4};
    training t = {.x = make_input(batch), .targets = calloc((size_t)batch, sizeof *t.targets), .finite = true};
    int *groups = calloc((size_t)graph->n_params, sizeof *groups);
    must(groups != NULL && t.targets != NULL, "memory");
    anx_mt19937_seed(&t.gen, 0);
    const anx_trainer_options options = {
        .graph = graph, .device = device, .batch = batch, .groups = &sgd, .n_groups = 1, .group_of_param = groups};
    MUST(anx_trainer_create(&options, params, &t.trainer, &err));
    measure(&(work){NULL, run_step, &t}, row);
    anx_json_add_bool(&json, row, "finite", t.finite);
    if (!t.finite) printf("    ended early: the loss is not finite\n");
    anx_trainer_destroy(t.trainer);
    anx_tensor_fini(&t.x);
    free(t.targets);
    free(groups);
}

typedef struct timed {
    const char *name;
    void (*time)(int64_t batch, cJSON *row);
} timed;

static void time_network(const int64_t *batches, int n_batches, cJSON *rows) {
    static const timed all[] = {{"forward", time_forward}, {"step", time_step}};
    for (anx_math_mode math = ANX_MATH_FLOAT32; math <= ANX_MATH_FAST; math++) {
        open_device(math);
        for (int k = 0; k < 2; k++)
            for (int i = 0; i < n_batches; i++) {
                cJSON *row = anx_json_add_object(&json, rows, NULL);
                anx_json_add_text(&json, row, "what", all[k].name);
                anx_json_add_text(&json, row, "math", anx_math_mode_name(math));
                anx_json_add_integer(&json, row, "batch", batches[i]);
                printf("%-8s %-9s batch %4lld ", all[k].name, anx_math_mode_name(math), (long long)batches[i]);
                all[k].time(batches[i], row);
            }
        close_device();
    }
}

/* ---- products ------------------------------------------------------------------------------------------- */

typedef struct product {
    anx_cublas_linear shape;
    float *x, *w, *y;
} product;

static void run_forward_product(void *state) {
    const product *p = state;
    MUST(anx_cublas_linear_forward(&cuda->blas, &p->shape, p->x, p->w, p->y, &err));
}

static void run_data_product(void *state) {
    const product *p = state;
    MUST(anx_cublas_linear_backward_data(&cuda->blas, &p->shape, p->w, p->y, p->x, &err));
}

static void run_weights_product(void *state) {
    const product *p = state;
    MUST(anx_cublas_linear_backward_weights(&cuda->blas, &p->shape, p->x, p->y, p->w, &err));
}

static float *on_device(int64_t n) {
    void *memory = NULL;
    float *values = calloc((size_t)n, sizeof *values);
    must(values != NULL, "memory");
    fill(values, n, 1.0f);
    must_code(cuda->api->cudaMalloc(&memory, (size_t)n * sizeof(float)), "memory on the device");
    must_code(
        cuda->api->cudaMemcpyAsync(memory, values, (size_t)n * sizeof(float), ANX_CU_HOST_TO_DEVICE, cuda->stream),
        "a copy");
    must_code(cuda->api->cudaStreamSynchronize(cuda->stream), "wait");
    free(values);
    return memory;
}

static void time_products_of(const char *layer, const anx_cublas_linear *shape, cJSON *rows) {
    static const struct {
        const char *name;
        void (*run)(void *state);
    } products[] = {{"forward", run_forward_product}, {"data", run_data_product}, {"weights", run_weights_product}};
    static const struct {
        const char *name;
        unsigned mode;
    } modes[] = {{"PEDANTIC", ANX_CU_BLAS_PEDANTIC_MATH},
                 {"DEFAULT", ANX_CU_BLAS_DEFAULT_MATH},
                 {"TF32", ANX_CU_BLAS_TF32_MATH}};
    product p = {.shape = *shape,
                 .x = on_device(shape->n * shape->in),
                 .w = on_device(shape->in * shape->out),
                 .y = on_device(shape->n * shape->out)};
    for (int k = 0; k < 3; k++)
        for (int m = 0; m < 3; m++) {
            cJSON *row = anx_json_add_object(&json, rows, NULL);
            anx_json_add_text(&json, row, "layer", layer);
            anx_json_add_text(&json, row, "product", products[k].name);
            anx_json_add_text(&json, row, "mode", modes[m].name);
            anx_json_add_integer(&json, row, "batch", shape->n);
            printf("%s %-7s %-8s batch %4lld ", layer, products[k].name, modes[m].name, (long long)shape->n);
            must_code(cuda->api->cublasSetMathMode(cuda->blas.handle, modes[m].mode), "set cuBLAS's mode");
            measure(&(work){NULL, products[k].run, &p}, row);
        }
    must_code(cuda->api->cudaFree(p.x), "free");
    must_code(cuda->api->cudaFree(p.w), "free");
    must_code(cuda->api->cudaFree(p.y), "free");
}

static void time_products(const int64_t *batches, int n_batches, cJSON *rows) {
    open_device(ANX_MATH_FLOAT32);
    for (int node = 0; node < graph->n_nodes; node++) {
        const anx_node *n = &graph->nodes[node];
        if (n->layer->op != ANX_OP_LINEAR) continue;
        for (int i = 0; i < n_batches; i++)
            time_products_of(n->layer->name, &(anx_cublas_linear){batches[i], n->in.dim[0], n->out.dim[0]}, rows);
    }
    close_device();
}

/* ---- all of it ------------------------------------------------------------------------------------------ */

static void write_report(cJSON *root, const char *path) {
    char *text = NULL, part[4096];
    size_t bytes = 0;
    MUST(anx_json_print(&json, root, &text, &bytes, &err));
    snprintf(part, sizeof part, "%s.part", path);
    FILE *file = fopen(part, "wb");
    const bool written = file != NULL && fwrite(text, 1, bytes, file) == bytes;
    if (file == NULL || fclose(file) != 0 || !written || rename(part, path) != 0) {
        perror(path);
        exit(2);
    }
    free(text);
}

int main(int argc, char **argv) {
    int64_t batches[16] = {1, 8, 64, 256};
    int n_batches = 4;
    if (argc > 2) runs = atoi(argv[2]);
    if (argc > 3) n_batches = argc - 3 < 16 ? argc - 3 : 16;
    for (int i = 3; i < argc && i < 3 + n_batches; i++) batches[i - 3] = atoi(argv[i]);
    if (argc < 2 || runs < 1 || runs > MAX_RUNS) {
        fprintf(stderr, "usage: gpu_timings JSON_FILE [RUNS [BATCH...]]\n");
        return 64;
    }
    make_network();
    cJSON *root = anx_json_root(&json);
    anx_json_add_integer(&json, root, "runs", runs);
    time_network(batches, n_batches, anx_json_add_array(&json, root, "network"));
    time_products(batches, n_batches, anx_json_add_array(&json, root, "products"));
    write_report(root, argv[1]);
    for (int i = 0; i < graph->n_params; i++) anx_tensor_fini(&params[i]);
    free(params);
    anx_graph_destroy(graph);
    return 0;
}
