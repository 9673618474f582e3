#include "tests/parity/judge_support.h"

#include <string.h>

#include "tests/support/anx_test.h"

anx_verdicts *narrow_judge(const anx_judge_options *options) {
    anx_error err = ANX_ERROR_INIT;
    anx_verdicts *v = NULL;
    anx_judge_options o = *options;
    o.threads = 1;
    ANX_CHECK_OK(anx_judge(&o, &v, &err), &err);
    CU_ASSERT_PTR_NOT_NULL_FATAL(v);
    return v;
}

const anx_judged *find_judged(const anx_verdicts *v, anx_judged_path path, const char *point) {
    for (size_t i = 0; i < v->n_judged; i++)
        if (v->judged[i].path == path && strcmp(v->judged[i].point, point) == 0) return &v->judged[i];
    return NULL;
}

anx_verdict verdict_of(const anx_verdicts *v, anx_judged_path path, const char *point) {
    const anx_judged *j = find_judged(v, path, point);
    CU_ASSERT_PTR_NOT_NULL(j);
    return j != NULL ? j->verdict : ANX_VERDICT_COUNT;
}

bool names_cause(const anx_judged *j, const char *id) {
    for (int i = 0; j != NULL && i < j->n_causes; i++)
        if (strcmp(j->causes[i].id, id) == 0) return true;
    return false;
}

const char *first_bad(const anx_verdicts *v) {
    return v->first_bad < 0 ? "" : v->judged[v->first_bad].point;
}
