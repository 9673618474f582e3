/*
 * Streams. Work is queued when it is asked for and runs when someone waits for it, so that whoever reads too early
 * reads what was there before. Each piece says what it touches: compared with the unfinished work of other streams that
 * nothing orders before it, races are found that a schedule happens to win.
 */
#ifndef ANX_TESTS_FAKECUDA_CORE_WORK_H
#define ANX_TESTS_FAKECUDA_CORE_WORK_H

#include <stddef.h>

#include "tests/fakecuda/core/export.h"
#include "tests/fakecuda/core/object.h"
#include "tests/fakecuda/core/region.h"

enum { FAKE_MAX_REGIONS = 10 };

/* A piece of work in the making: the regions that it touches are added one after another. */
typedef struct fake_work {
    const char *name; /* the function that asks for it */
    fake_object *stream;
    int n_regions;
    fake_region regions[FAKE_MAX_REGIONS];
} fake_work;

typedef void fake_run(const void *arguments);

FAKE_EXPORT fake_object *fake_stream_create(unsigned flags);
/* NULL: the current device's NULL stream. A misuse if it is none, or another device's. */
FAKE_EXPORT fake_object *fake_stream_get(const char *function, const void *stream);
FAKE_EXPORT void fake_stream_destroy(fake_object *stream);
/* Of the current device, its NULL stream not among them. */
FAKE_EXPORT int fake_stream_count(void);

FAKE_EXPORT void fake_work_begin(fake_work *work, const char *name, fake_object *stream);
FAKE_EXPORT void fake_work_add(fake_work *work, fake_region region);
/* Checks the regions and queues it; the arguments are copied. Dropped where the device is broken. */
FAKE_EXPORT void fake_work_launch(fake_work *work, fake_run *run, const void *arguments, size_t bytes);

/* Runs what is queued on the stream, and what that waits for. */
FAKE_EXPORT void fake_stream_finish(fake_object *stream);
/* Everything on the current device. */
FAKE_EXPORT void fake_device_finish(void);

FAKE_EXPORT fake_object *fake_event_create(bool timing);
FAKE_EXPORT void fake_event_record(fake_object *event, fake_object *stream);
FAKE_EXPORT void fake_event_finish(fake_object *event);
FAKE_EXPORT void fake_event_destroy(fake_object *event);
FAKE_EXPORT bool fake_event_done(const fake_object *event);
/* What is queued on the stream from now on comes after what the event recorded. */
FAKE_EXPORT void fake_stream_wait(fake_object *stream, const fake_object *event);

#endif
