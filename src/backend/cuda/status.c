#include "src/backend/cuda/status.h"

#include <stdio.h>

static const char text_of_lost[] = "; this process has lost the GPU: start the program again";

/* Errors after which every later call of the process fails (cudaGetErrorString and the runtime's manual say which). */
static bool is_lost(unsigned code) {
    static const unsigned lost[] = {46, 214, 219, 220, 226, 700, 702, 710, 714, 715, 716, 717, 718, 719, 999};
    for (size_t i = 0; i < sizeof lost / sizeof lost[0]; i++)
        if (lost[i] == code) return true;
    return false;
}

anx_status anx_cuda_check(const anx_cuda_api *api, unsigned code, const char *what, anx_error *err) {
    if (code == ANX_CU_SUCCESS) return ANX_OK;
    const anx_status status = code == ANX_CU_OUT_OF_MEMORY ? ANX_ERR_OUT_OF_MEMORY : ANX_ERR_DEVICE;
    anx_error_set(err, status, "CUDA cannot %s: %s (%s, %u)%s", what, api->cudaGetErrorString(code),
                  api->cudaGetErrorName(code), code, is_lost(code) ? text_of_lost : "");
    if (err != NULL) err->native_code = (long long)code;
    return status;
}

/* What the runtime knows about a failure that cuBLAS and cuDNN tell in general terms alone. */
static const char *reason(const anx_cuda_api *api, char *buf, size_t size) {
    const unsigned code = api->cudaGetLastError();
    buf[0] = '\0';
    if (code != ANX_CU_SUCCESS)
        snprintf(buf, size, "; CUDA says: %s (%s, %u)%s", api->cudaGetErrorString(code), api->cudaGetErrorName(code),
                 code, is_lost(code) ? text_of_lost : "");
    return buf;
}

anx_status anx_cuda_check_blas(const anx_cuda_api *api, unsigned code, const char *what, anx_error *err) {
    if (code == 0) return ANX_OK;
    char more[512];
    const anx_status status = code == ANX_CU_BLAS_ALLOC_FAILED ? ANX_ERR_OUT_OF_MEMORY : ANX_ERR_DEVICE;
    anx_error_set(err, status, "cuBLAS cannot %s: %s (%u)%s", what, api->cublasGetStatusName(code), code,
                  reason(api, more, sizeof more));
    if (err != NULL) err->native_code = (long long)code;
    return status;
}

anx_status anx_cuda_check_dnn(const anx_cuda_api *api, unsigned code, const char *what, anx_error *err) {
    if (code == 0) return ANX_OK;
    char more[512], last[512] = "";
    if (api->cudnnGetLastErrorString != NULL) api->cudnnGetLastErrorString(last, sizeof last);
    last[sizeof last - 1] = '\0';
    anx_error_set(err, ANX_ERR_DEVICE, "cuDNN cannot %s: %s (%u)%s%s%s", what, api->cudnnGetErrorString(code), code,
                  last[0] != '\0' ? ": " : "", last, reason(api, more, sizeof more));
    if (err != NULL) err->native_code = (long long)code;
    return ANX_ERR_DEVICE;
}
