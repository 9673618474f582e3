/* What the parts of the diagnosis share. Not for other files than parity/diagnose*.c. */
#ifndef ANX_PARITY_DIAGNOSE_INSIDE_H
#define ANX_PARITY_DIAGNOSE_INSIDE_H

#include "parity/diagnose.h"

/* How far two right values of element i may lie apart: 16 u G (or what shortened operands may do) and the rounding of
   the value itself. */
double anx_diagnose_tolerance(const anx_suspect *s, int64_t i);
/* Is `value` what the engine gave at i? */
bool anx_diagnose_is_got(const anx_suspect *s, int64_t i, double value);
/* Is element i wrong? */
bool anx_diagnose_is_wrong(const anx_suspect *s, int64_t i);

/* The (C, H, W) extent that a node's features were flattened from, only dropout and ReLU lying between; NULL if none.
 */
const anx_extent *anx_diagnose_flattened_from(const anx_graph *graph, int node);

int64_t anx_diagnose_elems(const anx_suspect *s); /* of the batch */

/* The output seen as planes of rows and columns, flattened ones too; other features are one plane of one row. */
typedef struct anx_layout {
    int64_t batch, planes, h, w;
} anx_layout;

anx_layout anx_diagnose_layout(const anx_suspect *s);

/* One pattern; `wrong` elements, at least one, are wrong. Errors: OUT_OF_MEMORY. */
typedef anx_status (*anx_pattern)(const anx_suspect *s, const anx_layout *l, int64_t wrong, anx_judged *j,
                                  anx_error *err);

/* Where the wrong values lie, and whether they are those of another place. */
anx_status anx_diagnose_places(const anx_suspect *s, const anx_layout *l, int64_t wrong, anx_judged *judged,
                               anx_error *err);

/* The two families. */
anx_status anx_diagnose_patterns(const anx_suspect *s, anx_judged *judged, anx_error *err);
/* rounded: the hypotheses about rounded operands alone, those that the engine's arithmetic is allowed left out. */
anx_status anx_diagnose_recompute(const anx_suspect *s, bool rounded, anx_judged *judged, anx_error *err);

#endif
