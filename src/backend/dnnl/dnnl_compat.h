/*
 * The two generations of oneDNN's C API behind one set of calls.
 *
 * oneDNN 2.x describes an operation in a struct and a memory layout in a struct passed by address; 3.x creates
 * primitive descriptors directly and hides layouts behind a handle. Everything that differs is here and in
 * dnnl_compat.c; the rest of this folder uses these calls and the API that both share.
 */
#ifndef ANX_SRC_BACKEND_DNNL_DNNL_COMPAT_H
#define ANX_SRC_BACKEND_DNNL_DNNL_COMPAT_H

#include <oneapi/dnnl/dnnl.h>
#include <oneapi/dnnl/dnnl_config.h>
#include <oneapi/dnnl/dnnl_version.h>

#if DNNL_VERSION_MAJOR < 2 || (DNNL_VERSION_MAJOR == 2 && DNNL_VERSION_MINOR < 6)
#error "anx needs oneDNN 2.6 or newer"
#endif
/* The number of threads is set through OpenMP, which works for a library built with it alone. */
#if DNNL_CPU_THREADING_RUNTIME != DNNL_RUNTIME_OMP
#error "anx needs a oneDNN built with DNNL_CPU_RUNTIME=OMP"
#endif

/* A memory descriptor: shape and layout. Created by the calls below, released with anx_dnnl_md_destroy. */
#if DNNL_VERSION_MAJOR >= 3
typedef dnnl_memory_desc_t anx_dnnl_md;
typedef const_dnnl_memory_desc_t anx_dnnl_const_md;
#else
typedef dnnl_memory_desc_t *anx_dnnl_md;
typedef const dnnl_memory_desc_t *anx_dnnl_const_md;
#endif

/* float32 of that shape; tag dnnl_format_tag_any leaves the layout to the primitive. */
dnnl_status_t anx_dnnl_md_create(anx_dnnl_md *out, int rank, const dnnl_dim_t *dims, dnnl_format_tag_t tag);
/* A copy that the caller owns, of a descriptor that belongs to a primitive descriptor. */
dnnl_status_t anx_dnnl_md_clone(anx_dnnl_md *out, anx_dnnl_const_md md);
/* NULL is safe. */
void anx_dnnl_md_destroy(anx_dnnl_md md);

/*
 * Forward primitive descriptors, direct algorithms alone. Dilation counts the zeros between taps (0: none), as in
 * oneDNN. bias may be NULL. The caller destroys *out with dnnl_primitive_desc_destroy.
 */
dnnl_status_t anx_dnnl_convolution_pd(dnnl_primitive_desc_t *out, dnnl_engine_t engine, anx_dnnl_const_md src,
                                      anx_dnnl_const_md weights, anx_dnnl_const_md bias, anx_dnnl_const_md dst,
                                      const dnnl_dim_t *strides, const dnnl_dim_t *dilation, const dnnl_dim_t *pad_l,
                                      const dnnl_dim_t *pad_r, const_dnnl_primitive_attr_t attr);
dnnl_status_t anx_dnnl_inner_product_pd(dnnl_primitive_desc_t *out, dnnl_engine_t engine, anx_dnnl_const_md src,
                                        anx_dnnl_const_md weights, anx_dnnl_const_md bias, anx_dnnl_const_md dst,
                                        const_dnnl_primitive_attr_t attr);
dnnl_status_t anx_dnnl_matmul_pd(dnnl_primitive_desc_t *out, dnnl_engine_t engine, anx_dnnl_const_md src,
                                 anx_dnnl_const_md weights, anx_dnnl_const_md bias, anx_dnnl_const_md dst,
                                 const_dnnl_primitive_attr_t attr);

/*
 * Backward primitive descriptors of the same operations, by the input ("data") and by weights and bias ("weights").
 * Layouts with dnnl_format_tag_any are chosen; bias may be NULL.
 */
dnnl_status_t anx_dnnl_convolution_backward_data_pd(dnnl_primitive_desc_t *out, dnnl_engine_t engine,
                                                    anx_dnnl_const_md src, anx_dnnl_const_md weights,
                                                    anx_dnnl_const_md dst, const dnnl_dim_t *strides,
                                                    const dnnl_dim_t *dilation, const dnnl_dim_t *pad_l,
                                                    const dnnl_dim_t *pad_r, const_dnnl_primitive_attr_t attr);
dnnl_status_t anx_dnnl_convolution_backward_weights_pd(dnnl_primitive_desc_t *out, dnnl_engine_t engine,
                                                       anx_dnnl_const_md src, anx_dnnl_const_md weights,
                                                       anx_dnnl_const_md bias, anx_dnnl_const_md dst,
                                                       const dnnl_dim_t *strides, const dnnl_dim_t *dilation,
                                                       const dnnl_dim_t *pad_l, const dnnl_dim_t *pad_r,
                                                       const_dnnl_primitive_attr_t attr);

/* Appends max(x, 0). */
dnnl_status_t anx_dnnl_post_ops_append_relu(dnnl_post_ops_t post_ops);

#endif
