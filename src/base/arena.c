#include "src/base/arena.h"

#include <stdalign.h>
#include <stdlib.h>
#include <string.h>

#include "src/base/checked.h"

enum { first_block_bytes = 4096, max_block_bytes = 1 << 20 };

struct anx_arena_block {
    struct anx_arena_block *next;
    size_t used, capacity;
    alignas(max_align_t) unsigned char bytes[];
};

/* Blocks double up to 1 MiB; a request larger than that gets a block of its own. */
static struct anx_arena_block *add_block(anx_arena *arena, size_t bytes) {
    size_t capacity = arena->blocks == NULL ? first_block_bytes : arena->blocks->capacity * 2;
    if (capacity > max_block_bytes) capacity = max_block_bytes;
    if (capacity < bytes) capacity = bytes;
    size_t total;
    if (!anx_checked_add_size(capacity, sizeof(struct anx_arena_block), &total)) return NULL;
    struct anx_arena_block *block = calloc(1, total);
    if (block == NULL) return NULL;
    block->next = arena->blocks;
    block->capacity = capacity;
    arena->blocks = block;
    return block;
}

void *anx_arena_alloc(anx_arena *arena, size_t n, size_t size) {
    size_t bytes;
    if (!anx_checked_mul_size(n, size, &bytes) || !anx_checked_align_size(bytes, alignof(max_align_t), &bytes)) {
        arena->over_limit = arena->limit_bytes != 0;
        return NULL;
    }
    if (!anx_arena_charge(arena, bytes)) return NULL;
    struct anx_arena_block *block = arena->blocks;
    if (block == NULL || block->capacity - block->used < bytes) {
        block = add_block(arena, bytes);
        if (block == NULL) {
            anx_arena_discharge(arena, bytes);
            return NULL;
        }
    }
    void *p = block->bytes + block->used;
    block->used += bytes;
    return p;
}

bool anx_arena_charge(anx_arena *arena, size_t bytes) {
    size_t used;
    const bool fits = anx_checked_add_size(arena->used_bytes, bytes, &used) &&
                      (arena->limit_bytes == 0 || used <= arena->limit_bytes);
    if (fits)
        arena->used_bytes = used;
    else
        arena->over_limit = arena->limit_bytes != 0;
    return fits;
}

void anx_arena_discharge(anx_arena *arena, size_t bytes) {
    arena->used_bytes -= bytes;
}

anx_status anx_arena_error(const anx_arena *arena, anx_error *err) {
    if (!arena->over_limit) return anx_error_set(err, ANX_ERR_OUT_OF_MEMORY, "out of memory");
    return anx_error_set(err, ANX_ERR_LIMIT, "what it describes needs more than %zu bytes of memory, the limit here",
                         arena->limit_bytes);
}

char *anx_arena_text(anx_arena *arena, const void *bytes, size_t n) {
    size_t with_nul;
    if (!anx_checked_add_size(n, 1, &with_nul)) return NULL;
    char *text = anx_arena_alloc(arena, with_nul, 1);
    if (text != NULL && n > 0) memcpy(text, bytes, n);
    return text;
}

void anx_arena_fini(anx_arena *arena) {
    if (arena == NULL) return;
    for (struct anx_arena_block *block = arena->blocks; block != NULL;) {
        struct anx_arena_block *next = block->next;
        free(block);
        block = next;
    }
    arena->blocks = NULL;
    arena->used_bytes = 0;
    arena->over_limit = false;
}
