/*
 * What kind of mistake fits a pattern of errors: small tests over an engine's values and the right ones.
 *
 * Two families. *Recomputation*: a sample of the elements is worked out anew under a hypothesis (operands rounded to
 * bf16, kernel flipped, padding shifted, bias left out, ...); a hypothesis fits where it explains the values.
 * *Patterns*: what the two tensors show by themselves (one plane wrong, values of another place, a constant per
 * channel, ...).
 */
#ifndef ANX_PARITY_DIAGNOSE_H
#define ANX_PARITY_DIAGNOSE_H

#include "loaders/image/preprocess.h"
#include "parity/verdict.h"

/* Values of one node (or one fused group ending in it) under suspicion. Arrays (batch, out), not owned. */
typedef struct anx_suspect {
    const anx_graph *graph;
    int first, node; /* first node of the group, and the one whose output this is; equal for a module */
    int64_t batch;
    const float *got;
    const double *expected;
    const float *gauge;       /* NULL where nothing is rounded */
    const float *input;       /* first node's input, (batch, in); NULL if not known */
    const anx_tensor *params; /* the graph's, NULL if not known */
    bool weights_differ;      /* the recording was made with other weights */
    anx_math_mode math;       /* what the engine may compute with: no fault, and what its values scatter by anyway */
    double scatter;           /* ... in units of u G; 0: as float32 */
} anx_suspect;

/* Adds the causes that fit to *judged (none where nothing does). Errors: OUT_OF_MEMORY. */
anx_status anx_diagnose(const anx_suspect *suspect, anx_judged *judged, anx_error *err);

/*
 * Images (8 bits, interleaved) of one stage, or inputs (float, planes): adds the causes that fit. The two need not have
 * the same size. profile is what gave `expected`. before: the right output of the stage before, or NULL.
 */
anx_status anx_diagnose_image(const anx_image *got, const anx_image *expected, anx_judged *judged, anx_error *err);
anx_status anx_diagnose_input(const float *got, const float *expected, int64_t height, int64_t width,
                              const anx_preprocess_profile *profile, anx_judged *judged, anx_error *err);

#endif
