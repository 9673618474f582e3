/*
 * NVIDIA's libraries: found, opened, asked for their versions, and refused where they do not fit together.
 *
 * Nothing is linked. All are of one generation of CUDA (13, 12, 11 are tried in this order): the runtime, cuBLAS of the
 * same major version with its cuBLASLt, a cuDNN (8 or 9) built for it, and cuDNN's parts from the folder of the library
 * that loads them.
 */
#ifndef ANX_SRC_BACKEND_CUDA_LIBRARIES_H
#define ANX_SRC_BACKEND_CUDA_LIBRARIES_H

#include "src/backend/cuda/api_table.h"
#include "src/base/status.h"

enum { ANX_CUDA_MAX_PATH = 1024 };

typedef struct anx_cuda_libraries {
    anx_cuda_api api;                    /* the runtime's functions; with anx_cuda_libraries_open all of them */
    int device_count;                    /* 1 or more */
    int runtime_version, driver_version; /* 13000 is 13.0 */
    int cublas_version[3];
    size_t cudnn_version; /* as cudnnGetVersion says it: 8907 is 8.9.7, 91900 is 9.19.0 */
    char runtime_path[ANX_CUDA_MAX_PATH], cublas_path[ANX_CUDA_MAX_PATH], cudnn_path[ANX_CUDA_MAX_PATH];
} anx_cuda_libraries;

/*
 * Opens the runtime alone and counts the GPUs: cheap, where there is none too. Looked for in the folders of
 * ANX_CUDA_PATH (separated by colons) where that is set, and nowhere else then; otherwise where the loader looks, in
 * the packages of $VIRTUAL_ENV and $CONDA_PREFIX, and in CUDA's own folders ($CUDA_HOME, $CUDA_PATH, /usr/local/cuda).
 * Errors: DEVICE, saying which library lies where and what is wrong: none found, no driver, a driver too old, no
 * device. What was opened stays open.
 */
anx_status anx_cuda_runtime_open(anx_cuda_libraries *out, anx_error *err);
/* All of them. Further errors, of DEVICE too: a library or part missing, versions that do not belong together. */
anx_status anx_cuda_libraries_open(anx_cuda_libraries *out, anx_error *err);

/* "9.19.0", of what cudnnGetVersion says, into buf, which is returned. */
char *anx_cuda_cudnn_version(size_t version, char *buf, size_t size);

#endif
