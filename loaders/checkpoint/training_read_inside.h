/* Inside the reading of a training's checkpoint: from the values of an open file to the structs of
   training_checkpoint.h. Not for other files. */
#ifndef ANX_LOADERS_CHECKPOINT_TRAINING_READ_INSIDE_H
#define ANX_LOADERS_CHECKPOINT_TRAINING_READ_INSIDE_H

#include "loaders/checkpoint/checkpoint_impl.h"
#include "loaders/checkpoint/training_fields.h"

/* What no training has more of. A file can name one object very often, so that its size alone bounds nothing. */
enum {
    ANX_TRAINING_MAX_KEYS = 64,
    ANX_TRAINING_MAX_GROUPS = 10000,
    ANX_TRAINING_MAX_PARAMS = 1000000,
    ANX_TRAINING_MAX_MILESTONES = 10000,
    ANX_TRAINING_MAX_SCHEDULERS = 16,
    ANX_TRAINING_MAX_VALUES = 10000
};

typedef struct anx_training_reading {
    const anx_checkpoint *checkpoint;
    anx_training_state *state;
    anx_error *err;
} anx_training_reading;

/* n * size bytes of the state's arena; NULL: anx_training_arena_error says why. */
void *anx_training_allocate(const anx_training_reading *r, size_t n, size_t size);
anx_status anx_training_arena_error(const anx_training_reading *r);

/* A key for a message: "'lr'", "3", "a tuple". */
typedef struct anx_training_shown {
    char text[100];
} anx_training_shown;
anx_training_shown anx_training_show(const anx_pickle_value *key);
/* FORMAT: what the key holds, and what was expected; LIMIT: how many of what. */
anx_status anx_training_wrong_kind(anx_error *err, const char *key, const anx_pickle_value *got, const char *expected);
anx_status anx_training_too_many(anx_error *err, const char *key, size_t n, size_t limit, const char *what);

anx_status anx_training_read_integer(const anx_pickle_value *v, const char *key, int64_t *out, anx_error *err);
/* The field of that key; NULL: there is none. */
const anx_training_field *anx_training_find_field(const anx_training_fields *fields, const anx_pickle_value *key);
/* Reads all fields of a dict into object; its keys are known to be among them. */
anx_status anx_training_read_fields(const anx_training_reading *r, const anx_pickle_value *dict,
                                    const anx_training_fields *fields, void *object);

/* The state's optimizer and, after it, its scheduler. */
anx_status anx_training_read_optimizer(const anx_training_reading *r, const anx_pickle_value *dict);
anx_status anx_training_read_schedulers(const anx_training_reading *r, const anx_pickle_value *dict);

#endif
