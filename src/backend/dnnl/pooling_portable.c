/* Pooling's rows for any processor. */
#include "src/backend/dnnl/pooling_row.h"

void anx_dnnl_pool_row_portable(const anx_dnnl_pooling *p, const float *src, float *dst, int64_t n, int64_t oh) {
    pool_row(p, src, dst, n, oh);
}
