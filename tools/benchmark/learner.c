#include "tools/benchmark/learner.h"

#include <stdlib.h>

#include "tools/benchmark/cases_inside.h"

const anx_sgd_options bench_sgd_options = {.lr = 1e-4, .momentum = 0.9, .weight_decay = 1e-4};

static anx_status create_trainer(bench_learner *l, const anx_graph *graph, const anx_tensor *params, anx_device *device,
                                 int64_t batch, bench_trained trained, anx_error *err) {
    int *groups = calloc((size_t)graph->n_params, sizeof *groups);
    if (groups == NULL) return anx_error_set(err, ANX_ERR_OUT_OF_MEMORY, "out of memory");
    for (int i = 0; i < graph->n_params; i++)
        if (trained == BENCH_TRAIN_HEAD && graph->nodes[graph->params[i].node].layer->op != ANX_OP_LINEAR)
            groups[i] = ANX_TRAINER_FROZEN;
    const anx_trainer_options options = {.graph = graph,
                                         .device = device,
                                         .batch = batch,
                                         .groups = &bench_sgd_options,
                                         .n_groups = 1,
                                         .group_of_param = groups};
    const anx_status status = anx_trainer_create(&options, params, &l->trainer, err);
    free(groups);
    return status;
}

anx_status bench_learner_init(bench_learner *l, const anx_graph *graph, const anx_tensor *params, anx_device *device,
                              int64_t batch, bench_trained trained, anx_error *err) {
    int64_t shape[4];
    const int rank = anx_graph_node_shape(graph, ANX_NODE_INPUT, batch, shape);
    *l = (bench_learner){
        .device = device, .input = ANX_TENSOR_INIT, .targets = calloc((size_t)batch, sizeof *l->targets)};
    anx_mt19937_seed(&l->gen, 0);
    if (l->targets == NULL) return anx_error_set(err, ANX_ERR_OUT_OF_MEMORY, "out of memory");
    anx_status status = anx_tensor_alloc(ANX_F32, rank, shape, &l->input, err);
    if (status == ANX_OK) status = create_trainer(l, graph, params, device, batch, trained, err);
    if (status != ANX_OK) return status;
    bench_fill(l->input.data, anx_tensor_elems(&l->input));
    for (int64_t i = 0; i < batch; i++) l->targets[i] = i * 37 % graph->num_classes;
    return ANX_OK;
}

void bench_learner_fini(bench_learner *l) {
    anx_trainer_destroy(l->trainer);
    anx_tensor_fini(&l->input);
    free(l->targets);
    *l = (bench_learner){.input = ANX_TENSOR_INIT};
}

anx_status bench_learner_step(bench_learner *l, anx_error *err) {
    anx_trainer_result result = {.loss = 0.0f};
    const anx_status status = anx_trainer_step(l->trainer, &l->gen, &l->input, l->targets, &result, err);
    if (status != ANX_OK) return status;
    if (result.nonfinite.kind == ANX_NONFINITE_NONE) return anx_device_sync(l->device, err);
    return anx_error_set(err, ANX_ERR_INVALID_ARGUMENT, "training came to %g in %s", (double)result.nonfinite.value,
                         result.nonfinite.name);
}
