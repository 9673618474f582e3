/* The persistent id by which PyTorch's pickles name a storage (torch/serialization.py, persistent_id). */
#ifndef ANX_LOADERS_CHECKPOINT_TORCH_STORAGE_ID_H
#define ANX_LOADERS_CHECKPOINT_TORCH_STORAGE_ID_H

#include "loaders/checkpoint/pickle_globals.h"

typedef struct anx_torch_storage_id {
    anx_dtype dtype;
    const char *key;
    size_t key_bytes;
    int64_t n_elems;
    const anx_pickle_value
        *view; /* the legacy stream's sixth item: (key, offset, elements) of a part; NULL: all of it */
} anx_torch_storage_id;

/* ('storage', class, key, location, elements), in the legacy stream with a sixth item, a view or None.
   Errors: FORMAT, UNSUPPORTED (a whole module). */
anx_status anx_torch_storage_id_parse(const anx_pickle_value *id, bool legacy, anx_torch_storage_id *out,
                                      anx_error *err);

/* The same storage was named before with another type or size. FORMAT. */
anx_status anx_torch_storage_id_conflict(const anx_torch_storage_id *id, const anx_storage *before, anx_error *err);

#endif
