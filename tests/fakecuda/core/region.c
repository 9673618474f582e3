#include "tests/fakecuda/core/region.h"

#include <stdlib.h>
#include <string.h>

#include "tests/fakecuda/core/call.h"
#include "tests/fakecuda/core/memory.h"
#include "tests/fakecuda/core/report.h"

/* ---- construction --------------------------------------------------------------------------------------------- */

fake_region fake_region_flat(const void *at, size_t bytes, unsigned access) {
    return (fake_region){(uintptr_t)at, bytes, {1, 1, 1}, {0, 0, 0}, access};
}

/* Sorts the loops by stride and joins those that follow each other without a gap. */
static fake_region nest(const void *at, size_t *n, size_t *stride, int dims, unsigned access) {
    fake_region region = fake_region_flat(at, sizeof(float), access);
    for (int i = 1; i < dims; i++) /* insertion sort, the greatest stride first */
        for (int k = i; k > 0 && stride[k] > stride[k - 1]; k--) {
            const size_t n_k = n[k], stride_k = stride[k];
            n[k] = n[k - 1], stride[k] = stride[k - 1];
            n[k - 1] = n_k, stride[k - 1] = stride_k;
        }
    int level = 2;
    for (int i = dims - 1; i >= 0; i--) {
        if (n[i] == 1) continue;
        const bool innermost = level == 2;
        size_t *outer_n = innermost ? NULL : &region.n[level + 1];
        if (innermost && stride[i] == region.run) {
            region.run *= n[i];
        } else if (outer_n != NULL && stride[i] == *outer_n * region.stride[level + 1]) {
            *outer_n *= n[i];
        } else if (level < 0) {
            fake_misuse("tensor", "the double does not know tensors with such strides");
        } else {
            region.n[level] = n[i];
            region.stride[level] = stride[i];
            level--;
        }
    }
    return region;
}

fake_region fake_region_rows(const void *at, size_t rows, size_t floats, size_t pitch, unsigned access) {
    if (rows == 0 || floats == 0) return fake_region_flat(at, 0, access);
    size_t n[2] = {rows, floats}, stride[2] = {pitch * sizeof(float), sizeof(float)};
    return nest(at, n, stride, 2, access);
}

fake_region fake_region_tensor(const void *at, const int *n, const int *stride, unsigned access) {
    size_t count[4], bytes[4];
    for (int i = 0; i < 4; i++) {
        count[i] = (size_t)n[i];
        bytes[i] = (size_t)stride[i] * sizeof(float);
    }
    return nest(at, count, bytes, 4, access);
}

/* ---- runs ------------------------------------------------------------------------------------------------------ */

static size_t count_runs(const fake_region *r) {
    return r->run == 0 ? 0 : r->n[0] * r->n[1] * r->n[2];
}

static uintptr_t run_at(const fake_region *r, size_t i) {
    const size_t inner = i % r->n[2], middle = i / r->n[2] % r->n[1], outer = i / r->n[2] / r->n[1];
    return r->at + inner * r->stride[2] + middle * r->stride[1] + outer * r->stride[0];
}

uintptr_t fake_region_end(const fake_region *r) {
    if (r->run == 0) return r->at;
    uintptr_t last = r->at;
    for (int i = 0; i < 3; i++) last += (r->n[i] - 1) * r->stride[i];
    return last + r->run;
}

bool fake_regions_equal(const fake_region *a, const fake_region *b) {
    if (a->at != b->at || a->run != b->run) return false;
    for (int i = 0; i < 3; i++)
        if (a->n[i] != b->n[i] || (a->n[i] > 1 && a->stride[i] != b->stride[i])) return false;
    return true;
}

static int by_address(const void *a, const void *b) {
    const uintptr_t x = *(const uintptr_t *)a, y = *(const uintptr_t *)b;
    return (x > y) - (x < y);
}

/* Their starts in order; the loops of a sane tensor yield them so already. */
static uintptr_t *sorted_runs(const fake_region *r) {
    const size_t n = count_runs(r);
    uintptr_t *runs = malloc(n * sizeof *runs);
    if (runs == NULL) fake_misuse("start", "out of memory");
    bool sorted = true;
    for (size_t i = 0; i < n; i++) {
        runs[i] = run_at(r, i);
        sorted = sorted && (i == 0 || runs[i - 1] <= runs[i]);
    }
    if (!sorted) qsort(runs, n, sizeof *runs, by_address);
    return runs;
}

static bool runs_overlap(const fake_region *a, const fake_region *b, uintptr_t *shared) {
    uintptr_t *runs_a = sorted_runs(a), *runs_b = sorted_runs(b);
    const size_t n_a = count_runs(a), n_b = count_runs(b);
    bool overlap = false;
    for (size_t i = 0, k = 0; i < n_a && k < n_b && !overlap;) {
        if (runs_a[i] + a->run <= runs_b[k]) {
            i++;
        } else if (runs_b[k] + b->run <= runs_a[i]) {
            k++;
        } else {
            *shared = runs_a[i] > runs_b[k] ? runs_a[i] : runs_b[k];
            overlap = true;
        }
    }
    free(runs_a);
    free(runs_b);
    return overlap;
}

bool fake_regions_overlap(const fake_region *a, const fake_region *b, uintptr_t *shared) {
    if (count_runs(a) == 0 || count_runs(b) == 0) return false;
    if (fake_region_end(a) <= b->at || fake_region_end(b) <= a->at) return false;
    if (count_runs(a) > 1 || count_runs(b) > 1) return runs_overlap(a, b, shared);
    *shared = a->at > b->at ? a->at : b->at;
    return true;
}

/* ---- checks ---------------------------------------------------------------------------------------------------- */

static const char *name_of(uintptr_t at) {
    return fake_name((const void *)at);
}

static void check_host(const char *function, const fake_region *r, const fake_block *block) {
    if ((r->access & FAKE_HOST) == 0)
        fake_misuse(function, "%s is memory of the host where a device's belongs", name_of(r->at));
    if (fake_is_pinned_address((const void *)r->at) && block == NULL)
        fake_misuse(function, "%p is no address that was ever given out", (void *)r->at);
}

void fake_region_check_bounds(const char *function, const fake_region *r) {
    if (count_runs(r) == 0) return;
    const fake_block *block = fake_block_below(r->at);
    if (!fake_is_device_address((const void *)r->at)) {
        check_host(function, r, block);
        if (block == NULL) return;
    } else if (block == NULL) {
        fake_misuse(function, "%p is a device's address that was never given out", (void *)r->at);
    }
    if (!block->alive && r->at - block->at < block->span) fake_misuse(function, "%s was freed before", name_of(r->at));
    const size_t offset = r->at - block->at, bytes = fake_region_end(r) - r->at;
    if (offset > block->bytes || bytes > block->bytes - offset)
        fake_misuse(function, "%s: %zu bytes from there on run past the end of its %zu bytes", name_of(r->at), bytes,
                    block->bytes);
    if (block->pinned) return;
    if (block->device != fake_current_device())
        fake_misuse(function, "%s is memory of device %d, and the current one is %d", name_of(r->at), block->device,
                    fake_current_device());
    if ((r->access & FAKE_HOST) == 0 && r->at % sizeof(float) != 0)
        fake_misuse(function, "%s is not aligned for floats", name_of(r->at));
}

static const uint8_t *first_unlike(const uint8_t *p, size_t n, uint8_t value) {
    static const size_t STEP = 4096;
    if (n == 0) return NULL;
    while (n > STEP && p[0] == value && memcmp(p, p + 1, STEP) == 0) p += STEP, n -= STEP;
    for (size_t i = 0; i < n; i++)
        if (p[i] != value) return &p[i];
    return NULL;
}

static size_t n_fates(uintptr_t at, size_t bytes) {
    return (at % 4 + bytes + 3) / 4;
}

void fake_region_check_written(const char *function, const fake_region *r) {
    if (!fake_is_device_address((const void *)r->at)) return;
    for (size_t i = 0; i < count_runs(r); i++) {
        const uintptr_t at = run_at(r, i);
        const uint8_t *fates = fake_fates(at), *bad = first_unlike(fates, n_fates(at, r->run), FAKE_WRITTEN);
        if (bad == NULL) continue;
        fake_misuse(function, "reads %s, which %s", name_of(at / 4 * 4 + (size_t)(bad - fates) * 4),
                    *bad == FAKE_SCRIBBLED ? "served as a workspace since it was written" : "was never written");
    }
}

/* A workspace's bytes are no zeros, no ones and no numbers. */
static void scribble(uintptr_t at, size_t bytes) {
    if (first_unlike(fake_fates(at), n_fates(at, bytes), FAKE_SCRIBBLED) == NULL) return;
    memset(fake_bytes((const void *)at), 0xff, bytes);
    memset(fake_fates(at), FAKE_SCRIBBLED, n_fates(at, bytes));
}

void fake_region_mark(const fake_region *r) {
    if (!fake_is_device_address((const void *)r->at)) return;
    for (size_t i = 0; i < count_runs(r); i++) {
        const uintptr_t at = run_at(r, i);
        if (r->access & FAKE_WORKSPACE)
            scribble(at, r->run);
        else if (r->access & FAKE_WRITE)
            memset(fake_fates(at), FAKE_WRITTEN, n_fates(at, r->run));
    }
}
