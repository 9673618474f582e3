/*
 * Checkpoints of a training: {model, optimizer, lr_scheduler, epoch, args}, as torchvision's
 * references/classification/train.py saves them, for the SGD optimizer and the schedulers below. Written byte for byte
 * as torch.save of PyTorch 2.15 writes the same objects; read from that and from older versions (1.13).
 *
 * What train.py does not save and an exact resume needs stands under a key of our own, "anx", which train.py passes
 * over: {"version": 1, "rng_state": ByteTensor, "step": int, "order_seed": int, "options": {name: value}}.
 *
 * Sources: torchvision's train.py (main); PyTorch's torch/optim/sgd.py, torch/optim/optimizer.py (state_dict,
 * load_state_dict) and torch/optim/lr_scheduler.py. Fields are named as there.
 */
#ifndef ANX_LOADERS_CHECKPOINT_TRAINING_CHECKPOINT_H
#define ANX_LOADERS_CHECKPOINT_TRAINING_CHECKPOINT_H

#include "loaders/checkpoint/checkpoint.h"
#include "loaders/checkpoint/pth_writer.h"
#include "src/base/arena.h"

enum { ANX_RNG_STATE_BYTES = 5056 }; /* what torch.get_rng_state() returns */

/* A number of Python's: 0 and 0.0 are different bytes in a file. */
typedef struct anx_saved_number {
    double value;
    enum { ANX_SAVED_FLOAT = 0, ANX_SAVED_INT, ANX_SAVED_NONE } kind; /* an int of at most 2^53 */
} anx_saved_number;

typedef struct anx_saved_numbers {
    anx_saved_number *items;
    size_t count;
} anx_saved_numbers;

typedef enum anx_saved_flag { ANX_SAVED_FLAG_NONE = 0, ANX_SAVED_FLAG_FALSE, ANX_SAVED_FLAG_TRUE } anx_saved_flag;

/* ---- optimizer ------------------------------------------------------------------------------------------ */

/* The keys of a group. */
typedef enum anx_saved_group_key {
    ANX_GROUP_LR = 0,
    ANX_GROUP_MOMENTUM,
    ANX_GROUP_DAMPENING,
    ANX_GROUP_WEIGHT_DECAY,
    ANX_GROUP_NESTEROV,
    ANX_GROUP_MAXIMIZE,
    ANX_GROUP_FOREACH,
    ANX_GROUP_DIFFERENTIABLE,
    ANX_GROUP_FUSED,
    ANX_GROUP_INITIAL_LR,
    ANX_GROUP_PARAMS,
    ANX_GROUP_KEY_COUNT
} anx_saved_group_key;

/* One of the optimizer's param_groups. */
typedef struct anx_saved_group {
    anx_saved_number lr, momentum, dampening, weight_decay, initial_lr;
    bool nesterov, maximize, differentiable;
    anx_saved_flag foreach, fused;
    size_t n_params;                               /* parameters are numbered through all groups, in order */
    anx_saved_group_key keys[ANX_GROUP_KEY_COUNT]; /* that it has, in the dict's order */
    size_t n_keys;
} anx_saved_group;

/*
 * A group as torch.optim.SGD makes it, with SGD's defaults; n_params is 0. given: the keys that the caller of SGD set
 * in the group itself (train.py: weight_decay), which come first. has_initial_lr: a scheduler was made for it
 * (ReduceLROnPlateau does not count).
 */
anx_saved_group anx_saved_group_make(const anx_saved_group_key *given, size_t n_given, bool has_initial_lr);

typedef struct anx_saved_buffer {
    bool present; /* otherwise the parameter's momentum starts afresh */
    anx_tensor tensor;
} anx_saved_buffer;

typedef struct anx_saved_optimizer {
    anx_saved_group *groups;
    size_t n_groups;
    anx_saved_buffer *buffers; /* momentum_buffer of each parameter, by number */
    size_t n_buffers;          /* the sum of the groups' n_params */
} anx_saved_optimizer;

/* ---- scheduler ------------------------------------------------------------------------------------------ */

typedef enum anx_saved_scheduler_kind {
    ANX_SAVED_NO_SCHEDULER = 0, /* the file has no lr_scheduler */
    ANX_SAVED_STEP_LR,
    ANX_SAVED_MULTI_STEP_LR,
    ANX_SAVED_EXPONENTIAL_LR,
    ANX_SAVED_COSINE_ANNEALING_LR,
    ANX_SAVED_CONSTANT_LR,
    ANX_SAVED_LINEAR_LR,
    ANX_SAVED_SEQUENTIAL_LR,
    ANX_SAVED_REDUCE_LR_ON_PLATEAU,
    ANX_SAVED_SCHEDULER_KIND_COUNT
} anx_saved_scheduler_kind;

/* "StepLR", ...; "none". */
const char *anx_saved_scheduler_name(anx_saved_scheduler_kind kind);

typedef struct anx_saved_milestone {
    int64_t epoch;
    int64_t count; /* MultiStepLR: how often the epoch was given; SequentialLR: 1 */
} anx_saved_milestone;

/* Each kind has some of the fields. Epochs are counted as PyTorch counts them. */
typedef struct anx_saved_scheduler {
    anx_saved_scheduler_kind kind;
    anx_saved_numbers base_lrs, last_lr; /* one for each group; not SequentialLR's own last_lr, see below */
    int64_t last_epoch, step_count;
    bool is_initial, get_lr_called_within_step;
    int64_t step_size;               /* StepLR */
    anx_saved_number gamma;          /* StepLR, MultiStepLR, ExponentialLR */
    anx_saved_number t_max, eta_min; /* CosineAnnealingLR */
    anx_saved_number factor;         /* ConstantLR, ReduceLROnPlateau */
    anx_saved_number start_factor;   /* LinearLR */
    anx_saved_number end_factor;     /* LinearLR */
    int64_t total_iters;             /* ConstantLR, LinearLR */
    anx_saved_milestone *milestones; /* MultiStepLR, in the order of the Counter; SequentialLR */
    size_t n_milestones;
    /* SequentialLR: neither of its own kind nor ReduceLROnPlateau. Its own last_lr is the list of the one in use. */
    struct anx_saved_scheduler *schedulers;
    size_t n_schedulers;
    /* ReduceLROnPlateau */
    anx_saved_number default_min_lr; /* or ANX_SAVED_NONE: min_lrs were given one by one */
    anx_saved_numbers min_lrs;
    anx_saved_number eps, threshold, best;
    bool mode_max, threshold_abs; /* mode 'max' instead of 'min', threshold_mode 'abs' instead of 'rel' */
    int64_t patience, cooldown, cooldown_counter, num_bad_epochs;
} anx_saved_scheduler;

/* ---- the whole ------------------------------------------------------------------------------------------ */

typedef enum anx_saved_value_kind {
    ANX_SAVED_VALUE_NONE = 0,
    ANX_SAVED_VALUE_BOOL,
    ANX_SAVED_VALUE_INT,
    ANX_SAVED_VALUE_FLOAT,
    ANX_SAVED_VALUE_TEXT,
    ANX_SAVED_VALUE_OTHER /* read alone: text names its type ("list") */
} anx_saved_value_kind;

/* A named value: one of args, or of the options of our own. */
typedef struct anx_saved_value {
    const char *name; /* UTF-8 */
    anx_saved_value_kind kind;
    union {
        bool boolean;
        int64_t integer;
        double real;
        const char *text; /* UTF-8 */
    } u;
    /* A text that Python has as the one object of a string in the program's source (argparse's default="steplr"),
       and not as one of its own (what came from the command line). It decides about bytes in the file, no more. */
    bool interned;
} anx_saved_value;

typedef struct anx_training_state {
    anx_saved_optimizer optimizer;
    anx_saved_scheduler scheduler;
    int64_t epoch; /* the last one that was completed; -1: none was */
    /* args, an argparse.Namespace. Without it torch.load(weights_only=True) of PyTorch 2.15 takes the file. */
    bool has_args;
    anx_saved_value *args;
    size_t n_args;
    /* What is under "anx". */
    bool has_own;
    uint8_t rng_state[ANX_RNG_STATE_BYTES]; /* of the generator, as torch.get_rng_state() */
    int64_t step;                           /* batches done of epoch + 1 */
    int64_t order_seed;                     /* of that epoch's order of the images */
    anx_saved_value *options;
    size_t n_options;
    /* Read alone: keys of the file that are none of the above ("model_ema", "scaler"). */
    const char **ignored;
    size_t n_ignored;
    anx_arena arena; /* what anx_training_state_read put there; empty where the caller put it together */
} anx_training_state;

#define ANX_TRAINING_STATE_INIT                                                                                        \
    { .epoch = -1 }

/*
 * Writes a checkpoint, atomically. model: the model's state_dict; tensors' strides and sharing as for anx_pth_write.
 * options (may be NULL) as there: with a source, its items are the model's tensors in order, then the buffers that are
 * present, in order; modules are those of the model. Memory needed does not grow with the tensors.
 * Errors: INVALID_ARGUMENT (a state that is not sound), and those of anx_pth_write.
 */
anx_status anx_training_checkpoint_write(const char *path, const anx_state_dict *model, const anx_training_state *state,
                                         const anx_pth_options *options, anx_error *err);

/*
 * All but the model's tensors, which are checkpoint->tensors. The checkpoint, not opened `as_stored`, must outlive
 * *out: buffers are views of it. Release with anx_training_state_fini.
 * Errors: FORMAT (no such checkpoint; which key holds what, and what was expected there), UNSUPPORTED (another
 * optimizer or scheduler), LIMIT, OUT_OF_MEMORY.
 */
anx_status anx_training_state_read(const anx_checkpoint *checkpoint, anx_training_state *out, anx_error *err);
void anx_training_state_fini(anx_training_state *state);

/* A training that is to go on from a state. */
typedef struct anx_training_expected {
    const size_t *group_sizes; /* parameters in each group */
    size_t n_groups;
    const anx_tensor *params; /* shapes by number; data are not looked at */
    const char *const *names; /* ... and names, for messages */
    anx_saved_scheduler_kind scheduler;
} anx_training_expected;

/*
 * The state fits: groups, shapes of the buffers (which PyTorch looks at in the first step alone), kind of scheduler.
 * Errors: MISMATCH, with what was found and what expected.
 */
anx_status anx_training_state_check(const anx_training_state *state, const anx_training_expected *expected,
                                    anx_error *err);

#endif
