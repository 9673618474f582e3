/*
 * The elements of a tensor in pieces and in the order of its indices, whatever lies between them and that: strides, an
 * address that is not aligned, the other byte order, another element type. For those that pass tensors on without
 * holding a copy of them.
 */
#ifndef ANX_SRC_BASE_ELEMENTS_H
#define ANX_SRC_BASE_ELEMENTS_H

#include "src/base/tensor.h"

typedef struct anx_elements {
    anx_tensor tensor; /* a view of any strides, 0 too; its data need not be aligned for its dtype */
    bool swapped;      /* its elements are big-endian */
} anx_elements;

/* What converting did to the values, summed up over as many calls as wanted. Start from zeros. */
typedef struct anx_rounding {
    int64_t n_elems;     /* converted */
    int64_t n_changed;   /* not equal to what they were before (NaN stays NaN and is not counted) */
    int64_t n_overflow;  /* finite before, infinite after */
    int64_t n_underflow; /* not zero before, zero after */
    double max_relative; /* the largest |after - before| / |before| of the others */
} anx_rounding;

/*
 * Elements first ... first + n - 1 in row-major order as `dtype`, in host order, into out, which need not be aligned.
 * They must exist. dtype: the tensor's own or, where both are floating types, another: rounded once, to nearest even.
 * rounding may be NULL, and is added to only where dtype is another than the tensor's.
 */
void anx_elements_read(const anx_elements *e, int64_t first, int64_t n, anx_dtype dtype, void *out,
                       anx_rounding *rounding);

/* The elements where they are: contiguous and in host order, though perhaps not aligned. NULL where they are not. */
const void *anx_elements_in_place(const anx_elements *e);

/* Adds what `part` found to `total`. */
void anx_rounding_add(anx_rounding *total, const anx_rounding *part);

#endif
