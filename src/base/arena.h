/*
 * An arena: many small allocations released together. What is parsed from a file lives in one, so that a malformed
 * file has nothing to leak, and its limit bounds what a hostile one can make us allocate.
 */
#ifndef ANX_SRC_BASE_ARENA_H
#define ANX_SRC_BASE_ARENA_H

#include <stddef.h>

typedef struct anx_arena {
    struct anx_arena_block *blocks;
    size_t used_bytes;  /* handed out so far */
    size_t limit_bytes; /* no allocation goes beyond; 0: no limit */
} anx_arena;

#define ANX_ARENA_INIT                                                                                                 \
    { .blocks = NULL, .used_bytes = 0, .limit_bytes = 0 }

/*
 * n * size bytes of zeros, aligned for any type, valid until anx_arena_fini; a valid pointer even for 0 bytes.
 * NULL when memory, the limit or the product is exceeded.
 */
void *anx_arena_alloc(anx_arena *arena, size_t n, size_t size);
/* A copy of n bytes with a terminating NUL; NULL as above. */
char *anx_arena_text(anx_arena *arena, const void *bytes, size_t n);
void anx_arena_fini(anx_arena *arena);

#endif
