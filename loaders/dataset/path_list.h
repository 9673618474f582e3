/* Image files named one by one. */
#ifndef ANX_LOADERS_DATASET_PATH_LIST_H
#define ANX_LOADERS_DATASET_PATH_LIST_H

#include "loaders/dataset/image_source.h"

/* File i is paths[i]; the paths must outlive the source. */
anx_image_source anx_path_list_source(const char *const *paths);

#endif
