/*
 * Inside a trainer: where parameters, momentum and gradients lie.
 *
 * Each parameter has one home. It is the plan's own memory where the device lets it be changed there; else it is
 * the trainer's, and the plan has its own copy, which is stale once SGD has run.
 */
#ifndef ANX_SRC_TRAIN_TRAINER_STATE_H
#define ANX_SRC_TRAIN_TRAINER_STATE_H

#include "src/train/trainer.h"

struct anx_trainer {
    const anx_graph *graph;
    anx_device *device;
    int64_t batch;
    double *dropout; /* n_nodes: the probability of the dropout layers */
    double label_smoothing;
    anx_sgd_options *groups;
    int n_groups;
    int threads;
    const anx_train_kernels *kernels;

    anx_plan *plan; /* NULL only after a failure to make one */
    int n_forward;  /* the plan's groups up to the logits */
    bool has_grads; /* the last step went backward, and the plan still has what it left */

    /* n_params each */
    anx_tensor *params;    /* owned: at home with the trainer; otherwise a view of the plan's memory */
    anx_tensor *momentum;  /* owned, or empty where none was wanted so far */
    anx_tensor *grads;     /* owned, to be read from the plan; or a view of the plan's memory. Frozen: empty */
    anx_sgd_slice *slices; /* has_buffer: whether there is momentum */
    bool *trained;
    bool *stale; /* the plan has an older copy */

    /* of the last step, for up to `batch` images */
    anx_tensor logits;  /* a view of logits_data, (n, classes) */
    float *logits_data; /* (N, classes) each */
    float *log_probs, *logits_grad;
    float *smoothing; /* (N): the loss's scratch */
};

/* The tensor is contiguous float32 of the parameter's shape; `what` says in the message what it is. */
anx_status anx_trainer_check_tensor(const anx_trainer *t, int param, const anx_tensor *values, const char *what,
                                    anx_error *err);

/* The plan is one for n images. Parameters stay as they are even where this fails. */
anx_status anx_trainer_ensure_plan(anx_trainer *t, int64_t n, anx_error *err);
/* The plan's copies of parameters are the newest. */
anx_status anx_trainer_send_params(anx_trainer *t, anx_error *err);
/* Every trained parameter's gradient is in its slice, and the momentum it will need. */
anx_status anx_trainer_receive_grads(anx_trainer *t, anx_error *err);

/* What is NaN or infinite after a forward pass; the loss if nothing else is. */
anx_status anx_trainer_find_nonfinite(anx_trainer *t, const anx_tensor *input, float loss, anx_nonfinite *out,
                                      anx_error *err);

#endif
