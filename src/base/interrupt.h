/*
 * Letting a user's interruption (Ctrl-C) wait while something would be left half done.
 *
 * Who has something to clean up holds interruptions meanwhile and asks between its steps whether one came; it then
 * stops with ANX_ERR_INTERRUPTED and cleans up as after any error. Who holds nothing may be ended at any time. Library
 * code installs no signal handlers: a program's handler looks at anx_interrupt_held and either calls
 * anx_interrupt_request or ends the process (tools/common/signals.c).
 */
#ifndef ANX_SRC_BASE_INTERRUPT_H
#define ANX_SRC_BASE_INTERRUPT_H

#include <stdbool.h>

/* Counted: each hold needs its release. Safe in any thread. */
void anx_interrupt_hold(void);
void anx_interrupt_release(void);

/* Forgets a request: whoever stopped for it goes on with what is still to be done, such as writing down what was
   reached. */
void anx_interrupt_clear(void);

/* The next two may be called from a signal handler. */
bool anx_interrupt_held(void);
void anx_interrupt_request(void);
/* True once an interruption was requested. */
bool anx_interrupt_requested(void);

#endif
