/*
 * The program's own malloc and its kin, over glibc's: what the libraries allocate goes through it too. Allocations can
 * be made to fail, and blocks that are not freed are counted. For programs of one thread, and not with sanitizers,
 * which bring their own.
 */
#ifndef ANX_TESTS_TORTURE_FAILING_MEMORY_H
#define ANX_TESTS_TORTURE_FAILING_MEMORY_H

#include <stdbool.h>
#include <stddef.h>

/* From now on blocks are watched, and the n-th allocation (from 1) fails; `lasting`: all after it too. n 0: none. */
void failing_memory_begin(size_t n, bool lasting);
/* The same for allocations of the program itself alone, which libraries' are not: of libraries in C++, say, that end a
   process without memory, or keep what they compiled. */
void failing_memory_begin_own(size_t n, bool lasting);

typedef struct failing_memory_report {
    size_t n_allocations; /* that were asked for */
    size_t n_failed;
    /* Blocks that were allocated in between and not freed; after a failure, without those that libcrypto keeps. */
    size_t n_left, left_bytes;
    size_t first_left; /* which of the allocations the first of them was; 0: none */
    size_t n_foreign;  /* ... which are so many */
} failing_memory_report;

/* Ends it. */
failing_memory_report failing_memory_end(void);

#endif
