#include "src/backend/backends.h"
#include "src/backend/dnnl/plan.h"

const anx_backend anx_backend_cpu = {
    .abi_version = ANX_BACKEND_ABI_VERSION,
    .name = "cpu",
    .summary = "the processor through oneDNN: float32, fused, as fast as it gets",
    .device_count = anx_dnnl_device_count,
    .device_open = anx_dnnl_device_open,
    .device_close = anx_dnnl_device_close,
    .device_info = anx_dnnl_device_info,
    .device_sync = anx_dnnl_device_sync,
    .plan_create = anx_dnnl_plan_create,
    .plan_destroy = anx_dnnl_plan_destroy,
    .plan_group_count = anx_dnnl_plan_group_count,
    .plan_group = anx_dnnl_plan_group,
    .plan_write = anx_dnnl_plan_write,
    .plan_read = anx_dnnl_plan_read,
    .plan_run = anx_dnnl_plan_run,
    .plan_run_backward = anx_dnnl_plan_run_backward,
    .plan_host_pointer = anx_dnnl_plan_host_pointer,
};
