/*
 * Every fault put into preprocessing must be found by the judge at the first stage that it spoils. The recording to
 * judge by is made here, by the project's own preprocessing (which other tests hold against Pillow's).
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "parity/judge.h"
#include "tests/faults/narrow.h"
#include "tests/faults/preprocess_faults.h"
#include "tests/support/anx_test.h"
#include "tests/support/random.h"

enum { MAX_CAUSES = 3 };

static const struct fault_row {
    const char *name;
    preprocess_fault_kind kind;
    const char *point; /* the first bad one */
    bool fast_alone;
    const char *causes[MAX_CAUSES]; /* ids, one of which must be named; none: no demand */
} faults[] = {
    {.name = "red and blue exchanged", .kind = PREPROCESS_BGR, .point = "image", .causes = {"channel-order"}},
    {.name = "gray", .kind = PREPROCESS_GRAY, .point = "image", .causes = {"gray"}},
    {.name = "turned", .kind = PREPROCESS_TURNED, .point = "image"},
    {.name = "upside down", .kind = PREPROCESS_FLIPPED, .point = "image", .causes = {"orientation"}},
    {.name = "resized without antialiasing",
     .kind = PREPROCESS_NO_ANTIALIAS,
     .point = "resize",
     .causes = {"no-antialias"}},
    {.name = "resized to the nearest pixel", .kind = PREPROCESS_NEAREST, .point = "resize", .causes = {"no-antialias"}},
    {.name = "resized with sums cut off", .kind = PREPROCESS_FLOOR, .point = "resize", .causes = {"pixel-rounding"}},
    {.name = "resized without keeping the proportions", .kind = PREPROCESS_SQUASHED, .point = "resize"},
    {.name = "the longer side resized", .kind = PREPROCESS_LONG_SIDE, .point = "resize"},
    {.name = "crop one row down", .kind = PREPROCESS_CROP_DOWN, .point = "crop", .causes = {"shift"}},
    {.name = "crop one column right", .kind = PREPROCESS_CROP_RIGHT, .point = "crop", .causes = {"shift"}},
    {.name = "crop from the corner", .kind = PREPROCESS_CROP_CORNER, .point = "crop"},
    {.name = "not divided by 255", .kind = PREPROCESS_NOT_SCALED, .point = "scaled", .causes = {"normalisation"}},
    {.name = "divided by 256", .kind = PREPROCESS_BY_256, .point = "scaled", .causes = {"normalisation"}},
    {.name = "interleaved", .kind = PREPROCESS_HWC, .point = "scaled"},
    {.name = "mean and deviation in the order BGR",
     .kind = PREPROCESS_STATISTICS_BGR,
     .point = "input",
     .causes = {"normalisation"}},
    {.name = "mean not subtracted", .kind = PREPROCESS_NO_MEAN, .point = "input", .causes = {"normalisation"}},
    {.name = "not divided by the deviation",
     .kind = PREPROCESS_NO_DEVIATION,
     .point = "input",
     .causes = {"normalisation"}},
    {.name = "normalised to -1 .. 1", .kind = PREPROCESS_HALF, .point = "input", .causes = {"normalisation"}},
    {.name = "planes in the order BGR", .kind = PREPROCESS_PLANES_BGR, .point = "input", .causes = {"channel-order"}},
    {.name = "the fast path without antialiasing",
     .kind = PREPROCESS_NO_ANTIALIAS,
     .point = "input (fast path)",
     .fast_alone = true,
     .causes = {"no-antialias"}},
    {.name = "the fast path's crop one row down",
     .kind = PREPROCESS_CROP_DOWN,
     .point = "input (fast path)",
     .fast_alone = true,
     .causes = {"shift"}},
    {.name = "the fast path's planes in the order BGR",
     .kind = PREPROCESS_PLANES_BGR,
     .point = "input (fast path)",
     .fast_alone = true,
     .causes = {"channel-order"}},
};

/* ---- the recording --------------------------------------------------------------------------------------- */

/* Waves, edges and noise in three different planes: nothing in it is the same by symmetry. */
static anx_image draw(int64_t width, int64_t height) {
    anx_image image = {width, height, malloc((size_t)(width * height * 3))};
    if (image.pixels == NULL) abort();
    test_random r = {.state = (uint64_t)width};
    for (int64_t y = 0; y < height; y++)
        for (int64_t x = 0; x < width; x++)
            for (int c = 0; c < 3; c++) {
                double v = 128.0 + 60.0 * sin(0.03 * (double)(x * (c + 1)) + 0.05 * (double)y) + 12.0 * c;
                if ((x * 3 + y * 2) % 97 < 40) v -= 50.0;
                v += 8.0 * (double)test_random_normal(&r);
                image.pixels[(y * width + x) * 3 + c] = (uint8_t)fmin(255.0, fmax(0.0, v));
            }
    return image;
}

typedef struct recording {
    anx_fixture fixture;
    anx_fixture_sample sample;
    anx_preprocess_stages stages;
    anx_digest bands[ANX_FIXTURE_STAGE_COUNT];
    uint8_t *png;
} recording;

static void record_stage(recording *r, anx_fixture_stage_id id, const anx_tensor *t, bool in_full) {
    anx_error err = ANX_ERROR_INIT;
    ANX_CHECK_OK(anx_tensor_digest(t, &r->bands[id], &err), &err);
    const int64_t rows = t->dtype == ANX_U8 ? t->shape[0] : t->shape[1];
    r->sample.stages[id] = (anx_fixture_stage){.dtype = t->dtype,
                                               .shape = {t->shape[0], t->shape[1], t->shape[2]},
                                               .height = rows,
                                               .band_rows = rows,
                                               .n_bands = 1,
                                               .bands = &r->bands[id]};
    if (in_full) r->sample.stages[id].full = anx_tensor_view(t->dtype, t->rank, t->shape, t->data);
}

static void record_image(recording *r, anx_fixture_stage_id id, const anx_image *image, bool in_full) {
    const int64_t shape[3] = {image->height, image->width, 3};
    const anx_tensor t = anx_tensor_view(ANX_U8, 3, shape, image->pixels);
    record_stage(r, id, &t, in_full);
}

static void recording_init(recording *r, int64_t width, int64_t height) {
    memset(r, 0, sizeof *r);
    anx_image image = draw(width, height);
    size_t n = 0;
    r->png = preprocess_png(&image, &n);
    anx_image_fini(&image);
    anx_error err = ANX_ERROR_INIT;
    ANX_CHECK_OK(anx_preprocess_staged(&anx_preprocess_torchvision, r->png, n, "drawn.png", &r->stages, &err), &err);
    r->sample.name = "drawn.png";
    r->sample.shows = "drawn";
    r->sample.image = (anx_fixture_image){"drawn.png", r->png, n};
    record_image(r, ANX_FIXTURE_STAGE_IMAGE, &r->stages.image, true);
    record_image(r, ANX_FIXTURE_STAGE_RESIZE, &r->stages.resize, true);
    record_image(r, ANX_FIXTURE_STAGE_CROP, &r->stages.crop, true);
    record_stage(r, ANX_FIXTURE_STAGE_SCALED, &r->stages.scaled, true);
    record_stage(r, ANX_FIXTURE_STAGE_INPUT, &r->stages.input, true);
    r->fixture = (anx_fixture){.path = "recorded here",
                               .name = "recorded here",
                               .kind = ANX_FIXTURE_PREPROCESS,
                               .profile = anx_preprocess_torchvision.name,
                               .samples = &r->sample,
                               .n_samples = 1};
}

static void recording_fini(recording *r) {
    anx_preprocess_stages_fini(&r->stages);
    free(r->png);
}

/* ---- judging --------------------------------------------------------------------------------------------- */

static anx_verdicts *judge(recording *r) {
    anx_fixture *items[] = {&r->fixture};
    const anx_fixture_set set = {.items = items, .count = 1};
    anx_model *model = narrow_model();
    const anx_judge_options options = {.model = model,
                                       .fixtures = &set,
                                       .device_name = "reference",
                                       .threads = 1,
                                       .points = "image,resize,crop,scaled,input",
                                       .preprocess = preprocess_faulty};
    anx_error err = ANX_ERROR_INIT;
    anx_verdicts *v = NULL;
    ANX_CHECK_OK(anx_judge(&options, &v, &err), &err);
    CU_ASSERT_PTR_NOT_NULL_FATAL(v);
    anx_model_destroy(model);
    return v;
}

static void complain(const struct fault_row *row, const char *what, const anx_judged *j) {
    char text[1024];
    snprintf(text, sizeof text, "%s: %s%s%s: %s", row->name, what, j != NULL ? " " : "", j != NULL ? j->point : "",
             j != NULL ? j->reason : "");
    CU_assertImplementation(CU_FALSE, __LINE__, text, __FILE__, "", CU_FALSE);
}

static bool names_a_cause(const anx_judged *j, const struct fault_row *row) {
    if (row->causes[0] == NULL) return true;
    for (int c = 0; c < j->n_causes; c++)
        for (int i = 0; i < MAX_CAUSES && row->causes[i] != NULL; i++)
            if (strcmp(j->causes[c].id, row->causes[i]) == 0) return true;
    return false;
}

/* Landscape and shrunk, portrait and enlarged: margins even and odd. */
static const int64_t sizes[][2] = {{500, 375}, {241, 303}};

static void test_faults(void) {
    for (size_t k = 0; k < sizeof sizes / sizeof sizes[0]; k++) {
        recording r;
        recording_init(&r, sizes[k][0], sizes[k][1]);
        for (size_t i = 0; i < sizeof faults / sizeof faults[0]; i++) {
            const struct fault_row *row = &faults[i];
            /* Enlarging has no antialiasing to leave out. */
            if (k == 1 && row->kind == PREPROCESS_NO_ANTIALIAS) continue;
            preprocess_fault_set(row->kind, row->fast_alone);
            anx_verdicts *v = judge(&r);
            const anx_judged *bad = v->first_bad >= 0 ? &v->judged[v->first_bad] : NULL;
            if (bad == NULL)
                complain(row, "not found", NULL);
            else if (strcmp(bad->point, row->point) != 0)
                complain(row, "found at", bad);
            else if (!names_a_cause(bad, row))
                complain(row, "no fitting cause is named at", bad);
            if (v->overall != ANX_VERDICT_FAIL) complain(row, "the run as a whole does not fail", bad);
            anx_verdicts_destroy(v);
        }
        recording_fini(&r);
    }
}

/* The same detour without a fault: what is found above is the faults' doing. */
static void test_no_fault(void) {
    for (size_t k = 0; k < sizeof sizes / sizeof sizes[0]; k++) {
        recording r;
        recording_init(&r, sizes[k][0], sizes[k][1]);
        preprocess_fault_set(PREPROCESS_RIGHT, false);
        anx_verdicts *v = judge(&r);
        CU_ASSERT_EQUAL(v->counts[ANX_VERDICT_FAIL], 0);
        CU_ASSERT_EQUAL(v->counts[ANX_VERDICT_PASS], ANX_FIXTURE_STAGE_COUNT + 1);
        CU_ASSERT_EQUAL(v->overall, ANX_VERDICT_PASS);
        anx_verdicts_destroy(v);
        recording_fini(&r);
    }
}

static const anx_test tests[] = {
    {"every_fault_is_found_at_the_first_stage_it_spoils", test_faults},
    {"the_detour_without_a_fault_is_accepted", test_no_fault},
    {NULL, NULL},
};

int main(int argc, char **argv) {
    return anx_test_main("preprocess_faults", tests, argc, argv);
}
