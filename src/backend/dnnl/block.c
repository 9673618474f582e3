#include "src/backend/dnnl/block.h"

#include <sys/mman.h>

#include "src/base/checked.h"

static const size_t huge_page_bytes = (size_t)2 << 20;

anx_status anx_dnnl_block_init(anx_dnnl_block *out, size_t bytes, anx_error *err) {
    size_t mapped = 0;
    /* The kernel gives huge pages at multiples of their size alone; the rest of the mapping is never touched. */
    if (!anx_checked_add_size(bytes > 0 ? bytes : 1, huge_page_bytes, &mapped))
        return anx_error_set(err, ANX_ERR_OUT_OF_MEMORY, "out of memory for a block of %zu bytes", bytes);
    char *mapping = mmap(NULL, mapped, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (mapping == MAP_FAILED)
        return anx_error_set(err, ANX_ERR_OUT_OF_MEMORY, "out of memory for a block of %zu bytes", bytes);
    const size_t misaligned = (size_t)mapping % huge_page_bytes;
    char *data = misaligned > 0 ? mapping + (huge_page_bytes - misaligned) : mapping;
    /* Whole pages only, so that a small block does not cost 2 MiB. Advice: nothing is lost where it is not taken. */
    const size_t whole = bytes / huge_page_bytes * huge_page_bytes;
    if (whole > 0) (void)madvise(data, whole, MADV_HUGEPAGE);
    *out = (anx_dnnl_block){.data = data, .mapping = mapping, .mapping_bytes = mapped};
    return ANX_OK;
}

void anx_dnnl_block_fini(anx_dnnl_block *block) {
    if (block->mapping != NULL) munmap(block->mapping, block->mapping_bytes);
    *block = (anx_dnnl_block){.data = NULL};
}
