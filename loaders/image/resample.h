/*
 * Bilinear resampling as Pillow's libImaging/Resample.c does it for 8 bits per channel: the weights of one axis in
 * fixed point, and the two passes. Every kernel here computes exact integer sums, so all of them give the same bytes.
 */
#ifndef ANX_LOADERS_IMAGE_RESAMPLE_H
#define ANX_LOADERS_IMAGE_RESAMPLE_H

#include "src/base/status.h"

enum {
    ANX_RESAMPLE_LOW_BITS = 11,
    ANX_RESAMPLE_BITS = 32 - 8 - 2,     /* fraction bits of a weight: Resample.c's PRECISION_BITS */
    ANX_RESAMPLE_READ_AHEAD_BYTES = 16, /* kernels may read (not use) this much beyond a row's last pixel */
    ANX_RESAMPLE_CHANNELS = 3
};

/*
 * How output positions first .. first + count - 1 of an axis are made: position first + i is the sum over t < taps[i]
 * of weight[i * stride + t] * source[start[i] + t]. Owned; release with anx_resample_axis_fini.
 */
typedef struct anx_resample_axis {
    int32_t in, out;      /* pixels of the whole axis, before and after */
    int32_t first, count; /* the output positions that are held */
    int32_t most_taps;    /* the largest of taps */
    int32_t stride;       /* weights between two positions; the unused ones are 0 */
    int32_t *start, *taps, *weight;
    /*
     * The same weights as high * 2^ANX_RESAMPLE_LOW_BITS + low, for kernels that multiply 16-bit numbers, four taps
     * being a group: see anx_resample_split.
     */
    int32_t groups; /* of the position with the most taps: the others are filled up with zeros */
    int16_t *split;
} anx_resample_axis;

#define ANX_RESAMPLE_AXIS_INIT                                                                                         \
    { .in = 0, .start = NULL, .taps = NULL, .weight = NULL, .split = NULL }

/*
 * The weights of positions first .. first + count - 1 when `in` pixels become `out` (all at least 1, first + count
 * at most out). LIMIT where Pillow itself runs out of its integers (more than INT_MAX bytes of weights for the whole
 * axis), OUT_OF_MEMORY.
 */
anx_status anx_resample_axis_init(anx_resample_axis *axis, int32_t in, int32_t out, int32_t first, int32_t count,
                                  anx_error *err);
void anx_resample_axis_fini(anx_resample_axis *axis);

/*
 * The weights of taps 4 * group .. 4 * group + 3 of position i: four high halves, then four low ones. Those of
 * neighbouring positions lie one behind the other.
 */
static inline int16_t *anx_resample_split(const anx_resample_axis *axis, int32_t i, int32_t group) {
    return axis->split + ((size_t)i * (size_t)axis->groups + (size_t)group) * 8;
}

/* The source positions that the held outputs read: *begin .. *end - 1. The axis must hold at least one. */
void anx_resample_axis_source(const anx_resample_axis *axis, int32_t *begin, int32_t *end);

/*
 * The horizontal pass over one row. row: the RGB pixels from source column `column` on, which must cover what the axis
 * reads, plus ANX_RESAMPLE_READ_AHEAD_BYTES that may be read; out: axis->count RGB pixels.
 */
typedef void anx_resample_row_fn(const anx_resample_axis *axis, const uint8_t *row, int32_t column, uint8_t *out);

/*
 * The vertical pass for one output row: out[i] from rows[0][i], ..., rows[taps - 1][i] for i < n_bytes.
 */
typedef void anx_resample_column_fn(const int32_t *weight, int32_t taps, const uint8_t *const *rows, size_t n_bytes,
                                    uint8_t *out);

typedef struct anx_resample_kernels {
    const char *isa; /* "portable", "avx2" */
    anx_resample_row_fn *row;
    anx_resample_column_fn *column;
} anx_resample_kernels;

/* The fastest kernels that this CPU runs; ANX_IMAGE_ISA in the environment chooses others. */
const anx_resample_kernels *anx_resample_kernels_best(void);
/* The kernels named so, or NULL where this CPU or this build has none. */
const anx_resample_kernels *anx_resample_kernels_named(const char *isa);

#endif
