#include "src/backend/grouping.h"

bool anx_node_passes_on(const anx_node *node) {
    switch (node->layer->op) {
    case ANX_OP_DROPOUT:
    case ANX_OP_FLATTEN: return true;
    case ANX_OP_ADAPTIVE_AVG_POOL2D: return node->in.dim[1] == node->out.dim[1] && node->in.dim[2] == node->out.dim[2];
    default: return false;
    }
}

bool anx_node_takes_relu(const anx_node *node, unsigned relu_ops) {
    return (relu_ops >> node->layer->op & 1u) != 0;
}

int anx_node_readers(const anx_graph *graph, int node) {
    int readers = node == graph->logits ? 1 : 0;
    for (int i = 0; i < graph->n_nodes; i++)
        for (int k = 0; k < graph->nodes[i].n_inputs; k++) readers += graph->nodes[i].inputs[k] == node;
    return readers;
}

/* Whether `node` reads the one before it in the table, and nobody else does. */
static bool continues_chain(const anx_graph *graph, int node) {
    return node < graph->n_nodes && graph->nodes[node].n_inputs == 1 && graph->nodes[node].inputs[0] == node - 1 &&
           anx_node_readers(graph, node - 1) == 1;
}

bool anx_node_aliases_in_training(const anx_graph *graph, int node) {
    const anx_node *nd = &graph->nodes[node];
    return nd->layer->op != ANX_OP_DROPOUT && anx_node_passes_on(nd) && nd->n_inputs == 1 &&
           nd->inputs[0] != ANX_NODE_INPUT && anx_node_readers(graph, nd->inputs[0]) == 1;
}

/* The last node of the infer or train group that starts at `first`. */
static int last_of_fused_group(const anx_graph *graph, int first, anx_plan_mode mode, unsigned relu_ops) {
    int last = first;
    if (anx_node_takes_relu(&graph->nodes[first], relu_ops) && continues_chain(graph, last + 1) &&
        graph->nodes[last + 1].layer->op == ANX_OP_RELU)
        last++;
    while (mode == ANX_PLAN_INFER && continues_chain(graph, last + 1) && anx_node_passes_on(&graph->nodes[last + 1]))
        last++;
    return last;
}

int anx_graph_make_groups(const anx_graph *graph, anx_plan_mode mode, unsigned relu_ops, anx_group *groups,
                          int *node_indices) {
    int n_groups = 0;
    for (int i = 0; i < graph->n_nodes; i++) node_indices[i] = i;
    for (int first = 0; first < graph->n_nodes;) {
        const int last = mode == ANX_PLAN_OBSERVE ? first : last_of_fused_group(graph, first, mode, relu_ops);
        anx_group *group = &groups[n_groups++];
        *group = (anx_group){
            .nodes = &node_indices[first], .n_nodes = last - first + 1, .n_inputs = graph->nodes[first].n_inputs};
        for (int k = 0; k < group->n_inputs; k++) group->inputs[k] = graph->nodes[first].inputs[k];
        first = last + 1;
    }
    return n_groups;
}
