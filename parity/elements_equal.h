/*
 * Whether two tensors hold the same bits, read in pieces; and how much reading a file may ask for.
 */
#ifndef ANX_PARITY_ELEMENTS_EQUAL_H
#define ANX_PARITY_ELEMENTS_EQUAL_H

#include "src/base/elements.h"

/*
 * The elements of a and b, each in row-major order of its own indices, are the same bit for bit: two NaNs only if all
 * their bits are, and -0 is not +0. Both have one dtype and as many elements; their shapes do not matter.
 * threads: how many to use where there is enough to compare.
 */
bool anx_elements_equal(const anx_elements *a, const anx_elements *b, int threads);
/* The same of elements first ... first + n - 1 alone. */
bool anx_elements_equal_range(const anx_elements *a, const anx_elements *b, int64_t first, int64_t n);

/* Elements from..to - 1 of n make up share `i` of `shares`, all but equal ones that depend on nothing else. */
typedef struct anx_share {
    int64_t from, to;
} anx_share;
anx_share anx_share_of(int64_t n, int i, int shares);

/*
 * How many more bytes may be read. Tensors are views, so that a small file can name more elements than could be read in
 * a lifetime (strides of 0, tensors that overlap).
 */
typedef struct anx_read_budget {
    uint64_t bytes;
    bool refused; /* something was too much */
} anx_read_budget;

/* What two files of these sizes may ask for: many times what they hold, and 1 GiB. */
anx_read_budget anx_read_budget_for(uint64_t a_bytes, uint64_t b_bytes);
/* Takes n elements of a dtype from it; false, and nothing taken, where so many are not left. */
bool anx_read_budget_take(anx_read_budget *budget, int64_t n, anx_dtype dtype);

#endif
