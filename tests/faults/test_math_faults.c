/*
 * Devices that were allowed less than float32: what TF32 may do is accepted, rounded or cut off, in short sums and in
 * AlexNet's of up to 9,216 terms, forward and backward; what has fewer bits, or a fault beside, is found and named; and
 * where float32 was promised TF32 is a fault itself. How near each comes to its limit: parity/operands.h.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "parity/report.h"
#include "tests/faults/faulty_backend.h"
#include "tests/faults/narrow.h"
#include "tests/support/anx_test.h"
#include "tests/support/rounded_device.h"
#include "tests/support/seeded_model.h"

enum { BATCH = 3 };

static void complain(const char *name, const char *what, const anx_judged *j) {
    char text[2048];
    snprintf(text, sizeof text, "%s: %s%s%s %s %s: %s%s%s", name, what, j != NULL ? "; " : "",
             j != NULL ? anx_judged_path_name(j->path) : "", j != NULL ? j->point : "",
             j != NULL ? anx_verdict_name(j->verdict) : "", j != NULL ? j->reason : "",
             j != NULL && j->n_causes > 0 ? "; " : "", j != NULL && j->n_causes > 0 ? j->causes[0].text : "");
    CU_assertImplementation(CU_FALSE, __LINE__, text, __FILE__, "", CU_FALSE);
}

static const anx_judged *worst_of(const anx_verdicts *v) {
    for (int verdict = ANX_VERDICT_FAIL; verdict >= ANX_VERDICT_WARN; verdict--)
        for (size_t i = 0; i < v->n_judged; i++)
            if ((int)v->judged[i].verdict == verdict) return &v->judged[i];
    return NULL;
}

static void expect_accepted(const char *name, const anx_verdicts *v) {
    const anx_judged *bad = worst_of(v);
    if (bad != NULL || v->overall != ANX_VERDICT_PASS) complain(name, "not accepted", bad);
}

/* The first failure is at the point, by that path, and its likeliest cause is that one; NULL: any. */
static void expect_found(const char *name, const anx_verdicts *v, anx_judged_path path, const char *point,
                         const char *cause) {
    const anx_judged *bad = v->first_bad >= 0 ? &v->judged[v->first_bad] : NULL;
    if (bad == NULL || v->overall != ANX_VERDICT_FAIL)
        complain(name, "not found", NULL);
    else if (bad->path != path || (point != NULL && strcmp(bad->point, point) != 0))
        complain(name, "found at the wrong point", bad);
    else if (cause != NULL && (bad->n_causes == 0 || strcmp(bad->causes[0].id, cause) != 0))
        complain(name, "another cause is named", bad);
}

/* ---- the narrow network, in plain loops ------------------------------------------------------------------- */

#define IN(...) .sum = {__VA_ARGS__}
#define OPERANDS(format) .x = format, .w = format

/* Every node so. */
static const struct accepted_row {
    const char *name;
    plain_sum sum;
    anx_math_mode math;
} accepted[] = {
    {"TF32", IN(OPERANDS(FORMAT_TF32)), ANX_MATH_TF32},
    {"TF32, cut off", IN(OPERANDS(FORMAT_TF32_CUT)), ANX_MATH_TF32},
    {"TF32, cut off, truncating sums", IN(.truncate = true, OPERANDS(FORMAT_TF32_CUT)), ANX_MATH_TF32},
    {"TF32 inputs alone", IN(.x = FORMAT_TF32_CUT), ANX_MATH_TF32},
    {"fp16 within its range", IN(OPERANDS(FORMAT_F16)), ANX_MATH_TF32},
    {"float32 where TF32 is allowed", IN(.order = ORDER_FMA), ANX_MATH_TF32},
    {"TF32 where anything is allowed", IN(OPERANDS(FORMAT_TF32_CUT)), ANX_MATH_FAST},
    {"float32 where anything is allowed", IN(.order = ORDER_FMA), ANX_MATH_FAST},
    {"tiles of 2", IN(.order = ORDER_TILES, .width = 2), ANX_MATH_FAST},
    {"tiles of 4", IN(.order = ORDER_TILES, .width = 4), ANX_MATH_FAST},
    {"tiles of 6", IN(.order = ORDER_TILES, .width = 6), ANX_MATH_FAST},
    {"tiles of 2 in TF32", IN(.order = ORDER_TILES, .width = 2, OPERANDS(FORMAT_TF32)), ANX_MATH_FAST},
};

static const struct found_row {
    const char *name, *point;
    plain_sum sum;
    plain_fault fault;
    anx_math_mode math;
    const char *cause;
} found[] = {
    {"TF32, cut off, for float32",
     "features.5",
     IN(OPERANDS(FORMAT_TF32_CUT)),
     {0},
     ANX_MATH_FLOAT32,
     "reduced-precision-tf32"},
    {"TF32 for float32", "classifier.1", IN(OPERANDS(FORMAT_TF32)), {0}, ANX_MATH_FLOAT32, "reduced-precision-tf32"},
    {"bf16 for TF32", "features.0", IN(OPERANDS(FORMAT_BF16)), {0}, ANX_MATH_TF32, "reduced-precision-bf16"},
    {"bf16 for TF32, groups", "features.3", IN(OPERANDS(FORMAT_BF16)), {0}, ANX_MATH_TF32, "reduced-precision-bf16"},
    {"bf16 for TF32, conv", "features.5", IN(OPERANDS(FORMAT_BF16)), {0}, ANX_MATH_TF32, "reduced-precision-bf16"},
    {"bf16 for anything", "features.5", IN(OPERANDS(FORMAT_BF16)), {0}, ANX_MATH_FAST, "reduced-precision-bf16"},
    {"tiles that make more of TF32's error",
     "features.5",
     IN(.order = ORDER_TILES, .width = 6, OPERANDS(FORMAT_TF32_CUT)),
     {0},
     ANX_MATH_FAST,
     NULL},
    {"a lost bias in TF32",
     "features.5",
     IN(OPERANDS(FORMAT_TF32)),
     {.kind = FAULT_BIAS_DROPPED},
     ANX_MATH_TF32,
     "missing-bias"},
    {"a lost bias where anything is allowed",
     "features.5",
     IN(OPERANDS(FORMAT_TF32_CUT)),
     {.kind = FAULT_BIAS_DROPPED},
     ANX_MATH_FAST,
     "missing-bias"},
    {"channels exchanged in TF32",
     "features.5",
     IN(OPERANDS(FORMAT_TF32_CUT)),
     {.kind = FAULT_INPUT_SWAPPED, .a = 4, .b = 17},
     ANX_MATH_TF32,
     "channel-order"},
    {"a kernel flipped in TF32",
     "features.5",
     IN(OPERANDS(FORMAT_TF32)),
     {.kind = FAULT_KERNEL_FLIPPED},
     ANX_MATH_TF32,
     "kernel-flipped"},
    {"a ReLU skipped in TF32", "features.6", {0}, {.kind = FAULT_RELU_SKIPPED}, ANX_MATH_TF32, "skipped-relu"},
};

static anx_verdicts *judge_plain(const char *node, const plain_sum *sum, const plain_fault *fault, anx_math_mode math) {
    const faulty_options options = {
        .inner = "cpu", .node = node, .sum = *sum, .fault = fault, .observe = true, .infer = true, .math = math};
    anx_error err = ANX_ERROR_INIT;
    anx_device *device = NULL;
    ANX_CHECK_OK(faulty_device_open(&options, 1, &device, &err), &err);
    CU_ASSERT_PTR_NOT_NULL_FATAL(device);
    anx_model *model = narrow_model();
    anx_verdicts *v = narrow_judge(model, device, BATCH);
    anx_model_destroy(model);
    anx_device_close(device);
    return v;
}

static void test_accepted(void) {
    for (size_t i = 0; i < sizeof accepted / sizeof accepted[0]; i++) {
        anx_verdicts *v = judge_plain(NULL, &accepted[i].sum, NULL, accepted[i].math);
        expect_accepted(accepted[i].name, v);
        anx_verdicts_destroy(v);
    }
}

static void test_found(void) {
    for (size_t i = 0; i < sizeof found / sizeof found[0]; i++) {
        const struct found_row *row = &found[i];
        anx_verdicts *v = judge_plain(row->point, &row->sum, &row->fault, row->math);
        expect_found(row->name, v, ANX_PATH_OBSERVE, row->point, row->cause);
        anx_verdicts_destroy(v);
    }
}

/* Integers of 11 bits come out exactly in TF32, and show tiles that were not allowed and operands of fewer bits. */
static void test_probe(void) {
    const plain_sum tiles = {.order = ORDER_TILES, .width = 4};
    anx_verdicts *v = judge_plain("features.5", &tiles, NULL, ANX_MATH_TF32);
    expect_found("tiles where TF32 is allowed", v, ANX_PATH_PROBE, "features.5", "reduced-precision");
    anx_verdicts_destroy(v);
    const plain_sum bf16 = {.x = FORMAT_BF16};
    v = judge_plain("classifier.3", &bf16, NULL, ANX_MATH_TF32);
    int64_t probes = 0, failed = 0;
    for (size_t i = 0; i < v->n_judged; i++)
        if (v->judged[i].path == ANX_PATH_PROBE) {
            probes++;
            failed += v->judged[i].verdict == ANX_VERDICT_FAIL;
        }
    CU_ASSERT_EQUAL(failed, 1);
    CU_ASSERT_TRUE(probes > 3);
    anx_verdicts_destroy(v);
}

/* ---- AlexNet, and training --------------------------------------------------------------------------------- */

static anx_verdicts *judge_rounded(anx_model *model, float (*round)(float), anx_math_mode math, bool train) {
    anx_error err = ANX_ERROR_INIT;
    anx_device *device = NULL;
    const anx_device_options two = {.threads = 2};
    rounded_set(anx_backend_load(anx_backend_find("cpu"), NULL), round, math);
    ANX_CHECK_OK(anx_device_open_backend(&rounded_backend, 0, &two, &device, &err), &err);
    CU_ASSERT_PTR_NOT_NULL_FATAL(device);
    const anx_judge_options options = {
        .model = model, .device = device, .threads = 2, .no_probe = true, .train = train};
    anx_verdicts *v = NULL;
    ANX_CHECK_OK(anx_judge(&options, &v, &err), &err);
    CU_ASSERT_PTR_NOT_NULL_FATAL(v);
    anx_device_close(device);
    return v;
}

static void test_alexnet(void) {
    anx_model *model = seeded_model(0, 0);
    static const struct {
        const char *name;
        float (*round)(float);
    } tf32[] = {{"AlexNet in TF32", rounded_tf32}, {"AlexNet in TF32, cut off", rounded_tf32_cut}};
    for (int i = 0; i < 2; i++)
        for (int math = ANX_MATH_TF32; math <= ANX_MATH_FAST; math++) {
            anx_verdicts *v = judge_rounded(model, tf32[i].round, (anx_math_mode)math, false);
            expect_accepted(tf32[i].name, v);
            anx_verdicts_destroy(v);
        }
    anx_verdicts *v = judge_rounded(model, rounded_tf32, ANX_MATH_FLOAT32, false);
    expect_found("AlexNet in TF32 for float32", v, ANX_PATH_OBSERVE, "features.0", "reduced-precision-tf32");
    anx_verdicts_destroy(v);
    for (int math = ANX_MATH_TF32; math <= ANX_MATH_FAST; math++) {
        v = judge_rounded(model, rounded_bf16, (anx_math_mode)math, false);
        expect_found("AlexNet in bf16", v, ANX_PATH_OBSERVE, "features.0", "reduced-precision-bf16");
        int64_t sums = 0;
        for (size_t i = 0; i < v->n_judged; i++) /* in each of the eight layers, and as it is fused */
            sums += v->judged[i].n_versus > 0 && v->judged[i].verdict == ANX_VERDICT_FAIL &&
                    (v->judged[i].path == ANX_PATH_OBSERVE || v->judged[i].path == ANX_PATH_INFER);
        CU_ASSERT_EQUAL(sums, 16);
        anx_verdicts_destroy(v);
    }
    anx_model_destroy(model);
}

static void test_training(void) {
    anx_model *model = narrow_model();
    for (int math = ANX_MATH_TF32; math <= ANX_MATH_FAST; math++) {
        anx_verdicts *v = judge_rounded(model, rounded_tf32, (anx_math_mode)math, true);
        expect_accepted("training in TF32", v);
        anx_verdicts_destroy(v);
        v = judge_rounded(model, rounded_tf32_cut, (anx_math_mode)math, true);
        expect_accepted("training in TF32, cut off", v);
        anx_verdicts_destroy(v);
        v = judge_rounded(model, rounded_bf16, (anx_math_mode)math, true);
        int64_t gradients = 0;
        for (size_t i = 0; i < v->n_judged; i++)
            gradients += v->judged[i].path == ANX_PATH_TRAIN_OPERATORS && v->judged[i].verdict == ANX_VERDICT_FAIL;
        CU_ASSERT_TRUE(gradients > 5);
        anx_verdicts_destroy(v);
    }
    anx_model_destroy(model);
}

/* ---- reports ----------------------------------------------------------------------------------------------- */

static void expect_in_text(const anx_verdicts *v, const char *what, bool there) {
    const anx_report_options options = {.verbose = false};
    char *text = NULL;
    size_t n = 0;
    anx_error err = ANX_ERROR_INIT;
    ANX_CHECK_OK(anx_report_text(v, &options, &text, &n, &err), &err);
    CU_ASSERT_PTR_NOT_NULL_FATAL(text);
    CU_ASSERT_EQUAL(strstr(text, what) != NULL, there);
    free(text);
    ANX_CHECK_OK(anx_report_json(v, &options, &text, &n, &err), &err);
    CU_ASSERT_PTR_NOT_NULL(strstr(text, there ? "\"sum-tf32\"" : "\"sum\""));
    CU_ASSERT_EQUAL(strstr(text, "\"judged_as\":\t\"tf32\"") != NULL || strstr(text, "\"judged_as\": \"tf32\"") != NULL,
                    there);
    free(text);
}

static void test_reports(void) {
    const plain_sum plain = {.order = ORDER_FMA};
    anx_verdicts *v = judge_plain("features.5", &plain, NULL, ANX_MATH_TF32);
    expect_in_text(v, "Judged by what math tf32 may do", true);
    anx_verdicts_destroy(v);
    v = judge_plain("features.5", &plain, NULL, ANX_MATH_FLOAT32);
    expect_in_text(v, "Judged by what math", false);
    anx_verdicts_destroy(v);
}

static const anx_test tests[] = {
    {"what_the_arithmetic_may_do_is_accepted", test_accepted},
    {"less_than_allowed_and_faults_beside_are_found", test_found},
    {"the_probe_holds_integers_that_tf32_holds", test_probe},
    {"alexnet_in_tf32_is_accepted_and_in_bf16_is_not", test_alexnet},
    {"gradients_in_tf32_are_accepted_and_in_bf16_are_not", test_training},
    {"reports_say_by_which_arithmetic_they_judge", test_reports},
    {NULL, NULL},
};

int main(int argc, char **argv) {
    return anx_test_main("math_faults", tests, argc, argv);
}
