/*
 * An ordered list of named tensors, as PyTorch's state_dict: what a checkpoint holds and what is written as one.
 */
#ifndef ANX_SRC_BASE_STATE_DICT_H
#define ANX_SRC_BASE_STATE_DICT_H

#include "src/base/tensor.h"

typedef struct anx_named_tensor {
    char *name;        /* owned by the dict */
    anx_tensor tensor; /* owned by the dict where tensor.owned is set */
} anx_named_tensor;

typedef struct anx_state_dict {
    anx_named_tensor *items;
    size_t count, capacity;
    /* Finds names in files with very many: a hash table of indices + 1 into items, 0 where free. Without one (a dict
       that was put together by hand) names are searched for one by one. */
    uint32_t *slots;
    size_t n_slots; /* a power of two, or 0 */
} anx_state_dict;

#define ANX_STATE_DICT_INIT                                                                                            \
    { .items = NULL, .count = 0, .capacity = 0, .slots = NULL, .n_slots = 0 }

/* Appends a copy of name and takes over *tensor (its `owned` too, on success alone). EXISTS on a duplicate name.
   Names are not changed afterwards. */
anx_status anx_state_dict_add(anx_state_dict *dict, const char *name, const anx_tensor *tensor, anx_error *err);
/* The tensor of that name, or NULL. */
const anx_tensor *anx_state_dict_find(const anx_state_dict *dict, const char *name);
/* Its position among the items; false: there is none of that name. */
bool anx_state_dict_index(const anx_state_dict *dict, const char *name, size_t *out);
void anx_state_dict_fini(anx_state_dict *dict);

#endif
