/*
 * The order of the images and what is done to each one at random: as PyTorch's DataLoader (num_workers=0) and
 * torchvision's transforms draw it from the global generator, or as a pure function of (seed, epoch, index), which any
 * number of threads may compute in any order.
 *
 * Sources: randperm_cpu in aten/src/ATen/native/TensorFactories.cpp, torch/utils/data/{dataloader,sampler}.py,
 * torchvision/transforms/transforms.py.
 */
#ifndef ANX_SRC_TRAIN_SAMPLING_H
#define ANX_SRC_TRAIN_SAMPLING_H

#include "src/base/mt19937.h"
#include "src/base/status.h"

/* ---- order ---------------------------------------------------------------------------------------------- */

/* torch.randperm(n, generator=gen): order[0 .. n), n >= 0. */
void anx_randperm(anx_mt19937 *gen, int64_t n, int64_t *order);

/*
 * What `iter(DataLoader(dataset, shuffle=shuffle, num_workers=0))` and its first batch draw from the global generator
 * gen: a base seed (which no worker uses, but which is drawn, in an evaluation too), then with shuffle=True the seed of
 * a generator of the sampler's own, which permutes. order[0 .. n): the indices of the epoch; may be NULL without
 * shuffle. The images' own draws follow in that order. Returns the sampler's seed, 0 without shuffle.
 */
int64_t anx_loader_begin(anx_mt19937 *gen, bool shuffle, int64_t n, int64_t *order);

/* The order again, from the sampler's seed: for an epoch that is taken up in its middle. */
void anx_loader_order(int64_t seed, int64_t n, int64_t *order);

/* The order of an epoch that depends on the seed and the epoch alone. Other generators are left alone. */
void anx_independent_order(uint64_t seed, int64_t epoch, int64_t n, int64_t *order);

/* The generator for the draws of image `index` (in the data set) in an epoch: depends on these three alone. */
void anx_independent_generator(uint64_t seed, int64_t epoch, int64_t index, anx_mt19937 *out);

/* ---- the draws of an image, in this order as in torchvision's training preset --------------------------- */

/* RandomResizedCrop's ranges: of the area as a part of the image's, and of width / height. */
typedef struct anx_crop_ranges {
    double scale[2], ratio[2];
} anx_crop_ranges;

/* scale (0.08, 1), ratio (3/4, 4/3). */
anx_crop_ranges anx_crop_defaults(void);

/* INVALID_ARGUMENT unless both ranges go upwards and are within 0 .. 1 and above 0. */
anx_status anx_crop_check(const anx_crop_ranges *ranges, anx_error *err);

/* A part of an image, in its pixels, to be resized. */
typedef struct anx_crop {
    int64_t top, left, height, width;
} anx_crop;

/*
 * RandomResizedCrop.get_params for an image of height x width pixels, 1 .. 2^27 each: up to ten tries of two draws,
 * then two for the place; where all fail, the middle. The exponential of the logarithm drawn is the nearest float to
 * it; PyTorch's is MKL's, of which about 1 % are not, which moves an edge by a pixel once in some ten million images.
 */
anx_crop anx_crop_draw(anx_mt19937 *gen, int64_t height, int64_t width, const anx_crop_ranges *ranges);

/* RandomHorizontalFlip(p): whether to flip. One draw; train.py has no such transform where p is 0. */
bool anx_flip_draw(anx_mt19937 *gen, double p);

#endif
