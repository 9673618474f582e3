/* The inner loops for AVX-512F. */
#if defined(__x86_64__)
#define LOOPS anx_dnnl_loops_avx512
#include "src/backend/dnnl/loops_body.h"
#endif
