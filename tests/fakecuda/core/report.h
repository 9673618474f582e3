/* How the double says what it found. */
#ifndef ANX_TESTS_FAKECUDA_CORE_REPORT_H
#define ANX_TESTS_FAKECUDA_CORE_REPORT_H

#include "tests/fakecuda/core/export.h"

enum { FAKE_EXIT_MISUSE = 86, FAKE_EXIT_LEAK = 87 };

/* "fakecuda: FUNCTION: SENTENCE" on stderr, and the process ends. */
FAKE_EXPORT _Noreturn void fake_misuse(const char *function, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/*
 * The stable name of whatever a pointer is: "dev3+128", "pin1+0", "stream1", "tensor4", "null", "host". In a ring of
 * buffers of the calling thread.
 */
FAKE_EXPORT const char *fake_name(const void *p);

#endif
