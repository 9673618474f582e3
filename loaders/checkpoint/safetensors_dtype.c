#include "loaders/checkpoint/safetensors_dtype.h"

#include <string.h>

static const struct {
    const char *name;
    int order;
} types[ANX_DTYPE_COUNT] = {
    [ANX_BOOL] = {"BOOL", 0}, [ANX_U8] = {"U8", 1},     [ANX_I8] = {"I8", 2},   [ANX_I16] = {"I16", 3},
    [ANX_F16] = {"F16", 4},   [ANX_BF16] = {"BF16", 5}, [ANX_I32] = {"I32", 6}, [ANX_F32] = {"F32", 7},
    [ANX_F64] = {"F64", 8},   [ANX_I64] = {"I64", 9},
};

const char *anx_safetensors_dtype_name(anx_dtype dtype) {
    return types[dtype].name;
}

bool anx_safetensors_dtype_find(const char *name, anx_dtype *out) {
    for (int i = 0; i < ANX_DTYPE_COUNT; i++) {
        if (strcmp(types[i].name, name) != 0) continue;
        *out = (anx_dtype)i;
        return true;
    }
    return false;
}

int anx_safetensors_dtype_order(anx_dtype dtype) {
    return types[dtype].order;
}
