/* Folders as labels: each folder at the top is a class, as for torchvision's ImageFolder. */
#ifndef ANX_LOADERS_DATASET_CLASS_FOLDERS_H
#define ANX_LOADERS_DATASET_CLASS_FOLDERS_H

#include "loaders/dataset/defects.h"
#include "loaders/dataset/listing.h"
#include "loaders/dataset/wnids.h"

typedef struct anx_class_folders {
    const char *outer;  /* "" or "FOLDER/": what all of them lie in, in a tar */
    const char **names; /* (n) sorted by code points; in the listing's arena */
    size_t n;
    size_t n_known;    /* names that are wnids of classes */
    bool images_above; /* images lie beside the folders, or there are no folders */
    bool images_below; /* images lie in folders */
} anx_class_folders;

/*
 * Looks which folders could be classes, and sorts the listing in their order. may_have_outer: a folder around
 * everything else is passed over, unless it is a class by its wnid. Errors: OUT_OF_MEMORY.
 */
anx_status anx_class_folders_find(anx_listing *listing, const anx_wnids *wnids, bool may_have_outer,
                                  anx_class_folders *out, anx_error *err);

/*
 * Gives the images in the folders their labels: by wnid where one name is a class's wnid, by position in the sorted
 * names otherwise. Adds to `defects`: names that are no class, a number of folders that is not n_classes, folders
 * without images.
 */
void anx_class_folders_label(const anx_class_folders *folders, anx_listing *listing, const anx_wnids *wnids,
                             int64_t n_classes, anx_defects *defects);

#endif
