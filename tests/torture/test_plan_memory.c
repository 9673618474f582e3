/*
 * Every allocation of ours fails in turn while a plan is made and used, alone and with all that follow it: each time an
 * error, or the same results as with enough memory; nothing leaked.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "src/backend/backend.h"
#include "src/train/init.h"
#include "tests/support/anx_test.h"
#include "tests/torture/failing_memory.h"

enum { BATCH = 2, MOST_PARAMS = 16, MOST_ELEMS = 1 << 21 };

/* Everything a run reads and writes, allocated beforehand. */
typedef struct work {
    anx_device *device;
    anx_graph *graph;
    anx_tensor params[MOST_PARAMS], input, logits, grad;
    float *results; /* logits, then train: gradients by the parameters */
    size_t n_results;
} work;

static anx_status read_result(work *w, anx_plan *plan, anx_value value, anx_error *err) {
    int64_t shape[4];
    const int rank = anx_plan_value_shape(plan, value, shape);
    anx_tensor t = anx_tensor_view(ANX_F32, rank, shape, w->results + w->n_results);
    w->n_results += (size_t)anx_tensor_elems(&t);
    CU_ASSERT_FATAL(w->n_results <= MOST_ELEMS);
    return anx_plan_read(plan, value, &t, err);
}

static anx_status run(work *w, anx_plan_mode mode, anx_error *err) {
    const anx_plan_desc desc = {
        .graph = w->graph, .batch = BATCH, .mode = mode, .params = w->params, .n_params = w->graph->n_params};
    anx_plan *plan = NULL;
    w->n_results = 0;
    anx_status status = anx_plan_create(w->device, &desc, &plan, err);
    if (status == ANX_OK) status = anx_plan_forward(plan, &w->input, &w->logits, err);
    if (status == ANX_OK) status = read_result(w, plan, anx_value_output(w->graph->logits), err);
    if (status == ANX_OK && mode == ANX_PLAN_TRAIN) {
        status = anx_plan_write(plan, (anx_value){ANX_VALUE_GRAD, w->graph->logits}, &w->grad, err);
        const int last = anx_plan_group_of_node(plan, w->graph->logits);
        if (status == ANX_OK) status = anx_plan_run_groups_backward(plan, 0, last + 1, err);
        for (int i = 0; i < w->graph->n_params && status == ANX_OK; i++)
            status = read_result(w, plan, (anx_value){ANX_VALUE_PARAM_GRAD, i}, err);
        if (status == ANX_OK) status = anx_device_sync(w->device, err);
    }
    anx_plan_destroy(plan);
    return status;
}

static void torture(work *w, anx_plan_mode mode) {
    anx_error err = ANX_ERROR_INIT;
    static float expected[MOST_ELEMS];
    failing_memory_begin_own(0, false);
    const anx_status enough = run(w, mode, &err);
    const size_t n = failing_memory_end().n_allocations, n_expected = w->n_results;
    ANX_CHECK_OK(enough, &err);
    CU_ASSERT(n > 0);
    memcpy(expected, w->results, n_expected * sizeof *expected);
    for (size_t i = 1; i <= n; i++) {
        for (int lasting = 0; lasting < 2; lasting++) {
            failing_memory_begin_own(i, lasting);
            const anx_status status = run(w, mode, &err);
            const failing_memory_report r = failing_memory_end();
            CU_ASSERT(r.n_failed > 0);
            if (r.n_left > 0) {
                printf("allocation %zu of %zu: %zu blocks are left\n", i, n, r.n_left);
                CU_FAIL("a leak");
            }
            if (status != ANX_OK) {
                CU_ASSERT_EQUAL(status, ANX_ERR_OUT_OF_MEMORY);
            } else if (w->n_results != n_expected || memcmp(w->results, expected, n_expected * sizeof *expected) != 0) {
                printf("allocation %zu of %zu fails, and results differ\n", i, n);
                CU_FAIL("other results without an error");
            }
        }
    }
}

static void on_device(const char *name) {
    anx_error err = ANX_ERROR_INIT;
    work w = {.results = calloc(MOST_ELEMS, sizeof(float))};
    CU_ASSERT_PTR_NOT_NULL_FATAL(w.results);
    const anx_device_options options = {.threads = 1};
    ANX_CHECK_OK(anx_device_open(name, &options, &w.device, &err), &err);
    ANX_CHECK_OK(anx_graph_create(anx_arch_find("narrow"), 0, 0, 0, &w.graph, &err), &err);
    CU_ASSERT_FATAL(w.device != NULL && w.graph != NULL && w.graph->n_params <= MOST_PARAMS);
    for (int i = 0; i < w.graph->n_params; i++)
        ANX_CHECK_OK(anx_tensor_alloc(ANX_F32, w.graph->params[i].rank, w.graph->params[i].shape, &w.params[i], &err),
                     &err);
    anx_mt19937 gen;
    anx_mt19937_seed(&gen, 3);
    ANX_CHECK_OK(anx_init_params(&gen, w.graph, w.params, &err), &err);
    const anx_extent *in = anx_graph_extent(w.graph, ANX_NODE_INPUT);
    ANX_CHECK_OK(anx_tensor_alloc(ANX_F32, 4, (int64_t[]){BATCH, in->dim[0], in->dim[1], in->dim[2]}, &w.input, &err),
                 &err);
    const int64_t rows[] = {BATCH, w.graph->num_classes};
    ANX_CHECK_OK(anx_tensor_alloc(ANX_F32, 2, rows, &w.logits, &err), &err);
    ANX_CHECK_OK(anx_tensor_alloc(ANX_F32, 2, rows, &w.grad, &err), &err);
    float *input = w.input.data, *grad = w.grad.data;
    for (int64_t i = 0; i < anx_tensor_elems(&w.input); i++)
        input[i] = (float)(anx_mt19937_u32(&gen) >> 8) * 0x1p-23f - 1.0f;
    for (int64_t i = 0; i < anx_tensor_elems(&w.grad); i++) grad[i] = (float)(i % 7 - 3);
    torture(&w, ANX_PLAN_INFER);
    torture(&w, ANX_PLAN_TRAIN);
    for (int i = 0; i < w.graph->n_params; i++) anx_tensor_fini(&w.params[i]);
    anx_tensor_fini(&w.input);
    anx_tensor_fini(&w.logits);
    anx_tensor_fini(&w.grad);
    anx_graph_destroy(w.graph);
    anx_device_close(w.device);
    free(w.results);
}

static void reference(void) {
    on_device("reference");
}

static void exact(void) {
    on_device("exact");
}

static void cpu(void) {
    on_device("cpu");
}

int main(int argc, char **argv) {
    static const anx_test tests[] = {{"reference", reference}, {"exact", exact}, {"cpu", cpu}, {NULL, NULL}};
    return anx_test_main("plan_memory", tests, argc, argv);
}
