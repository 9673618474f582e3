/* Apart from the rest of training.h: a plugin takes this and no more into itself. */
#include "src/backend/training.h"

static bool is_trained(const bool *trained, int param) {
    return param != ANX_NO_PARAM && (trained == NULL || trained[param]);
}

void anx_train_gradients(const anx_graph *graph, const bool *trained, bool *has_grad) {
    for (int node = 0; node < graph->n_nodes; node++) {
        const anx_node *nd = &graph->nodes[node];
        has_grad[node] = trained == NULL || is_trained(trained, nd->weight) || is_trained(trained, nd->bias);
        for (int i = 0; i < nd->n_inputs; i++)
            if (nd->inputs[i] != ANX_NODE_INPUT && has_grad[nd->inputs[i]]) has_grad[node] = true;
    }
}

static bool reads(const anx_node *node, int source) {
    for (int i = 0; i < node->n_inputs; i++)
        if (node->inputs[i] == source) return true;
    return false;
}

bool anx_train_adds(const anx_graph *graph, int node) {
    for (int later = node + 1; later < graph->n_nodes; later++)
        if (reads(&graph->nodes[later], graph->nodes[node].inputs[0])) return true;
    return false;
}
