#include "tests/fakecuda/kit.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/fakecuda/load.h"

const float kit_one = 1.0f, kit_zero = 0.0f;

/* ---- programs -----------------------------------------------------------------------------------------------------
 */

static void child(program *p, const char *generation, const char *const *environment, int err) {
    static anx_cuda_api api;
    char folder[4096];
    const int cuda = atoi(generation), cudnn = atoi(strchr(generation, '-') + 1);
    dup2(err, STDERR_FILENO);
    for (; environment != NULL && environment[0] != NULL; environment += 2) setenv(environment[0], environment[1], 1);
    snprintf(folder, sizeof folder, "%s/%s", FAKECUDA_FOLDER, generation);
    if (!fake_load(&api, folder, cuda, cudnn)) exit(4);
    exit(p(&api));
}

outcome kit_run(program *p, const char *generation, const char *const *environment) {
    outcome o = {.status = -1};
    int ends[2];
    fflush(NULL);
    if (pipe(ends) != 0) return o;
    const pid_t pid = fork();
    if (pid == 0) {
        close(ends[0]);
        child(p, generation, environment, ends[1]);
    }
    close(ends[1]);
    size_t length = 0;
    for (ssize_t n; (n = read(ends[0], o.text + length, sizeof o.text - 1 - length)) > 0;) length += (size_t)n;
    close(ends[0]);
    int status = 0;
    if (pid > 0 && waitpid(pid, &status, 0) == pid)
        o.status = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
    return o;
}

/* ---- what a program needs ------------------------------------------------------------------------------------------
 */

void kit_must(unsigned status, const char *call) {
    if (status == 0) return;
    fprintf(stderr, "%s answers %u\n", call, status);
    exit(3);
}

#define ROOM(count) kit_must((unsigned)((count) == KIT_MAX), "room in the kit")

void kit_init(kit *k, const anx_cuda_api *api) {
    *k = (kit){.api = api};
    MUST(api->cudaSetDevice(0));
    MUST(api->cudaStreamCreateWithFlags(&k->stream, ANX_CU_STREAM_NON_BLOCKING));
    MUST(api->cublasCreate_v2(&k->blas));
    MUST(api->cublasSetStream_v2(k->blas, k->stream));
    MUST(api->cublasSetMathMode(k->blas, ANX_CU_BLAS_PEDANTIC_MATH));
    MUST(api->cudnnCreate(&k->dnn));
    MUST(api->cudnnSetStream(k->dnn, k->stream));
}

void kit_fini(kit *k) {
    const anx_cuda_api *api = k->api;
    for (int i = 0; i < k->n_memory; i++) api->cudaFree(k->memory[i]);
    for (int i = 0; i < k->n_tensors; i++) api->cudnnDestroyTensorDescriptor(k->tensors[i]);
    for (int i = 0; i < k->n_filters; i++) api->cudnnDestroyFilterDescriptor(k->filters[i]);
    for (int i = 0; i < k->n_convolutions; i++) api->cudnnDestroyConvolutionDescriptor(k->convolutions[i]);
    for (int i = 0; i < k->n_poolings; i++) api->cudnnDestroyPoolingDescriptor(k->poolings[i]);
    for (int i = 0; i < k->n_activations; i++) api->cudnnDestroyActivationDescriptor(k->activations[i]);
    api->cudnnDestroy(k->dnn);
    api->cublasDestroy_v2(k->blas);
    api->cudaStreamDestroy(k->stream);
}

float *kit_floats(kit *k, size_t n) {
    ROOM(k->n_memory);
    MUST(k->api->cudaMalloc(&k->memory[k->n_memory], n * sizeof(float)));
    return k->memory[k->n_memory++];
}

float *kit_upload(kit *k, const float *from, size_t n) {
    float *to = kit_floats(k, n);
    MUST(k->api->cudaMemcpyAsync(to, from, n * sizeof *to, ANX_CU_HOST_TO_DEVICE, k->stream));
    MUST(k->api->cudaStreamSynchronize(k->stream));
    return to;
}

void kit_download(kit *k, float *to, const float *from, size_t n) {
    MUST(k->api->cudaMemcpyAsync(to, from, n * sizeof *to, ANX_CU_DEVICE_TO_HOST, k->stream));
    MUST(k->api->cudaStreamSynchronize(k->stream));
}

static struct cudnnTensorStruct *new_tensor(kit *k) {
    ROOM(k->n_tensors);
    MUST(k->api->cudnnCreateTensorDescriptor(&k->tensors[k->n_tensors]));
    return k->tensors[k->n_tensors++];
}

struct cudnnTensorStruct *kit_tensor(kit *k, int n, int c, int h, int w) {
    struct cudnnTensorStruct *d = new_tensor(k);
    MUST(k->api->cudnnSetTensor4dDescriptor(d, ANX_CU_NCHW, ANX_CU_FLOAT, n, c, h, w));
    return d;
}

struct cudnnTensorStruct *kit_strided(kit *k, const int *n, const int *s) {
    struct cudnnTensorStruct *d = new_tensor(k);
    MUST(k->api->cudnnSetTensor4dDescriptorEx(d, ANX_CU_FLOAT, n[0], n[1], n[2], n[3], s[0], s[1], s[2], s[3]));
    return d;
}

struct cudnnFilterStruct *kit_filter(kit *k, int n, int c, int h, int w) {
    ROOM(k->n_filters);
    struct cudnnFilterStruct **d = &k->filters[k->n_filters++];
    MUST(k->api->cudnnCreateFilterDescriptor(d));
    MUST(k->api->cudnnSetFilter4dDescriptor(*d, ANX_CU_FLOAT, ANX_CU_NCHW, n, c, h, w));
    return *d;
}

struct cudnnConvolutionStruct *kit_convolution(kit *k, int pad, int stride, int dilation, int groups) {
    ROOM(k->n_convolutions);
    struct cudnnConvolutionStruct **d = &k->convolutions[k->n_convolutions++];
    MUST(k->api->cudnnCreateConvolutionDescriptor(d));
    MUST(k->api->cudnnSetConvolution2dDescriptor(*d, pad, pad, stride, stride, dilation, dilation,
                                                 ANX_CU_CROSS_CORRELATION, ANX_CU_FLOAT));
    MUST(k->api->cudnnSetConvolutionMathType(*d, ANX_CU_FMA_MATH));
    MUST(k->api->cudnnSetConvolutionGroupCount(*d, groups));
    return *d;
}

struct cudnnPoolingStruct *kit_pooling(kit *k, unsigned mode, unsigned nan, int window, int pad, int stride) {
    ROOM(k->n_poolings);
    struct cudnnPoolingStruct **d = &k->poolings[k->n_poolings++];
    MUST(k->api->cudnnCreatePoolingDescriptor(d));
    MUST(k->api->cudnnSetPooling2dDescriptor(*d, mode, nan, window, window, pad, pad, stride, stride));
    return *d;
}

struct cudnnActivationStruct *kit_activation(kit *k, unsigned mode, unsigned nan) {
    ROOM(k->n_activations);
    struct cudnnActivationStruct **d = &k->activations[k->n_activations++];
    MUST(k->api->cudnnCreateActivationDescriptor(d));
    MUST(k->api->cudnnSetActivationDescriptor(*d, mode, nan, 0.0));
    return *d;
}

void kit_fill(float *p, size_t n, unsigned seed) {
    for (size_t i = 0; i < n; i++) {
        seed = seed * 1664525u + 1013904223u;
        p[i] = (float)(seed >> 8) * 0x1p-23f - 1.0f;
    }
}
