/*
 * The input of a training: epoch by epoch, batch by batch, the images in a random order, each changed at random.
 *
 * Two ways to draw. As PyTorch's: DataLoader(ImageFolder(...), batch, shuffle=True, num_workers=0) with torchvision's
 * transforms, from the one generator that dropout draws from too: the same images, crops and flips in the same places
 * of its stream. Or independently: what happens to an image is a function of (seed, epoch, index) alone, nothing is
 * drawn from the generator, and all of it is drawn by many threads. What is given out never depends on the number of
 * threads.
 */
#ifndef ANX_LOADERS_DATASET_TRAINING_INPUT_H
#define ANX_LOADERS_DATASET_TRAINING_INPUT_H

#include "loaders/dataset/image_source.h"
#include "loaders/image/preprocess.h"
#include "src/backend/backend.h"

/* What is done to an image at random; the rest is the evaluation's preprocessing. */
typedef struct anx_augment_kind {
    const char *name;
    bool crop;   /* RandomResizedCrop with its defaults, in place of Resize and CenterCrop */
    double flip; /* RandomHorizontalFlip's p; 0: there is no such transform, and nothing is drawn */
} anx_augment_kind;

/* "torchvision-basic" (ClassificationPresetTrain's defaults), "hflip", "none"; NULL past the end. */
const anx_augment_kind *anx_augment_kind_at(int i);
/* The one of that name; NULL if there is none. */
const anx_augment_kind *anx_augment_kind_find(const char *name);

typedef struct anx_training_input_options {
    const anx_image_source *source; /* all pointers must outlive the input */
    const int64_t *targets;         /* (n_images) class of each file */
    int64_t n_images;               /* 1 or more */
    int64_t batch;                  /* an epoch's last one may be shorter */
    const anx_preprocess_profile *profile;
    const anx_augment_kind *augment;
    bool independent; /* drawn from `seed`, not from the generator */
    uint64_t seed;
    int threads;        /* <= 0: anx_threads_available() */
    bool skip_bad;      /* leave out images that cannot be read or decoded; else they are an error */
    anx_device *device; /* (optional) as in anx_pipeline_options */
} anx_training_input_options;

typedef struct anx_training_input anx_training_input;

/* A batch; valid until the next call. */
typedef struct anx_training_batch {
    int64_t first;               /* images of this epoch before it */
    int64_t n;                   /* images in it, bad ones left out: 0 where the epoch is over, or all were bad */
    bool over;                   /* there is no batch: the epoch is over */
    const float *input;          /* (n, 3, crop, crop) */
    const int64_t *targets;      /* (n) */
    const int64_t *files;        /* (n) indices into the source */
    const anx_error *const *bad; /* (n_bad) what was wrong with those left out; each names its file */
    int64_t n_bad;
} anx_training_batch;

/* Reads nothing yet. Errors: INVALID_ARGUMENT, LIMIT, OUT_OF_MEMORY. */
anx_status anx_training_input_create(const anx_training_input_options *options, anx_training_input **out,
                                     anx_error *err);
void anx_training_input_destroy(anx_training_input *input);

/*
 * Begins an epoch: its order is drawn from gen, unless draws are independent. *order_seed (may be NULL): from which
 * anx_training_input_resume makes the same order. Errors: LIMIT, OUT_OF_MEMORY.
 */
anx_status anx_training_input_begin(anx_training_input *input, anx_mt19937 *gen, int64_t epoch, int64_t *order_seed,
                                    anx_error *err);
/*
 * Goes on with an epoch behind its first n_batches batches; the generator has to be as it was then.
 * Errors: INVALID_ARGUMENT (more batches than an epoch has), LIMIT, OUT_OF_MEMORY.
 */
anx_status anx_training_input_resume(anx_training_input *input, int64_t epoch, int64_t order_seed, int64_t n_batches,
                                     anx_error *err);

/*
 * The next batch. As PyTorch's loader does it, what its images need is drawn from gen now, image by image; one whose
 * file does not tell its size then draws nothing and is bad, whatever it tells later. gen is not used where draws are
 * independent. Errors: of the first bad image, unless skip_bad; INTERRUPTED, OUT_OF_MEMORY. After one gen is as it was
 * before the call, and the epoch has to be begun anew, or resumed behind the batches that were given out.
 */
anx_status anx_training_input_next(anx_training_input *input, anx_mt19937 *gen, anx_training_batch *out,
                                   anx_error *err);

#endif
