/* The judge's plans: made for one input size and batch at a time, when first needed. */
#include <stdlib.h>
#include <string.h>

#include "parity/judge_run.h"
#include "parity/points.h"
#include "src/base/checked.h"

bool anx_judge_wants(const anx_judge_run *run, const anx_graph *graph, int node) {
    const char *globs = run->options->points;
    if (anx_points_match(globs, node == ANX_NODE_INPUT ? "input" : graph->nodes[node].layer->name)) return true;
    return node == graph->logits && anx_points_match(globs, "logits");
}

anx_status anx_judge_alloc(const anx_graph *graph, int node, int64_t batch, size_t elem_bytes, void *out,
                           anx_error *err) {
    size_t elems, bytes;
    void *p = NULL;
    if (!anx_checked_mul_size((size_t)anx_graph_node_elems(graph, node), (size_t)batch, &elems) ||
        !anx_checked_mul_size(elems, elem_bytes, &bytes) ||
        posix_memalign(&p, ANX_ALIGNMENT_BYTES, bytes > 0 ? bytes : 1) != 0)
        return anx_error_set(err, ANX_ERR_OUT_OF_MEMORY, "no memory for the values of '%s' at batch %lld",
                             node == ANX_NODE_INPUT ? "input" : graph->nodes[node].layer->name, (long long)batch);
    memcpy(out, &p, sizeof p); /* out is the address of a pointer of any type */
    return ANX_OK;
}

anx_tensor anx_judge_view(const anx_graph *graph, int node, int64_t batch, const float *data) {
    int64_t shape[4];
    const int rank = anx_graph_node_shape(graph, node, batch, shape);
    return anx_tensor_view(ANX_F32, rank, shape, data);
}

void anx_judge_drop_plans(anx_judge_run *run) {
    anx_plan_destroy(run->plans.exact);
    anx_plan_destroy(run->plans.observe);
    anx_plan_destroy(run->plans.infer);
    run->plans = (anx_judge_plans){NULL, NULL, NULL};
}

anx_status anx_judge_resize(anx_judge_run *run, int64_t height, int64_t width, int64_t batch, anx_error *err) {
    const anx_extent *now = run->sized != NULL ? &run->sized->graph->input : NULL;
    const bool same_size = now != NULL && now->dim[1] == height && now->dim[2] == width;
    if (same_size && run->batch == batch) return ANX_OK;
    anx_judge_drop_plans(run);
    run->batch = batch;
    if (same_size) return ANX_OK;
    if (run->sized != run->model) anx_model_destroy(run->sized);
    run->sized = NULL;
    const anx_extent *own = &run->model->graph->input;
    if (own->dim[1] == height && own->dim[2] == width) {
        run->sized = run->model;
        return ANX_OK;
    }
    return anx_model_resize(run->model, height, width, &run->sized, err);
}

anx_status anx_judge_plan(anx_judge_run *run, anx_device *device, anx_plan_mode mode, anx_plan **slot, anx_error *err) {
    if (*slot != NULL) return ANX_OK;
    const anx_plan_desc desc = {.graph = run->sized->graph,
                                .batch = run->batch,
                                .mode = mode,
                                .params = run->sized->params,
                                .n_params = run->sized->graph->n_params};
    return anx_plan_create(device, &desc, slot, err);
}
