#include "tests/faults/narrow.h"

#include <math.h>
#include <stdlib.h>

#include "tests/support/anx_test.h"
#include "tests/support/random.h"

anx_model *narrow_model(void) {
    anx_error err = ANX_ERROR_INIT;
    anx_model *model = calloc(1, sizeof *model);
    if (model == NULL) abort();
    ANX_CHECK_OK(anx_graph_create(anx_arch_find("narrow"), 0, NARROW_SIZE, NARROW_SIZE, &model->graph, &err), &err);
    CU_ASSERT_PTR_NOT_NULL_FATAL(model->graph);
    model->params = calloc((size_t)model->graph->n_params, sizeof *model->params);
    if (model->params == NULL) abort();
    test_random r = {.state = 5};
    for (int i = 0; i < model->graph->n_params; i++) {
        const anx_param *p = &model->graph->params[i];
        ANX_CHECK_OK(anx_tensor_alloc(ANX_F32, p->rank, p->shape, &model->params[i], &err), &err);
        float *data = model->params[i].data;
        for (int64_t k = 0; k < anx_tensor_elems(&model->params[i]); k++)
            data[k] = test_random_normal(&r) * (p->is_bias ? 0.2f : 1.4f / sqrtf((float)p->fan_in));
    }
    return model;
}

anx_tensor narrow_input(int64_t batch) {
    const int64_t shape[4] = {batch, 3, NARROW_SIZE, NARROW_SIZE};
    anx_tensor t = ANX_TENSOR_INIT;
    anx_error err = ANX_ERROR_INIT;
    ANX_CHECK_OK(anx_tensor_alloc(ANX_F32, 4, shape, &t, &err), &err);
    test_random r = {.state = 9};
    float *at = t.data;
    for (int64_t n = 0; n < batch; n++)
        for (int c = 0; c < 3; c++)
            for (int y = 0; y < NARROW_SIZE; y++)
                for (int x = 0; x < NARROW_SIZE; x++) {
                    const double slow = sin(0.061 * (x + 3 * c) + (double)n) * cos(0.083 * y);
                    const double fast = 0.7 * sin(0.31 * (x - y) + c + (double)n);
                    *at++ = (float)(slow + fast) + 0.2f * test_random_normal(&r);
                }
    return t;
}

anx_verdicts *narrow_judge(anx_model *model, anx_device *device, int64_t batch) {
    anx_tensor input = narrow_input(batch);
    anx_fixture_case c = {.name = "waves",
                          .quick = true,
                          .shape = {batch, 3, NARROW_SIZE, NARROW_SIZE},
                          .recorded_at_batch = batch,
                          .input_kind = ANX_FIXTURE_INPUT_TENSOR,
                          .tensor = input};
    anx_fixture fixture = {.path = "lent input",
                           .name = "lent input",
                           .kind = ANX_FIXTURE_FORWARD,
                           .arch = "narrow",
                           .num_classes = 11,
                           .model = "none",
                           .cases = &c,
                           .n_cases = 1};
    anx_fixture *items[] = {&fixture};
    const anx_fixture_set set = {.items = items, .count = 1};
    const anx_judge_options options = {.model = model, .fixtures = &set, .device = device, .threads = 1};
    anx_error err = ANX_ERROR_INIT;
    anx_verdicts *verdicts = NULL;
    ANX_CHECK_OK(anx_judge(&options, &verdicts, &err), &err);
    CU_ASSERT_PTR_NOT_NULL_FATAL(verdicts);
    anx_tensor_fini(&input);
    return verdicts;
}
