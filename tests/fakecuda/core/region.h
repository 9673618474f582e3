/*
 * What a piece of work touches: up to four nested loops over bytes, so that slices of a tensor which lie between each
 * other are told apart.
 */
#ifndef ANX_TESTS_FAKECUDA_CORE_REGION_H
#define ANX_TESTS_FAKECUDA_CORE_REGION_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "tests/fakecuda/core/export.h"

enum {
    FAKE_READ = 1,
    FAKE_WRITE = 2,
    FAKE_WORKSPACE = 4, /* written, and of no use to anyone afterwards */
    FAKE_IN_PLACE = 8,  /* read; may be the very region that is written */
    FAKE_HOST = 16      /* memory of the host is welcome */
};

typedef struct fake_region {
    uintptr_t at;
    size_t run;       /* bytes in a row */
    size_t n[3];      /* how many, outermost first */
    size_t stride[3]; /* and how far from each other, in bytes */
    unsigned access;
} fake_region;

FAKE_EXPORT fake_region fake_region_flat(const void *at, size_t bytes, unsigned access);
/* rows of floats, a pitch of floats apart */
FAKE_EXPORT fake_region fake_region_rows(const void *at, size_t rows, size_t floats, size_t pitch, unsigned access);
/* A tensor of floats, its extents and strides in elements. */
FAKE_EXPORT fake_region fake_region_tensor(const void *at, const int *n, const int *stride, unsigned access);

FAKE_EXPORT uintptr_t fake_region_end(const fake_region *region);
bool fake_regions_equal(const fake_region *a, const fake_region *b);
/* Whether they share a byte, and one that is shared. */
bool fake_regions_overlap(const fake_region *a, const fake_region *b, uintptr_t *shared);

/* A misuse unless it lies in one allocation that is alive and of the current device. */
void fake_region_check_bounds(const char *function, const fake_region *region);
/* A misuse unless all of it was written. */
void fake_region_check_written(const char *function, const fake_region *region);
void fake_region_mark(const fake_region *region);

#endif
