/*
 * Every fault in training, put into a device, a step or a schedule, must be found by the judge and named; correct
 * devices must be accepted. All on the narrow network, whose "recording" is what the exact backend leaves (that this is
 * what PyTorch leaves, the shipped recordings hold for AlexNet).
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "parity/judge.h"
#include "tests/faults/narrow.h"
#include "tests/faults/training_faults.h"
#include "tests/support/anx_test.h"
#include "tests/support/deferred_device.h"

enum { STEPS = 5, BATCH = 5, MAX_PARAMS = 16 };

/* ---- a recording ------------------------------------------------------------------------------------------ */

typedef struct recording {
    anx_model *model;
    anx_fixture_param params[MAX_PARAMS];
    anx_digest inputs[STEPS], masks[STEPS], logits[STEPS], generator[STEPS];
    anx_digest grads[STEPS][MAX_PARAMS], values[STEPS][MAX_PARAMS], momentum[STEPS][MAX_PARAMS];
    float loss[STEPS];
    double lr[STEPS];
    double drift[STEPS * MAX_PARAMS], way[STEPS * MAX_PARAMS], loss_drift[STEPS];
    anx_training_steps steps;
    anx_training_envelope envelope;
    anx_training_scenario scenario;
    anx_training_recording training;
    anx_fixture fixture;
    anx_fixture *items[1];
    anx_fixture_set set;
} recording;

static anx_digest digest_of(const anx_tensor *t) {
    anx_digest digest = {{0}};
    anx_error err = ANX_ERROR_INIT;
    if (t != NULL) ANX_CHECK_OK(anx_tensor_digest(t, &digest, &err), &err);
    return digest;
}

static anx_digest digest_of_value(anx_plan *plan, anx_value value) {
    int64_t shape[4];
    anx_tensor t = ANX_TENSOR_INIT;
    anx_error err = ANX_ERROR_INIT;
    const int rank = anx_plan_value_shape(plan, value, shape);
    ANX_CHECK_OK(anx_tensor_alloc(ANX_F32, rank, shape, &t, &err), &err);
    ANX_CHECK_OK(anx_plan_read(plan, value, &t, &err), &err);
    const anx_digest digest = digest_of(&t);
    anx_tensor_fini(&t);
    return digest;
}

static void record_step(recording *r, const anx_training_play *play, int step) {
    anx_plan *plan = anx_trainer_plan(play->trainer);
    const int n = r->model->graph->n_params;
    unsigned char state[ANX_MT19937_STATE_BYTES];
    const int64_t state_bytes = sizeof state;
    anx_mt19937_write_state(&play->gen, state);
    const anx_tensor generator = anx_tensor_view(ANX_U8, 1, &state_bytes, state);
    r->inputs[step] = digest_of(&play->batch);
    r->masks[step] =
        digest_of_value(plan, (anx_value){ANX_VALUE_MASK, anx_graph_find_node(r->model->graph, "classifier.0")});
    r->logits[step] = digest_of(anx_trainer_logits(play->trainer));
    r->generator[step] = digest_of(&generator);
    r->loss[step] = play->result.loss;
    r->lr[step] = play->lr;
    anx_digest *grads = &r->grads[0][0] + step * n, *values = &r->values[0][0] + step * n;
    for (int i = 0; i < n; i++) {
        grads[i] = digest_of_value(plan, (anx_value){ANX_VALUE_PARAM_GRAD, i});
        values[i] = digest_of(&anx_trainer_params(play->trainer)[i]);
        (&r->momentum[0][0])[step * n + i] = digest_of(anx_trainer_momentum(play->trainer, i));
    }
}

static double norm(const float *a, const float *b, int64_t n) {
    double sum = 0;
    for (int64_t i = 0; i < n; i++) sum += ((double)a[i] - (double)b[i]) * ((double)a[i] - (double)b[i]);
    return sqrt(sum);
}

/* One right run beside exact's: the reference's, in double. */
static void record_drift(recording *r, const anx_training_play *exact, const anx_training_play *other, int step) {
    const anx_graph *graph = r->model->graph;
    for (int i = 0; i < graph->n_params; i++) {
        const float *right = anx_trainer_params(exact->trainer)[i].data;
        const int64_t n = anx_param_elems(&graph->params[i]);
        r->drift[step * graph->n_params + i] = norm(anx_trainer_params(other->trainer)[i].data, right, n);
        r->way[step * graph->n_params + i] = norm(right, r->model->params[i].data, n);
    }
    r->loss_drift[step] = (double)other->result.loss - (double)exact->result.loss;
}

static void play(recording *r) {
    anx_error err = ANX_ERROR_INIT;
    anx_device *devices[2] = {NULL, NULL};
    anx_training_play *plays[2] = {NULL, NULL};
    for (int d = 0; d < 2; d++) {
        const anx_device_options one = {.threads = 1};
        ANX_CHECK_OK(anx_device_open(d == 0 ? "exact" : "reference", &one, &devices[d], &err), &err);
        const anx_training_play_options options = {.scenario = &r->scenario,
                                                   .graph = r->model->graph,
                                                   .params = r->model->params,
                                                   .device = devices[d],
                                                   .threads = 1};
        ANX_CHECK_OK(anx_training_play_create(&options, &plays[d], &err), &err);
        CU_ASSERT_PTR_NOT_NULL_FATAL(plays[d]);
    }
    for (int step = 0; step < STEPS; step++) {
        for (int d = 0; d < 2; d++) {
            ANX_CHECK_OK(anx_training_play_fetch(plays[d], &err), &err);
            ANX_CHECK_OK(anx_training_play_step(plays[d], &err), &err);
        }
        record_step(r, plays[0], step);
        record_drift(r, plays[0], plays[1], step);
    }
    for (int d = 0; d < 2; d++) {
        anx_training_play_destroy(plays[d]);
        anx_device_close(devices[d]);
    }
}

static recording *make_recording_of(const anx_sgd_options *sgd, bool envelope) {
    static const char *const runs[] = {"float64"};
    anx_error err = ANX_ERROR_INIT;
    recording *r = calloc(1, sizeof *r);
    if (r == NULL) abort();
    r->model = narrow_model();
    const int n = r->model->graph->n_params;
    CU_ASSERT_FATAL(n <= MAX_PARAMS);
    ANX_CHECK_OK(anx_model_digests(r->model, 1, &err), &err);
    for (int i = 0; i < n; i++)
        r->params[i] = (anx_fixture_param){r->model->graph->params[i].name, r->model->digests[i]};
    r->scenario = (anx_training_scenario){.name = "waves",
                                          .seed = 7,
                                          .batch = BATCH,
                                          .steps = STEPS,
                                          .augment = anx_augment_kind_find("none"),
                                          .label_smoothing = 0.1,
                                          .frozen = "",
                                          .sgd = *sgd,
                                          .scheduler = anx_scheduler_defaults(ANX_STEP_LR)};
    r->scenario.scheduler.step_size = 2;
    play(r);
    r->steps = (anx_training_steps){.lr = r->lr,
                                    .loss = r->loss,
                                    .inputs = r->inputs,
                                    .masks = r->masks,
                                    .logits = r->logits,
                                    .grads = &r->grads[0][0],
                                    .params = &r->values[0][0],
                                    .momentum = &r->momentum[0][0],
                                    .generator = r->generator,
                                    .n_masks = 1,
                                    .n_params = n};
    r->envelope = (anx_training_envelope){
        .runs = runs, .n_runs = 1, .loss = r->loss_drift, .difference = r->drift, .distance = r->way};
    r->scenario.recorded = &r->steps;
    r->scenario.envelope = envelope ? &r->envelope : NULL;
    r->training = (anx_training_recording){.scenarios = &r->scenario, .n_scenarios = 1};
    r->fixture = (anx_fixture){.path = "in memory",
                               .name = "narrow",
                               .kind = ANX_FIXTURE_TRAINING,
                               .recorder_pytorch_bits = true,
                               .arch = "narrow",
                               .num_classes = r->model->graph->num_classes,
                               .model = "narrow",
                               .params = r->params,
                               .n_params = n,
                               .training = &r->training};
    r->items[0] = &r->fixture;
    r->set = (anx_fixture_set){.items = r->items, .count = 1};
    return r;
}

static recording *make_recording(bool envelope) {
    return make_recording_of(&(anx_sgd_options){.lr = 0.01, .momentum = 0.9, .weight_decay = 1e-3}, envelope);
}

static void free_recording(recording *r) {
    anx_model_destroy(r->model);
    free(r);
}

/* ---- judging ---------------------------------------------------------------------------------------------- */

typedef struct subject {
    anx_device *device;
    const char *name; /* ... or a built-in device's */
    anx_training_hooks hooks;
    bool full;
} subject;

static anx_verdicts *judge(const recording *r, const subject *s, anx_model *model) {
    const anx_judge_options options = {.model = model != NULL ? model : r->model,
                                       .fixtures = &r->set,
                                       .device = s->device,
                                       .device_name = s->name,
                                       .threads = 1,
                                       .points = "logits",
                                       .no_probe = true,
                                       .full = s->full,
                                       .train = true,
                                       .training = s->hooks};
    anx_error err = ANX_ERROR_INIT;
    anx_verdicts *verdicts = NULL;
    ANX_CHECK_OK(anx_judge(&options, &verdicts, &err), &err);
    CU_ASSERT_PTR_NOT_NULL_FATAL(verdicts);
    return verdicts;
}

static void complain(const char *name, const char *what, const anx_judged *j) {
    char text[2048];
    snprintf(text, sizeof text, "%s: %s%s%s %s %s: %s", name, what, j != NULL ? "; " : "",
             j != NULL ? anx_judged_path_name(j->path) : "", j != NULL ? j->point : "",
             j != NULL ? anx_verdict_name(j->verdict) : "", j != NULL ? j->reason : "");
    CU_assertImplementation(CU_FALSE, __LINE__, text, __FILE__, "", CU_FALSE);
}

/* The first failure must be there, and say this. */
static void expect(const char *name, anx_verdicts *v, anx_judged_path path, const char *point, const char *says) {
    const anx_judged *bad = v->first_bad >= 0 ? &v->judged[v->first_bad] : NULL;
    if (bad == NULL)
        complain(name, "not found", NULL);
    else if (bad->path != path || strcmp(bad->point, point) != 0 || strstr(bad->reason, says) == NULL)
        complain(name, "found elsewhere, or not named", bad);
    else
        CU_PASS("found");
    CU_ASSERT_EQUAL(v->overall, ANX_VERDICT_FAIL);
    anx_verdicts_destroy(v);
}

static void expect_clean(const char *name, anx_verdicts *v, int paths_bit_mask) {
    int seen = 0;
    for (size_t i = 0; i < v->n_judged; i++) {
        seen |= 1 << v->judged[i].path;
        if (v->judged[i].verdict > ANX_VERDICT_SKIP) complain(name, "raised", &v->judged[i]);
    }
    if ((seen & paths_bit_mask) != paths_bit_mask) complain(name, "not all was judged", NULL);
    CU_ASSERT_EQUAL(v->overall, ANX_VERDICT_PASS);
    anx_verdicts_destroy(v);
}

/* ---- correct devices -------------------------------------------------------------------------------------- */

static void test_correct_devices(void) {
    static const char *const names[] = {"cpu", "reference", "exact"};
    const int others = 1 << ANX_PATH_TRAIN_OPERATORS | 1 << ANX_PATH_TRAIN_UPDATE;
    for (int envelope = 0; envelope < 2; envelope++) {
        recording *r = make_recording(envelope);
        for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
            const subject s = {.name = names[i]};
            int paths = 1 << ANX_PATH_TRAIN_REPLAY;
            if (i < 2) paths |= envelope ? 1 << ANX_PATH_TRAIN_FREE | 1 << ANX_PATH_EXACT : others;
            expect_clean(names[i], judge(r, &s, NULL), paths);
        }
        free_recording(r);
    }
}

/* A full run looks at operators in long scenarios too. */
static void test_full(void) {
    recording *r = make_recording(true);
    const subject s = {.name = "cpu", .full = true};
    expect_clean("full", judge(r, &s, NULL),
                 1 << ANX_PATH_TRAIN_FREE | 1 << ANX_PATH_TRAIN_OPERATORS | 1 << ANX_PATH_TRAIN_UPDATE);
    free_recording(r);
}

/* Weights that nothing was recorded of: said plainly, and judged all the same. */
static void test_unknown_weights(void) {
    static const char *const names[] = {"cpu", "exact"};
    recording *r = make_recording(false);
    anx_model *model = narrow_model();
    *(float *)model->params[0].data += 1e-3f;
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        const subject s = {.name = names[i]};
        anx_verdicts *v = judge(r, &s, model);
        bool said = false;
        for (size_t k = 0; k < v->n_judged; k++)
            said = said || (v->judged[k].path == ANX_PATH_RECORDINGS && v->judged[k].verdict == ANX_VERDICT_SKIP &&
                            strcmp(v->judged[k].point, "training") == 0 &&
                            strstr(v->judged[k].reason, "no recorded training applies") != NULL);
        CU_ASSERT_TRUE(said);
        expect_clean(names[i], v, 1 << ANX_PATH_TRAIN_OPERATORS | 1 << ANX_PATH_TRAIN_UPDATE);
    }
    anx_model_destroy(model);
    free_recording(r);
}

/* Recorded on a machine whose bits are others: nothing is demanded of exact, and it is judged as any device. */
static void test_other_bits(void) {
    recording *r = make_recording(false);
    r->fixture.recorder_pytorch_bits = false;
    r->logits[0].bytes[0] ^= 1;
    const subject s = {.name = "exact"};
    expect_clean("other bits", judge(r, &s, NULL),
                 1 << ANX_PATH_EXACT | 1 << ANX_PATH_TRAIN_REPLAY | 1 << ANX_PATH_TRAIN_OPERATORS);
    free_recording(r);
}

/* ---- devices ---------------------------------------------------------------------------------------------- */

typedef struct device_row {
    training_fault fault;
    const char *where;
    const char *replay, *replay_says; /* on a device with PyTorch's bits: the aspect, and what is said of it */
    anx_judged_path path;             /* on another: where, */
    const char *point, *says;         /* ... and what is said */
} device_row;

static const device_row device_rows[] = {
    {TRAINING_FAULT_BIAS_MISSING, "features.3.bias", "gradients", "step 1 of 5: the gradient of 'features.3.bias'",
     ANX_PATH_TRAIN_OPERATORS, "features.3.bias", "beyond their bound"},
    {TRAINING_FAULT_GRAD_OFF, "classifier.1.weight", "gradients", "step 1 of 5: the gradient of 'classifier.1.weight'",
     ANX_PATH_TRAIN_OPERATORS, "classifier.1.weight", "1 of 11340 values are beyond their bound"},
    {TRAINING_FAULT_GRAD_BF16, "features.5.weight", "gradients", "step 1 of 5: the gradient of 'features.5.weight'",
     ANX_PATH_TRAIN_OPERATORS, "features.5.weight", ""},
    {TRAINING_FAULT_MASK_UNSCALED, "classifier.0", "dropout masks", "step 1 of 5: the mask of 'classifier.0'",
     ANX_PATH_TRAIN_REPLAY, "dropout masks", "step 1 of 5: the mask of 'classifier.0'"},
    {TRAINING_FAULT_LOGIT_NAN, "classifier.3", "loss", "step 1 of 5: the loss is not finite: 'classifier.3' holds nan",
     ANX_PATH_TRAIN_REPLAY, "loss", "step 1 of 5: the loss is not finite"},
    {TRAINING_FAULT_INPUT_CHANNEL, "features.2", "gradients", "step 1 of 5: the gradient of 'features.0.bias'",
     ANX_PATH_TRAIN_OPERATORS, "features.3 (input)", "beyond their bound"},
};

static void test_devices(void) {
    recording *r = make_recording(false);
    for (size_t i = 0; i < sizeof device_rows / sizeof *device_rows; i++) {
        const device_row *row = &device_rows[i];
        for (int bits = 0; bits < 2; bits++) {
            const training_fault_options options = {
                .inner = bits ? "exact" : "cpu", .fault = row->fault, .where = row->where, .pytorch_bits = bits};
            anx_error err = ANX_ERROR_INIT;
            subject s = {.device = NULL};
            ANX_CHECK_OK(training_fault_open(&options, 1, &s.device, &err), &err);
            anx_verdicts *v = judge(r, &s, NULL);
            if (bits)
                expect(row->where, v, ANX_PATH_TRAIN_REPLAY, row->replay, row->replay_says);
            else
                expect(row->where, v, row->path, row->point, row->says);
            anx_device_close(s.device);
        }
    }
    free_recording(r);
}

/* A wrapper without a fault raises nothing: what the rows above find is the fault. */
static void test_no_fault(void) {
    recording *r = make_recording(false);
    for (int bits = 0; bits < 2; bits++) {
        const training_fault_options options = {.inner = bits ? "exact" : "cpu", .where = "", .pytorch_bits = bits};
        anx_error err = ANX_ERROR_INIT;
        subject s = {.device = NULL};
        ANX_CHECK_OK(training_fault_open(&options, 1, &s.device, &err), &err);
        expect_clean("no fault", judge(r, &s, NULL), 1 << ANX_PATH_TRAIN_REPLAY);
        anx_device_close(s.device);
    }
    free_recording(r);
}

/* Windows with a positive tie need values that are equal: all weights and the bias of one channel 0 but the bias. */
static void test_pool_ties(void) {
    recording *r = make_recording(false);
    anx_model *model = narrow_model();
    const anx_param *weight = &model->graph->params[0];
    memset(model->params[0].data, 0, (size_t)(anx_param_elems(weight) / weight->shape[0]) * sizeof(float));
    *(float *)model->params[1].data = 0.5f;
    const training_fault_options options = {
        .inner = "cpu", .fault = TRAINING_FAULT_POOL_LAST, .where = "features.2", .pytorch_bits = false};
    anx_error err = ANX_ERROR_INIT;
    subject s = {.device = NULL};
    ANX_CHECK_OK(training_fault_open(&options, 1, &s.device, &err), &err);
    expect("pool", judge(r, &s, model), ANX_PATH_TRAIN_OPERATORS, "features.2 (winners)",
           "windows have another winner");
    anx_device_close(s.device);
    s = (subject){.name = "cpu"};
    expect_clean("pool", judge(r, &s, model), 1 << ANX_PATH_TRAIN_OPERATORS);
    anx_model_destroy(model);
    free_recording(r);
}

/* ---- steps and schedules ---------------------------------------------------------------------------------- */

typedef struct hook_row {
    const char *name;
    anx_training_hooks hooks;
    const char *replay, *replay_says;
    anx_judged_path path;
    const char *point, *says;
} hook_row;

static const hook_row hook_rows[] = {
    {"no weight decay",
     {.step = step_without_decay},
     "momentum",
     "step 1 of 5: the update: the momentum of 'features.0.weight'",
     ANX_PATH_TRAIN_UPDATE,
     "features.0.weight (SGD)",
     "elements of the momentum are not what SGD makes of"},
    {"less momentum",
     {.step = step_with_less_momentum},
     "momentum",
     "step 2 of 5: the update: the momentum of 'features.0.weight'",
     ANX_PATH_TRAIN_UPDATE,
     "features.0.weight (SGD)",
     "elements of the momentum are not what SGD makes of"},
    {"momentum forgotten",
     {.step = step_forgetting_momentum},
     "momentum",
     "step 2 of 5: the update: the momentum of 'features.0.weight'",
     ANX_PATH_TRAIN_UPDATE,
     "features.0.weight (SGD)",
     "elements of the momentum are not what SGD makes of"},
    {"Nesterov",
     {.step = step_with_nesterov},
     "parameters",
     "step 1 of 5: the update: the values of 'features.0.weight'",
     ANX_PATH_TRAIN_UPDATE,
     "features.0.weight (SGD)",
     "elements of the values are not what SGD makes of"},
    {"a draw too many",
     {.step = step_drawing_once_more},
     "generator",
     "step 1 of 5: the generator's state",
     ANX_PATH_TRAIN_REPLAY,
     "generator",
     "step 1 of 5: the generator's state"},
    {"wrong targets",
     {.step = step_with_wrong_targets},
     "loss",
     "step 1 of 5: the loss is",
     ANX_PATH_COUNT,
     NULL,
     NULL},
    {"one epoch late",
     {.schedule = schedule_one_epoch_late},
     "learning rate",
     "step 3 of 5: the learning rate is 0.01",
     ANX_PATH_TRAIN_REPLAY,
     "learning rate",
     "step 3 of 5: the learning rate is 0.01"},
    {"closed form",
     {.schedule = schedule_in_closed_form},
     "learning rate",
     "step 5 of 5: the learning rate is",
     ANX_PATH_TRAIN_REPLAY,
     "learning rate",
     "step 5 of 5: the learning rate is"},
};

static void test_steps_and_schedules(void) {
    recording *r = make_recording(false);
    for (size_t i = 0; i < sizeof hook_rows / sizeof *hook_rows; i++) {
        const hook_row *row = &hook_rows[i];
        for (int bits = 0; bits < 2; bits++) {
            const subject s = {.name = bits ? "exact" : "cpu", .hooks = row->hooks};
            if (!bits && row->path == ANX_PATH_COUNT) continue;
            anx_verdicts *v = judge(r, &s, NULL);
            if (bits)
                expect(row->name, v, ANX_PATH_TRAIN_REPLAY, row->replay, row->replay_says);
            else
                expect(row->name, v, row->path, row->point, row->says);
        }
    }
    free_recording(r);
}

/* ---- devices that take SGD's steps themselves -------------------------------------------------------------- */

static anx_verdicts *judge_resident(const recording *r, deferred_rounding rounding, anx_training_hooks hooks) {
    anx_error err = ANX_ERROR_INIT;
    const anx_device_options one = {.threads = 1};
    subject s = {.device = NULL, .hooks = hooks};
    deferred_round(rounding);
    deferred_fail(DEFERRED_NONE, 0, DEFERRED_AT_CALL);
    ANX_CHECK_OK(anx_device_open_backend(&deferred_backend, 0, &one, &s.device, &err), &err);
    anx_verdicts *v = judge(r, &s, NULL);
    CU_ASSERT(deferred_count(DEFERRED_SGD) > 0); /* the device's step was judged, not the host's */
    anx_device_close(s.device);
    deferred_round(DEFERRED_AS_SGD);
    return v;
}

/* With PyTorch's rounding to the bit; otherwise within what rounding leaves, and no further. */
static void test_resident_updates(void) {
    const anx_training_hooks none = {NULL, NULL};
    for (int envelope = 0; envelope < 2; envelope++) {
        recording *r = make_recording(envelope);
        const int seen =
            envelope ? 1 << ANX_PATH_TRAIN_FREE : 1 << ANX_PATH_TRAIN_OPERATORS | 1 << ANX_PATH_TRAIN_UPDATE;
        expect_clean("resident", judge_resident(r, DEFERRED_AS_SGD, none), 1 << ANX_PATH_TRAIN_REPLAY);
        expect_clean("rounded otherwise", judge_resident(r, DEFERRED_APART, none), 1 << ANX_PATH_TRAIN_REPLAY | seen);
        free_recording(r);
    }
    /* With a dampening above 1 what comes to the momentum changes its sign. */
    recording *damped = make_recording_of(&(anx_sgd_options){.lr = 0.01, .momentum = 0.9, .dampening = 1.9}, false);
    expect_clean("damped", judge_resident(damped, DEFERRED_APART, none),
                 1 << ANX_PATH_TRAIN_REPLAY | 1 << ANX_PATH_TRAIN_OPERATORS | 1 << ANX_PATH_TRAIN_UPDATE);
    free_recording(damped);
    recording *r = make_recording(false);
    expect("no decay", judge_resident(r, DEFERRED_NO_DECAY, none), ANX_PATH_TRAIN_UPDATE, "features.0.weight (SGD)",
           "elements of the momentum are not what SGD makes of the step's own gradients, in whatever order it rounds");
    for (size_t i = 0; i < sizeof hook_rows / sizeof *hook_rows; i++) {
        const hook_row *row = &hook_rows[i];
        expect(row->name, judge_resident(r, DEFERRED_AS_SGD, row->hooks), ANX_PATH_TRAIN_REPLAY, row->replay,
               row->replay_says);
        if (row->path != ANX_PATH_COUNT)
            expect(row->name, judge_resident(r, DEFERRED_APART, row->hooks), row->path, row->point, row->says);
    }
    free_recording(r);
}

/* What no operator shows, the loss being the step's own: the run drifts. */
static void test_drift(void) {
    recording *r = make_recording(true);
    const subject wrong = {.name = "cpu", .hooks = {.step = step_with_wrong_targets}};
    expect("wrong targets", judge(r, &wrong, NULL), ANX_PATH_TRAIN_FREE, "loss", "beyond the spread");
    const subject less = {.name = "cpu", .hooks = {.step = step_with_less_momentum}};
    expect("less momentum", judge(r, &less, NULL), ANX_PATH_TRAIN_FREE, "loss", "beyond the spread");
    free_recording(r);
}

int main(int argc, char **argv) {
    static const anx_test tests[] = {
        {"correct devices raise nothing", test_correct_devices},
        {"a wrapper without a fault raises nothing", test_no_fault},
        {"a full run judges operators everywhere", test_full},
        {"weights without a recording are judged all the same", test_unknown_weights},
        {"of a recording with other bits none are demanded", test_other_bits},
        {"faults of a device are found and named", test_devices},
        {"another winner of a pool's tie is found", test_pool_ties},
        {"faults of steps and schedules are found and named", test_steps_and_schedules},
        {"updates by the device itself are judged", test_resident_updates},
        {"a run that drifts is found", test_drift},
        {NULL, NULL},
    };
    return anx_test_main("training faults", tests, argc, argv);
}
