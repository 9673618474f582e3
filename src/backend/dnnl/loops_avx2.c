/* The inner loops for AVX2. */
#if defined(__x86_64__)
#define LOOPS anx_dnnl_loops_avx2
#include "src/backend/dnnl/loops_body.h"
#endif
