#include "tests/support/anx_test.h"

#include <CUnit/Basic.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "loaders/file.h"
#include "src/base/sha256.h"

/* AddressSanitizer asks for this: an impossible allocation returns NULL, as it does without it, and does not abort. */
__attribute__((visibility("default"))) const char *__asan_default_options(void);
const char *__asan_default_options(void) {
    return "allocator_may_return_null=1";
}

static char tmpdir[256];

static int remove_entry(const char *path, const struct stat *st, int flag, struct FTW *ftw) {
    (void)st, (void)flag, (void)ftw;
    return remove(path);
}

static void remove_tmpdir(void) {
    if (tmpdir[0] != '\0') nftw(tmpdir, remove_entry, 16, FTW_DEPTH | FTW_PHYS);
}

const char *anx_test_tmpdir(void) {
    if (tmpdir[0] == '\0') {
        const char *base = getenv("TMPDIR");
        snprintf(tmpdir, sizeof tmpdir, "%s/anx-test-XXXXXX", base != NULL && *base != '\0' ? base : "/tmp");
        if (mkdtemp(tmpdir) == NULL) {
            perror(tmpdir);
            exit(2);
        }
        atexit(remove_tmpdir);
    }
    return tmpdir;
}

const char *anx_test_path(const char *name) {
    static char ring[8][512];
    static unsigned next;
    char *path = ring[next++ % 8];
    snprintf(path, sizeof ring[0], "%s/%s", anx_test_tmpdir(), name);
    return path;
}

void anx_test_skip(const char *reason) {
    fprintf(stderr, "SKIPPED: %s\n", reason);
    const char *strict = getenv("ANX_TESTS_NO_SKIP");
    exit(strict != NULL && *strict != '\0' && strcmp(strict, "0") != 0 ? 1 : ANX_TEST_SKIP);
}

static void check(bool good, const char *file, int line, const char *condition) {
    CU_assertImplementation(good ? CU_TRUE : CU_FALSE, (unsigned)line, condition, file, "", CU_FALSE);
}

void anx_test_check_status(anx_status expected, anx_status got, const anx_error *err, const char *file, int line) {
    static char text[20480];
    if (expected == got) {
        check(true, file, line, "");
        return;
    }
    char what[20000] = "";
    if (err != NULL && got != ANX_OK) anx_error_format(err, what, sizeof what);
    snprintf(text, sizeof text, "expected \"%s\", got \"%s\": %s", anx_status_name(expected), anx_status_name(got),
             what);
    check(false, file, line, text);
}

void anx_test_check_message(const char *expected_part, const anx_error *err, const char *file, int line) {
    static char what[20000];
    static char text[41000];
    anx_error_format(err, what, sizeof what);
    const bool good = strstr(what, expected_part) != NULL;
    if (!good) snprintf(text, sizeof text, "expected an error with \"%s\", got \"%s\"", expected_part, what);
    check(good, file, line, good ? "" : text);
}

static bool wanted(const char *name, int argc, char **argv) {
    if (argc <= 1) return true;
    for (int i = 1; i < argc; i++)
        if (strstr(name, argv[i]) != NULL) return true;
    return false;
}

void anx_test_check_file_digest(const char *path, const char *expected) {
    anx_error err = ANX_ERROR_INIT;
    uint8_t *bytes = NULL;
    size_t n_bytes = 0;
    anx_digest digest;
    char hex[ANX_SHA256_HEX] = "";
    ANX_CHECK_OK(anx_read_file(path, &bytes, &n_bytes, &err), &err);
    ANX_CHECK_OK(anx_sha256_buffer(bytes, n_bytes, &digest, &err), &err);
    CU_ASSERT_STRING_EQUAL(anx_digest_hex(&digest, hex), expected);
    free(bytes);
}

int anx_test_main(const char *suite, const anx_test *tests, int argc, char **argv) {
    if (CU_initialize_registry() != CUE_SUCCESS) return 2;
    CU_pSuite s = CU_add_suite(suite, NULL, NULL);
    int status = s == NULL ? 2 : 0;
    for (; status == 0 && tests->name != NULL; tests++)
        if (wanted(tests->name, argc, argv) && CU_add_test(s, tests->name, tests->run) == NULL) status = 2;
    if (status == 0) {
        CU_basic_set_mode(CU_BRM_VERBOSE);
        if (CU_basic_run_tests() != CUE_SUCCESS)
            status = 2;
        else if (CU_get_number_of_tests_run() == 0)
            status = 2; /* a filter that matches nothing is a mistake */
        else
            status = CU_get_number_of_tests_failed() > 0 || CU_get_number_of_failures() > 0 ? 1 : 0;
    }
    CU_cleanup_registry();
    return status;
}
