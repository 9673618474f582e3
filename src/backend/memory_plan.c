#include "src/backend/memory_plan.h"

#include "src/base/checked.h"

static bool lifetimes_meet(const anx_buffer *a, const anx_buffer *b) {
    return a->first <= b->last && b->first <= a->last;
}

/* Whether i is placed before j: larger first, in the order given where equal. */
static bool placed_before(const anx_buffer *buffers, int i, int j) {
    return buffers[i].bytes > buffers[j].bytes || (buffers[i].bytes == buffers[j].bytes && i < j);
}

/* The lowest offset at or above `from` where buffer i overlaps nothing placed before it and alive with it. */
static size_t lowest_gap(const anx_buffer *buffers, int n, int i, size_t align) {
    size_t offset = 0;
    for (bool moved = true; moved;) {
        moved = false;
        for (int j = 0; j < n; j++) {
            const anx_buffer *other = &buffers[j];
            if (j == i || other->bytes == 0 || !placed_before(buffers, j, i) || !lifetimes_meet(other, &buffers[i]))
                continue;
            if (offset < other->offset + other->bytes && other->offset < offset + buffers[i].bytes) {
                offset = (other->offset + other->bytes + align - 1) & ~(align - 1);
                moved = true;
            }
        }
    }
    return offset;
}

/* The next buffer in order of placement after `previous` (-1: the first); -1 past the end. */
static int next_to_place(const anx_buffer *buffers, int n, int previous) {
    int best = -1;
    for (int i = 0; i < n; i++)
        if (i != previous && (previous < 0 || placed_before(buffers, previous, i)) &&
            (best < 0 || placed_before(buffers, i, best)))
            best = i;
    return best;
}

bool anx_memory_plan(anx_buffer *buffers, int n, size_t align, size_t *total_bytes) {
    /* No offset can exceed the sum of all sizes rounded up, so nothing below overflows where that does not. */
    size_t sum = 0;
    for (int i = 0; i < n; i++) {
        size_t rounded = 0;
        if (!anx_checked_align_size(buffers[i].bytes, align, &rounded) || !anx_checked_add_size(sum, rounded, &sum))
            return false;
    }
    size_t total = 0;
    for (int i = next_to_place(buffers, n, -1); i >= 0; i = next_to_place(buffers, n, i)) {
        buffers[i].offset = lowest_gap(buffers, n, i, align);
        if (buffers[i].offset + buffers[i].bytes > total) total = buffers[i].offset + buffers[i].bytes;
    }
    *total_bytes = total;
    return true;
}
