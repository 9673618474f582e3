#include "src/base/interrupt.h"

#include <stdatomic.h>

/* Lock-free, so that a signal handler may touch them. */
static atomic_int holders;
static atomic_bool requested;
_Static_assert(ATOMIC_INT_LOCK_FREE == 2 && ATOMIC_BOOL_LOCK_FREE == 2, "signal handlers need lock-free atomics");

void anx_interrupt_hold(void) {
    atomic_fetch_add(&holders, 1);
}

void anx_interrupt_release(void) {
    atomic_fetch_sub(&holders, 1);
}

bool anx_interrupt_held(void) {
    return atomic_load(&holders) > 0;
}

void anx_interrupt_request(void) {
    atomic_store(&requested, true);
}

bool anx_interrupt_requested(void) {
    return atomic_load(&requested);
}

void anx_interrupt_clear(void) {
    atomic_store(&requested, false);
}
