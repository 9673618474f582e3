/* Written by torch_tables.py with PyTorch 2.15.0. */
#ifndef ANX_TESTS_TRAIN_TABLES_SAMPLINGS_H
#define ANX_TESTS_TRAIN_TABLES_SAMPLINGS_H

#include <math.h>
#include <stdbool.h>
#include <stdint.h>

enum { SAMPLING_IMAGES = 12 };
/* manual_seed(case); torch.randperm(SAMPLING_IMAGES) */
static const int64_t sampling_randperms[][SAMPLING_IMAGES] = {
    {8, 0, 5, 9, 7, 4, 2, 10, 3, 1, 11, 6},
    {1, 4, 6, 8, 11, 0, 5, 3, 2, 9, 10, 7},
    {0, 9, 3, 2, 10, 5, 6, 7, 8, 1, 4, 11},
};
/* manual_seed(0), then three epochs of DataLoader(shuffle=True), each with an evaluation behind it */
static const int64_t sampling_epochs[][SAMPLING_IMAGES] = {
    {6, 11, 9, 8, 2, 1, 4, 5, 3, 10, 7, 0},
    {10, 1, 3, 8, 7, 4, 2, 9, 5, 11, 6, 0},
    {7, 2, 1, 4, 3, 8, 5, 10, 0, 6, 9, 11},
};
/* manual_seed(0), then for each image RandomResizedCrop's parameters, with its own ranges or with narrow ones, and
 * RandomHorizontalFlip(0.5)'s draw */
static const struct {
    int64_t image_height, image_width;
    bool narrow;
    int64_t top, left, height, width;
    bool flip;
} sampling_crops[] = {
    {375, 500, 0, 17, 80, 294, 343, 1}, {500, 375, 0, 94, 1, 354, 352, 0},
    {224, 224, 0, 37, 72, 146, 138, 1}, {3, 1000, 0, 0, 498, 3, 4, 1},
    {900, 5, 0, 446, 0, 7, 5, 0},       {1, 1, 0, 0, 0, 1, 1, 0},
    {333, 500, 1, 0, 4, 330, 480, 1},   {6, 6, 1, 0, 0, 5, 6, 0},
    {40, 41, 1, 0, 0, 40, 41, 1},       {4000, 3000, 0, 960, 630, 2588, 1967, 1},
};

#endif
