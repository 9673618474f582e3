/*
 * Inside the judge: trainings (anx-parity check --train). Not for other folders.
 *
 * A scenario is played by `exact`, whose steps must have the recorded digests, and beside it by the judged device.
 *
 * train-replay: what is bit-equal on every device whatever its arithmetic: data order, augmentation, masks, learning
 * rate, generator; on a device with PyTorch's bits logits, loss, gradients, momentum, parameters too.
 *
 * train-operators: at chosen steps each group of the device by itself, fed what exact had, its gradients against the
 * same gradients in double.
 *
 * train-update: at these steps SGD on the device's own gradients, to the bit, or where the device takes the step itself
 * (anx_plan_has_sgd) within what rounding leaves; and on those of the injected operators, from the recorded state,
 * within what the gradients' bounds leave (teacher forcing).
 *
 * train-free: the device's own run of a recorded envelope's length, within that; what is not judged but explains it:
 * winners of max-pools that differ.
 *
 * A device with PyTorch's bits replays and needs nothing else, where recordings apply.
 */
#ifndef ANX_PARITY_JUDGE_TRAINING_H
#define ANX_PARITY_JUDGE_TRAINING_H

#include "parity/judge_run.h"
#include "parity/training_play.h"

/* What a step leaves, in the order in which it comes about: the first that is wrong is the one to look at. */
typedef enum anx_training_aspect {
    ANX_TRAINING_ORDER = 0,
    ANX_TRAINING_INPUT,
    ANX_TRAINING_LR,
    ANX_TRAINING_MASKS,
    ANX_TRAINING_GENERATOR,
    ANX_TRAINING_LOGITS,
    ANX_TRAINING_LOSS,
    ANX_TRAINING_GRADS,
    ANX_TRAINING_MOMENTUM,
    ANX_TRAINING_PARAMS,
    ANX_TRAINING_ASPECTS
} anx_training_aspect;

/* "data order", "augmentation", "learning rate", ...: a report's point. */
const char *anx_training_aspect_name(anx_training_aspect aspect);

/* What a play's steps had in common with a recording. */
typedef struct anx_training_tally {
    int64_t steps;             /* compared and equal */
    bool differs;              /* the step after these is not, */
    anx_training_aspect first; /* ... first in this, */
    int index;                 /* ... of this parameter or dropout; -1: there is but one */
    char what[160];            /* ... in words: "the gradient of 'features.0.bias'"; with numbers where there are */
} anx_training_tally;

/*
 * Holds the step just taken (or, of the first aspects, the batch) against the recording; all: everything, else only
 * what no arithmetic enters. Nothing happens once the tally differs. Errors: DEVICE, OUT_OF_MEMORY.
 */
anx_status anx_training_compare(const anx_training_play *play, bool all, int threads, anx_training_tally *tally,
                                anx_error *err);

/* A copy of parameters or momentum, before a step changes them. data NULL where there is none. */
typedef struct anx_trained_values {
    anx_tensor *params, *momentum; /* n_params each; owned */
    int n_params;
} anx_trained_values;

anx_status anx_trained_values_copy(anx_trainer *trainer, const anx_graph *graph, anx_trained_values *out,
                                   anx_error *err);
void anx_trained_values_fini(anx_trained_values *state);

/* One scenario being judged. */
typedef struct anx_judge_scenario {
    anx_judge_run *run;
    const anx_training_scenario *scenario;
    const char *fixture;               /* NULL: our own */
    anx_training_play_options options; /* of the judged device's play */
    anx_training_play *standard;       /* exact's */
    const bool *has_grad;              /* n_nodes: gradients by these outputs are computed */
} anx_judge_scenario;

/* Where the operators' gradients go as they are found, one parameter after the other. */
typedef struct anx_training_gradient {
    int param;
    int64_t terms;       /* of its sums */
    const float *got;    /* the device's */
    const double *truth; /* the same in double */
    const float *gauge;  /* sum |x||dy| */
    const float *bound;  /* |got - truth|, where the device shortens operands (operands.h); NULL: gamma G of float32 */
} anx_training_gradient;

/*
 * The operators of the judged device at the step that the standard has just taken: adds a row for each group's
 * gradients and each max-pool's winners. before: the state from which the step was taken. Each
 * gradient by a parameter is followed by the row of its update.
 */
anx_status anx_judge_training_operators(anx_judge_scenario *s, const anx_trained_values *before, anx_trainer *trainer,
                                        anx_error *err);
/* Teacher forcing of one parameter: adds the row of its update from an injected gradient. */
anx_status anx_judge_training_forced(anx_judge_scenario *s, const anx_trained_values *before,
                                     const anx_training_gradient *gradient, anx_error *err);
/* The trainer's own step from the state before: its SGD to the bit or within a bound, rows of train-update; what is
   left of the end-to-end gradients' agreement, for information. */
anx_status anx_judge_training_own_step(anx_judge_scenario *s, const anx_trained_values *before, anx_trainer *trainer,
                                       anx_error *err);

/* Winners of max-pools, of windows with a positive maximum, that differ between the last steps of the judged device's
   trainer and of the standard's. */
anx_status anx_training_count_flips(const anx_judge_scenario *s, anx_trainer *judged, int64_t *flips, int64_t *windows,
                                    anx_error *err);

/* The judged device's free run beside the standard's. */
typedef struct anx_training_free {
    double *difference; /* (steps, n_params): |p - p'| */
    double *loss;       /* (steps): less the standard's */
    int64_t *flips;     /* (steps) */
    int64_t windows;
    int64_t steps; /* noted */
} anx_training_free;

anx_status anx_training_free_init(const anx_judge_scenario *s, anx_training_free *out, anx_error *err);
void anx_training_free_fini(anx_training_free *f);
/* After both have taken a step. */
anx_status anx_training_free_note(const anx_judge_scenario *s, anx_training_play *judged, anx_training_free *f,
                                  anx_error *err);
/* Adds the rows of train-free. */
anx_status anx_training_free_conclude(anx_judge_scenario *s, const anx_training_free *f, anx_error *err);

/* The step of judge.c: every scenario that applies. */
anx_status anx_judge_training(anx_judge_run *run, anx_error *err);

#endif
