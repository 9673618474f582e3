/*
 * train_pass DEVICE CLASSES HEIGHT WIDTH BATCH THREADS FROZEN FOLDER
 *
 * Runs AlexNet forward and backward on raw little-endian float32 files in FOLDER: params (in graph order), input
 * (N, 3, H, W), masks (of every dropout, in order), grad (by the logits). The first FROZEN parameters are not trained.
 * Appends what the plan then holds to FOLDER/values, with a line "KIND NAME ELEMS" on stdout for each: every OUTPUT,
 * GRAD and ARGMAX (as int64) that can be read, and every PARAM_GRAD. Lines "group FIRST LAST" come before them.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "loaders/file.h"
#include "src/backend/backend.h"

typedef struct request {
    const char *device, *folder;
    int64_t classes, height, width, batch;
    int threads, frozen;
} request;

static anx_status map_file(const request *r, const char *name, size_t bytes, anx_file_map *map, anx_error *err) {
    char path[4096];
    snprintf(path, sizeof path, "%s/%s", r->folder, name);
    anx_status status = anx_file_map_init(map, path, err);
    if (status == ANX_OK && map->n_bytes != bytes)
        status = anx_error_set(err, ANX_ERR_MISMATCH, "%s holds %zu bytes, expected %zu", path, map->n_bytes, bytes);
    return status;
}

static anx_tensor view_of(const anx_plan *plan, anx_value value, const void *data) {
    int64_t shape[4];
    const int rank = anx_plan_value_shape(plan, value, shape);
    return anx_tensor_view(value.kind == ANX_VALUE_ARGMAX ? ANX_I64 : ANX_F32, rank, shape, data);
}

static anx_status write_file(const request *r, anx_plan *plan, anx_value value, const char *name, anx_error *err) {
    anx_file_map map = ANX_FILE_MAP_INIT;
    anx_tensor host = view_of(plan, value, NULL);
    anx_status status = map_file(r, name, anx_tensor_bytes(&host), &map, err);
    host = view_of(plan, value, map.bytes);
    if (status == ANX_OK) status = anx_plan_write(plan, value, &host, err);
    anx_file_map_fini(&map);
    return status;
}

static bool is(const anx_graph *graph, int node, anx_op op) {
    return graph->nodes[node].layer->op == op;
}

static anx_status write_masks(const request *r, anx_plan *plan, const anx_graph *graph, anx_error *err) {
    anx_file_map map = ANX_FILE_MAP_INIT;
    size_t bytes = 0, at = 0;
    for (int i = 0; i < graph->n_nodes; i++)
        if (is(graph, i, ANX_OP_DROPOUT)) bytes += (size_t)(r->batch * anx_graph_node_elems(graph, i)) * sizeof(float);
    anx_status status = map_file(r, "masks", bytes, &map, err);
    for (int i = 0; i < graph->n_nodes && status == ANX_OK; i++) {
        if (!is(graph, i, ANX_OP_DROPOUT)) continue;
        const anx_value value = {ANX_VALUE_MASK, i};
        const anx_tensor mask = view_of(plan, value, (const uint8_t *)map.bytes + at);
        status = anx_plan_write(plan, value, &mask, err);
        at += anx_tensor_bytes(&mask);
    }
    anx_file_map_fini(&map);
    return status;
}

/* Appends the value where the plan keeps it. */
static anx_status append(anx_plan *plan, anx_value value, const char *kind, const char *name, FILE *file,
                         anx_error *err) {
    const anx_tensor like = view_of(plan, value, NULL);
    anx_tensor host = ANX_TENSOR_INIT;
    anx_status status = anx_tensor_alloc(like.dtype, like.rank, like.shape, &host, err);
    if (status == ANX_OK) status = anx_plan_read(plan, value, &host, err);
    if (status == ANX_OK) {
        printf("%s %s %lld\n", kind, name, (long long)anx_tensor_elems(&host));
        if (fwrite(host.data, 1, anx_tensor_bytes(&host), file) != anx_tensor_bytes(&host))
            status = anx_error_set(err, ANX_ERR_IO, "cannot write the values");
    }
    anx_tensor_fini(&host);
    return status == ANX_ERR_UNSUPPORTED ? ANX_OK : status;
}

static anx_status append_values(const request *r, anx_plan *plan, const anx_graph *graph, anx_error *err) {
    char path[4096];
    snprintf(path, sizeof path, "%s/values", r->folder);
    FILE *file = fopen(path, "wb");
    if (file == NULL) return anx_error_set(err, ANX_ERR_IO, "cannot write %s", path);
    anx_status status = ANX_OK;
    for (int i = ANX_NODE_INPUT; i <= graph->logits && status == ANX_OK; i++) {
        const char *name = i < 0 ? "input" : graph->nodes[i].layer->name;
        status = append(plan, (anx_value){ANX_VALUE_OUTPUT, i}, "OUTPUT", name, file, err);
        if (status == ANX_OK) status = append(plan, (anx_value){ANX_VALUE_GRAD, i}, "GRAD", name, file, err);
        if (status == ANX_OK && i >= 0 && is(graph, i, ANX_OP_MAX_POOL2D))
            status = append(plan, (anx_value){ANX_VALUE_ARGMAX, i}, "ARGMAX", name, file, err);
    }
    for (int i = 0; i < graph->n_params && status == ANX_OK; i++)
        status = append(plan, (anx_value){ANX_VALUE_PARAM_GRAD, i}, "PARAM_GRAD", graph->params[i].name, file, err);
    if (fclose(file) != 0 && status == ANX_OK) status = anx_error_set(err, ANX_ERR_IO, "cannot write %s", path);
    return status;
}

static anx_status pass(const request *r, anx_plan *plan, const anx_graph *graph, anx_error *err) {
    const int groups = anx_plan_group_of_node(plan, graph->logits) + 1;
    for (int g = 0; g < groups; g++) {
        const anx_group *group = anx_plan_group(plan, g);
        printf("group %s %s\n", graph->nodes[group->nodes[0]].layer->name,
               graph->nodes[group->nodes[group->n_nodes - 1]].layer->name);
    }
    anx_status status = write_file(r, plan, anx_value_output(ANX_NODE_INPUT), "input", err);
    if (status == ANX_OK) status = write_masks(r, plan, graph, err);
    if (status == ANX_OK) status = anx_plan_run_groups(plan, 0, groups, err);
    if (status == ANX_OK) status = write_file(r, plan, (anx_value){ANX_VALUE_GRAD, graph->logits}, "grad", err);
    if (status == ANX_OK) status = anx_plan_run_groups_backward(plan, 0, groups, err);
    return status == ANX_OK ? append_values(r, plan, graph, err) : status;
}

static anx_status run(const request *r, anx_error *err) {
    anx_graph *graph = NULL;
    anx_device *device = NULL;
    anx_plan *plan = NULL;
    anx_tensor *params = NULL;
    bool *trained = NULL;
    anx_file_map map = ANX_FILE_MAP_INIT;
    const anx_device_options options = {.threads = r->threads};
    anx_status status = anx_graph_create(anx_arch_find("alexnet"), r->classes, r->height, r->width, &graph, err);
    if (status == ANX_OK)
        status = map_file(r, "params", (size_t)anx_graph_param_elems(graph) * sizeof(float), &map, err);
    if (status == ANX_OK) status = anx_device_open(r->device, &options, &device, err);
    if (status != ANX_OK) goto out;
    params = calloc((size_t)graph->n_params, sizeof *params);
    trained = calloc((size_t)graph->n_params, sizeof *trained);
    if (params == NULL || trained == NULL) {
        status = anx_error_set(err, ANX_ERR_OUT_OF_MEMORY, "out of memory");
        goto out;
    }
    const uint8_t *p = map.bytes;
    for (int i = 0; i < graph->n_params; i++) {
        params[i] = anx_tensor_view(ANX_F32, graph->params[i].rank, graph->params[i].shape, p);
        p += anx_tensor_bytes(&params[i]);
        trained[i] = i >= r->frozen;
    }
    const anx_plan_desc desc = {.graph = graph,
                                .batch = r->batch,
                                .mode = ANX_PLAN_TRAIN,
                                .params = params,
                                .n_params = graph->n_params,
                                .trained = trained};
    status = anx_plan_create(device, &desc, &plan, err);
    if (status == ANX_OK) status = pass(r, plan, graph, err);
out:
    anx_plan_destroy(plan);
    anx_device_close(device);
    anx_file_map_fini(&map);
    free(trained);
    free(params);
    anx_graph_destroy(graph);
    return status;
}

int main(int argc, char **argv) {
    if (argc != 9) {
        fprintf(stderr, "usage: train_pass DEVICE CLASSES HEIGHT WIDTH BATCH THREADS FROZEN FOLDER\n");
        return 64;
    }
    const request r = {.device = argv[1],
                       .classes = atoll(argv[2]),
                       .height = atoll(argv[3]),
                       .width = atoll(argv[4]),
                       .batch = atoll(argv[5]),
                       .threads = atoi(argv[6]),
                       .frozen = atoi(argv[7]),
                       .folder = argv[8]};
    anx_error err = ANX_ERROR_INIT;
    char text[1024];
    if (run(&r, &err) == ANX_OK) return 0;
    fprintf(stderr, "train_pass: %s\n", anx_error_format(&err, text, sizeof text));
    return 2;
}
