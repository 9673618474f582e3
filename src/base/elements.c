#include "src/base/elements.h"

#include <math.h>
#include <string.h>

enum { piece_elems = 512, largest_element = 8 };

/* n elements of element_bytes, `stride` elements apart, side by side into out. */
static void gather(const char *in, int64_t stride, size_t element_bytes, int64_t n, char *out) {
    if (stride == 1 || n == 1) { /* of one element alone the stride means nothing, and may be anything */
        memcpy(out, in, (size_t)n * element_bytes);
        return;
    }
    const int64_t step = stride * (int64_t)element_bytes;
    switch (element_bytes) { /* of a known size each copy is one instruction */
    case 1:
        for (int64_t i = 0; i < n; i++) out[i] = in[i * step];
        break;
    case 2:
        for (int64_t i = 0; i < n; i++) memcpy(out + 2 * i, in + i * step, 2);
        break;
    case 4:
        for (int64_t i = 0; i < n; i++) memcpy(out + 4 * i, in + i * step, 4);
        break;
    default:
        for (int64_t i = 0; i < n; i++) memcpy(out + 8 * i, in + i * step, 8);
        break;
    }
}

static void swap(char *data, int64_t n, size_t element_bytes) {
    for (int64_t i = 0; i < n; i++) {
        uint16_t b2;
        uint32_t b4;
        uint64_t b8;
        char *at = data + i * (int64_t)element_bytes;
        switch (element_bytes) {
        case 2:
            memcpy(&b2, at, 2);
            b2 = __builtin_bswap16(b2);
            memcpy(at, &b2, 2);
            break;
        case 4:
            memcpy(&b4, at, 4);
            b4 = __builtin_bswap32(b4);
            memcpy(at, &b4, 4);
            break;
        case 8:
            memcpy(&b8, at, 8);
            b8 = __builtin_bswap64(b8);
            memcpy(at, &b8, 8);
            break;
        default: return;
        }
    }
}

/* The element that row-major index `first` means, in elements from the tensor's data; where it stands in its row. */
static int64_t locate(const anx_tensor *t, int64_t first, int64_t *in_row) {
    int64_t offset = 0;
    *in_row = t->rank > 0 ? first % t->shape[t->rank - 1] : 0;
    for (int i = t->rank - 1; i >= 0; i--) {
        offset += first % t->shape[i] * t->stride[i];
        first /= t->shape[i];
    }
    return offset;
}

/* As they are, but side by side and in host order. */
static void collect(const anx_elements *e, int64_t first, int64_t n, char *out) {
    const anx_tensor *t = &e->tensor;
    const size_t element_bytes = anx_dtype_bytes(t->dtype);
    const int64_t row = t->rank > 0 ? t->shape[t->rank - 1] : 1, stride = t->rank > 0 ? t->stride[t->rank - 1] : 1;
    for (int64_t done = 0; done < n;) {
        int64_t in_row;
        const int64_t offset = locate(t, first + done, &in_row);
        const int64_t now = row - in_row < n - done ? row - in_row : n - done;
        gather((const char *)t->data + offset * (int64_t)element_bytes, stride, element_bytes, now,
               out + done * (int64_t)element_bytes);
        done += now;
    }
    if (e->swapped) swap(out, n, element_bytes);
}

static double load(anx_dtype dtype, const char *p) {
    uint16_t h;
    float f;
    double d;
    switch (dtype) {
    case ANX_F16: memcpy(&h, p, sizeof h); return (double)anx_f16_to_f32(h);
    case ANX_BF16: memcpy(&h, p, sizeof h); return (double)anx_bf16_to_f32(h);
    case ANX_F32: memcpy(&f, p, sizeof f); return (double)f;
    default: memcpy(&d, p, sizeof d); return d;
    }
}

static void store(anx_dtype dtype, char *p, double value) {
    uint16_t h;
    float f;
    switch (dtype) {
    case ANX_F16: h = anx_f64_to_f16(value), memcpy(p, &h, sizeof h); break;
    case ANX_BF16: h = anx_f64_to_bf16(value), memcpy(p, &h, sizeof h); break;
    case ANX_F32: f = (float)value, memcpy(p, &f, sizeof f); break;
    default: memcpy(p, &value, sizeof value); break;
    }
}

static void note(double before, double after, anx_rounding *rounding) {
    if (after == before || isnan(before)) return;
    rounding->n_changed++;
    if (isinf(after)) {
        rounding->n_overflow++;
    } else if (after == 0) {
        rounding->n_underflow++;
    } else {
        const double relative = fabs(after - before) / fabs(before);
        if (relative > rounding->max_relative) rounding->max_relative = relative;
    }
}

/* A half to float32: exact, and a signalling NaN stays one, as in anx_tensor_convert. */
static void widen_half(anx_dtype from, const char *in, char *out, int64_t n) {
    for (int64_t i = 0; i < n; i++) {
        uint16_t h;
        memcpy(&h, in + i * 2, sizeof h);
        const float f = from == ANX_F16 ? anx_f16_to_f32(h) : anx_bf16_to_f32(h);
        memcpy(out + i * 4, &f, sizeof f);
    }
}

/* Every type of ours is held exactly by a double, so that the one rounding is the last. */
static void convert(anx_dtype from, const char *in, anx_dtype to, char *out, int64_t n, anx_rounding *rounding) {
    const int64_t in_bytes = (int64_t)anx_dtype_bytes(from), out_bytes = (int64_t)anx_dtype_bytes(to);
    const bool widens = to == ANX_F32 && from != ANX_F64;
    if (widens) widen_half(from, in, out, n);
    for (int64_t i = 0; i < n && !widens; i++) {
        const double before = load(from, in + i * in_bytes);
        store(to, out + i * out_bytes, before);
        if (rounding != NULL) note(before, load(to, out + i * out_bytes), rounding);
    }
    if (rounding != NULL) rounding->n_elems += n;
}

void anx_elements_read(const anx_elements *e, int64_t first, int64_t n, anx_dtype dtype, void *out,
                       anx_rounding *rounding) {
    const anx_dtype own = e->tensor.dtype;
    if (dtype == own) {
        collect(e, first, n, out);
        return;
    }
    char piece[piece_elems * largest_element];
    const int64_t out_bytes = (int64_t)anx_dtype_bytes(dtype);
    for (int64_t done = 0; done < n;) {
        const int64_t now = n - done < piece_elems ? n - done : piece_elems;
        collect(e, first + done, now, piece);
        convert(own, piece, dtype, (char *)out + done * out_bytes, now, rounding);
        done += now;
    }
}

const void *anx_elements_in_place(const anx_elements *e) {
    return e->swapped || !anx_tensor_is_contiguous(&e->tensor) ? NULL : e->tensor.data;
}

void anx_rounding_add(anx_rounding *total, const anx_rounding *part) {
    total->n_elems += part->n_elems;
    total->n_changed += part->n_changed;
    total->n_overflow += part->n_overflow;
    total->n_underflow += part->n_underflow;
    if (part->max_relative > total->max_relative) total->max_relative = part->max_relative;
}
