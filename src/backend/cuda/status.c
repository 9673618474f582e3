#include "src/backend/cuda/status.h"

#include <stdio.h>

/* Errors after which every later call of the process fails: driver_types.h says which. */
static bool is_lost(unsigned code) {
    static const unsigned lost[] = {214, 220, 226, 700, 702, 710, 714, 715, 716, 717, 718, 719, 721, 810};
    for (size_t i = 0; i < sizeof lost / sizeof lost[0]; i++)
        if (lost[i] == code) return true;
    return false;
}

/* What follows from an error for whoever reads it. */
static const char *advice(unsigned code) {
    if (is_lost(code)) return "; this process has lost the GPU: start the program again";
    if (code == ANX_CU_DEVICES_UNAVAILABLE)
        return "; another process has the GPU to itself, or its compute mode keeps programs out (nvidia-smi tells)";
    return "";
}

anx_status anx_cuda_check(const anx_cuda_api *api, unsigned code, const char *what, anx_error *err) {
    if (code == ANX_CU_SUCCESS) return ANX_OK;
    const anx_status status = code == ANX_CU_OUT_OF_MEMORY ? ANX_ERR_OUT_OF_MEMORY : ANX_ERR_DEVICE;
    anx_error_set(err, status, "CUDA cannot %s: %s (%s, %u)%s", what, api->cudaGetErrorString(code),
                  api->cudaGetErrorName(code), code, advice(code));
    if (err != NULL) err->native_code = (long long)code;
    return status;
}

/*
 * What the runtime knows about a failure that cuBLAS and cuDNN tell in general terms alone. They bring runtimes of
 * their own, whose last error this one does not know; a GPU that was lost, however, answers so to everybody.
 */
static unsigned cause_of_failure(const anx_cuda_api *api) {
    return api->cudaStreamSynchronize(NULL);
}

/* Plans take what they need in advance, libraries some more when a kernel runs for the first time. */
static const char text_of_memory[] = "; the GPU's memory is full: a smaller batch leaves the libraries more of it";

/* The library's failure `told`, which is about memory where `memory` says so, as an error of this project. */
static anx_status library_failed(const anx_cuda_api *api, unsigned code, bool memory, const char *told,
                                 anx_error *err) {
    const unsigned cause = cause_of_failure(api);
    memory = memory || cause == ANX_CU_OUT_OF_MEMORY;
    const anx_status status = memory ? ANX_ERR_OUT_OF_MEMORY : ANX_ERR_DEVICE;
    if (cause == ANX_CU_SUCCESS)
        anx_error_set(err, status, "%s%s", told, memory ? text_of_memory : "");
    else
        anx_error_set(err, status, "%s; CUDA says: %s (%s, %u)%s", told, api->cudaGetErrorString(cause),
                      api->cudaGetErrorName(cause), cause, memory ? text_of_memory : advice(cause));
    if (err != NULL) err->native_code = (long long)code;
    return status;
}

anx_status anx_cuda_check_blas(const anx_cuda_api *api, unsigned code, const char *what, anx_error *err) {
    if (code == 0) return ANX_OK;
    char told[512];
    const char *name = api->cublasGetStatusName != NULL ? api->cublasGetStatusName(code) : "status";
    snprintf(told, sizeof told, "cuBLAS cannot %s: %s (%u)", what, name, code);
    return library_failed(api, code, code == ANX_CU_BLAS_ALLOC_FAILED, told, err);
}

/* cuDNN 8's ALLOC_FAILED, which is no status of 9; of 9, INTERNAL_ERROR_HOST_ and _DEVICE_ALLOCATION_FAILED. */
static bool is_memory(unsigned code) {
    return code == 2 || code == 4003 || code == 4004;
}

anx_status anx_cuda_check_dnn(const anx_cuda_api *api, unsigned code, const char *what, anx_error *err) {
    if (code == 0) return ANX_OK;
    char told[1024], last[512] = "";
    if (api->cudnnGetLastErrorString != NULL) api->cudnnGetLastErrorString(last, sizeof last);
    last[sizeof last - 1] = '\0';
    snprintf(told, sizeof told, "cuDNN cannot %s: %s (%u)%s%s", what, api->cudnnGetErrorString(code), code,
             last[0] != '\0' ? ": " : "", last);
    return library_failed(api, code, is_memory(code), told, err);
}
