/*
 * What every suite shares: a main that runs one CUnit suite and turns its outcome into an exit status, and a few
 * assertions that say more than CUnit's.
 */
#ifndef ANX_TESTS_SUPPORT_ANX_TEST_H
#define ANX_TESTS_SUPPORT_ANX_TEST_H

#include <CUnit/CUnit.h>
#include <stddef.h>

#include "src/base/status.h"

enum { ANX_TEST_SKIP = 77 };

typedef struct anx_test {
    const char *name; /* the behaviour it holds, as a sentence with underscores or spaces */
    void (*run)(void);
} anx_test;

/*
 * Runs the tests (ended by a row of NULLs) and returns 0 if all passed, 1 if one failed, 2 if CUnit could not run.
 * With arguments, only the tests whose name contains one of them. Prints failures with file and line.
 */
int anx_test_main(const char *suite, const anx_test *tests, int argc, char **argv);

/* Prints the reason and exits 77 (a skip; an error where the environment demands that nothing is skipped). */
void anx_test_skip(const char *reason) __attribute__((noreturn));

/* A folder for this process's files, made at first use and removed at exit. */
const char *anx_test_tmpdir(void);
/* tmpdir/name in a static ring of buffers. */
const char *anx_test_path(const char *name);

void anx_test_check_status(anx_status expected, anx_status got, const anx_error *err, const char *file, int line);
void anx_test_check_message(const char *expected_part, const anx_error *err, const char *file, int line);

/* The file's SHA-256 is this, in hexadecimal. */
void anx_test_check_file_digest(const char *path, const char *expected);

/* The status is OK; prints the error otherwise. */
#define ANX_CHECK_OK(expr, err) anx_test_check_status(ANX_OK, (expr), (err), __FILE__, __LINE__)
#define ANX_CHECK_STATUS(expected, expr, err) anx_test_check_status((expected), (expr), (err), __FILE__, __LINE__)
/* The formatted error (anx_error_format) contains the text. */
#define ANX_CHECK_MESSAGE(part, err) anx_test_check_message((part), (err), __FILE__, __LINE__)

#endif
