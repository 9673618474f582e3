/*
 * What a classifier said of images, and what it makes: top-k, probabilities, margins, accuracy.
 */
#ifndef ANX_PARITY_PREDICTIONS_H
#define ANX_PARITY_PREDICTIONS_H

#include "src/backend/backend.h"

enum { ANX_TOP = 5 };

/*
 * One image. Ties: of equal logits the class with the lower index counts as larger (torch.topk promises no order; a
 * stated one makes results repeatable); whether one mattered is counted. A NaN counts as larger than every number,
 * as in torch.topk.
 */
typedef struct anx_prediction {
    int64_t file;               /* index of the sample */
    int64_t label;              /* -1: none */
    int32_t top[ANX_TOP];       /* classes, largest logit first; -1 where there are fewer classes */
    float probability[ANX_TOP]; /* softmax in double, of the float32 logits */
    double loss;                /* -log softmax[label], in double; NaN without a label */
    bool right1, right5;        /* the label is among the first 1, 5 */
    bool tied1, tied5;          /* right1, right5 would be another under another order of equal logits */
    /*
     * How far the decision is from the other one, in logits: |z_label - z_other|, where z_other is the largest (fifth
     * largest) of the other classes' logits. INFINITY without a label or with too few classes.
     */
    double margin1, margin5;
    double spread;               /* s: the standard deviation of the image's logits */
    bool ambiguous1, ambiguous5; /* margin <= anx_ambiguous_margin s: another correct engine may decide otherwise */
    bool non_finite;             /* a logit is NaN or infinite */
} anx_prediction;

/*
 * Margins that rounding may turn, in units of s. In float32 512 u: over 48 images 11 engines' margins between
 * neighbours erred by at most 178 u, ten standard deviations of the worst engine's being 512. In TF32 2^-6: with the
 * weights of seed 0 margins among the first eleven erred by at most 0.0012 (over 40 images) where operands were rounded
 * and by 0.0047 where they were cut off, most of which shrinks all margins alike; trained convolutions have four times
 * the rounding error of those. Where anything fast is allowed twice that.
 */
double anx_ambiguous_margin(anx_math_mode math);

/*
 * logits (classes), float32, which a device computed with that math; label -1: none. `file` becomes -1 and is the
 * caller's to set.
 */
void anx_predict(const float *logits, int64_t classes, int64_t label, anx_math_mode math, anx_prediction *out);

/*
 * Could anx_predict have said this of an image, with so many classes and that math? False where fields contradict each
 * other or no logits have such values: right1 without the label in the first place, a class twice, a negative loss.
 */
bool anx_prediction_is_sound(const anx_prediction *prediction, int64_t classes, anx_math_mode math);

/* Sums over images. */
typedef struct anx_accuracy_class {
    int64_t images, right1, right5;
} anx_accuracy_class;

typedef struct anx_accuracy {
    int64_t images, right1, right5;
    int64_t tied1, tied5, ambiguous1, ambiguous5, non_finite;
    double loss;       /* mean over images */
    double batch_loss; /* mean of the means of batches of `batch` images in order: what torchvision prints */
    int64_t batch;
    int64_t n_classes;
    anx_accuracy_class *classes; /* (n_classes), owned */
} anx_accuracy;

#define ANX_ACCURACY_INIT                                                                                              \
    { .images = 0, .classes = NULL }

/* Sums up n predictions in order. *out must be ..._INIT; release with anx_accuracy_fini. Errors: INVALID_ARGUMENT
   (batch < 1), OUT_OF_MEMORY. */
anx_status anx_accuracy_count(const anx_prediction *predictions, int64_t n, int64_t n_classes, int64_t batch,
                              anx_accuracy *out, anx_error *err);
void anx_accuracy_fini(anx_accuracy *accuracy);

typedef struct anx_interval {
    double low, high; /* shares, in [0, 1] */
} anx_interval;

/*
 * Wilson's score interval for the share of right ones in a population of `population`, from `right` of `n` drawn
 * without replacement (n <= population): with the finite-population correction; the population itself gives its share
 * alone. z: 3.2905 for 99.9 %.
 */
anx_interval anx_wilson(int64_t right, int64_t n, int64_t population, double z);
#define ANX_Z_999 3.290526731491926

/*
 * count of the numbers 0 .. population - 1, drawn without replacement by mt19937 from the seed, ascending: the same
 * on every machine. indices (count). Errors: INVALID_ARGUMENT (count > population), OUT_OF_MEMORY.
 */
anx_status anx_draw_sample(int64_t population, int64_t count, uint64_t seed, int64_t *indices, anx_error *err);

#endif
