/*
 * A backend for tests that wraps a real one. The nodes it is told to take over are computed by plain.c, in an order of
 * its own or with a fault; everything else is the wrapped backend's. Groups and values are those of the wrapped plan.
 */
#ifndef ANX_TESTS_FAULTS_FAULTY_BACKEND_H
#define ANX_TESTS_FAULTS_FAULTY_BACKEND_H

#include "src/backend/backend.h"
#include "tests/faults/plain.h"

typedef struct faulty_options {
    const char *inner;        /* the wrapped backend's name */
    const char *node;         /* the one that is taken over; NULL: every node */
    plain_sum sum;            /* how those taken over are summed */
    const plain_fault *fault; /* NULL: none */
    bool observe, infer;      /* in which plans nodes are taken over */
    bool whole_only;          /* only where more than one group runs at a time */
    anx_math_mode math;       /* what the device says it computes with */
} faulty_options;

/*
 * Opens a device of it. options must outlive the device; one kind of options at a time in a process (a backend's table
 * has no room for them). Errors: those of the wrapped backend; NOT_FOUND if it is not built in.
 */
anx_status faulty_device_open(const faulty_options *options, int threads, anx_device **out, anx_error *err);

#endif
