/*
 * Memory of devices, and pinned memory of the host.
 *
 * A device's addresses are a span that nobody may touch; the bytes lie in a second span at the same offset, which the
 * double alone knows, and a third holds a byte for every four: what became of them. Addresses are never given twice, so
 * that what was freed, and what lies behind an allocation's end, is told from everything else for good.
 */
#ifndef ANX_TESTS_FAKECUDA_CORE_MEMORY_H
#define ANX_TESTS_FAKECUDA_CORE_MEMORY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "tests/fakecuda/core/export.h"

typedef struct fake_block {
    uintptr_t at;
    size_t bytes; /* asked for */
    size_t span;  /* whole pages */
    int id;       /* dev1, dev2... in the order of allocation; pin1... likewise */
    int device;   /* of pinned memory: the current one when it was allocated */
    bool pinned, alive;
} fake_block;

/* What became of four bytes. */
enum { FAKE_NEVER_WRITTEN = 0, FAKE_WRITTEN, FAKE_SCRIBBLED };

void fake_memory_start(void);

FAKE_EXPORT bool fake_is_device_address(const void *p);
FAKE_EXPORT bool fake_is_pinned_address(const void *p);

/* NULL if that does not fit any more. */
FAKE_EXPORT fake_block *fake_block_allocate(int device, bool pinned, size_t bytes);
FAKE_EXPORT void fake_block_free(fake_block *block);
FAKE_EXPORT size_t fake_memory_used(int device);

/* The allocation, alive or not, with the greatest start that is not above the address; NULL: no such. */
FAKE_EXPORT fake_block *fake_block_below(uintptr_t address);
/* The allocation whose bytes include the address; NULL: none. */
FAKE_EXPORT fake_block *fake_block_of(const void *p);

/* The bytes behind a device's address; any other address as it is. */
FAKE_EXPORT void *fake_bytes(const void *p);
/* The record of what became of a device's bytes: one for every four. */
uint8_t *fake_fates(uintptr_t address);

/* Calls for every allocation that is still there. */
void fake_memory_leaks(void (*each)(const fake_block *block));

#endif
