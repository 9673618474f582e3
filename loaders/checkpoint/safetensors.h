/*
 * safetensors (https://github.com/huggingface/safetensors): the format of fixtures, dumps and one checkpoint format.
 * A u64 header length, a JSON header, then the tensors' bytes.
 */
#ifndef ANX_LOADERS_CHECKPOINT_SAFETENSORS_H
#define ANX_LOADERS_CHECKPOINT_SAFETENSORS_H

#include "src/base/state_dict.h"

enum {
    ANX_SAFETENSORS_MAX_HEADER_BYTES = 100000000, /* the reference reader's limit */
    /* cJSON and what is made of its values spend up to 200 bytes on each, and a header must not ask for much more
       memory than its file is long: some 40,000 tensors. */
    ANX_SAFETENSORS_MAX_JSON_VALUES = 300000
};

/* An open, mapped file. Tensors are views of the mapping. */
typedef struct anx_safetensors {
    anx_state_dict tensors;
    struct {
        char *key, *value;
    } * metadata; /* __metadata__, in file order */
    size_t n_metadata;
    const uint8_t *bytes; /* the mapping */
    void *impl;
} anx_safetensors;

/* Follows the reference reader's rules (header <= 100,000,000 bytes, offsets contiguous from 0 to the file's end,
   no duplicate keys). Errors: NOT_FOUND, IO, FORMAT, LIMIT, UNSUPPORTED (dtype), OUT_OF_MEMORY. */
anx_status anx_safetensors_open(const char *path, anx_safetensors **out, anx_error *err);
void anx_safetensors_close(anx_safetensors *file);
/* Value of a metadata key, NULL if there is none. */
const char *anx_safetensors_metadata(const anx_safetensors *file, const char *key);

typedef struct anx_safetensors_meta {
    const char *key, *value;
} anx_safetensors_meta;

/*
 * Writes tensors (any strides; gathered) atomically: temporary file beside path, fsync, rename. Layout as the
 * reference writer's: dtype alignment descending, then name; metadata keys sorted. EXISTS unless `force`; LIMIT for
 * what anx_safetensors_open would refuse.
 */
anx_status anx_safetensors_write(const char *path, const anx_state_dict *tensors, const anx_safetensors_meta *metadata,
                                 size_t n_metadata, bool force, anx_error *err);

#endif
