/*
 * Evaluations: whatever the threads and wherever they were interrupted, the same predictions; and their state on disk.
 */
#include "parity/evaluation_file.h"

#include <stdlib.h>
#include <string.h>

#include "loaders/checkpoint/safetensors.h"
#include "loaders/file.h"
#include "src/base/interrupt.h"
#include "tests/dataset/fake_source.h"
#include "tests/parity/narrow_recording.h"
#include "tests/support/anx_test.h"
#include "tests/support/deferred_device.h"

static anx_error err;
static fake_source source;
static anx_image_source view;
static anx_model *model;
static anx_device *device;
static int64_t files[FAKE_FILES];

static const anx_preprocess_profile narrow_size = {
    .name = "narrow", .resize = 33, .crop = 33, .mean = {0.5f, 0.4f, 0.3f}, .std = {0.2f, 0.3f, 0.4f}};
static const anx_evaluation_fact facts[] = {{"weights", "weights (SHA-256)", "abc"}, {"batch", "--batch", "7"}};
enum { FACTS = 2 };

static int64_t label_of(void *context, int64_t file) {
    (void)context;
    return file % 11;
}

/* At the first use: CUnit's assertions belong into tests. */
static void prepare(void) {
    const anx_device_options one = {.threads = 1};
    if (model != NULL) return;
    fake_source_init(&source, &narrow_size);
    view = fake_source_view(&source);
    for (int i = 0; i < FAKE_FILES; i++) files[i] = (i * 27 + 5) % FAKE_FILES;
    model = narrow_model_make();
    ANX_CHECK_OK(anx_device_open("cpu", &one, &device, &err), &err);
}

static anx_evaluate_options options_of(int threads) {
    prepare();
    return (anx_evaluate_options){.model = model,
                                  .device = device,
                                  .profile = &narrow_size,
                                  .source = &view,
                                  .files = files,
                                  .n_files = FAKE_FILES,
                                  .label = label_of,
                                  .batch = 7,
                                  .threads = threads,
                                  .skip_bad = true};
}

static bool same_prediction(const anx_prediction *a, const anx_prediction *b) {
    return a->file == b->file && a->label == b->label && memcmp(a->top, b->top, sizeof a->top) == 0 &&
           memcmp(a->probability, b->probability, sizeof a->probability) == 0 && a->loss == b->loss &&
           a->right1 == b->right1 && a->right5 == b->right5 && a->tied1 == b->tied1 && a->tied5 == b->tied5 &&
           a->margin1 == b->margin1 && a->margin5 == b->margin5 && a->spread == b->spread &&
           a->ambiguous1 == b->ambiguous1 && a->ambiguous5 == b->ambiguous5 && a->non_finite == b->non_finite;
}

static bool same(const anx_evaluation *a, const anx_evaluation *b) {
    if (a->done != b->done || a->n_predictions != b->n_predictions || a->n_bad != b->n_bad) return false;
    for (int64_t i = 0; i < a->n_predictions; i++)
        if (!same_prediction(&a->predictions[i], &b->predictions[i])) return false;
    for (int64_t i = 0; i < a->n_bad; i++)
        if (a->bad[i].file != b->bad[i].file || strcmp(a->bad[i].reason, b->bad[i].reason) != 0) return false;
    return true;
}

static anx_evaluation evaluate_all(int threads) {
    anx_evaluation e = ANX_EVALUATION_INIT;
    const anx_evaluate_options o = options_of(threads);
    ANX_CHECK_OK(anx_evaluate(&o, &e, &err), &err);
    return e;
}

static void threads_do_not_show(void) {
    anx_evaluation one = evaluate_all(1);
    CU_ASSERT_EQUAL(one.done, FAKE_FILES);
    CU_ASSERT(one.n_bad > 0 && one.n_predictions + one.n_bad == FAKE_FILES);
    int64_t good = 0;
    for (int i = 0; i < FAKE_FILES; i++) good += source.files[i].outcome == ANX_OK;
    CU_ASSERT_EQUAL(one.n_predictions, good);
    for (int threads = 2; threads <= 5; threads++) {
        anx_evaluation more = evaluate_all(threads);
        CU_ASSERT(same(&one, &more));
        anx_evaluation_fini(&more);
    }
    anx_evaluation_fini(&one);
}

static void the_first_bad_file_ends_what_may_skip_none(void) {
    anx_evaluation e = ANX_EVALUATION_INIT;
    anx_evaluate_options o = options_of(3);
    o.skip_bad = false;
    int64_t first = 0;
    while (source.files[files[first]].outcome == ANX_OK) first++;
    ANX_CHECK_STATUS(source.files[files[first]].outcome, anx_evaluate(&o, &e, &err), &err);
    CU_ASSERT_STRING_EQUAL(err.file, source.files[files[first]].name);
    CU_ASSERT_EQUAL(e.done, first / 7 * 7); /* whole batches before it */
    CU_ASSERT_EQUAL(e.n_predictions, e.done);
    anx_evaluation_fini(&e);
}

/* ---- interruptions ---- */

static int batches_left;

static anx_status interrupt_later(void *context, const anx_evaluation *so_far, anx_error *error) {
    (void)context, (void)so_far, (void)error;
    if (--batches_left == 0) anx_interrupt_request();
    return ANX_OK;
}

/* Interrupted after every possible batch, saved, read again, gone on with: as if nothing had been. */
static void an_interruption_does_not_show(void) {
    char path[600];
    anx_evaluation whole = evaluate_all(2);
    const anx_evaluate_options rest = options_of(2);
    for (int batches = 1; batches <= 8; batches++) {
        snprintf(path, sizeof path, "%s", anx_test_path("state"));
        anx_evaluation part = ANX_EVALUATION_INIT, again = ANX_EVALUATION_INIT;
        anx_evaluate_options o = options_of(2);
        o.progress = interrupt_later;
        batches_left = batches;
        ANX_CHECK_STATUS(ANX_ERR_INTERRUPTED, anx_evaluate(&o, &part, &err), &err);
        anx_interrupt_clear();
        /* The batch that the device had is finished; what was being preprocessed is not. */
        CU_ASSERT_EQUAL(part.done % 7, 0);
        CU_ASSERT(part.done >= 7 * batches && part.done <= 7 * (batches + 1));
        ANX_CHECK_OK(anx_evaluation_save(path, &part, facts, FACTS, &err), &err);
        ANX_CHECK_OK(anx_evaluation_load(path, &rest, facts, FACTS, &again, &err), &err);
        CU_ASSERT(same(&part, &again));
        ANX_CHECK_OK(anx_evaluate(&rest, &again, &err), &err);
        CU_ASSERT(same(&whole, &again));
        anx_evaluation_fini(&again);
        anx_evaluation_fini(&part);
    }
    anx_evaluation_fini(&whole);
}

/* ---- the file ---- */

static void other_evaluations_are_refused_with_all_that_differs(void) {
    static const anx_evaluation_fact others[] = {{"weights", "weights (SHA-256)", "abd"}, {"batch", "--batch", "8"}};
    char path[600];
    snprintf(path, sizeof path, "%s", anx_test_path("state"));
    anx_evaluation e = ANX_EVALUATION_INIT, out = ANX_EVALUATION_INIT;
    const anx_evaluate_options o = options_of(1);
    ANX_CHECK_OK(anx_evaluation_save(path, &e, facts, FACTS, &err), &err);
    ANX_CHECK_STATUS(ANX_ERR_MISMATCH, anx_evaluation_load(path, &o, others, FACTS, &out, &err), &err);
    ANX_CHECK_MESSAGE("holds another evaluation, which cannot be gone on with (another file, or none, starts anew):\n"
                      "  weights (SHA-256): abc there, abd now\n  --batch: 7 there, 8 now",
                      &err);
    ANX_CHECK_OK(anx_evaluation_load(path, &o, facts, FACTS, &out, &err), &err);
    CU_ASSERT_EQUAL(out.done, 0);
    ANX_CHECK_STATUS(ANX_ERR_NOT_FOUND, anx_evaluation_load("/no/such/state", &o, facts, FACTS, &out, &err), &err);
    anx_evaluation_fini(&out);
}

/* An evaluation of three images whose state somebody changed. */
static void check_damaged(void (*damage)(anx_evaluation *e), const char *message) {
    char path[600];
    snprintf(path, sizeof path, "%s", anx_test_path("state"));
    anx_evaluation e = ANX_EVALUATION_INIT, out = ANX_EVALUATION_INIT;
    anx_evaluate_options o = options_of(1);
    ANX_CHECK_OK(anx_evaluate(&o, &e, &err), &err);
    damage(&e);
    ANX_CHECK_OK(anx_evaluation_save(path, &e, facts, FACTS, &err), &err);
    ANX_CHECK_STATUS(ANX_ERR_FORMAT, anx_evaluation_load(path, &o, facts, FACTS, &out, &err), &err);
    ANX_CHECK_MESSAGE(message, &err);
    CU_ASSERT_PTR_NULL(out.predictions);
    anx_evaluation_fini(&e);
}

static void other_file(anx_evaluation *e) {
    e->predictions[2].file++;
}
static void other_label(anx_evaluation *e) {
    e->predictions[1].label = (e->predictions[1].label + 1) % 11;
}
static void class_beyond(anx_evaluation *e) {
    e->predictions[0].top[4] = 11;
}
static void class_below(anx_evaluation *e) {
    e->predictions[0].top[0] = INT32_MIN;
}
static void wild_bad_file(anx_evaluation *e) {
    e->bad[0].file = INT64_MAX;
}
static void one_too_many(anx_evaluation *e) {
    const anx_prediction extra = e->predictions[0];
    ANX_CHECK_OK(anx_evaluation_add_prediction(e, &extra, &err), &err);
}

static void one_made_right(anx_evaluation *e) {
    e->predictions[0].right1 = !e->predictions[0].right1;
}
static void one_made_sure(anx_evaluation *e) {
    e->predictions[2].ambiguous1 = !e->predictions[2].ambiguous1;
}
static void less_than_no_loss(anx_evaluation *e) {
    e->predictions[1].loss = -1e300;
}
static void more_than_certain(anx_evaluation *e) {
    e->predictions[0].probability[0] = 7;
}
static void no_class(anx_evaluation *e) {
    e->predictions[0].top[4] = -1;
}
static void a_class_twice(anx_evaluation *e) {
    e->predictions[0].top[4] = e->predictions[0].top[3];
}

/* The terminal is not the state's to write to. */
static void texts_of_a_state_are_shown_harmlessly(void) {
    static const anx_evaluation_fact wild[] = {{"weights", "weights (SHA-256)", "\x1b]0;title\a"},
                                               {"batch", "--batch", "7"}};
    char path[600];
    snprintf(path, sizeof path, "%s", anx_test_path("state"));
    anx_evaluation e = ANX_EVALUATION_INIT, out = ANX_EVALUATION_INIT;
    const anx_evaluate_options o = options_of(1);
    ANX_CHECK_OK(anx_evaluation_save(path, &e, wild, FACTS, &err), &err);
    ANX_CHECK_STATUS(ANX_ERR_MISMATCH, anx_evaluation_load(path, &o, facts, FACTS, &out, &err), &err);
    ANX_CHECK_MESSAGE("weights (SHA-256): \\x1b]0;title\\x07 there, abc now", &err);
    CU_ASSERT_PTR_NULL(strchr(err.message, '\x1b'));
}

static void damaged_states_are_refused(void) {
    check_damaged(other_file, "is damaged: image ");
    check_damaged(other_label, "is damaged: image ");
    check_damaged(class_beyond, "is damaged: what it says of image ");
    check_damaged(class_below, "is damaged: what it says of image ");
    check_damaged(one_made_right, "is damaged: what it says of image ");
    check_damaged(one_made_sure, "is damaged: what it says of image ");
    check_damaged(less_than_no_loss, "is damaged: what it says of image ");
    check_damaged(more_than_certain, "is damaged: what it says of image ");
    check_damaged(no_class, "is damaged: what it says of image ");
    check_damaged(a_class_twice, "is damaged: what it says of image ");
    check_damaged(wild_bad_file, "is damaged: image ");
    check_damaged(one_too_many, "is damaged: image 64 in it is not the one that was to be evaluated");
}

static void other_files_are_no_states(void) {
    char path[600];
    snprintf(path, sizeof path, "%s", anx_test_path("other.safetensors"));
    anx_state_dict dict = ANX_STATE_DICT_INIT;
    const int64_t shape[] = {3};
    anx_tensor t = ANX_TENSOR_INIT;
    anx_evaluation out = ANX_EVALUATION_INIT;
    const anx_evaluate_options o = options_of(1);
    ANX_CHECK_OK(anx_tensor_alloc(ANX_I64, 1, shape, &t, &err), &err);
    ANX_CHECK_OK(anx_state_dict_add(&dict, "file", &t, &err), &err);
    ANX_CHECK_OK(anx_safetensors_write(path, &dict, NULL, 0, true, &err), &err);
    ANX_CHECK_STATUS(ANX_ERR_FORMAT, anx_evaluation_load(path, &o, facts, FACTS, &out, &err), &err);
    ANX_CHECK_MESSAGE("a safetensors file, but not an evaluation's state", &err);
    const anx_safetensors_meta newer[] = {{"anx_evaluation", "2"}};
    ANX_CHECK_OK(anx_safetensors_write(path, &dict, newer, 1, true, &err), &err);
    ANX_CHECK_STATUS(ANX_ERR_UNSUPPORTED, anx_evaluation_load(path, &o, facts, FACTS, &out, &err), &err);
    const anx_safetensors_meta right[] = {{"anx_evaluation", "1"}, {"weights", "abc"}, {"batch", "7"}};
    ANX_CHECK_OK(anx_safetensors_write(path, &dict, right, 3, true, &err), &err);
    ANX_CHECK_STATUS(ANX_ERR_FORMAT, anx_evaluation_load(path, &o, facts, FACTS, &out, &err), &err);
    ANX_CHECK_MESSAGE("entry 'label'", &err);
    anx_state_dict_fini(&dict);
}

/* On a device that fails at a batch: the batches before it count, whatever was under way when it failed. */
static void fails_at(int64_t batch, deferred_fault fault, const anx_evaluation *whole, anx_evaluate_options o) {
    anx_evaluation e = ANX_EVALUATION_INIT;
    deferred_fail(DEFERRED_RUN, (int)batch + 1, fault);
    ANX_CHECK_STATUS(ANX_ERR_DEVICE, anx_evaluate(&o, &e, &err), &err);
    deferred_fail(DEFERRED_NONE, 0, DEFERRED_AT_CALL);
    CU_ASSERT_EQUAL(e.done, batch * o.batch);
    CU_ASSERT_EQUAL(e.n_predictions + e.n_bad, batch * o.batch);
    for (int64_t i = 0; i < e.n_predictions; i++)
        CU_ASSERT_TRUE(same_prediction(&e.predictions[i], &whole->predictions[i]));
    anx_evaluation_fini(&e);
}

static void a_batch_that_fails_takes_no_other_along(void) {
    anx_evaluate_options o = options_of(1);
    anx_evaluation whole = ANX_EVALUATION_INIT;
    anx_device *late = NULL;
    ANX_CHECK_OK(anx_device_open_backend(&deferred_backend, 0, NULL, &late, &err), &err);
    o.device = late;
    ANX_CHECK_OK(anx_evaluate(&o, &whole, &err), &err);
    CU_ASSERT_EQUAL(whole.done, FAKE_FILES);
    for (int64_t batch = 0; batch < 3; batch++) {
        fails_at(batch, DEFERRED_AT_CALL, &whole, o);
        fails_at(batch, DEFERRED_LATER, &whole, o);
    }
    anx_evaluation_fini(&whole);
    anx_device_close(late);
}

static void a_network_of_another_size_is_refused(void) {
    anx_evaluation e = ANX_EVALUATION_INIT;
    anx_evaluate_options o = options_of(1);
    o.profile = &anx_preprocess_torchvision;
    ANX_CHECK_STATUS(ANX_ERR_INVALID_ARGUMENT, anx_evaluate(&o, &e, &err), &err);
    ANX_CHECK_MESSAGE("makes images of 224 x 224 pixels", &err);
}

int main(int argc, char **argv) {
    static const anx_test tests[] = {
        {"threads do not show", threads_do_not_show},
        {"the first bad file ends what may skip none", the_first_bad_file_ends_what_may_skip_none},
        {"an interruption does not show", an_interruption_does_not_show},
        {"other evaluations are refused with all that differs", other_evaluations_are_refused_with_all_that_differs},
        {"damaged states are refused", damaged_states_are_refused},
        {"texts of a state are shown harmlessly", texts_of_a_state_are_shown_harmlessly},
        {"other files are no states", other_files_are_no_states},
        {"a batch that fails takes no other along", a_batch_that_fails_takes_no_other_along},
        {"a network of another size is refused", a_network_of_another_size_is_refused},
        {NULL, NULL},
    };
    const int status = anx_test_main("evaluation", tests, argc, argv);
    anx_device_close(device);
    if (model != NULL) fake_source_fini(&source);
    anx_model_destroy(model);
    return status;
}
