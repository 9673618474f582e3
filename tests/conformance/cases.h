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

#endif
