/* An epoch of a training run: its steps, and the evaluation after them. */
#ifndef ANX_TOOLS_TRAIN_EPOCH_H
#define ANX_TOOLS_TRAIN_EPOCH_H

#include "parity/predictions.h"
#include "parity/train_log.h"
#include "tools/train_files.h"
#include "tools/train_state.h"

/* A run under way. */
typedef struct anx_train_run {
    const anx_train_options *options;
    anx_train_setup setup;
    anx_train_folder folder;
    anx_train_progress progress;
    anx_train_log_writer *log;
    /* where it stopped before its end, and why */
    bool stopped;
    anx_train_reason reason;
    anx_train_non_finite non_finite;
    char non_finite_loss[32];
    float last_loss; /* of the last step; NaN before there was one */
    /* clocks, in seconds; what was done since the start */
    double started, epoch_started, saved;
    int64_t steps_done, validations;
    double step_seconds, validation_seconds;
    int64_t bad_images; /* how often one was left out so far */
    bool kept;          /* an error ended it, and what was reached is in last.pth */
} anx_train_run;

/*
 * The steps of the epoch that are left, each logged. run->stopped where it is not at its end: interrupted, at the most
 * steps, or at a value that is not finite. Errors: those of the input, the trainer and the log.
 */
anx_status anx_train_steps_of_epoch(anx_train_run *run, anx_error *err);

/*
 * The evaluation after the epoch, as anx-eval does it. Nothing where there are no images for it. It draws what an
 * evaluation's DataLoader draws. run->stopped where it was interrupted; nothing is drawn then. *out is
 * ANX_ACCURACY_INIT; release it with anx_accuracy_fini. Errors: those of anx_evaluate.
 */
anx_status anx_train_validate(anx_train_run *run, anx_accuracy *out, anx_error *err);

/* run->stopped where a parameter or its momentum is not finite, which is logged. Errors: those of the log; DEVICE. */
anx_status anx_train_check_finite(anx_train_run *run, anx_error *err);
/* last.pth, whatever was interrupted meanwhile: an interruption stops the run. Errors: those of anx_train_save. */
anx_status anx_train_save_last(anx_train_run *run, anx_error *err);

#endif
