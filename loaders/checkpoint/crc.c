#include "loaders/checkpoint/crc.h"

#include <stdlib.h>
#include <zlib.h>

enum { chunk_bytes = 1 << 20 };

static size_t chunk_count(const anx_crc_block *b) {
    return b->n_bytes / chunk_bytes + (b->n_bytes % chunk_bytes != 0);
}

static size_t chunk_length(const anx_crc_block *b, size_t chunk) {
    const size_t left = b->n_bytes - chunk * chunk_bytes;
    return left < chunk_bytes ? left : chunk_bytes;
}

/* A piece of a block: the blocks are cut so that threads share the large ones too. */
typedef struct chunk {
    const anx_crc_block *block;
    size_t index;
    uint32_t crc;
} chunk;

static void sum(chunk *c) {
    const Bytef *data = (const Bytef *)c->block->data + c->index * chunk_bytes;
    c->crc = (uint32_t)crc32_z(crc32(0, NULL, 0), data, chunk_length(c->block, c->index));
}

/* Few are not worth the threads, nor the memory for a team, without which the OpenMP runtime ends the process. */
static void sum_all(chunk *chunks, size_t n, int threads) {
    if (n <= 8 || threads <= 1) {
        for (size_t i = 0; i < n; i++) sum(&chunks[i]);
        return;
    }
#pragma omp parallel for schedule(dynamic, 4) num_threads(threads)
    for (size_t i = 0; i < n; i++) sum(&chunks[i]);
}

static uint32_t combine(const anx_crc_block *b, const chunk *chunks) {
    uLong crc = crc32(0, NULL, 0);
    for (size_t i = 0; i < chunk_count(b); i++) crc = crc32_combine(crc, chunks[i].crc, (z_off_t)chunk_length(b, i));
    return (uint32_t)crc;
}

anx_status anx_crc_blocks(anx_crc_block *blocks, size_t n, int threads, anx_error *err) {
    size_t n_chunks = 0;
    for (size_t i = 0; i < n; i++) n_chunks += chunk_count(&blocks[i]);
    chunk *chunks = calloc(n_chunks + 1, sizeof *chunks);
    if (chunks == NULL) return anx_error_set(err, ANX_ERR_OUT_OF_MEMORY, "out of memory");
    n_chunks = 0;
    for (size_t i = 0; i < n; i++)
        for (size_t k = 0; k < chunk_count(&blocks[i]); k++)
            chunks[n_chunks++] = (chunk){.block = &blocks[i], .index = k};
    sum_all(chunks, n_chunks, threads);
    const chunk *first = chunks;
    for (size_t i = 0; i < n; i++) {
        blocks[i].crc = combine(&blocks[i], first);
        first += chunk_count(&blocks[i]);
    }
    free(chunks);
    return ANX_OK;
}
