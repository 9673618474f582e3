/* Pooling in double: torch.nn.MaxPool2d and torch.nn.AdaptiveAvgPool2d. */
#include <math.h>
#include <string.h>

#include "src/backend/reference/kernels.h"

/*
 * As PyTorch's max_pool2d on a CPU (ATen/native/cpu/MaxPoolKernel.cpp): padding is left out of the window, the
 * search starts from -inf at the window's first element, and a value takes over where it is greater or NaN. Returns
 * the winner's index in the input plane.
 */
static int64_t window_winner(const anx_reference_job *job, int64_t plane, int64_t top, int64_t left, double *max) {
    const anx_pool2d_params *pool = &job->node->layer->u.pool;
    const int64_t h = job->node->in.dim[1], w = job->node->in.dim[2];
    const int64_t bottom = top + pool->kernel_h < h ? top + pool->kernel_h : h;
    const int64_t right = left + pool->kernel_w < w ? left + pool->kernel_w : w;
    if (top < 0) top = 0;
    if (left < 0) left = 0;
    int64_t winner = top * w + left;
    *max = -INFINITY;
    for (int64_t y = top; y < bottom; y++)
        for (int64_t x = left; x < right; x++) {
            const double v = anx_reference_input(job, (plane * h + y) * w + x);
            if (v > *max || isnan(v)) {
                *max = v;
                winner = y * w + x;
            }
        }
    return winner;
}

void anx_reference_max_pool2d(const anx_reference_job *job) {
    const anx_pool2d_params *pool = &job->node->layer->u.pool;
    const anx_extent *out = &job->node->out;
    const int64_t planes = job->batch * out->dim[0], oh = out->dim[1], ow = out->dim[2];
#pragma omp parallel for schedule(static) num_threads(job->threads)
    for (int64_t plane = 0; plane < planes; plane++)
        for (int64_t y = 0; y < oh; y++)
            for (int64_t x = 0; x < ow; x++) {
                const int64_t to = (plane * oh + y) * ow + x;
                double max;
                const int64_t winner =
                    window_winner(job, plane, y * pool->stride_h - pool->pad_h, x * pool->stride_w - pool->pad_w, &max);
                anx_reference_output(job, to, max);
                if (job->argmax != NULL) job->argmax[to] = winner;
            }
}

void anx_reference_max_pool2d_back(const anx_reference_back_job *job) {
    const anx_extent *in = &job->node->in, *out = &job->node->out;
    const int64_t planes = job->batch * out->dim[0];
    const int64_t in_plane = in->dim[1] * in->dim[2], out_plane = out->dim[1] * out->dim[2];
#pragma omp parallel for schedule(static) num_threads(job->threads)
    for (int64_t plane = 0; plane < planes; plane++) {
        double *dx = job->dx + plane * in_plane;
        memset(dx, 0, (size_t)in_plane * sizeof *dx);
        for (int64_t i = plane * out_plane; i < (plane + 1) * out_plane; i++) dx[job->argmax[i]] += job->dy[i];
    }
}

/* Window i of `windows` over `length` elements, as PyTorch's adaptive_avg_pool2d: [floor(i L / n), ceil((i+1) L / n)).
 */
static int64_t window_start(int64_t i, int64_t windows, int64_t length) {
    return i * length / windows;
}

static int64_t window_end(int64_t i, int64_t windows, int64_t length) {
    return ((i + 1) * length + windows - 1) / windows;
}

void anx_reference_adaptive_avg_pool2d(const anx_reference_job *job) {
    const anx_extent *in = &job->node->in, *out = &job->node->out;
    const int64_t planes = job->batch * out->dim[0], h = in->dim[1], w = in->dim[2], oh = out->dim[1], ow = out->dim[2];
#pragma omp parallel for schedule(static) num_threads(job->threads)
    for (int64_t plane = 0; plane < planes; plane++)
        for (int64_t y = 0; y < oh; y++)
            for (int64_t x = 0; x < ow; x++) {
                const int64_t top = window_start(y, oh, h), bottom = window_end(y, oh, h);
                const int64_t left = window_start(x, ow, w), right = window_end(x, ow, w);
                double sum = 0.0;
                for (int64_t i = top; i < bottom; i++)
                    for (int64_t j = left; j < right; j++) {
                        const double v = anx_reference_input(job, (plane * h + i) * w + j);
                        sum += job->gauge != NULL ? fabs(v) : v;
                    }
                const double elems = (double)((bottom - top) * (right - left));
                anx_reference_output(job, (plane * oh + y) * ow + x, sum / elems);
            }
}

void anx_reference_adaptive_avg_pool2d_back(const anx_reference_back_job *job) {
    const anx_extent *in = &job->node->in, *out = &job->node->out;
    const int64_t planes = job->batch * out->dim[0], h = in->dim[1], w = in->dim[2], oh = out->dim[1], ow = out->dim[2];
#pragma omp parallel for schedule(static) num_threads(job->threads)
    for (int64_t plane = 0; plane < planes; plane++) {
        double *dx = job->dx + plane * h * w;
        memset(dx, 0, (size_t)(h * w) * sizeof *dx);
        for (int64_t y = 0; y < oh; y++)
            for (int64_t x = 0; x < ow; x++) {
                const int64_t top = window_start(y, oh, h), bottom = window_end(y, oh, h);
                const int64_t left = window_start(x, ow, w), right = window_end(x, ow, w);
                const double dy = job->dy[(plane * oh + y) * ow + x];
                const double share = dy / (double)(bottom - top) / (double)(right - left);
                for (int64_t i = top; i < bottom; i++)
                    for (int64_t j = left; j < right; j++) dx[i * w + j] += share;
            }
    }
}
