#include "tests/checkpoint/training_sample.h"

#include <stdlib.h>

#define SHAPE(...) ((const int64_t[]){__VA_ARGS__})
#define FLOAT(x)                                                                                                       \
    { .value = x }
#define INT(x)                                                                                                         \
    { .value = x, .kind = ANX_SAVED_INT }

static const char *const modules[] = {"", "fc"};
const anx_pth_options training_sample_options = {.modules = modules, .n_modules = 2, .force = true};

static float weight[6], bias[2], weight_buffer[6];
static anx_saved_group groups[2];
static anx_saved_buffer buffers[2];
static anx_saved_number base_lrs[2] = {FLOAT(0.1), FLOAT(0.02)};
static anx_saved_number linear_lrs[2] = {FLOAT(0.05500000000000001), FLOAT(0.011)};
static anx_saved_number step_lrs[2] = {FLOAT(0.1), FLOAT(0.02)};
static anx_saved_milestone milestones[1] = {{2, 1}};
static anx_saved_scheduler inside[2] = {
    {.kind = ANX_SAVED_LINEAR_LR,
     .start_factor = FLOAT(0.1),
     .end_factor = FLOAT(1.0),
     .total_iters = 2,
     .base_lrs = {base_lrs, 2},
     .last_epoch = 1,
     .step_count = 2,
     .last_lr = {linear_lrs, 2}},
    {.kind = ANX_SAVED_STEP_LR,
     .step_size = 2,
     .gamma = FLOAT(0.1),
     .base_lrs = {base_lrs, 2},
     .last_epoch = 1,
     .step_count = 2,
     .last_lr = {step_lrs, 2}},
};

static anx_saved_value args[] = {
    {.name = "lr", .kind = ANX_SAVED_VALUE_FLOAT, .u.real = 0.1},
    {.name = "epochs", .kind = ANX_SAVED_VALUE_INT, .u.integer = -70000},
    {.name = "lr_scheduler", .kind = ANX_SAVED_VALUE_TEXT, .u.text = "gamma", .interned = true},
    {.name = "device", .kind = ANX_SAVED_VALUE_TEXT, .u.text = "cpu", .interned = true},
    {.name = "data_path", .kind = ANX_SAVED_VALUE_TEXT, .u.text = "lr"},
    {.name = "resume", .kind = ANX_SAVED_VALUE_TEXT, .u.text = ""},
    {.name = "output_dir", .kind = ANX_SAVED_VALUE_TEXT, .u.text = "caf\xc3\xa9"},
    {.name = "amp", .kind = ANX_SAVED_VALUE_BOOL, .u.boolean = true},
    {.name = "norm_weight_decay", .kind = ANX_SAVED_VALUE_NONE},
};

static anx_saved_value options[] = {
    {.name = "bias_lr", .kind = ANX_SAVED_VALUE_FLOAT, .u.real = -0.0},
    {.name = "order", .kind = ANX_SAVED_VALUE_TEXT, .u.text = "shuffled"},
};

static void add(anx_state_dict *dict, const char *name, anx_tensor t) {
    if (anx_state_dict_add(dict, name, &t, NULL) != ANX_OK) abort();
}

static void fill_optimizer(anx_saved_optimizer *o) {
    static const anx_saved_group_key given[] = {ANX_GROUP_WEIGHT_DECAY, ANX_GROUP_LR};
    groups[0] = anx_saved_group_make(given, 1, true);
    groups[1] = anx_saved_group_make(given, 2, true);
    for (int i = 0; i < 2; i++) {
        groups[i].n_params = 1;
        groups[i].lr = step_lrs[i];
        groups[i].initial_lr = base_lrs[i];
        groups[i].momentum = (anx_saved_number)FLOAT(0.9);
    }
    groups[0].weight_decay = (anx_saved_number)FLOAT(1e-4);
    groups[1].weight_decay = (anx_saved_number)INT(0);
    groups[1].nesterov = true;
    groups[1].foreach = ANX_SAVED_FLAG_FALSE;
    buffers[0] = (anx_saved_buffer){true, anx_tensor_view(ANX_F32, 2, SHAPE(2, 3), weight_buffer)};
    buffers[1].present = false;
    *o = (anx_saved_optimizer){groups, 2, buffers, 2};
}

void training_sample(anx_state_dict *model, anx_training_state *state) {
    for (int i = 0; i < 6; i++) weight[i] = (float)i / 4 - 0.5f;
    for (int i = 0; i < 6; i++) weight_buffer[i] = (float)(i * i) / 8;
    for (int i = 0; i < 2; i++) bias[i] = (float)i - 3;
    *model = (anx_state_dict)ANX_STATE_DICT_INIT;
    add(model, "fc.weight", anx_tensor_view(ANX_F32, 2, SHAPE(2, 3), weight));
    add(model, "fc.bias", anx_tensor_view(ANX_F32, 1, SHAPE(2), bias));
    *state = (anx_training_state){
        .epoch = 2,
        .scheduler = {.kind = ANX_SAVED_SEQUENTIAL_LR,
                      .milestones = milestones,
                      .n_milestones = 1,
                      .last_epoch = 3,
                      .schedulers = inside,
                      .n_schedulers = 2},
        .has_args = true,
        .args = args,
        .n_args = sizeof args / sizeof args[0],
        .has_own = true,
        .step = 300,
        .order_seed = INT64_MAX,
        .options = options,
        .n_options = sizeof options / sizeof options[0],
    };
    for (int i = 0; i < ANX_RNG_STATE_BYTES; i++) state->rng_state[i] = (uint8_t)(7 * i + 3);
    fill_optimizer(&state->optimizer);
}
