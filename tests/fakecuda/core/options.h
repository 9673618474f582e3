/* What the environment asks of the double, read once when its libraries are loaded (README.md lists the variables). */
#ifndef ANX_TESTS_FAKECUDA_CORE_OPTIONS_H
#define ANX_TESTS_FAKECUDA_CORE_OPTIONS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

#include "tests/fakecuda/core/export.h"

enum { FAKE_MAX_DEVICES = 16 };

/* When a copy from or to pageable memory happens: at the call, at synchronisation, or the one or the other, copy by
 * copy. */
typedef enum fake_reading { FAKE_EARLY, FAKE_LATE, FAKE_MIXED } fake_reading;

typedef struct fake_options {
    int devices;
    int driver;           /* version; -1: as new as the runtime */
    unsigned count_error; /* what cudaGetDeviceCount answers; 0: what follows from the other two */
    size_t memory;        /* of each device */
    int capability_major, capability_minor;
    fake_reading pageable;
    unsigned long long compute; /* so many pieces of work are done, the others dropped */
    bool tf32_allowed;          /* NVIDIA_TF32_OVERRIDE is not 0 */
    bool work_early;            /* work is done when it is asked for */
    bool emulate;               /* CUBLAS_EMULATE_SINGLE_PRECISION is 1 */
    unsigned alloc_fail;
    unsigned async_op, async_error; /* which piece of work fails, and how */
    const char *refuse;             /* NULL: nothing */
    bool trace_descriptors;
    FILE *trace;
} fake_options;

FAKE_EXPORT extern fake_options fake_option;

void fake_options_read(void);

/* FAKECUDA_REFUSE names this: "fused", "forward:1". */
FAKE_EXPORT bool fake_refuses(const char *what);

#endif
