/* Everything a training run works with: opened, checked against one another, and closed together. */
#ifndef ANX_TOOLS_TRAIN_SETUP_H
#define ANX_TOOLS_TRAIN_SETUP_H

#include "loaders/checkpoint/checkpoint.h"
#include "loaders/checkpoint/training_bridge.h"
#include "loaders/dataset/dataset.h"
#include "loaders/dataset/training_input.h"
#include "tools/train_options.h"

typedef struct anx_train_setup {
    const anx_train_options *options;
    char *train_path, *val_path; /* the folders; val_path NULL: there is no evaluation */
    anx_dataset *train, *val;
    anx_image_source train_source, val_source;
    int64_t *targets; /* (train->n_samples) */
    int64_t *val_files;
    anx_class_names *classes;

    anx_graph *graph;
    const char *new_layer; /* the last layer, where it was made anew; or NULL */
    int64_t old_classes;   /* ... that the weights had */
    int *group_of_param;
    int n_groups;
    double *lr; /* (n_groups) */

    anx_device *device;
    anx_device_info info;
    anx_trainer *trainer;
    anx_scheduler *scheduler; /* NULL: the rates stay */
    anx_mt19937 gen;
    anx_training_input *input;
} anx_train_setup;

/* Which folders the images are in: train_path and val_path. *out must be zeros. Errors: OUT_OF_MEMORY. */
anx_status anx_train_setup_folders(const anx_train_options *options, anx_train_setup *out, anx_error *err);

/*
 * Opens all of it, once the folders are known. checkpoint: what the run begins with or goes on from; NULL where the
 * options name an architecture. It may be closed afterwards. Release with anx_train_setup_fini, after an error too.
 * *wrong_usage: what was wrong was an option. Errors: what opening gives; MISMATCH (classes).
 */
anx_status anx_train_setup_open(const anx_train_options *options, anx_checkpoint *checkpoint, anx_train_setup *out,
                                bool *wrong_usage, anx_error *err);
void anx_train_setup_fini(anx_train_setup *setup);

/* The training as the bridge to checkpoints sees it. */
anx_training_live anx_train_live(anx_train_setup *setup);
/* Puts setup->lr, which the scheduler changes, into the trainer's groups; and the other way round. */
void anx_train_set_rates(anx_train_setup *setup);
void anx_train_get_rates(anx_train_setup *setup);

/* Steps of an epoch. */
int64_t anx_train_steps(const anx_train_setup *setup);
/* Elements of the parameters that are trained. */
int64_t anx_train_trained(const anx_train_setup *setup);

#endif
