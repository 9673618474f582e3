#include "src/backend/cuda/transfer.h"

#include "src/backend/cuda/status.h"

static anx_status transfer(const anx_cuda_device *d, void *to, const void *from, size_t bytes, unsigned kind,
                           const char *what, anx_error *err) {
    return anx_cuda_check(d->api, d->api->cudaMemcpyAsync(to, from, bytes, kind, d->stream), what, err);
}

anx_status anx_cuda_upload(const anx_cuda_device *device, float *to, const void *host, size_t bytes, anx_error *err) {
    return transfer(device, to, host, bytes, ANX_CU_HOST_TO_DEVICE, "write memory", err);
}

anx_status anx_cuda_download(const anx_cuda_device *device, void *host, const float *from, size_t bytes,
                             anx_error *err) {
    return transfer(device, host, from, bytes, ANX_CU_DEVICE_TO_HOST, "read memory", err);
}

anx_status anx_cuda_copy(const anx_cuda_device *device, float *to, const float *from, int64_t elems, anx_error *err) {
    return transfer(device, to, from, (size_t)elems * sizeof *to, ANX_CU_DEVICE_TO_DEVICE, "copy", err);
}

anx_status anx_cuda_clear(const anx_cuda_device *device, float *memory, size_t bytes, anx_error *err) {
    if (memory == NULL || bytes == 0) return ANX_OK;
    return anx_cuda_check(device->api, device->api->cudaMemsetAsync(memory, 0, bytes, device->stream), "clear memory",
                          err);
}
