/* When the double is loaded and when it ends; and a host that touches a device's memory. */
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "tests/fakecuda/core/call.h"
#include "tests/fakecuda/core/memory.h"
#include "tests/fakecuda/core/object.h"
#include "tests/fakecuda/core/options.h"
#include "tests/fakecuda/core/report.h"

/* ---- the host's fault: nothing here but what a signal handler may call ------------------------------------------ */

typedef struct sentence {
    char text[256];
    size_t length;
} sentence;

static void say(sentence *s, const char *text) {
    for (; *text != '\0' && s->length < sizeof s->text; text++) s->text[s->length++] = *text;
}

static void say_number(sentence *s, size_t number) {
    char digits[24];
    size_t i = sizeof digits - 1;
    digits[i] = '\0';
    do digits[--i] = (char)('0' + number % 10);
    while ((number /= 10) != 0);
    say(s, digits + i);
}

static void tell_of_fault(uintptr_t address) {
    sentence s = {.length = 0};
    const fake_block *block = fake_block_below(address);
    say(&s, "fakecuda: host code: touched ");
    say(&s, fake_is_pinned_address((const void *)address) ? "pinned memory " : "device memory ");
    if (block == NULL) {
        say(&s, "that was never given out");
    } else {
        say(&s, block->pinned ? "pin" : "dev");
        say_number(&s, (size_t)block->id);
        say(&s, "+");
        say_number(&s, address - block->at);
        say(&s, " of ");
        say_number(&s, block->bytes);
        say(&s, block->alive ? " bytes" : " bytes, freed before");
    }
    say(&s, "\n");
    const ssize_t written = write(STDERR_FILENO, s.text, s.length);
    (void)written;
    _exit(FAKE_EXIT_MISUSE);
}

static struct sigaction before[2];
static const int fault_signals[2] = {SIGSEGV, SIGBUS};

static void on_fault(int signal_number, siginfo_t *info, void *context) {
    if (fake_is_device_address(info->si_addr) || fake_is_pinned_address(info->si_addr))
        tell_of_fault((uintptr_t)info->si_addr);
    const struct sigaction *old = &before[signal_number == SIGBUS];
    if ((old->sa_flags & SA_SIGINFO) != 0 && old->sa_sigaction != NULL) {
        old->sa_sigaction(signal_number, info, context);
    } else if (old->sa_handler != SIG_DFL && old->sa_handler != SIG_IGN) {
        old->sa_handler(signal_number);
    } else {
        signal(signal_number, SIG_DFL);               /* the faulting instruction runs again, and ends the process */
        if (info->si_code <= 0) raise(signal_number); /* no instruction: someone sent it */
    }
}

static void catch_faults(void) {
    struct sigaction action = {.sa_sigaction = on_fault, .sa_flags = SA_SIGINFO | SA_ONSTACK};
    sigemptyset(&action.sa_mask);
    for (int i = 0; i < 2; i++) sigaction(fault_signals[i], &action, &before[i]);
}

/* ---- beginning and end ---------------------------------------------------------------------------------------------
 */

__attribute__((constructor)) static void start(void) {
    fake_options_read();
    fake_memory_start();
    fake_objects_start();
    fake_call_start();
    catch_faults();
}

static int n_leaks;

static void tell_of_block(const fake_block *block) {
    n_leaks++;
    fprintf(stderr, "fakecuda: leak: %s%d (%zu bytes)\n", block->pinned ? "pin" : "dev", block->id, block->bytes);
}

static void tell_of_object(const fake_object *object) {
    n_leaks++;
    fprintf(stderr, "fakecuda: leak: %s%d\n", fake_kind_name(object->kind), object->id);
}

__attribute__((destructor)) static void end(void) {
    fake_memory_leaks(tell_of_block);
    fake_object_leaks(tell_of_object);
    if (n_leaks == 0) return;
    fflush(NULL);
    _exit(FAKE_EXIT_LEAK);
}
