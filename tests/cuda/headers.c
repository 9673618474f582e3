/*
 * Compiled, never run: NVIDIA's own headers judge the table of functions. A wrong argument or result is an incompatible
 * pointer, a wrong number a failed assertion.
 */
#include <cublas_v2.h>
#include <cuda_runtime_api.h>
#include <cudnn.h>

#include "src/backend/cuda/api_table.h"

extern const anx_cuda_api anx_cuda_headers_check;
const anx_cuda_api anx_cuda_headers_check = {
#define ENTRY(library, result, name, arguments) .name = name,
    ANX_CUDA_TABLE(ENTRY)
#undef ENTRY
#if CUDNN_MAJOR >= 9
        .cudnnGetLastErrorString = cudnnGetLastErrorString,
    .cudnnOpsVersionCheck = cudnnOpsVersionCheck,
    .cudnnCnnVersionCheck = cudnnCnnVersionCheck,
#else
        .cudnnOpsInferVersionCheck = cudnnOpsInferVersionCheck,
    .cudnnOpsTrainVersionCheck = cudnnOpsTrainVersionCheck,
    .cudnnCnnInferVersionCheck = cudnnCnnInferVersionCheck,
    .cudnnCnnTrainVersionCheck = cudnnCnnTrainVersionCheck,
#endif
};

#define EQUAL(ours, theirs, value) _Static_assert((int)(theirs) == (value), #theirs);
ANX_CUDA_NUMBERS(EQUAL)
