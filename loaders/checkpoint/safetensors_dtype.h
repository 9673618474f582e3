/* The names that safetensors gives to element types, and the order in which its reference writer lays them out. */
#ifndef ANX_LOADERS_CHECKPOINT_SAFETENSORS_DTYPE_H
#define ANX_LOADERS_CHECKPOINT_SAFETENSORS_DTYPE_H

#include "src/base/tensor.h"

/* "F32", ...; never NULL for a dtype of ours. */
const char *anx_safetensors_dtype_name(anx_dtype dtype);
/* False for a name that safetensors has and anx_dtype has not, and for any other. */
bool anx_safetensors_dtype_find(const char *name, anx_dtype *out);
/* Position in the reference writer's order of types (the Dtype enum of safetensors/src/tensor.rs): greatest first. */
int anx_safetensors_dtype_order(anx_dtype dtype);

#endif
