/*
 * An architecture is a table: one row per operation, in order of execution, named as PyTorch names the module.
 * From the table come shapes, parameter names, the order of initialisation, every backend's plan, the parity
 * points and the printed summary. A new architecture is one file with a table and one line in registry.c.
 */
#ifndef ANX_SRC_MODEL_ARCH_H
#define ANX_SRC_MODEL_ARCH_H

#include "src/base/status.h"

typedef enum anx_op {
    ANX_OP_CONV2D = 0,          /* torch.nn.Conv2d, zero padding, with bias */
    ANX_OP_RELU,                /* torch.nn.ReLU: x < 0 gives +0, keeps -0 and NaN */
    ANX_OP_MAX_POOL2D,          /* torch.nn.MaxPool2d: floor, or ceil where asked; padding counts as -inf */
    ANX_OP_ADAPTIVE_AVG_POOL2D, /* torch.nn.AdaptiveAvgPool2d: windows [floor(i*H/OH), ceil((i+1)*H/OH)) */
    ANX_OP_DROPOUT,             /* torch.nn.Dropout: the identity outside training */
    ANX_OP_FLATTEN,             /* torch.flatten(x, 1): (C, H, W) to C*H*W in that order */
    ANX_OP_LINEAR,              /* torch.nn.Linear: y = x W^T + b, W (out, in) */
    ANX_OP_SOFTMAX,             /* over the features */
    ANX_OP_COUNT
} anx_op;

/* "conv2d", "relu", ...; never NULL. */
const char *anx_op_name(anx_op op);

enum {
    ANX_MAX_INPUTS = 4,
    ANX_NUM_CLASSES = -1 /* as out_features: the number of classes asked for when the graph is made */
};

typedef struct anx_conv2d_params {
    int out_channels, kernel_h, kernel_w, stride_h, stride_w, pad_h, pad_w;
    int dilation_h, dilation_w, groups; /* 0 in a table means 1 */
} anx_conv2d_params;

typedef struct anx_pool2d_params {
    int kernel_h, kernel_w, stride_h, stride_w, pad_h, pad_w;
    bool ceil_mode;
} anx_pool2d_params;

typedef struct anx_layer {
    const char *name; /* PyTorch's module name ("features.0"); for a functional row a name of our own ("flatten") */
    anx_op op;
    /* Names of the rows read; all NULL: the row before (the network's input for the first). "input": that input. */
    const char *from[ANX_MAX_INPUTS];
    union {
        anx_conv2d_params conv;
        anx_pool2d_params pool;
        struct {
            int out_h, out_w;
        } adaptive;
        struct {
            int out_features; /* or ANX_NUM_CLASSES */
        } linear;
        struct {
            double p;
        } dropout;
    } u;
    bool functional; /* not a torch.nn.Module: no entry in state_dict()'s _metadata */
    bool in_place;   /* PyTorch overwrites the input (ReLU(inplace=True)): what a recorder must mind */
    int device_rank; /* which of several devices holds it (two towers); 0 otherwise */
} anx_layer;

typedef struct anx_arch {
    const char *name;    /* "alexnet": what --arch takes */
    const char *summary; /* one line for --help */
    int in_channels;
    int default_size;    /* height and width after preprocessing: 224 */
    int min_size;        /* smallest height and width that leaves every layer an output */
    int default_classes; /* 1000 */
    const char *logits;  /* name of the row whose output are the logits */
    const anx_layer *layers;
    int n_layers;
    bool internal; /* for tests: not listed by --help */
} anx_arch;

/* The architecture of that name; NULL if unknown. */
const anx_arch *anx_arch_find(const char *name);
/* i-th architecture, NULL past the end: for listings and for matching a checkpoint's shapes. */
const anx_arch *anx_arch_at(int i);

#endif
