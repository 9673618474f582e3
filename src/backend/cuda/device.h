/* A GPU, opened: the libraries, a stream for work, one for uploads, and the handles that work on the first. */
#ifndef ANX_SRC_BACKEND_CUDA_DEVICE_H
#define ANX_SRC_BACKEND_CUDA_DEVICE_H

#include "src/backend/cuda/blas.h"
#include "src/backend/cuda/cudnn_ops.h"
#include "src/backend/cuda/libraries.h"
#include "src/backend/cuda/matmul.h"

typedef struct anx_cuda_device {
    anx_cuda_libraries libraries;
    const anx_cuda_api *api; /* of the libraries */
    int ordinal;
    int threads; /* for what is done on the host beside it */
    anx_math_mode math;
    bool nondeterministic;
    struct CUstream_st *stream, *uploads;
    anx_cublas blas;
    anx_cublaslt lt;
    anx_cudnn dnn;
    size_t memory_bytes;
    char name[32];                /* "cuda:0" */
    char isa[300];                /* the GPU's name */
    char capability[16];          /* "9.0" */
    char library[128];            /* versions in one line */
    char text_of_libraries[4096]; /* versions and paths, one a line */
    char notes[1024];             /* for who reads its results, one a line */
} anx_cuda_device;

/* For an anx_backend table; see backend.h. */
int anx_cuda_device_count(anx_error *err);
anx_status anx_cuda_device_open(int ordinal, const anx_device_options *options, void **out, anx_error *err);
void anx_cuda_device_close(void *device);
void anx_cuda_device_info(const void *device, anx_device_info *out);
anx_status anx_cuda_device_sync(void *device, anx_error *err);
anx_status anx_cuda_host_alloc(void *device, size_t bytes, void **out, anx_error *err);
void anx_cuda_host_free(void *device, void *memory);

/* Which GPU is current is a thread's affair: every entry point begins with this. */
anx_status anx_cuda_device_enter(const anx_cuda_device *device, anx_error *err);

#endif
