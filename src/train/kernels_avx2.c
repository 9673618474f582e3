/* The loops of training for AVX2 with FMA. */
#if defined(__x86_64__)
#define KERNELS anx_train_kernels_avx2
#include "src/train/kernels_body.h"
#else
typedef int anx_train_has_no_such_kernels; /* a source must not be empty */
#endif
