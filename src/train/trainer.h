/*
 * Training steps on any device that has plans for training: what torchvision's train.py does with a batch
 * (train_one_epoch in references/classification/train.py): the model in train mode, cross-entropy, backward, and
 * optimizer.step() of torch.optim.SGD. On a device with PyTorch's bits (anx_device_info) a step has them throughout:
 * loss, logits, gradients, parameters and momentum.
 *
 * The parameters lie where the device reads them if it lets them lie there, so that no step copies them; and there is
 * one plan at a time. A batch of another size than the last one's (an epoch's last) has a plan made for it, and so has
 * the next.
 *
 * On a device that updates parameters itself (anx_plan_has_sgd: a GPU) they stay there, with gradients and momentum,
 * and a step comes back once the loss is known, while the way back and the update still run. What fails then shows at
 * the next call. Whoever reads parameters or momentum has them fetched first; that costs nothing on any other device.
 */
#ifndef ANX_SRC_TRAIN_TRAINER_H
#define ANX_SRC_TRAIN_TRAINER_H

#include "src/backend/backend.h"
#include "src/base/mt19937.h"
#include "src/train/sgd.h"

enum { ANX_TRAINER_FROZEN = -1 /* as a parameter's group: it is not trained */ };

typedef struct anx_trainer_options {
    const anx_graph *graph; /* both must outlive the trainer */
    anx_device *device;
    int64_t batch;    /* the largest, 1 or more */
    bool has_dropout; /* every dropout layer has `dropout`; otherwise each has what the graph says */
    double dropout;
    bool device_masks; /* masks from the device's own generator, whose seed each step draws; else PyTorch's */
    double label_smoothing;
    const anx_sgd_options *groups; /* copied */
    int n_groups;
    const int *group_of_param; /* n_params: the index of its group, or ANX_TRAINER_FROZEN; copied */
    int threads;               /* for the loss and SGD; <= 0: as many as the device has */
} anx_trainer_options;

typedef struct anx_trainer anx_trainer;

/*
 * params: the graph's n_params parameters, contiguous float32, copied. The caller destroys *out, before the device is
 * closed. Errors: INVALID_ARGUMENT (an option out of its range, parameters that are not the graph's, none that is
 * trained), UNSUPPORTED (a device without plans for training, or without a generator that is wanted), OUT_OF_MEMORY,
 * DEVICE.
 */
anx_status anx_trainer_create(const anx_trainer_options *options, const anx_tensor *params, anx_trainer **out,
                              anx_error *err);
void anx_trainer_destroy(anx_trainer *trainer);

/* ---- steps ---------------------------------------------------------------------------------------------- */

typedef enum anx_nonfinite_kind {
    ANX_NONFINITE_NONE = 0,
    ANX_NONFINITE_INPUT,
    ANX_NONFINITE_PARAM,
    ANX_NONFINITE_OUTPUT, /* of a layer; the logits are one's */
    ANX_NONFINITE_LOSS    /* and nothing before it: the logits are too far apart */
} anx_nonfinite_kind;

/*
 * The first value of a step that is NaN or infinite, in this order: input, parameters, the layers' outputs. Where a
 * device computes several layers in one, only the last one's output can be looked at.
 */
typedef struct anx_nonfinite {
    anx_nonfinite_kind kind;
    const char *name; /* "features.0.weight", "features.0", "input", "loss"; valid as long as the graph */
    int64_t element;  /* in memory order, of the first one */
    float value;
} anx_nonfinite;

typedef struct anx_trainer_result {
    float loss;
    int64_t top1;            /* images whose largest logit is the target's */
    anx_nonfinite nonfinite; /* kind NONE, or why nothing was updated */
} anx_trainer_result;

/*
 * One step on a batch of n images, 1 <= n <= options.batch: input (n, C, H, W), contiguous float32; targets, n of them.
 * Nothing is drawn from gen but the masks of dropout, layer by layer, before the layers run, or with device_masks one
 * 64-bit seed.
 *
 * Where the loss is NaN or infinite, parameters and momentum stay as they are, and so they do where an error is
 * returned; what was drawn stays drawn. A gradient may be anything: PyTorch goes on then, too. But a device that
 * updates parameters itself and fails at that, in this step or unseen in the one before, leaves nothing to go on with:
 * this and every later call then says DEVICE. Errors: INVALID_ARGUMENT (input, targets, the groups' options), before
 * anything is drawn; OUT_OF_MEMORY, DEVICE.
 */
anx_status anx_trainer_step(anx_trainer *trainer, anx_mt19937 *gen, const anx_tensor *input, const int64_t *targets,
                            anx_trainer_result *result, anx_error *err);

/* What the last step computed, (n, classes); rank 0 and no data before the first. Valid until the next step. */
const anx_tensor *anx_trainer_logits(const anx_trainer *trainer);
/*
 * The gradient by a parameter of the last step into out, contiguous float32 of the parameter's shape. Errors:
 * INVALID_ARGUMENT (out; there was no step that went backward), UNSUPPORTED (the parameter is frozen).
 */
anx_status anx_trainer_grad(anx_trainer *trainer, int param, anx_tensor *out, anx_error *err);

/*
 * The plan that steps run, which a step for a batch of another size replaces: for the parity judge, which looks at what
 * the last step left in it (outputs, masks, winners, gradients) and may write and run any of it before the next. A
 * parameter is changed by anx_trainer_set_param alone.
 */
anx_plan *anx_trainer_plan(anx_trainer *trainer);

/* ---- state ---------------------------------------------------------------------------------------------- */

/* The options' groups, n_groups, to be changed between steps: a scheduler sets their learning rates. */
anx_sgd_options *anx_trainer_groups(anx_trainer *trainer);

/*
 * Waits for the device, and has the parameters and momentum as they are now for the functions below, which otherwise
 * give what was there when it was called last. They are copied from a device that keeps them, once after a step;
 * elsewhere there is nothing to do. Errors: OUT_OF_MEMORY, DEVICE.
 */
anx_status anx_trainer_fetch(anx_trainer *trainer, anx_error *err);

/* The parameters, n_params, to be read; views valid until the next call of a step or a setter. Fetch them first. */
const anx_tensor *anx_trainer_params(const anx_trainer *trainer);
/* A parameter's momentum, to be read; NULL where it has none (yet). Valid as the parameters are, fetched as they are.
 */
const anx_tensor *anx_trainer_momentum(const anx_trainer *trainer, int param);

/*
 * Whether every parameter and its momentum is finite, as they have to be where something good is to be kept: a step
 * whose gradients are not finite shows in the next one's loss alone. Otherwise *out is the first that is not. Fetch
 * them first.
 */
bool anx_trainer_is_finite(const anx_trainer *trainer, anx_nonfinite *out);

/*
 * To go on from somewhere else: the values of a parameter, which may be a frozen one; the momentum of a trained one,
 * NULL for none. Contiguous float32 of the parameter's shape, copied.
 * Errors: INVALID_ARGUMENT (the tensor; momentum for a frozen parameter), OUT_OF_MEMORY, DEVICE.
 */
anx_status anx_trainer_set_param(anx_trainer *trainer, int param, const anx_tensor *values, anx_error *err);
anx_status anx_trainer_set_momentum(anx_trainer *trainer, int param, const anx_tensor *values, anx_error *err);

#endif
