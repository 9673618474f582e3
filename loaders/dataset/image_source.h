/* Where the bytes of numbered image files come from: a dataset, a list of paths. */
#ifndef ANX_LOADERS_DATASET_IMAGE_SOURCE_H
#define ANX_LOADERS_DATASET_IMAGE_SOURCE_H

#include "src/base/status.h"

typedef struct anx_image_source {
    /*
     * The whole of file i (malloc'd; the caller frees it). Called by several threads at once. The error names the file
     * as a user would: NOT_FOUND (it disappeared), IO, INVALID_ARGUMENT (not a regular file), LIMIT, OUT_OF_MEMORY.
     */
    anx_status (*read)(void *context, int64_t i, uint8_t **bytes, size_t *n_bytes, anx_error *err);
    /* (optional) File i will be read soon: the system may start to fetch it from the disk. Does not wait. */
    void (*prefetch)(void *context, int64_t i);
    /* What file i is called in messages and reports; never NULL. */
    const char *(*name)(void *context, int64_t i);
    void *context;
} anx_image_source;

#endif
