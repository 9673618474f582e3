/* The list of verdicts: order, folding and the overall verdict. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "parity/verdict.h"
#include "tests/support/anx_test.h"

static void add(anx_verdicts *list, anx_judged_path path, const char *point, const char *input, anx_verdict verdict,
                double fraction) {
    anx_error err = ANX_ERROR_INIT;
    anx_judged j;
    ANX_CHECK_OK(anx_judged_init(&j, ANX_JUDGED_MODULE, path, point, input, NULL, &err), &err);
    j.n_versus = 1;
    j.versus[0].bound = ANX_BOUND_SUM;
    j.versus[0].worst_fraction = fraction;
    ANX_CHECK_OK(anx_judged_conclude(&j, verdict, &err, "%s at %s", anx_verdict_name(verdict), input), &err);
    ANX_CHECK_OK(anx_verdicts_add(list, &j, &err), &err);
    CU_ASSERT_PTR_NULL(j.point);
}

static anx_verdicts *make(void) {
    anx_error err = ANX_ERROR_INIT;
    anx_verdicts *list = NULL;
    ANX_CHECK_OK(anx_verdicts_create(&list, &err), &err);
    return list;
}

static void test_rows(void) {
    anx_error err = ANX_ERROR_INIT;
    anx_verdicts *list = make();
    add(list, ANX_PATH_OBSERVE, "features.0", "a", ANX_VERDICT_PASS, 0.1);
    add(list, ANX_PATH_OBSERVE, "features.3", "a", ANX_VERDICT_PASS, 0.2);
    add(list, ANX_PATH_OBSERVE, "features.0", "b", ANX_VERDICT_PASS, 0.3);
    add(list, ANX_PATH_EXACT, "features.0", "a", ANX_VERDICT_PASS, 0.0);
    add(list, ANX_PATH_OBSERVE, "features.3", "b", ANX_VERDICT_WARN, 0.1);

    anx_verdict_row *rows = NULL;
    size_t n = 0;
    ANX_CHECK_OK(anx_verdicts_rows(list, &rows, &n, &err), &err);
    CU_ASSERT_EQUAL_FATAL(n, 3);
    CU_ASSERT_EQUAL(rows[0].worst->path, ANX_PATH_EXACT);
    CU_ASSERT_STRING_EQUAL(rows[1].worst->point, "features.0");
    CU_ASSERT_STRING_EQUAL(rows[1].worst->input, "b");
    CU_ASSERT_EQUAL(rows[1].index, 2);
    CU_ASSERT_EQUAL(rows[1].n, 2);
    CU_ASSERT_EQUAL(rows[1].counts[ANX_VERDICT_PASS], 2);
    CU_ASSERT_STRING_EQUAL(rows[2].worst->input, "b"); /* a warning outweighs a greater fraction that passed */
    CU_ASSERT_STRING_EQUAL(rows[2].worst->reason, "warn at b");
    free(rows);
    anx_verdicts_destroy(list);
}

static void test_overall(void) {
    anx_verdicts *list = make();
    anx_verdicts_conclude(list);
    CU_ASSERT_EQUAL(list->overall, ANX_VERDICT_FAIL);

    add(list, ANX_PATH_OBSERVE, "a", "x", ANX_VERDICT_INFO, 9);
    anx_verdicts_conclude(list);
    CU_ASSERT_EQUAL(list->overall, ANX_VERDICT_FAIL); /* information judges nothing */

    add(list, ANX_PATH_OBSERVE, "b", "x", ANX_VERDICT_PASS, 0.1);
    anx_verdicts_conclude(list);
    CU_ASSERT_EQUAL(list->overall, ANX_VERDICT_PASS);
    list->strict = true;
    anx_verdicts_conclude(list);
    CU_ASSERT_EQUAL(list->overall, ANX_VERDICT_PASS);

    add(list, ANX_PATH_OBSERVE, "c", "x", ANX_VERDICT_SKIP, 0);
    anx_verdicts_conclude(list);
    CU_ASSERT_EQUAL(list->overall, ANX_VERDICT_FAIL);
    list->strict = false;
    anx_verdicts_conclude(list);
    CU_ASSERT_EQUAL(list->overall, ANX_VERDICT_PASS);

    add(list, ANX_PATH_OBSERVE, "d", "x", ANX_VERDICT_FAIL, 2);
    add(list, ANX_PATH_OBSERVE, "e", "x", ANX_VERDICT_FAIL, 3);
    anx_verdicts_conclude(list);
    CU_ASSERT_EQUAL(list->overall, ANX_VERDICT_FAIL);
    CU_ASSERT_EQUAL(list->first_bad, 3);
    CU_ASSERT_EQUAL(list->counts[ANX_VERDICT_FAIL], 2);

    /* an earlier path, and within a path an earlier node, come first however late they were found */
    list->judged[3].node = 7;
    list->judged[4].node = 5;
    anx_verdicts_conclude(list);
    CU_ASSERT_EQUAL(list->first_bad, 4);
    add(list, ANX_PATH_PREPROCESS, "crop", "x", ANX_VERDICT_FAIL, 1);
    anx_verdicts_conclude(list);
    CU_ASSERT_EQUAL(list->first_bad, 5);
    add(list, ANX_PATH_PREPROCESS, "resize", "y", ANX_VERDICT_FAIL, 1);
    list->judged[5].kind = list->judged[6].kind = ANX_JUDGED_STAGE;
    anx_verdicts_conclude(list);
    CU_ASSERT_EQUAL(list->first_bad, 6); /* an earlier stage, though of another image */
    anx_verdicts_destroy(list);
}

static void test_causes_sorted(void) {
    anx_error err = ANX_ERROR_INIT;
    anx_judged j;
    ANX_CHECK_OK(anx_judged_init(&j, ANX_JUDGED_MODULE, ANX_PATH_OBSERVE, "p", "i", "f", &err), &err);
    const double weights[5] = {0.2, 0.9, 0.5, 0.9, 0.1};
    for (int i = 0; i < 5; i++)
        ANX_CHECK_OK(anx_judged_add_cause(&j, i == 1 ? "first" : "other", weights[i], &err, "cause %d", i), &err);
    CU_ASSERT_EQUAL_FATAL(j.n_causes, 5);
    for (int i = 1; i < 5; i++) CU_ASSERT_TRUE(j.causes[i - 1].weight >= j.causes[i].weight);
    CU_ASSERT_STRING_EQUAL(j.causes[0].id, "first"); /* equals keep their order */
    CU_ASSERT_STRING_EQUAL(j.causes[0].text, "cause 1");
    anx_judged_fini(&j);
}

static void test_names(void) {
    for (int i = 0; i < ANX_VERDICT_COUNT; i++) CU_ASSERT_STRING_NOT_EQUAL(anx_verdict_name((anx_verdict)i), "?");
    for (int i = 0; i < ANX_JUDGED_KIND_COUNT; i++)
        CU_ASSERT_STRING_NOT_EQUAL(anx_judged_kind_name((anx_judged_kind)i), "?");
    for (int i = 0; i < ANX_PATH_COUNT; i++) CU_ASSERT_STRING_NOT_EQUAL(anx_judged_path_name((anx_judged_path)i), "?");
    for (int i = 0; i < ANX_BASIS_COUNT; i++) {
        CU_ASSERT_PTR_NOT_NULL(anx_basis_name((anx_basis)i));
        CU_ASSERT_PTR_NOT_NULL(anx_basis_id((anx_basis)i));
    }
    for (int i = 0; i < ANX_BOUND_KIND_COUNT; i++) {
        CU_ASSERT_STRING_NOT_EQUAL(anx_bound_kind_name((anx_bound_kind)i), "?");
        CU_ASSERT_TRUE(strlen(anx_bound_kind_text((anx_bound_kind)i)) > 8);
    }
    CU_ASSERT_STRING_EQUAL(anx_verdict_name(ANX_VERDICT_WARN), "warn");
    CU_ASSERT_STRING_EQUAL(anx_judged_kind_name(ANX_JUDGED_TOPK), "topk");
    CU_ASSERT_STRING_EQUAL(anx_judged_path_name(ANX_PATH_RESULT), "result");
}

static void test_element_text(void) {
    char buf[64], small[6];
    const anx_element e = {.known = true, .rank = 4, .at = {0, 17, 3, 4}};
    CU_ASSERT_STRING_EQUAL(anx_element_format(&e, buf, sizeof buf), "[0, 17, 3, 4]");
    CU_ASSERT_STRING_EQUAL(anx_element_format(&e, small, sizeof small), "[0, 1");
    const anx_element none = {.known = false};
    CU_ASSERT_STRING_EQUAL(anx_element_format(&none, buf, sizeof buf), "");
}

int main(int argc, char **argv) {
    static const anx_test tests[] = {
        {"rows fold inputs of one point and show the worst", test_rows},
        {"overall is FAIL on a failure, on nothing judged, and strictly on doubts", test_overall},
        {"causes are sorted by weight, equals in order", test_causes_sorted},
        {"every enumerator has a name", test_names},
        {"an element prints its coordinates", test_element_text},
        {NULL, NULL},
    };
    return anx_test_main("verdict", tests, argc, argv);
}
