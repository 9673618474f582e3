/*
 * The pickle machine's stack, marks and memo, and what opcodes do to containers. Only the machine's own files use it.
 */
#ifndef ANX_LOADERS_CHECKPOINT_PICKLE_MACHINE_H
#define ANX_LOADERS_CHECKPOINT_PICKLE_MACHINE_H

#include "loaders/checkpoint/pickle.h"

/*
 * The machine's state. The stack holds values; a MARK is remembered beside it as the stack's height, and what lies
 * below the latest mark is out of reach until an opcode takes the mark away, as in CPython's unpickler.
 */
typedef struct anx_unpickle_machine {
    const anx_pickle_input *in;
    anx_arena *arena;
    anx_error *err;
    size_t at; /* next byte */
    anx_pickle_value **stack;
    size_t depth, stack_capacity;
    size_t *marks;
    size_t n_marks, marks_capacity;
    anx_pickle_value **memo; /* NULL where nothing was put */
    size_t memo_capacity;
    size_t charged_bytes; /* to the arena, for these arrays */
    bool stopped;
} anx_unpickle_machine;

/* Releases the machine's own memory; values stay with the arena. */
void anx_unpickle_fini(anx_unpickle_machine *m);

/* Every function reports through machine->err; the opcode's name and offset are added by the main loop. */
anx_status anx_unpickle_out_of_memory(const anx_unpickle_machine *m);

/* The bytes end before the pickle does: FORMAT with that message, or LIMIT where they were cut. */
anx_status anx_unpickle_ran_out(const anx_unpickle_machine *m, const char *message);

/* The next n bytes of the pickle. */
anx_status anx_unpickle_take(anx_unpickle_machine *m, size_t n, const uint8_t **out);

anx_status anx_unpickle_push(anx_unpickle_machine *m, anx_pickle_value *value);
/* Pushes a new value of that kind, otherwise zero; *out (may be NULL) is the value. */
anx_status anx_unpickle_push_new(anx_unpickle_machine *m, anx_pickle_kind kind, anx_pickle_value **out);
anx_status anx_unpickle_push_tuple(anx_unpickle_machine *m, anx_pickle_value *const *items, size_t n);
anx_status anx_unpickle_push_mark(anx_unpickle_machine *m);
/* At least n values above the latest mark. */
anx_status anx_unpickle_need(anx_unpickle_machine *m, size_t n);
/* The values above the latest mark, which goes with them; they stay in place until the next push. */
anx_status anx_unpickle_pop_mark(anx_unpickle_machine *m, anx_pickle_value ***items, size_t *count);

/* The memo holds references: what is put there goes on changing with the value. */
anx_status anx_unpickle_put(anx_unpickle_machine *m, size_t index);
anx_status anx_unpickle_get(anx_unpickle_machine *m, size_t index);

/* Appends n values to a list. */
anx_status anx_unpickle_append(anx_unpickle_machine *m, anx_pickle_value *to, anx_pickle_value *const *items, size_t n);
/* Sets n / 2 items of a dict; items are key, value, key, value, ... */
anx_status anx_unpickle_set_items(anx_unpickle_machine *m, anx_pickle_value *to, anx_pickle_value *const *items,
                                  size_t n);

#endif
