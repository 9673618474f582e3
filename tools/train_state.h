/* Where a training run is, to checkpoints and from them. */
#ifndef ANX_TOOLS_TRAIN_STATE_H
#define ANX_TOOLS_TRAIN_STATE_H

#include "tools/train_setup.h"

/* Where a run is. Epochs are counted from 0. */
typedef struct anx_train_progress {
    int64_t epoch;       /* under way; at step 0: the next one */
    int64_t step;        /* batches of it that are done */
    int64_t global_step; /* of the run */
    int64_t order_seed;  /* of the epoch's order of images, once it was drawn */
    /* of the epoch so far */
    double loss_sum; /* of the batches' losses, each as often as it has images */
    int64_t right, images;
    /* over all epochs; best_epoch -1: none was validated */
    int64_t best_epoch;
    double best_acc1, best_loss;
} anx_train_progress;

#define ANX_TRAIN_PROGRESS_INIT                                                                                        \
    { .best_epoch = -1 }

/*
 * The settings of the run that a state is of, where the command line does not give them: those that anx-train keeps,
 * or for a checkpoint of PyTorch's what its optimizer and scheduler tell. Texts are copied into options->arena.
 * Errors: MISMATCH, naming the settings that were given otherwise; OUT_OF_MEMORY.
 */
anx_status anx_train_take_settings(const anx_training_state *state, anx_train_options *options, anx_error *err);

/* Written by anx-train: it tells all of a run's settings. */
bool anx_train_is_own(const anx_training_state *state);

/*
 * Goes on from the state: trainer, scheduler, generator, rates. path is for messages. Errors: MISMATCH (another
 * network, groups, scheduler, images), and those of anx_training_live_load.
 */
anx_status anx_train_load(anx_train_setup *setup, const anx_checkpoint *checkpoint, const anx_training_state *state,
                          anx_train_progress *progress, anx_error *err);

/*
 * Writes a checkpoint, replacing what is there. At step 0 nothing was drawn for the epoch yet. Errors: those of
 * anx_training_checkpoint_write.
 */
anx_status anx_train_save(anx_train_setup *setup, const anx_train_progress *progress, const char *path, anx_error *err);
/* The model alone, as torch.save(model.state_dict(), path) writes it. */
anx_status anx_train_save_model(anx_train_setup *setup, const char *path, anx_error *err);

/* How many steps the run has done that a state is of, or the checkpoint at `path`; -1: it is none of ours. */
int64_t anx_train_steps_of(const anx_training_state *state);
int64_t anx_train_steps_in(const char *path);

#endif
