/* The matrix products' inner loops for any processor. */
#define PRODUCTS anx_dnnl_products_portable
#include "src/backend/dnnl/products_body.h"
