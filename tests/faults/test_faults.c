/*
 * test_faults BACKEND [FILTER...]: every fault, put into that backend, must be found by the judge at the right point
 * and nowhere before it; every correct engine must be accepted without a warning.
 */
#include <stdio.h>
#include <string.h>

#include "parity/judge.h"
#include "tests/faults/faults.h"
#include "tests/faults/faulty_backend.h"
#include "tests/faults/narrow.h"
#include "tests/support/anx_test.h"

static const char *inner; /* the wrapped backend */

enum { FAULTY_BATCH = 3 };

/* ---- judging -------------------------------------------------------------------------------------------- */

static anx_verdicts *judge(anx_device *device, int64_t batch) {
    anx_model *model = narrow_model();
    anx_verdicts *verdicts = narrow_judge(model, device, batch);
    anx_model_destroy(model);
    return verdicts;
}

/* ---- saying what went wrong ----------------------------------------------------------------------------- */

static void complain(const char *name, const char *what, const anx_judged *j) {
    char text[2048];
    snprintf(text, sizeof text, "%s: %s%s%s %s %s: %s", name, what, j != NULL ? "; " : "",
             j != NULL ? anx_judged_path_name(j->path) : "", j != NULL ? j->point : "",
             j != NULL ? anx_verdict_name(j->verdict) : "", j != NULL ? j->reason : "");
    CU_assertImplementation(CU_FALSE, __LINE__, text, __FILE__, "", CU_FALSE);
}

static const anx_judged *first_of(const anx_verdicts *v, anx_verdict verdict) {
    for (size_t i = 0; i < v->n_judged; i++)
        if (v->judged[i].verdict == verdict) return &v->judged[i];
    return NULL;
}

/* ---- faults --------------------------------------------------------------------------------------------- */

static bool is_listed(const fault_row *row, const char *id) {
    for (int i = 0; i < FAULT_MAX_CAUSES && row->causes[i] != NULL; i++)
        if (strcmp(row->causes[i], id) == 0) return true;
    return false;
}

/* A cause that fits, and none that does not. */
static bool causes_fit(const anx_judged *j, const fault_row *row) {
    for (int c = 0; c < j->n_causes; c++)
        if (!is_listed(row, j->causes[c].id)) return false;
    return j->n_causes > 0 || row->causes[0] == NULL;
}

/* The point itself, or a fused group that reaches over it. */
static bool is_at(const anx_graph *graph, const anx_judged *j, const fault_row *row) {
    if (row->where == IN_BOTH) return j->path == ANX_PATH_OBSERVE && strcmp(j->point, row->point) == 0;
    if (row->where == IN_WHOLE) return j->kind == ANX_JUDGED_WHOLE;
    const int node = anx_graph_find_node(graph, row->point);
    /* The group's last node is the fault's or one behind it that is fused with it; its first is not behind it. */
    return j->path == ANX_PATH_INFER && j->kind == ANX_JUDGED_GROUP && j->node >= node && j->node <= node + 2;
}

static void check_fault(const fault_row *row) {
    const faulty_options options = {.inner = inner,
                                    .node = row->point,
                                    .fault = &row->fault,
                                    .observe = row->where == IN_BOTH,
                                    .infer = true,
                                    .whole_only = row->where == IN_WHOLE};
    anx_error err = ANX_ERROR_INIT;
    anx_device *device = NULL;
    ANX_CHECK_OK(faulty_device_open(&options, 1, &device, &err), &err);
    CU_ASSERT_PTR_NOT_NULL_FATAL(device);
    anx_verdicts *v = judge(device, FAULTY_BATCH);
    anx_graph *graph = NULL;
    ANX_CHECK_OK(anx_graph_create(anx_arch_find("narrow"), 0, NARROW_SIZE, NARROW_SIZE, &graph, &err), &err);
    const anx_judged *bad = row->warns          ? first_of(v, ANX_VERDICT_WARN)
                            : v->first_bad >= 0 ? &v->judged[v->first_bad]
                                                : NULL;
    if (bad == NULL)
        complain(row->name, row->warns ? "no warning" : "not found", NULL);
    else if (!is_at(graph, bad, row))
        complain(row->name, "found at the wrong point", bad);
    else if (!causes_fit(bad, row))
        complain(row->name, bad->n_causes > 0 ? bad->causes[0].text : "no cause is named", bad);
    else
        CU_PASS("found");
    if (!row->warns && v->overall != ANX_VERDICT_FAIL) complain(row->name, "the run as a whole does not fail", bad);
    if (row->warns && v->overall != ANX_VERDICT_PASS) complain(row->name, "fails where it should warn", bad);
    anx_graph_destroy(graph);
    anx_verdicts_destroy(v);
    anx_device_close(device);
}

static void test_faults(void) {
    for (int i = 0; fault_row_at(i) != NULL; i++) check_fault(fault_row_at(i));
}

/* The wrapper without a fault, at every node in turn: what is found above is the faults' doing. */
static void test_no_fault(void) {
    for (int i = 0; i < anx_arch_find("narrow")->n_layers; i++) {
        const plain_fault none = {.kind = FAULT_NONE};
        const faulty_options options = {.inner = inner,
                                        .node = anx_arch_find("narrow")->layers[i].name,
                                        .fault = &none,
                                        .observe = true,
                                        .infer = true};
        anx_error err = ANX_ERROR_INIT;
        anx_device *device = NULL;
        ANX_CHECK_OK(faulty_device_open(&options, 1, &device, &err), &err);
        anx_verdicts *v = judge(device, FAULTY_BATCH);
        if (v->counts[ANX_VERDICT_FAIL] > 0) complain(options.node, "fails", first_of(v, ANX_VERDICT_FAIL));
        if (v->counts[ANX_VERDICT_WARN] > 0) complain(options.node, "warns", first_of(v, ANX_VERDICT_WARN));
        anx_verdicts_destroy(v);
        anx_device_close(device);
    }
}

/* ---- correct engines ------------------------------------------------------------------------------------ */

static void check_benign(const benign_row *row) {
    if (row->device != NULL && anx_backend_find(row->device) == NULL) return;
    anx_error err = ANX_ERROR_INIT;
    anx_device *device = NULL;
    const faulty_options plain = {.inner = inner, .sum = row->sum, .observe = true, .infer = true};
    const anx_device_options options = {.threads = row->threads};
    if (row->device == NULL)
        ANX_CHECK_OK(faulty_device_open(&plain, 1, &device, &err), &err);
    else
        ANX_CHECK_OK(anx_device_open(row->device, &options, &device, &err), &err);
    CU_ASSERT_PTR_NOT_NULL_FATAL(device);
    anx_verdicts *v = judge(device, row->batch);
    if (v->counts[ANX_VERDICT_FAIL] > 0) complain(row->name, "fails", first_of(v, ANX_VERDICT_FAIL));
    if (v->counts[ANX_VERDICT_WARN] > 0) complain(row->name, "warns", first_of(v, ANX_VERDICT_WARN));
    if (v->overall != ANX_VERDICT_PASS) complain(row->name, "does not pass", NULL);
    anx_verdicts_destroy(v);
    anx_device_close(device);
}

static void test_benign(void) {
    for (int i = 0; benign_row_at(i) != NULL; i++) check_benign(benign_row_at(i));
}

/* ---- weights that are no numbers ------------------------------------------------------------------------- */

/* A plain layer, padding multiplied or skipped and perhaps a fault beside, in a model with such a weight. */
static anx_verdicts *judge_unusual(const char *point, const char *weight, float value, bool skips,
                                   const plain_fault *fault) {
    const faulty_options options = {
        .inner = inner, .node = point, .sum = {.skips_padding = skips}, .fault = fault, .observe = true, .infer = true};
    anx_error err = ANX_ERROR_INIT;
    anx_device *device = NULL;
    ANX_CHECK_OK(faulty_device_open(&options, 1, &device, &err), &err);
    CU_ASSERT_PTR_NOT_NULL_FATAL(device);
    anx_model *model = narrow_model();
    ((float *)model->params[anx_graph_find_param(model->graph, weight)].data)[1] = value;
    anx_verdicts *v = narrow_judge(model, device, FAULTY_BATCH);
    anx_model_destroy(model);
    anx_device_close(device);
    return v;
}

/* Where NaN or infinity meets the padding an engine may multiply or skip it; what it gives there is judged all the
 * same. Weight 1 of each layer lies over the padding in the first row alone (and in the first column). */
static void test_padding_under_unusual_weights(void) {
    static const struct {
        const char *weight, *point;
    } rows[] = {{"features.0.weight", "features.0"}, /* dense */ {"features.3.weight", "features.3"} /* grouped */};
    static const float values[] = {NAN, INFINITY};
    for (size_t i = 0; i < 2 * sizeof rows / sizeof rows[0]; i++) {
        const char *weight = rows[i / 2].weight, *point = rows[i / 2].point;
        for (int skips = 0; skips < 2; skips++) {
            anx_verdicts *v = judge_unusual(point, weight, values[i % 2], skips, NULL);
            if (v->counts[ANX_VERDICT_FAIL] > 0) complain(weight, "fails", first_of(v, ANX_VERDICT_FAIL));
            CU_ASSERT_EQUAL(v->overall, ANX_VERDICT_PASS);
            anx_verdicts_destroy(v);
        }
        /* Channel 0 is NaN or infinite but over the padding: only there can its lost bias show. */
        const plain_fault fault = {.kind = FAULT_BIAS_DROPPED_ONE, .a = 0, .sum = {0}};
        anx_verdicts *v = judge_unusual(point, weight, values[i % 2], true, &fault);
        const anx_judged *bad = v->first_bad >= 0 ? &v->judged[v->first_bad] : NULL;
        if (bad == NULL || bad->verdict != ANX_VERDICT_FAIL || strcmp(bad->point, point) != 0)
            complain(weight, "a lost bias is not found", bad);
        anx_verdicts_destroy(v);
    }
}

static const anx_test tests[] = {
    {"every_fault_is_found_where_it_is", test_faults},
    {"the_wrapper_without_a_fault_is_accepted", test_no_fault},
    {"correct_engines_in_any_order_are_accepted", test_benign},
    {"padding_under_unusual_weights_is_judged_both_ways", test_padding_under_unusual_weights},
    {NULL, NULL},
};

int main(int argc, char **argv) {
    if (argc < 2) {
        fprintf(stderr, "usage: %s BACKEND [FILTER...]\n", argv[0]);
        return 64;
    }
    inner = argv[1];
    return anx_test_main(inner, tests, argc - 1, argv + 1);
}
