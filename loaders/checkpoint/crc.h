/* CRC-32s, zlib's, of many blocks of memory at once. */
#ifndef ANX_LOADERS_CHECKPOINT_CRC_H
#define ANX_LOADERS_CHECKPOINT_CRC_H

#include "src/base/status.h"

typedef struct anx_crc_block {
    const void *data;
    size_t n_bytes;
    uint32_t crc; /* what is wanted */
} anx_crc_block;

/* Sets the crc of each block, with up to `threads` threads, which share even a single large block.
   Errors: OUT_OF_MEMORY. */
anx_status anx_crc_blocks(anx_crc_block *blocks, size_t n, int threads, anx_error *err);

#endif
