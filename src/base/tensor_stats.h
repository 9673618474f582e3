/*
 * Least, greatest and mean value of a tensor's elements, and how many are no ordinary numbers. The elements are read in
 * pieces of a fixed size, which any number of threads can share: the result is the same for every number of them.
 */
#ifndef ANX_SRC_BASE_TENSOR_STATS_H
#define ANX_SRC_BASE_TENSOR_STATS_H

#include "src/base/elements.h"

enum { ANX_STATS_PIECE_ELEMS = 1 << 16 };

/* What was found in some elements. Start from ANX_TENSOR_STATS_INIT. */
typedef struct anx_tensor_stats {
    int64_t n_elems, n_nan, n_inf;
    double min, max;          /* of the elements that are not NaN; min > max where there are none */
    int64_t int_min, int_max; /* the same, exactly, for integer types; 0 and 1 for bool */
    double sum;               /* of the finite elements, in double: may overflow where they are near its limit */
} anx_tensor_stats;

#define ANX_TENSOR_STATS_INIT                                                                                          \
    { .min = 1.0 / 0.0, .max = -1.0 / 0.0, .int_min = INT64_MAX, .int_max = INT64_MIN }

/* How many pieces the elements make; 0 for none. */
int64_t anx_tensor_stats_pieces(const anx_elements *e);
/* What piece `piece` (counted from 0) holds. */
void anx_tensor_stats_piece(const anx_elements *e, int64_t piece, anx_tensor_stats *out);
/* Adds what a piece holds to `total`; pieces are added in their order. */
void anx_tensor_stats_add(anx_tensor_stats *total, const anx_tensor_stats *piece);

/* The mean of the finite elements; NaN where there are none. */
double anx_tensor_stats_mean(const anx_tensor_stats *stats);

#endif
