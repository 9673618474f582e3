/* What a person is told of a training run, on a terminal and in a file of JSON. */
#ifndef ANX_TOOLS_TRAIN_SHOW_H
#define ANX_TOOLS_TRAIN_SHOW_H

#include "parity/train_log.h"
#include "tools/train_files.h"
#include "tools/train_state.h"

/* What is trained with what: a few lines. */
void anx_train_show_head(FILE *to, const anx_train_setup *setup, const anx_train_progress *progress);
/* A line for an epoch; `first`: the columns' names before it. */
void anx_train_show_epoch(FILE *to, const anx_train_epoch *epoch, bool first);

/* How a run ended. */
typedef struct anx_train_outcome {
    anx_train_reason reason;
    const anx_train_progress *progress;
    const anx_train_epoch *last; /* the last epoch that was completed, of this call; or NULL */
    const anx_train_non_finite *non_finite;
    const anx_train_folder *folder;
    int64_t left_out; /* how often an image that could not be read was */
    double seconds;
} anx_train_outcome;

void anx_train_show_end(FILE *to, const anx_train_setup *setup, const anx_train_outcome *outcome);
/* The same for a program, described by parity/train_outcome.schema.json; malloc'd. Errors: OUT_OF_MEMORY. */
anx_status anx_train_outcome_json(const anx_train_setup *setup, const anx_train_outcome *outcome, char **text,
                                  size_t *n_bytes, anx_error *err);

#endif
