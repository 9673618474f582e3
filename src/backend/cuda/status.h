/* What CUDA's libraries answer, as errors of this project. */
#ifndef ANX_SRC_BACKEND_CUDA_STATUS_H
#define ANX_SRC_BACKEND_CUDA_STATUS_H

#include "src/backend/cuda/api_table.h"
#include "src/base/status.h"

/*
 * ANX_OK for 0; otherwise DEVICE (OUT_OF_MEMORY where that is what it says) with the library's number as native_code.
 * `what` completes "cannot ...". A GPU that this process has lost is told as such.
 */
anx_status anx_cuda_check(const anx_cuda_api *api, unsigned code, const char *what, anx_error *err);
anx_status anx_cuda_check_blas(const anx_cuda_api *api, unsigned code, const char *what, anx_error *err);
anx_status anx_cuda_check_dnn(const anx_cuda_api *api, unsigned code, const char *what, anx_error *err);

#endif
