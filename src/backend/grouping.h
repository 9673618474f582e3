/* Dividing a graph's nodes into the groups that a plan runs. */
#ifndef ANX_SRC_BACKEND_GROUPING_H
#define ANX_SRC_BACKEND_GROUPING_H

#include "src/backend/backend.h"

/*
 * True for a node that outside training only passes its input on (in infer plans: as another name of the same
 * memory): dropout, flatten, and an average over windows of one element each.
 */
bool anx_node_passes_on(const anx_node *node);

/* True for a node of a train plan whose output is another name of its input's memory, though its group is its own. */
bool anx_node_aliases_in_training(const anx_graph *graph, int node);

/* Operations with which a device computes the ReLU behind them: 1u << op for each. */
enum { ANX_RELU_WITH_CONV = 1u << ANX_OP_CONV2D, ANX_RELU_WITH_LINEAR = 1u << ANX_OP_LINEAR };

/* True for a node of one of these operations. */
bool anx_node_takes_relu(const anx_node *node, unsigned relu_ops);

/* How many nodes read the output of `node`, plus one where it is the network's logits. */
int anx_node_readers(const anx_graph *graph, int node);

/*
 * Infer: a ReLU joins the node of relu_ops before it, nodes that only pass on join what they follow, wherever nobody
 * else reads what then lies inside. Train: the ReLU alone joins. Observe: one group per node. groups has room for
 * graph->n_nodes; their node lists point into node_indices, which has too and must live as long. Returns the number of
 * groups.
 */
int anx_graph_make_groups(const anx_graph *graph, anx_plan_mode mode, unsigned relu_ops, anx_group *groups,
                          int *node_indices);

#endif
