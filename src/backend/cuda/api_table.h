/*
 * The functions of CUDA's runtime, cuBLAS, cuBLASLt and cuDNN that the device and its tests call: X(library, result,
 * name, arguments).
 *
 * The finder of libraries, the test double, its trace and the check against NVIDIA's headers (tests/cuda/headers.c)
 * all expand this one table. It holds names and types alone, written down for what is called here; no file of
 * NVIDIA's is needed to build, or is part of this project. Enumerations are `unsigned`, which is what compilers make
 * of those without negative members; every pointer to a descriptor is opaque.
 */
#ifndef ANX_SRC_BACKEND_CUDA_API_TABLE_H
#define ANX_SRC_BACKEND_CUDA_API_TABLE_H

#include <stddef.h>
#include <stdint.h>

struct CUstream_st;
struct CUevent_st;
struct cudaDeviceProp;
struct cublasContext;
struct cublasLtContext;
struct cudnnContext;
struct cudnnTensorStruct;
struct cudnnFilterStruct;
struct cudnnConvolutionStruct;
struct cudnnActivationStruct;
struct cudnnPoolingStruct;
struct cudnnDropoutStruct;

/* What cuBLASLt fills in: the algorithm that its heuristic chooses, to be handed back as it is, and what it takes. */
struct anx_lt_algorithm {
    uint64_t data[8];
};

struct anx_lt_choice {
    struct anx_lt_algorithm algorithm;
    size_t workspace_bytes;
    unsigned status; /* unless it is 0 the rest says nothing */
    float waves;
    int reserved[4];
};

/*
 * cuBLASLt's types have no tags in NVIDIA's headers, so that no declaration but NVIDIA's own agrees with them: the
 * check against those headers puts their types here, and compares the layouts above.
 */
#ifndef ANX_LT_TYPES
#define ANX_LT_TYPES
typedef struct anx_lt_matmul_st *anx_lt_matmul;
typedef struct anx_lt_layout_st *anx_lt_layout;
typedef struct anx_lt_preference_st *anx_lt_preference;
typedef struct anx_lt_algorithm anx_lt_algorithm;
typedef struct anx_lt_choice anx_lt_choice;
#endif

/* clang-format off */

#define ANX_CUDA_TABLE_CUDART(X) \
    X(cudart, unsigned, cudaRuntimeGetVersion, (int *version)) \
    X(cudart, unsigned, cudaDriverGetVersion, (int *version)) \
    X(cudart, unsigned, cudaGetDeviceCount, (int *count)) \
    X(cudart, unsigned, cudaSetDevice, (int device)) \
    X(cudart, unsigned, cudaDeviceGetAttribute, (int *value, unsigned attr, int device)) \
    X(cudart, unsigned, cudaGetDeviceProperties, (struct cudaDeviceProp *prop, int device)) \
    X(cudart, unsigned, cudaMemGetInfo, (size_t *free_bytes, size_t *total_bytes)) \
    X(cudart, unsigned, cudaMalloc, (void **p, size_t bytes)) \
    X(cudart, unsigned, cudaFree, (void *p)) \
    X(cudart, unsigned, cudaHostAlloc, (void **p, size_t bytes, unsigned flags)) \
    X(cudart, unsigned, cudaFreeHost, (void *p)) \
    X(cudart, unsigned, cudaMemcpyAsync, \
      (void *dst, const void *src, size_t bytes, unsigned kind, struct CUstream_st *s)) \
    X(cudart, unsigned, cudaMemsetAsync, (void *p, int value, size_t bytes, struct CUstream_st *s)) \
    X(cudart, unsigned, cudaStreamCreateWithFlags, (struct CUstream_st **s, unsigned flags)) \
    X(cudart, unsigned, cudaStreamDestroy, (struct CUstream_st *s)) \
    X(cudart, unsigned, cudaStreamSynchronize, (struct CUstream_st *s)) \
    X(cudart, unsigned, cudaStreamWaitEvent, (struct CUstream_st *s, struct CUevent_st *e, unsigned flags)) \
    X(cudart, unsigned, cudaEventCreateWithFlags, (struct CUevent_st **e, unsigned flags)) \
    X(cudart, unsigned, cudaEventRecord, (struct CUevent_st *e, struct CUstream_st *s)) \
    X(cudart, unsigned, cudaEventSynchronize, (struct CUevent_st *e)) \
    X(cudart, unsigned, cudaEventElapsedTime, (float *ms, struct CUevent_st *a, struct CUevent_st *b)) \
    X(cudart, unsigned, cudaEventDestroy, (struct CUevent_st *e)) \
    X(cudart, unsigned, cudaGetLastError, (void)) \
    X(cudart, const char *, cudaGetErrorName, (unsigned error)) \
    X(cudart, const char *, cudaGetErrorString, (unsigned error))

#define ANX_CUDA_TABLE_CUBLAS(X) \
    X(cublas, unsigned, cublasCreate_v2, (struct cublasContext **h)) \
    X(cublas, unsigned, cublasDestroy_v2, (struct cublasContext *h)) \
    X(cublas, unsigned, cublasGetProperty, (unsigned type, int *value)) \
    X(cublas, unsigned, cublasSetStream_v2, (struct cublasContext *h, struct CUstream_st *s)) \
    X(cublas, unsigned, cublasSetWorkspace_v2, (struct cublasContext *h, void *ws, size_t bytes)) \
    X(cublas, unsigned, cublasSetMathMode, (struct cublasContext *h, unsigned mode)) \
    X(cublas, unsigned, cublasSetAtomicsMode, (struct cublasContext *h, unsigned mode)) \
    X(cublas, unsigned, cublasSgemm_v2, \
      (struct cublasContext *h, unsigned ta, unsigned tb, int m, int n, int k, const float *alpha, \
       const float *A, int lda, const float *B, int ldb, const float *beta, float *C, int ldc)) \
    X(cublas, unsigned, cublasSaxpy_v2, \
      (struct cublasContext *h, int n, const float *alpha, const float *x, int incx, float *y, int incy)) \
    X(cublas, unsigned, cublasSscal_v2, (struct cublasContext *h, int n, const float *alpha, float *x, int incx)) \
    X(cublas, unsigned, cublasSdgmm, \
      (struct cublasContext *h, unsigned side, int m, int n, const float *A, int lda, const float *x, int incx, \
       float *C, int ldc)) \
    X(cublas, unsigned, cublasSgeam, \
      (struct cublasContext *h, unsigned ta, unsigned tb, int m, int n, const float *alpha, const float *A, \
       int lda, const float *beta, const float *B, int ldb, float *C, int ldc)) \
    X(cublas, const char *, cublasGetStatusName, (unsigned status)) \
    X(cublas, const char *, cublasGetStatusString, (unsigned status))

/* Of the library that cuBLAS loads itself. */
#define ANX_CUDA_TABLE_CUBLASLT(X) \
    X(cublasLt, unsigned, cublasLtCreate, (struct cublasLtContext **h)) \
    X(cublasLt, unsigned, cublasLtDestroy, (struct cublasLtContext *h)) \
    X(cublasLt, unsigned, cublasLtGetProperty, (unsigned type, int *value)) \
    X(cublasLt, unsigned, cublasLtMatmulDescCreate, (anx_lt_matmul *d, unsigned compute, unsigned scale_type)) \
    X(cublasLt, unsigned, cublasLtMatmulDescSetAttribute, \
      (anx_lt_matmul d, unsigned attr, const void *value, size_t bytes)) \
    X(cublasLt, unsigned, cublasLtMatmulDescDestroy, (anx_lt_matmul d)) \
    X(cublasLt, unsigned, cublasLtMatrixLayoutCreate, \
      (anx_lt_layout *d, unsigned type, uint64_t rows, uint64_t columns, int64_t ld)) \
    X(cublasLt, unsigned, cublasLtMatrixLayoutDestroy, (anx_lt_layout d)) \
    X(cublasLt, unsigned, cublasLtMatmulPreferenceCreate, (anx_lt_preference *d)) \
    X(cublasLt, unsigned, cublasLtMatmulPreferenceSetAttribute, \
      (anx_lt_preference d, unsigned attr, const void *value, size_t bytes)) \
    X(cublasLt, unsigned, cublasLtMatmulPreferenceDestroy, (anx_lt_preference d)) \
    X(cublasLt, unsigned, cublasLtMatmulAlgoGetHeuristic, \
      (struct cublasLtContext *h, anx_lt_matmul d, anx_lt_layout ad, anx_lt_layout bd, anx_lt_layout cd, \
       anx_lt_layout dd, anx_lt_preference preference, int most, anx_lt_choice *choices, int *n_choices)) \
    X(cublasLt, unsigned, cublasLtMatmul, \
      (struct cublasLtContext *h, anx_lt_matmul d, const void *alpha, const void *A, anx_lt_layout ad, \
       const void *B, anx_lt_layout bd, const void *beta, const void *C, anx_lt_layout cd, void *D, \
       anx_lt_layout dd, const anx_lt_algorithm *algorithm, void *ws, size_t ws_bytes, struct CUstream_st *s))

#define ANX_CUDA_TABLE_CUDNN(X) \
    X(cudnn, size_t, cudnnGetVersion, (void)) \
    X(cudnn, size_t, cudnnGetCudartVersion, (void)) \
    X(cudnn, const char *, cudnnGetErrorString, (unsigned status)) \
    X(cudnn, unsigned, cudnnCreate, (struct cudnnContext **h)) \
    X(cudnn, unsigned, cudnnDestroy, (struct cudnnContext *h)) \
    X(cudnn, unsigned, cudnnSetStream, (struct cudnnContext *h, struct CUstream_st *s)) \
    X(cudnn, unsigned, cudnnCreateTensorDescriptor, (struct cudnnTensorStruct **d)) \
    X(cudnn, unsigned, cudnnSetTensor4dDescriptor, \
      (struct cudnnTensorStruct *d, unsigned format, unsigned type, int n, int c, int hh, int w)) \
    X(cudnn, unsigned, cudnnSetTensor4dDescriptorEx, \
      (struct cudnnTensorStruct *d, unsigned type, int n, int c, int hh, int w, int n_stride, int c_stride, \
       int h_stride, int w_stride)) \
    X(cudnn, unsigned, cudnnDestroyTensorDescriptor, (struct cudnnTensorStruct *d)) \
    X(cudnn, unsigned, cudnnCreateFilterDescriptor, (struct cudnnFilterStruct **d)) \
    X(cudnn, unsigned, cudnnSetFilter4dDescriptor, \
      (struct cudnnFilterStruct *d, unsigned type, unsigned format, int k, int c, int hh, int w)) \
    X(cudnn, unsigned, cudnnDestroyFilterDescriptor, (struct cudnnFilterStruct *d)) \
    X(cudnn, unsigned, cudnnCreateConvolutionDescriptor, (struct cudnnConvolutionStruct **d)) \
    X(cudnn, unsigned, cudnnSetConvolution2dDescriptor, \
      (struct cudnnConvolutionStruct *d, int ph, int pw, int sh, int sw, int dh, int dw, unsigned mode, \
       unsigned type)) \
    X(cudnn, unsigned, cudnnSetConvolutionMathType, (struct cudnnConvolutionStruct *d, unsigned math)) \
    X(cudnn, unsigned, cudnnSetConvolutionGroupCount, (struct cudnnConvolutionStruct *d, int groups)) \
    X(cudnn, unsigned, cudnnDestroyConvolutionDescriptor, (struct cudnnConvolutionStruct *d)) \
    X(cudnn, unsigned, cudnnGetConvolution2dForwardOutputDim, \
      (struct cudnnConvolutionStruct *const d, struct cudnnTensorStruct *const x, \
       struct cudnnFilterStruct *const w, int *n, int *c, int *hh, int *ww)) \
    X(cudnn, unsigned, cudnnGetConvolutionForwardWorkspaceSize, \
      (struct cudnnContext *h, struct cudnnTensorStruct *const xd, struct cudnnFilterStruct *const wd, \
       struct cudnnConvolutionStruct *const cd, struct cudnnTensorStruct *const yd, unsigned algo, size_t *bytes)) \
    X(cudnn, unsigned, cudnnGetConvolutionBackwardDataWorkspaceSize, \
      (struct cudnnContext *h, struct cudnnFilterStruct *const wd, struct cudnnTensorStruct *const dyd, \
       struct cudnnConvolutionStruct *const cd, struct cudnnTensorStruct *const dxd, unsigned algo, \
       size_t *bytes)) \
    X(cudnn, unsigned, cudnnGetConvolutionBackwardFilterWorkspaceSize, \
      (struct cudnnContext *h, struct cudnnTensorStruct *const xd, struct cudnnTensorStruct *const dyd, \
       struct cudnnConvolutionStruct *const cd, struct cudnnFilterStruct *const dwd, unsigned algo, \
       size_t *bytes)) \
    X(cudnn, unsigned, cudnnConvolutionForward, \
      (struct cudnnContext *h, const void *alpha, struct cudnnTensorStruct *const xd, const void *x, \
       struct cudnnFilterStruct *const wd, const void *w, struct cudnnConvolutionStruct *const cd, unsigned algo, \
       void *ws, size_t ws_bytes, const void *beta, struct cudnnTensorStruct *const yd, void *y)) \
    X(cudnn, unsigned, cudnnConvolutionBiasActivationForward, \
      (struct cudnnContext *h, const void *alpha1, struct cudnnTensorStruct *const xd, const void *x, \
       struct cudnnFilterStruct *const wd, const void *w, struct cudnnConvolutionStruct *const cd, unsigned algo, \
       void *ws, size_t ws_bytes, const void *alpha2, struct cudnnTensorStruct *const zd, const void *z, \
       struct cudnnTensorStruct *const bd, const void *bias, struct cudnnActivationStruct *const ad, \
       struct cudnnTensorStruct *const yd, void *y)) \
    X(cudnn, unsigned, cudnnConvolutionBackwardData, \
      (struct cudnnContext *h, const void *alpha, struct cudnnFilterStruct *const wd, const void *w, \
       struct cudnnTensorStruct *const dyd, const void *dy, struct cudnnConvolutionStruct *const cd, \
       unsigned algo, void *ws, size_t ws_bytes, const void *beta, struct cudnnTensorStruct *const dxd, void *dx)) \
    X(cudnn, unsigned, cudnnConvolutionBackwardFilter, \
      (struct cudnnContext *h, const void *alpha, struct cudnnTensorStruct *const xd, const void *x, \
       struct cudnnTensorStruct *const dyd, const void *dy, struct cudnnConvolutionStruct *const cd, \
       unsigned algo, void *ws, size_t ws_bytes, const void *beta, struct cudnnFilterStruct *const dwd, void *dw)) \
    X(cudnn, unsigned, cudnnConvolutionBackwardBias, \
      (struct cudnnContext *h, const void *alpha, struct cudnnTensorStruct *const dyd, const void *dy, \
       const void *beta, struct cudnnTensorStruct *const dbd, void *db)) \
    X(cudnn, unsigned, cudnnAddTensor, \
      (struct cudnnContext *h, const void *alpha, struct cudnnTensorStruct *const ad, const void *A, \
       const void *beta, struct cudnnTensorStruct *const cd, void *C)) \
    X(cudnn, unsigned, cudnnTransformTensor, \
      (struct cudnnContext *h, const void *alpha, struct cudnnTensorStruct *const xd, const void *x, \
       const void *beta, struct cudnnTensorStruct *const yd, void *y)) \
    X(cudnn, unsigned, cudnnCreateActivationDescriptor, (struct cudnnActivationStruct **d)) \
    X(cudnn, unsigned, cudnnSetActivationDescriptor, \
      (struct cudnnActivationStruct *d, unsigned mode, unsigned nan, double coef)) \
    X(cudnn, unsigned, cudnnDestroyActivationDescriptor, (struct cudnnActivationStruct *d)) \
    X(cudnn, unsigned, cudnnActivationForward, \
      (struct cudnnContext *h, struct cudnnActivationStruct *d, const void *alpha, \
       struct cudnnTensorStruct *const xd, const void *x, const void *beta, struct cudnnTensorStruct *const yd, \
       void *y)) \
    X(cudnn, unsigned, cudnnActivationBackward, \
      (struct cudnnContext *h, struct cudnnActivationStruct *d, const void *alpha, \
       struct cudnnTensorStruct *const yd, const void *y, struct cudnnTensorStruct *const dyd, const void *dy, \
       struct cudnnTensorStruct *const xd, const void *x, const void *beta, struct cudnnTensorStruct *const dxd, \
       void *dx)) \
    X(cudnn, unsigned, cudnnCreatePoolingDescriptor, (struct cudnnPoolingStruct **d)) \
    X(cudnn, unsigned, cudnnSetPooling2dDescriptor, \
      (struct cudnnPoolingStruct *d, unsigned mode, unsigned nan, int wh, int ww, int ph, int pw, int sh, int sw)) \
    X(cudnn, unsigned, cudnnDestroyPoolingDescriptor, (struct cudnnPoolingStruct *d)) \
    X(cudnn, unsigned, cudnnGetPooling2dForwardOutputDim, \
      (struct cudnnPoolingStruct *const d, struct cudnnTensorStruct *const x, int *n, int *c, int *hh, int *w)) \
    X(cudnn, unsigned, cudnnPoolingForward, \
      (struct cudnnContext *h, struct cudnnPoolingStruct *const d, const void *alpha, \
       struct cudnnTensorStruct *const xd, const void *x, const void *beta, struct cudnnTensorStruct *const yd, \
       void *y)) \
    X(cudnn, unsigned, cudnnPoolingBackward, \
      (struct cudnnContext *h, struct cudnnPoolingStruct *const d, const void *alpha, \
       struct cudnnTensorStruct *const yd, const void *y, struct cudnnTensorStruct *const dyd, const void *dy, \
       struct cudnnTensorStruct *const xd, const void *x, const void *beta, struct cudnnTensorStruct *const dxd, \
       void *dx)) \
    X(cudnn, unsigned, cudnnSoftmaxForward, \
      (struct cudnnContext *h, unsigned algo, unsigned mode, const void *alpha, \
       struct cudnnTensorStruct *const xd, const void *x, const void *beta, struct cudnnTensorStruct *const yd, \
       void *y)) \
    X(cudnn, unsigned, cudnnSoftmaxBackward, \
      (struct cudnnContext *h, unsigned algo, unsigned mode, const void *alpha, \
       struct cudnnTensorStruct *const yd, const void *y, struct cudnnTensorStruct *const dyd, const void *dy, \
       const void *beta, struct cudnnTensorStruct *const dxd, void *dx)) \
    X(cudnn, unsigned, cudnnCreateDropoutDescriptor, (struct cudnnDropoutStruct **d)) \
    X(cudnn, unsigned, cudnnDestroyDropoutDescriptor, (struct cudnnDropoutStruct *d)) \
    X(cudnn, unsigned, cudnnDropoutGetStatesSize, (struct cudnnContext *h, size_t *bytes)) \
    X(cudnn, unsigned, cudnnDropoutGetReserveSpaceSize, (struct cudnnTensorStruct *xd, size_t *bytes)) \
    X(cudnn, unsigned, cudnnSetDropoutDescriptor, \
      (struct cudnnDropoutStruct *d, struct cudnnContext *h, float p, void *states, size_t state_bytes, \
       unsigned long long seed)) \
    X(cudnn, unsigned, cudnnDropoutForward, \
      (struct cudnnContext *h, struct cudnnDropoutStruct *const d, struct cudnnTensorStruct *const xd, \
       const void *x, struct cudnnTensorStruct *const yd, void *y, void *reserve, size_t reserve_bytes))

/* Asked for where a library has them: X(library, result, name, arguments, first cuDNN major that has it, last one). */
#define ANX_CUDA_TABLE_OPTIONAL(X) \
    X(cudnn, void, cudnnGetLastErrorString, (char *message, size_t bytes), 9, 99) \
    X(cudnn, unsigned, cudnnOpsVersionCheck, (void), 9, 99) \
    X(cudnn, unsigned, cudnnCnnVersionCheck, (void), 9, 99) \
    X(cudnn, unsigned, cudnnOpsInferVersionCheck, (void), 8, 8) \
    X(cudnn, unsigned, cudnnOpsTrainVersionCheck, (void), 8, 8) \
    X(cudnn, unsigned, cudnnCnnInferVersionCheck, (void), 8, 8) \
    X(cudnn, unsigned, cudnnCnnTrainVersionCheck, (void), 8, 8)

#define ANX_CUDA_TABLE(X) \
    ANX_CUDA_TABLE_CUDART(X) ANX_CUDA_TABLE_CUBLAS(X) ANX_CUDA_TABLE_CUBLASLT(X) ANX_CUDA_TABLE_CUDNN(X)
/* clang-format on */

/* The functions as found in the libraries; those of the optional table may be NULL. */
typedef struct anx_cuda_api {
#define ANX_CUDA_MEMBER(library, result, name, arguments) result(*name) arguments;
#define ANX_CUDA_OPTIONAL_MEMBER(library, result, name, arguments, first, last) result(*name) arguments;
    ANX_CUDA_TABLE(ANX_CUDA_MEMBER)
    ANX_CUDA_TABLE_OPTIONAL(ANX_CUDA_OPTIONAL_MEMBER)
#undef ANX_CUDA_MEMBER
#undef ANX_CUDA_OPTIONAL_MEMBER
} anx_cuda_api;

/* ---- the numbers that are passed ------------------------------------------------------------------------- */

/* X(our name, NVIDIA's enumerator, value) */
/* clang-format off */
#define ANX_CUDA_NUMBERS(X) \
    X(ANX_CU_SUCCESS, cudaSuccess, 0) \
    X(ANX_CU_OUT_OF_MEMORY, cudaErrorMemoryAllocation, 2) \
    X(ANX_CU_STUB_LIBRARY, cudaErrorStubLibrary, 34) \
    X(ANX_CU_NO_DRIVER, cudaErrorInsufficientDriver, 35) \
    X(ANX_CU_NO_DEVICE, cudaErrorNoDevice, 100) \
    X(ANX_CU_DRIVER_MISMATCH, cudaErrorSystemDriverMismatch, 803) \
    X(ANX_CU_UNKNOWN, cudaErrorUnknown, 999) \
    X(ANX_CU_HOST_TO_DEVICE, cudaMemcpyHostToDevice, 1) \
    X(ANX_CU_DEVICE_TO_HOST, cudaMemcpyDeviceToHost, 2) \
    X(ANX_CU_DEVICE_TO_DEVICE, cudaMemcpyDeviceToDevice, 3) \
    X(ANX_CU_STREAM_NON_BLOCKING, cudaStreamNonBlocking, 1) \
    X(ANX_CU_EVENT_DEFAULT, cudaEventDefault, 0) \
    X(ANX_CU_EVENT_NO_TIMING, cudaEventDisableTiming, 2) \
    X(ANX_CU_HOST_ALLOC_DEFAULT, cudaHostAllocDefault, 0) \
    X(ANX_CU_MULTIPROCESSORS, cudaDevAttrMultiProcessorCount, 16) \
    X(ANX_CU_CAPABILITY_MAJOR, cudaDevAttrComputeCapabilityMajor, 75) \
    X(ANX_CU_CAPABILITY_MINOR, cudaDevAttrComputeCapabilityMinor, 76) \
    X(ANX_CU_PROPERTY_MAJOR, MAJOR_VERSION, 0) \
    X(ANX_CU_PROPERTY_MINOR, MINOR_VERSION, 1) \
    X(ANX_CU_PROPERTY_PATCH, PATCH_LEVEL, 2) \
    X(ANX_CU_BLAS_N, CUBLAS_OP_N, 0) \
    X(ANX_CU_BLAS_T, CUBLAS_OP_T, 1) \
    X(ANX_CU_BLAS_SIDE_RIGHT, CUBLAS_SIDE_RIGHT, 1) \
    X(ANX_CU_BLAS_DEFAULT_MATH, CUBLAS_DEFAULT_MATH, 0) \
    X(ANX_CU_BLAS_PEDANTIC_MATH, CUBLAS_PEDANTIC_MATH, 2) \
    X(ANX_CU_BLAS_TF32_MATH, CUBLAS_TF32_TENSOR_OP_MATH, 3) \
    X(ANX_CU_BLAS_ALLOC_FAILED, CUBLAS_STATUS_ALLOC_FAILED, 3) \
    X(ANX_CU_BLAS_INVALID_VALUE, CUBLAS_STATUS_INVALID_VALUE, 7) \
    X(ANX_CU_BLAS_ARCH_MISMATCH, CUBLAS_STATUS_ARCH_MISMATCH, 8) \
    X(ANX_CU_BLAS_NOT_SUPPORTED, CUBLAS_STATUS_NOT_SUPPORTED, 15) \
    X(ANX_CU_BLAS_ATOMICS_NOT_ALLOWED, CUBLAS_ATOMICS_NOT_ALLOWED, 0) \
    X(ANX_CU_BLAS_ATOMICS_ALLOWED, CUBLAS_ATOMICS_ALLOWED, 1) \
    X(ANX_CU_LT_FLOAT, CUDA_R_32F, 0) \
    X(ANX_CU_LT_COMPUTE_DEFAULT, CUBLAS_COMPUTE_32F, 68) \
    X(ANX_CU_LT_COMPUTE_PEDANTIC, CUBLAS_COMPUTE_32F_PEDANTIC, 69) \
    X(ANX_CU_LT_COMPUTE_TF32, CUBLAS_COMPUTE_32F_FAST_TF32, 77) \
    X(ANX_CU_LT_TRANSA, CUBLASLT_MATMUL_DESC_TRANSA, 3) \
    X(ANX_CU_LT_EPILOGUE, CUBLASLT_MATMUL_DESC_EPILOGUE, 7) \
    X(ANX_CU_LT_BIAS_POINTER, CUBLASLT_MATMUL_DESC_BIAS_POINTER, 8) \
    X(ANX_CU_LT_EPILOGUE_NONE, CUBLASLT_EPILOGUE_DEFAULT, 1) \
    X(ANX_CU_LT_EPILOGUE_RELU, CUBLASLT_EPILOGUE_RELU, 2) \
    X(ANX_CU_LT_EPILOGUE_BIAS, CUBLASLT_EPILOGUE_BIAS, 4) \
    X(ANX_CU_LT_EPILOGUE_RELU_BIAS, CUBLASLT_EPILOGUE_RELU_BIAS, 6) \
    X(ANX_CU_LT_MAX_WORKSPACE_BYTES, CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES, 1) \
    X(ANX_CU_LT_REDUCTION_MASK, CUBLASLT_MATMUL_PREF_REDUCTION_SCHEME_MASK, 3) \
    X(ANX_CU_LT_IMPLEMENTATION_MASK, CUBLASLT_MATMUL_PREF_IMPL_MASK, 12) \
    X(ANX_CU_LT_REDUCES_IN_PLACE, CUBLASLT_REDUCTION_SCHEME_INPLACE, 1) \
    X(ANX_CU_LT_REDUCES_IN_COMPUTE_TYPE, CUBLASLT_REDUCTION_SCHEME_COMPUTE_TYPE, 2) \
    X(ANX_CU_LT_FMA, CUBLASLT_NUMERICAL_IMPL_FLAGS_FMA, 0x1) \
    X(ANX_CU_LT_ACCUMULATES_FLOATS, CUBLASLT_NUMERICAL_IMPL_FLAGS_ACCUMULATOR_32F, 0x200) \
    X(ANX_CU_LT_READS_FLOATS, CUBLASLT_NUMERICAL_IMPL_FLAGS_INPUT_32F, 0x80000) \
    X(ANX_CU_FLOAT, CUDNN_DATA_FLOAT, 0) \
    X(ANX_CU_NCHW, CUDNN_TENSOR_NCHW, 0) \
    X(ANX_CU_CROSS_CORRELATION, CUDNN_CROSS_CORRELATION, 1) \
    X(ANX_CU_DEFAULT_MATH, CUDNN_DEFAULT_MATH, 0) \
    X(ANX_CU_FMA_MATH, CUDNN_FMA_MATH, 3) \
    X(ANX_CU_FORWARD_IMPLICIT_GEMM, CUDNN_CONVOLUTION_FWD_ALGO_IMPLICIT_GEMM, 0) \
    X(ANX_CU_FORWARD_IMPLICIT_PRECOMP_GEMM, CUDNN_CONVOLUTION_FWD_ALGO_IMPLICIT_PRECOMP_GEMM, 1) \
    X(ANX_CU_FORWARD_GEMM, CUDNN_CONVOLUTION_FWD_ALGO_GEMM, 2) \
    X(ANX_CU_FORWARD_FFT, CUDNN_CONVOLUTION_FWD_ALGO_FFT, 4) \
    X(ANX_CU_FORWARD_FFT_TILING, CUDNN_CONVOLUTION_FWD_ALGO_FFT_TILING, 5) \
    X(ANX_CU_FORWARD_WINOGRAD, CUDNN_CONVOLUTION_FWD_ALGO_WINOGRAD, 6) \
    X(ANX_CU_FORWARD_WINOGRAD_NONFUSED, CUDNN_CONVOLUTION_FWD_ALGO_WINOGRAD_NONFUSED, 7) \
    X(ANX_CU_DATA_0, CUDNN_CONVOLUTION_BWD_DATA_ALGO_0, 0) \
    X(ANX_CU_DATA_1, CUDNN_CONVOLUTION_BWD_DATA_ALGO_1, 1) \
    X(ANX_CU_DATA_FFT, CUDNN_CONVOLUTION_BWD_DATA_ALGO_FFT, 2) \
    X(ANX_CU_DATA_FFT_TILING, CUDNN_CONVOLUTION_BWD_DATA_ALGO_FFT_TILING, 3) \
    X(ANX_CU_DATA_WINOGRAD, CUDNN_CONVOLUTION_BWD_DATA_ALGO_WINOGRAD, 4) \
    X(ANX_CU_DATA_WINOGRAD_NONFUSED, CUDNN_CONVOLUTION_BWD_DATA_ALGO_WINOGRAD_NONFUSED, 5) \
    X(ANX_CU_FILTER_0, CUDNN_CONVOLUTION_BWD_FILTER_ALGO_0, 0) \
    X(ANX_CU_FILTER_1, CUDNN_CONVOLUTION_BWD_FILTER_ALGO_1, 1) \
    X(ANX_CU_FILTER_FFT, CUDNN_CONVOLUTION_BWD_FILTER_ALGO_FFT, 2) \
    X(ANX_CU_FILTER_3, CUDNN_CONVOLUTION_BWD_FILTER_ALGO_3, 3) \
    X(ANX_CU_FILTER_WINOGRAD_NONFUSED, CUDNN_CONVOLUTION_BWD_FILTER_ALGO_WINOGRAD_NONFUSED, 5) \
    X(ANX_CU_FILTER_FFT_TILING, CUDNN_CONVOLUTION_BWD_FILTER_ALGO_FFT_TILING, 6) \
    X(ANX_CU_POOL_MAX_DETERMINISTIC, CUDNN_POOLING_MAX_DETERMINISTIC, 3) \
    X(ANX_CU_POOL_AVERAGE_EXCLUDE_PADDING, CUDNN_POOLING_AVERAGE_COUNT_EXCLUDE_PADDING, 2) \
    X(ANX_CU_NOT_PROPAGATE_NAN, CUDNN_NOT_PROPAGATE_NAN, 0) \
    X(ANX_CU_PROPAGATE_NAN, CUDNN_PROPAGATE_NAN, 1) \
    X(ANX_CU_RELU, CUDNN_ACTIVATION_RELU, 1) \
    X(ANX_CU_IDENTITY, CUDNN_ACTIVATION_IDENTITY, 5) \
    X(ANX_CU_SOFTMAX_ACCURATE, CUDNN_SOFTMAX_ACCURATE, 1) \
    X(ANX_CU_SOFTMAX_INSTANCE, CUDNN_SOFTMAX_MODE_INSTANCE, 0)
/* clang-format on */

enum {
#define ANX_CUDA_NUMBER(ours, theirs, value) ours = value,
    ANX_CUDA_NUMBERS(ANX_CUDA_NUMBER)
#undef ANX_CUDA_NUMBER
};

#endif
