/* What an evaluation's report makes of counts: the published ones, others, samples. */
#include "parity/eval_report.h"

#include <stdlib.h>
#include <string.h>

#include "tests/parity/narrow_recording.h"
#include "tests/support/anx_test.h"

static anx_error err;
static const char *const ids[] = {"n00", "n01"};
static const char *const notes[] = {"a note"};
static const anx_device_info device = {.backend = "cpu",
                                       .device = "cpu",
                                       .library = "oneDNN 2.6.3",
                                       .isa = "AVX-512",
                                       .arithmetic = "float32",
                                       .threads = 2};

/* A report of `images` of a dataset of `all`, with so many right. */
typedef struct sample {
    anx_checkpoint checkpoint;
    anx_dataset dataset;
    anx_accuracy accuracy;
    anx_accuracy_class classes[2];
    anx_evaluation evaluation;
    anx_eval_report report;
} sample;

static sample *make(int64_t all, int64_t images, int64_t right1, int64_t right5) {
    sample *s = calloc(1, sizeof *s);
    if (s == NULL) exit(2);
    static char path[] = "alexnet-owt-7be5be79.pth";
    s->checkpoint = (anx_checkpoint){.path = path, .format = "PyTorch zip"};
    s->dataset = (anx_dataset){.root = "val",
                               .layout = "wnid folders",
                               .n_samples = all,
                               .n_classes = 2,
                               .n_classes_present = 2,
                               .class_ids = ids,
                               .notes = notes,
                               .n_notes = 1};
    s->classes[0] = (anx_accuracy_class){images / 2, right1, right5 / 2};
    s->classes[1] = (anx_accuracy_class){images - images / 2, 0, right5 - right5 / 2};
    s->accuracy = (anx_accuracy){.images = images,
                                 .right1 = right1,
                                 .right5 = right5,
                                 .loss = 1.5,
                                 .batch_loss = 1.25,
                                 .batch = 32,
                                 .n_classes = 2,
                                 .classes = s->classes};
    s->evaluation = (anx_evaluation){.done = images};
    s->report = (anx_eval_report){.cpu = "a processor",
                                  .device = &device,
                                  .checkpoint = &s->checkpoint,
                                  .model = narrow_model_make(),
                                  .official_name = "alexnet-owt-7be5be79.pth",
                                  .dataset = &s->dataset,
                                  .selection = images < all ? ANX_EVAL_SAMPLE : ANX_EVAL_ALL,
                                  .n_selected = images,
                                  .seed = 3,
                                  .evaluation = &s->evaluation,
                                  .accuracy = &s->accuracy,
                                  .expected = anx_eval_official,
                                  .seconds = 100.0};
    return s;
}

static void destroy(sample *s) {
    anx_model_destroy((anx_model *)(uintptr_t)s->report.model);
    free(s);
}

static bool says(const sample *s, const char *line) {
    char *text = NULL;
    ANX_CHECK_OK(anx_eval_report_text(&s->report, false, &text, NULL, &err), &err);
    const bool found = text != NULL && strstr(text, line) != NULL;
    if (!found) fprintf(stderr, "\nnot said: %s\n%s", line, text);
    free(text);
    return found;
}

static void the_published_counts_agree_exactly(void) {
    sample *s = make(50000, 50000, 28261, 39533);
    CU_ASSERT_EQUAL(anx_eval_judge(&s->report), ANX_EVAL_MET);
    CU_ASSERT(says(s, "\nAcc@1 56.522 Acc@5 79.066\n"));
    CU_ASSERT(says(s, "\ntop-1       28,261 of 50,000 right; 0 within rounding\n"));
    CU_ASSERT(says(s, "\nexpected    torchvision's Acc@1 56.522 Acc@5 79.066: met, within 0.05 points\n"
                      "            the counts agree exactly\n"));
    CU_ASSERT(says(s, "\n50,000 images in 100.0 s, 500.0 images/s\n"));
    destroy(s);
}

static void twenty_five_images_are_tolerated_and_no_more(void) {
    sample *s = make(50000, 50000, 28261 - 25, 39533 + 25);
    s->accuracy.ambiguous1 = 2;
    s->report.redecided = 2;
    s->report.turned1 = 1;
    CU_ASSERT_EQUAL(anx_eval_judge(&s->report), ANX_EVAL_MET);
    CU_ASSERT(says(s, "the counts do not agree exactly: -25 and +25 images"));
    CU_ASSERT(says(s, "28,236 of 50,000 right; 2 within rounding, 1 of which comes out otherwise in double"));
    s->accuracy.right1--;
    CU_ASSERT_EQUAL(anx_eval_judge(&s->report), ANX_EVAL_MISSED);
    CU_ASSERT(says(s, "MISSED by more than 0.05 points"));
    destroy(s);
    s = make(50000, 50000, 28261, 39533 - 26);
    CU_ASSERT_EQUAL(anx_eval_judge(&s->report), ANX_EVAL_MISSED);
    destroy(s);
}

static void it_says_how_many_were_decided_again(void) {
    anx_prediction predictions[] = {{.ambiguous1 = true}, {.ambiguous1 = true}, {.ambiguous5 = true}};
    sample *s = make(50000, 50000, 28261, 39533);
    s->evaluation.predictions = predictions;
    s->evaluation.n_predictions = 3;
    s->accuracy.ambiguous1 = 2;
    s->report.redecided = 3;
    CU_ASSERT(says(s, "; 2 within rounding, 0 of which come out otherwise in double\n"));
    s->report.redecided = 1;
    CU_ASSERT(says(s, "; 2 within rounding, 0 of which come out otherwise among the first\n"
                      "            1, decided again in double\n"));
    destroy(s);
}

static void other_expectations_are_met_or_equal(void) {
    sample *s = make(3000, 3000, 1000, 2000);
    s->report.expected = (anx_eval_expectation){.stated = true, .asked = true, .acc1 = 33.333, .acc5 = 66.667};
    CU_ASSERT_EQUAL(anx_eval_judge(&s->report), ANX_EVAL_MET);
    CU_ASSERT(says(s, "\nexpected    Acc@1 33.333 Acc@5 66.667: met, within 0.05 points\n"
                      "            equal to the third decimal\n"));
    s->report.expected.acc1 = 33.3;
    CU_ASSERT_EQUAL(anx_eval_judge(&s->report), ANX_EVAL_MET);
    CU_ASSERT(says(s, "\n            not equal to the third decimal\n"));
    s->report.expected.acc1 = 33.28;
    CU_ASSERT_EQUAL(anx_eval_judge(&s->report), ANX_EVAL_MISSED);
    destroy(s);
}

/* What could be read of the full set is no sample of it: 0.05 points are 0.05 points. */
static void bad_files_make_no_interval_of_the_full_set(void) {
    sample *s = make(239, 219, 20, 125);
    s->report.selection = ANX_EVAL_ALL;
    s->report.skip_bad = true;
    s->report.expected = (anx_eval_expectation){.stated = true, .asked = true, .acc1 = 9.132, .acc5 = 57.078};
    CU_ASSERT_EQUAL(anx_eval_judge(&s->report), ANX_EVAL_MET);
    s->report.expected.acc1 = 10.0;
    CU_ASSERT_EQUAL(anx_eval_judge(&s->report), ANX_EVAL_MISSED);
    destroy(s);
}

static void a_sample_is_judged_by_its_interval(void) {
    sample *s = make(50000, 2000, 1130, 1580);
    CU_ASSERT_EQUAL(anx_eval_judge(&s->report), ANX_EVAL_MET);
    CU_ASSERT(says(s, "\ninterval    of all 50,000 images, with 99.9 % confidence: Acc@1 52.901 to 60.031"));
    CU_ASSERT(says(s, "inside the interval"));
    s->accuracy.right1 = 1000; /* 50 %: 46.4 to 53.6 */
    CU_ASSERT_EQUAL(anx_eval_judge(&s->report), ANX_EVAL_MISSED);
    CU_ASSERT(says(s, "OUTSIDE the interval"));
    destroy(s);
}

/* Images are evaluated in the dataset's order: what was reached of a sample is the first classes. */
static void an_interrupted_sample_has_no_interval(void) {
    sample *s = make(50000, 2000, 1130, 1580);
    char *text = NULL, *json = NULL;
    s->report.interrupted = true;
    CU_ASSERT_EQUAL(anx_eval_judge(&s->report), ANX_EVAL_NOT_JUDGED);
    ANX_CHECK_OK(anx_eval_report_text(&s->report, false, &text, NULL, &err), &err);
    CU_ASSERT(text != NULL && strstr(text, "interval") == NULL);
    size_t n_bytes = 0;
    ANX_CHECK_OK(anx_eval_report_json(&s->report, &json, &n_bytes, &err), &err);
    CU_ASSERT(json != NULL && strstr(json, "interval") == NULL);
    free(text);
    free(json);
    destroy(s);
}

static void the_first_images_and_an_interrupted_run_are_not_judged(void) {
    sample *s = make(50000, 50000, 1, 2);
    s->report.interrupted = true;
    s->report.n_selected = 50000;
    s->evaluation.done = 640;
    CU_ASSERT_EQUAL(anx_eval_judge(&s->report), ANX_EVAL_NOT_JUDGED);
    CU_ASSERT(says(s, "\nselected    all 50,000 images\n"));
    CU_ASSERT(says(s, "\nINTERRUPTED after 640 of 50,000 images in 100.0 s"));
    s->report.interrupted = false;
    s->report.selection = ANX_EVAL_FIRST;
    CU_ASSERT_EQUAL(anx_eval_judge(&s->report), ANX_EVAL_NOT_JUDGED);
    CU_ASSERT(says(s, "on all images: not judged by these"));
    destroy(s);
}

int main(int argc, char **argv) {
    static const anx_test tests[] = {
        {"the published counts agree exactly", the_published_counts_agree_exactly},
        {"twenty-five images are tolerated and no more", twenty_five_images_are_tolerated_and_no_more},
        {"it says how many were decided again", it_says_how_many_were_decided_again},
        {"other expectations are met or equal", other_expectations_are_met_or_equal},
        {"bad files make no interval of the full set", bad_files_make_no_interval_of_the_full_set},
        {"a sample is judged by its interval", a_sample_is_judged_by_its_interval},
        {"an interrupted sample has no interval", an_interrupted_sample_has_no_interval},
        {"the first images and an interrupted run are not judged",
         the_first_images_and_an_interrupted_run_are_not_judged},
        {NULL, NULL},
    };
    return anx_test_main("eval_report", tests, argc, argv);
}
