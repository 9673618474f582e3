#include "tools/benchmark/cases_inside.h"

#include <stdio.h>

#include "src/base/clock.h"
#include "tools/benchmark/learner.h"

/* ---- what a step costs at least ------------------------------------------------------------------------- */

static bool is_head(const anx_node *node) {
    return node->layer->op == ANX_OP_LINEAR;
}

/*
 * One product forward, one for the gradient by the weights, one for that by the input, but for the first layer
 * that is trained; and what the optimizer moves: parameter, gradient and momentum are read, two of them written.
 */
static void set_limit(const bench_context *context, int64_t batch, bench_trained trained, bench_row *row) {
    const anx_graph *graph = context->model->graph;
    bench_cost cost = {.compute = 0.0};
    bool is_below = true; /* nothing so far is trained */
    for (int i = 0; i < graph->n_nodes; i++) {
        const anx_node *node = &graph->nodes[i];
        if (node->weight == ANX_NO_PARAM) continue;
        const bool learns = trained == BENCH_TRAIN_ALL || is_head(node);
        const int products = 1 + (learns ? 1 : 0) + (is_below ? 0 : 1);
        for (int k = 0; k < products; k++) bench_cost_add_product(context, i, batch, &cost);
        if (!learns) continue;
        cost.memory += bench_sgd_bytes(anx_param_elems(&graph->params[node->weight])) / bench_memory_speed(context);
        is_below = false;
    }
    bench_cost_to_row(context, &cost, row);
}

/* ---- steps ---------------------------------------------------------------------------------------------- */

typedef struct train_case {
    bench_context *context;
    int threads;
    int64_t batch;
    bench_trained trained;
} train_case;

/* A step in turns with PyTorch's, and with `bare` (NULL: there is none). */
static anx_status train_turns(const train_case *c, bench_learner *learner,
                              anx_status (*bare)(void *user, double *seconds, anx_error *err), void *user,
                              bench_row *row, anx_error *err) {
    char request[64];
    snprintf(request, sizeof request, "train\t%lld\t%d\t%s", (long long)c->batch, c->threads,
             c->trained == BENCH_TRAIN_HEAD ? "head" : "all");
    anx_status status = ANX_OK;
    for (int run = -2; run < c->context->repeats && status == ANX_OK; run++) { /* two to warm up */
        double seconds = 0.0;
        const double start = anx_clock_seconds();
        status = bench_learner_step(learner, err);
        if (run >= 0) bench_series_add(&row->anx, anx_clock_seconds() - start);
        bench_settle();
        if (status == ANX_OK && bare != NULL) {
            status = bare(user, &seconds, err);
            if (run >= 0) bench_series_add(&row->bare, seconds);
            bench_settle();
        }
        if (status == ANX_OK) bench_ask_torch(c->context, request, &row->torch, run >= 0);
    }
    return status;
}

anx_status bench_train(bench_context *context, const bench_engine *engine, int64_t batch, bench_row *row,
                       anx_error *err) {
    const train_case c = {.context = context, .threads = engine->threads, .batch = batch};
    const anx_model *model = context->model;
    anx_device *device = NULL;
    bench_learner learner = {.trainer = NULL};
    row->name = "train";
    row->items = (double)batch;
    snprintf(row->what, sizeof row->what, "%s, batch %lld", engine->device, (long long)batch);
    if (engine->threads == context->threads) set_limit(context, batch, BENCH_TRAIN_ALL, row);
    anx_status status = bench_engine_open(engine, &device, err);
    if (status == ANX_OK)
        status = bench_learner_init(&learner, model->graph, model->params, device, batch, BENCH_TRAIN_ALL, err);
    if (status == ANX_OK) status = train_turns(&c, &learner, NULL, NULL, row, err);
    bench_learner_fini(&learner);
    anx_device_close(device);
    return status;
}

/* ---- the head alone ------------------------------------------------------------------------------------- */

/* What is left of training the head: the layers below it, run forward, and the head as a network of its own. */
typedef struct apart {
    bench_context *context;
    anx_plan *below;
    int n_groups; /* of them: those before the first linear layer */
    anx_arch arch;
    anx_graph *graph;
    bench_learner head;
} apart;

/* The first layer of the head: flattening, or whatever comes behind the last extent that has rows and columns. */
static int head_begins(const anx_graph *graph) {
    int first = 0;
    while (anx_graph_extent(graph, first)->rank == 3) first++;
    return first;
}

static anx_status make_head(apart *a, int64_t batch, anx_error *err) {
    const anx_graph *whole = a->context->model->graph;
    const int first = head_begins(whole);
    const anx_extent *in = anx_graph_extent(whole, first - 1);
    a->arch = *whole->arch;
    a->arch.layers += first;
    a->arch.n_layers -= first;
    a->arch.in_channels = (int)in->dim[0];
    a->arch.min_size = 1;
    anx_status status = anx_graph_create(&a->arch, whole->num_classes, in->dim[1], in->dim[2], &a->graph, err);
    if (status != ANX_OK) return status;
    /* Parameters lie in the order of the layers: the head's are the last ones. */
    const anx_tensor *params = a->context->model->params + (whole->n_params - a->graph->n_params);
    return bench_learner_init(&a->head, a->graph, params, a->context->device, batch, BENCH_TRAIN_ALL, err);
}

static anx_status make_below(apart *a, int64_t batch, anx_error *err) {
    const anx_model *model = a->context->model;
    const anx_plan_desc desc = {.graph = model->graph,
                                .batch = batch,
                                .mode = ANX_PLAN_INFER,
                                .params = model->params,
                                .n_params = model->graph->n_params};
    anx_status status = anx_plan_create(a->context->device, &desc, &a->below, err);
    if (status != ANX_OK) return status;
    while (!is_head(&model->graph->nodes[anx_plan_group(a->below, a->n_groups)->nodes[0]])) a->n_groups++;
    return bench_fill_input(a->below, a->context->device, err);
}

static void apart_fini(apart *a) {
    bench_learner_fini(&a->head);
    anx_graph_destroy(a->graph);
    anx_plan_destroy(a->below);
}

/* Both, one after the other. */
static anx_status run_apart(void *user, double *seconds, anx_error *err) {
    apart *a = user;
    double start = anx_clock_seconds();
    anx_status status = anx_plan_run_groups(a->below, 0, a->n_groups, err);
    if (status == ANX_OK) status = anx_device_sync(a->context->device, err);
    const double forward = anx_clock_seconds() - start;
    bench_settle();
    start = anx_clock_seconds();
    if (status == ANX_OK) status = bench_learner_step(&a->head, err);
    *seconds = forward + (anx_clock_seconds() - start);
    return status;
}

anx_status bench_train_head(bench_context *context, int64_t batch, bench_row *row, anx_error *err) {
    const train_case c = {.context = context, .threads = context->threads, .batch = batch, .trained = BENCH_TRAIN_HEAD};
    const anx_model *model = context->model;
    apart parts = {.context = context};
    bench_learner learner = {.trainer = NULL};
    row->name = "train head";
    row->items = (double)batch;
    snprintf(row->what, sizeof row->what, "%s, batch %lld", context->engine.device, (long long)batch);
    set_limit(context, batch, BENCH_TRAIN_HEAD, row);
    anx_status status =
        bench_learner_init(&learner, model->graph, model->params, context->device, batch, BENCH_TRAIN_HEAD, err);
    if (status == ANX_OK) status = make_below(&parts, batch, err);
    if (status == ANX_OK) status = make_head(&parts, batch, err);
    if (status == ANX_OK) status = train_turns(&c, &learner, run_apart, &parts, row, err);
    bench_learner_fini(&learner);
    apart_fini(&parts);
    return status;
}

/* ---- as a process --------------------------------------------------------------------------------------- */

anx_status bench_train_steps(const char *weights, const bench_engine *engine, int64_t batch, int64_t steps,
                             anx_error *err) {
    const anx_checkpoint_options quick = {.skip_crc = true};
    anx_checkpoint *checkpoint = NULL;
    anx_model *model = NULL;
    anx_device *device = NULL;
    bench_learner learner = {.trainer = NULL};
    anx_status status = anx_checkpoint_open(weights, &quick, &checkpoint, err);
    if (status == ANX_OK) status = anx_model_bind(checkpoint, NULL, 0, 0, &model, err);
    if (status == ANX_OK) status = bench_engine_open(engine, &device, err);
    if (status == ANX_OK)
        status = bench_learner_init(&learner, model->graph, model->params, device, batch, BENCH_TRAIN_ALL, err);
    for (int64_t i = 0; i < steps && status == ANX_OK; i++) status = bench_learner_step(&learner, err);
    bench_learner_fini(&learner);
    anx_device_close(device);
    anx_model_destroy(model);
    anx_checkpoint_close(checkpoint);
    return status;
}
