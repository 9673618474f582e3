/* Which keys the dicts of a training's checkpoint have, in PyTorch's order, and where their values are kept. */
#ifndef ANX_LOADERS_CHECKPOINT_TRAINING_FIELDS_H
#define ANX_LOADERS_CHECKPOINT_TRAINING_FIELDS_H

#include "loaders/checkpoint/training_checkpoint.h"

typedef enum anx_training_field_type {
    ANX_FIELD_NUMBER,       /* anx_saved_number, not None */
    ANX_FIELD_MAYBE_NUMBER, /* ... or None */
    ANX_FIELD_INTEGER,      /* int64_t */
    ANX_FIELD_BOOLEAN,      /* bool */
    ANX_FIELD_FLAG,         /* anx_saved_flag */
    ANX_FIELD_PER_GROUP,    /* anx_saved_numbers, a list with a number for each group */
    ANX_FIELD_COUNTER,      /* milestones as a Counter */
    ANX_FIELD_MILESTONES,   /* milestones as a list */
    ANX_FIELD_CHOICE,       /* bool: one of two strings */
    ANX_FIELD_WORSE,        /* the infinity that mode stands for; nowhere kept */
    ANX_FIELD_SCHEDULERS,   /* the schedulers of a SequentialLR */
    ANX_FIELD_LR_IN_USE,    /* its last_lr, which is that of one of them */
    ANX_FIELD_PARAMS,       /* the numbers of a group's parameters */
    ANX_FIELD_OF_OLD        /* older versions have it; nowhere kept */
} anx_training_field_type;

typedef struct anx_training_field {
    const char *key;
    anx_training_field_type type;
    size_t offset; /* in the struct */
    bool optional; /* a file may lack it */
    const char *choices[2];
} anx_training_field;

typedef struct anx_training_fields {
    const anx_training_field *fields;
    size_t count;
    const char *signature[2]; /* keys that no other scheduler of those that are known has together; [1] may be NULL */
} anx_training_fields;

/* Of a scheduler's dict (not ANX_SAVED_NO_SCHEDULER), and of a group's, whose fields' places are its keys. */
const anx_training_fields *anx_training_scheduler_fields(anx_saved_scheduler_kind kind);
const anx_training_fields *anx_training_group_fields(void);

#endif
