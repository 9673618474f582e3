/* A training's input beside what training_input_torch.py judges: threads, bad images, epochs taken up in the middle. */
#include <stdlib.h>
#include <string.h>

#include "loaders/dataset/training_input.h"
#include "src/base/interrupt.h"
#include "tests/dataset/fake_source.h"
#include "tests/support/anx_test.h"

static const anx_preprocess_profile profile = {
    .name = "small", .resize = 12, .crop = 9, .mean = {0.5f, 0.4f, 0.3f}, .std = {0.2f, 0.3f, 0.4f}};

enum { IMAGE = 3 * 9 * 9, BATCH = 7 };

static anx_error err;
static fake_source files;
static anx_image_source source;
static int64_t targets[FAKE_FILES];

static anx_training_input *make(bool independent, int threads, bool skip_bad) {
    const anx_training_input_options options = {.source = &source,
                                                .targets = targets,
                                                .n_images = FAKE_FILES,
                                                .batch = BATCH,
                                                .profile = &profile,
                                                .augment = anx_augment_kind_find("torchvision-basic"),
                                                .independent = independent,
                                                .seed = 11,
                                                .threads = threads,
                                                .skip_bad = skip_bad};
    anx_training_input *input = NULL;
    ANX_CHECK_OK(anx_training_input_create(&options, &input, &err), &err);
    return input;
}

/* What an epoch gave, from one of its batches on. */
typedef struct epoch {
    int64_t n, n_bad, batches, files[FAKE_FILES];
    float pixels[FAKE_FILES * IMAGE];
    anx_mt19937 after[FAKE_FILES]; /* the generator behind each batch */
} epoch;

static void take_all(anx_training_input *input, anx_mt19937 *gen, epoch *e) {
    *e = (epoch){.n = 0};
    for (anx_training_batch b;;) {
        const anx_status status = anx_training_input_next(input, gen, &b, &err);
        ANX_CHECK_OK(status, &err);
        if (status != ANX_OK || b.over) return;
        for (int64_t i = 0; i < b.n; i++) CU_ASSERT_EQUAL(b.targets[i], targets[b.files[i]]);
        for (int64_t i = 0; i < b.n_bad; i++) CU_ASSERT(b.bad[i]->status != ANX_OK && b.bad[i]->file[0] != '\0');
        memcpy(e->files + e->n, b.files, (size_t)b.n * sizeof *b.files);
        memcpy(e->pixels + e->n * IMAGE, b.input, (size_t)b.n * IMAGE * sizeof(float));
        e->n += b.n;
        e->n_bad += b.n_bad;
        anx_mt19937_u64(gen); /* as dropout would */
        e->after[e->batches++] = *gen;
    }
}

static bool is_same(const epoch *a, const epoch *b) {
    return a->n == b->n && a->n_bad == b->n_bad && memcmp(a->files, b->files, (size_t)a->n * sizeof *a->files) == 0 &&
           memcmp(a->pixels, b->pixels, (size_t)a->n * IMAGE * sizeof(float)) == 0;
}

static void check_each_once(const epoch *e) {
    int seen[FAKE_FILES] = {0};
    for (int64_t i = 0; i < e->n; i++) seen[e->files[i]]++;
    for (int i = 0; i < FAKE_FILES; i++) CU_ASSERT_EQUAL(seen[i], files.files[i].outcome == ANX_OK);
}

static epoch first, second, other;

static void check_threads(bool independent) {
    fake_source_reset(&files);
    for (int threads = 1; threads <= 4; threads += 3) {
        anx_mt19937 gen;
        anx_mt19937_seed(&gen, 5);
        anx_training_input *input = make(independent, threads, true);
        for (int64_t at = 0; at < 2; at++) {
            ANX_CHECK_OK(anx_training_input_begin(input, &gen, at, NULL, &err), &err);
            take_all(input, &gen, &other);
            epoch *kept = at == 0 ? &first : &second;
            if (threads == 1) *kept = other;
            CU_ASSERT(is_same(kept, &other));
            check_each_once(&other);
            CU_ASSERT_EQUAL(other.n + other.n_bad, FAKE_FILES);
        }
        anx_training_input_destroy(input);
    }
    CU_ASSERT(memcmp(first.files, second.files, sizeof first.files) != 0);
}

static void threads_change_nothing(void) {
    check_threads(false);
    check_threads(true);
}

static void an_epoch_goes_on_in_its_middle(void) {
    fake_source_reset(&files);
    for (int independent = 0; independent < 2; independent++) {
        int64_t seed = -1;
        anx_mt19937 gen;
        anx_mt19937_seed(&gen, 6);
        anx_training_input *input = make(independent, 2, true);
        ANX_CHECK_OK(anx_training_input_begin(input, &gen, 3, &seed, &err), &err);
        take_all(input, &gen, &first);
        for (int64_t done = 1; done <= first.batches; done++) {
            anx_mt19937 again = first.after[done - 1];
            anx_training_input *resumed = make(independent, 2, true);
            ANX_CHECK_OK(anx_training_input_resume(resumed, 3, seed, done, &err), &err);
            take_all(resumed, &again, &other);
            CU_ASSERT_EQUAL(other.batches, first.batches - done);
            CU_ASSERT(memcmp(other.files, first.files + first.n - other.n, (size_t)other.n * sizeof *other.files) == 0);
            CU_ASSERT(memcmp(other.pixels, first.pixels + (first.n - other.n) * IMAGE,
                             (size_t)other.n * IMAGE * sizeof(float)) == 0);
            anx_training_input_destroy(resumed);
        }
        ANX_CHECK_STATUS(ANX_ERR_INVALID_ARGUMENT, anx_training_input_resume(input, 3, seed, first.batches + 1, &err),
                         &err);
        anx_training_input_destroy(input);
    }
}

static void independent_draws_leave_the_generator_alone(void) {
    fake_source_reset(&files);
    anx_mt19937 gen, before;
    anx_mt19937_seed(&gen, 9);
    before = gen;
    anx_training_input *input = make(true, 2, true);
    anx_training_batch b;
    ANX_CHECK_OK(anx_training_input_begin(input, &gen, 0, NULL, &err), &err);
    ANX_CHECK_OK(anx_training_input_next(input, &gen, &b, &err), &err);
    CU_ASSERT(memcmp(&gen, &before, sizeof gen) == 0);
    anx_training_input_destroy(input);
}

static void a_bad_image_is_an_error_that_names_it(void) {
    fake_source_reset(&files);
    anx_mt19937 gen;
    anx_mt19937_seed(&gen, 5);
    anx_training_input *input = make(false, 2, false);
    anx_training_batch b;
    ANX_CHECK_OK(anx_training_input_begin(input, &gen, 0, NULL, &err), &err);
    anx_status status = ANX_OK;
    while (status == ANX_OK) {
        status = anx_training_input_next(input, &gen, &b, &err);
        if (status == ANX_OK) CU_ASSERT_FATAL(!b.over && b.n_bad == 0);
    }
    CU_ASSERT(status == ANX_ERR_NOT_FOUND || status == ANX_ERR_FORMAT);
    CU_ASSERT_PTR_NOT_NULL(strstr(err.file, "images/"));
    anx_training_input_destroy(input);
}

static void nothing_goes_without_an_epoch(void) {
    anx_mt19937 gen;
    anx_mt19937_seed(&gen, 5);
    anx_training_input *input = make(false, 1, true);
    anx_training_batch b;
    ANX_CHECK_STATUS(ANX_ERR_INVALID_ARGUMENT, anx_training_input_next(input, &gen, &b, &err), &err);
    anx_training_input_destroy(input);
    anx_training_input_options none = {.source = &source, .targets = targets, .batch = 1, .profile = &profile};
    none.augment = anx_augment_kind_at(0);
    ANX_CHECK_STATUS(ANX_ERR_INVALID_ARGUMENT, anx_training_input_create(&none, &input, &err), &err);
    CU_ASSERT_PTR_NULL(anx_augment_kind_find("flip"));
    CU_ASSERT_STRING_EQUAL(anx_augment_kind_at(2)->name, "none");
    CU_ASSERT_PTR_NULL(anx_augment_kind_at(3));
}

/* ---- reads that fail or are interrupted ---- */

static int64_t flaky; /* fails when it is read first, and never again */

static anx_status fail_at_first(int64_t file, anx_error *e) {
    if (file != flaky || files.reads[file] > 1) return ANX_OK;
    return anx_error_set(e, ANX_ERR_IO, "cannot read it now");
}

/* What was not drawn for must not pass for an image that nothing is done to. */
static void an_image_that_was_not_drawn_for_is_bad(void) {
    int64_t order[FAKE_FILES];
    anx_mt19937 gen;
    anx_training_batch b;
    fake_source_reset(&files);
    anx_mt19937_seed(&gen, 5);
    anx_loader_begin(&gen, true, FAKE_FILES, order);
    for (int i = 0; i < BATCH; i++)
        if (files.files[order[i]].outcome == ANX_OK) flaky = order[i];
    files.fail = fail_at_first;
    anx_training_input *input = make(false, 2, true);
    anx_mt19937_seed(&gen, 5);
    ANX_CHECK_OK(anx_training_input_begin(input, &gen, 0, NULL, &err), &err);
    ANX_CHECK_OK(anx_training_input_next(input, &gen, &b, &err), &err);
    bool named = false;
    for (int64_t i = 0; i < b.n; i++) CU_ASSERT_NOT_EQUAL(b.files[i], flaky);
    for (int64_t i = 0; i < b.n_bad; i++) named = named || strcmp(b.bad[i]->file, files.files[flaky].name) == 0;
    CU_ASSERT(named);
    anx_training_input_destroy(input);
    fake_source_reset(&files);
}

static int64_t interrupt_after; /* reads */

static void interrupt_then(fake_source *s, int64_t file) {
    (void)file;
    if (fake_source_reads(s) == interrupt_after) anx_interrupt_request();
}

/* At once, and with the generator as it was before the batch: from there the epoch can be gone on with. */
static void an_interrupted_batch_can_be_taken_again(void) {
    for (int independent = 0; independent < 2; independent++) {
        anx_mt19937 gen, before;
        int64_t seed;
        anx_training_batch b;
        fake_source_reset(&files);
        anx_mt19937_seed(&gen, 8);
        anx_training_input *input = make(independent, 1, true);
        ANX_CHECK_OK(anx_training_input_begin(input, &gen, 2, &seed, &err), &err);
        take_all(input, &gen, &first);
        anx_mt19937_seed(&gen, 8);
        ANX_CHECK_OK(anx_training_input_begin(input, &gen, 2, &seed, &err), &err);
        ANX_CHECK_OK(anx_training_input_next(input, &gen, &b, &err), &err);
        const int64_t n_first = b.n;
        anx_mt19937_u64(&gen);
        before = gen;
        interrupt_after = fake_source_reads(&files) + 3;
        files.on_read = interrupt_then;
        ANX_CHECK_STATUS(ANX_ERR_INTERRUPTED, anx_training_input_next(input, &gen, &b, &err), &err);
        CU_ASSERT(memcmp(&gen, &before, sizeof gen) == 0);
        CU_ASSERT_EQUAL(fake_source_reads(&files), interrupt_after);
        files.on_read = NULL;
        anx_interrupt_clear();
        ANX_CHECK_OK(anx_training_input_resume(input, 2, seed, 1, &err), &err);
        take_all(input, &gen, &other);
        CU_ASSERT_EQUAL(other.n, first.n - n_first);
        CU_ASSERT(memcmp(other.pixels, first.pixels + n_first * IMAGE, (size_t)other.n * IMAGE * sizeof(float)) == 0);
        anx_training_input_destroy(input);
    }
}

/* Without draws the generator's turn needs no file. */
static void what_draws_nothing_reads_each_file_once(void) {
    anx_mt19937 gen;
    fake_source_reset(&files);
    anx_training_input_options options = {.source = &source,
                                          .targets = targets,
                                          .n_images = FAKE_FILES,
                                          .batch = BATCH,
                                          .profile = &profile,
                                          .augment = anx_augment_kind_find("none"),
                                          .threads = 2,
                                          .skip_bad = true};
    anx_training_input *input = NULL;
    ANX_CHECK_OK(anx_training_input_create(&options, &input, &err), &err);
    anx_mt19937_seed(&gen, 5);
    ANX_CHECK_OK(anx_training_input_begin(input, &gen, 0, NULL, &err), &err);
    take_all(input, &gen, &first);
    CU_ASSERT_EQUAL(fake_source_reads(&files), FAKE_FILES);
    for (int64_t i = 0; i < first.n; i++)
        CU_ASSERT(memcmp(first.pixels + i * IMAGE, files.files[first.files[i]].expected, IMAGE * sizeof(float)) == 0);
    anx_training_input_destroy(input);
}

int main(int argc, char **argv) {
    static const anx_test tests[] = {
        {"threads change nothing", threads_change_nothing},
        {"an epoch goes on in its middle", an_epoch_goes_on_in_its_middle},
        {"independent draws leave the generator alone", independent_draws_leave_the_generator_alone},
        {"a bad image is an error that names it", a_bad_image_is_an_error_that_names_it},
        {"nothing goes without an epoch", nothing_goes_without_an_epoch},
        {"an image that was not drawn for is bad", an_image_that_was_not_drawn_for_is_bad},
        {"an interrupted batch can be taken again", an_interrupted_batch_can_be_taken_again},
        {"what draws nothing reads each file once", what_draws_nothing_reads_each_file_once},
        {NULL, NULL},
    };
    fake_source_init(&files, &profile);
    source = fake_source_view(&files);
    for (int i = 0; i < FAKE_FILES; i++) targets[i] = i * 7 % 5;
    const int code = anx_test_main("training_input", tests, argc, argv);
    fake_source_fini(&files);
    return code;
}
