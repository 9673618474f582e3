/*
 * A plan of a GPU: what lower.c makes of a graph, and what run.c and backward.c do with it.
 *
 * Every value is packed (N, C, H, W) or (N, F) float32 in device memory. In infer plans the outputs of groups share
 * memory where they do not live at the same time, and the input has two buffers that uploads use in turn, on a stream
 * of their own. In other plans everything has memory of its own, but for what only passes its input on in training.
 */
#ifndef ANX_SRC_BACKEND_CUDA_PLAN_H
#define ANX_SRC_BACKEND_CUDA_PLAN_H

#include "src/backend/cuda/memory.h"
#include "src/backend/cuda/transfer.h"
#include "src/backend/grouping.h"
#include "src/backend/memory_plan.h"

/*
 * What takes the ReLU behind it: cuDNN's convolution can be told to keep NaN, as PyTorch's ReLU does; the ReLU that
 * cuBLASLt computes with a product is max(x, 0), which may lose it.
 */
enum { ANX_CUDA_RELU_OPS = ANX_RELU_WITH_CONV };

/* The output of a node. */
typedef struct anx_cuda_value {
    int storage;   /* the node whose memory it shares; its own index where it has memory of its own */
    bool kept;     /* false for what lies inside a fused group */
    float *data;   /* own storage alone */
    float *grad;   /* train, own storage alone: the gradient by it; NULL where none is computed */
    int64_t elems; /* of the whole batch */
} anx_cuda_value;

/* What a node computes with. */
typedef struct anx_cuda_node {
    anx_cudnn_conv *conv;
    anx_cudnn_pool *pool;
    anx_matmul *matmul;               /* of a linear layer; NULL: its product and its bias are two calls */
    struct cudnnTensorStruct *tensor; /* of the output, where a call wants it */
    struct cudnnTensorStruct *bias;   /* of a linear layer's bias */
    float *mask;                      /* dropout in training */
    int64_t *winners;                 /* max-pool in training: what the caller wrote, (N, C, OH, OW); NULL: nothing */
    bool relu;                        /* the ReLU behind it belongs to its group */
    bool adds;                        /* its gradient is added to that of a later reader */
} anx_cuda_node;

typedef struct anx_cuda_param {
    size_t first, elems; /* in the arenas, elements */
    bool trained;
} anx_cuda_param;

enum { ANX_CUDA_INPUTS = 2 };

typedef struct anx_cuda_plan {
    anx_cuda_device *device;
    const anx_graph *graph;
    int64_t batch;
    anx_plan_mode mode;
    anx_group *groups;
    int n_groups;
    int *node_indices;
    anx_cuda_value *values; /* n_nodes */
    anx_cuda_node *nodes;   /* n_nodes */
    anx_cuda_param *params; /* n_params */
    size_t arena_elems;     /* of each arena: all parameters, each filled up with zeros to a multiple of a row */
    float *param_arena, *grad_arena, *momentum_arena;
    float *update; /* scratch of SGD */
    size_t update_elems;
    float *workspace; /* of convolutions */
    size_t workspace_bytes;
    float *unmasked; /* scratch: the gradient before a fused ReLU */
    float *partial;  /* scratch: what is added to a gradient */
    float *infer_arena;
    /* The network's input. Infer: uploads go to the buffers in turn, beside work on the other. */
    float *inputs[ANX_CUDA_INPUTS];
    struct CUevent_st *arrived[ANX_CUDA_INPUTS], *released[ANX_CUDA_INPUTS]; /* infer alone */
    int input;                                                               /* the one written last */
    bool awaiting; /* its upload has not been waited for by work */
    /* The library's generator of masks; made when first asked for. */
    float *mask_states, *mask_reserve, *mask_ones;
    size_t mask_states_bytes, mask_reserve_bytes;
    anx_cuda_memory memory;
} anx_cuda_plan;

static inline anx_cuda_value *anx_cuda_storage_of(const anx_cuda_plan *plan, int node) {
    return &plan->values[plan->values[node].storage];
}

/* Where the output of a node (or the network's input) lies. */
static inline float *anx_cuda_output(const anx_cuda_plan *plan, int node) {
    return node == ANX_NODE_INPUT ? plan->inputs[plan->input] : anx_cuda_storage_of(plan, node)->data;
}

/* The gradient by it; NULL where none is computed. */
static inline float *anx_cuda_grad(const anx_cuda_plan *plan, int node) {
    return node == ANX_NODE_INPUT ? NULL : anx_cuda_storage_of(plan, node)->grad;
}

static inline int64_t anx_cuda_elems(const anx_cuda_plan *plan, int node) {
    return plan->batch * anx_graph_node_elems(plan->graph, node);
}

static inline float *anx_cuda_param_data(const anx_cuda_plan *plan, int param) {
    return plan->param_arena + plan->params[param].first;
}

/* lower.c: everything but what the parameters hold; trained as in anx_plan_desc. */
anx_status anx_cuda_lower(anx_cuda_plan *plan, const bool *trained, anx_error *err);
/* What settles by running once (anx_cudnn_conv_settle, anx_matmul_create); parameters are there. */
anx_status anx_cuda_settle(anx_cuda_plan *plan, anx_error *err);

/* run.c, backward.c: one group. */
anx_status anx_cuda_run_group(anx_cuda_plan *plan, const anx_group *group, anx_error *err);
anx_status anx_cuda_run_group_backward(anx_cuda_plan *plan, const anx_group *group, anx_error *err);

/* winners.c: of a max-pool of a train plan, int64 (N, C, OH, OW); reading waits for the device. */
anx_status anx_cuda_winners_read(anx_cuda_plan *plan, int node, int64_t *out, anx_error *err);
anx_status anx_cuda_winners_write(anx_cuda_plan *plan, int node, const int64_t *winners, anx_error *err);
/* The way back through winners that the caller wrote: on the host, as the library takes its own alone. */
anx_status anx_cuda_winners_backward(const anx_cuda_plan *plan, int node, const float *dy, float *dx, anx_error *err);

/* For an anx_backend table; see backend.h. */
anx_status anx_cuda_plan_create(void *device, const anx_plan_desc *desc, void **out, anx_error *err);
void anx_cuda_plan_destroy(void *plan);
int anx_cuda_plan_group_count(const void *plan);
const anx_group *anx_cuda_plan_group(const void *plan, int group);
anx_status anx_cuda_plan_write(void *plan, anx_value value, const anx_tensor *host, anx_error *err);
anx_status anx_cuda_plan_read(void *plan, anx_value value, anx_tensor *host, anx_error *err);
anx_status anx_cuda_plan_run(void *plan, int first, int count, anx_error *err);
anx_status anx_cuda_plan_run_backward(void *plan, int first, int count, anx_error *err);
anx_status anx_cuda_plan_sgd_step(void *plan, const anx_sgd_options *const *options, bool *has_momentum,
                                  anx_error *err);
anx_status anx_cuda_plan_draw_masks(void *plan, const double *dropout, uint64_t seed, anx_error *err);

#endif
