/* The inner loops for any processor. */
#define LOOPS anx_dnnl_loops_portable
#include "src/backend/dnnl/loops_body.h"
