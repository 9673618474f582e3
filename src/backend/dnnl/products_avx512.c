/* The matrix products' inner loops for AVX-512F. */
#if defined(__x86_64__)
#define PRODUCTS anx_dnnl_products_avx512
#include "src/backend/dnnl/products_body.h"
#endif
