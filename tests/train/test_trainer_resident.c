/*
 * Training on a device that keeps parameters, gradients and momentum and takes SGD's steps itself: the same bits as
 * where the host does it, whatever is done how late, and what is left when something of it fails.
 */
#include <string.h>

#include "src/train/dropout_mask.h"
#include "tests/support/anx_test.h"
#include "tests/support/deferred_device.h"
#include "tests/train/trainer_bench.h"

/* The same training twice: on exact, and on the deferred device. */
typedef struct pair {
    bench near, far;
    anx_trainer *x, *y;
} pair;

static void pair_open(pair *p) {
    bench_open(&p->near, "exact", 1);
    deferred_fail(DEFERRED_NONE, 0, DEFERRED_AT_CALL);
    bench_open_backend(&p->far, &deferred_backend);
}

static void pair_start(pair *p) {
    p->x = bench_trainer(&p->near);
    p->y = bench_trainer(&p->far);
}

static void pair_close(pair *p) {
    anx_trainer_destroy(p->x);
    anx_trainer_destroy(p->y);
    CU_ASSERT_EQUAL(deferred_blocks(), 0);
    bench_fini(&p->near);
    bench_fini(&p->far);
}

static void pair_step(pair *p, int64_t n, uint64_t seed) {
    const anx_trainer_result a = bench_step(&p->near, p->x, n, seed), b = bench_step(&p->far, p->y, n, seed);
    CU_ASSERT_EQUAL(a.loss, b.loss);
    CU_ASSERT_EQUAL(a.top1, b.top1);
    CU_ASSERT_TRUE(same_tensors(anx_trainer_logits(p->x), anx_trainer_logits(p->y)));
}

/* ---- the same bits ---------------------------------------------------------------------------------------- */

static void check_recipe(const anx_sgd_options groups[2], int frozen) {
    static const int64_t sizes[] = {BATCH, BATCH, 4, 4, BATCH, 1, BATCH};
    pair p;
    pair_open(&p);
    for (int side = 0; side < 2; side++) {
        bench *b = side == 0 ? &p.near : &p.far;
        for (int g = 0; g < 2; g++) b->groups[g] = groups[g];
        for (int i = 0; i < b->graph->n_params; i++) b->group_of_param[i] = i < frozen ? ANX_TRAINER_FROZEN : i % 2;
    }
    pair_start(&p);
    for (uint64_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        pair_step(&p, sizes[i], i);
        if (i % 3 == 2) expect_same_state(&p.near, p.x, p.y); /* and between them nobody looks */
        for (int g = 0; g < 2; g++) anx_trainer_groups(p.x)[g].lr = anx_trainer_groups(p.y)[g].lr *= 0.75;
    }
    expect_same_state(&p.near, p.x, p.y);
    pair_close(&p);
}

static void every_recipe_has_the_same_bits(void) {
    static const anx_sgd_options recipes[][2] = {
        {{.lr = 0.05}, {.lr = 0.1, .weight_decay = 1e-2}},
        {{.lr = 0.05, .momentum = 0.9, .weight_decay = 1e-3}, {.lr = 0.02}},
        {{.lr = 0.05, .momentum = 0.9, .dampening = 0.25}, {.lr = 0.02, .momentum = 0.5, .maximize = true}},
        {{.lr = 0.05, .momentum = 0.9, .nesterov = true, .weight_decay = 1e-3}, {.lr = 0.02, .momentum = 0.8}},
    };
    for (size_t i = 0; i < sizeof recipes / sizeof recipes[0]; i++)
        for (int frozen = 0; frozen < 6; frozen += 5) check_recipe(recipes[i], frozen);
}

/* Momentum that is switched off stays for when it is on again. */
static void momentum_can_rest(void) {
    pair p;
    pair_open(&p);
    pair_start(&p);
    for (uint64_t i = 0; i < 6; i++) {
        for (int g = 0; g < 2; g++)
            anx_trainer_groups(p.x)[g].momentum = anx_trainer_groups(p.y)[g].momentum = i / 2 % 2 == 0 ? 0.9 : 0.0;
        pair_step(&p, i == 3 ? 2 : BATCH, i);
    }
    expect_same_state(&p.near, p.x, p.y);
    pair_close(&p);
}

/* What was fetched goes on elsewhere, from the device and to it. */
static void state_goes_to_and_fro(void) {
    pair p;
    pair_open(&p);
    pair_start(&p);
    for (uint64_t i = 0; i < 2; i++) bench_step(&p.far, p.y, BATCH, i);
    carry_over(&p.near, p.y, p.x);
    for (uint64_t i = 2; i < 4; i++) pair_step(&p, BATCH, i);
    anx_trainer *other = bench_trainer(&p.far);
    bench_step(&p.far, other, BATCH, 77); /* which is forgotten */
    carry_over(&p.far, p.x, other);
    anx_trainer_destroy(p.y);
    p.y = other;
    expect_same_state(&p.near, p.x, p.y);
    for (uint64_t i = 4; i < 6; i++) pair_step(&p, i == 4 ? 3 : BATCH, i);
    expect_same_state(&p.near, p.x, p.y);
    pair_close(&p);
}

/* A parameter that is set while an update runs comes after it, and so does a momentum that is taken away. */
static void setters_come_after_the_update(void) {
    anx_error err = ANX_ERROR_INIT;
    pair p;
    pair_open(&p);
    pair_start(&p);
    pair_step(&p, BATCH, 0);
    for (int side = 0; side < 2; side++) {
        anx_trainer *t = side == 0 ? p.x : p.y;
        ANX_CHECK_OK(anx_trainer_set_param(t, 2, &p.near.params[2], &err), &err);
        ANX_CHECK_OK(anx_trainer_set_momentum(t, 3, &p.near.params[3], &err), &err);
        ANX_CHECK_OK(anx_trainer_set_momentum(t, 4, NULL, &err), &err);
    }
    expect_same_state(&p.near, p.x, p.y);
    pair_step(&p, BATCH, 1);
    pair_step(&p, 5, 2);
    expect_same_state(&p.near, p.x, p.y);
    pair_close(&p);
}

/* ---- what crosses over ------------------------------------------------------------------------------------ */

/* A step waits once; nothing is read but the logits, and written but masks, input and the gradient by the logits. */
static void steps_carry_little(void) {
    bench b;
    bench_open_backend(&b, &deferred_backend);
    anx_trainer *trainer = bench_trainer(&b);
    bench_step(&b, trainer, BATCH, 0);
    deferred_fail(DEFERRED_NONE, 0, DEFERRED_AT_CALL);
    bench_step(&b, trainer, BATCH, 1);
    CU_ASSERT_EQUAL(deferred_count(DEFERRED_SYNC), 1);
    CU_ASSERT_EQUAL(deferred_count(DEFERRED_READ), 1);
    CU_ASSERT_EQUAL(deferred_count(DEFERRED_WRITE), 3);
    CU_ASSERT_EQUAL(deferred_count(DEFERRED_SGD), 1);
    CU_ASSERT_EQUAL(deferred_count(DEFERRED_HOST_ALLOC), 0);
    anx_error err = ANX_ERROR_INIT;
    ANX_CHECK_OK(anx_trainer_fetch(trainer, &err), &err);
    CU_ASSERT_EQUAL(deferred_count(DEFERRED_READ), 1 + 2 * b.graph->n_params);
    ANX_CHECK_OK(anx_trainer_fetch(trainer, &err), &err);
    CU_ASSERT_EQUAL(deferred_count(DEFERRED_READ), 1 + 2 * b.graph->n_params);
    CU_ASSERT_EQUAL(deferred_count(DEFERRED_SYNC), 3);
    anx_trainer_destroy(trainer);
    bench_fini(&b);
}

/* The update does not spoil the gradients that it used. */
static void gradients_can_be_read(void) {
    anx_error err = ANX_ERROR_INIT;
    pair p;
    pair_open(&p);
    pair_start(&p);
    pair_step(&p, BATCH, 0);
    for (int i = 0; i < p.near.graph->n_params; i++) {
        const anx_param *param = &p.near.graph->params[i];
        anx_tensor a = ANX_TENSOR_INIT, b = ANX_TENSOR_INIT;
        ANX_CHECK_OK(anx_tensor_alloc(ANX_F32, param->rank, param->shape, &a, &err), &err);
        ANX_CHECK_OK(anx_tensor_alloc(ANX_F32, param->rank, param->shape, &b, &err), &err);
        ANX_CHECK_OK(anx_trainer_grad(p.x, i, &a, &err), &err);
        ANX_CHECK_OK(anx_trainer_grad(p.y, i, &b, &err), &err);
        CU_ASSERT_TRUE(same_tensors(&a, &b));
        anx_tensor_fini(&a);
        anx_tensor_fini(&b);
    }
    pair_close(&p);
}

/* ---- the device's own masks ------------------------------------------------------------------------------- */

static void device_draws_masks(void) {
    bench b;
    bench_open_backend(&b, &deferred_backend);
    deferred_fail(DEFERRED_NONE, 0, DEFERRED_AT_CALL);
    b.options.device_masks = true;
    anx_trainer *a = bench_trainer(&b), *again = bench_trainer(&b);
    batch x;
    batch_init(&x, &b, BATCH, 3);
    const anx_mt19937 gen = x.gen;
    anx_mt19937 expected = gen;
    const uint64_t seed = anx_mt19937_u64(&expected);
    const float loss = bench_step_on(a, &x).loss;
    CU_ASSERT_EQUAL(memcmp(&x.gen, &expected, sizeof expected), 0);
    CU_ASSERT_EQUAL(deferred_count(DEFERRED_WRITE), 2);
    CU_ASSERT_EQUAL(deferred_count(DEFERRED_MASKS), 1);
    x.gen = gen;
    CU_ASSERT_EQUAL(bench_step_on(again, &x).loss, loss);
    expect_same_state(&b, a, again);
    anx_trainer_destroy(again);
    b.options.device_masks = false; /* the deferred device draws of that seed what PyTorch would */
    again = bench_trainer(&b);
    anx_mt19937_seed(&x.gen, seed);
    CU_ASSERT_EQUAL(bench_step_on(again, &x).loss, loss);
    anx_tensor_fini(&x.input);
    anx_trainer_destroy(a);
    anx_trainer_destroy(again);
    bench_fini(&b);
}

static void devices_must_have_a_generator(void) {
    bench b;
    anx_error err = ANX_ERROR_INIT;
    anx_trainer *trainer = NULL;
    bench_open(&b, "exact", 1);
    b.options.device_masks = true;
    ANX_CHECK_STATUS(ANX_ERR_UNSUPPORTED, anx_trainer_create(&b.options, b.params, &trainer, &err), &err);
    ANX_CHECK_MESSAGE("device 'exact' has no generator of its own for dropout masks", &err);
    CU_ASSERT_PTR_NULL(trainer);
    bench_fini(&b);
}

/* ---- failures --------------------------------------------------------------------------------------------- */

static anx_status try_step(const bench *b, anx_trainer *trainer, int64_t n, uint64_t seed, anx_error *err) {
    batch x;
    anx_trainer_result result = {.loss = -1.0f};
    batch_init(&x, b, n, seed);
    const anx_status status = anx_trainer_step(trainer, &x.gen, &x.input, x.targets, &result, err);
    CU_ASSERT_TRUE(status == ANX_OK || result.loss == -1.0f);
    anx_tensor_fini(&x.input);
    return status;
}

/* Before the update: as if nothing had been, the state behind an earlier update included. */
static void what_fails_before_the_update_changes_nothing(void) {
    static const struct {
        deferred_call call;
        int nth;
        deferred_fault fault;
        int64_t n;
    } rows[] = {
        {DEFERRED_BACKWARD, 1, DEFERRED_AT_CALL, BATCH},
        {DEFERRED_WRITE, 3, DEFERRED_AT_CALL, BATCH}, /* the gradient by the logits */
        {DEFERRED_CREATE, 1, DEFERRED_AT_CALL, 4},    /* once all was fetched */
        {DEFERRED_WRITE, 1, DEFERRED_AT_CALL, 4},     /* momentum, into the new plan */
        {DEFERRED_WRITE, 2, DEFERRED_LATER, 4},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        anx_error err = ANX_ERROR_INIT;
        pair p;
        pair_open(&p);
        pair_start(&p);
        pair_step(&p, BATCH, 0);
        deferred_fail(rows[i].call, rows[i].nth, rows[i].fault);
        ANX_CHECK_STATUS(ANX_ERR_DEVICE, try_step(&p.far, p.y, rows[i].n, 1, &err), &err);
        ANX_CHECK_MESSAGE("the device failed: ", &err);
        deferred_fail(DEFERRED_NONE, 0, DEFERRED_AT_CALL);
        expect_same_state(&p.near, p.x, p.y);
        pair_step(&p, rows[i].n, 1);
        expect_same_state(&p.near, p.x, p.y);
        pair_close(&p);
    }
}

/* Nobody can tell then what was updated: the trainer says so from then on, and gives nothing out. */
static void expect_lost(const bench *b, anx_trainer *trainer) {
    anx_error err = ANX_ERROR_INIT;
    anx_tensor out = b->params[0];
    ANX_CHECK_STATUS(ANX_ERR_DEVICE, try_step(b, trainer, BATCH, 3, &err), &err);
    ANX_CHECK_MESSAGE("an update failed on the device: what the parameters are now is not known", &err);
    ANX_CHECK_STATUS(ANX_ERR_DEVICE, try_step(b, trainer, 2, 3, &err), &err);
    ANX_CHECK_STATUS(ANX_ERR_DEVICE, anx_trainer_fetch(trainer, &err), &err);
    ANX_CHECK_STATUS(ANX_ERR_DEVICE, anx_trainer_set_param(trainer, 0, &b->params[0], &err), &err);
    ANX_CHECK_STATUS(ANX_ERR_DEVICE, anx_trainer_set_momentum(trainer, 0, &b->params[0], &err), &err);
    CU_ASSERT_NOT_EQUAL(anx_trainer_grad(trainer, 0, &out, &err), ANX_OK);
}

static void failed_updates_are_told(void) {
    static const struct {
        deferred_call call; /* in the second step */
        int nth;
        deferred_fault fault;
        const char *says;
    } rows[] = {
        {DEFERRED_SGD, 1, DEFERRED_LATER, "the device failed: SGD"},
        {DEFERRED_SGD, 1, DEFERRED_LOST, "the device failed: SGD"},
        {DEFERRED_BACKWARD, 1, DEFERRED_LATER, "the device failed: backward"},
        {DEFERRED_WRITE, 3, DEFERRED_LATER, "the device failed: write"},
        {DEFERRED_WRITE, 4, DEFERRED_AT_CALL, "the device failed: write"}, /* the third step's, behind the second's */
        {DEFERRED_RUN, 2, DEFERRED_AT_CALL, "the device failed: run"},
        {DEFERRED_READ, 2, DEFERRED_AT_CALL, "the device failed: read"},
        {DEFERRED_SYNC, 2, DEFERRED_AT_CALL, "the device failed: sync"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        for (int way = 0; way < 3; way++) {
            anx_error err = ANX_ERROR_INIT;
            bench b;
            bench_open_backend(&b, &deferred_backend);
            deferred_fail(DEFERRED_NONE, 0, DEFERRED_AT_CALL);
            anx_trainer *trainer = bench_trainer(&b);
            bench_step(&b, trainer, BATCH, 0);
            deferred_fail(rows[i].call, rows[i].nth, rows[i].fault);
            ANX_CHECK_OK(try_step(&b, trainer, BATCH, 1, &err), &err); /* whose update it is */
            const bool by_call = rows[i].fault == DEFERRED_AT_CALL && rows[i].call != DEFERRED_SYNC;
            anx_status status = ANX_OK;
            if (way == 0 || by_call) status = try_step(&b, trainer, BATCH, 2, &err);
            if (way == 1 && !by_call) status = try_step(&b, trainer, 3, 2, &err); /* another plan is wanted */
            if (way == 2 && !by_call) status = anx_trainer_fetch(trainer, &err);
            ANX_CHECK_STATUS(ANX_ERR_DEVICE, status, &err);
            ANX_CHECK_MESSAGE(rows[i].says, &err);
            expect_lost(&b, trainer);
            anx_trainer_destroy(trainer);
            CU_ASSERT_EQUAL(deferred_blocks(), 0);
            bench_fini(&b);
        }
    }
}

static void refused_updates_are_told(void) {
    anx_error err = ANX_ERROR_INIT;
    bench b;
    bench_open_backend(&b, &deferred_backend);
    deferred_fail(DEFERRED_NONE, 0, DEFERRED_AT_CALL);
    anx_trainer *trainer = bench_trainer(&b);
    bench_step(&b, trainer, BATCH, 0);
    deferred_fail(DEFERRED_SGD, 1, DEFERRED_AT_CALL);
    ANX_CHECK_STATUS(ANX_ERR_DEVICE, try_step(&b, trainer, BATCH, 1, &err), &err);
    ANX_CHECK_MESSAGE("the device failed: SGD", &err);
    expect_lost(&b, trainer);
    anx_trainer_destroy(trainer);
    bench_fini(&b);
}

/* A fetch that fails can be made again, unless an update was under way. */
static void fetching_can_fail(void) {
    for (int nth = 1; nth <= 20; nth++) {
        anx_error err = ANX_ERROR_INIT;
        pair p;
        pair_open(&p);
        pair_start(&p);
        pair_step(&p, BATCH, 0);
        anx_tensor grad = ANX_TENSOR_INIT;
        const anx_param *param = &p.far.graph->params[0];
        ANX_CHECK_OK(anx_tensor_alloc(ANX_F32, param->rank, param->shape, &grad, &err), &err);
        ANX_CHECK_OK(anx_trainer_grad(p.y, 0, &grad, &err), &err); /* which waits */
        anx_tensor_fini(&grad);
        deferred_fail(DEFERRED_READ, nth, nth % 2 == 0 ? DEFERRED_AT_CALL : DEFERRED_LATER);
        ANX_CHECK_STATUS(ANX_ERR_DEVICE, anx_trainer_fetch(p.y, &err), &err);
        ANX_CHECK_MESSAGE("the device failed: read", &err);
        expect_same_state(&p.near, p.x, p.y);
        pair_step(&p, BATCH, 1);
        expect_same_state(&p.near, p.x, p.y);
        pair_close(&p);
    }
}

/* Every call of a training that fails, fails it with a sentence, and leaves nothing behind. */
static void any_call_can_fail(void) {
    for (int call = DEFERRED_WRITE; call < DEFERRED_CALLS; call++) {
        bool hit = true;
        for (int nth = 1; hit && nth < 100; nth++) {
            anx_error err = ANX_ERROR_INIT;
            bench b;
            bench_open_backend(&b, &deferred_backend);
            b.options.device_masks = call == DEFERRED_MASKS;
            deferred_fail((deferred_call)call, nth, nth % 2 == 0 ? DEFERRED_AT_CALL : DEFERRED_LATER);
            anx_trainer *trainer = NULL;
            anx_status status = anx_trainer_create(&b.options, b.params, &trainer, &err);
            for (uint64_t i = 0; i < 3 && status == ANX_OK; i++)
                status = try_step(&b, trainer, i == 1 ? 2 : BATCH, i, &err);
            if (status == ANX_OK) status = anx_trainer_fetch(trainer, &err);
            hit = deferred_count((deferred_call)call) >= nth;
            CU_ASSERT_EQUAL(status, hit ? ANX_ERR_DEVICE : ANX_OK);
            if (hit) ANX_CHECK_MESSAGE("the device failed: ", &err);
            anx_trainer_destroy(trainer);
            CU_ASSERT_EQUAL(deferred_blocks(), 0);
            bench_fini(&b);
        }
        CU_ASSERT_FALSE(hit);
    }
}

int main(int argc, char **argv) {
    static const anx_test tests[] = {
        {"every recipe has the same bits", every_recipe_has_the_same_bits},
        {"momentum can rest", momentum_can_rest},
        {"state goes to and fro", state_goes_to_and_fro},
        {"setters come after the update", setters_come_after_the_update},
        {"steps carry little", steps_carry_little},
        {"gradients can be read", gradients_can_be_read},
        {"the device draws masks", device_draws_masks},
        {"devices must have a generator", devices_must_have_a_generator},
        {"what fails before the update changes nothing", what_fails_before_the_update_changes_nothing},
        {"failed updates are told", failed_updates_are_told},
        {"refused updates are told", refused_updates_are_told},
        {"fetching can fail", fetching_can_fail},
        {"any call can fail", any_call_can_fail},
        {NULL, NULL},
    };
    return anx_test_main("trainer_resident", tests, argc, argv);
}
