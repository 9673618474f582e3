/*
 * trainer_tool DEVICE THREADS SEED CLASSES BATCH DROPOUT SMOOTHING
 *              GROUPS (LR MOMENTUM DAMPENING DECAY NESTEROV MAXIMIZE)... GROUP_OF_PARAM... (IMAGES LR...)...
 *
 * AlexNet as PyTorch constructs it after manual_seed(SEED), trained on from there with the same generator: a step of
 * IMAGES images, with a learning rate for each group, for every such set of numbers up to the last argument. DROPOUT:
 * -1 for what the model has. Numbers are decimal or hexadecimal. Standard input: for each step its images, float32, and
 * their targets, int64. Standard output, after each step: the loss, float32; the number of right answers, int64; the
 * logits, float32; for each parameter the SHA-256 of its values, momentum and gradient, zeros for what it has not.
 * Everything raw and little-endian. TRAINER_TOOL_TIMES in the environment: the time of each step on standard error.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "src/base/sha256.h"
#include "src/train/init.h"
#include "src/train/trainer.h"
#include "tests/train/tool_io.h"

static void write_digest(const anx_tensor *t) {
    anx_digest digest;
    anx_error err = ANX_ERROR_INIT;
    memset(&digest, 0, sizeof digest);
    if (t != NULL) check(anx_sha256_buffer(t->data, anx_tensor_bytes(t), &digest, &err), &err);
    write_array(&digest, 1, sizeof digest);
}

/* Parameters of the seed, the generator behind them. */
static anx_tensor *new_params(const anx_graph *graph, anx_mt19937 *gen) {
    anx_tensor *params = new_array((size_t)graph->n_params, sizeof *params);
    anx_error err = ANX_ERROR_INIT;
    for (int i = 0; i < graph->n_params; i++)
        check(anx_tensor_alloc(ANX_F32, graph->params[i].rank, graph->params[i].shape, &params[i], &err), &err);
    check(anx_init_params(gen, graph, params, &err), &err);
    return params;
}

static void free_params(anx_tensor *params, int n) {
    for (int i = 0; i < n; i++) anx_tensor_fini(&params[i]);
    free(params);
}

static void take_groups(anx_trainer_options *o) {
    o->n_groups = (int)take_int();
    o->groups = take_sgd_groups(o->n_groups);
    int *group_of_param = new_array((size_t)o->graph->n_params, sizeof *group_of_param);
    for (int i = 0; i < o->graph->n_params; i++) group_of_param[i] = (int)take_int();
    o->group_of_param = group_of_param;
}

static void write_state(anx_trainer *trainer, const anx_trainer_options *o) {
    anx_error err = ANX_ERROR_INIT;
    check(anx_trainer_fetch(trainer, &err), &err);
    for (int i = 0; i < o->graph->n_params; i++) {
        const anx_param *p = &o->graph->params[i];
        const bool trained = o->group_of_param[i] != ANX_TRAINER_FROZEN;
        anx_tensor grad = ANX_TENSOR_INIT;
        if (trained) {
            check(anx_tensor_alloc(ANX_F32, p->rank, p->shape, &grad, &err), &err);
            check(anx_trainer_grad(trainer, i, &grad, &err), &err);
        }
        write_digest(&anx_trainer_params(trainer)[i]);
        write_digest(anx_trainer_momentum(trainer, i));
        write_digest(trained ? &grad : NULL);
        anx_tensor_fini(&grad);
    }
}

static void run_step(anx_trainer *trainer, const anx_trainer_options *o, anx_mt19937 *gen) {
    int64_t shape[4];
    anx_trainer_result result;
    anx_error err = ANX_ERROR_INIT;
    anx_tensor input = ANX_TENSOR_INIT;
    const int64_t n = take_int();
    const int rank = anx_graph_node_shape(o->graph, ANX_NODE_INPUT, n, shape);
    for (int i = 0; i < o->n_groups; i++) anx_trainer_groups(trainer)[i].lr = take_double();
    int64_t *targets = new_array((size_t)n, sizeof *targets);
    check(anx_tensor_alloc(ANX_F32, rank, shape, &input, &err), &err);
    read_array(input.data, anx_tensor_bytes(&input), 1);
    read_array(targets, (size_t)n, sizeof *targets);
    const double start = seconds();
    check(anx_trainer_step(trainer, gen, &input, targets, &result, &err), &err);
    if (getenv("TRAINER_TOOL_TIMES") != NULL) fprintf(stderr, "%.0f ms\n", 1e3 * (seconds() - start));
    if (result.nonfinite.kind != ANX_NONFINITE_NONE) fail(result.nonfinite.name);
    const anx_tensor *logits = anx_trainer_logits(trainer);
    write_array(&result.loss, 1, sizeof result.loss);
    write_array(&result.top1, 1, sizeof result.top1);
    write_array(logits->data, anx_tensor_bytes(logits), 1);
    write_state(trainer, o);
    anx_tensor_fini(&input);
    free(targets);
}

int main(int argc, char **argv) {
    if (argc < 9) fail("too few numbers");
    take_from(argv + 1);
    anx_graph *graph = NULL;
    anx_device *device = NULL;
    anx_trainer *trainer = NULL;
    anx_error err = ANX_ERROR_INIT;
    anx_mt19937 gen;
    const char *name = take_text();
    const anx_device_options device_options = {.threads = (int)take_int()};
    check(anx_device_open(name, &device_options, &device, &err), &err);
    anx_mt19937_seed(&gen, strtoull(take_text(), NULL, 0));
    check(anx_graph_create(anx_arch_find("alexnet"), take_int(), 0, 0, &graph, &err), &err);
    anx_trainer_options o = {.graph = graph, .device = device, .batch = take_int()};
    o.dropout = take_double();
    o.has_dropout = o.dropout >= 0.0;
    o.label_smoothing = take_double();
    take_groups(&o);
    anx_tensor *params = new_params(graph, &gen);
    check(anx_trainer_create(&o, params, &trainer, &err), &err);
    free_params(params, graph->n_params);
    while (has_more()) run_step(trainer, &o, &gen);
    anx_trainer_destroy(trainer);
    anx_device_close(device);
    union {
        const void *in;
        void *out;
    } groups = {.in = o.groups}, group_of_param = {.in = o.group_of_param};
    free(groups.out);
    free(group_of_param.out);
    anx_graph_destroy(graph);
    return fflush(stdout) == 0 ? 0 : 1;
}
