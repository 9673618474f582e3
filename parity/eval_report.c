#include "parity/eval_report.h"

#include <math.h>

const anx_eval_expectation anx_eval_official = {.stated = true,
                                                .official = true,
                                                .acc1 = 56.522,
                                                .acc5 = 79.066,
                                                .right1 = 28261,
                                                .right5 = 39533,
                                                .images = 50000};

/* Decoders and hardware move a few images: 25 of 50,000. */
static const double tolerated_points = 0.05;

bool anx_eval_has_interval(const anx_eval_report *r) {
    return r->selection == ANX_EVAL_SAMPLE && !r->interrupted && r->accuracy->images > 0;
}

anx_interval anx_eval_interval(const anx_eval_report *r, int k) {
    const int64_t right = k == 1 ? r->accuracy->right1 : r->accuracy->right5;
    /* Bad files of the full set make no sample of what could be read. */
    const bool sampled = r->selection == ANX_EVAL_SAMPLE;
    return anx_wilson(right, r->accuracy->images, sampled ? r->dataset->n_samples : r->accuracy->images, ANX_Z_999);
}

static bool within(const anx_eval_report *r, int k) {
    const double expected = k == 1 ? r->expected.acc1 : r->expected.acc5;
    const anx_interval interval = anx_eval_interval(r, k);
    /* Expectations are given to the third decimal. */
    const double slack = r->selection == ANX_EVAL_SAMPLE ? 0.0005 : tolerated_points + 0.0005;
    return expected >= 100.0 * interval.low - slack && expected <= 100.0 * interval.high + slack;
}

anx_eval_outcome anx_eval_judge(const anx_eval_report *r) {
    if (!r->expected.stated || r->selection == ANX_EVAL_FIRST || r->interrupted || r->accuracy->images == 0)
        return ANX_EVAL_NOT_JUDGED;
    return within(r, 1) && within(r, 5) ? ANX_EVAL_MET : ANX_EVAL_MISSED;
}

const char *anx_eval_class_name(const anx_eval_report *r, int64_t index) {
    if (index < 0 || index >= r->dataset->n_classes) return "";
    const char *name = r->dataset->by_wnid ? anx_class_name(r->names, r->dataset->n_classes, index) : "";
    return name[0] != '\0' ? name : r->dataset->class_ids[index];
}
