#include "src/train/schedule.h"

#include <string.h>

#include "tests/support/anx_test.h"
#include "tests/train/tables/schedules.h"

enum { N_SCHEDULES = sizeof schedules / sizeof schedules[0] };

static anx_scheduler *create(size_t i, double *lr) {
    anx_error err = ANX_ERROR_INIT;
    anx_scheduler *s = NULL;
    lr[0] = 0.01;
    lr[1] = 0.3;
    const anx_scheduler_options *warmup = schedules[i].warm ? &schedules[i].warmup : NULL;
    ANX_CHECK_OK(anx_scheduler_create(&schedules[i].options, warmup, 2, lr, &s, &err), &err);
    CU_ASSERT_PTR_NOT_NULL_FATAL(s);
    return s;
}

static void check_rates(size_t i, int epoch, const double *lr) {
    CU_ASSERT_EQUAL(lr[0], schedules[i].lr[epoch][0]);
    CU_ASSERT_EQUAL(lr[1], schedules[i].lr[epoch][1]);
}

static void rates_are_pytorchs(void) {
    for (size_t i = 0; i < N_SCHEDULES; i++) {
        double lr[2];
        anx_scheduler *s = create(i, lr);
        check_rates(i, 0, lr);
        for (int epoch = 0; epoch < SCHEDULE_EPOCHS; epoch++) {
            anx_scheduler_step(s, schedule_metrics[epoch], lr);
            check_rates(i, epoch + 1, lr);
            CU_ASSERT_EQUAL(memcmp(s->last_lr, lr, sizeof lr), 0);
        }
        anx_scheduler_destroy(s);
    }
}

static void resuming_gives_the_same_rates(void) {
    for (size_t c = 0; c < N_SCHEDULES * SCHEDULE_EPOCHS; c++) {
        const size_t i = c / SCHEDULE_EPOCHS;
        const int stop = (int)(c % SCHEDULE_EPOCHS);
        anx_error err = ANX_ERROR_INIT;
        double lr[2], other[2];
        anx_scheduler *s = create(i, lr);
        for (int epoch = 0; epoch < stop; epoch++) anx_scheduler_step(s, schedule_metrics[epoch], lr);
        anx_scheduler *resumed = create(i, other); /* changes its own rates, which are then restored */
        ANX_CHECK_OK(anx_scheduler_load(resumed, s, &err), &err);
        anx_scheduler_destroy(s);
        for (int epoch = stop; epoch < SCHEDULE_EPOCHS; epoch++) {
            anx_scheduler_step(resumed, schedule_metrics[epoch], lr);
            check_rates(i, epoch + 1, lr);
        }
        anx_scheduler_destroy(resumed);
    }
}

static void names_lead_to_kinds_and_back(void) {
    for (int i = 0; i < ANX_SCHEDULER_KIND_COUNT; i++) {
        anx_scheduler_kind kind = ANX_SCHEDULER_KIND_COUNT;
        const char *name = anx_scheduler_name((anx_scheduler_kind)i);
        CU_ASSERT_PTR_NOT_NULL(anx_scheduler_class((anx_scheduler_kind)i));
        CU_ASSERT_EQUAL(name == NULL, i == ANX_SEQUENTIAL_LR);
        if (name == NULL) continue;
        CU_ASSERT_TRUE(anx_scheduler_find(name, &kind));
        CU_ASSERT_EQUAL((int)kind, i);
        const anx_scheduler_options options = anx_scheduler_defaults(kind);
        CU_ASSERT_EQUAL(options.kind, kind);
        CU_ASSERT_EQUAL(anx_scheduler_options_check(&options, NULL), ANX_OK);
    }
    anx_scheduler_kind kind;
    CU_ASSERT_FALSE(anx_scheduler_find("StepLR", &kind));
}

static void options_are_checked(void) {
    static const struct {
        anx_scheduler_options options;
        const char *message;
    } bad[] = {
        {{.kind = ANX_STEP_LR, .gamma = 0.1}, "step size is 0; it must be 1 or more"},
        {{.kind = ANX_STEP_LR, .step_size = 1, .gamma = NAN}, "gamma is nan"},
        {{.kind = ANX_STEP_LR, .step_size = INT64_MAX}, "but not so many"},
        {{.kind = ANX_MULTI_STEP_LR, .n_milestones = 2, .gamma = 0.1}, "milestones are missing"},
        {{.kind = ANX_EXPONENTIAL_LR, .gamma = INFINITY}, "gamma is inf"},
        {{.kind = ANX_COSINE_ANNEALING_LR}, "T_max is 0"},
        {{.kind = ANX_COSINE_ANNEALING_LR, .t_max = 3, .eta_min = NAN}, "eta_min is nan"},
        {{.kind = ANX_LINEAR_LR, .end_factor = 1.0, .total_iters = 3}, "start factor is 0"},
        {{.kind = ANX_LINEAR_LR, .factor = 0.5, .end_factor = 1.5, .total_iters = 3}, "end factor is 1.5"},
        {{.kind = ANX_LINEAR_LR, .factor = 0.5, .end_factor = 1.0}, "warm-up epochs is 0"},
        {{.kind = ANX_CONSTANT_LR, .factor = 0.0, .total_iters = 3}, "factor is 0"},
        {{.kind = ANX_REDUCE_LR_ON_PLATEAU, .factor = 1.0}, "factor is 1; it must be below 1"},
        {{.kind = ANX_REDUCE_LR_ON_PLATEAU, .factor = 0.1, .patience = -1}, "patience is -1"},
        {{.kind = ANX_SEQUENTIAL_LR}, "not by itself"},
        {{.kind = ANX_SCHEDULER_KIND_COUNT}, "no scheduler of kind 8"},
    };
    anx_error err = ANX_ERROR_INIT;
    anx_scheduler *s = NULL;
    double lr = 0.5;
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        ANX_CHECK_STATUS(ANX_ERR_INVALID_ARGUMENT, anx_scheduler_create(&bad[i].options, NULL, 1, &lr, &s, &err), &err);
        ANX_CHECK_MESSAGE(bad[i].message, &err);
    }
    const anx_scheduler_options step = anx_scheduler_defaults(ANX_STEP_LR),
                                warmup = anx_scheduler_defaults(ANX_LINEAR_LR),
                                plateau = anx_scheduler_defaults(ANX_REDUCE_LR_ON_PLATEAU);
    ANX_CHECK_STATUS(ANX_ERR_INVALID_ARGUMENT, anx_scheduler_create(&plateau, &warmup, 1, &lr, &s, &err), &err);
    ANX_CHECK_MESSAGE("ReduceLROnPlateau cannot follow a warm-up", &err);
    ANX_CHECK_STATUS(ANX_ERR_INVALID_ARGUMENT, anx_scheduler_create(&step, &step, 1, &lr, &s, &err), &err);
    ANX_CHECK_MESSAGE("a warm-up is linear or constant", &err);
    CU_ASSERT_EQUAL(lr, 0.5);
    CU_ASSERT_PTR_NULL(s);
}

static void states_that_do_not_fit_are_refused(void) {
    double lr[2];
    anx_error err = ANX_ERROR_INIT;
    anx_scheduler *step = create(0, lr), *sequential = create(1, lr);
    ANX_CHECK_STATUS(ANX_ERR_MISMATCH, anx_scheduler_load(step, sequential, &err), &err);
    ANX_CHECK_MESSAGE("the state is SequentialLR's, the scheduler is StepLR", &err);

    anx_scheduler state = *step;
    state.n_groups = 3;
    ANX_CHECK_STATUS(ANX_ERR_MISMATCH, anx_scheduler_load(step, &state, &err), &err);
    ANX_CHECK_MESSAGE("for 3 parameter groups, the optimizer has 2", &err);
    state = *step;
    state.last_epoch = -2;
    ANX_CHECK_STATUS(ANX_ERR_INVALID_ARGUMENT, anx_scheduler_load(step, &state, &err), &err);
    ANX_CHECK_MESSAGE("-2 as its last_epoch", &err);
    state = *step;
    state.options.step_size = 0;
    ANX_CHECK_STATUS(ANX_ERR_INVALID_ARGUMENT, anx_scheduler_load(step, &state, &err), &err);
    state = *step;
    state.base_lrs = NULL;
    ANX_CHECK_STATUS(ANX_ERR_INVALID_ARGUMENT, anx_scheduler_load(step, &state, &err), &err);
    ANX_CHECK_MESSAGE("lacks its rates", &err);

    anx_scheduler *plateau = create(N_SCHEDULES - 1, lr);
    CU_ASSERT_EQUAL_FATAL(plateau->options.kind, ANX_REDUCE_LR_ON_PLATEAU);
    state = *plateau;
    state.num_bad_epochs = -2;
    ANX_CHECK_STATUS(ANX_ERR_INVALID_ARGUMENT, anx_scheduler_load(plateau, &state, &err), &err);
    ANX_CHECK_MESSAGE("num_bad_epochs", &err);
    anx_scheduler_destroy(plateau);

    anx_scheduler inner[2] = {sequential->schedulers[0], sequential->schedulers[1]};
    inner[1].options.kind = ANX_EXPONENTIAL_LR;
    state = *sequential;
    state.schedulers = inner;
    ANX_CHECK_STATUS(ANX_ERR_MISMATCH, anx_scheduler_load(sequential, &state, &err), &err);
    ANX_CHECK_MESSAGE("the state is ExponentialLR's, the scheduler is StepLR", &err);
    CU_ASSERT_EQUAL(sequential->schedulers[1].options.kind, ANX_STEP_LR);
    anx_scheduler_destroy(step);
    anx_scheduler_destroy(sequential);
}

int main(int argc, char **argv) {
    static const anx_test tests[] = {
        {"rates are PyTorch's doubles", rates_are_pytorchs},
        {"resuming at any epoch gives the same rates", resuming_gives_the_same_rates},
        {"names lead to kinds and back", names_lead_to_kinds_and_back},
        {"options are checked", options_are_checked},
        {"states that do not fit are refused", states_that_do_not_fit_are_refused},
        {NULL, NULL},
    };
    return anx_test_main("schedule", tests, argc, argv);
}
