#include "src/train/sampling.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "tests/support/anx_test.h"
#include "tests/train/tables/samplings.h"

enum {
    N_RANDPERMS = sizeof sampling_randperms / sizeof sampling_randperms[0],
    N_EPOCHS = sizeof sampling_epochs / sizeof sampling_epochs[0],
    N_CROPS = sizeof sampling_crops / sizeof sampling_crops[0],
};

static void permutations_are_pytorchs(void) {
    for (size_t i = 0; i < N_RANDPERMS; i++) {
        int64_t order[SAMPLING_IMAGES];
        anx_mt19937 gen;
        anx_mt19937_seed(&gen, i);
        anx_randperm(&gen, SAMPLING_IMAGES, order);
        CU_ASSERT_EQUAL(memcmp(order, sampling_randperms[i], sizeof order), 0);
    }
}

static void epochs_are_the_dataloaders(void) {
    anx_mt19937 gen;
    anx_mt19937_seed(&gen, 0);
    for (size_t i = 0; i < N_EPOCHS; i++) {
        int64_t order[SAMPLING_IMAGES];
        anx_loader_begin(&gen, true, SAMPLING_IMAGES, order);
        CU_ASSERT_EQUAL(memcmp(order, sampling_epochs[i], sizeof order), 0);
        anx_loader_begin(&gen, false, SAMPLING_IMAGES, NULL); /* the evaluation */
    }
    int64_t order[SAMPLING_IMAGES];
    anx_loader_begin(&gen, false, SAMPLING_IMAGES, order);
    for (int64_t i = 0; i < SAMPLING_IMAGES; i++) CU_ASSERT_EQUAL(order[i], i);
}

static void crops_and_flips_are_torchvisions(void) {
    const anx_crop_ranges narrow = {.scale = {0.9, 1.0}, .ratio = {0.2, 5.0}}, usual = anx_crop_defaults();
    anx_mt19937 gen;
    anx_mt19937_seed(&gen, 0);
    for (size_t i = 0; i < N_CROPS; i++) {
        const anx_crop crop = anx_crop_draw(&gen, sampling_crops[i].image_height, sampling_crops[i].image_width,
                                            sampling_crops[i].narrow ? &narrow : &usual);
        CU_ASSERT_EQUAL(crop.top, sampling_crops[i].top);
        CU_ASSERT_EQUAL(crop.left, sampling_crops[i].left);
        CU_ASSERT_EQUAL(crop.height, sampling_crops[i].height);
        CU_ASSERT_EQUAL(crop.width, sampling_crops[i].width);
        CU_ASSERT_EQUAL(anx_flip_draw(&gen, 0.5), sampling_crops[i].flip);
    }
}

static void crops_lie_within_the_image(void) {
    const anx_crop_ranges ranges = anx_crop_defaults();
    anx_mt19937 gen;
    anx_mt19937_seed(&gen, 4);
    for (int64_t height = 1; height < 300; height = height * 2 + 1)
        for (int64_t width = 1; width < (INT64_C(1) << 27); width = width * 5 + 2) {
            const anx_crop c = anx_crop_draw(&gen, height, width, &ranges);
            CU_ASSERT_TRUE(c.height >= 1 && c.width >= 1 && c.top >= 0 && c.left >= 0);
            CU_ASSERT_TRUE(c.top + c.height <= height && c.left + c.width <= width);
        }
}

static int by_value(const void *a, const void *b) {
    const int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    return (x > y) - (x < y);
}

static void independent_draws_depend_on_seed_epoch_and_index(void) {
    enum { N = 500 };
    int64_t order[N], again[N], other[N];
    anx_independent_order(1, 2, N, order);
    anx_independent_order(1, 2, N, again);
    CU_ASSERT_EQUAL(memcmp(order, again, sizeof order), 0);
    anx_independent_order(1, 3, N, other);
    CU_ASSERT_NOT_EQUAL(memcmp(order, other, sizeof order), 0);
    anx_independent_order(2, 2, N, other);
    CU_ASSERT_NOT_EQUAL(memcmp(order, other, sizeof order), 0);
    qsort(again, N, sizeof again[0], by_value);
    for (int64_t i = 0; i < N; i++) CU_ASSERT_EQUAL(again[i], i);

    /* first draws of 500 images in 2 epochs of 2 seeds: as many values as draws, but for a chance meeting */
    static int64_t draws[4 * N];
    for (int i = 0; i < 4 * N; i++) {
        anx_mt19937 gen;
        anx_independent_generator((uint64_t)(i / (2 * N)), i / N % 2, i % N, &gen);
        draws[i] = anx_mt19937_u32(&gen);
    }
    qsort(draws, 4 * N, sizeof draws[0], by_value);
    int equal = 0;
    for (int i = 1; i < 4 * N; i++) equal += draws[i] == draws[i - 1];
    CU_ASSERT_TRUE(equal <= 1);
}

static void ranges_are_checked(void) {
    static const struct {
        anx_crop_ranges ranges;
        const char *message;
    } bad[] = {
        {{{0.5, 0.1}, {1.0, 1.0}}, "scale is 0.5 to 0.1"},
        {{{-0.1, 1.0}, {1.0, 1.0}}, "scale is -0.1"},
        {{{0.1, 1.5}, {1.0, 1.0}}, "to 1.5"},
        {{{NAN, 1.0}, {1.0, 1.0}}, "scale is nan"},
        {{{0.1, 1.0}, {0.0, 1.0}}, "ratio is 0 to 1"},
        {{{0.1, 1.0}, {2.0, 1.0}}, "ratio is 2 to 1"},
    };
    anx_error err = ANX_ERROR_INIT;
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        ANX_CHECK_STATUS(ANX_ERR_INVALID_ARGUMENT, anx_crop_check(&bad[i].ranges, &err), &err);
        ANX_CHECK_MESSAGE(bad[i].message, &err);
    }
    const anx_crop_ranges usual = anx_crop_defaults();
    ANX_CHECK_OK(anx_crop_check(&usual, &err), &err);
}

int main(int argc, char **argv) {
    static const anx_test tests[] = {
        {"permutations are PyTorch's", permutations_are_pytorchs},
        {"epochs are the DataLoader's", epochs_are_the_dataloaders},
        {"crops and flips are torchvision's", crops_and_flips_are_torchvisions},
        {"crops lie within the image", crops_lie_within_the_image},
        {"independent draws depend on seed, epoch and index", independent_draws_depend_on_seed_epoch_and_index},
        {"ranges are checked", ranges_are_checked},
        {NULL, NULL},
    };
    return anx_test_main("sampling", tests, argc, argv);
}
