/*
 * cuda_steady infer|train COUNT [BATCH]: COUNT batches through AlexNet on the cuda device as an evaluation or a
 * training runs them, for tests/cuda/steady.sh to count the calls of, and to see what a batch costs the host: with the
 * double's arithmetic switched off that is all there is. Prints microseconds per batch; of no batches through an
 * evaluation, how many groups one runs.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "src/base/clock.h"
#include "src/train/trainer.h"

static anx_error err;

static void must(bool good) {
    if (good) return;
    fprintf(stderr, "%s\n", err.message);
    exit(2);
}

static anx_tensor *make_params(const anx_graph *graph) {
    anx_tensor *params = calloc((size_t)graph->n_params, sizeof *params);
    must(params != NULL);
    for (int i = 0; i < graph->n_params; i++) {
        must(anx_tensor_alloc(ANX_F32, graph->params[i].rank, graph->params[i].shape, &params[i], &err) == ANX_OK);
        memset(params[i].data, 0, anx_tensor_bytes(&params[i]));
    }
    return params;
}

/* Passes before the clock starts. */
enum { WARM_UP = 20 };

static void start(anx_plan *plan, int groups, const anx_tensor *x) {
    must(anx_plan_write(plan, anx_value_output(ANX_NODE_INPUT), x, &err) == ANX_OK &&
         anx_plan_run_groups(plan, 0, groups, &err) == ANX_OK);
}

/* As anx_evaluate has it, but for what is decoded meanwhile. */
static void infer(anx_device *device, const anx_graph *graph, anx_tensor *params, int64_t batch, int count) {
    const anx_plan_desc desc = {
        .graph = graph, .batch = batch, .mode = ANX_PLAN_INFER, .params = params, .n_params = graph->n_params};
    const anx_value input = anx_value_output(ANX_NODE_INPUT), output = anx_value_output(graph->logits);
    anx_plan *plan = NULL;
    int64_t shape[4];
    must(anx_plan_create(device, &desc, &plan, &err) == ANX_OK);
    const int groups = anx_plan_group_of_node(plan, graph->logits) + 1;
    int rank = anx_plan_value_shape(plan, input, shape);
    anx_tensor x = anx_tensor_view(ANX_F32, rank, shape, NULL);
    rank = anx_plan_value_shape(plan, output, shape);
    anx_tensor logits = anx_tensor_view(ANX_F32, rank, shape, NULL);
    must(anx_device_host_alloc(device, anx_tensor_bytes(&x), &x.data, &err) == ANX_OK);
    must(anx_device_host_alloc(device, anx_tensor_bytes(&logits), &logits.data, &err) == ANX_OK);
    memset(x.data, 0, anx_tensor_bytes(&x));
    start(plan, groups, &x);
    double begun = 0;
    for (int i = -WARM_UP; i < count; i++) {
        if (i == 0) begun = anx_clock_seconds();
        must(anx_plan_read(plan, output, &logits, &err) == ANX_OK && anx_device_sync(device, &err) == ANX_OK);
        start(plan, groups, &x);
    }
    if (count > 0)
        printf("%.1f\n", (anx_clock_seconds() - begun) / count * 1e6);
    else
        printf("%d\n", groups);
    anx_plan_destroy(plan);
    anx_device_host_free(device, x.data);
    anx_device_host_free(device, logits.data);
}

static void train(anx_device *device, const anx_graph *graph, anx_tensor *params, int64_t batch, int count) {
    const anx_sgd_options sgd = {.lr = 0.01, .momentum = 0.9, .weight_decay = 1e-4};
    int *groups = calloc((size_t)graph->n_params, sizeof *groups);
    int64_t *targets = calloc((size_t)batch, sizeof *targets), shape[4];
    must(groups != NULL && targets != NULL);
    const anx_trainer_options options = {
        .graph = graph, .device = device, .batch = batch, .groups = &sgd, .n_groups = 1, .group_of_param = groups};
    anx_trainer *trainer = NULL;
    anx_trainer_result result;
    anx_mt19937 gen;
    anx_tensor x = ANX_TENSOR_INIT;
    anx_mt19937_seed(&gen, 0);
    const int rank = anx_graph_node_shape(graph, ANX_NODE_INPUT, batch, shape);
    must(anx_tensor_alloc(ANX_F32, rank, shape, &x, &err) == ANX_OK);
    memset(x.data, 0, anx_tensor_bytes(&x));
    must(anx_trainer_create(&options, params, &trainer, &err) == ANX_OK);
    must(anx_trainer_step(trainer, &gen, &x, targets, &result, &err) == ANX_OK);
    const double begun = anx_clock_seconds();
    for (int i = 0; i < count; i++) must(anx_trainer_step(trainer, &gen, &x, targets, &result, &err) == ANX_OK);
    printf("%.1f\n", (anx_clock_seconds() - begun) / count * 1e6);
    anx_trainer_destroy(trainer);
    anx_tensor_fini(&x);
    free(groups);
    free(targets);
}

int main(int argc, char **argv) {
    anx_device *device = NULL;
    anx_graph *graph = NULL;
    if (argc < 3) {
        fprintf(stderr, "usage: cuda_steady infer|train COUNT [BATCH]\n");
        return 64;
    }
    const int64_t batch = argc > 3 ? atoi(argv[3]) : 1;
    must(anx_graph_create(anx_arch_find("alexnet"), 0, 0, 0, &graph, &err) == ANX_OK);
    must(anx_device_open("cuda", NULL, &device, &err) == ANX_OK);
    anx_tensor *params = make_params(graph);
    if (strcmp(argv[1], "train") == 0)
        train(device, graph, params, batch, atoi(argv[2]));
    else
        infer(device, graph, params, batch, atoi(argv[2]));
    for (int i = 0; i < graph->n_params; i++) anx_tensor_fini(&params[i]);
    free(params);
    anx_device_close(device);
    anx_graph_destroy(graph);
    return 0;
}
