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

typedef struct anx_saving_item {
    const char *name; /* borrowed */
    anx_elements elements;
    anx_dtype dtype;                  /* as which it is written; its own, or both floating */
    const anx_storage *storage;       /* what it is a view of, for formats that keep that; NULL: nothing is known */
    int64_t offset;                   /* of its first element in the storage, in elements */
    bool is_parameter, requires_grad; /* for formats that keep that */
} anx_saving_item;

typedef struct anx_saving {
    anx_saving_item *items;
    size_t n_items;
    bool plain_dict;                  /* a dict, not an OrderedDict, where the format knows the difference */
    const anx_pickle_value *metadata; /* the state_dict's _metadata, or NULL; borrowed */
    anx_safetensors_meta *pairs;      /* the text pairs of a safetensors file that it came from; borrowed texts */
    size_t n_pairs;
} anx_saving;

#define ANX_SAVING_INIT                                                                                                \
    { .items = NULL, .n_items = 0 }

/*
 * All of a checkpoint as it is (opened `as_stored` and with keep_prefix, to leave nothing out). The checkpoint must
 * outlive it. Release with anx_saving_fini. Errors: OUT_OF_MEMORY.
 */
anx_status anx_saving_init(const anx_checkpoint *checkpoint, anx_saving *out, anx_error *err);
void anx_saving_fini(anx_saving *saving);

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
    bool keeps_views;       /* strides and shared storages stay what they are; otherwise tensors are written apart */
    bool keeps_metadata;    /* _metadata can be written */
    anx_status (*write)(const anx_saving *saving, const char *path, anx_file_writer *file, anx_rounding *rounding,
                        anx_error *err);
} anx_checkpoint_format;

/* Format i, NULL beyond the last. */
const anx_checkpoint_format *anx_checkpoint_format_at(int i);
/* By name, or by the path's extension (ASCII case folded); NULL: there is none. */
const anx_checkpoint_format *anx_checkpoint_format_find(const char *name);
const anx_checkpoint_format *anx_checkpoint_format_of_path(const char *path);

/* The writers, for the table in formats.c. */
anx_status anx_pth_save(const anx_saving *saving, const char *path, anx_file_writer *file, anx_rounding *rounding,
                        anx_error *err);
anx_status anx_safetensors_save(const anx_saving *saving, const char *path, anx_file_writer *file,
                                anx_rounding *rounding, anx_error *err);
anx_status anx_bin_save(const anx_saving *saving, const char *path, anx_file_writer *file, anx_rounding *rounding,
                        anx_error *err);
anx_status anx_raw_save(const anx_saving *saving, const char *path, anx_file_writer *file, anx_rounding *rounding,
                        anx_error *err);

#endif
