#include "src/train/trainer.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "src/backend/backends.h"
#include "src/train/dropout_mask.h"
#include "tests/support/anx_test.h"
#include "tests/support/deferred_device.h"
#include "tests/train/trainer_bench.h"

static const char *const devices[] = {"exact", "cpu", "reference"};

static void each_device(void (*check)(bench *b)) {
    for (size_t i = 0; i < sizeof devices / sizeof devices[0]; i++) {
        bench b;
        bench_open(&b, devices[i], 2);
        check(&b);
        bench_fini(&b);
    }
    bench b;
    bench_open_backend(&b, &deferred_backend);
    check(&b);
    bench_fini(&b);
    CU_ASSERT_EQUAL(deferred_blocks(), 0);
}

/* ---- what a step does ------------------------------------------------------------------------------------- */

static void check_learning(bench *b) {
    b->options.has_dropout = true;
    anx_trainer *trainer = bench_trainer(b);
    const float first = bench_step(b, trainer, BATCH, 1).loss;
    anx_trainer_result last = {.loss = INFINITY};
    for (int i = 0; i < 30; i++) last = bench_step(b, trainer, BATCH, 1);
    CU_ASSERT(last.loss < 0.8f * first);
    CU_ASSERT(last.top1 > BATCH / 2 && last.top1 <= BATCH);
    CU_ASSERT_EQUAL(last.nonfinite.kind, ANX_NONFINITE_NONE);
    CU_ASSERT_EQUAL(count_changed(b, trainer), b->graph->n_params);
    anx_trainer_destroy(trainer);
}

static void steps_lower_the_loss(void) {
    each_device(check_learning);
}

static void check_update(bench *b) {
    anx_error err = ANX_ERROR_INIT;
    for (int i = 0; i < b->graph->n_params; i++) b->group_of_param[i] = i % 2;
    b->groups[0] = (anx_sgd_options){.lr = 0.25};
    b->groups[1] = (anx_sgd_options){.lr = 0.5};
    anx_trainer *trainer = bench_trainer(b);
    anx_trainer_groups(trainer)[1].lr = 0.125;
    bench_step(b, trainer, BATCH, 1);
    for (int i = 0; i < b->graph->n_params; i++) {
        const anx_param *p = &b->graph->params[i];
        anx_tensor grad = ANX_TENSOR_INIT;
        ANX_CHECK_OK(anx_tensor_alloc(ANX_F32, p->rank, p->shape, &grad, &err), &err);
        ANX_CHECK_OK(anx_trainer_grad(trainer, i, &grad, &err), &err);
        const float *g = grad.data, *before = b->params[i].data, *after = param_of(trainer, i)->data;
        const float rate = i % 2 == 0 ? 0.25f : 0.125f;
        int wrong = 0;
        for (int64_t j = 0; j < anx_tensor_elems(&grad); j++) wrong += after[j] != fmaf(g[j], -rate, before[j]);
        CU_ASSERT_EQUAL(wrong, 0);
        CU_ASSERT_PTR_NULL(momentum_of(trainer, i));
        anx_tensor_fini(&grad);
    }
    anx_trainer_destroy(trainer);
}

static void groups_have_their_own_rates(void) {
    each_device(check_update);
}

static void check_frozen(bench *b) {
    enum { FROZEN = 5 };
    anx_error err = ANX_ERROR_INIT;
    for (int i = 0; i < FROZEN; i++) b->group_of_param[i] = ANX_TRAINER_FROZEN;
    anx_trainer *trainer = bench_trainer(b);
    for (uint64_t i = 0; i < 3; i++) bench_step(b, trainer, i == 1 ? 2 : BATCH, i);
    for (int i = 0; i < b->graph->n_params; i++) {
        CU_ASSERT_EQUAL(same_tensors(param_of(trainer, i), &b->params[i]), i < FROZEN);
        CU_ASSERT_EQUAL(momentum_of(trainer, i) == NULL, i < FROZEN);
    }
    anx_tensor out = b->params[0];
    ANX_CHECK_STATUS(ANX_ERR_UNSUPPORTED, anx_trainer_grad(trainer, 0, &out, &err), &err);
    ANX_CHECK_STATUS(ANX_ERR_INVALID_ARGUMENT, anx_trainer_set_momentum(trainer, 0, &b->params[0], &err), &err);
    ANX_CHECK_MESSAGE("'features.0.weight' is frozen and has no momentum", &err);
    ANX_CHECK_OK(anx_trainer_set_momentum(trainer, 0, NULL, &err), &err);
    anx_trainer_destroy(trainer);
}

static void frozen_parameters_stay(void) {
    each_device(check_frozen);
}

static void masks_alone_are_drawn(void) {
    bench b;
    bench_open(&b, "exact", 1);
    const int64_t elems = BATCH * anx_graph_node_elems(b.graph, anx_graph_find_node(b.graph, "classifier.0"));
    float *factors = malloc((size_t)elems * sizeof *factors);
    CU_ASSERT_PTR_NOT_NULL_FATAL(factors);
    static const struct {
        bool has;
        double p, drawn;
    } rows[] = {{false, 0.9, 0.5}, {true, 0.0, 0.0}, {true, 0.2, 0.2}, {true, 1.0, 1.0}};
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        b.options.has_dropout = rows[i].has;
        b.options.dropout = rows[i].p;
        anx_trainer *trainer = bench_trainer(&b);
        batch x;
        batch_init(&x, &b, BATCH, 3);
        anx_mt19937 expected = x.gen;
        anx_dropout_factors(&expected, rows[i].drawn, (size_t)elems, factors);
        bench_step_on(trainer, &x);
        CU_ASSERT_EQUAL(anx_mt19937_u64(&x.gen), anx_mt19937_u64(&expected));
        anx_tensor_fini(&x.input);
        anx_trainer_destroy(trainer);
    }
    free(factors);
    bench_fini(&b);
}

static void logits_are_the_last_steps(void) {
    bench b;
    bench_open(&b, "exact", 1);
    anx_trainer *trainer = bench_trainer(&b);
    CU_ASSERT_PTR_NULL(anx_trainer_logits(trainer)->data);
    for (int64_t n = BATCH; n > 0; n -= 2) {
        const anx_trainer_result result = bench_step(&b, trainer, n, 1);
        const anx_tensor *logits = anx_trainer_logits(trainer);
        CU_ASSERT_EQUAL(logits->rank, 2);
        CU_ASSERT_EQUAL(logits->shape[0], n);
        CU_ASSERT_EQUAL(logits->shape[1], 11);
        CU_ASSERT(result.top1 >= 0 && result.top1 <= n);
    }
    anx_trainer_destroy(trainer);
    bench_fini(&b);
}

/* ---- the same steps on other ways ------------------------------------------------------------------------- */

/* A smaller batch is computed as by a trainer for that size, and so is what comes after it. */
static void check_sizes(bench *b) {
    anx_trainer *whole = bench_trainer(b), *parts[3];
    static const int64_t sizes[] = {BATCH, 4, BATCH};
    for (size_t i = 0; i < 3; i++) {
        b->options.batch = sizes[i];
        parts[i] = bench_trainer(b);
        if (i > 0) carry_over(b, parts[i - 1], parts[i]);
        const anx_trainer_result got = bench_step(b, whole, sizes[i], i),
                                 expected = bench_step(b, parts[i], sizes[i], i);
        CU_ASSERT_EQUAL(got.loss, expected.loss);
        CU_ASSERT_EQUAL(got.top1, expected.top1);
        CU_ASSERT_TRUE(same_tensors(anx_trainer_logits(whole), anx_trainer_logits(parts[i])));
        expect_same_state(b, whole, parts[i]);
    }
    for (size_t i = 0; i < 3; i++) anx_trainer_destroy(parts[i]);
    anx_trainer_destroy(whole);
}

static void smaller_batches_are_steps_like_any(void) {
    each_device(check_sizes);
}

static void check_resuming(bench *b) {
    anx_trainer *on = bench_trainer(b), *resumed;
    for (uint64_t i = 0; i < 2; i++) bench_step(b, on, BATCH, i);
    for (int i = 0; i < b->graph->n_params; i++) memset(b->params[i].data, 0, anx_tensor_bytes(&b->params[i]));
    resumed = bench_trainer(b);
    bench_step(b, resumed, BATCH, 77); /* which is forgotten */
    carry_over(b, on, resumed);
    expect_same_state(b, on, resumed);
    for (uint64_t i = 2; i < 4; i++) {
        CU_ASSERT_EQUAL(bench_step(b, on, BATCH, i).loss, bench_step(b, resumed, BATCH, i).loss);
        expect_same_state(b, on, resumed);
    }
    anx_trainer_destroy(on);
    anx_trainer_destroy(resumed);
}

static void resumed_training_is_the_same(void) {
    each_device(check_resuming);
}

/* A frozen parameter that was read where it lies can be set too. */
static void check_setting(bench *b) {
    anx_error err = ANX_ERROR_INIT;
    for (int i = 0; i < b->graph->n_params - 1; i++) b->group_of_param[i] = ANX_TRAINER_FROZEN;
    anx_trainer *set = bench_trainer(b);
    float *weight = b->params[6].data;
    for (int64_t i = 0; i < anx_tensor_elems(&b->params[6]); i++) weight[i] *= 3.0f;
    anx_trainer *expected = bench_trainer(b);
    ANX_CHECK_OK(anx_trainer_set_param(set, 6, &b->params[6], &err), &err);
    for (uint64_t i = 0; i < 2; i++) {
        CU_ASSERT_EQUAL(bench_step(b, set, BATCH, i).loss, bench_step(b, expected, BATCH, i).loss);
        expect_same_state(b, set, expected);
    }
    anx_trainer_destroy(set);
    anx_trainer_destroy(expected);
}

static void frozen_parameters_can_be_set(void) {
    each_device(check_setting);
}

static void threads_change_nothing(void) {
    bench one, two;
    bench_open(&one, "exact", 1);
    bench_open(&two, "exact", 2);
    anx_trainer *x = bench_trainer(&one), *y = bench_trainer(&two);
    for (uint64_t i = 0; i < 3; i++) {
        CU_ASSERT_EQUAL(bench_step(&one, x, BATCH, i).loss, bench_step(&two, y, BATCH, i).loss);
        expect_same_state(&one, x, y);
    }
    anx_trainer_destroy(x);
    anx_trainer_destroy(y);
    bench_fini(&one);
    bench_fini(&two);
}

/* ---- devices with a will of their own --------------------------------------------------------------------- */

static anx_backend altered;
static bool fails; /* what the altered backend then does where it can fail */

static anx_status failing_create(void *device, const anx_plan_desc *desc, void **out, anx_error *err) {
    return fails ? anx_error_set(err, ANX_ERR_DEVICE, "no plan today")
                 : anx_backend_exact.plan_create(device, desc, out, err);
}

static anx_status failing_backward(void *plan, int first, int count, anx_error *err) {
    return fails ? anx_error_set(err, ANX_ERR_DEVICE, "no way back")
                 : anx_backend_exact.plan_run_backward(plan, first, count, err);
}

/* Everything goes through write and read. */
static void memory_need_not_be_shared(void) {
    bench plain, far;
    altered = anx_backend_exact;
    altered.plan_host_pointer = NULL;
    bench_open(&plain, "exact", 1);
    bench_open_backend(&far, &altered);
    anx_trainer *x = bench_trainer(&plain), *y = bench_trainer(&far);
    for (uint64_t i = 0; i < 4; i++) {
        const int64_t n = i == 2 ? 4 : BATCH;
        CU_ASSERT_EQUAL(bench_step(&plain, x, n, i).loss, bench_step(&far, y, n, i).loss);
        expect_same_state(&plain, x, y);
    }
    anx_trainer_destroy(x);
    anx_trainer_destroy(y);
    bench_fini(&plain);
    bench_fini(&far);
}

/* Whatever fails, the step can be made again as if nothing had been. */
static void failed_steps_change_nothing(void) {
    bench plain, b;
    altered = anx_backend_exact;
    altered.plan_create = failing_create;
    altered.plan_run_backward = failing_backward;
    bench_open(&plain, "exact", 1);
    bench_open_backend(&b, &altered);
    anx_trainer *expected = bench_trainer(&plain), *trainer = bench_trainer(&b);
    for (uint64_t i = 0; i < 4; i++) {
        const int64_t n = i == 2 ? 4 : BATCH; /* the last two want another plan */
        anx_error err = ANX_ERROR_INIT;
        anx_trainer_result result = {.loss = -1.0f};
        anx_tensor grad = b.params[0];
        batch x;
        batch_init(&x, &b, n, i);
        const anx_mt19937 gen = x.gen;
        fails = true;
        ANX_CHECK_STATUS(ANX_ERR_DEVICE, anx_trainer_step(trainer, &x.gen, &x.input, x.targets, &result, &err), &err);
        ANX_CHECK_MESSAGE(i < 2 ? "no way back" : "no plan today", &err);
        fails = false;
        CU_ASSERT_EQUAL(result.loss, -1.0f);
        expect_same_state(&b, expected, trainer);
        ANX_CHECK_STATUS(ANX_ERR_INVALID_ARGUMENT, anx_trainer_grad(trainer, 0, &grad, &err), &err);
        x.gen = gen;
        CU_ASSERT_EQUAL(bench_step(&plain, expected, n, i).loss, bench_step_on(trainer, &x).loss);
        expect_same_state(&b, expected, trainer);
        anx_tensor_fini(&x.input);
    }
    anx_trainer_destroy(expected);
    anx_trainer_destroy(trainer);
    bench_fini(&plain);
    bench_fini(&b);
}

static void devices_must_train(void) {
    bench b;
    anx_error err = ANX_ERROR_INIT;
    anx_trainer *trainer = NULL;
    altered = anx_backend_exact;
    altered.plan_run_backward = NULL;
    bench_open_backend(&b, &altered);
    ANX_CHECK_STATUS(ANX_ERR_UNSUPPORTED, anx_trainer_create(&b.options, b.params, &trainer, &err), &err);
    ANX_CHECK_MESSAGE("no plans for training", &err);
    CU_ASSERT_PTR_NULL(trainer);
    bench_fini(&b);
}

/* ---- values that are not finite --------------------------------------------------------------------------- */

typedef struct spoiled {
    const char *param; /* whose element is set; NULL: the input's */
    int64_t element;
    float value;
    anx_nonfinite_kind kind;
    const char *name; /* NULL: any */
    float scale;      /* what the whole parameter is multiplied by before, unless 0 */
} spoiled;

static void spoil(const bench *b, anx_trainer *trainer, batch *x, const spoiled *s) {
    anx_error err = ANX_ERROR_INIT;
    if (s->param == NULL) {
        ((float *)x->input.data)[s->element] = s->value;
        return;
    }
    const int param = anx_graph_find_param(b->graph, s->param);
    anx_tensor values = ANX_TENSOR_INIT;
    ANX_CHECK_OK(anx_tensor_convert(param_of(trainer, param), ANX_F32, &values, &err), &err);
    float *v = values.data;
    for (int64_t i = 0; s->scale != 0.0f && i < anx_tensor_elems(&values); i++) v[i] *= s->scale;
    if (s->element >= 0) v[s->element] = s->value;
    ANX_CHECK_OK(anx_trainer_set_param(trainer, param, &values, &err), &err);
    anx_tensor_fini(&values);
}

static void check_spoiled(bench *b, const spoiled *s) {
    anx_error err = ANX_ERROR_INIT;
    anx_trainer *trainer = bench_trainer(b), *before = bench_trainer(b);
    batch x;
    batch_init(&x, b, BATCH, 1);
    bench_step(b, trainer, BATCH, 0);
    spoil(b, trainer, &x, s);
    carry_over(b, trainer, before);
    const anx_trainer_result result = bench_step_on(trainer, &x);
    CU_ASSERT_FALSE(isfinite(result.loss));
    CU_ASSERT_EQUAL(result.nonfinite.kind, s->kind);
    if (s->name != NULL) CU_ASSERT_STRING_EQUAL(result.nonfinite.name, s->name);
    CU_ASSERT_FALSE(isfinite(result.nonfinite.value));
    if (s->element >= 0) CU_ASSERT_EQUAL(result.nonfinite.element, s->element);
    expect_same_state(b, before, trainer);
    anx_tensor out = b->params[0];
    ANX_CHECK_STATUS(ANX_ERR_INVALID_ARGUMENT, anx_trainer_grad(trainer, 0, &out, &err), &err);
    ANX_CHECK_MESSAGE("no step went backward", &err);
    anx_tensor_fini(&x.input);
    anx_trainer_destroy(trainer);
    anx_trainer_destroy(before);
}

static void check_nonfinite(bench *b) {
    static const spoiled rows[] = {
        {NULL, 4097, NAN, ANX_NONFINITE_INPUT, "input", 0.0f},
        {NULL, 0, INFINITY, ANX_NONFINITE_INPUT, "input", 0.0f},
        {"features.3.weight", 17, NAN, ANX_NONFINITE_PARAM, "features.3.weight", 0.0f},
        {"classifier.3.bias", 2, -NAN, ANX_NONFINITE_PARAM, "classifier.3.bias", 0.0f},
        {"classifier.1.weight", 0, INFINITY, ANX_NONFINITE_PARAM, "classifier.1.weight", 0.0f},
        {"features.0.weight", -1, 0.0f, ANX_NONFINITE_OUTPUT, NULL, 3e38f}, /* a device may fuse what follows */
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) check_spoiled(b, &rows[i]);
}

static void first_nonfinite_value_is_named(void) {
    each_device(check_nonfinite);
}

/* With a device that shows every layer's output. */
static void first_layer_is_named(void) {
    bench b;
    bench_open(&b, "exact", 2);
    check_spoiled(&b, &(spoiled){"features.3.weight", -1, 0.0f, ANX_NONFINITE_OUTPUT, "features.3", 3e38f});
    bench_fini(&b);
}

/* What may be kept: every parameter, the first and the last as well, and every momentum. */
static void check_finite(bench *b) {
    static const float values[] = {NAN, INFINITY, -INFINITY};
    anx_error err = ANX_ERROR_INIT;
    anx_nonfinite found = {.kind = ANX_NONFINITE_LOSS};
    anx_trainer *trainer = bench_trainer(b);
    bench_step(b, trainer, BATCH, 0);
    ANX_CHECK_OK(anx_trainer_fetch(trainer, &err), &err);
    CU_ASSERT_TRUE(anx_trainer_is_finite(trainer, &found));
    CU_ASSERT_EQUAL(found.kind, ANX_NONFINITE_NONE);
    for (int i = 0; i < 2 * b->graph->n_params; i++) {
        const int param = i / 2;
        const bool momentum = i % 2 == 1;
        anx_status (*const set)(anx_trainer *, int, const anx_tensor *, anx_error *) =
            momentum ? anx_trainer_set_momentum : anx_trainer_set_param;
        const anx_tensor *is = momentum ? momentum_of(trainer, param) : param_of(trainer, param);
        anx_tensor good = ANX_TENSOR_INIT, bad = ANX_TENSOR_INIT;
        CU_ASSERT_PTR_NOT_NULL_FATAL(is);
        ANX_CHECK_OK(anx_tensor_convert(is, ANX_F32, &good, &err), &err);
        ANX_CHECK_OK(anx_tensor_convert(is, ANX_F32, &bad, &err), &err);
        const int64_t element = anx_tensor_elems(&bad) - 1;
        ((float *)bad.data)[element] = values[i % 3];
        ANX_CHECK_OK(set(trainer, param, &bad, &err), &err);
        ANX_CHECK_OK(anx_trainer_fetch(trainer, &err), &err);
        CU_ASSERT_FALSE_FATAL(anx_trainer_is_finite(trainer, &found));
        CU_ASSERT_EQUAL(found.kind, ANX_NONFINITE_PARAM);
        CU_ASSERT_STRING_EQUAL(found.name, b->graph->params[param].name);
        CU_ASSERT_EQUAL(found.element, element);
        ANX_CHECK_OK(set(trainer, param, &good, &err), &err);
        CU_ASSERT_TRUE(anx_trainer_is_finite(trainer, &found));
        anx_tensor_fini(&good);
        anx_tensor_fini(&bad);
    }
    anx_trainer_destroy(trainer);
}

static void what_is_not_finite_is_not_to_be_kept(void) {
    each_device(check_finite);
}

/* Finite logits, but farther apart than a float reaches. */
static void loss_alone_can_be_infinite(void) {
    bench b;
    bench_open(&b, "exact", 2);
    const int weight = anx_graph_find_param(b.graph, "classifier.3.weight");
    float *bias = b.params[weight + 1].data;
    memset(b.params[weight].data, 0, anx_tensor_bytes(&b.params[weight]));
    bias[0] = 3e38f;
    bias[1] = -3e38f;
    anx_trainer *trainer = bench_trainer(&b);
    batch x;
    batch_init(&x, &b, BATCH, 1);
    x.targets[0] = 1;
    const anx_trainer_result result = bench_step_on(trainer, &x);
    CU_ASSERT_EQUAL(result.nonfinite.kind, ANX_NONFINITE_LOSS);
    CU_ASSERT_STRING_EQUAL(result.nonfinite.name, "loss");
    CU_ASSERT_FALSE(isfinite(result.nonfinite.value));
    CU_ASSERT_EQUAL(count_changed(&b, trainer), 0);
    anx_tensor_fini(&x.input);
    anx_trainer_destroy(trainer);
    bench_fini(&b);
}

static void check_divergence(bench *b) {
    anx_trainer *trainer = bench_trainer(b);
    anx_trainer_groups(trainer)[0].lr = 1e36;
    CU_ASSERT_EQUAL(bench_step(b, trainer, BATCH, 0).nonfinite.kind, ANX_NONFINITE_NONE);
    const anx_trainer_result result = bench_step(b, trainer, BATCH, 1);
    CU_ASSERT(result.nonfinite.kind == ANX_NONFINITE_PARAM || result.nonfinite.kind == ANX_NONFINITE_OUTPUT);
    CU_ASSERT_FALSE(isfinite(result.loss));
    anx_trainer_destroy(trainer);
}

static void huge_rate_is_told_at_the_next_step(void) {
    each_device(check_divergence);
}

/* ---- errors ------------------------------------------------------------------------------------------------ */

static void refuse_options(const bench *b, const char *message) {
    anx_error err = ANX_ERROR_INIT;
    anx_trainer *trainer = NULL;
    ANX_CHECK_STATUS(ANX_ERR_INVALID_ARGUMENT, anx_trainer_create(&b->options, b->params, &trainer, &err), &err);
    ANX_CHECK_MESSAGE(message, &err);
    CU_ASSERT_PTR_NULL(trainer);
}

static void wrong_options_are_refused(void) {
    bench b;
    bench_open(&b, "exact", 1);
    const anx_trainer_options good = b.options;
    b.options.batch = 0;
    refuse_options(&b, "the batch size is 0");
    b.options = good;
    b.options.label_smoothing = 1.5;
    refuse_options(&b, "label smoothing is 1.5");
    b.options.label_smoothing = NAN;
    refuse_options(&b, "label smoothing is nan");
    b.options = good;
    b.options.has_dropout = true;
    b.options.dropout = -0.5;
    refuse_options(&b, "dropout probability is -0.5");
    b.options = good;
    b.groups[1].lr = -1.0;
    refuse_options(&b, "parameter group 1: SGD's learning rate is -1");
    b.groups[1].lr = 0.0;
    b.group_of_param[3] = 2;
    refuse_options(&b, "'features.3.bias' is in group 2 of 2");
    b.group_of_param[3] = -2;
    refuse_options(&b, "'features.3.bias' is in group -2 of 2");
    for (int i = 0; i < b.graph->n_params; i++) b.group_of_param[i] = ANX_TRAINER_FROZEN;
    refuse_options(&b, "every parameter is frozen");
    b.group_of_param[0] = 0;
    const anx_tensor kept = b.params[2];
    b.params[2].shape[0]--;
    refuse_options(&b, "the values of 'features.3.weight' must be contiguous float32 (22, 5, 3, 5), got float32 (21,");
    b.params[2] = kept;
    b.params[2].dtype = ANX_I32;
    refuse_options(&b, "got int32");
    b.params[2] = kept;
    bench_fini(&b);
}

static void refuse_step(anx_trainer *trainer, batch *x, const char *message) {
    anx_error err = ANX_ERROR_INIT;
    anx_trainer_result result = {.loss = -1.0f};
    const anx_mt19937 gen = x->gen;
    ANX_CHECK_STATUS(ANX_ERR_INVALID_ARGUMENT, anx_trainer_step(trainer, &x->gen, &x->input, x->targets, &result, &err),
                     &err);
    ANX_CHECK_MESSAGE(message, &err);
    CU_ASSERT_EQUAL(result.loss, -1.0f);
    CU_ASSERT_EQUAL(memcmp(&gen, &x->gen, sizeof gen), 0);
}

static void wrong_batches_are_refused(void) {
    bench b;
    batch x;
    bench_open(&b, "exact", 1);
    anx_trainer *trainer = bench_trainer(&b);
    batch_init(&x, &b, BATCH + 1, 1);
    refuse_step(trainer, &x, "(3, 33, 33) each and 1 to 6 of them, got float32 (7, 3, 33, 33)");
    x.input.shape[0] = 0;
    refuse_step(trainer, &x, "got float32 (0, 3, 33, 33)");
    x.input.shape[0] = BATCH;
    x.input.dtype = ANX_F64;
    refuse_step(trainer, &x, "got float64");
    x.input.dtype = ANX_F32;
    x.targets[2] = 11;
    refuse_step(trainer, &x, "11");
    x.targets[2] = 10;
    anx_trainer_groups(trainer)[0].lr = NAN;
    refuse_step(trainer, &x, "learning rate is nan");
    CU_ASSERT_EQUAL(count_changed(&b, trainer), 0);
    anx_tensor_fini(&x.input);
    anx_trainer_destroy(trainer);
    bench_fini(&b);
}

static void wrong_state_is_refused(void) {
    bench b;
    anx_error err = ANX_ERROR_INIT;
    bench_open(&b, "exact", 1);
    anx_trainer *trainer = bench_trainer(&b);
    anx_tensor grad = b.params[0];
    ANX_CHECK_STATUS(ANX_ERR_INVALID_ARGUMENT, anx_trainer_grad(trainer, 0, &grad, &err), &err);
    ANX_CHECK_MESSAGE("there are no gradients", &err);
    ANX_CHECK_STATUS(ANX_ERR_INVALID_ARGUMENT, anx_trainer_grad(trainer, 1, &grad, &err), &err);
    ANX_CHECK_MESSAGE("the gradient of 'features.0.bias'", &err);
    ANX_CHECK_STATUS(ANX_ERR_INVALID_ARGUMENT, anx_trainer_set_param(trainer, 10, &b.params[0], &err), &err);
    ANX_CHECK_MESSAGE("there is no parameter 10", &err);
    ANX_CHECK_STATUS(ANX_ERR_INVALID_ARGUMENT, anx_trainer_set_momentum(trainer, 2, &b.params[0], &err), &err);
    ANX_CHECK_MESSAGE("the momentum of 'features.3.weight'", &err);
    ANX_CHECK_STATUS(ANX_ERR_INVALID_ARGUMENT, anx_trainer_set_momentum(trainer, -1, NULL, &err), &err);
    ANX_CHECK_MESSAGE("there is no parameter -1", &err);
    anx_trainer_destroy(trainer);
    anx_trainer_destroy(NULL);
    bench_fini(&b);
}

int main(int argc, char **argv) {
    static const anx_test tests[] = {
        {"steps lower the loss", steps_lower_the_loss},
        {"groups have their own rates", groups_have_their_own_rates},
        {"frozen parameters stay", frozen_parameters_stay},
        {"masks alone are drawn", masks_alone_are_drawn},
        {"logits are the last step's", logits_are_the_last_steps},
        {"smaller batches are steps like any", smaller_batches_are_steps_like_any},
        {"resumed training is the same", resumed_training_is_the_same},
        {"frozen parameters can be set", frozen_parameters_can_be_set},
        {"threads change nothing", threads_change_nothing},
        {"memory need not be shared", memory_need_not_be_shared},
        {"failed steps change nothing", failed_steps_change_nothing},
        {"devices must train", devices_must_train},
        {"what is not finite is not to be kept", what_is_not_finite_is_not_to_be_kept},
        {"the first value that is not finite is named", first_nonfinite_value_is_named},
        {"the first layer is named", first_layer_is_named},
        {"the loss alone can be infinite", loss_alone_can_be_infinite},
        {"a huge rate is told at the next step", huge_rate_is_told_at_the_next_step},
        {"wrong options are refused", wrong_options_are_refused},
        {"wrong batches are refused", wrong_batches_are_refused},
        {"wrong state is refused", wrong_state_is_refused},
        {NULL, NULL},
    };
    return anx_test_main("trainer", tests, argc, argv);
}
