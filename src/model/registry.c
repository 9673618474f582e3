#include <string.h>

#include "src/model/tables.h"

static const anx_arch *const archs[] = {
    &anx_arch_alexnet,
    &anx_arch_narrow,
};

const anx_arch *anx_arch_at(int i) {
    return i >= 0 && i < (int)(sizeof archs / sizeof archs[0]) ? archs[i] : NULL;
}

const anx_arch *anx_arch_find(const char *name) {
    for (int i = 0; anx_arch_at(i) != NULL; i++)
        if (strcmp(archs[i]->name, name) == 0) return archs[i];
    return NULL;
}

const char *anx_op_name(anx_op op) {
    static const char *const names[ANX_OP_COUNT] = {
        [ANX_OP_CONV2D] = "conv2d",         [ANX_OP_RELU] = "relu",
        [ANX_OP_MAX_POOL2D] = "max_pool2d", [ANX_OP_ADAPTIVE_AVG_POOL2D] = "adaptive_avg_pool2d",
        [ANX_OP_DROPOUT] = "dropout",       [ANX_OP_FLATTEN] = "flatten",
        [ANX_OP_LINEAR] = "linear",         [ANX_OP_SOFTMAX] = "softmax",
    };
    return (unsigned)op < ANX_OP_COUNT ? names[op] : "unknown";
}
