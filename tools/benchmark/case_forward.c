#include "src/base/clock.h"
#include "tools/benchmark/bare.h"
#include "tools/benchmark/cases_inside.h"

#include <stdio.h>

static void set_limit(const bench_context *context, int64_t batch, bench_row *row) {
    const anx_graph *graph = context->model->graph;
    bench_cost cost = {.compute = 0.0};
    for (int i = 0; i < graph->n_nodes; i++)
        if (graph->nodes[i].weight != ANX_NO_PARAM) bench_cost_add_product(context, i, batch, &cost);
    bench_cost_to_row(context, &cost, row);
}

static anx_status forward_turns(bench_context *context, anx_plan *plan, bench_bare *bare, int64_t batch, bench_row *row,
                                anx_error *err) {
    const int last = anx_plan_group_of_node(plan, context->model->graph->logits);
    char request[64];
    snprintf(request, sizeof request, "forward\t%lld", (long long)batch);
    anx_status status = ANX_OK;
    for (int run = -2; run < context->repeats && status == ANX_OK; run++) { /* two to warm up */
        double start = anx_clock_seconds();
        status = anx_plan_run_groups(plan, 0, last + 1, err);
        if (status == ANX_OK) status = anx_device_sync(context->device, err);
        if (run >= 0) bench_series_add(&row->anx, anx_clock_seconds() - start);
        bench_settle();
        start = anx_clock_seconds();
        if (status == ANX_OK && bare != NULL) {
            status = bench_bare_run(bare, err);
            if (run >= 0) bench_series_add(&row->bare, anx_clock_seconds() - start);
            bench_settle();
        }
        if (status == ANX_OK) bench_ask_torch(context, request, &row->torch, run >= 0);
    }
    return status;
}

anx_status bench_forward(bench_context *context, int64_t batch, bench_row *row, anx_error *err) {
    const anx_model *model = context->model;
    const anx_plan_desc desc = {.graph = model->graph,
                                .batch = batch,
                                .mode = ANX_PLAN_INFER,
                                .params = model->params,
                                .n_params = model->graph->n_params};
    anx_plan *plan = NULL;
    bench_bare *bare = NULL;
    row->name = "forward";
    row->items = (double)batch;
    snprintf(row->what, sizeof row->what, "batch %lld", (long long)batch);
    set_limit(context, batch, row);
    anx_status status = anx_plan_create(context->device, &desc, &plan, err);
    if (status == ANX_OK && bench_engine_is_processor(&context->engine))
        status = bench_bare_create(model->graph, batch, context->threads, &bare, err);
    if (status == ANX_OK) status = bench_fill_input(plan, context->device, err);
    if (status == ANX_OK) status = forward_turns(context, plan, bare, batch, row, err);
    bench_bare_destroy(bare);
    anx_plan_destroy(plan);
    return status;
}
