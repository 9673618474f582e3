#include "tests/fakecuda/core/memory.h"

#include <string.h>
#include <sys/mman.h>

#include "tests/fakecuda/core/options.h"
#include "tests/fakecuda/core/report.h"

enum { PAGE = 4096, GAP = 4 * PAGE, FIRST = 2 << 20, MAX_BLOCKS = 1 << 20 };

/* A span of addresses, given out from the bottom up. */
typedef struct space {
    uintptr_t base;
    size_t size, next;
    fake_block *blocks; /* sorted by address, for they only grow; never moved: a signal handler reads them */
    size_t n_blocks;
    size_t used;
} space;

static space spaces[FAKE_MAX_DEVICES + 1]; /* the last is that of pinned memory */
static space *const pinned_space = &spaces[FAKE_MAX_DEVICES];
static uintptr_t device_base, shadow_base, fate_base;
static size_t device_span;
static int n_dev, n_pin;

/* ---- address space ------------------------------------------------------------------------------------------ */

static void *reserve(size_t bytes, int protection) {
    void *p = mmap(NULL, bytes, protection, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    return p != MAP_FAILED ? p : NULL;
}

static void give_back(void *p, size_t bytes) {
    if (p != NULL) munmap(p, bytes);
}

static bool reserve_spans(size_t span) {
    void *device = reserve(span, PROT_NONE), *shadow = reserve(span, PROT_NONE), *fate = reserve(span / 4, PROT_NONE);
    void *pinned = reserve(span / 4, PROT_NONE);
    if (device != NULL && shadow != NULL && fate != NULL && pinned != NULL) {
        device_base = (uintptr_t)device;
        shadow_base = (uintptr_t)shadow;
        fate_base = (uintptr_t)fate;
        device_span = span;
        pinned_space->base = (uintptr_t)pinned;
        pinned_space->size = span / 4;
        return true;
    }
    give_back(device, span);
    give_back(shadow, span);
    give_back(fate, span / 4);
    give_back(pinned, span / 4);
    return false;
}

static void reserve_blocks(space *s) {
    s->next = FIRST; /* so that what lies before the first allocation is known as a device's, too */
    s->blocks = reserve(MAX_BLOCKS * sizeof *s->blocks, PROT_READ | PROT_WRITE);
    if (s->blocks == NULL) fake_misuse("start", "no address space for the table of allocations");
}

void fake_memory_start(void) {
    size_t span = (size_t)1 << 40;
    while (!reserve_spans(span)) {
        span /= 2; /* less under a limit */
        if (span < (size_t)64 << 20) fake_misuse("start", "no address space");
    }
    const int devices = fake_option.devices > 0 ? fake_option.devices : 1;
    const size_t each = span / (size_t)devices / PAGE * PAGE;
    for (int i = 0; i < devices; i++) {
        spaces[i].base = device_base + (size_t)i * each;
        spaces[i].size = each;
        reserve_blocks(&spaces[i]);
    }
    reserve_blocks(pinned_space);
}

/* ---- which is it ---------------------------------------------------------------------------------------------- */

bool fake_is_device_address(const void *p) {
    return (uintptr_t)p - device_base < device_span;
}

bool fake_is_pinned_address(const void *p) {
    return (uintptr_t)p - pinned_space->base < pinned_space->size;
}

static space *space_of(uintptr_t address) {
    if (fake_is_pinned_address((const void *)address)) return pinned_space;
    if (!fake_is_device_address((const void *)address)) return NULL;
    const size_t device = (address - device_base) / spaces[0].size;
    return device < FAKE_MAX_DEVICES && spaces[device].size != 0 ? &spaces[device] : NULL;
}

fake_block *fake_block_below(uintptr_t address) {
    space *s = space_of(address);
    if (s == NULL || s->n_blocks == 0 || s->blocks[0].at > address) return NULL;
    size_t low = 0, high = s->n_blocks; /* the answer is in [low, high) */
    while (high - low > 1) {
        const size_t middle = low + (high - low) / 2;
        if (s->blocks[middle].at <= address)
            low = middle;
        else
            high = middle;
    }
    return &s->blocks[low];
}

fake_block *fake_block_of(const void *p) {
    fake_block *block = fake_block_below((uintptr_t)p);
    return block != NULL && (uintptr_t)p - block->at < block->bytes ? block : NULL;
}

void *fake_bytes(const void *p) {
    if (!fake_is_device_address(p)) return (void *)(uintptr_t)p;
    return (void *)(shadow_base + ((uintptr_t)p - device_base));
}

uint8_t *fake_fates(uintptr_t address) {
    return (uint8_t *)(fate_base + (address - device_base) / 4);
}

/* ---- allocation ----------------------------------------------------------------------------------------------- */

static void protect(uintptr_t at, size_t bytes, int protection) {
    if (mprotect((void *)at, bytes, protection) != 0)
        fake_misuse("start", "the kernel gives no more memory mappings: too many allocations at once");
}

/* The pages of the record that belong to an allocation; neighbours share one at each end. */
static void open_fates(uintptr_t at, size_t span) {
    const uintptr_t first = (uintptr_t)fake_fates(at) / PAGE * PAGE;
    const uintptr_t end = ((uintptr_t)fake_fates(at + span) + PAGE - 1) / PAGE * PAGE;
    protect(first, end - first, PROT_READ | PROT_WRITE);
}

fake_block *fake_block_allocate(int device, bool pinned, size_t bytes) {
    space *s = pinned ? pinned_space : &spaces[device];
    if (bytes > s->size) return NULL;
    const size_t span = (bytes + PAGE - 1) / PAGE * PAGE;
    if (s->next + span + GAP > s->size) return NULL;
    if (!pinned && (span > fake_option.memory || s->used > fake_option.memory - span)) return NULL;
    if (s->n_blocks == MAX_BLOCKS) fake_misuse("start", "more than %d allocations", (int)MAX_BLOCKS);
    fake_block *block = &s->blocks[s->n_blocks];
    *block = (fake_block){s->base + s->next, bytes, span, pinned ? ++n_pin : ++n_dev, device, pinned, true};
    if (pinned) {
        protect(block->at, span, PROT_READ | PROT_WRITE);
        memset((void *)block->at, 0xff, bytes);
    } else {
        protect((uintptr_t)fake_bytes((const void *)block->at), span, PROT_READ | PROT_WRITE);
        open_fates(block->at, span);
    }
    s->n_blocks++;
    s->next += span + GAP;
    s->used += span;
    return block;
}

void fake_block_free(fake_block *block) {
    const uintptr_t bytes = (uintptr_t)fake_bytes((const void *)block->at);
    madvise((void *)bytes, block->span, MADV_DONTNEED);
    protect(bytes, block->span, PROT_NONE);
    block->alive = false;
    space_of(block->at)->used -= block->span;
    if (block->pinned) return;
    /* Whole pages of the record alone: those at the ends may be a neighbour's too. */
    const uintptr_t first = ((uintptr_t)fake_fates(block->at) + PAGE - 1) / PAGE * PAGE;
    const uintptr_t end = (uintptr_t)fake_fates(block->at + block->span) / PAGE * PAGE;
    if (end > first) madvise((void *)first, end - first, MADV_DONTNEED);
}

size_t fake_memory_used(int device) {
    return spaces[device].used;
}

void fake_memory_leaks(void (*each)(const fake_block *block)) {
    for (size_t i = 0; i < sizeof spaces / sizeof spaces[0]; i++)
        for (size_t k = 0; k < spaces[i].n_blocks; k++)
            if (spaces[i].blocks[k].alive) each(&spaces[i].blocks[k]);
}
