/*
 * A narrow network with every kind of layer and every awkward thing AlexNet has not (odd channel counts, groups,
 * unequal strides and paddings, uneven adaptive windows, ceil_mode), small enough for sanitizers and fault injection.
 */
#include "src/model/tables.h"

static const anx_layer layers[] = {
    {.name = "features.0",
     .op = ANX_OP_CONV2D,
     .u.conv =
         {.out_channels = 10, .kernel_h = 5, .kernel_w = 5, .stride_h = 2, .stride_w = 2, .pad_h = 2, .pad_w = 2}},
    {.name = "features.1", .op = ANX_OP_RELU, .in_place = true},
    {.name = "features.2",
     .op = ANX_OP_MAX_POOL2D,
     .u.pool = {.kernel_h = 3, .kernel_w = 3, .stride_h = 2, .stride_w = 2}},
    {.name = "features.3",
     .op = ANX_OP_CONV2D,
     .u.conv = {.out_channels = 22,
                .kernel_h = 3,
                .kernel_w = 5,
                .stride_h = 1,
                .stride_w = 1,
                .pad_h = 1,
                .pad_w = 2,
                .groups = 2}},
    {.name = "features.4", .op = ANX_OP_RELU, .in_place = true},
    {.name = "features.5",
     .op = ANX_OP_CONV2D,
     .u.conv =
         {.out_channels = 18, .kernel_h = 3, .kernel_w = 3, .stride_h = 1, .stride_w = 1, .pad_h = 1, .pad_w = 1}},
    {.name = "features.6", .op = ANX_OP_RELU, .in_place = true},
    {.name = "features.7",
     .op = ANX_OP_MAX_POOL2D,
     .u.pool = {.kernel_h = 3, .kernel_w = 3, .stride_h = 2, .stride_w = 2, .ceil_mode = true}},
    {.name = "avgpool", .op = ANX_OP_ADAPTIVE_AVG_POOL2D, .u.adaptive = {.out_h = 3, .out_w = 3}},
    {.name = "flatten", .op = ANX_OP_FLATTEN, .functional = true},
    {.name = "classifier.0", .op = ANX_OP_DROPOUT, .u.dropout = {.p = 0.5}},
    {.name = "classifier.1", .op = ANX_OP_LINEAR, .u.linear = {.out_features = 70}},
    {.name = "classifier.2", .op = ANX_OP_RELU, .in_place = true},
    {.name = "classifier.3", .op = ANX_OP_LINEAR, .u.linear = {.out_features = ANX_NUM_CLASSES}},
    {.name = "prob", .op = ANX_OP_SOFTMAX, .functional = true},
};

const anx_arch anx_arch_narrow = {
    .name = "narrow",
    .summary = "a small network with every kind of layer, for tests",
    .in_channels = 3,
    .default_size = 33,
    .min_size = 9,
    .default_classes = 11,
    .logits = "classifier.3",
    .layers = layers,
    .n_layers = sizeof layers / sizeof layers[0],
    .internal = true,
};
