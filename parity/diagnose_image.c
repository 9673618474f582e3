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

/* Do the two differ in their details alone: do the means over 8 x 8 pixels differ far less than the pixels do? */
static bool same_at_large(const anx_image *got, const anx_image *expected) {
    enum { SIDE = 8 };
    double fine = 0, large = 0, blocks = 0;
    for (int64_t y0 = 0; y0 + SIDE <= got->height; y0 += SIDE)
        for (int64_t x0 = 0; x0 + SIDE <= got->width; x0 += SIDE)
            for (int c = 0; c < 3; c++) {
                double sum = 0;
                for (int64_t y = y0; y < y0 + SIDE; y++)
                    for (int64_t x = x0; x < x0 + SIDE; x++) {
                        const double d = pixel(got, y, x, c) - pixel(expected, y, x, c);
                        sum += d;
                        fine += d * d / (SIDE * SIDE);
                    }
                large += sum * sum / (SIDE * SIDE * SIDE * SIDE);
                blocks++;
            }
    return blocks > 0 && sqrt(large) <= 0.35 * sqrt(fine);
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
    if (status != ANX_OK || !same_at_large(got, expected)) return status;
    const double right = sharpness(expected), ratio = right > 0 ? sharpness(got) / right : 1;
    if (ratio > 1.01)
        return anx_judged_add_cause(j, "no-antialias", fmin(0.9, 0.6 + ratio - 1), err,
                                    "%.3g times as sharp as the right one: resized without antialiasing, or by a "
                                    "sharper filter",
                                    ratio);
    if (ratio < 0.99)
        return anx_judged_add_cause(j, "smoother", 0.6, err,
                                    "%.3g times as sharp as the right one: resized by a smoother filter, or twice",
                                    ratio);
    return ANX_OK;
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
    return fabs(a - b) <= 3e-4 * (1 + fabs(b)); /* finer than 255 is from 256 */
}

/* The constants of a normalisation, in the order of the planes. */
typedef struct constants {
    double mean[3], std[3];
} constants;

/* What a constant is written as: rounding leaves 0 a little beside 0. */
static double tidy(double v) {
    return fabs(v) < 1e-6 ? 0 : v;
}

/* The constants that give got from the planes of expected in `order`; false where none do. */
static bool find_constants(const float *got, const float *expected, int64_t plane, const int order[3],
                           const anx_preprocess_profile *profile, constants *out) {
    for (int c = 0; c < 3; c++) {
        const line l = fit(got + c * plane, expected + order[c] * plane, plane);
        if (!(l.a > 0) || l.worst > 1e-4 * fmax(1, fabs(l.a) * 2.5)) return false;
        out->std[c] = profile->std[order[c]] / l.a;
        out->mean[c] = tidy(profile->mean[order[c]] - l.b * out->std[c]);
    }
    return true;
}

static bool are(const constants *k, double scale, double mean_0, double mean_1, double mean_2, double std_0,
                double std_1, double std_2) {
    const double mean[3] = {mean_0, mean_1, mean_2}, std[3] = {std_0, std_1, std_2};
    for (int c = 0; c < 3; c++)
        if (!near(scale * k->mean[c], mean[c]) || !near(scale * k->std[c], std[c])) return false;
    return true;
}

/* What these constants are known as; NULL where they are the right ones. */
static const char *name_constants(const constants *k, const anx_preprocess_profile *profile) {
    const double m[3] = {profile->mean[0], profile->mean[1], profile->mean[2]};
    const double s[3] = {profile->std[0], profile->std[1], profile->std[2]};
    if (are(k, 1, m[0], m[1], m[2], s[0], s[1], s[2])) return NULL;
    if (are(k, 255.0 / 256, m[0], m[1], m[2], s[0], s[1], s[2])) return "divided by 256 instead of 255";
    if (are(k, 1, 0, 0, 0, 1, 1, 1)) return "not normalised at all";
    if (are(k, 255, 0, 0, 0, 1, 1, 1)) return "0 to 255, neither scaled nor normalised";
    if (are(k, 255, m[0], m[1], m[2], s[0], s[1], s[2])) return "0 to 255, normalised as if it were 0 to 1";
    if (near(255 * k->std[0], 1) && near(255 * k->std[1], 1) && near(255 * k->std[2], 1))
        return "0 to 255 less a mean, not divided by std";
    if (are(k, 1, 0.5, 0.5, 0.5, 0.5, 0.5, 0.5)) return "normalised to -1 .. 1";
    if (are(k, 1, m[2], m[1], m[0], s[2], s[1], s[0])) return "mean and std of the channels in reverse order";
    if (are(k, 1, 0, 0, 0, s[0], s[1], s[2])) return "the mean is not subtracted";
    if (are(k, 1, m[0], m[1], m[2], 1, 1, 1)) return "not divided by std";
    return "another mean and std";
}

static anx_status add_constants(const constants *k, const char *name, anx_judged *j, anx_error *err) {
    return anx_judged_add_cause(j, "normalisation", 0.96, err,
                                "%s: as from mean (%.4g, %.4g, %.4g), std (%.4g, %.4g, %.4g)", name, k->mean[0],
                                k->mean[1], k->mean[2], k->std[0], k->std[1], k->std[2]);
}

/* Planes that are a straight line of the right ones, in their order or in reverse. */
static anx_status other_constants(const float *got, const float *expected, int64_t plane,
                                  const anx_preprocess_profile *profile, anx_judged *j, anx_error *err) {
    static const int rgb[3] = {0, 1, 2}, bgr[3] = {2, 1, 0};
    constants k;
    if (find_constants(got, expected, plane, rgb, profile, &k)) {
        const char *name = name_constants(&k, profile);
        return name != NULL ? add_constants(&k, name, j, err) : ANX_OK;
    }
    if (!find_constants(got, expected, plane, bgr, profile, &k)) return ANX_OK;
    const char *name = name_constants(&k, profile);
    const anx_status status = anx_judged_add_cause(j, "channel-order", 0.98, err,
                                                   "red and blue are exchanged before normalising (BGR for RGB)");
    return status == ANX_OK && name != NULL ? add_constants(&k, name, j, err) : status;
}

/* Values that no image gives, the share of them being more than a few. */
static anx_status out_of_range(const float *got, int64_t plane, const anx_preprocess_profile *profile, anx_judged *j,
                               anx_error *err) {
    int64_t out = 0;
    double least = INFINITY, most = -INFINITY;
    for (int64_t i = 0; i < 3 * plane; i++) {
        const int64_t c = i / plane;
        const double v = 255 * ((double)got[i] * profile->std[c] + profile->mean[c]);
        out += v < -1 || v > 256;
        least = fmin(least, got[i]);
        most = fmax(most, got[i]);
    }
    if (out * 100 < 3 * plane * 2) return ANX_OK;
    return anx_judged_add_cause(
        j, "normalisation", 0.7, err,
        "values from %.4g to %.4g, where no image gives less than %.4g or more than %.4g: scaled or "
        "normalised otherwise, beside what else is wrong",
        least, most, -(double)profile->mean[0] / profile->std[0], (1 - (double)profile->mean[2]) / profile->std[2]);
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
    const int before = judged->n_causes;
    anx_status status = other_constants(got, expected, plane, profile, judged, err);
    if (status == ANX_OK && judged->n_causes == before) status = out_of_range(got, plane, profile, judged, err);
    if (status != ANX_OK || judged->n_causes > before) return status;

    /* otherwise the fault lies in the pixels */
    anx_image a = ANX_IMAGE_INIT, b = ANX_IMAGE_INIT;
    status = to_image(got, height, width, profile, &a, err);
    if (status == ANX_OK) status = to_image(expected, height, width, profile, &b, err);
    if (status == ANX_OK) status = anx_diagnose_image(&a, &b, judged, err);
    free(a.pixels);
    free(b.pixels);
    return status;
}
