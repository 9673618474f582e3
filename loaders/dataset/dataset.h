/*
 * Labelled images on disk: folders of classes, a flat folder with a label file, a tar with one. What is there is
 * recognised by itself; the report can say what it was. Nothing is unpacked, nothing is decoded here.
 */
#ifndef ANX_LOADERS_DATASET_DATASET_H
#define ANX_LOADERS_DATASET_DATASET_H

#include "loaders/dataset/class_names.h"
#include "loaders/dataset/image_source.h"
#include "src/base/sha256.h"

typedef struct anx_sample {
    const char *name;    /* below the root, '/' between its parts: "n01440764/ILSVRC2012_val_00000293.JPEG" */
    int64_t label;       /* index of its class in the model's outputs */
    uint64_t file_bytes; /* when the dataset was opened */
} anx_sample;

/*
 * An open dataset. All pointers are its own, valid until anx_dataset_close. Samples are in torchvision's order:
 * ImageFolder's for folders (classes sorted, then paths sorted as os.walk gives them), by name for flat ones.
 */
typedef struct anx_dataset {
    const char *root;   /* as given */
    const char *layout; /* "wnid folders", "flat folder with Caffe's val.txt", ...: for reports */
    const char *labels; /* path of the label file, NULL where folders are the labels */
    const anx_sample *samples;
    int64_t n_samples;
    int64_t n_classes;            /* of the model */
    const char *const *class_ids; /* (n_classes) wnids, the folders' names, or the indices where neither is known */
    int64_t n_classes_present;    /* classes with at least one sample */
    bool by_wnid;                 /* labels are wnids in the end, not indices or the folders' positions */
    const char *const *notes;     /* what a reader of a result should know, a sentence each */
    int n_notes;
    /* SHA-256 of each sample's name, NUL, label, size (8 bytes, little-endian): the same dataset again, or not. */
    anx_digest digest;
    void *impl;
} anx_dataset;

typedef struct anx_dataset_options {
    const char *labels;  /* a label file; NULL: looked for beside the images */
    const char *synsets; /* a file of one wnid per line in ILSVRC id order, for the devkit's ground truth; or NULL */
    const anx_class_names *classes; /* ImageNet's wnids and their indices, for wnids; may be NULL */
    int64_t n_classes;              /* of the model; 0: each folder is a class, as ImageFolder has it for a model to be
                                       made; no wnids and no label files then */
} anx_dataset_options;

/*
 * Opens a folder or a tar file. What counts as a label, in this order: options->labels; folders named by wnids; a label
 * file in the folder or beside it, if images lie at the top or the folders cannot be the model's classes; the folders.
 *
 * Folders are read as torchvision's ImageFolder does, following symbolic links, with hidden files, a link that leads
 * nowhere being a sample that cannot be read; except that a link back to a folder above is an error. In a tar links are
 * never followed. With a label file hidden images need no label, and are then no samples.
 *
 * Errors: NOT_FOUND (also: no images, no labels), IO, INVALID_ARGUMENT (neither folder nor file), FORMAT (a label file:
 * path and lines; a damaged tar), UNSUPPORTED (the devkit's ground truth without synsets, wnids for a model with other
 * classes, a compressed tar), MISMATCH (everything that does not fit, as many lines as the message holds and how many
 * more there are: labels for missing files, files without labels, duplicate labels, indices out of range, unknown
 * wnids, empty classes, a number of classes that is not the model's; links, sparse or truncated files in a tar), LIMIT
 * (2^24 files, 2^18 folders), OUT_OF_MEMORY.
 */
anx_status anx_dataset_open(const char *path, const anx_dataset_options *options, anx_dataset **out, anx_error *err);
void anx_dataset_close(anx_dataset *dataset);

/*
 * The dataset's files, by index of sample; valid as long as the dataset. Its functions may be called by any thread.
 * Names are ROOT/NAME, of tars too.
 */
anx_image_source anx_dataset_source(const anx_dataset *dataset);
/* The label of a file of that source, for whoever takes one by a function; dataset: an anx_dataset. */
int64_t anx_dataset_label(void *dataset, int64_t file);

#endif
