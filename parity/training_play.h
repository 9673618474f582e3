/*
 * A scenario of a training, played step by step on a device: data order and augmentation, dropout, the step, SGD and
 * the schedule, all from one generator, as torchvision's train.py takes them.
 */
#ifndef ANX_PARITY_TRAINING_PLAY_H
#define ANX_PARITY_TRAINING_PLAY_H

#include "parity/training_recording.h"
#include "src/train/trainer.h"

/* What is judged beside the device; NULL members: anx_trainer_step, anx_scheduler_step. */
typedef struct anx_training_hooks {
    anx_status (*step)(anx_trainer *trainer, anx_mt19937 *gen, const anx_tensor *input, const int64_t *targets,
                       anx_trainer_result *result, anx_error *err);
    void (*schedule)(anx_scheduler *scheduler, double metric, double *lr);
} anx_training_hooks;

typedef struct anx_training_play_options {
    const anx_training_scenario *scenario;   /* all pointers must outlive the play */
    const anx_training_recording *recording; /* its images; NULL where the scenario has none */
    const anx_graph *graph;
    const anx_tensor *params; /* of the graph: from where the training starts */
    anx_device *device;
    int threads;
    anx_training_hooks hooks;
} anx_training_play_options;

/* Where a play stands; to be read. */
typedef struct anx_training_play {
    anx_training_play_options options;
    anx_trainer *trainer;
    anx_scheduler *scheduler;
    anx_image_source source;   /* the recording's images */
    anx_training_input *input; /* NULL: synthetic */
    anx_mt19937 gen;
    int64_t step; /* steps taken */
    int64_t seen; /* images of the steps before */
    double rate;  /* as the scheduler left it, for the next step */
    double lr;    /* of the step whose batch is at hand */
    bool begun;   /* an epoch was */
    /* the batch at hand */
    int64_t n;
    anx_tensor batch;     /* (n, 3, H, W); a view, or of a synthetic scenario the play's own */
    const int64_t *files; /* (n): which images; NULL in a synthetic scenario */
    const int64_t *targets;
    int64_t *drawn_targets; /* of a synthetic scenario */
    anx_mt19937 before;     /* the generator when the batch was at hand, before the step */
    anx_trainer_result result;
    bool stopped; /* the last step's loss was not finite: there is no next one */
} anx_training_play;

/* The caller destroys it before the device is closed. Errors: as anx_trainer_create and anx_training_input_create. */
anx_status anx_training_play_create(const anx_training_play_options *options, anx_training_play **out, anx_error *err);
void anx_training_play_destroy(anx_training_play *play);

/* The next batch, and with what rate its step is to be taken. Errors: of the first image that cannot be decoded,
   OUT_OF_MEMORY. */
anx_status anx_training_play_fetch(anx_training_play *play, anx_error *err);
/* The step on it; at an epoch's end the schedule's. Where the loss is not finite nothing is updated, and the play has
   `stopped`. Errors: as anx_trainer_step. */
anx_status anx_training_play_step(anx_training_play *play, anx_error *err);

/* A trainer for a step of n images as the scenario has them, from any parameters (of the graph). */
anx_status anx_training_play_trainer(const anx_training_play_options *options, int64_t n, const anx_tensor *params,
                                     anx_trainer **out, anx_error *err);

#endif
