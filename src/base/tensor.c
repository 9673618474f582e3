#include "src/base/tensor.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "src/base/checked.h"
#include "src/base/huge_pages.h"
#include "src/base/threads.h"

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "anx reads little-endian data in place");

/* Conversions of fewer elements are not worth waking threads for. */
static const int64_t parallel_elems = 1 << 18;

static const struct {
    const char *name;
    size_t bytes;
    bool is_float;
} dtypes[ANX_DTYPE_COUNT] = {
    [ANX_F32] = {"float32", 4, true},   [ANX_F64] = {"float64", 8, true}, [ANX_F16] = {"float16", 2, true},
    [ANX_BF16] = {"bfloat16", 2, true}, [ANX_I64] = {"int64", 8, false},  [ANX_I32] = {"int32", 4, false},
    [ANX_I16] = {"int16", 2, false},    [ANX_I8] = {"int8", 1, false},    [ANX_U8] = {"uint8", 1, false},
    [ANX_BOOL] = {"bool", 1, false},
};

static bool dtype_known(anx_dtype dtype) {
    return (unsigned)dtype < ANX_DTYPE_COUNT;
}

size_t anx_dtype_bytes(anx_dtype dtype) {
    return dtype_known(dtype) ? dtypes[dtype].bytes : 0;
}

const char *anx_dtype_name(anx_dtype dtype) {
    return dtype_known(dtype) ? dtypes[dtype].name : "unknown";
}

bool anx_dtype_is_float(anx_dtype dtype) {
    return dtype_known(dtype) && dtypes[dtype].is_float;
}

bool anx_shape_elems(int rank, const int64_t *shape, int64_t *elems) {
    if (rank < 0 || rank > ANX_MAX_RANK) return false;
    int64_t n = 1;
    bool empty = false;
    for (int i = 0; i < rank; i++) {
        if (shape[i] < 0) return false;
        if (shape[i] == 0) empty = true;
        /* Zero extents are left out of the product: (0, 2^62, 4) must not hide an overflow of its strides. */
        else if (!anx_checked_mul_i64(n, shape[i], &n))
            return false;
    }
    *elems = empty ? 0 : n;
    return true;
}

int64_t anx_tensor_elems(const anx_tensor *t) {
    int64_t n = 0;
    return anx_shape_elems(t->rank, t->shape, &n) ? n : 0;
}

size_t anx_tensor_bytes(const anx_tensor *t) {
    return (size_t)anx_tensor_elems(t) * anx_dtype_bytes(t->dtype);
}

bool anx_tensor_is_contiguous(const anx_tensor *t) {
    int64_t expected = 1;
    if (anx_tensor_elems(t) == 0) return true;
    for (int i = t->rank - 1; i >= 0; i--) {
        if (t->shape[i] != 1 && t->stride[i] != expected) return false;
        expected *= t->shape[i];
    }
    return true;
}

bool anx_tensor_same_shape(const anx_tensor *a, const anx_tensor *b) {
    if (a->rank != b->rank) return false;
    for (int i = 0; i < a->rank; i++)
        if (a->shape[i] != b->shape[i]) return false;
    return true;
}

static void set_contiguous_strides(anx_tensor *t) {
    int64_t stride = 1;
    for (int i = t->rank - 1; i >= 0; i--) {
        t->stride[i] = stride;
        if (t->shape[i] > 0) stride *= t->shape[i];
    }
}

anx_tensor anx_tensor_view(anx_dtype dtype, int rank, const int64_t *shape, const void *data) {
    anx_tensor t = ANX_TENSOR_INIT;
    t.dtype = dtype;
    t.rank = rank;
    for (int i = 0; i < rank; i++) t.shape[i] = shape[i];
    set_contiguous_strides(&t);
    union {
        const void *in;
        void *out;
    } cast = {.in = data}; /* a view of constant data is written by nobody; the type serves both uses */
    t.data = cast.out;
    return t;
}

/*
 * Large tensors lie on huge pages where the system gives them for the asking: the optimizer, which goes through
 * several of them side by side, then reaches the memory's speed.
 */
static void *alloc_bytes(size_t bytes) {
    static const size_t large = (size_t)8 << 20;
    size_t rounded = 0;
    if (bytes < large || !anx_checked_align_size(bytes, anx_huge_page_bytes, &rounded))
        return aligned_alloc(ANX_ALIGNMENT_BYTES, bytes);
    void *data = aligned_alloc(anx_huge_page_bytes, rounded);
    if (data != NULL) anx_use_huge_pages(data, bytes);
    return data;
}

anx_status anx_tensor_alloc(anx_dtype dtype, int rank, const int64_t *shape, anx_tensor *out, anx_error *err) {
    int64_t elems = 0;
    size_t bytes = 0, rounded = 0;
    if (!dtype_known(dtype) || !anx_shape_elems(rank, shape, &elems))
        return anx_error_set(err, ANX_ERR_INVALID_ARGUMENT, "not a tensor shape: rank %d", rank);
    if (!anx_checked_mul_size((size_t)elems, anx_dtype_bytes(dtype), &bytes) ||
        !anx_checked_align_size(bytes > 0 ? bytes : 1, ANX_ALIGNMENT_BYTES, &rounded)) {
        char text[128];
        return anx_error_set(err, ANX_ERR_INVALID_ARGUMENT, "a %s tensor of shape %s overflows the address space",
                             anx_dtype_name(dtype), anx_shape_format(rank, shape, text, sizeof text));
    }
    void *data = alloc_bytes(rounded);
    if (data == NULL)
        return anx_error_set(err, ANX_ERR_OUT_OF_MEMORY, "out of memory for a tensor of %zu bytes", bytes);
    *out = anx_tensor_view(dtype, rank, shape, data);
    out->owned = data;
    return ANX_OK;
}

void anx_tensor_fini(anx_tensor *t) {
    if (t == NULL) return;
    free(t->owned);
    *t = (anx_tensor)ANX_TENSOR_INIT;
}

char *anx_shape_format(int rank, const int64_t *shape, char *buf, size_t size) {
    size_t used = 0;
    if (size == 0) return buf;
    used += (size_t)snprintf(buf, size, "(");
    for (int i = 0; i < rank && used < size; i++)
        used += (size_t)snprintf(buf + used, size - used, "%s%lld", i > 0 ? ", " : "", (long long)shape[i]);
    if (used < size) snprintf(buf + used, size - used, rank == 1 ? ",)" : ")");
    return buf;
}

/* ---- conversions ---------------------------------------------------------------------------------------- */

static uint32_t f32_bits(float f) {
    uint32_t u;
    memcpy(&u, &f, sizeof u);
    return u;
}

static float f32_from_bits(uint32_t u) {
    float f;
    memcpy(&f, &u, sizeof f);
    return f;
}

float anx_bf16_to_f32(uint16_t b) {
    return f32_from_bits((uint32_t)b << 16);
}

/* Without branches, so that loops over it become vector code. */
float anx_f16_to_f32(uint16_t h) {
    const uint32_t sign = (uint32_t)(h & 0x8000u) << 16, magnitude = h & 0x7fffu;
    const uint32_t bias = magnitude >= 0x7c00u ? 224u << 23 : 112u << 23; /* infinity and NaN keep the top exponent */
    const uint32_t normal = (magnitude << 13) + bias;
    const uint32_t subnormal = f32_bits((float)(int32_t)magnitude * 0x1p-24f); /* or zero; exact in float32 */
    return f32_from_bits(sign | (magnitude < 0x400u ? subnormal : normal));
}

/*
 * Rounds a double to a binary float of `exponent_bits` and `mantissa_bits` in one step, to nearest even, by integer
 * arithmetic on its own bits; what lies below half of the smallest subnormal becomes zero.
 */
static uint16_t narrow_f64(double d, int exponent_bits, int mantissa_bits) {
    uint64_t u;
    memcpy(&u, &d, sizeof u);
    const uint16_t sign = (uint16_t)((u >> 63) << (exponent_bits + mantissa_bits));
    const int max_exponent = (1 << exponent_bits) - 1, bias = max_exponent >> 1;
    const int exponent = (int)((u >> 52) & 0x7ff);
    const uint64_t fraction = u & 0xfffffffffffffull;
    const uint16_t infinity = (uint16_t)(max_exponent << mantissa_bits);
    if (exponent == 0x7ff) {
        if (fraction == 0) return sign | infinity;
        /* A quiet NaN with the payload's top bits, as the hardware's own conversions give. */
        return (uint16_t)(sign | infinity | (1u << (mantissa_bits - 1)) | (uint16_t)(fraction >> (52 - mantissa_bits)));
    }
    if (exponent == 0) return sign; /* a double subnormal is far below any narrow one */
    int target = exponent - 1023 + bias;
    uint64_t significand = fraction | (1ull << 52);
    int drop = 52 - mantissa_bits;
    if (target <= 0) { /* subnormal result: shift further, exponent field 0 */
        drop += 1 - target;
        target = 0;
        if (drop > 54) return sign;
    }
    const uint64_t kept = significand >> drop, rest = significand & ((1ull << drop) - 1), half = 1ull << (drop - 1);
    uint64_t rounded = kept + (rest > half || (rest == half && (kept & 1u)));
    /* The hidden bit of a normal result carries into the exponent field by plain addition, as does a round-up. */
    if (target > 0) rounded += (uint64_t)(target - 1) << mantissa_bits;
    if (rounded >= infinity) return sign | infinity;
    return (uint16_t)(sign | (uint16_t)rounded);
}

uint16_t anx_f64_to_f16(double d) {
    return narrow_f64(d, 5, 10);
}

uint16_t anx_f64_to_bf16(double d) {
    return narrow_f64(d, 8, 7);
}

/* Every float is a double, so the double's rounding is the only one. */
uint16_t anx_f32_to_f16(float f) {
    return narrow_f64((double)f, 5, 10);
}

uint16_t anx_f32_to_bf16(float f) {
    return narrow_f64((double)f, 8, 7);
}

static double load_float(anx_dtype dtype, const void *p) {
    uint16_t h;
    switch (dtype) {
    case ANX_F64: {
        double d;
        memcpy(&d, p, sizeof d);
        return d;
    }
    case ANX_F16: memcpy(&h, p, sizeof h); return (double)anx_f16_to_f32(h);
    case ANX_BF16: memcpy(&h, p, sizeof h); return (double)anx_bf16_to_f32(h);
    default: {
        float f;
        memcpy(&f, p, sizeof f);
        return (double)f;
    }
    }
}

static void store_float(anx_dtype dtype, void *p, double d) {
    uint16_t h;
    float f;
    switch (dtype) {
    case ANX_F64: memcpy(p, &d, sizeof d); return;
    case ANX_F16:
        h = anx_f64_to_f16(d);
        memcpy(p, &h, sizeof h);
        return;
    case ANX_BF16:
        h = anx_f64_to_bf16(d);
        memcpy(p, &h, sizeof h);
        return;
    default:
        f = (float)d;
        memcpy(p, &f, sizeof f);
        return;
    }
}

/* The conversions that loading meets: n elements, `stride` apart, to contiguous float32. */
static void f16_row(const uint16_t *in, int64_t stride, float *out, int64_t n) {
    for (int64_t i = 0; i < n; i++) out[i] = anx_f16_to_f32(in[i * stride]);
}

static void bf16_row(const uint16_t *in, int64_t stride, float *out, int64_t n) {
    for (int64_t i = 0; i < n; i++) out[i] = anx_bf16_to_f32(in[i * stride]);
}

static void f64_row(const double *in, int64_t stride, float *out, int64_t n) {
    for (int64_t i = 0; i < n; i++) out[i] = (float)in[i * stride];
}

static void f32_row(const float *in, int64_t stride, float *out, int64_t n) {
    for (int64_t i = 0; i < n; i++) out[i] = in[i * stride];
}

/* One innermost row of n elements, `stride` elements apart, into contiguous memory. */
static void convert_row(anx_dtype from, const char *in, int64_t stride, anx_dtype to, char *out, int64_t n) {
    const size_t in_bytes = anx_dtype_bytes(from), out_bytes = anx_dtype_bytes(to);
    if (from == to && stride == 1) {
        memcpy(out, in, (size_t)n * in_bytes);
        return;
    }
    if (to == ANX_F32 && (uintptr_t)in % in_bytes == 0) {
        const void *aligned = in;
        void *floats = out;
        switch (from) {
        case ANX_F16: f16_row(aligned, stride, floats, n); return;
        case ANX_BF16: bf16_row(aligned, stride, floats, n); return;
        case ANX_F64: f64_row(aligned, stride, floats, n); return;
        case ANX_F32: f32_row(aligned, stride, floats, n); return;
        default: break;
        }
    }
    for (int64_t i = 0; i < n; i++) {
        const char *p = in + i * stride * (int64_t)in_bytes;
        if (from == to)
            memcpy(out + i * (int64_t)out_bytes, p, in_bytes);
        else
            store_float(to, out + i * (int64_t)out_bytes, load_float(from, p));
    }
}

/* Where row r of t (all dimensions but the last) begins, in elements. */
static int64_t row_offset(const anx_tensor *t, int64_t r) {
    int64_t offset = 0;
    for (int i = t->rank - 2; i >= 0; i--) {
        offset += r % t->shape[i] * t->stride[i];
        r /= t->shape[i];
    }
    return offset;
}

static void convert_row_of(const anx_tensor *t, int64_t r, anx_tensor *out) {
    const int64_t row = t->rank > 0 ? t->shape[t->rank - 1] : 1, stride = t->rank > 0 ? t->stride[t->rank - 1] : 1;
    const int64_t in_bytes = (int64_t)anx_dtype_bytes(t->dtype), out_bytes = (int64_t)anx_dtype_bytes(out->dtype);
    convert_row(t->dtype, (const char *)t->data + row_offset(t, r) * in_bytes, stride, out->dtype,
                (char *)out->data + r * row * out_bytes, row);
}

/* One thread does without a team: where there is no memory for one, the OpenMP runtime ends the process. */
static void convert_rows(const anx_tensor *t, int64_t n_rows, anx_tensor *out, int threads) {
    if (threads <= 1) {
        for (int64_t r = 0; r < n_rows; r++) convert_row_of(t, r, out);
        return;
    }
#pragma omp parallel for schedule(static) num_threads(threads)
    for (int64_t r = 0; r < n_rows; r++) convert_row_of(t, r, out);
}

anx_status anx_tensor_convert(const anx_tensor *t, anx_dtype dtype, anx_tensor *out, anx_error *err) {
    if (t->dtype != dtype && !(anx_dtype_is_float(t->dtype) && anx_dtype_is_float(dtype)))
        return anx_error_set(err, ANX_ERR_UNSUPPORTED,
                             "cannot convert %s to %s: only floating-point types are converted",
                             anx_dtype_name(t->dtype), anx_dtype_name(dtype));
    anx_tensor result = ANX_TENSOR_INIT;
    anx_status status = anx_tensor_alloc(dtype, t->rank, t->shape, &result, err);
    if (status != ANX_OK) return status;
    const int64_t elems = anx_tensor_elems(t);
    const int64_t row = t->rank > 0 ? t->shape[t->rank - 1] : 1;
    convert_rows(t, row > 0 ? elems / row : 0, &result, elems >= parallel_elems ? anx_threads_available() : 1);
    *out = result;
    return ANX_OK;
}
