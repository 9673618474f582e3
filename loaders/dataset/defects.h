/*
 * Everything that does not fit, gathered into one message: as many lines as it holds, and how many more there are.
 */
#ifndef ANX_LOADERS_DATASET_DEFECTS_H
#define ANX_LOADERS_DATASET_DEFECTS_H

#include "src/base/status.h"

typedef struct anx_defects {
    char text[14000]; /* lines, each after "\n  " */
    size_t used;
    int64_t count, left_out;
    bool malformed; /* a line of a file that is not what it should be */
    char hint[600]; /* what the user may do about it; the first one given stays */
} anx_defects;

/* One defect, a line without its newline (printf style); names in it must be printable. */
void anx_defects_add(anx_defects *d, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* The same, of line `number` of a text file; a line that is malformed, not only wrong, makes the whole FORMAT. */
void anx_defects_add_line(anx_defects *d, bool malformed, int64_t number, const char *format, ...)
    __attribute__((format(printf, 4, 5)));
/* Said once, below the list. */
void anx_defects_hint(anx_defects *d, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* OK where there are none, otherwise FORMAT or MISMATCH; heading goes before the list of several. */
anx_status anx_defects_status(const anx_defects *d, const char *heading, anx_error *err);

#endif
