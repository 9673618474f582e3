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

/* Tensors that are taken from a file: some hundred bytes for each beside its elements. */
enum { ANX_CHECKPOINT_MAX_TENSORS = 1 << 16 };

/* A key of the state_dict whose value is no tensor. */
typedef struct anx_checkpoint_other {
    const char *name; /* in the arena; without the prefix that was removed from the tensors' names */
    anx_pickle_kind kind;
} anx_checkpoint_other;

/* What the file says about a tensor besides its name, shape and values. */
typedef struct anx_checkpoint_entry {
    const anx_storage *storage;       /* the same for tensors that share it */
    int64_t offset;                   /* of the first element in the storage, in elements */
    bool is_parameter, requires_grad; /* a torch.nn.Parameter; what it said of itself */
    const void *object;               /* the same for keys of one and the same tensor */
} anx_checkpoint_entry;

typedef struct anx_checkpoint_impl {
    anx_file_map map;
    anx_checkpoint_options options;
    anx_arena arena;              /* holds root and all below it; limited, as the file is long */
    anx_pickle_value *root;       /* what the file's pickle describes; NULL for formats without one */
    anx_pickle_value *state_dict; /* root, or what is wrapped in it */
    void **copies;                /* storages that could not be used in place (byte order, alignment) */
    size_t n_copies, copies_capacity;
    anx_safetensors *safetensors;     /* NULL for other formats */
    anx_checkpoint_entry *entries;    /* one for each of the checkpoint's tensors; in the arena */
    const anx_pickle_value *metadata; /* the state_dict's _metadata: a dict, or NULL. Its keys keep "module." */
    bool plain_dict;                  /* the state_dict is a dict, not an OrderedDict */
    bool has_text;                    /* the file brought a text of state_dict_json.h, which was followed */
    anx_checkpoint_other *others;     /* what is beside the tensors; in the arena */
    size_t n_others;
    bool has_digest;
    anx_digest digest; /* of the whole file */
} anx_checkpoint_impl;

enum { ANX_MAX_PICKLE_BYTES = 16 << 20 }; /* ten thousand tensors take 2 MB */

/*
 * A storage of n_elems elements whose bytes, all inside impl->map, begin at `bytes`: used in place where they can be,
 * copied where not (another byte order, not aligned) unless the checkpoint is wanted as stored. Lives in impl->arena.
 * Errors: OUT_OF_MEMORY.
 */
anx_status anx_storage_create(anx_checkpoint_impl *impl, anx_dtype dtype, int64_t n_elems, const char *key,
                              size_t key_bytes, const uint8_t *bytes, bool big_endian, anx_storage **out,
                              anx_error *err);
/* The second half of that, for formats that name a storage before they show its bytes: sets data, swapped and
   file_offset of one that has its dtype and n_elems. */
anx_status anx_storage_place(anx_checkpoint_impl *impl, anx_storage *storage, const uint8_t *bytes, bool big_endian,
                             anx_error *err);

static inline anx_checkpoint_impl *anx_checkpoint_impl_of(const anx_checkpoint *checkpoint) {
    return checkpoint->impl;
}

/*
 * A reader for each format: from impl->map, fills the checkpoint's tensors and format and all of impl that the format
 * has. Errors: as anx_checkpoint_open.
 */
anx_status anx_torch_zip_read(anx_checkpoint *checkpoint, anx_error *err);
anx_status anx_torch_legacy_read(anx_checkpoint *checkpoint, anx_error *err);
anx_status anx_torch_tar_read(anx_checkpoint *checkpoint, anx_error *err);
anx_status anx_safetensors_read(anx_checkpoint *checkpoint, anx_error *err);
anx_status anx_bin_read(anx_checkpoint *checkpoint, anx_error *err);

/* A view of a tensor that a pickle made, whose storage has its place. */
anx_tensor anx_pickle_tensor_view(const anx_pickle_tensor *t);

/*
 * Finds the state_dict in impl->root and fills the checkpoint's tensors, wrapped_in, module_prefix_removed and
 * impl->entries, metadata and others. Errors: FORMAT (no tensors there, a name twice), LIMIT, OUT_OF_MEMORY.
 */
anx_status anx_state_dict_extract(anx_checkpoint *checkpoint, anx_error *err);

/*
 * The same for formats that list tensors without a pickle: sets module_prefix_removed, adds the tensors (whose `owned`
 * stays with `tensors`), each with a storage of its own. bytes: the mapping that they are views of, for file offsets.
 * crcs: the checksum of each, compared with its bytes; NULL: they have none, or not all are right.
 */
anx_status anx_state_dict_from_list(anx_checkpoint *checkpoint, const anx_state_dict *tensors, const uint8_t *bytes,
                                    const uint32_t *crcs, anx_error *err);

#endif
