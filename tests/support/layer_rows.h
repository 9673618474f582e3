/* Rows of an architecture's table, written short. */
#ifndef ANX_TESTS_SUPPORT_LAYER_ROWS_H
#define ANX_TESTS_SUPPORT_LAYER_ROWS_H

#include "src/model/arch.h"

#define CONV(row, oc, kh, kw, sh, sw, ph, pw, dh, dw, g)                                                               \
    {                                                                                                                  \
        .name = row, .op = ANX_OP_CONV2D, .u.conv = {                                                                  \
            .out_channels = oc,                                                                                        \
            .kernel_h = kh,                                                                                            \
            .kernel_w = kw,                                                                                            \
            .stride_h = sh,                                                                                            \
            .stride_w = sw,                                                                                            \
            .pad_h = ph,                                                                                               \
            .pad_w = pw,                                                                                               \
            .dilation_h = dh,                                                                                          \
            .dilation_w = dw,                                                                                          \
            .groups = g                                                                                                \
        }                                                                                                              \
    }
#define POOL(row, kh, kw, sh, sw, ph, pw, ceil)                                                                        \
    {                                                                                                                  \
        .name = row, .op = ANX_OP_MAX_POOL2D, .u.pool = {                                                              \
            .kernel_h = kh,                                                                                            \
            .kernel_w = kw,                                                                                            \
            .stride_h = sh,                                                                                            \
            .stride_w = sw,                                                                                            \
            .pad_h = ph,                                                                                               \
            .pad_w = pw,                                                                                               \
            .ceil_mode = ceil                                                                                          \
        }                                                                                                              \
    }
#define AVERAGE(row, oh, ow)                                                                                           \
    {                                                                                                                  \
        .name = row, .op = ANX_OP_ADAPTIVE_AVG_POOL2D, .u.adaptive = {.out_h = oh, .out_w = ow }                       \
    }
#define LINEAR(row, out)                                                                                               \
    {                                                                                                                  \
        .name = row, .op = ANX_OP_LINEAR, .u.linear = {.out_features = out }                                           \
    }
#define RELU(row)                                                                                                      \
    { .name = row, .op = ANX_OP_RELU, .in_place = true }
#define FLATTEN                                                                                                        \
    { .name = "flatten", .op = ANX_OP_FLATTEN, .functional = true }
#define DROPOUT(row)                                                                                                   \
    {                                                                                                                  \
        .name = row, .op = ANX_OP_DROPOUT, .u.dropout = {.p = 0.5 }                                                    \
    }
#define SOFTMAX                                                                                                        \
    { .name = "prob", .op = ANX_OP_SOFTMAX, .functional = true }

#endif
