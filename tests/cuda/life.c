/*
 * cuda_life [STEPS]: a device's whole life in a small network, from opening to closing: two inferences (the second
 * input goes up beside the work on the first), an observation, STEPS steps of training (default 2) with masks from host
 * and device, winners read and written, memory of every kind. What comes out is printed, so that two lives can be
 * compared. Exit 0; 2 with the error where something failed: failures are put in from outside (tests/cuda/failures.sh).
 */
#include <stdio.h>
#include <stdlib.h>

#include "src/backend/backend.h"
#include "src/base/sha256.h"
#include "tests/support/random.h"

enum { BATCH = 3 };

static anx_error err;
static anx_graph *graph;
static anx_device *device;
static anx_tensor *params;
static test_random random_state = {.state = 1};

static bool make_tensor(int rank, const int64_t *shape, double scale, anx_tensor *out) {
    if (anx_tensor_alloc(ANX_F32, rank, shape, out, &err) != ANX_OK) return false;
    float *data = out->data;
    for (int64_t i = 0; i < anx_tensor_elems(out); i++) data[i] = (float)(scale * test_random_normal(&random_state));
    return true;
}

static bool make_network(void) {
    if (anx_graph_create(anx_arch_find("narrow"), 0, 0, 0, &graph, &err) != ANX_OK) return false;
    params = calloc((size_t)graph->n_params, sizeof *params);
    for (int i = 0; params != NULL && i < graph->n_params; i++)
        if (!make_tensor(graph->params[i].rank, graph->params[i].shape, 0.1, &params[i])) return false;
    return params != NULL;
}

static bool make_plan(anx_plan_mode mode, anx_plan **out) {
    const anx_plan_desc desc = {
        .graph = graph, .batch = BATCH, .mode = mode, .params = params, .n_params = graph->n_params};
    return anx_plan_create(device, &desc, out, &err) == ANX_OK;
}

static void tell(const char *what, const anx_tensor *t) {
    anx_sha256 *hash = NULL;
    anx_digest digest;
    if (anx_sha256_create(&hash, NULL) != ANX_OK ||
        anx_sha256_update(hash, t->data, anx_tensor_bytes(t), NULL) != ANX_OK ||
        anx_sha256_finish(hash, &digest, NULL) != ANX_OK)
        exit(3);
    anx_sha256_destroy(hash);
    printf("%s ", what);
    for (int i = 0; i < 8; i++) printf("%02x", digest.bytes[i]);
    printf("\n");
}

static bool read_value(anx_plan *plan, anx_value value, anx_dtype dtype, const char *what) {
    anx_tensor t = ANX_TENSOR_INIT;
    int64_t shape[4];
    const int rank = anx_plan_value_shape(plan, value, shape);
    const bool good = anx_tensor_alloc(dtype, rank, shape, &t, &err) == ANX_OK &&
                      anx_plan_read(plan, value, &t, &err) == ANX_OK && anx_device_sync(device, &err) == ANX_OK;
    if (good) tell(what, &t);
    anx_tensor_fini(&t);
    return good;
}

/* ---- inference ------------------------------------------------------------------------------------------ */

static bool run_two(anx_plan *plan, const anx_tensor *first, const anx_tensor *second, anx_tensor *logits) {
    const anx_value input = anx_value_output(ANX_NODE_INPUT), output = anx_value_output(graph->logits);
    const int groups = anx_plan_group_of_node(plan, graph->logits) + 1;
    bool good = anx_plan_write(plan, input, first, &err) == ANX_OK &&
                anx_plan_run_groups(plan, 0, groups, &err) == ANX_OK &&
                anx_plan_read(plan, output, logits, &err) == ANX_OK &&
                anx_plan_write(plan, input, second, &err) == ANX_OK && anx_device_sync(device, &err) == ANX_OK;
    if (good) tell("first", logits);
    good = good && anx_plan_run_groups(plan, 0, groups, &err) == ANX_OK &&
           anx_plan_read(plan, output, logits, &err) == ANX_OK && anx_device_sync(device, &err) == ANX_OK;
    if (good) tell("second", logits);
    return good;
}

static bool infer(const anx_tensor *first, const anx_tensor *second) {
    anx_plan *plan = NULL;
    int64_t shape[4];
    const int rank = anx_graph_node_shape(graph, graph->logits, BATCH, shape);
    anx_tensor logits = anx_tensor_view(ANX_F32, rank, shape, NULL);
    const bool good = anx_device_host_alloc(device, anx_tensor_bytes(&logits), &logits.data, &err) == ANX_OK &&
                      make_plan(ANX_PLAN_INFER, &plan) && run_two(plan, first, second, &logits);
    anx_plan_destroy(plan);
    anx_device_host_free(device, logits.data);
    return good;
}

static bool observe(const anx_tensor *input) {
    anx_plan *plan = NULL;
    bool good = make_plan(ANX_PLAN_OBSERVE, &plan) &&
                anx_plan_write(plan, anx_value_output(ANX_NODE_INPUT), input, &err) == ANX_OK &&
                anx_plan_run(plan, &err) == ANX_OK;
    for (int i = 0; i < graph->n_nodes && good; i++)
        good = read_value(plan, anx_value_output(i), i % 2 == 0 ? ANX_F32 : ANX_F64, graph->nodes[i].layer->name);
    anx_plan_destroy(plan);
    return good;
}

/* ---- training ------------------------------------------------------------------------------------------- */

static bool each_pool(anx_plan *plan, bool writes) {
    bool good = true;
    for (int i = 0; i < graph->n_nodes && good; i++) {
        const anx_value value = {ANX_VALUE_ARGMAX, i};
        anx_tensor winners = ANX_TENSOR_INIT;
        int64_t shape[4];
        if (graph->nodes[i].layer->op != ANX_OP_MAX_POOL2D) continue;
        const int rank = anx_plan_value_shape(plan, value, shape);
        good = anx_tensor_alloc(ANX_I64, rank, shape, &winners, &err) == ANX_OK &&
               anx_plan_read(plan, value, &winners, &err) == ANX_OK && anx_device_sync(device, &err) == ANX_OK;
        if (good && writes) good = anx_plan_write(plan, value, &winners, &err) == ANX_OK;
        if (good) tell("winners", &winners);
        anx_tensor_fini(&winners);
    }
    return good;
}

static bool step(anx_plan *plan, int index, const anx_tensor *input, const anx_tensor *grad, bool *has_momentum) {
    const anx_sgd_options plain = {.lr = 0.01, .momentum = 0.9, .weight_decay = 1e-4},
                          other = {.lr = 0.02, .momentum = 0.8, .nesterov = true, .maximize = true};
    const anx_sgd_options *options[64] = {NULL};
    double dropout[64] = {0.0};
    for (int i = 0; i < graph->n_params && i < 64; i++) options[i] = i == 1 ? NULL : i > 5 ? &other : &plain;
    for (int i = 0; i < graph->n_nodes && i < 64; i++)
        if (graph->nodes[i].layer->op == ANX_OP_DROPOUT) dropout[i] = 0.5;
    const int groups = anx_plan_group_of_node(plan, graph->logits) + 1;
    return (index % 2 == 0 || anx_plan_draw_masks(plan, dropout, (uint64_t)index, &err) == ANX_OK) &&
           anx_plan_write(plan, anx_value_output(ANX_NODE_INPUT), input, &err) == ANX_OK &&
           anx_plan_run_groups(plan, 0, groups, &err) == ANX_OK && each_pool(plan, index % 2 == 1) &&
           anx_plan_write(plan, (anx_value){ANX_VALUE_GRAD, graph->logits}, grad, &err) == ANX_OK &&
           anx_plan_run_groups_backward(plan, 0, groups, &err) == ANX_OK &&
           anx_plan_sgd_step(plan, options, has_momentum, &err) == ANX_OK && anx_device_sync(device, &err) == ANX_OK;
}

static bool train(const anx_tensor *input, int steps) {
    anx_plan *plan = NULL;
    anx_tensor grad = ANX_TENSOR_INIT;
    int64_t shape[4];
    const int rank = anx_graph_node_shape(graph, graph->logits, BATCH, shape);
    bool has_momentum[64] = {false};
    bool good = make_tensor(rank, shape, 0.1, &grad) && make_plan(ANX_PLAN_TRAIN, &plan);
    for (int i = 0; i < steps && good; i++) good = step(plan, i, input, &grad, has_momentum);
    for (int i = 0; i < graph->n_params && good; i++)
        good = read_value(plan, (anx_value){ANX_VALUE_PARAM, i}, ANX_F32, graph->params[i].name) &&
               read_value(plan, (anx_value){ANX_VALUE_MOMENTUM, i}, ANX_F32, "momentum") &&
               read_value(plan, (anx_value){ANX_VALUE_PARAM_GRAD, i}, ANX_F32, "gradient");
    anx_plan_destroy(plan);
    anx_tensor_fini(&grad);
    return good;
}

int main(int argc, char **argv) {
    anx_tensor first = ANX_TENSOR_INIT, second = ANX_TENSOR_INIT;
    bool good = make_network();
    const int64_t shape[] = {BATCH, good ? graph->input.dim[0] : 0, good ? graph->input.dim[1] : 0,
                             good ? graph->input.dim[2] : 0};
    good = good && make_tensor(4, shape, 1.0, &first) && make_tensor(4, shape, 1.0, &second) &&
           anx_device_open("cuda", NULL, &device, &err) == ANX_OK && infer(&first, &second) && observe(&first) &&
           train(&first, argc > 1 ? atoi(argv[1]) : 2);
    if (!good) fprintf(stderr, "%s\n", err.message);
    anx_device_close(device);
    anx_tensor_fini(&first);
    anx_tensor_fini(&second);
    for (int i = 0; params != NULL && i < graph->n_params; i++) anx_tensor_fini(&params[i]);
    free(params);
    anx_graph_destroy(graph);
    return good ? 0 : 2;
}
