/*
 * What is written as a checkpoint, whatever the format: tensors in order, each as it lies in memory or in another file,
 * and what it is to become. Writers read the elements in pieces, so that no file's size decides how much memory they
 * take.
 */
#ifndef ANX_LOADERS_CHECKPOINT_SAVING_H
#define ANX_LOADERS_CHECKPOINT_SAVING_H

#include "loaders/checkpoint/checkpoint.h"
#include "loaders/checkpoint/pickle.h"
#include "loaders/checkpoint/safetensors.h"
#include "loaders/file.h"
#include "src/base/arena.h"

typedef struct anx_saving_item {
    const char *name; /* borrowed */
    anx_elements elements;
    anx_dtype dtype;                  /* as which it is written; its own, or both floating */
    const anx_storage *storage;       /* what it is a view of, for formats that keep that; NULL: nothing is known */
    int64_t offset;                   /* of its first element in the storage, in elements */
    bool is_parameter, requires_grad; /* for formats that keep that */
    const void *object;               /* the same for names of one and the same tensor; NULL: of its own */
} anx_saving_item;

typedef struct anx_saving {
    anx_saving_item *items;
    size_t n_items;
    bool plain_dict;                  /* a dict, not an OrderedDict, where the format knows the difference */
    const anx_pickle_value *metadata; /* the state_dict's _metadata, or NULL; borrowed */
    /* Of each item the key as the pickle had it, which may be a text of _metadata too: Python's interned ones are.
       NULL, also as a whole: none, or changed. */
    const anx_pickle_value **keys;
    bool by_name;   /* the items came in no order of their own (a safetensors of other writers) */
    bool has_pairs; /* it came from a safetensors, with these text pairs; borrowed texts */
    anx_safetensors_meta *pairs;
    size_t n_pairs;
    anx_arena arena; /* names and _metadata that were changed */
} anx_saving;

#define ANX_SAVING_INIT                                                                                                \
    { .items = NULL, .n_items = 0 }

/*
 * All of a checkpoint as it is (opened `as_stored` and with keep_prefix, to leave nothing out). The checkpoint must
 * outlive it. Release with anx_saving_fini. Errors: OUT_OF_MEMORY.
 */
anx_status anx_saving_init(const anx_checkpoint *checkpoint, anx_saving *out, anx_error *err);
void anx_saving_fini(anx_saving *saving);

/*
 * Changes before writing. Each tells in *n how many tensors it touched; none is the caller's to judge. On an error the
 * saving is as good as before, or partly changed: it can only be released.
 */

/* How many tensors' names match the pattern (fnmatch, no flags: '*' matches dots too). */
size_t anx_saving_count_matches(const anx_saving *saving, const char *pattern);
/* Keeps the tensors whose names match one of the patterns. */
void anx_saving_keep(anx_saving *saving, const char *const *patterns, size_t n_patterns, size_t *n);
/*
 * Takes `prefix` away from the names that begin with it, in the _metadata too, as PyTorch's
 * torch.nn.modules.utils.consume_prefix_in_state_dict_if_present. Errors: INVALID_ARGUMENT (nothing would be left of a
 * name, or no UTF-8), EXISTS (two names would become one), LIMIT, OUT_OF_MEMORY.
 */
anx_status anx_saving_strip_prefix(anx_saving *saving, const char *prefix, size_t *n, anx_error *err);
/* Names the tensor `from` `to`, or the module: "features.0" to "conv1" makes of "features.0.bias" "conv1.bias". In the
   _metadata too. Errors: as above. */
anx_status anx_saving_rename(anx_saving *saving, const char *from, const char *to, size_t *n, anx_error *err);
/* Floating tensors are to be written as dtype, which is one; *n counts those of another. */
void anx_saving_convert(anx_saving *saving, anx_dtype dtype, size_t *n);

/*
 * For formats that write tensors apart: none has so many more elements than are stored (strides of 0) that a small file
 * would become a huge one. Errors: LIMIT.
 */
anx_status anx_saving_check_expanded(const anx_saving *saving, anx_error *err);

/* How many are Parameters, or say of themselves that they require a gradient. */
size_t anx_saving_count_parameters(const anx_saving *saving);

/* How many share their storage with another, and how many are not in row-major order. Errors: OUT_OF_MEMORY. */
anx_status anx_saving_count_views(const anx_saving *saving, size_t *n_shared, size_t *n_strided, anx_error *err);

/* Bytes that an item takes as written, side by side. UINT64_MAX where that overflows. */
uint64_t anx_saving_item_bytes(const anx_saving_item *item);

/*
 * Hands an item's elements, contiguous and in host order and as item->dtype, to `take` in pieces of whole elements.
 * rounding may be NULL. Errors: what take returns, OUT_OF_MEMORY.
 */
typedef anx_status (*anx_saving_take)(void *user, const void *bytes, size_t n_bytes, anx_error *err);
anx_status anx_saving_item_read(const anx_saving_item *item, anx_rounding *rounding, anx_saving_take take, void *user,
                                anx_error *err);

/*
 * A format that is written. `file` is committed by the caller; path is where it will be, "-" for standard output (the
 * name matters to one format). rounding (may be NULL) sums up what conversions did. Errors: INVALID_ARGUMENT (something
 * that the format cannot hold, or a name that it does not take), LIMIT, OUT_OF_MEMORY, and those of the file.
 */
typedef struct anx_checkpoint_format {
    const char *name;       /* "pth" */
    const char *extensions; /* ".pth .pt": those that mean it */
    const char *summary;    /* one line, for help */
    bool keeps_views;       /* strides, shared storages and Parameters stay; otherwise tensors are written apart */
    /* Can it write the order of the names? NULL: it always does. Errors: OUT_OF_MEMORY. */
    anx_status (*can_keep_order)(const anx_saving *saving, bool *can, anx_error *err);
    /* Can it write the saving's _metadata? NULL: it writes none. Errors: OUT_OF_MEMORY. */
    anx_status (*can_keep_metadata)(const anx_saving *saving, bool *can, anx_error *err);
    anx_status (*write)(const anx_saving *saving, const char *path, anx_file_writer *file, anx_rounding *rounding,
                        anx_error *err);
} anx_checkpoint_format;

/* Format i, NULL beyond the last. */
const anx_checkpoint_format *anx_checkpoint_format_at(int i);
/* By name, or by the path's extension (ASCII case folded); NULL: there is none. */
const anx_checkpoint_format *anx_checkpoint_format_find(const char *name);
const anx_checkpoint_format *anx_checkpoint_format_of_path(const char *path);

/* For the table in formats.c. */
anx_status anx_pth_can_keep_metadata(const anx_saving *saving, bool *can, anx_error *err);
anx_status anx_safetensors_can_keep_order(const anx_saving *saving, bool *can, anx_error *err);
anx_status anx_safetensors_can_keep_metadata(const anx_saving *saving, bool *can, anx_error *err);
anx_status anx_bin_can_keep_metadata(const anx_saving *saving, bool *can, anx_error *err);

anx_status anx_pth_save(const anx_saving *saving, const char *path, anx_file_writer *file, anx_rounding *rounding,
                        anx_error *err);
anx_status anx_safetensors_save(const anx_saving *saving, const char *path, anx_file_writer *file,
                                anx_rounding *rounding, anx_error *err);
anx_status anx_bin_save(const anx_saving *saving, const char *path, anx_file_writer *file, anx_rounding *rounding,
                        anx_error *err);
anx_status anx_raw_save(const anx_saving *saving, const char *path, anx_file_writer *file, anx_rounding *rounding,
                        anx_error *err);

#endif
