/* The door to the plugin that has the CUDA backend (src/backend/cuda). */
#include "src/backend/backends.h"
#include "src/backend/plugin.h"

static const anx_backend *load(anx_error *err) {
    return anx_plugin_load("cuda", err);
}

const anx_backend anx_backend_cuda = {
    .abi_version = ANX_BACKEND_ABI_VERSION,
    .name = "cuda",
    .summary = "cuDNN and cuBLAS on an NVIDIA GPU, float32; a plugin",
    .load = load,
};
