#include <stdlib.h>
#include <string.h>

#include "parity/fixture.h"

static anx_fixture_param_match compare(const anx_fixture *fixture, const char *name, const anx_digest *digest) {
    for (int i = 0; i < fixture->n_params; i++)
        if (strcmp(fixture->params[i].name, name) == 0)
            return anx_digest_equal(&fixture->params[i].digest, digest) ? ANX_FIXTURE_PARAM_SAME
                                                                        : ANX_FIXTURE_PARAM_DIFFERS;
    return ANX_FIXTURE_PARAM_MISSING;
}

static bool same(const anx_fixture_match *match, int param) {
    return param == ANX_NO_PARAM || match->params[param] == ANX_FIXTURE_PARAM_SAME;
}

/* Inputs come before the nodes that read them, so one pass settles the whole graph. */
static void follow(const anx_graph *graph, bool same_arch, anx_fixture_match *match) {
    for (int i = 0; i < graph->n_nodes; i++) {
        const anx_node *node = &graph->nodes[i];
        match->injectable[i] = same_arch && same(match, node->weight) && same(match, node->bias);
        bool applicable = match->injectable[i];
        for (int k = 0; k < node->n_inputs; k++)
            applicable = applicable && (node->inputs[k] == ANX_NODE_INPUT || match->applicable[node->inputs[k]]);
        match->applicable[i] = applicable;
        if (applicable) match->n_applicable++;
    }
}

anx_status anx_fixture_match_model(const anx_fixture *fixture, const anx_model *model, anx_fixture_match *out,
                                   anx_error *err) {
    if (fixture->kind == ANX_FIXTURE_PREPROCESS || model->digests == NULL)
        return anx_error_set(err, ANX_ERR_INVALID_ARGUMENT,
                             "a fixture of weights is matched against a model whose digests were computed");
    const anx_graph *graph = model->graph;
    anx_fixture_match match = {
        .n_params = graph->n_params,
        .params = calloc((size_t)graph->n_params + 1, sizeof *match.params),
        .n_nodes = graph->n_nodes,
        .applicable = calloc((size_t)graph->n_nodes + 1, sizeof *match.applicable),
        .injectable = calloc((size_t)graph->n_nodes + 1, sizeof *match.injectable),
    };
    if (match.params == NULL || match.applicable == NULL || match.injectable == NULL) {
        anx_fixture_match_fini(&match);
        return anx_error_set(err, ANX_ERR_OUT_OF_MEMORY, "out of memory");
    }
    const bool same_arch = strcmp(fixture->arch, graph->arch->name) == 0;
    for (int i = 0; i < graph->n_params; i++) {
        match.params[i] =
            same_arch ? compare(fixture, graph->params[i].name, &model->digests[i]) : ANX_FIXTURE_PARAM_MISSING;
        if (match.params[i] == ANX_FIXTURE_PARAM_SAME) match.n_same++;
    }
    follow(graph, same_arch, &match);
    *out = match;
    return ANX_OK;
}

void anx_fixture_match_fini(anx_fixture_match *match) {
    if (match == NULL) return;
    free(match->params);
    free(match->applicable);
    free(match->injectable);
    *match = (anx_fixture_match)ANX_FIXTURE_MATCH_INIT;
}
