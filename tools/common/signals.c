#include "tools/common/signals.h"

#include <signal.h>
#include <stddef.h>

#include "src/base/interrupt.h"

static volatile sig_atomic_t held_back;

static void end_by(int number) {
    signal(number, SIG_DFL);
    raise(number); /* in the handler it is blocked still: it arrives when the handler returns */
}

static void handle(int number) {
    if (!anx_interrupt_held()) {
        end_by(number);
        return;
    }
    held_back = number;
    anx_interrupt_request();
}

void anx_signals_install(void) {
    signal(SIGXFSZ, SIG_IGN); /* a file grown to its limit (ulimit -f) is an error of write() like a full disk */
    static const int numbers[] = {SIGINT, SIGTERM, SIGHUP};
    for (size_t i = 0; i < sizeof numbers / sizeof numbers[0]; i++) {
        struct sigaction action = {.sa_handler = handle}, before;
        sigemptyset(&action.sa_mask);
        action.sa_flags = SA_RESTART;
        if (sigaction(numbers[i], NULL, &before) == 0 && before.sa_handler != SIG_IGN)
            sigaction(numbers[i], &action, NULL);
    }
}

void anx_signals_finish(void) {
    if (held_back != 0) end_by(held_back);
}
