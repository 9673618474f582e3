/* What a report says of the machine. */
#ifndef ANX_PARITY_MACHINE_H
#define ANX_PARITY_MACHINE_H

#include <stddef.h>

/* The processor's name, from /proc/cpuinfo; "unknown" where that does not tell. Returns buf. */
const char *anx_machine_cpu(char *buf, size_t size);

#endif
