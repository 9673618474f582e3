/*
 * A plan of the CPU device: what lower.c makes of a graph, and what plan.c runs.
 *
 * Every group becomes a list of steps. Steps read and write buffers, which memory_plan.h places into one block once
 * all are known; until then oneDNN's memory objects have no address. Values (the outputs of nodes) lie in buffers of
 * the layout their producer prefers; a step that needs another layout has a reorder before it.
 */
#ifndef ANX_SRC_BACKEND_DNNL_PLAN_H
#define ANX_SRC_BACKEND_DNNL_PLAN_H

#include "src/backend/dnnl/block.h"
#include "src/backend/dnnl/device.h"
#include "src/backend/dnnl/loops.h"
#include "src/backend/grouping.h"
#include "src/backend/memory_plan.h"

enum {
    ANX_DNNL_MAX_ARGS = 5,
    ANX_DNNL_LOOP_MAX_BATCH = 3, /* images up to which a linear layer goes through its weights row by row */
    ANX_DNNL_RELU_OPS = ANX_RELU_WITH_CONV | ANX_RELU_WITH_LINEAR,
};

/* The output of a node or the network's input. */
typedef struct anx_dnnl_value {
    int storage;    /* the node whose memory it shares; its own index where it has memory of its own */
    bool kept;      /* false for what lies inside a fused group */
    anx_dnnl_md md; /* own storage alone: rank 4 (N, C, H, W) or 2 (N, F) */
    int buffer;
    dnnl_memory_t memory;
    bool exposed;     /* the caller holds its address: what it holds may change unseen */
    double magnitude; /* no element is larger than this, none is NaN; NaN where nothing is known */
    /* Train plans: whether the gradient by it is computed; own storage alone: where, in the layout of md. */
    bool needs_grad;
    int grad_buffer;
    dnnl_memory_t grad_memory;
    int grad_writers; /* groups that compute (a part of) the gradient: one, but where several read the value */
    bool grad_begun;  /* by one of several writers, in this pass */
    int extra_buffer; /* of a dropout node: its mask, in the layout of md; of a max-pool: its winners, int32 */
} anx_dnnl_value;

typedef struct anx_dnnl_param {
    anx_dnnl_md host_md; /* the caller's layout */
    anx_dnnl_md md;      /* the layout computed with */
    dnnl_memory_t memory;
    float *data;         /* packed, or the caller's own memory */
    bool in_place;       /* data is the caller's */
    size_t offset;       /* in the block of packed parameters */
    anx_dnnl_block own;  /* what replaced the caller's memory when the parameter was written anew */
    double magnitude;    /* largest magnitude, NaN where there is one; convolutions alone */
    bool trained;        /* its gradient is wanted */
    anx_dnnl_md grad_md; /* NULL: there is no gradient */
    int grad_buffer;
    dnnl_memory_t grad_memory;
    bool back_is_stale; /* the copy for the backward pass, which wants another layout, is to be renewed */
} anx_dnnl_param;

typedef struct anx_dnnl_plan anx_dnnl_plan;
typedef struct anx_dnnl_step anx_dnnl_step;

struct anx_dnnl_step {
    anx_status (*run)(anx_dnnl_plan *plan, anx_dnnl_step *step, anx_error *err);
    int group;
    bool backward;
    dnnl_primitive_t primitive; /* NULL for a loop of our own */
    dnnl_exec_arg_t args[ANX_DNNL_MAX_ARGS];
    int n_args;
    int src_buffer, dst_buffer; /* of a loop of our own */
    int factor_buffer;          /* of dropout: the mask; of ReLU and softmax backward: the output */
    int input_buffer;           /* of a linear layer's gradient by its weights: the layer's input */
    size_t elems;               /* elementwise: all, with their padding; softmax: of a row */
    anx_dnnl_pooling pooling;
    int node;  /* of a convolution with a fused ReLU, and of a linear layer in a loop of our own */
    int param; /* whose copy for the backward pass a step renews */
    /* A convolution with a fused ReLU; see anx_dnnl_run_guarded. */
    dnnl_primitive_desc_t guarded;
    dnnl_primitive_t unfused; /* created when first needed */
};

/* A convolution as oneDNN would compute it, between the layouts that it prefers. */
typedef struct anx_dnnl_convolution {
    dnnl_primitive_desc_t pd; /* NULL for other nodes, and once a step has taken it over */
    bool relu;                /* a ReLU is part of it */
} anx_dnnl_convolution;

typedef struct anx_dnnl_memory {
    dnnl_memory_t memory;
    int buffer;
} anx_dnnl_memory;

struct anx_dnnl_plan {
    anx_dnnl_device *device;
    const anx_graph *graph;
    int64_t batch;
    anx_plan_mode mode;
    bool lowers_backward; /* while lowering: steps and buffers belong to the backward pass */
    anx_group *groups;
    int n_groups;
    int *node_indices;
    anx_dnnl_value *values; /* [node + 1] */
    anx_dnnl_param *params;
    anx_dnnl_convolution *convolutions; /* [node]; while lowering */
    anx_dnnl_step *steps;               /* in order; step.group ascends */
    int n_steps, steps_capacity;
    anx_buffer *buffers;
    int n_buffers, buffers_capacity;
    anx_dnnl_memory *memories;
    int n_memories, memories_capacity;
    anx_dnnl_block arena;  /* all buffers */
    anx_dnnl_block packed; /* all packed parameters */
};

static inline anx_dnnl_value *anx_dnnl_value_of(const anx_dnnl_plan *plan, int node) {
    return &plan->values[node + 1];
}

/* The value that holds a node's output: another node's where it is passed on in place. */
static inline anx_dnnl_value *anx_dnnl_storage_of(const anx_dnnl_plan *plan, int node) {
    return anx_dnnl_value_of(plan, anx_dnnl_value_of(plan, node)->storage);
}

static inline float *anx_dnnl_buffer_data(const anx_dnnl_plan *plan, int buffer) {
    return (float *)(void *)((char *)plan->arena.data + plan->buffers[buffer].offset);
}

/* The winners of a max-pool. */
static inline int32_t *anx_dnnl_winners_data(const anx_dnnl_plan *plan, int buffer) {
    return (int32_t *)(void *)((char *)plan->arena.data + plan->buffers[buffer].offset);
}

/* lower.c: fills values, params' layouts, steps, buffers and memories from graph, batch, mode and groups; of train
   plans the backward pass too, with trained as in anx_plan_desc. */
anx_status anx_dnnl_lower(anx_dnnl_plan *plan, const bool *trained, anx_error *err);

/* When the plan's group runs, forward or backward, as buffers count time; all of it lies in 0 .. 2*n_groups - 1. */
static inline int anx_dnnl_time_of(const anx_dnnl_plan *plan, int group, bool backward) {
    return backward ? 2 * plan->n_groups - 1 - group : group;
}

/* The convolution of a guarded step without its ReLU, on the same layouts, its scratchpad its own. */
anx_status anx_dnnl_create_unfused(const anx_dnnl_plan *plan, anx_dnnl_step *step, anx_error *err);

/* The layout in which the caller hands in a value of that extent: (N, C, H, W) or (N, F), contiguous. */
dnnl_status_t anx_dnnl_plain_md(const anx_dnnl_plan *plan, const anx_extent *extent, anx_dnnl_md *out);

/* steps.c: what a step's `run` is set to. */
anx_status anx_dnnl_run_primitive(anx_dnnl_plan *plan, anx_dnnl_step *step, anx_error *err);
/*
 * A convolution with a fused ReLU. oneDNN's ReLU turns NaN into 0 where PyTorch keeps it, so the fused one runs only
 * where no NaN can arise: with X, W, B the largest magnitudes of input, weights and bias, no partial sum of n
 * products exceeds n*W*X + B (1% is added for rounding), and without overflow there is neither infinity nor NaN.
 * Otherwise the convolution and an exact ReLU run one after the other. (-0 becomes +0 in the fused one.)
 */
anx_status anx_dnnl_run_guarded(anx_dnnl_plan *plan, anx_dnnl_step *step, anx_error *err);
anx_status anx_dnnl_run_relu(anx_dnnl_plan *plan, anx_dnnl_step *step, anx_error *err);
anx_status anx_dnnl_run_pooling(anx_dnnl_plan *plan, anx_dnnl_step *step, anx_error *err);
anx_status anx_dnnl_run_linear(anx_dnnl_plan *plan, anx_dnnl_step *step, anx_error *err);
/* factor is scratch memory. */
anx_status anx_dnnl_run_linear_backward_data(anx_dnnl_plan *plan, anx_dnnl_step *step, anx_error *err);
/* factor likewise; dst is the gradient by the weights. */
anx_status anx_dnnl_run_linear_backward_weights(anx_dnnl_plan *plan, anx_dnnl_step *step, anx_error *err);
anx_status anx_dnnl_run_softmax(anx_dnnl_plan *plan, anx_dnnl_step *step, anx_error *err);
/* dst = src * factor */
anx_status anx_dnnl_run_multiply(anx_dnnl_plan *plan, anx_dnnl_step *step, anx_error *err);
anx_status anx_dnnl_run_relu_backward(anx_dnnl_plan *plan, anx_dnnl_step *step, anx_error *err);
anx_status anx_dnnl_run_pooling_backward(anx_dnnl_plan *plan, anx_dnnl_step *step, anx_error *err);
anx_status anx_dnnl_run_softmax_backward(anx_dnnl_plan *plan, anx_dnnl_step *step, anx_error *err);
/* Writes src to the gradient of node step->node, or adds it where another reader of the node did so in this pass. */
anx_status anx_dnnl_run_accumulate(anx_dnnl_plan *plan, anx_dnnl_step *step, anx_error *err);
/* A reorder of a parameter for the backward pass, where it changed since the last one. */
anx_status anx_dnnl_run_renew(anx_dnnl_plan *plan, anx_dnnl_step *step, anx_error *err);

/* For an anx_backend table; see backend.h. */
anx_status anx_dnnl_plan_create(void *device, const anx_plan_desc *desc, void **out, anx_error *err);
void anx_dnnl_plan_destroy(void *plan);
int anx_dnnl_plan_group_count(const void *plan);
const anx_group *anx_dnnl_plan_group(const void *plan, int group);
anx_status anx_dnnl_plan_run(void *plan, int first, int count, anx_error *err);
anx_status anx_dnnl_plan_run_backward(void *plan, int first, int count, anx_error *err);
anx_status anx_dnnl_plan_write(void *plan, anx_value value, const anx_tensor *host, anx_error *err);
anx_status anx_dnnl_plan_read(void *plan, anx_value value, anx_tensor *host, anx_error *err);
float *anx_dnnl_plan_host_pointer(void *plan, anx_value value);

/* memcpy with all of the device's threads. */
void anx_dnnl_copy(void *dst, const void *src, size_t bytes);

/* params.c: allocates, packs; writes one anew. */
anx_status anx_dnnl_params_load(anx_dnnl_plan *plan, const anx_tensor *params, anx_error *err);
anx_status anx_dnnl_param_write(anx_dnnl_plan *plan, int param, const float *host, anx_error *err);
anx_status anx_dnnl_param_read(const anx_dnnl_plan *plan, int param, float *host, anx_error *err);
/* Between a gradient and host, in the caller's layout. */
anx_status anx_dnnl_param_grad_exchange(const anx_dnnl_plan *plan, int param, float *host, bool write, anx_error *err);
/*
 * Makes a parameter that is read where the caller has it the plan's own; nothing to do for others. Errors:
 * OUT_OF_MEMORY.
 */
anx_status anx_dnnl_param_own(anx_dnnl_plan *plan, int param, anx_error *err);

#endif
