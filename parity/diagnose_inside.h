/* What the parts of the diagnosis share. Not for other files than parity/diagnose*.c. */
#ifndef ANX_PARITY_DIAGNOSE_INSIDE_H
#define ANX_PARITY_DIAGNOSE_INSIDE_H

#include "parity/diagnose.h"

/* How far two right values of element i may lie apart: 16 u G and the rounding of the value itself. */
double anx_diagnose_tolerance(const anx_suspect *s, int64_t i);
/* Is `value` what the engine gave at i? */
bool anx_diagnose_is_got(const anx_suspect *s, int64_t i, double value);
/* Is element i wrong? */
bool anx_diagnose_is_wrong(const anx_suspect *s, int64_t i);

/* The (C, H, W) extent that a node's features were flattened from, only dropout and ReLU lying between; NULL if none.
 */
const anx_extent *anx_diagnose_flattened_from(const anx_graph *graph, int node);

int64_t anx_diagnose_elems(const anx_suspect *s); /* of the batch */

/* The families: patterns of values, hypotheses worked out anew, single input channels. */
anx_status anx_diagnose_patterns(const anx_suspect *s, anx_judged *judged, anx_error *err);
anx_status anx_diagnose_recompute(const anx_suspect *s, anx_judged *judged, anx_error *err);
anx_status anx_diagnose_channels(const anx_suspect *s, anx_judged *judged, anx_error *err);

#endif
