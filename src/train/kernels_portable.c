/* The loops of training for any machine. */
#define KERNELS anx_train_kernels_portable
#include "src/train/kernels_body.h"
