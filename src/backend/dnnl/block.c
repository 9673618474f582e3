#include "src/backend/dnnl/block.h"

#include "src/base/checked.h"
#include "src/base/huge_pages.h"

anx_status anx_dnnl_block_init(anx_dnnl_block *out, size_t bytes, anx_error *err) {
    size_t mapped = 0;
    /* What lies before the first multiple of their size, and behind the block, is never touched. */
    if (!anx_checked_add_size(bytes > 0 ? bytes : 1, anx_huge_page_bytes, &mapped))
        return anx_error_set(err, ANX_ERR_OUT_OF_MEMORY, "out of memory for a block of %zu bytes", bytes);
    char *mapping = mmap(NULL, mapped, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (mapping == MAP_FAILED)
        return anx_error_set(err, ANX_ERR_OUT_OF_MEMORY, "out of memory for a block of %zu bytes", bytes);
    const size_t misaligned = (size_t)mapping % anx_huge_page_bytes;
    char *data = misaligned > 0 ? mapping + (anx_huge_page_bytes - misaligned) : mapping;
    anx_use_huge_pages(data, bytes);
    *out = (anx_dnnl_block){.data = data, .mapping = mapping, .mapping_bytes = mapped};
    return ANX_OK;
}

void anx_dnnl_block_fini(anx_dnnl_block *block) {
    if (block->mapping != NULL) munmap(block->mapping, block->mapping_bytes);
    *block = (anx_dnnl_block){.data = NULL};
}
