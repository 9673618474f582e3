/* What the benchmark times as a step of training is the whole of it, on a device that returns early too. */
#include "tests/support/anx_test.h"
#include "tests/support/deferred_device.h"
#include "tests/train/trainer_bench.h"
#include "tools/benchmark/learner.h"

/* What fails only when it is waited for is told by the step itself: so it was waited for. */
static void test_to_the_end(void) {
    static const deferred_call calls[] = {DEFERRED_BACKWARD, DEFERRED_SGD};
    anx_error err = ANX_ERROR_INIT;
    for (size_t i = 0; i < sizeof calls / sizeof calls[0]; i++) {
        bench b;
        bench_learner l;
        deferred_fail(DEFERRED_NONE, 0, DEFERRED_AT_CALL);
        bench_open_backend(&b, &deferred_backend);
        ANX_CHECK_OK(bench_learner_init(&l, b.graph, b.params, b.device, BATCH, BENCH_TRAIN_ALL, &err), &err);
        ANX_CHECK_OK(bench_learner_step(&l, &err), &err);
        deferred_fail(calls[i], 1, DEFERRED_LATER);
        CU_ASSERT_EQUAL(bench_learner_step(&l, &err), ANX_ERR_DEVICE);
        CU_ASSERT_EQUAL(deferred_count(calls[i]), 1);
        bench_learner_fini(&l);
        bench_fini(&b);
    }
    deferred_fail(DEFERRED_NONE, 0, DEFERRED_AT_CALL);
}

int main(int argc, char **argv) {
    static const anx_test tests[] = {{"a step is timed to the end of its update", test_to_the_end}, {NULL, NULL}};
    return anx_test_main("the benchmark's learner", tests, argc, argv);
}
