#include <math.h>

#include "src/train/trainer_state.h"

/* The first such element of the tensor, if it has one, into out. */
static bool found(const anx_tensor *tensor, anx_nonfinite_kind kind, const char *name, anx_nonfinite *out) {
    const float *x = tensor->data;
    const int64_t n = anx_tensor_elems(tensor);
    for (int64_t i = 0; i < n; i++) {
        if (isfinite(x[i])) continue;
        *out = (anx_nonfinite){.kind = kind, .name = name, .element = i, .value = x[i]};
        return true;
    }
    return false;
}

static anx_status search_output(anx_trainer *t, int node, anx_nonfinite *out, anx_error *err) {
    const anx_value value = anx_value_output(node);
    int64_t shape[4];
    const int rank = anx_plan_value_shape(t->plan, value, shape);
    anx_tensor host = ANX_TENSOR_INIT;
    anx_status status = anx_tensor_alloc(ANX_F32, rank, shape, &host, err);
    if (status == ANX_OK) status = anx_plan_read(t->plan, value, &host, err);
    if (status == ANX_OK) status = anx_device_sync(t->device, err);
    if (status == ANX_OK) (void)found(&host, ANX_NONFINITE_OUTPUT, t->graph->nodes[node].layer->name, out);
    anx_tensor_fini(&host);
    return status;
}

anx_status anx_trainer_find_nonfinite(anx_trainer *t, const anx_tensor *input, float loss, anx_nonfinite *out,
                                      anx_error *err) {
    if (found(input, ANX_NONFINITE_INPUT, "input", out)) return ANX_OK;
    const anx_status fetched = anx_trainer_fetch(t, err);
    if (fetched != ANX_OK) return fetched;
    for (int i = 0; i < t->graph->n_params; i++)
        if (found(&t->params[i], ANX_NONFINITE_PARAM, t->graph->params[i].name, out)) return ANX_OK;
    out->kind = ANX_NONFINITE_NONE;
    for (int i = 0; i <= t->graph->logits; i++) {
        anx_error inner = ANX_ERROR_INIT;
        const anx_status status = search_output(t, i, out, &inner);
        if (status != ANX_OK && status != ANX_ERR_UNSUPPORTED) { /* inside a fused group */
            if (err != NULL) *err = inner;
            return status;
        }
        if (out->kind != ANX_NONFINITE_NONE) return ANX_OK;
    }
    *out = (anx_nonfinite){.kind = ANX_NONFINITE_LOSS, .name = "loss", .value = loss};
    return ANX_OK;
}

bool anx_trainer_is_finite(const anx_trainer *t, anx_nonfinite *out) {
    for (int i = 0; i < t->graph->n_params; i++) {
        const char *name = t->graph->params[i].name;
        const anx_tensor *momentum = anx_trainer_momentum(t, i);
        if (found(&t->params[i], ANX_NONFINITE_PARAM, name, out)) return false;
        if (momentum != NULL && found(momentum, ANX_NONFINITE_PARAM, name, out)) return false;
    }
    *out = (anx_nonfinite){.kind = ANX_NONFINITE_NONE};
    return true;
}
