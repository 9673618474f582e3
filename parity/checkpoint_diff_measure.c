#include "parity/checkpoint_diff_measure.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "parity/elements_equal.h"

enum { piece_elems = 1024, largest_element = 8, most_shares = 128 };
static const int64_t share_elems = 1 << 14; /* a share has at least so many */

/* What is known of a share of the elements; shares are put together in their order, whoever computed them. */
typedef struct partial {
    int64_t n_different, n_nan_a, n_nan_b, n_nan_bits, n_zero_signs, n_overflow, n_underflow;
    int64_t first, abs_at, ulps_at; /* -1: none */
    double max_abs;
    uint64_t max_ulps;
    bool unfit[ANX_DIFF_RELATION_COUNT]; /* relations that some element does not have */
} partial;

typedef struct measuring {
    const anx_elements *a, *b;
    bool one_dtype, floating; /* floating: both are */
    bool relations, ulps;     /* what to look for besides */
    anx_dtype narrower;
} measuring;

/* Some of the elements, as they are and, where both are floating, as numbers. */
typedef struct piece {
    int64_t from, n;
    size_t a_bytes, b_bytes; /* of an element */
    char a[piece_elems * largest_element], b[piece_elems * largest_element];
    double x[piece_elems], y[piece_elems];
} piece;

static anx_element_value a_of(const measuring *m, const piece *e, int64_t i) {
    return anx_element_value_load(m->a->tensor.dtype, e->a + (size_t)i * e->a_bytes);
}

static anx_element_value b_of(const measuring *m, const piece *e, int64_t i) {
    return anx_element_value_load(m->b->tensor.dtype, e->b + (size_t)i * e->b_bytes);
}

/* ---- an element at a time ------------------------------------------------------------------------------- */

static void note_size(const measuring *m, partial *p, int64_t at, anx_element_value x, anx_element_value y) {
    const double difference = anx_element_value_difference(x, y);
    if (p->abs_at < 0 || difference > p->max_abs) {
        p->max_abs = difference;
        p->abs_at = at;
    }
    if (!m->ulps) return;
    uint64_t ulps;
    if (!m->one_dtype && m->floating) {
        x = anx_element_value_round(x, m->narrower);
        y = anx_element_value_round(y, m->narrower);
    }
    if (anx_element_value_ulps(x, y, &ulps) && (p->ulps_at < 0 || ulps > p->max_ulps)) {
        p->max_ulps = ulps;
        p->ulps_at = at;
    }
}

static void note_element(const measuring *m, partial *p, int64_t at, anx_element_value x, anx_element_value y) {
    if (m->one_dtype ? x.bits == y.bits : anx_element_value_same(x, y)) return;
    if (p->n_different++ == 0) p->first = at;
    const bool x_nan = anx_element_value_is_nan(x), y_nan = anx_element_value_is_nan(y);
    if (x_nan || y_nan) {
        p->n_nan_bits += x_nan && y_nan;
        p->n_nan_a += !y_nan;
        p->n_nan_b += !x_nan;
        return;
    }
    note_size(m, p, at, x, y);
    const double real_x = anx_element_value_real(x), real_y = anx_element_value_real(y);
    p->n_zero_signs += real_x == 0 && real_y == 0;
    if (m->one_dtype) return;
    p->n_overflow += isinf(real_x) != isinf(real_y);
    p->n_underflow += (real_x == 0) != (real_y == 0);
}

/* ---- many at a time ------------------------------------------------------------------------------------- */

static void load_reals(anx_dtype dtype, const char *in, int64_t n, double *out) {
    float f;
    uint16_t h;
    switch (dtype) {
    case ANX_F32:
        for (int64_t i = 0; i < n; i++) memcpy(&f, in + 4 * i, sizeof f), out[i] = (double)f;
        break;
    case ANX_F16:
        for (int64_t i = 0; i < n; i++) memcpy(&h, in + 2 * i, sizeof h), out[i] = (double)anx_f16_to_f32(h);
        break;
    case ANX_BF16:
        for (int64_t i = 0; i < n; i++) memcpy(&h, in + 2 * i, sizeof h), out[i] = (double)anx_bf16_to_f32(h);
        break;
    default: memcpy(out, in, (size_t)n * sizeof *out); break;
    }
}

/* The largest distance among floating elements of one type that holds no NaN here. */
static uint64_t farthest(const measuring *m, const piece *e) {
    uint64_t largest = 0, ulps = 0;
    for (int64_t i = 0; i < e->n; i++)
        if (anx_element_value_ulps(a_of(m, e, i), b_of(m, e, i), &ulps) && ulps > largest) largest = ulps;
    return largest;
}

/*
 * Maxima are seldom beaten and what is special is rare: true, and all is noted, where this piece has neither; otherwise
 * its elements have to be looked at one by one.
 */
static bool note_plain(const measuring *m, partial *p, const piece *e) {
    int64_t different = 0;
    double largest = 0;
    bool special = false;
    for (int64_t i = 0; i < e->n; i++) {
        const double x = e->x[i], y = e->y[i], difference = fabs(x - y);
        different += x != y;
        largest = difference > largest ? difference : largest;
        special |= (x != x) | (y != y) | ((x == y) & (signbit(x) != signbit(y))) | ((x == 0) != (y == 0)) |
                   (isinf(x) != isinf(y));
    }
    if (special || largest > p->max_abs || (different > 0 && (p->first < 0 || p->abs_at < 0))) return false;
    if (m->ulps && (!m->one_dtype || farthest(m, e) > p->max_ulps)) return false;
    p->n_different += different;
    return true;
}

static bool relation_fits(const measuring *m, const piece *e, anx_diff_relation relation) {
    const anx_dtype a_dtype = m->a->tensor.dtype, b_dtype = m->b->tensor.dtype;
    for (int64_t i = 0; i < e->n; i++) {
        const anx_element_value x = a_of(m, e, i), y = b_of(m, e, i);
        bool fits = false;
        switch (relation) {
        case ANX_DIFF_EQUAL_VALUES: fits = anx_element_value_same(x, y); break;
        case ANX_DIFF_B_ROUNDED: fits = anx_element_value_is_rounded(x, y); break;
        case ANX_DIFF_A_ROUNDED: fits = anx_element_value_is_rounded(y, x); break;
        case ANX_DIFF_B_TRUNCATED: fits = anx_element_value_same(anx_element_value_truncate(x, b_dtype), y); break;
        case ANX_DIFF_A_TRUNCATED: fits = anx_element_value_same(anx_element_value_truncate(y, a_dtype), x); break;
        case ANX_DIFF_UNRELATED:
        case ANX_DIFF_RELATION_COUNT: break;
        }
        if (!fits) return false;
    }
    return true;
}

/* What one element has ruled out need not be looked at for the next. */
static void note_relations(const measuring *m, partial *p, const piece *e) {
    const int end = m->floating ? ANX_DIFF_UNRELATED : ANX_DIFF_B_ROUNDED;
    for (int i = 0; i < end; i++) p->unfit[i] = p->unfit[i] || !relation_fits(m, e, (anx_diff_relation)i);
    for (int i = end; i < ANX_DIFF_UNRELATED; i++) p->unfit[i] = true;
}

static void measure_piece(const measuring *m, partial *p, piece *e) {
    const anx_dtype a_dtype = m->a->tensor.dtype, b_dtype = m->b->tensor.dtype;
    anx_elements_read(m->a, e->from, e->n, a_dtype, e->a, NULL);
    anx_elements_read(m->b, e->from, e->n, b_dtype, e->b, NULL);
    if (m->one_dtype && memcmp(e->a, e->b, (size_t)e->n * e->a_bytes) == 0) return;
    if (m->relations) note_relations(m, p, e);
    if (m->floating) {
        load_reals(a_dtype, e->a, e->n, e->x);
        load_reals(b_dtype, e->b, e->n, e->y);
        if (note_plain(m, p, e)) return;
    }
    for (int64_t i = 0; i < e->n; i++) note_element(m, p, e->from + i, a_of(m, e, i), b_of(m, e, i));
}

static void measure_share(const measuring *m, partial *p, anx_share share) {
    piece e = {.from = share.from,
               .a_bytes = anx_dtype_bytes(m->a->tensor.dtype),
               .b_bytes = anx_dtype_bytes(m->b->tensor.dtype)};
    for (; e.from < share.to; e.from += e.n) {
        e.n = share.to - e.from < piece_elems ? share.to - e.from : piece_elems;
        measure_piece(m, p, &e);
    }
}

/* ---- put together --------------------------------------------------------------------------------------- */

static void add_partial(partial *total, const partial *p) {
    total->n_different += p->n_different;
    total->n_nan_a += p->n_nan_a;
    total->n_nan_b += p->n_nan_b;
    total->n_nan_bits += p->n_nan_bits;
    total->n_zero_signs += p->n_zero_signs;
    total->n_overflow += p->n_overflow;
    total->n_underflow += p->n_underflow;
    if (total->first < 0) total->first = p->first;
    if (p->abs_at >= 0 && (total->abs_at < 0 || p->max_abs > total->max_abs)) {
        total->max_abs = p->max_abs;
        total->abs_at = p->abs_at;
    }
    if (p->ulps_at >= 0 && (total->ulps_at < 0 || p->max_ulps > total->max_ulps)) {
        total->max_ulps = p->max_ulps;
        total->ulps_at = p->ulps_at;
    }
    for (int i = 0; i < ANX_DIFF_RELATION_COUNT; i++) total->unfit[i] |= p->unfit[i];
}

static anx_element_value read_one(const anx_elements *e, int64_t at) {
    char bytes[largest_element];
    anx_elements_read(e, at, 1, e->tensor.dtype, bytes, NULL);
    return anx_element_value_load(e->tensor.dtype, bytes);
}

static anx_diff_element element_at(const measuring *m, int64_t at) {
    anx_diff_element e = {.known = at >= 0};
    if (at < 0) return e;
    e.a = read_one(m->a, at);
    e.b = read_one(m->b, at);
    const anx_tensor *t = &m->a->tensor;
    int64_t rest = at;
    for (int i = t->rank - 1; i >= 0; i--) {
        e.index[i] = rest % t->shape[i];
        rest /= t->shape[i];
    }
    return e;
}

static anx_diff_relation first_fit(const partial *p) {
    anx_diff_relation relation = ANX_DIFF_EQUAL_VALUES;
    while (relation < ANX_DIFF_UNRELATED && p->unfit[relation]) relation++;
    return relation;
}

static anx_diff_measure measure_of(const measuring *m, const partial *p, int64_t times) {
    return (anx_diff_measure){
        .n_elems = anx_tensor_elems(&m->a->tensor) * times,
        .n_different = p->n_different * times,
        .n_nan_a = p->n_nan_a * times,
        .n_nan_b = p->n_nan_b * times,
        .n_nan_bits = p->n_nan_bits * times,
        .n_zero_signs = p->n_zero_signs * times,
        .n_overflow = p->n_overflow * times,
        .n_underflow = p->n_underflow * times,
        .max_abs = p->abs_at >= 0 ? p->max_abs : (double)NAN,
        .has_ulps = p->ulps_at >= 0,
        .max_ulps = p->max_ulps,
        .ulps_dtype = m->narrower,
        .first = element_at(m, p->first),
        .abs = element_at(m, p->abs_at),
        .ulp = element_at(m, p->ulps_at),
    };
}

static anx_status measure_all(const measuring *m, int threads, partial *total, anx_error *err) {
    const int64_t n = anx_tensor_elems(&m->a->tensor), wanted = n / share_elems + 1;
    const int shares = wanted < most_shares ? (int)wanted : most_shares;
    partial *parts = calloc((size_t)shares, sizeof *parts);
    if (parts == NULL) return anx_error_set(err, ANX_ERR_OUT_OF_MEMORY, "out of memory");
#pragma omp parallel for schedule(dynamic, 1) num_threads(threads > 0 ? threads : 1) if (shares > 1)
    for (int i = 0; i < shares; i++) {
        partial p = {.first = -1, .abs_at = -1, .ulps_at = -1};
        measure_share(m, &p, anx_share_of(n, i, shares));
        parts[i] = p;
    }
    *total = parts[0];
    for (int i = 1; i < shares; i++) add_partial(total, &parts[i]);
    free(parts);
    return ANX_OK;
}

anx_status anx_diff_measure_elements(const anx_elements *a, const anx_elements *b, int64_t times, int threads,
                                     anx_diff_measure *out, anx_error *err) {
    const anx_dtype a_dtype = a->tensor.dtype, b_dtype = b->tensor.dtype;
    measuring m = {.a = a,
                   .b = b,
                   .one_dtype = a_dtype == b_dtype,
                   .floating = anx_dtype_is_float(a_dtype) && anx_dtype_is_float(b_dtype),
                   .relations = a_dtype != b_dtype,
                   .ulps = a_dtype == b_dtype,
                   .narrower = anx_dtype_bytes(a_dtype) < anx_dtype_bytes(b_dtype) ? a_dtype : b_dtype};
    partial total;
    anx_status status = measure_all(&m, threads, &total, err);
    if (status != ANX_OK) return status;
    const anx_diff_relation relation = first_fit(&total);
    if (m.relations && relation > ANX_DIFF_A_ROUNDED) { /* rounding explains no distance */
        m.relations = false;
        m.ulps = true;
        status = measure_all(&m, threads, &total, err);
        if (status != ANX_OK) return status;
    }
    *out = measure_of(&m, &total, times);
    out->relation = relation;
    return ANX_OK;
}
