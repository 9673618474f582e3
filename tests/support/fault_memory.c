/*
 * Loaded before a command (LD_PRELOAD), lets one of its allocations fail: those that its own code asks for are counted,
 * not those of the libraries that it uses. Not beside sanitizers, which have a malloc of their own.
 *
 * ANX_FAULT_AT: which allocation, from 1. ANX_FAULT_COUNT: a file into which their number goes at the end.
 */
#include <errno.h>
#include <link.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* glibc's own, under the names that it keeps for programs with a malloc of their own. */
extern void *__libc_malloc(size_t n);
extern void *__libc_calloc(size_t n, size_t size);
extern void *__libc_realloc(void *block, size_t n);
extern void *__libc_memalign(size_t alignment, size_t n);

/* The project hides what is not said to be visible. */
#pragma GCC visibility push(default)
void *malloc(size_t n);
void *calloc(size_t n, size_t size);
void *realloc(void *block, size_t n);
void *reallocarray(void *block, size_t n, size_t size);
void *aligned_alloc(size_t alignment, size_t n);
int posix_memalign(void **out, size_t alignment, size_t n);
char *strdup(const char *text);
char *strndup(const char *text, size_t most);
#pragma GCC visibility pop

static atomic_long calls;
static long fault_at;
static const char *count_path;
static uintptr_t first, last; /* where the command's own code lies */

/* The first object is the program itself. */
static int find_program(struct dl_phdr_info *info, size_t size, void *context) {
    (void)size;
    (void)context;
    for (int i = 0; i < info->dlpi_phnum; i++) {
        const ElfW(Phdr) *header = &info->dlpi_phdr[i];
        if (header->p_type != PT_LOAD || (header->p_flags & PF_X) == 0) continue;
        first = (uintptr_t)(info->dlpi_addr + header->p_vaddr);
        last = first + (uintptr_t)header->p_memsz;
    }
    return 1;
}

__attribute__((constructor)) static void begin(void) {
    const char *at = getenv("ANX_FAULT_AT");
    count_path = getenv("ANX_FAULT_COUNT");
    fault_at = at != NULL ? atol(at) : 0;
    dl_iterate_phdr(find_program, NULL);
}

__attribute__((destructor)) static void end(void) {
    const long counted = calls;
    FILE *f = count_path != NULL ? fopen(count_path, "w") : NULL;
    if (f == NULL) return;
    fprintf(f, "%ld\n", counted);
    fclose(f);
}

static int fails(const void *caller) {
    const uintptr_t at = (uintptr_t)caller;
    if (at < first || at >= last || atomic_fetch_add(&calls, 1) + 1 != fault_at) return 0;
    errno = ENOMEM;
    return 1;
}

#define FAILS() fails(__builtin_return_address(0))

void *malloc(size_t n) {
    return FAILS() ? NULL : __libc_malloc(n);
}

void *calloc(size_t n, size_t size) {
    return FAILS() ? NULL : __libc_calloc(n, size);
}

void *realloc(void *block, size_t n) {
    return FAILS() ? NULL : __libc_realloc(block, n);
}

void *reallocarray(void *block, size_t n, size_t size) {
    size_t bytes;
    if (FAILS() || __builtin_mul_overflow(n, size, &bytes)) return NULL;
    return __libc_realloc(block, bytes);
}

void *aligned_alloc(size_t alignment, size_t n) {
    return FAILS() ? NULL : __libc_memalign(alignment, n);
}

int posix_memalign(void **out, size_t alignment, size_t n) {
    void *block = FAILS() ? NULL : __libc_memalign(alignment, n);
    if (block == NULL) return ENOMEM;
    *out = block;
    return 0;
}

/* These ask malloc themselves, from within the C library. */
char *strdup(const char *text) {
    const size_t n = strlen(text) + 1;
    char *copy = FAILS() ? NULL : __libc_malloc(n);
    return copy != NULL ? memcpy(copy, text, n) : NULL;
}

char *strndup(const char *text, size_t most) {
    const size_t n = strnlen(text, most);
    char *copy = FAILS() ? NULL : __libc_malloc(n + 1);
    if (copy == NULL) return NULL;
    memcpy(copy, text, n);
    copy[n] = '\0';
    return copy;
}
