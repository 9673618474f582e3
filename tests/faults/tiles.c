#include "tests/faults/tiles.h"

#include <stdlib.h>

enum { MOST_POINTS = 8, MOST_ELEMS = MOST_POINTS * MOST_POINTS };

/* Of width m, with m + 2 points: input (points, points), kernel (points, 3), output (m, points). */
typedef struct transforms {
    int width;
    const float *input, *kernel, *output;
} transforms;

static const float input_2[] = {1, 0, -1, 0, 0, 1, 1, 0, 0, -1, 1, 0, 0, 1, 0, -1};
static const float kernel_2[] = {1, 0, 0, 0.5f, 0.5f, 0.5f, 0.5f, -0.5f, 0.5f, 0, 0, 1};
static const float output_2[] = {1, 1, 1, 0, 0, 1, -1, -1};

static const float input_4[] = {4, 0,  -5, 0, 1, 0, 0, -4, -4, 1,  1, 0, 0, 4, -4, -1, 1, 0,
                                0, -2, -1, 2, 1, 0, 0, 2,  -1, -2, 1, 0, 0, 4, 0,  -5, 0, 1};
static const float kernel_4[] = {1 / 4.0f,  0,          0,         -1 / 6.0f, -1 / 6.0f, -1 / 6.0f,
                                 -1 / 6.0f, 1 / 6.0f,   -1 / 6.0f, 1 / 24.0f, 1 / 12.0f, 1 / 6.0f,
                                 1 / 24.0f, -1 / 12.0f, 1 / 6.0f,  0,         0,         1};
static const float output_4[] = {1, 1, 1, 1, 1, 0, 0, 1, -1, 2, -2, 0, 0, 1, 1, 4, 4, 0, 0, 1, -1, 8, -8, 1};

static const float input_6[] = {
    1, 0,    -5.25f, 0,     5.25f,  0,    -1, 0, 0, 1,    1,     -4.25f, -4.25f, 1,      1, 0,
    0, -1,   1,      4.25f, -4.25f, -1,   1,  0, 0, 0.5f, 0.25f, -2.5f,  -1.25f, 2,      1, 0,
    0, -.5f, 0.25f,  2.5f,  -1.25f, -2,   1,  0, 0, 2,    4,     -2.5f,  -5,     0.5f,   1, 0,
    0, -2,   4,      2.5f,  -5,     -.5f, 1,  0, 0, -1,   0,     5.25f,  0,      -5.25f, 0, 1};
static const float kernel_6[] = {1,          0,           0,         -2 / 9.0f,  -2 / 9.0f,  -2 / 9.0f,
                                 -2 / 9.0f,  2 / 9.0f,    -2 / 9.0f, 1 / 90.0f,  1 / 45.0f,  2 / 45.0f,
                                 1 / 90.0f,  -1 / 45.0f,  2 / 45.0f, 32 / 45.0f, 16 / 45.0f, 8 / 45.0f,
                                 32 / 45.0f, -16 / 45.0f, 8 / 45.0f, 0,          0,          1};
static const float output_6[] = {1, 1, 1, 1,  1,  1,       1,       0, 0, 1, -1, 2,  -2,  0.5f,     -0.5f,     0,
                                 0, 1, 1, 4,  4,  0.25f,   0.25f,   0, 0, 1, -1, 8,  -8,  0.125f,   -0.125f,   0,
                                 0, 1, 1, 16, 16, 0.0625f, 0.0625f, 0, 0, 1, -1, 32, -32, 0.03125f, -0.03125f, 1};

static transforms transforms_of(int width) {
    switch (width) {
    case 2: return (transforms){2, input_2, kernel_2, output_2};
    case 4: return (transforms){4, input_4, kernel_4, output_4};
    case 6: return (transforms){6, input_6, kernel_6, output_6};
    default: abort();
    }
}

/* m v m^T for m (rows, n) and v (n, n), into out (rows, rows). */
static void transform(const float *m, int rows, int n, const float *v, float *out) {
    float half[MOST_ELEMS];
    for (int r = 0; r < rows; r++)
        for (int c = 0; c < n; c++) {
            float sum = 0;
            for (int k = 0; k < n; k++) sum += m[r * n + k] * v[k * n + c];
            half[r * n + c] = sum;
        }
    for (int r = 0; r < rows; r++)
        for (int c = 0; c < rows; c++) {
            float sum = 0;
            for (int k = 0; k < n; k++) sum += half[r * n + k] * m[c * n + k];
            out[r * rows + c] = sum;
        }
}

/* The input of the tile whose first output is (top, left), padding included, transformed. */
static void transform_input(const tiles_task *t, const transforms *w, const float *plane, int64_t top, int64_t left,
                            float *out) {
    const int points = w->width + 2;
    const int64_t height = t->node->in.dim[1], width = t->node->in.dim[2];
    float tile[MOST_ELEMS];
    for (int r = 0; r < points; r++)
        for (int c = 0; c < points; c++) {
            const int64_t y = top - t->pad_h + r, x = left - t->pad_w + c;
            tile[r * points + c] = y < 0 || x < 0 || y >= height || x >= width ? 0 : plane[y * width + x];
        }
    transform(w->input, points, points, tile, out);
    for (int i = 0; i < points * points; i++) out[i] = plain_round(out[i], t->x_format);
}

/* One tile of all output channels; kernels (outputs, channels, points, points), v room for (channels, points, points).
 */
static void convolve_tile(const tiles_task *t, const transforms *w, int64_t n, int64_t top, int64_t left,
                          const float *kernels, float *v) {
    const anx_extent *in = &t->node->in, *out = &t->node->out;
    const int elems = (w->width + 2) * (w->width + 2);
    for (int64_t c = 0; c < in->dim[0]; c++)
        transform_input(t, w, t->x + (n * in->dim[0] + c) * in->dim[1] * in->dim[2], top, left, v + c * elems);
    for (int64_t o = 0; o < out->dim[0]; o++) {
        float sums[MOST_ELEMS] = {0}, y[MOST_ELEMS];
        for (int64_t c = 0; c < in->dim[0]; c++)
            for (int i = 0; i < elems; i++) sums[i] += kernels[(o * in->dim[0] + c) * elems + i] * v[c * elems + i];
        transform(w->output, w->width, w->width + 2, sums, y);
        for (int64_t r = 0; r < w->width && top + r < out->dim[1]; r++)
            for (int64_t c = 0; c < w->width && left + c < out->dim[2]; c++)
                t->y[((n * out->dim[0] + o) * out->dim[1] + top + r) * out->dim[2] + left + c] =
                    y[r * w->width + c] + t->bias[o];
    }
}

void tiles_convolve(const tiles_task *t) {
    const transforms w = transforms_of(t->width);
    const int points = w.width + 2, elems = points * points;
    const int64_t channels = t->node->in.dim[0], outputs = t->node->out.dim[0];
    float *kernels = malloc((size_t)(outputs * channels * elems) * sizeof *kernels);
    float *v = malloc((size_t)(channels * elems) * sizeof *v);
    if (kernels == NULL || v == NULL) abort();
    for (int64_t k = 0; k < outputs * channels; k++) {
        transform(w.kernel, points, 3, t->weight + k * 9, kernels + k * elems);
        for (int i = 0; i < elems; i++) kernels[k * elems + i] = plain_round(kernels[k * elems + i], t->w_format);
    }
    for (int64_t n = 0; n < t->batch; n++)
        for (int64_t top = 0; top < t->node->out.dim[1]; top += w.width)
            for (int64_t left = 0; left < t->node->out.dim[2]; left += w.width)
                convolve_tile(t, &w, n, top, left, kernels, v);
    free(kernels);
    free(v);
}
