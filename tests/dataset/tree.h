/* What the datasets' suites share: small trees of files, opening them, and what is expected of that. */
#ifndef ANX_TESTS_DATASET_TREE_H
#define ANX_TESTS_DATASET_TREE_H

#include "loaders/dataset/dataset.h"
#include "tests/support/anx_test.h"

extern anx_error err;

/* A fresh folder; the path is valid for the test's whole run. */
const char *tree_folder(const char *name);
/* ROOT/NAME in a static ring of buffers. */
const char *tree_path(const char *root, const char *name);
/* Writes a file, and the folders that it lies in. */
void tree_put(const char *root, const char *name, const void *bytes, size_t n_bytes);
void tree_text(const char *root, const char *name, const char *text);
/* Image files, each holding its own name; names separated by blanks. */
void tree_images(const char *root, const char *names);
void tree_link(const char *root, const char *name, const char *target);

/* Five classes: n00000010, n00000020, ... n00000050; freed at exit. */
const anx_class_names *five_classes(void);
/* Options with those classes; labels and synsets may be NULL. */
anx_dataset_options five(const char *labels, const char *synsets);
/* Options of a model whose classes have no wnids. */
anx_dataset_options unnamed(int64_t n_classes);

/*
 * Opens it and compares its samples with "LABEL NAME\n..." ; reads each and compares it with its own name where
 * file_bytes is that long. Returns the dataset, which the caller closes; NULL if it could not be opened.
 */
anx_dataset *tree_open(const char *path, anx_dataset_options options, const char *expected);
/* Opens it, compares its samples and layout, closes it. */
void tree_check(const char *path, anx_dataset_options options, const char *layout, const char *expected);
/* It cannot be opened, for that reason: the whole formatted error, in which $ stands for the path. */
void tree_refused(const char *path, anx_dataset_options options, anx_status status, const char *message);
/* One of the notes holds the text. */
void tree_note(const anx_dataset *dataset, const char *text);

#endif
