/*
 * Between the objects of a training (trainer, scheduler, generator) and what a checkpoint holds of them.
 *
 * Parameters are numbered as torchvision's train.py numbers them: through the groups in order, each group's in the
 * model's order; frozen ones (requires_grad False) are in no group. Numbers that a group or a scheduler has as Python's
 * floats or ints there are so here.
 */
#ifndef ANX_LOADERS_CHECKPOINT_TRAINING_BRIDGE_H
#define ANX_LOADERS_CHECKPOINT_TRAINING_BRIDGE_H

#include "loaders/checkpoint/training_checkpoint.h"
#include "src/base/mt19937.h"
#include "src/train/schedule.h"
#include "src/train/trainer.h"

/* A training as it runs; all of it is the caller's. */
typedef struct anx_training_live {
    const anx_graph *graph;
    anx_trainer *trainer;
    const int *group_of_param; /* graph->n_params, as the trainer has it */
    int n_groups;
    anx_scheduler *scheduler; /* NULL: none */
    anx_mt19937 *gen;
} anx_training_live;

/*
 * What a checkpoint keeps of it, fetched from the device: *out's optimizer, scheduler, and the generator's state
 * (has_own); the rest of *out (epoch, step, order_seed, args, options) is the caller's, before or after. *out is as
 * ANX_TRAINING_STATE_INIT has it; release it with anx_training_state_fini. Momentum are views of the trainer's, valid
 * until its next step. group_lr_given: the groups' rates were given one by one, as a dict's "lr", which changes the
 * order of its keys. Errors: OUT_OF_MEMORY, DEVICE.
 */
anx_status anx_training_live_save(const anx_training_live *live, bool group_lr_given, anx_training_state *out,
                                  anx_error *err);

/* The model's state_dict: the trainer's parameters, fetched, under their names, as views, valid until its next step.
 *out is ANX_STATE_DICT_INIT; release it with anx_state_dict_fini. Errors: OUT_OF_MEMORY, DEVICE. */
anx_status anx_training_live_model(const anx_training_live *live, anx_state_dict *out, anx_error *err);

/*
 * Goes on from a state: options of the groups, momentum, the scheduler, and where the state has one of ours (has_own)
 * the generator; the parameters from `model`. Everything is compared before anything is changed.
 * Errors: MISMATCH (other groups, parameters, shapes, dtypes, scheduler: which, and what was found), INVALID_ARGUMENT,
 * FORMAT (a generator's state that is none), OUT_OF_MEMORY, DEVICE; after the last two the training cannot go on.
 */
anx_status anx_training_live_load(const anx_training_live *live, const anx_training_state *state,
                                  const anx_state_dict *model, anx_error *err);

#endif
