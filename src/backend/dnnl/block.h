/* Large blocks of memory on huge pages. */
#ifndef ANX_SRC_BACKEND_DNNL_BLOCK_H
#define ANX_SRC_BACKEND_DNNL_BLOCK_H

#include "src/base/status.h"

typedef struct anx_dnnl_block {
    void *data; /* 64-byte aligned, zeros at first */
    void *mapping;
    size_t mapping_bytes;
} anx_dnnl_block;

/*
 * Reading weights from 2 MiB pages spares the processor most of its address translation, and getting them spares the
 * kernel 511 of 512 page faults. bytes may be 0. Errors: OUT_OF_MEMORY. Released with anx_dnnl_block_fini.
 */
anx_status anx_dnnl_block_init(anx_dnnl_block *out, size_t bytes, anx_error *err);
/* Safe on a block of zeros. */
void anx_dnnl_block_fini(anx_dnnl_block *block);

#endif
