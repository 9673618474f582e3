/*
 * run_plan DEVICE infer|observe|train ARCH CLASSES HEIGHT WIDTH BATCH THREADS PARAMS INPUT OUTPUT
 *          [GRADIENT MASKS TRAINED]
 *
 * Runs a plan on raw little-endian float32 files: PARAMS holds the parameters in graph order, INPUT a (N, 3, H, W)
 * batch; OUTPUT gets the output of every group of the plan, each as its (N, ...) elements, in order. For each one a
 * line "NAME ELEMS" goes to stdout, before them one with the device's instruction set.
 *
 * With train, the plan then runs backward from the logits, whose gradient GRADIENT holds. MASKS holds the factors of
 * all dropout rows, in order, or is "-". TRAINED has a 1 or a 0 for each parameter, whether it is trained. OUTPUT gets
 * besides, where there are such: the gradients by the rows' outputs ("grad:NAME") and by the parameters
 * ("param:NAME").
 *
 * ARCH is an architecture's name, or a network written out: the input's channels, then rows, separated by ';', each
 * an operation's name and its numbers. Rows are named "0", "1", ...
 *   conv2d OC KH KW SH SW PH PW DH DW GROUPS; max_pool2d KH KW SH SW PH PW CEIL; adaptive_avg_pool2d H W; linear OUT
 *   relu; dropout; flatten; softmax
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/backend/plan_files.h"

typedef struct request {
    const char *device, *params, *input, *output;
    const char *gradient, *masks, *trained; /* train */
    anx_plan_mode mode;
    const anx_arch *arch;
    int64_t classes, height, width, batch;
    int threads;
} request;

/* ---- a network written out ------------------------------------------------------------------------------ */

enum { MAX_ROWS = 32, MAX_NUMBERS = 10 };

typedef struct custom {
    anx_arch arch;
    anx_layer layers[MAX_ROWS];
    char names[MAX_ROWS][4];
} custom;

static int numbers_of(anx_op op) {
    switch (op) {
    case ANX_OP_CONV2D: return 10;
    case ANX_OP_MAX_POOL2D: return 7;
    case ANX_OP_ADAPTIVE_AVG_POOL2D: return 2;
    case ANX_OP_LINEAR: return 1;
    default: return 0;
    }
}

static void set_numbers(anx_layer *layer, const int *v) {
    switch (layer->op) {
    case ANX_OP_CONV2D:
        layer->u.conv = (anx_conv2d_params){.out_channels = v[0],
                                            .kernel_h = v[1],
                                            .kernel_w = v[2],
                                            .stride_h = v[3],
                                            .stride_w = v[4],
                                            .pad_h = v[5],
                                            .pad_w = v[6],
                                            .dilation_h = v[7],
                                            .dilation_w = v[8],
                                            .groups = v[9]};
        break;
    case ANX_OP_MAX_POOL2D:
        layer->u.pool = (anx_pool2d_params){.kernel_h = v[0],
                                            .kernel_w = v[1],
                                            .stride_h = v[2],
                                            .stride_w = v[3],
                                            .pad_h = v[4],
                                            .pad_w = v[5],
                                            .ceil_mode = v[6] != 0};
        break;
    case ANX_OP_ADAPTIVE_AVG_POOL2D:
        layer->u.adaptive.out_h = v[0];
        layer->u.adaptive.out_w = v[1];
        break;
    case ANX_OP_LINEAR: layer->u.linear.out_features = v[0]; break;
    default: break;
    }
}

static bool parse_row(char *row, anx_layer *layer) {
    char *save = NULL;
    const char *name = strtok_r(row, " ", &save);
    int op = 0, values[MAX_NUMBERS] = {0};
    while (name != NULL && op < ANX_OP_COUNT && strcmp(name, anx_op_name((anx_op)op)) != 0) op++;
    if (name == NULL || op == ANX_OP_COUNT) return false;
    layer->op = (anx_op)op;
    for (int i = 0; i < numbers_of(layer->op); i++) {
        const char *number = strtok_r(NULL, " ", &save);
        if (number == NULL) return false;
        values[i] = atoi(number);
    }
    set_numbers(layer, values);
    return strtok_r(NULL, " ", &save) == NULL;
}

/* Cuts `text` up. */
static bool parse_custom(char *text, custom *out) {
    char *save = NULL;
    const char *channels = strtok_r(text, ";", &save);
    int n = 0;
    if (channels == NULL) return false;
    for (char *row = strtok_r(NULL, ";", &save); row != NULL; row = strtok_r(NULL, ";", &save), n++) {
        if (n == MAX_ROWS || !parse_row(row, &out->layers[n])) return false;
        snprintf(out->names[n], sizeof out->names[n], "%d", n);
        out->layers[n].name = out->names[n];
    }
    out->arch = (anx_arch){.name = "custom",
                           .summary = "",
                           .in_channels = atoi(channels),
                           .default_size = 1,
                           .min_size = 1,
                           .default_classes = 1,
                           .logits = out->names[n - 1],
                           .layers = out->layers,
                           .n_layers = n,
                           .internal = true};
    return n > 0;
}

/* ---- running -------------------------------------------------------------------------------------------- */

static anx_status write_file(const char *path, anx_plan *plan, anx_value value, anx_error *err) {
    size_t used = 0;
    anx_file_map map = ANX_FILE_MAP_INIT;
    anx_status status = anx_file_map_init(&map, path, err);
    if (status != ANX_OK) return status;
    status = plan_file_write(plan, value, ANX_F32, &map, &used, err);
    if (status == ANX_OK && used != map.n_bytes)
        status = anx_error_set(err, ANX_ERR_MISMATCH, "%s holds %zu bytes, not this batch", path, map.n_bytes);
    anx_file_map_fini(&map);
    return status;
}

static anx_status write_masks(const char *path, anx_plan *plan, anx_error *err) {
    const anx_graph *graph = anx_plan_graph(plan);
    size_t used = 0;
    anx_file_map map = ANX_FILE_MAP_INIT;
    anx_status status = anx_file_map_init(&map, path, err);
    if (status != ANX_OK) return status;
    for (int i = 0; i < graph->n_nodes && status == ANX_OK; i++)
        if (graph->nodes[i].layer->op == ANX_OP_DROPOUT)
            status = plan_file_write(plan, (anx_value){ANX_VALUE_MASK, i}, ANX_F32, &map, &used, err);
    anx_file_map_fini(&map);
    return status;
}

static anx_status append_value(anx_plan *plan, anx_value value, const char *prefix, const char *name, FILE *file,
                               anx_error *err) {
    char label[256];
    snprintf(label, sizeof label, "%s%s", prefix, name);
    return plan_file_append(plan, value, ANX_F32, label, file, err);
}

static anx_status append_output(anx_plan *plan, int node, FILE *file, anx_error *err) {
    return append_value(plan, anx_value_output(node), "", anx_plan_graph(plan)->nodes[node].layer->name, file, err);
}

/* Whatever gradients there are. */
static anx_status append_gradients(anx_plan *plan, FILE *file, anx_error *err) {
    const anx_graph *graph = anx_plan_graph(plan);
    anx_status status = ANX_OK;
    for (int i = 0; i <= graph->logits && (status == ANX_OK || status == ANX_ERR_UNSUPPORTED); i++)
        status = append_value(plan, (anx_value){ANX_VALUE_GRAD, i}, "grad:", graph->nodes[i].layer->name, file, err);
    for (int i = 0; i < graph->n_params && (status == ANX_OK || status == ANX_ERR_UNSUPPORTED); i++)
        status = append_value(plan, (anx_value){ANX_VALUE_PARAM_GRAD, i}, "param:", graph->params[i].name, file, err);
    return status == ANX_ERR_UNSUPPORTED ? ANX_OK : status;
}

static anx_status run_backward(const request *r, anx_plan *plan, FILE *file, anx_error *err) {
    const int logits = anx_plan_graph(plan)->logits;
    anx_status status = write_file(r->gradient, plan, (anx_value){ANX_VALUE_GRAD, logits}, err);
    if (status == ANX_OK) status = anx_plan_run_groups_backward(plan, 0, anx_plan_group_of_node(plan, logits) + 1, err);
    return status == ANX_OK ? append_gradients(plan, file, err) : status;
}

/* Group by group, since what infer keeps it keeps until the next group has run. */
static anx_status run_and_read(const request *r, anx_plan *plan, anx_error *err) {
    FILE *file = fopen(r->output, "wb");
    if (file == NULL) return anx_error_set(err, ANX_ERR_IO, "cannot write %s", r->output);
    anx_status status = ANX_OK;
    for (int g = 0; g < anx_plan_group_count(plan) && status == ANX_OK; g++) {
        const anx_group *group = anx_plan_group(plan, g);
        status = anx_plan_run_groups(plan, g, 1, err);
        if (status == ANX_OK) status = append_output(plan, group->nodes[group->n_nodes - 1], file, err);
    }
    if (status == ANX_OK && r->mode == ANX_PLAN_TRAIN) status = run_backward(r, plan, file, err);
    if (fclose(file) != 0 && status == ANX_OK) status = anx_error_set(err, ANX_ERR_IO, "cannot write %s", r->output);
    return status;
}

static anx_status run(const request *r, anx_error *err) {
    anx_graph *graph = NULL;
    anx_device *device = NULL;
    anx_plan *plan = NULL;
    anx_tensor *params = NULL;
    anx_file_map map = ANX_FILE_MAP_INIT;
    anx_status status = anx_graph_create(r->arch, r->classes, r->height, r->width, &graph, err);
    if (status != ANX_OK) goto out;
    params = calloc((size_t)graph->n_params + 1, sizeof *params);
    if (params == NULL) {
        status = anx_error_set(err, ANX_ERR_OUT_OF_MEMORY, "out of memory");
        goto out;
    }
    status = plan_file_params(r->params, graph, &map, params, err);
    const anx_device_options options = {.threads = r->threads};
    if (status == ANX_OK) status = anx_device_open(r->device, &options, &device, err);
    if (status != ANX_OK) goto out;
    anx_device_info info;
    anx_device_describe(device, &info);
    printf("isa %s\n", info.isa);
    bool trained[4 * MAX_ROWS];
    for (int i = 0; i < graph->n_params && r->mode == ANX_PLAN_TRAIN; i++) trained[i] = r->trained[i] == '1';
    const anx_plan_desc desc = {.graph = graph,
                                .batch = r->batch,
                                .mode = r->mode,
                                .params = params,
                                .n_params = graph->n_params,
                                .trained = r->mode == ANX_PLAN_TRAIN ? trained : NULL};
    status = anx_plan_create(device, &desc, &plan, err);
    if (status == ANX_OK) status = write_file(r->input, plan, anx_value_output(ANX_NODE_INPUT), err);
    if (status == ANX_OK && r->mode == ANX_PLAN_TRAIN && strcmp(r->masks, "-") != 0)
        status = write_masks(r->masks, plan, err);
    if (status == ANX_OK) status = run_and_read(r, plan, err);
out:
    anx_plan_destroy(plan);
    anx_device_close(device);
    anx_file_map_fini(&map);
    free(params);
    anx_graph_destroy(graph);
    return status;
}

int main(int argc, char **argv) {
    const bool train = argc == 15 && strcmp(argv[2], "train") == 0;
    if (argc != 12 && !train) {
        fprintf(stderr, "usage: run_plan DEVICE infer|observe|train ARCH CLASSES HEIGHT WIDTH BATCH THREADS PARAMS "
                        "INPUT OUTPUT [GRADIENT MASKS TRAINED]\n");
        return 64;
    }
    static custom written_out;
    request r = {.device = argv[1],
                 .mode = train                           ? ANX_PLAN_TRAIN
                         : strcmp(argv[2], "infer") == 0 ? ANX_PLAN_INFER
                                                         : ANX_PLAN_OBSERVE,
                 .arch = anx_arch_find(argv[3]),
                 .classes = atoll(argv[4]),
                 .height = atoll(argv[5]),
                 .width = atoll(argv[6]),
                 .batch = atoll(argv[7]),
                 .threads = atoi(argv[8]),
                 .params = argv[9],
                 .input = argv[10],
                 .output = argv[11],
                 .gradient = train ? argv[12] : NULL,
                 .masks = train ? argv[13] : NULL,
                 .trained = train ? argv[14] : NULL};
    anx_error err = ANX_ERROR_INIT;
    char text[1024];
    if (r.arch == NULL && parse_custom(argv[3], &written_out)) r.arch = &written_out.arch;
    if (r.arch == NULL) {
        fprintf(stderr, "run_plan: unknown architecture '%s'\n", argv[3]);
        return 64;
    }
    if (run(&r, &err) == ANX_OK) return 0;
    fprintf(stderr, "run_plan: %s\n", anx_error_format(&err, text, sizeof text));
    return 2;
}
