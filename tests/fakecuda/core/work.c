#include "tests/fakecuda/core/work.h"

#include <stdalign.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "tests/fakecuda/core/call.h"
#include "tests/fakecuda/core/memory.h"
#include "tests/fakecuda/core/options.h"
#include "tests/fakecuda/core/report.h"

enum { MAX_STREAMS = 256 };

typedef struct fake_op {
    struct fake_op *next;
    uint64_t number;
    fake_run *run;      /* NULL: nothing but the orders below */
    fake_object *after; /* this stream's work up to a number comes first */
    uint64_t after_number;
    fake_object *records; /* an event */
    const char *name;
    bool was_early; /* computed when it was queued; until it is waited for nobody may rely on it */
    int n_regions;
    fake_region *regions;
    alignas(max_align_t) unsigned char arguments[];
} fake_op;

/* What a stream has to do. */
typedef struct queue {
    fake_object *stream; /* NULL: the slot is free */
    fake_op *first, **last;
    uint64_t latest;               /* number of the last piece of work queued */
    uint64_t ordered[MAX_STREAMS]; /* by slot: work up to this number comes before whatever is queued next */
} queue;

static queue queues[MAX_STREAMS];
static int n_queues; /* slots that were ever used */
static fake_object *null_streams[FAKE_MAX_DEVICES];
static uint64_t last_number;

static void *allocate(size_t bytes) {
    void *p = calloc(1, bytes);
    if (p == NULL) fake_misuse("start", "out of memory");
    return p;
}

/* ---- streams ------------------------------------------------------------------------------------------------- */

static fake_object *new_stream(bool blocking) {
    int slot = 0;
    while (slot < n_queues && queues[slot].stream != NULL) slot++;
    if (slot == MAX_STREAMS) fake_misuse("start", "more than %d streams", (int)MAX_STREAMS);
    fake_object *stream = fake_object_create(FAKE_STREAM);
    stream->stream.slot = slot;
    stream->stream.blocking = blocking;
    if (slot == n_queues) n_queues++;
    queues[slot] = (queue){.stream = stream, .last = &queues[slot].first};
    return stream;
}

static queue *queue_of(const fake_object *stream) {
    return &queues[stream->stream.slot];
}

fake_object *fake_stream_create(unsigned flags) {
    return new_stream((flags & 1) == 0);
}

static fake_object *null_stream(void) {
    fake_object **stream = &null_streams[fake_current_device()];
    if (*stream == NULL) {
        *stream = new_stream(true);
        (*stream)->id = 0; /* nobody created it, so nobody destroys it */
    }
    return *stream;
}

fake_object *fake_stream_get(const char *function, const void *stream) {
    return stream == NULL ? null_stream() : fake_object_here(function, stream, FAKE_STREAM);
}

/* Nobody waits: what is queued still runs when all of the device is waited for, and the slot is taken until then. */
void fake_stream_destroy(fake_object *stream) {
    queue *q = queue_of(stream);
    if (q->first == NULL) q->stream = NULL;
    fake_object_destroy(stream);
}

int fake_stream_count(void) {
    int count = 0;
    for (int i = 0; i < n_queues; i++) {
        const fake_object *stream = queues[i].stream;
        count += stream != NULL && stream->id != 0 && stream->device == fake_current_device();
    }
    return count;
}

/* ---- running ------------------------------------------------------------------------------------------------- */

static double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static void compute(const fake_op *op) {
    static unsigned n_run;
    if (fake_device_error() != 0) return;
    if (++n_run == fake_option.async_op) {
        fake_break_device(fake_option.async_error);
        return;
    }
    for (int i = 0; i < op->n_regions; i++)
        if (op->regions[i].access & FAKE_READ) fake_region_check_written(op->name, &op->regions[i]);
    op->run(op->arguments);
    for (int i = 0; i < op->n_regions; i++) fake_region_mark(&op->regions[i]);
}

static void finish_until(fake_object *stream, uint64_t number);

/* Not so when it was destroyed and has nothing left to do. */
static bool has_queue(const fake_object *stream) {
    return queue_of(stream)->stream == stream;
}

static void run(fake_op *op) {
    if (op->after != NULL && has_queue(op->after)) finish_until(op->after, op->after_number);
    if (op->run != NULL && !op->was_early) compute(op);
    if (op->records != NULL) {
        op->records->event.done = op->number;
        op->records->event.seconds = now();
    }
    free(op->regions);
    free(op);
}

static void finish_until(fake_object *stream, uint64_t number) {
    queue *q = queue_of(stream);
    while (q->first != NULL && q->first->number <= number) {
        fake_op *op = q->first;
        q->first = op->next;
        if (q->first == NULL) q->last = &q->first;
        run(op);
    }
    if (q->first == NULL && !stream->alive && q->stream == stream) q->stream = NULL;
}

void fake_stream_finish(fake_object *stream) {
    finish_until(stream, UINT64_MAX);
}

void fake_device_finish(void) {
    for (int i = 0; i < n_queues; i++)
        if (queues[i].stream != NULL && queues[i].stream->device == fake_current_device())
            fake_stream_finish(queues[i].stream);
}

/* ---- queueing ------------------------------------------------------------------------------------------------ */

static fake_op *enqueue(fake_object *stream, size_t argument_bytes) {
    fake_op *op = allocate(sizeof *op + argument_bytes);
    queue *q = queue_of(stream);
    op->number = ++last_number;
    *q->last = op;
    q->last = &op->next;
    q->latest = op->number;
    return op;
}

static void merge(uint64_t *ordered, const uint64_t *more) {
    for (int i = 0; i < MAX_STREAMS; i++)
        if (more[i] > ordered[i]) ordered[i] = more[i];
}

/* What is queued on `stream` from now on comes after the work of `other` up to a number. */
static void order(fake_object *stream, fake_object *other, uint64_t number, const uint64_t *others_order) {
    uint64_t *ordered = queue_of(stream)->ordered;
    if (other == stream) return;
    fake_op *op = enqueue(stream, 0);
    op->after = other;
    op->after_number = number;
    merge(ordered, others_order);
    if (has_queue(other) && number > ordered[other->stream.slot]) ordered[other->stream.slot] = number;
}

/* The NULL stream waits for every blocking stream, and they for it. */
static void order_with_null(fake_object *stream) {
    if (!stream->stream.blocking) return;
    fake_object *null = null_streams[stream->device];
    for (int i = 0; i < n_queues; i++) {
        const queue *q = &queues[i];
        fake_object *other = q->stream;
        if (other == NULL || other == stream || other->device != stream->device || !other->stream.blocking) continue;
        if (stream != null && other != null) continue;
        if (q->first == NULL || q->latest <= queue_of(stream)->ordered[i]) continue;
        order(stream, other, q->latest, q->ordered);
    }
}

static void check_aliases(const fake_work *work) {
    uintptr_t shared;
    for (int i = 0; i < work->n_regions; i++)
        for (int k = 0; k < i; k++) {
            const fake_region *a = &work->regions[k], *b = &work->regions[i];
            const unsigned writes = FAKE_WRITE | FAKE_WORKSPACE, both = a->access | b->access;
            if ((both & writes) == 0 || !fake_regions_overlap(a, b, &shared)) continue;
            if ((both & FAKE_IN_PLACE) != 0 && (both & FAKE_WORKSPACE) == 0 && fake_regions_equal(a, b)) continue;
            fake_misuse(work->name, "two operands share %s, and one of them is written",
                        fake_name((const void *)shared));
        }
}

static void check_races(const fake_work *work) {
    const unsigned writes = FAKE_WRITE | FAKE_WORKSPACE;
    uintptr_t shared;
    for (int slot = 0; slot < n_queues; slot++) {
        const fake_object *other = queues[slot].stream;
        if (other == NULL || other == work->stream) continue;
        for (const fake_op *op = queues[slot].first; op != NULL; op = op->next) {
            if (op->number <= queue_of(work->stream)->ordered[slot]) continue;
            for (int i = 0; i < work->n_regions; i++)
                for (int k = 0; k < op->n_regions; k++) {
                    const fake_region *a = &work->regions[i], *b = &op->regions[k];
                    if (((a->access | b->access) & writes) == 0 || !fake_regions_overlap(a, b, &shared)) continue;
                    fake_misuse(work->name, "race: %s is also touched by %s on %s, which nothing orders before this",
                                fake_name((const void *)shared), op->name, fake_name(other));
                }
        }
    }
}

void fake_work_begin(fake_work *work, const char *name, fake_object *stream) {
    work->name = name;
    work->stream = stream;
    work->n_regions = 0;
}

void fake_work_add(fake_work *work, fake_region region) {
    if (region.run == 0) return;
    if (work->n_regions == FAKE_MAX_REGIONS) fake_misuse(work->name, "too many operands for the double");
    fake_region_check_bounds(work->name, &region);
    work->regions[work->n_regions++] = region;
}

void fake_work_launch(fake_work *work, fake_run *run_it, const void *arguments, size_t bytes) {
    check_aliases(work);
    if (fake_option.compute == 0) return;
    fake_option.compute--;
    order_with_null(work->stream);
    check_races(work);
    fake_op *op = enqueue(work->stream, bytes);
    op->run = run_it;
    op->name = work->name;
    op->n_regions = work->n_regions;
    op->regions = allocate((size_t)work->n_regions * sizeof *op->regions + 1);
    memcpy(op->regions, work->regions, (size_t)work->n_regions * sizeof *op->regions);
    if (bytes != 0) memcpy(op->arguments, arguments, bytes);
    op->was_early = fake_option.work_early;
    if (op->was_early) compute(op);
}

/* ---- events -------------------------------------------------------------------------------------------------- */

fake_object *fake_event_create(bool timing) {
    fake_object *event = fake_object_create(FAKE_EVENT);
    event->event.timing = timing;
    event->event.ordered = allocate(MAX_STREAMS * sizeof *event->event.ordered);
    return event;
}

void fake_event_record(fake_object *event, fake_object *stream) {
    fake_event *e = &event->event;
    order_with_null(stream);
    fake_op *op = enqueue(stream, 0);
    op->records = event;
    e->recorded = true;
    e->stream = stream;
    e->number = op->number;
    memcpy(e->ordered, queue_of(stream)->ordered, MAX_STREAMS * sizeof *e->ordered);
    e->ordered[stream->stream.slot] = op->number;
}

bool fake_event_done(const fake_object *event) {
    return event->event.recorded && event->event.done >= event->event.number;
}

void fake_event_finish(fake_object *event) {
    if (event->event.recorded && has_queue(event->event.stream)) finish_until(event->event.stream, event->event.number);
}

void fake_event_destroy(fake_object *event) {
    free(event->event.ordered);
    fake_object_destroy(event);
}

void fake_stream_wait(fake_object *stream, const fake_object *event) {
    if (event->event.recorded) order(stream, event->event.stream, event->event.number, event->event.ordered);
}
