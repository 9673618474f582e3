/*
 * Where the data that comes with anx is: fixtures, class names.
 */
#ifndef ANX_TOOLS_COMMON_DATA_FOLDER_H
#define ANX_TOOLS_COMMON_DATA_FOLDER_H

#include "src/base/status.h"

/*
 * The path of data file or folder NAME ("fixtures"), malloc'd, from the first of these that has it: `folder` (what the
 * user named; NULL: nothing), the environment's ANX_DATA_DIR, the data folder of the installation this program belongs
 * to (PREFIX/share/anx beside its PREFIX/bin, wherever that was moved to; then the prefix it was configured with), the
 * source tree it was built from. Errors: NOT_FOUND (the message lists where it was looked for), OUT_OF_MEMORY. Where
 * `folder` is given, no other place is looked at.
 */
anx_status anx_find_data(const char *folder, const char *name, char **out, anx_error *err);

#endif
