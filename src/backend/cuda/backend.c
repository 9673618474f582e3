/* The backend named "cuda". */
#include "src/backend/cuda/table.h"

#include "src/backend/cuda/plan.h"

const anx_backend anx_cuda_table = {
    .abi_version = ANX_BACKEND_ABI_VERSION,
    .name = "cuda",
    .summary = "an NVIDIA GPU through cuDNN and cuBLAS: float32 without TF32, deterministic",
    .device_count = anx_cuda_device_count,
    .device_open = anx_cuda_device_open,
    .device_close = anx_cuda_device_close,
    .device_info = anx_cuda_device_info,
    .device_sync = anx_cuda_device_sync,
    .plan_create = anx_cuda_plan_create,
    .plan_destroy = anx_cuda_plan_destroy,
    .plan_group_count = anx_cuda_plan_group_count,
    .plan_group = anx_cuda_plan_group,
    .plan_write = anx_cuda_plan_write,
    .plan_read = anx_cuda_plan_read,
    .plan_run = anx_cuda_plan_run,
    .plan_run_backward = anx_cuda_plan_run_backward,
    .host_alloc = anx_cuda_host_alloc,
    .host_free = anx_cuda_host_free,
    .plan_sgd_step = anx_cuda_plan_sgd_step,
    .plan_draw_masks = anx_cuda_plan_draw_masks,
};
