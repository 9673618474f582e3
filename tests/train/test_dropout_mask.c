#include "src/train/dropout_mask.h"

#include <math.h>
#include <string.h>

#include "tests/support/anx_test.h"
#include "tests/train/tables/dropout_masks.h"

enum { ELEMS = 40 };

static void masks_are_pytorchs(void) {
    for (size_t i = 0; i < sizeof dropout_masks / sizeof dropout_masks[0]; i++) {
        float factors[ELEMS], scale, after, after_expected;
        anx_mt19937 gen;
        anx_mt19937_seed(&gen, i);
        memcpy(&scale, &dropout_masks[i].scale, sizeof scale);
        memcpy(&after_expected, &dropout_masks[i].after, sizeof after);
        CU_ASSERT_EQUAL(anx_dropout_scale(dropout_masks[i].p), scale);
        anx_dropout_factors(&gen, dropout_masks[i].p, ELEMS, factors);
        for (int k = 0; k < ELEMS; k++)
            CU_ASSERT_EQUAL(factors[k], (dropout_masks[i].kept >> k & 1) != 0 ? scale : 0.0f);
        anx_mt19937_uniform_f32(&gen, 1, 0.0f, 1.0f, &after);
        CU_ASSERT_EQUAL(after, after_expected);
    }
}

static void pieces_join_to_one_mask(void) {
    float whole[1000], pieces[1000];
    anx_mt19937 one, two;
    anx_mt19937_seed(&one, 3);
    anx_mt19937_seed(&two, 3);
    anx_dropout_factors(&one, 0.3, 1000, whole);
    anx_dropout_factors(&two, 0.3, 0, pieces);
    anx_dropout_factors(&two, 0.3, 333, pieces);
    anx_dropout_factors(&two, 0.3, 667, pieces + 333);
    CU_ASSERT_EQUAL(memcmp(whole, pieces, sizeof whole), 0);
}

static void only_probabilities_are_taken(void) {
    anx_error err = ANX_ERROR_INIT;
    ANX_CHECK_OK(anx_dropout_check(0.0, &err), &err);
    ANX_CHECK_OK(anx_dropout_check(1.0, &err), &err);
    ANX_CHECK_STATUS(ANX_ERR_INVALID_ARGUMENT, anx_dropout_check(-0.1, &err), &err);
    ANX_CHECK_MESSAGE("dropout probability is -0.1", &err);
    ANX_CHECK_STATUS(ANX_ERR_INVALID_ARGUMENT, anx_dropout_check(NAN, &err), &err);
}

int main(int argc, char **argv) {
    static const anx_test tests[] = {
        {"masks are PyTorch's", masks_are_pytorchs},
        {"a mask drawn in pieces is the same mask", pieces_join_to_one_mask},
        {"only probabilities are taken", only_probabilities_are_taken},
        {NULL, NULL},
    };
    return anx_test_main("dropout_mask", tests, argc, argv);
}
