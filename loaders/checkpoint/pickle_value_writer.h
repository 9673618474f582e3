/*
 * Values that a pickle held, pickled again as CPython does: what was one object is one object again, since the memo
 * goes by the value's identity.
 */
#ifndef ANX_LOADERS_CHECKPOINT_PICKLE_VALUE_WRITER_H
#define ANX_LOADERS_CHECKPOINT_PICKLE_VALUE_WRITER_H

#include "loaders/checkpoint/pickle.h"
#include "loaders/checkpoint/pickle_writer.h"

/*
 * True where a value is made of None, bools, ints, floats, strings, tuples, lists and dicts alone, and no container
 * holds itself: what anx_pickle_put_value writes. Errors: OUT_OF_MEMORY.
 */
anx_status anx_pickle_is_plain(const anx_pickle_value *value, bool *plain, anx_error *err);

/* A value that the pickle has already, and the memo that names it. */
typedef struct anx_pickle_written {
    const anx_pickle_value *value; /* NULL: nothing */
    anx_pickle_memo memo;
} anx_pickle_written;

/*
 * before: what is written already and may occur in the value. *ordered_dict: the memo of the class
 * collections.OrderedDict. Errors: OUT_OF_MEMORY, UNSUPPORTED (not plain).
 */
anx_status anx_pickle_put_value(anx_pickle_writer *w, const anx_pickle_value *value, const anx_pickle_written *before,
                                size_t n_before, anx_pickle_memo *ordered_dict, anx_error *err);

/* OrderedDict(), still empty; its items follow. */
void anx_pickle_put_ordered_dict(anx_pickle_writer *w, anx_pickle_memo *ordered_dict);

#endif
