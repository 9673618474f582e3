/* What the double's cuBLAS and cuBLASLt share. */
#ifndef ANX_TESTS_FAKECUDA_CUBLAS_H
#define ANX_TESTS_FAKECUDA_CUBLAS_H

#include "tests/fakecuda/core/call.h"
#include "tests/fakecuda/core/memory.h"
#include "tests/fakecuda/core/options.h"
#include "tests/fakecuda/core/report.h"
#include "tests/fakecuda/core/work.h"
#include "tests/fakecuda/exports.h"
#include "tests/fakecuda/generation.h"
#include "tests/fakecuda/kernels/product.h"

enum {
    NOT_INITIALIZED = 1,
    ALLOC_FAILED = 3,
    INVALID_VALUE = 7,
    EXECUTION_FAILED = 13,
    INTERNAL_ERROR = 14,
    NOT_SUPPORTED = 15
};

/* Returns what stands in the way of a call, if anything does; otherwise `handle` is the handle. */
#define NEED_HANDLE_OF(h, KIND, typical)                                                                               \
    if ((h) == NULL) return NOT_INITIALIZED;                                                                           \
    fake_object *handle = fake_object_here(call.name, (h), KIND);                                                      \
    do {                                                                                                               \
        const unsigned injected_ = fake_injected(call.name, (typical));                                                \
        if (injected_ != 0) return injected_;                                                                          \
        if (fake_device_error() != 0) return EXECUTION_FAILED;                                                         \
    } while (0)

/* A handle of either; h NULL: refused. */
static inline unsigned blas_create(const char *function, fake_kind kind, void **h) {
    const unsigned injected = fake_injected(function, ALLOC_FAILED);
    if (h == NULL) return INVALID_VALUE;
    if (injected != 0) return injected;
    if (fake_count_error(RUNTIME_VERSION) != 0 || fake_device_error() != 0) return NOT_INITIALIZED;
    *h = fake_object_create(kind);
    return 0;
}

/* The version is the same for both. */
static inline unsigned blas_property(unsigned type, int *value) {
    static const int version[] = {FAKECUDA_CUDA, RUNTIME_MINOR, 0};
    if (type > 2 || value == NULL) return INVALID_VALUE;
    *value = version[type];
    return 0;
}

/* A matrix of so many rows and columns. */
static inline fake_region blas_matrix(const float *p, long rows, long columns, long ld, unsigned access) {
    return fake_region_rows(p, (size_t)columns, (size_t)rows, (size_t)ld, access);
}

static inline unsigned blas_launch(fake_work *work, fake_run *run, const void *arguments, size_t bytes) {
    fake_work_launch(work, run, arguments, bytes);
    return fake_device_error() != 0 ? EXECUTION_FAILED : 0;
}

/* What a new preference of cuBLASLt's says: no workspace, whatever reduction and implementation, well aligned. */
extern const fake_attributes blas_lt_no_preference;

#endif
