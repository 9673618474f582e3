/* Memory on pages of 2 MiB instead of 4 KiB. */
#ifndef ANX_SRC_BASE_HUGE_PAGES_H
#define ANX_SRC_BASE_HUGE_PAGES_H

#include <stddef.h>
#include <sys/mman.h>

/* The kernel gives huge pages at multiples of their size alone. */
static const size_t anx_huge_page_bytes = (size_t)2 << 20;

/*
 * Asks for huge pages from data on, which such a page begins at: whole ones only, so that none costs memory that is not
 * used. Advice: nothing is lost where it is not taken.
 */
static inline void anx_use_huge_pages(void *data, size_t bytes) {
    const size_t whole = bytes / anx_huge_page_bytes * anx_huge_page_bytes;
    if (whole > 0) (void)madvise(data, whole, MADV_HUGEPAGE);
}

#endif
