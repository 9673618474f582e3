/*
 * What the double's own tests share: programs that run in a process of their own, with the double loaded there, and
 * what such programs begin and end with.
 */
#ifndef ANX_TESTS_FAKECUDA_KIT_H
#define ANX_TESTS_FAKECUDA_KIT_H

#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>

#include "src/backend/cuda/api_table.h"

/* ---- programs ------------------------------------------------------------------------------------------------ */

typedef int program(const anx_cuda_api *api);

typedef struct outcome {
    int status;      /* exit status; 128 + signal */
    char text[8192]; /* what it wrote to stderr */
} outcome;

/*
 * Runs it in a child. `environment` holds names and values by turns, ended by NULL, and may be NULL; `generation` is a
 * folder of the double: "13-9".
 */
outcome kit_run(program *p, const char *generation, const char *const *environment);

/* ---- what a program needs ------------------------------------------------------------------------------------ */

enum { KIT_MAX = 64 };

/* A stream, handles on it, and whatever else was made with it: released together. */
typedef struct kit {
    const anx_cuda_api *api;
    struct CUstream_st *stream;
    struct cublasContext *blas;
    struct cudnnContext *dnn;
    void *memory[KIT_MAX];
    struct cudnnTensorStruct *tensors[KIT_MAX];
    struct cudnnFilterStruct *filters[KIT_MAX];
    struct cudnnConvolutionStruct *convolutions[KIT_MAX];
    struct cudnnPoolingStruct *poolings[KIT_MAX];
    struct cudnnActivationStruct *activations[KIT_MAX];
    int n_memory, n_tensors, n_filters, n_convolutions, n_poolings, n_activations;
} kit;

/* A call that must succeed: otherwise the process exits with 3 and says which. */
#define MUST(call) kit_must((call), #call)
void kit_must(unsigned status, const char *call);

void kit_init(kit *k, const anx_cuda_api *api);
void kit_fini(kit *k);

float *kit_floats(kit *k, size_t n);
float *kit_upload(kit *k, const float *from, size_t n);
/* Waits. */
void kit_download(kit *k, float *to, const float *from, size_t n);

struct cudnnTensorStruct *kit_tensor(kit *k, int n, int c, int h, int w);
struct cudnnTensorStruct *kit_strided(kit *k, const int *n, const int *stride);
struct cudnnFilterStruct *kit_filter(kit *k, int n, int c, int h, int w);
/* In float32 throughout. */
struct cudnnConvolutionStruct *kit_convolution(kit *k, int pad, int stride, int dilation, int groups);
struct cudnnPoolingStruct *kit_pooling(kit *k, unsigned mode, unsigned nan, int window, int pad, int stride);
struct cudnnActivationStruct *kit_activation(kit *k, unsigned mode, unsigned nan);

extern const float kit_one, kit_zero;

/* In [-1, 1), the same for the same seed. */
void kit_fill(float *p, size_t n, unsigned seed);

/* A program's condition: otherwise it exits with 5 and says which. */
#define EXPECT(condition)                                                                                              \
    do {                                                                                                               \
        if (!(condition)) {                                                                                            \
            fprintf(stderr, "line %d: not so: %s\n", __LINE__, #condition);                                            \
            exit(5);                                                                                                   \
        }                                                                                                              \
    } while (0)

#endif
