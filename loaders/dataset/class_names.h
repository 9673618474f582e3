/*
 * What the classes are called. A file of lines INDEX<tab>WNID<tab>NAME, indices ascending from 0, UTF-8:
 * fixtures/imagenet_classes.tsv holds ImageNet's 1,000, in the order of torchvision's weights.
 */
#ifndef ANX_LOADERS_DATASET_CLASS_NAMES_H
#define ANX_LOADERS_DATASET_CLASS_NAMES_H

#include "src/base/status.h"

typedef struct anx_class_names {
    int64_t count;
    const char **wnids, **names; /* (count): "n01440764", "tench" */
    char *text;                  /* what they point into */
} anx_class_names;

/* Errors: NOT_FOUND, IO, FORMAT (the line), OUT_OF_MEMORY. Release with anx_class_names_close. */
anx_status anx_class_names_open(const char *path, anx_class_names **out, anx_error *err);
void anx_class_names_close(anx_class_names *names);

/* The name of class `index` of a model with num_classes classes; "" where the names are not that model's, or NULL. */
const char *anx_class_name(const anx_class_names *names, int64_t num_classes, int64_t index);

#endif
