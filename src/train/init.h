/*
 * The weights a freshly constructed PyTorch model has: what torch.manual_seed(seed) followed by the model's
 * constructor gives, bit for bit.
 *
 * Conv2d and Linear draw their weight by init.kaiming_uniform_(weight, a=sqrt(5)) and their bias from
 * uniform(-1/sqrt(fan_in), 1/sqrt(fan_in)) (reset_parameters in torch/nn/modules/conv.py and linear.py, torch/nn/
 * init.py); modules draw in the order of their construction, which is the order of the graph's parameters.
 */
#ifndef ANX_SRC_TRAIN_INIT_H
#define ANX_SRC_TRAIN_INIT_H

#include "src/base/mt19937.h"
#include "src/base/tensor.h"
#include "src/model/graph.h"

/* The bound b of a parameter's uniform(-b, b). */
float anx_init_bound(const anx_param *param);

/* Parameter by parameter, in pieces: n values of graph parameter `param`, drawn from gen. Values come in memory order;
   the caller goes through the parameters in the graph's order. */
void anx_init_draw(anx_mt19937 *gen, const anx_param *param, size_t n, float *out);

/*
 * Every parameter of the graph. params: graph->n_params contiguous float32 tensors of the graph's shapes, overwritten.
 * gen goes on behind the last value drawn, as PyTorch's default generator does.
 * Errors: INVALID_ARGUMENT (a tensor of another shape, dtype or layout).
 */
anx_status anx_init_params(anx_mt19937 *gen, const anx_graph *graph, anx_tensor *params, anx_error *err);

#endif
