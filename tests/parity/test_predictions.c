/* What is made of logits: held against arithmetic done by hand. Against PyTorch: predictions_judge.py. */
#include "parity/predictions.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "tests/support/anx_test.h"

static anx_error err;

static anx_prediction predict(const float *logits, int64_t classes, int64_t label) {
    anx_prediction p;
    anx_predict(logits, classes, label, ANX_MATH_FLOAT32, &p);
    return p;
}

static bool top_is(const anx_prediction *p, int a, int b, int c, int d, int e) {
    const int32_t wanted[ANX_TOP] = {a, b, c, d, e};
    return memcmp(p->top, wanted, sizeof wanted) == 0;
}

static void the_largest_five_are_in_order(void) {
    static const float z[] = {0.5f, 3.0f, -1.0f, 2.0f, 7.0f, 1.0f, 2.5f};
    const anx_prediction p = predict(z, 7, 3);
    CU_ASSERT(top_is(&p, 4, 1, 6, 3, 5));
    CU_ASSERT(!p.right1 && p.right5 && !p.tied1 && !p.tied5);
    CU_ASSERT_EQUAL(p.margin1, 5.0); /* 7 - 2 */
    CU_ASSERT_EQUAL(p.margin5, 1.5); /* 2 against the fifth of the others, 0.5 */
    double sum = 0.0;
    for (int i = 0; i < 7; i++) sum += exp((double)z[i]);
    CU_ASSERT_DOUBLE_EQUAL(p.probability[0], exp(7.0) / sum, 1e-7);
    CU_ASSERT_DOUBLE_EQUAL(p.loss, log(sum) - 2.0, 1e-12);
    CU_ASSERT(!p.ambiguous1 && !p.ambiguous5 && !p.non_finite);
}

static void fewer_than_five_classes_are_all_right(void) {
    static const float z[] = {1.0f, 2.0f, 0.0f};
    const anx_prediction p = predict(z, 3, 2);
    CU_ASSERT(top_is(&p, 1, 0, 2, -1, -1));
    CU_ASSERT(!p.right1 && p.right5);
    CU_ASSERT_EQUAL(p.probability[3], 0.0f);
    CU_ASSERT(isinf(p.margin5) && !p.ambiguous5);
    const anx_prediction one = predict(z, 1, 0);
    CU_ASSERT(one.right1 && one.right5 && isinf(one.margin1) && !one.ambiguous1);
    CU_ASSERT_EQUAL(one.probability[0], 1.0f);
    CU_ASSERT_EQUAL(one.loss, 0.0);
}

static void without_a_label_nothing_is_right(void) {
    static const float z[] = {1, 2, 3, 4, 5, 6};
    const anx_prediction p = predict(z, 6, -1);
    CU_ASSERT(!p.right1 && !p.right5 && !p.ambiguous1 && isnan(p.loss) && isinf(p.margin1));
    CU_ASSERT(top_is(&p, 5, 4, 3, 2, 1));
}

static void of_equal_logits_the_lower_class_is_first(void) {
    static const float z[] = {2, 2, 2, 2, 2, 2, 2};
    const anx_prediction first = predict(z, 7, 0), last = predict(z, 7, 6), fifth = predict(z, 7, 4);
    CU_ASSERT(top_is(&first, 0, 1, 2, 3, 4));
    CU_ASSERT(first.right1 && first.tied1 && first.right5 && first.tied5);
    CU_ASSERT(!last.right1 && last.tied1 && !last.right5 && last.tied5);
    CU_ASSERT(fifth.right5 && fifth.tied5);
    CU_ASSERT(last.ambiguous1 && last.ambiguous5 && last.margin5 == 0.0);
    /* Equals that lie on one side of the border hang on no order. */
    static const float above[] = {9, 9, 5, 4, 3, 2, 1};
    const anx_prediction inside = predict(above, 7, 1);
    CU_ASSERT(!inside.right1 && inside.tied1 && inside.right5 && !inside.tied5);
    static const float below[] = {9, 8, 7, 6, 5, 1, 1};
    const anx_prediction outside = predict(below, 7, 5);
    CU_ASSERT(!outside.right5 && !outside.tied5);
}

static void no_number_comes_before_all_numbers(void) {
    const float z[] = {1.0f, NAN, INFINITY, -INFINITY, 2.0f, 3.0f, 4.0f};
    const anx_prediction p = predict(z, 7, 6);
    CU_ASSERT(top_is(&p, 1, 2, 6, 5, 4));
    CU_ASSERT(p.non_finite && p.ambiguous1 && p.ambiguous5);
    CU_ASSERT(isnan(p.loss) && isnan(p.probability[0]));
    const float infinite[] = {1.0f, INFINITY, 2.0f, 3.0f, 4.0f, 5.0f, 6.0f}; /* inf - inf: a NaN whose sign is set */
    const anx_prediction i = predict(infinite, 7, 6);
    CU_ASSERT(isnan(i.probability[0]) && !signbit(i.probability[0]) && isnan(i.loss) && !signbit(i.loss));
    CU_ASSERT(isnan(i.spread) && !signbit(i.spread));
    const float zeros[] = {-0.0f, 0.0f}; /* equal */
    const anx_prediction q = predict(zeros, 2, 0);
    CU_ASSERT(q.right1 && q.tied1 && !q.non_finite);
}

static void margins_within_512_units_are_ambiguous(void) {
    float z[6] = {0, 0, 0, 0, 0, 1}; /* spread: sqrt(1/6 - 1/36) */
    const double limit = 512 * 0x1p-24 * sqrt(5.0 / 36.0);
    z[4] = (float)(1.0 - 0.999 * limit);
    CU_ASSERT(predict(z, 6, 5).ambiguous1);
    CU_ASSERT(predict(z, 6, 4).ambiguous1 && !predict(z, 6, 4).ambiguous5);
    z[4] = (float)(1.0 - 2.5 * limit); /* the spread has grown by less than a quarter */
    CU_ASSERT(!predict(z, 6, 5).ambiguous1);
}

/* What a device computes with decides how much of a margin is certain. */
static void margins_grow_with_the_arithmetic(void) {
    static const anx_math_mode modes[] = {ANX_MATH_FLOAT32, ANX_MATH_TF32, ANX_MATH_FAST};
    static const double margins[] = {512 * 0x1p-24, 0x1p-6, 0x1p-5};
    for (int i = 0; i < 3; i++) {
        CU_ASSERT_EQUAL(anx_ambiguous_margin(modes[i]), margins[i]);
        float z[6] = {0, 0, 0, 0, 0, 1};
        anx_prediction p;
        z[4] = (float)(1.0 - 0.9 * margins[i] * sqrt(5.0 / 36.0));
        anx_predict(z, 6, 5, modes[i], &p);
        CU_ASSERT_TRUE(p.ambiguous1);
        CU_ASSERT_TRUE(anx_prediction_is_sound(&p, 6, modes[i]));
        if (i > 0) CU_ASSERT_FALSE(anx_prediction_is_sound(&p, 6, modes[i - 1]));
    }
}

static void losses_are_averaged_over_images_and_over_batches(void) {
    anx_prediction p[5] = {{.label = 0}};
    const double losses[] = {1, 2, 3, 4, 10};
    for (int i = 0; i < 5; i++) {
        p[i].loss = losses[i];
        p[i].label = i % 2;
        p[i].right1 = i == 1;
        p[i].right5 = i < 4;
    }
    anx_accuracy a = ANX_ACCURACY_INIT;
    ANX_CHECK_OK(anx_accuracy_count(p, 5, 3, 2, &a, &err), &err);
    CU_ASSERT_EQUAL(a.images, 5);
    CU_ASSERT(a.right1 == 1 && a.right5 == 4);
    CU_ASSERT_EQUAL(a.loss, 4.0);
    CU_ASSERT_EQUAL(a.batch_loss, (1.5 + 3.5 + 10.0) / 3);
    CU_ASSERT(a.classes[0].images == 3 && a.classes[0].right1 == 0 && a.classes[0].right5 == 2);
    CU_ASSERT(a.classes[1].images == 2 && a.classes[1].right1 == 1 && a.classes[2].images == 0);
    anx_accuracy_fini(&a);
    ANX_CHECK_OK(anx_accuracy_count(NULL, 0, 3, 2, &a, &err), &err);
    CU_ASSERT(a.images == 0 && isnan(a.loss) && isnan(a.batch_loss));
    anx_accuracy_fini(&a);
    ANX_CHECK_STATUS(ANX_ERR_INVALID_ARGUMENT, anx_accuracy_count(p, 5, 3, 0, &a, &err), &err);
}

/* Wilson's interval of 8 in 10 at 95 %: 0.4901625 to 0.9433178 (Newcombe 1998's formula, worked out to 7 figures). */
static void wilsons_interval_is_that_of_the_books(void) {
    const anx_interval all = anx_wilson(8, 10, INT64_MAX / 4, 1.959963984540054);
    CU_ASSERT_DOUBLE_EQUAL(all.low, 0.4901625, 1e-7);
    CU_ASSERT_DOUBLE_EQUAL(all.high, 0.9433178, 1e-7);
    const anx_interval none = anx_wilson(0, 10, INT64_MAX / 4, 1.959963984540054);
    CU_ASSERT_DOUBLE_EQUAL(none.low, 0.0, 1e-12);
    CU_ASSERT_DOUBLE_EQUAL(none.high, 0.2775328, 1e-7);
}

/* None of 40 right may mean none of all 400: rounding must not take the end away. */
static void none_and_all_right_leave_0_and_1_possible(void) {
    for (int64_t population = 2; population < 2000; population += 7)
        for (int64_t n = 1; n < population; n += 1 + population / 9) {
            CU_ASSERT_EQUAL(anx_wilson(0, n, population, ANX_Z_999).low, 0.0);
            CU_ASSERT_EQUAL(anx_wilson(n, n, population, ANX_Z_999).high, 1.0);
        }
}

static void a_whole_population_leaves_no_doubt(void) {
    const anx_interval whole = anx_wilson(28261, 50000, 50000, ANX_Z_999);
    CU_ASSERT(whole.low == 28261.0 / 50000 && whole.high == whole.low);
    const anx_interval half = anx_wilson(500, 1000, 2000, ANX_Z_999),
                       of_many = anx_wilson(500, 1000, 2000000, ANX_Z_999);
    CU_ASSERT(half.high - half.low < 0.75 * (of_many.high - of_many.low));
    const anx_interval nothing = anx_wilson(0, 0, 100, ANX_Z_999);
    CU_ASSERT(nothing.low == 0.0 && nothing.high == 1.0);
}

static void samples_are_ascending_different_and_repeatable(void) {
    int64_t a[100], b[100];
    ANX_CHECK_OK(anx_draw_sample(1000, 100, 7, a, &err), &err);
    ANX_CHECK_OK(anx_draw_sample(1000, 100, 7, b, &err), &err);
    CU_ASSERT(memcmp(a, b, sizeof a) == 0);
    for (int i = 1; i < 100; i++) CU_ASSERT(a[i] > a[i - 1]);
    CU_ASSERT(a[0] >= 0 && a[99] < 1000);
    ANX_CHECK_OK(anx_draw_sample(1000, 100, 8, b, &err), &err);
    CU_ASSERT(memcmp(a, b, sizeof a) != 0);
    ANX_CHECK_OK(anx_draw_sample(100, 100, 1, a, &err), &err);
    for (int i = 0; i < 100; i++) CU_ASSERT_EQUAL(a[i], i);
    ANX_CHECK_STATUS(ANX_ERR_INVALID_ARGUMENT, anx_draw_sample(5, 6, 1, a, &err), &err);
}

/* Each of 20 numbers is in 5 of 20 draws; 4,000 draws of seeds in a row, within five standard deviations. */
static void every_number_is_drawn_as_often(void) {
    enum { POPULATION = 20, DRAWN = 5, SEEDS = 4000 };
    int counts[POPULATION] = {0};
    for (uint64_t seed = 0; seed < SEEDS; seed++) {
        int64_t drawn[DRAWN];
        ANX_CHECK_OK(anx_draw_sample(POPULATION, DRAWN, seed, drawn, &err), &err);
        for (int i = 0; i < DRAWN; i++) counts[drawn[i]]++;
    }
    const double expected = (double)SEEDS * DRAWN / POPULATION, deviation = sqrt(expected * 0.75);
    for (int i = 0; i < POPULATION; i++) CU_ASSERT(fabs(counts[i] - expected) < 5 * deviation);
}

int main(int argc, char **argv) {
    static const anx_test tests[] = {
        {"the largest five are in order", the_largest_five_are_in_order},
        {"fewer than five classes are all right", fewer_than_five_classes_are_all_right},
        {"without a label nothing is right", without_a_label_nothing_is_right},
        {"of equal logits the lower class is first", of_equal_logits_the_lower_class_is_first},
        {"no number comes before all numbers", no_number_comes_before_all_numbers},
        {"margins within 512 units are ambiguous", margins_within_512_units_are_ambiguous},
        {"margins grow with the arithmetic", margins_grow_with_the_arithmetic},
        {"losses are averaged over images and over batches", losses_are_averaged_over_images_and_over_batches},
        {"Wilson's interval is that of the books", wilsons_interval_is_that_of_the_books},
        {"none and all right leave 0 and 1 possible", none_and_all_right_leave_0_and_1_possible},
        {"a whole population leaves no doubt", a_whole_population_leaves_no_doubt},
        {"samples are ascending, different and repeatable", samples_are_ascending_different_and_repeatable},
        {"every number is drawn as often", every_number_is_drawn_as_often},
        {NULL, NULL},
    };
    return anx_test_main("predictions", tests, argc, argv);
}
