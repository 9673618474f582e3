/* The table of the backend named "cuda". */
#ifndef ANX_SRC_BACKEND_CUDA_TABLE_H
#define ANX_SRC_BACKEND_CUDA_TABLE_H

#include "src/backend/backend.h"

extern const anx_backend anx_cuda_table;

#endif
