/*
 * A part of a JPEG has the same pixels as that part of the whole, wherever it lies: at borders of blocks and of what
 * upsampling reaches across, for every sampling and process.
 */
#include <stdlib.h>
#include <string.h>

#include "loaders/image/decode.h"
#include "tests/image/jpeg_encode.h"
#include "tests/support/anx_test.h"

typedef struct taken {
    anx_image_region region;
    int32_t width, height, next_y;
    int begun;
    uint8_t *pixels; /* of the region */
} taken;

static anx_status take_begin(void *context, int32_t width, int32_t height, anx_image_region *needed, anx_error *err) {
    (void)err;
    taken *t = context;
    if (t->region.x1 == 0) t->region = (anx_image_region){.x1 = width, .y1 = height};
    const anx_image_region *r = &t->region;
    t->width = width;
    t->height = height;
    t->begun++;
    t->next_y = r->y0;
    *needed = *r;
    free(t->pixels);
    t->pixels = calloc((size_t)(r->x1 - r->x0) * 3, (size_t)(r->y1 - r->y0));
    return t->pixels == NULL ? ANX_ERR_OUT_OF_MEMORY : ANX_OK;
}

static void take_row(void *context, int32_t y, const uint8_t *rgb) {
    taken *t = context;
    const anx_image_region *r = &t->region;
    const size_t row_bytes = (size_t)(r->x1 - r->x0) * 3;
    if (y == t->next_y) t->next_y++;
    memcpy(t->pixels + (size_t)(y - r->y0) * row_bytes, rgb, row_bytes);
}

static anx_status take(const uint8_t *bytes, size_t n_bytes, taken *t, anx_error *err) {
    const anx_image_sink sink = {.begin = take_begin, .row = take_row, .context = t};
    return anx_image_decode(bytes, n_bytes, &sink, err);
}

static bool same_as_part(const taken *part, const taken *whole) {
    const anx_image_region *r = &part->region;
    const size_t row_bytes = (size_t)(r->x1 - r->x0) * 3;
    if (part->next_y != r->y1) return false;
    for (int32_t y = r->y0; y < r->y1; y++) {
        const uint8_t *expected = whole->pixels + ((size_t)y * (size_t)whole->width + (size_t)r->x0) * 3;
        if (memcmp(part->pixels + (size_t)(y - r->y0) * row_bytes, expected, row_bytes) != 0) return false;
    }
    return true;
}

static uint8_t *noise(size_t n) {
    uint8_t *samples = malloc(n);
    uint32_t state = 12345;
    for (size_t i = 0; samples != NULL && i < n; i++) {
        state = state * 1664525u + 1013904223u;
        samples[i] = (uint8_t)(state >> 24);
    }
    return samples;
}

/* Every region whose sides are among the given places; gives the number of those that needed the strict way. */
static int check_regions(const jpeg_kind *kind, unsigned width, unsigned height) {
    static const int32_t places[] = {0,  1,  2,  7,  8,  9,  15, 16, 17, 18, 31, 32,
                                     33, 34, 47, 48, 49, 50, 64, 65, 66, 80, 95, 96};
    enum { PLACES = sizeof places / sizeof places[0] };
    static anx_error err = ANX_ERROR_INIT;
    uint8_t *samples = noise((size_t)width * height * (size_t)jpeg_kind_channels(kind->space));
    size_t n_bytes = 0;
    uint8_t *file = jpeg_encode(kind, width, height, samples, &n_bytes);
    taken whole = {.pixels = NULL};
    int strict = 0;
    ANX_CHECK_OK(take(file, n_bytes, &whole, &err), &err);
    for (size_t a = 0; a < PLACES; a++)
        for (size_t b = a + 1; b <= PLACES; b += 1 + a % 2)
            for (size_t skew = 0; skew < PLACES; skew += 11) {
                /* The rows' places run through all pairs too, shifted against the columns'. */
                const size_t c = (a + skew) % PLACES, d = c + 1 + (b - a - 1 + skew) % (PLACES - c);
                anx_image_region r = {.x0 = places[a], .y0 = places[c]};
                r.x1 = b < PLACES ? places[b] : (int32_t)width;
                r.y1 = d < PLACES ? places[d] : (int32_t)height;
                if (r.x1 > (int32_t)width || r.y1 > (int32_t)height) continue;
                taken part = {.region = r};
                anx_status status = take(file, n_bytes, &part, &err);
                const bool good = status == ANX_OK && same_as_part(&part, &whole);
                if (!good)
                    fprintf(stderr, "%s %s %s r%u %ux%u: columns %d-%d rows %d-%d\n", kind->space, kind->sampling,
                            kind->flags, kind->restart, width, height, r.x0, r.x1, r.y0, r.y1);
                CU_ASSERT(good);
                strict += part.begun > 1;
                free(part.pixels);
            }
    free(whole.pixels);
    free(file);
    free(samples);
    return strict;
}

static void parts_equal_the_whole(void) {
    static const char *const samplings[] = {"1x1,1x1,1x1", "2x1,1x1,1x1", "2x2,1x1,1x1", "1x2,1x1,1x1", "4x1,1x1,1x1",
                                            "4x2,1x1,1x1", "1x4,1x1,1x1", "3x1,1x1,1x1", "2x2,1x2,2x1", "1x1,2x2,1x1"};
    static const char *const flags[] = {"-", "p", "a", "s"};
    int strict = 0;
    for (size_t i = 0; i < sizeof samplings / sizeof samplings[0]; i++)
        for (size_t f = 0; f < sizeof flags / sizeof flags[0]; f++) {
            if (f > 1 && i % 3 != 0) continue; /* these differ in entropy coding alone */
            const jpeg_kind kind = {"ycc", 85, samplings[i], flags[f], (i + f) % 3 == 0 ? 4 : 0};
            strict += check_regions(&kind, 101, 99);
        }
    CU_ASSERT_EQUAL(strict, 0); /* each was decoded in part, or this test shows nothing */
}

static void parts_equal_the_whole_in_other_color_spaces(void) {
    static const jpeg_kind kinds[] = {{"gray", 85, "1x1", "-", 0},
                                      {"gray", 85, "2x2", "p", 0},
                                      {"rgb", 85, "1x1,1x1,1x1", "-", 3},
                                      {"cmyk", 85, "1x1,1x1,1x1,1x1", "-", 0},
                                      {"ycck", 85, "2x2,1x1,1x1,2x2", "-", 0}};
    int strict = 0;
    for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++) strict += check_regions(&kinds[i], 98, 101);
    CU_ASSERT_EQUAL(strict, 0);
}

/* Damage that libjpeg warns about: the short way gives up, and the pixels are those of the whole all the same. */
static void a_damaged_file_is_decoded_strictly(void) {
    static anx_error err = ANX_ERROR_INIT;
    const jpeg_kind kind = {"ycc", 85, "2x2,1x1,1x1", "-", 0};
    uint8_t *samples = noise(200 * 150 * 3);
    size_t n_bytes = 0;
    uint8_t *file = jpeg_encode(&kind, 200, 150, samples, &n_bytes);
    file[n_bytes / 3] = 0xff;
    file[n_bytes / 3 + 1] = 0xd5; /* a restart marker where none belongs */
    taken whole = {.pixels = NULL}, part = {.region = {.x0 = 20, .x1 = 120, .y0 = 60, .y1 = 140}};
    ANX_CHECK_OK(take(file, n_bytes, &whole, &err), &err);
    ANX_CHECK_OK(take(file, n_bytes, &part, &err), &err);
    CU_ASSERT_EQUAL(part.begun, 2);
    CU_ASSERT(same_as_part(&part, &whole));
    free(whole.pixels);
    free(part.pixels);
    free(file);
    free(samples);
}

/* What lies beyond the wanted rows still decides whether the file is whole. */
static void a_truncated_file_is_refused_for_any_part(void) {
    static anx_error err = ANX_ERROR_INIT;
    const jpeg_kind kind = {"ycc", 85, "2x2,1x1,1x1", "-", 0};
    uint8_t *samples = noise(200 * 150 * 3);
    size_t n_bytes = 0;
    uint8_t *file = jpeg_encode(&kind, 200, 150, samples, &n_bytes);
    taken part = {.region = {.x0 = 20, .x1 = 120, .y0 = 8, .y1 = 40}};
    ANX_CHECK_STATUS(ANX_ERR_FORMAT, take(file, n_bytes * 9 / 10, &part, &err), &err);
    ANX_CHECK_MESSAGE("truncated", &err);
    free(part.pixels);
    free(file);
    free(samples);
}

static void what_follows_the_wanted_rows_may_still_raise(void) {
    static anx_error err = ANX_ERROR_INIT;
    const jpeg_kind kind = {"ycc", 85, "2x2,1x1,1x1", "-", 0};
    uint8_t *samples = noise(200 * 150 * 3);
    size_t n_bytes = 0;
    uint8_t *file = jpeg_encode(&kind, 200, 150, samples, &n_bytes);
    uint8_t *longer = malloc(n_bytes + 2);
    memcpy(longer, file, n_bytes - 2);
    memcpy(longer + n_bytes - 2, "\xff\x02\xff\xd9", 4); /* before the end, a marker that libjpeg does not know */
    taken part = {.region = {.x0 = 20, .x1 = 120, .y0 = 8, .y1 = 40}};
    ANX_CHECK_STATUS(ANX_ERR_FORMAT, take(longer, n_bytes + 2, &part, &err), &err);
    ANX_CHECK_MESSAGE("Unsupported marker type 0x02", &err);
    free(part.pixels);
    free(longer);
    free(file);
    free(samples);
}

int main(int argc, char **argv) {
    static const anx_test tests[] = {
        {"parts equal the whole", parts_equal_the_whole},
        {"parts equal the whole in other color spaces", parts_equal_the_whole_in_other_color_spaces},
        {"a damaged file is decoded strictly", a_damaged_file_is_decoded_strictly},
        {"a truncated file is refused for any part", a_truncated_file_is_refused_for_any_part},
        {"what follows the wanted rows may still raise", what_follows_the_wanted_rows_may_still_raise},
        {NULL, NULL},
    };
    return anx_test_main("jpeg_window", tests, argc, argv);
}
