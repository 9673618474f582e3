#include "tests/fakecuda/kernels/conv.h"

#include <stdlib.h>
#include <string.h>

#include "tests/fakecuda/kernels/gemm.h"

static size_t count(const int *n) {
    return (size_t)n[0] * (size_t)n[1] * (size_t)n[2] * (size_t)n[3];
}

/* ---- images as matrices: (c/groups * r * s, p * q)
 * ------------------------------------------------------------------- */

static long columns_rows(const fake_conv *g) {
    return (long)g->w[1] * g->w[2] * g->w[3];
}

static long columns_width(const fake_conv *g) {
    return (long)g->y[2] * g->y[3];
}

/* Where tap (r, s) of output (i, 0) reads: the row of the image; false: outside. */
static bool image_row(const fake_conv *g, int i, int r, int *row) {
    *row = i * g->stride[0] - g->pad[0] + r * g->dilation[0];
    return *row >= 0 && *row < g->x[2];
}

/* The outputs [first, end) of a row whose tap s lies inside the image. */
static void inside(const fake_conv *g, int s, int *first, int *end) {
    const int offset = s * g->dilation[1] - g->pad[1], step = g->stride[1];
    *first = offset < 0 ? (-offset + step - 1) / step : 0;
    const int last = g->x[3] - 1 - offset;
    *end = last < 0 ? 0 : last / step + 1;
    if (*end > g->y[3]) *end = g->y[3];
    if (*first > *end) *first = *end;
}

static void gather_row(const fake_conv *g, const float *image, int i, int r, int s, float *out) {
    int row, first, end;
    if (!image_row(g, i, r, &row)) {
        memset(out, 0, (size_t)g->y[3] * sizeof *out);
        return;
    }
    inside(g, s, &first, &end);
    const float *in = image + (long)row * g->x[3] + (s * g->dilation[1] - g->pad[1]);
    for (int j = 0; j < first; j++) out[j] = 0.0f;
    for (int j = first; j < end; j++) out[j] = in[j * g->stride[1]];
    for (int j = end; j < g->y[3]; j++) out[j] = 0.0f;
}

static void scatter_row(const fake_conv *g, float *image, int i, int r, int s, const float *in) {
    int row, first, end;
    if (!image_row(g, i, r, &row)) return;
    inside(g, s, &first, &end);
    float *out = image + (long)row * g->x[3] + (s * g->dilation[1] - g->pad[1]);
    for (int j = first; j < end; j++) out[j * g->stride[1]] += in[j];
}

static void image_to_columns(const fake_conv *g, const float *x, float *columns) {
    const int taps = g->w[2] * g->w[3];
#pragma omp parallel for
    for (int c = 0; c < g->w[1]; c++)
        for (int t = 0; t < taps; t++)
            for (int i = 0; i < g->y[2]; i++)
                gather_row(g, x + (long)c * g->x[2] * g->x[3], i, t / g->w[3], t % g->w[3],
                           columns + ((long)c * taps + t) * columns_width(g) + (long)i * g->y[3]);
}

/* Adds. */
static void columns_to_image(const fake_conv *g, const float *columns, float *x) {
    const int taps = g->w[2] * g->w[3];
#pragma omp parallel for
    for (int c = 0; c < g->w[1]; c++)
        for (int t = 0; t < taps; t++)
            for (int i = 0; i < g->y[2]; i++)
                scatter_row(g, x + (long)c * g->x[2] * g->x[3], i, t / g->w[3], t % g->w[3],
                            columns + ((long)c * taps + t) * columns_width(g) + (long)i * g->y[3]);
}

/* ---- parts of tensors
 * -------------------------------------------------------------------------------------------------- */

static long image_part(const fake_conv *g, int image, int group) {
    return ((long)image * g->x[1] + (long)group * g->w[1]) * g->x[2] * g->x[3];
}

static long result_part(const fake_conv *g, int image, int group) {
    return ((long)image * g->y[1] + (long)group * (g->y[1] / g->groups)) * columns_width(g);
}

static long filter_part(const fake_conv *g, int group) {
    return (long)group * (g->w[0] / g->groups) * columns_rows(g);
}

/* Filters the other way round. */
static float *flipped(const fake_conv *g, const float *w) {
    const size_t taps = (size_t)g->w[2] * (size_t)g->w[3], planes = (size_t)g->w[0] * (size_t)g->w[1];
    float *out = fake_floats(planes * taps);
    for (size_t i = 0; i < planes; i++)
        for (size_t t = 0; t < taps; t++) out[i * taps + t] = w[i * taps + taps - 1 - t];
    return out;
}

/* An operand as the hardware sees it; *own: what to free, or NULL. */
static const float *operand(const fake_conv *g, const float *p, const int *n, float **own) {
    *own = fake_degraded(p, count(n), &g->precision);
    return *own != NULL ? *own : p;
}

static const float *filter_operand(const fake_conv *g, const float *w, float **own) {
    const float *seen = operand(g, w, g->w, own);
    if (!g->flip) return seen;
    float *turned = flipped(g, seen);
    free(*own);
    *own = turned;
    return turned;
}

/* ---- the three products
 * ------------------------------------------------------------------------------------------------- */

void fake_conv_forward(const fake_conv *g, const float *x, const float *w, float *y) {
    float *own_x, *own_w;
    const float *seen_x = operand(g, x, g->x, &own_x), *seen_w = filter_operand(g, w, &own_w);
    const long rows = columns_rows(g), width = columns_width(g);
    float *columns = fake_floats((size_t)(rows * width));
    for (int i = 0; i < g->x[0]; i++)
        for (int group = 0; group < g->groups; group++) {
            image_to_columns(g, seen_x + image_part(g, i, group), columns);
            const fake_gemm product = {.m = g->w[0] / g->groups,
                                       .n = width,
                                       .k = rows,
                                       .alpha = 1.0f,
                                       .a = seen_w + filter_part(g, group),
                                       .lda = rows,
                                       .b = columns,
                                       .ldb = width,
                                       .c = y + result_part(g, i, group),
                                       .ldc = width};
            fake_gemm_run(&product);
        }
    free(columns);
    free(own_x);
    free(own_w);
    if (g->precision.noise) fake_add_noise(y, count(g->y));
}

void fake_conv_backward_data(const fake_conv *g, const float *w, const float *dy, float *dx) {
    float *own_w, *own_dy;
    const float *seen_dy = operand(g, dy, g->y, &own_dy), *seen_w = filter_operand(g, w, &own_w);
    const long rows = columns_rows(g), width = columns_width(g);
    float *columns = fake_floats((size_t)(rows * width));
    memset(dx, 0, count(g->x) * sizeof *dx);
    for (int i = 0; i < g->x[0]; i++)
        for (int group = 0; group < g->groups; group++) {
            const fake_gemm product = {.ta = true,
                                       .m = rows,
                                       .n = width,
                                       .k = g->w[0] / g->groups,
                                       .alpha = 1.0f,
                                       .a = seen_w + filter_part(g, group),
                                       .lda = rows,
                                       .b = seen_dy + result_part(g, i, group),
                                       .ldb = width,
                                       .c = columns,
                                       .ldc = width};
            fake_gemm_run(&product);
            columns_to_image(g, columns, dx + image_part(g, i, group));
        }
    free(columns);
    free(own_dy);
    free(own_w);
    if (g->precision.noise) fake_add_noise(dx, count(g->x));
}

void fake_conv_backward_filter(const fake_conv *g, const float *x, const float *dy, float *dw) {
    float *own_x, *own_dy;
    const float *seen_x = operand(g, x, g->x, &own_x), *seen_dy = operand(g, dy, g->y, &own_dy);
    const long rows = columns_rows(g), width = columns_width(g);
    float *columns = fake_floats((size_t)(rows * width));
    for (int i = 0; i < g->x[0]; i++)
        for (int group = 0; group < g->groups; group++) {
            image_to_columns(g, seen_x + image_part(g, i, group), columns);
            const fake_gemm product = {.tb = true,
                                       .m = g->w[0] / g->groups,
                                       .n = rows,
                                       .k = width,
                                       .alpha = 1.0f,
                                       .a = seen_dy + result_part(g, i, group),
                                       .lda = width,
                                       .b = columns,
                                       .ldb = width,
                                       .beta = i == 0 ? 0.0f : 1.0f,
                                       .c = dw + filter_part(g, group),
                                       .ldc = rows};
            fake_gemm_run(&product);
        }
    free(columns);
    free(own_x);
    free(own_dy);
    if (g->flip) {
        float *turned = flipped(g, dw);
        memcpy(dw, turned, count(g->w) * sizeof *dw);
        free(turned);
    }
    if (g->precision.noise) fake_add_noise(dw, count(g->w));
}
