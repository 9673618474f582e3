/*
 * Compiled, never run: NVIDIA's own headers judge the table of functions. A wrong argument or result is an incompatible
 * pointer, a wrong number a failed assertion.
 */
#include <cublasLt.h>
#include <cublas_v2.h>
#include <cuda_runtime_api.h>
#include <cudnn.h>

#define ANX_LT_TYPES
typedef cublasLtMatmulDesc_t anx_lt_matmul;
typedef cublasLtMatrixLayout_t anx_lt_layout;
typedef cublasLtMatmulPreference_t anx_lt_preference;
typedef cublasLtMatmulAlgo_t anx_lt_algorithm;
typedef cublasLtMatmulHeuristicResult_t anx_lt_choice;
#include "src/backend/cuda/api_table.h"

extern const anx_cuda_api anx_cuda_headers_check;
const anx_cuda_api anx_cuda_headers_check = {
#define ENTRY(library, result, name, arguments) .name = name,
    ANX_CUDA_TABLE(ENTRY)
#undef ENTRY
#if CUDART_VERSION >= 11040
        .cublasGetStatusName = cublasGetStatusName,
#endif
    .cublasSscal_v2 = cublasSscal_v2,
    .cudnnTransformTensor = cudnnTransformTensor,
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

/* Structures that the library fills in have the size, and what is read of them the place, that the table gives them. */
#define SAME_SIZE(ours, theirs) _Static_assert(sizeof(ours) == sizeof(theirs), #theirs)
#define SAME_PLACE(ours, theirs)                                                                                       \
    _Static_assert(offsetof(struct anx_lt_choice, ours) == offsetof(cublasLtMatmulHeuristicResult_t, theirs), #theirs)
SAME_SIZE(struct anx_lt_algorithm, cublasLtMatmulAlgo_t);
SAME_SIZE(struct anx_lt_choice, cublasLtMatmulHeuristicResult_t);
SAME_PLACE(algorithm, algo);
SAME_PLACE(workspace_bytes, workspaceSize);
SAME_PLACE(status, state);
SAME_PLACE(waves, wavesCount);
