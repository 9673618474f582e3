/*
 * An arena: many small allocations released together. What is parsed from a file lives in one, so that a malformed
 * file has nothing to leak, and its limit bounds what a hostile one can make us allocate.
 */
#ifndef ANX_SRC_BASE_ARENA_H
#define ANX_SRC_BASE_ARENA_H

#include "src/base/status.h"

typedef struct anx_arena {
    struct anx_arena_block *blocks;
    size_t used_bytes;  /* handed out so far, and charged */
    size_t limit_bytes; /* no allocation goes beyond; 0: no limit */
    bool over_limit;    /* something was refused because of the limit, not for want of memory */
} anx_arena;

#define ANX_ARENA_INIT                                                                                                 \
    { .blocks = NULL, .used_bytes = 0, .limit_bytes = 0, .over_limit = false }

/*
 * n * size bytes of zeros, aligned for any type, valid until anx_arena_fini; a valid pointer even for 0 bytes.
 * NULL when memory, the limit or the product is exceeded.
 */
void *anx_arena_alloc(anx_arena *arena, size_t n, size_t size);
/* A copy of n bytes with a terminating NUL; NULL as above. */
char *anx_arena_text(anx_arena *arena, const void *bytes, size_t n);
/*
 * Counts memory that is held elsewhere for the same purpose (a parser's stack) towards the limit, until it is
 * discharged. False where that would exceed it.
 */
bool anx_arena_charge(anx_arena *arena, size_t bytes);
void anx_arena_discharge(anx_arena *arena, size_t bytes);
/* Why the arena handed out NULL: LIMIT, or OUT_OF_MEMORY. Returns the status that it sets. */
anx_status anx_arena_error(const anx_arena *arena, anx_error *err);
void anx_arena_fini(anx_arena *arena);

#endif
