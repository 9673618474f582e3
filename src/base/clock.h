/* Time that passes, for measuring. */
#ifndef ANX_SRC_BASE_CLOCK_H
#define ANX_SRC_BASE_CLOCK_H

/* Seconds since some moment in the past, the same for a whole process; they never go back (CLOCK_MONOTONIC). */
double anx_clock_seconds(void);

#endif
