#include "parity/element_value.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static double f64_from_bits(uint64_t bits) {
    double d;
    memcpy(&d, &bits, sizeof d);
    return d;
}

static double f32_from_bits(uint32_t bits) {
    float f;
    memcpy(&f, &bits, sizeof f);
    return (double)f;
}

int64_t anx_element_value_integer(anx_element_value v) {
    switch (v.dtype) {
    case ANX_I64: return (int64_t)v.bits;
    case ANX_I32: return (int32_t)(uint32_t)v.bits;
    case ANX_I16: return (int16_t)(uint16_t)v.bits;
    case ANX_I8: return (int8_t)(uint8_t)v.bits;
    default: return (int64_t)v.bits;
    }
}

double anx_element_value_real(anx_element_value v) {
    switch (v.dtype) {
    case ANX_F64: return f64_from_bits(v.bits);
    case ANX_F32: return f32_from_bits((uint32_t)v.bits);
    case ANX_F16: return (double)anx_f16_to_f32((uint16_t)v.bits);
    case ANX_BF16: return (double)anx_bf16_to_f32((uint16_t)v.bits);
    default: return (double)anx_element_value_integer(v);
    }
}

bool anx_element_value_is_nan(anx_element_value v) {
    return anx_dtype_is_float(v.dtype) && isnan(anx_element_value_real(v));
}

/* A floating number and a whole one, which a double may not hold exactly. */
static bool same_as_integer(double real, int64_t integer) {
    return real >= -0x1p63 && real < 0x1p63 && !(real == 0 && signbit(real)) && real == trunc(real) &&
           (int64_t)real == integer;
}

bool anx_element_value_same(anx_element_value a, anx_element_value b) {
    const bool a_float = anx_dtype_is_float(a.dtype), b_float = anx_dtype_is_float(b.dtype);
    if (!a_float && !b_float) return anx_element_value_integer(a) == anx_element_value_integer(b);
    if (!a_float) return same_as_integer(anx_element_value_real(b), anx_element_value_integer(a));
    if (!b_float) return same_as_integer(anx_element_value_real(a), anx_element_value_integer(b));
    const double x = anx_element_value_real(a), y = anx_element_value_real(b);
    return (isnan(x) && isnan(y)) || (x == y && signbit(x) == signbit(y));
}

static uint64_t integer_distance(int64_t a, int64_t b) {
    return a > b ? (uint64_t)a - (uint64_t)b : (uint64_t)b - (uint64_t)a;
}

double anx_element_value_difference(anx_element_value a, anx_element_value b) {
    if (!anx_dtype_is_float(a.dtype) && !anx_dtype_is_float(b.dtype))
        return (double)integer_distance(anx_element_value_integer(a), anx_element_value_integer(b));
    return fabs(anx_element_value_real(a) - anx_element_value_real(b));
}

bool anx_element_value_ulps(anx_element_value a, anx_element_value b, uint64_t *ulps) {
    if (!anx_dtype_is_float(a.dtype) && !anx_dtype_is_float(b.dtype)) {
        *ulps = integer_distance(anx_element_value_integer(a), anx_element_value_integer(b));
        return true;
    }
    if (a.dtype != b.dtype || anx_element_value_is_nan(a) || anx_element_value_is_nan(b)) return false;
    /* Without their signs the bits of floating numbers count the representable ones from zero up. */
    const uint64_t sign = (uint64_t)1 << (8 * anx_dtype_bytes(a.dtype) - 1);
    const uint64_t x = a.bits & ~sign, y = b.bits & ~sign;
    const bool one_side = (a.bits & sign) == (b.bits & sign);
    *ulps = !one_side ? x + y : x > y ? x - y : y - x;
    return true;
}

static anx_element_value from_real(double real, anx_dtype dtype) {
    anx_element_value v = {.dtype = dtype, .bits = 0};
    const float f = (float)real;
    switch (dtype) {
    case ANX_F64: memcpy(&v.bits, &real, sizeof real); break;
    case ANX_F32: memcpy(&v.bits, &f, sizeof f); break;
    case ANX_F16: v.bits = anx_f64_to_f16(real); break;
    default: v.bits = anx_f64_to_bf16(real); break;
    }
    return v;
}

anx_element_value anx_element_value_round(anx_element_value v, anx_dtype dtype) {
    return from_real(anx_element_value_real(v), dtype);
}

anx_element_value anx_element_value_truncate(anx_element_value v, anx_dtype dtype) {
    anx_element_value rounded = anx_element_value_round(v, dtype);
    /* Rounding that went away from zero (to infinity, perhaps) went one step too far. */
    if (fabs(anx_element_value_real(rounded)) > fabs(anx_element_value_real(v))) rounded.bits--;
    return rounded;
}

bool anx_element_value_is_rounded(anx_element_value v, anx_element_value to) {
    return anx_element_value_round(v, to.dtype).bits == to.bits ||
           (anx_element_value_is_nan(v) && anx_element_value_is_nan(to));
}

char *anx_element_value_format(anx_element_value v, char buf[ANX_ELEMENT_VALUE_TEXT]) {
    if (!anx_dtype_is_float(v.dtype)) {
        snprintf(buf, ANX_ELEMENT_VALUE_TEXT, "%" PRId64, anx_element_value_integer(v));
        return buf;
    }
    if (anx_element_value_is_nan(v)) {
        snprintf(buf, ANX_ELEMENT_VALUE_TEXT, "nan (0x%0*" PRIx64 ")", (int)(2 * anx_dtype_bytes(v.dtype)), v.bits);
        return buf;
    }
    for (int digits = 1; digits <= 17; digits++) { /* 17 are enough for any double */
        snprintf(buf, ANX_ELEMENT_VALUE_TEXT, "%.*g", digits, anx_element_value_real(v));
        if (from_real(strtod(buf, NULL), v.dtype).bits == v.bits) break;
    }
    return buf;
}
