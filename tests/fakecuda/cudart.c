/* CUDA's runtime. */
#include <stdlib.h>
#include <string.h>

#include "tests/fakecuda/core/call.h"
#include "tests/fakecuda/core/memory.h"
#include "tests/fakecuda/core/options.h"
#include "tests/fakecuda/core/report.h"
#include "tests/fakecuda/core/work.h"
#include "tests/fakecuda/exports.h"
#include "tests/fakecuda/generation.h"

__attribute__((used)) static const anx_cuda_api complete = {ANX_CUDA_TABLE_CUDART(FAKE_COMPLETE)};

enum {
    INVALID_VALUE = 1,
    OUT_OF_MEMORY = 2,
    INVALID_DIRECTION = 21,
    INVALID_DEVICE = 101,
    INVALID_HANDLE = 400,
    NOT_READY = 600,
    LAUNCH_FAILURE = 719
};

/* ---- statuses ------------------------------------------------------------------------------------------------ */

static _Thread_local unsigned last_error;

static unsigned result(unsigned status) {
    if (status != 0) last_error = status;
    return status;
}

/* What stands in the way of a call that needs a device: no device, a failure on request, or one before. */
static unsigned obstacle(const char *name, unsigned typical) {
    const unsigned none = fake_count_error(RUNTIME_VERSION), injected = fake_injected(name, typical);
    if (none != 0) return none;
    return injected != 0 ? injected : fake_device_error();
}

/* Returns the obstacle if there is one. */
#define NEED_DEVICE(typical)                                                                                           \
    do {                                                                                                               \
        const unsigned obstacle_ = obstacle(call.name, (typical));                                                     \
        if (obstacle_ != 0) return result(obstacle_);                                                                  \
    } while (0)

/* ---- versions and devices ------------------------------------------------------------------------------------ */

unsigned cudaRuntimeGetVersion(int *version) {
    FAKE_ENTER(NULL);
    FAKE_TRACE("%s", "");
    const unsigned injected = fake_injected(call.name, INVALID_VALUE);
    if (injected != 0) return result(injected);
    if (version == NULL) return result(INVALID_VALUE);
    if (FAKECUDA_CUDA == 11 && fake_count_error(RUNTIME_VERSION) == ANX_CU_NO_DRIVER) return result(ANX_CU_NO_DRIVER);
    *version = RUNTIME_VERSION;
    return 0;
}

unsigned cudaDriverGetVersion(int *version) {
    FAKE_ENTER(NULL);
    FAKE_TRACE("%s", "");
    const unsigned injected = fake_injected(call.name, INVALID_VALUE);
    if (injected != 0) return result(injected);
    if (version == NULL) return result(INVALID_VALUE);
    *version = fake_option.driver == -1 ? RUNTIME_VERSION : fake_option.driver;
    return 0;
}

unsigned cudaGetDeviceCount(int *count) {
    FAKE_ENTER(NULL);
    FAKE_TRACE("%s", "");
    NEED_DEVICE(ANX_CU_UNKNOWN);
    if (count == NULL) return result(INVALID_VALUE);
    *count = fake_option.devices;
    return 0;
}

unsigned cudaSetDevice(int device) {
    FAKE_ENTER(NULL);
    FAKE_TRACE("%d", device);
    const unsigned none = fake_count_error(RUNTIME_VERSION), injected = fake_injected(call.name, INVALID_DEVICE);
    if (none != 0 || injected != 0) return result(none != 0 ? none : injected);
    if (device < 0 || device >= fake_option.devices) return result(INVALID_DEVICE);
    fake_set_current_device(device);
    return result(fake_device_error());
}

unsigned cudaDeviceGetAttribute(int *value, unsigned attr, int device) {
    enum { WARP = 10, CLOCK = 13, L2 = 38, MEMORY_BUS = 37 };
    FAKE_ENTER(NULL);
    FAKE_TRACE("%u, %d", attr, device);
    NEED_DEVICE(INVALID_VALUE);
    if (value == NULL) return result(INVALID_VALUE);
    if (device < 0 || device >= fake_option.devices) return result(INVALID_DEVICE);
    switch (attr) {
    case ANX_CU_MULTIPROCESSORS: *value = 132; return 0;
    case ANX_CU_CAPABILITY_MAJOR: *value = fake_option.capability_major; return 0;
    case ANX_CU_CAPABILITY_MINOR: *value = fake_option.capability_minor; return 0;
    case WARP: *value = 32; return 0;
    case CLOCK: *value = 1980000; return 0;
    case MEMORY_BUS: *value = 5120; return 0;
    case L2: *value = 52428800; return 0;
    default: fake_misuse(call.name, "the double does not know attribute %u", attr);
    }
}

unsigned cudaGetDeviceProperties(struct cudaDeviceProp *prop, int device) {
    FAKE_ENTER(NULL);
    FAKE_TRACE("%d", device);
    NEED_DEVICE(INVALID_VALUE);
    if (prop == NULL) return result(INVALID_VALUE);
    if (device < 0 || device >= fake_option.devices) return result(INVALID_DEVICE);
    memset((void *)prop, 0, DEVICE_PROPERTIES_BYTES);
    snprintf((char *)prop, 256, "Double of an NVIDIA GPU");
    return 0;
}

/* ---- memory -------------------------------------------------------------------------------------------------- */

unsigned cudaMemGetInfo(size_t *free_bytes, size_t *total_bytes) {
    FAKE_ENTER(NULL);
    FAKE_TRACE("%s", "");
    NEED_DEVICE(INVALID_VALUE);
    if (free_bytes == NULL || total_bytes == NULL) return result(INVALID_VALUE);
    *total_bytes = fake_option.memory;
    *free_bytes = fake_option.memory - fake_memory_used(fake_current_device());
    return 0;
}

static unsigned allocate(void **p, size_t bytes, bool pinned) {
    static unsigned n_allocations;
    if (p == NULL) return INVALID_VALUE;
    if (++n_allocations == fake_option.alloc_fail) return OUT_OF_MEMORY;
    if (bytes == 0) {
        *p = NULL;
        return 0;
    }
    const fake_block *block = fake_block_allocate(fake_current_device(), pinned, bytes);
    if (block == NULL) return OUT_OF_MEMORY;
    *p = (void *)block->at;
    return 0;
}

/* The memory is gone whatever is answered; what was queued on it runs first, as with the real ones. */
static unsigned release(const char *function, void *p, bool pinned) {
    if (p == NULL) return 0;
    fake_block *block = fake_block_below((uintptr_t)p);
    if (block == NULL || block->at != (uintptr_t)p || block->pinned != pinned)
        fake_misuse(function, "%s is not where an allocation of such memory starts", fake_name(p));
    if (!block->alive) fake_misuse(function, "%s was freed before", fake_name(p));
    if (!pinned && block->device != fake_current_device())
        fake_misuse(function, "%s is memory of device %d, and the current one is %d", fake_name(p), block->device,
                    fake_current_device());
    fake_device_finish();
    fake_block_free(block);
    return fake_device_error();
}

unsigned cudaMalloc(void **p, size_t bytes) {
    FAKE_ENTER(NULL);
    FAKE_TRACE("%zu", bytes);
    NEED_DEVICE(OUT_OF_MEMORY);
    return result(allocate(p, bytes, false));
}

unsigned cudaHostAlloc(void **p, size_t bytes, unsigned flags) {
    FAKE_ENTER(NULL);
    FAKE_TRACE("%zu, %u", bytes, flags);
    NEED_DEVICE(OUT_OF_MEMORY);
    if (flags > 7) return result(INVALID_VALUE);
    return result(allocate(p, bytes, true));
}

unsigned cudaFree(void *p) {
    FAKE_ENTER(NULL);
    FAKE_TRACE("%s", fake_name(p));
    const unsigned obstacle_ = obstacle(call.name, LAUNCH_FAILURE), status = release(call.name, p, false);
    return result(obstacle_ != 0 ? obstacle_ : status);
}

unsigned cudaFreeHost(void *p) {
    FAKE_ENTER(NULL);
    FAKE_TRACE("%s", fake_name(p));
    const unsigned obstacle_ = obstacle(call.name, LAUNCH_FAILURE), status = release(call.name, p, true);
    return result(obstacle_ != 0 ? obstacle_ : status);
}

/* ---- copies -------------------------------------------------------------------------------------------------- */

typedef struct copy {
    void *dst;
    const void *src; /* NULL: what follows this */
    size_t bytes;
    int value;
} copy;

static void run_copy(const void *arguments) {
    const copy *c = arguments;
    memcpy(fake_bytes(c->dst), c->src != NULL ? fake_bytes(c->src) : (const void *)(c + 1), c->bytes);
}

static void run_set(const void *arguments) {
    const copy *c = arguments;
    memset(fake_bytes(c->dst), c->value, c->bytes);
}

static void check_kind(const char *function, const void *dst, const void *src, unsigned kind) {
    const bool from_device = fake_is_device_address(src), to_device = fake_is_device_address(dst);
    const bool says_from = (kind & 2) != 0, says_to = kind == 1 || kind == 3;
    if (kind == 4 || (from_device == says_from && to_device == says_to)) return;
    fake_misuse(function, "kind %u does not fit a copy from %s to %s", kind, fake_name(src), fake_name(dst));
}

/* The source is read at the call, as pageable memory's may be. */
static void launch_staged(fake_work *work, void *dst, const void *src, size_t bytes) {
    copy *staged = malloc(sizeof *staged + bytes);
    if (staged == NULL) fake_misuse(work->name, "out of memory");
    *staged = (copy){.dst = dst, .bytes = bytes};
    memcpy(staged + 1, src, bytes);
    fake_work_add(work, fake_region_flat(dst, bytes, FAKE_WRITE | FAKE_HOST));
    fake_work_launch(work, run_copy, staged, sizeof *staged + bytes);
    free(staged);
}

static void launch_copy(fake_work *work, void *dst, const void *src, size_t bytes) {
    const copy c = {.dst = dst, .src = src, .bytes = bytes};
    fake_work_add(work, fake_region_flat(src, bytes, FAKE_READ | FAKE_HOST));
    fake_work_add(work, fake_region_flat(dst, bytes, FAKE_WRITE | FAKE_HOST));
    fake_work_launch(work, run_copy, &c, sizeof c);
}

static bool is_pageable(const void *p) {
    return !fake_is_device_address(p) && !fake_is_pinned_address(p);
}

/* Whether the next copy of pageable memory happens as early as it may. Mixed: as a hash of its number falls. */
static bool comes_early(void) {
    static uint32_t copies;
    if (fake_option.pageable != FAKE_MIXED) return fake_option.pageable == FAKE_EARLY;
    return (++copies * UINT32_C(0x9e3779b1) >> 31) != 0;
}

unsigned cudaMemcpyAsync(void *dst, const void *src, size_t bytes, unsigned kind, struct CUstream_st *s) {
    FAKE_ENTER(NULL);
    FAKE_TRACE("%s, %s, %zu, %u, %s", fake_name(dst), fake_name(src), bytes, kind, fake_name(s));
    NEED_DEVICE(INVALID_VALUE);
    if (kind > 4) return result(INVALID_DIRECTION);
    fake_work work;
    fake_work_begin(&work, call.name, fake_stream_get(call.name, s));
    if (bytes == 0) return 0;
    if (dst == NULL || src == NULL) return result(INVALID_VALUE);
    check_kind(call.name, dst, src, kind);
    const bool early = fake_option.compute && (is_pageable(src) || is_pageable(dst)) && comes_early();
    if (early && is_pageable(src))
        launch_staged(&work, dst, src, bytes);
    else
        launch_copy(&work, dst, src, bytes);
    if (early && is_pageable(dst)) fake_stream_finish(work.stream);
    return result(fake_device_error());
}

unsigned cudaMemsetAsync(void *p, int value, size_t bytes, struct CUstream_st *s) {
    FAKE_ENTER(NULL);
    FAKE_TRACE("%s, %d, %zu, %s", fake_name(p), value, bytes, fake_name(s));
    NEED_DEVICE(INVALID_VALUE);
    fake_work work;
    fake_work_begin(&work, call.name, fake_stream_get(call.name, s));
    if (bytes == 0) return 0;
    if (!fake_is_device_address(p)) fake_misuse(call.name, "%s is no memory of a device", fake_name(p));
    const copy c = {.dst = p, .bytes = bytes, .value = value};
    fake_work_add(&work, fake_region_flat(p, bytes, FAKE_WRITE | FAKE_HOST));
    fake_work_launch(&work, run_set, &c, sizeof c);
    return result(fake_device_error());
}

/* ---- streams ------------------------------------------------------------------------------------------------- */

unsigned cudaStreamCreateWithFlags(struct CUstream_st **s, unsigned flags) {
    FAKE_ENTER(NULL);
    FAKE_TRACE("%u", flags);
    NEED_DEVICE(OUT_OF_MEMORY);
    if (s == NULL || flags > 1) return result(INVALID_VALUE);
    *s = (struct CUstream_st *)fake_stream_create(flags);
    return 0;
}

unsigned cudaStreamDestroy(struct CUstream_st *s) {
    FAKE_ENTER(NULL);
    FAKE_TRACE("%s", fake_name(s));
    const unsigned obstacle_ = obstacle(call.name, LAUNCH_FAILURE);
    if (s == NULL) return result(obstacle_ != 0 ? obstacle_ : INVALID_HANDLE);
    fake_stream_destroy(fake_stream_get(call.name, s));
    return result(obstacle_ != 0 ? obstacle_ : fake_device_error());
}

unsigned cudaStreamSynchronize(struct CUstream_st *s) {
    FAKE_ENTER(NULL);
    FAKE_TRACE("%s", fake_name(s));
    NEED_DEVICE(LAUNCH_FAILURE);
    fake_stream_finish(fake_stream_get(call.name, s));
    return result(fake_device_error());
}

unsigned cudaStreamWaitEvent(struct CUstream_st *s, struct CUevent_st *e, unsigned flags) {
    FAKE_ENTER(NULL);
    FAKE_TRACE("%s, %s, %u", fake_name(s), fake_name(e), flags);
    NEED_DEVICE(INVALID_HANDLE);
    if (e == NULL) return result(INVALID_HANDLE);
    if (flags > 1) return result(INVALID_VALUE);
    fake_stream_wait(fake_stream_get(call.name, s), fake_object_get(call.name, e, FAKE_EVENT));
    return 0;
}

/* ---- events -------------------------------------------------------------------------------------------------- */

unsigned cudaEventCreateWithFlags(struct CUevent_st **e, unsigned flags) {
    enum { NO_TIMING = 2, INTERPROCESS = 4 };
    FAKE_ENTER(NULL);
    FAKE_TRACE("%u", flags);
    NEED_DEVICE(OUT_OF_MEMORY);
    if (e == NULL || flags > 7 || ((flags & INTERPROCESS) != 0 && (flags & NO_TIMING) == 0))
        return result(INVALID_VALUE);
    *e = (struct CUevent_st *)fake_event_create((flags & NO_TIMING) == 0);
    return 0;
}

unsigned cudaEventRecord(struct CUevent_st *e, struct CUstream_st *s) {
    FAKE_ENTER(NULL);
    FAKE_TRACE("%s, %s", fake_name(e), fake_name(s));
    NEED_DEVICE(INVALID_HANDLE);
    if (e == NULL) return result(INVALID_HANDLE);
    fake_event_record(fake_object_here(call.name, e, FAKE_EVENT), fake_stream_get(call.name, s));
    return 0;
}

unsigned cudaEventSynchronize(struct CUevent_st *e) {
    FAKE_ENTER(NULL);
    FAKE_TRACE("%s", fake_name(e));
    NEED_DEVICE(LAUNCH_FAILURE);
    if (e == NULL) return result(INVALID_HANDLE);
    fake_event_finish(fake_object_here(call.name, e, FAKE_EVENT));
    return result(fake_device_error());
}

unsigned cudaEventElapsedTime(float *ms, struct CUevent_st *a, struct CUevent_st *b) {
    FAKE_ENTER(NULL);
    FAKE_TRACE("%s, %s", fake_name(a), fake_name(b));
    NEED_DEVICE(INVALID_HANDLE);
    if (a == NULL || b == NULL) return result(INVALID_HANDLE);
    if (ms == NULL) return result(INVALID_VALUE);
    const fake_object *from = fake_object_here(call.name, a, FAKE_EVENT);
    const fake_object *to = fake_object_here(call.name, b, FAKE_EVENT);
    if (!from->event.timing || !to->event.timing || !from->event.recorded || !to->event.recorded)
        return result(INVALID_HANDLE);
    if (!fake_event_done(from) || !fake_event_done(to)) return result(NOT_READY);
    *ms = (float)(1e3 * (to->event.seconds - from->event.seconds));
    return 0;
}

unsigned cudaEventDestroy(struct CUevent_st *e) {
    FAKE_ENTER(NULL);
    FAKE_TRACE("%s", fake_name(e));
    const unsigned obstacle_ = obstacle(call.name, LAUNCH_FAILURE);
    if (e == NULL) return result(obstacle_ != 0 ? obstacle_ : INVALID_HANDLE);
    fake_event_destroy(fake_object_here(call.name, e, FAKE_EVENT));
    return result(obstacle_);
}

/* ---- errors -------------------------------------------------------------------------------------------------- */

unsigned cudaGetLastError(void) {
    FAKE_ENTER(NULL);
    FAKE_TRACE("%s", "");
    /* What this library's calls said: cuBLAS and cuDNN bring runtimes of their own. What broke the device stays. */
    const unsigned none = fake_count_error(RUNTIME_VERSION), injected = fake_injected(call.name, LAUNCH_FAILURE);
    const unsigned status = none != 0 ? none : injected != 0 ? injected : last_error;
    if (last_error != fake_device_error()) last_error = 0;
    return status;
}

typedef struct error_text {
    unsigned code;
    const char *name, *text;
} error_text;

static const error_text error_texts[] = {
    {0, "cudaSuccess", "no error"},
    {1, "cudaErrorInvalidValue", "invalid argument"},
    {2, "cudaErrorMemoryAllocation", "out of memory"},
    {3, "cudaErrorInitializationError", "initialization error"},
    {21, "cudaErrorInvalidMemcpyDirection", "invalid copy direction for memcpy"},
    {34, "cudaErrorStubLibrary", "CUDA driver is a stub library"},
    {35, "cudaErrorInsufficientDriver", "CUDA driver version is insufficient for CUDA runtime version"},
    {46, "cudaErrorDevicesUnavailable", "CUDA-capable device(s) is/are busy or unavailable"},
    {100, "cudaErrorNoDevice", "no CUDA-capable device is detected"},
    {101, "cudaErrorInvalidDevice", "invalid device ordinal"},
    {214, "cudaErrorECCUncorrectable", "uncorrectable ECC error encountered"},
    {400, "cudaErrorInvalidResourceHandle", "invalid resource handle"},
    {600, "cudaErrorNotReady", "device not ready"},
    {700, "cudaErrorIllegalAddress", "an illegal memory access was encountered"},
    {702, "cudaErrorLaunchTimeout", "the launch timed out and was terminated"},
    {719, "cudaErrorLaunchFailure", "unspecified launch failure"},
    {803, "cudaErrorSystemDriverMismatch", "system has unsupported display driver / cuda driver combination"},
    {999, "cudaErrorUnknown", "unknown error"},
};

static const error_text *find_error(unsigned error) {
    static const error_text unknown = {0, "unrecognized error code", "unrecognized error code"};
    for (size_t i = 0; i < sizeof error_texts / sizeof error_texts[0]; i++)
        if (error_texts[i].code == error) return &error_texts[i];
    return &unknown;
}

const char *cudaGetErrorName(unsigned error) {
    return find_error(error)->name;
}

const char *cudaGetErrorString(unsigned error) {
    return find_error(error)->text;
}
