/* cuBLASLt's handle and descriptors. None of the descriptors looks at what it is given: that is for the work to do. */
#include <string.h>

#include "tests/fakecuda/cublas.h"

__attribute__((used)) static const anx_cuda_api complete = {ANX_CUDA_TABLE_CUBLASLT(FAKE_COMPLETE)};

#define COUNT(array) (sizeof(array) / sizeof(array)[0])

/* ---- handle -------------------------------------------------------------------------------------------------- */

unsigned cublasLtCreate(struct cublasLtContext **h) {
    FAKE_ENTER(NULL);
    FAKE_TRACE("%s", "");
    return blas_create(call.name, FAKE_LT, (void **)h);
}

unsigned cublasLtDestroy(struct cublasLtContext *h) {
    FAKE_ENTER(NULL);
    FAKE_TRACE("%s", fake_name(h));
    const unsigned injected = fake_injected(call.name, INTERNAL_ERROR);
    if (h == NULL) return injected != 0 ? injected : INVALID_VALUE;
    fake_object_destroy(fake_object_here(call.name, h, FAKE_LT));
    return injected;
}

unsigned cublasLtGetProperty(unsigned type, int *value) {
    FAKE_ENTER(NULL);
    FAKE_TRACE("%u", type);
    const unsigned injected = fake_injected(call.name, INVALID_VALUE);
    return injected != 0 ? injected : blas_property(type, value);
}

/* ---- attributes ---------------------------------------------------------------------------------------------- */

static unsigned destroy(const char *function, const void *d, fake_kind kind) {
    const unsigned injected = fake_injected(function, INTERNAL_ERROR);
    if (d != NULL) fake_object_destroy(fake_object_get(function, d, kind));
    return injected;
}

/* sizes: of each attribute, by number; 0: there is none of that number. */
static unsigned set(fake_attributes *a, const uint8_t *sizes, size_t n, unsigned attr, const void *value,
                    size_t bytes) {
    if (value == NULL || attr >= n || sizes[attr] == 0 || sizes[attr] != bytes) return INVALID_VALUE;
    a->value[attr] = 0;
    memcpy(&a->value[attr], value, bytes);
    return 0;
}

/* The same of a descriptor, unless a failure was asked for. */
static unsigned set_in(const char *function, void *d, fake_kind kind, const uint8_t *sizes, size_t n_sizes,
                       unsigned attr, const void *value, size_t bytes) {
    const unsigned injected = fake_injected(function, INVALID_VALUE);
    if (injected != 0) return injected;
    if (d == NULL) return INVALID_VALUE;
    return set(&fake_object_get(function, d, kind)->attributes, sizes, n_sizes, attr, value, bytes);
}

/* ---- operations ---------------------------------------------------------------------------------------------- */

unsigned cublasLtMatmulDescCreate(anx_lt_matmul *d, unsigned compute, unsigned scale_type) {
    enum { COMPUTE_TYPE = 0, SCALE_TYPE = 1, FILL_MODE = 6, FULL = 2 };
    FAKE_ENTER(NULL);
    FAKE_TRACE_DESCRIPTOR("%u, %u", compute, scale_type);
    const unsigned injected = fake_injected(call.name, ALLOC_FAILED);
    if (injected != 0) return injected;
    if (d == NULL) return INVALID_VALUE;
    fake_object *object = fake_object_create(FAKE_MATMUL);
    object->attributes.value[COMPUTE_TYPE] = compute;
    object->attributes.value[SCALE_TYPE] = scale_type;
    object->attributes.value[FILL_MODE] = FULL;
    object->attributes.value[ANX_CU_LT_EPILOGUE] = ANX_CU_LT_EPILOGUE_NONE;
    *d = (anx_lt_matmul)object;
    return 0;
}

unsigned cublasLtMatmulDescSetAttribute(anx_lt_matmul d, unsigned attr, const void *value, size_t bytes) {
    static const uint8_t sizes[] = {4, 4, 4, 4, 4, 4, 4, 4, 8, 0, 8, 8, 8, 8, 8};
    FAKE_ENTER(NULL);
    FAKE_TRACE_DESCRIPTOR("%s, %u, %zu", fake_name(d), attr, bytes);
    return set_in(call.name, d, FAKE_MATMUL, sizes, COUNT(sizes), attr, value, bytes);
}

unsigned cublasLtMatmulDescDestroy(anx_lt_matmul d) {
    FAKE_ENTER(NULL);
    FAKE_TRACE_DESCRIPTOR("%s", fake_name(d));
    return destroy(call.name, d, FAKE_MATMUL);
}

/* ---- layouts ------------------------------------------------------------------------------------------------- */

unsigned cublasLtMatrixLayoutCreate(anx_lt_layout *d, unsigned type, uint64_t rows, uint64_t columns, int64_t ld) {
    FAKE_ENTER(NULL);
    FAKE_TRACE_DESCRIPTOR("%u, %llu, %llu, %lld", type, (unsigned long long)rows, (unsigned long long)columns,
                          (long long)ld);
    const unsigned injected = fake_injected(call.name, ALLOC_FAILED);
    if (injected != 0) return injected;
    if (d == NULL) return INVALID_VALUE;
    fake_object *object = fake_object_create(FAKE_LAYOUT);
    object->layout = (fake_layout){type, rows, columns, ld};
    *d = (anx_lt_layout)object;
    return 0;
}

unsigned cublasLtMatrixLayoutDestroy(anx_lt_layout d) {
    FAKE_ENTER(NULL);
    FAKE_TRACE_DESCRIPTOR("%s", fake_name(d));
    return destroy(call.name, d, FAKE_LAYOUT);
}

/* ---- preferences --------------------------------------------------------------------------------------------- */

const fake_attributes blas_lt_no_preference = {{[ANX_CU_LT_REDUCTION_MASK] = 7,
                                                [5] = 256, /* alignment of A, B, C, D */
                                                [6] = 256,
                                                [7] = 256,
                                                [8] = 256,
                                                [ANX_CU_LT_IMPLEMENTATION_MASK] = UINT64_MAX}};

unsigned cublasLtMatmulPreferenceCreate(anx_lt_preference *d) {
    FAKE_ENTER(NULL);
    FAKE_TRACE_DESCRIPTOR("%s", "");
    const unsigned injected = fake_injected(call.name, ALLOC_FAILED);
    if (injected != 0) return injected;
    if (d == NULL) return INVALID_VALUE;
    fake_object *object = fake_object_create(FAKE_PREFERENCE);
    object->attributes = blas_lt_no_preference;
    *d = (anx_lt_preference)object;
    return 0;
}

unsigned cublasLtMatmulPreferenceSetAttribute(anx_lt_preference d, unsigned attr, const void *value, size_t bytes) {
#if FAKECUDA_CUDA == 11
    static const uint8_t sizes[] = {4, 8, 4, 4, 4, 4, 4, 4, 4, 4, 4, 4, 8, 4};
#else
    static const uint8_t sizes[] = {4, 8, 0, 4, 0, 4, 4, 4, 4, 4, 0, 0, 8};
#endif
    FAKE_ENTER(NULL);
    FAKE_TRACE_DESCRIPTOR("%s, %u, %zu", fake_name(d), attr, bytes);
    return set_in(call.name, d, FAKE_PREFERENCE, sizes, COUNT(sizes), attr, value, bytes);
}

unsigned cublasLtMatmulPreferenceDestroy(anx_lt_preference d) {
    FAKE_ENTER(NULL);
    FAKE_TRACE_DESCRIPTOR("%s", fake_name(d));
    return destroy(call.name, d, FAKE_PREFERENCE);
}
