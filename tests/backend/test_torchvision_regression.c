/* torchvision's own regression test of AlexNet: weights and input from one stream of random numbers, fifty logits. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "src/backend/backend.h"
#include "src/train/init.h"
#include "tests/support/anx_test.h"

enum { classes = 50 };

typedef struct expected_logits {
    float torch[classes];
    double truth[classes];
} expected_logits;

static void read_expected(expected_logits *out) {
    const char *source = getenv("ANX_SOURCE_DIR");
    char path[4096], line[256];
    snprintf(path, sizeof path, "%s/tests/backend/torchvision_alexnet_logits.txt", source != NULL ? source : ".");
    FILE *f = fopen(path, "r");
    CU_ASSERT_PTR_NOT_NULL_FATAL(f);
    int n = 0, index;
    while (fgets(line, sizeof line, f) != NULL) {
        if (line[0] == '#') continue;
        CU_ASSERT_FATAL(n < classes && sscanf(line, "%d %a %lf", &index, &out->torch[n], &out->truth[n]) == 3);
        CU_ASSERT_EQUAL(index, n);
        n++;
    }
    fclose(f);
    CU_ASSERT_EQUAL_FATAL(n, classes);
}

/* What the regression test draws: the parameters, then the input. */
typedef struct drawn {
    anx_graph *graph;
    anx_tensor *params;
    anx_tensor input;
} drawn;

static drawn draw(void) {
    anx_error err = ANX_ERROR_INIT;
    drawn d = {.input = ANX_TENSOR_INIT};
    anx_mt19937 gen;
    anx_mt19937_seed(&gen, 0);
    ANX_CHECK_OK(anx_graph_create(anx_arch_find("alexnet"), classes, 0, 0, &d.graph, &err), &err);
    d.params = calloc((size_t)d.graph->n_params, sizeof *d.params);
    CU_ASSERT_PTR_NOT_NULL_FATAL(d.params);
    for (int i = 0; i < d.graph->n_params; i++) {
        const anx_param *p = &d.graph->params[i];
        ANX_CHECK_OK(anx_tensor_alloc(ANX_F32, p->rank, p->shape, &d.params[i], &err), &err);
    }
    ANX_CHECK_OK(anx_init_params(&gen, d.graph, d.params, &err), &err);
    ANX_CHECK_OK(anx_tensor_alloc(ANX_F32, 4, (const int64_t[]){1, 3, 224, 224}, &d.input, &err), &err);
    anx_mt19937_uniform_f32(&gen, (size_t)anx_tensor_elems(&d.input), 0.0f, 1.0f, d.input.data);
    return d;
}

static void drawn_fini(drawn *d) {
    for (int i = 0; i < d->graph->n_params; i++) anx_tensor_fini(&d->params[i]);
    free(d->params);
    anx_tensor_fini(&d->input);
    anx_graph_destroy(d->graph);
}

static void forward(const drawn *d, const char *device_name, float got[classes]) {
    anx_error err = ANX_ERROR_INIT;
    anx_device *device = NULL;
    anx_plan *plan = NULL;
    const anx_plan_desc desc = {
        .graph = d->graph, .batch = 1, .mode = ANX_PLAN_INFER, .params = d->params, .n_params = d->graph->n_params};
    anx_tensor logits = anx_tensor_view(ANX_F32, 2, (const int64_t[]){1, classes}, got);
    ANX_CHECK_OK(anx_device_open(device_name, NULL, &device, &err), &err);
    CU_ASSERT_PTR_NOT_NULL_FATAL(device);
    ANX_CHECK_OK(anx_plan_create(device, &desc, &plan, &err), &err);
    CU_ASSERT_PTR_NOT_NULL_FATAL(plan);
    ANX_CHECK_OK(anx_plan_forward(plan, &d->input, &logits, &err), &err);
    anx_plan_destroy(plan);
    anx_device_close(device);
}

/*
 * torchvision allows 1e-3 where the logits are some 1e-2. PyTorch's own float32 values lie within 9e-9 of the double
 * ones; another correct float32 engine within a few times that.
 */
static void every_device_gives_torchvisions_logits(void) {
    static const struct {
        const char *device;
        double limit;
    } cases[] = {{"reference", 1e-9}, {"exact", 4e-8}, {"cpu", 4e-8}};
    expected_logits expected;
    read_expected(&expected);
    drawn d = draw();
    for (size_t c = 0; c < sizeof cases / sizeof cases[0]; c++) {
        float got[classes];
        forward(&d, cases[c].device, got);
        double worst = 0, from_torch = 0;
        for (int i = 0; i < classes; i++) {
            worst = fmax(worst, fabs((double)got[i] - expected.truth[i]));
            from_torch = fmax(from_torch, fabs((double)got[i] - (double)expected.torch[i]));
        }
        printf("%s: off by %.1e, from PyTorch by %.1e ... ", cases[c].device, worst, from_torch);
        CU_ASSERT_TRUE(worst <= cases[c].limit);
        CU_ASSERT_TRUE(from_torch <= 4e-8);
    }
    drawn_fini(&d);
}

int main(int argc, char **argv) {
    static const anx_test tests[] = {
        {"every device gives the logits of torchvision's regression test", every_device_gives_torchvisions_logits},
        {NULL, NULL},
    };
    return anx_test_main("torchvision_regression", tests, argc, argv);
}
