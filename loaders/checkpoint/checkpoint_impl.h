/*
 * What an open checkpoint owns besides its tensors. The readers of the formats fill it; it keeps all that the file
 * said (order, _metadata, shared storages, strides), for those who show or convert it.
 */
#ifndef ANX_LOADERS_CHECKPOINT_CHECKPOINT_IMPL_H
#define ANX_LOADERS_CHECKPOINT_CHECKPOINT_IMPL_H

#include "loaders/checkpoint/checkpoint.h"
#include "loaders/checkpoint/pickle.h"
#include "loaders/checkpoint/safetensors.h"
#include "loaders/file.h"

/* A key of the state_dict whose value is no tensor. */
typedef struct anx_checkpoint_other {
    const char *name; /* in the arena; without the prefix that was removed from the tensors' names */
    anx_pickle_kind kind;
} anx_checkpoint_other;

typedef struct anx_checkpoint_impl {
    anx_file_map map;
    anx_arena arena;              /* holds root and all below it */
    anx_pickle_value *root;       /* what the file's pickle describes; NULL for formats without one */
    anx_pickle_value *state_dict; /* root, or what is wrapped in it */
    void **copies;                /* storages that could not be used in place (byte order, alignment) */
    size_t n_copies, copies_capacity;
    anx_safetensors *safetensors; /* NULL for other formats */
    anx_checkpoint_other *others; /* what is beside the tensors; in the arena */
    size_t n_others;
    bool has_digest;
    anx_digest digest; /* of the whole file */
} anx_checkpoint_impl;

static inline anx_checkpoint_impl *anx_checkpoint_impl_of(const anx_checkpoint *checkpoint) {
    return checkpoint->impl;
}

/* A PyTorch zip archive in impl->map: fills impl's arena, root and copies. */
anx_status anx_torch_zip_read(anx_checkpoint_impl *impl, const anx_checkpoint_options *options, size_t *n_bad_crc,
                              anx_error *err);

/*
 * Finds the state_dict in impl->root and fills the checkpoint's tensors, wrapped_in, module_prefix_removed and
 * impl->others. Errors: FORMAT (no tensors there, a name twice), LIMIT, OUT_OF_MEMORY.
 */
anx_status anx_state_dict_extract(anx_checkpoint *checkpoint, anx_error *err);

/* As above, from impl->safetensors. */
anx_status anx_state_dict_from_safetensors(anx_checkpoint *checkpoint, anx_error *err);

#endif
