/*
 * Handles and descriptors. They lie in one array and are never given twice: a pointer is looked up by arithmetic, and
 * what was destroyed, or is of another kind, is told apart for good.
 */
#ifndef ANX_TESTS_FAKECUDA_CORE_OBJECT_H
#define ANX_TESTS_FAKECUDA_CORE_OBJECT_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "tests/fakecuda/core/export.h"

typedef enum fake_kind {
    FAKE_STREAM = 1,
    FAKE_EVENT,
    FAKE_BLAS,
    FAKE_LT,
    FAKE_MATMUL,
    FAKE_LAYOUT,
    FAKE_PREFERENCE,
    FAKE_DNN,
    FAKE_TENSOR,
    FAKE_FILTER,
    FAKE_CONVOLUTION,
    FAKE_ACTIVATION,
    FAKE_POOLING,
    FAKE_DROPOUT,
    FAKE_KINDS
} fake_kind;

typedef struct fake_object fake_object;

typedef struct fake_stream {
    int slot;      /* of its queue */
    bool blocking; /* orders itself with the NULL stream */
} fake_stream;

/* Work is numbered through, across all streams. */
typedef struct fake_event {
    bool timing, recorded;
    fake_object *stream;
    uint64_t number;   /* of the work that records it */
    uint64_t *ordered; /* by queue: work up to this number came before */
    uint64_t done;     /* the number that was reached last, and when */
    double seconds;
} fake_event;

/* A handle of cuBLAS or cuDNN. */
typedef struct fake_library {
    fake_object *stream; /* NULL: the NULL stream */
    unsigned math, atomics;
    void *workspace;
    size_t workspace_bytes;
} fake_library;

/* What cuBLASLt's operations and preferences hold: attributes by their number. */
typedef struct fake_attributes {
    uint64_t value[16];
} fake_attributes;

/* A matrix as cuBLASLt knows it. */
typedef struct fake_layout {
    unsigned type;
    uint64_t rows, columns;
    int64_t ld;
} fake_layout;

typedef struct fake_tensor {
    bool set, packed; /* packed: NCHW without gaps */
    unsigned type;
    int n[4];
    int stride[4];
} fake_tensor;

typedef struct fake_filter {
    bool set;
    unsigned type, format;
    int n[4];
} fake_filter;

typedef struct fake_convolution {
    bool set;
    int pad[2], stride[2], dilation[2];
    int more_groups; /* than one, so that zero is what a new descriptor has */
    unsigned mode, type, math;
} fake_convolution;

typedef struct fake_activation {
    bool set;
    unsigned mode, nan;
    double coef;
} fake_activation;

typedef struct fake_pooling {
    bool set;
    unsigned mode, nan;
    int window[2], pad[2], stride[2];
} fake_pooling;

typedef struct fake_dropout {
    bool set;
    float p;
    void *states;
} fake_dropout;

struct fake_object {
    fake_kind kind;
    int id;     /* stream1, stream2... */
    int device; /* the current one when it was created */
    bool alive;
    atomic_int user; /* the thread that is in a call with it; 0: none */
    union {
        fake_stream stream;
        fake_event event;
        fake_library library;
        fake_attributes attributes;
        fake_layout layout;
        fake_tensor tensor;
        fake_filter filter;
        fake_convolution convolution;
        fake_activation activation;
        fake_pooling pooling;
        fake_dropout dropout;
    };
};

void fake_objects_start(void);

FAKE_EXPORT fake_object *fake_object_create(fake_kind kind);
/* The object that a pointer is, alive or not; NULL: none. */
FAKE_EXPORT fake_object *fake_object_at(const void *p);
/* The same, and a misuse unless it is of this kind and alive. */
FAKE_EXPORT fake_object *fake_object_get(const char *function, const void *p, fake_kind kind);
/* The same, and a misuse unless it belongs to the current device. */
FAKE_EXPORT fake_object *fake_object_here(const char *function, const void *p, fake_kind kind);
/* What is destroyed stays known. */
FAKE_EXPORT void fake_object_destroy(fake_object *object);

const char *fake_kind_name(fake_kind kind);
void fake_object_leaks(void (*each)(const fake_object *object));

#endif
