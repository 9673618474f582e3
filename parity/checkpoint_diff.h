/*
 * Do two checkpoints hold the same tensors: names, shapes, element types and bits? One struct with a row for each
 * tensor that differs; reports are views of it.
 *
 * The same names in another order, other strides, another byte order in the file, a tensor shared or stored apart make
 * no difference. What is beside the tensors (an optimizer, an epoch, _metadata) is named, not compared.
 */
#ifndef ANX_PARITY_CHECKPOINT_DIFF_H
#define ANX_PARITY_CHECKPOINT_DIFF_H

#include "loaders/checkpoint/checkpoint.h"
#include "parity/element_value.h"

typedef enum anx_diff_kind {
    ANX_DIFF_ONLY_A = 0,
    ANX_DIFF_ONLY_B,
    ANX_DIFF_SHAPE, /* and perhaps the dtype; elements are not compared */
    ANX_DIFF_DTYPE, /* of one shape: the values are compared */
    ANX_DIFF_BITS,
    ANX_DIFF_SKIPPED, /* a view that means more elements than can be compared */
    ANX_DIFF_KIND_COUNT
} anx_diff_kind;

/* What a tensor of another floating type does to the values; the first that fits all of them (a NaN fits any NaN). */
typedef enum anx_diff_relation {
    ANX_DIFF_EQUAL_VALUES = 0, /* of whole numbers too */
    ANX_DIFF_B_ROUNDED,        /* B is A, rounded to B's type to nearest even */
    ANX_DIFF_A_ROUNDED,
    ANX_DIFF_B_TRUNCATED, /* ... toward zero */
    ANX_DIFF_A_TRUNCATED,
    ANX_DIFF_UNRELATED,
    ANX_DIFF_RELATION_COUNT
} anx_diff_relation;

/* One element in both. */
typedef struct anx_diff_element {
    bool known; /* false: there is none */
    int64_t index[ANX_MAX_RANK];
    anx_element_value a, b;
} anx_diff_element;

/*
 * How two tensors of one shape differ. An element differs where its bits do or, in two element types, its values (-0 is
 * not +0, a NaN is any NaN). Where expanded tensors repeat an element along the same axes, the counts are of all
 * repetitions and the index is the first's.
 */
typedef struct anx_diff_measure {
    int64_t n_elems, n_different;
    int64_t n_nan_a, n_nan_b;        /* a NaN in A alone, in B alone */
    int64_t n_nan_bits;              /* NaN in both, of other bits */
    int64_t n_zero_signs;            /* -0 in one and +0 in the other */
    int64_t n_overflow, n_underflow; /* in two types: finite in one and infinite in the other; zero in one alone */
    double max_abs;                  /* largest |A - B| in double where neither is a NaN; NaN: nowhere */
    bool has_ulps;     /* false: nowhere both have a value; rounding explains all; one of two types is not floating */
    uint64_t max_ulps; /* largest distance; anx_element_value_ulps */
    anx_dtype ulps_dtype;             /* in two floating types: the narrower, to which the other is rounded */
    anx_diff_element first, abs, ulp; /* the first that differs; the first where the largest is */
    anx_diff_relation relation;       /* of ANX_DIFF_DTYPE */
} anx_diff_measure;

typedef struct anx_diff_row {
    anx_diff_kind kind;
    size_t a, b;              /* which of A's and B's tensors; SIZE_MAX: none */
    anx_diff_measure measure; /* of ANX_DIFF_DTYPE and _BITS */
} anx_diff_row;

typedef enum anx_diff_result { ANX_DIFF_IDENTICAL = 0, ANX_DIFF_DIFFERENT, ANX_DIFF_NOT_VERIFIED } anx_diff_result;

typedef struct anx_checkpoint_diff {
    const anx_checkpoint *a, *b; /* must outlive it */
    anx_diff_result result;      /* not verified: nothing that was compared differs, but something was skipped */
    size_t n_same;               /* tensors that are the same in both */
    int64_t same_elems;          /* their elements (INT64_MAX: so many or more) */
    anx_diff_row *rows;          /* the others: A's in A's order, then those of B alone in B's */
    size_t n_rows;
    size_t counts[ANX_DIFF_KIND_COUNT]; /* of the rows */
    bool other_order;                   /* names that both have stand in another order */
    size_t order_a;                     /* ... from this one of A's on, */
    size_t order_b;                     /* in whose place B has this one */
    char *beside_a, *beside_b;          /* "'epoch' (int), _metadata": what was not compared; NULL: nothing */
} anx_checkpoint_diff;

/*
 * Both should have been opened `as_stored` and with keep_prefix. threads: how many to use, 1 or more; the result does
 * not depend on it. Errors: OUT_OF_MEMORY.
 */
anx_status anx_checkpoint_diff_create(const anx_checkpoint *a, const anx_checkpoint *b, int threads,
                                      anx_checkpoint_diff **out, anx_error *err);
void anx_checkpoint_diff_destroy(anx_checkpoint_diff *diff);

/* "only_in_a", "bits", ..., "equal_values", ..., "identical", ...: as reports name them. */
const char *anx_diff_kind_name(anx_diff_kind kind);
const char *anx_diff_relation_name(anx_diff_relation relation);
const char *anx_diff_result_name(anx_diff_result result);

#endif
