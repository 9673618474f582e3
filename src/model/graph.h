/*
 * A graph: an architecture with the number of classes and the input size settled, every shape known and checked.
 * Read-only once made; plans, the judge and the fixtures all address its nodes and parameters by index.
 */
#ifndef ANX_SRC_MODEL_GRAPH_H
#define ANX_SRC_MODEL_GRAPH_H

#include "src/base/tensor.h"
#include "src/model/arch.h"

enum {
    ANX_NODE_INPUT = -1, /* as a node index: the network's input, (N, C, H, W) */
    ANX_NO_PARAM = -1
};

/* Extents without the batch: rank 3 (C, H, W) or rank 1 (F). */
typedef struct anx_extent {
    int rank;
    int64_t dim[3];
} anx_extent;

typedef struct anx_node {
    const anx_layer *layer; /* name, op, op parameters; conv dilation and groups here are >= 1 (see below) */
    anx_conv2d_params conv; /* for CONV2D, defaults filled in; use this one, not layer->u.conv */
    int n_inputs;
    int inputs[ANX_MAX_INPUTS]; /* node indices or ANX_NODE_INPUT; always smaller than the node's own index */
    anx_extent in, out;         /* extents of the first input and of the output */
    int weight, bias;           /* indices into graph->params, or ANX_NO_PARAM */
    int64_t terms;              /* products summed for one output (C/groups*KH*KW, in_features; window size for
                                   average pooling; classes for softmax); 0 where nothing is summed */
} anx_node;

typedef struct anx_param {
    char name[96]; /* "features.0.weight": the key in a state_dict */
    int node;
    bool is_bias;
    int rank;
    int64_t shape[4]; /* (OC, IC/groups, KH, KW), (out, in), (out) */
    int64_t fan_in;   /* as torch.nn.init computes it: IC/groups*KH*KW or in_features, for the bias too */
} anx_param;

typedef struct anx_graph {
    const anx_arch *arch;
    int64_t num_classes;
    anx_extent input; /* (C, H, W) */
    anx_node *nodes;
    int n_nodes;
    anx_param *params; /* in state_dict order: weight, then bias, row by row */
    int n_params;
    int logits; /* node index */
} anx_graph;

/*
 * num_classes <= 0: the architecture's default. height/width <= 0: its default size.
 * Errors: INVALID_ARGUMENT where a layer would have no output (the message names the smallest size that works),
 * a shape overflows, or the table itself is inconsistent.
 */
anx_status anx_graph_create(const anx_arch *arch, int64_t num_classes, int64_t height, int64_t width, anx_graph **out,
                            anx_error *err);
void anx_graph_destroy(anx_graph *graph);

/* Index of the node of that name ("logits" is the logits node, "input" ANX_NODE_INPUT); -2 if there is none. */
int anx_graph_find_node(const anx_graph *graph, const char *name);
/* Index of the parameter of that name; -1 if there is none. */
int anx_graph_find_param(const anx_graph *graph, const char *name);
/* Elements of one image's output of a node (or the input). */
int64_t anx_graph_node_elems(const anx_graph *graph, int node);
/* Most images of which no node's output, nor the input, has more than max_elems elements together. */
int64_t anx_graph_max_batch(const anx_graph *graph, int64_t max_elems);
/* The extent of a node's output or of the input. */
const anx_extent *anx_graph_extent(const anx_graph *graph, int node);
/* Elements of one parameter. */
int64_t anx_param_elems(const anx_param *param);
/* Parameters in total (elements). */
int64_t anx_graph_param_elems(const anx_graph *graph);
/* Shape (N, C, H, W) or (N, F) of a node's output for a batch; returns the rank. */
int anx_graph_node_shape(const anx_graph *graph, int node, int64_t batch, int64_t shape[4]);

/*
 * Names of all modules in the order of PyTorch's named_modules(), containers included ("", "features",
 * "features.0", ..., "avgpool", "classifier", ...): the keys of state_dict()'s _metadata. The callback returns
 * false to stop.
 */
void anx_arch_each_module(const anx_arch *arch, bool (*visit)(const char *name, void *user), void *user);

#endif
