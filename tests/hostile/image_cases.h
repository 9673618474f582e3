/* Files that must be refused with one exact message, by the staged and by the fast path. */
#ifndef ANX_TESTS_HOSTILE_IMAGE_CASES_H
#define ANX_TESTS_HOSTILE_IMAGE_CASES_H

#include "src/base/status.h"
#include "tests/image/bytes.h"

typedef struct image_case {
    const char *name; /* the file's */
    void (*make)(bytes *b);
    anx_status status;
    const char *message; /* what follows "NAME: " */
} image_case;

/*
 * Makes and checks each case. Where the environment has ANX_WRITE_IMAGES, the files are also written into that folder,
 * for Pillow to be asked what it thinks of them.
 */
void image_cases_check(const image_case *cases, size_t n);

#define CHECK_CASES(cases) image_cases_check((cases), sizeof(cases) / sizeof((cases)[0]))

/* The same, and that the process's peak of resident memory grows by less than so many MiB. */
void image_cases_check_within(const image_case *cases, size_t n, long mib);

#define CHECK_CASES_WITHIN(cases, mib) image_cases_check_within((cases), sizeof(cases) / sizeof((cases)[0]), (mib))

#endif
