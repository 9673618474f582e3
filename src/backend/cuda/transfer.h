/* Copies to, from and on a GPU, in order with the work of its stream; they return before they are done. */
#ifndef ANX_SRC_BACKEND_CUDA_TRANSFER_H
#define ANX_SRC_BACKEND_CUDA_TRANSFER_H

#include "src/backend/cuda/device.h"

/*
 * `host` must stay as it is until the device was waited for (anx_cuda_device_sync). Pageable memory is read at the call
 * or later, as the driver likes. Errors: DEVICE.
 */
anx_status anx_cuda_upload(const anx_cuda_device *device, float *to, const void *host, size_t bytes, anx_error *err);
anx_status anx_cuda_download(const anx_cuda_device *device, void *host, const float *from, size_t bytes,
                             anx_error *err);
/* Both on the device; elems floats. */
anx_status anx_cuda_copy(const anx_cuda_device *device, float *to, const float *from, int64_t elems, anx_error *err);
/* Zeros; NULL memory for none. */
anx_status anx_cuda_clear(const anx_cuda_device *device, float *memory, size_t bytes, anx_error *err);

#endif
