/* A training that is saved, loaded into fresh objects and gone on with is the training that was never interrupted. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "loaders/checkpoint/training_bridge.h"
#include "src/train/init.h"
#include "tests/support/anx_test.h"

enum { BATCH = 4, MOST_PARAMS = 16, EPOCHS = 7, STEPS = 1, MOST_GROUPS = 2 };

static anx_error err;
static anx_device *device;
static anx_graph *graph;

/* What a training is made with. */
typedef struct recipe {
    anx_scheduler_kind kind;
    bool warmup, none;
    int n_groups, frozen; /* parameters before this one are frozen */
    double momentum;
} recipe;

typedef struct training {
    anx_training_live live;
    anx_tensor params[MOST_PARAMS];
    int group_of_param[MOST_PARAMS];
    anx_mt19937 gen;
    double lr[MOST_GROUPS];
} training;

static void training_init(training *t, const recipe *r, uint64_t seed) {
    *t = (training){.live = {.graph = graph, .group_of_param = t->group_of_param, .n_groups = r->n_groups}};
    anx_sgd_options groups[MOST_GROUPS];
    anx_mt19937_seed(&t->gen, seed);
    for (int i = 0; i < graph->n_params; i++) {
        ANX_CHECK_OK(anx_tensor_alloc(ANX_F32, graph->params[i].rank, graph->params[i].shape, &t->params[i], &err),
                     &err);
        t->group_of_param[i] = i < r->frozen ? ANX_TRAINER_FROZEN : i % r->n_groups;
    }
    ANX_CHECK_OK(anx_init_params(&t->gen, graph, t->params, &err), &err);
    for (int g = 0; g < r->n_groups; g++) {
        t->lr[g] = 0.05 / (g + 1);
        groups[g] = (anx_sgd_options){.lr = t->lr[g], .momentum = r->momentum, .weight_decay = 1e-3};
    }
    anx_scheduler_options o = anx_scheduler_defaults(r->kind), warmup = anx_scheduler_defaults(ANX_LINEAR_LR);
    int64_t milestones[] = {5, 2, 2};
    o.step_size = 2;
    o.patience = 0;
    o.cooldown = 1;
    o.t_max = 5;
    if (r->kind == ANX_MULTI_STEP_LR) o.milestones = milestones, o.n_milestones = 3;
    warmup.total_iters = 3;
    if (!r->none)
        ANX_CHECK_OK(anx_scheduler_create(&o, r->warmup ? &warmup : NULL, r->n_groups, t->lr, &t->live.scheduler, &err),
                     &err);
    for (int g = 0; g < r->n_groups; g++) groups[g].lr = t->lr[g];
    const anx_trainer_options options = {.graph = graph,
                                         .device = device,
                                         .batch = BATCH,
                                         .groups = groups,
                                         .n_groups = r->n_groups,
                                         .group_of_param = t->group_of_param,
                                         .threads = 1};
    ANX_CHECK_OK(anx_trainer_create(&options, t->params, &t->live.trainer, &err), &err);
    t->live.gen = &t->gen;
}

static void training_fini(training *t) {
    anx_trainer_destroy(t->live.trainer);
    anx_scheduler_destroy(t->live.scheduler);
    for (int i = 0; i < graph->n_params; i++) anx_tensor_fini(&t->params[i]);
}

/* The images are drawn from the generator that dropout draws from. */
static void run_epoch(training *t) {
    static float pixels[BATCH * 3 * 33 * 33];
    const int64_t shape[] = {BATCH, 3, 33, 33}, targets[BATCH] = {3, 0, 10, 3};
    const anx_tensor input = anx_tensor_view(ANX_F32, 4, shape, pixels);
    anx_trainer_result result = {.loss = 0.0f};
    for (int step = 0; step < STEPS; step++) {
        anx_mt19937_uniform_f32(&t->gen, sizeof pixels / sizeof *pixels, -1.0f, 1.0f, pixels);
        ANX_CHECK_OK(anx_trainer_step(t->live.trainer, &t->gen, &input, targets, &result, &err), &err);
    }
    if (t->live.scheduler == NULL) return;
    anx_sgd_options *groups = anx_trainer_groups(t->live.trainer);
    for (int g = 0; g < t->live.n_groups; g++) t->lr[g] = groups[g].lr;
    anx_scheduler_step(t->live.scheduler, (double)result.loss, t->lr);
    for (int g = 0; g < t->live.n_groups; g++) groups[g].lr = t->lr[g];
}

static void save(const training *t, const char *path) {
    anx_training_state state = ANX_TRAINING_STATE_INIT;
    anx_state_dict model = ANX_STATE_DICT_INIT;
    const anx_pth_options options = {.force = true};
    ANX_CHECK_OK(anx_training_live_save(&t->live, false, &state, &err), &err);
    ANX_CHECK_OK(anx_training_live_model(&t->live, &model, &err), &err);
    ANX_CHECK_OK(anx_training_checkpoint_write(path, &model, &state, &options, &err), &err);
    anx_state_dict_fini(&model);
    anx_training_state_fini(&state);
}

static anx_status load(const training *t, const char *path) {
    anx_checkpoint *checkpoint = NULL;
    anx_training_state state = ANX_TRAINING_STATE_INIT;
    ANX_CHECK_OK(anx_checkpoint_open(path, NULL, &checkpoint, &err), &err);
    ANX_CHECK_OK(anx_training_state_read(checkpoint, &state, &err), &err);
    const anx_status status = anx_training_live_load(&t->live, &state, &checkpoint->tensors, &err);
    anx_training_state_fini(&state);
    anx_checkpoint_close(checkpoint);
    return status;
}

static bool same_bits(const anx_tensor *a, const anx_tensor *b) {
    if (a == NULL || b == NULL) return a == b;
    return memcmp(a->data, b->data, anx_tensor_bytes(a)) == 0;
}

static void check_same(const training *a, const training *b) {
    for (int i = 0; i < graph->n_params; i++) {
        CU_ASSERT(same_bits(&anx_trainer_params(a->live.trainer)[i], &anx_trainer_params(b->live.trainer)[i]));
        CU_ASSERT(same_bits(anx_trainer_momentum(a->live.trainer, i), anx_trainer_momentum(b->live.trainer, i)));
    }
    for (int g = 0; g < a->live.n_groups; g++)
        CU_ASSERT_EQUAL(anx_trainer_groups(a->live.trainer)[g].lr, anx_trainer_groups(b->live.trainer)[g].lr);
    CU_ASSERT_EQUAL(memcmp(&a->gen, &b->gen, sizeof a->gen), 0);
}

/* Saved before the first epoch, and behind some. */
static void check_recipe(const recipe *r) {
    char path[1024];
    snprintf(path, sizeof path, "%s/state.pth", anx_test_tmpdir());
    for (int at = 0; at < EPOCHS; at += 3) {
        training whole, resumed;
        training_init(&whole, r, 1);
        training_init(&resumed, r, 2);
        for (int epoch = 0; epoch < at; epoch++) run_epoch(&whole);
        save(&whole, path);
        ANX_CHECK_OK(load(&resumed, path), &err);
        check_same(&whole, &resumed);
        for (int epoch = at; epoch < EPOCHS; epoch++) {
            run_epoch(&whole);
            run_epoch(&resumed);
        }
        check_same(&whole, &resumed);
        training_fini(&whole);
        training_fini(&resumed);
    }
}

static void every_scheduler_goes_on(void) {
    for (int kind = 0; kind < ANX_SEQUENTIAL_LR; kind++)
        check_recipe(&(recipe){.kind = (anx_scheduler_kind)kind, .n_groups = 1, .momentum = 0.9});
    for (int kind = ANX_STEP_LR; kind <= ANX_COSINE_ANNEALING_LR; kind++)
        check_recipe(&(recipe){.kind = (anx_scheduler_kind)kind, .warmup = true, .n_groups = 2, .momentum = 0.9});
    check_recipe(&(recipe){.none = true, .n_groups = 1, .momentum = 0.9});
}

static void groups_frozen_layers_and_no_momentum_go_on(void) {
    check_recipe(&(recipe){.kind = ANX_STEP_LR, .n_groups = 2, .frozen = 6, .momentum = 0.9});
    check_recipe(&(recipe){.kind = ANX_REDUCE_LR_ON_PLATEAU, .n_groups = 2, .frozen = 3, .momentum = 0.0});
}

/* Another training's state: which, and nothing changes. */
static void check_refused(const recipe *saved, const recipe *live, const char *message) {
    char path[1024];
    training a, b, untouched;
    snprintf(path, sizeof path, "%s/other.pth", anx_test_tmpdir());
    training_init(&a, saved, 1);
    run_epoch(&a);
    save(&a, path);
    training_init(&b, live, 2);
    training_init(&untouched, live, 2);
    ANX_CHECK_STATUS(ANX_ERR_MISMATCH, load(&b, path), &err);
    if (strstr(err.message, message) == NULL) printf("\n%s\nhas no '%s'\n", err.message, message);
    CU_ASSERT_PTR_NOT_NULL(strstr(err.message, message));
    run_epoch(&b);
    run_epoch(&untouched);
    check_same(&b, &untouched);
    training_fini(&a);
    training_fini(&b);
    training_fini(&untouched);
}

static void other_trainings_are_refused(void) {
    const recipe step = {.kind = ANX_STEP_LR, .n_groups = 1, .momentum = 0.9};
    check_refused(&step, &(recipe){.kind = ANX_EXPONENTIAL_LR, .n_groups = 1, .momentum = 0.9}, "StepLR");
    check_refused(&step, &(recipe){.kind = ANX_STEP_LR, .warmup = true, .n_groups = 1, .momentum = 0.9}, "StepLR");
    check_refused(&step, &(recipe){.kind = ANX_STEP_LR, .n_groups = 2, .momentum = 0.9}, "group");
    check_refused(&step, &(recipe){.kind = ANX_STEP_LR, .n_groups = 1, .frozen = 2, .momentum = 0.9}, "parameters");
}

int main(int argc, char **argv) {
    static const anx_test tests[] = {
        {"every scheduler goes on", every_scheduler_goes_on},
        {"groups, frozen layers and no momentum go on", groups_frozen_layers_and_no_momentum_go_on},
        {"other trainings are refused", other_trainings_are_refused},
        {NULL, NULL},
    };
    const anx_device_options options = {.threads = 1};
    if (anx_device_open("exact", &options, &device, &err) != ANX_OK ||
        anx_graph_create(anx_arch_find("narrow"), 0, 0, 0, &graph, &err) != ANX_OK)
        return 2;
    const int code = anx_test_main("training_bridge", tests, argc, argv);
    anx_graph_destroy(graph);
    anx_device_close(device);
    return code;
}
