#include "parity/training_play.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* ---- images in memory ------------------------------------------------------------------------------------ */

static anx_status read_image(void *context, int64_t i, uint8_t **bytes, size_t *n_bytes, anx_error *err) {
    const anx_training_recording *recording = context;
    const anx_fixture_image *image = &recording->images[i];
    uint8_t *copy = malloc(image->n_bytes > 0 ? image->n_bytes : 1);
    if (copy == NULL) return anx_error_set(err, ANX_ERR_OUT_OF_MEMORY, "out of memory");
    memcpy(copy, image->bytes, image->n_bytes);
    *bytes = copy;
    *n_bytes = image->n_bytes;
    return ANX_OK;
}

static const char *image_name(void *context, int64_t i) {
    return ((const anx_training_recording *)context)->images[i].name;
}

static anx_status create_input(anx_training_play *play, anx_error *err) {
    const anx_training_play_options *o = &play->options;
    union {
        const anx_training_recording *in;
        void *out;
    } context = {.in = o->recording}; /* a source's context is not const; this one is only read */
    play->source = (anx_image_source){.read = read_image, .name = image_name, .context = context.out};
    const anx_training_input_options options = {.source = &play->source,
                                                .targets = o->recording->targets,
                                                .n_images = o->scenario->n_images,
                                                .batch = o->scenario->batch,
                                                .profile = &anx_preprocess_torchvision,
                                                .augment = o->scenario->augment,
                                                .threads = o->threads};
    return anx_training_input_create(&options, &play->input, err);
}

/* ---- creation -------------------------------------------------------------------------------------------- */

anx_status anx_training_play_trainer(const anx_training_play_options *o, int64_t n, const anx_tensor *params,
                                     anx_trainer **out, anx_error *err) {
    int *group_of_param = calloc((size_t)o->graph->n_params, sizeof *group_of_param);
    if (group_of_param == NULL) return anx_error_set(err, ANX_ERR_OUT_OF_MEMORY, "out of memory");
    for (int i = 0; i < o->graph->n_params; i++)
        if (anx_training_is_frozen(o->scenario, o->graph->params[i].name)) group_of_param[i] = ANX_TRAINER_FROZEN;
    const anx_trainer_options options = {.graph = o->graph,
                                         .device = o->device,
                                         .batch = n,
                                         .has_dropout = o->scenario->has_dropout,
                                         .dropout = o->scenario->dropout,
                                         .label_smoothing = o->scenario->label_smoothing,
                                         .groups = &o->scenario->sgd,
                                         .n_groups = 1,
                                         .group_of_param = group_of_param,
                                         .threads = o->threads};
    const anx_status status = anx_trainer_create(&options, params, out, err);
    free(group_of_param);
    return status;
}

anx_status anx_training_play_create(const anx_training_play_options *options, anx_training_play **out, anx_error *err) {
    const anx_training_scenario *s = options->scenario;
    anx_training_play *play = calloc(1, sizeof *play);
    if (play == NULL) return anx_error_set(err, ANX_ERR_OUT_OF_MEMORY, "out of memory");
    play->options = *options;
    if (play->options.hooks.step == NULL) play->options.hooks.step = anx_trainer_step;
    if (play->options.hooks.schedule == NULL) play->options.hooks.schedule = anx_scheduler_step;
    play->rate = s->sgd.lr;
    anx_mt19937_seed(&play->gen, s->seed);
    anx_status status = anx_scheduler_create(&s->scheduler, NULL, 1, &play->rate, &play->scheduler, err);
    if (status == ANX_OK && s->n_images > 0) status = create_input(play, err);
    if (status == ANX_OK) status = anx_training_play_trainer(options, s->batch, options->params, &play->trainer, err);
    if (status == ANX_OK) {
        *out = play;
        return ANX_OK;
    }
    anx_training_play_destroy(play);
    return status;
}

void anx_training_play_destroy(anx_training_play *play) {
    if (play == NULL) return;
    anx_trainer_destroy(play->trainer);
    anx_training_input_destroy(play->input);
    anx_scheduler_destroy(play->scheduler);
    anx_tensor_fini(&play->batch);
    free(play->drawn_targets);
    free(play);
}

/* ---- batches --------------------------------------------------------------------------------------------- */

/* Slow waves with a little noise, each image another, in the range of normalised photographs. */
static void draw_waves(anx_mt19937 *gen, const anx_extent *e, int64_t n, float *out) {
    const int64_t per_image = e->dim[0] * e->dim[1] * e->dim[2];
    anx_mt19937_uniform_f32(gen, (size_t)(n * per_image), -0.4f, 0.4f, out);
    for (int64_t i = 0; i < n; i++) {
        const double shift = (double)(anx_mt19937_u32(gen) % 628) / 100,
                     pace = 1 + (double)(anx_mt19937_u32(gen) % 5) / 4;
        for (int64_t ch = 0; ch < e->dim[0]; ch++)
            for (int64_t y = 0; y < e->dim[1]; y++)
                for (int64_t x = 0; x < e->dim[2]; x++, out++)
                    *out += (float)(sin(0.061 * pace * (double)(x + 3 * ch) + shift) * cos(0.083 * (double)y) +
                                    0.7 * sin(0.31 * (double)(x - y) + (double)ch));
    }
}

static anx_status draw_batch(anx_training_play *play, anx_error *err) {
    const anx_training_play_options *o = &play->options;
    const int64_t n = o->scenario->batch;
    int64_t shape[4];
    const int rank = anx_graph_node_shape(o->graph, ANX_NODE_INPUT, n, shape);
    anx_status status = ANX_OK;
    if (play->batch.data == NULL) status = anx_tensor_alloc(ANX_F32, rank, shape, &play->batch, err);
    if (status == ANX_OK && play->drawn_targets == NULL) {
        play->drawn_targets = calloc((size_t)n, sizeof *play->drawn_targets);
        if (play->drawn_targets == NULL) status = anx_error_set(err, ANX_ERR_OUT_OF_MEMORY, "out of memory");
    }
    if (status != ANX_OK) return status;
    anx_mt19937 own; /* the generator is dropout's alone here */
    anx_mt19937_seed(&own, (uint64_t)o->scenario->seed + 1000003u * (uint64_t)(play->step + 1));
    draw_waves(&own, &o->graph->input, n, play->batch.data);
    for (int64_t i = 0; i < n; i++) play->drawn_targets[i] = (37 * (play->step * n + i) + 11) % o->graph->num_classes;
    play->targets = play->drawn_targets;
    play->n = n;
    return ANX_OK;
}

static anx_status next_images(anx_training_play *play, anx_error *err) {
    anx_training_batch batch = {.over = true};
    anx_status status = ANX_OK;
    if (!play->begun) {
        status = anx_training_input_begin(play->input, &play->gen,
                                          play->step / anx_training_epoch_steps(play->options.scenario), NULL, err);
        play->begun = status == ANX_OK;
    }
    if (status == ANX_OK) status = anx_training_input_next(play->input, &play->gen, &batch, err);
    if (status != ANX_OK) return status;
    const int64_t crop = anx_preprocess_torchvision.crop, shape[] = {batch.n, 3, crop, crop};
    play->batch = anx_tensor_view(ANX_F32, 4, shape, batch.input);
    play->n = batch.n;
    play->files = batch.files;
    play->targets = batch.targets;
    return ANX_OK;
}

anx_status anx_training_play_fetch(anx_training_play *play, anx_error *err) {
    play->seen += play->n;
    const anx_status status = play->input != NULL ? next_images(play, err) : draw_batch(play, err);
    play->lr = play->rate;
    play->before = play->gen;
    return status;
}

/* ---- steps ----------------------------------------------------------------------------------------------- */

anx_status anx_training_play_step(anx_training_play *play, anx_error *err) {
    const anx_training_play_options *o = &play->options;
    anx_trainer_groups(play->trainer)[0].lr = play->lr;
    const anx_status status = o->hooks.step(play->trainer, &play->gen, &play->batch, play->targets, &play->result, err);
    if (status != ANX_OK) return status;
    play->step++;
    play->stopped = play->result.nonfinite.kind != ANX_NONFINITE_NONE;
    if (!play->stopped && play->step % anx_training_epoch_steps(o->scenario) == 0) {
        play->begun = false;
        o->hooks.schedule(play->scheduler, 0, &play->rate);
    }
    return ANX_OK;
}
