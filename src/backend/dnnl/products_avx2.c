/* The matrix products' inner loops for AVX2. */
#if defined(__x86_64__)
#define PRODUCTS anx_dnnl_products_avx2
#include "src/backend/dnnl/products_body.h"
#endif
