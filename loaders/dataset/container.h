/*
 * Where a dataset's files lie: in a folder, in a tar. One row of a table for each kind (dataset.c), one file for each.
 */
#ifndef ANX_LOADERS_DATASET_CONTAINER_H
#define ANX_LOADERS_DATASET_CONTAINER_H

#include <sys/stat.h>

#include "loaders/dataset/defects.h"
#include "loaders/dataset/listing.h"

typedef struct anx_container {
    mode_t type;         /* S_IFDIR: what stat says of its path */
    bool may_have_outer; /* everything may lie in one folder more ("val/"), which is no class */
    /* For layouts' names: "flat folder" with a label file, "folders" with one; "wnid folders" and this. */
    const char *flat, *nested, *of_folders;

    /*
     * Lists everything that is no folder, in any order; adds to `defects` what can be named and lets the rest be
     * listed. *fd: kept open for `read` if it is not -1. Sets *n_ignored to the links it did not follow. Errors:
     * NOT_FOUND, IO, FORMAT, UNSUPPORTED, LIMIT, OUT_OF_MEMORY.
     */
    anx_status (*list)(anx_listing *listing, int *fd, anx_defects *defects, int64_t *n_ignored, anx_error *err);
    /* As anx_image_source's. */
    anx_status (*read)(const anx_listed *file, int fd, const char *root, uint8_t **bytes, size_t *n_bytes,
                       anx_error *err);
    void (*prefetch)(const anx_listed *file, int fd);
} anx_container;

extern const anx_container anx_container_folder, anx_container_tar;

#endif
