/*
 * Recorded trainings of AlexNet that ship, taken again by the exact backend: the first steps of each in every bit, from
 * the order of the images to the parameters; and what is not as recorded is named.
 */
#include <stdlib.h>
#include <string.h>

#include "parity/judge.h"
#include "tests/parity/recordings.h"
#include "tests/support/anx_test.h"
#include "tests/support/seeded_model.h"

enum { SCENARIOS = 3 };

static anx_model *model;
static anx_fixture *shipped;

/* The recording with fewer steps, of which something may be changed. */
typedef struct shortened {
    anx_training_scenario scenarios[SCENARIOS];
    anx_training_steps steps[SCENARIOS];
    anx_training_recording recording;
    anx_fixture fixture;
    anx_fixture *items[1];
    anx_fixture_set set;
} shortened;

static shortened *shorten(int64_t augmented, int64_t smoothed, int64_t frozen) {
    const int64_t steps[SCENARIOS] = {augmented, smoothed, frozen};
    shortened *s = calloc(1, sizeof *s);
    if (s == NULL) abort();
    CU_ASSERT_FATAL(shipped->training->n_scenarios == SCENARIOS);
    s->recording = *shipped->training;
    s->recording.scenarios = s->scenarios;
    s->recording.n_scenarios = 0;
    for (int i = 0; i < SCENARIOS; i++) {
        anx_training_scenario *to = &s->scenarios[s->recording.n_scenarios];
        if (steps[i] == 0) continue;
        *to = shipped->training->scenarios[i];
        s->steps[s->recording.n_scenarios++] = *to->recorded;
        to->recorded = &s->steps[s->recording.n_scenarios - 1];
        to->steps = steps[i];
        to->envelope = NULL;
    }
    s->fixture = *shipped;
    s->fixture.training = &s->recording;
    s->items[0] = &s->fixture;
    s->set = (anx_fixture_set){.items = s->items, .count = 1};
    return s;
}

static anx_verdicts *judge(const shortened *s) {
    const anx_judge_options options = {
        .model = model, .fixtures = &s->set, .device_name = "exact", .points = "prob", .no_probe = true, .train = true};
    anx_error err = ANX_ERROR_INIT;
    anx_verdicts *v = NULL;
    ANX_CHECK_OK(anx_judge(&options, &v, &err), &err);
    CU_ASSERT_PTR_NOT_NULL_FATAL(v);
    return v;
}

static void test_steps(void) {
    model = seeded_model(1, 10);
    shortened *s = shorten(2, 3, 2);
    anx_verdicts *v = judge(s);
    int rows = 0;
    for (size_t i = 0; i < v->n_judged; i++) {
        const anx_judged *j = &v->judged[i];
        if (j->path != ANX_PATH_TRAIN_REPLAY) continue;
        rows++;
        if (j->verdict != ANX_VERDICT_PASS)
            CU_assertImplementation(CU_FALSE, __LINE__, j->reason, __FILE__, "", CU_FALSE);
    }
    CU_ASSERT_EQUAL(rows, SCENARIOS * 10);
    CU_ASSERT_EQUAL(v->overall, ANX_VERDICT_PASS);
    anx_verdicts_destroy(v);
    anx_model_destroy(model);
    free(s);
}

static void expect(shortened *s, const char *point, const char *says) {
    anx_verdicts *v = judge(s);
    CU_ASSERT_TRUE_FATAL(v->first_bad >= 0);
    const anx_judged *bad = &v->judged[v->first_bad];
    CU_ASSERT_STRING_EQUAL(bad->point, point);
    if (strstr(bad->reason, says) == NULL)
        CU_assertImplementation(CU_FALSE, __LINE__, bad->reason, __FILE__, "", CU_FALSE);
    CU_ASSERT_EQUAL(v->overall, ANX_VERDICT_FAIL);
    anx_verdicts_destroy(v);
    free(s);
}

/* As if the device shuffled, augmented, or trained otherwise: each recording is changed in one thing. */
static void test_names(void) {
    model = seeded_model(1, 10);
    shortened *s = shorten(1, 0, 0);
    int64_t order[8];
    memcpy(order, s->steps[0].order, sizeof order);
    order[3] = (order[3] + 1) % s->scenarios[0].n_images;
    s->steps[0].order = order;
    expect(s, "data order", "step 1 of 1: image 3 of the batch: number");

    s = shorten(1, 0, 0);
    const anx_digest none = {{0}};
    s->steps[0].inputs = &none;
    expect(s, "augmentation", "step 1 of 1: the batch of augmented images");

    s = shorten(0, 0, 1); /* of frozen features there are no gradients: a recording that has one differs */
    anx_digest grads[16];
    memcpy(grads, s->steps[0].grads, sizeof grads);
    grads[2].bytes[0] = 1;
    s->steps[0].grads = grads;
    expect(s, "gradients", "step 1 of 1: the gradient of 'features.3.weight'");
    anx_model_destroy(model);
}

int main(int argc, char **argv) {
    static const anx_test tests[] = {
        {"recorded steps are taken again in every bit", test_steps},
        {"the first thing that is not as recorded is named", test_names},
        {NULL, NULL},
    };
    anx_error err = ANX_ERROR_INIT;
    if (anx_fixture_open(recordings_path("training-10-seed1.safetensors"), &shipped, &err) != ANX_OK) return 2;
    const int code = anx_test_main("recorded trainings", tests, argc, argv);
    anx_fixture_close(shipped);
    return code;
}
