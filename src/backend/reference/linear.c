/*
 * torch.nn.Linear in double: y = x W^T + b. A dot product is summed in eight lanes (lane j takes the terms j mod 8 in
 * order), the lanes are added in order, then the terms past the last multiple of eight, then the bias. Four rows of W
 * are read at once, straight from where they lie, and used for all images of the batch while they are in the cache.
 */
#include <math.h>
#include <stdlib.h>

#include "src/backend/reference/kernels.h"
#include "src/backend/reference/vector.h"
#include "src/base/checked.h"

enum { LANES = ANX_REFERENCE_LANES, ROWS = 4, IMAGES = 2 };

/* sums[row][image] = rows[row] . images[image] over n elements, the weights' bits masked (to drop their sign). */
typedef void dot_fn(const float *const *rows, const double *const *images, int64_t n, int32_t mask,
                    double sums[ROWS][IMAGES]);

ANX_ALWAYS_INLINE void dot(const float *const *rows, const double *const *images, int64_t n, int32_t mask,
                           double sums[ROWS][IMAGES], const int n_images) {
    anx_f64x8 acc[ROWS][IMAGES];
    for (int r = 0; r < ROWS; r++)
        for (int i = 0; i < n_images; i++) acc[r][i] = (anx_f64x8){0};
    const int64_t whole = n / LANES * LANES;
    for (int64_t k = 0; k < whole; k += LANES)
        for (int r = 0; r < ROWS; r++) {
            const anx_i32x8 bits = *(const anx_i32x8 *)(rows[r] + k) & mask;
            const anx_f64x8 w = __builtin_convertvector((anx_f32x8)bits, anx_f64x8);
            for (int i = 0; i < n_images; i++) acc[r][i] += w * *(const anx_f64x8 *)(images[i] + k);
        }
    for (int r = 0; r < ROWS; r++)
        for (int i = 0; i < n_images; i++) {
            double sum = 0.0;
            for (int lane = 0; lane < LANES; lane++) sum += acc[r][i][lane];
            for (int64_t k = whole; k < n; k++) {
                const double w = (double)rows[r][k];
                sum += (mask < 0 ? w : fabs(w)) * images[i][k];
            }
            sums[r][i] = sum;
        }
}

static void dot_portable(const float *const *rows, const double *const *images, int64_t n, int32_t mask,
                         double sums[ROWS][IMAGES]) {
    if (images[1] != NULL)
        dot(rows, images, n, mask, sums, 2);
    else
        dot(rows, images, n, mask, sums, 1);
}

#if ANX_REFERENCE_X86
ANX_TARGET_AVX2 static void dot_avx2(const float *const *rows, const double *const *images, int64_t n, int32_t mask,
                                     double sums[ROWS][IMAGES]) {
    if (images[1] != NULL)
        dot(rows, images, n, mask, sums, 2);
    else
        dot(rows, images, n, mask, sums, 1);
}

ANX_TARGET_AVX512 static void dot_avx512(const float *const *rows, const double *const *images, int64_t n, int32_t mask,
                                         double sums[ROWS][IMAGES]) {
    if (images[1] != NULL)
        dot(rows, images, n, mask, sums, 2);
    else
        dot(rows, images, n, mask, sums, 1);
}
#endif

static dot_fn *pick_kernel(anx_isa isa) {
#if ANX_REFERENCE_X86
    switch (isa) {
    case ANX_ISA_AVX512: return dot_avx512;
    case ANX_ISA_AVX2: return dot_avx2;
    case ANX_ISA_PORTABLE: break;
    }
#endif
    return dot_portable;
}

/* Outputs first .. first+count-1 (count <= ROWS) of every image. x: (N, in), absolute where the gauge is wanted. */
static void run_rows(const anx_reference_job *job, dot_fn *kernel, const double *x, int64_t first, int64_t count) {
    const int64_t in = job->node->in.dim[0], out = job->node->out.dim[0];
    const int32_t mask = job->gauge != NULL ? INT32_MAX : -1;
    const float *rows[ROWS];
    for (int64_t r = 0; r < ROWS; r++) /* past the end: the last row again, its sums thrown away */
        rows[r] = job->weight + (first + (r < count ? r : count - 1)) * in;
    for (int64_t n = 0; n < job->batch; n += IMAGES) {
        const int64_t n_images = job->batch - n < IMAGES ? 1 : IMAGES;
        const double *const images[IMAGES] = {x + n * in, n_images == IMAGES ? x + (n + 1) * in : NULL};
        double sums[ROWS][IMAGES];
        kernel(rows, images, in, mask, sums);
        for (int64_t r = 0; r < count; r++) {
            double b = job->bias != NULL ? (double)job->bias[first + r] : 0.0;
            if (job->gauge != NULL) b = fabs(b);
            for (int64_t i = 0; i < n_images; i++) anx_reference_output(job, (n + i) * out + first + r, sums[r][i] + b);
        }
    }
}

anx_status anx_reference_linear(const anx_reference_job *job, anx_error *err) {
    const int64_t in = job->node->in.dim[0], out = job->node->out.dim[0], elems = job->batch * in;
    const double *x = job->x64;
    double *widened = NULL;
    if (x == NULL || job->gauge != NULL) {
        size_t bytes;
        if (anx_checked_mul_size((size_t)elems, sizeof *widened, &bytes)) widened = malloc(bytes);
        if (widened == NULL)
            return anx_error_set(err, ANX_ERR_OUT_OF_MEMORY, "no memory for %lld inputs in double", (long long)elems);
        for (int64_t i = 0; i < elems; i++) {
            const double v = anx_reference_input(job, i);
            widened[i] = job->gauge != NULL ? fabs(v) : v;
        }
        x = widened;
    }
    dot_fn *const kernel = pick_kernel(job->isa);
#pragma omp parallel for schedule(static) num_threads(job->threads)
    for (int64_t first = 0; first < out; first += ROWS)
        run_rows(job, kernel, x, first, out - first < ROWS ? out - first : ROWS);
    free(widened);
    return ANX_OK;
}

/* db: the images' gradients added in order. */
static void sum_images(const double *dy, int64_t batch, int64_t out, double *sum) {
    for (int64_t o = 0; o < out; o++) sum[o] = 0.0;
    for (int64_t n = 0; n < batch; n++)
        for (int64_t o = 0; o < out; o++) sum[o] += dy[n * out + o];
}

/* dX = dY W, each element over the outputs in order; dW = dY^T X, over the images in order. */
void anx_reference_linear_back(const anx_reference_back_job *job) {
    const int64_t in = job->node->in.dim[0], out = job->node->out.dim[0];
    if (job->dx != NULL)
        anx_reference_multiply(&(anx_reference_product){.rows = job->batch,
                                                        .columns = in,
                                                        .depth = out,
                                                        .a = job->dy,
                                                        .a_row = out,
                                                        .a_step = 1,
                                                        .b32 = job->weight,
                                                        .b_step = in,
                                                        .c = job->dx,
                                                        .c_row = in,
                                                        .threads = job->threads,
                                                        .isa = job->isa});
    if (job->dweight != NULL)
        anx_reference_multiply(&(anx_reference_product){.rows = out,
                                                        .columns = in,
                                                        .depth = job->batch,
                                                        .a = job->dy,
                                                        .a_row = 1,
                                                        .a_step = out,
                                                        .b64 = job->x,
                                                        .b_step = in,
                                                        .c = job->dweight,
                                                        .c_row = in,
                                                        .threads = job->threads,
                                                        .isa = job->isa});
    if (job->dbias != NULL) sum_images(job->dy, job->batch, out, job->dbias);
}
