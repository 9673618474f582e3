#include "loaders/dataset/training_input.h"

#include <stdlib.h>
#include <string.h>

#include "loaders/dataset/pipeline.h"
#include "src/base/checked.h"
#include "src/base/interrupt.h"

static const anx_augment_kind kinds[] = {
    {"torchvision-basic", true, 0.5},
    {"hflip", false, 0.5},
    {"none", false, 0.0},
};

/* What was drawn for an image, if its file told its size. */
typedef struct drawing {
    bool done;
    anx_augmentation augmentation;
} drawing;

struct anx_training_input {
    anx_training_input_options options;
    anx_pipeline *pipeline; /* of the epoch */
    int64_t epoch;
    int64_t begun;     /* images of the epoch before the pipeline's first */
    int64_t given;     /* ... and of the pipeline's, how many were drawn for */
    int64_t *order;    /* (n_images) */
    drawing *drawings; /* (n_images) by place in the order; as far as they are drawn */
    /* of the batch that was given out last */
    int64_t *targets, *files;
    const anx_error **bad;
    float *compact; /* its good images, where some are bad; made when first needed */
};

const anx_augment_kind *anx_augment_kind_at(int i) {
    return i >= 0 && i < (int)(sizeof kinds / sizeof kinds[0]) ? &kinds[i] : NULL;
}

const anx_augment_kind *anx_augment_kind_find(const char *name) {
    for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++)
        if (strcmp(kinds[i].name, name) == 0) return &kinds[i];
    return NULL;
}

/* ---- draws ---------------------------------------------------------------------------------------------- */

static bool draws(const anx_augment_kind *kind) {
    return kind->crop || kind->flip > 0.0;
}

/* As the transforms follow one another; an image is opened before they begin. */
static anx_status draw(const anx_augment_kind *kind, anx_mt19937 *gen, const uint8_t *bytes, size_t n_bytes,
                       anx_augmentation *out, anx_error *err) {
    const anx_crop_ranges ranges = anx_crop_defaults();
    int32_t width = 0, height = 0;
    const anx_status status = anx_image_size(bytes, n_bytes, &width, &height, err);
    if (status != ANX_OK) return status;
    *out = (anx_augmentation){.has_crop = kind->crop};
    if (kind->crop) out->crop = anx_crop_draw(gen, height, width, &ranges);
    if (kind->flip > 0.0) out->flip = anx_flip_draw(gen, kind->flip);
    return ANX_OK;
}

/*
 * In the order of the batch, from the one generator. What is wrong with an image is found again when it is decoded.
 * Errors: INTERRUPTED, OUT_OF_MEMORY.
 */
static anx_status draw_batch(anx_training_input *in, anx_mt19937 *gen, int64_t from, int64_t to, anx_error *err) {
    const anx_training_input_options *o = &in->options;
    for (int64_t i = from; i < to; i++) {
        uint8_t *bytes = NULL;
        size_t n_bytes = 0;
        drawing *d = &in->drawings[i];
        if (anx_interrupt_requested()) return anx_error_set(err, ANX_ERR_INTERRUPTED, "interrupted");
        anx_status status = o->source->read(o->source->context, in->order[i], &bytes, &n_bytes, err);
        if (status == ANX_OK) status = draw(o->augment, gen, bytes, n_bytes, &d->augmentation, err);
        d->done = status == ANX_OK;
        free(bytes);
        if (status != ANX_ERR_OUT_OF_MEMORY) continue;
        anx_error_in_file(err, o->source->name(o->source->context, in->order[i]));
        return status;
    }
    return ANX_OK;
}

/* For the pipeline: what was drawn, or what is to be drawn now. `position` counts from in->begun. */
static anx_status augment(void *context, int64_t position, const uint8_t *bytes, size_t n_bytes, anx_augmentation *out,
                          anx_error *err) {
    const anx_training_input *in = context;
    const int64_t at = in->begun + position;
    if (!draws(in->options.augment)) {
        *out = (anx_augmentation){.has_crop = false};
        return ANX_OK;
    }
    if (!in->options.independent && in->drawings[at].done) {
        *out = in->drawings[at].augmentation;
        return ANX_OK;
    }
    if (!in->options.independent) {
        int32_t width, height;
        const anx_status status = anx_image_size(bytes, n_bytes, &width, &height, err);
        if (status != ANX_OK) return status;
        return anx_error_set(err, ANX_ERR_IO, "could not be read when its crop and flip were to be drawn, only later");
    }
    anx_mt19937 gen;
    anx_independent_generator(in->options.seed, in->epoch, in->order[at], &gen);
    return draw(in->options.augment, &gen, bytes, n_bytes, out, err);
}

/* ---- epochs --------------------------------------------------------------------------------------------- */

/* A pipeline for what is left of the epoch. */
static anx_status start(anx_training_input *in, int64_t epoch, int64_t begun, anx_error *err) {
    const anx_training_input_options *o = &in->options;
    const anx_pipeline_options options = {.profile = o->profile,
                                          .files = in->order + begun,
                                          .n_files = o->n_images - begun,
                                          .batch = o->batch,
                                          .threads = o->threads,
                                          .device = o->device,
                                          .augment = augment,
                                          .augment_context = in};
    anx_pipeline_destroy(in->pipeline);
    in->pipeline = NULL;
    in->epoch = epoch;
    in->begun = begun;
    in->given = 0;
    return anx_pipeline_create(o->source, &options, &in->pipeline, err);
}

anx_status anx_training_input_begin(anx_training_input *in, anx_mt19937 *gen, int64_t epoch, int64_t *order_seed,
                                    anx_error *err) {
    const anx_training_input_options *o = &in->options;
    int64_t seed = 0;
    if (o->independent)
        anx_independent_order(o->seed, epoch, o->n_images, in->order);
    else
        seed = anx_loader_begin(gen, true, o->n_images, in->order);
    if (order_seed != NULL) *order_seed = seed;
    return start(in, epoch, 0, err);
}

anx_status anx_training_input_resume(anx_training_input *in, int64_t epoch, int64_t order_seed, int64_t n_batches,
                                     anx_error *err) {
    const anx_training_input_options *o = &in->options;
    const int64_t batches = (o->n_images - 1) / o->batch + 1;
    if (n_batches < 0 || n_batches > batches)
        return anx_error_set(err, ANX_ERR_INVALID_ARGUMENT, "%lld batches of an epoch of %lld are done",
                             (long long)n_batches, (long long)batches);
    if (o->independent)
        anx_independent_order(o->seed, epoch, o->n_images, in->order);
    else
        anx_loader_order(order_seed, o->n_images, in->order);
    return start(in, epoch, n_batches < batches ? n_batches * o->batch : o->n_images, err);
}

/* ---- batches -------------------------------------------------------------------------------------------- */

/* The good images side by side. Errors: OUT_OF_MEMORY. */
static anx_status leave_out_bad(anx_training_input *in, const anx_pipeline_batch *b, anx_training_batch *out,
                                anx_error *err) {
    const size_t crop = (size_t)in->options.profile->crop, elems = 3 * crop * crop;
    if (in->compact == NULL) in->compact = calloc((size_t)in->options.batch, elems * sizeof *in->compact);
    if (in->compact == NULL)
        return anx_error_set(err, ANX_ERR_OUT_OF_MEMORY, "out of memory for a batch of %lld images",
                             (long long)in->options.batch);
    int64_t n = 0;
    for (int64_t i = 0; i < b->n; i++)
        if (b->bad[i] == NULL)
            memcpy(in->compact + (size_t)n++ * elems, b->input + (size_t)i * elems, elems * sizeof *in->compact);
    out->input = in->compact;
    return ANX_OK;
}

static anx_status describe(anx_training_input *in, const anx_pipeline_batch *b, anx_training_batch *out,
                           anx_error *err) {
    const anx_training_input_options *o = &in->options;
    *out = (anx_training_batch){
        .first = in->begun + b->first, .input = b->input, .targets = in->targets, .files = in->files, .bad = in->bad};
    for (int64_t i = 0; i < b->n; i++) {
        const int64_t file = in->order[out->first + i];
        if (b->bad[i] != NULL && !o->skip_bad) {
            if (err != NULL) *err = *b->bad[i];
            return b->bad[i]->status;
        }
        if (b->bad[i] != NULL) {
            in->bad[out->n_bad++] = b->bad[i];
            continue;
        }
        in->files[out->n] = file;
        in->targets[out->n++] = o->targets[file];
    }
    return out->n_bad > 0 ? leave_out_bad(in, b, out, err) : ANX_OK;
}

static anx_status next(anx_training_input *in, anx_mt19937 *gen, anx_training_batch *out, anx_error *err) {
    const anx_training_input_options *o = &in->options;
    anx_pipeline_batch b;
    if (!o->independent) {
        const int64_t from = in->begun + in->given, left = o->n_images - from;
        const int64_t n = left < o->batch ? left : o->batch;
        const anx_status status = draws(o->augment) ? draw_batch(in, gen, from, from + n, err) : ANX_OK;
        if (status != ANX_OK) return status;
        in->given += n;
        anx_pipeline_allow(in->pipeline, in->given);
    }
    const anx_status status = anx_pipeline_next(in->pipeline, &b, err);
    if (status != ANX_OK) return status;
    if (b.n > 0) return describe(in, &b, out, err);
    *out = (anx_training_batch){.first = o->n_images, .over = true};
    return ANX_OK;
}

anx_status anx_training_input_next(anx_training_input *in, anx_mt19937 *gen, anx_training_batch *out, anx_error *err) {
    if (in->pipeline == NULL) return anx_error_set(err, ANX_ERR_INVALID_ARGUMENT, "no epoch was begun");
    if (in->options.independent) return next(in, NULL, out, err);
    const anx_mt19937 before = *gen;
    const anx_status status = next(in, gen, out, err);
    if (status != ANX_OK) *gen = before;
    return status;
}

/* ---- creation ------------------------------------------------------------------------------------------- */

anx_status anx_training_input_create(const anx_training_input_options *options, anx_training_input **out,
                                     anx_error *err) {
    size_t bytes;
    if (options->n_images < 1 || options->batch < 1 || options->augment == NULL || options->profile == NULL)
        return anx_error_set(err, ANX_ERR_INVALID_ARGUMENT, "a training's input of %lld images in batches of %lld",
                             (long long)options->n_images, (long long)options->batch);
    if (!anx_checked_mul_size((size_t)options->n_images, sizeof(drawing), &bytes))
        return anx_error_set(err, ANX_ERR_LIMIT, "%lld images are too many", (long long)options->n_images);
    anx_status status = anx_preprocess_check(options->profile, err);
    if (status != ANX_OK) return status;
    anx_training_input *in = calloc(1, sizeof *in);
    if (in == NULL) return anx_error_set(err, ANX_ERR_OUT_OF_MEMORY, "out of memory");
    const size_t n = (size_t)options->n_images, batch = options->batch < options->n_images ? (size_t)options->batch : n;
    in->options = *options;
    in->order = calloc(n, sizeof *in->order);
    in->drawings = calloc(n, sizeof *in->drawings);
    in->targets = calloc(batch, sizeof *in->targets);
    in->files = calloc(batch, sizeof *in->files);
    in->bad = calloc(batch, sizeof *in->bad);
    if (in->order == NULL || in->drawings == NULL || in->targets == NULL || in->files == NULL || in->bad == NULL) {
        anx_training_input_destroy(in);
        return anx_error_set(err, ANX_ERR_OUT_OF_MEMORY, "out of memory for an order of %lld images",
                             (long long)options->n_images);
    }
    *out = in;
    return ANX_OK;
}

void anx_training_input_destroy(anx_training_input *in) {
    if (in == NULL) return;
    anx_pipeline_destroy(in->pipeline);
    free(in->compact);
    free(in->bad);
    free(in->files);
    free(in->targets);
    free(in->drawings);
    free(in->order);
    free(in);
}
