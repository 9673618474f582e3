#include "src/backend/dnnl/products.h"

static const anx_dnnl_products *products_for(anx_dnnl_isa isa) {
    switch (isa) {
#ifdef __x86_64__
    case ANX_DNNL_AVX512: return &anx_dnnl_products_avx512;
    case ANX_DNNL_AVX2: return &anx_dnnl_products_avx2;
#endif
    default: return &anx_dnnl_products_portable;
    }
}

void anx_dnnl_linear_forward(const anx_dnnl_linear *linear, const float *weights, const float *bias, const float *x,
                             float *y) {
    const anx_dnnl_products *products = products_for(linear->isa);
#pragma omp parallel for schedule(static)
    for (int64_t o = 0; o < linear->out; o += ANX_DNNL_PRODUCT_ROWS) {
        const int64_t left = linear->out - o;
        products->forward(linear, weights, bias, x, y, o,
                          (int)(left < ANX_DNNL_PRODUCT_ROWS ? left : ANX_DNNL_PRODUCT_ROWS));
    }
}

static int64_t padded_batch(const anx_dnnl_linear *linear) {
    return (linear->batch + ANX_DNNL_PRODUCT_IMAGES - 1) / ANX_DNNL_PRODUCT_IMAGES * ANX_DNNL_PRODUCT_IMAGES;
}

int64_t anx_dnnl_linear_scratch_elems(const anx_dnnl_linear *linear) {
    return padded_batch(linear) * linear->out;
}

void anx_dnnl_linear_backward_data(const anx_dnnl_linear *linear, const float *weights, const float *dy, float *dx,
                                   float *scratch) {
    const anx_dnnl_products *products = products_for(linear->isa);
    const int64_t padded = padded_batch(linear);
#pragma omp parallel for schedule(static)
    for (int64_t o = 0; o < linear->out; o++)
        for (int64_t n = 0; n < padded; n++)
            scratch[o * padded + n] = n < linear->batch ? dy[n * linear->out + o] : 0.0f;
#pragma omp parallel for schedule(static)
    for (int64_t i = 0; i < linear->in; i += products->columns)
        products->backward_data(linear, weights, scratch, dx, i);
}
