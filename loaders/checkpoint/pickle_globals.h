/* The classes and functions that a checkpoint's pickle may name, and what calling them makes: values, nothing else. */
#ifndef ANX_LOADERS_CHECKPOINT_PICKLE_GLOBALS_H
#define ANX_LOADERS_CHECKPOINT_PICKLE_GLOBALS_H

#include "loaders/checkpoint/pickle.h"

/*
 * A call: args is a tuple. *out is set on success; *out may be one of the arguments. Messages speak of "it": the
 * caller adds the name.
 */
typedef anx_status (*anx_pickle_call)(const anx_pickle_global *global, const anx_pickle_value *args, anx_arena *arena,
                                      anx_pickle_value **out, anx_error *err);

struct anx_pickle_global {
    const char *module, *name;
    anx_pickle_call call; /* NULL: cannot be called */
    bool is_storage;      /* a storage class, of that dtype */
    bool is_tensor;       /* a tensor class, as the first releases had one for each dtype and device */
    anx_dtype dtype;
    bool by_newobj;      /* a plain class: its instances are made by NEWOBJ and given their attributes by BUILD */
    const char *refusal; /* known, but what it makes is not supported: why; else NULL */
};

/* A tensor whose every reachable element lies inside its storage; otherwise FORMAT. */
anx_status anx_pickle_tensor_check(const anx_pickle_tensor *t, anx_error *err);

/* NULL for a name that is not on the list. */
const anx_pickle_global *anx_pickle_global_find(const char *module, size_t module_bytes, const char *name,
                                                size_t name_bytes);

#endif
