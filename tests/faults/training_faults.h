/*
 * Faults in training: a backend that wraps a real one and does something wrong on the way back, and steps and schedules
 * with something wrong in them.
 */
#ifndef ANX_TESTS_FAULTS_TRAINING_FAULTS_H
#define ANX_TESTS_FAULTS_TRAINING_FAULTS_H

#include "parity/training_play.h"

typedef enum training_fault {
    TRAINING_FAULT_NONE = 0,
    TRAINING_FAULT_BIAS_MISSING,  /* the parameter's gradient is 0 */
    TRAINING_FAULT_GRAD_OFF,      /* one element of the parameter's gradient, by a part in 10,000 */
    TRAINING_FAULT_GRAD_BF16,     /* the parameter's gradient, rounded to bfloat16 */
    TRAINING_FAULT_MASK_UNSCALED, /* dropout keeps elements as they are */
    TRAINING_FAULT_POOL_LAST,     /* of equal values the last one wins */
    TRAINING_FAULT_LOGIT_NAN,     /* in training one logit is NaN */
    TRAINING_FAULT_INPUT_CHANNEL  /* the gradient by the node's output lacks its first channel */
} training_fault;

typedef struct training_fault_options {
    const char *inner; /* the wrapped backend's name */
    training_fault fault;
    const char *where; /* the parameter or node it is put into */
    bool pytorch_bits; /* the device claims PyTorch's own bits */
} training_fault_options;

/* Opens a device of it. options must outlive the device; one kind of options at a time in a process. */
anx_status training_fault_open(const training_fault_options *options, int threads, anx_device **out, anx_error *err);

/* Steps: as anx_trainer_step, with other options of SGD than asked for. */
anx_status step_without_decay(anx_trainer *t, anx_mt19937 *gen, const anx_tensor *input, const int64_t *targets,
                              anx_trainer_result *result, anx_error *err);
anx_status step_with_less_momentum(anx_trainer *t, anx_mt19937 *gen, const anx_tensor *input, const int64_t *targets,
                                   anx_trainer_result *result, anx_error *err);
anx_status step_forgetting_momentum(anx_trainer *t, anx_mt19937 *gen, const anx_tensor *input, const int64_t *targets,
                                    anx_trainer_result *result, anx_error *err);
anx_status step_with_nesterov(anx_trainer *t, anx_mt19937 *gen, const anx_tensor *input, const int64_t *targets,
                              anx_trainer_result *result, anx_error *err);
anx_status step_drawing_once_more(anx_trainer *t, anx_mt19937 *gen, const anx_tensor *input, const int64_t *targets,
                                  anx_trainer_result *result, anx_error *err);
anx_status step_with_wrong_targets(anx_trainer *t, anx_mt19937 *gen, const anx_tensor *input, const int64_t *targets,
                                   anx_trainer_result *result, anx_error *err);

/* Schedules: one epoch late; the closed form, which differs in the last bits. */
void schedule_one_epoch_late(anx_scheduler *s, double metric, double *lr);
void schedule_in_closed_form(anx_scheduler *s, double metric, double *lr);

#endif
