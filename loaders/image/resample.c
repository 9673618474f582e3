#include "loaders/image/resample.h"

#include <limits.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "loaders/image/resample_avx2.h"
#include "src/base/checked.h"

/* Pillow's bilinear_filter: a triangle of half-width 1. */
static double triangle(double x) {
    if (x < 0.0) x = -x;
    return x < 1.0 ? 1.0 - x : 0.0;
}

typedef struct axis_scale {
    double scale;        /* source pixels per output pixel */
    double filter_scale; /* the same, at least 1: the filter widens only when shrinking */
    int32_t max_taps;    /* Resample.c's ksize */
} axis_scale;

static axis_scale scale_of(int32_t in, int32_t out) {
    axis_scale s;
    /* Pillow hands the source box through C floats, which matters beyond 2^24 pixels. */
    s.scale = (double)(float)in / out;
    s.filter_scale = s.scale < 1.0 ? 1.0 : s.scale;
    s.max_taps = (int32_t)ceil(s.filter_scale) * 2 + 1;
    return s;
}

/* precompute_coeffs for one output position, as far as which source positions it reads. */
static void position_reach(anx_resample_axis *axis, const axis_scale *s, int32_t i) {
    const double center = (axis->first + i + 0.5) * s->scale;
    const double support = s->filter_scale;
    int32_t begin = (int32_t)(center - support + 0.5);
    if (begin < 0) begin = 0;
    int32_t end = (int32_t)(center + support + 0.5);
    if (end > axis->in) end = axis->in;
    axis->start[i] = begin;
    axis->taps[i] = end - begin;
    if (axis->taps[i] > axis->most_taps) axis->most_taps = axis->taps[i];
}

/* The rest of it, and normalize_coeffs_8bpc: same operations in the same order. */
static void position_weights(anx_resample_axis *axis, const axis_scale *s, int32_t i, double *scratch) {
    const double center = (axis->first + i + 0.5) * s->scale;
    const int32_t begin = axis->start[i], taps = axis->taps[i];
    const double inverse = 1.0 / s->filter_scale;
    double sum = 0.0;
    for (int32_t t = 0; t < taps; t++) {
        scratch[t] = triangle((t + begin - center + 0.5) * inverse);
        sum += scratch[t];
    }
    int32_t *weight = axis->weight + (size_t)i * (size_t)axis->stride;
    for (int32_t t = 0; t < taps; t++) {
        double k = scratch[t];
        if (sum != 0.0) k /= sum;
        weight[t] = (int32_t)(0.5 + k * (1 << ANX_RESAMPLE_BITS));
        int16_t *split = anx_resample_split(axis, i, t / 4) + t % 4;
        split[0] = (int16_t)(weight[t] >> ANX_RESAMPLE_LOW_BITS);
        split[4] = (int16_t)(weight[t] & ((1 << ANX_RESAMPLE_LOW_BITS) - 1));
    }
}

/* Where there are the positions' reaches: makes room for their weights. */
static anx_status allocate_weights(anx_resample_axis *axis, anx_error *err) {
    axis->groups = (axis->most_taps + 3) / 4;
    axis->stride = axis->most_taps;
    size_t weights, split;
    if (!anx_checked_mul_size((size_t)axis->count, (size_t)axis->stride, &weights) ||
        !anx_checked_mul_size((size_t)axis->count, (size_t)axis->groups * 8, &split))
        return anx_error_set(err, ANX_ERR_LIMIT, "too many filter weights for %d pixels", axis->count);
    axis->weight = calloc(weights + 1, sizeof *axis->weight);
    axis->split = calloc(split + 1, sizeof *axis->split);
    if (axis->weight == NULL || axis->split == NULL)
        return anx_error_set(err, ANX_ERR_OUT_OF_MEMORY, "out of memory for the weights of %d pixels", axis->count);
    return ANX_OK;
}

anx_status anx_resample_axis_init(anx_resample_axis *axis, int32_t in, int32_t out, int32_t first, int32_t count,
                                  anx_error *err) {
    const axis_scale s = scale_of(in, out);
    if (out > INT_MAX / (s.max_taps * (int)sizeof(double)))
        return anx_error_set(err, ANX_ERR_LIMIT,
                             "resizing %d pixels to %d needs more filter weights than Pillow can address", in, out);

    anx_resample_axis made = {.in = in, .out = out, .first = first, .count = count};
    anx_status status = ANX_OK;
    double *scratch = malloc((size_t)s.max_taps * sizeof *scratch);
    made.start = calloc((size_t)count + 1, sizeof *made.start);
    made.taps = calloc((size_t)count + 1, sizeof *made.taps);
    if (made.start == NULL || made.taps == NULL || scratch == NULL) {
        status = anx_error_set(err, ANX_ERR_OUT_OF_MEMORY, "out of memory for the weights of %d pixels", count);
        goto out;
    }
    for (int32_t i = 0; i < count; i++) position_reach(&made, &s, i);
    status = allocate_weights(&made, err);
    if (status != ANX_OK) goto out;
    for (int32_t i = 0; i < count; i++) position_weights(&made, &s, i, scratch);
    *axis = made;
    made = (anx_resample_axis)ANX_RESAMPLE_AXIS_INIT;
out:
    free(scratch);
    anx_resample_axis_fini(&made);
    return status;
}

void anx_resample_axis_fini(anx_resample_axis *axis) {
    if (axis == NULL) return;
    free(axis->start);
    free(axis->taps);
    free(axis->weight);
    free(axis->split);
    *axis = (anx_resample_axis)ANX_RESAMPLE_AXIS_INIT;
}

void anx_resample_axis_source(const anx_resample_axis *axis, int32_t *begin, int32_t *end) {
    const int32_t last = axis->count - 1; /* both bounds grow with the position */
    *begin = axis->start[0];
    *end = axis->start[last] + axis->taps[last];
}

static inline uint8_t clip(int32_t sum) {
    const int32_t v = sum >> ANX_RESAMPLE_BITS;
    return (uint8_t)(v < 0 ? 0 : v > 255 ? 255 : v);
}

static void row_portable(const anx_resample_axis *axis, const uint8_t *row, int32_t column, uint8_t *out) {
    for (int32_t i = 0; i < axis->count; i++, out += ANX_RESAMPLE_CHANNELS) {
        const uint8_t *pixel = row + (size_t)(axis->start[i] - column) * ANX_RESAMPLE_CHANNELS;
        const int32_t *weight = axis->weight + (size_t)i * (size_t)axis->stride;
        int32_t sum[ANX_RESAMPLE_CHANNELS];
        for (int c = 0; c < ANX_RESAMPLE_CHANNELS; c++) sum[c] = 1 << (ANX_RESAMPLE_BITS - 1);
        for (int32_t t = 0; t < axis->taps[i]; t++, pixel += ANX_RESAMPLE_CHANNELS)
            for (int c = 0; c < ANX_RESAMPLE_CHANNELS; c++) sum[c] += pixel[c] * weight[t];
        for (int c = 0; c < ANX_RESAMPLE_CHANNELS; c++) out[c] = clip(sum[c]);
    }
}

/* In blocks that stay in registers or the first-level cache, so that the inner loop runs over neighbouring bytes. */
static void column_portable(const int32_t *weight, int32_t taps, const uint8_t *const *rows, size_t n_bytes,
                            uint8_t *out) {
    enum { BLOCK = 64 };
    for (size_t begin = 0; begin < n_bytes; begin += BLOCK) {
        const size_t n = n_bytes - begin < BLOCK ? n_bytes - begin : BLOCK;
        int32_t sum[BLOCK];
        for (size_t i = 0; i < n; i++) sum[i] = 1 << (ANX_RESAMPLE_BITS - 1);
        for (int32_t t = 0; t < taps; t++) {
            const uint8_t *row = rows[t] + begin;
            for (size_t i = 0; i < n; i++) sum[i] += row[i] * weight[t];
        }
        for (size_t i = 0; i < n; i++) out[begin + i] = clip(sum[i]);
    }
}

static const anx_resample_kernels portable = {"portable", row_portable, column_portable};

const anx_resample_kernels *anx_resample_kernels_named(const char *isa) {
    if (strcmp(isa, portable.isa) == 0) return &portable;
    if (strcmp(isa, "avx2") == 0) return anx_resample_kernels_avx2();
    return NULL;
}

const anx_resample_kernels *anx_resample_kernels_best(void) {
    const char *asked = getenv("ANX_IMAGE_ISA");
    const anx_resample_kernels *kernels = asked != NULL ? anx_resample_kernels_named(asked) : NULL;
    if (kernels == NULL) kernels = anx_resample_kernels_avx2();
    return kernels != NULL ? kernels : &portable;
}
