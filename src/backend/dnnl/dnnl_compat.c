#include "src/backend/dnnl/dnnl_compat.h"

#include <stdlib.h>
#include <string.h>

#if DNNL_VERSION_MAJOR >= 3

dnnl_status_t anx_dnnl_md_create(anx_dnnl_md *out, int rank, const dnnl_dim_t *dims, dnnl_format_tag_t tag) {
    dnnl_dims_t full = {0};
    memcpy(full, dims, (size_t)rank * sizeof *dims);
    return dnnl_memory_desc_create_with_tag(out, rank, full, dnnl_f32, tag);
}

dnnl_status_t anx_dnnl_md_clone(anx_dnnl_md *out, anx_dnnl_const_md md) {
    return dnnl_memory_desc_clone(out, md);
}

void anx_dnnl_md_destroy(anx_dnnl_md md) {
    if (md != NULL) dnnl_memory_desc_destroy(md);
}

dnnl_status_t anx_dnnl_convolution_pd(dnnl_primitive_desc_t *out, dnnl_engine_t engine, anx_dnnl_const_md src,
                                      anx_dnnl_const_md weights, anx_dnnl_const_md bias, anx_dnnl_const_md dst,
                                      const dnnl_dim_t *strides, const dnnl_dim_t *dilation, const dnnl_dim_t *pad_l,
                                      const dnnl_dim_t *pad_r, const_dnnl_primitive_attr_t attr) {
    return dnnl_convolution_forward_primitive_desc_create(out, engine, dnnl_forward_inference, dnnl_convolution_direct,
                                                          src, weights, bias, dst, strides, dilation, pad_l, pad_r,
                                                          attr);
}

dnnl_status_t anx_dnnl_inner_product_pd(dnnl_primitive_desc_t *out, dnnl_engine_t engine, anx_dnnl_const_md src,
                                        anx_dnnl_const_md weights, anx_dnnl_const_md bias, anx_dnnl_const_md dst,
                                        const_dnnl_primitive_attr_t attr) {
    return dnnl_inner_product_forward_primitive_desc_create(out, engine, dnnl_forward_inference, src, weights, bias,
                                                            dst, attr);
}

dnnl_status_t anx_dnnl_matmul_pd(dnnl_primitive_desc_t *out, dnnl_engine_t engine, anx_dnnl_const_md src,
                                 anx_dnnl_const_md weights, anx_dnnl_const_md bias, anx_dnnl_const_md dst,
                                 const_dnnl_primitive_attr_t attr) {
    return dnnl_matmul_primitive_desc_create(out, engine, src, weights, bias, dst, attr);
}

dnnl_status_t anx_dnnl_convolution_backward_data_pd(dnnl_primitive_desc_t *out, dnnl_engine_t engine,
                                                    anx_dnnl_const_md src, anx_dnnl_const_md weights,
                                                    anx_dnnl_const_md dst, const dnnl_dim_t *strides,
                                                    const dnnl_dim_t *dilation, const dnnl_dim_t *pad_l,
                                                    const dnnl_dim_t *pad_r, const_dnnl_primitive_attr_t attr) {
    return dnnl_convolution_backward_data_primitive_desc_create(out, engine, dnnl_convolution_direct, src, weights, dst,
                                                                strides, dilation, pad_l, pad_r, NULL, attr);
}

dnnl_status_t anx_dnnl_convolution_backward_weights_pd(dnnl_primitive_desc_t *out, dnnl_engine_t engine,
                                                       anx_dnnl_const_md src, anx_dnnl_const_md weights,
                                                       anx_dnnl_const_md bias, anx_dnnl_const_md dst,
                                                       const dnnl_dim_t *strides, const dnnl_dim_t *dilation,
                                                       const dnnl_dim_t *pad_l, const dnnl_dim_t *pad_r,
                                                       const_dnnl_primitive_attr_t attr) {
    return dnnl_convolution_backward_weights_primitive_desc_create(
        out, engine, dnnl_convolution_direct, src, weights, bias, dst, strides, dilation, pad_l, pad_r, NULL, attr);
}

dnnl_status_t anx_dnnl_post_ops_append_relu(dnnl_post_ops_t post_ops) {
    return dnnl_post_ops_append_eltwise(post_ops, dnnl_eltwise_relu, 0.0f, 0.0f);
}

#else /* 2.x */

dnnl_status_t anx_dnnl_md_create(anx_dnnl_md *out, int rank, const dnnl_dim_t *dims, dnnl_format_tag_t tag) {
    dnnl_dims_t full = {0};
    memcpy(full, dims, (size_t)rank * sizeof *dims);
    anx_dnnl_md md = calloc(1, sizeof *md);
    if (md == NULL) return dnnl_out_of_memory;
    dnnl_status_t s = dnnl_memory_desc_init_by_tag(md, rank, full, dnnl_f32, tag);
    if (s == dnnl_success)
        *out = md;
    else
        free(md);
    return s;
}

dnnl_status_t anx_dnnl_md_clone(anx_dnnl_md *out, anx_dnnl_const_md md) {
    anx_dnnl_md copy = malloc(sizeof *copy);
    if (copy == NULL) return dnnl_out_of_memory;
    *copy = *md;
    *out = copy;
    return dnnl_success;
}

void anx_dnnl_md_destroy(anx_dnnl_md md) {
    free(md);
}

dnnl_status_t anx_dnnl_convolution_pd(dnnl_primitive_desc_t *out, dnnl_engine_t engine, anx_dnnl_const_md src,
                                      anx_dnnl_const_md weights, anx_dnnl_const_md bias, anx_dnnl_const_md dst,
                                      const dnnl_dim_t *strides, const dnnl_dim_t *dilation, const dnnl_dim_t *pad_l,
                                      const dnnl_dim_t *pad_r, const_dnnl_primitive_attr_t attr) {
    dnnl_convolution_desc_t op;
    dnnl_status_t s = dnnl_dilated_convolution_forward_desc_init(
        &op, dnnl_forward_inference, dnnl_convolution_direct, src, weights, bias, dst, strides, dilation, pad_l, pad_r);
    return s != dnnl_success ? s : dnnl_primitive_desc_create(out, &op, attr, engine, NULL);
}

dnnl_status_t anx_dnnl_inner_product_pd(dnnl_primitive_desc_t *out, dnnl_engine_t engine, anx_dnnl_const_md src,
                                        anx_dnnl_const_md weights, anx_dnnl_const_md bias, anx_dnnl_const_md dst,
                                        const_dnnl_primitive_attr_t attr) {
    dnnl_inner_product_desc_t op;
    dnnl_status_t s = dnnl_inner_product_forward_desc_init(&op, dnnl_forward_inference, src, weights, bias, dst);
    return s != dnnl_success ? s : dnnl_primitive_desc_create(out, &op, attr, engine, NULL);
}

dnnl_status_t anx_dnnl_matmul_pd(dnnl_primitive_desc_t *out, dnnl_engine_t engine, anx_dnnl_const_md src,
                                 anx_dnnl_const_md weights, anx_dnnl_const_md bias, anx_dnnl_const_md dst,
                                 const_dnnl_primitive_attr_t attr) {
    dnnl_matmul_desc_t op;
    dnnl_status_t s = dnnl_matmul_desc_init(&op, src, weights, bias, dst);
    return s != dnnl_success ? s : dnnl_primitive_desc_create(out, &op, attr, engine, NULL);
}

dnnl_status_t anx_dnnl_convolution_backward_data_pd(dnnl_primitive_desc_t *out, dnnl_engine_t engine,
                                                    anx_dnnl_const_md src, anx_dnnl_const_md weights,
                                                    anx_dnnl_const_md dst, const dnnl_dim_t *strides,
                                                    const dnnl_dim_t *dilation, const dnnl_dim_t *pad_l,
                                                    const dnnl_dim_t *pad_r, const_dnnl_primitive_attr_t attr) {
    dnnl_convolution_desc_t op;
    dnnl_status_t s = dnnl_dilated_convolution_backward_data_desc_init(&op, dnnl_convolution_direct, src, weights, dst,
                                                                       strides, dilation, pad_l, pad_r);
    return s != dnnl_success ? s : dnnl_primitive_desc_create(out, &op, attr, engine, NULL);
}

dnnl_status_t anx_dnnl_convolution_backward_weights_pd(dnnl_primitive_desc_t *out, dnnl_engine_t engine,
                                                       anx_dnnl_const_md src, anx_dnnl_const_md weights,
                                                       anx_dnnl_const_md bias, anx_dnnl_const_md dst,
                                                       const dnnl_dim_t *strides, const dnnl_dim_t *dilation,
                                                       const dnnl_dim_t *pad_l, const dnnl_dim_t *pad_r,
                                                       const_dnnl_primitive_attr_t attr) {
    dnnl_convolution_desc_t op;
    dnnl_status_t s = dnnl_dilated_convolution_backward_weights_desc_init(&op, dnnl_convolution_direct, src, weights,
                                                                          bias, dst, strides, dilation, pad_l, pad_r);
    return s != dnnl_success ? s : dnnl_primitive_desc_create(out, &op, attr, engine, NULL);
}

dnnl_status_t anx_dnnl_post_ops_append_relu(dnnl_post_ops_t post_ops) {
    return dnnl_post_ops_append_eltwise(post_ops, 1.0f, dnnl_eltwise_relu, 0.0f, 0.0f);
}

#endif
