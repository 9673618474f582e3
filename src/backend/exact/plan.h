/* The exact backend's device and plan. */
#ifndef ANX_SRC_BACKEND_EXACT_PLAN_H
#define ANX_SRC_BACKEND_EXACT_PLAN_H

#include "src/backend/backend.h"
#include "src/backend/exact/ops.h"

typedef struct anx_exact_device {
    const anx_exact_kernels *kernels;
    int threads;
} anx_exact_device;

/* A node's output, or the network's input. */
typedef struct anx_exact_value {
    anx_exact_layout layout;
    float *data;  /* where it lies */
    float *owned; /* observe: the same; infer: NULL, it lies in plan->shared */
    bool visible; /* may be read and written: the input, and what groups end with */
    /* train, from the lowest trained node on: the gradient by it. Its borders and unused channels stay zero. */
    anx_exact_layout grad_layout;
    float *grad;     /* owned */
    int last_reader; /* the node whose gradient by it comes first; -1 if none reads it */
} anx_exact_value;

/* What running a node needs beside its values; the member that its operation names is set. */
typedef struct anx_exact_node {
    anx_exact_conv conv;
    anx_exact_linear linear;
    anx_exact_pool pool;
    float *packed, *bias; /* owned */
    int group;            /* that runs it */
    bool elsewhere;       /* computed by the node before (fused ReLU), or its input as it is (dropout) */
    /* train: what the way back needs; owned */
    anx_exact_conv_back conv_back;
    anx_exact_linear_back linear_back;
    anx_exact_range weight_range;
    float *packed_back, *packed_dw;
    float *mask;     /* dropout: laid out like its output */
    int32_t *places; /* max-pool: where in a channel's block of the input's gradient each maximum lies, in pixels */
} anx_exact_node;

typedef struct anx_exact_param {
    const float *data; /* the caller's, or owned */
    float *owned;
    float *grad; /* train, where it is trained: owned */
} anx_exact_param;

typedef struct anx_exact_plan {
    const anx_graph *graph;
    const anx_exact_kernels *kernels;
    int threads;
    int64_t batch;
    anx_exact_value *values; /* n_nodes + 1: the input first */
    anx_exact_node *nodes;
    anx_exact_param *params;
    anx_group *groups;
    int n_groups;
    int *group_nodes; /* what groups[].nodes point into */
    float *shared;    /* infer: what the values lie in */
    float *scratch;   /* threads times scratch_elems, for linear panels */
    int64_t scratch_elems;
    float *interleaved; /* one batch of the widest linear layer's inputs */
    anx_plan_mode mode;
    int lowest;   /* train: the lowest node that has a trained parameter; n_nodes if none has */
    float *extra; /* train, where a value has several readers: the gradient by it of one of them */
} anx_exact_plan;

static inline anx_exact_value *anx_exact_plan_value(const anx_exact_plan *plan, int node) {
    return &plan->values[node + 1];
}

anx_status anx_exact_plan_create(const anx_exact_device *device, const anx_plan_desc *desc, anx_exact_plan **out,
                                 anx_error *err);
void anx_exact_plan_destroy(anx_exact_plan *plan);

/* Takes over what the parameters of a convolution are now: packs its weights. Linear layers read theirs in place. */
void anx_exact_plan_update_node(anx_exact_plan *plan, int node);

/* Runs one node on its inputs' values. */
void anx_exact_plan_run_node(anx_exact_plan *plan, int node);

/* Whether the gradient by a node's output is computed, and kept. */
static inline bool anx_exact_plan_has_grad(const anx_exact_plan *plan, int node) {
    return plan->mode == ANX_PLAN_TRAIN && node >= plan->lowest;
}

/* From the gradient of a node's output to those of its trained parameters and, where it is kept, of its input. */
void anx_exact_plan_run_node_back(anx_exact_plan *plan, int node);

/* How many threads so many vector operations are worth: waking one up and waiting for it costs microseconds. */
static inline int anx_exact_plan_threads(const anx_exact_plan *plan, double operations) {
    return operations < 32768.0 ? 1 : plan->threads;
}

#endif
