/* Weights and passes of the resizer against arithmetic that can be done by hand, and its kernels against each other. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "loaders/image/resize.h"
#include "tests/support/anx_test.h"
#include "tests/support/random.h"

static anx_error err;

enum { ONE = 1 << ANX_RESAMPLE_BITS };

/* ---- weights ---- */

static void check_position(const anx_resample_axis *axis, int32_t i, int32_t start, int32_t taps,
                           const double *weights) {
    CU_ASSERT_EQUAL(axis->start[i], start);
    CU_ASSERT_EQUAL(axis->taps[i], taps);
    for (int32_t t = 0; t < taps; t++)
        CU_ASSERT_EQUAL(axis->weight[i * axis->stride + t], (int32_t)(weights[t] * ONE + 0.5));
}

static void halving_takes_the_mean(void) {
    anx_resample_axis axis = ANX_RESAMPLE_AXIS_INIT;
    ANX_CHECK_OK(anx_resample_axis_init(&axis, 2, 1, 0, 1, &err), &err);
    check_position(&axis, 0, 0, 2, (const double[]){0.5, 0.5});
    anx_resample_axis_fini(&axis);
}

static void doubling_mixes_neighbours_three_to_one(void) {
    anx_resample_axis axis = ANX_RESAMPLE_AXIS_INIT;
    ANX_CHECK_OK(anx_resample_axis_init(&axis, 2, 4, 0, 4, &err), &err);
    check_position(&axis, 0, 0, 1, (const double[]){1});
    check_position(&axis, 1, 0, 2, (const double[]){0.75, 0.25});
    check_position(&axis, 2, 0, 2, (const double[]){0.25, 0.75});
    check_position(&axis, 3, 1, 1, (const double[]){1});
    anx_resample_axis_fini(&axis);
}

/* Centres at 0.75 and 2.25, the triangle 1.5 wide on each side: 5/6 and 1/2 within reach, divided by their sum. */
static void shrinking_widens_the_filter(void) {
    anx_resample_axis axis = ANX_RESAMPLE_AXIS_INIT;
    ANX_CHECK_OK(anx_resample_axis_init(&axis, 3, 2, 0, 2, &err), &err);
    check_position(&axis, 0, 0, 2, (const double[]){0.625, 0.375});
    check_position(&axis, 1, 1, 2, (const double[]){0.375, 0.625});
    anx_resample_axis_fini(&axis);
}

static void a_part_of_an_axis_has_the_weights_of_the_whole(void) {
    static const int32_t sizes[][2] = {{500, 341}, {375, 256}, {20, 256}, {4000, 256}, {257, 256}};
    for (size_t s = 0; s < sizeof sizes / sizeof sizes[0]; s++) {
        const int32_t in = sizes[s][0], out = sizes[s][1], first = out / 5, count = out / 2;
        anx_resample_axis whole = ANX_RESAMPLE_AXIS_INIT, part = ANX_RESAMPLE_AXIS_INIT;
        ANX_CHECK_OK(anx_resample_axis_init(&whole, in, out, 0, out, &err), &err);
        ANX_CHECK_OK(anx_resample_axis_init(&part, in, out, first, count, &err), &err);
        bool same = true;
        for (int32_t i = 0; i < count; i++) {
            const int32_t *a = whole.weight + (first + i) * whole.stride, *b = part.weight + i * part.stride;
            same = same && whole.start[first + i] == part.start[i] && whole.taps[first + i] == part.taps[i] &&
                   memcmp(a, b, (size_t)part.stride * sizeof *a) == 0;
        }
        CU_ASSERT(same);
        anx_resample_axis_fini(&whole);
        anx_resample_axis_fini(&part);
    }
}

static void weights_that_pillow_cannot_address_are_refused(void) {
    anx_resample_axis axis = ANX_RESAMPLE_AXIS_INIT;
    /* Three taps of eight bytes for each of the outputs: INT_MAX / 24 are the most. */
    ANX_CHECK_OK(anx_resample_axis_init(&axis, 1000, 89478485, 7, 1, &err), &err);
    anx_resample_axis_fini(&axis);
    ANX_CHECK_STATUS(ANX_ERR_LIMIT, anx_resample_axis_init(&axis, 1000, 89478486, 7, 1, &err), &err);
    ANX_CHECK_MESSAGE("resizing 1000 pixels to 89478486 needs more filter weights than Pillow can address", &err);
}

/* ---- images ---- */

typedef struct picture {
    int32_t width, height;
    uint8_t *pixels;
} picture;

static picture picture_of(int32_t width, int32_t height) {
    const picture p = {width, height, calloc((size_t)width * (size_t)height, 3)};
    if (p.pixels == NULL) exit(2);
    return p;
}

static picture noise(int32_t width, int32_t height, uint64_t seed) {
    const picture p = picture_of(width, height);
    test_random random = {seed};
    for (int64_t i = 0; i < 3 * (int64_t)width * height; i++) p.pixels[i] = (uint8_t)test_random_int(&random, 0, 255);
    return p;
}

static void keep(void *context, int32_t y, const uint8_t *rgb) {
    const picture *p = context;
    memcpy(p->pixels + (size_t)y * (size_t)p->width * 3, rgb, (size_t)p->width * 3);
}

static picture resized(const picture *in, int32_t width, int32_t height) {
    picture out = picture_of(width, height);
    const anx_resize_window all = {.x1 = width, .y1 = height};
    anx_resizer *resizer = NULL;
    ANX_CHECK_OK(anx_resizer_create(in->width, in->height, width, height, &all, &resizer, &err), &err);
    uint8_t *row = malloc((size_t)in->width * 3 + ANX_RESAMPLE_READ_AHEAD_BYTES);
    if (row == NULL) exit(2);
    memset(row, 0xa5, (size_t)in->width * 3 + ANX_RESAMPLE_READ_AHEAD_BYTES);
    anx_resizer_begin(resizer, keep, &out);
    for (int32_t y = 0; y < in->height; y++) {
        memcpy(row, in->pixels + (size_t)y * (size_t)in->width * 3, (size_t)in->width * 3);
        anx_resizer_push(resizer, row);
    }
    free(row);
    anx_resizer_destroy(resizer);
    return out;
}

static bool same(const picture *a, const picture *b) {
    return a->width == b->width && a->height == b->height &&
           memcmp(a->pixels, b->pixels, (size_t)a->width * (size_t)a->height * 3) == 0;
}

static void a_ramp_of_two_pixels_is_interpolated(void) {
    picture in = picture_of(2, 1);
    memcpy(in.pixels, (const uint8_t[]){0, 10, 255, 100, 30, 0}, 6);
    picture out = resized(&in, 4, 2);
    static const uint8_t row[] = {0, 10, 255, 25, 15, 191, 75, 25, 64, 100, 30, 0};
    CU_ASSERT(memcmp(out.pixels, row, sizeof row) == 0);
    CU_ASSERT(memcmp(out.pixels + sizeof row, row, sizeof row) == 0);
    free(in.pixels);
    free(out.pixels);
}

static void one_color_stays_that_color(void) {
    static const int32_t sizes[] = {1, 2, 3, 7, 16, 33, 100, 301};
    enum { SIZES = sizeof sizes / sizeof sizes[0] };
    for (int i = 0; i < SIZES * SIZES; i++) {
        const int32_t width = sizes[i / SIZES], height = sizes[i % SIZES];
        picture in = picture_of(width, height), expected = picture_of(height, width);
        for (int32_t p = 0; p < width * height; p++) {
            memcpy(in.pixels + 3 * p, "\xff\x01\x80", 3);
            memcpy(expected.pixels + 3 * p, "\xff\x01\x80", 3);
        }
        picture out = resized(&in, height, width);
        CU_ASSERT(same(&out, &expected));
        free(in.pixels);
        free(out.pixels);
        free(expected.pixels);
    }
}

static uint8_t clipped(int64_t sum) {
    const int64_t v = (sum + ONE / 2) >> ANX_RESAMPLE_BITS;
    return (uint8_t)(v < 0 ? 0 : v > 255 ? 255 : v);
}

/* The passes one by one, as plainly as can be. */
static picture horizontal(const picture *in, int32_t width) {
    picture out = picture_of(width, in->height);
    anx_resample_axis axis = ANX_RESAMPLE_AXIS_INIT;
    ANX_CHECK_OK(anx_resample_axis_init(&axis, in->width, width, 0, width, &err), &err);
    for (int32_t y = 0; y < in->height; y++)
        for (int32_t x = 0; x < width; x++)
            for (int32_t c = 0; c < 3; c++) {
                int64_t sum = 0;
                for (int32_t t = 0; t < axis.taps[x]; t++)
                    sum += (int64_t)axis.weight[x * axis.stride + t] *
                           in->pixels[(y * in->width + axis.start[x] + t) * 3 + c];
                out.pixels[(y * width + x) * 3 + c] = clipped(sum);
            }
    anx_resample_axis_fini(&axis);
    return out;
}

static picture transposed(const picture *in) {
    picture out = picture_of(in->height, in->width);
    for (int32_t y = 0; y < in->height; y++)
        for (int32_t x = 0; x < in->width; x++)
            memcpy(out.pixels + (x * in->height + y) * 3, in->pixels + (y * in->width + x) * 3, 3);
    return out;
}

static picture vertical(const picture *in, int32_t height) {
    picture turned = transposed(in), done = horizontal(&turned, height), out = transposed(&done);
    free(turned.pixels);
    free(done.pixels);
    return out;
}

/*
 * Pillow 13 goes vertical first where an image loses more than twice as many rows as columns. The sizes stand on both
 * sides of that line, and on the line.
 */
static void the_order_of_the_passes_is_pillows(void) {
    static const struct {
        int32_t width, height, out_width, out_height;
        bool vertical_first;
    } cases[] = {
        {40, 60, 30, 40, false}, {40, 60, 30, 41, false}, {40, 60, 30, 39, true},  {40, 60, 50, 59, true},
        {40, 60, 50, 61, false}, {60, 40, 50, 19, true},  {60, 40, 50, 20, false}, {30, 90, 20, 60, true},
        {30, 60, 20, 40, false}, {30, 61, 20, 40, true},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        picture in = noise(cases[i].width, cases[i].height, i);
        picture h = horizontal(&in, cases[i].out_width), hv = vertical(&h, cases[i].out_height);
        picture v = vertical(&in, cases[i].out_height), vh = horizontal(&v, cases[i].out_width);
        picture out = resized(&in, cases[i].out_width, cases[i].out_height);
        CU_ASSERT_FALSE(same(&hv, &vh)); /* or the case shows nothing */
        CU_ASSERT(same(&out, cases[i].vertical_first ? &vh : &hv));
        picture *const all[] = {&in, &h, &hv, &v, &vh, &out};
        for (size_t p = 0; p < sizeof all / sizeof all[0]; p++) free(all[p]->pixels);
    }
}

static void an_axis_that_keeps_its_size_is_left_alone(void) {
    picture in = noise(37, 29, 5);
    picture wider = resized(&in, 50, 29), wider_alone = horizontal(&in, 50);
    picture higher = resized(&in, 37, 50), higher_alone = vertical(&in, 50);
    picture equal = resized(&in, 37, 29);
    CU_ASSERT(same(&wider, &wider_alone));
    CU_ASSERT(same(&higher, &higher_alone));
    CU_ASSERT(same(&equal, &in));
    picture *const all[] = {&in, &wider, &wider_alone, &higher, &higher_alone, &equal};
    for (size_t p = 0; p < sizeof all / sizeof all[0]; p++) free(all[p]->pixels);
}

/* ---- kernels ---- */

/* The bytes behind what a kernel writes must stay as they are. */
static void check_kernels(const anx_resample_kernels *kernels, int32_t in, int32_t out, int32_t first, int32_t count) {
    enum { GUARD = 32 };
    const anx_resample_kernels *portable = anx_resample_kernels_named("portable");
    anx_resample_axis axis = ANX_RESAMPLE_AXIS_INIT;
    ANX_CHECK_OK(anx_resample_axis_init(&axis, in, out, first, count, &err), &err);
    int32_t begin, end;
    anx_resample_axis_source(&axis, &begin, &end);
    picture row = noise(end - begin + ANX_RESAMPLE_READ_AHEAD_BYTES / 3 + 1, 1, (uint64_t)in);
    const size_t n = (size_t)count * 3;
    uint8_t *expected = malloc(n + GUARD), *got = malloc(n + GUARD);
    if (expected == NULL || got == NULL) exit(2);
    memset(expected, 0x5a, n + GUARD);
    memset(got, 0x5a, n + GUARD);
    portable->row(&axis, row.pixels, begin, expected);
    kernels->row(&axis, row.pixels, begin, got);
    CU_ASSERT(memcmp(expected, got, n + GUARD) == 0);

    /* The same axis downwards, the rows being stretches of one noisy buffer. */
    picture rows = noise((int32_t)n / 3 + 8, axis.most_taps, (uint64_t)out);
    const uint8_t **pointers = malloc((size_t)axis.most_taps * sizeof *pointers);
    if (pointers == NULL) exit(2);
    for (int32_t t = 0; t < axis.most_taps; t++) pointers[t] = rows.pixels + (size_t)t * (size_t)rows.width * 3;
    for (int32_t i = 0; i < count; i += 1 + count / 4) {
        portable->column(axis.weight + i * axis.stride, axis.taps[i], pointers, n, expected);
        kernels->column(axis.weight + i * axis.stride, axis.taps[i], pointers, n, got);
        CU_ASSERT(memcmp(expected, got, n + GUARD) == 0);
    }
    free(pointers);
    free(rows.pixels);
    free(expected);
    free(got);
    free(row.pixels);
    anx_resample_axis_fini(&axis);
}

/* Shrunk and grown; every other axis has few taps, which kernels treat apart. */
static void all_kernels_give_the_same_bytes(void) {
    const anx_resample_kernels *avx2 = anx_resample_kernels_named("avx2");
    CU_ASSERT_PTR_NULL(anx_resample_kernels_named("no such thing"));
    if (avx2 == NULL) {
        fprintf(stderr, "this CPU has no AVX2: there is nothing to compare\n");
        return;
    }
    test_random random = {42};
    for (int i = 0; i < 800; i++) {
        const int32_t out = (int32_t)test_random_int(&random, 1, 300);
        const int32_t most = i % 2 == 1 ? 3 * out : i % 8 == 0 ? 5000 : 300;
        const int32_t in = (int32_t)test_random_int(&random, 1, most);
        const int32_t first = (int32_t)test_random_int(&random, 0, out - 1);
        check_kernels(avx2, in, out, first, (int32_t)test_random_int(&random, 1, out - first));
    }
}

int main(int argc, char **argv) {
    static const anx_test tests[] = {
        {"halving takes the mean", halving_takes_the_mean},
        {"doubling mixes neighbours three to one", doubling_mixes_neighbours_three_to_one},
        {"shrinking widens the filter", shrinking_widens_the_filter},
        {"a part of an axis has the weights of the whole", a_part_of_an_axis_has_the_weights_of_the_whole},
        {"weights that Pillow cannot address are refused", weights_that_pillow_cannot_address_are_refused},
        {"a ramp of two pixels is interpolated", a_ramp_of_two_pixels_is_interpolated},
        {"one color stays that color", one_color_stays_that_color},
        {"the order of the passes is Pillow's", the_order_of_the_passes_is_pillows},
        {"an axis that keeps its size is left alone", an_axis_that_keeps_its_size_is_left_alone},
        {"all kernels give the same bytes", all_kernels_give_the_same_bytes},
        {NULL, NULL},
    };
    return anx_test_main("resample", tests, argc, argv);
}
