#include "src/base/clock.h"
#include "tools/benchmark/cases_inside.h"

#include <stdio.h>
#include <stdlib.h>

anx_status bench_load(bench_context *context, bench_row *row, anx_error *err) {
    anx_status status = ANX_OK;
    row->name = "load";
    for (int run = -1; run < context->repeats && status == ANX_OK; run++) {
        anx_checkpoint *checkpoint = NULL;
        anx_model *model = NULL;
        const double start = anx_clock_seconds();
        status = anx_checkpoint_open(context->weights, NULL, &checkpoint, err);
        if (status == ANX_OK) status = anx_model_bind(checkpoint, NULL, 0, 0, &model, err);
        if (run >= 0) bench_series_add(&row->anx, anx_clock_seconds() - start);
        anx_model_destroy(model);
        anx_checkpoint_close(checkpoint);
        if (status == ANX_OK) bench_ask_torch(context, "load", &row->torch, run >= 0);
    }
    return status;
}

/* Decoding alone: the same part of each image as preprocessing decodes, and the rows dropped. */
typedef struct decoding {
    anx_image_region *needed; /* of each image, once `known` */
    bool known;
    int image;
} decoding;

static anx_status begin_decoding(void *context, int32_t width, int32_t height, anx_image_region *needed,
                                 anx_error *err) {
    decoding *d = context;
    anx_image_region *mine = &d->needed[d->image];
    if (!d->known) {
        anx_status status = anx_preprocess_source(&anx_preprocess_torchvision, width, height, mine, err);
        if (status != ANX_OK) return status;
    }
    *needed = *mine;
    return ANX_OK;
}

static void drop_row(void *context, int32_t y, const uint8_t *rgb) {
    (void)context;
    (void)y;
    (void)rgb;
}

static anx_status decode_one(const uint8_t *bytes, size_t n_bytes, int image, void *user, anx_error *err) {
    decoding *d = user;
    const anx_image_sink sink = {.begin = begin_decoding, .row = drop_row, .context = d};
    d->image = image;
    return anx_image_decode(bytes, n_bytes, &sink, err);
}

/* Every image once, into the series if `count`. */
static anx_status time_all(const bench_context *context, bench_image_work *work, void *user, bench_series *series,
                           bool count, anx_error *err) {
    double seconds;
    anx_status status = bench_time_images(context, context->n_images, work, user, &seconds, err);
    if (status == ANX_OK && count) bench_series_add(series, seconds);
    return status;
}

anx_status bench_preprocess(bench_context *context, bench_row *row, anx_error *err) {
    bench_input input = {.values = NULL};
    decoding decode = {.needed = calloc((size_t)context->n_images + 1, sizeof *decode.needed)};
    char *request = bench_images_request(context, "preprocess");
    anx_status status = bench_input_init(&input, &anx_preprocess_torchvision, err);
    if (status == ANX_OK && (request == NULL || decode.needed == NULL))
        status = anx_error_set(err, ANX_ERR_OUT_OF_MEMORY, "out of memory");
    row->name = "preprocess";
    row->items = (double)context->n_images;
    snprintf(row->what, sizeof row->what, "%d files", context->n_images);
    for (int run = -1; run < context->repeats && status == ANX_OK; run++) {
        status = time_all(context, bench_preprocess_one, &input, &row->anx, run >= 0, err);
        if (status == ANX_OK) status = time_all(context, decode_one, &decode, &row->bare, run >= 0, err);
        decode.known = true;
        if (status == ANX_OK) bench_ask_torch(context, request, &row->torch, run >= 0);
    }
    free(request);
    free(decode.needed);
    free(input.values);
    return status;
}
