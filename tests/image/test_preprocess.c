/* Decoding and the stages after it, on images small and plain enough that arithmetic says what must come out. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "loaders/image/preprocess.h"
#include "tests/image/bytes.h"
#include "tests/image/jpeg_encode.h"
#include "tests/support/anx_test.h"

static anx_error err;

static anx_preprocess_profile profile_of(int resize, int crop) {
    anx_preprocess_profile profile = anx_preprocess_torchvision;
    profile.resize = resize;
    profile.crop = crop;
    return profile;
}

/* All stages; the fast path must give the same input. */
static anx_preprocess_stages stages_of(const anx_preprocess_profile *profile, const bytes *file) {
    anx_preprocess_stages stages = ANX_PREPROCESS_STAGES_INIT;
    ANX_CHECK_OK(anx_preprocess_staged(profile, file->data, file->n, "test", &stages, &err), &err);
    if (stages.input.data == NULL) return stages;
    const size_t n_bytes = anx_tensor_bytes(&stages.input);
    float *fast = malloc(n_bytes);
    ANX_CHECK_OK(anx_preprocess_fast(profile, file->data, file->n, "test", fast, &err), &err);
    CU_ASSERT(memcmp(fast, stages.input.data, n_bytes) == 0);
    free(fast);
    return stages;
}

/* A gray PNG whose pixel at (x, y) is x + 16 y. */
static bytes coordinates(uint32_t width, uint32_t height) {
    bytes file = {.data = NULL}, samples = {.data = NULL};
    for (uint32_t y = 0; y < height; y++)
        for (uint32_t x = 0; x < width; x++) {
            const uint8_t v = (uint8_t)(x + 16 * y);
            bytes_add(&samples, &v, 1);
        }
    bytes_add_png(&file, width, height, 0, samples.data);
    bytes_fini(&samples);
    return file;
}

/* ---- sizes and crops ---- */

static void check_resized(uint32_t width, uint32_t height, int resize, int64_t expected_width,
                          int64_t expected_height) {
    bytes file = coordinates(width, height);
    const anx_preprocess_profile profile = profile_of(resize, 5);
    anx_preprocess_stages stages = stages_of(&profile, &file);
    CU_ASSERT_EQUAL(stages.image.width, width);
    CU_ASSERT_EQUAL(stages.image.height, height);
    CU_ASSERT_EQUAL(stages.resize.width, expected_width);
    CU_ASSERT_EQUAL(stages.resize.height, expected_height);
    anx_preprocess_stages_fini(&stages);
    bytes_fini(&file);
}

static void the_long_side_is_truncated(void) {
    check_resized(500, 375, 256, 341, 256); /* 341.33 */
    check_resized(375, 500, 256, 256, 341);
    check_resized(3, 7, 5, 5, 11);       /* 11.67 */
    check_resized(11, 3, 256, 938, 256); /* 938.67 */
    check_resized(256, 256, 256, 256, 256);
    check_resized(1, 1, 9, 9, 9);
}

/* Where torchvision's crop begins, shown by the coordinates in its first pixel. */
static void check_crop(uint32_t width, uint32_t height, int crop, uint32_t left, uint32_t top) {
    bytes file = coordinates(width, height);
    const anx_preprocess_profile profile = profile_of((int)(width < height ? width : height), crop);
    anx_preprocess_stages stages = stages_of(&profile, &file);
    CU_ASSERT_EQUAL(stages.crop.width, crop);
    CU_ASSERT_EQUAL(stages.crop.height, crop);
    for (uint32_t c = 0; c < 3; c++) CU_ASSERT_EQUAL(stages.crop.pixels[c], left + 16 * top);
    anx_preprocess_stages_fini(&stages);
    bytes_fini(&file);
}

static void half_margins_round_to_even(void) {
    check_crop(5, 4, 4, 0, 0);  /* 0.5 -> 0 */
    check_crop(7, 4, 4, 2, 0);  /* 1.5 -> 2 */
    check_crop(9, 4, 4, 2, 0);  /* 2.5 -> 2 */
    check_crop(11, 4, 4, 4, 0); /* 3.5 -> 4 */
    check_crop(8, 4, 4, 2, 0);
    check_crop(4, 9, 4, 0, 2);
    check_crop(4, 11, 4, 0, 4);
    check_crop(7, 6, 3, 2, 2);
}

static void small_images_get_zeros_around_them(void) {
    bytes file = coordinates(3, 2); /* into 6: 1 left, 2 right; 2 above and below */
    const anx_preprocess_profile profile = profile_of(2, 6);
    anx_preprocess_stages stages = stages_of(&profile, &file);
    for (size_t y = 0; y < 6; y++)
        for (size_t x = 0; x < 6; x++) {
            const bool inside = x >= 1 && x < 4 && y >= 2 && y < 4;
            CU_ASSERT_EQUAL(stages.crop.pixels[(y * 6 + x) * 3 + 1], inside ? (x - 1) + 16 * (y - 2) : 0);
        }
    anx_preprocess_stages_fini(&stages);
    bytes_fini(&file);
}

static void one_side_is_padded_and_the_other_cropped(void) {
    bytes file = coordinates(3, 9); /* into 6: columns 1 left, 2 right; rows begin at round(1.5) = 2 */
    const anx_preprocess_profile profile = profile_of(3, 6);
    anx_preprocess_stages stages = stages_of(&profile, &file);
    for (size_t y = 0; y < 6; y++)
        for (size_t x = 0; x < 6; x++) {
            const bool inside = x >= 1 && x < 4;
            CU_ASSERT_EQUAL(stages.crop.pixels[(y * 6 + x) * 3], inside ? (x - 1) + 16 * (y + 2) : 0);
        }
    anx_preprocess_stages_fini(&stages);
    bytes_fini(&file);
}

/* ---- values ---- */

static void all_levels_become_the_floats_of_each_step(void) {
    bytes file = coordinates(16, 16);
    const anx_preprocess_profile profile = profile_of(16, 16);
    anx_preprocess_stages stages = stages_of(&profile, &file);
    const float *scaled = stages.scaled.data, *input = stages.input.data;
    static const float mean[] = {0.485f, 0.456f, 0.406f}, std[] = {0.229f, 0.224f, 0.225f};
    for (int c = 0; c < 3; c++)
        for (int v = 0; v < 256; v++) {
            volatile float s = (float)v / 255.0f;
            volatile float centered = s - mean[c];
            volatile float x = centered / std[c];
            CU_ASSERT(memcmp(&scaled[c * 256 + v], (const void *)(uintptr_t)&s, sizeof s) == 0);
            CU_ASSERT(memcmp(&input[c * 256 + v], (const void *)(uintptr_t)&x, sizeof x) == 0);
        }
    anx_preprocess_stages_fini(&stages);
    bytes_fini(&file);
}

/* ---- decoding ---- */

/* The RGB that every pixel of the decoded image must have. */
static void check_color(const bytes *file, int64_t width, int64_t height, unsigned r, unsigned g, unsigned b) {
    const anx_preprocess_profile profile = profile_of(8, 8);
    anx_preprocess_stages stages = stages_of(&profile, file);
    CU_ASSERT_EQUAL(stages.image.width, width);
    CU_ASSERT_EQUAL(stages.image.height, height);
    bool good = true;
    for (int64_t i = 0; i < stages.image.width * stages.image.height; i++) {
        const uint8_t *p = stages.image.pixels + 3 * i;
        good = good && p[0] == r && p[1] == g && p[2] == b;
    }
    CU_ASSERT(good);
    if (!good) fprintf(stderr, "%u %u %u\n", stages.image.pixels[0], stages.image.pixels[1], stages.image.pixels[2]);
    anx_preprocess_stages_fini(&stages);
}

/* One color survives JPEG unchanged where its quantisation steps are 1. */
static void check_jpeg(const char *space, const char *sampling, const uint8_t *color, unsigned r, unsigned g,
                       unsigned b) {
    static const char *const flags[] = {"-", "p", "a", "ap", "s"};
    enum { WIDTH = 19, HEIGHT = 21 };
    const int channels = jpeg_kind_channels(space);
    uint8_t samples[WIDTH * HEIGHT * 4];
    for (int i = 0; i < WIDTH * HEIGHT * channels; i++) samples[i] = color[i % channels];
    for (size_t f = 0; f < sizeof flags / sizeof flags[0]; f++) {
        const jpeg_kind kind = {space, 100, sampling, flags[f], f % 2 == 0 ? 0 : 2};
        bytes file = {.data = NULL};
        size_t n = 0;
        uint8_t *encoded = jpeg_encode(&kind, WIDTH, HEIGHT, samples, &n);
        bytes_add(&file, encoded, n);
        check_color(&file, WIDTH, HEIGHT, r, g, b);
        free(encoded);
        bytes_fini(&file);
    }
}

static void gray_jpegs_are_repeated_into_three_channels(void) {
    check_jpeg("gray", "1x1", (const uint8_t[]){77}, 77, 77, 77);
    check_jpeg("gray", "2x2", (const uint8_t[]){255}, 255, 255, 255);
}

static void rgb_jpegs_are_not_converted(void) {
    check_jpeg("rgb", "1x1,1x1,1x1", (const uint8_t[]){200, 3, 90}, 200, 3, 90);
    check_jpeg("rgb", "2x1,1x1,1x1", (const uint8_t[]){0, 255, 128}, 0, 255, 128);
}

static unsigned ink(unsigned stored, unsigned stored_black) {
    /* Pillow takes stored values as inverted: white left = stored black, ink = 255 - stored; rounded, half up. */
    const unsigned ink_times_white = (255 - stored) * stored_black;
    return stored_black - (2 * ink_times_white + 255) / 510;
}

static void cmyk_jpegs_are_read_inverted(void) {
    static const uint8_t colors[][4] = {{10, 20, 30, 200},  {255, 255, 255, 255}, {0, 0, 0, 255},
                                        {0, 128, 255, 100}, {255, 255, 255, 0},   {1, 254, 127, 128}};
    for (size_t i = 0; i < sizeof colors / sizeof colors[0]; i++) {
        const uint8_t *c = colors[i];
        check_jpeg("cmyk", "1x1,1x1,1x1,1x1", c, ink(c[0], c[3]), ink(c[1], c[3]), ink(c[2], c[3]));
    }
}

static void gray_ycck_keeps_its_black(void) {
    const uint8_t c[] = {90, 90, 90, 180};
    check_jpeg("ycck", "2x2,1x1,1x1,2x2", c, ink(90, 180), ink(90, 180), ink(90, 180));
}

/* One pixel of given bytes as a PNG with a filter byte before it. */
static void check_pixel(unsigned depth, unsigned color, const char *pixel, size_t n, unsigned r, unsigned g,
                        unsigned b) {
    for (unsigned interlace = 0; interlace < 2; interlace++) {
        bytes file = {.data = NULL}, row = {.data = NULL};
        bytes_add(&row, "", 1);
        bytes_add(&row, pixel, n);
        bytes_add_png_signature(&file);
        bytes_add_ihdr(&file, 1, 1, depth, color, interlace);
        if (color == 3) bytes_add_chunk(&file, "PLTE", "\1\2\3\4\5\6", 6);
        bytes_add_idat(&file, row.data, row.n);
        bytes_add_chunk(&file, "IEND", NULL, 0);
        check_color(&file, 1, 1, r, g, b);
        bytes_fini(&row);
        bytes_fini(&file);
    }
}

static void every_kind_of_png_becomes_rgb(void) {
    check_pixel(1, 0, "\x80", 1, 255, 255, 255);
    check_pixel(2, 0, "\x40", 1, 85, 85, 85);
    check_pixel(4, 0, "\x90", 1, 153, 153, 153);
    check_pixel(8, 0, "\x90", 1, 144, 144, 144);
    check_pixel(16, 0, "\x00\x90", 2, 144, 144, 144); /* clipped, */
    check_pixel(16, 0, "\x01\x00", 2, 255, 255, 255); /* not scaled */
    check_pixel(8, 2, "\x90\x80\x70", 3, 144, 128, 112);
    check_pixel(16, 2, "\x90\xff\x80\x7f\x70\x01", 6, 144, 128, 112); /* cut */
    check_pixel(1, 3, "\x80", 1, 4, 5, 6);
    check_pixel(8, 3, "\x00", 1, 1, 2, 3);
    check_pixel(8, 3, "\x02", 1, 0, 0, 0); /* beyond the palette */
    check_pixel(8, 4, "\x90\x10", 2, 144, 144, 144);
    check_pixel(16, 4, "\x90\xff\x10\x00", 4, 144, 144, 144);
    check_pixel(8, 6, "\x90\x80\x70\x01", 4, 144, 128, 112); /* alpha is dropped, not applied */
    check_pixel(16, 6, "\x90\xff\x80\x7f\x70\x01\x00\x00", 8, 144, 128, 112);
}

/* ---- limits ---- */

static void bad_profiles_are_refused(void) {
    bytes file = coordinates(4, 4);
    anx_preprocess_stages stages = ANX_PREPROCESS_STAGES_INIT;
    static const int bad[][2] = {{0, 224}, {256, 0}, {-1, 224}, {256, 16385}};
    float unused;
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        const anx_preprocess_profile profile = profile_of(bad[i][0], bad[i][1]);
        ANX_CHECK_STATUS(ANX_ERR_INVALID_ARGUMENT,
                         anx_preprocess_staged(&profile, file.data, file.n, "test", &stages, &err), &err);
        ANX_CHECK_STATUS(ANX_ERR_INVALID_ARGUMENT,
                         anx_preprocess_fast(&profile, file.data, file.n, "test", &unused, &err), &err);
        ANX_CHECK_MESSAGE("both must be 1 to 16384", &err);
    }
    bytes_fini(&file);
}

/* A PNG of one column or row, all 5. */
static bytes line(uint32_t width, uint32_t height) {
    bytes file = {.data = NULL};
    const size_t n = (size_t)height * (width + 1);
    uint8_t *rows = malloc(n);
    if (rows == NULL) exit(2);
    memset(rows, 5, n);
    for (size_t i = 0; i < n; i += width + 1) rows[i] = 0;
    bytes_add_png_signature(&file);
    bytes_add_ihdr(&file, width, height, 8, 0, 0);
    bytes_add_idat(&file, rows, n);
    free(rows);
    return file;
}

/* Resized to 256 columns it would have 2 ^ 30 pixels and more; its crop is small all the same. */
static void a_very_thin_image_goes_the_fast_way_alone(void) {
    static float input[3 * 224 * 224];
    bytes file = line(1, 12000);
    anx_preprocess_stages stages = ANX_PREPROCESS_STAGES_INIT;
    ANX_CHECK_STATUS(ANX_ERR_LIMIT,
                     anx_preprocess_staged(&anx_preprocess_torchvision, file.data, file.n, "thin.png", &stages, &err),
                     &err);
    ANX_CHECK_MESSAGE("thin.png: resized, the image would have 256 x 3072000 pixels; 715827880 are kept at most", &err);
    ANX_CHECK_OK(anx_preprocess_fast(&anx_preprocess_torchvision, file.data, file.n, "thin.png", input, &err), &err);
    bool good = true;
    for (size_t i = 0; i < 224 * 224; i++) good = good && input[i] == (5.0f / 255.0f - 0.485f) / 0.229f;
    CU_ASSERT(good);
    bytes_fini(&file);
}

static void sizes_beyond_pillows_integers_are_refused(void) {
    static float input[3 * 224 * 224];
    bytes file = line(9000000, 1); /* times 256 */
    ANX_CHECK_STATUS(ANX_ERR_LIMIT,
                     anx_preprocess_fast(&anx_preprocess_torchvision, file.data, file.n, "long.png", input, &err),
                     &err);
    ANX_CHECK_MESSAGE("long.png: 9000000 x 1 pixels resized to 256 make the long side 2304000000; Pillow's limit is "
                      "2147483647",
                      &err);
    bytes_fini(&file);
}

/* A part of an image at its own size, so that nothing is resampled, and turned round. */
static void a_crop_is_cut_and_turned_round(void) {
    bytes file = coordinates(16, 12);
    const anx_preprocess_profile profile = profile_of(5, 5);
    float plain[3 * 5 * 5], turned[3 * 5 * 5];
    anx_augmentation a = {.has_crop = true, .crop = {.left = 11, .top = 7, .width = 5, .height = 5}};
    ANX_CHECK_OK(anx_preprocess_augmented(&profile, &a, file.data, file.n, "test", plain, &err), &err);
    a.flip = true;
    ANX_CHECK_OK(anx_preprocess_augmented(&profile, &a, file.data, file.n, "test", turned, &err), &err);
    for (int c = 0; c < 3; c++)
        for (int y = 0; y < 5; y++)
            for (int x = 0; x < 5; x++) {
                const float value =
                    ((float)((11 + x + 16 * (7 + y)) % 256) / 255.0f - profile.mean[c]) / profile.std[c];
                CU_ASSERT_EQUAL(plain[(c * 5 + y) * 5 + x], value);
                CU_ASSERT_EQUAL(turned[(c * 5 + y) * 5 + 4 - x], value);
            }
    a.crop.left = 12;
    ANX_CHECK_STATUS(ANX_ERR_INVALID_ARGUMENT,
                     anx_preprocess_augmented(&profile, &a, file.data, file.n, "test", plain, &err), &err);
    CU_ASSERT_STRING_EQUAL(err.message, "5 x 5 pixels from column 12 and row 7 on are no part of an image of 16 x 12");
    int32_t width = 0, height = 0;
    ANX_CHECK_OK(anx_image_size(file.data, file.n, &width, &height, &err), &err);
    CU_ASSERT(width == 16 && height == 12);
    /* The size stands before the pixels, which may be missing; where it is missing itself there is none. */
    ANX_CHECK_OK(anx_image_size(file.data, 60, &width, &height, &err), &err);
    ANX_CHECK_STATUS(ANX_ERR_FORMAT, anx_image_size(file.data, 20, &width, &height, &err), &err);
    bytes_fini(&file);
}

int main(int argc, char **argv) {
    static const anx_test tests[] = {
        {"the long side is truncated", the_long_side_is_truncated},
        {"half margins round to even", half_margins_round_to_even},
        {"small images get zeros around them", small_images_get_zeros_around_them},
        {"one side is padded and the other cropped", one_side_is_padded_and_the_other_cropped},
        {"all levels become the floats of each step", all_levels_become_the_floats_of_each_step},
        {"gray JPEGs are repeated into three channels", gray_jpegs_are_repeated_into_three_channels},
        {"RGB JPEGs are not converted", rgb_jpegs_are_not_converted},
        {"CMYK JPEGs are read inverted", cmyk_jpegs_are_read_inverted},
        {"gray YCCK keeps its black", gray_ycck_keeps_its_black},
        {"every kind of PNG becomes RGB", every_kind_of_png_becomes_rgb},
        {"bad profiles are refused", bad_profiles_are_refused},
        {"a crop is cut and turned round", a_crop_is_cut_and_turned_round},
        {"a very thin image goes the fast way alone", a_very_thin_image_goes_the_fast_way_alone},
        {"sizes beyond Pillow's integers are refused", sizes_beyond_pillows_integers_are_refused},
        {NULL, NULL},
    };
    return anx_test_main("preprocess", tests, argc, argv);
}
