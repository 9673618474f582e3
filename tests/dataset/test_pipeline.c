/*
 * Batches of images, whatever the threads, batch, window and timing: each image's values are those of
 * anx_preprocess_fast alone, in order; each file is read once; no more is held than was allowed.
 */
#include "loaders/dataset/pipeline.h"

#include <omp.h>
#include <stdlib.h>
#include <string.h>

#include "src/base/interrupt.h"
#include "tests/dataset/fake_source.h"
#include "tests/support/anx_test.h"

static anx_error err;
static fake_source source;
static int64_t files[FAKE_FILES]; /* all of them, shuffled */
static int position_of_file[FAKE_FILES];

/* The crop is larger than what is resized: borders of zeros, which must not be what was there before. */
static const anx_preprocess_profile small = {
    .name = "small", .resize = 15, .crop = 18, .mean = {0.5f, 0.25f, 0.125f}, .std = {0.5f, 2.0f, 1.5f}};

static void prepare(void) {
    fake_source_init(&source, &small);
    for (int i = 0; i < FAKE_FILES; i++) {
        files[i] = (i * 27 + 5) % FAKE_FILES;
        position_of_file[files[i]] = i;
    }
}

static anx_pipeline *create(const anx_pipeline_options *options) {
    anx_pipeline *p = NULL;
    anx_pipeline_options o = *options;
    if (o.profile == NULL) o.profile = &small;
    if (o.files == NULL) o.files = files;
    const anx_image_source view = fake_source_view(&source);
    ANX_CHECK_OK(anx_pipeline_create(&view, &o, &p, &err), &err);
    return p;
}

static bool all_zeros(const float *x, size_t n) {
    for (size_t i = 0; i < n; i++)
        if (x[i] != 0.0f) return false;
    return true;
}

/* Whether the batch holds what it must; counted without CUnit, which may not be called by two threads at once. */
static int wrong_in_batch(const anx_pipeline_options *o, const anx_pipeline_batch *batch, int64_t first) {
    const int64_t left = o->n_files - first, n = left < o->batch ? left : o->batch;
    const size_t elems = source.image_elems;
    int wrong = (batch->first != first) + (batch->n != n);
    for (int64_t i = 0; i < n && wrong == 0; i++) {
        const fake_file *f = &source.files[files[first + i]];
        wrong += memcmp(batch->input + (size_t)i * elems, f->expected, elems * sizeof(float)) != 0;
        const anx_error *bad = batch->bad[i];
        wrong += bad == NULL ? f->outcome != ANX_OK : bad->status != f->outcome || strcmp(bad->file, f->name) != 0;
    }
    return wrong + !all_zeros(batch->input + (size_t)n * elems, (size_t)(o->batch - n) * elems);
}

/* ---- values, order, bounds ---- */

/* How far reading and announcing went ahead of what was given out. */
static void check_bounds(const anx_pipeline_options *o, int64_t window, int64_t given_out) {
    const int64_t room = (given_out + window - o->kept) * o->batch;
    for (int i = 0; i < FAKE_FILES; i++) {
        const int64_t position = position_of_file[i];
        if (source.reads[i] > (position < o->n_files && position < room)) CU_FAIL("read too far ahead, or twice");
        if (source.announcements[i] > (position < o->n_files && position < room + 2 * window * o->batch))
            CU_FAIL("announced too far ahead, or twice");
    }
}

static void run_all(const anx_pipeline_options *o, int64_t window) {
    fake_source_reset(&source);
    source.delay_us = 150;
    anx_pipeline *p = create(o);
    anx_pipeline_batch batches[FAKE_FILES + 1];
    int64_t k = 0;
    for (int64_t first = 0; first < o->n_files && p != NULL; first += o->batch, k++) {
        ANX_CHECK_OK(anx_pipeline_next(p, &batches[k], &err), &err);
        for (int64_t i = k; i >= 0 && i >= k - o->kept; i--)
            CU_ASSERT_EQUAL(wrong_in_batch(o, &batches[i], i * o->batch), 0);
        check_bounds(o, window, k);
    }
    for (int again = 0; again < 2; again++) {
        ANX_CHECK_OK(anx_pipeline_next(p, &batches[k], &err), &err);
        CU_ASSERT_EQUAL(batches[k].n, 0);
        CU_ASSERT_EQUAL(batches[k].first, o->n_files);
    }
    for (int64_t i = 0; i < o->n_files; i++) CU_ASSERT_EQUAL(source.reads[files[i]], 1);
    CU_ASSERT_EQUAL(source.n_reads, o->n_files);
    CU_ASSERT(source.most_reading <= o->threads);
    anx_pipeline_destroy(p);
}

static void gives_every_image_once_in_order(void) {
    static const int64_t counts[] = {1, 13, FAKE_FILES};
    for (int threads = 1; threads <= 8; threads++)
        for (int64_t batch = 1; batch <= 7; batch++)
            for (int window = 2; window <= 4; window++)
                for (size_t c = 0; c < sizeof counts / sizeof counts[0]; c++) {
                    const int kept = (int)(threads + batch) % (window - 1);
                    run_all(
                        &(anx_pipeline_options){
                            .n_files = counts[c], .batch = batch, .threads = threads, .window = window, .kept = kept},
                        window);
                }
}

static void gives_nothing_of_no_files(void) {
    run_all(&(anx_pipeline_options){.n_files = 0, .batch = 4, .threads = 2, .window = 2}, 2);
    run_all(&(anx_pipeline_options){.n_files = 3, .batch = 50, .threads = 2, .window = 3, .kept = 1}, 3);
}

static void takes_as_many_threads_as_there_are(void) {
    const anx_pipeline_options o = {.n_files = 20, .batch = 8};
    fake_source_reset(&source);
    anx_pipeline *p = create(&o);
    anx_pipeline_batch batch;
    for (int64_t first = 0; first < o.n_files; first += o.batch) {
        ANX_CHECK_OK(anx_pipeline_next(p, &batch, &err), &err);
        CU_ASSERT_EQUAL(wrong_in_batch(&o, &batch, first), 0);
    }
    anx_pipeline_destroy(p);
}

static void needs_no_announcements(void) {
    const anx_pipeline_options o = {.profile = &small, .files = files, .n_files = 9, .batch = 4, .threads = 2};
    fake_source_reset(&source);
    anx_image_source view = fake_source_view(&source);
    view.prefetch = NULL;
    anx_pipeline *p = NULL;
    ANX_CHECK_OK(anx_pipeline_create(&view, &o, &p, &err), &err);
    anx_pipeline_batch batch;
    ANX_CHECK_OK(anx_pipeline_next(p, &batch, &err), &err);
    CU_ASSERT_EQUAL(wrong_in_batch(&o, &batch, 0), 0);
    anx_pipeline_destroy(p);
}

/* ---- who works at what ---- */

static int slow_room;

/* The first image is not there until all others of the window were begun: by other threads, then. */
static void wait_for_the_others(fake_source *s, int64_t file) {
    if (file == files[0]) fake_source_await_reads(s, slow_room);
}

static void check_slow_image(const anx_pipeline_options *o, int window) {
    fake_source_reset(&source);
    slow_room = window * (int)o->batch;
    source.on_read = wait_for_the_others;
    anx_pipeline *p = create(o);
    anx_pipeline_batch batch;
    for (int64_t first = 0; first < slow_room; first += o->batch) {
        ANX_CHECK_OK(anx_pipeline_next(p, &batch, &err), &err);
        CU_ASSERT_EQUAL(wrong_in_batch(o, &batch, first), 0);
        /* With the window full there was nothing more to begin. */
        if (first == 0) CU_ASSERT_EQUAL(fake_source_reads(&source), slow_room);
    }
    CU_ASSERT_FALSE(source.gave_up);
    anx_pipeline_destroy(p);
}

static void one_slow_image_holds_up_nobody(void) {
    for (int threads = 2; threads <= 6; threads += 2)
        check_slow_image(&(anx_pipeline_options){.n_files = FAKE_FILES, .batch = 4, .threads = threads, .window = 3},
                         3);
}

/* Small batches get a window in which every thread has an image behind the wanted batch. */
static void widens_its_window_for_many_threads(void) {
    check_slow_image(&(anx_pipeline_options){.n_files = FAKE_FILES, .batch = 1, .threads = 5}, 6);
    check_slow_image(&(anx_pipeline_options){.n_files = FAKE_FILES, .batch = 3, .threads = 7}, 4);
    check_slow_image(&(anx_pipeline_options){.n_files = FAKE_FILES, .batch = 8, .threads = 8}, 2);
    check_slow_image(&(anx_pipeline_options){.n_files = FAKE_FILES, .batch = 8, .threads = 2}, 2);
}

static void begins_nothing_once_the_batch_is_complete(void) {
    const anx_pipeline_options o = {.n_files = FAKE_FILES, .batch = 5, .threads = 1, .window = 4};
    fake_source_reset(&source);
    anx_pipeline *p = create(&o);
    CU_ASSERT_EQUAL(fake_source_reads(&source), 0);
    for (int given = 1; given <= 3; given++) {
        anx_pipeline_batch batch;
        ANX_CHECK_OK(anx_pipeline_next(p, &batch, &err), &err);
        CU_ASSERT_EQUAL(fake_source_reads(&source), 5 * given);
    }
    anx_pipeline_destroy(p);
}

static void leaves_the_callers_threads_alone(void) {
    const int threads = omp_get_max_threads(), levels = omp_get_max_active_levels();
    omp_set_num_threads(3);
    run_all(&(anx_pipeline_options){.n_files = 30, .batch = 4, .threads = 5, .window = 2}, 2);
    CU_ASSERT_EQUAL(omp_get_max_threads(), 3);
    CU_ASSERT_EQUAL(omp_get_max_active_levels(), levels);
    omp_set_num_threads(threads);
}

/* Each of a team has a pipeline of its own, and the pipelines' teams may be real ones or of one. */
static int wrong_in_team(void) {
    const anx_pipeline_options o = {
        .profile = &small, .files = files, .n_files = 30, .batch = 4, .threads = 3, .window = 2};
    int wrong = 0;
#pragma omp parallel num_threads(2) reduction(+ : wrong)
    {
        const anx_image_source view = fake_source_view(&source);
        anx_pipeline *p = NULL;
        wrong += anx_pipeline_create(&view, &o, &p, NULL) != ANX_OK;
        anx_pipeline_batch batch;
        for (int64_t first = 0; first < o.n_files && p != NULL; first += o.batch)
            wrong += anx_pipeline_next(p, &batch, NULL) != ANX_OK || wrong_in_batch(&o, &batch, first) != 0;
        anx_pipeline_destroy(p);
    }
    return wrong;
}

static void works_inside_another_team(void) {
    const int levels = omp_get_max_active_levels();
    for (int active = 1; active <= 2; active++) {
        fake_source_reset(&source);
        omp_set_max_active_levels(active);
        CU_ASSERT_EQUAL(wrong_in_team(), 0);
    }
    omp_set_max_active_levels(levels);
}

/* ---- what goes wrong ---- */

static void reports_files_that_disappear(void) {
    const anx_pipeline_options o = {.n_files = 12, .batch = 4, .threads = 1, .window = 2};
    fake_source_reset(&source);
    source.vanish = true;
    anx_pipeline *p = create(&o);
    anx_pipeline_batch batch;
    for (int64_t first = 0; first < o.n_files; first += o.batch) {
        ANX_CHECK_OK(anx_pipeline_next(p, &batch, &err), &err);
        for (int64_t i = 0; i < batch.n; i++) {
            const fake_file *f = &source.files[files[first + i]];
            const anx_error *bad = batch.bad[i];
            if (first + i == 0) { /* read at once, without having been announced */
                CU_ASSERT_EQUAL(bad != NULL, f->outcome != ANX_OK);
                continue;
            }
            CU_ASSERT_EQUAL(bad != NULL ? bad->status : ANX_OK, ANX_ERR_NOT_FOUND);
            if (bad != NULL) ANX_CHECK_MESSAGE(f->name, bad);
            CU_ASSERT(all_zeros(batch.input + (size_t)i * source.image_elems, source.image_elems));
        }
    }
    anx_pipeline_destroy(p);
}

static anx_status no_memory(int64_t file, anx_error *e) {
    if (file != files[6]) return ANX_OK;
    return anx_error_set(e, ANX_ERR_OUT_OF_MEMORY, "out of memory for a test");
}

static void stops_without_memory(void) {
    for (int threads = 1; threads <= 4; threads++) {
        const anx_pipeline_options o = {.n_files = FAKE_FILES, .batch = 4, .threads = threads, .window = 2};
        fake_source_reset(&source);
        source.fail = no_memory;
        anx_pipeline *p = create(&o);
        anx_pipeline_batch batch = {.first = -1};
        if (anx_pipeline_next(p, &batch, &err) == ANX_OK) { /* the seventh image may have been reached already */
            batch.first = -1;
            ANX_CHECK_STATUS(ANX_ERR_OUT_OF_MEMORY, anx_pipeline_next(p, &batch, &err), &err);
        }
        ANX_CHECK_MESSAGE("out of memory for a test", &err);
        ANX_CHECK_MESSAGE(source.files[files[6]].name, &err);
        CU_ASSERT_EQUAL(batch.first, -1);
        const int reads = fake_source_reads(&source);
        err = (anx_error)ANX_ERROR_INIT;
        ANX_CHECK_STATUS(ANX_ERR_OUT_OF_MEMORY, anx_pipeline_next(p, &batch, &err), &err);
        ANX_CHECK_MESSAGE("out of memory for a test", &err);
        CU_ASSERT_EQUAL(fake_source_reads(&source), reads);
        anx_pipeline_destroy(p);
    }
}

static void check_refused(anx_status expected, anx_pipeline_options o, const char *message) {
    anx_pipeline *p = NULL;
    const anx_image_source view = fake_source_view(&source);
    ANX_CHECK_STATUS(expected, anx_pipeline_create(&view, &o, &p, &err), &err);
    ANX_CHECK_MESSAGE(message, &err);
    CU_ASSERT_PTR_NULL(p);
    anx_pipeline_destroy(p);
}

static void refuses_what_makes_no_sense(void) {
    const anx_pipeline_options good = {
        .profile = &small, .files = files, .n_files = 10, .batch = 4, .threads = 2, .window = 2};
    anx_preprocess_profile flat = small;
    flat.crop = 0;
    anx_pipeline_options o;
#define REFUSED(status, member, value, message) (o = good, o.member = (value), check_refused(status, o, message))
    REFUSED(ANX_ERR_INVALID_ARGUMENT, profile, NULL, "profile");
    REFUSED(ANX_ERR_INVALID_ARGUMENT, profile, &flat, "crops to 0");
    REFUSED(ANX_ERR_INVALID_ARGUMENT, files, NULL, "10 files");
    REFUSED(ANX_ERR_INVALID_ARGUMENT, n_files, -1, "-1 files");
    REFUSED(ANX_ERR_INVALID_ARGUMENT, batch, 0, "batches of 0");
    REFUSED(ANX_ERR_INVALID_ARGUMENT, window, 1, "window of 1");
    REFUSED(ANX_ERR_INVALID_ARGUMENT, kept, 1, "1 of them kept");
    REFUSED(ANX_ERR_INVALID_ARGUMENT, kept, -1, "-1 of them kept");
    REFUSED(ANX_ERR_INVALID_ARGUMENT, threads, ANX_PIPELINE_MAX_THREADS + 1, "4097 threads");
    REFUSED(ANX_ERR_LIMIT, batch, INT64_MAX, "too large");
    REFUSED(ANX_ERR_LIMIT, batch, INT64_MAX / 1000, "too large");
    REFUSED(ANX_ERR_OUT_OF_MEMORY, batch, INT64_C(1) << 40, "out of memory");
#undef REFUSED
    const anx_image_source nothing = {.read = NULL};
    anx_pipeline *p = NULL;
    ANX_CHECK_STATUS(ANX_ERR_INVALID_ARGUMENT, anx_pipeline_create(&nothing, &good, &p, &err), &err);
    anx_pipeline_destroy(NULL);
}

/* ---- interruption ---- */

static int reads_when_interrupted;

static void interrupt_at_the_20th(fake_source *s, int64_t file) {
    if (file != files[19]) return;
    reads_when_interrupted = fake_source_reads(s);
    anx_interrupt_request();
}

static void stops_when_interrupted(void) { /* last: a request cannot be taken back */
    const anx_pipeline_options o = {.n_files = FAKE_FILES, .batch = 30, .threads = 4, .window = 2};
    fake_source_reset(&source);
    source.delay_us = 1000;
    source.on_read = interrupt_at_the_20th;
    anx_pipeline *p = create(&o);
    anx_pipeline_batch batch = {.first = -1};
    ANX_CHECK_STATUS(ANX_ERR_INTERRUPTED, anx_pipeline_next(p, &batch, &err), &err);
    /* What the other threads had taken by then, one each, may have been read after. */
    const int reads = fake_source_reads(&source);
    CU_ASSERT(reads_when_interrupted >= 1 && reads <= reads_when_interrupted + 3);
    ANX_CHECK_STATUS(ANX_ERR_INTERRUPTED, anx_pipeline_next(p, &batch, &err), &err);
    CU_ASSERT_EQUAL(fake_source_reads(&source), reads);
    CU_ASSERT_EQUAL(batch.first, -1);
    anx_pipeline_destroy(p);
    p = create(&o);
    ANX_CHECK_STATUS(ANX_ERR_INTERRUPTED, anx_pipeline_next(p, &batch, &err), &err);
    CU_ASSERT_EQUAL(fake_source_reads(&source), reads);
    anx_pipeline_destroy(p);
}

/* ---- what a training needs ---- */

/* Flips the images at odd places; those at places that 10 divides have no place in a training. */
static anx_status flip_odd(void *context, int64_t position, const uint8_t *bytes, size_t n_bytes, anx_augmentation *out,
                           anx_error *why) {
    (void)bytes;
    CU_ASSERT(n_bytes > 0);
    *out = (anx_augmentation){.flip = position % 2 == 1};
    (*(int *)context)++;
    return position % 10 == 0 ? anx_error_set(why, ANX_ERR_FORMAT, "not wanted") : ANX_OK;
}

/* Only what is allowed is begun, each image as is said of it, and an image refused there is a bad one by its name. */
static void begins_what_is_allowed(void) {
    enum { batch = 6 };
    int asked = 0;
    const anx_pipeline_options o = {
        .n_files = FAKE_FILES, .batch = batch, .threads = 1, .augment = flip_odd, .augment_context = &asked};
    fake_source_reset(&source);
    anx_pipeline *p = create(&o);
    anx_pipeline_batch b;
    anx_pipeline_allow(p, batch - 1);
    ANX_CHECK_STATUS(ANX_ERR_INVALID_ARGUMENT, anx_pipeline_next(p, &b, &err), &err);
    CU_ASSERT_STRING_EQUAL(err.message, "images up to 6 are wanted, up to 5 allowed");
    CU_ASSERT_EQUAL(fake_source_reads(&source), 0);
    anx_pipeline_allow(p, batch);
    const anx_status status = anx_pipeline_next(p, &b, &err);
    ANX_CHECK_OK(status, &err);
    CU_ASSERT_EQUAL(fake_source_reads(&source), batch);
    for (int i = 0; status == ANX_OK && i < batch; i++) {
        const fake_file *f = &source.files[files[i]];
        const float *x = b.input + (size_t)i * source.image_elems, *plain = f->expected;
        if (f->outcome == ANX_OK && i % 10 == 0) {
            CU_ASSERT_FATAL(b.bad[i] != NULL);
            CU_ASSERT(b.bad[i]->status == ANX_ERR_FORMAT && strcmp(b.bad[i]->file, f->name) == 0);
        }
        if (f->outcome != ANX_OK || i % 10 == 0) continue;
        for (size_t at = 0; at < source.image_elems; at++) {
            const size_t column = at % 18, row = at - column;
            CU_ASSERT_EQUAL(x[at], plain[row + (i % 2 == 1 ? 17 - column : column)]);
        }
    }
    CU_ASSERT(asked > 0 && asked <= batch);
    ANX_CHECK_STATUS(ANX_ERR_INVALID_ARGUMENT, anx_pipeline_next(p, &b, &err), &err);
    anx_pipeline_destroy(p);
}

int main(int argc, char **argv) {
    static const anx_test tests[] = {
        {"gives every image once, in order", gives_every_image_once_in_order},
        {"gives nothing of no files", gives_nothing_of_no_files},
        {"takes as many threads as there are", takes_as_many_threads_as_there_are},
        {"needs no announcements", needs_no_announcements},
        {"one slow image holds up nobody", one_slow_image_holds_up_nobody},
        {"widens its window for many threads", widens_its_window_for_many_threads},
        {"begins nothing once the batch is complete", begins_nothing_once_the_batch_is_complete},
        {"leaves the caller's threads alone", leaves_the_callers_threads_alone},
        {"works inside another team", works_inside_another_team},
        {"reports files that disappear", reports_files_that_disappear},
        {"stops without memory", stops_without_memory},
        {"refuses what makes no sense", refuses_what_makes_no_sense},
        {"begins what is allowed", begins_what_is_allowed},
        {"stops when interrupted", stops_when_interrupted},
        {NULL, NULL},
    };
    prepare();
    const int status = anx_test_main("pipeline", tests, argc, argv);
    fake_source_fini(&source);
    return status;
}
