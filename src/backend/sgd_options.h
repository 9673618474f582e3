/* The options of a parameter group, as torch.optim.SGD has them; what they do: src/train/sgd.h. */
#ifndef ANX_SRC_BACKEND_SGD_OPTIONS_H
#define ANX_SRC_BACKEND_SGD_OPTIONS_H

#include <stdbool.h>

/* PyTorch's defaults: everything 0 or false but lr, 0.001. */
typedef struct anx_sgd_options {
    double lr, momentum, dampening, weight_decay;
    bool nesterov; /* wants momentum > 0 and dampening 0 */
    bool maximize;
} anx_sgd_options;

#endif
