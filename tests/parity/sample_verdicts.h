/* Lists of verdicts made by hand, with something of everything a report can show. */
#ifndef ANX_TESTS_PARITY_SAMPLE_VERDICTS_H
#define ANX_TESTS_PARITY_SAMPLE_VERDICTS_H

#include "parity/verdict.h"

typedef enum sample_kind {
    SAMPLE_PASS = 0, /* a checkpoint with recordings, all good */
    SAMPLE_FAIL,     /* failures with causes, warnings, skips, numbers that are none, hostile names; strict */
    SAMPLE_DUMP,     /* somebody else's activations, nothing about a file */
    SAMPLE_COUNT
} sample_kind;

/* The caller destroys it; aborts where memory runs out. */
anx_verdicts *sample_verdicts(sample_kind kind);

#endif
