/* Where the tests find the shipped recordings: fixtures/ of the source tree, or $ANX_TEST_FIXTURES. */
#ifndef ANX_TESTS_PARITY_RECORDINGS_H
#define ANX_TESTS_PARITY_RECORDINGS_H

#include <stdio.h>
#include <stdlib.h>

#include "parity/fixture.h"
#include "src/base/version.h"

/* folder/name in a static buffer; name "" gives the folder. */
static inline const char *recordings_path(const char *name) {
    static char path[1024];
    const char *folder = getenv("ANX_TEST_FIXTURES");
    if (folder == NULL || *folder == '\0') folder = ANX_SOURCE_DATADIR "/fixtures";
    snprintf(path, sizeof path, "%s%s%s", folder, *name != '\0' ? "/" : "", name);
    return path;
}

#endif
