#include "src/base/tensor_stats.h"

#include <float.h>
#include <math.h>
#include <string.h>

enum { block_elems = 512, largest_element = 8, lanes = 8 };

/* ---- a block: elements of any type as doubles ------------------------------------------------------------ */

#define TO_DOUBLE(type, expression)                                                                                    \
    for (int64_t i = 0; i < n; i++) {                                                                                  \
        type v;                                                                                                        \
        memcpy(&v, in + i * (int64_t)sizeof v, sizeof v);                                                              \
        out[i] = (double)(expression);                                                                                 \
    }                                                                                                                  \
    break

/* Contiguous and in host order, at any address. int64 is rounded beyond 2^53. */
static void to_double(anx_dtype dtype, const char *in, int64_t n, double *out) {
    switch (dtype) {
    case ANX_F32: TO_DOUBLE(float, v);
    case ANX_F64: TO_DOUBLE(double, v);
    case ANX_F16: TO_DOUBLE(uint16_t, anx_f16_to_f32(v));
    case ANX_BF16: TO_DOUBLE(uint16_t, anx_bf16_to_f32(v));
    case ANX_I64: TO_DOUBLE(int64_t, v);
    case ANX_I32: TO_DOUBLE(int32_t, v);
    case ANX_I16: TO_DOUBLE(int16_t, v);
    case ANX_I8: TO_DOUBLE(int8_t, v);
    case ANX_U8: TO_DOUBLE(uint8_t, v);
    case ANX_BOOL: TO_DOUBLE(uint8_t, v != 0);
    case ANX_DTYPE_COUNT: break;
    }
}

/* Lane l sums elements l, l + 8, ...: an order that does not depend on the compiler's vectors. */
typedef struct sums {
    double sum[lanes], min[lanes], max[lanes];
    int64_t n_nan[lanes], n_inf[lanes];
} sums;

static void sums_init(sums *s) {
    memset(s, 0, sizeof *s);
    for (int l = 0; l < lanes; l++) {
        s->min[l] = INFINITY;
        s->max[l] = -INFINITY;
    }
}

static void sums_add(sums *s, int l, double v) {
    const double magnitude = fabs(v);
    s->sum[l] += magnitude <= DBL_MAX ? v : 0.0;
    s->min[l] = v < s->min[l] ? v : s->min[l];
    s->max[l] = v > s->max[l] ? v : s->max[l];
    s->n_nan[l] += v != v;
    s->n_inf[l] += magnitude > DBL_MAX;
}

static void sums_add_block(sums *s, const double *block, int64_t n) {
    int64_t i = 0;
    for (; i + lanes <= n; i += lanes)
        for (int l = 0; l < lanes; l++) sums_add(s, l, block[i + l]);
    for (; i < n; i++) sums_add(s, (int)(i % lanes), block[i]);
}

static void sums_finish(const sums *s, anx_tensor_stats *out) {
    for (int l = 0; l < lanes; l++) {
        out->sum += s->sum[l];
        out->min = s->min[l] < out->min ? s->min[l] : out->min;
        out->max = s->max[l] > out->max ? s->max[l] : out->max;
        out->n_nan += s->n_nan[l];
        out->n_inf += s->n_inf[l];
    }
}

/* A double does not hold every int64. */
static void add_int64(anx_tensor_stats *out, const char *in, int64_t n) {
    int64_t min = out->int_min, max = out->int_max;
    for (int64_t i = 0; i < n; i++) {
        int64_t v;
        memcpy(&v, in + 8 * i, sizeof v);
        min = v < min ? v : min;
        max = v > max ? v : max;
    }
    out->int_min = min;
    out->int_max = max;
}

/* ---- pieces --------------------------------------------------------------------------------------------- */

int64_t anx_tensor_stats_pieces(const anx_elements *e) {
    const int64_t n = anx_tensor_elems(&e->tensor);
    return n / ANX_STATS_PIECE_ELEMS + (n % ANX_STATS_PIECE_ELEMS != 0);
}

void anx_tensor_stats_piece(const anx_elements *e, int64_t piece, anx_tensor_stats *out) {
    const anx_dtype dtype = e->tensor.dtype;
    const int64_t all = anx_tensor_elems(&e->tensor), first = piece * ANX_STATS_PIECE_ELEMS;
    const int64_t n = all - first < ANX_STATS_PIECE_ELEMS ? all - first : ANX_STATS_PIECE_ELEMS;
    const char *in_place = anx_elements_in_place(e);
    char gathered[block_elems * largest_element];
    double block[block_elems];
    sums s;
    *out = (anx_tensor_stats)ANX_TENSOR_STATS_INIT;
    sums_init(&s);
    for (int64_t done = 0; done < n; done += block_elems) {
        const int64_t now = n - done < block_elems ? n - done : block_elems;
        const char *in = gathered;
        if (in_place != NULL)
            in = in_place + (first + done) * (int64_t)anx_dtype_bytes(dtype);
        else
            anx_elements_read(e, first + done, now, dtype, gathered, NULL);
        to_double(dtype, in, now, block);
        sums_add_block(&s, block, now);
        if (dtype == ANX_I64) add_int64(out, in, now);
    }
    sums_finish(&s, out);
    out->n_elems = n;
    if (dtype == ANX_I64 || anx_dtype_is_float(dtype)) return;
    out->int_min = (int64_t)out->min;
    out->int_max = (int64_t)out->max;
}

void anx_tensor_stats_add(anx_tensor_stats *total, const anx_tensor_stats *piece) {
    total->n_elems += piece->n_elems;
    total->n_nan += piece->n_nan;
    total->n_inf += piece->n_inf;
    total->sum += piece->sum;
    if (piece->min < total->min) total->min = piece->min;
    if (piece->max > total->max) total->max = piece->max;
    if (piece->int_min < total->int_min) total->int_min = piece->int_min;
    if (piece->int_max > total->int_max) total->int_max = piece->int_max;
}

double anx_tensor_stats_mean(const anx_tensor_stats *stats) {
    const int64_t finite = stats->n_elems - stats->n_nan - stats->n_inf;
    return finite > 0 ? stats->sum / (double)finite : (double)NAN;
}
