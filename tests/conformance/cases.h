/*
 * The small networks that every backend is tried on: each is a table of its own, built to put one awkward shape in a
 * backend's way.
 */
#ifndef ANX_TESTS_CONFORMANCE_CASES_H
#define ANX_TESTS_CONFORMANCE_CASES_H

#include "src/model/graph.h"

typedef struct conformance_case {
    anx_arch arch; /* arch.name is the case's */
    int height, width;
    int64_t batch;
} conformance_case;

/* i-th case, NULL past the end. */
const conformance_case *conformance_case_at(int i);
/* i-th network that must be refused when its graph is made, NULL past the end. */
const conformance_case *conformance_refused_at(int i);

enum { CONFORMANCE_MAX_ROWS = 24 };

/* A case behind a convolution of 1x1 named "lift", so that the gradient by the case's own input is one of the
   network's. Holds its own table: not to be copied. */
typedef struct conformance_lifted {
    conformance_case c;
    anx_layer rows[CONFORMANCE_MAX_ROWS];
} conformance_lifted;
void conformance_lift(const conformance_case *c, conformance_lifted *out);

#endif
