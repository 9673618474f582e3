#include "tests/parity/narrow_recording.h"

#include <math.h>
#include <stdlib.h>

#include "src/backend/backend.h"
#include "src/backend/reference/ops.h"
#include "tests/support/anx_test.h"
#include "tests/support/random.h"

static void *must(void *p) {
    if (p == NULL) abort();
    return p;
}

anx_model *narrow_model_make(void) {
    anx_error err = ANX_ERROR_INIT;
    anx_model *model = must(calloc(1, sizeof *model));
    ANX_CHECK_OK(anx_graph_create(anx_arch_find("narrow"), 0, 0, 0, &model->graph, &err), &err);
    CU_ASSERT_PTR_NOT_NULL_FATAL(model->graph);
    model->params = must(calloc((size_t)model->graph->n_params, sizeof *model->params));
    test_random r = {.state = 21};
    for (int i = 0; i < model->graph->n_params; i++) {
        const anx_param *p = &model->graph->params[i];
        ANX_CHECK_OK(anx_tensor_alloc(ANX_F32, p->rank, p->shape, &model->params[i], &err), &err);
        float *data = model->params[i].data;
        for (int64_t k = 0; k < anx_tensor_elems(&model->params[i]); k++)
            data[k] = test_random_normal(&r) * (p->is_bias ? 0.2f : 1.4f / sqrtf((float)p->fan_in));
    }
    return model;
}

static anx_tensor make_input(const anx_graph *graph, int64_t batch) {
    anx_error err = ANX_ERROR_INIT;
    const int64_t shape[4] = {batch, graph->input.dim[0], graph->input.dim[1], graph->input.dim[2]};
    anx_tensor t = ANX_TENSOR_INIT;
    ANX_CHECK_OK(anx_tensor_alloc(ANX_F32, 4, shape, &t, &err), &err);
    test_random r = {.state = 4};
    for (int64_t i = 0; i < anx_tensor_elems(&t); i++) ((float *)t.data)[i] = test_random_normal(&r);
    return t;
}

/* Runs the exact backend and reads every node's output. */
static void run_exact(narrow_recording *r, int64_t batch) {
    anx_error err = ANX_ERROR_INIT;
    const anx_graph *graph = r->model->graph;
    anx_device *device = NULL;
    anx_plan *plan = NULL;
    ANX_CHECK_OK(anx_device_open("exact", NULL, &device, &err), &err);
    const anx_plan_desc desc = {.graph = graph,
                                .batch = batch,
                                .mode = ANX_PLAN_OBSERVE,
                                .params = r->model->params,
                                .n_params = graph->n_params};
    ANX_CHECK_OK(anx_plan_create(device, &desc, &plan, &err), &err);
    CU_ASSERT_PTR_NOT_NULL_FATAL(plan);
    ANX_CHECK_OK(anx_plan_write(plan, anx_value_output(ANX_NODE_INPUT), &r->input, &err), &err);
    ANX_CHECK_OK(anx_plan_run(plan, &err), &err);
    for (int node = 0; node < graph->n_nodes; node++) {
        int64_t shape[4];
        const int rank = anx_graph_node_shape(graph, node, batch, shape);
        ANX_CHECK_OK(anx_tensor_alloc(ANX_F32, rank, shape, &r->y32[node], &err), &err);
        ANX_CHECK_OK(anx_plan_read(plan, anx_value_output(node), &r->y32[node], &err), &err);
    }
    ANX_CHECK_OK(anx_device_sync(device, &err), &err);
    anx_plan_destroy(plan);
    anx_device_close(device);
}

/* y64 - y32 of a convolution or linear layer, from the exact backend's values of its input. */
static void record_truth(narrow_recording *r, int node, int64_t batch) {
    anx_error err = ANX_ERROR_INIT;
    const anx_graph *graph = r->model->graph;
    const anx_node *n = &graph->nodes[node];
    const anx_tensor *x = n->inputs[0] == ANX_NODE_INPUT ? &r->input : &r->y32[n->inputs[0]];
    const int64_t elems = anx_tensor_elems(&r->y32[node]);
    double *y64 = must(malloc((size_t)elems * sizeof *y64));
    ANX_CHECK_OK(anx_reference_node(graph, node, batch, x, &r->model->params[n->weight], &r->model->params[n->bias],
                                    y64, 1, &err),
                 &err);
    ANX_CHECK_OK(anx_tensor_alloc(ANX_F32, r->y32[node].rank, r->y32[node].shape, &r->e64[node], &err), &err);
    for (int64_t i = 0; i < elems; i++)
        ((float *)r->e64[node].data)[i] = (float)(y64[i] - (double)((float *)r->y32[node].data)[i]);
    free(y64);
}

narrow_recording narrow_recording_make(int64_t batch) {
    anx_error err = ANX_ERROR_INIT;
    narrow_recording r = {.model = narrow_model_make()};
    const anx_graph *graph = r.model->graph;
    const size_t n = (size_t)graph->n_nodes;
    ANX_CHECK_OK(anx_model_digests(r.model, 1, &err), &err);
    r.input = make_input(graph, batch);
    r.y32 = must(calloc(n, sizeof *r.y32));
    r.e64 = must(calloc(n, sizeof *r.e64));
    r.points = must(calloc(n, sizeof *r.points));
    r.params = must(calloc((size_t)graph->n_params, sizeof *r.params));
    r.cases = must(calloc(1, sizeof *r.cases));
    r.fixture = must(calloc(1, sizeof *r.fixture));
    r.items = must(calloc(1, sizeof *r.items));
    run_exact(&r, batch);
    for (int i = 0; i < graph->n_params; i++)
        r.params[i] = (anx_fixture_param){graph->params[i].name, r.model->digests[i]};
    for (int node = 0; node < graph->n_nodes; node++) {
        anx_fixture_point *p = &r.points[node];
        const bool full = graph->nodes[node].weight != ANX_NO_PARAM;
        p->name = graph->nodes[node].layer->name;
        p->rank = anx_graph_node_shape(graph, node, batch, p->shape);
        p->has_digest = true;
        p->pytorch_bits = true;
        ANX_CHECK_OK(anx_tensor_digest(&r.y32[node], &p->digest, &err), &err);
        if (!full) continue;
        record_truth(&r, node, batch);
        p->y32 = r.y32[node];
        p->e64 = r.e64[node];
        p->y32.owned = p->e64.owned = NULL;
    }
    r.cases[0] = (anx_fixture_case){.name = "noise",
                                    .quick = true,
                                    .shape = {batch, r.input.shape[1], r.input.shape[2], r.input.shape[3]},
                                    .recorded_at_batch = 4,
                                    .input_kind = ANX_FIXTURE_INPUT_TENSOR,
                                    .tensor = r.input,
                                    .points = r.points,
                                    .n_points = graph->n_nodes};
    ANX_CHECK_OK(anx_tensor_digest(&r.input, &r.cases[0].input_digest, &err), &err);
    *r.fixture = (anx_fixture){.path = "in memory",
                               .name = "narrow recording",
                               .kind = ANX_FIXTURE_FORWARD,
                               .arch = "narrow",
                               .num_classes = graph->num_classes,
                               .model = "random",
                               .params = r.params,
                               .n_params = graph->n_params,
                               .n_cases = 1};
    r.fixture->cases = r.cases;
    r.items[0] = r.fixture;
    r.set = (anx_fixture_set){.items = r.items, .count = 1};
    return r;
}

void narrow_recording_free(narrow_recording *r) {
    for (int node = 0; node < r->model->graph->n_nodes; node++) {
        anx_tensor_fini(&r->y32[node]);
        anx_tensor_fini(&r->e64[node]);
    }
    anx_tensor_fini(&r->input);
    anx_model_destroy(r->model);
    free(r->cases);
    free(r->fixture);
    free(r->items);
    free(r->params);
    free(r->points);
    free(r->y32);
    free(r->e64);
}

const anx_fixture_point *narrow_recording_point(const narrow_recording *r, const char *name) {
    return anx_fixture_case_point(&r->fixture->cases[0], name);
}
