/*
 * bridge_tool THEIRS OURS SCHEDULER WARMUP GROUPS FROZEN: loads a training checkpoint of the narrow network, as PyTorch
 * saved it, into a trainer and a scheduler, and saves them again, for training_bridge_torch.py to compare the bytes.
 * SCHEDULER: train.py's name for it, or "none"; WARMUP: "linear", "constant" or "none"; GROUPS: 1, or 2 with weights in
 * the first and biases in the second, their rates given one by one; FROZEN: so many parameters are frozen.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "loaders/checkpoint/training_bridge.h"

enum { MOST_PARAMS = 16, MOST_MODULES = 40 };

typedef struct modules {
    char text[MOST_MODULES][96];
    const char *names[MOST_MODULES];
    size_t n;
} modules;

static bool add_module(const char *name, void *user) {
    modules *m = user;
    if (m->n == MOST_MODULES) return false;
    snprintf(m->text[m->n], sizeof m->text[m->n], "%s", name);
    m->names[m->n] = m->text[m->n];
    m->n++;
    return true;
}

static anx_status make_scheduler(const char *name, const char *warmup, int n_groups, anx_scheduler **out,
                                 anx_error *err) {
    static int64_t milestones[] = {5, 2, 2};
    double lr[2] = {0.1, 0.1};
    anx_scheduler_kind kind;
    if (strcmp(name, "none") == 0) return ANX_OK;
    if (!anx_scheduler_find(name, &kind)) return anx_error_set(err, ANX_ERR_INVALID_ARGUMENT, "no %s", name);
    anx_scheduler_options main = anx_scheduler_defaults(kind), before;
    if (kind == ANX_MULTI_STEP_LR) {
        main.milestones = milestones;
        main.n_milestones = 3;
    }
    if (strcmp(warmup, "none") == 0) return anx_scheduler_create(&main, NULL, n_groups, lr, out, err);
    if (!anx_scheduler_find(warmup, &kind)) return anx_error_set(err, ANX_ERR_INVALID_ARGUMENT, "no %s", warmup);
    before = anx_scheduler_defaults(kind);
    return anx_scheduler_create(&main, &before, n_groups, lr, out, err);
}

static anx_status rewrite(char **argv, const anx_training_live *live, anx_error *err) {
    anx_checkpoint *checkpoint = NULL;
    modules all = {.n = 0};
    anx_training_state theirs = ANX_TRAINING_STATE_INIT, ours = ANX_TRAINING_STATE_INIT;
    anx_state_dict model = ANX_STATE_DICT_INIT;
    anx_status status = anx_checkpoint_open(argv[1], NULL, &checkpoint, err);
    if (status == ANX_OK) status = anx_training_state_read(checkpoint, &theirs, err);
    if (status == ANX_OK) status = anx_training_live_load(live, &theirs, &checkpoint->tensors, err);
    if (status == ANX_OK) status = anx_training_live_model(live, &model, err);
    if (status == ANX_OK) status = anx_training_live_save(live, live->n_groups > 1, &ours, err);
    if (status == ANX_OK) {
        anx_arch_each_module(live->graph->arch, add_module, &all);
        const anx_pth_options options = {.modules = all.names, .n_modules = all.n, .force = true};
        ours.epoch = theirs.epoch;
        ours.has_own = false;
        status = anx_training_checkpoint_write(argv[2], &model, &ours, &options, err);
    }
    anx_state_dict_fini(&model);
    anx_training_state_fini(&ours);
    anx_training_state_fini(&theirs);
    anx_checkpoint_close(checkpoint);
    return status;
}

int main(int argc, char **argv) {
    if (argc != 7) return 64;
    anx_error err = ANX_ERROR_INIT;
    anx_device *device = NULL;
    anx_graph *graph = NULL;
    int group_of_param[MOST_PARAMS];
    anx_tensor params[MOST_PARAMS] = {{.data = NULL}};
    const anx_sgd_options groups[2] = {{.lr = 0.1}, {.lr = 0.1}};
    anx_mt19937 gen;
    anx_mt19937_seed(&gen, 0);
    anx_training_live live = {.group_of_param = group_of_param, .n_groups = atoi(argv[5]), .gen = &gen};
    anx_status status = anx_device_open("reference", NULL, &device, &err);
    if (status == ANX_OK) status = anx_graph_create(anx_arch_find("narrow"), 0, 0, 0, &graph, &err);
    for (int i = 0; status == ANX_OK && i < graph->n_params; i++) {
        group_of_param[i] = i < atoi(argv[6]) ? ANX_TRAINER_FROZEN : i % live.n_groups;
        status = anx_tensor_alloc(ANX_F32, graph->params[i].rank, graph->params[i].shape, &params[i], &err);
        if (status == ANX_OK) memset(params[i].data, 0, anx_tensor_bytes(&params[i]));
    }
    live.graph = graph;
    if (status == ANX_OK) status = make_scheduler(argv[3], argv[4], live.n_groups, &live.scheduler, &err);
    if (status == ANX_OK) {
        const anx_trainer_options options = {.graph = graph,
                                             .device = device,
                                             .batch = 1,
                                             .groups = groups,
                                             .n_groups = live.n_groups,
                                             .group_of_param = group_of_param};
        status = anx_trainer_create(&options, params, &live.trainer, &err);
    }
    if (status == ANX_OK) status = rewrite(argv, &live, &err);
    if (status != ANX_OK) {
        char text[20000];
        fprintf(stderr, "%s\n", anx_error_format(&err, text, sizeof text));
    }
    anx_trainer_destroy(live.trainer);
    anx_scheduler_destroy(live.scheduler);
    for (int i = 0; i < MOST_PARAMS; i++) anx_tensor_fini(&params[i]);
    anx_graph_destroy(graph);
    anx_device_close(device);
    return status == ANX_OK ? 0 : 2;
}
