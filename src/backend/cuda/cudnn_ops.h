/*
 * Layers on cuDNN. Every call of cuDNN that computes is in cudnn_ops.c, most of them of the interface that cuDNN 9
 * calls legacy: a cuDNN without it costs that one file.
 *
 * Tensors are packed (N, C, H, W) float32 in device memory unless said otherwise; an (N, F) tensor is (N, F, 1, 1). All
 * work is enqueued on the stream of the anx_cudnn and has not run when a call returns. Errors of all functions: DEVICE
 * with cuDNN's number; OUT_OF_MEMORY. Descriptors are owned by what is created here.
 */
#ifndef ANX_SRC_BACKEND_CUDA_CUDNN_OPS_H
#define ANX_SRC_BACKEND_CUDA_CUDNN_OPS_H

#include "src/backend/backend.h"
#include "src/backend/cuda/api_table.h"

typedef struct anx_cudnn {
    const anx_cuda_api *api;
    struct CUstream_st *stream;
    struct cudnnContext *handle;
    anx_math_mode math;
    bool nondeterministic;                  /* algorithms whose bits differ from run to run may be taken */
    struct cudnnActivationStruct *relu;     /* keeps NaN, as PyTorch's does */
    struct cudnnActivationStruct *identity; /* for a fused convolution without ReLU */
} anx_cudnn;

/* The caller has made the device current, as for every function here. */
anx_status anx_cudnn_init(anx_cudnn *dnn, const anx_cuda_api *api, struct CUstream_st *stream, anx_math_mode math,
                          bool nondeterministic, anx_error *err);
void anx_cudnn_fini(anx_cudnn *dnn);

/* A packed tensor's descriptor; anx_cudnn_tensor_destroy(NULL) is fine. */
anx_status anx_cudnn_tensor_create(const anx_cudnn *dnn, int64_t n, int64_t c, int64_t h, int64_t w,
                                   struct cudnnTensorStruct **out, anx_error *err);
void anx_cudnn_tensor_destroy(const anx_cudnn *dnn, struct cudnnTensorStruct *tensor);

/* ---- convolution ---------------------------------------------------------------------------------------- */

typedef struct anx_cudnn_conv anx_cudnn_conv;

typedef struct anx_cudnn_conv_spec {
    const anx_node *node; /* a CONV2D */
    int64_t batch;
    bool relu;                 /* followed by a ReLU: y is that one's output */
    bool dx_wanted, dw_wanted; /* the way back */
} anx_cudnn_conv_spec;

anx_status anx_cudnn_conv_create(const anx_cudnn *dnn, const anx_cudnn_conv_spec *spec, anx_cudnn_conv **out,
                                 anx_error *err);
void anx_cudnn_conv_destroy(anx_cudnn_conv *conv);
/* What any of its calls, and anx_cudnn_conv_settle, needs. */
size_t anx_cudnn_conv_workspace_bytes(const anx_cudnn_conv *conv);

/* Device memory: x and dx (N, C, H, W), w and dw (OC, IC/groups, KH, KW), b and db (OC), y and dy of the output. */
typedef struct anx_cudnn_conv_memory {
    const float *x, *w;
    float *b; /* settling writes it, and puts back what was there */
    float *y;
    const float *dy;
    float *dx, *dw;
    void *workspace; /* anx_cudnn_conv_workspace_bytes or more */
} anx_cudnn_conv_memory;

/*
 * Settles what only a call can tell: whether the library takes convolution, bias and ReLU in one call that keeps NaN;
 * and, with ANX_MATH_FAST, which algorithm is fastest. x, w, b must hold something (dy too where dx or dw are
 * wanted); y, dx, dw are written.
 */
anx_status anx_cudnn_conv_settle(anx_cudnn_conv *conv, const anx_cudnn_conv_memory *m, anx_error *err);
/* y = conv(x, w) + b, and ReLU where the spec says so. Reads x, w, b. */
anx_status anx_cudnn_conv_forward(const anx_cudnn_conv *conv, const anx_cudnn_conv_memory *m, anx_error *err);
/* dx from w and dy; dw from x and dy: dy is the gradient before the ReLU. */
anx_status anx_cudnn_conv_backward_data(const anx_cudnn_conv *conv, const anx_cudnn_conv_memory *m, anx_error *err);
anx_status anx_cudnn_conv_backward_filter(const anx_cudnn_conv *conv, const anx_cudnn_conv_memory *m, anx_error *err);

/* ---- pooling -------------------------------------------------------------------------------------------- */

typedef struct anx_cudnn_pool anx_cudnn_pool;

/* A MAX_POOL2D or ADAPTIVE_AVG_POOL2D node, windows as in PyTorch. */
anx_status anx_cudnn_pool_create(const anx_cudnn *dnn, const anx_node *node, int64_t batch, anx_cudnn_pool **out,
                                 anx_error *err);
void anx_cudnn_pool_destroy(anx_cudnn_pool *pool);
anx_status anx_cudnn_pool_forward(const anx_cudnn_pool *pool, const float *x, float *y, anx_error *err);
anx_status anx_cudnn_pool_backward(const anx_cudnn_pool *pool, const float *x, const float *y, const float *dy,
                                   float *dx, anx_error *err);

/* ---- the others ----------------------------------------------------------------------------------------- */

/* In place where x == y, and dy == dx. The way back is by the output: dy where y > 0 or NaN, else 0. */
anx_status anx_cudnn_relu_forward(const anx_cudnn *dnn, struct cudnnTensorStruct *t, const float *x, float *y,
                                  anx_error *err);
anx_status anx_cudnn_relu_backward(const anx_cudnn *dnn, struct cudnnTensorStruct *t, const float *y, const float *dy,
                                   float *dx, anx_error *err);
/* Over the channels of (N, F, 1, 1), the maximum subtracted. */
anx_status anx_cudnn_softmax_forward(const anx_cudnn *dnn, struct cudnnTensorStruct *t, const float *x, float *y,
                                     anx_error *err);
anx_status anx_cudnn_softmax_backward(const anx_cudnn *dnn, struct cudnnTensorStruct *t, const float *y,
                                      const float *dy, float *dx, anx_error *err);
/* y += b, where b's descriptor is (1, C, 1, 1); db = the sum of dy over all but the channels. */
anx_status anx_cudnn_add_bias(const anx_cudnn *dnn, struct cudnnTensorStruct *b_tensor, const float *b,
                              struct cudnnTensorStruct *y_tensor, float *y, anx_error *err);
anx_status anx_cudnn_bias_gradient(const anx_cudnn *dnn, struct cudnnTensorStruct *dy_tensor, const float *dy,
                                   struct cudnnTensorStruct *b_tensor, float *db, anx_error *err);

/* ---- dropout masks -------------------------------------------------------------------------------------- */

/* What anx_cudnn_draw_mask needs: the generator's states, and room beside the mask. */
anx_status anx_cudnn_mask_bytes(const anx_cudnn *dnn, struct cudnnTensorStruct *t, size_t *states, size_t *reserve,
                                anx_error *err);
/*
 * The factors of dropout (0 or 1/(1-p)) by cuDNN's own generator: ones (as many as t has elements) go through its
 * dropout. The same seed and tensor give the same mask.
 */
anx_status anx_cudnn_draw_mask(const anx_cudnn *dnn, struct cudnnTensorStruct *t, double p, uint64_t seed,
                               const float *ones, float *mask, void *states, size_t states_bytes, void *reserve,
                               size_t reserve_bytes, anx_error *err);

#endif
