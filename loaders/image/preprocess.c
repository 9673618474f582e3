#include "loaders/image/preprocess.h"

#include <limits.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "loaders/image/resize.h"
#include "src/base/checked.h"

const anx_preprocess_profile anx_preprocess_torchvision = {
    .name = "torchvision-alexnet",
    .resize = 256,
    .crop = 224,
    .mean = {0.485f, 0.456f, 0.406f},
    .std = {0.229f, 0.224f, 0.225f},
};

enum { CHANNELS = 3, LEVELS = 256 };

/* Where the staged way stops, so that a thin image cannot ask for hundreds of gigabytes: 2 GB of resized pixels. */
static const int64_t max_resized_pixels = 4 * (int64_t)ANX_IMAGE_MAX_PIXELS;

void anx_image_fini(anx_image *image) {
    if (image == NULL) return;
    free(image->pixels);
    *image = (anx_image)ANX_IMAGE_INIT;
}

void anx_preprocess_stages_fini(anx_preprocess_stages *stages) {
    if (stages == NULL) return;
    anx_image_fini(&stages->image);
    anx_image_fini(&stages->resize);
    anx_image_fini(&stages->crop);
    anx_tensor_fini(&stages->scaled);
    anx_tensor_fini(&stages->input);
}

static anx_status image_alloc(int64_t width, int64_t height, anx_image *out, anx_error *err) {
    size_t n_bytes;
    if (!anx_checked_mul_size((size_t)width, (size_t)height, &n_bytes) ||
        !anx_checked_mul_size(n_bytes, CHANNELS, &n_bytes))
        return anx_error_set(err, ANX_ERR_LIMIT, "an image of %lld x %lld pixels is too large", (long long)width,
                             (long long)height);
    uint8_t *pixels = malloc(n_bytes);
    if (pixels == NULL)
        return anx_error_set(err, ANX_ERR_OUT_OF_MEMORY, "out of memory for an image of %lld x %lld pixels",
                             (long long)width, (long long)height);
    *out = (anx_image){.width = width, .height = height, .pixels = pixels};
    return ANX_OK;
}

anx_status anx_preprocess_check(const anx_preprocess_profile *profile, anx_error *err) {
    if (profile->resize >= 1 && profile->crop >= 1 && profile->resize <= 16384 && profile->crop <= 16384) return ANX_OK;
    return anx_error_set(err, ANX_ERR_INVALID_ARGUMENT,
                         "preprocessing '%s' resizes to %d and crops to %d; both must be 1 to 16384", profile->name,
                         profile->resize, profile->crop);
}

/* ---- geometry ---- */

typedef struct geometry {
    int32_t left, top;                     /* of what is resized, in the decoded image */
    int32_t width, height;                 /* ... and its size: all of the image, unless an augmentation crops it */
    int32_t resized_width, resized_height; /* after Resize */
    int32_t crop;                          /* side of the crop */
    /* The crop's first column and row in the resized image; negative where it begins with zeros. */
    int32_t crop_left, crop_top;
    anx_resize_window window; /* what the crop shows of the resized image */
} geometry;

/*
 * torchvision's center_crop along one axis: an image that is smaller is padded with zeros, the odd one at the end;
 * else the margin's half is rounded as Python's round does, halves to even.
 */
static int32_t crop_begin(int32_t size, int32_t crop) {
    if (crop > size) return -((crop - size) / 2);
    const int32_t margin = size - crop, half = margin / 2;
    return margin % 2 == 0 ? half : half + half % 2;
}

/* torchvision's _compute_resized_output_size for one number: the short side exactly, the long one truncated. */
static anx_status plan(const anx_preprocess_profile *profile, int32_t width, int32_t height, geometry *out,
                       anx_error *err) {
    const int32_t short_side = width <= height ? width : height, long_side = width <= height ? height : width;
    /* Python divides the exact integers, rounding once: so does this, both being exact in double. */
    const double resized_long = (double)((int64_t)profile->resize * long_side) / short_side;
    if (resized_long >= (double)INT_MAX)
        return anx_error_set(err, ANX_ERR_LIMIT,
                             "%d x %d pixels resized to %d make the long side %.0f; Pillow's limit is %d", width,
                             height, profile->resize, floor(resized_long), INT_MAX);
    geometry g = {.width = width, .height = height, .crop = profile->crop};
    g.resized_width = width <= height ? profile->resize : (int32_t)resized_long;
    g.resized_height = width <= height ? (int32_t)resized_long : profile->resize;
    g.crop_left = crop_begin(g.resized_width, g.crop);
    g.crop_top = crop_begin(g.resized_height, g.crop);
    g.window.x0 = g.crop_left > 0 ? g.crop_left : 0;
    g.window.y0 = g.crop_top > 0 ? g.crop_top : 0;
    g.window.x1 = g.crop_left + g.crop < g.resized_width ? g.crop_left + g.crop : g.resized_width;
    g.window.y1 = g.crop_top + g.crop < g.resized_height ? g.crop_top + g.crop : g.resized_height;
    *out = g;
    return ANX_OK;
}

/* torchvision's resized_crop: Image.crop, then Resize((crop, crop)) of what that leaves. */
static anx_status plan_crop(const anx_preprocess_profile *profile, const anx_crop *crop, int32_t width, int32_t height,
                            geometry *out, anx_error *err) {
    if (crop->left < 0 || crop->top < 0 || crop->width < 1 || crop->height < 1 || crop->left > width - crop->width ||
        crop->top > height - crop->height)
        return anx_error_set(err, ANX_ERR_INVALID_ARGUMENT,
                             "%lld x %lld pixels from column %lld and row %lld on are no part of an image of %d x %d",
                             (long long)crop->width, (long long)crop->height, (long long)crop->left,
                             (long long)crop->top, width, height);
    *out = (geometry){.left = (int32_t)crop->left,
                      .top = (int32_t)crop->top,
                      .width = (int32_t)crop->width,
                      .height = (int32_t)crop->height,
                      .resized_width = profile->crop,
                      .resized_height = profile->crop,
                      .crop = profile->crop,
                      .window = {.x1 = profile->crop, .y1 = profile->crop}};
    return ANX_OK;
}

/* ---- values ---- */

/*
 * What each of the 256 levels becomes, in float32 and in this order: divided by 255, less the mean, over the deviation.
 * These are all values there are, so tables give the same bits as arithmetic on each pixel.
 */
typedef struct value_tables {
    float scaled[LEVELS];
    float input[CHANNELS][LEVELS];
} value_tables;

static void make_tables(const anx_preprocess_profile *profile, value_tables *t) {
    for (int v = 0; v < LEVELS; v++) {
        t->scaled[v] = (float)v / 255.0f;
        for (int c = 0; c < CHANNELS; c++) t->input[c][v] = (t->scaled[v] - profile->mean[c]) / profile->std[c];
    }
}

/* ---- staged ---- */

typedef struct staged_run {
    const anx_preprocess_profile *profile;
    anx_preprocess_stages *stages;
    geometry geometry;
} staged_run;

static anx_status staged_begin(void *context, int32_t width, int32_t height, anx_image_region *needed, anx_error *err) {
    staged_run *run = context;
    anx_status status = plan(run->profile, width, height, &run->geometry, err);
    if (status != ANX_OK) return status;
    const geometry *g = &run->geometry;
    if ((int64_t)g->resized_width * g->resized_height > max_resized_pixels)
        return anx_error_set(err, ANX_ERR_LIMIT, "resized, the image would have %d x %d pixels; %lld are kept at most",
                             g->resized_width, g->resized_height, (long long)max_resized_pixels);
    *needed = (anx_image_region){.x0 = 0, .x1 = width, .y0 = 0, .y1 = height};
    if (run->stages->image.pixels != NULL) return ANX_OK;
    return image_alloc(width, height, &run->stages->image, err);
}

static void staged_row(void *context, int32_t y, const uint8_t *rgb) {
    staged_run *run = context;
    const size_t row_bytes = (size_t)run->stages->image.width * CHANNELS;
    memcpy(run->stages->image.pixels + (size_t)y * row_bytes, rgb, row_bytes);
}

static void keep_row(void *context, int32_t y, const uint8_t *rgb) {
    anx_image *image = context;
    const size_t row_bytes = (size_t)image->width * CHANNELS;
    memcpy(image->pixels + (size_t)y * row_bytes, rgb, row_bytes);
}

static anx_status resize_stage(const geometry *g, const anx_image *image, anx_image *out, anx_error *err) {
    const anx_resize_window all = {.x0 = 0, .x1 = g->resized_width, .y0 = 0, .y1 = g->resized_height};
    const size_t row_bytes = (size_t)g->width * CHANNELS;
    anx_resizer *resizer = NULL;
    uint8_t *padded = NULL; /* a row with the bytes behind it that the resizer may read */
    anx_status status =
        anx_resizer_create(g->width, g->height, g->resized_width, g->resized_height, &all, &resizer, err);
    if (status != ANX_OK) goto out;
    status = image_alloc(g->resized_width, g->resized_height, out, err);
    if (status != ANX_OK) goto out;
    padded = calloc(row_bytes + ANX_RESAMPLE_READ_AHEAD_BYTES, 1);
    if (padded == NULL) {
        status = anx_error_set(err, ANX_ERR_OUT_OF_MEMORY, "out of memory for a row of %d pixels", g->width);
        goto out;
    }
    anx_resizer_begin(resizer, keep_row, out);
    const anx_image_region source = anx_resizer_source(resizer);
    for (int32_t y = source.y0; y < source.y1; y++) {
        const uint8_t *row = image->pixels + (size_t)y * row_bytes + (size_t)source.x0 * CHANNELS;
        memcpy(padded, row, (size_t)(source.x1 - source.x0) * CHANNELS);
        anx_resizer_push(resizer, padded);
    }
out:
    free(padded);
    anx_resizer_destroy(resizer);
    return status;
}

static anx_status crop_stage(const geometry *g, const anx_image *resized, anx_image *out, anx_error *err) {
    anx_status status = image_alloc(g->crop, g->crop, out, err);
    if (status != ANX_OK) return status;
    memset(out->pixels, 0, (size_t)g->crop * (size_t)g->crop * CHANNELS);
    const anx_resize_window *w = &g->window;
    for (int32_t y = w->y0; y < w->y1; y++) {
        const size_t from = ((size_t)y * (size_t)g->resized_width + (size_t)w->x0) * CHANNELS;
        const size_t to = ((size_t)(y - g->crop_top) * (size_t)g->crop + (size_t)(w->x0 - g->crop_left)) * CHANNELS;
        memcpy(out->pixels + to, resized->pixels + from, (size_t)(w->x1 - w->x0) * CHANNELS);
    }
    return ANX_OK;
}

static anx_status tensor_stages(const anx_preprocess_profile *profile, const anx_image *crop, anx_tensor *scaled,
                                anx_tensor *input, anx_error *err) {
    const int64_t shape[] = {CHANNELS, crop->height, crop->width};
    anx_status status = anx_tensor_alloc(ANX_F32, 3, shape, scaled, err);
    if (status == ANX_OK) status = anx_tensor_alloc(ANX_F32, 3, shape, input, err);
    if (status != ANX_OK) return status;
    value_tables tables;
    make_tables(profile, &tables);
    const size_t n = (size_t)crop->width * (size_t)crop->height;
    float *s = scaled->data, *x = input->data;
    for (size_t c = 0; c < CHANNELS; c++)
        for (size_t i = 0; i < n; i++) {
            const uint8_t v = crop->pixels[i * CHANNELS + c];
            s[c * n + i] = tables.scaled[v];
            x[c * n + i] = tables.input[c][v];
        }
    return ANX_OK;
}

anx_status anx_preprocess_staged(const anx_preprocess_profile *profile, const uint8_t *bytes, size_t n_bytes,
                                 const char *name, anx_preprocess_stages *out, anx_error *err) {
    anx_preprocess_stages stages = ANX_PREPROCESS_STAGES_INIT;
    staged_run run = {.profile = profile, .stages = &stages};
    const anx_image_sink sink = {.begin = staged_begin, .row = staged_row, .context = &run};
    anx_status status = anx_preprocess_check(profile, err);
    if (status == ANX_OK) status = anx_image_decode(bytes, n_bytes, &sink, err);
    if (status == ANX_OK) status = resize_stage(&run.geometry, &stages.image, &stages.resize, err);
    if (status == ANX_OK) status = crop_stage(&run.geometry, &stages.resize, &stages.crop, err);
    if (status == ANX_OK) status = tensor_stages(profile, &stages.crop, &stages.scaled, &stages.input, err);
    if (status != ANX_OK) {
        anx_error_in_file(err, name);
        anx_preprocess_stages_fini(&stages);
        return status;
    }
    *out = stages;
    return ANX_OK;
}

/* ---- fast ---- */

static anx_status create_resizer(const geometry *g, anx_resizer **out, anx_error *err) {
    return anx_resizer_create(g->width, g->height, g->resized_width, g->resized_height, &g->window, out, err);
}

anx_status anx_preprocess_source(const anx_preprocess_profile *profile, int32_t width, int32_t height,
                                 anx_image_region *out, anx_error *err) {
    geometry g;
    anx_resizer *resizer = NULL;
    anx_status status = anx_preprocess_check(profile, err);
    if (status == ANX_OK) status = plan(profile, width, height, &g, err);
    if (status == ANX_OK) status = create_resizer(&g, &resizer, err);
    if (status == ANX_OK) *out = anx_resizer_source(resizer);
    anx_resizer_destroy(resizer);
    return status;
}

typedef struct fast_run {
    const anx_preprocess_profile *profile;
    const anx_augmentation *augmentation; /* or NULL */
    geometry geometry;
    anx_resizer *resizer;
    value_tables tables;
    float *input; /* (3, crop, crop) */
} fast_run;

static void fast_output(void *context, int32_t y, const uint8_t *rgb) {
    fast_run *run = context;
    const geometry *g = &run->geometry;
    const size_t plane = (size_t)g->crop * (size_t)g->crop, n = (size_t)(g->window.x1 - g->window.x0);
    float *row = run->input + (size_t)(y - g->crop_top) * (size_t)g->crop;
    const size_t first = (size_t)(g->window.x0 - g->crop_left), last = (size_t)g->crop - 1 - first;
    const bool flip = run->augmentation != NULL && run->augmentation->flip;
    for (size_t i = 0; i < n; i++) {
        const size_t x = flip ? last - i : first + i;
        for (size_t c = 0; c < CHANNELS; c++) row[c * plane + x] = run->tables.input[c][rgb[i * CHANNELS + c]];
    }
}

/* What the crop shows beyond the image's borders. */
static void fill_padding(const fast_run *run) {
    const geometry *g = &run->geometry;
    if (g->window.x1 - g->window.x0 == g->crop && g->window.y1 - g->window.y0 == g->crop) return;
    const size_t plane = (size_t)g->crop * (size_t)g->crop;
    for (size_t c = 0; c < CHANNELS; c++)
        for (size_t i = 0; i < plane; i++) run->input[c * plane + i] = run->tables.input[c][0];
}

static anx_status fast_begin(void *context, int32_t width, int32_t height, anx_image_region *needed, anx_error *err) {
    fast_run *run = context;
    if (run->resizer == NULL) {
        const anx_augmentation *a = run->augmentation;
        anx_status status = a != NULL && a->has_crop
                                ? plan_crop(run->profile, &a->crop, width, height, &run->geometry, err)
                                : plan(run->profile, width, height, &run->geometry, err);
        if (status != ANX_OK) return status;
        status = create_resizer(&run->geometry, &run->resizer, err);
        if (status != ANX_OK) return status;
        make_tables(run->profile, &run->tables);
        fill_padding(run);
    }
    const anx_image_region source = anx_resizer_source(run->resizer);
    const geometry *g = &run->geometry;
    *needed = (anx_image_region){
        .x0 = g->left + source.x0, .x1 = g->left + source.x1, .y0 = g->top + source.y0, .y1 = g->top + source.y1};
    anx_resizer_begin(run->resizer, fast_output, run);
    return ANX_OK;
}

static void fast_row(void *context, int32_t y, const uint8_t *rgb) {
    (void)y;
    fast_run *run = context;
    anx_resizer_push(run->resizer, rgb);
}

anx_status anx_preprocess_fast(const anx_preprocess_profile *profile, const uint8_t *bytes, size_t n_bytes,
                               const char *name, float *input, anx_error *err) {
    return anx_preprocess_augmented(profile, NULL, bytes, n_bytes, name, input, err);
}

anx_status anx_preprocess_augmented(const anx_preprocess_profile *profile, const anx_augmentation *augmentation,
                                    const uint8_t *bytes, size_t n_bytes, const char *name, float *input,
                                    anx_error *err) {
    fast_run run = {.profile = profile, .augmentation = augmentation, .input = input};
    const anx_image_sink sink = {.begin = fast_begin, .row = fast_row, .context = &run};
    anx_status status = anx_preprocess_check(profile, err);
    if (status == ANX_OK) status = anx_image_decode(bytes, n_bytes, &sink, err);
    anx_resizer_destroy(run.resizer);
    if (status != ANX_OK) anx_error_in_file(err, name);
    return status;
}
