/*
 * Values pickled as CPython does: those that a pickle held, and those of pickle_tree.h. What was one object is one
 * object again, since the memo goes by the value's identity.
 */
#ifndef ANX_LOADERS_CHECKPOINT_PICKLE_VALUE_WRITER_H
#define ANX_LOADERS_CHECKPOINT_PICKLE_VALUE_WRITER_H

#include "loaders/checkpoint/pickle.h"
#include "loaders/checkpoint/pickle_writer.h"

/*
 * True where a value is made of None, bools, ints, floats, strings, tuples, lists and dicts alone, and no container
 * holds itself: what may be written of a file's values. Errors: OUT_OF_MEMORY.
 */
anx_status anx_pickle_is_plain(const anx_pickle_value *value, bool *plain, anx_error *err);

/* A memo by identity: of values and of globals. */
typedef struct anx_pickle_numbers {
    struct anx_pickle_number *slots;
    size_t n, capacity; /* a power of two, or 0 */
} anx_pickle_numbers;

typedef struct anx_pickle_frame {
    const anx_pickle_value *value; /* a container or an object */
    size_t next;                   /* of its children: for a dict key, value, key, value, ... */
} anx_pickle_frame;

/*
 * Pickling in progress. As with the writer, memory runs out at most once; `writer->failed` says so. Start from
 * {.writer = W, .put_leaf = F, .user = U}; release with anx_pickle_values_fini (the writer stays the caller's).
 */
typedef struct anx_pickle_values {
    anx_pickle_writer *writer;
    /* Writes a tensor, or what else a leaf stands for, and memoises it; no leaf occurs twice. NULL: there are none. */
    void (*put_leaf)(struct anx_pickle_values *v, const anx_pickle_value *leaf, void *user);
    void *user;
    anx_pickle_numbers memos;
    anx_pickle_frame *frames;
    size_t depth, capacity;
} anx_pickle_values;

void anx_pickle_values_fini(anx_pickle_values *v);

/*
 * Writes a value and all below it, or, where it was written before, its number. Apart from plain values it takes
 * objects, an OrderedDict's attributes and leaves; no container may hold itself. A leaf may call it for what it has
 * inside.
 */
void anx_pickle_values_put(anx_pickle_values *v, const anx_pickle_value *value);

/* For put_leaf: a class or function on the list of pickle_globals.h, and OrderedDict() without items. */
void anx_pickle_values_put_global(anx_pickle_values *v, const char *module, const char *name);
void anx_pickle_values_put_ordered_dict(anx_pickle_values *v);
/* This value is written, by the caller, and memo is its number. */
void anx_pickle_values_remember(anx_pickle_values *v, const anx_pickle_value *value, anx_pickle_memo memo);

#endif
