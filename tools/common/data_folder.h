/*
 * Where the data that comes with anx is: fixtures, class names.
 */
#ifndef ANX_TOOLS_COMMON_DATA_FOLDER_H
#define ANX_TOOLS_COMMON_DATA_FOLDER_H

#include "loaders/dataset/class_names.h"

/*
 * The path of data file or folder NAME ("fixtures"), malloc'd. Where the user named a folder, in `folder` (NULL: not)
 * or else in the environment's ANX_DATA_DIR, it is looked for there alone; otherwise in the data folder of the
 * installation this program belongs to (PREFIX/share/anx beside its PREFIX/bin, wherever that was moved to; then the
 * prefix it was configured with), then in the source tree it was built from.
 * Errors: NOT_FOUND (the message lists where it was looked for), OUT_OF_MEMORY.
 */
anx_status anx_find_data(const char *folder, const char *name, char **out, anx_error *err);

/*
 * ImageNet's class names, from there; *out stays NULL where they are not found, since names are a comfort.
 * Errors: as anx_class_names_open, but NOT_FOUND.
 */
anx_status anx_load_class_names(const char *folder, anx_class_names **out, anx_error *err);

/* Whether the user named a folder, by `folder` or by ANX_DATA_DIR: what is missing there is then a mistake. */
bool anx_data_is_named(const char *folder);

#endif
