/*
 * Reduced precision and single wrong values in AlexNet itself, where sums of up to 9,216 terms hide them best: the
 * judge must fail each, at its own layer. (The narrow network's short sums make the same faults easy to see.)
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "parity/judge.h"
#include "tests/faults/faulty_backend.h"
#include "tests/support/anx_test.h"
#include "tests/support/seeded_model.h"

#define SUM(...) .kind = FAULT_SUM, .sum = {__VA_ARGS__}

/* The least that each layer must show; fp16 weights in fc6 are the faintest reduced precision there is. */
static const struct fault_row {
    const char *name, *point;
    plain_fault fault;
} faults[] = {
    {.name = "fp16 weights", .point = "classifier.1", .fault = {SUM(.w = FORMAT_F16)}},
    {.name = "TF32 operands", .point = "classifier.1", .fault = {SUM(.x = FORMAT_TF32, .w = FORMAT_TF32)}},
    {.name = "TF32 inputs", .point = "classifier.4", .fault = {SUM(.x = FORMAT_TF32)}},
    {.name = "fp16 weights", .point = "classifier.6", .fault = {SUM(.w = FORMAT_F16)}},
    {.name = "TF32 operands", .point = "features.8", .fault = {SUM(.x = FORMAT_TF32, .w = FORMAT_TF32)}},
    {.name = "fp16 weights", .point = "features.10", .fault = {SUM(.w = FORMAT_F16)}},
    {.name = "one bias dropped", .point = "features.10", .fault = {.kind = FAULT_BIAS_DROPPED_ONE, .a = 100}},
    {.name = "rows swapped", .point = "classifier.4", .fault = {.kind = FAULT_ROWS_SWAPPED, .a = 4094, .b = 4095}},
};

static anx_verdicts *judge(anx_model *model, const plain_fault *fault, const char *point) {
    const faulty_options options = {.inner = "cpu", .node = point, .fault = fault, .observe = true, .infer = true};
    anx_error err = ANX_ERROR_INIT;
    anx_device *device = NULL;
    ANX_CHECK_OK(faulty_device_open(&options, 2, &device, &err), &err);
    CU_ASSERT_PTR_NOT_NULL_FATAL(device);
    /* No recording: the judge draws an input of its own. */
    const anx_judge_options judging = {.model = model, .device = device, .threads = 2, .no_probe = true};
    anx_verdicts *v = NULL;
    ANX_CHECK_OK(anx_judge(&judging, &v, &err), &err);
    CU_ASSERT_PTR_NOT_NULL_FATAL(v);
    anx_device_close(device);
    return v;
}

static void test_faults(void) {
    anx_model *model = seeded_model(0, 0);
    for (size_t i = 0; i < sizeof faults / sizeof faults[0]; i++) {
        anx_verdicts *v = judge(model, &faults[i].fault, faults[i].point);
        const anx_judged *bad = v->first_bad >= 0 ? &v->judged[v->first_bad] : NULL;
        if (bad == NULL || bad->path != ANX_PATH_OBSERVE || strcmp(bad->point, faults[i].point) != 0) {
            char text[1024];
            snprintf(text, sizeof text, "%s in %s: %s %s", faults[i].name, faults[i].point,
                     bad == NULL ? "not found" : "found at", bad == NULL ? "" : bad->point);
            CU_assertImplementation(CU_FALSE, __LINE__, text, __FILE__, "", CU_FALSE);
        }
        CU_ASSERT_EQUAL(v->overall, ANX_VERDICT_FAIL);
        anx_verdicts_destroy(v);
    }
    anx_model_destroy(model);
}

/* The same layers by a plain chain of float32 additions, in order and fused: accepted without a warning. */
static void test_no_fault(void) {
    static const plain_fault chains[] = {{SUM(.order = ORDER_SEQUENTIAL)}, {SUM(.order = ORDER_FMA)}};
    static const char *const points[] = {"features.0", "features.8", "classifier.1", "classifier.6"};
    anx_model *model = seeded_model(0, 0);
    for (size_t i = 0; i < sizeof points / sizeof points[0]; i++) {
        anx_verdicts *v = judge(model, &chains[i % 2], points[i]);
        CU_ASSERT_EQUAL(v->counts[ANX_VERDICT_FAIL], 0);
        CU_ASSERT_EQUAL(v->counts[ANX_VERDICT_WARN], 0);
        CU_ASSERT_EQUAL(v->overall, ANX_VERDICT_PASS);
        anx_verdicts_destroy(v);
    }
    anx_model_destroy(model);
}

static const anx_test tests[] = {
    {"faint_faults_in_long_sums_are_found", test_faults},
    {"plain_chains_in_long_sums_are_accepted", test_no_fault},
    {NULL, NULL},
};

int main(int argc, char **argv) {
    return anx_test_main("alexnet_faults", tests, argc, argv);
}
