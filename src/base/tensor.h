/*
 * Tensors in host memory: a view with an optional owner.
 *
 * An anx_tensor is plain data and may be copied; copies are views of the same elements. The one that holds
 * `owned` must outlive them and is released with anx_tensor_fini. Multi-byte elements are in host order
 * (little-endian: anx builds on little-endian machines alone, a static assertion says so).
 */
#ifndef ANX_SRC_BASE_TENSOR_H
#define ANX_SRC_BASE_TENSOR_H

#include "src/base/status.h"

enum { ANX_MAX_RANK = 8, ANX_ALIGNMENT_BYTES = 64 };

typedef enum anx_dtype {
    ANX_F32 = 0,
    ANX_F64,
    ANX_F16,
    ANX_BF16,
    ANX_I64,
    ANX_I32,
    ANX_I16,
    ANX_I8,
    ANX_U8,
    ANX_BOOL,
    ANX_DTYPE_COUNT
} anx_dtype;

/* Bytes of one element. */
size_t anx_dtype_bytes(anx_dtype dtype);
/* "float32", "float64", "float16", "bfloat16", "int64", ..., "uint8", "bool": PyTorch's names. Never NULL. */
const char *anx_dtype_name(anx_dtype dtype);
/* True for F32, F64, F16, BF16. */
bool anx_dtype_is_float(anx_dtype dtype);

typedef struct anx_tensor {
    anx_dtype dtype;
    int rank;                     /* 0 (a scalar) .. ANX_MAX_RANK */
    int64_t shape[ANX_MAX_RANK];  /* elements, outermost first: (N, C, H, W) */
    int64_t stride[ANX_MAX_RANK]; /* elements; contiguous views have the products of the later dimensions */
    void *data;                   /* first element; NULL only where there are no elements */
    void *owned;                  /* what anx_tensor_fini frees; NULL for a view */
} anx_tensor;

#define ANX_TENSOR_INIT                                                                                                \
    { .dtype = ANX_F32, .rank = 0, .data = NULL, .owned = NULL }

/* Number of elements of a shape (1 for rank 0); false on overflow, a negative extent or a bad rank. */
bool anx_shape_elems(int rank, const int64_t *shape, int64_t *elems);

/* Number of elements / bytes of a tensor whose shape is known to be sound. */
int64_t anx_tensor_elems(const anx_tensor *t);
size_t anx_tensor_bytes(const anx_tensor *t);
bool anx_tensor_is_contiguous(const anx_tensor *t);
bool anx_tensor_same_shape(const anx_tensor *a, const anx_tensor *b);

/* A contiguous view of `data` (not owned). The shape must be sound (anx_shape_elems). */
anx_tensor anx_tensor_view(anx_dtype dtype, int rank, const int64_t *shape, const void *data);

/*
 * Allocates a contiguous tensor, 64-byte aligned, its elements not initialised. The caller releases it with
 * anx_tensor_fini. Errors: INVALID_ARGUMENT (shape), OUT_OF_MEMORY; *out is then untouched.
 */
anx_status anx_tensor_alloc(anx_dtype dtype, int rank, const int64_t *shape, anx_tensor *out, anx_error *err);

/* Frees what the tensor owns and makes it empty; safe on ANX_TENSOR_INIT and NULL. */
void anx_tensor_fini(anx_tensor *t);

/*
 * A contiguous tensor of the wanted dtype with t's elements: gathered by strides and converted between floating
 * dtypes (to nearest even; F64 -> F16 in one rounding), integer dtypes to themselves only. *out owns its memory.
 * Errors: UNSUPPORTED for another conversion, OUT_OF_MEMORY.
 */
anx_status anx_tensor_convert(const anx_tensor *t, anx_dtype dtype, anx_tensor *out, anx_error *err);

/* "(64, 3, 11, 11)" into buf; truncates, always terminates. Returns buf. */
char *anx_shape_format(int rank, const int64_t *shape, char *buf, size_t size);

/* Conversions of single values, round to nearest even, NaN stays NaN. */
float anx_f16_to_f32(uint16_t h);
float anx_bf16_to_f32(uint16_t b);
uint16_t anx_f32_to_f16(float f);
uint16_t anx_f32_to_bf16(float f);
uint16_t anx_f64_to_f16(double d);
uint16_t anx_f64_to_bf16(double d);

#endif
