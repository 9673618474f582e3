/*
 * torchvision's preprocessing, bit for bit: Image.open(f).convert("RGB"), Resize (bilinear, PIL), CenterCrop,
 * to float by /255, Normalize. One profile, two ways to run it: the fast one computes only what the crop needs,
 * the staged one keeps each stage. Both give the same values.
 */
#ifndef ANX_LOADERS_IMAGE_PREPROCESS_H
#define ANX_LOADERS_IMAGE_PREPROCESS_H

#include "loaders/image/decode.h"
#include "src/base/tensor.h"
#include "src/train/sampling.h"

/* 8-bit RGB, interleaved, rows without padding: (H, W, 3). pixels is owned; release with anx_image_fini. */
typedef struct anx_image {
    int64_t width, height;
    uint8_t *pixels;
} anx_image;

#define ANX_IMAGE_INIT                                                                                                 \
    { .width = 0, .height = 0, .pixels = NULL }
void anx_image_fini(anx_image *image);

typedef struct anx_preprocess_profile {
    const char *name; /* "torchvision-alexnet" */
    int resize;       /* the shorter side's length afterwards: 256 */
    int crop;         /* 224 */
    float mean[3], std[3];
} anx_preprocess_profile;

/* Resize(256), CenterCrop(224), ImageNet's mean and std: torchvision's AlexNet_Weights.IMAGENET1K_V1.transforms(). */
extern const anx_preprocess_profile anx_preprocess_torchvision;

/* INVALID_ARGUMENT where resize or crop is not from 1 to 16384; what uses a profile checks that itself. */
anx_status anx_preprocess_check(const anx_preprocess_profile *profile, anx_error *err);

/* Each stage's output; release with anx_preprocess_stages_fini. */
typedef struct anx_preprocess_stages {
    anx_image image;   /* decoded, convert("RGB") */
    anx_image resize;  /* after Resize */
    anx_image crop;    /* after CenterCrop */
    anx_tensor scaled; /* float32 (3, crop, crop), in [0, 1] */
    anx_tensor input;  /* float32 (3, crop, crop), normalised: what the network takes */
} anx_preprocess_stages;

#define ANX_PREPROCESS_STAGES_INIT                                                                                     \
    { .image = ANX_IMAGE_INIT }
void anx_preprocess_stages_fini(anx_preprocess_stages *stages);

/* Every stage in full. bytes: a whole JPEG or PNG file; `name` is for messages. *out must be ..._INIT. */
anx_status anx_preprocess_staged(const anx_preprocess_profile *profile, const uint8_t *bytes, size_t n_bytes,
                                 const char *name, anx_preprocess_stages *out, anx_error *err);

/* The fast path: straight to input (3, crop, crop) floats. */
anx_status anx_preprocess_fast(const anx_preprocess_profile *profile, const uint8_t *bytes, size_t n_bytes,
                               const char *name, float *input, anx_error *err);

/* What was drawn for an image of a training (src/train/sampling.h). */
typedef struct anx_augmentation {
    bool has_crop; /* `crop` is resized to (crop, crop) of the profile, in place of Resize and CenterCrop */
    anx_crop crop;
    bool flip; /* left to right, in the end */
} anx_augmentation;

/*
 * The fast path with an augmentation (NULL: none): torchvision's resized_crop and hflip on PIL images, then as ever,
 * which is its training preset, ClassificationPresetTrain with the PIL backend, for what that drew.
 * Errors: INVALID_ARGUMENT also for a crop that is not inside the image.
 */
anx_status anx_preprocess_augmented(const anx_preprocess_profile *profile, const anx_augmentation *augmentation,
                                    const uint8_t *bytes, size_t n_bytes, const char *name, float *input,
                                    anx_error *err);

/*
 * The part of a decoded image of width x height pixels that the crop is made from: what the fast path decodes.
 * Errors: INVALID_ARGUMENT (the profile), LIMIT (the resized image would be too large), OUT_OF_MEMORY.
 */
anx_status anx_preprocess_source(const anx_preprocess_profile *profile, int32_t width, int32_t height,
                                 anx_image_region *out, anx_error *err);

#endif
