/*
 * Placing buffers that live at different times into one block of memory.
 */
#ifndef ANX_SRC_BACKEND_MEMORY_PLAN_H
#define ANX_SRC_BACKEND_MEMORY_PLAN_H

#include <stdbool.h>
#include <stddef.h>

/* Alive from step `first` to step `last`, both included; two buffers share bytes only where these do not meet. */
typedef struct anx_buffer {
    size_t bytes;
    int first, last;
    size_t offset; /* out: from the block's start, a multiple of the alignment */
} anx_buffer;

/*
 * Sets every offset and *total_bytes, the size of the block. Largest first, each into the lowest gap that is free
 * while it lives ("greedy by size", Pisarchyk and Lee, "Efficient memory management for deep neural net inference",
 * 2020). align is a power of two. False where the sum overflows; nothing is set then. O(n^2) time, n bits of memory.
 */
bool anx_memory_plan(anx_buffer *buffers, int n, size_t align, size_t *total_bytes);

#endif
