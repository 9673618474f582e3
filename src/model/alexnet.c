/*
 * torchvision.models.alexnet: "One weird trick for parallelizing convolutional neural networks" (Krizhevsky 2014),
 * one tower, as torchvision/models/alexnet.py builds it.
 */
#include "src/model/tables.h"

#define CONV(channels, kernel, step, padding)                                                                          \
    .op = ANX_OP_CONV2D, .u.conv = {.out_channels = (channels),                                                        \
                                    .kernel_h = (kernel),                                                              \
                                    .kernel_w = (kernel),                                                              \
                                    .stride_h = (step),                                                                \
                                    .stride_w = (step),                                                                \
                                    .pad_h = (padding),                                                                \
                                    .pad_w = (padding)}
#define RELU .op = ANX_OP_RELU, .in_place = true
#define POOL .op = ANX_OP_MAX_POOL2D, .u.pool = {.kernel_h = 3, .kernel_w = 3, .stride_h = 2, .stride_w = 2}

static const anx_layer layers[] = {
    {.name = "features.0", CONV(64, 11, 4, 2)},
    {.name = "features.1", RELU},
    {.name = "features.2", POOL},
    {.name = "features.3", CONV(192, 5, 1, 2)},
    {.name = "features.4", RELU},
    {.name = "features.5", POOL},
    {.name = "features.6", CONV(384, 3, 1, 1)},
    {.name = "features.7", RELU},
    {.name = "features.8", CONV(256, 3, 1, 1)},
    {.name = "features.9", RELU},
    {.name = "features.10", CONV(256, 3, 1, 1)},
    {.name = "features.11", RELU},
    {.name = "features.12", POOL},
    {.name = "avgpool", .op = ANX_OP_ADAPTIVE_AVG_POOL2D, .u.adaptive = {.out_h = 6, .out_w = 6}},
    {.name = "flatten", .op = ANX_OP_FLATTEN, .functional = true},
    {.name = "classifier.0", .op = ANX_OP_DROPOUT, .u.dropout = {.p = 0.5}},
    {.name = "classifier.1", .op = ANX_OP_LINEAR, .u.linear = {.out_features = 4096}},
    {.name = "classifier.2", RELU},
    {.name = "classifier.3", .op = ANX_OP_DROPOUT, .u.dropout = {.p = 0.5}},
    {.name = "classifier.4", .op = ANX_OP_LINEAR, .u.linear = {.out_features = 4096}},
    {.name = "classifier.5", RELU},
    {.name = "classifier.6", .op = ANX_OP_LINEAR, .u.linear = {.out_features = ANX_NUM_CLASSES}},
    {.name = "prob", .op = ANX_OP_SOFTMAX, .functional = true},
};

const anx_arch anx_arch_alexnet = {
    .name = "alexnet",
    .summary = "torchvision's AlexNet (one tower, 61,100,840 parameters at 1,000 classes)",
    .in_channels = 3,
    .default_size = 224,
    .min_size = 63,
    .default_classes = 1000,
    .logits = "classifier.6",
    .layers = layers,
    .n_layers = sizeof layers / sizeof layers[0],
};
