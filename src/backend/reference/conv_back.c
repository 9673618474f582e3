/*
 * The way back through a convolution in double, as PyTorch's own (ATen/native/ConvolutionMM2d.cpp): the taps of each
 * output position, gathered into a row of a matrix, turn both gradients into products of matrices.
 *   dW (OC, taps) = dy (OC, positions) . gathered x (positions, taps): for each weight over images and positions in
 *     order
 *   dX: dy^T (positions, OC) . W (OC, taps), each over the output channels in order, is added back to where the taps
 *     were gathered, positions in order
 *   db: dy over images and positions in order
 */
#include <stdlib.h>
#include <string.h>

#include "src/backend/reference/kernels.h"
#include "src/base/checked.h"

enum { CHUNK = 1024 /* positions gathered at a time */ };

/* What is the same for a whole call; "group" is a group of channels. */
typedef struct shape {
    int64_t group_in, group_out;
    int64_t positions, taps; /* of one output plane, of one output */
    double *gathered;        /* (CHUNK or fewer positions, taps) */
} shape;

/* Where the taps of a position begin in the input plane: may lie in the padding. */
static void corner_of(const anx_node *node, int64_t position, int64_t *top, int64_t *left) {
    const int64_t out_w = node->out.dim[2];
    *top = position / out_w * node->conv.stride_h - node->conv.pad_h;
    *left = position % out_w * node->conv.stride_w - node->conv.pad_w;
}

/* One position's taps of the planes of a group, channels outermost; zeros in the padding. */
static void gather(const anx_node *node, const shape *s, const double *planes, int64_t position, double *row) {
    const int64_t h = node->in.dim[1], w = node->in.dim[2];
    int64_t top, left;
    corner_of(node, position, &top, &left);
    for (int64_t c = 0; c < s->group_in; c++)
        for (int64_t kh = 0; kh < node->conv.kernel_h; kh++) {
            const int64_t y = top + kh * node->conv.dilation_h;
            for (int64_t kw = 0; kw < node->conv.kernel_w; kw++) {
                const int64_t x = left + kw * node->conv.dilation_w;
                *row++ = y >= 0 && y < h && x >= 0 && x < w ? planes[(c * h + y) * w + x] : 0.0;
            }
        }
}

/* Adds channel c's part of `count` gathered rows, from position `first`, to its plane; the padding's is dropped. */
static void scatter(const anx_node *node, const shape *s, int64_t first, int64_t count, int64_t c, double *plane) {
    const int64_t h = node->in.dim[1], w = node->in.dim[2], kernel = node->conv.kernel_h * node->conv.kernel_w;
    for (int64_t p = 0; p < count; p++) {
        const double *from = s->gathered + p * s->taps + c * kernel;
        int64_t top, left;
        corner_of(node, first + p, &top, &left);
        for (int64_t kh = 0; kh < node->conv.kernel_h; kh++, from += node->conv.kernel_w) {
            const int64_t y = top + kh * node->conv.dilation_h;
            if (y < 0 || y >= h) continue;
            for (int64_t kw = 0; kw < node->conv.kernel_w; kw++) {
                const int64_t x = left + kw * node->conv.dilation_w;
                if (x >= 0 && x < w) plane[y * w + x] += from[kw];
            }
        }
    }
}

/* Adds what positions first .. first+count-1 of image n and a group give to dW; the very first of all overwrites. */
static void add_weight_gradient(const anx_reference_back_job *job, const shape *s, int64_t n, int64_t group,
                                int64_t first, int64_t count) {
    const anx_node *node = job->node;
    const double *planes = job->x + (n * node->in.dim[0] + group * s->group_in) * node->in.dim[1] * node->in.dim[2];
#pragma omp parallel for schedule(static) num_threads(job->threads)
    for (int64_t p = 0; p < count; p++) gather(node, s, planes, first + p, s->gathered + p * s->taps);
    const double *dy = job->dy + (n * node->out.dim[0] + group * s->group_out) * s->positions + first;
    anx_reference_multiply(&(anx_reference_product){.rows = s->group_out,
                                                    .columns = s->taps,
                                                    .depth = count,
                                                    .a = dy,
                                                    .a_row = s->positions,
                                                    .a_step = 1,
                                                    .b64 = s->gathered,
                                                    .b_step = s->taps,
                                                    .c = job->dweight + group * s->group_out * s->taps,
                                                    .c_row = s->taps,
                                                    .add = n > 0 || first > 0,
                                                    .threads = job->threads,
                                                    .isa = job->isa});
}

/* Adds the same positions' part to dX. */
static void add_input_gradient(const anx_reference_back_job *job, const shape *s, int64_t n, int64_t group,
                               int64_t first, int64_t count) {
    const anx_node *node = job->node;
    const int64_t plane = node->in.dim[1] * node->in.dim[2];
    double *dx = job->dx + (n * node->in.dim[0] + group * s->group_in) * plane;
    const double *dy = job->dy + (n * node->out.dim[0] + group * s->group_out) * s->positions + first;
    anx_reference_multiply(&(anx_reference_product){.rows = count,
                                                    .columns = s->taps,
                                                    .depth = s->group_out,
                                                    .a = dy,
                                                    .a_row = 1,
                                                    .a_step = s->positions,
                                                    .b32 = job->weight + group * s->group_out * s->taps,
                                                    .b_step = s->taps,
                                                    .c = s->gathered,
                                                    .c_row = s->taps,
                                                    .threads = job->threads,
                                                    .isa = job->isa});
#pragma omp parallel for schedule(static) num_threads(job->threads)
    for (int64_t c = 0; c < s->group_in; c++) scatter(node, s, first, count, c, dx + c * plane);
}

static void sum_bias(const anx_reference_back_job *job, const shape *s) {
    const int64_t channels = job->node->out.dim[0];
#pragma omp parallel for schedule(static) num_threads(job->threads)
    for (int64_t oc = 0; oc < channels; oc++) {
        double sum = 0.0;
        for (int64_t n = 0; n < job->batch; n++)
            for (int64_t p = 0; p < s->positions; p++) sum += job->dy[(n * channels + oc) * s->positions + p];
        job->dbias[oc] = sum;
    }
}

anx_status anx_reference_conv2d_back(const anx_reference_back_job *job, anx_error *err) {
    const anx_node *node = job->node;
    shape s = {.group_in = node->in.dim[0] / node->conv.groups,
               .group_out = node->out.dim[0] / node->conv.groups,
               .positions = node->out.dim[1] * node->out.dim[2],
               .taps = node->terms};
    if (job->dbias != NULL) sum_bias(job, &s);
    if (job->dx == NULL && job->dweight == NULL) return ANX_OK;
    const int64_t rows = s.positions < CHUNK ? s.positions : CHUNK;
    size_t elems, bytes;
    if (anx_checked_mul_size((size_t)rows, (size_t)s.taps, &elems) &&
        anx_checked_mul_size(elems, sizeof *s.gathered, &bytes))
        s.gathered = malloc(bytes);
    if (s.gathered == NULL)
        return anx_error_set(err, ANX_ERR_OUT_OF_MEMORY, "no memory for the %lld taps of %lld positions in double",
                             (long long)s.taps, (long long)rows);
    if (job->dx != NULL) {
        const size_t inputs = (size_t)(job->batch * node->in.dim[0] * node->in.dim[1] * node->in.dim[2]);
        memset(job->dx, 0, inputs * sizeof *job->dx);
    }
    for (int64_t n = 0; n < job->batch; n++)
        for (int64_t group = 0; group < node->conv.groups; group++)
            for (int64_t first = 0; first < s.positions; first += rows) {
                const int64_t count = s.positions - first < rows ? s.positions - first : rows;
                if (job->dweight != NULL) add_weight_gradient(job, &s, n, group, first, count);
                if (job->dx != NULL) add_input_gradient(job, &s, n, group, first, count);
            }
    free(s.gathered);
    return ANX_OK;
}
