/*
 * What the classes of a model are called: what its training kept of them, or ImageNet's.
 */
#ifndef ANX_TOOLS_COMMON_MODEL_CLASSES_H
#define ANX_TOOLS_COMMON_MODEL_CLASSES_H

#include "loaders/checkpoint/checkpoint.h"
#include "loaders/dataset/dataset.h"

typedef struct anx_model_classes {
    anx_class_names *names; /* NULL: they are not known */
    bool own;               /* the model's training kept them; false: they are ImageNet's */
} anx_model_classes;

#define ANX_MODEL_CLASSES_INIT                                                                                         \
    { .names = NULL, .own = false }

/*
 * Looked for inside the checkpoint (anx-train's last.pth, best.pth), then in the classes.tsv beside it, if that has
 * num_classes classes; then ImageNet's (anx_load_class_names, with data_dir). Classes that are called by ImageNet's
 * wnids have ImageNet's names. Release with anx_model_classes_fini. Errors: those of anx_load_class_names.
 */
anx_status anx_model_classes_find(const anx_checkpoint *checkpoint, int64_t num_classes, const char *data_dir,
                                  anx_model_classes *out, anx_error *err);
void anx_model_classes_fini(anx_model_classes *classes);

/*
 * That the folders of a dataset which was opened with these names are these classes: MISMATCH where it labelled them by
 * their positions, as it does where no folder is called like a class. Datasets with label files pass.
 */
anx_status anx_check_class_folders(const anx_dataset *dataset, const anx_class_names *names, anx_error *err);

#endif
