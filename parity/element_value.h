/*
 * One element of a tensor by itself: its bits, what they mean, how far it is from another.
 */
#ifndef ANX_PARITY_ELEMENT_VALUE_H
#define ANX_PARITY_ELEMENT_VALUE_H

#include <string.h>

#include "src/base/tensor.h"

typedef struct anx_element_value {
    anx_dtype dtype;
    uint64_t bits; /* of one element, zeros above */
} anx_element_value;

enum { ANX_ELEMENT_VALUE_TEXT = 64 };

/* The element whose bytes, in host order and perhaps not aligned, are at `at`. */
static inline anx_element_value anx_element_value_load(anx_dtype dtype, const void *at) {
    anx_element_value v = {.dtype = dtype, .bits = 0};
    switch (anx_dtype_bytes(dtype)) { /* of a known size each copy is one instruction */
    case 1: memcpy(&v.bits, at, 1); break;
    case 2: memcpy(&v.bits, at, 2); break;
    case 4: memcpy(&v.bits, at, 4); break;
    default: memcpy(&v.bits, at, 8); break;
    }
    return v;
}

bool anx_element_value_is_nan(anx_element_value v);
/* Exact but for whole numbers beyond 2^53. */
double anx_element_value_real(anx_element_value v);
/* Of the types that are not floating; a bool is its byte. */
int64_t anx_element_value_integer(anx_element_value v);

/* `to` is v as its type, rounded to nearest even; any NaN is any other. */
bool anx_element_value_is_rounded(anx_element_value v, anx_element_value to);
/* The same number, of whatever types: any NaN is any other, -0 is not +0. */
bool anx_element_value_same(anx_element_value a, anx_element_value b);
/* |a - b| in double; NaN where one is NaN. */
double anx_element_value_difference(anx_element_value a, anx_element_value b);
/*
 * Of one floating type: how many steps from one representable number to the next lie between the two, -0 and +0 being
 * the same and infinity one step beyond the largest. Of whole numbers: |a - b|. False where there is no such distance:
 * for a NaN, for different types one of which is floating.
 */
bool anx_element_value_ulps(anx_element_value a, anx_element_value b, uint64_t *ulps);

/* A floating element as another floating type: to nearest even, or toward zero. NaN stays NaN. */
anx_element_value anx_element_value_round(anx_element_value v, anx_dtype dtype);
anx_element_value anx_element_value_truncate(anx_element_value v, anx_dtype dtype);

/* The shortest decimal that means it in its type; a NaN with its bits: "nan (0x7fc00001)". Returns buf. */
char *anx_element_value_format(anx_element_value v, char buf[ANX_ELEMENT_VALUE_TEXT]);

#endif
