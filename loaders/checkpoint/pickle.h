/*
 * The part of Python's pickle language that checkpoints are written in, as a machine that builds values and runs
 * nothing: the opcodes and globals that PyTorch's own restricted unpickler takes (torch/_weights_only_unpickler.py);
 * anything else is an error that names the opcode and its offset. The language: CPython's Lib/pickletools.py.
 *
 * Values live in one arena. They may be shared (a memoised dict that grows later is seen to grow everywhere) and
 * nested to any depth: whoever walks them must neither recurse nor assume a tree.
 */
#ifndef ANX_LOADERS_CHECKPOINT_PICKLE_H
#define ANX_LOADERS_CHECKPOINT_PICKLE_H

#include "loaders/checkpoint/storage.h"
#include "src/base/arena.h"

typedef enum anx_pickle_kind {
    ANX_PICKLE_NONE = 0,
    ANX_PICKLE_BOOL,
    ANX_PICKLE_INT,
    ANX_PICKLE_BIG_INT, /* beyond int64: `text` holds its two's complement, little-endian */
    ANX_PICKLE_FLOAT,
    ANX_PICKLE_STRING, /* `text`, UTF-8 */
    ANX_PICKLE_BYTES,  /* `text` */
    ANX_PICKLE_TUPLE,  /* `list`; torch.Size too */
    ANX_PICKLE_LIST,   /* `list` */
    ANX_PICKLE_SET,    /* `list` */
    ANX_PICKLE_DICT,   /* `dict`: dict and OrderedDict */
    ANX_PICKLE_GLOBAL, /* `global`: a class or function by name */
    ANX_PICKLE_STORAGE,
    ANX_PICKLE_TENSOR, /* and torch.nn.Parameter */
    ANX_PICKLE_OBJECT, /* an instance that is kept, not understood: argparse.Namespace, torch.device */
    ANX_PICKLE_KIND_COUNT
} anx_pickle_kind;

typedef struct anx_pickle_value anx_pickle_value;
typedef struct anx_pickle_global anx_pickle_global; /* pickle_globals.h */

typedef struct anx_pickle_tensor {
    const anx_storage *storage;
    int64_t offset; /* elements from the storage's start */
    int rank;
    int64_t shape[ANX_MAX_RANK], stride[ANX_MAX_RANK]; /* elements; every reachable one lies inside the storage */
    bool is_parameter, requires_grad;
} anx_pickle_tensor;

struct anx_pickle_value {
    anx_pickle_kind kind;
    union {
        bool boolean;
        int64_t integer;
        double real;
        struct {
            const char *bytes; /* not terminated; may hold NULs */
            size_t n_bytes;
        } text;
        struct {
            anx_pickle_value **items;
            size_t count, capacity;
        } list;
        struct {
            anx_pickle_value **items; /* 2 * count: key, value, key, value, ... in the order they were set */
            size_t count, capacity;
            bool ordered;                 /* an OrderedDict */
            anx_pickle_value *attributes; /* what BUILD gave it (state_dict's _metadata), or NULL */
        } dict;
        const anx_pickle_global *global;
        const anx_storage *storage;
        anx_pickle_tensor *tensor;
        size_t leaf; /* a tensor that is going to be written (pickle_tree.h): which one */
        struct {
            const anx_pickle_global *class;
            anx_pickle_value *args, *state; /* state: what BUILD gave it, or NULL */
        } object;
    } u;
};

/*
 * Turns a persistent id (BINPERSID's operand) into what it stands for: a storage, or in the oldest files a tensor. What
 * it makes must live as long as the arena. Errors are the pickle's own; the machine adds the offset.
 */
typedef anx_status (*anx_pickle_load_persistent)(void *user, const anx_pickle_value *id, anx_arena *arena,
                                                 anx_pickle_value **out, anx_error *err);

typedef struct anx_pickle_input {
    const uint8_t *bytes; /* must live as long as the arena: strings are views of it */
    size_t n_bytes;
    anx_pickle_load_persistent load_persistent; /* NULL: persistent ids are refused */
    void *user;
    bool python2; /* takes INT and BINSTRING too, which Python 2 wrote for large integers and long strings */
    bool cut;     /* n_bytes is all that a pickle may take here, and more follow: running out of them is a LIMIT */
} anx_pickle_input;

/*
 * Runs one pickle, which starts at bytes[0]. *root is its value and *used the number of bytes up to and including
 * STOP. Memory is bounded by the arena's limit and by a fixed multiple of n_bytes. Errors: FORMAT, UNSUPPORTED (an
 * opcode, a protocol or a global outside the subset), LIMIT, OUT_OF_MEMORY, each with the opcode's offset.
 */
anx_status anx_pickle_run(const anx_pickle_input *input, anx_arena *arena, anx_pickle_value **root, size_t *used,
                          anx_error *err);

/* A value that is a storage, for anx_pickle_load_persistent. Errors: OUT_OF_MEMORY. */
anx_status anx_pickle_storage_value(const anx_storage *storage, anx_arena *arena, anx_pickle_value **out,
                                    anx_error *err);

/* "int", "dict", "tensor", ...: for messages. Never NULL. */
const char *anx_pickle_kind_name(anx_pickle_kind kind);
/* "an int", "a dict", "None", ... */
const char *anx_pickle_kind_phrase(anx_pickle_kind kind);
/* The value is that string. */
bool anx_pickle_is_string(const anx_pickle_value *value, const char *text);
/*
 * The value under a string key; NULL if there is none. Of several equal keys the last counts, as in Python, where it
 * replaces the others.
 */
anx_pickle_value *anx_pickle_dict_find(const anx_pickle_value *dict, const char *key);

#endif
