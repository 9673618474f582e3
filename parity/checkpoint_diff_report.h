/*
 * Reports on how two checkpoints differ: views of the diff and of the twins. Each returns its text, malloc'd and
 * terminated, in *text; *n_bytes may be NULL. Errors: OUT_OF_MEMORY alone.
 */
#ifndef ANX_PARITY_CHECKPOINT_DIFF_REPORT_H
#define ANX_PARITY_CHECKPOINT_DIFF_REPORT_H

#include "parity/checkpoint_twins.h"

/* For people, at most 100 columns wide: the verdict in the first line, then the first of what differs and what fits. */
anx_status anx_checkpoint_diff_text(const anx_checkpoint_diff *diff, const anx_checkpoint_twins *twins, bool color,
                                    char **text, size_t *n_bytes, anx_error *err);

/* All of it (up to 10,000 rows); parity/verify.schema.json describes it. */
anx_status anx_checkpoint_diff_json(const anx_checkpoint_diff *diff, const anx_checkpoint_twins *twins, char **text,
                                    size_t *n_bytes, anx_error *err);

#endif
