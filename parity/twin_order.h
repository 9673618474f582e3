/*
 * The ways in which one framework's tensor becomes another's: the same elements in another order. Not for files outside
 * parity/.
 */
#ifndef ANX_PARITY_TWIN_ORDER_H
#define ANX_PARITY_TWIN_ORDER_H

#include "src/base/elements.h"

typedef enum anx_twin_kind {
    ANX_TWIN_SAME = 0,  /* the same shape, the same order */
    ANX_TWIN_RESHAPED,  /* another shape, the same order */
    ANX_TWIN_PERMUTED,  /* the axes in another order: B = A.permute(axes) */
    ANX_TWIN_REVERSED,  /* one of A's axes backward, and perhaps the axes permuted then */
    ANX_TWIN_FLATTENED, /* of a matrix: one of A's axes, seen as (outer, inner), is (inner, outer) in B; and perhaps
                           transposed then */
    ANX_TWIN_KIND_COUNT
} anx_twin_kind;

typedef struct anx_twin_order {
    anx_twin_kind kind;
    int axes[ANX_MAX_RANK]; /* B's axis i is A's axis axes[i]; of the last three kinds */
    int axis;               /* A's: reversed, or seen as (outer, inner) */
    int64_t outer, inner;
} anx_twin_order;

/*
 * A's elements seen in the order in which a tensor of B's shape has them. Strides may be negative. order must be one
 * that anx_twin_order_each gave for tensors of these shapes.
 */
anx_elements anx_twin_order_view(const anx_elements *a, const anx_twin_order *order);

/* Every element is reached in the same sequence through both, as for permutations that differ in axes of extent 1. */
bool anx_twin_order_view_same(const anx_elements *x, const anx_elements *y);

/*
 * Calls `visit` for every order in which a tensor of a's shape could become one of b's, the plainest first, until it
 * returns false. a and b have as many elements.
 */
typedef bool (*anx_twin_order_visit)(void *user, const anx_twin_order *order);
void anx_twin_order_each(const anx_tensor *a, const anx_tensor *b, anx_twin_order_visit visit, void *user);

#endif
