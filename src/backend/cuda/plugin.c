#include "src/backend/plugin.h"

#include "src/backend/cuda/table.h"

const anx_backend *anx_backend_plugin(void) {
    return &anx_cuda_table;
}
