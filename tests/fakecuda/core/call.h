/* What every call of the double begins and ends with. */
#ifndef ANX_TESTS_FAKECUDA_CORE_CALL_H
#define ANX_TESTS_FAKECUDA_CORE_CALL_H

#include <stdbool.h>

#include "tests/fakecuda/core/export.h"
#include "tests/fakecuda/core/object.h"
#include "tests/fakecuda/core/options.h"

/* Held while a function of the table runs: the one lock of the double, and the handle that it was called with. */
typedef struct fake_call {
    const char *name;
    fake_object *handle;
} fake_call;

void fake_call_start(void);

/* NULL as the handle: none, or one whose use from two threads at once is nobody's concern. */
FAKE_EXPORT void fake_call_enter(fake_call *call, const char *name, const void *handle);
FAKE_EXPORT void fake_call_leave(fake_call *call);

FAKE_EXPORT extern bool fake_tracing;
FAKE_EXPORT void fake_trace(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* FAKECUDA_FAIL: whether this call is to fail, and with what; `typical` where it does not say. */
FAKE_EXPORT unsigned fake_injected(const char *name, unsigned typical);

#define FAKE_ENTER(handle)                                                                                             \
    fake_call call __attribute__((cleanup(fake_call_leave)));                                                          \
    fake_call_enter(&call, __func__, (handle))

/* A line of the trace: the name of the function and its arguments. */
#define FAKE_TRACE(format, ...)                                                                                        \
    do {                                                                                                               \
        if (fake_tracing) fake_trace("%s(" format ")", call.name, __VA_ARGS__);                                        \
    } while (0)

/* Of a call that touches descriptors alone; FAKECUDA_TRACE_DESCRIPTORS=0 leaves these lines out. */
#define FAKE_TRACE_DESCRIPTOR(format, ...)                                                                             \
    do {                                                                                                               \
        if (fake_tracing && fake_option.trace_descriptors) fake_trace("%s(" format ")", call.name, __VA_ARGS__);       \
    } while (0)

/* ---- devices and what is wrong with them -------------------------------------------------------------------- */

FAKE_EXPORT int fake_current_device(void);
FAKE_EXPORT void fake_set_current_device(int device);

/* What the current device answers since a piece of work failed on it; 0: none has. */
FAKE_EXPORT unsigned fake_device_error(void);
void fake_break_device(unsigned error);

/* What cudaGetDeviceCount answers with a runtime of this version; 0: there are devices. */
FAKE_EXPORT unsigned fake_count_error(int runtime_version);

/* alpha, beta: a float in the host's memory, read at the call. */
FAKE_EXPORT float fake_scalar(const char *function, const void *p);

#endif
