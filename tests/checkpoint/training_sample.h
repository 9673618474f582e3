/*
 * The state of a small training, put together by hand. training_judge.py builds the same objects with PyTorch (sample):
 * SGD with two groups after three epochs of SequentialLR(LinearLR, StepLR), args and what is our own.
 */
#ifndef ANX_TESTS_CHECKPOINT_TRAINING_SAMPLE_H
#define ANX_TESTS_CHECKPOINT_TRAINING_SAMPLE_H

#include "loaders/checkpoint/training_checkpoint.h"

/* The model's state_dict (release it) and a state (static; not to be released) that the caller may change. */
void training_sample(anx_state_dict *model, anx_training_state *state);
/* Its options for writing: the model's modules. */
extern const anx_pth_options training_sample_options;

#endif
