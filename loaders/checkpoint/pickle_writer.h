/*
 * Writing pickles, byte for byte as CPython's pickler at protocol 2 does: the subset torch.save needs.
 *
 * Source: CPython's Modules/_pickle.c. Everything the pickler memoises is memoised here, used again or not: strings,
 * globals, tuples that are not empty, dicts and the results of REDUCE. Integers, booleans, None and () are not.
 *
 * Memory runs out at most once: after that every call is without effect and `failed` is set, so that callers check at
 * the end alone.
 */
#ifndef ANX_LOADERS_CHECKPOINT_PICKLE_WRITER_H
#define ANX_LOADERS_CHECKPOINT_PICKLE_WRITER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct anx_pickle_writer {
    uint8_t *bytes;
    size_t size, capacity;
    uint32_t memo; /* number of the next thing memoised */
    bool failed;
} anx_pickle_writer;

/* An index into the memo, for anx_pickle_get; ANX_PICKLE_NO_MEMO where nothing was memoised yet. */
typedef int64_t anx_pickle_memo;
enum { ANX_PICKLE_NO_MEMO = -1 };

/* Opcodes without an argument, named as in pickletools. */
typedef enum anx_pickle_op {
    ANX_PICKLE_OP_MARK = '(',
    ANX_PICKLE_OP_STOP = '.',
    ANX_PICKLE_OP_NONE = 'N',
    ANX_PICKLE_OP_BINPERSID = 'Q',
    ANX_PICKLE_OP_REDUCE = 'R',
    ANX_PICKLE_OP_BUILD = 'b',
    ANX_PICKLE_OP_SETITEM = 's',
    ANX_PICKLE_OP_SETITEMS = 'u',
    ANX_PICKLE_OP_TUPLE = 't',
    ANX_PICKLE_OP_EMPTY_TUPLE = ')',
    ANX_PICKLE_OP_EMPTY_DICT = '}',
    ANX_PICKLE_OP_EMPTY_LIST = ']',
    ANX_PICKLE_OP_APPEND = 'a',
    ANX_PICKLE_OP_APPENDS = 'e',
    ANX_PICKLE_OP_NEWOBJ = 0x81,
    ANX_PICKLE_OP_TUPLE1 = 0x85,
    ANX_PICKLE_OP_TUPLE2 = 0x86,
    ANX_PICKLE_OP_TUPLE3 = 0x87,
    ANX_PICKLE_OP_NEWTRUE = 0x88,
    ANX_PICKLE_OP_NEWFALSE = 0x89
} anx_pickle_op;

/* Starts with the protocol's header. Release with anx_pickle_fini. */
void anx_pickle_init(anx_pickle_writer *w);
void anx_pickle_fini(anx_pickle_writer *w);

void anx_pickle_put_op(anx_pickle_writer *w, anx_pickle_op op);
/* Memoises what is on top of the stack. */
anx_pickle_memo anx_pickle_put_memo(anx_pickle_writer *w);
void anx_pickle_get(anx_pickle_writer *w, anx_pickle_memo memo);

/* In the shortest form, as the pickler chooses it. */
void anx_pickle_put_int(anx_pickle_writer *w, int64_t value);
void anx_pickle_put_bool(anx_pickle_writer *w, bool value);
/* An integer beyond 64 bits: its shortest two's complement, little-endian, at most 255 bytes. */
void anx_pickle_put_big_int(anx_pickle_writer *w, const char *bytes, size_t n_bytes);
void anx_pickle_put_float(anx_pickle_writer *w, double value);
/* A new string object, memoised. The text is UTF-8. */
anx_pickle_memo anx_pickle_put_string(anx_pickle_writer *w, const char *text);
/* ... of n_bytes, NULs among them allowed; fewer than 4 GiB. */
anx_pickle_memo anx_pickle_put_text(anx_pickle_writer *w, const char *text, size_t n_bytes);
/* The string at its second and later uses; the first time it is written and *memo set. */
void anx_pickle_share_string(anx_pickle_writer *w, const char *text, anx_pickle_memo *memo);
/* The class or function module.name, the same way. */
void anx_pickle_share_global(anx_pickle_writer *w, const char *module, const char *name, anx_pickle_memo *memo);
/* A new tuple of integers. */
void anx_pickle_put_int_tuple(anx_pickle_writer *w, int n, const int64_t *values);
/* Replaces what lies on the stack by a tuple of it. n <= 3: that many items; else all down to the MARK put earlier
   (anx_pickle_open_tuple puts one where it is needed). */
void anx_pickle_open_tuple(anx_pickle_writer *w, int n);
void anx_pickle_close_tuple(anx_pickle_writer *w, int n);

/*
 * The items of a mapping whose type brings its own iterator (OrderedDict): in batches of a thousand, a lone one
 * without a MARK. Call anx_pickle_item(w, i, n) before the i-th of n pairs and with i = n after the last.
 */
void anx_pickle_item(anx_pickle_writer *w, size_t i, size_t n);
/* The same for a plain dict, whose last full batch is followed by an empty one. */
void anx_pickle_dict_item(anx_pickle_writer *w, size_t i, size_t n);
/* The same for a list. */
void anx_pickle_list_item(anx_pickle_writer *w, size_t i, size_t n);

#endif
