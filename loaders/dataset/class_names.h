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
/* The same for classes that are called by their names alone: names[0 .. count), copied, are both. Errors:
   OUT_OF_MEMORY. */
anx_status anx_class_names_make(const char *const *names, int64_t count, anx_class_names **out, anx_error *err);
/* The lines of such a file, malloc'd; what is written is read back the same. Errors: INVALID_ARGUMENT (an empty name,
   or one with a tab or line break), OUT_OF_MEMORY. */
anx_status anx_class_names_text(const anx_class_names *names, char **text, size_t *n_bytes, anx_error *err);
void anx_class_names_close(anx_class_names *names);

/* The name of class `index` of a model with num_classes classes; "" where the names are not that model's, or NULL. */
const char *anx_class_name(const anx_class_names *names, int64_t num_classes, int64_t index);

#endif
