#include "tools/common/signals.h"

#include <signal.h>
#include <stddef.h>
#include <string.h>
#include <sys/uio.h>
#include <unistd.h>

#include "loaders/file.h"
#include "src/base/interrupt.h"
#include "tools/common/cli.h"

static volatile sig_atomic_t held_back;

static void end_by(int number) {
    signal(number, SIG_DFL);
    raise(number); /* in the handler it is blocked still: it arrives when the handler returns */
}

static const char *command_name;

static struct iovec piece(const char *text) {
    return (struct iovec){.iov_base = (void *)(uintptr_t)text, .iov_len = strlen(text)};
}

/* Touching a mapped file where it does not reach any more. Nothing can go on from there; what is said is all at once.
 */
static void handle_bus(int number, siginfo_t *info, void *context) {
    (void)context;
    const char *path = anx_file_map_path(info->si_addr);
    if (path == NULL) { /* a fault of another kind: it strikes again, unhandled */
        signal(number, SIG_DFL);
        return;
    }
    const struct iovec line[] = {piece(command_name), piece(": "), piece(path),
                                 piece(": became shorter while it was read, or its disk failed\n")};
    (void)!writev(STDERR_FILENO, line, sizeof line / sizeof line[0]);
    anx_file_writers_abandon();
    _exit(ANX_EXIT_TROUBLE);
}

static void handle(int number) {
    if (!anx_interrupt_held()) {
        end_by(number);
        return;
    }
    held_back = number;
    anx_interrupt_request();
}

/*
 * A stack for the handlers, as kernels that oneDNN makes while it runs keep numbers in the stack pointer or below it: a
 * handler on the interrupted stack writes over whatever that points to. Where one is set up already (by a sanitizer),
 * that will do. Other threads have none: a signal is theirs only while this one is in a handler.
 */
static void set_up_stack(void) {
    enum { stack_bytes = 1 << 16 }; /* the processor's registers alone can take 11 KB */
    static _Alignas(64) char stack[stack_bytes];
    stack_t before;
    if (sigaltstack(NULL, &before) == 0 && (before.ss_flags & SS_DISABLE) == 0) return;
    sigaltstack(&(stack_t){.ss_sp = stack, .ss_size = sizeof stack}, NULL);
}

void anx_signals_install(const char *command) {
    command_name = command;
    set_up_stack();
    struct sigaction bus = {.sa_sigaction = handle_bus, .sa_flags = SA_SIGINFO | SA_ONSTACK};
    sigemptyset(&bus.sa_mask);
    sigaction(SIGBUS, &bus, NULL);
    signal(SIGXFSZ, SIG_IGN); /* a file grown to its limit (ulimit -f) is an error of write() like a full disk */
    static const int numbers[] = {SIGINT, SIGTERM, SIGHUP};
    for (size_t i = 0; i < sizeof numbers / sizeof numbers[0]; i++) {
        struct sigaction action = {.sa_handler = handle}, before;
        sigemptyset(&action.sa_mask);
        action.sa_flags = SA_RESTART | SA_ONSTACK;
        if (sigaction(numbers[i], NULL, &before) == 0 && before.sa_handler != SIG_IGN)
            sigaction(numbers[i], &action, NULL);
    }
}

void anx_signals_finish(void) {
    if (held_back != 0) end_by(held_back);
}

int anx_signals_take(void) {
    const int code = 128 + (int)held_back;
    held_back = 0;
    return code;
}
