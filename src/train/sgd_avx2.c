/* SGD's loops for AVX2 with FMA. */
#if defined(__x86_64__)
#define KERNELS anx_sgd_kernels_avx2
#include "src/train/sgd_body.h"
#else
typedef int anx_sgd_has_no_such_kernels; /* a source must not be empty */
#endif
