/*
 * The shipped recordings against the engine: the exact backend gives PyTorch's bits, the reference backend its truth,
 * and evaluations PyTorch's predictions.
 *
 * test_recordings_exact [PARAMS]: with a file of the parameters' raw float32 bytes in graph order, whichever recording
 * fits these is checked; otherwise the seeded models, whose weights are drawn here.
 */
#include <math.h>
#include <string.h>

#include "loaders/file.h"
#include "parity/evaluate.h"
#include "src/backend/backend.h"
#include "src/backend/reference/ops.h"
#include "src/base/threads.h"
#include "src/train/init.h"
#include "tests/parity/recordings.h"
#include "tests/support/anx_test.h"

static const char *params_file;

static const anx_fixture *find(const anx_fixture_set *set, const char *name) {
    for (int i = 0; i < set->count; i++)
        if (strcmp(set->items[i]->name, name) == 0) return set->items[i];
    return NULL;
}

/* A model with drawn weights, or with those of params_file; digests filled in. NULL on failure. */
static anx_model *make_model(int64_t classes, uint64_t seed) {
    anx_error err = ANX_ERROR_INIT;
    anx_mt19937 gen;
    anx_model *model = calloc(1, sizeof *model);
    ANX_CHECK_OK(anx_graph_create(anx_arch_find("alexnet"), classes, 0, 0, &model->graph, &err), &err);
    anx_graph *graph = model->graph;
    model->params = calloc((size_t)graph->n_params, sizeof *model->params);
    model->digests = calloc((size_t)graph->n_params, sizeof *model->digests);
    for (int i = 0; i < graph->n_params; i++) {
        const anx_param *p = &graph->params[i];
        ANX_CHECK_OK(anx_tensor_alloc(ANX_F32, p->rank, p->shape, &model->params[i], &err), &err);
    }
    if (params_file != NULL) {
        anx_file_map map = ANX_FILE_MAP_INIT;
        ANX_CHECK_OK(anx_file_map_init(&map, params_file, &err), &err);
        CU_ASSERT_EQUAL_FATAL(map.n_bytes, (size_t)anx_graph_param_elems(graph) * sizeof(float));
        const uint8_t *from = map.bytes;
        for (int i = 0; i < graph->n_params; from += anx_tensor_bytes(&model->params[i]), i++)
            memcpy(model->params[i].data, from, anx_tensor_bytes(&model->params[i]));
        anx_file_map_fini(&map);
    } else {
        anx_mt19937_seed(&gen, seed);
        ANX_CHECK_OK(anx_init_params(&gen, graph, model->params, &err), &err);
    }
    for (int i = 0; i < graph->n_params; i++)
        ANX_CHECK_OK(anx_tensor_digest(&model->params[i], &model->digests[i], &err), &err);
    return model;
}

static void destroy_model(anx_model *model) {
    for (int i = 0; i < model->graph->n_params; i++) anx_tensor_fini(&model->params[i]);
    free(model->params);
    free(model->digests);
    anx_graph_destroy(model->graph);
    free(model);
}

typedef struct tally {
    int digests, sketches, full;
} tally;

/* What exact gave at a point against the recording: the digest, and whatever else is there. */
static void check_point(const anx_fixture_point *p, const anx_tensor *y, const char *where, tally *t) {
    anx_error err = ANX_ERROR_INIT;
    anx_digest digest = {{0}};
    ANX_CHECK_OK(anx_tensor_digest(y, &digest, &err), &err);
    const bool equal = anx_digest_equal(&digest, &p->digest);
    if (p->pytorch_bits && !equal) fprintf(stderr, "%s: %s: other bits than PyTorch's\n", where, p->name);
    CU_ASSERT_TRUE(!p->pytorch_bits || equal);
    t->digests += p->pytorch_bits;
    if (p->pytorch_bits && p->y32.data != NULL) {
        CU_ASSERT_TRUE(memcmp(p->y32.data, y->data, anx_tensor_bytes(y)) == 0);
        t->full++;
    }
    if (p->sketch == NULL) return;
    anx_fixture_sketch_result result = {0};
    ANX_CHECK_OK(anx_fixture_sketch_compare(p, y->data, &result, &err), &err);
    CU_ASSERT_EQUAL(result.n_nonfinite, 0);
    CU_ASSERT_EQUAL(result.n_inexact, 0);
    CU_ASSERT_TRUE(result.rms < 4.0); /* what PyTorch's own rounding makes, and below the limit of 32 */
    if (p->pytorch_bits) {
        CU_ASSERT_TRUE(fabs(result.rms - result.pytorch_rms) < 1e-3);
        for (int64_t i = 0; i < p->sketch->n_samples; i++)
            CU_ASSERT_EQUAL(((const float *)y->data)[p->sketch->positions[i]], p->sketch->y32[i]);
    }
    t->sketches++;
}

static void check_top(const anx_fixture_case *c, const anx_tensor *prob) {
    const int64_t classes = prob->shape[1];
    for (int64_t n = 0; n < c->shape[0]; n++) {
        const anx_fixture_top *top = c->top + n * ANX_FIXTURE_TOP;
        for (int i = 0; i < ANX_FIXTURE_TOP && i < classes; i++) {
            const float p = ((const float *)prob->data)[n * classes + top[i].index];
            CU_ASSERT_DOUBLE_EQUAL((double)p, (double)top[i].prob, 1e-6 * (double)top[i].prob);
            CU_ASSERT_TRUE(i == 0 || top[i].prob <= top[i - 1].prob);
        }
    }
}

static void check_case(anx_device *device, const anx_model *model, const anx_fixture_case *c, tally *t) {
    anx_error err = ANX_ERROR_INIT;
    anx_graph *graph = NULL;
    anx_plan *plan = NULL;
    anx_tensor input = ANX_TENSOR_INIT;
    const int64_t classes = model->graph->num_classes;
    ANX_CHECK_OK(anx_fixture_case_input(c, &input, NULL, NULL, &err), &err);
    ANX_CHECK_OK(anx_graph_create(model->graph->arch, classes, c->shape[2], c->shape[3], &graph, &err), &err);
    const anx_plan_desc desc = {.graph = graph,
                                .batch = c->shape[0],
                                .mode = ANX_PLAN_OBSERVE,
                                .params = model->params,
                                .n_params = graph->n_params};
    ANX_CHECK_OK(anx_plan_create(device, &desc, &plan, &err), &err);
    ANX_CHECK_OK(anx_plan_write(plan, anx_value_output(ANX_NODE_INPUT), &input, &err), &err);
    ANX_CHECK_OK(anx_plan_run(plan, &err), &err);
    for (int i = 0; i < graph->n_nodes; i++) {
        const anx_fixture_point *p = anx_fixture_case_point(c, graph->nodes[i].layer->name);
        CU_ASSERT_PTR_NOT_NULL_FATAL(p);
        anx_tensor y = ANX_TENSOR_INIT;
        ANX_CHECK_OK(anx_tensor_alloc(ANX_F32, p->rank, p->shape, &y, &err), &err);
        ANX_CHECK_OK(anx_plan_read(plan, anx_value_output(i), &y, &err), &err);
        ANX_CHECK_OK(anx_device_sync(device, &err), &err);
        check_point(p, &y, c->name, t);
        if (i == graph->n_nodes - 1) check_top(c, &y);
        anx_tensor_fini(&y);
    }
    anx_plan_destroy(plan);
    anx_graph_destroy(graph);
    anx_tensor_fini(&input);
}

/* y32 + e64 is what the reference backend computes in double from PyTorch's own input of the layer. */
static void check_truth(const anx_model *model, const anx_fixture_case *c) {
    anx_error err = ANX_ERROR_INIT;
    anx_tensor x = ANX_TENSOR_INIT;
    ANX_CHECK_OK(anx_fixture_case_input(c, &x, NULL, NULL, &err), &err);
    for (int i = 0; i < model->graph->n_nodes; i++) {
        const anx_node *node = &model->graph->nodes[i];
        const anx_fixture_point *p = anx_fixture_case_point(c, node->layer->name);
        const int64_t elems = c->shape[0] * anx_graph_node_elems(model->graph, i);
        double *y64 = malloc((size_t)elems * sizeof *y64);
        anx_tensor y = ANX_TENSOR_INIT;
        ANX_CHECK_OK(anx_tensor_alloc(ANX_F32, p->rank, p->shape, &y, &err), &err);
        ANX_CHECK_OK(anx_reference_node(
                         model->graph, i, c->shape[0], &x, node->weight >= 0 ? &model->params[node->weight] : NULL,
                         node->bias >= 0 ? &model->params[node->bias] : NULL, y64, anx_threads_available(), &err),
                     &err);
        double worst = 0;
        for (int64_t k = 0; k < elems; k++) {
            float *out = (float *)y.data + k;
            *out = p->y32.data != NULL ? ((const float *)p->y32.data)[k] : (float)y64[k];
            if (p->y32.data == NULL) continue;
            const double e = (double)((const float *)p->e64.data)[k];
            /* what is left: e64's own rounding, and double's in either sum */
            const double allowed = fabs(e) * 0x1p-24 + 1e-13 * (1 + fabs(y64[k]));
            worst = fmax(worst, fabs(y64[k] - ((double)*out + e)) / allowed);
        }
        CU_ASSERT_TRUE(worst <= 1.0);
        if (worst > 1.0) fprintf(stderr, "%s: off by %g of what is allowed\n", p->name, worst);
        free(y64);
        anx_tensor_fini(&x);
        x = y;
    }
    anx_tensor_fini(&x);
}

/* ---- evaluations ---------------------------------------------------------------------------------------- */

/* A case's images as files to be evaluated, each labelled with one of the five classes that PyTorch named. */
static const char *image_name(void *context, int64_t i) {
    const anx_fixture_case *c = context;
    return c->images[i].name;
}

static anx_status read_image(void *context, int64_t i, uint8_t **bytes, size_t *n_bytes, anx_error *err) {
    const anx_fixture_image *image = &((const anx_fixture_case *)context)->images[i];
    *bytes = malloc(image->n_bytes + 1);
    if (*bytes == NULL) return anx_error_set(err, ANX_ERR_OUT_OF_MEMORY, "out of memory");
    memcpy(*bytes, image->bytes, image->n_bytes);
    *n_bytes = image->n_bytes;
    return ANX_OK;
}

static int64_t label_of(void *context, int64_t i) {
    const anx_fixture_case *c = context;
    return c->top[i * ANX_FIXTURE_TOP + i % ANX_FIXTURE_TOP].index;
}

static bool nearly(double got, double recorded) {
    return fabs(got - recorded) <= 1e-5 * fabs(recorded);
}

/* Predictions, probabilities and losses as PyTorch recorded them; the order of classes that rounding may turn apart. */
static void check_predictions(const anx_fixture_case *c, const anx_evaluation *e) {
    CU_ASSERT_EQUAL_FATAL(e->n_predictions, c->shape[0]);
    for (int64_t i = 0; i < e->n_predictions; i++) {
        const anx_prediction *p = &e->predictions[i];
        const anx_fixture_top *top = &c->top[i * ANX_FIXTURE_TOP];
        for (int k = 0; k < ANX_FIXTURE_TOP; k++) {
            CU_ASSERT_TRUE(nearly((double)p->probability[k], (double)top[k].prob));
            const bool tied = (k > 0 && nearly((double)top[k].prob, (double)top[k - 1].prob)) ||
                              (k + 1 < ANX_FIXTURE_TOP && nearly((double)top[k].prob, (double)top[k + 1].prob));
            CU_ASSERT_TRUE(p->top[k] == top[k].index || tied);
        }
        const int right = (int)(i % ANX_FIXTURE_TOP);
        CU_ASSERT_TRUE(p->right5);
        CU_ASSERT_TRUE(p->right1 == (right == 0) || p->ambiguous1);
        CU_ASSERT_TRUE(fabs(p->loss + log((double)top[right].prob)) <= 2e-5);
    }
}

static int evaluate_case(anx_device *device, const anx_model *model, const anx_fixture_case *c) {
    const int side = anx_preprocess_torchvision.crop;
    if (c->input_kind != ANX_FIXTURE_INPUT_IMAGES || c->top == NULL || c->shape[2] != side || c->shape[3] != side)
        return 0;
    anx_error err = ANX_ERROR_INIT;
    anx_evaluation e = ANX_EVALUATION_INIT;
    const anx_image_source source = {.read = read_image, .name = image_name, .context = (void *)(uintptr_t)c};
    int64_t files[64];
    for (int64_t i = 0; i < c->shape[0]; i++) files[i] = i;
    const anx_evaluate_options options = {.model = model,
                                          .device = device,
                                          .profile = &anx_preprocess_torchvision,
                                          .source = &source,
                                          .files = files,
                                          .n_files = c->shape[0],
                                          .label = label_of,
                                          .label_context = (void *)(uintptr_t)c,
                                          .batch = 4};
    ANX_CHECK_OK(anx_evaluate(&options, &e, &err), &err);
    check_predictions(c, &e);
    anx_evaluation_fini(&e);
    return 1;
}

static void check_evaluations(const char *device_name, const anx_fixture *f, const anx_model *model) {
    anx_error err = ANX_ERROR_INIT;
    anx_device *device = NULL;
    int cases = 0;
    ANX_CHECK_OK(anx_device_open(device_name, NULL, &device, &err), &err);
    for (int i = 0; i < f->n_cases; i++) cases += evaluate_case(device, model, &f->cases[i]);
    CU_ASSERT_TRUE(cases > 5);
    anx_device_close(device);
}

/* ---- models --------------------------------------------------------------------------------------------- */

static void check_model(const char *name, int64_t classes, uint64_t seed) {
    anx_error err = ANX_ERROR_INIT;
    anx_device *device = NULL;
    anx_fixture_set set = ANX_FIXTURE_SET_INIT;
    anx_fixture_match match = ANX_FIXTURE_MATCH_INIT;
    tally t = {0};
    ANX_CHECK_OK(anx_fixture_set_add(&set, recordings_path(""), &err), &err);
    ANX_CHECK_OK(anx_device_open("exact", NULL, &device, &err), &err);
    const anx_fixture *f = find(&set, name);
    CU_ASSERT_PTR_NOT_NULL_FATAL(f);
    anx_model *model = make_model(classes, seed);
    ANX_CHECK_OK(anx_fixture_match_model(f, model, &match, &err), &err);
    CU_ASSERT_EQUAL(match.n_same, 16);
    CU_ASSERT_EQUAL(match.n_applicable, model->graph->n_nodes);
    for (int i = 0; i < f->n_cases && match.n_same == 16; i++) check_case(device, model, &f->cases[i], &t);
    if (match.n_same == 16) check_truth(model, &f->cases[0]);
    if (match.n_same == 16) check_evaluations("cpu", f, model);
    if (match.n_same == 16) check_evaluations("exact", f, model);
    printf("\n    %s: %d digests, %d sketches, %d tensors in full\n", name, t.digests, t.sketches, t.full);
    CU_ASSERT_TRUE(t.digests > 700 && t.sketches > 30 && t.full >= 9);
    anx_fixture_match_fini(&match);
    destroy_model(model);
    anx_device_close(device);
    anx_fixture_set_fini(&set);
}

static void exact_gives_pytorchs_bits_of_seed_0(void) {
    check_model("alexnet-seed0", 1000, 0);
}

static void exact_gives_pytorchs_bits_of_ten_classes(void) {
    check_model("alexnet-10-seed1", 10, 1);
}

static void exact_gives_pytorchs_bits_of_real_convolutions(void) {
    check_model("alexnet-hybrid", 1000, 0);
}

int main(int argc, char **argv) {
    static const anx_test seeded[] = {
        {"exact gives PyTorch's bits of seed 0", exact_gives_pytorchs_bits_of_seed_0},
        {"exact gives PyTorch's bits of ten classes", exact_gives_pytorchs_bits_of_ten_classes},
        {NULL, NULL},
    };
    static const anx_test hybrid[] = {
        {"exact gives PyTorch's bits of real convolutions", exact_gives_pytorchs_bits_of_real_convolutions},
        {NULL, NULL},
    };
    params_file = argc > 1 ? argv[1] : NULL;
    return anx_test_main("recordings_exact", params_file != NULL ? hybrid : seeded, 1, argv);
}
