#include "parity/diagnose.h"

#include <math.h>
#include <stdlib.h>

#include "parity/diagnose_inside.h"

double anx_diagnose_tolerance(const anx_suspect *s, int64_t i) {
    const double g = s->gauge != NULL && isfinite(s->gauge[i]) ? s->gauge[i] : 0;
    return isfinite(s->expected[i]) ? 0x1p-24 * (fmax(16, s->scatter) * g + 4 * fabs(s->expected[i])) : 0;
}

bool anx_diagnose_is_got(const anx_suspect *s, int64_t i, double value) {
    const double got = s->got[i];
    if (!isfinite(got) || !isfinite(value)) return got == value || (isnan(got) && isnan(value));
    return fabs(got - value) <= anx_diagnose_tolerance(s, i);
}

bool anx_diagnose_is_wrong(const anx_suspect *s, int64_t i) {
    return !anx_diagnose_is_got(s, i, s->expected[i]);
}

int64_t anx_diagnose_elems(const anx_suspect *s) {
    return s->batch * anx_graph_node_elems(s->graph, s->node);
}

const anx_extent *anx_diagnose_flattened_from(const anx_graph *graph, int node) {
    while (node != ANX_NODE_INPUT && graph->nodes[node].out.rank == 1) {
        const anx_op op = graph->nodes[node].layer->op;
        if (op != ANX_OP_FLATTEN && op != ANX_OP_DROPOUT && op != ANX_OP_RELU) return NULL;
        node = graph->nodes[node].inputs[0];
    }
    return anx_graph_extent(graph, node);
}

anx_status anx_diagnose(const anx_suspect *s, anx_judged *judged, anx_error *err) {
    /* Nothing can be told of the engine by what other weights gave. */
    if (s->weights_differ)
        return anx_judged_add_cause(judged, "weights", 1.0, err,
                                    "the recording was made with other weights of this layer than the checkpoint's");
    anx_status status = ANX_OK;
    if (s->math != ANX_MATH_FLOAT32) {
        /* Fewer bits than allowed scatter little more than as many, but are told apart to float32's own rounding. */
        anx_suspect closely = *s;
        closely.scatter = 0;
        status = anx_diagnose_recompute(&closely, true, judged, err);
        if (status != ANX_OK || judged->n_causes > 0) return status;
    }
    status = anx_diagnose_patterns(s, judged, err);
    return status == ANX_OK ? anx_diagnose_recompute(s, false, judged, err) : status;
}
