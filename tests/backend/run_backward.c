/*
 * run_backward describe NETWORK
 * run_backward DEVICE NETWORK CLASSES BATCH THREADS START PARAMS DATA OUTPUT
 *
 * Runs a train plan forward and backward on raw little-endian files. NETWORK is an architecture's name or "#N", the
 * N-th case of the conformance suite, lifted. START: the row whose output the loss is of. PARAMS: the parameters in
 * graph order, float32. DATA, all float64: the input, each dropout's mask, the gradient by START's output. OUTPUT, all
 * float64: START's output, the gradients by the outputs of groups up to it, and by each parameter. For each one a line
 * "KIND NAME ELEMS" goes to stdout, then one with the seconds that forward and backward took.
 *
 * describe prints the number of classes and the input's extent, then for each row its name, operation and numbers:
 *   conv2d OC KH KW SH SW PH PW DH DW GROUPS; max_pool2d KH KW SH SW PH PW CEIL; adaptive_avg_pool2d H W;
 *   linear OUT; relu; dropout; flatten; softmax
 * with "logits" behind the row of the logits.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "tests/backend/plan_files.h"
#include "tests/conformance/cases.h"

typedef struct request {
    const char *device, *start, *params, *data, *output;
    int64_t classes, batch;
    int threads;
    conformance_lifted lifted;
    const anx_arch *arch;
    int height, width;
} request;

static bool find_network(const char *name, request *r) {
    if (name[0] != '#') {
        r->arch = anx_arch_find(name);
        return r->arch != NULL;
    }
    const conformance_case *c = conformance_case_at(atoi(name + 1));
    if (c == NULL) return false;
    conformance_lift(c, &r->lifted);
    r->arch = &r->lifted.c.arch;
    r->height = c->height;
    r->width = c->width;
    return true;
}

static void describe_row(const anx_node *node) {
    const anx_pool2d_params *p = &node->layer->u.pool;
    const anx_conv2d_params *c = &node->conv;
    printf("%s %s", node->layer->name, anx_op_name(node->layer->op));
    if (node->layer->op == ANX_OP_CONV2D)
        printf(" %d %d %d %d %d %d %d %d %d %d", c->out_channels, c->kernel_h, c->kernel_w, c->stride_h, c->stride_w,
               c->pad_h, c->pad_w, c->dilation_h, c->dilation_w, c->groups);
    if (node->layer->op == ANX_OP_MAX_POOL2D)
        printf(" %d %d %d %d %d %d %d", p->kernel_h, p->kernel_w, p->stride_h, p->stride_w, p->pad_h, p->pad_w,
               p->ceil_mode);
    if (node->layer->op == ANX_OP_ADAPTIVE_AVG_POOL2D)
        printf(" %lld %lld", (long long)node->out.dim[1], (long long)node->out.dim[2]);
    if (node->layer->op == ANX_OP_LINEAR) printf(" %lld", (long long)node->out.dim[0]);
}

/* Names may hold spaces nowhere: layers are named as PyTorch's modules. */
static anx_status describe(const request *r, anx_error *err) {
    anx_graph *graph = NULL;
    anx_status status = anx_graph_create(r->arch, r->classes, r->height, r->width, &graph, err);
    if (status != ANX_OK) return status;
    printf("%lld %lld %lld %lld\n", (long long)graph->num_classes, (long long)graph->input.dim[0],
           (long long)graph->input.dim[1], (long long)graph->input.dim[2]);
    for (int node = 0; node < graph->n_nodes; node++) {
        describe_row(&graph->nodes[node]);
        printf("%s\n", node == graph->logits ? " logits" : "");
    }
    anx_graph_destroy(graph);
    return ANX_OK;
}

/* The row to start from; ANX_NODE_INPUT, which is none, where there is no such. */
static int start_of(const request *r, const anx_graph *graph) {
    const int node = anx_graph_find_node(graph, r->start);
    return node < 0 ? ANX_NODE_INPUT : node;
}

/* ---- values ---------------------------------------------------------------------------------------------- */

static anx_status append(anx_plan *plan, anx_value value, const char *kind, const char *name, FILE *file,
                         anx_error *err) {
    char label[256];
    snprintf(label, sizeof label, "%s %s", kind, name);
    return plan_file_append(plan, value, ANX_F64, label, file, err);
}

static anx_status write_inputs(anx_plan *plan, const request *r, anx_error *err) {
    const anx_graph *graph = anx_plan_graph(plan);
    anx_file_map map = ANX_FILE_MAP_INIT;
    size_t at = 0;
    anx_status status = anx_file_map_init(&map, r->data, err);
    if (status == ANX_OK) status = plan_file_write(plan, anx_value_output(ANX_NODE_INPUT), ANX_F64, &map, &at, err);
    for (int node = 0; status == ANX_OK && node < graph->n_nodes; node++)
        if (graph->nodes[node].layer->op == ANX_OP_DROPOUT)
            status = plan_file_write(plan, (anx_value){ANX_VALUE_MASK, node}, ANX_F64, &map, &at, err);
    if (status == ANX_OK)
        status = plan_file_write(plan, (anx_value){ANX_VALUE_GRAD, start_of(r, graph)}, ANX_F64, &map, &at, err);
    if (status == ANX_OK && at != map.n_bytes)
        status = anx_error_set(err, ANX_ERR_MISMATCH, "the data file is longer than this network's data");
    anx_file_map_fini(&map);
    return status;
}

static anx_status write_outputs(anx_plan *plan, const request *r, anx_error *err) {
    const anx_graph *graph = anx_plan_graph(plan);
    const int start = start_of(r, graph);
    FILE *file = fopen(r->output, "wb");
    if (file == NULL) return anx_error_set(err, ANX_ERR_IO, "cannot write %s", r->output);
    anx_status status = append(plan, anx_value_output(start), "output", r->start, file, err);
    for (int node = 0; status == ANX_OK && node <= start; node++)
        if (anx_plan_group_of_node(plan, node) >= 0)
            status = append(plan, (anx_value){ANX_VALUE_GRAD, node}, "grad", graph->nodes[node].layer->name, file, err);
    for (int i = 0; status == ANX_OK && i < graph->n_params; i++)
        if (graph->params[i].node <= start)
            status = append(plan, (anx_value){ANX_VALUE_PARAM_GRAD, i}, "param", graph->params[i].name, file, err);
    if (fclose(file) != 0 && status == ANX_OK) status = anx_error_set(err, ANX_ERR_IO, "cannot write %s", r->output);
    return status;
}

/* ---- running --------------------------------------------------------------------------------------------- */

static double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static anx_status run_plan(anx_device *device, anx_plan *plan, const request *r, anx_error *err) {
    const int last = anx_plan_group_of_node(plan, start_of(r, anx_plan_graph(plan)));
    anx_status status = write_inputs(plan, r, err);
    const double start = now();
    if (status == ANX_OK) status = anx_plan_run_groups(plan, 0, last + 1, err);
    if (status == ANX_OK) status = anx_device_sync(device, err);
    const double middle = now();
    if (status == ANX_OK) status = anx_plan_run_groups_backward(plan, 0, last + 1, err);
    if (status == ANX_OK) status = anx_device_sync(device, err);
    const double end = now();
    if (status == ANX_OK) status = write_outputs(plan, r, err);
    printf("seconds %.3f %.3f\n", middle - start, end - middle);
    return status;
}

static anx_status run(const request *r, anx_error *err) {
    anx_graph *graph = NULL;
    anx_device *device = NULL;
    anx_plan *plan = NULL;
    anx_tensor *params = NULL;
    anx_file_map map = ANX_FILE_MAP_INIT;
    anx_status status = anx_graph_create(r->arch, r->classes, r->height, r->width, &graph, err);
    if (status == ANX_OK && start_of(r, graph) == ANX_NODE_INPUT)
        status = anx_error_set(err, ANX_ERR_NOT_FOUND, "the network has no row '%s'", r->start);
    if (status != ANX_OK) goto out;
    params = calloc((size_t)graph->n_params + 1, sizeof *params);
    if (params == NULL) {
        status = anx_error_set(err, ANX_ERR_OUT_OF_MEMORY, "out of memory");
        goto out;
    }
    status = plan_file_params(r->params, graph, &map, params, err);
    if (status != ANX_OK) goto out;
    const anx_device_options options = {.threads = r->threads};
    status = anx_device_open(r->device, &options, &device, err);
    const anx_plan_desc desc = {
        .graph = graph, .batch = r->batch, .mode = ANX_PLAN_TRAIN, .params = params, .n_params = graph->n_params};
    if (status == ANX_OK) status = anx_plan_create(device, &desc, &plan, err);
    if (status == ANX_OK) status = run_plan(device, plan, r, err);
out:
    anx_plan_destroy(plan);
    anx_device_close(device);
    anx_file_map_fini(&map);
    free(params);
    anx_graph_destroy(graph);
    return status;
}

int main(int argc, char **argv) {
    static request r;
    static anx_error err;
    static char text[1024];
    const bool describes = argc == 3 && strcmp(argv[1], "describe") == 0;
    if ((argc != 10 && !describes) || !find_network(argv[2], &r)) {
        fprintf(stderr, "usage: run_backward describe NETWORK\n"
                        "       run_backward DEVICE NETWORK CLASSES BATCH THREADS START PARAMS DATA OUTPUT\n");
        return 64;
    }
    if (!describes) {
        r.device = argv[1];
        r.classes = atoll(argv[3]);
        r.batch = atoll(argv[4]);
        r.threads = atoi(argv[5]);
        r.start = argv[6];
        r.params = argv[7];
        r.data = argv[8];
        r.output = argv[9];
    }
    if ((describes ? describe(&r, &err) : run(&r, &err)) == ANX_OK) return 0;
    fprintf(stderr, "run_backward: %s\n", anx_error_format(&err, text, sizeof text));
    return 2;
}
