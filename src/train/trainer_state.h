/*
 * Inside a trainer: where parameters, momentum and gradients lie.
 *
 * Each parameter has one home. It is the plan's own memory where the device lets it be changed there; else it is
 * the trainer's, and the plan has its own copy, which is stale once SGD has run.
 *
 * A device that takes SGD's steps itself (anx_plan_has_sgd) is the home of parameters, gradients and momentum. What the
 * trainer has of them are copies, which nobody brings up to date until somebody asks. The step returns while the way
 * back and the update still run; the next one's masks and input go up behind them, and its logits are what it waits
 * for. That one wait makes it safe to have each piece of host memory once: by then the device is done with the masks
 * that were sent in this step, and with the gradient by the logits that was sent in the last.
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
    bool device_masks;

    bool resident;   /* the plan takes SGD's steps */
    bool is_fetched; /* ... and the copies here are as new as what it has */
    bool is_pending; /* ... and the last update has not been seen to end */
    bool is_lost;    /* ... and one failed: what the plan has is not known */

    /* n_params each */
    anx_tensor *params;    /* owned: at home with the trainer; otherwise a view of the plan's memory */
    anx_tensor *momentum;  /* owned, or empty where none was wanted so far */
    anx_tensor *grads;     /* owned, to be read from the plan; or a view of the plan's memory. Frozen: empty */
    anx_sgd_slice *slices; /* has_buffer: whether there is momentum */
    bool *trained;
    bool *stale;                              /* the plan has an older copy */
    const anx_sgd_options **options_of_param; /* of a step of the plan's own */
    bool *has_momentum;

    /* of the last step, for up to `batch` images */
    anx_tensor logits;  /* a view of logits_data, (n, classes) */
    float *logits_data; /* (N, classes) each; memory that the device copies from and to, as logits_grad */
    float *log_probs, *logits_grad;
    float *smoothing; /* (N): the loss's scratch */
    float **masks;    /* n_nodes: of such memory, a dropout's mask on its way, once one was sent */
};

anx_status anx_trainer_check_index(const anx_trainer *t, int param, anx_error *err);
/* The tensor is contiguous float32 of the parameter's shape; `what` says in the message what it is. */
anx_status anx_trainer_check_tensor(const anx_trainer *t, int param, const anx_tensor *values, const char *what,
                                    anx_error *err);

/* Memory that the device copies from and to: n_elems floats for each of the largest batch's images. */
anx_status anx_trainer_host_alloc(anx_trainer *t, int64_t n_elems, float **out, anx_error *err);

/* The plan is one for n images. Parameters stay as they are even where this fails. */
anx_status anx_trainer_ensure_plan(anx_trainer *t, int64_t n, anx_error *err);
/* The plan's copies of parameters are the newest. */
anx_status anx_trainer_send_params(anx_trainer *t, anx_error *err);
/* There is memory for the parameter's momentum, made if need be. */
anx_status anx_trainer_make_momentum(anx_trainer *t, int param, anx_error *err);
/* Every trained parameter's gradient is in its slice, and the momentum it will need. */
anx_status anx_trainer_receive_grads(anx_trainer *t, anx_error *err);

/* ---- where the plan takes the steps --------------------------------------------------------------------- */

/* DEVICE where an update failed: nothing can be asked of the plan any more. */
anx_status anx_trainer_check_state(const anx_trainer *t, anx_error *err);
/* Waits for the device; where an update was under way, it ended well or everything is lost. */
anx_status anx_trainer_sync(anx_trainer *t, anx_error *err);
/* After a call for the device failed: waits until it has left the host's memory, and looks what became of an update. */
void anx_trainer_after_failure(anx_trainer *t, anx_status status);
/* A new plan has the momentum; the device may still be copying. */
anx_status anx_trainer_send_momentum(anx_trainer *t, anx_error *err);
/* Begins SGD's step, and does not wait for it. */
anx_status anx_trainer_begin_update(anx_trainer *t, anx_error *err);

/* What is NaN or infinite after a forward pass; the loss if nothing else is. */
anx_status anx_trainer_find_nonfinite(anx_trainer *t, const anx_tensor *input, float loss, anx_nonfinite *out,
                                      anx_error *err);

#endif
