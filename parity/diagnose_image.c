/* What kind of mistake fits a difference between two images, or between two normalised inputs. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "parity/diagnose.h"

/* ---- 8-bit images ---- */

static int pixel(const anx_image *m, int64_t y, int64_t x, int c) {
    return m->pixels[(y * m->width + x) * 3 + c];
}

/* A place of `got` (y, x, channel) mapped to where its value sits in `expected`. False: nowhere. */
typedef bool (*place)(const anx_image *expected, int64_t *y, int64_t *x, int *c);

static bool bgr(const anx_image *m, int64_t *y, int64_t *x, int *c) {
    (void)m, (void)y, (void)x;
    *c = 2 - *c;
    return true;
}

static bool mirrored(const anx_image *m, int64_t *y, int64_t *x, int *c) {
    (void)y, (void)c;
    *x = m->width - 1 - *x;
    return true;
}

static bool upside_down(const anx_image *m, int64_t *y, int64_t *x, int *c) {
    (void)x, (void)c;
    *y = m->height - 1 - *y;
    return true;
}

static bool turned_half(const anx_image *m, int64_t *y, int64_t *x, int *c) {
    return mirrored(m, y, x, c) && upside_down(m, y, x, c);
}

static bool transposed(const anx_image *m, int64_t *y, int64_t *x, int *c) {
    (void)m, (void)c;
    const int64_t t = *y;
    *y = *x;
    *x = t;
    return true;
}

static bool turned_left(const anx_image *m, int64_t *y, int64_t *x, int *c) {
    return transposed(m, y, x, c) && mirrored(m, y, x, c);
}

static bool turned_right(const anx_image *m, int64_t *y, int64_t *x, int *c) {
    return transposed(m, y, x, c) && upside_down(m, y, x, c);
}

static bool one_right(const anx_image *m, int64_t *y, int64_t *x, int *c) {
    (void)m, (void)y, (void)c;
    return --*x >= 0;
}

static bool one_left(const anx_image *m, int64_t *y, int64_t *x, int *c) {
    (void)y, (void)c;
    return ++*x < m->width;
}

static bool one_down(const anx_image *m, int64_t *y, int64_t *x, int *c) {
    (void)m, (void)x, (void)c;
    return --*y >= 0;
}

static bool one_up(const anx_image *m, int64_t *y, int64_t *x, int *c) {
    (void)x, (void)c;
    return ++*y < m->height;
}

static bool one_left_up(const anx_image *m, int64_t *y, int64_t *x, int *c) {
    return one_left(m, y, x, c) && one_up(m, y, x, c);
}

static bool one_right_down(const anx_image *m, int64_t *y, int64_t *x, int *c) {
    return one_right(m, y, x, c) && one_down(m, y, x, c);
}

static const struct {
    const char *id, *text;
    place from;
    bool exchanges_sides;
} places[] = {
    {"channel-order", "red and blue are exchanged (BGR for RGB)", bgr, false},
    {"orientation", "the image is mirrored", mirrored, false},
    {"orientation", "the image is upside down", upside_down, false},
    {"orientation", "the image is turned by 180 degrees (EXIF orientation, which PIL ignores)", turned_half, false},
    {"orientation", "the image is turned by 90 degrees (EXIF orientation, which PIL ignores)", turned_left, true},
    {"orientation", "the image is turned by 90 degrees (EXIF orientation, which PIL ignores)", turned_right, true},
    {"orientation", "rows and columns are exchanged", transposed, true},
    {"shift", "the image lies one column too far right", one_right, false},
    {"shift", "the image lies one column too far left", one_left, false},
    {"shift", "the image lies one row too far down", one_down, false},
    {"shift", "the image lies one row too far up", one_up, false},
    {"shift", "the image lies one row and column too far up and left", one_left_up, false},
    {"shift", "the image lies one row and column too far down and right", one_right_down, false},
};

static anx_status moved(const anx_image *got, const anx_image *expected, anx_judged *j, anx_error *err) {
    anx_status status = ANX_OK;
    for (size_t k = 0; status == ANX_OK && k < sizeof places / sizeof *places; k++) {
        const bool fits = places[k].exchanges_sides ? got->width == expected->height && got->height == expected->width
                                                    : got->width == expected->width && got->height == expected->height;
        if (!fits) continue;
        int64_t hits = 0, counted = 0;
        for (int64_t y = 0; y < got->height; y++)
            for (int64_t x = 0; x < got->width; x++)
                for (int c = 0; c < 3; c++) {
                    int64_t y2 = y, x2 = x;
                    int c2 = c;
                    if (!places[k].from(expected, &y2, &x2, &c2)) continue;
                    counted++;
                    hits += pixel(got, y, x, c) == pixel(expected, y2, x2, c2);
                }
        if (counted > 0 && (double)hits >= 0.97 * (double)counted)
            status =
                anx_judged_add_cause(j, places[k].id, (double)hits / (double)counted, err, "%s (%.4g %% of the values)",
                                     places[k].text, 100 * (double)hits / (double)counted);
    }
    return status;
}

/* Sum of absolute differences between neighbours in a row: how sharp an image is. */
static double sharpness(const anx_image *m) {
    double sum = 0;
    for (int64_t y = 0; y < m->height; y++)
        for (int64_t x = 1; x < m->width; x++)
            for (int c = 0; c < 3; c++) sum += abs(pixel(m, y, x, c) - pixel(m, y, x - 1, c));
    return sum;
}

static anx_status by_magnitude(const anx_image *got, const anx_image *expected, anx_judged *j, anx_error *err) {
    const int64_t n = got->width * got->height * 3;
    int most = 0;
    int64_t inverted = 0, gray = 0, luma = 0;
    for (int64_t i = 0; i < n; i++) {
        const int d = abs(got->pixels[i] - expected->pixels[i]);
        if (d > most) most = d;
        inverted += got->pixels[i] + expected->pixels[i] == 255;
    }
    for (int64_t i = 0; i < n; i += 3) {
        const uint8_t *g = got->pixels + i, *e = expected->pixels + i;
        gray += g[0] == g[1] && g[1] == g[2] && !(e[0] == e[1] && e[1] == e[2]);
        luma += fabs(0.299 * (g[0] - e[0]) + 0.587 * (g[1] - e[1]) + 0.114 * (g[2] - e[2])) <= 1.5;
    }
    if (inverted == n)
        return anx_judged_add_cause(j, "inverted", 0.95, err, "every value is 255 less the right one (inverted CMYK)");
    if (gray * 3 > n / 2) return anx_judged_add_cause(j, "gray", 0.9, err, "the image has lost its colour");
    if (most <= 2)
        return anx_judged_add_cause(
            j, "pixel-rounding", 0.8, err,
            "values differ by at most %d: another decoder version or DCT, or resizing that rounds "
            "otherwise (float instead of Pillow's fixed point)",
            most);
    anx_status status = ANX_OK;
    if (luma * 3 >= n - n / 100)
        status = anx_judged_add_cause(
            j, "chroma", 0.75, err,
            "brightness is right, colour is off by up to %d: chroma is upsampled otherwise, or the "
            "colour conversion differs",
            most);
    const double right = sharpness(expected), ratio = right > 0 ? sharpness(got) / right : 1;
    if (status == ANX_OK && ratio > 1.05)
        status =
            anx_judged_add_cause(j, "no-antialias", fmin(0.9, 0.5 + ratio - 1), err,
                                 "%.3g times as sharp as the right one: resized without antialiasing, or by a sharper "
                                 "filter",
                                 ratio);
    if (status == ANX_OK && ratio < 0.95)
        status =
            anx_judged_add_cause(j, "smoother", 0.6, err,
                                 "%.3g times as sharp as the right one: resized by a smoother filter, or twice", ratio);
    return status;
}

anx_status anx_diagnose_image(const anx_image *got, const anx_image *expected, anx_judged *judged, anx_error *err) {
    anx_status status = moved(got, expected, judged, err);
    if (status != ANX_OK || judged->n_causes > 0) return status;
    if (got->width != expected->width || got->height != expected->height)
        return anx_judged_add_cause(
            judged, "size", 0.9, err, "%lld x %lld instead of %lld x %lld: the shorter side's length or its rounding",
            (long long)got->width, (long long)got->height, (long long)expected->width, (long long)expected->height);
    return by_magnitude(got, expected, judged, err);
}

/* ---- normalised inputs ---- */

/* got = a * expected + b over one plane, by least squares; the largest distance from it. */
typedef struct line {
    double a, b, worst;
} line;

static line fit(const float *got, const float *expected, int64_t n) {
    double e = 0, g = 0, ee = 0, eg = 0;
    for (int64_t i = 0; i < n; i++) e += expected[i], g += got[i];
    e /= (double)n, g /= (double)n;
    for (int64_t i = 0; i < n; i++) {
        ee += (expected[i] - e) * (expected[i] - e);
        eg += (expected[i] - e) * (got[i] - g);
    }
    line l = {.a = ee > 0 ? eg / ee : 1};
    l.b = g - l.a * e;
    for (int64_t i = 0; i < n; i++) l.worst = fmax(l.worst, fabs(got[i] - (l.a * expected[i] + l.b)));
    return l;
}

static bool near(double a, double b) {
    return fabs(a - b) <= 2e-3 * (1 + fabs(b));
}

/* Planes that are a straight line of the right ones: another mean and std, which the line tells. */
static anx_status other_constants(const line lines[3], const anx_preprocess_profile *profile, anx_judged *j,
                                  anx_error *err) {
    double mean[3], std[3];
    bool none = true, bytes = true, unscaled = true, half = true, reversed = true, no_mean = true;
    for (int c = 0; c < 3; c++) {
        std[c] = profile->std[c] / lines[c].a;
        mean[c] = profile->mean[c] - lines[c].b * std[c];
        none = none && near(mean[c], 0) && near(std[c], 1);
        bytes = bytes && near(255 * std[c], 1) && near(255 * mean[c], 0);
        unscaled = unscaled && fabs(255 * mean[c] / profile->mean[c] - 1) < 1e-2 &&
                   fabs(255 * std[c] / profile->std[c] - 1) < 1e-2;
        half = half && near(mean[c], 0.5) && near(std[c], 0.5);
        reversed = reversed && near(mean[c], profile->mean[2 - c]) && near(std[c], profile->std[2 - c]);
        no_mean = no_mean && near(mean[c], 0) && near(std[c], profile->std[c]);
    }
    const char *what = none       ? "not normalised at all"
                       : bytes    ? "0 to 255, neither scaled nor normalised"
                       : unscaled ? "not divided by 255 before it was normalised"
                       : half     ? "normalised to -1 .. 1"
                       : reversed ? "mean and std of the channels in reverse order"
                       : no_mean  ? "the mean is not subtracted"
                                  : "another mean and std";
    return anx_judged_add_cause(j, "normalisation", 0.96, err,
                                "%s: as from mean (%.4g, %.4g, %.4g), std (%.4g, %.4g, %.4g)", what, mean[0], mean[1],
                                mean[2], std[0], std[1], std[2]);
}

/* Do the planes of got equal those of expected in the order given? */
static bool same_planes(const float *got, const float *expected, int64_t plane, const int order[3]) {
    for (int c = 0; c < 3; c++)
        if (memcmp(got + c * plane, expected + order[c] * plane, (size_t)plane * sizeof *got) != 0) return false;
    return true;
}

/* The 8-bit image an input was made of. */
static anx_status to_image(const float *input, int64_t height, int64_t width, const anx_preprocess_profile *profile,
                           anx_image *out, anx_error *err) {
    const int64_t plane = height * width;
    out->pixels = malloc((size_t)(plane * 3));
    if (out->pixels == NULL) return anx_error_set(err, ANX_ERR_OUT_OF_MEMORY, "no memory for the diagnosis");
    out->height = height;
    out->width = width;
    for (int c = 0; c < 3; c++)
        for (int64_t i = 0; i < plane; i++) {
            const double v = 255 * ((double)input[c * plane + i] * profile->std[c] + profile->mean[c]);
            out->pixels[i * 3 + c] = (uint8_t)(v >= 255 ? 255 : v > 0 ? v + 0.5 : 0);
        }
    return ANX_OK;
}

anx_status anx_diagnose_input(const float *got, const float *expected, int64_t height, int64_t width,
                              const anx_preprocess_profile *profile, anx_judged *judged, anx_error *err) {
    const int64_t plane = height * width;
    static const int bgr[3] = {2, 1, 0};
    double most = 0;
    for (int64_t i = 0; i < 3 * plane; i++) {
        if (!isfinite(got[i])) return anx_judged_add_cause(judged, "nan", 0.95, err, "values that are not finite");
        most = fmax(most, fabs((double)got[i] - (double)expected[i]));
    }
    if (same_planes(got, expected, plane, bgr))
        return anx_judged_add_cause(judged, "channel-order", 0.99, err, "red and blue are exchanged after normalising");
    if (most <= 4e-6)
        return anx_judged_add_cause(
            judged, "float-rounding", 0.9, err,
            "values differ by at most %.3g: the same steps, rounded otherwise (a fused multiply-add, "
            "or a product with 1/std instead of a division)",
            most);
    line lines[3];
    bool straight = true;
    for (int c = 0; c < 3; c++) {
        lines[c] = fit(got + c * plane, expected + c * plane, plane);
        straight = straight && lines[c].a > 0 && lines[c].worst <= 1e-4 * fmax(1, fabs(lines[c].a) * 2.5);
    }
    if (straight) return other_constants(lines, profile, judged, err);

    /* otherwise the fault lies in the pixels */
    anx_image a = ANX_IMAGE_INIT, b = ANX_IMAGE_INIT;
    anx_status status = to_image(got, height, width, profile, &a, err);
    if (status == ANX_OK) status = to_image(expected, height, width, profile, &b, err);
    if (status == ANX_OK) status = anx_diagnose_image(&a, &b, judged, err);
    free(a.pixels);
    free(b.pixels);
    return status;
}
