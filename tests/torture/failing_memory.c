#include "tests/torture/failing_memory.h"

#include <dlfcn.h>
#include <errno.h>
#include <malloc.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* glibc's own, under the names that it keeps for programs with a malloc of their own. */
extern void *__libc_malloc(size_t);
extern void *__libc_calloc(size_t, size_t);
extern void *__libc_realloc(void *, size_t);
extern void *__libc_memalign(size_t, size_t);
extern void __libc_free(void *);

/* A block that was allocated while watching; a linear search over the few that live at a time is quick enough. */
typedef struct block {
    void *at;
    size_t bytes, index;
    const void *caller;
} block;

enum { max_blocks = 1 << 14 };

static struct {
    bool on, lasting, own;
    size_t fail_at;
    failing_memory_report report;
    block blocks[max_blocks];
    size_t n_blocks;
} watch;

void failing_memory_begin(size_t n, bool lasting) {
    watch.on = false;
    watch.own = false;
    watch.report = (failing_memory_report){.n_left = 0};
    watch.n_blocks = 0;
    watch.fail_at = n;
    watch.lasting = lasting;
    watch.on = true;
}

void failing_memory_begin_own(size_t n, bool lasting) {
    failing_memory_begin(n, lasting);
    watch.own = true;
}

/* Set by the linker: where the program's own code lies. */
extern const char __executable_start[], etext[];

/* Whether an allocation is one of those that are looked at. */
static bool is_watched(const void *caller) {
    return watch.on && (!watch.own || ((const char *)caller >= __executable_start && (const char *)caller < etext));
}

/*
 * Asked for by a library that keeps or loses blocks of its own when memory runs out: libcrypto, which finds its
 * algorithms anew when it could not remember them.
 */
static bool is_foreign(const block *b) {
    Dl_info info;
    return dladdr(b->caller, &info) != 0 && info.dli_fname != NULL && strstr(info.dli_fname, "/libcrypto.so") != NULL;
}

failing_memory_report failing_memory_end(void) {
    watch.on = false;
    for (size_t i = 0; i < watch.n_blocks; i++) {
        if (watch.report.n_failed > 0 && is_foreign(&watch.blocks[i])) {
            watch.report.n_foreign++;
            continue;
        }
        watch.report.n_left++;
        watch.report.left_bytes += watch.blocks[i].bytes;
        if (watch.report.first_left == 0 || watch.blocks[i].index < watch.report.first_left)
            watch.report.first_left = watch.blocks[i].index;
    }
    return watch.report;
}

static bool must_fail(const void *caller) {
    if (!is_watched(caller)) return false;
    const size_t n = ++watch.report.n_allocations;
    if (watch.fail_at == 0 || n < watch.fail_at || (n > watch.fail_at && !watch.lasting)) return false;
    watch.report.n_failed++;
    errno = ENOMEM;
    return true;
}

static void *watched(void *at, size_t bytes, const void *caller) {
    if (!is_watched(caller) || at == NULL) return at;
    if (watch.n_blocks == max_blocks) {
        static const char text[] = "failing_memory: more blocks than can be watched\n";
        if (write(STDERR_FILENO, text, sizeof text - 1) < 0) _exit(3);
        _exit(2);
    }
    watch.blocks[watch.n_blocks++] = (block){at, bytes, watch.report.n_allocations, caller};
    return at;
}

static void forget(const void *at) {
    if (!watch.on) return;
    for (size_t i = watch.n_blocks; i-- > 0;) {
        if (watch.blocks[i].at != at) continue;
        watch.blocks[i] = watch.blocks[--watch.n_blocks];
        return;
    }
}

/* ---- what the program and its libraries call -------------------------------------------------------------- */

/* Seen by the libraries, whatever the program hides otherwise. */
#pragma GCC visibility push(default)

#define CALLER __builtin_return_address(0)

void *malloc(size_t bytes) {
    return must_fail(CALLER) ? NULL : watched(__libc_malloc(bytes), bytes, CALLER);
}

void *calloc(size_t n, size_t bytes) {
    return must_fail(CALLER) ? NULL : watched(__libc_calloc(n, bytes), n * bytes, CALLER);
}

static void *resize(void *old, size_t bytes, const void *caller) {
    if (must_fail(caller)) return NULL;
    void *at = __libc_realloc(old, bytes);
    if (at == NULL && bytes > 0) return NULL;
    forget(old);
    return watched(at, bytes, caller);
}

void *realloc(void *old, size_t bytes) {
    return resize(old, bytes, CALLER);
}

void *reallocarray(void *old, size_t n, size_t bytes) {
    size_t total;
    if (__builtin_mul_overflow(n, bytes, &total)) {
        errno = ENOMEM;
        return NULL;
    }
    return resize(old, total, CALLER);
}

void *memalign(size_t alignment, size_t bytes) {
    return must_fail(CALLER) ? NULL : watched(__libc_memalign(alignment, bytes), bytes, CALLER);
}

void *aligned_alloc(size_t alignment, size_t bytes) {
    return must_fail(CALLER) ? NULL : watched(__libc_memalign(alignment, bytes), bytes, CALLER);
}

int posix_memalign(void **out, size_t alignment, size_t bytes) {
    void *at = must_fail(CALLER) ? NULL : watched(__libc_memalign(alignment, bytes), bytes, CALLER);
    if (at == NULL) return ENOMEM;
    *out = at;
    return 0;
}

void free(void *at) {
    if (at == NULL) return;
    const int kept = errno;
    forget(at);
    __libc_free(at);
    errno = kept;
}

#pragma GCC visibility pop
