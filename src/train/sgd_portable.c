/* SGD's loops for any machine. */
#define KERNELS anx_sgd_kernels_portable
#include "src/train/sgd_body.h"
