#include "tests/train/trainer_bench.h"

#include <string.h>

#include "src/train/init.h"
#include "tests/support/anx_test.h"

static void bench_init(bench *b, anx_device *device) {
    anx_error err = ANX_ERROR_INIT;
    anx_mt19937 gen;
    *b = (bench){.device = device};
    ANX_CHECK_OK(anx_graph_create(anx_arch_find("narrow"), 0, 0, 0, &b->graph, &err), &err);
    CU_ASSERT_FATAL(b->graph != NULL && b->graph->n_params <= MOST_PARAMS);
    for (int i = 0; i < b->graph->n_params; i++) {
        const anx_param *p = &b->graph->params[i];
        ANX_CHECK_OK(anx_tensor_alloc(ANX_F32, p->rank, p->shape, &b->params[i], &err), &err);
    }
    anx_mt19937_seed(&gen, 5);
    ANX_CHECK_OK(anx_init_params(&gen, b->graph, b->params, &err), &err);
    for (int i = 0; i < 2; i++) b->groups[i] = (anx_sgd_options){.lr = 0.05, .momentum = 0.9, .weight_decay = 1e-3};
    b->options = (anx_trainer_options){.graph = b->graph,
                                       .device = b->device,
                                       .batch = BATCH,
                                       .label_smoothing = 0.1,
                                       .groups = b->groups,
                                       .n_groups = 2,
                                       .group_of_param = b->group_of_param};
}

void bench_open(bench *b, const char *device, int threads) {
    anx_error err = ANX_ERROR_INIT;
    const anx_device_options options = {.threads = threads};
    anx_device *opened = NULL;
    ANX_CHECK_OK(anx_device_open(device, &options, &opened, &err), &err);
    CU_ASSERT_PTR_NOT_NULL_FATAL(opened);
    bench_init(b, opened);
}

void bench_open_backend(bench *b, const anx_backend *backend) {
    anx_error err = ANX_ERROR_INIT;
    const anx_device_options options = {.threads = 1};
    anx_device *device = NULL;
    ANX_CHECK_OK(anx_device_open_backend(backend, 0, &options, &device, &err), &err);
    CU_ASSERT_PTR_NOT_NULL_FATAL(device);
    bench_init(b, device);
}

void bench_fini(bench *b) {
    for (int i = 0; i < b->graph->n_params; i++) anx_tensor_fini(&b->params[i]);
    anx_graph_destroy(b->graph);
    anx_device_close(b->device);
}

anx_trainer *bench_trainer(const bench *b) {
    anx_error err = ANX_ERROR_INIT;
    anx_trainer *trainer = NULL;
    ANX_CHECK_OK(anx_trainer_create(&b->options, b->params, &trainer, &err), &err);
    CU_ASSERT_PTR_NOT_NULL_FATAL(trainer);
    return trainer;
}

void batch_init(batch *x, const bench *b, int64_t n, uint64_t seed) {
    int64_t shape[4];
    anx_error err = ANX_ERROR_INIT;
    const int rank = anx_graph_node_shape(b->graph, ANX_NODE_INPUT, n, shape);
    anx_mt19937_seed(&x->gen, seed);
    ANX_CHECK_OK(anx_tensor_alloc(ANX_F32, rank, shape, &x->input, &err), &err);
    anx_mt19937_uniform_f32(&x->gen, (size_t)anx_tensor_elems(&x->input), -2.0f, 2.0f, x->input.data);
    for (int64_t i = 0; i < n; i++) x->targets[i] = (int64_t)(anx_mt19937_u32(&x->gen) % 11);
}

anx_trainer_result bench_step_on(anx_trainer *trainer, batch *x) {
    anx_error err = ANX_ERROR_INIT;
    anx_trainer_result result = {.loss = -1.0f};
    ANX_CHECK_OK(anx_trainer_step(trainer, &x->gen, &x->input, x->targets, &result, &err), &err);
    return result;
}

anx_trainer_result bench_step(const bench *b, anx_trainer *trainer, int64_t n, uint64_t seed) {
    batch x;
    batch_init(&x, b, n, seed);
    const anx_trainer_result result = bench_step_on(trainer, &x);
    anx_tensor_fini(&x.input);
    return result;
}

bool same_tensors(const anx_tensor *a, const anx_tensor *b) {
    if (a == NULL || b == NULL) return a == b;
    return anx_tensor_same_shape(a, b) && memcmp(a->data, b->data, anx_tensor_bytes(a)) == 0;
}

const anx_tensor *param_of(anx_trainer *trainer, int param) {
    anx_error err = ANX_ERROR_INIT;
    ANX_CHECK_OK(anx_trainer_fetch(trainer, &err), &err);
    return &anx_trainer_params(trainer)[param];
}

const anx_tensor *momentum_of(anx_trainer *trainer, int param) {
    anx_error err = ANX_ERROR_INIT;
    ANX_CHECK_OK(anx_trainer_fetch(trainer, &err), &err);
    return anx_trainer_momentum(trainer, param);
}

void expect_same_state(const bench *b, anx_trainer *x, anx_trainer *y) {
    for (int i = 0; i < b->graph->n_params; i++) {
        CU_ASSERT_TRUE(same_tensors(param_of(x, i), param_of(y, i)));
        CU_ASSERT_TRUE(same_tensors(momentum_of(x, i), momentum_of(y, i)));
    }
}

int count_changed(const bench *b, anx_trainer *trainer) {
    int changed = 0;
    for (int i = 0; i < b->graph->n_params; i++) changed += !same_tensors(param_of(trainer, i), &b->params[i]);
    return changed;
}

void carry_over(const bench *b, anx_trainer *from, anx_trainer *to) {
    anx_error err = ANX_ERROR_INIT;
    for (int i = 0; i < b->graph->n_params; i++) {
        ANX_CHECK_OK(anx_trainer_set_param(to, i, param_of(from, i), &err), &err);
        ANX_CHECK_OK(anx_trainer_set_momentum(to, i, momentum_of(from, i), &err), &err);
    }
}
