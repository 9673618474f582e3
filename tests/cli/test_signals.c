/* What becomes of a command whose mapped file is truncated by somebody else. */
#include "tools/common/signals.h"

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "loaders/file.h"
#include "tests/support/anx_test.h"

enum { PAGES = 3, PAGE = 4096 };

static void make_file(const char *path) {
    const int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0644);
    CU_ASSERT_FATAL(fd >= 0);
    CU_ASSERT_EQUAL_FATAL(ftruncate(fd, PAGES * PAGE), 0);
    close(fd);
}

/* In a process of its own; does not return. */
static void read_what_is_gone(const char *path, const char *target, int errors) {
    anx_file_map map = ANX_FILE_MAP_INIT;
    anx_file_writer *writer = NULL;
    dup2(errors, STDERR_FILENO);
    anx_signals_install("anx-test");
    if (anx_file_map_init(&map, path, NULL) != ANX_OK) _exit(10);
    if (anx_file_writer_create(target, false, &writer, NULL) != ANX_OK) _exit(11);
    if (truncate(path, 0) != 0) _exit(12);
    const volatile uint8_t *last = map.bytes + (PAGES - 1) * PAGE;
    _exit(20 + *last);
}

static void a_file_that_shrinks_while_mapped_ends_in_a_sentence(void) {
    char folder[512], path[600], target[600], said[4096], wanted[1024];
    snprintf(folder, sizeof folder, "%s", anx_test_path("shrinks"));
    CU_ASSERT_EQUAL_FATAL(mkdir(folder, 0777), 0);
    snprintf(path, sizeof path, "%s/model.pth", folder);
    snprintf(target, sizeof target, "%s/out.bin", folder);
    make_file(path);
    int errors[2], status = 0;
    CU_ASSERT_EQUAL_FATAL(pipe(errors), 0);
    const pid_t child = fork();
    CU_ASSERT_FATAL(child >= 0);
    if (child == 0) read_what_is_gone(path, target, errors[1]);
    close(errors[1]);
    CU_ASSERT_EQUAL(waitpid(child, &status, 0), child);
    CU_ASSERT(WIFEXITED(status));
    CU_ASSERT_EQUAL(WEXITSTATUS(status), 2);
    const ssize_t n = read(errors[0], said, sizeof said - 1);
    said[n > 0 ? n : 0] = '\0';
    close(errors[0]);
    snprintf(wanted, sizeof wanted, "anx-test: %s: became shorter while it was read, or its disk failed\n", path);
    CU_ASSERT_STRING_EQUAL(said, wanted);
    CU_ASSERT_EQUAL(unlink(path), 0);
    CU_ASSERT_EQUAL(rmdir(folder), 0); /* empty: the temporary file of out.bin is gone */
}

static void an_address_in_no_mapped_file_has_no_path(void) {
    char path[600];
    snprintf(path, sizeof path, "%s", anx_test_path("mapped"));
    make_file(path);
    anx_file_map map = ANX_FILE_MAP_INIT;
    CU_ASSERT_EQUAL_FATAL(anx_file_map_init(&map, path, NULL), ANX_OK);
    const uint8_t *bytes = map.bytes;
    CU_ASSERT_STRING_EQUAL(anx_file_map_path(bytes), path);
    CU_ASSERT_STRING_EQUAL(anx_file_map_path(bytes + PAGES * PAGE - 1), path);
    CU_ASSERT_PTR_NULL(anx_file_map_path(path));
    CU_ASSERT_PTR_NULL(anx_file_map_path(NULL));
    anx_file_map_fini(&map);
    CU_ASSERT_PTR_NULL(anx_file_map_path(bytes));
}

/* On the interrupted stack they would write over what kernels keep below, or instead of, the stack pointer. */
static void handlers_have_a_stack_of_their_own(void) {
    static const int numbers[] = {SIGINT, SIGTERM, SIGHUP, SIGBUS};
    stack_t stack;
    anx_signals_install("anx-test");
    CU_ASSERT_EQUAL_FATAL(sigaltstack(NULL, &stack), 0);
    CU_ASSERT_EQUAL(stack.ss_flags & SS_DISABLE, 0);
    CU_ASSERT(stack.ss_size >= 32768);
    for (size_t i = 0; i < sizeof numbers / sizeof numbers[0]; i++) {
        struct sigaction action;
        CU_ASSERT_EQUAL_FATAL(sigaction(numbers[i], NULL, &action), 0);
        CU_ASSERT(action.sa_handler == SIG_IGN || (action.sa_flags & SA_ONSTACK) != 0);
        signal(numbers[i], SIG_DFL);
    }
}

int main(int argc, char **argv) {
    static const anx_test tests[] = {
        {"handlers have a stack of their own", handlers_have_a_stack_of_their_own},
        {"a file that shrinks while mapped ends in a sentence", a_file_that_shrinks_while_mapped_ends_in_a_sentence},
        {"an address in no mapped file has no path", an_address_in_no_mapped_file_has_no_path},
        {NULL, NULL},
    };
    return anx_test_main("signals", tests, argc, argv);
}
