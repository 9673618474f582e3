#include "src/train/init.h"

#include <math.h>
#include <string.h>

float anx_init_bound(const anx_param *param) {
    const double fan_in = (double)param->fan_in;
    if (param->is_bias) return (float)(1.0 / sqrt(fan_in));
    /* calculate_gain('leaky_relu', a) = sqrt(2 / (1 + a^2)) with a = sqrt(5), in Python's doubles: a^2 is not 5. */
    const double a = sqrt(5.0), gain = sqrt(2.0 / (1.0 + a * a)), std = gain / sqrt(fan_in);
    return (float)(sqrt(3.0) * std);
}

void anx_init_draw(anx_mt19937 *gen, const anx_param *param, size_t n, float *out) {
    const float bound = anx_init_bound(param);
    anx_mt19937_uniform_f32(gen, n, -bound, bound, out);
}

anx_status anx_init_params(anx_mt19937 *gen, const anx_graph *graph, anx_tensor *params, anx_error *err) {
    for (int i = 0; i < graph->n_params; i++) {
        const anx_param *p = &graph->params[i];
        const bool fits = params[i].dtype == ANX_F32 && params[i].rank == p->rank &&
                          memcmp(params[i].shape, p->shape, (size_t)p->rank * sizeof p->shape[0]) == 0 &&
                          anx_tensor_is_contiguous(&params[i]);
        if (!fits)
            return anx_error_set(err, ANX_ERR_INVALID_ARGUMENT,
                                 "the tensor for %s is not contiguous float32 of the graph's shape", p->name);
    }
    for (int i = 0; i < graph->n_params; i++)
        anx_init_draw(gen, &graph->params[i], (size_t)anx_tensor_elems(&params[i]), params[i].data);
    return ANX_OK;
}
