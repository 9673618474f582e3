/*
 * Dumps of other engines before the judge, on the narrow network. What stands for PyTorch's values is what the exact
 * backend gives.
 */
#include "parity/judge.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "loaders/checkpoint/safetensors.h"
#include "parity/metrics.h"
#include "src/backend/reference/ops.h"
#include "tests/parity/judge_support.h"
#include "tests/parity/narrow_recording.h"
#include "tests/support/anx_test.h"

typedef struct dump {
    anx_state_dict tensors;
    narrow_recording r;
} dump;

/* What the exact backend gives at every node, by name, and the input. */
static dump dump_make(int64_t batch) {
    anx_error err = ANX_ERROR_INIT;
    dump d = {.tensors = ANX_STATE_DICT_INIT, .r = narrow_recording_make(batch)};
    anx_tensor t = ANX_TENSOR_INIT;
    ANX_CHECK_OK(anx_tensor_convert(&d.r.input, ANX_F32, &t, &err), &err);
    ANX_CHECK_OK(anx_state_dict_add(&d.tensors, "input", &t, &err), &err);
    for (int node = 0; node < d.r.model->graph->n_nodes; node++) {
        ANX_CHECK_OK(anx_tensor_convert(&d.r.y32[node], ANX_F32, &t, &err), &err);
        ANX_CHECK_OK(anx_state_dict_add(&d.tensors, d.r.model->graph->nodes[node].layer->name, &t, &err), &err);
    }
    return d;
}

static void dump_free(dump *d) {
    anx_state_dict_fini(&d->tensors);
    narrow_recording_free(&d->r);
}

static float *dump_values(dump *d, const char *name) {
    return (float *)anx_state_dict_find(&d->tensors, name)->data;
}

static void dump_remove(dump *d, const char *name) {
    anx_error err = ANX_ERROR_INIT;
    anx_state_dict rest = ANX_STATE_DICT_INIT;
    CU_ASSERT_PTR_NOT_NULL(anx_state_dict_find(&d->tensors, name));
    for (size_t i = 0; i < d->tensors.count; i++) {
        anx_named_tensor *t = &d->tensors.items[i];
        if (strcmp(t->name, name) == 0) continue;
        ANX_CHECK_OK(anx_state_dict_add(&rest, t->name, &t->tensor, &err), &err);
        t->tensor.owned = NULL; /* taken over */
    }
    anx_state_dict_fini(&d->tensors);
    d->tensors = rest;
}

static anx_verdicts *judge_dump(dump *d) {
    anx_error err = ANX_ERROR_INIT;
    const char *path = anx_test_path("dump.safetensors");
    ANX_CHECK_OK(anx_safetensors_write(path, &d->tensors, NULL, 0, true, &err), &err);
    return narrow_judge(&(anx_judge_options){.model = d->r.model, .against = path});
}

static void test_dump_passes(void) {
    dump d = dump_make(2);
    anx_verdicts *v = judge_dump(&d);
    CU_ASSERT_EQUAL(v->overall, ANX_VERDICT_PASS);
    CU_ASSERT_STRING_EQUAL(v->device.backend, "dump");
    for (int node = 0; node < d.r.model->graph->n_nodes; node++)
        CU_ASSERT_EQUAL(verdict_of(v, ANX_PATH_AGAINST, d.r.model->graph->nodes[node].layer->name), ANX_VERDICT_PASS);
    CU_ASSERT_PTR_NULL(find_judged(v, ANX_PATH_OBSERVE, "features.0"));
    CU_ASSERT_EQUAL(verdict_of(v, ANX_PATH_RESULT, "top-5"), ANX_VERDICT_PASS);
    anx_verdicts_destroy(v);
    dump_free(&d);
}

/* A fault in one layer is found there alone, though all later values follow from it. */
static void test_dump_faults_are_placed(void) {
    dump d = dump_make(2);
    float *y = dump_values(&d, "features.3");
    for (int i = 0; i < 200; i++) y[i] *= 1.01f;
    anx_verdicts *v = judge_dump(&d);
    CU_ASSERT_STRING_EQUAL(first_bad(v), "features.3");
    CU_ASSERT_EQUAL(verdict_of(v, ANX_PATH_AGAINST, "features.0"), ANX_VERDICT_PASS);
    CU_ASSERT_EQUAL(verdict_of(v, ANX_PATH_AGAINST, "features.5"), ANX_VERDICT_PASS);
    anx_verdicts_destroy(v);
    dump_free(&d);

    d = dump_make(2); /* recorded after ReLU(inplace=True) */
    memcpy(dump_values(&d, "features.0"), dump_values(&d, "features.1"),
           anx_tensor_bytes(anx_state_dict_find(&d.tensors, "features.0")));
    v = judge_dump(&d);
    CU_ASSERT_STRING_EQUAL(first_bad(v), "features.0");
    CU_ASSERT_TRUE(names_cause(&v->judged[v->first_bad], "relu-in-place"));
    CU_ASSERT_EQUAL(v->counts[ANX_VERDICT_FAIL], 1);
    anx_verdicts_destroy(v);
    dump_free(&d);
}

static void test_dump_in_parts(void) {
    /* an engine that fuses convolution and ReLU shows only the latter: the sum's own bound holds behind it */
    dump d = dump_make(2);
    dump_remove(&d, "features.0");
    dump_remove(&d, "features.3");
    dump_remove(&d, "features.4");
    anx_verdicts *v = judge_dump(&d);
    CU_ASSERT_EQUAL(v->overall, ANX_VERDICT_PASS);
    CU_ASSERT_EQUAL(find_judged(v, ANX_PATH_AGAINST, "features.1")->versus[0].bound, ANX_BOUND_SUM);
    CU_ASSERT_EQUAL(find_judged(v, ANX_PATH_AGAINST, "features.5")->versus[0].bound, ANX_BOUND_CHAIN);
    anx_verdicts_destroy(v);
    float *y = dump_values(&d, "features.1");
    for (int i = 0; i < 50; i++) y[i] += 0.001f;
    v = judge_dump(&d);
    CU_ASSERT_STRING_EQUAL(first_bad(v), "features.1");
    anx_verdicts_destroy(v);
    dump_free(&d);

    /* the ends alone */
    d = dump_make(1);
    for (int node = 0; node < d.r.model->graph->n_nodes; node++)
        if (node != d.r.model->graph->logits) dump_remove(&d, d.r.model->graph->nodes[node].layer->name);
    v = judge_dump(&d);
    CU_ASSERT_EQUAL(v->overall, ANX_VERDICT_PASS);
    CU_ASSERT_EQUAL(find_judged(v, ANX_PATH_AGAINST, "classifier.3")->versus[0].bound, ANX_BOUND_CHAIN);
    anx_verdicts_destroy(v);
    y = dump_values(&d, "classifier.3");
    for (int i = 0; i < 11; i++) y[i] = anx_bf16_to_f32(anx_f32_to_bf16(y[i]));
    v = judge_dump(&d);
    CU_ASSERT_EQUAL(verdict_of(v, ANX_PATH_AGAINST, "classifier.3"), ANX_VERDICT_FAIL);
    anx_verdicts_destroy(v);
    dump_free(&d);

    /* no input: the first point cannot be judged, the others can */
    d = dump_make(2);
    dump_remove(&d, "input");
    v = judge_dump(&d);
    CU_ASSERT_EQUAL(verdict_of(v, ANX_PATH_AGAINST, "features.0"), ANX_VERDICT_SKIP);
    CU_ASSERT_EQUAL(verdict_of(v, ANX_PATH_AGAINST, "features.3"), ANX_VERDICT_PASS);
    CU_ASSERT_PTR_NULL(find_judged(v, ANX_PATH_RESULT, "top-5"));
    anx_verdicts_destroy(v);
    dump_free(&d);
}

/* The classes of the first image's logits, largest first. */
static void rank(const float *logits, int n, int *order) {
    for (int i = 0; i < n; i++) order[i] = i;
    for (int i = 0; i < n; i++)
        for (int k = i + 1; k < n; k++)
            if (logits[order[k]] > logits[order[i]]) {
                const int t = order[i];
                order[i] = order[k];
                order[k] = t;
            }
}

static void test_top5(void) {
    int order[11];
    dump d = dump_make(1);
    float *y = dump_values(&d, "classifier.3");
    rank(y, 11, order);
    const float first = y[order[0]];
    y[order[0]] = y[order[1]]; /* the first two classes change places */
    y[order[1]] = first;
    anx_verdicts *v = judge_dump(&d);
    CU_ASSERT_EQUAL(verdict_of(v, ANX_PATH_RESULT, "top-5"), ANX_VERDICT_FAIL);
    CU_ASSERT_FALSE(v->top5[0].same_top1);
    CU_ASSERT_TRUE(v->top5[0].same_set);
    CU_ASSERT_EQUAL(v->top5[0].judged[0].index, order[1]);
    CU_ASSERT_EQUAL(v->top5[0].other[0].index, order[0]);
    anx_verdicts_destroy(v);
    dump_free(&d);

    /* two classes with one output's weights: rounding alone decides, and either order is right */
    d = dump_make(1);
    anx_model *tied = narrow_model_make();
    const int w = anx_graph_find_param(tied->graph, "classifier.3.weight");
    const int b = anx_graph_find_param(tied->graph, "classifier.3.bias");
    const size_t n = (size_t)tied->params[w].shape[1];
    float *rows = tied->params[w].data, *bias = tied->params[b].data;
    memcpy(rows + (size_t)order[1] * n, rows + (size_t)order[0] * n, n * sizeof *rows);
    bias[order[1]] = bias[order[0]];
    y = dump_values(&d, "classifier.3");
    const int later = order[0] > order[1] ? order[0] : order[1];
    y[order[1]] = y[order[0]];
    y[later] = nextafterf(y[later], INFINITY);
    const char *path = anx_test_path("tied.safetensors");
    anx_error err = ANX_ERROR_INIT;
    ANX_CHECK_OK(anx_safetensors_write(path, &d.tensors, NULL, 0, true, &err), &err);
    v = narrow_judge(&(anx_judge_options){.model = tied, .against = path});
    CU_ASSERT_EQUAL(verdict_of(v, ANX_PATH_RESULT, "top-5"), ANX_VERDICT_PASS);
    CU_ASSERT_FALSE(v->top5[0].same_order);
    CU_ASSERT_TRUE(v->top5[0].ambiguous_top1);
    CU_ASSERT_TRUE(find_judged(v, ANX_PATH_RESULT, "top-5")->ties >= 1);
    anx_verdicts_destroy(v);
    anx_model_destroy(tied);
    dump_free(&d);
}

/* Puts zeros into the dump, in place of what it may have under this name. */
static void dump_put(dump *d, const char *name, anx_dtype dtype, int rank, const int64_t *shape) {
    anx_error err = ANX_ERROR_INIT;
    anx_tensor t = ANX_TENSOR_INIT;
    ANX_CHECK_OK(anx_tensor_alloc(dtype, rank, shape, &t, &err), &err);
    memset(t.data, 0, anx_tensor_bytes(&t));
    if (anx_state_dict_find(&d->tensors, name) != NULL) dump_remove(d, name);
    ANX_CHECK_OK(anx_state_dict_add(&d->tensors, name, &t, &err), &err);
}

static void test_dump_is_wrong(void) {
    anx_error err = ANX_ERROR_INIT;
    anx_verdicts *v = NULL;
    dump d = dump_make(1);
    dump_put(&d, "features.2", ANX_F32, 4, (const int64_t[]){1, 10, 8, 9});
    v = judge_dump(&d);
    const anx_judged *j = find_judged(v, ANX_PATH_AGAINST, "features.2");
    CU_ASSERT_EQUAL(j->verdict, ANX_VERDICT_FAIL);
    CU_ASSERT_PTR_NOT_NULL(strstr(j->reason, "float32 (1, 10, 8, 9) in the dump where the layer gives (1, 10, 8, 8)"));
    CU_ASSERT_EQUAL(verdict_of(v, ANX_PATH_AGAINST, "features.3"), ANX_VERDICT_PASS);
    anx_verdicts_destroy(v);
    dump_free(&d);

    d = dump_make(1); /* values kept as half precision */
    anx_tensor half = ANX_TENSOR_INIT;
    ANX_CHECK_OK(anx_tensor_convert(anx_state_dict_find(&d.tensors, "features.3"), ANX_F16, &half, &err), &err);
    dump_remove(&d, "features.3");
    ANX_CHECK_OK(anx_state_dict_add(&d.tensors, "features.3", &half, &err), &err);
    v = judge_dump(&d);
    CU_ASSERT_EQUAL(verdict_of(v, ANX_PATH_AGAINST, "features.3"), ANX_VERDICT_FAIL);
    CU_ASSERT_TRUE(names_cause(find_judged(v, ANX_PATH_AGAINST, "features.3"), "dump-dtype"));
    anx_verdicts_destroy(v);

    const char *path = anx_test_path("wrong.safetensors");
    const anx_judge_options options = {.model = d.r.model, .against = path};
    dump_put(&d, "features.0", ANX_I64, 4, (const int64_t[]){1, 10, 17, 17});
    ANX_CHECK_OK(anx_safetensors_write(path, &d.tensors, NULL, 0, true, &err), &err);
    ANX_CHECK_STATUS(ANX_ERR_UNSUPPORTED, anx_judge(&options, &v, &err), &err);
    ANX_CHECK_MESSAGE("entry 'features.0': holds int64 values; activations must be floating point", &err);

    dump_put(&d, "input", ANX_F32, 4, (const int64_t[]){1, 4, 33, 33});
    ANX_CHECK_OK(anx_safetensors_write(path, &d.tensors, NULL, 0, true, &err), &err);
    ANX_CHECK_STATUS(ANX_ERR_MISMATCH, anx_judge(&options, &v, &err), &err);
    ANX_CHECK_MESSAGE("entry 'input': is (1, 4, 33, 33); expected (N, 3, H, W)", &err);
    dump_free(&d);

    anx_state_dict none = ANX_STATE_DICT_INIT;
    anx_tensor t = ANX_TENSOR_INIT;
    anx_model *model = narrow_model_make();
    ANX_CHECK_OK(anx_tensor_alloc(ANX_F32, 1, (const int64_t[]){3}, &t, &err), &err);
    memset(t.data, 0, anx_tensor_bytes(&t));
    ANX_CHECK_OK(anx_state_dict_add(&none, "conv1", &t, &err), &err);
    ANX_CHECK_OK(anx_safetensors_write(path, &none, NULL, 0, true, &err), &err);
    ANX_CHECK_STATUS(ANX_ERR_NOT_FOUND, anx_judge(&(anx_judge_options){.model = model, .against = path}, &v, &err),
                     &err);
    ANX_CHECK_MESSAGE("the dump has no tensor named as one of the points", &err);
    anx_model_destroy(model);
    anx_state_dict_fini(&none);
}

/* A dump of which nothing can be judged is trouble: it must not look like one that passed. */
static void test_dump_without_anything_to_judge(void) {
    static const struct {
        const char *kept, *message;
    } rows[] = {
        {"input", "nothing in the dump can be judged: a point needs 'input', or a point before it, beside it; it "
                  "holds: input"},
        {"classifier.3", "nothing in the dump can be judged: a point needs 'input', or a point before it, beside it; "
                         "it holds: classifier.3"},
    };
    anx_error err = ANX_ERROR_INIT;
    anx_verdicts *v = NULL;
    const char *path = anx_test_path("nothing.safetensors");
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        dump d = dump_make(1);
        for (int node = 0; node < d.r.model->graph->n_nodes; node++) {
            const char *name = d.r.model->graph->nodes[node].layer->name;
            if (strcmp(name, rows[i].kept) != 0) dump_remove(&d, name);
        }
        if (strcmp(rows[i].kept, "input") != 0) dump_remove(&d, "input");
        ANX_CHECK_OK(anx_safetensors_write(path, &d.tensors, NULL, 0, true, &err), &err);
        const anx_judge_options options = {.model = d.r.model, .against = path};
        ANX_CHECK_STATUS(ANX_ERR_NOT_FOUND, anx_judge(&options, &v, &err), &err);
        ANX_CHECK_MESSAGE(rows[i].message, &err);
        CU_ASSERT_PTR_NULL(v);
        dump_free(&d);
    }
    dump d = dump_make(1); /* all there, and none asked for */
    ANX_CHECK_OK(anx_safetensors_write(path, &d.tensors, NULL, 0, true, &err), &err);
    const anx_judge_options options = {.model = d.r.model, .against = path, .points = "crop"};
    ANX_CHECK_STATUS(ANX_ERR_NOT_FOUND, anx_judge(&options, &v, &err), &err);
    ANX_CHECK_MESSAGE("no point of the dump that matches 'crop' can be judged", &err);
    dump_free(&d);
}

static void test_dump_names_what_is_no_point(void) {
    dump d = dump_make(1);
    dump_put(&d, "conv2", ANX_F32, 1, (const int64_t[]){3});
    anx_verdicts *v = judge_dump(&d);
    CU_ASSERT_EQUAL(v->overall, ANX_VERDICT_PASS);
    const anx_judged *j = find_judged(v, ANX_PATH_RECORDINGS, "dump");
    CU_ASSERT_PTR_NOT_NULL_FATAL(j);
    CU_ASSERT_EQUAL(j->verdict, ANX_VERDICT_INFO);
    CU_ASSERT_STRING_EQUAL(j->reason, "these tensors have no point's name and are not judged: conv2");
    anx_verdicts_destroy(v);
    v = narrow_judge(
        &(anx_judge_options){.model = d.r.model, .against = anx_test_path("dump.safetensors"), .strict = true});
    CU_ASSERT_EQUAL(v->overall, ANX_VERDICT_FAIL);
    anx_verdicts_destroy(v);
    dump_remove(&d, "conv2");
    dump_put(&d, "scaled", ANX_F32, 3, (const int64_t[]){3, 2, 2}); /* anx-parity dump writes this one */
    v = judge_dump(&d);
    CU_ASSERT_PTR_NULL(find_judged(v, ANX_PATH_RECORDINGS, "dump"));
    anx_verdicts_destroy(v);
    dump_free(&d);
}

static void test_dump_shapes_have_causes(void) {
    dump d = dump_make(2);
    const anx_extent e = *anx_graph_extent(d.r.model->graph, anx_graph_find_node(d.r.model->graph, "features.3"));
    const struct {
        int64_t shape[4];
        const char *cause;
    } rows[] = {
        {{2, e.dim[1], e.dim[2], e.dim[0]}, "layout"},
        {{1, e.dim[0], e.dim[1], e.dim[2]}, "batch"},
        {{2, e.dim[0] + 1, e.dim[1], e.dim[2]}, "shape"},
        {{2, e.dim[0], e.dim[1] - 2, e.dim[2] - 2}, "geometry"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        dump_put(&d, "features.3", ANX_F32, 4, rows[i].shape);
        anx_verdicts *v = judge_dump(&d);
        CU_ASSERT_EQUAL(verdict_of(v, ANX_PATH_AGAINST, "features.3"), ANX_VERDICT_FAIL);
        CU_ASSERT_TRUE(names_cause(find_judged(v, ANX_PATH_AGAINST, "features.3"), rows[i].cause));
        anx_verdicts_destroy(v);
    }
    dump_free(&d);
}

int main(int argc, char **argv) {
    static const anx_test tests[] = {
        {"a right dump passes", test_dump_passes},
        {"faults of a dump are placed", test_dump_faults_are_placed},
        {"dumps in parts are judged as far as they go", test_dump_in_parts},
        {"another order of classes fails unless rounding may turn it", test_top5},
        {"wrong dumps are refused or failed in words", test_dump_is_wrong},
        {"a dump of which nothing can be judged is refused", test_dump_without_anything_to_judge},
        {"tensors of a dump that are no points are named", test_dump_names_what_is_no_point},
        {"wrong shapes in a dump have causes", test_dump_shapes_have_causes},
        {NULL, NULL},
    };
    return anx_test_main("against", tests, argc, argv);
}
