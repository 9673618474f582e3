/*
 * The faults that the judge must find, and the correct engines that it must accept, all on the narrow network.
 */
#ifndef ANX_TESTS_FAULTS_FAULTS_H
#define ANX_TESTS_FAULTS_FAULTS_H

#include "parity/verdict.h"
#include "tests/faults/plain.h"

enum { FAULT_MAX_CAUSES = 4 };

typedef struct fault_row {
    const char *name;
    const char *point; /* the module it sits in, which must be the first bad point */
    plain_fault fault;
    enum { IN_BOTH = 0, IN_INFER, IN_WHOLE } where; /* every plan; fused groups alone; only where groups run together */
    bool warns;                           /* the weaker verdict is what the rule promises here: reason beside the row */
    const char *causes[FAULT_MAX_CAUSES]; /* ids: one must be named, and none but these */
} fault_row;

/* i-th fault, NULL past the end. */
const fault_row *fault_row_at(int i);

typedef struct benign_row {
    const char *name;
    const char *device; /* NULL: plain loops in the order of `sum`, at every node */
    plain_sum sum;
    int threads;
    int64_t batch;
} benign_row;

const benign_row *benign_row_at(int i);

#endif
