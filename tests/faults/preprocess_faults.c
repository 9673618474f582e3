#include "tests/faults/preprocess_faults.h"

#include <math.h>
#include <png.h>
#include <stdlib.h>
#include <string.h>

static preprocess_fault_kind fault;
static bool fast_only;

void preprocess_fault_set(preprocess_fault_kind kind, bool fast_alone) {
    fault = kind;
    fast_only = fast_alone;
}

static void *allocate(size_t bytes) {
    void *p = malloc(bytes);
    if (p == NULL) abort();
    return p;
}

static anx_image image_of(int64_t width, int64_t height) {
    return (anx_image){width, height, allocate((size_t)(width * height * 3))};
}

static uint8_t *pixel(const anx_image *image, int64_t x, int64_t y) {
    return image->pixels + (y * image->width + x) * 3;
}

uint8_t *preprocess_png(const anx_image *image, size_t *n_bytes) {
    png_image png = {.version = PNG_IMAGE_VERSION,
                     .width = (png_uint_32)image->width,
                     .height = (png_uint_32)image->height,
                     .format = PNG_FORMAT_RGB};
    png_alloc_size_t size = PNG_IMAGE_PNG_SIZE_MAX(png);
    uint8_t *bytes = allocate(size);
    if (png_image_write_to_memory(&png, bytes, &size, 0, image->pixels, 0, NULL) == 0) abort();
    *n_bytes = size;
    return bytes;
}

/* ---- decoding ------------------------------------------------------------------------------------------- */

static anx_image decode_wrongly(const anx_image *right) {
    const bool turned = fault == PREPROCESS_TURNED;
    anx_image wrong = image_of(turned ? right->height : right->width, turned ? right->width : right->height);
    for (int64_t y = 0; y < wrong.height; y++)
        for (int64_t x = 0; x < wrong.width; x++) {
            const uint8_t *from = turned                        ? pixel(right, y, right->height - 1 - x)
                                  : fault == PREPROCESS_FLIPPED ? pixel(right, x, right->height - 1 - y)
                                                                : pixel(right, x, y);
            uint8_t *to = pixel(&wrong, x, y);
            for (int c = 0; c < 3; c++)
                to[c] = fault == PREPROCESS_BGR ? from[2 - c] : fault == PREPROCESS_GRAY ? from[1] : from[c];
        }
    return wrong;
}

/* ---- resizing ------------------------------------------------------------------------------------------- */

/* How much source pixel i counts for output pixel o: the triangle filter, as wide as the scale where that shrinks. */
static double filter(int64_t o, int64_t i, double scale) {
    const double centre = ((double)o + 0.5) * scale;
    if (fault == PREPROCESS_NEAREST) return i == (int64_t)centre ? 1.0 : 0.0;
    const double support = scale > 1.0 && fault != PREPROCESS_NO_ANTIALIAS ? scale : 1.0;
    return fmax(0.0, 1.0 - fabs((double)i + 0.5 - centre) / support);
}

/* One axis of a resize: (out, in) weights, each row's sum 1. */
static double *axis(int64_t in, int64_t out) {
    double *w = allocate((size_t)(in * out) * sizeof *w);
    for (int64_t o = 0; o < out; o++) {
        double sum = 0.0;
        for (int64_t i = 0; i < in; i++) sum += w[o * in + i] = filter(o, i, (double)in / (double)out);
        for (int64_t i = 0; i < in; i++) w[o * in + i] /= sum;
    }
    return w;
}

static uint8_t to_byte(double v) {
    const double r = fault == PREPROCESS_FLOOR ? floor(v) : floor(v + 0.5);
    return (uint8_t)(r < 0.0 ? 0.0 : r > 255.0 ? 255.0 : r);
}

static anx_image resize_wrongly(const anx_image *image, int64_t width, int64_t height) {
    double *columns = axis(image->width, width), *rows = axis(image->height, height);
    anx_image wide = image_of(width, image->height), out = image_of(width, height);
    for (int64_t y = 0; y < image->height; y++)
        for (int64_t x = 0; x < width; x++)
            for (int c = 0; c < 3; c++) {
                double v = 0.0;
                for (int64_t i = 0; i < image->width; i++)
                    v += columns[x * image->width + i] * (double)pixel(image, i, y)[c];
                pixel(&wide, x, y)[c] = to_byte(v);
            }
    for (int64_t y = 0; y < height; y++)
        for (int64_t x = 0; x < width; x++)
            for (int c = 0; c < 3; c++) {
                double v = 0.0;
                for (int64_t i = 0; i < image->height; i++)
                    v += rows[y * image->height + i] * (double)pixel(&wide, x, i)[c];
                pixel(&out, x, y)[c] = to_byte(v);
            }
    anx_image_fini(&wide);
    free(columns);
    free(rows);
    return out;
}

static anx_image resize(const anx_preprocess_profile *profile, const anx_preprocess_stages *s) {
    int64_t width = s->resize.width, height = s->resize.height;
    const int64_t longer = width > height ? width : height;
    if (fault == PREPROCESS_SQUASHED) width = height = profile->resize;
    if (fault == PREPROCESS_LONG_SIDE) {
        width = width * profile->resize / longer;
        height = height * profile->resize / longer;
    }
    return resize_wrongly(&s->image, width, height);
}

/* ---- cropping, scaling, normalising ---------------------------------------------------------------------- */

/* Half of the margin, a half rounded to even, as torchvision's center_crop has it; zeros outside the image. */
static int64_t margin(int64_t size, int64_t crop) {
    if (size < crop) return -((crop - size) / 2);
    return (int64_t)nearbyint((double)(size - crop) / 2.0);
}

static anx_image crop(const anx_preprocess_profile *profile, const anx_image *resized) {
    int64_t left = margin(resized->width, profile->crop), top = margin(resized->height, profile->crop);
    if (fault == PREPROCESS_CROP_DOWN) top++;
    if (fault == PREPROCESS_CROP_RIGHT) left++;
    if (fault == PREPROCESS_CROP_CORNER) left = top = 0;
    anx_image out = image_of(profile->crop, profile->crop);
    for (int64_t y = 0; y < profile->crop; y++)
        for (int64_t x = 0; x < profile->crop; x++) {
            const int64_t h = top + y, w = left + x;
            const bool inside = h >= 0 && h < resized->height && w >= 0 && w < resized->width;
            for (int c = 0; c < 3; c++) pixel(&out, x, y)[c] = inside ? pixel(resized, w, h)[c] : 0;
        }
    return out;
}

static void to_float(const anx_image *image, float *scaled) {
    const float by = fault == PREPROCESS_NOT_SCALED ? 1.0f : fault == PREPROCESS_BY_256 ? 256.0f : 255.0f;
    const int64_t plane = image->width * image->height;
    for (int64_t i = 0; i < plane; i++)
        for (int c = 0; c < 3; c++)
            scaled[fault == PREPROCESS_HWC ? i * 3 + c : c * plane + i] = (float)image->pixels[i * 3 + c] / by;
}

static void normalise(const anx_preprocess_profile *profile, const float *scaled, int64_t plane, float *input) {
    for (int c = 0; c < 3; c++) {
        const int from = fault == PREPROCESS_STATISTICS_BGR ? 2 - c : c;
        float mean = profile->mean[from], std = profile->std[from];
        if (fault == PREPROCESS_NO_MEAN) mean = 0.0f;
        if (fault == PREPROCESS_NO_DEVIATION) std = 1.0f;
        if (fault == PREPROCESS_HALF) mean = std = 0.5f;
        float *to = input + (fault == PREPROCESS_PLANES_BGR ? 2 - c : c) * plane;
        for (int64_t i = 0; i < plane; i++) to[i] = (scaled[c * plane + i] - mean) / std;
    }
}

/* ---- the two ways ---------------------------------------------------------------------------------------- */

static anx_status staged_wrongly(const anx_preprocess_profile *profile, const uint8_t *bytes, size_t n_bytes,
                                 const char *name, anx_preprocess_stages *out, anx_error *err) {
    anx_status status = anx_preprocess_staged(profile, bytes, n_bytes, name, out, err);
    if (status != ANX_OK) return status;
    if (fault >= PREPROCESS_BGR && fault <= PREPROCESS_FLIPPED) {
        anx_image wrong = decode_wrongly(&out->image);
        size_t n = 0;
        uint8_t *png = preprocess_png(&wrong, &n);
        anx_image_fini(&wrong);
        anx_preprocess_stages_fini(out);
        *out = (anx_preprocess_stages)ANX_PREPROCESS_STAGES_INIT;
        status = anx_preprocess_staged(profile, png, n, name, out, err);
        free(png);
        return status;
    }
    if (fault >= PREPROCESS_NO_ANTIALIAS && fault <= PREPROCESS_LONG_SIDE) {
        const anx_image wrong = resize(profile, out);
        anx_image_fini(&out->resize);
        out->resize = wrong;
    }
    anx_image_fini(&out->crop);
    out->crop = crop(profile, &out->resize);
    to_float(&out->crop, out->scaled.data);
    normalise(profile, out->scaled.data, (int64_t)profile->crop * profile->crop, out->input.data);
    return ANX_OK;
}

static anx_status staged(const anx_preprocess_profile *profile, const uint8_t *bytes, size_t n_bytes, const char *name,
                         anx_preprocess_stages *out, anx_error *err) {
    if (fast_only) return anx_preprocess_staged(profile, bytes, n_bytes, name, out, err);
    return staged_wrongly(profile, bytes, n_bytes, name, out, err);
}

static anx_status fast(const anx_preprocess_profile *profile, const uint8_t *bytes, size_t n_bytes, const char *name,
                       float *input, anx_error *err) {
    anx_preprocess_stages stages = ANX_PREPROCESS_STAGES_INIT;
    const anx_status status = staged_wrongly(profile, bytes, n_bytes, name, &stages, err);
    if (status == ANX_OK) memcpy(input, stages.input.data, anx_tensor_bytes(&stages.input));
    anx_preprocess_stages_fini(&stages);
    return status;
}

const anx_judge_preprocess preprocess_faulty = {.staged = staged, .fast = fast};
