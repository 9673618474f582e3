/*
 * Convolution in double (torch.nn.Conv2d: cross-correlation with zero padding, groups, dilation), eight output
 * channels at a time.
 *
 * One image is widened to double with its padding made explicit, so that every tap of every output is a load at a
 * fixed offset from the output's top left corner. The work is cut into tasks of 8 output channels x up to CHUNK
 * output positions; a task packs its 8 channels' weights tap by tap, DEPTH taps at a time, and adds their products to
 * its sums, which stay in the first-level cache.
 */
#include <math.h>
#include <omp.h>
#include <stdlib.h>
#include <string.h>

#include "src/backend/reference/kernels.h"
#include "src/backend/reference/vector.h"
#include "src/base/checked.h"

enum {
    LANES = ANX_REFERENCE_LANES,
    DEPTH = 256, /* taps packed at a time: 16 KiB of weights */
    CHUNK = 240  /* positions of a task: 15 KiB of sums; a multiple of every kernel's block of positions */
};

/* sums[p][lane] += weights[k][lane] * corner[p][offset[k]], k ascending, for `block` positions. */
typedef void multiply_fn(const double *weights, const ptrdiff_t *offset, int depth, const double *const *corner,
                         double *sums);

/*
 * One such function: LANES numbers are so many of the target's own vectors (wider ones would live in memory), and
 * `block` positions are as many as leave it registers for the weights. Each lane does the same in every version.
 */
#define DEFINE_MULTIPLY(name, target, vector, block)                                                                   \
    target static void name(const double *weights, const ptrdiff_t *offset, int depth, const double *const *corner,    \
                            double *sums) {                                                                            \
        enum { WIDTH = sizeof(vector) / sizeof(double), PARTS = LANES / WIDTH };                                       \
        vector acc[block][PARTS];                                                                                      \
        for (int p = 0; p < block; p++)                                                                                \
            for (int i = 0; i < PARTS; i++) acc[p][i] = *(const vector *)(sums + p * LANES + i * WIDTH);               \
        for (int k = 0; k < depth; k++) {                                                                              \
            vector w[PARTS];                                                                                           \
            for (int i = 0; i < PARTS; i++) w[i] = *(const vector *)(weights + k * LANES + i * WIDTH);                 \
            const ptrdiff_t at = offset[k];                                                                            \
            for (int p = 0; p < block; p++)                                                                            \
                for (int i = 0; i < PARTS; i++) acc[p][i] += w[i] * corner[p][at];                                     \
        }                                                                                                              \
        for (int p = 0; p < block; p++)                                                                                \
            for (int i = 0; i < PARTS; i++) *(vector *)(sums + p * LANES + i * WIDTH) = acc[p][i];                     \
    }

DEFINE_MULTIPLY(multiply_portable, , anx_f64x2, 3)
#if ANX_REFERENCE_X86
DEFINE_MULTIPLY(multiply_avx2, ANX_TARGET_AVX2, anx_f64x4, 6)
DEFINE_MULTIPLY(multiply_avx512, ANX_TARGET_AVX512, anx_f64x8, 12)
#endif

static multiply_fn *pick_kernel(anx_isa isa, int *block) {
#if ANX_REFERENCE_X86
    switch (isa) {
    case ANX_ISA_AVX512: *block = 12; return multiply_avx512;
    case ANX_ISA_AVX2: *block = 6; return multiply_avx2;
    case ANX_ISA_PORTABLE: break;
    }
#endif
    *block = 3;
    return multiply_portable;
}

typedef struct workspace {
    double weights[DEPTH * LANES];
    double sums[CHUNK * LANES];
    const double *corner[CHUNK];
} workspace;

/* What is the same for every task of a call. */
typedef struct shape {
    int64_t padded_h, padded_w;  /* of the widened image */
    int64_t group_in, group_out; /* channels of one group */
    int64_t blocks;              /* of 8 output channels, in one group */
    int64_t positions, chunks;   /* of one output plane */
    int64_t terms;               /* taps of one output */
    double *image;               /* (C, padded_h, padded_w) */
    ptrdiff_t *offset;           /* terms: from an output's corner to its taps, input channels outermost */
    workspace *spaces;           /* one a thread */
    multiply_fn *kernel;
    int block;
} shape;

static void fill_offsets(const anx_conv2d_params *conv, shape *s) {
    ptrdiff_t *at = s->offset;
    for (int64_t c = 0; c < s->group_in; c++)
        for (int64_t kh = 0; kh < conv->kernel_h; kh++)
            for (int64_t kw = 0; kw < conv->kernel_w; kw++)
                *at++ = (ptrdiff_t)((c * s->padded_h + kh * conv->dilation_h) * s->padded_w + kw * conv->dilation_w);
}

/* Channel c of image n into the padded buffer, whose border is zero already. */
static void widen_channel(const anx_reference_job *job, const shape *s, int64_t n, int64_t c) {
    const anx_extent *in = &job->node->in;
    const anx_conv2d_params *conv = &job->node->conv;
    const int64_t h = in->dim[1], w = in->dim[2];
    for (int64_t y = 0; y < h; y++) {
        double *to = s->image + (c * s->padded_h + y + conv->pad_h) * s->padded_w + conv->pad_w;
        const int64_t from = ((n * in->dim[0] + c) * h + y) * w;
        for (int64_t x = 0; x < w; x++) {
            const double v = anx_reference_input(job, from + x);
            to[x] = job->gauge != NULL ? fabs(v) : v;
        }
    }
}

/* Taps first .. first+depth-1 of 8 output channels, from channel `oc`; channels past the group's end are zeros. */
static void pack_weights(const anx_reference_job *job, const shape *s, int64_t oc, int64_t channels, int64_t first,
                         int depth, double *packed) {
    for (int lane = 0; lane < LANES; lane++) {
        if (lane >= channels) {
            for (int k = 0; k < depth; k++) packed[k * LANES + lane] = 0.0;
            continue;
        }
        const float *from = job->weight + (oc + lane) * s->terms + first;
        for (int k = 0; k < depth; k++) {
            const double w = (double)from[k];
            packed[k * LANES + lane] = job->gauge != NULL ? fabs(w) : w;
        }
    }
}

/* Image n, output channels of one block, positions of one chunk. */
static void run_task(const anx_reference_job *job, const shape *s, int64_t n, int64_t task, workspace *space) {
    const anx_conv2d_params *conv = &job->node->conv;
    const int64_t out_w = job->node->out.dim[2];
    const int64_t chunk = task % s->chunks, block = task / s->chunks % s->blocks, group = task / s->chunks / s->blocks;
    const int64_t oc_in_group = block * LANES;
    const int64_t channels = s->group_out - oc_in_group < LANES ? s->group_out - oc_in_group : LANES;
    const int64_t oc = group * s->group_out + oc_in_group;
    const int64_t first = chunk * CHUNK, count = s->positions - first < CHUNK ? s->positions - first : CHUNK;

    const double *plane = s->image + group * s->group_in * s->padded_h * s->padded_w;
    const int64_t rounded = (count + s->block - 1) / s->block * s->block;
    for (int64_t p = 0; p < rounded; p++) {
        const int64_t at = first + (p < count ? p : count - 1); /* the last one again, its sums thrown away */
        space->corner[p] = plane + at / out_w * conv->stride_h * s->padded_w + at % out_w * conv->stride_w;
    }
    memset(space->sums, 0, sizeof space->sums);
    for (int64_t k = 0; k < s->terms; k += DEPTH) {
        const int depth = (int)(s->terms - k < DEPTH ? s->terms - k : DEPTH);
        pack_weights(job, s, oc, channels, k, depth, space->weights);
        for (int64_t p = 0; p < rounded; p += s->block)
            s->kernel(space->weights, s->offset + k, depth, space->corner + p, space->sums + p * LANES);
    }
    for (int64_t lane = 0; lane < channels; lane++) {
        double b = job->bias != NULL ? (double)job->bias[oc + lane] : 0.0;
        if (job->gauge != NULL) b = fabs(b);
        const int64_t to = (n * job->node->out.dim[0] + oc + lane) * s->positions + first;
        for (int64_t p = 0; p < count; p++) anx_reference_output(job, to + p, space->sums[p * LANES + lane] + b);
    }
}

anx_status anx_reference_conv2d(const anx_reference_job *job, anx_error *err) {
    const anx_node *node = job->node;
    const anx_conv2d_params *conv = &node->conv;
    const int64_t in_channels = node->in.dim[0];
    shape s = {.padded_h = node->in.dim[1] + 2 * (int64_t)conv->pad_h,
               .padded_w = node->in.dim[2] + 2 * (int64_t)conv->pad_w,
               .group_in = in_channels / conv->groups,
               .group_out = node->out.dim[0] / conv->groups,
               .positions = node->out.dim[1] * node->out.dim[2]};
    s.terms = s.group_in * conv->kernel_h * conv->kernel_w;
    s.blocks = (s.group_out + LANES - 1) / LANES;
    s.chunks = (s.positions + CHUNK - 1) / CHUNK;
    s.kernel = pick_kernel(job->isa, &s.block);

    anx_status status = ANX_OK;
    const int64_t padded_shape[] = {in_channels, s.padded_h, s.padded_w};
    int64_t padded_elems;
    if (!anx_shape_elems(3, padded_shape, &padded_elems))
        return anx_error_set(err, ANX_ERR_INVALID_ARGUMENT, "the padded image's size overflows");
    s.image = calloc((size_t)padded_elems, sizeof *s.image);
    s.offset = calloc((size_t)s.terms, sizeof *s.offset);
    s.spaces = calloc((size_t)job->threads, sizeof *s.spaces);
    if (s.image == NULL || s.offset == NULL || s.spaces == NULL) {
        status = anx_error_set(err, ANX_ERR_OUT_OF_MEMORY, "no memory for a %lld-element padded image",
                               (long long)padded_elems);
        goto out;
    }
    fill_offsets(conv, &s);

    const int64_t tasks = conv->groups * s.blocks * s.chunks;
#pragma omp parallel num_threads(job->threads)
    for (int64_t n = 0; n < job->batch; n++) {
#pragma omp for schedule(static)
        for (int64_t c = 0; c < in_channels; c++) widen_channel(job, &s, n, c);
#pragma omp for schedule(dynamic)
        for (int64_t task = 0; task < tasks; task++) run_task(job, &s, n, task, &s.spaces[omp_get_thread_num()]);
    }

out:
    free(s.spaces);
    free(s.offset);
    free(s.image);
    return status;
}
