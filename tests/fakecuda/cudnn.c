/* cuDNN: versions, statuses, handles, and what its calls share. */
#include "tests/fakecuda/cudnn.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/fakecuda/kernels/precision.h"

__attribute__((used)) static const anx_cuda_api complete = {
    ANX_CUDA_TABLE_CUDNN(FAKE_COMPLETE)
#if FAKECUDA_CUDNN == 9
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

/* ---- versions ------------------------------------------------------------------------------------------------ */

size_t cudnnGetVersion(void) {
    return CUDNN_VERSION;
}

size_t cudnnGetCudartVersion(void) {
    return FAKECUDA_CUDA == 13 ? 13010 : RUNTIME_VERSION;
}

/* The parts are of one version, unless it is asked for that they are not. */
#define VERSION_CHECK(function, mismatch)                                                                              \
    unsigned function(void) {                                                                                          \
        FAKE_ENTER(NULL);                                                                                              \
        FAKE_TRACE("%s", "");                                                                                          \
        DNN_INJECT(mismatch);                                                                                          \
        return 0;                                                                                                      \
    }

#if FAKECUDA_CUDNN == 9
static _Thread_local const char *last_message = "";

void cudnnGetLastErrorString(char *message, size_t bytes) {
    if (bytes != 0) snprintf(message, bytes, "%s", last_message);
    last_message = "";
}

VERSION_CHECK(cudnnOpsVersionCheck, 1002)
VERSION_CHECK(cudnnCnnVersionCheck, 1002)
#else
VERSION_CHECK(cudnnOpsInferVersionCheck, 14)
VERSION_CHECK(cudnnOpsTrainVersionCheck, 14)
VERSION_CHECK(cudnnCnnInferVersionCheck, 14)
VERSION_CHECK(cudnnCnnTrainVersionCheck, 14)
#endif

typedef struct status_name {
    unsigned status;
    const char *name;
} status_name;

static const status_name status_names[] = {
    {0, "CUDNN_STATUS_SUCCESS"},
#if FAKECUDA_CUDNN == 9
    {1001, "CUDNN_STATUS_NOT_INITIALIZED"},
    {1002, "CUDNN_STATUS_SUBLIBRARY_VERSION_MISMATCH"},
    {1007, "CUDNN_STATUS_RUNTIME_FP_OVERFLOW"},
    {2000, "CUDNN_STATUS_BAD_PARAM"},
    {2001, "CUDNN_STATUS_INVALID_VALUE"},
    {2002, "CUDNN_STATUS_BAD_PARAM_NULL_POINTER"},
    {2003, "CUDNN_STATUS_BAD_PARAM_MISALIGNED_POINTER"},
    {2004, "CUDNN_STATUS_BAD_PARAM_NOT_FINALIZED"},
    {2005, "CUDNN_STATUS_BAD_PARAM_OUT_OF_BOUND"},
    {2006, "CUDNN_STATUS_BAD_PARAM_SIZE_INSUFFICIENT"},
    {3000, "CUDNN_STATUS_NOT_SUPPORTED"},
    {3001, "CUDNN_STATUS_NOT_SUPPORTED_GRAPH_PATTERN"},
    {3009, "CUDNN_STATUS_NOT_SUPPORTED_SUBLIBRARY_UNAVAILABLE"},
    {4000, "CUDNN_STATUS_INTERNAL_ERROR"},
    {4001, "CUDNN_STATUS_INTERNAL_ERROR_COMPILATION_FAILED"},
    {4002, "CUDNN_STATUS_INTERNAL_ERROR_UNEXPECTED_VALUE"},
    {4003, "CUDNN_STATUS_INTERNAL_ERROR_HOST_ALLOCATION_FAILED"},
    {4004, "CUDNN_STATUS_INTERNAL_ERROR_DEVICE_ALLOCATION_FAILED"},
    {5000, "CUDNN_STATUS_EXECUTION_FAILED"},
    {5001, "CUDNN_STATUS_EXECUTION_FAILED_CUDA_DRIVER"},
    {5002, "CUDNN_STATUS_EXECUTION_FAILED_CUBLAS"},
    {5003, "CUDNN_STATUS_EXECUTION_FAILED_CUDART"},
    {5004, "CUDNN_STATUS_EXECUTION_FAILED_CURAND"},
#else
    {1, "CUDNN_STATUS_NOT_INITIALIZED"}, {2, "CUDNN_STATUS_ALLOC_FAILED"},     {3, "CUDNN_STATUS_BAD_PARAM"},
    {4, "CUDNN_STATUS_INTERNAL_ERROR"},  {8, "CUDNN_STATUS_EXECUTION_FAILED"}, {9, "CUDNN_STATUS_NOT_SUPPORTED"},
#endif
};

const char *cudnnGetErrorString(unsigned status) {
    for (size_t i = 0; i < sizeof status_names / sizeof status_names[0]; i++)
        if (status_names[i].status == status) return status_names[i].name;
    return "CUDNN_UNKNOWN_STATUS";
}

/* ---- handles ------------------------------------------------------------------------------------------------- */

unsigned cudnnCreate(struct cudnnContext **h) {
    FAKE_ENTER(NULL);
    FAKE_TRACE("%s", "");
    const unsigned injected = fake_injected(call.name, DNN_NOT_INITIALIZED);
    if (h == NULL) return DNN_BAD_PARAM;
    *h = NULL;
    if (injected != 0) return injected;
    if (fake_count_error(RUNTIME_VERSION) != 0) {
#if FAKECUDA_CUDNN == 9
        last_message = "cudaGetDeviceCount(&count) != cudaSuccess";
#endif
        return DNN_NOT_INITIALIZED;
    }
    if (fake_device_error() != 0) return DNN_INTERNAL_ERROR;
    *h = (struct cudnnContext *)fake_object_create(FAKE_DNN);
    return 0;
}

unsigned cudnnDestroy(struct cudnnContext *h) {
    FAKE_ENTER(h);
    FAKE_TRACE("%s", fake_name(h));
    const unsigned injected = fake_injected(call.name, DNN_INTERNAL_ERROR);
    if (h == NULL) return injected;
    fake_object_destroy(fake_object_here(call.name, h, FAKE_DNN));
    if (injected != 0) return injected;
    return fake_device_error() != 0 ? DNN_EXECUTION_FAILED : 0;
}

unsigned cudnnSetStream(struct cudnnContext *h, struct CUstream_st *s) {
    FAKE_ENTER(h);
    FAKE_TRACE("%s, %s", fake_name(h), fake_name(s));
    DNN_HANDLE(h, DNN_BAD_PARAM);
    handle->library.stream = s != NULL ? fake_stream_get(call.name, s) : NULL;
    return 0;
}

/* ---- tensors of floats --------------------------------------------------------------------------------------- */

dnn_operand dnn_operand_of(const fake_tensor *t, const void *p) {
    dnn_operand o = {.p = p, .packed = t->packed};
    memcpy(o.n, t->n, sizeof o.n);
    memcpy(o.stride, t->stride, sizeof o.stride);
    return o;
}

size_t dnn_count(const int *n) {
    return (size_t)n[0] * (size_t)n[1] * (size_t)n[2] * (size_t)n[3];
}

bool dnn_same_extents(const fake_tensor *a, const fake_tensor *b) {
    return memcmp(a->n, b->n, sizeof a->n) == 0;
}

unsigned dnn_check_floats(const fake_tensor *t) {
    if (!t->set) return DNN_BAD_PARAM;
    if (t->type != ANX_CU_FLOAT) return DNN_NOT_SUPPORTED;
    for (int i = 0; i < 4; i++)
        if (t->n[i] > 1 && t->stride[i] < 0) return DNN_NOT_SUPPORTED;
    return 0;
}

const float *dnn_packed(const dnn_operand *o, float **own) {
    const float *p = fake_bytes(o->p);
    *own = NULL;
    if (o->packed) return p;
    float *out = *own = fake_floats(dnn_count(o->n));
    for (int n = 0; n < o->n[0]; n++)
        for (int c = 0; c < o->n[1]; c++)
            for (int h = 0; h < o->n[2]; h++)
                for (int w = 0; w < o->n[3]; w++) *out++ = p[dnn_at(o, n, c, h, w)];
    return *own;
}

static float blended(float y, float alpha, float r, float beta) {
    return beta == 0.0f ? alpha * r : alpha * r + beta * y;
}

void dnn_blend(const dnn_operand *o, float alpha, const float *r, float beta) {
    float *y = fake_bytes(o->p);
    const size_t count = dnn_count(o->n), row = (size_t)o->n[3];
    if (o->packed) {
#pragma omp parallel for
        for (size_t i = 0; i < count; i++) y[i] = blended(y[i], alpha, r[i], beta);
        return;
    }
    for (size_t i = 0; i < count / row; i++) {
        const int h = (int)(i % (size_t)o->n[2]), c = (int)(i / (size_t)o->n[2] % (size_t)o->n[1]);
        const int n = (int)(i / (size_t)o->n[2] / (size_t)o->n[1]);
        for (int w = 0; w < o->n[3]; w++) {
            float *at = &y[dnn_at(o, n, c, h, w)];
            *at = blended(*at, alpha, r[i * row + (size_t)w], beta);
        }
    }
}

/* ---- work ---------------------------------------------------------------------------------------------------- */

void dnn_begin(fake_work *work, const fake_call *call, const fake_object *handle) {
    fake_work_begin(work, call->name, fake_stream_get(call->name, handle->library.stream));
}

void dnn_touches(fake_work *work, const dnn_operand *o, unsigned access) {
    fake_work_add(work, o->packed ? fake_region_flat(o->p, dnn_count(o->n) * sizeof(float), access)
                                  : fake_region_tensor(o->p, o->n, o->stride, access));
}

void dnn_result(fake_work *work, const dnn_operand *o, float beta) {
    dnn_touches(work, o, beta == 0.0f ? FAKE_WRITE : FAKE_READ | FAKE_WRITE);
}

unsigned dnn_launch(fake_work *work, fake_run *run, const void *arguments, size_t bytes) {
    fake_work_launch(work, run, arguments, bytes);
    return fake_device_error() != 0 ? DNN_EXECUTION_FAILED : 0;
}
