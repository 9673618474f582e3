#include "parity/points.h"

#include <fnmatch.h>
#include <stdlib.h>
#include <string.h>

/* One glob of `length` characters, blanks around it included. */
static bool glob_matches(const char *glob, size_t length, const char *name) {
    while (length > 0 && (*glob == ' ' || *glob == '\t')) glob++, length--;
    while (length > 0 && (glob[length - 1] == ' ' || glob[length - 1] == '\t')) length--;
    char pattern[256];
    if (length == 0 || length >= sizeof pattern) return false;
    memcpy(pattern, glob, length);
    pattern[length] = '\0';
    return fnmatch(pattern, name, 0) == 0;
}

bool anx_points_match(const char *globs, const char *name) {
    if (globs == NULL || *globs == '\0') return true;
    for (const char *at = globs;; at++) {
        const size_t length = strcspn(at, ",");
        if (glob_matches(at, length, name)) return true;
        at += length;
        if (*at == '\0') return false;
    }
}
