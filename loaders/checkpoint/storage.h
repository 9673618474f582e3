/*
 * A storage: the run of elements that the tensors of a checkpoint are views of, as PyTorch's files keep them apart
 * from shapes. Formats that know only tensors have one for each.
 */
#ifndef ANX_LOADERS_CHECKPOINT_STORAGE_H
#define ANX_LOADERS_CHECKPOINT_STORAGE_H

#include "src/base/tensor.h"

typedef struct anx_storage {
    anx_dtype dtype;
    int64_t n_elems;
    const void *data; /* n_elems elements: in host order and aligned, unless the checkpoint was opened `as_stored` */
    bool swapped;     /* ... and then: they are big-endian */
    uint64_t file_offset; /* where its elements begin in the file */
    const char *key;      /* the file's name for it */
    bool has_crc;         /* crc is the CRC-32 of its bytes as they lie in the file, */
    uint32_t crc;         /* ... compared with them when the file was opened */
} anx_storage;

#endif
