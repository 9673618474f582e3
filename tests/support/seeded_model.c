#include "tests/support/seeded_model.h"

#include <stdlib.h>

#include "src/base/mt19937.h"
#include "src/train/init.h"
#include "tests/support/anx_test.h"

anx_model *seeded_model(uint64_t seed, int64_t classes) {
    anx_error err = ANX_ERROR_INIT;
    anx_model *model = calloc(1, sizeof *model);
    if (model == NULL) abort();
    ANX_CHECK_OK(anx_graph_create(anx_arch_find("alexnet"), classes, 0, 0, &model->graph, &err), &err);
    CU_ASSERT_PTR_NOT_NULL_FATAL(model->graph);
    model->params = calloc((size_t)model->graph->n_params, sizeof *model->params);
    if (model->params == NULL) abort();
    for (int i = 0; i < model->graph->n_params; i++) {
        const anx_param *p = &model->graph->params[i];
        ANX_CHECK_OK(anx_tensor_alloc(ANX_F32, p->rank, p->shape, &model->params[i], &err), &err);
    }
    anx_mt19937 gen;
    anx_mt19937_seed(&gen, seed);
    ANX_CHECK_OK(anx_init_params(&gen, model->graph, model->params, &err), &err);
    return model;
}
