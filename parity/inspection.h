/*
 * What a checkpoint file is: its format, who wrote it, its tensors with their values' range, the architecture that they
 * fit, and what else is in it. Nothing of it is executed.
 */
#ifndef ANX_PARITY_INSPECTION_H
#define ANX_PARITY_INSPECTION_H

#include "loaders/checkpoint/arch_match.h"
#include "loaders/checkpoint/provenance.h"
#include "parity/inspection_contents.h"
#include "parity/official.h"
#include "src/base/tensor_stats.h"

/* Why a tensor's values were not looked at. */
typedef enum anx_stats_state {
    ANX_STATS_COMPUTED = 0,
    ANX_STATS_EMPTY,    /* there are none */
    ANX_STATS_EXPANDED, /* it repeats the elements of its storage */
    ANX_STATS_TOO_MANY  /* the tensors before it took several times the elements that the file can hold */
} anx_stats_state;

typedef struct anx_inspected_tensor {
    const char *name; /* as in the file, with its prefix */
    const anx_tensor *tensor;
    const anx_checkpoint_entry *entry;
    size_t storage; /* index */
    int64_t n_elems;
    uint64_t n_bytes;     /* side by side; saturates */
    uint64_t file_offset; /* of its first element */
    bool contiguous;
    anx_stats_state state;
    anx_tensor_stats stats;
} anx_inspected_tensor;

typedef struct anx_inspected_storage {
    const anx_storage *storage;
    size_t first, n_tensors; /* those that are views of it: inspection->by_storage[first ...], in the file's order */
} anx_inspected_storage;

enum { ANX_MAX_METADATA_VERSIONS = 8 };

/* The state_dict's _metadata: modules by the version of their state. */
typedef struct anx_metadata_summary {
    bool present;
    size_t n_modules, n_without; /* ... without a version that is a number */
    struct {
        int64_t version;
        size_t n_modules;
    } versions[ANX_MAX_METADATA_VERSIONS];
    int n_versions;
    size_t n_others; /* modules of more versions than those */
} anx_metadata_summary;

typedef struct anx_inspection {
    anx_checkpoint *checkpoint; /* owned */
    anx_digest digest;          /* of the whole file */
    const anx_official_file *official;
    size_t n_published; /* files that it was held against */
    anx_provenance provenance;
    bool big_endian, has_module_prefix;
    anx_inspected_tensor *tensors;
    size_t n_tensors, n_others; /* n_others: keys of the state_dict that hold no tensor */
    anx_inspected_storage *storages;
    size_t n_storages;
    size_t *by_storage;
    int64_t n_elems;                 /* of all tensors; saturates */
    uint64_t n_bytes, storage_bytes; /* of all tensors, of all their storages; saturates */
    size_t of_dtype[ANX_DTYPE_COUNT];
    anx_arch_match match;
    bool fits; /* match.arch is its architecture, and the file its state_dict */
    anx_metadata_summary metadata;
    anx_contents contents;
} anx_inspection;

typedef struct anx_inspection_options {
    bool accept_bad_crc;
    int threads;                        /* <= 0: anx_threads_available() */
    const anx_official_table *official; /* what counts as published; NULL: anx_official_published */
} anx_inspection_options;

/*
 * options may be NULL. *out belongs to the caller; it holds the file open. The result is the same for any number of
 * threads. Errors: those of anx_checkpoint_open and anx_checkpoint_file_digest.
 */
anx_status anx_inspect(const char *path, const anx_inspection_options *options, anx_inspection **out, anx_error *err);
void anx_inspection_destroy(anx_inspection *inspection);

/* Both malloc'd, with a newline at the end; n_bytes may be NULL. The text fits in 100 columns where names let it. The
   JSON obeys inspect.schema.json. Errors: OUT_OF_MEMORY. */
anx_status anx_inspection_text(const anx_inspection *inspection, char **text, size_t *n_bytes, anx_error *err);
anx_status anx_inspection_json(const anx_inspection *inspection, char **text, size_t *n_bytes, anx_error *err);

#endif
