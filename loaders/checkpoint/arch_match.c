#include "loaders/checkpoint/arch_match.h"

#include <limits.h>
#include <stdio.h>
#include <string.h>

#include "loaders/checkpoint/text.h"

static bool same_shape(const anx_tensor *t, const anx_param *param) {
    return t->rank == param->rank && memcmp(t->shape, param->shape, (size_t)t->rank * sizeof *t->shape) == 0;
}

/* How well the tensors fit a graph: names that occur, and once more for those of the right shape. */
static int fit(const anx_state_dict *tensors, const anx_graph *graph) {
    int score = 0;
    for (int i = 0; i < graph->n_params; i++) {
        const anx_tensor *t = anx_state_dict_find(tensors, graph->params[i].name);
        if (t == NULL) continue;
        score++;
        score += same_shape(t, &graph->params[i]);
    }
    return score;
}

anx_status anx_arch_choose(const anx_state_dict *tensors, const anx_arch **out, anx_error *err) {
    const anx_arch *best = NULL;
    int best_score = 0;
    for (int i = 0; anx_arch_at(i) != NULL; i++) {
        anx_graph *graph = NULL;
        anx_status status = anx_graph_create(anx_arch_at(i), 0, 0, 0, &graph, err);
        if (status != ANX_OK) return status;
        const int score = fit(tensors, graph);
        anx_graph_destroy(graph);
        if (score > best_score) {
            best_score = score;
            best = anx_arch_at(i);
        }
    }
    *out = best;
    return ANX_OK;
}

anx_status anx_arch_count_classes(const anx_state_dict *tensors, const anx_arch *arch, int64_t *out, anx_error *err) {
    anx_graph *graph = NULL;
    anx_status status = anx_graph_create(arch, 0, 0, 0, &graph, err);
    if (status != ANX_OK) return status;
    const anx_node *head = &graph->nodes[graph->logits];
    *out = 0;
    for (int param = head->weight, seen = 0; param >= 0 && *out == 0 && seen < 2; param = head->bias, seen++) {
        const anx_tensor *t = anx_state_dict_find(tensors, graph->params[param].name);
        /* A weight of the wrong inputs (transposed, say) says nothing of the outputs; then the bias does. */
        if (t != NULL && t->rank == graph->params[param].rank && t->shape[0] > 0 && t->shape[0] <= INT_MAX &&
            (t->rank == 1 || t->shape[1] == graph->params[param].shape[1]))
            *out = t->shape[0];
    }
    anx_graph_destroy(graph);
    return ANX_OK;
}

static void note_misshapen(const anx_param *param, const anx_tensor *t, anx_arch_match *m) {
    if (same_shape(t, param) && anx_dtype_is_float(t->dtype)) return;
    if (m->n_misshapen++ > 0) return;
    char got[200], expected[100];
    if (same_shape(t, param))
        snprintf(m->misshapen, sizeof m->misshapen, "%s is %s, not of a floating-point type", param->name,
                 anx_dtype_name(t->dtype));
    else
        snprintf(m->misshapen, sizeof m->misshapen, "%s is %s, not %s", param->name,
                 anx_shape_format(t->rank, t->shape, got, sizeof got),
                 anx_shape_format(param->rank, param->shape, expected, sizeof expected));
}

static void compare(const anx_state_dict *tensors, const anx_graph *graph, anx_arch_match *m) {
    m->n_params = graph->n_params;
    m->num_classes = graph->num_classes;
    for (int i = 0; i < graph->n_params; i++) {
        const anx_param *param = &graph->params[i];
        const anx_tensor *t = anx_state_dict_find(tensors, param->name);
        if (t != NULL)
            note_misshapen(param, t, m);
        else if (m->n_missing++ == 0)
            snprintf(m->missing, sizeof m->missing, "%s", param->name);
    }
    for (size_t i = 0; i < tensors->count; i++)
        if (anx_graph_find_param(graph, tensors->items[i].name) < 0 && m->n_unexpected++ == 0)
            anx_text_printable(tensors->items[i].name, strlen(tensors->items[i].name), m->unexpected,
                               sizeof m->unexpected);
}

anx_status anx_arch_match_find(const anx_state_dict *tensors, anx_arch_match *out, anx_error *err) {
    anx_arch_match m = {.arch = NULL};
    anx_graph *graph = NULL;
    int64_t classes = 0;
    anx_status status = anx_arch_choose(tensors, &m.arch, err);
    if (status == ANX_OK && m.arch != NULL) {
        status = anx_arch_count_classes(tensors, m.arch, &classes, err);
        if (status == ANX_OK) status = anx_graph_create(m.arch, classes, 0, 0, &graph, err);
        /* More classes than a layer can have: not this architecture's, whose own number then shows the misfit. */
        if (status == ANX_ERR_INVALID_ARGUMENT) status = anx_graph_create(m.arch, 0, 0, 0, &graph, err);
        if (status == ANX_OK) compare(tensors, graph, &m);
    }
    anx_graph_destroy(graph);
    if (status == ANX_OK) *out = m;
    return status;
}

bool anx_arch_match_is_exact(const anx_arch_match *match) {
    return match->arch != NULL && match->n_missing == 0 && match->n_misshapen == 0 && match->n_unexpected == 0;
}
