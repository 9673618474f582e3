/*
 * Recordings of trainings (fixtures/FORMAT.md, kind "training"): scenarios, each a short training with what PyTorch's
 * steps left, as digests. Everything is the fixture's, or static for a scenario of our own.
 */
#ifndef ANX_PARITY_TRAINING_RECORDING_H
#define ANX_PARITY_TRAINING_RECORDING_H

#include "loaders/dataset/training_input.h"
#include "parity/fixture.h"
#include "src/train/schedule.h"
#include "src/train/sgd.h"

/*
 * How far right runs drift from the recorded one: each computes the same, but rounds otherwise. Drift grows
 * exponentially, so that it says something of some twenty steps and nothing beyond.
 */
typedef struct anx_training_envelope {
    const char *const *runs; /* in words: "two threads", "float64" */
    int n_runs;
    const double *loss;       /* (n_runs, steps): loss less the recorded one's */
    const double *difference; /* (n_runs, steps, n_params): |p - p'|, p' the recorded run's, after the step */
    const double *distance;   /* (steps, n_params): |p' - p before the first step| */
} anx_training_envelope;

/* What PyTorch's steps left. A digest of zeros: a frozen parameter has no gradient and no momentum. */
typedef struct anx_training_steps {
    const int64_t *order;        /* the images' indices, batch after batch */
    const double *lr;            /* (steps): with which the step was taken */
    const float *loss;           /* (steps) */
    const anx_digest *inputs;    /* (steps): float32 (N, 3, H, W) */
    const anx_digest *masks;     /* (steps, n_masks): float32 (N, F), what dropout multiplied by */
    const anx_digest *logits;    /* (steps) */
    const anx_digest *grads;     /* (steps, n_params) */
    const anx_digest *params;    /* (steps, n_params): after the step */
    const anx_digest *momentum;  /* (steps, n_params): after the step */
    const anx_digest *generator; /* (steps): torch.get_rng_state(), uint8 (5056), after the step */
    int n_masks, n_params;       /* n_params: in the order of the state_dict */
} anx_training_steps;

typedef struct anx_training_scenario {
    const char *name;
    uint32_t seed;    /* torch.manual_seed before the first epoch; the parameters are those at hand */
    int64_t n_images; /* of the recording's, the first ones; 0: a synthetic input, drawn from the seed */
    int64_t batch, steps;
    const anx_augment_kind *augment;
    bool has_dropout; /* every dropout layer has `dropout`; otherwise the model's own */
    double dropout, label_smoothing;
    const char *frozen; /* parameters whose names begin so are not trained; "": none */
    anx_sgd_options sgd;
    anx_scheduler_options scheduler;       /* StepLR */
    const anx_training_steps *recorded;    /* NULL: nothing is known of it */
    const anx_training_envelope *envelope; /* NULL: not recorded */
} anx_training_scenario;

typedef struct anx_training_recording {
    const anx_fixture_image *images;
    const int64_t *targets; /* (n_images): their classes */
    int n_images;
    const anx_training_scenario *scenarios;
    int n_scenarios;
} anx_training_recording;

/* Images in the scenario's step, counted from 0: an epoch's last batch may be shorter. */
int64_t anx_training_step_images(const anx_training_scenario *scenario, int64_t step);
/* Steps of one epoch. */
int64_t anx_training_epoch_steps(const anx_training_scenario *scenario);
/* Does the scenario freeze the parameter of that name? */
bool anx_training_is_frozen(const anx_training_scenario *scenario, const char *param);

#endif
